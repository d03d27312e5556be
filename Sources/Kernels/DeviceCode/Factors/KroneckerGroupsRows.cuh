// Rows of a Kronecker-sparse factor in shared memory, and how the lanes of a warpgroup read them as operands.
#pragma once
#include "Factors/KroneckerGroupsShape.cuh"

constexpr int rowPitch = TESSERA_X_PITCH, bytes = Element::bytes;
constexpr int widthUnits = slice / width, rowUnits = TESSERA_ROW_UNITS, tileRows = 64 * rowUnits;
constexpr int consumers = 256;
static_assert(widthUnits * columnUnits * rowUnits == 2, "two warpgroups multiply");
/// Threads that do nothing but copy: none where sums take all registers.
constexpr int producers = TESSERA_PRODUCERS;

/// The l of one access to shared memory: of 16 bytes where there are registers for what it reads (accesses of 8 of every 16 bytes meet in
/// banks).
constexpr int group = together ? width : bytes == 4
    ? (width % 4 == 0 ? 4 : width % 3 == 0 ? 3 : width % 2 == 0 ? 2 : 1)
    : width % 8 == 0 && (width * tiles <= 40 || producers == 0) ? 8
    : (width % 4 == 0 ? 4 : width % 6 == 0 ? 6 : width % 3 == 0 ? 3 : width % 2 == 0 ? 2 : 1);

// By a tensor map rows lie in boxes of 128 bytes of each row (TENSOR 1), [box][row][k of the box][l], in which the 16 bytes at n of row r
// are at n ^ r % 8, or n ^ r % 2 where the box is not one run: lanes of one access then meet in no bank, without padding. A cluster of
// neighbouring parts shares the rows: each block copies some boxes to all. Or (TENSOR 2) the run of all k and l of a chunk is one box,
// with bytes of what follows for padding: any d whose runs of all c are whole 16 bytes; of a cluster each block copies some rows to all.
constexpr bool tensor = TESSERA_TENSOR, boxed = TESSERA_TENSOR == 1;
constexpr int cluster = TESSERA_CLUSTER;
constexpr bool flat = slice == d;
constexpr int letters = slice * bytes, boxLength = 128 / letters, boxes = chunk / boxLength, boxBytes = tileRows * 128;
static_assert(!boxed || (128 % letters == 0 && letters <= 32 && chunk % boxLength == 0), "whole boxes");
static_assert(!boxed || flat || letters == 32, "whole lines of the swizzle");
static_assert(!tensor || boxed || (flat && c * d * bytes % 16 == 0 && rowPitch <= 2048), "runs of whole 16 bytes");
constexpr int swizzle = flat ? 7 : 1;
static_assert(parts % cluster == 0, "whole clusters");
/// The rows of one box.
constexpr int boxRows = boxed ? tileRows : tileRows / cluster;
static_assert(boxed || (rowPitch % 16 == 0 && rowPitch >= chunk * slice * bytes), "whole chunks");

/// The row (of 8) of a lane: those of one access differ in the bits that keep its boxes' 16 bytes apart.
__device__ __forceinline__ int rowOfLane(int lane) {
  const int row = lane >> 2;
  if constexpr (!tensor || (boxed && (letters == 32 || letters == 4))) return row;
  else return boxed && letters == 8 ? (row & 3) << 1 | row >> 2 : row >> 1 | (row & 1) << 2;
}

/// Two 16-bit elements of each of `count` l: one at `place`, one at `next`.
template <int count>
__device__ __forceinline__ void loadPairs(u32 (&v)[count], u32 place, u32 next) {
  if constexpr (count % 2 == 1) {
#pragma unroll
    for (int l = 0; l < count; ++l) {
      u16 low, high;
      asm volatile("ld.shared.u16 %0, [%1];" : "=h"(low) : "r"(place + 2 * l) : "memory");
      asm volatile("ld.shared.u16 %0, [%1];" : "=h"(high) : "r"(next + 2 * l) : "memory");
      v[l] = low | (u32)high << 16;
    }
  } else {
    u32 low[count / 2], high[count / 2];
    loadWords(low, place);
    loadWords(high, next);
#pragma unroll
    for (int l = 0; l < count; ++l) v[l] = permuteBytes(low[l / 2], high[l / 2], l % 2 ? 0x7632 : 0x5410);
  }
}

/// Float32's bits as operands: value[copy].
__device__ __forceinline__ void roundOperand(u32 (&values)[copies][group][4], int l, int r, u32 word) {
  values[0][l][r] = Float32::round(__uint_as_float(word));
  if constexpr (exact) values[copies - 1][l][r] = Float32::round(__uint_as_float(word) - __uint_as_float(values[0][l][r]));
}

/// All l of this lane's neighbouring k of step `step`, as loadRows.
__device__ __forceinline__ void loadRuns(u32 (&values)[copies][group][4], u32 rows, int step) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    constexpr int words = 2 * d, piece = words % 4 == 0 ? 4 : 2;
    u32 run[words / piece][piece];
#pragma unroll
    for (int n = 0; n < words / piece; ++n) loadWords(run[n], rows + r * 32 * rowPitch + step * stepLength * d * bytes + 4 * piece * n);
#pragma unroll
    for (int e = 0; e < 2 * d; ++e) {
      const int half = e / d, l = e % d;
#if TESSERA_ELEMENT == 2
      roundOperand(values, l, r + 2 * half, run[e / piece][e % piece]);
#else
      // k of this half: 2 half and the next.
      const int low = 2 * half * d + l, high = low + d;
      values[0][l][r + 2 * half] = permuteBytes(
          run[low / 2 / piece][low / 2 % piece], run[high / 2 / piece][high / 2 % piece],
          (low % 2 ? 0x32 : 0x10) | (high % 2 ? 0x7600 : 0x5400));
#endif
    }
  }
}

/// Operands of `group` l from `start` of this lane's on, in step `step` of the chunk: value[copy][l]. `rows`: see rowsOfLane.
__device__ __forceinline__ void loadRows(u32 (&values)[copies][group][4], u32 rows, int step, int start) {
  if constexpr (together) {
    loadRuns(values, rows, step);
    return;
  }
  // Where k of the chunk and l lie for the lane whose first k is 0.
  const auto placeOf = [&](int r, int k) -> u32 {
    if constexpr (boxed) return (rows ^ (k % boxLength * letters + start * bytes)) + k / boxLength * boxBytes + r % 2 * 32 * 128;
    else return rows + r % 2 * 32 * rowPitch + (k * slice + start) * bytes;
  };
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int k = step * stepLength + r / 2 * (stepLength / 2);
    const u32 place = placeOf(r, k);
    u32 words[group];
#if TESSERA_ELEMENT == 2
    loadWords(words, place);
#pragma unroll
    for (int l = 0; l < group; ++l) roundOperand(values, l, r, words[l]);
#else
    loadPairs(words, place, placeOf(r, k + 4));
#pragma unroll
    for (int l = 0; l < group; ++l) values[0][l][r] = words[l];
#endif
  }
}

/// Where a lane's first row, k and l lie behind the beginning of a chunk. `firstRow`: this warp's.
__device__ __forceinline__ u32 rowsOfLane(int firstRow, int firstL, int lane) {
  const int row = firstRow + rowOfLane(lane), offset = together ? (lane & 3) * 8 * d : ((lane & 3) * slice + firstL) * bytes;
  return boxed ? row * 128 + (offset ^ (row & swizzle) << 4) : row * rowPitch + offset;
}
