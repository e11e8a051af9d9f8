/* Building the net of chapter 6. */
#include "support/mlp.h"

#include <stdio.h>

const ebb_nn_group mlp_groups[MLP_N_GROUPS] = {
    { .match = "*/b", .no_decay = true },
    { .match = "*/scale", .no_decay = true },
    { .match = "*/shift", .no_decay = true },
};

ebb_node build_mlp(ebb_node x, bool training, const void *context)
{
    const mlp_options *options = context;
    char name[32];
    ebb_nn_linear_options layer = { .name = name, .init = options->init };
    ebb_node y = ebb_flatten(x, 1);
    for (int i = 1; i <= options->n_hidden; i++) {
        snprintf(name, sizeof name, "fc%d", i);
        y = ebb_nn_linear(y, MLP_WIDTH, &layer);
        if (options->batch_norm) {
            snprintf(name, sizeof name, "norm%d", i);
            y = ebb_nn_batch_norm(y,
                                  &(ebb_nn_batch_norm_options){ .name = name,
                                                                .inference = !training,
                                                                .epsilon = 1e-6,
                                                                .biased_running_variance = true });
        }
        y = ebb_relu(y);
        if (options->dropout > 0) {
            snprintf(name, sizeof name, "dropout%d", i);
            y = ebb_nn_dropout(y, options->dropout,
                               &(ebb_nn_dropout_options){ .name = name,
                                                          .seed = options->init.seed,
                                                          .unscaled = true,
                                                          .inference = !training });
        }
    }
    snprintf(name, sizeof name, "fc%d", options->n_hidden + 1);
    return ebb_nn_linear(y, MLP_CLASSES, &layer);
}
