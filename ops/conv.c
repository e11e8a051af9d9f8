/* Convolution over one to three spatial dimensions, and its gradients. The family is closed: with
 * B(x, w, y) = sum over batch n, filter o, place p, channel c and tap k of
 *
 *   x[n, c, p stride + k dilation - begin] w[o, c, k] y[n, o, p]
 *
 * conv, conv_input_grad and conv_weight_grad are the derivatives of B by y, x and w, so that the
 * vjp of each is made of the other two. (With groups, o and c run inside a group.) */
#define EBB_NO_LOCATIONS
#include "ops/conv.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/rows.h"
#include <stdio.h>
#include <string.h>

static bool is_forward(const ebb_op *op)
{
    return op == &ebb_op_conv || op == &ebb_op_conv_epilogue;
}

static const ebb_conv_attrs *conv_attrs(const ebb_op *op, const void *attrs)
{
    return op == &ebb_op_conv            ? attrs
           : op == &ebb_op_conv_epilogue ? &((const ebb_conv_epilogue_attrs *)attrs)->conv
                                         : &((const ebb_conv_grad_attrs *)attrs)->conv;
}

static ebb_window_spec spec_of(const ebb_conv_attrs *attrs)
{
    return (ebb_window_spec){ .stride = &attrs->stride,
                              .padding = &attrs->padding,
                              .dilation = &attrs->dilation };
}

static int64_t groups_of(const ebb_conv_attrs *attrs)
{
    return attrs->groups ? attrs->groups : 1;
}

/* Copies the spatial dimensions of a shape to the right end of an array of three. */
static void read_spatial(const ebb_shape *shape, int64_t *values)
{
    const int n = shape->rank - 2;
    memcpy(values + EBB_MAX_SPATIAL - n, shape->dims + 2, (size_t)n * sizeof *values);
}

void ebb_conv_read(const ebb_op *op, const void *attrs, const ebb_shape *const inputs[2],
                   const ebb_shape *result, ebb_conv *conv)
{
    const ebb_conv_attrs *common = conv_attrs(op, attrs);
    const ebb_window_spec spec = spec_of(common);
    const ebb_shape *x = inputs[0], *w = inputs[1], *y = result;
    if (op == &ebb_op_conv_input_grad) {
        x = result;
        y = inputs[0];
    } else if (!is_forward(op)) {
        w = result;
        y = inputs[1];
    }
    *conv = (ebb_conv){ .batch = x->dims[0], .groups = groups_of(common) };
    conv->channels = w->dims[1];
    conv->filters = w->dims[0] / conv->groups;
    read_spatial(w, conv->w.window);
    (void)ebb_window_read(NULL, &spec, x->rank - 2, &conv->w);
    (void)ebb_window_slide(NULL, x->dims + 2, false, x, &conv->w);
    (void)y;
}

/* A multiply-add for each weight of a filter and each element of y. */
static double flops_conv(const ebb_infer *types)
{
    const ebb_op *op = types->op;
    const ebb_type *w = &types->results[0], *y = types->inputs[1];
    if (op == &ebb_op_conv) {
        w = types->inputs[1];
        y = &types->results[0];
    } else if (op == &ebb_op_conv_input_grad) {
        w = types->inputs[1];
        y = types->inputs[0];
    }
    double filters = (double)w->shape.dims[0];
    return filters > 0 ? 2 * (double)ebb_shape_elements(&w->shape) / filters *
                             (double)ebb_shape_elements(&y->shape)
                       : 0;
}

/* ---- types ---- */

static ebb_status check_ranks(const ebb_infer *infer, const char *first, const char *second)
{
    char text[EBB_TYPE_TEXT_BYTES], other[EBB_TYPE_TEXT_BYTES];
    const ebb_type *a = infer->inputs[0], *b = infer->inputs[1];
    ebb_status status = ebb_window_input(infer, 0, first);
    if (status)
        return status;
    if (a->dtype != b->dtype)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "dtypes differ: %s, %s",
                              ebb_dtype_name(a->dtype), ebb_dtype_name(b->dtype));
    if (a->shape.rank != b->shape.rank)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "ranks differ: %s %s, %s %s", first,
                              ebb_shape_text(&a->shape, text), second,
                              ebb_shape_text(&b->shape, other));
    return EBB_OK;
}

/* The window that w is. Without taps there would be no size of w that its gradient could have. */
static ebb_status read_window(const ebb_infer *infer, const ebb_shape *w,
                              const ebb_conv_attrs *attrs, ebb_window *window)
{
    char text[EBB_TYPE_TEXT_BYTES];
    const ebb_window_spec spec = spec_of(attrs);
    for (int d = 2; d < w->rank; d++)
        if (w->dims[d] < 1)
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "w is %s: no taps in spatial dimension %d",
                                  ebb_shape_text(w, text), d - 2);
    *window = (ebb_window){ 0 };
    read_spatial(w, window->window);
    return ebb_window_read(infer, &spec, w->rank - 2, window);
}

static ebb_status check_groups(const ebb_infer *infer, int64_t groups)
{
    if (groups < 1)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "groups %lld is negative",
                              (long long)groups);
    return EBB_OK;
}

static ebb_status check_division(const ebb_infer *infer, const char *what, int64_t n,
                                 int64_t groups)
{
    if (n % groups)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "%lld %s do not divide into %lld groups",
                              (long long)n, what, (long long)groups);
    return EBB_OK;
}

/* `type` with the spatial dimensions `sizes` behind the two given ones. */
static ebb_status fill_result(const ebb_infer *infer, int index, int64_t first, int64_t second,
                              const ebb_window *w, const int64_t *sizes)
{
    ebb_type *result = &infer->results[index];
    *result = (ebb_type){ infer->inputs[0]->dtype, { .rank = 2 + w->n } };
    result->shape.dims[0] = first;
    result->shape.dims[1] = second;
    for (int d = 0; d < w->n; d++)
        result->shape.dims[2 + d] = sizes[EBB_MAX_SPATIAL - w->n + d];
    return ebb_infer_shape(infer, &result->shape);
}

static ebb_status infer_conv(const ebb_infer *infer)
{
    const ebb_conv_attrs *attrs = conv_attrs(infer->op, infer->attrs);
    const int64_t groups = groups_of(attrs);
    if (infer->n_inputs != 2 && infer->n_inputs != 3)
        return ebb_infer_fail(infer, EBB_BAD_ARGUMENT, "%d inputs; it takes x, w and perhaps bias",
                              infer->n_inputs);
    const ebb_shape *x = &infer->inputs[0]->shape, *w = &infer->inputs[1]->shape;
    ebb_status status = check_ranks(infer, "x", "w");
    if (!status)
        status = check_groups(infer, groups);
    if (status)
        return status;
    if (x->dims[1] % groups || x->dims[1] / groups != w->dims[1])
        return ebb_infer_fail(infer, EBB_BAD_SHAPE,
                              "x has %lld channels, and w takes %lld in each of %lld groups",
                              (long long)x->dims[1], (long long)w->dims[1], (long long)groups);
    if ((status = check_division(infer, "filters of w", w->dims[0], groups)))
        return status;
    if (infer->n_inputs == 3) {
        const ebb_type *bias = infer->inputs[2];
        char text[EBB_TYPE_TEXT_BYTES];
        if (bias->dtype != infer->inputs[0]->dtype)
            return ebb_infer_fail(infer, EBB_BAD_DTYPE, "bias is %s, x is %s",
                                  ebb_dtype_name(bias->dtype),
                                  ebb_dtype_name(infer->inputs[0]->dtype));
        if (bias->shape.rank != 1 || bias->shape.dims[0] != w->dims[0])
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "bias is %s, not [%lld] as w has filters",
                                  ebb_shape_text(&bias->shape, text), (long long)w->dims[0]);
    }
    ebb_window window;
    status = read_window(infer, w, attrs, &window);
    if (!status)
        status = ebb_window_slide(infer, x->dims + 2, false, x, &window);
    return status ? status : fill_result(infer, 0, x->dims[0], w->dims[0], &window, window.count);
}

/* The windows must be as many as dy has places. */
static ebb_status check_counts(const ebb_infer *infer, const ebb_window *w, const char *what,
                               const int64_t *values, const ebb_shape *dy)
{
    for (int d = 0; d < w->n; d++)
        if (w->count[EBB_MAX_SPATIAL - w->n + d] != dy->dims[2 + d]) {
            char size[EBB_TYPE_TEXT_BYTES], count[EBB_TYPE_TEXT_BYTES], text[EBB_TYPE_TEXT_BYTES];
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "%s %s gives %s places, dy is %s", what,
                                  ebb_window_text(w, values, size),
                                  ebb_window_text(w, w->count, count), ebb_shape_text(dy, text));
        }
    return EBB_OK;
}

static ebb_status infer_input_grad(const ebb_infer *infer)
{
    const ebb_conv_grad_attrs *attrs = infer->attrs;
    const ebb_shape *dy = &infer->inputs[0]->shape, *w = &infer->inputs[1]->shape;
    const int64_t groups = groups_of(&attrs->conv);
    const int n = dy->rank - 2;
    ebb_status status = check_ranks(infer, "dy", "w");
    if (!status)
        status = check_groups(infer, groups);
    if (status)
        return status;
    if (dy->dims[1] != w->dims[0])
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "dy has %lld channels, and w has %lld filters",
                              (long long)dy->dims[1], (long long)w->dims[0]);
    if ((status = check_division(infer, "filters of w", w->dims[0], groups)))
        return status;
    ebb_window window;
    if ((status = read_window(infer, w, &attrs->conv, &window)))
        return status;
    int64_t sizes[EBB_MAX_SPATIAL], channels;
    for (int d = 0; d < n; d++) { /* none: the smallest that gives as many places */
        const int at = EBB_MAX_SPATIAL - n + d;
        int64_t span = (window.window[at] - 1) * window.dilation[at] + 1;
        if (__builtin_mul_overflow(dy->dims[2 + d] - 1, window.stride[at], &sizes[d]))
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "the result has too many elements");
        sizes[d] += span - window.begin[at] - window.end[at];
    }
    if (attrs->size.n)
        status = ebb_window_expand(infer, "size", &attrs->size, n, 0, 0, sizes);
    for (int d = 0; d < n && !status; d++)
        if (sizes[d] < 0)
            status = ebb_infer_fail(infer, EBB_BAD_SHAPE,
                                    "there is nothing left of spatial dimension %d but padding", d);
    if (!status)
        status = ebb_window_slide(infer, sizes, false, dy, &window);
    if (!status)
        status = check_counts(infer, &window, "size", window.size, dy);
    if (status)
        return status;
    if (__builtin_mul_overflow(w->dims[1], groups, &channels))
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "the result has too many elements");
    return fill_result(infer, 0, dy->dims[0], channels, &window, window.size);
}

/* conv_weight_grad, and with a second result conv_weight_bias_grad. */
static ebb_status infer_weight_grad(const ebb_infer *infer)
{
    const ebb_conv_grad_attrs *attrs = infer->attrs;
    const ebb_shape *x = &infer->inputs[0]->shape, *dy = &infer->inputs[1]->shape;
    const int64_t groups = groups_of(&attrs->conv);
    const int n = x->rank - 2;
    ebb_status status = check_ranks(infer, "x", "dy");
    if (!status)
        status = check_groups(infer, groups);
    if (status)
        return status;
    if (x->dims[0] != dy->dims[0])
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "batches differ: %lld of x, %lld of dy",
                              (long long)x->dims[0], (long long)dy->dims[0]);
    status = check_division(infer, "channels of x", x->dims[1], groups);
    if (!status)
        status = check_division(infer, "channels of dy", dy->dims[1], groups);
    ebb_window window = { 0 };
    const ebb_window_spec spec = spec_of(&attrs->conv);
    if (!status)
        status = ebb_window_read(infer, &spec, n, &window);
    if (status)
        return status;
    int64_t taps[EBB_MAX_SPATIAL];
    for (int d = 0; d < n; d++) { /* none: the largest that fits as often */
        const int at = EBB_MAX_SPATIAL - n + d;
        int64_t last, rest = x->dims[2 + d] + window.begin[at] + window.end[at];
        const bool fits =
            !__builtin_mul_overflow(dy->dims[2 + d] - 1, window.stride[at], &last) && last < rest;
        taps[d] = fits ? (rest - last - 1) / window.dilation[at] + 1 : 1;
    }
    if (attrs->size.n)
        status = ebb_window_expand(infer, "size", &attrs->size, n, 1, 1, taps);
    for (int d = 0; d < n; d++)
        window.window[EBB_MAX_SPATIAL - n + d] = taps[d];
    if (!status)
        status = ebb_window_slide(infer, x->dims + 2, false, x, &window);
    if (!status)
        status = check_counts(infer, &window, "size", window.window, dy);
    if (status)
        return status;
    if (infer->op->n_results == 2)
        infer->results[1] = (ebb_type){ infer->inputs[0]->dtype, { 1, { dy->dims[1] } } };
    return fill_result(infer, 0, dy->dims[1], x->dims[1] / groups, &window, window.window);
}

/* ---- gradients ---- */

static ebb_node emit_grad(const ebb_op *op, ebb_node a, ebb_node b, const ebb_conv_attrs *conv,
                          ebb_node like, ebb_node *results)
{
    const ebb_shape *shape = &ebb_node_type(like)->shape;
    ebb_conv_grad_attrs attrs = { .conv = *conv, .size = { .n = shape->rank - 2 } };
    memcpy(attrs.size.values, shape->dims + 2, (size_t)attrs.size.n * sizeof(int64_t));
    const ebb_node inputs[2] = { a, b };
    return ebb_emit(NULL, op, inputs, 2, &attrs, results);
}

static ebb_node emit_conv(ebb_node x, ebb_node w, const ebb_conv_attrs *conv)
{
    const ebb_node inputs[2] = { x, w };
    return ebb_emit(NULL, &ebb_op_conv, inputs, 2, conv, NULL);
}

/* Sums over all but the channels. */
static ebb_node sum_channels(ebb_node dy)
{
    ebb_axes axes = { .n = 0 };
    for (int i = 0; i < ebb_node_type(dy)->shape.rank; i++)
        if (i != 1)
            axes.axes[axes.n++] = i;
    return ebb_reduce_sum(dy, axes, false);
}

static void vjp_conv(const ebb_vjp *v)
{
    const ebb_node x = v->inputs[0], w = v->inputs[1], g = v->cotangents[0];
    const bool has_bias = v->n_inputs == 3 && v->needed[2];
    if (v->needed[0])
        v->gradients[0] = emit_grad(&ebb_op_conv_input_grad, g, w, v->attrs, x, NULL);
    if (v->needed[1] && has_bias) {
        ebb_node results[2];
        (void)emit_grad(&ebb_op_conv_weight_bias_grad, x, g, v->attrs, w, results);
        v->gradients[1] = results[0];
        v->gradients[2] = results[1];
    } else if (v->needed[1]) {
        v->gradients[1] = emit_grad(&ebb_op_conv_weight_grad, x, g, v->attrs, w, NULL);
    } else if (has_bias) {
        v->gradients[2] = sum_channels(g);
    }
}

static void vjp_input_grad(const ebb_vjp *v)
{
    const ebb_conv_attrs *conv = conv_attrs(v->op, v->attrs);
    const ebb_node dy = v->inputs[0], w = v->inputs[1], g = v->cotangents[0];
    if (v->needed[0])
        v->gradients[0] = emit_conv(g, w, conv);
    if (v->needed[1])
        v->gradients[1] = emit_grad(&ebb_op_conv_weight_grad, g, dy, conv, w, NULL);
}

static void vjp_weight_grad(const ebb_vjp *v)
{
    const ebb_conv_attrs *conv = conv_attrs(v->op, v->attrs);
    const ebb_node x = v->inputs[0], dy = v->inputs[1], g = v->cotangents[0];
    if (v->needed[0])
        v->gradients[0] = emit_grad(&ebb_op_conv_input_grad, dy, g, conv, x, NULL);
    if (v->needed[1])
        v->gradients[1] = emit_conv(x, g, conv);
}

static void decompose_weight_bias_grad(const ebb_decompose *d)
{
    d->results[0] = ebb_emit(NULL, &ebb_op_conv_weight_grad, d->inputs, 2, d->attrs, NULL);
    d->results[1] = sum_channels(d->inputs[1]);
}

/* ---- reference kernels: plain loops, sums in double ---- */

typedef struct loops {
    ebb_conv conv;
    ebb_dtype dtype;
    const void *x, *w, *y; /* the one that is computed is NULL */
} loops;

/* The number in row-major order of an index in three dimensions of sizes `sizes`. */
static int64_t join_index(const int64_t *index, const int64_t *sizes)
{
    return (index[0] * sizes[1] + index[1]) * sizes[2] + index[2];
}

/* y[n, filter, place] */
static double sum_output(const loops *l, int64_t n, int64_t filter, int64_t place)
{
    const ebb_conv *conv = &l->conv;
    const ebb_window *w = &conv->w;
    const int64_t group = filter / conv->filters;
    int64_t at[3], first[3], last[3], k[3];
    ebb_window_split(place, w->count, at);
    for (int d = 0; d < 3; d++)
        ebb_window_taps(w, d, at[d], &first[d], &last[d]);
    double sum = 0;
    for (int64_t c = 0; c < conv->channels; c++) {
        const int64_t x_plane = (n * conv->groups + group) * conv->channels + c;
        const int64_t w_plane = filter * conv->channels + c;
        for (k[0] = first[0]; k[0] < last[0]; k[0]++)
            for (k[1] = first[1]; k[1] < last[1]; k[1]++)
                for (k[2] = first[2]; k[2] < last[2]; k[2]++) {
                    int64_t p[3];
                    for (int d = 0; d < 3; d++)
                        p[d] = at[d] * w->stride[d] + k[d] * w->dilation[d] - w->begin[d];
                    sum += ebb_float_at(l->dtype, l->x,
                                        x_plane * w->n_sizes + join_index(p, w->size)) *
                           ebb_float_at(l->dtype, l->w,
                                        w_plane * w->n_taps + join_index(k, w->window));
                }
    }
    return sum;
}

/* x[n, channel, place]: over the windows that have a tap there. */
static double sum_input(const loops *l, int64_t n, int64_t channel, int64_t place)
{
    const ebb_conv *conv = &l->conv;
    const ebb_window *w = &conv->w;
    const int64_t group = channel / conv->channels, c = channel % conv->channels;
    int64_t at[3], k[3], p[3];
    ebb_window_split(place, w->size, at);
    double sum = 0;
    for (k[0] = 0; k[0] < w->window[0]; k[0]++)
        for (k[1] = 0; k[1] < w->window[1]; k[1]++)
            for (k[2] = 0; k[2] < w->window[2]; k[2]++) {
                bool is_there = true;
                for (int d = 0; d < 3; d++) {
                    const int64_t start = at[d] + w->begin[d] - k[d] * w->dilation[d];
                    p[d] = start / w->stride[d];
                    is_there &= start >= 0 && start % w->stride[d] == 0 && p[d] < w->count[d];
                }
                if (!is_there)
                    continue;
                const int64_t y_at = join_index(p, w->count), w_at = join_index(k, w->window);
                for (int64_t o = 0; o < conv->filters; o++) {
                    const int64_t filter = group * conv->filters + o;
                    const int64_t y_plane = n * conv->groups * conv->filters + filter;
                    sum += ebb_float_at(l->dtype, l->y, y_plane * w->n_counts + y_at) *
                           ebb_float_at(l->dtype, l->w,
                                        (filter * conv->channels + c) * w->n_taps + w_at);
                }
            }
    return sum;
}

/* w[filter, c, tap] */
static double sum_weight(const loops *l, int64_t filter, int64_t c, int64_t tap)
{
    const ebb_conv *conv = &l->conv;
    const ebb_window *w = &conv->w;
    const int64_t group = filter / conv->filters;
    int64_t k[3], p[3], at[3];
    ebb_window_split(tap, w->window, k);
    double sum = 0;
    for (int64_t n = 0; n < conv->batch; n++) {
        const int64_t x_plane = (n * conv->groups + group) * conv->channels + c;
        const int64_t y_plane = n * conv->groups * conv->filters + filter;
        for (at[0] = 0; at[0] < w->count[0]; at[0]++)
            for (at[1] = 0; at[1] < w->count[1]; at[1]++)
                for (at[2] = 0; at[2] < w->count[2]; at[2]++) {
                    bool is_inside = true;
                    for (int d = 0; d < 3; d++) {
                        p[d] = at[d] * w->stride[d] + k[d] * w->dilation[d] - w->begin[d];
                        is_inside &= p[d] >= 0 && p[d] < w->size[d];
                    }
                    if (is_inside)
                        sum += ebb_float_at(l->dtype, l->x,
                                            x_plane * w->n_sizes + join_index(p, w->size)) *
                               ebb_float_at(l->dtype, l->y,
                                            y_plane * w->n_counts + join_index(at, w->count));
                }
    }
    return sum;
}

static loops read_loops(const ebb_eval *eval)
{
    loops l = { .dtype = eval->inputs[0].type.dtype };
    const ebb_shape *shapes[2] = { &eval->inputs[0].type.shape, &eval->inputs[1].type.shape };
    ebb_conv_read(eval->op, eval->attrs, shapes, &eval->results[0].type.shape, &l.conv);
    return l;
}

static ebb_status eval_conv(const ebb_eval *eval)
{
    loops l = read_loops(eval);
    l.x = eval->inputs[0].data;
    l.w = eval->inputs[1].data;
    const int64_t filters = l.conv.groups * l.conv.filters, n_places = l.conv.w.n_counts;
    for (int64_t n = 0, at = 0; n < l.conv.batch; n++)
        for (int64_t o = 0; o < filters; o++) {
            const double bias =
                eval->n_inputs == 3 ? ebb_float_at(l.dtype, eval->inputs[2].data, o) : 0;
            for (int64_t p = 0; p < n_places; p++, at++)
                ebb_float_put(l.dtype, eval->results[0].data, at, sum_output(&l, n, o, p) + bias);
        }
    return EBB_OK;
}

static ebb_status eval_input_grad(const ebb_eval *eval)
{
    loops l = read_loops(eval);
    l.y = eval->inputs[0].data;
    l.w = eval->inputs[1].data;
    const int64_t channels = l.conv.groups * l.conv.channels;
    for (int64_t n = 0, at = 0; n < l.conv.batch; n++)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t p = 0; p < l.conv.w.n_sizes; p++, at++)
                ebb_float_put(l.dtype, eval->results[0].data, at, sum_input(&l, n, c, p));
    return EBB_OK;
}

static ebb_status eval_weight_grad(const ebb_eval *eval)
{
    loops l = read_loops(eval);
    l.x = eval->inputs[0].data;
    l.y = eval->inputs[1].data;
    const int64_t filters = l.conv.groups * l.conv.filters, n_places = l.conv.w.n_counts;
    for (int64_t o = 0, at = 0; o < filters; o++)
        for (int64_t c = 0; c < l.conv.channels; c++)
            for (int64_t k = 0; k < l.conv.w.n_taps; k++, at++)
                ebb_float_put(l.dtype, eval->results[0].data, at, sum_weight(&l, o, c, k));
    for (int64_t o = 0; o < filters && eval->n_results == 2; o++) {
        double sum = 0;
        for (int64_t n = 0; n < l.conv.batch; n++)
            for (int64_t p = 0; p < n_places; p++)
                sum += ebb_float_at(l.dtype, l.y, (n * filters + o) * n_places + p);
        ebb_float_put(l.dtype, eval->results[1].data, o, sum);
    }
    return EBB_OK;
}

/* ---- data ---- */

#define COMMON_FIELDS(type, member)                                                                \
    { "stride", EBB_ATTR_INTS, offsetof(type, member stride),                                      \
      "steps between windows; none: 1, one value: for all dimensions", NULL },                     \
        { "padding", EBB_ATTR_INTS, offsetof(type, member padding),                                \
          "zeros around x: one value, one a dimension, or all begins and then all ends; none: 0",  \
          NULL },                                                                                  \
        { "dilation", EBB_ATTR_INTS, offsetof(type, member dilation),                              \
          "steps between taps; none: 1, one value: for all dimensions", NULL },                    \
    {                                                                                              \
        "groups", EBB_ATTR_I64, offsetof(type, member groups),                                     \
            "channels are convolved in so many separate groups; default 1", NULL                   \
    }

static const ebb_attr_field conv_fields[] = {
    COMMON_FIELDS(ebb_conv_attrs, ),
    { 0 },
};
static const ebb_attr_field input_grad_fields[] = {
    COMMON_FIELDS(ebb_conv_grad_attrs, conv.),
    EBB_FIELD(ebb_conv_grad_attrs, size, INTS,
              "spatial sizes of the result; none: the smallest that fit"),
    { 0 },
};
static const ebb_attr_field weight_grad_fields[] = {
    COMMON_FIELDS(ebb_conv_grad_attrs, conv.),
    EBB_FIELD(ebb_conv_grad_attrs, size, INTS,
              "spatial sizes of the result; none: the largest that fit"),
    { 0 },
};

#include "ops/conv_samples.h"

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])
#define CONV(name_, n_inputs_, n_results_, text, attrs_type, fields, ...)                          \
    const ebb_op ebb_op_##name_ = {                                                                \
        .name = #name_,                                                                            \
        .summary = text,                                                                           \
        .group = "convolution",                                                                    \
        .n_inputs = n_inputs_,                                                                     \
        .n_results = n_results_,                                                                   \
        .attrs_bytes = sizeof(attrs_type),                                                         \
        .attrs = fields,                                                                           \
        .samples = samples_##name_,                                                                \
        .n_samples = COUNT(samples_##name_),                                                       \
        .flops = flops_conv,                                                                       \
        __VA_ARGS__,                                                                               \
    }

CONV(conv, EBB_VARIADIC, 1,
     "convolution (cross-correlation) of x with w, plus a bias if there is one", ebb_conv_attrs,
     conv_fields, .infer = infer_conv, .vjp = vjp_conv, .eval = eval_conv);
CONV(conv_input_grad, 2, 1, "the gradient of conv to x, out of its cotangent and w",
     ebb_conv_grad_attrs, input_grad_fields, .infer = infer_input_grad, .vjp = vjp_input_grad,
     .eval = eval_input_grad);
CONV(conv_weight_grad, 2, 1, "the gradient of conv to w, out of x and its cotangent",
     ebb_conv_grad_attrs, weight_grad_fields, .infer = infer_weight_grad, .vjp = vjp_weight_grad,
     .eval = eval_weight_grad);
CONV(conv_weight_bias_grad, 2, 2, "the gradients of conv to w and bias, out of x and its cotangent",
     ebb_conv_grad_attrs, weight_grad_fields, .traits = EBB_TRAIT_LIBRARY,
     .infer = infer_weight_grad, .eval = eval_weight_grad, .decompose = decompose_weight_bias_grad);
