/* Checks every invariant of a graph. */
#include "graph/graph_private.h"

#include <string.h>

static ebb_status check_node(const ebb_graph *graph, uint32_t id, ebb_error *error)
{
    const node_record *node = &graph->nodes[id];
    if (!node->op || !node->type || !ebb_dtype_bytes(node->type->dtype) ||
        !ebb_shape_is_valid(&node->type->shape))
        return ebb_fail(error, EBB_BAD_GRAPH, "%%%u has no op or no valid type", id);
    for (int i = 0; i < node->n_inputs; i++) {
        if (!node->inputs[i] || node->inputs[i] >= id)
            return ebb_fail(error, EBB_BAD_GRAPH,
                            "%%%u (%s): input %d is %%%u, which is not before it", id,
                            node->op->name, i, node->inputs[i]);
    }
    if (node->op == &ebb_op_result)
        return EBB_OK;
    const ebb_type *input_types[16];
    if (node->n_inputs > 16)
        return EBB_OK; /* checked when it was emitted; not worth an allocation */
    for (int i = 0; i < node->n_inputs; i++)
        input_types[i] = graph->nodes[node->inputs[i]].type;
    ebb_type types[EBB_MAX_RESULTS];
    memset(types, 0, (size_t)node->op->n_results * sizeof *types);
    ebb_error why = { .status = EBB_OK };
    ebb_infer infer = { node->op, node->attrs, node->n_inputs, input_types, types, &why };
    if (node->op->infer(&infer))
        return ebb_fail(error, EBB_BAD_GRAPH, "%%%u (%s): %s", id, node->op->name, why.message);
    for (int r = 0; r < node->op->n_results; r++) {
        uint32_t at = id + (uint32_t)r;
        if (at > graph->n_nodes || !ebb_type_equal(&types[r], graph->nodes[at].type) ||
            (r > 0 && graph->nodes[at].op != &ebb_op_result))
            return ebb_fail(error, EBB_BAD_GRAPH,
                            "%%%u (%s): result %d is not of the inferred type", id, node->op->name,
                            r);
    }
    const char *source = ebb_source_name(node->op, node->attrs);
    if (source && ebb_graph_find(graph, source).id != id)
        return ebb_fail(error, EBB_BAD_GRAPH, "%%%u (%s): \"%s\" names another node too", id,
                        node->op->name, source);
    return EBB_OK;
}

ebb_status ebb_graph_verify(const ebb_graph *graph, ebb_error *error)
{
    if (!graph)
        return ebb_fail(error, EBB_BAD_GRAPH, "there is no graph");
    if (graph->error.status)
        return ebb_fail(error, EBB_BAD_GRAPH, "the graph carries an error: %s",
                        graph->error.message);
    for (uint32_t id = 1; id <= graph->n_nodes; id++) {
        ebb_status status = check_node(graph, id, error);
        if (status)
            return status;
    }
    for (uint32_t i = 0; i < graph->n_updates; i++) {
        uint32_t variable = graph->updates[i].variable, value = graph->updates[i].value;
        if (!variable || variable > graph->n_nodes || !value || value > graph->n_nodes ||
            !(graph->nodes[variable].op->traits & EBB_TRAIT_VARIABLE) ||
            !ebb_type_equal(graph->nodes[variable].type, graph->nodes[value].type))
            return ebb_fail(error, EBB_BAD_GRAPH, "update %u of %%%u by %%%u is not well-typed", i,
                            variable, value);
    }
    return EBB_OK;
}
