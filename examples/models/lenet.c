/* LeNet-5 (LeCun, Bottou, Bengio & Haffner 1998), then and now. */
#include "models/parts.h"

typedef ebb_node (*activation)(ebb_node x);

static ebb_node squash(ebb_node x)
{
    return ebb_sigmoid(x);
}

static ebb_node rectify(ebb_node x)
{
    return ebb_relu(x);
}

static ebb_node subsample(ebb_node x)
{
    return ebb_avg_pool(x, (ebb_pool_attrs){ .window = EBB_INTS(2, 2) });
}

static ebb_node take_maximum(ebb_node x)
{
    return part_max_pool(x, 2, 2, 0);
}

/* Sigmoids want smaller weights: Xavier's initialization. */
static ebb_node build(ebb_node x, activation act, activation pool, ebb_nn_init_kind kind,
                      const model_options *options)
{
    ebb_nn_conv_options conv = { .name = "conv1",
                                 .window = EBB_INTS(5),
                                 .conv.padding = EBB_INTS(2),
                                 .init = { .kind = kind, .seed = options->seed } };
    ebb_nn_linear_options linear = { .name = "fc1", .init = conv.init };
    ebb_node y = pool(act(ebb_nn_conv(x, 6, &conv)));
    conv.name = "conv2";
    conv.conv.padding = EBB_NO_INTS;
    y = part_flatten(pool(act(ebb_nn_conv(y, 16, &conv))));
    y = act(ebb_nn_linear(y, 120, &linear));
    linear.name = "fc2";
    y = act(ebb_nn_linear(y, 84, &linear));
    linear.name = "fc3";
    return ebb_nn_linear(y, options->classes ? options->classes : 10, &linear);
}

ebb_node build_lenet5_1998(ebb_node x, const model_options *options)
{
    return build(x, squash, subsample, EBB_NN_INIT_XAVIER, options);
}

ebb_node build_lenet5(ebb_node x, const model_options *options)
{
    return build(x, rectify, take_maximum, EBB_NN_INIT_HE, options);
}
