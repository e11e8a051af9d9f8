/* Layouts without gaps. */
#include "runtime/layout.h"

#include "ops/build.h"

#include <string.h>

/* The part that block `index` is, and its stride. */
static ebb_part block_part(const ebb_layout *layout, int index, int64_t *stride)
{
    ebb_part part = { layout->blocks[index].axis, layout->blocks[index].size, 1 };
    *stride = 1;
    for (int b = index + 1; b < layout->n_blocks; b++) {
        *stride *= layout->blocks[b].size;
        part.step *= layout->blocks[b].axis == part.axis ? layout->blocks[b].size : 1;
    }
    return part;
}

static int64_t outer_stride(const ebb_order *order, int part)
{
    int64_t stride = 1;
    for (int i = part + 1; i < order->rank; i++)
        stride *= order->parts[i].size > 1 ? order->parts[i].size : 1;
    return stride;
}

bool ebb_order_find(const ebb_layout *layout, const ebb_shape *shape, ebb_order *order)
{
    const int n = shape->rank;
    *order = (ebb_order){ .rank = n + layout->n_blocks, .n_blocks = layout->n_blocks };
    if (layout->offset != 0 || order->rank > EBB_MAX_RANK)
        return false;
    for (int i = 0; i < n; i++) { /* by strides, equal ones as they stand */
        const int64_t step = ebb_layout_block(layout, i);
        int at = i;
        if (shape->dims[i] % step != 0)
            return false;
        while (at > 0 && layout->strides[order->parts[at - 1].axis] < layout->strides[i]) {
            order->parts[at] = order->parts[at - 1];
            at--;
        }
        order->parts[at] = (ebb_part){ i, shape->dims[i] / step, step };
    }
    for (int b = 0; b < layout->n_blocks; b++) {
        int64_t stride;
        order->parts[n + b] = block_part(layout, b, &stride);
    }
    for (int i = 0; i < n; i++) {
        const ebb_part *part = &order->parts[i];
        if (part->size > 1 && layout->strides[part->axis] != outer_stride(order, i))
            return false;
    }
    return true;
}

ebb_shape ebb_order_shape(const ebb_order *order)
{
    ebb_shape permuted = { .rank = order->rank };
    for (int i = 0; i < order->rank; i++)
        permuted.dims[i] = order->parts[i].size;
    return permuted;
}

/* The stride of a part of a dimension; false: blocks cut it. */
static bool part_stride(const ebb_layout *layout, const ebb_part *part, int64_t *stride)
{
    int64_t step = ebb_layout_block(layout, part->axis);
    if (part->size == 1) {
        *stride = layout->strides[part->axis];
        return true;
    }
    if (part->step % step == 0) {
        *stride = layout->strides[part->axis] * (part->step / step);
        return true;
    }
    for (int b = 0; b < layout->n_blocks; b++) {
        const ebb_part block = block_part(layout, b, stride);
        if (block.axis == part->axis && part->step % block.step == 0 &&
            part->step * part->size <= block.step * block.size) {
            *stride *= part->step / block.step;
            return true;
        }
    }
    return false;
}

bool ebb_order_permute(const ebb_order *order, const ebb_layout *layout, ebb_layout *permuted)
{
    ebb_layout found = { .offset = layout->offset };
    for (int i = 0; i < order->rank; i++) {
        if (!part_stride(layout, &order->parts[i], &found.strides[i])) {
            *permuted = *layout;
            return false;
        }
    }
    *permuted = found;
    return true;
}

ebb_layout ebb_order_permute_back(const ebb_order *order, const ebb_layout *layout)
{
    ebb_layout back = { .offset = layout->offset, .n_blocks = order->n_blocks };
    const int n_outer = order->rank - order->n_blocks;
    for (int i = 0; i < n_outer; i++)
        back.strides[order->parts[i].axis] = layout->strides[i];
    for (int b = 0; b < order->n_blocks; b++)
        back.blocks[b] =
            (ebb_block){ order->parts[n_outer + b].axis, order->parts[n_outer + b].size };
    return back;
}

int64_t ebb_layout_place(const ebb_layout *layout, const ebb_shape *shape, int64_t index)
{
    int64_t place = 0;
    for (int i = shape->rank - 1; i >= 0; i--) {
        const int64_t at = index % shape->dims[i];
        index /= shape->dims[i];
        place += at / ebb_layout_block(layout, i) * layout->strides[i];
        for (int b = 0; b < layout->n_blocks; b++) {
            int64_t stride;
            const ebb_part part = block_part(layout, b, &stride);
            if (part.axis == i)
                place += at / part.step % part.size * stride;
        }
    }
    return place;
}

ebb_order ebb_order_split(const ebb_layout *layout, const ebb_shape *shape)
{
    ebb_order order = { .n_blocks = 0 };
    for (int i = 0; i < shape->rank; i++) {
        const int64_t step = ebb_layout_block(layout, i);
        int64_t stride;
        order.parts[order.rank++] = (ebb_part){ i, shape->dims[i] / step, step };
        for (int b = 0; b < layout->n_blocks; b++)
            if (layout->blocks[b].axis == i)
                order.parts[order.rank++] = block_part(layout, b, &stride);
    }
    return order;
}

void ebb_order_refine(ebb_order *order, const ebb_layout *layout)
{
    for (int i = order->rank - 1; i >= 0; i--) {
        ebb_part *part = &order->parts[i];
        const int64_t block = ebb_layout_block(layout, part->axis);
        const int64_t reach = part->step * part->size;
        if (order->rank == EBB_MAX_RANK || block <= part->step || reach <= block ||
            block % part->step != 0 || reach % block != 0)
            continue;
        memmove(part + 1, part, (size_t)(order->rank - i) * sizeof *part);
        order->rank++;
        part[0] = (ebb_part){ part->axis, reach / block, block };
        part[1].size = block / part[1].step;
    }
}

void ebb_layout_read(void *to, const void *from, const ebb_layout *layout, const ebb_type *type)
{
    const ebb_order order = ebb_order_split(layout, &type->shape);
    const ebb_shape split = ebb_order_shape(&order);
    ebb_layout seen = *layout;
    seen.offset = 0;
    (void)ebb_order_permute(&order, &seen, &seen);
    ebb_layout_copy(to, from, &seen, &split, ebb_dtype_bytes(type->dtype));
}

void ebb_layout_write(void *to, const void *from, const ebb_layout *layout, const ebb_type *type)
{
    const ebb_layout dense = ebb_layout_dense(&type->shape);
    ebb_layout seen = dense;
    ebb_order order;
    if (!ebb_order_find(layout, &type->shape, &order))
        return;
    const ebb_shape split = ebb_order_shape(&order);
    (void)ebb_order_permute(&order, &dense, &seen);
    ebb_layout_copy(to, from, &seen, &split, ebb_dtype_bytes(type->dtype));
}
