/* What follows convolutions and products into them, where a backend computes such ones. */
#include "passes/rules.h"
#include "runtime/runtime.h"

static int best_score(const ebb_executable *e, const ebb_region *region)
{
    int best = EBB_SCORE_NONE;
    for (int b = 0; b < e->n_backends; b++) {
        const int score = e->backends[b]->score(e->backends[b], region);
        best = score > best ? score : best;
    }
    return best;
}

enum { MOST_INPUTS = 4 }; /* of a node that the pass asks about */

static int score_node(const ebb_executable *e, const ebb_op *op, const void *attrs,
                      const ebb_node *inputs, int n_inputs, const ebb_type *type)
{
    ebb_operand operands[MOST_INPUTS];
    for (int i = 0; i < n_inputs; i++) {
        const ebb_type *input = ebb_node_type(inputs[i]);
        operands[i] = (ebb_operand){ .type = input, .layout = ebb_layout_dense(&input->shape) };
    }
    const ebb_operand result = { .type = type, .layout = ebb_layout_dense(&type->shape) };
    return best_score(e, &(ebb_region){ .op = op,
                                        .attrs = attrs,
                                        .n_inputs = n_inputs,
                                        .n_results = 1,
                                        .inputs = operands,
                                        .results = &result,
                                        .n_threads = e->n_threads });
}

/* True if a backend takes the anchor with what follows, better than by plain loops, and nobody
 * would rather have it alone. Those that are refused later are decomposed again. */
static bool pays(void *context, const ebb_op *op, const void *attrs, const ebb_node *inputs,
                 int n_inputs, ebb_node instead)
{
    const ebb_executable *e = context;
    const ebb_type *type = ebb_node_type(instead);
    ebb_node old[MOST_INPUTS];
    const int n_old = ebb_node_n_inputs(instead);
    if (n_inputs > MOST_INPUTS || n_old > MOST_INPUTS)
        return false;
    for (int i = 0; i < n_old; i++)
        old[i] = ebb_node_input(instead, i);
    const int score = score_node(e, op, attrs, inputs, n_inputs, type);
    return score > EBB_SCORE_REFERENCE &&
           score >= score_node(e, ebb_node_op(instead), ebb_node_attrs(instead), old, n_old, type);
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
