/* Element-wise maps over dense elements, for all dtypes, out of the rows of ops/elementwise.def;
 * select; cast. */
#include "backends/native/vector/functions.h"
#include "backends/native/vector/isa.h"
#include "backends/native/vector/pow_lanes.h"
#include "backends/native/vector/tanh_lanes.h"
#include "ops/descriptors.h"
#include "ops/parameters.h"

/* Elements that are worked on together: a register of 64 bytes of T. What is left at the end goes
 * through a padded copy, so that an element has the same value wherever it stands (the scalar
 * functions of libm round otherwise than the vector ones). */
#define LANES ((int64_t)(64 / sizeof(T)))

#define MAP_NAME(name) ISA_PASTE(map_##name, TAG)

/* Which of the two values of a row counts, and whether there is one, by kind of dtype. */
#define VALUE_FLOAT(float_value, int_value) float_value
#define VALUE_INTEGER(float_value, int_value) int_value
#define VALUE_BOOL(float_value, int_value) int_value
#define VALUE(float_value, int_value) ISA_PASTE(VALUE, KIND)(float_value, int_value)
#define NOTHING(...)
#define SAME(...) __VA_ARGS__
#define HAS_FLOAT_FLOATS SAME
#define HAS_FLOAT_NUMBERS SAME
#define HAS_FLOAT_BOOLS NOTHING
#define HAS_FLOAT_ANY SAME
#define HAS_INTEGER_FLOATS NOTHING
#define HAS_INTEGER_NUMBERS SAME
#define HAS_INTEGER_BOOLS NOTHING
#define HAS_INTEGER_ANY SAME
#define HAS_BOOL_FLOATS NOTHING
#define HAS_BOOL_NUMBERS NOTHING
#define HAS_BOOL_BOOLS SAME
#define HAS_BOOL_ANY SAME
#define HAS(dtypes) ISA_PASTE(ISA_PASTE(HAS, KIND), dtypes)

/* Unused where an instruction set has its own. */
#define UNARY_MAP(name, R, locals, value)                                                          \
    __attribute__((unused)) static void MAP_NAME(name)(int64_t n, void *result,                    \
                                                       const void *const *inputs)                  \
    {                                                                                              \
        const T *xs = inputs[0];                                                                   \
        R *rs = result;                                                                            \
        locals int64_t whole = n & -LANES;                                                         \
        INDEPENDENT                                                                                \
        for (int64_t i = 0; i < whole; i++) {                                                      \
            const T x = xs[i];                                                                     \
            (void)x;                                                                               \
            rs[i] = (R)(value);                                                                    \
        }                                                                                          \
        if (whole == n)                                                                            \
            return;                                                                                \
        T tail_x[64 / sizeof(T)];                                                                  \
        R tail_r[64 / sizeof(T)];                                                                  \
        for (int64_t i = 0; i < LANES; i++)                                                        \
            tail_x[i] = i < n - whole ? xs[whole + i] : 1;                                         \
        for (int64_t i = 0; i < LANES; i++) {                                                      \
            const T x = tail_x[i];                                                                 \
            (void)x;                                                                               \
            tail_r[i] = (R)(value);                                                                \
        }                                                                                          \
        for (int64_t i = whole; i < n; i++)                                                        \
            rs[i] = tail_r[i - whole];                                                             \
    }

#define BINARY_MAP(name, R, value)                                                                 \
    static void MAP_NAME(name)(int64_t n, void *result, const void *const *inputs)                 \
    {                                                                                              \
        const T *as = inputs[0], *bs = inputs[1];                                                  \
        R *rs = result;                                                                            \
        int64_t whole = n & -LANES;                                                                \
        INDEPENDENT                                                                                \
        for (int64_t i = 0; i < whole; i++) {                                                      \
            const T a = as[i], b = bs[i];                                                          \
            rs[i] = (R)(value);                                                                    \
        }                                                                                          \
        if (whole == n)                                                                            \
            return;                                                                                \
        T tail_a[64 / sizeof(T)], tail_b[64 / sizeof(T)];                                          \
        R tail_r[64 / sizeof(T)];                                                                  \
        for (int64_t i = 0; i < LANES; i++) {                                                      \
            tail_a[i] = i < n - whole ? as[whole + i] : 1;                                         \
            tail_b[i] = i < n - whole ? bs[whole + i] : 1;                                         \
        }                                                                                          \
        for (int64_t i = 0; i < LANES; i++) {                                                      \
            const T a = tail_a[i], b = tail_b[i];                                                  \
            tail_r[i] = (R)(value);                                                                \
        }                                                                                          \
        for (int64_t i = whole; i < n; i++)                                                        \
            rs[i] = tail_r[i - whole];                                                             \
    }

#define T double
#define U double
#define TAG f64
#define FN(name) name
#define KIND FLOAT
#include "backends/native/vector/maps_of_type.h"

#define T float
#define U float
#define TAG f32
#define FN(name) name##f
#define KIND FLOAT
#include "backends/native/vector/maps_of_type.h"

/* Of F32 pow and mod: a loop with few instructions where all arguments of a stretch are plain, else
 * the one for all arguments. Both have the same bits for plain ones. */
#define GUARDED_MAP(name, is_plain, value)                                                         \
    static void guarded_##name(int64_t n, void *result, const void *const *inputs)                 \
    {                                                                                              \
        enum { STRETCH = 128 };                                                                    \
        for (int64_t begin = 0; begin < n; begin += STRETCH) {                                     \
            const float *as = (const float *)inputs[0] + begin;                                    \
            const float *bs = (const float *)inputs[1] + begin;                                    \
            float *rs = (float *)result + begin;                                                   \
            const int64_t length = n - begin < STRETCH ? n - begin : STRETCH;                      \
            int all = 1;                                                                           \
            for (int64_t i = 0; i < length; i++)                                                   \
                all &= is_plain(as[i], bs[i]);                                                     \
            if (!all) {                                                                            \
                map_##name##_f32(length, rs, (const void *const[]){ as, bs });                     \
                continue;                                                                          \
            }                                                                                      \
            INDEPENDENT                                                                            \
            for (int64_t i = 0; i < length; i++) {                                                 \
                const float a = as[i], b = bs[i];                                                  \
                rs[i] = value;                                                                     \
            }                                                                                      \
        }                                                                                          \
    }
#ifdef __FMA__
static inline float plain_mod(float a, float b)
{
    const float rest = plain_fmod(a, b);
    return rest == 0 ? copysignf(0, b) : ((rest < 0) != (b < 0) ? rest + b : rest);
}
#ifdef __AVX512F__
/* What is special in a vector is taken out of the loop for all arguments. */
static void guarded_pow(int64_t n, void *result, const void *const *inputs)
{
    const __m512 one = _mm512_set1_ps(1);
    for (int64_t i = 0; i < n; i += 16) {
        const __mmask16 here = (__mmask16)(n - i < 16 ? (1 << (n - i)) - 1 : 0xffff);
        const __m512 a = _mm512_mask_loadu_ps(one, here, (const float *)inputs[0] + i);
        const __m512 b = _mm512_mask_loadu_ps(one, here, (const float *)inputs[1] + i);
        const __mmask16 is_special = pow_is_special(a, b);
        __m512 r = pow_lanes(a, b);
        if (is_special) {
            float as[16], bs[16], rs[16];
            _mm512_storeu_ps(as, a);
            _mm512_storeu_ps(bs, b);
            map_pow_f32(16, rs, (const void *const[]){ as, bs });
            r = _mm512_mask_loadu_ps(r, is_special, rs);
        }
        _mm512_mask_storeu_ps((float *)result + i, here, r);
    }
}

static void own_tanh(int64_t n, void *result, const void *const *inputs)
{
    const float *xs = inputs[0];
    float *rs = result;
    for (int64_t i = 0; i < n; i += 16) {
        const __mmask16 here = (__mmask16)(n - i < 16 ? (1 << (n - i)) - 1 : 0xffff);
        _mm512_mask_storeu_ps(rs + i, here, tanh_lanes(_mm512_maskz_loadu_ps(here, xs + i)));
    }
}
#define map_tanh_f32 own_tanh /* in the table */
#else
GUARDED_MAP(pow, pow_is_plain, pow_of(a, b, true))
#endif
GUARDED_MAP(mod, mod_is_plain, plain_mod(a, b))
/* in the table */
#define map_pow_f32 guarded_pow
#define map_mod_f32 guarded_mod
#endif

#define T int64_t
#define U uint64_t
#define TAG i64
#define KIND INTEGER
#include "backends/native/vector/maps_of_type.h"

#define T int32_t
#define U uint32_t
#define TAG i32
#define KIND INTEGER
#include "backends/native/vector/maps_of_type.h"

#define T uint8_t
#define U uint8_t
#define TAG u8
#define KIND INTEGER
#include "backends/native/vector/maps_of_type.h"

#define T uint8_t
#define U uint8_t
#define TAG b8
#define KIND BOOL
#include "backends/native/vector/maps_of_type.h"

/* clang-format off */
#define MAPS_FLOATS(name) [EBB_F64] = map_##name##_f64, [EBB_F32] = map_##name##_f32
#define MAPS_NUMBERS(name) MAPS_FLOATS(name), [EBB_I64] = map_##name##_i64,                        \
    [EBB_I32] = map_##name##_i32, [EBB_U8] = map_##name##_u8
#define MAPS_BOOLS(name) [EBB_BOOL] = map_##name##_b8
#define MAPS_ANY(name) MAPS_NUMBERS(name), MAPS_BOOLS(name)
/* clang-format on */

static const ebb_map_row rows[] = {
#define UNARY(name, dtypes, summary, float_value, ...)                                             \
    { &ebb_op_##name, #float_value, { MAPS_##dtypes(name) } },
#define BINARY(name, dtypes, traits, summary, float_value, ...)                                    \
    { &ebb_op_##name, #float_value, { MAPS_##dtypes(name) } },
#define COMPARE(name, dtypes, traits, summary, value, ...)                                         \
    { &ebb_op_##name, #value, { MAPS_##dtypes(name) } },
#define TEST UNARY
#define WITH(parameters, name, dtypes, summary, float_value, ...)                                  \
    { &ebb_op_##name, #float_value, { MAPS_##dtypes(name) } },
#include "ops/elementwise.def"
};

/* Reads something of every page. With AVX-512 a choice and the load of what is chosen become one
 * masked instruction. One that takes no lane does not mark its page as accessed, and costs hundreds
 * of cycles as long as the page is not marked; systems clear such marks to learn what is in use. */
static inline void mark_pages(const void *data, int64_t n_bytes)
{
    enum { PAGE_BYTES = 4096 };
    for (int64_t i = 0; i < n_bytes; i += PAGE_BYTES)
        (void)((const volatile char *)data)[i];
}

#define SELECT_MAP(T)                                                                              \
    static void select_##T(int64_t n, void *result, const void *const *inputs)                     \
    {                                                                                              \
        const uint8_t *conditions = inputs[0];                                                     \
        const T *as = inputs[1], *bs = inputs[2];                                                  \
        T *rs = result;                                                                            \
        mark_pages(as, n *(int64_t)sizeof(T));                                                     \
        INDEPENDENT                                                                                \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const T a = as[i], b = bs[i];                                                          \
            rs[i] = conditions[i] ? a : b;                                                         \
        }                                                                                          \
    }
SELECT_MAP(uint8_t)
SELECT_MAP(uint32_t)
SELECT_MAP(uint64_t)

/* The conversions of ebb_cast: integers wrap, floats truncate and saturate, NaN becomes 0. The
 * limits are compared as floats: `low` is exact, and `over` is the power of two just above the
 * largest integer. */
#define FLOAT_TO_INTEGER(R, x, low, over, highest)                                                 \
    (x != x ? (R)0 : (x >= over ? (R)highest : (x <= low ? (R)low : (R)x)))
#define TO_F64(R, x) (R)(x)
#define TO_F32(R, x) (R)(x)
#define FLOAT_TO_I64(R, x) FLOAT_TO_INTEGER(R, x, -0x1p63, 0x1p63, INT64_MAX)
#define FLOAT_TO_I32(R, x) FLOAT_TO_INTEGER(R, x, -0x1p31, 0x1p31, INT32_MAX)
#define FLOAT_TO_U8(R, x) FLOAT_TO_INTEGER(R, x, 0, 0x1p8, UINT8_MAX)
#define WRAP(R, x) (R)(x)
#define TO_BOOL(R, x) (R)((x) != 0)

/* clang-format off */
#define EACH_CAST(X)                                                                               \
    X(F64, double, F64, double, TO_F64)          X(F64, double, F32, float, TO_F32)                \
    X(F64, double, I64, int64_t, FLOAT_TO_I64)   X(F64, double, I32, int32_t, FLOAT_TO_I32)        \
    X(F64, double, U8, uint8_t, FLOAT_TO_U8)     X(F64, double, BOOL, uint8_t, TO_BOOL)            \
    X(F32, float, F64, double, TO_F64)           X(F32, float, F32, float, TO_F32)                 \
    X(F32, float, I64, int64_t, FLOAT_TO_I64)    X(F32, float, I32, int32_t, FLOAT_TO_I32)         \
    X(F32, float, U8, uint8_t, FLOAT_TO_U8)      X(F32, float, BOOL, uint8_t, TO_BOOL)             \
    X(I64, int64_t, F64, double, TO_F64)         X(I64, int64_t, F32, float, TO_F32)               \
    X(I64, int64_t, I64, int64_t, WRAP)          X(I64, int64_t, I32, int32_t, WRAP)               \
    X(I64, int64_t, U8, uint8_t, WRAP)           X(I64, int64_t, BOOL, uint8_t, TO_BOOL)           \
    X(I32, int32_t, F64, double, TO_F64)         X(I32, int32_t, F32, float, TO_F32)               \
    X(I32, int32_t, I64, int64_t, WRAP)          X(I32, int32_t, I32, int32_t, WRAP)               \
    X(I32, int32_t, U8, uint8_t, WRAP)           X(I32, int32_t, BOOL, uint8_t, TO_BOOL)           \
    X(U8, uint8_t, F64, double, TO_F64)          X(U8, uint8_t, F32, float, TO_F32)                \
    X(U8, uint8_t, I64, int64_t, WRAP)           X(U8, uint8_t, I32, int32_t, WRAP)                \
    X(U8, uint8_t, U8, uint8_t, WRAP)            X(U8, uint8_t, BOOL, uint8_t, TO_BOOL)            \
    X(BOOL, uint8_t, F64, double, TO_F64)        X(BOOL, uint8_t, F32, float, TO_F32)              \
    X(BOOL, uint8_t, I64, int64_t, WRAP)         X(BOOL, uint8_t, I32, int32_t, WRAP)              \
    X(BOOL, uint8_t, U8, uint8_t, WRAP)          X(BOOL, uint8_t, BOOL, uint8_t, WRAP)
/* clang-format on */

#define CAST_MAP(from, T, to, R, convert)                                                          \
    static void cast_##from##_##to(int64_t n, void *result, const void *const *inputs)             \
    {                                                                                              \
        const T *xs = inputs[0];                                                                   \
        R *rs = result;                                                                            \
        INDEPENDENT                                                                                \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const T x = xs[i];                                                                     \
            rs[i] = convert(R, x);                                                                 \
        }                                                                                          \
    }
EACH_CAST(CAST_MAP)

const ebb_map_table ISA_NAME(ebb_map_table) = {
    .rows = rows,
    .n_rows = (int)(sizeof rows / sizeof *rows),
    .select_1 = select_uint8_t,
    .select_4 = select_uint32_t,
    .select_8 = select_uint64_t,
#define CAST_ENTRY(from, T, to, R, convert) [EBB_##from][EBB_##to] = cast_##from##_##to,
    .cast = { EACH_CAST(CAST_ENTRY) },
};
