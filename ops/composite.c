/* Builders that are made of other builders. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include <ebb/ops.h>

ebb_node(ebb_scalar)(ebb_graph *graph, ebb_dtype dtype, double value)
{
    double bits = 0; /* as large as any element */
    ebb_tensor element = ebb_tensor_borrow(dtype, EBB_SCALAR, &bits);
    if (ebb_dtype_bytes(dtype))
        ebb_tensor_set(&element, 0, value);
    return ebb_constant(graph, dtype, EBB_SCALAR, &bits);
}

ebb_node(ebb_full)(ebb_graph *graph, ebb_dtype dtype, ebb_shape shape, double value)
{
    return ebb_broadcast_to(ebb_scalar(graph, dtype, value), shape);
}

ebb_node(ebb_full_like)(ebb_node node, double value)
{
    if (ebb_node_is_none(node))
        return node;
    const ebb_type *type = ebb_node_type(node);
    return ebb_full(node.graph, type->dtype, type->shape, value);
}

/* False, and a sticky error, unless the shapes are equal (dtypes are checked by the ops). */
static bool check_same_shape(const char *what, ebb_node y, ebb_node t)
{
    if (ebb_node_is_none(y) || ebb_node_is_none(t) ||
        ebb_shape_equal(&ebb_node_type(y)->shape, &ebb_node_type(t)->shape))
        return true;
    char text_y[EBB_NODE_TEXT_BYTES], text_t[EBB_NODE_TEXT_BYTES];
    ebb_graph_fail(y.graph, EBB_BAD_SHAPE, "%s: shapes differ: %s, %s", what,
                   ebb_node_text(y, text_y), ebb_node_text(t, text_t));
    return false;
}

static bool check_float(const char *what, ebb_node y)
{
    if (ebb_node_is_none(y) || ebb_dtype_is_float(ebb_node_type(y)->dtype))
        return true;
    char text[EBB_NODE_TEXT_BYTES];
    ebb_graph_fail(y.graph, EBB_BAD_DTYPE, "%s: not f64 or f32: %s", what, ebb_node_text(y, text));
    return false;
}

ebb_node(ebb_squared_error)(ebb_node y, ebb_node t)
{
    if (!check_same_shape("squared_error", y, t) || !check_float("squared_error", y))
        return (ebb_node){ y.graph, 0 };
    ebb_node sum = ebb_reduce_sum(ebb_square(ebb_sub(y, t)), EBB_ALL_AXES, false);
    return ebb_mul(sum, ebb_full_like(sum, 0.5));
}

ebb_node(ebb_cross_entropy)(ebb_node y, ebb_node t, double epsilon)
{
    if (!check_same_shape("cross_entropy", y, t) || !check_float("cross_entropy", y))
        return (ebb_node){ y.graph, 0 };
    const ebb_shape *shape = &ebb_node_type(y)->shape;
    if (!ebb_node_is_none(y) && shape->rank != 1 && shape->rank != 2) {
        char text[EBB_NODE_TEXT_BYTES];
        return ebb_graph_fail(y.graph, EBB_BAD_SHAPE,
                              "cross_entropy: not [classes] or [batch,classes]: %s",
                              ebb_node_text(y, text));
    }
    ebb_node terms = ebb_mul(t, ebb_log(ebb_add(y, ebb_full_like(y, epsilon))));
    ebb_node sum = ebb_neg(ebb_reduce_sum(terms, EBB_ALL_AXES, false));
    double rows = shape->rank == 2 ? (double)shape->dims[0] : 1;
    return ebb_div(sum, ebb_full_like(sum, rows));
}
