// A chain of factors by blocks of rows: what one factor gives the next stays in cache, in panels whose
// vectors may be stored anywhere, so that permutations between factors cost nothing.
#include <string.h>

#include "Blocks.h"

typedef struct {
  const TesseraChain *problem;
  const float *x, *bias;
  const float *const *weights;
  float *y;
  void *scratch;
  const Level *level;
  int64_t panels, blocks, width;
  size_t scratch_of_worker;
} Job;

static Job plan(const TesseraChain *problem) {
  Job job = {.problem = problem, .level = tessera_level(problem->level)};
  for (int f = 0; f <= problem->count; ++f) job.width = larger(job.width, problem->widths[f]);
  int64_t panels = ceiling(problem->rows, job.level->lanes);
  job.panels = panels_of_block(panels, problem->threads);
  job.blocks = ceiling(panels, job.panels);
  // What comes in and what goes out, for each panel.
  job.scratch_of_worker = aligned_size(2 * job.panels * job.width * job.level->lanes);
  return job;
}

size_t tessera_chain_scratch(const TesseraChain *problem) {
  return plan(problem).scratch_of_worker * (size_t)problem->threads;
}

static void block(void *context, int64_t item, int32_t worker) {
  const Job *job = context;
  const TesseraChain *problem = job->problem;
  const Level *level = job->level;
  const int64_t lanes = level->lanes, size = job->width * lanes;
  const int64_t first = item * job->panels;
  const int64_t panels = smaller(job->panels, ceiling(problem->rows, lanes) - first);
  float *in = part_of_worker(job->scratch, job->scratch_of_worker, worker);
  float *out = in + job->panels * size;

  for (int64_t panel = 0; panel < panels; ++panel) {
    const float *rows[MOST_LANES];
    for (int64_t lane = 0; lane < lanes; ++lane) {
      int64_t row = (first + panel) * lanes + lane;
      rows[lane] = row < problem->rows ? job->x + row * problem->inputs : 0;
    }
    float *start = in + panel * size;
    level->gather(rows, (Columns){0, problem->inputs, INT64_MAX - 3, 0}, start);
    memset(
        start + problem->inputs * lanes, 0,
        (size_t)((problem->widths[0] - problem->inputs) * lanes) * sizeof(float));
  }
  for (int f = 0; f < problem->count; ++f) {
    const TesseraBlockFactor *factor = &problem->factors[f];
    const TesseraAxis *blocks = factor->blocks, *outputs = factor->outputs, *inner = factor->inner;
    for (int64_t b0 = 0; b0 < blocks[0].count; ++b0) {
      for (int64_t b1 = 0; b1 < blocks[1].count; ++b1) {
        for (int64_t o = 0; o < outputs[0].count; ++o) {
          int64_t from = b0 * blocks[0].input + b1 * blocks[1].input;
          int64_t to = b0 * blocks[0].output + b1 * blocks[1].output + o * outputs[0].output;
          for (int64_t panel = 0; panel < panels; ++panel) {
            level->contract(&(Contraction){
                .outputs = outputs[1].count,
                .groups = inner[0].count,
                .inner = inner[1].count,
                .w = job->weights[f] + b0 * blocks[0].weight + b1 * blocks[1].weight +
                     o * outputs[0].weight,
                .w_o = outputs[1].weight,
                .w_g = inner[0].weight,
                .w_k = inner[1].weight,
                .in = in + panel * size + from * lanes,
                .in_g = inner[0].input,
                .in_k = inner[1].input,
                .out = out + panel * size + to * lanes,
                .out_o = outputs[1].output});
          }
        }
      }
    }
    float *next = in;
    in = out;
    out = next;
  }
  for (int64_t panel = 0; panel < panels; ++panel) {
    float *rows[MOST_LANES];
    for (int64_t lane = 0; lane < lanes; ++lane) {
      int64_t row = (first + panel) * lanes + lane;
      rows[lane] = row < problem->rows ? job->y + row * problem->outputs : 0;
    }
    level->scatter(
        in + panel * size, (Columns){0, problem->outputs, INT64_MAX - 3, 0}, job->bias, rows);
  }
}

void tessera_chain(
    const void *problem, const void *const *inputs, void *const *outputs, void *scratch) {
  Job job = plan(problem);
  job.x = inputs[0];
  job.weights = (const float *const *)(inputs + 1);
  job.bias = job.problem->has_bias ? inputs[1 + job.problem->count] : 0;
  job.y = outputs[0];
  job.scratch = scratch;
  tessera_parallel(job.blocks, job.problem->threads, block, &job);
}
