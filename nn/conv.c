/* Convolution and transposed convolution as layers: the op and its variables. */
#define EBB_NO_LOCATIONS
#include "nn/nn.h"

/* The shape of the layer's w. False, and a sticky error, if something is wrong. */
static bool weights_of(const char *what, ebb_node x, int64_t filters, const ebb_nn_conv_options *o,
                       bool is_transposed, ebb_shape *shape)
{
    ebb_graph *graph = x.graph;
    const ebb_type *type = ebb_node_type(x);
    char text[EBB_NODE_TEXT_BYTES];
    ebb_node_text(x, text);
    const char *name = o && o->name ? o->name : "";
    const int n = type->shape.rank - 2;
    const int64_t groups = o && o->conv.groups ? o->conv.groups : 1;
    if (!x.id)
        ebb_graph_fail(graph, EBB_BAD_NODE, "%s: x is the none node", what);
    else if (!o || !o->name)
        ebb_graph_fail(graph, EBB_BAD_NAME, "%s: the layer needs a name: x %s", what, text);
    else if (n < 1 || n > 3)
        ebb_graph_fail(graph, EBB_BAD_SHAPE,
                       "%s \"%s\": x must be [batch, channels, 1 to 3 dimensions]: x %s", what,
                       name, text);
    else if (!ebb_dtype_is_float(type->dtype))
        ebb_graph_fail(graph, EBB_BAD_DTYPE, "%s \"%s\": x must be float: x %s", what, name, text);
    else if (o->window.n != 1 && o->window.n != n)
        ebb_graph_fail(graph, EBB_BAD_ARGUMENT,
                       "%s \"%s\": the window has %d values for %d spatial dimensions: x %s", what,
                       name, o->window.n, n, text);
    else if (groups < 1 || filters < 1 || type->shape.dims[1] % groups || filters % groups)
        ebb_graph_fail(graph, EBB_BAD_ARGUMENT,
                       "%s \"%s\": %lld groups do not divide %lld channels and %lld filters", what,
                       name, (long long)groups, (long long)type->shape.dims[1], (long long)filters);
    else {
        const int64_t channels = type->shape.dims[1];
        *shape = (ebb_shape){ .rank = n + 2 };
        shape->dims[0] = is_transposed ? channels : filters;
        shape->dims[1] = (is_transposed ? filters : channels) / groups;
        for (int i = 0; i < n; i++)
            shape->dims[2 + i] = o->window.values[o->window.n == 1 ? 0 : i];
        return true;
    }
    return false;
}

/* Makes w and b (none without bias) in the layer's scope, and leaves the scope open. */
static void make_variables(ebb_node x, ebb_shape shape, int64_t filters,
                           const ebb_nn_conv_options *o, ebb_node *w, ebb_node *b)
{
    const ebb_dtype dtype = ebb_node_type(x)->dtype;
    double window = 1;
    for (int i = 2; i < shape.rank; i++)
        window *= (double)shape.dims[i];
    const double groups = o->conv.groups ? (double)o->conv.groups : 1;
    ebb_scope_push(x.graph, o->name);
    *w = ebb_nn_weights(x.graph, "w", dtype, shape, (double)shape.dims[1] * window,
                        (double)shape.dims[0] / groups * window, &o->init);
    *b = o->no_bias ? EBB_NONE : ebb_variable(x.graph, "b", dtype, EBB_SHAPE(filters), NULL);
}

ebb_node(ebb_nn_conv)(ebb_node x, int64_t filters, const ebb_nn_conv_options *options)
{
    ebb_shape shape;
    ebb_node w, b, y;
    if (!weights_of("nn_conv", x, filters, options, false, &shape))
        return (ebb_node){ x.graph, 0 };
    make_variables(x, shape, filters, options, &w, &b);
    if (shape.rank == 3)
        y = ebb_conv1d(x, w, b, options->conv);
    else if (shape.rank == 4)
        y = ebb_conv2d(x, w, b, options->conv);
    else
        y = ebb_conv3d(x, w, b, options->conv);
    ebb_scope_pop(x.graph);
    return y;
}

ebb_node(ebb_nn_conv_transpose)(ebb_node x, int64_t filters, const ebb_nn_conv_options *options)
{
    ebb_shape shape;
    ebb_node w, b, y;
    if (!weights_of("nn_conv_transpose", x, filters, options, true, &shape))
        return (ebb_node){ x.graph, 0 };
    make_variables(x, shape, filters, options, &w, &b);
    if (shape.rank == 3)
        y = ebb_conv_transpose1d(x, w, b, options->conv, options->output_padding);
    else if (shape.rank == 4)
        y = ebb_conv_transpose2d(x, w, b, options->conv, options->output_padding);
    else
        y = ebb_conv_transpose3d(x, w, b, options->conv, options->output_padding);
    ebb_scope_pop(x.graph);
    return y;
}
