// Dropout decisions by counter: decision n under a 64-bit key is a hash of both, whoever computes it and when.
#pragma once
#include "vector.h"

namespace NAMESPACE {

typedef uint32_t Words __attribute__((vector_size(32)));

struct Key {
    uint32_t first, second;
};

// Counters beyond 2^32 take another key.
INLINE Key key_of(uint64_t key, uint64_t block) {
    uint64_t z = key + 0x9e3779b97f4a7c15ull * (block + 1);  // splitmix64
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    return {(uint32_t)z, (uint32_t)(z >> 32)};
}

// Wellons' triple32, a bijection of 32-bit words with little bias, keyed before its first and second round.
INLINE Words hash_of(Words counter, Key key) {
    Words x = counter ^ key.first;
    x = (x ^ (x >> 17)) * 0xed5ad4bbu;
    x = ((x ^ (x >> 11)) + key.second) * 0xac4c1b51u;
    x = (x ^ (x >> 15)) * 0x31848babu;
    return x ^ (x >> 14);
}

INLINE uint32_t keep_bits(Words counter, Key key, uint32_t threshold) {
    const Words hash = hash_of(counter, key) ^ 0x80000000u;
    const Mask<float> kept = (Mask<float>)hash >= (int32_t)(threshold ^ 0x80000000u);
    return bits_of(kept);
}

// Bits of `count` decisions from the first on; dropped where the hash lies below the threshold.
inline void fill_bits(uint64_t key, uint32_t threshold, int64_t count, uint8_t* keep, int64_t threads) {
    const Words step = {0, 1, 2, 3, 4, 5, 6, 7};
    const Parts parts((count + 7) / 8);
    in_pieces(parts.count, threads, [&](int64_t part) {
        for (int64_t byte = parts.first(part); byte < parts.last(part);) {
            const uint64_t block = (uint64_t)byte >> 29;
            const Key own = key_of(key, block);
            const int64_t end = (int64_t)((block + 1) << 29) < parts.last(part) ? (int64_t)((block + 1) << 29) : parts.last(part);
            for (; byte < end; ++byte) keep[byte] = (uint8_t)keep_bits((uint32_t)(byte << 3) + step, own, threshold);
        }
    });
}

}  // namespace NAMESPACE
