/* Gradients of a convolution behind max_pool: each maximum brings a patch of x, or takes a patch of
 * weights, of a few rows that lie densely when channels do. An image is copied with its padding
 * into scratch, so that no patch meets a border. For few channels; with many, the dense product
 * runs so much better that four times the work is less. */
#include "ops/pooled_conv.h"
#include "backends/native/channels.h"
#include <string.h>

enum {
    MOST_FILTERS = 16,
    MOST_CHANNELS = 8,
    MOST_ROW_BYTES = 256,         /* of a patch; what fits in registers */
    MOST_TABLE_BYTES = 256 << 10, /* of weights, once for each tap of a window of the pool */
    ENOUGH_WORK = 16384           /* multiply-adds of vectors that take about 4 us */
};

/* In elements. */
typedef struct image_strides {
    int64_t batch, channel, row, column;
} image_strides;

typedef struct pooled_state {
    ebb_conv conv;
    ebb_pool pool;
    void (*add_rows)(const ebb_rows *rows);
    bool gives_weights;
    image_strides image, dy, where, weights; /* image: x or dx */
    int64_t n_rows, n_vectors;               /* of a patch, vectors of 16 */
    bool is_half;                            /* a row of a patch fits in 8 */
    int64_t row_step, n_image;               /* of an image with its padding; all of it */
    int64_t n_places;
    int64_t *at, *dy_at, *where_at; /* by place: in the image, in dy, in where */
    /* By tap of the pool: how far the image, or the table of weights, is from where tap 0 is. */
    int64_t tap_at[256];
    size_t sums_bytes, list_bytes, thread_bytes, table_bytes;
    int n_threads;
} pooled_state;

static bool is_weight_grad(const ebb_op *op)
{
    return op == &ebb_op_pooled_conv_weight_grad;
}

static void read_region(const ebb_region *region, pooled_state *s)
{
    const ebb_shape *inputs[3];
    for (int i = 0; i < 3; i++)
        inputs[i] = &region->inputs[i].type->shape;
    ebb_pooled_conv_read(region->op, region->attrs, inputs, &region->results[0].type->shape,
                         &s->conv, &s->pool);
    const ebb_window *c = &s->conv.w, *p = &s->pool.w;
    s->gives_weights = is_weight_grad(region->op);
    s->n_rows = c->window[1] + (s->gives_weights ? 0 : p->window[1] - 1);
    const int64_t run =
        (c->window[2] + (s->gives_weights ? 0 : p->window[2] - 1)) * s->conv.channels;
    s->n_vectors = (run + 15) / 16;
    s->is_half = run <= 8;
    s->row_step = (c->size[2] + c->begin[2] + c->end[2]) * s->conv.channels;
    s->n_image = (c->size[1] + c->begin[1] + c->end[1]) * s->row_step + 16 * s->n_vectors;
    s->table_bytes =
        s->gives_weights
            ? 0
            : (size_t)(s->conv.filters * p->n_taps * s->n_rows * s->n_vectors * 16) * sizeof(float);
}

static int score_pooled(const ebb_region *region)
{
    const ebb_shape *dy = &region->inputs[is_weight_grad(region->op)].type->shape;
    if (region->results[0].type->dtype != EBB_F32 || dy->rank != 4)
        return EBB_SCORE_NONE;
    pooled_state s;
    read_region(region, &s);
    bool is_plain = ebb_pooled_conv_is_plain(&s.conv, &s.pool) && s.pool.w.n_taps <= 256;
    for (int d = 0; d < EBB_MAX_SPATIAL; d++)
        is_plain = is_plain && s.conv.w.stride[d] == 1 && s.conv.w.dilation[d] == 1;
    const bool pays = s.conv.filters <= MOST_FILTERS && s.conv.channels <= MOST_CHANNELS &&
                      s.n_vectors * 64 <= MOST_ROW_BYTES && s.table_bytes <= MOST_TABLE_BYTES;
    if (!is_plain || !pays)
        return EBB_SCORE_NONE;
    const ebb_operand *image = s.gives_weights ? &region->inputs[0] : &region->results[0];
    const ebb_layout last = ebb_layout_channels_last(&image->type->shape);
    return EBB_SCORE_NATIVE +
           ebb_channels_lie_alike(image, &(ebb_operand){ .type = image->type, .layout = last });
}

bool ebb_native_pooled_conv_wish(const ebb_region *region, ebb_layout *inputs, ebb_layout *results)
{
    const bool weights = is_weight_grad(region->op);
    const ebb_shape *image =
        weights ? &region->inputs[0].type->shape : &region->results[0].type->shape;
    const ebb_layout last = ebb_layout_channels_last(image);
    if (image->rank != 4 || image->dims[1] == 1)
        return false;
    if (weights)
        inputs[0] = last;
    else
        results[0] = last;
    return true;
}

/* ---- running ---- */

/* What belongs to a thread. */
typedef struct work {
    float *image, *sums, *values;
    double *biases;
    const float **sources;
} work;

static work find_work(const pooled_state *s, char *scratch, int index)
{
    char *at = scratch + s->table_bytes + (size_t)index * s->thread_bytes;
    work w = { .sources = (const float **)(void *)at };
    w.biases = (double *)(void *)(at + s->list_bytes);
    w.values = (float *)(void *)(w.biases + s->conv.filters);
    w.image = (float *)(void *)(at + 2 * s->list_bytes + (size_t)s->conv.filters * 8);
    w.sums = w.image + s->n_image;
    return w;
}

/* Between an image as it lies and the one with padding, row by row. */
static void copy_image(const pooled_state *s, float *image, float *padded, bool is_read)
{
    const ebb_window *c = &s->conv.w;
    const image_strides *i = &s->image;
    const int64_t n = s->conv.channels;
    const bool is_dense = i->column == n && (n == 1 || i->channel == 1);
    for (int64_t y = 0; y < c->size[1]; y++) {
        float *from = image + y * i->row;
        float *to = padded + (y + c->begin[1]) * s->row_step + c->begin[2] * n;
        if (is_dense && is_read)
            memcpy(to, from, (size_t)(c->size[2] * n) * sizeof *to);
        else if (is_dense)
            memcpy(from, to, (size_t)(c->size[2] * n) * sizeof *to);
        for (int64_t x = 0; x < c->size[2] && !is_dense; x++)
            for (int64_t k = 0; k < n; k++) {
                float *one = &from[x * i->column + k * i->channel], *other = &to[x * n + k];
                *(is_read ? other : one) = *(is_read ? one : other);
            }
    }
}

/* Keeps the value and its source if it is not 0 and comes from a tap, without a branch: half of all
 * values are 0 behind a relu, at random. */
static inline int64_t keep(const pooled_state *s, const work *w, int64_t n, const float *value,
                           uint8_t tap, const float *source)
{
    uint32_t bits;
    memcpy(&bits, value, sizeof bits);
    memcpy(&w->values[n], &bits, sizeof bits);
    w->sources[n] = source + s->tap_at[tap];
    return n + (((bits << 1) != 0) & (tap < s->pool.w.n_taps));
}

static void add_weights(const pooled_state *s, const ebb_call *call, const work *w, int64_t b)
{
    const float *dy = (const float *)call->inputs[1] + b * s->dy.batch;
    const uint8_t *where = (const uint8_t *)call->inputs[2] + b * s->where.batch;
    const int64_t n_sums = s->n_rows * s->n_vectors * 16;
    copy_image(s, (float *)call->inputs[0] + b * s->image.batch, w->image, true);
    for (int64_t o = 0; o < s->conv.filters; o++, dy += s->dy.channel, where += s->where.channel) {
        int64_t n = 0;
        for (int64_t i = 0; i < s->n_places; i++)
            n = keep(s, w, n, &dy[s->dy_at[i]], where[s->where_at[i]], w->image + s->at[i]);
        double bias = 0;
        for (int64_t i = 0; i < n; i++)
            bias += (double)w->values[i];
        w->biases[o] += bias;
        s->add_rows(&(ebb_rows){ .n_rows = s->n_rows,
                                 .n_vectors = s->n_vectors,
                                 .is_half = s->is_half,
                                 .n = n,
                                 .sources = w->sources,
                                 .values = w->values,
                                 .source_step = s->row_step,
                                 .sums = w->sums + o * n_sums,
                                 .sums_step = s->n_vectors * 16 });
    }
}

static void add_inputs(const pooled_state *s, const ebb_call *call, const work *w, int64_t b)
{
    const float *dy = (const float *)call->inputs[0] + b * s->dy.batch, *table = call->scratch;
    const uint8_t *where = (const uint8_t *)call->inputs[1] + b * s->where.batch;
    const int64_t n_filter = s->n_rows * s->n_vectors * 16 * s->pool.w.n_taps;
    memset(w->image, 0, (size_t)s->n_image * sizeof *w->image);
    for (int64_t i = 0; i < s->n_places; i++) {
        const float *value = dy + s->dy_at[i];
        const uint8_t *tap = where + s->where_at[i];
        int64_t n = 0;
        for (int64_t o = 0; o < s->conv.filters; o++)
            n = keep(s, w, n, &value[o * s->dy.channel], tap[o * s->where.channel],
                     table + o * n_filter);
        s->add_rows(&(ebb_rows){ .n_rows = s->n_rows,
                                 .n_vectors = s->n_vectors,
                                 .is_half = s->is_half,
                                 .n = n,
                                 .sources = w->sources,
                                 .values = w->values,
                                 .source_step = s->n_vectors * 16,
                                 .sums = w->image + s->at[i],
                                 .sums_step = s->row_step });
    }
    copy_image(s, (float *)call->results[0] + b * s->image.batch, w->image, false);
}

static void run_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const pooled_state *s = call->state;
    const work w = find_work(s, call->scratch, index);
    int64_t begin, end;
    ebb_parallel_part(s->conv.batch, index, n, &begin, &end);
    memset(w.image, 0, (size_t)s->n_image * sizeof *w.image);
    memset(w.sums, 0, s->sums_bytes);
    memset(w.biases, 0, (size_t)s->conv.filters * sizeof *w.biases);
    for (int64_t b = begin; b < end; b++) {
        if (s->gives_weights)
            add_weights(s, call, &w, b);
        else
            add_inputs(s, call, &w, b);
    }
}

/* Weights [filters, channels, rows, columns] as patches, moved to each tap of the pool. */
static void fill_table(const pooled_state *s, const float *weights, float *table)
{
    const int64_t n = s->conv.channels, *taps = s->conv.w.window, *window = s->pool.w.window;
    const int64_t step = s->n_vectors * 16;
    const image_strides *w = &s->weights;
    memset(table, 0, s->table_bytes);
    for (int64_t o = 0; o < s->conv.filters; o++)
        for (int64_t t = 0; t < s->pool.w.n_taps; t++, table += s->n_rows * step)
            for (int64_t c = 0; c < n; c++)
                for (int64_t y = 0; y < taps[1]; y++)
                    for (int64_t x = 0; x < taps[2]; x++)
                        table[(y + t / window[2]) * step + (x + t % window[2]) * n + c] =
                            weights[o * w->batch + c * w->channel + y * w->row + x * w->column];
}

/* The sums of all threads, as [filters, channels, rows, columns]. */
static void collect_weights(const pooled_state *s, const ebb_call *call, int n_threads)
{
    const int64_t n = s->conv.channels, *taps = s->conv.w.window, step = s->n_vectors * 16;
    float *dw = call->results[0], *db = call->results[1];
    work w = find_work(s, call->scratch, 0);
    for (int t = 1; t < n_threads; t++) {
        const work other = find_work(s, call->scratch, t);
        for (size_t i = 0; i < s->sums_bytes / sizeof(float); i++)
            w.sums[i] += other.sums[i];
        for (int64_t o = 0; o < s->conv.filters; o++)
            w.biases[o] += other.biases[o];
    }
    for (int64_t o = 0; o < s->conv.filters; o++, w.sums += s->n_rows * step) {
        db[o] = (float)w.biases[o];
        for (int64_t c = 0; c < n; c++)
            for (int64_t y = 0; y < taps[1]; y++)
                for (int64_t x = 0; x < taps[2]; x++)
                    *dw++ = w.sums[y * step + x * n + c];
    }
}

static ebb_status run_pooled(const ebb_call *call)
{
    const pooled_state *s = call->state;
    if (!s->gives_weights)
        fill_table(s, call->inputs[2], call->scratch);
    else /* OpenMP may give fewer threads than asked for */
        for (int t = 1; t < s->n_threads; t++) {
            const work w = find_work(s, call->scratch, t);
            memset(w.sums, 0, s->sums_bytes);
            memset(w.biases, 0, (size_t)s->conv.filters * sizeof *w.biases);
        }
    ebb_parallel(s->n_threads, run_part, (void *)call);
    if (s->gives_weights)
        collect_weights(s, call, s->n_threads);
    return EBB_OK;
}

/* ---- planning ---- */

static image_strides read_strides(const ebb_operand *operand)
{
    const int64_t *strides = operand->layout.strides;
    return (image_strides){ strides[0], strides[1], strides[2], strides[3] };
}

static ebb_status compile_pooled(const ebb_region *region, const ebb_compile_env *env,
                                 ebb_kernel *kernel)
{
    pooled_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    read_region(region, s);
    const ebb_window *p = &s->pool.w;
    const int64_t n = s->n_places = p->n_counts, channels = s->conv.channels;
    const int dy = s->gives_weights;
    s->add_rows = ebb_native_isa(env)->add_rows;
    s->image = read_strides(s->gives_weights ? &region->inputs[0] : &region->results[0]);
    s->dy = read_strides(&region->inputs[dy]);
    s->where = read_strides(&region->inputs[dy + 1]);
    s->weights = read_strides(s->gives_weights ? &region->results[0] : &region->inputs[2]);
    s->at = ebb_native_allocate(region, env, 3 * ((size_t)n + 1) * sizeof *s->at);
    if (!s->at)
        return EBB_OUT_OF_MEMORY;
    s->dy_at = s->at + n + 1;
    s->where_at = s->dy_at + n + 1;
    for (int64_t i = 0; i < n; i++) {
        const int64_t row = i / p->count[2], column = i % p->count[2];
        s->at[i] = row * p->stride[1] * s->row_step + column * p->stride[2] * channels;
        s->dy_at[i] = row * s->dy.row + column * s->dy.column;
        s->where_at[i] = row * s->where.row + column * s->where.column;
    }
    for (int64_t t = 0; t < p->n_taps; t++)
        s->tap_at[t] = s->gives_weights
                           ? t / p->window[2] * s->row_step + t % p->window[2] * channels
                           : t * s->n_rows * s->n_vectors * 16;
    const int64_t n_list = n > s->conv.filters ? n : s->conv.filters;
    const int64_t n_sums = s->n_rows * s->n_vectors * 16;
    s->list_bytes = ebb_native_round_up((size_t)(n_list + 1) * sizeof(void *));
    s->sums_bytes = s->gives_weights ? (size_t)(s->conv.filters * n_sums) * sizeof(float) : 0;
    s->table_bytes = ebb_native_round_up(s->table_bytes);
    s->thread_bytes = ebb_native_round_up(2 * s->list_bytes + (size_t)s->conv.filters * 8 +
                                          (size_t)s->n_image * sizeof(float) + s->sums_bytes) +
                      EBB_ALIGNMENT;
    s->n_threads = ebb_native_threads_for(
        region, s->conv.batch, s->conv.batch * n * s->conv.filters * s->n_rows * s->n_vectors,
        ENOUGH_WORK);
    kernel->scratch_bytes = s->table_bytes + s->thread_bytes * (size_t)s->n_threads;
    kernel->n_threads = s->n_threads;
    kernel->run = run_pooled;
    kernel->state = s;
    kernel->implementation = ebb_native_isa(env)->name;
    return EBB_OK;
}

const ebb_native_kind ebb_native_pooled_conv = { score_pooled, compile_pooled };
