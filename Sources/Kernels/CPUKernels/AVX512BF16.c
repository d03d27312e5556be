#if defined(__x86_64__)
#include <immintrin.h>

#include "Levels.h"

#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,avx2,fma"))), apply_to = function)
#define LANES 16
#define HEIGHT 12
#define NAME tessera_level_avx512_bf16
#define HAS_PAIRS 1
#include "Level.inc.h"
#pragma clang attribute pop
#endif
