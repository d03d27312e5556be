#if defined(__x86_64__)
#include "Levels.h"

#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define LANES 8
#define HEIGHT 6
#define NAME tessera_level_avx2
#include "Level.inc.h"
#pragma clang attribute pop
#endif
