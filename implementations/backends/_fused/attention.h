// What both operators' kernels are made of: how rows lie in registers, and the two loops over a chunk of edges.
#pragma once
#include "pool.h"
#include "types.h"
#include "vector.h"

namespace NAMESPACE {

using fused::Attention;
using fused::Noise;
using fused::PARTS;
using fused::Shape;

constexpr int CHUNK = 32;  // edges whose weights are computed before their rows are added up
constexpr int AHEAD = 12;  // edges between asking for a row and using it

template <class Work> void in_pieces(int64_t count, int64_t threads, Work work) {
    fused::run_pieces(count, threads, [](void* w, int64_t number) { (*(Work*)w)(number); }, &work);
}

// A range of nodes in PARTS pieces at most, or in fewer.
struct Parts {
    int64_t nodes, size, count;
    explicit Parts(int64_t n, int64_t most = PARTS) : nodes(n), size((n + most - 1) / most < 16 ? 16 : (n + most - 1) / most), count((n + size - 1) / size) {}
    int64_t first(int64_t part) const { return part * size; }
    int64_t last(int64_t part) const { return (part + 1) * size < nodes ? (part + 1) * size : nodes; }
};

// One unit of a layer's rows: a group of heads in the lanes, or one head with its channels in the lanes.
template <class T, bool HEADS> struct Unit {
    static constexpr int W = Lanes<T>::width;
    static constexpr int64_t STATS = fused::stats_of(HEADS);
    int64_t offset, stride, count, row, stat, stat_row, head, heads;

    Unit(const Shape& s, int64_t unit)
        : offset(HEADS ? unit * W : unit * (s.row / s.heads)),
          stride(HEADS ? s.stat_row : W),
          count(HEADS ? s.channels : s.row / s.heads / W),
          row(s.row),
          stat(HEADS ? unit * W : unit),
          stat_row(s.stat_row),
          head(HEADS ? unit * W : unit),
          heads(s.heads) {}
    static int64_t number(const Shape& s) { return HEADS ? s.stat_row / W : s.heads; }

    // Whether there is one number an edge, so that a register can take the numbers of several edges.
    INLINE bool is_single() const { return !HEADS && heads == 1; }
    INLINE const T* of(const T* table, int64_t node) const { return table + node * row + offset; }
    INLINE T* of(T* table, int64_t node) const { return table + node * row + offset; }
    // One number per head: a register of heads, or the same in all lanes.
    INLINE Vec<T> number_of(const T* table, int64_t place) const {
        const T* at = table + place * stat_row + stat;
        return HEADS ? load(at) : splat(*at);
    }
    INLINE void take_number(Vec<T>& number, const T* table, int64_t place) const { number = number_of(table, place); }
    INLINE void take_number(T& number, const T* table, int64_t place) const { number = table[place * stat_row + stat]; }
    INLINE void put_number(T* table, int64_t place, Vec<T> v) const {
        T* at = table + place * stat_row + stat;
        if (HEADS) store(at, v);
        else *at = v[0];
    }
    INLINE Vec<T> over_channels(Vec<T> v) const { return HEADS ? v : splat(sum_of(v)); }
    INLINE Vec<T> kept(const uint8_t* keep, int64_t edge, Vec<T> v) const {
        const int64_t first = edge * heads + head;
        if (!HEADS) {  // without a branch: which way it goes is a matter of chance
            const typename Lanes<T>::Integer bit = (keep[first >> 3] >> (first & 7)) & 1;
            return only<T>(Mask<T>{} - bit, v);
        }
        uint16_t bits;
        __builtin_memcpy(&bits, keep + (first >> 3), 2);
        return only<T>(lanes_of<T>(bits >> (first & 7)), v);
    }
    INLINE Vec<T> dot(const T* a, const T* b) const {
        Vec<T> even{}, odd{};
        int64_t c = 0;
        for (; c + 1 < count; c += 2) {
            even += load(a + c * stride) * load(b + c * stride);
            odd += load(a + (c + 1) * stride) * load(b + (c + 1) * stride);
        }
        if (c < count) even += load(a + c * stride) * load(b + c * stride);
        return over_channels(even + odd);
    }
    // Of a single head: lane k, the product with row nodes[k].
    INLINE Vec<T> dots(const T* table, const int32_t* nodes, const T* b) const {
        Vec<T> sum[W];
        for (int k = 0; k < W; ++k) sum[k] = load(of(table, nodes[k])) * load(b);
        for (int64_t c = 1; c < count; ++c) {
            for (int k = 0; k < W; ++k) sum[k] += load(of(table, nodes[k]) + c * W) * load(b + c * W);
        }
        return sums_of(sum);
    }
    INLINE void clear(T* at) const {
        for (int64_t c = 0; c < count; ++c) store(at + c * stride, Vec<T>{});
    }
    INLINE void scale(T* at, Vec<T> by) const {
        for (int64_t c = 0; c < count; ++c) store(at + c * stride, load(at + c * stride) * by);
    }
    INLINE void prefetch(const T* at) const {
        const int64_t bytes = (HEADS ? (count - 1) * stride + W : count * W) * (int64_t)sizeof(T);
        for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch((const char*)at + b);
    }
};

// number / total, what a softmax's weights are multiplied with. Shifts are never infinite, so a score of -inf has weight
// zero; where all have it, coefficients are zero, too, as the reference says. Those of scores that are NaN are NaN.
template <class T> INLINE Vec<T> divided(T number, Vec<T> total) { return only<T>(total != 0, number / total); }

// A chunk's weights are registers, or of a single head numbers.
template <class T> INLINE Vec<T> weight_of(const Vec<T>* weight, int k) { return weight[k]; }
template <class T> INLINE Vec<T> weight_of(const T* weight, int k) { return splat(weight[k]); }

// What a list says of the register's width of edges from `edge` on; near the end of the list its last is repeated.
template <class T, class Place = int32_t> struct Group {
    static constexpr int W = Lanes<T>::width;
    Place copy[W];
    const Place* at;
    int real;  // the first so many are asked for, the others belong to somebody else

    INLINE Group(const Place* list, int64_t edge, int64_t n, int64_t count) : at(list + edge), real(n < W ? (int)n : W) {
        if (edge + W <= count) return;
        for (int k = 0; k < W; ++k) copy[k] = list[edge + k < count ? edge + k : count - 1];
        at = copy;
    }
    INLINE Mask<T> is_real() const { return lanes_of<T>((1u << real) - 1); }
    INLINE void put(T* table, Vec<T> numbers) const {
        for (int k = 0; k < real; ++k) table[at[k]] = numbers[k];
    }
};

// Of a single head: the edges from `edge` on that are kept.
template <class T> INLINE Mask<T> kept_of(const uint8_t* keep, int64_t edge) {
    uint16_t bits;
    __builtin_memcpy(&bits, keep + (edge >> 3), 2);
    return lanes_of<T>(bits >> (edge & 7));
}

template <class T> INLINE Mask<T> kept_of(const uint8_t* keep, const Group<T, uint32_t>& edges) {
    uint32_t bits = 0;
    for (int k = 0; k < edges.W; ++k) bits |= (uint32_t)((keep[edges.at[k] >> 3] >> (edges.at[k] & 7)) & 1) << k;
    return lanes_of<T>(bits);
}

// Which chunk of a node's edges is at work: the first starts from nothing, the last multiplies what has been added up.
template <class T> struct Turn {
    bool is_first;
    Vec<T> scale;
    INLINE Vec<T> start(const T* at) const { return is_first ? Vec<T>{} : load(at); }
};

// at[c] += sum of weight[k] * row k: the registers of BLOCK channels stay put while the chunk's rows go by.
template <int BLOCK, class T, bool HEADS, class Weight>
INLINE void add_block(const Unit<T, HEADS>& u, T* at, int64_t c, const T* table, const int32_t* rows, int n, const Weight* weight, const Turn<T>& turn) {
    Vec<T> sum[BLOCK];
    for (int b = 0; b < BLOCK; ++b) sum[b] = turn.start(at + (c + b) * u.stride);
    for (int k = 0; k < n; ++k) {
        const T* row = u.of(table, rows[k]) + c * u.stride;
        for (int b = 0; b < BLOCK; ++b) sum[b] += weight_of<T>(weight, k) * load(row + b * u.stride);
    }
    for (int b = 0; b < BLOCK; ++b) store(at + (c + b) * u.stride, sum[b] * turn.scale);
}
template <class T, bool HEADS, class Weight>
INLINE void add_rows(const Unit<T, HEADS>& u, T* at, const T* table, const int32_t* rows, int n, const Weight* weight, const Turn<T>& turn) {
    int64_t c = 0;
    for (; c + 8 <= u.count; c += 8) add_block<8>(u, at, c, table, rows, n, weight, turn);
    for (; c + 4 <= u.count; c += 4) add_block<4>(u, at, c, table, rows, n, weight, turn);
    for (; c < u.count; ++c) add_block<1>(u, at, c, table, rows, n, weight, turn);
}

// The same twice from one pass over the rows.
template <int BLOCK, class T, bool HEADS, class Weight>
INLINE void add_block_twice(const Unit<T, HEADS>& u, T* first, T* second, int64_t c, const T* table, const int32_t* rows, int n,
                            const Weight* weight, const Weight* other, const Turn<T>& turn) {
    Vec<T> sum[BLOCK], more[BLOCK];
    for (int b = 0; b < BLOCK; ++b) sum[b] = turn.start(first + (c + b) * u.stride), more[b] = turn.start(second + (c + b) * u.stride);
    for (int k = 0; k < n; ++k) {
        const T* row = u.of(table, rows[k]) + c * u.stride;
        for (int b = 0; b < BLOCK; ++b) {
            const Vec<T> value = load(row + b * u.stride);
            sum[b] += weight_of<T>(weight, k) * value;
            more[b] += weight_of<T>(other, k) * value;
        }
    }
    for (int b = 0; b < BLOCK; ++b) {
        store(first + (c + b) * u.stride, sum[b] * turn.scale);
        store(second + (c + b) * u.stride, more[b] * turn.scale);
    }
}
template <class T, bool HEADS, class Weight>
INLINE void add_rows_twice(const Unit<T, HEADS>& u, T* first, T* second, const T* table, const int32_t* rows, int n,
                           const Weight* weight, const Weight* other, const Turn<T>& turn) {
    int64_t c = 0;
    for (; c + 4 <= u.count; c += 4) add_block_twice<4>(u, first, second, c, table, rows, n, weight, other, turn);
    for (; c < u.count; ++c) add_block_twice<1>(u, first, second, c, table, rows, n, weight, other, turn);
}

// A sum over nodes from its parts, in their order.
template <class T> void combine_parts(T* total, const T* partial, int64_t parts, int64_t row) {
    for (int64_t k = 0; k < row; ++k) {
        T sum = 0;
        for (int64_t part = 0; part < parts; ++part) sum += partial[part * 2 * row + k];
        total[k] = sum;
    }
}

}  // namespace NAMESPACE
