/* The family of pooling, for its files and for backends. */
#ifndef OPS_POOL_H
#define OPS_POOL_H

#include "ops/window.h"
#include <ebb/ops.h>

typedef struct ebb_pool_grad_attrs { /* max_pool_grad, avg_pool_grad */
    ebb_pool_attrs pool;
    ebb_ints size; /* of the spatial dimensions of the result; none: the smallest that fit */
} ebb_pool_grad_attrs;

/* x [batch, channels, sizes...], y [batch, channels, counts...]. */
typedef struct ebb_pool {
    ebb_window w;
    int64_t batch, channels;
    bool count_include_pad;
} ebb_pool;

/* Of a node or region whose types are good: the shape of input 0 and of result 0. */
void ebb_pool_read(const ebb_op *op, const void *attrs, const ebb_shape *input,
                   const ebb_shape *result, ebb_pool *pool);

/* The divisor of the window at a place, along one dimension. */
static inline int64_t ebb_pool_divisor(const ebb_pool *pool, int d, int64_t index)
{
    const ebb_window *w = &pool->w;
    int64_t first, last;
    if (!pool->count_include_pad) {
        ebb_window_taps(w, d, index, &first, &last);
        return last - first;
    }
    const int64_t room = w->size[d] + w->end[d] - (index * w->stride[d] - w->begin[d]);
    const int64_t taps = (room + w->dilation[d] - 1) / w->dilation[d];
    return taps < w->window[d] ? taps : w->window[d];
}

#endif
