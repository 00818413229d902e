// GAT: e = LeakyReLU(s_j + t_i), alpha = softmax of e over the edges into i, z_i = sum_j alpha v_j.
//
// Backward needs no sum over edges by target. With G the gradient of z and m dropout's factor,
//   de_ij = alpha (m <G_i, v_j> - D_i),  D_i = <G_i, z_i>
// adds up to 0 over j, so dt_i = sum_j de LeakyReLU'(e) = (1 - slope) sum of de over steep edges
//      = (1 - slope) (<G_i, z+_i> - D_i share+_i),
// where z+ and share+ are the parts of z and of the coefficients that come from edges with s_j + t_i > 0.
#pragma once
#include "attention.h"

namespace NAMESPACE {

enum GatStat { TARGET, SHIFT, INVERSE, INNER, STEEP, GRAD_TARGET };

template <class T, bool HEADS> void gat_scores(const Attention& q, int64_t first, int64_t last) {
    for (int64_t number = 0; number < Unit<T, HEADS>::number(q.shape); ++number) {
        const Unit<T, HEADS> u(q.shape, number);
        const T* a_source = (const T*)q.a_source + u.offset;
        const T* a_target = (const T*)q.a_target + u.offset;
        for (int64_t i = first; i < last; ++i) {
            const T* value = u.of((const T*)q.source, i);
            u.put_number((T*)q.source_score, i, u.dot(value, a_source));
            if (i < q.edges.targets) u.put_number((T*)q.stats, i * STATS + TARGET, u.dot(value, a_target));
        }
    }
}

template <class T, bool HEADS> INLINE void gat_aggregate(const Attention& q, const Unit<T, HEADS>& u, int64_t i) {
    const int64_t begin = q.edges.target_rows[i], end = q.edges.target_rows[i + 1];
    const int32_t* source_of = q.edges.source_of;
    const T *scores = (const T*)q.source_score, *values = (const T*)q.source;
    T *stats = (T*)q.stats, *out = u.of((T*)q.out, i), *positive = q.training ? u.of((T*)q.positive, i) : nullptr;
    const Vec<T> slope = splat((T)q.slope), t = u.number_of(stats, i * STATS + TARGET);

    Vec<T> top = splat((T)-__builtin_inf());
    for (int64_t e = begin; e < end; ++e) {
        const Vec<T> s = u.number_of(scores, source_of[e]);
        top = s > top ? s : top;
    }
    const Vec<T> shift = leaky_relu<T>(top + t, slope);
    Vec<T> total{}, steep{}, weight[CHUNK], steep_weight[CHUNK];
    u.clear(out);
    if (positive) u.clear(positive);
    for (int64_t chunk = begin; chunk < end; chunk += CHUNK) {
        const int n = end - chunk < CHUNK ? (int)(end - chunk) : CHUNK;
        for (int k = 0; k < n; ++k) {
            const int64_t e = chunk + k;
            if (e + AHEAD < q.edges.count) {
                u.prefetch(u.of(values, source_of[e + AHEAD]));
                __builtin_prefetch(scores + source_of[e + AHEAD] * u.stat_row + u.stat);
            }
            const Vec<T> s = u.number_of(scores, source_of[e]) + t;
            Vec<T> p = exp_of(leaky_relu<T>(s, slope) - shift);
            total += p;
            const Mask<T> is_steep = s > 0;
            steep += only<T>(is_steep, p);
            if (q.noise.keep) p = u.kept(q.noise.keep, e, p);
            weight[k] = p;
            steep_weight[k] = only<T>(is_steep, p);
        }
        if (positive) add_rows_twice(u, out, positive, values, source_of + chunk, n, weight, steep_weight);
        else add_rows(u, out, values, source_of + chunk, n, weight);
    }
    const Vec<T> inverse = begin < end ? 1 / total : Vec<T>{};
    const Vec<T> scale = inverse * splat((T)q.noise.scale);
    u.scale(out, scale);
    if (!positive) return;
    u.scale(positive, scale);
    u.put_number(stats, i * STATS + SHIFT, shift);
    u.put_number(stats, i * STATS + INVERSE, inverse);
    u.put_number(stats, i * STATS + STEEP, steep * inverse);
}

template <class T, bool HEADS> void gat_forward(const Attention& q) {
    const Parts sources(q.edges.sources), targets(q.edges.targets);
    in_pieces(sources.count, q.threads, [&](int64_t part) { gat_scores<T, HEADS>(q, sources.first(part), sources.last(part)); });
    in_pieces(targets.count, q.threads, [&](int64_t part) {
        for (int64_t number = 0; number < Unit<T, HEADS>::number(q.shape); ++number) {
            const Unit<T, HEADS> u(q.shape, number);
            for (int64_t i = targets.first(part); i < targets.last(part); ++i) gat_aggregate<T, HEADS>(q, u, i);
        }
    });
}

// What a target knows by itself before its edges are looked at again.
template <class T, bool HEADS> INLINE void gat_target_gradient(const Attention& q, const Unit<T, HEADS>& u, int64_t i) {
    T* stats = (T*)q.stats;
    const T* grad = u.of((const T*)q.grad_out, i);
    const Vec<T> inner = u.dot(grad, u.of((const T*)q.out, i)), steep = u.dot(grad, u.of((const T*)q.positive, i));
    u.put_number(stats, i * STATS + INNER, inner);
    const Vec<T> of_steep = steep - inner * u.number_of(stats, i * STATS + STEEP);
    u.put_number(stats, i * STATS + GRAD_TARGET, of_steep * splat((T)(1 - q.slope)));
}

template <class T, bool HEADS> INLINE void gat_source_gradient(const Attention& q, const Unit<T, HEADS>& u, int64_t j, T* partial) {
    const int64_t begin = q.edges.source_rows[j], end = q.edges.source_rows[j + 1];
    const int32_t* target_of = q.edges.target_of;
    const T *grads = (const T*)q.grad_out, *stats = (const T*)q.stats, *value = u.of((const T*)q.source, j);
    T* grad_source = u.of((T*)q.grad_source, j);
    const Vec<T> slope = splat((T)q.slope), scale = splat((T)q.noise.scale), s = u.number_of((const T*)q.source_score, j);

    Vec<T> grad_score{}, weight[CHUNK];
    u.clear(grad_source);
    for (int64_t chunk = begin; chunk < end; chunk += CHUNK) {
        const int n = end - chunk < CHUNK ? (int)(end - chunk) : CHUNK;
        for (int k = 0; k < n; ++k) {
            const int64_t e = chunk + k, i = target_of[e];
            if (e + AHEAD < q.edges.source_rows[q.edges.sources]) {
                u.prefetch(u.of(grads, target_of[e + AHEAD]));
                const T* stat = stats + target_of[e + AHEAD] * STATS * u.stat_row;
                __builtin_prefetch(stat), __builtin_prefetch(stat + 2 * u.stat_row);
            }
            const Vec<T> score = s + u.number_of(stats, i * STATS + TARGET);
            const Vec<T> shifted = leaky_relu<T>(score, slope) - u.number_of(stats, i * STATS + SHIFT);
            const Vec<T> alpha = exp_of(shifted) * u.number_of(stats, i * STATS + INVERSE);
            Vec<T> grad_alpha = u.dot(u.of(grads, i), value) * scale, kept = alpha * scale;
            if (q.noise.keep) {
                const int64_t position = q.edges.position_of[e];
                grad_alpha = u.kept(q.noise.keep, position, grad_alpha);
                kept = u.kept(q.noise.keep, position, kept);
            }
            const Vec<T> grad = alpha * (grad_alpha - u.number_of(stats, i * STATS + INNER));
            grad_score += score > 0 ? grad : grad * slope;
            weight[k] = kept;
        }
        add_rows(u, grad_source, grads, target_of + chunk, n, weight);
    }
    const Vec<T> grad_target = j < q.edges.targets ? u.number_of(stats, j * STATS + GRAD_TARGET) : Vec<T>{};
    for (int64_t c = 0; c < u.count; ++c) {
        const int64_t at = c * u.stride;
        const Vec<T> through_scores = grad_score * load((const T*)q.a_source + u.offset + at) +
                                      grad_target * load((const T*)q.a_target + u.offset + at);
        store(grad_source + at, load(grad_source + at) + through_scores);
        T* of_a = partial + u.offset + at;
        store(of_a, load(of_a) + grad_score * load(value + at));
        store(of_a + u.row, load(of_a + u.row) + grad_target * load(value + at));
    }
}

template <class T, bool HEADS> void gat_backward(const Attention& q) {
    const Parts sources(q.edges.sources), targets(q.edges.targets);
    in_pieces(targets.count, q.threads, [&](int64_t part) {
        for (int64_t number = 0; number < Unit<T, HEADS>::number(q.shape); ++number) {
            const Unit<T, HEADS> u(q.shape, number);
            for (int64_t i = targets.first(part); i < targets.last(part); ++i) gat_target_gradient<T, HEADS>(q, u, i);
        }
    });
    in_pieces(sources.count, q.threads, [&](int64_t part) {
        T* partial = (T*)q.partial + part * 2 * q.shape.row;
        __builtin_memset(partial, 0, 2 * q.shape.row * sizeof(T));
        for (int64_t number = 0; number < Unit<T, HEADS>::number(q.shape); ++number) {
            const Unit<T, HEADS> u(q.shape, number);
            for (int64_t j = sources.first(part); j < sources.last(part); ++j) gat_source_gradient<T, HEADS>(q, u, j, partial);
        }
    });
    const int64_t row = q.shape.row;
    combine_parts((T*)q.grad_a, (const T*)q.partial, sources.count, row);
    combine_parts((T*)q.grad_a + row, (const T*)q.partial + row, sources.count, row);
}

}  // namespace NAMESPACE
