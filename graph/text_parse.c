/* The text form, reading. The text may be anything: every error says line and column. */
#include "graph/graph_private.h"

#include "graph/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE_IDS 64 /* inputs of one node */
#define MAX_WORD 256
#define MAX_NUMBER 64

#define FIELD(attrs, field, type) ((type *)(void *)((char *)(attrs) + (field)->offset))

typedef struct id_pair {
    uint32_t text_id;
    uint32_t node_id;
} id_pair;

typedef struct parser {
    const char *text, *end, *at, *line_start;
    int line;
    ebb_op_lookup lookup;
    void *context;
    ebb_graph *graph;
    ebb_error *error;
    ebb_arena scratch; /* names, data and attribute structs until they are emitted */
    id_pair *ids;      /* ascending text ids */
    uint32_t n_ids, ids_capacity;
} parser;

static ebb_status fail(parser *p, ebb_status status, const char *format, ...) EBB_PRINTF(3, 4);
static ebb_status fail(parser *p, ebb_status status, const char *format, ...)
{
    ebb_error inner;
    va_list arguments;
    va_start(arguments, format);
    ebb_fail_v(&inner, status, format, arguments);
    va_end(arguments);
    return ebb_fail(p->error, status, "line %d, column %d: %s", p->line,
                    (int)(p->at - p->line_start) + 1, inner.message);
}

/* ---- words ---- */

static void skip_spaces(parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\r'))
        p->at++;
    if (p->at < p->end && *p->at == '#') {
        while (p->at < p->end && *p->at != '\n')
            p->at++;
    }
}

static char peek(parser *p)
{
    skip_spaces(p);
    return p->at < p->end ? *p->at : '\0';
}

static bool at_line_end(parser *p)
{
    skip_spaces(p);
    return p->at >= p->end || *p->at == '\n';
}

static bool take(parser *p, char c)
{
    if (peek(p) != c || p->at >= p->end)
        return false;
    p->at++;
    return true;
}

static ebb_status expect(parser *p, char c)
{
    return take(p, c) ? EBB_OK : fail(p, EBB_BAD_FORMAT, "expected '%c'", c);
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static ebb_status read_word(parser *p, const char *what, char word[MAX_WORD])
{
    skip_spaces(p);
    size_t n = 0;
    while (p->at + n < p->end && is_word_char(p->at[n]))
        n++;
    if (n == 0 || n >= MAX_WORD)
        return fail(p, EBB_BAD_FORMAT, "expected %s", what);
    memcpy(word, p->at, n);
    word[n] = 0;
    p->at += n;
    return EBB_OK;
}

static ebb_status read_i64(parser *p, int64_t low, int64_t high, int64_t *value)
{
    skip_spaces(p);
    char digits[MAX_NUMBER];
    size_t n = 0;
    while (p->at + n < p->end && n < sizeof digits - 1 &&
           (is_word_char(p->at[n]) || (n == 0 && p->at[n] == '-'))) {
        digits[n] = p->at[n];
        n++;
    }
    digits[n] = 0;
    char *stop;
    errno = 0;
    long long read = strtoll(digits, &stop, 10);
    if (n == 0 || *stop || errno)
        return fail(p, EBB_BAD_FORMAT, "expected an integer");
    if (read < low || read > high)
        return fail(p, EBB_BAD_FORMAT, "%lld is out of range", read);
    p->at += n;
    *value = read;
    return EBB_OK;
}

static ebb_status read_f64(parser *p, double *value)
{
    skip_spaces(p);
    char digits[MAX_NUMBER];
    size_t n = 0;
    while (p->at + n < p->end && n < sizeof digits - 1 &&
           (is_word_char(p->at[n]) || p->at[n] == '-' || p->at[n] == '+' || p->at[n] == '.')) {
        digits[n] = p->at[n];
        n++;
    }
    digits[n] = 0;
    char *stop;
    *value = strtod(digits, &stop);
    if (n == 0 || *stop)
        return fail(p, EBB_BAD_FORMAT, "expected a number");
    p->at += n;
    return EBB_OK;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static ebb_status read_string(parser *p, char **string)
{
    ebb_status status = expect(p, '"');
    if (status)
        return status;
    size_t n = 0;
    const char *close = p->at;
    while (close < p->end && *close != '"' && *close != '\n')
        close += close + 1 < p->end && *close == '\\' ? 2 : 1;
    if (close >= p->end || *close != '"')
        return fail(p, EBB_BAD_FORMAT, "the string does not end");
    char *copy = ebb_arena_allocate(&p->scratch, (size_t)(close - p->at) + 1, 1);
    if (!copy)
        return fail(p, EBB_OUT_OF_MEMORY, "out of memory");
    while (p->at < close) {
        char c = *p->at++;
        if (c == '\\') {
            c = *p->at++;
            if (c == 'x' && close - p->at >= 2 && hex_value(p->at[0]) >= 0 &&
                hex_value(p->at[1]) >= 0) {
                c = (char)(hex_value(p->at[0]) * 16 + hex_value(p->at[1]));
                p->at += 2;
            } else if (c != '"' && c != '\\') {
                return fail(p, EBB_BAD_FORMAT, "unknown escape in a string");
            }
        }
        if (c == 0)
            return fail(p, EBB_BAD_FORMAT, "a string may not contain a zero byte");
        copy[n++] = c;
    }
    copy[n] = 0;
    p->at = close + 1;
    *string = copy;
    return EBB_OK;
}

static ebb_status read_shape(parser *p, ebb_shape *shape)
{
    *shape = (ebb_shape){ 0 };
    ebb_status status = expect(p, '[');
    if (status || take(p, ']'))
        return status;
    do {
        if (shape->rank == EBB_MAX_RANK)
            return fail(p, EBB_BAD_FORMAT, "more than %d dimensions", EBB_MAX_RANK);
        status = read_i64(p, -1, INT64_MAX, &shape->dims[shape->rank]);
        if (status)
            return status;
        shape->rank++;
    } while (take(p, ','));
    return expect(p, ']');
}

static ebb_status read_type(parser *p, ebb_type *type)
{
    char word[MAX_WORD];
    ebb_status status = read_word(p, "a type", word);
    if (status)
        return status;
    if (!ebb_dtype_parse(word, &type->dtype))
        return fail(p, EBB_BAD_FORMAT, "\"%s\" is no dtype", word);
    status = read_shape(p, &type->shape);
    if (!status && !ebb_shape_is_valid(&type->shape))
        return fail(p, EBB_BAD_FORMAT, "a negative or overflowing dimension");
    return status;
}

static ebb_status read_id(parser *p, uint32_t *text_id)
{
    ebb_status status = expect(p, '%');
    int64_t value = 0;
    if (!status)
        status = read_i64(p, 1, UINT32_MAX - 1, &value);
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
        return fail(p, EBB_BAD_FORMAT, "%%%u is not defined above", text_id);
    *node = (ebb_node){ p->graph, p->ids[low].node_id };
    return EBB_OK;
}

static ebb_status define_id(parser *p, uint32_t text_id, uint32_t node_id)
{
    if (p->n_ids && p->ids[p->n_ids - 1].text_id >= text_id)
        return fail(p, EBB_BAD_FORMAT, "%%%u does not ascend: ids must", text_id);
    if (!ebb_grow(p->graph->allocator, &p->ids, p->n_ids, &p->ids_capacity, sizeof *p->ids))
        return fail(p, EBB_OUT_OF_MEMORY, "out of memory");
    p->ids[p->n_ids++] = (id_pair){ text_id, node_id };
    return EBB_OK;
}

/* ---- attributes ---- */

static ebb_status read_axes(parser *p, ebb_axes *axes)
{
    ebb_status status = expect(p, '[');
    axes->n = 0;
    if (status || take(p, ']'))
        return status;
    do {
        int64_t axis;
        if (axes->n == EBB_MAX_RANK)
            return fail(p, EBB_BAD_FORMAT, "more than %d axes", EBB_MAX_RANK);
        status = read_i64(p, INT32_MIN, INT32_MAX, &axis);
        if (status)
            return status;
        axes->axes[axes->n++] = (int)axis;
    } while (take(p, ','));
    return expect(p, ']');
}

static ebb_status read_enum(parser *p, const ebb_attr_field *f, int *value)
{
    char word[MAX_WORD];
    skip_spaces(p);
    const char *start = p->at;
    ebb_status status = read_word(p, "a name", word);
    if (status)
        return status;
    for (int i = 0; f->enum_names && f->enum_names[i]; i++) {
        if (strcmp(f->enum_names[i], word) == 0) {
            *value = i;
            return EBB_OK;
        }
    }
    p->at = start;
    return fail(p, EBB_BAD_FORMAT, "%s cannot be \"%s\"", f->name, word);
}

/* Steps over [...]; the elements are read when the type is known. */
static ebb_status skip_list(parser *p, const char **list)
{
    if (peek(p) != '[')
        return fail(p, EBB_BAD_FORMAT, "expected '['");
    *list = p->at;
    while (p->at < p->end && *p->at != ']' && *p->at != '\n')
        p->at++;
    return expect(p, ']');
}

static ebb_status read_field(parser *p, const ebb_attr_field *f, void *attrs,
                             const char **data_list)
{
    char word[MAX_WORD];
    ebb_status status = EBB_OK;
    switch (f->kind) {
    case EBB_ATTR_BOOL:
        status = read_word(p, "true or false", word);
        if (!status && strcmp(word, "true") != 0 && strcmp(word, "false") != 0)
            return fail(p, EBB_BAD_FORMAT, "expected true or false");
        if (!status)
            *FIELD(attrs, f, bool) = word[0] == 't';
        return status;
    case EBB_ATTR_I64:
        return read_i64(p, INT64_MIN, INT64_MAX, FIELD(attrs, f, int64_t));
    case EBB_ATTR_F64:
        return read_f64(p, FIELD(attrs, f, double));
    case EBB_ATTR_ENUM:
        return read_enum(p, f, FIELD(attrs, f, int));
    case EBB_ATTR_NAME:
        return read_string(p, FIELD(attrs, f, char *));
    case EBB_ATTR_DTYPE:
        status = read_word(p, "a dtype", word);
        if (!status && !ebb_dtype_parse(word, FIELD(attrs, f, ebb_dtype)))
            return fail(p, EBB_BAD_FORMAT, "\"%s\" is no dtype", word);
        return status;
    case EBB_ATTR_SHAPE:
        return read_shape(p, FIELD(attrs, f, ebb_shape));
    case EBB_ATTR_AXES:
        return read_axes(p, FIELD(attrs, f, ebb_axes));
    case EBB_ATTR_DATA:
        return skip_list(p, data_list);
    case EBB_ATTR_TYPE:
        return fail(p, EBB_BAD_FORMAT, "%s stands behind the colon, not in braces", f->name);
    }
    return EBB_OK;
}

static ebb_status read_attrs(parser *p, const ebb_op *op, void *attrs, const char **data_list)
{
    ebb_status status = expect(p, '{');
    uint64_t seen = 0;
    if (status || take(p, '}'))
        return status;
    do {
        char name[MAX_WORD];
        status = read_word(p, "an attribute", name);
        if (status)
            return status;
        int i = 0;
        while (op->attrs && op->attrs[i].name && strcmp(op->attrs[i].name, name) != 0)
            i++;
        if (!op->attrs || !op->attrs[i].name)
            return fail(p, EBB_BAD_FORMAT, "%s has no attribute \"%s\"", op->name, name);
        if (i < 64 && seen >> i & 1)
            return fail(p, EBB_BAD_FORMAT, "attribute \"%s\" is given twice", name);
        seen |= i < 64 ? UINT64_C(1) << i : 0;
        status = expect(p, '=');
        if (!status)
            status = read_field(p, &op->attrs[i], attrs, data_list);
        if (status)
            return status;
    } while (take(p, ','));
    return expect(p, '}');
}

/* Reads the elements of a data attribute, now that the declared type is known. */
static ebb_status read_data(parser *p, const ebb_type *type, const char *list, void **data)
{
    const char *after = p->at;
    p->at = list + 1;
    int64_t n = ebb_shape_elements(&type->shape);
    if (n > p->end - p->at) /* each element takes a character at least */
        return fail(p, EBB_BAD_FORMAT, "%lld elements cannot stand here", (long long)n);
    size_t bytes = ebb_type_bytes(type);
    ebb_tensor tensor = { .type = *type };
    tensor.data = *data = ebb_arena_allocate(&p->scratch, bytes, EBB_ALIGNMENT);
    if (!*data)
        return fail(p, EBB_OUT_OF_MEMORY, "out of memory");
    memset(*data, 0, bytes);
    for (int64_t i = 0; i < n; i++) {
        ebb_status status = i ? expect(p, ',') : EBB_OK;
        double value;
        int64_t integer;
        if (!status && type->dtype == EBB_I64) {
            status = read_i64(p, INT64_MIN, INT64_MAX, &integer);
            if (!status)
                ((int64_t *)*data)[i] = integer;
        } else if (!status) {
            status = read_f64(p, &value);
            if (!status)
                ebb_tensor_set(&tensor, i, value);
        }
        if (status)
            return status;
    }
    ebb_status status = expect(p, ']');
    p->at = after;
    return status;
}

/* ---- lines ---- */

/* "@block1/h", "@block1/", "@h": sets the scope and gives the name back. */
static ebb_status read_place(parser *p, char **name)
{
    const char *start = p->at, *stop = start, *own = start;
    for (; stop<p->end && * stop> ' '; stop++) {
        if (*stop != '/')
            continue;
        if (!ebb_name_is_valid(own, (size_t)(stop - own)))
            return fail(p, EBB_BAD_FORMAT, "bad scope name behind @");
        own = stop + 1;
    }
    *name = NULL;
    if (own < stop) {
        if (!ebb_name_is_valid(own, (size_t)(stop - own)))
            return fail(p, EBB_BAD_FORMAT, "bad name behind @");
        *name = ebb_arena_copy_text(&p->scratch, own, (size_t)(stop - own));
        if (!*name)
            return fail(p, EBB_OUT_OF_MEMORY, "out of memory");
    }
    uint32_t scope = ebb_scope_intern(p->graph, start, (size_t)(own - start));
    if (scope == UINT32_MAX)
        return fail(p, EBB_LIMIT, "scopes too deep, or out of memory");
    p->graph->scope = scope;
    p->at = stop;
    return EBB_OK;
}

static ebb_status read_tail(parser *p, char **name)
{
    char word[MAX_WORD];
    ebb_status status = EBB_OK;
    if (take(p, '@'))
        status = read_place(p, name);
    if (!status && take(p, '!')) {
        status = read_word(p, "a phase", word);
        if (!status && strcmp(word, "backward") == 0)
            p->graph->phase = EBB_BACKWARD;
        else if (!status && strcmp(word, "update") == 0)
            p->graph->phase = EBB_UPDATE;
        else if (!status)
            return fail(p, EBB_BAD_FORMAT, "\"%s\" is no phase", word);
    }
    if (!status && !at_line_end(p))
        return fail(p, EBB_BAD_FORMAT, "expected the end of the line");
    return status;
}

/* What stands on the right of "%3 =", before it is emitted. */
typedef struct node_line {
    uint32_t ids[EBB_MAX_RESULTS];
    int n_ids;
    const ebb_op *op;
    ebb_node inputs[MAX_LINE_IDS];
    int n_inputs;
    void *attrs;
    ebb_type types[EBB_MAX_RESULTS];
    char *name;
} node_line;

static ebb_status read_op(parser *p, node_line *line)
{
    char word[MAX_WORD];
    skip_spaces(p);
    const char *start = p->at;
    ebb_status status = read_word(p, "an op", word);
    if (status)
        return status;
    line->op = strcmp(word, ebb_op_result.name) ? p->lookup(p->context, word) : NULL;
    if (!line->op) {
        p->at = start;
        return fail(p, EBB_BAD_FORMAT, "there is no op \"%s\"", word);
    }
    if (line->op->n_results != line->n_ids) {
        p->at = start;
        return fail(p, EBB_BAD_FORMAT, "%s has %d results, not %d", word, line->op->n_results,
                    line->n_ids);
    }
    while (peek(p) == '%') {
        if (line->n_inputs == MAX_LINE_IDS)
            return fail(p, EBB_LIMIT, "more than %d inputs", MAX_LINE_IDS);
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
        line->attrs = ebb_arena_allocate(&p->scratch, op->attrs_bytes, 16);
        if (!line->attrs)
            return fail(p, EBB_OUT_OF_MEMORY, "out of memory");
        memset(line->attrs, 0, op->attrs_bytes);
    }
    if (peek(p) == '{')
        status = read_attrs(p, op, line->attrs, &data_list);
    if (!status)
        status = expect(p, ':');
    for (int r = 0; r < op->n_results && !status; r++) {
        status = r ? expect(p, ',') : EBB_OK;
        if (!status)
            status = read_type(p, &line->types[r]);
    }
    for (const ebb_attr_field *f = op->attrs; f && f->name && !status; f++) {
        if (f->kind == EBB_ATTR_TYPE)
            *FIELD(line->attrs, f, ebb_type) = line->types[0];
    }
    for (const ebb_attr_field *f = op->attrs; f && f->name && !status; f++) {
        void *data = NULL;
        if (f->kind != EBB_ATTR_DATA)
            continue;
        if (!data_list)
            return fail(p, EBB_BAD_FORMAT, "%s needs \"%s\"", op->name, f->name);
        status = read_data(p, &line->types[0], data_list, &data);
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
        return fail(p, p->graph->error.status, "%s", p->graph->error.message);
    if (line->name)
        ebb_named(node, line->name);
    for (int r = 0; r < line->n_ids; r++) {
        char inferred[EBB_TYPE_TEXT_BYTES], given[EBB_TYPE_TEXT_BYTES];
        const ebb_type *type = ebb_node_type(results[r]);
        if (!ebb_type_equal(type, &line->types[r]))
            return fail(p, EBB_BAD_FORMAT, "%%%u is %s, not %s", line->ids[r],
                        ebb_type_text(type, inferred), ebb_type_text(&line->types[r], given));
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
            return fail(p, EBB_BAD_FORMAT, "more than %d results", EBB_MAX_RESULTS);
        status = read_id(p, &line.ids[line.n_ids++]);
    } while (!status && take(p, ','));
    if (!status)
        status = expect(p, '=');
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
    if (!status && !at_line_end(p))
        status = fail(p, EBB_BAD_FORMAT, "expected the end of the line");
    if (status)
        return status;
    (ebb_update)(variable, value);
    if (p->graph->error.status)
        return fail(p, p->graph->error.status, "%s", p->graph->error.message);
    return EBB_OK;
}

static ebb_status parse_line(parser *p, bool *named)
{
    char word[MAX_WORD];
    if (peek(p) == '%')
        return parse_node(p);
    const char *start = p->at;
    ebb_status status = read_word(p, "%, \"update\" or \"graph\"", word);
    if (status)
        return status;
    if (strcmp(word, "update") == 0)
        return parse_update(p);
    if (strcmp(word, "graph") == 0 && !*named && p->graph->n_nodes == 0) {
        char *name;
        *named = true;
        status = read_string(p, &name);
        if (!status && !at_line_end(p))
            status = fail(p, EBB_BAD_FORMAT, "expected the end of the line");
        if (!status &&
            !(p->graph->name = ebb_arena_copy_text(&p->graph->arena, name, strlen(name))))
            status = fail(p, EBB_OUT_OF_MEMORY, "out of memory");
        return status;
    }
    p->at = start;
    return fail(p, EBB_BAD_FORMAT, "expected a node or an update, found \"%s\"", word);
}

ebb_status ebb_graph_parse_with(const char *text, size_t text_bytes, ebb_op_lookup lookup,
                                void *context, const ebb_allocator *allocator, ebb_graph **graph,
                                ebb_error *error)
{
    *graph = NULL;
    if (!text)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "there is no text");
    parser p = { .text = text,
                 .end = text + text_bytes,
                 .at = text,
                 .line_start = text,
                 .line = 1,
                 .lookup = lookup,
                 .context = context,
                 .error = error };
    ebb_text_locale locale;
    p.graph = ebb_graph_create_with(NULL, &(ebb_graph_options){ .allocator = allocator });
    if (!p.graph || !ebb_text_locale_enter(&locale)) {
        ebb_graph_destroy(p.graph);
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "out of memory");
    }
    ebb_status status = EBB_OK;
    bool named = false;
    while (p.at < p.end && !status) {
        ebb_arena_init(&p.scratch, allocator);
        if (!at_line_end(&p))
            status = parse_line(&p, &named);
        ebb_arena_finish(&p.scratch);
        if (!status && p.at < p.end) { /* at the newline */
            p.at++;
            p.line++;
            p.line_start = p.at;
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
