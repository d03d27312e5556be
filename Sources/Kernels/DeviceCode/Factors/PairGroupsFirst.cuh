// The first product of PairGroups.cu, by one or two warpgroups.
#pragma once
#include "Factors/PairGroupsBlock.cuh"
#include "Warpgroup.cuh"

constexpr int instructions = 8 / span;  // instructions of a chunk and step
typedef float Sums[instructions][4 * span * groupTiles];
/// A chunk as it is sent: [parity of j][tile][row half], 16 bytes each.
/// At most `sendsOfPart` with each instruction: loops whose length is known only after another is unrolled are not unrolled.
constexpr int sends = 4 * groupTiles, sendsOfPart = divideUp(sends, instructions);
typedef u32 Words[sends][4];

__device__ __forceinline__ void pack(Words& words, const Sums& acc, int chunk) {
#pragma unroll
  for (int index = 0; index < sends; ++index) {
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

/// One warpgroup's chunks on their way to the blocks that own their pieces. Its tiles are at places from `firstPlace` on.
template <int firstPlace>
struct Sender {
  const Block& block;
  int row, lane;

  /// Sends part `part` of `instructions` of a chunk of the step `step`.
  __device__ __forceinline__ void send(const Words& words, int chunk, bool isFirst, bool isLast, int step, int part) const {
    const int buffer = step % buffers;
#pragma unroll
    for (int n = 0; n < sendsOfPart; ++n) {
      const int index = part * sends / instructions + n;
      if (index >= (part + 1) * sends / instructions) break;
      const int parity = index / (2 * groupTiles), first = parity * 2 * groupTiles;
      if (isFirst && index == first && parity < halves && step >= buffers)
        barrierWait(block.emptyZ(buffer, parity), (step / buffers - 1) & 1);
      store(words[index], chunk, parity, index / 2 % groupTiles, index % 2, buffer);
      if (isLast && index == first + 2 * groupTiles - 1 && parity + halves >= 2) {
        __syncwarp();
        barrierArriveIf(lane < arrivals, block.fullZ(buffer, parity % halves));
      }
    }
  }

  __device__ __forceinline__ void store(const u32 (&word)[4], int chunk, int parity, int tile, int h, int buffer) const {
    // In most divisions all that depends on the lane is the same in every tile.
    constexpr bool regular = outputPieces % 8 == 0 || 8 % outputPieces == 0;
    const int first = tileAtPlace(firstPlace + tile, block.self) * 8, column = 2 * (lane & 3) + parity, j = first + column;
    if (jGroups * groupTiles * 8 != n0 && j >= n0) return;
    const int owner = regular ? first / outputPieces + column / outputPieces : j / outputPieces;
    const u32 place = block.z(buffer) + (regular ? first % outputPieces * chunks / 8 * boxBytes : 0)
        + placeOfZ((regular ? column : j) % outputPieces, block.self * chunksHere + chunk, row) + h * 8 * lineBytes;
    const uint4 v = make_uint4(word[0], word[1], word[2], word[3]);
    if (clusterSize == 1 || owner == block.self)
      storeShared16(place, v);
    else
      storeToBlock(place, block.fullZ(buffer, parity % halves), owner, v);
  }
};

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
  constexpr int half = group % jGroups, firstChunk = splitsChunks ? group : 0, nextChunk = splitsChunks ? 2 : 1;
  constexpr int lastChunk = firstChunk + (chunksHere - 1 - firstChunk) / nextChunk * nextChunk;
  const Sender<half * groupTiles> sender{block, warp * 16 + (lane >> 2), lane};
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
                              core0 + (placeOfCore0(piece, at - firstStep(piece), half, inner % rank) >> 4), at > firstStep(piece));
          }
          warpgroupCommit();
        }
        if (chunk > firstChunk)
          sender.send(words, chunk - nextChunk, chunk - nextChunk == firstChunk, false, step, k);
        else if (step > 0)
          sender.send(words, lastChunk, lastChunk == firstChunk, true, step - 1, k);
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
    sender.send(words, lastChunk, lastChunk == firstChunk, true, steps.count - 1, part);
}
