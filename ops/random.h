/* Filling memory with the numbers of philox.h, for eval rules and for first values of variables. */
#ifndef OPS_RANDOM_H
#define OPS_RANDOM_H

#include <ebb/ops.h>

typedef struct ebb_random_key {
    uint64_t seed, counter;
    uint32_t stream;
} ebb_random_key;

/* out[0..n) of elements first, first + 1, ...; n_blocks is up to the caller. */
void ebb_random_fill(ebb_dtype dtype, bool normal, ebb_random_key key, int64_t first, int64_t n,
                     void *out);

/* FNV-1a, 64 bits (Fowler, Noll, Vo). */
uint64_t ebb_name_hash(const char *name);

/* Fills `value` (any dtype for constants, F64 or F32 for random values) with the first value of the
 * variable `full_name`, made of the numbers of (init->seed, stream 0, counter
 * ebb_name_hash(full_name)), in double, rounded; truncated normal ones take more streams. */
void ebb_init_fill(const ebb_init *init, const char *full_name, const ebb_tensor *value);

#endif
