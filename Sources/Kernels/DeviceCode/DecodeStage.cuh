// Strassen-Tile, decode of fragments (Fragments.cuh) inside a products kernel:
//
//     y[row(g, a)][4j + b] = activation(bias[4j + b] + sum over p of C[p][g][j] * basis[p][4a + b])
//
// This runs while the tensor cores are busy with the products, so it keeps off them: a warp-wide matrix instruction would wait
// its turn behind wgmma for hundreds of cycles (measured: the decode then takes five times as long). The multiply-adds, RANK
// times the outputs, fit the idle float32 units: a lane takes one 32-bit word of every plane (two positions; float32: one) and
// accumulates their 4 x 4 outputs; the basis comes from shared memory, one broadcast read for four of its values.
//
// A warp keeps 1 KiB pieces of fragments (eight planes of a step) in flight in a ring of its own in shared memory.
#pragma once
#include "Async.cuh"
#include "Fragments.cuh"
#include "Output.cuh"

constexpr int rankUnits = (rank + 7) / 8;
constexpr int unitBytes = 1024;
#if defined(TESSERA_ENCODE) && TESSERA_ENCODE
constexpr int ringUnits = rank > 32 ? 6 : 7;  // beside two bases
#else
constexpr int ringUnits = 7;
#endif
constexpr int ringBytes = ringUnits * unitBytes;
/// A basis in shared memory: float32, [planes rounded up to 8][16], zero beyond the rank.
constexpr int basisBytes = rankUnits * 8 * 16 * 4;

/// Positions in a 32-bit word.
constexpr int wordPositions = 4 / Element::bytes;

/// What a warp decodes in one go: a few windows of a strip. A step is two rows of a window.
constexpr int piecesPerStrip = 8;
constexpr int piecesPerBlock = stripsPerBlock * piecesPerStrip;
constexpr int windowsPerPiece = 2 * windows / piecesPerStrip;
constexpr int stepsPerPiece = 4 * windowsPerPiece;

/// Lays `basis` [RANK, 16] out at `target`, by `count` threads.
__device__ __forceinline__ void stageBasis(float* target, const Storage* basis, int thread, int count) {
  for (int i = thread; i < rankUnits * 8 * 16; i += count) target[i] = i < rank * 16 ? storageValue(basis[i]) : 0.0f;
}

__device__ __forceinline__ float4 loadFloats(u32 address) {
  float4 v;
  asm("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "r"(address));
  return v;
}

/// The values of a word.
__device__ __forceinline__ void unpack(float (&values)[wordPositions], u32 word) {
#if TESSERA_ELEMENT == 2
  values[0] = __uint_as_float(word);
#else
  values[0] = Element::value((u16)word);
  values[1] = Element::value((u16)(word >> 16));
#endif
}

/// Decodes piece `piece` of block (m, n); called by a whole warp. `basis` and `ring` are addresses in shared memory.
__device__ __forceinline__ void decodePiece(
    const Storage* fragments, const Output& output, int m, int n, int nBlocks, int piece, u32 basis, u32 ring) {
  const int lane = threadIdx.x & 31;
  const int strip = piece / piecesPerStrip;
  const int window = piece % piecesPerStrip * windowsPerPiece;
  const int firstRow = m * tileRowsPerBlock + strip * 16 + window / windows * 8;
  if (firstRow >= output.tileRows) return;

  // Word i of chunk c of a step (lane 4 c + i) belongs to lane 8 step + c of the multipliers: row 2 step + c / 4 of the strip's
  // half, columns 8 (i / (2 / wordPositions)) + 2 (c mod 4) + ... of the window.
  const int c = lane >> 2, element = (lane & 3) * wordPositions;
  const int tile = n * tileColumns + window % windows * windowColumns + 8 * (element / 2) + 2 * (c & 3) + element % 2;

  // Copies: 64 chunks of 16 bytes a unit, two a lane.
  const Storage* source = fragments + fragmentOffset(m * nBlocks + n, strip, 0) + window * windowElements
      + (lane >> 3) * stripElements + (lane & 7) * vectorLength;
  int requestStep = 0, requestUnit = 0;
  u32 requestSlot = ring;
  const auto request = [&] {
    if (requestStep < stepsPerPiece) {
#pragma unroll
      for (int part = 0; part < 2; ++part) {
        const int plane = requestUnit * 8 + part * 4 + (lane >> 3);
        const bool present = plane < rank;
        const Storage* from = source + requestStep * (8 * vectorLength) + (requestUnit * 8 + part * 4) * stripElements;
        asyncCopy(requestSlot + part * 512 + lane * 16, present ? from : source, present);
      }
      if (++requestUnit == rankUnits) requestUnit = 0, ++requestStep;
      requestSlot = requestSlot == ring + (ringUnits - 1) * unitBytes ? ring : requestSlot + unitBytes;
    }
    asyncCommit();
  };
  __syncwarp();  // the ring may still be read by another lane, for the piece before
#pragma unroll 1
  for (int i = 0; i < ringUnits - 1; ++i) request();

  u32 slot = ring;
  float biases[4 * wordPositions];
#pragma unroll 1
  for (int step = 0; step < stepsPerPiece; ++step) {
    const int column = 4 * (tile + step / 4 * windowColumns);
    if (step % 4 == 0) output.loadBias(biases, column);
    float sum[4][4 * wordPositions];
#pragma unroll
    for (int a = 0; a < 4; ++a)
#pragma unroll
      for (int i = 0; i < 4 * wordPositions; ++i) sum[a][i] = 0.0f;
#pragma unroll 1
    for (int unit = 0; unit < rankUnits; ++unit) {
      asyncWait<ringUnits - 2>();
      __syncwarp();
      request();
#pragma unroll
      for (int plane = 0; plane < 8; ++plane) {
        float values[wordPositions];
        unpack(values, loadWord(slot + plane * 128 + lane * 4));
#pragma unroll
        for (int a = 0; a < 4; ++a) {
          const float4 factor = loadFloats(basis + ((unit * 8 + plane) * 16 + 4 * a) * 4);
#pragma unroll
          for (int i = 0; i < wordPositions; ++i) {
            sum[a][4 * i] += values[i] * factor.x;
            sum[a][4 * i + 1] += values[i] * factor.y;
            sum[a][4 * i + 2] += values[i] * factor.z;
            sum[a][4 * i + 3] += values[i] * factor.w;
          }
        }
      }
      slot = slot == ring + (ringUnits - 1) * unitBytes ? ring : slot + unitBytes;
    }
    const int tileRow = firstRow + step % 4 * 2 + (c >> 2);
    if (tileRow >= output.tileRows || column >= output.columns) continue;
    int present;
    const int row = output.map.first(tileRow, present);
#pragma unroll
    for (int a = 0; a < 4; ++a)
      if (a < present) output.store(row + a * output.map.subStride, column, sum[a], biases);
  }
  asyncWait<0>();
}
