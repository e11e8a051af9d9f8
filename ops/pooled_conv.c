/* Gradients of a convolution whose result went through max_pool. Its cotangent is 0 but at the
 * maxima, so that only those take part: a quarter of the work with windows of 2x2, and the large
 * cotangent is never made. Nobody builds these ops: a pass makes them of max_pool_grad before
 * conv_weight_bias_grad or conv_input_grad where a backend has a kernel. (Products of 0 and what is
 * not finite may be left out.) */
#define EBB_NO_LOCATIONS
#include "ops/pooled_conv.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/rows.h"
#include <string.h>

static bool gives_weights(const ebb_op *op)
{
    return op == &ebb_op_pooled_conv_weight_grad;
}

static const ebb_op *conv_op(const ebb_op *op)
{
    return gives_weights(op) ? &ebb_op_conv_weight_bias_grad : &ebb_op_conv_input_grad;
}

/* The cotangent of the convolution as max_pool_grad would give it: counts[] of its windows. */
static ebb_pool_grad_attrs pool_attrs_of(const ebb_pooled_conv_attrs *attrs, const ebb_window *w)
{
    return (ebb_pool_grad_attrs){ .pool = attrs->pool, .size = ebb_window_list(w, w->count) };
}

static ebb_conv_grad_attrs conv_attrs_of(const ebb_pooled_conv_attrs *attrs)
{
    return (ebb_conv_grad_attrs){ .conv = attrs->conv, .size = attrs->size };
}

/* ---- types ---- */

/* The windows of the convolution over x. */
static ebb_status read_conv_window(const ebb_infer *infer, ebb_window *w)
{
    const ebb_pooled_conv_attrs *attrs = infer->attrs;
    const ebb_window_spec spec = { .stride = &attrs->conv.stride,
                                   .padding = &attrs->conv.padding,
                                   .dilation = &attrs->conv.dilation };
    const bool weights = gives_weights(infer->op);
    const ebb_shape *dy = &infer->inputs[weights ? 1 : 0]->shape;
    const ebb_shape *other = &infer->inputs[weights ? 0 : 2]->shape;
    const int n = dy->rank - 2;
    int64_t sizes[EBB_MAX_SPATIAL];
    *w = (ebb_window){ 0 };
    ebb_status status = ebb_window_input(infer, weights ? 1 : 0, "dy");
    if (!status && (other->rank != dy->rank || attrs->size.n == 0))
        status = ebb_infer_fail(infer, EBB_BAD_SHAPE,
                                other->rank != dy->rank ? "ranks differ" : "there is no size");
    if (!status)
        status = ebb_window_expand(infer, "size", &attrs->size, n, weights ? 1 : 0, 1, sizes);
    if (status)
        return status;
    const int64_t *taps = weights ? sizes : other->dims + 2;
    memcpy(w->window + EBB_MAX_SPATIAL - n, taps, (size_t)n * sizeof *taps);
    status = ebb_window_read(infer, &spec, n, w);
    if (!status)
        status = ebb_window_slide(infer, weights ? other->dims + 2 : sizes, false, other, w);
    return status;
}

static ebb_status infer_pooled(const ebb_infer *infer)
{
    const bool weights = gives_weights(infer->op);
    ebb_window w;
    ebb_status status = read_conv_window(infer, &w);
    if (status)
        return status;
    const ebb_pool_grad_attrs pool = pool_attrs_of(infer->attrs, &w);
    const ebb_conv_grad_attrs conv = conv_attrs_of(infer->attrs);
    ebb_type full;
    const ebb_type *const *const inputs = infer->inputs;
    status = ebb_op_max_pool_grad.infer(
        &(ebb_infer){ &ebb_op_max_pool_grad, &pool, 2, inputs + weights, &full, infer->error });
    if (status)
        return status;
    const ebb_type *const both[2] = { weights ? inputs[0] : &full, weights ? &full : inputs[2] };
    return conv_op(infer->op)->infer(
        &(ebb_infer){ conv_op(infer->op), &conv, 2, both, infer->results, infer->error });
}

void ebb_pooled_conv_read(const ebb_op *op, const void *attrs, const ebb_shape *const inputs[3],
                          const ebb_shape *result, ebb_conv *conv, ebb_pool *pool)
{
    const bool weights = gives_weights(op);
    const ebb_shape *dy = inputs[weights];
    const ebb_conv_grad_attrs conv_attrs = conv_attrs_of(attrs);
    const ebb_shape *const both[2] = { weights ? inputs[0] : dy, weights ? dy : inputs[2] };
    ebb_conv_read(conv_op(op), &conv_attrs, both, result, conv);
    const ebb_pool_grad_attrs pool_attrs = pool_attrs_of(attrs, &conv->w);
    ebb_shape full = *dy;
    memcpy(full.dims + 2, pool_attrs.size.values, (size_t)pool_attrs.size.n * sizeof(int64_t));
    ebb_pool_read(&ebb_op_max_pool_grad, &pool_attrs, dy, &full, pool);
}

bool ebb_pooled_conv_is_plain(const ebb_conv *conv, const ebb_pool *pool)
{
    const ebb_window *c = &conv->w, *p = &pool->w;
    bool is_plain = conv->groups == 1;
    for (int d = 0; d < EBB_MAX_SPATIAL; d++)
        is_plain = is_plain && p->dilation[d] == 1 && p->begin[d] == 0 && p->end[d] == 0 &&
                   (p->count[d] - 1) * p->stride[d] + p->window[d] <= c->count[d];
    return is_plain;
}

static void decompose_pooled(const ebb_decompose *d)
{
    const bool weights = gives_weights(d->op);
    const ebb_shape *inputs[3];
    ebb_shape result = ebb_node_type(d->inputs[weights ? 0 : 2])->shape;
    const ebb_pooled_conv_attrs *attrs = d->attrs;
    for (int i = 0; i < 3; i++)
        inputs[i] = &ebb_node_type(d->inputs[i])->shape;
    if (weights) {
        result.dims[0] = inputs[1]->dims[1];
        result.dims[1] /= attrs->conv.groups ? attrs->conv.groups : 1;
    } else {
        result.dims[0] = inputs[0]->dims[0];
        result.dims[1] *= attrs->conv.groups ? attrs->conv.groups : 1;
    }
    for (int i = 0; i + 2 < result.rank; i++)
        result.dims[2 + i] = attrs->size.values[attrs->size.n == 1 ? 0 : i];
    ebb_conv conv;
    ebb_pool pool;
    ebb_pooled_conv_read(d->op, attrs, inputs, &result, &conv, &pool);
    const ebb_pool_grad_attrs pool_attrs = pool_attrs_of(attrs, &conv.w);
    const ebb_conv_grad_attrs conv_attrs = conv_attrs_of(attrs);
    const ebb_node full =
        ebb_emit(NULL, &ebb_op_max_pool_grad, d->inputs + weights, 2, &pool_attrs, NULL);
    const ebb_node both[2] = { weights ? d->inputs[0] : full, weights ? full : d->inputs[2] };
    const ebb_node first = ebb_emit(NULL, conv_op(d->op), both, 2, &conv_attrs, d->results);
    d->results[0] = first;
}

/* ---- reference kernels ---- */

typedef struct loops {
    ebb_conv conv;
    ebb_pool pool;
    ebb_dtype dtype;
    const ebb_tensor *where;
} loops;

static loops read_loops(const ebb_eval *eval)
{
    const bool weights = gives_weights(eval->op);
    const ebb_shape *inputs[3];
    loops l = { .dtype = eval->results[0].type.dtype, .where = &eval->inputs[weights + 1] };
    for (int i = 0; i < 3; i++)
        inputs[i] = &eval->inputs[i].type.shape;
    ebb_pooled_conv_read(eval->op, eval->attrs, inputs, &eval->results[0].type.shape, &l.conv,
                         &l.pool);
    return l;
}

/* Where in x, in front of tap 0, the convolution's window lies that window i of a plane of dy has
 * as its maximum; false: nowhere. */
static bool find_start(const loops *l, int64_t plane, int64_t i, int64_t *start)
{
    const ebb_window *p = &l->pool.w, *c = &l->conv.w;
    const int64_t at = plane * p->n_counts + i;
    const int64_t number = l->where->type.dtype == EBB_U8 ? ((const uint8_t *)l->where->data)[at]
                                                          : ((const int32_t *)l->where->data)[at];
    int64_t place[3], tap[3];
    if (number < 0 || number >= p->n_taps)
        return false;
    ebb_window_split(i, p->count, place);
    ebb_window_split(number, p->window, tap);
    for (int d = 0; d < EBB_MAX_SPATIAL; d++) {
        const int64_t y = place[d] * p->stride[d] + tap[d] * p->dilation[d] - p->begin[d];
        if (y < 0 || y >= c->count[d])
            return false;
        start[d] = y * c->stride[d] - c->begin[d];
    }
    return true;
}

/* Index of tap k in a plane of x; -1: in the padding. */
static int64_t find_tap(const ebb_window *c, const int64_t *start, int64_t k)
{
    int64_t tap[3], index = 0;
    ebb_window_split(k, c->window, tap);
    for (int d = 0; d < EBB_MAX_SPATIAL; d++) {
        const int64_t at = start[d] + tap[d] * c->dilation[d];
        if (at < 0 || at >= c->size[d])
            return -1;
        index = index * c->size[d] + at;
    }
    return index;
}

static ebb_status eval_weight_grad(const ebb_eval *eval)
{
    const loops l = read_loops(eval);
    const ebb_conv *conv = &l.conv;
    const int64_t n_filters = conv->groups * conv->filters, n = l.pool.w.n_counts;
    const void *x = eval->inputs[0].data, *dy = eval->inputs[1].data;
    int64_t start[3];
    for (int64_t o = 0; o < n_filters; o++) {
        double bias = 0;
        for (int64_t b = 0; b < conv->batch; b++)
            for (int64_t i = 0; i < n; i++)
                if (find_start(&l, b * n_filters + o, i, start))
                    bias += ebb_float_at(l.dtype, dy, (b * n_filters + o) * n + i);
        ebb_float_put(l.dtype, eval->results[1].data, o, bias);
        for (int64_t c = 0; c < conv->channels; c++)
            for (int64_t k = 0; k < conv->w.n_taps; k++) {
                double sum = 0;
                for (int64_t b = 0; b < conv->batch; b++) {
                    const int64_t group = o / conv->filters;
                    const int64_t plane = (b * conv->groups + group) * conv->channels + c;
                    for (int64_t i = 0; i < n; i++) {
                        if (!find_start(&l, b * n_filters + o, i, start))
                            continue;
                        const int64_t at = find_tap(&conv->w, start, k);
                        if (at >= 0)
                            sum += ebb_float_at(l.dtype, x, plane * conv->w.n_sizes + at) *
                                   ebb_float_at(l.dtype, dy, (b * n_filters + o) * n + i);
                    }
                }
                ebb_float_put(l.dtype, eval->results[0].data,
                              (o * conv->channels + c) * conv->w.n_taps + k, sum);
            }
    }
    return EBB_OK;
}

static ebb_status eval_input_grad(const ebb_eval *eval)
{
    const loops l = read_loops(eval);
    const ebb_conv *conv = &l.conv;
    const int64_t n_filters = conv->groups * conv->filters, n = l.pool.w.n_counts;
    const void *dy = eval->inputs[0].data, *w = eval->inputs[2].data;
    void *dx = eval->results[0].data;
    int64_t start[3];
    memset(dx, 0, ebb_tensor_bytes(&eval->results[0]));
    for (int64_t plane = 0; plane < conv->batch * n_filters; plane++)
        for (int64_t i = 0; i < n; i++) {
            const int64_t b = plane / n_filters, o = plane % n_filters, group = o / conv->filters;
            if (!find_start(&l, plane, i, start))
                continue;
            const double value = ebb_float_at(l.dtype, dy, plane * n + i);
            for (int64_t c = 0; c < conv->channels; c++)
                for (int64_t k = 0; k < conv->w.n_taps; k++) {
                    const int64_t at = find_tap(&conv->w, start, k);
                    if (at < 0)
                        continue;
                    const int64_t to =
                        ((b * conv->groups + group) * conv->channels + c) * conv->w.n_sizes + at;
                    const double weight =
                        ebb_float_at(l.dtype, w, (o * conv->channels + c) * conv->w.n_taps + k);
                    ebb_float_put(l.dtype, dx, to, ebb_float_at(l.dtype, dx, to) + value * weight);
                }
        }
    return EBB_OK;
}

/* ---- data ---- */

/* clang-format off */
static const ebb_attr_field fields[] = {
    EBB_CONV_POOL_FIELDS(ebb_pooled_conv_attrs),
    { "size", EBB_ATTR_INTS, offsetof(ebb_pooled_conv_attrs, size),
      "spatial sizes of the first result", NULL },
    { 0 },
};

/* ---- samples ---- */

#define F(...) EBB_SAMPLE_TYPE(F64, __VA_ARGS__)
#define U8(...) EBB_SAMPLE_TYPE(U8, __VA_ARGS__)
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define INTS(...) { (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), { __VA_ARGS__ } }
#define ATTRS(...) .attrs = &(const ebb_pooled_conv_attrs){ __VA_ARGS__ }
#define POOL(n) .pool = { .window = INTS(n) }
#define X_5X5 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24
/* Shapes of x, dy and w; spatial sizes of x and w; the rest; places 0..taps-1 of a window. */
#define SHAPES(X)                                                                                  \
    X((2, 1, 8, 8), (2, 6, 2, 2), (6, 1, 5, 5), (8, 8), (5, 5), 4, POOL(2)),                       \
    X((2, 3, 7, 9), (2, 4, 3, 4), (4, 3, 2, 2), (7, 9), (2, 2), 4, POOL(2)),                       \
    X((3, 2, 6, 6), (3, 5, 3, 3), (5, 2, 3, 3), (6, 6), (3, 3), 4, POOL(2),                        \
      .conv = { .padding = INTS(1) }),                                                             \
    X((2, 6, 6, 7), (2, 17, 1, 2), (17, 6, 5, 4), (6, 7), (5, 4), 4, POOL(2)),                     \
    X((1, 16, 6, 6), (1, 4, 2, 2), (4, 16, 3, 3), (6, 6), (3, 3), 9, POOL(3),                      \
      .conv = { .padding = INTS(1) }),                                                             \
    X((1, 2, 9, 9), (1, 3, 3, 3), (3, 2, 3, 3), (9, 9), (3, 3), 9,                                 \
      .pool = { .window = INTS(3), .stride = INTS(2) }),                                           \
    X((1, 2, 8, 8), (1, 3, 3, 3), (3, 2, 3, 3), (8, 8), (3, 3), 9,                                 \
      .pool = { .window = INTS(3), .stride = INTS(2), .padding = INTS(1) }),                       \
    X((1, 4, 9, 8), (1, 6, 2, 2), (6, 2, 2, 2), (9, 8), (2, 2), 4, POOL(2),                        \
      .conv = { .stride = INTS(2), .groups = 2 }),                                                 \
    X((2, 1, 9), (2, 3, 3), (3, 1, 3), (9), (3), 2, .pool = { .window = INTS(2) }),                \
    X((0, 1, 8, 8), (0, 6, 2, 2), (6, 1, 5, 5), (8, 8), (5, 5), 4, POOL(2))

#define WEIGHTS(x, dy, w, x_size, w_size, taps, ...)                                               \
    { .n_inputs = 3, .inputs = EBB_INPUTS(F x, F dy, U8 dy),                                       \
      ATTRS(__VA_ARGS__, .size = INTS w_size),                                                     \
      .range = EBB_RANGES({ 0, 0, 0, 0 }, { 0, 0, 0, 0 }, { 0, taps, 0, 0 }) }
#define INPUT(x, dy, w, x_size, w_size, taps, ...)                                                 \
    { .n_inputs = 3, .inputs = EBB_INPUTS(F dy, U8 dy, F w),                                       \
      ATTRS(__VA_ARGS__, .size = INTS x_size),                                                     \
      .range = EBB_RANGES({ 0, 0, 0, 0 }, { 0, taps, 0, 0 }) }

static const ebb_sample weight_samples[] = {
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(1, 1, 5, 5), F(1, 1, 2, 2), U8(1, 1, 2, 2)),
      ATTRS(POOL(2), .size = INTS(2)),
      .values = { LIST(X_5X5), LIST(1, 2, 3, 4), LIST(0, 3, 1, 2) },
      .expected = LIST(117, 127, 167, 177, 10), .source = "by the definition" },
    SHAPES(WEIGHTS),
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(1, 1, 5, 5), F(1, 1, 2, 2), U8(1, 1, 2, 2)),
      ATTRS(POOL(2)),
      .error = EBB_BAD_SHAPE, .message = "there is no size" },
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(1, 1, 5, 5), F(1, 1, 2, 2), U8(1, 1, 2, 1)),
      ATTRS(POOL(2), .size = INTS(2)), .error = EBB_BAD_SHAPE,
      .message = "where is [1,1,2,1], not [1,1,2,2]" },
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(2, 1, 5, 5), F(1, 1, 2, 2), U8(1, 1, 2, 2)),
      ATTRS(POOL(2), .size = INTS(2)), .error = EBB_BAD_SHAPE, .message = "batches differ" },
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(1, 1, 5), F(1, 1, 2, 2), U8(1, 1, 2, 2)),
      ATTRS(POOL(2), .size = INTS(2)), .error = EBB_BAD_SHAPE, .message = "ranks differ" },
};
static const ebb_sample input_samples[] = {
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(1, 1, 2, 2), U8(1, 1, 2, 2), F(1, 1, 2, 2)),
      ATTRS(POOL(2), .size = INTS(5)),
      .values = { LIST(1, 2, 3, 4), LIST(0, 3, 1, 2), LIST(1, 10, 100, 1000) },
      .expected = LIST(1, 10, 0, 0, 0, 100, 1000, 0, 2, 20, 0, 3, 30, 200, 2000,
                       0, 300, 3004, 40, 0, 0, 0, 400, 4000, 0),
      .source = "by the definition" },
    SHAPES(INPUT),
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(1, 1, 2, 2), U8(1, 1, 2, 2), F(2, 1, 2, 2)),
      ATTRS(POOL(2), .size = INTS(5)), .error = EBB_BAD_SHAPE,
      .message = "dy has 1 channels, and w has 2 filters" },
};

#define OP(name_, n_results_, text, list)                                                          \
    const ebb_op ebb_op_##name_ = {                                                                \
        .name = #name_,                                                                            \
        .summary = text,                                                                           \
        .group = "convolution",                                                                    \
        .n_inputs = 3,                                                                             \
        .n_results = n_results_,                                                                   \
        .traits = EBB_TRAIT_LIBRARY,                                                               \
        .attrs_bytes = sizeof(ebb_pooled_conv_attrs),                                              \
        .attrs = fields,                                                                           \
        .infer = infer_pooled,                                                                     \
        .decompose = decompose_pooled,                                                             \
        .samples = list,                                                                           \
        .n_samples = (int)(sizeof(list) / sizeof *(list)),                                         \
        EVAL                                                                                       \
    }
/* clang-format on */
#define EVAL .eval = eval_weight_grad,
OP(pooled_conv_weight_grad, 2,
   "the gradients of conv to w and bias, out of x, and the cotangent and table of max_pool behind",
   weight_samples);
#undef EVAL
#define EVAL .eval = eval_input_grad,
OP(pooled_conv_input_grad, 1,
   "the gradient of conv to x, out of the cotangent and table of max_pool behind, and w",
   input_samples);
