#include "backends/native/lane_images.h"
#include "backends/native/channels.h"
#include <string.h>

enum { IMAGES = EBB_LANE_IMAGES, SIDE = EBB_TRANSPOSED_NEAR /* of a square that is transposed */ };

void ebb_lane_images_read(const ebb_conv *conv, ebb_lane_images *images)
{
    const ebb_window *w = &conv->w;
    images->conv = conv;
    images->column = conv->channels * IMAGES;
    images->row = (w->size[2] + w->begin[2] + w->end[2]) * images->column;
    images->n = (w->size[1] + w->begin[1] + w->end[1]) * images->row;
    images->has_padding = images->n != w->n_sizes * images->column;
}

void ebb_lane_images_bind(ebb_lane_images *images, const ebb_operand *x)
{
    memcpy(images->strides, x->layout.strides, sizeof images->strides);
    images->reads_last = images->conv->channels == 1 || ebb_channels_lie_last(x);
}

bool ebb_lane_images_take(const ebb_operand *operand)
{
    return ebb_channels_lie_last(operand) ||
           ebb_layout_is_dense(&operand->layout, &operand->type->shape);
}

int64_t ebb_lane_blocks(int64_t batch)
{
    return (batch + IMAGES - 1) / IMAGES;
}

bool ebb_lane_batch_pays(int64_t batch)
{
    return ebb_lane_blocks(batch) * IMAGES * 3 <= batch * 4;
}

void ebb_lane_images_gather(const ebb_lane_images *images, const ebb_vector_isa *isa,
                            const float *x, int64_t first, int64_t n_images, float *to)
{
    const ebb_window *w = &images->conv->w;
    const int64_t channels = images->conv->channels, *strides = images->strides;
    /* A plane of one channel, or the only plane of all: by rows where there is padding. */
    const int64_t n_planes = images->reads_last ? 1 : channels;
    const int64_t width = images->reads_last ? channels : 1;
    const int64_t step = images->reads_last ? IMAGES : images->column;
    const int64_t n_rows = images->has_padding ? w->size[1] : 1;
    const int64_t n = images->has_padding ? w->size[2] : w->n_sizes;
    x += first * strides[0];
    to += w->begin[1] * images->row + w->begin[2] * images->column;
    for (int64_t i = 0; i < n_planes; i++)
        for (int64_t y = 0; y < n_rows; y++)
            ebb_lanes_gather(isa, x + i * strides[1] + y * strides[2], strides[0], n_images,
                             n * width, to + y * images->row + i * IMAGES, step);
}

/* Where part i begins: whole squares are faster than what is left of one, so that the last begins
 * earlier if it can. */
static int64_t begin_of(int64_t i, int64_t n)
{
    return i + SIDE > n && n > SIDE ? n - SIDE : i;
}

void ebb_lanes_gather(const ebb_vector_isa *isa, const float *from, int64_t image_step,
                      int64_t n_images, int64_t n, float *to, int64_t step)
{
    for (int64_t i = 0; i < n; i += SIDE) {
        const int64_t at = begin_of(i, n);
        isa->move->transpose(&(ebb_transposed){ .from = from + at,
                                                .to = to + at * step,
                                                .from_last = image_step,
                                                .to_near = step,
                                                .n_near = n - at < SIDE ? n - at : SIDE,
                                                .n_last = n_images });
    }
}

void ebb_lanes_gather_bytes(const ebb_vector_isa *isa, const uint8_t *from, int64_t image_step,
                            int64_t n_images, int64_t n, uint8_t *to, int64_t step)
{
    if (n < IMAGES) { /* whole squares only */
        for (int64_t j = 0; j < n_images; j++)
            for (int64_t i = 0; i < n; i++)
                to[i * step + j] = from[j * image_step + i];
        return;
    }
    for (int64_t i = 0; i < n; i += IMAGES) {
        const int64_t at = i + IMAGES > n ? n - IMAGES : i;
        isa->lane_conv->split_bytes(n_images, IMAGES, from + at, image_step, to + at * step, step);
    }
}

void ebb_lanes_scatter(const ebb_vector_isa *isa, const float *from, int64_t step, int64_t n,
                       int64_t n_images, float *to, int64_t image_step)
{
    for (int64_t i = 0; i < n; i += SIDE) {
        const int64_t at = begin_of(i, n);
        isa->move->transpose(&(ebb_transposed){ .from = from + at * step,
                                                .to = to + at,
                                                .from_last = step,
                                                .to_near = image_step,
                                                .n_near = n_images,
                                                .n_last = n - at < SIDE ? n - at : SIDE });
    }
}
