/* concat: values one behind the other along an axis; and stack, along a new one. */
#define EBB_NO_LOCATIONS
#include "graph/graph_build.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include <string.h>

static ebb_status infer_concat(const ebb_infer *infer)
{
    const ebb_axis_attrs *attrs = infer->attrs;
    const ebb_type *first = infer->inputs[0];
    ebb_status status = ebb_infer_axis(infer, attrs->axis, first->shape.rank);
    if (status)
        return status;
    const int axis = ebb_axis_of(attrs->axis, first->shape.rank);
    ebb_type result = *first;
    for (int i = 1; i < infer->n_inputs; i++) {
        const ebb_type *type = infer->inputs[i];
        if (type->dtype != first->dtype)
            return ebb_infer_fail(infer, EBB_BAD_DTYPE, "input %d is %s, input 0 is %s", i,
                                  ebb_dtype_name(type->dtype), ebb_dtype_name(first->dtype));
        if (type->shape.rank != first->shape.rank)
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "input %d has rank %d, input 0 has rank %d",
                                  i, type->shape.rank, first->shape.rank);
        for (int d = 0; d < type->shape.rank; d++)
            if (d != axis && type->shape.dims[d] != first->shape.dims[d])
                return ebb_infer_fail(
                    infer, EBB_BAD_SHAPE, "dimension %d of input %d is %lld, of input 0 it is %lld",
                    d, i, (long long)type->shape.dims[d], (long long)first->shape.dims[d]);
        if (__builtin_add_overflow(result.shape.dims[axis], type->shape.dims[axis],
                                   &result.shape.dims[axis]))
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "dimension %d gets too large", axis);
    }
    infer->results[0] = result;
    return ebb_infer_shape(infer, &result.shape);
}

static ebb_status eval_concat(const ebb_eval *eval)
{
    const ebb_type *type = &eval->results[0].type;
    const int axis = ebb_axis_of(((const ebb_axis_attrs *)eval->attrs)->axis, type->shape.rank);
    size_t inner_bytes = ebb_dtype_bytes(type->dtype);
    int64_t outer = 1;
    for (int d = 0; d < axis; d++)
        outer *= type->shape.dims[d];
    for (int d = axis + 1; d < type->shape.rank; d++)
        inner_bytes *= (size_t)type->shape.dims[d];
    char *to = eval->results[0].data;
    for (int64_t o = 0; o < outer; o++)
        for (int i = 0; i < eval->n_inputs; i++) {
            const ebb_tensor *x = &eval->inputs[i];
            const size_t bytes = (size_t)x->type.shape.dims[axis] * inner_bytes;
            if (bytes)
                memcpy(to, (const char *)x->data + (size_t)o * bytes, bytes);
            to += bytes;
        }
    return EBB_OK;
}

static void vjp_concat(const ebb_vjp *v)
{
    const int axis = ebb_axis_of(((const ebb_axis_attrs *)v->attrs)->axis,
                                 ebb_node_type(v->inputs[0])->shape.rank);
    int64_t at = 0;
    for (int i = 0; i < v->n_inputs; i++) {
        const int64_t end = at + ebb_node_type(v->inputs[i])->shape.dims[axis];
        if (v->needed[i])
            v->gradients[i] = ebb_slice_axis(v->cotangents[0], axis, at, end, 1);
        at = end;
    }
}

static ebb_node refuse_none(ebb_graph *graph, const char *what, int n)
{
    return ebb_graph_fail(graph, EBB_BAD_ARGUMENT, "%s: of %d nodes", what, n);
}

ebb_node(ebb_concat)(ebb_graph *graph, const ebb_node *nodes, int n, int axis)
{
    if (!nodes || n < 1)
        return refuse_none(graph, "concat", n);
    const int front = ebb_axis_of(axis, ebb_node_type(nodes[0])->shape.rank);
    if (n == 1 && front >= 0 && !ebb_node_is_none(nodes[0]) && nodes[0].graph == graph &&
        ebb_graph_status(graph) == EBB_OK)
        return nodes[0];
    const ebb_axis_attrs attrs = { front < 0 ? axis : front };
    return ebb_emit(graph, &ebb_op_concat, nodes, n, &attrs, NULL);
}

ebb_node(ebb_stack)(ebb_graph *graph, const ebb_node *nodes, int n, int axis)
{
    if (!nodes || n < 1)
        return refuse_none(graph, "stack", n);
    graph = graph ? graph : nodes[0].graph;
    const ebb_type *first = ebb_node_type(nodes[0]);
    if (first->shape.rank == EBB_MAX_RANK)
        return ebb_graph_fail(graph, EBB_BAD_SHAPE, "stack: the result would have rank %d",
                              EBB_MAX_RANK + 1);
    for (int i = 0; i < n; i++) {
        const ebb_type *type = ebb_node_type(nodes[i]);
        char a[EBB_NODE_TEXT_BYTES], b[EBB_NODE_TEXT_BYTES];
        if (ebb_node_is_none(nodes[i]) || nodes[i].graph != graph)
            return ebb_emit(graph, &ebb_op_concat, nodes, n, NULL, NULL); /* says so */
        if (!ebb_shape_equal(&type->shape, &first->shape))
            return ebb_graph_fail(graph, EBB_BAD_SHAPE,
                                  "stack: node %d has another shape than node 0: %s, %s", i,
                                  ebb_node_text(nodes[i], a), ebb_node_text(nodes[0], b));
    }
    const int rank = first->shape.rank + 1;
    if (!ebb_build_check_axis("stack", nodes[0], axis, rank))
        return (ebb_node){ graph, 0 };
    const ebb_allocator *allocator = ebb_graph_allocator(graph);
    const size_t bytes = (size_t)n * sizeof *nodes;
    ebb_node *slices = ebb_allocate(allocator, bytes);
    if (!slices)
        return ebb_graph_fail(graph, EBB_OUT_OF_MEMORY, "stack: out of memory for %d nodes", n);
    const ebb_axes axes = { 1, { ebb_axis_of(axis, rank) } };
    for (int i = 0; i < n; i++)
        slices[i] = ebb_unsqueeze(nodes[i], axes);
    ebb_node result = ebb_concat(graph, slices, n, axes.axes[0]);
    ebb_release(allocator, slices, bytes);
    return result;
}

static const ebb_attr_field concat_fields[] = {
    EBB_FIELD(ebb_axis_attrs, axis, I64, "the axis along which they follow; default 0"),
    { 0 },
};

/* clang-format off */
#define AXIS(axis) .attrs = &(const ebb_axis_attrs){ axis }
#define TYPE EBB_SAMPLE_TYPE
#define SCALAR EBB_SAMPLE_SCALAR
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define NUMPY "NumPy manual, numpy.concatenate, examples"
static const ebb_sample samples_concat[] = {
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 2, 2), TYPE(F64, 1, 2)), AXIS(0),
      .values = { LIST(1, 2, 3, 4), LIST(5, 6) }, .expected = LIST(1, 2, 3, 4, 5, 6),
      .source = NUMPY },
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 2, 2), TYPE(F64, 2, 1)), AXIS(1),
      .values = { LIST(1, 2, 3, 4), LIST(5, 6) }, .expected = LIST(1, 2, 5, 3, 4, 6),
      .source = NUMPY },
    { .n_inputs = 3, .inputs = EBB_INPUTS(TYPE(I64, 1), TYPE(I64, 0), TYPE(I64, 2)), AXIS(-1),
      .values = { LIST(1), LIST(0), LIST(2, 3) }, .expected = LIST(1, 2, 3),
      .source = "by the definition" },
    { .n_inputs = 1, .inputs = EBB_INPUTS(TYPE(F64, 7)), AXIS(0) },
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 0), TYPE(F64, 0)), AXIS(0) },
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 1), TYPE(F64, 17)), AXIS(0) },
    { .n_inputs = 4,
      .inputs = EBB_INPUTS(TYPE(F64, 3, 1), TYPE(F64, 3, 7), TYPE(F64, 3, 2), TYPE(F64, 3, 5)),
      AXIS(1) },
    { .n_inputs = 3,
      .inputs = EBB_INPUTS(TYPE(F64, 2, 1, 5), TYPE(F64, 2, 3, 5), TYPE(F64, 2, 2, 5)),
      AXIS(-2) },
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 2, 0, 3), TYPE(F64, 1, 0, 3)), AXIS(0) },
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 2, 0, 3), TYPE(F64, 2, 4, 3)), AXIS(1) },
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 2, 3, 1, 7), TYPE(F64, 2, 3, 1, 4)), AXIS(3) },
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(I32, 3, 2), TYPE(I32, 3, 5)), AXIS(1) },
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(U8, 3, 2), TYPE(U8, 1, 2)), AXIS(0) },
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(BOOL, 3), TYPE(BOOL, 4)), AXIS(0) },
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 2, 3), TYPE(F64, 2, 4)), AXIS(0),
      .error = EBB_BAD_SHAPE,
      .message = "dimension 1 of input 1 is 4, of input 0 it is 3" },
    { .n_inputs = 3, .inputs = EBB_INPUTS(TYPE(F64, 3), TYPE(F64, 3), TYPE(F64, 1, 3)), AXIS(0),
      .error = EBB_BAD_SHAPE, .message = "input 2 has rank 2, input 0 has rank 1" },
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 3), TYPE(I32, 3)), AXIS(0),
      .error = EBB_BAD_DTYPE,
      .message = "input 1 is i32, input 0 is f" },
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 3), TYPE(F64, 3)), AXIS(1),
      .error = EBB_BAD_AXIS,
      .message = "axis 1 is out of range for rank 1" },
    { .n_inputs = 2, .inputs = EBB_INPUTS(SCALAR(F64), SCALAR(F64)), AXIS(0), .error = EBB_BAD_AXIS,
      .message = "a scalar has none" },
    { .n_inputs = 3,
      .inputs = EBB_INPUTS(TYPE(U8, INT64_C(1) << 57), TYPE(U8, INT64_C(1) << 57), TYPE(U8, 1)),
      AXIS(0), .error = EBB_BAD_SHAPE, .message = "too many elements" },
};
/* clang-format on */

const ebb_op ebb_op_concat = {
    .name = "concat",
    .summary = "one behind the other along an axis",
    .group = "shape",
    .n_inputs = EBB_VARIADIC,
    .n_results = 1,
    .attrs_bytes = sizeof(ebb_axis_attrs),
    .attrs = concat_fields,
    .infer = infer_concat,
    .vjp = vjp_concat,
    .eval = eval_concat,
    .samples = samples_concat,
    .n_samples = (int)(sizeof samples_concat / sizeof *samples_concat),
};
