/* Windows of channels-last images, copied one after the other. */
#include "backends/onednn/windows.h"
#include "backends/parallel.h"
#include <string.h>

typedef struct copying {
    const ebb_onednn_windows *s;
    const float *x;
    float *rows;
} copying;

size_t ebb_onednn_windows_bytes(const ebb_onednn_windows *s)
{
    const ebb_window *w = &s->w;
    size_t bytes = sizeof(float) * (size_t)s->batch * (size_t)s->channels;
    for (int d = 0; d < EBB_MAX_SPATIAL; d++)
        bytes *= (size_t)w->count[d] * (size_t)w->window[d];
    return bytes;
}

/* The taps of one window along the last dimension, in the line of an image (NULL: outside). */
static float *copy_line(const ebb_onednn_windows *s, const float *line, int64_t place, float *row)
{
    const ebb_window *w = &s->w;
    const int d = EBB_MAX_SPATIAL - 1;
    const size_t bytes = (size_t)s->channels * sizeof *row;
    int64_t first = 0, last = 0;
    if (line)
        ebb_window_taps(w, d, place, &first, &last);
    for (int64_t k = 0; k < w->window[d]; k++, row += s->channels) {
        const int64_t at = place * w->stride[d] + k * w->dilation[d] - w->begin[d];
        if (k >= first && k < last)
            memcpy(row, line + at * s->channels, bytes);
        else
            memset(row, 0, bytes);
    }
    return row;
}

/* Windows that stand in one line of the result, one after the other. */
static void copy_windows(const copying *c, int64_t image, int64_t i, int64_t j)
{
    const ebb_onednn_windows *s = c->s;
    const ebb_window *w = &s->w;
    const int64_t line = w->size[2] * s->channels,
                  n_taps = w->window[0] * w->window[1] * w->window[2];
    float *row = c->rows +
                 ((image * w->count[0] + i) * w->count[1] + j) * w->count[2] * n_taps * s->channels;
    for (int64_t k = 0; k < w->count[2]; k++) {
        for (int64_t a = 0; a < w->window[0]; a++) {
            const int64_t y = i * w->stride[0] + a * w->dilation[0] - w->begin[0];
            for (int64_t b = 0; b < w->window[1]; b++) {
                const int64_t z = j * w->stride[1] + b * w->dilation[1] - w->begin[1];
                const bool inside = y >= 0 && y < w->size[0] && z >= 0 && z < w->size[1];
                row = copy_line(
                    s, inside ? c->x + ((image * w->size[0] + y) * w->size[1] + z) * line : NULL, k,
                    row);
            }
        }
    }
}

static void copy_part(void *context, int index, int n)
{
    const copying *c = context;
    const ebb_window *w = &c->s->w;
    const int64_t lines = w->count[0] * w->count[1];
    int64_t begin, end;
    ebb_parallel_part(c->s->batch * lines, index, n, &begin, &end);
    for (int64_t at = begin; at < end; at++)
        copy_windows(c, at / lines, at % lines / w->count[1], at % w->count[1]);
}

void ebb_onednn_windows_copy(const ebb_onednn_windows *s, const float *x, float *rows)
{
    copying c = { s, x, rows };
    ebb_parallel(s->n_threads, copy_part, &c);
}
