/* Element-wise ops: everything that elementwise.def says, expanded into loops, rules, builders,
 * samples and descriptors; and select. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/functions.h"
#include "ops/parameters.h"
#include <math.h>
#include <string.h>

/* For ops of one input, `b` is their attributes. */
typedef void (*loop)(const void *a, const void *b, void *result, int64_t n);

/* What the rules of a row share. */
typedef struct family {
    loop loops[EBB_N_DTYPES];                    /* by the dtype of the inputs; NULL: not allowed */
    ebb_status (*check)(const ebb_infer *infer); /* of parameters; NULL: there are none */
} family;

/* clang-format off */
#define R_BOOL uint8_t
#define NOTHING(...)
#define ITSELF(...) __VA_ARGS__

#define T double
#define U double
#define FN(name) name
#define LOOP(name) name##_f64
#define VALUE(float_value, int_value) float_value
#define ON_FLOATS ITSELF
#define ON_NUMBERS ITSELF
#define ON_BOOLS NOTHING
#define ON_ANY ITSELF
#include "ops/elementwise_loops.h"

#define T float
#define U float
#define FN(name) name##f
#define LOOP(name) name##_f32
#define VALUE(float_value, int_value) float_value
#define ON_FLOATS ITSELF
#define ON_NUMBERS ITSELF
#define ON_BOOLS NOTHING
#define ON_ANY ITSELF
#include "ops/elementwise_loops.h"

#define T int64_t
#define U uint64_t
#define LOOP(name) name##_i64
#define VALUE(float_value, int_value) int_value
#define ON_FLOATS NOTHING
#define ON_NUMBERS ITSELF
#define ON_BOOLS NOTHING
#define ON_ANY ITSELF
#include "ops/elementwise_loops.h"

#define T int32_t
#define U uint32_t
#define LOOP(name) name##_i32
#define VALUE(float_value, int_value) int_value
#define ON_FLOATS NOTHING
#define ON_NUMBERS ITSELF
#define ON_BOOLS NOTHING
#define ON_ANY ITSELF
#include "ops/elementwise_loops.h"

#define T uint8_t
#define U uint8_t
#define LOOP(name) name##_u8
#define VALUE(float_value, int_value) int_value
#define ON_FLOATS NOTHING
#define ON_NUMBERS ITSELF
#define ON_BOOLS NOTHING
#define ON_ANY ITSELF
#include "ops/elementwise_loops.h"

#define T uint8_t
#define U uint8_t
#define LOOP(name) name##_bool
#define VALUE(float_value, int_value) int_value
#define ON_FLOATS NOTHING
#define ON_NUMBERS NOTHING
#define ON_BOOLS ITSELF
#define ON_ANY ITSELF
#include "ops/elementwise_loops.h"

#define LOOPS_FLOATS(name) [EBB_F64] = name##_f64, [EBB_F32] = name##_f32
#define LOOPS_NUMBERS(name)                                                                        \
    LOOPS_FLOATS(name), [EBB_I64] = name##_i64, [EBB_I32] = name##_i32, [EBB_U8] = name##_u8
#define LOOPS_BOOLS(name) [EBB_BOOL] = name##_bool
#define LOOPS_ANY(name) LOOPS_NUMBERS(name), LOOPS_BOOLS(name)

/* ---- parameters ---- */

static ebb_status check_ALPHA(const ebb_infer *infer)
{
    const double alpha = ((const ebb_alpha_attrs *)infer->attrs)->alpha;
    if (!isfinite(alpha))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "alpha %g is not finite", alpha);
    return EBB_OK;
}

static ebb_status check_LIMITS(const ebb_infer *infer)
{
    const ebb_limits_attrs *attrs = infer->attrs;
    if (!(attrs->low <= attrs->high))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "low %g is not below high %g", attrs->low,
                              attrs->high);
    return EBB_OK;
}

static const ebb_attr_field fields_ALPHA[] = {
    EBB_FIELD(ebb_alpha_attrs, alpha, F64, "factor of the part below 0; default 0"),
    { 0 },
};
static const ebb_attr_field fields_LIMITS[] = {
    EBB_FIELD(ebb_limits_attrs, low, F64, "smallest result, may be -inf; default 0"),
    EBB_FIELD(ebb_limits_attrs, high, F64, "largest result, may be inf; default 0"),
    { 0 },
};

#define STRUCT_ALPHA ebb_alpha_attrs
#define STRUCT_LIMITS ebb_limits_attrs
#define ARGUMENTS_ALPHA double alpha
#define ARGUMENTS_LIMITS double low, double high
#define VALUES_ALPHA alpha
#define VALUES_LIMITS low, high
#define REFUSED(attrs_struct, text, ...)                                                           \
    { .inputs = EBB_INPUTS(TYPE(F64, 3)), .attrs = &(const attrs_struct){ __VA_ARGS__ },           \
      .error = EBB_BAD_ATTRIBUTE, .message = text }
#define REFUSED_ALPHA                                                                              \
    REFUSED(ebb_alpha_attrs, "alpha nan is not finite", NAN),                                      \
    REFUSED(ebb_alpha_attrs, "alpha inf is not finite", INFINITY)
#define REFUSED_LIMITS                                                                             \
    REFUSED(ebb_limits_attrs, "low 2 is not below high -1", 2, -1),                                \
    REFUSED(ebb_limits_attrs, "low nan is not below high 1", NAN, 1)

#define UNARY(name, dtypes, ...)                                                                   \
    static const family family_##name = { { LOOPS_##dtypes(name) }, NULL };
#define BINARY UNARY
#define COMPARE UNARY
#define TEST UNARY
#define WITH(parameters, name, dtypes, ...)                                                        \
    static const family family_##name = { { LOOPS_##dtypes(name) }, check_##parameters };
#include "ops/elementwise.def"
/* clang-format on */

/* ---- rules ---- */

static ebb_status infer_elements(const ebb_infer *infer, bool compares)
{
    const family *f = infer->op->user;
    ebb_status status = ebb_infer_equal(infer, 0);
    if (status)
        return status;
    if (!f->loops[infer->inputs[0]->dtype]) {
        char allowed[64] = "";
        for (int d = 1; d < EBB_N_DTYPES; d++)
            if (f->loops[d]) {
                strcat(allowed, *allowed ? ", " : "");
                strcat(allowed, ebb_dtype_name((ebb_dtype)d));
            }
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "dtype %s is not one of %s",
                              ebb_dtype_name(infer->inputs[0]->dtype), allowed);
    }
    infer->results[0] = *infer->inputs[0];
    if (compares)
        infer->results[0].dtype = EBB_BOOL;
    return f->check ? f->check(infer) : EBB_OK;
}

static ebb_status infer_value(const ebb_infer *infer)
{
    return infer_elements(infer, false);
}
static ebb_status infer_compare(const ebb_infer *infer)
{
    return infer_elements(infer, true);
}

static ebb_status eval_elements(const ebb_eval *eval)
{
    const family *f = eval->op->user;
    const ebb_tensor *a = &eval->inputs[0];
    f->loops[a->type.dtype](a->data, eval->n_inputs > 1 ? eval->inputs[1].data : eval->attrs,
                            eval->results[0].data, ebb_shape_elements(&a->type.shape));
    return EBB_OK;
}

#define VJP_FLOATS ITSELF
#define VJP_NUMBERS ITSELF
#define VJP_ANY ITSELF
#define VJP_BOOLS NOTHING
#define FULL(value) ebb_full_like(G, value)
#define T double
#define VALUE(float_value, int_value) float_value
#define WITH(parameters, name, dtypes, summary, float_value, int_value, gradient, ...)             \
    static void vjp_##name(const ebb_vjp *v)                                                       \
    {                                                                                              \
        const ebb_node X = v->inputs[0], R = v->results[0], G = v->cotangents[0];                  \
        (void)X, (void)R, (void)G;                                                                 \
        LOCALS_##parameters(v->attrs) if (v->needed[0] &&                                          \
                                          ebb_dtype_is_float(ebb_node_type(X)->dtype))             \
            v->gradients[0] = gradient;                                                            \
    }
#define UNARY(name, dtypes, summary, float_value, int_value, gradient, ...)                        \
    VJP_##dtypes(static void vjp_##name(const ebb_vjp *v) {                                        \
        const ebb_node X = v->inputs[0], R = v->results[0], G = v->cotangents[0];                  \
        (void)X, (void)R, (void)G;                                                                 \
        if (v->needed[0] && ebb_dtype_is_float(ebb_node_type(X)->dtype))                           \
            v->gradients[0] = gradient;                                                            \
    })
#define BINARY(name, dtypes, traits, summary, float_value, int_value, gradient_a, gradient_b, ...) \
    static void vjp_##name(const ebb_vjp *v)                                                       \
    {                                                                                              \
        const ebb_node A = v->inputs[0], B = v->inputs[1], R = v->results[0],                      \
                       G = v->cotangents[0];                                                       \
        (void)B, (void)R, (void)G;                                                                 \
        if (!ebb_dtype_is_float(ebb_node_type(A)->dtype))                                          \
            return;                                                                                \
        if (v->needed[0])                                                                          \
            v->gradients[0] = gradient_a;                                                          \
        if (v->needed[1])                                                                          \
            v->gradients[1] = gradient_b;                                                          \
    }
#include "ops/elementwise.def"
#undef T
#undef VALUE

/* ---- builders ---- */

static ebb_node emit_binary(const ebb_op *op, ebb_node a, ebb_node b)
{
    ebb_node nodes[2] = { a, b };
    ebb_build_broadcast(nodes, 2);
    return ebb_emit(NULL, op, nodes, 2, NULL, NULL);
}

#define UNARY(name, ...)                                                                           \
    ebb_node(ebb_##name)(ebb_node x)                                                               \
    {                                                                                              \
        return ebb_emit(NULL, &ebb_op_##name, &x, 1, NULL, NULL);                                  \
    }
#define BINARY(name, ...)                                                                          \
    ebb_node(ebb_##name)(ebb_node a, ebb_node b)                                                   \
    {                                                                                              \
        return emit_binary(&ebb_op_##name, a, b);                                                  \
    }
#define COMPARE(name, ...) BINARY(name, )
#define TEST(name, ...) UNARY(name, )
#define WITH(parameters, name, ...)                                                                \
    ebb_node(ebb_##name)(ebb_node x, ARGUMENTS_##parameters)                                       \
    {                                                                                              \
        const STRUCT_##parameters attrs = { VALUES_##parameters };                                 \
        return ebb_emit(NULL, &ebb_op_##name, &x, 1, &attrs, NULL);                                \
    }
#include "ops/elementwise.def"

/* ---- samples ---- */

#define KNOWN_SOURCE                                                                               \
    "Abramowitz & Stegun 1964, chapters 4 and 7; the definition in 50 digits; or exact"

/* clang-format off */
#define TYPE EBB_SAMPLE_TYPE
#define SCALAR EBB_SAMPLE_SCALAR
#define PLAIN(low, high, ...) { .inputs = EBB_INPUTS(__VA_ARGS__),                                 \
    .range = EBB_RANGES({ low, high, 0, 0 }) }
#define DRAWN(parameters, low, high, gap, step, ...)                                               \
    { .attrs = parameters, .inputs = EBB_INPUTS(__VA_ARGS__),                                      \
      .range = EBB_RANGES({ low, high, gap, step }) }

/* A known value may stand on a kink. */
#define KNOWN(parameters, step, x0, y0)                                                            \
    { .attrs = parameters, .inputs = EBB_INPUTS(SCALAR(F64)),                                      \
      .values = { (const double[]){ x0 } },                                                        \
      .expected = (const double[]){ y0 }, .tolerance = 1e-15, .source = KNOWN_SOURCE,              \
      .no_gradient = (step) != 0 }
#define UNARY_FLOATS(attrs, low, high, gap, step, x0, y0)                                          \
    DRAWN(attrs, low, high, gap, step, SCALAR(F64)),                                               \
    DRAWN(attrs, low, high, gap, step, TYPE(F64, 0)),                                              \
    DRAWN(attrs, low, high, gap, step, TYPE(F64, 1)),                                              \
    DRAWN(attrs, low, high, gap, step, TYPE(F64, 7)),                                              \
    DRAWN(attrs, low, high, gap, step, TYPE(F64, 17)),                                             \
    DRAWN(attrs, low, high, gap, step, TYPE(F64, 3, 5)),                                           \
    DRAWN(attrs, low, high, gap, step, TYPE(F64, 2, 0, 4)),                                        \
    DRAWN(attrs, low, high, gap, step, TYPE(F64, 2, 3, 1, 7)),                                     \
    KNOWN(attrs, step, x0, y0)
#define UNARY_INTEGERS(attrs)                                                                      \
    DRAWN(attrs, -9, 9, 0, 0, TYPE(I64, 7)), DRAWN(attrs, -9, 9, 0, 0, TYPE(I32, 3, 5)),           \
    DRAWN(attrs, 0, 256, 0, 0, TYPE(U8, 17)), DRAWN(attrs, -9, 9, 0, 0, SCALAR(I64)),              \
    DRAWN(attrs, -9, 9, 0, 0, TYPE(I32, 0))
#define UNARY_REFUSES(type, text)                                                                  \
    { .inputs = EBB_INPUTS(TYPE(type, 3)), .error = EBB_BAD_DTYPE, .message = text }
#define UNARY_SAMPLES_FLOATS(attrs, ...)                                                           \
    UNARY_FLOATS(attrs, __VA_ARGS__), UNARY_REFUSES(I64, "dtype i64 is not one of f64, f32")
#define UNARY_SAMPLES_NUMBERS(attrs, ...)                                                          \
    UNARY_FLOATS(attrs, __VA_ARGS__), UNARY_INTEGERS(attrs),                                       \
    UNARY_REFUSES(BOOL, "dtype bool is not one of")
#define UNARY_SAMPLES_BOOLS(attrs, low, high, gap, step, x0, y0)                                   \
    PLAIN(0, 2, SCALAR(BOOL)), PLAIN(0, 2, TYPE(BOOL, 0)), PLAIN(0, 2, TYPE(BOOL, 1)),             \
    PLAIN(0, 2, TYPE(BOOL, 7)), PLAIN(0, 2, TYPE(BOOL, 17)), PLAIN(0, 2, TYPE(BOOL, 2, 3)),        \
    { .inputs = EBB_INPUTS(SCALAR(BOOL)), .values = { (const double[]){ x0 } },                    \
      .expected = (const double[]){ y0 }, .source = KNOWN_SOURCE },                                \
    UNARY_REFUSES(F64, "dtype f64 is not one of bool")
/* Central differences see the function, not the gradient that is stopped: of no use here. */
#define STOPPED(...) { .inputs = EBB_INPUTS(__VA_ARGS__), .no_gradient = true }
#define UNARY_SAMPLES_ANY(attrs, low, high, gap, step, x0, y0)                                     \
    STOPPED(SCALAR(F64)), STOPPED(TYPE(F64, 0)), STOPPED(TYPE(F64, 7)), STOPPED(TYPE(F64, 2, 17)), \
    UNARY_INTEGERS(NULL), PLAIN(0, 2, TYPE(BOOL, 17))

#define TWO(la, ha, lb, hb, gap, ...)                                                              \
    { .inputs = EBB_INPUTS(__VA_ARGS__),                                                           \
      .range = EBB_RANGES({ la, ha, gap, 0 }, { lb, hb, gap, 0 }) }
#define BINARY_FLOATS(la, ha, lb, hb, gap)                                                         \
    TWO(la, ha, lb, hb, gap, SCALAR(F64), SCALAR(F64)),                                            \
    TWO(la, ha, lb, hb, gap, TYPE(F64, 0), TYPE(F64, 0)),                                          \
    TWO(la, ha, lb, hb, gap, TYPE(F64, 1), TYPE(F64, 1)),                                          \
    TWO(la, ha, lb, hb, gap, TYPE(F64, 7), TYPE(F64, 7)),                                          \
    TWO(la, ha, lb, hb, gap, TYPE(F64, 17), TYPE(F64, 17)),                                        \
    TWO(la, ha, lb, hb, gap, TYPE(F64, 3, 5), TYPE(F64, 3, 5)),                                    \
    TWO(la, ha, lb, hb, gap, TYPE(F64, 2, 0, 4), TYPE(F64, 2, 0, 4)),                              \
    TWO(la, ha, lb, hb, gap, TYPE(F64, 2, 3, 1, 7), TYPE(F64, 2, 3, 1, 7))
#define BINARY_INTEGERS                                                                            \
    TWO(-9, 9, -9, 9, 0, TYPE(I64, 17), TYPE(I64, 17)),                                            \
    TWO(-9, 9, -9, 9, 0, TYPE(I32, 3, 5), TYPE(I32, 3, 5)),                                        \
    TWO(0, 256, 0, 256, 0, TYPE(U8, 17), TYPE(U8, 17)),                                            \
    TWO(-9, 9, -9, 9, 0, SCALAR(I64), SCALAR(I64))
#define BINARY_BOOLS                                                                               \
    TWO(0, 2, 0, 2, 0, SCALAR(BOOL), SCALAR(BOOL)),                                                \
    TWO(0, 2, 0, 2, 0, TYPE(BOOL, 0), TYPE(BOOL, 0)),                                              \
    TWO(0, 2, 0, 2, 0, TYPE(BOOL, 1), TYPE(BOOL, 1)),                                              \
    TWO(0, 2, 0, 2, 0, TYPE(BOOL, 17), TYPE(BOOL, 17)),                                            \
    TWO(0, 2, 0, 2, 0, TYPE(BOOL, 3, 5), TYPE(BOOL, 3, 5))
#define BINARY_KNOWN(dtype, a0, b0, y0)                                                            \
    { .inputs = EBB_INPUTS(SCALAR(dtype), SCALAR(dtype)), .no_gradient = true,                     \
      .values = { (const double[]){ a0 }, (const double[]){ b0 } },                                \
      .expected = (const double[]){ y0 }, .tolerance = 1e-15, .source = KNOWN_SOURCE }
#define BINARY_REFUSES(good, bad, text)                                                            \
    { .inputs = EBB_INPUTS(TYPE(good, 2, 3), TYPE(good, 3, 2)), .error = EBB_BAD_SHAPE,            \
      .message = "shapes do not broadcast: [2,3], [3,2]" },                                        \
    { .inputs = EBB_INPUTS(TYPE(good, 1, 3), TYPE(good, 2, 3)), .error = EBB_BAD_SHAPE,            \
      .message = "shapes differ: [1,3], [2,3]" },                                                  \
    { .inputs = EBB_INPUTS(TYPE(good, 3), TYPE(I32, 3)), .error = EBB_BAD_DTYPE,                   \
      .message = "dtypes differ" },                                                                \
    { .inputs = EBB_INPUTS(TYPE(bad, 3), TYPE(bad, 3)), .error = EBB_BAD_DTYPE, .message = text }

#define BINARY_SAMPLES_FLOATS BINARY_REFUSES(F64, I64, "dtype i64 is not one of f64, f32")
#define BINARY_SAMPLES_NUMBERS                                                                     \
    BINARY_INTEGERS, BINARY_REFUSES(F64, BOOL, "dtype bool is not one of")
#define COMPARE_SAMPLES_NUMBERS(a0, b0, y0)                                                        \
    BINARY_FLOATS(-2, 2, -2, 2, 0), BINARY_INTEGERS, BINARY_KNOWN(F64, a0, b0, y0),                \
    BINARY_REFUSES(F64, BOOL, "dtype bool is not one of")
#define COMPARE_SAMPLES_BOOLS(a0, b0, y0)                                                          \
    BINARY_BOOLS, BINARY_KNOWN(BOOL, a0, b0, y0),                                                  \
    BINARY_REFUSES(BOOL, F64, "dtype f64 is not one of bool")
#define COMPARE_SAMPLES_ANY(a0, b0, y0)                                                            \
    BINARY_FLOATS(-2, 2, -2, 2, 0), BINARY_INTEGERS, BINARY_BOOLS, BINARY_KNOWN(I64, a0, b0, y0)

#define UNARY(name, dtypes, summary, float_value, int_value, gradient, ...)                        \
    static const ebb_sample samples_##name[] = { UNARY_SAMPLES_##dtypes(NULL, __VA_ARGS__) };
#define TEST(name, dtypes, summary, float_value, int_value, x0, y0)                                \
    static const ebb_sample samples_##name[] = {                                                   \
        UNARY_SAMPLES_##dtypes(NULL, -2, 2, 0, 0, x0, y0)                                          \
    };
#define WITH(parameters, name, dtypes, summary, float_value, int_value, gradient, low, high, gap,  \
             step, x0, y0, ...)                                                                    \
    static const STRUCT_##parameters sample_attrs_##name = { __VA_ARGS__ };                        \
    static const ebb_sample samples_##name[] = {                                                   \
        UNARY_SAMPLES_##dtypes(&sample_attrs_##name, low, high, gap, step, x0, y0),                \
        REFUSED_##parameters                                                                       \
    };
#define BINARY(name, dtypes, traits, summary, float_value, int_value, gradient_a, gradient_b,      \
               low_a, high_a, low_b, high_b, gap, a0, b0, y0)                                      \
    static const ebb_sample samples_##name[] = {                                                   \
        BINARY_FLOATS(low_a, high_a, low_b, high_b, gap), BINARY_KNOWN(F64, a0, b0, y0),           \
        BINARY_SAMPLES_##dtypes                                                                    \
    };
#define COMPARE(name, dtypes, traits, summary, value, a0, b0, y0)                                  \
    static const ebb_sample samples_##name[] = { COMPARE_SAMPLES_##dtypes(a0, b0, y0) };
#include "ops/elementwise.def"

/* ---- descriptors ---- */

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])
#define VJP_OR_NULL_BOOLS(name) NULL
#define VJP_OR_NULL_FLOATS(name) vjp_##name
#define VJP_OR_NULL_NUMBERS(name) vjp_##name
#define VJP_OR_NULL_ANY(name) vjp_##name

#define ROW(op_name, inputs, op_traits, text, infer_rule, vjp_rule, ...)                           \
    const ebb_op ebb_op_##op_name = {                                                              \
        .name = #op_name, .summary = text, .group = "element-wise", .n_inputs = inputs,            \
        .n_results = 1, .traits = EBB_TRAIT_ELEMENTWISE | (op_traits), .infer = infer_rule,        \
        .vjp = vjp_rule, .eval = eval_elements, .samples = samples_##op_name,                      \
        .n_samples = COUNT(samples_##op_name), .user = &family_##op_name, __VA_ARGS__              \
    };
#define UNARY(name, dtypes, summary, ...)                                                          \
    ROW(name, 1, 0, summary, infer_value, VJP_OR_NULL_##dtypes(name), )
#define BINARY(name, dtypes, traits, summary, ...)                                                 \
    ROW(name, 2, traits, summary, infer_value, vjp_##name, )
#define COMPARE(name, dtypes, traits, summary, ...)                                                \
    ROW(name, 2, traits, summary, infer_compare, NULL, )
#define TEST(name, dtypes, summary, ...) ROW(name, 1, 0, summary, infer_compare, NULL, )
#define WITH(parameters, name, dtypes, summary, ...)                                               \
    ROW(name, 1, 0, summary, infer_value, vjp_##name,                                              \
        .attrs_bytes = sizeof(STRUCT_##parameters), .attrs = fields_##parameters)
#include "ops/elementwise.def"
/* clang-format on */

/* ---- select ---- */

static ebb_status infer_select(const ebb_infer *infer)
{
    if (infer->inputs[0]->dtype != EBB_BOOL)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "the condition is %s, not bool",
                              ebb_dtype_name(infer->inputs[0]->dtype));
    ebb_status status = ebb_infer_equal(infer, 1);
    if (status)
        return status;
    if (!ebb_shape_equal(&infer->inputs[0]->shape, &infer->inputs[1]->shape)) {
        char a[EBB_TYPE_TEXT_BYTES], b[EBB_TYPE_TEXT_BYTES];
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "shapes differ: condition %s, values %s",
                              ebb_shape_text(&infer->inputs[0]->shape, a),
                              ebb_shape_text(&infer->inputs[1]->shape, b));
    }
    infer->results[0] = *infer->inputs[1];
    return EBB_OK;
}

static ebb_status eval_select(const ebb_eval *eval)
{
    const uint8_t *condition = eval->inputs[0].data;
    const char *a = eval->inputs[1].data, *b = eval->inputs[2].data;
    char *r = eval->results[0].data;
    int64_t n = ebb_shape_elements(&eval->inputs[0].type.shape);
    size_t bytes = ebb_dtype_bytes(eval->inputs[1].type.dtype);
    for (int64_t i = 0; i < n; i++) {
        size_t at = (size_t)i * bytes;
        memcpy(r + at, (condition[i] ? a : b) + at, bytes);
    }
    return EBB_OK;
}

static void vjp_select(const ebb_vjp *v)
{
    const ebb_node C = v->inputs[0], G = v->cotangents[0];
    if (!ebb_dtype_is_float(ebb_node_type(G)->dtype))
        return;
    if (v->needed[1])
        v->gradients[1] = ebb_select(C, G, ebb_full_like(G, 0));
    if (v->needed[2])
        v->gradients[2] = ebb_select(C, ebb_full_like(G, 0), G);
}

ebb_node(ebb_select)(ebb_node condition, ebb_node a, ebb_node b)
{
    ebb_node nodes[3] = { condition, a, b };
    ebb_build_broadcast(nodes, 3);
    return ebb_emit(NULL, &ebb_op_select, nodes, 3, NULL, NULL);
}

/* clang-format off */
#define THREE(dtype, ...)                                                                          \
    { .inputs = EBB_INPUTS(TYPE(BOOL, __VA_ARGS__), TYPE(dtype, __VA_ARGS__),                      \
                  TYPE(dtype, __VA_ARGS__)) }
static const ebb_sample samples_select[] = {
    { .inputs = EBB_INPUTS(SCALAR(BOOL), SCALAR(F64), SCALAR(F64)) },
    THREE(F64, 0), THREE(F64, 1), THREE(F64, 7), THREE(F64, 17), THREE(F64, 3, 5),
    THREE(F64, 2, 3, 1, 7),
    THREE(I64, 7), THREE(I32, 2, 3), THREE(U8, 17), THREE(BOOL, 5),
    { .inputs = EBB_INPUTS(TYPE(BOOL, 4), TYPE(F64, 4), TYPE(F64, 4)),
      .values = { (const double[]){ 1, 0, 0, 1 }, (const double[]){ 1, 2, 3, 4 },
        (const double[]){ 5, 6, 7, 8 } },
      .expected = (const double[]){ 1, 6, 7, 4 }, .source = "by the definition" },
    { .inputs = EBB_INPUTS(TYPE(F64, 3), TYPE(F64, 3), TYPE(F64, 3)), .error = EBB_BAD_DTYPE,
      .message = "the condition is f64, not bool" },
    { .inputs = EBB_INPUTS(TYPE(BOOL, 3), TYPE(F64, 3), TYPE(F32, 3)), .error = EBB_BAD_DTYPE,
      .message = "dtypes differ" },
    { .inputs = EBB_INPUTS(TYPE(BOOL, 2), TYPE(F64, 3), TYPE(F64, 3)), .error = EBB_BAD_SHAPE,
      .message = "shapes differ: condition [2], values [3]" },
    { .inputs = EBB_INPUTS(TYPE(BOOL, 3), TYPE(F64, 3), TYPE(F64, 2)), .error = EBB_BAD_SHAPE,
      .message = "shapes do not broadcast: [3], [2]" },
};
/* clang-format on */

const ebb_op ebb_op_select = {
    .name = "select",
    .summary = "condition ? a : b, element by element",
    .group = "element-wise",
    .n_inputs = 3,
    .n_results = 1,
    .traits = EBB_TRAIT_ELEMENTWISE,
    .infer = infer_select,
    .vjp = vjp_select,
    .eval = eval_select,
    .samples = samples_select,
    .n_samples = COUNT(samples_select),
};
