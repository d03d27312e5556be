// How rows and weights come to shared memory: where everything lies there, and the copies of a chunk.
#pragma once
#include "Async.cuh"
#include "Factors/KroneckerGroupsOutputs.cuh"
#if TESSERA_TENSOR
#include "TensorMap.cuh"
#endif

constexpr int stages = TESSERA_STAGES;
constexpr bool stationary = TESSERA_STATIONARY;
constexpr int alignment = tensor ? 1024 : 1;
constexpr int rowBytes = boxed ? boxes * boxBytes : tileRows * rowPitch, chunkBytes = chunkSteps * stepBytes;
constexpr int stageBytes = rowBytes + (stationary ? 0 : divideUp(chunkBytes, alignment) * alignment);

// Weights (if they stay), stages, outputs, room for the tensor maps, then a barrier for each stage's arrival, one for its release, one for
// the weights.
constexpr int weightBytes = stationary ? divideUp(blockBytes, alignment) * alignment : 0, outputRoom = weightBytes + stages * stageBytes;
constexpr int mapRoom = outputRoom + outputBytes, mapBytes = writes ? 256 : tensor ? 128 : 0, barriers = mapRoom + mapBytes;
constexpr int sharedBytes = barriers + 16 * stages + 16;
static_assert(sharedBytes == TESSERA_SHARED, "the launcher's plan and the kernel agree");

#if TESSERA_TENSOR
/// Writes the tensor map of rows of matrices [length, d] to `map` (in device memory), by one warp: [row][i][k l] where a slice is all of d (with
/// `run` bytes in pieces of 8, of which a box takes enough), else [row][i][k][l].
template <int length, int boxRows, int run = 0>
__device__ __forceinline__ void makeMap(u8* map, u32 room, const Storage* rows, int count, int pitch, int lane) {
  TensorMap made(room, lane);
  if (lane == 0) {
    constexpr int unit = run ? 8 : bytes;
    made.begin<unit, flat ? 3 : 4, run ? 0 : flat ? 3 : 1>(rows);
    if constexpr (flat) {
      made.dimension<0>(length * d * bytes / unit, (run ? run : 128) / unit);
      made.dimension<1>(a, 1, (i64)length * d * bytes);
      made.dimension<2>(count, boxRows, (i64)pitch * bytes);
    } else {
      made.dimension<0>(d, slice);
      made.dimension<1>(length, boxLength, (i64)d * bytes);
      made.dimension<2>(a, 1, (i64)length * d * bytes);
      made.dimension<3>(count, boxRows, (i64)pitch * bytes);
    }
  }
  made.publish(map);
}
#endif

/// What a block does, and where it finds what it needs.
struct Block {
  const Storage* x;
  /// Its weights and its tensor map.
  const u8* weights;
  u8* map;
  u32 shared;
  /// Its first and past its last tile of rows.
  int start, stop;
  int rows, pitchX, i, firstOutput, firstL;
  /// Whether rows come by the tensor map.
  bool byMap;

  /// Chunk n is chunk n mod chunks of the n / chunks-th tile of rows.
  __device__ __forceinline__ int chunkCount() const { return (stop - start) * chunks; }
};

/// Starts the copy of weights that stay, and makes the tensor map of x: by the threads that copy.
__device__ __forceinline__ void beginCopies(const Block& block, int thread) {
  if (thread == 0 && stationary && block.chunkCount() > 0) {
    const u32 barrier = block.shared + barriers + 16 * stages;
    barrierExpect(barrier, blockBytes);
    bulkCopy(block.shared, block.weights, blockBytes, barrier);
  }
#if TESSERA_TENSOR
  if (block.byMap && thread < 32)
    makeMap<c, boxRows, boxed ? 0 : rowPitch>(block.map, block.shared + mapRoom, block.x, block.rows, block.pitchX, thread);
#endif
}

/// Starts the copies of chunk `index` when its stage is free: what comes by the tensor map, and weights. One thread's.
__device__ __forceinline__ void copyChunk(const Block& block, int index) {
  const int stage = index % stages;
  const u32 barrier = block.shared + barriers + 8 * stage, target = block.shared + weightBytes + stage * stageBytes;
  barrierWait(barrier + 8 * stages, index / stages & 1 ^ 1);
  barrierExpect(barrier, (block.byMap ? rowBytes : 0) + (stationary ? 0 : chunkBytes));
#if TESSERA_TENSOR
  if (block.byMap) {
    const int firstK = index % chunks * chunk, firstRow = (block.start + index / chunks) * tileRows;
    if constexpr (!boxed) {
      const int mine = blockIdx.x % cluster * boxRows;
      copyBox<cluster>(target + mine * rowPitch, block.map, firstK * d * bytes / 8, block.i, firstRow + mine, barrier);
    }
#pragma unroll
    for (int box = 0; box < (boxed ? boxes : 0); ++box)
      if (box % cluster == blockIdx.x % cluster) {
        const u32 place = target + box * boxBytes;
        const int k = firstK + box * boxLength;
        if constexpr (flat) copyBox<cluster>(place, block.map, k * d, block.i, firstRow, barrier);
        else copyBox<cluster>(place, block.map, block.firstL, k, block.i, firstRow, barrier);
      }
  }
#endif
  if constexpr (!stationary) bulkCopy(target + rowBytes, block.weights + (i64)(index % chunks) * chunkBytes, chunkBytes, barrier);
}

__device__ __forceinline__ void storeElement(u32 address, Storage value) {
#if TESSERA_ELEMENT == 2
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
#else
  asm volatile("st.shared.u16 [%0], %1;" ::"r"(address), "h"(value) : "memory");
#endif
}

/// Copies the rows of chunk `index` by `threads` threads: by 16 bytes where segments are whole and begin so, else by elements. Positions
/// past c are zeros; rows past the end are left as they are, and their results are not written.
template <int threads>
__device__ __forceinline__ void copyRows(const Block& block, int index, int thread, bool isMisaligned) {
  constexpr bool wholeSegments = TESSERA_X_ALIGNED && !tensor;
  const u32 barrier = block.shared + barriers + 8 * (index % stages), target = block.shared + weightBytes + index % stages * stageBytes;
  const i64 firstRow = (i64)(block.start + index / chunks) * tileRows;
  const int firstK = index % chunks * chunk, present = min(chunk, c - firstK), count = min(tileRows, block.rows - (int)firstRow);
  const Storage* origin = block.x + firstRow * block.pitchX + ((i64)block.i * c + firstK) * d + block.firstL;
  if (wholeSegments && !isMisaligned) {
    // One segment for all k where the slice is all of d, else one at each k.
    constexpr int vector = 16 / bytes, segment = wholeSegments ? (slice == d ? chunk * d : slice) / vector : 1;
    constexpr int segments = slice == d ? 1 : chunk;
    for (int piece = thread; piece < count * segments * segment; piece += threads) {
      const int e = piece % segment * vector, k = piece / segment % segments, row = piece / segment / segments;
      const bool exists = slice == d ? e < present * d : k < present;
      copyAsync16(target + row * rowPitch + (k * slice + e) * bytes, exists ? origin + (i64)row * block.pitchX + k * d + e : block.x,
                  exists);
    }
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
  } else {
    // By few registers where this is the exception.
#pragma unroll(tensor ? 1 : 4)
    for (int element = thread; element < count * chunk * slice; element += threads) {
      const int l = element % slice, k = element / slice % chunk, row = element / slice / chunk;
      const Storage value = k < present && block.firstL + l < d ? origin[(i64)row * block.pitchX + (i64)k * d + l] : (Storage)0;
      const int place = boxed ? k / boxLength * boxBytes + row * 128 + ((k % boxLength * letters + l * bytes) ^ (row & swizzle) << 4)
                              : row * rowPitch + (k * slice + l) * bytes;
      storeElement(target + place, value);
    }
    if constexpr (producers > 0) barrierArrive(barrier);
  }
}
