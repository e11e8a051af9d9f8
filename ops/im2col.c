/* im2col and col2im (Saitoh 2016, 7.4.3; its appendix for the latter): windows as rows, and rows
 * added up in windows. Each is the other's adjoint. */
#define EBB_NO_LOCATIONS
#include "ops/im2col.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/rows.h"
#include <string.h>

static ebb_window_spec spec_of(const ebb_im2col_attrs *attrs)
{
    return (ebb_window_spec){ .window = &attrs->window,
                              .stride = &attrs->stride,
                              .padding = &attrs->padding,
                              .dilation = &attrs->dilation };
}

static ebb_status read_window(const ebb_infer *infer, const ebb_im2col_attrs *attrs,
                              const ebb_shape *x, ebb_window *w)
{
    const ebb_window_spec spec = spec_of(attrs);
    *w = (ebb_window){ 0 };
    ebb_status status = ebb_window_read(infer, &spec, x->rank - 2, w);
    return status ? status : ebb_window_slide(infer, x->dims + 2, false, x, w);
}

void ebb_im2col_window(const ebb_im2col_attrs *attrs, const ebb_shape *x, ebb_window *w)
{
    (void)read_window(NULL, attrs, x, w);
}

/* [batch * windows, channels * taps] */
static ebb_status find_columns(const ebb_infer *infer, const ebb_im2col_attrs *attrs,
                               const ebb_shape *x, ebb_shape *columns)
{
    ebb_window w;
    ebb_status status = read_window(infer, attrs, x, &w);
    if (status)
        return status;
    *columns = (ebb_shape){ .rank = 2 };
    if (w.n_taps <= 0 || w.n_counts < 0 ||
        __builtin_mul_overflow(x->dims[0], w.n_counts, &columns->dims[0]) ||
        __builtin_mul_overflow(x->dims[1], w.n_taps, &columns->dims[1]))
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "the columns have too many elements");
    return ebb_infer_shape(infer, columns);
}

static ebb_status infer_im2col(const ebb_infer *infer)
{
    const ebb_type *x = infer->inputs[0];
    ebb_status status = ebb_window_input(infer, 0, "x");
    infer->results[0].dtype = x->dtype;
    return status ? status : find_columns(infer, infer->attrs, &x->shape, &infer->results[0].shape);
}

static ebb_status infer_col2im(const ebb_infer *infer)
{
    const ebb_col2im_attrs *attrs = infer->attrs;
    const ebb_type *columns = infer->inputs[0];
    char text[EBB_TYPE_TEXT_BYTES], other[EBB_TYPE_TEXT_BYTES];
    ebb_shape expected;
    ebb_status status = ebb_infer_float(infer, 0);
    if (!status)
        status = ebb_infer_shape(infer, &attrs->shape);
    if (status)
        return status;
    if (attrs->shape.rank < 3 || attrs->shape.rank > 2 + EBB_MAX_SPATIAL)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE,
                              "shape %s has not 1, 2 or 3 spatial dimensions behind batch and "
                              "channels",
                              ebb_shape_text(&attrs->shape, text));
    if ((status = find_columns(infer, &attrs->columns, &attrs->shape, &expected)))
        return status;
    if (!ebb_shape_equal(&expected, &columns->shape))
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "columns are %s, not %s as of %s",
                              ebb_shape_text(&columns->shape, text),
                              ebb_shape_text(&expected, other),
                              ebb_shape_text(&attrs->shape, (char[EBB_TYPE_TEXT_BYTES]){ 0 }));
    infer->results[0] = (ebb_type){ columns->dtype, attrs->shape };
    return EBB_OK;
}

static void vjp_im2col(const ebb_vjp *v)
{
    if (v->needed[0])
        v->gradients[0] = ebb_col2im(v->cotangents[0], ebb_node_type(v->inputs[0])->shape,
                                     *(const ebb_im2col_attrs *)v->attrs);
}

static void vjp_col2im(const ebb_vjp *v)
{
    if (v->needed[0])
        v->gradients[0] =
            ebb_im2col(v->cotangents[0], ((const ebb_col2im_attrs *)v->attrs)->columns);
}

/* ---- reference kernels ---- */

/* Row by row of the columns: element `at` of them is element *place of the image, or of its padding
 * (false). */
typedef struct walk {
    const ebb_shape *x;
    ebb_window w;
} walk;

static bool find_element(const walk *l, int64_t row, int64_t column, int64_t *place)
{
    const ebb_window *w = &l->w;
    int64_t index = (row / w->n_counts) * l->x->dims[1] + column / w->n_taps;
    int64_t at[EBB_MAX_SPATIAL], i = row % w->n_counts, k = column % w->n_taps;
    for (int d = EBB_MAX_SPATIAL - 1; d >= 0; d--) {
        at[d] = i % w->count[d] * w->stride[d] + k % w->window[d] * w->dilation[d] - w->begin[d];
        if (at[d] < 0 || at[d] >= w->size[d])
            return false;
        i /= w->count[d];
        k /= w->window[d];
    }
    for (int d = 0; d < EBB_MAX_SPATIAL; d++)
        index = index * w->size[d] + at[d];
    *place = index;
    return true;
}

static ebb_status eval_im2col(const ebb_eval *eval)
{
    const ebb_tensor *x = &eval->inputs[0], *columns = &eval->results[0];
    walk l = { .x = &x->type.shape };
    ebb_im2col_window(eval->attrs, l.x, &l.w);
    const int64_t *dims = columns->type.shape.dims;
    int64_t place = 0;
    for (int64_t row = 0, at = 0; row < dims[0]; row++)
        for (int64_t column = 0; column < dims[1]; column++, at++) {
            const bool is_inside = find_element(&l, row, column, &place);
            ebb_float_put(x->type.dtype, columns->data, at,
                          is_inside ? ebb_float_at(x->type.dtype, x->data, place) : 0);
        }
    return EBB_OK;
}

static ebb_status eval_col2im(const ebb_eval *eval)
{
    const ebb_tensor *columns = &eval->inputs[0], *x = &eval->results[0];
    walk l = { .x = &x->type.shape };
    ebb_im2col_window(&((const ebb_col2im_attrs *)eval->attrs)->columns, l.x, &l.w);
    const int64_t *dims = columns->type.shape.dims;
    const ebb_dtype dtype = x->type.dtype;
    int64_t place = 0;
    memset(x->data, 0, ebb_tensor_bytes(x));
    for (int64_t row = 0, at = 0; row < dims[0]; row++)
        for (int64_t column = 0; column < dims[1]; column++, at++)
            if (find_element(&l, row, column, &place))
                ebb_float_put(dtype, x->data, place,
                              ebb_float_at(dtype, x->data, place) +
                                  ebb_float_at(dtype, columns->data, at));
    return EBB_OK;
}

/* ---- builders ---- */

static ebb_im2col_attrs full_attrs(ebb_im2col_attrs attrs, int n)
{
    if (attrs.window.n)
        attrs.window = ebb_window_full(attrs.window, n, 1);
    attrs.stride = ebb_window_full(attrs.stride, n, 1);
    attrs.dilation = ebb_window_full(attrs.dilation, n, 1);
    attrs.padding = ebb_window_full_padding(attrs.padding, n);
    return attrs;
}

ebb_node(ebb_im2col)(ebb_node x, ebb_im2col_attrs attrs)
{
    attrs = full_attrs(attrs, ebb_node_type(x)->shape.rank - 2);
    return ebb_emit(NULL, &ebb_op_im2col, &x, 1, &attrs, NULL);
}

ebb_node(ebb_col2im)(ebb_node columns, ebb_shape shape, ebb_im2col_attrs attrs)
{
    const ebb_col2im_attrs all = { full_attrs(attrs, shape.rank - 2), shape };
    return ebb_emit(NULL, &ebb_op_col2im, &columns, 1, &all, NULL);
}

/* ---- data ---- */

#define COLUMN_FIELDS(type, member)                                                                \
    { "window", EBB_ATTR_INTS, offsetof(type, member window),                                      \
      "taps; must be given; one value: for all dimensions", NULL },                                \
        { "stride", EBB_ATTR_INTS, offsetof(type, member stride),                                  \
          "steps between windows; none: 1", NULL },                                                \
        { "padding", EBB_ATTR_INTS, offsetof(type, member padding),                                \
          "zeros around x: one value, one a dimension, or all begins and then all ends; none: 0",  \
          NULL },                                                                                  \
    {                                                                                              \
        "dilation", EBB_ATTR_INTS, offsetof(type, member dilation), "steps between taps; none: 1", \
            NULL                                                                                   \
    }
static const ebb_attr_field im2col_fields[] = { COLUMN_FIELDS(ebb_im2col_attrs, ), { 0 } };
static const ebb_attr_field col2im_fields[] = {
    COLUMN_FIELDS(ebb_col2im_attrs, columns.),
    EBB_FIELD(ebb_col2im_attrs, shape, SHAPE, "of the image"),
    { 0 },
};

/* clang-format off */
#define F(...) EBB_SAMPLE_TYPE(F64, __VA_ARGS__)
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define INTS(...) { (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), { __VA_ARGS__ } }
#define NONE { 0, { 0 } }
#define IN(a) .inputs = EBB_INPUTS(a)
/* window, stride, padding, dilation */
#define ATTRS(...) .attrs = &(const ebb_im2col_attrs){ __VA_ARGS__ }
#define BACK(shape, ...) .attrs = &(const ebb_col2im_attrs){ { __VA_ARGS__ }, INTS shape }
#define REFUSE(status, text) .error = status, .message = text
static const ebb_sample samples_im2col[] = {
    { .label = "overlap", IN(F(1, 1, 3, 3)), ATTRS(INTS(2), NONE, NONE, NONE),
      .values = { LIST(1, 2, 3, 4, 5, 6, 7, 8, 9) },
      .expected = LIST(1, 2, 4, 5, 2, 3, 5, 6, 4, 5, 7, 8, 5, 6, 8, 9), .source = "by hand" },
    { .label = "padding", IN(F(1, 2, 2)), ATTRS(INTS(3), NONE, INTS(1), NONE),
      .values = { LIST(1, 2, 10, 20) },
      .expected = LIST(0, 1, 2, 0, 10, 20, 1, 2, 0, 10, 20, 0), .source = "by the definition" },
    { .label = "(1,3,7,7), 5x5", IN(F(1, 3, 7, 7)), ATTRS(INTS(5), NONE, NONE, NONE) },
    { IN(F(2, 3, 4, 5)), ATTRS(INTS(3, 2), NONE, NONE, NONE) },
    { IN(F(2, 2, 5, 4)), ATTRS(INTS(3), INTS(2, 1), INTS(1), NONE) },
    { IN(F(1, 2, 6, 7)), ATTRS(INTS(2, 3), INTS(2), INTS(0, 1, 2, 0), INTS(2)) },
    { IN(F(1, 1, 1, 1)), ATTRS(INTS(1), NONE, NONE, NONE) }, { IN(F(2, 3, 7)),
      ATTRS(INTS(3), INTS(2), NONE, NONE) },
    { IN(F(1, 2, 3, 4, 3)), ATTRS(INTS(2), NONE, INTS(1, 0, 0), NONE) },
    { .label = "no batch", IN(F(0, 2, 3, 3)), ATTRS(INTS(2), NONE, NONE, NONE) },
    { IN(F(1, 1, 3, 3)), ATTRS(INTS(4, 3), NONE, NONE, NONE),
      REFUSE(EBB_BAD_SHAPE, "a window of 4 taps spans 4 in spatial dimension 0, and [1,1,3,3]") },
    { IN(F(1, 1, 3, 3)), REFUSE(EBB_BAD_ATTRIBUTE, "there is no window") },
    { IN(F(1, 1, 3, 3)), ATTRS(INTS(2), INTS(0), NONE, NONE),
      REFUSE(EBB_BAD_ATTRIBUTE, "stride 0") },
    { IN(F(3, 3)), ATTRS(INTS(2), NONE, NONE, NONE),
      REFUSE(EBB_BAD_SHAPE, "x [3,3] has not 1, 2 or 3 spatial dimensions") },
    { IN(F(2147483647, 1, 2, 2)), ATTRS(INTS(2147483647, 1), NONE, INTS(2147483647, 0), NONE),
      REFUSE(EBB_BAD_SHAPE, "too many elements") },
};
static const ebb_sample samples_col2im[] = {
    { .label = "overlap", IN(F(4, 4)), BACK((1, 1, 3, 3), INTS(2), NONE, NONE, NONE),
      .values = { LIST(1, 2, 4, 5, 2, 3, 5, 6, 4, 5, 7, 8, 5, 6, 8, 9) },
      .expected = LIST(1, 4, 3, 8, 20, 12, 7, 16, 9), .source = "each element times its windows" },
    { .label = "padding", IN(F(2, 6)), BACK((1, 2, 2), INTS(3), NONE, INTS(1), NONE),
      .values = { LIST(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12) },
      .expected = LIST(9, 11, 15, 17), .source = "by the definition" },
    { IN(F(12, 18)), BACK((2, 3, 4, 5), INTS(3, 2), INTS(2, 1), INTS(0, 0, 1, 0), NONE),
      REFUSE(EBB_BAD_SHAPE,
      "columns are [12,18], not [16,18] as of [2,3,4,5]") },
    { IN(F(16, 18)), BACK((2, 3, 4, 5), INTS(3, 2), NONE, NONE, NONE) },
    { IN(F(24, 18)), BACK((2, 2, 5, 4), INTS(3), INTS(2, 1), INTS(1), NONE) },
    { IN(F(9, 12)), BACK((1, 2, 6, 7), INTS(2, 3), INTS(2), INTS(0, 1, 2, 0), INTS(2)),
      REFUSE(EBB_BAD_SHAPE,
      "columns are [9,12], not [6,12]") },
    { IN(F(6, 12)), BACK((1, 2, 6, 7), INTS(2, 3), INTS(2), INTS(0, 1, 2, 0), INTS(2)) },
    { IN(F(1, 1)), BACK((1, 1, 1, 1), INTS(1), NONE, NONE, NONE) },
    { IN(F(6, 9)), BACK((2, 3, 7), INTS(3), INTS(2), NONE, NONE) },
    { IN(F(24, 16)), BACK((1, 2, 3, 4, 3), INTS(2), NONE, INTS(1, 0, 0), NONE) },
    { IN(F(75, 2)), BACK((3, 2, 5, 5), INTS(1), NONE, NONE, NONE) },
    { .label = "no batch", IN(F(0, 8)), BACK((0, 2, 3, 3), INTS(2), NONE, NONE, NONE) },
    { IN(F(4, 4)), BACK((3, 3), INTS(2), NONE, NONE, NONE),
      REFUSE(EBB_BAD_SHAPE, "shape [3,3] has not 1, 2 or 3 spatial dimensions") },
    { IN(F(4, 4)), BACK((1, 1, 3, -3), INTS(2), NONE, NONE, NONE),
      REFUSE(EBB_BAD_SHAPE, "is negative") },
    { IN(F(4, 4)), BACK((1, 1, 3, 3), INTS(2, 2, 2), NONE, NONE, NONE),
      REFUSE(EBB_BAD_ATTRIBUTE, "window has 3 values for 2 spatial dimensions") },
};
/* clang-format on */

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])
#define COLUMNS(op_name, text, attrs_type)                                                         \
    const ebb_op ebb_op_##op_name = {                                                              \
        .name = #op_name,                                                                          \
        .summary = text,                                                                           \
        .group = "convolution",                                                                    \
        .n_inputs = 1,                                                                             \
        .n_results = 1,                                                                            \
        .attrs_bytes = sizeof(attrs_type),                                                         \
        .attrs = op_name##_fields,                                                                 \
        .infer = infer_##op_name,                                                                  \
        .vjp = vjp_##op_name,                                                                      \
        .eval = eval_##op_name,                                                                    \
        .samples = samples_##op_name,                                                              \
        .n_samples = COUNT(samples_##op_name),                                                     \
    }
COLUMNS(im2col, "all windows of x as rows", ebb_im2col_attrs);
COLUMNS(col2im, "rows of im2col added up in an image", ebb_col2im_attrs);
