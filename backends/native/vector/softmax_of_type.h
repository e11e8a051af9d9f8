/* The softmax family of vector.h for one type: see softmax.c, which includes this file with T, TAG,
 * FN and LANES_MAX defined. */
#include "backends/native/vector/exp_sums_of_type.h"

/* Exponentials of a row that are kept until its sum is known. */
#define TILE (16384 / (int64_t)sizeof(T))
/* Elements of a row that are worked on together, and go to the result together. */
#define PIECE (EXP_BLOCK * WIDTH)

/* In place; n is a multiple of WIDTH. */
static void NAME(log_all)(int64_t n, T *sums)
{
    for (int64_t i = 0; i < n; i += WIDTH)
        NAME(lanes_store)(sums + i, NAME(lanes_log_sum)(NAME(lanes_load)(sums + i)));
}

static T NAME(log_one)(T x)
{
    T several[LANES_BYTES / sizeof(T)];
    NAME(lanes_store)(several, NAME(lanes_log_sum)(SPLAT(x)));
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

#define SHORT_ROW 64
#include "backends/native/vector/softmax_short_of_type.h"

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
        const T sum = NAME(lanes_total)((sums[0] + sums[1]) + (sums[2] + sums[3]));
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

#include "backends/native/vector/label_losses_of_type.h"

/* ---- columns, in blocks, EXP_BLOCK classes at a time: while the exponentials of one block are
 * added up, the result of the block before it is written ---- */

#define STRIP (EBB_SOFTMAX_COLUMNS * sizeof(T) / LANES_BYTES)
/* Classes whose exponentials are kept; with more of them they are computed again. */
#define KEPT (32768 / sizeof(T) / EBB_SOFTMAX_COLUMNS)

/* A block of columns. */
typedef struct NAME(strip) {
    const T *x;
    int64_t first; /* where it begins in the tensor */
    int64_t n_columns;
    bool is_kept;
    NAME(exp_sums) all[STRIP], chunk[STRIP];
    NAME(lanes) factors[STRIP];
    NAME(lanes) shifts[KEPT / EXP_BLOCK][STRIP]; /* what exps are less */
    _Alignas(64) T exps[KEPT][EBB_SOFTMAX_COLUMNS];
} NAME(strip);

static void NAME(strip_start)(NAME(strip) * s, const ebb_softmax_columns *c, int64_t block,
                              const T *x, bool is_log)
{
    const int64_t column = block % c->n_blocks * EBB_SOFTMAX_COLUMNS, left = c->n_inner - column;
    s->first = block / c->n_blocks * c->n_classes * c->n_inner + column;
    s->n_columns = left < EBB_SOFTMAX_COLUMNS ? left : EBB_SOFTMAX_COLUMNS;
    s->x = x + s->first;
    s->is_kept = !is_log && c->n_classes <= (int64_t)KEPT;
    for (int64_t j = 0; j * WIDTH < s->n_columns; j++)
        s->all[j] = s->chunk[j] = NAME(exp_sums_start)();
}

/* Adds n_rows <= EXP_BLOCK rows from `row` on; asks for as many at `next`. */
static inline void NAME(strip_add)(NAME(strip) * s, int64_t row, int64_t n_rows, int64_t stride,
                                   const T *next)
{
    const T *x = s->x + row * stride;
    for (int64_t j = 0; j < s->n_columns; j += WIDTH) {
        NAME(exp_sums) *const sums = &s->chunk[j / WIDTH];
        NAME(lanes) v[EXP_BLOCK];
#pragma GCC unroll 8
        for (int i = 0; i < EXP_BLOCK; i++)
            __builtin_prefetch(next + i * stride + j, 0, 3);
        NAME(exp_rows_block)(n_rows, stride, s->n_columns - j, x + j, v);
        NAME(exp_sums_add)(sums, v);
        if (!s->is_kept)
            continue;
        s->shifts[row / EXP_BLOCK][j / WIDTH] = NAME(shift)(sums->largest);
#pragma GCC unroll 8
        for (int i = 0; i < EXP_BLOCK; i++)
            NAME(lanes_store)(s->exps[row + i] + j, v[i]);
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

/* The results of n_rows <= EXP_BLOCK rows from `first` on. */
static inline void NAME(strip_write)(const NAME(strip) * s, int64_t first, int64_t n_rows,
                                     int64_t stride, T *result, bool is_log, bool is_streamed)
{
    _Alignas(64) T piece[EBB_SOFTMAX_COLUMNS];
    NAME(lanes) factors[STRIP];
    for (int64_t j = 0; j * WIDTH < s->n_columns; j++) {
        factors[j] = s->factors[j];
        if (s->is_kept)
            factors[j] *=
                NAME(lanes_exp)(s->shifts[first / EXP_BLOCK][j] - NAME(shift)(s->all[j].largest));
    }
    for (int64_t row = first; row < first + n_rows; row++) {
        T *const to = result + s->first + row * stride;
        for (int64_t j = 0; j < s->n_columns; j += WIDTH) {
            const int64_t n = s->n_columns - j;
            const NAME(lanes) factor = factors[j / WIDTH];
            const NAME(lanes) shift_before = s->all[j / WIDTH].largest;
            const T *from = s->x + row * stride + j;
            const NAME(lanes) y = s->is_kept ? TIMES_FACTOR(NAME(lanes_load)(s->exps[row] + j))
                                  : is_log   ? LESS_LOG(NAME(part_of)(from, n))
                                             : EXP_TIMES_FACTOR(NAME(part_of)(from, n));
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
}

static inline __attribute__((always_inline)) void NAME(columns_of)(const ebb_softmax_columns *c,
                                                                   int64_t begin, int64_t end,
                                                                   const T *x, T *result,
                                                                   bool is_log)
{
    const int64_t stride = c->n_inner;
    NAME(strip) strips[3], *before = &strips[0], *strip = &strips[1], *next = &strips[2];
    if (begin < end)
        NAME(strip_start)(next, c, begin, x, is_log);
    for (int64_t block = begin; block <= end; block++) {
        NAME(strip) *const free = before;
        before = strip;
        strip = next;
        next = free;
        if (block + 1 < end)
            NAME(strip_start)(next, c, block + 1, x, is_log);
        for (int64_t i = 0; i < c->n_classes; i += EXP_BLOCK) {
            const int64_t left = c->n_classes - i, n = left < EXP_BLOCK ? left : EXP_BLOCK;
            if (block < end) {
                const bool is_last = left <= EXP_BLOCK && block + 1 < end;
                NAME(strip_add)
                (strip, i, n, stride, is_last ? next->x : strip->x + (i + n) * stride);
                if (i % EXP_CHUNK == EXP_CHUNK - EXP_BLOCK)
                    NAME(strip_join)(strip);
            }
            if (block > begin)
                NAME(strip_write)(before, i, n, stride, result, is_log, c->is_streamed);
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
    .count_wrong_labels = count_wrong_labels,
    .label_losses = NAME(label_losses),
    .columns = NAME(softmax_columns),
    .log_columns = NAME(log_softmax_columns),
};

#undef WIDTH
#undef STRIP
#undef KEPT
#undef SPLAT
#undef EXP_BLOCK
#undef EXP_CHUNK
#undef SHORT_ROW
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
