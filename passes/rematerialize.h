/* Rematerialization: values of the forward part that the backward part needs are computed there
 * again, so that they need not be kept. The numbers stay the same. See docs/memory.md. */
#ifndef PASSES_REMATERIALIZE_H
#define PASSES_REMATERIALIZE_H

#include <ebb/op.h>

/* What may be computed again; each includes those before it. */
typedef enum ebb_recompute {
    EBB_RECOMPUTE_NOTHING,
    EBB_RECOMPUTE_ELEMENTWISE,
    EBB_RECOMPUTE_CHEAP, /* all but matrix products and convolutions */
    EBB_RECOMPUTE_ALL /* what is not kept between segments (Chen et al. 2016, arXiv 1604.06174) */
} ebb_recompute;

typedef struct ebb_rematerialize {
    ebb_recompute what;
    /* ALL: the forward part is cut into so many segments of about the same bytes, where least
     * lives; in the first n_recomputed of them (0: all) everything is computed again, in the others
     * what is cheap. */
    int n_segments, n_recomputed;
    /* CHEAP: if not 0, only large values that follow from what is kept anyway, not from copies, the
     * first ones first, as long as that is at most this share of all work. */
    double most_more;
    bool keep_updates;
} ebb_rematerialize;

/* What it costs, in bytes of memory traffic; arithmetic counts as the traffic of the same time. */
typedef struct ebb_rematerialize_cost {
    int64_t n_nodes;   /* that are computed again */
    double work, more; /* of the graph as it was; of these nodes */
} ebb_rematerialize_cost;

/* Copies what `outputs` (and updates) need into *result; NULL if there is nothing to do. map[id]
 * for ids 0..n_nodes of `graph`: the id in *result, 0 where there is none any more. OUT_OF_MEMORY,
 * LIMIT. Linear, but for the segments: n log(segments). */
ebb_status ebb_rematerialize_run(const ebb_rematerialize *options, const ebb_graph *graph,
                                 const ebb_node *outputs, int64_t n_outputs, ebb_graph **result,
                                 uint32_t *map, ebb_rematerialize_cost *cost, ebb_error *error);

/* (x, earlier): x, to be used only when `earlier` is there. A view; what is made of it is not
 * shared with what is made of x. */
extern const ebb_op ebb_op_after;

#endif
