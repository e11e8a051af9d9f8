/* Copying a graph with another float dtype. */
#ifndef AUTODIFF_RETYPE_H
#define AUTODIFF_RETYPE_H

#include <ebb/op.h>

/* A new graph with what `outputs` need, in which every `from` (a float dtype) became `to`; map[id],
 * of n_nodes + 1, is the id of the copy or 0. Updates are not copied. On failure *copy is NULL and
 * the message is on `graph`. */
ebb_status ebb_graph_retype(ebb_graph *graph, const ebb_node *outputs, int64_t n_outputs,
                            ebb_dtype from, ebb_dtype to, const ebb_allocator *allocator,
                            uint32_t *map, ebb_graph **copy);

#endif
