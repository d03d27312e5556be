#include "Tiles.h"

#include <string.h>

#include "Blocks.h"

int64_t tile_rows(const TesseraRowTiles *rows) {
  return rows->across_samples ? ceiling(rows->samples, rows->tile) * rows->tokens
                              : rows->samples * ceiling(rows->tokens, rows->tile);
}

int64_t row_of(const TesseraRowTiles *rows, int64_t tile, int64_t place) {
  if (rows->across_samples) {
    int64_t sample = tile / rows->tokens * rows->tile + place;
    return sample < rows->samples ? sample * rows->tokens + tile % rows->tokens : -1;
  }
  int64_t tiles = ceiling(rows->tokens, rows->tile);
  int64_t token = tile % tiles * rows->tile + place;
  return token < rows->tokens ? tile / tiles * rows->tokens + token : -1;
}

void encode_tiles(
    const Level *level, const TesseraStrassenTile *problem, const float *encoder,
    const float *(*rows)[MOST_LANES], int64_t first, int64_t count, float *tiles, float *planes,
    int64_t stride) {
  const int64_t t = problem->rows.tile, area = t * t, lanes = level->lanes;
  const int64_t columns = smaller(count * t, problem->inputs - first * t);
  // The last tile may hold columns that X does not have.
  if (columns < count * t) memset(tiles, 0, (size_t)(count * area * lanes) * sizeof(float));
  for (int64_t i = 0; i < t; ++i) {
    level->gather(rows[i], (Columns){first * t, columns, t, area}, tiles + i * t * lanes);
  }
  // What is read next of the rows, while these tiles are encoded.
  const int64_t next = (first + count) * t, until = smaller(next + count * t, problem->inputs);
  for (int64_t i = 0; i < t; ++i) {
    for (int64_t lane = 0; lane < lanes; ++lane) {
      if (rows[i][lane]) prefetch(rows[i][lane] + next, until - next, 0);
    }
  }
  // A few planes at a time, so that each is written in long runs.
  const int64_t rank = problem->rank, strips = ceiling(rank, level->height);
  for (int64_t strip = 0; strip < strips; ++strip) {
    const int64_t r = first_of_strip(rank, level->height, strip);
    for (int64_t k = 0; k < count; ++k) {
      level->contract(&(Contraction){
          .outputs = first_of_strip(rank, level->height, strip + 1) - r,
          .groups = 1,
          .inner = area,
          .w = encoder + strip * level->height * area,
          .in = tiles + k * area * lanes,
          .in_k = 1,
          .out = planes + (r * stride + k) * lanes,
          .out_o = stride,
          .is_packed = 1});
    }
  }
}
