/* What the places of a slice are: for the op, its gradient and their kernels. */
#ifndef OPS_SLICE_H
#define OPS_SLICE_H

#include "ops/descriptors.h"

/* Along one dimension: index i of the slice is index start + i * step of what it is taken from.
 * step is 1 where n < 2. */
typedef struct ebb_slice_range {
    int64_t start, step, n;
} ebb_slice_range;

/* By NumPy's rule. `slice` is valid for `shape`; one range per dimension. */
void ebb_slice_ranges(const ebb_slice_attrs *slice, const ebb_shape *shape,
                      ebb_slice_range ranges[EBB_MAX_RANK]);

#endif
