/* Residual networks (He, Zhang, Ren & Sun 2016). */
#include "models/parts.h"

#include <stdio.h>

enum { N_STAGES = 4 };

static ebb_node conv_norm(ebb_node x, const char *name, int64_t filters, int64_t window,
                          int64_t stride, bool has_relu, const model_options *options)
{
    return part_conv_norm(
        x, name,
        (conv_part){
            .filters = filters, .window = window, .stride = stride, .padding = window / 2 },
        has_relu, options);
}

/* Two 3x3, or 1x1, 3x3 and a 1x1 that widens four times; beside them the input itself, or a 1x1
 * where the shape changes. */
static ebb_node build_block(ebb_node x, const char *name, int64_t filters, int64_t stride,
                            bool is_bottleneck, const model_options *options)
{
    const int64_t outputs = is_bottleneck ? 4 * filters : filters;
    const bool changes = stride != 1 || ebb_node_type(x)->shape.dims[1] != outputs;
    ebb_scope_push(x.graph, name);
    ebb_node y;
    if (is_bottleneck) {
        y = conv_norm(x, "one", filters, 1, 1, true, options);
        y = conv_norm(y, "two", filters, 3, stride, true, options);
        y = conv_norm(y, "three", outputs, 1, 1, false, options);
    } else {
        y = conv_norm(x, "one", filters, 3, stride, true, options);
        y = conv_norm(y, "two", filters, 3, 1, false, options);
    }
    const ebb_node shortcut =
        changes ? conv_norm(x, "shortcut", outputs, 1, stride, false, options) : x;
    y = ebb_relu(ebb_add(y, shortcut));
    ebb_scope_pop(x.graph);
    return y;
}

ebb_node build_resnet(ebb_node x, resnet_options resnet, const model_options *options)
{
    static const int blocks_18[N_STAGES] = { 2, 2, 2, 2 }, blocks_34[N_STAGES] = { 3, 4, 6, 3 };
    const bool is_bottleneck = resnet.depth == 50;
    const int *blocks = resnet.depth == 18 ? blocks_18 : blocks_34;
    if (resnet.depth != 18 && resnet.depth != 34 && resnet.depth != 50)
        return ebb_graph_fail(x.graph, EBB_BAD_ARGUMENT,
                              "resnet: the depth must be 18, 34 or 50, not %d", resnet.depth);
    ebb_node y = resnet.small_image
                     ? conv_norm(x, "start", 64, 3, 1, true, options)
                     : part_max_pool(conv_norm(x, "start", 64, 7, 2, true, options), 3, 2, 1);
    for (int stage = 0; stage < N_STAGES; stage++) {
        for (int i = 0; i < blocks[stage]; i++) {
            char name[32];
            snprintf(name, sizeof name, "stage%d.%d", stage + 1, i + 1);
            y = build_block(y, name, (int64_t)64 << stage, stage > 0 && i == 0 ? 2 : 1,
                            is_bottleneck, options);
        }
    }
    const int64_t classes = options->classes ? options->classes : resnet.small_image ? 10 : 1000;
    return part_linear(part_mean(y), "scores", classes, options);
}

/* Every second pixel, and zeros as further channels: option A of section 3.3. */
static ebb_node subsample_and_pad(ebb_node x, int64_t filters)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    const ebb_node y =
        ebb_slice(x, EBB_INTS(0, 0, 0, 0),
                  EBB_INTS(shape->dims[0], shape->dims[1], shape->dims[2], shape->dims[3]),
                  EBB_INTS(1, 1, 2, 2));
    return ebb_pad(y, EBB_INTS(0, 0, 0, 0), EBB_INTS(0, filters - shape->dims[1], 0, 0),
                   EBB_PAD_CONSTANT, 0);
}

ebb_node build_small_resnet(ebb_node x, int depth, bool has_shortcuts, const model_options *options)
{
    const int n = (depth - 2) / 6;
    if (n < 1 || depth != 6 * n + 2)
        return ebb_graph_fail(x.graph, EBB_BAD_ARGUMENT,
                              "small_resnet: the depth must be 6 n + 2, not %d", depth);
    ebb_node y = conv_norm(x, "start", 16, 3, 1, true, options);
    for (int stage = 0; stage < 3; stage++) {
        for (int i = 0; i < n; i++) {
            const int64_t filters = (int64_t)16 << stage, stride = stage > 0 && i == 0 ? 2 : 1;
            char name[32];
            snprintf(name, sizeof name, "stage%d.%d", stage + 1, i + 1);
            ebb_scope_push(x.graph, name);
            ebb_node inner = conv_norm(y, "one", filters, 3, stride, true, options);
            inner = conv_norm(inner, "two", filters, 3, 1, false, options);
            if (has_shortcuts)
                inner = ebb_add(inner, stride == 1 ? y : subsample_and_pad(y, filters));
            y = ebb_relu(inner);
            ebb_scope_pop(x.graph);
        }
    }
    return part_linear(part_mean(y), "scores", options->classes ? options->classes : 10, options);
}
