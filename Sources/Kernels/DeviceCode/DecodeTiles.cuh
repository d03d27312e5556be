// Strassen-Tile, decode: from the planes to the 4 x 4 outputs of their tiles, by one warp with matrix instructions.
//
// The planes come as 16-byte chunks. A warp takes eight chunks of every plane at a time; lane (g, q) reads chunk g of the planes
// 8s + 2q and 8s + 2q + 1, pairs them by byte permutes, and these are the A operand (16 positions x 8 planes) as they are. The
// result gives lane (g, q) row q of two neighbouring tiles: eight outputs in a row.
#pragma once
#include "Output.cuh"
#include "Rank.cuh"
#include "TensorCore.cuh"

constexpr int rankSteps = (rank + 7) / 8;
/// Pairs of neighbouring positions in a chunk.
constexpr int chunkPairs = vectorLength / 2;

/// One chunk of each of a lane's planes.
struct PlaneChunks {
  uint4 chunk[rankSteps][2];

  /// Reads what other blocks have written in this launch: `source` is the lane's chunk of plane 0, planes `planeStride` elements
  /// apart.
  __device__ __forceinline__ void loadPublished(const Storage* source, i64 planeStride, int lane) {
    const int q = lane & 3;
    source += 2 * q * planeStride;
#pragma unroll
    for (int s = 0; s < rankSteps; ++s)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int plane = 8 * s + half;
        chunk[s][half] =
            8 * s + 8 <= rank || plane + 2 * q < rank ? loadUncached(source + plane * planeStride) : make_uint4(0, 0, 0, 0);
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

  /// The A operand of step s: pair i of the lane's two planes.
  static __device__ __forceinline__ void operand(u32 (&a)[fragmentWordsA], const PlaneChunks& planes, int s, int i) {
#if TESSERA_ELEMENT == 2
    a[0] = Element::round(__uint_as_float(word(planes.chunk[s][0], 2 * i)));
    a[1] = Element::round(__uint_as_float(word(planes.chunk[s][0], 2 * i + 1)));
    a[2] = Element::round(__uint_as_float(word(planes.chunk[s][1], 2 * i)));
    a[3] = Element::round(__uint_as_float(word(planes.chunk[s][1], 2 * i + 1)));
#else
    a[0] = permuteBytes(word(planes.chunk[s][0], i), word(planes.chunk[s][1], i), 0x5410);
    a[1] = permuteBytes(word(planes.chunk[s][0], i), word(planes.chunk[s][1], i), 0x7632);
#endif
  }

  /// Decodes a lane's chunks. `target` is the lane's source row (row q of the chunks' tile row) of y, or null; `column` the first
  /// output column of their first pair, pairs `pairStride` columns apart. `whole`: all columns exist and rows are aligned.
  template <bool whole, bool biased>
  __device__ __forceinline__ void decode(
      const PlaneChunks& planes, Storage* target, int column, int pairStride, const Output& output) const {
#pragma unroll
    for (int i = 0; i < chunkPairs; ++i) {
      float left[4] = {0.0f, 0.0f, 0.0f, 0.0f}, right[4] = {0.0f, 0.0f, 0.0f, 0.0f};
      const int first = column + i * pairStride;
      if (biased) {
        float biases[8];
        output.loadBias(biases, first);
        left[0] = biases[0], left[1] = biases[1], right[0] = biases[2], right[1] = biases[3];
        left[2] = biases[4], left[3] = biases[5], right[2] = biases[6], right[3] = biases[7];
      }
#pragma unroll
      for (int s = 0; s < rankSteps; s += 2) {
        u32 a[2][fragmentWordsA];
        operand(a[0], planes, s, i);
        if (s + 1 == rankSteps) {
          multiplyAccumulate(left, a[0], words[s][0]);
          multiplyAccumulate(right, a[0], words[s][1]);
        } else {
          operand(a[1], planes, s + 1, i);
          multiplyAccumulate(left, a[0], words[s][0], a[1], words[s + 1][0]);
          multiplyAccumulate(right, a[0], words[s][1], a[1], words[s + 1][1]);
        }
      }
      float values[8] = {left[0], left[1], right[0], right[1], left[2], left[3], right[2], right[3]};
      if (target != nullptr) {
        if (whole) Output::storeWhole(target + first, values);
        else output.storePart(target + first, first, values);
      }
    }
  }
};
