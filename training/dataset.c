/* Sets of examples in memory. */
#include "training/dataset.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FAIL(status, ...) ebb_fail(error, status, "data set: field \"%s\"" __VA_ARGS__)

/* ---- what a field says ---- */

static ebb_status check_values(const ebb_field *field, const char *name, ebb_error *error)
{
    const ebb_type *type = &field->values.type;
    char text[EBB_TYPE_TEXT_BYTES];
    if (!ebb_dtype_bytes(type->dtype))
        return FAIL(EBB_BAD_DTYPE, " has values without a dtype", name);
    if (type->shape.rank < 1 || !ebb_shape_is_valid(&type->shape))
        return FAIL(EBB_BAD_SHAPE, ": values %s are not [n, ...]", name, ebb_type_text(type, text));
    if (type->shape.dims[0] < 1)
        return FAIL(EBB_BAD_ARGUMENT, ": values %s have no examples", name,
                    ebb_type_text(type, text));
    if (!field->values.data)
        return FAIL(EBB_BAD_ARGUMENT, ": the data of its values is NULL", name);
    return EBB_OK;
}

/* Sets form->shape and n_elements. */
static ebb_status take_shape(const ebb_field *field, ebb_form *form, ebb_error *error)
{
    char of_values[EBB_TYPE_TEXT_BYTES], text[EBB_TYPE_TEXT_BYTES];
    ebb_shape own = { .rank = field->values.type.shape.rank - 1 };
    for (int i = 0; i < own.rank; i++)
        own.dims[i] = field->values.type.shape.dims[i + 1];
    form->shape = field->shape.rank != 0 ? field->shape : own;
    form->n_elements = ebb_shape_elements(&own);
    if (ebb_shape_elements(&form->shape) != form->n_elements)
        return FAIL(EBB_BAD_SHAPE, ": shape %s has not the elements of an example of %s",
                    form->name, ebb_shape_text(&form->shape, text),
                    ebb_type_text(&field->values.type, of_values));
    if (form->shape.rank + (field->one_hot ? 2 : 1) > EBB_MAX_RANK)
        return FAIL(EBB_BAD_SHAPE, ": batches of %s would have more than %d dimensions", form->name,
                    ebb_shape_text(&form->shape, text), EBB_MAX_RANK);
    if (field->one_hot && field->n_classes > 0) {
        const ebb_type one = ebb_form_batch_type(form, &form->shape, 1);
        if (!ebb_shape_is_valid(&one.shape))
            return FAIL(EBB_BAD_SHAPE, ": an example of %s with %" PRId64 " classes is too large",
                        form->name, ebb_shape_text(&form->shape, text), field->n_classes);
    }
    return EBB_OK;
}

static ebb_status check_normalization(const ebb_field *field, const ebb_form *form,
                                      ebb_error *error)
{
    char text[EBB_TYPE_TEXT_BYTES];
    if (!isfinite(field->divisor))
        return FAIL(EBB_BAD_ARGUMENT, ": divisor %g is not finite", form->name, field->divisor);
    if (field->n_channels < 0 ||
        (field->n_channels > 1 &&
         (form->shape.rank < 1 || form->shape.dims[0] != field->n_channels)))
        return FAIL(EBB_BAD_SHAPE, ": %" PRId64 " channels do not fit examples %s", form->name,
                    field->n_channels, ebb_shape_text(&form->shape, text));
    for (int64_t c = 0; c < form->n_channels; c++) {
        if (field->mean && !isfinite(field->mean[c]))
            return FAIL(EBB_BAD_ARGUMENT, ": mean %g of channel %" PRId64 " is not finite",
                        form->name, field->mean[c], c);
        if (field->std && !(isfinite(field->std[c]) && field->std[c] != 0))
            return FAIL(EBB_BAD_ARGUMENT, ": std %g of channel %" PRId64 " is 0 or not finite",
                        form->name, field->std[c], c);
    }
    return EBB_OK;
}

static ebb_status check_labels(const ebb_field *field, const ebb_form *form, ebb_error *error)
{
    const ebb_dtype dtype = field->values.type.dtype;
    if (field->n_classes < 0)
        return FAIL(EBB_BAD_ARGUMENT, ": %" PRId64 " classes", form->name, field->n_classes);
    if (field->n_classes == 0)
        return field->one_hot ? FAIL(EBB_BAD_ARGUMENT, ": one-hot needs n_classes", form->name)
                              : EBB_OK;
    if (!ebb_dtype_is_integer(dtype))
        return FAIL(EBB_BAD_DTYPE, ": labels are %s, not integers", form->name,
                    ebb_dtype_name(dtype));
    if (form->is_normalized)
        return FAIL(EBB_BAD_ARGUMENT, ": labels cannot be normalized", form->name);
    const int64_t n = field->values.type.shape.dims[0] * form->n_elements;
    for (int64_t i = 0; i < n; i++) {
        const int64_t label = dtype == EBB_I64   ? ((const int64_t *)field->values.data)[i]
                              : dtype == EBB_I32 ? ((const int32_t *)field->values.data)[i]
                                                 : ((const uint8_t *)field->values.data)[i];
        if (label < 0 || label >= field->n_classes)
            return FAIL(EBB_BAD_INDEX,
                        ": example %" PRId64 ": label %" PRId64 " is not in 0..%" PRId64,
                        form->name, i / form->n_elements, label, field->n_classes - 1);
    }
    return EBB_OK;
}

/* The largest integer of a dtype. */
static int64_t top_of(ebb_dtype dtype)
{
    return dtype == EBB_I64   ? INT64_MAX
           : dtype == EBB_I32 ? INT32_MAX
           : dtype == EBB_U8  ? UINT8_MAX
                              : 1;
}

/* Sets form->dtype and kind. */
static ebb_status take_dtype(const ebb_field *field, ebb_form *form, ebb_error *error)
{
    const ebb_dtype from = field->values.type.dtype;
    const bool wants_float = form->is_normalized || field->one_hot;
    form->dtype = field->dtype;
    if (form->dtype == EBB_NO_DTYPE)
        form->dtype = wants_float && !ebb_dtype_is_float(from) ? EBB_F32 : from;
    const bool to_float = ebb_dtype_is_float(form->dtype);
    const bool fits = form->dtype != EBB_BOOL &&
                      (top_of(form->dtype) >= top_of(from) ||
                       (field->n_classes > 0 && field->n_classes - 1 <= top_of(form->dtype)));
    if (!ebb_dtype_bytes(form->dtype) || (wants_float && !to_float) ||
        (!to_float && form->dtype != from && (ebb_dtype_is_float(from) || !fits)))
        return FAIL(EBB_BAD_DTYPE, ": %svalues %s cannot become %s", form->name,
                    form->is_normalized ? "normalized "
                    : field->one_hot    ? "one-hot "
                                        : "",
                    ebb_dtype_name(from), ebb_dtype_name(form->dtype));
    if (field->one_hot)
        form->kind = EBB_FORM_ONE_HOT;
    else if (!form->is_normalized && form->dtype == from)
        form->kind = EBB_FORM_COPY;
    else if (from == EBB_U8 && to_float)
        form->kind = EBB_FORM_TABLE;
    else
        form->kind = EBB_FORM_CONVERT;
    return EBB_OK;
}

static ebb_status allocate_form(ebb_dataset *dataset, const ebb_field *field, ebb_form *form,
                                ebb_error *error)
{
    const size_t n = (size_t)form->n_channels;
    form->mean = ebb_allocate(dataset->allocator, n * sizeof *form->mean);
    form->std = ebb_allocate(dataset->allocator, n * sizeof *form->std);
    if (form->kind == EBB_FORM_TABLE)
        form->table = ebb_allocate(dataset->allocator, n * 256 * ebb_dtype_bytes(form->dtype));
    if (!form->mean || !form->std || (form->kind == EBB_FORM_TABLE && !form->table))
        return FAIL(EBB_OUT_OF_MEMORY, ": no memory for its normalization", form->name);
    for (size_t c = 0; c < n; c++) {
        form->mean[c] = field->mean ? field->mean[c] : 0;
        form->std[c] = field->std ? field->std[c] : 1;
    }
    if (form->kind == EBB_FORM_TABLE)
        ebb_form_fill_table(form);
    return EBB_OK;
}

static ebb_status take_field(ebb_dataset *dataset, const ebb_field *field, int index,
                             ebb_error *error)
{
    ebb_form *form = &dataset->forms[index];
    if (field->name)
        snprintf(form->name, sizeof form->name, "%s", field->name);
    else
        snprintf(form->name, sizeof form->name, "field %d", index);
    ebb_status status = check_values(field, form->name, error);
    if (status != EBB_OK)
        return status;
    const int64_t n = field->values.type.shape.dims[0];
    if (index == 0)
        dataset->n = n;
    else if (n != dataset->n)
        return FAIL(EBB_BAD_SHAPE, " has %" PRId64 " examples, \"%s\" has %" PRId64, form->name, n,
                    dataset->forms[0].name, dataset->n);
    form->values =
        ebb_tensor_borrow(field->values.type.dtype, field->values.type.shape, field->values.data);
    form->one_hot = field->one_hot;
    form->n_classes = field->n_classes;
    form->is_normalized = field->divisor != 0 || field->mean || field->std;
    form->divisor = field->divisor != 0 ? field->divisor : 1;
    form->n_channels = field->n_channels > 1 ? field->n_channels : 1;
    status = take_shape(field, form, error);
    if (status == EBB_OK)
        status = check_normalization(field, form, error);
    if (status == EBB_OK)
        status = check_labels(field, form, error);
    if (status == EBB_OK)
        status = take_dtype(field, form, error);
    return status == EBB_OK ? allocate_form(dataset, field, form, error) : status;
}

/* ---- data sets ---- */

ebb_status ebb_dataset_create(const ebb_field *fields, int n_fields, const ebb_allocator *allocator,
                              ebb_dataset **dataset, ebb_error *error)
{
    if (!dataset)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "data set: no place for it");
    *dataset = NULL;
    if (!fields || n_fields < 1 || n_fields > EBB_MAX_FIELDS)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "data set: %d fields; it takes 1 to %d",
                        fields ? n_fields : 0, EBB_MAX_FIELDS);
    ebb_dataset *made = ebb_allocate(allocator, sizeof *made);
    if (!made)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "data set: no memory for it");
    memset(made, 0, sizeof *made);
    made->allocator = allocator;
    ebb_status status = EBB_OK;
    for (int i = 0; i < n_fields && status == EBB_OK; i++) {
        made->n_fields = i + 1;
        status = take_field(made, &fields[i], i, error);
    }
    if (status != EBB_OK) {
        ebb_dataset_destroy(made);
        return status;
    }
    *dataset = made;
    return EBB_OK;
}

void ebb_dataset_destroy(ebb_dataset *dataset)
{
    if (!dataset)
        return;
    for (int i = 0; i < dataset->n_fields; i++) {
        ebb_form *form = &dataset->forms[i];
        const size_t n = (size_t)form->n_channels;
        ebb_release(dataset->allocator, form->table, n * 256 * ebb_dtype_bytes(form->dtype));
        ebb_release(dataset->allocator, form->std, n * sizeof *form->std);
        ebb_release(dataset->allocator, form->mean, n * sizeof *form->mean);
    }
    ebb_release(dataset->allocator, dataset, sizeof *dataset);
}

int64_t ebb_dataset_size(const ebb_dataset *dataset)
{
    return dataset ? dataset->n : 0;
}

int ebb_dataset_n_fields(const ebb_dataset *dataset)
{
    return dataset ? dataset->n_fields : 0;
}

ebb_type ebb_dataset_batch_type(const ebb_dataset *dataset, int field, int64_t n)
{
    if (!dataset || field < 0 || field >= dataset->n_fields)
        return (ebb_type){ 0 };
    const ebb_form *form = &dataset->forms[field];
    return ebb_form_batch_type(form, &form->shape, n);
}

ebb_status ebb_dataset_batch(const ebb_dataset *dataset, const int64_t *indices, int64_t n,
                             const ebb_tensor *tensors, int n_tensors, ebb_error *error)
{
    if (!dataset || n < 0 || (n > 0 && !indices) || !tensors || n_tensors != dataset->n_fields)
        return ebb_fail(error, EBB_BAD_ARGUMENT,
                        "data set: a batch needs %" PRId64 " indices and a tensor for each of %d "
                        "fields",
                        n, ebb_dataset_n_fields(dataset));
    for (int64_t i = 0; i < n; i++)
        if (indices[i] < 0 || indices[i] >= dataset->n)
            return ebb_fail(error, EBB_BAD_INDEX,
                            "data set: indices[%" PRId64 "] is %" PRId64 ", but there are %" PRId64
                            " examples",
                            i, indices[i], dataset->n);
    for (int f = 0; f < n_tensors; f++) {
        const ebb_form *form = &dataset->forms[f];
        const ebb_type type = ebb_form_batch_type(form, &form->shape, n);
        char wanted[EBB_TYPE_TEXT_BYTES], text[EBB_TYPE_TEXT_BYTES];
        if (tensors[f].data && !ebb_type_equal(&tensors[f].type, &type))
            return FAIL(tensors[f].type.dtype == type.dtype ? EBB_BAD_SHAPE : EBB_BAD_DTYPE,
                        ": a batch is %s, the tensor is %s", form->name,
                        ebb_type_text(&type, wanted), ebb_type_text(&tensors[f].type, text));
    }
    for (int f = 0; f < n_tensors; f++) {
        const ebb_form *form = &dataset->forms[f];
        const size_t bytes =
            (size_t)ebb_form_out_elements(form, &form->shape) * ebb_dtype_bytes(form->dtype);
        for (int64_t i = 0; i < n && tensors[f].data; i++)
            ebb_form_write(form, ebb_form_example(form, indices[i]), form->n_elements,
                           (char *)tensors[f].data + (size_t)i * bytes);
    }
    return EBB_OK;
}

/* ---- fields ---- */

void ebb_image_set_fields(const ebb_image_set *set, ebb_field fields[2])
{
    fields[0] = (ebb_field){ .name = "images",
                             .values = set->images,
                             .dtype = EBB_F32,
                             .shape = EBB_SHAPE(set->channels, set->height, set->width),
                             .divisor = 255 };
    fields[1] = (ebb_field){
        .name = "labels", .values = set->labels, .dtype = EBB_I32, .n_classes = set->n_classes
    };
}
