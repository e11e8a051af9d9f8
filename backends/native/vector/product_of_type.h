/* The product of vector.h for one type: see product.c, which includes this file with T and TAG
 * defined. Every element of c is summed along k in an order that depends on the shape alone, so
 * that the same product gives the same bits however its rows are shared out. */

#define LANES ((int64_t)(LANES_BYTES / sizeof(T)))
#define VECTOR NAME(lanes)

INLINE VECTOR NAME(load)(const T *p)
{
    VECTOR v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void NAME(store)(T *p, VECTOR v)
{
    memcpy(p, &v, sizeof v);
}

#ifndef __AVX512F__
INLINE VECTOR NAME(load_elements)(int n, const T *p)
{
    if (n == LANES)
        return NAME(load)(p);
    T elements[LANES_BYTES / sizeof(T)] = { 0 };
    for (int i = 0; i < n; i++)
        elements[i] = p[i];
    return NAME(load)(elements);
}

INLINE void NAME(store_elements)(int n, T *p, VECTOR v)
{
    T elements[LANES_BYTES / sizeof(T)];
    NAME(store)(elements, v);
    for (int i = 0; i < n; i++)
        p[i] = elements[i];
}
#endif

/* c[rows, vectors] = a b, with only `part` of the last vector. */
#define BLOCK_NAME(rows, vectors) ISA_PASTE(block_##rows##_##vectors, TAG)
#define DEFINE_BLOCK(rows, vectors)                                                                \
    static void BLOCK_NAME(rows, vectors)(const ebb_product *product, const T *a, const T *b,      \
                                          T *c, NAME(part) part)                                   \
    {                                                                                              \
        const int64_t a_m = product->a_m, a_k = product->a_k;                                      \
        const int64_t b_k = product->b_k, c_m = product->c_m;                                      \
        VECTOR sum[rows][vectors];                                                                 \
        UNROLL for (int i = 0; i < rows; i++)                                                      \
        {                                                                                          \
            UNROLL for (int j = 0; j < vectors; j++) sum[i][j] = (VECTOR){ 0 };                    \
        }                                                                                          \
        for (int64_t k = product->k; k > 0; k--, a += a_k, b += b_k) {                             \
            VECTOR row[vectors];                                                                   \
            UNROLL for (int j = 0; j < vectors - 1; j++) row[j] = NAME(load)(b + j * LANES);       \
            row[vectors - 1] = LOAD_PART(part, b + (vectors - 1) * LANES);                         \
            UNROLL for (int i = 0; i < rows; i++)                                                  \
            {                                                                                      \
                UNROLL for (int j = 0; j < vectors; j++) sum[i][j] += a[i * a_m] * row[j];         \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int i = 0; i < rows; i++)                                                      \
        {                                                                                          \
            T *last = c + i * c_m + (vectors - 1) * LANES;                                         \
            if (product->accumulate) {                                                             \
                UNROLL for (int j = 0; j < vectors - 1; j++) sum[i][j] +=                          \
                    NAME(load)(c + i * c_m + j * LANES);                                           \
                sum[i][vectors - 1] += LOAD_PART(part, last);                                      \
            }                                                                                      \
            UNROLL for (int j = 0; j < vectors - 1; j++)                                           \
                NAME(store)(c + i * c_m + j * LANES, sum[i][j]);                                   \
            STORE_PART(part, last, sum[i][vectors - 1]);                                           \
        }                                                                                          \
    }
EACH_BLOCK(DEFINE_BLOCK)

typedef struct NAME(block) {
    int rows, vectors;
    void (*run)(const ebb_product *product, const T *a, const T *b, T *c, NAME(part) part);
} NAME(block);

/* By number of vectors, then from many rows to one. */
static const NAME(block) NAME(blocks)[] = {
#define BLOCK_ENTRY(rows, vectors) { rows, vectors, BLOCK_NAME(rows, vectors) },
    EACH_BLOCK(BLOCK_ENTRY)
};

/* A few columns left over would cost a whole vector of multiplications for each element of a. Here
 * they are summed apart, LANES at a time: along k if a lies that way (a_k == 1), else along m (a_m
 * == 1). */
#define MOST_REST 4

/* Rows and depth that are worked on together: a part of a and of b that stays in the first-level
 * cache while both the blocks and the rest use it. */
#define REST_ROWS 128
#define REST_DEPTH 208

/* sums[row][j], sums[row][j + 1] += the products of LANES places along k, for 8 rows of a and 2 of
 * the columns. */
static void NAME(add_rest)(const T *a, int64_t a_m, int64_t k, const T *columns,
                           VECTOR (*sums)[MOST_REST])
{
    const int64_t whole = k / LANES * LANES;
    VECTOR first[8], second[8];
    UNROLL for (int i = 0; i < 8; i++)
    {
        first[i] = sums[i][0];
        second[i] = sums[i][1];
    }
    for (int64_t l = 0; l < whole; l += LANES) {
        VECTOR x = NAME(load)(columns + l), y = NAME(load)(columns + REST_DEPTH + l);
        UNROLL for (int i = 0; i < 8; i++)
        {
            VECTOR row = NAME(load)(a + i * a_m + l);
            first[i] += row * x;
            second[i] += row * y;
        }
    }
    if (whole < k) {
        const NAME(part) part = PART(k - whole);
        VECTOR x = LOAD_PART(part, columns + whole);
        VECTOR y = LOAD_PART(part, columns + REST_DEPTH + whole);
        UNROLL for (int i = 0; i < 8; i++)
        {
            VECTOR row = LOAD_PART(part, a + i * a_m + whole);
            first[i] += row * x;
            second[i] += row * y;
        }
    }
    UNROLL for (int i = 0; i < 8; i++)
    {
        sums[i][0] = first[i];
        sums[i][1] = second[i];
    }
}

/* The rest of n_rows <= 8 rows from row m on, along k. columns: the rest of b,
 * [MOST_REST][REST_DEPTH]. */
static void NAME(rest_along_k)(const ebb_product *product, int64_t m, int64_t n_rows,
                               int64_t n_rest, const T *columns, VECTOR (*sums)[MOST_REST])
{
    const T *a = (const T *)product->a + m * product->a_m;
    for (int64_t j = 0; j < n_rest; j += 2, columns += 2 * REST_DEPTH) {
        VECTOR(*to)[MOST_REST] = (VECTOR(*)[MOST_REST]) & sums[m][j];
        if (n_rows == 8) {
            NAME(add_rest)(a, product->a_m, product->k, columns, to);
            continue;
        }
        VECTOR one[8][MOST_REST]; /* one row, eight times */
        for (int64_t i = 0; i < n_rows; i++) {
            memset(one, 0, sizeof one);
            one[0][0] = to[i][0];
            one[0][1] = to[i][1];
            NAME(add_rest)(a + i * product->a_m, 0, product->k, columns, one);
            to[i][0] = one[0][0];
            to[i][1] = one[0][1];
        }
    }
}

/* c = the sums over the lanes, or += */
static void NAME(finish_rest)(const ebb_product *product, int64_t n_begin,
                              VECTOR (*sums)[MOST_REST])
{
    for (int64_t m = 0; m < product->m; m++) {
        T *c = (T *)product->c + m * product->c_m;
        for (int64_t n = n_begin; n < product->n; n++) {
            c[n] = SUM_LANES(sums[m][n - n_begin]) + (product->accumulate ? c[n] : 0);
        }
    }
}

/* The same along m, for 4 * LANES rows from m on. */
static void NAME(rest_along_m)(const ebb_product *product, int64_t m, int64_t n_begin)
{
    NAME(part) part[4];
    int64_t n_lanes[4], skipped[4];
    for (int i = 0; i < 4; i++) {
        int64_t left = product->m - m - i * LANES;
        n_lanes[i] = left < 0 ? 0 : (left > LANES ? LANES : left);
        part[i] = PART(n_lanes[i]);
        skipped[i] = n_lanes[i] > 0 ? i * LANES : 0;
    }
    for (int64_t n = n_begin; n < product->n; n += 2) {
        const T *a = (const T *)product->a + m, *b = (const T *)product->b + n;
        const int64_t second = n + 1 < product->n;
        VECTOR sum[8];
        UNROLL for (int i = 0; i < 8; i++) sum[i] = (VECTOR){ 0 };
        for (int64_t k = product->k; k > 0; k--, a += product->a_k, b += product->b_k) {
            UNROLL for (int i = 0; i < 4; i++)
            {
                VECTOR column = LOAD_PART(part[i], a + skipped[i]);
                sum[2 * i] += b[0] * column;
                sum[2 * i + 1] += b[second] * column;
            }
        }
        UNROLL for (int i = 0; i < 4; i++)
        {
            T x[LANES_BYTES / sizeof(T)], y[LANES_BYTES / sizeof(T)];
            NAME(store)(x, sum[2 * i]);
            NAME(store)(y, sum[2 * i + 1]);
            T *c = (T *)product->c + (m + i * LANES) * product->c_m + n;
            for (int64_t l = 0; l < n_lanes[i]; l++, c += product->c_m) {
                c[0] = x[l] + (product->accumulate ? c[0] : 0);
                if (second)
                    c[1] = y[l] + (product->accumulate ? c[1] : 0);
            }
        }
    }
}

/* c = a b for `width` vectors of columns from column n on, rows begin..end-1. */
static void NAME(multiply_panel)(const ebb_product *product, int64_t begin, int64_t end, int64_t n,
                                 int64_t width)
{
    const int64_t left = product->n - n;
    const NAME(part) part = PART(left < width * LANES ? left - (width - 1) * LANES : LANES);
    const NAME(block) *block = NAME(blocks);
    while (block->vectors != width)
        block++;
    for (int64_t m = begin; m < end; m += block->rows) {
        while (block->rows > end - m)
            block++;
        block->run(product, (const T *)product->a + m * product->a_m, (const T *)product->b + n,
                   (T *)product->c + m * product->c_m + n, part);
    }
}

/* All columns from 0 to n_vectors * LANES, in panels of about equal width. */
static void NAME(multiply_rows)(const ebb_product *product, int64_t begin, int64_t end,
                                int64_t n_vectors)
{
    int64_t n_panels = (n_vectors + MAX_VECTORS - 1) / MAX_VECTORS, done = 0;
    for (int64_t panel = 0; panel < n_panels; panel++) {
        int64_t width = (n_vectors - done + n_panels - panel - 1) / (n_panels - panel);
        NAME(multiply_panel)(product, begin, end, done * LANES, width);
        done += width;
    }
}

static void NAME(multiply_apart_k)(const ebb_product *product)
{
    const int64_t n_whole = product->n / LANES, n_rest = product->n % LANES;
    T columns[MOST_REST * REST_DEPTH];
    VECTOR sums[REST_ROWS][MOST_REST];
    for (int64_t m = 0; m < product->m; m += REST_ROWS) {
        ebb_product piece = *product;
        piece.m = product->m - m < REST_ROWS ? product->m - m : REST_ROWS;
        piece.a = (const T *)product->a + m * product->a_m;
        piece.c = (T *)product->c + m * product->c_m;
        memset(sums, 0, (size_t)piece.m * sizeof *sums);
        for (int64_t k = 0; k < product->k; k += REST_DEPTH) {
            piece.k = product->k - k < REST_DEPTH ? product->k - k : REST_DEPTH;
            const T *b = (const T *)product->b + k * product->b_k;
            piece.b = b;
            for (int64_t j = 0; j < n_rest + n_rest % 2; j++) /* a single last one twice */
                for (int64_t l = 0; l < piece.k; l++)
                    columns[j * REST_DEPTH + l] =
                        b[l * product->b_k + n_whole * LANES + (j < n_rest ? j : n_rest - 1)];
            for (int64_t i = 0; i < piece.m; i += 8) {
                int64_t end = i + 8 < piece.m ? i + 8 : piece.m;
                NAME(multiply_rows)(&piece, i, end, n_whole);
                NAME(rest_along_k)(&piece, i, end - i, n_rest, columns, sums);
            }
            piece.a = (const T *)piece.a + piece.k;
            piece.accumulate = true;
        }
        piece.accumulate = product->accumulate;
        NAME(finish_rest)(&piece, n_whole * LANES, sums);
    }
}

static void NAME(multiply)(const ebb_product *product)
{
    const int64_t n_whole = product->n / LANES, n_rest = product->n % LANES;
    if (!product->rest_apart) {
        NAME(multiply_rows)(product, 0, product->m, n_whole + (n_rest > 0));
    } else if (product->a_k == 1) {
        NAME(multiply_apart_k)(product);
    } else {
        for (int64_t m = 0; m < product->m; m += 4 * LANES) {
            int64_t end = m + 4 * LANES < product->m ? m + 4 * LANES : product->m;
            NAME(rest_along_m)(product, m, n_whole * LANES);
            NAME(multiply_rows)(product, m, end, n_whole);
        }
    }
}

#include "backends/native/vector/few_rows_of_type.h"

const ebb_product_table ISA_NAME(NAME(ebb_product)) = {
    .multiply = NAME(multiply),
    .multiply_few = NAME(multiply_few),
    .lanes = (int)LANES,
    .most_rest = MOST_REST,
};

#undef LANES
#undef VECTOR
#undef BLOCK_NAME
#undef DEFINE_BLOCK
#undef BLOCK_ENTRY
#undef MOST_REST
#undef REST_ROWS
#undef REST_DEPTH
#undef T
#undef TAG
