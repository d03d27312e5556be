// How the first product of PairGroups.cu hands a chunk of z to the blocks that own its output pieces.
#pragma once
#include "Factors/PairGroupsBlock.cuh"

constexpr int instructions = 8 / span;  // instructions of a chunk and step
/// A chunk as it is sent: [parity of j][tile][row half], 16 bytes each.
/// At most `sendsOfPart` with each instruction: loops whose length is known only after another is unrolled are not unrolled.
constexpr int sends = 4 * groupTiles, sendsOfPart = divideUp(sends, instructions);
typedef u32 Words[sends][4];

/// One warpgroup's chunks on their way to the blocks that own their pieces, by stores or by copies. Its tiles are at places from
/// `firstPlace` on.
template <bool byCopies, int firstPlace>
struct Sender;

template <int firstPlace>
struct Sender<false, firstPlace> {
  const Block& block;
  int row, lane;

  __device__ __forceinline__ Sender(const Block& block, int row, int lane, int) : block(block), row(row), lane(lane) {}

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

/// A half of a chunk is gathered in places, then copied to its owners, a run of neighbouring pieces at a time; what the block owns
/// itself goes where it is read. A copy is counted where it arrives and nowhere else, so it is the owners that say when the places of a
/// step have been read.
template <int firstPlace>
struct Sender<true, firstPlace> {
  const Block& block;
  int row, lane, group;
  // Where the lane's eight inner indices of a tile go, for even and odd j if their owners may differ, and of which they are the block's own.
  static constexpr int kinds = 2 / halves;
  u32 targets[kinds][groupTiles], owned = 0;

  __device__ __forceinline__ Sender(const Block& block, int row, int lane, int group) : block(block), row(row), lane(lane), group(group) {
#pragma unroll
    for (int kind = 0; kind < kinds; ++kind)
#pragma unroll
      for (int tile = 0; tile < groupTiles; ++tile) {
        const int column = 2 * (lane & 3) + kind, j = tileAtPlace(firstPlace + tile, block.self) * 8 + column;
        const bool own = j / outputPieces == block.self;
        owned |= (u32)own << (kind * groupTiles + tile);
        targets[kind][tile] = own ? block.z(0) + placeOfZ(j % outputPieces, block.self * chunksHere, row)
                                  : block.places() + offsetOfPlace(tile, column) + row * 16;
      }
  }

  /// Sends the half whose turn is with part `part` of `instructions` of a chunk of the step `step`.
  __device__ __forceinline__ void send(const Words& words, int chunk, bool isFirst, bool isLast, int step, int part) const {
    const int buffer = step % buffers;
#pragma unroll
    for (int half = 0; half < halves; ++half) {
      if (half * instructions / halves != part) continue;
      if (isFirst && step > 0) barrierWait(block.readPlaces(half), (step - 1) & 1);
      if (isFirst && step >= buffers) barrierWait(block.emptyZ(buffer, half), (step / buffers - 1) & 1);
      const u32 here = buffer * bufferBytesZ + (half * chunks + chunk) * chunkBytes, there = (half * chunksHere + chunk) * placesBytes;
#pragma unroll
      for (int index = 0; index < sends; ++index) {
        const int parity = index / (2 * groupTiles), tile = index / 2 % groupTiles, h = index % 2, kind = halves == 2 ? 0 : parity;
        if (parity % halves != half) continue;
        const u32(&word)[4] = words[index];
        storeShared16(targets[kind][tile] + (owned >> (kind * groupTiles + tile) & 1 ? here : there) + h * 8 * 16,
                      make_uint4(word[0], word[1], word[2], word[3]));
      }
      fenceAsync();
      asm volatile("bar.sync %0, %1;" ::"r"(1 + group), "n"(groupThreads) : "memory");
      if (row < stepRows / 4) copy(chunk, half, buffer, block.places() + there);  // the first warp
      if (isLast) barrierArriveIf(lane < arrivals, block.fullZ(buffer, half));
    }
  }

  static __device__ __forceinline__ int offsetOfPlace(int tile, int column) {
    return ((firstPlace + tile) * 8 + column) / halves * columnBytes;
  }

  /// Copies a half of a chunk, one run a lane of one warp.
  __device__ __forceinline__ void copy(int chunk, int half, int buffer, u32 places) const {
    const int tile = lane / 8, column = lane % 8, first = tileAtPlace(firstPlace + tile % groupTiles, block.self) * 8, j = first + column;
    const int owner = j / outputPieces, piece = j % outputPieces, end = min(min(first + 8, (owner + 1) * outputPieces), n0);
    const int count = (end - j + halves - 1 - half) / halves;
    if (tile < groupTiles && (column == 0 || piece == 0) && owner != block.self && count > 0)
      bulkCopyToBlock(block.z(buffer) + placeOfZ(piece + half, block.self * chunksHere + chunk, 0), places + offsetOfPlace(tile, column),
                      count * columnBytes, block.fullZ(buffer, half), owner);
  }
};
