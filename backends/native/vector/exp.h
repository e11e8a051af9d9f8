/* e^x for x that is not positive, as in softmax, in a form that compilers vectorize without a
 * library. Cody & Waite's reduction to |f| <= ln(2)/2 and the polynomial of Cephes' expf (Moshier
 * 1992); off by at most 2 units in the last place. Below the normal numbers it is 0; NaN stays. */
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

/* e^x where it is a normal number. */
static inline float exp_in_range(float x)
{
    const float shifter = 12582912; /* 1.5 * 2^23: what is added to it is rounded to an integer */
    const float shifted = multiply_add(x, 1.44269504f, shifter), k = shifted - shifter;
    float f = multiply_add(k, -0.693359375f, x), p = 1.9875691500e-4f;
    f = multiply_add(k, 2.12194440e-4f, f);
    p = multiply_add(p, f, 1.3981999507e-3f);
    p = multiply_add(p, f, 8.3334519073e-3f);
    p = multiply_add(p, f, 4.1665795894e-2f);
    p = multiply_add(p, f, 1.6666665459e-1f);
    p = multiply_add(p, f, 5.0000001201e-1f);
    p = multiply_add(p * f, f, f) + 1;
    /* k stands in the low bits of `shifted`. */
    return p * float_of_bits((bits_of_float(shifted) + 127u) << 23);
}

static inline float exp_not_positive(float x)
{
    const float least = -87.33654f; /* e^least is the smallest normal number */
    const float r = exp_in_range(x < least ? least : x);
    return x < least ? 0 : r;
}

#endif
