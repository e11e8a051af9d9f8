/* What several models are made of. */
#ifndef EXAMPLES_MODELS_PARTS_H
#define EXAMPLES_MODELS_PARTS_H

#include "models/models.h"

typedef struct conv_part {
    int64_t filters, window;
    int64_t stride, padding, groups; /* stride and groups 0: 1 */
} conv_part;

/* Convolution with bias. */
ebb_node part_conv(ebb_node x, const char *name, conv_part part, const model_options *options);
ebb_node part_conv_relu(ebb_node x, const char *name, conv_part part, const model_options *options);
/* Convolution without bias, batch normalization; then ReLU, if wanted. `name` is a scope around
 * both. */
ebb_node part_conv_norm(ebb_node x, const char *name, conv_part part, bool has_relu,
                        const model_options *options);
ebb_node part_linear(ebb_node x, const char *name, int64_t outputs, const model_options *options);
ebb_node part_max_pool(ebb_node x, int64_t window, int64_t stride, int64_t padding);
/* [batch, channels, ...] -> [batch, everything else] */
ebb_node part_flatten(ebb_node x);
/* The mean over the image: [batch, channels]. */
ebb_node part_mean(ebb_node x);
ebb_node part_dropout(ebb_node x, const char *name, double ratio, const model_options *options);

#endif
