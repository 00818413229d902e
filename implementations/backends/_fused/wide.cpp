// The kernels for processors with AVX2 and FMA. Headers of the standard library come first: what they define is shared
// with code that must run everywhere.
#include <cstdint>

#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#define FUSED_WIDE 1
#define NAMESPACE wide
#include "kernels.h"
#endif
