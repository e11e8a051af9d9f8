/* VGG (Simonyan & Zisserman 2015): stacks of 3x3 convolutions, and a halving after each. */
#include "models/parts.h"

#include <stdio.h>

enum { N_STACKS = 5 };

static ebb_node build_layer(ebb_node x, int number, int64_t filters, bool batch_norm,
                            const model_options *options)
{
    char name[32];
    snprintf(name, sizeof name, "conv%d", number);
    ebb_node y =
        part_conv(x, name, (conv_part){ .filters = filters, .window = 3, .padding = 1 }, options);
    if (batch_norm) {
        snprintf(name, sizeof name, "norm%d", number);
        y = ebb_nn_batch_norm(
            y, &(ebb_nn_batch_norm_options){ .name = name, .inference = !options->training });
    }
    return ebb_relu(y);
}

ebb_node build_vgg(ebb_node x, vgg_options vgg, const model_options *options)
{
    static const int64_t filters[N_STACKS] = { 64, 128, 256, 512, 512 };
    static const int stacks_11[N_STACKS] = { 1, 1, 2, 2, 2 },
                     stacks_16[N_STACKS] = { 2, 2, 3, 3, 3 },
                     stacks_19[N_STACKS] = { 2, 2, 4, 4, 4 };
    const int *stacks = vgg.depth == 11 ? stacks_11 : vgg.depth == 16 ? stacks_16 : stacks_19;
    if (vgg.depth != 11 && vgg.depth != 16 && vgg.depth != 19)
        return ebb_graph_fail(x.graph, EBB_BAD_ARGUMENT,
                              "vgg: the depth must be 11, 16 or 19, not %d", vgg.depth);
    ebb_node y = x;
    for (int stack = 0, number = 1; stack < N_STACKS; stack++) {
        for (int i = 0; i < stacks[stack]; i++)
            y = build_layer(y, number++, filters[stack], vgg.batch_norm, options);
        y = part_max_pool(y, 2, 2, 0);
    }
    y = part_flatten(y);
    if (!vgg.small_head) {
        y = part_dropout(ebb_relu(part_linear(y, "fc1", 4096, options)), "drop1", 0.5, options);
        y = part_dropout(ebb_relu(part_linear(y, "fc2", 4096, options)), "drop2", 0.5, options);
    }
    return part_linear(y, "scores",
                       options->classes ? options->classes
                       : vgg.small_head ? 10
                                        : 1000,
                       options);
}
