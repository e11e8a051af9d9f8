/* A trained graph as one that only computes. */
#ifndef RUNTIME_FREEZE_H
#define RUNTIME_FREEZE_H

#include <ebb/compile.h>

/* Copies what the outputs need into a new graph without updates, in its form for inference (no
 * dropout, batch normalization by running statistics, folded into weights where it can be), and the
 * values that it reads into a new store; what depends on variables and constants alone is computed.
 * frozen_outputs[0..n_outputs) are the nodes of *frozen. On failure both are NULL. Errors: the
 * graph's own; NOT_FOUND (a variable that the store lacks), UNSUPPORTED (batch_norm without running
 * statistics), as ebb_compile and ebb_run. `takes_store`: the caller will destroy the store next,
 * so its values go over or are released as soon as they have been used. */
ebb_status ebb_freeze(ebb_graph *graph, const ebb_node *outputs, int n_outputs, ebb_store *store,
                      bool takes_store, const ebb_allocator *allocator, ebb_graph **frozen,
                      ebb_store **values, ebb_node *frozen_outputs, ebb_error *error);

#endif
