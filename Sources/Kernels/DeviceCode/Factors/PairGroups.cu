// Pair of factors by Hopper's warpgroups: y = epilogue(x through core 0 and core 1), the intermediate only ever in shared memory. Sizes
// and division: PairGroupsShape.cuh.
//
// As in Pair.cu a cluster divides the cores by pieces and rows stream through; here both cores lie in shared memory, as operands that the
// matrix units read by themselves, once for 64 rows. x comes by a tensor map, in boxes that are operands too. A lane ends the first
// product with eight neighbouring inner indices of one row and output piece: 16 bytes, stored where the second product of their owner reads
// them. A block stores its own share by ordinary stores: asynchronous ones, counted one by one, take 1.2 cycles each.
//
// Two warpgroups do the first product, one the second, one copies. Barriers in shared memory connect them. A chunk of z is sent while the
// next is multiplied, and z is handed over in two halves, even and odd pieces, so that the sends of one overlap the second product of
// the other.
//
//   x, y     [rows, m1 * m0] and [rows, n0 * n1], row pitch pitchX and pitchY elements; see Epilogue.cuh. With TENSOR (slices of whole 16
//            bytes) x comes by a tensor map where its rows begin at such multiples, else element by element. The parts of the epilogue are
//            EPILOGUE's bits, and Y_ALIGNED says that all runs are aligned
//   packed   both cores, see PairGroupsPack.cu
//   inner    out, only with KEEP: z as [rows, n0, 8 * chunks], the inner index padded as in PairShape.cuh
//   maps     room of 128 bytes for each block's tensor map of x
//
// y is there only with OUTPUT 1 (the default). Launch: grid a multiple of the cluster, at most the clusters that are resident together;
// 512 threads; `sharedBytes` of shared memory. Any number of rows. 16-bit elements, float32 accumulation, z rounded to the element
// type. sm_90a only.
//
// Bytes from device memory: rows * (m1 * m0 + n0 * n1) elements and the cores once a cluster.
#include "Factors/Epilogue.cuh"
#include "Factors/Fragments16.cuh"
#include "Factors/PairExchange.cuh"
#include "Factors/PairGroupsShape.cuh"
#include "TensorMap.cuh"
#include "Warpgroup.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL pair_groups
#endif
#ifndef TESSERA_KEEP
#define TESSERA_KEEP 0
#endif
#ifndef TESSERA_OUTPUT
#define TESSERA_OUTPUT 1
#endif

constexpr int stages = TESSERA_X_STAGES, buffers = TESSERA_Z_BUFFERS;
constexpr bool tensor = TESSERA_TENSOR;
// Registers of a thread: of the first product 48 for each tile, half of them on their way, and what is left for the second.
constexpr int registers0 = groupTiles > 3 ? 200 : 168, registers1 = 512 - 24 - 2 * registers0;
constexpr int groupThreads = 128, threads = 4 * groupThreads, senders = 2 * groupThreads;

// Where there are two halves, the sums of a lane are of one even and one odd piece in turn, and every block has both.
constexpr int halves = outputPieces % 2 == 0 && n0 - (clusterSize - 1) * outputPieces >= 2 ? 2 : 1;

// Shared memory: buffers of z, boxes of x, both cores, room for the tensor map, barriers.
constexpr int bufferBytesZ = linesZ * boxBytes, offsetX = buffers * bufferBytesZ, offsetCore0 = offsetX + stages * boxBytes;
constexpr int offsetCore1 = offsetCore0 + coreBytes0, offsetMap = (offsetCore1 + coreBytes1 + 127) / 128 * 128;
constexpr int offsetBarriers = offsetMap + 128, sharedBytes = offsetBarriers + 16 * (stages + 2 * buffers) + 16;
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
  __device__ __forceinline__ u32 full(int stage) const { return shared + offsetBarriers + 8 * stage; }
  __device__ __forceinline__ u32 empty(int stage) const { return full(stages + stage); }
  __device__ __forceinline__ u32 fullZ(int buffer, int half) const { return full(2 * stages + 2 * buffer + half); }
  __device__ __forceinline__ u32 emptyZ(int buffer, int half) const { return fullZ(buffers + buffer, half); }
  __device__ __forceinline__ u32 coreArrived(int core) const { return fullZ(2 * buffers, core); }

  __device__ __forceinline__ int columnsHere() const { return max(0, min(sliceColumns, m1 * m0 - self * sliceColumns)); }
  __device__ __forceinline__ int outputsHere() const { return max(0, min(outputPieces, n0 - self * outputPieces)); }
  /// The output pieces of a half: `half`, `half` + halves, ...
  __device__ __forceinline__ int outputsOf(int half) const { return (outputsHere() + halves - 1 - half) / halves; }
};

/// Where 16 bytes of z lie in a buffer: `chunk` of output piece `piece` (of the block) and a row.
__device__ __forceinline__ u32 placeOfZ(int piece, int chunk, int row) {
  const int vector = piece * chunks + placeOfChunk(piece, chunk);
  return vector / 8 * boxBytes + row * lineBytes + ((vector ^ row) & 7) * 16;
}

// MARK: - The copying warpgroup

/// One box of x by ordinary loads of any alignment, as the tensor map would bring it.
__device__ __forceinline__ void copyEach(
    const Block& block, int stage, const Storage* source, i64 pitch, int column, int columns, int count, int thread) {
#pragma unroll 1
  for (int index = thread; index < count * boxColumns; index += groupThreads) {
    const int row = index / boxColumns, at = index % boxColumns;
    const Storage value = column + at < columns ? source[row * pitch + column + at] : (Storage)0;
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(block.x(stage) + row * lineBytes + ((at / 8 ^ row % 8) * 16 + at % 8 * 2)), "h"(value)
                 : "memory");
  }
  fenceAsync();
  barrierArrive(block.full(stage));
}

/// Brings the cores, then every step's boxes of x as they become free.
__device__ __forceinline__ void runCopies(
    const Block& block, const Steps& steps, const u32* packed, const Storage* x, i64 pitch, u8* map, bool byMap, int thread) {
  if (thread == 0) {
    const u8* part = (const u8*)packed + (i64)block.self * (coreBytes0 + coreBytes1);
    barrierExpect(block.coreArrived(0), coreBytes0);
    bulkCopy(block.core0(), part, coreBytes0, block.coreArrived(0));
    if constexpr (TESSERA_OUTPUT) {
      barrierExpect(block.coreArrived(1), coreBytes1);
      bulkCopy(block.core1(), part + coreBytes0, coreBytes1, block.coreArrived(1));
    }
  }
  const Storage* slice = x + block.self * sliceColumns;
  const int columns = block.columnsHere();
  const auto each = [&](const auto& copy) {
#pragma unroll 1
    for (int step = 0, index = 0; step < steps.count; ++step)
#pragma unroll 1
      for (int box = 0; box < boxes; ++box, ++index) {
        const int stage = index % stages;
        barrierWait(block.empty(stage), index / stages & 1 ^ 1);
        copy(step, box * boxColumns, stage);
      }
  };
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
      each([&](int step, int column, int stage) {
        barrierExpect(block.full(stage), boxBytes);
        copyBox(block.x(stage), map, column, (int)steps.firstRow(step), block.full(stage));
      });
  } else {
    each([&](int step, int column, int stage) {
      copyEach(block, stage, slice + steps.firstRow(step) * pitch, pitch, column, columns, steps.rowsHere(step), thread);
    });
  }
}

// MARK: - The first product

constexpr int instructions = 8 / span;  // instructions of a chunk and step
typedef float Sums[instructions][4 * span * groupTiles];
/// A chunk as it is sent: [parity of j][tile][row half], 16 bytes each.
constexpr int sends = 4 * groupTiles;
typedef u32 Words[sends][4];

__device__ __forceinline__ void pack(Words& words, const Sums& acc, int chunk) {
#pragma unroll
  for (int index = 0; index < sends; ++index) {
    const int parity = index / (2 * groupTiles), tile = index / 2 % groupTiles, h = index % 2;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float pair[2];
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const int inner = 2 * i + n;
        pair[n] = chunk * 8 + inner < innerHere ? acc[inner / span][(inner % span * groupTiles + tile) * 4 + 2 * h + parity] : 0.0f;
      }
      words[index][i] = Element::pack(pair[0], pair[1]);
    }
  }
}

/// One warpgroup's chunks on their way to the blocks that own their pieces. Its tiles are at places from `firstPlace` on.
template <int firstPlace>
struct Sender {
  const Block& block;
  int row, lane;

  /// Sends part `part` of `instructions` of a chunk of the step `step`.
  __device__ __forceinline__ void send(const Words& words, int chunk, bool isFirst, bool isLast, int step, int part) const {
    const int buffer = step % buffers;
#pragma unroll
    for (int index = part * sends / instructions; index < (part + 1) * sends / instructions; ++index) {
      const int parity = index / (2 * groupTiles), first = parity * 2 * groupTiles;
      if (isFirst && index == first && parity < halves && step >= buffers)
        barrierWait(block.emptyZ(buffer, parity), (step / buffers - 1) & 1);
      store(words[index], chunk, parity, index / 2 % groupTiles, index % 2, buffer);
      if (isLast && index == first + 2 * groupTiles - 1 && parity + halves >= 2) {
        __syncwarp();
        barrierArriveIf(lane == 0, block.fullZ(buffer, parity % halves));
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

/// The boxes of one step among the stages; `box` is known when compiling.
struct Ring {
  int first, turn;

  __device__ __forceinline__ explicit Ring(int step) : first(step * boxes % stages), turn(step * boxes / stages) {}
  __device__ __forceinline__ bool wraps(int box) const { return first + box % stages >= stages; }
  __device__ __forceinline__ int stage(int box) const { return first + box % stages - (wraps(box) ? stages : 0); }
  __device__ __forceinline__ u32 parity(int box) const { return turn + box / stages + wraps(box) & 1; }
};

/// First product of every step, sent to its owners, by one of two warpgroups. A chunk is sent while the next is multiplied.
template <int group>
__device__ __forceinline__ void runFirst(const Block& block, const Steps& steps, int lane, int warp) {
  constexpr int half = group % jGroups, firstChunk = splitsChunks ? group : 0, nextChunk = splitsChunks ? 2 : 1;
  constexpr int lastChunk = firstChunk + (chunksHere - 1 - firstChunk) / nextChunk * nextChunk;
  const Sender<half * groupTiles> sender{block, warp * 16 + (lane >> 2), lane};
  const u64 lines = lineDescriptor(block.x(0)), core0 = matrixDescriptor(block.core0());
  Words words;
  if (steps.count == 0) return;
  barrierWait(block.coreArrived(0), 0);
#pragma unroll 1
  for (int step = 0; step < steps.count; ++step) {
    const Ring ring(step);
    // Boxes of this step that have been waited for, and given back. Known when compiling, once the loops are unrolled.
    int arrived = 0, released = 0;
    const auto waitTo = [&](int box) {
      for (; arrived < box; ++arrived) barrierWait(block.full(ring.stage(arrived)), ring.parity(arrived));
    };
    // One by one: there may be fewer stages than boxes, and the next comes when the one before is free.
    const auto releaseTo = [&](int box) {
      for (; released < box; ++released) {
        waitTo(released + 1);
        barrierArriveIf(lane == 0, block.empty(ring.stage(released)));
      }
    };
#pragma unroll
    for (int chunk = firstChunk; chunk < chunksHere; chunk += nextChunk) {
      Sums acc;
      releaseTo(firstStep(chunk * 8 / rank) / 4);
      warpgroupFence();
#pragma unroll
      for (int k = 0; k < instructions; ++k) {
        const int inner = chunk * 8 + k * span, piece = inner / rank;
        if (inner < innerHere) {
#pragma unroll
          for (int at = firstStep(piece); at < endStep(piece); ++at) {
            waitTo(at / 4 + 1);
            warpgroupMultiply(acc[k], lines + (ring.stage(at / 4) * boxBytes + at % 4 * 32 >> 4),
                              core0 + (placeOfCore0(piece, at - firstStep(piece), half, inner % rank) >> 4), at > firstStep(piece));
          }
          warpgroupCommit();
        }
        if (chunk > firstChunk)
          sender.send(words, chunk - nextChunk, chunk - nextChunk == firstChunk, false, step, k);
        else if (step > 0)
          sender.send(words, lastChunk, lastChunk == firstChunk, true, step - 1, k);
        // The products before these have read their boxes.
        if (k > 0 && inner < innerHere) {
          warpgroupWait<1>();
          releaseTo(firstStep(piece) / 4);
        }
      }
      warpgroupWait<0>();
      releaseTo(chunk == lastChunk ? boxes : firstStep((chunk + 1) * 8 / rank) / 4);
      pack(words, acc, chunk);
    }
  }
#pragma unroll
  for (int part = 0; part < instructions; ++part)
    sender.send(words, lastChunk, lastChunk == firstChunk, true, steps.count - 1, part);
}

// MARK: - The second product

/// A part of an output piece as it is written: what a lane has of two rows, in runs.
constexpr int runs1 = partTiles1 / runTiles;
typedef u32 Outputs[2][runs1][runLength / 2];

/// Where a part lies: column `start` and those after it up to `end` of the output piece, and `count` rows of a warp's 16 from `firstRow`.
struct Place {
  int start, end, count;
  i64 firstRow;
};

/// The outputs of a part from its sums.
__device__ __forceinline__ void finish(
    Outputs& outputs, float (&acc)[4 * partTiles1], const Epilogue& epilogue, const Place& place, int lane) {
#pragma unroll
  for (int h = 0; h < 2; ++h)
#pragma unroll
    for (int run = 0; run < runs1; ++run) {
      const int row = h * 8 + (lane >> 2), column = place.start + run * runTiles * 8 + (lane & 3) * runLength;
      float values[runLength];
#pragma unroll
      for (int i = 0; i < runLength; ++i) values[i] = acc[(run * runTiles + i / 2) * 4 + 2 * h + i % 2];
      if (row < place.count) epilogue.apply(place.firstRow + row, column, n1 % runLength == 0 ? column + runLength : place.end, values);
#pragma unroll
      for (int i = 0; i < runLength / 2; ++i) outputs[h][run][i] = Element::pack(values[2 * i], values[2 * i + 1]);
    }
}

/// Writes them.
__device__ __forceinline__ void write(const Outputs& outputs, const Epilogue& epilogue, const Place& place, int lane) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int row = h * 8 + (lane >> 2);
    if (row >= place.count) continue;
#pragma unroll
    for (int run = 0; run < runs1; ++run) {
      const int column = place.start + run * runTiles * 8 + (lane & 3) * runLength;
      const u32(&word)[runLength / 2] = outputs[h][run];
      Storage* target = epilogue.y + (place.firstRow + row) * epilogue.pitch + column;
      // Where no run is cut by an end, the compiler is not to provide for it.
      if (epilogue.aligned && (n1 % runLength == 0 ? column < place.end : column + runLength <= place.end)) {
        if constexpr (runLength == 8)
          store16(target, make_uint4(word[0], word[1], word[2], word[3]));
        else if constexpr (runLength == 4)
          *(uint2*)target = make_uint2(word[0], word[1]);
        else
          *(u32*)target = word[0];
      } else {
#pragma unroll
        for (int i = 0; i < runLength; ++i)
          if (column + i < place.end) target[i] = (Storage)(word[i / 2] >> i % 2 * 16);
      }
    }
  }
}

/// Writes what this block was handed of a half: z of `count` rows from `firstRow`, in pieces of 16 bytes.
__device__ __forceinline__ void keep(
    const Block& block, Storage* inner, int buffer, int half, i64 firstRow, int count, int thread) {
  const int pieces = block.outputsOf(half);
  for (int index = thread; index < pieces * chunks * count; index += groupThreads) {
    const int chunk = index % chunks, piece = index / chunks % pieces * halves + half, row = index / chunks / pieces;
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(block.z(buffer) + placeOfZ(piece, chunk, row)));
    store16(inner + (((firstRow + row) * n0 + block.self * outputPieces + piece) * chunks + chunk) * 8, v);
  }
}

/// Second product of every step, and its outputs.
__device__ __forceinline__ void runSecond(
    const Block& block, const Steps& steps, Storage* inner, const Epilogue& epilogue, int lane, int warp) {
  const bool counting = clusterSize > 1 && warp == 0 && lane == 0;
  // What a half receives from other blocks in a step.
  const auto expect = [&](int buffer, int half) {
    if (counting)
      barrierExpect(block.fullZ(buffer, half), block.outputsOf(half) * (clusterSize - 1) * chunksHere * stepRows * 16);
  };
  const int row = warp * 16 + (lane & 15);
  for (int buffer = 0; buffer < buffers; ++buffer)
    for (int half = 0; half < halves; ++half) expect(buffer, half);
  if (TESSERA_OUTPUT && steps.count > 0) barrierWait(block.coreArrived(1), 0);
#pragma unroll 1
  for (int step = 0; step < steps.count; ++step) {
    const int buffer = step % buffers;
    const i64 firstRow = steps.firstRow(step);
    const int count = steps.rowsHere(step);
#pragma unroll 1
    for (int half = 0; half < halves; ++half) {
      barrierWait(block.fullZ(buffer, half), step / buffers & 1);
      expect(buffer, half);
      const auto release = [&] {
        __syncwarp();
        barrierArriveRemoteIf(lane < clusterSize, block.emptyZ(buffer, half), lane % clusterSize);
      };
#if TESSERA_KEEP
      keep(block, inner, buffer, half, firstRow, count, warp * 32 + lane);
#endif
#if TESSERA_OUTPUT
      const u64 core1 = matrixDescriptor(block.core1());
      // A part of an output piece at a time, four contraction steps at a time; a part is written while the next is multiplied.
      const int tasks = block.outputsOf(half) * parts1;
      constexpr int blockSteps = steps1 < 4 ? steps1 : 4;
      float acc[4 * partTiles1];
      Outputs outputs;
      Place place;
#pragma unroll 1
      for (int task = 0; task < tasks; ++task) {
        const int piece = task / parts1 * halves + half, part = task % parts1;
        u32 rows[blockSteps][4];
#pragma unroll
        for (int from = 0; from < steps1; from += blockSteps) {
          const int first = piece * steps1 + from;
          if (from > 0) warpgroupWait<0>();
#pragma unroll
          for (int s = 0; s < blockSteps; ++s)
            if (from + s < steps1)
              loadMatrices(rows[s], block.z(buffer) + (first + s) / 4 * boxBytes + row * lineBytes
                                        + ((lane >> 4 ^ row & 7) * 16 ^ (first + s) % 4 * 32));
          warpgroupFence();
#pragma unroll
          for (int s = 0; s < blockSteps; ++s)
            if (from + s < steps1)
              warpgroupMultiply(acc, rows[s], core1 + (((first + s) * parts1 + part) * partTiles1 * 256 >> 4), from + s > 0);
          warpgroupCommit();
        }
        // The products are started, so z has been read.
        if (task == tasks - 1) release();
        if (task > 0) write(outputs, epilogue, place, lane);
        warpgroupWait<0>();
        const int start = (block.self * outputPieces + piece) * n1;
        place = {start + part * partTiles1 * 8, start + n1, count - warp * 16, firstRow + warp * 16};
        finish(outputs, acc, epilogue, place, lane);
      }
      write(outputs, epilogue, place, lane);
#else
      release();
#endif
    }
  }
}

extern "C" __global__ void __cluster_dims__(clusterSize, 1, 1) __launch_bounds__(threads, 1) TESSERA_KERNEL(
    const Storage* __restrict__ x, const u32* __restrict__ packed, EPILOGUE_INPUTS,
#if TESSERA_OUTPUT
    Storage* __restrict__ y,
#endif
#if TESSERA_KEEP
    Storage* __restrict__ inner,
#endif
    u32* __restrict__ maps, EPILOGUE_SCALARS, int rows, int pitchX) {
#if !TESSERA_OUTPUT
  Storage* y = nullptr;
#endif
#if !TESSERA_KEEP
  Storage* inner = nullptr;
#endif
  extern __shared__ __align__(1024) u8 memory[];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5 & 3, group = threadIdx.x / groupThreads;
  const Block block{sharedAddress(memory), clusterSize > 1 ? (int)clusterRank() : 0};
  const Steps steps(rows);
  // What is not there is left out when compiling: there is much of it.
  const Epilogue epilogue{
      y, TESSERA_EPILOGUE & 1 ? bias : nullptr, TESSERA_EPILOGUE & 2 ? gate : nullptr, TESSERA_EPILOGUE & 4 ? residual : nullptr, pitchY,
      TESSERA_Y_ALIGNED || aligned};
  // A view of another array may begin anywhere.
  const bool byMap = tensor && (((u64)x | (u64)((i64)pitchX * Element::bytes)) & 15) == 0 && block.columnsHere() > 0;

  if (threadIdx.x == 0) {
    for (int stage = 0; stage < stages; ++stage) {
      barrierInit(block.full(stage), byMap ? 1 : groupThreads);
      barrierInit(block.empty(stage), senders / 32);
    }
    for (int buffer = 0; buffer < buffers; ++buffer)
      for (int half = 0; half < 2; ++half) {
        barrierInit(block.fullZ(buffer, half), senders / 32 + (clusterSize > 1));
        barrierInit(block.emptyZ(buffer, half), clusterSize * (groupThreads / 32));
      }
    for (int core = 0; core < 2; ++core) barrierInit(block.coreArrived(core), 1);
    fenceBarrierInit();
  }
  // Padding of pieces and chunks, and rows of x that are not there, must not be NaN.
  for (int i = threadIdx.x; i < offsetCore0 / 16; i += threads) ((uint4*)memory)[i] = make_uint4(0, 0, 0, 0);
  fenceAsync();
  // No block may be written to before its memory is zero and its barriers stand, nor end before the last arrives there.
  clusterSync();
  if (group == 3) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
    runCopies(block, steps, packed, x, pitchX, (u8*)maps + blockIdx.x * 128, byMap, threadIdx.x % groupThreads);
  } else if (group == 2) {
    if constexpr (registers1 > 128)
      asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers1));
    else
      asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers1));
    runSecond(block, steps, inner, epilogue, lane, warp);
  } else if (group == 1) {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers0));
    runFirst<1>(block, steps, lane, warp);
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers0));
    runFirst<0>(block, steps, lane, warp);
  }
  __syncwarp();
  clusterSync();
}
