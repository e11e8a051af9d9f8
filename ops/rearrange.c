/* Builders that rearrange and repeat, made of views: squeeze, unsqueeze, flatten, tile, repeat; and
 * the triangles of matrices. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include <ebb/ops.h>

static ebb_node none_of(ebb_node x)
{
    return (ebb_node){ x.graph, 0 };
}

/* ---- dimensions of size 1 ---- */

ebb_node(ebb_squeeze)(ebb_node x, ebb_axes axes)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    if (!ebb_build_check_axes("squeeze", x, &axes, shape->rank))
        return none_of(x);
    const unsigned named = axes.n ? ebb_axes_mask(&axes, shape->rank) : 0;
    ebb_shape result = { 0 };
    for (int i = 0; i < shape->rank; i++) {
        if (axes.n ? !(named & 1u << i) : shape->dims[i] != 1) {
            result.dims[result.rank++] = shape->dims[i];
        } else if (shape->dims[i] != 1) {
            char text[EBB_NODE_TEXT_BYTES];
            return ebb_graph_fail(x.graph, EBB_BAD_SHAPE,
                                  "squeeze: dimension %d is %lld, not 1: %s", i,
                                  (long long)shape->dims[i], ebb_node_text(x, text));
        }
    }
    return ebb_reshape(x, result);
}

ebb_node(ebb_unsqueeze)(ebb_node x, ebb_axes axes)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    const int rank = axes.n < 0 || axes.n > EBB_MAX_RANK ? 0 : shape->rank + axes.n;
    if (!ebb_node_is_none(x) && rank > EBB_MAX_RANK) {
        char text[EBB_NODE_TEXT_BYTES];
        return ebb_graph_fail(x.graph, EBB_BAD_SHAPE,
                              "unsqueeze: the result would have rank %d: %s", rank,
                              ebb_node_text(x, text));
    }
    if (!ebb_build_check_axes("unsqueeze", x, &axes, rank))
        return none_of(x);
    const unsigned added = axes.n ? ebb_axes_mask(&axes, rank) : 0;
    ebb_shape result = { .rank = rank };
    for (int i = 0, from = 0; i < rank; i++)
        result.dims[i] = added & 1u << i ? 1 : shape->dims[from++];
    return ebb_reshape(x, result);
}

ebb_node(ebb_flatten)(ebb_node x, int first_axis)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    if (!ebb_node_is_none(x) && shape->rank == 0 && (first_axis == 0 || first_axis == -1))
        return ebb_reshape(x, EBB_SHAPE(1));
    if (!ebb_build_check_axis("flatten", x, first_axis, shape->rank))
        return none_of(x);
    ebb_shape result = *shape;
    result.rank = ebb_axis_of(first_axis, shape->rank) + 1;
    for (int i = result.rank; i < shape->rank; i++)
        result.dims[result.rank - 1] *= shape->dims[i];
    return ebb_reshape(x, result);
}

/* ---- repetitions ---- */

static bool check_times(const char *what, ebb_node x, int64_t times, int64_t size)
{
    int64_t product;
    char text[EBB_NODE_TEXT_BYTES];
    if (times < 0)
        ebb_graph_fail(x.graph, EBB_BAD_ARGUMENT, "%s: %lld times: %s", what, (long long)times,
                       ebb_node_text(x, text));
    else if (__builtin_mul_overflow(times, size, &product))
        ebb_graph_fail(x.graph, EBB_BAD_SHAPE, "%s: %lld times a dimension of %lld: %s", what,
                       (long long)times, (long long)size, ebb_node_text(x, text));
    else
        return true;
    return false;
}

/* Along `axis`, every run of `run` elements `times` times: the whole dimension, or one element. */
static ebb_node repeat_runs(ebb_node x, int axis, int64_t run, int64_t times)
{
    ebb_shape shape = ebb_node_type(x)->shape;
    const int64_t n_runs = run ? shape.dims[axis] / run : 1;
    int64_t outer = n_runs, inner = run;
    for (int i = 0; i < shape.rank; i++)
        *(i < axis ? &outer : &inner) *= i == axis ? 1 : shape.dims[i];
    shape.dims[axis] *= times;
    x = ebb_reshape(x, EBB_SHAPE(outer, 1, inner));
    return ebb_reshape(ebb_broadcast_to(x, EBB_SHAPE(outer, times, inner)), shape);
}

ebb_node(ebb_tile)(ebb_node x, ebb_ints times)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    char text[EBB_NODE_TEXT_BYTES];
    if (ebb_node_is_none(x))
        return none_of(x);
    if (times.n < 0 || times.n > EBB_MAX_RANK)
        return ebb_graph_fail(x.graph, EBB_BAD_ARGUMENT, "tile: a list of %d numbers: %s", times.n,
                              ebb_node_text(x, text));
    if (times.n > shape->rank) { /* new dimensions in front */
        ebb_shape padded = { .rank = times.n };
        for (int i = 0; i < times.n; i++) {
            const int from = i - (times.n - shape->rank);
            padded.dims[i] = from < 0 ? 1 : shape->dims[from];
        }
        x = ebb_reshape(x, padded);
        shape = &ebb_node_type(x)->shape;
    }
    const int shift = shape->rank - times.n;
    for (int i = 0; i < times.n; i++)
        if (!check_times("tile", x, times.values[i], shape->dims[shift + i]))
            return none_of(x);
    for (int i = times.n - 1; i >= 0; i--)
        if (times.values[i] != 1 && !ebb_node_is_none(x))
            x = repeat_runs(x, shift + i, ebb_node_type(x)->shape.dims[shift + i], times.values[i]);
    return x;
}

ebb_node(ebb_repeat)(ebb_node x, int64_t times, int axis)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    if (!ebb_build_check_axis("repeat", x, axis, shape->rank))
        return none_of(x);
    const int front = ebb_axis_of(axis, shape->rank);
    if (!check_times("repeat", x, times, shape->dims[front]))
        return none_of(x);
    return times == 1 ? x : repeat_runs(x, front, 1, times);
}

/* ---- triangles ---- */

/* column - row, of every place of [rows, columns]; I64. */
static ebb_node diagonals(ebb_graph *graph, int64_t rows, int64_t columns)
{
    const ebb_shape shape = EBB_SHAPE(rows, columns);
    return ebb_sub(ebb_iota(graph, EBB_I64, shape, 1), ebb_iota(graph, EBB_I64, shape, 0));
}

static ebb_node constant_of(ebb_node like, int64_t value)
{
    const ebb_node scalar = ebb_constant(like.graph, EBB_I64, EBB_SCALAR, &value);
    return ebb_broadcast_to(scalar, ebb_node_type(like)->shape);
}

static ebb_node triangle(const char *what, ebb_node x, int64_t k, bool is_lower)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    if (ebb_node_is_none(x))
        return none_of(x);
    if (shape->rank < 2) {
        char text[EBB_NODE_TEXT_BYTES];
        return ebb_graph_fail(x.graph, EBB_BAD_SHAPE, "%s: a matrix has rank 2 at least: %s", what,
                              ebb_node_text(x, text));
    }
    const ebb_node d =
        diagonals(x.graph, shape->dims[shape->rank - 2], shape->dims[shape->rank - 1]);
    const ebb_node limit = constant_of(d, k);
    const ebb_node stays = is_lower ? ebb_less_equal(d, limit) : ebb_greater_equal(d, limit);
    return ebb_select(stays, x, ebb_full_like(x, 0));
}

ebb_node(ebb_tril)(ebb_node x, int64_t k)
{
    return triangle("tril", x, k, true);
}

ebb_node(ebb_triu)(ebb_node x, int64_t k)
{
    return triangle("triu", x, k, false);
}

ebb_node(ebb_eye)(ebb_graph *graph, ebb_dtype dtype, int64_t rows, int64_t columns, int64_t k)
{
    const ebb_node d = diagonals(graph, rows, columns);
    return ebb_cast(ebb_equal(d, constant_of(d, k)), dtype);
}
