// Strassen-Tile, products: for every plane p, C[p] = op(A[p]) op(B[p])^T over blocked planes (Planes.cuh), on Hopper (sm_90a).
//
// Forward: A = encoded activations [M/4, K/4], B = encoded weights [N/4, K/4]. Gradient of the encoded input: A = encoded output
// gradient [M/4, N/4], B = encoded weights taken along their rows (TESSERA_TRANSPOSED_B). Gradient of the encoded weights:
// A = encoded output gradient, B = encoded activations, both along their rows. float32 (TF32) has no transposed form.
//
// What is done with C is fixed at compile time by TESSERA_OUTPUT:
//   0  fragments (Fragments.cuh), for a decode of its own
//   1  row major [RANK][rows][columns] elements
//   2  decoded in this kernel: y = activation(bias + decode(C)), see StrassenDecode.cuh. Fragments pass through `fragments`.
//
//   a, b       blocked planes. Block (i, k) of plane p, i along the rows of op(A), k along the contraction, is block number
//              p * aPlane + i * aOuter + k * aInner; the same for b. op(A) has 256 * mPairs rows, op(B) TILE_COLUMNS * nBlocks.
//   counters   4 + 2 * mPairs * nBlocks words, zero before every launch (Clear.cu), private to it
//   fragments  2 * mPairs * nBlocks * RANK * 128 * TILE_COLUMNS elements; need not be initialised
//   kBlocks    length of the contraction in blocks, at least 1
//   groupM, groupN   pairs and block columns in a group: a group's tiles run plane by plane before the next group begins, so
//              that its operands and fragments stay in the L2 cache and its decode runs beside the next group's products
//
// Launch: clusters of 2, one block an SM: grid 2 * min(number of SMs / 2, mPairs * nBlocks * RANK); 384 threads, 231424
// bytes of shared memory with decode, 198656 without. Any grid of at least one cluster is correct: tiles
// are claimed by ticket, a claimed tile never waits for another, and a decode waits only for tiles that running blocks have
// claimed, so no schedule of blocks can deadlock. Results do not depend on the schedule: every sum has one fixed order.
//
// Roles: warp 0 loads (two blocks of a cluster share the B tile: each fetches half and multicasts it), warp 1 publishes finished
// tiles, warps 2 and 3 decode, warpgroups 1 and 2 multiply (64 x TILE_COLUMNS each) and in the end decode too.
#include "Async.cuh"
#include "Fragments.cuh"
#include "Warpgroup.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL strassen_products
#endif
#ifndef TESSERA_OUTPUT
#define TESSERA_OUTPUT 2
#endif
#ifndef TESSERA_TRANSPOSED_A
#define TESSERA_TRANSPOSED_A 0
#endif
#ifndef TESSERA_TRANSPOSED_B
#define TESSERA_TRANSPOSED_B 0
#endif

constexpr bool transposedA = TESSERA_TRANSPOSED_A, transposedB = TESSERA_TRANSPOSED_B;
constexpr bool decodes = TESSERA_OUTPUT == 2;
constexpr int threads = 384;
// 168 a thread at the start; the accumulators need 128 and more in warpgroups 1 and 2.
constexpr int loaderRegisters = decodes ? 152 : 56;
constexpr int consumerRegisters = decodes ? 176 : 224;

constexpr int blocksA = tileRowsPerBlock / blockRows, blocksB = tileColumns / blockRows;
static_assert(blocksB % 2 == 0, "each block of a cluster fetches half of the B tile");
constexpr int stageBytes = (blocksA + blocksB) * blockBytes;
constexpr int stages = 196608 / stageBytes;

struct Schedule {
  int mPairs, nBlocks, groupM, groupN;

  struct Place {
    int m, n, index;
  };

  /// Splits a ticket into a group and a position in it; `items` tickets for each pair of output blocks. With `outer`, the index
  /// of the item varies slowest inside a group (planes of a group's tiles), otherwise fastest.
  __device__ __forceinline__ Place place(int ticket, int items, bool outer) const {
    const int perRow = groupM * nBlocks * items;
    const int groupRow = ticket / perRow;
    int rest = ticket - groupRow * perRow;
    const int height = min(groupM, mPairs - groupRow * groupM);
    const int perGroup = height * groupN * items;
    const int groupColumn = rest / perGroup;
    rest -= groupColumn * perGroup;
    const int width = min(groupN, nBlocks - groupColumn * groupN);
    const int cells = height * width;
    const int index = outer ? rest / cells : rest % items;
    const int cell = outer ? rest - index * cells : rest / items;
    return {groupRow * groupM + cell % height, groupColumn * groupN + cell / height, index};
  }
};

struct Control {
  u64 full[stages], empty[stages];
  u64 ticketFull[2], ticketEmpty[2];
  u64 stored[2], storedFree[2];
  Schedule::Place tile[stages];  // of a stage that begins one
  int ticket[2];
  int storedBlock[2];
};

// A decoding warp keeps copies of fragments in flight through a ring of steps in shared memory, in which every lane reads only
// what it asked for itself. Warps 2 and 3 have rings of their own; the multipliers reuse the stages once these are idle.
constexpr int decodingWarps = decodes ? 2 : 0;
constexpr int ringBytes = 16384;
constexpr int stepBytes = rankSteps * 1024;
constexpr int ringSteps = ringBytes / stepBytes;
static_assert(!decodes || ringSteps >= 2, "ranks up to 64");
static_assert(1024 + stages * stageBytes + sizeof(Control) + decodingWarps * ringBytes <= 231424, "see the launch");

/// Decodes pieces by ticket until none is left; called by whole warps, each with its ring.
__device__ __forceinline__ void decodePieces(
    const Storage* fragments, const Storage* basis, const Output& output, int* counters, const Schedule& schedule, u32 ring) {
  const int lane = threadIdx.x & 31, q = lane & 3;
  const int total = schedule.mPairs * schedule.nBlocks * 2 * piecesPerBlock;
  Decoder decoder;
  decoder.load(basis, lane);
  ring += lane * 16;
  int next = lane == 0 ? atomicAdd(counters + 1, 1) : 0;
  while (true) {
    const int ticket = __shfl_sync(~0u, next, 0);
    if (ticket >= total) return;
    if (lane == 0) next = atomicAdd(counters + 1, 1);
    const Schedule::Place place = schedule.place(ticket, 2 * piecesPerBlock, false);
    const int m = 2 * place.m + place.index / piecesPerBlock;
    const Piece piece(fragments, output, m, place.n, schedule.nBlocks, place.index % piecesPerBlock, lane);
    if (piece.firstRow >= output.tileRows) continue;
    if (lane == 0) awaitCount(counters + 4 + m * schedule.nBlocks + place.n, rank);
    __syncwarp();

    // Slots of the ring: `ahead` is the next to fill, `slot` the next to read.
    int requested = 0;
    u32 ahead = ring, slot = ring;
    const auto request = [&] {
      if (requested < Piece::steps) {
        const Storage* source = piece.chunk(requested) + 2 * q * stripElements;
#pragma unroll
        for (int i = 0; i < 2 * rankSteps; ++i) {
          const int plane = 8 * (i / 2) + i % 2;
          const bool present = plane + 6 < rank || plane + 2 * q < rank;
          asyncCopy(ahead + i * 512, present ? source + plane * stripElements : source, present);
        }
        ahead = ahead + stepBytes == ring + ringSteps * stepBytes ? ring : ahead + stepBytes;
        ++requested;
      }
      asyncCommit();
    };
#pragma unroll 1
    for (int step = 0; step < ringSteps - 1; ++step) request();
#pragma unroll 1
    for (int window = 0; window < windowsPerPiece; ++window)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        request();
        asyncWait<ringSteps - 1>();
        PlaneChunks chunks;
#pragma unroll
        for (int s = 0; s < rankSteps; ++s) {
          chunks.chunk[s][0] = loadFromShared(slot + 2 * s * 512);
          chunks.chunk[s][1] = loadFromShared(slot + (2 * s + 1) * 512);
        }
        slot = slot + stepBytes == ring + ringSteps * stepBytes ? ring : slot + stepBytes;
        decoder.decode(chunks, piece.rows[i], piece.firstTile + window * windowColumns, 8, output);
      }
  }
}

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
    const Storage* __restrict__ a, const Storage* __restrict__ b,
#if TESSERA_OUTPUT == 2
    const Storage* __restrict__ basis, const Storage* __restrict__ bias,
#endif
    int* counters,
#if TESSERA_OUTPUT == 2
    Storage* fragments, Storage* y, ROW_MAP_PARAMETERS, int tileRows, int columns, int pitchY, bool hasBias,
#elif TESSERA_OUTPUT == 1
    Storage* __restrict__ result, int rows, int columns,
#else
    Storage* __restrict__ fragments,
#endif
    int mPairs, int nBlocks, int kBlocks, int aPlane, int aOuter, int aInner, int bPlane, int bOuter, int bInner, int groupM,
    int groupN) {
  extern __shared__ u8 shared[];
  const u32 base = (sharedAddress(shared) + 1023) & ~1023u;
  [[maybe_unused]] const u32 rings = base + stages * stageBytes;
  Control& control = *reinterpret_cast<Control*>(
      shared + (base - sharedAddress(shared)) + stages * stageBytes + decodingWarps * ringBytes);

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
  clusterSync();

  if (group == 0) {
    registersDecrease<loaderRegisters>();
    if (warp == 0 && lane == 0) {
      // Load. The leader of the cluster draws tickets and hands each to its peer while the tile before it is under way.
      const int total = mPairs * nBlocks * rank;
      int stage = 0, phase = 0;
      int ticket = self == 0 ? atomicAdd(counters, 1) : 0;
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
        if (self == 0) next = atomicAdd(counters, 1);
        const Schedule::Place place = schedule.place(ticket, rank, true);
        const int m = 2 * place.m + self;
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
        publish(counters + 4 + block);
        barrierArrive(sharedAddress(&control.storedFree[slot]));
      }
    }
    __syncwarp();
#if TESSERA_OUTPUT == 2
    if (warp >= 2) {
      const Output output(y, hasBias ? bias : nullptr, ROW_MAP_ARGUMENT, tileRows, columns, pitchY);
      decodePieces(fragments, basis, output, counters, schedule, rings + (warp - 2) * ringBytes);
    }
#endif
  } else {
    registersIncrease<consumerRegisters>();
    float d[tileColumns / 2];
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
          WarpgroupProduct<tileColumns, transposedA, transposedB>::run(
              d, descriptorA + step * descriptorStep<transposedA>, descriptorB + step * descriptorStep<transposedB>,
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
          if (row < rows && column < columns) target[column] = __float_as_uint(d[4 * j + 2 * half]);
          if (row < rows && column + 1 < columns) target[column + 1] = __float_as_uint(d[4 * j + 2 * half + 1]);
        }
#else
#pragma unroll
        for (int window = 0; window < tileColumns / 32; ++window) {
          u32 w[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int j = 4 * window + i;
            w[i] = Element::pack(d[4 * j + 2 * half], d[4 * j + 2 * half + 1]);
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
          const int j = 8 * window + 2 * half;
          store8(chunk, d[j], d[j + 1]);
          store8(chunk + 2, d[j + 4], d[j + 5]);
#else
          const int j = 16 * window + 2 * half;
          store16(chunk, make_uint4(Element::pack(d[j], d[j + 1]), Element::pack(d[j + 4], d[j + 5]),
                                    Element::pack(d[j + 8], d[j + 9]), Element::pack(d[j + 12], d[j + 13])));
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
    const Output output(y, hasBias ? bias : nullptr, ROW_MAP_ARGUMENT, tileRows, columns, pitchY);
    decodePieces(fragments, basis, output, counters, schedule, base + strip * ringBytes);
#endif
  }
  // A block must not leave while its peer may still copy into it or arrive on its barriers.
  __syncwarp();
  clusterSync();
}
