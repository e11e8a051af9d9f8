/* The linear (fully connected, affine) layer. */
#define EBB_NO_LOCATIONS
#include <ebb/nn.h>

#include <math.h>

static ebb_init choose_init(const ebb_nn_linear_options *options, int64_t n_inputs)
{
    double fan_in = n_inputs > 0 ? (double)n_inputs : 1, std = 0;
    switch (options->init) {
    case EBB_NN_INIT_HE:
        std = sqrt(2 / fan_in);
        break;
    case EBB_NN_INIT_XAVIER:
        std = sqrt(1 / fan_in);
        break;
    case EBB_NN_INIT_NORMAL:
        std = options->std;
        break;
    case EBB_NN_INIT_ZERO:
        return (ebb_init){ .kind = EBB_INIT_CONSTANT };
    }
    return (ebb_init){ .kind = EBB_INIT_NORMAL, .b = std, .seed = options->seed };
}

ebb_node(ebb_nn_linear)(ebb_node x, int64_t outputs, const ebb_nn_linear_options *options)
{
    ebb_graph *graph = x.graph;
    const ebb_type *type = ebb_node_type(x);
    char text[EBB_NODE_TEXT_BYTES];
    ebb_node_text(x, text);
    if (!graph || !x.id)
        return ebb_graph_fail(graph, EBB_BAD_NODE, "nn_linear: x is the none node");
    if (!options || !options->name)
        return ebb_graph_fail(graph, EBB_BAD_NAME, "nn_linear: the layer needs a name: x %s", text);
    if (type->shape.rank != 2 || outputs < 0)
        return ebb_graph_fail(graph, EBB_BAD_SHAPE,
                              "nn_linear \"%s\": x must be [batch, inputs], outputs at least 0: "
                              "x %s, outputs %lld",
                              options->name, text, (long long)outputs);
    if (!ebb_dtype_is_float(type->dtype))
        return ebb_graph_fail(graph, EBB_BAD_DTYPE, "nn_linear \"%s\": x must be float: x %s",
                              options->name, text);
    if ((unsigned)options->init > EBB_NN_INIT_ZERO || !isfinite(options->std) || options->std < 0)
        return ebb_graph_fail(graph, EBB_BAD_ARGUMENT,
                              "nn_linear \"%s\": no such init, or std %g is not a finite number "
                              "from 0",
                              options->name, options->std);
    int64_t inputs = type->shape.dims[1];
    ebb_init init = choose_init(options, inputs);
    ebb_scope_push(graph, options->name);
    ebb_node w = ebb_variable(graph, "w", type->dtype, EBB_SHAPE(inputs, outputs), &init);
    ebb_node y = ebb_matmul(x, w);
    if (!options->no_bias)
        y = ebb_add(y, ebb_variable(graph, "b", type->dtype, EBB_SHAPE(outputs), NULL));
    ebb_scope_pop(graph);
    return y;
}
