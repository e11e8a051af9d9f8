/* The two convolutional networks of Saitoh, Deep Learning from Scratch (2016), chapters 7 and 8. */
#include "models/parts.h"

ebb_node build_simple_convnet(ebb_node x, const model_options *options)
{
    const ebb_nn_init init = { .kind = options->he_init ? EBB_NN_INIT_HE : EBB_NN_INIT_NORMAL,
                               .seed = options->seed,
                               .std = 0.01 };
    ebb_nn_linear_options affine = { .init = init };
    ebb_node y = ebb_nn_conv(
        x, 30, &(ebb_nn_conv_options){ .name = "conv1", .window = EBB_INTS(5), .init = init });
    y = part_flatten(part_max_pool(ebb_relu(y), 2, 2, 0));
    affine.name = "fc1";
    y = ebb_relu(ebb_nn_linear(y, 100, &affine));
    affine.name = "fc2";
    return ebb_nn_linear(y, options->classes ? options->classes : 10, &affine);
}

/* The book's form. */
static ebb_node drop_half(ebb_node x, const char *name, const model_options *options)
{
    if (options->no_dropout)
        return x;
    return ebb_nn_dropout(x, 0.5,
                          &(ebb_nn_dropout_options){ .name = name,
                                                     .seed = options->seed,
                                                     .unscaled = true,
                                                     .inference = !options->training });
}

ebb_node build_deep_convnet(ebb_node x, const model_options *options)
{
    static const struct {
        const char *name;
        int64_t filters, padding;
    } layers[] = { { "conv1", 16, 1 }, { "conv2", 16, 1 }, { "conv3", 32, 1 },
                   { "conv4", 32, 2 }, { "conv5", 64, 1 }, { "conv6", 64, 1 } };
    ebb_node y = x;
    for (int i = 0; i < 6; i++) {
        y = part_conv_relu(
            y, layers[i].name,
            (conv_part){ .filters = layers[i].filters, .window = 3, .padding = layers[i].padding },
            options);
        if (i % 2)
            y = part_max_pool(y, 2, 2, 0);
    }
    y = drop_half(ebb_relu(part_linear(part_flatten(y), "fc1", 50, options)), "drop1", options);
    return drop_half(part_linear(y, "fc2", options->classes ? options->classes : 10, options),
                     "drop2", options);
}
