// Strassen-Tile, encode: planes[p][g][l] = sum over (a, b) of basis[p][4a + b] * x[row(g, a)][4l + b].
//
// One kernel serves activations (basis = encoder) and output gradients (basis = decoder), in every row policy.
//
//   x         [rows, columns] elements, row pitch `pitchX` elements; any alignment (16-byte rows take the fast path)
//   basis     [RANK, 16] elements
//   planes    out; blocked: [RANK][paddedRows / 64][columnBlocks][8 KiB], all of it written, padding with zeros;
//             row major (-DTESSERA_PLANES=1): [RANK][tileRows][pitchPlanes], columns up to pitchPlanes written
//   row map   see RowMap.cuh; tileRows tile rows exist
//   paddedRows, columnBlocks  blocked only: extent of the planes in rows (a multiple of 256) and blocks
//   pitchPlanes               row major only: elements, a multiple of 16 bytes
//   counters                  blocked only, out: `counterCount` words, set to zero, for the products kernel that follows (may be 0)
//
// Launch: 256 threads; ceil(columnBlocks / 2) * ceil(paddedRows / 8) blocks (row major: columnBlocks is pitchPlanes in whole column
// blocks, paddedRows is tileRows). No shared memory.
// A warp takes one tile row and two column blocks. X is read once, each plane written once.
// Memory-bound: (columns*rows + RANK*paddedRows*columnBlocks*blockColumns) elements; 82 to 86 % of the copy bandwidth (H200, 8192^2).
#include "EncodeTiles.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL strassen_encode
#endif

constexpr int blocksPerWarp = 2;

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ x, const Storage* __restrict__ basis, Storage* __restrict__ planes,
#if TESSERA_PLANES == 0
    int* __restrict__ counters, ROW_MAP_PARAMETERS, int tileRows, int columns, int pitchX, int paddedRows, int columnBlocks,
    int counterCount) {
  if (blockIdx.x == 0)
    for (int i = threadIdx.x; i < counterCount; i += 256) counters[i] = 0;
#else
    ROW_MAP_PARAMETERS, int tileRows, int columns, int pitchX, int pitchPlanes) {
  const int paddedRows = tileRows, columnBlocks = (pitchPlanes + blockColumns - 1) / blockColumns;
#endif
  const int lane = threadIdx.x & 31;
  const int across = (columnBlocks + blocksPerWarp - 1) / blocksPerWarp;
  const int firstBlock = blockIdx.x % across * blocksPerWarp;
  const int tileRow = blockIdx.x / across * 8 + (threadIdx.x >> 5);
  if (tileRow >= paddedRows) return;
  const Input input(x, ROW_MAP_ARGUMENT, tileRows, columns, pitchX);
  const int source = input.row(tileRow, lane & 3);
  Basis encoder;
  encoder.load(basis, lane);
  uint4 pieces[blocksPerWarp][lanePieces];
#pragma unroll
  for (int i = 0; i < blocksPerWarp; ++i)
#pragma unroll
    for (int piece = 0; piece < lanePieces; ++piece)
      pieces[i][piece] = input.load(source, laneColumn(firstBlock + i, piece, lane));
#pragma unroll
  for (int i = 0; i < blocksPerWarp; ++i) {
    const int block = firstBlock + i;
    if (block >= columnBlocks) break;
#if TESSERA_PLANES == 0
    const i64 planeStride = (i64)(paddedRows / blockRows) * columnBlocks * blockElements;
    Storage* target = planes + ((i64)(tileRow / blockRows) * columnBlocks + block) * blockElements
        + tileRow % blockRows * blockColumns;
    encoder.encode(pieces[i], target + (lane >> 2) * planeStride, planeStride, tileRow, 0, lane);
#else
    const i64 planeStride = (i64)tileRows * pitchPlanes;
    const int tile = block * blockColumns;
    Storage* target = planes + (i64)tileRow * pitchPlanes + tile;
    encoder.encode(pieces[i], target + (lane >> 2) * planeStride, planeStride, 0, pitchPlanes - tile, lane);
#endif
  }
}
