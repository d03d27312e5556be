// Rows of a matrix as tiles are read from them: 16 bytes at a time, element by element only at the end of a row.
#pragma once
#include "Element.cuh"
#include "RowMap.cuh"

/// x is [rows, columns] with row pitch `pitch`.
struct Input {
  const Storage* x;
  RowMap map;
  int tileRows, columns, pitch;
  bool aligned;

  __device__ __forceinline__ Input(const Storage* x, RowMap map, int tileRows, int columns, int pitch)
      : x(x), map(map), tileRows(tileRows), columns(columns), pitch(pitch),
        aligned(((u64)x & 15) == 0 && pitch % vectorLength == 0) {}

  /// The source row of row `a` of a tile row, or -1.
  __device__ __forceinline__ int row(int tileRow, int a) const { return tileRow < tileRows ? map.row(tileRow, a) : -1; }

  /// 16 bytes from `column` of a source row are all of the matrix.
  __device__ __forceinline__ bool whole(int row, int column) const { return row >= 0 && column + vectorLength <= columns; }

  /// 16 bytes at any address of an element, by way of the aligned 16 bytes that each hold some of them.
  static __device__ __forceinline__ uint4 shifted(const Storage* source) {
    const int shift = (int)((u64)source & 15);
    const uint4* start = reinterpret_cast<const uint4*>((u64)source & ~(u64)15);
    const uint4 low = loadConstant(start), high = shift == 0 ? low : loadConstant(start + 1);
    u32 w[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    if (shift & 8) {
#pragma unroll
      for (int i = 0; i < 6; ++i) w[i] = w[i + 2];
    }
    if (shift & 4) {
#pragma unroll
      for (int i = 0; i < 5; ++i) w[i] = w[i + 1];
    }
    const int bits = shift % 4 * 8;
    return make_uint4(__funnelshift_r(w[0], w[1], bits), __funnelshift_r(w[1], w[2], bits),
                      __funnelshift_r(w[2], w[3], bits), __funnelshift_r(w[3], w[4], bits));
  }

  /// The same 16 bytes element by element; absent rows and columns are zero.
  __device__ __forceinline__ uint4 gather(int row, int column) const {
    u32 words[4] = {0, 0, 0, 0};
    if (row >= 0) {
      const Storage* source = x + (i64)row * pitch + column;
#pragma unroll
      for (int i = 0; i < vectorLength; ++i)
        if (column + i < columns) words[i * Element::bytes / 4] |= (u32)source[i] << (i * Element::bytes % 4 * 8);
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
  }

  __device__ __forceinline__ uint4 load(int row, int column) const {
    if (!whole(row, column)) return gather(row, column);
    const Storage* source = x + (i64)row * pitch + column;
    return aligned ? loadConstant(source) : shifted(source);
  }
};
