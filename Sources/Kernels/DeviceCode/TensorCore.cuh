// The warp-wide matrix instructions of sm_80 and later, m16n8k8, accumulating in float32.
//
// Lane = 4 g + q. A (16 x 8): 16-bit elements: a0 holds row g, columns 2q and 2q+1, a1 row g+8; TF32: a0 (g, q), a1 (g+8, q),
// a2 (g, q+4), a3 (g+8, q+4). B (8 x 8): 16-bit: rows 2q and 2q+1 of column g; TF32: b0 (q, g), b1 (q+4, g).
// D (16 x 8): d0, d1 row g, columns 2q and 2q+1; d2, d3 row g+8.
#pragma once
#include "Element.cuh"

#if TESSERA_ELEMENT == 2
constexpr int fragmentWordsA = 4, fragmentWordsB = 2;
#else
constexpr int fragmentWordsA = 2, fragmentWordsB = 1;
#endif

__device__ __forceinline__ void multiplyAccumulate(
    float (&d)[4], const u32 (&a)[fragmentWordsA], const u32 (&b)[fragmentWordsB]) {
#if TESSERA_ELEMENT == 0
  asm("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(b[0]));
#elif TESSERA_ELEMENT == 1
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(b[0]));
#else
  asm(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/// Two steps at once: 16-bit elements have an instruction of twice the contraction.
__device__ __forceinline__ void multiplyAccumulate(
    float (&d)[4], const u32 (&a)[fragmentWordsA], const u32 (&b)[fragmentWordsB], const u32 (&a2)[fragmentWordsA],
    const u32 (&b2)[fragmentWordsB]) {
#if TESSERA_ELEMENT == 0
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a2[0]), "r"(a2[1]), "r"(b[0]), "r"(b2[0]));
#elif TESSERA_ELEMENT == 1
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a2[0]), "r"(a2[1]), "r"(b[0]), "r"(b2[0]));
#else
  multiplyAccumulate(d, a, b);
  multiplyAccumulate(d, a2, b2);
#endif
}
