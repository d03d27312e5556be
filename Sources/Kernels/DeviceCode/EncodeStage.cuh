// Strassen-Tile, encode of rows into blocked planes (Planes.cuh) inside a products kernel:
//
//     planes[p][g][l] = sum over (a, b) of basis[p][4a + b] * x[row(g, a)][4l + b]
//
// As the decode stage, on the float32 units. A lane takes the two neighbouring tiles (float32: the one) that 16 bytes of each of
// four source rows hold, and writes one 32-bit word of every plane: a warp writes a row of a block, 128 bytes, at a time.
#pragma once
#include "DecodeStage.cuh"
#include "Planes.cuh"

/// Where encoded rows come from: x is [rows, columns] with row pitch `pitch`.
struct Input {
  const Storage* x;
  RowMap map;
  int tileRows, columns, pitch;
  bool aligned;

  __device__ __forceinline__ Input(const Storage* x, RowMap map, int tileRows, int columns, int pitch)
      : x(x), map(map), tileRows(tileRows), columns(columns), pitch(pitch),
        aligned(((u64)x & 15) == 0 && pitch % vectorLength == 0) {}

  /// 16 bytes from `column` of a source row; absent columns are zero.
  __device__ __forceinline__ uint4 load(int row, int column) const {
    const Storage* source = x + (i64)row * pitch + column;
    if (aligned && column + vectorLength <= columns) return loadConstant(source);
    u32 words[4] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < vectorLength; ++i)
      if (column + i < columns) words[i * Element::bytes / 4] |= (u32)source[i] << (i * Element::bytes % 4 * 8);
    return make_uint4(words[0], words[1], words[2], words[3]);
  }
};

/// What a warp encodes in one go: eight tile rows by two column blocks.
constexpr int itemRows = 8, itemBlocks = 2;

__device__ __forceinline__ int encodeItems(int columnBlocks) {
  return tileRowsPerBlock / itemRows * ((columnBlocks + itemBlocks - 1) / itemBlocks);
}

/// Encodes item `item` of the 128 tile rows of block row m; `basis` is an address in shared memory. Called by a whole warp.
__device__ __forceinline__ void encodeItem(
    const Input& input, Storage* planes, int m, int item, int rowBlocks, int columnBlocks, u32 basis) {
  const int lane = threadIdx.x & 31;
  const int perRow = (columnBlocks + itemBlocks - 1) / itemBlocks;
  const int firstRow = m * tileRowsPerBlock + item / perRow * itemRows;
  const int firstBlock = item % perRow * itemBlocks;

  const auto load = [&](uint4(&words)[4], int step) {
    const int tileRow = firstRow + step % itemRows, block = firstBlock + step / itemRows;
    const int column = 4 * block * blockColumns + lane * vectorLength;
    int present = 0, row = 0;
    if (tileRow < input.tileRows && block < columnBlocks) row = input.map.first(tileRow, present);
#pragma unroll
    for (int a = 0; a < 4; ++a)
      words[a] = a < present ? input.load(row + a * input.map.subStride, column) : make_uint4(0, 0, 0, 0);
  };
  uint4 next[4];
  load(next, 0);
#pragma unroll 1
  for (int step = 0; step < itemRows * itemBlocks; ++step) {
    const int tileRow = firstRow + step % itemRows, block = firstBlock + step / itemRows;
    if (block >= columnBlocks) break;
    // x[a][t][b]: row a, tile t, column b.
    float x[4][wordPositions][4];
#pragma unroll
    for (int a = 0; a < 4; ++a) {
#if TESSERA_ELEMENT == 2
      x[a][0][0] = __uint_as_float(next[a].x), x[a][0][1] = __uint_as_float(next[a].y);
      x[a][0][2] = __uint_as_float(next[a].z), x[a][0][3] = __uint_as_float(next[a].w);
#else
      const u32 words[4] = {next[a].x, next[a].y, next[a].z, next[a].w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float pair[2];
        unpack(pair, words[i]);
        x[a][i / 2][i % 2 * 2] = pair[0], x[a][i / 2][i % 2 * 2 + 1] = pair[1];
      }
#endif
    }
    if (step + 1 < itemRows * itemBlocks) load(next, step + 1);
    const int row = tileRow % blockRows;
    Storage* target = planes + ((i64)(tileRow / blockRows) * columnBlocks + block) * blockElements
        + blockOffset(row, lane >> 2) + (lane & 3) * wordPositions;
    const i64 planeStride = (i64)rowBlocks * columnBlocks * blockElements;
#pragma unroll 4
    for (int plane = 0; plane < rank; ++plane) {
      float sum[wordPositions];
#pragma unroll
      for (int t = 0; t < wordPositions; ++t) sum[t] = 0.0f;
#pragma unroll
      for (int a = 0; a < 4; ++a) {
        const float4 factor = loadFloats(basis + (plane * 16 + 4 * a) * 4);
#pragma unroll
        for (int t = 0; t < wordPositions; ++t)
          sum[t] += x[a][t][0] * factor.x + x[a][t][1] * factor.y + x[a][t][2] * factor.z + x[a][t][3] * factor.w;
      }
#if TESSERA_ELEMENT == 2
      *(u32*)target = Element::round(sum[0]);
#else
      *(u32*)target = Element::pack(sum[0], sum[1]);
#endif
      target += planeStride;
    }
  }
}
