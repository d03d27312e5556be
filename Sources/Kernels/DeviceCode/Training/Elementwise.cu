// An activation of every element in one pass, and with TESSERA_GRADIENT = 1 its gradient dx = g f'(x) from x alone; arithmetic in
// float32 whatever the element type.
//
//   x      [count]
//   g      [count] (the gradient only)
//   y      out [count]
//
// Launch: ceil(count / 2048) blocks of 256 threads.
#include "Training/Vector.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL elementwise
#endif
#ifndef TESSERA_GRADIENT
#define TESSERA_GRADIENT 0
#endif
#ifndef TESSERA_ACTIVATION
#define TESSERA_ACTIVATION 2
#endif

/// The sigmoid s and its slope s (1 - s), of e = exp(-|x|): the difference 1 - s would lose its digits.
struct Sigmoid {
  float value, slope;

  __device__ __forceinline__ explicit Sigmoid(float x) {
#if TESSERA_ELEMENT == 2
    const float e = expf(-fabsf(x)), r = 1.0f / (1.0f + e);
#else
    const float e = __expf(-fabsf(x)), r = __fdividef(1.0f, 1.0f + e);
#endif
    value = x < 0.0f ? e * r : r;
    slope = e * r * r;
  }
};

/// f(x), and f'(x) with TESSERA_GRADIENT, under the numbers of Activation.cuh.
__device__ __forceinline__ float value(float x) {
#if TESSERA_ACTIVATION == 1
  const float distribution = 0.5f + 0.5f * erff(x * 0.70710678118654752f);
#if TESSERA_GRADIENT
  return distribution + x * 0.39894228040143268f * expf(-0.5f * x * x);
#else
  return x * distribution;
#endif
#elif TESSERA_ACTIVATION == 2
  // (1 + tanh u) / 2 is the sigmoid of 2 u.
  const Sigmoid s(1.5957691216057308f * x * (1.0f + 0.044715f * x * x));
#if TESSERA_GRADIENT
  return s.value + x * s.slope * (1.5957691216057308f * (1.0f + 0.134145f * x * x));
#else
  return x * s.value;
#endif
#else
  const Sigmoid s(x);
#if TESSERA_GRADIENT
  return s.value + x * s.slope;
#else
  return x * s.value;
#endif
#endif
}

#if TESSERA_GRADIENT
extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ x, const Storage* __restrict__ g, Storage* __restrict__ y, int count) {
  const bool aligned = isAligned(x, g, y);
#else
extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ x, Storage* __restrict__ y, int count) {
  const bool aligned = isAligned(x, y);
#endif
  const i64 at = ((i64)blockIdx.x * 256 + threadIdx.x) * lanes;
  if (at >= count) return;
  float v[lanes];
  load(v, x, at, count, aligned);
#if TESSERA_GRADIENT
  float outer[lanes];
  load(outer, g, at, count, aligned);
#endif
#pragma unroll
  for (int k = 0; k < lanes; ++k) {
    v[k] = value(v[k]);
#if TESSERA_GRADIENT
    v[k] *= outer[k];
#endif
  }
  store(y, v, at, count, aligned);
}
