// Strassen-Tile, encode: planes[p][g][l] = sum over (a, b) of basis[p][4a + b] * x[row(g, a)][4l + b].
//
// One kernel serves activations (basis = encoder) and output gradients (basis = decoder), in every row policy.
//
//   x         [rows, columns] elements, row pitch `pitchX` elements; any alignment (16-byte rows take the fast path)
//   basis     [RANK, 16] elements
//   planes    out: [RANK][tileRows][pitchPlanes], pitchPlanes a multiple of 16 bytes, all of it written, padding with zeros
//   row map   see RowMap.cuh; tileRows tile rows exist
//
// Launch: 256 threads; ceil(bytes of a plane's row / 256) * ceil(tileRows / 4) blocks. No shared memory. Any GPU from sm_80 on.
// X is read once, each plane written once. Memory-bound: columns * rows + RANK * tileRows * pitchPlanes elements; 83 to 88 % of
// the copy bandwidth (H200, 8192^2, rank 16 to 32).
//
// A warp takes a column block of a tile row. Lane (g, q) holds 16 columns of row q of its tiles as it read them: they are the B
// operand as they are (the 16 positions of a tile are the contraction, in an order that the basis follows), and the result leaves
// as 16-byte chunks of neighbouring tiles.
#include "Rank.cuh"
#include "TensorCore.cuh"
#include "TileInput.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL strassen_encode
#endif

constexpr int warpsAcross = 2, warpsDown = 4;
constexpr int rankTiles = (rank + 15) / 16;

/// Tiles that a warp takes of a tile row: 128 bytes of a plane.
constexpr int blockColumns = 128 / Element::bytes;

// A group is 32 tiles of a tile row; a lane reads 16 columns of it: 4 tiles of one source row.
constexpr int groupsPerBlock = blockColumns / 32;

/// The columns that lane (g, q) reads of a column block: 16 bytes at each of four places.
constexpr int lanePieces = 4;
__device__ __forceinline__ int laneColumn(int block, int piece, int lane) {
  constexpr int perGroup = lanePieces / groupsPerBlock;
  return 4 * (block * blockColumns + piece / perGroup * 32 + 4 * (lane >> 2)) + piece % perGroup * vectorLength;
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

  /// Encodes what a lane has read of a column block and stores it. `target` is the block's first tile in plane g of lane (g, q),
  /// planes are `planeStride` elements apart; `room` tiles may be written.
  __device__ __forceinline__ void encode(
      const uint4 (&pieces)[lanePieces], Storage* target, i64 planeStride, int room, int lane) const {
    const int g = lane >> 2, q = lane & 3;
#pragma unroll
    for (int m = 0; m < rankTiles; ++m) {
      Storage* out = target + 16 * m * planeStride;
#pragma unroll
      for (int group = 0; group < groupsPerBlock; ++group) {
        // d[c] covers tiles 4n + c (n = 0 ..< 8): lane (g, q) ends up with tiles 8q .. 8q+7 of planes 16m + g and 16m + 8 + g.
        float d[4][4];
#pragma unroll
        for (int c = 0; c < 4; ++c) {
#pragma unroll
          for (int i = 0; i < 4; ++i) d[c][i] = 0.0f;
          u32 b[2][fragmentWordsB];
#if TESSERA_ELEMENT == 2
          const uint4 v = pieces[c];
          b[0][0] = Element::round(__uint_as_float(v.x)), b[0][1] = Element::round(__uint_as_float(v.y));
          b[1][0] = Element::round(__uint_as_float(v.z)), b[1][1] = Element::round(__uint_as_float(v.w));
#else
          const uint4 v = pieces[2 * group + c / 2];
          b[0][0] = c % 2 ? v.z : v.x, b[1][0] = c % 2 ? v.w : v.y;
#endif
          multiplyAccumulate(d[c], words[m][0], b[0], words[m][1], b[1]);
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          if (16 * m + 8 * half >= rank) continue;
          if (16 * m + 8 * half + 8 > rank && 16 * m + 8 * half + g >= rank) continue;
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
            const int tile = group * 32 + 8 * q + part * vectorLength;
            if (tile < room) store16(out + 8 * half * planeStride + tile, v);
          }
        }
      }
    }
  }
};

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ x, const Storage* __restrict__ basis, Storage* __restrict__ planes, ROW_MAP_PARAMETERS,
    int tileRows, int columns, int pitchX, int pitchPlanes) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int across = (pitchPlanes + blockColumns * warpsAcross - 1) / (blockColumns * warpsAcross);
  const int block = blockIdx.x % across * warpsAcross + warp % warpsAcross;
  const int tileRow = blockIdx.x / across * warpsDown + warp / warpsAcross;
  const int room = pitchPlanes - block * blockColumns;
  if (tileRow >= tileRows || room <= 0) return;
  const Input input(x, ROW_MAP_ARGUMENT, tileRows, columns, pitchX);
  const int source = input.row(tileRow, lane & 3);
  uint4 pieces[lanePieces];
#pragma unroll
  for (int piece = 0; piece < lanePieces; ++piece) pieces[piece] = input.load(source, laneColumn(block, piece, lane));
  Basis encoder;
  encoder.load(basis, lane);
  const i64 planeStride = (i64)tileRows * pitchPlanes;
  Storage* target = planes + (i64)tileRow * pitchPlanes + block * blockColumns;
  encoder.encode(pieces, target + (lane >> 2) * planeStride, planeStride, room, lane);
}
