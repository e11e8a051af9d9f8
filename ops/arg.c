/* argmax and argmin: where the extremum along an axis is. */
#define EBB_NO_LOCATIONS
#include "ops/reduce.h"
#include <math.h>

/* x [outer, n, inner] -> result [outer, inner] */
typedef void (*arg_loop)(const void *x, int64_t *result, int64_t outer, int64_t n, int64_t inner);
typedef struct arg_family {
    arg_loop loops[EBB_N_DTYPES];
} arg_family;

static ebb_status infer_arg(const ebb_infer *infer)
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

/* The first one wins, and a NaN is the best of all: neither `keeps` nor is passed over. */
#define ARG_LOOP(name, T, keeps)                                                                   \
    static void name(const void *data, int64_t *result, int64_t outer, int64_t n, int64_t inner)   \
    {                                                                                              \
        const T *x = data;                                                                         \
        for (int64_t o = 0; o < outer; o++)                                                        \
            for (int64_t i = 0; i < inner; i++) {                                                  \
                const T *row = x + o * n * inner + i;                                              \
                int64_t best = 0;                                                                  \
                for (int64_t k = 1; k < n && row[best * inner] == row[best * inner]; k++)          \
                    if (!(row[k * inner] keeps row[best * inner]))                                 \
                        best = k;                                                                  \
                result[o * inner + i] = best;                                                      \
            }                                                                                      \
    }
/* clang-format off */
#define ARG_FAMILY(name, keeps)                                                                    \
    ARG_LOOP(name##_f64, double, keeps) ARG_LOOP(name##_f32, float, keeps)                         \
    ARG_LOOP(name##_i64, int64_t, keeps) ARG_LOOP(name##_i32, int32_t, keeps)                      \
    ARG_LOOP(name##_u8, uint8_t, keeps)                                                            \
    static const arg_family family_##name = {                                                      \
        { [EBB_F64] = name##_f64, [EBB_F32] = name##_f32, [EBB_I64] = name##_i64,                  \
          [EBB_I32] = name##_i32, [EBB_U8] = name##_u8 } };
ARG_FAMILY(argmax, <=)
ARG_FAMILY(argmin, >=)
/* clang-format on */

static ebb_status eval_arg(const ebb_eval *eval)
{
    const ebb_axis_attrs *attrs = eval->attrs;
    const arg_family *family = eval->op->user;
    const ebb_type *type = &eval->inputs[0].type;
    int axis = ebb_axis_of(attrs->axis, type->shape.rank);
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < type->shape.rank; i++)
        *(i < axis ? &outer : &inner) *= i == axis ? 1 : type->shape.dims[i];
    family->loops[type->dtype](eval->inputs[0].data, eval->results[0].data, outer,
                               type->shape.dims[axis], inner);
    return EBB_OK;
}

static ebb_node emit_arg(const ebb_op *op, ebb_node x, int axis)
{
    int front = ebb_axis_of(axis, ebb_node_type(x)->shape.rank);
    ebb_axis_attrs attrs = { front < 0 ? axis : front };
    return ebb_emit(NULL, op, &x, 1, &attrs, NULL);
}

ebb_node(ebb_argmax)(ebb_node x, int axis)
{
    return emit_arg(&ebb_op_argmax, x, axis);
}
ebb_node(ebb_argmin)(ebb_node x, int axis)
{
    return emit_arg(&ebb_op_argmin, x, axis);
}

static const ebb_attr_field arg_fields[] = {
    EBB_FIELD(ebb_axis_attrs, axis, I64, "the axis to look along; default 0"),
    { 0 },
};

/* clang-format off */
#define AXIS(axis) .attrs = &(const ebb_axis_attrs){ axis }
#define ARG_SAMPLES                                                                                \
    { IN(F64, 4), AXIS(-1), VALUES(1, NAN, INFINITY, NAN), EXPECTED(1) },                          \
    { IN(F64, 2), AXIS(0), VALUES(NAN, 1), EXPECTED(0) },                                          \
    { IN(F64, 2), AXIS(0), VALUES(-INFINITY, -INFINITY), EXPECTED(0) },                            \
    { IN(F64, 1), AXIS(0) }, { IN(F64, 17), AXIS(0) }, { IN(F64, 7, 1), AXIS(1) },                 \
    { IN(F64, 0, 3), AXIS(1) },                                                                    \
    { IN(F64, 2, 3, 4), AXIS(1) }, { IN(I32, 3, 5), AXIS(1) }, { IN(U8, 3, 5), AXIS(0) },          \
    { IN(F64, 3, 130), AXIS(1) },                                                                  \
    { IN(F64, 3, 0), AXIS(1), .error = EBB_BAD_SHAPE, .message = "axis 1 has size 0" },            \
    { IN(F64, 3), AXIS(1), .error = EBB_BAD_AXIS,                                                  \
      .message = "axis 1 is out of range for rank 1" },                                            \
    { .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(F64)), AXIS(0), .error = EBB_BAD_AXIS,                \
      .message = "a scalar has none" },                                                            \
    { IN(BOOL, 3), AXIS(0), .error = EBB_BAD_DTYPE, .message = "dtype bool is no number" }
static const ebb_sample samples_argmax[] = {
    { IN(F64, 2, 3), AXIS(1), VALUES(1, 5, 3, 4, 2, 4), EXPECTED(1, 0) }, /* the first of equals */
    { IN(F64, 2, 3), AXIS(0), VALUES(1, 5, 3, 4, 2, 4), EXPECTED(1, 0, 1) },
    { IN(I64, 3), AXIS(0), VALUES(-3, -1, -2), EXPECTED(1) },
    ARG_SAMPLES,
};
static const ebb_sample samples_argmin[] = {
    { IN(F64, 2, 3), AXIS(1), VALUES(1, 5, 1, 4, 2, 4), EXPECTED(0, 1) }, /* the first of equals */
    { IN(F64, 2, 3), AXIS(0), VALUES(1, 5, 3, 4, 2, 4), EXPECTED(0, 1, 0) },
    { IN(I64, 3), AXIS(0), VALUES(-1, -3, -2), EXPECTED(1) },
    { IN(U8, 3), AXIS(0), VALUES(255, 0, 1), EXPECTED(1) },
    ARG_SAMPLES,
};

#define ARG(op_name, text)                                                                         \
    const ebb_op ebb_op_##op_name = {                                                              \
        .name = #op_name, .summary = text, .group = "reduction", .n_inputs = 1, .n_results = 1,    \
        .attrs_bytes = sizeof(ebb_axis_attrs), .attrs = arg_fields, .infer = infer_arg,            \
        .eval = eval_arg, .user = &family_##op_name, .samples = samples_##op_name,                 \
        .n_samples = COUNT(samples_##op_name),                                                     \
    }
/* clang-format on */

ARG(argmax, "index of the first maximum along an axis; a NaN counts as maximum");
ARG(argmin, "index of the first minimum along an axis; a NaN counts as minimum");
