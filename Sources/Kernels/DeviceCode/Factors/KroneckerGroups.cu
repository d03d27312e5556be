// One Kronecker-sparse factor, batch first, by Hopper's warpgroups: y = epilogue(x through the factor). Sizes and division of work:
// KroneckerGroupsShape.cuh.
//
// Rows come as they lie, in whole segments [row][k][l of the slice], and stay so in shared memory. A lane reads some l of one row and k
// at once, and (16-bit) byte permutes of two k make an operand word for each l: the rows are the operand in registers. The
// weights are the operand in shared memory, which the matrix units read by themselves, once for 64 rows; where those of a
// block fit (STATIONARY) they are read from device memory once, else with every chunk. The results of a lane are WIDTH neighbouring l
// of its outputs.
//
//   x        [rows, a c d], row pitch pitchX; where rows begin at multiples of 16 bytes by a tensor map with TENSOR, by 16 bytes with
//            X_ALIGNED (whole segments of 16 bytes), else by elements
//   packed   see KroneckerGroupsPack.cu
//   y        out, [rows, a b d], row pitch pitchY; see Epilogue.cuh; the parts of the epilogue are EPILOGUE's bits, and Y_ALIGNED says
//            that all runs are aligned
//   maps     only with TENSOR: room of 128 bytes for each block's tensor map of x, with WRITES for one of y, too
//
// Launch: grid (parts * slices, a, splits): neighbours in the grid read the same rows, which then come from L2; 256 threads and PRODUCERS
// (0 or 128) that copy; `sharedBytes` of shared memory. Any number of rows. float32 accumulation. sm_90a only.
#include "Factors/KroneckerGroupsCopies.cuh"
#include "Warpgroup.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL kronecker_groups
#endif

/// Matrix units cut what they add: where exact sums are long, those of so many chunks are added up by plain additions; 0: never.
constexpr int partialChunks = TESSERA_PARTIAL_CHUNKS;

/// Operands are read one group ahead where there are registers for it.
constexpr int sums = 4 * width * tiles, operandBuffers = sums > 128 ? 1 : 2;

/// Operand groups of a chunk. Where they fill the buffers evenly and the weights stay, the last products of a chunk go on while the next
/// one's operands are read.
constexpr int groups = chunkSteps * (width / group);
constexpr bool continuous = stationary && operandBuffers == 2 && groups % 2 == 0;

/// Adds the products of one chunk. `rows`: this lane's; `matrices`: this unit's columns of the chunk's weights. Calls `release` when
/// the stage has been read, and `copyAhead` while the last products go on.
template <typename Release, typename Ahead>
__device__ __forceinline__ void multiply(
    float (&acc)[width][4 * tiles], u32 (&values)[operandBuffers][copies][group][4], u32 rows, u64 matrices, const Release& release,
    const Ahead& copyAhead) {
#pragma unroll
  for (int index = 0; index < groups; ++index) {
    const int step = index / (width / group), start = index % (width / group) * group;
    auto& operand = values[index % operandBuffers];
    loadRows(operand, rows, step, start);
    warpgroupFence();
#pragma unroll
    for (int l = 0; l < group; ++l) {
      const int place = step * stepBytes + (start + l) * letterBytes;
      if constexpr (exact) {
        warpgroupMultiply(acc[start + l], operand[copies - 1][l], matrixDescriptor(matrices, place));
        warpgroupMultiply(acc[start + l], operand[0][l], matrixDescriptor(matrices, place + matrixBytes));
      }
      warpgroupMultiply(acc[start + l], operand[0][l], matrixDescriptor(matrices, place));
    }
    warpgroupCommit();
    // Not before the products are started: only then have the loads come back.
    if (stationary && index == groups - 1) release();
    if (index == groups - 1) copyAhead();
    // The registers of the group before are free again.
    warpgroupWait<operandBuffers - 1>();
  }
  if constexpr (!continuous) warpgroupWait<0>();
  if constexpr (!stationary) release();
}

#if TESSERA_TENSOR
#define MAPS u32 *__restrict__ maps,
#define CLUSTER __cluster_dims__(cluster, 1, 1)
#else
#define MAPS
#define CLUSTER
#endif

/// Waits for all threads that multiply.
__device__ __forceinline__ void consumerSync() { asm volatile("bar.sync 1, %0;" ::"n"(consumers) : "memory"); }

/// Waits for all threads that put their outputs together with those of warpgroup `unit`.
__device__ __forceinline__ void writersSync(int unit) {
  asm volatile("bar.sync %0, %1;" ::"r"(2 + (writers < consumers ? unit : 0)), "n"(writers) : "memory");
}

/// Adds `from` to `to` and leaves zeros.
__device__ __forceinline__ void moveSums(float (&to)[width][4 * tiles], float (&from)[width][4 * tiles]) {
#pragma unroll
  for (int l = 0; l < width; ++l)
#pragma unroll
    for (int e = 0; e < 4 * tiles; ++e) {
      to[l][e] += from[l][e];
      from[l][e] = 0.0f;
    }
}

/// Multiplies: what both warpgroups do.
__device__ __forceinline__ void consume(const Block& block, const Epilogue& epilogue) {
  const u32 shared = block.shared, arrived = shared + barriers, released = arrived + 8 * stages;
  const int rows = block.rows, i = block.i, firstL = block.firstL;
  const int sharing = block.byMap ? cluster : 1, count = block.chunkCount();
  const int lane = threadIdx.x & 31, unit = threadIdx.x >> 7, warpRow = (threadIdx.x >> 5 & 3) * 8;
  const int first = unit % widthUnits * width, column = unit / widthUnits % columnUnits * columns;
  const int rowUnit = unit / widthUnits / columnUnits * 64 + warpRow;
  const u32 rowPlace = rowsOfLane(rowUnit, first, lane);
  // To every block that copies for this one; without a branch: sums are under way. What the copy engine fills is released by one
  // lane for its warp.
  const auto release = [&](int stage) {
    const u32 barrier = released + 8 * stage;
    if constexpr (tensor) __syncwarp();
    if constexpr (cluster > 1)
      barrierArriveRemoteIf(lane < sharing, barrier, sharing > 1 ? lane : clusterRank());
    else if constexpr (tensor)
      barrierArriveIf(lane == 0, barrier);
    else
      barrierArrive(barrier);
  };
#if TESSERA_WRITES
  const bool writesByMap = (((u64)epilogue.y | (u64)(epilogue.pitch * bytes)) & 15) == 0 && b * d * bytes % 16 == 0;
  int written = 0;
  u8* const map = block.map + 128;
  if (writesByMap && threadIdx.x < 32)
    makeMap<b, writtenRows, boxedOutputs ? 0 : writtenBytes>(map, shared + mapRoom + 128, epilogue.y, rows, epilogue.pitch, lane);
  if constexpr (writers < consumers) {
    consumerSync();
    if (writesByMap && unit == 1) acquireMap(map);
  }
#endif
  // Where no other threads copy: the next chunk, if it is before number `limit`, from which on stages are in use.
  int copied = stages - 1;
  const auto copyAhead = [&](int limit) {
    if (producers == 0 && threadIdx.x == 0 && copied < min(limit, count)) copyChunk(block, copied++);
  };
  float acc[width][4 * tiles], added[width][4 * tiles];
  if (stationary && count > 0) barrierWait(released + 8 * stages, 0);
#pragma unroll 1
  for (int tile = block.start; tile < block.stop; ++tile) {
#pragma unroll
    for (int l = 0; l < width; ++l)
#pragma unroll
      for (int e = 0; e < 4 * tiles; ++e) acc[l][e] = added[l][e] = 0.0f;
    u32 values[operandBuffers][copies][group][4];
#pragma unroll 1
    for (int chunkIndex = 0; chunkIndex < chunks; ++chunkIndex) {
      const int index = (tile - block.start) * chunks + chunkIndex, stage = index % stages;
      const u32 base = shared + weightBytes + stage * stageBytes;
      if (producers == 0 && !block.byMap) {
        // No one reads the stage: all are past the barrier of the chunk before.
        copyRows<consumers>(block, index, threadIdx.x, true);
        consumerSync();
      }
      barrierWait(arrived + 8 * stage, index / stages & 1);
      const u32 matrices = (stationary ? shared + chunkIndex * chunkBytes : base + rowBytes) + column * 32 + first * letterBytes;
      multiply(
          acc, values, base + rowPlace, matrixDescriptor(matrices), [&] { release(stage); }, [&] { copyAhead(index + stages); });
      if constexpr (partialChunks > 0)
        if ((chunkIndex + 1) % partialChunks == 0) {
          warpgroupWait<0>();
          moveSums(added, acc);
        }
    }
    if constexpr (continuous) warpgroupWait<0>();
    if constexpr (partialChunks > 0) moveSums(acc, added);
    const i64 firstRow = (i64)tile * tileRows;
#if TESSERA_WRITES
#pragma unroll
    for (int h = 0; h < 2; ++h)
#pragma unroll
      for (int t = 0; t < tiles; t += writtenTiles) {
        const u32 room = shared + outputRoom + (unit % (consumers / writers) * writes + written % writes) * placeBytes;
        const i64 begin = firstRow + unit / widthUnits / columnUnits * 64 + h * 32;
        const int output = block.firstOutput + column + 8 * t;
        ++written;
        if constexpr (neighbours) putOutputs(acc, t, h, epilogue, room, begin, rows, i, output, warpRow, firstL, first, lane);
        else putRuns(acc, h, epilogue, room, begin, rows, i, output, warpRow, lane);
        fenceAsync();
        // The next place is free, too.
        if (threadIdx.x % writers == 0) writesWait<writes - 2>();
        writersSync(unit);
        // All have read the last stage.
        if (h == 0 && t == 0) copyAhead((tile + 1 - block.start) * chunks + stages);
        if (!writesByMap) {
          writeOutputs(epilogue, room, begin, rows, i, output, firstL);
        } else if (threadIdx.x % writers == 0) {
#pragma unroll
          for (int box = 0; box < (boxedOutputs ? writtenBytes / 128 : 1); ++box) {
            const u32 source = room + box * (writtenRows * 128);
            if constexpr (!boxedOutputs) writeBox(map, source, output * d * bytes / 8, i, (int)begin);
            else if constexpr (flat) writeBox(map, source, output * d + box * (128 / bytes), i, (int)begin);
            else writeBox(map, source, firstL, output + box * boxLength, i, (int)begin);
          }
          writesCommit();
        }
      }
#else
    finish(acc, epilogue, firstRow + rowUnit, rows, i, block.firstOutput + column + (lane & 3) * 2 * tiles, firstL + first, lane);
#endif
  }
#if TESSERA_WRITES
  if (threadIdx.x % writers == 0) writesWait<0>();
#endif
}

extern "C" __global__ void CLUSTER __launch_bounds__(consumers + producers, 1) TESSERA_KERNEL(
    const Storage* __restrict__ x, const u32* __restrict__ packed, EPILOGUE_INPUTS, Storage* __restrict__ y, MAPS EPILOGUE_SCALARS,
    int rows, int pitchX) {
  extern __shared__ __align__(1024) u8 memory[];
  // What is not there is left out when compiling: there is much of it.
  const Epilogue epilogue{
      y, TESSERA_EPILOGUE & 1 ? bias : nullptr, TESSERA_EPILOGUE & 2 ? gate : nullptr, TESSERA_EPILOGUE & 4 ? residual : nullptr, pitchY,
      TESSERA_Y_ALIGNED || aligned};
  const int i = blockIdx.y, sliceIndex = blockIdx.x / parts, partIndex = blockIdx.x % parts;
  const u32 shared = sharedAddress(memory), arrived = shared + barriers, released = arrived + 8 * stages;
  const int rowTiles = divideUp(rows, tileRows), start = (i64)rowTiles * blockIdx.z / gridDim.z;
  const int stop = (i64)rowTiles * (blockIdx.z + 1) / gridDim.z;
  const u8* weights = (const u8*)packed + ((i64)(i * slices + sliceIndex) * parts + partIndex) * blockBytes;
  // A view of another array may begin anywhere; then every block copies by elements, for itself.
  const bool isMisaligned = ((u64)x | (u64)((i64)pitchX * bytes)) & 15, byMap = tensor && !isMisaligned;
#if TESSERA_TENSOR
  u8* map = (u8*)maps + (((i64)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) * mapBytes;
#else
  u8* map = nullptr;
#endif
  const Block block{x, weights, map, shared, start, stop, rows, pitchX, i, partIndex * part, sliceIndex * slice, byMap};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < stages; ++stage) {
      barrierInit(arrived + 8 * stage, byMap ? 1 : producers + 1);
      barrierInit(released + 8 * stage, tensor ? consumers / 32 * (byMap ? cluster : 1) : consumers);
    }
    barrierInit(released + 8 * stages, 1);
    fenceBarrierInit();
  }
  if constexpr (cluster > 1) clusterSync();
  else __syncthreads();

  const int count = block.chunkCount();
  if constexpr (producers == 0) {
    beginCopies(block, threadIdx.x);
    if (threadIdx.x == 0)
      for (int index = 0; index < min(stages - 1, count); ++index) copyChunk(block, index);
    consume(block, epilogue);
  } else if (threadIdx.x >= consumers) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(tensor || sums > 128 ? 24 : 56));
    const int thread = threadIdx.x - consumers;
    beginCopies(block, thread);
    if (byMap) {
      if (thread == 0)
        for (int index = 0; index < count; ++index) copyChunk(block, index);
    } else {
      for (int index = 0; index < count; ++index) {
        barrierWait(released + 8 * (index % stages), index / stages & 1 ^ 1);
        if (thread == 0) copyChunk(block, index);
        copyRows<producers>(block, index, thread, isMisaligned);
      }
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(tensor || sums > 128 ? 240 : 224));
    consume(block, epilogue);
  }
  // Until all have arrived, others may still copy to this block, or arrive at its barriers.
  if constexpr (cluster > 1) {
    __syncwarp();
    clusterSync();
  }
}
