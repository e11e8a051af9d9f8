/* A small U-Net (Ronneberger, Fischer & Brox 2015): down by pooling, up by transposed convolution,
 * and each level's features carried across. Convolutions are padded, so that the result has the
 * size of x. */
#include "models/parts.h"

#include <stdio.h>

enum { MAX_DEPTH = 8 };

/* Two convolutions at one level. */
static ebb_node build_level(ebb_node x, const char *side, int level, int64_t filters,
                            const model_options *options)
{
    char name[32];
    snprintf(name, sizeof name, "%s%d", side, level);
    ebb_scope_push(x.graph, name);
    ebb_node y = x;
    y = part_conv_norm(y, "one", (conv_part){ .filters = filters, .window = 3, .padding = 1 }, true,
                       options);
    y = part_conv_norm(y, "two", (conv_part){ .filters = filters, .window = 3, .padding = 1 }, true,
                       options);
    ebb_scope_pop(x.graph);
    return y;
}

ebb_node build_unet(ebb_node x, int depth, int64_t filters, const model_options *options)
{
    if (depth < 1 || depth > MAX_DEPTH)
        return ebb_graph_fail(x.graph, EBB_BAD_ARGUMENT, "unet: the depth must be 1 to %d, not %d",
                              MAX_DEPTH, depth);
    ebb_node levels[MAX_DEPTH], y = x;
    for (int level = 0; level < depth; level++) {
        levels[level] = build_level(y, "down", level, filters << level, options);
        y = part_max_pool(levels[level], 2, 2, 0);
    }
    y = build_level(y, "bottom", depth, filters << depth, options);
    for (int level = depth - 1; level >= 0; level--) {
        char name[32];
        snprintf(name, sizeof name, "grow%d", level);
        y = ebb_nn_conv_transpose(y, filters << level,
                                  &(ebb_nn_conv_options){ .name = name,
                                                          .window = EBB_INTS(2),
                                                          .conv.stride = EBB_INTS(2, 2),
                                                          .init.seed = options->seed });
        y = ebb_concat(x.graph, (ebb_node[]){ levels[level], y }, 2, 1);
        y = build_level(y, "up", level, filters << level, options);
    }
    return part_conv(y, "scores",
                     (conv_part){ .filters = options->classes ? options->classes : 2, .window = 1 },
                     options);
}
