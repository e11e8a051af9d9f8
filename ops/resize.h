/* What backends need to know of resize2d and resize2d_adjoint. */
#ifndef OPS_RESIZE_H
#define OPS_RESIZE_H

#include <ebb/ops.h>

/* Where a result looks: (1 - weight) of element `low` and weight of element `high`. For nearest,
 * weight is 0 or 1. */
typedef struct ebb_resize_tap {
    int64_t low, high;
    double weight;
} ebb_resize_tap;
/* For result i of n_out along an axis of n_in elements, n_in > 0, both at most 2^30. */
ebb_resize_tap ebb_resize_tap_of(const ebb_resize_attrs *attrs, int64_t n_in, int64_t n_out,
                                 int64_t i);
bool ebb_resize_is_adjoint(const ebb_op *op);

#endif
