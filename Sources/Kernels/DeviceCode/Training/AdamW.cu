// One update of AdamW (Loshchilov, Hutter, 2019, algorithm 2) of several parameters in one pass, with float32 copies of parameters
// that have fewer bits. For each of TESSERA_COUNT parameters
//
//     g' = scale g,   m = b1 m + (1 - b1) g',   v = b2 v + (1 - b2) g'^2,
//     p = (1 - rate decay) p - rate (m / c1) / (sqrt(v) / c2 + eps),   rate = terms[0] multiplier
//
//   g                [count] each, elements
//   p, m, v          float32 [count] each
//   terms            float32 [4]: rate, c1, c2, scale
//   newP, newM, newV out, float32 [count] each
//   rounded          out [count] each, elements: newP (absent for float32)
//
// Launch: ceil(count / 2048) blocks of 256 threads for each parameter, one after the other. Bound by its 26 bytes an element
// (bfloat16).
#include "Training/List.cuh"
#include "Training/Vector.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL adamw
#endif

#define IN_G(i) const Storage* g##i
#define IN_P(i) const float* p##i
#define IN_M(i) const float* m##i
#define IN_V(i) const float* v##i
#define OUT_P(i) float* newP##i
#define OUT_M(i) float* newM##i
#define OUT_V(i) float* newV##i
#define OUT_ROUNDED(i) Storage* rounded##i
#define COUNTS(i) int count##i
#define MULTIPLIERS(i) float multiplier##i
#define DECAYS(i) float decay##i
#define G(i) g##i
#define P(i) p##i
#define M(i) m##i
#define V(i) v##i
#define NEW_P(i) newP##i
#define NEW_M(i) newM##i
#define NEW_V(i) newV##i
#define ROUNDED(i) rounded##i
#define COUNT(i) count##i
#define MULTIPLIER(i) multiplier##i
#define DECAY(i) decay##i

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    LIST(IN_G), LIST(IN_P), LIST(IN_M), LIST(IN_V), const float* __restrict__ terms, LIST(OUT_P), LIST(OUT_M), LIST(OUT_V),
#if TESSERA_ELEMENT != 2
    LIST(OUT_ROUNDED),
#endif
    LIST(COUNTS), LIST(MULTIPLIERS), LIST(DECAYS), float beta1, float beta2, float eps) {
  const int counts[arrays] = {LIST(COUNT)};
  int which = 0, block = blockIdx.x;
#pragma unroll
  for (int i = 0; i + 1 < arrays; ++i) {
    const int blocks = (counts[i] + 2047) / 2048;
    if (which == i && block >= blocks) {
      block -= blocks;
      which = i + 1;
    }
  }
  const int count = chosen(counts, which);
  const i64 at = ((i64)block * 256 + threadIdx.x) * lanes;
  if (at >= count) return;
  const Storage* const g = chosen<const Storage*>({LIST(G)}, which);
  const float *const p = chosen<const float*>({LIST(P)}, which), *const m = chosen<const float*>({LIST(M)}, which),
                     *const v = chosen<const float*>({LIST(V)}, which);
  float *const newP = chosen<float*>({LIST(NEW_P)}, which), *const newM = chosen<float*>({LIST(NEW_M)}, which),
               *const newV = chosen<float*>({LIST(NEW_V)}, which);
  const float rate = terms[0] * chosen<float>({LIST(MULTIPLIER)}, which), decay = chosen<float>({LIST(DECAY)}, which);
  const float correction1 = terms[1], correction2 = terms[2], scale = terms[3];
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
  Storage* const rounded = chosen<Storage*>({LIST(ROUNDED)}, which);
  store(rounded, parameter, at, count, isAligned(rounded));
#endif
}
