// The kernels of one instruction set, and the table through which they are called.
#pragma once
#include "gat.h"
#include "gatv2.h"
#include "products.h"
#include "random.h"

namespace NAMESPACE {

template <class T> void attend(const Attention& q, bool v2, bool backward) {
    const bool heads = q.shape.heads_in_lanes;
    if (v2 && backward) return heads ? gatv2_backward<T, true>(q) : gatv2_backward<T, false>(q);
    if (v2) return heads ? gatv2_forward<T, true>(q) : gatv2_forward<T, false>(q);
    if (backward) return heads ? gat_backward<T, true>(q) : gat_backward<T, false>(q);
    return heads ? gat_forward<T, true>(q) : gat_forward<T, false>(q);
}

template <class T> fused::Kernels kernels_of() {
    return {
        attend<T>,
        [](const Sparse& x, const void* values, const Noise& noise, const void* table, const void* bias, void* out, int64_t row,
           int64_t threads) { sparse_product(x, (const T*)values, noise, (const T*)table, (const T*)bias, (T*)out, row, threads); },
        [](const void* from, void* to, int64_t n, const Shape& s, int64_t threads) { to_canonical((const T*)from, (T*)to, n, s, threads); },
        [](const void* from, void* to, int64_t n, const Shape& s, int64_t threads) { from_canonical((const T*)from, (T*)to, n, s, threads); },
        fill_bits,
    };
}

fused::Kernels kernels(bool doubles) { return doubles ? kernels_of<double>() : kernels_of<float>(); }

}  // namespace NAMESPACE
