/* The text form, reading. The text may be anything: every error says line and column. */
#include "graph/graph_private.h"

#include "graph/text.h"
#include "graph/text_scan.h"

#include <string.h>

/* A field of an attribute struct that is being filled. */
#define ATTR(attrs, field, type) ((type *)(void *)((char *)(attrs) + (field)->offset))

typedef struct id_pair {
    uint32_t text_id;
    uint32_t node_id;
} id_pair;

typedef struct parser {
    ebb_scanner scan;
    ebb_op_lookup lookup;
    ebb_text_id_seen seen; /* NULL: nobody wants to know */
    void *context;
    ebb_graph *graph;
    id_pair *ids; /* ascending text ids */
    uint32_t n_ids, ids_capacity;
} parser;

static ebb_status read_id(parser *p, uint32_t *text_id)
{
    ebb_status status = ebb_scan_expect(&p->scan, '%');
    int64_t value = 0;
    if (!status)
        status = ebb_scan_i64(&p->scan, 1, UINT32_MAX - 1, &value);
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
        return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "%%%u is not defined above", text_id);
    *node = (ebb_node){ p->graph, p->ids[low].node_id };
    return EBB_OK;
}

static ebb_status define_id(parser *p, uint32_t text_id, uint32_t node_id)
{
    if (p->n_ids && p->ids[p->n_ids - 1].text_id >= text_id)
        return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "%%%u does not ascend: ids must", text_id);
    if (!ebb_grow(p->graph->allocator, &p->ids, p->n_ids, &p->ids_capacity, sizeof *p->ids))
        return ebb_scan_fail(&p->scan, EBB_OUT_OF_MEMORY, "out of memory");
    p->ids[p->n_ids++] = (id_pair){ text_id, node_id };
    if (p->seen)
        p->seen(p->context, text_id, ebb_graph_node(p->graph, node_id));
    return EBB_OK;
}

/* ---- attributes ---- */

/* "[1,-2]", at most EBB_MAX_RANK numbers in low..high. `what` is for the message. */
static ebb_status read_list(parser *p, const char *what, int64_t low, int64_t high, int *n,
                            int64_t values[EBB_MAX_RANK])
{
    ebb_status status = ebb_scan_expect(&p->scan, '[');
    *n = 0;
    if (status || ebb_scan_take(&p->scan, ']'))
        return status;
    do {
        if (*n == EBB_MAX_RANK)
            return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "more than %d %s", EBB_MAX_RANK, what);
        status = ebb_scan_i64(&p->scan, low, high, &values[*n]);
        if (status)
            return status;
        ++*n;
    } while (ebb_scan_take(&p->scan, ','));
    return ebb_scan_expect(&p->scan, ']');
}

static ebb_status read_axes(parser *p, ebb_axes *axes)
{
    int64_t values[EBB_MAX_RANK];
    ebb_status status = read_list(p, "axes", INT32_MIN, INT32_MAX, &axes->n, values);
    for (int i = 0; i < axes->n && !status; i++)
        axes->axes[i] = (int)values[i];
    return status;
}

static ebb_status read_enum(parser *p, const ebb_attr_field *f, int *value)
{
    char word[MAX_WORD];
    ebb_scan_spaces(&p->scan);
    const char *start = p->scan.at;
    ebb_status status = ebb_scan_word(&p->scan, "a name", word);
    if (status)
        return status;
    for (int i = 0; f->enum_names && f->enum_names[i]; i++) {
        if (strcmp(f->enum_names[i], word) == 0) {
            *value = i;
            return EBB_OK;
        }
    }
    p->scan.at = start;
    return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "%s cannot be \"%s\"", f->name, word);
}

/* Steps over [...]; the elements are read when the type is known. */
static ebb_status skip_list(parser *p, const char **list)
{
    if (ebb_scan_peek(&p->scan) != '[')
        return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "expected '['");
    *list = p->scan.at;
    while (p->scan.at < p->scan.end && *p->scan.at != ']' && *p->scan.at != '\n')
        p->scan.at++;
    return ebb_scan_expect(&p->scan, ']');
}

static ebb_status read_attrs(parser *p, const ebb_op *op, void *attrs, const char **data_list);

/* The number of a value below `end`. */
static ebb_status read_value(parser *p, int64_t end, int32_t *value)
{
    int64_t number = 0;
    ebb_status status = ebb_scan_expect(&p->scan, '$');
    if (!status)
        status = ebb_scan_i64(&p->scan, 0, end - 1, &number);
    *value = (int32_t)number;
    return status;
}

static ebb_status read_element(parser *p, ebb_instruction *instruction)
{
    ebb_tensor element = ebb_tensor_borrow(instruction->dtype, EBB_SCALAR, &instruction->bits);
    if (instruction->dtype == EBB_I64) {
        int64_t integer = 0;
        ebb_status status = ebb_scan_i64(&p->scan, INT64_MIN, INT64_MAX, &integer);
        memcpy(&instruction->bits, &integer, sizeof integer);
        return status;
    }
    double value = 0;
    ebb_status status = ebb_scan_f64(&p->scan, &value);
    if (!status)
        ebb_tensor_set(&element, 0, value);
    return status;
}

/* What stands behind "$4 =", which may read `n_values` values. */
static ebb_status read_instruction(parser *p, int64_t n_values, ebb_instruction *instruction)
{
    char word[MAX_WORD];
    const char *data_list = NULL;
    ebb_status status = ebb_scan_word(&p->scan, "an op or a dtype", word);
    if (status)
        return status;
    if (ebb_dtype_parse(word, &instruction->dtype))
        return read_element(p, instruction);
    const ebb_op *op = p->lookup(p->context, word);
    if (!ebb_op_is_instruction(op))
        return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "\"%s\" is no op that a program may contain",
                             word);
    instruction->op = op;
    for (int i = 0; i < op->n_inputs && !status; i++)
        status = read_value(p, n_values, &instruction->inputs[i]);
    if (status || !op->attrs_bytes)
        return status;
    void *attrs = ebb_arena_allocate(&p->scan.scratch, op->attrs_bytes, 16);
    if (!attrs)
        return ebb_scan_fail(&p->scan, EBB_OUT_OF_MEMORY, "out of memory");
    memset(attrs, 0, op->attrs_bytes);
    instruction->attrs = attrs;
    return ebb_scan_peek(&p->scan) == '{' ? read_attrs(p, op, attrs, &data_list) : EBB_OK;
}

/* Room for twice as many instructions. */
static ebb_instruction *extend_program(parser *p, const ebb_program *program, int *capacity)
{
    *capacity = *capacity ? 2 * *capacity : 16;
    size_t bytes = (size_t)*capacity * sizeof(ebb_instruction);
    ebb_instruction *instructions = ebb_arena_allocate(&p->scan.scratch, bytes, 16);
    if (instructions && program->n_instructions)
        memcpy(instructions, program->instructions,
               (size_t)program->n_instructions * sizeof *instructions);
    return instructions;
}

static ebb_status read_program(parser *p, const ebb_program **result)
{
    ebb_program *program = ebb_arena_allocate(&p->scan.scratch, sizeof *program, 16);
    int32_t *results =
        ebb_arena_allocate(&p->scan.scratch, EBB_MAX_RESULTS * sizeof *results, sizeof *results);
    ebb_instruction *instructions = NULL;
    int capacity = 0;
    if (!program || !results)
        return ebb_scan_fail(&p->scan, EBB_OUT_OF_MEMORY, "out of memory");
    *program = (ebb_program){ .results = results };
    *result = program;
    ebb_status status = ebb_scan_expect(&p->scan, '(');
    while (!status && (program->n_instructions == 0 || ebb_scan_peek(&p->scan) == '$')) {
        int32_t number;
        status = read_value(p, EBB_MAX_PROGRAM_INPUTS + EBB_MAX_INSTRUCTIONS, &number);
        if (!status && program->n_instructions == 0)
            program->n_inputs = number;
        const int n_values = program->n_inputs + program->n_instructions;
        if (!status && number != n_values)
            return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "$%d where $%d is next", number,
                                 n_values);
        if (!status)
            status = ebb_scan_expect(&p->scan, '=');
        if (status)
            return status;
        if (program->n_instructions == capacity &&
            !(program->instructions = instructions = extend_program(p, program, &capacity)))
            return ebb_scan_fail(&p->scan, EBB_OUT_OF_MEMORY, "out of memory");
        instructions[program->n_instructions] = (ebb_instruction){ .op = NULL };
        status = read_instruction(p, n_values, &instructions[program->n_instructions++]);
        if (!status)
            status = ebb_scan_expect(&p->scan, ';');
    }
    char word[MAX_WORD];
    if (!status)
        status = ebb_scan_word(&p->scan, "$ or return", word);
    if (!status && strcmp(word, "return") != 0)
        return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "expected return");
    while (!status && ebb_scan_peek(&p->scan) == '$') {
        if (program->n_results == EBB_MAX_RESULTS)
            return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "more than %d results", EBB_MAX_RESULTS);
        status = read_value(p, program->n_inputs + program->n_instructions,
                            &results[program->n_results++]);
    }
    return status ? status : ebb_scan_expect(&p->scan, ')');
}

static ebb_status read_field(parser *p, const ebb_attr_field *f, void *attrs,
                             const char **data_list)
{
    char word[MAX_WORD];
    ebb_status status = EBB_OK;
    switch (f->kind) {
    case EBB_ATTR_BOOL:
        status = ebb_scan_word(&p->scan, "true or false", word);
        if (!status && strcmp(word, "true") != 0 && strcmp(word, "false") != 0)
            return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "expected true or false");
        if (!status)
            *ATTR(attrs, f, bool) = word[0] == 't';
        return status;
    case EBB_ATTR_I64:
        return ebb_scan_i64(&p->scan, INT64_MIN, INT64_MAX, ATTR(attrs, f, int64_t));
    case EBB_ATTR_F64:
        return ebb_scan_f64(&p->scan, ATTR(attrs, f, double));
    case EBB_ATTR_ENUM:
        return read_enum(p, f, ATTR(attrs, f, int));
    case EBB_ATTR_NAME:
        return ebb_scan_string(&p->scan, ATTR(attrs, f, char *));
    case EBB_ATTR_DTYPE:
        status = ebb_scan_word(&p->scan, "a dtype", word);
        if (!status && !ebb_dtype_parse(word, ATTR(attrs, f, ebb_dtype)))
            return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "\"%s\" is no dtype", word);
        return status;
    case EBB_ATTR_SHAPE:
        return ebb_scan_shape(&p->scan, ATTR(attrs, f, ebb_shape));
    case EBB_ATTR_AXES:
        return read_axes(p, ATTR(attrs, f, ebb_axes));
    case EBB_ATTR_INTS: {
        ebb_ints *ints = ATTR(attrs, f, ebb_ints);
        return read_list(p, "numbers", INT64_MIN, INT64_MAX, &ints->n, ints->values);
    }
    case EBB_ATTR_DATA:
        return skip_list(p, data_list);
    case EBB_ATTR_PROGRAM:
        return read_program(p, ATTR(attrs, f, const ebb_program *));
    case EBB_ATTR_TYPE:
        return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "%s stands behind the colon, not in braces",
                             f->name);
    }
    return EBB_OK;
}

static ebb_status read_attrs(parser *p, const ebb_op *op, void *attrs, const char **data_list)
{
    ebb_status status = ebb_scan_expect(&p->scan, '{');
    uint64_t seen = 0;
    if (status || ebb_scan_take(&p->scan, '}'))
        return status;
    do {
        char name[MAX_WORD];
        status = ebb_scan_word(&p->scan, "an attribute", name);
        if (status)
            return status;
        int i = 0;
        while (op->attrs && op->attrs[i].name && strcmp(op->attrs[i].name, name) != 0)
            i++;
        if (!op->attrs || !op->attrs[i].name)
            return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "%s has no attribute \"%s\"", op->name,
                                 name);
        if (i < 64 && seen >> i & 1)
            return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "attribute \"%s\" is given twice", name);
        seen |= i < 64 ? UINT64_C(1) << i : 0;
        status = ebb_scan_expect(&p->scan, '=');
        if (!status)
            status = read_field(p, &op->attrs[i], attrs, data_list);
        if (status)
            return status;
    } while (ebb_scan_take(&p->scan, ','));
    return ebb_scan_expect(&p->scan, '}');
}

/* Reads the elements of a data attribute, now that the declared type is known. */
static ebb_status read_data(parser *p, const ebb_type *type, const char *list, void **data)
{
    const char *after = p->scan.at;
    p->scan.at = list + 1;
    int64_t n = ebb_shape_elements(&type->shape);
    if (n > p->scan.end - p->scan.at) /* each element takes a character at least */
        return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "%lld elements cannot stand here",
                             (long long)n);
    size_t bytes = ebb_type_bytes(type);
    ebb_tensor tensor = { .type = *type };
    tensor.data = *data = ebb_arena_allocate(&p->scan.scratch, bytes, EBB_ALIGNMENT);
    if (!*data)
        return ebb_scan_fail(&p->scan, EBB_OUT_OF_MEMORY, "out of memory");
    memset(*data, 0, bytes);
    for (int64_t i = 0; i < n; i++) {
        ebb_status status = i ? ebb_scan_expect(&p->scan, ',') : EBB_OK;
        double value;
        int64_t integer;
        if (!status && type->dtype == EBB_I64) {
            status = ebb_scan_i64(&p->scan, INT64_MIN, INT64_MAX, &integer);
            if (!status)
                ((int64_t *)*data)[i] = integer;
        } else if (!status) {
            status = ebb_scan_f64(&p->scan, &value);
            if (!status)
                ebb_tensor_set(&tensor, i, value);
        }
        if (status)
            return status;
    }
    ebb_status status = ebb_scan_expect(&p->scan, ']');
    p->scan.at = after;
    return status;
}

/* ---- lines ---- */

/* "@block1/h", "@block1/", "@h": sets the scope and gives the name back. */
static ebb_status read_place(parser *p, char **name)
{
    const char *start = p->scan.at, *stop = start, *own = start;
    for (; stop<p->scan.end && * stop> ' '; stop++) {
        if (*stop != '/')
            continue;
        if (!ebb_name_is_valid(own, (size_t)(stop - own)))
            return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "bad scope name behind @");
        own = stop + 1;
    }
    *name = NULL;
    if (own < stop) {
        if (!ebb_name_is_valid(own, (size_t)(stop - own)))
            return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "bad name behind @");
        *name = ebb_arena_copy_text(&p->scan.scratch, own, (size_t)(stop - own));
        if (!*name)
            return ebb_scan_fail(&p->scan, EBB_OUT_OF_MEMORY, "out of memory");
    }
    uint32_t scope = ebb_scope_intern(p->graph, start, (size_t)(own - start));
    if (scope == UINT32_MAX)
        return ebb_scan_fail(&p->scan, EBB_LIMIT, "scopes too deep, or out of memory");
    p->graph->scope = scope;
    p->scan.at = stop;
    return EBB_OK;
}

static ebb_status read_tail(parser *p, char **name)
{
    char word[MAX_WORD];
    ebb_status status = EBB_OK;
    if (ebb_scan_take(&p->scan, '@'))
        status = read_place(p, name);
    if (!status && ebb_scan_take(&p->scan, '!')) {
        status = ebb_scan_word(&p->scan, "a phase", word);
        if (!status && strcmp(word, "backward") == 0)
            p->graph->phase = EBB_BACKWARD;
        else if (!status && strcmp(word, "update") == 0)
            p->graph->phase = EBB_UPDATE;
        else if (!status)
            return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "\"%s\" is no phase", word);
    }
    if (!status && !ebb_scan_at_line_end(&p->scan))
        return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "expected the end of the line");
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
    ebb_node *inputs = ebb_arena_allocate(&p->scan.scratch, bytes, 8);
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
    ebb_scan_spaces(&p->scan);
    const char *start = p->scan.at;
    ebb_status status = ebb_scan_word(&p->scan, "an op", word);
    if (status)
        return status;
    line->op = strcmp(word, ebb_op_result.name) ? p->lookup(p->context, word) : NULL;
    if (!line->op) {
        p->scan.at = start;
        return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "there is no op \"%s\"", word);
    }
    if (line->op->n_results != line->n_ids) {
        p->scan.at = start;
        return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "%s has %d results, not %d", word,
                             line->op->n_results, line->n_ids);
    }
    while (ebb_scan_peek(&p->scan) == '%') {
        if (line->n_inputs == line->capacity && !grow_inputs(p, line))
            return ebb_scan_fail(&p->scan, EBB_OUT_OF_MEMORY, "out of memory");
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
        line->attrs = ebb_arena_allocate(&p->scan.scratch, op->attrs_bytes, 16);
        if (!line->attrs)
            return ebb_scan_fail(&p->scan, EBB_OUT_OF_MEMORY, "out of memory");
        memset(line->attrs, 0, op->attrs_bytes);
    }
    if (ebb_scan_peek(&p->scan) == '{')
        status = read_attrs(p, op, line->attrs, &data_list);
    if (!status)
        status = ebb_scan_expect(&p->scan, ':');
    for (int r = 0; r < op->n_results && !status; r++) {
        status = r ? ebb_scan_expect(&p->scan, ',') : EBB_OK;
        if (!status)
            status = ebb_scan_type(&p->scan, &line->types[r]);
    }
    for (const ebb_attr_field *f = op->attrs; f && f->name && !status; f++) {
        if (f->kind == EBB_ATTR_TYPE)
            *ATTR(line->attrs, f, ebb_type) = line->types[0];
    }
    for (const ebb_attr_field *f = op->attrs; f && f->name && !status; f++) {
        void *data = NULL;
        if (f->kind != EBB_ATTR_DATA)
            continue;
        if (!data_list && ebb_type_bytes(&line->types[0]) == 0)
            continue; /* no elements, no data */
        if (!data_list)
            return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "%s needs \"%s\"", op->name, f->name);
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
        return ebb_scan_fail(&p->scan, p->graph->error.status, "%s", p->graph->error.message);
    if (line->name)
        ebb_named(node, line->name);
    for (int r = 0; r < line->n_ids; r++) {
        char inferred[EBB_TYPE_TEXT_BYTES], given[EBB_TYPE_TEXT_BYTES];
        const ebb_type *type = ebb_node_type(results[r]);
        if (!ebb_type_equal(type, &line->types[r]))
            return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "%%%u is %s, not %s", line->ids[r],
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
            return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "more than %d results", EBB_MAX_RESULTS);
        status = read_id(p, &line.ids[line.n_ids++]);
    } while (!status && ebb_scan_take(&p->scan, ','));
    if (!status)
        status = ebb_scan_expect(&p->scan, '=');
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
    if (!status && !ebb_scan_at_line_end(&p->scan))
        status = ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "expected the end of the line");
    if (status)
        return status;
    (ebb_update)(variable, value);
    if (p->graph->error.status)
        return ebb_scan_fail(&p->scan, p->graph->error.status, "%s", p->graph->error.message);
    return EBB_OK;
}

static ebb_status parse_line(parser *p, bool *named)
{
    char word[MAX_WORD];
    if (ebb_scan_peek(&p->scan) == '%')
        return parse_node(p);
    const char *start = p->scan.at;
    ebb_status status = ebb_scan_word(&p->scan, "%, \"update\" or \"graph\"", word);
    if (status)
        return status;
    if (strcmp(word, "update") == 0)
        return parse_update(p);
    if (strcmp(word, "graph") == 0 && !*named && p->graph->n_nodes == 0) {
        char *name;
        *named = true;
        status = ebb_scan_string(&p->scan, &name);
        if (!status && !ebb_scan_at_line_end(&p->scan))
            status = ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "expected the end of the line");
        if (!status &&
            !(p->graph->name = ebb_arena_copy_text(&p->graph->arena, name, strlen(name))))
            status = ebb_scan_fail(&p->scan, EBB_OUT_OF_MEMORY, "out of memory");
        return status;
    }
    p->scan.at = start;
    return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "expected a node or an update, found \"%s\"",
                         word);
}

ebb_status ebb_graph_parse_with(const char *text, size_t text_bytes, ebb_op_lookup lookup,
                                ebb_text_id_seen seen, void *context,
                                const ebb_allocator *allocator, ebb_graph **graph, ebb_error *error)
{
    *graph = NULL;
    if (!text)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "there is no text");
    parser p = { .scan = { .end = text + text_bytes,
                           .at = text,
                           .line_start = text,
                           .line = 1,
                           .error = error },
                 .lookup = lookup,
                 .seen = seen,
                 .context = context };
    ebb_text_locale locale;
    p.graph = ebb_graph_create_with(NULL, &(ebb_graph_options){ .allocator = allocator });
    if (!p.graph || !ebb_text_locale_enter(&locale)) {
        ebb_graph_destroy(p.graph);
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "out of memory");
    }
    ebb_status status = EBB_OK;
    bool named = false;
    while (p.scan.at < p.scan.end && !status) {
        ebb_arena_init(&p.scan.scratch, allocator);
        if (!ebb_scan_at_line_end(&p.scan))
            status = parse_line(&p, &named);
        ebb_arena_finish(&p.scan.scratch);
        if (!status && p.scan.at < p.scan.end) { /* at the newline */
            p.scan.at++;
            p.scan.line++;
            p.scan.line_start = p.scan.at;
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
