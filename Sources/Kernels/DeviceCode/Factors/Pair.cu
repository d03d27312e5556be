// Pair of factors: y = (x through core 0 and core 1), the intermediate only ever in shared memory. Sizes: PairShape.cuh.
//
// A cluster keeps both cores in the registers of its blocks, divided by pieces, and lets rows stream through. In one step of
// T = 16 * ROW_BLOCKS rows a block multiplies its own slice of x with its part of core 0, hands every other block what that one
// needs for its output pieces, and multiplies what it has been handed with its part of core 1. So x and y move once, the cores
// are read once a cluster, and the transposition between the products travels between shared memories.
//
// Eight warps do the first product, eight the second; nothing but barriers in shared memory connects them, so loads, both products,
// the exchange and the stores of different steps overlap. The exchange is asynchronous stores counted in at the receiver: a barrier
// of the cluster would make every step wait for its stores to device memory. The cores are in registers and not in shared memory
// because operands from there would take more than the 128 bytes a clock that it gives.
//
//   x         [rows, m1 * m0], row pitch pitchX elements; with X_BULK (m0 a multiple of 8) read in bulk copies, where rows begin
//             at multiples of 16 bytes
//   packed    both cores, see PairPack.cu
//   y         out, only with OUTPUT 1 (the default): [rows, n0 * n1], row pitch pitchY elements; see Epilogue.cuh
//   inner     out, only with KEEP: z as [rows, n0, 8 * chunks], the inner index padded as in PairShape.cuh
//
// Launch: grid a multiple of the cluster, at most the clusters that are resident together; 512 threads; `sharedBytes` of shared
// memory. Any number of rows. 16-bit elements, float32 accumulation, z rounded to the element type.
//
// Bytes from device memory: rows * (m1 * m0 + n0 * n1) elements and the cores once a cluster.
#include "Factors/Epilogue.cuh"
#include "Factors/Fragments16.cuh"
#include "Factors/PairExchange.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL pair
#endif

constexpr int rowBlocks = TESSERA_ROW_BLOCKS, stepRows = 16 * rowBlocks, stages = TESSERA_X_STAGES, buffers = TESSERA_Z_BUFFERS;
constexpr bool bulk = TESSERA_X_BULK;
constexpr int warps = 8, threads = 2 * 32 * warps;  // warps of each product

// Shared memory: buffers of z, stages of x, barriers.
//   z    [output piece][chunk][row][16 bytes], pieces 16 bytes apart beyond their size, so that lanes of several pieces meet no
//        bank twice
//   x    [stage][row][piece][m0 padded to 8], rows an odd multiple of 16 bytes apart, with at least 16 bytes to spare: the last
//        contraction step of a piece may read 8 elements past it, which meet zeros of core 0
constexpr int piecePitchZ = chunks * stepRows * 16 + 16;
constexpr int bufferBytesZ = outputPieces * piecePitchZ;
constexpr int paddedM0 = divideUp(m0, 8) * 8;
constexpr int rowPitchX = (inputPieces * paddedM0 * 2 / 16 + 1) / 2 * 32 + 16;
constexpr int stageBytesX = stepRows * rowPitchX;
constexpr int offsetX = buffers * bufferBytesZ, offsetBarriers = (offsetX + stages * stageBytesX + 15) / 16 * 16;
constexpr int sharedBytes = offsetBarriers + 16 * (stages + buffers);
static_assert(sharedBytes == TESSERA_SHARED, "the launcher's plan and the kernel agree");
static_assert((clusterSize - 1) * outputPieces < n0, "every block has outputs: one without would never wait for z");
static_assert(bufferBytesZ % 16 == 0 && rowPitchX >= inputPieces * paddedM0 * 2 + 16, "aligned, and room past the last piece");

// A task of the first product is a chunk and a tile of eight j, one of the second a piece j and up to eight tiles of eight q. The
// tasks of a warp are fixed, and their operands of the cores stay in its registers.
constexpr int coreRegisters = 64;
constexpr int tasks0 = chunksHere * columnTiles0, turns0 = divideUp(tasks0, warps);
constexpr int tilesPerPart = TESSERA_PART_TILES, partsPerPiece = divideUp(columnTiles1, tilesPerPart);
constexpr int turns1 = divideUp(outputPieces * partsPerPiece, warps);
constexpr int senders = tasks0 < warps ? tasks0 : warps;
static_assert(turns0 * 8 * steps0 * 2 <= coreRegisters && turns1 * tilesPerPart * steps1 * 2 <= coreRegisters, "the cores fit");
static_assert(tilesPerPart % runTiles == 0, "a part is whole runs");

/// Writes 16 bytes at the same place in block `block` of the cluster, counted in at that block's barrier.
__device__ __forceinline__ void storeToBlock(u32 address, u32 barrier, int block, const u32 (&v)[4]) {
  asm volatile(
      "{\n.reg .b32 remote, signal;\n"
      "mapa.shared::cluster.u32 remote, %0, %2;\n"
      "mapa.shared::cluster.u32 signal, %1, %2;\n"
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.u32 [remote], {%3, %4, %5, %6}, [signal];\n}\n" ::"r"(address),
      "r"(barrier), "r"(block), "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3])
      : "memory");
}

struct Block {
  u32 shared;
  int self, lane, warp;

  __device__ __forceinline__ u32 z(int buffer) const { return shared + buffer * bufferBytesZ; }
  __device__ __forceinline__ u32 x(int stage) const { return shared + offsetX + stage * stageBytesX; }
  __device__ __forceinline__ u32 full(int stage) const { return shared + offsetBarriers + 8 * stage; }
  __device__ __forceinline__ u32 empty(int stage) const { return full(stages + stage); }
  __device__ __forceinline__ u32 fullZ(int buffer) const { return full(2 * stages + buffer); }
  __device__ __forceinline__ u32 emptyZ(int buffer) const { return full(2 * stages + buffers + buffer); }

  __device__ __forceinline__ int piecesHere() const { return max(0, min(inputPieces, m1 - self * inputPieces)); }
  __device__ __forceinline__ int outputsHere() const { return max(0, min(outputPieces, n0 - self * outputPieces)); }
  /// What a buffer of z receives in a step.
  __device__ __forceinline__ int bytesZ() const { return outputsHere() * clusterSize * chunksHere * stepRows * 16; }

  /// Starts the copies of this block's slice of `count` rows; called by one whole warp. Rows that do not begin at a multiple of 16
  /// bytes (a view of another array) are copied element by element.
  __device__ __forceinline__ void fetch(const Storage* source, i64 pitch, int count, int stage) const {
    const int bytes = piecesHere() * m0 * 2;
    if (((u64)source | (u64)(pitch * 2)) & 15) {
      copyEach(x(stage), source, pitch, 0, 1, count);
      __syncwarp();
      if (lane == 0) barrierArrive(full(stage));
      return;
    }
    if (lane == 0) barrierExpect(full(stage), count * bytes);
    __syncwarp();
    if (bytes == 0) return;
    for (int row = lane; row < count; row += 32)
      bulkCopy(x(stage) + row * rowPitchX, source + row * pitch + self * inputPieces * m0, bytes, full(stage));
  }

  /// The same by ordinary loads of any alignment; called by all warps of the first product.
  __device__ __forceinline__ void gather(const Storage* source, i64 pitch, int count) const {
    copyEach(x(0), source, pitch, warp, warps, count);
  }

  /// Copies every `step`-th row from `first` on, element by element; called by one warp.
  __device__ __forceinline__ void copyEach(u32 target, const Storage* source, i64 pitch, int first, int step, int count) const {
    const int width = piecesHere() * m0;
    for (int row = first; row < count; row += step)
      for (int column = lane; column < width; column += 32) {
        const Storage value = source[row * pitch + self * inputPieces * m0 + column];
        asm volatile("st.shared.u16 [%0], %1;" ::"r"(target + row * rowPitchX + (column / m0 * paddedM0 + column % m0) * 2), "h"(value)
                     : "memory");
      }
  }

  /// First product of one task for 16 rows at `rows`: acc[inner index of the chunk].
  __device__ __forceinline__ void multiply0(float (&acc)[8][4], const u32 (&core)[8][steps0][2], int chunk, u32 rows) const {
    const u32 a = rows + (lane & 15) * rowPitchX + (lane >> 4) * 16;
#pragma unroll
    for (int k = 0; k < 8; ++k)
#pragma unroll
      for (int e = 0; e < 4; ++e) acc[k][e] = 0.0f;
#pragma unroll
    for (int step = 0; step < steps0; ++step) {
      u32 values[4];
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        const int inner = chunk * 8 + k;
        if (innerHere % 8 != 0 && inner >= innerHere) break;
        // Inner indices of one input piece follow each other and share its rows.
        if (k == 0 || inner % rank == 0) loadMatrices(values, a + (inner / rank * paddedM0 + step * 16) * 2);
        multiply16(acc[k], values, core[k][step]);
      }
    }
  }

  /// Hands 16 rows of a task to the blocks that own its output pieces.
  __device__ __forceinline__ void send(const float (&acc)[8][4], int chunk, int tile, int rowBlock, int buffer) const {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int j = tile * 8 + 2 * (lane & 3) + e;
      if (n0 % 8 != 0 && j >= n0) continue;
      const u32 target = z(buffer) + j % outputPieces * piecePitchZ
          + ((self * chunksHere + chunk) * stepRows + rowBlock * 16 + (lane >> 2)) * 16;
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        u32 word[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) word[i] = Element::pack(acc[2 * i][2 * h + e], acc[2 * i + 1][2 * h + e]);
        if constexpr (clusterSize == 1)
          storeWords(target + h * 8 * 16, word);
        else
          storeToBlock(target + h * 8 * 16, fullZ(buffer), j / outputPieces, word);
      }
    }
  }

  /// Second product of one task for 16 rows: acc[tile].
  __device__ __forceinline__ void multiply1(
      float (&acc)[tilesPerPart][4], const u32 (&core)[tilesPerPart][steps1][2], int piece, int rowBlock, int buffer) const {
    const u32 a = z(buffer) + piece * piecePitchZ + ((lane >> 4) * stepRows + rowBlock * 16 + (lane & 15)) * 16;
#pragma unroll
    for (int n = 0; n < tilesPerPart; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) acc[n][e] = 0.0f;
#pragma unroll
    for (int step = 0; step < steps1; ++step) {
      u32 rows[4];
      loadMatrices(rows, a + step * 2 * stepRows * 16);
#pragma unroll
      for (int n = 0; n < tilesPerPart; ++n) multiply16(acc[n], rows, core[n][step]);
    }
  }

  /// Writes the outputs of 16 rows of a task, of which the first `count` exist.
  __device__ __forceinline__ void finish(
      const float (&acc)[tilesPerPart][4], int piece, int part, const Epilogue& epilogue, i64 firstRow, int count) const {
    const int start = (self * outputPieces + piece) * n1;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = h * 8 + (lane >> 2);
      if (row >= count) continue;
#pragma unroll
      for (int run = 0; run < tilesPerPart / runTiles; ++run) {
        const int column = (part * tilesPerPart + run * runTiles) * 8 + (lane & 3) * runLength;
        if (column >= n1) continue;
        float values[runLength];
#pragma unroll
        for (int i = 0; i < runLength; ++i) values[i] = acc[run * runTiles + i / 2][2 * h + i % 2];
        epilogue.store(firstRow + row, start + column, start + n1, values);
      }
    }
  }

  /// Writes what this block was handed: z of `count` rows from `firstRow`, in pieces of 16 bytes.
  __device__ __forceinline__ void keep(Storage* inner, int buffer, i64 firstRow, int count) const {
    for (int index = warp * 32 + lane; index < outputPieces * chunks * count; index += 32 * warps) {
      const int chunk = index % chunks, piece = index / chunks % outputPieces, row = index / chunks / outputPieces;
      const int j = self * outputPieces + piece;
      if (n0 % clusterSize != 0 && j >= n0) continue;
      u32 words[4];
      loadWords(words, z(buffer) + piece * piecePitchZ + (chunk * stepRows + row) * 16);
      store16(inner + (((firstRow + row) * n0 + j) * chunks + chunk) * 8, make_uint4(words[0], words[1], words[2], words[3]));
    }
  }
};

typedef PairSteps<stepRows> Steps;

/// One operand of a core for this lane, or zeros.
__device__ __forceinline__ void loadCore(u32 (&fragment)[2], const u32* packed, int index, bool exists, int lane) {
  const uint2 v = exists ? *(const uint2*)(packed + (i64)index * fragmentWords + 2 * lane) : make_uint2(0, 0);
  fragment[0] = v.x;
  fragment[1] = v.y;
}

/// First product of every step, sent to its owners; warps 0 ..< `warps` of the block.
__device__ __forceinline__ void runFirst(const Block& block, const Steps& steps, const u32* packed, const Storage* x, i64 pitch) {
  const auto fetch = [&](int step) {
    if (step < steps.count) block.fetch(x + steps.firstRow(step) * pitch, pitch, steps.rowsHere(step), step % stages);
  };
  if (bulk && block.warp == 0)
    for (int step = 0; step < stages; ++step) fetch(step);
  u32 core[turns0][8][steps0][2];
#pragma unroll
  for (int turn = 0; turn < turns0; ++turn)
#pragma unroll
    for (int k = 0; k < 8; ++k)
#pragma unroll
      for (int step = 0; step < steps0; ++step) {
        const int task = block.warp + turn * warps, inner = task / columnTiles0 * 8 + k;
        loadCore(core[turn][k][step], packed, (inner * columnTiles0 + task % columnTiles0) * steps0 + step,
                 task < tasks0 && inner < innerHere, block.lane);
      }
  for (int step = 0; step < steps.count; ++step) {
    const int stage = step % stages, buffer = step % buffers;
    if constexpr (bulk) {
      barrierWait(block.full(stage), step / stages & 1);
    } else {
      asm volatile("bar.sync 1, %0;" ::"n"(32 * warps) : "memory");
      block.gather(x + steps.firstRow(step) * pitch, pitch, steps.rowsHere(step));
      asm volatile("bar.sync 1, %0;" ::"n"(32 * warps) : "memory");
    }
#pragma unroll
    for (int turn = 0; turn < turns0; ++turn) {
      const int task = block.warp + turn * warps, chunk = task / columnTiles0;
      if (task >= tasks0) break;
#pragma unroll 1
      for (int rowBlock = 0; rowBlock < rowBlocks; ++rowBlock) {
        float acc[8][4];
        block.multiply0(acc, core[turn], chunk, block.x(stage) + rowBlock * 16 * rowPitchX);
        if (turn == 0 && rowBlock == 0 && step >= buffers) barrierWait(block.emptyZ(buffer), (step / buffers - 1) & 1);
        block.send(acc, chunk, task % columnTiles0, rowBlock, buffer);
      }
    }
    if (clusterSize == 1 && block.warp < senders) barrierArrive(block.fullZ(buffer));
    if constexpr (bulk) {
      __syncwarp();
      if (block.lane == 0) barrierArrive(block.empty(stage));
      if (block.warp == 0) {
        barrierWait(block.empty(stage), step / stages & 1);
        fetch(step + stages);
      }
    }
  }
}

/// Second product of every step, and its outputs; the other warps, numbered from 0.
__device__ __forceinline__ void runSecond(
    const Block& block, const Steps& steps, const u32* packed, Storage* inner, const Epilogue& epilogue) {
  const bool counting = clusterSize > 1 && block.warp == 0 && block.lane == 0;
  if (counting)
    for (int buffer = 0; buffer < buffers; ++buffer) barrierExpect(block.fullZ(buffer), block.bytesZ());
  const int tasks = block.outputsHere() * partsPerPiece;
#if TESSERA_OUTPUT
  u32 core[turns1][tilesPerPart][steps1][2];
#pragma unroll
  for (int turn = 0; turn < turns1; ++turn)
#pragma unroll
    for (int n = 0; n < tilesPerPart; ++n)
#pragma unroll
      for (int step = 0; step < steps1; ++step) {
        const int task = block.warp + turn * warps, tile = task % partsPerPiece * tilesPerPart + n;
        loadCore(core[turn][n][step], packed, (task / partsPerPiece * columnTiles1 + tile) * steps1 + step,
                 task < tasks && tile < columnTiles1, block.lane);
      }
#endif
  for (int step = 0; step < steps.count; ++step) {
    const int buffer = step % buffers;
    barrierWait(block.fullZ(buffer), step / buffers & 1);
    if (counting) barrierExpect(block.fullZ(buffer), block.bytesZ());
    const i64 firstRow = steps.firstRow(step);
    const int count = steps.rowsHere(step);
    const auto release = [&] {
      __syncwarp();
      if (block.lane < clusterSize) barrierArriveRemote(block.emptyZ(buffer), block.lane);
    };
#if TESSERA_KEEP
    block.keep(inner, buffer, firstRow, count);
#endif
#if TESSERA_OUTPUT
#pragma unroll
    for (int turn = 0; turn < turns1; ++turn) {
      const int task = block.warp + turn * warps;
      if (task >= tasks) break;
#pragma unroll 1
      for (int rowBlock = 0; rowBlock < rowBlocks; ++rowBlock) {
        float acc[tilesPerPart][4];
        block.multiply1(acc, core[turn], task / partsPerPiece, rowBlock, buffer);
        if (task + warps >= tasks && rowBlock == rowBlocks - 1) release();
        block.finish(acc, task / partsPerPiece, task % partsPerPiece, epilogue, firstRow + rowBlock * 16, count - rowBlock * 16);
      }
    }
    if (block.warp >= tasks) release();
#else
    release();
#endif
  }
}

extern "C" __global__ void __cluster_dims__(clusterSize, 1, 1) __launch_bounds__(threads, 1) TESSERA_KERNEL(
    const Storage* __restrict__ x, const u32* __restrict__ packed, EPILOGUE_INPUTS, PAIR_OUTPUTS EPILOGUE_SCALARS, int rows, int pitchX) {
  PAIR_NO_OUTPUTS
  extern __shared__ __align__(128) u8 memory[];
  const int warp = threadIdx.x >> 5;
  const Block block{sharedAddress(memory), clusterSize > 1 ? (int)clusterRank() : 0, (int)threadIdx.x & 31, warp % warps};
  const Steps steps(rows);

  if (threadIdx.x == 0) {
    for (int stage = 0; stage < stages; ++stage) {
      barrierInit(block.full(stage), 1);
      barrierInit(block.empty(stage), warps);
    }
    for (int buffer = 0; buffer < buffers; ++buffer) {
      barrierInit(block.fullZ(buffer), clusterSize > 1 ? 1 : 32 * senders);
      barrierInit(block.emptyZ(buffer), clusterSize * warps);
    }
    fenceBarrierInit();
  }
  // What is never written, padding of pieces and chunks, must not be NaN.
  for (int i = threadIdx.x; i < offsetBarriers / 16; i += threads) ((uint4*)memory)[i] = make_uint4(0, 0, 0, 0);
  fenceAsync();
  // No block may be written to before its memory is zero and its barriers stand, nor end before the last arrives there.
  clusterSync();
  const u32* part = packed + (i64)block.self * (words0 + words1);
  if (warp < warps)
    runFirst(block, steps, part, x, pitchX);
  else
    runSecond(block, steps, part + words0, inner, EPILOGUE_OF(y));
  clusterSync();
}
