/* batch_norm, batch_norm_inference and batch_norm_grad, channels first or last, also with a
 * residual and a relu behind them (ops/batch_norm_epilogue.c).
 *
 * Channels first, a channel is the work of one thread. Channels last, pixels are split into parts,
 * as many as the size says (so that the sums do not depend on the number of threads); pixels with
 * few channels are worked on as rows of several pixels. Channels in blocks, each block is such a
 * batch norm of its own, and the work of one thread. */
#include "backends/native/channels.h"
#include "ops/batch_norm_epilogue.h"
#include <math.h>

enum { MOST_INPUTS = 6 };

typedef enum batch_norm_kind { TRAINING, INFERENCE, GRADIENT } batch_norm_kind;

typedef struct batch_norm_state {
    batch_norm_kind kind;
    const ebb_channels_table *table;
    const ebb_reduce_table *reduce;
    const ebb_move_table *move;
    bool is_streamed; /* the result goes past the caches, unless in place */
    bool relu;        /* of the result; or of what the gradient is of */
    bool gives_offset;
    ebb_dtype dtype;
    int64_t bytes; /* of an element */
    double epsilon;
    ebb_channels k;
    int64_t m;                               /* elements of a channel */
    ebb_channel_strides x, y, other_strides; /* y: the result */
    int64_t parameters[MOST_INPUTS];         /* strides of inputs that are [channels] */
    int n_inputs, n_results;
    int shift; /* its place among the inputs; 0: not needed */
    int other; /* that of dy or of the residual; 0: none */
    /* channels last */
    int64_t segment;  /* pixels that have one stride */
    int64_t wide;     /* pixels of a row */
    int64_t n_parts;  /* of the pixels */
    int64_t n_sums;   /* doubles of a part: two for each channel of a row, and of a rest */
    int64_t n_blocks; /* of channels, which are k.n_channels each; else 1 */
    size_t block_scratch;
    int n_threads;
    ebb_channel_order order;
} batch_norm_state;

static double element(const batch_norm_state *s, const void *data, int64_t at)
{
    return s->dtype == EBB_F32 ? (double)((const float *)data)[at] : ((const double *)data)[at];
}

static void put_element(const batch_norm_state *s, void *data, int64_t at, double value)
{
    if (s->dtype == EBB_F32)
        ((float *)data)[at] = (float)value;
    else
        ((double *)data)[at] = value;
}

static double parameter(const batch_norm_state *s, const ebb_call *call, int input, int64_t c)
{
    return element(s, call->inputs[input], c * s->parameters[input]);
}

static char *at(const batch_norm_state *s, const void *data, int64_t place)
{
    return (char *)(uintptr_t)data + place * s->bytes;
}

/* ---- what becomes of the sums of a channel ---- */

/* What T keeps of a value. */
static double rounded(const batch_norm_state *s, double value)
{
    return s->dtype == EBB_F32 ? (double)(float)value : value;
}

/* Of y. Everything follows from the mean and variance that others see, so that the gradient finds
 * the same y; what the mean lacks as an element is taken off the shift. */
static ebb_channel_numbers start_channel(const batch_norm_state *s, const ebb_call *call, int64_t c,
                                         double mean, double variance)
{
    ebb_channel_numbers k = { .mean = rounded(s, mean) };
    k.factor = parameter(s, call, 1, c) * (1 / sqrt(variance + s->epsilon));
    k.shift = s->shift ? parameter(s, call, s->shift, c) : 0;
    if (isfinite(mean))
        k.shift -= (mean - k.mean) * k.factor;
    return k;
}

static ebb_channel_numbers start_given(const batch_norm_state *s, const ebb_call *call, int64_t c)
{
    return start_channel(s, call, c, parameter(s, call, 3, c), parameter(s, call, 4, c));
}

/* `first` and `second` are mean and sum of squared deviations, or sums of dy and of dy (x - mean);
 * for inference nothing. Writes the results that are [channels]. */
static ebb_channel_numbers finish_channel(const batch_norm_state *s, const ebb_call *call,
                                          int64_t c, double first, double second)
{
    const double m = (double)s->m;
    if (s->kind == TRAINING) {
        const double variance = rounded(s, second / m);
        const ebb_channel_numbers k =
            start_channel(s, call, c, s->m > 0 ? first : (double)NAN, variance);
        put_element(s, call->results[1], c, k.mean);
        put_element(s, call->results[2], c, variance);
        if (s->gives_offset)
            put_element(s, call->results[3], c, k.shift);
        return k;
    }
    ebb_channel_numbers k = start_given(s, call, c);
    if (s->kind == GRADIENT) {
        const double r = 1 / sqrt(parameter(s, call, 4, c) + s->epsilon);
        k.offset = first / m;
        k.slope = second / m * r * r;
        put_element(s, call->results[1], c, second * r);
        put_element(s, call->results[2], c, first);
    }
    return k;
}

/* ---- images ---- */

static bool is_streamed(const batch_norm_state *s, const ebb_call *call)
{
    return s->is_streamed && call->results[0] != call->inputs[0] &&
           call->results[0] != call->inputs[s->other];
}

static const char *other_at(const batch_norm_state *s, const ebb_call *call, int64_t place)
{
    return s->other ? at(s, call->inputs[s->other], place) : NULL;
}

/* ---- channels first ---- */

/* A plane that is read next: the first of it. */
static void ask_plane(const batch_norm_state *s, const char *plane)
{
    const int64_t n = s->k.n_spatial * s->bytes < 4096 ? s->k.n_spatial * s->bytes : 4096;
    for (int64_t i = 0; i < n; i += 64)
        __builtin_prefetch(plane + i, 0, 2);
}

static ebb_channel_rows plane_at(const batch_norm_state *s, const ebb_call *call, int64_t n,
                                 int64_t c)
{
    return (ebb_channel_rows){
        .n_rows = 1,
        .n_columns = s->k.n_spatial,
        .x = at(s, call->inputs[0], n * s->x.batch + c * s->x.channel),
        .other = other_at(s, call, n * s->other_strides.batch + c * s->other_strides.channel),
        .y = at(s, call->results[0], n * s->y.batch + c * s->y.channel),
        .relu = s->relu,
        .is_streamed = is_streamed(s, call),
    };
}

static void apply_plane(const batch_norm_state *s, const ebb_call *call, int64_t n, int64_t c,
                        const ebb_channel_numbers *k)
{
    const ebb_channel_rows plane = plane_at(s, call, n, c);
    if (s->kind == GRADIENT)
        s->table->grad_run(&plane, k);
    else
        s->table->affine_run(&plane, k);
}

static void channels_part(void *context, int index, int n_parts)
{
    const ebb_call *call = context;
    const batch_norm_state *s = call->state;
    int64_t begin, end;
    ebb_parallel_part(s->k.n_channels, index, n_parts, &begin, &end);
    for (int64_t c = begin; c < end; c++) {
        double first = 0, second = 0;
        const ebb_channel_numbers start =
            s->kind == GRADIENT ? start_given(s, call, c) : (ebb_channel_numbers){ 0 };
        for (int64_t n = 0; n < s->k.n_batch && s->k.n_spatial > 0; n++) {
            const ebb_channel_rows plane = plane_at(s, call, n, c);
            if (n + 1 < s->k.n_batch)
                ask_plane(s, at(s, plane.x, s->x.batch));
            if (s->kind == TRAINING)
                s->reduce->pair_run[EBB_REDUCE_DEVIATIONS](s->k.n_spatial, plane.x,
                                                           n * s->k.n_spatial, &first, &second);
            else
                s->table->grad_sum_run(&plane, &start, &first, &second);
        }
        const ebb_channel_numbers k = finish_channel(s, call, c, first, second);
        for (int64_t n = 0; n < s->k.n_batch; n++)
            apply_plane(s, call, n, c, &k);
    }
    if (is_streamed(s, call))
        s->move->finish_stream();
}

static void planes_part(void *context, int index, int n_parts)
{
    const ebb_call *call = context;
    const batch_norm_state *s = call->state;
    int64_t begin, end;
    ebb_parallel_part(s->k.n_batch * s->k.n_channels, index, n_parts, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const int64_t c = i % s->k.n_channels;
        const ebb_channel_numbers k = finish_channel(s, call, c, 0, 0);
        apply_plane(s, call, i / s->k.n_channels, c, &k);
    }
    if (is_streamed(s, call))
        s->move->finish_stream();
}

/* ---- channels last ---- */

/* Behind each other in the scratch: sums of all parts, their counts, rows of numbers. */
static double *sums_of(const batch_norm_state *s, const ebb_call *call, int64_t part)
{
    return (double *)call->scratch + part * s->n_sums;
}

static double *counts_of(const batch_norm_state *s, const ebb_call *call)
{
    return (double *)call->scratch + s->n_parts * s->n_sums;
}

static char *numbers_of(const batch_norm_state *s, const ebb_call *call)
{
    return (char *)(counts_of(s, call) + s->n_parts);
}

/* Of a row: one for each channel of its pixels. */
static int64_t count_numbers(const batch_norm_state *s)
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
static piece next_piece(const batch_norm_state *s, const ebb_call *call, int64_t position,
                        int64_t end)
{
    const int64_t rest = s->segment - position % s->segment;
    const int64_t n = position / s->k.n_spatial, pixel = position % s->k.n_spatial;
    piece p = { .n = end - position < rest ? end - position : rest };
    p.x = at(s, call->inputs[0], n * s->x.batch + pixel * s->x.pixel);
    p.other = other_at(s, call, n * s->other_strides.batch + pixel * s->other_strides.pixel);
    p.y = at(s, call->results[0], n * s->y.batch + pixel * s->y.pixel);
    return p;
}

/* Pixels of a piece as rows of `width` pixels, from column j on. */
static ebb_channel_rows rows_of(const batch_norm_state *s, const ebb_call *call, const piece *p,
                                int64_t first_pixel, int64_t n_rows, int64_t width, int64_t j)
{
    return (ebb_channel_rows){
        .n_rows = n_rows,
        .n_columns = width * s->k.n_channels - j,
        .x = at(s, p->x, first_pixel * s->x.pixel + j),
        .other = s->other ? at(s, p->other, first_pixel * s->other_strides.pixel + j) : NULL,
        .y = at(s, p->y, first_pixel * s->y.pixel + j),
        .x_step = width * s->x.pixel,
        .other_step = width * s->other_strides.pixel,
        .y_step = width * s->y.pixel,
        .relu = s->relu,
        .is_streamed = is_streamed(s, call),
    };
}

/* Adds them to two lists of sums. */
static void add_rows(const batch_norm_state *s, const ebb_call *call, const piece *p,
                     int64_t first_pixel, int64_t n_rows, int64_t width, int64_t count,
                     double *first, double *second)
{
    for (int64_t j = 0; j < width * s->k.n_channels && n_rows > 0; j += EBB_REDUCE_COLUMNS) {
        ebb_channel_rows rows = rows_of(s, call, p, first_pixel, n_rows, width, j);
        if (rows.n_columns > EBB_REDUCE_COLUMNS)
            rows.n_columns = EBB_REDUCE_COLUMNS;
        if (s->kind == TRAINING)
            s->table->moment_rows(n_rows, rows.n_columns, rows.x, rows.x_step, count, first + j,
                                  second + j);
        else
            s->table->grad_sum_rows(&rows, at(s, numbers_of(s, call), j), count_numbers(s),
                                    first + j, second + j);
    }
}

/* Adds the second pair of lists of n sums to the first; of deviations by Chan, Golub & LeVeque
 * 1983, eq. 2.1. */
static void merge(const batch_norm_state *s, int64_t n, double *first, double *second,
                  double *count, const double *first_2, const double *second_2, double count_2)
{
    if (count_2 == 0)
        return;
    const double weight = count_2 / (*count + count_2), factor = *count * weight;
    for (int64_t j = 0; j < n; j++) {
        const double change = first_2[j] - first[j];
        if (s->kind == TRAINING) {
            first[j] += change * weight;
            second[j] += second_2[j] + change * change * factor;
        } else {
            first[j] += first_2[j];
            second[j] += second_2[j];
        }
    }
    *count += count_2;
}

static void sum_part(const batch_norm_state *s, const ebb_call *call, int64_t part)
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
    const batch_norm_state *s = call->state;
    int64_t begin, end;
    ebb_parallel_part(s->n_parts, index, n, &begin, &end);
    for (int64_t part = begin; part < end; part++)
        sum_part(s, call, part);
}

/* Writes number `row` of channel c, for all pixels of a row. */
static void put_number(const batch_norm_state *s, char *rows, int row, int64_t c, double value)
{
    for (int64_t g = 0; g < s->wide; g++)
        put_element(s, rows, (row * s->wide + g) * s->k.n_channels + c, value);
}

static void put_numbers(const batch_norm_state *s, const ebb_call *call, int64_t c,
                        const ebb_channel_numbers *k)
{
    char *rows = numbers_of(s, call);
    put_number(s, rows, 0, c, k->mean);
    put_number(s, rows, 1, c, k->factor);
    put_number(s, rows, 2, c, k->shift);
    put_number(s, rows, 3, c, k->slope);
    put_number(s, rows, 4, c, k->offset);
}

static void finish_channels(const batch_norm_state *s, const ebb_call *call)
{
    double *first = sums_of(s, call, 0), *second = first + s->n_sums / 2;
    double *count = counts_of(s, call);
    const bool has_sums = s->kind != INFERENCE;
    for (int64_t part = 1; part < s->n_parts && has_sums; part++) {
        const double *sums = sums_of(s, call, part);
        merge(s, s->k.n_channels, first, second, count, sums, sums + s->n_sums / 2, count[part]);
    }
    for (int64_t c = 0; c < s->k.n_channels; c++) {
        const ebb_channel_numbers k =
            finish_channel(s, call, c, has_sums ? first[c] : 0, has_sums ? second[c] : 0);
        put_numbers(s, call, c, &k);
    }
}

static void apply_rows(const batch_norm_state *s, const ebb_call *call, const piece *p,
                       int64_t first_pixel, int64_t n_rows, int64_t width)
{
    const ebb_channel_rows rows = rows_of(s, call, p, first_pixel, n_rows, width, 0);
    if (s->kind == GRADIENT)
        s->table->grad_rows(&rows, numbers_of(s, call), count_numbers(s));
    else
        s->table->affine_rows(&rows, numbers_of(s, call), count_numbers(s));
}

/* Backwards, as the parts that were summed last may still be in the cache. */
static void apply_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const batch_norm_state *s = call->state;
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
    if (is_streamed(s, call))
        s->move->finish_stream();
}

/* Of all channels that lie next to each other. */
static void run_rows(const ebb_call *call, int n_threads)
{
    const batch_norm_state *s = call->state;
    for (int64_t c = 0; c < s->k.n_channels && s->kind == GRADIENT; c++) {
        const ebb_channel_numbers k = start_given(s, call, c); /* for the sums */
        put_numbers(s, call, c, &k);
    }
    if (s->kind != INFERENCE)
        ebb_parallel(n_threads, sums_part, (void *)(uintptr_t)call);
    finish_channels(s, call);
    if (s->m > 0)
        ebb_parallel(n_threads, apply_part, (void *)(uintptr_t)call);
}

static void blocks_part(void *context, int index, int n_parts)
{
    const ebb_call *call = context;
    const batch_norm_state *s = call->state;
    void *inputs[MOST_INPUTS], *results[EBB_MAX_RESULTS];
    ebb_call one = *call;
    int64_t begin, end;
    one.inputs = inputs;
    one.results = results;
    one.scratch = (char *)call->scratch + (size_t)index * s->block_scratch;
    ebb_parallel_part(s->n_blocks, index, n_parts, &begin, &end);
    for (int64_t block = begin; block < end; block++) {
        const int64_t channel = block * s->k.n_channels;
        for (int i = 0; i < s->n_inputs; i++)
            inputs[i] = at(s, call->inputs[i], channel * s->parameters[i]);
        for (int r = 1; r < s->n_results; r++)
            results[r] = at(s, call->results[r], channel);
        inputs[0] = at(s, call->inputs[0], block * s->x.channel);
        results[0] = at(s, call->results[0], block * s->y.channel);
        if (s->other)
            inputs[s->other] = at(s, call->inputs[s->other], block * s->other_strides.channel);
        run_rows(&one, 1);
    }
}

/* ---- kernels ---- */

static ebb_status run_batch_norm(const ebb_call *call)
{
    const batch_norm_state *s = call->state;
    if (s->order == EBB_CHANNELS_FIRST) {
        ebb_parallel(s->n_threads, s->kind == INFERENCE ? planes_part : channels_part,
                     (void *)call);
        return EBB_OK;
    }
    if (s->n_blocks == 1)
        run_rows(call, s->n_threads);
    else
        ebb_parallel(s->n_threads, blocks_part, (void *)call);
    return EBB_OK;
}

static batch_norm_kind kind_of(const ebb_region *region)
{
    const ebb_op *op = region->op;
    return op == &ebb_op_batch_norm || op == &ebb_op_batch_norm_epilogue         ? TRAINING
           : op == &ebb_op_batch_norm_grad || op == &ebb_op_batch_norm_relu_grad ? GRADIENT
                                                                                 : INFERENCE;
}

static ebb_epilogue epilogue_of(const ebb_region *region)
{
    if (region->op == &ebb_op_batch_norm_epilogue ||
        region->op == &ebb_op_batch_norm_inference_epilogue)
        return ((const ebb_batch_norm_epilogue_attrs *)region->attrs)->epilogue;
    return (ebb_epilogue){ .relu = region->op == &ebb_op_batch_norm_relu_grad };
}

/* Where dy or the residual is among the inputs; 0: there is none. */
static int other_of(const ebb_region *region)
{
    return kind_of(region) == GRADIENT    ? 2
           : epilogue_of(region).residual ? region->n_inputs - 1
                                          : 0;
}

/* x, the result, dy or the residual. */
static int images_of(const ebb_region *region, const ebb_operand *images[3])
{
    const int other = other_of(region);
    images[0] = &region->inputs[0];
    images[1] = &region->results[0];
    images[2] = &region->inputs[other];
    return other ? 3 : 2;
}

static bool lie_in_blocks(const ebb_operand *const *images, int n)
{
    bool all = true;
    for (int i = 0; i < n && all; i++)
        all = ebb_channels_in_blocks(images[i]) &&
              images[i]->layout.blocks[0].size == images[0]->layout.blocks[0].size;
    return all;
}

static int score_batch_norm(const ebb_region *region)
{
    const ebb_operand *images[3];
    const int n = images_of(region, images);
    if (lie_in_blocks(images, n))
        return EBB_SCORE_BEST;
    return ebb_channel_score(images, n);
}

/* Rows of pixels with few channels are as wide as a block of sums, if pixels lie densely. */
static void plan_rows(batch_norm_state *s)
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
}

static ebb_status compile_batch_norm(const ebb_region *region, const ebb_compile_env *env,
                                     ebb_kernel *kernel)
{
    batch_norm_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    const ebb_type *type = region->inputs[0].type;
    const ebb_vector_isa *isa = ebb_native_isa(env);
    const ebb_operand *images[3];
    const int n_images = images_of(region, images);
    s->kind = kind_of(region);
    s->dtype = type->dtype;
    s->bytes = (int64_t)ebb_dtype_bytes(type->dtype);
    s->table = s->dtype == EBB_F32 ? isa->channels_f32 : isa->channels_f64;
    s->reduce = s->dtype == EBB_F32 ? isa->reduce_f32 : isa->reduce_f64;
    s->move = isa->move;
    s->is_streamed = s->kind != GRADIENT && ebb_type_bytes(type) >= EBB_STREAM_BYTES;
    s->epsilon = ((const ebb_batch_norm_attrs *)region->attrs)->epsilon; /* others begin so */
    s->relu = epilogue_of(region).relu;
    s->gives_offset = region->n_results > 3;
    s->shift = s->kind != GRADIENT ? 2 : s->relu ? 5 : 0;
    s->other = other_of(region);
    s->k = ebb_channels_of(&type->shape);
    s->m = s->k.n_batch * s->k.n_spatial;
    s->order = ebb_channel_order_of(images, n_images);
    ebb_channel_strides_of(images[0], &s->x);
    ebb_channel_strides_of(images[1], &s->y);
    if (n_images > 2)
        ebb_channel_strides_of(images[2], &s->other_strides);
    for (int i = 1; i < region->n_inputs; i++)
        s->parameters[i] = i == s->other ? 0 : region->inputs[i].layout.strides[0];
    s->n_threads = ebb_native_threads(region, s->m * s->k.n_channels, EBB_CHEAP_WORK);
    s->n_inputs = region->n_inputs;
    s->n_results = region->n_results;
    s->n_blocks = 1;
    if (lie_in_blocks(images, n_images)) {
        s->order = EBB_CHANNELS_LAST;
        s->n_blocks = s->k.n_channels / images[0]->layout.blocks[0].size;
        s->k.n_channels = images[0]->layout.blocks[0].size;
    }
    int64_t most = s->kind == INFERENCE ? s->k.n_batch * s->k.n_channels : s->k.n_channels;
    if (s->order == EBB_CHANNELS_LAST) {
        plan_rows(s);
        most = s->n_blocks > 1 ? s->n_blocks : s->n_parts;
        s->block_scratch = (size_t)((s->n_sums + 1) * s->n_parts) * sizeof(double) +
                           (size_t)(EBB_CHANNEL_NUMBERS * count_numbers(s) * s->bytes);
    }
    s->n_threads = ebb_native_at_most(s->n_threads, most);
    s->block_scratch = (s->block_scratch + EBB_ALIGNMENT - 1) / EBB_ALIGNMENT * EBB_ALIGNMENT;
    kernel->scratch_bytes = s->block_scratch * (s->n_blocks > 1 ? (size_t)s->n_threads : 1);
    for (int i = 0; i < n_images; i += 2)
        if (ebb_channels_lie_alike(images[i], images[1]))
            kernel->inplace_inputs |= 1u << (i ? s->other : 0);
    kernel->n_threads = s->n_threads;
    kernel->run = run_batch_norm;
    kernel->state = s;
    kernel->implementation = s->order == EBB_CHANNELS_FIRST    ? "channels_first"
                             : lie_in_blocks(images, n_images) ? "channel_blocks"
                                                               : "channels_last";
    return EBB_OK;
}

const ebb_native_kind ebb_native_batch_norm = { score_batch_norm, compile_batch_norm };
