// The order in which a products kernel leaves its planes for a decode: as its accumulators lie in registers.
//
// An output block is 128 tile rows x tileColumns (128 or 256) tile columns of all planes. Block (m, n) of a grid of nBlocks
// columns starts at element (m * nBlocks + n) * RANK * 128 * tileColumns. Inside:
//
//     [strip 0 ..< 8][plane][half 0 ..< 2][window][lane][chunk of 16 bytes]
//
// Strip s is the 16 rows of one warp. Lane 4 g + q of half h holds row 16 s + 8 h + g; a window is 32 columns (16 for float32);
// the chunk holds columns 8 i + 2 q and 8 i + 2 q + 1 of its window, i = 0 ..< 4 (0 ..< 2). So a warp's store and a warp's load
// are both contiguous, and neither needs shared memory.
#pragma once
#include "Element.cuh"
#include "Rank.cuh"

#ifndef TESSERA_TILE_COLUMNS
#define TESSERA_TILE_COLUMNS 256
#endif

constexpr int tileColumns = TESSERA_TILE_COLUMNS;
constexpr int tileRowsPerBlock = 128;
constexpr int stripsPerBlock = 8;
constexpr int windowColumns = 4 * vectorLength;
constexpr int windows = tileColumns / windowColumns;
constexpr int windowElements = 32 * vectorLength;
constexpr int stripElements = 16 * tileColumns;

__device__ __forceinline__ i64 fragmentOffset(int block, int strip, int plane) {
  return (((i64)block * stripsPerBlock + strip) * rank + plane) * stripElements;
}
