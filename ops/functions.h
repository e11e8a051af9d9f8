/* What rows of elementwise.def call beside the functions of math.h. */
#ifndef OPS_FUNCTIONS_H
#define OPS_FUNCTIONS_H

#include <math.h>

/* log(1 + e^x), for x <= 0 */
static inline double log1p_exp(double x)
{
    return log1p(exp(x));
}

static inline float log1p_expf(float x)
{
    return log1pf(expf(x));
}

/* The normal distribution function, exact far below 0 too. */
static inline double normal_cdf(double x)
{
    return erfc(x * -0.70710678118654752) / 2;
}

static inline float normal_cdff(float x)
{
    return erfcf(x * -0.70710678118654752F) / 2;
}

#endif
