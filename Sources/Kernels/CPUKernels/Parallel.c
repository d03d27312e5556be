#include "Parallel.h"

#include <pthread.h>
#include <stdatomic.h>

#define MOST_THREADS 256

typedef struct {
  _Atomic int64_t next;
  int64_t items;
  void (*body)(void *, int64_t, int32_t);
  void *context;
} Loop;

typedef struct {
  Loop *loop;
  int32_t worker;
} Start;

static void *work(void *argument) {
  Start *start = argument;
  Loop *loop = start->loop;
  for (;;) {
    int64_t item = atomic_fetch_add(&loop->next, 1);
    if (item >= loop->items) return 0;
    loop->body(loop->context, item, start->worker);
  }
}

void tessera_parallel(
    int64_t items, int32_t threads, void (*body)(void *context, int64_t item, int32_t worker),
    void *context) {
  Loop loop = {0, items, body, context};
  if (threads > items) threads = (int32_t)items;
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
