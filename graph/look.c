/* Reading a graph: nodes, updates, what is needed for what; and recording updates. */
#include "graph/graph_private.h"

#include <stdio.h>
#include <string.h>

const char *ebb_graph_name(const ebb_graph *graph)
{
    return graph ? graph->name : "";
}

uint32_t ebb_graph_n_nodes(const ebb_graph *graph)
{
    return graph ? graph->n_nodes : 0;
}

ebb_node ebb_graph_node(const ebb_graph *graph, uint32_t id)
{
    /* Handles are not const: whoever looks may also build. */
    ebb_graph *mutable_graph = (ebb_graph *)(uintptr_t)graph;
    return (ebb_node){ mutable_graph, graph && id <= graph->n_nodes ? id : 0 };
}

bool ebb_graph_owns(const ebb_graph *graph, ebb_node node)
{
    return graph && node.graph == graph && node.id && node.id <= graph->n_nodes;
}

const ebb_type *ebb_node_type(ebb_node node)
{
    static const ebb_type no_type = { EBB_NO_DTYPE, { 0 } };
    const node_record *record = node_get(node);
    return record ? record->type : &no_type;
}

const ebb_op *ebb_node_op(ebb_node node)
{
    const node_record *record = node_get(node);
    return record ? record->op : NULL;
}

const void *ebb_node_attrs(ebb_node node)
{
    const node_record *record = node_get(node);
    return record ? record->attrs : NULL;
}

int ebb_node_n_inputs(ebb_node node)
{
    const node_record *record = node_get(node);
    return record ? record->n_inputs : 0;
}

ebb_node ebb_node_input(ebb_node node, int index)
{
    const node_record *record = node_get(node);
    bool has = record && index >= 0 && index < record->n_inputs;
    return (ebb_node){ node.graph, has ? record->inputs[index] : 0 };
}

const uint32_t *ebb_node_input_ids(ebb_node node)
{
    const node_record *record = node_get(node);
    return record ? record->inputs : NULL;
}

ebb_phase ebb_node_phase(ebb_node node)
{
    const node_record *record = node_get(node);
    return record ? (ebb_phase)record->phase : EBB_FORWARD;
}

const char *ebb_node_name(ebb_node node)
{
    const node_record *record = node_get(node);
    return record && record->name ? record->name : "";
}

const char *ebb_node_scope(ebb_node node)
{
    const node_record *record = node_get(node);
    return record ? node.graph->scopes[record->scope].path : "";
}

const char *ebb_node_file(ebb_node node, int *line)
{
    const node_record *record = node_get(node);
    if (line)
        *line = record ? record->line : 0;
    return record ? record->file : NULL;
}

const char *ebb_node_text(ebb_node node, char text[EBB_NODE_TEXT_BYTES])
{
    const node_record *record = node_get(node);
    if (!record || !node.id) {
        snprintf(text, EBB_NODE_TEXT_BYTES, "none");
        return text;
    }
    char type[EBB_TYPE_TEXT_BYTES];
    ebb_type_text(record->type, type);
    if (record->name) {
        const char *scope = node.graph->scopes[record->scope].path;
        size_t length = strlen(scope), most = 80; /* the end of a long scope says more */
        snprintf(text, EBB_NODE_TEXT_BYTES, "%s%.100s %.120s",
                 scope + (length > most ? length - most : 0), record->name, type);
    } else {
        snprintf(text, EBB_NODE_TEXT_BYTES, "%%%u %s", node.id, type);
    }
    return text;
}

ebb_phase ebb_graph_set_phase(ebb_graph *graph, ebb_phase phase)
{
    if (!graph)
        return EBB_FORWARD;
    ebb_phase old = graph->phase;
    graph->phase = phase;
    return old;
}

/* ---- updates ---- */

void(ebb_update)(ebb_node variable, ebb_node value)
{
    ebb_graph *graph = variable.graph ? variable.graph : value.graph;
    if (!graph || graph->error.status)
        return;
    char a[EBB_NODE_TEXT_BYTES], b[EBB_NODE_TEXT_BYTES];
    ebb_node_text(variable, a);
    ebb_node_text(value, b);
    if (!ebb_graph_owns(graph, variable) || !ebb_graph_owns(graph, value)) {
        ebb_graph_fail(graph, EBB_BAD_NODE,
                       "ebb_update: variable (%s) and value (%s) must be nodes of one graph", a, b);
        return;
    }
    node_record *record = &graph->nodes[variable.id];
    if (!(record->op->traits & EBB_TRAIT_VARIABLE)) {
        ebb_graph_fail(graph, EBB_BAD_NODE, "ebb_update: %s is the result of %s, not a variable", a,
                       record->op->name);
        return;
    }
    const ebb_type *type = graph->nodes[value.id].type;
    if (!ebb_type_equal(record->type, type)) {
        ebb_graph_fail(graph, record->type->dtype == type->dtype ? EBB_BAD_SHAPE : EBB_BAD_DTYPE,
                       "ebb_update: the value has another type than the variable: %s, %s", a, b);
        return;
    }
    if (record->is_updated) {
        ebb_graph_fail(graph, EBB_BAD_ARGUMENT, "ebb_update: %s has an update already", a);
        return;
    }
    if (!ebb_grow(graph->allocator, &graph->updates, graph->n_updates, &graph->updates_capacity,
                  sizeof *graph->updates)) {
        ebb_graph_fail(graph, EBB_OUT_OF_MEMORY, "ebb_update: out of memory");
        return;
    }
    record->is_updated = true;
    graph->updates[graph->n_updates].variable = variable.id;
    graph->updates[graph->n_updates].value = value.id;
    graph->n_updates++;
}

int64_t ebb_graph_n_updates(const ebb_graph *graph)
{
    return graph ? graph->n_updates : 0;
}

bool ebb_graph_update(const ebb_graph *graph, int64_t index, ebb_node *variable, ebb_node *value)
{
    bool has = graph && index >= 0 && index < graph->n_updates;
    *variable = ebb_graph_node(graph, has ? graph->updates[index].variable : 0);
    *value = ebb_graph_node(graph, has ? graph->updates[index].value : 0);
    return has;
}

/* ---- what is needed ---- */

void ebb_graph_mark(const ebb_graph *graph, const ebb_node *outputs, int64_t n_outputs,
                    uint8_t *used)
{
    ebb_graph_mark_kept(graph, outputs, n_outputs, false, used, NULL);
}

/* One of those that are asked for; returns the greater id. */
static uint32_t mark_kept(const ebb_graph *graph, ebb_node node, uint8_t *used, uint32_t *n_uses,
                          uint32_t last)
{
    if (!ebb_graph_owns(graph, node))
        return last;
    used[node.id] = 1;
    if (n_uses)
        n_uses[node.id]++;
    return node.id > last ? node.id : last;
}

void ebb_graph_mark_kept(const ebb_graph *graph, const ebb_node *outputs, int64_t n_outputs,
                         bool keep_updates, uint8_t *used, uint32_t *n_uses)
{
    uint32_t last = 0;
    ebb_node variable, value;
    for (int64_t i = 0; i < n_outputs; i++)
        last = mark_kept(graph, outputs[i], used, n_uses, last);
    for (int64_t i = 0; keep_updates && ebb_graph_update(graph, i, &variable, &value); i++) {
        last = mark_kept(graph, variable, used, n_uses, last);
        last = mark_kept(graph, value, used, n_uses, last);
    }
    for (uint32_t id = last; id > 0; id--) { /* results stand behind their op: met first */
        if (!used[id])
            continue;
        const node_record *node = &graph->nodes[id];
        for (int i = 0; i < node->n_inputs; i++)
            used[node->inputs[i]] = 1;
        for (int r = 1; r < node->op->n_results; r++)
            if (!used[id + (uint32_t)r])
                used[id + (uint32_t)r] = EBB_MARK_UNREAD;
    }
}
