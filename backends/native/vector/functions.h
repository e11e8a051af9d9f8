/* The functions of math.h, with the vector versions that glibc has for them (libmvec). glibc itself
 * declares those only under -ffast-math; here gcc may use them without. Errors are at most 4 ulp;
 * special values are right. Other compilers and C libraries call the scalar functions. */
#ifndef BACKENDS_NATIVE_VECTOR_FUNCTIONS_H
#define BACKENDS_NATIVE_VECTOR_FUNCTIONS_H

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

#endif
