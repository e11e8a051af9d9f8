/* What rows of elementwise.def call beside the functions of math.h. */
#ifndef OPS_FUNCTIONS_H
#define OPS_FUNCTIONS_H

#include <math.h>

/* log(1 + e^-|x|); of NaN whatever comes out */
static inline double log1p_exp(double x)
{
    return log1p(exp(-fabs(x)));
}

static inline float log1p_expf(float x)
{
    return log1pf(expf(-fabsf(x)));
}

/* 1 + e^x, for what divides by it; of NaN whatever comes out */
static inline double exp_plus_1(double x)
{
    return 1 + exp(x);
}

static inline float exp_plus_1f(float x)
{
    return 1 + expf(x);
}

/* 1/(1 + e^-x). exp(-x) may overflow to infinity; the quotient is then the right 0. */
static inline double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static inline float sigmoidf(float x)
{
    return 1 / (1 + expf(-x));
}

/* tanh(log(1 + e^x)) with e = e^-|x|, which never overflows; of NaN whatever comes out */
static inline double tanh_softplus(double x)
{
    const double e = exp(-fabs(x));
    return x >= 0 ? (1 + 2 * e) / (1 + 2 * e * (1 + e)) : e * (2 + e) / (2 + e * (2 + e));
}

static inline float tanh_softplusf(float x)
{
    const float e = expf(-fabsf(x));
    return x >= 0 ? (1 + 2 * e) / (1 + 2 * e * (1 + e)) : e * (2 + e) / (2 + e * (2 + e));
}

/* x times the normal distribution function, exact far below 0 too. Below -1000 it is 0, for -inf
 * as well. */
static inline double times_normal_cdf(double x)
{
    return x < -1000 ? 0 : x * (erfc(x * -0.70710678118654752) / 2);
}

static inline float times_normal_cdff(float x)
{
    return x < -1000 ? 0 : x * (erfcf(x * -0.70710678118654752F) / 2);
}

#endif
