/* Losses that are a sum or mean of one term for each element: mse_loss, mae_loss, huber_loss,
 * binary_cross_entropy, kl_divergence. A term is a function of two elements, x and t; a row of the
 * family says it three times: as a number, as nodes, and its derivatives as nodes. */
#define EBB_NO_LOCATIONS
#include "ops/loss.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/rows.h"

typedef struct family {
    double (*term)(double x, double t, double delta);
    ebb_node (*emit_term)(ebb_node x, ebb_node t, double delta);
    /* slopes[0] = d term / dx, slopes[1] = d term / dt */
    void (*emit_slopes)(ebb_node x, ebb_node t, double delta, ebb_node slopes[2]);
} family;

const char *const ebb_reduction_names[] = { "mean", "sum", "none", NULL };

ebb_status ebb_infer_reduction(const ebb_infer *infer, int reduction)
{
    if (reduction < EBB_REDUCTION_MEAN || reduction > EBB_REDUCTION_NONE)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "there is no reduction %d", reduction);
    return EBB_OK;
}

ebb_node ebb_build_loss(ebb_node terms, int reduction)
{
    if (reduction == EBB_REDUCTION_MEAN)
        return ebb_reduce_mean(terms, EBB_ALL_AXES, false);
    return reduction == EBB_REDUCTION_SUM ? ebb_reduce_sum(terms, EBB_ALL_AXES, false) : terms;
}

/* ---- rules ---- */

static double delta_of(const void *attrs)
{
    const double delta = ((const ebb_loss_attrs *)attrs)->delta;
    return delta == 0 ? 1 : delta;
}

static ebb_status infer_loss(const ebb_infer *infer)
{
    const ebb_loss_attrs *attrs = infer->attrs;
    ebb_status status = ebb_infer_float(infer, 0);
    if (!status)
        status = ebb_infer_equal(infer, 0);
    if (!status)
        status = ebb_infer_reduction(infer, attrs->reduction);
    if (!status && !(attrs->delta >= 0 && isfinite(attrs->delta)))
        status = ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "delta %g is not positive and finite",
                                attrs->delta);
    infer->results[0] = *infer->inputs[0];
    if (attrs->reduction != EBB_REDUCTION_NONE)
        infer->results[0].shape = EBB_SCALAR;
    return status;
}

static ebb_status eval_loss(const ebb_eval *eval)
{
    const family *f = eval->op->user;
    const ebb_loss_attrs *attrs = eval->attrs;
    const ebb_tensor *x = &eval->inputs[0], *t = &eval->inputs[1], *result = &eval->results[0];
    const ebb_dtype dtype = x->type.dtype;
    const int64_t n = ebb_shape_elements(&x->type.shape);
    const double delta = delta_of(attrs);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double term =
            f->term(ebb_float_at(dtype, x->data, i), ebb_float_at(dtype, t->data, i), delta);
        if (attrs->reduction == EBB_REDUCTION_NONE)
            ebb_float_put(dtype, result->data, i, term);
        sum += term;
    }
    if (attrs->reduction != EBB_REDUCTION_NONE)
        ebb_float_put(dtype, result->data, 0,
                      attrs->reduction == EBB_REDUCTION_MEAN ? sum / (double)n : sum);
    return EBB_OK;
}

static void vjp_loss(const ebb_vjp *v)
{
    const family *f = v->op->user;
    const ebb_loss_attrs *attrs = v->attrs;
    const ebb_node x = v->inputs[0], t = v->inputs[1];
    ebb_node g = v->cotangents[0], slopes[2];
    if (attrs->reduction == EBB_REDUCTION_MEAN)
        g = ebb_div(g, ebb_full_like(g, (double)ebb_shape_elements(&ebb_node_type(x)->shape)));
    f->emit_slopes(x, t, delta_of(attrs), slopes);
    for (int i = 0; i < 2; i++)
        if (v->needed[i])
            v->gradients[i] = ebb_mul(slopes[i], g);
}

static void decompose_loss(const ebb_decompose *d)
{
    const family *f = d->op->user;
    d->results[0] = ebb_build_loss(f->emit_term(d->inputs[0], d->inputs[1], delta_of(d->attrs)),
                                   ((const ebb_loss_attrs *)d->attrs)->reduction);
}

static ebb_node emit_loss(const ebb_op *op, ebb_node x, ebb_node t, ebb_loss_attrs attrs)
{
    const ebb_node inputs[2] = { x, t };
    return ebb_emit(NULL, op, inputs, 2, &attrs, NULL);
}

/* ---- (x - t)^2 ---- */

static double mse_term(double x, double t, double delta)
{
    (void)delta;
    return (x - t) * (x - t);
}

static ebb_node mse_emit_term(ebb_node x, ebb_node t, double delta)
{
    (void)delta;
    return ebb_square(ebb_sub(x, t));
}

static void mse_emit_slopes(ebb_node x, ebb_node t, double delta, ebb_node slopes[2])
{
    (void)delta;
    const ebb_node difference = ebb_sub(x, t);
    slopes[0] = ebb_add(difference, difference);
    slopes[1] = ebb_neg(slopes[0]);
}

ebb_node(ebb_mse_loss)(ebb_node y, ebb_node t, ebb_loss_reduction reduction)
{
    return emit_loss(&ebb_op_mse_loss, y, t, (ebb_loss_attrs){ .reduction = (int)reduction });
}

/* ---- |x - t| ---- */

static double mae_term(double x, double t, double delta)
{
    (void)delta;
    return fabs(x - t);
}

static ebb_node mae_emit_term(ebb_node x, ebb_node t, double delta)
{
    (void)delta;
    return ebb_abs(ebb_sub(x, t));
}

static void mae_emit_slopes(ebb_node x, ebb_node t, double delta, ebb_node slopes[2])
{
    (void)delta;
    slopes[0] = ebb_sign(ebb_sub(x, t));
    slopes[1] = ebb_neg(slopes[0]);
}

ebb_node(ebb_mae_loss)(ebb_node y, ebb_node t, ebb_loss_reduction reduction)
{
    return emit_loss(&ebb_op_mae_loss, y, t, (ebb_loss_attrs){ .reduction = (int)reduction });
}

/* ---- Huber: d^2/2 for |d| <= delta, else delta (|d| - delta/2); d = x - t (Huber 1964) ---- */

static double huber_term(double x, double t, double delta)
{
    const double d = fabs(x - t);
    return d <= delta ? d * d / 2 : delta * (d - delta / 2);
}

/* With m = min(|d|, delta): m (|d| - m/2). */
static ebb_node huber_emit_term(ebb_node x, ebb_node t, double delta)
{
    const ebb_node d = ebb_abs(ebb_sub(x, t));
    const ebb_node m = ebb_minimum(d, ebb_full_like(d, delta));
    return ebb_mul(m, ebb_sub(d, ebb_mul(m, ebb_full_like(m, 0.5))));
}

static void huber_emit_slopes(ebb_node x, ebb_node t, double delta, ebb_node slopes[2])
{
    slopes[0] = ebb_clip(ebb_sub(x, t), -delta, delta);
    slopes[1] = ebb_neg(slopes[0]);
}

ebb_node(ebb_huber_loss)(ebb_node y, ebb_node t, double delta, ebb_loss_reduction reduction)
{
    return emit_loss(&ebb_op_huber_loss, y, t,
                     (ebb_loss_attrs){ .reduction = (int)reduction, .delta = delta });
}

/* ---- -t log s - (1-t) log(1-s), s = sigmoid(x): log(1+e^x) - t x ---- */

static double bce_term(double x, double t, double delta)
{
    (void)delta;
    return fmax(x, 0) - x * t + log1p(exp(-fabs(x)));
}

static ebb_node bce_emit_term(ebb_node x, ebb_node t, double delta)
{
    (void)delta;
    return ebb_sub(ebb_softplus(x), ebb_mul(x, t));
}

static void bce_emit_slopes(ebb_node x, ebb_node t, double delta, ebb_node slopes[2])
{
    (void)delta;
    slopes[0] = ebb_sub(ebb_sigmoid(x), t);
    slopes[1] = ebb_neg(x);
}

ebb_node(ebb_binary_cross_entropy)(ebb_node x, ebb_node t, ebb_loss_reduction reduction)
{
    return emit_loss(&ebb_op_binary_cross_entropy, x, t,
                     (ebb_loss_attrs){ .reduction = (int)reduction });
}

ebb_node(ebb_weighted_binary_cross_entropy)(ebb_node x, ebb_node t, ebb_node weights,
                                            ebb_loss_reduction reduction)
{
    if (reduction < EBB_REDUCTION_MEAN || reduction > EBB_REDUCTION_NONE)
        return ebb_graph_fail(x.graph, EBB_BAD_ATTRIBUTE,
                              "weighted_binary_cross_entropy: there is no reduction %d",
                              (int)reduction);
    const ebb_node terms = ebb_binary_cross_entropy(x, t, EBB_REDUCTION_NONE);
    const ebb_node weighted = ebb_mul(terms, weights);
    if (weighted.id && !ebb_type_equal(ebb_node_type(weighted), ebb_node_type(terms))) {
        char text[EBB_NODE_TEXT_BYTES], text_x[EBB_NODE_TEXT_BYTES];
        return ebb_graph_fail(x.graph, EBB_BAD_SHAPE,
                              "weighted_binary_cross_entropy: weights are larger than x: %s, %s",
                              ebb_node_text(weights, text), ebb_node_text(x, text_x));
    }
    return ebb_build_loss(weighted, (int)reduction);
}

/* ---- t (log t - x); 0 where t is 0 ---- */

static double kl_term(double x, double t, double delta)
{
    (void)delta;
    return t == 0 ? 0 : t * (log(t) - x);
}

/* t, with 1 in the place of 0, so that its logarithm is finite; and where that is. */
static ebb_node keep_from_zero(ebb_node t, ebb_node *is_zero)
{
    *is_zero = ebb_equal(t, ebb_full_like(t, 0));
    return ebb_select(*is_zero, ebb_full_like(t, 1), t);
}

static ebb_node kl_emit_term(ebb_node x, ebb_node t, double delta)
{
    (void)delta;
    ebb_node is_zero, safe = keep_from_zero(t, &is_zero);
    return ebb_select(is_zero, ebb_full_like(t, 0), ebb_mul(t, ebb_sub(ebb_log(safe), x)));
}

static void kl_emit_slopes(ebb_node x, ebb_node t, double delta, ebb_node slopes[2])
{
    (void)delta;
    ebb_node is_zero, safe = keep_from_zero(t, &is_zero);
    slopes[0] = ebb_neg(t);
    slopes[1] = ebb_select(is_zero, ebb_full_like(t, 0),
                           ebb_sub(ebb_add(ebb_log(safe), ebb_full_like(t, 1)), x));
}

ebb_node(ebb_kl_divergence)(ebb_node log_q, ebb_node p, ebb_loss_reduction reduction)
{
    return emit_loss(&ebb_op_kl_divergence, log_q, p,
                     (ebb_loss_attrs){ .reduction = (int)reduction });
}

/* ---- samples ---- */

static const ebb_attr_field loss_fields[] = {
    { "reduction", EBB_ATTR_ENUM, offsetof(ebb_loss_attrs, reduction),
      "mean, sum, or none: a term for each element; default mean", ebb_reduction_names },
    { 0 },
};
static const ebb_attr_field huber_fields[] = {
    { "reduction", EBB_ATTR_ENUM, offsetof(ebb_loss_attrs, reduction),
      "mean, sum, or none: a term for each element; default mean", ebb_reduction_names },
    EBB_FIELD(ebb_loss_attrs, delta, F64, "where the square becomes a line; 0: 1"),
    { 0 },
};

/* clang-format off */
#define TYPE EBB_SAMPLE_TYPE
#define SCALAR EBB_SAMPLE_SCALAR
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define ATTRS(reduction_, delta_)                                                                  \
    .attrs = &(const ebb_loss_attrs){ EBB_REDUCTION_##reduction_, delta_ }
#define RANGES(low_x, high_x, low_t, high_t)                                                       \
    .range = EBB_RANGES({ low_x, high_x, 0, 0 }, { low_t, high_t, 0, 0 })
#define BOTH(type) .inputs = EBB_INPUTS(type, type)
#define PAIR(reduction, ranges, ...)                                                               \
    { BOTH(EBB_SAMPLE_TYPE(F64, __VA_ARGS__)), ATTRS(reduction, 0), ranges }
#define GIVEN(n, x, t, reduction, delta, result, origin)                                           \
    { BOTH(TYPE(F64, n)), ATTRS(reduction, delta), .values = { x, t }, .expected = result,         \
      .source = origin }
#define COMMON_SAMPLES(R)                                                                          \
    { BOTH(SCALAR(F64)), ATTRS(MEAN, 0), R() }, { BOTH(SCALAR(F64)), ATTRS(NONE, 0), R() },        \
    PAIR(MEAN, R(), 1), PAIR(MEAN, R(), 7), PAIR(SUM, R(), 17), PAIR(NONE, R(), 17),               \
    PAIR(MEAN, R(), 3, 5), PAIR(SUM, R(), 2, 3, 1, 7), PAIR(NONE, R(), 2, 3, 1, 7),                \
    PAIR(SUM, R(), 0), PAIR(NONE, R(), 2, 0, 3),                                                   \
    { BOTH(TYPE(F64, 0)), ATTRS(MEAN, 0), .no_gradient = true }, /* the mean of nothing: NaN */    \
    { .inputs = EBB_INPUTS(TYPE(F64, 2, 3), TYPE(F64, 3)), ATTRS(MEAN, 0), .error = EBB_BAD_SHAPE, \
      .message = "[2,3], [3]" },                                                                   \
    { .inputs = EBB_INPUTS(TYPE(F64, 3), TYPE(F32, 3)), ATTRS(MEAN, 0), .error = EBB_BAD_DTYPE,    \
      .message = "dtypes differ: f64, f32" },                                                      \
    { BOTH(TYPE(I64, 3)), ATTRS(MEAN, 0), .error = EBB_BAD_DTYPE,                                  \
      .message = "dtype i64 is not one of f64, f32" },                                             \
    { BOTH(TYPE(F64, 3)), .attrs = &(const ebb_loss_attrs){ 3, 0 }, .error = EBB_BAD_ATTRIBUTE,    \
      .message = "there is no reduction 3" }
#define MSE_RANGES() RANGES(-2, 2, -2, 2)
#define MAE_RANGES() RANGES(-2, 0.4, 0.5, 2)
#define HUBER_RANGES() RANGES(-2, 2, 4, 5) /* all of it line */
#define BCE_RANGES() RANGES(-4, 4, 0, 1)
#define KL_RANGES() RANGES(-3, 0, 0.1, 1)
#define BY_HAND "by hand, from the definition"

static const ebb_sample samples_mse_loss[] = {
    COMMON_SAMPLES(MSE_RANGES),
    GIVEN(3, LIST(1, 2, 4), LIST(0, 4, 4), NONE, 0, LIST(1, 4, 0), BY_HAND),
    GIVEN(3, LIST(1, 2, 5), LIST(0, 4, 4), MEAN, 0, LIST(2), BY_HAND),
    GIVEN(3, LIST(1, 2, 5), LIST(0, 4, 4), SUM, 0, LIST(6), BY_HAND),
};
static const ebb_sample samples_mae_loss[] = {
    COMMON_SAMPLES(MAE_RANGES),
    GIVEN(3, LIST(1, 2, 5), LIST(0, 4, 4), NONE, 0, LIST(1, 2, 1), BY_HAND),
    GIVEN(3, LIST(1, 2, 5), LIST(0, 4, 2), MEAN, 0, LIST(2), BY_HAND),
    GIVEN(3, LIST(1, 2, 5), LIST(0, 4, 4), SUM, 0, LIST(4), BY_HAND),
};
static const ebb_sample samples_huber_loss[] = {
    COMMON_SAMPLES(HUBER_RANGES),
    PAIR(MEAN, RANGES(0, 0.4, 0.5, 0.9), 3, 5), /* all of it square */
    { BOTH(TYPE(F64, 7)), ATTRS(SUM, 2.5), RANGES(-1, 1, -1, 1) },
    GIVEN(4, LIST(0.5, 3, -2, 0.25), LIST(0, 0, 2, 1), NONE, 1, LIST(0.125, 2.5, 3.5, 0.28125),
          "Huber 1964, by hand"),
    GIVEN(4, LIST(0.5, 3, -2, 0.25), LIST(0, 0, 2, 1), SUM, 2, LIST(10.40625),
          "Huber 1964, by hand"),
    { BOTH(TYPE(F64, 3)), ATTRS(MEAN, -1), .error = EBB_BAD_ATTRIBUTE,
      .message = "delta -1 is not positive and finite" },
    { BOTH(TYPE(F64, 3)), ATTRS(MEAN, NAN), .error = EBB_BAD_ATTRIBUTE,
      .message = "is not positive and finite" },
    { BOTH(TYPE(F64, 3)), ATTRS(MEAN, INFINITY), .error = EBB_BAD_ATTRIBUTE,
      .message = "delta inf is not positive and finite" },
};
static const ebb_sample samples_binary_cross_entropy[] = {
    COMMON_SAMPLES(BCE_RANGES),
    GIVEN(3, LIST(0, 0, 0), LIST(0, 1, 0.5), NONE, 0,
          LIST(0.6931471805599453, 0.6931471805599453, 0.6931471805599453), "ln 2"),
    GIVEN(2, LIST(1, -1), LIST(1, 1), NONE, 0, LIST(0.3132616875182228, 1.3132616875182228),
          "ln(1 + 1/e), ln(1 + e)"),
    /* a relative step is too large for central differences at 1000 */
    { BOTH(TYPE(F64, 4)), ATTRS(NONE, 0), .values = { LIST(1000, 1000, -1000, -1000),
      LIST(1, 0, 1, 0) }, .expected = LIST(0, 1000, 1000, 0), .no_gradient = true,
      .source = "ln(1 + e^-1000) = 0" },
};
static const ebb_sample samples_kl_divergence[] = {
    COMMON_SAMPLES(KL_RANGES),
    /* q = (1/2, 1/2), p = (1/4, 3/4): 3/4 ln 3 - ln 2 */
    GIVEN(2, LIST(-0.6931471805599453, -0.6931471805599453), LIST(0.25, 0.75), SUM, 0,
          LIST(0.130812035941137), "3/4 ln 3 - ln 2"),
    GIVEN(2, LIST(-0.6931471805599453, -0.6931471805599453), LIST(0.5, 0.5), MEAN, 0, LIST(0),
          "equal distributions"),
    /* the logarithm of 0 has no differences */
    { BOTH(TYPE(F64, 2)), ATTRS(SUM, 0), .values = { LIST(-INFINITY, 0), LIST(0, 1) },
      .expected = LIST(0), .no_gradient = true, .source = "0 ln 0 = 0" },
    { BOTH(TYPE(F64, 2)), ATTRS(NONE, 0), .values = { LIST(-1000, -1000), LIST(1, 0) },
      .expected = LIST(1000, 0), .no_gradient = true, .source = BY_HAND },
};
/* clang-format on */

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])
#define LOSS(name_, functions, fields, text)                                                       \
    static const family family_##name_ = { functions##_term, functions##_emit_term,                \
                                           functions##_emit_slopes };                              \
    const ebb_op ebb_op_##name_ = {                                                                \
        .name = #name_,                                                                            \
        .summary = text,                                                                           \
        .group = "library",                                                                        \
        .n_inputs = 2,                                                                             \
        .n_results = 1,                                                                            \
        .traits = EBB_TRAIT_LIBRARY,                                                               \
        .attrs_bytes = sizeof(ebb_loss_attrs),                                                     \
        .attrs = fields,                                                                           \
        .infer = infer_loss,                                                                       \
        .vjp = vjp_loss,                                                                           \
        .eval = eval_loss,                                                                         \
        .decompose = decompose_loss,                                                               \
        .samples = samples_##name_,                                                                \
        .n_samples = COUNT(samples_##name_),                                                       \
        .user = &family_##name_,                                                                   \
    };

LOSS(mse_loss, mse, loss_fields, "mean of (y - t)^2")
LOSS(mae_loss, mae, loss_fields, "mean of |y - t|")
LOSS(huber_loss, huber, huber_fields,
     "mean of d^2/2 up to delta, delta (|d| - delta/2) beyond; d = y - t")
LOSS(binary_cross_entropy, bce, loss_fields,
     "mean of -t log s - (1-t) log(1-s), s = sigmoid(x); x are logits")
LOSS(kl_divergence, kl, loss_fields, "mean of p (log p - x), x = log q; 0 where p is 0")
