#include "Levels.h"

TesseraCPULevel tessera_cpu_level(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")) {
    return TESSERA_CPU_AVX512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return TESSERA_CPU_AVX2;
#endif
  return TESSERA_CPU_PORTABLE;
}

const Level *tessera_level(TesseraCPULevel level) {
#if defined(__x86_64__)
  // A level that the processor lacks would end the process.
  if (level > tessera_cpu_level()) level = tessera_cpu_level();
  if (level == TESSERA_CPU_AVX512) {
    return __builtin_cpu_supports("avx512bf16") ? &tessera_level_avx512_bf16 : &tessera_level_avx512;
  }
  if (level == TESSERA_CPU_AVX2) return &tessera_level_avx2;
#endif
  (void)level;
  return &tessera_level_portable;
}

int32_t tessera_cpu_has_pairs(TesseraCPULevel level) { return tessera_level(level)->has_pairs; }
