/* The reductions of vector.h for one type: see reduce.c, which includes this file with T and TAG defined. */

/* Partial results that run side by side; a power of two. */
#define PARTIALS ((int64_t)(256 / sizeof(T)))
/* Additions in T before the sum goes on as a double: bounds the error. */
#define RUN 32

static double NAME(sum_run)(int64_t n, const void *data)
{
    const T *x = data;
    double sum = 0;
    T partial[256 / sizeof(T)];
    while (n >= PARTIALS) {
        int64_t n_blocks = n / PARTIALS < RUN ? n / PARTIALS : RUN;
        for (int64_t j = 0; j < PARTIALS; j++)
            partial[j] = x[j];
        for (int64_t i = 1; i < n_blocks; i++)
            for (int64_t j = 0; j < PARTIALS; j++)
                partial[j] += x[i * PARTIALS + j];
        for (int64_t half = PARTIALS / 2; half >= 1; half /= 2)
            for (int64_t j = 0; j < half; j++)
                partial[j] += partial[half + j];
        sum += (double)partial[0];
        x += n_blocks * PARTIALS;
        n -= n_blocks * PARTIALS;
    }
    T first = 0, second = 0;
    int64_t i = 0;
    for (; i + 1 < n; i += 2) {
        first += x[i];
        second += x[i + 1];
    }
    if (i < n)
        first += x[i];
    return sum + (double)(first + second);
}

/* The larger one, or NaN if one is. */
#define LARGER(a, b) ((b) > (a) || (b) != (b) ? (b) : (a))

static double NAME(max_run)(int64_t n, const void *data)
{
    const T *x = data;
    T largest = (T)-INFINITY;
    int64_t i = 0;
    if (n >= PARTIALS) {
        T partial[256 / sizeof(T)];
        for (int64_t j = 0; j < PARTIALS; j++)
            partial[j] = x[j];
        for (i = PARTIALS; i + PARTIALS <= n; i += PARTIALS)
            for (int64_t j = 0; j < PARTIALS; j++)
                partial[j] = LARGER(partial[j], x[i + j]);
        for (int64_t j = 0; j < PARTIALS; j++)
            largest = LARGER(largest, partial[j]);
    }
    for (; i < n; i++)
        largest = LARGER(largest, x[i]);
    return (double)largest;
}

static void NAME(sum_rows)(int64_t n_rows, int64_t stride, int64_t n_columns, const void *data,
                           double *accumulators)
{
    const T *x = data;
    T partial[EBB_REDUCE_COLUMNS];
    for (int64_t begin = 0; begin < n_rows; begin += RUN) {
        int64_t end = begin + RUN < n_rows ? begin + RUN : n_rows;
        for (int64_t j = 0; j < n_columns; j++)
            partial[j] = x[begin * stride + j];
        int64_t i = begin + 1;
        for (; i + 3 < end; i += 4) {
            const T *a = x + i * stride, *b = a + stride, *c = b + stride, *d = c + stride;
            for (int64_t j = 0; j < n_columns; j++)
                partial[j] += (a[j] + b[j]) + (c[j] + d[j]);
        }
        for (; i < end; i++)
            for (int64_t j = 0; j < n_columns; j++)
                partial[j] += x[i * stride + j];
        for (int64_t j = 0; j < n_columns; j++)
            accumulators[j] += (double)partial[j];
    }
}

static void NAME(max_rows)(int64_t n_rows, int64_t stride, int64_t n_columns, const void *data,
                           double *accumulators)
{
    const T *x = data;
    T partial[EBB_REDUCE_COLUMNS];
    for (int64_t j = 0; j < n_columns; j++)
        partial[j] = (T)accumulators[j];
    for (int64_t i = 0; i < n_rows; i++)
        for (int64_t j = 0; j < n_columns; j++)
            partial[j] = LARGER(partial[j], x[i * stride + j]);
    for (int64_t j = 0; j < n_columns; j++)
        accumulators[j] = (double)partial[j];
}

const ebb_reduce_table ISA_NAME(NAME(ebb_reduce)) = {
    .sum = NAME(sum_run),
    .max = NAME(max_run),
    .sum_rows = NAME(sum_rows),
    .max_rows = NAME(max_rows),
};

#undef LARGER
#undef PARTIALS
#undef RUN
#undef T
#undef TAG
