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
  const float *x, *dy, *bias;
  const float *const *weights;
  // dz is the gradient of what goes into the activation, if there is one.
  float *dx, *dz, *const *gradients;
  void *scratch;
  // [parts][sums]
  float *sums;
  const Level *level;
  int64_t panels, width, parts, panels_of_part, sizes[TESSERA_CHAIN_LIMIT], size;
  size_t scratch_of_worker;
  TesseraBlockFactor back[TESSERA_CHAIN_LIMIT];
  // Factors and their transposes in the order in which they are read, if that is worth its time.
  float *packed[TESSERA_CHAIN_LIMIT], *packed_back[TESSERA_CHAIN_LIMIT];
  int64_t packed_sizes[TESSERA_CHAIN_LIMIT], packed_parts, packed_size;
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
    if (problem->rows < PACKED_ROWS) continue;
    job.packed_sizes[f] = larger(
        packed_factor_size(job.level, &problem->factors[f]),
        packed_factor_size(job.level, &job.back[f]));
    job.packed_size += 2 * job.packed_sizes[f];
    job.packed_parts +=
        packed_factor_parts(&problem->factors[f]) + packed_factor_parts(&job.back[f]);
  }
  // What goes into each factor and out of the last one, and two gradients.
  job.scratch_of_worker =
      aligned_size((problem->count + 3) * job.panels * job.width * job.level->lanes);
  return job;
}

size_t tessera_chain_gradient_scratch(const TesseraChain *problem) {
  Job job = plan(problem);
  return aligned_size(job.packed_size) + job.scratch_of_worker * (size_t)problem->threads +
         (size_t)(job.parts * job.size) * sizeof(float);
}

static void pack(const Job *job, int64_t part) {
  for (int f = 0; f < job->problem->count; ++f) {
    const TesseraBlockFactor *const factors[2] = {&job->problem->factors[f], &job->back[f]};
    for (int i = 0; i < 2; ++i) {
      const int64_t parts = packed_factor_parts(factors[i]);
      if (part < parts) {
        pack_factor_part(
            job->level, factors[i], job->weights[f], part, (i ? job->packed_back : job->packed)[f]);
        return;
      }
      part -= parts;
    }
  }
}

static void part(const Job *job, int64_t item, int32_t worker) {
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
    const int is_activated = problem->activation != TESSERA_NO_ACTIVATION;
    for (int f = 0; f + 1 < problem->count + is_activated; ++f) {
      apply_factor(
          level, &problem->factors[f], job->weights[f], job->packed[f], panels, job->width,
          values + f * size, values + (f + 1) * size);
    }
    float *outputs = values + problem->count * size, *after = outputs + size, *before = after + size;
    Rows y = {problem->rows, first * lanes, problem->outputs};
    read_rows(level, y, job->dy, problem->widths[problem->count], panels, job->width, after);
    if (is_activated) {
      const Finish finish = {job->bias, problem->activation};
      finish_rows(level, &finish, problem->outputs, panels, job->width, outputs, after);
      write_rows(level, y, outputs, panels, job->width, job->dz);
      // The padding of dY is zero, and so is that of what follows from it.
      for (int64_t panel = 0; panel < panels; ++panel) {
        const int64_t start = panel * job->width * lanes;
        memcpy(
            after + start, outputs + start, (size_t)(problem->outputs * lanes) * sizeof(float));
      }
    }
    float *of_factor = sums + job->size;
    for (int f = problem->count - 1; f >= 0; --f) {
      of_factor -= job->sizes[f];
      add_gradient(
          level, &problem->factors[f], panels, job->width, values + f * size, after, of_factor);
      apply_factor(
          level, &job->back[f], job->weights[f], job->packed_back[f], panels, job->width, after, before);
      float *next = after;
      after = before;
      before = next;
    }
    write_rows(level, x, after, panels, job->width, job->dx);
  }
}

static void add_parts(const Job *job, int64_t item) {
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

static void pack_or_part(void *context, int64_t number, int64_t item, int32_t worker) {
  if (number == 0) {
    pack(context, item);
  } else {
    part(context, item, worker);
  }
}

static void add(void *context, int64_t item, int32_t worker) {
  (void)worker;
  add_parts(context, item);
}

void tessera_chain_gradient(
    const void *problem, const void *const *inputs, void *const *outputs, void *scratch) {
  Job job = plan(problem);
  job.x = inputs[0];
  job.dy = inputs[1];
  job.weights = (const float *const *)(inputs + 2);
  job.dx = outputs[0];
  job.gradients = (float *const *)(outputs + 1);
  if (job.problem->has_bias) job.bias = inputs[2 + job.problem->count];
  if (job.problem->activation != TESSERA_NO_ACTIVATION) job.dz = outputs[1 + job.problem->count];
  job.sums = scratch;
  float *packed = part_of_worker(job.sums + job.parts * job.size, 0, 0);
  for (int f = 0; f < job.problem->count && job.packed_size > 0; ++f) {
    job.packed[f] = packed;
    job.packed_back[f] = packed + job.packed_sizes[f];
    packed += 2 * job.packed_sizes[f];
  }
  job.scratch = (char *)(job.sums + job.parts * job.size) + aligned_size(job.packed_size);
  const Phases phases = {2, 2, {job.packed_parts, job.parts}};
  tessera_phases(&phases, job.problem->threads, pack_or_part, &job);
  tessera_parallel(ceiling(job.size, CHUNK), job.problem->threads, add, &job);
}
