/* softmax and its like over rows of at most SHORT_ROW elements: see softmax_of_type.h, which
 * includes this file. WIDTH rows are taken side by side, and several such groups together, so that
 * what one pass has written has left the store buffer when the next one reads it. */

/* Elements of all groups, and what is read behind them. */
#define GROUPS (SHORT_ROW * LANES_BYTES / sizeof(T) + LANES_BYTES / sizeof(T))
/* rows of all groups; a multiple of WIDTH */
#define GROUP_ROWS 64

#define HALF (WIDTH / 2)

/* What is known of n_together rows. */
typedef struct NAME(group) {
    const T *x;
    _Alignas(64) T exps[GROUPS];
    T maxima[GROUP_ROWS];
    T factors[GROUP_ROWS]; /* sums of exps, then 1 / sums or log(sums) */
} NAME(group);

typedef struct NAME(groups) {
    int64_t n; /* elements of a row */
    int64_t n_together;
    /* Lanes of the last elements of a row behind those that fill whole vectors, or halves of one,
     * of two rows. */
    lanes_of_bits rest;
    NAME(group) of[2]; /* while one is read, the result of the other one is written */
    /* The row of each element of WIDTH rows, from the first one. */
    _Alignas(64) int32_t places[SHORT_ROW * LANES_BYTES / sizeof(T)];
    _Alignas(64) T padded[GROUPS];
    _Alignas(64) T result[GROUPS];
} NAME(groups);

static void NAME(groups_start)(NAME(groups) * g, int64_t n)
{
    const int64_t most = GROUP_ROWS / WIDTH, fit = SHORT_ROW / n;
    g->n = n;
    g->n_together = (fit < most ? fit : most) * WIDTH;
    g->rest = lanes_mask(n % WIDTH * (int64_t)sizeof(T));
    if (n <= WIDTH) {
        const lanes_of_bits half = lanes_mask((n < HALF ? n : n - HALF) * (int64_t)sizeof(T));
        g->rest = lanes_halves(&half, &half);
    }
    for (int64_t i = 0; i < WIDTH; i++)
        for (int64_t j = 0; j < n; j++)
            g->places[i * n + j] = (int32_t)i;
    for (int i = 0; i < 2; i++) /* what is read behind them */
        NAME(lanes_store)(g->of[i].exps + g->n_together * n, SPLAT(0));
}

/* Where n_together rows from `begin` on, and a vector behind them, can be read. */
static const T *NAME(find_group)(NAME(groups) * g, int64_t n_rows, const T *x, int64_t begin)
{
    const int64_t left = (n_rows - begin) * g->n, wanted = g->n_together * g->n;
    if (left >= wanted + WIDTH)
        return x + begin * g->n;
    memset(g->padded, 0, sizeof g->padded);
    memcpy(g->padded, x + begin * g->n, (size_t)(left < wanted ? left : wanted) * sizeof(T));
    return g->padded;
}

/* Half as many elements of each of WIDTH rows: rows[i] has those of rows i and i + HALF. */
static inline void NAME(half_rows)(int64_t n, const T *x, NAME(lanes) * rows)
{
#pragma GCC unroll 8
    for (int i = 0; i < HALF; i++)
        rows[i] = (NAME(lanes))lanes_halves(x + i * n, x + (i + HALF) * n);
}

static inline NAME(lanes) NAME(narrow_maxima)(const NAME(groups) * g, const T *x)
{
    NAME(lanes) rows[LANES_BYTES / sizeof(T)], more[LANES_BYTES / sizeof(T)];
    NAME(half_rows)(g->n, x, rows);
    if (g->n >= HALF)
        NAME(half_rows)(g->n, x + g->n - HALF, more);
#pragma GCC unroll 8
    for (int i = 0; i < HALF; i++)
        if (g->n >= HALF)
            rows[i] = LANES_MAX(more[i], rows[i]);
        else
            rows[i] = NAME(lanes_choose)(g->rest, rows[i], SPLAT(-INFINITY));
    return NAME(lanes_half_maxima)(rows);
}

static inline NAME(lanes) NAME(narrow_sums)(const NAME(groups) * g, const T *x)
{
    NAME(lanes) rows[LANES_BYTES / sizeof(T)], more[LANES_BYTES / sizeof(T)];
    NAME(half_rows)(g->n, x, rows);
    NAME(half_rows)(g->n, g->n >= HALF ? x + HALF : x, more);
#pragma GCC unroll 8
    for (int i = 0; i < HALF; i++) {
        more[i] = NAME(lanes_choose)(g->rest, more[i], SPLAT(0));
        rows[i] = g->n >= HALF ? rows[i] + more[i] : more[i];
    }
    return NAME(lanes_half_sums)(rows);
}

static void NAME(group_maxima)(const NAME(groups) * g, NAME(group) * group)
{
    const int64_t n = g->n;
    NAME(lanes) rows[LANES_BYTES / sizeof(T)];
    for (int64_t begin = 0; begin < g->n_together; begin += WIDTH) {
        const T *row = group->x + begin * n;
        for (int64_t i = 0; i < WIDTH && n > WIDTH; i++, row += n) {
            rows[i] = NAME(lanes_load)(row + n - WIDTH);
            for (int64_t j = 0; j < n - WIDTH; j += WIDTH)
                rows[i] = LANES_MAX(NAME(lanes_load)(row + j), rows[i]);
        }
        NAME(lanes_store)
        (group->maxima + begin, n > WIDTH ? NAME(lanes_maxima)(rows) : NAME(narrow_maxima)(g, row));
    }
}

static void NAME(group_sums)(const NAME(groups) * g, NAME(group) * group)
{
    const int64_t n = g->n, whole = n & -WIDTH;
    NAME(lanes) rows[LANES_BYTES / sizeof(T)];
    for (int64_t begin = 0; begin < g->n_together; begin += WIDTH) {
        const T *row = group->exps + begin * n;
        for (int64_t i = 0; i < WIDTH && n > WIDTH; i++, row += n) {
            rows[i] = NAME(lanes_choose)(g->rest, NAME(lanes_load)(row + whole), SPLAT(0));
            for (int64_t j = 0; j < whole; j += WIDTH)
                rows[i] += NAME(lanes_load)(row + j);
        }
        NAME(lanes_store)
        (group->factors + begin, n > WIDTH ? NAME(lanes_sums)(rows) : NAME(narrow_sums)(g, row));
    }
}

static inline void NAME(group_exp)(const NAME(groups) * g, NAME(group) * group, int64_t row,
                                   int64_t v)
{
    const int64_t at = row * g->n + v * WIDTH;
    const NAME(lanes) most = NAME(lanes_pick)(group->maxima + row, g->places + v * WIDTH);
    NAME(lanes_store)
    (group->exps + at, NAME(lanes_exp)(NAME(lanes_load)(group->x + at) - most));
}

/* exps / sums, or (x - maxima) - log(sums) */
static inline NAME(lanes) NAME(group_apply)(const NAME(groups) * g, const NAME(group) * group,
                                            int64_t row, int64_t v, bool is_log)
{
    const int64_t at = row * g->n + v * WIDTH;
    const int32_t *places = g->places + v * WIDTH;
    const NAME(lanes) factor = NAME(lanes_pick)(group->factors + row, places);
    if (!is_log)
        return NAME(lanes_load)(group->exps + at) * factor;
    return (NAME(lanes_load)(group->x + at) - NAME(lanes_pick)(group->maxima + row, places)) -
           factor;
}

static inline __attribute__((always_inline)) void NAME(softmax_short_rows)(int64_t n_rows,
                                                                           int64_t n, const T *x,
                                                                           T *result, bool is_log,
                                                                           bool is_streamed)
{
    NAME(groups) g;
    NAME(group) *group = &g.of[0], *before = &g.of[1];
    /* WIDTH rows are whole vectors, and those whole lines. */
    const bool is_direct = is_streamed && (uintptr_t)result % LANES_BYTES == 0;
    sink out;
    NAME(groups_start)(&g, n);
    sink_start(&out, result, is_streamed && !is_direct);
    for (int64_t begin = 0; begin < n_rows; begin += g.n_together) {
        group->x = NAME(find_group)(&g, n_rows, x, begin);
        NAME(group_maxima)(&g, group);
        for (int64_t row = 0; row < g.n_together; row += WIDTH) {
            ask_ahead(group->x + row * n, WIDTH * n * (int64_t)sizeof(T));
            if (begin == 0) {
                for (int64_t v = 0; v < n; v++)
                    NAME(group_exp)(&g, group, row, v);
                continue;
            }
            T *to = sink_place(&out);
            for (int64_t v = 0; v < n; v++) {
                NAME(group_exp)(&g, group, row, v);
                const NAME(lanes) y = NAME(group_apply)(&g, before, row, v, is_log);
                if (is_direct)
                    lanes_stream(to + v * WIDTH, (lanes_of_bits)y);
                else
                    NAME(lanes_store)(to + v * WIDTH, y);
            }
            sink_take(&out, (size_t)(WIDTH * n) * sizeof(T));
        }
        NAME(group_sums)(&g, group);
        if (is_log)
            NAME(log_all)(g.n_together, group->factors);
        else
            for (int64_t i = 0; i < g.n_together; i++)
                group->factors[i] = 1 / group->factors[i];
        NAME(group) *const other = before;
        before = group;
        group = other;
    }
    const int64_t left = (n_rows - 1) % g.n_together + 1;
    for (int64_t row = 0; row < left; row += WIDTH) {
        const int64_t n_last = left - row < WIDTH ? left - row : WIDTH;
        for (int64_t v = 0; v < n; v++)
            NAME(lanes_store)
        (g.result + v * WIDTH, NAME(group_apply)(&g, before, row, v, is_log));
        memcpy(sink_place(&out), g.result, (size_t)(n_last * n) * sizeof(T));
        sink_take(&out, (size_t)(n_last * n) * sizeof(T));
    }
    sink_finish(&out);
    if (is_direct)
        stream_finish();
}

/* The largest element of each of WIDTH rows of n <= WIDTH elements, and the sum of e^(x - largest).
 * Rows become columns, n_columns of them, which is n or n + 1 and known to the compiler; they are
 * folded in pairs, so that none waits for all those before it. */
static inline __attribute__((always_inline)) void
NAME(narrow_exp_sums)(int n_columns, int64_t n, const T *x, T *maxima, T *sums)
{
    NAME(lanes) columns[LANES_BYTES / sizeof(T)], more[LANES_BYTES / sizeof(T)];
    NAME(half_rows)(n, x, columns);
    NAME(lanes_half_transpose)(columns);
    if (n_columns > HALF) {
        NAME(half_rows)(n, x + HALF, more);
        NAME(lanes_half_transpose)(more);
    }
#pragma GCC unroll 8
    for (int j = HALF; j < n_columns; j++)
        columns[j] = more[j - HALF];
    if (n < n_columns)
        columns[n_columns - 1] = SPLAT(-INFINITY);
#pragma GCC unroll 16
    for (int j = 0; j < n_columns; j++)
        more[j] = columns[j];
#pragma GCC unroll 4
    for (int s = 1; s < n_columns; s *= 2)
#pragma GCC unroll 8
        for (int j = 0; j + s < n_columns; j += 2 * s)
            more[j] = LANES_MAX(more[j + s], more[j]);
#pragma GCC unroll 16
    for (int j = 0; j < n_columns; j++)
        columns[j] = NAME(lanes_exp)(columns[j] - more[0]);
#pragma GCC unroll 4
    for (int s = 1; s < n_columns; s *= 2)
#pragma GCC unroll 8
        for (int j = 0; j + s < n_columns; j += 2 * s)
            columns[j] += columns[j + s];
    NAME(lanes_store)(maxima, more[0]);
    NAME(lanes_store)(sums, columns[0]);
}

/* The same of n_rows rows. */
static inline __attribute__((always_inline)) void
NAME(exp_sums_of_narrow_rows)(int n_columns, int64_t n_rows, int64_t n, const T *x, T *maxima,
                              T *sums)
{
    T padded[(LANES_BYTES / sizeof(T) + 1) * (LANES_BYTES / sizeof(T))];
    T last[2][LANES_BYTES / sizeof(T)];
    for (int64_t begin = 0; begin < n_rows; begin += WIDTH) {
        const int64_t left = n_rows - begin, n_here = left < WIDTH ? left : WIDTH;
        const T *rows = x + begin * n;
        T *most = maxima + begin, *sum = sums + begin;
        const bool is_near_end = left * n < (n + 1) * WIDTH;
        if (is_near_end) {
            memset(padded, 0, sizeof padded);
            memcpy(padded, rows, (size_t)(n_here * n) * sizeof(T));
            rows = padded;
            most = last[0];
            sum = last[1];
        }
        ask_ahead(rows, n * LANES_BYTES);
        NAME(narrow_exp_sums)(n_columns, n, rows, most, sum);
        if (is_near_end) {
            memcpy(maxima + begin, most, (size_t)n_here * sizeof(T));
            memcpy(sums + begin, sum, (size_t)n_here * sizeof(T));
        }
    }
}

static void NAME(log_sum_narrow_rows)(int64_t n_rows, int64_t n, const T *x, T *maxima, T *logs)
{
#define CASE(c)                                                                                    \
    if (c <= WIDTH && (n + 1) / 2 * 2 == c)                                                        \
        NAME(exp_sums_of_narrow_rows)(c <= WIDTH ? c : WIDTH, n_rows, n, x, maxima, logs);
    CASE(2)
    CASE(4)
    CASE(6)
    CASE(8)
    CASE(10)
    CASE(12)
    CASE(14)
    CASE(16)
#undef CASE
    T last[LANES_BYTES / sizeof(T)];
    const int64_t whole = n_rows & -WIDTH;
    NAME(log_all)(whole, logs);
    if (whole == n_rows)
        return;
    NAME(lanes_store)(last, SPLAT(1));
    memcpy(last, logs + whole, (size_t)(n_rows - whole) * sizeof(T));
    NAME(log_all)(WIDTH, last);
    memcpy(logs + whole, last, (size_t)(n_rows - whole) * sizeof(T));
}

static void NAME(log_sum_short_rows)(int64_t n_rows, int64_t n, const T *x, T *maxima, T *logs)
{
    NAME(groups) g;
    NAME(group) *group = &g.of[0];
    if (n <= WIDTH) {
        NAME(log_sum_narrow_rows)(n_rows, n, x, maxima, logs);
        return;
    }
    NAME(groups_start)(&g, n);
    for (int64_t begin = 0; begin < n_rows; begin += g.n_together) {
        const size_t n_bytes =
            (size_t)(n_rows - begin < g.n_together ? n_rows - begin : g.n_together) * sizeof(T);
        group->x = NAME(find_group)(&g, n_rows, x, begin);
        NAME(group_maxima)(&g, group);
        for (int64_t row = 0; row < g.n_together; row += WIDTH) {
            ask_ahead(group->x + row * n, WIDTH * n * (int64_t)sizeof(T));
            for (int64_t v = 0; v < n; v++)
                NAME(group_exp)(&g, group, row, v);
        }
        NAME(group_sums)(&g, group);
        NAME(log_all)(g.n_together, group->factors);
        memcpy(maxima + begin, group->maxima, n_bytes);
        memcpy(logs + begin, group->factors, n_bytes);
    }
}

#undef GROUPS
#undef HALF
#undef GROUP_ROWS
