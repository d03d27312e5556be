// The steps that exist once for each level of vector instructions.
//
// A panel is a matrix of vectors, [count][lanes] with `lanes` rows of the problem side by side, so that
// one number of a weight multiplies a whole vector.
#pragma once

#include "CCPUKernels.h"

// A contraction on panels: out[o] = sum over g, k of w[o * w_o + g * w_g + k * w_k] * in[g * in_g + k * in_k],
// vectors in and out. Strides of vectors count vectors.
typedef struct {
  int64_t outputs, groups, inner;
  const float *w;
  int64_t w_o, w_g, w_k;
  const float *in;
  int64_t in_g, in_k;
  float *out;
  int64_t out_o;
} Contraction;

// The gradient of a contraction's weights: w[o * w_o + k * w_k] += sum over panels and their lanes of
// out[o] * in[k]. Strides of vectors count vectors, and so does the way from panel to panel.
typedef struct {
  int64_t outputs, inner, panels, next_panel;
  float *w;
  int64_t w_o, w_k;
  const float *in, *out;
  int64_t in_k, out_o;
} WeightGradient;

// Columns first..first + count of some rows, and where they lie in a panel: column c at vector
// (c / run) * stride + c % run.
typedef struct {
  int64_t first, count, run, stride;
} Columns;

typedef struct {
  // Rows side by side in a panel.
  int64_t lanes;
  void (*contract)(const Contraction *job);
  void (*gradient)(const WeightGradient *job);
  // Rows into a panel; a null row counts as zeros.
  void (*gather)(const float *const *rows, Columns columns, float *panel);
  // A panel into rows, plus a bias if there is one; null rows are passed over.
  void (*scatter)(
      const float *panel, Columns columns, const float *bias, float *const *rows);
} Level;

// More lanes than any level has.
#define MOST_LANES 32

extern const Level tessera_level_portable, tessera_level_avx2, tessera_level_avx512;

const Level *tessera_level(TesseraCPULevel level);
