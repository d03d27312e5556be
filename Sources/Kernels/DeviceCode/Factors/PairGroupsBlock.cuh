// A block of PairGroups.cu: its shared memory, and its share of the pieces.
#pragma once
#include "Async.cuh"
#include "Factors/PairExchange.cuh"
#include "Factors/PairGroupsShape.cuh"

constexpr int stages = TESSERA_X_STAGES, buffers = TESSERA_Z_BUFFERS;
constexpr bool tensor = TESSERA_TENSOR;
// Registers of a thread: of the first product 48 for each tile (32 sums, 16 on their way), and what is left for the second.
constexpr int registers0 = (groupTiles > 3 ? 200 : 168) + (firstGroups == 1 ? 32 : 0);
constexpr int registers1 = (512 - 24 - firstGroups * registers0) / secondGroups / 8 * 8;
constexpr int groupThreads = 128, threads = 4 * groupThreads, senders = firstGroups * groupThreads;

// How many lanes of a warp arrive where one can for all of them: racecheck knows barriers by threads, and only with KEEP are there ordinary
// reads of z that it sees.
constexpr int arrivals = TESSERA_KEEP ? 32 : 1;

// Shared memory: buffers of z, boxes of x, both cores, places of what is sent, room for the tensor map, barriers.
constexpr int offsetX = buffers * bufferBytesZ, offsetCore0 = offsetX + stages * boxBytes;
constexpr int offsetCore1 = offsetCore0 + coreBytes0, offsetPlaces = offsetCore1 + coreBytes1;
constexpr int offsetMap = (offsetPlaces + halves * chunksHere * placesBytes + 127) / 128 * 128;
constexpr int offsetBarriers = offsetMap + 128, sharedBytes = offsetBarriers + 16 * (stages + 2 * buffers + 1 + hasPlaces);
static_assert(sharedBytes == TESSERA_SHARED, "the launcher's plan and the kernel agree");
static_assert((clusterSize - 1) * outputPieces < n0, "every block has outputs: one without would never wait for z");
static_assert(groupTiles <= 4, "the sums of eight inner indices fit the registers");
static_assert(!tensor || sliceColumns * Element::bytes % 16 == 0, "slices begin at multiples of 16 bytes");

typedef PairSteps<stepRows> Steps;

struct Block {
  u32 shared;
  int self;

  __device__ __forceinline__ u32 z(int buffer) const { return shared + buffer * bufferBytesZ; }
  __device__ __forceinline__ u32 x(int stage) const { return shared + offsetX + stage * boxBytes; }
  __device__ __forceinline__ u32 core0() const { return shared + offsetCore0; }
  __device__ __forceinline__ u32 core1() const { return shared + offsetCore1; }
  __device__ __forceinline__ u32 places() const { return shared + offsetPlaces; }
  __device__ __forceinline__ u32 full(int stage) const { return shared + offsetBarriers + 8 * stage; }
  __device__ __forceinline__ u32 empty(int stage) const { return full(stages + stage); }
  __device__ __forceinline__ u32 fullZ(int buffer, int half) const { return full(2 * stages + 2 * buffer + half); }
  __device__ __forceinline__ u32 emptyZ(int buffer, int half) const { return fullZ(buffers + buffer, half); }
  __device__ __forceinline__ u32 coreArrived(int core) const { return fullZ(2 * buffers, core); }
  __device__ __forceinline__ u32 readPlaces(int half) const { return fullZ(2 * buffers + 1, half); }

  __device__ __forceinline__ int columnsHere() const { return max(0, min(sliceColumns, m1 * m0 - self * sliceColumns)); }
  __device__ __forceinline__ int outputsHere() const { return max(0, min(outputPieces, n0 - self * outputPieces)); }
  /// The output pieces of a half: `half`, `half` + halves, ...
  __device__ __forceinline__ int outputsOf(int half) const { return (outputsHere() + halves - 1 - half) / halves; }
};

/// Where 16 bytes of z lie in a buffer: `chunk` of output piece `piece` (of the block) and a row.
__device__ __forceinline__ u32 placeOfZ(int piece, int chunk, int row) {
  if constexpr (hasPlaces) return (piece % halves * chunks + chunk) * chunkBytes + piece / halves * columnBytes + row * 16;
  const int vector = piece * chunks + placeOfChunk(piece, chunk);
  return vector / 8 * boxBytes + row * lineBytes + ((vector ^ row) & 7) * 16;
}
