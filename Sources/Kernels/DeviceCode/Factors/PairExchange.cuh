// What both kernels of pairs share: what they write, the steps of a cluster, and stores to its other blocks.
#pragma once
#include "Async.cuh"
#include "Factors/PairShape.cuh"

#ifndef TESSERA_KEEP
#define TESSERA_KEEP 0
#endif
#ifndef TESSERA_OUTPUT
#define TESSERA_OUTPUT 1
#endif

// The parameters of what a kernel writes, y with OUTPUT and z with KEEP, and names for what it does not.
#if TESSERA_OUTPUT
#define PAIR_Y Storage *__restrict__ y,
#define PAIR_NO_Y
#else
#define PAIR_Y
#define PAIR_NO_Y Storage* y = nullptr;
#endif
#if TESSERA_KEEP
#define PAIR_Z Storage *__restrict__ inner,
#define PAIR_NO_Z
#else
#define PAIR_Z
#define PAIR_NO_Z Storage* inner = nullptr;
#endif
#define PAIR_OUTPUTS PAIR_Y PAIR_Z
#define PAIR_NO_OUTPUTS PAIR_NO_Y PAIR_NO_Z

/// Writes 16 bytes at the same place in block `block` of the cluster, counted in at that block's barrier.
__device__ __forceinline__ void storeToBlock(u32 address, u32 barrier, int block, uint4 v) {
  asm volatile(
      "{\n.reg .b32 remote, signal;\n"
      "mapa.shared::cluster.u32 remote, %0, %2;\n"
      "mapa.shared::cluster.u32 signal, %1, %2;\n"
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.u32 [remote], {%3, %4, %5, %6}, [signal];\n}\n" ::"r"(address),
      "r"(barrier), "r"(block), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
      : "memory");
}

/// Copies `bytes` from `source` to the place `address` of block `block` of the cluster, counted in at that block's barrier.
__device__ __forceinline__ void bulkCopyToBlock(u32 address, u32 source, int bytes, u32 barrier, int block) {
  asm volatile(
      "{\n.reg .b32 remote, signal;\n"
      "mapa.shared::cluster.u32 remote, %0, %4;\n"
      "mapa.shared::cluster.u32 signal, %3, %4;\n"
      "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [remote], [%1], %2, [signal];\n}\n" ::"r"(address),
      "r"(source), "r"(bytes), "r"(barrier), "r"(block)
      : "memory");
}

__device__ __forceinline__ void storeShared16(u32 address, uint4 v) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

/// The steps of one cluster: tiles of `stepRows` rows, dealt out in turn.
template <int stepRows>
struct PairSteps {
  int cluster, clusters, rows, count;

  __device__ __forceinline__ explicit PairSteps(int rows)
      : cluster(blockIdx.x / clusterSize), clusters(gridDim.x / clusterSize), rows(rows) {
    const int tiles = divideUp(rows, stepRows);
    count = cluster < tiles ? (tiles - 1 - cluster) / clusters + 1 : 0;
  }
  __device__ __forceinline__ i64 firstRow(int step) const { return (i64)(cluster + step * clusters) * stepRows; }
  __device__ __forceinline__ int rowsHere(int step) const { return min(stepRows, rows - (int)firstRow(step)); }
};
