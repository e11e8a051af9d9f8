/* Index values: their range, what the ops that take them share, and one_hot. */
#define EBB_NO_LOCATIONS
#include "ops/index.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include <stdio.h>
#include <string.h>

/* True if some value is not in 0..n-1. Without branches, so that the loops vectorize. */
#define ANY_OUTSIDE(name, T, U)                                                                    \
    static bool name(const T *x, int64_t count, U n)                                               \
    {                                                                                              \
        U any = 0;                                                                                 \
        for (int64_t i = 0; i < count; i++)                                                        \
            any = (U)(any | ((U)x[i] >= n)); /* negative ones are large */                         \
        return any;                                                                                \
    }
ANY_OUTSIDE(any_outside_i64, int64_t, uint64_t)
ANY_OUTSIDE(any_outside_i32, int32_t, uint32_t)
ANY_OUTSIDE(any_outside_u8, uint8_t, uint8_t)

static bool any_outside(const ebb_tensor *indices, int64_t count, int64_t n)
{
    const uint32_t above_i32 = UINT32_C(1) << 31;
    switch (indices->type.dtype) {
    case EBB_I64:
        return any_outside_i64(indices->data, count, (uint64_t)n);
    case EBB_I32:
        return any_outside_i32(indices->data, count, n < above_i32 ? (uint32_t)n : above_i32);
    default:
        return n <= UINT8_MAX && any_outside_u8(indices->data, count, (uint8_t)n);
    }
}

/* "4", or "[1,0]" where there are several dimensions. */
static const char *position_text(const ebb_shape *shape, int64_t i, char text[EBB_TYPE_TEXT_BYTES])
{
    ebb_shape place = { .rank = shape->rank };
    if (shape->rank < 2) {
        snprintf(text, EBB_TYPE_TEXT_BYTES, "%lld", (long long)i);
        return text;
    }
    for (int d = shape->rank - 1; d >= 0; d--) {
        place.dims[d] = i % shape->dims[d];
        i /= shape->dims[d];
    }
    return ebb_shape_text(&place, text);
}

ebb_status ebb_index_check(const ebb_tensor *indices, int64_t n, const char *what, ebb_error *error)
{
    const int64_t count = ebb_shape_elements(&indices->type.shape);
    char text[EBB_TYPE_TEXT_BYTES];
    int64_t i = 0;
    if (count == 0 || !any_outside(indices, count, n))
        return EBB_OK;
    while (ebb_index_at(indices, i) >= 0 && ebb_index_at(indices, i) < n)
        i++;
    const long long index = ebb_index_at(indices, i);
    position_text(&indices->type.shape, i, text);
    if (n == 0)
        return ebb_fail(error, EBB_BAD_INDEX, "%s %lld at position %s, and there are 0 elements",
                        what, index, text);
    return ebb_fail(error, EBB_BAD_INDEX, "%s %lld at position %s is not in 0..%lld", what, index,
                    text, (long long)n - 1);
}

/* ---- what gather, scatter and their like share ---- */

ebb_index_plan ebb_index_plan_make(const ebb_op *op, const ebb_shape *x, const ebb_shape *indices,
                                   int64_t axis)
{
    const ebb_index_rules *rules = op->user;
    const int at = ebb_axis_of(axis, x->rank);
    ebb_index_plan plan = { .is_along = rules->is_along, .n_outer = 1, .n_inner = 1 };
    for (int i = 0; i < x->rank; i++)
        *(i < at ? &plan.n_outer : &plan.n_inner) *= i == at ? 1 : x->dims[i];
    plan.n = x->dims[at];
    plan.n_indices = rules->is_along ? indices->dims[at] : ebb_shape_elements(indices);
    plan.n_picked = plan.n_outer * plan.n_indices * plan.n_inner;
    return plan;
}

static ebb_status infer_rows(const ebb_infer *infer, int axis, ebb_shape *picked)
{
    const ebb_shape *x = &infer->inputs[0]->shape, *indices = &infer->inputs[1]->shape;
    if (x->rank - 1 + indices->rank > EBB_MAX_RANK)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "what is picked would have rank %d",
                              x->rank - 1 + indices->rank);
    *picked = (ebb_shape){ 0 };
    for (int i = 0; i < x->rank; i++) {
        for (int k = 0; i == axis && k < indices->rank; k++)
            picked->dims[picked->rank++] = indices->dims[k];
        if (i != axis)
            picked->dims[picked->rank++] = x->dims[i];
    }
    return EBB_OK;
}

static ebb_status infer_along(const ebb_infer *infer, int axis, ebb_shape *picked)
{
    const ebb_shape *x = &infer->inputs[0]->shape, *indices = &infer->inputs[1]->shape;
    if (x->rank != indices->rank)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "indices have rank %d, what they pick from %d",
                              indices->rank, x->rank);
    for (int i = 0; i < x->rank; i++)
        if (i != axis && x->dims[i] != indices->dims[i])
            return ebb_infer_fail(infer, EBB_BAD_SHAPE,
                                  "dimension %d is %lld in the indices, %lld in what they "
                                  "pick from",
                                  i, (long long)indices->dims[i], (long long)x->dims[i]);
    *picked = *indices;
    return EBB_OK;
}

ebb_status ebb_index_infer(const ebb_infer *infer, ebb_shape *picked)
{
    const ebb_axis_attrs *attrs = infer->attrs;
    const ebb_index_rules *rules = infer->op->user;
    const int rank = infer->inputs[0]->shape.rank;
    ebb_status status = ebb_infer_axis(infer, attrs->axis, rank);
    if (status)
        return status;
    if (!ebb_dtype_is_integer(infer->inputs[1]->dtype))
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "indices: dtype %s is not one of i64, i32, u8",
                              ebb_dtype_name(infer->inputs[1]->dtype));
    return (rules->is_along ? infer_along : infer_rows)(infer, ebb_axis_of(attrs->axis, rank),
                                                        picked);
}

ebb_node ebb_index_emit(const ebb_op *op, const ebb_node *inputs, int n_inputs, int axis)
{
    const int front = ebb_axis_of(axis, ebb_node_type(inputs[0])->shape.rank);
    ebb_axis_attrs attrs = { front < 0 ? axis : front };
    return ebb_emit(NULL, op, inputs, n_inputs, &attrs, NULL);
}

bool ebb_index_has_gradient(const ebb_vjp *v)
{
    return ebb_dtype_is_float(ebb_node_type(v->inputs[0])->dtype);
}

const ebb_attr_field ebb_index_fields[] = {
    EBB_FIELD(ebb_axis_attrs, axis, I64, "the axis that the indices count along; default 0"),
    { 0 },
};

/* ---- one_hot ---- */

static ebb_status infer_one_hot(const ebb_infer *infer)
{
    const ebb_one_hot_attrs *attrs = infer->attrs;
    const ebb_type *in = infer->inputs[0];
    if (!ebb_dtype_is_integer(in->dtype))
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "dtype %s is not one of i64, i32, u8",
                              ebb_dtype_name(in->dtype));
    ebb_status status = ebb_infer_dtype(infer, attrs->dtype);
    if (status)
        return status;
    if (attrs->depth < 0)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "depth %lld is negative",
                              (long long)attrs->depth);
    if (in->shape.rank == EBB_MAX_RANK)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "the result would have rank %d",
                              EBB_MAX_RANK + 1);
    infer->results[0] = (ebb_type){ attrs->dtype, in->shape };
    infer->results[0].shape.dims[infer->results[0].shape.rank++] = attrs->depth;
    return EBB_OK;
}

static ebb_status eval_one_hot(const ebb_eval *eval)
{
    const ebb_one_hot_attrs *attrs = eval->attrs;
    const ebb_tensor *indices = &eval->inputs[0], *result = &eval->results[0];
    ebb_status status = ebb_index_check(indices, attrs->depth, "index", eval->error);
    if (status)
        return status;
    memset(result->data, 0, ebb_tensor_bytes(result)); /* all bits 0 is 0 in every dtype */
    const int64_t n = ebb_shape_elements(&indices->type.shape);
    for (int64_t i = 0; i < n; i++)
        ebb_tensor_set(result, i * attrs->depth + ebb_index_at(indices, i), 1);
    return EBB_OK;
}

ebb_node(ebb_one_hot)(ebb_node indices, int64_t depth, ebb_dtype dtype)
{
    ebb_one_hot_attrs attrs = { depth, dtype };
    return ebb_emit(NULL, &ebb_op_one_hot, &indices, 1, &attrs, NULL);
}

static const ebb_attr_field one_hot_fields[] = {
    EBB_FIELD(ebb_one_hot_attrs, depth, I64, "size of the new last dimension"),
    EBB_FIELD(ebb_one_hot_attrs, dtype, DTYPE, "dtype of the result"),
    { 0 },
};

/* clang-format off */
#define ONE_HOT(depth, dtype) .attrs = &(const ebb_one_hot_attrs){ depth, EBB_##dtype }
#define IN(dtype, ...) .inputs = EBB_INPUTS(EBB_SAMPLE_TYPE(dtype, __VA_ARGS__))
#define BELOW(n) .range = EBB_RANGES({ 0, n, 0, 0 })
#define VALUES(...) .values = { (const double[]){ __VA_ARGS__ } }
static const ebb_sample samples_one_hot[] = {
    { IN(I64, 2), ONE_HOT(3, F64), VALUES(2, 0), .expected = (const double[]){ 0, 0, 1, 1, 0, 0 },
      .source = "by the definition" },
    { .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(I32)), ONE_HOT(7, F32), BELOW(7) },
    { IN(I64, 0), ONE_HOT(3, F64) },
    { IN(U8, 1), ONE_HOT(1, F64), BELOW(1) }, { IN(I32, 17), ONE_HOT(7, I32), BELOW(7) },
    { IN(I64, 2, 3), ONE_HOT(5, BOOL), BELOW(5) },
    { IN(U8, 3, 1, 2), ONE_HOT(256, U8), BELOW(256) },
    { IN(I64, 7), ONE_HOT(17, I64), BELOW(17) }, { IN(I64, 0), ONE_HOT(0, F64) },
    { IN(F64, 2), ONE_HOT(3, F64), .error = EBB_BAD_DTYPE,
      .message = "dtype f64 is not one of i64, i32, u8" },
    { IN(I64, 2), ONE_HOT(-1, F64), .error = EBB_BAD_ATTRIBUTE, .message = "depth -1 is negative" },
    { IN(I64, 2), ONE_HOT(3, NO_DTYPE), .error = EBB_BAD_DTYPE, .message = "there is no dtype 0" },
    { IN(I64, 1, 1, 1, 1, 1, 1, 1, 1), ONE_HOT(3, F64), .error = EBB_BAD_SHAPE,
      .message = "the result would have rank 9" },
    { IN(I64, 3), ONE_HOT(3, F64), VALUES(0, 3, -1), .error = EBB_BAD_INDEX,
      .message = "index 3 at position 1 is not in 0..2" },
    { IN(I32, 3), ONE_HOT(3, F64), VALUES(0, 2, -1), .error = EBB_BAD_INDEX,
      .message = "index -1 at position 2 is not in 0..2" },
    { IN(U8, 1), ONE_HOT(0, F64), VALUES(0), .error = EBB_BAD_INDEX,
      .message = "index 0 at position 0, and there are 0 elements" },
    { IN(I64, 2, 3), ONE_HOT(3, F64), VALUES(0, 1, 2, 0, 7, 9), .error = EBB_BAD_INDEX,
      .message = "index 7 at position [1,1] is not in 0..2" },
};
/* clang-format on */

const ebb_op ebb_op_one_hot = {
    .name = "one_hot",
    .summary = "1 at the index and 0 elsewhere, along a new last dimension",
    .group = "index",
    .n_inputs = 1,
    .n_results = 1,
    .traits = EBB_TRAIT_FALLIBLE,
    .attrs_bytes = sizeof(ebb_one_hot_attrs),
    .attrs = one_hot_fields,
    .infer = infer_one_hot,
    .eval = eval_one_hot,
    .samples = samples_one_hot,
    .n_samples = (int)(sizeof samples_one_hot / sizeof *samples_one_hot),
};
