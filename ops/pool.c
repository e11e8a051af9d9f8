/* Pooling over one to three spatial dimensions. max_pool gives, beside the maxima, where they are:
 * the number of the tap in its window, U8 if there are at most 256 taps, else I32. With that table
 * both further ops of its family are linear, and each other's adjoint: max_pool_grad adds values
 * where they come from, max_pool_gather takes them there. avg_pool and avg_pool_grad are linear
 * too, and each other's vjp. */
#define EBB_NO_LOCATIONS
#include "ops/pool.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/rows.h"
#include <string.h>

static bool has_size(const ebb_op *op)
{
    return op == &ebb_op_max_pool_grad || op == &ebb_op_avg_pool_grad;
}

static const ebb_pool_attrs *pool_attrs(const ebb_op *op, const void *attrs)
{
    return has_size(op) ? &((const ebb_pool_grad_attrs *)attrs)->pool : attrs;
}

static ebb_window_spec spec_of(const ebb_pool_attrs *attrs)
{
    return (ebb_window_spec){ .window = &attrs->window,
                              .stride = &attrs->stride,
                              .padding = &attrs->padding,
                              .dilation = &attrs->dilation,
                              .stride_is_window = true };
}

void ebb_pool_read(const ebb_op *op, const void *attrs, const ebb_shape *input,
                   const ebb_shape *result, ebb_pool *pool)
{
    const ebb_pool_attrs *common = pool_attrs(op, attrs);
    const ebb_shape *x = has_size(op) ? result : input;
    const ebb_window_spec spec = spec_of(common);
    *pool = (ebb_pool){ .batch = x->dims[0],
                        .channels = x->dims[1],
                        .count_include_pad = common->count_include_pad };
    (void)ebb_window_read(NULL, &spec, x->rank - 2, &pool->w);
    (void)ebb_window_slide(NULL, x->dims + 2, common->ceil_mode, x, &pool->w);
}

/* ---- types ---- */

/* The window of the attributes, without sizes. */
static ebb_status read_window(const ebb_infer *infer, const ebb_pool_attrs *attrs, int n,
                              ebb_window *w)
{
    const ebb_window_spec spec = spec_of(attrs);
    *w = (ebb_window){ 0 };
    ebb_status status = ebb_window_read(infer, &spec, n, w);
    for (int d = EBB_MAX_SPATIAL - n; d < EBB_MAX_SPATIAL && !status; d++) {
        const int64_t span = (w->window[d] - 1) * w->dilation[d] + 1;
        const int64_t most = w->begin[d] > w->end[d] ? w->begin[d] : w->end[d];
        if (most >= span)
            status =
                ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE,
                               "padding %lld of spatial dimension %d is not below the window's "
                               "span %lld",
                               (long long)most, d - EBB_MAX_SPATIAL + n, (long long)span);
    }
    if (!status && (w->n_taps <= 0 || w->n_taps > INT32_MAX))
        status = ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "the window has too many taps");
    return status;
}

static ebb_dtype where_dtype(const ebb_window *w)
{
    return w->n_taps <= 256 ? EBB_U8 : EBB_I32;
}

/* Input 1 is a table of places in the windows, of the shape of `like`. */
static ebb_status check_where(const ebb_infer *infer, const ebb_window *w, const ebb_shape *like)
{
    const ebb_type *where = infer->inputs[1];
    char text[EBB_TYPE_TEXT_BYTES], other[EBB_TYPE_TEXT_BYTES];
    if (where->dtype != where_dtype(w))
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "where is %s, not %s for a window of %lld taps",
                              ebb_dtype_name(where->dtype), ebb_dtype_name(where_dtype(w)),
                              (long long)w->n_taps);
    if (!ebb_shape_equal(&where->shape, like))
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "where is %s, not %s",
                              ebb_shape_text(&where->shape, text), ebb_shape_text(like, other));
    return EBB_OK;
}

static ebb_shape shape_with(const ebb_shape *shape, const ebb_window *w, const int64_t *sizes)
{
    ebb_shape result = *shape;
    memcpy(result.dims + 2, sizes + EBB_MAX_SPATIAL - w->n, (size_t)w->n * sizeof *sizes);
    return result;
}

/* max_pool, avg_pool, max_pool_gather */
static ebb_status infer_pool(const ebb_infer *infer)
{
    const ebb_pool_attrs *attrs = infer->attrs;
    const ebb_type *x = infer->inputs[0];
    ebb_window w;
    ebb_status status = ebb_window_input(infer, 0, "x");
    if (!status)
        status = read_window(infer, attrs, x->shape.rank - 2, &w);
    if (!status)
        status = ebb_window_slide(infer, x->shape.dims + 2, attrs->ceil_mode, &x->shape, &w);
    if (status)
        return status;
    infer->results[0] = (ebb_type){ x->dtype, shape_with(&x->shape, &w, w.count) };
    if (infer->op->n_results == 2)
        infer->results[1] = (ebb_type){ where_dtype(&w), infer->results[0].shape };
    if (infer->n_inputs == 2)
        status = check_where(infer, &w, &infer->results[0].shape);
    return status ? status : ebb_infer_shape(infer, &infer->results[0].shape);
}

static ebb_status infer_grad(const ebb_infer *infer)
{
    const ebb_pool_grad_attrs *attrs = infer->attrs;
    const ebb_shape *dy = &infer->inputs[0]->shape;
    const int n = dy->rank - 2;
    char size[EBB_TYPE_TEXT_BYTES], count[EBB_TYPE_TEXT_BYTES], text[EBB_TYPE_TEXT_BYTES];
    ebb_window w;
    ebb_status status = ebb_window_input(infer, 0, "dy");
    if (!status)
        status = read_window(infer, &attrs->pool, n, &w);
    if (status)
        return status;
    int64_t sizes[EBB_MAX_SPATIAL];
    for (int d = 0; d < n; d++) {
        const int at = EBB_MAX_SPATIAL - n + d;
        const int64_t rest = (w.window[at] - 1) * w.dilation[at] + 1 - w.begin[at] - w.end[at];
        if (__builtin_mul_overflow(dy->dims[2 + d] - 1, w.stride[at], &sizes[d]) ||
            __builtin_add_overflow(sizes[d], rest, &sizes[d]))
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "the result has too many elements");
        sizes[d] = sizes[d] < 0 ? 0 : sizes[d];
    }
    if (attrs->size.n)
        status = ebb_window_expand(infer, "size", &attrs->size, n, 0, 0, sizes);
    if (!status)
        status = ebb_window_slide(infer, sizes, attrs->pool.ceil_mode, dy, &w);
    for (int d = 0; d < n && !status; d++)
        if (w.count[EBB_MAX_SPATIAL - n + d] != dy->dims[2 + d])
            status = ebb_infer_fail(infer, EBB_BAD_SHAPE, "size %s gives %s places, dy is %s",
                                    ebb_window_text(&w, w.size, size),
                                    ebb_window_text(&w, w.count, count), ebb_shape_text(dy, text));
    if (!status && infer->n_inputs == 2)
        status = check_where(infer, &w, dy);
    if (status)
        return status;
    infer->results[0] = (ebb_type){ infer->inputs[0]->dtype, shape_with(dy, &w, w.size) };
    return ebb_infer_shape(infer, &infer->results[0].shape);
}

/* ---- gradients ---- */

static ebb_node emit_grad(const ebb_op *op, ebb_node dy, ebb_node where, const ebb_pool_attrs *pool,
                          ebb_node like)
{
    const ebb_shape *shape = &ebb_node_type(like)->shape;
    ebb_pool_grad_attrs attrs = { .pool = *pool, .size = { .n = shape->rank - 2 } };
    memcpy(attrs.size.values, shape->dims + 2, (size_t)attrs.size.n * sizeof(int64_t));
    const ebb_node inputs[2] = { dy, where };
    return ebb_emit(NULL, op, inputs, op->n_inputs, &attrs, NULL);
}

static void vjp_max_pool(const ebb_vjp *v)
{
    if (v->needed[0] && !ebb_node_is_none(v->cotangents[0]))
        v->gradients[0] = emit_grad(&ebb_op_max_pool_grad, v->cotangents[0], v->results[1],
                                    v->attrs, v->inputs[0]);
}

static void vjp_max_pool_gather(const ebb_vjp *v)
{
    if (v->needed[0])
        v->gradients[0] = emit_grad(&ebb_op_max_pool_grad, v->cotangents[0], v->inputs[1], v->attrs,
                                    v->inputs[0]);
}

static void vjp_max_pool_grad(const ebb_vjp *v)
{
    const ebb_node inputs[2] = { v->cotangents[0], v->inputs[1] };
    if (v->needed[0])
        v->gradients[0] =
            ebb_emit(NULL, &ebb_op_max_pool_gather, inputs, 2, pool_attrs(v->op, v->attrs), NULL);
}

static void vjp_avg_pool(const ebb_vjp *v)
{
    if (v->needed[0])
        v->gradients[0] =
            emit_grad(&ebb_op_avg_pool_grad, v->cotangents[0], EBB_NONE, v->attrs, v->inputs[0]);
}

static void vjp_avg_pool_grad(const ebb_vjp *v)
{
    if (v->needed[0])
        v->gradients[0] =
            ebb_emit(NULL, &ebb_op_avg_pool, v->cotangents, 1, pool_attrs(v->op, v->attrs), NULL);
}

/* ---- reference kernels ---- */

/* One window: the taps that lie in x. */
typedef struct place {
    int64_t at[3], first[3], last[3];
} place;

static place find_place(const ebb_window *w, int64_t index)
{
    place p;
    for (int d = EBB_MAX_SPATIAL - 1; d >= 0; d--) {
        p.at[d] = index % w->count[d];
        index /= w->count[d];
        ebb_window_taps(w, d, p.at[d], &p.first[d], &p.last[d]);
    }
    return p;
}

/* Where tap k of a window lies in its plane of x; -1: outside. */
static int64_t find_tap(const ebb_window *w, const place *p, const int64_t *k)
{
    int64_t index = 0;
    for (int d = 0; d < EBB_MAX_SPATIAL; d++) {
        if (k[d] < p->first[d] || k[d] >= p->last[d])
            return -1;
        index = index * w->size[d] + p->at[d] * w->stride[d] + k[d] * w->dilation[d] - w->begin[d];
    }
    return index;
}

#define EACH_TAP(p, k)                                                                             \
    for ((k)[0] = (p).first[0]; (k)[0] < (p).last[0]; (k)[0]++)                                    \
        for ((k)[1] = (p).first[1]; (k)[1] < (p).last[1]; (k)[1]++)                                \
            for ((k)[2] = (p).first[2]; (k)[2] < (p).last[2]; (k)[2]++)

static ebb_pool read_pool(const ebb_eval *eval)
{
    ebb_pool pool;
    ebb_pool_read(eval->op, eval->attrs, &eval->inputs[0].type.shape, &eval->results[0].type.shape,
                  &pool);
    return pool;
}

static ebb_status eval_max_pool(const ebb_eval *eval)
{
    const ebb_pool pool = read_pool(eval);
    const ebb_window *w = &pool.w;
    const ebb_tensor *x = &eval->inputs[0], *y = &eval->results[0], *where = &eval->results[1];
    int64_t k[3];
    for (int64_t plane = 0; plane < pool.batch * pool.channels; plane++)
        for (int64_t i = 0; i < w->n_counts; i++) {
            const place p = find_place(w, i);
            double most = -(double)INFINITY;
            int64_t tap = 0;
            bool is_first = true;
            EACH_TAP(p, k)
            {
                const double value =
                    ebb_float_at(x->type.dtype, x->data, plane * w->n_sizes + find_tap(w, &p, k));
                if (is_first || value > most || (isnan(value) && !isnan(most))) {
                    most = value;
                    tap = (k[0] * w->window[1] + k[1]) * w->window[2] + k[2];
                }
                is_first = false;
            }
            ebb_float_put(x->type.dtype, y->data, plane * w->n_counts + i, most);
            if (where->type.dtype == EBB_U8)
                ((uint8_t *)where->data)[plane * w->n_counts + i] = (uint8_t)tap;
            else
                ((int32_t *)where->data)[plane * w->n_counts + i] = (int32_t)tap;
        }
    return EBB_OK;
}

/* Where in its plane of x window i of a plane has its maximum; -1: nowhere. */
static int64_t find_maximum(const ebb_window *w, const ebb_tensor *where, int64_t plane, int64_t i)
{
    const int64_t at = plane * w->n_counts + i;
    int64_t tap = where->type.dtype == EBB_U8 ? ((const uint8_t *)where->data)[at]
                                              : ((const int32_t *)where->data)[at];
    if (tap < 0 || tap >= w->n_taps)
        return -1;
    const place p = find_place(w, i);
    const int64_t k[3] = { tap / w->window[2] / w->window[1], tap / w->window[2] % w->window[1],
                           tap % w->window[2] };
    return find_tap(w, &p, k);
}

static ebb_status eval_max_pool_gather(const ebb_eval *eval)
{
    const ebb_pool pool = read_pool(eval);
    const ebb_window *w = &pool.w;
    const ebb_tensor *x = &eval->inputs[0];
    for (int64_t plane = 0; plane < pool.batch * pool.channels; plane++)
        for (int64_t i = 0; i < w->n_counts; i++) {
            const int64_t from = find_maximum(w, &eval->inputs[1], plane, i);
            const double value =
                from < 0 ? 0 : ebb_float_at(x->type.dtype, x->data, plane * w->n_sizes + from);
            ebb_float_put(x->type.dtype, eval->results[0].data, plane * w->n_counts + i, value);
        }
    return EBB_OK;
}

static void add_to(ebb_dtype dtype, void *data, int64_t at, double value)
{
    ebb_float_put(dtype, data, at, ebb_float_at(dtype, data, at) + value);
}

static ebb_status eval_max_pool_grad(const ebb_eval *eval)
{
    const ebb_pool pool = read_pool(eval);
    const ebb_window *w = &pool.w;
    const ebb_tensor *dy = &eval->inputs[0], *dx = &eval->results[0];
    memset(dx->data, 0, ebb_tensor_bytes(dx));
    for (int64_t plane = 0; plane < pool.batch * pool.channels; plane++)
        for (int64_t i = 0; i < w->n_counts; i++) {
            const int64_t to = find_maximum(w, &eval->inputs[1], plane, i);
            if (to >= 0)
                add_to(dx->type.dtype, dx->data, plane * w->n_sizes + to,
                       ebb_float_at(dy->type.dtype, dy->data, plane * w->n_counts + i));
        }
    return EBB_OK;
}

/* 0 for a window that counts nothing. */
static double find_factor(const ebb_pool *pool, const place *p)
{
    double n = 1;
    for (int d = 0; d < EBB_MAX_SPATIAL; d++)
        n *= (double)ebb_pool_divisor(pool, d, p->at[d]);
    return n > 0 ? 1 / n : 0;
}

static ebb_status eval_avg_pool(const ebb_eval *eval)
{
    const ebb_pool pool = read_pool(eval);
    const ebb_window *w = &pool.w;
    const ebb_tensor *x = &eval->inputs[0];
    int64_t k[3];
    for (int64_t plane = 0; plane < pool.batch * pool.channels; plane++)
        for (int64_t i = 0; i < w->n_counts; i++) {
            const place p = find_place(w, i);
            double sum = 0;
            EACH_TAP(p, k)
            sum += ebb_float_at(x->type.dtype, x->data, plane * w->n_sizes + find_tap(w, &p, k));
            ebb_float_put(x->type.dtype, eval->results[0].data, plane * w->n_counts + i,
                          sum * find_factor(&pool, &p));
        }
    return EBB_OK;
}

static ebb_status eval_avg_pool_grad(const ebb_eval *eval)
{
    const ebb_pool pool = read_pool(eval);
    const ebb_window *w = &pool.w;
    const ebb_tensor *dy = &eval->inputs[0], *dx = &eval->results[0];
    int64_t k[3];
    memset(dx->data, 0, ebb_tensor_bytes(dx));
    for (int64_t plane = 0; plane < pool.batch * pool.channels; plane++)
        for (int64_t i = 0; i < w->n_counts; i++) {
            const place p = find_place(w, i);
            const double share = ebb_float_at(dy->type.dtype, dy->data, plane * w->n_counts + i) *
                                 find_factor(&pool, &p);
            EACH_TAP(p, k)
            add_to(dx->type.dtype, dx->data, plane * w->n_sizes + find_tap(w, &p, k), share);
        }
    return EBB_OK;
}

/* ---- data ---- */

#define POOL_FIELDS(type, member)                                                                  \
    { "window", EBB_ATTR_INTS, offsetof(type, member window),                                      \
      "taps; must be given; one value: for all dimensions", NULL },                                \
        { "stride", EBB_ATTR_INTS, offsetof(type, member stride),                                  \
          "steps between windows; none: the window", NULL },                                       \
        { "padding", EBB_ATTR_INTS, offsetof(type, member padding),                                \
          "around x: one value, one a dimension, or all begins and then all ends; none: 0",        \
          NULL },                                                                                  \
        { "dilation", EBB_ATTR_INTS, offsetof(type, member dilation),                              \
          "steps between taps; none: 1", NULL },                                                   \
    {                                                                                              \
        "ceil_mode", EBB_ATTR_BOOL, offsetof(type, member ceil_mode),                              \
            "the number of windows is rounded up; default false", NULL                             \
    }
#define AVG_FIELD(type, member)                                                                    \
    {                                                                                              \
        "count_include_pad", EBB_ATTR_BOOL, offsetof(type, member count_include_pad),              \
            "padding counts in the divisor; default false", NULL                                   \
    }
#define SIZE_FIELD                                                                                 \
    EBB_FIELD(ebb_pool_grad_attrs, size, INTS,                                                     \
              "spatial sizes of the result; none: the smallest that fit")

static const ebb_attr_field max_fields[] = { POOL_FIELDS(ebb_pool_attrs, ), { 0 } };
static const ebb_attr_field avg_fields[] = { POOL_FIELDS(ebb_pool_attrs, ),
                                             AVG_FIELD(ebb_pool_attrs, ),
                                             { 0 } };
static const ebb_attr_field max_grad_fields[] = { POOL_FIELDS(ebb_pool_grad_attrs, pool.),
                                                  SIZE_FIELD,
                                                  { 0 } };
static const ebb_attr_field avg_grad_fields[] = { POOL_FIELDS(ebb_pool_grad_attrs, pool.),
                                                  AVG_FIELD(ebb_pool_grad_attrs, pool.),
                                                  SIZE_FIELD,
                                                  { 0 } };

#include "ops/pool_samples.h"

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])
#define POOL(name_, n_inputs_, n_results_, text, attrs_type, fields, ...)                          \
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
        __VA_ARGS__,                                                                               \
    }

POOL(max_pool, 1, 2, "the maximum of each window, and the number of its tap", ebb_pool_attrs,
     max_fields, .infer = infer_pool, .vjp = vjp_max_pool, .eval = eval_max_pool);
POOL(max_pool_grad, 2, 1, "the gradient of max_pool, out of its cotangent and its table of taps",
     ebb_pool_grad_attrs, max_grad_fields, .infer = infer_grad, .vjp = vjp_max_pool_grad,
     .eval = eval_max_pool_grad);
POOL(max_pool_gather, 2, 1, "of each window the value at the tap that the table of max_pool says",
     ebb_pool_attrs, max_fields, .infer = infer_pool, .vjp = vjp_max_pool_gather,
     .eval = eval_max_pool_gather);
POOL(avg_pool, 1, 1, "the mean of each window", ebb_pool_attrs, avg_fields, .infer = infer_pool,
     .vjp = vjp_avg_pool, .eval = eval_avg_pool);
POOL(avg_pool_grad, 1, 1, "the gradient of avg_pool, out of its cotangent", ebb_pool_grad_attrs,
     avg_grad_fields, .infer = infer_grad, .vjp = vjp_avg_pool_grad, .eval = eval_avg_pool_grad);
