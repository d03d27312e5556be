// One Kronecker-sparse factor, batch first: y = epilogue(x through the factor). Sizes, division of work: KroneckerShape.cuh.
//
// Rows come as they lie, in whole segments: [row][k][l of the slice]. A matrix operand wants two neighbouring k of one l in a word,
// so a lane reads its `width` l at two k with one load each, and byte permutes make an operand word for each l: a 16 x 16 operand
// for eight values of l costs 8 loads and 32 permutes a lane, and no bank is met twice (the launcher chooses the row pitch).
// The results of a lane are `width` neighbouring l of its outputs, stored as they are.
//
//   x        [rows, a c d], row pitch pitchX; copied by 16 bytes with X_ALIGNED (whole segments of 16 bytes) where
//            rows begin at such multiples, else by elements
//   packed   see KroneckerPack.cu
//   y        out, [rows, a b d], row pitch pitchY; see Epilogue.cuh
//
// Launch: grid (parts * slices, a, splits): neighbours in the grid read the same rows, which then come from L2; 32 * WARPS
// threads; `sharedBytes` of shared memory. Any number of rows. 16-bit elements, float32 accumulation.
#include "Factors/Epilogue.cuh"
#include "Factors/Fragments16.cuh"
#include "Factors/KroneckerShape.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL kronecker
#endif

constexpr int rowBlocks = TESSERA_ROW_BLOCKS, tileRows = TESSERA_TILE_ROWS, stages = TESSERA_STAGES, rowPitch = TESSERA_X_PITCH;
constexpr int warps = TESSERA_WARPS, threads = 32 * warps;
// A stage holds `chunkSteps` contraction steps of a tile of rows.
constexpr int chunkSteps = TESSERA_CHUNK_STEPS, chunks = divideUp(steps, chunkSteps), chunk = 16 * chunkSteps;
constexpr int stageBytes = tileRows * rowPitch, weightBytes = 4 * partWords;
constexpr int sharedBytes = weightBytes + stages * stageBytes;
static_assert(sharedBytes == TESSERA_SHARED, "the launcher's plan and the kernel agree");
static_assert(rowPitch % 16 == 0 && rowPitch >= chunk * slice * 2, "whole contraction steps");

// Units of work in a tile of rows: (rows, l, outputs), at most one a warp, whose sums stay in its registers from chunk to chunk.
constexpr int rowUnits = tileRows / (16 * rowBlocks), widthUnits = slice / width, tileUnits = partTiles / tiles;
constexpr int units = rowUnits * widthUnits * tileUnits;
static_assert(units <= warps, "one unit a warp");
// All l of a block in one lane: its outputs are one run.
constexpr bool whole = d == width;

struct Tile {
  u32 weights, x;
  int lane, warp;

  /// Operand words of `group` l: word[l] of positions (row g, k q and q + 4), (row g + 8, ..), (row g, k + 8 ..), (row g + 8, ..).
  __device__ __forceinline__ void loadRows(u32 (&values)[group][4], u32 rows, int step, int first) const {
    if constexpr (slice == 1) {
      loadMatrices(values[0], rows + (lane & 15) * rowPitch + step * 32 + (lane >> 4) * 16);
    } else {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const u32 place = rows + ((lane >> 2) + r % 2 * 8) * rowPitch + ((step * 16 + r / 2 * 8 + (lane & 3)) * slice + first) * 2;
        const u32 next = place + 4 * slice * 2;
        if constexpr (group % 2 == 1) {
#pragma unroll
          for (int l = 0; l < group; ++l) values[l][r] = loadElement(place + 2 * l) | loadElement(next + 2 * l) << 16;
        } else {
          constexpr int words = group > 1 ? group / 2 : 1;
          u32 low[words], high[words];
          loadWords(low, place);
          loadWords(high, next);
#pragma unroll
          for (int l = 0; l < group; ++l) values[l][r] = permuteBytes(low[l / 2], high[l / 2], l % 2 ? 0x7632 : 0x5410);
        }
      }
    }
  }

  static __device__ __forceinline__ u32 loadElement(u32 address) {
    u16 v;
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(v) : "r"(address) : "memory");
    return v;
  }

  /// Adds the products of one chunk.
  __device__ __forceinline__ void multiply(
      float (&acc)[width][tiles][rowBlocks][4], int first, int tile, int rowUnit, int firstStep) const {
    const u32 rows = x + rowUnit * rowBlocks * 16 * rowPitch;
    const u32 operands = weights + (((first * partTiles + tile) * steps + firstStep) * fragmentWords + lane * 2) * 4;
    const int count = steps % chunkSteps == 0 ? chunkSteps : min(chunkSteps, steps - firstStep);
#pragma unroll 1
    for (int step = 0; step < count; ++step) {
#pragma unroll
      for (int start = 0; start < width; start += group) {
        u32 values[rowBlocks][group][4];
#pragma unroll
        for (int m = 0; m < rowBlocks; ++m) loadRows(values[m], rows + m * 16 * rowPitch, step, first + start);
#pragma unroll
        for (int l = 0; l < group; ++l)
#pragma unroll
          for (int n = 0; n < tiles; ++n) {
            u32 columns[2];
            loadPair(columns, operands + (((start + l) * partTiles + n) * steps + step) * fragmentWords * 4);
#pragma unroll
            for (int m = 0; m < rowBlocks; ++m) multiply16(acc[start + l][n][m], values[m][l], columns);
          }
      }
    }
  }

  /// Writes a unit's outputs: `l`, `output` are its first, `firstRow` that of the tile.
  __device__ __forceinline__ void finish(const float (&acc)[width][tiles][rowBlocks][4], const Epilogue& epilogue, i64 firstRow,
                                         int rows, int i, int output, int l) const {
#pragma unroll
    for (int m = 0; m < rowBlocks; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const i64 row = firstRow + m * 16 + h * 8 + (lane >> 2);
        if constexpr (whole) {
          float values[2 * tiles * width];
#pragma unroll
          for (int e = 0; e < 2 * tiles * width; ++e) values[e] = acc[e % width][e / width / 2][m][2 * h + e / width % 2];
          epilogue.storeTogether(row < rows, row, (i * b + output) * d, (i * b + b) * d, values);
        } else {
#pragma unroll
          for (int j = 0; j < 2 * tiles; ++j) {
            float values[width];
#pragma unroll
            for (int e = 0; e < width; ++e) values[e] = acc[e][j / 2][m][2 * h + j % 2];
            epilogue.storeTogether(row < rows && output + j < b && l < d, row, (i * b + output + j) * d + l,
                                   (i * b + output + j) * d + d, values);
          }
        }
      }
  }
};

extern "C" __global__ void __launch_bounds__(threads, TESSERA_BLOCKS_PER_SM) TESSERA_KERNEL(
    const Storage* __restrict__ x, const u32* __restrict__ packed, EPILOGUE_INPUTS, Storage* __restrict__ y, EPILOGUE_SCALARS,
    int rows, int pitchX) {
  extern __shared__ __align__(128) u8 memory[];
  const Epilogue epilogue = EPILOGUE_OF(y);
  const int i = blockIdx.y, sliceIndex = blockIdx.x / parts, firstOutput = blockIdx.x % parts * part, firstL = sliceIndex * slice;
  const u32 shared = sharedAddress(memory);
  Tile tile{shared, 0, (int)threadIdx.x & 31, (int)threadIdx.x >> 5};
  const int rowTiles = divideUp(rows, tileRows), start = (i64)rowTiles * blockIdx.z / gridDim.z;
  const int stop = (i64)rowTiles * (blockIdx.z + 1) / gridDim.z;

  for (int index = threadIdx.x; index < stages * stageBytes / 16; index += threads)
    ((uint4*)(memory + weightBytes))[index] = make_uint4(0, 0, 0, 0);
  const u32* source = packed + ((i64)(i * slices + sliceIndex) * parts + blockIdx.x % parts) * partWords;
  for (int index = threadIdx.x; index < partWords / 4; index += threads)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared + index * 16), "l"(source + index * 4) : "memory");
  __syncthreads();

  constexpr bool wholeSegments = TESSERA_X_ALIGNED;
  // A view of another array may begin anywhere.
  const bool isMisaligned = ((u64)x | (u64)((i64)pitchX * 2)) & 15;
  // Stage n is chunk n mod chunks of the n / chunks-th tile. Positions past c are zeros, whatever the stage held before.
  const int stageCount = (stop - start) * chunks;
  const auto fetch = [&](int index) {
    if (index < stageCount) {
      const i64 firstRow = (i64)(start + index / chunks) * tileRows;
      const int firstK = index % chunks * chunk, present = min(chunk, c - firstK), count = min(tileRows, rows - (int)firstRow);
      const u32 target = shared + weightBytes + index % stages * stageBytes;
      const Storage* origin = x + firstRow * pitchX + ((i64)i * c + firstK) * d + firstL;
      if (wholeSegments && !isMisaligned) {
        // One segment for all k where the slice is all of d, else one at each k.
        constexpr int segment = wholeSegments ? (slice == d ? chunk * d : slice) / 8 : 1, segments = slice == d ? 1 : chunk;
        for (int piece = threadIdx.x; piece < count * segments * segment; piece += threads) {
          const int e = piece % segment * 8, k = piece / segment % segments, row = piece / segment / segments;
          const bool exists = slice == d ? e < present * d : k < present;
          copyAsync16(target + row * rowPitch + (k * slice + e) * 2, exists ? origin + (i64)row * pitchX + k * d + e : x, exists);
        }
      } else {
        for (int element = threadIdx.x; element < count * chunk * slice; element += threads) {
          const int l = element % slice, k = element / slice % chunk, row = element / slice / chunk;
          const Storage value = k < present && firstL + l < d ? origin[(i64)row * pitchX + (i64)k * d + l] : (Storage)0;
          asm volatile("st.shared.u16 [%0], %1;" ::"r"(target + row * rowPitch + (k * slice + l) * 2), "h"(value) : "memory");
        }
      }
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };

  const int first = tile.warp % widthUnits * width, column = tile.warp / widthUnits % tileUnits * tiles;
  const int rowUnit = tile.warp / widthUnits / tileUnits;
  float acc[width][tiles][rowBlocks][4];
  for (int stage = 0; stage < stages - 1; ++stage) fetch(stage);
  for (int index = 0; index < stageCount; ++index) {
    asm volatile("cp.async.wait_group %0;" ::"n"(stages - 2) : "memory");
    __syncthreads();
    fetch(index + stages - 1);
    if (tile.warp >= units) continue;
    if (index % chunks == 0)
#pragma unroll
      for (int l = 0; l < width; ++l)
#pragma unroll
        for (int n = 0; n < tiles; ++n)
#pragma unroll
          for (int m = 0; m < rowBlocks; ++m)
#pragma unroll
            for (int e = 0; e < 4; ++e) acc[l][n][m][e] = 0.0f;
    tile.x = shared + weightBytes + index % stages * stageBytes;
    tile.multiply(acc, first, column, rowUnit, index % chunks * chunkSteps);
    if (index % chunks == chunks - 1)
      tile.finish(acc, epilogue, (i64)(start + index / chunks) * tileRows + rowUnit * rowBlocks * 16, rows, i,
                  firstOutput + column * 8 + (tile.lane & 3) * 2 * tiles, firstL + first);
  }
}
