/* Normalization within an example as layers: the op, and its scale and shift. */
#define EBB_NO_LOCATIONS
#include "nn/nn.h"

#include <math.h>

#define CHANNELS_FORM "[batch, channels, ...]"

typedef struct norm_variables {
    ebb_node scale, shift; /* none without */
    double epsilon;
} norm_variables;

static bool check_norm(const char *what, ebb_node x, const ebb_nn_norm_options *options,
                       int min_rank, const char *form)
{
    if (!ebb_nn_layer_check(what, x, options ? options->name : NULL, min_rank, form))
        return false;
    if (options->epsilon >= 0 && isfinite(options->epsilon))
        return true;
    ebb_graph_fail(x.graph, EBB_BAD_ARGUMENT, "%s \"%s\": epsilon %g is negative or not finite",
                   what, options->name, options->epsilon);
    return false;
}

static norm_variables make_variables(ebb_node x, ebb_shape shape, bool has_shift,
                                     const ebb_nn_norm_options *options)
{
    const ebb_init one = { .a = 1 };
    const ebb_dtype dtype = ebb_node_type(x)->dtype;
    norm_variables v = { { x.graph, 0 }, { x.graph, 0 }, 1e-5 };
    if (options->epsilon > 0)
        v.epsilon = options->epsilon;
    if (options->no_affine)
        return v;
    ebb_scope_push(x.graph, options->name);
    v.scale = ebb_variable(x.graph, "scale", dtype, shape, &one);
    if (has_shift)
        v.shift = ebb_variable(x.graph, "shift", dtype, shape, NULL);
    ebb_scope_pop(x.graph);
    return v;
}

/* The last n_axes dimensions of x (0: one); false, and a sticky error, if x has fewer. */
static bool last_axes(const char *what, ebb_node x, const ebb_nn_norm_options *options,
                      ebb_axes *axes, ebb_shape *shape)
{
    const ebb_shape *of_x = &ebb_node_type(x)->shape;
    const int n = options->n_axes != 0 ? options->n_axes : 1;
    if (n < 1 || n > of_x->rank) {
        char text[EBB_NODE_TEXT_BYTES];
        ebb_graph_fail(x.graph, EBB_BAD_AXIS, "%s \"%s\": x has not %d axes to normalize: x %s",
                       what, options->name, n, ebb_node_text(x, text));
        return false;
    }
    *axes = (ebb_axes){ .n = n };
    *shape = (ebb_shape){ .rank = n };
    for (int i = 0; i < n; i++) {
        axes->axes[i] = of_x->rank - n + i;
        shape->dims[i] = of_x->dims[of_x->rank - n + i];
    }
    return true;
}

ebb_node(ebb_nn_layer_norm)(ebb_node x, const ebb_nn_norm_options *options)
{
    ebb_axes axes;
    ebb_shape shape;
    if (!check_norm("nn_layer_norm", x, options, 1, "[..., features]") ||
        !last_axes("nn_layer_norm", x, options, &axes, &shape))
        return (ebb_node){ x.graph, 0 };
    const norm_variables v = make_variables(x, shape, true, options);
    return ebb_layer_norm(x, v.scale, v.shift, axes, v.epsilon);
}

ebb_node(ebb_nn_rms_norm)(ebb_node x, const ebb_nn_norm_options *options)
{
    ebb_axes axes;
    ebb_shape shape;
    if (!check_norm("nn_rms_norm", x, options, 1, "[..., features]") ||
        !last_axes("nn_rms_norm", x, options, &axes, &shape))
        return (ebb_node){ x.graph, 0 };
    const norm_variables v = make_variables(x, shape, false, options);
    return ebb_rms_norm(x, v.scale, axes, v.epsilon);
}

ebb_node(ebb_nn_group_norm)(ebb_node x, int64_t groups, const ebb_nn_norm_options *options)
{
    if (!check_norm("nn_group_norm", x, options, 2, CHANNELS_FORM))
        return (ebb_node){ x.graph, 0 };
    const int64_t channels = ebb_node_type(x)->shape.dims[1];
    if (groups < 1 || channels % groups != 0) {
        char text[EBB_NODE_TEXT_BYTES];
        return ebb_graph_fail(x.graph, EBB_BAD_ARGUMENT,
                              "nn_group_norm \"%s\": %lld groups do not divide %lld channels: x %s",
                              options->name, (long long)groups, (long long)channels,
                              ebb_node_text(x, text));
    }
    const norm_variables v = make_variables(x, EBB_SHAPE(channels), true, options);
    return ebb_group_norm(x, v.scale, v.shift, groups, v.epsilon);
}

ebb_node(ebb_nn_instance_norm)(ebb_node x, const ebb_nn_norm_options *options)
{
    if (!check_norm("nn_instance_norm", x, options, 2, CHANNELS_FORM))
        return (ebb_node){ x.graph, 0 };
    const ebb_shape channels = EBB_SHAPE(ebb_node_type(x)->shape.dims[1]);
    const norm_variables v = make_variables(x, channels, true, options);
    return ebb_instance_norm(x, v.scale, v.shift, v.epsilon);
}
