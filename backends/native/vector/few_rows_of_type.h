/* Products with few rows of a and a large b, bound by memory, for one type: part of
 * product_of_type.h. b is read once, row by row, several rows at a time, and asked for in time;
 * sums stay in the first-level cache. */

#define FEW_NAME(rows) ISA_PASTE(few_##rows, TAG)
/* Columns at a time, so that the sums take 16 KiB. */
#define FEW_COLUMNS(rows) ((int64_t)(16384 / (rows) / (int)sizeof(T)) / LANES * LANES)

/* sums[i, j] += a[i, l] b[l, j] for `depth` rows of b and columns from j on, one vector. */
#define FEW_STEP(rows, depth, load_b)                                                              \
    {                                                                                              \
        VECTOR row[depth];                                                                         \
        UNROLL for (int l = 0; l < (depth); l++)                                                   \
        {                                                                                          \
            const T *at = b + l * b_k + j;                                                         \
            row[l] = load_b;                                                                       \
            __builtin_prefetch(at + (depth)*b_k);                                                  \
        }                                                                                          \
        UNROLL for (int i = 0; i < (rows); i++)                                                    \
        {                                                                                          \
            VECTOR sum = NAME(load)(sums + i * FEW_COLUMNS(rows) + j);                             \
            UNROLL for (int l = 0; l < (depth); l++) sum += x[i][l] * row[l];                      \
            NAME(store)(sums + i * FEW_COLUMNS(rows) + j, sum);                                    \
        }                                                                                          \
    }
#define FEW_ROWS_OF_B(rows, depth)                                                                 \
    for (; k >= (depth); k -= (depth), a += (depth)*a_k, b += (depth)*b_k) {                       \
        T x[rows][depth];                                                                          \
        UNROLL for (int i = 0; i < (rows); i++)                                                    \
        {                                                                                          \
            UNROLL for (int l = 0; l < (depth); l++) x[i][l] = a[i * a_m + l * a_k];               \
        }                                                                                          \
        int64_t j = 0;                                                                             \
        for (; j + LANES <= n; j += LANES)                                                         \
            FEW_STEP(rows, depth, NAME(load)(at))                                                  \
        if (j < n)                                                                                 \
            FEW_STEP(rows, depth, LOAD_PART(part, at))                                             \
    }

/* c[rows, n] = a b, n <= FEW_COLUMNS(rows). `depth` rows of b at a time keep all of x in registers.
 */
#define DEFINE_FEW(rows, depth)                                                                    \
    static void FEW_NAME(rows)(const ebb_product *product, const T *b, T *c, int64_t n)            \
    {                                                                                              \
        _Alignas(64) T sums[(rows)*FEW_COLUMNS(rows)];                                             \
        const int64_t a_m = product->a_m, a_k = product->a_k, b_k = product->b_k;                  \
        const NAME(part) part = PART(n % LANES);                                                   \
        const T *a = product->a;                                                                   \
        int64_t k = product->k;                                                                    \
        memset(sums, 0, sizeof sums);                                                              \
        FEW_ROWS_OF_B(rows, depth)                                                                 \
        FEW_ROWS_OF_B(rows, 1)                                                                     \
        for (int64_t i = 0; i < (rows); i++, c += product->c_m)                                    \
            for (int64_t j = 0; j < n; j++)                                                        \
                c[j] = sums[i * FEW_COLUMNS(rows) + j] + (product->accumulate ? c[j] : 0);         \
    }
#define EACH_FEW(X) X(1, 8) X(2, 8) X(3, 4) X(4, 4) X(5, 4) X(6, 4) X(7, 2) X(8, 2)
EACH_FEW(DEFINE_FEW)

static void NAME(multiply_few)(const ebb_product *product)
{
    static void (*const with[])(const ebb_product *, const T *, T *, int64_t) = {
#define FEW_ENTRY(rows, depth) FEW_NAME(rows),
        EACH_FEW(FEW_ENTRY)
    };
    const int64_t columns = FEW_COLUMNS(product->m);
    for (int64_t j = 0; j < product->n; j += columns)
        with[product->m - 1](product, (const T *)product->b + j, (T *)product->c + j,
                             product->n - j < columns ? product->n - j : columns);
}

#undef FEW_NAME
#undef FEW_COLUMNS
#undef FEW_STEP
#undef FEW_ROWS_OF_B
#undef DEFINE_FEW
#undef EACH_FEW
#undef FEW_ENTRY
