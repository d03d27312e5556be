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

  /// The source row of row 0 of tile row `g`, and how many of its rows 0 ..< 4 are present (may be negative or above 4).
  __device__ __forceinline__ int first(int g, int& present) const {
    const int outer = g / inner;
    const int i = g - outer * inner;
    present = limit - outer * limitOuter - i * limitInner;
    return outer * outerStride + i * innerStride;
  }

  /// The source row of row `a` of tile row `g`, or -1 where there is none.
  __device__ __forceinline__ int row(int g, int a) const {
    int present;
    const int row = first(g, present);
    return a < present ? row + a * subStride : -1;
  }
};

// As kernel parameters (MLX passes scalars one by one).
#define ROW_MAP_PARAMETERS \
  int inner, int outerStride, int innerStride, int subStride, int limitOuter, int limitInner, int limit
#define ROW_MAP_ARGUMENT (RowMap{inner, outerStride, innerStride, subStride, limitOuter, limitInner, limit})
