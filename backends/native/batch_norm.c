/* batch_norm, batch_norm_inference and batch_norm_grad, channels first or last.
 *
 * Channels first, a channel is the work of one thread. Channels last, pixels are split into parts,
 * as many as the size says (so that the sums do not depend on the number of threads); pixels with
 * few channels are worked on as rows of several pixels. */
#include "backends/native/channels.h"
#include <math.h>

typedef enum batch_norm_kind { TRAINING, INFERENCE, GRADIENT } batch_norm_kind;

typedef struct batch_norm_state {
    batch_norm_kind kind;
    const ebb_channels_table *table;
    const ebb_reduce_table *reduce;
    const ebb_move_table *move;
    bool is_streamed; /* the result goes past the caches, unless in place */
    ebb_dtype dtype;
    int64_t bytes; /* of an element */
    double epsilon;
    ebb_channels k;
    int64_t m;                    /* elements of a channel */
    ebb_channel_strides x, dy, y; /* y: the result */
    int64_t parameters[5];        /* strides of inputs that are [channels] */
    int mean, variance;           /* their places among the inputs */
    /* channels last */
    int64_t segment; /* pixels that have one stride */
    int64_t wide;    /* pixels of a row */
    int64_t n_parts; /* of the pixels */
    int64_t n_sums;  /* doubles of a part: two for each channel of a row, and of a rest */
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

/* y = (x - mean) factor + shift, or dx = (dy - offset - (x - mean) slope) factor */
typedef struct coefficients {
    double mean, factor, shift, slope, offset;
} coefficients;

/* `first` and `second` are mean and sum of squared deviations, or sums of dy and of dy (x - mean);
 * for inference nothing. Writes the results that are [channels]. */
static coefficients finish_channel(const batch_norm_state *s, const ebb_call *call, int64_t c,
                                   double first, double second)
{
    const double scale = parameter(s, call, 1, c), m = (double)s->m;
    coefficients k = { 0 };
    if (s->kind == TRAINING) {
        const double variance = second / m;
        k.mean = s->m > 0 ? first : (double)NAN;
        k.factor = scale / sqrt(variance + s->epsilon);
        k.shift = parameter(s, call, 2, c);
        put_element(s, call->results[1], c, k.mean);
        put_element(s, call->results[2], c, variance);
        return k;
    }
    const double r = 1 / sqrt(parameter(s, call, s->variance, c) + s->epsilon);
    k.mean = parameter(s, call, s->mean, c);
    k.factor = scale * r;
    if (s->kind == INFERENCE) {
        k.shift = parameter(s, call, 2, c);
        return k;
    }
    k.offset = first / m;
    k.slope = second / m * r * r;
    put_element(s, call->results[1], c, second * r);
    put_element(s, call->results[2], c, first);
    return k;
}

/* ---- channels first ---- */

static bool is_streamed(const batch_norm_state *s, const ebb_call *call)
{
    return s->is_streamed && call->results[0] != call->inputs[0];
}

/* A plane that is read next: the first of it. */
static void ask_plane(const batch_norm_state *s, const char *plane)
{
    const int64_t n = s->k.n_spatial * s->bytes < 4096 ? s->k.n_spatial * s->bytes : 4096;
    for (int64_t i = 0; i < n; i += 64)
        __builtin_prefetch(plane + i, 0, 2);
}

static void apply_plane(const batch_norm_state *s, const ebb_call *call, int64_t n, int64_t c,
                        const coefficients *k)
{
    const char *x = at(s, call->inputs[0], n * s->x.batch + c * s->x.channel);
    char *y = at(s, call->results[0], n * s->y.batch + c * s->y.channel);
    if (s->kind == GRADIENT)
        s->table->grad_run(s->k.n_spatial, x,
                           at(s, call->inputs[2], n * s->dy.batch + c * s->dy.channel), y, k->mean,
                           k->factor, k->slope, k->offset);
    else
        s->table->affine_run(s->k.n_spatial, x, y, k->mean, k->factor, k->shift,
                             is_streamed(s, call));
}

static void channels_part(void *context, int index, int n_parts)
{
    const ebb_call *call = context;
    const batch_norm_state *s = call->state;
    int64_t begin, end;
    ebb_parallel_part(s->k.n_channels, index, n_parts, &begin, &end);
    for (int64_t c = begin; c < end; c++) {
        double first = 0, second = 0;
        const double mean = s->kind == TRAINING ? 0 : parameter(s, call, s->mean, c);
        for (int64_t n = 0; n < s->k.n_batch && s->k.n_spatial > 0; n++) {
            const char *x = at(s, call->inputs[0], n * s->x.batch + c * s->x.channel);
            if (n + 1 < s->k.n_batch)
                ask_plane(s, at(s, x, s->x.batch));
            if (s->kind == TRAINING)
                s->reduce->pair_run[EBB_REDUCE_DEVIATIONS](s->k.n_spatial, x, n * s->k.n_spatial,
                                                           &first, &second);
            else
                s->table->grad_sum_run(s->k.n_spatial, x,
                                       at(s, call->inputs[2], n * s->dy.batch + c * s->dy.channel),
                                       mean, &first, &second);
        }
        const coefficients k = finish_channel(s, call, c, first, second);
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
        const coefficients k = finish_channel(s, call, c, 0, 0);
        apply_plane(s, call, i / s->k.n_channels, c, &k);
    }
    if (is_streamed(s, call))
        s->move->finish_stream();
}

/* ---- channels last ---- */

/* Behind each other in the scratch: sums of all parts, their counts, rows of coefficients. */
static double *sums_of(const batch_norm_state *s, const ebb_call *call, int64_t part)
{
    return (double *)call->scratch + part * s->n_sums;
}

static double *counts_of(const batch_norm_state *s, const ebb_call *call)
{
    return (double *)call->scratch + s->n_parts * s->n_sums;
}

static char *coefficients_of(const batch_norm_state *s, const ebb_call *call)
{
    return (char *)(counts_of(s, call) + s->n_parts);
}

/* Pixels that lie one after the other. */
typedef struct piece {
    int64_t n;
    const char *x, *dy;
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
    p.dy =
        s->kind == GRADIENT ? at(s, call->inputs[2], n * s->dy.batch + pixel * s->dy.pixel) : NULL;
    p.y = at(s, call->results[0], n * s->y.batch + pixel * s->y.pixel);
    return p;
}

/* Adds pixels of a piece, as rows of `width` pixels, to two lists of sums. */
static void add_rows(const batch_norm_state *s, const ebb_call *call, const piece *p,
                     int64_t first_pixel, int64_t n_rows, int64_t width, int64_t count,
                     double *first, double *second)
{
    const int64_t n_columns = width * s->k.n_channels;
    const char *means = coefficients_of(s, call);
    for (int64_t j = 0; j < n_columns && n_rows > 0; j += EBB_REDUCE_COLUMNS) {
        const int64_t n = n_columns - j < EBB_REDUCE_COLUMNS ? n_columns - j : EBB_REDUCE_COLUMNS;
        const char *x = at(s, p->x, first_pixel * s->x.pixel + j);
        if (s->kind == TRAINING)
            s->table->moment_rows(n_rows, n, x, width * s->x.pixel, count, first + j, second + j);
        else
            s->table->grad_sum_rows(n_rows, n, x, width * s->x.pixel,
                                    at(s, p->dy, first_pixel * s->dy.pixel + j),
                                    width * s->dy.pixel, at(s, means, j), first + j, second + j);
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

/* Writes number `row` of the coefficients of channel c, for all pixels of a row. */
static void put_coefficient(const batch_norm_state *s, char *rows, int row, int64_t c, double value)
{
    for (int64_t g = 0; g < s->wide; g++)
        put_element(s, rows, (row * s->wide + g) * s->k.n_channels + c, value);
}

static void fill_coefficients(const batch_norm_state *s, const ebb_call *call)
{
    char *rows = coefficients_of(s, call);
    double *first = sums_of(s, call, 0), *second = first + s->n_sums / 2;
    double *count = counts_of(s, call);
    for (int64_t part = 1; part < s->n_parts && s->kind != INFERENCE; part++) {
        const double *sums = sums_of(s, call, part);
        merge(s, s->k.n_channels, first, second, count, sums, sums + s->n_sums / 2, count[part]);
    }
    for (int64_t c = 0; c < s->k.n_channels; c++) {
        const bool has_sums = s->kind != INFERENCE;
        const coefficients k =
            finish_channel(s, call, c, has_sums ? first[c] : 0, has_sums ? second[c] : 0);
        const double high = s->dtype == EBB_F32 ? (double)(float)k.mean : k.mean;
        put_coefficient(s, rows, 0, c, k.mean);
        if (s->kind == GRADIENT) {
            put_coefficient(s, rows, 1, c, k.factor);
            put_coefficient(s, rows, 2, c, k.slope);
            put_coefficient(s, rows, 3, c, k.offset);
        } else {
            put_coefficient(s, rows, 1, c, k.mean - high);
            put_coefficient(s, rows, 2, c, k.factor);
            put_coefficient(s, rows, 3, c, k.shift);
        }
    }
}

static void apply_rows(const batch_norm_state *s, const ebb_call *call, const piece *p,
                       int64_t first_pixel, int64_t n_rows, int64_t width)
{
    const int64_t n_columns = width * s->k.n_channels, stride = s->wide * s->k.n_channels;
    const char *x = at(s, p->x, first_pixel * s->x.pixel), *rows = coefficients_of(s, call);
    char *y = at(s, p->y, first_pixel * s->y.pixel);
    if (n_rows == 0)
        return;
    if (s->kind == GRADIENT)
        s->table->grad_rows(n_rows, n_columns, x, width * s->x.pixel,
                            at(s, p->dy, first_pixel * s->dy.pixel), width * s->dy.pixel, y,
                            width * s->y.pixel, rows, stride);
    else
        s->table->affine_rows(n_rows, n_columns, x, width * s->x.pixel, y, width * s->y.pixel, rows,
                              stride);
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
    if (s->kind == GRADIENT) { /* the means, which sums are taken with */
        char *rows = coefficients_of(s, call);
        for (int64_t c = 0; c < s->k.n_channels; c++)
            put_coefficient(s, rows, 0, c, parameter(s, call, s->mean, c));
    }
    if (s->kind != INFERENCE)
        ebb_parallel(s->n_threads, sums_part, (void *)call);
    fill_coefficients(s, call);
    if (s->m > 0)
        ebb_parallel(s->n_threads, apply_part, (void *)call);
    return EBB_OK;
}

static batch_norm_kind kind_of(const ebb_region *region)
{
    return region->op == &ebb_op_batch_norm        ? TRAINING
           : region->op == &ebb_op_batch_norm_grad ? GRADIENT
                                                   : INFERENCE;
}

/* x, the result, dy. */
static int images_of(const ebb_region *region, const ebb_operand *images[3])
{
    images[0] = &region->inputs[0];
    images[1] = &region->results[0];
    images[2] = &region->inputs[2];
    return kind_of(region) == GRADIENT ? 3 : 2;
}

static int score_batch_norm(const ebb_region *region)
{
    const ebb_operand *images[3];
    const int n = images_of(region, images);
    return ebb_channel_score(images, n);
}

/* Rows of pixels with few channels are as wide as a block of sums, if pixels lie densely. */
static void plan_rows(batch_norm_state *s)
{
    const bool has_dy = s->kind == GRADIENT;
    const int64_t n = s->k.n_spatial, c = s->k.n_channels;
    if (n == 1) { /* a batch is a row of pixels */
        s->x.pixel = s->x.batch;
        s->y.pixel = s->y.batch;
        s->dy.pixel = s->dy.batch;
    }
    const bool one = n == 1 || (s->x.batch == n * s->x.pixel && s->y.batch == n * s->y.pixel &&
                                (!has_dy || s->dy.batch == n * s->dy.pixel));
    const bool dense = s->x.pixel == c && s->y.pixel == c && (!has_dy || s->dy.pixel == c);
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
    s->epsilon = ((const ebb_batch_norm_attrs *)region->attrs)->epsilon;
    s->k = ebb_channels_of(&type->shape);
    s->m = s->k.n_batch * s->k.n_spatial;
    s->mean = 3;
    s->variance = 4;
    s->order = ebb_channel_order_of(images, n_images);
    ebb_channel_strides_of(images[0], &s->x);
    ebb_channel_strides_of(images[1], &s->y);
    if (n_images > 2)
        ebb_channel_strides_of(images[2], &s->dy);
    for (int i = 1; i < region->n_inputs; i++)
        s->parameters[i] = region->inputs[i].layout.strides[0];
    s->n_threads = ebb_native_threads(region, s->m * s->k.n_channels, EBB_CHEAP_WORK);
    int64_t most = s->kind == INFERENCE ? s->k.n_batch * s->k.n_channels : s->k.n_channels;
    if (s->order == EBB_CHANNELS_LAST) {
        plan_rows(s);
        most = s->n_parts;
        kernel->scratch_bytes = (size_t)((s->n_sums + 1) * s->n_parts) * sizeof(double) +
                                (size_t)(4 * s->wide * s->k.n_channels * s->bytes);
    }
    if (s->n_threads > most)
        s->n_threads = most > 0 ? (int)most : 1;
    for (int i = 0; i < n_images; i++)
        if (i != 1 && ebb_channels_lie_alike(images[i], images[1]))
            kernel->inplace_inputs |= 1u << i; /* 0 is x, 2 is dy */
    kernel->n_threads = s->n_threads;
    kernel->run = run_batch_norm;
    kernel->state = s;
    kernel->implementation = s->order == EBB_CHANNELS_FIRST ? "channels_first" : "channels_last";
    return EBB_OK;
}

const ebb_native_kind ebb_native_batch_norm = { score_batch_norm, compile_batch_norm };
