/* softmax and log_softmax: library ops. Both subtract the maximum first, so that nothing overflows.
 * The reference kernel works in double. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/rows.h"

/* ---- reference kernel ---- */

static ebb_status eval_rows(const ebb_eval *eval)
{
    const bool is_log = eval->op == &ebb_op_log_softmax;
    const ebb_axis_attrs *attrs = eval->attrs;
    const ebb_type *type = &eval->inputs[0].type;
    const ebb_shape *shape = &type->shape;
    const int axis = ebb_axis_of(attrs->axis, shape->rank);
    const void *x = eval->inputs[0].data;
    void *result = eval->results[0].data;
    int64_t outer = 1, inner = 1, n = shape->dims[axis];
    for (int i = 0; i < shape->rank; i++)
        *(i < axis ? &outer : &inner) *= i == axis ? 1 : shape->dims[i];
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            const int64_t start = o * n * inner + i;
            const ebb_row_sums row = ebb_row_sum_exp(type->dtype, x, start, inner, n);
            const double log_sum = is_log ? log(row.sum) : 0;
            for (int64_t k = 0; k < n; k++) {
                const int64_t at = start + k * inner;
                const double shifted = ebb_float_at(type->dtype, x, at) - row.max;
                ebb_float_put(type->dtype, result, at,
                              is_log ? shifted - log_sum : exp(shifted) / row.sum);
            }
        }
    return EBB_OK;
}

/* ---- softmax, log_softmax ---- */

static ebb_status infer_rows(const ebb_infer *infer)
{
    const ebb_axis_attrs *attrs = infer->attrs;
    ebb_status status = ebb_infer_float(infer, 0);
    if (!status)
        status = ebb_infer_axis(infer, attrs->axis, infer->inputs[0]->shape.rank);
    if (!status)
        infer->results[0] = *infer->inputs[0];
    return status;
}

static ebb_node sum_along(ebb_node x, const void *attrs)
{
    return ebb_reduce_sum(x, EBB_AXES((int)((const ebb_axis_attrs *)attrs)->axis), true);
}

static void vjp_softmax(const ebb_vjp *v)
{
    const ebb_node r = v->results[0], g = v->cotangents[0];
    if (v->needed[0])
        v->gradients[0] = ebb_mul(r, ebb_sub(g, sum_along(ebb_mul(g, r), v->attrs)));
}

static void vjp_log_softmax(const ebb_vjp *v)
{
    const ebb_node r = v->results[0], g = v->cotangents[0];
    if (v->needed[0])
        v->gradients[0] = ebb_sub(g, ebb_mul(ebb_exp(r), sum_along(g, v->attrs)));
}

/* x - max: the derivative of the maximum drops out of everything that is made of it here. */
static ebb_node shift_rows(ebb_node x, const void *attrs)
{
    const ebb_axis_attrs *a = attrs;
    return ebb_sub(x, ebb_stop_gradient(ebb_reduce_max(x, EBB_AXES((int)a->axis), true)));
}

static void decompose_softmax(const ebb_decompose *d)
{
    ebb_node e = ebb_exp(shift_rows(d->inputs[0], d->attrs));
    d->results[0] = ebb_div(e, sum_along(e, d->attrs));
}

static void decompose_log_softmax(const ebb_decompose *d)
{
    ebb_node s = shift_rows(d->inputs[0], d->attrs);
    d->results[0] = ebb_sub(s, ebb_log(sum_along(ebb_exp(s), d->attrs)));
}

static ebb_node emit_rows(const ebb_op *op, ebb_node x, int axis)
{
    int front = ebb_axis_of(axis, ebb_node_type(x)->shape.rank);
    ebb_axis_attrs attrs = { front < 0 ? axis : front };
    return ebb_emit(NULL, op, &x, 1, &attrs, NULL);
}

ebb_node(ebb_softmax)(ebb_node x, int axis)
{
    return emit_rows(&ebb_op_softmax, x, axis);
}
ebb_node(ebb_log_softmax)(ebb_node x, int axis)
{
    return emit_rows(&ebb_op_log_softmax, x, axis);
}

static const ebb_attr_field axis_fields[] = {
    EBB_FIELD(ebb_axis_attrs, axis, I64, "the axis along which the results sum to 1; default 0"),
    { 0 },
};

/* clang-format off */
#define AXIS(axis) .attrs = &(const ebb_axis_attrs){ axis }
#define TYPE EBB_SAMPLE_TYPE
#define IN(...) .inputs = EBB_INPUTS(__VA_ARGS__)
#define VALUES(...) .values = { (const double[]){ __VA_ARGS__ } }
#define BOOK "Saitoh 2016, 3.5, evaluated with 30 digits"
#define COMMON_SAMPLES                                                                             \
    { IN(TYPE(F64, 1)), AXIS(0) }, { IN(TYPE(F64, 7)), AXIS(0) }, { IN(TYPE(F64, 17)), AXIS(-1) }, \
    { IN(TYPE(F64, 3, 5)), AXIS(1) }, { IN(TYPE(F64, 3, 5)), AXIS(0) },                            \
    { IN(TYPE(F64, 2, 3, 4)), AXIS(1) },                                                           \
    { IN(TYPE(F64, 2, 1, 7)), AXIS(1) }, { IN(TYPE(F64, 0, 3)), AXIS(1) },                         \
    { IN(TYPE(F64, 3, 0)), AXIS(1) },                                                              \
    { IN(TYPE(F64, 0)), AXIS(0) },                                                                 \
    { IN(TYPE(F64, 4, 6)), AXIS(1), .range = EBB_RANGES({ -800, 800, 0, 0 }),                      \
      .no_gradient = true },                                                                       \
    { IN(TYPE(F64, 2)), AXIS(0), VALUES(-INFINITY, -INFINITY),                                     \
      .expected = (const double[]){ NAN, NAN },                                                    \
      .no_gradient = true, .source = "-inf - -inf" },                                              \
    { IN(TYPE(F64, 2)), AXIS(0), VALUES(NAN, 1), .expected = (const double[]){ NAN, NAN },         \
      .no_gradient = true, .source = "NaN stays" },                                                \
    { IN(TYPE(F64, 2, 3)), AXIS(2), .error = EBB_BAD_AXIS,                                         \
      .message = "axis 2 is out of range for rank 2" },                                            \
    { IN(EBB_SAMPLE_SCALAR(F64)), AXIS(0), .error = EBB_BAD_AXIS,                                  \
      .message = "a scalar has none" },                                                            \
    { IN(TYPE(I64, 3)), AXIS(0), .error = EBB_BAD_DTYPE,                                           \
      .message = "dtype i64 is not one of f64, f32" }

static const ebb_sample samples_softmax[] = {
    COMMON_SAMPLES,
    { IN(TYPE(F64, 3)), AXIS(0), VALUES(0.3, 2.9, 4.0), .tolerance = 1e-8, .source = BOOK,
      .expected = (const double[]){ 0.01821127, 0.24519181, 0.73659691 } },
    /* a relative step is too large for central differences at 1000 */
    { IN(TYPE(F64, 3)), AXIS(0), VALUES(1010, 1000, 990), .tolerance = 1e-7, .source = BOOK,
      .no_gradient = true,
      .expected = (const double[]){ 9.99954600e-01, 4.53978686e-05, 2.06106005e-09 } },
    { IN(TYPE(F64, 2)), AXIS(0), VALUES(0, -INFINITY), .expected = (const double[]){ 1, 0 },
      .no_gradient = true, .source = "exp(-inf) = 0" },
};
static const ebb_sample samples_log_softmax[] = {
    COMMON_SAMPLES,
    { IN(TYPE(F64, 2)), AXIS(0), VALUES(3, 3), .source = "ln 1/2",
      .expected = (const double[]){ -0.6931471805599453, -0.6931471805599453 } },
    { IN(TYPE(F64, 2)), AXIS(0), VALUES(1000, -1000), .source = "exp(-2000) = 0",
      .expected = (const double[]){ 0, -2000 }, .no_gradient = true },
};
/* clang-format on */

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])

const ebb_op ebb_op_softmax = {
    .name = "softmax",
    .summary = "exp(x - max) / sum along an axis",
    .group = "library",
    .n_inputs = 1,
    .n_results = 1,
    .traits = EBB_TRAIT_LIBRARY,
    .attrs_bytes = sizeof(ebb_axis_attrs),
    .attrs = axis_fields,
    .infer = infer_rows,
    .vjp = vjp_softmax,
    .eval = eval_rows,
    .decompose = decompose_softmax,
    .samples = samples_softmax,
    .n_samples = COUNT(samples_softmax),
};

const ebb_op ebb_op_log_softmax = {
    .name = "log_softmax",
    .summary = "x - log(sum(exp(x))) along an axis",
    .group = "library",
    .n_inputs = 1,
    .n_results = 1,
    .traits = EBB_TRAIT_LIBRARY,
    .attrs_bytes = sizeof(ebb_axis_attrs),
    .attrs = axis_fields,
    .infer = infer_rows,
    .vjp = vjp_log_softmax,
    .eval = eval_rows,
    .decompose = decompose_log_softmax,
    .samples = samples_log_softmax,
    .n_samples = COUNT(samples_log_softmax),
};
