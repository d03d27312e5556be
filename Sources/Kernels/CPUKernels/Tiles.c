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
  for (int64_t k = 0; k < count; ++k) {
    level->contract(&(Contraction){
        .outputs = problem->rank,
        .groups = 1,
        .inner = area,
        .w = encoder,
        .w_o = area,
        .w_k = 1,
        .in = tiles + k * area * lanes,
        .in_k = 1,
        .out = planes + k * lanes,
        .out_o = stride});
  }
}
