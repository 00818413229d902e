// What Python hands over. Every struct here has its twin in library.py.
#pragma once
#include <cstdint>

namespace fused {

// Edges twice: by target in CSR order, which numbers them, and by source. The first `targets` nodes are those
// that receive; among the `sources` nodes each target is the node of its own number.
struct Edges {
    int64_t targets, sources, count;
    const int64_t* target_rows;     // [targets + 1]
    const int32_t* source_of;       // [count] by target
    const int64_t* source_rows;     // [sources + 1]
    const int32_t* target_of;       // [count] by source
    const uint32_t* position_of;    // [count] by source: the edge's number
};

// A layer's numbers lie in rows of `units` runs of registers. Heads in the lanes: channel c of a unit's heads is one
// register, `stride` apart. Channels in the lanes: a unit is one head, its registers follow each other.
struct Shape {
    int64_t heads, channels;
    int64_t heads_in_lanes;  // 1 or 0
    int64_t row;             // values of a node's row, padding included
    int64_t stat_row;        // values of a row with one number per head, padding included
};

// Dropout decisions, one bit each, in the order of what they decide about; null: nothing is dropped.
struct Noise {
    const uint8_t* keep;
    double scale;  // 1 / (1 - p)
};

// One attention layer: what is given, what comes out, what backward needs. Pointers are to float or double.
struct Attention {
    Edges edges;
    Shape shape;
    Noise noise;
    double slope;
    int64_t threads;
    int64_t training;      // whether to keep what backward needs
    const void* source;    // [sources, row] what a node sends; GATv2: also its part in scores
    const void* target;    // [targets, row] GATv2: a target's part in scores
    const void* a_source;  // [row]; GATv2: the attention vector
    const void* a_target;  // [row]
    void* source_score;    // [sources, stat_row] GAT
    void* stats;           // [targets, STATS, stat_row]
    void* out;             // [targets, row] aggregated
    void* positive;        // [targets, row] GAT: the part of `out` whose scores lie where LeakyReLU is steep
    void* score;           // [count, stat_row] GATv2
    uint8_t* sign;         // [count, row / width] GATv2: where LeakyReLU is steep
    // Backward.
    const void* grad_out;  // [targets, row]
    void* grad_score;      // [count, stat_row] GATv2; may be `score` itself
    void* grad_source;     // [sources, row]
    void* grad_target;     // [targets, row] GATv2
    void* grad_a;          // [2, row]: of a_source and a_target; GATv2 fills the first
    void* partial;         // [PARTS, 2, row]
};

constexpr int64_t STATS = 6;  // per target and head: target score, shift, 1 / sum, <grad, out>, steep share, gradient of target score
constexpr int64_t PARTS = 64;  // of a sum over nodes; fixed, so that results do not depend on threads

// A sparse matrix by row, and where each stored value lies in `values` and `noise`.
struct Sparse {
    int64_t rows, count;
    const int64_t* row_starts;   // [rows + 1]
    const int32_t* columns;      // [count]
    const uint32_t* places;      // [count]; null: 0, 1, 2, ...
};

// The kernels of one instruction set for one type of number.
struct Kernels {
    void (*attend)(const Attention&, bool v2, bool backward);
    void (*sparse_product)(const Sparse&, const void* values, const Noise&, const void* table, const void* bias, void* out, int64_t row, int64_t threads);
    void (*to_canonical)(const void* from, void* to, int64_t n, const Shape&, int64_t threads);
    void (*from_canonical)(const void* from, void* to, int64_t n, const Shape&, int64_t threads);
    void (*fill_bits)(uint64_t key, uint32_t threshold, int64_t count, uint8_t* keep, int64_t threads);
};

}  // namespace fused

namespace wide {
fused::Kernels kernels(bool doubles);  // AVX2 and FMA
}
namespace plain {
fused::Kernels kernels(bool doubles);
}
