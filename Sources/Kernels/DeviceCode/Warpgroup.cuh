// Hopper's warpgroup-wide matrix instruction, m64nNk16 (16-bit) or m64nNk8 (TF32), accumulating in float32: A from registers, each warp's
// 16 rows as in TensorCore.cuh, B from shared memory. TESSERA_TILES is N / 8. sm_90a only.
//
// B lies without swizzle: 8 columns by 16 bytes of the contraction are 128 bytes side by side; a step's two of them follow one
// another, then the next 8 columns'.
#pragma once
#include "Element.cuh"

#define TESSERA_JOIN(a, b) a##b
#define TESSERA_CAT(a, b) TESSERA_JOIN(a, b)
// Places of the sums, of what follows them, and the sums themselves, for each number of tiles.
#define TESSERA_PLACES0 ""
#define TESSERA_PLACES1 TESSERA_PLACES0 "%0, %1, %2, %3"
#define TESSERA_PLACES2 TESSERA_PLACES1 ", %4, %5, %6, %7"
#define TESSERA_PLACES3 TESSERA_PLACES2 ", %8, %9, %10, %11"
#define TESSERA_PLACES4 TESSERA_PLACES3 ", %12, %13, %14, %15"
#define TESSERA_PLACES5 TESSERA_PLACES4 ", %16, %17, %18, %19"
#define TESSERA_PLACES6 TESSERA_PLACES5 ", %20, %21, %22, %23"
#define TESSERA_PLACES7 TESSERA_PLACES6 ", %24, %25, %26, %27"
#define TESSERA_PLACES8 TESSERA_PLACES7 ", %28, %29, %30, %31"
#define TESSERA_PLACES9 TESSERA_PLACES8 ", %32, %33, %34, %35"
#define TESSERA_PLACES10 TESSERA_PLACES9 ", %36, %37, %38, %39"
#define TESSERA_PLACES11 TESSERA_PLACES10 ", %40, %41, %42, %43"
#define TESSERA_PLACES12 TESSERA_PLACES11 ", %44, %45, %46, %47"
#define TESSERA_PLACES13 TESSERA_PLACES12 ", %48, %49, %50, %51"
#define TESSERA_PLACES14 TESSERA_PLACES13 ", %52, %53, %54, %55"
#define TESSERA_PLACES15 TESSERA_PLACES14 ", %56, %57, %58, %59"
#define TESSERA_PLACES16 TESSERA_PLACES15 ", %60, %61, %62, %63"
#define TESSERA_REST1 "{%4, %5, %6, %7}, %8"
#define TESSERA_REST2 "{%8, %9, %10, %11}, %12"
#define TESSERA_REST3 "{%12, %13, %14, %15}, %16"
#define TESSERA_REST4 "{%16, %17, %18, %19}, %20"
#define TESSERA_REST5 "{%20, %21, %22, %23}, %24"
#define TESSERA_REST6 "{%24, %25, %26, %27}, %28"
#define TESSERA_REST7 "{%28, %29, %30, %31}, %32"
#define TESSERA_REST8 "{%32, %33, %34, %35}, %36"
#define TESSERA_REST9 "{%36, %37, %38, %39}, %40"
#define TESSERA_REST10 "{%40, %41, %42, %43}, %44"
#define TESSERA_REST11 "{%44, %45, %46, %47}, %48"
#define TESSERA_REST12 "{%48, %49, %50, %51}, %52"
#define TESSERA_REST13 "{%52, %53, %54, %55}, %56"
#define TESSERA_REST14 "{%56, %57, %58, %59}, %60"
#define TESSERA_REST15 "{%60, %61, %62, %63}, %64"
#define TESSERA_REST16 "{%64, %65, %66, %67}, %68"
#define TESSERA_FOUR(d, i) "+f"(d[4 * i]), "+f"(d[4 * i + 1]), "+f"(d[4 * i + 2]), "+f"(d[4 * i + 3])
#define TESSERA_SUMS1(d) TESSERA_FOUR(d, 0)
#define TESSERA_SUMS2(d) TESSERA_SUMS1(d), TESSERA_FOUR(d, 1)
#define TESSERA_SUMS3(d) TESSERA_SUMS2(d), TESSERA_FOUR(d, 2)
#define TESSERA_SUMS4(d) TESSERA_SUMS3(d), TESSERA_FOUR(d, 3)
#define TESSERA_SUMS5(d) TESSERA_SUMS4(d), TESSERA_FOUR(d, 4)
#define TESSERA_SUMS6(d) TESSERA_SUMS5(d), TESSERA_FOUR(d, 5)
#define TESSERA_SUMS7(d) TESSERA_SUMS6(d), TESSERA_FOUR(d, 6)
#define TESSERA_SUMS8(d) TESSERA_SUMS7(d), TESSERA_FOUR(d, 7)
#define TESSERA_SUMS9(d) TESSERA_SUMS8(d), TESSERA_FOUR(d, 8)
#define TESSERA_SUMS10(d) TESSERA_SUMS9(d), TESSERA_FOUR(d, 9)
#define TESSERA_SUMS11(d) TESSERA_SUMS10(d), TESSERA_FOUR(d, 10)
#define TESSERA_SUMS12(d) TESSERA_SUMS11(d), TESSERA_FOUR(d, 11)
#define TESSERA_SUMS13(d) TESSERA_SUMS12(d), TESSERA_FOUR(d, 12)
#define TESSERA_SUMS14(d) TESSERA_SUMS13(d), TESSERA_FOUR(d, 13)
#define TESSERA_SUMS15(d) TESSERA_SUMS14(d), TESSERA_FOUR(d, 14)
#define TESSERA_SUMS16(d) TESSERA_SUMS15(d), TESSERA_FOUR(d, 15)

#if TESSERA_ELEMENT == 0
#define TESSERA_SHAPE "k16.f32.bf16.bf16"
#define TESSERA_FLAGS "1, 1, 0"
#elif TESSERA_ELEMENT == 1
#define TESSERA_SHAPE "k16.f32.f16.f16"
#define TESSERA_FLAGS "1, 1, 0"
#else
#define TESSERA_SHAPE "k8.f32.tf32.tf32"
#define TESSERA_FLAGS "1, 1"
#endif
#define TESSERA_N1 "8"
#define TESSERA_N2 "16"
#define TESSERA_N3 "24"
#define TESSERA_N4 "32"
#define TESSERA_N5 "40"
#define TESSERA_N6 "48"
#define TESSERA_N7 "56"
#define TESSERA_N8 "64"
#define TESSERA_N9 "72"
#define TESSERA_N10 "80"
#define TESSERA_N11 "88"
#define TESSERA_N12 "96"
#define TESSERA_N13 "104"
#define TESSERA_N14 "112"
#define TESSERA_N15 "120"
#define TESSERA_N16 "128"

/// Where an operand of one step begins in shared memory (a multiple of 16).
__device__ __forceinline__ u64 matrixDescriptor(u32 address) {
  constexpr u64 alongContraction = 128 >> 4, alongColumns = 256 >> 4;
  return (u64)((address & 0x3FFFF) >> 4) | alongContraction << 16 | alongColumns << 32;
}

/// Starts d += a b over one step.
__device__ __forceinline__ void warpgroupMultiply(float (&d)[4 * TESSERA_TILES], const u32 (&a)[4], u64 b) {
  asm volatile(
      "{\n.reg .pred adds;\nsetp.eq.u32 adds, 0, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n" TESSERA_CAT(TESSERA_N, TESSERA_TILES) TESSERA_SHAPE " {"
      TESSERA_CAT(TESSERA_PLACES, TESSERA_TILES) "}, " TESSERA_CAT(TESSERA_REST, TESSERA_TILES) ", adds, " TESSERA_FLAGS ";\n}\n"
      : TESSERA_CAT(TESSERA_SUMS, TESSERA_TILES)(d)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

/// Orders what this thread wrote to its registers before the products that follow.
__device__ __forceinline__ void warpgroupFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void warpgroupCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// Waits until at most `pending` groups are under way.
template <int pending>
__device__ __forceinline__ void warpgroupWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
