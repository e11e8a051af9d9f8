/* The gradient of a convolution's weights with 16 images side by side in the lanes of vectors, for
 * one or two channels, which fill little of a vector otherwise. Behind max_pool, too: there all
 * taps are multiplied, those that are no maxima with 0, and still less time goes by than with
 * patches (pooled_conv.c), since nothing is looked for and sums stay in registers. */
#include "backends/native/channels.h"
#include "backends/native/lane_images.h"
#include "ops/pooled_conv.h"
#include <string.h>

enum {
    IMAGES = EBB_LANE_IMAGES,
    MOST_CHANNELS = 2,
    MOST_FILTERS = 64,
    MOST_POOL_TAPS = 64,
    MOST_BLOCK = 5,               /* filters whose cotangents are spread out at a time */
    MOST_SCRATCH_BYTES = 1 << 20, /* of a thread: half of a second-level cache */
    ENOUGH_WORK = 65536           /* multiply-adds that take about 4 us */
};

/* In elements. */
typedef struct lane_order {
    bool is_last; /* channels next to each other */
    int64_t filter, place;
} lane_order;

typedef struct grad_state {
    ebb_conv conv;
    bool has_bias;
    bool is_pooled; /* else windows of the pool are single places, and there is no `where` */
    ebb_pool pool;
    ebb_lane_images images;
    const ebb_vector_isa *isa;
    int64_t dy_batch;
    lane_order dy, where;
    int64_t n_places; /* of a row of the convolution that are pooled */
    int64_t n_dy;     /* of dy in lanes: a row, or all if it is pooled */
    int64_t n_block;  /* filters at a time */
    int64_t spread_row, spread_filter, n_spread;
    int64_t n_run, n_sums;                /* taps of a row, with channels; all sums */
    int64_t pool_offsets[MOST_POOL_TAPS]; /* in what is spread out */
    size_t thread_bytes;
    int64_t n_blocks;
    int n_threads;
} grad_state;

static void read_region(const ebb_region *region, grad_state *s)
{
    const ebb_shape *inputs[3], *result = &region->results[0].type->shape;
    for (int i = 0; i < region->n_inputs; i++)
        inputs[i] = &region->inputs[i].type->shape;
    s->is_pooled = region->op == &ebb_op_pooled_conv_weight_grad;
    s->has_bias = region->n_results > 1;
    const ebb_window *c = &s->conv.w, *p = &s->pool.w;
    if (s->is_pooled) {
        ebb_pooled_conv_read(region->op, region->attrs, inputs, result, &s->conv, &s->pool);
    } else {
        ebb_conv_read(region->op, region->attrs, inputs, result, &s->conv);
        s->pool.w = (ebb_window){ .window = { 1, 1, 1 },
                                  .stride = { 1, 1, 1 },
                                  .dilation = { 1, 1, 1 },
                                  .n_taps = 1,
                                  .n_counts = c->n_counts };
        memcpy(s->pool.w.count, c->count, sizeof c->count);
    }
    const int64_t filters = s->conv.filters;
    ebb_lane_images_read(&s->conv, &s->images);
    s->n_places = p->count[2] > 0 ? (p->count[2] - 1) * p->stride[2] + p->window[2] : 0;
    s->n_dy = filters * (s->is_pooled ? p->n_counts : p->count[2]) * IMAGES;
    s->spread_row = s->n_places * IMAGES;
    s->spread_filter = p->window[1] * s->spread_row;
    const int64_t n_parts = (filters + MOST_BLOCK - 1) / MOST_BLOCK;
    s->n_block = n_parts > 0 ? (filters + n_parts - 1) / n_parts : 0;
    s->n_spread = s->is_pooled ? s->n_block * s->spread_filter : 0;
    s->n_run = c->window[2] * s->conv.channels * IMAGES;
    s->n_sums = filters * (c->window[1] * s->n_run + IMAGES); /* the last: of the bias */
    s->n_blocks = ebb_lane_blocks(s->conv.batch);
    s->thread_bytes = (size_t)(s->images.n + s->n_spread + s->n_sums + s->n_dy) * sizeof(float) +
                      (s->is_pooled ? (size_t)s->n_dy : 0);
}

static int score_grad(const ebb_region *region)
{
    if (region->results[0].type->dtype != EBB_F32 || region->results[0].type->shape.rank != 4 ||
        (region->n_inputs > 2 && region->inputs[2].type->dtype != EBB_U8))
        return EBB_SCORE_NONE;
    for (int i = 0; i < region->n_inputs; i++)
        if (!ebb_lane_images_take(&region->inputs[i]))
            return EBB_SCORE_NONE;
    grad_state s;
    read_region(region, &s);
    const ebb_window *p = &s.pool.w;
    bool is_plain = ebb_pooled_conv_is_plain(&s.conv, &s.pool) && s.conv.channels > 0 &&
                    s.conv.filters > 0 && p->n_counts > 0 && s.conv.w.dilation[2] == 1 &&
                    p->n_taps <= MOST_POOL_TAPS;
    for (int d = 0; d < EBB_MAX_SPATIAL; d++)
        is_plain = is_plain && p->stride[d] >= p->window[d];
    const bool pays = s.conv.channels <= MOST_CHANNELS && s.conv.filters <= MOST_FILTERS &&
                      s.thread_bytes <= MOST_SCRATCH_BYTES && ebb_lane_batch_pays(s.conv.batch);
    /* One more than what is as good for other shapes: oneDNN, patches. */
    const int score = s.is_pooled ? EBB_SCORE_NATIVE : EBB_SCORE_BEST;
    return is_plain && pays ? score + 1 : EBB_SCORE_NONE;
}

/* ---- running ---- */

/* Images at hand. */
typedef struct block {
    int64_t first, n_images;
} block;

/* What belongs to a thread. */
typedef struct work {
    float *image, *spread, *sums, *biases, *dy;
    uint8_t *where;
} work;

static work find_work(const grad_state *s, void *scratch, int index)
{
    work w = { .image = (float *)(void *)((char *)scratch + (size_t)index * s->thread_bytes) };
    w.spread = w.image + s->images.n;
    w.sums = w.spread + s->n_spread;
    w.biases = w.sums + s->conv.filters * s->conv.w.window[1] * s->n_run;
    w.dy = w.sums + s->n_sums;
    w.where = (uint8_t *)(w.dy + s->n_dy);
    return w;
}

/* Rows begin..end-1 of dy, and of `where` if there is one, of a block of images: of each channel,
 * or of all at once. */
static void take_rows(const grad_state *s, const ebb_call *call, const work *w, const block *b,
                      int64_t begin, int64_t end)
{
    const int64_t columns = s->pool.w.count[2], step = s->pool.w.n_counts;
    for (int input = 1; input <= 1 + s->is_pooled; input++) {
        const lane_order *order = input == 1 ? &s->dy : &s->where;
        const int64_t n_planes = order->is_last ? 1 : s->conv.filters;
        const int64_t width = order->is_last ? s->conv.filters : 1;
        const int64_t n = (end - begin) * columns * width;
        int64_t from = b->first * s->dy_batch + begin * columns * width;
        int64_t to = s->is_pooled ? begin * order->place * columns : 0;
        for (int64_t o = 0; o < n_planes; o++, from += step, to += order->filter) {
            if (input == 1)
                ebb_lanes_gather(s->isa, (const float *)call->inputs[1] + from, s->dy_batch,
                                 b->n_images, n, w->dy + to, IMAGES);
            else
                ebb_lanes_gather_bytes(s->isa, (const uint8_t *)call->inputs[2] + from, s->dy_batch,
                                       b->n_images, n, w->where + to, IMAGES);
        }
    }
}

/* dy of n filters from o on and one row of windows, where the convolution has it. */
static void spread(const grad_state *s, const work *w, int64_t row, int64_t o, int64_t n)
{
    const ebb_window *p = &s->pool.w;
    const int64_t place = row * p->count[2];
    for (int64_t f = 0; f < n; f++)
        s->isa->lane_conv->unpool(&(ebb_lane_windows){
            .n_windows = p->count[2],
            .n_taps = p->n_taps,
            .offsets = s->pool_offsets,
            .dy = w->dy + (o + f) * s->dy.filter + place * s->dy.place,
            .where = w->where + (o + f) * s->where.filter + place * s->where.place,
            .dy_step = s->dy.place,
            .where_step = s->where.place,
            .to = w->spread + f * s->spread_filter,
            .to_step = p->stride[2] * IMAGES,
            .sum = w->biases + (o + f) * IMAGES });
}

/* One row of windows. */
static void add_row(const grad_state *s, const work *w, int64_t row)
{
    static const _Alignas(
        64) float ones[IMAGES] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    const ebb_window *c = &s->conv.w, *p = &s->pool.w;
    const int64_t sum_step = c->window[1] * s->n_run;
    for (int64_t o = 0, n; o < s->conv.filters; o += n) {
        n = s->conv.filters - o < s->n_block ? s->conv.filters - o : s->n_block;
        ebb_lane_products products = { .n_rows = p->window[1],
                                       .n_places = s->n_places,
                                       .n_filters = n,
                                       .n_taps = s->n_run / IMAGES,
                                       .row_step = c->stride[1] * s->images.row,
                                       .place_step = c->stride[2] * s->images.column,
                                       .sum_step = sum_step };
        if (s->is_pooled) {
            spread(s, w, row, o, n);
            products.dy = w->spread;
            products.dy_filter = s->spread_filter;
            products.dy_row = s->spread_row;
            products.dy_place = IMAGES;
        } else {
            products.dy = w->dy + o * s->dy.filter;
            products.dy_filter = s->dy.filter;
            products.dy_place = s->dy.place;
            ebb_lane_products bias = products; /* dy times 1 */
            bias.n_taps = 1;
            bias.image = ones;
            bias.place_step = 0;
            bias.sums = w->biases + o * IMAGES;
            bias.sum_step = IMAGES;
            s->isa->lane_conv->add_products(&bias);
        }
        for (int64_t y = 0; y < c->window[1]; y++) {
            products.image =
                w->image + (row * p->stride[1] * c->stride[1] + y * c->dilation[1]) * s->images.row;
            products.sums = w->sums + o * sum_step + y * s->n_run;
            s->isa->lane_conv->add_products(&products);
        }
    }
}

static void run_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const grad_state *s = call->state;
    const work w = find_work(s, call->scratch, index);
    const int64_t n_rows = s->pool.w.count[1];
    int64_t begin, end;
    ebb_parallel_part(s->n_blocks * n_rows, index, n, &begin, &end);
    /* Images, cotangents ... of lanes that stay idle are 0, and so is what no window covers. */
    memset(w.image, 0, s->thread_bytes);
    while (begin < end) {
        const int64_t index_of_block = begin / n_rows, first_row = begin % n_rows;
        const int64_t last_row =
            n_rows < end - index_of_block * n_rows ? n_rows : end - index_of_block * n_rows;
        block b = { .first = index_of_block * IMAGES };
        b.n_images = s->conv.batch - b.first < IMAGES ? s->conv.batch - b.first : IMAGES;
        if (b.n_images < IMAGES) {
            memset(w.image, 0, (size_t)s->images.n * sizeof(float));
            memset(w.dy, 0, (size_t)s->n_dy * sizeof(float));
        }
        ebb_lane_images_gather(&s->images, s->isa, call->inputs[0], b.first, b.n_images, w.image);
        if (s->is_pooled)
            take_rows(s, call, &w, &b, first_row, last_row);
        for (int64_t row = first_row; row < last_row; row++) {
            if (!s->is_pooled)
                take_rows(s, call, &w, &b, row, row + 1);
            add_row(s, &w, row);
        }
        begin += last_row - first_row;
    }
}

/* The sums of all threads and lanes, as [filters, channels, rows, columns]. */
static void collect(const grad_state *s, const ebb_call *call)
{
    const int64_t channels = s->conv.channels, *taps = s->conv.w.window;
    const work w = find_work(s, call->scratch, 0);
    float *dw = call->results[0], *db = s->has_bias ? call->results[1] : NULL;
    for (int t = 1; t < s->n_threads; t++) {
        const work other = find_work(s, call->scratch, t);
        for (int64_t i = 0; i < s->n_sums; i++)
            w.sums[i] += other.sums[i];
    }
    for (int64_t i = 0; i < s->n_sums; i += IMAGES) {
        float *lanes = w.sums + i;
        for (int half = IMAGES / 2; half > 0; half /= 2)
            for (int lane = 0; lane < half; lane++)
                lanes[lane] += lanes[lane + half];
    }
    for (int64_t o = 0; o < s->conv.filters; o++) {
        const float *sums = w.sums + o * taps[1] * s->n_run;
        if (db)
            db[o] = w.biases[o * IMAGES];
        for (int64_t c = 0; c < channels; c++)
            for (int64_t y = 0; y < taps[1]; y++)
                for (int64_t x = 0; x < taps[2]; x++)
                    *dw++ = sums[y * s->n_run + (x * channels + c) * IMAGES];
    }
}

static ebb_status run_grad(const ebb_call *call)
{
    const grad_state *s = call->state;
    for (int t = 1; t < s->n_threads; t++) /* OpenMP may give fewer threads than asked for */
        memset(find_work(s, call->scratch, t).sums, 0, (size_t)s->n_sums * sizeof(float));
    ebb_parallel(s->n_threads, run_part, (void *)call);
    collect(s, call);
    return EBB_OK;
}

/* ---- planning ---- */

static lane_order order_of(const grad_state *s, const ebb_operand *operand)
{
    if (ebb_channels_lie_last(operand))
        return (lane_order){ true, IMAGES, s->conv.filters * IMAGES };
    const int64_t n = s->is_pooled ? s->pool.w.n_counts : s->pool.w.count[2];
    return (lane_order){ false, n * IMAGES, IMAGES };
}

static ebb_status compile_grad(const ebb_region *region, const ebb_compile_env *env,
                               ebb_kernel *kernel)
{
    grad_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    read_region(region, s);
    const ebb_window *p = &s->pool.w;
    ebb_lane_images_bind(&s->images, &region->inputs[0]);
    s->isa = ebb_native_isa(env);
    s->dy_batch = s->conv.filters * p->n_counts;
    s->dy = order_of(s, &region->inputs[1]);
    if (s->is_pooled)
        s->where = order_of(s, &region->inputs[2]);
    for (int64_t t = 0; t < p->n_taps; t++)
        s->pool_offsets[t] = t / p->window[2] * s->spread_row + t % p->window[2] * IMAGES;
    s->thread_bytes = ebb_native_round_up(s->thread_bytes);
    const int64_t n_tasks = s->n_blocks * p->count[1];
    s->n_threads = ebb_native_threads_for(region, n_tasks,
                                          s->conv.batch * p->n_counts * p->n_taps *
                                              s->conv.filters * s->conv.channels * s->conv.w.n_taps,
                                          ENOUGH_WORK);
    kernel->scratch_bytes = s->thread_bytes * (size_t)s->n_threads;
    kernel->n_threads = s->n_threads;
    kernel->run = run_grad;
    kernel->state = s;
    kernel->implementation = s->isa->name;
    return EBB_OK;
}

const ebb_native_kind ebb_native_lane_weight_grad = { score_grad, compile_grad };
