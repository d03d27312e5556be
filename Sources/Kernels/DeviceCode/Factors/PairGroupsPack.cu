// Pair of factors: both cores as PairGroups.cu keeps them in shared memory, a contiguous part for each block of
// the clusters that share the output pieces.
//
//   core0    element (i, p, j, s) at i * stride0I + p * stride0P + j * stride0J + s * stride0S
//   core1    element (j, i, s, q) at j * stride1J + i * stride1I + s * stride1S + q * stride1Q
//   packed   out, [shares][clusterSize][coreBytes0 + coreBytes1]: see PairGroupsShape.cuh; core 1 is
//            [j][step][tile of 8 q][half step][column][16 bytes]
//
// Elements past the sizes are zeros. Launch: 256 threads; grid ceil(shares * clusterSize * (coreBytes0 + coreBytes1) / 1024).
#include "Factors/PairGroupsShape.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL pair_groups_pack
#endif

constexpr int blockWords0 = coreBytes0 / 4, blockWords1 = coreBytes1 / 4;

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ core0, const Storage* __restrict__ core1, u32* __restrict__ packed, int stride0I, int stride0P,
    int stride0J, int stride0S, int stride1J, int stride1I, int stride1S, int stride1Q) {
  const int index = blockIdx.x * 256 + threadIdx.x;
  const int number = index / (blockWords0 + blockWords1), block = number % clusterSize, firstJ = number / clusterSize * n0;
  int word = index % (blockWords0 + blockWords1);
  if (number >= shares * clusterSize) return;
  const bool second = word >= blockWords0;
  if (second) word -= blockWords0;
  // A tile of 8 columns of one step is 64 words.
  const int halfStep = word / 32 % 2, column = word / 4 % 8, tile = word / 64;
  u32 result = 0;
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    const int k = halfStep * 8 + word % 4 * 2 + e;
    Storage value = 0;
    if (!second && isLowRank) {
      const int p = tile / chunks * 16 + k, s = innerOfColumn(tile % chunks, column);
      if (p < m0 && s < rank) value = core0[(i64)p * stride0P + (i64)s * stride0S];
    } else if (!second) {
      const int s = tile / groupTiles % rank, group = tile / (groupTiles * rank) % tileGroups;
      const int rest = tile / (groupTiles * rank * tileGroups);
      const int piece = rest / windowSteps, i = block * inputPieces + piece;
      const int p = (firstStep(piece) + rest % windowSteps) * 16 + k - piece * m0;
      const int j = pieceOfColumn(tileOfGroup(group, tile % groupTiles), column);
      if (p >= 0 && p < m0 && j < n0 && i < m1)
        value = core0[(i64)i * stride0I + (i64)p * stride0P + (i64)(firstJ + j) * stride0J + (i64)s * stride0S];
    } else {
      const int out = outputOfColumn(tile % columnTiles1, column), piece = tile / columnTiles1 / steps1, j = block * outputPieces + piece;
      const int chunk = tile / columnTiles1 % steps1 * 2 + halfStep, source = chunk / chunksHere;
      const int inner = chunk % chunksHere * 8 + k % 8, i = source * inputPieces + inner / rank, s = inner % rank;
      if (source < clusterSize && inner < innerHere && i < m1 && j < n0 && out < n1)
        value = core1[(i64)(firstJ + j) * stride1J + (i64)i * stride1I + (i64)s * stride1S + (i64)out * stride1Q];
    }
    result |= (u32)value << 16 * e;
  }
  packed[index] = result;
}
