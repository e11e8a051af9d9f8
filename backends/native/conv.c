/* Convolutions and their gradients where oneDNN has nothing: F64, and odd cases of F32. Windows are
 * copied into columns, a block at a time, and multiplied with Ebb's own matrix product (im2col).
 * Dense operands. */
#include "ops/conv.h"
#include "backends/native/native.h"
#include <string.h>

enum {
    PLACES = 256, /* places in a block of columns */
    DEPTH = 256,  /* rows (channel and tap) of columns in a block of a product's sum */
    ROWS = 64     /* rows of columns that a task of a gradient takes */
};

typedef enum direction { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS } direction;

typedef struct conv_state {
    const ebb_product_table *table;
    ebb_conv conv;
    direction direction;
    bool has_bias;
    int64_t bytes;
    int64_t n_rows;  /* channels of a group times taps */
    int64_t step;    /* rows, or places, of a task */
    int64_t n_steps; /* tasks of one group (of one image) */
    int64_t n_tasks;
    size_t part_bytes;
    int n_threads;
} conv_state;

/* A block of columns: rows first_row.., places first_place... */
typedef struct block {
    int64_t first_row, n_rows, first_place, n_places;
    int64_t row_stride, place_stride; /* in the copy */
} block;

/* Calls `body` with `place`, an element of the planes of a group, and `at`, its place in the copy;
 * `outside` for what lies in the padding. */
#define EACH_ELEMENT(s, b, body, outside)                                                          \
    do {                                                                                           \
        const ebb_window *w = &(s)->conv.w;                                                        \
        for (int64_t r = 0; r < (b)->n_rows; r++) {                                                \
            const int64_t row = (b)->first_row + r, channel = row / w->n_taps;                     \
            const int64_t tap = row % w->n_taps, t2 = tap % w->window[2];                          \
            const int64_t t1 = tap / w->window[2] % w->window[1];                                  \
            const int64_t t0 = tap / w->window[2] / w->window[1];                                  \
            int64_t i2 = (b)->first_place % w->count[2];                                           \
            int64_t i1 = (b)->first_place / w->count[2] % w->count[1];                             \
            int64_t i0 = (b)->first_place / w->count[2] / w->count[1];                             \
            int64_t at = r * (b)->row_stride;                                                      \
            for (int64_t left = (b)->n_places; left > 0; i2 = 0) {                                 \
                const int64_t x0 = i0 * w->stride[0] + t0 * w->dilation[0] - w->begin[0];          \
                const int64_t x1 = i1 * w->stride[1] + t1 * w->dilation[1] - w->begin[1];          \
                const bool is_inside = x0 >= 0 && x0 < w->size[0] && x1 >= 0 && x1 < w->size[1];   \
                const int64_t line = ((channel * w->size[0] + x0) * w->size[1] + x1) * w->size[2]; \
                int64_t x2 = i2 * w->stride[2] + t2 * w->dilation[2] - w->begin[2];                \
                for (; i2 < w->count[2] && left > 0;                                               \
                     i2++, left--, at += (b)->place_stride, x2 += w->stride[2]) {                  \
                    const int64_t place = line + x2;                                               \
                    if (is_inside && x2 >= 0 && x2 < w->size[2]) {                                 \
                        body;                                                                      \
                    } else {                                                                       \
                        (void)place;                                                               \
                        outside;                                                                   \
                    }                                                                              \
                }                                                                                  \
                if (++i1 == w->count[1]) {                                                         \
                    i1 = 0;                                                                        \
                    i0++;                                                                          \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    } while (0)

/* The planes of x as columns. */
static void copy_columns(const conv_state *s, const block *b, const char *x, char *columns)
{
    if (s->bytes == 4) {
        const float *from = (const float *)(const void *)x;
        float *to = (float *)(void *)columns;
        EACH_ELEMENT(s, b, to[at] = from[place], to[at] = 0);
    } else {
        const double *from = (const double *)(const void *)x;
        double *to = (double *)(void *)columns;
        EACH_ELEMENT(s, b, to[at] = from[place], to[at] = 0);
    }
}

/* Columns added up in the planes of x. */
static void add_columns(const conv_state *s, const block *b, const char *columns, char *x)
{
    if (s->bytes == 4) {
        const float *from = (const float *)(const void *)columns;
        float *to = (float *)(void *)x;
        EACH_ELEMENT(s, b, to[place] += from[at], (void)from);
    } else {
        const double *from = (const double *)(const void *)columns;
        double *to = (double *)(void *)x;
        EACH_ELEMENT(s, b, to[place] += from[at], (void)from);
    }
}

static int64_t at_most(int64_t n, int64_t most)
{
    return n < most ? n : most;
}

static void add_bias(const conv_state *s, const char *bias, int64_t filter, int64_t n, char *y)
{
    if (s->bytes == 4)
        for (int64_t i = 0; i < n; i++)
            ((float *)(void *)y)[i] += ((const float *)(const void *)bias)[filter];
    else
        for (int64_t i = 0; i < n; i++)
            ((double *)(void *)y)[i] += ((const double *)(const void *)bias)[filter];
}

/* y[filters, places] of one group of one image */
static void forward_task(const conv_state *s, const ebb_call *call, int64_t image, int64_t group,
                         int64_t step, char *columns)
{
    const ebb_conv *conv = &s->conv;
    const int64_t n_counts = conv->w.n_counts, planes = image * conv->groups + group;
    block b = { .first_place = step * s->step, .place_stride = 1 };
    b.n_places = b.row_stride = at_most(n_counts - b.first_place, s->step);
    const char *x =
        (const char *)call->inputs[0] + planes * conv->channels * conv->w.n_sizes * s->bytes;
    const char *w = (const char *)call->inputs[1] + group * conv->filters * s->n_rows * s->bytes;
    char *y =
        (char *)call->results[0] + (planes * conv->filters * n_counts + b.first_place) * s->bytes;
    do { /* once even without rows: the sum is then 0 */
        b.n_rows = at_most(s->n_rows - b.first_row, DEPTH);
        copy_columns(s, &b, x, columns);
        s->table->multiply(&(ebb_product){ .m = conv->filters,
                                           .n = b.n_places,
                                           .k = b.n_rows,
                                           .a = w + b.first_row * s->bytes,
                                           .a_m = s->n_rows,
                                           .a_k = 1,
                                           .b = columns,
                                           .b_k = b.n_places,
                                           .c = y,
                                           .c_m = n_counts,
                                           .accumulate = b.first_row > 0 });
        b.first_row += b.n_rows;
    } while (b.first_row < s->n_rows);
    for (int64_t o = 0; o < conv->filters && s->has_bias; o++)
        add_bias(s, call->inputs[2], group * conv->filters + o, b.n_places,
                 y + o * n_counts * s->bytes);
}

/* x[channels of the step, sizes] of one group of one image: columns = w^T y, added up */
static void data_task(const conv_state *s, const ebb_call *call, int64_t image, int64_t group,
                      int64_t step, char *columns)
{
    const ebb_conv *conv = &s->conv;
    const int64_t n_counts = conv->w.n_counts, planes = image * conv->groups + group;
    const int64_t rows = step * s->step, end = rows + at_most(s->n_rows - rows, s->step);
    const int64_t first_channel = rows / conv->w.n_taps, n_channels = (end - rows) / conv->w.n_taps;
    const char *y = (const char *)call->inputs[0] + planes * conv->filters * n_counts * s->bytes;
    const char *w = (const char *)call->inputs[1] + group * conv->filters * s->n_rows * s->bytes;
    char *x = (char *)call->results[0] + planes * conv->channels * conv->w.n_sizes * s->bytes;
    memset(x + first_channel * conv->w.n_sizes * s->bytes, 0,
           (size_t)(n_channels * conv->w.n_sizes * s->bytes));
    for (int64_t p = 0; p < n_counts; p += PLACES)
        for (int64_t row = rows; row < end; row += DEPTH) {
            block b = { row, at_most(end - row, DEPTH), p, at_most(n_counts - p, PLACES), 0, 1 };
            b.row_stride = b.n_places;
            for (int64_t o = 0; o < conv->filters; o += DEPTH)
                s->table->multiply(&(ebb_product){ .m = b.n_rows,
                                                   .n = b.n_places,
                                                   .k = at_most(conv->filters - o, DEPTH),
                                                   .a = w + (o * s->n_rows + row) * s->bytes,
                                                   .a_m = 1,
                                                   .a_k = s->n_rows,
                                                   .b = y + (o * n_counts + p) * s->bytes,
                                                   .b_k = n_counts,
                                                   .c = columns,
                                                   .c_m = b.n_places,
                                                   .accumulate = o > 0 });
            if (conv->filters > 0)
                add_columns(s, &b, columns, x);
        }
}

/* w[filters, rows of the step] of one group: y times the columns, over all images */
static void weights_task(const conv_state *s, const ebb_call *call, int64_t group, int64_t step,
                         char *columns)
{
    const ebb_conv *conv = &s->conv;
    const int64_t n_counts = conv->w.n_counts, rows = step * s->step;
    const int64_t n_rows = at_most(s->n_rows - rows, s->step);
    char *w = (char *)call->results[0] + (group * conv->filters * s->n_rows + rows) * s->bytes;
    ebb_product product = { .m = conv->filters,
                            .n = n_rows,
                            .a_m = n_counts,
                            .a_k = 1,
                            .b = columns,
                            .b_k = n_rows,
                            .c = w,
                            .c_m = s->n_rows };
    if (conv->batch == 0) { /* the sum of nothing */
        product.a = columns;
        s->table->multiply(&product);
    }
    for (int64_t image = 0; image < conv->batch; image++) {
        const int64_t planes = image * conv->groups + group;
        const char *x =
            (const char *)call->inputs[0] + planes * conv->channels * conv->w.n_sizes * s->bytes;
        const char *y =
            (const char *)call->inputs[1] + planes * conv->filters * n_counts * s->bytes;
        for (int64_t p = 0; p < n_counts; p += PLACES) {
            const block b = { rows, n_rows, p, at_most(n_counts - p, PLACES), 1, n_rows };
            copy_columns(s, &b, x, columns);
            product.k = b.n_places;
            product.a = y + p * s->bytes;
            s->table->multiply(&product);
            product.accumulate = true;
        }
    }
}

static void conv_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const conv_state *s = call->state;
    char *columns = (char *)call->scratch + (size_t)index * s->part_bytes;
    int64_t begin, end;
    ebb_parallel_part(s->n_tasks, index, n, &begin, &end);
    for (int64_t task = begin; task < end; task++) {
        const int64_t step = task % s->n_steps, rest = task / s->n_steps;
        const int64_t group = rest % s->conv.groups, image = rest / s->conv.groups;
        if (s->direction == FORWARD)
            forward_task(s, call, image, group, step, columns);
        else if (s->direction == BACKWARD_DATA)
            data_task(s, call, image, group, step, columns);
        else
            weights_task(s, call, group, step, columns);
    }
}

static void sum_bias(const conv_state *s, const ebb_call *call)
{
    const int64_t filters = s->conv.groups * s->conv.filters, n_counts = s->conv.w.n_counts;
    for (int64_t o = 0; o < filters; o++) {
        double sum = 0;
        for (int64_t image = 0; image < s->conv.batch; image++) {
            const int64_t start = (image * filters + o) * n_counts;
            for (int64_t p = 0; p < n_counts; p++)
                sum += s->bytes == 4 ? (double)((const float *)call->inputs[1])[start + p]
                                     : ((const double *)call->inputs[1])[start + p];
        }
        if (s->bytes == 4)
            ((float *)call->results[1])[o] = (float)sum;
        else
            ((double *)call->results[1])[o] = sum;
    }
}

static ebb_status run_conv(const ebb_call *call)
{
    const conv_state *s = call->state;
    ebb_parallel(s->n_threads, conv_part, (void *)call);
    if (s->direction == BACKWARD_WEIGHTS && s->has_bias)
        sum_bias(s, call);
    return EBB_OK;
}

static int score_conv(const ebb_region *region)
{
    const ebb_shape *shapes[2] = { &region->inputs[0].type->shape, &region->inputs[1].type->shape };
    if (!ebb_dtype_is_float(region->inputs[0].type->dtype) || !ebb_native_all_dense(region) ||
        !ebb_layout_is_dense(&region->results[0].layout, &region->results[0].type->shape))
        return EBB_SCORE_NONE;
    ebb_conv conv;
    ebb_conv_read(region->op, region->attrs, shapes, &region->results[0].type->shape, &conv);
    return conv.w.n_taps > 0 && conv.w.n_counts > 0 ? EBB_SCORE_GENERIC : EBB_SCORE_NONE;
}

static ebb_status compile_conv(const ebb_region *region, const ebb_compile_env *env,
                               ebb_kernel *kernel)
{
    conv_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    const ebb_shape *shapes[2] = { &region->inputs[0].type->shape, &region->inputs[1].type->shape };
    const ebb_vector_isa *isa = ebb_native_isa(env);
    const ebb_dtype dtype = region->inputs[0].type->dtype;
    ebb_conv *conv = &s->conv;
    ebb_conv_read(region->op, region->attrs, shapes, &region->results[0].type->shape, conv);
    s->table = dtype == EBB_F32 ? isa->product_f32 : isa->product_f64;
    s->bytes = (int64_t)ebb_dtype_bytes(dtype);
    s->direction = region->op == &ebb_op_conv              ? FORWARD
                   : region->op == &ebb_op_conv_input_grad ? BACKWARD_DATA
                                                           : BACKWARD_WEIGHTS;
    s->has_bias = region->n_inputs > 2 || region->n_results > 1;
    s->n_rows = conv->channels * conv->w.n_taps;
    int64_t total = s->n_rows, n_images = conv->batch;
    if (s->direction == FORWARD) {
        s->step = PLACES;
        total = conv->w.n_counts;
    } else if (s->direction == BACKWARD_WEIGHTS) {
        s->step = ROWS;
        n_images = 1;
    } else { /* whole channels: nobody else adds to them */
        s->step = conv->w.n_taps * (conv->w.n_taps < ROWS ? ROWS / conv->w.n_taps : 1);
    }
    s->n_steps = (total + s->step - 1) / s->step;
    s->n_tasks = s->n_steps * conv->groups * n_images;
    const double work = (double)conv->batch * (double)conv->groups * (double)conv->filters *
                        (double)s->n_rows * (double)conv->w.n_counts;
    s->n_threads = ebb_native_at_most(work < 64.0 * 64 * 64 ? 1 : region->n_threads, s->n_tasks);
    s->part_bytes = (size_t)(DEPTH * PLACES * s->bytes);
    kernel->scratch_bytes = s->part_bytes * (size_t)s->n_threads;
    kernel->n_threads = s->n_threads;
    kernel->run = run_conv;
    kernel->state = s;
    kernel->implementation = "im2col";
    return EBB_OK;
}

const ebb_native_kind ebb_native_conv = { score_conv, compile_conv };
