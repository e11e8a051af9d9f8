/* Dealing examples into parts. */
#include <ebb/data.h>

#include <inttypes.h>
#include <math.h>

/* The epoch of ebb_shuffle's numbers; no training gets so far. */
#define SPLIT_EPOCH UINT64_MAX

static ebb_status check_shares(int64_t n, const double *shares, int n_parts, double *total,
                               ebb_error *error)
{
    *total = 0;
    if (n < 1 || !shares || n_parts < 1)
        return ebb_fail(error, EBB_BAD_ARGUMENT,
                        "ebb_split_examples: cannot deal %" PRId64 " examples into %d parts", n,
                        n_parts);
    for (int i = 0; i < n_parts; i++) {
        if (!(shares[i] >= 0 && isfinite(shares[i])))
            return ebb_fail(error, EBB_BAD_ARGUMENT,
                            "ebb_split_examples: share %d is %g; it must be a finite number from 0",
                            i, shares[i]);
        *total += shares[i];
    }
    if (!(*total > 0 && isfinite(*total)))
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_split_examples: the shares sum to %g",
                        *total);
    return EBB_OK;
}

/* Where part i ends: rounding the running sum keeps every size within 1 of its share. */
static int64_t end_of(double before, double total, int64_t n)
{
    const double end = floor(before / total * (double)n + 0.5);
    return end < (double)n ? (int64_t)end : n;
}

ebb_status ebb_split_examples(int64_t n, const double *shares, int n_parts, uint64_t seed,
                              int64_t *indices, int64_t *sizes, ebb_error *error)
{
    double total, before = 0;
    if (!indices || !sizes)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_split_examples: %s is NULL",
                        indices ? "sizes" : "indices");
    ebb_status status = check_shares(n, shares, n_parts, &total, error);
    if (status != EBB_OK)
        return status;
    for (int i = 0; i < n_parts; i++) {
        const int64_t begin = end_of(before, total, n);
        before += shares[i];
        const int64_t end = end_of(before, total, n);
        if (shares[i] > 0 && end <= begin)
            return ebb_fail(error, EBB_BAD_ARGUMENT,
                            "ebb_split_examples: part %d (%g of %g) of %" PRId64
                            " examples would be empty",
                            i, shares[i], total, n);
    }
    before = 0;
    for (int i = 0; i < n_parts; i++) {
        sizes[i] = -end_of(before, total, n);
        before += shares[i];
        sizes[i] += end_of(before, total, n);
    }
    ebb_shuffle(indices, n, seed, SPLIT_EPOCH);
    return EBB_OK;
}
