/* The reductions of vector.h for one type: see reduce.c, which includes this file with T, TAG,
 * FN and EXP, e^x for x <= 0, defined. */

/* Partial results that run side by side; a power of two. */
#define PARTIALS ((int64_t)(256 / sizeof(T)))
/* Additions in T before the sum goes on as a double: bounds the error. */
#define RUN 32

/* Sums of TERM(x) with partial sums of type A. */
#define SUM_RUN(name, A, TERM)                                                                     \
    static double NAME(name)(int64_t n, const void *data)                                          \
    {                                                                                              \
        const T *x = data;                                                                         \
        double sum = 0;                                                                            \
        A partial[256 / sizeof(T)];                                                                \
        while (n >= PARTIALS) {                                                                    \
            int64_t n_blocks = n / PARTIALS < RUN ? n / PARTIALS : RUN;                            \
            for (int64_t j = 0; j < PARTIALS; j++)                                                 \
                partial[j] = TERM(x[j]);                                                           \
            for (int64_t i = 1; i < n_blocks; i++) {                                               \
                ask_ahead(x + i * PARTIALS, 256);                                                  \
                for (int64_t j = 0; j < PARTIALS; j++)                                             \
                    partial[j] += TERM(x[i * PARTIALS + j]);                                       \
            }                                                                                      \
            for (int64_t half = PARTIALS / 2; half >= 1; half /= 2)                                \
                for (int64_t j = 0; j < half; j++)                                                 \
                    partial[j] += partial[half + j];                                               \
            sum += (double)partial[0];                                                             \
            x += n_blocks * PARTIALS;                                                              \
            n -= n_blocks * PARTIALS;                                                              \
        }                                                                                          \
        A first = 0, second = 0;                                                                   \
        int64_t i = 0;                                                                             \
        if (n >= 16) {                                                                             \
            A tail[16] = { 0 };                                                                    \
            for (; i + 16 <= n; i += 16)                                                           \
                for (int64_t j = 0; j < 16; j++)                                                   \
                    tail[j] += TERM(x[i + j]);                                                     \
            for (int64_t half = 8; half >= 1; half /= 2)                                           \
                for (int64_t j = 0; j < half; j++)                                                 \
                    tail[j] += tail[half + j];                                                     \
            first = tail[0];                                                                       \
        }                                                                                          \
        for (; i + 1 < n; i += 2) {                                                                \
            first += TERM(x[i]);                                                                   \
            second += TERM(x[i + 1]);                                                              \
        }                                                                                          \
        if (i < n)                                                                                 \
            first += TERM(x[i]);                                                                   \
        return sum + (double)(first + second);                                                     \
    }

#define SUM_ROWS(name, A, TERM)                                                                    \
    static void NAME(name)(int64_t n_rows, int64_t stride, int64_t n_columns, const void *data,    \
                           double *accumulators)                                                   \
    {                                                                                              \
        const T *x = data;                                                                         \
        A partial[EBB_REDUCE_COLUMNS];                                                             \
        for (int64_t begin = 0; begin < n_rows; begin += RUN) {                                    \
            int64_t end = begin + RUN < n_rows ? begin + RUN : n_rows;                             \
            for (int64_t j = 0; j < n_columns; j++)                                                \
                partial[j] = TERM(x[begin * stride + j]);                                          \
            int64_t i = begin + 1;                                                                 \
            for (; i + 3 < end; i += 4) {                                                          \
                const T *a = x + i * stride, *b = a + stride, *c = b + stride, *d = c + stride;    \
                for (int64_t j = 0; j < n_columns; j++)                                            \
                    partial[j] += (TERM(a[j]) + TERM(b[j])) + (TERM(c[j]) + TERM(d[j]));           \
            }                                                                                      \
            for (; i < end; i++)                                                                   \
                for (int64_t j = 0; j < n_columns; j++)                                            \
                    partial[j] += TERM(x[i * stride + j]);                                         \
            for (int64_t j = 0; j < n_columns; j++)                                                \
                accumulators[j] += (double)partial[j];                                             \
        }                                                                                          \
    }

/* Everything else that is associative: BOTH(a, b), beginning with `start`. */
#define FOLD_RUN(name, A, start, BOTH)                                                             \
    static double NAME(name)(int64_t n, const void *data)                                          \
    {                                                                                              \
        const T *x = data;                                                                         \
        A result = (A)(start);                                                                     \
        int64_t i = 0;                                                                             \
        if (n >= PARTIALS) {                                                                       \
            A partial[256 / sizeof(T)];                                                            \
            for (int64_t j = 0; j < PARTIALS; j++)                                                 \
                partial[j] = (A)x[j];                                                              \
            for (i = PARTIALS; i + PARTIALS <= n; i += PARTIALS) {                                 \
                ask_ahead(x + i, 256);                                                             \
                for (int64_t j = 0; j < PARTIALS; j++)                                             \
                    partial[j] = BOTH(partial[j], (A)x[i + j]);                                    \
            }                                                                                      \
            for (int64_t half = PARTIALS / 2; half >= 1; half /= 2)                                \
                for (int64_t j = 0; j < half; j++)                                                 \
                    partial[j] = BOTH(partial[j], partial[half + j]);                              \
            result = partial[0];                                                                   \
        }                                                                                          \
        for (; i < n; i++)                                                                         \
            result = BOTH(result, (A)x[i]);                                                        \
        return (double)result;                                                                     \
    }

#define FOLD_ROWS(name, A, BOTH)                                                                   \
    static void NAME(name)(int64_t n_rows, int64_t stride, int64_t n_columns, const void *data,    \
                           double *accumulators)                                                   \
    {                                                                                              \
        const T *x = data;                                                                         \
        A partial[EBB_REDUCE_COLUMNS];                                                             \
        for (int64_t j = 0; j < n_columns; j++)                                                    \
            partial[j] = (A)accumulators[j];                                                       \
        for (int64_t i = 0; i < n_rows; i++)                                                       \
            for (int64_t j = 0; j < n_columns; j++)                                                \
                partial[j] = BOTH(partial[j], (A)x[i * stride + j]);                               \
        for (int64_t j = 0; j < n_columns; j++)                                                    \
            accumulators[j] = (double)partial[j];                                                  \
    }

/* The larger (smaller) one, or NaN if one is. */
#define LARGER(a, b) ((b) > (a) || (b) != (b) ? (b) : (a))
#define SMALLER(a, b) ((b) < (a) || (b) != (b) ? (b) : (a))
#define PRODUCT(a, b) ((a) * (b))
#define ITSELF(x) (x)
#define MAGNITUDE(x) FN(fabs)(x)
/* Squares and products in double: they leave the range of F32 sooner than their results. */
#define SQUARE(x) ((double)(x) * (double)(x))

SUM_RUN(sum_run, T, ITSELF)
SUM_ROWS(sum_rows, T, ITSELF)
/* For means, which deviations are taken from. */
SUM_RUN(wide_sum_run, double, ITSELF)
SUM_ROWS(wide_sum_rows, double, ITSELF)
SUM_RUN(magnitude_run, T, MAGNITUDE)
SUM_ROWS(magnitude_rows, T, MAGNITUDE)
SUM_RUN(square_run, double, SQUARE)
SUM_ROWS(square_rows, double, SQUARE)
FOLD_RUN(max_run, T, -INFINITY, LARGER)
FOLD_ROWS(max_rows, T, LARGER)
FOLD_RUN(min_run, T, INFINITY, SMALLER)
FOLD_ROWS(min_rows, T, SMALLER)
FOLD_RUN(product_run, double, 1, PRODUCT)
FOLD_ROWS(product_rows, double, PRODUCT)

/* ---- pairs ---- */

/* An exponential is taken of x less this. */
static double NAME(shift_of)(double largest)
{
    return fabs(largest) < (double)INFINITY ? largest : 0;
}

/* In place; n is a multiple of PARTIALS. Without `is_shifted`, x may be positive. */
static void NAME(exp_all)(int64_t n, T *x, bool is_shifted)
{
    n &= -PARTIALS;
    if (is_shifted) {
        INDEPENDENT
        for (int64_t i = 0; i < n; i++)
            x[i] = EXP(x[i]);
    } else {
        INDEPENDENT
        for (int64_t i = 0; i < n; i++)
            x[i] = FN(exp)(x[i]);
    }
}

/* Elements of a run that are worked on together: they stay in the first-level cache. */
#define TILE 1024

static void NAME(exp_sum_run)(int64_t n, const void *data, int64_t count, double *largest,
                              double *sum)
{
    const T *x = data;
    T tile[TILE];
    (void)count;
    for (int64_t begin = 0; begin < n; begin += TILE) {
        int64_t length = n - begin < TILE ? n - begin : TILE;
        double before = *largest, here = NAME(max_run)(length, x + begin);
        *largest = LARGER(before, here);
        const T shift = (T)NAME(shift_of)(*largest);
        for (int64_t i = 0; i < length; i++)
            tile[i] = x[begin + i] - shift;
        int64_t whole = length;
        while (whole % PARTIALS)
            tile[whole++] = 0;
        NAME(exp_all)(whole, tile, *largest < (double)INFINITY);
        if (*sum != 0)
            *sum *= exp(NAME(shift_of)(before) - (double)shift);
        *sum += NAME(sum_run)(length, tile);
    }
}

static void NAME(exp_sum_rows)(int64_t n_rows, int64_t stride, int64_t n_columns, const void *data,
                               int64_t count, double *largest, double *sums)
{
    T row[EBB_REDUCE_COLUMNS], shifts[EBB_REDUCE_COLUMNS];
    (void)count;
    int64_t whole = (n_columns + PARTIALS - 1) & -PARTIALS;
    for (int64_t j = n_columns; j < whole; j++)
        row[j] = 0;
    for (int64_t begin = 0; begin < n_rows; begin += RUN) {
        int64_t n = n_rows - begin < RUN ? n_rows - begin : RUN;
        const T *x = (const T *)data + begin * stride;
        for (int64_t j = 0; j < n_columns; j++)
            shifts[j] = (T)NAME(shift_of)(largest[j]);
        NAME(max_rows)(n, stride, n_columns, x, largest);
        for (int64_t j = 0; j < n_columns; j++)
            row[j] = shifts[j] - (T)NAME(shift_of)(largest[j]);
        NAME(exp_all)(whole, row, true);
        bool is_finite = true;
        for (int64_t j = 0; j < n_columns; j++)
            is_finite = is_finite && largest[j] < (double)INFINITY;
        for (int64_t j = 0; j < n_columns; j++) {
            sums[j] = sums[j] != 0 ? sums[j] * (double)row[j] : 0;
            shifts[j] = (T)NAME(shift_of)(largest[j]);
        }
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < n_columns; j++)
                row[j] = x[i * stride + j] - shifts[j];
            NAME(exp_all)(whole, row, is_finite);
            for (int64_t j = 0; j < n_columns; j++)
                sums[j] += (double)row[j];
        }
    }
}

/* Chan, Golub & LeVeque 1983, eq. 2.1, which joins the squares of two samples. */
static void NAME(deviation_run)(int64_t n, const void *data, int64_t count, double *mean,
                                double *squares)
{
    const T *x = data;
    for (int64_t begin = 0; begin < n; begin += TILE) {
        int64_t length = n - begin < TILE ? n - begin : TILE;
        const double here = NAME(wide_sum_run)(length, x + begin) / (double)length;
        double partial[8] = { 0 };
        int64_t i = 0;
        for (; i + 8 <= length; i += 8)
            for (int64_t j = 0; j < 8; j++)
                partial[j] += SQUARE((double)x[begin + i + j] - here);
        for (; i < length; i++)
            partial[0] += SQUARE((double)x[begin + i] - here);
        for (int64_t half = 4; half >= 1; half /= 2)
            for (int64_t j = 0; j < half; j++)
                partial[j] += partial[half + j];
        const double change = here - *mean, weight = (double)length / (double)(count + length);
        *squares += partial[0] + change * change * (double)count * weight;
        *mean += change * weight;
        count += length;
    }
}

static void NAME(deviation_rows)(int64_t n_rows, int64_t stride, int64_t n_columns,
                                 const void *data, int64_t count, double *means, double *squares)
{
    double here[EBB_REDUCE_COLUMNS], partial[EBB_REDUCE_COLUMNS];
    for (int64_t begin = 0; begin < n_rows; begin += RUN) {
        int64_t n = n_rows - begin < RUN ? n_rows - begin : RUN;
        const T *x = (const T *)data + begin * stride;
        for (int64_t j = 0; j < n_columns; j++)
            here[j] = partial[j] = 0;
        NAME(wide_sum_rows)(n, stride, n_columns, x, here);
        for (int64_t j = 0; j < n_columns; j++)
            here[j] /= (double)n;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n_columns; j++)
                partial[j] += SQUARE((double)x[i * stride + j] - here[j]);
        const double weight = (double)n / (double)(count + n), before = (double)count;
        for (int64_t j = 0; j < n_columns; j++) {
            const double change = here[j] - means[j];
            squares[j] += partial[j] + change * change * before * weight;
            means[j] += change * weight;
        }
        count += n;
    }
}

const ebb_reduce_table ISA_NAME(NAME(ebb_reduce)) = {
    .run = { [EBB_REDUCE_SUM] = NAME(sum_run),
             [EBB_REDUCE_MAGNITUDES] = NAME(magnitude_run),
             [EBB_REDUCE_SQUARES] = NAME(square_run),
             [EBB_REDUCE_MAX] = NAME(max_run),
             [EBB_REDUCE_MIN] = NAME(min_run),
             [EBB_REDUCE_PRODUCT] = NAME(product_run) },
    .rows = { [EBB_REDUCE_SUM] = NAME(sum_rows),
              [EBB_REDUCE_MAGNITUDES] = NAME(magnitude_rows),
              [EBB_REDUCE_SQUARES] = NAME(square_rows),
              [EBB_REDUCE_MAX] = NAME(max_rows),
              [EBB_REDUCE_MIN] = NAME(min_rows),
              [EBB_REDUCE_PRODUCT] = NAME(product_rows) },
    .pair_run = { [EBB_REDUCE_EXP_SUM] = NAME(exp_sum_run),
                  [EBB_REDUCE_DEVIATIONS] = NAME(deviation_run) },
    .pair_rows = { [EBB_REDUCE_EXP_SUM] = NAME(exp_sum_rows),
                   [EBB_REDUCE_DEVIATIONS] = NAME(deviation_rows) },
};

#undef SUM_RUN
#undef SUM_ROWS
#undef FOLD_RUN
#undef FOLD_ROWS
#undef LARGER
#undef SMALLER
#undef PRODUCT
#undef ITSELF
#undef MAGNITUDE
#undef SQUARE
#undef TILE
#undef PARTIALS
#undef RUN
#undef T
#undef TAG
#undef FN
#undef EXP
