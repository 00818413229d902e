// Edges into CSR order.
#pragma once
#include <cstdint>

// Stable: among equals the order stays. rows [num_rows + 1]; order [count] gives each place's former position.
template <class Index> void sort_by(const Index* key, int64_t count, int64_t num_rows, int64_t* rows, uint32_t* order) {
    for (int64_t r = 0; r <= num_rows; ++r) rows[r] = 0;
    for (int64_t e = 0; e < count; ++e) ++rows[key[e] + 1];
    for (int64_t r = 0; r < num_rows; ++r) rows[r + 1] += rows[r];
    for (int64_t e = 0; e < count; ++e) order[rows[key[e]]++] = (uint32_t)e;
    for (int64_t r = num_rows; r > 0; --r) rows[r] = rows[r - 1];
    rows[0] = 0;
}
