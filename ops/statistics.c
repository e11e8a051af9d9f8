/* Reductions that are more than one step: logsumexp, norms, variance. As library ops they have a
 * decomposition; their gradients are their own. */
#define EBB_NO_LOCATIONS
#include "ops/reduce.h"
#include <math.h>

/* clang-format off */
/* The shift keeps exp from overflowing; where the maximum is infinite or NaN, exp tells itself. */
#define LARGER sum != sum || value <= sum ? sum : value
#define EXP_SUM sum + exp(value - shift)
REDUCE_TWICE(logsumexp_f64, double, -(double)INFINITY, LARGER, isfinite(sum) ? sum : 0, EXP_SUM,
             shift + log(sum))
REDUCE_TWICE(logsumexp_f32, float, -(double)INFINITY, LARGER, isfinite(sum) ? sum : 0, EXP_SUM,
             shift + log(sum))
#define DEVIATIONS sum + (value - shift) * (value - shift)
REDUCE_TWICE(variance_f64, double, 0, sum + value, sum / (double)plan->n_terms, DEVIATIONS,
             sum / plan->divisor)
REDUCE_TWICE(variance_f32, float, 0, sum + value, sum / (double)plan->n_terms, DEVIATIONS,
             sum / plan->divisor)
REDUCE_LOOP(norm_l1_f64, double, double, 0, sum + fabs(value), sum)
REDUCE_LOOP(norm_l1_f32, float, double, 0, sum + fabs(value), sum)
REDUCE_LOOP(norm_l2_f64, double, double, 0, sum + value * value, sqrt(sum))
REDUCE_LOOP(norm_l2_f32, float, double, 0, sum + value * value, sqrt(sum))

LOOPS_OF_FLOATS(logsumexp)
LOOPS_OF_FLOATS(norm_l1)
LOOPS_OF_FLOATS(norm_l2)
LOOPS_OF_FLOATS(variance)
/* clang-format on */

static ebb_node zero_like(ebb_node x)
{
    return ebb_full_like(x, 0);
}

/* ---- logsumexp ---- */

/* exp(x - r), where a row of -inf has gradient 0. */
static void vjp_logsumexp(const ebb_vjp *v)
{
    if (!v->needed[0])
        return;
    ebb_node x = v->inputs[0], r = v->results[0];
    ebb_node shift = ebb_select(ebb_equal(r, ebb_full_like(r, -(double)INFINITY)), zero_like(r), r);
    ebb_node weights = ebb_exp(ebb_sub(x, ebb_reduce_spread(x, v->attrs, shift)));
    v->gradients[0] = ebb_mul(ebb_reduce_spread(x, v->attrs, v->cotangents[0]), weights);
}

/* The value does not depend on the shift, so no gradient needs to flow through it. */
static void decompose_logsumexp(const ebb_decompose *d)
{
    const ebb_reduce_attrs *attrs = d->attrs;
    ebb_node x = d->inputs[0];
    ebb_node largest = ebb_stop_gradient(ebb_reduce_max(x, attrs->axes, attrs->keep));
    ebb_node shift = ebb_select(ebb_is_finite(largest), largest, zero_like(largest));
    ebb_node terms = ebb_exp(ebb_sub(x, ebb_reduce_spread(x, attrs, shift)));
    d->results[0] = ebb_add(shift, ebb_log(ebb_reduce_sum(terms, attrs->axes, attrs->keep)));
}

/* ---- norms ---- */

static void vjp_norm_l1(const ebb_vjp *v)
{
    if (v->needed[0])
        v->gradients[0] = ebb_mul(ebb_reduce_spread(v->inputs[0], v->attrs, v->cotangents[0]),
                                  ebb_sign(v->inputs[0]));
}

static void decompose_norm_l1(const ebb_decompose *d)
{
    const ebb_reduce_attrs *attrs = d->attrs;
    d->results[0] = ebb_reduce_sum(ebb_abs(d->inputs[0]), attrs->axes, attrs->keep);
}

/* x / r, and 0 where r is 0. */
static void vjp_norm_l2(const ebb_vjp *v)
{
    if (!v->needed[0])
        return;
    ebb_node x = v->inputs[0], r = v->results[0];
    ebb_node divisor = ebb_select(ebb_equal(r, zero_like(r)), ebb_full_like(r, 1), r);
    v->gradients[0] =
        ebb_mul(ebb_reduce_spread(x, v->attrs, ebb_div(v->cotangents[0], divisor)), x);
}

static void decompose_norm_l2(const ebb_decompose *d)
{
    const ebb_reduce_attrs *attrs = d->attrs;
    d->results[0] = ebb_sqrt(ebb_reduce_sum(ebb_square(d->inputs[0]), attrs->axes, attrs->keep));
}

/* ---- variance ---- */

static const ebb_attr_field variance_fields[] = {
    { "axes", EBB_ATTR_AXES, offsetof(ebb_variance_attrs, over.axes), "axes to reduce; none: all",
      NULL },
    { "keep", EBB_ATTR_BOOL, offsetof(ebb_variance_attrs, over.keep),
      "reduced dimensions stay, with size 1; default false", NULL },
    EBB_FIELD(ebb_variance_attrs, ddof, I64,
              "the sum is divided by the number of elements less this; default 0"),
    { 0 },
};

/* 0 for nothing: 0/0 is NaN. */
static double variance_divisor(const ebb_shape *shape, const ebb_variance_attrs *attrs)
{
    int64_t n_terms = ebb_reduce_plan(shape, &attrs->over).n_terms;
    return n_terms ? (double)n_terms - (double)attrs->ddof : 0;
}

static ebb_status infer_variance(const ebb_infer *infer)
{
    const ebb_variance_attrs *attrs = infer->attrs;
    ebb_status status = ebb_reduce_infer(infer);
    if (status)
        return status;
    int64_t n_terms = ebb_reduce_plan(&infer->inputs[0]->shape, &attrs->over).n_terms;
    if (attrs->ddof < 0 || (n_terms > 0 && attrs->ddof >= n_terms))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "ddof %lld for %lld elements",
                              (long long)attrs->ddof, (long long)n_terms);
    return EBB_OK;
}

static ebb_status eval_variance(const ebb_eval *eval)
{
    const ebb_tensor *x = &eval->inputs[0];
    const ebb_variance_attrs *attrs = eval->attrs;
    ebb_reduction plan = ebb_reduce_plan(&x->type.shape, &attrs->over);
    plan.divisor = variance_divisor(&x->type.shape, attrs);
    loops_variance.loops[x->type.dtype](&plan, x->data, eval->results[0].data);
    return EBB_OK;
}

static ebb_node deviations(ebb_node x, const ebb_reduce_attrs *attrs)
{
    return ebb_sub(x, ebb_reduce_spread(x, attrs, ebb_reduce_mean(x, attrs->axes, true)));
}

static void vjp_variance(const ebb_vjp *v)
{
    if (!v->needed[0])
        return;
    const ebb_variance_attrs *attrs = v->attrs;
    ebb_node x = v->inputs[0], g = v->cotangents[0];
    double factor = 2 / variance_divisor(&ebb_node_type(x)->shape, attrs);
    ebb_node scaled = ebb_mul(g, ebb_full_like(g, factor));
    v->gradients[0] =
        ebb_mul(ebb_reduce_spread(x, &attrs->over, scaled), deviations(x, &attrs->over));
}

static void decompose_variance(const ebb_decompose *d)
{
    const ebb_variance_attrs *attrs = d->attrs;
    ebb_node x = d->inputs[0];
    ebb_node sum =
        ebb_reduce_sum(ebb_square(deviations(x, &attrs->over)), attrs->over.axes, attrs->over.keep);
    d->results[0] =
        ebb_div(sum, ebb_full_like(sum, variance_divisor(&ebb_node_type(x)->shape, attrs)));
}

/* ---- builders ---- */

#define BUILDER(name)                                                                              \
    ebb_node(ebb_##name)(ebb_node x, ebb_axes axes, bool keep)                                     \
    {                                                                                              \
        return ebb_reduce_emit(&ebb_op_##name, x, axes, keep);                                     \
    }
BUILDER(logsumexp)
BUILDER(norm_l1)
BUILDER(norm_l2)

ebb_node(ebb_variance)(ebb_node x, ebb_axes axes, bool keep, int64_t ddof)
{
    ebb_variance_attrs attrs = { { ebb_build_axes(axes, ebb_node_type(x)->shape.rank), keep },
                                 ddof };
    return ebb_emit(NULL, &ebb_op_variance, &x, 1, &attrs, NULL);
}

/* ---- data ---- */

/* clang-format off */
static const ebb_sample samples_logsumexp[] = {
    COMMON_SAMPLES, EMPTY_SAMPLES(true), NO_INTEGER_SAMPLES, { IN(F64, 2, 130), REDUCE(false, 0) },
    { IN(F64, 130, 2), REDUCE(false, 0) },
    { IN(F64, 2, 2), REDUCE(false, 1), VALUES(0, 0, 1, 2),
      .expected = (const double[]){ 0.6931471805599453, 2.313261687518223 },
      .source = "log 2; log(e + e^2) in 50 digits" },
    { IN(F64, 3, 2), REDUCE(true, 1), VALUES(1000, 1000, -1000, -1000, 1000, -1000),
      .expected = (const double[]){ 1000.6931471805599, -999.3068528194401, 1000 },
      .tolerance = 1e-12, .source = "+-1000 + log 2", .no_gradient = true },
    { IN(F64, 4, 2), REDUCE(false, 1),
      VALUES(-INFINITY, -INFINITY, -INFINITY, 3, INFINITY, 1, INFINITY, NAN),
      EXPECTED(-INFINITY, 3, INFINITY, NAN), .no_gradient = true },
    { IN(F64, 0, 2), REDUCE(false, 0), VALUES(0), EXPECTED(-INFINITY, -INFINITY),
      .no_gradient = true },
};
static const ebb_sample samples_norm_l1[] = {
    GOOD_SAMPLES(-2, 2, 0.1), BAD_SAMPLES, { IN(F64, 2, 130), REDUCE(false, 0), DRAWN(-2, 2, 0.1) },
    EMPTY_SAMPLES(false), NO_INTEGER_SAMPLES,
    { IN(F64, 2, 3), REDUCE(false, 1), VALUES(1, -2, 3, -4, 5, -6), EXPECTED(6, 15) },
    { IN(F64, 2), REDUCE(false, 0), VALUES(NAN, 1), EXPECTED(NAN), .no_gradient = true },
    { IN(F64, 0, 2), REDUCE(false, 0), VALUES(0), EXPECTED(0, 0) },
};
/* A norm of one number has a kink at 0, and one of few numbers is bent strongly there. */
static const ebb_sample samples_norm_l2[] = {
    GOOD_SAMPLES(-2, 2, 0.5), BAD_SAMPLES, { IN(F64, 2, 130), REDUCE(false, 0), DRAWN(-2, 2, 0.5) },
    EMPTY_SAMPLES(false), NO_INTEGER_SAMPLES,
    { IN(F64, 2, 2), REDUCE(false, 1), VALUES(3, 4, 5, -12), EXPECTED(5, 13) },
    { IN(F64, 2), REDUCE(false, 0), VALUES(0, 0), EXPECTED(0), .no_gradient = true },
    { IN(F64, 2), REDUCE(false, 0), VALUES(NAN, 1), EXPECTED(NAN), .no_gradient = true },
    { IN(F64, 0, 2), REDUCE(false, 0), VALUES(0), EXPECTED(0, 0) },
};
#define VARIANCE(n_ddof, keep, ...)                                                                \
    .attrs = &(const ebb_variance_attrs){                                                          \
        { { (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)), { __VA_ARGS__ } }, keep },        \
        n_ddof }
#define VARIANCE_ALL(n_ddof, keep)                                                                 \
    .attrs = &(const ebb_variance_attrs){ { { 0, { 0 } }, keep }, n_ddof }
static const ebb_sample samples_variance[] = {
    { .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(F64)), VARIANCE_ALL(0, false) },
    { IN(F64, 1), VARIANCE(0, true, 0) }, { IN(F64, 7), VARIANCE_ALL(0, true) },
    { IN(F64, 17), VARIANCE(1, false, 0) }, { IN(F64, 3, 5), VARIANCE(0, false, 0) },
    { IN(F64, 3, 5), VARIANCE(1, true, 1) }, { IN(F64, 2, 3, 4), VARIANCE(2, true, 0, 2) },
    { IN(F64, 2, 130), VARIANCE(0, false, 0) }, { IN(F64, 130, 2), VARIANCE(0, false, 0) },
    { IN(F64, 2, 0, 4), VARIANCE(0, false, 0) }, { IN(F64, 2, 1, 3, 1, 5), VARIANCE(0, false, -1) },
    { IN(F64, 0, 3), VARIANCE(0, false, 0), .no_gradient = true },
    { IN(F64, 2, 4), VARIANCE(0, false, 1), VALUES(1, 2, 3, 4, 5, 5, 5, 5), EXPECTED(1.25, 0) },
    { IN(F64, 4), VARIANCE(1, false, 0), VALUES(2, 4, 4, 6), EXPECTED(8. / 3) },
    { IN(F64, 3), VARIANCE(0, false, 0), VALUES(1e6 + 1, 1e6 + 2, 1e6 + 3), EXPECTED(2. / 3),
      .no_gradient = true },
    { IN(F64, 0, 2), VARIANCE(1, false, 0), VALUES(0), EXPECTED(NAN, NAN), .no_gradient = true },
    { IN(F64, 3), VARIANCE(3, false, 0), .error = EBB_BAD_ATTRIBUTE,
      .message = "ddof 3 for 3 elements" },
    { IN(F64, 3), VARIANCE(-1, false, 0), .error = EBB_BAD_ATTRIBUTE,
      .message = "ddof -1 for 3 elements" },
    { IN(F64, 2, 3), VARIANCE(0, false, 2), .error = EBB_BAD_AXIS, .message = "axis 2 is out" },
    { IN(F64, 2, 3), VARIANCE(0, false, 1, 1), .error = EBB_BAD_AXIS, .message = "is repeated" },
    { IN(I64, 3), VARIANCE(0, false, 0), .error = EBB_BAD_DTYPE,
      .message = "dtype i64 is not one of f64, f32" },
};

REDUCTION(logsumexp, "log of the sum of e^x over axes; of nothing -inf", vjp_logsumexp,
          .traits = EBB_TRAIT_LIBRARY, .decompose = decompose_logsumexp);
REDUCTION(norm_l1, "sum of |x| over axes", vjp_norm_l1,
          .traits = EBB_TRAIT_LIBRARY, .decompose = decompose_norm_l1);
REDUCTION(norm_l2, "square root of the sum of x^2 over axes; gradient 0 at 0", vjp_norm_l2,
          .traits = EBB_TRAIT_LIBRARY, .decompose = decompose_norm_l2);
/* clang-format on */

const ebb_op ebb_op_variance = {
    .name = "variance",
    .summary = "mean of (x - mean)^2 over axes; of nothing NaN",
    .group = "reduction",
    .n_inputs = 1,
    .n_results = 1,
    .traits = EBB_TRAIT_LIBRARY,
    .attrs_bytes = sizeof(ebb_variance_attrs),
    .attrs = variance_fields,
    .infer = infer_variance,
    .vjp = vjp_variance,
    .eval = eval_variance,
    .decompose = decompose_variance,
    .user = &loops_variance,
    .samples = samples_variance,
    .n_samples = COUNT(samples_variance),
};
