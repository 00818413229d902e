// The kernels of one instruction set, and the table through which they are called.
#pragma once
#include "step.h"

namespace NAMESPACE {

template <class T> fused::Kernels kernels_of() {
    return {
        run<T>,
        attend<T>,
        [](const void* from, void* to, int64_t n, const Shape& s, int64_t threads) { to_canonical((const T*)from, (T*)to, n, s, threads); },
        [](const void* from, void* to, int64_t n, const Shape& s, int64_t threads) { from_canonical((const T*)from, (T*)to, n, s, threads); },
        fill_bits,
    };
}

fused::Kernels kernels(bool doubles) { return doubles ? kernels_of<double>() : kernels_of<float>(); }

}  // namespace NAMESPACE
