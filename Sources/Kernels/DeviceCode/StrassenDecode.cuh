// Strassen-Tile, decode: from R planes at a position to the 4 x 4 outputs of that tile, with bias and activation.
//
//     y[row(g, a)][4j + b] = activation(bias[4j + b] + sum over p of planes[p][g][j] * basis[p][4a + b])
//
// The planes come as 16-byte chunks. A warp takes eight chunks of every plane at a time; lane (g, q) reads chunk g of the planes
// 8s + 2q and 8s + 2q + 1, pairs them by byte permutes, and these are the A operand (16 positions x 8 planes) as they are. The
// result gives lane (g, q) row q of two neighbouring tiles: eight outputs in a row.
#pragma once
#include "Planes.cuh"
#include "RowMap.cuh"
#include "TensorCore.cuh"

#ifndef TESSERA_RANK
#define TESSERA_RANK 16
#endif
// 0 none, 1 GELU (error function), 2 GELU (tanh), 3 SiLU
#ifndef TESSERA_ACTIVATION
#define TESSERA_ACTIVATION 0
#endif

constexpr int rank = TESSERA_RANK;
constexpr int rankSteps = (rank + 7) / 8;
/// Pairs of neighbouring positions in a chunk.
constexpr int chunkPairs = vectorLength / 2;

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

  /// Writes outputs `column ..< column + 8` of a source row.
  __device__ __forceinline__ void store(int row, int column, float (&values)[8]) const {
    if (row < 0) return;
    const bool whole = aligned && column + 8 <= columns;
    if (bias != nullptr) {
#pragma unroll
      for (int i = 0; i < 8; ++i)
        if (column + i < columns) values[i] += storageValue(bias[column + i]);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = activation(values[i]);
    Storage* target = y + (i64)row * pitch + column;
    if (whole) {
#if TESSERA_ELEMENT == 2
      storeStreaming(target, make_uint4(__float_as_uint(values[0]), __float_as_uint(values[1]),
                                        __float_as_uint(values[2]), __float_as_uint(values[3])));
      storeStreaming(target + 4, make_uint4(__float_as_uint(values[4]), __float_as_uint(values[5]),
                                            __float_as_uint(values[6]), __float_as_uint(values[7])));
#else
      storeStreaming(target, make_uint4(Element::pack(values[0], values[1]), Element::pack(values[2], values[3]),
                                        Element::pack(values[4], values[5]), Element::pack(values[6], values[7])));
#endif
      return;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i)
      if (column + i < columns) target[i] = storageBits(values[i]);
  }
};

/// One chunk of each of a lane's planes.
struct PlaneChunks {
  uint4 chunk[rankSteps][2];

  /// `source` is the lane's chunk of plane 0; planes are `planeStride` elements apart.
  __device__ __forceinline__ void load(const Storage* source, i64 planeStride, bool present, int lane) {
    const int q = lane & 3;
#pragma unroll
    for (int s = 0; s < rankSteps; ++s)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int plane = 8 * s + 2 * q + half;
        chunk[s][half] = present && (8 * s + 8 <= rank || plane < rank) ? loadShared(source + plane * planeStride)
                                                                       : make_uint4(0, 0, 0, 0);
      }
  }
};

__device__ __forceinline__ u32 word(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

/// The decoder as the B operand, for all planes, in registers.
struct Decoder {
  u32 words[rankSteps][2][fragmentWordsB];

  __device__ __forceinline__ void load(const Storage* __restrict__ basis, int lane) {
    const int g = lane >> 2, q = lane & 3;
#pragma unroll
    for (int s = 0; s < rankSteps; ++s)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        // Column n = g of half `half` is position 4 (g / 2) + 2 half + g mod 2 of the tile: lane q of the result holds row q.
        const int position = 4 * (g >> 1) + 2 * half + (g & 1);
        const int plane = 8 * s + 2 * q;
        const Storage low = plane < rank ? basis[plane * 16 + position] : (Storage)0;
        const Storage high = plane + 1 < rank ? basis[(plane + 1) * 16 + position] : (Storage)0;
#if TESSERA_ELEMENT == 2
        words[s][half][0] = Element::round(__uint_as_float(low));
        words[s][half][1] = Element::round(__uint_as_float(high));
#else
        words[s][half][0] = (u32)low | (u32)high << 16;
#endif
      }
  }

  /// Decodes a lane's chunks. `row` is source row q of the chunk's tile row (-1: none), `tile` the tile column of its first pair;
  /// pairs are `pairStride` tile columns apart.
  __device__ __forceinline__ void decode(
      const PlaneChunks& planes, int row, int tile, int pairStride, const Output& output) const {
    float left[chunkPairs][4], right[chunkPairs][4];
#pragma unroll
    for (int i = 0; i < chunkPairs; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) left[i][j] = 0.0f, right[i][j] = 0.0f;
#pragma unroll
    for (int s = 0; s < rankSteps; ++s)
#pragma unroll
      for (int i = 0; i < chunkPairs; ++i) {
        u32 a[fragmentWordsA];
#if TESSERA_ELEMENT == 2
        a[0] = Element::round(__uint_as_float(word(planes.chunk[s][0], 2 * i)));
        a[1] = Element::round(__uint_as_float(word(planes.chunk[s][0], 2 * i + 1)));
        a[2] = Element::round(__uint_as_float(word(planes.chunk[s][1], 2 * i)));
        a[3] = Element::round(__uint_as_float(word(planes.chunk[s][1], 2 * i + 1)));
#else
        a[0] = permuteBytes(word(planes.chunk[s][0], i), word(planes.chunk[s][1], i), 0x5410);
        a[1] = permuteBytes(word(planes.chunk[s][0], i), word(planes.chunk[s][1], i), 0x7632);
#endif
        multiplyAccumulate(left[i], a, words[s][0]);
        multiplyAccumulate(right[i], a, words[s][1]);
      }
#pragma unroll
    for (int i = 0; i < chunkPairs; ++i) {
      float values[8] = {left[i][0],  left[i][1],  right[i][0], right[i][1],
                         left[i][2], left[i][3], right[i][2], right[i][3]};
      output.store(row, 4 * (tile + i * pairStride), values);
    }
  }
};
