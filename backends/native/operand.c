/* Operands of element-wise kernels: what kind they are, and whether they lie well. */
#include "backends/native/operand.h"
#include <string.h>

ebb_operand_kind ebb_operand_classify(const ebb_walk *walk)
{
    if (ebb_walk_is_dense(walk))
        return EBB_OPERAND_DENSE;
    if (walk->rank == 1 && walk->strides[0] == 0)
        return EBB_OPERAND_SINGLE;
    if (walk->rank == 2 && walk->strides[0] == 0 && walk->strides[1] == 1 &&
        walk->dims[1] * (int64_t)walk->element_bytes <= EBB_TILE_BYTES)
        return EBB_OPERAND_PERIODIC;
    return EBB_OPERAND_WALK;
}

void ebb_fill_periodic(void *buffer, size_t buffer_bytes, const void *data, size_t period_bytes)
{
    size_t filled = period_bytes < buffer_bytes ? period_bytes : buffer_bytes;
    memcpy(buffer, data, filled);
    while (filled < buffer_bytes) {
        size_t more = filled < buffer_bytes - filled ? filled : buffer_bytes - filled;
        memcpy((char *)buffer + filled, buffer, more);
        filled += more;
    }
}

/* Reading many elements that lie far apart costs a cache line each: a blocked copy first is better.
 */
bool ebb_native_is_far(const ebb_shape *shape, const int64_t *strides)
{
    const ebb_walk walk = ebb_walk_make(shape, strides, 1);
    const int64_t stride = walk.strides[walk.rank - 1];
    return walk.n_elements > EBB_COSTLY_WORK && stride != 0 && stride != 1;
}

int ebb_native_score_layouts(const ebb_region *region)
{
    for (int i = 0; i < region->n_inputs; i++)
        if (ebb_native_is_far(&region->results[0].type->shape, region->inputs[i].layout.strides))
            return EBB_SCORE_GENERIC;
    return EBB_SCORE_BEST;
}
