// The memory-bound ends of Strassen-Tile inside a products kernel: encoding the rows that later tiles will need, decoding the
// fragments that earlier ones left. By whole warps, in registers: a batch of steps is loaded through one address before the first
// is used.
//
// What it is worth (H200, 8192^3, rank 16): beside wgmma, whose operands take most of what shared memory and L1 can deliver, a step
// (64 positions of 16 planes) takes a warp about 2.5 us, 1.2 us when the products are done; so decoding beside the products hides
// about half of itself and slows them by a tenth. Through rings of cp.async, on the float32 units instead of the matrix units, and
// on SMs of its own it was no faster (docs/log-gpu.md).
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

/// Steps loaded at once: what registers hold.
constexpr int decodeBatch = rankSteps <= 2 ? 4 : rankSteps <= 4 ? 2 : 1;

template <bool whole, bool biased>
__device__ __forceinline__ void decodeSteps(
    const Storage* source, const Decoder& decoder, const Output& output, Storage* const (&targets)[4], int column, int lane) {
#pragma unroll 1
  for (int window = 0; window < windowsPerPiece; ++window)
#pragma unroll
    for (int step = 0; step < 4; step += decodeBatch) {
      PlaneChunks chunks[decodeBatch];
#pragma unroll
      for (int i = 0; i < decodeBatch; ++i)
        chunks[i].loadPublished(source + (window * 4 + step + i) * 8 * vectorLength, stripElements, lane);
#pragma unroll
      for (int i = 0; i < decodeBatch; ++i)
        decoder.decode<whole, biased>(chunks[i], targets[step + i], column + window * 4 * windowColumns, 32, output);
    }
}

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
  Storage* targets[4];
  TileRow tileRow(output.map, firstRow + (g >> 2));
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = firstRow + 2 * i + (g >> 2) < output.tileRows ? tileRow.row(output.map, q) : -1;
    targets[i] = row < 0 ? nullptr : output.y + (i64)row * output.pitch;
    tileRow.advance(output.map), tileRow.advance(output.map);
  }
  const bool whole = output.whole(4 * (n * tileColumns + (window % windows + windowsPerPiece) * windowColumns) - 8);
  if (whole && output.bias == nullptr) decodeSteps<true, false>(source, decoder, output, targets, 4 * firstTile, lane);
  else if (whole) decodeSteps<true, true>(source, decoder, output, targets, 4 * firstTile, lane);
  else decodeSteps<false, true>(source, decoder, output, targets, 4 * firstTile, lane);
}

// Encode: an item is a few tile rows by a few column blocks; a step is a tile row of all its blocks.

constexpr int itemRows = 8, itemBlocks = 2;
static_assert(itemBlocks == 2 && blockRows % itemRows == 0, "");

/// Items in the 128 tile rows of a block row.
__device__ __forceinline__ int encodeItems(int columnBlocks) {
  return tileRowsPerBlock / itemRows * ((columnBlocks + itemBlocks - 1) / itemBlocks);
}

template <bool whole>
__device__ __forceinline__ void encodeRows(
    const Input& input, const Basis& encoder, Storage* target, i64 planeStride, int firstRow, int firstBlock, bool second,
    int lane) {
  TileRow tileRow(input.map, firstRow);
#pragma unroll 1
  for (int index = firstRow; index < firstRow + itemRows; ++index) {
    const int row = index < input.tileRows ? tileRow.row(input.map, lane & 3) : -1;
    tileRow.advance(input.map);
    uint4 pieces[itemBlocks][lanePieces];
    const Storage* source = input.x + (i64)row * input.pitch + laneColumn(firstBlock, 0, lane);
#pragma unroll
    for (int i = 0; i < itemBlocks; ++i)
#pragma unroll
      for (int piece = 0; piece < lanePieces; ++piece) {
        if (whole) {
          pieces[i][piece] = row >= 0 ? loadConstant(source + laneColumn(i, piece, 0)) : make_uint4(0, 0, 0, 0);
        } else {
          pieces[i][piece] = input.gather(row, laneColumn(firstBlock + i, piece, lane));
          __syncwarp();  // one after the other: what is rare need not be fast
        }
      }
    encoder.encode(pieces[0], target, planeStride, index, 0, lane);
    if (second) encoder.encode(pieces[1], target + blockElements, planeStride, index, 0, lane);
    target += blockColumns;
  }
}

/// Encodes item `item` of block row m; called by a whole warp.
__device__ __forceinline__ void encodeItem(
    const Input& input, const Basis& encoder, Storage* planes, int m, int item, int rowBlocks, int columnBlocks) {
  const int lane = threadIdx.x & 31;
  const int perRow = (columnBlocks + itemBlocks - 1) / itemBlocks;
  const int firstRow = m * tileRowsPerBlock + item / perRow * itemRows;
  const int firstBlock = item % perRow * itemBlocks;
  const i64 planeStride = (i64)rowBlocks * columnBlocks * blockElements;
  Storage* target = planes + ((i64)(firstRow / blockRows) * columnBlocks + firstBlock) * blockElements
      + firstRow % blockRows * blockColumns + (lane >> 2) * planeStride;
  const bool second = firstBlock + 1 < columnBlocks;
  if (input.aligned && 4 * (firstBlock + itemBlocks) * blockColumns <= input.columns)
    encodeRows<true>(input, encoder, target, planeStride, firstRow, firstBlock, second, lane);
  else
    encodeRows<false>(input, encoder, target, planeStride, firstRow, firstBlock, second, lane);
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
