/* Where the elements of a padded value come from: for pad, its gradient and their kernels. */
#ifndef OPS_PAD_H
#define OPS_PAD_H

#include "ops/descriptors.h"

/* Along one dimension of n elements: the one that stands at place i, which is not in 0..n-1 where
 * the padding is; -1: none, the constant. n > 0 unless the mode is constant. */
static inline int64_t ebb_pad_source(ebb_pad_mode mode, int64_t i, int64_t n)
{
    if (i >= 0 && i < n)
        return i;
    if (mode == EBB_PAD_CONSTANT)
        return -1;
    if (mode == EBB_PAD_EDGE || n == 1)
        return i < 0 ? 0 : n - 1;
    const int64_t period = 2 * (n - 1);
    const int64_t rest = (i % period + period) % period;
    return rest < n ? rest : period - rest;
}

#endif
