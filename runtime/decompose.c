/* Library ops that no backend takes, and the live part of a graph once more with the decompositions
 * of those that were marked. */
#define EBB_NO_LOCATIONS
#include "graph/graph_build.h"
#include "runtime/choose.h"

#include <string.h>

static ebb_status emit_decomposition(ebb_graph *to, ebb_node from, const ebb_node *inputs,
                                     ebb_node *results, ebb_error *error)
{
    const ebb_op *op = ebb_node_op(from);
    char text[EBB_NODE_TEXT_BYTES], type[EBB_TYPE_TEXT_BYTES];
    for (int r = 0; r < op->n_results; r++)
        results[r] = EBB_NONE;
    ebb_graph_stand_at(to, from);
    op->decompose(&(ebb_decompose){ .graph = to,
                                    .op = op,
                                    .attrs = ebb_node_attrs(from),
                                    .n_inputs = ebb_node_n_inputs(from),
                                    .n_results = op->n_results,
                                    .inputs = inputs,
                                    .results = results });
    if (ebb_graph_status(to))
        return EBB_OK; /* seen at the end */
    for (int r = 0; r < op->n_results; r++) {
        const ebb_type *expected = ebb_node_type(ebb_graph_node(from.graph, from.id + (uint32_t)r));
        if (!ebb_graph_owns(to, results[r]) || !ebb_type_equal(ebb_node_type(results[r]), expected))
            return ebb_fail(error, EBB_BAD_GRAPH,
                            "%s: the decomposition of %s gives %s for result %d, not its type",
                            op->name, ebb_node_text(from, text),
                            ebb_type_text(ebb_node_type(results[r]), type), r);
    }
    return EBB_OK;
}

static ebb_status copy_nodes(const ebb_graph *graph, const uint8_t *live, const uint8_t *replace,
                             ebb_graph *to, uint32_t *map, ebb_node *inputs, ebb_error *error)
{
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(graph); id++) {
        ebb_node from = ebb_graph_node(graph, id);
        const ebb_op *op = ebb_node_op(from);
        if (!live[id] || op == &ebb_op_result)
            continue;
        const uint32_t *ids = ebb_node_input_ids(from);
        for (int i = 0; i < ebb_node_n_inputs(from); i++)
            inputs[i] = ebb_graph_node(to, map[ids[i]]);
        ebb_node results[EBB_MAX_RESULTS];
        ebb_status status = EBB_OK;
        if (replace && replace[id])
            status = emit_decomposition(to, from, inputs, results, error);
        else
            ebb_graph_copy_node(to, from, inputs, results);
        if (status)
            return status;
        for (int r = 0; r < op->n_results; r++)
            map[id + (uint32_t)r] = results[r].id;
    }
    return EBB_OK;
}

ebb_status ebb_graph_decompose(const ebb_graph *graph, const uint8_t *live, const uint8_t *replace,
                               bool keep_updates, ebb_graph **result, uint32_t *map,
                               ebb_error *error)
{
    uint32_t n = ebb_graph_n_nodes(graph);
    const ebb_allocator *allocator = ebb_graph_allocator(graph);
    size_t most_inputs = 0;
    for (uint32_t id = 1; id <= n; id++) {
        size_t n_inputs = (size_t)ebb_node_n_inputs(ebb_graph_node(graph, id));
        if (n_inputs > most_inputs)
            most_inputs = n_inputs;
    }
    *result = NULL;
    memset(map, 0, ((size_t)n + 1) * sizeof *map);
    ebb_graph *to = ebb_graph_create_like(graph);
    ebb_node *inputs = ebb_allocate(allocator, most_inputs * sizeof *inputs);
    ebb_status status = EBB_OK;
    if (!to || !inputs)
        status = ebb_fail(error, EBB_OUT_OF_MEMORY,
                          "compile: out of memory for a copy of graph \"%.100s\"",
                          ebb_graph_name(graph));
    if (!status)
        status = copy_nodes(graph, live, replace, to, map, inputs, error);
    if (!status && keep_updates) {
        ebb_node variable, value;
        for (int64_t i = 0; ebb_graph_update(graph, i, &variable, &value); i++)
            ebb_update(ebb_graph_node(to, map[variable.id]), ebb_graph_node(to, map[value.id]));
    }
    ebb_release(allocator, inputs, most_inputs * sizeof *inputs);
    if (!status && ebb_graph_status(to))
        status = ebb_fail(error, ebb_graph_status(to), "%s", ebb_graph_message(to));
    if (status)
        ebb_graph_destroy(to);
    else
        *result = to;
    return status;
}

int64_t ebb_executable_find_library(ebb_executable *e, const uint8_t *live, uint8_t *replace)
{
    /* Plain loops keep an op whole where there is nothing else; beside backends that may take its
     * parts they would be far slower than those. */
    const int enough = e->n_backends > 1 ? EBB_SCORE_REFERENCE + 1 : EBB_SCORE_REFERENCE;
    int64_t n_found = 0;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(e->graph); id++) {
        const ebb_node node = ebb_graph_node(e->graph, id);
        int who;
        if (!live[id] || !ebb_node_op(node)->decompose ||
            ebb_node_n_inputs(node) > EBB_MAX_PROGRAM_INPUTS)
            continue;
        replace[id] = ebb_choose_node(e, node, &who) < enough;
        n_found += replace[id];
    }
    return n_found;
}
