// How rows are cut into blocks of panels, and what a worker has to itself.
#pragma once

#include "Levels.h"
#include "Parallel.h"

// Panels of a block, at most.
#define MOST_PANELS 4

static inline int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Panels of a block, so that there are two blocks a thread at least and none waits long for the last.
static inline int64_t panels_of_block(int64_t panels, int32_t threads) {
  return smaller(MOST_PANELS, larger(1, panels / (2 * threads)));
}

// Bytes for so many floats, wherever the allocation begins.
static inline size_t aligned_size(int64_t floats) { return (size_t)floats * sizeof(float) + 64; }

// A worker's part of the scratch memory, at the start of a line of the cache.
static inline float *part_of_worker(void *scratch, size_t size, int32_t worker) {
  return (float *)(((uintptr_t)scratch + (size_t)worker * size + 63) & ~(uintptr_t)63);
}
