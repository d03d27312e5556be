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
#include "StrassenDecode.cuh"

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

/// Windows that a warp decodes in one go, and the number of such pieces in a strip and in a block.
constexpr int piecesPerStrip = 4;
constexpr int piecesPerBlock = stripsPerBlock * piecesPerStrip;
constexpr int windowsPerPiece = 2 * windows / piecesPerStrip;

__device__ __forceinline__ i64 fragmentOffset(int block, int strip, int plane) {
  return (((i64)block * stripsPerBlock + strip) * rank + plane) * stripElements;
}

/// One piece of block (m, n): four windows of a strip, for one warp. A step covers eight lanes' chunks of all planes: two rows of
/// a window.
struct Piece {
  const Storage* source;
  int firstRow, firstTile;
  int rows[4];  // the lane's source row in each of the four steps of a window

  static constexpr int steps = windowsPerPiece * 4;
  static_assert(windows % windowsPerPiece == 0, "the rows of a piece lie in one half");

  __device__ __forceinline__ Piece(
      const Storage* fragments, const Output& output, int m, int n, int nBlocks, int piece, int lane) {
    const int strip = piece / piecesPerStrip, g = lane >> 2;
    const int window = piece % piecesPerStrip * windowsPerPiece;
    source = fragments + fragmentOffset(m * nBlocks + n, strip, 0) + window * windowElements + g * vectorLength;
    firstRow = m * tileRowsPerBlock + strip * 16;
    firstTile = n * tileColumns + window % windows * windowColumns + 2 * (g & 3);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int tileRow = firstRow + window / windows * 8 + 2 * i + (g >> 2);
      rows[i] = tileRow < output.tileRows ? output.map.row(tileRow, lane & 3) : -1;
    }
  }

  __device__ __forceinline__ const Storage* chunk(int step) const { return source + step * 8 * vectorLength; }
};
