#include <string.h>

#include "CCPUKernels.h"
#include "Parallel.h"

#define PART (1 << 20)

typedef struct {
  int64_t count;
  const float *from;
  float *to;
} Job;

static void part(void *context, int64_t item, int32_t worker) {
  (void)worker;
  const Job *job = context;
  int64_t left = job->count - item * PART;
  memcpy(
      job->to + item * PART, job->from + item * PART,
      (size_t)(left < PART ? left : PART) * sizeof(float));
}

void tessera_copy(
    const void *problem, const void *const *inputs, void *const *outputs, void *scratch) {
  (void)scratch;
  const TesseraCopy *copy = problem;
  Job job = {copy->count, inputs[0], outputs[0]};
  tessera_parallel((copy->count + PART - 1) / PART, copy->threads, part, &job);
}
