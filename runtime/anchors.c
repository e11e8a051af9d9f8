/* Activations and residuals into convolutions, where a backend computes such ones. */
#include "ops/conv.h"
#include "ops/descriptors.h"
#include "passes/rules.h"
#include "runtime/runtime.h"

/* True if a backend takes the first convolution with an activation, better than by plain loops.
 * Those that it refuses later are decomposed again. */
static bool takes_epilogues(const ebb_executable *e)
{
    ebb_node node = EBB_NONE;
    const uint32_t n = ebb_graph_n_nodes(e->graph);
    for (uint32_t id = 1; id <= n && !node.id; id++)
        if (ebb_node_op(ebb_graph_node(e->graph, id)) == &ebb_op_conv)
            node = ebb_graph_node(e->graph, id);
    if (!node.id)
        return false;
    const ebb_conv_epilogue_attrs attrs = { .conv = *(const ebb_conv_attrs *)ebb_node_attrs(node),
                                            .activation = EBB_ACTIVATION_RELU };
    ebb_operand inputs[3];
    for (int i = 0; i < ebb_node_n_inputs(node); i++) {
        const ebb_type *type = ebb_node_type(ebb_node_input(node, i));
        inputs[i] = (ebb_operand){ .type = type, .layout = ebb_layout_dense(&type->shape) };
    }
    const ebb_type *type = ebb_node_type(node);
    const ebb_operand result = { .type = type, .layout = ebb_layout_dense(&type->shape) };
    const ebb_region region = { .op = &ebb_op_conv_epilogue,
                                .attrs = &attrs,
                                .n_inputs = ebb_node_n_inputs(node),
                                .n_results = 1,
                                .inputs = inputs,
                                .results = &result,
                                .n_threads = e->n_threads };
    for (int b = 0; b < e->n_backends; b++)
        if (e->backends[b]->score(e->backends[b], &region) > EBB_SCORE_REFERENCE)
            return true;
    return false;
}

ebb_status ebb_executable_anchor(ebb_executable *e, ebb_dump *dump)
{
    static const ebb_rule_set *const sets[] = { &ebb_rules_anchors };
    const ebb_rewrite rewrite = { .pass = "anchors",
                                  .sets = sets,
                                  .n_sets = 1,
                                  .keep_updates = e->has_updates,
                                  .lazy = true,
                                  .log = e->log };
    e->may_anchor = false;
    if (!takes_epilogues(e))
        return EBB_OK;
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
