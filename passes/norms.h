/* What is done about batch normalization. */
#ifndef PASSES_NORMS_H
#define PASSES_NORMS_H

#include "passes/joins.h"

/* Copies what `outputs` (and updates) need into *result, where batch_norm (and
 * batch_norm_inference) with a residual or a relu behind it that alone reads it is one op, and so
 * is batch_norm_grad with the mask of that relu in front of it, where options->takes has a kernel
 * for it; NULL if there is none. map[id] for ids 0..n_nodes of `graph`: the id in *result, 0 where
 * there is none any more. Adds to *n_hits. OUT_OF_MEMORY, LIMIT. */
ebb_status ebb_norms_run(const ebb_join_options *options, const ebb_graph *graph,
                         const ebb_node *outputs, int64_t n_outputs, ebb_graph **result,
                         uint32_t *map, int64_t *n_hits, ebb_error *error);

#endif
