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
            if (i < q.edges.targets) u.put_number((T*)q.stats, i * u.STATS + TARGET, u.dot(value, a_target));
        }
    }
}

// One target's softmax: its own score, what scores are shifted by, and what has been added up so far.
template <class T> struct GatSum {
    Vec<T> target, slope, shift, total{}, steep{};
};

template <class T, bool HEADS> INLINE Vec<T> gat_top(const Attention& q, const Unit<T, HEADS>& u, int64_t begin, int64_t end) {
    const T* scores = (const T*)q.source_score;
    Vec<T> top = splat((T)-__builtin_inf());
    if (u.is_single()) {
        for (int64_t e = begin; e < end; e += u.W) {
            const Group<T> group(q.edges.source_of, e, end - e, q.edges.count);
            const Vec<T> s = gathered(scores, 1, group.at);
            top = (group.is_real() & (s > top)) ? s : top;
        }
        return splat(largest_of(top));
    }
    for (int64_t e = begin; e < end; ++e) {
        const Vec<T> s = u.number_of(scores, q.edges.source_of[e]);
        top = s > top ? s : top;
    }
    return top;
}

template <class T, bool HEADS>
INLINE void gat_weights(const Attention& q, const Unit<T, HEADS>& u, int64_t chunk, int n, GatSum<T>& sum, Vec<T>* weight, Vec<T>* steep_weight) {
    const int32_t* source_of = q.edges.source_of;
    const T *scores = (const T*)q.source_score, *values = (const T*)q.source;
    for (int k = 0; k < n; ++k) {
        const int64_t e = chunk + k;
        if (e + AHEAD < q.edges.count) {
            u.prefetch(u.of(values, source_of[e + AHEAD]));
            __builtin_prefetch(scores + source_of[e + AHEAD] * u.stat_row + u.stat);
        }
        const Vec<T> s = u.number_of(scores, source_of[e]) + sum.target;
        Vec<T> p = exp_of(leaky_relu<T>(s, sum.slope) - sum.shift);
        sum.total += p;
        const Mask<T> is_steep = s > 0;
        sum.steep += only<T>(is_steep, p);
        if (q.noise.keep) p = u.kept(q.noise.keep, e, p);
        weight[k] = p;
        steep_weight[k] = only<T>(is_steep, p);
    }
}

// Of a single head: a register's width of edges at a time.
template <class T, bool HEADS>
INLINE void gat_weights(const Attention& q, const Unit<T, HEADS>& u, int64_t chunk, int n, GatSum<T>& sum, T* weight, T* steep_weight) {
    const int32_t* source_of = q.edges.source_of;
    for (int k = 0; k < n; k += u.W) {
        const int64_t e = chunk + k;
        for (int64_t later = e + AHEAD; later < e + AHEAD + u.W && later < q.edges.count; ++later) u.prefetch(u.of((const T*)q.source, source_of[later]));
        const Group<T> group(source_of, e, n - k, q.edges.count);
        const Vec<T> s = gathered((const T*)q.source_score, 1, group.at) + sum.target;
        Vec<T> p = only<T>(group.is_real(), exp_of(leaky_relu<T>(s, sum.slope) - sum.shift));
        sum.total += p;
        const Mask<T> is_steep = s > 0;
        sum.steep += only<T>(is_steep, p);
        if (q.noise.keep) p = only<T>(kept_of<T>(q.noise.keep, e), p);
        store(weight + k, p);
        store(steep_weight + k, only<T>(is_steep, p));
    }
}

template <class Weight, class T, bool HEADS> INLINE void gat_aggregate(const Attention& q, const Unit<T, HEADS>& u, int64_t i) {
    const int64_t begin = q.edges.target_rows[i], end = q.edges.target_rows[i + 1];
    const int32_t* source_of = q.edges.source_of;
    const T* values = (const T*)q.source;
    T *stats = (T*)q.stats, *out = u.of((T*)q.out, i), *positive = q.training ? u.of((T*)q.positive, i) : nullptr;
    GatSum<T> sum;
    sum.target = u.number_of(stats, i * u.STATS + TARGET), sum.slope = splat((T)q.slope);
    const Vec<T> top = leaky_relu<T>(gat_top(q, u, begin, end) + sum.target, sum.slope);
    sum.shift = top > Lanes<T>::lowest ? top : splat(Lanes<T>::lowest);

    Weight weight[CHUNK], steep_weight[CHUNK];
    Vec<T> inverse{};
    if (begin == end) {
        u.clear(out);
        if (positive) u.clear(positive);
    }
    for (int64_t chunk = begin; chunk < end; chunk += CHUNK) {
        const bool is_last = end - chunk <= CHUNK;
        const int n = is_last ? (int)(end - chunk) : CHUNK;
        gat_weights(q, u, chunk, n, sum, weight, steep_weight);
        Turn<T> turn{chunk == begin, splat((T)1)};
        if (is_last) {
            if (u.is_single()) sum.total = splat(sum_of(sum.total)), sum.steep = splat(sum_of(sum.steep));
            inverse = divided((T)1, sum.total);
            turn.scale = inverse * splat((T)q.noise.scale);
        }
        if (positive) add_rows_twice(u, out, positive, values, source_of + chunk, n, weight, steep_weight, turn);
        else add_rows(u, out, values, source_of + chunk, n, weight, turn);
    }
    if (!positive) return;
    u.put_number(stats, i * u.STATS + SHIFT, sum.shift);
    u.put_number(stats, i * u.STATS + INVERSE, inverse);
    u.put_number(stats, i * u.STATS + STEEP, sum.steep * inverse);
}

template <class T, bool HEADS> void gat_forward(const Attention& q) {
    const Parts sources(q.edges.sources), targets(q.edges.targets);
    in_pieces(sources.count, q.threads, [&](int64_t part) { gat_scores<T, HEADS>(q, sources.first(part), sources.last(part)); });
    in_pieces(targets.count, q.threads, [&](int64_t part) {
        for (int64_t number = 0; number < Unit<T, HEADS>::number(q.shape); ++number) {
            const Unit<T, HEADS> u(q.shape, number);
            for (int64_t i = targets.first(part); i < targets.last(part); ++i) {
                if (u.is_single()) gat_aggregate<T>(q, u, i);
                else gat_aggregate<Vec<T>>(q, u, i);
            }
        }
    });
}

// What a target knows by itself before its edges are looked at again.
template <class T, bool HEADS> INLINE void gat_target_gradient(const Attention& q, const Unit<T, HEADS>& u, int64_t i) {
    T* stats = (T*)q.stats;
    const T* grad = u.of((const T*)q.grad_out, i);
    const Vec<T> inner = u.dot(grad, u.of((const T*)q.out, i)), steep = u.dot(grad, u.of((const T*)q.positive, i));
    u.put_number(stats, i * u.STATS + INNER, inner);
    const Vec<T> of_steep = steep - inner * u.number_of(stats, i * u.STATS + STEEP);
    u.put_number(stats, i * u.STATS + GRAD_TARGET, of_steep * splat((T)(1 - q.slope)));
}

// What a chunk's edges by source give: their weights, and the sum of the gradients of their scores, added to `grad_score`.
template <class T, bool HEADS>
INLINE void gat_gradients(const Attention& q, const Unit<T, HEADS>& u, int64_t j, int64_t chunk, int n, Vec<T>& grad_score, Vec<T>* weight) {
    const int32_t* target_of = q.edges.target_of;
    const T *grads = (const T*)q.grad_out, *stats = (const T*)q.stats, *value = u.of((const T*)q.source, j);
    const Vec<T> slope = splat((T)q.slope), scale = splat((T)q.noise.scale), s = u.number_of((const T*)q.source_score, j);
    for (int k = 0; k < n; ++k) {
        const int64_t e = chunk + k, i = target_of[e];
        if (e + AHEAD < q.edges.source_rows[q.edges.sources]) {
            u.prefetch(u.of(grads, target_of[e + AHEAD]));
            const T* stat = stats + target_of[e + AHEAD] * u.STATS * u.stat_row;
            __builtin_prefetch(stat), __builtin_prefetch(stat + 2 * u.stat_row);
        }
        const Vec<T> score = s + u.number_of(stats, i * u.STATS + TARGET);
        const Vec<T> shifted = leaky_relu<T>(score, slope) - u.number_of(stats, i * u.STATS + SHIFT);
        const Vec<T> alpha = exp_of(shifted) * u.number_of(stats, i * u.STATS + INVERSE);
        Vec<T> grad_alpha = u.dot(u.of(grads, i), value) * scale, kept = alpha * scale;
        if (q.noise.keep) {
            const int64_t position = q.edges.position_of[e];
            grad_alpha = u.kept(q.noise.keep, position, grad_alpha);
            kept = u.kept(q.noise.keep, position, kept);
        }
        const Vec<T> grad = alpha * (grad_alpha - u.number_of(stats, i * u.STATS + INNER));
        grad_score += score > 0 ? grad : grad * slope;
        weight[k] = kept;
    }
}

// Of a single head: a register's width of edges at a time.
template <class T, bool HEADS>
INLINE void gat_gradients(const Attention& q, const Unit<T, HEADS>& u, int64_t j, int64_t chunk, int n, Vec<T>& grad_score, T* weight) {
    const int32_t* target_of = q.edges.target_of;
    const int64_t count = q.edges.source_rows[q.edges.sources];
    const T *grads = (const T*)q.grad_out, *stats = (const T*)q.stats, *value = u.of((const T*)q.source, j);
    const Vec<T> slope = splat((T)q.slope), scale = splat((T)q.noise.scale), s = u.number_of((const T*)q.source_score, j);
    for (int k = 0; k < n; k += u.W) {
        const int64_t e = chunk + k;
        for (int64_t later = e + AHEAD; later < e + AHEAD + u.W && later < count; ++later) {
            u.prefetch(u.of(grads, target_of[later]));
            __builtin_prefetch(stats + target_of[later] * u.STATS);
        }
        const Group<T> group(target_of, e, n - k, count);
        Vec<T> stat[4];  // TARGET, SHIFT, INVERSE, INNER
        first_four(stats, u.STATS, group.at, stat);
        const Vec<T> score = s + stat[TARGET];
        const Vec<T> alpha = only<T>(group.is_real(), exp_of(leaky_relu<T>(score, slope) - stat[SHIFT]) * stat[INVERSE]);
        Vec<T> grad_alpha = u.dots(grads, group.at, value) * scale, kept = alpha * scale;
        if (q.noise.keep) {
            const Mask<T> is_kept = kept_of<T>(q.noise.keep, Group<T, uint32_t>(q.edges.position_of, e, n - k, count));
            grad_alpha = only<T>(is_kept, grad_alpha);
            kept = only<T>(is_kept, kept);
        }
        const Vec<T> grad = only<T>(group.is_real(), alpha * (grad_alpha - stat[INNER]));
        grad_score += score > 0 ? grad : grad * slope;
        store(weight + k, kept);
    }
}

template <class Weight, class T, bool HEADS> INLINE void gat_source_gradient(const Attention& q, const Unit<T, HEADS>& u, int64_t j, T* partial) {
    const int64_t begin = q.edges.source_rows[j], end = q.edges.source_rows[j + 1];
    const T* value = u.of((const T*)q.source, j);
    T* grad_source = u.of((T*)q.grad_source, j);

    Vec<T> grad_score{};
    Weight weight[CHUNK];
    if (begin == end) u.clear(grad_source);
    for (int64_t chunk = begin; chunk < end; chunk += CHUNK) {
        const int n = end - chunk < CHUNK ? (int)(end - chunk) : CHUNK;
        gat_gradients(q, u, j, chunk, n, grad_score, weight);
        add_rows(u, grad_source, (const T*)q.grad_out, q.edges.target_of + chunk, n, weight, Turn<T>{chunk == begin, splat((T)1)});
    }
    if (u.is_single()) grad_score = splat(sum_of(grad_score));
    const Vec<T> grad_target = j < q.edges.targets ? u.number_of((const T*)q.stats, j * u.STATS + GRAD_TARGET) : Vec<T>{};
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
            for (int64_t j = sources.first(part); j < sources.last(part); ++j) {
                if (u.is_single()) gat_source_gradient<T>(q, u, j, partial);
                else gat_source_gradient<Vec<T>>(q, u, j, partial);
            }
        }
    });
    const int64_t row = q.shape.row;
    combine_parts((T*)q.grad_a, (const T*)q.partial, sources.count, row);
    combine_parts((T*)q.grad_a + row, (const T*)q.partial + row, sources.count, row);
}

}  // namespace NAMESPACE
