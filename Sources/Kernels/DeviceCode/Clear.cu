// Sets `count` 32-bit words to zero: the counters of a products kernel, which needs a fresh set for every launch.
//
// Launch: 256 threads; grid ceil(count / 256).
#ifndef TESSERA_KERNEL
#define TESSERA_KERNEL clear_counters
#endif

extern "C" __global__ void __launch_bounds__(256) TESSERA_KERNEL(int* __restrict__ words, int count) {
  const int i = blockIdx.x * 256 + threadIdx.x;
  if (i < count) words[i] = 0;
}
