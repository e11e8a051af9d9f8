/* pad, and its gradient: pad_grad adds every element of a padded value up where it came from. Both
 * are linear and each other's transpose, so they are each other's vjps. */
#define EBB_NO_LOCATIONS
#include "ops/pad.h"
#include "ops/build.h"
#include "ops/rows.h"
#include <string.h>

static ebb_status check_pad(const ebb_infer *infer, int rank)
{
    const ebb_pad_attrs *attrs = infer->attrs;
    if (attrs->mode < EBB_PAD_CONSTANT || attrs->mode > EBB_PAD_EDGE)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "there is no mode %d", attrs->mode);
    if (attrs->before.n != rank || attrs->after.n != rank)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE,
                              "before and after have %d and %d numbers for rank %d",
                              attrs->before.n, attrs->after.n, rank);
    for (int i = 0; i < rank; i++) {
        const int64_t before = attrs->before.values[i], after = attrs->after.values[i];
        if (before < 0 || after < 0)
            return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "dimension %d is padded by %lld, %lld",
                                  i, (long long)before, (long long)after);
    }
    return EBB_OK;
}

/* Only a constant can be put around nothing. */
static ebb_status check_source(const ebb_infer *infer, int dimension, int64_t size)
{
    const ebb_pad_attrs *attrs = infer->attrs;
    if (size == 0 && attrs->mode != EBB_PAD_CONSTANT &&
        (attrs->before.values[dimension] || attrs->after.values[dimension]))
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "dimension %d has no element to repeat",
                              dimension);
    return EBB_OK;
}

static ebb_status infer_pad(const ebb_infer *infer)
{
    const ebb_pad_attrs *attrs = infer->attrs;
    ebb_type result = *infer->inputs[0];
    ebb_status status = check_pad(infer, result.shape.rank);
    for (int i = 0; i < result.shape.rank && !status; i++) {
        int64_t *dim = &result.shape.dims[i];
        status = check_source(infer, i, *dim);
        if (!status && (__builtin_add_overflow(*dim, attrs->before.values[i], dim) ||
                        __builtin_add_overflow(*dim, attrs->after.values[i], dim)))
            status = ebb_infer_fail(infer, EBB_BAD_SHAPE, "dimension %d gets too large", i);
    }
    infer->results[0] = result;
    return status ? status : ebb_infer_shape(infer, &result.shape);
}

static ebb_status infer_pad_grad(const ebb_infer *infer)
{
    const ebb_pad_attrs *attrs = infer->attrs;
    ebb_type result = *infer->inputs[0];
    ebb_status status = ebb_infer_float(infer, 0);
    if (!status)
        status = check_pad(infer, result.shape.rank);
    for (int i = 0; i < result.shape.rank && !status; i++) {
        int64_t *dim = &result.shape.dims[i];
        const int64_t before = attrs->before.values[i], after = attrs->after.values[i];
        if (before > *dim || after > *dim - before)
            return ebb_infer_fail(infer, EBB_BAD_SHAPE,
                                  "dimension %d of size %lld is not padded by %lld, %lld", i,
                                  (long long)*dim, (long long)before, (long long)after);
        *dim -= before + after;
        status = check_source(infer, i, *dim);
    }
    infer->results[0] = result;
    return status;
}

/* Walks over the elements of the padded shape in row-major order and knows the element of the inner
 * shape that each comes from. */
typedef struct pad_walk {
    const ebb_pad_attrs *attrs;
    const ebb_shape *padded, *inner;
    int64_t strides[EBB_MAX_RANK]; /* of the inner shape */
    int64_t index[EBB_MAX_RANK];
} pad_walk;

static pad_walk start_walk(const ebb_pad_attrs *attrs, const ebb_shape *padded,
                           const ebb_shape *inner)
{
    pad_walk walk = { .attrs = attrs, .padded = padded, .inner = inner };
    ebb_shape_strides(inner, walk.strides);
    return walk;
}

/* Where the element at hand comes from, -1: nowhere; goes to the next one. */
static int64_t take_source(pad_walk *walk)
{
    int64_t source = 0;
    for (int d = 0; d < walk->padded->rank && source >= 0; d++) {
        const int64_t at =
            ebb_pad_source((ebb_pad_mode)walk->attrs->mode,
                           walk->index[d] - walk->attrs->before.values[d], walk->inner->dims[d]);
        source = at < 0 ? -1 : source + at * walk->strides[d];
    }
    for (int d = walk->padded->rank - 1; d >= 0; d--) {
        if (++walk->index[d] < walk->padded->dims[d])
            break;
        walk->index[d] = 0;
    }
    return source;
}

static ebb_status eval_pad(const ebb_eval *eval)
{
    const ebb_pad_attrs *attrs = eval->attrs;
    const ebb_tensor *x = &eval->inputs[0], *result = &eval->results[0];
    const int64_t n = ebb_shape_elements(&result->type.shape);
    const size_t bytes = ebb_dtype_bytes(x->type.dtype);
    double value = 0; /* as large as any element */
    ebb_tensor constant = ebb_tensor_borrow(x->type.dtype, EBB_SCALAR, &value);
    ebb_tensor_set(&constant, 0, attrs->value);
    pad_walk walk = start_walk(attrs, &result->type.shape, &x->type.shape);
    for (int64_t i = 0; i < n; i++) {
        const int64_t from = take_source(&walk);
        memcpy((char *)result->data + (size_t)i * bytes,
               from < 0 ? (const char *)&value : (const char *)x->data + (size_t)from * bytes,
               bytes);
    }
    return EBB_OK;
}

static ebb_status eval_pad_grad(const ebb_eval *eval)
{
    const ebb_tensor *x = &eval->inputs[0], *result = &eval->results[0];
    const int64_t n = ebb_shape_elements(&x->type.shape);
    const ebb_dtype dtype = x->type.dtype;
    if (ebb_tensor_bytes(result))
        memset(result->data, 0, ebb_tensor_bytes(result));
    pad_walk walk = start_walk(eval->attrs, &x->type.shape, &result->type.shape);
    for (int64_t i = 0; i < n; i++) {
        const int64_t to = take_source(&walk);
        if (to >= 0)
            ebb_float_put(dtype, result->data, to,
                          ebb_float_at(dtype, result->data, to) + ebb_float_at(dtype, x->data, i));
    }
    return EBB_OK;
}

static void vjp_pad(const ebb_vjp *v)
{
    const ebb_pad_attrs *attrs = v->attrs;
    const ebb_shape *inner = &ebb_node_type(v->inputs[0])->shape;
    if (!v->needed[0])
        return;
    if (attrs->mode == EBB_PAD_CONSTANT) {
        ebb_ints end = attrs->before;
        for (int i = 0; i < inner->rank; i++)
            end.values[i] += inner->dims[i];
        v->gradients[0] = ebb_slice(v->cotangents[0], attrs->before, end, EBB_NO_INTS);
        return;
    }
    ebb_pad_attrs back = *attrs;
    back.value = 0;
    v->gradients[0] = ebb_emit(v->graph, &ebb_op_pad_grad, v->cotangents, 1, &back, NULL);
}

static void vjp_pad_grad(const ebb_vjp *v)
{
    const ebb_pad_attrs *attrs = v->attrs;
    if (v->needed[0])
        v->gradients[0] =
            ebb_pad(v->cotangents[0], attrs->before, attrs->after, (ebb_pad_mode)attrs->mode, 0);
}

ebb_node(ebb_pad)(ebb_node x, ebb_ints before, ebb_ints after, ebb_pad_mode mode, double value)
{
    const int rank = ebb_node_type(x)->shape.rank;
    ebb_pad_attrs attrs = { before, after, (int)mode, mode == EBB_PAD_CONSTANT ? value : 0 };
    bool is_padded = before.n != rank || after.n != rank || (int)mode < EBB_PAD_CONSTANT ||
                     (int)mode > EBB_PAD_EDGE;
    for (int i = 0; i < rank && !is_padded; i++)
        is_padded = before.values[i] != 0 || after.values[i] != 0;
    if (!is_padded && !ebb_node_is_none(x))
        return x;
    return ebb_emit(NULL, &ebb_op_pad, &x, 1, &attrs, NULL);
}

static const char *const mode_names[] = { "constant", "reflect", "edge", NULL };

/* clang-format off */
#define MODE_FIELD { "mode", EBB_ATTR_ENUM, offsetof(ebb_pad_attrs, mode),                         \
      "what is put there: value; the elements mirrored at the border element; the border element; "\
      "default constant", mode_names }
static const ebb_attr_field pad_fields[] = {
    EBB_FIELD(ebb_pad_attrs, before, INTS, "elements in front, per dimension"),
    EBB_FIELD(ebb_pad_attrs, after, INTS, "elements behind, per dimension"),
    MODE_FIELD,
    EBB_FIELD(ebb_pad_attrs, value, F64, "for constant, rounded to the dtype; default 0"),
    { 0 },
};
static const ebb_attr_field pad_grad_fields[] = {
    EBB_FIELD(ebb_pad_attrs, before, INTS, "as in pad"),
    EBB_FIELD(ebb_pad_attrs, after, INTS, "as in pad"),
    MODE_FIELD,
    { 0 },
};

#define IN(dtype, ...) .inputs = EBB_INPUTS(EBB_SAMPLE_TYPE(dtype, __VA_ARGS__))
#define IN_SCALAR(dtype) .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(dtype))
#define L(...) { (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), { __VA_ARGS__ } }
#define NONE { 0, { 0 } }
#define PAD(before, after, mode, value)                                                            \
    .attrs = &(const ebb_pad_attrs){ before, after, EBB_PAD_##mode, value }
#define VALUES(...) .values = { (const double[]){ __VA_ARGS__ } }
#define EXPECTED(...) .expected = (const double[]){ __VA_ARGS__ }
#define NUMPY .source = "NumPy manual, numpy.pad, examples"
#define DEFINITION .source = "by the definition"
/* What both ops refuse, given an input of rank 2. */
#define BAD_ATTRS(...)                                                                             \
    { IN(F64, __VA_ARGS__), PAD(L(1), L(1), EDGE, 0), .error = EBB_BAD_ATTRIBUTE,                  \
      .message = "before and after have 1 and 1 numbers for rank 2" },                             \
    { IN(F64, __VA_ARGS__), PAD(L(0, 1), NONE, EDGE, 0), .error = EBB_BAD_ATTRIBUTE,               \
      .message = "before and after have 2 and 0 numbers for rank 2" },                             \
    { IN(F64, __VA_ARGS__), PAD(L(0, -1), L(0, 2), REFLECT, 0), .error = EBB_BAD_ATTRIBUTE,        \
      .message = "dimension 1 is padded by -1, 2" },                                               \
    { IN(F64, __VA_ARGS__), .attrs = &(const ebb_pad_attrs){ .mode = 3 },                          \
      .error = EBB_BAD_ATTRIBUTE, .message = "there is no mode 3" }
static const ebb_sample samples_pad[] = {
    { IN(F64, 5), PAD(L(2), L(3), CONSTANT, 4), VALUES(1, 2, 3, 4, 5),
      EXPECTED(4, 4, 1, 2, 3, 4, 5, 4, 4, 4), NUMPY },
    { IN(F64, 5), PAD(L(2), L(3), EDGE, 0), VALUES(1, 2, 3, 4, 5),
      EXPECTED(1, 1, 1, 2, 3, 4, 5, 5, 5, 5), NUMPY },
    { IN(F64, 5), PAD(L(2), L(3), REFLECT, 0), VALUES(1, 2, 3, 4, 5),
      EXPECTED(3, 2, 1, 2, 3, 4, 5, 4, 3, 2), NUMPY },
    { IN(F64, 2, 2), PAD(L(1, 0), L(0, 1), EDGE, 0), VALUES(1, 2, 3, 4),
      EXPECTED(1, 2, 2, 1, 2, 2, 3, 4, 4), DEFINITION },
    { IN(F64, 2, 2), PAD(L(1, 0), L(0, 1), CONSTANT, -1), VALUES(1, 2, 3, 4),
      EXPECTED(-1, -1, -1, 1, 2, -1, 3, 4, -1), DEFINITION },
    { IN(F64, 3), PAD(L(5), L(5), REFLECT, 0), VALUES(1, 2, 3), /* mirrored again and again */
      EXPECTED(2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2), DEFINITION },
    { IN(F64, 1), PAD(L(1), L(2), REFLECT, 0), VALUES(7), EXPECTED(7, 7, 7, 7), DEFINITION },
    { IN(U8, 1), PAD(L(1), L(1), CONSTANT, 300), VALUES(7), EXPECTED(255, 7, 255), DEFINITION },
    { IN_SCALAR(F64), PAD(NONE, NONE, CONSTANT, 3) }, { IN(F64, 0), PAD(L(1), L(2), CONSTANT, 3) },
    { IN(F64, 0, 2), PAD(L(0, 1), L(0, 2), REFLECT, 0) },
    { IN(F64, 1), PAD(L(0), L(16), CONSTANT, 0.5) }, { IN(F64, 7), PAD(L(3), L(7), REFLECT, 0) },
    { IN(F64, 17), PAD(L(1), L(0), EDGE, 0) },
    { IN(F64, 3, 5), PAD(L(1, 2), L(3, 0), CONSTANT, -2) },
    { IN(F64, 2, 3, 4), PAD(L(0, 2, 1), L(1, 1, 3), REFLECT, 0) },
    { IN(F64, 2, 3, 4), PAD(L(1, 0, 2), L(2, 1, 0), EDGE, 0) },
    { IN(F64, 2, 1, 3, 2), PAD(L(0, 1, 0, 1), L(0, 0, 1, 0), CONSTANT, 1) },
    { IN(I64, 3), PAD(L(1), L(1), CONSTANT, -9) }, { IN(I32, 3, 2), PAD(L(1, 1), L(1, 2), EDGE, 0) },
    { IN(BOOL, 3), PAD(L(1), L(1), CONSTANT, 1) }, { IN(U8, 4), PAD(L(2), L(2), REFLECT, 0) },
    BAD_ATTRS(2, 3),
    { IN(F64, 2, 0), PAD(L(0, 1), L(0, 0), EDGE, 0), .error = EBB_BAD_SHAPE,
      .message = "dimension 1 has no element to repeat" },
    { IN(F64, 2), PAD(L(INT64_MAX), L(0), CONSTANT, 0), .error = EBB_BAD_SHAPE,
      .message = "dimension 0 gets too large" },
    { IN(F64, 2), PAD(L(0), L(INT64_MAX - 2), CONSTANT, 0), .error = EBB_BAD_SHAPE,
      .message = "too many elements" },
};
static const ebb_sample samples_pad_grad[] = {
    { IN(F64, 10), PAD(L(2), L(3), EDGE, 0), VALUES(1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
      EXPECTED(6, 4, 5, 6, 34), DEFINITION },
    { IN(F64, 10), PAD(L(2), L(3), REFLECT, 0), VALUES(1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
      EXPECTED(3, 16, 15, 14, 7), DEFINITION },
    { IN(F64, 4), PAD(L(1), L(2), REFLECT, 0), VALUES(1, 2, 3, 4), EXPECTED(10), DEFINITION },
    { IN(F64, 3, 3), PAD(L(1, 0), L(0, 1), EDGE, 0), VALUES(1, 2, 3, 4, 5, 6, 7, 8, 9),
      EXPECTED(5, 16, 7, 17), DEFINITION },
    { IN(F64, 4), PAD(L(1), L(1), CONSTANT, 0), VALUES(1, 2, 3, 4), EXPECTED(2, 3), DEFINITION },
    { IN_SCALAR(F64), PAD(NONE, NONE, EDGE, 0) }, { IN(F64, 0), PAD(L(0), L(0), EDGE, 0) },
    { IN(F64, 3, 0), PAD(L(1, 0), L(1, 0), REFLECT, 0) }, { IN(F64, 1), PAD(L(0), L(0), EDGE, 0) },
    { IN(F64, 3), PAD(L(1), L(2), CONSTANT, 0) }, { IN(F64, 17), PAD(L(3), L(7), REFLECT, 0) },
    { IN(F64, 17), PAD(L(7), L(7), REFLECT, 0) }, { IN(F64, 7), PAD(L(6), L(0), EDGE, 0) },
    { IN(F64, 3, 6, 8), PAD(L(0, 2, 1), L(1, 1, 3), REFLECT, 0) },
    { IN(F64, 5, 4, 6), PAD(L(1, 0, 2), L(2, 1, 0), EDGE, 0) },
    BAD_ATTRS(4, 5),
    { IN(F64, 3), PAD(L(2), L(2), EDGE, 0), .error = EBB_BAD_SHAPE,
      .message = "dimension 0 of size 3 is not padded by 2, 2" },
    { IN(F64, 3), PAD(L(1), L(INT64_MAX), EDGE, 0), .error = EBB_BAD_SHAPE,
      .message = "dimension 0 of size 3 is not padded by 1," },
    { IN(F64, 3), PAD(L(1), L(2), EDGE, 0), .error = EBB_BAD_SHAPE,
      .message = "dimension 0 has no element to repeat" },
    { IN(I32, 3), PAD(L(1), L(1), EDGE, 0), .error = EBB_BAD_DTYPE,
      .message = "dtype i32 is not one of f64, f32" },
};
/* clang-format on */

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])
#define PAD_OP(op_name, text)                                                                      \
    const ebb_op ebb_op_##op_name = {                                                              \
        .name = #op_name,                                                                          \
        .summary = text,                                                                           \
        .group = "shape",                                                                          \
        .n_inputs = 1,                                                                             \
        .n_results = 1,                                                                            \
        .attrs_bytes = sizeof(ebb_pad_attrs),                                                      \
        .attrs = op_name##_fields,                                                                 \
        .infer = infer_##op_name,                                                                  \
        .vjp = vjp_##op_name,                                                                      \
        .eval = eval_##op_name,                                                                    \
        .samples = samples_##op_name,                                                              \
        .n_samples = COUNT(samples_##op_name),                                                     \
    }

PAD_OP(pad, "more elements around: a constant, or those at the border");
PAD_OP(pad_grad,
       "adds the elements of a padded value up where they came from: the gradient of pad");
