// The sizes of one pair of block factors, and how a cluster divides them.
//
// An input row is M1 pieces of M0 elements, an output row N0 pieces of N1 elements, between them are RANK numbers for each (input
// piece, output piece):
//
//     z[j][(i, s)] = sum over p of x[i][p] * core0[i][p][(j, s)]          i < M1, p < M0, j < N0, s < RANK
//     y[j][q]      = sum over (i, s) of z[j][(i, s)] * core1[j][(i, s)][q]  q < N1
//
// Block Tensor-Train, Monarch, low rank and two Kronecker-sparse factors are this. Block r of a cluster owns the input pieces
// r * inputPieces ..< (r + 1) * inputPieces in the first product and the output pieces r * outputPieces ..< in the second.
#pragma once
#include "Element.cuh"

constexpr int m0 = TESSERA_M0, m1 = TESSERA_M1, n0 = TESSERA_N0, n1 = TESSERA_N1, rank = TESSERA_RANK;
constexpr int clusterSize = TESSERA_CLUSTER;

__host__ __device__ constexpr int divideUp(int a, int b) { return (a + b - 1) / b; }

constexpr int inputPieces = divideUp(m1, clusterSize);
constexpr int outputPieces = divideUp(n0, clusterSize);

// First product: contraction over p in steps of 16, columns j in tiles of 8, one product for each inner index (i, s) of the block.
constexpr int innerHere = inputPieces * rank;
constexpr int steps0 = divideUp(m0, 16);
constexpr int columnTiles0 = divideUp(n0, 8);

// Second product: contraction over all (i, s). Eight inner indices of one block make a chunk of 16 bytes.
constexpr int chunksHere = divideUp(innerHere, 8);
constexpr int chunks = divideUp(clusterSize * chunksHere, 2) * 2;
constexpr int steps1 = chunks / 2;

// Columns of the second product come in runs: a lane's sums of `runTiles` adjacent tiles are 2 * runTiles consecutive outputs. Up to
// 48 outputs are three runs of two tiles: two of four would be padded by a quarter.
constexpr int runTiles = n1 >= 24 && (n1 <= 32 || n1 > 48) ? 4 : n1 >= 12 ? 2 : 1;
constexpr int runLength = 2 * runTiles;
constexpr int columnTiles1 = divideUp(n1, 8 * runTiles) * runTiles;

// Operands of the matrix units as they lie in registers, 256 bytes for 16 x 8 elements: [step][lane][2 words].
constexpr int fragmentWords = 64;
constexpr int words0 = innerHere * columnTiles0 * steps0 * fragmentWords;
constexpr int words1 = outputPieces * columnTiles1 * steps1 * fragmentWords;

/// What column `column` of tile `tile` holds where the sums of `run` adjacent tiles of a lane are to be neighbours.
template <int run>
__host__ __device__ constexpr int placeInRun(int tile, int column) {
  return tile / run * (8 * run) + column / 2 * (2 * run) + tile % run * 2 + column % 2;
}

/// The output (of n1) that column `column` of tile `tile` holds.
__device__ __forceinline__ int outputOfColumn(int tile, int column) { return placeInRun<runTiles>(tile, column); }
