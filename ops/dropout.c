/* Dropout. What is dropped is a function of (seed, stream, counter, element) alone, so the gradient
 * is the same op on the cotangent. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/philox.h"
#include "ops/random.h"
#include "ops/rows.h"

/* What an element that stays is multiplied by. */
static double scale_of(const ebb_dropout_attrs *attrs)
{
    return attrs->unscaled || attrs->ratio == 1 ? 1 : 1 / (1 - attrs->ratio);
}

static ebb_status infer_dropout(const ebb_infer *infer)
{
    const ebb_dropout_attrs *attrs = infer->attrs;
    const ebb_type *x = infer->inputs[0], *counter = infer->inputs[1];
    ebb_status status = ebb_infer_float(infer, 0);
    if (status)
        return status;
    if (counter->dtype != EBB_I64)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "the counter is %s, not i64",
                              ebb_dtype_name(counter->dtype));
    if (counter->shape.rank != 0)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "the counter is no scalar");
    if (!(attrs->ratio >= 0 && attrs->ratio <= 1))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "ratio %g is not in 0..1", attrs->ratio);
    if (attrs->stream < 0 || attrs->stream > (int64_t)UINT32_MAX)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "stream %lld is not in 0..2^32-1",
                              (long long)attrs->stream);
    if (ebb_shape_elements(&x->shape) > EBB_PHILOX_MAX_BLOCKS * 4)
        return ebb_infer_fail(infer, EBB_LIMIT, "more than 2^32 blocks of random numbers");
    infer->results[0] = *x;
    return EBB_OK;
}

static ebb_status eval_dropout(const ebb_eval *eval)
{
    enum { BLOCK = 256 };
    const ebb_dropout_attrs *attrs = eval->attrs;
    const ebb_tensor *x = &eval->inputs[0];
    const int64_t n = ebb_shape_elements(&x->type.shape);
    const ebb_random_key key = { (uint64_t)attrs->seed,
                                 (uint64_t) * (const int64_t *)eval->inputs[1].data,
                                 (uint32_t)attrs->stream };
    const double scale = scale_of(attrs);
    float uniform[BLOCK];
    for (int64_t i = 0; i < n; i++) {
        if (i % BLOCK == 0)
            ebb_random_fill(EBB_F32, false, key, i, n - i < BLOCK ? n - i : BLOCK, uniform);
        const double value = ebb_float_at(x->type.dtype, x->data, i) * scale;
        ebb_float_put(x->type.dtype, eval->results[0].data, i,
                      uniform[i % BLOCK] >= (float)attrs->ratio ? value : 0);
    }
    return EBB_OK;
}

static void decompose_dropout(const ebb_decompose *d)
{
    const ebb_dropout_attrs *attrs = d->attrs;
    const ebb_node x = d->inputs[0];
    const ebb_node uniform = ebb_random_uniform(d->inputs[1], EBB_F32, ebb_node_type(x)->shape,
                                                attrs->seed, attrs->stream);
    const ebb_node stays = ebb_greater_equal(uniform, ebb_full_like(uniform, attrs->ratio));
    const ebb_node value = attrs->unscaled ? x : ebb_mul(x, ebb_full_like(x, scale_of(attrs)));
    d->results[0] = ebb_select(stays, value, ebb_full_like(x, 0));
}

static ebb_node emit_dropout(ebb_node x, ebb_node counter, const ebb_dropout_attrs *attrs)
{
    const ebb_node inputs[2] = { x, counter };
    return ebb_emit(NULL, &ebb_op_dropout, inputs, 2, attrs, NULL);
}

static void vjp_dropout(const ebb_vjp *v)
{
    if (v->needed[0])
        v->gradients[0] = emit_dropout(v->cotangents[0], v->inputs[1], v->attrs);
}

ebb_node(ebb_dropout)(ebb_node x, double ratio, ebb_node counter, int64_t seed, int64_t stream)
{
    return emit_dropout(x, counter, &(ebb_dropout_attrs){ ratio, seed, stream, false });
}

ebb_node(ebb_dropout_unscaled)(ebb_node x, double ratio, ebb_node counter, int64_t seed,
                               int64_t stream)
{
    return emit_dropout(x, counter, &(ebb_dropout_attrs){ ratio, seed, stream, true });
}

ebb_node(ebb_dropout_mean)(ebb_node x, double ratio)
{
    if (x.id && !(ratio >= 0 && ratio <= 1))
        return ebb_graph_fail(x.graph, EBB_BAD_ATTRIBUTE, "dropout_mean: ratio %g is not in 0..1",
                              ratio);
    if (x.id && !ebb_dtype_is_float(ebb_node_type(x)->dtype)) {
        char text[EBB_NODE_TEXT_BYTES];
        return ebb_graph_fail(x.graph, EBB_BAD_DTYPE, "dropout_mean: not f64 or f32: %s",
                              ebb_node_text(x, text));
    }
    return ebb_mul(x, ebb_full_like(x, 1 - ratio));
}

static const ebb_attr_field dropout_fields[] = {
    EBB_FIELD(ebb_dropout_attrs, ratio, F64, "probability that an element is dropped, 0..1"),
    EBB_FIELD(ebb_dropout_attrs, seed, I64, "key of the generator; default 0"),
    EBB_FIELD(ebb_dropout_attrs, stream, I64, "tells several uses apart, 0..2^32-1; default 0"),
    EBB_FIELD(ebb_dropout_attrs, unscaled, BOOL, "what stays is not divided by 1 - ratio"),
    { 0 },
};

/* clang-format off */
#define TYPE EBB_SAMPLE_TYPE
#define SCALAR EBB_SAMPLE_SCALAR
#define IN(type) .inputs = EBB_INPUTS(type, SCALAR(I64)),                                          \
    .range = EBB_RANGES([1] = { 0, 1e15, 0, 0 })
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define ATTRS(...) .attrs = &(const ebb_dropout_attrs){ __VA_ARGS__ }
/* Key 0, counter 0: words 6627e8d5 e169c58d bc57ac4c 9b00dbd8, of which 24 bits each are the
 * numbers 0.399, 0.880, 0.736, 0.605. */
#define PHILOX "Random123 1.09, kat_vectors, philox4x32 10, first line"
static const ebb_sample samples_dropout[] = {
    { IN(SCALAR(F64)), ATTRS(0.5, 1, 0, false) }, { IN(TYPE(F64, 0)), ATTRS(0.5, 1, 0, false) },
    { IN(TYPE(F64, 1)), ATTRS(0.25, 1, 2, false) }, { IN(TYPE(F64, 7)), ATTRS(0.5, 3, 0, false) },
    { IN(TYPE(F64, 17)), ATTRS(0.5, -5, 4294967295, true) },
    { IN(TYPE(F64, 3, 5)), ATTRS(0, 1, 0, false) }, { IN(TYPE(F64, 3, 5)), ATTRS(1, 1, 0, false) },
    { IN(TYPE(F64, 2, 3, 1, 7)), ATTRS(0.9, 1, 0, false) },
    { IN(TYPE(F64, 2, 0, 3)), ATTRS(0.9, 1, 0, true) },
    { IN(TYPE(F64, 2, 128)), ATTRS(0.3, INT64_MAX, 0, true) },
    { IN(TYPE(F64, 4)), ATTRS(0.7, 0, 0, false), .values = { LIST(3, 6, 9, 12), LIST(0) },
      .expected = LIST(0, 20, 30, 0), .tolerance = 1e-14, .source = PHILOX },
    { IN(TYPE(F64, 4)), ATTRS(0.5, 0, 0, true), .values = { LIST(3, 6, 9, 12), LIST(0) },
      .expected = LIST(0, 6, 9, 12), .source = PHILOX },
    { IN(TYPE(F64, 2)), ATTRS(0.5, 0, 0, false), .values = { LIST(NAN, INFINITY), LIST(0) },
      .expected = LIST(0, INFINITY), .no_gradient = true, .source = PHILOX },
    { .inputs = EBB_INPUTS(TYPE(I64, 3), SCALAR(I64)), .error = EBB_BAD_DTYPE,
      .message = "dtype i64 is not one of f64, f32" },
    { .inputs = EBB_INPUTS(TYPE(F64, 3), SCALAR(I32)), .error = EBB_BAD_DTYPE,
      .message = "the counter is i32, not i64" },
    { .inputs = EBB_INPUTS(TYPE(F64, 3), TYPE(I64, 1)), .error = EBB_BAD_SHAPE,
      .message = "the counter is no scalar" },
    { IN(TYPE(F64, 3)), ATTRS(1.5, 0, 0, false), .error = EBB_BAD_ATTRIBUTE,
      .message = "ratio 1.5 is not in 0..1" },
    { IN(TYPE(F64, 3)), ATTRS(NAN, 0, 0, false), .error = EBB_BAD_ATTRIBUTE,
      .message = "is not in 0..1" },
    { IN(TYPE(F64, 3)), ATTRS(0.5, 0, -1, false), .error = EBB_BAD_ATTRIBUTE,
      .message = "stream -1 is not in 0..2^32-1" },
};
/* clang-format on */

const ebb_op ebb_op_dropout = {
    .name = "dropout",
    .summary = "x / (1 - ratio), or 0 with probability ratio; Philox4x32-10 of (seed, stream, "
               "counter)",
    .group = "library",
    .n_inputs = 2,
    .n_results = 1,
    .traits = EBB_TRAIT_LIBRARY | EBB_TRAIT_RANDOM,
    .attrs_bytes = sizeof(ebb_dropout_attrs),
    .attrs = dropout_fields,
    .infer = infer_dropout,
    .vjp = vjp_dropout,
    .eval = eval_dropout,
    .decompose = decompose_dropout,
    .samples = samples_dropout,
    .n_samples = (int)(sizeof samples_dropout / sizeof *samples_dropout),
};
