/* The text form, reading: attributes in braces, and programs in them. */
#include "graph/text_attrs.h"

#include "graph/graph_private.h"

#include <string.h>

/* A field of an attribute struct that is being filled. */
#define ATTR(attrs, field, type) ((type *)(void *)((char *)(attrs) + (field)->offset))

/* ---- values of single attributes ---- */

/* "[1,-2]", at most EBB_MAX_RANK numbers in low..high. `what` is for the message. */
static ebb_status read_list(ebb_text_reader *p, const char *what, int64_t low, int64_t high, int *n,
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

static ebb_status read_axes(ebb_text_reader *p, ebb_axes *axes)
{
    int64_t values[EBB_MAX_RANK];
    ebb_status status = read_list(p, "axes", INT32_MIN, INT32_MAX, &axes->n, values);
    for (int i = 0; i < axes->n && !status; i++)
        axes->axes[i] = (int)values[i];
    return status;
}

static ebb_status read_enum(ebb_text_reader *p, const ebb_attr_field *f, int *value)
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
static ebb_status skip_list(ebb_text_reader *p, const char **list)
{
    if (ebb_scan_peek(&p->scan) != '[')
        return ebb_scan_fail(&p->scan, EBB_BAD_FORMAT, "expected '['");
    *list = p->scan.at;
    while (p->scan.at < p->scan.end && *p->scan.at != ']' && *p->scan.at != '\n')
        p->scan.at++;
    return ebb_scan_expect(&p->scan, ']');
}

/* ---- programs ---- */

/* The number of a value below `end`. */
static ebb_status read_value(ebb_text_reader *p, int64_t end, int32_t *value)
{
    int64_t number = 0;
    ebb_status status = ebb_scan_expect(&p->scan, '$');
    if (!status)
        status = ebb_scan_i64(&p->scan, 0, end - 1, &number);
    *value = (int32_t)number;
    return status;
}

static ebb_status read_element(ebb_text_reader *p, ebb_instruction *instruction)
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
static ebb_status read_instruction(ebb_text_reader *p, int64_t n_values,
                                   ebb_instruction *instruction)
{
    char word[MAX_WORD];
    const char *data_list = NULL;
    ebb_status status = ebb_scan_word(&p->scan, "an op or a dtype", word);
    if (status)
        return status;
    if (ebb_dtype_parse(word, &instruction->dtype))
        return read_element(p, instruction);
    const ebb_op *op = p->lookup(p->context, word);
    if (ebb_op_instruction_kind(op) == EBB_INSTRUCTION_NONE)
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
    if (ebb_scan_peek(&p->scan) == '{')
        status = ebb_text_read_attrs(p, op, attrs, &data_list);
    for (const ebb_attr_field *f = op->attrs; f->name && !status; f++) {
        if (f->kind != EBB_ATTR_TYPE)
            continue;
        status = ebb_scan_expect(&p->scan, ':');
        if (!status)
            status = ebb_scan_type(&p->scan, ATTR(attrs, f, ebb_type));
    }
    return status;
}

/* Room for twice as many instructions. */
static ebb_instruction *extend_program(ebb_text_reader *p, const ebb_program *program,
                                       int *capacity)
{
    *capacity = *capacity ? 2 * *capacity : 16;
    size_t bytes = (size_t)*capacity * sizeof(ebb_instruction);
    ebb_instruction *instructions = ebb_arena_allocate(&p->scan.scratch, bytes, 16);
    if (instructions && program->n_instructions)
        memcpy(instructions, program->instructions,
               (size_t)program->n_instructions * sizeof *instructions);
    return instructions;
}

static ebb_status read_program(ebb_text_reader *p, const ebb_program **result)
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

/* ---- attributes ---- */

static ebb_status read_field(ebb_text_reader *p, const ebb_attr_field *f, void *attrs,
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

ebb_status ebb_text_read_attrs(ebb_text_reader *p, const ebb_op *op, void *attrs,
                               const char **data_list)
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

ebb_status ebb_text_read_data(ebb_text_reader *p, const ebb_type *type, const char *list,
                              void **data)
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
