// Products with weights: out = x w + b for sparse x, and the layouts of rows.
#pragma once
#include "attention.h"

namespace NAMESPACE {

using fused::Sparse;

constexpr int64_t ENTRIES = 128;  // kept entries of a sparse row that are listed before they are used

// at[0 ... BLOCK registers] += sum of value[k] * row columns[k] of table.
template <int BLOCK, class T>
INLINE void add_entries(T* at, const T* table, int64_t row, const int32_t* columns, const T* values, int64_t n) {
    constexpr int W = Lanes<T>::width;
    Vec<T> sum[BLOCK];
    for (int b = 0; b < BLOCK; ++b) sum[b] = load(at + b * W);
    for (int64_t k = 0; k < n; ++k) {
        const T* from = table + columns[k] * row;
        const Vec<T> value = splat(values[k]);
        for (int b = 0; b < BLOCK; ++b) sum[b] += value * load(from + b * W);
    }
    for (int b = 0; b < BLOCK; ++b) store(at + b * W, sum[b]);
}

// out [row] += the listed entries of a sparse row times table.
template <class T> INLINE void add_listed(T* out, const T* table, int64_t row, const int32_t* columns, const T* kept, int64_t n) {
    constexpr int W = Lanes<T>::width;
    int64_t c = 0;
    for (; c + 8 * W <= row; c += 8 * W) add_entries<8>(out + c, table + c, row, columns, kept, n);
    for (; c + 4 * W <= row; c += 4 * W) add_entries<4>(out + c, table + c, row, columns, kept, n);
    for (; c < row; c += W) add_entries<1>(out + c, table + c, row, columns, kept, n);
}

template <class T> INLINE void start_row(const fused::Product& p, int64_t r) {
    T* out = (T*)p.out + r * p.row;
    if (p.bias) __builtin_memcpy(out, p.bias, p.row * sizeof(T));
    else __builtin_memset(out, 0, p.row * sizeof(T));
}

// What a band holds of row r, for every product, dropped entries left out.
template <class T> INLINE void add_sparse_row(const fused::SparseProduct& q, int64_t band, int64_t r) {
    const Sparse& x = q.x;
    const uint8_t* keep = q.noise.keep;
    const T *values = (const T*)q.values, scale = (T)q.noise.scale;
    int32_t columns[ENTRIES];
    T kept[ENTRIES];
    const int64_t* starts = x.row_starts + band * x.rows + r;
    for (int64_t k = starts[0]; k < starts[1];) {
        int64_t n = 0;
        const int64_t end = starts[1] - k < ENTRIES ? starts[1] : k + ENTRIES;
        for (; k < end; ++k) {  // without a branch on chance
            const int64_t place = x.places ? x.places[k] : k;
            columns[n] = x.columns[k];
            kept[n] = values[q.in_order ? k : place] * scale;
            n += keep ? (keep[place >> 3] >> (place & 7)) & 1 : 1;
        }
        for (int64_t p = 0; p < q.count; ++p) {
            const fused::Product& product = q.products[p];
            add_listed((T*)product.out + r * product.row, (const T*)product.table, product.row, columns, kept, n);
        }
    }
}

// A row's sum has the same order in however many pieces; of bands, few large ones keep near what is shared.
template <class T> void sparse_product(const fused::SparseProduct& q, int64_t threads) {
    const Parts parts(q.x.rows, q.x.bands == 1 ? PARTS : threads == 1 ? 1 : 4 * threads);
    in_pieces(parts.count, threads, [&](int64_t part) {
        for (int64_t band = 0; band < q.x.bands; ++band) {
            for (int64_t r = parts.first(part); r < parts.last(part); ++r) {
                for (int64_t p = 0; p < q.count && band == 0; ++p) start_row<T>(q.products[p], r);
                add_sparse_row<T>(q, band, r);
            }
        }
    });
}

#if defined(__x86_64__) && defined(FUSED_WIDE)
// An 8 x 8 block, rows `from_stride` apart, becomes its transpose.
INLINE void transpose_block(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
    typedef Vec<float> V;
    V r[8], t[8];
    for (int k = 0; k < 8; ++k) r[k] = load(from + k * from_stride);
    for (int k = 0; k < 8; k += 2) {
        t[k] = SHUFFLE(float, r[k], r[k + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        t[k + 1] = SHUFFLE(float, r[k], r[k + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int k = 0; k < 8; k += 4) {
        r[k] = SHUFFLE(float, t[k], t[k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        r[k + 1] = SHUFFLE(float, t[k], t[k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        r[k + 2] = SHUFFLE(float, t[k + 1], t[k + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        r[k + 3] = SHUFFLE(float, t[k + 1], t[k + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int k = 0; k < 4; ++k) {
        store(to + k * to_stride, SHUFFLE(float, r[k], r[k + 4], 0, 1, 2, 3, 8, 9, 10, 11));
        store(to + (k + 4) * to_stride, SHUFFLE(float, r[k], r[k + 4], 4, 5, 6, 7, 12, 13, 14, 15));
    }
}
#else
INLINE void transpose_block(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
    for (int k = 0; k < 8; ++k)
        for (int m = 0; m < 8; ++m) to[m * to_stride + k] = from[k * from_stride + m];
}
#endif
INLINE void transpose_block(const double* from, int64_t from_stride, double* to, int64_t to_stride) {
    for (int k = 0; k < 8; ++k)
        for (int m = 0; m < 8; ++m) to[m * to_stride + k] = from[k * from_stride + m];
}

// to [columns, rows] = from [rows, columns] transposed, with the given strides between rows; other places stay.
template <class T> INLINE void transpose(const T* from, int64_t from_stride, T* to, int64_t to_stride, int64_t rows, int64_t columns) {
    if (rows % 8 == 0 && columns % 8 == 0) {
        for (int64_t r = 0; r < rows; r += 8)
            for (int64_t c = 0; c < columns; c += 8) transpose_block(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
    } else {
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < columns; ++c) to[c * to_stride + r] = from[r * from_stride + c];
    }
}

// Rows with the heads in the lanes [n, C, heads padded] <-> canonical rows [n, H, C].
template <class T> void to_canonical(const T* from, T* to, int64_t n, const Shape& s, int64_t threads) {
    const Parts parts(n);
    in_pieces(parts.count, threads, [&](int64_t part) {
        for (int64_t i = parts.first(part); i < parts.last(part); ++i)
            transpose(from + i * s.row, s.stat_row, to + i * s.heads * s.channels, s.channels, s.channels, s.heads);
    });
}
template <class T> void from_canonical(const T* from, T* to, int64_t n, const Shape& s, int64_t threads) {
    const Parts parts(n);
    in_pieces(parts.count, threads, [&](int64_t part) {
        for (int64_t i = parts.first(part); i < parts.last(part); ++i) {
            if (s.stat_row != s.heads) __builtin_memset(to + i * s.row, 0, s.row * sizeof(T));
            transpose(from + i * s.heads * s.channels, s.channels, to + i * s.row, s.stat_row, s.heads, s.channels);
        }
    });
}

}  // namespace NAMESPACE
