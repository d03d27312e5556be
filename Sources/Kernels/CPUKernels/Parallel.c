#include "Parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define MOST_THREADS 256
// Looks at the others' progress before a processor is given away.
#define LOOKS 2000

typedef struct {
  const Phases *phases;
  _Atomic int64_t next, done;
  void (*body)(void *, int64_t, int64_t, int32_t);
  void *context;
} Loop;

typedef struct {
  Loop *loop;
  int32_t worker;
} Start;

static int64_t items_of(const Phases *phases, int64_t phase) {
  return phases->items[phase % phases->kinds];
}

// Items are taken in order, so whoever waits for earlier ones waits for workers that are at them.
static void *work(void *argument) {
  Start *start = argument;
  Loop *loop = start->loop;
  int64_t phase = 0, begin = 0;
  for (;;) {
    int64_t ticket = atomic_fetch_add(&loop->next, 1);
    while (phase < loop->phases->count && ticket >= begin + items_of(loop->phases, phase)) {
      begin += items_of(loop->phases, phase++);
    }
    if (phase == loop->phases->count) return 0;
    for (int looks = 0; atomic_load_explicit(&loop->done, memory_order_acquire) < begin; ++looks) {
      if (looks >= LOOKS) sched_yield();
    }
    loop->body(loop->context, phase, ticket - begin, start->worker);
    atomic_fetch_add_explicit(&loop->done, 1, memory_order_release);
  }
}

void tessera_phases(
    const Phases *phases, int32_t threads,
    void (*body)(void *context, int64_t phase, int64_t item, int32_t worker), void *context) {
  Loop loop = {phases, 0, 0, body, context};
  int64_t most = 0;
  for (int64_t phase = 0; phase < phases->count; ++phase) {
    if (items_of(phases, phase) > most) most = items_of(phases, phase);
  }
  if (threads > most) threads = (int32_t)most;
  if (threads > MOST_THREADS) threads = MOST_THREADS;
  pthread_t handles[MOST_THREADS];
  Start starts[MOST_THREADS];
  int32_t running = 0;
  for (int32_t i = 1; i < threads; ++i) {
    starts[i] = (Start){&loop, i};
    // A thread that cannot be had only means that the others do more.
    if (pthread_create(&handles[running], 0, work, &starts[i]) == 0) ++running;
  }
  Start own = {&loop, 0};
  work(&own);
  for (int32_t i = 0; i < running; ++i) pthread_join(handles[i], 0);
}

typedef struct {
  void (*body)(void *, int64_t, int32_t);
  void *context;
} Plain;

static void one_phase(void *context, int64_t phase, int64_t item, int32_t worker) {
  (void)phase;
  const Plain *plain = context;
  plain->body(plain->context, item, worker);
}

void tessera_parallel(
    int64_t items, int32_t threads, void (*body)(void *context, int64_t item, int32_t worker),
    void *context) {
  Plain plain = {body, context};
  tessera_phases(&(Phases){1, 1, {items}}, threads, one_phase, &plain);
}
