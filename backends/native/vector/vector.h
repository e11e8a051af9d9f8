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

/* Programs of F32 over n_lanes elements: each step takes the value of the step before it from a
 * register, and at most one more from memory, and writes its own to memory besides. */
typedef void (*ebb_register_form)(void); /* of a type that depends on the instruction set */
typedef struct ebb_register_row {
    const ebb_op *op;
    /* The register is input 0, input 1 (NULL: there is none); the operand is the other one, or the
     * attribute struct. */
    ebb_register_form forms[2];
} ebb_register_row;
typedef struct ebb_register_step {
    ebb_register_form form;
    uint16_t operand, result; /* into places; the operand is read as one may like */
} ebb_register_step;
typedef struct ebb_register_table {
    int n_lanes;
    const ebb_register_row *rows;
    int n_rows;
    ebb_register_form load; /* the operand, whatever the register holds */
    void (*run)(const ebb_register_step *steps, int n_steps, void *const *places);
} ebb_register_table;

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
    /* results[i] = the sum of row i of n elements, dense */
    void (*short_sum_rows)(int64_t n_rows, int64_t n, const void *x, void *results);
    /* The first place where x is `value`, which is somewhere, or NaN. */
    int64_t (*find)(int64_t n, const void *x, double value);
    /* Of each column the row where the extremum, or NaN, stands first; n_rows > 0, n_columns <=
     * EBB_REDUCE_COLUMNS. */
    void (*argmax_columns)(int64_t n_rows, int64_t stride, int64_t n_columns, const void *x,
                           int64_t *result);
    void (*argmin_columns)(int64_t n_rows, int64_t stride, int64_t n_columns, const void *x,
                           int64_t *result);
} ebb_reduce_table;
#define EBB_REDUCE_COLUMNS 256

/* Folds of integers and booleans, associative in any order; sums and products wrap. */
enum { EBB_FOLD_SUM, EBB_FOLD_PRODUCT, EBB_FOLD_MAX, EBB_FOLD_MIN, EBB_FOLD_N };
typedef struct ebb_fold_loops {
    /* n elements, `stride` apart, into one that is there; and into n neighbours, one each */
    void (*run)(void *sum, const void *x, int64_t stride, int64_t n);
    void (*row)(void *sums, const void *x, int64_t stride, int64_t n);
} ebb_fold_loops;
typedef struct ebb_fold_table {
    ebb_fold_loops of[EBB_FOLD_N][EBB_N_DTYPES]; /* by dtype; not of floats */
} ebb_fold_table;

/* Running sums, F32 in double, integers wrapping. */
typedef struct ebb_cumsum_run {
    int64_t n;        /* elements of a sum */
    int64_t step;     /* from an element of a sum to the next; negative in reverse */
    bool exclusive;   /* without the element itself */
    bool is_streamed; /* past the caches, then finish_stream; the result is not x */
} ebb_cumsum_run;
typedef struct ebb_cumsum_loops {
    /* `width` <= EBB_CUMSUM_COLUMNS sums of neighbours; x and result point to the first elements */
    void (*columns)(const ebb_cumsum_run *run, const void *x, void *result, int64_t width);
    /* n_rows sums of rows of n, which lie one behind the other; step is 1 or -1 */
    void (*rows)(const ebb_cumsum_run *run, const void *x, void *result, int64_t n_rows);
} ebb_cumsum_loops;
#define EBB_CUMSUM_COLUMNS 1024
typedef struct ebb_cumsum_table {
    ebb_cumsum_loops of[EBB_N_DTYPES]; /* not of booleans */
} ebb_cumsum_table;

/* [n_outer, n_classes, n_inner], dense, whose middle dimension is gone along: in blocks of
 * EBB_SOFTMAX_COLUMNS columns, n_blocks for each outer index; the last of them may be narrower. */
typedef struct ebb_softmax_columns {
    int64_t n_classes, n_inner, n_blocks;
    bool is_streamed; /* the result goes past the caches */
} ebb_softmax_columns;
typedef struct ebb_softmax_table {
    /* rows of n_classes, dense; the result may be x. is_streamed: it goes past the caches */
    void (*rows)(int64_t n_rows, int64_t n_classes, const void *x, void *result, bool is_streamed);
    void (*log_rows)(int64_t n_rows, int64_t n_classes, const void *x, void *result,
                     bool is_streamed);
    /* For each row its maximum, and log(sum(exp(x - maximum))). */
    void (*log_sum_rows)(int64_t n_rows, int64_t n_classes, const void *x, void *maxima,
                         void *logs);
    /* How many of n labels are not in 0..n_classes-1. */
    int64_t (*count_wrong_labels)(int64_t n, ebb_dtype dtype, const void *labels,
                                  int64_t n_classes);
    /* maximum + log - x[label] of each row, which go to `losses` unless that is NULL, and their
     * sum. All labels are right. */
    double (*label_losses)(int64_t n_rows, int64_t n_classes, const void *x, ebb_dtype dtype,
                           const void *labels, const void *maxima, const void *logs, void *losses);
    /* Blocks begin..end-1; the result may be x. */
    void (*columns)(const ebb_softmax_columns *columns, int64_t begin, int64_t end, const void *x,
                    void *result);
    void (*log_columns)(const ebb_softmax_columns *columns, int64_t begin, int64_t end,
                        const void *x, void *result);
} ebb_softmax_table;
#define EBB_SOFTMAX_COLUMNS 128

/* Dense rows of n scores, as attention has them. */
typedef struct ebb_attention_table {
    /* scores *= scale; of row i what is behind the first n_seen + i becomes -inf. */
    void (*scale_rows)(int64_t n_rows, int64_t n, int64_t n_seen, float scale, float *scores);
    /* The cotangents dp of probabilities p become those of the scores before scale_rows. */
    void (*grad_rows)(int64_t n_rows, int64_t n, float scale, const float *p, float *dp);
} ebb_attention_table;

/* layer_norm (is_centred) and rms_norm over rows of n, dense; the result may be x, or dy. */
typedef struct ebb_norm_rows {
    int64_t n_rows, n;
    bool is_centred;
    bool is_streamed; /* the result goes past the caches */
    double epsilon;
} ebb_norm_rows;
typedef struct ebb_norm_table {
    /* shift may be NULL */
    void (*rows)(const ebb_norm_rows *rows, const void *x, const void *scale, const void *shift,
                 void *result);
    void (*grad_rows)(const ebb_norm_rows *rows, const void *x, const void *scale, const void *dy,
                      void *result);
} ebb_norm_table;

/* Batch normalization. Runs are pixels of one channel, with numbers of that channel; rows are
 * channels of one pixel (or of several that lie side by side), with numbers for each column. The
 * result may be an input that lies like it. */

/* Numbers of a channel: y = (x - mean) factor + shift, dx = (dy - offset - (x - mean) slope)
 * factor. As rows, `stride` elements apart: one for each number, in this order. */
typedef struct ebb_channel_numbers {
    double mean, factor, shift, slope, offset;
} ebb_channel_numbers;
enum { EBB_CHANNEL_NUMBERS = 5 };

/* Steps are from row to row, in elements; a run is one row. */
typedef struct ebb_channel_rows {
    int64_t n_rows, n_columns;
    const void *x, *other; /* other: dy; or the residual, NULL: none */
    void *y;               /* or dx; not of sums */
    int64_t x_step, other_step, y_step;
    bool relu;        /* of y; or dy counts where that y is above 0 */
    bool is_streamed; /* y goes past the caches, then finish_stream */
} ebb_channel_rows;

typedef struct ebb_channels_table {
    /* y = (x - mean) factor + shift + residual */
    void (*affine_run)(const ebb_channel_rows *rows, const ebb_channel_numbers *numbers);
    void (*affine_rows)(const ebb_channel_rows *rows, const void *numbers, int64_t stride);
    /* Adds to means and sums of squared deviations, in which `count` rows are already; n_columns <=
     * EBB_REDUCE_COLUMNS. */
    void (*moment_rows)(int64_t n_rows, int64_t n_columns, const void *x, int64_t x_stride,
                        int64_t count, double *means, double *squares);
    /* Adds dy to the sums and dy (x - mean) to the products; n_columns <= EBB_REDUCE_COLUMNS. */
    void (*grad_sum_run)(const ebb_channel_rows *rows, const ebb_channel_numbers *numbers,
                         double *sum, double *product);
    void (*grad_sum_rows)(const ebb_channel_rows *rows, const void *numbers, int64_t stride,
                          double *sums, double *products);
    /* dx = (dy - offset - (x - mean) slope) factor */
    void (*grad_run)(const ebb_channel_rows *rows, const ebb_channel_numbers *numbers);
    void (*grad_rows)(const ebb_channel_rows *rows, const void *numbers, int64_t stride);
} ebb_channels_table;

/* lrn; the result may be an input that lies like it. */
typedef struct ebb_lrn_params {
    int64_t n_channels, half; /* the window is 2 half + 1 channels */
    double factor, beta, k;   /* factor: of the sum of squares */
} ebb_lrn_params;
typedef struct ebb_lrn_table {
    /* n pixels side by side, channels `stride` apart; scratch: (n_channels + 1) n elements, for the
     * gradient (3 n_channels + 1) n */
    void (*columns)(const ebb_lrn_params *l, int64_t n, const void *x, int64_t x_stride, void *y,
                    int64_t y_stride, void *scratch);
    void (*grad_columns)(const ebb_lrn_params *l, int64_t n, const void *x, int64_t x_stride,
                         const void *dy, int64_t dy_stride, void *dx, int64_t dx_stride,
                         void *scratch);
    /* n pixels `stride` apart, channels side by side; scratch: 3 n_channels + 2 half elements */
    void (*pixels)(const ebb_lrn_params *l, int64_t n, const void *x, int64_t x_stride, void *y,
                   int64_t y_stride, void *scratch);
    void (*grad_pixels)(const ebb_lrn_params *l, int64_t n, const void *x, int64_t x_stride,
                        const void *dy, int64_t dy_stride, void *dx, int64_t dx_stride,
                        void *scratch);
} ebb_lrn_table;

/* Pooling: n_places results of n channels, each like the one before but some steps on. Channel c of
 * place p lies at p * to_step + c and is made of from[offsets[t] + p * from_step + c] for n_taps
 * values t. */
typedef struct ebb_pool_places {
    int64_t n, n_places, from_step, to_step, n_taps;
    const int64_t *offsets;
    const int32_t *taps;
    const double *factors; /* of sums; NULL: `factor` for all */
    double factor;
    bool is_wide; /* `where` holds int32_t, else uint8_t */
} ebb_pool_places;
typedef struct ebb_pool_table {
    /* The first maximum, or NaN, and the number taps[t] where it is; of nothing -inf and 0. `where`
     * may be NULL. */
    void (*max)(const ebb_pool_places *places, const void *x, void *y, void *where);
    /* The sum of those dy for which `where` at the same place is taps[t]. */
    void (*pick)(const ebb_pool_places *places, const void *dy, const void *where, void *dx);
    /* The sum of factors[t] x. */
    void (*sum)(const ebb_pool_places *places, const void *x, void *y);
} ebb_pool_table;

/* Rows of 16 n_vectors floats each, or of 8. Row r of `sums` becomes itself plus the sum over i < n
 * of values[i] times row r of sources[i]. Steps are from row to row, in elements. */
typedef struct ebb_rows {
    int64_t n_rows, n_vectors, n;
    bool is_half; /* rows of 8; n_vectors is 1 */
    const float *const *sources;
    const float *values;
    int64_t source_step;
    float *sums;
    int64_t sums_step;
} ebb_rows;

/* Images side by side: element i of image j of a block of EBB_LANE_IMAGES lies at
 * [i * EBB_LANE_IMAGES + j]. */
#define EBB_LANE_IMAGES 16
#define EBB_LANE_FILTERS 6
/* A row of a convolution of such images: at place p, for filter f < n_filters <= EBB_LANE_FILTERS,
 * sums[p * sum_step + f * EBB_LANE_IMAGES ..] = bias[f] + the sum over taps of
 * weights[tap * n_filters + f] image[p * place_step + taps[tap] ..]. image and sums are aligned to
 * 64 bytes, and so are the steps. */
typedef struct ebb_lane_row {
    int64_t n_places, n_filters, n_taps;
    const int64_t *taps;
    const float *weights, *bias, *image;
    int64_t place_step;
    float *sums;
    int64_t sum_step;
} ebb_lane_row;
/* The gradient of its weights: for tap t < n_taps, of those that lie next to each other, and filter
 * f, sums[f * sum_step + t * EBB_LANE_IMAGES ..] += the sum over rows r and places p of
 * dy[f * dy_filter + r * dy_row + p * dy_place ..] times
 * image[r * row_step + p * place_step + t * EBB_LANE_IMAGES ..]. Aligned as above. */
typedef struct ebb_lane_products {
    int64_t n_rows, n_places, n_filters, n_taps;
    const float *dy;
    int64_t dy_filter, dy_row, dy_place;
    const float *image;
    int64_t row_step, place_step;
    float *sums;
    int64_t sum_step;
} ebb_lane_products;
/* A row of max_pool's gradient, of windows that do not overlap: to[i * to_step + offsets[t] ..] =
 * dy[i * dy_step ..] where where[i * where_step ..] is t < n_taps, else 0, for windows i <
 * n_windows. Adds what comes to a place to sum[EBB_LANE_IMAGES]. */
typedef struct ebb_lane_windows {
    int64_t n_windows, n_taps;
    const int64_t *offsets;
    const float *dy;
    const uint8_t *where;
    int64_t dy_step, where_step;
    float *to;
    int64_t to_step;
    float *sum;
} ebb_lane_windows;
typedef struct ebb_lane_conv_table {
    void (*convolve)(const ebb_lane_row *row);
    void (*add_products)(const ebb_lane_products *products);
    void (*unpool)(const ebb_lane_windows *windows);
    /* to[j * to_image + i] = from[i * from_step + j] of bytes, i < n, j < n_images */
    void (*split_bytes)(int64_t n, int64_t n_images, const uint8_t *from, int64_t from_step,
                        uint8_t *to, int64_t to_image);
} ebb_lane_conv_table;

/* Convolutions, channels last: EBB_CONV_ROWS places of results times the blocks of filters. Place r
 * reads tap t, for each of the channels c, at x[starts[r] + offsets[t] + c] where bit t of masks[r]
 * is set, else zeros; masks[r] is 0 where there is no place. Its weights lie at
 * weights[t * EBB_CONV_BLOCK^2 + c / EBB_CONV_BLOCK * channel_step + filter / EBB_CONV_BLOCK *
 * block_step + c % EBB_CONV_BLOCK * EBB_CONV_BLOCK + filter % EBB_CONV_BLOCK]. */
#define EBB_CONV_ROWS 6
#define EBB_CONV_BLOCK 16
#define EBB_CONV_BLOCKS 4
#define EBB_CONV_TAPS 64 /* as many as a mask has bits */
typedef struct ebb_conv_places {
    int64_t starts[EBB_CONV_ROWS + 2]; /* a vector's worth; the last ones are not used */
    uint64_t masks[EBB_CONV_ROWS + 2];
    int n; /* of places; with fewer than EBB_CONV_ROWS the other sums may be anything */
} ebb_conv_places;
typedef struct ebb_conv_tile {
    const ebb_conv_places *places;
    int64_t n_taps;
    const int64_t *offsets; /* of taps */
    const float *x, *zeros; /* n_channels zeros */
    const float *weights;
    int64_t block_step, channel_step;
    int64_t n_channels; /* a multiple of EBB_CONV_BLOCK */
    int n_blocks;       /* at most EBB_CONV_BLOCKS */
    bool is_first;      /* sums = .., else += */
    float *sums;        /* [EBB_CONV_ROWS][n_blocks * EBB_CONV_BLOCK], aligned to 64 bytes */
    /* Of each block, weights that will be wanted soon: EBB_CONV_BLOCK * n_ahead of them. */
    const float *ahead;
    int64_t n_ahead;
} ebb_conv_tile;
/* to = sums + bias + residual, and its relu; n is a multiple of EBB_CONV_BLOCK. */
typedef struct ebb_conv_row {
    int64_t n;
    const float *sums, *bias, *residual; /* NULL: none */
    bool relu;
    float *to;
} ebb_conv_row;
typedef struct ebb_direct_conv_table {
    void (*add_tile)(const ebb_conv_tile *tile);
    void (*finish_row)(const ebb_conv_row *row);
} ebb_direct_conv_table;

/* Products of rows with weights: up to EBB_POINT_ROWS rows of x, `depth` numbers each, times blocks
 * of EBB_POINT_BLOCK columns: y[r * y_step + b * 16 + j] = (or +=) the sum over i of
 * x[r * x_step + i] weights[b * block_step + i * 16 + j]. */
#define EBB_POINT_ROWS 6
#define EBB_POINT_BLOCK 16
#define EBB_POINT_BLOCKS 4
typedef struct ebb_point_tile {
    int n_rows;
    int n_blocks;  /* at most EBB_POINT_BLOCKS */
    int64_t depth; /* a multiple of EBB_POINT_BLOCK */
    const float *x;
    int64_t x_step;
    const float *weights;
    int64_t block_step;
    float *y;
    int64_t y_step;
    bool is_first; /* y = .., else += */
    /* What will be wanted soon: lines of 64 bytes of x, so many of each block of weights, and a
     * tile of y like this one. */
    const float *x_ahead, *weights_ahead, *y_ahead;
    int64_t n_x_ahead, n_weights_ahead;
} ebb_point_tile;
typedef struct ebb_point_conv_table {
    void (*add_tile)(const ebb_point_tile *tile);
} ebb_point_conv_table;

/* The gradient of a convolution's weights, from blocks of 16 channels and of 16 filters. For n_rows
 * rows, places of dy with what one tap reads of x there, channel c and filter f of block b:
 * sums[b * sum_step + c * 16 + f] becomes, or grows by, the sum over rows of
 * x[rows[r].x + c] dy[rows[r].dy + b * 16 + f]. */
#define EBB_WEIGHT_BLOCK 16
#define EBB_WEIGHT_BLOCKS 3
typedef struct ebb_weight_row {
    int32_t x, dy; /* in elements */
} ebb_weight_row;
typedef struct ebb_weight_products {
    int64_t n_rows;
    const ebb_weight_row *rows;
    const float *x, *dy;
    int64_t n_blocks; /* of filters, at most EBB_WEIGHT_BLOCKS */
    float *sums;
    int64_t sum_step;
    bool is_first; /* nothing is in the sums yet */
} ebb_weight_products;
/* Row r of n floats, whole blocks, goes from `offsets[r]`, or from r * from_step without those, to
 * r * to_step. */
typedef struct ebb_weight_gather {
    int64_t n_rows, n;
    const float *from;
    const int32_t *offsets;
    int64_t from_step;
    float *to;
    int64_t to_step;
} ebb_weight_gather;
typedef struct ebb_weight_grad_table {
    void (*add_products)(const ebb_weight_products *products);
    void (*gather)(const ebb_weight_gather *gather);
} ebb_weight_grad_table;

/* resize2d: a row of n results, each out of one or two elements of a row. */
typedef struct ebb_resize_row {
    int64_t n;
    bool is_nearest; /* `low` alone */
    const int32_t *low, *high;
    const void *weights; /* of the element at `high`, in the type at hand */
} ebb_resize_row;
typedef struct ebb_resize_table {
    /* result = (1 - weight) a + weight b; sum += weight a */
    void (*blend)(int64_t n, const void *a, const void *b, double weight, void *result);
    void (*add)(int64_t n, double weight, const void *a, void *sum);
    void (*pick)(const ebb_resize_row *row, const void *x, void *result);
    /* its adjoint: adds to x */
    void (*scatter)(const ebb_resize_row *row, const void *result, void *x);
} ebb_resize_table;

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
    /* The same for 1 <= m <= EBB_FEW_ROWS and a large b: reads b once. */
    void (*multiply_few)(const ebb_product *product);
    int lanes; /* elements of a vector */
    int most_rest;
} ebb_product_table;
#define EBB_FEW_ROWS 8

/* Moving memory. to[i * to_near + j] = from[i + j * from_last], elements of 4 bytes. */
typedef struct ebb_transposed {
    const void *from;
    void *to;
    int64_t from_last, to_near;
    int64_t n_near,
        n_last; /* of i, at most EBB_TRANSPOSED_NEAR; of j, at most EBB_TRANSPOSED_LAST */
} ebb_transposed;
#define EBB_TRANSPOSED_NEAR 16
#define EBB_TRANSPOSED_LAST 256
/* The same past the caches, where rows on both sides lie anywhere: to[to_rows[i] + j] =
 * from[from_rows[j] + i]. Lines of memory that end behind column n_own are left to the next block,
 * whose first columns stand behind this one's for the lines that begin in it. */
typedef struct ebb_transposed_rows {
    const void *from;
    void *to;
    const int64_t *from_rows, *to_rows;
    int64_t n_near; /* of i, at most EBB_PAST_NEAR */
    int64_t n_last; /* of j, at most EBB_PAST_LAST + EBB_PAST_SHARED */
    int64_t n_own;  /* a multiple of EBB_PAST_SHARED, or n_last: there is no next block */
    bool is_first;  /* there is no block before */
    int64_t
        ahead; /* from element i of a row to what comes next of it, perhaps behind the operand */
} ebb_transposed_rows;
#define EBB_PAST_NEAR 64
#define EBB_PAST_LAST 256
#define EBB_PAST_SHARED 16
typedef struct ebb_move_table {
    /* Copies with stores that go past the caches: for what is too large to stay there. Other
     * threads may read it after finish_stream, which the writing thread calls. */
    void (*stream)(void *to, const void *from, size_t n_bytes);
    void (*finish_stream)(void);
    void (*transpose)(const ebb_transposed *t);
    void (*transpose_rows)(const ebb_transposed_rows *t); /* then finish_stream */
} ebb_move_table;

/* Numbers of ops/philox.h: block number `first` and those after it. */
typedef struct ebb_random_blocks {
    uint64_t seed, counter;
    uint32_t stream, first;
    bool is_streamed; /* past the caches */
} ebb_random_blocks;
typedef struct ebb_random_table {
    void (*uniform_f32)(const ebb_random_blocks *blocks, int64_t n, float *out);
} ebb_random_table;

typedef struct ebb_vector_isa {
    const char *name;
    const ebb_map_table *map;
    const ebb_register_table *registers;
    const ebb_move_table *move;
    const ebb_random_table *random;
    const ebb_fold_table *fold;
    const ebb_cumsum_table *cumsum;
    const ebb_reduce_table *reduce_f64, *reduce_f32;
    const ebb_softmax_table *softmax_f64, *softmax_f32;
    const ebb_attention_table *attention;
    const ebb_norm_table *norm_f64, *norm_f32;
    const ebb_product_table *product_f64, *product_f32;
    const ebb_channels_table *channels_f64, *channels_f32;
    const ebb_lrn_table *lrn_f64, *lrn_f32;
    const ebb_pool_table *pool_f64, *pool_f32;
    void (*add_rows)(const ebb_rows *rows);
    const ebb_lane_conv_table *lane_conv;
    const ebb_direct_conv_table *direct_conv;
    const ebb_point_conv_table *point_conv;
    const ebb_weight_grad_table *weight_grad;
    const ebb_resize_table *resize_f64, *resize_f32;
} ebb_vector_isa;

/* The best that this processor can do. */
const ebb_vector_isa *ebb_vector_isa_here(void);
/* Number `index` of those that it can do, the plainest first; NULL behind the last. */
const ebb_vector_isa *ebb_vector_isa_at(int index);

#endif
