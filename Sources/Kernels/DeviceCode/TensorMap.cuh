// Tensor maps made by the kernel that uses them, for arrays whose address is known only then, and copies by them (sm_90a).
#pragma once
#include "Async.cuh"

/// A tensor map under construction in 128 bytes of shared memory at `room` (a multiple of 128), by one warp. Places outside of
/// the array read as zeros.
struct TensorMap {
  u32 room;

  __device__ __forceinline__ TensorMap(u32 room, int lane) : room(room) {
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(room + 4 * lane), "r"(0) : "memory");
    __syncwarp();
  }

  /// Numbers of `bytes` bytes, `rank` dimensions. One lane's, as `dimension`. Swizzle 3 puts 16 bytes at byte p of a box at
  /// p ^ (p / 128 % 8) * 16, swizzle 1 at p ^ (p / 128 % 2) * 16, where the first dimension of a box is 128 or 32 bytes, swizzle 0 at p.
  template <int bytes, int rank, int swizzle>
  __device__ __forceinline__ void begin(const void* origin) const {
    asm volatile("tensormap.replace.tile.global_address.shared::cta.b1024.b64 [%0], %1;" ::"l"((u64)room), "l"(origin) : "memory");
    asm volatile("tensormap.replace.tile.rank.shared::cta.b1024.b32 [%0], %1;" ::"l"((u64)room), "n"(rank - 1) : "memory");
    asm volatile("tensormap.replace.tile.elemtype.shared::cta.b1024.b32 [%0], %1;" ::"l"((u64)room), "n"(bytes / 2) : "memory");
    asm volatile("tensormap.replace.tile.interleave_layout.shared::cta.b1024.b32 [%0], 0;" ::"l"((u64)room) : "memory");
    asm volatile("tensormap.replace.tile.swizzle_mode.shared::cta.b1024.b32 [%0], %1;" ::"l"((u64)room), "n"(swizzle) : "memory");
    asm volatile("tensormap.replace.tile.fill_mode.shared::cta.b1024.b32 [%0], 0;" ::"l"((u64)room) : "memory");
  }

  /// `size` places, `box` of them in a box, `stride` bytes apart (the first dimension's are neighbours).
  template <int number>
  __device__ __forceinline__ void dimension(int size, int box, i64 stride = 0) const {
    asm volatile("tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%0], %2, %1;" ::"l"((u64)room), "r"(size), "n"(number) : "memory");
    asm volatile("tensormap.replace.tile.box_dim.shared::cta.b1024.b32 [%0], %2, %1;" ::"l"((u64)room), "r"(box), "n"(number) : "memory");
    asm volatile("tensormap.replace.tile.element_stride.shared::cta.b1024.b32 [%0], %2, %1;" ::"l"((u64)room), "r"(1), "n"(number) : "memory");
    if constexpr (number > 0)
      asm volatile(
          "tensormap.replace.tile.global_stride.shared::cta.b1024.b64 [%0], %2, %1;" ::"l"((u64)room), "l"(stride), "n"(number - 1)
          : "memory");
  }

  /// Copies it to `map` in device memory (128 bytes, at a multiple of 128), and lets this warp use it there.
  __device__ __forceinline__ void publish(void* map) const {
    __syncwarp();
    asm volatile(
        "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [%0], [%1], 128;\n"
        "fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(map),
        "r"(room)
        : "memory");
  }
};

/// Lets this warp use a map that another one of this block has published, after a barrier of both.
__device__ __forceinline__ void acquireMap(const void* map) {
  asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(map) : "memory");
}

/// Copies the box at (x, y) to this block; the barrier counts it in.
__device__ __forceinline__ void copyBox(u32 target, const void* map, int x, int y, u32 barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(target),
      "l"(map), "r"(x), "r"(y), "r"(barrier)
      : "memory");
}

/// Copies the box at (x, y, z) to the same place of every block of a cluster of `share`; the barrier at the same place of each counts
/// it in.
template <int share>
__device__ __forceinline__ void copyBox(u32 target, const void* map, int x, int y, int z, u32 barrier) {
  if constexpr (share == 1)
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];" ::"r"(target),
        "l"(map), "r"(x), "r"(y), "r"(z), "r"(barrier)
        : "memory");
  else
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3, %4}], "
        "[%5], %6;" ::"r"(target),
        "l"(map), "r"(x), "r"(y), "r"(z), "r"(barrier), "h"((u16)((1 << share) - 1))
        : "memory");
}

/// The same with four coordinates.
template <int share>
__device__ __forceinline__ void copyBox(u32 target, const void* map, int x, int y, int z, int w, u32 barrier) {
  if constexpr (share == 1)
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(target),
        "l"(map), "r"(x), "r"(y), "r"(z), "r"(w), "r"(barrier)
        : "memory");
  else
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
        "[%1, {%2, %3, %4, %5}], [%6], %7;" ::"r"(target),
        "l"(map), "r"(x), "r"(y), "r"(z), "r"(w), "r"(barrier), "h"((u16)((1 << share) - 1))
        : "memory");
}

/// Writes the box at (x, y, z) from shared memory, later: see writesWait.
__device__ __forceinline__ void writeBox(const void* map, u32 source, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%1, %2, %3}], [%4];" ::"l"(map), "r"(x), "r"(y), "r"(z),
               "r"(source)
               : "memory");
}

/// The same with four coordinates.
__device__ __forceinline__ void writeBox(const void* map, u32 source, int x, int y, int z, int w) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%1, %2, %3, %4}], [%5];" ::"l"(map), "r"(x), "r"(y), "r"(z),
               "r"(w), "r"(source)
               : "memory");
}
