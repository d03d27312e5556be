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
// Launch: grid (parts * slices, a, splits): neighbours in the grid read the same rows, which then come from L2; 384 threads, of which the last
// 128 copy; `sharedBytes` of shared memory. Any number of rows. float32 accumulation. sm_90a only.
#include "Async.cuh"
#include "Factors/KroneckerGroupsOutputs.cuh"
#if TESSERA_TENSOR
#include "TensorMap.cuh"
#endif
#include "Warpgroup.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL kronecker_groups
#endif

constexpr int stages = TESSERA_STAGES, producers = 128;
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
/// Operands are read one group ahead where there are registers for it.
constexpr int sums = 4 * width * tiles, operandBuffers = sums > 128 ? 1 : 2;

/// Operand groups of a chunk. Where they fill the buffers evenly and the weights stay, the last products of a chunk go on while the next
/// one's operands are read.
constexpr int groups = chunkSteps * (width / group);
constexpr bool continuous = stationary && operandBuffers == 2 && groups % 2 == 0;

/// Adds the products of one chunk. `rows`: this lane's; `matrices`: this unit's columns of the chunk's weights. Calls `release` when
/// the stage has been read.
template <typename Release>
__device__ __forceinline__ void multiply(
    float (&acc)[width][4 * tiles], u32 (&values)[operandBuffers][copies][group][4], u32 rows, u32 matrices, int firstL,
    const Release& release) {
#pragma unroll
  for (int index = 0; index < groups; ++index) {
    const int step = index / (width / group), start = index % (width / group) * group;
    auto& operand = values[index % operandBuffers];
    loadRows(operand, rows, step, start);
    warpgroupFence();
#pragma unroll
    for (int l = 0; l < group; ++l) {
      const u32 place = matrices + step * stepBytes + (firstL + start + l) * letterBytes;
      if constexpr (exact) {
        warpgroupMultiply(acc[start + l], operand[copies - 1][l], matrixDescriptor(place));
        warpgroupMultiply(acc[start + l], operand[0][l], matrixDescriptor(place + matrixBytes));
      }
      warpgroupMultiply(acc[start + l], operand[0][l], matrixDescriptor(place));
    }
    warpgroupCommit();
    // Not before the products are started: only then have the loads come back.
    if (stationary && index == groups - 1) release();
    // The registers of the group before are free again.
    warpgroupWait<operandBuffers - 1>();
  }
  if constexpr (!continuous) warpgroupWait<0>();
  if constexpr (!stationary) release();
}

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

#if TESSERA_TENSOR
#define MAPS u32 *__restrict__ maps,
#define CLUSTER __cluster_dims__(cluster, 1, 1)
#else
#define MAPS
#define CLUSTER
#endif

/// Waits for all threads that multiply.
__device__ __forceinline__ void consumerSync() { asm volatile("bar.sync 1, %0;" ::"n"(consumers) : "memory"); }

extern "C" __global__ void CLUSTER __launch_bounds__(consumers + producers, 1) TESSERA_KERNEL(
    const Storage* __restrict__ x, const u32* __restrict__ packed, EPILOGUE_INPUTS, Storage* __restrict__ y, MAPS EPILOGUE_SCALARS,
    int rows, int pitchX) {
  extern __shared__ __align__(1024) u8 memory[];
  // What is not there is left out when compiling: there is much of it.
  const Epilogue epilogue{
      y, TESSERA_EPILOGUE & 1 ? bias : nullptr, TESSERA_EPILOGUE & 2 ? gate : nullptr, TESSERA_EPILOGUE & 4 ? residual : nullptr, pitchY,
      TESSERA_Y_ALIGNED || aligned};
  const int i = blockIdx.y, sliceIndex = blockIdx.x / parts, firstOutput = blockIdx.x % parts * part, firstL = sliceIndex * slice;
  const u32 shared = sharedAddress(memory), stageBase = shared + weightBytes;
  const u32 arrived = shared + barriers, released = arrived + 8 * stages, weightsArrived = released + 8 * stages;
  const int rowTiles = divideUp(rows, tileRows), start = (i64)rowTiles * blockIdx.z / gridDim.z;
  const int stop = (i64)rowTiles * (blockIdx.z + 1) / gridDim.z, stageCount = (stop - start) * chunks;
  const u8* weights = (const u8*)packed + ((i64)(i * slices + sliceIndex) * parts + blockIdx.x % parts) * blockBytes;
  // A view of another array may begin anywhere; then every block copies by elements, for itself.
  const bool isMisaligned = ((u64)x | (u64)((i64)pitchX * bytes)) & 15, byMap = tensor && !isMisaligned;
  const int sharing = byMap ? cluster : 1;
#if TESSERA_TENSOR
  u8* map = (u8*)maps + (((i64)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) * mapBytes;
#endif
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < stages; ++stage) {
      barrierInit(arrived + 8 * stage, byMap ? 1 : producers + 1);
      barrierInit(released + 8 * stage, tensor ? consumers / 32 * sharing : consumers);
    }
    barrierInit(weightsArrived, 1);
    fenceBarrierInit();
  }
  if constexpr (cluster > 1) clusterSync();
  else __syncthreads();

  // Stage n is chunk n mod chunks of the n / chunks-th tile of rows.
  if (threadIdx.x >= consumers) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(tensor || sums > 128 ? 24 : 56));
    const int thread = threadIdx.x - consumers;
    if (thread == 0 && stationary && stageCount > 0) {
      barrierExpect(weightsArrived, blockBytes);
      bulkCopy(shared, weights, blockBytes, weightsArrived);
    }
#if TESSERA_TENSOR
    if (byMap) {
      if (thread < 32) {
        makeMap<c, tileRows, boxed ? 0 : rowPitch>(map, shared + mapRoom, x, rows, pitchX, thread);
        if (thread == 0) {
          for (int index = 0; index < stageCount; ++index) {
            const int stage = index % stages, firstK = index % chunks * chunk;
            const u32 barrier = arrived + 8 * stage, target = stageBase + stage * stageBytes;
            barrierWait(released + 8 * stage, index / stages & 1 ^ 1);
            barrierExpect(barrier, rowBytes + (stationary ? 0 : chunkBytes));
            const int firstRow = (start + index / chunks) * tileRows;
            if constexpr (!boxed) copyBox<1>(target, map, firstK * d * bytes / 8, i, firstRow, barrier);
#pragma unroll
            for (int box = 0; box < (boxed ? boxes : 0); ++box)
              if (box % cluster == blockIdx.x % cluster) {
                if constexpr (flat)
                  copyBox<cluster>(target + box * boxBytes, map, (firstK + box * boxLength) * d, i, firstRow, barrier);
                else
                  copyBox<cluster>(target + box * boxBytes, map, firstL, firstK + box * boxLength, i, firstRow, barrier);
              }
            if constexpr (!stationary) bulkCopy(target + rowBytes, weights + (i64)(index % chunks) * chunkBytes, chunkBytes, barrier);
          }
        }
      }
    } else
#endif
    {
      constexpr bool wholeSegments = TESSERA_X_ALIGNED && !tensor;
      for (int index = 0; index < stageCount; ++index) {
        const int stage = index % stages;
        const u32 barrier = arrived + 8 * stage, target = stageBase + stage * stageBytes;
        barrierWait(released + 8 * stage, index / stages & 1 ^ 1);
        if (thread == 0) {
          if constexpr (stationary) {
            barrierArrive(barrier);
          } else {
            barrierExpect(barrier, chunkBytes);
            bulkCopy(target + rowBytes, weights + (i64)(index % chunks) * chunkBytes, chunkBytes, barrier);
          }
        }
        const i64 firstRow = (i64)(start + index / chunks) * tileRows;
        const int firstK = index % chunks * chunk, present = min(chunk, c - firstK), count = min(tileRows, rows - (int)firstRow);
        const Storage* origin = x + firstRow * pitchX + ((i64)i * c + firstK) * d + firstL;
        // Positions past c are zeros; rows past the end are left as they are, and their results are not written.
        if (wholeSegments && !isMisaligned) {
          // One segment for all k where the slice is all of d, else one at each k.
          constexpr int vector = 16 / bytes, segment = wholeSegments ? (slice == d ? chunk * d : slice) / vector : 1;
          constexpr int segments = slice == d ? 1 : chunk;
          for (int piece = thread; piece < count * segments * segment; piece += producers) {
            const int e = piece % segment * vector, k = piece / segment % segments, row = piece / segment / segments;
            const bool exists = slice == d ? e < present * d : k < present;
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target + row * rowPitch + (k * slice + e) * bytes),
                         "l"(exists ? origin + (i64)row * pitchX + k * d + e : x), "r"(exists ? 16 : 0)
                         : "memory");
          }
          asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
        } else {
          // By few registers where this is the exception.
#pragma unroll(tensor ? 1 : 4)
          for (int element = thread; element < count * chunk * slice; element += producers) {
            const int l = element % slice, k = element / slice % chunk, row = element / slice / chunk;
            const Storage value = k < present && firstL + l < d ? origin[(i64)row * pitchX + (i64)k * d + l] : (Storage)0;
            const int place = boxed ? k / boxLength * boxBytes + row * 128 + ((k % boxLength * letters + l * bytes) ^ (row & swizzle) << 4)
                                     : row * rowPitch + (k * slice + l) * bytes;
            *(Storage*)(memory + (target - shared) + place) = value;
          }
          barrierArrive(barrier);
        }
      }
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(tensor || sums > 128 ? 240 : 224));
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
    const bool writesByMap = (((u64)y | (u64)((i64)pitchY * bytes)) & 15) == 0 && b * d * bytes % 16 == 0;
    int written = 0;
    map += 128;
    if (writesByMap && threadIdx.x < 32) makeMap<b, writtenRows>(map, shared + mapRoom + 128, y, rows, pitchY, lane);
#endif
    float acc[width][4 * tiles];
    if (stationary && stageCount > 0) barrierWait(weightsArrived, 0);
#pragma unroll 1
    for (int tile = start; tile < stop; ++tile) {
#pragma unroll
      for (int l = 0; l < width; ++l)
#pragma unroll
        for (int e = 0; e < 4 * tiles; ++e) acc[l][e] = 0.0f;
      u32 values[operandBuffers][copies][group][4];
#pragma unroll 1
      for (int chunkIndex = 0; chunkIndex < chunks; ++chunkIndex) {
        const int index = (tile - start) * chunks + chunkIndex, stage = index % stages;
        const u32 base = stageBase + stage * stageBytes;
        barrierWait(arrived + 8 * stage, index / stages & 1);
        const u32 matrices = (stationary ? shared + chunkIndex * chunkBytes : base + rowBytes) + column * 32;
        multiply(acc, values, base + rowPlace, matrices, first, [&] { release(stage); });
      }
      if constexpr (continuous) warpgroupWait<0>();
      const i64 firstRow = (i64)tile * tileRows;
#if TESSERA_WRITES
#pragma unroll
      for (int h = 0; h < 2; ++h)
#pragma unroll
        for (int t = 0; t < tiles; t += writtenTiles) {
          const u32 room = shared + outputRoom + written % writes * (writtenBytes * writtenRows);
          const i64 begin = firstRow + h * 32;
          const int output = firstOutput + 8 * t;
          ++written;
          if (threadIdx.x == 0) writesWait<writes - 1>();
          consumerSync();
          putOutputs(acc, t, h, epilogue, room, begin, rows, i, output, warpRow, first, lane);
          fenceAsync();
          consumerSync();
          if (!writesByMap) {
            writeOutputs(epilogue, room, begin, rows, i, output);
          } else if (threadIdx.x == 0) {
#pragma unroll
            for (int box = 0; box < writtenBytes / 128; ++box)
              writeBox(map, room + box * (writtenRows * 128), output * d + box * (128 / bytes), i, (int)begin);
            writesCommit();
          }
        }
#else
      finish(acc, epilogue, firstRow + rowUnit, rows, i, firstOutput + column + (lane & 3) * 2 * tiles, firstL + first, lane);
#endif
    }
#if TESSERA_WRITES
    if (threadIdx.x == 0) writesWait<0>();
#endif
  }
  // Until all have arrived, others may still copy to this block, or arrive at its barriers.
  if constexpr (cluster > 1) {
    __syncwarp();
    clusterSync();
  }
}
