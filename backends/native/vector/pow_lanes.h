/* pow of F32 for 16 lanes of AVX-512, where tables are looked up in registers and nothing is
 * divided. */
#ifndef BACKENDS_NATIVE_VECTOR_POW_LANES_H
#define BACKENDS_NATIVE_VECTOR_POW_LANES_H

#ifdef __AVX512F__
#include "backends/native/vector/lanes.h"

/* c near 1/m for m in 3/4..3/2, by the bits of m that stand behind its first: few bits, so that
 * r = c m - 1 is exact, |r| <= 1/32; 1 on both sides of m = 1. And -log2(c) in two parts, of which
 * the first is a multiple of 2^-16. */
static const float pow_inverses[32] = {
    1,         0.953125,  0.921875, 0.90625,  0.875,   0.8515625, 0.828125, 0.8125,
    0.7890625, 0.7734375, 0.75,     0.734375, 0.71875, 0.703125,  0.6875,   0.671875,
    1.3125,    1.296875,  1.265625, 1.25,     1.21875, 1.203125,  1.171875, 1.15625,
    1.125,     1.109375,  1.09375,  1.078125, 1.0625,  1.046875,  1.03125,  1,
};
static const float pow_logs[32] = {
    0,
    0.0692596436F,
    0.117355347F,
    0.14201355F,
    0.192642212F,
    0.231811523F,
    0.272079468F,
    0.299560547F,
    0.341781616F,
    0.370635986F,
    0.415039062F,
    0.445404053F,
    0.47644043F,
    0.508148193F,
    0.54057312F,
    0.573730469F,
    -0.392318726F,
    -0.375045776F,
    -0.33984375F,
    -0.321929932F,
    -0.285400391F,
    -0.266784668F,
    -0.228820801F,
    -0.209457397F,
    -0.169921875F,
    -0.149749756F,
    -0.12928772F,
    -0.108520508F,
    -0.0874633789F,
    -0.0660858154F,
    -0.0443878174F,
    0,
};
static const float pow_low_logs[32] = {
    0,
    3.01888235e-06F,
    1.60395848e-06F,
    5.45506782e-06F,
    2.86602835e-06F,
    4.15178556e-06F,
    7.76633655e-08F,
    -2.65016098e-07F,
    6.90103707e-06F,
    7.39359211e-06F,
    -1.56322119e-06F,
    7.09558799e-06F,
    -2.38574444e-06F,
    -1.28968907e-06F,
    -4.73875434e-06F,
    4.77654794e-06F,
    1.30280716e-06F,
    6.34502021e-06F,
    -6.25288476e-06F,
    1.83675331e-06F,
    -1.82823726e-06F,
    -1.8727261e-06F,
    2.11028532e-06F,
    4.03183185e-06F,
    -3.12644238e-06F,
    2.63635479e-06F,
    4.70278155e-06F,
    -3.94896551e-06F,
    5.37655922e-07F,
    -3.37502797e-06F,
    -6.30197565e-06F,
    0,
};

/* Where a is not a positive, finite, normal number, or |b| is 2^15 or more. */
static inline __mmask16 pow_is_special(__m512 a, __m512 b)
{
    return _mm512_fpclass_ps_mask(a, 0xff) |
           _mm512_cmp_ps_mask(_mm512_abs_ps(b), _mm512_set1_ps(0x1p15F), _CMP_NLT_UQ);
}

/* a^b = 2^(b log2 a) where it is not special. With a = 2^k m, log2(a) = k - log2(c) + log2(1 + r),
 * in two parts, high and low. The polynomial in r is off by 5e-10 of the whole, that in f, of 2^f,
 * by 1.9e-9. */
static inline __m512 pow_lanes(__m512 a, __m512 b)
{
#define SPLAT(x) _mm512_set1_ps(x)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
    const __m512 m = _mm512_getmant_ps(a, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_zero);
    const __m512i index = _mm512_srli_epi32(_mm512_castps_si512(m), 18);
    const __mmask16 is_low = _mm512_cmp_ps_mask(m, SPLAT(1), _CMP_LT_OQ);
    const __m512 floor_k = _mm512_getexp_ps(a);
    const __m512 k = _mm512_mask_add_ps(floor_k, is_low, floor_k, SPLAT(1));
    const __m512 r = FMA(lanes_look_up(pow_inverses, index), m, SPLAT(-1));
    const __m512 begin = _mm512_add_ps(k, lanes_look_up(pow_logs, index)); /* exact */
    const __m512 t = _mm512_mul_ps(r, SPLAT(1.44269502F));
    __m512 low = FMA(r, SPLAT(1.92596299e-8F), lanes_look_up(pow_low_logs, index));
    low = _mm512_add_ps(low, _mm512_fmsub_ps(r, SPLAT(1.44269502F), t));
    __m512 p = FMA(SPLAT(0.28886262F), r, SPLAT(-0.360966967F));
    p = FMA(p, r, SPLAT(0.480898227F));
    p = FMA(p, r, SPLAT(-0.721347449F));
    p = _mm512_mul_ps(p, _mm512_mul_ps(r, r));
    const __m512 high = _mm512_add_ps(begin, _mm512_add_ps(t, p));
    const __m512 rest = _mm512_add_ps(_mm512_add_ps(_mm512_sub_ps(begin, high), t), p);
    low = _mm512_add_ps(low, rest);

    const __m512 power = _mm512_mul_ps(b, high);
    const __m512 power_low = FMA(b, low, _mm512_fmsub_ps(b, high, power));
    const __m512 shifter = SPLAT(12582912); /* 1.5 * 2^23: what is added to it is rounded */
    const __m512 whole = _mm512_sub_ps(_mm512_add_ps(power, shifter), shifter);
    const __m512 f = _mm512_add_ps(_mm512_sub_ps(power, whole), power_low);
    __m512 q = FMA(SPLAT(0.00015475898F), f, SPLAT(0.0013400283F));
    q = FMA(q, f, SPLAT(0.0096180054F));
    q = FMA(q, f, SPLAT(0.0555032774F));
    q = FMA(q, f, SPLAT(0.2402265133F));
    q = FMA(q, f, SPLAT(0.6931472063F));
    q = FMA(q, f, SPLAT(1));
    return _mm512_scalef_ps(q, whole);
#undef SPLAT
#undef FMA
}
#endif

#endif
