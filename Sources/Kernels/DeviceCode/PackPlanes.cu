// Packs row-major planes (the canonical layout of an encoded weight) into blocks, once, when a weight is loaded or changed.
//
//   source   [planes, rows, columns] elements, contiguous
//   target   out; blocked (Planes.cuh): [planes][paddedRows / 64][columnBlocks][8 KiB], padding zero
//
// Launch: 256 threads, one for 16 bytes of the target; grid ceil(planes * paddedRows * columnBlocks * 8 / 256).
// Memory-bound: one read, one write.
#include "Planes.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL pack_planes
#endif

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(
    const Storage* __restrict__ source, Storage* __restrict__ target, int planes, int rows, int columns, int paddedRows,
    int columnBlocks) {
  const i64 index = (i64)blockIdx.x * 256 + threadIdx.x;
  const i64 chunksPerRow = (i64)columnBlocks * 8;
  const i64 plane = index / (chunksPerRow * paddedRows);
  if (plane >= planes) return;
  const int row = (int)(index / chunksPerRow % paddedRows);
  const int chunk = (int)(index % chunksPerRow);

  Storage values[vectorLength];
#pragma unroll
  for (int i = 0; i < vectorLength; ++i) {
    const int column = chunk * vectorLength + i;
    const bool present = row < rows && column < columns;
    values[i] = present ? source[(plane * rows + row) * columns + column] : (Storage)0;
#if TESSERA_ELEMENT == 2
    values[i] = Element::round(__uint_as_float(values[i]));
#endif
  }
  uint4 v;
#if TESSERA_ELEMENT == 2
  v = make_uint4(values[0], values[1], values[2], values[3]);
#else
  v.x = (u32)values[0] | (u32)values[1] << 16;
  v.y = (u32)values[2] | (u32)values[3] << 16;
  v.z = (u32)values[4] | (u32)values[5] << 16;
  v.w = (u32)values[6] | (u32)values[7] << 16;
#endif
  const i64 block = (plane * (paddedRows / blockRows) + row / blockRows) * columnBlocks + chunk / 8;
  store16(target + block * blockElements + blockOffset(row % blockRows, chunk % 8), v);
}
