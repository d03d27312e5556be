// How a cluster divides a pair among Hopper's warpgroups (PairGroups.cu): PairShape.cuh's pieces, in steps of 64 rows, both cores in
// shared memory.
#pragma once
#include "Factors/PairShape.cuh"
#include "Factors/PairUnits.cuh"

// Where no cluster holds the cores, each of so many holds those of its share of the output pieces; n0 are the pieces of a share.
constexpr int shares = TESSERA_SHARES;

constexpr int stepRows = unitRows, lineBytes = 128, boxColumns = lineBytes / Element::bytes, boxBytes = stepRows * lineBytes;

// x of a block: its pieces side by side, in boxes of 64 columns, so a piece begins anywhere in a contraction step of 16 columns. Core 0 has
// zeros for the columns of such a step that belong to its neighbours.
constexpr int sliceColumns = inputPieces * m0, boxes = divideUp(sliceColumns, boxColumns);
constexpr int offsetUnit = m0 % 16 == 0 ? 16 : m0 % 8 == 0 ? 8 : m0 % 4 == 0 ? 4 : m0 % 2 == 0 ? 2 : 1;
constexpr int windowSteps = divideUp(16 - offsetUnit + m0, 16);
__host__ __device__ constexpr int firstStep(int piece) { return piece * m0 / 16; }
__host__ __device__ constexpr int endStep(int piece) { return divideUp((piece + 1) * m0, 16); }

// Low rank, one piece on either side, has no j: the inner indices are the columns, in runs as outputs are, so that a lane ends with
// neighbouring ones.
constexpr bool isLowRank = m1 == 1 && n0 == 1;
constexpr int innerRun = chunks % 4 == 0 ? 4 : 2;
/// The inner index that column `column` of tile `tile` holds.
__host__ __device__ constexpr int innerOfColumn(int tile, int column) { return placeInRun<innerRun>(tile, column); }

// z is handed over in units, each a tile of eight columns of the first product: as many pieces of each block of the cluster.
static_assert(8 % clusterSize == 0, "a tile of columns has as many pieces of each block");
constexpr int unitPieces = isLowRank ? 1 : 8 / clusterSize, tiles0 = divideUp(outputPieces, unitPieces);
/// The output piece that column `column` of tile `tile` holds, n0 for none: some of each block after some of the block before.
__host__ __device__ constexpr int pieceOfColumn(int tile, int column) {
  const int piece = tile * unitPieces + column % unitPieces, j = column / unitPieces * outputPieces + piece;
  return piece < outputPieces && j < n0 ? j : n0;
}

// Three warpgroups multiply: one or two the first product, the others the second.
constexpr int firstGroups = TESSERA_FIRST_GROUPS, secondGroups = 3 - firstGroups;

// First product: `span` inner indices of a piece in one instruction, eight inner indices, a chunk, at a time. Two warpgroups take every
// other chunk where that is even and the sums of all tiles fit, else every other tile; then an odd tile is followed by an empty one.
constexpr int span = rank % 8 == 0 ? 8 : rank % 4 == 0 ? 4 : rank % 2 == 0 ? 2 : 1;
constexpr bool splitsChunks = firstGroups == 2 && chunksHere % 2 == 0 && tiles0 <= 4;
constexpr int tileGroups = splitsChunks ? 1 : firstGroups, groupTiles = divideUp(tiles0, tileGroups), units = groupTiles * tileGroups;
constexpr int tilesBytes0 = groupTiles * 256;  // of one inner index, step and warpgroup
static_assert(!isLowRank || clusterSize == 1 && firstGroups == 1, "low rank is not divided");

constexpr int coreBytes0 = isLowRank ? windowSteps * chunks * 256 : inputPieces * windowSteps * tileGroups * rank * tilesBytes0;

/// Where core 0 of an inner index `s` of a piece lies: [piece][step][group of tiles][s][its tile][half step][column][16 bytes].
__host__ __device__ constexpr int placeOfCore0(int piece, int step, int group, int s) {
  return (((piece * windowSteps + step) * tileGroups + group) * rank + s) * tilesBytes0;
}
/// Tile `index` of a group.
__host__ __device__ constexpr int tileOfGroup(int group, int index) { return index * tileGroups + group; }

constexpr int coreBytes1 = outputPieces * steps1 * columnTiles1 * 256;

// z of a unit as the second product reads it, [chunk][piece][64 rows][16 bytes], and a block's share of it where that is gathered,
// [its chunk][column][64 rows][16 bytes].
constexpr int columnBytes = stepRows * 16, chunkBytes = unitPieces * columnBytes, unitBytes = chunks * chunkBytes;
constexpr int gatheredBytes = 8 * columnBytes, placeBytes = chunksHere * gatheredBytes;
