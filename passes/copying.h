/* What passes share that copy a graph and exchange some nodes, with several results perhaps, for
 * others. Rules (passes/rewrite.h) are for what has one result and no opinion on its readers. */
#ifndef PASSES_COPYING_H
#define PASSES_COPYING_H

#include "graph/graph_build.h"

typedef struct ebb_copying {
    const ebb_graph *from;
    ebb_graph *to;
    uint32_t *map; /* by id of `from`: the id in `to`; 0: none */
    bool keep_updates;
    /* set by ebb_copying_start */
    const ebb_allocator *allocator;
    uint32_t n_ids;
    uint32_t *uses; /* by id: by needed nodes, outputs, updates */
    uint8_t *is_needed;
} ebb_copying;

static inline ebb_node ebb_copying_old(const ebb_copying *c, uint32_t id)
{
    return ebb_graph_node(c->from, id);
}

static inline ebb_node ebb_copying_new(const ebb_copying *c, uint32_t id)
{
    return ebb_graph_node(c->to, c->map[id]);
}

static inline const uint32_t *ebb_copying_inputs(const ebb_copying *c, uint32_t id)
{
    return ebb_node_input_ids(ebb_copying_old(c, id));
}

static inline bool ebb_copying_is(const ebb_copying *c, uint32_t id, const ebb_op *op)
{
    return ebb_node_op(ebb_copying_old(c, id)) == op;
}

/* Counts uses. ebb_copying_finish is needed afterwards in any case. */
ebb_status ebb_copying_start(ebb_copying *c, const ebb_node *outputs, int64_t n_outputs);

/* Emits into c->to, and the map, what becomes of node `id`, if anything; false: it is copied. */
typedef bool (*ebb_copying_emit)(void *context, uint32_t id);
/* Makes c->to out of all needed nodes, by ids, and of the updates. `emit` is asked about each first
 * result. */
ebb_status ebb_copying_run(ebb_copying *c, ebb_copying_emit emit, void *context);
/* What became of a node gets its name, if it has one. */
void ebb_copying_name(ebb_copying *c, uint32_t id);

/* Makes c->to *result, or destroys it, and says in `error` what went wrong in this pass. */
ebb_status ebb_copying_finish(ebb_copying *c, const char *pass, ebb_status status,
                              ebb_graph **result, ebb_error *error);

#endif
