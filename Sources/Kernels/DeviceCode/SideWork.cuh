// The memory-bound ends of Strassen-Tile inside a products kernel: encoding the rows that later tiles will need, decoding the
// fragments that earlier ones left. By whole warps, each with a ring in shared memory through which its loads stay in flight; a
// lane reads from the ring only what it asked for itself, so a ring needs no synchronisation.
#pragma once
#include "Async.cuh"
#include "DecodeTiles.cuh"
#include "EncodeTiles.cuh"
#include "Fragments.cuh"
#include "Schedule.cuh"

constexpr int ringBytes = 16384;

/// A ring of slots of `slotBytes` for one warp; `address` is the lane's place in the first.
template <int slotBytes>
struct Ring {
  static constexpr int slots = ringBytes / slotBytes;
  static_assert(slots >= 2, "a ring holds the step at work and the next");

  u32 first, write, read;

  __device__ __forceinline__ Ring(u32 base, int lane) : first(base + lane * 16), write(first), read(first) {}
  __device__ __forceinline__ void advance(u32& slot) const {
    slot = slot == first + (slots - 1) * slotBytes ? first : slot + slotBytes;
  }
};

// Decode: a piece is a few windows of a strip; a step is two rows of a window (eight lanes' chunks of all planes).

constexpr int windowsPerPiece = windows >= 4 ? 4 : windows;
constexpr int piecesPerStrip = 2 * windows / windowsPerPiece;
constexpr int piecesPerBlock = stripsPerBlock * piecesPerStrip;
constexpr int stepsPerPiece = 4 * windowsPerPiece;

/// Decodes piece `piece` of block (m, n); called by a whole warp.
__device__ __forceinline__ void decodePiece(
    const Storage* fragments, const Decoder& decoder, const Output& output, int m, int n, int nBlocks, int piece, u32 base) {
  const int lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
  const int strip = piece / piecesPerStrip;
  const int window = piece % piecesPerStrip * windowsPerPiece;
  const int firstRow = m * tileRowsPerBlock + strip * 16 + window / windows * 8;
  if (firstRow >= output.tileRows) return;
  const int firstTile = n * tileColumns + window % windows * windowColumns + 2 * (g & 3);
  const Storage* source = fragments + fragmentOffset(m * nBlocks + n, strip, 2 * q) + window * windowElements + g * vectorLength;

  Ring<rankSteps * 1024> ring(base, lane);
  int requested = 0;
  const auto request = [&] {
    if (requested < stepsPerPiece) {
#pragma unroll
      for (int i = 0; i < 2 * rankSteps; ++i) {
        const int plane = 8 * (i / 2) + i % 2;
        const bool present = plane + 6 < rank || plane + 2 * q < rank;
        asyncCopy(ring.write + i * 512, present ? source + plane * stripElements : fragments, present);
      }
      source += 8 * vectorLength;
      ring.advance(ring.write);
      ++requested;
    }
    asyncCommit();
  };
#pragma unroll 1
  for (int i = 0; i < ring.slots - 1; ++i) request();
#pragma unroll 1
  for (int step = 0; step < stepsPerPiece; ++step) {
    request();
    asyncWait<ring.slots - 1>();
    PlaneChunks chunks;
#pragma unroll
    for (int s = 0; s < rankSteps; ++s) {
      chunks.chunk[s][0] = loadFromShared(ring.read + 2 * s * 512);
      chunks.chunk[s][1] = loadFromShared(ring.read + (2 * s + 1) * 512);
    }
    ring.advance(ring.read);
    const int tileRow = firstRow + step % 4 * 2 + (g >> 2);
    const int row = tileRow < output.tileRows ? output.map.row(tileRow, q) : -1;
    decoder.decode(chunks, row, firstTile + step / 4 * windowColumns, 8, output);
  }
}

// Encode: an item is eight tile rows by two column blocks; a step is a column block of a tile row.

constexpr int itemRows = 8, itemBlocks = 2;

/// Items in the 128 tile rows of a block row.
__device__ __forceinline__ int encodeItems(int columnBlocks) {
  return tileRowsPerBlock / itemRows * ((columnBlocks + itemBlocks - 1) / itemBlocks);
}

/// Encodes item `item` of block row m; called by a whole warp.
__device__ __forceinline__ void encodeItem(
    const Input& input, const Basis& encoder, Storage* planes, int m, int item, int rowBlocks, int columnBlocks, u32 base) {
  const int lane = threadIdx.x & 31;
  const int perRow = (columnBlocks + itemBlocks - 1) / itemBlocks;
  const int firstRow = m * tileRowsPerBlock + item / perRow * itemRows;
  const int firstBlock = item % perRow * itemBlocks;
  const int steps = itemRows * min(itemBlocks, columnBlocks - firstBlock);

  Ring<lanePieces * 512> ring(base, lane);
  int requested = 0;
  const auto request = [&] {
    if (requested < steps) {
      const int row = input.row(firstRow + requested % itemRows, lane & 3);
      const int block = firstBlock + requested / itemRows;
#pragma unroll
      for (int i = 0; i < lanePieces; ++i) {
        const int column = laneColumn(block, i, lane);
        if (input.whole(row, column)) asyncCopyCached(ring.write + i * 512, input.x + (i64)row * input.pitch + column);
        else storeToShared(ring.write + i * 512, input.gather(row, column));
      }
      ring.advance(ring.write);
      ++requested;
    }
    asyncCommit();
  };
#pragma unroll 1
  for (int i = 0; i < ring.slots - 1; ++i) request();
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    request();
    asyncWait<ring.slots - 1>();
    uint4 pieces[lanePieces];
#pragma unroll
    for (int i = 0; i < lanePieces; ++i) pieces[i] = loadFromShared(ring.read + i * 512);
    ring.advance(ring.read);
    const int tileRow = firstRow + step % itemRows, block = firstBlock + step / itemRows;
    encoder.encode(
        pieces, planes + ((i64)(tileRow / blockRows) * columnBlocks + block) * blockElements,
        (i64)rowBlocks * columnBlocks * blockElements, tileRow % blockRows, 0, lane);
  }
}

/// The counters of a launch. `encoded[m]` counts the items of block row m, `finished[m * nBlocks + n]` the planes of a block.
struct Counters {
  int* words;
  int blockRows;

  __device__ __forceinline__ int* tileTicket() const { return words; }
  __device__ __forceinline__ int* sideTicket() const { return words + 1; }
  __device__ __forceinline__ int* firstTicket() const { return words + 2; }
  __device__ __forceinline__ int* roleTicket() const { return words + 3; }
  __device__ __forceinline__ int* encoded(int m) const { return words + 4 + m; }
  __device__ __forceinline__ int* finished(int block) const { return words + 4 + blockRows + block; }
};

struct SideWork {
  const Input& input;
  const Output& output;
  const Storage* encoderBasis;
  const Storage* decoderBasis;
  Storage* planes;
  const Storage* fragments;
  int columnBlocks;
  Counters counters;
  Schedule schedule;

  __device__ __forceinline__ void encode(const Basis& encoder, int m, int item, u32 ring) const {
    encodeItem(input, encoder, planes, m, item, schedule.mPairs * 4, columnBlocks, ring);
    fenceAsync();
    __syncwarp();
    if ((threadIdx.x & 31) == 0) publish(counters.encoded(m));
  }

  /// The encodes of the first group row: no product can begin before them, so every warp helps.
  __device__ __forceinline__ void first(u32 ring) const {
    const int lane = threadIdx.x & 31;
    const int items = encodeItems(columnBlocks);
    const int total = min(schedule.groupM, schedule.mPairs) * 2 * items;
    Basis encoder;
    encoder.load(encoderBasis, lane);
    while (true) {
      int ticket = lane == 0 ? atomicAdd(counters.firstTicket(), 1) : 0;
      ticket = __shfl_sync(~0u, ticket, 0);
      if (ticket >= total) return;
      encode(encoder, ticket / items, ticket % items, ring);
    }
  }

  /// All the rest, by ticket, until none is left.
  template <bool encodes>
  __device__ __forceinline__ void rest(u32 ring) const {
    const int lane = threadIdx.x & 31;
    const int items = encodeItems(columnBlocks);
    Decoder decoder;
    decoder.load(decoderBasis, lane);
    while (true) {
      int ticket = lane == 0 ? atomicAdd(counters.sideTicket(), 1) : 0;
      ticket = __shfl_sync(~0u, ticket, 0);
      bool isEncode;
      const int work = schedule.side(ticket, encodes ? 2 * items : 0, schedule.nBlocks * 2 * piecesPerBlock, isEncode);
      if (work < 0) return;
      if (encodes && isEncode) {
        Basis encoder;
        encoder.load(encoderBasis, lane);
        encode(encoder, 2 * min(schedule.groupM, schedule.mPairs) + work / items, work % items, ring);
      } else {
        const Schedule::Place place = schedule.place(work, 2 * piecesPerBlock, false);
        const int m = 2 * place.m + place.index / piecesPerBlock;
        if (lane == 0) awaitCount(counters.finished(m * schedule.nBlocks + place.n), rank);
        __syncwarp();
        decodePiece(fragments, decoder, output, m, place.n, schedule.nBlocks, place.index % piecesPerBlock, ring);
      }
    }
  }
};
