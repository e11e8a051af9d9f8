/* Reductions: reduce_sum, reduce_mean, reduce_max, argmax. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"
#include <math.h>

/* ---- reference kernels ---- */

/* The loops of a reduction over dense data: dimensions that stay, and dimensions that are reduced.
 */
typedef struct reduction {
    int n_kept, n_reduced;
    int64_t kept_dims[EBB_MAX_RANK], kept_strides[EBB_MAX_RANK];
    int64_t reduced_dims[EBB_MAX_RANK], reduced_strides[EBB_MAX_RANK];
    int64_t n_results, n_terms; /* elements of the result, and of x for each of them */
} reduction;

static reduction plan_reduction(const ebb_shape *shape, unsigned mask)
{
    reduction plan = { .n_results = 1, .n_terms = 1 };
    int64_t strides[EBB_MAX_RANK];
    ebb_shape_strides(shape, strides);
    for (int i = 0; i < shape->rank; i++) {
        if (mask & 1u << i) {
            plan.reduced_dims[plan.n_reduced] = shape->dims[i];
            plan.reduced_strides[plan.n_reduced++] = strides[i];
            plan.n_terms *= shape->dims[i];
        } else {
            plan.kept_dims[plan.n_kept] = shape->dims[i];
            plan.kept_strides[plan.n_kept++] = strides[i];
            plan.n_results *= shape->dims[i];
        }
    }
    return plan;
}

/* The next place in row-major order over dims; returns how far it is from the last one. */
static int64_t advance_index(int64_t *index, const int64_t *dims, const int64_t *strides, int n)
{
    int64_t step = 0;
    for (int d = n - 1; d >= 0; d--) {
        step += strides[d];
        if (++index[d] < dims[d])
            break;
        step -= strides[d] * dims[d];
        index[d] = 0;
    }
    return step;
}

/* Reduces up to BLOCK neighbouring results at once, so that the reads of a column sum are
 * contiguous. */
#define BLOCK 64

#define REDUCE_LOOP(name, T, A, first, step, last)                                                 \
    static void name(const reduction *plan, const T *x, T *result)                                 \
    {                                                                                              \
        int64_t place[EBB_MAX_RANK] = { 0 }, base = 0, width = 1;                                  \
        if (plan->n_kept && plan->kept_strides[plan->n_kept - 1] == 1)                             \
            width = plan->kept_dims[plan->n_kept - 1];                                             \
        const double n_terms = (double)plan->n_terms;                                              \
        (void)n_terms;                                                                             \
        for (int64_t r = 0; r < plan->n_results;) {                                                \
            int64_t column = width > 1 ? place[plan->n_kept - 1] : 0;                              \
            int64_t n = width - column < BLOCK ? width - column : BLOCK;                           \
            A sums[BLOCK];                                                                         \
            for (int64_t i = 0; i < n; i++)                                                        \
                sums[i] = first;                                                                   \
            int64_t index[EBB_MAX_RANK] = { 0 }, at = base;                                        \
            for (int64_t term = 0; term < plan->n_terms; term++) {                                 \
                const T *row = x + at;                                                             \
                for (int64_t i = 0; i < n; i++) {                                                  \
                    const A sum = sums[i], value = (A)row[i];                                      \
                    sums[i] = step;                                                                \
                }                                                                                  \
                at += advance_index(index, plan->reduced_dims, plan->reduced_strides,              \
                                    plan->n_reduced);                                              \
            }                                                                                      \
            for (int64_t i = 0; i < n; i++, r++) {                                                 \
                const A sum = sums[i];                                                             \
                result[r] = (T)(last);                                                             \
                base += advance_index(place, plan->kept_dims, plan->kept_strides, plan->n_kept);   \
            }                                                                                      \
        }                                                                                          \
    }

/* clang-format off */
/* F32 is summed in double; integers wrap. */
REDUCE_LOOP(sum_f64,  double,  double,   0, sum + value, sum)
REDUCE_LOOP(sum_f32,  float,   double,   0, sum + value, sum)
REDUCE_LOOP(sum_i64,  int64_t, uint64_t, 0, sum + value, sum)
REDUCE_LOOP(sum_i32,  int32_t, uint32_t, 0, sum + value, sum)
REDUCE_LOOP(sum_u8,   uint8_t, unsigned, 0, sum + value, sum)
REDUCE_LOOP(mean_f64, double,  double,   0, sum + value, sum / n_terms)
REDUCE_LOOP(mean_f32, float,   double,   0, sum + value, sum / n_terms)
/* A NaN is neither <= the maximum nor replaced by it. */
REDUCE_LOOP(max_f64,  double,  double,  -INFINITY, sum != sum || value <= sum ? sum : value, sum)
REDUCE_LOOP(max_f32,  float,   float,   -INFINITY, sum != sum || value <= sum ? sum : value, sum)
REDUCE_LOOP(max_i64,  int64_t, int64_t, INT64_MIN, value > sum ? value : sum, sum)
REDUCE_LOOP(max_i32,  int32_t, int32_t, INT32_MIN, value > sum ? value : sum, sum)
REDUCE_LOOP(max_u8,   uint8_t, uint8_t, 0,         value > sum ? value : sum, sum)
/* clang-format on */

/* ---- rules that all share ---- */

static ebb_status infer_axes_removed(const ebb_infer *infer)
{
    const ebb_reduce_attrs *attrs = infer->attrs;
    const ebb_shape *in = &infer->inputs[0]->shape;
    ebb_status status = ebb_infer_axes(infer, &attrs->axes, in->rank);
    if (status)
        return status;
    unsigned mask = ebb_axes_mask(&attrs->axes, in->rank);
    ebb_type result = { infer->inputs[0]->dtype, { 0 } };
    for (int i = 0; i < in->rank; i++) {
        if (!(mask & 1u << i))
            result.shape.dims[result.shape.rank++] = in->dims[i];
        else if (attrs->keep)
            result.shape.dims[result.shape.rank++] = 1;
    }
    infer->results[0] = result;
    return EBB_OK;
}

static ebb_status infer_numbers(const ebb_infer *infer)
{
    if (infer->inputs[0]->dtype == EBB_BOOL)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "dtype bool is no number");
    return infer_axes_removed(infer);
}

static ebb_status infer_floats(const ebb_infer *infer)
{
    ebb_status status = ebb_infer_float(infer, 0);
    return status ? status : infer_axes_removed(infer);
}

static reduction plan_eval(const ebb_eval *eval)
{
    const ebb_reduce_attrs *attrs = eval->attrs;
    const ebb_shape *shape = &eval->inputs[0].type.shape;
    return plan_reduction(shape, ebb_axes_mask(&attrs->axes, shape->rank));
}

/* The shape of x with the reduced dimensions kept as 1: how a result lies against x. */
static ebb_shape kept_shape(const ebb_vjp *v)
{
    const ebb_shape *shape = &ebb_node_type(v->inputs[0])->shape;
    const ebb_reduce_attrs *attrs = v->attrs;
    return ebb_shape_keep(shape, ebb_axes_mask(&attrs->axes, shape->rank));
}

static ebb_node spread_result(const ebb_vjp *v, ebb_node result)
{
    return ebb_broadcast_to(ebb_reshape(result, kept_shape(v)), ebb_node_type(v->inputs[0])->shape);
}

static bool wants_gradient(const ebb_vjp *v)
{
    return v->needed[0] && ebb_dtype_is_float(ebb_node_type(v->inputs[0])->dtype);
}

static ebb_node emit_reduction(const ebb_op *op, ebb_node x, ebb_axes axes, bool keep)
{
    ebb_reduce_attrs attrs = { ebb_build_axes(axes, ebb_node_type(x)->shape.rank), keep };
    return ebb_emit(NULL, op, &x, 1, &attrs, NULL);
}

static const ebb_attr_field reduce_fields[] = {
    EBB_FIELD(ebb_reduce_attrs, axes, AXES, "axes to reduce; none: all"),
    EBB_FIELD(ebb_reduce_attrs, keep, BOOL, "reduced dimensions stay, with size 1; default false"),
    { 0 },
};

/* ---- reduce_sum ---- */

static ebb_status eval_reduce_sum(const ebb_eval *eval)
{
    const reduction plan = plan_eval(eval);
    const void *x = eval->inputs[0].data;
    void *result = eval->results[0].data;
    switch (eval->inputs[0].type.dtype) {
    case EBB_F64:
        sum_f64(&plan, x, result);
        break;
    case EBB_F32:
        sum_f32(&plan, x, result);
        break;
    case EBB_I64:
        sum_i64(&plan, x, result);
        break;
    case EBB_I32:
        sum_i32(&plan, x, result);
        break;
    default:
        sum_u8(&plan, x, result);
    }
    return EBB_OK;
}

static void vjp_reduce_sum(const ebb_vjp *v)
{
    if (wants_gradient(v))
        v->gradients[0] = spread_result(v, v->cotangents[0]);
}

ebb_node(ebb_reduce_sum)(ebb_node x, ebb_axes axes, bool keep)
{
    return emit_reduction(&ebb_op_reduce_sum, x, axes, keep);
}

/* ---- reduce_mean ---- */

static ebb_status eval_reduce_mean(const ebb_eval *eval)
{
    const reduction plan = plan_eval(eval);
    if (eval->inputs[0].type.dtype == EBB_F64)
        mean_f64(&plan, eval->inputs[0].data, eval->results[0].data);
    else
        mean_f32(&plan, eval->inputs[0].data, eval->results[0].data);
    return EBB_OK;
}

static void vjp_reduce_mean(const ebb_vjp *v)
{
    if (!wants_gradient(v))
        return;
    const ebb_reduce_attrs *attrs = v->attrs;
    const ebb_shape *shape = &ebb_node_type(v->inputs[0])->shape;
    int64_t n_terms = plan_reduction(shape, ebb_axes_mask(&attrs->axes, shape->rank)).n_terms;
    ebb_node g = v->cotangents[0];
    v->gradients[0] = spread_result(v, ebb_div(g, ebb_full_like(g, (double)n_terms)));
}

ebb_node(ebb_reduce_mean)(ebb_node x, ebb_axes axes, bool keep)
{
    return emit_reduction(&ebb_op_reduce_mean, x, axes, keep);
}

/* ---- reduce_max ---- */

static ebb_status eval_reduce_max(const ebb_eval *eval)
{
    const reduction plan = plan_eval(eval);
    const void *x = eval->inputs[0].data;
    void *result = eval->results[0].data;
    switch (eval->inputs[0].type.dtype) {
    case EBB_F64:
        max_f64(&plan, x, result);
        break;
    case EBB_F32:
        max_f32(&plan, x, result);
        break;
    case EBB_I64:
        max_i64(&plan, x, result);
        break;
    case EBB_I32:
        max_i32(&plan, x, result);
        break;
    default:
        max_u8(&plan, x, result);
    }
    return EBB_OK;
}

/* Equal maxima share the cotangent evenly. */
static void vjp_reduce_max(const ebb_vjp *v)
{
    if (!wants_gradient(v))
        return;
    const ebb_reduce_attrs *attrs = v->attrs;
    ebb_node x = v->inputs[0];
    ebb_node is_max = ebb_equal(x, spread_result(v, v->results[0]));
    ebb_node n_max =
        ebb_reduce_sum(ebb_cast(is_max, ebb_node_type(x)->dtype), attrs->axes, attrs->keep);
    ebb_node share = spread_result(v, ebb_div(v->cotangents[0], n_max));
    v->gradients[0] = ebb_select(is_max, share, ebb_full_like(x, 0));
}

ebb_node(ebb_reduce_max)(ebb_node x, ebb_axes axes, bool keep)
{
    return emit_reduction(&ebb_op_reduce_max, x, axes, keep);
}

/* ---- samples ---- */

/* clang-format off */
#define REDUCE(keep, ...)                                                                          \
    .attrs = &(const ebb_reduce_attrs){                                                            \
        { (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)), { __VA_ARGS__ } }, keep }
#define REDUCE_ALL(keep) .attrs = &(const ebb_reduce_attrs){ { 0, { 0 } }, keep }
#define IN(dtype, ...) .inputs = { EBB_SAMPLE_TYPE(dtype, __VA_ARGS__) }
#define VALUES(...) .values = { (const double[]){ __VA_ARGS__ } }
#define EXPECTED(...) .expected = (const double[]){ __VA_ARGS__ }, .source = "by the definition"
#define COMMON_SAMPLES                                                                             \
    { .inputs = { EBB_SAMPLE_SCALAR(F64) }, REDUCE_ALL(false) },                                   \
    { .inputs = { EBB_SAMPLE_SCALAR(F64) }, REDUCE_ALL(true) },                                    \
    { IN(F64, 1), REDUCE(true, 0) }, { IN(F64, 7), REDUCE_ALL(true) },                             \
    { IN(F64, 17), REDUCE(false, 0) }, { IN(F64, 3, 5), REDUCE(false, 0) },                        \
    { IN(F64, 3, 5), REDUCE(true, 1) },                                                            \
    { IN(F64, 2, 3, 4), REDUCE(false, 1) }, { IN(F64, 2, 3, 4), REDUCE(true, 0, 2) },              \
    { IN(F64, 2, 3, 4), REDUCE(false, -1, 1) }, { IN(F64, 2, 0, 4), REDUCE(false, 0) },            \
    { IN(F64, 2, 1, 3, 1, 5), REDUCE(false, 1, 2, 4) },                                            \
    { IN(F64, 2, 3), REDUCE(false, 2), .error = EBB_BAD_AXIS,                                      \
      .message = "axis 2 is out of range for rank 2" },                                            \
    { IN(F64, 2, 3), REDUCE(false, -3), .error = EBB_BAD_AXIS,                                     \
      .message = "axis -3 is out of range for rank 2" },                                           \
    { IN(F64, 2, 3), REDUCE(false, 1, -1), .error = EBB_BAD_AXIS,                                  \
      .message = "axis -1 is repeated" },                                                          \
    { .inputs = { EBB_SAMPLE_SCALAR(F64) }, REDUCE(false, 0), .error = EBB_BAD_AXIS,               \
      .message = "axis 0 is out of range: a scalar has none" },                                    \
    { IN(BOOL, 2, 3), REDUCE(false, 1), .error = EBB_BAD_DTYPE, .message = "dtype bool" }
/* Differences of NaN or infinities are of no use: mean and maximum go without a gradient check. */
#define EMPTY_SAMPLES(off)                                                                         \
    { IN(F64, 0), REDUCE_ALL(false), .no_gradient = off },                                         \
    { IN(F64, 0, 3), REDUCE(false, 0), .no_gradient = off }
#define INTEGER_SAMPLES                                                                            \
    { IN(I64, 3, 5), REDUCE(false, 1), .range = { { -9, 9, 0, 0 } } },                             \
    { IN(I32, 3, 5), REDUCE(false, 0), .range = { { -9, 9, 0, 0 } } },                             \
    { IN(U8, 17), REDUCE_ALL(false), .range = { { 0, 256, 0, 0 } } },                              \
    { IN(I64, 0, 2), REDUCE(false, 0) }

static const ebb_sample samples_reduce_sum[] = {
    COMMON_SAMPLES, EMPTY_SAMPLES(false), INTEGER_SAMPLES, { IN(F64, 2, 130), REDUCE(false, 0) },
    { IN(F64, 2, 3), REDUCE(false, 0), VALUES(1, 2, 3, 4, 5, 6), EXPECTED(5, 7, 9) },
    { IN(F64, 2, 3), REDUCE(true, 1), VALUES(1, 2, 3, 4, 5, 6), EXPECTED(6, 15) },
    { IN(U8, 3), REDUCE_ALL(false), VALUES(200, 100, 1), EXPECTED(45) }, /* wraps at 256 */
    { IN(F64, 0, 2), REDUCE(false, 0), VALUES(0), EXPECTED(0, 0) },
};
static const ebb_sample samples_reduce_mean[] = {
    COMMON_SAMPLES, EMPTY_SAMPLES(true), { IN(F64, 2, 130), REDUCE(false, 0) },
    { IN(F64, 2, 3), REDUCE(false, 0), VALUES(1, 2, 3, 4, 5, 6), EXPECTED(2.5, 3.5, 4.5) },
    { IN(F64, 0, 2), REDUCE(false, 0), VALUES(0), EXPECTED(NAN, NAN), .no_gradient = true },
    { IN(I64, 3), REDUCE_ALL(false), .error = EBB_BAD_DTYPE,
      .message = "dtype i64 is not one of f64, f32" },
};
/* Central differences want maxima that stay the same. In the small samples the values are far
 * enough apart; ties have a test of their own. */
static const ebb_sample samples_reduce_max[] = {
    COMMON_SAMPLES, EMPTY_SAMPLES(true), INTEGER_SAMPLES,
    { IN(F64, 2, 130), REDUCE(false, 0), .no_gradient = true },
    { IN(F64, 2, 3), REDUCE(false, 0), VALUES(1, 5, 3, 4, 2, 6), EXPECTED(4, 5, 6) },
    { IN(F64, 4), REDUCE_ALL(false), VALUES(1, NAN, 3, INFINITY), EXPECTED(NAN),
      .no_gradient = true },
    { IN(F64, 4), REDUCE_ALL(false), VALUES(NAN, 1, 2, 3), EXPECTED(NAN), .no_gradient = true },
    { IN(F64, 0, 2), REDUCE(false, 0), VALUES(0), EXPECTED(-INFINITY, -INFINITY),
      .no_gradient = true },
    { IN(I32, 0), REDUCE_ALL(false), VALUES(0), EXPECTED(INT32_MIN) },
    { IN(U8, 0), REDUCE_ALL(false), VALUES(0), EXPECTED(0) },
};

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])
#define DESCRIPTOR(op_name, text, infer_rule)                                                      \
    const ebb_op ebb_op_##op_name = {                                                              \
        .name = #op_name, .summary = text, .group = "reduction", .n_inputs = 1, .n_results = 1,    \
        .attrs_bytes = sizeof(ebb_reduce_attrs), .attrs = reduce_fields, .infer = infer_rule,      \
        .vjp = vjp_##op_name, .eval = eval_##op_name, .samples = samples_##op_name,                \
        .n_samples = COUNT(samples_##op_name),                                                     \
    }
/* clang-format on */

DESCRIPTOR(reduce_sum, "sum over axes; of nothing 0", infer_numbers);
DESCRIPTOR(reduce_mean, "mean over axes; of nothing NaN", infer_floats);
DESCRIPTOR(reduce_max, "maximum over axes; NaN if any is", infer_numbers);

/* ---- argmax ---- */

static ebb_status infer_argmax(const ebb_infer *infer)
{
    const ebb_axis_attrs *attrs = infer->attrs;
    const ebb_shape *in = &infer->inputs[0]->shape;
    if (infer->inputs[0]->dtype == EBB_BOOL)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "dtype bool is no number");
    ebb_status status = ebb_infer_axis(infer, attrs->axis, in->rank);
    if (status)
        return status;
    int axis = ebb_axis_of(attrs->axis, in->rank);
    if (in->dims[axis] == 0)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "axis %d has size 0", axis);
    ebb_type result = { EBB_I64, { 0 } };
    for (int i = 0; i < in->rank; i++)
        if (i != axis)
            result.shape.dims[result.shape.rank++] = in->dims[i];
    infer->results[0] = result;
    return EBB_OK;
}

/* x [outer, n, inner] -> result [outer, inner] */
#define ARGMAX_LOOP(name, T)                                                                       \
    static void name(const T *x, int64_t *result, int64_t outer, int64_t n, int64_t inner)         \
    {                                                                                              \
        for (int64_t o = 0; o < outer; o++)                                                        \
            for (int64_t i = 0; i < inner; i++) {                                                  \
                const T *row = x + o * n * inner + i;                                              \
                int64_t best = 0;                                                                  \
                for (int64_t k = 1; k < n && row[best * inner] == row[best * inner]; k++)          \
                    if (!(row[k * inner] <= row[best * inner]))                                    \
                        best = k;                                                                  \
                result[o * inner + i] = best;                                                      \
            }                                                                                      \
    }
ARGMAX_LOOP(argmax_f64, double)
ARGMAX_LOOP(argmax_f32, float)
ARGMAX_LOOP(argmax_i64, int64_t)
ARGMAX_LOOP(argmax_i32, int32_t)
ARGMAX_LOOP(argmax_u8, uint8_t)

static ebb_status eval_argmax(const ebb_eval *eval)
{
    const ebb_axis_attrs *attrs = eval->attrs;
    const ebb_shape *in = &eval->inputs[0].type.shape;
    int axis = ebb_axis_of(attrs->axis, in->rank);
    int64_t outer = 1, inner = 1, n = in->dims[axis];
    for (int i = 0; i < in->rank; i++)
        *(i < axis ? &outer : &inner) *= i == axis ? 1 : in->dims[i];
    const void *x = eval->inputs[0].data;
    int64_t *result = eval->results[0].data;
    switch (eval->inputs[0].type.dtype) {
    case EBB_F64:
        argmax_f64(x, result, outer, n, inner);
        break;
    case EBB_F32:
        argmax_f32(x, result, outer, n, inner);
        break;
    case EBB_I64:
        argmax_i64(x, result, outer, n, inner);
        break;
    case EBB_I32:
        argmax_i32(x, result, outer, n, inner);
        break;
    default:
        argmax_u8(x, result, outer, n, inner);
    }
    return EBB_OK;
}

ebb_node(ebb_argmax)(ebb_node x, int axis)
{
    int front = ebb_axis_of(axis, ebb_node_type(x)->shape.rank);
    ebb_axis_attrs attrs = { front < 0 ? axis : front };
    return ebb_emit(NULL, &ebb_op_argmax, &x, 1, &attrs, NULL);
}

static const ebb_attr_field argmax_fields[] = {
    EBB_FIELD(ebb_axis_attrs, axis, I64, "the axis to look along; default 0"),
    { 0 },
};

/* clang-format off */
#define AXIS(axis) .attrs = &(const ebb_axis_attrs){ axis }
static const ebb_sample samples_argmax[] = {
    { IN(F64, 2, 3), AXIS(1), VALUES(1, 5, 3, 4, 2, 4), EXPECTED(1, 0) }, /* the first of equals */
    { IN(F64, 2, 3), AXIS(0), VALUES(1, 5, 3, 4, 2, 4), EXPECTED(1, 0, 1) },
    { IN(F64, 4), AXIS(-1), VALUES(1, NAN, INFINITY, NAN), EXPECTED(1) },
    { IN(F64, 2), AXIS(0), VALUES(NAN, 1), EXPECTED(0) },
    { IN(F64, 2), AXIS(0), VALUES(-INFINITY, -INFINITY), EXPECTED(0) },
    { IN(I64, 3), AXIS(0), VALUES(-3, -1, -2), EXPECTED(1) },
    { IN(F64, 1), AXIS(0) }, { IN(F64, 17), AXIS(0) }, { IN(F64, 7, 1), AXIS(1) },
    { IN(F64, 0, 3), AXIS(1) },
    { IN(F64, 2, 3, 4), AXIS(1) }, { IN(I32, 3, 5), AXIS(1) }, { IN(U8, 3, 5), AXIS(0) },
    { IN(F64, 3, 0), AXIS(1), .error = EBB_BAD_SHAPE, .message = "axis 1 has size 0" },
    { IN(F64, 3), AXIS(1), .error = EBB_BAD_AXIS, .message = "axis 1 is out of range for rank 1" },
    { .inputs = { EBB_SAMPLE_SCALAR(F64) }, AXIS(0), .error = EBB_BAD_AXIS,
      .message = "a scalar has none" },
    { IN(BOOL, 3), AXIS(0), .error = EBB_BAD_DTYPE, .message = "dtype bool is no number" },
};
/* clang-format on */

const ebb_op ebb_op_argmax = {
    .name = "argmax",
    .summary = "index of the first maximum along an axis; a NaN counts as maximum",
    .group = "reduction",
    .n_inputs = 1,
    .n_results = 1,
    .attrs_bytes = sizeof(ebb_axis_attrs),
    .attrs = argmax_fields,
    .infer = infer_argmax,
    .eval = eval_argmax,
    .samples = samples_argmax,
    .n_samples = COUNT(samples_argmax),
};
