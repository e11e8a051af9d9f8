/* gather and gather_along_axis: picking rows and elements by index. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/index.h"
#include <string.h>

static ebb_status infer_gather(const ebb_infer *infer)
{
    infer->results[0].dtype = infer->inputs[0]->dtype;
    return ebb_index_infer(infer, &infer->results[0].shape);
}

static ebb_status eval_gather(const ebb_eval *eval)
{
    const ebb_axis_attrs *attrs = eval->attrs;
    const ebb_tensor *x = &eval->inputs[0], *indices = &eval->inputs[1];
    const ebb_index_plan plan =
        ebb_index_plan_make(eval->op, &x->type.shape, &indices->type.shape, attrs->axis);
    ebb_status status = ebb_index_check(indices, plan.n, "index", eval->error);
    if (status)
        return status;
    const int64_t bytes = (int64_t)ebb_dtype_bytes(x->type.dtype);
    char *to = eval->results[0].data;
    for (int64_t at = 0; at < plan.n_picked; at++, to += bytes) {
        const int64_t o = at / plan.n_inner / plan.n_indices, i = at % plan.n_inner;
        const int64_t j = at / plan.n_inner % plan.n_indices;
        const int64_t index = ebb_index_at(indices, plan.is_along ? at : j);
        const int64_t from = (o * plan.n + index) * plan.n_inner + i;
        memcpy(to, (const char *)x->data + from * bytes, (size_t)bytes);
    }
    return EBB_OK;
}

/* The transposed map: the cotangents add up where they were picked. */
static void vjp_gather(const ebb_vjp *v)
{
    const ebb_axis_attrs *attrs = v->attrs;
    const ebb_index_rules *rules = v->op->user;
    if (!v->needed[0] || !ebb_index_has_gradient(v))
        return;
    ebb_node inputs[] = { ebb_full_like(v->inputs[0], 0), v->inputs[1], v->cotangents[0] };
    v->gradients[0] =
        ebb_emit(NULL, rules->is_along ? &ebb_op_scatter_add_along_axis : &ebb_op_scatter_add,
                 inputs, 3, attrs, NULL);
}

/* ---- builders ---- */

ebb_node(ebb_gather)(ebb_node x, ebb_node indices, int axis)
{
    return ebb_index_emit(&ebb_op_gather, (ebb_node[]){ x, indices }, 2, axis);
}

ebb_node(ebb_gather_along_axis)(ebb_node x, ebb_node indices, int axis)
{
    return ebb_index_emit(&ebb_op_gather_along_axis, (ebb_node[]){ x, indices }, 2, axis);
}

ebb_node(ebb_embedding)(ebb_node table, ebb_node indices)
{
    if (!ebb_node_is_none(table) && ebb_node_type(table)->shape.rank != 2) {
        char text[EBB_NODE_TEXT_BYTES];
        return ebb_graph_fail(table.graph, EBB_BAD_SHAPE, "embedding: not [entries, width]: %s",
                              ebb_node_text(table, text));
    }
    return ebb_gather(table, indices, 0);
}

/* ---- data ---- */

/* clang-format off */
#define AXIS(axis) .attrs = &(const ebb_axis_attrs){ axis }
#define T(...) EBB_SAMPLE_TYPE(__VA_ARGS__)
#define SCALAR(dtype) EBB_SAMPLE_SCALAR(dtype)
#define BELOW(n) .range = EBB_RANGES([1] = { 0, n, 0, 0 })
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define TAKE .source = "numpy.take"
#define TAKE_ALONG .source = "numpy.take_along_axis"
static const ebb_sample samples_gather[] = {
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I64, 2)), AXIS(1),
      .values = { LIST(1, 2, 3, 4, 5, 6), LIST(2, 0) },
      .expected = LIST(3, 1, 6, 4), TAKE },
    { .inputs = EBB_INPUTS(T(F64, 3, 2), T(I32, 2, 2)), AXIS(0),
      .values = { LIST(1, 2, 3, 4, 5, 6), LIST(0, 1, 1, 2) },
      .expected = LIST(1, 2, 3, 4, 3, 4, 5, 6), TAKE }, /* ONNX Gather's first example */
    { .inputs = EBB_INPUTS(T(BOOL, 3), SCALAR(U8)), AXIS(0), .values = { LIST(0, 1, 0), LIST(1) },
      .expected = LIST(1), TAKE },
    { .inputs = EBB_INPUTS(T(F64, 2, 3), SCALAR(I64)), AXIS(-1), BELOW(3) },
    { .inputs = EBB_INPUTS(T(F64, 1), T(I64, 1)), AXIS(0), BELOW(1) },
    { .inputs = EBB_INPUTS(T(F64, 7), T(I32, 17)), AXIS(0), BELOW(7) },
    { .inputs = EBB_INPUTS(T(F64, 17, 7), T(U8, 7)), AXIS(0), BELOW(17) },
    { .inputs = EBB_INPUTS(T(F64, 7, 17), T(I64, 7)), AXIS(1), BELOW(17) },
    { .inputs = EBB_INPUTS(T(F64, 2, 3, 4), T(I64, 2, 5)), AXIS(1), BELOW(3) },
    { .inputs = EBB_INPUTS(T(F64, 2, 1, 3), T(I64, 2, 1, 2)), AXIS(2), BELOW(3) },
    { .inputs = EBB_INPUTS(T(F64, 3, 2), T(I64, 0)), AXIS(0) },
    { .inputs = EBB_INPUTS(T(F64, 0, 2), T(I64, 0, 3)), AXIS(0) },
    { .inputs = EBB_INPUTS(T(F64, 3, 0), T(I64, 4)), AXIS(0), BELOW(3) },
    { .inputs = EBB_INPUTS(T(F64, 0, 3), T(I64, 4)), AXIS(1), BELOW(3) },
    { .inputs = EBB_INPUTS(T(I64, 3, 5), T(I32, 4)), AXIS(1),
      .range = EBB_RANGES({ -9, 9, 0, 0 }, { 0, 5, 0, 0 }) },
    { .inputs = EBB_INPUTS(T(U8, 4, 3), T(I64, 2, 2)), AXIS(0),
      .range = EBB_RANGES({ 0, 256, 0, 0 }, { 0, 4, 0, 0 }) },
    { .inputs = EBB_INPUTS(SCALAR(F64), T(I64, 2)), AXIS(0), .error = EBB_BAD_AXIS,
      .message = "a scalar has none" },
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I64, 2)), AXIS(2), .error = EBB_BAD_AXIS,
      .message = "axis 2 is out of range for rank 2" },
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(F64, 2)), AXIS(0), .error = EBB_BAD_DTYPE,
      .message = "indices: dtype f64 is not one of i64, i32, u8" },
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(BOOL, 2)), AXIS(0), .error = EBB_BAD_DTYPE,
      .message = "indices: dtype bool is not one of i64, i32, u8" },
    { .inputs = EBB_INPUTS(T(F64, 1, 1, 1, 1, 1), T(I64, 1, 1, 1, 1, 1)), AXIS(0),
      .error = EBB_BAD_SHAPE,
      .message = "what is picked would have rank 9" },
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I64, 3)), AXIS(1),
      .values = { LIST(1, 2, 3, 4, 5, 6), LIST(0, 3, -1) }, .error = EBB_BAD_INDEX,
      .message = "index 3 at position 1 is not in 0..2" },
    { .inputs = EBB_INPUTS(T(F64, 2, 1), T(I32, 2, 2)), AXIS(0),
      .values = { LIST(1, 2), LIST(0, 1, -1, 7) },
      .error = EBB_BAD_INDEX, .message = "index -1 at position [1,0] is not in 0..1" },
    { .inputs = EBB_INPUTS(T(F64, 2), T(U8, 2)), AXIS(0), .values = { LIST(1, 2), LIST(1, 255) },
      .error = EBB_BAD_INDEX, .message = "index 255 at position 1 is not in 0..1" },
    { .inputs = EBB_INPUTS(T(F64, 0, 2), T(I64, 1)), AXIS(0), .values = { LIST(0), LIST(0) },
      .error = EBB_BAD_INDEX, .message = "index 0 at position 0, and there are 0 elements" },
};
static const ebb_sample samples_gather_along_axis[] = {
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I64, 2, 2)), AXIS(1),
      .values = { LIST(1, 2, 3, 4, 5, 6), LIST(2, 0, 1, 1) }, .expected = LIST(3, 1, 5, 5),
      TAKE_ALONG },
    { .inputs = EBB_INPUTS(T(F64, 3, 3), T(I32, 2, 3)), AXIS(0),
      .values = { LIST(1, 2, 3, 4, 5, 6, 7, 8, 9), LIST(1, 2, 0, 2, 0, 0) },
      .expected = LIST(4, 8, 3, 7, 2, 3), .source = "ONNX GatherElements, second example" },
    { .inputs = EBB_INPUTS(T(BOOL, 3), T(U8, 2)), AXIS(0), .values = { LIST(0, 1, 0), LIST(1, 0) },
      .expected = LIST(1, 0), TAKE_ALONG },
    { .inputs = EBB_INPUTS(T(F64, 1), T(I64, 1)), AXIS(0), BELOW(1) },
    { .inputs = EBB_INPUTS(T(F64, 7), T(I32, 17)), AXIS(-1), BELOW(7) },
    { .inputs = EBB_INPUTS(T(F64, 17, 7), T(U8, 3, 7)), AXIS(0), BELOW(17) },
    { .inputs = EBB_INPUTS(T(F64, 7, 17), T(I64, 7, 1)), AXIS(1), BELOW(17) },
    { .inputs = EBB_INPUTS(T(F64, 2, 3, 4), T(I64, 2, 5, 4)), AXIS(1), BELOW(3) },
    { .inputs = EBB_INPUTS(T(F64, 2, 3, 4), T(I64, 1, 3, 4)), AXIS(0), BELOW(2) },
    { .inputs = EBB_INPUTS(T(F64, 3, 2), T(I64, 0, 2)), AXIS(0) },
    { .inputs = EBB_INPUTS(T(F64, 3, 0), T(I64, 2, 0)), AXIS(0) },
    { .inputs = EBB_INPUTS(T(F64, 0), T(I64, 0)), AXIS(0) },
    { .inputs = EBB_INPUTS(T(I64, 3, 5), T(I32, 3, 4)), AXIS(1),
      .range = EBB_RANGES({ -9, 9, 0, 0 }, { 0, 5, 0, 0 }) },
    { .inputs = EBB_INPUTS(T(U8, 4, 3), T(I64, 2, 3)), AXIS(0),
      .range = EBB_RANGES({ 0, 256, 0, 0 }, { 0, 4, 0, 0 }) },
    { .inputs = EBB_INPUTS(SCALAR(F64), SCALAR(I64)), AXIS(0), .error = EBB_BAD_AXIS,
      .message = "a scalar has none" },
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I64, 2, 3)), AXIS(-3), .error = EBB_BAD_AXIS,
      .message = "axis -3 is out of range for rank 2" },
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(F64, 2, 3)), AXIS(0), .error = EBB_BAD_DTYPE,
      .message = "indices: dtype f64 is not one of i64, i32, u8" },
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I64, 2)), AXIS(0), .error = EBB_BAD_SHAPE,
      .message = "indices have rank 1, what they pick from 2" },
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I64, 2, 2)), AXIS(0), .error = EBB_BAD_SHAPE,
      .message = "dimension 1 is 2 in the indices, 3 in what they pick from" },
    { .inputs = EBB_INPUTS(T(F64, 2, 2), T(I64, 2, 2)), AXIS(1),
      .values = { LIST(1, 2, 3, 4), LIST(0, 1, 2, -1) },
      .error = EBB_BAD_INDEX, .message = "index 2 at position [1,0] is not in 0..1" },
    { .inputs = EBB_INPUTS(T(F64, 2), T(I32, 2)), AXIS(0), .values = { LIST(1, 2), LIST(1, -2) },
      .error = EBB_BAD_INDEX, .message = "index -2 at position 1 is not in 0..1" },
};

#define GATHER(op_name, text, along)                                                               \
    const ebb_op ebb_op_##op_name = {                                                              \
        .name = #op_name, .summary = text, .group = "index", .n_inputs = 2, .n_results = 1,        \
        .traits = EBB_TRAIT_FALLIBLE, .attrs_bytes = sizeof(ebb_axis_attrs),                       \
        .attrs = ebb_index_fields, .infer = infer_gather, .vjp = vjp_gather, .eval = eval_gather,  \
        .user = &(const ebb_index_rules){ EBB_INDEX_GATHER, along },                               \
        .samples = samples_##op_name,                                                              \
        .n_samples = (int)(sizeof samples_##op_name / sizeof *samples_##op_name),                  \
    }
/* clang-format on */

GATHER(gather, "rows along an axis, by index", false);
GATHER(gather_along_axis, "elements along an axis, by an index for each", true);
