/* cumsum: running sums along an axis. */
#define EBB_NO_LOCATIONS
#include "ops/reduce.h"

static ebb_status infer_cumsum(const ebb_infer *infer)
{
    const ebb_cumsum_attrs *attrs = infer->attrs;
    if (infer->inputs[0]->dtype == EBB_BOOL)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "dtype bool is no number");
    infer->results[0] = *infer->inputs[0];
    return ebb_infer_axis(infer, attrs->axis, infer->inputs[0]->shape.rank);
}

/* A row of n elements, `step` apart (negative: from the end). F32 is summed in double; integers
 * wrap. */
#define CUMSUM_ROW(name, T, A)                                                                     \
    static void name(const void *from, void *to, int64_t n, int64_t step, bool exclusive)          \
    {                                                                                              \
        const T *x = from;                                                                         \
        T *result = to;                                                                            \
        A sum = 0;                                                                                 \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const A before = sum;                                                                  \
            sum = (A)(sum + (A)x[i * step]);                                                       \
            result[i * step] = (T)(exclusive ? before : sum);                                      \
        }                                                                                          \
    }
CUMSUM_ROW(row_f64, double, double)
CUMSUM_ROW(row_f32, float, double)
CUMSUM_ROW(row_i64, int64_t, uint64_t)
CUMSUM_ROW(row_i32, int32_t, uint32_t)
CUMSUM_ROW(row_u8, uint8_t, unsigned)

static ebb_status eval_cumsum(const ebb_eval *eval)
{
    static void (*const rows[EBB_N_DTYPES])(const void *, void *, int64_t, int64_t, bool) = {
        [EBB_F64] = row_f64, [EBB_F32] = row_f32, [EBB_I64] = row_i64,
        [EBB_I32] = row_i32, [EBB_U8] = row_u8,
    };
    const ebb_cumsum_attrs *attrs = eval->attrs;
    const ebb_type *type = &eval->inputs[0].type;
    const int64_t bytes = (int64_t)ebb_dtype_bytes(type->dtype);
    const int axis = ebb_axis_of(attrs->axis, type->shape.rank);
    int64_t outer = 1, inner = 1, n = type->shape.dims[axis];
    for (int i = 0; i < type->shape.rank; i++)
        *(i < axis ? &outer : &inner) *= i == axis ? 1 : type->shape.dims[i];
    for (int64_t o = 0; n > 0 && o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            int64_t start = (o * n + (attrs->reverse ? n - 1 : 0)) * inner + i;
            rows[type->dtype]((const char *)eval->inputs[0].data + start * bytes,
                              (char *)eval->results[0].data + start * bytes, n,
                              attrs->reverse ? -inner : inner, attrs->exclusive);
        }
    return EBB_OK;
}

/* The running sums of the cotangent, from the other end. */
static void vjp_cumsum(const ebb_vjp *v)
{
    ebb_cumsum_attrs attrs = *(const ebb_cumsum_attrs *)v->attrs;
    attrs.reverse = !attrs.reverse;
    if (ebb_reduce_wants_gradient(v))
        v->gradients[0] = ebb_cumsum(v->cotangents[0], attrs);
}

ebb_node(ebb_cumsum)(ebb_node x, ebb_cumsum_attrs attrs)
{
    int front = ebb_axis_of(attrs.axis, ebb_node_type(x)->shape.rank);
    attrs.axis = front < 0 ? attrs.axis : front;
    return ebb_emit(NULL, &ebb_op_cumsum, &x, 1, &attrs, NULL);
}

static const ebb_attr_field cumsum_fields[] = {
    EBB_FIELD(ebb_cumsum_attrs, axis, I64, "the axis to sum along; default 0"),
    EBB_FIELD(ebb_cumsum_attrs, exclusive, BOOL, "without the element itself; default false"),
    EBB_FIELD(ebb_cumsum_attrs, reverse, BOOL, "from the end; default false"),
    { 0 },
};

/* clang-format off */
#define SUMS(...) .attrs = &(const ebb_cumsum_attrs){ __VA_ARGS__ }
static const ebb_sample samples_cumsum[] = {
    { IN(F64, 2, 3), SUMS(1, false, false), VALUES(1, 2, 3, 4, 5, 6), EXPECTED(1, 3, 6, 4, 9, 15) },
    { IN(F64, 2, 3), SUMS(0, false, false), VALUES(1, 2, 3, 4, 5, 6), EXPECTED(1, 2, 3, 5, 7, 9) },
    { IN(F64, 2, 3), SUMS(1, true, false), VALUES(1, 2, 3, 4, 5, 6), EXPECTED(0, 1, 3, 0, 4, 9) },
    { IN(F64, 2, 3), SUMS(1, false, true), VALUES(1, 2, 3, 4, 5, 6), EXPECTED(6, 5, 3, 15, 11, 6) },
    { IN(F64, 2, 3), SUMS(1, true, true), VALUES(1, 2, 3, 4, 5, 6), EXPECTED(5, 3, 0, 11, 6, 0) },
    { IN(U8, 3), SUMS(0, false, false), VALUES(200, 100, 1), EXPECTED(200, 44, 45) },
    { IN(F64, 1), SUMS(0, false, false) }, { IN(F64, 7), SUMS(-1, false, true) },
    { IN(F64, 17), SUMS(0, true, false) }, { IN(F64, 2, 3, 4), SUMS(1, false, false) },
    { IN(F64, 2, 3, 4), SUMS(0, true, true) }, { IN(F64, 2, 3, 4), SUMS(-1, false, false) },
    { IN(F64, 0), SUMS(0, false, false) }, { IN(F64, 2, 0, 3), SUMS(2, false, true) },
    { IN(I64, 3, 5), SUMS(1, false, false), DRAWN(-9, 9, 0) },
    { IN(I32, 3, 5), SUMS(0, true, true), DRAWN(-9, 9, 0) },
    { IN(F64, 2), SUMS(1, false, false), .error = EBB_BAD_AXIS,
      .message = "axis 1 is out of range for rank 1" },
    { .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(F64)), SUMS(0, false, false), .error = EBB_BAD_AXIS,
      .message = "a scalar has none" },
    { IN(BOOL, 2), SUMS(0, false, false), .error = EBB_BAD_DTYPE,
      .message = "dtype bool is no number" },
};
/* clang-format on */

const ebb_op ebb_op_cumsum = {
    .name = "cumsum",
    .summary = "running sums along an axis",
    .group = "reduction",
    .n_inputs = 1,
    .n_results = 1,
    .attrs_bytes = sizeof(ebb_cumsum_attrs),
    .attrs = cumsum_fields,
    .infer = infer_cumsum,
    .vjp = vjp_cumsum,
    .eval = eval_cumsum,
    .samples = samples_cumsum,
    .n_samples = COUNT(samples_cumsum),
};
