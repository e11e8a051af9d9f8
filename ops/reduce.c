/* Reductions of one pass: sum, mean, product, maximum, minimum, any, all. */
#define EBB_NO_LOCATIONS
#include "ops/reduce.h"
#include <math.h>

/* ---- what all share ---- */

ebb_reduction ebb_reduce_plan(const ebb_shape *shape, const ebb_reduce_attrs *attrs)
{
    const unsigned mask = ebb_axes_mask(&attrs->axes, shape->rank);
    ebb_reduction plan = { .n_results = 1, .n_terms = 1 };
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
    plan.divisor = (double)plan.n_terms;
    return plan;
}

int64_t ebb_reduce_advance(int64_t *index, const int64_t *dims, const int64_t *strides, int n)
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

static ebb_status check_dtype(const ebb_infer *infer)
{
    const ebb_reduce_loops *loops = infer->op->user;
    const ebb_dtype dtype = infer->inputs[0]->dtype;
    const char *allowed = loops->loops[EBB_BOOL]  ? "bool"
                          : loops->loops[EBB_I64] ? "f64, f32, i64, i32, u8"
                                                  : "f64, f32";
    if (!loops->loops[dtype])
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "dtype %s is not one of %s",
                              ebb_dtype_name(dtype), allowed);
    return EBB_OK;
}

ebb_status ebb_reduce_infer(const ebb_infer *infer)
{
    const ebb_reduce_attrs *attrs = infer->attrs;
    const ebb_shape *in = &infer->inputs[0]->shape;
    ebb_status status = check_dtype(infer);
    if (!status)
        status = ebb_infer_axes(infer, &attrs->axes, in->rank);
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

ebb_status ebb_reduce_eval(const ebb_eval *eval)
{
    const ebb_reduce_loops *loops = eval->op->user;
    const ebb_tensor *x = &eval->inputs[0];
    const ebb_reduction plan = ebb_reduce_plan(&x->type.shape, eval->attrs);
    loops->loops[x->type.dtype](&plan, x->data, eval->results[0].data);
    return EBB_OK;
}

ebb_node ebb_reduce_spread(ebb_node x, const ebb_reduce_attrs *attrs, ebb_node result)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    ebb_shape kept = ebb_shape_keep(shape, ebb_axes_mask(&attrs->axes, shape->rank));
    return ebb_broadcast_to(ebb_reshape(result, kept), *shape);
}

bool ebb_reduce_wants_gradient(const ebb_vjp *v)
{
    return v->needed[0] && ebb_dtype_is_float(ebb_node_type(v->inputs[0])->dtype);
}

ebb_node ebb_reduce_emit(const ebb_op *op, ebb_node x, ebb_axes axes, bool keep)
{
    ebb_reduce_attrs attrs = { ebb_build_axes(axes, ebb_node_type(x)->shape.rank), keep };
    return ebb_emit(NULL, op, &x, 1, &attrs, NULL);
}

const ebb_attr_field ebb_reduce_fields[] = {
    EBB_FIELD(ebb_reduce_attrs, axes, AXES, "axes to reduce; none: all"),
    EBB_FIELD(ebb_reduce_attrs, keep, BOOL, "reduced dimensions stay, with size 1; default false"),
    { 0 },
};

/* ---- reference kernels ---- */

/* clang-format off */
/* F32 is summed and multiplied in double; integers wrap. */
REDUCE_LOOP(reduce_sum_f64,  double,  double,   0, sum + value, sum)
REDUCE_LOOP(reduce_sum_f32,  float,   double,   0, sum + value, sum)
REDUCE_LOOP(reduce_sum_i64,  int64_t, uint64_t, 0, sum + value, sum)
REDUCE_LOOP(reduce_sum_i32,  int32_t, uint32_t, 0, sum + value, sum)
REDUCE_LOOP(reduce_sum_u8,   uint8_t, unsigned, 0, sum + value, sum)
REDUCE_LOOP(reduce_mean_f64, double,  double,   0, sum + value, sum / plan->divisor)
REDUCE_LOOP(reduce_mean_f32, float,   double,   0, sum + value, sum / plan->divisor)
REDUCE_LOOP(reduce_prod_f64, double,  double,   1, sum * value, sum)
REDUCE_LOOP(reduce_prod_f32, float,   double,   1, sum * value, sum)
REDUCE_LOOP(reduce_prod_i64, int64_t, uint64_t, 1, sum * value, sum)
REDUCE_LOOP(reduce_prod_i32, int32_t, uint32_t, 1, sum * value, sum)
REDUCE_LOOP(reduce_prod_u8,  uint8_t, unsigned, 1, sum * value, sum)
/* A NaN is neither <= the maximum nor replaced by it. */
#define LARGER_FLOAT sum != sum || value <= sum ? sum : value
#define SMALLER_FLOAT sum != sum || value >= sum ? sum : value
REDUCE_LOOP(reduce_max_f64,  double,  double,  -(double)INFINITY, LARGER_FLOAT, sum)
REDUCE_LOOP(reduce_max_f32,  float,   float,   -INFINITY, LARGER_FLOAT, sum)
REDUCE_LOOP(reduce_max_i64,  int64_t, int64_t, INT64_MIN, value > sum ? value : sum, sum)
REDUCE_LOOP(reduce_max_i32,  int32_t, int32_t, INT32_MIN, value > sum ? value : sum, sum)
REDUCE_LOOP(reduce_max_u8,   uint8_t, uint8_t, 0,         value > sum ? value : sum, sum)
REDUCE_LOOP(reduce_min_f64,  double,  double,  (double)INFINITY, SMALLER_FLOAT, sum)
REDUCE_LOOP(reduce_min_f32,  float,   float,   INFINITY,  SMALLER_FLOAT, sum)
REDUCE_LOOP(reduce_min_i64,  int64_t, int64_t, INT64_MAX, value < sum ? value : sum, sum)
REDUCE_LOOP(reduce_min_i32,  int32_t, int32_t, INT32_MAX, value < sum ? value : sum, sum)
REDUCE_LOOP(reduce_min_u8,   uint8_t, uint8_t, UINT8_MAX, value < sum ? value : sum, sum)
REDUCE_LOOP(reduce_any_bool, uint8_t, uint8_t, 0, sum | value, sum)
REDUCE_LOOP(reduce_all_bool, uint8_t, uint8_t, 1, sum & value, sum)

LOOPS_OF_NUMBERS(reduce_sum)
LOOPS_OF_FLOATS(reduce_mean)
LOOPS_OF_NUMBERS(reduce_prod)
LOOPS_OF_NUMBERS(reduce_max)
LOOPS_OF_NUMBERS(reduce_min)
LOOPS_OF_BOOLS(reduce_any)
LOOPS_OF_BOOLS(reduce_all)
/* clang-format on */

/* ---- gradients ---- */

static void vjp_sum(const ebb_vjp *v)
{
    if (ebb_reduce_wants_gradient(v))
        v->gradients[0] = ebb_reduce_spread(v->inputs[0], v->attrs, v->cotangents[0]);
}

static void vjp_mean(const ebb_vjp *v)
{
    if (!ebb_reduce_wants_gradient(v))
        return;
    double n_terms = ebb_reduce_plan(&ebb_node_type(v->inputs[0])->shape, v->attrs).divisor;
    ebb_node g = v->cotangents[0];
    v->gradients[0] =
        ebb_reduce_spread(v->inputs[0], v->attrs, ebb_div(g, ebb_full_like(g, n_terms)));
}

/* Of maximum and minimum: equal ones share the cotangent evenly. */
static void vjp_extremum(const ebb_vjp *v)
{
    if (!ebb_reduce_wants_gradient(v))
        return;
    const ebb_reduce_attrs *attrs = v->attrs;
    ebb_node x = v->inputs[0];
    ebb_node hits = ebb_equal(x, ebb_reduce_spread(x, attrs, v->results[0]));
    ebb_node n_hits =
        ebb_reduce_sum(ebb_cast(hits, ebb_node_type(x)->dtype), attrs->axes, attrs->keep);
    ebb_node share = ebb_reduce_spread(x, attrs, ebb_div(v->cotangents[0], n_hits));
    v->gradients[0] = ebb_select(hits, share, ebb_full_like(x, 0));
}

/* ---- builders ---- */

#define BUILDER(name)                                                                              \
    ebb_node(ebb_##name)(ebb_node x, ebb_axes axes, bool keep)                                     \
    {                                                                                              \
        return ebb_reduce_emit(&ebb_op_##name, x, axes, keep);                                     \
    }
BUILDER(reduce_sum)
BUILDER(reduce_mean)
BUILDER(reduce_prod)
BUILDER(reduce_max)
BUILDER(reduce_min)
BUILDER(reduce_any)
BUILDER(reduce_all)

/* ---- data ---- */

/* clang-format off */
static const ebb_sample samples_reduce_sum[] = {
    COMMON_SAMPLES, EMPTY_SAMPLES(false), INTEGER_SAMPLES, { IN(F64, 2, 130), REDUCE(false, 0) },
    { IN(F64, 2, 3), REDUCE(false, 0), VALUES(1, 2, 3, 4, 5, 6), EXPECTED(5, 7, 9) },
    { IN(F64, 2, 3), REDUCE(true, 1), VALUES(1, 2, 3, 4, 5, 6), EXPECTED(6, 15) },
    { IN(U8, 3), REDUCE_ALL(false), VALUES(200, 100, 1), EXPECTED(45) }, /* wraps at 256 */
    { IN(F64, 0, 2), REDUCE(false, 0), VALUES(0), EXPECTED(0, 0) },
};
static const ebb_sample samples_reduce_mean[] = {
    COMMON_SAMPLES, EMPTY_SAMPLES(true), { IN(F64, 2, 130), REDUCE(false, 0) }, NO_INTEGER_SAMPLES,
    { IN(F64, 2, 3), REDUCE(false, 0), VALUES(1, 2, 3, 4, 5, 6), EXPECTED(2.5, 3.5, 4.5) },
    { IN(F64, 0, 2), REDUCE(false, 0), VALUES(0), EXPECTED(NAN, NAN), .no_gradient = true },
};
/* Zeros, one and several: the gradient there is the product of the others. */
static const ebb_sample samples_reduce_prod[] = {
    GOOD_SAMPLES(-2, 2, 0.5), BAD_SAMPLES, EMPTY_SAMPLES(false), INTEGER_SAMPLES,
    { IN(F64, 2, 130), REDUCE(false, 0), DRAWN(-2, 2, 0.5) },
    { IN(F64, 2, 3), REDUCE(false, 0), VALUES(1, 2, 3, 4, 5, 6), EXPECTED(4, 10, 18) },
    { IN(F64, 2, 3), REDUCE(true, 1), VALUES(1, 2, 3, 4, 5, 6), EXPECTED(6, 120) },
    { IN(F64, 3, 4), REDUCE(false, 1), VALUES(2, 0, 3, 5, 0, 2, 0, 3, 0, 0, 0, 7),
      EXPECTED(0, 0, 0) },
    { IN(F64, 5), REDUCE(false, 0), VALUES(2, 3, 0, -1, 0.5), EXPECTED(0) },
    { IN(U8, 3), REDUCE_ALL(false), VALUES(200, 2, 1), EXPECTED(144) }, /* wraps at 256 */
    { IN(I32, 2), REDUCE_ALL(false), VALUES(65536, 65536), EXPECTED(0) },
    { IN(F64, 0, 2), REDUCE(false, 0), VALUES(0), EXPECTED(1, 1) },
};
/* Central differences want extrema that stay the same. In the small samples the values, which are
 * drawn by op and place in the list, are far enough apart; ties have a test of their own. */
static const ebb_sample samples_reduce_max[] = {
    GOOD_SAMPLES(-8, 8, 0), BAD_SAMPLES, EMPTY_SAMPLES(true), INTEGER_SAMPLES,
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
static const ebb_sample samples_reduce_min[] = {
    INTEGER_SAMPLES, GOOD_SAMPLES(-8, 8, 0), BAD_SAMPLES, EMPTY_SAMPLES(true),
    { IN(F64, 2, 130), REDUCE(false, 0), .no_gradient = true },
    { IN(F64, 2, 3), REDUCE(false, 0), VALUES(1, 5, 3, 4, 2, 6), EXPECTED(1, 2, 3) },
    { IN(F64, 4), REDUCE_ALL(false), VALUES(1, NAN, 3, -INFINITY), EXPECTED(NAN),
      .no_gradient = true },
    { IN(F64, 4), REDUCE_ALL(false), VALUES(NAN, 1, 2, 3), EXPECTED(NAN), .no_gradient = true },
    { IN(F64, 0, 2), REDUCE(false, 0), VALUES(0), EXPECTED(INFINITY, INFINITY),
      .no_gradient = true },
    { IN(I32, 0), REDUCE_ALL(false), VALUES(0), EXPECTED(INT32_MAX) },
    { IN(U8, 0), REDUCE_ALL(false), VALUES(0), EXPECTED(255) },
};
#define BOOL_SAMPLES                                                                               \
    { .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(BOOL)), REDUCE_ALL(false) }, { IN(BOOL, 1),           \
      REDUCE(true, 0) },                                                                           \
    { IN(BOOL, 7), REDUCE_ALL(true) }, { IN(BOOL, 3, 5), REDUCE(false, 1) },                       \
    { IN(BOOL, 3, 130), REDUCE(false, 0) }, { IN(BOOL, 2, 3, 4), REDUCE(false, 0, 2) },            \
    { IN(BOOL, 2, 0, 4), REDUCE(false, 0) }, BAD_AXES_SAMPLES(BOOL),                               \
    { IN(F64, 2, 3), REDUCE(false, 1), .error = EBB_BAD_DTYPE,                                     \
      .message = "dtype f64 is not one of bool" }
static const ebb_sample samples_reduce_any[] = {
    BOOL_SAMPLES,
    { IN(BOOL, 4, 2), REDUCE(false, 1), VALUES(0, 0, 0, 1, 1, 0, 1, 1), EXPECTED(0, 1, 1, 1) },
    { IN(BOOL, 0, 2), REDUCE(false, 0), VALUES(0), EXPECTED(0, 0) },
};
static const ebb_sample samples_reduce_all[] = {
    BOOL_SAMPLES,
    { IN(BOOL, 4, 2), REDUCE(false, 1), VALUES(0, 0, 0, 1, 1, 0, 1, 1), EXPECTED(0, 0, 0, 1) },
    { IN(BOOL, 0, 2), REDUCE(false, 0), VALUES(0), EXPECTED(1, 1) },
};
/* clang-format on */

REDUCTION(reduce_sum, "sum over axes; of nothing 0", vjp_sum, );
REDUCTION(reduce_mean, "mean over axes; of nothing NaN", vjp_mean, );
REDUCTION(reduce_prod, "product over axes; of nothing 1", ebb_reduce_vjp_product, );
REDUCTION(reduce_max, "maximum over axes; NaN if any is", vjp_extremum, );
REDUCTION(reduce_min, "minimum over axes; NaN if any is", vjp_extremum, );
REDUCTION(reduce_any, "true if any is, over axes; of nothing false", NULL, );
REDUCTION(reduce_all, "true if all are, over axes; of nothing true", NULL, );
