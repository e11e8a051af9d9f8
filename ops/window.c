/* The geometry of sliding windows: lists of attributes, checks, output sizes. */
#include "ops/window.h"
#include "ops/build.h"
#include <stdio.h>
#include <string.h>

/* Products of a few of these stay below 2^63. */
#define LARGEST INT64_C(0x7fffffff)

static ebb_status check_value(const ebb_infer *infer, const char *name, int d, int64_t value,
                              int64_t low)
{
    if (infer && (value < low || value > LARGEST))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE,
                              "%s %lld of spatial dimension %d is not in %lld..%lld", name,
                              (long long)value, d, (long long)low, (long long)LARGEST);
    return EBB_OK;
}

ebb_status ebb_window_expand(const ebb_infer *infer, const char *name, const ebb_ints *list, int n,
                             int64_t low, int64_t missing, int64_t *values)
{
    if (infer && list->n != 0 && list->n != 1 && list->n != n)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE,
                              "%s has %d values for %d spatial dimensions", name, list->n, n);
    ebb_status status = EBB_OK;
    for (int d = 0; d < n && !status; d++) {
        values[d] = list->n == 0 ? missing : list->values[list->n == 1 ? 0 : d];
        status = list->n ? check_value(infer, name, d, values[d], low) : EBB_OK;
    }
    return status;
}

static ebb_status expand_padding(const ebb_infer *infer, const ebb_ints *list, int n,
                                 int64_t *begin, int64_t *end)
{
    if (infer && list->n != 0 && list->n != 1 && list->n != n && list->n != 2 * n)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE,
                              "padding has %d values for %d spatial dimensions", list->n, n);
    ebb_status status = EBB_OK;
    for (int d = 0; d < n && !status; d++) {
        begin[d] = list->n == 0 ? 0 : list->values[list->n == 1 ? 0 : d];
        end[d] = list->n == 2 * n ? list->values[n + d] : begin[d];
        status = check_value(infer, "padding", d, begin[d], 0);
        if (!status)
            status = check_value(infer, "padding", d, end[d], 0);
    }
    return status;
}

static int64_t product_of(const int64_t *values)
{
    int64_t product = 1;
    for (int d = 0; d < EBB_MAX_SPATIAL; d++)
        if (__builtin_mul_overflow(product, values[d], &product))
            return 0;
    return product;
}

ebb_status ebb_window_read(const ebb_infer *infer, const ebb_window_spec *spec, int n,
                           ebb_window *w)
{
    const int front = EBB_MAX_SPATIAL - n;
    int64_t window[EBB_MAX_SPATIAL];
    memcpy(window, w->window, sizeof window);
    *w = (ebb_window){ .n = n };
    for (int d = 0; d < EBB_MAX_SPATIAL; d++) {
        w->size[d] = w->count[d] = d < front;
        w->window[d] = d < front ? 1 : window[d];
        w->stride[d] = w->dilation[d] = 1;
    }
    ebb_status status = EBB_OK;
    if (spec->window && spec->window->n == 0 && infer)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "there is no window");
    if (spec->window)
        status = ebb_window_expand(infer, "window", spec->window, n, 1, 1, w->window + front);
    if (!status)
        status = ebb_window_expand(infer, "stride", spec->stride, n, 1, 1, w->stride + front);
    if (!status)
        status = ebb_window_expand(infer, "dilation", spec->dilation, n, 1, 1, w->dilation + front);
    if (!status)
        status = expand_padding(infer, spec->padding, n, w->begin + front, w->end + front);
    if (spec->stride_is_window && spec->stride->n == 0)
        memcpy(w->stride, w->window, sizeof w->stride);
    w->n_taps = product_of(w->window);
    return status;
}

ebb_status ebb_window_slide(const ebb_infer *infer, const int64_t *sizes, bool ceil_mode,
                            const ebb_shape *x, ebb_window *w)
{
    const int front = EBB_MAX_SPATIAL - w->n;
    for (int d = front; d < EBB_MAX_SPATIAL; d++) {
        const int64_t size = sizes[d - front], padded = size + w->begin[d] + w->end[d];
        const int64_t span = (w->window[d] - 1) * w->dilation[d] + 1, stride = w->stride[d];
        w->size[d] = size;
        if (padded < span && infer) {
            char text[EBB_TYPE_TEXT_BYTES];
            return ebb_infer_fail(
                infer, EBB_BAD_SHAPE,
                "a window of %lld taps spans %lld in spatial dimension %d, and %s is %lld there "
                "with its padding",
                (long long)w->window[d], (long long)span, d - front, ebb_shape_text(x, text),
                (long long)padded);
        }
        w->count[d] = padded < span ? 0 : (padded - span) / stride + 1;
        if (ceil_mode && padded >= span && (padded - span) % stride &&
            w->count[d] * stride < size + w->begin[d]) /* the last window starts before the end */
            w->count[d]++;
    }
    w->n_sizes = product_of(w->size);
    w->n_counts = product_of(w->count);
    return EBB_OK;
}

ebb_status ebb_window_input(const ebb_infer *infer, int index, const char *name)
{
    const ebb_shape *shape = &infer->inputs[index]->shape;
    char text[EBB_TYPE_TEXT_BYTES];
    ebb_status status = ebb_infer_float(infer, index);
    if (status)
        return status;
    if (shape->rank < 3 || shape->rank > 2 + EBB_MAX_SPATIAL)
        return ebb_infer_fail(
            infer, EBB_BAD_SHAPE,
            "%s %s has not 1, 2 or 3 spatial dimensions behind batch and channels", name,
            ebb_shape_text(shape, text));
    return EBB_OK;
}

/* ---- for builders ---- */

ebb_ints ebb_window_full(ebb_ints list, int n, int64_t missing)
{
    if (n < 1 || n > EBB_MAX_SPATIAL || (list.n != 0 && list.n != 1 && list.n != n))
        return list;
    ebb_ints full = { .n = n };
    for (int d = 0; d < n; d++)
        full.values[d] = list.n == 0 ? missing : list.values[list.n == 1 ? 0 : d];
    return full;
}

ebb_ints ebb_window_full_padding(ebb_ints list, int n)
{
    if (n < 1 || n > EBB_MAX_SPATIAL ||
        (list.n != 0 && list.n != 1 && list.n != n && list.n != 2 * n))
        return list;
    ebb_ints full = { .n = 2 * n };
    (void)expand_padding(NULL, &list, n, full.values, full.values + n);
    return full;
}

ebb_ints ebb_window_list(const ebb_window *w, const int64_t *values)
{
    ebb_ints list = { .n = w->n };
    memcpy(list.values, values + EBB_MAX_SPATIAL - w->n, (size_t)w->n * sizeof *values);
    return list;
}

const char *ebb_window_text(const ebb_window *w, const int64_t *values,
                            char text[EBB_TYPE_TEXT_BYTES])
{
    int at = 0;
    for (int d = EBB_MAX_SPATIAL - w->n; d < EBB_MAX_SPATIAL; d++)
        at += snprintf(text + at, EBB_TYPE_TEXT_BYTES - (size_t)at, "%s%lld", at ? "," : "[",
                       (long long)values[d]);
    snprintf(text + at, EBB_TYPE_TEXT_BYTES - (size_t)at, "]");
    return text;
}
