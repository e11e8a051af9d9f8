/* The interpreter: computes values of nodes with the ops' reference kernels, one node at a time,
 * dense. The oracle of all tests, the engine of constant folding and of the gradient check. Not
 * fast. */
#ifndef GRAPH_INTERPRET_H
#define GRAPH_INTERPRET_H

#include <ebb/op.h>

typedef struct ebb_interpreter ebb_interpreter;

/* NULL when memory is out. The graph must outlive it, and may grow. */
ebb_interpreter *ebb_interpreter_create(const ebb_graph *graph, const ebb_allocator *allocator);
void ebb_interpreter_destroy(ebb_interpreter *interpreter);
/* Copies a value for a source node (input, variable) in; same type. Forgets all computed values. */
ebb_status ebb_interpreter_set(ebb_interpreter *interpreter, ebb_node node, const ebb_tensor *value,
                               ebb_error *error);
/* Computes what `outputs` need and is not computed yet. BAD_FEED for a source without a value; what
 * eval says. */
ebb_status ebb_interpreter_run(ebb_interpreter *interpreter, const ebb_node *outputs,
                               int64_t n_outputs, ebb_error *error);
/* The value of a node that was set or computed; NULL otherwise. Valid until the next set. */
const ebb_tensor *ebb_interpreter_get(const ebb_interpreter *interpreter, ebb_node node);

/* One op on given dense inputs, into given results. */
ebb_status ebb_op_evaluate(const ebb_op *op, const void *attrs, const ebb_tensor *inputs,
                           int n_inputs, const ebb_tensor *results, ebb_error *error);

#endif
