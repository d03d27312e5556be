// Turns the small matrices of every row: y[row][group][q][p] = epilogue(x[row][group][p][q]).
//
// With it a Kronecker-sparse factor is a block-diagonal one: [c, d] -> [d, c], a * d products of b x c, [d, b] -> [b, d].
//
//   x    [rows, groups * P * Q], row pitch pitchX
//   y    out, [rows, groups * Q * P], row pitch pitchY; see Epilogue.cuh
//
// Launch: grid (ceil(rows / TILE_ROWS), groups * tilesP * tilesQ), 256 threads. A block takes TILE_P x TILE_Q of one matrix in each of
// its rows. X_ALIGNED: runs of x are whole 16 bytes where rows begin at such multiples. Any size.
#include "Async.cuh"
#include "Factors/Epilogue.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL factor_turn
#endif

constexpr int sizeP = TESSERA_P, sizeQ = TESSERA_Q, tileP = TESSERA_TILE_P, tileQ = TESSERA_TILE_Q, tileRows = TESSERA_TILE_ROWS;
constexpr int tilesP = (sizeP + tileP - 1) / tileP, tilesQ = (sizeQ + tileQ - 1) / tileQ, threads = 256;
constexpr int bytes = Element::bytes;
// Padded where runs stay whole 16 bytes, so that fewer readers meet in a bank.
constexpr bool padded = tileQ * bytes % 16 == 0;
constexpr int pitch = tileQ + (padded ? vectorLength : 0), matrix = tileP * pitch;
static_assert(tileP % vectorLength == 0 && (tileQ == sizeQ || tileQ * bytes % 16 == 0), "whole runs");

extern "C" __global__ void __launch_bounds__(threads) TESSERA_KERNEL(
    const Storage* __restrict__ x, EPILOGUE_INPUTS, Storage* __restrict__ y, EPILOGUE_SCALARS, int rows, int pitchX) {
  __shared__ __align__(16) Storage values[tileRows * matrix];
  const Epilogue epilogue{
      y, TESSERA_EPILOGUE & 1 ? bias : nullptr, TESSERA_EPILOGUE & 2 ? gate : nullptr, TESSERA_EPILOGUE & 4 ? residual : nullptr, pitchY,
      aligned};
  const int group = blockIdx.y / (tilesP * tilesQ), firstP = blockIdx.y / tilesQ % tilesP * tileP, firstQ = blockIdx.y % tilesQ * tileQ;
  const i64 firstRow = (i64)blockIdx.x * tileRows;
  const int count = min(tileRows, (int)(rows - firstRow)), presentP = min(tileP, sizeP - firstP), presentQ = min(tileQ, sizeQ - firstQ);
  const Storage* origin = x + firstRow * pitchX + ((i64)group * sizeP + firstP) * sizeQ + firstQ;
  const bool isMisaligned = ((u64)x | (u64)((i64)pitchX * bytes)) & 15;
  if (TESSERA_X_ALIGNED && !isMisaligned) {
    // All of a matrix in one run where a tile has all q and no padding, else a run for each p.
    constexpr int run = padded ? tileQ / vectorLength : tileP * tileQ / vectorLength, runs = padded ? tileP : 1;
    const int whole = padded ? presentQ : presentP * sizeQ;
#pragma unroll 4
    for (int piece = threadIdx.x; piece < count * runs * run; piece += threads) {
      const int e = piece % run * vectorLength, p = piece / run % runs, row = piece / run / runs;
      if (e < whole && (!padded || p < presentP))
        *(uint4*)(values + row * matrix + p * pitch + e) = loadConstant(origin + (i64)row * pitchX + (i64)p * sizeQ + e);
    }
  } else {
    for (int element = threadIdx.x; element < count * tileP * tileQ; element += threads) {
      const int q = element % tileQ, p = element / tileQ % tileP, row = element / tileQ / tileP;
      if (p < presentP && q < presentQ) values[row * matrix + p * pitch + q] = origin[(i64)row * pitchX + (i64)p * sizeQ + q];
    }
  }
  __syncthreads();
  // Four lanes write neighbouring runs.
  constexpr int outRuns = tileP / vectorLength, together = outRuns % 4 == 0 ? 4 : outRuns % 2 == 0 ? 2 : 1;
  for (int piece = threadIdx.x; piece < count * outRuns * tileQ; piece += threads) {
    const int q = piece / together % tileQ, rest = piece / together / tileQ;
    const int p = (rest % (outRuns / together) * together + piece % together) * vectorLength, row = rest / (outRuns / together);
    if (q >= presentQ || p >= presentP) continue;
    float v[vectorLength];
#pragma unroll
    for (int e = 0; e < vectorLength; ++e) v[e] = storageValue(values[row * matrix + (p + e) * pitch + q]);
    const int begin = (group * sizeQ + firstQ + q) * sizeP;
    epilogue.store(firstRow + row, begin + firstP + p, begin + sizeP, v);
  }
}
