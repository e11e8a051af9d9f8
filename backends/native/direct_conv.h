/* Direct convolutions: layouts and where they pay, for the native backend and its kernels. */
#ifndef BACKENDS_NATIVE_DIRECT_CONV_H
#define BACKENDS_NATIVE_DIRECT_CONV_H

#include "backends/native/native.h"
#include "ops/conv.h"

/* The image fills its memory with its channels last. */
bool ebb_direct_conv_lies_last(const ebb_operand *image);
/* [O / 16][I / 16][windows...][16 I][16 O], oneDNN's OIhw16i16o; 16 divides the first two
 * dimensions. */
ebb_layout ebb_direct_conv_blocks(const ebb_shape *shape);
bool ebb_direct_conv_in_blocks(const ebb_operand *weights);

/* For ebb_backend.layouts and home_layout. */
bool ebb_native_direct_conv_wish(const ebb_region *region, ebb_layout *inputs, ebb_layout *results);
bool ebb_native_direct_conv_home(const ebb_region *region, int input, ebb_layout *layout);
bool ebb_native_point_conv_wish(const ebb_region *region, ebb_layout *inputs, ebb_layout *results);
bool ebb_native_point_conv_home(const ebb_region *region, int input, ebb_layout *layout);
bool ebb_native_direct_weight_grad_wish(const ebb_region *region, ebb_layout *inputs,
                                        ebb_layout *results);

#endif
