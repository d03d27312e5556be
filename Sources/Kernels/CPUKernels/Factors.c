#include "Factors.h"

#include <string.h>

int64_t widest(const TesseraChain *problem) {
  int64_t most = 0;
  for (int f = 0; f <= problem->count; ++f) {
    if (problem->widths[f] > most) most = problem->widths[f];
  }
  return most;
}

void read_rows(
    const Level *level, Rows rows, const float *from, int64_t padded, int64_t panels, int64_t width,
    float *to) {
  for (int64_t panel = 0; panel < panels; ++panel) {
    const float *places[MOST_LANES];
    for (int64_t lane = 0; lane < level->lanes; ++lane) {
      int64_t row = rows.first + panel * level->lanes + lane;
      places[lane] = row < rows.count ? from + row * rows.length : 0;
    }
    float *start = to + panel * width * level->lanes;
    level->gather(places, (Columns){0, rows.length, INT64_MAX - 3, 0}, start);
    memset(
        start + rows.length * level->lanes, 0,
        (size_t)((padded - rows.length) * level->lanes) * sizeof(float));
  }
}

void write_rows(
    const Level *level, Rows rows, const float *from, int64_t panels, int64_t width, float *to) {
  for (int64_t panel = 0; panel < panels; ++panel) {
    float *places[MOST_LANES];
    for (int64_t lane = 0; lane < level->lanes; ++lane) {
      int64_t row = rows.first + panel * level->lanes + lane;
      places[lane] = row < rows.count ? to + row * rows.length : 0;
    }
    level->scatter(
        from + panel * width * level->lanes, (Columns){0, rows.length, INT64_MAX - 3, 0}, places);
  }
}

void finish_rows(
    const Level *level, const Finish *job, int64_t length, int64_t panels, int64_t width, float *values,
    const float *dy) {
  if (!job->bias && job->activation == TESSERA_NO_ACTIVATION) return;
  for (int64_t panel = 0; panel < panels; ++panel) {
    int64_t start = panel * width * level->lanes;
    level->finish(
        job, (Columns){0, length, INT64_MAX - 3, 0}, values + start, dy ? dy + start : 0);
  }
}

// The contraction of a part: a block and a place along the first axis of outputs.
typedef struct {
  Contraction job;
  int64_t from, to;
} Part;

static Part part_of(const TesseraBlockFactor *factor, const float *weights, int64_t part) {
  const TesseraAxis *blocks = factor->blocks, *outputs = factor->outputs, *inner = factor->inner;
  const int64_t o = part % outputs[0].count, block = part / outputs[0].count;
  const int64_t b0 = block / blocks[1].count, b1 = block % blocks[1].count;
  return (Part){
      .job =
          {.outputs = outputs[1].count,
           .groups = inner[0].count,
           .inner = inner[1].count,
           .w = weights + b0 * blocks[0].weight + b1 * blocks[1].weight + o * outputs[0].weight,
           .w_o = outputs[1].weight,
           .w_g = inner[0].weight,
           .w_k = inner[1].weight,
           .in_g = inner[0].input,
           .in_k = inner[1].input,
           .out_o = outputs[1].output},
      .from = b0 * blocks[0].input + b1 * blocks[1].input,
      .to = b0 * blocks[0].output + b1 * blocks[1].output + o * outputs[0].output};
}

int64_t packed_factor_parts(const TesseraBlockFactor *factor) {
  return factor->blocks[0].count * factor->blocks[1].count * factor->outputs[0].count;
}

static int64_t part_size(const Level *level, const TesseraBlockFactor *factor) {
  return packed_size(
      level, factor->outputs[1].count, factor->inner[0].count * factor->inner[1].count);
}

int64_t packed_factor_size(const Level *level, const TesseraBlockFactor *factor) {
  return packed_factor_parts(factor) * part_size(level, factor);
}

void pack_factor_part(
    const Level *level, const TesseraBlockFactor *factor, const float *weights, int64_t part, float *packed) {
  const Part place = part_of(factor, weights, part);
  level->pack(&place.job, packed + part * part_size(level, factor));
}

void apply_factor(
    const Level *level, const TesseraBlockFactor *factor, const float *weights, const float *packed,
    int64_t panels, int64_t width, const float *in, float *out) {
  const int64_t parts = packed_factor_parts(factor), size = part_size(level, factor);
  for (int64_t part = 0; part < parts; ++part) {
    Part place = part_of(factor, weights, part);
    if (packed) {
      place.job.w = packed + part * size;
      place.job.is_packed = 1;
    }
    for (int64_t panel = 0; panel < panels; ++panel) {
      place.job.in = in + (panel * width + place.from) * level->lanes;
      place.job.out = out + (panel * width + place.to) * level->lanes;
      level->contract(&place.job);
    }
  }
}

static TesseraAxis turned(TesseraAxis axis) {
  return (TesseraAxis){axis.count, axis.weight, axis.output, axis.input};
}

TesseraBlockFactor transposed(const TesseraBlockFactor *factor) {
  TesseraBlockFactor other;
  for (int i = 0; i < 2; ++i) {
    other.blocks[i] = turned(factor->blocks[i]);
    other.outputs[i] = turned(factor->inner[i]);
    other.inner[i] = turned(factor->outputs[i]);
  }
  return other;
}

void add_gradient(
    const Level *level, const TesseraBlockFactor *factor, int64_t panels, int64_t width, const float *in,
    const float *out, float *gradient) {
  const TesseraAxis *blocks = factor->blocks, *outputs = factor->outputs, *inner = factor->inner;
  for (int64_t b0 = 0; b0 < blocks[0].count; ++b0) {
    for (int64_t b1 = 0; b1 < blocks[1].count; ++b1) {
      int64_t from = b0 * blocks[0].input + b1 * blocks[1].input;
      int64_t to = b0 * blocks[0].output + b1 * blocks[1].output;
      float *block = gradient + b0 * blocks[0].weight + b1 * blocks[1].weight;
      for (int64_t o = 0; o < outputs[0].count; ++o) {
        for (int64_t g = 0; g < inner[0].count; ++g) {
          level->gradient(&(WeightGradient){
              .outputs = outputs[1].count,
              .inner = inner[1].count,
              .panels = panels,
              .next_panel = width,
              .w = block + o * outputs[0].weight + g * inner[0].weight,
              .w_o = outputs[1].weight,
              .w_k = inner[1].weight,
              .in = in + (from + g * inner[0].input) * level->lanes,
              .out = out + (to + o * outputs[0].output) * level->lanes,
              .in_k = inner[1].input,
              .out_o = outputs[1].output});
        }
      }
    }
  }
}
