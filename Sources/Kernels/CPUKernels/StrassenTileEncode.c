// The planes of X in memory, for gradients: the weight's is a product of two encodings over all tiles,
// which a good matrix product does as well as anything.
#include "Blocks.h"
#include "Tiles.h"

typedef struct {
  const TesseraStrassenTile *problem;
  const float *x, *encoder;
  float *planes;
  void *scratch;
  const Level *level;
  int64_t tiles, inner;
  size_t scratch_of_worker;
} Job;

static Job plan(const TesseraStrassenTile *problem) {
  Job job = {.problem = problem, .level = tessera_level(problem->level)};
  const int64_t t = problem->rows.tile;
  job.tiles = tile_rows(&problem->rows);
  job.inner = ceiling(problem->inputs, t);
  job.scratch_of_worker =
      aligned_size((problem->rank + t * t) * ENCODED_TILES * job.level->lanes);
  return job;
}

// Bytes of the packed encoder.
static size_t encoder_size(const Job *job) {
  const int64_t t = job->problem->rows.tile;
  return aligned_size(packed_size(job->level, job->problem->rank, t * t));
}

size_t tessera_strassen_tile_encode_scratch(const TesseraStrassenTile *problem) {
  Job job = plan(problem);
  return encoder_size(&job) + job.scratch_of_worker * (size_t)problem->threads;
}

static void panel(void *context, int64_t item, int32_t worker) {
  const Job *job = context;
  const TesseraStrassenTile *problem = job->problem;
  const int64_t t = problem->rows.tile, lanes = job->level->lanes;
  float *tiles = part_of_worker(job->scratch, job->scratch_of_worker, worker);
  float *encoded = tiles + t * t * ENCODED_TILES * lanes;
  const float *from[TESSERA_LARGEST_TILE][MOST_LANES];
  for (int64_t lane = 0; lane < lanes; ++lane) {
    int64_t tile = item * lanes + lane;
    for (int64_t i = 0; i < t; ++i) {
      int64_t row = tile < job->tiles ? row_of(&problem->rows, tile, i) : -1;
      from[i][lane] = row < 0 ? 0 : job->x + row * problem->inputs;
    }
  }
  for (int64_t first = 0; first < job->inner; first += ENCODED_TILES) {
    int64_t count = smaller(ENCODED_TILES, job->inner - first);
    encode_tiles(
        job->level, problem, job->encoder, from, first, count, tiles, encoded, ENCODED_TILES);
    for (int64_t r = 0; r < problem->rank; ++r) {
      float *to[MOST_LANES];
      for (int64_t lane = 0; lane < lanes; ++lane) {
        int64_t tile = item * lanes + lane;
        to[lane] = tile < job->tiles ? job->planes + (r * job->tiles + tile) * job->inner : 0;
      }
      job->level->scatter(
          encoded + r * ENCODED_TILES * lanes, (Columns){first, count, INT64_MAX - 3, 0}, to);
    }
  }
}

void tessera_strassen_tile_encode(
    const void *problem, const void *const *inputs, void *const *outputs, void *scratch) {
  Job job = plan(problem);
  job.x = inputs[0];
  job.planes = outputs[0];
  float *encoder = part_of_worker(scratch, 0, 0);
  const int64_t area = job.problem->rows.tile * job.problem->rows.tile;
  job.level->pack(
      &(Contraction){
          .outputs = job.problem->rank, .groups = 1, .inner = area, .w = inputs[1], .w_o = area, .w_k = 1},
      encoder);
  job.encoder = encoder;
  job.scratch = (char *)scratch + encoder_size(&job);
  tessera_parallel(ceiling(job.tiles, job.level->lanes), job.problem->threads, panel, &job);
}
