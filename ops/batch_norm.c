/* batch_norm (Ioffe & Szegedy 2015, algorithm 1), its form for inference with given statistics
 * (algorithm 2, step 11), and the gradient of the first as an op of its own. With m elements a
 * channel, means over them and
 *
 *   u = x - mean(x),  v = mean(u^2),  r = 1 / sqrt(v + epsilon),  n = u r,  y = scale n + shift
 *   dshift = sum(dy),  dscale = sum(dy n),  dx = scale r (dy - dshift/m - n dscale/m)
 *
 * The gradient op takes mean and variance as inputs, and its own gradient flows to them too, from
 * there through the second and third result of batch_norm: any order works. */
#define EBB_NO_LOCATIONS
#include "ops/batch_norm.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/rows.h"

/* Inputs in their order; what is not the shape of x has one element a channel. */
typedef struct family {
    const char *names[5];
    int like_x; /* a further input of x's shape; 0: none */
} family;

ebb_channels ebb_channels_of(const ebb_shape *shape)
{
    ebb_channels c = { shape->dims[0], shape->dims[1], 1 };
    for (int i = 2; i < shape->rank; i++)
        c.n_spatial *= shape->dims[i];
    return c;
}

ebb_status ebb_infer_channels(const ebb_infer *infer, int index)
{
    const ebb_shape *shape = &infer->inputs[index]->shape;
    char text[EBB_TYPE_TEXT_BYTES];
    ebb_status status = ebb_infer_float(infer, index);
    if (!status && shape->rank < 2)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "%s is not [batch,channels,...]",
                              ebb_shape_text(shape, text));
    return status;
}

ebb_status ebb_infer_per_channel(const ebb_infer *infer, int index, const char *name)
{
    const ebb_type *x = infer->inputs[0], *in = infer->inputs[index];
    const ebb_shape wanted = EBB_SHAPE(x->shape.dims[1]);
    char text[EBB_TYPE_TEXT_BYTES];
    if (in->dtype != x->dtype)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "%s is %s, x is %s", name,
                              ebb_dtype_name(in->dtype), ebb_dtype_name(x->dtype));
    if (!ebb_shape_equal(&in->shape, &wanted))
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "%s is %s, not [%lld] as the channels of x",
                              name, ebb_shape_text(&in->shape, text), (long long)wanted.dims[0]);
    return EBB_OK;
}

ebb_status ebb_infer_like_x(const ebb_infer *infer, int index, const char *name)
{
    const ebb_type *x = infer->inputs[0], *in = infer->inputs[index];
    char text[EBB_TYPE_TEXT_BYTES], text_x[EBB_TYPE_TEXT_BYTES];
    if (in->dtype != x->dtype)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "%s is %s, x is %s", name,
                              ebb_dtype_name(in->dtype), ebb_dtype_name(x->dtype));
    if (!ebb_shape_equal(&in->shape, &x->shape))
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "%s is %s, not %s as x", name,
                              ebb_shape_text(&in->shape, text), ebb_shape_text(&x->shape, text_x));
    return EBB_OK;
}

ebb_status ebb_infer_epsilon(const ebb_infer *infer, double epsilon)
{
    if (epsilon >= 0 && isfinite(epsilon))
        return EBB_OK;
    return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "epsilon %g is negative or not finite",
                          epsilon);
}

ebb_node ebb_along_channels(ebb_node parameter, ebb_node x)
{
    return ebb_reshape(parameter, ebb_shape_keep(&ebb_node_type(x)->shape, ~2u));
}

/* All axes but the channels'. */
static ebb_axes other_axes(ebb_node x)
{
    ebb_axes axes = { .n = 1 };
    for (int i = 2; i < ebb_node_type(x)->shape.rank; i++)
        axes.axes[axes.n++] = i;
    return axes;
}

static double epsilon_of(const void *attrs)
{
    return ((const ebb_batch_norm_attrs *)attrs)->epsilon;
}

static ebb_status infer_batch_norm(const ebb_infer *infer)
{
    const family *f = infer->op->user;
    const ebb_type *x = infer->inputs[0];
    ebb_status status = ebb_infer_channels(infer, 0);
    if (!status)
        status = ebb_infer_epsilon(infer, epsilon_of(infer->attrs));
    for (int i = 1; i < infer->n_inputs && !status; i++)
        status = i == f->like_x ? ebb_infer_like_x(infer, i, f->names[i])
                                : ebb_infer_per_channel(infer, i, f->names[i]);
    if (status)
        return status;
    infer->results[0] = *x;
    for (int i = 1; i < infer->op->n_results; i++)
        infer->results[i] = (ebb_type){ x->dtype, EBB_SHAPE(x->shape.dims[1]) };
    return EBB_OK;
}

/* ---- reference kernels ---- */

static double input_at(const ebb_eval *eval, int index, int64_t at)
{
    return ebb_float_at(eval->inputs[index].type.dtype, eval->inputs[index].data, at);
}

static void put_result(const ebb_eval *eval, int index, int64_t at, double value)
{
    ebb_float_put(eval->results[index].type.dtype, eval->results[index].data, at, value);
}

/* Where element i of channel c lies. */
static int64_t place_of(const ebb_channels *k, int64_t c, int64_t i)
{
    return (i / k->n_spatial * k->n_channels + c) * k->n_spatial + i % k->n_spatial;
}

/* y of one channel. */
static void put_normalized(const ebb_eval *eval, const ebb_channels *k, int64_t c, double mean,
                           double variance)
{
    const double r = 1 / sqrt(variance + epsilon_of(eval->attrs));
    for (int64_t i = 0; i < k->n_batch * k->n_spatial; i++) {
        const int64_t at = place_of(k, c, i);
        put_result(eval, 0, at,
                   (input_at(eval, 0, at) - mean) * r * input_at(eval, 1, c) +
                       input_at(eval, 2, c));
    }
}

static ebb_status eval_batch_norm(const ebb_eval *eval)
{
    const ebb_channels k = ebb_channels_of(&eval->inputs[0].type.shape);
    const int64_t m = k.n_batch * k.n_spatial;
    for (int64_t c = 0; c < k.n_channels; c++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < m; i++)
            sum += input_at(eval, 0, place_of(&k, c, i));
        const double mean = sum / (double)m;
        for (int64_t i = 0; i < m; i++) {
            const double u = input_at(eval, 0, place_of(&k, c, i)) - mean;
            squares += u * u;
        }
        put_normalized(eval, &k, c, mean, squares / (double)m);
        put_result(eval, 1, c, mean);
        put_result(eval, 2, c, squares / (double)m);
    }
    return EBB_OK;
}

static ebb_status eval_inference(const ebb_eval *eval)
{
    const ebb_channels k = ebb_channels_of(&eval->inputs[0].type.shape);
    for (int64_t c = 0; c < k.n_channels; c++)
        put_normalized(eval, &k, c, input_at(eval, 3, c), input_at(eval, 4, c));
    return EBB_OK;
}

static ebb_status eval_gradient(const ebb_eval *eval)
{
    const ebb_channels k = ebb_channels_of(&eval->inputs[0].type.shape);
    const int64_t m = k.n_batch * k.n_spatial;
    for (int64_t c = 0; c < k.n_channels; c++) {
        const double scale = input_at(eval, 1, c), mean = input_at(eval, 3, c);
        const double r = 1 / sqrt(input_at(eval, 4, c) + epsilon_of(eval->attrs));
        double d_scale = 0, d_shift = 0;
        for (int64_t i = 0; i < m; i++) {
            const int64_t at = place_of(&k, c, i);
            const double dy = input_at(eval, 2, at);
            d_shift += dy;
            d_scale += dy * (input_at(eval, 0, at) - mean) * r;
        }
        for (int64_t i = 0; i < m; i++) {
            const int64_t at = place_of(&k, c, i);
            const double n = (input_at(eval, 0, at) - mean) * r;
            put_result(eval, 0, at,
                       scale * r *
                           (input_at(eval, 2, at) - d_shift / (double)m - n * d_scale / (double)m));
        }
        put_result(eval, 1, c, d_scale);
        put_result(eval, 2, c, d_shift);
    }
    return EBB_OK;
}

/* ---- as nodes ---- */

/* n, and r along x; mean and variance are [channels]. */
static ebb_node emit_normalized(ebb_node x, ebb_node mean, ebb_node variance, double epsilon,
                                ebb_node *r)
{
    *r = ebb_along_channels(ebb_rsqrt(ebb_add(variance, ebb_full_like(variance, epsilon))), x);
    return ebb_mul(ebb_sub(x, ebb_along_channels(mean, x)), *r);
}

static ebb_node emit_affine(const ebb_decompose *d, ebb_node mean, ebb_node variance)
{
    const ebb_node x = d->inputs[0];
    ebb_node r;
    const ebb_node n = emit_normalized(x, mean, variance, epsilon_of(d->attrs), &r);
    return ebb_add(ebb_mul(n, ebb_along_channels(d->inputs[1], x)),
                   ebb_along_channels(d->inputs[2], x));
}

static void decompose_batch_norm(const ebb_decompose *d)
{
    const ebb_node x = d->inputs[0];
    d->results[1] = ebb_reduce_mean(x, other_axes(x), false);
    d->results[2] = ebb_variance(x, other_axes(x), false, 0);
    d->results[0] = emit_affine(d, d->results[1], d->results[2]);
}

static void decompose_inference(const ebb_decompose *d)
{
    d->results[0] = emit_affine(d, d->inputs[3], d->inputs[4]);
}

static void decompose_gradient(const ebb_decompose *d)
{
    const ebb_node x = d->inputs[0], dy = d->inputs[2];
    const ebb_channels k = ebb_channels_of(&ebb_node_type(x)->shape);
    ebb_node r;
    const ebb_node n = emit_normalized(x, d->inputs[3], d->inputs[4], epsilon_of(d->attrs), &r);
    d->results[1] = ebb_reduce_sum(ebb_mul(dy, n), other_axes(x), false);
    d->results[2] = ebb_reduce_sum(dy, other_axes(x), false);
    const ebb_node divisor = ebb_full_like(d->results[1], (double)(k.n_batch * k.n_spatial));
    const ebb_node slope = ebb_along_channels(ebb_div(d->results[1], divisor), x);
    const ebb_node offset = ebb_along_channels(ebb_div(d->results[2], divisor), x);
    const ebb_node factor = ebb_mul(ebb_along_channels(d->inputs[1], x), r);
    d->results[0] = ebb_mul(ebb_sub(ebb_sub(dy, offset), ebb_mul(n, slope)), factor);
}

static void add_gradient(ebb_node *sum, ebb_node term)
{
    *sum = sum->id ? ebb_add(*sum, term) : term;
}

static void vjp_batch_norm(const ebb_vjp *v)
{
    const ebb_node x = v->inputs[0], mean = v->results[1];
    const ebb_node d_mean = v->cotangents[1], d_variance = v->cotangents[2];
    const ebb_channels k = ebb_channels_of(&ebb_node_type(x)->shape);
    const double m = (double)(k.n_batch * k.n_spatial);
    if (v->cotangents[0].id) {
        const ebb_node inputs[5] = { x, v->inputs[1], v->cotangents[0], mean, v->results[2] };
        ebb_node gradients[3];
        ebb_emit(NULL, &ebb_op_batch_norm_grad, inputs, 5, v->attrs, gradients);
        for (int i = 0; i < 3; i++)
            if (v->needed[i])
                v->gradients[i] = gradients[i];
    }
    if (v->needed[0] && d_mean.id) {
        const ebb_node each = ebb_div(d_mean, ebb_full_like(d_mean, m));
        add_gradient(&v->gradients[0],
                     ebb_broadcast_to(ebb_along_channels(each, x), ebb_node_type(x)->shape));
    }
    if (v->needed[0] && d_variance.id) {
        const ebb_node each = ebb_mul(d_variance, ebb_full_like(d_variance, 2 / m));
        add_gradient(&v->gradients[0],
                     ebb_mul(ebb_sub(x, ebb_along_channels(mean, x)), ebb_along_channels(each, x)));
    }
}

/* ---- builders ---- */

ebb_node ebb_channels_or_full(ebb_node parameter, ebb_node x, double value)
{
    if (parameter.id || !x.id)
        return parameter;
    const ebb_type *type = ebb_node_type(x);
    if (type->shape.rank < 2) /* for infer to complain about */
        return x;
    return ebb_full(x.graph, type->dtype, EBB_SHAPE(type->shape.dims[1]), value);
}

ebb_node(ebb_batch_norm)(ebb_node x, ebb_node scale, ebb_node shift, double epsilon, ebb_node *mean,
                         ebb_node *variance)
{
    const ebb_batch_norm_attrs attrs = { epsilon };
    const ebb_node inputs[3] = { x, ebb_channels_or_full(scale, x, 1),
                                 ebb_channels_or_full(shift, x, 0) };
    ebb_node results[3] = { { x.graph, 0 }, { x.graph, 0 }, { x.graph, 0 } };
    ebb_emit(NULL, &ebb_op_batch_norm, inputs, 3, &attrs, results);
    if (mean)
        *mean = results[1];
    if (variance)
        *variance = results[2];
    return results[0];
}

ebb_node(ebb_batch_norm_inference)(ebb_node x, ebb_node scale, ebb_node shift, ebb_node mean,
                                   ebb_node variance, double epsilon)
{
    const ebb_batch_norm_attrs attrs = { epsilon };
    const ebb_node inputs[5] = { x, ebb_channels_or_full(scale, x, 1),
                                 ebb_channels_or_full(shift, x, 0), mean, variance };
    return ebb_emit(NULL, &ebb_op_batch_norm_inference, inputs, 5, &attrs, NULL);
}

/* ---- samples ---- */

static const ebb_attr_field batch_norm_fields[] = {
    EBB_FIELD(ebb_batch_norm_attrs, epsilon, F64, "added to the variance; default 0"),
    { 0 },
};

/* clang-format off */
#define TYPE EBB_SAMPLE_TYPE
#define IN(...) .inputs = EBB_INPUTS(__VA_ARGS__)
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define EPSILON(epsilon) .attrs = &(const ebb_batch_norm_attrs){ epsilon }
#define F(...) TYPE(F64, __VA_ARGS__)
/* X(x, scale): the inputs of the op at hand, both types in brackets. */
#define COMMON_SAMPLES(X)                                                                          \
    { X(F(2, 3), F(3)), EPSILON(0.5) }, { X(F(7, 1), F(1)), EPSILON(0.1) },                        \
    { X(F(8, 17), F(17)), EPSILON(0.1) }, { X(F(3, 5, 1), F(5)), EPSILON(0.3) },                   \
    { X(F(2, 3, 4), F(3)), EPSILON(0.1) }, { X(F(2, 3, 3, 5), F(3)), EPSILON(1e-2) },              \
    { X(F(1, 1, 7, 7), F(1)), EPSILON(1e-5) }, { X(F(5, 17, 1, 3), F(17)), EPSILON(0.1) },         \
    { X(F(2, 3, 2, 1, 3), F(3)), EPSILON(0.1) }, { X(F(1, 3), F(3)), EPSILON(0.5) },               \
    { X(F(0, 3), F(3)), EPSILON(1e-5), .no_gradient = true }, /* statistics are NaN */             \
    { X(F(3, 0), F(0)), EPSILON(1e-5) },                                                           \
    { X(F(2, 3, 0, 2), F(3)), EPSILON(1e-5), .no_gradient = true },                                \
    { X(F(7), F(7)), EPSILON(1), .error = EBB_BAD_SHAPE,                                           \
      .message = "[7] is not [batch,channels,...]" },                                              \
    { X(F(3, 2), F(3)), EPSILON(1), .error = EBB_BAD_SHAPE,                                        \
      .message = "scale is [3], not [2] as the channels of x" },                                   \
    { X(F(2, 3), F(1, 3)), EPSILON(1), .error = EBB_BAD_SHAPE,                                     \
      .message = "scale is [1,3], not [3]" },                                                      \
    { X(F(2, 3), F(3)), EPSILON(-1), .error = EBB_BAD_ATTRIBUTE,                                   \
      .message = "epsilon -1 is negative or not finite" },                                         \
    { X(F(2, 3), F(3)), EPSILON(INFINITY), .error = EBB_BAD_ATTRIBUTE, .message = "not finite" },  \
    { X(F(2, 3), TYPE(F32, 3)), EPSILON(1), .error = EBB_BAD_DTYPE,                                \
      .message = "scale is f32, x is f64" },                                                       \
    { X(TYPE(I64, 2, 3), F(3)), EPSILON(1), .error = EBB_BAD_DTYPE,                                \
      .message = "dtype i64 is not one of f64, f32" }
/* Variances are positive. */
#define VARIANCE_RANGE .range = EBB_RANGES([4] = { 0.5, 3, 0, 0 })
#define X_TRAINING(x, scale) IN(x, scale, scale)
#define X_INFERENCE(x, scale) IN(x, scale, scale, scale, scale), VARIANCE_RANGE
#define X_GRADIENT(x, scale) IN(x, scale, x, scale, scale), VARIANCE_RANGE
#define PAPER "Ioffe & Szegedy 2015, algorithm 1, by hand"

static const ebb_sample samples_batch_norm[] = {
    COMMON_SAMPLES(X_TRAINING),
    /* mean 3, variance 4; and a channel that is constant */
    { IN(F(2, 2), F(2), F(2)), EPSILON(5), .values = { LIST(1, 7, 5, 7), LIST(3, 2), LIST(1, 4) },
      .expected = LIST(-1, 4, 3, 4, 3, 7, 4, 0), .source = PAPER },
    { IN(F(2, 1, 1, 2), F(1), F(1)), EPSILON(11), .values = { LIST(1, 3, 5, 7), LIST(4), LIST(1) },
      .expected = LIST(-2, 0, 2, 4, 4, 5), .source = PAPER },
    /* deviations of 1; a relative step is too large for central differences */
    { IN(F(2, 1), F(1), F(1)), EPSILON(0), .values = { LIST(1e6, 1e6 + 2), LIST(1), LIST(0) },
      .expected = LIST(-1, 1, 1e6 + 1, 1), .no_gradient = true, .source = PAPER },
    { IN(F(2, 3), F(3), F(2)), EPSILON(1), .error = EBB_BAD_SHAPE,
      .message = "shift is [2], not [3] as the channels of x" },
};
static const ebb_sample samples_batch_norm_inference[] = {
    COMMON_SAMPLES(X_INFERENCE),
    { IN(F(1, 2, 1, 2), F(2), F(2), F(2), F(2)), EPSILON(5),
      .values = { LIST(1, 4, 7, 9), LIST(3, 2), LIST(1, 4), LIST(1, 7), LIST(4, 11) },
      .expected = LIST(1, 4, 4, 5), .source = "Ioffe & Szegedy 2015, algorithm 2, by hand" },
    { IN(F(2, 3), F(3), F(3), F(3), F(2)), EPSILON(1), .error = EBB_BAD_SHAPE,
      .message = "variance is [2], not [3] as the channels of x" },
};
static const ebb_sample samples_batch_norm_grad[] = {
    COMMON_SAMPLES(X_GRADIENT),
    /* n = -1, 0, 1 times sqrt(3/2), r = sqrt(3/2) */
    { IN(F(3, 1), F(1), F(3, 1), F(1), F(1)), EPSILON(0),
      .values = { LIST(1, 2, 3), LIST(1), LIST(1, 0, 0), LIST(2), LIST(0.66666666666666663) },
      .expected = LIST(0.20412414523193151, -0.40824829046386302, 0.20412414523193151,
                       -1.2247448713915890, 1),
      .source = "sqrt(3/2) (1/6, -1/3, 1/6), -sqrt(3/2), 1, by hand" },
    { IN(F(2, 3), F(3), F(3), F(3), F(3)), EPSILON(1), .error = EBB_BAD_SHAPE,
      .message = "dy is [3], not [2,3] as x" },
    { IN(F(2, 3), F(3), TYPE(F32, 2, 3), F(3), F(3)), EPSILON(1), .error = EBB_BAD_DTYPE,
      .message = "dy is f32, x is f64" },
};
/* clang-format on */

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])
static const family training = { { "x", "scale", "shift" }, 0 };
static const family inference = { { "x", "scale", "shift", "mean", "variance" }, 0 };
static const family gradient = { { "x", "scale", "dy", "mean", "variance" }, 2 };
#define BATCH_NORM(name_, inputs_, results_, family_, text, ...)                                   \
    const ebb_op ebb_op_##name_ = { .name = #name_,                                                \
                                    .summary = text,                                               \
                                    .group = "library",                                            \
                                    .n_inputs = inputs_,                                           \
                                    .n_results = results_,                                         \
                                    .traits = EBB_TRAIT_LIBRARY,                                   \
                                    .attrs_bytes = sizeof(ebb_batch_norm_attrs),                   \
                                    .attrs = batch_norm_fields,                                    \
                                    .infer = infer_batch_norm,                                     \
                                    .samples = samples_##name_,                                    \
                                    .n_samples = COUNT(samples_##name_),                           \
                                    .user = &family_,                                              \
                                    __VA_ARGS__ };

/* clang-format off */
BATCH_NORM(batch_norm, 3, 3, training,
           "scale (x - mean) / sqrt(variance + epsilon) + shift of each channel (dimension 1); "
           "also mean and variance",
           .vjp = vjp_batch_norm, .eval = eval_batch_norm, .decompose = decompose_batch_norm)
BATCH_NORM(batch_norm_inference, 5, 1, inference,
           "the same with mean and variance given",
           .eval = eval_inference, .decompose = decompose_inference)
BATCH_NORM(batch_norm_grad, 5, 3, gradient,
           "the gradients of batch_norm to x, scale and shift, out of x, scale, the cotangent, "
           "mean and variance",
           .eval = eval_gradient, .decompose = decompose_gradient)
/* clang-format on */
