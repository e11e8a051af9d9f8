/* The drawing: Graphviz DOT with a cluster a scope and a colour a phase. */
#include "graph/graph_private.h"

#include "graph/text.h"

#include <stdlib.h>
#include <string.h>

#define LABEL_BYTES 512
#define MOST_DATA_BYTES 64 /* of a constant, inside its box */

/* clang-format off */
static const struct {
    const char *fill, *line;
} phase_colours[] = {
    [EBB_FORWARD]  = { "#dbe9f6", "#2b6cb0" },
    [EBB_BACKWARD] = { "#fbe3d6", "#c05621" },
    [EBB_UPDATE]   = { "#e2f2dc", "#2f855a" },
};
/* clang-format on */

/* Text for inside a quoted DOT string; "\n" breaks the line. */
static void print_escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if (*text == '\n')
            fputs("\\n", out);
        else if ((unsigned char)*text >= 32)
            fputc(*text, out);
    }
}

/* The attributes as "axes=[0], keep=true"; shortened. Returns false when memory is out. */
static bool format_attrs(const node_record *node, char text[LABEL_BYTES])
{
    text[0] = 0;
    if (!node->op->attrs_bytes)
        return true;
    char *buffer = NULL;
    size_t bytes = 0;
    FILE *memory = open_memstream(&buffer, &bytes);
    if (!memory)
        return false;
    ebb_text_print_attrs(memory, node->op, node->attrs, MOST_DATA_BYTES);
    if (fclose(memory)) {
        free(buffer);
        return false;
    }
    snprintf(text, LABEL_BYTES, "%s", buffer);
    free(buffer); /* open_memstream's, from the C heap */
    return true;
}

static bool is_output(const ebb_dot_options *options, uint32_t id)
{
    for (int i = 0; options && i < options->n_outputs; i++) {
        if (options->outputs[i].id == id)
            return true;
    }
    return false;
}

static bool print_node(const ebb_graph *graph, uint32_t id, const ebb_dot_options *options,
                       FILE *out)
{
    const node_record *node = &graph->nodes[id];
    char attrs[LABEL_BYTES];
    if (!format_attrs(node, attrs))
        return false;
    bool is_source = node->op->traits & EBB_TRAIT_SOURCE;
    bool is_variable = node->op->traits & EBB_TRAIT_VARIABLE;
    fprintf(out, "  n%u [label=\"", id);
    if (node->name) {
        print_escaped(out, node->name);
        fputs("\\n", out);
    }
    print_escaped(out, node->op->name);
    if (attrs[0] && !(is_source && node->name)) {
        fputs("\\n", out);
        print_escaped(out, attrs);
    }
    if (is_source) {
        char type[EBB_TYPE_TEXT_BYTES];
        fprintf(out, "\\n%s", ebb_type_text(node->type, type));
    }
    if (options && options->node_label) {
        char extra[LABEL_BYTES] = "";
        options->node_label(options->context, ebb_graph_node(graph, id), extra, sizeof extra);
        if (extra[0]) {
            fputs("\\n", out);
            print_escaped(out, extra);
        }
    }
    fprintf(out, "\", tooltip=\"%%%u ", id);
    print_escaped(out, node->op->summary ? node->op->summary : node->op->name);
    fprintf(out, "\", fillcolor=\"%s\", color=\"%s\", shape=%s%s];\n",
            phase_colours[node->phase].fill, phase_colours[node->phase].line,
            is_variable ? "cylinder"
            : is_source ? "ellipse"
                        : "box",
            is_output(options, id) ? ", peripheries=2" : "");
    return true;
}

static void print_edges(const ebb_graph *graph, uint32_t id, const ebb_dot_options *options,
                        FILE *out)
{
    const node_record *node = &graph->nodes[id];
    for (int i = 0; i < node->n_inputs; i++) {
        int result;
        ebb_node input = ebb_graph_node(graph, node->inputs[i]);
        ebb_node first = ebb_node_first_result(input, &result);
        char label[LABEL_BYTES] = "";
        if (options && options->edge_label)
            options->edge_label(options->context, input, label, sizeof label);
        else
            ebb_type_text(ebb_node_type(input), label);
        fprintf(out, "  n%u -> n%u [label=\"", first.id, id);
        if (ebb_node_op(first)->n_results > 1)
            fprintf(out, "%d: ", result);
        print_escaped(out, label);
        fprintf(out, "\", color=\"%s\"];\n", phase_colours[node->phase].line);
    }
}

/* Nodes by scope: first[scope] and next[id] are lists in descending order of ids. */
typedef struct scope_lists {
    uint32_t *first, *next;
} scope_lists;

/* Opens the cluster of each scope, writes its nodes and the scopes inside. Scopes nest at most
 * MAX_SCOPE_DEPTH deep (names.c), so recursion is bounded. */
static bool print_scope(const ebb_graph *graph, uint32_t scope, const scope_lists *lists,
                        const ebb_dot_options *options, FILE *out)
{
    const scope_record *record = &graph->scopes[scope];
    if (scope) {
        size_t parent = strlen(graph->scopes[record->parent].path);
        fprintf(out, "  subgraph cluster_%u {\n  label=\"", scope);
        fprintf(out, "%.*s", (int)(strlen(record->path) - parent - 1), record->path + parent);
        fputs("\"; style=\"rounded\"; color=\"#a0aec0\"; fontcolor=\"#4a5568\";\n", out);
    }
    for (uint32_t id = lists->first[scope]; id; id = lists->next[id]) {
        if (!print_node(graph, id, options, out))
            return false;
    }
    for (uint32_t s = scope + 1; s < graph->n_scopes; s++) {
        if (graph->scopes[s].parent == scope && !print_scope(graph, s, lists, options, out))
            return false;
    }
    if (scope)
        fputs("  }\n", out);
    return true;
}

static bool print_nodes(const ebb_graph *graph, const ebb_dot_options *options, FILE *out)
{
    size_t first_bytes = graph->n_scopes * sizeof(uint32_t);
    size_t next_bytes = ((size_t)graph->n_nodes + 1) * sizeof(uint32_t);
    scope_lists lists = { ebb_allocate(graph->allocator, first_bytes),
                          ebb_allocate(graph->allocator, next_bytes) };
    bool done = false;
    if (lists.first && lists.next) {
        memset(lists.first, 0, first_bytes);
        for (uint32_t id = graph->n_nodes; id > 0; id--) {
            if (graph->nodes[id].op == &ebb_op_result)
                continue;
            uint32_t scope = graph->nodes[id].scope;
            lists.next[id] = lists.first[scope];
            lists.first[scope] = id;
        }
        done = print_scope(graph, 0, &lists, options, out);
    }
    ebb_release(graph->allocator, lists.first, first_bytes);
    ebb_release(graph->allocator, lists.next, next_bytes);
    return done;
}

ebb_status ebb_graph_write_dot(const ebb_graph *graph, FILE *out, const ebb_dot_options *options)
{
    if (!graph || !out)
        return EBB_BAD_ARGUMENT;
    ebb_text_locale locale;
    if (!ebb_text_locale_enter(&locale))
        return EBB_OUT_OF_MEMORY;
    fputs("digraph ", out);
    ebb_text_print_string(out, graph->name);
    fputs(" {\n  rankdir=TB;\n  fontname=\"Helvetica\";\n"
          "  node [style=filled, fontname=\"Helvetica\", fontsize=11];\n"
          "  edge [fontname=\"Helvetica\", fontsize=9, fontcolor=\"#4a5568\"];\n",
          out);
    bool done = print_nodes(graph, options, out);
    for (uint32_t id = 1; id <= graph->n_nodes && done; id++) {
        if (graph->nodes[id].op != &ebb_op_result)
            print_edges(graph, id, options, out);
    }
    for (uint32_t i = 0; i < graph->n_updates; i++) {
        ebb_node value =
            ebb_node_first_result(ebb_graph_node(graph, graph->updates[i].value), NULL);
        fprintf(out,
                "  n%u -> n%u [style=dashed, constraint=false, label=\"update\", color=\"%s\"];\n",
                value.id, graph->updates[i].variable, phase_colours[EBB_UPDATE].line);
    }
    fputs("}\n", out);
    ebb_text_locale_leave(&locale);
    if (!done)
        return EBB_OUT_OF_MEMORY;
    return ferror(out) ? EBB_IO : EBB_OK;
}
