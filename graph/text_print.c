/* The text form, writing: one node a line.
 *
 *   graph "name"
 *   %1 = input {name="x"} : f32[100,784]
 *   %3 = matmul %1 %2 {transpose_b=true} : f32[100,50] @block1/h !backward
 *   %4, %5 = two_results %3 : f32[2], i64[2]
 *   update %2 %9
 *
 * Attributes that are zero are left out. Behind @ stands the scope with the name (either may be
 * empty), behind ! the phase unless forward. Numbers have the digits it takes to read back to the
 * same bits. */
#include "graph/graph_private.h"

#include "graph/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void ebb_text_print_number(FILE *out, double value, bool is_f32)
{
    char text[40];
    if (isnan(value)) {
        fputs(signbit(value) ? "-nan" : "nan", out);
        return;
    }
    for (int digits = is_f32 ? 6 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (is_f32 ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
            break;
    }
    fputs(text, out);
}

void ebb_text_print_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 32 || c == 127)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void print_data(FILE *out, const ebb_type *type, const void *data)
{
    ebb_tensor tensor = ebb_tensor_borrow(type->dtype, type->shape, data);
    int64_t n = ebb_shape_elements(&type->shape);
    fputc('[', out);
    for (int64_t i = 0; i < n; i++) {
        if (i)
            fputc(',', out);
        if (type->dtype == EBB_I64)
            fprintf(out, "%" PRId64, ((const int64_t *)data)[i]);
        else
            ebb_text_print_number(out, ebb_tensor_get(&tensor, i), type->dtype == EBB_F32);
    }
    fputc(']', out);
}

static bool shape_is_zero(const ebb_shape *shape)
{
    return shape->rank == 0;
}

/* True if the field has its default. A scalar shape is a value of its own, printed as []. */
static bool field_is_zero(const ebb_attr_field *f, const void *attrs)
{
    uint64_t bits;
    switch (f->kind) {
    case EBB_ATTR_BOOL:
        return !*FIELD(attrs, f, bool);
    case EBB_ATTR_I64:
        return *FIELD(attrs, f, int64_t) == 0;
    case EBB_ATTR_F64:
        memcpy(&bits, FIELD(attrs, f, double), sizeof bits);
        return bits == 0;
    case EBB_ATTR_ENUM:
        return *FIELD(attrs, f, int) == 0;
    case EBB_ATTR_DTYPE:
        return *FIELD(attrs, f, ebb_dtype) == EBB_NO_DTYPE;
    case EBB_ATTR_AXES:
        return FIELD(attrs, f, ebb_axes)->n == 0;
    case EBB_ATTR_INTS:
        return FIELD(attrs, f, ebb_ints)->n == 0;
    case EBB_ATTR_SHAPE:
        return shape_is_zero(FIELD(attrs, f, ebb_shape));
    case EBB_ATTR_NAME:
    case EBB_ATTR_DATA:
    case EBB_ATTR_PROGRAM:
        return *FIELD(attrs, f, char *) == NULL;
    case EBB_ATTR_TYPE:
        return true; /* stands behind the colon */
    }
    return true;
}

static void print_field(FILE *out, const ebb_op *op, const ebb_attr_field *f, const void *attrs)
{
    char text[EBB_TYPE_TEXT_BYTES];
    fprintf(out, "%s=", f->name);
    switch (f->kind) {
    case EBB_ATTR_BOOL:
        fputs("true", out);
        break;
    case EBB_ATTR_I64:
        fprintf(out, "%" PRId64, *FIELD(attrs, f, int64_t));
        break;
    case EBB_ATTR_F64:
        ebb_text_print_number(out, *FIELD(attrs, f, double), false);
        break;
    case EBB_ATTR_ENUM: {
        int value = *FIELD(attrs, f, int), n = 0;
        while (f->enum_names && f->enum_names[n])
            n++;
        fputs(value >= 0 && value < n ? f->enum_names[value] : "?", out);
        break;
    }
    case EBB_ATTR_DTYPE:
        fputs(ebb_dtype_name(*FIELD(attrs, f, ebb_dtype)), out);
        break;
    case EBB_ATTR_NAME:
        ebb_text_print_string(out, *FIELD(attrs, f, char *));
        break;
    case EBB_ATTR_SHAPE:
        fputs(ebb_shape_text(FIELD(attrs, f, ebb_shape), text), out);
        break;
    case EBB_ATTR_AXES: {
        const ebb_axes *axes = FIELD(attrs, f, ebb_axes);
        fputc('[', out);
        for (int i = 0; i < axes->n && i < EBB_MAX_RANK; i++)
            fprintf(out, "%s%d", i ? "," : "", axes->axes[i]);
        fputc(']', out);
        break;
    }
    case EBB_ATTR_INTS: {
        const ebb_ints *ints = FIELD(attrs, f, ebb_ints);
        fputc('[', out);
        for (int i = 0; i < ints->n && i < EBB_MAX_RANK; i++)
            fprintf(out, "%s%" PRId64, i ? "," : "", ints->values[i]);
        fputc(']', out);
        break;
    }
    case EBB_ATTR_DATA:
        print_data(out, ebb_attrs_type(op, attrs), *FIELD(attrs, f, char *));
        break;
    case EBB_ATTR_PROGRAM:
        ebb_text_print_program(out, *FIELD(attrs, f, ebb_program *));
        break;
    case EBB_ATTR_TYPE:
        break;
    }
}

bool ebb_text_has_attrs(const ebb_op *op, const void *attrs)
{
    const ebb_attr_field *f = op->attrs;
    while (f && f->name && field_is_zero(f, attrs))
        f++;
    return f && f->name;
}

void ebb_text_print_attrs(FILE *out, const ebb_op *op, const void *attrs, size_t most_data)
{
    bool any = false;
    for (const ebb_attr_field *f = op->attrs; f && f->name; f++) {
        if (field_is_zero(f, attrs))
            continue;
        fputs(any ? ", " : "{", out);
        any = true;
        if (f->kind == EBB_ATTR_DATA && ebb_type_bytes(ebb_attrs_type(op, attrs)) > most_data)
            fprintf(out, "%s=...", f->name);
        else
            print_field(out, op, f, attrs);
    }
    if (any)
        fputc('}', out);
}

static void print_node(const ebb_graph *graph, uint32_t id, FILE *out)
{
    const node_record *node = &graph->nodes[id];
    char text[EBB_TYPE_TEXT_BYTES];
    for (int r = 0; r < node->op->n_results; r++)
        fprintf(out, "%s%%%u", r ? ", " : "", id + (uint32_t)r);
    fprintf(out, " = %s", node->op->name);
    for (int i = 0; i < node->n_inputs; i++)
        fprintf(out, " %%%u", node->inputs[i]);
    if (node->op->attrs_bytes && ebb_text_has_attrs(node->op, node->attrs)) {
        fputc(' ', out);
        ebb_text_print_attrs(out, node->op, node->attrs, SIZE_MAX);
    }
    for (int r = 0; r < node->op->n_results; r++)
        fprintf(out, "%s%s", r ? ", " : " : ",
                ebb_type_text(graph->nodes[id + (uint32_t)r].type, text));
    const char *scope = graph->scopes[node->scope].path;
    if (!ebb_source_name(node->op, node->attrs) && (node->name || *scope))
        fprintf(out, " @%s%s", scope, node->name ? node->name : "");
    if (node->phase != EBB_FORWARD)
        fputs(node->phase == EBB_BACKWARD ? " !backward" : " !update", out);
    fputc('\n', out);
}

ebb_status ebb_graph_print(const ebb_graph *graph, FILE *out)
{
    if (!graph || !out)
        return EBB_BAD_ARGUMENT;
    ebb_text_locale locale;
    if (!ebb_text_locale_enter(&locale))
        return EBB_OUT_OF_MEMORY;
    fputs("graph ", out);
    ebb_text_print_string(out, graph->name);
    fputc('\n', out);
    for (uint32_t id = 1; id <= graph->n_nodes; id++) {
        if (graph->nodes[id].op != &ebb_op_result)
            print_node(graph, id, out);
    }
    for (uint32_t i = 0; i < graph->n_updates; i++)
        fprintf(out, "update %%%u %%%u\n", graph->updates[i].variable, graph->updates[i].value);
    ebb_text_locale_leave(&locale);
    return ferror(out) ? EBB_IO : EBB_OK;
}
