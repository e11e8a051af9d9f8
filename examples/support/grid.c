/* Grids of images. */
#include "support/grid.h"

#include "support/stop.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { GAP = 4, WHITE = 255 };

void grid_open(image_grid *grid)
{
    ebb_shape shape =
        EBB_SHAPE(GAP + grid->rows * (grid->height * grid->scale + GAP),
                  GAP + grid->columns * (grid->width * grid->scale + GAP), grid->channels);
    if (grid->channels != 1 && grid->channels != 3)
        stop("images of %lld channels cannot be shown", (long long)grid->channels);
    need(ebb_tensor_init(&grid->picture, ebb_type_of(EBB_U8, shape), NULL),
         "no memory for a picture");
    memset(grid->picture.data, WHITE, ebb_tensor_bytes(&grid->picture));
}

/* Pixel (y, x) of a cell, in one channel. */
static void put_pixel(const image_grid *grid, int64_t row, int64_t column, int64_t channel,
                      int64_t y, int64_t x, uint8_t value)
{
    uint8_t *picture = grid->picture.data;
    const int64_t line = grid->picture.type.shape.dims[1] * grid->channels;
    const int64_t top = GAP + row * (grid->height * grid->scale + GAP) + y * grid->scale;
    const int64_t left = GAP + column * (grid->width * grid->scale + GAP) + x * grid->scale;
    for (int64_t i = 0; i < grid->scale; i++)
        for (int64_t j = 0; j < grid->scale; j++)
            picture[(top + i) * line + (left + j) * grid->channels + channel] = value;
}

void grid_put(const image_grid *grid, int64_t row, int64_t column, const uint8_t *pixels)
{
    for (int64_t c = 0; c < grid->channels; c++)
        for (int64_t y = 0; y < grid->height; y++)
            for (int64_t x = 0; x < grid->width; x++)
                put_pixel(grid, row, column, c, y, x,
                          pixels[(c * grid->height + y) * grid->width + x]);
}

void grid_put_values(const image_grid *grid, int64_t row, int64_t column, const float *values)
{
    float most = 0;
    for (int64_t i = 0; i < grid->channels * grid->height * grid->width; i++)
        most = fmaxf(most, fabsf(values[i]));
    for (int64_t c = 0; c < grid->channels; c++)
        for (int64_t y = 0; y < grid->height; y++)
            for (int64_t x = 0; x < grid->width; x++) {
                float value = values[(c * grid->height + y) * grid->width + x];
                float part = most > 0 && isfinite(most) ? value / most : 0;
                put_pixel(grid, row, column, c, y, x, (uint8_t)(127.5f + 127.5f * part));
            }
}

void grid_write(image_grid *grid, const output_folder *output, const char *name)
{
    char file[OUTPUT_PATH_BYTES], path[OUTPUT_PATH_BYTES];
    ebb_error error;
    snprintf(file, sizeof file, "%s.png", name);
    need(ebb_png_write(output_path(output, file, path), &grid->picture, &error), error.message);
    printf("wrote %s\n", path);
    ebb_tensor_finish(&grid->picture);
}
