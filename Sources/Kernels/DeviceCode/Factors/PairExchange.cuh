// What both kernels of pairs share: what they write, and the steps of a cluster.
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

/// The steps of one cluster: tiles of `stepRows` rows, dealt out in turn. Each tile is given to `shares` clusters, which start together.
template <int stepRows, int shares = 1>
struct PairSteps {
  int cluster, clusters, rows, count;

  __device__ __forceinline__ explicit PairSteps(int rows)
      : cluster(blockIdx.x / clusterSize / shares), clusters(gridDim.x / clusterSize / shares), rows(rows) {
    const int tiles = divideUp(rows, stepRows);
    count = cluster < tiles ? (tiles - 1 - cluster) / clusters + 1 : 0;
  }
  __device__ __forceinline__ i64 firstRow(int step) const { return (i64)(cluster + step * clusters) * stepRows; }
  __device__ __forceinline__ int rowsHere(int step) const { return min(stepRows, rows - (int)firstRow(step)); }
};
