#include "models/parts.h"

ebb_node part_conv(ebb_node x, const char *name, conv_part part, const model_options *options)
{
    return ebb_nn_conv(
        x, part.filters,
        &(ebb_nn_conv_options){ .name = name,
                                .window = EBB_INTS(part.window),
                                .conv = { .stride = EBB_INTS(part.stride ? part.stride : 1),
                                          .padding = EBB_INTS(part.padding),
                                          .groups = part.groups },
                                .init.seed = options->seed });
}

ebb_node part_conv_relu(ebb_node x, const char *name, conv_part part, const model_options *options)
{
    return ebb_relu(part_conv(x, name, part, options));
}

ebb_node part_conv_norm(ebb_node x, const char *name, conv_part part, bool has_relu,
                        const model_options *options)
{
    ebb_scope_push(x.graph, name);
    ebb_node y = ebb_nn_conv(
        x, part.filters,
        &(ebb_nn_conv_options){ .name = "conv",
                                .window = EBB_INTS(part.window),
                                .conv = { .stride = EBB_INTS(part.stride ? part.stride : 1),
                                          .padding = EBB_INTS(part.padding),
                                          .groups = part.groups },
                                .init.seed = options->seed,
                                .no_bias = true });
    y = ebb_nn_batch_norm(
        y, &(ebb_nn_batch_norm_options){ .name = "norm", .inference = !options->training });
    ebb_scope_pop(x.graph);
    return has_relu ? ebb_relu(y) : y;
}

ebb_node part_linear(ebb_node x, const char *name, int64_t outputs, const model_options *options)
{
    return ebb_nn_linear(x, outputs,
                         &(ebb_nn_linear_options){ .name = name, .init.seed = options->seed });
}

ebb_node part_max_pool(ebb_node x, int64_t window, int64_t stride, int64_t padding)
{
    return ebb_max_pool(x, (ebb_pool_attrs){ .window = EBB_INTS(window, window),
                                             .stride = EBB_INTS(stride, stride),
                                             .padding = EBB_INTS(padding, padding) });
}

ebb_node part_flatten(ebb_node x)
{
    return ebb_flatten(x, 1);
}

ebb_node part_mean(ebb_node x)
{
    return part_flatten(ebb_global_avg_pool(x));
}

ebb_node part_dropout(ebb_node x, const char *name, double ratio, const model_options *options)
{
    if (options->no_dropout)
        return x;
    return ebb_nn_dropout(x, ratio,
                          &(ebb_nn_dropout_options){ .name = name,
                                                     .seed = options->seed,
                                                     .inference = !options->training });
}
