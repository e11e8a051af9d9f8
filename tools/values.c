/* Values that go in from files, and values that are printed. */
#include "tool.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- in ---- */

static ebb_status check_node(const char *option, const char *name, ebb_node node, bool variables,
                             ebb_error *error)
{
    if (variables ? tool_is_variable(node) : tool_is_input(node))
        return EBB_OK;
    const char *is = tool_is_input(node)      ? "an input: --feed gives it a value"
                     : tool_is_variable(node) ? "a variable: --var gives it a value"
                                              : "computed";
    return ebb_fail(error, EBB_BAD_FEED, "%s %s: it is %s", option, name, is);
}

static ebb_status check_type(const char *option, const char *path, const tool_value *value,
                             bool any_dtype, ebb_error *error)
{
    const ebb_type *given = &value->tensor.type, *needed = ebb_node_type(value->node);
    char a[EBB_TYPE_TEXT_BYTES], b[EBB_TYPE_TEXT_BYTES], name[TOOL_NAME_BYTES];
    bool fits =
        any_dtype ? ebb_shape_equal(&given->shape, &needed->shape) : ebb_type_equal(given, needed);
    if (fits)
        return EBB_OK;
    return ebb_fail(error, EBB_BAD_FEED, "%s %.150s: it is %s, but %.150s is %s", option,
                    tool_full_name(value->node, name), ebb_type_text(needed, a), path,
                    ebb_type_text(given, b));
}

/* A number in every element. False: `text` is no number. */
static bool read_number(const char *text, const ebb_type *type, ebb_tensor *tensor,
                        ebb_status *status, ebb_error *error)
{
    char *end, type_text[EBB_TYPE_TEXT_BYTES];
    const double number = strtod(text, &end);
    if (end == text || *end)
        return false;
    *status = ebb_tensor_init(tensor, *type, NULL);
    const int64_t n = ebb_shape_elements(&type->shape);
    for (int64_t i = 0; i < n && !*status; i++)
        ebb_tensor_set(tensor, i, number);
    if (*status)
        ebb_fail(error, *status, "no memory for %s", ebb_type_text(type, type_text));
    else if (n > 0 && !ebb_dtype_is_float(type->dtype) && ebb_tensor_get(tensor, 0) != number)
        *status = ebb_fail(error, EBB_BAD_FEED, "%s is no value of %s", text,
                           ebb_dtype_name(type->dtype));
    return true;
}

static ebb_status read_value(const tool_graph *graph, const char *word, const char *option,
                             bool variables, bool any_dtype, tool_value *values, int *n,
                             ebb_error *error)
{
    char name[TOOL_NAME_BYTES];
    const char *equals = strchr(word, '=');
    if (equals - word >= TOOL_NAME_BYTES)
        return ebb_fail(error, EBB_BAD_NAME, "%s: the name is too long", option);
    snprintf(name, sizeof name, "%.*s", (int)(equals - word), word);
    tool_value *value = &values[*n];
    *value = (tool_value){ .node = EBB_NONE };
    ebb_status status = tool_graph_find(graph, name, &value->node, error);
    if (!status)
        status = check_node(option, name, value->node, variables, error);
    for (int i = 0; i < *n && !status; i++)
        if (values[i].node.id == value->node.id)
            status = ebb_fail(error, EBB_BAD_FEED, "%s %s: it is given twice", option, name);
    if (!status &&
        !read_number(equals + 1, ebb_node_type(value->node), &value->tensor, &status, error))
        status = ebb_npy_read(equals + 1, NULL, &value->tensor, error);
    if (status) {
        ebb_tensor_finish(&value->tensor);
        return status;
    }
    ++*n;
    return check_type(option, equals + 1, value, any_dtype, error);
}

ebb_status tool_values_read(const tool_graph *graph, const tool_words *words, const char *option,
                            bool variables, bool any_dtype, tool_value *values, int *n,
                            ebb_error *error)
{
    ebb_status status = EBB_OK;
    *n = 0;
    for (int i = 0; i < words->n && !status; i++)
        status = read_value(graph, words->words[i], option, variables, any_dtype, values, n, error);
    return status;
}

void tool_values_finish(tool_value *values, int n)
{
    for (int i = 0; i < n; i++)
        ebb_tensor_finish(&values[i].tensor);
}

/* ---- out ---- */

#define MOST_ELEMENTS 1000
#define EDGE 3

/* With the digits it takes to read the same bits back. */
static void print_float(FILE *out, double value, bool is_f32)
{
    char text[40];
    for (int digits = is_f32 ? 6 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (is_f32 ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
            break;
        if (isnan(value))
            break;
    }
    fputs(text, out);
}

static void print_element(FILE *out, const ebb_tensor *tensor, int64_t index)
{
    switch (tensor->type.dtype) {
    case EBB_I64:
        fprintf(out, "%" PRId64, ((const int64_t *)tensor->data)[index]);
        break;
    case EBB_BOOL:
        fputs(ebb_tensor_get(tensor, index) != 0 ? "true" : "false", out);
        break;
    default:
        print_float(out, ebb_tensor_get(tensor, index), tensor->type.dtype == EBB_F32);
    }
}

/* The part of the tensor from element `first` on, dimensions `axis` and behind. Recursion is as
 * deep as the rank. */
static void print_part(FILE *out, const ebb_tensor *tensor, int axis, int64_t first, bool whole)
{
    const ebb_shape *shape = &tensor->type.shape;
    int64_t strides[EBB_MAX_RANK];
    if (axis == shape->rank) {
        print_element(out, tensor, first);
        return;
    }
    ebb_shape_strides(shape, strides);
    fputc('[', out);
    for (int64_t i = 0; i < shape->dims[axis]; i++) {
        if (i > 0 && axis + 1 < shape->rank)
            fprintf(out, ",\n%*s", axis + 1, "");
        else if (i > 0)
            fputs(", ", out);
        if (!whole && i == EDGE && shape->dims[axis] > 2 * EDGE) {
            fputs("...", out);
            i = shape->dims[axis] - EDGE - 1;
            continue;
        }
        print_part(out, tensor, axis + 1, first + i * strides[axis], whole);
    }
    fputc(']', out);
}

void tool_print_tensor(FILE *out, const char *label, const ebb_tensor *tensor)
{
    char type[EBB_TYPE_TEXT_BYTES];
    int64_t n = ebb_shape_elements(&tensor->type.shape);
    fprintf(out, "%s %s\n", label, ebb_type_text(&tensor->type, type));
    if (n > 0)
        print_part(out, tensor, 0, 0, n <= MOST_ELEMENTS);
    else
        fputs("[]", out);
    fputc('\n', out);
}
