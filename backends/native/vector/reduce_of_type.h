/* The reductions of vector.h for one type: see reduce.c, which includes this file with T, TAG,
 * FN, LANES_MAX and INDEX (an integer as wide as T) defined. */
#include "backends/native/vector/exp_sums_of_type.h"

/* Partial results that run side by side; a power of two. */
#define PARTIALS ((int64_t)(256 / sizeof(T)))
/* Additions in T before the sum goes on as a double: bounds the error. */
#define RUN 32
/* Rows that are added up before their sum is added to that of the columns; rows in T then. */
#define ROWS 8
#define ROWS_RUN (8 * ROWS)

static inline NAME(lanes) NAME(add_rows)(const NAME(lanes) * v)
{
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

/* Asks for ROWS rows that come after those at x. */
static inline void NAME(ask_rows_after)(const T *x, int64_t stride, int64_t j)
{
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++)
        __builtin_prefetch(x + (ROWS + i) * stride + j, 0, 3);
}

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
        int64_t i = 0;                                                                             \
        for (int64_t j = 0; j < n_columns; j++)                                                    \
            partial[j] = (A)accumulators[j];                                                       \
        for (; i + 3 < n_rows; i += 4) {                                                           \
            const T *a = x + i * stride, *b = a + stride, *c = b + stride, *d = c + stride;        \
            ask_rows(d + stride, n_columns * (int64_t)sizeof(T));                                  \
            ask_rows(d + 2 * stride, n_columns * (int64_t)sizeof(T));                              \
            ask_rows(d + 3 * stride, n_columns * (int64_t)sizeof(T));                              \
            ask_rows(d + 4 * stride, n_columns * (int64_t)sizeof(T));                              \
            for (int64_t j = 0; j < n_columns; j++) {                                              \
                const A first = BOTH(partial[j], (A)a[j]), second = BOTH(first, (A)b[j]);          \
                const A third = BOTH(second, (A)c[j]);                                             \
                partial[j] = BOTH(third, (A)d[j]);                                                 \
            }                                                                                      \
        }                                                                                          \
        for (; i < n_rows; i++)                                                                    \
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
SUM_RUN(magnitude_run, T, MAGNITUDE)
SUM_ROWS(magnitude_rows, T, MAGNITUDE)
SUM_RUN(square_run, double, SQUARE)
SUM_ROWS(wide_square_rows, double, SQUARE)

/* Squares that are summed in T lose nothing while their sum stays between these. */
#define IS_SAFE(sum) (((sum) > (T)1e-30) & ((sum) < (T)1e30))

static void NAME(square_rows)(int64_t n_rows, int64_t stride, int64_t n_columns, const void *data,
                              double *accumulators)
{
    T partial[EBB_REDUCE_COLUMNS];
    for (int64_t begin = 0; begin < n_rows; begin += RUN) {
        const int64_t n = n_rows - begin < RUN ? n_rows - begin : RUN;
        const T *x = (const T *)data + begin * stride;
        bool is_safe = true;
        for (int64_t j = 0; j < n_columns; j++)
            partial[j] = 0;
        int64_t i = 0;
        for (; i + 3 < n; i += 4) {
            const T *a = x + i * stride, *b = a + stride, *c = b + stride, *d = c + stride;
            for (int64_t j = 0; j < n_columns; j++)
                partial[j] += (a[j] * a[j] + b[j] * b[j]) + (c[j] * c[j] + d[j] * d[j]);
        }
        for (; i < n; i++)
            for (int64_t j = 0; j < n_columns; j++)
                partial[j] += x[i * stride + j] * x[i * stride + j];
        for (int64_t j = 0; j < n_columns; j++)
            is_safe = is_safe & IS_SAFE(partial[j]);
        if (!is_safe) {
            NAME(wide_square_rows)(n, stride, n_columns, x, accumulators);
            continue;
        }
        for (int64_t j = 0; j < n_columns; j++)
            accumulators[j] += (double)partial[j];
    }
}
FOLD_RUN(max_run, T, -INFINITY, LARGER)
FOLD_ROWS(max_rows, T, LARGER)
FOLD_RUN(min_run, T, INFINITY, SMALLER)
FOLD_ROWS(min_rows, T, SMALLER)
FOLD_RUN(product_run, double, 1, PRODUCT)
FOLD_ROWS(product_rows, double, PRODUCT)

/* ---- pairs ---- */

/* Adds a sum of e^(x - here) to that of e^(x - largest), where e^x is meant if either is infinite;
 * +infinity is left to the caller. No branches, so that columns can be joined side by side. */
static inline void NAME(join_exps)(double here, double here_sum, double *largest, double *sum)
{
    const double before = *largest, most = here > before ? here : before;
    const double shift = fabs(most) < (double)INFINITY ? most : 0;
    const double old = *sum * exp((fabs(before) < (double)INFINITY ? before : 0) - shift);
    const double more = here_sum * exp((fabs(here) < (double)INFINITY ? here : 0) - shift);
    *largest = most;
    *sum = (*sum != 0 ? old : 0) + (here_sum != 0 ? more : 0);
}

/* The same for n elements, `stride` apart, one of which is infinite: e^x is the sum's only term
 * then, or NaN. */
static void NAME(join_infinite)(int64_t n, int64_t stride, const T *x, double *largest, double *sum)
{
    *largest = (double)INFINITY;
    for (int64_t i = 0; i < n; i++)
        *sum += (double)FN(exp)(x[i * stride]);
}

static void NAME(exp_sum_run)(int64_t n, const void *data, int64_t count, double *largest,
                              double *sum)
{
    const T *x = data;
    T most[LANES_BYTES / sizeof(T)], sums[LANES_BYTES / sizeof(T)];
    (void)count;
    for (int64_t begin = 0; begin < n; begin += EXP_CHUNK * WIDTH) {
        const int64_t length = n - begin < EXP_CHUNK * WIDTH ? n - begin : EXP_CHUNK * WIDTH;
        NAME(exp_sums) s = NAME(exp_sums_chunk)(length, x + begin);
        NAME(exp_sums_level)(&s);
        NAME(lanes_store)(most, s.largest);
        NAME(lanes_store)(sums, s.sum);
        double here_sum = 0;
        for (int64_t i = 0; i < WIDTH; i++)
            here_sum += (double)sums[i];
        if (most[0] < (T)INFINITY)
            NAME(join_exps)((double)most[0], here_sum, largest, sum);
        else
            NAME(join_infinite)(length, 1, x + begin, largest, sum);
    }
}

/* EXP_CHUNK vectors of a column at a time. */
static void NAME(exp_sum_rows)(int64_t n_rows, int64_t stride, int64_t n_columns, const void *data,
                               int64_t count, double *largest, double *sums)
{
    NAME(exp_sums) s[EBB_REDUCE_COLUMNS * sizeof(T) / LANES_BYTES];
    T most[EBB_REDUCE_COLUMNS], here[EBB_REDUCE_COLUMNS];
    (void)count;
    for (int64_t begin = 0; begin < n_rows; begin += EXP_CHUNK) {
        const int64_t length = n_rows - begin < EXP_CHUNK ? n_rows - begin : EXP_CHUNK;
        const T *x = (const T *)data + begin * stride;
        bool is_finite = true;
        for (int64_t j = 0; j * WIDTH < n_columns; j++)
            s[j] = NAME(exp_sums_start)();
        for (int64_t i = 0; i < length; i += EXP_BLOCK)
            for (int64_t j = 0; j < n_columns; j += WIDTH) {
                const T *from = x + i * stride;
                NAME(lanes) v[EXP_BLOCK];
                NAME(ask_rows_after)(from, stride, j);
                NAME(exp_rows_block)(length - i, stride, n_columns - j, from + j, v);
                NAME(exp_sums_add)(&s[j / WIDTH], v);
            }
        for (int64_t j = 0; j < n_columns; j += WIDTH) {
            NAME(lanes_store)(most + j, s[j / WIDTH].largest);
            NAME(lanes_store)(here + j, s[j / WIDTH].sum);
        }
        for (int64_t j = 0; j < n_columns; j++)
            is_finite = is_finite & (most[j] < (T)INFINITY);
        if (is_finite) {
            INDEPENDENT
            for (int64_t j = 0; j < n_columns; j++)
                NAME(join_exps)((double)most[j], (double)here[j], &largest[j], &sums[j]);
            continue;
        }
        for (int64_t j = 0; j < n_columns; j++)
            if (most[j] < (T)INFINITY)
                NAME(join_exps)((double)most[j], (double)here[j], &largest[j], &sums[j]);
            else
                NAME(join_infinite)(length, stride, x + j, &largest[j], &sums[j]);
    }
}

/* Adds a sample of n elements to the mean and the squares of `count`: Chan, Golub & LeVeque 1983,
 * eq. 2.1. */
#define JOIN(mean, squares, n, here, partial, count)                                               \
    do {                                                                                           \
        const double change = (here) - (mean), weight = (double)(n) / (double)((count) + (n));     \
        (squares) += (partial) + change * change * (double)(count)*weight;                         \
        (mean) += change * weight;                                                                 \
    } while (0)

/* Elements of a run that are worked on together: they stay in the first-level cache. */
#define TILE 1024

/* Of n <= TILE elements: the mean, and the squares of the deviations from it. In T about a first
 * mean, which is then mended; in double where the squares leave the range of T. */
static double NAME(deviations)(int64_t n, const T *x, double *mean)
{
    T sums[256 / sizeof(T)] = { 0 }, squares[256 / sizeof(T)] = { 0 };
    int64_t i = 0;
    const T centre = (T)(NAME(sum_run)(n, x) / (double)n);
    for (; i + PARTIALS <= n; i += PARTIALS)
        for (int64_t j = 0; j < PARTIALS; j++) {
            const T d = x[i + j] - centre;
            sums[j] += d;
            squares[j] += d * d;
        }
    for (int64_t j = 0; i + j < n; j++) {
        const T d = x[i + j] - centre;
        sums[j] += d;
        squares[j] += d * d;
    }
    for (int64_t half = PARTIALS / 2; half >= 1; half /= 2)
        for (int64_t j = 0; j < half; j++) {
            sums[j] += sums[half + j];
            squares[j] += squares[half + j];
        }
    if (squares[0] == 0 || IS_SAFE(squares[0])) {
        const double sum = (double)sums[0];
        *mean = (double)centre + sum / (double)n;
        return (double)squares[0] - sum * sum / (double)n;
    }
    *mean = NAME(wide_sum_run)(n, x) / (double)n;
    double wide[8] = { 0 };
    for (int64_t k = 0; k < n; k++)
        wide[k % 8] += SQUARE((double)x[k] - *mean);
    return ((wide[0] + wide[1]) + (wide[2] + wide[3])) +
           ((wide[4] + wide[5]) + (wide[6] + wide[7]));
}

static void NAME(deviation_run)(int64_t n, const void *data, int64_t count, double *mean,
                                double *squares)
{
    const T *x = data;
    for (int64_t begin = 0; begin < n; begin += TILE) {
        const int64_t length = n - begin < TILE ? n - begin : TILE;
        double here, partial = NAME(deviations)(length, x + begin, &here);
        JOIN(*mean, *squares, length, here, partial, count);
        count += length;
    }
}

/* As JOIN, for the columns of n rows at x, out of sums and squares of deviations from `centre`. */
static void NAME(join_deviations)(int64_t n, int64_t stride, int64_t n_columns, const T *x,
                                  const T *centre, const T *sums, const T *partial, int64_t count,
                                  double *means, double *squares)
{
    bool is_safe = true;
    for (int64_t j = 0; j < n_columns; j++)
        is_safe = is_safe & ((partial[j] == 0) | IS_SAFE(partial[j]));
    if (is_safe) {
        for (int64_t j = 0; j < n_columns; j++) {
            const double sum = (double)sums[j], mean = sum / (double)n;
            JOIN(means[j], squares[j], n, (double)centre[j] + mean, (double)partial[j] - sum * mean,
                 count);
        }
        return;
    }
    for (int64_t j = 0; j < n_columns; j++) {
        double mean = 0, wide = 0;
        for (int64_t i = 0; i < n; i++)
            mean += (double)x[i * stride + j] / (double)n;
        for (int64_t i = 0; i < n; i++)
            wide += SQUARE((double)x[i * stride + j] - mean);
        JOIN(means[j], squares[j], n, mean, wide, count);
    }
}

/* In one pass, about the mean of what is there already, or that of the first rows: where the mean
 * of some rows is far from it, its change is the larger part of the result, too. */
static void NAME(deviation_rows)(int64_t n_rows, int64_t stride, int64_t n_columns,
                                 const void *data, int64_t count, double *means, double *squares)
{
    T centre[EBB_REDUCE_COLUMNS], sum[EBB_REDUCE_COLUMNS], square[EBB_REDUCE_COLUMNS];
    for (int64_t begin = 0, n; begin < n_rows; begin += n, count += n) {
        const T *x = (const T *)data + begin * stride;
        n = n_rows - begin < ROWS_RUN ? n_rows - begin : ROWS_RUN;
        const int64_t n_first = n < ROWS ? n : ROWS;
        for (int64_t j = 0; j < n_columns; j++) {
            centre[j] = (T)means[j];
            sum[j] = square[j] = 0;
        }
        if (count == 0) {
            for (int64_t j = 0; j < n_columns; j++)
                centre[j] = 0;
            for (int64_t i = 0; i < n_first; i++)
                for (int64_t j = 0; j < n_columns; j++)
                    centre[j] += x[i * stride + j] / (T)n_first;
        }
        int64_t i = 0;
        for (; i + ROWS <= n; i += ROWS) {
            const T *row = x + i * stride;
            int64_t j = 0;
            for (; j + WIDTH <= n_columns; j += WIDTH) {
                const NAME(lanes) middle = NAME(lanes_load)(centre + j);
                NAME(lanes) d[ROWS], q[ROWS];
                NAME(ask_rows_after)(row, stride, j);
#pragma GCC unroll 8
                for (int k = 0; k < ROWS; k++) {
                    d[k] = NAME(lanes_load)(row + k * stride + j) - middle;
                    q[k] = d[k] * d[k];
                }
                NAME(lanes_store)(sum + j, NAME(lanes_load)(sum + j) + NAME(add_rows)(d));
                NAME(lanes_store)(square + j, NAME(lanes_load)(square + j) + NAME(add_rows)(q));
            }
            for (; j < n_columns; j++)
                for (int k = 0; k < ROWS; k++) {
                    const T d = row[k * stride + j] - centre[j];
                    sum[j] += d;
                    square[j] += d * d;
                }
        }
        for (; i < n; i++)
            for (int64_t j = 0; j < n_columns; j++) {
                const T d = x[i * stride + j] - centre[j];
                sum[j] += d;
                square[j] += d * d;
            }
        NAME(join_deviations)
        (n, stride, n_columns, x, centre, sum, square, count, means, squares);
    }
}

/* ---- short rows, indices ---- */

/* results[i] = the sum of row i; dense rows of n < 2 vectors or so */
static void NAME(short_sum_rows)(int64_t n_rows, int64_t n, const void *data, void *results)
{
    const lanes_of_bits rest = lanes_mask(n % WIDTH * (int64_t)sizeof(T));
    const T *x = data;
    T *r = results, last[2 * LANES_BYTES / sizeof(T)], sums[LANES_BYTES / sizeof(T)];
    NAME(lanes) rows[LANES_BYTES / sizeof(T)];
    for (int64_t begin = 0; begin < n_rows; begin += WIDTH) {
        ask_ahead(x + begin * n, n * WIDTH * (int64_t)sizeof(T));
        for (int64_t i = 0; i < WIDTH; i++) {
            const int64_t row = begin + i < n_rows ? begin + i : n_rows - 1;
            const T *from = x + row * n;
            int64_t j = 0;
            NAME(lanes) sum = { 0 };
            for (; j + WIDTH <= n; j += WIDTH)
                sum += NAME(lanes_load)(from + j);
            if (j < n) {
                const T *tail = from + j;
                if (row * n + j + WIDTH > n_rows * n) { /* ends behind the rows */
                    memcpy(last, tail, (size_t)(n - j) * sizeof(T));
                    memset(last + (n - j), 0, LANES_BYTES);
                    tail = last;
                }
                sum += NAME(lanes_choose)(rest, NAME(lanes_load)(tail), (NAME(lanes)){ 0 });
            }
            rows[i] = sum;
        }
        NAME(lanes_store)(sums, NAME(lanes_sums)(rows));
        memcpy(r + begin, sums,
               (size_t)(n_rows - begin < WIDTH ? n_rows - begin : WIDTH) * sizeof(T));
    }
}

/* The first place where x is `value`, which is somewhere, or NaN. */
static int64_t NAME(find)(int64_t n, const void *data, double wanted)
{
    const T *x = data, value = (T)wanted;
    int64_t i = 0;
    for (; i + PARTIALS <= n; i += PARTIALS) {
        uint32_t any = 0;
        for (int64_t j = 0; j < PARTIALS; j++)
            any |= (uint32_t)(x[i + j] == value) | (uint32_t)(x[i + j] != x[i + j]);
        if (any)
            break;
    }
    while (i < n - 1 && x[i] != value && x[i] == x[i])
        i++;
    return i;
}

/* Indices as wide as T, so that both fit vectors of one length. */
#define ARG_COLUMNS(name, IS_BEYOND)                                                               \
    static void NAME(name)(int64_t n_rows, int64_t stride, int64_t n_columns, const void *data,    \
                           int64_t *result)                                                        \
    {                                                                                              \
        const T *x = data;                                                                         \
        T best[EBB_REDUCE_COLUMNS];                                                                \
        INDEX at[EBB_REDUCE_COLUMNS];                                                              \
        for (int64_t j = 0; j < n_columns; j++) {                                                  \
            best[j] = x[j];                                                                        \
            result[j] = 0;                                                                         \
        }                                                                                          \
        for (int64_t begin = 0; begin < n_rows; begin += 1 << 30) {                                \
            const int64_t n = n_rows - begin < 1 << 30 ? n_rows - begin : 1 << 30;                 \
            const T *rows = x + begin * stride;                                                    \
            for (int64_t j = 0; j < n_columns; j++)                                                \
                at[j] = -1;                                                                        \
            for (int64_t i = 0; i < n; i++) {                                                      \
                ask_rows(rows + (i + 8) * stride, n_columns * (int64_t)sizeof(T));                 \
                for (int64_t j = 0; j < n_columns; j++) {                                          \
                    const T value = rows[i * stride + j];                                          \
                    const bool is_beyond =                                                         \
                        (value IS_BEYOND best[j]) | ((value != value) & (best[j] == best[j]));     \
                    best[j] = is_beyond ? value : best[j];                                         \
                    at[j] = is_beyond ? (INDEX)i : at[j];                                          \
                }                                                                                  \
            }                                                                                      \
            for (int64_t j = 0; j < n_columns; j++)                                                \
                result[j] = at[j] < 0 ? result[j] : begin + at[j];                                 \
        }                                                                                          \
    }
ARG_COLUMNS(argmax_columns, >)
ARG_COLUMNS(argmin_columns, <)

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
    .short_sum_rows = NAME(short_sum_rows),
    .find = NAME(find),
    .argmax_columns = NAME(argmax_columns),
    .argmin_columns = NAME(argmin_columns),
};

#undef ARG_COLUMNS
#undef INDEX
#undef JOIN
#undef IS_SAFE
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
#undef ROWS
#undef ROWS_RUN
#undef WIDTH
#undef SPLAT
#undef EXP_BLOCK
#undef EXP_CHUNK
#undef LANES_MAX
#undef T
#undef TAG
#undef FN
