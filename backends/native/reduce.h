/* What is accumulated in reductions of floats, and what becomes of it: for reductions alone and in
 * programs. */
#ifndef BACKENDS_NATIVE_REDUCE_H
#define BACKENDS_NATIVE_REDUCE_H

#include "backends/native/native.h"

typedef struct ebb_reduce_kind {
    const ebb_op *op;
    int fold; /* EBB_REDUCE_... */
    bool is_pair;
    double start; /* of the first accumulator; a second one starts at 0 */
} ebb_reduce_kind;
/* NULL: there is none. */
const ebb_reduce_kind *ebb_reduce_kind_of(const ebb_op *op);
/* Of first accumulators, where there is no second one. */
double ebb_reduce_combine(const ebb_reduce_kind *kind, double a, double b);
/* results[index] out of both accumulators; `divisor` of a mean or variance. */
void ebb_reduce_write(const ebb_reduce_kind *kind, ebb_dtype dtype, double divisor, double first,
                      double second, void *results, int64_t index);

#endif
