// Weight gradient of blocks: a product over the rows of the batch for every group,
//
//     gradient[group][p][q] = sum over rows of a[row][group, p] * b[row][group, q]
//
// in two stages, so that the sum has a fixed order: every split of the rows leaves a partial, the second stage (SUM 1) adds them.
//
//   a, b       element (row, group, p) of a at row * pitchA + group / inner * outerA + group % inner + p * strideA, likewise b:
//              blocks of consecutive elements (inner = 1, stride 1) and Kronecker-sparse ones (inner = stride = d).
//              UNITS 1 says that a, 2 that b is a pair's intermediate in units (PairGroups.cu): then pitch is the elements of a step of
//              64 rows, outer the pieces of a block, stride those of a unit
//   partials   out, float32 [splits][groups][sizeP][sizeQ]
//   gradient   out of the second stage, elements or (FLOAT_GRADIENT) float32, [groups][outP][outQ]; element p is p / blockP *
//              paddedP + p % blockP of the partials (q likewise), which drops the padding of a pair's inner index
//
// Launch: grid (splits, ceil(sizeP / 64) * ceil(sizeQ / 64), groups), 128 threads; with SMALL, for sizes up to 32, a warp for each
// group: grid (splits, 1, ceil(groups / 4)); 49152 bytes of shared memory; the sum: 256 threads, grid ceil(groups * outP * outQ /
// 256). Any size and alignment; 16-byte rows of stride 1 take the fast path.
// Reads a and b once for each of the other's tiles of 64: memory-bound up to blocks of a few hundred.
#include "Factors/Fragments16.cuh"
#include "Factors/PairUnits.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL block_gradient
#endif
#ifndef TESSERA_SUM
#define TESSERA_SUM 0
#endif
#ifndef TESSERA_SMALL
#define TESSERA_SMALL 0
#endif

#ifndef TESSERA_UNITS
#define TESSERA_UNITS 0
#endif

#if TESSERA_SUM
extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const float* __restrict__ partials, void* __restrict__ gradient, int splits, int groups, int sizeP, int sizeQ, int outP,
    int outQ, int blockP, int paddedP, int blockQ, int paddedQ) {
  const i64 index = (i64)blockIdx.x * 256 + threadIdx.x;
  if (index >= (i64)groups * outP * outQ) return;
  const int q = index % outQ, p = index / outQ % outP, group = index / outQ / outP;
  const float* source = partials + ((i64)group * sizeP + p / blockP * paddedP + p % blockP) * sizeQ
      + q / blockQ * paddedQ + q % blockQ;
  float sum = 0.0f;
  for (int split = 0; split < splits; ++split) sum += source[(i64)split * groups * sizeP * sizeQ];
#if TESSERA_FLOAT_GRADIENT
  ((float*)gradient)[index] = sum;
#else
  ((Storage*)gradient)[index] = storageBits(sum);
#endif
}
#else
// A tile is of a block or, of small groups, of a warp.
constexpr bool isSmall = TESSERA_SMALL;
constexpr int side = isSmall ? 32 : 64, stepRows = side, stages = 3, warps = 4, threads = 32 * warps;
constexpr int tilesOfBlock = isSmall ? warps : 1, threadsOfTile = threads / tilesOfBlock;
constexpr int rowBytes = side * 2, tileBytes = stepRows * rowBytes;

/// Blocks in rows.
struct Operand {
  const Storage* values;
  i64 pitch;
  int stride, size, first;
  bool aligned;

  __device__ __forceinline__ Operand(
      const Storage* base, int pitch, int group, int groups, int inner, int outer, int stride, int size, int first)
      : values(base + (i64)(group / inner) * outer + group % inner), pitch(pitch), stride(stride), size(size), first(first),
        aligned(((u64)values & 15) == 0 && pitch % 8 == 0 && stride == 1) {}

  /// Starts the copy of rows `row ..< row + stepRows`, those from `end` on as zeros, to shared memory.
  __device__ __forceinline__ void load(u32 target, int row, int end) const {
    for (int i = threadIdx.x % threadsOfTile; i < stepRows * side / 8; i += threadsOfTile) {
      const int r = i / (side / 8), column = first + i % (side / 8) * 8;
      const u32 address = target + place(r, i % (side / 8) * 8);
      const bool present = row + r < end && column < size;
      if (present && !(aligned && column + 8 <= size)) {
        u32 word[4];
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const Storage* source = values + (row + r) * pitch + (i64)(column + 2 * e) * stride;
          const u32 low = column + 2 * e < size ? source[0] : 0, high = column + 2 * e + 1 < size ? source[stride] : 0;
          word[e] = low | high << 16;
        }
        storeWords(address, word);
      } else {
        copyAsync16(address, present ? values + (row + r) * pitch + column : values, present);
      }
    }
  }

  /// Where 16 bytes of a row lie in a tile, from column `column`, a multiple of 8: eight rows of them meet no bank twice. Copies of
  /// whole lines to where they lie whole are the fast ones.
  static __device__ __forceinline__ int place(int row, int column) {
    return row * rowBytes + (column / 8 ^ (isSmall ? row / 2 % 4 : row % 8)) * 16;
  }
};

/// An intermediate of PairGroups.cu: [step][block][unit][chunk][piece][64 rows][8 inner indices], the rows of each piece turned
/// (PairUnits.cuh).
struct Units {
  static constexpr int pieceElements = unitRows * 8;
  const Storage* values;
  i64 pitch;
  int size, first, chunkElements, turn;

  __device__ __forceinline__ Units(
      const Storage* base, int pitch, int group, int groups, int inner, int piecesOfBlock, int piecesOfUnit, int size, int first)
      : pitch(pitch), size(size), first(first), chunkElements(piecesOfUnit * pieceElements) {
    const int block = group / piecesOfBlock, blocks = (groups + piecesOfBlock - 1) / piecesOfBlock, piece = group % piecesOfBlock;
    values = base + (i64)block * (pitch / blocks) + (i64)(piece / piecesOfUnit) * (size / 8 * chunkElements)
        + piece % piecesOfUnit * pieceElements;
    turn = rowTurn(block * piecesOfUnit + piece % piecesOfUnit);
  }

  /// As Operand's, but each chunk's rows side by side, as they are in device memory.
  __device__ __forceinline__ void load(u32 target, int row, int end) const {
    for (int i = threadIdx.x % threadsOfTile; i < stepRows * side / 8; i += threadsOfTile) {
      const int r = i % stepRows, chunk = i / stepRows;
      const bool present = row + r < end && first + chunk * 8 < size;
      const Storage* source = values + (row + r) / unitRows * pitch + (first / 8 + chunk) * chunkElements + ((row + r) % unitRows ^ turn) * 8;
      copyAsync16(target + place(r, chunk * 8), present ? source : values, present);
    }
  }

  static __device__ __forceinline__ int place(int row, int column) { return (column / 8 * stepRows + row) * 16; }
};

/// Taken by its condition.
template <bool isInUnits>
struct Kind {
  typedef Operand Type;
};
template <>
struct Kind<true> {
  typedef Units Type;
};

extern "C" __global__ void __launch_bounds__(threads) TESSERA_KERNEL(
    const Storage* __restrict__ a, const Storage* __restrict__ b, float* __restrict__ partials, int rows, int groups, int sizeP,
    int sizeQ, int inner, int pitchA, int outerA, int strideA, int pitchB, int outerB, int strideB) {
  extern __shared__ __align__(128) u8 memory[];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, tile = isSmall ? warp : 0, group = blockIdx.z * tilesOfBlock + tile;
  const u32 shared = sharedAddress(memory) + tile * stages * 2 * tileBytes;
  if (group >= groups) return;
  const int tilesQ = (sizeQ + side - 1) / side;
  const int firstP = blockIdx.y / tilesQ * side, firstQ = blockIdx.y % tilesQ * side;
  typedef Kind<TESSERA_UNITS == 1>::Type Left;
  typedef Kind<TESSERA_UNITS == 2>::Type Right;
  const Left operandA(a, pitchA, group, groups, inner, outerA, strideA, sizeP, firstP);
  const Right operandB(b, pitchB, group, groups, inner, outerB, strideB, sizeQ, firstQ);
  const int steps = (rows + stepRows - 1) / stepRows;
  const int start = (i64)steps * blockIdx.x / gridDim.x, stop = (i64)steps * (blockIdx.x + 1) / gridDim.x;
  const auto fetch = [&](int step) {
    if (step < stop) {
      const u32 target = shared + step % stages * 2 * tileBytes;
      operandA.load(target, step * stepRows, rows);
      operandB.load(target + tileBytes, step * stepRows, rows);
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };

  // A warp's 32 x 32 of the tile.
  const int p0 = isSmall ? 0 : warp / 2 * 32, q0 = isSmall ? 0 : warp % 2 * 32;
  float d[2][4][4] = {};
  for (int step = start; step < start + stages - 1; ++step) fetch(step);
  for (int step = start; step < stop; ++step) {
    asm volatile("cp.async.wait_group %0;" ::"n"(stages - 2) : "memory");
    if constexpr (isSmall)
      __syncwarp();
    else
      __syncthreads();
    fetch(step + stages - 1);
    const u32 tileA = shared + step % stages * 2 * tileBytes, tileB = tileA + tileBytes;
#pragma unroll
    for (int k = 0; k < stepRows; k += 16) {
      // Rows are the contraction: both operands come transposed. Matrices of a: (rows 0, p 0), (0, 8), (8, 0), (8, 8); of b:
      // (rows 0, q 0), (8, 0), (0, 8), (8, 8).
      u32 left[2][4], right[2][4];
#pragma unroll
      for (int m = 0; m < 2; ++m)
        loadMatricesTransposed(left[m], tileA + Left::place(k + (lane >> 4) * 8 + (lane & 7), p0 + m * 16 + (lane >> 3 & 1) * 8));
#pragma unroll
      for (int n = 0; n < 2; ++n)
        loadMatricesTransposed(right[n], tileB + Right::place(k + (lane >> 3 & 1) * 8 + (lane & 7), q0 + n * 16 + (lane >> 4) * 8));
#pragma unroll
      for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          const u32 pair[2] = {right[n / 2][n % 2 * 2], right[n / 2][n % 2 * 2 + 1]};
          multiply16(d[m][n], left[m], pair);
        }
    }
  }
  float* target = partials + ((i64)blockIdx.x * groups + group) * sizeP * sizeQ;
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int n = 0; n < 4; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int p = firstP + p0 + m * 16 + (lane >> 2) + e / 2 * 8, q = firstQ + q0 + n * 8 + (lane & 3) * 2 + e % 2;
        if (p < sizeP && q < sizeQ) target[(i64)p * sizeQ + q] = d[m][n][e];
      }
}
#endif
