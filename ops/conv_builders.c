/* Builders of convolutions for one, two and three spatial dimensions. */
#define EBB_NO_LOCATIONS
#include "ops/conv.h"
#include "ops/descriptors.h"
#include <stdio.h>

/* False, with an error in the graph, if x is there and has another rank. */
static bool check_rank(const char *name, ebb_node x, int n)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    char text[EBB_NODE_TEXT_BYTES];
    if (ebb_node_is_none(x) || shape->rank == n + 2)
        return true;
    ebb_graph_fail(x.graph, EBB_BAD_SHAPE, "%s%dd: x has rank %d, not %d: %s", name, n, shape->rank,
                   n + 2, ebb_node_text(x, text));
    return false;
}

static ebb_conv_attrs full_attrs(ebb_conv_attrs attrs, int n)
{
    attrs.stride = ebb_window_full(attrs.stride, n, 1);
    attrs.dilation = ebb_window_full(attrs.dilation, n, 1);
    attrs.padding = ebb_window_full_padding(attrs.padding, n);
    attrs.groups = attrs.groups ? attrs.groups : 1;
    return attrs;
}

static ebb_node conv(ebb_node x, ebb_node w, ebb_node bias, ebb_conv_attrs attrs, int n)
{
    if (!check_rank("conv", x, n))
        return EBB_NONE;
    attrs = full_attrs(attrs, n);
    const ebb_node inputs[3] = { x, w, bias };
    return ebb_emit(NULL, &ebb_op_conv, inputs, ebb_node_is_none(bias) ? 2 : 3, &attrs, NULL);
}

static ebb_node conv_transpose(ebb_node x, ebb_node w, ebb_node bias, ebb_conv_attrs given,
                               ebb_ints output_padding, int n)
{
    if (!check_rank("conv_transpose", x, n))
        return EBB_NONE;
    ebb_conv_grad_attrs attrs = { .conv = full_attrs(given, n) };
    const ebb_shape *shape = &ebb_node_type(x)->shape, *taps = &ebb_node_type(w)->shape;
    const ebb_ints more = ebb_window_full(output_padding, n, 0), *stride = &attrs.conv.stride,
                   *padding = &attrs.conv.padding, *dilation = &attrs.conv.dilation;
    const bool fits = !ebb_node_is_none(x) && taps->rank == n + 2 && stride->n == n &&
                      dilation->n == n && padding->n == 2 * n;
    if (output_padding.n && (!fits || more.n != n)) {
        if (!ebb_node_is_none(x) && more.n != n)
            return ebb_graph_fail(x.graph, EBB_BAD_ATTRIBUTE,
                                  "conv_transpose%dd: output_padding has %d values for %d spatial "
                                  "dimensions",
                                  n, output_padding.n, n);
    } else if (output_padding.n) {
        attrs.size.n = n;
        for (int d = 0; d < n; d++) {
            int64_t size, span;
            if (__builtin_mul_overflow(shape->dims[2 + d] - 1, stride->values[d], &size) ||
                __builtin_mul_overflow(taps->dims[2 + d] - 1, dilation->values[d], &span) ||
                __builtin_add_overflow(size, span + 1, &size) ||
                __builtin_sub_overflow(size, padding->values[d], &size) ||
                __builtin_sub_overflow(size, padding->values[n + d], &size) ||
                __builtin_add_overflow(size, more.values[d], &size))
                size = -1; /* refused */
            attrs.size.values[d] = size;
        }
    }
    const ebb_node inputs[2] = { x, w };
    ebb_node y = ebb_emit(NULL, &ebb_op_conv_input_grad, inputs, 2, &attrs, NULL);
    if (ebb_node_is_none(bias) || ebb_node_is_none(y))
        return y;
    const ebb_type *type = ebb_node_type(bias);
    char text[EBB_NODE_TEXT_BYTES];
    if (type->shape.rank != 1 || type->shape.dims[0] != ebb_node_type(y)->shape.dims[1])
        return ebb_graph_fail(x.graph, EBB_BAD_SHAPE,
                              "conv_transpose%dd: bias is not [%lld] as there are filters: %s", n,
                              (long long)ebb_node_type(y)->shape.dims[1],
                              ebb_node_text(bias, text));
    ebb_shape column = { .rank = n + 1, .dims = { type->shape.dims[0], 1, 1, 1 } };
    return ebb_add(y, ebb_reshape(bias, column));
}

#define BUILDERS(n)                                                                                \
    ebb_node(ebb_conv##n##d)(ebb_node x, ebb_node w, ebb_node bias, ebb_conv_attrs attrs)          \
    {                                                                                              \
        return conv(x, w, bias, attrs, n);                                                         \
    }                                                                                              \
    ebb_node(ebb_conv_transpose##n##d)(ebb_node x, ebb_node w, ebb_node bias,                      \
                                       ebb_conv_attrs attrs, ebb_ints output_padding)              \
    {                                                                                              \
        return conv_transpose(x, w, bias, attrs, output_padding, n);                               \
    }
BUILDERS(1)
BUILDERS(2)
BUILDERS(3)
