/* Vectors of F32 and F64, as wide as the instruction set at hand, for what compilers do not find in
 * plain loops: many short rows at once, and transposes. */
#ifndef BACKENDS_NATIVE_VECTOR_LANES_H
#define BACKENDS_NATIVE_VECTOR_LANES_H

#include "backends/native/vector/exp.h"
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <immintrin.h>
#endif

/* A square of as many rows as a row has lanes is transposed in stages: stage s exchanges the blocks
 * of s times s beside the diagonal of each block of 2s times 2s. The lists say where lanes come
 * from: below the width out of row i, else out of row i + s. */
/* clang-format off */
#define LANE_STAGES_2(X) \
    X(1, (0, 2), (1, 3))
#define LANE_STAGES_4(X) \
    X(1, (0, 4, 2, 6), (1, 5, 3, 7)) \
    X(2, (0, 1, 4, 5), (2, 3, 6, 7))
#define LANE_STAGES_8(X) \
    X(1, (0, 8, 2, 10, 4, 12, 6, 14), (1, 9, 3, 11, 5, 13, 7, 15)) \
    X(2, (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15)) \
    X(4, (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15))
#define LANE_STAGES_16(X) \
    X(1, (0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30), \
         (1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31)) \
    X(2, (0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29), \
         (2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)) \
    X(4, (0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27), \
         (4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31)) \
    X(8, (0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23), \
         (8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
/* clang-format on */
#define LANE_LIST(...) __VA_ARGS__

/* LANES_MAX: a > b ? a : b in each lane. */
#if defined __AVX512F__
#define LANES_BYTES 64
#define LANES_F32 16
#define LANES_F64 8
#define LANE_STAGES_F32 LANE_STAGES_16
#define LANE_STAGES_F64 LANE_STAGES_8
#define LANES_MAX_F32(a, b) _mm512_max_ps(a, b)
#define LANES_MAX_F64(a, b) _mm512_max_pd(a, b)
#elif defined __AVX2__
#define LANES_BYTES 32
#define LANES_F32 8
#define LANES_F64 4
#define LANE_STAGES_F32 LANE_STAGES_8
#define LANE_STAGES_F64 LANE_STAGES_4
#define LANES_MAX_F32(a, b) _mm256_max_ps(a, b)
#define LANES_MAX_F64(a, b) _mm256_max_pd(a, b)
#else
#define LANES_BYTES 16
#define LANES_F32 4
#define LANES_F64 2
#define LANE_STAGES_F32 LANE_STAGES_4
#define LANE_STAGES_F64 LANE_STAGES_2
#ifdef __SSE2__
#define LANES_MAX_F32(a, b) _mm_max_ps(a, b)
#define LANES_MAX_F64(a, b) _mm_max_pd(a, b)
#endif
#endif

typedef float lanes_f32 __attribute__((vector_size(LANES_BYTES)));
typedef double lanes_f64 __attribute__((vector_size(LANES_BYTES)));
typedef int32_t lanes_of_bits __attribute__((vector_size(LANES_BYTES)));

#ifdef __AVX512F__
/* table[index modulo 32] in each lane */
static inline __m512 lanes_look_up(const float *table, __m512i index)
{
    return _mm512_permutex2var_ps(_mm512_loadu_ps(table), index, _mm512_loadu_ps(table + 16));
}
#endif

/* The first n bytes are ones. */
static inline lanes_of_bits lanes_mask(int64_t n)
{
    static const int8_t ones[2 * 64] = {
#define ONES_16 -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1
        ONES_16, ONES_16, ONES_16, ONES_16
#undef ONES_16
    };
    lanes_of_bits mask;
    memcpy(&mask, ones + 64 - n, sizeof mask);
    return mask;
}

#define DEFINE_LANES(T, tag, TAG)                                                                  \
    static inline lanes_##tag lanes_load_##tag(const T *from)                                      \
    {                                                                                              \
        lanes_##tag x;                                                                             \
        memcpy(&x, from, sizeof x);                                                                \
        return x;                                                                                  \
    }                                                                                              \
    static inline void lanes_store_##tag(T *to, lanes_##tag x)                                     \
    {                                                                                              \
        memcpy(to, &x, sizeof x);                                                                  \
    }                                                                                              \
    /* x where the mask has ones */                                                                \
    static inline lanes_##tag lanes_choose_##tag(lanes_of_bits mask, lanes_##tag x, lanes_##tag y) \
    {                                                                                              \
        return (lanes_##tag)(((lanes_of_bits)x & mask) | ((lanes_of_bits)y & ~mask));              \
    }                                                                                              \
    /* The sum of all lanes: the upper half onto the lower one until one is left. */               \
    static inline T lanes_total_##tag(lanes_##tag x)                                               \
    {                                                                                              \
        T several[LANES_##TAG];                                                                    \
        lanes_store_##tag(several, x);                                                             \
        for (int half = LANES_##TAG / 2; half >= 1; half /= 2)                                     \
            for (int i = 0; i < half; i++)                                                         \
                several[i] += several[half + i];                                                   \
        return several[0];                                                                         \
    }                                                                                              \
    /* Lane i of the result is the sum, or the maximum, of the lanes of rows[i]. */                \
    static inline lanes_##tag lanes_sums_##tag(lanes_##tag *rows)                                  \
    {                                                                                              \
        enum { N_ROWS = LANES_##TAG };                                                             \
        LANE_STAGES_##TAG(LANE_SUM) return rows[0];                                                \
    }                                                                                              \
    static inline lanes_##tag lanes_maxima_##tag(lanes_##tag *rows)                                \
    {                                                                                              \
        enum { N_ROWS = LANES_##TAG };                                                             \
        LANE_STAGES_##TAG(LANE_MAX_##TAG) return rows[0];                                          \
    }                                                                                              \
    /* The same where each half of a vector is a row: those of rows[i] are rows i and i + half the \
     * lanes. */                                                                                   \
    static inline lanes_##tag lanes_half_sums_##tag(lanes_##tag *rows)                             \
    {                                                                                              \
        enum { N_ROWS = LANES_##TAG / 2 };                                                         \
        LANE_STAGES_##TAG(LANE_SUM) return rows[0];                                                \
    }                                                                                              \
    static inline lanes_##tag lanes_half_maxima_##tag(lanes_##tag *rows)                           \
    {                                                                                              \
        enum { N_ROWS = LANES_##TAG / 2 };                                                         \
        LANE_STAGES_##TAG(LANE_MAX_##TAG) return rows[0];                                          \
    }                                                                                              \
    /* rows[j] becomes what stood in place j of each row. */                                       \
    static inline void lanes_half_transpose_##tag(lanes_##tag *rows)                               \
    {                                                                                              \
        enum { N_ROWS = LANES_##TAG / 2 };                                                         \
        LANE_STAGES_##TAG(LANE_EXCHANGE)                                                           \
    }
#define LANE_FOLD(s, upper, lower, BOTH)                                                           \
    for (int i = 0; i + s < N_ROWS; i += 2 * s) {                                                  \
        const __typeof__(rows[0]) a = rows[i], b = rows[i + s];                                    \
        rows[i] = BOTH(__builtin_shufflevector(a, b, LANE_LIST upper),                             \
                       __builtin_shufflevector(a, b, LANE_LIST lower));                            \
    }
/* N_ROWS rows become columns, in each block of that many lanes. */
#define LANE_EXCHANGE(s, upper, lower)                                                             \
    for (int i = 0; i + s < N_ROWS; i++)                                                           \
        if (!(i & s)) {                                                                            \
            const __typeof__(rows[0]) a = rows[i], b = rows[i + s];                                \
            rows[i] = __builtin_shufflevector(a, b, LANE_LIST upper);                              \
            rows[i + s] = __builtin_shufflevector(a, b, LANE_LIST lower);                          \
        }
#define LANE_ADD(a, b) ((a) + (b))
#define LANE_SUM(s, upper, lower) LANE_FOLD(s, upper, lower, LANE_ADD)
#define LANE_MAX_F32(s, upper, lower) LANE_FOLD(s, upper, lower, LANES_MAX_F32)
#define LANE_MAX_F64(s, upper, lower) LANE_FOLD(s, upper, lower, LANES_MAX_F64)

#ifndef LANES_MAX_F32
static inline lanes_f32 lanes_max_f32(lanes_f32 a, lanes_f32 b)
{
    for (int i = 0; i < LANES_F32; i++)
        a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
}
static inline lanes_f64 lanes_max_f64(lanes_f64 a, lanes_f64 b)
{
    for (int i = 0; i < LANES_F64; i++)
        a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
}
#define LANES_MAX_F32(a, b) lanes_max_f32(a, b)
#define LANES_MAX_F64(a, b) lanes_max_f64(a, b)
#endif

DEFINE_LANES(float, f32, F32)
DEFINE_LANES(double, f64, F64)

/* The first n lanes out of memory, the others out of `rest`; and the first n lanes into memory. */
#define DEFINE_PARTS(T, tag)                                                                       \
    static inline lanes_##tag lanes_part_##tag(const T *from, int64_t n, lanes_##tag rest)         \
    {                                                                                              \
        T several[LANES_BYTES / sizeof(T)];                                                        \
        memcpy(several, &rest, sizeof rest);                                                       \
        for (int64_t i = 0; i < n; i++)                                                            \
            several[i] = from[i];                                                                  \
        return lanes_load_##tag(several);                                                          \
    }                                                                                              \
    static inline void lanes_put_part_##tag(T *to, int64_t n, lanes_##tag x)                       \
    {                                                                                              \
        T several[LANES_BYTES / sizeof(T)];                                                        \
        memcpy(several, &x, sizeof x);                                                             \
        for (int64_t i = 0; i < n; i++)                                                            \
            to[i] = several[i];                                                                    \
    }
#if defined __AVX512F__
static inline lanes_f32 lanes_part_f32(const float *from, int64_t n, lanes_f32 rest)
{
    return _mm512_mask_loadu_ps(rest, (__mmask16)((1u << n) - 1), from);
}
static inline void lanes_put_part_f32(float *to, int64_t n, lanes_f32 x)
{
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << n) - 1), x);
}
#else
DEFINE_PARTS(float, f32)
#endif
DEFINE_PARTS(double, f64)

/* Half a vector out of a, the other half out of b. */
static inline lanes_of_bits lanes_halves(const void *a, const void *b)
{
    lanes_of_bits x;
#if defined __AVX512F__
    const __m512i low = _mm512_castsi256_si512(_mm256_loadu_si256(a));
    x = (lanes_of_bits)_mm512_inserti64x4(low, _mm256_loadu_si256(b), 1);
#elif defined __AVX2__
    const __m256i low = _mm256_castsi128_si256(_mm_loadu_si128(a));
    x = (lanes_of_bits)_mm256_inserti128_si256(low, _mm_loadu_si128(b), 1);
#elif defined __SSE2__
    x = (lanes_of_bits)_mm_unpacklo_epi64(_mm_loadl_epi64(a), _mm_loadl_epi64(b));
#else
    memcpy(&x, a, sizeof x / 2);
    memcpy((char *)&x + sizeof x / 2, b, sizeof x / 2);
#endif
    return x;
}

/* Past the caches; `to` is aligned to LANES_BYTES. */
static inline void lanes_stream(void *to, lanes_of_bits x)
{
#if defined __AVX512F__
    _mm512_stream_si512(to, (__m512i)x);
#elif defined __AVX2__
    _mm256_stream_si256(to, (__m256i)x);
#elif defined __SSE2__
    _mm_stream_si128((__m128i *)to, (__m128i)x);
#else
    memcpy(to, &x, sizeof x);
#endif
}

/* a * b + c, rounded as multiply_add does it. */
static inline lanes_f32 lanes_multiply_add(lanes_f32 a, lanes_f32 b, lanes_f32 c)
{
#if defined __AVX512F__
    return _mm512_fmadd_ps(a, b, c);
#elif defined __FMA__
    return _mm256_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}

/* e^x for x <= 0, off by at most 2 units in the last place of normal numbers, 0 below them; NaN
 * stays. */
#if defined __AVX512F__
/* 2^(i/16) in two parts. */
static const float exp_table[16] = {
    1,           1.04427378F, 1.09050773F, 1.13878863F, 1.18920712F, 1.24185781F,
    1.29683955F, 1.35425556F, 1.41421354F, 1.47682619F, 1.54221082F, 1.61049032F,
    1.68179283F, 1.7562522F,  1.8340081F,  1.91520655F,
};
static const float exp_low_table[16] = {
    0,        4.83e-8F, -1.31e-8F, 5.39e-8F, 3.8e-8F,   4.5e-8F,   -4.02e-8F, -1.01e-8F,
    2.42e-8F, -4.5e-8F, 8.07e-9F,  9.84e-9F, -2.48e-8F, -9.24e-9F, -1.12e-8F, 9.85e-9F,
};

/* 2^k t e^r: the low bits of `shifted` say which t it is; k is a multiple of 1/16, its whole part
 * counts; |r| <= ln(2)/32. */
static inline lanes_f32 lanes_exp_f32(lanes_f32 x)
{
    const lanes_f32 zero = { 0 };
    const float shifter = 786432; /* 1.5 * 2^19: what is added to it is rounded to 1/16 */
    const __mmask16 is_normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.33654f), _CMP_NLT_UQ);
    const lanes_f32 shifted = lanes_multiply_add(x, zero + 1.44269504f, zero + shifter);
    const lanes_f32 k = shifted - shifter;
    const lanes_f32 t = _mm512_permutexvar_ps((__m512i)shifted, _mm512_loadu_ps(exp_table));
    const lanes_f32 low = _mm512_permutexvar_ps((__m512i)shifted, _mm512_loadu_ps(exp_low_table));
    lanes_f32 r = lanes_multiply_add(k, zero - 0.693359375f, x);
    r = lanes_multiply_add(k, zero + 2.12194440e-4f, r);
    lanes_f32 p = lanes_multiply_add(r, zero + 0.16666667f, zero + 0.5f);
    p = lanes_multiply_add(p, r, zero + 1);
    return _mm512_maskz_scalef_ps(is_normal,
                                  lanes_multiply_add(lanes_multiply_add(t, r, low), p, t), k);
}
#else
DEFINE_EXP(lanes_exp, lanes_f32, lanes_multiply_add)
static inline lanes_f32 lanes_exp_f32(lanes_f32 x)
{
    lanes_f32 shifted;
    /* At -88 the power of 2 comes out as 0. */
    x = LANES_MAX_F32((lanes_f32){ 0 } - 88, x);
    const lanes_f32 p = lanes_exp_parts(x, EXP_SHIFTER + 127, &shifted);
    return p * (lanes_f32)((lanes_of_bits)shifted << 23);
}
#endif
static inline lanes_f64 lanes_exp_f64(lanes_f64 x)
{
    double several[LANES_F64];
    memcpy(several, &x, sizeof x);
    for (int i = 0; i < LANES_F64; i++)
        several[i] = exp(several[i]);
    memcpy(&x, several, sizeof x);
    return x;
}

/* Lane i is values[places[i]]. */
static inline lanes_f32 lanes_pick_f32(lanes_f32 values, const int32_t *places)
{
    lanes_f32 x = { 0 };
#if defined __AVX512F__
    x = _mm512_permutexvar_ps(_mm512_loadu_si512(places), values);
#elif defined __AVX2__
    x = _mm256_permutevar8x32_ps(values, _mm256_loadu_si256((const __m256i *)(const void *)places));
#else
    for (int i = 0; i < LANES_F32; i++)
        x[i] = values[places[i]];
#endif
    return x;
}
static inline lanes_f64 lanes_pick_f64(lanes_f64 values, const int32_t *places)
{
    lanes_f64 x = { 0 };
    for (int i = 0; i < LANES_F64; i++)
        x[i] = values[places[i]];
    return x;
}

#endif
