// Kronecker-sparse factor: weights as Hopper's matrix instruction reads them from shared memory (Warpgroup.cuh).
//
//   w        element (i, j, k, l) at i * strideI + j * strideJ + k * strideK + l * strideL: canonical [a, b, c, d], or with j and k
//            exchanged for the input gradient
//   packed   out, [a][slices][parts][steps][slice][copies][part / 8][2][8][16 bytes], in words of 4 bytes
//
// Launch: 256 threads; grid ceil(words / 256). Elements past the sizes are zeros.
#include "Factors/KroneckerGroupsShape.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL kronecker_groups_pack
#endif

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ w, u32* __restrict__ packed, int strideI, int strideJ, int strideK, int strideL) {
  const i64 index = (i64)blockIdx.x * 256 + threadIdx.x;
  if (index >= (i64)a * slices * parts * (blockBytes / 4)) return;
  const int word = index % 4, column = index / 4 % 8, half = index / 32 % 2, tile = index / 64 % partTiles;
  const i64 matrix = index / (matrixBytes / 4);
  const int copy = matrix % copies, letter = matrix / copies % slice, step = matrix / copies / slice % steps;
  const int unit = matrix / copies / slice / steps;
  const int l = unit / parts % slices * slice + letter, i = unit / parts / slices;
  const int j = unit % parts * part + outputOfColumn(tile, column);
  const auto weight = [&](int position) -> Storage {
    const int k = step * stepLength + contractionIndex(half * (stepLength / 2) + position);
    return j < b && k < c && l < d ? w[(i64)i * strideI + (i64)j * strideJ + (i64)k * strideK + (i64)l * strideL] : (Storage)0;
  };
#if TESSERA_ELEMENT == 2
  const float value = __uint_as_float(weight(word));
  const u32 high = Float32::round(value);
  packed[index] = copy == 0 ? high : Float32::round(value - __uint_as_float(high));
#else
  packed[index] = (u32)weight(2 * word) | (u32)weight(2 * word + 1) << 16;
#endif
}
