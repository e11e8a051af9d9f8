/* Examples in the form that a batch wants: copied, normalized, converted, one-hot. */
#include "training/dataset.h"

#include <string.h>

enum { CHUNK = 256 };

void ebb_load_doubles(ebb_dtype dtype, const void *data, int64_t first, int64_t n, double *out)
{
    switch (dtype) {
#define LOAD(name, text, ctype, bytes)                                                             \
    case EBB_##name:                                                                               \
        for (int64_t i = 0; i < n; i++)                                                            \
            out[i] = (double)((const ctype *)data)[first + i];                                     \
        break;
        EBB_DTYPE_MAP(LOAD)
#undef LOAD
    default:
        break;
    }
}

static void store_doubles(ebb_dtype dtype, void *data, int64_t first, int64_t n, const double *x)
{
    switch (dtype) {
#define STORE(name, text, ctype, bytes)                                                            \
    case EBB_##name:                                                                               \
        for (int64_t i = 0; i < n; i++)                                                            \
            ((ctype *)data)[first + i] = (ctype)x[i];                                              \
        break;
        EBB_DTYPE_MAP(STORE)
#undef STORE
    default:
        break;
    }
}

static void normalize(const ebb_form *form, int64_t channel, int64_t n, double *x)
{
    const double mean = form->mean[channel], std = form->std[channel];
    for (int64_t i = 0; i < n; i++)
        x[i] = (x[i] / form->divisor - mean) / std;
}

/* One channel. */
static void convert(const ebb_form *form, const void *source, int64_t channel, int64_t n, void *out)
{
    double x[CHUNK];
    for (int64_t done = 0; done < n; done += CHUNK) {
        const int64_t first = channel * n + done, count = n - done < CHUNK ? n - done : CHUNK;
        ebb_load_doubles(form->values.type.dtype, source, first, count, x);
        if (form->is_normalized)
            normalize(form, channel, count, x);
        store_doubles(form->dtype, out, first, count, x);
    }
}

static void look_up_f32(const float *restrict table, const uint8_t *restrict x, int64_t n,
                        float *restrict out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = table[x[i]];
}

static void look_up_f64(const double *restrict table, const uint8_t *restrict x, int64_t n,
                        double *restrict out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = table[x[i]];
}

static void write_one_hot(const ebb_form *form, const void *source, int64_t n, void *out)
{
    const size_t row_bytes = (size_t)form->n_classes * ebb_dtype_bytes(form->dtype);
    memset(out, 0, (size_t)n * row_bytes);
    for (int64_t i = 0; i < n; i++) {
        double label = 0;
        ebb_load_doubles(form->values.type.dtype, source, i, 1, &label);
        /* Labels were checked, but the caller may have changed them since. */
        if (label >= 0 && label < (double)form->n_classes)
            store_doubles(form->dtype, out, i * form->n_classes + (int64_t)label, 1,
                          &(double){ 1 });
    }
}

void ebb_form_fill_table(ebb_form *form)
{
    uint8_t bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (uint8_t)i;
    for (int64_t c = 0; c < form->n_channels; c++) {
        double x[256];
        ebb_load_doubles(EBB_U8, bytes, 0, 256, x);
        if (form->is_normalized)
            normalize(form, c, 256, x);
        store_doubles(form->dtype, form->table, c * 256, 256, x);
    }
}

void ebb_form_write(const ebb_form *form, const void *source, int64_t n, void *out)
{
    const int64_t n_channels = form->n_channels, plane = n / n_channels;
    switch (form->kind) {
    case EBB_FORM_COPY:
        memcpy(out, source, (size_t)n * ebb_dtype_bytes(form->dtype));
        return;
    case EBB_FORM_TABLE:
        for (int64_t c = 0; c < n_channels; c++)
            if (form->dtype == EBB_F32)
                look_up_f32((const float *)form->table + c * 256,
                            (const uint8_t *)source + c * plane, plane, (float *)out + c * plane);
            else
                look_up_f64((const double *)form->table + c * 256,
                            (const uint8_t *)source + c * plane, plane, (double *)out + c * plane);
        return;
    case EBB_FORM_ONE_HOT:
        write_one_hot(form, source, n, out);
        return;
    case EBB_FORM_CONVERT:
        for (int64_t c = 0; c < n_channels; c++)
            convert(form, source, c, plane, out);
        return;
    }
}

int64_t ebb_form_out_elements(const ebb_form *form, const ebb_shape *shape)
{
    return ebb_shape_elements(shape) * (form->one_hot ? form->n_classes : 1);
}

ebb_type ebb_form_batch_type(const ebb_form *form, const ebb_shape *shape, int64_t n)
{
    ebb_type type = { .dtype = form->dtype, .shape = { .rank = 1, .dims = { n } } };
    for (int i = 0; i < shape->rank; i++)
        type.shape.dims[type.shape.rank++] = shape->dims[i];
    if (form->one_hot)
        type.shape.dims[type.shape.rank++] = form->n_classes;
    return type;
}
