// How rows are cut into blocks of panels, and what a worker has to itself.
#pragma once

#include "Levels.h"
#include "Parallel.h"

static inline int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Bytes for so many floats, wherever the allocation begins.
static inline size_t aligned_size(int64_t floats) { return (size_t)floats * sizeof(float) + 64; }

// A worker's part of the scratch memory, at the start of a line of the cache.
static inline float *part_of_worker(void *scratch, size_t size, int32_t worker) {
  return (float *)(((uintptr_t)scratch + (size_t)worker * size + 63) & ~(uintptr_t)63);
}

// Brings some floats nearer, to be read or to be written.
static inline void prefetch(const float *from, int64_t count, const int to_write) {
  for (int64_t i = 0; i < count; i += 16) {
    if (to_write) {
      __builtin_prefetch(from + i, 1, 2);
    } else {
      __builtin_prefetch(from + i, 0, 2);
    }
  }
}
