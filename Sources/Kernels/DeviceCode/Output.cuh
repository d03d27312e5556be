// How decoded rows leave: bias, and stores of eight outputs (four of float32) in a row.
#pragma once
#include "Element.cuh"
#include "RowMap.cuh"

/// Where decoded rows go: y is [rows, columns] with row pitch `pitch`; `bias` is [columns] or null.
struct Output {
  Storage* y;
  const Storage* bias;
  RowMap map;
  int tileRows, columns, pitch;
  bool aligned;

  __device__ __forceinline__ Output(
      Storage* y, const Storage* bias, RowMap map, int tileRows, int columns, int pitch)
      : y(y), bias(bias), map(map), tileRows(tileRows), columns(columns), pitch(pitch),
        aligned(((u64)y & 15) == 0 && pitch % vectorLength == 0) {}

  /// The biases of outputs `column ..< column + 8`.
  __device__ __forceinline__ void loadBias(float (&values)[8], int column) const {
#pragma unroll
    for (int i = 0; i < 8; ++i)
      values[i] = bias != nullptr && column + i < columns ? storageValue(bias[column + i]) : 0.0f;
  }

  /// Eight outputs from `column` of any row can be written as they lie.
  __device__ __forceinline__ bool whole(int column) const { return aligned && column + 8 <= columns; }

  static __device__ __forceinline__ void storeWhole(Storage* target, const float (&values)[8]) {
#if TESSERA_ELEMENT == 2
#pragma unroll
    for (int i = 0; i < 8; i += 4)
      storeStreaming(target + i, make_uint4(__float_as_uint(values[i]), __float_as_uint(values[i + 1]),
                                            __float_as_uint(values[i + 2]), __float_as_uint(values[i + 3])));
#else
    storeStreaming(target, make_uint4(Element::pack(values[0], values[1]), Element::pack(values[2], values[3]),
                                      Element::pack(values[4], values[5]), Element::pack(values[6], values[7])));
#endif
  }

  /// Writes those of eight outputs that exist.
  __device__ __forceinline__ void storePart(Storage* target, int column, const float (&values)[8]) const {
#pragma unroll
    for (int i = 0; i < 8; ++i)
      if (column + i < columns) target[i] = storageBits(values[i]);
  }
};
