// What both operators' kernels are made of: how rows lie in registers, and the two loops over a chunk of edges.
#pragma once
#include "pool.h"
#include "types.h"
#include "vector.h"

namespace NAMESPACE {

using fused::Attention;
using fused::Noise;
using fused::PARTS;
using fused::STATS;
using fused::Shape;

constexpr int CHUNK = 32;  // edges whose weights are computed before their rows are added up
constexpr int AHEAD = 12;  // edges between asking for a row and using it

template <class Work> void in_pieces(int64_t count, int64_t threads, Work work) {
    fused::run_pieces(count, threads, [](void* w, int64_t number) { (*(Work*)w)(number); }, &work);
}

// A range of nodes in PARTS pieces at most.
struct Parts {
    int64_t nodes, size, count;
    explicit Parts(int64_t n) : nodes(n), size((n + PARTS - 1) / PARTS < 16 ? 16 : (n + PARTS - 1) / PARTS), count((n + size - 1) / size) {}
    int64_t first(int64_t part) const { return part * size; }
    int64_t last(int64_t part) const { return (part + 1) * size < nodes ? (part + 1) * size : nodes; }
};

// One unit of a layer's rows: a group of heads in the lanes, or one head with its channels in the lanes.
template <class T, bool HEADS> struct Unit {
    static constexpr int W = Lanes<T>::width;
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

    INLINE const T* of(const T* table, int64_t node) const { return table + node * row + offset; }
    INLINE T* of(T* table, int64_t node) const { return table + node * row + offset; }
    // One number per head: a register of heads, or the same in all lanes.
    INLINE Vec<T> number_of(const T* table, int64_t place) const {
        const T* at = table + place * stat_row + stat;
        return HEADS ? load(at) : splat(*at);
    }
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

// at[c] += sum of weight[k] * row k: the registers of BLOCK channels stay put while the chunk's rows go by.
template <int BLOCK, class T, bool HEADS>
INLINE void add_block(const Unit<T, HEADS>& u, T* at, int64_t c, const T* table, const int32_t* rows, int n, const Vec<T>* weight) {
    Vec<T> sum[BLOCK];
    for (int b = 0; b < BLOCK; ++b) sum[b] = load(at + (c + b) * u.stride);
    for (int k = 0; k < n; ++k) {
        const T* row = u.of(table, rows[k]) + c * u.stride;
        for (int b = 0; b < BLOCK; ++b) sum[b] += weight[k] * load(row + b * u.stride);
    }
    for (int b = 0; b < BLOCK; ++b) store(at + (c + b) * u.stride, sum[b]);
}
template <class T, bool HEADS>
INLINE void add_rows(const Unit<T, HEADS>& u, T* at, const T* table, const int32_t* rows, int n, const Vec<T>* weight) {
    int64_t c = 0;
    for (; c + 8 <= u.count; c += 8) add_block<8>(u, at, c, table, rows, n, weight);
    for (; c + 4 <= u.count; c += 4) add_block<4>(u, at, c, table, rows, n, weight);
    for (; c < u.count; ++c) add_block<1>(u, at, c, table, rows, n, weight);
}

// The same twice from one pass over the rows.
template <int BLOCK, class T, bool HEADS>
INLINE void add_block_twice(const Unit<T, HEADS>& u, T* first, T* second, int64_t c, const T* table, const int32_t* rows, int n,
                            const Vec<T>* weight, const Vec<T>* other) {
    Vec<T> sum[BLOCK], more[BLOCK];
    for (int b = 0; b < BLOCK; ++b) sum[b] = load(first + (c + b) * u.stride), more[b] = load(second + (c + b) * u.stride);
    for (int k = 0; k < n; ++k) {
        const T* row = u.of(table, rows[k]) + c * u.stride;
        for (int b = 0; b < BLOCK; ++b) {
            const Vec<T> value = load(row + b * u.stride);
            sum[b] += weight[k] * value;
            more[b] += other[k] * value;
        }
    }
    for (int b = 0; b < BLOCK; ++b) store(first + (c + b) * u.stride, sum[b]), store(second + (c + b) * u.stride, more[b]);
}
template <class T, bool HEADS>
INLINE void add_rows_twice(const Unit<T, HEADS>& u, T* first, T* second, const T* table, const int32_t* rows, int n,
                           const Vec<T>* weight, const Vec<T>* other) {
    int64_t c = 0;
    for (; c + 4 <= u.count; c += 4) add_block_twice<4>(u, first, second, c, table, rows, n, weight, other);
    for (; c < u.count; ++c) add_block_twice<1>(u, first, second, c, table, rows, n, weight, other);
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
