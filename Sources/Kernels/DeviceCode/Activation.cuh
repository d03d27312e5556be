// The activations that an epilogue can apply: -DTESSERA_ACTIVATION=0 none, 1 GELU (error function), 2 GELU (tanh), 3 SiLU.
#pragma once

#ifndef TESSERA_ACTIVATION
#define TESSERA_ACTIVATION 0
#endif

__device__ __forceinline__ float activation(float x) {
#if TESSERA_ACTIVATION == 1
  return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
#elif TESSERA_ACTIVATION == 2
  return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
#elif TESSERA_ACTIVATION == 3
  return x / (1.0f + __expf(-x));
#else
  return x;
#endif
}
