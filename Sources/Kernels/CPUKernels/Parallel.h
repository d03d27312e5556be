// Loops over independent items on several threads.
#pragma once

#include <stdint.h>

// Calls body(context, item, worker) once for every item, by at most `threads` workers numbered from 0.
void tessera_parallel(
    int64_t items, int32_t threads, void (*body)(void *context, int64_t item, int32_t worker),
    void *context);

// `count` phases of one or two kinds in turn, which have so many items each.
typedef struct {
  int64_t count, kinds, items[2];
} Phases;

// The same loop in phases: no item begins before all of the phases before its own are done.
void tessera_phases(
    const Phases *phases, int32_t threads,
    void (*body)(void *context, int64_t phase, int64_t item, int32_t worker), void *context);
