/* Mean and spread of a field, for its normalization. */
#include "training/dataset.h"

#include <inttypes.h>
#include <math.h>

#define FAIL(status, ...) ebb_fail(error, status, "field statistics: " __VA_ARGS__)

static ebb_status check(const ebb_field *field, const int64_t *indices, int64_t n, ebb_error *error)
{
    const ebb_shape *shape = &field->values.type.shape;
    char text[EBB_TYPE_TEXT_BYTES];
    if (!ebb_shape_is_valid(shape))
        return FAIL(EBB_BAD_SHAPE, "values %s are not [n, ...]",
                    ebb_type_text(&field->values.type, text));
    if (shape->rank < 1 || shape->dims[0] < 1 || n < 1 || !field->values.data)
        return FAIL(EBB_BAD_ARGUMENT, "there are no examples: values %s, %" PRId64 " indices",
                    ebb_type_text(&field->values.type, text), indices ? n : 0);
    if (!ebb_dtype_bytes(field->values.type.dtype))
        return FAIL(EBB_BAD_DTYPE, "the values have no dtype");
    if (!isfinite(field->divisor))
        return FAIL(EBB_BAD_ARGUMENT, "divisor %g is not finite", field->divisor);
    const int64_t first = field->shape.rank > 0 ? field->shape.dims[0]
                          : shape->rank > 1     ? shape->dims[1]
                                                : 1;
    if (field->n_channels < 0 || (field->n_channels > 1 && field->n_channels != first))
        return FAIL(EBB_BAD_SHAPE, "%" PRId64 " channels do not fit values %s", field->n_channels,
                    ebb_type_text(&field->values.type, text));
    for (int64_t i = 0; indices && i < n; i++)
        if (indices[i] < 0 || indices[i] >= shape->dims[0])
            return FAIL(EBB_BAD_INDEX,
                        "indices[%" PRId64 "] is %" PRId64 ", but there are %" PRId64 " examples",
                        i, indices[i], shape->dims[0]);
    return EBB_OK;
}

ebb_status ebb_field_statistics(const ebb_field *field, const int64_t *indices, int64_t n,
                                double *mean, double *std, ebb_error *error)
{
    enum { CHUNK = 256 };
    if (!field || !mean || !std)
        return FAIL(EBB_BAD_ARGUMENT, "%s is NULL", !field ? "field" : mean ? "std" : "mean");
    const ebb_type *type = &field->values.type;
    if (!indices)
        n = type->shape.rank > 0 ? type->shape.dims[0] : 0;
    const ebb_status status = check(field, indices, n, error);
    if (status != EBB_OK)
        return status;
    const int64_t n_channels = field->n_channels > 1 ? field->n_channels : 1;
    const int64_t plane = ebb_shape_elements(&type->shape) / type->shape.dims[0] / n_channels;
    const double divisor = field->divisor != 0 ? field->divisor : 1;
    for (int64_t c = 0; c < n_channels; c++) {
        /* Welford 1962: stable for a mean that is large beside the spread. */
        double count = 0, average = 0, squares = 0;
        for (int64_t e = 0; e < n; e++)
            for (int64_t done = 0; done < plane; done += CHUNK) {
                double x[CHUNK];
                const int64_t chunk = plane - done < CHUNK ? plane - done : CHUNK;
                const int64_t example = indices ? indices[e] : e;
                ebb_load_doubles(type->dtype, field->values.data,
                                 (example * n_channels + c) * plane + done, chunk, x);
                for (int64_t i = 0; i < chunk; i++) {
                    const double value = x[i] / divisor, off = value - average;
                    count++;
                    average += off / count;
                    squares += off * (value - average);
                }
            }
        mean[c] = average;
        std[c] = squares > 0 ? sqrt(squares / count) : 1;
    }
    return EBB_OK;
}
