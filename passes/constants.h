/* Constants as passes see them: behind views, splat or not. */
#ifndef PASSES_CONSTANTS_H
#define PASSES_CONSTANTS_H

#include "ops/descriptors.h"

/* The `constant` behind up to four reshapes and broadcasts, or none. */
ebb_node ebb_constant_behind(ebb_node node);
/* The same if it has exactly one element: `node` has that value everywhere. */
ebb_node ebb_splat_behind(ebb_node node);
/* False if `node` is no splat. */
bool ebb_splat_value(ebb_node node, double *value);
/* A splat of 0, not -0. */
bool ebb_is_zero(ebb_node node);

/* A constant of `type` with dense `data`; one value everywhere becomes a broadcast scalar. */
ebb_node ebb_emit_constant(ebb_graph *graph, const ebb_type *type, const void *data);

/* True if `op` of these inputs is worth computing now, and allowed: all are constants, the result
 * is small. */
bool ebb_fold_is_possible(const ebb_op *op, const void *attrs, const ebb_type *type,
                          const ebb_node *inputs, int n_inputs);
/* Computes it. None if eval fails (then nothing is recorded), or when memory is out (a sticky
 * error). */
ebb_node ebb_fold_op(ebb_graph *graph, const ebb_op *op, const void *attrs, const ebb_type *type,
                     const ebb_node *inputs, int n_inputs);

#endif
