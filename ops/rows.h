/* Float elements and rows of them as doubles, for reference kernels. */
#ifndef OPS_ROWS_H
#define OPS_ROWS_H

#include <ebb/op.h>
#include <math.h>

static inline double ebb_float_at(ebb_dtype dtype, const void *data, int64_t at)
{
    return dtype == EBB_F32 ? (double)((const float *)data)[at] : ((const double *)data)[at];
}

static inline void ebb_float_put(ebb_dtype dtype, void *data, int64_t at, double value)
{
    if (dtype == EBB_F32)
        ((float *)data)[at] = (float)value;
    else
        ((double *)data)[at] = value;
}

typedef struct ebb_row_sums {
    double max, sum; /* sum of exp(x - max) */
} ebb_row_sums;

/* Of n elements that are `stride` apart. */
static inline ebb_row_sums ebb_row_sum_exp(ebb_dtype dtype, const void *x, int64_t start,
                                           int64_t stride, int64_t n)
{
    ebb_row_sums row = { -(double)INFINITY, 0 };
    for (int64_t i = 0; i < n; i++) {
        const double value = ebb_float_at(dtype, x, start + i * stride);
        row.max = value > row.max ? value : row.max;
    }
    for (int64_t i = 0; i < n; i++)
        row.sum += exp(ebb_float_at(dtype, x, start + i * stride) - row.max);
    return row;
}

#endif
