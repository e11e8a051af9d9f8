/* batch_norm and its like with channels last.
 *
 * Pixels are split into parts, as many as the size says (so that the sums do not depend on the
 * number of threads); pixels with few channels are worked on as rows of several pixels. Channels in
 * blocks, each block is such a batch norm of its own, and the work of one thread. */
#include "backends/native/batch_norm.h"

/* Behind each other in the scratch: sums of all parts, their counts, rows of numbers. */
static double *sums_of(const ebb_batch_norm_state *s, const ebb_call *call, int64_t part)
{
    return (double *)call->scratch + part * s->n_sums;
}

static double *counts_of(const ebb_batch_norm_state *s, const ebb_call *call)
{
    return (double *)call->scratch + s->n_parts * s->n_sums;
}

static char *numbers_of(const ebb_batch_norm_state *s, const ebb_call *call)
{
    return (char *)(counts_of(s, call) + s->n_parts);
}

/* Of a row: one for each channel of its pixels. */
static int64_t count_numbers(const ebb_batch_norm_state *s)
{
    return s->wide * s->k.n_channels;
}

/* Pixels that lie one after the other. */
typedef struct piece {
    int64_t n;
    const char *x, *other;
    char *y;
} piece;

/* The next pixels from `position` on, not beyond `end`. */
static piece next_piece(const ebb_batch_norm_state *s, const ebb_call *call, int64_t position,
                        int64_t end)
{
    const int64_t rest = s->segment - position % s->segment;
    const int64_t n = position / s->k.n_spatial, pixel = position % s->k.n_spatial;
    piece p = { .n = end - position < rest ? end - position : rest };
    p.x = ebb_batch_norm_at(s, call->inputs[0], n * s->x.batch + pixel * s->x.pixel);
    p.other = ebb_batch_norm_other_at(s, call,
                                      n * s->other_strides.batch + pixel * s->other_strides.pixel);
    p.y = ebb_batch_norm_at(s, call->results[0], n * s->y.batch + pixel * s->y.pixel);
    return p;
}

/* Pixels of a piece as rows of `width` pixels, from column j on. */
static ebb_channel_rows rows_of(const ebb_batch_norm_state *s, const ebb_call *call, const piece *p,
                                int64_t first_pixel, int64_t n_rows, int64_t width, int64_t j)
{
    return (ebb_channel_rows){
        .n_rows = n_rows,
        .n_columns = width * s->k.n_channels - j,
        .x = ebb_batch_norm_at(s, p->x, first_pixel * s->x.pixel + j),
        .other = s->other ? ebb_batch_norm_at(s, p->other, first_pixel * s->other_strides.pixel + j)
                          : NULL,
        .y = ebb_batch_norm_at(s, p->y, first_pixel * s->y.pixel + j),
        .x_step = width * s->x.pixel,
        .other_step = width * s->other_strides.pixel,
        .y_step = width * s->y.pixel,
        .relu = s->relu,
        .is_streamed = ebb_batch_norm_is_streamed(s, call),
    };
}

/* Adds them to two lists of sums. */
static void add_rows(const ebb_batch_norm_state *s, const ebb_call *call, const piece *p,
                     int64_t first_pixel, int64_t n_rows, int64_t width, int64_t count,
                     double *first, double *second)
{
    for (int64_t j = 0; j < width * s->k.n_channels && n_rows > 0; j += EBB_REDUCE_COLUMNS) {
        ebb_channel_rows rows = rows_of(s, call, p, first_pixel, n_rows, width, j);
        if (rows.n_columns > EBB_REDUCE_COLUMNS)
            rows.n_columns = EBB_REDUCE_COLUMNS;
        if (s->kind == EBB_BATCH_NORM_TRAINING)
            s->table->moment_rows(n_rows, rows.n_columns, rows.x, rows.x_step, count, first + j,
                                  second + j);
        else
            s->table->grad_sum_rows(&rows, ebb_batch_norm_at(s, numbers_of(s, call), j),
                                    count_numbers(s), first + j, second + j);
    }
}

/* Adds the second pair of lists of n sums to the first; of deviations by Chan, Golub & LeVeque
 * 1983, eq. 2.1. */
static void merge(const ebb_batch_norm_state *s, int64_t n, double *first, double *second,
                  double *count, const double *first_2, const double *second_2, double count_2)
{
    if (count_2 == 0)
        return;
    const double weight = count_2 / (*count + count_2), factor = *count * weight;
    for (int64_t j = 0; j < n; j++) {
        const double change = first_2[j] - first[j];
        if (s->kind == EBB_BATCH_NORM_TRAINING) {
            first[j] += change * weight;
            second[j] += second_2[j] + change * change * factor;
        } else {
            first[j] += first_2[j];
            second[j] += second_2[j];
        }
    }
    *count += count_2;
}

static void sum_part(const ebb_batch_norm_state *s, const ebb_call *call, int64_t part)
{
    const int64_t n_columns = s->wide * s->k.n_channels;
    double *first = sums_of(s, call, part), *second = first + s->n_sums / 2;
    double *count = counts_of(s, call) + part;
    int64_t begin, end, n_rows = 0, n_rest = 0;
    ebb_parallel_part(s->m, (int)part, (int)s->n_parts, &begin, &end);
    for (int64_t j = 0; j < s->n_sums; j++)
        first[j] = 0;
    for (int64_t i = begin; i < end;) {
        const piece p = next_piece(s, call, i, end);
        const int64_t rows = p.n / s->wide, rest = p.n % s->wide;
        add_rows(s, call, &p, 0, rows, s->wide, n_rows, first, second);
        add_rows(s, call, &p, rows * s->wide, rest, 1, n_rest, first + n_columns,
                 second + n_columns);
        n_rows += rows;
        n_rest += rest;
        i += p.n;
    }
    *count = (double)n_rows;
    for (int64_t g = 1; g <= s->wide && s->wide > 1; g++)
        merge(s, s->k.n_channels, first, second, count, first + g * s->k.n_channels,
              second + g * s->k.n_channels, (double)(g < s->wide ? n_rows : n_rest));
}

static void sums_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const ebb_batch_norm_state *s = call->state;
    int64_t begin, end;
    ebb_parallel_part(s->n_parts, index, n, &begin, &end);
    for (int64_t part = begin; part < end; part++)
        sum_part(s, call, part);
}

/* Writes number `row` of channel c, for all pixels of a row. */
static void put_number(const ebb_batch_norm_state *s, char *rows, int row, int64_t c, double value)
{
    for (int64_t g = 0; g < s->wide; g++)
        ebb_batch_norm_put(s, rows, (row * s->wide + g) * s->k.n_channels + c, value);
}

static void put_numbers(const ebb_batch_norm_state *s, const ebb_call *call, int64_t c,
                        const ebb_channel_numbers *k)
{
    char *rows = numbers_of(s, call);
    put_number(s, rows, 0, c, k->mean);
    put_number(s, rows, 1, c, k->factor);
    put_number(s, rows, 2, c, k->shift);
    put_number(s, rows, 3, c, k->slope);
    put_number(s, rows, 4, c, k->offset);
}

static void finish_channels(const ebb_batch_norm_state *s, const ebb_call *call)
{
    double *first = sums_of(s, call, 0), *second = first + s->n_sums / 2;
    double *count = counts_of(s, call);
    const bool has_sums = s->kind != EBB_BATCH_NORM_INFERENCE;
    for (int64_t part = 1; part < s->n_parts && has_sums; part++) {
        const double *sums = sums_of(s, call, part);
        merge(s, s->k.n_channels, first, second, count, sums, sums + s->n_sums / 2, count[part]);
    }
    for (int64_t c = 0; c < s->k.n_channels; c++) {
        const ebb_channel_numbers k =
            ebb_batch_norm_finish(s, call, c, has_sums ? first[c] : 0, has_sums ? second[c] : 0);
        put_numbers(s, call, c, &k);
    }
}

static void apply_rows(const ebb_batch_norm_state *s, const ebb_call *call, const piece *p,
                       int64_t first_pixel, int64_t n_rows, int64_t width)
{
    const ebb_channel_rows rows = rows_of(s, call, p, first_pixel, n_rows, width, 0);
    if (s->kind == EBB_BATCH_NORM_GRADIENT)
        s->table->grad_rows(&rows, numbers_of(s, call), count_numbers(s));
    else
        s->table->affine_rows(&rows, numbers_of(s, call), count_numbers(s));
}

/* Backwards, as the parts that were summed last may still be in the cache. */
static void apply_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const ebb_batch_norm_state *s = call->state;
    int64_t first, last;
    ebb_parallel_part(s->n_parts, index, n, &first, &last);
    for (int64_t part = last - 1; part >= first; part--) {
        int64_t begin, end;
        ebb_parallel_part(s->m, (int)part, (int)s->n_parts, &begin, &end);
        while (begin < end) {
            const piece p = next_piece(s, call, begin, end);
            apply_rows(s, call, &p, 0, p.n / s->wide, s->wide);
            apply_rows(s, call, &p, p.n / s->wide * s->wide, p.n % s->wide, 1);
            begin += p.n;
        }
    }
    if (ebb_batch_norm_is_streamed(s, call))
        s->move->finish_stream();
}

/* Of all channels that lie next to each other. */
static void run_rows(const ebb_call *call, int n_threads)
{
    const ebb_batch_norm_state *s = call->state;
    for (int64_t c = 0; c < s->k.n_channels && s->kind == EBB_BATCH_NORM_GRADIENT; c++) {
        const ebb_channel_numbers k = ebb_batch_norm_start(s, call, c); /* for the sums */
        put_numbers(s, call, c, &k);
    }
    if (s->kind != EBB_BATCH_NORM_INFERENCE)
        ebb_parallel(n_threads, sums_part, (void *)(uintptr_t)call);
    finish_channels(s, call);
    if (s->m > 0)
        ebb_parallel(n_threads, apply_part, (void *)(uintptr_t)call);
}

static void blocks_part(void *context, int index, int n_parts)
{
    const ebb_call *call = context;
    const ebb_batch_norm_state *s = call->state;
    void *inputs[EBB_BATCH_NORM_INPUTS], *results[EBB_MAX_RESULTS];
    ebb_call one = *call;
    int64_t begin, end;
    one.inputs = inputs;
    one.results = results;
    one.scratch = (char *)call->scratch + (size_t)index * s->block_scratch;
    ebb_parallel_part(s->n_blocks, index, n_parts, &begin, &end);
    for (int64_t block = begin; block < end; block++) {
        const int64_t channel = block * s->k.n_channels;
        for (int i = 0; i < s->n_inputs; i++)
            inputs[i] = ebb_batch_norm_at(s, call->inputs[i], channel * s->parameters[i]);
        for (int r = 1; r < s->n_results; r++)
            results[r] = ebb_batch_norm_at(s, call->results[r], channel);
        inputs[0] = ebb_batch_norm_at(s, call->inputs[0], block * s->x.channel);
        results[0] = ebb_batch_norm_at(s, call->results[0], block * s->y.channel);
        if (s->other)
            inputs[s->other] =
                ebb_batch_norm_at(s, call->inputs[s->other], block * s->other_strides.channel);
        run_rows(&one, 1);
    }
}

void ebb_batch_norm_run_rows(const ebb_call *call)
{
    const ebb_batch_norm_state *s = call->state;
    if (s->n_blocks == 1)
        run_rows(call, s->n_threads);
    else
        ebb_parallel(s->n_threads, blocks_part, (void *)(uintptr_t)call);
}

/* Rows of pixels with few channels are as wide as a block of sums, if pixels lie densely. */
void ebb_batch_norm_plan_rows(ebb_batch_norm_state *s)
{
    const bool has_other = s->other > 0;
    const int64_t n = s->k.n_spatial, c = s->k.n_channels;
    if (n == 1) { /* a batch is a row of pixels */
        s->x.pixel = s->x.batch;
        s->y.pixel = s->y.batch;
        s->other_strides.pixel = s->other_strides.batch;
    }
    const bool one =
        n == 1 || (s->x.batch == n * s->x.pixel && s->y.batch == n * s->y.pixel &&
                   (!has_other || s->other_strides.batch == n * s->other_strides.pixel));
    const bool dense =
        s->x.pixel == c && s->y.pixel == c && (!has_other || s->other_strides.pixel == c);
    s->segment = one ? s->m : n;
    s->wide = dense && c > 0 && c <= EBB_REDUCE_COLUMNS / 2 ? EBB_REDUCE_COLUMNS / c : 1;
    if (s->wide > s->segment)
        s->wide = s->segment > 0 ? s->segment : 1;
    s->n_parts = s->m * c / EBB_CHEAP_WORK;
    s->n_parts = s->n_parts > 64 ? 64 : s->n_parts < 1 ? 1 : s->n_parts;
    if (s->n_parts > s->m)
        s->n_parts = s->m > 0 ? s->m : 1;
    s->n_sums = 2 * c * (s->wide > 1 ? s->wide + 1 : 1);
    s->block_scratch =
        ebb_native_round_up((size_t)((s->n_sums + 1) * s->n_parts) * sizeof(double) +
                            (size_t)(EBB_CHANNEL_NUMBERS * count_numbers(s) * s->bytes));
}
