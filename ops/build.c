/* What the files of ops/ share. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"
#include <string.h>

/* A row of `n` elements, `stride` elements apart. */
static void copy_row(char *to, const char *from, int64_t n, int64_t stride, size_t bytes)
{
    if (stride == 1) {
        memcpy(to, from, (size_t)n * bytes);
        return;
    }
    int64_t step = stride * (int64_t)bytes;
    switch (bytes) {
    case 8:
        for (int64_t i = 0; i < n; i++)
            memcpy(to + i * 8, from + i * step, 8);
        break;
    case 4:
        for (int64_t i = 0; i < n; i++)
            memcpy(to + i * 4, from + i * step, 4);
        break;
    default:
        for (int64_t i = 0; i < n; i++)
            memcpy(to + i * (int64_t)bytes, from + i * step, bytes);
    }
}

void ebb_layout_copy(void *to, const void *from, const ebb_layout *layout, const ebb_shape *shape,
                     size_t element_bytes)
{
    int64_t n = ebb_shape_elements(shape), index[EBB_MAX_RANK] = { 0 };
    if (n <= 0)
        return;
    int last = shape->rank - 1;
    int64_t row = last < 0 ? 1 : shape->dims[last], stride = last < 0 ? 1 : layout->strides[last];
    int64_t at = layout->offset;
    char *out = to;
    for (int64_t done = 0; done < n; done += row) {
        copy_row(out, (const char *)from + at * (int64_t)element_bytes, row, stride, element_bytes);
        out += row * (int64_t)element_bytes;
        for (int d = last - 1; d >= 0; d--) {
            at += layout->strides[d];
            if (++index[d] < shape->dims[d])
                break;
            at -= layout->strides[d] * shape->dims[d];
            index[d] = 0;
        }
    }
}

/* ---- for infer rules ---- */

ebb_status ebb_infer_axis(const ebb_infer *infer, int64_t axis, int rank)
{
    if (rank == 0)
        return ebb_infer_fail(infer, EBB_BAD_AXIS, "axis %lld is out of range: a scalar has none",
                              (long long)axis);
    if (ebb_axis_of(axis, rank) < 0)
        return ebb_infer_fail(infer, EBB_BAD_AXIS, "axis %lld is out of range for rank %d",
                              (long long)axis, rank);
    return EBB_OK;
}

ebb_status ebb_infer_axes(const ebb_infer *infer, const ebb_axes *axes, int rank)
{
    unsigned seen = 0;
    if (axes->n < 0 || axes->n > EBB_MAX_RANK)
        return ebb_infer_fail(infer, EBB_BAD_AXIS, "a list of %d axes", axes->n);
    for (int i = 0; i < axes->n; i++) {
        ebb_status status = ebb_infer_axis(infer, axes->axes[i], rank);
        if (status)
            return status;
        unsigned bit = 1u << ebb_axis_of(axes->axes[i], rank);
        if (seen & bit)
            return ebb_infer_fail(infer, EBB_BAD_AXIS, "axis %d is repeated", axes->axes[i]);
        seen |= bit;
    }
    return EBB_OK;
}

ebb_status ebb_infer_dtype(const ebb_infer *infer, ebb_dtype dtype)
{
    if (ebb_dtype_bytes(dtype) == 0)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "there is no dtype %d", (int)dtype);
    return EBB_OK;
}

ebb_status ebb_infer_shape(const ebb_infer *infer, const ebb_shape *shape)
{
    char text[EBB_TYPE_TEXT_BYTES];
    if (shape->rank < 0 || shape->rank > EBB_MAX_RANK)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "a shape of rank %d; the largest rank is %d",
                              shape->rank, EBB_MAX_RANK);
    for (int i = 0; i < shape->rank; i++)
        if (shape->dims[i] < 0)
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "dimension %d of shape %s is negative", i,
                                  ebb_shape_text(shape, text));
    if (!ebb_shape_is_valid(shape))
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "shape %s has too many elements",
                              ebb_shape_text(shape, text));
    return EBB_OK;
}

ebb_status ebb_infer_float(const ebb_infer *infer, int index)
{
    if (!ebb_dtype_is_float(infer->inputs[index]->dtype))
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "dtype %s is not one of f64, f32",
                              ebb_dtype_name(infer->inputs[index]->dtype));
    return EBB_OK;
}

ebb_status ebb_infer_equal(const ebb_infer *infer, int first)
{
    for (int i = first + 1; i < infer->n_inputs; i++) {
        const ebb_type *a = infer->inputs[first], *b = infer->inputs[i];
        if (a->dtype != b->dtype)
            return ebb_infer_fail(infer, EBB_BAD_DTYPE, "dtypes differ: %s, %s",
                                  ebb_dtype_name(a->dtype), ebb_dtype_name(b->dtype));
        ebb_shape common;
        if (!ebb_shape_equal(&a->shape, &b->shape)) {
            char text_a[EBB_TYPE_TEXT_BYTES], text_b[EBB_TYPE_TEXT_BYTES];
            bool fit = ebb_shape_broadcast(&a->shape, &b->shape, &common);
            return ebb_infer_fail(
                infer, EBB_BAD_SHAPE, "shapes %s: %s, %s", fit ? "differ" : "do not broadcast",
                ebb_shape_text(&a->shape, text_a), ebb_shape_text(&b->shape, text_b));
        }
    }
    return EBB_OK;
}

/* ---- for builders and vjps ---- */

bool ebb_shape_broadcast(const ebb_shape *a, const ebb_shape *b, ebb_shape *result)
{
    const ebb_shape *longer = a->rank >= b->rank ? a : b, *shorter = longer == a ? b : a;
    int shift = longer->rank - shorter->rank;
    ebb_shape common = *longer; /* `result` may be a or b */
    for (int i = 0; i < shorter->rank; i++) {
        int64_t *dim = &common.dims[i + shift];
        if (*dim == 1)
            *dim = shorter->dims[i];
        else if (shorter->dims[i] != 1 && shorter->dims[i] != *dim)
            return false;
    }
    *result = common;
    return true;
}

void ebb_build_broadcast(ebb_node *nodes, int n)
{
    ebb_shape common = EBB_SCALAR;
    bool equal = true;
    for (int i = 0; i < n; i++) {
        if (ebb_node_is_none(nodes[i]) || nodes[i].graph != nodes[0].graph)
            return; /* emit says so */
        const ebb_shape *shape = &ebb_node_type(nodes[i])->shape;
        equal = equal && ebb_shape_equal(shape, &ebb_node_type(nodes[0])->shape);
        if (!equal && !ebb_shape_broadcast(&common, shape, &common))
            return;
        if (equal)
            common = *shape;
    }
    for (int i = 0; !equal && i < n; i++)
        nodes[i] = ebb_broadcast_to(nodes[i], common);
}

ebb_axes ebb_build_axes(ebb_axes axes, int rank)
{
    if (axes.n < 0 || axes.n > rank)
        return axes;
    unsigned mask = 0;
    for (int i = 0; i < axes.n; i++) {
        int axis = ebb_axis_of(axes.axes[i], rank);
        if (axis < 0 || (mask & 1u << axis))
            return axes;
        mask |= 1u << axis;
    }
    if (axes.n == 0)
        mask = (1u << rank) - 1u;
    ebb_axes sorted = { 0 };
    for (int i = 0; i < rank; i++)
        if (mask & 1u << i)
            sorted.axes[sorted.n++] = i;
    return sorted;
}

ebb_shape ebb_shape_keep(const ebb_shape *shape, unsigned mask)
{
    ebb_shape kept = *shape;
    for (int i = 0; i < shape->rank; i++)
        if (mask & 1u << i)
            kept.dims[i] = 1;
    return kept;
}

bool ebb_build_check_axis(const char *what, ebb_node x, int64_t axis, int rank)
{
    if (ebb_node_is_none(x))
        return false;
    if (ebb_axis_of(axis, rank) >= 0)
        return true;
    char text[EBB_NODE_TEXT_BYTES];
    ebb_node_text(x, text);
    if (rank == 0)
        ebb_graph_fail(x.graph, EBB_BAD_AXIS,
                       "%s: axis %lld is out of range: a scalar has none: %s", what,
                       (long long)axis, text);
    else
        ebb_graph_fail(x.graph, EBB_BAD_AXIS, "%s: axis %lld is out of range for rank %d: %s", what,
                       (long long)axis, rank, text);
    return false;
}

bool ebb_build_check_axes(const char *what, ebb_node x, const ebb_axes *axes, int rank)
{
    unsigned seen = 0;
    char text[EBB_NODE_TEXT_BYTES];
    if (ebb_node_is_none(x))
        return false;
    if (axes->n < 0 || axes->n > EBB_MAX_RANK) {
        ebb_graph_fail(x.graph, EBB_BAD_AXIS, "%s: a list of %d axes: %s", what, axes->n,
                       ebb_node_text(x, text));
        return false;
    }
    for (int i = 0; i < axes->n; i++) {
        if (!ebb_build_check_axis(what, x, axes->axes[i], rank))
            return false;
        unsigned bit = 1u << ebb_axis_of(axes->axes[i], rank);
        if (seen & bit) {
            ebb_graph_fail(x.graph, EBB_BAD_AXIS, "%s: axis %d is repeated: %s", what,
                           axes->axes[i], ebb_node_text(x, text));
            return false;
        }
        seen |= bit;
    }
    return true;
}
