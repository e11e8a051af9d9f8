/* The pass pools: relu behind max_pool. */
#ifndef PASSES_POOLS_H
#define PASSES_POOLS_H

#include "ops/descriptors.h"

/* Copies what `outputs` (and updates) need into *result, with each relu that only a max_pool and
 * the gradients of both read behind that max_pool; NULL if there is none. map[id] for ids
 * 0..n_nodes of `graph`: the id in *result, 0 where there is none any more. Adds to *n_hits.
 * OUT_OF_MEMORY, LIMIT. */
ebb_status ebb_pools_run(const ebb_graph *graph, const ebb_node *outputs, int64_t n_outputs,
                         bool keep_updates, ebb_graph **result, uint32_t *map, int64_t *n_hits,
                         ebb_error *error);

#endif
