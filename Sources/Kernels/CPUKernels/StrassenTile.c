// Strassen-Tile by blocks of rows.
//
// A worker takes some panels of tile rows. It encodes them into R planes, which stay in its part of the
// cache; then, some tile columns at a time, it multiplies every plane by its weights and decodes the R
// products of these columns. So planes and products never go to memory, and a weight that is read
// once serves all panels of the block.
#include "Blocks.h"
#include "Tiles.h"

// Tile columns that are multiplied and decoded at a time.
#define DECODED_TILES 24

typedef struct {
  const TesseraStrassenTile *problem;
  const float *x, *weight, *encoder, *decoder, *bias;
  float *y;
  void *scratch;
  const Level *level;
  // Tiles along rows, K and N; panels of a block; blocks; parts of N.
  int64_t tiles, inner, outer, panels, blocks, parts;
  size_t scratch_of_worker;
} Job;

static Job plan(const TesseraStrassenTile *problem) {
  Job job = {.problem = problem, .level = tessera_level(problem->level)};
  const int64_t t = problem->rows.tile, area = t * t, lanes = job.level->lanes;
  job.tiles = tile_rows(&problem->rows);
  job.inner = ceiling(problem->inputs, t);
  job.outer = ceiling(problem->outputs, t);
  int64_t panels = ceiling(job.tiles, lanes);
  job.panels = panels_of_block(panels, problem->threads);
  job.blocks = ceiling(panels, job.panels);
  // Where there are too few rows for that, N is cut as well, and every part encodes again.
  job.parts = job.blocks >= problem->threads ? 1 : ceiling(problem->threads, larger(1, job.blocks));
  job.parts = smaller(job.parts, ceiling(job.outer, DECODED_TILES));
  int64_t vectors = problem->rank * job.panels * (job.inner + DECODED_TILES) +
                    area * (ENCODED_TILES + DECODED_TILES);
  job.scratch_of_worker = aligned_size(vectors * lanes);
  return job;
}

size_t tessera_strassen_tile_scratch(const TesseraStrassenTile *problem) {
  return plan(problem).scratch_of_worker * (size_t)problem->threads;
}

// The planes [R][panels][K/t] of some panels.
static void encode(
    const Job *job, int64_t panels, const float *rows[][TESSERA_LARGEST_TILE][MOST_LANES], float *tiles,
    float *planes) {
  for (int64_t panel = 0; panel < panels; ++panel) {
    for (int64_t first = 0; first < job->inner; first += ENCODED_TILES) {
      int64_t count = smaller(ENCODED_TILES, job->inner - first);
      encode_tiles(
          job->level, job->problem, job->encoder, rows[panel], first, count, tiles,
          planes + (panel * job->inner + first) * job->level->lanes, job->panels * job->inner);
    }
  }
}

static void block(void *context, int64_t item, int32_t worker) {
  const Job *job = context;
  const TesseraStrassenTile *problem = job->problem;
  const Level *level = job->level;
  const int64_t t = problem->rows.tile, area = t * t, lanes = level->lanes;
  const int64_t rank = problem->rank;

  float *planes = part_of_worker(job->scratch, job->scratch_of_worker, worker);
  float *products = planes + rank * job->panels * job->inner * lanes;
  float *tiles = products + rank * job->panels * DECODED_TILES * lanes;
  float *decoded = tiles + area * ENCODED_TILES * lanes;

  const int64_t first_panel = item / job->parts * job->panels;
  const int64_t panels = smaller(job->panels, ceiling(job->tiles, lanes) - first_panel);
  const float *from[MOST_PANELS][TESSERA_LARGEST_TILE][MOST_LANES];
  float *to[MOST_PANELS][TESSERA_LARGEST_TILE][MOST_LANES];
  for (int64_t panel = 0; panel < panels; ++panel) {
    for (int64_t i = 0; i < t; ++i) {
      for (int64_t lane = 0; lane < lanes; ++lane) {
        int64_t tile = (first_panel + panel) * lanes + lane;
        int64_t row = tile < job->tiles ? row_of(&problem->rows, tile, i) : -1;
        from[panel][i][lane] = row < 0 ? 0 : job->x + row * problem->inputs;
        to[panel][i][lane] = row < 0 ? 0 : job->y + row * problem->outputs;
      }
    }
  }
  encode(job, panels, from, tiles, planes);

  const int64_t part = ceiling(ceiling(job->outer, DECODED_TILES), job->parts) * DECODED_TILES;
  const int64_t end = smaller(job->outer, (item % job->parts + 1) * part);
  for (int64_t first = item % job->parts * part; first < end; first += DECODED_TILES) {
    int64_t count = smaller(DECODED_TILES, end - first);
    for (int64_t r = 0; r < rank; ++r) {
      for (int64_t panel = 0; panel < panels; ++panel) {
        level->contract(&(Contraction){
            .outputs = count,
            .groups = 1,
            .inner = job->inner,
            .w = job->weight + (r * job->outer + first) * job->inner,
            .w_o = job->inner,
            .w_k = 1,
            .in = planes + (r * job->panels + panel) * job->inner * lanes,
            .in_k = 1,
            .out = products + (panel * rank + r) * DECODED_TILES * lanes,
            .out_o = 1});
      }
    }
    int64_t columns = smaller(count * t, problem->outputs - first * t);
    for (int64_t panel = 0; panel < panels; ++panel) {
      for (int64_t n = 0; n < count; ++n) {
        level->contract(&(Contraction){
            .outputs = area,
            .groups = 1,
            .inner = rank,
            .w = job->decoder,
            .w_o = 1,
            .w_k = area,
            .in = products + (panel * rank * DECODED_TILES + n) * lanes,
            .in_k = DECODED_TILES,
            .out = decoded + n * area * lanes,
            .out_o = 1});
      }
      for (int64_t i = 0; i < t; ++i) {
        level->scatter(
            decoded + i * t * lanes, (Columns){first * t, columns, t, area}, job->bias, to[panel][i]);
      }
    }
  }
}

void tessera_strassen_tile(
    const void *problem, const void *const *inputs, void *const *outputs, void *scratch) {
  Job job = plan(problem);
  job.x = inputs[0];
  job.weight = inputs[1];
  job.encoder = inputs[2];
  job.decoder = inputs[3];
  job.bias = job.problem->has_bias ? inputs[4] : 0;
  job.y = outputs[0];
  job.scratch = scratch;
  tessera_parallel(job.blocks * job.parts, job.problem->threads, block, &job);
}
