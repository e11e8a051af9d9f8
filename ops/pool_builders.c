/* Builders of pooling. */
#define EBB_NO_LOCATIONS
#include "ops/descriptors.h"
#include "ops/pool.h"

static ebb_node pool(const ebb_op *op, ebb_node x, ebb_pool_attrs attrs)
{
    const int n = ebb_node_type(x)->shape.rank - 2;
    if (attrs.window.n) {
        attrs.window = ebb_window_full(attrs.window, n, 1);
        attrs.stride = attrs.stride.n ? ebb_window_full(attrs.stride, n, 1) : attrs.window;
    }
    attrs.dilation = ebb_window_full(attrs.dilation, n, 1);
    attrs.padding = ebb_window_full_padding(attrs.padding, n);
    attrs.count_include_pad = attrs.count_include_pad && op == &ebb_op_avg_pool;
    return ebb_emit(NULL, op, &x, 1, &attrs, NULL);
}

ebb_node(ebb_max_pool)(ebb_node x, ebb_pool_attrs attrs)
{
    return pool(&ebb_op_max_pool, x, attrs);
}

ebb_node(ebb_avg_pool)(ebb_node x, ebb_pool_attrs attrs)
{
    return pool(&ebb_op_avg_pool, x, attrs);
}

/* True if x has 1 to 3 spatial dimensions; else an error is in the graph. */
static bool has_spatial(const char *name, ebb_node x)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    char text[EBB_NODE_TEXT_BYTES];
    if (ebb_node_is_none(x))
        return false;
    if (shape->rank >= 3 && shape->rank <= 2 + EBB_MAX_SPATIAL)
        return true;
    ebb_graph_fail(x.graph, EBB_BAD_SHAPE,
                   "%s: x has not 1, 2 or 3 spatial dimensions behind batch and channels: %s", name,
                   ebb_node_text(x, text));
    return false;
}

ebb_node(ebb_global_max_pool)(ebb_node x)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    if (!has_spatial("global_max_pool", x))
        return EBB_NONE;
    ebb_pool_attrs attrs = { .window = { .n = shape->rank - 2 } };
    for (int d = 0; d < attrs.window.n; d++)
        attrs.window.values[d] = shape->dims[2 + d];
    return pool(&ebb_op_max_pool, x, attrs);
}

ebb_node(ebb_global_avg_pool)(ebb_node x)
{
    if (!has_spatial("global_avg_pool", x))
        return EBB_NONE;
    ebb_axes axes = { 0 };
    for (int i = 2; i < ebb_node_type(x)->shape.rank; i++)
        axes.axes[axes.n++] = i;
    return ebb_reduce_mean(x, axes, true);
}

/* The dimension d becomes n means: a product with a matrix [n, size] of their weights. */
static ebb_node average_along(ebb_node x, int d, int64_t n)
{
    const ebb_type type = *ebb_node_type(x);
    const int64_t size = type.shape.dims[d];
    const ebb_shape square = EBB_SHAPE(n, size);
    ebb_type weights_type = { type.dtype, square };
    ebb_tensor weights;
    ebb_status status = ebb_tensor_init(&weights, weights_type, NULL);
    if (status)
        return ebb_graph_fail(x.graph, status,
                              "adaptive_avg_pool: no memory for [%lld,%lld] weights", (long long)n,
                              (long long)size);
    for (int64_t i = 0; i < n; i++) {
        const int64_t begin = i * size / n, end = ((i + 1) * size + n - 1) / n;
        for (int64_t j = begin; j < end; j++)
            ebb_tensor_set(&weights, i * size + j, 1 / (double)(end - begin));
    }
    ebb_node matrix = ebb_constant(x.graph, type.dtype, square, weights.data);
    ebb_tensor_finish(&weights);
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < type.shape.rank; i++)
        *(i < d ? &outer : &inner) *= i == d ? 1 : type.shape.dims[i];
    ebb_shape shape = type.shape;
    shape.dims[d] = n;
    ebb_node flat =
        ebb_reshape(x, inner == 1 ? EBB_SHAPE(outer, size) : EBB_SHAPE(outer, size, inner));
    ebb_node means = inner == 1 ? ebb_matmul_with(flat, matrix, (ebb_matmul_attrs){ false, true })
                                : ebb_matmul(matrix, flat);
    return ebb_reshape(means, shape);
}

ebb_node(ebb_adaptive_avg_pool)(ebb_node x, ebb_ints sizes)
{
    const ebb_shape shape = ebb_node_type(x)->shape;
    const int n = shape.rank - 2;
    if (!has_spatial("adaptive_avg_pool", x))
        return EBB_NONE;
    const ebb_ints full = ebb_window_full(sizes, n, 1);
    ebb_pool_attrs attrs = { .window = { .n = n } };
    bool is_even = true;
    if (!sizes.n || full.n != n)
        return ebb_graph_fail(x.graph, EBB_BAD_ATTRIBUTE,
                              "adaptive_avg_pool: sizes has %d values for %d spatial dimensions",
                              sizes.n, n);
    for (int d = 0; d < n; d++) {
        const int64_t size = full.values[d], from = shape.dims[2 + d];
        if (size < 1 || size > INT32_MAX || from < 1 || from > INT32_MAX)
            return ebb_graph_fail(x.graph, EBB_BAD_ATTRIBUTE,
                                  "adaptive_avg_pool: size %lld of spatial dimension %d, made of "
                                  "%lld, is not possible",
                                  (long long)size, d, (long long)from);
        attrs.window.values[d] = from / size;
        is_even = is_even && from % size == 0;
    }
    if (is_even)
        return pool(&ebb_op_avg_pool, x, attrs);
    for (int d = 0; d < n; d++)
        if (full.values[d] != shape.dims[2 + d])
            x = average_along(x, 2 + d, full.values[d]);
    return x;
}
