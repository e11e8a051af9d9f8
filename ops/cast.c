/* cast: between all dtypes. Floats become integers by truncation, saturating, NaN becomes 0;
 * integers wrap into smaller ones; everything becomes BOOL by x != 0. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"
#include <math.h>

static ebb_status infer_cast(const ebb_infer *infer)
{
    const ebb_cast_attrs *attrs = infer->attrs;
    infer->results[0] = (ebb_type){ attrs->dtype, infer->inputs[0]->shape };
    return ebb_infer_dtype(infer, attrs->dtype);
}

/* Every value goes through one of these two without loss. */
typedef struct wide {
    bool is_float;
    int64_t integers[256];
    double floats[256];
} wide;
enum { CHUNK = 256 };

static void read_chunk(ebb_dtype dtype, const void *in, int64_t first, int64_t n, wide *to)
{
    to->is_float = ebb_dtype_is_float(dtype);
    for (int64_t i = 0; i < n; i++)
        switch (dtype) {
        case EBB_F64:
            to->floats[i] = ((const double *)in)[first + i];
            break;
        case EBB_F32:
            to->floats[i] = ((const float *)in)[first + i];
            break;
        case EBB_I64:
            to->integers[i] = ((const int64_t *)in)[first + i];
            break;
        case EBB_I32:
            to->integers[i] = ((const int32_t *)in)[first + i];
            break;
        default:
            to->integers[i] = ((const uint8_t *)in)[first + i];
        }
}

/* `limit` is the first double above the largest integer. */
static int64_t truncate_float(double x, double lowest, double limit, int64_t min, int64_t max)
{
    return isnan(x) ? 0 : x < lowest ? min : x >= limit ? max : (int64_t)x;
}

static void write_chunk(ebb_dtype dtype, const wide *from, int64_t first, int64_t n, void *out)
{
    const bool is_float = from->is_float;
    const double *x = from->floats;
    const int64_t *k = from->integers;
    for (int64_t i = 0; i < n; i++)
        switch (dtype) {
        case EBB_F64:
            ((double *)out)[first + i] = is_float ? x[i] : (double)k[i];
            break;
        case EBB_F32:
            ((float *)out)[first + i] = is_float ? (float)x[i] : (float)k[i];
            break;
        case EBB_I64:
            ((int64_t *)out)[first + i] =
                is_float ? truncate_float(x[i], -0x1p63, 0x1p63, INT64_MIN, INT64_MAX) : k[i];
            break;
        case EBB_I32:
            ((int32_t *)out)[first + i] =
                (int32_t)(is_float ? truncate_float(x[i], -0x1p31, 0x1p31, INT32_MIN, INT32_MAX)
                                   : k[i]);
            break;
        case EBB_U8:
            ((uint8_t *)out)[first + i] =
                (uint8_t)(is_float ? truncate_float(x[i], 0, 256, 0, 255) : k[i]);
            break;
        default:
            ((uint8_t *)out)[first + i] = is_float ? x[i] != 0 : k[i] != 0;
        }
}

static ebb_status eval_cast(const ebb_eval *eval)
{
    const ebb_tensor *x = &eval->inputs[0], *result = &eval->results[0];
    const int64_t n = ebb_shape_elements(&x->type.shape);
    wide chunk;
    for (int64_t i = 0; i < n; i += CHUNK) {
        const int64_t count = n - i < CHUNK ? n - i : CHUNK;
        read_chunk(x->type.dtype, x->data, i, count, &chunk);
        write_chunk(result->type.dtype, &chunk, i, count, result->data);
    }
    return EBB_OK;
}

static void vjp_cast(const ebb_vjp *v)
{
    const ebb_dtype dtype = ebb_node_type(v->inputs[0])->dtype;
    if (v->needed[0] && ebb_dtype_is_float(dtype) &&
        ebb_dtype_is_float(ebb_node_type(v->cotangents[0])->dtype))
        v->gradients[0] = ebb_cast(v->cotangents[0], dtype);
}

ebb_node(ebb_cast)(ebb_node x, ebb_dtype dtype)
{
    if (!ebb_node_is_none(x) && ebb_node_type(x)->dtype == dtype)
        return x;
    ebb_cast_attrs attrs = { dtype };
    return ebb_emit(NULL, &ebb_op_cast, &x, 1, &attrs, NULL);
}

static const ebb_attr_field cast_fields[] = {
    EBB_FIELD(ebb_cast_attrs, dtype, DTYPE, "dtype of the result"),
    { 0 },
};

/* clang-format off */
#define TO(dtype) .attrs = &(const ebb_cast_attrs){ EBB_##dtype }
#define IN(dtype, ...) .inputs = EBB_INPUTS(EBB_SAMPLE_TYPE(dtype, __VA_ARGS__))
#define VALUES(...) .values = { (const double[]){ __VA_ARGS__ } }
#define EXPECTED(...) .expected = (const double[]){ __VA_ARGS__ }, .source = "by the definition"
#define FROM(dtype)                                                                                \
    { IN(dtype, 7), TO(F64) }, { IN(dtype, 7), TO(F32) }, { IN(dtype, 7), TO(I64) },               \
    { IN(dtype, 7), TO(I32) }, { IN(dtype, 7), TO(U8) }, { IN(dtype, 7), TO(BOOL) }
static const ebb_sample samples_cast[] = {
    FROM(I64), FROM(I32), FROM(U8), FROM(BOOL),
    { IN(F64, 7), TO(I64) }, { IN(F64, 7), TO(I32) }, { IN(F64, 7), TO(U8) },
    { IN(F64, 7), TO(BOOL) },
    { .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(F64)), TO(F64) }, { IN(F64, 0), TO(F64) },
    { IN(F64, 1), TO(F64) },
    { IN(F64, 7), TO(F64) }, { IN(F64, 17), TO(F64) }, { IN(F64, 3, 300), TO(F64) },
    { IN(F64, 2, 0, 4), TO(F64) }, { IN(F64, 2, 3, 1, 7), TO(F64) },
    /* Rounding to F32 is a staircase: central differences do not apply. */
    { IN(F64, 17), TO(F32), .no_gradient = true },
    { IN(F64, 8), TO(I32), VALUES(1.9, -1.9, NAN, INFINITY, -INFINITY, 2147483648.0, -2147483649.0,
      0.5),
      EXPECTED(1, -1, 0, INT32_MAX, INT32_MIN, INT32_MAX, INT32_MIN, 0) },
    { IN(F64, 5), TO(U8), VALUES(255.9, 256, -0.9, -1, NAN), EXPECTED(255, 255, 0, 0, 0) },
    { IN(F64, 3), TO(I64), VALUES(1e30, -1e30, -0.0), EXPECTED(0x1p63, -0x1p63, 0) },
    { IN(F64, 4), TO(BOOL), VALUES(0, -0.0, NAN, 1e-30), EXPECTED(0, 0, 1, 1) },
    { IN(I32, 4), TO(U8), VALUES(256, -1, 511, 7), EXPECTED(0, 255, 255, 7) },
    { IN(I64, 2), TO(I32), VALUES(4294967295.0, 2147483648.0), EXPECTED(-1, INT32_MIN) },
    { IN(I64, 3), TO(BOOL), VALUES(256, 0, -1), EXPECTED(1, 0, 1) },
    { IN(F64, 1), TO(F32), VALUES(0.1), EXPECTED(0.1f), .no_gradient = true },
    { IN(F64, 3), .attrs = &(const ebb_cast_attrs){ EBB_NO_DTYPE }, .error = EBB_BAD_DTYPE,
      .message = "there is no dtype 0" },
};
/* clang-format on */

const ebb_op ebb_op_cast = {
    .name = "cast",
    .summary = "another dtype: truncates and saturates to integers, NaN becomes 0",
    .group = "element-wise",
    .n_inputs = 1,
    .n_results = 1,
    .traits = EBB_TRAIT_ELEMENTWISE,
    .attrs_bytes = sizeof(ebb_cast_attrs),
    .attrs = cast_fields,
    .infer = infer_cast,
    .vjp = vjp_cast,
    .eval = eval_cast,
    .samples = samples_cast,
    .n_samples = (int)(sizeof samples_cast / sizeof *samples_cast),
};
