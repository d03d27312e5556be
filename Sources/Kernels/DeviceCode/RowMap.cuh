// Which source rows form a tile row.
//
// A matrix of activations has `rows` rows; four of them form tile row g. With g = outer * inner + i (i < inner), row a of the
// tile (a = 0 ..< 4) is source row
//
//     outer * outerStride + i * innerStride + a * subStride,   present when   outer * limitOuter + i * limitInner + a < limit.
//
// A row that is absent reads as zeros and is never written. The three policies of the operator (B samples of T rows):
//
//     sequence   inner = ceil(T/4)  outerStride = T    innerStride = 4  subStride = 1  limitOuter = 0  limitInner = 4  limit = T
//     batch      inner = T          outerStride = 4T   innerStride = 1  subStride = T  limitOuter = 4  limitInner = 0  limit = B
//     flat       sequence with one sample of all rows
#pragma once

struct RowMap {
  int inner, outerStride, innerStride, subStride, limitOuter, limitInner, limit;

  /// The source row of row `a` of tile row `g`, or -1 where there is none.
  __device__ __forceinline__ int row(int g, int a) const;
};

/// A tile row as the map's pair (outer, i); stepping is cheaper than dividing anew.
struct TileRow {
  int outer, i;

  __device__ __forceinline__ TileRow(const RowMap& map, int g) : outer(g / map.inner), i(g - outer * map.inner) {}
  __device__ __forceinline__ void advance(const RowMap& map) {
    if (++i == map.inner) i = 0, ++outer;
  }
  __device__ __forceinline__ int row(const RowMap& map, int a) const {
    const bool present = outer * map.limitOuter + i * map.limitInner + a < map.limit;
    return present ? outer * map.outerStride + i * map.innerStride + a * map.subStride : -1;
  }
};

__device__ __forceinline__ int RowMap::row(int g, int a) const { return TileRow(*this, g).row(*this, a); }

// As kernel parameters (MLX passes scalars one by one).
#define ROW_MAP_PARAMETERS \
  int inner, int outerStride, int innerStride, int subStride, int limitOuter, int limitInner, int limit
#define ROW_MAP_ARGUMENT (RowMap{inner, outerStride, innerStride, subStride, limitOuter, limitInner, limit})
