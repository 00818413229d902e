// What a whole training step needs besides attention and sparse products: dense products, dropout, ELU, loss, Adam.
#pragma once
#include "attention.h"
#include "gat.h"
#include "gatv2.h"
#include "products.h"
#include "random.h"

namespace NAMESPACE {

using fused::Call;
using fused::Kind;

template <class T> void attend(const Attention& q, bool v2, bool backward) {
    const bool heads = q.shape.heads_in_lanes;
    if (v2 && backward) return heads ? gatv2_backward<T, true>(q) : gatv2_backward<T, false>(q);
    if (v2) return heads ? gatv2_forward<T, true>(q) : gatv2_forward<T, false>(q);
    if (backward) return heads ? gat_backward<T, true>(q) : gat_backward<T, false>(q);
    return heads ? gat_forward<T, true>(q) : gat_forward<T, false>(q);
}

template <class Work> void over_rows(int64_t n, int64_t threads, Work work) {
    const Parts parts(n);
    in_pieces(parts.count, threads, [&](int64_t part) { work(part, parts.first(part), parts.last(part)); });
}

// The register at `place` of what decisions are about, dropped ones zero; `place` is a multiple of the width.
template <class T> INLINE Vec<T> dropped_out(const Noise& noise, int64_t place, Vec<T> v) {
    if (!noise.keep) return v;
    return only<T>(lanes_of<T>(noise.keep[place >> 3] >> (place & 7)), v) * splat((T)noise.scale);
}

template <class T> INLINE T dropped_out_one(const Noise& noise, int64_t place, T v) {
    if (!noise.keep) return v;
    return (noise.keep[place >> 3] >> (place & 7)) & 1 ? v * (T)noise.scale : 0;
}

// to[0 ... last - first] = from[first ... last], dropped ones zero.
template <class T> INLINE void drop_between(const Noise& noise, const T* from, int64_t first, int64_t last, T* to) {
    constexpr int W = Lanes<T>::width;
    int64_t k = first;
    for (; k < last && k % W; ++k) to[k - first] = dropped_out_one<T>(noise, k, from[k]);
    for (; k + W <= last; k += W) store(to + (k - first), dropped_out<T>(noise, k, load(from + k)));
    for (; k < last; ++k) to[k - first] = dropped_out_one<T>(noise, k, from[k]);
}

template <class T> void drop(const fused::Drop& q, int64_t threads) {
    constexpr int W = Lanes<T>::width;
    over_rows((q.count + W - 1) / W, threads, [&](int64_t, int64_t first, int64_t last) {
        const int64_t end = last * W < q.count ? last * W : q.count;
        drop_between<T>(q.noise, (const T*)q.from, first * W, end, (T*)q.to + first * W);
    });
}

// R x (B registers) of out += a b, where element (r, k) of a lies at r * r_step + k * k_step.
template <int R, int B, class T>
INLINE void tile(const T* a, int64_t r_step, int64_t k_step, int64_t inner, const T* b, int64_t b_row, T* out, int64_t out_row) {
    constexpr int W = Lanes<T>::width;
    Vec<T> sum[R][B];
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < B; ++c) sum[r][c] = load(out + r * out_row + c * W);
    for (int64_t k = 0; k < inner; ++k) {
        Vec<T> right[B];
        for (int c = 0; c < B; ++c) right[c] = load(b + k * b_row + c * W);
        for (int r = 0; r < R; ++r) {
            const Vec<T> left = splat(a[r * r_step + k * k_step]);
            for (int c = 0; c < B; ++c) sum[r][c] += left * right[c];
        }
    }
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < B; ++c) store(out + r * out_row + c * W, sum[r][c]);
}

template <int B, class T>
INLINE void tiles(int64_t rows, const T* a, int64_t r_step, int64_t k_step, int64_t inner, const T* b, int64_t row, T* out) {
    constexpr int R = B == 1 ? 8 : 6;
    int64_t r = 0;
    for (; r + R <= rows; r += R) tile<R, B>(a + r * r_step, r_step, k_step, inner, b, row, out + r * row, row);
    for (; r < rows; ++r) tile<1, B>(a + r * r_step, r_step, k_step, inner, b, row, out + r * row, row);
}

// out [rows, row] += a b.
template <class T>
INLINE void add_product(int64_t rows, const T* a, int64_t r_step, int64_t k_step, int64_t inner, const T* b, int64_t row, T* out) {
    constexpr int W = Lanes<T>::width;
    int64_t c = 0;
    for (; c + 2 * W <= row; c += 2 * W) tiles<2>(rows, a, r_step, k_step, inner, b + c, row, out + c);
    for (; c < row; c += W) tiles<1>(rows, a, r_step, k_step, inner, b + c, row, out + c);
}

// work(i, n, a) for rows i ... i + n of a product's left side, at most `slice` at a time, until all of a piece are done.
template <class T, class Work>
INLINE void over_left(const fused::Left& left, int64_t inner, const Parts& parts, int64_t part, int64_t slice, Work work) {
    const bool drops = left.noise.keep;
    const int64_t first = parts.first(part), last = parts.last(part), most = drops ? fused::NEAR : slice;
    T* near = (T*)left.near + part * (parts.size < fused::NEAR ? parts.size : fused::NEAR) * inner;
    for (int64_t i = first; i < last; i += most) {
        const int64_t n = last - i < most ? last - i : most;
        const T* rows = (const T*)left.rows;
        if (drops) drop_between<T>(left.noise, rows, i * inner, (i + n) * inner, near);
        work(i, n, drops ? near : rows + i * inner);
    }
}

template <class T> void multiply(const fused::Multiply& q, int64_t threads) {
    const Parts parts(q.n);
    in_pieces(parts.count, threads, [&](int64_t part) {
        over_left<T>(q.a, q.inner, parts, part, parts.size, [&](int64_t first, int64_t n, const T* a) {
            T* out = (T*)q.out + first * q.row;
            for (int64_t i = 0; i < n && !q.adds; ++i) {
                if (q.bias) __builtin_memcpy(out + i * q.row, q.bias, q.row * sizeof(T));
                else __builtin_memset(out + i * q.row, 0, q.row * sizeof(T));
            }
            add_product<T>(n, a, q.inner, 1, q.inner, (const T*)q.b, q.row, out);
        });
    });
}

template <class T> void sum_parts(const T* partial, int64_t parts, int64_t size, T* out, int64_t threads) {
    over_rows(size, threads, [&](int64_t, int64_t first, int64_t last) {
        for (int64_t k = first; k < last; ++k) out[k] = 0;
        for (int64_t part = 0; part < parts; ++part)
            for (int64_t k = first; k < last; ++k) out[k] += partial[part * size + k];
    });
}

constexpr int64_t SLICE = 256;  // rows whose numbers stay near while all of a product's tiles pass over them

template <class T> void multiply_back(const fused::MultiplyBack& q, int64_t threads) {
    const int64_t size = q.inner * q.row;
    const Parts parts(q.n);
    in_pieces(parts.count, threads, [&](int64_t part) {
        T* partial = (T*)q.partial + part * size;
        __builtin_memset(partial, 0, size * sizeof(T));
        over_left<T>(q.a, q.inner, parts, part, SLICE, [&](int64_t first, int64_t n, const T* a) {
            add_product<T>(q.inner, a, 1, q.inner, n, (const T*)q.grad + first * q.row, q.row, partial);
        });
    });
    sum_parts((const T*)q.partial, parts.count, size, (T*)q.out, threads);
}

// to[BLOCK registers] = the sum of as many columns over n rows.
template <int BLOCK, class T> INLINE void add_columns(const T* from, int64_t n, int64_t row, T* to) {
    constexpr int W = Lanes<T>::width;
    Vec<T> sum[BLOCK] = {};
    for (int64_t i = 0; i < n; ++i)
        for (int b = 0; b < BLOCK; ++b) sum[b] += load(from + i * row + b * W);
    for (int b = 0; b < BLOCK; ++b) store(to + b * W, sum[b]);
}

template <class T> void sum_columns(const fused::SumColumns& q, int64_t threads) {
    constexpr int W = Lanes<T>::width;
    over_rows(q.n, threads, [&](int64_t part, int64_t first, int64_t last) {
        const T* from = (const T*)q.from + first * q.row;
        T* sum = (T*)q.partial + part * q.row;
        int64_t c = 0;
        for (; c + 8 * W <= q.row; c += 8 * W) add_columns<8>(from + c, last - first, q.row, sum + c);
        for (; c < q.row; c += W) add_columns<1>(from + c, last - first, q.row, sum + c);
    });
    sum_parts((const T*)q.partial, Parts(q.n).count, q.row, (T*)q.out, 1);
}

template <class T> void gather(const fused::Gather& q, int64_t threads) {
    over_rows(q.count, threads, [&](int64_t, int64_t first, int64_t last) {
        for (int64_t k = first; k < last; ++k) ((T*)q.to)[k] = q.index[k] < 0 ? 0 : ((const T*)q.from)[q.index[k]];
    });
}

template <class T> void add(const fused::Add& q, int64_t threads) {
    over_rows(q.count, threads, [&](int64_t, int64_t first, int64_t last) {
        for (int64_t k = first; k < last; ++k) ((T*)q.to)[k] += ((const T*)q.from)[k];
    });
}

template <class T> void activate(const fused::Activate& q, int64_t threads) {
    constexpr int W = Lanes<T>::width;
    over_rows(q.n, threads, [&](int64_t, int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
            for (int64_t c = 0; c < q.row; c += W) {
                const int64_t at = i * q.row + c;
                Vec<T> v = load((const T*)q.from + at);
                if (q.more) v += load((const T*)q.more + at);
                if (q.bias) v += load((const T*)q.bias + c);
                v = v > 0 ? v : exp_of(v > 0 ? Vec<T>{} : v) - 1;
                store((T*)q.to + at, dropped_out<T>(q.noise, at, v));
            }
        }
    });
}

template <class T> void activate_back(const fused::ActivateBack& q, int64_t threads) {
    constexpr int W = Lanes<T>::width;
    const Vec<T> rest = splat((T)(1 / q.noise.scale));
    over_rows(q.n * q.row / W, threads, [&](int64_t, int64_t first, int64_t last) {
        for (int64_t at = first * W; at < last * W; at += W) {
            const Vec<T> value = load((const T*)q.to + at) * rest;  // ELU' = ELU + 1 below zero
            const Vec<T> grad = load((const T*)q.grad + at);
            store((T*)q.grad + at, dropped_out<T>(q.noise, at, value > 0 ? grad : grad * (value + 1)));
        }
    });
}

// One node's row of heads and channels, by head and channel.
INLINE int64_t place_of(const Shape& s, int64_t head, int64_t channel) {
    return s.heads_in_lanes ? channel * s.stat_row + head : head * (s.row / s.heads) + channel;
}

template <class T> INLINE T mean_of_heads(const T* node, const Shape& s, int64_t channel) {
    T sum = 0;
    for (int64_t h = 0; h < s.heads && channel < s.channels; ++h) sum += node[place_of(s, h, channel)];
    return sum / (T)s.heads;
}

template <class T> void logits(const fused::Logits& q, int64_t threads) {
    constexpr int W = Lanes<T>::width;
    const bool is_mean = q.shape.heads > 1 || q.shape.heads_in_lanes;  // else a node's row is its logits already
    over_rows(q.n, threads, [&](int64_t, int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
            const T* node = (const T*)q.from + i * q.shape.row;
            T* to = (T*)q.to + i * q.out_row;
            for (int64_t c = 0; is_mean && c < q.out_row; ++c) to[c] = mean_of_heads(node, q.shape, c);
            for (int64_t c = 0; c < q.out_row; c += W) {
                Vec<T> v = load((is_mean ? to : node) + c);
                if (q.more) v += load((const T*)q.more + i * q.out_row + c);
                if (q.bias) v += load((const T*)q.bias + c);
                store(to + c, v);
            }
        }
    });
}

template <class T> INLINE double node_loss(const fused::Loss& q, int64_t node, int64_t label) {
    constexpr int W = Lanes<T>::width;
    const T* in = (const T*)q.logits + node * q.row;
    T *out = (T*)q.grad + node * q.row, top = in[0];
    for (int64_t c = 1; c < q.classes; ++c) top = in[c] > top ? in[c] : top;
    for (int64_t c = 0; c < q.row; c += W) store(out + c, exp_of(load(in + c) - top > 0 ? Vec<T>{} : load(in + c) - top));
    T sum = 0;
    for (int64_t c = 0; c < q.row; ++c) sum += out[c] = c < q.classes ? out[c] : 0;
    for (int64_t c = 0; c < q.row; ++c) out[c] /= sum * (T)q.count;
    out[label] -= 1 / (T)q.count;
    return __builtin_log((double)sum) + (double)top - (double)in[label];
}

template <class T> void loss(const fused::Loss& q, int64_t threads) {
    over_rows(q.n, threads, [&](int64_t, int64_t first, int64_t last) {
        __builtin_memset((T*)q.grad + first * q.row, 0, (last - first) * q.row * sizeof(T));
    });
    over_rows(q.count, threads, [&](int64_t part, int64_t first, int64_t last) {
        q.partial[part] = 0;
        for (int64_t k = first; k < last; ++k) q.partial[part] += node_loss<T>(q, q.nodes[k], q.labels[k]);
    });
    double sum = 0;
    for (int64_t part = 0; part < Parts(q.count).count; ++part) sum += q.partial[part];
    *(T*)q.loss = (T)(sum / (double)q.count);
}

template <class T> void spread(const fused::Spread& q, int64_t threads) {
    const Shape& s = q.shape;
    over_rows(q.n, threads, [&](int64_t, int64_t first, int64_t last) {
        __builtin_memset((T*)q.to + first * s.row, 0, (last - first) * s.row * sizeof(T));
        for (int64_t i = first; i < last; ++i)
            for (int64_t h = 0; h < s.heads; ++h)
                for (int64_t c = 0; c < s.channels; ++c)
                    ((T*)q.to)[i * s.row + place_of(s, h, c)] = ((const T*)q.from)[i * q.from_row + c] / (T)s.heads;
    });
}

// As torch.optim.Adam with its default betas and epsilon; weight decay is part of the gradient. The numbers come by
// value: behind a reference they might lie in the arrays, and the loop would go one number at a time.
template <class T>
void adam_of(int64_t count, T* __restrict parameter, const T* __restrict grad, T* __restrict first, T* __restrict second, T rate, T root, T decay) {
    for (int64_t k = 0; k < count; ++k) {
        const T g = grad[k] + decay * parameter[k];
        first[k] += (T)(1 - 0.9) * (g - first[k]);
        second[k] = (T)0.999 * second[k] + (T)(1 - 0.999) * g * g;
        const T size = sizeof(T) == 4 ? (T)__builtin_sqrtf((float)second[k]) : (T)__builtin_sqrt((double)second[k]);
        parameter[k] -= rate * first[k] / (size * root + (T)1e-8);
    }
}

template <class T> void adam(const fused::Adam& q, int64_t threads) {
    over_rows(q.count, threads, [&](int64_t, int64_t begin, int64_t end) {
        adam_of<T>(end - begin, (T*)q.parameter + begin, (const T*)q.grad + begin, (T*)q.first + begin, (T*)q.second + begin,
                   (T)q.clock[0], (T)q.clock[1], (T)q.weight_decay);
    });
}

inline void fill(const fused::Fill& q, int64_t threads) {
    fill_bits(*q.key + (uint64_t)q.stream * 0xd1342543de82ef95ull, (uint32_t)q.threshold, q.count, q.keep, threads);
}

template <class T> void run_one(const Call& call, int64_t threads) {
    const void* q = call.what;
    switch ((Kind)call.kind) {
        case fused::FILL: return fill(*(const fused::Fill*)q, threads);
        case fused::SPARSE: return sparse_product<T>(*(const fused::SparseProduct*)q, threads);
        case fused::ATTEND: return attend<T>(*((const fused::AttendCall*)q)->attention, ((const fused::AttendCall*)q)->v2, false);
        case fused::ATTEND_BACK: return attend<T>(*((const fused::AttendCall*)q)->attention, ((const fused::AttendCall*)q)->v2, true);
        case fused::MULTIPLY: return multiply<T>(*(const fused::Multiply*)q, threads);
        case fused::MULTIPLY_BACK: return multiply_back<T>(*(const fused::MultiplyBack*)q, threads);
        case fused::GATHER: return gather<T>(*(const fused::Gather*)q, threads);
        case fused::ADD: return add<T>(*(const fused::Add*)q, threads);
        case fused::SUM_COLUMNS: return sum_columns<T>(*(const fused::SumColumns*)q, threads);
        case fused::DROP: return drop<T>(*(const fused::Drop*)q, threads);
        case fused::ACTIVATE: return activate<T>(*(const fused::Activate*)q, threads);
        case fused::ACTIVATE_BACK: return activate_back<T>(*(const fused::ActivateBack*)q, threads);
        case fused::LOGITS: return logits<T>(*(const fused::Logits*)q, threads);
        case fused::LOSS: return loss<T>(*(const fused::Loss*)q, threads);
        case fused::SPREAD: return spread<T>(*(const fused::Spread*)q, threads);
        case fused::ADAM: return adam<T>(*(const fused::Adam*)q, threads);
    }
}

template <class T> void run(const Call* calls, int64_t count, int64_t threads) {
    for (int64_t k = 0; k < count; ++k) run_one<T>(calls[k], threads);
}

}  // namespace NAMESPACE
