/* The pipeline: graph -> graph. */
#ifndef PASSES_PASSES_H
#define PASSES_PASSES_H

#include <ebb/op.h>

typedef struct ebb_passes_options {
    bool fast_math;
    ebb_logger log;
    /* Called after every stage ("00-user", "01-canonicalize", ...) with the graph and its outputs;
     * may be NULL. A failure ends the pipeline. */
    ebb_status (*dump)(void *context, const char *stage, const ebb_graph *graph,
                       const ebb_node *outputs, int64_t n_outputs, ebb_error *error);
    void *dump_context;
} ebb_passes_options;

/* Runs all passes over what `outputs` (and, with `keep_updates`, the graph's updates) need. *result
 * is a new graph (destroy it); map[id] for every id of `graph` (array of n_nodes + 1, by the
 * caller) is the id in *result of a node with the same value, or 0 if there is none any more. Every
 * output has one. The updates are updates of *result. On failure *result is NULL. */
ebb_status ebb_passes_run(const ebb_graph *graph, const ebb_node *outputs, int n_outputs,
                          bool keep_updates, const ebb_passes_options *options, ebb_graph **result,
                          uint32_t *map, ebb_error *error);

/* One pass by name ("simplify"), for golden tests; *hits counts rule applications. NOT_FOUND for
 * another name. */
ebb_status ebb_pass_run(const char *pass, const ebb_graph *graph, const ebb_node *outputs,
                        int n_outputs, const ebb_passes_options *options, ebb_graph **result,
                        uint32_t *map, int64_t *hits, ebb_error *error);
/* Names of the passes in the order of the pipeline; NULL out of range. */
const char *ebb_pass_name(int index);

#endif
