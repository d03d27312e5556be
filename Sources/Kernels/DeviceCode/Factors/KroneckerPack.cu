// Kronecker-sparse factor: weights as operands of the matrix units.
//
//   w        element (i, j, k, l) at i * strideI + j * strideJ + k * strideK + l * strideL: canonical [a, b, c, d], or with j and k
//            exchanged for the input gradient
//   packed   out, [a][slices][parts][partWords] words
//
// Launch: 256 threads; grid ceil(a * slices * parts * partWords / 256). Elements past the sizes are zeros.
#include "Factors/KroneckerShape.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL kronecker_pack
#endif

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ w, u32* __restrict__ packed, int strideI, int strideJ, int strideK, int strideL) {
  const i64 index = (i64)blockIdx.x * 256 + threadIdx.x;
  if (index >= (i64)a * slices * parts * partWords) return;
  const int word = index % partWords, unit = index / partWords;
  const int half = word % 2, lane = word / 2 % 32, fragment = word / fragmentWords;
  const int step = fragment % steps, tile = fragment / steps % partTiles;
  const int l = unit / parts % slices * slice + fragment / steps / partTiles;
  const int i = unit / parts / slices, j = unit % parts * part + outputOfColumn(tile, lane / 4);
  u32 result = 0;
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    const int k = step * 16 + contractionIndex(8 * half + 2 * (lane % 4) + e);
    if (j < b && k < c && l < d)
      result |= (u32)w[(i64)i * strideI + (i64)j * strideJ + (i64)k * strideK + (i64)l * strideL] << 16 * e;
  }
  packed[index] = result;
}
