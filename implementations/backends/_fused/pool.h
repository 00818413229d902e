// Numbered pieces of work on a few threads. Which thread takes which piece is left to chance, so pieces must write to
// places of their own; what is summed over pieces is summed afterwards, in their order.
#pragma once
#include <cstdint>

namespace fused {

typedef void (*Piece)(void* context, int64_t number);

// Runs piece(context, 0) ... piece(context, count - 1) on up to `threads` threads, the calling one among them.
void run_pieces(int64_t count, int64_t threads, Piece piece, void* context);

}  // namespace fused
