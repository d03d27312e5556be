// Pair of factors: y = (x through core 0 and core 1), the intermediate only ever in shared memory. Sizes: PairShape.cuh.
//
// A cluster keeps both cores in the shared memory of its blocks, divided by pieces, and lets rows stream through. In one step of
// T = 16 * ROW_BLOCKS rows a block multiplies its own slice of x with its part of core 0, hands every other block what that one
// needs for its output pieces, and multiplies what it has been handed with its part of core 1. So x and y move once, the cores
// are read once a cluster, and the transposition between the products travels between shared memories.
//
// Eight warps do the first product, eight the second; nothing but barriers in shared memory connects them, so loads, both products,
// the exchange and the stores of different steps overlap. The exchange is asynchronous stores counted in at the receiver: a barrier
// of the cluster would make every step wait for its stores to device memory.
//
//   x         [rows, m1 * m0], row pitch pitchX elements; read in bulk copies when X_BULK (m0 a multiple of 8, rows of 16 bytes)
//   packed    both cores, see PairPack.cu
//   inner     out, only with KEEP: z as [rows, n0, 8 * chunks], the inner index padded as in PairShape.cuh
//   y ...     out, [rows, n0 * n1], see Epilogue.cuh; nothing is written with OUTPUT 0
//
// Launch: grid a multiple of the cluster, at most the clusters that are resident together; 512 threads; `sharedBytes` of shared
// memory. Any number of rows. 16-bit elements, float32 accumulation, z rounded to the element type.
//
// Bytes from device memory: rows * (m1 * m0 + n0 * n1) elements and the cores once a cluster. Shared memory per row and block sets
// the pace at 64 x 64 pieces and clusters of 8: about 100 bytes of operands a clock of the 128 it has.
#include "Factors/Epilogue.cuh"
#include "Factors/Fragments16.cuh"
#include "Factors/PairShape.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL pair
#endif
#ifndef TESSERA_KEEP
#define TESSERA_KEEP 0
#endif
#ifndef TESSERA_OUTPUT
#define TESSERA_OUTPUT 1
#endif

constexpr int rowBlocks = TESSERA_ROW_BLOCKS, stepRows = 16 * rowBlocks, stages = TESSERA_X_STAGES;
constexpr bool bulk = TESSERA_X_BULK;
constexpr int warps = 8, threads = 2 * 32 * warps;  // warps of each product

// Shared memory: cores, two buffers of z, stages of x, barriers.
//   z    [output piece][chunk][row][16 bytes], pieces 16 bytes apart beyond their size so that lanes of several pieces meet no bank twice
//   x    [stage][row][piece][m0 padded to 8], rows an odd multiple of 16 bytes apart, with at least 16 bytes to spare: the last
//        contraction step of a piece may read 8 elements past it, which meet zeros of core 0
constexpr int coreBytes = 4 * (words0 + words1);
constexpr int piecePitchZ = chunks * stepRows * 16 + 16;
constexpr int bufferBytesZ = outputPieces * piecePitchZ;
constexpr int paddedM0 = divideUp(m0, 8) * 8;
constexpr int rowPitchX = (inputPieces * paddedM0 * 2 / 16 + 1) / 2 * 32 + 16;
constexpr int stageBytesX = stepRows * rowPitchX;
constexpr int offsetZ = coreBytes, offsetX = offsetZ + 2 * bufferBytesZ, offsetBarriers = (offsetX + stages * stageBytesX + 15) / 16 * 16;
constexpr int sharedBytes = offsetBarriers + 8 * (2 * stages + 5);
static_assert(sharedBytes == TESSERA_SHARED, "the launcher's plan and the kernel agree");
static_assert(bufferBytesZ % 16 == 0 && rowPitchX >= inputPieces * paddedM0 * 2 + 16, "aligned, and room past the last piece");

// A warp takes tasks of the first product (a chunk, `tilesPerTask` tiles of eight j, all rows) and of the second (a piece j,
// `tilesPerPiece` tiles of eight q, all rows).
constexpr int tilesPerTask = rowBlocks <= 2 && columnTiles0 % 2 == 0 && chunksHere * columnTiles0 >= 2 * warps ? 2 : 1;
constexpr int tasks0 = chunksHere * columnTiles0 / tilesPerTask;
constexpr int tilesPerPiece = columnTiles1 < 8 ? columnTiles1 : 8;
constexpr int partsPerPiece = divideUp(columnTiles1, tilesPerPiece);

/// Writes 16 bytes at the same place in block `block` of the cluster, counted in at that block's barrier.
__device__ __forceinline__ void storeToBlock(u32 address, u32 barrier, int block, uint4 v) {
  if constexpr (clusterSize == 1)
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
  else
    asm volatile(
        "{\n.reg .b32 remote, signal;\n"
        "mapa.shared::cluster.u32 remote, %0, %2;\n"
        "mapa.shared::cluster.u32 signal, %1, %2;\n"
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.u32 [remote], {%3, %4, %5, %6}, [signal];\n}\n" ::"r"(address),
        "r"(barrier), "r"(block), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
        : "memory");
}

struct Block {
  u32 shared;
  int self, lane, warp;

  __device__ __forceinline__ u32 z(int buffer) const { return shared + offsetZ + buffer * bufferBytesZ; }
  __device__ __forceinline__ u32 x(int stage) const { return shared + offsetX + stage * stageBytesX; }
  __device__ __forceinline__ u32 full(int stage) const { return shared + offsetBarriers + 8 * stage; }
  __device__ __forceinline__ u32 empty(int stage) const { return full(stages + stage); }
  __device__ __forceinline__ u32 coresReady() const { return full(2 * stages); }
  __device__ __forceinline__ u32 fullZ(int buffer) const { return full(2 * stages + 1 + buffer); }
  __device__ __forceinline__ u32 emptyZ(int buffer) const { return full(2 * stages + 3 + buffer); }

  __device__ __forceinline__ int piecesHere() const { return max(0, min(inputPieces, m1 - self * inputPieces)); }
  __device__ __forceinline__ int outputsHere() const { return max(0, min(outputPieces, n0 - self * outputPieces)); }
  /// What a buffer of z receives in a step.
  __device__ __forceinline__ int bytesZ() const { return outputsHere() * clusterSize * chunksHere * stepRows * 16; }

  /// Starts the copies of this block's slice of `count` rows; called by one whole warp.
  __device__ __forceinline__ void fetch(const Storage* source, i64 pitch, int count, int stage) const {
    const int bytes = piecesHere() * m0 * 2;
    if (lane == 0) barrierExpect(full(stage), count * bytes);
    __syncwarp();
    if (bytes == 0) return;
    for (int row = lane; row < count; row += 32)
      bulkCopy(x(stage) + row * rowPitchX, source + row * pitch + self * inputPieces * m0, bytes, full(stage));
  }

  /// The same by ordinary loads of any alignment; called by all warps of the first product.
  __device__ __forceinline__ void gather(const Storage* source, i64 pitch, int count) const {
    const int width = piecesHere() * m0;
    for (int row = warp; row < count; row += warps)
      for (int column = lane; column < width; column += 32) {
        const u32 target = x(0) + row * rowPitchX + (column / m0 * paddedM0 + column % m0) * 2;
        asm volatile("st.shared.u16 [%0], %1;" ::"r"(target), "h"(source[row * pitch + self * inputPieces * m0 + column]) : "memory");
      }
  }

  /// First product of one task: acc[inner index of the chunk][tile][row block].
  __device__ __forceinline__ void multiply0(float (&acc)[8][tilesPerTask][rowBlocks][4], int task, int stage) const {
    const int chunk = task / (columnTiles0 / tilesPerTask), tile = task % (columnTiles0 / tilesPerTask) * tilesPerTask;
    const u32 a = x(stage) + (lane & 15) * rowPitchX + (lane >> 4) * 16;
    const u32 b = shared + ((chunk * 8 * columnTiles0 + tile) * steps0 * fragmentWords + lane * 2) * 4;
#pragma unroll
    for (int k = 0; k < 8; ++k)
#pragma unroll
      for (int n = 0; n < tilesPerTask; ++n)
#pragma unroll
        for (int m = 0; m < rowBlocks; ++m)
#pragma unroll
          for (int e = 0; e < 4; ++e) acc[k][n][m][e] = 0.0f;
#pragma unroll 2
    for (int step = 0; step < steps0; ++step) {
      u32 rows[rowBlocks][4];
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        const int inner = chunk * 8 + k;
        if (innerHere % 8 != 0 && inner >= innerHere) break;
        // Inner indices of one input piece follow each other and share its rows.
        if (k == 0 || inner % rank == 0)
#pragma unroll
          for (int m = 0; m < rowBlocks; ++m)
            loadMatrices(rows[m], a + m * 16 * rowPitchX + (inner / rank * paddedM0 + step * 16) * 2);
#pragma unroll
        for (int n = 0; n < tilesPerTask; ++n) {
          u32 columns[2];
          loadPair(columns, b + ((k * columnTiles0 + n) * steps0 + step) * fragmentWords * 4);
#pragma unroll
          for (int m = 0; m < rowBlocks; ++m) multiply16(acc[k][n][m], rows[m], columns);
        }
      }
    }
  }

  /// Hands a task's results to the blocks that own their output pieces.
  __device__ __forceinline__ void send(const float (&acc)[8][tilesPerTask][rowBlocks][4], int task, int buffer) const {
    const int chunk = task / (columnTiles0 / tilesPerTask), tile = task % (columnTiles0 / tilesPerTask) * tilesPerTask;
    const int g = lane >> 2, q = lane & 3;
#pragma unroll
    for (int n = 0; n < tilesPerTask; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int j = (tile + n) * 8 + 2 * q + e;
        if (n0 % 8 != 0 && j >= n0) continue;
        const u32 target = z(buffer) + j % outputPieces * piecePitchZ + (self * chunksHere + chunk) * stepRows * 16 + g * 16;
#pragma unroll
        for (int m = 0; m < rowBlocks; ++m)
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            u32 word[4];
#pragma unroll
            for (int i = 0; i < 4; ++i)
              word[i] = Element::pack(acc[2 * i][n][m][2 * h + e], acc[2 * i + 1][n][m][2 * h + e]);
            storeToBlock(target + (m * 16 + h * 8) * 16, fullZ(buffer), j / outputPieces, make_uint4(word[0], word[1], word[2], word[3]));
          }
      }
  }

  /// Second product of one task: acc[row block][tile].
  __device__ __forceinline__ void multiply1(float (&acc)[rowBlocks][tilesPerPiece][4], int task, int buffer) const {
    const int piece = task / partsPerPiece, tile = task % partsPerPiece * tilesPerPiece;
    const u32 a = z(buffer) + piece * piecePitchZ + ((lane >> 4) * stepRows + (lane & 15)) * 16;
    const u32 b = shared + (words0 + (piece * columnTiles1 + tile) * steps1 * fragmentWords + lane * 2) * 4;
#pragma unroll
    for (int m = 0; m < rowBlocks; ++m)
#pragma unroll
      for (int n = 0; n < tilesPerPiece; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) acc[m][n][e] = 0.0f;
#pragma unroll 2
    for (int step = 0; step < steps1; ++step) {
      u32 rows[rowBlocks][4];
#pragma unroll
      for (int m = 0; m < rowBlocks; ++m) loadMatrices(rows[m], a + (step * 2 * stepRows + m * 16) * 16);
#pragma unroll
      for (int n = 0; n < tilesPerPiece; ++n) {
        if (columnTiles1 % tilesPerPiece != 0 && tile + n >= columnTiles1) break;
        u32 columns[2];
        loadPair(columns, b + (n * steps1 + step) * fragmentWords * 4);
#pragma unroll
        for (int m = 0; m < rowBlocks; ++m) multiply16(acc[m][n], rows[m], columns);
      }
    }
  }

  /// Writes the outputs of a task: `count` rows from `firstRow`.
  __device__ __forceinline__ void finish(
      const float (&acc)[rowBlocks][tilesPerPiece][4], int task, const Epilogue& epilogue, i64 firstRow, int count) const {
    const int piece = task / partsPerPiece, tile = task % partsPerPiece * tilesPerPiece;
    const int j = self * outputPieces + piece;
#pragma unroll
    for (int m = 0; m < rowBlocks; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int row = m * 16 + h * 8 + (lane >> 2);
        if (row >= count) continue;
#pragma unroll
        for (int run = 0; run < tilesPerPiece / runTiles; ++run) {
          const int column = (tile + run * runTiles) * 8 + (lane & 3) * runLength;
          if (column >= n1) continue;
          float values[runLength];
#pragma unroll
          for (int i = 0; i < runLength; ++i) values[i] = acc[m][run * runTiles + i / 2][2 * h + i % 2];
          epilogue.store(firstRow + row, j * n1 + column, j * n1 + n1, values);
        }
      }
  }

  /// Writes what this block was handed: z of `count` rows from `firstRow`, in pieces of 16 bytes.
  __device__ __forceinline__ void keep(Storage* inner, int buffer, i64 firstRow, int count) const {
    for (int index = warp * 32 + lane; index < outputPieces * chunks * count; index += 32 * warps) {
      const int chunk = index % chunks, piece = index / chunks % outputPieces, row = index / chunks / outputPieces;
      const int j = self * outputPieces + piece;
      if (n0 % clusterSize != 0 && j >= n0) continue;
      uint4 v;
      asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                   : "r"(z(buffer) + piece * piecePitchZ + (chunk * stepRows + row) * 16));
      store16(inner + (((firstRow + row) * n0 + j) * chunks + chunk) * 8, v);
    }
  }
};

/// The steps of one cluster: tiles of rows, dealt out in turn.
struct Steps {
  int cluster, clusters, rows, count;

  __device__ __forceinline__ explicit Steps(int rows)
      : cluster(blockIdx.x / clusterSize), clusters(gridDim.x / clusterSize), rows(rows) {
    const int tiles = divideUp(rows, stepRows);
    count = cluster < tiles ? (tiles - 1 - cluster) / clusters + 1 : 0;
  }
  __device__ __forceinline__ i64 firstRow(int step) const { return (i64)(cluster + step * clusters) * stepRows; }
  __device__ __forceinline__ int rowsHere(int step) const { return min(stepRows, rows - (int)firstRow(step)); }
};

/// First product of every step, sent to its owners; warps 0 ..< `warps` of the block.
__device__ __forceinline__ void runFirst(const Block& block, const Steps& steps, const Storage* x, i64 pitch) {
  const auto fetch = [&](int step) {
    if (step < steps.count) block.fetch(x + steps.firstRow(step) * pitch, pitch, steps.rowsHere(step), step % stages);
  };
  if (bulk && block.warp == 0)
    for (int step = 0; step < stages; ++step) fetch(step);
  barrierWait(block.coresReady(), 0);
  for (int step = 0; step < steps.count; ++step) {
    const int stage = step % stages, buffer = step & 1;
    if constexpr (bulk) {
      barrierWait(block.full(stage), step / stages & 1);
    } else {
      asm volatile("bar.sync 1, %0;" ::"n"(32 * warps) : "memory");
      block.gather(x + steps.firstRow(step) * pitch, pitch, steps.rowsHere(step));
      asm volatile("bar.sync 1, %0;" ::"n"(32 * warps) : "memory");
    }
    const auto awaitBuffer = [&] {
      if (step >= 2) barrierWait(block.emptyZ(buffer), (step / 2 - 1) & 1);
    };
    for (int task = block.warp; task < tasks0; task += warps) {
      float acc[8][tilesPerTask][rowBlocks][4];
      block.multiply0(acc, task, stage);
      if (task == block.warp) awaitBuffer();
      block.send(acc, task, buffer);
    }
    if (block.warp >= tasks0) awaitBuffer();
    __syncwarp();
    if (clusterSize == 1 && block.lane == 0) barrierArrive(block.fullZ(buffer));
    if constexpr (bulk) {
      if (block.lane == 0) barrierArrive(block.empty(stage));
      if (block.warp == 0) {
        barrierWait(block.empty(stage), step / stages & 1);
        fetch(step + stages);
      }
    }
  }
}

/// Second product of every step, and its outputs; the other warps, numbered from 0.
__device__ __forceinline__ void runSecond(const Block& block, const Steps& steps, Storage* inner, const Epilogue& epilogue) {
  const bool counting = clusterSize > 1 && block.warp == 0 && block.lane == 0;
  if (counting)
    for (int buffer = 0; buffer < 2; ++buffer) barrierExpect(block.fullZ(buffer), block.bytesZ());
  barrierWait(block.coresReady(), 0);
  for (int step = 0; step < steps.count; ++step) {
    const int buffer = step & 1;
    barrierWait(block.fullZ(buffer), step / 2 & 1);
    if (counting) barrierExpect(block.fullZ(buffer), block.bytesZ());
    const auto release = [&] {
      __syncwarp();
      if (block.lane < clusterSize) barrierArriveRemote(block.emptyZ(buffer), block.lane);
    };
#if TESSERA_KEEP
    block.keep(inner, buffer, steps.firstRow(step), steps.rowsHere(step));
#endif
    const int tasks = TESSERA_OUTPUT ? block.outputsHere() * partsPerPiece : 0;
    if (block.warp >= tasks) release();
    for (int task = block.warp; task < tasks; task += warps) {
      float acc[rowBlocks][tilesPerPiece][4];
      block.multiply1(acc, task, buffer);
      if (task + warps >= tasks) release();
      block.finish(acc, task, epilogue, steps.firstRow(step), steps.rowsHere(step));
    }
  }
}

extern "C" __global__ void __cluster_dims__(clusterSize, 1, 1) __launch_bounds__(threads, 1) TESSERA_KERNEL(
    const Storage* __restrict__ x, const u32* __restrict__ packed, Storage* __restrict__ inner, EPILOGUE_PARAMETERS, int rows,
    int pitchX) {
  extern __shared__ __align__(128) u8 memory[];
  const int warp = threadIdx.x >> 5;
  const Block block{sharedAddress(memory), clusterSize > 1 ? (int)clusterRank() : 0, (int)threadIdx.x & 31, warp % warps};
  const Steps steps(rows);

  if (threadIdx.x == 0) {
    for (int stage = 0; stage < stages; ++stage) {
      barrierInit(block.full(stage), 1);
      barrierInit(block.empty(stage), warps);
    }
    for (int buffer = 0; buffer < 2; ++buffer) {
      barrierInit(block.fullZ(buffer), clusterSize > 1 ? 1 : warps);
      barrierInit(block.emptyZ(buffer), clusterSize * warps);
    }
    barrierInit(block.coresReady(), 1);
    fenceBarrierInit();
    barrierExpect(block.coresReady(), coreBytes);
    constexpr int piece = 16384;
    for (int offset = 0; offset < coreBytes; offset += piece)
      bulkCopy(block.shared + offset, packed + ((i64)block.self * coreBytes + offset) / 4, min(piece, coreBytes - offset),
               block.coresReady());
  }
  // What is never written, padding of pieces and chunks, must not be NaN.
  for (int i = offsetZ / 16 + threadIdx.x; i < offsetBarriers / 16; i += threads) ((uint4*)memory)[i] = make_uint4(0, 0, 0, 0);
  fenceAsync();
  // No block may be written to before its memory is zero and its barriers stand, nor end before the last arrives there.
  clusterSync();
  if (warp < warps)
    runFirst(block, steps, x, pitchX);
  else
    runSecond(block, steps, inner, EPILOGUE_ARGUMENT);
  clusterSync();
}
