// One Kronecker-sparse factor of pattern (a, b, c, d), batch first, for Hopper's warpgroups, and how a grid divides it:
//
//     y[row][(i b + j) d + l] = sum over k of x[row][(i c + k) d + l] * w[i][j][k][l]      i < a, j < b, k < c, l < d
//
// A block takes one i, a slice of SLICE consecutive l and a part of the outputs j. Two warpgroups multiply: each takes 64 rows, WIDTH of the
// slice's l and 8 * TILES outputs, and they differ in l, in outputs or in rows.
#pragma once
#include "Element.cuh"

constexpr int a = TESSERA_A, b = TESSERA_B, c = TESSERA_C, d = TESSERA_D;

__host__ __device__ constexpr int divideUp(int n, int m) { return (n + m - 1) / m; }

constexpr int slice = TESSERA_SLICE, slices = divideUp(d, slice);
constexpr int width = TESSERA_WIDTH, tiles = TESSERA_TILES, columns = 8 * tiles, columnUnits = TESSERA_COLUMN_UNITS;
constexpr int part = columns * columnUnits, parts = divideUp(b, part), partTiles = part / 8;
/// Whether a lane's k of a step follow one another: where no access of 8 or 16 bytes takes l of one k, it takes all l of those k.
constexpr bool together = TESSERA_TOGETHER;
static_assert(!together || width == d, "all l in one lane");
static_assert(slice % width == 0, "whole units of work");

// A step is what one instruction contracts: 32 bytes. A chunk of steps is one stage; the contraction is padded to whole chunks.
constexpr int stepLength = 32 / Element::bytes, chunkSteps = TESSERA_CHUNK_STEPS, chunk = chunkSteps * stepLength;
constexpr int chunks = divideUp(c, chunk), steps = chunks * chunkSteps;

// Exact float32: every number is the sum of two of TF32's, and three of the four products are taken.
constexpr bool exact = TESSERA_EXACT;
constexpr int copies = exact ? 2 : 1;
/// Bytes of the weights of one step and l, [copy][tile][half step][column][16 bytes], and of a step and a block.
constexpr int matrixBytes = part * 32, letterBytes = copies * matrixBytes, stepBytes = slice * letterBytes;
constexpr int blockBytes = steps * stepBytes;

/// The contraction index of position `k` of a step. 16-bit: lane q takes k = q + 4 e, so that the four lanes of a row read neighbours, or
/// (together) 4 q + e; float32: q + 4 e or 2 q + e.
__device__ __forceinline__ int contractionIndex(int k) {
  if constexpr (together) return Element::bytes == 4 ? k % 4 * 2 + k / 4 : k % 8 / 2 * 4 + k / 8 * 2 + k % 2;
  return Element::bytes == 4 ? k : k / 8 * 8 + k % 8 / 2 + k % 2 * 4;
}

/// The output (of the part) in column `column` of tile `tile`: a lane's columns of a unit are 2 * tiles consecutive outputs, with
/// NEIGHBOURS the four lanes of a row have neighbours.
__device__ __forceinline__ int outputOfColumn(int tile, int column) {
  if constexpr (TESSERA_NEIGHBOURS) return tile * 8 + column % 2 * 4 + column / 2;
  return tile / tiles * columns + column / 2 * 2 * tiles + tile % tiles * 2 + column % 2;
}
