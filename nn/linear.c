/* The linear (fully connected, affine) layer. */
#define EBB_NO_LOCATIONS
#include "nn/nn.h"

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
    int64_t inputs = type->shape.dims[1];
    ebb_scope_push(graph, options->name);
    ebb_node w = ebb_nn_weights(graph, "w", type->dtype, EBB_SHAPE(inputs, outputs), (double)inputs,
                                (double)outputs, &options->init);
    ebb_node y = ebb_matmul(x, w);
    if (!options->no_bias)
        y = ebb_add(y, ebb_variable(graph, "b", type->dtype, EBB_SHAPE(outputs), NULL));
    ebb_scope_pop(graph);
    return y;
}
