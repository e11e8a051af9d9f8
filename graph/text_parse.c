/* The text form, reading. The text may be anything: every error says line and column. */
#include "graph/graph_private.h"

#include "graph/text.h"
#include "graph/text_attrs.h"

#include <string.h>

typedef struct id_pair {
    uint32_t text_id;
    uint32_t node_id;
} id_pair;

typedef struct parser {
    ebb_text_reader in;
    ebb_text_id_seen seen; /* NULL: nobody wants to know */
    ebb_graph *graph;
    id_pair *ids; /* ascending text ids */
    uint32_t n_ids, ids_capacity;
} parser;

static ebb_status read_id(parser *p, uint32_t *text_id)
{
    ebb_status status = ebb_scan_expect(&p->in.scan, '%');
    int64_t value = 0;
    if (!status)
        status = ebb_scan_i64(&p->in.scan, 1, UINT32_MAX - 1, &value);
    *text_id = (uint32_t)value;
    return status;
}

static ebb_status read_node(parser *p, ebb_node *node)
{
    uint32_t text_id;
    ebb_status status = read_id(p, &text_id);
    if (status)
        return status;
    uint32_t low = 0, high = p->n_ids;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (p->ids[middle].text_id < text_id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == p->n_ids || p->ids[low].text_id != text_id)
        return ebb_scan_fail(&p->in.scan, EBB_BAD_FORMAT, "%%%u is not defined above", text_id);
    *node = (ebb_node){ p->graph, p->ids[low].node_id };
    return EBB_OK;
}

static ebb_status define_id(parser *p, uint32_t text_id, uint32_t node_id)
{
    if (p->n_ids && p->ids[p->n_ids - 1].text_id >= text_id)
        return ebb_scan_fail(&p->in.scan, EBB_BAD_FORMAT, "%%%u does not ascend: ids must",
                             text_id);
    if (!ebb_grow(p->graph->allocator, &p->ids, p->n_ids, &p->ids_capacity, sizeof *p->ids))
        return ebb_scan_fail(&p->in.scan, EBB_OUT_OF_MEMORY, "out of memory");
    p->ids[p->n_ids++] = (id_pair){ text_id, node_id };
    if (p->seen)
        p->seen(p->in.context, text_id, ebb_graph_node(p->graph, node_id));
    return EBB_OK;
}

/* ---- lines ---- */

/* "@block1/h", "@block1/", "@h": sets the scope and gives the name back. */
static ebb_status read_place(parser *p, char **name)
{
    const char *start = p->in.scan.at, *stop = start, *own = start;
    for (; stop<p->in.scan.end && * stop> ' '; stop++) {
        if (*stop != '/')
            continue;
        if (!ebb_name_is_valid(own, (size_t)(stop - own)))
            return ebb_scan_fail(&p->in.scan, EBB_BAD_FORMAT, "bad scope name behind @");
        own = stop + 1;
    }
    *name = NULL;
    if (own < stop) {
        if (!ebb_name_is_valid(own, (size_t)(stop - own)))
            return ebb_scan_fail(&p->in.scan, EBB_BAD_FORMAT, "bad name behind @");
        *name = ebb_arena_copy_text(&p->in.scan.scratch, own, (size_t)(stop - own));
        if (!*name)
            return ebb_scan_fail(&p->in.scan, EBB_OUT_OF_MEMORY, "out of memory");
    }
    uint32_t scope = ebb_scope_intern(p->graph, start, (size_t)(own - start));
    if (scope == UINT32_MAX)
        return ebb_scan_fail(&p->in.scan, EBB_LIMIT, "scopes too deep, or out of memory");
    p->graph->scope = scope;
    p->in.scan.at = stop;
    return EBB_OK;
}

static ebb_status read_tail(parser *p, char **name)
{
    char word[MAX_WORD];
    ebb_status status = EBB_OK;
    if (ebb_scan_take(&p->in.scan, '@'))
        status = read_place(p, name);
    if (!status && ebb_scan_take(&p->in.scan, '!')) {
        status = ebb_scan_word(&p->in.scan, "a phase", word);
        if (!status && strcmp(word, "backward") == 0)
            p->graph->phase = EBB_BACKWARD;
        else if (!status && strcmp(word, "update") == 0)
            p->graph->phase = EBB_UPDATE;
        else if (!status)
            return ebb_scan_fail(&p->in.scan, EBB_BAD_FORMAT, "\"%s\" is no phase", word);
    }
    if (!status && !ebb_scan_at_line_end(&p->in.scan))
        return ebb_scan_fail(&p->in.scan, EBB_BAD_FORMAT, "expected the end of the line");
    return status;
}

/* What stands on the right of "%3 =", before it is emitted. */
typedef struct node_line {
    uint32_t ids[EBB_MAX_RESULTS];
    int n_ids;
    const ebb_op *op;
    ebb_node *inputs; /* in scratch memory */
    int n_inputs, capacity;
    void *attrs;
    ebb_type types[EBB_MAX_RESULTS];
    char *name;
} node_line;

static bool grow_inputs(parser *p, node_line *line)
{
    int capacity = line->capacity ? 2 * line->capacity : 8;
    size_t bytes = (size_t)capacity * sizeof *line->inputs;
    ebb_node *inputs = ebb_arena_allocate(&p->in.scan.scratch, bytes, 8);
    if (!inputs)
        return false;
    if (line->n_inputs)
        memcpy(inputs, line->inputs, (size_t)line->n_inputs * sizeof *inputs);
    line->inputs = inputs;
    line->capacity = capacity;
    return true;
}

static ebb_status read_op(parser *p, node_line *line)
{
    char word[MAX_WORD];
    ebb_scan_spaces(&p->in.scan);
    const char *start = p->in.scan.at;
    ebb_status status = ebb_scan_word(&p->in.scan, "an op", word);
    if (status)
        return status;
    line->op = strcmp(word, ebb_op_result.name) ? p->in.lookup(p->in.context, word) : NULL;
    if (!line->op) {
        p->in.scan.at = start;
        return ebb_scan_fail(&p->in.scan, EBB_BAD_FORMAT, "there is no op \"%s\"", word);
    }
    if (line->op->n_results != line->n_ids) {
        p->in.scan.at = start;
        return ebb_scan_fail(&p->in.scan, EBB_BAD_FORMAT, "%s has %d results, not %d", word,
                             line->op->n_results, line->n_ids);
    }
    while (ebb_scan_peek(&p->in.scan) == '%') {
        if (line->n_inputs == line->capacity && !grow_inputs(p, line))
            return ebb_scan_fail(&p->in.scan, EBB_OUT_OF_MEMORY, "out of memory");
        status = read_node(p, &line->inputs[line->n_inputs]);
        if (status)
            return status;
        line->n_inputs++;
    }
    return EBB_OK;
}

static ebb_status read_attrs_and_types(parser *p, node_line *line)
{
    const ebb_op *op = line->op;
    const char *data_list = NULL;
    ebb_status status = EBB_OK;
    if (op->attrs_bytes) {
        line->attrs = ebb_arena_allocate(&p->in.scan.scratch, op->attrs_bytes, 16);
        if (!line->attrs)
            return ebb_scan_fail(&p->in.scan, EBB_OUT_OF_MEMORY, "out of memory");
        memset(line->attrs, 0, op->attrs_bytes);
    }
    if (ebb_scan_peek(&p->in.scan) == '{')
        status = ebb_text_read_attrs(&p->in, op, line->attrs, &data_list);
    if (!status)
        status = ebb_scan_expect(&p->in.scan, ':');
    for (int r = 0; r < op->n_results && !status; r++) {
        status = r ? ebb_scan_expect(&p->in.scan, ',') : EBB_OK;
        if (!status)
            status = ebb_scan_type(&p->in.scan, &line->types[r]);
    }
    for (const ebb_attr_field *f = op->attrs; f && f->name && !status; f++) {
        if (f->kind == EBB_ATTR_TYPE)
            memcpy((char *)line->attrs + f->offset, &line->types[0], sizeof *line->types);
    }
    for (const ebb_attr_field *f = op->attrs; f && f->name && !status; f++) {
        void *data = NULL;
        if (f->kind != EBB_ATTR_DATA)
            continue;
        if (!data_list && ebb_type_bytes(&line->types[0]) == 0)
            continue; /* no elements, no data */
        if (!data_list)
            return ebb_scan_fail(&p->in.scan, EBB_BAD_FORMAT, "%s needs \"%s\"", op->name, f->name);
        status = ebb_text_read_data(&p->in, &line->types[0], data_list, &data);
        memcpy((char *)line->attrs + f->offset, &data, sizeof data);
    }
    return status;
}

static ebb_status emit_line(parser *p, const node_line *line)
{
    ebb_node results[EBB_MAX_RESULTS];
    ebb_node node =
        ebb_emit(p->graph, line->op, line->inputs, line->n_inputs, line->attrs, results);
    if (!node.id)
        return ebb_scan_fail(&p->in.scan, p->graph->error.status, "%s", p->graph->error.message);
    if (line->name)
        ebb_named(node, line->name);
    for (int r = 0; r < line->n_ids; r++) {
        char inferred[EBB_TYPE_TEXT_BYTES], given[EBB_TYPE_TEXT_BYTES];
        const ebb_type *type = ebb_node_type(results[r]);
        if (!ebb_type_equal(type, &line->types[r]))
            return ebb_scan_fail(&p->in.scan, EBB_BAD_FORMAT, "%%%u is %s, not %s", line->ids[r],
                                 ebb_type_text(type, inferred),
                                 ebb_type_text(&line->types[r], given));
        ebb_status status = define_id(p, line->ids[r], results[r].id);
        if (status)
            return status;
    }
    return EBB_OK;
}

static ebb_status parse_node(parser *p)
{
    node_line line = { 0 };
    ebb_status status = EBB_OK;
    p->graph->scope = 0;
    p->graph->phase = EBB_FORWARD;
    do {
        if (line.n_ids == EBB_MAX_RESULTS)
            return ebb_scan_fail(&p->in.scan, EBB_BAD_FORMAT, "more than %d results",
                                 EBB_MAX_RESULTS);
        status = read_id(p, &line.ids[line.n_ids++]);
    } while (!status && ebb_scan_take(&p->in.scan, ','));
    if (!status)
        status = ebb_scan_expect(&p->in.scan, '=');
    if (!status)
        status = read_op(p, &line);
    if (!status)
        status = read_attrs_and_types(p, &line);
    if (!status)
        status = read_tail(p, &line.name);
    return status ? status : emit_line(p, &line);
}

static ebb_status parse_update(parser *p)
{
    ebb_node variable, value;
    ebb_status status = read_node(p, &variable);
    if (!status)
        status = read_node(p, &value);
    if (!status && !ebb_scan_at_line_end(&p->in.scan))
        status = ebb_scan_fail(&p->in.scan, EBB_BAD_FORMAT, "expected the end of the line");
    if (status)
        return status;
    (ebb_update)(variable, value);
    if (p->graph->error.status)
        return ebb_scan_fail(&p->in.scan, p->graph->error.status, "%s", p->graph->error.message);
    return EBB_OK;
}

static ebb_status parse_line(parser *p, bool *named)
{
    char word[MAX_WORD];
    if (ebb_scan_peek(&p->in.scan) == '%')
        return parse_node(p);
    const char *start = p->in.scan.at;
    ebb_status status = ebb_scan_word(&p->in.scan, "%, \"update\" or \"graph\"", word);
    if (status)
        return status;
    if (strcmp(word, "update") == 0)
        return parse_update(p);
    if (strcmp(word, "graph") == 0 && !*named && p->graph->n_nodes == 0) {
        char *name;
        *named = true;
        status = ebb_scan_string(&p->in.scan, &name);
        if (!status && !ebb_scan_at_line_end(&p->in.scan))
            status = ebb_scan_fail(&p->in.scan, EBB_BAD_FORMAT, "expected the end of the line");
        if (!status &&
            !(p->graph->name = ebb_arena_copy_text(&p->graph->arena, name, strlen(name))))
            status = ebb_scan_fail(&p->in.scan, EBB_OUT_OF_MEMORY, "out of memory");
        return status;
    }
    p->in.scan.at = start;
    return ebb_scan_fail(&p->in.scan, EBB_BAD_FORMAT, "expected a node or an update, found \"%s\"",
                         word);
}

ebb_status ebb_graph_parse_with(const char *text, size_t text_bytes, ebb_op_lookup lookup,
                                ebb_text_id_seen seen, void *context,
                                const ebb_allocator *allocator, ebb_graph **graph, ebb_error *error)
{
    *graph = NULL;
    if (!text)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "there is no text");
    parser p = { .in = { .scan = { .end = text + text_bytes,
                                   .at = text,
                                   .line_start = text,
                                   .line = 1,
                                   .error = error },
                         .lookup = lookup,
                         .context = context },
                 .seen = seen };
    ebb_text_locale locale;
    p.graph = ebb_graph_create_with(NULL, &(ebb_graph_options){ .allocator = allocator });
    if (!p.graph || !ebb_text_locale_enter(&locale)) {
        ebb_graph_destroy(p.graph);
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "out of memory");
    }
    ebb_status status = EBB_OK;
    bool named = false;
    while (p.in.scan.at < p.in.scan.end && !status) {
        ebb_arena_init(&p.in.scan.scratch, allocator);
        if (!ebb_scan_at_line_end(&p.in.scan))
            status = parse_line(&p, &named);
        ebb_arena_finish(&p.in.scan.scratch);
        if (!status && p.in.scan.at < p.in.scan.end) { /* at the newline */
            p.in.scan.at++;
            p.in.scan.line++;
            p.in.scan.line_start = p.in.scan.at;
        }
    }
    ebb_text_locale_leave(&locale);
    ebb_release(allocator, p.ids, p.ids_capacity * sizeof *p.ids);
    p.graph->scope = 0;
    p.graph->phase = EBB_FORWARD;
    if (status) {
        ebb_graph_destroy(p.graph);
        return status;
    }
    *graph = p.graph;
    return EBB_OK;
}
