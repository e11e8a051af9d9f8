/* What is done about max_pool. */
#ifndef PASSES_POOLS_H
#define PASSES_POOLS_H

#include "passes/joins.h"

/* Copies what `outputs` (and updates) need into *result, with each relu that only a max_pool and
 * the gradients of both read behind that max_pool; NULL if there is none. map[id] for ids
 * 0..n_nodes of `graph`: the id in *result, 0 where there is none any more. Adds to *n_hits.
 * OUT_OF_MEMORY, LIMIT. */
ebb_status ebb_pools_run(const ebb_graph *graph, const ebb_node *outputs, int64_t n_outputs,
                         bool keep_updates, ebb_graph **result, uint32_t *map, int64_t *n_hits,
                         ebb_error *error);

/* The same for max_pool_grad before gradients of conv, which become pooled_conv_weight_grad and
 * pooled_conv_input_grad where all that read it are taken, and for max_pool behind a convolution
 * that nothing else reads: conv_max_pool. */
ebb_status ebb_pools_join_run(const ebb_join_options *options, const ebb_graph *graph,
                              const ebb_node *outputs, int64_t n_outputs, ebb_graph **result,
                              uint32_t *map, int64_t *n_hits, ebb_error *error);

#endif
