// The second product of PairGroups.cu, and its outputs, by one or two warpgroups.
#pragma once
#include "Factors/Epilogue.cuh"
#include "Factors/PairGroupsBlock.cuh"
#include "Warpgroup.cuh"

/// A part of an output piece as it is written: what a lane has of two rows, in runs.
constexpr int runs1 = partTiles1 / runTiles;
typedef u32 Outputs[2][runs1][runLength / 2];

/// Where a part lies: column `start` and those after it up to `end` of the output piece, and `count` rows of a warp's 16 from `firstRow`, of
/// which a lane has `row` and the one eight below.
struct Place {
  int start, end, count, row;
  i64 firstRow;
};

/// The outputs of a part from its sums.
__device__ __forceinline__ void finish(
    Outputs& outputs, float (&acc)[4 * partTiles1], const Epilogue& epilogue, const Place& place, int lane) {
#pragma unroll
  for (int h = 0; h < 2; ++h)
#pragma unroll
    for (int run = 0; run < runs1; ++run) {
      const int row = h * 8 + place.row, column = place.start + run * runTiles * 8 + (lane & 3) * runLength;
      float values[runLength];
#pragma unroll
      for (int i = 0; i < runLength; ++i) values[i] = acc[(run * runTiles + i / 2) * 4 + 2 * h + i % 2];
      if (row < place.count) epilogue.apply(place.firstRow + row, column, n1 % runLength == 0 ? column + runLength : place.end, values);
#pragma unroll
      for (int i = 0; i < runLength / 2; ++i) outputs[h][run][i] = Element::pack(values[2 * i], values[2 * i + 1]);
    }
}

/// Writes them.
__device__ __forceinline__ void write(const Outputs& outputs, const Epilogue& epilogue, const Place& place, int lane) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int row = h * 8 + place.row;
    if (row >= place.count) continue;
#pragma unroll
    for (int run = 0; run < runs1; ++run) {
      const int column = place.start + run * runTiles * 8 + (lane & 3) * runLength;
      const u32(&word)[runLength / 2] = outputs[h][run];
      Storage* target = epilogue.y + (place.firstRow + row) * epilogue.pitch + column;
      // Where no run is cut by an end, the compiler is not to provide for it.
      if (epilogue.aligned && (n1 % runLength == 0 ? column < place.end : column + runLength <= place.end)) {
        if constexpr (runLength == 8)
          store16(target, make_uint4(word[0], word[1], word[2], word[3]));
        else if constexpr (runLength == 4)
          *(uint2*)target = make_uint2(word[0], word[1]);
        else
          *(u32*)target = word[0];
      } else {
#pragma unroll
        for (int i = 0; i < runLength; ++i)
          if (column + i < place.end) target[i] = (Storage)(word[i / 2] >> i % 2 * 16);
      }
    }
  }
}

/// Where in its block's tiles the first column of a unit lies.
__device__ __forceinline__ int firstColumn(const Block& block) { return block.self * unitPieces; }

/// Second product of every step, by warpgroup `group` of those that share it.
template <int group>
__device__ __forceinline__ void runSecond(
    const Block& block, const Steps& steps, const Epilogue& epilogue, int lane, int warp) {
  if (TESSERA_OUTPUT && steps.count > 0) barrierWait(block.coreArrived(1), 0);
  const u64 core1 = matrixDescriptor(block.core1());
#pragma unroll 1
  for (int unit = alternates ? group : 0; unit < steps.count * units; unit += alternates ? secondGroups : 1) {
    const int slot = unit % unitsZ, step = unit / units, firstPiece = unit % units * unitPieces;
    const int pieces = min(unitPieces, block.outputsHere() - firstPiece), count = steps.rowsHere(step);
    const i64 firstRow = steps.firstRow(step);
    barrierWait(block.fullZ(slot), unit / unitsZ & 1);
#if TESSERA_OUTPUT
    const u64 blocks = blockDescriptor(block.z(slot), chunkBytes, 128);
    // A part of an output piece at a time; it is written while the next is multiplied.
    const int tasks = pieces * parts1, first = (unit * tasks1 + group) % secondGroups;
    float acc[4 * partTiles1];
    Outputs outputs;
    Place place;
    if (first >= tasks) {
      block.releaseZ(slot, lane);
      continue;
    }
#pragma unroll 1
    for (int task = first; task < tasks; task += secondGroups) {
      const int piece = task / parts1, part = task % parts1;
      warpgroupFence();
#pragma unroll
      for (int s = 0; s < steps1; ++s)
        warpgroupMultiply(acc, blocks + (2 * s * chunkBytes + piece * columnBytes) / 16,
                          core1 + ((((firstPiece + piece) * steps1 + s) * parts1 + part) * partTiles1 * 256 >> 4), s > 0);
      warpgroupCommit();
      if (task > first) write(outputs, epilogue, place, lane);
      warpgroupWait<0>();
      if (task + secondGroups >= tasks) block.releaseZ(slot, lane);
      const int start = (block.share * n0 + block.self * outputPieces + firstPiece + piece) * n1;
      place = {start + part * partTiles1 * 8, start + n1, count - warp * 16, (lane >> 2) ^ rowTurn(firstColumn(block) + piece),
               firstRow + warp * 16};
      finish(outputs, acc, epilogue, place, lane);
    }
    write(outputs, epilogue, place, lane);
#else
    block.releaseZ(slot, lane);
#endif
  }
}
