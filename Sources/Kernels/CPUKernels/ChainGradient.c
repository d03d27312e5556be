// The gradients of a chain, by blocks of rows in one pass: what the factors gave each other is computed
// again, and stays in cache as panels beside its gradient.
//
// Weights gather a sum over all rows. The rows are cut into parts, as many whatever the threads are; each
// part has sums of its own, which are added in the parts' order at the end.
#include <string.h>

#include "Blocks.h"
#include "Factors.h"

// Panels of a block: a sum over the lanes ends each, so there should be many.
#define GRADIENT_PANELS 8
// Rows that make it worth having one more set of sums, and sets at most.
#define ROWS_OF_PART 256
#define MOST_PARTS 64
#define LEAST_PARTS 4
// Sums added at a time, by one thread.
#define CHUNK 4096

typedef struct {
  const TesseraChain *problem;
  const float *x, *dy;
  const float *const *weights;
  float *dx, *const *gradients;
  void *scratch;
  // [parts][sums]
  float *sums;
  const Level *level;
  int64_t panels, width, parts, panels_of_part, sizes[TESSERA_CHAIN_LIMIT], size;
  size_t scratch_of_worker;
  TesseraBlockFactor back[TESSERA_CHAIN_LIMIT];
} Job;

static int64_t weights_of(const TesseraBlockFactor *factor) {
  return factor->blocks[0].count * factor->blocks[1].count * factor->outputs[0].count *
         factor->outputs[1].count * factor->inner[0].count * factor->inner[1].count;
}

static Job plan(const TesseraChain *problem) {
  Job job = {.problem = problem, .level = tessera_level(problem->level)};
  job.width = widest(problem);
  int64_t panels = ceiling(problem->rows, job.level->lanes);
  int64_t parts = larger(LEAST_PARTS, smaller(MOST_PARTS, problem->rows / ROWS_OF_PART));
  job.panels_of_part = ceiling(panels, smaller(panels, parts));
  job.parts = ceiling(panels, job.panels_of_part);
  job.panels = smaller(GRADIENT_PANELS, job.panels_of_part);
  for (int f = 0; f < problem->count; ++f) {
    job.size += job.sizes[f] = weights_of(&problem->factors[f]);
    job.back[f] = transposed(&problem->factors[f]);
  }
  // What goes into each factor, and two gradients.
  job.scratch_of_worker =
      aligned_size((problem->count + 2) * job.panels * job.width * job.level->lanes);
  return job;
}

size_t tessera_chain_gradient_scratch(const TesseraChain *problem) {
  Job job = plan(problem);
  return job.scratch_of_worker * (size_t)problem->threads +
         (size_t)(job.parts * job.size) * sizeof(float);
}

static void part(void *context, int64_t item, int32_t worker) {
  const Job *job = context;
  const TesseraChain *problem = job->problem;
  const Level *level = job->level;
  const int64_t lanes = level->lanes, size = job->panels * job->width * lanes;
  float *values = part_of_worker(job->scratch, job->scratch_of_worker, worker);
  float *sums = job->sums + item * job->size;
  memset(sums, 0, (size_t)job->size * sizeof(float));

  int64_t end = smaller((item + 1) * job->panels_of_part, ceiling(problem->rows, lanes));
  for (int64_t first = item * job->panels_of_part; first < end; first += job->panels) {
    const int64_t panels = smaller(job->panels, end - first);
    Rows x = {problem->rows, first * lanes, problem->inputs};
    read_rows(level, x, job->x, problem->widths[0], panels, job->width, values);
    for (int f = 0; f + 1 < problem->count; ++f) {
      apply_factor(
          level, &problem->factors[f], job->weights[f], panels, job->width, values + f * size,
          values + (f + 1) * size);
    }
    float *after = values + problem->count * size, *before = after + size;
    Rows y = {problem->rows, first * lanes, problem->outputs};
    read_rows(level, y, job->dy, problem->widths[problem->count], panels, job->width, after);
    float *of_factor = sums + job->size;
    for (int f = problem->count - 1; f >= 0; --f) {
      of_factor -= job->sizes[f];
      add_gradient(
          level, &problem->factors[f], panels, job->width, values + f * size, after, of_factor);
      apply_factor(level, &job->back[f], job->weights[f], panels, job->width, after, before);
      float *next = after;
      after = before;
      before = next;
    }
    write_rows(level, x, after, 0, panels, job->width, job->dx);
  }
}

static void add_parts(void *context, int64_t item, int32_t worker) {
  (void)worker;
  const Job *job = context;
  int64_t begin = item * CHUNK, end = smaller(job->size, begin + CHUNK);
  for (int64_t p = 1; p < job->parts; ++p) {
    const float *other = job->sums + p * job->size;
    for (int64_t i = begin; i < end; ++i) job->sums[i] += other[i];
  }
  int64_t start = 0;
  for (int f = 0; f < job->problem->count; start += job->sizes[f++]) {
    int64_t from = larger(begin, start), to = smaller(end, start + job->sizes[f]);
    if (from < to) {
      memcpy(job->gradients[f] + from - start, job->sums + from, (size_t)(to - from) * sizeof(float));
    }
  }
}

void tessera_chain_gradient(
    const void *problem, const void *const *inputs, void *const *outputs, void *scratch) {
  Job job = plan(problem);
  job.x = inputs[0];
  job.dy = inputs[1];
  job.weights = (const float *const *)(inputs + 2);
  job.dx = outputs[0];
  job.gradients = (float *const *)(outputs + 1);
  job.sums = scratch;
  job.scratch = job.sums + job.parts * job.size;
  tessera_parallel(job.parts, job.problem->threads, part, &job);
  tessera_parallel(ceiling(job.size, CHUNK), job.problem->threads, add_parts, &job);
}
