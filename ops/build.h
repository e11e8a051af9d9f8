/* What the files of ops/ share: axes, checks of types for infer rules, broadcasting for builders.
 * The first part is for backends too. */
#ifndef OPS_BUILD_H
#define OPS_BUILD_H

#include <ebb/op.h>

/* The axes of a list as bits, in a valid list for `rank`; an empty list is all of them. */
static inline unsigned ebb_axes_mask(const ebb_axes *axes, int rank)
{
    unsigned mask = 0;
    if (axes->n == 0)
        return (1u << rank) - 1u;
    for (int i = 0; i < axes->n; i++)
        mask |= 1u << (axes->axes[i] < 0 ? axes->axes[i] + rank : axes->axes[i]);
    return mask;
}

/* An axis counted from the front, or -1 if it is out of range. */
static inline int ebb_axis_of(int64_t axis, int rank)
{
    return axis < -rank || axis >= rank ? -1 : (int)(axis < 0 ? axis + rank : axis);
}

/* Copies the elements of `shape` that lie in `layout` at `from` densely to `to`. */
void ebb_layout_copy(void *to, const void *from, const ebb_layout *layout, const ebb_shape *shape,
                     size_t element_bytes);

/* ---- for infer rules ---- */

/* Each axis in range and named once, or BAD_AXIS. */
ebb_status ebb_infer_axes(const ebb_infer *infer, const ebb_axes *axes, int rank);
ebb_status ebb_infer_axis(const ebb_infer *infer, int64_t axis, int rank);
/* A known dtype and a valid shape in an attribute, or BAD_DTYPE, BAD_SHAPE. */
ebb_status ebb_infer_dtype(const ebb_infer *infer, ebb_dtype dtype);
ebb_status ebb_infer_shape(const ebb_infer *infer, const ebb_shape *shape);
/* Input `index` is F64 or F32, or BAD_DTYPE. */
ebb_status ebb_infer_float(const ebb_infer *infer, int index);
/* Inputs first..n-1 have equal dtypes and shapes, or BAD_DTYPE, BAD_SHAPE. */
ebb_status ebb_infer_equal(const ebb_infer *infer, int first);

/* ---- for builders and vjps ---- */

/* NumPy's rule: the shape to which both broadcast; false if there is none. */
bool ebb_shape_broadcast(const ebb_shape *a, const ebb_shape *b, ebb_shape *result);
/* Broadcasts nodes[0..n) to their common shape, if they have one, and else leaves them as they are
 * for infer to complain about. */
void ebb_build_broadcast(ebb_node *nodes, int n);
/* Sorted, counted from the front, every axis named; a list that is not valid comes back as it is.
 */
ebb_axes ebb_build_axes(ebb_axes axes, int rank);
/* `shape` with the dimensions in `mask` set to 1. */
ebb_shape ebb_shape_keep(const ebb_shape *shape, unsigned mask);

/* A valid axis, or a valid list of axes, for `rank`; false for a none node, and false with a sticky
 * BAD_AXIS in x's graph. */
bool ebb_build_check_axis(const char *what, ebb_node x, int64_t axis, int rank);
bool ebb_build_check_axes(const char *what, ebb_node x, const ebb_axes *axes, int rank);

/* The eval of ops with a view rule: copies what that shows of dense data. */
ebb_status ebb_view_eval(const ebb_eval *eval);

#endif
