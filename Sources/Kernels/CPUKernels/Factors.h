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

// Panels into rows.
void write_rows(
    const Level *level, Rows rows, const float *from, int64_t panels, int64_t width, float *to);

// Finishes the first `length` numbers of the rows in panels; dy, if given, lies in panels of the same width.
void finish_rows(
    const Level *level, const Finish *job, int64_t length, int64_t panels, int64_t width, float *values,
    const float *dy);

// A factor's numbers in the order in which its contractions read them: floats, how many parts there are to
// pack, and one part.
int64_t packed_factor_size(const Level *level, const TesseraBlockFactor *factor);
int64_t packed_factor_parts(const TesseraBlockFactor *factor);
void pack_factor_part(
    const Level *level, const TesseraBlockFactor *factor, const float *weights, int64_t part, float *packed);

// Rows that make packing worth its time.
#define PACKED_ROWS 128

// `packed` may be null: then the weights are read where they are.
void apply_factor(
    const Level *level, const TesseraBlockFactor *factor, const float *weights, const float *packed,
    int64_t panels, int64_t width, const float *in, float *out);

// The factor of the transposed matrix, on the same weights.
TesseraBlockFactor transposed(const TesseraBlockFactor *factor);

// Adds the gradient of a factor's weights, where `in` came in and `out` is the gradient of what went out.
void add_gradient(
    const Level *level, const TesseraBlockFactor *factor, int64_t panels, int64_t width, const float *in,
    const float *out, float *gradient);
