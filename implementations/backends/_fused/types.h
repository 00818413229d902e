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

// Per target and head: target score, shift, 1 / sum, <grad, out>, steep share, gradient of target score. With channels
// in the lanes there are two of no use, so that those of a single head can be read as one register.
constexpr int64_t stats_of(bool heads_in_lanes) { return heads_in_lanes ? 6 : 8; }
constexpr int64_t PARTS = 64;  // of a sum over nodes; fixed, so that results do not depend on threads
constexpr int64_t NEAR = 48;   // rows of a product's left side that are dropped out at once; a multiple of a tile's

// A sparse matrix by row, and where each stored value lies in `values` and `noise`. A wide one is cut into bands of
// columns, one after another, so that what a band's columns name stays near while all rows go by.
struct Sparse {
    int64_t rows, count, bands;
    const int64_t* row_starts;   // [bands x rows + 1]
    const int32_t* columns;      // [count]
    const uint32_t* places;      // [count]; null: 0, 1, 2, ...
};

// A training step is a list of calls, made once and run again and again. Pointers are to float or double unless they
// say otherwise; rows have a multiple of a register's numbers.
enum Kind : int64_t {
    FILL, SPARSE, ATTEND, ATTEND_BACK, MULTIPLY, MULTIPLY_BACK, GATHER, ADD, SUM_COLUMNS, DROP, ACTIVATE, ACTIVATE_BACK, LOGITS, LOSS, SPREAD, ADAM
};
struct Call {
    int64_t kind;
    const void* what;  // the struct of that kind
};

// Dropout decisions of this step; `stream` tells masks of one step apart.
struct Fill {
    const uint64_t* key;
    int64_t stream, threshold, count;
    uint8_t* keep;
};
// out [x.rows, row] = x table + bias, for each of the products; x is read once for all.
struct Product {
    const void *table, *bias;  // bias may be null
    void* out;
    int64_t row;
};
constexpr int64_t MOST_PRODUCTS = 3;
struct SparseProduct {
    Sparse x;
    const void* values;
    int64_t in_order;  // 1: values follow the entries of x; 0: each lies at its entry's place, as decisions always do
    Noise noise;
    int64_t count;
    Product products[MOST_PRODUCTS];
};
struct AttendCall {
    const Attention* attention;
    int64_t v2;
};
// A product's left side [n, inner]: rows as they are, or dropped out NEAR at a time while they are read.
struct Left {
    const void* rows;
    Noise noise;
    void* near;  // [PARTS x NEAR, inner], or [n + NEAR, inner] if that is less; null without noise
};
// out [n, row] = a [n, inner] b [inner, row] + bias, or added to what is there.
struct Multiply {
    int64_t n, inner, row;
    Left a;
    const void *b, *bias;  // bias may be null
    void* out;
    int64_t adds;
};
// out [inner, row] = a^T grad, over the n rows of both.
struct MultiplyBack {
    int64_t n, inner, row;
    Left a;
    const void* grad;
    void *out, *partial;  // partial [PARTS, inner, row]
};
// to[k] = from[index[k]], and zero where the index is negative.
struct Gather {
    int64_t count;
    const int32_t* index;
    const void* from;
    void* to;
};
struct Add {
    int64_t count;
    const void* from;
    void* to;
};
struct SumColumns {
    int64_t n, row;
    const void* from;
    void *out, *partial;  // partial [PARTS, row]
};
struct Drop {
    int64_t count;
    Noise noise;
    const void* from;
    void* to;
};
// to = dropout(ELU(from + more + bias)); more and bias may be null.
struct Activate {
    int64_t n, row;
    const void *from, *more, *bias;
    Noise noise;
    void* to;
};
// grad, in place, from that of `to` to that of `from`.
struct ActivateBack {
    int64_t n, row;
    const void* to;
    Noise noise;
    void* grad;
};
// to [n, out_row] = mean over heads of from [n, row] + more + bias; more and bias may be null.
struct Logits {
    int64_t n, out_row;
    Shape shape;
    const void *from, *more, *bias;
    void* to;
};
// Mean cross-entropy of `count` nodes, and its gradient [n, row]: zero in the rows of all other nodes.
struct Loss {
    int64_t n, row, classes, count;
    const int64_t *nodes, *labels;  // [count]
    const void* logits;             // [n, row]
    void *grad, *loss;              // loss [1]
    double* partial;                // [PARTS]
};
// The mean over heads backwards: to [n, row] from [n, from_row].
struct Spread {
    int64_t n, from_row;
    Shape shape;
    const void* from;
    void* to;
};
struct Adam {
    int64_t count;
    void* parameter;
    const void* grad;
    void *first, *second;
    const double* clock;  // lr / (1 - beta_1^t), 1 / sqrt(1 - beta_2^t)
    double weight_decay;
};

// The kernels of one instruction set for one type of number.
struct Kernels {
    void (*run)(const Call*, int64_t count, int64_t threads);
    void (*attend)(const Attention&, bool v2, bool backward);
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
