/* Batch normalization as a layer: its parameters, and running statistics that updates keep. */
#define EBB_NO_LOCATIONS
#include "nn/nn.h"

#include <math.h>

static bool check_layer(ebb_node x, const ebb_nn_batch_norm_options *options)
{
    const char *name = options ? options->name : NULL;
    if (!ebb_nn_layer_check("nn_batch_norm", x, name, 2, "[batch, channels, ...]"))
        return false;
    if (!(options->epsilon >= 0 && isfinite(options->epsilon)))
        ebb_graph_fail(x.graph, EBB_BAD_ARGUMENT,
                       "nn_batch_norm \"%s\": epsilon %g is negative or not finite", name,
                       options->epsilon);
    else if (!(options->momentum >= 0 && options->momentum <= 1))
        ebb_graph_fail(x.graph, EBB_BAD_ARGUMENT,
                       "nn_batch_norm \"%s\": momentum %g is not in 0..1", name, options->momentum);
    else
        return true;
    return false;
}

/* running <- momentum running + (1 - momentum) factor statistic */
static void emit_update(ebb_node running, ebb_node statistic, double momentum, double factor)
{
    const ebb_node kept = ebb_mul(running, ebb_full_like(running, momentum));
    const ebb_node added = ebb_mul(statistic, ebb_full_like(statistic, (1 - momentum) * factor));
    ebb_update(running, ebb_add(kept, added));
}

ebb_node(ebb_nn_batch_norm)(ebb_node x, const ebb_nn_batch_norm_options *options)
{
    ebb_graph *graph = x.graph;
    if (!check_layer(x, options))
        return (ebb_node){ graph, 0 };
    const ebb_type type = *ebb_node_type(x);
    ebb_node rows = x;
    if (options->per_feature && type.shape.rank > 2) {
        int64_t n_features = 1;
        for (int i = 1; i < type.shape.rank; i++)
            n_features *= type.shape.dims[i];
        rows = ebb_reshape(x, EBB_SHAPE(type.shape.dims[0], n_features));
    }
    const ebb_shape *shape = &ebb_node_type(rows)->shape;
    const ebb_shape channels = EBB_SHAPE(shape->dims[1]);
    int64_t n_terms = shape->dims[0];
    for (int i = 2; i < shape->rank; i++)
        n_terms *= shape->dims[i];
    const bool unbiased = !options->biased_running_variance;
    if (!options->inference && n_terms < (unbiased ? 2 : 1)) {
        char text[EBB_NODE_TEXT_BYTES];
        return ebb_graph_fail(graph, EBB_BAD_SHAPE,
                              "nn_batch_norm \"%s\": %lld values of a channel have no %svariance: "
                              "x %s",
                              options->name, (long long)n_terms, unbiased ? "unbiased " : "",
                              ebb_node_text(x, text));
    }
    const double epsilon = options->epsilon > 0 ? options->epsilon : 1e-5;
    const double momentum = options->momentum > 0 ? options->momentum : 0.9;
    const ebb_init one = { .a = 1 };
    ebb_node scale = { graph, 0 }, shift = { graph, 0 }, y, mean, variance;
    ebb_scope_push(graph, options->name);
    if (!options->no_affine) {
        scale = ebb_variable(graph, "scale", type.dtype, channels, &one);
        shift = ebb_variable(graph, "shift", type.dtype, channels, NULL);
    }
    const ebb_node running_mean = ebb_variable(graph, "running_mean", type.dtype, channels, NULL);
    const ebb_node running_variance =
        ebb_variable(graph, "running_variance", type.dtype, channels, &one);
    if (options->inference) {
        y = ebb_batch_norm_inference(rows, scale, shift, ebb_stop_gradient(running_mean),
                                     ebb_stop_gradient(running_variance), epsilon);
    } else {
        y = ebb_batch_norm(rows, scale, shift, epsilon, &mean, &variance);
        const ebb_phase phase = ebb_graph_set_phase(graph, EBB_UPDATE);
        emit_update(running_mean, mean, momentum, 1);
        emit_update(running_variance, variance, momentum,
                    unbiased ? (double)n_terms / (double)(n_terms - 1) : 1);
        ebb_graph_set_phase(graph, phase);
    }
    ebb_scope_pop(graph);
    return ebb_reshape(y, type.shape);
}
