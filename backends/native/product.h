/* Matrix products as native kernels see them. */
#ifndef BACKENDS_NATIVE_PRODUCT_H
#define BACKENDS_NATIVE_PRODUCT_H

#include "backends/native/native.h"

/* c = a b for each of the batches. Strides in elements. */
typedef struct ebb_native_product {
    int n_batch_dims;
    int64_t batch_dims[EBB_MAX_RANK], a_batch[EBB_MAX_RANK], b_batch[EBB_MAX_RANK];
    int64_t n_batches, m, n, k;
    int64_t a_m, a_k, b_k, b_n;
    bool is_exchanged; /* a and b have changed places: one row times a transposed b */
} ebb_native_product;

/* Of matmul, or matmul_epilogue without what follows. A batch over one b becomes more rows. */
void ebb_native_product_read(const ebb_region *region, ebb_native_product *product);

/* Where the operands of a batch begin, in elements. */
void ebb_native_product_at(const ebb_native_product *product, int64_t batch, int64_t *a,
                           int64_t *b);

static inline int64_t ebb_native_divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

#endif
