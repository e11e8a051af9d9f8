/* The functions of math.h, with the vector versions that glibc has for them (libmvec). glibc itself declares
 * those only under -ffast-math; here gcc may use them without. Errors are at most 4 ulp; special values are
 * right. Other compilers and C libraries call the scalar functions. */
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
extern HAS_VECTOR_VERSION float tanhf(float);
extern HAS_VECTOR_VERSION double tanh(double);
#endif
#endif

#endif
