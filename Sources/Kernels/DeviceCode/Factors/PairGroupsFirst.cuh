// The first product of PairGroups.cu, by one or two warpgroups.
#pragma once
#include "Factors/PairGroupsSend.cuh"
#include "Warpgroup.cuh"

typedef float Sums[instructions][4 * span * groupTiles];

__device__ __forceinline__ void pack(Words& words, const Sums& acc, int chunk) {
#pragma unroll
  for (int index = 0; index < 4 * groupTiles; ++index) {
    const int parity = index / (2 * groupTiles), tile = index / 2 % groupTiles, h = index % 2;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float pair[2];
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const int inner = 2 * i + n;
        pair[n] = chunk * 8 + inner < innerHere ? acc[inner / span][(inner % span * groupTiles + tile) * 4 + 2 * h + parity] : 0.0f;
      }
      words[index][i] = Element::pack(pair[0], pair[1]);
    }
  }
}

/// The boxes of one step among the stages; `box` is known when compiling.
struct Ring {
  int first, turn;

  __device__ __forceinline__ explicit Ring(int step) : first(step * boxes % stages), turn(step * boxes / stages) {}
  __device__ __forceinline__ bool wraps(int box) const { return first + box % stages >= stages; }
  __device__ __forceinline__ int stage(int box) const { return first + box % stages - (wraps(box) ? stages : 0); }
  __device__ __forceinline__ u32 parity(int box) const { return turn + box / stages + wraps(box) & 1; }
};

/// First product of every step, sent to its owners, by warpgroup `group` of those that share it. A chunk is sent while the next is multiplied.
template <int group>
__device__ __forceinline__ void runFirst(const Block& block, const Steps& steps, int lane, int warp) {
  constexpr int tileGroup = group % tileGroups, firstChunk = splitsChunks ? group : 0, nextChunk = splitsChunks ? 2 : 1;
  constexpr int lastChunk = firstChunk + (chunksHere - 1 - firstChunk) / nextChunk * nextChunk;
  const Sender<tileGroup> sender(block, warp * 16 + (lane >> 2), lane);
  const u64 lines = lineDescriptor(block.x(0)), core0 = matrixDescriptor(block.core0());
  Words words;
  if (steps.count == 0) return;
  barrierWait(block.coreArrived(0), 0);
#pragma unroll 1
  for (int step = 0; step < steps.count; ++step) {
    const Ring ring(step);
    // Boxes of this step that have been waited for, and given back. Known when compiling, once the loops are unrolled.
    int arrived = 0, released = 0;
    const auto waitTo = [&](int box) {
#pragma unroll
      for (; arrived < box; ++arrived) barrierWait(block.full(ring.stage(arrived)), ring.parity(arrived));
    };
    // One by one: there may be fewer stages than boxes, and the next comes when the one before is free.
    const auto releaseTo = [&](int box) {
#pragma unroll
      for (; released < box; ++released) {
        waitTo(released + 1);
        barrierArriveIf(lane == 0, block.empty(ring.stage(released)));
      }
    };
#pragma unroll
    for (int chunk = firstChunk; chunk < chunksHere; chunk += nextChunk) {
      Sums acc;
      releaseTo(firstStep(chunk * 8 / rank) / 4);
      warpgroupFence();
#pragma unroll
      for (int k = 0; k < instructions; ++k) {
        const int inner = chunk * 8 + k * span, piece = inner / rank;
        if (inner < innerHere) {
#pragma unroll
          for (int at = firstStep(piece); at < endStep(piece); ++at) {
            waitTo(at / 4 + 1);
            warpgroupMultiply(acc[k], lines + (ring.stage(at / 4) * boxBytes + at % 4 * 32 >> 4),
                              core0 + (placeOfCore0(piece, at - firstStep(piece), tileGroup, inner % rank) >> 4), at > firstStep(piece));
          }
          warpgroupCommit();
        }
        if (chunk > firstChunk)
          sender.send(words, chunk - nextChunk, chunk - nextChunk == firstChunk, step, k);
        else if (step > 0)
          sender.send(words, lastChunk, lastChunk == firstChunk, step - 1, k);
        // The products before these have read their boxes.
        if (k > 0 && inner < innerHere) {
          warpgroupWait<1>();
          releaseTo(firstStep(piece) / 4);
        }
      }
      warpgroupWait<0>();
      releaseTo(chunk == lastChunk ? boxes : firstStep((chunk + 1) * 8 / rank) / 4);
      pack(words, acc, chunk);
    }
  }
#pragma unroll
  for (int part = 0; part < instructions; ++part)
    sender.send(words, lastChunk, lastChunk == firstChunk, steps.count - 1, part);
}
