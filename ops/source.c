/* Sources: input, variable, constant, iota. */
#define EBB_NO_LOCATIONS
#include "graph/graph_build.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include <math.h>
#include <string.h>

static ebb_status infer_declared(const ebb_infer *infer, const ebb_type *type)
{
    ebb_status status = ebb_infer_dtype(infer, type->dtype);
    if (!status)
        status = ebb_infer_shape(infer, &type->shape);
    if (!status)
        infer->results[0] = *type;
    return status;
}

/* The source that has this full name already, for a builder that wants one of `op` and `type`: that
 * node, or a sticky error. False: the name is free. */
static bool find_source(ebb_graph *graph, const ebb_op *op, const char *full_name,
                        const ebb_type *type, ebb_node *node)
{
    *node = ebb_graph_find(graph, full_name);
    if (ebb_node_is_none(*node))
        return false;
    if (ebb_node_op(*node) == op && ebb_type_equal(ebb_node_type(*node), type))
        return true;
    char old[EBB_TYPE_TEXT_BYTES], wanted[EBB_TYPE_TEXT_BYTES];
    *node = ebb_graph_fail(
        graph, EBB_BAD_NAME, "%s: the name \"%s\" is taken: %s %s is there, %s %s is wanted",
        op->name, full_name, ebb_node_op(*node)->name, ebb_type_text(ebb_node_type(*node), old),
        op->name, ebb_type_text(type, wanted));
    return true;
}

/* ---- input ---- */

static ebb_status infer_input(const ebb_infer *infer)
{
    return infer_declared(infer, &((const ebb_input_attrs *)infer->attrs)->type);
}

ebb_node(ebb_input)(ebb_graph *graph, const char *name, ebb_dtype dtype, ebb_shape shape)
{
    ebb_input_attrs attrs = { ebb_graph_full_name(graph, name), { dtype, shape } };
    ebb_node node = { graph, 0 };
    if (!attrs.name || find_source(graph, &ebb_op_input, attrs.name, &attrs.type, &node))
        return node;
    return ebb_emit(graph, &ebb_op_input, NULL, 0, &attrs, NULL);
}

static const ebb_attr_field input_fields[] = {
    EBB_FIELD(ebb_input_attrs, name, NAME, "full name"),
    EBB_FIELD(ebb_input_attrs, type, TYPE, "dtype and shape of the fed value"),
    { 0 },
};

/* clang-format off */
#define INVALID(attrs_type, ...)                                                                   \
    { .attrs = &(const attrs_type){ __VA_ARGS__ .type = { EBB_NO_DTYPE, { 1, { 3 } } } },          \
      .error = EBB_BAD_DTYPE, .message = "there is no dtype 0" },                                  \
    { .attrs = &(const attrs_type){ __VA_ARGS__                                                    \
                                    .type = { EBB_F32, { 9, { 1, 1, 1, 1, 1, 1, 1, 1 } } } },      \
      .error = EBB_BAD_SHAPE, .message = "a shape of rank 9; the largest rank is 8" },             \
    { .attrs = &(const attrs_type){ __VA_ARGS__ .type = { EBB_F32, { -1, { 0 } } } },              \
      .error = EBB_BAD_SHAPE, .message = "a shape of rank -1" },                                   \
    { .attrs = &(const attrs_type){ __VA_ARGS__ .type = { EBB_F32, { 2, { 2, -3 } } } },           \
      .error = EBB_BAD_SHAPE, .message = "dimension 1 of shape [2,-3] is negative" },              \
    { .attrs = &(const attrs_type){ __VA_ARGS__                                                    \
                                    .type = { EBB_F32, { 2, { INT64_MAX, INT64_MAX } } } },        \
      .error = EBB_BAD_SHAPE, .message = "too many elements" }

static const ebb_sample samples_input[] = { INVALID(ebb_input_attrs, .name = "s",) };
/* clang-format on */

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])

const ebb_op ebb_op_input = {
    .name = "input",
    .summary = "a value that is fed at each run",
    .group = "source",
    .n_results = 1,
    .traits = EBB_TRAIT_SOURCE,
    .attrs_bytes = sizeof(ebb_input_attrs),
    .attrs = input_fields,
    .infer = infer_input,
    .samples = samples_input,
    .n_samples = COUNT(samples_input),
};

/* ---- variable ---- */

static ebb_status infer_variable(const ebb_infer *infer)
{
    const ebb_variable_attrs *attrs = infer->attrs;
    ebb_status status = infer_declared(infer, &attrs->type);
    if (status)
        return status;
    if (attrs->init < EBB_INIT_CONSTANT || attrs->init > EBB_INIT_ORTHOGONAL)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "there is no initial value of kind %d",
                              attrs->init);
    if (attrs->init != EBB_INIT_CONSTANT && !ebb_dtype_is_float(attrs->type.dtype))
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "a random initial value of dtype %s",
                              ebb_dtype_name(attrs->type.dtype));
    if (attrs->init == EBB_INIT_UNIFORM &&
        !(isfinite(attrs->a) && isfinite(attrs->b) && attrs->a <= attrs->b))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "initial values from [%g, %g)", attrs->a,
                              attrs->b);
    if ((attrs->init == EBB_INIT_NORMAL || attrs->init == EBB_INIT_TRUNCATED_NORMAL) &&
        !(isfinite(attrs->a) && isfinite(attrs->b) && attrs->b >= 0))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE,
                              "initial values of mean %g and standard deviation %g", attrs->a,
                              attrs->b);
    if (attrs->init == EBB_INIT_ORTHOGONAL && !isfinite(attrs->b))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "an orthogonal initial value times %g",
                              attrs->b);
    if (attrs->init == EBB_INIT_ORTHOGONAL && attrs->type.shape.rank < 2)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE,
                              "an orthogonal initial value of rank %d; it needs 2",
                              attrs->type.shape.rank);
    return EBB_OK;
}

ebb_node(ebb_variable)(ebb_graph *graph, const char *name, ebb_dtype dtype, ebb_shape shape,
                       const ebb_init *init)
{
    ebb_variable_attrs attrs = { .name = ebb_graph_full_name(graph, name),
                                 .type = { dtype, shape } };
    ebb_node node = { graph, 0 };
    if (init) {
        attrs.init = (int)init->kind;
        attrs.a = init->a;
        attrs.b = init->b;
        attrs.seed = (int64_t)init->seed;
    }
    if (!attrs.name)
        return node;
    if (!find_source(graph, &ebb_op_variable, attrs.name, &attrs.type, &node))
        return ebb_emit(graph, &ebb_op_variable, NULL, 0, &attrs, NULL);
    if (!ebb_node_is_none(node) && init &&
        !ebb_attrs_equal(&ebb_op_variable, ebb_node_attrs(node), &attrs))
        return ebb_graph_fail(graph, EBB_BAD_NAME,
                              "variable: \"%s\" is there with another initial value", attrs.name);
    return node;
}

static const char *const init_names[] = { "constant",         "uniform",    "normal",
                                          "truncated_normal", "orthogonal", NULL };
static const ebb_attr_field variable_fields[] = {
    EBB_FIELD(ebb_variable_attrs, name, NAME, "full name"),
    EBB_FIELD(ebb_variable_attrs, type, TYPE, "dtype and shape"),
    { "init", EBB_ATTR_ENUM, offsetof(ebb_variable_attrs, init),
      "how it gets its first value; default constant", init_names },
    EBB_FIELD(ebb_variable_attrs, a, F64, "the constant, the lower bound or the mean; default 0"),
    EBB_FIELD(ebb_variable_attrs, b, F64,
              "the upper bound, the standard deviation or the factor; default 0"),
    EBB_FIELD(ebb_variable_attrs, seed, I64, "of random values; default 0"),
    { 0 },
};

/* clang-format off */
#define BAD_INIT(...) { .attrs = &(const ebb_variable_attrs){ .name = "s", __VA_ARGS__ }
static const ebb_sample samples_variable[] = {
    INVALID(ebb_variable_attrs, .name = "s",),
    BAD_INIT(.type = { EBB_F32, { 0, { 0 } } }, .init = 5),
      .error = EBB_BAD_ATTRIBUTE, .message = "there is no initial value of kind 5" },
    BAD_INIT(.type = { EBB_I64, { 0, { 0 } } }, .init = EBB_INIT_NORMAL, .b = 1),
      .error = EBB_BAD_DTYPE, .message = "a random initial value of dtype i64" },
    BAD_INIT(.type = { EBB_F32, { 0, { 0 } } }, .init = EBB_INIT_NORMAL, .b = -1),
      .error = EBB_BAD_ATTRIBUTE, .message = "standard deviation -1" },
    BAD_INIT(.type = { EBB_F32, { 0, { 0 } } }, .init = EBB_INIT_UNIFORM, .a = 1),
      .error = EBB_BAD_ATTRIBUTE, .message = "initial values from [1, 0)" },
    BAD_INIT(.type = { EBB_F32, { 0, { 0 } } }, .init = EBB_INIT_TRUNCATED_NORMAL, .b = -1),
      .error = EBB_BAD_ATTRIBUTE, .message = "standard deviation -1" },
    BAD_INIT(.type = { EBB_F32, { 2, { 2, 2 } } }, .init = EBB_INIT_ORTHOGONAL, .b = INFINITY),
      .error = EBB_BAD_ATTRIBUTE, .message = "an orthogonal initial value times inf" },
    BAD_INIT(.type = { EBB_F32, { 1, { 4 } } }, .init = EBB_INIT_ORTHOGONAL, .b = 1),
      .error = EBB_BAD_SHAPE, .message = "an orthogonal initial value of rank 1; it needs 2" },
};
/* clang-format on */

const ebb_op ebb_op_variable = {
    .name = "variable",
    .summary = "a named, persistent tensor; updates write it",
    .group = "source",
    .n_results = 1,
    .traits = EBB_TRAIT_SOURCE | EBB_TRAIT_VARIABLE,
    .attrs_bytes = sizeof(ebb_variable_attrs),
    .attrs = variable_fields,
    .infer = infer_variable,
    .samples = samples_variable,
    .n_samples = COUNT(samples_variable),
};

/* ---- constant ---- */

static ebb_status infer_constant(const ebb_infer *infer)
{
    const ebb_constant_attrs *attrs = infer->attrs;
    ebb_status status = infer_declared(infer, &attrs->type);
    if (status)
        return status;
    int64_t n = ebb_shape_elements(&attrs->type.shape);
    if (n > 0 && !attrs->data)
        return ebb_infer_fail(infer, EBB_BAD_ARGUMENT, "there is no data");
    const uint8_t *bytes = attrs->data;
    for (int64_t i = 0; attrs->type.dtype == EBB_BOOL && i < n; i++)
        if (bytes[i] > 1)
            return ebb_infer_fail(infer, EBB_BAD_ARGUMENT, "element %lld of bool is %d",
                                  (long long)i, bytes[i]);
    return EBB_OK;
}

static ebb_status eval_constant(const ebb_eval *eval)
{
    const ebb_constant_attrs *attrs = eval->attrs;
    size_t bytes = ebb_type_bytes(&attrs->type);
    if (bytes)
        memcpy(eval->results[0].data, attrs->data, bytes);
    return EBB_OK;
}

ebb_node(ebb_constant)(ebb_graph *graph, ebb_dtype dtype, ebb_shape shape, const void *data)
{
    static const uint8_t nothing = 0; /* what an empty constant points to */
    ebb_constant_attrs attrs = { { dtype, shape }, data };
    if (!data && ebb_shape_elements(&shape) == 0)
        attrs.data = &nothing;
    return ebb_emit(graph, &ebb_op_constant, NULL, 0, &attrs, NULL);
}

static const ebb_attr_field constant_fields[] = {
    EBB_FIELD(ebb_constant_attrs, type, TYPE, "dtype and shape"),
    EBB_FIELD(ebb_constant_attrs, data, DATA, "the elements, row-major"),
    { 0 },
};

/* clang-format off */
static const ebb_sample samples_constant[] = {
    { .attrs = &(const ebb_constant_attrs){ EBB_SAMPLE_TYPE(F64, 2, 2),
      (const double[]){ 1, 2, 3, 4.5 } },
      .values = { (const double[]){ 0 } }, .expected = (const double[]){ 1, 2, 3, 4.5 },
      .source = "by the definition" },
    { .attrs = &(const ebb_constant_attrs){ EBB_SAMPLE_SCALAR(U8), (const uint8_t[]){ 255 } },
      .values = { (const double[]){ 0 } }, .expected = (const double[]){ 255 },
      .source = "by the definition" },
    { .attrs = &(const ebb_constant_attrs){ EBB_SAMPLE_TYPE(F32, 2, 0), (const float[]){ 0 } } },
    INVALID(ebb_constant_attrs, ),
    { .attrs = &(const ebb_constant_attrs){ EBB_SAMPLE_TYPE(F32, 2), NULL },
      .error = EBB_BAD_ARGUMENT, .message = "there is no data" },
    { .attrs = &(const ebb_constant_attrs){ EBB_SAMPLE_TYPE(BOOL, 2), (const uint8_t[]){ 0, 2 } },
      .error = EBB_BAD_ARGUMENT, .message = "element 1 of bool is 2" },
};
/* clang-format on */

const ebb_op ebb_op_constant = {
    .name = "constant",
    .summary = "fixed elements",
    .group = "source",
    .n_results = 1,
    .traits = EBB_TRAIT_SOURCE,
    .attrs_bytes = sizeof(ebb_constant_attrs),
    .attrs = constant_fields,
    .infer = infer_constant,
    .eval = eval_constant,
    .samples = samples_constant,
    .n_samples = COUNT(samples_constant),
};

/* ---- iota ---- */

static ebb_status infer_iota(const ebb_infer *infer)
{
    const ebb_iota_attrs *attrs = infer->attrs;
    ebb_status status = infer_declared(infer, &attrs->type);
    if (status)
        return status;
    if (attrs->type.dtype == EBB_BOOL)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "dtype bool is no number");
    return ebb_infer_axis(infer, attrs->axis, attrs->type.shape.rank);
}

static ebb_status eval_iota(const ebb_eval *eval)
{
    const ebb_iota_attrs *attrs = eval->attrs;
    const ebb_shape *shape = &attrs->type.shape;
    int64_t strides[EBB_MAX_RANK], n = ebb_shape_elements(shape);
    int axis = ebb_axis_of(attrs->axis, shape->rank);
    ebb_shape_strides(shape, strides);
    void *out = eval->results[0].data;
    for (int64_t i = 0; i < n; i++) {
        int64_t index = i / strides[axis] % shape->dims[axis];
        switch (attrs->type.dtype) {
        case EBB_F64:
            ((double *)out)[i] = (double)index;
            break;
        case EBB_F32:
            ((float *)out)[i] = (float)index;
            break;
        case EBB_I64:
            ((int64_t *)out)[i] = index;
            break;
        case EBB_I32:
            ((int32_t *)out)[i] = (int32_t)(uint32_t)index;
            break;
        default:
            ((uint8_t *)out)[i] = (uint8_t)index;
        }
    }
    return EBB_OK;
}

ebb_node(ebb_iota)(ebb_graph *graph, ebb_dtype dtype, ebb_shape shape, int axis)
{
    int front = ebb_axis_of(axis, shape.rank);
    ebb_iota_attrs attrs = { { dtype, shape }, front < 0 ? axis : front };
    return ebb_emit(graph, &ebb_op_iota, NULL, 0, &attrs, NULL);
}

static const ebb_attr_field iota_fields[] = {
    EBB_FIELD(ebb_iota_attrs, type, TYPE, "dtype (not bool) and shape"),
    EBB_FIELD(ebb_iota_attrs, axis, I64, "the axis that counts; default 0"),
    { 0 },
};

/* clang-format off */
#define IOTA(axis, type) { .attrs = &(const ebb_iota_attrs){ type, axis } }
static const ebb_sample samples_iota[] = {
    { .attrs = &(const ebb_iota_attrs){ EBB_SAMPLE_TYPE(I64, 2, 3), 1 },
      .values = { (const double[]){ 0 } },
      .expected = (const double[]){ 0, 1, 2, 0, 1, 2 }, .source = "by the definition" },
    { .attrs = &(const ebb_iota_attrs){ EBB_SAMPLE_TYPE(F64, 3, 2), -2 },
      .values = { (const double[]){ 0 } },
      .expected = (const double[]){ 0, 0, 1, 1, 2, 2 }, .source = "by the definition" },
    IOTA(0, EBB_SAMPLE_TYPE(I32, 0)), IOTA(0, EBB_SAMPLE_TYPE(F32, 1)),
    IOTA(1, EBB_SAMPLE_TYPE(U8, 1, 17)),
    IOTA(2, EBB_SAMPLE_TYPE(F64, 2, 0, 3)), IOTA(-1, EBB_SAMPLE_TYPE(F32, 7, 7)),
    INVALID(ebb_iota_attrs, ),
    { .attrs = &(const ebb_iota_attrs){ EBB_SAMPLE_TYPE(BOOL, 2), 0 },
      .error = EBB_BAD_DTYPE, .message = "dtype bool is no number" },
    { .attrs = &(const ebb_iota_attrs){ EBB_SAMPLE_TYPE(F64, 2), 1 },
      .error = EBB_BAD_AXIS, .message = "axis 1 is out of range for rank 1" },
    { .attrs = &(const ebb_iota_attrs){ EBB_SAMPLE_SCALAR(F64), 0 },
      .error = EBB_BAD_AXIS, .message = "a scalar has none" },
};
/* clang-format on */

const ebb_op ebb_op_iota = {
    .name = "iota",
    .summary = "the index along an axis, repeated along the others",
    .group = "source",
    .n_results = 1,
    .traits = EBB_TRAIT_SOURCE,
    .attrs_bytes = sizeof(ebb_iota_attrs),
    .attrs = iota_fields,
    .infer = infer_iota,
    .eval = eval_iota,
    .samples = samples_iota,
    .n_samples = COUNT(samples_iota),
};
