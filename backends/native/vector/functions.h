/* The functions of math.h and of ops/functions.h, with the vector versions that glibc has for them
 * (libmvec). glibc itself declares those only under -ffast-math; here gcc may use them without.
 * Errors are at most 4 ulp; special values are right. Other compilers and C libraries call the
 * scalar functions. Some functions of F32 are our own (own.h). */
#ifndef BACKENDS_NATIVE_VECTOR_FUNCTIONS_H
#define BACKENDS_NATIVE_VECTOR_FUNCTIONS_H

#include "backends/native/vector/own.h"
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
extern HAS_VECTOR_VERSION float log2f(float);
extern HAS_VECTOR_VERSION float log10f(float);
extern HAS_VECTOR_VERSION float cbrtf(float);
extern HAS_VECTOR_VERSION float tanf(float);
extern HAS_VECTOR_VERSION float sinhf(float);
extern HAS_VECTOR_VERSION float coshf(float);
extern HAS_VECTOR_VERSION float tanhf(float);
extern HAS_VECTOR_VERSION float asinhf(float);
extern HAS_VECTOR_VERSION float acoshf(float);
extern HAS_VECTOR_VERSION float atanhf(float);
extern HAS_VECTOR_VERSION float erff(float);
extern HAS_VECTOR_VERSION float erfcf(float);
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

/* Where a row of ops/elementwise.def calls these for F32. */
#define exp_plus_1f vector_exp_plus_1
#define sigmoidf vector_sigmoid
#define log1p_expf vector_log1p_exp
#define tanh_softplusf vector_tanh_softplus
#define times_normal_cdff vector_times_normal_cdf
#define log1pf vector_log1p
#define atanf vector_atan
#define atan2f vector_atan2
#define asinf vector_asin
#define acosf vector_acos
#ifdef __FMA__
#define erff vector_erf /* 4.2 ulp otherwise */
#define powf vector_pow
#endif

#endif
