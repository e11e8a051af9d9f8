/* AlexNet (Krizhevsky, Sutskever & Hinton 2012). */
#include "models/parts.h"

/* Section 3.3 of the paper: alpha is not divided by the number of channels. */
static ebb_node normalize(ebb_node x)
{
    return ebb_lrn(x, (ebb_lrn_attrs){ .size = 5, .alpha = 1e-4, .beta = 0.75, .k = 2 });
}

ebb_node build_alexnet(ebb_node x, bool is_grouped, const model_options *options)
{
    const int64_t groups = is_grouped ? 2 : 1;
    ebb_node y = part_conv_relu(
        x, "conv1", (conv_part){ .filters = 96, .window = 11, .stride = 4, .padding = 2 }, options);
    y = part_max_pool(normalize(y), 3, 2, 0);
    y = part_conv_relu(y, "conv2",
                       (conv_part){ .filters = 256, .window = 5, .padding = 2, .groups = groups },
                       options);
    y = part_max_pool(normalize(y), 3, 2, 0);
    y = part_conv_relu(y, "conv3", (conv_part){ .filters = 384, .window = 3, .padding = 1 },
                       options);
    y = part_conv_relu(y, "conv4",
                       (conv_part){ .filters = 384, .window = 3, .padding = 1, .groups = groups },
                       options);
    y = part_conv_relu(y, "conv5",
                       (conv_part){ .filters = 256, .window = 3, .padding = 1, .groups = groups },
                       options);
    y = part_flatten(part_max_pool(y, 3, 2, 0));
    y = part_dropout(ebb_relu(part_linear(y, "fc6", 4096, options)), "drop6", 0.5, options);
    y = part_dropout(ebb_relu(part_linear(y, "fc7", 4096, options)), "drop7", 0.5, options);
    return part_linear(y, "fc8", options->classes ? options->classes : 1000, options);
}
