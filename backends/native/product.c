#include "backends/native/product.h"
#include "ops/matmul_epilogue.h"

void ebb_native_product_read(const ebb_region *region, ebb_native_product *p)
{
    *p = (ebb_native_product){ .n_batches = 1 };
    const ebb_matmul_attrs *attrs =
        region->op == &ebb_op_matmul ? region->attrs
                                     : &((const ebb_matmul_epilogue_attrs *)region->attrs)->matmul;
    const ebb_shape *result = &region->results[0].type->shape;
    const int row = result->rank - 2, column = result->rank - 1;
    const int64_t *a_strides = region->inputs[0].layout.strides;
    const int64_t *b_strides = region->inputs[1].layout.strides;
    p->m = result->dims[row];
    p->n = result->dims[column];
    p->k = region->inputs[0].type->shape.dims[attrs->transpose_a ? row : column];
    p->a_m = a_strides[attrs->transpose_a ? column : row];
    p->a_k = a_strides[attrs->transpose_a ? row : column];
    p->b_k = b_strides[attrs->transpose_b ? column : row];
    p->b_n = b_strides[attrs->transpose_b ? row : column];
    for (int i = 0; i < row; i++) {
        int64_t dim = result->dims[i];
        p->n_batches *= dim;
        if (dim == 1)
            continue;
        p->batch_dims[p->n_batch_dims] = dim;
        p->a_batch[p->n_batch_dims] = a_strides[i];
        p->b_batch[p->n_batch_dims++] = b_strides[i];
    }
    /* A batch of products with one b is one product with more rows. */
    while (p->n_batch_dims > 0) {
        int last = p->n_batch_dims - 1;
        if (p->b_batch[last] != 0 || p->a_batch[last] != p->m * p->a_m)
            break;
        p->m *= p->batch_dims[last];
        p->n_batches /= p->batch_dims[last] ? p->batch_dims[last] : 1;
        p->n_batch_dims--;
    }
    if (p->m == 1) /* any stride will do */
        p->a_m = p->a_k == 1 ? p->k : 1;
    if (p->k == 1)
        p->a_k = p->a_m == 1 ? p->m : 1;
    if (p->n == 1)
        p->b_n = 1;
    if (p->m == 1 && p->n > 1 && p->b_n != 1) {
        p->is_exchanged = true;
        int64_t a_k = p->a_k, batch;
        p->m = p->n;
        p->n = 1;
        p->a_m = p->b_n;
        p->a_k = p->b_k;
        p->b_k = a_k;
        p->b_n = 1;
        for (int i = 0; i < p->n_batch_dims; i++) {
            batch = p->a_batch[i];
            p->a_batch[i] = p->b_batch[i];
            p->b_batch[i] = batch;
        }
    }
}

void ebb_native_product_at(const ebb_native_product *p, int64_t batch, int64_t *a, int64_t *b)
{
    *a = *b = 0;
    for (int i = p->n_batch_dims - 1; i >= 0; i--) {
        const int64_t index = batch % p->batch_dims[i];
        batch /= p->batch_dims[i];
        *a += index * p->a_batch[i];
        *b += index * p->b_batch[i];
    }
}
