// One update of AdamW (Loshchilov, Hutter, 2019, algorithm 2) of a parameter in one pass, with a float32 copy of parameters that have
// fewer bits:
//
//     g' = scale g,   m = b1 m + (1 - b1) g',   v = b2 v + (1 - b2) g'^2,
//     p = (1 - rate decay) p - rate (m / c1) / (sqrt(v) / c2 + eps)
//
//   g      [count], elements
//   p, m, v          float32 [count]
//   terms            float32 [4]: rate, c1, c2, scale
//   newP, newM, newV out, float32 [count]
//   rounded          out [count], elements: newP (absent for float32)
//
// Launch: ceil(count / 2048) blocks of 256 threads. Bound by its 26 bytes an element (bfloat16).
#include "Training/Vector.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL adamw
#endif

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ g, const float* __restrict__ p, const float* __restrict__ m, const float* __restrict__ v,
    const float* __restrict__ terms, float* __restrict__ newP, float* __restrict__ newM, float* __restrict__ newV,
#if TESSERA_ELEMENT != 2
    Storage* __restrict__ rounded,
#endif
    int count, float beta1, float beta2, float eps, float decay) {
  const i64 at = ((i64)blockIdx.x * 256 + threadIdx.x) * lanes;
  if (at >= count) return;
  const float rate = terms[0], correction1 = terms[1], correction2 = terms[2], scale = terms[3];
  const bool aligned = isAligned(g, p, m, v, newP, newM, newV);
  float gradient[lanes], parameter[lanes], first[lanes], second[lanes];
  load(gradient, g, at, count, aligned);
  loadFloats(parameter, p, at, count, aligned);
  loadFloats(first, m, at, count, aligned);
  loadFloats(second, v, at, count, aligned);
#pragma unroll
  for (int k = 0; k < lanes; ++k) {
    const float scaled = gradient[k] * scale;
    first[k] = beta1 * first[k] + (1.0f - beta1) * scaled;
    second[k] = beta2 * second[k] + (1.0f - beta2) * scaled * scaled;
    const float change = (first[k] / correction1) / (sqrtf(second[k]) / correction2 + eps);
    parameter[k] = parameter[k] * (1.0f - rate * decay) - rate * change;
  }
  storeFloats(newP, parameter, at, count, aligned);
  storeFloats(newM, first, at, count, aligned);
  storeFloats(newV, second, at, count, aligned);
#if TESSERA_ELEMENT != 2
  store(rounded, parameter, at, count, isAligned(rounded));
#endif
}
