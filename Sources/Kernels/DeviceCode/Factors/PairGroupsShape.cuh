// How a cluster divides a pair among Hopper's warpgroups (PairGroups.cu): PairShape.cuh's pieces, in steps of 64 rows, both cores in
// shared memory.
#pragma once
#include "Factors/PairShape.cuh"

constexpr int stepRows = 64, lineBytes = 128, boxColumns = lineBytes / Element::bytes, boxBytes = stepRows * lineBytes;

// x of a block: its pieces side by side, in boxes of 64 columns, so a piece begins anywhere in a contraction step of 16 columns. Core 0 has
// zeros for the columns of such a step that belong to its neighbours.
constexpr int sliceColumns = inputPieces * m0, boxes = divideUp(sliceColumns, boxColumns);
constexpr int offsetUnit = m0 % 16 == 0 ? 16 : m0 % 8 == 0 ? 8 : m0 % 4 == 0 ? 4 : m0 % 2 == 0 ? 2 : 1;
constexpr int windowSteps = divideUp(16 - offsetUnit + m0, 16);
__host__ __device__ constexpr int firstStep(int piece) { return piece * m0 / 16; }
__host__ __device__ constexpr int endStep(int piece) { return divideUp((piece + 1) * m0, 16); }

// Three warpgroups multiply: one or two the first product, the others the second.
constexpr int firstGroups = TESSERA_FIRST_GROUPS, secondGroups = 3 - firstGroups;

// First product: `span` inner indices of a piece in one instruction, eight inner indices, a chunk, at a time. Two warpgroups take every
// other chunk where that is even and the sums of all j fit, else half of the tiles of eight j each.
constexpr int span = rank % 8 == 0 ? 8 : rank % 4 == 0 ? 4 : rank % 2 == 0 ? 2 : 1;
constexpr bool splitsChunks = firstGroups == 2 && chunksHere % 2 == 0 && columnTiles0 <= 4;
constexpr int jGroups = splitsChunks ? 1 : firstGroups, groupTiles = divideUp(columnTiles0, jGroups);
constexpr int tilesBytes0 = groupTiles * 256;  // of one inner index, step and warpgroup

// Low rank, one piece on either side, has no j: the inner indices are the columns, in runs as outputs are, so that a lane ends with
// neighbouring ones.
constexpr bool isLowRank = m1 == 1 && n0 == 1;
constexpr int innerRun = chunks % 4 == 0 ? 4 : 2;
/// The inner index that column `column` of tile `tile` holds.
__host__ __device__ constexpr int innerOfColumn(int tile, int column) { return placeInRun<innerRun>(tile, column); }
static_assert(!isLowRank || clusterSize == 1 && firstGroups == 1, "low rank is not divided");

constexpr int coreBytes0 = isLowRank ? windowSteps * chunks * 256 : inputPieces * windowSteps * jGroups * rank * tilesBytes0;

/// The tile of eight j that block `block` has at `place`. Each begins with its own, so that not all send to one block at a time.
__host__ __device__ constexpr int tileAtPlace(int place, int block) {
  constexpr int all = jGroups * groupTiles;
  return (place + block * all / clusterSize) % all;
}

/// Where core 0 of an inner index `s` of a piece lies: [piece][step][half of j][s][place of a tile][half step][column][16
/// bytes].
__host__ __device__ constexpr int placeOfCore0(int piece, int step, int half, int s) {
  return (((piece * windowSteps + step) * jGroups + half) * rank + s) * tilesBytes0;
}

// Second product: one warpgroup takes up to 64 columns of an output piece at a time.
constexpr int partTiles1 = columnTiles1 <= 8 ? columnTiles1 : columnTiles1 % 8 == 0 ? 8 : 4, parts1 = columnTiles1 / partTiles1;
static_assert(columnTiles1 % partTiles1 == 0, "whole parts");
constexpr int coreBytes1 = outputPieces * steps1 * parts1 * partTiles1 * 256;

// Where there are two halves, the sums of a lane are of one even and one odd piece in turn, and every block has both.
constexpr int halves = outputPieces % 2 == 0 && n0 - (clusterSize - 1) * outputPieces >= 2 ? 2 : 1;

// z of a block's output pieces, as the operand of the second product, in one of two layouts.
// With PLACES it comes by bulk copies from places where its senders gather it, so what a sender has for a block lies
// together: [half][chunk][piece of the half][64 rows][16 bytes], a column of 64 rows followed by what keeps lanes that write
// neighbouring pieces out of one another's banks.
// Else it comes by stores of 16 bytes: lines of 64 numbers, [j][chunk] side by side. Chunks of a piece change places, so that lanes
// that write several pieces at once meet in fewer banks.
constexpr bool hasPlaces = TESSERA_PLACES;
constexpr int columnBytes = stepRows * 16 + 16 * halves, chunkBytes = outputPieces / halves * columnBytes;
constexpr int bufferBytesZ = hasPlaces ? divideUp(halves * chunks * chunkBytes, 1024) * 1024 : divideUp(outputPieces * steps1, 4) * boxBytes;
// What a step brings of one output piece from other blocks, and the places of a half of a chunk:
// [half][chunk of the block][place of a tile][j of the half].
constexpr int sentBytes = (clusterSize - 1) * chunksHere * (hasPlaces ? columnBytes : stepRows * 16);
constexpr int placesBytes = hasPlaces ? jGroups * groupTiles * 8 / halves * columnBytes : 0;
static_assert(!hasPlaces || clusterSize > 1, "places are for what goes to other blocks");
static_assert(!hasPlaces || jGroups == 1 || n0 % 16 == 0, "a warpgroup without a share of a step would not keep up with its barriers");
__host__ __device__ constexpr int placeOfChunk(int piece, int chunk) {
  return hasPlaces ? chunk : chunk ^ (chunks % 8 == 0 ? piece / 2 % 4 * 2 : chunks % 4 == 0 ? piece / 2 % 4 : piece / 2 % 2);
}
