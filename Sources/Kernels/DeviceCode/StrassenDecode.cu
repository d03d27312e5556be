// Strassen-Tile, decode: from the planes to the 4 x 4 outputs of their tiles,
//
//     y[row(g, a)][4j + b] = activation(bias[4j + b] + sum over p of planes[p][g][j] * basis[p][4a + b])
//
//   planes   [RANK][tileRows][pitchPlanes], pitchPlanes a multiple of 16 bytes, 16-byte aligned
//   basis    [RANK, 16] elements
//   bias     [columns] elements; read only if hasBias
//   y        out: [rows, columns], row pitch pitchY; rows that the map (RowMap.cuh) does not name keep their contents
//
// Launch: 256 threads, ceil(columns / 512) * ceil(tileRows / 4) blocks; no dynamic shared memory. Any GPU from sm_80 on.
// -DTESSERA_STAGED=1 is for rows of y that do not begin at multiples of 16 bytes: they leave by way of shared memory, in whole
// pieces of 16 bytes too.
// Memory-bound: RANK planes read once, y written once; 82 to 93 % of the copy bandwidth (H200, 8192^2, rank 16 to 32).
//
// A warp takes 64 neighbouring positions of a tile row, 16 (eight pairs) at a time: lane (g, q) reads pair g of the planes 8s + 2q
// and 8s + 2q + 1, and these, regrouped by byte permutes, are the A operand (16 positions x 8 planes). The result gives lane
// (g, q) row q of two neighbouring tiles, so that a store of the warp writes 128 contiguous bytes (float32: 256) of each of four
// rows. The four reads of a line of the planes come one after the other and meet in L1.
#include "Activation.cuh"
#include "Output.cuh"
#include "Rank.cuh"
#include "TensorCore.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL strassen_decode
#endif
#ifndef TESSERA_STAGED
#define TESSERA_STAGED 0
#endif

constexpr int sets = 4;  // of eight pairs
constexpr int rankSteps = (rank + 7) / 8;
constexpr int warpsAcross = 2, warpsDown = 4;

/// The basis as the B operand, for all planes, in registers.
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
};

/// Pair g of every set of the lane's planes; a word holds two elements of 16 bits, or one of float32.
struct Pairs {
#if TESSERA_ELEMENT == 2
  typedef uint2 Pair;
#else
  typedef u32 Pair;
#endif
  Pair pair[sets][rankSteps][2];

  /// The A operand of step s.
  __device__ __forceinline__ void operand(u32 (&a)[fragmentWordsA], int set, int s) const {
#if TESSERA_ELEMENT == 2
    a[0] = Element::round(__uint_as_float(pair[set][s][0].x)), a[1] = Element::round(__uint_as_float(pair[set][s][0].y));
    a[2] = Element::round(__uint_as_float(pair[set][s][1].x)), a[3] = Element::round(__uint_as_float(pair[set][s][1].y));
#else
    a[0] = permuteBytes(pair[set][s][0], pair[set][s][1], 0x5410);
    a[1] = permuteBytes(pair[set][s][0], pair[set][s][1], 0x7632);
#endif
  }
};

/// What a warp has decoded, four rows of 64 * sets outputs: each row lies as far behind a multiple of 16 bytes as it will in y.
struct Stage {
  static constexpr int pieces = 64 * sets / vectorLength + 1;
  Storage rows[4][pieces * vectorLength];

  __device__ __forceinline__ void put(int row, int shift, int column, const float (&values)[8]) {
#pragma unroll
    for (int i = 0; i < 8; ++i) rows[row][shift + column + i] = storageBits(values[i]);
  }

  /// Lane q of the first four says where row q goes (`target`, null if nowhere) and its shift; `room` outputs are wanted.
  __device__ __forceinline__ void leave(Storage* target, int shift, int room, int lane) const {
    __syncwarp();
#pragma unroll
    for (int row = 0; row < 4; ++row) {
      Storage* to = reinterpret_cast<Storage*>(__shfl_sync(~0u, (u64)target, row));
      const int offset = __shfl_sync(~0u, shift, row);
      if (to == nullptr) continue;
      for (int piece = lane; piece < pieces; piece += 32) {
        const int first = piece * vectorLength - offset;
        if (first >= 0 && first + vectorLength <= room)
          storeStreaming(to + first, *reinterpret_cast<const uint4*>(&rows[row][piece * vectorLength]));
        else
          for (int i = 0; i < vectorLength; ++i)
            if (first + i >= 0 && first + i < room) to[first + i] = rows[row][piece * vectorLength + i];
      }
    }
  }
};

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ planes, const Storage* __restrict__ basis, const Storage* __restrict__ bias,
    Storage* __restrict__ y, ROW_MAP_PARAMETERS, int tileRows, int columns, int pitchY, bool hasBias, int pitchPlanes) {
  const int lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
  const int warp = threadIdx.x >> 5;
  const int across = (columns + 64 * sets * warpsAcross - 1) / (64 * sets * warpsAcross);
  const int tileRow = blockIdx.x / across * warpsDown + warp / warpsAcross;
  const int firstTile = (blockIdx.x % across * warpsAcross + warp % warpsAcross) * (16 * sets);
  if (tileRow >= tileRows || 4 * firstTile >= columns) return;
  const Output output(y, hasBias ? bias : nullptr, ROW_MAP_ARGUMENT, tileRows, columns, pitchY);

  const i64 planeStride = (i64)tileRows * pitchPlanes;
  const Storage* source = planes + (i64)tileRow * pitchPlanes + firstTile + 2 * g;
  Pairs pairs;
#pragma unroll
  for (int s = 0; s < rankSteps; ++s)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int plane = 8 * s + 2 * q + half;
#pragma unroll
      for (int set = 0; set < sets; ++set) {
        const int offset = 16 * set;
        const bool present = plane < rank && firstTile + offset + 2 * g < pitchPlanes;
        pairs.pair[set][s][half] = present
            ? __ldg(reinterpret_cast<const Pairs::Pair*>(source + plane * planeStride + offset)) : Pairs::Pair{};
      }
    }
  Decoder decoder;
  decoder.load(basis, lane);
  const int sourceRow = output.map.row(tileRow, q);
  Storage* target = y + (i64)sourceRow * pitchY;
#if TESSERA_STAGED
  __shared__ __align__(16) Stage stages[8];
  const int shift = (int)((u64)(target + 4 * firstTile) & 15) / (int)sizeof(Storage);
#endif
#pragma unroll
  for (int set = 0; set < sets; ++set) {
    float left[4], right[4];
    const int column = 4 * (firstTile + 16 * set + 2 * g);
    float biases[8];
    output.loadBias(biases, column);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      left[i] = biases[i], right[i] = biases[2 + i];
      left[2 + i] = biases[4 + i], right[2 + i] = biases[6 + i];
    }
#pragma unroll
    for (int s = 0; s < rankSteps; s += 2) {
      u32 a[2][fragmentWordsA];
      pairs.operand(a[0], set, s);
      if (s + 1 == rankSteps) {
        multiplyAccumulate(left, a[0], decoder.words[s][0]);
        multiplyAccumulate(right, a[0], decoder.words[s][1]);
      } else {
        pairs.operand(a[1], set, s + 1);
        multiplyAccumulate(left, a[0], decoder.words[s][0], a[1], decoder.words[s + 1][0]);
        multiplyAccumulate(right, a[0], decoder.words[s][1], a[1], decoder.words[s + 1][1]);
      }
    }
    float values[8] = {left[0], left[1], right[0], right[1], left[2], left[3], right[2], right[3]};
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = activation(values[i]);
#if TESSERA_STAGED
    stages[warp].put(q, shift, 64 * set + 8 * g, values);
#else
    if (sourceRow < 0) continue;
    if (output.whole(column)) Output::storeWhole(target + column, values);
    else output.storePart(target + column, column, values);
#endif
  }
#if TESSERA_STAGED
  const int room = columns - 4 * firstTile;
  stages[warp].leave(sourceRow < 0 ? nullptr : target + 4 * firstTile, shift, room < 64 * sets ? room : 64 * sets, lane);
#endif
}
