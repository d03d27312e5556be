// Strassen-Tile, decode of row-major planes, for GPUs without the Hopper products:
//
//     y[row(g, a)][4j + b] = activation(bias[4j + b] + sum over p of planes[p][g][j] * basis[p][4a + b])
//
//   planes   [RANK][tileRows][pitchPlanes], pitchPlanes a multiple of 16 bytes, 16-byte aligned (StrassenEncode.cu's layout 1)
//   basis    [RANK, 16] elements
//   bias     [columns] elements; read only if hasBias
//   y        out: [rows, columns], row pitch pitchY; rows that the map does not name keep their contents
//
// Launch: 256 threads, grid (ceil(pitchPlanes / (8 * vectorLength)), ceil(tileRows / 8)), vectorLength 8 (float32: 4).
// No shared memory. Memory-bound: RANK planes read once, y written once.
#include "DecodeTiles.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL strassen_decode
#endif

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ planes, const Storage* __restrict__ basis, const Storage* __restrict__ bias, Storage* y,
    ROW_MAP_PARAMETERS, int tileRows, int columns, int pitchY, bool hasBias, int pitchPlanes) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const Output output(y, hasBias ? bias : nullptr, ROW_MAP_ARGUMENT, tileRows, columns, pitchY);
  const int tileRow = blockIdx.y * 8 + warp;
  if (tileRow >= tileRows) return;
  Decoder decoder;
  decoder.load(basis, lane);
  const int tile = (blockIdx.x * 8 + (lane >> 2)) * vectorLength;
  PlaneChunks chunks;
  chunks.load(planes + (i64)tileRow * pitchPlanes + tile, (i64)tileRows * pitchPlanes, tile < pitchPlanes, lane);
  const int row = output.map.row(tileRow, lane & 3);
  Storage* target = row < 0 ? nullptr : y + (i64)row * pitchY;
  if (output.whole(4 * tile + 4 * vectorLength - 8)) decoder.decode<true, true>(chunks, target, 4 * tile, 8, output);
  else decoder.decode<false, true>(chunks, target, 4 * tile, 8, output);
}
