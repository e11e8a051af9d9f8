/* softmax_cross_entropy and weighted_softmax_cross_entropy: one family; the second has class
 * weights as a third input.
 *
 * With labels y, smoothing s and C classes, the targets of row b are T_bc = w_c ((1-s) [c = y_b] +
 * s/C) (Szegedy et al. 2016; weights as in PyTorch's CrossEntropyLoss), or w_c ((1-s) t_bc + s/C)
 * of given rows t. The loss of the row is -sum_c T_bc log softmax(x_b)_c, or 0 if its label is to
 * be ignored. The mean divides by the sum over rows of w_(y_b), ignored ones left out; with target
 * rows, by the number of rows. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/index.h"
#include "ops/loss.h"
#include "ops/rows.h"

static bool has_labels(ebb_node t)
{
    return !ebb_dtype_is_float(ebb_node_type(t)->dtype);
}

/* ---- infer ---- */

static ebb_status infer_attrs(const ebb_infer *infer)
{
    const ebb_cross_entropy_attrs *attrs = infer->attrs;
    const ebb_dtype labels = infer->inputs[1]->dtype;
    const int64_t index = attrs->ignore_index;
    ebb_status status = ebb_infer_reduction(infer, attrs->reduction);
    if (!status && !(attrs->label_smoothing >= 0 && attrs->label_smoothing <= 1))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "label_smoothing %g is not in 0..1",
                              attrs->label_smoothing);
    if (status || !attrs->ignore)
        return status;
    if (ebb_dtype_is_float(labels))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "ignore is for labels, not target rows");
    if ((labels == EBB_U8 && (index < 0 || index > UINT8_MAX)) ||
        (labels == EBB_I32 && (index < INT32_MIN || index > INT32_MAX)))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "ignore_index %lld is no %s",
                              (long long)index, ebb_dtype_name(labels));
    return EBB_OK;
}

static ebb_status infer_loss(const ebb_infer *infer)
{
    const ebb_cross_entropy_attrs *attrs = infer->attrs;
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
    if (infer->n_inputs > 2) {
        const ebb_type weights = { x->dtype, { 1, { x->shape.dims[1] } } };
        if (!ebb_type_equal(infer->inputs[2], &weights))
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "class weights of %s are not [classes]: %s",
                                  text_x, ebb_type_text(infer->inputs[2], text_t));
    }
    status = infer_attrs(infer);
    infer->results[0] = (ebb_type){ x->dtype, { 0 } };
    if (attrs->reduction == EBB_REDUCTION_NONE)
        infer->results[0].shape = EBB_SHAPE(x->shape.dims[0]);
    return status;
}

/* ---- reference kernel ---- */

ebb_status ebb_labels_check(const ebb_tensor *labels, int64_t n_classes,
                            const ebb_cross_entropy_attrs *attrs, ebb_error *error)
{
    const int64_t n = ebb_shape_elements(&labels->type.shape);
    if (!attrs->ignore)
        return ebb_index_check(labels, n_classes, "label", error);
    for (int64_t i = 0; i < n; i++) {
        const int64_t label = ebb_index_at(labels, i);
        if (label != attrs->ignore_index && (label < 0 || label >= n_classes))
            return ebb_fail(error, EBB_BAD_INDEX,
                            "label %lld at position %lld is neither in 0..%lld nor the one to "
                            "ignore",
                            (long long)label, (long long)i, (long long)n_classes - 1);
    }
    return EBB_OK;
}

/* The loss of a row with targets of its own, or of a label. `log_sum` is of exp(x). */
static double row_loss(const ebb_eval *eval, int64_t start, int64_t label, double log_sum)
{
    const ebb_cross_entropy_attrs *attrs = eval->attrs;
    const ebb_dtype dtype = eval->inputs[0].type.dtype;
    const int64_t n = eval->inputs[0].type.shape.dims[1];
    const void *x = eval->inputs[0].data, *w = eval->n_inputs > 2 ? eval->inputs[2].data : NULL;
    const double s = attrs->label_smoothing;
    double loss = 0;
    for (int64_t c = 0; c < n; c++) {
        const double given =
            label < 0 ? ebb_float_at(dtype, eval->inputs[1].data, start + c) : (double)(c == label);
        if (label >= 0 && given == 0 && s == 0)
            continue;
        loss -= ((1 - s) * given + s / (double)n) * (w ? ebb_float_at(dtype, w, c) : 1) *
                (ebb_float_at(dtype, x, start + c) - log_sum);
    }
    return loss;
}

static ebb_status eval_loss(const ebb_eval *eval)
{
    const ebb_cross_entropy_attrs *attrs = eval->attrs;
    const ebb_tensor *x = &eval->inputs[0], *t = &eval->inputs[1], *result = &eval->results[0];
    const ebb_dtype dtype = x->type.dtype;
    const int64_t batch = x->type.shape.dims[0], n = x->type.shape.dims[1];
    const bool is_labels = !ebb_dtype_is_float(t->type.dtype);
    ebb_status status = is_labels ? ebb_labels_check(t, n, attrs, eval->error) : EBB_OK;
    if (status)
        return status;
    double total = 0, divisor = 0;
    for (int64_t b = 0; b < batch; b++) {
        const ebb_row_sums row = ebb_row_sum_exp(dtype, x->data, b * n, 1, n);
        const int64_t label = is_labels ? ebb_index_at(t, b) : -1;
        const bool ignored = attrs->ignore && label == attrs->ignore_index;
        const double loss = ignored ? 0 : row_loss(eval, b * n, label, row.max + log(row.sum));
        const bool is_weighted = eval->n_inputs > 2 && is_labels && !ignored;
        total += loss;
        divisor += is_weighted ? ebb_float_at(dtype, eval->inputs[2].data, label) : !ignored;
        if (attrs->reduction == EBB_REDUCTION_NONE)
            ebb_float_put(dtype, result->data, b, loss);
    }
    if (attrs->reduction != EBB_REDUCTION_NONE)
        ebb_float_put(dtype, result->data, 0,
                      attrs->reduction == EBB_REDUCTION_MEAN ? total / divisor : total);
    return EBB_OK;
}

/* ---- as nodes ---- */

/* Labels with 0 in the place of those to ignore; `kept` is where there are none of these, or none.
 */
static ebb_node clean_labels(ebb_node t, const ebb_cross_entropy_attrs *attrs, ebb_node *kept)
{
    *kept = EBB_NONE;
    if (!attrs->ignore)
        return t;
    const ebb_type *type = ebb_node_type(t);
    uint64_t bits = 0;
    ebb_tensor element = ebb_tensor_borrow(type->dtype, EBB_SCALAR, &bits);
    if (type->dtype == EBB_I64)
        bits = (uint64_t)attrs->ignore_index; /* a double does not hold every one */
    else
        ebb_tensor_set(&element, 0, (double)attrs->ignore_index);
    *kept = ebb_not_equal(t, ebb_constant(t.graph, type->dtype, EBB_SCALAR, &bits));
    return ebb_select(*kept, t, ebb_full_like(t, 0));
}

static ebb_node zero_unless(ebb_node condition, ebb_node value)
{
    return condition.id ? ebb_select(condition, value, ebb_full_like(value, 0)) : value;
}

/* (1-s) t + s/C, with labels one-hot. */
static ebb_node smooth_targets(ebb_node x, ebb_node t, double s)
{
    const ebb_type *type = ebb_node_type(x);
    const double n = (double)type->shape.dims[1];
    const ebb_node rows = has_labels(t) ? ebb_one_hot(t, type->shape.dims[1], type->dtype) : t;
    if (s == 0)
        return rows;
    return ebb_add(ebb_mul(rows, ebb_full_like(rows, 1 - s)), ebb_full_like(rows, s / n));
}

/* What the mean divides by. */
static ebb_node emit_divisor(ebb_node x, ebb_node labels, ebb_node kept, ebb_node weights)
{
    const ebb_type *type = ebb_node_type(x);
    if (!kept.id && (!weights.id || !has_labels(labels)))
        return ebb_scalar(x.graph, type->dtype, (double)type->shape.dims[0]);
    ebb_node of_rows = ebb_cast(kept, type->dtype);
    if (weights.id) {
        const ebb_node hot = ebb_one_hot(labels, type->shape.dims[1], type->dtype);
        of_rows = zero_unless(kept, ebb_reduce_sum(ebb_mul(hot, weights), EBB_AXES(1), false));
    }
    return ebb_reduce_sum(of_rows, EBB_ALL_AXES, false);
}

/* dx = (softmax(x) sum_c T_c - T) G and dt = -(1-s) log softmax(x) G, G the cotangent of a row.
 * Labels' T sum to 1. With weights: through the decomposition. */
static void vjp_loss(const ebb_vjp *v)
{
    const ebb_cross_entropy_attrs *attrs = v->attrs;
    const ebb_node x = v->inputs[0];
    const double s = attrs->label_smoothing;
    ebb_node kept, t = clean_labels(v->inputs[1], attrs, &kept), g = v->cotangents[0];
    const ebb_shape column = EBB_SHAPE(ebb_node_type(x)->shape.dims[0], 1);
    if (attrs->reduction == EBB_REDUCTION_NONE)
        g = ebb_reshape(g, column);
    else if (attrs->reduction == EBB_REDUCTION_MEAN)
        g = ebb_div(g, emit_divisor(x, t, kept, EBB_NONE));
    if (v->needed[0]) {
        ebb_node p = ebb_softmax(x, 1), target = smooth_targets(x, t, s);
        if (!has_labels(t))
            p = ebb_mul(p, ebb_reduce_sum(target, EBB_AXES(1), true));
        const ebb_node d = ebb_mul(ebb_sub(p, target), g);
        v->gradients[0] = zero_unless(kept.id ? ebb_reshape(kept, column) : kept, d);
    }
    if (v->needed[1] && !has_labels(t)) {
        const ebb_node d = ebb_neg(ebb_mul(ebb_log_softmax(x, 1), g));
        v->gradients[1] = s == 0 ? d : ebb_mul(d, ebb_full_like(d, 1 - s));
    }
}

/* With labels a score of -inf elsewhere must not count: hence select, not a product. Neither do
 * ignored rows, whatever is in them. */
static void decompose_loss(const ebb_decompose *d)
{
    const ebb_cross_entropy_attrs *attrs = d->attrs;
    const ebb_node weights = d->n_inputs > 2 ? d->inputs[2] : EBB_NONE;
    ebb_node kept, x = d->inputs[0], t = clean_labels(d->inputs[1], attrs, &kept);
    if (kept.id)
        x = zero_unless(ebb_reshape(kept, EBB_SHAPE(ebb_node_type(x)->shape.dims[0], 1)), x);
    ebb_node terms = ebb_log_softmax(x, 1);
    if (weights.id)
        terms = ebb_mul(terms, weights);
    if (has_labels(t) && attrs->label_smoothing == 0)
        terms = zero_unless(ebb_one_hot(t, ebb_node_type(x)->shape.dims[1], EBB_BOOL), terms);
    else
        terms = ebb_mul(smooth_targets(x, t, attrs->label_smoothing), terms);
    const ebb_node rows = zero_unless(kept, ebb_neg(ebb_reduce_sum(terms, EBB_AXES(1), false)));
    if (attrs->reduction != EBB_REDUCTION_MEAN)
        d->results[0] = ebb_build_loss(rows, attrs->reduction);
    else
        d->results[0] =
            ebb_div(ebb_reduce_sum(rows, EBB_ALL_AXES, false), emit_divisor(x, t, kept, weights));
}

/* ---- builders ---- */

ebb_node(ebb_softmax_cross_entropy)(ebb_node x, ebb_node t)
{
    return ebb_softmax_cross_entropy_with(x, t, (ebb_cross_entropy_attrs){ 0 });
}

ebb_node(ebb_softmax_cross_entropy_with)(ebb_node x, ebb_node t, ebb_cross_entropy_attrs attrs)
{
    const ebb_node inputs[2] = { x, t };
    return ebb_emit(NULL, &ebb_op_softmax_cross_entropy, inputs, 2, &attrs, NULL);
}

ebb_node(ebb_weighted_softmax_cross_entropy)(ebb_node x, ebb_node t, ebb_node weights,
                                             ebb_cross_entropy_attrs attrs)
{
    const ebb_node inputs[3] = { x, t, weights };
    return ebb_emit(NULL, &ebb_op_weighted_softmax_cross_entropy, inputs, 3, &attrs, NULL);
}

/* ---- samples ---- */

static const ebb_attr_field loss_fields[] = {
    { "reduction", EBB_ATTR_ENUM, offsetof(ebb_cross_entropy_attrs, reduction),
      "mean, sum, or none: a loss for each row; default mean", ebb_reduction_names },
    EBB_FIELD(ebb_cross_entropy_attrs, label_smoothing, F64,
              "part of the target that all classes share, 0..1; default 0"),
    EBB_FIELD(ebb_cross_entropy_attrs, ignore, BOOL,
              "rows with the label ignore_index do not count; default false"),
    EBB_FIELD(ebb_cross_entropy_attrs, ignore_index, I64, "see ignore"),
    { 0 },
};

/* clang-format off */
#define TYPE EBB_SAMPLE_TYPE
#define IN(...) .inputs = EBB_INPUTS(__VA_ARGS__)
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define GIVEN(...) .values = { __VA_ARGS__ }
#define ATTRS(reduction, smoothing, ignore, index)                                                 \
    .attrs = &(const ebb_cross_entropy_attrs){ EBB_REDUCTION_##reduction, smoothing, ignore, index }
#define LABELS(batch, classes, dtype)                                                              \
    IN(TYPE(F64, batch, classes), TYPE(dtype, batch)),                                             \
    .range = EBB_RANGES([1] = { 0, classes, 0, 0 })
#define ROWS(batch, classes) IN(TYPE(F64, batch, classes), TYPE(F64, batch, classes))
#define SIMPLE_NET "Saitoh 2016, 4.4.2, without its 1e-7 in the logarithm, evaluated with 30 digits"
#define LN2 0.6931471805599453
static const ebb_sample samples_plain[] = {
    { LABELS(1, 3, I64) }, { LABELS(7, 5, I32) }, { LABELS(17, 10, U8) }, { LABELS(3, 1, I64) },
    { LABELS(5, 17, I64) }, { ROWS(1, 3) }, { ROWS(7, 5) }, { ROWS(17, 10) }, { ROWS(3, 1) },
    { ROWS(2, 0) },
    { LABELS(7, 5, I64), ATTRS(SUM, 0, false, 0) }, { LABELS(7, 5, I32), ATTRS(NONE, 0, false, 0) },
    { LABELS(7, 5, U8), ATTRS(MEAN, 0.1, false, 0) }, { LABELS(7, 5, I64), ATTRS(SUM, 1, false, 0) },
    { LABELS(17, 3, I64), ATTRS(MEAN, 0, true, 2) }, { LABELS(7, 3, I32), ATTRS(NONE, 0.2, true, 0) },
    { LABELS(17, 2, U8), ATTRS(SUM, 0.3, true, 1) },
    { ROWS(7, 5), ATTRS(SUM, 0, false, 0) }, { ROWS(7, 5), ATTRS(NONE, 0.1, false, 0) },
    { ROWS(7, 5), ATTRS(MEAN, 0.25, false, 0) },
    { LABELS(0, 3, I64), ATTRS(SUM, 0, false, 0) }, { LABELS(0, 3, I64), ATTRS(NONE, 0.5, true, 0) },
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
    /* a relative step is too large for central differences at 1000 */
    { IN(TYPE(F64, 2, 2), TYPE(I64, 2)), GIVEN(LIST(1000, -1000, 1000, -1000), LIST(0, 1)),
      ATTRS(NONE, 0, false, 0), .no_gradient = true, .expected = LIST(0, 2000),
      .source = "-ln 1, -ln e^-2000" },
    { IN(TYPE(F64, 1, 2), TYPE(I64, 1)), GIVEN(LIST(1000, -1000), LIST(0)),
      ATTRS(MEAN, 0.5, false, 0), .no_gradient = true, .expected = LIST(500),
      .source = "3/4 of 0 and 1/4 of 2000" },
    { IN(TYPE(F64, 1, 2), TYPE(I64, 1)), GIVEN(LIST(5, 5), LIST(1)),
      .expected = LIST(LN2), .source = "ln 2" },
    { IN(TYPE(F64, 3, 2), TYPE(I64, 3)), GIVEN(LIST(5, 5, 9, 1, 7, 7), LIST(1, -100, 0)),
      ATTRS(NONE, 0, true, -100), .expected = LIST(LN2, 0, LN2), .source = "ln 2 and 0" },
    { IN(TYPE(F64, 3, 2), TYPE(I64, 3)), GIVEN(LIST(5, 5, 9, 1, 7, 7), LIST(1, -100, 0)),
      ATTRS(MEAN, 0, true, -100), .expected = LIST(LN2), .source = "the mean of ln 2 and ln 2" },
    { IN(TYPE(F64, 1, 2), TYPE(I64, 1)), GIVEN(LIST(5, 3), LIST(-1)),
      ATTRS(MEAN, 0, true, -1), .expected = LIST(NAN), .no_gradient = true,
      .source = "the mean of no rows" },
    { IN(TYPE(F64, 2, 2), TYPE(I64, 2)), GIVEN(LIST(NAN, 3, 5, 5), LIST(-1, 0)),
      ATTRS(MEAN, 0, true, -1), .expected = LIST(LN2), .no_gradient = true,
      .source = "an ignored row does not count" },
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
    { IN(TYPE(F64, 2, 3), TYPE(I64, 2)), .attrs = &(const ebb_cross_entropy_attrs){ -1, 0, 0, 0 },
      .error = EBB_BAD_ATTRIBUTE, .message = "there is no reduction -1" },
    { IN(TYPE(F64, 2, 3), TYPE(I64, 2)), ATTRS(MEAN, 1.5, false, 0), .error = EBB_BAD_ATTRIBUTE,
      .message = "label_smoothing 1.5 is not in 0..1" },
    { IN(TYPE(F64, 2, 3), TYPE(I64, 2)), ATTRS(MEAN, NAN, false, 0), .error = EBB_BAD_ATTRIBUTE,
      .message = "is not in 0..1" },
    { IN(TYPE(F64, 2, 3), TYPE(F64, 2, 3)), ATTRS(MEAN, 0, true, 0), .error = EBB_BAD_ATTRIBUTE,
      .message = "ignore is for labels" },
    { IN(TYPE(F64, 2, 3), TYPE(U8, 2)), ATTRS(MEAN, 0, true, -1), .error = EBB_BAD_ATTRIBUTE,
      .message = "ignore_index -1 is no u8" },
    { IN(TYPE(F64, 2, 3), TYPE(I64, 2)), GIVEN(LIST(1, 2, 3, 4, 5, 6), LIST(2, 3)),
      .error = EBB_BAD_INDEX,
      .message = "label 3 at position 1 is not in 0..2" },
    { IN(TYPE(F64, 2, 3), TYPE(I32, 2)), GIVEN(LIST(1, 2, 3, 4, 5, 6), LIST(-1, 0)),
      .error = EBB_BAD_INDEX,
      .message = "label -1 at position 0 is not in 0..2" },
    { IN(TYPE(F64, 2, 3), TYPE(I64, 2)), GIVEN(LIST(1, 2, 3, 4, 5, 6), LIST(-1, 3)),
      ATTRS(MEAN, 0, true, -1), .error = EBB_BAD_INDEX,
      .message = "label 3 at position 1 is neither in 0..2 nor the one to ignore" },
};

#define WEIGHTED(dtype, batch, classes)                                                            \
    IN(TYPE(F64, batch, classes), TYPE(dtype, batch), TYPE(F64, classes)),                         \
    .range = EBB_RANGES([1] = { 0, classes, 0, 0 }, [2] = { 0.5, 2, 0, 0 })
#define WEIGHTED_ROWS(batch, classes)                                                              \
    IN(TYPE(F64, batch, classes), TYPE(F64, batch, classes), TYPE(F64, classes)),                  \
    .range = EBB_RANGES([1] = { 0, 1, 0, 0 }, [2] = { 0.5, 2, 0, 0 })
#define WEIGHTED_GIVEN IN(TYPE(F64, 2, 2), TYPE(I64, 2), TYPE(F64, 2))
static const ebb_sample samples_weighted[] = {
    { WEIGHTED(I64, 1, 3) }, { WEIGHTED(I32, 7, 5) }, { WEIGHTED(U8, 17, 10) },
    { WEIGHTED(I64, 7, 1) }, { WEIGHTED_ROWS(7, 5) }, { WEIGHTED_ROWS(1, 17) },
    { WEIGHTED(I64, 7, 5), ATTRS(SUM, 0.1, false, 0) },
    { WEIGHTED(I64, 7, 5), ATTRS(NONE, 0.2, true, 3) },
    { WEIGHTED(I32, 17, 3), ATTRS(MEAN, 0.3, true, 1) },
    { WEIGHTED(I64, 17, 3), ATTRS(MEAN, 0, true, 2) },
    { WEIGHTED_ROWS(7, 5), ATTRS(MEAN, 0.1, false, 0) },
    { WEIGHTED_ROWS(7, 5), ATTRS(NONE, 0, false, 0) },
    { WEIGHTED(I64, 0, 3), ATTRS(SUM, 0, false, 0) },
    { WEIGHTED_GIVEN, GIVEN(LIST(5, 5, 1, 1), LIST(0, 1), LIST(3, 2)), ATTRS(NONE, 0, false, 0),
      .expected = LIST(3 * LN2, 2 * LN2), .source = "weight times ln 2" },
    { WEIGHTED_GIVEN, GIVEN(LIST(5, 5, 0, 1.0986122886681098), LIST(0, 1), LIST(3, 2)),
      .expected = LIST(0.5309611373166795), .source = "(3 ln 2 + 2 ln 4/3) / 5" },
    { WEIGHTED_GIVEN, GIVEN(LIST(5, 5, 1, 1), LIST(0, 1), LIST(3, 1)), ATTRS(SUM, 0.5, false, 0),
      .expected = LIST(4 * LN2), .source = "(3/4 3 + 1/4 1 + 1/4 3 + 3/4 1) ln 2" },
    { IN(TYPE(F64, 2, 3), TYPE(I64, 2), TYPE(F64, 2)), .error = EBB_BAD_SHAPE,
      .message = "class weights of f64[2,3] are not [classes]: f64[2]" },
    { IN(TYPE(F64, 2, 3), TYPE(I64, 2), TYPE(F32, 3)), .error = EBB_BAD_SHAPE,
      .message = "class weights of f64[2,3] are not [classes]: f32[3]" },
    { WEIGHTED_GIVEN, GIVEN(LIST(5, 5, 1, 1), LIST(0, 2), LIST(3, 2)), .error = EBB_BAD_INDEX,
      .message = "label 2 at position 1 is not in 0..1" },
};
/* clang-format on */

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])

const ebb_op ebb_op_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .summary = "mean over rows of -sum t log softmax(x); t is labels or target rows",
    .group = "library",
    .n_inputs = 2,
    .n_results = 1,
    .traits = EBB_TRAIT_LIBRARY | EBB_TRAIT_FALLIBLE,
    .attrs_bytes = sizeof(ebb_cross_entropy_attrs),
    .attrs = loss_fields,
    .infer = infer_loss,
    .vjp = vjp_loss,
    .eval = eval_loss,
    .decompose = decompose_loss,
    .samples = samples_plain,
    .n_samples = COUNT(samples_plain),
};

const ebb_op ebb_op_weighted_softmax_cross_entropy = {
    .name = "weighted_softmax_cross_entropy",
    .summary = "softmax_cross_entropy with a weight for each class as third input",
    .group = "library",
    .n_inputs = 3,
    .n_results = 1,
    .traits = EBB_TRAIT_LIBRARY | EBB_TRAIT_FALLIBLE,
    .attrs_bytes = sizeof(ebb_cross_entropy_attrs),
    .attrs = loss_fields,
    .infer = infer_loss,
    .eval = eval_loss,
    .decompose = decompose_loss,
    .samples = samples_weighted,
    .n_samples = COUNT(samples_weighted),
};
