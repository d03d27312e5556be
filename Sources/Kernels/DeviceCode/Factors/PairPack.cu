// Pair of factors: both cores as operands of the matrix units, a contiguous part for each block of a cluster.
//
//   core0    element (i, p, j, s) at i * stride0I + p * stride0P + j * stride0J + s * stride0S
//   core1    element (j, i, s, q) at j * stride1J + i * stride1I + s * stride1S + q * stride1Q
//   packed   out, [clusterSize][words0 + words1] words:
//            first part [inner index][tile of 8 j][step][lane][2], second part [j][tile of 8 q][step][lane][2]
//
// The strides let the same kernel pack the transposed pair, which the input gradient uses. Elements past the sizes are zeros.
// Launch: 256 threads; grid ceil(clusterSize * (words0 + words1) / 256).
#include "Factors/PairShape.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL pair_pack
#endif

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ core0, const Storage* __restrict__ core1, u32* __restrict__ packed, int stride0I, int stride0P,
    int stride0J, int stride0S, int stride1J, int stride1I, int stride1S, int stride1Q) {
  const int index = blockIdx.x * 256 + threadIdx.x;
  const int block = index / (words0 + words1);
  int word = index % (words0 + words1);
  if (block >= clusterSize) return;
  const bool second = word >= words0;
  if (second) word -= words0;
  // Lane 4 g + q of half h holds contraction indices 8 h + 2 q and the next, column g.
  const int half = word % 2, lane = word / 2 % 32, g = lane / 4, q = lane % 4;
  const int fragment = word / fragmentWords;
  u32 result = 0;
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    const int k = 8 * half + 2 * q + e;
    Storage value = 0;
    if (!second) {
      const int p = fragment % steps0 * 16 + k, j = fragment / steps0 % columnTiles0 * 8 + g;
      const int inner = fragment / steps0 / columnTiles0, i = block * inputPieces + inner / rank, s = inner % rank;
      if (p < m0 && j < n0 && i < m1)
        value = core0[(i64)i * stride0I + (i64)p * stride0P + (i64)j * stride0J + (i64)s * stride0S];
    } else {
      const int chunk = fragment % steps1 * 2 + half, source = chunk / chunksHere;
      const int inner = chunk % chunksHere * 8 + k % 8, i = source * inputPieces + inner / rank, s = inner % rank;
      const int out = outputOfColumn(fragment / steps1 % columnTiles1, g);
      const int j = block * outputPieces + fragment / steps1 / columnTiles1;
      if (source < clusterSize && inner < innerHere && i < m1 && j < n0 && out < n1)
        value = core1[(i64)j * stride1J + (i64)i * stride1I + (i64)s * stride1S + (i64)out * stride1Q];
    }
    result |= (u32)value << 16 * e;
  }
  packed[index] = result;
}
