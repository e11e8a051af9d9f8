/* A convolution and max_pool in one pass, with 16 images side by side in the lanes of vectors, so
 * that it does not matter how few channels and filters there are. Images are brought into that form
 * with their padding around them; rows of the convolution are pooled while they are in the cache,
 * and what comes out is brought back. For few channels: with many, oneDNN is as good. */
#include "backends/native/channels.h"
#include "backends/native/lane_images.h"
#include "ops/pooled_conv.h"
#include <string.h>

enum {
    IMAGES = EBB_LANE_IMAGES,
    MOST_CHANNELS = 8,
    MOST_FILTERS = 64,
    MOST_SCRATCH_BYTES = 2 << 20, /* of a thread: most of it is written once and read once */
    ENOUGH_WORK = 65536           /* multiply-adds that take about 4 us */
};

typedef struct forward_state {
    ebb_conv conv;
    ebb_pool pool;
    ebb_lane_images images;
    const ebb_vector_isa *isa;
    int64_t w_strides[4], bias_stride, y_batch;
    bool has_bias, gives_where, gives_last; /* channels next to each other */
    int64_t n_places;                       /* of a row of the convolution that are pooled */
    int64_t filters;                        /* of one place, all lanes */
    int64_t sum_step, n_sums, n_pooled;
    int64_t n_batches, n_blocks; /* of IMAGES images; of filters */
    int64_t *taps, *pool_offsets;
    int32_t *pool_taps;
    int64_t n_channel_taps;
    size_t table_bytes, thread_bytes;
    int n_threads;
} forward_state;

static void read_region(const ebb_region *region, forward_state *s)
{
    const ebb_shape *const inputs[2] = { &region->inputs[0].type->shape,
                                         &region->inputs[1].type->shape };
    ebb_conv_max_pool_read(region->attrs, inputs, &region->results[0].type->shape, &s->conv,
                           &s->pool);
    const ebb_window *c = &s->conv.w, *p = &s->pool.w;
    s->n_places = p->count[2] > 0 ? (p->count[2] - 1) * p->stride[2] + p->window[2] : 0;
    ebb_lane_images_read(&s->conv, &s->images);
    s->filters = s->conv.filters * IMAGES;
    s->n_pooled = p->n_counts * s->filters;
    s->n_channel_taps = s->conv.channels * c->n_taps;
    s->n_batches = ebb_lane_blocks(s->conv.batch);
    s->n_blocks = (s->conv.filters + EBB_LANE_FILTERS - 1) / EBB_LANE_FILTERS;
    s->sum_step = s->n_blocks > 0 ? (s->conv.filters + s->n_blocks - 1) / s->n_blocks * IMAGES : 0;
    s->n_sums = p->window[1] * s->n_places * s->sum_step;
    s->thread_bytes =
        (size_t)(s->images.n + s->n_sums + s->n_pooled) * sizeof(float) + (size_t)s->n_pooled;
}

static int score_forward(const ebb_region *region)
{
    const ebb_type *y = region->results[0].type;
    if (y->dtype != EBB_F32 || y->shape.rank != 4 || region->n_inputs > 3 ||
        region->results[1].type->dtype != EBB_U8 || !ebb_lane_images_take(&region->inputs[0]) ||
        !ebb_lane_images_take(&region->results[0]) ||
        !ebb_channels_lie_alike(&region->results[0], &region->results[1]))
        return EBB_SCORE_NONE;
    forward_state s;
    read_region(region, &s);
    const bool is_plain = ebb_pooled_conv_is_plain(&s.conv, &s.pool) && s.conv.channels > 0 &&
                          s.conv.filters > 0 && s.pool.w.n_counts > 0;
    /* No row may be computed twice. */
    const bool pays = s.conv.channels <= MOST_CHANNELS && s.conv.filters <= MOST_FILTERS &&
                      s.thread_bytes <= MOST_SCRATCH_BYTES && ebb_lane_batch_pays(s.conv.batch) &&
                      s.pool.w.stride[1] >= s.pool.w.window[1];
    /* One more than what computes a part of it. */
    return is_plain && pays ? EBB_SCORE_NATIVE + 1 : EBB_SCORE_NONE;
}

/* ---- running ---- */

/* What belongs to a thread. */
typedef struct work {
    const forward_state *s;
    const ebb_call *call;
    float *image, *sums, *pooled;
    uint8_t *where;
    int64_t first, n_images; /* at hand */
} work;

/* Filters of a block. */
static int64_t block_begin(const forward_state *s, int64_t block)
{
    return s->conv.filters * block / s->n_blocks;
}

/* Weights as [block][tap, channel][filter of the block], then biases. */
static void fill_table(const forward_state *s, const ebb_call *call, float *table)
{
    const float *w = call->inputs[1], *bias = s->has_bias ? call->inputs[2] : NULL;
    const int64_t *strides = s->w_strides, *taps = s->conv.w.window;
    for (int64_t block = 0; block < s->n_blocks; block++)
        for (int64_t y = 0; y < taps[1]; y++)
            for (int64_t x = 0; x < taps[2]; x++)
                for (int64_t c = 0; c < s->conv.channels; c++)
                    for (int64_t o = block_begin(s, block); o < block_begin(s, block + 1); o++)
                        *table++ =
                            w[o * strides[0] + c * strides[1] + y * strides[2] + x * strides[3]];
    for (int64_t o = 0; o < s->conv.filters; o++)
        *table++ = bias ? bias[o * s->bias_stride] : 0;
}

static void take_images(work *w, int64_t first)
{
    const forward_state *s = w->s;
    w->first = first;
    w->n_images = s->conv.batch - first < IMAGES ? s->conv.batch - first : IMAGES;
    ebb_lane_images_gather(&s->images, s->isa, w->call->inputs[0], first, w->n_images, w->image);
}

/* A row of results into `pooled`: what is pooled stays in the first-level cache. */
static void compute_row(const work *w, int64_t row)
{
    const forward_state *s = w->s;
    const ebb_window *c = &s->conv.w, *p = &s->pool.w;
    const float *table = w->call->scratch, *biases = table + s->conv.filters * s->n_channel_taps;
    for (int64_t block = 0; block < s->n_blocks; block++) {
        const int64_t begin = block_begin(s, block), n = block_begin(s, block + 1) - begin;
        for (int64_t i = 0; i < p->window[1]; i++)
            s->isa->lane_conv->convolve(&(ebb_lane_row){
                .n_places = s->n_places,
                .n_filters = n,
                .n_taps = s->n_channel_taps,
                .taps = s->taps,
                .weights = table + begin * s->n_channel_taps,
                .bias = biases + begin,
                .image = w->image + (row * p->stride[1] + i) * c->stride[1] * s->images.row,
                .place_step = c->stride[2] * s->images.column,
                .sums = w->sums + i * s->n_places * s->sum_step,
                .sum_step = s->sum_step });
        const int64_t to = row * p->count[2] * s->filters + begin * IMAGES;
        s->isa->pool_f32->max(&(ebb_pool_places){ .n = n * IMAGES,
                                                  .n_places = p->count[2],
                                                  .from_step = p->stride[2] * s->sum_step,
                                                  .to_step = s->filters,
                                                  .n_taps = p->n_taps,
                                                  .offsets = s->pool_offsets,
                                                  .taps = s->pool_taps },
                              w->sums, w->pooled + to, s->gives_where ? w->where + to : NULL);
    }
}

/* n elements that lie `step` apart in `pooled`, from `from` on, to each image's results, from `to`
 * on. */
static void give_run(const work *w, int64_t from, int64_t step, int64_t n, int64_t to)
{
    const forward_state *s = w->s;
    float *y = (float *)w->call->results[0] + w->first * s->y_batch + to;
    ebb_lanes_scatter(s->isa, w->pooled + from, step, n, w->n_images, y, s->y_batch);
    if (s->gives_where)
        s->isa->lane_conv->split_bytes(n, w->n_images, w->where + from, step,
                                       (uint8_t *)w->call->results[1] + w->first * s->y_batch + to,
                                       s->y_batch);
}

static void give_rows(const work *w, int64_t begin, int64_t end)
{
    const forward_state *s = w->s;
    const int64_t columns = s->pool.w.count[2], n = (end - begin) * columns;
    const int64_t from = begin * columns * s->filters;
    if (s->gives_last) {
        give_run(w, from, IMAGES, n * s->conv.filters, begin * columns * s->conv.filters);
        return;
    }
    for (int64_t o = 0; o < s->conv.filters; o++)
        give_run(w, from + o * IMAGES, s->filters, n, o * s->pool.w.n_counts + begin * columns);
}

static void run_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const forward_state *s = call->state;
    char *own = (char *)call->scratch + s->table_bytes + (size_t)index * s->thread_bytes;
    work w = { .s = s, .call = call, .image = (float *)(void *)own };
    w.sums = w.image + s->images.n;
    w.pooled = w.sums + s->n_sums;
    w.where = (uint8_t *)(w.pooled + s->n_pooled);
    const int64_t rows = s->pool.w.count[1];
    int64_t begin, end;
    ebb_parallel_part(s->n_batches * rows, index, n, &begin, &end);
    memset(w.image, 0, (size_t)s->images.n * sizeof(float));
    while (begin < end) {
        const int64_t batch = begin / rows, first = begin % rows;
        const int64_t last = rows < end - batch * rows ? rows : end - batch * rows;
        take_images(&w, batch * IMAGES);
        for (int64_t row = first; row < last; row++)
            compute_row(&w, row);
        give_rows(&w, first, last);
        begin += last - first;
    }
}

static ebb_status run_forward(const ebb_call *call)
{
    const forward_state *s = call->state;
    fill_table(s, call, call->scratch);
    ebb_parallel(s->n_threads, run_part, (void *)call);
    return EBB_OK;
}

/* ---- planning ---- */

static bool fill_taps(const ebb_region *region, const ebb_compile_env *env, forward_state *s)
{
    const ebb_window *c = &s->conv.w, *p = &s->pool.w;
    const size_t n = (size_t)s->n_channel_taps, n_pool = (size_t)p->n_taps;
    s->taps = ebb_native_allocate(region, env, (n + 1) * sizeof *s->taps);
    s->pool_offsets = ebb_native_allocate(region, env, n_pool * sizeof *s->pool_offsets);
    s->pool_taps = ebb_native_allocate(region, env, n_pool * sizeof *s->pool_taps);
    if (!s->taps || !s->pool_offsets || !s->pool_taps)
        return false;
    for (int64_t k = 0; k < s->n_channel_taps; k++) {
        const int64_t tap = k / s->conv.channels, y = tap / c->window[2], x = tap % c->window[2];
        s->taps[k] = y * c->dilation[1] * s->images.row + x * c->dilation[2] * s->images.column +
                     k % s->conv.channels * IMAGES;
    }
    for (int64_t k = 0; k < p->n_taps; k++) {
        s->pool_offsets[k] = (k / p->window[2] * s->n_places + k % p->window[2]) * s->sum_step;
        s->pool_taps[k] = (int32_t)k;
    }
    return true;
}

static ebb_status compile_forward(const ebb_region *region, const ebb_compile_env *env,
                                  ebb_kernel *kernel)
{
    forward_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    read_region(region, s);
    s->isa = ebb_native_isa(env);
    if (!fill_taps(region, env, s))
        return EBB_OUT_OF_MEMORY;
    ebb_lane_images_bind(&s->images, &region->inputs[0]);
    memcpy(s->w_strides, region->inputs[1].layout.strides, sizeof s->w_strides);
    s->has_bias = region->n_inputs > 2;
    s->gives_where = !region->results[1].is_unread;
    s->bias_stride = s->has_bias ? region->inputs[2].layout.strides[0] : 0;
    s->gives_last = ebb_channels_lie_last(&region->results[0]);
    s->y_batch = s->conv.filters * s->pool.w.n_counts;
    s->table_bytes =
        ebb_native_round_up((size_t)(s->conv.filters * (s->n_channel_taps + 1)) * sizeof(float));
    s->thread_bytes = ebb_native_round_up(s->thread_bytes);
    const int64_t n_tasks = s->n_batches * s->pool.w.count[1];
    s->n_threads =
        ebb_native_threads_for(region, n_tasks,
                               s->conv.batch * s->conv.filters * s->n_channel_taps * s->n_places *
                                   s->pool.w.count[1] * s->pool.w.window[1],
                               ENOUGH_WORK);
    kernel->scratch_bytes = s->table_bytes + s->thread_bytes * (size_t)s->n_threads;
    kernel->n_threads = s->n_threads;
    kernel->left_out = s->gives_where ? 0 : 1u << 1;
    kernel->run = run_forward;
    kernel->state = s;
    kernel->implementation = s->isa->name;
    return EBB_OK;
}

const ebb_native_kind ebb_native_conv_max_pool = { score_forward, compile_forward };

bool ebb_native_conv_max_pool_wish(const ebb_region *region, ebb_layout *results)
{
    if (region->results[0].type->shape.rank != 4 || !ebb_channels_lie_last(&region->inputs[0]))
        return false;
    for (int r = 0; r < region->n_results; r++)
        results[r] = ebb_layout_channels_last(&region->results[r].type->shape);
    return true;
}
