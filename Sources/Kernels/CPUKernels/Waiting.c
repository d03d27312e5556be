#include <stdlib.h>

#include "CCPUKernels.h"

// A tenth of a millisecond keeps OpenBLAS's threads awake from one product to the next, and no longer; its
// own default is 27 ms.
#define SHORT_WAIT 18

// Takes the place of OpenBLAS's function of this name, which reads the variable while the library is loaded:
// too early for a program to set it. Where OpenBLAS has no such function, nobody calls this one.
int openblas_thread_timeout(void) {
  const char *variable = getenv("OPENBLAS_THREAD_TIMEOUT");
  int exponent = variable ? atoi(variable) : SHORT_WAIT;
  return exponent < 4 ? 4 : exponent > 30 ? 30 : exponent;
}
