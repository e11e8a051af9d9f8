/* softmax, log_softmax, softmax_cross_entropy: library ops. All subtract the maximum first, so that
 * nothing overflows. Reference kernels work in double. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/index.h"
#include <math.h>

/* ---- reference kernels ---- */

/* Elements of a row that are `stride` apart, as doubles. */
static double get_element(ebb_dtype dtype, const void *data, int64_t at)
{
    return dtype == EBB_F32 ? (double)((const float *)data)[at] : ((const double *)data)[at];
}

static void set_element(ebb_dtype dtype, void *data, int64_t at, double value)
{
    if (dtype == EBB_F32)
        ((float *)data)[at] = (float)value;
    else
        ((double *)data)[at] = value;
}

typedef struct row_sums {
    double max, sum; /* sum of exp(x - max) */
} row_sums;

static row_sums sum_row(ebb_dtype dtype, const void *x, int64_t start, int64_t stride, int64_t n)
{
    row_sums row = { -INFINITY, 0 };
    for (int64_t i = 0; i < n; i++) {
        double value = get_element(dtype, x, start + i * stride);
        row.max = value > row.max ? value : row.max;
    }
    for (int64_t i = 0; i < n; i++)
        row.sum += exp(get_element(dtype, x, start + i * stride) - row.max);
    return row;
}

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
            const row_sums row = sum_row(type->dtype, x, start, inner, n);
            const double log_sum = is_log ? log(row.sum) : 0;
            for (int64_t k = 0; k < n; k++) {
                const int64_t at = start + k * inner;
                const double shifted = get_element(type->dtype, x, at) - row.max;
                set_element(type->dtype, result, at,
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
#define IN(...) .inputs = { __VA_ARGS__ }
#define VALUES(...) .values = { (const double[]){ __VA_ARGS__ } }
#define BOOK "Saitoh 2016, 3.5, evaluated with 30 digits"
#define COMMON_SAMPLES                                                                             \
    { IN(TYPE(F64, 1)), AXIS(0) }, { IN(TYPE(F64, 7)), AXIS(0) }, { IN(TYPE(F64, 17)), AXIS(-1) }, \
    { IN(TYPE(F64, 3, 5)), AXIS(1) }, { IN(TYPE(F64, 3, 5)), AXIS(0) },                            \
    { IN(TYPE(F64, 2, 3, 4)), AXIS(1) },                                                           \
    { IN(TYPE(F64, 2, 1, 7)), AXIS(1) }, { IN(TYPE(F64, 0, 3)), AXIS(1) },                         \
    { IN(TYPE(F64, 3, 0)), AXIS(1) },                                                              \
    { IN(TYPE(F64, 0)), AXIS(0) },                                                                 \
    { IN(TYPE(F64, 4, 6)), AXIS(1), .range = { { -800, 800, 0, 0 } }, .no_gradient = true },       \
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

/* ---- softmax_cross_entropy ---- */

static ebb_status infer_loss(const ebb_infer *infer)
{
    const ebb_type *x = infer->inputs[0], *t = infer->inputs[1];
    char text_x[EBB_TYPE_TEXT_BYTES], text_t[EBB_TYPE_TEXT_BYTES];
    ebb_type_text(x, text_x);
    ebb_type_text(t, text_t);
    ebb_status status = ebb_infer_float(infer, 0);
    if (status)
        return status;
    if (x->shape.rank != 2)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "scores are [batch,classes], not %s", text_x);
    if (ebb_dtype_is_integer(t->dtype)) {
        if (t->shape.rank != 1 || t->shape.dims[0] != x->shape.dims[0])
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "labels of %s are not [batch]: %s", text_x,
                                  text_t);
    } else if (t->dtype != x->dtype) {
        return ebb_infer_fail(infer, EBB_BAD_DTYPE,
                              "targets are neither labels (i64, i32, u8) nor rows of %s: %s",
                              ebb_dtype_name(x->dtype), text_t);
    } else if (!ebb_shape_equal(&x->shape, &t->shape)) {
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "target rows of %s have another shape: %s",
                              text_x, text_t);
    }
    infer->results[0] = (ebb_type){ x->dtype, { 0 } };
    return EBB_OK;
}

static ebb_status eval_loss(const ebb_eval *eval)
{
    const ebb_tensor *x = &eval->inputs[0], *t = &eval->inputs[1];
    const ebb_dtype dtype = x->type.dtype;
    const int64_t batch = x->type.shape.dims[0], classes = x->type.shape.dims[1];
    const bool has_labels = !ebb_dtype_is_float(t->type.dtype);
    if (has_labels) {
        ebb_status status = ebb_index_check(t, classes, "label", eval->error);
        if (status)
            return status;
    }
    double total = 0;
    for (int64_t b = 0; b < batch; b++) {
        const int64_t start = b * classes;
        const row_sums row = sum_row(dtype, x->data, start, 1, classes);
        const double log_sum = log(row.sum);
        if (has_labels) {
            double score = get_element(dtype, x->data, start + ebb_index_at(t, b));
            total -= score - row.max - log_sum;
            continue;
        }
        for (int64_t c = 0; c < classes; c++)
            total -= get_element(dtype, t->data, start + c) *
                     (get_element(dtype, x->data, start + c) - row.max - log_sum);
    }
    set_element(dtype, eval->results[0].data, 0, total / (double)batch);
    return EBB_OK;
}

/* Labels as target rows of x's dtype, or as what `dtype` says. */
static ebb_node spread_labels(ebb_node t, ebb_node x, ebb_dtype dtype)
{
    return ebb_one_hot(t, ebb_node_type(x)->shape.dims[1], dtype);
}

/* (softmax(x) sum_c t_c - t) / batch, and - log softmax(x) / batch, times the cotangent. */
static void vjp_loss(const ebb_vjp *v)
{
    const ebb_node x = v->inputs[0], t = v->inputs[1], g = v->cotangents[0];
    const ebb_type *type = ebb_node_type(x);
    const bool has_labels = !ebb_dtype_is_float(ebb_node_type(t)->dtype);
    const ebb_node scale = ebb_div(g, ebb_full_like(g, (double)type->shape.dims[0]));
    if (v->needed[0]) {
        ebb_node p = ebb_softmax(x, 1);
        ebb_node target = has_labels ? spread_labels(t, x, type->dtype) : t;
        if (!has_labels)
            p = ebb_mul(p, ebb_reduce_sum(t, EBB_AXES(1), true));
        v->gradients[0] = ebb_mul(ebb_sub(p, target), scale);
    }
    if (v->needed[1] && !has_labels)
        v->gradients[1] = ebb_neg(ebb_mul(ebb_log_softmax(x, 1), scale));
}

/* With labels a score of -inf elsewhere must not count: hence select, not a product. */
static void decompose_loss(const ebb_decompose *d)
{
    const ebb_node x = d->inputs[0], t = d->inputs[1];
    const ebb_node log_p = ebb_log_softmax(x, 1);
    const ebb_node terms =
        ebb_dtype_is_float(ebb_node_type(t)->dtype)
            ? ebb_mul(t, log_p)
            : ebb_select(spread_labels(t, x, EBB_BOOL), log_p, ebb_full_like(log_p, 0));
    d->results[0] =
        ebb_neg(ebb_reduce_mean(ebb_reduce_sum(terms, EBB_AXES(1), false), EBB_ALL_AXES, false));
}

ebb_node(ebb_softmax_cross_entropy)(ebb_node x, ebb_node t)
{
    const ebb_node inputs[2] = { x, t };
    return ebb_emit(NULL, &ebb_op_softmax_cross_entropy, inputs, 2, NULL, NULL);
}

/* clang-format off */
#define LABELS(batch, classes, dtype)                                                              \
    { IN(TYPE(F64, batch, classes), TYPE(dtype, batch)), .range = { [1] = { 0, classes, 0, 0 } } }
#define ROWS(batch, classes) { IN(TYPE(F64, batch, classes), TYPE(F64, batch, classes)) }
#define GIVEN(scores, targets) .values = { scores, targets }
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define SIMPLE_NET "Saitoh 2016, 4.4.2, without its 1e-7 in the logarithm, evaluated with 30 digits"
static const ebb_sample samples_loss[] = {
    LABELS(1, 3, I64), LABELS(7, 5, I32), LABELS(17, 10, U8), LABELS(3, 1, I64), LABELS(5, 17, I64),
    ROWS(1, 3), ROWS(7, 5), ROWS(17, 10), ROWS(3, 1), ROWS(2, 0),
    { IN(TYPE(F64, 0, 3), TYPE(I64, 0)), .no_gradient = true }, /* the mean of no rows is NaN */
    { IN(TYPE(F64, 0, 3), TYPE(F64, 0, 3)), .no_gradient = true },
    { IN(TYPE(F64, 1, 3), TYPE(I64, 1)),
      GIVEN(LIST(1.05414809, 0.63071653, 1.1328074), LIST(2)), .tolerance = 1e-15,
      .expected = LIST(0.928068539226776756), .source = SIMPLE_NET },
    { IN(TYPE(F64, 1, 3), TYPE(F64, 1, 3)),
      GIVEN(LIST(1.05414809, 0.63071653, 1.1328074), LIST(0, 0, 1)), .tolerance = 1e-15,
      .expected = LIST(0.928068539226776756), .source = SIMPLE_NET },
    { IN(TYPE(F64, 2, 2), TYPE(U8, 2)), GIVEN(LIST(1000, 0, 0, -INFINITY), LIST(0, 0)),
      .no_gradient = true,
      .expected = LIST(0), .source = "-ln 1" },
    { IN(TYPE(F64, 1, 2), TYPE(I64, 1)), GIVEN(LIST(5, 5), LIST(1)),
      .expected = LIST(0.6931471805599453), .source = "ln 2" },
    { IN(TYPE(F64, 3), TYPE(I64, 3)), .error = EBB_BAD_SHAPE,
      .message = "scores are [batch,classes], not f64[3]" },
    { IN(TYPE(F64, 2, 3), TYPE(I64, 3)), .error = EBB_BAD_SHAPE,
      .message = "labels of f64[2,3] are not [batch]: i64[3]" },
    { IN(TYPE(F64, 2, 3), TYPE(I64, 2, 1)), .error = EBB_BAD_SHAPE,
      .message = "are not [batch]: i64[2,1]" },
    { IN(TYPE(F64, 2, 3), TYPE(F64, 2, 4)), .error = EBB_BAD_SHAPE,
      .message = "target rows of f64[2,3] have another shape: f64[2,4]" },
    { IN(TYPE(F64, 2, 3), TYPE(F32, 2, 3)), .error = EBB_BAD_DTYPE,
      .message = "nor rows of f64: f32[2,3]" },
    { IN(TYPE(F64, 2, 3), TYPE(BOOL, 2)), .error = EBB_BAD_DTYPE, .message = "neither labels" },
    { IN(TYPE(I64, 2, 3), TYPE(I64, 2)), .error = EBB_BAD_DTYPE,
      .message = "dtype i64 is not one of f64, f32" },
    { IN(TYPE(F64, 2, 3), TYPE(I64, 2)), GIVEN(LIST(1, 2, 3, 4, 5, 6), LIST(2, 3)),
      .error = EBB_BAD_INDEX,
      .message = "label 3 at position 1 is not in 0..2" },
    { IN(TYPE(F64, 2, 3), TYPE(I32, 2)), GIVEN(LIST(1, 2, 3, 4, 5, 6), LIST(-1, 0)),
      .error = EBB_BAD_INDEX,
      .message = "label -1 at position 0 is not in 0..2" },
};
/* clang-format on */

const ebb_op ebb_op_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .summary = "mean over rows of -sum t log softmax(x); t is labels or target rows",
    .group = "library",
    .n_inputs = 2,
    .n_results = 1,
    .traits = EBB_TRAIT_LIBRARY | EBB_TRAIT_FALLIBLE,
    .infer = infer_loss,
    .vjp = vjp_loss,
    .eval = eval_loss,
    .decompose = decompose_loss,
    .samples = samples_loss,
    .n_samples = COUNT(samples_loss),
};
