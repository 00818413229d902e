// The kernels for processors with AVX2 and FMA. Headers of the standard library come first: what they define is shared
// with code that must run everywhere.
#include <cstdint>

#if defined(__x86_64__)
#if defined(__clang__)  // which passes over GCC's pragma
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define FUSED_WIDE 1
#define NAMESPACE wide
#include "kernels.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
