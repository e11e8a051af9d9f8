/* The functions of math.h and of ops/functions.h, with the vector versions that glibc has for them
 * (libmvec). glibc itself declares those only under -ffast-math; here gcc may use them without.
 * Errors are at most 4 ulp; special values are right. Other compilers and C libraries call the
 * scalar functions. */
#ifndef BACKENDS_NATIVE_VECTOR_FUNCTIONS_H
#define BACKENDS_NATIVE_VECTOR_FUNCTIONS_H

#include "backends/native/vector/exp.h"
#include "ops/functions.h"
#include <math.h>

#if defined __GNUC__ && !defined __clang__ && defined __x86_64__ && defined __GLIBC__
#define HAS_VECTOR_VERSION __attribute__((simd("notinbranch"), const, nothrow))
extern HAS_VECTOR_VERSION float expf(float);
extern HAS_VECTOR_VERSION float logf(float);
extern HAS_VECTOR_VERSION float sinf(float);
extern HAS_VECTOR_VERSION float cosf(float);
extern HAS_VECTOR_VERSION float powf(float, float);
extern HAS_VECTOR_VERSION double exp(double);
extern HAS_VECTOR_VERSION double log(double);
extern HAS_VECTOR_VERSION double sin(double);
extern HAS_VECTOR_VERSION double cos(double);
extern HAS_VECTOR_VERSION double pow(double, double);
#if __GLIBC_PREREQ(2, 35)
extern HAS_VECTOR_VERSION float exp2f(float);
extern HAS_VECTOR_VERSION double exp2(double);
extern HAS_VECTOR_VERSION float expm1f(float);
extern HAS_VECTOR_VERSION float log1pf(float);
extern HAS_VECTOR_VERSION float log2f(float);
extern HAS_VECTOR_VERSION float log10f(float);
extern HAS_VECTOR_VERSION float cbrtf(float);
extern HAS_VECTOR_VERSION float tanf(float);
extern HAS_VECTOR_VERSION float asinf(float);
extern HAS_VECTOR_VERSION float acosf(float);
extern HAS_VECTOR_VERSION float atanf(float);
extern HAS_VECTOR_VERSION float sinhf(float);
extern HAS_VECTOR_VERSION float coshf(float);
extern HAS_VECTOR_VERSION float tanhf(float);
extern HAS_VECTOR_VERSION float asinhf(float);
extern HAS_VECTOR_VERSION float acoshf(float);
extern HAS_VECTOR_VERSION float atanhf(float);
extern HAS_VECTOR_VERSION float erff(float);
extern HAS_VECTOR_VERSION float erfcf(float);
extern HAS_VECTOR_VERSION float atan2f(float, float);
extern HAS_VECTOR_VERSION float hypotf(float, float);
extern HAS_VECTOR_VERSION double expm1(double);
extern HAS_VECTOR_VERSION double log1p(double);
extern HAS_VECTOR_VERSION double log2(double);
extern HAS_VECTOR_VERSION double log10(double);
extern HAS_VECTOR_VERSION double cbrt(double);
extern HAS_VECTOR_VERSION double tan(double);
extern HAS_VECTOR_VERSION double asin(double);
extern HAS_VECTOR_VERSION double acos(double);
extern HAS_VECTOR_VERSION double atan(double);
extern HAS_VECTOR_VERSION double sinh(double);
extern HAS_VECTOR_VERSION double cosh(double);
extern HAS_VECTOR_VERSION double tanh(double);
extern HAS_VECTOR_VERSION double asinh(double);
extern HAS_VECTOR_VERSION double acosh(double);
extern HAS_VECTOR_VERSION double atanh(double);
extern HAS_VECTOR_VERSION double erf(double);
extern HAS_VECTOR_VERSION double erfc(double);
extern HAS_VECTOR_VERSION double atan2(double, double);
extern HAS_VECTOR_VERSION double hypot(double, double);
#endif
#endif

/* log(1 + e^x) for x <= 0. The polynomial is log(1 + e) / e on 0..1, off by 3.4e-8. */
static inline float vector_log1p_exp(float x)
{
    const float e = expf(x);
    float p = 0.005126102141f;
    p = multiply_add(p, e, -0.02907406468f);
    p = multiply_add(p, e, 0.07751608674f);
    p = multiply_add(p, e, -0.1360224762f);
    p = multiply_add(p, e, 0.1907688074f);
    p = multiply_add(p, e, -0.2483539899f);
    p = multiply_add(p, e, 0.3331812171f);
    p = multiply_add(p, e, -0.4999944498f);
    return multiply_add(p * e, e, e);
}

/* The normal distribution function: e^(-x^2/2) times the quotient of two polynomials, a fit on
 * -13.1..0 that is off by 6e-9. What rounding takes from x^2 is given back. 0 below -13.1, where
 * the value is no normal number. The comparison of bits is one instruction, and NaN comes out as 0.
 */
static inline float vector_normal_cdf(float x)
{
    const uint32_t most = 0x4151999a, magnitude = bits_of_float(x) & 0x7fffffff;
    const uint32_t bits = magnitude < most ? magnitude : most;
    const float a = float_of_bits(bits), half = -0.5f * a, power = half * a;
    const float e = exp_in_range(power), lost = multiply_add(half, a, -power);
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
    const float r = bits == most ? 0 : multiply_add(e, lost, e) * (p / q);
    return x > 0 ? 1 - r : r;
}

/* Where a row of ops/elementwise.def calls these for F32. */
#define log1p_expf vector_log1p_exp
#define normal_cdff vector_normal_cdf

#endif
