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
// Launch: any number of blocks (4 an SM), 256 threads. The sum: RANK blocks of 256 threads, `count` partials.
// Deterministic for a given number of blocks. Both operands are read once, 16 bytes at a time.
//
// The contraction runs over tiles, in whatever order, as long as both operands follow it. Lane (g, q) takes the 16 bytes of planes g
// and g + 8 (of each 16) that are its own vectorLength tiles of a window: they are the A operand as they lie. For the same tiles it
// reads row g mod 4 of z, 64 bytes, and picks the elements b = g / 4 and b = 2 + g / 4 of each tile for two B operands: column g of
// operand c is position 4 (g mod 4) + 2 c + g / 4.
#include "Rank.cuh"
#include "TensorCore.cuh"
#include "TileInput.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL basis_gradient
#endif
#ifndef TESSERA_SUM
#define TESSERA_SUM 0
#endif

#if TESSERA_SUM
extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const float* __restrict__ partials, float* __restrict__ gradient, int count) {
  __shared__ float sums[16][16];
  const int slice = threadIdx.x / 16, position = threadIdx.x % 16;
  float sum = 0.0f;
  for (int k = slice; k < count; k += 16) sum += partials[((i64)k * rank + blockIdx.x) * 16 + position];
  sums[slice][position] = sum;
  __syncthreads();
  if (slice > 0) return;
  for (int k = 1; k < 16; ++k) sum += sums[k][position];
  gradient[blockIdx.x * 16 + position] = sum;
}
#else
constexpr int rankTiles = (rank + 15) / 16;
constexpr int warps = 8;
constexpr int windowTiles = 4 * vectorLength;

__device__ __forceinline__ u32 word(const uint4& v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

/// The A operand of a step from the lane's tiles of planes g and g + 8.
__device__ __forceinline__ void operandA(u32 (&a)[fragmentWordsA], const uint4 (&planes)[2], int step) {
#if TESSERA_ELEMENT == 2
  a[0] = Element::round(__uint_as_float(word(planes[0], 2 * step)));
  a[1] = Element::round(__uint_as_float(word(planes[1], 2 * step)));
  a[2] = Element::round(__uint_as_float(word(planes[0], 2 * step + 1)));
  a[3] = Element::round(__uint_as_float(word(planes[1], 2 * step + 1)));
#else
  a[0] = word(planes[0], step);
  a[1] = word(planes[1], step);
#endif
}

/// B operand c of a step from the lane's row of z.
__device__ __forceinline__ void operandB(u32 (&b)[fragmentWordsB], const uint4 (&row)[4], int step, int c, bool second) {
#if TESSERA_ELEMENT == 2
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const uint4& tile = row[2 * step + i];
    b[i] = Element::round(__uint_as_float(second ? word(tile, 2 * c + 1) : word(tile, 2 * c)));
  }
#else
  // 16 bytes hold two tiles.
  b[0] = permuteBytes(word(row[step], c), word(row[step], 2 + c), second ? 0x7632 : 0x5410);
#endif
}

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ planes, const Storage* __restrict__ z, float* __restrict__ partials, ROW_MAP_PARAMETERS,
    int tileRows, int columns, int pitchZ, int pitchPlanes) {
  __shared__ float sums[warps][16][16];
  const Input input(z, ROW_MAP_ARGUMENT, tileRows, columns, pitchZ);
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3;
  const i64 planeStride = (i64)tileRows * pitchPlanes;
  float d[rankTiles][2][4];
#pragma unroll
  for (int m = 0; m < rankTiles; ++m)
#pragma unroll
    for (int c = 0; c < 2; ++c)
#pragma unroll
      for (int i = 0; i < 4; ++i) d[m][c][i] = 0.0f;

  const int across = (pitchPlanes + windowTiles - 1) / windowTiles;
  const i64 units = (i64)tileRows * across;
  for (i64 unit = blockIdx.x * warps + warp; unit < units; unit += gridDim.x * warps) {
    const int tileRow = (int)(unit / across), tile = (int)(unit % across) * windowTiles + q * vectorLength;
    const bool exists = tile < pitchPlanes;
    const int source = input.row(tileRow, g & 3);
    uint4 row[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) row[i] = input.load(source, 4 * tile + i * vectorLength);
    const Storage* start = planes + (i64)tileRow * pitchPlanes + tile;
    uint4 chunks[rankTiles][2];
#pragma unroll
    for (int m = 0; m < rankTiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int plane = 16 * m + 8 * half + g;
        chunks[m][half] = exists && plane < rank ? loadConstant(start + plane * planeStride) : make_uint4(0, 0, 0, 0);
      }
    constexpr int steps = vectorLength / 2;
#pragma unroll
    for (int step = 0; step < steps; step += 2) {
      u32 b[2][2][fragmentWordsB];
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        operandB(b[c][0], row, step, c, g >= 4);
        operandB(b[c][1], row, step + 1, c, g >= 4);
      }
#pragma unroll
      for (int m = 0; m < rankTiles; ++m) {
        u32 a[2][fragmentWordsA];
        operandA(a[0], chunks[m], step);
        operandA(a[1], chunks[m], step + 1);
#pragma unroll
        for (int c = 0; c < 2; ++c) multiplyAccumulate(d[m][c], a[0], b[c][0], a[1], b[c][1]);
      }
    }
  }

#pragma unroll
  for (int m = 0; m < rankTiles; ++m) {
#pragma unroll
    for (int c = 0; c < 2; ++c)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = 2 * q + i % 2;
        sums[warp][8 * (i / 2) + g][4 * (column % 4) + 2 * c + column / 4] = d[m][c][i];
      }
    __syncthreads();
    const int plane = threadIdx.x / 16, position = threadIdx.x % 16;
    float sum = 0.0f;
    for (int k = 0; k < warps; ++k) sum += sums[k][plane][position];
    if (16 * m + plane < rank) partials[((i64)blockIdx.x * rank + 16 * m + plane) * 16 + position] = sum;
    __syncthreads();
  }
}
#endif
