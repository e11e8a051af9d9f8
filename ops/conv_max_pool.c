/* conv_max_pool: max_pool(conv(x, w, bias)) as one op, with both results of max_pool. Nobody builds
 * it: a pass makes it where a backend has a kernel, so that the large image between the two is
 * never written. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/pooled_conv.h"
#include "ops/rows.h"
#include <math.h>

static ebb_status infer_both(const ebb_infer *infer)
{
    const ebb_conv_max_pool_attrs *attrs = infer->attrs;
    ebb_infer conv = *infer, pool = *infer; /* the op stays, for messages */
    ebb_type between;
    const ebb_type *const input = &between;
    conv.attrs = &attrs->conv;
    conv.results = &between;
    ebb_status status = ebb_op_conv.infer(&conv);
    if (status)
        return status;
    pool.attrs = &attrs->pool;
    pool.n_inputs = 1;
    pool.inputs = &input;
    return ebb_op_max_pool.infer(&pool);
}

void ebb_conv_max_pool_read(const ebb_conv_max_pool_attrs *attrs, const ebb_shape *const inputs[2],
                            const ebb_shape *result, ebb_conv *conv, ebb_pool *pool)
{
    const ebb_type types[2] = { { EBB_F32, *inputs[0] }, { EBB_F32, *inputs[1] } };
    const ebb_type *const pointers[2] = { &types[0], &types[1] };
    ebb_type between;
    ebb_error error;
    (void)ebb_op_conv.infer(
        &(ebb_infer){ &ebb_op_conv, &attrs->conv, 2, pointers, &between, &error });
    ebb_conv_read(&ebb_op_conv, &attrs->conv, inputs, &between.shape, conv);
    ebb_pool_read(&ebb_op_max_pool, &attrs->pool, &between.shape, result, pool);
}

static void decompose_both(const ebb_decompose *d)
{
    const ebb_conv_max_pool_attrs *attrs = d->attrs;
    const ebb_node y = ebb_emit(d->graph, &ebb_op_conv, d->inputs, d->n_inputs, &attrs->conv, NULL);
    ebb_emit(d->graph, &ebb_op_max_pool, &y, 1, &attrs->pool, d->results);
}

static double flops_both(const ebb_infer *types)
{
    const ebb_conv_max_pool_attrs *attrs = types->attrs;
    ebb_infer conv = *types;
    ebb_type between;
    conv.op = &ebb_op_conv;
    conv.attrs = &attrs->conv;
    conv.results = &between;
    return ebb_op_conv.infer(&conv) ? 0 : ebb_op_conv.flops(&conv);
}

/* ---- reference kernel ---- */

typedef struct loops {
    const ebb_eval *eval;
    ebb_conv conv;
    ebb_pool pool;
    ebb_dtype dtype;
} loops;

/* The convolution at one place, rounded as its result would be. */
static double convolve_at(const loops *l, int64_t b, int64_t o, const int64_t *place)
{
    const ebb_conv *conv = &l->conv;
    const ebb_window *w = &conv->w;
    const ebb_tensor *in = l->eval->inputs;
    const int64_t group = o / conv->filters;
    double sum = 0;
    for (int64_t c = 0; c < conv->channels; c++)
        for (int64_t k = 0; k < w->n_taps; k++) {
            const int64_t plane = (b * conv->groups + group) * conv->channels + c;
            int64_t tap[EBB_MAX_SPATIAL], index = 0;
            bool is_inside = true;
            ebb_window_split(k, w->window, tap);
            for (int d = 0; d < EBB_MAX_SPATIAL; d++) {
                const int64_t at = place[d] * w->stride[d] + tap[d] * w->dilation[d] - w->begin[d];
                is_inside = is_inside && at >= 0 && at < w->size[d];
                index = index * w->size[d] + at;
            }
            if (is_inside)
                sum += ebb_float_at(l->dtype, in[0].data, plane * w->n_sizes + index) *
                       ebb_float_at(l->dtype, in[1].data, (o * conv->channels + c) * w->n_taps + k);
        }
    if (l->eval->n_inputs > 2)
        sum += ebb_float_at(l->dtype, in[2].data, o);
    return l->dtype == EBB_F32 ? (double)(float)sum : sum;
}

static ebb_status eval_both(const ebb_eval *eval)
{
    loops l = { .eval = eval, .dtype = eval->results[0].type.dtype };
    const ebb_shape *const inputs[2] = { &eval->inputs[0].type.shape, &eval->inputs[1].type.shape };
    ebb_conv_max_pool_read(eval->attrs, inputs, &eval->results[0].type.shape, &l.conv, &l.pool);
    const ebb_window *p = &l.pool.w;
    const int64_t n_filters = l.conv.groups * l.conv.filters;
    for (int64_t i = 0; i < l.conv.batch * n_filters * p->n_counts; i++) {
        const int64_t plane = i / p->n_counts;
        double most = -(double)INFINITY;
        int64_t place[EBB_MAX_SPATIAL], best = -1;
        ebb_window_split(i % p->n_counts, p->count, place);
        for (int64_t k = 0; k < p->n_taps; k++) {
            int64_t tap[EBB_MAX_SPATIAL], at[EBB_MAX_SPATIAL];
            bool is_inside = true;
            ebb_window_split(k, p->window, tap);
            for (int d = 0; d < EBB_MAX_SPATIAL; d++) {
                at[d] = place[d] * p->stride[d] + tap[d] * p->dilation[d] - p->begin[d];
                is_inside = is_inside && at[d] >= 0 && at[d] < p->size[d];
            }
            if (!is_inside)
                continue;
            const double value = convolve_at(&l, plane / n_filters, plane % n_filters, at);
            if (best < 0 || value > most || (isnan(value) && !isnan(most))) {
                most = value;
                best = k;
            }
        }
        ebb_float_put(l.dtype, eval->results[0].data, i, most);
        ebb_tensor_set(&eval->results[1], i, best < 0 ? 0 : (double)best);
    }
    return EBB_OK;
}

/* ---- data ---- */

/* clang-format off */
static const ebb_attr_field fields[] = {
    EBB_CONV_POOL_FIELDS(ebb_conv_max_pool_attrs),
    { 0 },
};

#define F(...) EBB_SAMPLE_TYPE(F64, __VA_ARGS__)
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define INTS(n) { 1, { n } }
#define ATTRS(...) .attrs = &(const ebb_conv_max_pool_attrs){ __VA_ARGS__ }
#define POOL(n) .pool = { .window = INTS(n) }
#define PADDED(n) .conv = { .padding = INTS(n) }
#define IN(n, ...) .n_inputs = n, .no_gradient = true, .inputs = EBB_INPUTS(__VA_ARGS__)
/* A small change of x may make another place the largest: gradients are those of the parts. */
static const ebb_sample samples[] = {
    /* conv: 4 8 14, 18 22 8, -3 7 2 */
    { IN(3, F(1, 1, 3, 4), F(1, 1, 1, 2), F(1)),
      ATTRS(.pool = { .window = { 2, { 3, 2 } }, .stride = INTS(1) }),
      .values = { LIST(1, 2, 5, 8, 9, 8, 13, -6, -2, -2, 8, -7), LIST(1, 1), LIST(1) },
      .expected = LIST(22, 22, 3, 2), .source = "by the definition" },
    { IN(3, F(2, 1, 8, 8), F(6, 1, 5, 5), F(6)), ATTRS(POOL(2)) },
    { IN(2, F(2, 3, 7, 9), F(4, 3, 2, 2)), ATTRS(POOL(2)) },
    { IN(3, F(3, 2, 6, 6), F(5, 2, 3, 3), F(5)), ATTRS(POOL(2), PADDED(1)) },
    { IN(3, F(2, 6, 8, 9), F(17, 6, 5, 4), F(17)), ATTRS(POOL(2), PADDED(2)) },
    { IN(3, F(1, 1, 5, 39), F(7, 1, 2, 3), F(7)), ATTRS(POOL(2)) },
    { IN(2, F(1, 2, 9, 9), F(3, 2, 3, 3)),
      ATTRS(.pool = { .window = INTS(3), .stride = INTS(2) }) },
    { IN(2, F(1, 2, 9, 9), F(3, 2, 3, 3)),
      ATTRS(.pool = { .window = INTS(3), .stride = INTS(1) }) },
    { IN(2, F(1, 2, 8, 8), F(3, 2, 3, 3)),
      ATTRS(.pool = { .window = INTS(3), .stride = INTS(2), .padding = INTS(1) }) },
    { IN(2, F(1, 4, 9, 8), F(6, 2, 2, 2)),
      ATTRS(POOL(2), .conv = { .stride = INTS(2), .groups = 2 }) },
    { IN(3, F(2, 1, 9), F(3, 1, 3), F(3)), ATTRS(POOL(2)) },
    /* Sixteen images, or nearly so many, have a kernel of their own. */
    { IN(3, F(16, 1, 20, 18), F(6, 1, 5, 5), F(6)), ATTRS(POOL(2), PADDED(2)) },
    { IN(3, F(29, 6, 9, 8), F(7, 6, 3, 4), F(7)), ATTRS(POOL(2)) },
    { IN(2, F(12, 3, 17, 5), F(13, 3, 2, 1)), ATTRS(.pool = { .window = { 2, { 3, 1 } },
      .stride = { 2, { 3, 2 } } }) },
    { IN(3, F(15, 2, 11, 12), F(1, 2, 3, 3), F(1)),
      ATTRS(POOL(2), .conv = { .stride = { 2, { 1, 2 } }, .dilation = { 2, { 2, 1 } } }) },
    { IN(2, F(0, 1, 8, 8), F(6, 1, 5, 5)), ATTRS(POOL(2)) },
    { IN(2, F(1, 1, 8, 8), F(6, 2, 5, 5)), ATTRS(POOL(2)), .error = EBB_BAD_SHAPE,
      .message = "channels" },
    { IN(2, F(1, 1, 3, 3), F(6, 1, 3, 3)), ATTRS(POOL(2)), .error = EBB_BAD_SHAPE,
      .message = "window" },
};
/* clang-format on */

const ebb_op ebb_op_conv_max_pool = {
    .name = "conv_max_pool",
    .summary = "max_pool of a convolution, both results; passes make it",
    .group = "convolution",
    .n_inputs = EBB_VARIADIC,
    .n_results = 2,
    .traits = EBB_TRAIT_LIBRARY,
    .attrs_bytes = sizeof(ebb_conv_max_pool_attrs),
    .attrs = fields,
    .infer = infer_both,
    .eval = eval_both,
    .decompose = decompose_both,
    .flops = flops_both,
    .samples = samples,
    .n_samples = sizeof samples / sizeof *samples,
};
