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

/* Rows of a table of attributes, for a struct that begins as both do. */
/* clang-format off */
#define EBB_CONV_POOL_FIELD(type, name, member, kind, text)                                        \
    { name, EBB_ATTR_##kind, offsetof(type, member), text, NULL }
#define EBB_CONV_POOL_FIELDS(type)                                                                 \
    EBB_CONV_POOL_FIELD(type, "stride", conv.stride, INTS, "of conv"),                             \
    EBB_CONV_POOL_FIELD(type, "padding", conv.padding, INTS, "of conv"),                           \
    EBB_CONV_POOL_FIELD(type, "dilation", conv.dilation, INTS, "of conv"),                         \
    EBB_CONV_POOL_FIELD(type, "groups", conv.groups, I64, "of conv"),                              \
    EBB_CONV_POOL_FIELD(type, "pool_window", pool.window, INTS, "of max_pool"),                    \
    EBB_CONV_POOL_FIELD(type, "pool_stride", pool.stride, INTS, "of max_pool"),                    \
    EBB_CONV_POOL_FIELD(type, "pool_padding", pool.padding, INTS, "of max_pool"),                  \
    EBB_CONV_POOL_FIELD(type, "pool_dilation", pool.dilation, INTS, "of max_pool"),                \
    EBB_CONV_POOL_FIELD(type, "pool_ceil_mode", pool.ceil_mode, BOOL, "of max_pool")
/* clang-format on */

/* Of a node or region whose types are good: the first two inputs and the first result. */
void ebb_conv_max_pool_read(const ebb_conv_max_pool_attrs *attrs, const ebb_shape *const inputs[2],
                            const ebb_shape *result, ebb_conv *conv, ebb_pool *pool);

/* Of a node or region whose types are good: the first three inputs and the first result. */
void ebb_pooled_conv_read(const ebb_op *op, const void *attrs, const ebb_shape *const inputs[3],
                          const ebb_shape *result, ebb_conv *conv, ebb_pool *pool);

/* For kernels: one group, and windows of the pool without padding and dilation that lie inside the
 * convolution's result. */
bool ebb_pooled_conv_is_plain(const ebb_conv *conv, const ebb_pool *pool);

#endif
