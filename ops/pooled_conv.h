/* A convolution whose result goes through max_pool, and its gradients, for their files, the pass
 * that makes them and backends. */
#ifndef OPS_POOLED_CONV_H
#define OPS_POOLED_CONV_H

#include "ops/conv.h"
#include "ops/pool.h"

typedef struct ebb_pooled_conv_attrs {
    ebb_conv_attrs conv;
    ebb_pool_attrs pool;
    ebb_ints size; /* spatial dimensions of the first result; must be given */
} ebb_pooled_conv_attrs;

typedef struct ebb_conv_max_pool_attrs {
    ebb_conv_attrs conv;
    ebb_pool_attrs pool;
} ebb_conv_max_pool_attrs;

/* Of a node or region whose types are good: the first two inputs and the first result. */
void ebb_conv_max_pool_read(const ebb_conv_max_pool_attrs *attrs, const ebb_shape *const inputs[2],
                            const ebb_shape *result, ebb_conv *conv, ebb_pool *pool);

/* Of a node or region whose types are good: the first three inputs and the first result. */
void ebb_pooled_conv_read(const ebb_op *op, const void *attrs, const ebb_shape *const inputs[3],
                          const ebb_shape *result, ebb_conv *conv, ebb_pool *pool);

#endif
