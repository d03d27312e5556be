// The cross-entropy of classes t under softmax(x), and its gradient; x is read once by each and nothing of its size is written but
// the gradient. With the smoothing e and C classes the target of class j is q[j] = (1 - e) [j = t] + e / C:
//
//     loss[i] = z[i] - (1 - e) x[i][t] - e mean(x[i]),   z[i] = log sum over j of exp(x[i][j])
//
//   x      [rows, classes]
//   t      int32 [rows]
//   loss   out, float32 [rows]
//   z      out, float32 [rows]
//
// TESSERA_GRADIENT = 1: dx[i][j] = g[i] (exp(x[i][j] - z[i]) - q[j])
//
//   x, t, z as above
//   g      float32 [rows]
//   dx     out [rows, classes]
//
// Launch: `rows` blocks of 512 threads.
#include "Training/Vector.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL cross_entropy
#endif
#ifndef TESSERA_GRADIENT
#define TESSERA_GRADIENT 0
#endif

constexpr float log2e = 1.4426950408889634f;

#if TESSERA_GRADIENT
extern "C" __global__ void __launch_bounds__(512) TESSERA_KERNEL(
    const Storage* __restrict__ x, const int* __restrict__ t, const float* __restrict__ z, const float* __restrict__ g,
    Storage* __restrict__ dx, int classes, float smoothing) {
  const i64 start = (i64)blockIdx.x * classes;
  const bool aligned = isAligned(x, dx) && classes % vectorLength == 0;
  const int target = t[blockIdx.x];
  const float offset = z[blockIdx.x] * log2e, factor = g[blockIdx.x], even = smoothing / classes;
  for (int j = threadIdx.x * lanes; j < classes; j += blockDim.x * lanes) {
    float v[lanes];
    load(v, x + start, j, classes, aligned);
#pragma unroll
    for (int k = 0; k < lanes; ++k)
      v[k] = factor * (exp2f(v[k] * log2e - offset) - even - (j + k == target ? 1.0f - smoothing : 0.0f));
    store(dx + start, v, j, classes, aligned);
  }
}
#else
extern "C" __global__ void __launch_bounds__(512) TESSERA_KERNEL(
    const Storage* __restrict__ x, const int* __restrict__ t, float* __restrict__ loss, float* __restrict__ z, int classes,
    float smoothing) {
  __shared__ float room[3][32];
  const i64 start = (i64)blockIdx.x * classes;
  const bool aligned = isAligned(x) && classes % vectorLength == 0;
  constexpr float lowest = -3.0e38f;
  // Each thread's own maximum, finite so that -inf minus it stays -inf, and the sum of 2^(x log2(e) - maximum).
  float maximum = lowest, sum = 0.0f, plain = 0.0f;
  for (int j = threadIdx.x * lanes; j < classes; j += blockDim.x * lanes) {
    float v[lanes];
    load(v, x + start, j, classes, aligned);
    float highest = maximum;
#pragma unroll
    for (int k = 0; k < lanes; ++k) {
      if (j + k >= classes) {
        v[k] = lowest;
        continue;
      }
      plain += v[k];
      v[k] *= log2e;
      highest = fmaxf(highest, v[k]);
    }
    sum *= exp2f(maximum - highest);
    maximum = highest;
#pragma unroll
    for (int k = 0; k < lanes; ++k) sum += exp2f(v[k] - maximum);
  }
  float highest = maximum;
#pragma unroll
  for (int step = 16; step > 0; step /= 2) highest = fmaxf(highest, __shfl_xor_sync(~0u, highest, step));
  if (threadIdx.x % 32 == 0) room[0][threadIdx.x / 32] = highest;
  __syncthreads();
  for (int i = 0; i < (int)blockDim.x / 32; ++i) highest = fmaxf(highest, room[0][i]);
  sum = blockSum(sum * exp2f(maximum - highest), room[1]);
  plain = blockSum(plain, room[2]);
  if (threadIdx.x > 0) return;
  const float normalizer = (highest + log2f(sum)) / log2e;
  z[blockIdx.x] = normalizer;
  const float score = storageValue(x[start + t[blockIdx.x]]);
  loss[blockIdx.x] = normalizer - (1.0f - smoothing) * score - smoothing * (plain / classes);
}
#endif
