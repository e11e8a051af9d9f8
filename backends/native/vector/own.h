/* Functions of F32 of our own, in a form that compilers vectorize without a library: no branches,
 * no tables, few instructions. Polynomials are fits of ours to the function within the bounds named
 * (least squares, weights moved until the largest relative error is smallest). Special values are
 * right, and small results are good to a few units in the last place too. */
#ifndef BACKENDS_NATIVE_VECTOR_OWN_H
#define BACKENDS_NATIVE_VECTOR_OWN_H

#include "backends/native/vector/exp.h"
#include <stdbool.h>

/* x where it is between low < 0 and high > 0, else one of these; NaN becomes either. Integers are
 * compared, which is one instruction each, as numbers would not be. */
static inline float limited(float x, float low, float high)
{
    const int32_t bits = (int32_t)bits_of_float(x), most = (int32_t)bits_of_float(high);
    const uint32_t magnitude = (uint32_t)(bits < most ? bits : most), least = bits_of_float(low);
    return float_of_bits(magnitude < least ? magnitude : least);
}

/* |x| where it is below high; NaN becomes high. */
static inline float limited_magnitude(float x, float high)
{
    const uint32_t bits = bits_of_float(x) & 0x7fffffffu, most = bits_of_float(high);
    return float_of_bits(bits < most ? bits : most);
}

/* y with the sign of x, where y has no sign or the same */
static inline float with_sign(float y, float x)
{
    return float_of_bits(bits_of_float(y) | (bits_of_float(x) & 0x80000000u));
}

/* e^x for x in -104..43, below the normal numbers too. */
static inline float exp_low(float x)
{
    float shifted;
    const float p = exp_parts(x, EXP_SHIFTER + 127 + 64, &shifted);
    return p * exp_power(shifted) * 0x1p-64f;
}

/* 1 + e^x; infinity from 88.4 on; not for NaN. */
static inline float vector_exp_plus_1(float x)
{
    float shifted;
    const float p = exp_parts(limited(x, -87, 89), EXP_SHIFTER + 127, &shifted);
    return multiply_add(p, exp_power(shifted), 1);
}

static inline float vector_sigmoid(float x)
{
    const float y = 1 / vector_exp_plus_1(-x);
    return x != x ? x : y;
}

/* log(1 + e^-|x|); of NaN 0. The polynomial is log(1 + e) / e on 0..1, off by 3.4e-8. */
static inline float vector_log1p_exp(float x)
{
    const float e = exp_low(-limited_magnitude(x, 104)), s = e * e;
    float p = -0.02907406468f, q = 0.005126102141f;
    p = multiply_add(p, s, -0.1360224762f);
    q = multiply_add(q, s, 0.07751608674f);
    p = multiply_add(p, s, -0.2483539899f);
    q = multiply_add(q, s, 0.1907688074f);
    p = multiply_add(p, s, -0.4999944498f);
    q = multiply_add(q, s, 0.3331812171f);
    return multiply_add(multiply_add(q, e, p), s, e);
}

/* tanh(log(1 + e^x)) = w/(w + 2), w = e^x (e^x + 2); of NaN 1. */
static inline float vector_tanh_softplus(float x)
{
    const float e = exp_low(limited(x, -104, 20)), w = e * (e + 2);
    return w / (w + 2);
}

/* log(1 + m) for m in -1/4..1/2; the polynomial is off by 5e-9. */
static inline float log1p_low(float m)
{
    const float s = m * m;
    float p = -0.044909090341f, q = 0.10448277649f;
    p = multiply_add(p, s, -0.13162223658f);
    q = multiply_add(q, s, 0.14482067761f);
    p = multiply_add(p, s, -0.16647768632f);
    q = multiply_add(q, s, 0.1999060651f);
    p = multiply_add(p, s, -0.25000054528f);
    q = multiply_add(q, s, 0.33333454447f);
    p = multiply_add(p, s, -0.50000000823f);
    return multiply_add(multiply_add(q, m, p), s, m);
}

/* log(1 + x) = k ln(2) + log(1 + m), where 1 + m = (1 + x) 2^-k is not computed, but
 * m = x 2^-k + (2^-k - 1). */
static inline float vector_log1p(float x)
{
    const float u = x + 1;
    const uint32_t k = (bits_of_float(u) - 0x3f400000u) & 0xff800000u; /* times 2^23 */
    const float quarter = float_of_bits(0x40800000u - k);              /* 4 * 2^-k */
    const float m = float_of_bits(bits_of_float(x) - k) + multiply_add(0.25f, quarter, -1);
    float p = multiply_add((float)(int32_t)k, 0.693147181f * 0x1p-23f, log1p_low(m));
    p = x < INFINITY ? with_sign(p, x) : x;
    return u > 0 ? p : (u == 0 ? -INFINITY : NAN);
}

/* log(x) of normal numbers x > 0, k ln(2) + log(x 2^-k); NaN stays. */
static inline float vector_log_normal(float x)
{
    const uint32_t k = (bits_of_float(x) - 0x3f400000u) & 0xff800000u; /* times 2^23 */
    const float m = multiply_add(x, float_of_bits(0x3f800000u - k), -1);
    return multiply_add((float)(int32_t)k, 0.693147181f * 0x1p-23f, log1p_low(m));
}

/* atan(t) for t in 0..1; the polynomial is atan(t)/t, off by 1.5e-8. */
static inline float atan_low(float t)
{
    const float s = t * t, s2 = s * s;
    float p = 0.0029745431881f, q = -0.016580997334f;
    p = multiply_add(p, s2, 0.043553240305f);
    q = multiply_add(q, s2, -0.075805532819f);
    p = multiply_add(p, s2, 0.10678928916f);
    q = multiply_add(q, s2, -0.14214206343f);
    p = multiply_add(p, s2, 0.19994136878f);
    q = multiply_add(q, s2, -0.33333166953f);
    return multiply_add(multiply_add(p, s, q) * s, t, t);
}

/* Of the smaller and the larger one of |x| and 1 (chosen as integers, which order like numbers) the
 * quotient t; beyond 1 pi/2 - atan(t). */
static inline float vector_atan(float x)
{
    const uint32_t bits = bits_of_float(x) & 0x7fffffffu, one = bits_of_float(1);
    const float small = float_of_bits(bits < one ? bits : one);
    const float p = atan_low(small / float_of_bits(bits < one ? one : bits));
    return with_sign(bits > one ? 1.57079633f - p : p, x);
}

/* The same of |y| and |x|, in all quadrants. Where both are equal, also if both are 0 or infinite,
 * the quotient is known. NaN counts as the larger one. */
static inline float vector_atan2(float y, float x)
{
    const uint32_t y_bits = bits_of_float(y) & 0x7fffffffu;
    const uint32_t x_bits = bits_of_float(x) & 0x7fffffffu, x_sign = bits_of_float(x) ^ x_bits;
    const bool is_steep = y_bits > x_bits;
    const float small = float_of_bits(is_steep ? x_bits : y_bits);
    const float large = float_of_bits(is_steep ? y_bits : x_bits);
    const float known = x_bits == 0 ? 0 : 1;
    const float p = atan_low(small == large ? known : small / large);
    const float begin = is_steep ? 1.57079633f : (x_sign ? 3.14159265f : 0);
    const uint32_t turn = is_steep ? x_sign ^ 0x80000000u : x_sign;
    return with_sign(begin + float_of_bits(bits_of_float(p) ^ turn), y);
}

/* asin(t) for t in 0..1/2 with s = t^2; the polynomial is off by 5e-9. */
static inline float asin_low(float t, float s)
{
    float p = 0.042218546164f;
    p = multiply_add(p, s, 0.024147611847f);
    p = multiply_add(p, s, 0.045477097117f);
    p = multiply_add(p, s, 0.074952417775f);
    p = multiply_add(p, s, 0.16666753928f);
    return multiply_add(p * s, t, t);
}

/* From 1/2 on pi/2 - 2 asin(sqrt((1 - x)/2)). */
static inline float vector_asin(float x)
{
    const float a = fabsf(x), rest = multiply_add(-0.5f, a, 0.5f);
    const float s = a > 0.5f ? rest : a * a, t = a > 0.5f ? sqrtf(rest) : a;
    const float y = asin_low(t, s);
    return with_sign(a > 0.5f ? multiply_add(-2, y, 1.57079633f) : y, x);
}

static inline float vector_acos(float x)
{
    const float a = fabsf(x), rest = multiply_add(-0.5f, a, 0.5f);
    const float s = a > 0.5f ? rest : a * a, t = a > 0.5f ? sqrtf(rest) : x;
    const float y = asin_low(t, s);
    return a > 0.5f ? (x > 0 ? y + y : multiply_add(-2, y, 3.14159265f)) : 1.57079633f - y;
}

/* e^(ab) for a b in -88.1..0, at the end of which it is 0, with what rounding would take from the
 * product. */
static inline float exp_of_product(float a, float b)
{
    const float shifter = EXP_SHIFTER + 127;
    const float shifted = multiply_add(a * 1.44269504f, b, shifter), k = shifted - shifter;
    const float f = multiply_add(a, b, k * -0.693359375f);
    return exp_of_rest(multiply_add(k, 2.12194440e-4f, f)) * exp_power(shifted);
}

/* x times the normal distribution function: max(x, 0) - a e^(-a^2/2) times the quotient of two
 * polynomials, a = |x|; a fit on 0..13.1 that is off by 1.1e-8. At 13.27 the exponential is 0. */
static inline float vector_times_normal_cdf(float x)
{
    const float a = limited_magnitude(x, 13.27f);
    const float e = exp_of_product(-0.5f * a, a);
    float p = 0.00411026136f, q = 0.0103027764f;
    p = multiply_add(p, a, 0.0405934432f);
    q = multiply_add(q, a, 0.101759169f);
    p = multiply_add(p, a, 0.183118402f);
    q = multiply_add(q, a, 0.469162014f);
    p = multiply_add(p, a, 0.438139298f);
    q = multiply_add(q, a, 1.20202137f);
    p = multiply_add(p, a, 0.5f);
    q = multiply_add(q, a, 1.67416356f);
    q = multiply_add(q, a, 1);
    const float y = multiply_add(-a, e * (p / q), x < 0 ? -0.0f : x);
    return x < -1000 ? 0 : y;
}

/* The polynomial in t = x^2 (2 / 3.92^2) - 1 is erf(x)/x, off by 2.5e-8; from 3.92 on it is 1. */
static inline float vector_erf(float x)
{
    const float a = fabsf(x), y = a > 3.92f ? 3.92f : a;
    const float t = multiply_add(y * y, 0.130154102f, -1), s = t * t;
    float p = 0.0020987537148f, q = -0.00084391605172f;
    p = multiply_add(p, s, 0.0019199878582f);
    q = multiply_add(q, s, -0.0013945801075f);
    p = multiply_add(p, s, 0.014209929685f);
    q = multiply_add(q, s, -0.0076604699905f);
    p = multiply_add(p, s, 0.029697581042f);
    q = multiply_add(q, s, -0.019995069566f);
    p = multiply_add(p, s, 0.058395991434f);
    q = multiply_add(q, s, -0.043436846324f);
    p = multiply_add(p, s, 0.090596972575f);
    q = multiply_add(q, s, -0.07401982068f);
    p = multiply_add(q, t, p);
    p = multiply_add(p, t, -0.1091792248f);
    p = multiply_add(p, t, 0.13408455493f);
    p = multiply_add(p, t, -0.1801086282f);
    p = multiply_add(p, t, 0.36073681131f);
    const float r = p * y;
    return with_sign(r > 1 ? 1 : r, x);
}

#ifdef __FMA__
/* a > 0 is a finite normal number and b not too large. */
static inline int pow_is_plain(float a, float b)
{
    const int is_normal = bits_of_float(a) - 0x00800000u < 0x7f000000u;
    const int is_small = (bits_of_float(b) & 0x7fffffffu) < 0x70000000u;
    return is_normal & is_small;
}

/* a^b = 2^(b log2 |a|), the logarithm in two parts, high and low. With |a| = 2^k m and m in
 * sqrt(1/2)..sqrt(2), log2(m) = 2/ln(2) atanh(s), s = (m - 1)/(m + 1) in two parts, too; the
 * polynomial is its part from s^3 on, off by 1.7e-9, that of 2^f by 1.9e-9. Special cases as in C
 * (annex F); `is_plain` leaves them out. */
static inline float pow_of(float a, float b, bool is_plain)
{
    const float magnitude = fabsf(a);
    const bool is_small = !is_plain && magnitude < 0x1p-126f;
    const float x = is_small ? magnitude * 0x1p24f : magnitude;
    const int32_t distance = (int32_t)(bits_of_float(x) - 0x3f3504f3u); /* from sqrt(1/2) */
    const float k = (float)(distance >> 23) - (is_small ? 24.0f : 0);
    const float r = float_of_bits(((uint32_t)distance & 0x7fffff) + 0x3f3504f3u) - 1;
    /* s + s_low = r/(2 + r) */
    const float divisor = 2 + r, inverse = 1 / divisor, s = r * inverse, z = s * s;
    const float rest = multiply_add(-s, r - (divisor - 2), multiply_add(-s, divisor, r));
    float p = 0.33660221f;
    p = multiply_add(p, z, 0.41190068f);
    p = multiply_add(p, z, 0.57707978f);
    p = multiply_add(p, z, 0.96179669f);
    const float t = s * 2.88539004f, further = p * z * s, log = t + further;
    float low = multiply_add(s, 2.88539004f, -t);
    low = multiply_add(s, 3.85192598e-8f, multiply_add(rest * inverse, 2.88539004f, low));
    float high = k + log;
    low = (log - (high - k)) + ((t - log) + further + low);
    if (!is_plain)
        high = magnitude == 0 ? -INFINITY : (magnitude < INFINITY ? high : INFINITY);
    /* b times that; 0 where either is, even beside infinities */
    const float power = !is_plain && (b == 0 || magnitude == 1) ? 0 : b * high;
    const float power_low = multiply_add(b, low, multiply_add(b, high, -power));
    const float y = limited(power, -160, 140);
    const float shifter = 12582912, shifted = y + shifter;
    const bool is_within = is_plain ? y == power : y == power && y != 0;
    const float f = (y - (shifted - shifter)) + (is_within ? power_low : 0);
    float q = 0.00015475898f;
    q = multiply_add(q, f, 0.0013400283f);
    q = multiply_add(q, f, 0.0096180054f);
    q = multiply_add(q, f, 0.0555032774f);
    q = multiply_add(q, f, 0.2402265133f);
    q = multiply_add(q, f, 0.6931472063f);
    q = multiply_add(q, f, 1);
    /* In two steps of half the exponent, since it goes beyond those of numbers. */
    const uint32_t half = (uint32_t)((int32_t)(bits_of_float(shifted) << 9) >> 10);
    const uint32_t other = bits_of_float(shifted) - half;
    q = q * float_of_bits((half + 127) << 23) * float_of_bits((other + 127) << 23);
    if (is_plain)
        return q;
    /* The sign of odd powers; no number for others that are not whole. */
    const float b_half = 0.5f * b;
    const bool is_whole = rintf(b) == b, is_odd = rintf(b_half) != b_half;
    q = is_whole && is_odd ? with_sign(q, a) : q;
    q = a < 0 && !is_whole && magnitude < INFINITY ? NAN : q;
    return (a != a || b != b) && a != 1 && b != 0 ? NAN : q;
}

static inline float vector_pow(float a, float b)
{
    return pow_of(a, b, false);
}

/* a is finite, and b is 0, or is normal and the quotient below 2^24. */
static inline int mod_is_plain(float a, float b)
{
    const uint32_t above = bits_of_float(a) & 0x7fffffffu, below = bits_of_float(b) & 0x7fffffffu;
    const int is_finite = above < 0x7f800000u, is_normal = below - 0x00800000u < 0x7f000000u;
    const int is_near = (int32_t)(above - below) < 23 << 23, is_zero = below == 0;
    return is_finite & ((is_normal & is_near) | is_zero);
}

/* fmod of those, exact: the quotient is rounded to one that is too large by 1 at most, and then the
 * rest is small; NaN where b is 0. */
static inline float plain_fmod(float a, float b)
{
    const float rest = multiply_add(-truncf(a / b), b, a);
    return (a < 0 ? rest > 0 : rest < 0) ? rest + (a < 0 ? -fabsf(b) : fabsf(b)) : rest;
}
#endif

#endif
