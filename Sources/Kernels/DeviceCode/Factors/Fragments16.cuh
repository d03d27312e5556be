// Operands of the 16-bit matrix instruction m16n8k16 from shared memory.
#pragma once
#include "Async.cuh"
#include "TensorCore.cuh"

/// Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l mod 8 of matrix l / 8.
__device__ __forceinline__ void loadMatrices(u32 (&r)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// As loadMatrices, each matrix transposed.
__device__ __forceinline__ void loadMatricesTransposed(u32 (&r)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

__device__ __forceinline__ void loadPair(u32 (&r)[2], u32 address) {
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(address) : "memory");
}

/// d += a b over 16 contraction steps.
__device__ __forceinline__ void multiply16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  const u32 a0[2] = {a[0], a[1]}, a1[2] = {a[2], a[3]}, b0[1] = {b[0]}, b1[1] = {b[1]};
  multiplyAccumulate(d, a0, b0, a1, b1);
}
