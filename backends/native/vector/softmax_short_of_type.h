/* softmax and its like over rows of at most SHORT_ROW elements: see softmax_of_type.h, which
 * includes this file. WIDTH rows, a block, are taken side by side: n vectors of rows of n elements.
 * Exponentials wait until LAG more vectors have been written, then they are added up. They are read
 * in other parts than they were written in, which would have to wait until they have left the store
 * buffer, behind all that goes past the caches. */

#define LAG 64
/* Elements of those that wait, and of a block. */
#define WAITING ((LAG + 3 * SHORT_ROW) * LANES_BYTES / sizeof(T))
#define BLOCK (SHORT_ROW * LANES_BYTES / sizeof(T))
#define HALF (WIDTH / 2)

typedef struct NAME(blocks) {
    const T *x;
    int64_t n_rows, n; /* n: elements of a row */
    int64_t n_blocks;
    int64_t delay; /* blocks from the one that is read to the one that is written */
    /* Lanes of the last elements of a row behind those that fill whole vectors, or halves of one,
     * of two rows. */
    lanes_of_bits rest;
    /* The row of each element of a block. */
    _Alignas(64) int32_t places[BLOCK];
    _Alignas(64) T padded[BLOCK + LANES_BYTES / sizeof(T)];
    _Alignas(64) T exps[WAITING + LANES_BYTES / sizeof(T)];
    _Alignas(64) T less[WAITING]; /* elements less the largest one of their rows */
    _Alignas(64) T result[BLOCK];
} NAME(blocks);

static void NAME(blocks_start)(NAME(blocks) * b, int64_t n_rows, int64_t n, const T *x)
{
    const int64_t wanted = (LAG + n - 1) / n + 1, n_blocks = (n_rows + WIDTH - 1) / WIDTH;
    b->x = x;
    b->n_rows = n_rows;
    b->n = n;
    b->n_blocks = n_blocks;
    b->delay = wanted < n_blocks ? wanted : n_blocks > 2 ? n_blocks : 2;
    b->rest = lanes_mask(n % WIDTH * (int64_t)sizeof(T));
    if (n <= WIDTH) {
        const lanes_of_bits half = lanes_mask((n < HALF ? n : n - HALF) * (int64_t)sizeof(T));
        b->rest = lanes_halves(&half, &half);
    }
    for (int64_t i = 0; i < WIDTH; i++)
        for (int64_t j = 0; j < n; j++)
            b->places[i * n + j] = (int32_t)i;
    /* what is read behind the last ones */
    NAME(lanes_store)(b->exps + (b->delay + 1) * n * WIDTH, SPLAT(0));
}

/* Where a block, and a vector behind it, can be read. */
static inline const T *NAME(find_block)(NAME(blocks) * b, int64_t i)
{
    const int64_t left = (b->n_rows - i * WIDTH) * b->n, wanted = b->n * WIDTH;
    if (left >= wanted + WIDTH)
        return b->x + i * wanted;
    memset(b->padded, 0, sizeof b->padded);
    memcpy(b->padded, b->x + i * wanted, (size_t)(left < wanted ? left : wanted) * sizeof(T));
    return b->padded;
}

/* Half as many elements of each of WIDTH rows: rows[i] has those of rows i and i + HALF. */
static inline void NAME(half_rows)(int64_t n, const T *x, NAME(lanes) * rows)
{
#pragma GCC unroll 8
    for (int i = 0; i < HALF; i++)
        rows[i] = (NAME(lanes))lanes_halves(x + i * n, x + (i + HALF) * n);
}

static inline NAME(lanes) NAME(narrow_maxima)(const NAME(blocks) * b, const T *x)
{
    NAME(lanes) rows[LANES_BYTES / sizeof(T)], more[LANES_BYTES / sizeof(T)];
    NAME(half_rows)(b->n, x, rows);
    if (b->n >= HALF)
        NAME(half_rows)(b->n, x + b->n - HALF, more);
#pragma GCC unroll 8
    for (int i = 0; i < HALF; i++)
        if (b->n >= HALF)
            rows[i] = LANES_MAX(more[i], rows[i]);
        else
            rows[i] = NAME(lanes_choose)(b->rest, rows[i], SPLAT(-INFINITY));
    return NAME(lanes_half_maxima)(rows);
}

static inline NAME(lanes) NAME(narrow_sums)(const NAME(blocks) * b, const T *x)
{
    NAME(lanes) rows[LANES_BYTES / sizeof(T)], more[LANES_BYTES / sizeof(T)];
    NAME(half_rows)(b->n, x, rows);
    NAME(half_rows)(b->n, b->n >= HALF ? x + HALF : x, more);
#pragma GCC unroll 8
    for (int i = 0; i < HALF; i++) {
        more[i] = NAME(lanes_choose)(b->rest, more[i], SPLAT(0));
        rows[i] = b->n >= HALF ? rows[i] + more[i] : more[i];
    }
    return NAME(lanes_half_sums)(rows);
}

static inline NAME(lanes) NAME(block_maxima)(const NAME(blocks) * b, const T *x)
{
    NAME(lanes) rows[LANES_BYTES / sizeof(T)];
    if (b->n <= WIDTH)
        return NAME(narrow_maxima)(b, x);
    for (int64_t i = 0; i < WIDTH; i++, x += b->n) {
        rows[i] = NAME(lanes_load)(x + b->n - WIDTH);
        for (int64_t j = 0; j < b->n - WIDTH; j += WIDTH)
            rows[i] = LANES_MAX(NAME(lanes_load)(x + j), rows[i]);
    }
    return NAME(lanes_maxima)(rows);
}

static inline NAME(lanes) NAME(block_sums)(const NAME(blocks) * b, const T *x)
{
    const int64_t whole = b->n & -WIDTH;
    NAME(lanes) rows[LANES_BYTES / sizeof(T)];
    if (b->n <= WIDTH)
        return NAME(narrow_sums)(b, x);
    for (int64_t i = 0; i < WIDTH; i++, x += b->n) {
        rows[i] = NAME(lanes_choose)(b->rest, NAME(lanes_load)(x + whole), SPLAT(0));
        for (int64_t j = 0; j < whole; j += WIDTH)
            rows[i] += NAME(lanes_load)(x + j);
    }
    return NAME(lanes_sums)(rows);
}

/* 1 / sums, or log(sums) */
static inline NAME(lanes) NAME(block_factors)(NAME(lanes) sums, bool is_log)
{
    return is_log ? NAME(lanes_log_sum)(sums) : SPLAT(1) / sums;
}

/* Where block i is among those that wait. */
static inline int64_t NAME(block_slot)(const NAME(blocks) * b, int64_t i)
{
    return (int64_t)((uint32_t)i % (uint32_t)(b->delay + 1)) * b->n * WIDTH;
}

/* The exponentials of block i are taken; and, or, the result of the block that is b->delay before
 * it goes to `to`: exps * factors, or less - factors. */
static inline __attribute__((always_inline)) void
NAME(block_step)(NAME(blocks) * b, int64_t i, bool reads, const T *x, NAME(lanes) most, bool writes,
                 NAME(lanes) factors, bool is_log, T *to, bool is_direct)
{
    const int64_t size = b->n * WIDTH, read = NAME(block_slot)(b, i);
    const int64_t written = NAME(block_slot)(b, i + 1);
    for (int64_t j = 0; j < size; j += WIDTH) {
        if (reads) {
            const NAME(lanes) less =
                NAME(lanes_load)(x + j) - NAME(lanes_pick)(most, b->places + j);
            NAME(lanes_store)(b->exps + read + j, NAME(lanes_exp)(less));
            if (is_log)
                NAME(lanes_store)(b->less + read + j, less);
        }
        if (writes) {
            const NAME(lanes) factor = NAME(lanes_pick)(factors, b->places + j);
            const NAME(lanes) y = is_log ? NAME(lanes_load)(b->less + written + j) - factor
                                         : NAME(lanes_load)(b->exps + written + j) * factor;
            if (is_direct)
                lanes_stream(to + j, (lanes_of_bits)y);
            else
                NAME(lanes_store)(to + j, y);
        }
    }
}

static inline __attribute__((always_inline)) void NAME(softmax_short_rows)(int64_t n_rows,
                                                                           int64_t n, const T *x,
                                                                           T *result, bool is_log,
                                                                           bool is_streamed)
{
    NAME(blocks) b;
    /* Blocks are whole vectors, and those whole lines. */
    const bool is_direct = is_streamed && (uintptr_t)result % LANES_BYTES == 0;
    sink out;
    if (n_rows == 0)
        return;
    NAME(blocks_start)(&b, n_rows, n, x);
    sink_start(&out, result, is_streamed && !is_direct);
    const T *rows = NAME(find_block)(&b, 0);
    /* Of the block that is read, and of the one that is written and the one after that. */
    NAME(lanes) most = NAME(block_maxima)(&b, rows), factors = most, next_factors = most;
    for (int64_t i = 0; i < b.n_blocks + b.delay; i++) {
        const int64_t left = n_rows - (i - b.delay) * WIDTH;
        T *to = left < WIDTH ? b.result : sink_place(&out);
        if (i < b.n_blocks)
            ask_ahead(rows, n * LANES_BYTES);
        if (i < b.delay)
            NAME(block_step)
        (&b, i, i < b.n_blocks, rows, most, false, factors, is_log, NULL, false);
        else if (i >= b.n_blocks)
            NAME(block_step)(&b, i, false, rows, most, true, factors, is_log, to, false);
        else if (is_direct)
            NAME(block_step)(&b, i, true, rows, most, true, factors, is_log, to, true);
        else NAME(block_step)(&b, i, true, rows, most, true, factors, is_log, to, false);
        if (i >= b.delay) {
            const int64_t n_bytes = (left < WIDTH ? left : WIDTH) * n * (int64_t)sizeof(T);
            if (left < WIDTH)
                memcpy(sink_place(&out), b.result, (size_t)n_bytes);
            sink_take(&out, (size_t)n_bytes);
        }
        if (i + 1 < b.n_blocks) {
            rows = NAME(find_block)(&b, i + 1);
            most = NAME(block_maxima)(&b, rows);
        }
        factors = next_factors;
        if (i + 2 >= b.delay && i + 2 < b.n_blocks + b.delay) {
            const T *exps = b.exps + NAME(block_slot)(&b, i + 2 - b.delay);
            next_factors = NAME(block_factors)(NAME(block_sums)(&b, exps), is_log);
        }
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

/* A number for each row of a block, of which n_rows are left. */
static inline size_t NAME(bytes_of_rows)(int64_t n_rows)
{
    return (size_t)(n_rows < WIDTH ? n_rows : WIDTH) * sizeof(T);
}

static void NAME(log_sum_short_rows)(int64_t n_rows, int64_t n, const T *x, T *maxima, T *logs)
{
    NAME(blocks) b;
    if (n <= WIDTH) {
        NAME(log_sum_narrow_rows)(n_rows, n, x, maxima, logs);
        return;
    }
    if (n_rows == 0)
        return;
    NAME(blocks_start)(&b, n_rows, n, x);
    const T *rows = NAME(find_block)(&b, 0);
    NAME(lanes) most = NAME(block_maxima)(&b, rows);
    for (int64_t i = 0; i < b.n_blocks + b.delay - 2; i++) {
        const int64_t done = i + 2 - b.delay;
        if (i < b.n_blocks) {
            ask_ahead(rows, n * LANES_BYTES);
            NAME(block_step)(&b, i, true, rows, most, false, most, false, NULL, false);
            memcpy(maxima + i * WIDTH, &most, NAME(bytes_of_rows)(n_rows - i * WIDTH));
        }
        if (i + 1 < b.n_blocks) {
            rows = NAME(find_block)(&b, i + 1);
            most = NAME(block_maxima)(&b, rows);
        }
        if (done >= 0) {
            const NAME(lanes) sums = NAME(block_sums)(&b, b.exps + NAME(block_slot)(&b, done));
            const NAME(lanes) log = NAME(lanes_log_sum)(sums);
            memcpy(logs + done * WIDTH, &log, NAME(bytes_of_rows)(n_rows - done * WIDTH));
        }
    }
}

#undef LAG
#undef WAITING
#undef BLOCK
#undef HALF
