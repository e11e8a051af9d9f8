/* How values [batch, channels, ...] lie in memory, for kernels that work on images of either order:
 * channels first (runs of pixels) or channels last (runs of channels). */
#ifndef BACKENDS_NATIVE_CHANNELS_H
#define BACKENDS_NATIVE_CHANNELS_H

#include "backends/native/native.h"
#include "ops/batch_norm.h"

/* In elements; all dimensions from 2 on count as one. */
typedef struct ebb_channel_strides {
    int64_t batch, channel, pixel;
} ebb_channel_strides;

typedef enum ebb_channel_order {
    EBB_CHANNELS_NEITHER,
    EBB_CHANNELS_FIRST, /* pixels have stride 1 */
    EBB_CHANNELS_LAST   /* channels have stride 1 */
} ebb_channel_order;

/* False if the dimensions from 2 on do not lie as one. */
bool ebb_channel_strides_of(const ebb_operand *operand, ebb_channel_strides *strides);
/* The order in which all of these operands, of one shape, lie. */
ebb_channel_order ebb_channel_order_of(const ebb_operand *const *operands, int n);
/* Of a kernel that does both orders, and channels last better. */
int ebb_channel_score(const ebb_operand *const *operands, int n);
/* The operand is an image that fills its memory with its channels last, which is not dense. */
bool ebb_channels_lie_last(const ebb_operand *operand);
/* The operand is an image with its channels in blocks (ebb_layout_channel_blocks): as many images
 * side by side with few channels, which lie last. */
bool ebb_channels_in_blocks(const ebb_operand *operand);
/* For ebb_backend.layouts: channels in blocks for all images of the region, if one of them lies so;
 * channels last the same. A wish for blocks is for kernels that take them. */
bool ebb_channels_wish_blocks(const ebb_region *region, ebb_layout *inputs, ebb_layout *results);
bool ebb_channels_wish(const ebb_region *region, ebb_layout *inputs, ebb_layout *results);
/* The same for normalizations, which read one value of a channel for all pixels where it lies. */
bool ebb_native_batch_norm_wish(const ebb_region *region, ebb_layout *inputs, ebb_layout *results);
/* Two operands of one shape have their elements at the same places. */
bool ebb_channels_lie_alike(const ebb_operand *a, const ebb_operand *b);
/* pad and slice_grad: the result like an input with channels last, which is taken as it is. */
bool ebb_native_spread_wish(const ebb_region *region, ebb_layout *results);
/* The layouts that pooling would like; as ebb_channels_wish, and of large values also unasked. */
bool ebb_native_pool_wish(const ebb_region *region, ebb_layout *inputs, ebb_layout *results);
/* Channels last for what the convolution read. */
bool ebb_native_pooled_conv_wish(const ebb_region *region, ebb_layout *inputs, ebb_layout *results);
/* Images go on as they came. */
bool ebb_native_conv_max_pool_wish(const ebb_region *region, ebb_layout *results);

#endif
