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
  // Whether the weights are what `pack` made of so many outputs, groups and inner places; w_o, w_g and w_k say
  // nothing then.
  int32_t is_packed;
  // Whether what follows `in` in memory is the next that is needed.
  int32_t fetches_ahead;
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

// What becomes of finished outputs in a panel.
typedef struct {
  // Null where there is none.
  const float *bias;
  TesseraActivation activation;
} Finish;

typedef struct {
  // Rows side by side in a panel, and outputs side by side in packed weights.
  int64_t lanes, height;
  void (*contract)(const Contraction *job);
  // The same of packed weights and vectors that were both narrowed: `inner` counts pairs.
  void (*contract_pairs)(const Contraction *job);
  // Rows of `length` floats, two at a time as pairs of bfloat16 in 32 bits, the first one low; a row that is left
  // over goes with zeros. In place is allowed.
  void (*narrow)(const float *from, int64_t rows, int64_t length, float *to);
  // Whether the processor multiplies pairs as such.
  int32_t has_pairs;
  // A contraction's weights (its `w` and their strides) in the order in which they are read: strips of up to
  // `height` outputs, [strips][groups][inner][height].
  void (*pack)(const Contraction *job, float *packed);
  void (*gradient)(const WeightGradient *job);
  // Rows into a panel; a null row counts as zeros.
  void (*gather)(const float *const *rows, Columns columns, float *panel);
  // A panel into rows; null rows are passed over.
  void (*scatter)(const float *panel, Columns columns, float *const *rows);
  // In place: activation(panel + bias), or, where dy is given in the same layout, dy times the activation's
  // derivative there.
  void (*finish)(const Finish *job, Columns columns, float *panel, const float *dy);
} Level;

// More lanes than any level has.
#define MOST_LANES 32

// Strips are of nearly equal height, so that none waits for its own sums: `strip` begins at this output.
static inline int64_t first_of_strip(int64_t outputs, int64_t height, int64_t strip) {
  return outputs * strip / ((outputs + height - 1) / height);
}

// Floats of packed weights.
static inline int64_t packed_size(const Level *level, int64_t outputs, int64_t places) {
  return (outputs + level->height - 1) / level->height * level->height * places;
}

extern const Level tessera_level_portable, tessera_level_avx2, tessera_level_avx512,
    tessera_level_avx512_bf16;

const Level *tessera_level(TesseraCPULevel level);
