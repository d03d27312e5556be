// The element type of one compilation: -DTESSERA_ELEMENT=0 (bfloat16), 1 (float16) or 2 (float32 through TF32).
//
// No header of a CUDA toolkit is needed: 16-bit floats are handled as bit patterns and converted by PTX.
#pragma once

#ifndef TESSERA_ELEMENT
#define TESSERA_ELEMENT 0
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

struct BFloat16 {
  typedef u16 Storage;
  static constexpr int bytes = 2;

  static __device__ __forceinline__ u32 pack(float low, float high) {
    u32 word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
  }
  static __device__ __forceinline__ float value(u16 bits) { return __uint_as_float((u32)bits << 16); }
};

struct Float16 {
  typedef u16 Storage;
  static constexpr int bytes = 2;

  static __device__ __forceinline__ u32 pack(float low, float high) {
    u32 word;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
  }
  static __device__ __forceinline__ float value(u16 bits) {
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(bits));
    return result;
  }
};

struct Float32 {
  typedef u32 Storage;
  static constexpr int bytes = 4;

  /// The nearest value with TF32's ten stored bits; the matrix units ignore the rest.
  static __device__ __forceinline__ u32 round(float x) {
    u32 bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
  }
  static __device__ __forceinline__ float value(u32 bits) { return __uint_as_float(bits); }
};

#if TESSERA_ELEMENT == 0
typedef BFloat16 Element;
#elif TESSERA_ELEMENT == 1
typedef Float16 Element;
#else
typedef Float32 Element;
#endif
typedef Element::Storage Storage;

/// Elements in 16 bytes.
constexpr int vectorLength = 16 / Element::bytes;

__device__ __forceinline__ float storageValue(Storage bits) { return Element::value(bits); }

__device__ __forceinline__ Storage storageBits(float x) {
#if TESSERA_ELEMENT == 2
  return __float_as_uint(x);
#else
  return (u16)Element::pack(x, 0.0f);
#endif
}

__device__ __forceinline__ u32 permuteBytes(u32 a, u32 b, u32 selector) {
  u32 result;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(selector));
  return result;
}

/// `count` words of shared memory, in one access where there is one for so many.
template <int count>
__device__ __forceinline__ void loadWords(u32 (&v)[count], u32 address) {
  if constexpr (count == 4)
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                 : "r"(address)
                 : "memory");
  else if constexpr (count == 2)
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(v[0]), "=r"(v[1]) : "r"(address) : "memory");
  else
#pragma unroll
    for (int i = 0; i < count; ++i) asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v[i]) : "r"(address + 4 * i) : "memory");
}

/// Writes `count` words to shared memory, in one access where there is one for so many.
template <int count>
__device__ __forceinline__ void storeWords(u32 address, const u32 (&v)[count]) {
  if constexpr (count == 4)
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3]) : "memory");
  else if constexpr (count == 2)
    asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(address), "r"(v[0]), "r"(v[1]) : "memory");
  else
#pragma unroll
    for (int i = 0; i < count; ++i) asm volatile("st.shared.u32 [%0], %1;" ::"r"(address + 4 * i), "r"(v[i]) : "memory");
}

/// Reads 16 bytes that nobody writes.
__device__ __forceinline__ uint4 loadConstant(const void* address) {
  uint4 v;
  asm volatile("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(address));
  return v;
}

__device__ __forceinline__ void store16(void* address, uint4 v) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}

/// Writes 16 bytes that nobody in this launch reads again.
__device__ __forceinline__ void storeStreaming(void* address, uint4 v) {
  asm volatile("st.global.cs.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}
