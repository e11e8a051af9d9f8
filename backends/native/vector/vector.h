/* The inner loops of the native kernels, compiled once for each instruction set (see
 * backends/meson.build); the right set is chosen when a kernel is made. These functions know
 * nothing of regions and threads. */
#ifndef BACKENDS_NATIVE_VECTOR_VECTOR_H
#define BACKENDS_NATIVE_VECTOR_VECTOR_H

#include <ebb/op.h>

/* Element by element over n elements that lie densely. Behind the inputs stands the attribute
 * struct of the op. The result may be one of the inputs. What comes out for an element does not
 * depend on where it stands. */
typedef void (*ebb_map)(int64_t n, void *result, const void *const *inputs);

typedef struct ebb_map_row {
    const ebb_op *op;
    const char *expression;     /* the value in ops/elementwise.def, for floats */
    ebb_map maps[EBB_N_DTYPES]; /* by dtype of the last input; NULL: not there */
} ebb_map_row;

typedef struct ebb_map_table {
    const ebb_map_row *rows;
    int n_rows;
    /* select by size of the element, 1, 4 or 8 bytes */
    ebb_map select_1, select_4, select_8;
    ebb_map cast[EBB_N_DTYPES][EBB_N_DTYPES]; /* [from][to] */
} ebb_map_table;

/* Reductions; x points to F64 or F32 (one table for each). NaN wins a maximum and a minimum. Sums
 * are in blocks, so that their error is that of a few dozen additions, whatever n. */
enum { /* one accumulator */
       EBB_REDUCE_SUM,
       EBB_REDUCE_MAGNITUDES, /* sum |x| */
       EBB_REDUCE_SQUARES,    /* sum x^2 */
       EBB_REDUCE_MAX,
       EBB_REDUCE_MIN,
       EBB_REDUCE_PRODUCT,
       EBB_REDUCE_N
};
enum {                     /* two accumulators */
       EBB_REDUCE_EXP_SUM, /* m, the largest; sum e^(x - m), where m counts as 0 if it is not finite
                            */
       EBB_REDUCE_DEVIATIONS, /* m, the mean; sum (x - m)^2 */
       EBB_REDUCE_N_PAIRS
};
typedef struct ebb_reduce_table {
    double (*run[EBB_REDUCE_N])(int64_t n, const void *x);
    /* Adds x[row * stride + j] of all rows to accumulators[j], for j below n_columns <=
     * EBB_REDUCE_COLUMNS. */
    void (*rows[EBB_REDUCE_N])(int64_t n_rows, int64_t stride, int64_t n_columns, const void *x,
                               double *accumulators);
    /* These add to both accumulators, in which `count` elements are already. */
    void (*pair_run[EBB_REDUCE_N_PAIRS])(int64_t n, const void *x, int64_t count, double *first,
                                         double *second);
    void (*pair_rows[EBB_REDUCE_N_PAIRS])(int64_t n_rows, int64_t stride, int64_t n_columns,
                                          const void *x, int64_t count, double *first,
                                          double *second);
} ebb_reduce_table;
#define EBB_REDUCE_COLUMNS 256

typedef struct ebb_softmax_table {
    /* rows of n_classes, dense; the result may be x */
    void (*rows)(int64_t n_rows, int64_t n_classes, const void *x, void *result);
    void (*log_rows)(int64_t n_rows, int64_t n_classes, const void *x, void *result);
    /* For each row its maximum, and log(sum(exp(x - maximum))). */
    void (*log_sum_rows)(int64_t n_rows, int64_t n_classes, const void *x, void *maxima,
                         void *logs);
    /* [n_classes, n_columns] with `stride` between classes; n_columns <= EBB_SOFTMAX_COLUMNS */
    void (*columns)(int64_t n_classes, int64_t stride, int64_t n_columns, const void *x,
                    void *result);
    void (*log_columns)(int64_t n_classes, int64_t stride, int64_t n_columns, const void *x,
                        void *result);
} ebb_softmax_table;
#define EBB_SOFTMAX_COLUMNS 128

/* layer_norm (is_centred) and rms_norm over rows of n, dense; the result may be x, or dy. */
typedef struct ebb_norm_rows {
    int64_t n_rows, n;
    bool is_centred;
    double epsilon;
} ebb_norm_rows;
typedef struct ebb_norm_table {
    /* shift may be NULL */
    void (*rows)(const ebb_norm_rows *rows, const void *x, const void *scale, const void *shift,
                 void *result);
    void (*grad_rows)(const ebb_norm_rows *rows, const void *x, const void *scale, const void *dy,
                      void *result);
} ebb_norm_table;

/* c[m,n] = a[m,k] b[k,n], or += if `accumulate`. a may have any strides, b and c have unit stride
 * along n. */
typedef struct ebb_product {
    int64_t m, n, k;
    const void *a;
    int64_t a_m, a_k; /* strides in elements */
    const void *b;
    int64_t b_k;
    void *c;
    int64_t c_m;
    bool accumulate;
    /* Compute the last n % lanes columns apart, which are at most most_rest; k > 0, and a_k or a_m
     * is 1. */
    bool rest_apart;
} ebb_product;
typedef struct ebb_product_table {
    void (*multiply)(const ebb_product *product);
    int lanes; /* elements of a vector */
    int most_rest;
} ebb_product_table;

typedef struct ebb_vector_isa {
    const char *name;
    const ebb_map_table *map;
    const ebb_reduce_table *reduce_f64, *reduce_f32;
    const ebb_softmax_table *softmax_f64, *softmax_f32;
    const ebb_norm_table *norm_f64, *norm_f32;
    const ebb_product_table *product_f64, *product_f32;
} ebb_vector_isa;

/* The best that this processor can do. */
const ebb_vector_isa *ebb_vector_isa_here(void);
/* Number `index` of those that it can do, the plainest first; NULL behind the last. */
const ebb_vector_isa *ebb_vector_isa_at(int index);

#endif
