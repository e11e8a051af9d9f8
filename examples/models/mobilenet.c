/* MobileNet v1 (Howard et al. 2017): depthwise 3x3 convolutions, each followed by a 1x1 (table 1).
 */
#include "models/parts.h"

#include <stdio.h>

ebb_node build_mobilenet(ebb_node x, const model_options *options)
{
    static const struct {
        int64_t filters, stride;
    } layers[] = { { 64, 1 },  { 128, 2 },  { 128, 1 }, { 256, 2 }, { 256, 1 },
                   { 512, 2 }, { 512, 1 },  { 512, 1 }, { 512, 1 }, { 512, 1 },
                   { 512, 1 }, { 1024, 2 }, { 1024, 1 } };
    ebb_node y = part_conv_norm(
        x, "start", (conv_part){ .filters = 32, .window = 3, .stride = 2, .padding = 1 }, true,
        options);
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const int64_t channels = ebb_node_type(y)->shape.dims[1];
        char name[32];
        snprintf(name, sizeof name, "block%zu", i + 1);
        ebb_scope_push(x.graph, name);
        y = part_conv_norm(y, "depthwise",
                           (conv_part){ .filters = channels,
                                        .window = 3,
                                        .stride = layers[i].stride,
                                        .padding = 1,
                                        .groups = channels },
                           true, options);
        y = part_conv_norm(y, "pointwise", (conv_part){ .filters = layers[i].filters, .window = 1 },
                           true, options);
        ebb_scope_pop(x.graph);
    }
    return part_linear(part_mean(y), "scores", options->classes ? options->classes : 1000, options);
}
