/* What follows convolutions and products into them, where a backend computes such ones. */
#include "passes/rules.h"
#include "runtime/choose.h"

enum { MOST_INPUTS = 4 }; /* of an anchor with what follows */

/* True if a backend takes the anchor with what follows, better than by plain loops, and nobody
 * would rather have it alone. Those that are refused later are decomposed again. */
static bool pays(void *context, const ebb_op *op, const void *attrs, const ebb_node *inputs,
                 int n_inputs, ebb_node instead)
{
    const ebb_type *type = ebb_node_type(instead), *types[MOST_INPUTS];
    int who;
    if (n_inputs > MOST_INPUTS)
        return false;
    for (int i = 0; i < n_inputs; i++)
        types[i] = ebb_node_type(inputs[i]);
    const int score = ebb_choose_dense(context, op, attrs, n_inputs, types, &type, &who);
    return score > EBB_SCORE_REFERENCE && score >= ebb_choose_node(context, instead, &who);
}

ebb_status ebb_executable_anchor(ebb_executable *e, ebb_dump *dump)
{
    static const ebb_rule_set *const sets[] = { &ebb_rules_anchors };
    const ebb_rewrite rewrite = { .pass = "anchors",
                                  .sets = sets,
                                  .n_sets = 1,
                                  .keep_updates = e->has_updates,
                                  .lazy = true,
                                  .skip = e->skip_fusions,
                                  .log = e->log,
                                  .pays = pays,
                                  .context = e };
    e->may_anchor = false;
    const size_t map_bytes = ((size_t)ebb_graph_n_nodes(e->graph) + 1) * sizeof(uint32_t);
    const size_t outputs_bytes = e->n_fetches * sizeof(ebb_node);
    uint32_t *map = ebb_allocate(e->allocator, map_bytes);
    ebb_node *outputs = ebb_allocate(e->allocator, outputs_bytes);
    ebb_rewrite_counts counts = { 0 };
    ebb_graph *graph = NULL;
    ebb_status status = EBB_OUT_OF_MEMORY;
    if (map && outputs) {
        for (size_t i = 0; i < e->n_fetches; i++)
            outputs[i] = ebb_graph_node(e->graph, e->fetches[i].node);
        status = ebb_rewrite_run(&rewrite, e->graph, outputs, (int64_t)e->n_fetches, &graph, map,
                                 &counts, &e->error);
    } else {
        ebb_fail(&e->error, status, "compile: out of memory");
    }
    if (graph)
        status = ebb_executable_take(e, graph, map, "anchors", dump);
    ebb_release(e->allocator, outputs, outputs_bytes);
    ebb_release(e->allocator, map, map_bytes);
    return status;
}
