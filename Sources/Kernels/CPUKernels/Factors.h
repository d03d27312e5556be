// Steps of a chain on panels, which its product and its gradient share.
#pragma once

#include "Levels.h"

// Some rows of a matrix: the first one that is meant, how many the matrix has and how long they are.
typedef struct {
  int64_t count, first, length;
} Rows;

// The most numbers that a row has anywhere in the chain.
int64_t widest(const TesseraChain *problem);

// Rows into panels of `width` vectors each, padded with zeros to `padded` columns.
void read_rows(
    const Level *level, Rows rows, const float *from, int64_t padded, int64_t panels, int64_t width,
    float *to);

// Panels into rows, plus a bias if there is one.
void write_rows(
    const Level *level, Rows rows, const float *from, const float *bias, int64_t panels, int64_t width,
    float *to);

void apply_factor(
    const Level *level, const TesseraBlockFactor *factor, const float *weights, int64_t panels,
    int64_t width, const float *in, float *out);

// The factor of the transposed matrix, on the same weights.
TesseraBlockFactor transposed(const TesseraBlockFactor *factor);

// Adds the gradient of a factor's weights, where `in` came in and `out` is the gradient of what went out.
void add_gradient(
    const Level *level, const TesseraBlockFactor *factor, int64_t panels, int64_t width, const float *in,
    const float *out, float *gradient);
