// A block of PairGroups.cu: its shared memory, and its share of the pieces.
#pragma once
#include "Async.cuh"
#include "Factors/PairExchange.cuh"
#include "Factors/PairGroupsShape.cuh"

// Boxes of x, units of z and places of what is sent that there is room for. A cluster of one has no places: it writes z where it is read.
constexpr int stages = TESSERA_X_STAGES, unitsZ = TESSERA_Z_UNITS, places = TESSERA_PLACES;
constexpr bool tensor = TESSERA_TENSOR, isAlone = clusterSize == 1;
static_assert(isAlone == (places == 0), "places are for what goes to other blocks");
// All units of a chunk are written before the next chunk.
constexpr int slots = isAlone ? unitsZ : places;
static_assert(chunksHere == 1 || slots >= units, "room for the units of a step");
// A warpgroup must see every use of a barrier that it waits for.
static_assert(slots % tileGroups == 0, "every slot is always of the same tiles");

// Registers of a thread: of the first product 48 for each tile (32 sums, 16 on their way), and what is left for the second.
constexpr int copyRegisters = 32, registers0 = (groupTiles > 3 ? 200 : 168) + (firstGroups == 1 ? 32 : 0);
constexpr int registers1 = (512 - copyRegisters - firstGroups * registers0) / secondGroups / 8 * 8;
// Second product: a warpgroup takes as many columns of an output piece at a time as these hold, 6 for each tile and 40 besides.
__host__ __device__ constexpr int partTiles(int most) {
  while (columnTiles1 % most != 0 || most % runTiles != 0) --most;
  return most;
}
constexpr int partTiles1 = partTiles(registers1 >= 136 ? 16 : registers1 >= 112 ? 12 : 8), parts1 = columnTiles1 / partTiles1;
constexpr int groupThreads = 128, threads = 4 * groupThreads;
// Of the copying warpgroup: those that bring x; the last two warps send z, and say that it has come.
constexpr int inputThreads = groupThreads / 2;

// For compute-sanitizer: racecheck (SANITIZE 1) knows barriers by threads, so all lanes of a warp arrive where one does for all of them;
// memcheck (2) takes a block's bulk copy to itself for an access to no block of the cluster, so its threads copy.
#ifndef TESSERA_SANITIZE
#define TESSERA_SANITIZE 0
#endif
constexpr int arrivals = TESSERA_SANITIZE == 1 ? 32 : 1;
constexpr bool copiesByThreads = TESSERA_SANITIZE == 2;

// Shared memory: z, boxes of x, both cores, places, room for the tensor map, barriers.
constexpr int offsetX = unitsZ * unitBytes, offsetCore0 = offsetX + stages * boxBytes;
constexpr int offsetCore1 = offsetCore0 + coreBytes0, offsetPlaces = offsetCore1 + coreBytes1;
constexpr int offsetMap = offsetPlaces + places * placeBytes;
constexpr int offsetBarriers = offsetMap + 128, placeBarriers = places * (1 + chunksHere);
constexpr int sharedBytes = offsetBarriers + 16 * (stages + unitsZ + 1) + (8 * placeBarriers + 15) / 16 * 16;
static_assert(offsetX % 1024 == 0 && offsetMap % 128 == 0, "boxes and tensor maps begin where they may");
static_assert(sharedBytes == TESSERA_SHARED, "the launcher's plan and the kernel agree");
static_assert((clusterSize - 1) * outputPieces < n0, "every block has outputs: one without would never wait for z");
static_assert(groupTiles <= 4, "the sums of eight inner indices fit the registers");
static_assert(!tensor || sliceColumns * Element::bytes % 16 == 0, "slices begin at multiples of 16 bytes");

typedef PairSteps<stepRows, shares> Steps;

// A unit's parts, dealt out in turn: where each has one, a warpgroup has every other unit. It must see every use of a barrier that it waits
// for, so that cannot be with an odd number of units. With KEEP a warp copies each unit to device memory too.
constexpr int tasks1 = unitPieces * parts1;
constexpr bool alternates = secondGroups > 1 && tasks1 == 1 && unitsZ % 2 == 0, keeps = TESSERA_KEEP;
constexpr int readerWarps = (alternates ? 1 : secondGroups) * groupThreads / 32 + keeps;

struct Block {
  u32 shared;
  int self, share;

  __device__ __forceinline__ u32 z(int slot) const { return shared + slot * unitBytes; }
  __device__ __forceinline__ u32 x(int stage) const { return shared + offsetX + stage * boxBytes; }
  __device__ __forceinline__ u32 core0() const { return shared + offsetCore0; }
  __device__ __forceinline__ u32 core1() const { return shared + offsetCore1; }
  __device__ __forceinline__ u32 place(int place) const { return shared + offsetPlaces + place * placeBytes; }

  __device__ __forceinline__ u32 full(int stage) const { return shared + offsetBarriers + 8 * stage; }
  __device__ __forceinline__ u32 empty(int stage) const { return full(stages + stage); }
  __device__ __forceinline__ u32 fullZ(int slot) const { return full(2 * stages + slot); }
  __device__ __forceinline__ u32 emptyZ(int slot) const { return fullZ(unitsZ + slot); }
  __device__ __forceinline__ u32 coreArrived(int core) const { return fullZ(2 * unitsZ + core); }
  __device__ __forceinline__ u32 emptied(int place) const { return coreArrived(2 + place); }
  __device__ __forceinline__ u32 filled(int place, int chunk) const { return emptied(places + place * chunksHere + chunk); }

  /// Gives a unit's place back to all who send to it.
  __device__ __forceinline__ void releaseZ(int slot, int lane) const {
    __syncwarp();
    if constexpr (arrivals == 1)
      barrierArriveRemoteIf(lane < clusterSize, emptyZ(slot), lane % clusterSize);
    else
      for (int other = 0; other < clusterSize; ++other) barrierArriveRemote(emptyZ(slot), other);
  }

  __device__ __forceinline__ int columnsHere() const { return max(0, min(sliceColumns, m1 * m0 - self * sliceColumns)); }
  __device__ __forceinline__ int outputsHere() const { return max(0, min(outputPieces, n0 - self * outputPieces)); }
};
