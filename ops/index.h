/* Index values at run time: reading them from any integer dtype, and checking their range; and what
 * gather, scatter and their like share. */
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

/* ---- gather, scatter and scatter_add, of rows and along an axis ---- */

enum { EBB_INDEX_GATHER, EBB_INDEX_PUT, EBB_INDEX_ADD };

/* What an op's `user` points to. */
typedef struct ebb_index_rules {
    int action;
    bool is_along; /* an index for each element, not for each row */
} ebb_index_rules;

/* Of rows, x is [n_outer, n, n_inner], there are n_indices, and what they pick is
 * [n_outer, n_indices, n_inner]. Along an axis, the indices have the shape of that too. */
typedef struct ebb_index_plan {
    bool is_along;
    int64_t n_outer, n, n_inner, n_indices;
    int64_t n_picked; /* elements */
} ebb_index_plan;
ebb_index_plan ebb_index_plan_make(const ebb_op *op, const ebb_shape *x, const ebb_shape *indices,
                                   int64_t axis);

/* For infer: input 1 holds indices for input 0 along the axis; sets the shape of what they pick. */
ebb_status ebb_index_infer(const ebb_infer *infer, ebb_shape *picked);
/* For builders: emits `op` with its axis counted from the front. */
ebb_node ebb_index_emit(const ebb_op *op, const ebb_node *inputs, int n_inputs, int axis);
/* For vjps: input 0 is of a float dtype. */
bool ebb_index_has_gradient(const ebb_vjp *v);

extern const ebb_attr_field ebb_index_fields[];

#endif
