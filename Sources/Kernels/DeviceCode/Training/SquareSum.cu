// Partial sums of squares in float32, for the norm of a gradient: block b has the elements of every gridDim.x-th run of 2048.
//
//   x        [count]
//   partials out, float32 [blocks]
//
// Launch: any number of blocks of 256 threads.
#include "Training/Vector.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL square_sum
#endif

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ x, float* __restrict__ partials, int count) {
  __shared__ float room[8];
  const bool aligned = isAligned(x);
  float sum = 0.0f;
  for (i64 at = ((i64)blockIdx.x * 256 + threadIdx.x) * lanes; at < count; at += (i64)gridDim.x * 256 * lanes) {
    float v[lanes];
    load(v, x, at, count, aligned);
#pragma unroll
    for (int k = 0; k < lanes; ++k) sum += v[k] * v[k];
  }
  sum = blockSum(sum, room);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}
