/* The family of convolutions, for its files and for backends. */
#ifndef OPS_CONV_H
#define OPS_CONV_H

#include "ops/epilogue.h"
#include "ops/window.h"
#include <ebb/ops.h>

typedef struct ebb_conv_grad_attrs { /* conv_input_grad, conv_weight_grad, conv_weight_bias_grad */
    ebb_conv_attrs conv;
    ebb_ints size; /* of the spatial dimensions of the result; none: see the ops */
} ebb_conv_grad_attrs;

typedef struct ebb_conv_epilogue_attrs {
    ebb_conv_attrs conv;
    ebb_epilogue epilogue;
} ebb_conv_epilogue_attrs;

/* The convolution behind an op of the family: x [batch, groups channels, sizes...], w [groups
 * filters, channels, windows...], y [batch, groups filters, counts...]. */
typedef struct ebb_conv {
    ebb_window w;
    int64_t batch, groups, channels, filters; /* channels and filters of one group */
} ebb_conv;

/* Of a node or region whose types are good. `inputs` are the first two, `result` is the first. */
void ebb_conv_read(const ebb_op *op, const void *attrs, const ebb_shape *const inputs[2],
                   const ebb_shape *result, ebb_conv *conv);

#endif
