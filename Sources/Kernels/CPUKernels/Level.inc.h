// One level's steps; LANES (floats of a vector register), HEIGHT (outputs held in registers at once) and
// NAME are set by the file that includes this.
//
// Two vectors by HEIGHT outputs are accumulated in registers: 2 loads and HEIGHT broadcasts feed
// 2 HEIGHT multiply-adds, which keeps the multipliers of AVX2 (12 of 16 registers) and of AVX-512
// (24 of 32) the busiest part: 0.98 of their peak where weights are packed and all is in the first two caches.
#define PANEL (2 * LANES)

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES), aligned(4)));
typedef float Quad __attribute__((vector_size(16), aligned(4)));

// Vectors of a panel along the contraction that are used together, so that they stay in the first cache. Their
// products are summed before they are added to what others gave: a long sum's error grows with its parts.
#define INNER 128
// How a strip's weights lie: anywhere, one after the other (one pointer leads to all), or as `pack` made them
// for vectors one after the other.
enum { STRIDED, ADJACENT, PACKED };

// A strip: `height` outputs from `first` on, whose weights begin at `w`, over places begin..end. What the places
// before gave is in `out`.
static inline __attribute__((always_inline)) void contract_strip(
    const Contraction *job, const float *w, int64_t first, const int height, const int layout,
    int64_t begin, int64_t end) {
  Vector sums[HEIGHT][2];
  float *out = job->out + first * job->out_o * PANEL;
  const int64_t next = job->out_o * PANEL;
  for (int o = 0; o < height; ++o) sums[o][0] = sums[o][1] = (Vector){0};
  const int64_t step = layout == PACKED ? PANEL : job->in_k * PANEL, count = end - begin;
  const int64_t w_k = job->is_packed ? HEIGHT : job->w_k;
  const int64_t w_g = job->is_packed ? job->inner * HEIGHT : job->w_g;
#define STEP(place) \
  { \
    Vector low = *(const Vector *)(in + (place) * step); \
    Vector high = *(const Vector *)(in + (place) * step + LANES); \
    for (int o = 0; o < height; ++o) { \
      float weight = layout == STRIDED ? weights[o][(place) * w_k] \
                                        : weights[0][(place) * (layout == PACKED ? HEIGHT : w_k) + o]; \
      sums[o][0] += weight * low; \
      sums[o][1] += weight * high; \
    } \
  }
  for (int64_t g = 0; g < job->groups; ++g) {
    const float *in = job->in + (g * job->in_g + begin * job->in_k) * PANEL;
    const float *weights[HEIGHT];
    for (int o = 0; o < height; ++o) weights[o] = w + g * w_g + begin * w_k + o * job->w_o;
    int64_t k = 0;
    for (; layout == PACKED && k + 4 <= count; k += 4) {
      STEP(0) STEP(1) STEP(2) STEP(3)
      in += 4 * step;
      weights[0] += 4 * w_k;
    }
    for (; k < count; ++k) {
      STEP(0)
      in += step;
      for (int o = 0; o < (layout == STRIDED ? height : 1); ++o) weights[o] += w_k;
    }
  }
#undef STEP
  for (int o = 0; o < height; ++o, out += next) {
    if (begin > 0) {
      sums[o][0] += *(const Vector *)out;
      sums[o][1] += *(const Vector *)(out + LANES);
    }
    *(Vector *)out = sums[o][0];
    *(Vector *)(out + LANES) = sums[o][1];
  }
}

static inline __attribute__((always_inline)) void contract_any(
    const Contraction *job, const float *w, int64_t first, int64_t height, const int layout,
    int64_t begin, int64_t end) {
#define CASE(h) \
  case h: \
    contract_strip(job, w, first, h < HEIGHT ? h : HEIGHT, layout, begin, end); \
    break;
  switch (height) {
    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if HEIGHT > 6
    CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#endif
  }
#undef CASE
}

// Every output is a sum in the same order, however it is cut.
static void contract(const Contraction *job) {
  const int64_t outputs = job->outputs, inner = job->inner;
  const int64_t parts = job->groups > 1 ? 1 : (inner + INNER - 1) / INNER;
  const int64_t strips = (outputs + HEIGHT - 1) / HEIGHT;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t begin = inner * part / parts, end = inner * (part + 1) / parts;
    for (int64_t strip = 0; strip < strips; ++strip) {
      const int64_t first = first_of_strip(outputs, HEIGHT, strip);
      const int64_t height = first_of_strip(outputs, HEIGHT, strip + 1) - first;
      const float *w =
          job->w + (job->is_packed ? strip * HEIGHT * job->groups * inner : first * job->w_o);
      if (job->is_packed && job->in_k == 1) {
        contract_any(job, w, first, height, PACKED, begin, end);
      } else if (job->is_packed || job->w_o == 1) {
        contract_any(job, w, first, height, ADJACENT, begin, end);
      } else {
        contract_any(job, w, first, height, STRIDED, begin, end);
      }
      if (!job->fetches_ahead) continue;
      // The panel's other places, or the next panel.
      const int64_t until = end + (end - begin) * (strip + 1) / strips;
      for (int64_t k = end + (end - begin) * strip / strips; k < until; ++k) {
        for (int64_t lane = 0; lane < PANEL; lane += 16) {
          __builtin_prefetch(job->in + k * PANEL + lane, 0, 2);
        }
      }
    }
  }
}

#ifndef HAS_PAIRS
#define HAS_PAIRS 0
#endif

// sums + the products of pairs of bfloat16, the first ones and the second ones.
static inline __attribute__((always_inline)) Vector pair_products(Vector sums, Words weights, Words vectors) {
#if HAS_PAIRS
  return (Vector)_mm512_dpbf16_ps((__m512)sums, (__m512bh)weights, (__m512bh)vectors);
#else
  // A bfloat16 is the upper half of a float32.
  const Words upper = (Words){0} + 0xffff0000u;
  sums += (Vector)(weights << 16) * (Vector)(vectors << 16);
  return sums + (Vector)(weights & upper) * (Vector)(vectors & upper);
#endif
}

static inline __attribute__((always_inline)) void contract_pair_strip(
    const Contraction *job, const float *w, float *out, const int height, int64_t begin, int64_t end) {
  Vector sums[HEIGHT][2];
  const int64_t next = job->out_o * PANEL;
  for (int o = 0; o < height; ++o) sums[o][0] = sums[o][1] = (Vector){0};
  for (int64_t k = begin; k < end; ++k) {
    const Words low = *(const Words *)(job->in + k * PANEL);
    const Words high = *(const Words *)(job->in + k * PANEL + LANES);
    for (int o = 0; o < height; ++o) {
      uint32_t pair;
      __builtin_memcpy(&pair, w + k * HEIGHT + o, sizeof(pair));
      const Words weight = (Words){0} + pair;
      sums[o][0] = pair_products(sums[o][0], weight, low);
      sums[o][1] = pair_products(sums[o][1], weight, high);
    }
  }
  for (int o = 0; o < height; ++o, out += next) {
    if (begin > 0) {
      sums[o][0] += *(const Vector *)out;
      sums[o][1] += *(const Vector *)(out + LANES);
    }
    *(Vector *)out = sums[o][0];
    *(Vector *)(out + LANES) = sums[o][1];
  }
}

static void contract_pairs(const Contraction *job) {
  const int64_t parts = (job->inner + INNER - 1) / INNER;
  const int64_t strips = (job->outputs + HEIGHT - 1) / HEIGHT;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t begin = job->inner * part / parts, end = job->inner * (part + 1) / parts;
    for (int64_t strip = 0; strip < strips; ++strip) {
      const int64_t first = first_of_strip(job->outputs, HEIGHT, strip);
      const int64_t height = first_of_strip(job->outputs, HEIGHT, strip + 1) - first;
      const float *w = job->w + strip * HEIGHT * job->inner;
      float *out = job->out + first * job->out_o * PANEL;
#define CASE(h) \
  case h: \
    contract_pair_strip(job, w, out, h < HEIGHT ? h : HEIGHT, begin, end); \
    break;
      switch (height) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if HEIGHT > 6
        CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#endif
      }
#undef CASE
    }
  }
}

// A finite float32 to bfloat16, to nearest and even; what is not finite keeps its upper half, NaN a bit of it.
static inline uint32_t rounded(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7fffffff) > 0x7f800000) return bits >> 16 | 0x40;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static void narrow(const float *from, int64_t rows, int64_t length, float *to) {
  for (int64_t row = 0; row < rows; row += 2, to += length) {
    const float *first = from + row * length, *second = first + length;
    for (int64_t i = 0; i < length; ++i) {
      uint32_t pair = rounded(first[i]) | (row + 1 < rows ? rounded(second[i]) << 16 : 0);
      __builtin_memcpy(to + i, &pair, sizeof(pair));
    }
  }
}

// The transpose of a 4x4 matrix.
static inline __attribute__((always_inline)) void transpose(Quad m[4]) {
  Quad a = __builtin_shufflevector(m[0], m[1], 0, 4, 1, 5);
  Quad b = __builtin_shufflevector(m[0], m[1], 2, 6, 3, 7);
  Quad c = __builtin_shufflevector(m[2], m[3], 0, 4, 1, 5);
  Quad d = __builtin_shufflevector(m[2], m[3], 2, 6, 3, 7);
  m[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  m[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  m[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  m[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

static void pack(const Contraction *job, float *packed) {
  const int64_t outputs = job->outputs, inner = job->inner, places = job->groups * inner;
  const int64_t strips = (outputs + HEIGHT - 1) / HEIGHT, w_o = job->w_o, w_k = job->w_k;
  for (int64_t g = 0; g < job->groups; ++g, packed += inner * HEIGHT) {
    const float *w = job->w + g * job->w_g;
    // Row after row, where a row's weights are adjacent.
    for (int64_t k = 0; w_o == 1 && k < inner; ++k) {
      for (int64_t strip = 0; strip < strips; ++strip) {
        const int64_t first = first_of_strip(outputs, HEIGHT, strip);
        const int64_t count = first_of_strip(outputs, HEIGHT, strip + 1) - first;
        const float *from = w + k * w_k + first;
        float *to = packed + (strip * places + k) * HEIGHT;
        if (count == HEIGHT) {
          __builtin_memcpy(to, from, HEIGHT * sizeof(float));
        } else {
          for (int64_t o = 0; o < count; ++o) to[o] = from[o];
        }
      }
    }
    for (int64_t strip = 0; w_o != 1 && strip < strips; ++strip) {
      const int64_t first = first_of_strip(outputs, HEIGHT, strip);
      const int64_t count = first_of_strip(outputs, HEIGHT, strip + 1) - first;
      const float *rows[HEIGHT];
      // Past the strip's end the last output is repeated.
      for (int o = 0; o < HEIGHT; ++o) rows[o] = w + (first + (o < count ? o : count - 1)) * w_o;
      float *to = packed + strip * places * HEIGHT;
      int64_t k = 0;
      for (; w_k == 1 && k + 4 <= inner; k += 4) {
        for (int o = 0; o < HEIGHT; o += 4) {
          Quad m[4];
          for (int i = 0; i < 4; ++i) m[i] = *(const Quad *)(rows[o + i < HEIGHT ? o + i : o] + k);
          transpose(m);
          size_t size = HEIGHT - o < 4 ? (HEIGHT - o) * sizeof(float) : sizeof(Quad);
          for (int i = 0; i < 4; ++i) __builtin_memcpy(to + (k + i) * HEIGHT + o, &m[i], size);
        }
      }
      for (; k < inner; ++k) {
        for (int o = 0; o < HEIGHT; ++o) to[k * HEIGHT + o] = rows[o][k * w_k];
      }
    }
  }
}

static inline __attribute__((always_inline)) Quad folded(Vector v) {
  Quad sum = {0};
  for (int part = 0; part < LANES / 4; ++part) {
    Quad quad;
    __builtin_memcpy(&quad, (const char *)&v + 16 * part, sizeof(quad));
    sum += quad;
  }
  return sum;
}

// Three outputs by four inner places: 12 sums, each a vector over the rows.
static void gradient(const WeightGradient *job) {
  for (int64_t o = 0; o < job->outputs; o += 3) {
    for (int64_t k = 0; k < job->inner; k += 4) {
      Vector sums[3][4] = {0};
      int64_t outputs[3], inner[4];
      // Past the end the last place is computed again, and not added.
      for (int i = 0; i < 3; ++i) outputs[i] = o + i < job->outputs ? o + i : job->outputs - 1;
      for (int j = 0; j < 4; ++j) inner[j] = k + j < job->inner ? k + j : job->inner - 1;
      for (int64_t panel = 0; panel < job->panels; ++panel) {
        const float *out = job->out + panel * job->next_panel * PANEL;
        const float *in = job->in + panel * job->next_panel * PANEL;
        for (int64_t lane = 0; lane < PANEL; lane += LANES) {
          Vector columns[4];
          for (int j = 0; j < 4; ++j) {
            columns[j] = *(const Vector *)(in + inner[j] * job->in_k * PANEL + lane);
          }
          for (int i = 0; i < 3; ++i) {
            Vector row = *(const Vector *)(out + outputs[i] * job->out_o * PANEL + lane);
            for (int j = 0; j < 4; ++j) sums[i][j] += row * columns[j];
          }
        }
      }
      for (int i = 0; i < 3 && o + i < job->outputs; ++i) {
        Quad m[4] = {folded(sums[i][0]), folded(sums[i][1]), folded(sums[i][2]), folded(sums[i][3])};
        transpose(m);
        Quad total = (m[0] + m[1]) + (m[2] + m[3]);
        float *w = job->w + (o + i) * job->w_o + k * job->w_k;
        for (int j = 0; j < 4 && k + j < job->inner; ++j) w[j * job->w_k] += total[j];
      }
    }
  }
}

static inline int64_t place(Columns columns, int64_t column) {
  return (column / columns.run * columns.stride + column % columns.run) * PANEL;
}

// Four rows at a time: sixteen at once would meet in one set of the cache where rows are a power of
// two long.
static void gather(const float *const *rows, Columns columns, float *panel) {
  for (int64_t lane = 0; lane < PANEL; lane += 4) {
    const float *const *four = rows + lane;
    int64_t column = 0;
    for (; columns.run % 4 == 0 && column + 4 <= columns.count; column += 4) {
      Quad m[4];
      for (int i = 0; i < 4; ++i) {
        m[i] = four[i] ? *(const Quad *)(four[i] + columns.first + column) : (Quad){0};
      }
      transpose(m);
      float *out = panel + place(columns, column) + lane;
      for (int i = 0; i < 4; ++i) *(Quad *)(out + i * PANEL) = m[i];
    }
    for (; column < columns.count; ++column) {
      float *out = panel + place(columns, column) + lane;
      for (int i = 0; i < 4; ++i) out[i] = four[i] ? four[i][columns.first + column] : 0;
    }
  }
}

static void scatter(const float *panel, Columns columns, float *const *rows) {
  for (int64_t lane = 0; lane < PANEL; lane += 4) {
    float *const *four = rows + lane;
    int64_t column = 0;
    for (; columns.run % 4 == 0 && column + 4 <= columns.count; column += 4) {
      Quad m[4];
      const float *in = panel + place(columns, column) + lane;
      for (int i = 0; i < 4; ++i) m[i] = *(const Quad *)(in + i * PANEL);
      transpose(m);
      for (int i = 0; i < 4; ++i) {
        if (four[i]) *(Quad *)(four[i] + columns.first + column) = m[i];
      }
    }
    for (; column < columns.count; ++column) {
      const float *in = panel + place(columns, column) + lane;
      for (int i = 0; i < 4; ++i) {
        if (four[i]) four[i][columns.first + column] = in[i];
      }
    }
  }
}

#include "Activation.inc.h"

// A number of every row at a time.
static void finish(const Finish *job, Columns columns, float *panel, const float *dy) {
  const float *bias = job->bias ? job->bias + columns.first : 0;
  for (int64_t column = 0; column < columns.count; ++column) {
    const int64_t start = place(columns, column);
    for (int64_t lane = 0; lane < PANEL; lane += LANES) {
      Vector v = *(const Vector *)(panel + start + lane);
      if (bias) v += bias[column];
      *(Vector *)(panel + start + lane) =
          dy ? *(const Vector *)(dy + start + lane) * slope(job->activation, v) : activated(job->activation, v);
    }
  }
}

const Level NAME = {
    PANEL, HEIGHT, contract, contract_pairs, narrow, HAS_PAIRS, pack, gradient, gather, scatter, finish};
