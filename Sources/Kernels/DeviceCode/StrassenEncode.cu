// Strassen-Tile, encode: planes[p][g][l] = sum over (a, b) of basis[p][4a + b] * x[row(g, a)][4l + b].
//
// One kernel serves activations (basis = encoder) and output gradients (basis = decoder), in every row policy.
//
//   x         [rows, columns] elements, row pitch `pitchX` elements; any alignment (16-byte rows take the fast path)
//   basis     [RANK, 16] elements
//   planes    out; blocked: [RANK][paddedRows / 64][columnBlocks][8 KiB], all of it written, padding with zeros;
//             row major (-DTESSERA_PLANES=1): [RANK][tileRows][pitchPlanes], columns up to pitchPlanes written
//   row map   see RowMap.cuh; tileRows tile rows exist
//   paddedRows, columnBlocks  extent of the planes in rows (blocked: a multiple of 256; row major: tileRows) and blocks
//   pitchPlanes               row major only: elements, a multiple of 16 bytes
//
// Launch: 256 threads; grid (ceil(columnBlocks / 2), ceil(paddedRows / 8)). No shared memory.
// A warp takes one tile row and two column blocks: each lane reads 16-byte pieces of the row a = lane mod 4 of its tiles, which
// are the B operand of the matrix instruction as they are (the 16 positions of a tile are the contraction, in an order that the
// basis follows), and the results leave as 16-byte chunks of eight tiles. X is read once, each plane written once.
// Memory-bound: (columns*rows + RANK*paddedRows*columnBlocks*blockColumns) elements.
#include "Planes.cuh"
#include "RowMap.cuh"
#include "TensorCore.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL strassen_encode
#endif
#ifndef TESSERA_RANK
#define TESSERA_RANK 16
#endif
#ifndef TESSERA_PLANES
#define TESSERA_PLANES 0
#endif

constexpr int rank = TESSERA_RANK;
constexpr int rankTiles = (rank + 15) / 16;

// A group is 32 tiles of a tile row; a lane reads 16 columns of it: 4 tiles of one source row.
constexpr int groupWords = 16 * Element::bytes / 4;
constexpr int groupsPerBlock = blockColumns / 32;
constexpr int blocksPerWarp = 2;

/// Columns `column ..< column + 16` of a source row as packed words; absent columns and rows are zero.
__device__ __forceinline__ void loadColumns(
    u32 (&words)[groupWords], const Storage* __restrict__ x, i64 rowOffset, bool present, int column, int columns,
    bool aligned) {
  if (present && aligned && column + 16 <= columns) {
    const Storage* source = x + rowOffset + column;
#pragma unroll
    for (int i = 0; i < groupWords / 4; ++i) {
      const uint4 v = loadConstant(source + i * vectorLength);
      words[4 * i] = v.x, words[4 * i + 1] = v.y, words[4 * i + 2] = v.z, words[4 * i + 3] = v.w;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < groupWords; ++i) {
#if TESSERA_ELEMENT == 2
    words[i] = present && column + i < columns ? x[rowOffset + column + i] : 0u;
#else
    const u32 low = present && column + 2 * i < columns ? x[rowOffset + column + 2 * i] : 0u;
    const u32 high = present && column + 2 * i + 1 < columns ? x[rowOffset + column + 2 * i + 1] : 0u;
    words[i] = low | high << 16;
#endif
  }
}

// The contraction over the 16 positions of a tile takes two k = 8 steps. Lane (g, q) supplies positions 4q .. 4q+3 (row q of the
// tile): in step s the positions 4q + 2s and 4q + 2s + 1, for the basis (A) as for the tiles (B).
struct Basis {
  u32 words[rankTiles][2][fragmentWordsA];

  __device__ __forceinline__ void load(const Storage* __restrict__ basis, int lane) {
    const int g = lane >> 2, q = lane & 3;
#pragma unroll
    for (int m = 0; m < rankTiles; ++m)
#pragma unroll
      for (int s = 0; s < 2; ++s)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int plane = 16 * m + 8 * half + g;
          const Storage* source = basis + plane * 16 + 4 * q + 2 * s;
          const bool present = plane < rank;
#if TESSERA_ELEMENT == 2
          words[m][s][half] = present ? Element::round(__uint_as_float(source[0])) : 0u;
          words[m][s][half + 2] = present ? Element::round(__uint_as_float(source[1])) : 0u;
#else
          words[m][s][half] = present ? (u32)source[0] | (u32)source[1] << 16 : 0u;
#endif
        }
  }
};

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ x, const Storage* __restrict__ basis, Storage* __restrict__ planes,
    ROW_MAP_PARAMETERS, int tileRows, int columns, int pitchX, int paddedRows, int columnBlocks, int pitchPlanes) {
  const int lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
  const int tileRow = blockIdx.y * 8 + (threadIdx.x >> 5);
  if (tileRow >= paddedRows) return;

  const int source = tileRow < tileRows ? ROW_MAP_ARGUMENT.row(tileRow, q) : -1;
  const i64 rowOffset = (i64)source * pitchX;
  const bool aligned = ((u64)x & 15) == 0 && pitchX % vectorLength == 0;

  Basis encoder;
  encoder.load(basis, lane);

  u32 words[blocksPerWarp * groupsPerBlock][groupWords];
#pragma unroll
  for (int group = 0; group < blocksPerWarp * groupsPerBlock; ++group) {
    const int tile = blockIdx.x * (blocksPerWarp * blockColumns) + group * 32 + 4 * g;
    loadColumns(words[group], x, rowOffset, source >= 0, 4 * tile, columns, aligned);
  }

#pragma unroll
  for (int group = 0; group < blocksPerWarp * groupsPerBlock; ++group) {
    const int block = blockIdx.x * blocksPerWarp + group / groupsPerBlock;
    if (block >= columnBlocks) break;
#pragma unroll
    for (int m = 0; m < rankTiles; ++m) {
      // d[c] covers tiles 4n + c (n = 0 ..< 8): lane (g, q) ends up with tiles 8q .. 8q+7 of planes 16m + g and 16m + 8 + g.
      float d[4][4];
#pragma unroll
      for (int c = 0; c < 4; ++c) {
#pragma unroll
        for (int i = 0; i < 4; ++i) d[c][i] = 0.0f;
        u32 b[2][fragmentWordsB];
#pragma unroll
        for (int s = 0; s < 2; ++s) {
#if TESSERA_ELEMENT == 2
          b[s][0] = Element::round(__uint_as_float(words[group][4 * c + 2 * s]));
          b[s][1] = Element::round(__uint_as_float(words[group][4 * c + 2 * s + 1]));
#else
          b[s][0] = words[group][2 * c + s];
#endif
        }
        multiplyAccumulate(d[c], encoder.words[m][0], b[0], encoder.words[m][1], b[1]);
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int plane = 16 * m + 8 * half + g;
        if (plane >= rank) continue;
#if TESSERA_PLANES == 0
        Storage* target = planes
            + (((i64)plane * (paddedRows / blockRows) + tileRow / blockRows) * columnBlocks + block) * blockElements;
        const int row = tileRow % blockRows;
        const int firstChunk = ((group % groupsPerBlock) * 32 + 8 * q) / vectorLength;
#else
        const int tile = block * blockColumns + (group % groupsPerBlock) * 32 + 8 * q;
        Storage* target = planes + ((i64)plane * tileRows + tileRow) * pitchPlanes + tile;
#endif
#pragma unroll
        for (int part = 0; part < 8 / vectorLength; ++part) {
          uint4 v;
#if TESSERA_ELEMENT == 2
          v.x = Element::round(d[0][2 * half + part]);
          v.y = Element::round(d[1][2 * half + part]);
          v.z = Element::round(d[2][2 * half + part]);
          v.w = Element::round(d[3][2 * half + part]);
#else
          v.x = Element::pack(d[0][2 * half], d[1][2 * half]);
          v.y = Element::pack(d[2][2 * half], d[3][2 * half]);
          v.z = Element::pack(d[0][2 * half + 1], d[1][2 * half + 1]);
          v.w = Element::pack(d[2][2 * half + 1], d[3][2 * half + 1]);
#endif
#if TESSERA_PLANES == 0
          store16(target + blockOffset(row, firstChunk + part), v);
#else
          if (tile + part * vectorLength < pitchPlanes) store16(target + part * vectorLength, v);
#endif
        }
      }
    }
  }
}
