// One Kronecker-sparse factor of pattern (a, b, c, d), batch first, and how the blocks of a grid divide it:
//
//     y[row][(i b + j) d + l] = sum over k of x[row][(i c + k) d + l] * w[i][j][k][l]      i < a, j < b, k < c, l < d
//
// which is a * d dense b x c products through a strided gather and scatter. A block takes one i, a slice of SLICE consecutive l
// and a part of PART outputs j, keeps their weights in shared memory, and lets rows stream through.
#pragma once
#include "Element.cuh"

constexpr int a = TESSERA_A, b = TESSERA_B, c = TESSERA_C, d = TESSERA_D;

__host__ __device__ constexpr int divideUp(int n, int m) { return (n + m - 1) / m; }

constexpr int slice = TESSERA_SLICE, slices = divideUp(d, slice);
constexpr int part = TESSERA_PART, parts = divideUp(b, part);
// A warp multiplies `width` of the slice's l, for `tiles` tiles of eight outputs each, and reads `group` of them at once.
constexpr int width = TESSERA_WIDTH, tiles = TESSERA_TILES;
constexpr int group = width % 8 == 0 ? 8 : width % 6 == 0 ? 6 : width % 4 == 0 ? 4 : width % 3 == 0 ? 3 : width % 2 == 0 ? 2 : 1;
constexpr int steps = divideUp(c, 16), partTiles = part / 8;
static_assert(slice % width == 0 && partTiles % tiles == 0 && part % 8 == 0, "whole units of work");

// Operands of the matrix units as they lie in registers: [l][tile][step][lane][2 words].
constexpr int fragmentWords = 64;
constexpr int partWords = slice * partTiles * steps * fragmentWords;

/// The contraction index that position `k` (0 ..< 16) of a step holds. With several l, lane q takes k = q + 4 e, so that the four
/// lanes of a row read neighbouring k; a single l is read by matrix loads, in order.
__device__ __forceinline__ int contractionIndex(int k) { return slice == 1 ? k : k / 8 * 8 + k % 8 / 2 + k % 2 * 4; }

/// The output (of the part) in column `column` of tile `tile`: a lane's columns of `tiles` tiles are 2 * tiles consecutive outputs.
__device__ __forceinline__ int outputOfColumn(int tile, int column) {
  return tile / tiles * 8 * tiles + column / 2 * 2 * tiles + tile % tiles * 2 + column % 2;
}
