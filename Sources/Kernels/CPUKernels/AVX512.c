#if defined(__x86_64__)
#include "Levels.h"

#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"))), apply_to = function)
#define LANES 16
#define HEIGHT 12
#define NAME tessera_level_avx512
#include "Level.inc.h"
#pragma clang attribute pop
#endif
