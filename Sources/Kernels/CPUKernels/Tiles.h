// Tiles of rows and their planes, which the product and its gradients share.
#pragma once

#include "Levels.h"

// Tile columns that are encoded at a time.
#define ENCODED_TILES 32

// How many tiles the rows form.
int64_t tile_rows(const TesseraRowTiles *rows);

// The row of X that is row `place` of a tile, -1 for padding.
int64_t row_of(const TesseraRowTiles *rows, int64_t tile, int64_t place);

// Encodes tile columns first..first + count of a panel of tiles, whose rows begin at `rows[place][lane]`,
// by the packed encoder: plane r at planes + r * stride vectors, a vector a tile column. `tiles` holds count * t * t vectors.
void encode_tiles(
    const Level *level, const TesseraStrassenTile *problem, const float *encoder,
    const float *(*rows)[MOST_LANES], int64_t first, int64_t count, float *tiles, float *planes,
    int64_t stride);
