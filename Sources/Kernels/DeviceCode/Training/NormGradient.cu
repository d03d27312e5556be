// The gradients of layer normalisation y = (x - mean) s w + b, s = 1 / sqrt(variance + eps), and, with TESSERA_CENTRED = 0, of
// y = x s w, s = 1 / sqrt(mean of squares + eps). With n = (x - mean) s and h = g w,
//
//     dx = s (h - mean(h) - n mean(h n)),   dw = sum over rows of g n,   db = sum over rows of g,
//
// without the term mean(h), and b, where nothing is centred.
//
//   x, g     [rows, columns], columns a multiple of 8 and at most 8192
//   w        [columns]
//   dx       out [rows, columns]
//   partials out, float32 [blocks][2, columns]: dw and db of a block's rows, added by ColumnSum.cu
//
// Launch: any number of blocks of TESSERA_THREADS = columns / 8 threads, rounded up to a warp. A row lies in the registers of its block.
#include "Training/Vector.cuh"

#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL norm_gradient
#endif
#ifndef TESSERA_CENTRED
#define TESSERA_CENTRED 1
#endif
#ifndef TESSERA_THREADS
#define TESSERA_THREADS 1024
#endif

extern "C" __global__ void __launch_bounds__(TESSERA_THREADS) TESSERA_KERNEL(
    const Storage* __restrict__ x, const Storage* __restrict__ g, const Storage* __restrict__ w, Storage* __restrict__ dx,
    float* __restrict__ partials, int rows, int columns, float eps) {
  __shared__ float room[4][32];
  const int column = threadIdx.x * lanes;
  const bool aligned = isAligned(x, g, w, dx);
  const float share = 1.0f / columns;
  float factor[lanes], sumsW[lanes] = {}, sumsB[lanes] = {};
  load(factor, w, column, columns, aligned);
  for (int row = blockIdx.x; row < rows; row += gridDim.x) {
    const i64 start = (i64)row * columns;
    float n[lanes], h[lanes];
    load(n, x + start, column, columns, aligned);
    load(h, g + start, column, columns, aligned);
    float mean = 0.0f;
#if TESSERA_CENTRED
    float total = 0.0f;
#pragma unroll
    for (int k = 0; k < lanes; ++k) total += n[k];
    mean = blockSum(total, room[0]) * share;
#endif
    float squares = 0.0f;
#pragma unroll
    for (int k = 0; k < lanes; ++k) {
      if (column < columns) n[k] -= mean;
      squares += n[k] * n[k];
    }
    const float scale = rsqrtf(blockSum(squares, room[1]) * share + eps);
    float sumH = 0.0f, sumHN = 0.0f;
#pragma unroll
    for (int k = 0; k < lanes; ++k) {
      n[k] *= scale;
      sumsW[k] += h[k] * n[k];
      sumsB[k] += h[k];
      h[k] *= factor[k];
      sumH += h[k];
      sumHN += h[k] * n[k];
    }
#if TESSERA_CENTRED
    const float meanH = blockSum(sumH, room[2]) * share;
#else
    const float meanH = 0.0f;
#endif
    const float meanHN = blockSum(sumHN, room[3]) * share;
#pragma unroll
    for (int k = 0; k < lanes; ++k) h[k] = scale * (h[k] - meanH - n[k] * meanHN);
    store(dx + start, h, column, columns, aligned);
  }
  float* const own = partials + (i64)blockIdx.x * 2 * columns;
  storeFloats(own, sumsW, column, columns, true);
  storeFloats(own + columns, sumsB, column, columns, true);
}
