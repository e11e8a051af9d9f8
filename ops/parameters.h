/* The sets of parameters that rows of elementwise.def may have. Each has a struct of doubles in
 * ops.h and, here, a macro LOCALS_<set>(attrs) that declares them as values of the type T at hand.
 * VALUE (float, integer) says which of the two T is. */
#ifndef OPS_PARAMETERS_H
#define OPS_PARAMETERS_H

#include <ebb/ops.h>
#include <math.h>

#define LOCALS_ALPHA(attrs) const T alpha = PARAMETER(((const ebb_alpha_attrs *)(attrs))->alpha);
#define LOCALS_LIMITS(attrs)                                                                       \
    const T low = PARAMETER(((const ebb_limits_attrs *)(attrs))->low);                             \
    const T high = PARAMETER(((const ebb_limits_attrs *)(attrs))->high);

/* As ebb_cast does it: truncated, saturated. x is not NaN. */
static inline int64_t ebb_integer_parameter(double x, int n_bits, bool is_signed)
{
    const double limit = ldexp(1, n_bits - is_signed), lowest = is_signed ? -limit : 0;
    if (x >= limit)
        return (int64_t)((UINT64_C(1) << (n_bits - is_signed)) - 1);
    return (int64_t)(x < lowest ? lowest : x);
}

#define PARAMETER(x) VALUE((T)(x), (T)ebb_integer_parameter(x, 8 * (int)sizeof(T), (T)-1 < (T)1))

#endif
