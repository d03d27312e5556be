// How the planes of an encoded matrix lie in memory.
//
// An encoded matrix is R planes of [rows, columns] (a row and a column for every tile). Two layouts:
//
// * Blocked, for the Hopper products. A plane is cut into blocks of 64 rows x 128 bytes (64 columns of 16-bit elements, 32 of
//   float32), each 8 KiB and contiguous, so that one one-dimensional bulk copy brings a block into shared memory. Inside a block
//   the eight 16-byte chunks of row i are stored in the order c xor (i mod 8): the 128-byte swizzle that wgmma reads without bank
//   conflicts. A block of 16-bit elements serves as an operand in both orientations, so a product with the transpose needs no
//   copy. Order of blocks: [plane][row block][column block]. Rows are padded to a multiple of 256, columns to whole blocks; the
//   padding holds zeros.
// * Row major, for every other matrix product: [plane][row][pitch], pitch a multiple of 16 bytes, columns up to it zero.
#pragma once
#include "Element.cuh"

constexpr int blockRows = 64;
constexpr int blockColumns = 128 / Element::bytes;
constexpr int blockElements = blockRows * blockColumns;
constexpr int blockBytes = 8192;

/// Offset in elements of 16-byte chunk `chunk` (0 ..< 8) of row `row` inside its block.
__device__ __forceinline__ int blockOffset(int row, int chunk) {
  return (row * 8 + (chunk ^ (row & 7))) * vectorLength;
}
