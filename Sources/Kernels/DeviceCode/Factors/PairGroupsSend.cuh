// How the first product of PairGroups.cu hands z to the blocks that own its output pieces, unit by unit.
#pragma once
#include "Factors/PairGroupsBlock.cuh"

constexpr int instructions = 8 / span;  // instructions of a chunk and step
/// A chunk as it is handed over: [parity of the column][tile][row half], 16 bytes each.
typedef u32 Words[4 * groupTiles][4];

/// One warpgroup's tiles on their way: into places, from where a warp of the copying warpgroup copies them to their owners (sendPlaces), or,
/// by a block alone, into z.
template <int tileGroup>
struct Sender {
  const Block& block;
  u32 target;  // of the lane's eight inner indices of its first column
  int lane;

  __device__ __forceinline__ Sender(const Block& block, int row, int lane)
      : block(block), target((isAlone ? block.z(0) : block.place(0)) + 2 * (lane & 3) * columnBytes + (row ^ rowTurn(2 * (lane & 3))) * 16),
        lane(lane) {}

  /// Hands over part `part` of `instructions` of a chunk of the step `step`.
  __device__ __forceinline__ void send(const Words& words, int chunk, bool isFirst, int step, int part) const {
    constexpr int tilesOfPart = divideUp(groupTiles, instructions);
#pragma unroll
    for (int n = 0; n < tilesOfPart; ++n) {
      const int index = divideUp(part * groupTiles, instructions) + n, tile = tileOfGroup(tileGroup, index);
      if (index * instructions / groupTiles != part) continue;
      const int unit = step * units + tile, slot = unit % slots;
      if (isFirst && unit >= slots) barrierWait(isAlone ? block.emptyZ(slot) : block.emptied(slot), (unit / slots - 1) & 1);
#pragma unroll
      for (int quarter = 0; quarter < 4; ++quarter) {
        const int parity = quarter / 2, h = quarter % 2;
        storeWords(target + slot * (isAlone ? unitBytes : placeBytes) + chunk * gatheredBytes + parity * columnBytes + h * 8 * 16,
                   words[(parity * groupTiles + index) * 2 + h]);
      }
      fenceAsync();
      __syncwarp();
      barrierArriveIf(lane < arrivals, isAlone ? block.fullZ(slot) : block.filled(slot, chunk));
    }
  }
};

/// What a bulk copy of a chunk to the block itself does.
__device__ __forceinline__ void copyHere(u32 target, u32 source, u32 barrier, int lane) {
  for (int at = lane * 16; at < chunkBytes; at += 32 * 16) {
    u32 words[4];
    loadWords(words, source + at);
    storeWords(target + at, words);
  }
  fenceAsync();
  __syncwarp();
  if (lane == 0) asm volatile("mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(barrier), "n"(chunkBytes) : "memory");
}

/// Copies every unit from its place to the owners, a chunk at a time, by one warp. Each block begins with what is its own, so that not all
/// send to one at a time.
__device__ __forceinline__ void sendPlaces(const Block& block, const Steps& steps, int lane) {
#pragma unroll 1
  for (int unit = 0; unit < steps.count * units; ++unit) {
    const int slot = unit % unitsZ, place = unit % slots;
    if (unit >= unitsZ) barrierWait(block.emptyZ(slot), (unit / unitsZ - 1) & 1);
#pragma unroll 1
    for (int chunk = 0; chunk < chunksHere; ++chunk) {
      barrierWait(block.filled(place, chunk), unit / slots & 1);
      const u32 target = block.z(slot) + (block.self * chunksHere + chunk) * chunkBytes, source = block.place(place) + chunk * gatheredBytes;
      if constexpr (copiesByThreads) copyHere(target, source + block.self * chunkBytes, block.fullZ(slot), lane);
      if (electLane()) {
#pragma unroll
        for (int n = copiesByThreads; n < clusterSize; ++n) {
          const int owner = (block.self + n) % clusterSize;
          bulkCopyToBlock(target, source + owner * chunkBytes, chunkBytes, block.fullZ(slot), owner);
        }
      }
      __syncwarp();
    }
  }
}

/// Of every unit that has come tells all blocks that its places have been read, as a copy is counted where it arrives and nowhere else, and
/// with KEEP copies it to `inner`, by one warp.
__device__ __forceinline__ void receive(const Block& block, const Steps& steps, Storage* inner, int lane) {
  const auto expect = [&](int slot) {
    if (lane == 0) barrierExpect(block.fullZ(slot), placeBytes);
  };
  if constexpr (!isAlone)
    for (int slot = 0; slot < unitsZ; ++slot) expect(slot);
  // Units that are still being read when the next has come: none where that needs the place, or leaves one to be filled.
  constexpr int late = unitsZ > (isAlone && chunksHere > 1 ? units : 2);
#pragma unroll 1
  for (int unit = 0; unit < steps.count * units; ++unit) {
    const int slot = unit % unitsZ;
    barrierWait(block.fullZ(slot), unit / unitsZ & 1);
    if constexpr (!isAlone) {
      expect(slot);
      barrierArriveRemoteIf(lane < clusterSize, block.emptied(unit % slots), lane % clusterSize);
    }
    if constexpr (keeps) {
      if (lane == 0) {
        const i64 part = (steps.firstRow(unit / units) / stepRows * shares + block.share) * clusterSize + block.self;
        bulkCopyOut(inner + (part * units + unit % units) * (unitBytes / Element::bytes), block.z(slot), unitBytes);
        writesCommit();
        writesWait<late>();
      }
      if (unit >= late) block.releaseZ((unit - late) % unitsZ, lane);
    }
  }
  // Nor may the block end before the last unit has been read. Nobody waits for its place.
  if (keeps && lane == 0) writesWait<0>();
}
