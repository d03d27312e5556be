// Eight neighbouring elements as floats: what the passes of training over whole arrays read and write.
//
// Arrays may begin anywhere (parts of a longer vector do), so each kernel asks once whether all of its pointers are aligned.
#pragma once
#include "Element.cuh"

constexpr int lanes = 8;

template <typename... Pointers>
__device__ __forceinline__ bool isAligned(Pointers... pointers) {
  return (((u64)pointers | ...) & 15) == 0;
}

__device__ __forceinline__ float asFloat(Storage bits) { return storageValue(bits); }

/// The elements from `at` on, zeros from `count` on.
__device__ __forceinline__ void load(float (&v)[lanes], const Storage* x, i64 at, i64 count, bool aligned) {
  if (aligned && at + lanes <= count) {
#if TESSERA_ELEMENT == 2
    const uint4 a = loadConstant(x + at), b = loadConstant(x + at + 4);
    const u32 words[lanes] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
    for (int i = 0; i < lanes; ++i) v[i] = __uint_as_float(words[i]);
#else
    const uint4 a = loadConstant(x + at);
    const u32 words[4] = {a.x, a.y, a.z, a.w};
#pragma unroll
    for (int i = 0; i < lanes; ++i) v[i] = storageValue((Storage)(words[i / 2] >> (16 * (i % 2))));
#endif
    return;
  }
#pragma unroll
  for (int i = 0; i < lanes; ++i) v[i] = at + i < count ? storageValue(x[at + i]) : 0.0f;
}

/// The same of an array that is float32 whatever the element type.
__device__ __forceinline__ void loadFloats(float (&v)[lanes], const float* x, i64 at, i64 count, bool aligned) {
  if (aligned && at + lanes <= count) {
    const uint4 a = loadConstant(x + at), b = loadConstant(x + at + 4);
    const u32 words[lanes] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
    for (int i = 0; i < lanes; ++i) v[i] = __uint_as_float(words[i]);
    return;
  }
#pragma unroll
  for (int i = 0; i < lanes; ++i) v[i] = at + i < count ? x[at + i] : 0.0f;
}

__device__ __forceinline__ void storeFloats(float* x, const float (&v)[lanes], i64 at, i64 count, bool aligned) {
  if (aligned && at + lanes <= count) {
    store16(x + at, make_uint4(__float_as_uint(v[0]), __float_as_uint(v[1]), __float_as_uint(v[2]), __float_as_uint(v[3])));
    store16(x + at + 4, make_uint4(__float_as_uint(v[4]), __float_as_uint(v[5]), __float_as_uint(v[6]), __float_as_uint(v[7])));
    return;
  }
#pragma unroll
  for (int i = 0; i < lanes; ++i)
    if (at + i < count) x[at + i] = v[i];
}

__device__ __forceinline__ void store(Storage* x, const float (&v)[lanes], i64 at, i64 count, bool aligned) {
#if TESSERA_ELEMENT == 2
  storeFloats((float*)x, v, at, count, aligned);
#else
  if (aligned && at + lanes <= count) {
    store16(x + at, make_uint4(Element::pack(v[0], v[1]), Element::pack(v[2], v[3]), Element::pack(v[4], v[5]),
                               Element::pack(v[6], v[7])));
    return;
  }
#pragma unroll
  for (int i = 0; i < lanes; ++i)
    if (at + i < count) x[at + i] = storageBits(v[i]);
#endif
}

/// The sum over a block of at most 1024 threads, for all of them; `room` has a place for each warp.
__device__ __forceinline__ float blockSum(float x, float* room) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  const int warps = (blockDim.x + 31) / 32;
  if (warps == 1) return x;
  __syncthreads();
  if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = x;
  __syncthreads();
  x = 0.0f;
  for (int i = 0; i < warps; ++i) x += room[i];
  return x;
}
