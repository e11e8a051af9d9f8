/* Gradients of a convolution whose result went through max_pool, for their file, the pass that
 * makes them and backends. */
#ifndef OPS_POOLED_CONV_H
#define OPS_POOLED_CONV_H

#include "ops/conv.h"
#include "ops/pool.h"

typedef struct ebb_pooled_conv_attrs {
    ebb_conv_attrs conv;
    ebb_pool_attrs pool;
    ebb_ints size; /* spatial dimensions of the first result; must be given */
} ebb_pooled_conv_attrs;

/* Of a node or region whose types are good: the first three inputs and the first result. */
void ebb_pooled_conv_read(const ebb_op *op, const void *attrs, const ebb_shape *const inputs[3],
                          const ebb_shape *result, ebb_conv *conv, ebb_pool *pool);

#endif
