/* Reverse-mode differentiation, and the check of gradients by finite differences. */
#ifndef EBB_AUTODIFF_H
#define EBB_AUTODIFF_H

#include <ebb/ops.h>

EBB_BEGIN

/* Emits nodes that compute, for each x, the vector-Jacobian product sum_i seeds[i] . d ys[i] / dx,
 * by the chain rule from ys down to xs. `seeds` NULL: ones, and then every y must be a scalar.
 * gradients[i] has the type of xs[i]; an x on which no y depends gets zeros. All nodes belong to
 * one graph, are float, and the new nodes are ordinary ones: differentiate them again for higher
 * orders.
 *
 * Errors (message on the graph; `gradients` are none nodes): the graph's own sticky error;
 * BAD_NODE, BAD_DTYPE (integers), BAD_SHAPE (a y that is not a scalar without a seed, a seed of
 * another type), NOT_DIFFERENTIABLE (an op on the way has no gradient rule: the message names the
 * node). */
EBB_NODISCARD EBB_API ebb_status ebb_gradients_with(const ebb_node *ys, const ebb_node *seeds,
                                                    int n_ys, const ebb_node *xs, int n_xs,
                                                    ebb_node *gradients);
/* The common case: one scalar y. */
EBB_NODISCARD EBB_API ebb_status ebb_gradients(ebb_node y, const ebb_node *xs, int n_xs,
                                               ebb_node *gradients);

/* ---- gradient check ---- */

typedef struct ebb_check_value {
    ebb_node node;    /* an input or variable of the graph */
    ebb_tensor value; /* any dtype; converted */
} ebb_check_value;

typedef struct ebb_check_options {
    int order; /* 1 (default): the gradient; 2: also the gradient of <gradient, random vector> */
    int n_directions; /* random directions per x; default 2 */
    double step;      /* of the central difference, relative to max(1, |x|); default 1e-3, with
                       * Richardson      extrapolation to fourth order */
    double tolerance; /* allowed relative error; default 1e-7 */
    uint64_t seed;    /* of directions and random values */
    double low, high; /* range of values that are not given; both 0: [-1, 1) */
    const ebb_check_value *values; /* where to check; others are random (integers: 0) */
    int n_values;
    const ebb_allocator *allocator;
} ebb_check_options;

typedef struct ebb_check_report {
    int n_checks;       /* directional derivatives compared */
    double worst_error; /* |a - n| / max(|a|, |n|, 1e-3 |gradient| |direction|), the largest */
    int worst_x;        /* index into xs */
    int worst_order;    /* 1 or 2 */
    double analytic, numeric; /* of the worst one */
    int n_checks_of[2];       /* of order 1 and 2 */
    int n_zero_of[2];         /* of them, those in which both numbers are 0 */
    double worst_error_of[2];
} ebb_check_report;

/* Compares the reverse-mode derivative of y (any shape; a random cotangent is used) in random
 * directions of each x with central differences, sign included. Everything is evaluated in F64 by
 * the reference kernels, on a copy in which F32 became F64; the graph itself is not changed.
 * `options` and `report` may be NULL. Errors: MISMATCH if the worst error exceeds the tolerance or
 * is NaN (message: which x, both numbers); else as ebb_gradients. */
EBB_NODISCARD EBB_API ebb_status ebb_check_gradients(ebb_node y, const ebb_node *xs, int n_xs,
                                                     const ebb_check_options *options,
                                                     ebb_check_report *report);

EBB_END

#endif
