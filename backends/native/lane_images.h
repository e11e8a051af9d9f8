/* Images of few channels side by side in the lanes of vectors, EBB_LANE_IMAGES at a time, for
 * kernels that convolve them so. */
#ifndef BACKENDS_NATIVE_LANE_IMAGES_H
#define BACKENDS_NATIVE_LANE_IMAGES_H

#include "backends/native/native.h"
#include "ops/conv.h"

/* How images come into that form: [row][column][channel][image], with their padding around them.
 * In elements. */
typedef struct ebb_lane_images {
    const ebb_conv *conv;
    int64_t strides[4];     /* of x */
    int64_t column, row, n; /* of the form; all of it */
    bool reads_last;        /* channels of x lie next to each other */
    bool has_padding;
} ebb_lane_images;

/* Sizes only: enough to score. */
void ebb_lane_images_read(const ebb_conv *conv, ebb_lane_images *images);
void ebb_lane_images_bind(ebb_lane_images *images, const ebb_operand *x);

/* Channels last, or dense. */
bool ebb_lane_images_take(const ebb_operand *operand);

/* Number of blocks of a batch; at most a quarter of all lanes may be idle: pays. */
int64_t ebb_lane_blocks(int64_t batch);
bool ebb_lane_batch_pays(int64_t batch);

/* Images first..first+n-1 into `to`, whose padding is left alone. */
void ebb_lane_images_gather(const ebb_lane_images *images, const ebb_vector_isa *isa,
                            const float *x, int64_t first, int64_t n_images, float *to);

/* Element i < n of every image, to[i * step + image], where images lie `image_step` apart. */
void ebb_lanes_gather(const ebb_vector_isa *isa, const float *from, int64_t image_step,
                      int64_t n_images, int64_t n, float *to, int64_t step);
/* The same of bytes. */
void ebb_lanes_gather_bytes(const ebb_vector_isa *isa, const uint8_t *from, int64_t image_step,
                            int64_t n_images, int64_t n, uint8_t *to, int64_t step);
/* And back. */
void ebb_lanes_scatter(const ebb_vector_isa *isa, const float *from, int64_t step, int64_t n,
                       int64_t n_images, float *to, int64_t image_step);

#endif
