// How decoded rows leave: bias, activation, and stores of eight outputs (four of float32) in a row.
#pragma once
#include "Element.cuh"
#include "RowMap.cuh"

// 0 none, 1 GELU (error function), 2 GELU (tanh), 3 SiLU
#ifndef TESSERA_ACTIVATION
#define TESSERA_ACTIVATION 0
#endif

__device__ __forceinline__ float activation(float x) {
#if TESSERA_ACTIVATION == 1
  return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
#elif TESSERA_ACTIVATION == 2
  return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
#elif TESSERA_ACTIVATION == 3
  return x / (1.0f + __expf(-x));
#else
  return x;
#endif
}

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

  template <int count>
  __device__ __forceinline__ void loadBias(float (&values)[count], int column) const {
#pragma unroll
    for (int i = 0; i < count; ++i)
      values[i] = bias != nullptr && column + i < columns ? storageValue(bias[column + i]) : 0.0f;
  }

  /// Writes outputs `column ..< column + count` of a source row.
  template <int count>
  __device__ __forceinline__ void store(int row, int column, float (&values)[count], const float (&biases)[count]) const {
#pragma unroll
    for (int i = 0; i < count; ++i) values[i] = activation(values[i] + biases[i]);
    Storage* target = y + (i64)row * pitch + column;
    if (aligned && column + count <= columns) {
#if TESSERA_ELEMENT == 2
#pragma unroll
      for (int i = 0; i < count; i += 4)
        storeStreaming(target + i, make_uint4(__float_as_uint(values[i]), __float_as_uint(values[i + 1]),
                                              __float_as_uint(values[i + 2]), __float_as_uint(values[i + 3])));
#else
#pragma unroll
      for (int i = 0; i < count; i += 8)
        storeStreaming(target + i, make_uint4(Element::pack(values[i], values[i + 1]),
                                              Element::pack(values[i + 2], values[i + 3]),
                                              Element::pack(values[i + 4], values[i + 5]),
                                              Element::pack(values[i + 6], values[i + 7])));
#endif
    } else {
#pragma unroll
      for (int i = 0; i < count; ++i)
        if (column + i < columns) target[i] = storageBits(values[i]);
    }
  }
};
