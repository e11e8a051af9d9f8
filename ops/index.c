/* Ops with index values: one_hot. */
#define EBB_NO_LOCATIONS
#include "ops/index.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include <string.h>

ebb_status ebb_index_check(const ebb_tensor *indices, int64_t n, const char *what, ebb_error *error)
{
    const int64_t count = ebb_shape_elements(&indices->type.shape);
    for (int64_t i = 0; i < count; i++) {
        const int64_t index = ebb_index_at(indices, i);
        if (index < 0 || index >= n)
            return ebb_fail(error, EBB_BAD_INDEX, "%s %lld at position %lld is not in 0..%lld",
                            what, (long long)index, (long long)i, (long long)n - 1);
    }
    return EBB_OK;
}

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
#define IN(dtype, ...) .inputs = { EBB_SAMPLE_TYPE(dtype, __VA_ARGS__) }
#define BELOW(n) .range = { { 0, n, 0, 0 } }
#define VALUES(...) .values = { (const double[]){ __VA_ARGS__ } }
static const ebb_sample samples_one_hot[] = {
    { IN(I64, 2), ONE_HOT(3, F64), VALUES(2, 0), .expected = (const double[]){ 0, 0, 1, 1, 0, 0 },
      .source = "by the definition" },
    { .inputs = { EBB_SAMPLE_SCALAR(I32) }, ONE_HOT(7, F32), BELOW(7) },
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
      .message = "index 0 at position 0" },
};
/* clang-format on */

const ebb_op ebb_op_one_hot = {
    .name = "one_hot",
    .summary = "1 at the index and 0 elsewhere, along a new last dimension",
    .group = "shape",
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
