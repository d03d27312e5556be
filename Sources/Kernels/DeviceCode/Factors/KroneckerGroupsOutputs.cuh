// How the outputs of a tile leave: by the lanes that have them, or put together and by a tensor map.
#pragma once
#include "Factors/Epilogue.cuh"
#include "Factors/KroneckerGroupsRows.cuh"

// With WRITES (and runs) the warpgroups differ in l, and put their outputs together in shared memory, some tiles of 32 rows at a time in one
// of WRITES places, [128 bytes][row][128 bytes] swizzled as boxes of x are; by a tensor map of y they are written while the products go on.
constexpr int writes = TESSERA_WRITES, writtenTiles = tiles % 2 == 0 ? 2 : tiles % 3 == 0 ? 3 : 1, writtenRows = 32;
constexpr int writtenBytes = 8 * writtenTiles * letters, outputBytes = writes * writtenBytes * writtenRows;
static_assert(!writes || (tensor && !boxed && letters % 16 == 0 && width * bytes % 8 == 0), "whole pieces of 16 bytes");
static_assert(!tensor || (writes ? 2 : 1) == widthUnits, "whole sectors");

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

/// 2 or 4 words in one access.
__device__ __forceinline__ void storeWords(u32 address, const u32 (&v)[2]) {
  asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(address), "r"(v[0]), "r"(v[1]) : "memory");
}
__device__ __forceinline__ void storeWords(u32 address, const u32 (&v)[4]) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3]) : "memory");
}

/// Puts outputs of 32 rows (half `h`), those of tiles from `firstTile` on, into shared memory at `room`. `tileRow`: this warp's first of the
/// 32; the rest as in finish.
__device__ __forceinline__ void putOutputs(
    const float (&acc)[width][4 * tiles], int firstTile, int h, const Epilogue& epilogue, u32 room, i64 firstRow, int rows, int i, int output,
    int tileRow, int l, int lane) {
  const int placeRow = tileRow + rowOfLane(lane);
#pragma unroll
  for (int j = 0; j < 2 * writtenTiles; ++j) {
    // The order of outputs that writes have: outputOfColumn.
    const int mine = 4 * j + (lane & 3), first = (i * b + output + mine) * d + l;
    float values[width];
#pragma unroll
    for (int e = 0; e < width; ++e) values[e] = acc[e][firstTile * 4 + j / 2 * 4 + 2 * h + j % 2];
    if (firstRow + placeRow < rows && output + mine < b) epilogue.apply(firstRow + placeRow, first, first + width, values);
    constexpr int words = width * bytes % 16 == 0 ? 4 : 2;
#pragma unroll
    for (int n = 0; n < width * bytes / (4 * words); ++n) {
      u32 word[words];
      Epilogue::pack(word, values, n * (4 * words / bytes));
      const int begin = mine * letters + l * bytes + 4 * words * n;
      storeWords(room + begin / 128 * (writtenRows * 128) + placeRow * 128 + (begin % 128 ^ (placeRow & 7) << 4), word);
    }
  }
}

/// Writes the outputs at `room`, of 32 rows from `firstRow` on, where no tensor map of y exists: by all threads that multiply.
__device__ __forceinline__ void writeOutputs(const Epilogue& epilogue, u32 room, i64 firstRow, int rows, int i, int output) {
  constexpr int pieces = writtenBytes / 16, vector = 16 / bytes;
#pragma unroll 1
  for (int index = threadIdx.x; index < writtenRows * pieces; index += consumers) {
    const int piece = index % pieces, row = index / pieces, mine = output + piece * vector / slice;
    if (firstRow + row >= rows || mine >= b) continue;
    u32 words[4];
    loadWords(words, room + piece / 8 * (writtenRows * 128) + row * 128 + (piece % 8 ^ row & 7) * 16);
    epilogue.storeWords(firstRow + row, (i * b + mine) * d + piece * vector % slice, words);
  }
}
