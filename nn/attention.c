/* Multi-head attention and the encoder block of transformers (Vaswani et al. 2017), from existing
 * layers and ops. */
#define EBB_NO_LOCATIONS
#include "nn/nn.h"

#include <math.h>

#define SEQUENCE_FORM "[batch, length, width]"

/* [batch, length, heads dim] -> [batch, heads, length, dim] */
static ebb_node split_heads(ebb_node x, int64_t heads)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    if (!x.id)
        return x;
    const ebb_shape split =
        EBB_SHAPE(shape->dims[0], shape->dims[1], heads, shape->dims[2] / heads);
    return ebb_transpose(ebb_reshape(x, split), EBB_AXES(0, 2, 1, 3));
}

static bool check_context(ebb_node x, ebb_node context, const char *name)
{
    const ebb_type *of_x = ebb_node_type(x), *type = ebb_node_type(context);
    if (type->shape.rank == 3 && type->shape.dims[0] == of_x->shape.dims[0] &&
        type->dtype == of_x->dtype)
        return true;
    char text[EBB_NODE_TEXT_BYTES], text_x[EBB_NODE_TEXT_BYTES];
    ebb_graph_fail(x.graph, type->dtype == of_x->dtype ? EBB_BAD_SHAPE : EBB_BAD_DTYPE,
                   "nn_attention \"%s\": context must be [batch, keys, width] of x's batch and "
                   "dtype: x %s, context %s",
                   name, ebb_node_text(x, text_x), ebb_node_text(context, text));
    return false;
}

/* x is [batch, length, width], and heads divide its width. */
static bool check_heads(const char *what, ebb_node x, const char *name, int64_t heads)
{
    char text[EBB_NODE_TEXT_BYTES];
    if (!ebb_nn_layer_check(what, x, name, 3, SEQUENCE_FORM))
        return false;
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    if (shape->rank != 3)
        ebb_graph_fail(x.graph, EBB_BAD_SHAPE, "%s \"%s\": x must be " SEQUENCE_FORM ": x %s", what,
                       name, ebb_node_text(x, text));
    else if (heads < 1 || shape->dims[2] % heads != 0)
        ebb_graph_fail(x.graph, EBB_BAD_ARGUMENT,
                       "%s \"%s\": %lld heads do not divide a width of %lld: x %s", what, name,
                       (long long)heads, (long long)shape->dims[2], ebb_node_text(x, text));
    else
        return true;
    return false;
}

ebb_node(ebb_nn_attention)(ebb_node x, ebb_node context, const ebb_nn_attention_options *options)
{
    ebb_graph *graph = x.graph;
    if (!check_heads("nn_attention", x, options ? options->name : NULL,
                     options ? options->heads : 0))
        return (ebb_node){ graph, 0 };
    if (!context.id)
        context = x;
    if (!check_context(x, context, options->name))
        return (ebb_node){ graph, 0 };
    const ebb_shape shape = ebb_node_type(x)->shape;
    const int64_t heads = options->heads, width = shape.dims[2];
    const ebb_nn_init glorot = { .kind = EBB_NN_INIT_GLOROT_UNIFORM };
    ebb_nn_linear_options linear = { .init = ebb_nn_init_or(options->init, glorot),
                                     .no_bias = options->no_bias };
    ebb_scope_push(graph, options->name);
    linear.name = "query";
    const ebb_node q = split_heads(ebb_nn_linear(x, width, &linear), heads);
    linear.name = "key";
    const ebb_node k = split_heads(ebb_nn_linear(context, width, &linear), heads);
    linear.name = "value";
    const ebb_node v = split_heads(ebb_nn_linear(context, width, &linear), heads);
    ebb_node y = ebb_scaled_dot_product_attention(
        q, k, v, options->mask, (ebb_attention_attrs){ .causal = options->causal });
    y = ebb_reshape(ebb_transpose(y, EBB_AXES(0, 2, 1, 3)), shape);
    linear.name = "out";
    y = ebb_nn_linear(y, width, &linear);
    ebb_scope_pop(graph);
    return y;
}

/* x + dropout(y) */
static ebb_node add_branch(ebb_node x, ebb_node y, const char *name,
                           const ebb_nn_transformer_options *options)
{
    if (options->dropout > 0)
        y = ebb_nn_dropout(y, options->dropout,
                           &(ebb_nn_dropout_options){ .name = name,
                                                      .seed = options->init.seed,
                                                      .inference = options->inference });
    return ebb_add(x, y);
}

ebb_node(ebb_nn_transformer)(ebb_node x, const ebb_nn_transformer_options *options)
{
    ebb_graph *graph = x.graph;
    if (!check_heads("nn_transformer", x, options ? options->name : NULL,
                     options ? options->heads : 0))
        return (ebb_node){ graph, 0 };
    if (options->hidden < 0 || !(options->dropout >= 0 && options->dropout < 1))
        return ebb_graph_fail(graph, EBB_BAD_ARGUMENT,
                              "nn_transformer \"%s\": hidden %lld must be at least 0 and dropout "
                              "%g in [0, 1)",
                              options->name, (long long)options->hidden, options->dropout);
    const int64_t width = ebb_node_type(x)->shape.dims[2];
    const int64_t hidden = options->hidden > 0 ? options->hidden : 4 * width;
    const ebb_nn_init glorot = { .kind = EBB_NN_INIT_GLOROT_UNIFORM };
    const ebb_nn_init init = ebb_nn_init_or(options->init, glorot);
    ebb_scope_push(graph, options->name);
    ebb_node y = ebb_nn_layer_norm(
        x, &(ebb_nn_norm_options){ .name = "norm1", .epsilon = options->epsilon });
    y = ebb_nn_attention(y, EBB_NONE,
                         &(ebb_nn_attention_options){ .name = "attention",
                                                      .heads = options->heads,
                                                      .causal = options->causal,
                                                      .mask = options->mask,
                                                      .init = init });
    x = add_branch(x, y, "dropout1", options);
    y = ebb_nn_layer_norm(x,
                          &(ebb_nn_norm_options){ .name = "norm2", .epsilon = options->epsilon });
    y = ebb_gelu(
        ebb_nn_linear(y, hidden, &(ebb_nn_linear_options){ .name = "expand", .init = init }));
    y = ebb_nn_linear(y, width, &(ebb_nn_linear_options){ .name = "contract", .init = init });
    y = add_branch(x, y, "dropout2", options);
    ebb_scope_pop(graph);
    return y;
}
