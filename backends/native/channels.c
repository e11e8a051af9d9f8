/* How values [batch, channels, ...] lie. */
#include "backends/native/channels.h"

bool ebb_channel_strides_of(const ebb_operand *operand, ebb_channel_strides *strides)
{
    const ebb_shape *shape = &operand->type->shape;
    const int64_t *s = operand->layout.strides;
    int64_t n_inner = 1;
    *strides = (ebb_channel_strides){ s[0], s[1], 1 };
    for (int i = shape->rank - 1; i >= 2; i--) {
        if (shape->dims[i] == 1)
            continue;
        if (n_inner == 1)
            strides->pixel = s[i];
        else if (s[i] != strides->pixel * n_inner)
            return false;
        n_inner *= shape->dims[i];
    }
    return true;
}

ebb_channel_order ebb_channel_order_of(const ebb_operand *const *operands, int n)
{
    const ebb_channels k = ebb_channels_of(&operands[0]->type->shape);
    bool first = k.n_spatial != 1, last = true;
    for (int i = 0; i < n; i++) {
        ebb_channel_strides s;
        if (!ebb_channel_strides_of(operands[i], &s))
            return EBB_CHANNELS_NEITHER;
        first = first && s.pixel == 1;
        last = last && (s.channel == 1 || k.n_channels <= 1);
    }
    return first ? EBB_CHANNELS_FIRST : last ? EBB_CHANNELS_LAST : EBB_CHANNELS_NEITHER;
}

int ebb_channel_score(const ebb_operand *const *operands, int n)
{
    switch (ebb_channel_order_of(operands, n)) {
    case EBB_CHANNELS_FIRST:
        return EBB_SCORE_NATIVE;
    case EBB_CHANNELS_LAST:
        return EBB_SCORE_BEST;
    default:
        return EBB_SCORE_NONE;
    }
}

static bool is_image(const ebb_region *region, const ebb_operand *operand)
{
    return operand->type->shape.rank == region->inputs[0].type->shape.rank;
}

bool ebb_channels_lie_last(const ebb_operand *operand)
{
    const ebb_shape *shape = &operand->type->shape;
    if (shape->rank <= 2 || ebb_layout_is_dense(&operand->layout, shape))
        return false;
    const ebb_layout last = ebb_layout_channels_last(shape);
    for (int d = 0; d < shape->rank; d++)
        if (shape->dims[d] != 1 && operand->layout.strides[d] != last.strides[d])
            return false;
    return true;
}

bool ebb_channels_in_blocks(const ebb_operand *operand)
{
    const ebb_shape *shape = &operand->type->shape;
    const ebb_layout *layout = &operand->layout;
    if (layout->n_blocks != 1 || shape->rank < 3)
        return false;
    const ebb_layout blocks = ebb_layout_channel_blocks(shape, layout->blocks[0].size);
    return ebb_layout_agrees(layout, &blocks, shape);
}

bool ebb_channels_wish_blocks(const ebb_region *region, ebb_layout *inputs, ebb_layout *results)
{
    int64_t block = 0;
    for (int i = 0; i < region->n_inputs && !block; i++)
        if (is_image(region, &region->inputs[i]) && ebb_channels_in_blocks(&region->inputs[i]))
            block = region->inputs[i].layout.blocks[0].size;
    for (int i = 0; i < region->n_inputs && block; i++)
        if (is_image(region, &region->inputs[i]))
            inputs[i] = ebb_layout_channel_blocks(&region->inputs[i].type->shape, block);
    for (int i = 0; i < region->n_results && block; i++)
        if (is_image(region, &region->results[i]))
            results[i] = ebb_layout_channel_blocks(&region->results[i].type->shape, block);
    return block != 0;
}

bool ebb_channels_wish(const ebb_region *region, ebb_layout *inputs, ebb_layout *results)
{
    bool any = false;
    for (int i = 0; i < region->n_inputs && !any; i++)
        any = is_image(region, &region->inputs[i]) && ebb_channels_lie_last(&region->inputs[i]);
    for (int i = 0; i < region->n_inputs && any; i++)
        if (is_image(region, &region->inputs[i]))
            inputs[i] = ebb_layout_channels_last(&region->inputs[i].type->shape);
    for (int i = 0; i < region->n_results && any; i++)
        if (is_image(region, &region->results[i]))
            results[i] = ebb_layout_channels_last(&region->results[i].type->shape);
    return any;
}

bool ebb_native_batch_norm_wish(const ebb_region *region, ebb_layout *inputs, ebb_layout *results)
{
    if (!ebb_channels_wish(region, inputs, results))
        return false;
    for (int i = 0; i < region->n_inputs; i++) {
        ebb_channel_strides s;
        if (is_image(region, &region->inputs[i]) &&
            ebb_channel_strides_of(&region->inputs[i], &s) && s.channel == 1 && s.pixel == 0)
            inputs[i] = region->inputs[i].layout;
    }
    return true;
}

bool ebb_channels_lie_alike(const ebb_operand *a, const ebb_operand *b)
{
    const ebb_shape *shape = &a->type->shape;
    for (int i = 0; i < shape->rank; i++)
        if (shape->dims[i] != 1 && a->layout.strides[i] != b->layout.strides[i])
            return false;
    return true;
}
