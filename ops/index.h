/* Index values at run time: reading them from any integer dtype, and checking their range. */
#ifndef OPS_INDEX_H
#define OPS_INDEX_H

#include <ebb/op.h>

static inline int64_t ebb_index_at(const ebb_tensor *indices, int64_t i)
{
    switch (indices->type.dtype) {
    case EBB_I64:
        return ((const int64_t *)indices->data)[i];
    case EBB_I32:
        return ((const int32_t *)indices->data)[i];
    default:
        return ((const uint8_t *)indices->data)[i];
    }
}

/* Every value in 0..n-1, or BAD_INDEX naming the first that is not. `what` is "index" or "label".
 */
ebb_status ebb_index_check(const ebb_tensor *indices, int64_t n, const char *what,
                           ebb_error *error);

#endif
