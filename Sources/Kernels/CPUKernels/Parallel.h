// A loop over independent items on several threads.
#pragma once

#include <stdint.h>

// Calls body(context, item, worker) once for every item, by at most `threads` workers numbered from 0.
void tessera_parallel(
    int64_t items, int32_t threads, void (*body)(void *context, int64_t item, int32_t worker),
    void *context);
