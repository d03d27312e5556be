// Pair of factors by Hopper's warpgroups: y = epilogue(x through core 0 and core 1), the intermediate only ever in shared memory. Sizes
// and division: PairGroupsShape.cuh.
//
// As in Pair.cu a cluster divides the cores by pieces and rows stream through; here both cores lie in shared memory, as operands that the
// matrix units read by themselves, once for 64 rows. x comes by a tensor map, in boxes that are operands too. A lane ends the first
// product with eight neighbouring inner indices of one row and output piece, 16 bytes, and gathers these in places, a unit (a tile of
// columns, so pieces of every block) at a time. A warp that does nothing else copies each unit to its owners, where the second product
// reads it (PairGroupsSend.cuh).
//
// One or two warpgroups do the first product, the others of three the second, one copies. Barriers in shared memory connect them
// (scripts/gpu/simulate_pair.py runs them); x, z and places are rings. A chunk of z is handed over while the next is multiplied. Low rank,
// one piece on either side, has a first product of its own (PairGroupsLowRank.cuh).
//
//   x, y     [rows, m1 * m0] and [rows, shares * n0 * n1], row pitch pitchX and pitchY elements; see Epilogue.cuh. With TENSOR (slices of whole 16
//            bytes) x comes by a tensor map where its rows begin at such multiples, else element by element. The parts of the epilogue are
//            EPILOGUE's bits, and Y_ALIGNED says that all runs are aligned
//   packed   both cores, see PairGroupsPack.cu
//   inner    out, only with KEEP: z as [steps, shares, cluster, units, unit], units as they lie in shared memory (PairGroupsShape.cuh): what
//            lies in the rows after the last is undefined
//   maps     room of 128 bytes for each block's tensor map of x
//
// y is there only with OUTPUT 1 (the default). Launch: grid a multiple of shares * cluster, at most the clusters that are resident together;
// 512 threads; `sharedBytes` of shared memory. Any number of rows. 16-bit elements, float32 accumulation, z rounded to the element
// type. sm_90a only.
//
// Bytes from device memory: rows * (m1 * m0 + shares * n0 * n1) elements, where L2 gives x to the clusters of a tile but the first, and the
// cores once a cluster.
#include "Factors/PairGroupsFirst.cuh"
#include "Factors/PairGroupsLowRank.cuh"
#include "Factors/PairGroupsSecond.cuh"
#include "TensorMap.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL pair_groups
#endif

/// One box of x by ordinary loads of any alignment, as the tensor map would bring it.
__device__ __forceinline__ void copyEach(
    const Block& block, int stage, const Storage* source, i64 pitch, int column, int columns, int count, int thread) {
#pragma unroll 1
  for (int index = thread; index < count * boxColumns; index += inputThreads) {
    const int row = index / boxColumns, at = index % boxColumns;
    const Storage value = column + at < columns ? source[row * pitch + column + at] : (Storage)0;
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(block.x(stage) + row * lineBytes + ((at / 8 ^ row % 8) * 16 + at % 8 * 2)), "h"(value)
                 : "memory");
  }
  fenceAsync();
  barrierArrive(block.full(stage));
}

/// Calls `copy` for every step's boxes of x as their places become free.
template <typename Copy>
__device__ __forceinline__ void forEachBox(const Block& block, const Steps& steps, const Copy& copy) {
#pragma unroll 1
  for (int step = 0, index = 0; step < steps.count; ++step)
#pragma unroll 1
    for (int box = 0; box < boxes; ++box, ++index) {
      const int stage = index % stages;
      barrierWait(block.empty(stage), index / stages & 1 ^ 1);
      copy(step, box * boxColumns, stage);
    }
}

/// Brings the cores, then x.
__device__ __forceinline__ void runCopies(
    const Block& block, const Steps& steps, const u32* packed, const Storage* x, i64 pitch, u8* map, bool byMap, int thread) {
  if (thread == 0) {
    const u8* part = (const u8*)packed + (i64)(block.share * clusterSize + block.self) * (coreBytes0 + coreBytes1);
    barrierExpect(block.coreArrived(0), coreBytes0);
    bulkCopy(block.core0(), part, coreBytes0, block.coreArrived(0));
    if constexpr (TESSERA_OUTPUT) {
      barrierExpect(block.coreArrived(1), coreBytes1);
      bulkCopy(block.core1(), part + coreBytes0, coreBytes1, block.coreArrived(1));
    }
  }
  const Storage* slice = x + block.self * sliceColumns;
  const int columns = block.columnsHere();
  if (byMap) {
    if (thread >= 32) return;
    TensorMap made(block.shared + offsetMap, thread);
    if (thread == 0) {
      made.begin<Element::bytes, 2, 3>(slice);
      made.dimension<0>(columns, boxColumns);
      made.dimension<1>(steps.rows, stepRows, pitch * Element::bytes);
    }
    made.publish(map);
    if (thread == 0)
      forEachBox(block, steps, [&](int step, int column, int stage) {
        barrierExpect(block.full(stage), boxBytes);
        copyBox(block.x(stage), map, column, (int)steps.firstRow(step), block.full(stage));
      });
  } else {
    forEachBox(block, steps, [&](int step, int column, int stage) {
      copyEach(block, stage, slice + steps.firstRow(step) * pitch, pitch, column, columns, steps.rowsHere(step), thread);
    });
  }
}

/// The share of warpgroup `group`: one of the first product, or of the second.
template <int group>
__device__ __forceinline__ void multiply(
    const Block& block, const Steps& steps, const Epilogue& epilogue, int lane, int warp) {
  constexpr int registers = group < firstGroups ? registers0 : registers1;
  if constexpr (registers > 128)
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
  else
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
  if constexpr (group >= firstGroups)
    runSecond<group - firstGroups>(block, steps, epilogue, lane, warp);
  else if constexpr (isLowRank)
    runLowRank(block, steps, lane, warp);
  else
    runFirst<group>(block, steps, lane, warp);
}

extern "C" __global__ void __cluster_dims__(clusterSize, 1, 1) __launch_bounds__(threads, 1) TESSERA_KERNEL(
    const Storage* __restrict__ x, const u32* __restrict__ packed, EPILOGUE_INPUTS, PAIR_OUTPUTS u32* __restrict__ maps,
    EPILOGUE_SCALARS, int rows, int pitchX) {
  PAIR_NO_OUTPUTS
  extern __shared__ __align__(1024) u8 memory[];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5 & 3, group = threadIdx.x / groupThreads;
  const Block block{sharedAddress(memory), clusterSize > 1 ? (int)clusterRank() : 0, (int)blockIdx.x / clusterSize % shares};
  const Steps steps(rows);
  // What is not there is left out when compiling: there is much of it.
  const Epilogue epilogue{
      y, TESSERA_EPILOGUE & 1 ? bias : nullptr, TESSERA_EPILOGUE & 2 ? gate : nullptr, TESSERA_EPILOGUE & 4 ? residual : nullptr, pitchY,
      TESSERA_Y_ALIGNED || aligned};
  // A view of another array may begin anywhere.
  const bool byMap = tensor && (((u64)x | (u64)((i64)pitchX * Element::bytes)) & 15) == 0 && block.columnsHere() > 0;

  // The copying warp makes the barriers and copies at once. A block may be written to only when its memory is zero and its barriers stand.
  if (threadIdx.x == 3 * groupThreads) {
    for (int stage = 0; stage < stages; ++stage) {
      barrierInit(block.full(stage), byMap ? 1 : inputThreads);
      barrierInit(block.empty(stage), firstGroups * groupThreads / 32);
    }
    constexpr int gathering = groupThreads / 32 * arrivals;
    for (int slot = 0; slot < unitsZ; ++slot) {
      barrierInit(block.fullZ(slot), isLowRank ? gathering : isAlone ? chunksHere * gathering : 1);
      barrierInit(block.emptyZ(slot), clusterSize * readerWarps * arrivals);
    }
    for (int place = 0; place < places; ++place) {
      for (int chunk = 0; chunk < chunksHere; ++chunk) barrierInit(block.filled(place, chunk), gathering);
      barrierInit(block.emptied(place), clusterSize);
    }
    for (int core = 0; core < 2; ++core) barrierInit(block.coreArrived(core), 1);
    fenceBarrierInit();
  }
  // What pads the chunks, and rows that no tensor map brings, must not be NaN.
  constexpr int first = chunks == clusterSize * chunksHere ? offsetX : 0;
  for (int i = first / 16 + threadIdx.x; i < (byMap ? offsetX : offsetCore0) / 16; i += threads) ((uint4*)memory)[i] = make_uint4(0, 0, 0, 0);
  fenceAsync();
  __syncwarp();
  clusterArrive();
  if (group != 3 || !byMap) clusterWait();
  // By numbers: by `group < firstGroups` the compiler takes descriptors for different among lanes, and waits after each instruction.
  if (group == 3) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(copyRegisters));
    const int thread = threadIdx.x % groupThreads;
    if (thread >= inputThreads) {
      if (byMap) clusterWait();
      if (warp == 2) {
        if constexpr (!isAlone || keeps) receive(block, steps, inner, lane);
      } else if constexpr (!isAlone) {
        sendPlaces(block, steps, lane);
      }
    } else {
      runCopies(block, steps, packed, x, pitchX, (u8*)maps + blockIdx.x * 128, byMap, thread);
      __syncwarp();
      if (byMap) clusterWait();
    }
  } else if (group == 2) {
    multiply<2>(block, steps, epilogue, lane, warp);
  } else if (group == 1) {
    multiply<1>(block, steps, epilogue, lane, warp);
  } else {
    multiply<0>(block, steps, epilogue, lane, warp);
  }
  // Nor may a block end before the last has arrived at its barriers.
  __syncwarp();
  clusterSync();
}
