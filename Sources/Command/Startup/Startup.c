// After each product OpenBLAS's threads wait awake for 2^OPENBLAS_THREAD_TIMEOUT ticks of the clock, 27 ms
// unless the environment says otherwise, and take a processor from whatever comes next. A tenth of a
// millisecond keeps them awake from product to product and no longer.
//
// OpenBLAS reads the variable when it is loaded, so it has to be set before any library is initialised,
// which is what this section of an executable is for.
#include <stdlib.h>

static void shorten_waiting(void) { setenv("OPENBLAS_THREAD_TIMEOUT", "18", 0); }

__attribute__((section(".preinit_array"), used)) static void (*const before_libraries)(void) =
    shorten_waiting;
