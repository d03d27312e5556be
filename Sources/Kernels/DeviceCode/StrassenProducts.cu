// Strassen-Tile, products: for every plane p, C[p] = op(A[p]) op(B[p])^T over blocked planes (Planes.cuh), on Hopper (sm_90a).
//
// Forward: A = encoded activations [M/4, K/4], B = encoded weights [N/4, K/4]. Gradient of the encoded input: A = encoded output
// gradient [M/4, N/4], B = encoded weights taken along their rows (TESSERA_TRANSPOSED_B). Gradient of the encoded weights:
// A = encoded output gradient, B = encoded activations, both along their rows. float32 (TF32) has no transposed form.
//
// What is done with C is fixed at compile time by TESSERA_OUTPUT:
//   0  fragments (Fragments.cuh) [TESSERA_ENCODE 0]
//   1  row major [RANK][rows][columns] elements [TESSERA_ENCODE 0]
//   2  decoded in this kernel: y = activation(bias + decode(C)), SideWork.cuh; the fragments remain, for the gradient of the
//      decoder. With TESSERA_ENCODE 1 the planes A are made in this kernel too, from the rows of x.
//
//   a, b       blocked planes, padding zero. Block (i, k) of plane p, i along the rows of op(A), k along the contraction, is block
//              number p * aPlane + i * aOuter + k * aInner; the same for b. op(A) has 256 * mPairs rows, op(B)
//              TILE_COLUMNS * nBlocks. With TESSERA_ENCODE, a is an output, not transposed, of aOuter column blocks.
//   x          [rows, inputs], row pitch pitchX;  encoder, decoder  [RANK, 16];  bias  [columns], read only if hasBias
//   y          out [rows, columns], row pitch pitchY; rows that the map (RowMap.cuh) does not name keep their contents
//   counters   4 + 2 * mPairs * (nBlocks + 1) words, zero before every launch (Clear.cu), private to it
//   fragments  2 * mPairs * nBlocks * RANK * 128 * TILE_COLUMNS elements; need not be initialised
//   kBlocks    length of the contraction in blocks, at least 1
//   groupM, groupN   see Schedule.cuh; groupM at most 32 with TESSERA_ENCODE. Without decode, one group of all blocks
//              (if the operands of a plane fit the L2 cache) reads least from device memory: 0.66 against 0.72 ms at 8192^3, rank 24
//
// Launch: clusters of 2, one block an SM: grid 2 * min(number of SMs / 2, mPairs * nBlocks * RANK); 198656 bytes of shared memory;
// 512 threads with OUTPUT 2, otherwise 384. Any grid of at least one cluster is correct, whatever else runs: work is claimed by
// ticket; an encode waits for nothing; a tile waits for encodes, whose tickets come before the decodes that could hold their warps
// up; a decode waits for tiles, which the blocks that run go on claiming whatever their decodes wait for. So nothing can deadlock.
// Which block does what changes no result: every sum has one fixed order.
//
// Share of the limit (H200, bf16, 8192^3, OUTPUT 0, against the rate of a dense cuBLAS product in the same run): 93 % at rank 16,
// 92 % at 24, 95 % at 32; 4096 x 2048 x 5632: 68 to 71 % (tiles of eight contraction blocks spend a quarter of their time between
// tiles: 1.3 us of stores and 0.6 us until the next operands are used).
//
// Roles: warp 0 loads (the two blocks of a cluster share the B tile: each fetches half and multicasts it), warp 1 publishes
// finished tiles, warpgroups 1 and 2 multiply (64 x TILE_COLUMNS each), warpgroup 3 encodes and decodes. All begin with the
// first encodes; 1 and 2 end with the last decodes.
#include "SideWork.cuh"
#include "Warpgroup.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL strassen_products
#endif
#ifndef TESSERA_OUTPUT
#define TESSERA_OUTPUT 2
#endif
#ifndef TESSERA_ENCODE
#define TESSERA_ENCODE 0
#endif
#ifndef TESSERA_TRANSPOSED_A
#define TESSERA_TRANSPOSED_A 0
#endif
#ifndef TESSERA_TRANSPOSED_B
#define TESSERA_TRANSPOSED_B 0
#endif

constexpr bool transposedA = TESSERA_TRANSPOSED_A, transposedB = TESSERA_TRANSPOSED_B;
[[maybe_unused]] constexpr bool encodes = TESSERA_ENCODE, decodes = TESSERA_OUTPUT == 2;
constexpr int threads = decodes ? 512 : 384;
// Registers a thread by role, of 65536 in all.
constexpr int loaderRegisters = 56;
constexpr int consumerRegisters = decodes ? 160 : 224;
[[maybe_unused]] constexpr int sideRegisters = 136;
// With 128 registers to begin with, a single instruction cannot hold the accumulators of 256 columns.
constexpr int instructionColumns = decodes && tileColumns > 128 ? 128 : tileColumns;

constexpr int blocksA = tileRowsPerBlock / blockRows, blocksB = tileColumns / blockRows;
static_assert(blocksB % 2 == 0, "each block of a cluster fetches half of the B tile");
constexpr int stageBytes = (blocksA + blocksB) * blockBytes;
constexpr int stages = 196608 / stageBytes;

struct Control {
  u64 full[stages], empty[stages];
  u64 ticketFull[2], ticketEmpty[2];
  u64 stored[2], storedFree[2];
  Schedule::Place tile[stages];  // of a stage that begins one
  int ticket[2];
  int storedBlock[2];
};
static_assert(1024 + stages * stageBytes + sizeof(Control) <= 198656, "see the launch");

/// Transposes a 4 x 4 matrix of words over the four lanes of a quad: lane q gets word q of each of the lanes.
__device__ __forceinline__ void transposeQuad(u32 (&w)[4], int q) {
#pragma unroll
  for (int step = 1; step <= 2; step *= 2)
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int low = step == 1 ? 2 * i : i, high = low + step;
      const bool upper = q & step;
      const u32 received = __shfl_xor_sync(~0u, upper ? w[low] : w[high], step);
      if (upper) w[low] = received;
      else w[high] = received;
    }
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(threads, 1) TESSERA_KERNEL(
#if TESSERA_ENCODE
    const Storage* __restrict__ x, const Storage* __restrict__ encoder,
#else
    const Storage* a,
#endif
    const Storage* __restrict__ b,
#if TESSERA_OUTPUT == 2
    const Storage* __restrict__ basis, const Storage* __restrict__ bias,
#endif
    int* counters,
#if TESSERA_ENCODE
    Storage* a,
#endif
#if TESSERA_OUTPUT == 2
    Storage* fragments, Storage* y, ROW_MAP_PARAMETERS, int tileRows,
#if TESSERA_ENCODE
    int inputs, int pitchX,
#endif
    int columns, int pitchY, bool hasBias,
#elif TESSERA_OUTPUT == 1
    Storage* __restrict__ result, int rows, int columns,
#else
    Storage* __restrict__ fragments,
#endif
    int mPairs, int nBlocks, int kBlocks, int aPlane, int aOuter, int aInner, int bPlane, int bOuter, int bInner, int groupM,
    int groupN) {
  extern __shared__ u8 shared[];
  const u32 base = (sharedAddress(shared) + 1023) & ~1023u;
  u8* aligned1024 = shared + (base - sharedAddress(shared));
  Control& control = *reinterpret_cast<Control*>(aligned1024 + stages * stageBytes);

  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, group = threadIdx.x >> 7;
  const u32 self = clusterRank(), peer = self ^ 1;
  const Schedule schedule{mPairs, nBlocks, groupM, groupN};

  if (threadIdx.x == 0) {
    for (int i = 0; i < stages; ++i) {
      barrierInit(sharedAddress(&control.full[i]), 1);
      barrierInit(sharedAddress(&control.empty[i]), 16);
    }
    for (int i = 0; i < 2; ++i) {
      barrierInit(sharedAddress(&control.ticketFull[i]), 1);
      barrierInit(sharedAddress(&control.ticketEmpty[i]), 1);
      barrierInit(sharedAddress(&control.stored[i]), 8);
      barrierInit(sharedAddress(&control.storedFree[i]), 1);
    }
    fenceBarrierInit();
  }
  __syncthreads();
  const Counters progress{counters, 2 * mPairs};
#if TESSERA_OUTPUT == 2
  const Output output(y, hasBias ? bias : nullptr, ROW_MAP_ARGUMENT, tileRows, columns, pitchY);
#if TESSERA_ENCODE
  const Input input(x, ROW_MAP_ARGUMENT, tileRows, inputs, pitchX);
  const SideWork side{input, output, encoder, basis, a, fragments, aOuter, progress, schedule};
  side.first();
#else
  const Input input(nullptr, ROW_MAP_ARGUMENT, 0, 0, 0);
  const SideWork side{input, output, nullptr, basis, nullptr, fragments, 1, progress, schedule};
#endif
#endif
  clusterSync();

  if (group == 0) {
    registersDecrease<loaderRegisters>();
    if (warp == 0 && lane == 0) {
      // Load. The leader of the cluster draws tickets and hands each to its peer while the tile before it is under way.
      const int total = mPairs * nBlocks * rank;
      int stage = 0, phase = 0;
      int ticket = self == 0 ? atomicAdd(progress.tileTicket(), 1) : 0;
#if TESSERA_ENCODE
      int groupRow = -1;  // that `encoded` refers to: a bit for each pair whose planes are known to be there
      u32 encoded = 0;
      const int items = encodeItems(aOuter);
#endif
      for (int turn = 0;; ++turn) {
        const int slot = turn & 1, slotPhase = turn >> 1 & 1;
        if (self == 0) {
          if (turn == 0) storeRemote(sharedAddress(&control.ticket[0]), sharedAddress(&control.ticketFull[0]), peer, ticket);
        } else {
          barrierExpect(sharedAddress(&control.ticketFull[slot]), 4);
          barrierWait(sharedAddress(&control.ticketFull[slot]), slotPhase);
          ticket = *(volatile int*)&control.ticket[slot];
          barrierArriveRemote(sharedAddress(&control.ticketEmpty[slot]), peer);
        }
        if (ticket >= total) break;
        int next = 0;
        if (self == 0) next = atomicAdd(progress.tileTicket(), 1);
        const Schedule::Place place = schedule.place(ticket, rank, true);
        const int m = 2 * place.m + self;
#if TESSERA_ENCODE
        if (place.m / groupM != groupRow) groupRow = place.m / groupM, encoded = 0;
        if (!(encoded >> place.m % groupM & 1)) {
          awaitCount(progress.encoded(m), items);
          fenceAsync();
          encoded |= 1u << place.m % groupM;
        }
#endif
        const Storage* sourceA = a + ((i64)place.index * aPlane + (i64)m * blocksA * aOuter) * blockElements;
        const Storage* sourceB =
            b + ((i64)place.index * bPlane + (i64)(place.n * blocksB + self * (blocksB / 2)) * bOuter) * blockElements;
        const i64 strideA = (i64)aOuter * blockElements, strideB = (i64)bOuter * blockElements;
        const int handOver = min(3, kBlocks - 1);
        for (int k = 0; k < kBlocks; ++k) {
          barrierWait(sharedAddress(&control.empty[stage]), phase ^ 1);
          const u32 full = sharedAddress(&control.full[stage]);
          if (k == 0) control.tile[stage] = {m, place.n, place.index};
          barrierExpect(full, stageBytes);
          const u32 target = base + stage * stageBytes;
#pragma unroll
          for (int i = 0; i < blocksA; ++i) bulkCopy(target + i * blockBytes, sourceA + i * strideA, blockBytes, full);
#pragma unroll
          for (int i = 0; i < blocksB / 2; ++i)
            bulkCopyMulticast(
                target + (blocksA + self * (blocksB / 2) + i) * blockBytes, sourceB + i * strideB, blockBytes, full, 3);
          sourceA += (i64)aInner * blockElements;
          sourceB += (i64)bInner * blockElements;
          if (++stage == stages) stage = 0, phase ^= 1;
          if (self == 0 && k == handOver) {
            const int nextSlot = slot ^ 1, nextPhase = (turn + 1) >> 1 & 1;
            barrierWait(sharedAddress(&control.ticketEmpty[nextSlot]), nextPhase ^ 1);
            storeRemote(sharedAddress(&control.ticket[nextSlot]), sharedAddress(&control.ticketFull[nextSlot]), peer, next);
          }
        }
        ticket = next;
      }
      barrierWait(sharedAddress(&control.empty[stage]), phase ^ 1);
      control.tile[stage] = {-1, 0, 0};
      barrierArrive(sharedAddress(&control.full[stage]));
    }
    if (decodes && warp == 1 && lane == 0) {
      // Publish: what the multipliers stored becomes visible to every block, without any of them waiting for it.
      for (int turn = 0;; ++turn) {
        const int slot = turn & 1, slotPhase = turn >> 1 & 1;
        barrierWait(sharedAddress(&control.stored[slot]), slotPhase);
        const int block = *(volatile int*)&control.storedBlock[slot];
        if (block < 0) break;
        publish(progress.finished(block));
        barrierArrive(sharedAddress(&control.storedFree[slot]));
      }
    }
    __syncwarp();
  } else if (group <= 2) {
    registersIncrease<consumerRegisters>();
    float d[tileColumns / instructionColumns][instructionColumns / 2];
    [[maybe_unused]] constexpr int instructionWindows = instructionColumns / windowColumns;
    int stage = 0, phase = 0;
    const int strip = warp - 4;
    for ([[maybe_unused]] int turn = 0;; ++turn) {
      barrierWait(sharedAddress(&control.full[stage]), phase);
      const int m = *(volatile int*)&control.tile[stage].m, n = *(volatile int*)&control.tile[stage].n;
      const int plane = *(volatile int*)&control.tile[stage].index;
#if TESSERA_OUTPUT == 2
      const int slot = turn & 1, slotPhase = turn >> 1 & 1;
#endif
      if (m < 0) {
#if TESSERA_OUTPUT == 2
        if (lane == 0) {
          barrierWait(sharedAddress(&control.storedFree[slot]), slotPhase ^ 1);
          if (strip == 0) control.storedBlock[slot] = -1;
          barrierArrive(sharedAddress(&control.stored[slot]));
        }
#endif
        break;
      }
      int previous = 0;
      for (int k = 0; k < kBlocks; ++k) {
        if (k > 0) barrierWait(sharedAddress(&control.full[stage]), phase);
        const u32 operands = base + stage * stageBytes;
        const u64 descriptorA = operandDescriptor<transposedA>(operands + (group - 1) * blockBytes);
        const u64 descriptorB = operandDescriptor<transposedB>(operands + blocksA * blockBytes);
        wgmmaFence();
#pragma unroll
        for (int step = 0; step < 4; ++step)
#pragma unroll
          for (int part = 0; part < tileColumns / instructionColumns; ++part)
            WarpgroupProduct<instructionColumns, transposedA, transposedB>::run(
                d[part], descriptorA + step * descriptorStep<transposedA>,
                descriptorB + step * descriptorStep<transposedB> + part * (instructionColumns / blockRows * blockBytes >> 4),
                (k | step) != 0);
        wgmmaCommit();
        if (k > 0) {
          wgmmaWait<1>();
          if (lane == 0) barrierArrive(sharedAddress(&control.empty[previous]));
          if (lane == 1) barrierArriveRemote(sharedAddress(&control.empty[previous]), peer);
        }
        previous = stage;
        if (++stage == stages) stage = 0, phase ^= 1;
      }
      wgmmaWait<0>();
      if (lane == 0) barrierArrive(sharedAddress(&control.empty[previous]));
      if (lane == 1) barrierArriveRemote(sharedAddress(&control.empty[previous]), peer);

#if TESSERA_OUTPUT == 1
      const int g = lane >> 2, q = lane & 3;
      Storage* product = result + (i64)plane * rows * columns;
      [[maybe_unused]] const bool aligned = ((u64)result & 15) == 0 && columns % vectorLength == 0;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = m * tileRowsPerBlock + strip * 16 + half * 8 + g;
        Storage* target = product + (i64)row * columns;
#if TESSERA_ELEMENT == 2
#pragma unroll
        for (int j = 0; j < tileColumns / 8; ++j) {
          const int column = n * tileColumns + 8 * j + 2 * q;
          if (row < rows && column < columns) target[column] = __float_as_uint(d[8 * j / instructionColumns][8 * j % instructionColumns / 2 + 2 * half]);
          if (row < rows && column + 1 < columns) target[column + 1] = __float_as_uint(d[8 * j / instructionColumns][8 * j % instructionColumns / 2 + 2 * half + 1]);
        }
#else
#pragma unroll
        for (int window = 0; window < tileColumns / 32; ++window) {
          u32 w[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int j = 4 * window + i;
            w[i] = Element::pack(d[8 * j / instructionColumns][8 * j % instructionColumns / 2 + 2 * half], d[8 * j / instructionColumns][8 * j % instructionColumns / 2 + 2 * half + 1]);
          }
          transposeQuad(w, q);
          const int column = n * tileColumns + 32 * window + 8 * q;
          if (row >= rows || column >= columns) continue;
          if (aligned) {
            storeStreaming(target + column, make_uint4(w[0], w[1], w[2], w[3]));
          } else {
#pragma unroll
            for (int i = 0; i < 8; ++i)
              if (column + i < columns) target[column + i] = (u16)(w[i / 2] >> 16 * (i % 2));
          }
        }
#endif
      }
#else
      Storage* target = fragments + fragmentOffset(m * nBlocks + n, strip, plane) + lane * vectorLength;
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int window = 0; window < windows; ++window) {
          Storage* chunk = target + (half * windows + window) * windowElements;
#if TESSERA_ELEMENT == 2
          const float* v = &d[window / instructionWindows][8 * (window % instructionWindows) + 2 * half];
          store8(chunk, v[0], v[1]);
          store8(chunk + 2, v[4], v[5]);
#else
          const float* v = &d[window / instructionWindows][16 * (window % instructionWindows) + 2 * half];
          store16(chunk, make_uint4(Element::pack(v[0], v[1]), Element::pack(v[4], v[5]), Element::pack(v[8], v[9]),
                                    Element::pack(v[12], v[13])));
#endif
        }
#endif
#if TESSERA_OUTPUT == 2
      __syncwarp();
      if (lane == 0) {
        barrierWait(sharedAddress(&control.storedFree[slot]), slotPhase ^ 1);
        if (strip == 0) control.storedBlock[slot] = m * nBlocks + n;
        barrierArrive(sharedAddress(&control.stored[slot]));
      }
#endif
    }
#if TESSERA_OUTPUT == 2
    __syncwarp();
    side.rest<encodes>();
  } else {
    registersIncrease<sideRegisters>();
    side.rest<encodes>();
#endif
  }
  // A block must not leave while its peer may still copy into it or arrive on its barriers.
  __syncwarp();
  clusterSync();
}
