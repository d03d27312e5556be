// Sums over the rows of a matrix, the gradient of a bias: y[j] = sum over i of x[i][j], in float32 and in a fixed order.
//
//   x        [rows, columns]
//   partials out, float32 [slices][columns]: slice s has the rows of one part
//
// Launch: (ceil(columns / 256), slices) blocks of 256 threads. TESSERA_SUM = 1 adds the slices, which other kernels fill too:
//
//   partials float32 [slices][columns]
//   y        out [columns]
//
// Launch: ceil(columns / 32) blocks of 256 threads.
//
// Bound by reading x once.
#include "Training/Vector.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL column_sum
#endif
#ifndef TESSERA_SUM
#define TESSERA_SUM 0
#endif

#if TESSERA_SUM
extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const float* __restrict__ partials, Storage* __restrict__ y, int slices, int columns) {
  __shared__ float room[8][33];
  const int lane = threadIdx.x % 32, part = threadIdx.x / 32, column = blockIdx.x * 32 + lane;
  float sum = 0.0f;
  if (column < columns)
    for (int i = part; i < slices; i += 8) sum += partials[(i64)i * columns + column];
  room[part][lane] = sum;
  __syncthreads();
  if (part > 0 || column >= columns) return;
#pragma unroll
  for (int i = 1; i < 8; ++i) sum += room[i][lane];
  y[column] = storageBits(sum);
}
#else
extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ x, float* __restrict__ partials, int rows, int columns, int slices) {
  __shared__ float room[8][32 * lanes];
  const bool aligned = isAligned(x) && columns % vectorLength == 0;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, first = blockIdx.x * 32 * lanes, column = first + lane * lanes;
  const int height = (rows + slices - 1) / slices;
  const int begin = blockIdx.y * height, end = begin + height < rows ? begin + height : rows;
  float sums[lanes] = {};
  if (column < columns) {
#pragma unroll 4
    for (int i = begin + warp; i < end; i += 8) {
      float v[lanes];
      load(v, x + (i64)i * columns, column, columns, aligned);
#pragma unroll
      for (int k = 0; k < lanes; ++k) sums[k] += v[k];
    }
  }
#pragma unroll
  for (int k = 0; k < lanes; ++k) room[warp][lane * lanes + k] = sums[k];
  __syncthreads();
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < 8; ++i) sum += room[i][threadIdx.x];
  if (first + (int)threadIdx.x < columns) partials[(i64)blockIdx.y * columns + first + threadIdx.x] = sum;
}
#endif
