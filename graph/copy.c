/* Copying nodes from one graph into another. */
#include "graph/graph_private.h"

#include <string.h>

ebb_place ebb_graph_place(const ebb_graph *graph)
{
    return (ebb_place){ graph->scope, graph->phase, graph->file, graph->line };
}

void ebb_graph_return(ebb_graph *graph, ebb_place place)
{
    graph->scope = place.scope;
    graph->phase = place.phase;
    graph->file = place.file;
    graph->line = place.line;
}

void ebb_graph_stand_at(ebb_graph *to, ebb_node from)
{
    const node_record *record = node_get(from);
    if (!to || !record)
        return;
    to->file = record->file;
    to->line = record->line;
    to->phase = (ebb_phase)record->phase;
    if (from.graph == to) {
        to->scope = record->scope;
        return;
    }
    const char *path = from.graph->scopes[record->scope].path;
    if (strcmp(to->scopes[to->scope].path, path) == 0)
        return;
    uint32_t scope = ebb_scope_intern(to, path, strlen(path));
    if (scope != UINT32_MAX)
        to->scope = scope;
    else
        ebb_graph_fail(to, EBB_OUT_OF_MEMORY, "copying scope \"%s\": out of memory", path);
}

ebb_node ebb_graph_copy_node_as(ebb_graph *to, ebb_node from, const ebb_op *op,
                                const ebb_node *inputs, int n_inputs, const void *attrs,
                                ebb_node *results)
{
    ebb_node made[EBB_MAX_RESULTS];
    ebb_graph_stand_at(to, from);
    const ebb_node node = ebb_emit(to, op, inputs, n_inputs, attrs, made);
    const node_record *record = node_get(from); /* further results stand behind it */
    for (int r = 0; r < op->n_results; r++) {
        if (node.id && record && r < record->op->n_results && record[r].name)
            ebb_named(made[r], record[r].name);
        if (results)
            results[r] = made[r];
    }
    return node;
}

ebb_node ebb_graph_copy_node(ebb_graph *to, ebb_node from, const ebb_node *inputs,
                             ebb_node *results)
{
    const node_record *record = node_get(from);
    return ebb_graph_copy_node_as(to, from, record->op, inputs, record->n_inputs, record->attrs,
                                  results);
}
