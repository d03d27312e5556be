// A chain of factors by blocks of rows: what one factor gives the next stays in cache, in panels whose
// vectors may be stored anywhere, so that permutations between factors cost nothing.
#include <string.h>

#include "Blocks.h"
#include "Factors.h"

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
  job.width = widest(problem);
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
  const int64_t lanes = job->level->lanes, size = job->width * lanes;
  const int64_t first = item * job->panels;
  const int64_t panels = smaller(job->panels, ceiling(problem->rows, lanes) - first);
  float *in = part_of_worker(job->scratch, job->scratch_of_worker, worker);
  float *out = in + job->panels * size;

  Rows x = {problem->rows, first * lanes, problem->inputs};
  read_rows(job->level, x, job->x, problem->widths[0], panels, job->width, in);
  for (int f = 0; f < problem->count; ++f) {
    apply_factor(
        job->level, &problem->factors[f], job->weights[f], panels, job->width, in, out);
    float *next = in;
    in = out;
    out = next;
  }
  Rows y = {problem->rows, first * lanes, problem->outputs};
  write_rows(job->level, y, in, job->bias, panels, job->width, job->y);
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
