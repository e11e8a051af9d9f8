/* slice, as NumPy's x[start:stop:step, ...], and its gradient; they are each other's vjps. Out of
 * slices: flip and split. */
#define EBB_NO_LOCATIONS
#include "ops/slice.h"
#include "ops/build.h"
#include <string.h>

/* ---- which elements ---- */

static int64_t clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* "The Python Library Reference, Common Sequence Operations, note 5": negative bounds count from
 * the end; then both are cut to 0..n, or to -1..n-1 for a negative step. */
static ebb_slice_range find_range(int64_t start, int64_t stop, int64_t step, int64_t n)
{
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    ebb_slice_range range = { .step = step };
    range.start = clamp(start < 0 ? start + n : start, low, high);
    stop = clamp(stop < 0 ? stop + n : stop, low, high);
    const int64_t distance = step > 0 ? stop - range.start : range.start - stop;
    if (distance > 0) { /* the step may be INT64_MIN */
        const uint64_t size = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
        range.n = (int64_t)(((uint64_t)distance - 1) / size) + 1;
    }
    if (range.n < 2)
        range.step = 1;
    if (range.n == 0)
        range.start = 0;
    return range;
}

void ebb_slice_ranges(const ebb_slice_attrs *slice, const ebb_shape *shape,
                      ebb_slice_range ranges[EBB_MAX_RANK])
{
    for (int i = 0; i < shape->rank; i++)
        ranges[i] = i < slice->start.n
                        ? find_range(slice->start.values[i], slice->stop.values[i],
                                     slice->step.n ? slice->step.values[i] : 1, shape->dims[i])
                        : (ebb_slice_range){ 0, 1, shape->dims[i] };
}

static ebb_shape shape_of_ranges(const ebb_slice_range ranges[EBB_MAX_RANK], int rank)
{
    ebb_shape shape = { .rank = rank };
    for (int i = 0; i < rank; i++)
        shape.dims[i] = ranges[i].n;
    return shape;
}

/* Where the slice lies in a value of `layout`. */
static ebb_layout layout_of_ranges(const ebb_slice_range ranges[EBB_MAX_RANK],
                                   const ebb_layout *layout, int rank)
{
    ebb_layout slice = { .offset = layout->offset };
    bool is_empty = false;
    for (int i = 0; i < rank; i++) {
        slice.strides[i] = layout->strides[i] * ranges[i].step;
        slice.offset += layout->strides[i] * ranges[i].start;
        is_empty = is_empty || ranges[i].n == 0;
    }
    if (is_empty)
        slice.offset = layout->offset;
    return slice;
}

/* The same slice in one way only: every dimension, from the front, step 1 left out. */
static ebb_slice_attrs normal_slice(const ebb_slice_attrs *slice, const ebb_shape *shape)
{
    ebb_slice_range ranges[EBB_MAX_RANK];
    ebb_slice_attrs normal = { .start = { .n = shape->rank }, .stop = { .n = shape->rank } };
    bool has_steps = false;
    ebb_slice_ranges(slice, shape, ranges);
    for (int i = 0; i < shape->rank; i++) {
        const ebb_slice_range *r = &ranges[i];
        const int64_t last = r->start + (r->n - 1) * r->step;
        int64_t stop = r->n == 0 ? 0 : r->step > 0 ? last + 1 : last - 1;
        if (stop < 0) /* in front of element 0; -1 would be the last element */
            stop = -shape->dims[i] - 1;
        normal.start.values[i] = r->start;
        normal.stop.values[i] = stop;
        normal.step.values[i] = r->step;
        has_steps = has_steps || r->step != 1;
    }
    normal.step.n = has_steps ? shape->rank : 0;
    return normal;
}

/* ---- slice ---- */

static ebb_status check_slice(const ebb_infer *infer, const ebb_slice_attrs *slice, int rank)
{
    const ebb_ints *start = &slice->start, *stop = &slice->stop, *step = &slice->step;
    if (start->n < 0 || start->n > rank)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "start has %d numbers for rank %d",
                              start->n, rank);
    if (stop->n != start->n)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "start has %d numbers, stop has %d",
                              start->n, stop->n);
    if (step->n != 0 && step->n != start->n)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "start has %d numbers, step has %d",
                              start->n, step->n);
    for (int i = 0; i < step->n; i++)
        if (step->values[i] == 0)
            return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "the step of dimension %d is 0", i);
    return EBB_OK;
}

static ebb_status infer_slice(const ebb_infer *infer)
{
    const ebb_shape *in = &infer->inputs[0]->shape;
    ebb_slice_range ranges[EBB_MAX_RANK];
    ebb_status status = check_slice(infer, infer->attrs, in->rank);
    if (status)
        return status;
    ebb_slice_ranges(infer->attrs, in, ranges);
    infer->results[0] = (ebb_type){ infer->inputs[0]->dtype, shape_of_ranges(ranges, in->rank) };
    return EBB_OK;
}

static bool view_slice(const ebb_view *view)
{
    ebb_slice_range ranges[EBB_MAX_RANK];
    ebb_slice_ranges(view->attrs, view->input, ranges);
    *view->result_layout = layout_of_ranges(ranges, view->input_layout, view->input->rank);
    return true;
}

static void vjp_slice(const ebb_vjp *v)
{
    if (!v->needed[0])
        return;
    ebb_slice_grad_attrs attrs = { .slice = *(const ebb_slice_attrs *)v->attrs,
                                   .shape = ebb_node_type(v->inputs[0])->shape };
    v->gradients[0] = ebb_emit(v->graph, &ebb_op_slice_grad, v->cotangents, 1, &attrs, NULL);
}

static bool slice_is_valid(const ebb_slice_attrs *slice, int rank)
{
    bool is_valid = slice->start.n >= 0 && slice->start.n <= rank &&
                    slice->stop.n == slice->start.n &&
                    (slice->step.n == 0 || slice->step.n == slice->start.n);
    for (int i = 0; i < slice->step.n && is_valid; i++)
        is_valid = slice->step.values[i] != 0;
    return is_valid;
}

static ebb_node emit_slice(ebb_node x, ebb_slice_attrs attrs)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    if (!ebb_node_is_none(x) && slice_is_valid(&attrs, shape->rank)) {
        ebb_slice_range ranges[EBB_MAX_RANK];
        bool is_whole = true;
        ebb_slice_ranges(&attrs, shape, ranges);
        for (int i = 0; i < shape->rank; i++)
            is_whole = is_whole && ranges[i].n == shape->dims[i] && ranges[i].step == 1;
        if (is_whole)
            return x;
        attrs = normal_slice(&attrs, shape);
    }
    return ebb_emit(NULL, &ebb_op_slice, &x, 1, &attrs, NULL);
}

ebb_node(ebb_slice)(ebb_node x, ebb_ints start, ebb_ints stop, ebb_ints step)
{
    return emit_slice(x, (ebb_slice_attrs){ start, stop, step });
}

/* x[.., start:stop:step, ..] along a valid axis. */
static ebb_node slice_axis(ebb_node x, int axis, int64_t start, int64_t stop, int64_t step)
{
    ebb_slice_attrs attrs = { { .n = axis + 1 }, { .n = axis + 1 }, { .n = axis + 1 } };
    for (int i = 0; i < axis; i++) {
        attrs.stop.values[i] = EBB_TO_END;
        attrs.step.values[i] = 1;
    }
    attrs.start.values[axis] = start;
    attrs.stop.values[axis] = stop;
    attrs.step.values[axis] = step;
    return emit_slice(x, attrs);
}

ebb_node(ebb_slice_axis)(ebb_node x, int axis, int64_t start, int64_t stop, int64_t step)
{
    const int rank = ebb_node_type(x)->shape.rank;
    if (!ebb_build_check_axis("slice_axis", x, axis, rank))
        return (ebb_node){ x.graph, 0 };
    return slice_axis(x, ebb_axis_of(axis, rank), start, stop, step);
}

/* ---- slice_grad ---- */

static ebb_status infer_slice_grad(const ebb_infer *infer)
{
    const ebb_slice_grad_attrs *attrs = infer->attrs;
    const ebb_shape *in = &infer->inputs[0]->shape;
    ebb_status status = ebb_infer_shape(infer, &attrs->shape);
    if (!status)
        status = check_slice(infer, &attrs->slice, attrs->shape.rank);
    if (status)
        return status;
    ebb_slice_range ranges[EBB_MAX_RANK];
    ebb_slice_ranges(&attrs->slice, &attrs->shape, ranges);
    const ebb_shape slice = shape_of_ranges(ranges, attrs->shape.rank);
    if (!ebb_shape_equal(&slice, in)) {
        char whole[EBB_TYPE_TEXT_BYTES], part[EBB_TYPE_TEXT_BYTES], have[EBB_TYPE_TEXT_BYTES];
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "the slice of shape %s has shape %s, not %s",
                              ebb_shape_text(&attrs->shape, whole), ebb_shape_text(&slice, part),
                              ebb_shape_text(in, have));
    }
    infer->results[0] = (ebb_type){ infer->inputs[0]->dtype, attrs->shape };
    return EBB_OK;
}

static ebb_status eval_slice_grad(const ebb_eval *eval)
{
    const ebb_slice_grad_attrs *attrs = eval->attrs;
    const ebb_shape *in = &eval->inputs[0].type.shape;
    const int64_t n = ebb_shape_elements(in);
    const size_t bytes = ebb_dtype_bytes(eval->inputs[0].type.dtype);
    ebb_slice_range ranges[EBB_MAX_RANK];
    ebb_slice_ranges(&attrs->slice, &attrs->shape, ranges);
    const ebb_layout dense = ebb_layout_dense(&attrs->shape);
    const ebb_layout places = layout_of_ranges(ranges, &dense, in->rank);
    if (ebb_tensor_bytes(&eval->results[0]))
        memset(eval->results[0].data, 0, ebb_tensor_bytes(&eval->results[0]));
    int64_t index[EBB_MAX_RANK] = { 0 }, at = places.offset;
    for (int64_t i = 0; i < n; i++) {
        memcpy((char *)eval->results[0].data + at * (int64_t)bytes,
               (const char *)eval->inputs[0].data + i * (int64_t)bytes, bytes);
        for (int d = in->rank - 1; d >= 0; d--) {
            at += places.strides[d];
            if (++index[d] < in->dims[d])
                break;
            at -= places.strides[d] * in->dims[d];
            index[d] = 0;
        }
    }
    return EBB_OK;
}

static void vjp_slice_grad(const ebb_vjp *v)
{
    const ebb_slice_grad_attrs *attrs = v->attrs;
    if (v->needed[0])
        v->gradients[0] = emit_slice(v->cotangents[0], attrs->slice);
}

/* ---- out of slices ---- */

ebb_node(ebb_flip)(ebb_node x, ebb_axes axes)
{
    const int rank = ebb_node_type(x)->shape.rank;
    if (!ebb_build_check_axes("flip", x, &axes, rank))
        return (ebb_node){ x.graph, 0 };
    const unsigned flipped = ebb_axes_mask(&axes, rank);
    ebb_slice_attrs attrs = { { .n = rank }, { .n = rank }, { .n = rank } };
    for (int i = 0; i < rank; i++) {
        const bool is_flipped = flipped & 1u << i;
        attrs.start.values[i] = is_flipped ? EBB_TO_END : EBB_TO_BEGIN;
        attrs.stop.values[i] = is_flipped ? EBB_TO_BEGIN : EBB_TO_END;
        attrs.step.values[i] = is_flipped ? -1 : 1;
    }
    return emit_slice(x, attrs);
}

static ebb_node refuse_split(ebb_node x, int n, ebb_node *parts)
{
    for (int i = 0; parts && i < n; i++)
        parts[i] = (ebb_node){ x.graph, 0 };
    return (ebb_node){ x.graph, 0 };
}

/* Part i has sizes[i], or all the same `size`. */
static ebb_node cut(ebb_node x, int axis, const int64_t *sizes, int64_t size, int n,
                    ebb_node *parts)
{
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        const int64_t end = at + (sizes ? sizes[i] : size);
        parts[i] = slice_axis(x, axis, at, end, 1);
        at = end;
    }
    return ebb_node_is_none(parts[n - 1]) ? refuse_split(x, n, parts) : parts[0];
}

/* The axis from the front; -1 after a sticky error. */
static int check_split(ebb_node x, int n, int axis, const ebb_node *parts)
{
    const int rank = ebb_node_type(x)->shape.rank;
    if (ebb_node_is_none(x) || !ebb_build_check_axis("split", x, axis, rank))
        return -1;
    if (n < 1 || !parts) {
        ebb_graph_fail(x.graph, EBB_BAD_ARGUMENT,
                       parts ? "split: into %d parts" : "split: no room for %d parts", n);
        return -1;
    }
    return ebb_axis_of(axis, rank);
}

ebb_node(ebb_split)(ebb_node x, int n, int axis, ebb_node *parts)
{
    const int front = check_split(x, n, axis, parts);
    if (front < 0)
        return refuse_split(x, n, parts);
    const int64_t size = ebb_node_type(x)->shape.dims[front];
    if (size % n) {
        char text[EBB_NODE_TEXT_BYTES];
        ebb_graph_fail(x.graph, EBB_BAD_SHAPE,
                       "split: dimension %d of size %lld has no %d equal parts: %s", front,
                       (long long)size, n, ebb_node_text(x, text));
        return refuse_split(x, n, parts);
    }
    return cut(x, front, NULL, size / n, n, parts);
}

ebb_node(ebb_split_sizes)(ebb_node x, const int64_t *sizes, int n, int axis, ebb_node *parts)
{
    const int front = check_split(x, n, axis, parts);
    if (front < 0)
        return refuse_split(x, n, parts);
    const int64_t size = ebb_node_type(x)->shape.dims[front];
    int64_t sum = 0;
    char text[EBB_NODE_TEXT_BYTES];
    for (int i = 0; i < n; i++)
        if (!sizes || sizes[i] < 0 || __builtin_add_overflow(sum, sizes[i], &sum)) {
            ebb_graph_fail(x.graph, EBB_BAD_ARGUMENT, "split: size %lld of part %d: %s",
                           sizes ? (long long)sizes[i] : 0, i, ebb_node_text(x, text));
            return refuse_split(x, n, parts);
        }
    if (sum != size) {
        ebb_graph_fail(x.graph, EBB_BAD_SHAPE,
                       "split: the %d sizes add up to %lld, dimension %d has %lld: %s", n,
                       (long long)sum, front, (long long)size, ebb_node_text(x, text));
        return refuse_split(x, n, parts);
    }
    return cut(x, front, sizes, 0, n, parts);
}

/* ---- descriptors ---- */

#define SLICE_FIELDS(type, slice)                                                                  \
    { "start", EBB_ATTR_INTS, offsetof(type, slice start),                                         \
      "first index, per leading dimension; negative: from the end", NULL },                        \
        { "stop", EBB_ATTR_INTS, offsetof(type, slice stop),                                       \
          "the index behind the last one, as many; negative: from the end", NULL },                \
    {                                                                                              \
        "step", EBB_ATTR_INTS, offsetof(type, slice step),                                         \
            "from index to index, as many, not 0; default 1", NULL                                 \
    }

/* clang-format off */
static const ebb_attr_field slice_fields[] = {
    SLICE_FIELDS(ebb_slice_attrs, ),
    { 0 },
};
static const ebb_attr_field slice_grad_fields[] = {
    SLICE_FIELDS(ebb_slice_grad_attrs, slice.),
    EBB_FIELD(ebb_slice_grad_attrs, shape, SHAPE, "shape of what was sliced"),
    { 0 },
};

#define IN(dtype, ...) .inputs = EBB_INPUTS(EBB_SAMPLE_TYPE(dtype, __VA_ARGS__))
#define IN_SCALAR(dtype) .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(dtype))
#define L(...) { (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), { __VA_ARGS__ } }
#define NONE { 0, { 0 } }
#define SLICE(start, stop, step) .attrs = &(const ebb_slice_attrs){ start, stop, step }
#define GRAD(shape, start, stop, step)                                                             \
    .attrs = &(const ebb_slice_grad_attrs){ { start, stop, step }, shape }
#define END EBB_TO_END
#define BEGIN EBB_TO_BEGIN
#define VALUES(...) .values = { (const double[]){ __VA_ARGS__ } }
#define EXPECTED(...) .expected = (const double[]){ __VA_ARGS__ }, .source = NUMPY
#define TEN VALUES(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
/* x = [0, 1, .. 9]: x[1:7:2], x[-2:10], x[-3:3:-1], x[5:] */
#define NUMPY "NumPy manual, Indexing on ndarrays, Slicing and striding"
static const ebb_sample samples_slice[] = {
    { IN(F64, 10), SLICE(L(1), L(7), L(2)), TEN, EXPECTED(1, 3, 5) },
    { IN(F64, 10), SLICE(L(-2), L(10), NONE), TEN, EXPECTED(8, 9) },
    { IN(F64, 10), SLICE(L(-3), L(3), L(-1)), TEN, EXPECTED(7, 6, 5, 4) },
    { IN(F64, 10), SLICE(L(5), L(END), NONE), TEN, EXPECTED(5, 6, 7, 8, 9) },
    { IN(I64, 3, 1), SLICE(L(1), L(2), NONE), VALUES(1, 2, 3), EXPECTED(2) },
    { IN(F64, 4), SLICE(L(END), L(BEGIN), L(-1)), VALUES(1, 2, 3, 4), EXPECTED(4, 3, 2, 1) },
    { IN(F64, 4), SLICE(L(-1), L(-1), L(-1)), VALUES(1, 2, 3, 4) }, /* empty: -1 is 3 */
    { IN(F64, 5), SLICE(L(-99), L(99), L(3)), VALUES(0, 1, 2, 3, 4), EXPECTED(0, 3) },
    { IN(F64, 5), SLICE(L(99), L(-99), L(-3)), VALUES(0, 1, 2, 3, 4), EXPECTED(4, 1) },
    { IN(F64, 5), SLICE(L(0), L(5), L(END)), VALUES(7, 1, 2, 3, 4), EXPECTED(7) },
    { IN(F64, 5), SLICE(L(END), L(BEGIN), L(BEGIN)), VALUES(0, 1, 2, 3, 9), EXPECTED(9) },
    { IN(F64, 2, 3), SLICE(L(0, 1), L(2, 3), NONE), VALUES(1, 2, 3, 4, 5, 6),
      EXPECTED(2, 3, 5, 6) },
    { IN_SCALAR(F64), SLICE(NONE, NONE, NONE) }, { IN(F64, 3, 4), SLICE(NONE, NONE, NONE) },
    { IN(F64, 1), SLICE(L(0), L(1), NONE) }, { IN(F64, 7), SLICE(L(1), L(6), L(2)) },
    { IN(F64, 17), SLICE(L(16), L(0), L(-5)) },
    { IN(F64, 0), SLICE(L(0), L(3), NONE) }, { IN(F64, 0), SLICE(L(END), L(BEGIN), L(-2)) },
    { IN(F64, 4), SLICE(L(3), L(1), NONE) }, { IN(F64, 3, 0, 2), SLICE(L(1), L(2), NONE) },
    { IN(F64, 7, 3, 5), SLICE(L(-1, 0, 1), L(BEGIN, 3, 5), L(-2, 1, 2)) },
    { IN(F64, 2, 3, 5, 4), SLICE(L(0, -2), L(END, END), NONE) },
    { IN(F64, 2, 17, 3), SLICE(L(0, 15, 2), L(2, 1, BEGIN), L(1, -7, -1)) },
    { IN(I32, 5, 5), SLICE(L(1, 4), L(4, 0), L(1, -2)) }, { IN(U8, 7), SLICE(L(1), L(END), L(3)) },
    { IN(BOOL, 4), SLICE(L(END), L(BEGIN), L(-1)) },
    { IN(F64, 3), SLICE(L(0, 0), L(1, 1), NONE), .error = EBB_BAD_ATTRIBUTE,
      .message = "start has 2 numbers for rank 1" },
    { IN_SCALAR(F64), SLICE(L(0), L(1), NONE), .error = EBB_BAD_ATTRIBUTE,
      .message = "start has 1 numbers for rank 0" },
    { IN(F64, 3, 3), SLICE(L(0, 0), L(1), NONE), .error = EBB_BAD_ATTRIBUTE,
      .message = "start has 2 numbers, stop has 1" },
    { IN(F64, 3, 3), SLICE(L(0, 0), L(1, 1), L(1)), .error = EBB_BAD_ATTRIBUTE,
      .message = "start has 2 numbers, step has 1" },
    { IN(F64, 3, 3), SLICE(L(0, 0), L(1, 1), L(1, 0)), .error = EBB_BAD_ATTRIBUTE,
      .message = "the step of dimension 1 is 0" },
    { IN(F64, 3), .attrs = &(const ebb_slice_attrs){ .start = { -1, { 0 } } },
      .error = EBB_BAD_ATTRIBUTE, .message = "start has -1 numbers" },
};

#undef NUMPY
#define NUMPY "by the definition: y = zeros(shape); y[start:stop:step] = x"
static const ebb_sample samples_slice_grad[] = {
    { IN(F64, 3), GRAD(L(7), L(1), L(7), L(2)), VALUES(1, 2, 3), EXPECTED(0, 1, 0, 2, 0, 3, 0) },
    { IN(F64, 3), GRAD(L(5), L(-2), L(0), L(-1)), VALUES(1, 2, 3), EXPECTED(0, 3, 2, 1, 0) },
    { IN(F64, 2), GRAD(L(5), L(1), L(3), NONE), VALUES(1, 2), EXPECTED(0, 1, 2, 0, 0) },
    { IN(F64, 2), GRAD(L(5), L(END), L(BEGIN), L(-3)), VALUES(1, 2), EXPECTED(0, 2, 0, 0, 1) },
    { IN(F64, 1, 2), GRAD(L(2, 3), L(1, 0), L(2, 2), NONE), VALUES(5, 6),
      EXPECTED(0, 0, 0, 5, 6, 0) },
    { IN(F64, 0), GRAD(L(3), L(2), L(1), NONE), VALUES(0), EXPECTED(0, 0, 0) },
    { IN_SCALAR(F64), GRAD(NONE, NONE, NONE, NONE) },
    { IN(F64, 1), GRAD(L(17), L(16), L(17), NONE) }, { IN(F64, 0), GRAD(L(0), L(0), L(3), NONE) },
    { IN(F64, 7), GRAD(L(7), NONE, NONE, NONE) }, { IN(F64, 17), GRAD(L(51), L(2), L(51), L(3)) },
    { IN(F64, 4, 3, 2), GRAD(L(7, 3, 5), L(-1, 0, 1), L(BEGIN, 3, 5), L(-2, 1, 2)) },
    { IN(F64, 3, 2), GRAD(L(3, 9), L(0, 3), L(3, 5), NONE) },
    { IN(F64, 2, 9), GRAD(L(4, 9), L(1, 8), L(3, BEGIN), L(1, -1)) },
    { IN(F64, 3, 1), GRAD(L(17, 2), L(15, 1), L(1, 0), L(-7, -1)), .error = EBB_BAD_SHAPE,
      .message = "the slice of shape [17,2] has shape [2,1], not [3,1]" },
    { IN(I32, 2, 5), GRAD(L(2, 7), L(0, 1), L(2, 6), NONE) },
    { IN(I64, 3), GRAD(L(7), L(0), L(7), L(3)) },
    { IN(U8, 3), GRAD(L(7), L(6), L(BEGIN), L(-3)) }, { IN(BOOL, 2), GRAD(L(3), L(1), L(3), NONE) },
    { IN(F64, 3), GRAD(L(5), L(0), L(4), NONE), .error = EBB_BAD_SHAPE,
      .message = "the slice of shape [5] has shape [4], not [3]" },
    { IN(F64, 3), GRAD(L(3, -1), L(0), L(3), NONE), .error = EBB_BAD_SHAPE,
      .message = "dimension 1 of shape [3,-1] is negative" },
    { IN(F64, 3), GRAD(L(3), L(0), L(3), L(0)), .error = EBB_BAD_ATTRIBUTE,
      .message = "the step of dimension 0 is 0" },
};
/* clang-format on */

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])

const ebb_op ebb_op_slice = {
    .name = "slice",
    .summary = "x[start:stop:step, ...], by NumPy's rule",
    .group = "shape",
    .n_inputs = 1,
    .n_results = 1,
    .traits = EBB_TRAIT_VIEW,
    .attrs_bytes = sizeof(ebb_slice_attrs),
    .attrs = slice_fields,
    .infer = infer_slice,
    .vjp = vjp_slice,
    .eval = ebb_view_eval,
    .view = view_slice,
    .samples = samples_slice,
    .n_samples = COUNT(samples_slice),
};

const ebb_op ebb_op_slice_grad = {
    .name = "slice_grad",
    .summary = "zeros, and x where the slice lies: the gradient of slice",
    .group = "shape",
    .n_inputs = 1,
    .n_results = 1,
    .attrs_bytes = sizeof(ebb_slice_grad_attrs),
    .attrs = slice_grad_fields,
    .infer = infer_slice_grad,
    .vjp = vjp_slice_grad,
    .eval = eval_slice_grad,
    .samples = samples_slice_grad,
    .n_samples = COUNT(samples_slice_grad),
};
