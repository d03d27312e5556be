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
#include "Factors/Epilogue.cuh"
#include "Factors/KroneckerGroupsShape.cuh"
#if TESSERA_TENSOR
#include "TensorMap.cuh"
#endif
#include "Warpgroup.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL kronecker_groups
#endif

constexpr int stages = TESSERA_STAGES, rowPitch = TESSERA_X_PITCH, bytes = Element::bytes;
constexpr int widthUnits = slice / width, rowUnits = TESSERA_ROW_UNITS, tileRows = 64 * rowUnits;
constexpr int consumers = 256, producers = 128;
static_assert(widthUnits * columnUnits * rowUnits == 2, "two warpgroups multiply");
constexpr bool stationary = TESSERA_STATIONARY;

// By a tensor map rows lie in boxes of 128 bytes of each row (TENSOR 1), [box][row][k of the box][l], in which the 16 bytes at n of row r
// are at n ^ r % 8, or n ^ r % 2 where the box is not one run: lanes of one access then meet in no bank, without padding. A cluster of
// neighbouring parts shares the rows: each block copies some boxes to all. Or (TENSOR 2) the run of all k and l of a chunk is one box,
// with bytes of what follows for padding: any d whose runs of all c are whole 16 bytes.
constexpr bool tensor = TESSERA_TENSOR, boxed = TESSERA_TENSOR == 1;
constexpr int cluster = TESSERA_CLUSTER;
constexpr bool flat = slice == d;
constexpr int letters = slice * bytes, boxLength = 128 / letters, boxes = chunk / boxLength, boxBytes = tileRows * 128;
static_assert(!boxed || (128 % letters == 0 && letters <= 32 && chunk % boxLength == 0), "whole boxes");
static_assert(!boxed || flat || letters == 32, "whole lines of the swizzle");
static_assert(!tensor || boxed || (flat && c * d * bytes % 16 == 0 && rowPitch <= 2048), "runs of whole 16 bytes");
constexpr int swizzle = flat ? 7 : 1;
static_assert(parts % cluster == 0 && (boxed || cluster == 1), "whole clusters");
constexpr int alignment = tensor ? 1024 : 1;

constexpr int rowBytes = boxed ? boxes * boxBytes : tileRows * rowPitch, chunkBytes = chunkSteps * stepBytes;
constexpr int stageBytes = rowBytes + (stationary ? 0 : divideUp(chunkBytes, alignment) * alignment);
// With WRITES (and runs) the warpgroups differ in l, and put their outputs together in shared memory, some tiles of 32 rows at a time in one
// of WRITES places, [128 bytes][row][128 bytes] swizzled as boxes of x are; by a tensor map of y they are written while the products go on.
constexpr int writes = TESSERA_WRITES, writtenTiles = tiles % 2 == 0 ? 2 : tiles % 3 == 0 ? 3 : 1, writtenRows = 32;
constexpr int writtenBytes = 8 * writtenTiles * letters, outputBytes = writes * writtenBytes * writtenRows;
static_assert(!writes || (tensor && !boxed && letters % 16 == 0 && width * bytes % 8 == 0), "whole pieces of 16 bytes");
static_assert(!tensor || (writes ? 2 : 1) == widthUnits, "whole sectors");

// Weights (if they stay), stages, outputs, room for the tensor maps, then a barrier for each stage's arrival, one for its release, one for
// the weights.
constexpr int weightBytes = stationary ? divideUp(blockBytes, alignment) * alignment : 0, outputRoom = weightBytes + stages * stageBytes;
constexpr int mapRoom = outputRoom + outputBytes, mapBytes = writes ? 256 : tensor ? 128 : 0, barriers = mapRoom + mapBytes;
constexpr int sharedBytes = barriers + 16 * stages + 16;
static_assert(sharedBytes == TESSERA_SHARED, "the launcher's plan and the kernel agree");
static_assert(boxed || (rowPitch % 16 == 0 && rowPitch >= chunk * slice * bytes), "whole chunks");
/// Operands are read one group ahead where there are registers for it.
constexpr int sums = 4 * width * tiles, operandBuffers = sums > 128 ? 1 : 2;

/// The row (of 8) of a lane: those of one access differ in the bits that keep its boxes' 16 bytes apart.
__device__ __forceinline__ int rowOfLane(int lane) {
  const int row = lane >> 2;
  if constexpr (!tensor || (boxed && (letters == 32 || letters == 4))) return row;
  else return boxed && letters == 8 ? (row & 3) << 1 | row >> 2 : row >> 1 | (row & 1) << 2;
}

/// All l of a block in one lane: its outputs are one run.
constexpr bool whole = d == width;

/// `count` words, in one access where there is one for so many.
template <int count>
__device__ __forceinline__ void loadWords(u32 (&v)[count], u32 address) {
  if constexpr (count == 4)
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                 : "r"(address)
                 : "memory");
  else if constexpr (count == 2)
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(v[0]), "=r"(v[1]) : "r"(address) : "memory");
  else
#pragma unroll
    for (int i = 0; i < count; ++i) asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v[i]) : "r"(address + 4 * i) : "memory");
}

/// 2 or 4 words in one access.
__device__ __forceinline__ void storeWords(u32 address, const u32 (&v)[2]) {
  asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(address), "r"(v[0]), "r"(v[1]) : "memory");
}
__device__ __forceinline__ void storeWords(u32 address, const u32 (&v)[4]) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3]) : "memory");
}

/// Two 16-bit elements of each of `count` l: one at `place`, one at `next`.
template <int count>
__device__ __forceinline__ void loadPairs(u32 (&v)[count], u32 place, u32 next) {
  if constexpr (count % 2 == 1) {
#pragma unroll
    for (int l = 0; l < count; ++l) {
      u16 low, high;
      asm volatile("ld.shared.u16 %0, [%1];" : "=h"(low) : "r"(place + 2 * l) : "memory");
      asm volatile("ld.shared.u16 %0, [%1];" : "=h"(high) : "r"(next + 2 * l) : "memory");
      v[l] = low | (u32)high << 16;
    }
  } else {
    u32 low[count / 2], high[count / 2];
    loadWords(low, place);
    loadWords(high, next);
#pragma unroll
    for (int l = 0; l < count; ++l) v[l] = permuteBytes(low[l / 2], high[l / 2], l % 2 ? 0x7632 : 0x5410);
  }
}

/// Float32's bits as operands: value[copy].
__device__ __forceinline__ void roundOperand(u32 (&values)[copies][group][4], int l, int r, u32 word) {
  values[0][l][r] = Float32::round(__uint_as_float(word));
  if constexpr (exact) values[copies - 1][l][r] = Float32::round(__uint_as_float(word) - __uint_as_float(values[0][l][r]));
}

/// All l of this lane's neighbouring k of step `step`, as loadRows.
__device__ __forceinline__ void loadRuns(u32 (&values)[copies][group][4], u32 rows, int step) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    constexpr int words = 2 * d, piece = words % 4 == 0 ? 4 : 2;
    u32 run[words / piece][piece];
#pragma unroll
    for (int n = 0; n < words / piece; ++n) loadWords(run[n], rows + r * 32 * rowPitch + step * stepLength * d * bytes + 4 * piece * n);
#pragma unroll
    for (int e = 0; e < 2 * d; ++e) {
      const int half = e / d, l = e % d;
#if TESSERA_ELEMENT == 2
      roundOperand(values, l, r + 2 * half, run[e / piece][e % piece]);
#else
      // k of this half: 2 half and the next.
      const int low = 2 * half * d + l, high = low + d;
      values[0][l][r + 2 * half] = permuteBytes(
          run[low / 2 / piece][low / 2 % piece], run[high / 2 / piece][high / 2 % piece],
          (low % 2 ? 0x32 : 0x10) | (high % 2 ? 0x7600 : 0x5400));
#endif
    }
  }
}

/// Operands of `group` l from `start` of this lane's on, in step `step` of the chunk: value[copy][l]. `rows`: see rowsOfLane.
__device__ __forceinline__ void loadRows(u32 (&values)[copies][group][4], u32 rows, int step, int start) {
  if constexpr (together) {
    loadRuns(values, rows, step);
    return;
  }
  // Where k of the chunk and l lie for the lane whose first k is 0.
  const auto placeOf = [&](int r, int k) -> u32 {
    if constexpr (boxed) return (rows ^ (k % boxLength * letters + start * bytes)) + k / boxLength * boxBytes + r % 2 * 32 * 128;
    else return rows + r % 2 * 32 * rowPitch + (k * slice + start) * bytes;
  };
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int k = step * stepLength + r / 2 * (stepLength / 2);
    const u32 place = placeOf(r, k);
    u32 words[group];
#if TESSERA_ELEMENT == 2
    loadWords(words, place);
#pragma unroll
    for (int l = 0; l < group; ++l) roundOperand(values, l, r, words[l]);
#else
    loadPairs(words, place, placeOf(r, k + 4));
#pragma unroll
    for (int l = 0; l < group; ++l) values[0][l][r] = words[l];
#endif
  }
}

/// Where a lane's first row, k and l lie behind the beginning of a chunk. `firstRow`: this warp's.
__device__ __forceinline__ u32 rowsOfLane(int firstRow, int firstL, int lane) {
  const int row = firstRow + rowOfLane(lane), offset = together ? (lane & 3) * 8 * d : ((lane & 3) * slice + firstL) * bytes;
  return boxed ? row * 128 + (offset ^ (row & swizzle) << 4) : row * rowPitch + offset;
}

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

/// Writes a unit's outputs: `output` and `l` are this lane's first, `firstRow` this warp's.
__device__ __forceinline__ void finish(
    const float (&acc)[width][4 * tiles], const Epilogue& epilogue, i64 firstRow, int rows, int i, int output, int l, int lane) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const i64 row = firstRow + h * 32 + rowOfLane(lane);
    // Where no run is cut by an end, the compiler is not to provide for it.
    if constexpr (whole) {
      constexpr int length = 2 * tiles * width;
      const int place = (i * b + output) * d;
      float values[length];
#pragma unroll
      for (int e = 0; e < length; ++e) values[e] = acc[e % width][e / width / 2 * 4 + 2 * h + e / width % 2];
      epilogue.storeTogether(row < rows && output < b, row, place, b % (2 * tiles) == 0 ? place + length : (i * b + b) * d, values);
    } else {
#pragma unroll
      for (int j = 0; j < 2 * tiles; ++j) {
        const int place = (i * b + output + j) * d + l;
        float values[width];
#pragma unroll
        for (int e = 0; e < width; ++e) values[e] = acc[e][j / 2 * 4 + 2 * h + j % 2];
        epilogue.storeTogether(row < rows && output + j < b && l < d, row, place, d % width == 0 ? place + width : place - l + d, values);
      }
    }
  }
}

/// Puts outputs of 32 rows (half `h`), those of tiles from `firstTile` on, into shared memory at `room`. `tileRow`: this warp's first of the
/// 32; the rest as in finish.
__device__ __forceinline__ void putOutputs(
    const float (&acc)[width][4 * tiles], int firstTile, int h, const Epilogue& epilogue, u32 room, i64 firstRow, int rows, int i, int output,
    int tileRow, int l, int lane) {
  const int placeRow = tileRow + rowOfLane(lane);
#pragma unroll
  for (int j = 0; j < 2 * writtenTiles; ++j) {
    // The order of outputs that writes have: outputOfColumn.
    const int mine = 4 * j + (lane & 3), first = (i * b + output + mine) * d + l;
    float values[width];
#pragma unroll
    for (int e = 0; e < width; ++e) values[e] = acc[e][firstTile * 4 + j / 2 * 4 + 2 * h + j % 2];
    if (firstRow + placeRow < rows && output + mine < b) epilogue.apply(firstRow + placeRow, first, first + width, values);
    constexpr int words = width * bytes % 16 == 0 ? 4 : 2;
#pragma unroll
    for (int n = 0; n < width * bytes / (4 * words); ++n) {
      u32 word[words];
      Epilogue::pack(word, values, n * (4 * words / bytes));
      const int begin = mine * letters + l * bytes + 4 * words * n;
      storeWords(room + begin / 128 * (writtenRows * 128) + placeRow * 128 + (begin % 128 ^ (placeRow & 7) << 4), word);
    }
  }
}

/// Writes the outputs at `room`, of 32 rows from `firstRow` on, where no tensor map of y exists: by all threads that multiply.
__device__ __forceinline__ void writeOutputs(const Epilogue& epilogue, u32 room, i64 firstRow, int rows, int i, int output) {
  constexpr int pieces = writtenBytes / 16, vector = 16 / bytes;
#pragma unroll 1
  for (int index = threadIdx.x; index < writtenRows * pieces; index += consumers) {
    const int piece = index % pieces, row = index / pieces, mine = output + piece * vector / slice;
    if (firstRow + row >= rows || mine >= b) continue;
    u32 words[4];
    loadWords(words, room + piece / 8 * (writtenRows * 128) + row * 128 + (piece % 8 ^ row & 7) * 16);
    epilogue.storeWords(firstRow + row, (i * b + mine) * d + piece * vector % slice, words);
  }
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
