/* What passes are told that make one op of several: join (passes/pools.h), norms, tiles. */
#ifndef PASSES_JOINS_H
#define PASSES_JOINS_H

#include "ops/descriptors.h"

typedef struct ebb_join_options {
    /* Is there a kernel that is worth it? `results` are the types of all results of `op`. */
    bool (*takes)(void *context, const ebb_op *op, const void *attrs, int n_inputs,
                  const ebb_type *const *inputs, const ebb_type *const *results);
    void *context;
    bool keep_updates;
} ebb_join_options;

#endif
