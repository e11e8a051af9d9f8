/* Graphs in text form: reading them, and finding nodes by what the text calls them. */
#include "tool.h"

#include "graph/graph_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const ebb_op *look_up(void *context, const char *name)
{
    (void)context;
    return ebb_op_find(name);
}

static void note_id(void *context, uint32_t text_id, ebb_node node)
{
    tool_graph *graph = context;
    if (graph->n_ids == graph->capacity) {
        size_t capacity = graph->capacity ? 2 * graph->capacity : 256;
        tool_id *ids = realloc(graph->ids, capacity * sizeof *ids);
        if (!ids) {
            graph->out_of_memory = true;
            return;
        }
        graph->ids = ids;
        graph->capacity = capacity;
    }
    graph->ids[graph->n_ids++] = (tool_id){ text_id, node };
}

/* The whole of a stream, in malloc's memory. */
static ebb_status read_stream(FILE *in, const char *path, char **text, size_t *n, ebb_error *error)
{
    size_t capacity = 0;
    *text = NULL;
    *n = 0;
    do {
        if (*n == capacity) {
            capacity = capacity ? 2 * capacity : 1 << 16;
            char *more = realloc(*text, capacity);
            if (!more)
                return ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory to read it", path);
            *text = more;
        }
        errno = 0;
        *n += fread(*text + *n, 1, capacity - *n, in);
    } while (*n == capacity);
    if (ferror(in))
        return ebb_fail(error, EBB_IO, "%s: cannot be read: %s", path, strerror(errno));
    return EBB_OK;
}

ebb_status tool_graph_read(tool_graph *graph, const char *path, ebb_error *error)
{
    bool is_stdin = strcmp(path, "-") == 0;
    *graph = (tool_graph){ .path = is_stdin ? "standard input" : path };
    FILE *in = is_stdin ? stdin : fopen(path, "rb");
    if (!in)
        return ebb_fail(error, EBB_IO, "%s: cannot be opened: %s", path, strerror(errno));
    char *text;
    size_t n;
    ebb_status status = read_stream(in, graph->path, &text, &n, error);
    if (!is_stdin)
        fclose(in);
    if (!status) {
        ebb_error reason = { 0 };
        status =
            ebb_graph_parse_with(text, n, look_up, note_id, graph, NULL, &graph->graph, &reason);
        if (!status && graph->out_of_memory)
            ebb_fail(&reason, status = EBB_OUT_OF_MEMORY, "no memory for the ids");
        if (status)
            ebb_fail(error, status, "%s: %s", graph->path, reason.message);
    }
    free(text);
    return status;
}

void tool_graph_finish(tool_graph *graph)
{
    ebb_graph_destroy(graph->graph);
    free(graph->ids);
    *graph = (tool_graph){ 0 };
}

bool tool_is_input(ebb_node node)
{
    return ebb_node_op(node) == ebb_op_find("input");
}

bool tool_is_variable(ebb_node node)
{
    const ebb_op *op = ebb_node_op(node);
    return op && op->traits & EBB_TRAIT_VARIABLE;
}

const char *tool_full_name(ebb_node node, char name[TOOL_NAME_BYTES])
{
    const char *own = ebb_node_name(node);
    name[0] = 0;
    if (*own)
        snprintf(name, TOOL_NAME_BYTES, "%s%s", ebb_node_scope(node), own);
    return name;
}

const char *tool_node_text(const tool_graph *graph, ebb_node node, char text[EBB_NODE_TEXT_BYTES])
{
    char type[EBB_TYPE_TEXT_BYTES];
    size_t i = 0;
    ebb_node_text(node, text);
    while (i < graph->n_ids && graph->ids[i].node.id != node.id)
        i++;
    if (text[0] == '%' && i < graph->n_ids)
        snprintf(text, EBB_NODE_TEXT_BYTES, "%%%u %s", graph->ids[i].text_id,
                 ebb_type_text(ebb_node_type(node), type));
    return text;
}

/* "%3", by the text's ids. */
static ebb_status find_id(const tool_graph *graph, const char *name, ebb_node *node,
                          ebb_error *error)
{
    char *end;
    errno = 0;
    unsigned long long id = strtoull(name + 1, &end, 10);
    if (name[1] < '0' || name[1] > '9' || *end || errno)
        return ebb_fail(error, EBB_BAD_NAME, "'%s' is no id: %% and a number", name);
    size_t low = 0, high = graph->n_ids;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (graph->ids[middle].text_id < id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == graph->n_ids || graph->ids[low].text_id != id)
        return ebb_fail(error, EBB_NOT_FOUND, "%s has no node %s", graph->path, name);
    *node = graph->ids[low].node;
    return EBB_OK;
}

ebb_status tool_graph_find(const tool_graph *graph, const char *name, ebb_node *node,
                           ebb_error *error)
{
    *node = EBB_NONE;
    if (name[0] == '%')
        return find_id(graph, name, node, error);
    *node = ebb_graph_find(graph->graph, name);
    if (node->id)
        return EBB_OK;
    uint32_t text_id = 0;
    for (size_t i = 0; i < graph->n_ids; i++) {
        char found[TOOL_NAME_BYTES];
        ebb_node next = graph->ids[i].node;
        if (*ebb_node_name(next) == 0 || strcmp(tool_full_name(next, found), name) != 0)
            continue;
        if (node->id && node->id != next.id)
            return ebb_fail(error, EBB_BAD_NAME,
                            "%s: several nodes are called '%s': say %%%u or %%%u", graph->path,
                            name, text_id, graph->ids[i].text_id);
        if (!node->id)
            text_id = graph->ids[i].text_id;
        *node = next;
    }
    return node->id ? EBB_OK
                    : ebb_fail(error, EBB_NOT_FOUND, "%s has no input, variable or node '%s'",
                               graph->path, name);
}

ebb_node tool_graph_last(const tool_graph *graph)
{
    if (graph->n_ids == 0)
        return EBB_NONE;
    return ebb_node_first_result(graph->ids[graph->n_ids - 1].node, NULL);
}

ebb_status tool_graph_outputs(const tool_graph *read, ebb_node **outputs, int *n_outputs,
                              ebb_error *error)
{
    const ebb_graph *graph = read->graph;
    *n_outputs = 0;
    uint32_t n = ebb_graph_n_nodes(graph);
    bool *used = calloc((size_t)n + 1, sizeof *used);
    *outputs = calloc((size_t)n + 1, sizeof **outputs);
    if (!used || !*outputs) {
        free(used);
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "out of memory");
    }
    for (uint32_t id = 1; id <= n; id++) {
        ebb_node node = ebb_graph_node(graph, id);
        for (int i = 0; i < ebb_node_n_inputs(node); i++)
            used[ebb_node_first_result(ebb_node_input(node, i), NULL).id] |=
                ebb_node_first_result(node, NULL).id == id;
    }
    ebb_node variable, value;
    for (int64_t i = 0; ebb_graph_update(graph, i, &variable, &value); i++)
        used[ebb_node_first_result(value, NULL).id] = true;
    for (uint32_t id = 1; id <= n; id++) {
        ebb_node node = ebb_graph_node(graph, id);
        if (!used[id] && ebb_node_first_result(node, NULL).id == id &&
            !(ebb_node_op(node)->traits & EBB_TRAIT_SOURCE))
            (*outputs)[(*n_outputs)++] = node;
    }
    if (*n_outputs == 0 && ebb_graph_n_updates(graph) == 0 && n > 0)
        (*outputs)[(*n_outputs)++] = tool_graph_last(read);
    free(used);
    return EBB_OK;
}
