// GATv2: u = s_j + t_i, e = a . LeakyReLU(u), alpha = softmax of e over the edges into i, z_i = sum_j alpha s_j.
//
// Forward stores e [E, H] and the bits u > 0. As in GAT the gradients de add up to 0 over the edges of a target, so with
//   A_i = sum_j de [u > 0],  B_j = sum_i de (slope + (1 - slope) [u > 0])
// dt_i = a (1 - slope) A_i,  ds_j = sum_i m alpha G_i + a B_j,  da = sum_j s_j B_j + sum_i t_i (1 - slope) A_i:
// the attention vector's gradient is a sum over nodes, and no projected row is gathered by target.
#pragma once
#include "attention.h"

namespace NAMESPACE {

enum Gatv2Stat { V2_SHIFT, V2_INVERSE, V2_INNER };

template <class T> INLINE uint8_t* signs_of(const Attention& q, int64_t edge, int64_t unit, int64_t count) {
    return q.sign + edge * (q.shape.row / Lanes<T>::width) + unit * count;
}

// Of one edge, channels not yet added up.
template <class T, bool HEADS>
INLINE Vec<T> gatv2_score(const Unit<T, HEADS>& u, const T* source, const T* target, const T* a, Vec<T> slope, uint8_t* signs) {
    Vec<T> even{}, odd{};
    int64_t c = 0;
    auto term = [&](int64_t channel) {
        const int64_t at = channel * u.stride;
        const Vec<T> sum = load(source + at) + load(target + at);
        const Mask<T> is_steep = sum > 0;
        if (signs) signs[channel] = (uint8_t)bits_of(is_steep);
        return load(a + at) * (is_steep ? sum : sum * slope);
    };
    for (; c + 1 < u.count; c += 2) {
        even += term(c);
        odd += term(c + 1);
    }
    if (c < u.count) even += term(c);
    return even + odd;
}

// Scores of a chunk of a target's edges, also into `scores` and `signs` if they are kept. Returns the highest,
// or of scores that are all -inf the lowest number.
template <class T, bool HEADS>
INLINE Vec<T> gatv2_scores(const Attention& q, const Unit<T, HEADS>& u, int64_t number, int64_t i, int64_t chunk, int n, Vec<T>* score) {
    const T *sources = (const T*)q.source, *target = u.of((const T*)q.target, i), *a = (const T*)q.a_source + u.offset;
    const int32_t* source_of = q.edges.source_of;
    const Vec<T> slope = splat((T)q.slope);
    Vec<T> top = splat(Lanes<T>::lowest);
    for (int k = 0; k < n; ++k) {
        const int64_t e = chunk + k;
        if (e + AHEAD < q.edges.count) u.prefetch(u.of(sources, source_of[e + AHEAD]));
        uint8_t* signs = q.training ? signs_of<T>(q, e, number, u.count) : nullptr;
        score[k] = u.over_channels(gatv2_score(u, u.of(sources, source_of[e]), target, a, slope, signs));
        top = score[k] > top ? score[k] : top;
        if (q.training) u.put_number((T*)q.score, e, score[k]);
    }
    return top;
}

// Of a single head: a register's width of edges at a time.
template <class T, bool HEADS>
INLINE Vec<T> gatv2_scores(const Attention& q, const Unit<T, HEADS>& u, int64_t number, int64_t i, int64_t chunk, int n, T* score) {
    const T *sources = (const T*)q.source, *target = u.of((const T*)q.target, i), *a = (const T*)q.a_source + u.offset;
    const int32_t* source_of = q.edges.source_of;
    const Vec<T> slope = splat((T)q.slope);
    Vec<T> top = splat(Lanes<T>::lowest);
    for (int k = 0; k < n; k += u.W) {
        const int64_t e = chunk + k;
        for (int64_t later = e + AHEAD; later < e + AHEAD + u.W && later < q.edges.count; ++later) u.prefetch(u.of(sources, source_of[later]));
        const Group<T> group(source_of, e, n - k, q.edges.count);
        Vec<T> by_channel[Lanes<T>::width];
        for (int m = 0; m < u.W; ++m) {
            uint8_t* signs = q.training && m < group.real ? signs_of<T>(q, e + m, number, u.count) : nullptr;
            by_channel[m] = gatv2_score(u, u.of(sources, group.at[m]), target, a, slope, signs);
        }
        const Vec<T> scores = sums_of(by_channel);
        store(score + k, scores);
        top = (group.is_real() & (scores > top)) ? scores : top;
    }
    for (int k = 0; q.training && k < n; ++k) ((T*)q.score)[chunk + k] = score[k];
    return splat(largest_of(top));
}

// Scores become weights, e^(score - shift) of the edges that are kept. Returns the sum of all.
template <class T, bool HEADS>
INLINE Vec<T> gatv2_weights(const Attention& q, const Unit<T, HEADS>& u, int64_t chunk, int n, Vec<T> shift, Vec<T>* weight) {
    Vec<T> total{};
    for (int k = 0; k < n; ++k) {
        const Vec<T> p = exp_of(weight[k] - shift);
        total += p;
        weight[k] = q.noise.keep ? u.kept(q.noise.keep, chunk + k, p) : p;
    }
    return total;
}
template <class T, bool HEADS>
INLINE Vec<T> gatv2_weights(const Attention& q, const Unit<T, HEADS>& u, int64_t chunk, int n, Vec<T> shift, T* weight) {
    Vec<T> total{};
    for (int k = 0; k < n; k += u.W) {
        const Mask<T> is_real = lanes_of<T>((1u << (n - k < u.W ? n - k : u.W)) - 1);
        const Vec<T> p = only<T>(is_real, exp_of(load(weight + k) - shift));
        total += p;
        store(weight + k, q.noise.keep ? only<T>(kept_of<T>(q.noise.keep, chunk + k), p) : p);
    }
    return splat(sum_of(total));
}

template <class Weight, class T, bool HEADS> INLINE void gatv2_aggregate(const Attention& q, const Unit<T, HEADS>& u, int64_t number, int64_t i) {
    const int64_t begin = q.edges.target_rows[i], end = q.edges.target_rows[i + 1];
    const int32_t* source_of = q.edges.source_of;
    T *out = u.of((T*)q.out, i), *stats = (T*)q.stats;

    Vec<T> total{}, shift{};
    Weight weight[CHUNK];
    if (begin == end) u.clear(out);
    for (int64_t chunk = begin; chunk < end; chunk += CHUNK) {
        const bool is_last = end - chunk <= CHUNK;
        const int n = is_last ? (int)(end - chunk) : CHUNK;
        const Vec<T> top = gatv2_scores(q, u, number, i, chunk, n, weight);
        if (chunk == begin) {
            shift = top;
        } else {  // a higher score shrinks what is there already
            const Vec<T> higher = top > shift ? top : shift, shrink = exp_of(shift - higher);
            total *= shrink;
            u.scale(out, shrink);
            shift = higher;
        }
        total += gatv2_weights(q, u, chunk, n, shift, weight);
        const Vec<T> scale = is_last ? divided((T)q.noise.scale, total) : splat((T)1);
        add_rows(u, out, (const T*)q.source, source_of + chunk, n, weight, Turn<T>{chunk == begin, scale});
    }
    if (!q.training) return;
    u.put_number(stats, i * u.STATS + V2_SHIFT, shift);
    u.put_number(stats, i * u.STATS + V2_INVERSE, divided((T)1, total));
}

template <class T, bool HEADS> void gatv2_forward(const Attention& q) {
    const Parts targets(q.edges.targets);
    in_pieces(targets.count, q.threads, [&](int64_t part) {
        for (int64_t number = 0; number < Unit<T, HEADS>::number(q.shape); ++number) {
            const Unit<T, HEADS> u(q.shape, number);
            for (int64_t i = targets.first(part); i < targets.last(part); ++i) {
                if (u.is_single()) gatv2_aggregate<T>(q, u, number, i);
                else gatv2_aggregate<Vec<T>>(q, u, number, i);
            }
        }
    });
}

// at[c] += sum of grad[k] over the chunk's edges that are steep in channel c.
template <int BLOCK, class T, bool HEADS, class Weight>
INLINE void add_steep_block(const Unit<T, HEADS>& u, T* at, int64_t c, const uint8_t* const* signs, int n, const Weight* grad) {
    Vec<T> sum[BLOCK];
    for (int b = 0; b < BLOCK; ++b) sum[b] = load(at + (c + b) * u.stride);
    for (int k = 0; k < n; ++k) {
        const Vec<T> number = weight_of<T>(grad, k);
        if constexpr (BLOCK == 1) {
            sum[0] += only<T>(lanes_of<T>(signs[k][c]), number);
        } else {
            for (int b = 0; b < BLOCK; b += 4) {
                const FourBytes<T> bits(signs[k] + c + b);
                for (int m = 0; m < 4; ++m) sum[b + m] += only<T>(bits.lanes_of(m), number);
            }
        }
    }
    for (int b = 0; b < BLOCK; ++b) store(at + (c + b) * u.stride, sum[b]);
}
template <class T, bool HEADS, class Weight>
INLINE void add_steep(const Unit<T, HEADS>& u, T* at, const uint8_t* const* signs, int n, const Weight* grad) {
    int64_t c = 0;
    for (; c + 8 <= u.count; c += 8) add_steep_block<8>(u, at, c, signs, n, grad);
    for (; c < u.count; ++c) add_steep_block<1>(u, at, c, signs, n, grad);
}

// What a chunk's edges by source give: their weights and the gradients of their scores, which are stored too.
template <class T, bool HEADS>
INLINE Vec<T> gatv2_gradients(const Attention& q, const Unit<T, HEADS>& u, int64_t number, int64_t j, int64_t chunk, int n, Vec<T>* grad, Vec<T>* weight) {
    const int32_t* target_of = q.edges.target_of;
    const uint32_t* position_of = q.edges.position_of;
    const T *grads = (const T*)q.grad_out, *stats = (const T*)q.stats, *scores = (const T*)q.score, *value = u.of((const T*)q.source, j);
    const Vec<T> scale = splat((T)q.noise.scale);
    Vec<T> whole{};
    for (int k = 0; k < n; ++k) {
        const int64_t e = chunk + k, i = target_of[e], position = position_of[e];
        if (e + AHEAD < q.edges.source_rows[q.edges.sources]) {
            const int64_t later = position_of[e + AHEAD];
            u.prefetch(u.of(grads, target_of[e + AHEAD]));
            __builtin_prefetch(stats + target_of[e + AHEAD] * u.STATS * u.stat_row);
            __builtin_prefetch(scores + later * u.stat_row + u.stat);
            __builtin_prefetch(signs_of<T>(q, later, number, u.count));
        }
        const Vec<T> shifted = u.number_of(scores, position) - u.number_of(stats, i * u.STATS + V2_SHIFT);
        const Vec<T> alpha = exp_of(shifted) * u.number_of(stats, i * u.STATS + V2_INVERSE);
        Vec<T> grad_alpha = u.dot(u.of(grads, i), value) * scale, kept = alpha * scale;
        if (q.noise.keep) {
            grad_alpha = u.kept(q.noise.keep, position, grad_alpha);
            kept = u.kept(q.noise.keep, position, kept);
        }
        grad[k] = alpha * (grad_alpha - u.number_of(stats, i * u.STATS + V2_INNER));
        u.put_number((T*)q.grad_score, position, grad[k]);
        whole += grad[k];
        weight[k] = kept;
    }
    return whole;
}

// Of a single head: a register's width of edges at a time.
template <class T, bool HEADS>
INLINE Vec<T> gatv2_gradients(const Attention& q, const Unit<T, HEADS>& u, int64_t number, int64_t j, int64_t chunk, int n, T* grad, T* weight) {
    const int64_t count = q.edges.source_rows[q.edges.sources];
    const T *grads = (const T*)q.grad_out, *stats = (const T*)q.stats, *scores = (const T*)q.score, *value = u.of((const T*)q.source, j);
    const Vec<T> scale = splat((T)q.noise.scale);
    Vec<T> whole{};
    for (int k = 0; k < n; k += u.W) {
        const int64_t e = chunk + k;
        for (int64_t later = e + AHEAD; later < e + AHEAD + u.W && later < count; ++later) {
            u.prefetch(u.of(grads, q.edges.target_of[later]));
            __builtin_prefetch(stats + q.edges.target_of[later] * u.STATS);
            __builtin_prefetch(scores + q.edges.position_of[later]);
            __builtin_prefetch(signs_of<T>(q, q.edges.position_of[later], number, u.count));
        }
        const Group<T> targets(q.edges.target_of, e, n - k, count);
        const Group<T, uint32_t> positions(q.edges.position_of, e, n - k, count);
        Vec<T> stat[4];  // V2_SHIFT, V2_INVERSE, V2_INNER
        first_four(stats, u.STATS, targets.at, stat);
        const Vec<T> alpha = only<T>(targets.is_real(), exp_of(gathered(scores, 1, positions.at) - stat[V2_SHIFT]) * stat[V2_INVERSE]);
        Vec<T> grad_alpha = u.dots(grads, targets.at, value) * scale, kept = alpha * scale;
        if (q.noise.keep) {
            const Mask<T> is_kept = kept_of<T>(q.noise.keep, positions);
            grad_alpha = only<T>(is_kept, grad_alpha);
            kept = only<T>(is_kept, kept);
        }
        const Vec<T> of_scores = only<T>(targets.is_real(), alpha * (grad_alpha - stat[V2_INNER]));
        positions.put((T*)q.grad_score, of_scores);
        whole += of_scores;
        store(grad + k, of_scores);
        store(weight + k, kept);
    }
    return splat(sum_of(whole));
}

template <class Weight, class T, bool HEADS>
INLINE void gatv2_source_gradient(const Attention& q, const Unit<T, HEADS>& u, int64_t number, int64_t j, T* partial, T* steep) {
    const int64_t begin = q.edges.source_rows[j], end = q.edges.source_rows[j + 1];
    const T *value = u.of((const T*)q.source, j), *a = (const T*)q.a_source + u.offset;
    T* grad_source = u.of((T*)q.grad_source, j);
    const Vec<T> slope = splat((T)q.slope);

    Vec<T> whole{};
    Weight weight[CHUNK], grad[CHUNK];
    const uint8_t* signs[CHUNK];
    if (begin == end) u.clear(grad_source);
    for (int64_t c = 0; c < u.count; ++c) store(steep + c * u.stride, Vec<T>{});
    for (int64_t chunk = begin; chunk < end; chunk += CHUNK) {
        const int n = end - chunk < CHUNK ? (int)(end - chunk) : CHUNK;
        whole += gatv2_gradients(q, u, number, j, chunk, n, grad, weight);
        for (int k = 0; k < n; ++k) signs[k] = signs_of<T>(q, q.edges.position_of[chunk + k], number, u.count);
        add_rows(u, grad_source, (const T*)q.grad_out, q.edges.target_of + chunk, n, weight, Turn<T>{chunk == begin, splat((T)1)});
        add_steep(u, steep, signs, n, grad);
    }
    for (int64_t c = 0; c < u.count; ++c) {
        const int64_t at = c * u.stride;
        const Vec<T> through = slope * whole + (1 - slope) * load(steep + at);
        store(grad_source + at, load(grad_source + at) + load(a + at) * through);
        T* of_a = partial + u.offset + at;
        store(of_a, load(of_a) + load(value + at) * through);
    }
}

template <class Weight, class T, bool HEADS>
INLINE void gatv2_target_gradient(const Attention& q, const Unit<T, HEADS>& u, int64_t number, int64_t i, T* partial) {
    const int64_t begin = q.edges.target_rows[i], end = q.edges.target_rows[i + 1];
    const T *grad_scores = (const T*)q.grad_score, *value = u.of((const T*)q.target, i), *a = (const T*)q.a_source + u.offset;
    T* grad_target = u.of((T*)q.grad_target, i);
    const Vec<T> rest = splat((T)(1 - q.slope));

    Weight grad[CHUNK];
    const uint8_t* signs[CHUNK];
    u.clear(grad_target);
    for (int64_t chunk = begin; chunk < end; chunk += CHUNK) {
        const int n = end - chunk < CHUNK ? (int)(end - chunk) : CHUNK;
        for (int k = 0; k < n; ++k) {
            u.take_number(grad[k], grad_scores, chunk + k);
            signs[k] = signs_of<T>(q, chunk + k, number, u.count);
        }
        add_steep(u, grad_target, signs, n, grad);
    }
    for (int64_t c = 0; c < u.count; ++c) {
        const int64_t at = c * u.stride;
        const Vec<T> steep = rest * load(grad_target + at);
        T* of_a = partial + u.offset + at;
        store(of_a, load(of_a) + load(value + at) * steep);
        store(grad_target + at, load(a + at) * steep);
    }
}

template <class T, bool HEADS> void gatv2_backward(const Attention& q) {
    const Parts sources(q.edges.sources), targets(q.edges.targets);
    const int64_t row = q.shape.row;
    in_pieces(targets.count, q.threads, [&](int64_t part) {
        for (int64_t number = 0; number < Unit<T, HEADS>::number(q.shape); ++number) {
            const Unit<T, HEADS> u(q.shape, number);
            for (int64_t i = targets.first(part); i < targets.last(part); ++i) {
                const Vec<T> inner = u.dot(u.of((const T*)q.grad_out, i), u.of((const T*)q.out, i));
                u.put_number((T*)q.stats, i * u.STATS + V2_INNER, inner);
            }
        }
    });
    in_pieces(sources.count, q.threads, [&](int64_t part) {
        T *partial = (T*)q.partial + part * 2 * row, *steep = partial + row;
        __builtin_memset(partial, 0, 2 * row * sizeof(T));
        for (int64_t number = 0; number < Unit<T, HEADS>::number(q.shape); ++number) {
            const Unit<T, HEADS> u(q.shape, number);
            for (int64_t j = sources.first(part); j < sources.last(part); ++j) {
                if (u.is_single()) gatv2_source_gradient<T>(q, u, number, j, partial, steep + u.offset);
                else gatv2_source_gradient<Vec<T>>(q, u, number, j, partial, steep + u.offset);
            }
        }
    });
    combine_parts((T*)q.grad_a, (const T*)q.partial, sources.count, row);
    in_pieces(targets.count, q.threads, [&](int64_t part) {
        T* partial = (T*)q.partial + part * 2 * row;
        __builtin_memset(partial, 0, row * sizeof(T));
        for (int64_t number = 0; number < Unit<T, HEADS>::number(q.shape); ++number) {
            const Unit<T, HEADS> u(q.shape, number);
            for (int64_t i = targets.first(part); i < targets.last(part); ++i) {
                if (u.is_single()) gatv2_target_gradient<T>(q, u, number, i, partial);
                else gatv2_target_gradient<Vec<T>>(q, u, number, i, partial);
            }
        }
    });
    combine_parts((T*)q.grad_a + row, (const T*)q.partial, targets.count, row);
    T* grad_a = (T*)q.grad_a;
    for (int64_t k = 0; k < row; ++k) grad_a[k] += grad_a[row + k];
}

}  // namespace NAMESPACE
