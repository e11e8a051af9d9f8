/* Pictures of filters and of mistakes. */
#include "support/gallery.h"

#include "support/grid.h"
#include "support/stop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MISTAKES_A_ROW = 10, FILTER_PIXELS = 60, IMAGE_PIXELS = 80 };

ebb_tensor gallery_copy(const image_trainer *trainer, const char *variable)
{
    ebb_tensor value, copy;
    need(ebb_store_get(trainer->store, variable, &value), ebb_store_message(trainer->store));
    need(ebb_tensor_init(&copy, value.type, NULL), "no memory for a copy");
    memcpy(copy.data, value.data, ebb_tensor_bytes(&value));
    return copy;
}

/* Enlarges sides to about this many pixels. */
static int64_t scale_to(int64_t pixels, int64_t side)
{
    return side < pixels ? pixels / side : 1;
}

void gallery_filters(const output_folder *output, const char *name, const ebb_tensor *before,
                     const ebb_tensor *after)
{
    const int64_t *dims = before->type.shape.dims, n = dims[0];
    int64_t across = 1;
    while (across * across < n)
        across++;
    image_grid grid = { .rows = (n + across - 1) / across,
                        .columns = 2 * across + 1,
                        .channels = dims[1],
                        .height = dims[2],
                        .width = dims[3],
                        .scale = scale_to(FILTER_PIXELS, dims[2]) };
    grid_open(&grid);
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = i * dims[1] * dims[2] * dims[3];
        grid_put_values(&grid, i / across, i % across, (const float *)before->data + at);
        grid_put_values(&grid, i / across, across + 1 + i % across,
                        (const float *)after->data + at);
    }
    grid_write(&grid, output, name);
}

typedef struct mistake_list {
    const ebb_image_set *set;
    const uint8_t *classes;
    int64_t n_shown;
} mistake_list;

static bool is_mistake(const mistake_list *list, int64_t i)
{
    return ((const uint8_t *)list->set->labels.data)[i] != list->classes[i];
}

static ebb_status write_list(void *context, FILE *out, ebb_error *error)
{
    (void)error; /* the stream keeps its failures */
    const mistake_list *list = context;
    for (int64_t i = 0, n = 0; i < list->set->n && n < list->n_shown; i++)
        if (is_mistake(list, i)) {
            fprintf(out, "image %" PRId64 ": label %d, guess %d\n", i,
                    ((const uint8_t *)list->set->labels.data)[i], list->classes[i]);
            n++;
        }
    return EBB_OK;
}

int64_t gallery_mistakes(const output_folder *output, const char *name, image_trainer *trainer,
                         const ebb_image_set *set, int64_t n_shown)
{
    uint8_t *classes = malloc((size_t)set->n + 1);
    if (!classes)
        stop("no memory for %" PRId64 " answers", set->n);
    trainer_predict(trainer, set, classes);
    mistake_list list = { set, classes, n_shown };
    image_grid grid = { .rows = (n_shown + MISTAKES_A_ROW - 1) / MISTAKES_A_ROW,
                        .columns = MISTAKES_A_ROW,
                        .channels = set->channels,
                        .height = set->height,
                        .width = set->width,
                        .scale = scale_to(IMAGE_PIXELS, set->height) };
    grid_open(&grid);
    int64_t n = 0;
    for (int64_t i = 0; i < set->n; i++) {
        if (!is_mistake(&list, i))
            continue;
        if (n < n_shown)
            grid_put(&grid, n / MISTAKES_A_ROW, n % MISTAKES_A_ROW,
                     (const uint8_t *)set->images.data +
                         i * set->channels * set->height * set->width);
        n++;
    }
    grid_write(&grid, output, name);

    char file[OUTPUT_PATH_BYTES], path[OUTPUT_PATH_BYTES];
    ebb_error error;
    snprintf(file, sizeof file, "%s.txt", name);
    need(ebb_file_write(output_path(output, file, path), write_list, &list, &error), error.message);
    printf("wrote %s\n", path);
    free(classes);
    return n;
}
