/* Looking at every value for NaN and infinities, when the compile options ask for it. */
#include "runtime/layout.h"
#include "runtime/runtime.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct finding {
    int64_t first, n, n_elements; /* n: how many are not finite */
    double value;                 /* of the first */
} finding;

/* `layout`: NULL for row-major order. */
static finding look_at(const ebb_type *type, const void *data, const ebb_layout *layout)
{
    finding found = { .first = -1, .n_elements = ebb_shape_elements(&type->shape) };
    for (int64_t i = 0; i < found.n_elements; i++) {
        const int64_t at = layout ? ebb_layout_place(layout, &type->shape, i) : i;
        const double value =
            type->dtype == EBB_F32 ? (double)((const float *)data)[at] : ((const double *)data)[at];
        if (isfinite(value))
            continue;
        if (found.n++ == 0) {
            found.first = i;
            found.value = value;
        }
    }
    return found;
}

/* "element [2,0] is nan, 12 of 1000 are not finite". Without `is_dense` elements lie in another
 * order. */
static void describe(const finding *found, const ebb_shape *shape, bool is_dense, ebb_error *text)
{
    ebb_shape place = *shape;
    char at[EBB_TYPE_TEXT_BYTES];
    int64_t rest = found->first;
    for (int i = shape->rank - 1; i >= 0; i--) {
        place.dims[i] = rest % shape->dims[i];
        rest /= shape->dims[i];
    }
    const char *what = isnan(found->value) ? "nan" : found->value > 0 ? "inf" : "-inf";
    if (is_dense)
        ebb_fail(text, EBB_NOT_FINITE,
                 "element %s is %s; %" PRId64 " of %" PRId64 " are not finite",
                 ebb_shape_text(&place, at), what, found->n, found->n_elements);
    else
        ebb_fail(text, EBB_NOT_FINITE,
                 "%" PRId64 " of %" PRId64 " elements are not finite, such as %s", found->n,
                 found->n_elements, what);
}

/* `is_dense`: or in `layout`, if that is not NULL. */
static ebb_status check(ebb_error *error, const ebb_type *type, const void *data, bool is_dense,
                        const ebb_layout *layout, const char *what, const char *name)
{
    if (!data || !ebb_dtype_is_float(type->dtype))
        return EBB_OK;
    finding found = look_at(type, data, NULL);
    if (found.n && layout)
        found = look_at(type, data, layout);
    ebb_error text;
    if (found.n == 0)
        return EBB_OK;
    describe(&found, &type->shape, is_dense, &text);
    return ebb_fail(error, EBB_NOT_FINITE, "%s%.200s%s%s", what, name, *name ? ": " : "",
                    text.message);
}

ebb_status ebb_finite_entry(const ebb_store_entry *entry, ebb_error *error)
{
    return check(error, &entry->type, entry->data, true, &entry->layout, "variable ", entry->name);
}

ebb_status ebb_finite_sources(ebb_executable *e)
{
    ebb_status status = EBB_OK;
    for (size_t i = 0; i < e->n_inputs && !status; i++)
        if (e->inputs[i].node)
            status = check(&e->error, &e->inputs[i].type, e->inputs[i].data, true, NULL, "input ",
                           e->inputs[i].name);
    for (size_t i = 0; i < e->n_variables && !status; i++)
        status = ebb_finite_entry(e->variables[i].entry, &e->error);
    return status;
}

ebb_status ebb_finite_results(ebb_executable *e, const ebb_step *step)
{
    const ebb_argument *results =
        ebb_executable_arguments(e) + step->first_argument + step->n_inputs;
    ebb_status status = EBB_OK;
    for (int r = 0; r < step->n_results && !status; r++) {
        const ebb_buffer *buffer = &ebb_executable_buffers(e)[results[r].buffer];
        status = check(&e->error, buffer->type, buffer->memory, !buffer->is_permuted, NULL, "", "");
    }
    return status;
}
