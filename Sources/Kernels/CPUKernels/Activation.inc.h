// Activations of a level's vectors, and their derivatives.

typedef int32_t Integers __attribute__((vector_size(4 * LANES)));

static inline Vector between(Vector x, float low, float high) {
  return __builtin_elementwise_min(
      __builtin_elementwise_max(x, (Vector){0} + low), (Vector){0} + high);
}

// e^x to about a unit in the last place: x = n ln 2 + r with |r| <= ln 2 / 2, and a minimax polynomial of
// degree 7 (the coefficients are those of Cephes' expf).
static inline Vector exponential(Vector x) {
  x = between(x, -87.3f, 88.0f);
  // Adding 1.5 * 2^23 leaves no place for a fraction.
  const Vector n = (x * 1.44269504088896341f + 12582912.0f) - 12582912.0f;
  // ln 2 in two parts, the first one short enough for exact products with n.
  const Vector r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  return p * (Vector)((__builtin_convertvector(n, Integers) + 127) << 23);
}

static inline Vector logistic(Vector x) { return 1.0f / (1.0f + exponential(-x)); }

// The distribution function of the normal distribution, by its tail e^(-x^2/2) P(1 / (1 + 0.3 |x|)), which
// scripts/fit_normal_tail.py fits: x times it has an error of two roundings at most.
static inline Vector distribution(Vector x) {
  const Vector size = __builtin_elementwise_max(x, -x), t = 1.0f / (size * 0.3f + 1.0f);
  Vector p = t * 0.0344198286f - 0.150612101f;
  p = p * t + 0.192223978f;
  p = p * t - 0.0376829976f;
  p = p * t + 0.118266263f;
  p = p * t + 0.103653381f;
  p = p * t + 0.120049765f;
  p = p * t + 0.119681891f;
  const Vector tail = p * t * exponential(size * size * -0.5f);
  const Integers is_negative = x < 0;
  return (Vector)((is_negative & (Integers)tail) | (~is_negative & (Integers)(1.0f - tail)));
}

// 2 sqrt(2 / pi), the argument's scale in GELU's approximation: tanh(u) = 2 logistic(2 u) - 1.
#define TANH_SCALE 1.5957691216057308f
#define TANH_CUBE 0.044715f

static inline Vector activated(TesseraActivation activation, Vector x) {
  switch (activation) {
    case TESSERA_GELU:
      return x * distribution(x);
    case TESSERA_GELU_TANH:
      return x * logistic(TANH_SCALE * (x + TANH_CUBE * x * x * x));
    case TESSERA_SILU:
      return x * logistic(x);
    default:
      return x;
  }
}

static inline Vector slope(TesseraActivation activation, Vector x) {
  switch (activation) {
    case TESSERA_GELU:
      return distribution(x) + x * 0.3989422804014327f * exponential(x * x * -0.5f);
    case TESSERA_GELU_TANH: {
      const Vector rest = exponential(-TANH_SCALE * (x + TANH_CUBE * x * x * x)), y = 1.0f / (1.0f + rest);
      return y + x * y * (rest * y) * TANH_SCALE * (1.0f + 3.0f * TANH_CUBE * x * x);
    }
    case TESSERA_SILU: {
      // 1 - y is rest * y, without cancellation.
      const Vector rest = exponential(-x), y = 1.0f / (1.0f + rest);
      return y + x * y * (rest * y);
    }
    default:
      return (Vector){0} + 1.0f;
  }
}
