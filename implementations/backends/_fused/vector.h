// One register of floats or doubles, on GCC's and Clang's vector extensions, so that one source serves every processor.
// Part of wide.cpp and plain.cpp; NAMESPACE differs in each.
#pragma once

namespace NAMESPACE {

template <class T> struct Lanes;
template <> struct Lanes<float> {
    static constexpr int width = 8;
    static constexpr float lowest = -__FLT_MAX__;
    typedef float Vector __attribute__((vector_size(32)));
    typedef int32_t Mask __attribute__((vector_size(32)));
    typedef int32_t Integer;
};
template <> struct Lanes<double> {
    static constexpr int width = 4;
    static constexpr double lowest = -__DBL_MAX__;
    typedef double Vector __attribute__((vector_size(32)));
    typedef int64_t Mask __attribute__((vector_size(32)));
    typedef int64_t Integer;
};
template <class T> using Vec = typename Lanes<T>::Vector;
template <class T> using Mask = typename Lanes<T>::Mask;

#define INLINE inline __attribute__((always_inline))

template <class T> INLINE Vec<T> load(const T* from) {
    Vec<T> v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}
template <class T> INLINE void store(T* to, Vec<T> v) { __builtin_memcpy(to, &v, sizeof v); }
template <class T> INLINE Vec<T> splat(T x) { return x - Vec<T>{}; }

// Lanes of two registers by number, those of the second from `width` on.
#if defined(__clang__)
#define SHUFFLE(T, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(T, a, b, ...) __builtin_shuffle(a, b, Mask<T>{__VA_ARGS__})
#endif

// Bit k of the byte -> lane k all ones or all zeros.
template <class T> INLINE Mask<T> lanes_of(uint32_t byte);
template <> INLINE Mask<float> lanes_of<float>(uint32_t byte) {
    const Mask<float> bit = {1, 2, 4, 8, 16, 32, 64, 128};
    return ((int32_t)byte & bit) == bit;
}
template <> INLINE Mask<double> lanes_of<double>(uint32_t byte) {
    const Mask<double> bit = {1, 2, 4, 8};
    return ((int64_t)byte & bit) == bit;
}

// The same of each of four bytes that follow each other, brought into all lanes at once.
template <class T> struct FourBytes {
    Mask<T> all;
    INLINE explicit FourBytes(const uint8_t* from) {
        int32_t word;
        __builtin_memcpy(&word, from, 4);
        all = word - Mask<T>{};
    }
    INLINE Mask<T> lanes_of(int number) const {
        Mask<T> bit;
        for (int k = 0; k < Lanes<T>::width; ++k) bit[k] = (typename Lanes<T>::Integer)(1u << (8 * number + k));
        return (all & bit) == bit;
    }
};

#if defined(__x86_64__) && defined(FUSED_WIDE)
INLINE uint32_t bits_of(Mask<float> m) { return (uint32_t)__builtin_ia32_movmskps256((Vec<float>)m); }
INLINE uint32_t bits_of(Mask<double> m) { return (uint32_t)__builtin_ia32_movmskpd256((Vec<double>)m); }
#else
INLINE uint32_t bits_of(Mask<float> m) {
    uint32_t bits = 0;
    for (int k = 0; k < 8; ++k) bits |= (uint32_t)(m[k] & 1) << k;
    return bits;
}
INLINE uint32_t bits_of(Mask<double> m) {
    uint32_t bits = 0;
    for (int k = 0; k < 4; ++k) bits |= (uint32_t)(m[k] & 1) << k;
    return bits;
}
#endif

template <class T> INLINE Vec<T> only(Mask<T> where, Vec<T> v) { return (Vec<T>)(where & (Mask<T>)v); }

INLINE float sum_of(Vec<float> v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }
INLINE double sum_of(Vec<double> v) { return (v[0] + v[2]) + (v[1] + v[3]); }

INLINE float largest_of(Vec<float> v) {
    Vec<float> other = SHUFFLE(float, v, v, 4, 5, 6, 7, 0, 1, 2, 3);
    v = v > other ? v : other;
    other = SHUFFLE(float, v, v, 2, 3, 0, 1, 6, 7, 4, 5);
    v = v > other ? v : other;
    return v[0] > v[1] ? v[0] : v[1];
}
INLINE double largest_of(Vec<double> v) {
    const double left = v[0] > v[1] ? v[0] : v[1], right = v[2] > v[3] ? v[2] : v[3];
    return left > right ? left : right;
}

// Lane k: the sum of register k.
INLINE Vec<float> sums_of(const Vec<float>* r) {
    Vec<float> pair[4], four[2];
    for (int k = 0; k < 4; ++k) {
        pair[k] = SHUFFLE(float, r[2 * k], r[2 * k + 1], 0, 8, 1, 9, 4, 12, 5, 13) + SHUFFLE(float, r[2 * k], r[2 * k + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int k = 0; k < 2; ++k) {
        four[k] = SHUFFLE(float, pair[2 * k], pair[2 * k + 1], 0, 1, 8, 9, 4, 5, 12, 13) + SHUFFLE(float, pair[2 * k], pair[2 * k + 1], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    return SHUFFLE(float, four[0], four[1], 0, 1, 2, 3, 8, 9, 10, 11) + SHUFFLE(float, four[0], four[1], 4, 5, 6, 7, 12, 13, 14, 15);
}
INLINE Vec<double> sums_of(const Vec<double>* r) {
    const Vec<double> left = SHUFFLE(double, r[0], r[1], 0, 4, 2, 6) + SHUFFLE(double, r[0], r[1], 1, 5, 3, 7);
    const Vec<double> right = SHUFFLE(double, r[2], r[3], 0, 4, 2, 6) + SHUFFLE(double, r[2], r[3], 1, 5, 3, 7);
    return SHUFFLE(double, left, right, 0, 1, 4, 5) + SHUFFLE(double, left, right, 2, 3, 6, 7);
}

// Lane k: the first number of row at[k].
template <class Place> INLINE Vec<float> gathered(const float* table, int64_t row, const Place* at) {
    const auto of = [&](int k) { return table[at[k] * row]; };
    return Vec<float>{of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7)};
}
template <class Place> INLINE Vec<double> gathered(const double* table, int64_t row, const Place* at) {
    const auto of = [&](int k) { return table[at[k] * row]; };
    return Vec<double>{of(0), of(1), of(2), of(3)};
}

// The first four numbers of a register's width of rows: of number n, that of row at[k] in lane k of column[n].
INLINE void first_four(const float* table, int64_t row, const int32_t* at, Vec<float>* column) {
    Vec<float> r[8], low[4], high[4];
    for (int k = 0; k < 8; ++k) r[k] = load(table + at[k] * row);
    for (int k = 0; k < 4; ++k) {
        low[k] = SHUFFLE(float, r[2 * k], r[2 * k + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        high[k] = SHUFFLE(float, r[2 * k], r[2 * k + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int n = 0; n < 4; ++n) {
        const Vec<float>* from = n < 2 ? low : high;
        const Vec<float> left = n % 2 ? SHUFFLE(float, from[0], from[1], 2, 3, 10, 11, 6, 7, 14, 15) : SHUFFLE(float, from[0], from[1], 0, 1, 8, 9, 4, 5, 12, 13);
        const Vec<float> right = n % 2 ? SHUFFLE(float, from[2], from[3], 2, 3, 10, 11, 6, 7, 14, 15) : SHUFFLE(float, from[2], from[3], 0, 1, 8, 9, 4, 5, 12, 13);
        column[n] = SHUFFLE(float, left, right, 0, 1, 2, 3, 8, 9, 10, 11);
    }
}
INLINE void first_four(const double* table, int64_t row, const int32_t* at, Vec<double>* column) {
    for (int n = 0; n < 4; ++n) column[n] = gathered(table + n, row, at);
}

template <class T> INLINE Vec<T> leaky_relu(Vec<T> x, Vec<T> slope) { return x > 0 ? x : x * slope; }

// exp for x <= 0, a few units in the last place as far as the smallest normal number, and soon below it zero: there the
// power of two is nothing but zeros. NaN stays NaN.
INLINE Vec<float> exp_of(Vec<float> x) {
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
    x = x < -88.03f ? splat(-88.03f) : x;  // -127 ln(2)
    const Vec<float> shifted = x * 1.44269504088896341f + magic;
    const Vec<float> n = shifted - magic;
    Vec<float> r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    Vec<float> p = r * 1.9875691500e-4f + 1.3981999507e-3f;  // Cephes expf
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + (r + 1.0f);
    const Mask<float> power = ((Mask<float>)shifted + 127) << 23;
    return p * (Vec<float>)power;
}
INLINE Vec<double> exp_of(Vec<double> x) {
    const double magic = 6755399441055744.0;  // 1.5 * 2^52
    x = x < -709.09 ? splat(-709.09) : x;  // -1023 ln(2)
    const Vec<double> shifted = x * 1.4426950408889634074 + magic;
    const Vec<double> n = shifted - magic;
    Vec<double> r = x - n * 6.93145751953125e-1;
    r = r - n * 1.42860682030941723212e-6;
    Vec<double> p = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0;  // Taylor to r^13 / 13!, |r| <= ln(2) / 2
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * (r * r) + (r + 1.0);
    const Mask<double> power = ((Mask<double>)shifted + 1023) << 52;
    return p * (Vec<double>)power;
}

}  // namespace NAMESPACE
