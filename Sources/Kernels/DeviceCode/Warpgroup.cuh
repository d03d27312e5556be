// Hopper's warpgroup-wide matrix instruction, m64nNk16 (16-bit) or m64nNk8 (TF32), accumulating in float32: A from registers, each warp's
// 16 rows as in TensorCore.cuh, or (16-bit) from shared memory, B from shared memory. N is 8 for every four sums of a lane. sm_90a only.
//
// B lies without swizzle: 8 columns by 16 bytes of the contraction are 128 bytes side by side; a step's two of them follow one
// another, then the next 8 columns'. A lies in lines of 128 bytes, one a row, at a multiple of 1024, the 16 bytes at n of row r at
// n ^ r % 8: what a tensor map's swizzle of 128 bytes makes.
#pragma once
#include "Element.cuh"

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
#define TESSERA_PLACES24 TESSERA_PLACES16 \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define TESSERA_PLACES32 TESSERA_PLACES24 \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
// B, whether there is something to add to, A in shared memory or in registers.
#define TESSERA_B1 "%4"
#define TESSERA_ADDS1 "%5"
#define TESSERA_A1 "%6"
#define TESSERA_WORDS1 "{%6, %7, %8, %9}"
#define TESSERA_B2 "%8"
#define TESSERA_ADDS2 "%9"
#define TESSERA_A2 "%10"
#define TESSERA_WORDS2 "{%10, %11, %12, %13}"
#define TESSERA_B3 "%12"
#define TESSERA_ADDS3 "%13"
#define TESSERA_A3 "%14"
#define TESSERA_WORDS3 "{%14, %15, %16, %17}"
#define TESSERA_B4 "%16"
#define TESSERA_ADDS4 "%17"
#define TESSERA_A4 "%18"
#define TESSERA_WORDS4 "{%18, %19, %20, %21}"
#define TESSERA_B5 "%20"
#define TESSERA_ADDS5 "%21"
#define TESSERA_A5 "%22"
#define TESSERA_WORDS5 "{%22, %23, %24, %25}"
#define TESSERA_B6 "%24"
#define TESSERA_ADDS6 "%25"
#define TESSERA_A6 "%26"
#define TESSERA_WORDS6 "{%26, %27, %28, %29}"
#define TESSERA_B7 "%28"
#define TESSERA_ADDS7 "%29"
#define TESSERA_A7 "%30"
#define TESSERA_WORDS7 "{%30, %31, %32, %33}"
#define TESSERA_B8 "%32"
#define TESSERA_ADDS8 "%33"
#define TESSERA_A8 "%34"
#define TESSERA_WORDS8 "{%34, %35, %36, %37}"
#define TESSERA_B9 "%36"
#define TESSERA_ADDS9 "%37"
#define TESSERA_A9 "%38"
#define TESSERA_WORDS9 "{%38, %39, %40, %41}"
#define TESSERA_B10 "%40"
#define TESSERA_ADDS10 "%41"
#define TESSERA_A10 "%42"
#define TESSERA_WORDS10 "{%42, %43, %44, %45}"
#define TESSERA_B11 "%44"
#define TESSERA_ADDS11 "%45"
#define TESSERA_A11 "%46"
#define TESSERA_WORDS11 "{%46, %47, %48, %49}"
#define TESSERA_B12 "%48"
#define TESSERA_ADDS12 "%49"
#define TESSERA_A12 "%50"
#define TESSERA_WORDS12 "{%50, %51, %52, %53}"
#define TESSERA_B13 "%52"
#define TESSERA_ADDS13 "%53"
#define TESSERA_A13 "%54"
#define TESSERA_WORDS13 "{%54, %55, %56, %57}"
#define TESSERA_B14 "%56"
#define TESSERA_ADDS14 "%57"
#define TESSERA_A14 "%58"
#define TESSERA_WORDS14 "{%58, %59, %60, %61}"
#define TESSERA_B15 "%60"
#define TESSERA_ADDS15 "%61"
#define TESSERA_A15 "%62"
#define TESSERA_WORDS15 "{%62, %63, %64, %65}"
#define TESSERA_B16 "%64"
#define TESSERA_ADDS16 "%65"
#define TESSERA_A16 "%66"
#define TESSERA_WORDS16 "{%66, %67, %68, %69}"
#define TESSERA_B24 "%96"
#define TESSERA_ADDS24 "%97"
#define TESSERA_A24 "%98"
#define TESSERA_WORDS24 "{%98, %99, %100, %101}"
#define TESSERA_B32 "%128"
#define TESSERA_ADDS32 "%129"
#define TESSERA_A32 "%130"
#define TESSERA_WORDS32 "{%130, %131, %132, %133}"
#define TESSERA_FOUR(d, i) "+f"(d[4 * (i)]), "+f"(d[4 * (i) + 1]), "+f"(d[4 * (i) + 2]), "+f"(d[4 * (i) + 3])
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
#define TESSERA_EIGHT(d, i) \
  TESSERA_FOUR(d, i), TESSERA_FOUR(d, i + 1), TESSERA_FOUR(d, i + 2), TESSERA_FOUR(d, i + 3), TESSERA_FOUR(d, i + 4), \
      TESSERA_FOUR(d, i + 5), TESSERA_FOUR(d, i + 6), TESSERA_FOUR(d, i + 7)
#define TESSERA_SUMS24(d) TESSERA_SUMS16(d), TESSERA_EIGHT(d, 16)
#define TESSERA_SUMS32(d) TESSERA_SUMS24(d), TESSERA_EIGHT(d, 24)

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
#define TESSERA_WIDE1 "8"
#define TESSERA_WIDE2 "16"
#define TESSERA_WIDE3 "24"
#define TESSERA_WIDE4 "32"
#define TESSERA_WIDE5 "40"
#define TESSERA_WIDE6 "48"
#define TESSERA_WIDE7 "56"
#define TESSERA_WIDE8 "64"
#define TESSERA_WIDE9 "72"
#define TESSERA_WIDE10 "80"
#define TESSERA_WIDE11 "88"
#define TESSERA_WIDE12 "96"
#define TESSERA_WIDE13 "104"
#define TESSERA_WIDE14 "112"
#define TESSERA_WIDE15 "120"
#define TESSERA_WIDE16 "128"
#define TESSERA_WIDE24 "192"
#define TESSERA_WIDE32 "256"

/// Where an operand of one step begins in shared memory (a multiple of 16), in blocks of eight rows or columns by 16 bytes, so many bytes
/// apart.
__device__ __forceinline__ u64 blockDescriptor(u32 address, int alongContraction, int alongOther) {
  return (u64)((address & 0x3FFFF) >> 4) | (u64)(alongContraction >> 4) << 16 | (u64)(alongOther >> 4) << 32;
}

/// The same with the blocks of a step side by side.
__device__ __forceinline__ u64 matrixDescriptor(u32 address) { return blockDescriptor(address, 128, 256); }

/// The same of the matrix `offset` bytes behind the one of descriptor `first`: one addition.
__device__ __forceinline__ u64 matrixDescriptor(u64 first, int offset) {
  return (u64)((u32)first + (u32)(offset >> 4)) | first >> 32 << 32;
}

/// Where an operand A of one step begins in shared memory: a multiple of 32 in lines of 128 bytes.
__device__ __forceinline__ u64 lineDescriptor(u32 address) {
  constexpr u64 alongRows = 1024 >> 4, swizzle = 1;
  return (u64)((address & 0x3FFFF) >> 4) | (u64)1 << 16 | alongRows << 32 | swizzle << 62;
}

// Start d += a b over one step, or d = a b where it does not add.
#define TESSERA_START(n, a, flags)                                                          \
  "{\n.reg .pred adds;\nsetp.ne.u32 adds, " TESSERA_ADDS##n ", 0;\n"                         \
  "wgmma.mma_async.sync.aligned.m64n" TESSERA_WIDE##n TESSERA_SHAPE " {" TESSERA_PLACES##n "}, " a ", " TESSERA_B##n ", adds, " flags ";\n}\n"
#if TESSERA_ELEMENT == 2
#define TESSERA_MULTIPLY_SHARED(n)
#else
#define TESSERA_MULTIPLY_SHARED(n)                                                                      \
  __device__ __forceinline__ void warpgroupMultiply(float (&d)[4 * n], u64 a, u64 b, bool adds = true) { \
    asm volatile(TESSERA_START(n, TESSERA_A##n, "1, 1, 0, 0")                                           \
                 : TESSERA_SUMS##n(d)                                                                   \
                 : "l"(b), "r"((u32)adds), "l"(a));                                                     \
  }
#endif
#define TESSERA_MULTIPLY(n)                                                                                         \
  TESSERA_MULTIPLY_SHARED(n)                                                                                        \
  __device__ __forceinline__ void warpgroupMultiply(float (&d)[4 * n], const u32 (&a)[4], u64 b, bool adds = true) { \
    asm volatile(TESSERA_START(n, TESSERA_WORDS##n, TESSERA_FLAGS)                                                  \
                 : TESSERA_SUMS##n(d)                                                                               \
                 : "l"(b), "r"((u32)adds), "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]));                             \
  }
TESSERA_MULTIPLY(1)
TESSERA_MULTIPLY(2)
TESSERA_MULTIPLY(3)
TESSERA_MULTIPLY(4)
TESSERA_MULTIPLY(5)
TESSERA_MULTIPLY(6)
TESSERA_MULTIPLY(7)
TESSERA_MULTIPLY(8)
TESSERA_MULTIPLY(9)
TESSERA_MULTIPLY(10)
TESSERA_MULTIPLY(11)
TESSERA_MULTIPLY(12)
TESSERA_MULTIPLY(13)
TESSERA_MULTIPLY(14)
TESSERA_MULTIPLY(15)
TESSERA_MULTIPLY(16)
TESSERA_MULTIPLY(24)
TESSERA_MULTIPLY(32)

/// Orders what this thread wrote to its registers before the products that follow.
__device__ __forceinline__ void warpgroupFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void warpgroupCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// Waits until at most `pending` groups are under way.
template <int pending>
__device__ __forceinline__ void warpgroupWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
