/* The softmax family of vector.h for one type: see softmax.c, which includes this file with T, TAG,
 * FN, EXP (e^x for x <= 0) and LANES_MAX defined. Short rows are taken several at a time, so that
 * exp always runs over whole vectors. */

#define LANES ((int64_t)(64 / sizeof(T)))
/* Elements that are worked on together; small enough for the first-level cache. */
#define TILE 1024
/* Elements that go to the result at a time. */
#define PIECE 128

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

/* tile = exp(x - shift); what does not fill a vector goes through a padded one. Asks for what is
 * read next, as this is where most of the time goes. */
static void NAME(exp_shifted)(int64_t n, const T *x, T shift, T *tile)
{
    const int64_t whole = n & -LANES;
    for (int64_t begin = 0; begin < whole; begin += PIECE) {
        const int64_t piece = whole - begin < PIECE ? whole - begin : PIECE;
        ask_ahead(x + begin, piece * (int64_t)sizeof(T));
        INDEPENDENT
        for (int64_t j = begin; j < begin + piece; j++)
            tile[j] = EXP(x[j] - shift);
    }
    if (whole == n)
        return;
    T last[64 / sizeof(T)] = { 0 };
    for (int64_t j = whole; j < n; j++)
        last[j - whole] = x[j] - shift;
    NAME(exp_whole)(LANES, last);
    for (int64_t j = whole; j < n; j++)
        tile[j] = last[j - whole];
}

/* tile = exp(x - largest of its row) for n_rows rows of n_classes, SHORT_ROW < n_classes and
 * n_rows * n_classes <= TILE. */
static void NAME(exp_tile)(int64_t n_rows, int64_t n_classes, const T *x, T *tile, T *shifts)
{
    for (int64_t i = 0; i < n_rows; i++) {
        const T *row = x + i * n_classes;
        shifts[i] = NAME(largest)(n_classes, row);
        NAME(exp_shifted)(n_classes, row, shifts[i], tile + i * n_classes);
    }
}

/* The largest element of a long row, and the sum of exp(x - largest): in one pass, which mends the
 * sum where it finds a larger element. */
static double NAME(exp_sum_long_row)(int64_t n_classes, const T *x, T *largest)
{
    T tile[TILE];
    double sum = 0;
    *largest = -(T)INFINITY;
    for (int64_t begin = 0; begin < n_classes; begin += TILE) {
        const int64_t n = n_classes - begin < TILE ? n_classes - begin : TILE;
        const T before = *largest, here = NAME(largest)(n, x + begin);
        *largest = here > before || here != here ? here : before;
        if (sum != 0 && before != *largest)
            sum *= exp((double)before - (double)*largest);
        /* exp(-inf) is 0, too, while nothing else has been found. */
        NAME(exp_shifted)(n, x + begin, *largest == -(T)INFINITY ? 0 : *largest, tile);
        sum += (double)NAME(add_up)(n, tile);
    }
    return sum;
}

/* ---- short rows: as many side by side as a vector has lanes, and several such groups together, so
 * that what one pass has written has left the store buffer when the next one reads it ---- */

#define SHORT_ROW 64
#define WIDTH ((int64_t)(LANES_BYTES / sizeof(T)))
/* Elements of all groups, and what is read and written behind them. */
#define GROUPS (SHORT_ROW * LANES_BYTES / sizeof(T) + 64 / sizeof(T))
/* rows of all groups; a multiple of WIDTH and LANES */
#define GROUP_ROWS 64

static int64_t NAME(count_together)(int64_t n)
{
    const int64_t n_groups =
        SHORT_ROW / n < GROUP_ROWS / WIDTH ? SHORT_ROW / n : GROUP_ROWS / WIDTH;
    return n_groups * WIDTH;
}

/* Where n_together rows from `begin` on, and a vector behind them, can be read. */
static const T *NAME(find_group)(int64_t n_rows, int64_t n_together, int64_t n, const T *x,
                                 int64_t begin, T *padded)
{
    const int64_t left = (n_rows - begin) * n, wanted = n_together * n;
    if (left >= wanted + LANES)
        return x + begin * n;
    memset(padded, 0, GROUPS * sizeof(T));
    memcpy(padded, x + begin * n, (size_t)(left < wanted ? left : wanted) * sizeof(T));
    return padded;
}

static void NAME(group_maxima)(int64_t n_rows, int64_t n, const T *x, T *maxima)
{
    const lanes_of_bits rest = lanes_mask(n < WIDTH ? n * (int64_t)sizeof(T) : 0);
    const NAME(lanes) least = (NAME(lanes)){ 0 } - (T)INFINITY;
    NAME(lanes) rows[LANES_BYTES / sizeof(T)];
    for (int64_t begin = 0; begin < n_rows; begin += WIDTH) {
        for (int64_t i = 0; i < WIDTH; i++) {
            const T *row = x + (begin + i) * n;
            NAME(lanes) largest = NAME(lanes_load)(row);
            if (n < WIDTH)
                largest = NAME(lanes_choose)(rest, largest, least);
            for (int64_t j = WIDTH; j < n; j += WIDTH)
                largest =
                    LANES_MAX(NAME(lanes_load)(row + (j + WIDTH < n ? j : n - WIDTH)), largest);
            rows[i] = largest;
        }
        NAME(lanes_store)(maxima + begin, NAME(lanes_maxima)(rows));
    }
}

static void NAME(group_sums)(int64_t n_rows, int64_t n, const T *x, T *sums)
{
    const lanes_of_bits rest = lanes_mask(n % WIDTH * (int64_t)sizeof(T));
    NAME(lanes) rows[LANES_BYTES / sizeof(T)];
    for (int64_t begin = 0; begin < n_rows; begin += WIDTH) {
        for (int64_t i = 0; i < WIDTH; i++) {
            const T *row = x + (begin + i) * n;
            int64_t j = 0;
            NAME(lanes) sum = { 0 };
            for (; j + WIDTH <= n; j += WIDTH)
                sum += NAME(lanes_load)(row + j);
            if (j < n)
                sum += NAME(lanes_choose)(rest, NAME(lanes_load)(row + j), (NAME(lanes)){ 0 });
            rows[i] = sum;
        }
        NAME(lanes_store)(sums + begin, NAME(lanes_sums)(rows));
    }
}

/* For each row: result = (x - first) - second, or x * first if `second` is NULL. Rows write a
 * little beyond their ends, where the next one goes. */
static void NAME(group_apply)(int64_t n_rows, int64_t n, const T *x, const T *first,
                              const T *second, T *result)
{
    for (int64_t i = 0; i < n_rows; i++) {
        const NAME(lanes) a = (NAME(lanes)){ 0 } + first[i];
        const NAME(lanes) b = (NAME(lanes)){ 0 } + (second ? second[i] : 0);
        for (int64_t j = i * n; j < (i + 1) * n; j += WIDTH)
            NAME(lanes_store)
        (result + j, second ? (NAME(lanes_load)(x + j) - a) - b : NAME(lanes_load)(x + j) * a);
    }
}

/* tile = exp(x - maxima), and its sums; x may be padding behind n_rows, up to n_together. */
static void NAME(group_exp)(int64_t n_together, int64_t n, const T *x, T *tile, T *maxima, T *sums)
{
    static const T nothing[GROUP_ROWS] = { 0 };
    ask_ahead(x, n_together * n * (int64_t)sizeof(T));
    NAME(group_maxima)(n_together, n, x, maxima);
    NAME(group_apply)(n_together, n, x, maxima, nothing, tile);
    NAME(exp_whole)((n_together * n + LANES - 1) & -LANES, tile);
    NAME(group_sums)(n_together, n, tile, sums);
}

static void NAME(group_log)(int64_t n, T *sums)
{
    for (; n & (LANES - 1); n++)
        sums[n] = 1;
    INDEPENDENT
    for (int64_t i = 0; i < (n & -LANES); i++)
        sums[i] = FN(log)(sums[i]);
}

static void NAME(softmax_short_rows)(int64_t n_rows, int64_t n, const T *x, T *result, bool is_log,
                                     bool is_streamed)
{
    T padded[GROUPS], tile[GROUPS] = { 0 }, rows[GROUPS], maxima[GROUP_ROWS], sums[GROUP_ROWS];
    const int64_t n_together = NAME(count_together)(n);
    sink out;
    sink_start(&out, result, is_streamed);
    for (int64_t begin = 0; begin < n_rows; begin += n_together) {
        const T *from = NAME(find_group)(n_rows, n_together, n, x, begin, padded);
        const size_t n_bytes =
            (size_t)((n_rows - begin < n_together ? n_rows - begin : n_together) * n) * sizeof(T);
        NAME(group_exp)(n_together, n, from, tile, maxima, sums);
        T *to = is_streamed ? sink_place(&out) : rows;
        if (is_log) {
            NAME(group_log)(n_together, sums);
            NAME(group_apply)(n_together, n, from, maxima, sums, to);
        } else {
            for (int64_t i = 0; i < n_together; i++)
                sums[i] = 1 / sums[i];
            NAME(group_apply)(n_together, n, tile, sums, NULL, to);
        }
        if (!is_streamed)
            memcpy(sink_place(&out), rows, n_bytes);
        sink_take(&out, n_bytes);
    }
    sink_finish(&out);
}

static void NAME(log_sum_short_rows)(int64_t n_rows, int64_t n, const T *x, T *maxima, T *logs)
{
    T padded[GROUPS], tile[GROUPS] = { 0 }, largest[GROUP_ROWS], sums[GROUP_ROWS];
    const int64_t n_together = NAME(count_together)(n);
    for (int64_t begin = 0; begin < n_rows; begin += n_together) {
        const size_t n_bytes =
            (size_t)(n_rows - begin < n_together ? n_rows - begin : n_together) * sizeof(T);
        const T *from = NAME(find_group)(n_rows, n_together, n, x, begin, padded);
        NAME(group_exp)(n_together, n, from, tile, largest, sums);
        NAME(group_log)(n_together, sums);
        memcpy(maxima + begin, largest, n_bytes);
        memcpy(logs + begin, sums, n_bytes);
    }
}

/* ---- rows ---- */

static void NAME(softmax_long_row)(int64_t n_classes, const T *x, sink *out)
{
    T tile[PIECE], largest;
    const T scale = (T)(1 / NAME(exp_sum_long_row)(n_classes, x, &largest));
    for (int64_t done = 0, piece; done < n_classes; done += piece) {
        piece = n_classes - done < PIECE ? n_classes - done : PIECE;
        NAME(exp_shifted)(piece, x + done, largest, tile);
        T *to = sink_place(out);
        for (int64_t j = 0; j < piece; j++)
            to[j] = tile[j] * scale;
        sink_take(out, (size_t)piece * sizeof(T));
    }
}

static void NAME(softmax_rows)(int64_t n_rows, int64_t n_classes, const void *data, void *result,
                               bool is_streamed)
{
    const T *x = data;
    T tile[TILE], shifts[TILE / SHORT_ROW];
    if (n_classes <= SHORT_ROW) {
        NAME(softmax_short_rows)(n_rows, n_classes, x, result, false, is_streamed);
        return;
    }
    const int64_t n_together = TILE / n_classes;
    sink out;
    sink_start(&out, result, is_streamed);
    for (int64_t begin = 0; n_together == 0 && begin < n_rows; begin++)
        NAME(softmax_long_row)(n_classes, x + begin * n_classes, &out);
    for (int64_t begin = 0; n_together > 0 && begin < n_rows; begin += n_together) {
        int64_t n = n_rows - begin < n_together ? n_rows - begin : n_together;
        NAME(exp_tile)(n, n_classes, x + begin * n_classes, tile, shifts);
        for (int64_t i = 0; i < n; i++) {
            const T scale = 1 / NAME(add_up)(n_classes, tile + i * n_classes);
            int64_t done = i * n_classes;
            for (int64_t end = done + n_classes, piece; done < end; done += piece) {
                piece = end - done < PIECE ? end - done : PIECE;
                T *to = sink_place(&out);
                for (int64_t j = 0; j < piece; j++)
                    to[j] = tile[done + j] * scale;
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
        logs[0] = NAME(log_one)((T)NAME(exp_sum_long_row)(n_classes, x, &shifts[0]));
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
    T shifts[TILE / SHORT_ROW], logs[TILE / SHORT_ROW + 64 / sizeof(T)];
    if (n_classes <= SHORT_ROW) {
        NAME(softmax_short_rows)(n_rows, n_classes, x, result, true, is_streamed);
        return;
    }
    const int64_t n_together = n_classes > TILE ? 1 : TILE / n_classes;
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
                sink_take(&out, (size_t)piece * sizeof(T));
            }
    }
    sink_finish(&out);
}

static void NAME(log_sum_rows)(int64_t n_rows, int64_t n_classes, const void *data, void *maxima,
                               void *result)
{
    const T *x = data;
    T *largest = maxima, *r = result;
    T shifts[TILE / SHORT_ROW], logs[TILE / SHORT_ROW + 64 / sizeof(T)];
    if (n_classes <= SHORT_ROW) {
        NAME(log_sum_short_rows)(n_rows, n_classes, x, largest, r);
        return;
    }
    const int64_t n_together = n_classes > TILE ? 1 : TILE / n_classes;
    for (int64_t begin = 0; begin < n_rows; begin += n_together) {
        int64_t n = n_rows - begin < n_together ? n_rows - begin : n_together;
        NAME(log_sums)(n, n_classes, x + begin * n_classes, shifts, logs);
        for (int64_t i = 0; i < n; i++) {
            largest[begin + i] = shifts[i];
            r[begin + i] = logs[i];
        }
    }
}

/* ---- columns ---- */

/* Elements that are kept, densely: rows that lie a power of two apart share few places of the
 * cache. */
#define KEPT (32768 / (int64_t)sizeof(T))

/* A block of columns, or a copy of it, which may be overwritten. */
typedef struct NAME(columns) {
    int64_t n_classes, n_columns;
    const T *x;
    int64_t stride;
    T *kept; /* [n_classes, n_columns] */
    T largest[EBB_SOFTMAX_COLUMNS], sums[EBB_SOFTMAX_COLUMNS];
} NAME(columns);

/* Finds the largest ones; copies x to `room` if it fits. */
static void NAME(columns_start)(NAME(columns) * c, int64_t n_classes, int64_t stride,
                                int64_t n_columns, const T *x, T *room)
{
    const bool fits = n_classes * n_columns <= KEPT;
    *c =
        (NAME(columns)){ .n_classes = n_classes, .n_columns = n_columns, .x = x, .stride = stride };
    for (int64_t j = 0; j < n_columns; j++)
        c->largest[j] = x[j];
    for (int64_t i = 0; i < n_classes; i++) {
        const T *row = x + i * stride;
        for (int64_t j = 0; j < n_columns; j++)
            c->largest[j] = row[j] > c->largest[j] ? row[j] : c->largest[j];
        if (fits)
            memcpy(room + i * n_columns, row, (size_t)n_columns * sizeof(T));
    }
    if (fits) {
        c->x = c->kept = room;
        c->stride = n_columns;
    }
}

/* Adds up exp(x - largest), which goes to `result` if that is not NULL; the block beside this one,
 * which is at `next`, is asked for. */
static void NAME(columns_exp)(NAME(columns) * c, T *result, int64_t result_stride, const T *next,
                              int64_t next_stride)
{
    T row[EBB_SOFTMAX_COLUMNS];
    double sums[EBB_SOFTMAX_COLUMNS] = { 0 };
    int64_t whole = c->n_columns;
    while (whole & (LANES - 1))
        row[whole++] = 0;
    for (int64_t i = 0; i < c->n_classes; i++) {
        const T *x = c->x + i * c->stride;
        for (int64_t j = 0; j < c->n_columns; j += LANES)
            __builtin_prefetch(next + i * next_stride + j, 0, 3);
        for (int64_t j = 0; j < c->n_columns; j++)
            row[j] = x[j] - c->largest[j];
        NAME(exp_whole)(whole, row);
        for (int64_t j = 0; j < c->n_columns; j++)
            sums[j] += (double)row[j];
        if (result)
            memcpy(result + i * result_stride, row, (size_t)c->n_columns * sizeof(T));
    }
    for (int64_t j = 0; j < EBB_SOFTMAX_COLUMNS; j++)
        c->sums[j] = j < c->n_columns ? (T)sums[j] : 1;
}

static void NAME(softmax_columns)(int64_t n_classes, int64_t stride, int64_t n_columns,
                                  const void *data, void *result, bool is_streamed)
{
    T room[KEPT], row[EBB_SOFTMAX_COLUMNS], *r = result;
    NAME(columns) c;
    NAME(columns_start)(&c, n_classes, stride, n_columns, data, room);
    T *e = c.kept ? c.kept : r;
    const int64_t e_stride = c.kept ? n_columns : stride;
    NAME(columns_exp)(&c, e, e_stride, (const T *)data + n_columns, stride);
    for (int64_t j = 0; j < n_columns; j++)
        c.sums[j] = 1 / c.sums[j];
    is_streamed = is_streamed && c.kept;
    for (int64_t i = 0; i < n_classes; i++) {
        T *to = is_streamed ? row : r + i * stride;
        for (int64_t j = 0; j < n_columns; j++)
            to[j] = e[i * e_stride + j] * c.sums[j];
        if (is_streamed)
            stream_bytes(r + i * stride, row, (size_t)n_columns * sizeof(T));
    }
    if (is_streamed)
        stream_finish();
}

static void NAME(log_softmax_columns)(int64_t n_classes, int64_t stride, int64_t n_columns,
                                      const void *data, void *result, bool is_streamed)
{
    T room[KEPT], row[EBB_SOFTMAX_COLUMNS], *r = result;
    NAME(columns) c;
    NAME(columns_start)(&c, n_classes, stride, n_columns, data, room);
    NAME(columns_exp)(&c, NULL, 0, (const T *)data + n_columns, stride);
    INDEPENDENT
    for (int64_t j = 0; j < EBB_SOFTMAX_COLUMNS; j++)
        c.sums[j] = FN(log)(c.sums[j]);
    for (int64_t i = 0; i < n_classes; i++) {
        T *to = is_streamed ? row : r + i * stride;
        for (int64_t j = 0; j < n_columns; j++)
            to[j] = (c.x[i * c.stride + j] - c.largest[j]) - c.sums[j];
        if (is_streamed)
            stream_bytes(r + i * stride, row, (size_t)n_columns * sizeof(T));
    }
    if (is_streamed)
        stream_finish();
}

const ebb_softmax_table ISA_NAME(NAME(ebb_softmax)) = {
    .rows = NAME(softmax_rows),
    .log_rows = NAME(log_softmax_rows),
    .log_sum_rows = NAME(log_sum_rows),
    .columns = NAME(softmax_columns),
    .log_columns = NAME(log_softmax_columns),
};

#undef LANES
#undef WIDTH
#undef SHORT_ROW
#undef GROUPS
#undef GROUP_ROWS
#undef KEPT
#undef PARTIALS
#undef EXP
#undef LANES_MAX
#undef TILE
#undef PIECE
#undef T
#undef TAG
#undef FN
