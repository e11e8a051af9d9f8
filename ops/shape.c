/* Ops that only look differently at their input: reshape, transpose, broadcast_to. The view rule is
 * the definition; eval copies what it shows. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"

ebb_status ebb_view_eval(const ebb_eval *eval)
{
    const ebb_tensor *x = &eval->inputs[0], *result = &eval->results[0];
    ebb_layout dense = ebb_layout_dense(&x->type.shape), shown;
    ebb_view view = { eval->op, eval->attrs, &x->type.shape, &result->type.shape, &dense, &shown };
    if (!eval->op->view(&view))
        return ebb_fail(eval->error, EBB_INTERNAL, "%s: no view of a dense value", eval->op->name);
    ebb_layout_copy(result->data, x->data, &shown, &result->type.shape,
                    ebb_dtype_bytes(x->type.dtype));
    return EBB_OK;
}

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])
#define DESCRIPTOR(op_name, text, attrs_type)                                                      \
    const ebb_op ebb_op_##op_name = {                                                              \
        .name = #op_name,                                                                          \
        .summary = text,                                                                           \
        .group = "shape",                                                                          \
        .n_inputs = 1,                                                                             \
        .n_results = 1,                                                                            \
        .traits = EBB_TRAIT_VIEW,                                                                  \
        .attrs_bytes = sizeof(attrs_type),                                                         \
        .attrs = fields_##op_name,                                                                 \
        .infer = infer_##op_name,                                                                  \
        .vjp = vjp_##op_name,                                                                      \
        .eval = ebb_view_eval,                                                                     \
        .view = view_##op_name,                                                                    \
        .samples = samples_##op_name,                                                              \
        .n_samples = COUNT(samples_##op_name),                                                     \
    }

/* clang-format off */
#define SHAPE(...)                                                                                 \
    .attrs = &(const ebb_shape_attrs){                                                             \
        { (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), { __VA_ARGS__ } } }
#define NO_DIMS .attrs = &(const ebb_shape_attrs){ { 0, { 0 } } }
#define IN(dtype, ...) .inputs = EBB_INPUTS(EBB_SAMPLE_TYPE(dtype, __VA_ARGS__))
#define IN_SCALAR(dtype) .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(dtype))
/* clang-format on */

/* ---- reshape ---- */

static ebb_status infer_reshape(const ebb_infer *infer)
{
    const ebb_shape *shape = &((const ebb_shape_attrs *)infer->attrs)->shape;
    ebb_status status = ebb_infer_shape(infer, shape);
    if (status)
        return status;
    int64_t n = ebb_shape_elements(&infer->inputs[0]->shape);
    if (ebb_shape_elements(shape) != n) {
        char text[EBB_TYPE_TEXT_BYTES];
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "%lld elements do not fill shape %s",
                              (long long)n, ebb_shape_text(shape, text));
    }
    infer->results[0] = (ebb_type){ infer->inputs[0]->dtype, *shape };
    return EBB_OK;
}

/* A run of input dimensions and a run of result dimensions with equal numbers of elements can be
 * matched if the input's run has one common stride; smallest runs first. */
static bool view_reshape(const ebb_view *view)
{
    const ebb_shape *in = view->input, *out = view->result;
    const int64_t *strides = view->input_layout->strides;
    *view->result_layout = ebb_layout_dense(out);
    view->result_layout->offset = view->input_layout->offset;
    if (ebb_shape_elements(in) == 0 || ebb_layout_is_dense(view->input_layout, in))
        return true;
    int i = 0, o = 0;
    while (i < in->rank || o < out->rank) {
        int i_end = i, o_end = o;
        int64_t n_in = i < in->rank ? in->dims[i_end++] : 1;
        int64_t n_out = o < out->rank ? out->dims[o_end++] : 1;
        while (n_in != n_out) {
            if (n_in < n_out)
                n_in *= in->dims[i_end++];
            else
                n_out *= out->dims[o_end++];
        }
        int64_t stride = 0, expected = -1;
        for (int d = i_end - 1; d >= i; d--) {
            if (in->dims[d] == 1)
                continue;
            if (expected < 0)
                stride = strides[d];
            else if (strides[d] != stride * expected)
                return false;
            expected = expected < 0 ? in->dims[d] : expected * in->dims[d];
        }
        for (int d = o_end - 1; d >= o; d--) {
            view->result_layout->strides[d] = stride;
            stride *= out->dims[d];
        }
        i = i_end;
        o = o_end;
    }
    return true;
}

static void vjp_reshape(const ebb_vjp *v)
{
    if (v->needed[0])
        v->gradients[0] = ebb_reshape(v->cotangents[0], ebb_node_type(v->inputs[0])->shape);
}

ebb_node(ebb_reshape)(ebb_node x, ebb_shape shape)
{
    int64_t n = ebb_shape_elements(&ebb_node_type(x)->shape), rest = 1;
    int unknown = -1, n_unknown = 0;
    for (int i = 0; i < shape.rank && i < EBB_MAX_RANK; i++) {
        if (shape.dims[i] == -1) {
            unknown = i;
            n_unknown++;
        } else if (__builtin_mul_overflow(rest, shape.dims[i], &rest)) {
            rest = 0;
        }
    }
    if (n_unknown && !ebb_node_is_none(x)) {
        char text[EBB_TYPE_TEXT_BYTES], input[EBB_NODE_TEXT_BYTES];
        if (n_unknown > 1 || rest <= 0 || n % rest)
            return ebb_graph_fail(x.graph, EBB_BAD_SHAPE, "reshape: %s in shape %s: %s",
                                  n_unknown > 1 ? "more than one -1"
                                                : "there is no size in place of -1",
                                  ebb_shape_text(&shape, text), ebb_node_text(x, input));
        shape.dims[unknown] = n / rest;
    }
    if (ebb_shape_equal(&shape, &ebb_node_type(x)->shape) && !ebb_node_is_none(x))
        return x;
    ebb_shape_attrs attrs = { shape };
    return ebb_emit(NULL, &ebb_op_reshape, &x, 1, &attrs, NULL);
}

static const ebb_attr_field fields_reshape[] = {
    EBB_FIELD(ebb_shape_attrs, shape, SHAPE, "shape of the result, with as many elements"),
    { 0 },
};

/* clang-format off */
static const ebb_sample samples_reshape[] = {
    { IN(F64, 2, 3), SHAPE(3, 2), .values = { (const double[]){ 1, 2, 3, 4, 5, 6 } },
      .expected = (const double[]){ 1, 2, 3, 4, 5, 6 }, .source = "by the definition" },
    { IN_SCALAR(F64), SHAPE(1, 1) }, { IN(F64, 1), NO_DIMS }, { IN(F64, 0, 3), SHAPE(7, 0) },
    { IN(F64, 17), SHAPE(17, 1) }, { IN(F64, 2, 3, 7), SHAPE(6, 7) },
    { IN(F64, 4, 1, 6), SHAPE(2, 2, 3, 2) }, { IN(F64, 2, 0, 3), SHAPE(0) },
    { IN(F64, 1, 7), SHAPE(1, 1, 1, 7, 1, 1, 1, 1) },
    { IN(I32, 2, 3), SHAPE(6) }, { IN(U8, 7), SHAPE(7, 1) }, { IN(BOOL, 4), SHAPE(2, 2) },
    { IN(I64, 4), SHAPE(2, 2) },
    { IN(F64, 2, 3), SHAPE(4), .error = EBB_BAD_SHAPE,
      .message = "6 elements do not fill shape [4]" },
    { IN(F64, 2, 3), SHAPE(-1, 3), .error = EBB_BAD_SHAPE,
      .message = "dimension 0 of shape [-1,3] is negative" },
    { IN(F64, 1), .attrs = &(const ebb_shape_attrs){ { 9, { 1, 1, 1, 1, 1, 1, 1, 1 } } },
      .error = EBB_BAD_SHAPE, .message = "a shape of rank 9" },
};
/* clang-format on */

DESCRIPTOR(reshape, "the same elements in the same order in another shape", ebb_shape_attrs);

/* ---- transpose ---- */

/* The axes with none left out; `axes` is valid. */
static ebb_axes full_axes(const ebb_axes *axes, int rank)
{
    ebb_axes full = { .n = rank };
    for (int i = 0; i < rank; i++)
        full.axes[i] = axes->n ? ebb_axis_of(axes->axes[i], rank) : rank - 1 - i;
    return full;
}

static ebb_status infer_transpose(const ebb_infer *infer)
{
    const ebb_axes *axes = &((const ebb_transpose_attrs *)infer->attrs)->axes;
    const ebb_shape *in = &infer->inputs[0]->shape;
    ebb_status status = ebb_infer_axes(infer, axes, in->rank);
    if (status)
        return status;
    if (axes->n && axes->n != in->rank)
        return ebb_infer_fail(infer, EBB_BAD_AXIS, "%d axes for rank %d", axes->n, in->rank);
    ebb_axes full = full_axes(axes, in->rank);
    infer->results[0] = *infer->inputs[0];
    for (int i = 0; i < in->rank; i++)
        infer->results[0].shape.dims[i] = in->dims[full.axes[i]];
    return EBB_OK;
}

static bool view_transpose(const ebb_view *view)
{
    ebb_axes full = full_axes(&((const ebb_transpose_attrs *)view->attrs)->axes, view->input->rank);
    ebb_layout layout = { .offset = view->input_layout->offset };
    for (int i = 0; i < full.n; i++)
        layout.strides[i] = view->input_layout->strides[full.axes[i]];
    *view->result_layout = layout;
    return true;
}

static void vjp_transpose(const ebb_vjp *v)
{
    if (!v->needed[0])
        return;
    ebb_axes full = full_axes(&((const ebb_transpose_attrs *)v->attrs)->axes,
                              ebb_node_type(v->inputs[0])->shape.rank);
    ebb_axes back = { .n = full.n };
    for (int i = 0; i < full.n; i++)
        back.axes[full.axes[i]] = i;
    v->gradients[0] = ebb_transpose(v->cotangents[0], back);
}

ebb_node(ebb_transpose)(ebb_node x, ebb_axes axes)
{
    int rank = ebb_node_type(x)->shape.rank;
    ebb_axes sorted = ebb_build_axes(axes, rank);
    ebb_transpose_attrs attrs = { axes };
    bool is_permutation = sorted.n == rank && (axes.n == rank || axes.n == 0), moves = false;
    for (int i = 0; i < rank && is_permutation; i++)
        is_permutation = sorted.axes[i] == i;
    if (is_permutation) {
        attrs.axes = full_axes(&axes, rank);
        for (int i = 0; i < rank; i++)
            moves = moves || attrs.axes.axes[i] != i;
        if (!moves && !ebb_node_is_none(x))
            return x;
    }
    return ebb_emit(NULL, &ebb_op_transpose, &x, 1, &attrs, NULL);
}

static const ebb_attr_field fields_transpose[] = {
    EBB_FIELD(ebb_transpose_attrs, axes, AXES,
              "dimension i of the result is dimension axes[i]; none: reversed"),
    { 0 },
};

/* clang-format off */
#define AXES(...)                                                                                  \
    .attrs = &(const ebb_transpose_attrs){                                                         \
        { (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)), { __VA_ARGS__ } } }
static const ebb_sample samples_transpose[] = {
    { IN(F64, 2, 3), AXES(1, 0), .values = { (const double[]){ 1, 2, 3, 4, 5, 6 } },
      .expected = (const double[]){ 1, 4, 2, 5, 3, 6 }, .source = "by the definition" },
    { IN(I64, 1, 2, 3), .values = { (const double[]){ 1, 2, 3, 4, 5, 6 } },
      .expected = (const double[]){ 1, 4, 2, 5, 3, 6 }, .source = "by the definition" },
    { IN_SCALAR(F64) }, { IN(F64, 7) }, { IN(F64, 0, 3), AXES(1, 0) },
    { IN(F64, 1, 17), AXES(-1, -2) },
    { IN(F64, 2, 3, 5), AXES(2, 0, 1) }, { IN(F64, 2, 3, 1, 7), AXES(3, 0, 2, 1) },
    { IN(F64, 7, 1, 2, 2, 3), AXES(1, 4, 2, 0, 3) },
    { IN(I32, 3, 5), AXES(1, 0) }, { IN(U8, 3, 5), AXES(1, 0) }, { IN(BOOL, 2, 3), AXES(1, 0) },
    { IN(F64, 2, 3), AXES(1, 2), .error = EBB_BAD_AXIS,
      .message = "axis 2 is out of range for rank 2" },
    { IN(F64, 2, 3), AXES(1, -1), .error = EBB_BAD_AXIS, .message = "axis -1 is repeated" },
    { IN(F64, 2, 3), AXES(1), .error = EBB_BAD_AXIS, .message = "1 axes for rank 2" },
    { IN(F64, 3), .attrs = &(const ebb_transpose_attrs){ { 9, { 0 } } }, .error = EBB_BAD_AXIS,
      .message = "a list of 9 axes" },
};
/* clang-format on */

DESCRIPTOR(transpose, "the dimensions in another order", ebb_transpose_attrs);

/* ---- broadcast_to ---- */

static ebb_status infer_broadcast_to(const ebb_infer *infer)
{
    const ebb_shape *shape = &((const ebb_shape_attrs *)infer->attrs)->shape;
    const ebb_shape *in = &infer->inputs[0]->shape;
    ebb_shape common;
    ebb_status status = ebb_infer_shape(infer, shape);
    if (status)
        return status;
    if (!ebb_shape_broadcast(in, shape, &common) || !ebb_shape_equal(&common, shape)) {
        char from[EBB_TYPE_TEXT_BYTES], to[EBB_TYPE_TEXT_BYTES];
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "%s does not broadcast to %s",
                              ebb_shape_text(in, from), ebb_shape_text(shape, to));
    }
    infer->results[0] = (ebb_type){ infer->inputs[0]->dtype, *shape };
    return EBB_OK;
}

static bool view_broadcast_to(const ebb_view *view)
{
    int shift = view->result->rank - view->input->rank;
    ebb_layout layout = { .offset = view->input_layout->offset };
    for (int i = shift; i < view->result->rank; i++)
        if (view->input->dims[i - shift] == view->result->dims[i])
            layout.strides[i] = view->input_layout->strides[i - shift];
    *view->result_layout = layout;
    return true;
}

static void vjp_broadcast_to(const ebb_vjp *v)
{
    if (!v->needed[0])
        return;
    const ebb_shape *in = &ebb_node_type(v->inputs[0])->shape;
    const ebb_shape *out = &ebb_node_type(v->cotangents[0])->shape;
    ebb_axes repeated = { 0 };
    int shift = out->rank - in->rank;
    for (int i = 0; i < out->rank; i++)
        if (i < shift || in->dims[i - shift] != out->dims[i])
            repeated.axes[repeated.n++] = i;
    ebb_node sum =
        repeated.n ? ebb_reduce_sum(v->cotangents[0], repeated, false) : v->cotangents[0];
    v->gradients[0] = ebb_reshape(sum, *in);
}

ebb_node(ebb_broadcast_to)(ebb_node x, ebb_shape shape)
{
    if (!ebb_node_is_none(x) && ebb_shape_equal(&shape, &ebb_node_type(x)->shape))
        return x;
    ebb_shape_attrs attrs = { shape };
    return ebb_emit(NULL, &ebb_op_broadcast_to, &x, 1, &attrs, NULL);
}

static const ebb_attr_field fields_broadcast_to[] = {
    EBB_FIELD(ebb_shape_attrs, shape, SHAPE, "shape of the result"),
    { 0 },
};

/* clang-format off */
static const ebb_sample samples_broadcast_to[] = {
    { IN(F64, 3), SHAPE(2, 3), .values = { (const double[]){ 1, 2, 3 } },
      .expected = (const double[]){ 1, 2, 3, 1, 2, 3 }, .source = "NumPy manual, broadcasting" },
    { IN(F64, 2, 1), SHAPE(2, 3), .values = { (const double[]){ 1, 2 } },
      .expected = (const double[]){ 1, 1, 1, 2, 2, 2 }, .source = "NumPy manual, broadcasting" },
    { IN_SCALAR(F64), SHAPE(7) }, { IN_SCALAR(F64), NO_DIMS }, { IN_SCALAR(F64), SHAPE(0) },
    { IN(F64, 1), SHAPE(17) }, { IN(F64, 1), SHAPE(3, 0) }, { IN(F64, 3, 1, 5), SHAPE(2, 3, 7, 5) },
    { IN(F64, 1, 1), SHAPE(1, 1) }, { IN(F64, 0, 1), SHAPE(0, 4) },
    { IN(I32, 3), SHAPE(2, 3) }, { IN(U8, 3), SHAPE(2, 3) }, { IN(BOOL, 3), SHAPE(2, 3) },
    { IN(I64, 1), SHAPE(3) },
    { IN(F64, 3), SHAPE(3, 2), .error = EBB_BAD_SHAPE,
      .message = "[3] does not broadcast to [3,2]" },
    { IN(F64, 2, 3), SHAPE(3), .error = EBB_BAD_SHAPE,
      .message = "[2,3] does not broadcast to [3]" },
    { IN(F64, 3), SHAPE(1), .error = EBB_BAD_SHAPE, .message = "[3] does not broadcast to [1]" },
    { IN(F64, 3), SHAPE(INT64_MAX, 3), .error = EBB_BAD_SHAPE, .message = "too many elements" },
};
/* clang-format on */

DESCRIPTOR(broadcast_to, "repeated to a larger shape by NumPy's rule", ebb_shape_attrs);
