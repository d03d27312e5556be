// Partial sums of squares of TESSERA_COUNT arrays in float32, for the norm of a gradient: block b of an array has the elements of
// every blocks-th run of 2048.
//
//   x        [count] each
//   partials out, float32 [blocks of all arrays]
//
// Launch: the sum of `blocks` blocks of 256 threads.
#include "Training/List.cuh"
#include "Training/Vector.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL square_sum
#endif

#define INPUTS(i) const Storage* x##i
#define COUNTS(i) int count##i
#define BLOCKS(i) int blocks##i
#define X(i) x##i
#define COUNT(i) count##i
#define BLOCK(i) blocks##i

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    LIST(INPUTS), float* __restrict__ partials, LIST(COUNTS), LIST(BLOCKS)) {
  __shared__ float room[8];
  const int parts[arrays] = {LIST(BLOCK)};
  int which = 0, block = blockIdx.x;
#pragma unroll
  for (int i = 0; i + 1 < arrays; ++i) {
    if (which == i && block >= parts[i]) {
      block -= parts[i];
      which = i + 1;
    }
  }
  const int count = chosen<int>({LIST(COUNT)}, which), blocks = chosen(parts, which);
  const Storage* const x = chosen<const Storage*>({LIST(X)}, which);
  const bool aligned = isAligned(x);
  float sum = 0.0f;
  for (i64 at = ((i64)block * 256 + threadIdx.x) * lanes; at < count; at += (i64)blocks * 256 * lanes) {
    float v[lanes];
    load(v, x, at, count, aligned);
#pragma unroll
    for (int k = 0; k < lanes; ++k) sum += v[k] * v[k];
  }
  sum = blockSum(sum, room);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}
