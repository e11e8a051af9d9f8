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

static void NAME(log_sum_short_rows)(int64_t n_rows, int64_t n, const T *x, T *maxima, T *logs)
{
    NAME(groups) g;
    NAME(group) *group = &g.of[0];
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
