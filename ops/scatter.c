/* scatter and scatter_add, of rows and along an axis: writing and adding by index. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/index.h"
#include <string.h>

static ebb_status infer_scatter(const ebb_infer *infer)
{
    const ebb_index_rules *rules = infer->op->user;
    const ebb_type *x = infer->inputs[0], *updates = infer->inputs[2];
    ebb_shape picked;
    ebb_status status = ebb_index_infer(infer, &picked);
    if (status)
        return status;
    if (rules->action == EBB_INDEX_ADD && x->dtype == EBB_BOOL)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "dtype bool is no number");
    if (x->dtype != updates->dtype)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "dtypes differ: %s, updates %s",
                              ebb_dtype_name(x->dtype), ebb_dtype_name(updates->dtype));
    char have[EBB_TYPE_TEXT_BYTES], want[EBB_TYPE_TEXT_BYTES];
    if (!ebb_shape_equal(&updates->shape, &picked))
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "updates are %s, the indices pick %s",
                              ebb_shape_text(&updates->shape, have), ebb_shape_text(&picked, want));
    infer->results[0] = *x;
    return EBB_OK;
}

/* ---- reference kernels ---- */

/* A is T, or unsigned where T is an integer, which wraps. */
#define ADD(name, T, A)                                                                            \
    static void name(void *to, const void *from)                                                   \
    {                                                                                              \
        *(T *)to = (T)((A) * (T *)to + (A) * (const T *)from);                                     \
    }
ADD(add_f64, double, double)
ADD(add_f32, float, float)
ADD(add_i64, int64_t, uint64_t)
ADD(add_i32, int32_t, uint32_t)
ADD(add_u8, uint8_t, unsigned)

static void (*const adds[EBB_N_DTYPES])(void *, const void *) = {
    [EBB_F64] = add_f64, [EBB_F32] = add_f32, [EBB_I64] = add_i64,
    [EBB_I32] = add_i32, [EBB_U8] = add_u8,
};

static ebb_status eval_scatter(const ebb_eval *eval)
{
    const ebb_axis_attrs *attrs = eval->attrs;
    const ebb_index_rules *rules = eval->op->user;
    const ebb_tensor *x = &eval->inputs[0], *indices = &eval->inputs[1];
    const ebb_index_plan plan =
        ebb_index_plan_make(eval->op, &x->type.shape, &indices->type.shape, attrs->axis);
    ebb_status status = ebb_index_check(indices, plan.n, "index", eval->error);
    if (status || ebb_tensor_bytes(x) == 0)
        return status;
    const int64_t bytes = (int64_t)ebb_dtype_bytes(x->type.dtype);
    const char *from = eval->inputs[2].data;
    memcpy(eval->results[0].data, x->data, ebb_tensor_bytes(x));
    for (int64_t at = 0; at < plan.n_picked; at++, from += bytes) {
        const int64_t o = at / plan.n_inner / plan.n_indices, i = at % plan.n_inner;
        const int64_t j = at / plan.n_inner % plan.n_indices;
        const int64_t index = ebb_index_at(indices, plan.is_along ? at : j);
        char *to =
            (char *)eval->results[0].data + ((o * plan.n + index) * plan.n_inner + i) * bytes;
        if (rules->action == EBB_INDEX_ADD)
            adds[x->type.dtype](to, from);
        else
            memcpy(to, from, (size_t)bytes);
    }
    return EBB_OK;
}

/* ---- gradients ---- */

static ebb_node pick(const ebb_vjp *v, ebb_node from, int64_t axis)
{
    const ebb_index_rules *rules = v->op->user;
    return (rules->is_along ? ebb_gather_along_axis : ebb_gather)(from, v->inputs[1], (int)axis);
}

static void vjp_scatter_add(const ebb_vjp *v)
{
    const ebb_axis_attrs *attrs = v->attrs;
    if (!ebb_index_has_gradient(v))
        return;
    if (v->needed[0])
        v->gradients[0] = v->cotangents[0];
    if (v->needed[2])
        v->gradients[2] = pick(v, v->cotangents[0], attrs->axis);
}

/* Where an index is the last one of its value, whose update stays: BOOL, of the updates' shape. The
 * positions of the indices are scattered in the place of the updates, and picked again. */
static ebb_node find_last(const ebb_vjp *v, int axis)
{
    const ebb_index_rules *rules = v->op->user;
    const ebb_shape *x = &ebb_node_type(v->inputs[0])->shape;
    const ebb_shape *indices = &ebb_node_type(v->inputs[1])->shape;
    const ebb_shape *updates = &ebb_node_type(v->inputs[2])->shape;
    if (rules->is_along) {
        ebb_node position = ebb_iota(v->graph, EBB_I64, *indices, axis);
        ebb_node last = ebb_scatter_along_axis(ebb_full(v->graph, EBB_I64, *x, 0), v->inputs[1],
                                               position, axis);
        return ebb_equal(ebb_gather_along_axis(last, v->inputs[1], axis), position);
    }
    ebb_node count = ebb_iota(v->graph, EBB_I64, EBB_SHAPE(ebb_shape_elements(indices)), 0);
    ebb_node position = ebb_reshape(count, *indices);
    ebb_node none = ebb_full(v->graph, EBB_I64, EBB_SHAPE(x->dims[axis]), 0);
    ebb_node last = ebb_scatter(none, v->inputs[1], position, 0);
    ebb_node is_last = ebb_equal(ebb_gather(last, v->inputs[1], 0), position);
    ebb_shape spread = *updates;
    for (int i = 0; i < spread.rank; i++)
        if (i < axis || i >= axis + indices->rank)
            spread.dims[i] = 1;
    return ebb_broadcast_to(ebb_reshape(is_last, spread), *updates);
}

static void vjp_scatter(const ebb_vjp *v)
{
    const ebb_index_rules *rules = v->op->user;
    const int axis = ebb_axis_of(((const ebb_axis_attrs *)v->attrs)->axis,
                                 ebb_node_type(v->inputs[0])->shape.rank);
    if (!ebb_index_has_gradient(v))
        return;
    ebb_node g = v->cotangents[0], zeros = ebb_full_like(v->inputs[2], 0);
    if (v->needed[0])
        v->gradients[0] =
            (rules->is_along ? ebb_scatter_along_axis : ebb_scatter)(g, v->inputs[1], zeros, axis);
    if (v->needed[2])
        v->gradients[2] = ebb_select(find_last(v, axis), pick(v, g, axis), zeros);
}

/* ---- builders ---- */

#define BUILDER(name)                                                                              \
    ebb_node(ebb_##name)(ebb_node x, ebb_node indices, ebb_node updates, int axis)                 \
    {                                                                                              \
        return ebb_index_emit(&ebb_op_##name, (ebb_node[]){ x, indices, updates }, 3, axis);       \
    }
BUILDER(scatter)
BUILDER(scatter_add)
BUILDER(scatter_along_axis)
BUILDER(scatter_add_along_axis)

/* ---- data ---- */

/* clang-format off */
#define AXIS(axis) .attrs = &(const ebb_axis_attrs){ axis }
#define T(...) EBB_SAMPLE_TYPE(__VA_ARGS__)
#define SCALAR(dtype) EBB_SAMPLE_SCALAR(dtype)
#define BELOW(n) .range = EBB_RANGES([1] = { 0, n, 0, 0 })
#define INTEGERS(low, high, n)                                                                     \
    .range = EBB_RANGES({ low, high, 0, 0 }, { 0, n, 0, 0 }, { low, high, 0, 0 })
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define ROW_SAMPLES                                                                                \
    { .inputs = EBB_INPUTS(T(F64, 3), SCALAR(I64), SCALAR(F64)), AXIS(0), BELOW(3) },              \
    { .inputs = EBB_INPUTS(T(F64, 1), T(I64, 1), T(F64, 1)), AXIS(0), BELOW(1) },                  \
    { .inputs = EBB_INPUTS(T(F64, 7), T(I32, 17), T(F64, 17)), AXIS(0), BELOW(7) },                \
    { .inputs = EBB_INPUTS(T(F64, 17), T(U8, 7), T(F64, 7)), AXIS(-1), BELOW(17) },                \
    { .inputs = EBB_INPUTS(T(F64, 7, 3), T(I64, 4), T(F64, 4, 3)), AXIS(0), BELOW(7) },            \
    { .inputs = EBB_INPUTS(T(F64, 3, 7), T(I64, 4), T(F64, 3, 4)), AXIS(1), BELOW(7) },            \
    { .inputs = EBB_INPUTS(T(F64, 2, 3, 4), T(I64, 2, 5), T(F64, 2, 2, 5, 4)), AXIS(1),            \
      BELOW(3) },                                                                                  \
    { .inputs = EBB_INPUTS(T(F64, 2, 1, 3), T(I64, 2, 1), T(F64, 2, 1, 2, 1)), AXIS(2),            \
      BELOW(3) },                                                                                  \
    { .inputs = EBB_INPUTS(T(F64, 3, 2), T(I64, 0), T(F64, 0, 2)), AXIS(0) },                      \
    { .inputs = EBB_INPUTS(T(F64, 0, 2), T(I64, 0, 3), T(F64, 0, 3, 2)), AXIS(0) },                \
    { .inputs = EBB_INPUTS(T(F64, 3, 0), T(I64, 4), T(F64, 4, 0)), AXIS(0), BELOW(3) },            \
    { .inputs = EBB_INPUTS(T(I64, 3, 5), T(I32, 4), T(I64, 3, 4)), AXIS(1), INTEGERS(-9, 9, 5) },  \
    { .inputs = EBB_INPUTS(T(I32, 5, 3), T(U8, 9), T(I32, 9, 3)), AXIS(0), INTEGERS(-9, 9, 5) },   \
    { .inputs = EBB_INPUTS(T(U8, 4), T(I64, 9), T(U8, 9)), AXIS(0), INTEGERS(0, 256, 4) },         \
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I64, 2), T(F64, 2, 3)), AXIS(2), .error = EBB_BAD_AXIS, \
      .message = "axis 2 is out of range for rank 2" },                                            \
    { .inputs = EBB_INPUTS(SCALAR(F64), T(I64, 1), T(F64, 1)), AXIS(0), .error = EBB_BAD_AXIS,     \
      .message = "a scalar has none" },                                                            \
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(F64, 2), T(F64, 2, 3)), AXIS(0),                        \
      .error = EBB_BAD_DTYPE,                                                                      \
      .message = "indices: dtype f64 is not one of i64, i32, u8" },                                \
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I64, 2), T(I64, 2, 3)), AXIS(0),                        \
      .error = EBB_BAD_DTYPE,                                                                      \
      .message = "dtypes differ: f64, updates i64" },                                              \
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I64, 4), T(F64, 2, 3)), AXIS(0),                        \
      .error = EBB_BAD_SHAPE,                                                                      \
      .message = "updates are [2,3], the indices pick [4,3]" },                                    \
    { .inputs = EBB_INPUTS(T(F64, 1, 1, 1, 1, 1), T(I64, 1, 1, 1, 1, 1), T(F64, 1)), AXIS(0),      \
      .error = EBB_BAD_SHAPE, .message = "what is picked would have rank 9" },                     \
    { .inputs = EBB_INPUTS(T(F64, 3), T(I64, 3), T(F64, 3)), AXIS(0),                              \
      .values = { LIST(1, 2, 3), LIST(0, 3, -1), LIST(1, 1, 1) }, .error = EBB_BAD_INDEX,          \
      .message = "index 3 at position 1 is not in 0..2" },                                         \
    { .inputs = EBB_INPUTS(T(F64, 2), T(I32, 2, 2), T(F64, 2, 2)), AXIS(0),                        \
      .values = { LIST(1, 2), LIST(0, 1, -1, 7), LIST(1, 1, 1, 1) }, .error = EBB_BAD_INDEX,       \
      .message = "index -1 at position [1,0] is not in 0..1" },                                    \
    { .inputs = EBB_INPUTS(T(F64, 0), T(I64, 1), T(F64, 1)), AXIS(0),                              \
      .values = { LIST(0), LIST(0), LIST(1) }, .error = EBB_BAD_INDEX,                             \
      .message = "index 0 at position 0, and there are 0 elements" }
#define ALONG_SAMPLES                                                                              \
    { .inputs = EBB_INPUTS(T(F64, 1), T(I64, 1), T(F64, 1)), AXIS(0), BELOW(1) },                  \
    { .inputs = EBB_INPUTS(T(F64, 7), T(I32, 17), T(F64, 17)), AXIS(0), BELOW(7) },                \
    { .inputs = EBB_INPUTS(T(F64, 17, 2), T(U8, 7, 2), T(F64, 7, 2)), AXIS(0), BELOW(17) },        \
    { .inputs = EBB_INPUTS(T(F64, 3, 7), T(I64, 3, 4), T(F64, 3, 4)), AXIS(-1), BELOW(7) },        \
    { .inputs = EBB_INPUTS(T(F64, 2, 3, 4), T(I64, 2, 5, 4), T(F64, 2, 5, 4)), AXIS(1),            \
      BELOW(3) },                                                                                  \
    { .inputs = EBB_INPUTS(T(F64, 2, 3, 4), T(I64, 1, 3, 4), T(F64, 1, 3, 4)), AXIS(0),            \
      BELOW(2) },                                                                                  \
    { .inputs = EBB_INPUTS(T(F64, 3, 2), T(I64, 0, 2), T(F64, 0, 2)), AXIS(0) },                   \
    { .inputs = EBB_INPUTS(T(F64, 3, 0), T(I64, 2, 0), T(F64, 2, 0)), AXIS(0) },                   \
    { .inputs = EBB_INPUTS(T(F64, 0), T(I64, 0), T(F64, 0)), AXIS(0) },                            \
    { .inputs = EBB_INPUTS(T(I64, 3, 5), T(I32, 3, 4), T(I64, 3, 4)), AXIS(1),                     \
      INTEGERS(-9, 9, 5) },                                                                        \
    { .inputs = EBB_INPUTS(T(I32, 5, 3), T(U8, 9, 3), T(I32, 9, 3)), AXIS(0),                      \
      INTEGERS(-9, 9, 5) },                                                                        \
    { .inputs = EBB_INPUTS(T(U8, 4), T(I64, 9), T(U8, 9)), AXIS(0), INTEGERS(0, 256, 4) },         \
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I64, 2, 3), T(F64, 2, 3)), AXIS(-3),                    \
      .error = EBB_BAD_AXIS,                                                                       \
      .message = "axis -3 is out of range for rank 2" },                                           \
    { .inputs = EBB_INPUTS(SCALAR(F64), SCALAR(I64), SCALAR(F64)), AXIS(0), .error = EBB_BAD_AXIS, \
      .message = "a scalar has none" },                                                            \
    { .inputs = EBB_INPUTS(T(F64, 2), T(BOOL, 2), T(F64, 2)), AXIS(0), .error = EBB_BAD_DTYPE,     \
      .message = "indices: dtype bool is not one of i64, i32, u8" },                               \
    { .inputs = EBB_INPUTS(T(F64, 2), T(I64, 2), T(I32, 2)), AXIS(0), .error = EBB_BAD_DTYPE,      \
      .message = "dtypes differ: f64, updates i32" },                                              \
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I64, 2), T(F64, 2)), AXIS(0), .error = EBB_BAD_SHAPE,   \
      .message = "indices have rank 1, what they pick from 2" },                                   \
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I64, 2, 2), T(F64, 2, 2)), AXIS(0),                     \
      .error = EBB_BAD_SHAPE,                                                                      \
      .message = "dimension 1 is 2 in the indices, 3 in what they pick from" },                    \
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I64, 2, 2), T(F64, 2, 3)), AXIS(1),                     \
      .error = EBB_BAD_SHAPE,                                                                      \
      .message = "updates are [2,3], the indices pick [2,2]" },                                    \
    { .inputs = EBB_INPUTS(T(F64, 2, 2), T(I64, 2, 2), T(F64, 2, 2)), AXIS(1),                     \
      .values = { LIST(1, 2, 3, 4), LIST(0, 1, 2, -1), LIST(1, 1, 1, 1) },                         \
      .error = EBB_BAD_INDEX, .message = "index 2 at position [1,0] is not in 0..1" }
#define NO_BOOLS(...)                                                                              \
    { .inputs = EBB_INPUTS(T(BOOL, 2), T(I64, 2), T(BOOL, 2)), AXIS(0), .error = EBB_BAD_DTYPE,    \
      .message = "dtype bool is no number" }
static const ebb_sample samples_scatter[] = {
    ROW_SAMPLES,
    { .inputs = EBB_INPUTS(T(F64, 3, 2), T(I64, 3), T(F64, 3, 2)), AXIS(0),
      .values = { LIST(1, 2, 3, 4, 5, 6), LIST(2, 0, 2), LIST(10, 20, 30, 40, 50, 60) },
      .expected = LIST(30, 40, 3, 4, 50, 60), /* the last of equal indices stays */
      .source = "numpy: x[i] = u; ONNX ScatterND" },
    { .inputs = EBB_INPUTS(T(BOOL, 3), T(I32, 1), T(BOOL, 1)), AXIS(0),
      .values = { LIST(0, 0, 1), LIST(1), LIST(1) }, .expected = LIST(0, 1, 1),
      .source = "numpy: x[i] = u" },
    { .inputs = EBB_INPUTS(T(F64, 2, 3), SCALAR(I64), T(F64, 2)), AXIS(1),
      .values = { LIST(1, 2, 3, 4, 5, 6), LIST(1), LIST(7, 8) },
      .expected = LIST(1, 7, 3, 4, 8, 6), .source = "numpy: x[:, i] = u" },
};
static const ebb_sample samples_scatter_add[] = {
    ROW_SAMPLES, NO_BOOLS(),
    { .inputs = EBB_INPUTS(T(F64, 3, 2), T(I64, 3), T(F64, 3, 2)), AXIS(0),
      .values = { LIST(1, 2, 3, 4, 5, 6), LIST(2, 0, 2), LIST(10, 20, 30, 40, 50, 60) },
      .expected = LIST(31, 42, 3, 4, 65, 86), .source = "numpy.add.at" },
    { .inputs = EBB_INPUTS(T(U8, 2), T(I32, 3), T(U8, 3)), AXIS(0),
      .values = { LIST(200, 1), LIST(0, 1, 0), LIST(50, 5, 7) }, .expected = LIST(1, 6), /* wraps */
      .source = "numpy.add.at" },
    { .inputs = EBB_INPUTS(T(F64, 2, 3), SCALAR(I64), T(F64, 2)), AXIS(1),
      .values = { LIST(1, 2, 3, 4, 5, 6), LIST(1), LIST(7, 8) },
      .expected = LIST(1, 9, 3, 4, 13, 6), .source = "numpy.add.at" },
};
static const ebb_sample samples_scatter_along_axis[] = {
    ALONG_SAMPLES,
    { .inputs = EBB_INPUTS(T(F64, 1, 5), T(I64, 1, 2), T(F64, 1, 2)), AXIS(1),
      .values = { LIST(1, 2, 3, 4, 5), LIST(1, 3), LIST(1.1, 2.1) },
      .expected = LIST(1, 1.1, 3, 2.1, 5), .tolerance = 1e-6, /* of F32 inputs */
      .source = "ONNX ScatterElements, second example" },
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I32, 2, 2), T(F64, 2, 2)), AXIS(1),
      .values = { LIST(1, 2, 3, 4, 5, 6), LIST(2, 2, 0, 1), LIST(10, 20, 30, 40) },
      .expected = LIST(1, 2, 20, 30, 40, 6), .source = "numpy.put_along_axis" },
    { .inputs = EBB_INPUTS(T(BOOL, 3), T(I32, 1), T(BOOL, 1)), AXIS(0),
      .values = { LIST(0, 0, 1), LIST(1), LIST(1) }, .expected = LIST(0, 1, 1),
      .source = "numpy.put_along_axis" },
};
static const ebb_sample samples_scatter_add_along_axis[] = {
    ALONG_SAMPLES, NO_BOOLS(),
    { .inputs = EBB_INPUTS(T(F64, 1, 5), T(I64, 1, 2), T(F64, 1, 2)), AXIS(1),
      .values = { LIST(1, 2, 3, 4, 5), LIST(1, 1), LIST(1.1, 2.1) },
      .expected = LIST(1, 5.2, 3, 4, 5), .tolerance = 1e-6, /* of F32 inputs */
      .source = "ONNX ScatterElements with reduction add" },
    { .inputs = EBB_INPUTS(T(F64, 2, 3), T(I32, 2, 2), T(F64, 2, 2)), AXIS(1),
      .values = { LIST(1, 2, 3, 4, 5, 6), LIST(2, 2, 0, 1), LIST(10, 20, 30, 40) },
      .expected = LIST(1, 2, 33, 34, 45, 6), .source = "numpy.add.at" },
};

#define SCATTER(op_name, text, action, along, vjp_of)                                              \
    const ebb_op ebb_op_##op_name = {                                                              \
        .name = #op_name, .summary = text, .group = "index", .n_inputs = 3, .n_results = 1,        \
        .traits = EBB_TRAIT_FALLIBLE, .attrs_bytes = sizeof(ebb_axis_attrs),                       \
        .attrs = ebb_index_fields, .infer = infer_scatter, .vjp = vjp_of, .eval = eval_scatter,    \
        .user = &(const ebb_index_rules){ EBB_INDEX_##action, along },                             \
        .samples = samples_##op_name,                                                              \
        .n_samples = (int)(sizeof samples_##op_name / sizeof *samples_##op_name),                  \
    }
/* clang-format on */

SCATTER(scatter, "x with rows along an axis replaced, by index; the last of equal indices stays",
        PUT, false, vjp_scatter);
SCATTER(scatter_add, "x with updates added to rows along an axis, by index", ADD, false,
        vjp_scatter_add);
SCATTER(scatter_along_axis, "x with elements along an axis replaced, by an index for each", PUT,
        true, vjp_scatter);
SCATTER(scatter_add_along_axis, "x with updates added along an axis, by an index for each", ADD,
        true, vjp_scatter_add);
