// The memory-bound ends of Strassen-Tile inside a products kernel: encoding the rows that later tiles will need, decoding the
// fragments that earlier ones left. By whole warps, in registers: a batch of steps is loaded through one address before the first
// is used, which keeps enough in flight. (Rings of cp.async in shared memory were three times slower: the address registers of
// each copy stay busy for a hundred cycles, so every copy waits for the one before.)
#pragma once
#include "Async.cuh"
#include "DecodeTiles.cuh"
#include "EncodeTiles.cuh"
#include "Fragments.cuh"
#include "Schedule.cuh"

// Decode: a piece is a few windows of a strip; a step is two rows of a window (eight lanes' chunks of all planes).

constexpr int windowsPerPiece = 2;
constexpr int piecesPerStrip = 2 * windows / windowsPerPiece;
constexpr int piecesPerBlock = stripsPerBlock * piecesPerStrip;
constexpr int stepsPerPiece = 4 * windowsPerPiece;

/// Steps loaded at once: what registers hold.
constexpr int decodeBatch = rankSteps <= 2 ? 4 : rankSteps <= 4 ? 2 : 1;

/// Decodes piece `piece` of block (m, n); called by a whole warp.
__device__ __forceinline__ void decodePiece(
    const Storage* fragments, const Decoder& decoder, const Output& output, int m, int n, int nBlocks, int piece) {
  const int lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
  const int strip = piece / piecesPerStrip;
  const int window = piece % piecesPerStrip * windowsPerPiece;
  const int firstRow = m * tileRowsPerBlock + strip * 16 + window / windows * 8;
  if (firstRow >= output.tileRows) return;
  const int firstTile = n * tileColumns + window % windows * windowColumns + 2 * (g & 3);
  const Storage* source = fragments + fragmentOffset(m * nBlocks + n, strip, 0) + window * windowElements + g * vectorLength;
#pragma unroll 1
  for (int step = 0; step < stepsPerPiece; step += decodeBatch) {
    PlaneChunks chunks[decodeBatch];
#pragma unroll
    for (int i = 0; i < decodeBatch; ++i) chunks[i].loadPublished(source + i * 8 * vectorLength, stripElements, lane);
    source += decodeBatch * 8 * vectorLength;
#pragma unroll
    for (int i = 0; i < decodeBatch; ++i) {
      const int tileRow = firstRow + (step + i) % 4 * 2 + (g >> 2);
      const int row = tileRow < output.tileRows ? output.map.row(tileRow, q) : -1;
      decoder.decode(chunks[i], row, firstTile + step / 4 * windowColumns, 8, output);
    }
  }
}

// Encode: an item is a few tile rows by a few column blocks; a step is a tile row of all its blocks.

constexpr int itemRows = 8, itemBlocks = 2;

/// Items in the 128 tile rows of a block row.
__device__ __forceinline__ int encodeItems(int columnBlocks) {
  return tileRowsPerBlock / itemRows * ((columnBlocks + itemBlocks - 1) / itemBlocks);
}

/// Encodes item `item` of block row m; called by a whole warp.
__device__ __forceinline__ void encodeItem(
    const Input& input, const Basis& encoder, Storage* planes, int m, int item, int rowBlocks, int columnBlocks) {
  const int lane = threadIdx.x & 31;
  const int perRow = (columnBlocks + itemBlocks - 1) / itemBlocks;
  const int firstRow = m * tileRowsPerBlock + item / perRow * itemRows;
  const int firstBlock = item % perRow * itemBlocks;
#pragma unroll 1
  for (int tileRow = firstRow; tileRow < firstRow + itemRows; ++tileRow) {
    const int row = input.row(tileRow, lane & 3);
    uint4 pieces[itemBlocks][lanePieces];
    if (input.whole(row, laneColumn(firstBlock + itemBlocks - 1, lanePieces - 1, lane))) {
      const Storage* source = input.x + (i64)row * input.pitch + laneColumn(firstBlock, 0, lane);
#pragma unroll
      for (int i = 0; i < itemBlocks; ++i)
#pragma unroll
        for (int piece = 0; piece < lanePieces; ++piece)
          pieces[i][piece] = loadConstant(source + laneColumn(i, piece, 0));
    } else {
#pragma unroll
      for (int i = 0; i < itemBlocks; ++i)
#pragma unroll
        for (int piece = 0; piece < lanePieces; ++piece)
          pieces[i][piece] = input.load(row, laneColumn(firstBlock + i, piece, lane));
    }
    __syncwarp();
    Storage* target = planes + ((i64)(tileRow / blockRows) * columnBlocks + firstBlock) * blockElements;
#pragma unroll
    for (int i = 0; i < itemBlocks; ++i)
      if (firstBlock + i < columnBlocks)
        encoder.encode(
            pieces[i], target + i * blockElements, (i64)rowBlocks * columnBlocks * blockElements, tileRow % blockRows, 0, lane);
  }
}

/// The counters of a launch. `encoded[m]` counts the items of block row m, `finished[m * nBlocks + n]` the planes of a block.
struct Counters {
  int* words;
  int blockRows;

  __device__ __forceinline__ int* tileTicket() const { return words; }
  __device__ __forceinline__ int* sideTicket() const { return words + 1; }
  __device__ __forceinline__ int* firstTicket() const { return words + 2; }
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

  __device__ __forceinline__ void encode(const Basis& encoder, int m, int item) const {
    encodeItem(input, encoder, planes, m, item, schedule.mPairs * 4, columnBlocks);
    fenceAsync();
    __syncwarp();
    if ((threadIdx.x & 31) == 0) publish(counters.encoded(m));
  }

  /// The encodes of the first group row: no product can begin before them, so every warp helps.
  __device__ __forceinline__ void first() const {
    const int lane = threadIdx.x & 31;
    const int items = encodeItems(columnBlocks);
    const int total = min(schedule.groupM, schedule.mPairs) * 2 * items;
    Basis encoder;
    encoder.load(encoderBasis, lane);
    while (true) {
      int ticket = lane == 0 ? atomicAdd(counters.firstTicket(), 1) : 0;
      ticket = __shfl_sync(~0u, ticket, 0);
      if (ticket >= total) return;
      encode(encoder, ticket / items, ticket % items);
    }
  }

  /// All the rest, by ticket, until none is left.
  template <bool encodes>
  __device__ __forceinline__ void rest() const {
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
        encode(encoder, 2 * min(schedule.groupM, schedule.mPairs) + work / items, work % items);
      } else {
        const Schedule::Place place = schedule.place(work, 2 * piecesPerBlock, false);
        const int m = 2 * place.m + place.index / piecesPerBlock;
        if (lane == 0) awaitCount(counters.finished(m * schedule.nBlocks + place.n), rank);
        __syncwarp();
        decodePiece(fragments, decoder, output, m, place.n, schedule.nBlocks, place.index % piecesPerBlock);
      }
    }
  }
};
