/* Layouts without gaps. */
#include "runtime/layout.h"

bool ebb_order_find(const ebb_layout *layout, const ebb_shape *shape, ebb_order *order)
{
    *order = (ebb_order){ .rank = shape->rank };
    if (layout->offset != 0)
        return false;
    for (int i = 0; i < shape->rank; i++) { /* by strides, equal ones as they stand */
        int at = i;
        while (at > 0 && layout->strides[order->axes[at - 1]] < layout->strides[i]) {
            order->axes[at] = order->axes[at - 1];
            at--;
        }
        order->axes[at] = i;
    }
    const ebb_layout full = ebb_order_layout(order, shape);
    return ebb_layout_agrees(layout, &full, shape);
}

ebb_layout ebb_order_layout(const ebb_order *order, const ebb_shape *shape)
{
    ebb_layout layout = { .offset = 0 };
    int64_t stride = 1;
    for (int i = order->rank - 1; i >= 0; i--) {
        const int64_t dim = shape->dims[order->axes[i]];
        layout.strides[order->axes[i]] = stride;
        stride *= dim > 1 ? dim : 1;
    }
    return layout;
}

ebb_shape ebb_order_shape(const ebb_order *order, const ebb_shape *shape)
{
    ebb_shape permuted = { .rank = order->rank };
    for (int i = 0; i < order->rank; i++)
        permuted.dims[i] = shape->dims[order->axes[i]];
    return permuted;
}

ebb_layout ebb_order_permute(const ebb_order *order, const ebb_layout *layout)
{
    ebb_layout permuted = { .offset = layout->offset };
    for (int i = 0; i < order->rank; i++)
        permuted.strides[i] = layout->strides[order->axes[i]];
    return permuted;
}

ebb_layout ebb_order_permute_back(const ebb_order *order, const ebb_layout *layout)
{
    ebb_layout permuted = { .offset = layout->offset };
    for (int i = 0; i < order->rank; i++)
        permuted.strides[order->axes[i]] = layout->strides[i];
    return permuted;
}

bool ebb_layout_agrees(const ebb_layout *a, const ebb_layout *b, const ebb_shape *shape)
{
    for (int i = 0; i < shape->rank; i++)
        if (shape->dims[i] > 1 && a->strides[i] != b->strides[i])
            return false;
    return true;
}
