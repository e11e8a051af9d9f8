/* The softmax family of vector.h for one type: see softmax.c, which includes this file with T, TAG,
 * FN and EXP, e^x for x <= 0, defined. Short rows are taken several at a time, so that exp always
 * runs over whole vectors. */

#define LANES ((int64_t)(64 / sizeof(T)))
/* Elements that are worked on together; small enough for the first-level cache. */
#define TILE 1024
/* Elements that go to the result at a time. */
#define PIECE 256

/* In place; n is a multiple of LANES. */
static void NAME(exp_whole)(int64_t n, T *x)
{
    n &= -LANES;
    INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        x[i] = EXP(x[i]);
}

static T NAME(log_one)(T x)
{
    T several[64 / sizeof(T)];
    for (int64_t i = 0; i < LANES; i++)
        several[i] = x;
    INDEPENDENT
    for (int64_t i = 0; i < LANES; i++)
        several[i] = FN(log)(several[i]);
    return several[0];
}

/* Partial results that run side by side. */
#define PARTIALS (4 * LANES)

static T NAME(largest)(int64_t n, const T *x)
{
    T partial[256 / sizeof(T)], largest = x[0];
    int64_t i = 0;
    if (n >= PARTIALS) {
        for (int64_t j = 0; j < PARTIALS; j++)
            partial[j] = x[j];
        for (i = PARTIALS; i + PARTIALS <= n; i += PARTIALS)
            for (int64_t j = 0; j < PARTIALS; j++)
                partial[j] = x[i + j] > partial[j] ? x[i + j] : partial[j];
        for (int64_t half = PARTIALS / 2; half >= 1; half /= 2)
            for (int64_t j = 0; j < half; j++)
                partial[j] = partial[half + j] > partial[j] ? partial[half + j] : partial[j];
        largest = partial[0];
    }
    for (; i < n; i++)
        largest = x[i] > largest ? x[i] : largest;
    return largest;
}

/* In partial sums; every TILE elements the caller goes on in double. */
static T NAME(add_up)(int64_t n, const T *x)
{
    T partial[256 / sizeof(T)], sum = 0;
    int64_t i = 0;
    if (n >= PARTIALS) {
        for (int64_t j = 0; j < PARTIALS; j++)
            partial[j] = x[j];
        for (i = PARTIALS; i + PARTIALS <= n; i += PARTIALS)
            for (int64_t j = 0; j < PARTIALS; j++)
                partial[j] += x[i + j];
        for (int64_t half = PARTIALS / 2; half >= 1; half /= 2)
            for (int64_t j = 0; j < half; j++)
                partial[j] += partial[half + j];
        sum = partial[0];
    }
    T rest[64 / sizeof(T)] = { 0 };
    for (; i + LANES <= n; i += LANES)
        for (int64_t j = 0; j < LANES; j++)
            rest[j] += x[i + j];
    for (int64_t j = 0; i + j < n; j++)
        rest[j] += x[i + j];
    for (int64_t half = LANES / 2; half >= 1; half /= 2)
        for (int64_t j = 0; j < half; j++)
            rest[j] += rest[half + j];
    return sum + rest[0];
}

/* tile = exp(x - shift); what does not fill a vector goes through a padded one. */
static void NAME(exp_shifted)(int64_t n, const T *x, T shift, T *tile)
{
    const int64_t whole = n & -LANES;
    INDEPENDENT
    for (int64_t j = 0; j < whole; j++)
        tile[j] = EXP(x[j] - shift);
    if (whole == n)
        return;
    T last[64 / sizeof(T)] = { 0 };
    for (int64_t j = whole; j < n; j++)
        last[j - whole] = x[j] - shift;
    NAME(exp_whole)(LANES, last);
    for (int64_t j = whole; j < n; j++)
        tile[j] = last[j - whole];
}

/* tile = exp(x - largest of its row) for n_rows rows of n_classes, n_rows * n_classes <= TILE. */
static void NAME(exp_tile)(int64_t n_rows, int64_t n_classes, const T *x, T *tile, T *shifts)
{
    for (int64_t i = 0; i < n_rows; i++) {
        const T *row = x + i * n_classes;
        T shift = NAME(largest)(n_classes, row);
        shifts[i] = shift;
        if (n_classes >= LANES) {
            NAME(exp_shifted)(n_classes, row, shift, tile + i * n_classes);
            continue;
        }
        for (int64_t j = 0; j < n_classes; j++)
            tile[i * n_classes + j] = row[j] - shift;
    }
    if (n_classes >= LANES)
        return;
    int64_t n = n_rows * n_classes;
    while (n & (LANES - 1))
        tile[n++] = 0;
    NAME(exp_whole)(n, tile);
}

/* The sum of exp(x - shift) over a long row; also writes the exponentials if `result` is not NULL.
 */
static double NAME(exp_long_row)(int64_t n_classes, const T *x, T shift, T *result)
{
    T tile[TILE];
    double sum = 0;
    for (int64_t begin = 0; begin < n_classes; begin += TILE) {
        int64_t n = n_classes - begin < TILE ? n_classes - begin : TILE;
        NAME(exp_shifted)(n, x + begin, shift, tile);
        sum += (double)NAME(add_up)(n, tile);
        if (result)
            for (int64_t j = 0; j < n; j++)
                result[begin + j] = tile[j];
    }
    return sum;
}

static void NAME(softmax_rows)(int64_t n_rows, int64_t n_classes, const void *data, void *result,
                               bool is_streamed)
{
    const T *x = data;
    T *r = result, tile[TILE], shifts[TILE];
    if (n_classes > TILE) {
        for (int64_t i = 0; i < n_rows; i++, x += n_classes, r += n_classes) {
            T shift = NAME(largest)(n_classes, x);
            T scale = (T)(1 / NAME(exp_long_row)(n_classes, x, shift, r));
            for (int64_t j = 0; j < n_classes; j++)
                r[j] *= scale;
        }
        return;
    }
    int64_t n_together = TILE / n_classes;
    sink out;
    sink_start(&out, result, is_streamed);
    for (int64_t begin = 0; begin < n_rows; begin += n_together) {
        int64_t n = n_rows - begin < n_together ? n_rows - begin : n_together;
        NAME(exp_tile)(n, n_classes, x + begin * n_classes, tile, shifts);
        for (int64_t i = 0; i < n; i++) {
            const T *row = tile + i * n_classes;
            shifts[i] = 1 / NAME(add_up)(n_classes, row);
        }
        /* Out in short pieces, with what is read next in between. */
        int64_t done = 0;
        for (int64_t i = 0; i < n; i++) {
            const T scale = shifts[i];
            for (int64_t end = (i + 1) * n_classes, piece; done < end; done += piece) {
                piece = end - done < PIECE ? end - done : PIECE;
                T *to = sink_place(&out);
                for (int64_t j = 0; j < piece; j++)
                    to[j] = tile[done + j] * scale;
                ask_ahead(x + begin * n_classes + done, piece * (int64_t)sizeof(T));
                sink_take(&out, (size_t)piece * sizeof(T));
            }
        }
    }
    sink_finish(&out);
}

/* logs[i] = log sum_j exp(x[i][j] - shifts[i]) for rows that fit a tile, or one long row. */
static void NAME(log_sums)(int64_t n_rows, int64_t n_classes, const T *x, T *shifts, T *logs)
{
    if (n_classes > TILE) {
        shifts[0] = NAME(largest)(n_classes, x);
        logs[0] = NAME(log_one)((T)NAME(exp_long_row)(n_classes, x, shifts[0], NULL));
        return;
    }
    T tile[TILE];
    NAME(exp_tile)(n_rows, n_classes, x, tile, shifts);
    for (int64_t i = 0; i < n_rows; i++)
        logs[i] = NAME(add_up)(n_classes, tile + i * n_classes);
    int64_t n = n_rows;
    while (n & (LANES - 1))
        logs[n++] = 1;
    INDEPENDENT
    for (int64_t i = 0; i < (n & -LANES); i++)
        logs[i] = FN(log)(logs[i]);
}

static void NAME(log_softmax_rows)(int64_t n_rows, int64_t n_classes, const void *data,
                                   void *result, bool is_streamed)
{
    const T *x = data;
    T shifts[TILE], logs[TILE];
    int64_t n_together = n_classes > TILE ? 1 : TILE / n_classes;
    sink out;
    sink_start(&out, result, is_streamed);
    for (int64_t begin = 0; begin < n_rows; begin += n_together) {
        int64_t n = n_rows - begin < n_together ? n_rows - begin : n_together;
        NAME(log_sums)(n, n_classes, x + begin * n_classes, shifts, logs);
        for (int64_t i = 0; i < n; i++)
            for (int64_t done = 0, piece; done < n_classes; done += piece) {
                const T *from = x + (begin + i) * n_classes + done;
                piece = n_classes - done < PIECE ? n_classes - done : PIECE;
                T *to = sink_place(&out);
                for (int64_t j = 0; j < piece; j++)
                    to[j] = (from[j] - shifts[i]) - logs[i];
                ask_ahead(from, piece * (int64_t)sizeof(T));
                sink_take(&out, (size_t)piece * sizeof(T));
            }
    }
    sink_finish(&out);
}

static void NAME(log_sum_rows)(int64_t n_rows, int64_t n_classes, const void *data, void *maxima,
                               void *result)
{
    const T *x = data;
    T *largest = maxima, *r = result, shifts[TILE], logs[TILE];
    int64_t n_together = n_classes > TILE ? 1 : TILE / n_classes;
    for (int64_t begin = 0; begin < n_rows; begin += n_together) {
        int64_t n = n_rows - begin < n_together ? n_rows - begin : n_together;
        NAME(log_sums)(n, n_classes, x + begin * n_classes, shifts, logs);
        for (int64_t i = 0; i < n; i++) {
            largest[begin + i] = shifts[i];
            r[begin + i] = logs[i];
        }
    }
}

/* Sums of exp(x - shifts) along each column; the exponentials go to `r` if it is not NULL. */
static void NAME(exp_columns)(int64_t n_classes, int64_t stride, int64_t n_columns, const T *x,
                              T *shifts, double *sums, T *r)
{
    T row[EBB_SOFTMAX_COLUMNS];
    for (int64_t j = 0; j < n_columns; j++) {
        shifts[j] = x[j];
        sums[j] = 0;
    }
    for (int64_t i = 1; i < n_classes; i++)
        for (int64_t j = 0; j < n_columns; j++)
            shifts[j] = x[i * stride + j] > shifts[j] ? x[i * stride + j] : shifts[j];
    for (int64_t i = 0; i < n_classes; i++) {
        for (int64_t j = 0; j < n_columns; j++)
            row[j] = x[i * stride + j] - shifts[j];
        int64_t whole = n_columns;
        while (whole & (LANES - 1))
            row[whole++] = 0;
        NAME(exp_whole)(whole, row);
        for (int64_t j = 0; j < n_columns; j++)
            sums[j] += (double)row[j];
        if (r)
            for (int64_t j = 0; j < n_columns; j++)
                r[i * stride + j] = row[j];
    }
}

static void NAME(softmax_columns)(int64_t n_classes, int64_t stride, int64_t n_columns,
                                  const void *data, void *result)
{
    const T *x = data;
    T *r = result, shifts[EBB_SOFTMAX_COLUMNS], scales[EBB_SOFTMAX_COLUMNS];
    double sums[EBB_SOFTMAX_COLUMNS];
    NAME(exp_columns)(n_classes, stride, n_columns, x, shifts, sums, r);
    for (int64_t j = 0; j < n_columns; j++)
        scales[j] = (T)(1 / sums[j]);
    for (int64_t i = 0; i < n_classes; i++)
        for (int64_t j = 0; j < n_columns; j++)
            r[i * stride + j] *= scales[j];
}

static void NAME(log_softmax_columns)(int64_t n_classes, int64_t stride, int64_t n_columns,
                                      const void *data, void *result)
{
    const T *x = data;
    T *r = result, shifts[EBB_SOFTMAX_COLUMNS], logs[EBB_SOFTMAX_COLUMNS];
    double sums[EBB_SOFTMAX_COLUMNS];
    NAME(exp_columns)(n_classes, stride, n_columns, x, shifts, sums, NULL);
    for (int64_t j = 0; j < n_columns; j++)
        logs[j] = (T)sums[j];
    int64_t whole = n_columns;
    while (whole & (LANES - 1))
        logs[whole++] = 1;
    INDEPENDENT
    for (int64_t j = 0; j < (whole & -LANES); j++)
        logs[j] = FN(log)(logs[j]);
    for (int64_t i = 0; i < n_classes; i++)
        for (int64_t j = 0; j < n_columns; j++)
            r[i * stride + j] = (x[i * stride + j] - shifts[j]) - logs[j];
}

const ebb_softmax_table ISA_NAME(NAME(ebb_softmax)) = {
    .rows = NAME(softmax_rows),
    .log_rows = NAME(log_softmax_rows),
    .log_sum_rows = NAME(log_sum_rows),
    .columns = NAME(softmax_columns),
    .log_columns = NAME(log_softmax_columns),
};

#undef LANES
#undef PARTIALS
#undef EXP
#undef TILE
#undef PIECE
#undef T
#undef TAG
#undef FN
