/* Examples on their way into a training: splits of a data set. */
#ifndef EBB_DATA_H
#define EBB_DATA_H

#include <ebb/io.h>

EBB_BEGIN

/* Deals the numbers 0..n-1, in an order drawn from the seed, into n_parts parts whose sizes are in
 * the proportion of `shares`: {6, 2, 2} for training, validation and test. indices[0..n) becomes
 * one part after the other, sizes[i] the length of part i. Sizes are rounded so that they sum to n
 * and each is within 1 of its exact share. Errors: BAD_ARGUMENT (n < 1, a share that is negative or
 * not finite, none above 0, a share above 0 that would get no example); nothing is written then. */
EBB_NODISCARD EBB_API ebb_status ebb_split_examples(int64_t n, const double *shares, int n_parts,
                                                    uint64_t seed, int64_t *indices, int64_t *sizes,
                                                    ebb_error *error);

EBB_END

#endif
