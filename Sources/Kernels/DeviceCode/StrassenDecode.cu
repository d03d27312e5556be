// Strassen-Tile, decode as a kernel of its own (StrassenDecode.cuh has the arithmetic).
//
//   planes   -DTESSERA_PLANES=0: fragments of a products kernel (Fragments.cuh), grid of nBlocks block columns
//            -DTESSERA_PLANES=1: row major [RANK][tileRows][pitchPlanes], pitchPlanes a multiple of 16 bytes, 16-byte aligned
//   basis    [RANK, 16] elements
//   bias     [columns] elements; read only if hasBias
//   y        out: [rows, columns], row pitch pitchY; rows that the map does not name keep their contents
//
// Launch: 256 threads, a warp for a piece. Fragments: grid ceil(mBlocks * nBlocks * 32 / 8). Row major: a piece is 8 chunks of
// one tile row: grid (ceil(pitchPlanes / (8 * vectorLength)), ceil(tileRows / 8)). No shared memory.
// Memory-bound: RANK planes read once, y written once.
#ifndef TESSERA_PLANES
#define TESSERA_PLANES 0
#endif
#if TESSERA_PLANES == 0
#include "Fragments.cuh"
#else
#include "StrassenDecode.cuh"
#endif

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL strassen_decode
#endif

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* planes, const Storage* __restrict__ basis, const Storage* __restrict__ bias, Storage* y,
    ROW_MAP_PARAMETERS, int tileRows, int columns, int pitchY, bool hasBias, int mBlocks, int nBlocks, int pitchPlanes) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const Output output(y, hasBias ? bias : nullptr, ROW_MAP_ARGUMENT, tileRows, columns, pitchY);
  Decoder decoder;
  decoder.load(basis, lane);
#if TESSERA_PLANES == 0
  const int index = blockIdx.x * 8 + warp;
  const int block = index / piecesPerBlock;
  if (block >= mBlocks * nBlocks) return;
  const Piece piece(planes, output, block / nBlocks, block % nBlocks, nBlocks, index % piecesPerBlock, lane);
  if (piece.firstRow >= tileRows) return;
#pragma unroll 1
  for (int window = 0; window < windowsPerPiece; ++window)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      PlaneChunks chunks;
      chunks.load(piece.chunk(4 * window + i), stripElements, true, lane);
      decoder.decode(chunks, piece.rows[i], piece.firstTile + window * windowColumns, 8, output);
    }
#else
  const int tileRow = blockIdx.y * 8 + warp;
  if (tileRow >= tileRows) return;
  const int tile = (blockIdx.x * 8 + (lane >> 2)) * vectorLength;
  PlaneChunks chunks;
  chunks.load(planes + (i64)tileRow * pitchPlanes + tile, (i64)tileRows * pitchPlanes, tile < pitchPlanes, lane);
  decoder.decode(chunks, output.map.row(tileRow, lane & 3), tile, 2, output);
#endif
}
