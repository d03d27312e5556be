// The first product of PairGroups.cu where both sides are one piece: low rank. z is a tile of all inner indices, summed over all of x.
#pragma once
#include "Factors/PairGroupsFirst.cuh"

/// First product of every step, by one warpgroup.
__device__ __forceinline__ void runLowRank(const Block& block, const Steps& steps, int lane, int warp) {
  const u64 lines = lineDescriptor(block.x(0)), core0 = matrixDescriptor(block.core0());
  const int row = warp * 16 + (lane >> 2);
  if (steps.count == 0) return;
  barrierWait(block.coreArrived(0), 0);
#pragma unroll 1
  for (int step = 0; step < steps.count; ++step) {
    const int slot = step % unitsZ;
    float acc[4 * chunks];
    warpgroupFence();
#pragma unroll 1
    for (int box = 0; box < boxes; ++box) {
      const int index = step * boxes + box, stage = index % stages;
      barrierWait(block.full(stage), index / stages & 1);
#pragma unroll
      for (int at = 0; at < 4; ++at)
        if (box * 4 + at < windowSteps)
          warpgroupMultiply(acc, lines + (stage * boxBytes + at * 32 >> 4), core0 + ((box * 4 + at) * chunks * 256 >> 4), box + at > 0);
      warpgroupCommit();
      // The products before these have read their box.
      warpgroupWait<1>();
      if (box > 0) barrierArriveIf(lane == 0, block.empty((index - 1) % stages));
    }
    warpgroupWait<0>();
    barrierArriveIf(lane == 0, block.empty((step * boxes + boxes - 1) % stages));
    if (step >= unitsZ) barrierWait(block.emptyZ(slot), (step / unitsZ - 1) & 1);
#pragma unroll
    for (int run = 0; run < chunks / innerRun; ++run)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        u32 words[innerRun];
#pragma unroll
        for (int tile = 0; tile < innerRun; ++tile) {
          const int at = (run * innerRun + tile) * 4 + 2 * h;
          words[tile] = Element::pack(acc[at], acc[at + 1]);
        }
        const int begin = innerOfColumn(run * innerRun, 2 * (lane & 3));
        storeWords(block.z(slot) + begin / 8 * chunkBytes + (row + h * 8) * 16 + begin % 8 * Element::bytes, words);
      }
    fenceAsync();
    __syncwarp();
    barrierArriveIf(lane < arrivals, block.fullZ(slot));
  }
}
