// One level's steps; LANES (floats of a vector register), HEIGHT (outputs held in registers at once) and
// NAME are set by the file that includes this.
//
// Two vectors by HEIGHT outputs are accumulated in registers: 2 loads and HEIGHT broadcasts feed
// 2 HEIGHT multiply-adds, which keeps the multipliers of AVX2 (12 of 16 registers) and of AVX-512
// (24 of 32) the busiest part.
#define PANEL (2 * LANES)

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4)));
typedef float Quad __attribute__((vector_size(16), aligned(4)));

static inline __attribute__((always_inline)) void contract_block(
    const Contraction *job, int64_t first, const int height) {
  Vector sums[HEIGHT][2];
  const float *weights[HEIGHT];
  for (int o = 0; o < height; ++o) {
    sums[o][0] = sums[o][1] = (Vector){0};
    // Past the end the last output is computed again, and not stored.
    int64_t place = first + o < job->outputs ? first + o : job->outputs - 1;
    weights[o] = job->w + place * job->w_o;
  }
  const int64_t step = job->in_k * PANEL, w_k = job->w_k;
  for (int64_t g = 0; g < job->groups; ++g) {
    const float *in = job->in + g * job->in_g * PANEL;
    for (int64_t k = 0; k < job->inner; ++k) {
      Vector low = *(const Vector *)in, high = *(const Vector *)(in + LANES);
      for (int o = 0; o < height; ++o) {
        float weight = weights[o][k * w_k];
        sums[o][0] += weight * low;
        sums[o][1] += weight * high;
      }
      in += step;
    }
    for (int o = 0; o < height; ++o) weights[o] += job->w_g;
  }
  for (int o = 0; o < height && first + o < job->outputs; ++o) {
    float *out = job->out + (first + o) * job->out_o * PANEL;
    *(Vector *)out = sums[o][0];
    *(Vector *)(out + LANES) = sums[o][1];
  }
}

static void contract(const Contraction *job) {
  int64_t first = 0;
  for (; first + HEIGHT <= job->outputs; first += HEIGHT) contract_block(job, first, HEIGHT);
  // What is left in halves, so that little is computed twice.
  for (; first < job->outputs; first += HEIGHT / 2) contract_block(job, first, HEIGHT / 2);
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

static void scatter(
    const float *panel, Columns columns, const float *bias, float *const *rows) {
  if (bias) bias += columns.first;
  for (int64_t lane = 0; lane < PANEL; lane += 4) {
    float *const *four = rows + lane;
    int64_t column = 0;
    for (; columns.run % 4 == 0 && column + 4 <= columns.count; column += 4) {
      Quad m[4];
      const float *in = panel + place(columns, column) + lane;
      for (int i = 0; i < 4; ++i) m[i] = *(const Quad *)(in + i * PANEL);
      transpose(m);
      Quad shift = bias ? *(const Quad *)(bias + column) : (Quad){0};
      for (int i = 0; i < 4; ++i) {
        if (four[i]) *(Quad *)(four[i] + columns.first + column) = m[i] + shift;
      }
    }
    for (; column < columns.count; ++column) {
      const float *in = panel + place(columns, column) + lane;
      for (int i = 0; i < 4; ++i) {
        if (four[i]) four[i][columns.first + column] = in[i] + (bias ? bias[column] : 0);
      }
    }
  }
}

const Level NAME = {PANEL, contract, gradient, gather, scatter};
