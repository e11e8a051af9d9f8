/* The softmax family of vector.h for one type: see softmax.c, which includes this file with T, TAG,
 * FN and LANES_MAX defined. */
#include "backends/native/vector/exp_sums_of_type.h"

/* Exponentials of a row that are kept until its sum is known. */
#define TILE (16384 / (int64_t)sizeof(T))
/* Elements of a row that are worked on together, and go to the result together. */
#define PIECE (EXP_BLOCK * WIDTH)

/* In place; n is a multiple of WIDTH. Not where n is known: compilers then unroll the loop instead
 * of calling a vector version. */
static __attribute__((noinline)) void NAME(log_all)(int64_t n, T *x)
{
    INDEPENDENT
    for (int64_t i = 0; i < (n & -WIDTH); i++)
        x[i] = FN(log)(x[i]);
}

static T NAME(log_one)(T x)
{
    T several[LANES_BYTES / sizeof(T)];
    NAME(lanes_store)(several, SPLAT(x));
    NAME(log_all)(WIDTH, several);
    return several[0];
}

static T NAME(largest_lane)(NAME(lanes) x)
{
    T several[LANES_BYTES / sizeof(T)];
    NAME(lanes_store)(several, x);
    for (int64_t half = WIDTH / 2; half >= 1; half /= 2)
        for (int64_t j = 0; j < half; j++)
            several[j] = several[half + j] > several[j] ? several[half + j] : several[j];
    return several[0];
}

static T NAME(add_lanes)(NAME(lanes) x)
{
    T several[LANES_BYTES / sizeof(T)];
    NAME(lanes_store)(several, x);
    for (int64_t half = WIDTH / 2; half >= 1; half /= 2)
        for (int64_t j = 0; j < half; j++)
            several[j] += several[half + j];
    return several[0];
}

/* ---- short rows: WIDTH side by side, and several such groups together, so that what one pass has
 * written has left the store buffer when the next one reads it ---- */

#define SHORT_ROW 64
/* Elements of all groups, and what is read behind them. */
#define GROUPS (SHORT_ROW * LANES_BYTES / sizeof(T) + LANES_BYTES / sizeof(T))
/* rows of all groups; a multiple of WIDTH */
#define GROUP_ROWS 64

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

/* rows[i] = row i of n <= WIDTH elements, and `rest` behind them */
static inline void NAME(narrow_rows)(int64_t n, const T *x, NAME(lanes) rest, NAME(lanes) * rows)
{
    const lanes_of_bits mask = lanes_mask(n * (int64_t)sizeof(T));
#pragma GCC unroll 16
    for (int i = 0; i < WIDTH; i++)
        rows[i] = NAME(lanes_choose)(mask, NAME(lanes_load)(x + i * n), rest);
}

static void NAME(group_maxima)(const NAME(groups) * g, NAME(group) * group)
{
    const int64_t n = g->n;
    NAME(lanes) rows[LANES_BYTES / sizeof(T)];
    for (int64_t begin = 0; begin < g->n_together; begin += WIDTH) {
        const T *row = group->x + begin * n;
        if (n <= WIDTH)
            NAME(narrow_rows)(n, row, SPLAT(-INFINITY), rows);
        for (int64_t i = 0; i < WIDTH && n > WIDTH; i++, row += n) {
            rows[i] = NAME(lanes_load)(row + n - WIDTH);
            for (int64_t j = 0; j < n - WIDTH; j += WIDTH)
                rows[i] = LANES_MAX(NAME(lanes_load)(row + j), rows[i]);
        }
        NAME(lanes_store)(group->maxima + begin, NAME(lanes_maxima)(rows));
    }
}

static void NAME(group_sums)(const NAME(groups) * g, NAME(group) * group)
{
    const int64_t n = g->n, whole = n & -WIDTH;
    const lanes_of_bits rest = lanes_mask((n - whole) * (int64_t)sizeof(T));
    NAME(lanes) rows[LANES_BYTES / sizeof(T)];
    for (int64_t begin = 0; begin < g->n_together; begin += WIDTH) {
        const T *row = group->exps + begin * n;
        if (n <= WIDTH)
            NAME(narrow_rows)(n, row, SPLAT(0), rows);
        for (int64_t i = 0; i < WIDTH && n > WIDTH; i++, row += n) {
            rows[i] = NAME(lanes_choose)(rest, NAME(lanes_load)(row + whole), SPLAT(0));
            for (int64_t j = 0; j < whole; j += WIDTH)
                rows[i] += NAME(lanes_load)(row + j);
        }
        NAME(lanes_store)(group->factors + begin, NAME(lanes_sums)(rows));
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
static inline void NAME(group_apply)(const NAME(groups) * g, const NAME(group) * group, int64_t row,
                                     int64_t v, bool is_log, T *to)
{
    const int64_t at = row * g->n + v * WIDTH;
    const int32_t *places = g->places + v * WIDTH;
    const NAME(lanes) factor = NAME(lanes_pick)(group->factors + row, places);
    if (is_log) {
        const NAME(lanes) most = NAME(lanes_pick)(group->maxima + row, places);
        NAME(lanes_store)(to, (NAME(lanes_load)(group->x + at) - most) - factor);
    } else {
        NAME(lanes_store)(to, NAME(lanes_load)(group->exps + at) * factor);
    }
}

static inline __attribute__((always_inline)) void NAME(softmax_short_rows)(int64_t n_rows,
                                                                           int64_t n, const T *x,
                                                                           T *result, bool is_log,
                                                                           bool is_streamed)
{
    NAME(groups) g;
    NAME(group) *group = &g.of[0], *before = &g.of[1];
    sink out;
    NAME(groups_start)(&g, n);
    sink_start(&out, result, is_streamed);
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
                NAME(group_apply)(&g, before, row, v, is_log, to + v * WIDTH);
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
            NAME(group_apply)(&g, before, row, v, is_log, g.result + v * WIDTH);
        memcpy(sink_place(&out), g.result, (size_t)(n_last * n) * sizeof(T));
        sink_take(&out, (size_t)(n_last * n) * sizeof(T));
    }
    sink_finish(&out);
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

/* ---- rows: what waits for memory and what computes take turns by pieces ---- */

static NAME(exp_sums) NAME(exp_sums_row)(int64_t n, const T *x)
{
    const int64_t chunk = EXP_CHUNK * WIDTH;
    NAME(exp_sums) s = NAME(exp_sums_chunk)(n < chunk ? n : chunk, x);
    for (int64_t i = chunk; i < n; i += chunk) {
        const NAME(exp_sums) more = NAME(exp_sums_chunk)(n - i < chunk ? n - i : chunk, x + i);
        NAME(exp_sums_join)(&s, &more);
    }
    return s;
}

/* Of each of WIDTH rows, of which the first n_rows are there: the largest element, and the sum of
 * e^(x - largest). */
static void NAME(exp_sums_finish)(int64_t n_rows, const NAME(exp_sums) * rows, T *largest, T *sums)
{
    NAME(lanes) lanes[LANES_BYTES / sizeof(T)];
    T shifts[LANES_BYTES / sizeof(T)];
    for (int64_t i = 0; i < WIDTH; i++)
        lanes[i] = rows[i < n_rows ? i : 0].largest;
    const NAME(lanes) most = NAME(lanes_maxima)(lanes);
    NAME(lanes_store)(largest, most);
    NAME(lanes_store)(shifts, NAME(shift)(most));
    for (int64_t i = 0; i < WIDTH; i++) {
        const NAME(exp_sums) *row = &rows[i < n_rows ? i : 0];
        lanes[i] = row->sum * NAME(lanes_exp)(NAME(shift)(row->largest) - SPLAT(shifts[i]));
    }
    NAME(lanes_store)(sums, NAME(lanes_sums)(lanes));
}

/* The larger ones of `most` and of a piece of n elements, 4 vectors. */
static inline void NAME(piece_largest)(int64_t n, const T *x, NAME(lanes) * most)
{
    ask_ahead(x, n * (int64_t)sizeof(T));
    if (n == PIECE) {
#pragma GCC unroll 8
        for (int i = 0; i < EXP_BLOCK; i++)
            most[i % 4] = LANES_MAX(NAME(lanes_load)(x + i * WIDTH), most[i % 4]);
        return;
    }
    for (int64_t j = 0; j < n; j += WIDTH)
        most[0] = LANES_MAX(NAME(part_of)(x + j, n - j), most[0]);
}

/* tile = e^(x - shift), also added to 4 vectors of sums. */
static inline void NAME(piece_exp)(int64_t n, const T *x, NAME(lanes) shift, T *tile,
                                   NAME(lanes) * sums)
{
    if (n == PIECE) {
#pragma GCC unroll 8
        for (int i = 0; i < EXP_BLOCK; i++) {
            const NAME(lanes) e = NAME(lanes_exp)(NAME(lanes_load)(x + i * WIDTH) - shift);
            NAME(lanes_store)(tile + i * WIDTH, e);
            sums[i % 4] += e;
        }
        return;
    }
    for (int64_t j = 0; j < n; j += WIDTH) {
        const NAME(lanes) e = NAME(lanes_exp)(NAME(part_of)(x + j, n - j) - shift);
        NAME(lanes_store)(tile + j, e);
        sums[0] += e;
    }
}

/* to = APPLY(x), of vectors x */
#define APPLY_PIECE(n, x, to, APPLY)                                                               \
    do {                                                                                           \
        const int64_t whole = (n) & -WIDTH;                                                        \
        for (int64_t j = 0; j < whole; j += WIDTH)                                                 \
            NAME(lanes_store)((to) + j, APPLY(NAME(lanes_load)((x) + j)));                         \
        if (whole < (n))                                                                           \
            NAME(lanes_put_part)                                                                   \
        ((to) + whole, (n)-whole, APPLY(NAME(part_of)((x) + whole, (n)-whole)));                   \
    } while (0)
#define TIMES_FACTOR(x) ((x)*factor)
#define LESS_LOG(x) (((x)-shift_before) - factor)
#define EXP_TIMES_FACTOR(x) (NAME(lanes_exp)((x)-shift_before) * factor)

/* Rows of at most TILE elements: while the exponentials of one are taken, the result of the one
 * before it is written, and the largest element of the next one is looked for. */
static inline __attribute__((always_inline)) void
NAME(rows_by_tiles)(int64_t n_rows, int64_t n, const T *x, T *result, bool is_log, bool is_streamed)
{
    T tiles[2][16384 / sizeof(T) + 64 / sizeof(T)];
    NAME(lanes) shift = SPLAT(-INFINITY), shift_before = shift, factor = shift;
    sink out;
    sink_start(&out, result, is_streamed);
    for (int64_t i = -1; i <= n_rows; i++) {
        const T *row = x + (i < 0 ? 0 : i * n), *next = x + (i + 1) * n;
        T *tile = tiles[i & 1], *tile_before = tiles[~i & 1];
        NAME(lanes) most[4], sums[4];
        for (int j = 0; j < 4; j++) {
            most[j] = SPLAT(-INFINITY);
            sums[j] = SPLAT(0);
        }
        for (int64_t done = 0; done < n; done += PIECE) {
            const int64_t piece = n - done < PIECE ? n - done : PIECE;
            if (i + 1 < n_rows)
                NAME(piece_largest)(piece, next + done, most);
            if (i >= 0 && i < n_rows)
                NAME(piece_exp)(piece, row + done, shift, tile + done, sums);
            if (i <= 0)
                continue;
            T *to = sink_place(&out);
            if (is_log)
                APPLY_PIECE(piece, row - n + done, to, LESS_LOG);
            else
                APPLY_PIECE(piece, tile_before + done, to, TIMES_FACTOR);
            sink_take(&out, (size_t)piece * sizeof(T));
        }
        const T sum = NAME(add_lanes)((sums[0] + sums[1]) + (sums[2] + sums[3]));
        shift_before = shift;
        factor = SPLAT(is_log ? NAME(log_one)(sum) : 1 / sum);
        shift = SPLAT(NAME(largest_lane)(
            LANES_MAX(LANES_MAX(most[0], most[1]), LANES_MAX(most[2], most[3]))));
    }
    sink_finish(&out);
}

/* Longer rows: while the exponentials of one are added up, the result of the one before it is
 * written, out of its second exponentials. */
static inline __attribute__((always_inline)) void
NAME(long_rows)(int64_t n_rows, int64_t n, const T *x, T *result, bool is_log, bool is_streamed)
{
    T largest[LANES_BYTES / sizeof(T)], sums[LANES_BYTES / sizeof(T)];
    NAME(lanes) shift_before = SPLAT(0), factor = SPLAT(0), v[EXP_BLOCK];
    sink out;
    sink_start(&out, result, is_streamed);
    for (int64_t i = 0; i <= n_rows; i++) {
        const T *row = x + i * n;
        NAME(exp_sums) all = NAME(exp_sums_start)(), chunk = all;
        for (int64_t done = 0; done < n; done += PIECE) {
            const int64_t piece = n - done < PIECE ? n - done : PIECE;
            if (i < n_rows) {
                ask_ahead(row + done, EXP_BLOCK * LANES_BYTES);
                NAME(exp_block)(piece, row + done, v);
                NAME(exp_sums_add)(&chunk, v);
                if (done % (EXP_CHUNK * WIDTH) == EXP_CHUNK * WIDTH - PIECE) {
                    NAME(exp_sums_join)(&all, &chunk);
                    chunk = NAME(exp_sums_start)();
                }
            }
            if (i == 0)
                continue;
            T *to = sink_place(&out);
            if (is_log)
                APPLY_PIECE(piece, row - n + done, to, LESS_LOG);
            else
                APPLY_PIECE(piece, row - n + done, to, EXP_TIMES_FACTOR);
            sink_take(&out, (size_t)piece * sizeof(T));
        }
        NAME(exp_sums_join)(&all, &chunk);
        NAME(exp_sums_finish)(1, &all, largest, sums);
        shift_before = SPLAT(largest[0]);
        factor = SPLAT(is_log ? NAME(log_one)(sums[0]) : 1 / sums[0]);
    }
    sink_finish(&out);
}

static void NAME(softmax_rows)(int64_t n_rows, int64_t n_classes, const void *x, void *result,
                               bool is_streamed)
{
    if (n_classes <= SHORT_ROW)
        NAME(softmax_short_rows)(n_rows, n_classes, x, result, false, is_streamed);
    else if (n_classes <= TILE)
        NAME(rows_by_tiles)(n_rows, n_classes, x, result, false, is_streamed);
    else
        NAME(long_rows)(n_rows, n_classes, x, result, false, is_streamed);
}

static void NAME(log_softmax_rows)(int64_t n_rows, int64_t n_classes, const void *x, void *result,
                                   bool is_streamed)
{
    if (n_classes <= SHORT_ROW)
        NAME(softmax_short_rows)(n_rows, n_classes, x, result, true, is_streamed);
    else if (n_classes <= TILE)
        NAME(rows_by_tiles)(n_rows, n_classes, x, result, true, is_streamed);
    else
        NAME(long_rows)(n_rows, n_classes, x, result, true, is_streamed);
}

static void NAME(log_sum_rows)(int64_t n_rows, int64_t n_classes, const void *data, void *maxima,
                               void *result)
{
    const T *x = data;
    T *r = result, largest[LANES_BYTES / sizeof(T)], logs[LANES_BYTES / sizeof(T)];
    NAME(exp_sums) rows[LANES_BYTES / sizeof(T)];
    if (n_classes <= SHORT_ROW) {
        NAME(log_sum_short_rows)(n_rows, n_classes, x, maxima, r);
        return;
    }
    for (int64_t begin = 0; begin < n_rows; begin += WIDTH) {
        const int64_t n = n_rows - begin < WIDTH ? n_rows - begin : WIDTH;
        for (int64_t i = 0; i < n; i++)
            rows[i] = NAME(exp_sums_row)(n_classes, x + (begin + i) * n_classes);
        NAME(exp_sums_finish)(n, rows, largest, logs);
        NAME(log_all)(WIDTH, logs);
        memcpy((T *)maxima + begin, largest, (size_t)n * sizeof(T));
        memcpy(r + begin, logs, (size_t)n * sizeof(T));
    }
}

/* ---- columns, in blocks, EXP_BLOCK classes at a time: while the exponentials of one block are
 * added up, the result of the block before it is written ---- */

#define STRIP (EBB_SOFTMAX_COLUMNS * sizeof(T) / LANES_BYTES)

/* A block of columns. */
typedef struct NAME(strip) {
    const T *x;
    int64_t first; /* where it begins in the tensor */
    int64_t n_columns;
    NAME(exp_sums) all[STRIP], chunk[STRIP];
    NAME(lanes) factors[STRIP];
} NAME(strip);

static void NAME(strip_start)(NAME(strip) * s, const ebb_softmax_columns *c, int64_t block,
                              const T *x)
{
    const int64_t column = block % c->n_blocks * EBB_SOFTMAX_COLUMNS, left = c->n_inner - column;
    s->first = block / c->n_blocks * c->n_classes * c->n_inner + column;
    s->n_columns = left < EBB_SOFTMAX_COLUMNS ? left : EBB_SOFTMAX_COLUMNS;
    s->x = x + s->first;
    for (int64_t j = 0; j * WIDTH < s->n_columns; j++)
        s->all[j] = s->chunk[j] = NAME(exp_sums_start)();
}

/* Adds n_rows <= EXP_BLOCK rows at x; asks for as many at `next`. */
static inline void NAME(strip_add)(NAME(strip) * s, int64_t n_rows, int64_t stride, const T *x,
                                   const T *next)
{
    for (int64_t j = 0; j < s->n_columns; j += WIDTH) {
        NAME(lanes) v[EXP_BLOCK];
#pragma GCC unroll 8
        for (int i = 0; i < EXP_BLOCK; i++)
            __builtin_prefetch(next + i * stride + j, 0, 3);
        NAME(exp_rows_block)(n_rows, stride, s->n_columns - j, x + j, v);
        NAME(exp_sums_add)(&s->chunk[j / WIDTH], v);
    }
}

static void NAME(strip_join)(NAME(strip) * s)
{
    for (int64_t j = 0; j * WIDTH < s->n_columns; j++) {
        NAME(exp_sums_join)(&s->all[j], &s->chunk[j]);
        s->chunk[j] = NAME(exp_sums_start)();
    }
}

/* Where -inf and NaN are all that there is, the result is NaN. */
static void NAME(strip_finish)(NAME(strip) * s, bool is_log)
{
    T sums[EBB_SOFTMAX_COLUMNS];
    NAME(strip_join)(s);
    for (int64_t j = 0; j * WIDTH < s->n_columns; j++)
        NAME(lanes_store)(sums + j * WIDTH, is_log ? s->all[j].sum : SPLAT(1) / s->all[j].sum);
    if (is_log)
        NAME(log_all)((s->n_columns + WIDTH - 1) & -WIDTH, sums);
    for (int64_t j = 0; j * WIDTH < s->n_columns; j++)
        s->factors[j] = NAME(lanes_load)(sums + j * WIDTH);
}

static inline void NAME(strip_write)(const NAME(strip) * s, int64_t row, int64_t stride, T *result,
                                     bool is_log, bool is_streamed)
{
    _Alignas(64) T piece[EBB_SOFTMAX_COLUMNS];
    T *const to = result + s->first + row * stride;
    for (int64_t j = 0; j < s->n_columns; j += WIDTH) {
        const int64_t n = s->n_columns - j;
        const NAME(lanes) shift_before = s->all[j / WIDTH].largest, factor = s->factors[j / WIDTH];
        const NAME(lanes) x = NAME(part_of)(s->x + row * stride + j, n);
        const NAME(lanes) y = is_log ? LESS_LOG(x) : EXP_TIMES_FACTOR(x);
        if (is_streamed)
            NAME(lanes_store)(piece + j, y);
        else if (n >= WIDTH)
            NAME(lanes_store)(to + j, y);
        else
            NAME(lanes_put_part)(to + j, n, y);
    }
    if (is_streamed)
        stream_bytes(to, piece, (size_t)s->n_columns * sizeof(T));
}

static inline __attribute__((always_inline)) void NAME(columns_of)(const ebb_softmax_columns *c,
                                                                   int64_t begin, int64_t end,
                                                                   const T *x, T *result,
                                                                   bool is_log)
{
    const int64_t stride = c->n_inner;
    NAME(strip) strips[3], *before = &strips[0], *strip = &strips[1], *next = &strips[2];
    if (begin < end)
        NAME(strip_start)(next, c, begin, x);
    for (int64_t block = begin; block <= end; block++) {
        NAME(strip) *const free = before;
        before = strip;
        strip = next;
        next = free;
        if (block + 1 < end)
            NAME(strip_start)(next, c, block + 1, x);
        for (int64_t i = 0; i < c->n_classes; i += EXP_BLOCK) {
            const int64_t left = c->n_classes - i, n = left < EXP_BLOCK ? left : EXP_BLOCK;
            const T *row = block < end ? strip->x + i * stride : x;
            if (block < end) {
                const bool is_last = left <= EXP_BLOCK && block + 1 < end;
                NAME(strip_add)(strip, n, stride, row, is_last ? next->x : row + n * stride);
                if (i % EXP_CHUNK == EXP_CHUNK - EXP_BLOCK)
                    NAME(strip_join)(strip);
            }
            for (int64_t k = i; k < i + n && block > begin; k++)
                NAME(strip_write)(before, k, stride, result, is_log, c->is_streamed);
        }
        if (block < end)
            NAME(strip_finish)(strip, is_log);
    }
    if (c->is_streamed)
        stream_finish();
}

static void NAME(softmax_columns)(const ebb_softmax_columns *c, int64_t begin, int64_t end,
                                  const void *x, void *result)
{
    NAME(columns_of)(c, begin, end, x, result, false);
}

static void NAME(log_softmax_columns)(const ebb_softmax_columns *c, int64_t begin, int64_t end,
                                      const void *x, void *result)
{
    NAME(columns_of)(c, begin, end, x, result, true);
}

const ebb_softmax_table ISA_NAME(NAME(ebb_softmax)) = {
    .rows = NAME(softmax_rows),
    .log_rows = NAME(log_softmax_rows),
    .log_sum_rows = NAME(log_sum_rows),
    .columns = NAME(softmax_columns),
    .log_columns = NAME(log_softmax_columns),
};

#undef WIDTH
#undef STRIP
#undef SPLAT
#undef EXP_BLOCK
#undef EXP_CHUNK
#undef SHORT_ROW
#undef GROUPS
#undef GROUP_ROWS
#undef APPLY_PIECE
#undef TIMES_FACTOR
#undef LESS_LOG
#undef EXP_TIMES_FACTOR
#undef LANES_MAX
#undef TILE
#undef PIECE
#undef T
#undef TAG
#undef FN
