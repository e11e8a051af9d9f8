/* Pictures of many small images: equal cells in rows and columns, enlarged, in one PNG. */
#ifndef EXAMPLES_SUPPORT_GRID_H
#define EXAMPLES_SUPPORT_GRID_H

#include "support/output.h"

typedef struct image_grid {
    ebb_tensor picture; /* U8 [height, width, channels], white where no cell is put */
    int64_t rows, columns;
    int64_t channels, height, width; /* of a cell: 1 (grey) or 3 (red, green, blue) channels */
    int64_t scale;                   /* so many pixels for one, in both directions */
} image_grid;

/* Makes the picture of a grid whose other fields are set. Stops with a message on failure. */
void grid_open(image_grid *grid);
/* `pixels` [channels, height, width]. */
void grid_put(const image_grid *grid, int64_t row, int64_t column, const uint8_t *pixels);
/* `values` [channels, height, width]: 0 is grey, the one farthest from 0 black or white. */
void grid_put_values(const image_grid *grid, int64_t row, int64_t column, const float *values);
/* Writes NAME.png, prints that it did, and frees the picture. Stops with a message on failure. */
void grid_write(image_grid *grid, const output_folder *output, const char *name);

#endif
