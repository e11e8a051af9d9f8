/* e^x for x that is not positive, as in softmax, in a form that compilers vectorize without a
 * library. Cody & Waite's reduction to |f| <= ln(2)/2 and a polynomial; off by at most 2 units in
 * the last place of normal numbers. It is 0 below e^-87.68, half of the smallest of those; NaN
 * stays. */
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

/* e^x where it is a normal number, for V, which is float or a vector of floats; B has as many
 * unsigned integers. e^f is 1 + f (1 + f q): q is the polynomial of degree 4 that keeps the error
 * smallest on |f| <= ln(2)/2 (Remez' algorithm; 3e-9 of the value). */
#define DEFINE_EXP(name, V, B, MULTIPLY_ADD)                                                       \
    static inline V name(V x)                                                                      \
    {                                                                                              \
        const V zero = { 0 };                                                                      \
        /* 1.5 * 2^23 + 127: what is added to it is rounded to an integer; that and the bias of    \
         * exponents then stand in the low bits. */                                                \
        const V shifter = zero + 12583039.0f;                                                      \
        const V shifted = MULTIPLY_ADD(x, zero + 1.44269504f, shifter), k = shifted - shifter;     \
        V f = MULTIPLY_ADD(k, zero - 0.693359375f, x), p = zero + 1.381459879e-3f, power;          \
        B bits;                                                                                    \
        f = MULTIPLY_ADD(k, zero + 2.12194440e-4f, f);                                             \
        p = MULTIPLY_ADD(p, f, zero + 8.368716575e-3f);                                            \
        p = MULTIPLY_ADD(p, f, zero + 4.166838899e-2f);                                            \
        p = MULTIPLY_ADD(p, f, zero + 0.1666652113f);                                              \
        p = MULTIPLY_ADD(p, f, zero + 0.4999999404f);                                              \
        p = MULTIPLY_ADD(p, f, zero + 1.0f);                                                       \
        p = MULTIPLY_ADD(p, f, zero + 1.0f);                                                       \
        memcpy(&bits, &shifted, sizeof bits);                                                      \
        bits <<= 23;                                                                               \
        memcpy(&power, &bits, sizeof power);                                                       \
        return p * power;                                                                          \
    }
DEFINE_EXP(exp_in_range, float, uint32_t, multiply_add)

/* Here the power of 2 comes out as 0, and nowhere above e^-87.68. */
#define EXP_LEAST -88.0f

static inline float exp_not_positive(float x)
{
    return exp_in_range(x < EXP_LEAST ? EXP_LEAST : x);
}

#endif
