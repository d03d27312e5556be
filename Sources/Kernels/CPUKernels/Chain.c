// A chain of factors by blocks of rows: what one factor gives the next stays in cache, in panels whose
// vectors may be stored anywhere, so that permutations between factors cost nothing.
#include <string.h>

#include "Blocks.h"
#include "Factors.h"

// Panels of a block: few stay in the second cache from factor to factor; more share the reading of weights that
// come from memory.
#define FEW_PANELS 2
#define MORE_PANELS 8
// Floats of weights that the caches hold.
#define MOST_CACHED (2 << 20)

typedef struct {
  const TesseraChain *problem;
  const float *x, *bias;
  const float *const *weights;
  float *y;
  void *scratch;
  const Level *level;
  int64_t panels, blocks, width;
  // Factors in the order in which they are read, if that is worth its time, and parts to bring into it.
  float *packed[TESSERA_CHAIN_LIMIT];
  int64_t packed_sizes[TESSERA_CHAIN_LIMIT], packed_parts, packed_size;
  size_t scratch_of_worker;
} Job;

static Job plan(const TesseraChain *problem) {
  Job job = {.problem = problem, .level = tessera_level(problem->level)};
  job.width = widest(problem);
  for (int f = 0; f < problem->count && problem->rows >= PACKED_ROWS; ++f) {
    job.packed_sizes[f] = packed_factor_size(job.level, &problem->factors[f]);
    job.packed_size += job.packed_sizes[f];
    job.packed_parts += packed_factor_parts(&problem->factors[f]);
  }
  // Two blocks a thread at least, so that none waits long for the last.
  const int64_t panels = ceiling(problem->rows, job.level->lanes);
  const int64_t most = job.packed_size > MOST_CACHED ? MORE_PANELS : FEW_PANELS;
  job.panels = smaller(most, larger(1, panels / (2 * problem->threads)));
  job.blocks = ceiling(panels, job.panels);
  // What comes in and what goes out, for each panel.
  job.scratch_of_worker = aligned_size(2 * job.panels * job.width * job.level->lanes);
  return job;
}

size_t tessera_chain_scratch(const TesseraChain *problem) {
  Job job = plan(problem);
  return aligned_size(job.packed_size) + job.scratch_of_worker * (size_t)problem->threads;
}

static void pack(const Job *job, int64_t part) {
  const TesseraBlockFactor *factor = job->problem->factors;
  int f = 0;
  for (; part >= packed_factor_parts(factor); ++f, ++factor) part -= packed_factor_parts(factor);
  pack_factor_part(job->level, factor, job->weights[f], part, job->packed[f]);
}

static void block(const Job *job, int64_t item, int32_t worker) {
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
        job->level, &problem->factors[f], job->weights[f], job->packed[f], panels, job->width, in,
        out);
    float *next = in;
    in = out;
    out = next;
  }
  Rows y = {problem->rows, first * lanes, problem->outputs};
  const Finish finish = {job->bias, problem->activation};
  finish_rows(job->level, &finish, problem->outputs, panels, job->width, in, 0);
  write_rows(job->level, y, in, panels, job->width, job->y);
}

static void phase(void *context, int64_t number, int64_t item, int32_t worker) {
  if (number == 0) {
    pack(context, item);
  } else {
    block(context, item, worker);
  }
}

void tessera_chain(
    const void *problem, const void *const *inputs, void *const *outputs, void *scratch) {
  Job job = plan(problem);
  job.x = inputs[0];
  job.weights = (const float *const *)(inputs + 1);
  job.bias = job.problem->has_bias ? inputs[1 + job.problem->count] : 0;
  job.y = outputs[0];
  float *packed = part_of_worker(scratch, 0, 0);
  for (int f = 0; f < job.problem->count && job.packed_size > 0; ++f) {
    job.packed[f] = packed;
    packed += job.packed_sizes[f];
  }
  job.scratch = (char *)scratch + aligned_size(job.packed_size);
  const Phases phases = {2, 2, {job.packed_parts, job.blocks}};
  tessera_phases(&phases, job.problem->threads, phase, &job);
}
