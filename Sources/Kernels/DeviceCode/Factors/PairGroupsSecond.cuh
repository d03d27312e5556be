// The second product of PairGroups.cu, and its outputs, by one or two warpgroups.
#pragma once
#include "Factors/Epilogue.cuh"
#include "Factors/PairGroupsBlock.cuh"
#include "Warpgroup.cuh"

/// A part of an output piece as it is written: what a lane has of two rows, in runs.
constexpr int runs1 = partTiles1 / runTiles;
typedef u32 Outputs[2][runs1][runLength / 2];

/// Where a part lies: column `start` and those after it up to `end` of the output piece, and `count` rows of a warp's 16 from `firstRow`.
struct Place {
  int start, end, count;
  i64 firstRow;
};

/// The outputs of a part from its sums.
__device__ __forceinline__ void finish(
    Outputs& outputs, float (&acc)[4 * partTiles1], const Epilogue& epilogue, const Place& place, int lane) {
#pragma unroll
  for (int h = 0; h < 2; ++h)
#pragma unroll
    for (int run = 0; run < runs1; ++run) {
      const int row = h * 8 + (lane >> 2), column = place.start + run * runTiles * 8 + (lane & 3) * runLength;
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
    const int row = h * 8 + (lane >> 2);
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

/// Writes what this block was handed of a half: z of `count` rows from `firstRow`, in pieces of 16 bytes.
__device__ __forceinline__ void keep(
    const Block& block, Storage* inner, int buffer, int half, i64 firstRow, int count, int thread) {
  const int pieces = block.outputsOf(half);
  for (int index = thread; index < pieces * chunks * count; index += secondGroups * groupThreads) {
    const int chunk = index % chunks, piece = index / chunks % pieces * halves + half, row = index / chunks / pieces;
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(block.z(buffer) + placeOfZ(piece, chunk, row)));
    store16(inner + (((firstRow + row) * n0 + block.self * outputPieces + piece) * chunks + chunk) * 8, v);
  }
}

/// Second product of every step, and its outputs, by warpgroup `group` of those that share it.
template <int group>
__device__ __forceinline__ void runSecond(
    const Block& block, const Steps& steps, Storage* inner, const Epilogue& epilogue, int lane, int warp) {
  const bool counting = clusterSize > 1 && group == 0 && warp == 0 && lane == 0;
  // What a half receives from other blocks in a step.
  const auto expect = [&](int buffer, int half) {
    if (counting) barrierExpect(block.fullZ(buffer, half), block.outputsOf(half) * sentBytes);
  };
  for (int buffer = 0; buffer < buffers; ++buffer)
    for (int half = 0; half < halves; ++half) expect(buffer, half);
  if (TESSERA_OUTPUT && steps.count > 0) barrierWait(block.coreArrived(1), 0);
#pragma unroll 1
  for (int step = 0; step < steps.count; ++step) {
    const int buffer = step % buffers;
    const i64 firstRow = steps.firstRow(step);
    const int count = steps.rowsHere(step);
#pragma unroll 1
    for (int half = 0; half < halves; ++half) {
      barrierWait(block.fullZ(buffer, half), step / buffers & 1);
      expect(buffer, half);
      if constexpr (hasPlaces)
        barrierArriveRemoteIf(group == 0 && warp == 0 && lane < clusterSize, block.readPlaces(half), lane % clusterSize);
      const auto release = [&] {
        __syncwarp();
        if constexpr (arrivals == 1)
          barrierArriveRemoteIf(lane < clusterSize, block.emptyZ(buffer, half), lane % clusterSize);
        else
          for (int other = 0; other < clusterSize; ++other) barrierArriveRemote(block.emptyZ(buffer, half), other);
      };
#if TESSERA_KEEP
      keep(block, inner, buffer, half, firstRow, count, (group * 4 + warp) * 32 + lane);
#endif
#if TESSERA_OUTPUT
      // z has come by stores; the matrix units read it by themselves.
      fenceAsync();
      const u64 lines = hasPlaces ? blockDescriptor(block.z(buffer) + half * chunks * chunkBytes, chunkBytes, 128)
                                  : lineDescriptor(block.z(buffer));
      const u64 core1 = matrixDescriptor(block.core1());
      // A part of an output piece at a time; it is written while the next is multiplied.
      const int tasks = block.outputsOf(half) * parts1;
      float acc[4 * partTiles1];
      Outputs outputs;
      Place place;
      if (secondGroups > 1 && group >= tasks) release();
#pragma unroll 1
      for (int task = group; task < tasks; task += secondGroups) {
        const int piece = task / parts1 * halves + half, part = task % parts1, first = piece * steps1;
        warpgroupFence();
#pragma unroll
        for (int s = 0; s < steps1; ++s)
          warpgroupMultiply(acc,
                            lines + (hasPlaces ? 2 * s * chunkBytes + piece / halves * columnBytes
                                               : (first + s) / 4 * boxBytes + (first + s) % 4 * 32) / 16,
                            core1 + (((first + s) * parts1 + part) * partTiles1 * 256 >> 4), s > 0);
        warpgroupCommit();
        if (task > group) write(outputs, epilogue, place, lane);
        warpgroupWait<0>();
        if (task + secondGroups >= tasks) release();
        const int start = (block.self * outputPieces + piece) * n1;
        place = {start + part * partTiles1 * 8, start + n1, count - warp * 16, firstRow + warp * 16};
        finish(outputs, acc, epilogue, place, lane);
      }
      if (secondGroups == 1 || group < tasks) write(outputs, epilogue, place, lane);
#else
      release();
#endif
    }
  }
}
