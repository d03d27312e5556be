// Strassen-Tile by blocks of rows, each in two phases.
//
// First all workers encode the block's rows into R planes of panels. Then each takes some tile columns and some
// of the panels at a time: for every plane it packs the weights of these columns into its second cache and
// multiplies all its panels by them, and at the end it decodes the R products of each panel. So a weight that is
// packed once serves many panels, a panel that is loaded once serves all columns, products never go far, and
// inner loops find everything in the first two caches.
#include "Blocks.h"
#include "Tiles.h"

// Floats of the planes of a block, and panels of a block at least.
#define MOST_PLANES (6 << 20)
#define LEAST_PANELS 16
// Panels that an item multiplies, at most: what packing costs is shared by these.
#define MOST_GROUP 16
// Floats of packed weights, and tile columns at most.
#define MOST_PACKED (48 << 10)
#define MOST_COLUMNS 96
// Tile columns that are decoded at a time.
#define DECODED_TILES 16
// Items of a phase for each thread, at least, where there is so much to do: the threads end together.
#define ITEMS 4

typedef struct {
  const TesseraStrassenTile *problem;
  const float *x, *weight, *encoder, *decoder, *bias, *dy;
  float *y;
  const Level *level;
  // Tiles along rows, K and N.
  int64_t tiles, inner, outer;
  // Panels of rows; of a block; of an item; groups of such items; tile columns of an item; their parts.
  int64_t panels, block, group, groups, columns, parts;
  // Parts of K that are encoded apart, and the tiles of each.
  int64_t encodings, encoded;
  // Vectors from a panel of a plane to the next, from plane to plane and from tile to tile of products.
  int64_t next_panel, next_plane, next_product;
  float *planes, *packed_encoder, *packed_decoder;
  void *scratch;
  // Floats of a packed basis, and all that the workers share.
  int64_t bases, shared;
  size_t scratch_of_worker;
} Job;

static Job plan(const TesseraStrassenTile *problem) {
  Job job = {.problem = problem, .level = tessera_level(problem->level)};
  const int64_t t = problem->rows.tile, area = t * t, lanes = job.level->lanes;
  const int64_t rank = problem->rank, height = job.level->height, wanted = ITEMS * problem->threads;
  job.tiles = tile_rows(&problem->rows);
  job.inner = ceiling(problem->inputs, t);
  job.outer = ceiling(problem->outputs, t);
  job.panels = ceiling(job.tiles, lanes);

  // Where a power of two apart, planes would meet in one set of a cache.
  job.next_panel = job.inner | 1;
  job.block = larger(LEAST_PANELS, MOST_PLANES / (rank * job.next_panel * lanes));
  job.block = ceiling(job.panels, ceiling(job.panels, job.block));
  job.next_plane = job.block * job.next_panel | 1;
  job.encodings = smaller(ceiling(job.inner, ENCODED_TILES), ceiling(wanted, job.block));
  job.encoded = ceiling(ceiling(job.inner, job.encodings), ENCODED_TILES) * ENCODED_TILES;

  int64_t most = larger(4 * height, smaller(MOST_COLUMNS, MOST_PACKED / job.inner));
  int64_t parts = larger(ceiling(job.outer, most), smaller(wanted, ceiling(job.outer, 4 * height)));
  job.columns = ceiling(ceiling(job.outer, parts), height) * height;
  job.parts = ceiling(job.outer, job.columns);
  job.groups = larger(ceiling(job.block, MOST_GROUP), smaller(job.block, ceiling(wanted, job.parts)));
  job.group = ceiling(job.block, job.groups);
  job.next_product = rank | 1;

  job.bases = larger(packed_size(job.level, rank, area), packed_size(job.level, area, rank));
  job.shared = rank * job.next_plane * lanes + 2 * job.bases;
  job.scratch_of_worker = aligned_size(
      job.columns * job.inner + (job.columns * job.group * job.next_product +
                                 area * larger(ENCODED_TILES, 2 * DECODED_TILES)) * lanes);
  // Encoding to pairs needs the planes of some tiles too.
  const size_t encoding = aligned_size((area + rank) * ENCODED_TILES * lanes);
  if (problem->is_short && encoding > job.scratch_of_worker) job.scratch_of_worker = encoding;
  return job;
}

size_t tessera_strassen_tile_scratch(const TesseraStrassenTile *problem) {
  Job job = plan(problem);
  return aligned_size(job.shared) + job.scratch_of_worker * (size_t)problem->threads;
}

// The tiles of a panel whose rows begin at `rows[place][lane]` of a matrix.
static void rows_of_panel(
    const Job *job, int64_t panel, const float *matrix, int64_t length,
    const float *rows[TESSERA_LARGEST_TILE][MOST_LANES]) {
  const int64_t lanes = job->level->lanes;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    int64_t tile = panel * lanes + lane;
    for (int64_t i = 0; i < job->problem->rows.tile; ++i) {
      int64_t row = tile < job->tiles ? row_of(&job->problem->rows, tile, i) : -1;
      rows[i][lane] = row < 0 ? 0 : matrix + row * length;
    }
  }
}

static void encode(const Job *job, int64_t block, int64_t item, float *tiles) {
  const int64_t place = item / job->encodings, panel = block * job->block + place;
  if (panel >= job->panels) return;
  const float *rows[TESSERA_LARGEST_TILE][MOST_LANES];
  rows_of_panel(job, panel, job->x, job->problem->inputs, rows);
  const int64_t lanes = job->level->lanes, rank = job->problem->rank;
  float *planes = job->planes + place * job->next_panel * lanes;
  const int64_t begin = item % job->encodings * job->encoded;
  const int64_t end = smaller(job->inner, begin + job->encoded);
  for (int64_t first = begin; first < end; first += ENCODED_TILES) {
    const int64_t count = smaller(ENCODED_TILES, end - first);
    float *wide = tiles + job->problem->rows.tile * job->problem->rows.tile * ENCODED_TILES * lanes;
    if (!job->problem->is_short) {
      encode_tiles(
          job->level, job->problem, job->packed_encoder, rows, first, count, tiles, planes + first * lanes,
          job->next_plane);
      continue;
    }
    encode_tiles(
        job->level, job->problem, job->packed_encoder, rows, first, count, tiles, wide, ENCODED_TILES);
    for (int64_t r = 0; r < rank; ++r) {
      job->level->narrow(
          wide + r * ENCODED_TILES * lanes, count, lanes, planes + (r * job->next_plane + first / 2) * lanes);
    }
  }
}

// Decodes a panel's products [columns][R], which begin at tile column `first`, into Y.
static void decode(
    const Job *job, int64_t panel, const float *products, int64_t first, int64_t count, float *decoded) {
  const TesseraStrassenTile *problem = job->problem;
  const Level *level = job->level;
  const int64_t t = problem->rows.tile, area = t * t, lanes = level->lanes;
  const Finish finish = {job->bias, problem->activation};
  float *dy = decoded + area * DECODED_TILES * lanes;
  const float *rows[TESSERA_LARGEST_TILE][MOST_LANES], *gradients[TESSERA_LARGEST_TILE][MOST_LANES];
  rows_of_panel(job, panel, job->y, problem->outputs, rows);
  if (job->dy) rows_of_panel(job, panel, job->dy, problem->outputs, gradients);
  for (int64_t begin = 0; begin < count; begin += DECODED_TILES) {
    const int64_t tiles = smaller(DECODED_TILES, count - begin), column = (first + begin) * t;
    const Columns columns = {column, smaller(tiles * t, problem->outputs - column), t, area};
    for (int64_t i = 0; i < t; ++i) {
      for (int64_t lane = 0; lane < lanes; ++lane) {
        if (rows[i][lane]) prefetch(rows[i][lane] + column, columns.count, 1);
      }
    }
    for (int64_t n = 0; n < tiles; ++n) {
      level->contract(&(Contraction){
          .outputs = area,
          .groups = 1,
          .inner = problem->rank,
          .w = job->packed_decoder,
          .in = products + (begin + n) * job->next_product * lanes,
          .in_k = 1,
          .out = decoded + n * area * lanes,
          .out_o = 1,
          .is_packed = 1});
    }
    for (int64_t i = 0; i < t; ++i) {
      float *place = decoded + i * t * lanes;
      if (job->dy) level->gather(gradients[i], columns, dy + i * t * lanes);
      if (job->bias || problem->activation != TESSERA_NO_ACTIVATION) {
        level->finish(&finish, columns, place, job->dy ? dy + i * t * lanes : 0);
      }
      level->scatter(place, columns, (float *const *)rows[i]);
    }
  }
}

static void multiply(const Job *job, int64_t block, int64_t item, float *packed) {
  const TesseraStrassenTile *problem = job->problem;
  const Level *level = job->level;
  const int64_t lanes = level->lanes, inner = job->inner, rank = problem->rank;
  const int64_t first_panel = item % job->groups * job->group;
  const int64_t panels = smaller(
      smaller(job->group, job->block - first_panel), job->panels - block * job->block - first_panel);
  const int64_t first = item / job->groups * job->columns;
  const int64_t count = smaller(job->columns, job->outer - first);
  if (panels <= 0) return;
  float *products = packed + job->columns * inner;
  const int64_t next_panel = job->columns * job->next_product * lanes;
  const int64_t w_o = problem->is_transposed ? 1 : inner, w_k = problem->is_transposed ? job->outer : 1;
  const int is_short = problem->is_short;
  void (*const contract)(const Contraction *) = is_short ? level->contract_pairs : level->contract;
  Contraction contraction = {
      .outputs = count,
      .groups = 1,
      .w_o = w_o,
      .w_k = w_k,
      .in_k = 1,
      .out_o = job->next_product,
      .is_packed = 1,
      .fetches_ahead = 1};
  for (int64_t r = 0; r < rank; ++r) {
    contraction.w = job->weight + r * job->outer * inner + first * w_o;
    contraction.inner = inner;
    level->pack(&contraction, packed);
    contraction.w = packed;
    if (is_short) {
      contraction.inner = (inner + 1) / 2;
      for (int64_t strip = 0; strip < ceiling(count, level->height); ++strip) {
        level->narrow(
            packed + strip * level->height * inner, inner, level->height,
            packed + strip * level->height * contraction.inner);
      }
    }
    for (int64_t panel = 0; panel < panels; ++panel) {
      contraction.in = job->planes + (r * job->next_plane + (first_panel + panel) * job->next_panel) * lanes;
      contraction.out = products + panel * next_panel + r * lanes;
      contract(&contraction);
    }
  }
  float *decoded = products + job->group * next_panel;
  for (int64_t panel = 0; panel < panels; ++panel) {
    decode(
        job, block * job->block + first_panel + panel, products + panel * next_panel, first, count,
        decoded);
  }
}

static void phase(void *context, int64_t number, int64_t item, int32_t worker) {
  const Job *job = context;
  float *own = part_of_worker(job->scratch, job->scratch_of_worker, worker);
  if (number % 2 == 0) {
    encode(job, number / 2, item, own);
  } else {
    multiply(job, number / 2, item, own);
  }
}

void tessera_strassen_tile(
    const void *problem, const void *const *inputs, void *const *outputs, void *scratch) {
  Job job = plan(problem);
  job.x = inputs[0];
  job.weight = inputs[1];
  job.encoder = inputs[2];
  job.decoder = inputs[3];
  inputs += 4;
  if (job.problem->has_bias) job.bias = *inputs++;
  if (job.problem->has_gradient) job.dy = *inputs;
  job.y = outputs[0];
  job.planes = part_of_worker(scratch, 0, 0);
  const int64_t area = job.problem->rows.tile * job.problem->rows.tile, rank = job.problem->rank;
  job.packed_encoder = job.planes + rank * job.next_plane * job.level->lanes;
  job.packed_decoder = job.packed_encoder + job.bases;
  job.level->pack(
      &(Contraction){.outputs = rank, .groups = 1, .inner = area, .w = job.encoder, .w_o = area, .w_k = 1},
      job.packed_encoder);
  job.level->pack(
      &(Contraction){.outputs = area, .groups = 1, .inner = rank, .w = job.decoder, .w_o = 1, .w_k = area},
      job.packed_decoder);
  job.scratch = (char *)scratch + aligned_size(job.shared);
  const Phases phases = {
      2 * ceiling(job.panels, job.block), 2, {job.block * job.encodings, job.parts * job.groups}};
  tessera_phases(&phases, job.problem->threads, phase, &job);
}
