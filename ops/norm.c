/* layer_norm (Ba, Kiros & Hinton 2016) and rms_norm (Zhang & Sennrich 2019), and the gradients to
 * their x as ops of their own. One family: with u = x - mean(x), or u = x for rms_norm,
 *
 *   r = 1 / sqrt(mean(u^2) + epsilon),   n = u r,   y = scale n + shift
 *   dx = r (h - mean(h) - n mean(h n)),  h = scale dy;  rms_norm is without mean(h)
 *
 * where means run over the normalized axes. The gradient ops are differentiated through their
 * decomposition, so any order works. */
#define EBB_NO_LOCATIONS
#include "ops/norm.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/rows.h"

typedef struct family {
    bool centred, gradient;
    const char *input_names[3];
} family;

bool ebb_norm_is_centred(const ebb_op *op)
{
    return ((const family *)op->user)->centred;
}

bool ebb_norm_is_gradient(const ebb_op *op)
{
    return ((const family *)op->user)->gradient;
}

/* ---- shapes ---- */

/* The dimensions of x that are normalized, in order: the shape of scale and shift. */
static ebb_shape normalized_shape(const ebb_shape *x, unsigned mask)
{
    ebb_shape shape = { 0 };
    for (int i = 0; i < x->rank; i++)
        if (mask & 1u << i)
            shape.dims[shape.rank++] = x->dims[i];
    return shape;
}

/* scale or shift as it lies along x. */
static ebb_node along(ebb_node parameter, const ebb_shape *x, unsigned mask)
{
    return ebb_reshape(parameter, ebb_shape_keep(x, ~mask));
}

static unsigned mask_of(const void *attrs, const ebb_shape *x)
{
    return ebb_axes_mask(&((const ebb_norm_attrs *)attrs)->axes, x->rank);
}

static ebb_status infer_norm(const ebb_infer *infer)
{
    const family *f = infer->op->user;
    const ebb_norm_attrs *attrs = infer->attrs;
    const ebb_type *x = infer->inputs[0];
    ebb_status status = ebb_infer_float(infer, 0);
    if (!status)
        status = ebb_infer_axes(infer, &attrs->axes, x->shape.rank);
    if (status)
        return status;
    if (!(attrs->epsilon >= 0 && isfinite(attrs->epsilon)))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "epsilon %g is negative or not finite",
                              attrs->epsilon);
    const ebb_shape normalized = normalized_shape(&x->shape, mask_of(attrs, &x->shape));
    for (int i = 1; i < infer->n_inputs; i++) {
        const ebb_type *in = infer->inputs[i];
        const bool is_cotangent = f->gradient && i == 2;
        const ebb_shape *wanted = is_cotangent ? &x->shape : &normalized;
        char text[EBB_TYPE_TEXT_BYTES], text_wanted[EBB_TYPE_TEXT_BYTES];
        if (in->dtype != x->dtype)
            return ebb_infer_fail(infer, EBB_BAD_DTYPE, "%s is %s, x is %s", f->input_names[i],
                                  ebb_dtype_name(in->dtype), ebb_dtype_name(x->dtype));
        if (!ebb_shape_equal(&in->shape, wanted))
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "%s is %s, not %s as %s", f->input_names[i],
                                  ebb_shape_text(&in->shape, text),
                                  ebb_shape_text(wanted, text_wanted),
                                  is_cotangent ? "x" : "the normalized axes of x");
    }
    infer->results[0] = *x;
    return EBB_OK;
}

/* ---- reference kernel ---- */

/* Offsets of the elements of some dimensions of a dense value, in row-major order. */
typedef struct walk {
    int rank;
    int64_t n, dims[EBB_MAX_RANK], strides[EBB_MAX_RANK];
} walk;

static walk make_walk(const ebb_shape *shape, unsigned mask)
{
    walk w = { .n = 1 };
    int64_t strides[EBB_MAX_RANK];
    ebb_shape_strides(shape, strides);
    for (int i = 0; i < shape->rank; i++)
        if (mask & 1u << i) {
            w.dims[w.rank] = shape->dims[i];
            w.strides[w.rank++] = strides[i];
            w.n *= shape->dims[i];
        }
    return w;
}

static int64_t offset_of(const walk *w, int64_t index)
{
    int64_t offset = 0;
    for (int d = w->rank - 1; d >= 0; d--) {
        offset += index % w->dims[d] * w->strides[d];
        index /= w->dims[d];
    }
    return offset;
}

typedef struct moments {
    double mean, r;
} moments;

static moments measure(const ebb_eval *eval, const walk *inner, int64_t base)
{
    const ebb_dtype dtype = eval->inputs[0].type.dtype;
    const void *x = eval->inputs[0].data;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < inner->n && ebb_norm_is_centred(eval->op); i++)
        sum += ebb_float_at(dtype, x, base + offset_of(inner, i));
    const double mean = sum / (double)inner->n;
    for (int64_t i = 0; i < inner->n; i++) {
        const double u = ebb_float_at(dtype, x, base + offset_of(inner, i)) - mean;
        squares += u * u;
    }
    const double epsilon = ((const ebb_norm_attrs *)eval->attrs)->epsilon;
    return (moments){ mean, 1 / sqrt(squares / (double)inner->n + epsilon) };
}

static void eval_forward(const ebb_eval *eval, const walk *inner, int64_t base, moments m)
{
    const ebb_dtype dtype = eval->inputs[0].type.dtype;
    for (int64_t i = 0; i < inner->n; i++) {
        const int64_t at = base + offset_of(inner, i);
        const double n = (ebb_float_at(dtype, eval->inputs[0].data, at) - m.mean) * m.r;
        const double shift = eval->n_inputs > 2 ? ebb_float_at(dtype, eval->inputs[2].data, i) : 0;
        ebb_float_put(dtype, eval->results[0].data, at,
                      n * ebb_float_at(dtype, eval->inputs[1].data, i) + shift);
    }
}

static void eval_backward(const ebb_eval *eval, const walk *inner, int64_t base, moments m)
{
    const ebb_dtype dtype = eval->inputs[0].type.dtype;
    const void *x = eval->inputs[0].data, *scale = eval->inputs[1].data, *dy = eval->inputs[2].data;
    double sum_h = 0, sum_hn = 0;
    for (int64_t i = 0; i < inner->n; i++) {
        const int64_t at = base + offset_of(inner, i);
        const double h = ebb_float_at(dtype, scale, i) * ebb_float_at(dtype, dy, at);
        sum_h += h;
        sum_hn += h * (ebb_float_at(dtype, x, at) - m.mean) * m.r;
    }
    const double mean_h = ebb_norm_is_centred(eval->op) ? sum_h / (double)inner->n : 0;
    const double mean_hn = sum_hn / (double)inner->n;
    for (int64_t i = 0; i < inner->n; i++) {
        const int64_t at = base + offset_of(inner, i);
        const double h = ebb_float_at(dtype, scale, i) * ebb_float_at(dtype, dy, at);
        const double n = (ebb_float_at(dtype, x, at) - m.mean) * m.r;
        ebb_float_put(dtype, eval->results[0].data, at, m.r * (h - mean_h - n * mean_hn));
    }
}

static ebb_status eval_norm(const ebb_eval *eval)
{
    const ebb_shape *shape = &eval->inputs[0].type.shape;
    const unsigned mask = mask_of(eval->attrs, shape);
    const walk inner = make_walk(shape, mask), outer = make_walk(shape, ~mask);
    for (int64_t o = 0; o < outer.n && inner.n > 0; o++) {
        const int64_t base = offset_of(&outer, o);
        const moments m = measure(eval, &inner, base);
        (ebb_norm_is_gradient(eval->op) ? eval_backward : eval_forward)(eval, &inner, base, m);
    }
    return EBB_OK;
}

/* ---- as nodes ---- */

/* n, and r broadcast along x. */
static ebb_node emit_normalized(ebb_node x, const ebb_norm_attrs *attrs, bool centred, ebb_node *r)
{
    ebb_node u = x;
    if (centred)
        u = ebb_sub(x, ebb_reduce_mean(x, attrs->axes, true));
    const ebb_node power = ebb_reduce_mean(ebb_square(u), attrs->axes, true);
    *r = ebb_rsqrt(ebb_add(power, ebb_full_like(power, attrs->epsilon)));
    return ebb_mul(u, *r);
}

static void decompose_norm(const ebb_decompose *d)
{
    const ebb_node x = d->inputs[0];
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    const unsigned mask = mask_of(d->attrs, shape);
    const bool centred = ebb_norm_is_centred(d->op);
    ebb_node r, y = emit_normalized(x, d->attrs, centred, &r);
    y = ebb_mul(y, along(d->inputs[1], shape, mask));
    if (centred)
        y = ebb_add(y, along(d->inputs[2], shape, mask));
    d->results[0] = y;
}

static void decompose_gradient(const ebb_decompose *d)
{
    const ebb_norm_attrs *attrs = d->attrs;
    const ebb_node x = d->inputs[0];
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    const bool centred = ebb_norm_is_centred(d->op);
    ebb_node r, n = emit_normalized(x, attrs, centred, &r);
    const ebb_node h = ebb_mul(d->inputs[2], along(d->inputs[1], shape, mask_of(attrs, shape)));
    ebb_node sum = ebb_mul(n, ebb_reduce_mean(ebb_mul(h, n), attrs->axes, true));
    if (centred)
        sum = ebb_add(sum, ebb_reduce_mean(h, attrs->axes, true));
    d->results[0] = ebb_mul(ebb_sub(h, sum), r);
}

static void vjp_norm(const ebb_vjp *v)
{
    const bool centred = ebb_norm_is_centred(v->op);
    const ebb_node x = v->inputs[0], scale = v->inputs[1], g = v->cotangents[0];
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    const unsigned outer = ~mask_of(v->attrs, shape) & ((1u << shape->rank) - 1u);
    ebb_axes others = { 0 };
    for (int i = 0; i < shape->rank; i++)
        if (outer & 1u << i)
            others.axes[others.n++] = i;
    if (v->needed[0]) {
        const ebb_node inputs[3] = { x, scale, g };
        v->gradients[0] = ebb_emit(NULL, centred ? &ebb_op_layer_norm_grad : &ebb_op_rms_norm_grad,
                                   inputs, 3, v->attrs, NULL);
    }
    if (v->needed[1]) {
        const ebb_node inputs[3] = { x, ebb_full_like(scale, 1),
                                     centred ? ebb_full_like(scale, 0) : EBB_NONE };
        const ebb_node n = ebb_emit(NULL, v->op, inputs, v->n_inputs, v->attrs, NULL);
        const ebb_node terms = ebb_mul(g, n);
        v->gradients[1] = others.n ? ebb_reduce_sum(terms, others, false) : terms;
    }
    if (centred && v->needed[2])
        v->gradients[2] = others.n ? ebb_reduce_sum(g, others, false) : g;
}

/* ---- builders ---- */

/* `parameter`, or `value` everywhere where there is none. */
static ebb_node or_full(ebb_node parameter, ebb_node x, const ebb_norm_attrs *attrs, double value)
{
    if (parameter.id || !x.id)
        return parameter;
    const ebb_type *type = ebb_node_type(x);
    return ebb_full(x.graph, type->dtype,
                    normalized_shape(&type->shape, mask_of(attrs, &type->shape)), value);
}

static ebb_node emit_norm(const ebb_op *op, ebb_node x, ebb_node scale, ebb_node shift,
                          ebb_axes axes, double epsilon)
{
    const int rank = ebb_node_type(x)->shape.rank;
    const ebb_norm_attrs attrs = { ebb_build_axes(axes, rank), epsilon };
    bool is_valid = attrs.axes.n >= 0 && attrs.axes.n <= rank; /* else infer says so */
    for (int i = 0; i < attrs.axes.n && is_valid; i++)
        is_valid = ebb_axis_of(attrs.axes.axes[i], rank) >= 0;
    const ebb_node stand_in = x;
    ebb_node inputs[3] = { x, is_valid ? or_full(scale, x, &attrs, 1) : stand_in,
                           is_valid ? or_full(shift, x, &attrs, 0) : stand_in };
    return ebb_emit(NULL, op, inputs, op->n_inputs, &attrs, NULL);
}

ebb_node(ebb_layer_norm)(ebb_node x, ebb_node scale, ebb_node shift, ebb_axes axes, double epsilon)
{
    return emit_norm(&ebb_op_layer_norm, x, scale, shift, axes, epsilon);
}

ebb_node(ebb_rms_norm)(ebb_node x, ebb_node scale, ebb_axes axes, double epsilon)
{
    return emit_norm(&ebb_op_rms_norm, x, scale, EBB_NONE, axes, epsilon);
}

/* ---- samples ---- */

static const ebb_attr_field norm_fields[] = {
    EBB_FIELD(ebb_norm_attrs, axes, AXES, "axes that are normalized together; none: all"),
    EBB_FIELD(ebb_norm_attrs, epsilon, F64, "added to the mean of squares; default 0"),
    { 0 },
};

/* clang-format off */
#define TYPE EBB_SAMPLE_TYPE
#define SCALAR EBB_SAMPLE_SCALAR
#define IN(...) .inputs = EBB_INPUTS(__VA_ARGS__)
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define SOME(epsilon, ...)                                                                         \
    .attrs = &(const ebb_norm_attrs){                                                              \
        { (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)), { __VA_ARGS__ } }, epsilon }
#define ALL(epsilon) .attrs = &(const ebb_norm_attrs){ { 0, { 0 } }, epsilon }
/* X(x, scale): the inputs of the op at hand, both types in brackets. */
#define F(...) TYPE(F64, __VA_ARGS__)
#define COMMON_SAMPLES(X)                                                                          \
    { X(SCALAR(F64), SCALAR(F64)), ALL(0.5) }, { X(F(1), F(1)), SOME(0.5, 0) },                    \
    { X(F(7), F(7)), SOME(1e-5, -1) }, { X(F(17), F(17)), ALL(1e-3) },                             \
    { X(F(3, 5), F(5)), SOME(1e-5, 1) }, { X(F(3, 5), F(3)), SOME(1e-2, 0) },                      \
    { X(F(3, 5), F(3, 5)), ALL(0.1) }, { X(F(2, 3, 4), F(3, 4)), SOME(1e-5, -2, -1) },             \
    { X(F(2, 3, 4), F(2, 4)), SOME(1e-5, 2, 0) }, { X(F(2, 1, 7), F(1, 7)), SOME(0.01, 1, 2) },    \
    { X(F(0, 3), F(3)), SOME(1e-5, 1) }, { X(F(3, 0), F(0)), SOME(1e-5, 1) },                      \
    { X(F(3, 0, 2), F(3, 2)), SOME(1e-5, 0, 2) },                                                  \
    { X(F(2, 17), F(17)), SOME(0, 1) },                                                            \
    { X(F(2, 3), F(3)), SOME(1, 2), .error = EBB_BAD_AXIS,                                         \
      .message = "axis 2 is out of range for rank 2" },                                            \
    { X(F(2, 3), F(3)), SOME(1, 1, -1), .error = EBB_BAD_AXIS, .message = "axis -1 is repeated" }, \
    { X(F(2, 3), F(2)), SOME(1, 1), .error = EBB_BAD_SHAPE,                                        \
      .message = "scale is [2], not [3] as the normalized axes of x" },                            \
    { X(F(2, 3), F(3)), SOME(-1, 1), .error = EBB_BAD_ATTRIBUTE,                                   \
      .message = "epsilon -1 is negative or not finite" },                                         \
    { X(F(2, 3), F(3)), SOME(NAN, 1), .error = EBB_BAD_ATTRIBUTE, .message = "not finite" },       \
    { X(F(2, 3), TYPE(F32, 3)), SOME(1, 1), .error = EBB_BAD_DTYPE,                                \
      .message = "scale is f32, x is f64" },                                                       \
    { X(TYPE(I64, 2, 3), F(3)), SOME(1, 1), .error = EBB_BAD_DTYPE,                                \
      .message = "dtype i64 is not one of f64, f32" }
#define X_SCALE_SHIFT(x, scale) IN(x, scale, scale)
#define X_SCALE(x, scale) IN(x, scale)
#define X_SCALE_DY(x, scale) IN(x, scale, x)

static const ebb_sample samples_layer_norm[] = {
    COMMON_SAMPLES(X_SCALE_SHIFT),
    /* mean 3, variance 4; two elements without epsilon become -1 and 1 whatever they are, and what
     * differences then show is rounding */
    { IN(F(1, 2), F(2), F(2)), SOME(0, 1), .values = { LIST(1, 5), LIST(1, 10), LIST(0, 3) },
      .expected = LIST(-1, 13), .no_gradient = true, .source = "Ba et al. 2016, eq. 4, by hand" },
    { IN(F(2, 2), F(2), F(2)), SOME(5, 0), .values = { LIST(1, 7, 5, 7), LIST(1, 2), LIST(0, 1) },
      .expected = LIST(-0.66666666666666667, 0, 2.3333333333333333, 1),
      .source = "Ba et al. 2016, eq. 4, by hand" },
    /* a relative step is too large for central differences at 1000000 */
    { IN(F(1, 2), F(2), F(2)), SOME(0, 1), .values = { LIST(1e6, 1e6 + 2), LIST(1, 1), LIST(0, 0) },
      .expected = LIST(-1, 1), .no_gradient = true, .source = "deviations of 1" },
    { IN(F(2, 3), F(3), F(2)), SOME(1, 1), .error = EBB_BAD_SHAPE,
      .message = "shift is [2], not [3] as the normalized axes of x" },
};
static const ebb_sample samples_rms_norm[] = {
    COMMON_SAMPLES(X_SCALE),
    { IN(F(1, 2), F(2)), SOME(0, 1), .values = { LIST(1, 7), LIST(1, 10) },
      .expected = LIST(0.2, 14), .source = "Zhang & Sennrich 2019, eq. 4: 1/5, 7/5" },
    { IN(F(2), F(2)), SOME(11, 0), .values = { LIST(1, 7), LIST(6, 12) },
      .expected = LIST(1, 14), .source = "Zhang & Sennrich 2019, eq. 4: 1/6, 7/6" },
    { IN(F(2), F(2)), SOME(1, 0), .values = { LIST(0, 0), LIST(6, 12) },
      .expected = LIST(0, 0), .source = "by the definition" },
};
static const ebb_sample samples_layer_norm_grad[] = {
    COMMON_SAMPLES(X_SCALE_DY),
    /* n = -1, 0, 1 times sqrt(3/2), r = sqrt(3/2): r (h - mean(h) - n mean(hn)) for h = (1, 0, 0) */
    { IN(F(3), F(3), F(3)), ALL(0), .values = { LIST(1, 2, 3), LIST(1, 1, 1), LIST(1, 0, 0) },
      .expected = LIST(0.20412414523193151, -0.40824829046386302, 0.20412414523193151),
      .source = "sqrt(3/2) (1/6, -1/3, 1/6), by hand" },
    { IN(F(2, 3), F(3), F(3)), SOME(1, 1), .error = EBB_BAD_SHAPE,
      .message = "dy is [3], not [2,3] as x" },
};
static const ebb_sample samples_rms_norm_grad[] = {
    COMMON_SAMPLES(X_SCALE_DY),
    /* n = (1/5, 7/5), r = 1/5, h = (10, 0), mean(hn) = 1 */
    { IN(F(2), F(2), F(2)), ALL(0), .values = { LIST(1, 7), LIST(10, 1), LIST(1, 0) },
      .expected = LIST(1.96, -0.28), .source = "1/5 (10 - 1/5, -7/5), by hand" },
    { IN(F(2, 3), F(3), TYPE(F32, 2, 3)), SOME(1, 1), .error = EBB_BAD_DTYPE,
      .message = "dy is f32, x is f64" },
};
/* clang-format on */

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])
#define NORM(name_, n_inputs_, rules, centred, gradient, third, text)                              \
    static const family family_##name_ = { centred, gradient, { "x", "scale", third } };           \
    const ebb_op ebb_op_##name_ = {                                                                \
        .name = #name_,                                                                            \
        .summary = text,                                                                           \
        .group = "library",                                                                        \
        .n_inputs = n_inputs_,                                                                     \
        .n_results = 1,                                                                            \
        .traits = EBB_TRAIT_LIBRARY,                                                               \
        .attrs_bytes = sizeof(ebb_norm_attrs),                                                     \
        .attrs = norm_fields,                                                                      \
        .infer = infer_norm,                                                                       \
        rules,                                                                                     \
        .eval = eval_norm,                                                                         \
        .samples = samples_##name_,                                                                \
        .n_samples = COUNT(samples_##name_),                                                       \
        .user = &family_##name_,                                                                   \
    };
#define FORWARD .vjp = vjp_norm, .decompose = decompose_norm
#define BACKWARD .decompose = decompose_gradient

/* clang-format off */
NORM(layer_norm, 3, FORWARD, true, false, "shift",
     "scale (x - mean) / sqrt(variance + epsilon) + shift, over some axes")
NORM(rms_norm, 2, FORWARD, false, false, "", "scale x / sqrt(mean(x^2) + epsilon), over some axes")
NORM(layer_norm_grad, 3, BACKWARD, true, true, "dy",
     "the gradient of layer_norm to x, out of x, scale and the cotangent")
NORM(rms_norm_grad, 3, BACKWARD, false, true, "dy",
     "the gradient of rms_norm to x, out of x, scale and the cotangent")
/* clang-format on */
