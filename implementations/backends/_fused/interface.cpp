// What Python calls. Plain C: addresses and numbers; library.py declares the same.
#include <chrono>

#include "graph.h"
#include "types.h"

namespace {

bool use_wide = true;

bool has_wide() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

fused::Kernels kernels(int64_t doubles) {
#if defined(__x86_64__)
    if (use_wide && has_wide()) return wide::kernels(doubles);
#endif
    return plain::kernels(doubles);
}

}  // namespace

extern "C" {

// Which sources this was compiled from: library.py reads the same of those that lie there.
int64_t fused_sources() { return FUSED_SOURCES; }

// 1 if the AVX2 kernels are in use from now on; `wanted` 0 turns them off.
int64_t fused_use_wide(int64_t wanted) {
    use_wide = wanted;
    return use_wide && has_wide();
}

int64_t fused_stats(int64_t heads_in_lanes) { return fused::stats_of(heads_in_lanes); }
int64_t fused_parts() { return fused::PARTS; }

void fused_sort(const int64_t* key, int64_t count, int64_t num_rows, int64_t* rows, uint32_t* order) {
    sort_by(key, count, num_rows, rows, order);
}
void fused_sort32(const int32_t* key, int64_t count, int64_t num_rows, int64_t* rows, uint32_t* order) {
    sort_by(key, count, num_rows, rows, order);
}

void fused_attend(const fused::Attention* q, int64_t doubles, int64_t v2, int64_t backward) { kernels(doubles).attend(*q, v2, backward); }

void fused_to_canonical(const void* from, void* to, int64_t n, const fused::Shape* shape, int64_t doubles, int64_t threads) {
    kernels(doubles).to_canonical(from, to, n, *shape, threads);
}
void fused_from_canonical(const void* from, void* to, int64_t n, const fused::Shape* shape, int64_t doubles, int64_t threads) {
    kernels(doubles).from_canonical(from, to, n, *shape, threads);
}

void fused_run(const fused::Call* calls, int64_t count, int64_t doubles, int64_t threads) { kernels(doubles).run(calls, count, threads); }

// Seconds that each call takes, added to what is there.
void fused_run_timed(const fused::Call* calls, int64_t count, int64_t doubles, int64_t threads, double* seconds) {
    for (int64_t k = 0; k < count; ++k) {
        const auto start = std::chrono::steady_clock::now();
        kernels(doubles).run(calls + k, 1, threads);
        seconds[k] += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
}

void fused_fill_bits(uint64_t key, uint32_t threshold, int64_t count, uint8_t* keep, int64_t threads) {
    kernels(0).fill_bits(key, threshold, count, keep, threads);
}

}  // extern "C"
