/* Random numbers as ops: random_uniform and random_normal. */
#define EBB_NO_LOCATIONS
#include "ops/random.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/philox.h"
#include <math.h>

#define TWO_PI 6.283185307179586

/* The uniforms of elements first, first + 1 of a pair, as doubles (F32's 24 bits are exact in
 * them). */
static void draw_pair(ebb_dtype dtype, ebb_random_key key, int64_t first, double pair[2])
{
    uint32_t w[4];
    if (dtype == EBB_F32) {
        ebb_philox(key.seed, key.stream, key.counter, (uint32_t)(first / 4), w);
        const uint32_t *at = w + first % 4;
        pair[0] = (double)ebb_philox_f32(at[0]);
        pair[1] = (double)ebb_philox_f32(at[1]);
    } else {
        ebb_philox(key.seed, key.stream, key.counter, (uint32_t)(first / 2), w);
        pair[0] = ebb_philox_f64(w[0], w[1]);
        pair[1] = ebb_philox_f64(w[2], w[3]);
    }
}

void ebb_random_fill(ebb_dtype dtype, bool normal, ebb_random_key key, int64_t first, int64_t n,
                     void *out)
{
    double pair[2] = { 0, 0 };
    for (int64_t i = 0; i < n; i++) {
        int64_t element = first + i;
        if (i == 0 || element % 2 == 0) {
            draw_pair(dtype, key, element - element % 2, pair);
            if (normal) {
                double r = sqrt(-2 * log(1 - pair[0])), angle = TWO_PI * pair[1];
                pair[0] = r * cos(angle);
                pair[1] = r * sin(angle);
            }
        }
        if (dtype == EBB_F32)
            ((float *)out)[i] = (float)pair[element % 2];
        else
            ((double *)out)[i] = pair[element % 2];
    }
}

/* ---- the ops ---- */

static ebb_status infer_random(const ebb_infer *infer)
{
    const ebb_random_attrs *attrs = infer->attrs;
    const ebb_type *counter = infer->inputs[0];
    ebb_status status = ebb_infer_shape(infer, &attrs->type.shape);
    if (status)
        return status;
    if (!ebb_dtype_is_float(attrs->type.dtype))
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "dtype %s is not one of f64, f32",
                              ebb_dtype_name(attrs->type.dtype));
    if (counter->dtype != EBB_I64)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "the counter is %s, not i64",
                              ebb_dtype_name(counter->dtype));
    if (counter->shape.rank != 0)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "the counter is no scalar");
    if (attrs->stream < 0 || attrs->stream > (int64_t)UINT32_MAX)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "stream %lld is not in 0..2^32-1",
                              (long long)attrs->stream);
    int64_t per_block = attrs->type.dtype == EBB_F32 ? 4 : 2;
    if (ebb_shape_elements(&attrs->type.shape) > EBB_PHILOX_MAX_BLOCKS * per_block)
        return ebb_infer_fail(infer, EBB_LIMIT, "more than 2^32 blocks of random numbers");
    infer->results[0] = attrs->type;
    return EBB_OK;
}

static ebb_status eval_random(const ebb_eval *eval)
{
    const ebb_random_attrs *attrs = eval->attrs;
    ebb_random_key key = { (uint64_t)attrs->seed,
                           (uint64_t) * (const int64_t *)eval->inputs[0].data,
                           (uint32_t)attrs->stream };
    ebb_random_fill(attrs->type.dtype, eval->op == &ebb_op_random_normal, key, 0,
                    ebb_shape_elements(&attrs->type.shape), eval->results[0].data);
    return EBB_OK;
}

static ebb_node emit_random(const ebb_op *op, ebb_node counter, ebb_type type, int64_t seed,
                            int64_t stream)
{
    ebb_random_attrs attrs = { type, seed, stream };
    return ebb_emit(NULL, op, &counter, 1, &attrs, NULL);
}

ebb_node(ebb_random_uniform)(ebb_node counter, ebb_dtype dtype, ebb_shape shape, int64_t seed,
                             int64_t stream)
{
    return emit_random(&ebb_op_random_uniform, counter, (ebb_type){ dtype, shape }, seed, stream);
}

ebb_node(ebb_random_normal)(ebb_node counter, ebb_dtype dtype, ebb_shape shape, int64_t seed,
                            int64_t stream)
{
    return emit_random(&ebb_op_random_normal, counter, (ebb_type){ dtype, shape }, seed, stream);
}

static const ebb_attr_field random_fields[] = {
    EBB_FIELD(ebb_random_attrs, type, TYPE, "dtype and shape of the result"),
    EBB_FIELD(ebb_random_attrs, seed, I64, "key of the generator; default 0"),
    EBB_FIELD(ebb_random_attrs, stream, I64, "tells several uses apart, 0..2^32-1; default 0"),
    { 0 },
};

/* clang-format off */
#define DRAW(dtype, seed_, stream_, ...)                                                           \
    { .attrs = &(const ebb_random_attrs){ EBB_SAMPLE_TYPE(dtype, __VA_ARGS__), seed_, stream_ },   \
      .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(I64)), .range = EBB_RANGES({ 0, 1e15, 0, 0 }) }
#define REFUSE(dtype, rank_, n, stream_, counter, status, text)                                    \
    { .attrs = &(const ebb_random_attrs){ { dtype, { rank_, { n } } }, 0, stream_ },               \
      .inputs = EBB_INPUTS(counter), .error = status, .message = text }
/* Key 0, counter 0: words 6627e8d5 e169c58d bc57ac4c 9b00dbd8 (Random123 1.09, kat_vectors). */
#define KNOWN(dtype, limit, origin, ...)                                                           \
    { .attrs = &(const ebb_random_attrs){ EBB_SAMPLE_TYPE(dtype, 2), 0, 0 },                       \
      .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(I64)), .values = { (const double[]){ 0 } },           \
      .expected = (const double[]){ __VA_ARGS__ }, .tolerance = limit,                             \
      .source = "Random123 1.09, kat_vectors, philox4x32 10, first line" origin }
#define COMMON_SAMPLES                                                                             \
    { .attrs = &(const ebb_random_attrs){ EBB_SAMPLE_SCALAR(F64), 1, 2 },                          \
      .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(I64)) },                                              \
    DRAW(F64, 1, 0, 0), DRAW(F64, 1, 0, 1), DRAW(F64, 1, 0, 7), DRAW(F32, 1, 0, 17),               \
    DRAW(F32, -5, 4294967295, 3, 5), DRAW(F64, INT64_MAX, 9, 2, 3, 1, 7),                          \
    REFUSE(EBB_I32, 1, 3, 0, EBB_SAMPLE_SCALAR(I64), EBB_BAD_DTYPE,                                \
      "dtype i32 is not one of f64, f32"),                                                         \
    REFUSE(EBB_F32, 1, 3, 0, EBB_SAMPLE_SCALAR(F32), EBB_BAD_DTYPE,                                \
      "the counter is f32, not i64"),                                                              \
    REFUSE(EBB_F32, 1, 3, 0, EBB_SAMPLE_TYPE(I64, 2), EBB_BAD_SHAPE, "the counter is no scalar"),  \
    REFUSE(EBB_F32, 1, 3, -1, EBB_SAMPLE_SCALAR(I64), EBB_BAD_ATTRIBUTE, "stream -1"),             \
    REFUSE(EBB_F32, 1, 3, 4294967296, EBB_SAMPLE_SCALAR(I64), EBB_BAD_ATTRIBUTE,                   \
      "stream 4294967296"),                                                                        \
    REFUSE(EBB_F32, 1, -3, 0, EBB_SAMPLE_SCALAR(I64), EBB_BAD_SHAPE,                               \
      "dimension 0 of shape [-3] is negative"),                                                    \
    REFUSE(EBB_F32, 9, 3, 0, EBB_SAMPLE_SCALAR(I64), EBB_BAD_SHAPE, "rank 9"),                     \
    REFUSE(EBB_F64, 1, 8589934594, 0, EBB_SAMPLE_SCALAR(I64), EBB_LIMIT, "2^32 blocks")

static const ebb_sample samples_uniform[] = {
    COMMON_SAMPLES,
    /* 0xe169c58d6627e8d5 >> 11 and 0x9b00dbd8bc57ac4c >> 11, over 2^53 */
    KNOWN(F64, 1e-16, "", 0x1c2d38b1acc4fdp-53, 0x13601b7b178af5p-53),
    KNOWN(F32, 1e-16, "", 0x6627e8p-24, 0xe169c5p-24),
};
static const ebb_sample samples_normal[] = {
    COMMON_SAMPLES,
    KNOWN(F64, 1e-14, "; Box-Muller by Python's math", -1.6249634408710401, -1.2683492025469478),
    KNOWN(F32, 1e-7, "; Box-Muller by Python's math", 0.73792566007145544, -0.68843365289574165),
};
/* clang-format on */

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])

const ebb_op ebb_op_random_uniform = {
    .name = "random_uniform",
    .summary = "random numbers in [0, 1), Philox4x32-10 of (seed, stream, counter)",
    .group = "source",
    .n_inputs = 1,
    .n_results = 1,
    .traits = EBB_TRAIT_RANDOM,
    .attrs_bytes = sizeof(ebb_random_attrs),
    .attrs = random_fields,
    .infer = infer_random,
    .eval = eval_random,
    .samples = samples_uniform,
    .n_samples = COUNT(samples_uniform),
};

const ebb_op ebb_op_random_normal = {
    .name = "random_normal",
    .summary = "random numbers of mean 0 and standard deviation 1, Philox4x32-10 and Box-Muller",
    .group = "source",
    .n_inputs = 1,
    .n_results = 1,
    .traits = EBB_TRAIT_RANDOM,
    .attrs_bytes = sizeof(ebb_random_attrs),
    .attrs = random_fields,
    .infer = infer_random,
    .eval = eval_random,
    .samples = samples_normal,
    .n_samples = COUNT(samples_normal),
};
