/* e^x in parts, for functions that are made of it, in a form that compilers vectorize without a
 * library. */
#ifndef BACKENDS_NATIVE_VECTOR_EXP_H
#define BACKENDS_NATIVE_VECTOR_EXP_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* a * b + c, rounded once where that is one instruction. */
static inline float multiply_add(float a, float b, float c)
{
#ifdef __FMA__
    return fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

static inline float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t bits_of_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The parts of e^x = 2^k e^f, k a whole number, |f| <= ln(2)/2 (Cody & Waite 1980), for V, which is
 * float or a vector of floats.
 * name_of_rest: e^f = 1 + f (1 + f q), where q is the polynomial of degree 4 that keeps the error
 * smallest (Remez' algorithm; 3e-9 of the value).
 * name_parts: e^f, and k in `shifted`: what is added to 1.5 * 2^23, and a bias if you like, is
 * rounded to an integer, which then stands in the low bits. */
#define DEFINE_EXP(name, V, MULTIPLY_ADD)                                                          \
    static inline V name##_of_rest(V f)                                                            \
    {                                                                                              \
        const V zero = { 0 };                                                                      \
        V p = zero + 1.381459879e-3f;                                                              \
        p = MULTIPLY_ADD(p, f, zero + 8.368716575e-3f);                                            \
        p = MULTIPLY_ADD(p, f, zero + 4.166838899e-2f);                                            \
        p = MULTIPLY_ADD(p, f, zero + 0.1666652113f);                                              \
        p = MULTIPLY_ADD(p, f, zero + 0.4999999404f);                                              \
        p = MULTIPLY_ADD(p, f, zero + 1.0f);                                                       \
        return MULTIPLY_ADD(p, f, zero + 1.0f);                                                    \
    }                                                                                              \
    static inline V name##_parts(V x, float shifter, V *shifted)                                   \
    {                                                                                              \
        const V zero = { 0 };                                                                      \
        *shifted = MULTIPLY_ADD(x, zero + 1.44269504f, zero + shifter);                            \
        const V k = *shifted - (zero + shifter);                                                   \
        const V f = MULTIPLY_ADD(k, zero - 0.693359375f, x);                                       \
        return name##_of_rest(MULTIPLY_ADD(k, zero + 2.12194440e-4f, f));                          \
    }
DEFINE_EXP(exp, float, multiply_add)

#define EXP_SHIFTER 12582912.0f /* 1.5 * 2^23 */

/* 2^k, a normal number, of k + 127 in the low bits of `shifted`. */
static inline float exp_power(float shifted)
{
    return float_of_bits(bits_of_float(shifted) << 23);
}

#endif
