/* The linear (fully connected, affine) layer, and the embedding: a linear layer of one-hot rows. */
#define EBB_NO_LOCATIONS
#include "nn/nn.h"

ebb_node(ebb_nn_linear)(ebb_node x, int64_t outputs, const ebb_nn_linear_options *options)
{
    ebb_graph *graph = x.graph;
    const char *name = options ? options->name : NULL;
    if (!ebb_nn_layer_check("nn_linear", x, name, 2, "[batch, ..., inputs]"))
        return (ebb_node){ graph, 0 };
    const ebb_type type = *ebb_node_type(x);
    const int last = type.shape.rank - 1;
    const int64_t inputs = type.shape.dims[last];
    if (outputs < 0) {
        char text[EBB_NODE_TEXT_BYTES];
        return ebb_graph_fail(graph, EBB_BAD_SHAPE,
                              "nn_linear \"%s\": outputs must be at least 0: x %s, outputs %lld",
                              name, ebb_node_text(x, text), (long long)outputs);
    }
    ebb_shape shape = type.shape;
    int64_t n_rows = 1;
    for (int i = 0; i < last; i++)
        n_rows *= shape.dims[i];
    shape.dims[last] = outputs;
    ebb_scope_push(graph, name);
    const ebb_node w = ebb_nn_weights(graph, "w", type.dtype, EBB_SHAPE(inputs, outputs),
                                      (double)inputs, (double)outputs, &options->init);
    const bool is_flat = last == 1;
    ebb_node y = ebb_matmul(is_flat ? x : ebb_reshape(x, EBB_SHAPE(n_rows, inputs)), w);
    if (!options->no_bias)
        y = ebb_add(y, ebb_variable(graph, "b", type.dtype, EBB_SHAPE(outputs), NULL));
    ebb_scope_pop(graph);
    return is_flat ? y : ebb_reshape(y, shape);
}

ebb_node(ebb_nn_embedding)(ebb_node indices, int64_t entries, int64_t width,
                           const ebb_nn_embedding_options *options)
{
    ebb_graph *graph = indices.graph;
    char text[EBB_NODE_TEXT_BYTES];
    ebb_node_text(indices, text);
    if (!indices.id)
        return ebb_graph_fail(graph, EBB_BAD_NODE, "nn_embedding: indices is the none node");
    if (!options || !options->name)
        return ebb_graph_fail(graph, EBB_BAD_NAME,
                              "nn_embedding: the layer needs a name: indices %s", text);
    if (!ebb_dtype_is_integer(ebb_node_type(indices)->dtype))
        return ebb_graph_fail(graph, EBB_BAD_DTYPE,
                              "nn_embedding \"%s\": indices must be integers: %s", options->name,
                              text);
    if (entries < 1 || width < 1)
        return ebb_graph_fail(graph, EBB_BAD_SHAPE,
                              "nn_embedding \"%s\": needs at least 1 entry and width 1, not %lld "
                              "and %lld: indices %s",
                              options->name, (long long)entries, (long long)width, text);
    const ebb_dtype dtype = options->dtype != EBB_NO_DTYPE ? options->dtype : EBB_F32;
    const ebb_nn_init init =
        ebb_nn_init_or(options->init, (ebb_nn_init){ .kind = EBB_NN_INIT_NORMAL, .std = 1 });
    ebb_scope_push(graph, options->name);
    const ebb_node w = ebb_nn_weights(graph, "w", dtype, EBB_SHAPE(entries, width), (double)entries,
                                      (double)width, &init);
    const ebb_node y = ebb_embedding(w, indices);
    ebb_scope_pop(graph);
    return y;
}
