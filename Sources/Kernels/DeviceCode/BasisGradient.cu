// Strassen-Tile, gradients of the bases. With C[p] the planes of a product and z a matrix whose rows form tiles under the map,
//
//     gradient[p][4a + b] = sum over (g, j) of C[p][g][j] * z[row(g, a)][4j + b]
//
// The decoder's gradient takes C of the forward products and z = dY; the encoder's takes C = dXh of the backward products, z = X.
//
//   planes     [RANK][tileRows][pitchPlanes], pitchPlanes a multiple of 16 bytes, zeros beyond the columns
//   z          [rows, columns], row pitch pitchZ; tileRows tile rows exist
//   partials   out, float32 [blocks][RANK, 16]; summed in order by TESSERA_SUM = 1: gradient [RANK, 16] float32
//
// Launch: grid of any number of blocks (2 an SM), 256 threads. The sum: 256 threads, grid ceil(RANK * 16 / 256), `count` partials.
// Deterministic for a given grid. Contraction over positions on the warp-wide matrix units; a lane gathers its elements of z one
// by one, so this is bound by load instructions, not by bytes: a gradient that is wanted rarely (bases are frozen or learn slowly).
#include "Rank.cuh"
#include "RowMap.cuh"
#include "TensorCore.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL basis_gradient
#endif
#ifndef TESSERA_SUM
#define TESSERA_SUM 0
#endif

#if TESSERA_SUM
extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const float* __restrict__ partials, float* __restrict__ gradient, int count) {
  const int i = blockIdx.x * 256 + threadIdx.x;
  if (i >= rank * 16) return;
  float sum = 0.0f;
  for (int k = 0; k < count; ++k) sum += partials[(i64)k * rank * 16 + i];
  gradient[i] = sum;
}
#else
constexpr int rankTiles = (rank + 15) / 16;
constexpr int warps = 8;
constexpr int windowColumns = 4 * vectorLength;

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ planes, const Storage* __restrict__ z, float* __restrict__ partials, ROW_MAP_PARAMETERS,
    int tileRows, int columns, int pitchZ, int pitchPlanes) {
  __shared__ float sums[warps][16][16];
  const RowMap map = ROW_MAP_ARGUMENT;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3;
  float d[rankTiles][2][4];
#pragma unroll
  for (int m = 0; m < rankTiles; ++m)
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) d[m][n][i] = 0.0f;

  // A unit of work is a window, 4 * vectorLength positions of one tile row, in four (float32: two) contraction steps of eight:
  // in step s, lane q takes the positions 8 s + 2 q and the next.
  const i64 planeStride = (i64)tileRows * pitchPlanes;
  const int across = (pitchPlanes + windowColumns - 1) / windowColumns;
  const i64 units = (i64)tileRows * across;
  for (i64 unit = blockIdx.x * warps + warp; unit < units; unit += gridDim.x * warps) {
    const int tileRow = (int)(unit / across), firstTile = (int)(unit % across) * windowColumns;
    if (4 * firstTile >= columns) continue;
    const Storage* source = planes + (i64)tileRow * pitchPlanes + firstTile + 2 * q;
    const auto exists = [&](int s) { return firstTile + 8 * s + 2 * q < pitchPlanes; };
    // Column n = g of half h is position 8 h + g: row 2 h + g / 4, column g mod 4 of the tile.
    const Storage* rows[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int r = map.row(tileRow, 2 * h + g / 4);
      rows[h] = r < 0 ? nullptr : z + (i64)r * pitchZ;
    }
    const auto element = [&](int h, int tile) -> Storage {
      const int column = 4 * tile + g % 4;
      return rows[h] != nullptr && column < columns ? rows[h][column] : (Storage)0;
    };
#pragma unroll
    for (int s = 0; s < 4; ++s) {
#if TESSERA_ELEMENT == 2
      if (s >= 2) break;
      u32 b[2][2];
#pragma unroll
      for (int h = 0; h < 2; ++h)
#pragma unroll
        for (int i = 0; i < 2; ++i) b[h][i] = Element::round(__uint_as_float(element(h, firstTile + 8 * s + 2 * q + i)));
#pragma unroll
      for (int m = 0; m < rankTiles; ++m) {
        u32 a[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int plane = 16 * m + 8 * (i % 2) + g;
          const Storage v = plane < rank && exists(s) ? source[plane * planeStride + 8 * s + i / 2] : 0u;
          a[i] = Element::round(__uint_as_float(v));
        }
        multiplyAccumulate(d[m][0], a, b[0]);
        multiplyAccumulate(d[m][1], a, b[1]);
      }
#else
      u32 b[2][1];
#pragma unroll
      for (int h = 0; h < 2; ++h)
        b[h][0] = (u32)element(h, firstTile + 8 * s + 2 * q) | (u32)element(h, firstTile + 8 * s + 2 * q + 1) << 16;
#pragma unroll
      for (int m = 0; m < rankTiles; ++m) {
        u32 a[2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int plane = 16 * m + 8 * i + g;
          a[i] = plane < rank && exists(s) ? *(const u32*)(source + plane * planeStride + 8 * s) : 0u;
        }
        multiplyAccumulate(d[m][0], a, b[0]);
        multiplyAccumulate(d[m][1], a, b[1]);
      }
#endif
    }
  }

#pragma unroll
  for (int m = 0; m < rankTiles; ++m) {
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[warp][8 * (i / 2) + g][8 * n + 2 * q + i % 2] = d[m][n][i];
    __syncthreads();
    const int plane = threadIdx.x / 16, position = threadIdx.x % 16;
    float sum = 0.0f;
    for (int k = 0; k < warps; ++k) sum += sums[k][plane][position];
    if (16 * m + plane < rank) partials[((i64)blockIdx.x * rank + 16 * m + plane) * 16 + position] = sum;
    __syncthreads();
  }
}
#endif
