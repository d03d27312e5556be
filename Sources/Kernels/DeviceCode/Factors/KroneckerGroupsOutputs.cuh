// How the outputs of a tile leave: by the lanes that have them, or put together and by a tensor map.
#pragma once
#include "Factors/Epilogue.cuh"
#include "Factors/KroneckerGroupsRows.cuh"

// With WRITES outputs are put together in shared memory, 32 rows at a time, in one of WRITES places, and written by a tensor map of y while
// the products go on: by both warpgroups where they differ in l, else by each for itself. NEIGHBOURS: some tiles at a time, else (runs) all.
// [128 bytes][row][128 bytes] swizzled as boxes of x are, so that rows meet in no bank; runs of no whole 128 bytes [row][outputs].
constexpr int writes = TESSERA_WRITES, writtenRows = 32;
constexpr bool neighbours = TESSERA_NEIGHBOURS;
constexpr int writtenTiles = TESSERA_WRITTEN_TILES;
constexpr int writers = widthUnits == 2 ? consumers : 128;
constexpr int writtenBytes = 8 * writtenTiles * letters, placeBytes = writtenBytes * writtenRows;
constexpr bool boxedOutputs = writtenBytes % 128 == 0;
constexpr int outputBytes = consumers / writers * writes * placeBytes;
static_assert(!writes || (tensor && writes > 1 && tiles % writtenTiles == 0 && writtenBytes % (neighbours ? 128 : 16) == 0), "whole pieces");
static_assert(!tensor || widthUnits == 1 || writes, "whole sectors");

/// All l of a block in one lane: its outputs are one run.
constexpr bool whole = d == width;

/// Writes a unit's outputs: `output` and `l` are this lane's first, `firstRow` this warp's.
__device__ __forceinline__ void finish(
    const float (&acc)[width][4 * tiles], const Epilogue& epilogue, i64 firstRow, int rows, int i, int output, int l, int lane) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const i64 row = firstRow + h * 32 + rowOfLane(lane);
    // Where no run is cut by an end, the compiler is not to provide for it.
    if constexpr (whole) {
      constexpr int length = 2 * tiles * width;
      const int place = (i * b + output) * d;
      float values[length];
#pragma unroll
      for (int e = 0; e < length; ++e) values[e] = acc[e % width][e / width / 2 * 4 + 2 * h + e / width % 2];
      epilogue.storeTogether(row < rows && output < b, row, place, b % (2 * tiles) == 0 ? place + length : (i * b + b) * d, values);
    } else {
#pragma unroll
      for (int j = 0; j < 2 * tiles; ++j) {
        const int place = (i * b + output + j) * d + l;
        float values[width];
#pragma unroll
        for (int e = 0; e < width; ++e) values[e] = acc[e][j / 2 * 4 + 2 * h + j % 2];
        epilogue.storeTogether(row < rows && output + j < b && l < d, row, place, d % width == 0 ? place + width : place - l + d, values);
      }
    }
  }
}

/// Where byte `begin` of a row of the 32 lies in a place.
__device__ __forceinline__ u32 outputPlace(int row, int begin) {
  return boxedOutputs ? begin / 128 * (writtenRows * 128) + row * 128 + (begin % 128 ^ (row & swizzle) << 4) : row * writtenBytes + begin;
}

/// Puts outputs of 32 rows (half `h`), those of tiles from `firstTile` on, into shared memory at `room`. `tileRow`: this warp's first of the
/// 32; `l`: its first in the slice that begins at `firstL`; the rest as in finish.
__device__ __forceinline__ void putOutputs(
    const float (&acc)[width][4 * tiles], int firstTile, int h, const Epilogue& epilogue, u32 room, i64 firstRow, int rows, int i, int output,
    int tileRow, int firstL, int l, int lane) {
  const int placeRow = tileRow + rowOfLane(lane);
#pragma unroll
  for (int j = 0; j < 2 * writtenTiles; ++j) {
    // The order of outputs that writes have: outputOfColumn.
    const int mine = 4 * j + (lane & 3), first = (i * b + output + mine) * d + firstL + l;
    float values[width];
#pragma unroll
    for (int e = 0; e < width; ++e) values[e] = acc[e][firstTile * 4 + j / 2 * 4 + 2 * h + j % 2];
    if (firstRow + placeRow < rows && output + mine < b) epilogue.apply(firstRow + placeRow, first, first + width, values);
    constexpr int words = width * bytes % 16 == 0 ? 4 : width * bytes % 8 == 0 ? 2 : 1;
#pragma unroll
    for (int n = 0; n < width * bytes / (4 * words); ++n) {
      u32 word[words];
      Epilogue::pack(word, values, n * (4 * words / bytes));
      storeWords(room + outputPlace(placeRow, mine * letters + l * bytes + 4 * words * n), word);
    }
  }
}

/// The same of all tiles, a run in each lane.
__device__ __forceinline__ void putRuns(
    const float (&acc)[width][4 * tiles], int h, const Epilogue& epilogue, u32 room, i64 firstRow, int rows, int i, int output, int tileRow,
    int lane) {
  constexpr int length = 2 * tiles * width;
  const int placeRow = tileRow + rowOfLane(lane), mine = (lane & 3) * 2 * tiles, first = (i * b + output + mine) * d;
  float values[length];
#pragma unroll
  for (int e = 0; e < length; ++e) values[e] = acc[e % width][e / width / 2 * 4 + 2 * h + e / width % 2];
  if (firstRow + placeRow < rows) epilogue.apply(firstRow + placeRow, first, (i * b + b) * d, values);
#pragma unroll
  for (int n = 0; n < length * bytes / 8; ++n) {
    u32 word[2];
    Epilogue::pack(word, values, n * (8 / bytes));
    storeWords(room + outputPlace(placeRow, mine * letters + 8 * n), word);
  }
}

/// Writes the outputs at `room`, of 32 rows from `firstRow` on, where no tensor map of y exists: by all threads that put them there.
__device__ __forceinline__ void writeOutputs(const Epilogue& epilogue, u32 room, i64 firstRow, int rows, int i, int output, int firstL) {
  constexpr int pieces = writtenBytes / 16, vector = 16 / bytes;
#pragma unroll 1
  for (int index = threadIdx.x % writers; index < writtenRows * pieces; index += writers) {
    const int piece = index % pieces, row = index / pieces, mine = output + piece * vector / slice;
    if (firstRow + row >= rows || mine >= b) continue;
    u32 words[4];
    loadWords(words, room + outputPlace(row, piece * 16));
    epilogue.storeWords(firstRow + row, flat ? (i * b + output) * d + piece * vector : (i * b + mine) * d + firstL + piece * vector % slice, words);
  }
}
