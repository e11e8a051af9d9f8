/* The gradient of a convolution's weights for small images that lie channels last, without
 * multiplying padding: which places of dy a tap has pixels for is listed when the kernel is made.
 * dw[filter][channel][tap] is the sum over those rows of x times dy. The sums of 8 channels and 48
 * filters stay in registers for all rows of a chunk of images; then they are added to the weights,
 * which lie in the blocks of oneDNN's convolutions (docs/decisions/0009-home-layouts.md). */
#include "backends/native/channels.h"
#include "backends/native/direct_conv.h"
#include <limits.h>
#include <string.h>

enum {
    BLOCK = EBB_WEIGHT_BLOCK,
    LANES = 16,       /* of the instruction set where this is known to pay */
    CHUNK_ROWS = 128, /* of dy that stay in a first-level cache, with x and sums */
    PANEL_ROWS = 512, /* of dy for all filters of a group, in a second-level cache */
    MOST_SUMMANDS = 256,
    GROUP_TILES = 4,
    ENOUGH_WORK = 262144 /* multiply-adds that take about 4 us */
};

/* A chunk has so many rows, but whole images; a panel has whole chunks. */
typedef struct grad_state {
    ebb_conv conv;
    bool has_bias, is_dense; /* is_dense: the result, and its sums lie in the scratch */
    const ebb_vector_isa *isa;
    int64_t n_channel_blocks, n_filter_blocks;
    int64_t n_groups, n_tiles, n_wide; /* of filters; blocks of a wide tile */
    int64_t chunk_images, panel_images;
    int64_t n_pixels;     /* of an image that are read .. */
    int32_t *pixels;      /* .. and where, for the images of a chunk */
    ebb_weight_row *rows; /* of each tap, for the images of a chunk .. */
    int64_t *first_rows;  /* .. from [tap] to [tap + 1], the same number of each image */
    int64_t dy_tile;      /* elements of a tile of a panel */
    size_t sums_bytes, dy_bytes, thread_bytes;
    int n_threads;
} grad_state;

static ebb_conv read_conv(const ebb_region *region)
{
    ebb_conv conv;
    const ebb_shape *shapes[2] = { &region->inputs[0].type->shape, &region->inputs[1].type->shape };
    ebb_conv_read(region->op, region->attrs, shapes, &region->results[0].type->shape, &conv);
    return conv;
}

/* ---- where it pays ---- */

static int64_t images_of(int64_t rows, const ebb_conv *conv)
{
    const int64_t n = rows / conv->w.n_counts;
    return n < 1 ? 1 : n < conv->batch ? n : conv->batch;
}

/* Measured against oneDNN 2.6.3 with AVX-512, one and two threads: images of 13x13 are faster by 5%
 * and those of 4x4 by 50%, of 14x14 hardly; with strides those of 28x28 are by 10 to 20%. With
 * windows of one tap, which have no padding, or fewer channels, oneDNN is as fast or faster. */
static bool pays(const ebb_conv *conv)
{
    enum {
        MOST_PLACES = 169,
        MOST_STRIDED_PLACES = 784,
        LEAST_CHANNELS = 64,
        LEAST_STRIDED_FILTERS = 128,
        MOST_TAPS = 49
    };
    const ebb_window *w = &conv->w;
    const bool is_strided = w->stride[0] * w->stride[1] * w->stride[2] > 1;
    const int64_t most =
        is_strided && conv->filters >= LEAST_STRIDED_FILTERS ? MOST_STRIDED_PLACES : MOST_PLACES;
    return w->n_counts <= most && w->n_taps > 1 && w->n_taps <= MOST_TAPS &&
           conv->channels >= LEAST_CHANNELS && conv->filters >= LEAST_CHANNELS;
}

static bool takes(const ebb_region *region)
{
    if (region->results[0].type->dtype != EBB_F32 ||
        ebb_vector_isa_here()->product_f32->lanes < LANES)
        return false;
    const ebb_conv conv = read_conv(region);
    if (conv.groups != 1 || conv.batch == 0 || conv.w.n_counts == 0 || conv.channels % BLOCK ||
        conv.filters % BLOCK || !pays(&conv))
        return false;
    const int64_t n_images = images_of(CHUNK_ROWS, &conv);
    return conv.w.n_sizes <= INT32_MAX / conv.channels / n_images;
}

static int score_grad(const ebb_region *region)
{
    const ebb_operand *dw = &region->results[0];
    return takes(region) && ebb_direct_conv_lies_last(&region->inputs[0]) &&
                   ebb_direct_conv_lies_last(&region->inputs[1]) &&
                   (ebb_layout_is_dense(&dw->layout, &dw->type->shape) ||
                    ebb_direct_conv_in_blocks(dw))
               ? EBB_SCORE_BEST + 1
               : EBB_SCORE_NONE;
}

bool ebb_native_direct_weight_grad_wish(const ebb_region *region, ebb_layout *inputs,
                                        ebb_layout *results)
{
    /* Images in blocks are copied only where they would be for oneDNN, too. */
    enum { FEW_PLACES = 16 };
    if (!takes(region) || ((ebb_channels_in_blocks(&region->inputs[0]) ||
                            ebb_channels_in_blocks(&region->inputs[1])) &&
                           read_conv(region).w.n_counts > FEW_PLACES))
        return false;
    const ebb_operand dw = { .type = region->results[0].type, .layout = results[0] };
    for (int i = 0; i < 2; i++)
        inputs[i] = ebb_layout_channels_last(&region->inputs[i].type->shape);
    if (!ebb_direct_conv_in_blocks(&dw))
        results[0] = ebb_layout_dense(&dw.type->shape);
    return true;
}

/* ---- running ---- */

/* Filters whose cotangents are packed at the same time, in tiles of at most EBB_WEIGHT_BLOCKS
 * blocks: x is packed once for all of them. */
typedef struct group {
    int64_t first, end;            /* tiles */
    int64_t first_block, n_blocks; /* of filters */
} group;

static int64_t first_block(const grad_state *s, int64_t tile)
{
    return tile * s->n_filter_blocks / s->n_tiles;
}

static group group_at(const grad_state *s, int64_t index)
{
    group g = { .first = index * s->n_tiles / s->n_groups,
                .end = (index + 1) * s->n_tiles / s->n_groups };
    g.first_block = first_block(s, g.first);
    g.n_blocks = first_block(s, g.end) - g.first_block;
    return g;
}

/* What belongs to a thread. */
typedef struct work {
    const ebb_call *call;
    const grad_state *s;
    float *sums;   /* all of them, of all threads */
    float *dy, *x; /* [tile][row][filters of a tile] of a panel, [pixel][BLOCK] of a chunk */
    double biases[GROUP_TILES * EBB_WEIGHT_BLOCKS * BLOCK];
} work;

/* Images at hand. */
typedef struct images {
    int64_t first, n;
} images;

/* The next ones behind `at`. */
static images take_images(int64_t at, int64_t end, int64_t n)
{
    return (images){ at, end - at < n ? end - at : n };
}

/* A block of channels with a tile of filters. `dy` is where it lies for these images. */
static void add_tile(const work *w, int64_t tile, int64_t channel, const images *chunk,
                     const float *dy)
{
    const grad_state *s = w->s;
    const int64_t n_taps = s->conv.w.n_taps, n_sums = n_taps * BLOCK * BLOCK;
    const int64_t first = first_block(s, tile);
    ebb_weight_products p = { .x = w->x,
                              .dy = dy,
                              .n_blocks = first_block(s, tile + 1) - first,
                              .sums = w->sums + (first * s->n_channel_blocks + channel) * n_sums,
                              .sum_step = s->n_channel_blocks * n_sums };
    for (int64_t tap = 0; tap < n_taps; tap++, p.sums += BLOCK * BLOCK) {
        int64_t left = (s->first_rows[tap + 1] - s->first_rows[tap]) / s->chunk_images * chunk->n;
        p.rows = s->rows + s->first_rows[tap];
        p.is_first = chunk->first == 0;
        do { /* once for a tap that has no pixels, too */
            p.n_rows = left < MOST_SUMMANDS ? left : MOST_SUMMANDS;
            s->isa->weight_grad->add_products(&p);
            p.is_first = false;
            p.rows += p.n_rows;
            left -= p.n_rows;
        } while (left > 0);
    }
}

/* A block of channels with a group of filters. */
static void add_chunk(const work *w, const group *g, int64_t channel, const images *panel,
                      const images *chunk)
{
    const grad_state *s = w->s;
    const ebb_conv *c = &s->conv;
    const float *x = (const float *)w->call->inputs[0] + channel * BLOCK +
                     chunk->first * c->w.n_sizes * c->channels;
    const float *dy = w->dy + (chunk->first - panel->first) * c->w.n_counts * s->n_wide * BLOCK;
    s->isa->weight_grad->gather(&(ebb_weight_gather){ .n_rows = chunk->n * s->n_pixels,
                                                      .n = BLOCK,
                                                      .from = x,
                                                      .offsets = s->pixels,
                                                      .to = w->x,
                                                      .to_step = BLOCK });
    for (int64_t tile = g->first; tile < g->end; tile++)
        add_tile(w, tile, channel, chunk, dy + (tile - g->first) * s->dy_tile);
}

/* dy of a panel, and what it adds to the biases. */
static void pack_dy(work *w, const group *g, const images *panel, bool add_biases)
{
    const grad_state *s = w->s;
    const ebb_conv *c = &s->conv;
    const float *dy = (const float *)w->call->inputs[1] + panel->first * c->w.n_counts * c->filters;
    for (int64_t tile = g->first; tile < g->end; tile++) {
        const int64_t first = first_block(s, tile);
        const ebb_weight_gather rows = { .n_rows = panel->n * c->w.n_counts,
                                         .n = (first_block(s, tile + 1) - first) * BLOCK,
                                         .from = dy + first * BLOCK,
                                         .from_step = c->filters,
                                         .to = w->dy + (tile - g->first) * s->dy_tile,
                                         .to_step = s->n_wide * BLOCK };
        s->isa->weight_grad->gather(&rows);
        if (add_biases)
            s->isa->reduce_f32->rows[EBB_REDUCE_SUM](rows.n_rows, rows.to_step, rows.n, rows.to,
                                                     w->biases + (first - g->first_block) * BLOCK);
    }
}

/* Out of the blocks, to [filters, channels, taps]. */
static void bring_back(const work *w, const group *g, int64_t channel)
{
    const grad_state *s = w->s;
    const int64_t n_taps = s->conv.w.n_taps, n_channels = s->conv.channels;
    float *dw = (float *)w->call->results[0] + channel * BLOCK * n_taps;
    for (int64_t f = g->first_block; f < g->first_block + g->n_blocks; f++) {
        const float *sums = w->sums + (f * s->n_channel_blocks + channel) * n_taps * BLOCK * BLOCK;
        for (int64_t i = 0; i < BLOCK; i++)
            s->isa->move->transpose(
                &(ebb_transposed){ .from = sums + i * BLOCK,
                                   .to = dw + f * BLOCK * n_channels * n_taps + i * n_taps,
                                   .from_last = BLOCK * BLOCK,
                                   .to_near = n_channels * n_taps,
                                   .n_near = BLOCK,
                                   .n_last = n_taps });
    }
}

/* Blocks of channels begin..end-1 with a group of filters; the biases go with the first block. */
static void add_group(work *w, const group *g, int64_t begin, int64_t end)
{
    const grad_state *s = w->s;
    const bool has_bias = s->has_bias && begin == 0;
    const int64_t batch = s->conv.batch;
    memset(w->biases, 0, sizeof w->biases);
    for (int64_t at = 0; at < batch; at += s->panel_images) {
        const images panel = take_images(at, batch, s->panel_images);
        pack_dy(w, g, &panel, has_bias);
        for (int64_t channel = begin; channel < end; channel++)
            for (int64_t i = at; i < at + panel.n; i += s->chunk_images) {
                const images chunk = take_images(i, at + panel.n, s->chunk_images);
                add_chunk(w, g, channel, &panel, &chunk);
            }
    }
    for (int64_t f = 0; has_bias && f < g->n_blocks * BLOCK; f++)
        ((float *)w->call->results[1])[g->first_block * BLOCK + f] = (float)w->biases[f];
    for (int64_t channel = begin; s->is_dense && channel < end; channel++)
        bring_back(w, g, channel);
}

/* The first block of channels whose pair with this group begins at unit `at` or behind it. Units
 * are pairs of blocks of filters and of channels. */
static int64_t channel_at(const grad_state *s, const group *g, int64_t at)
{
    const int64_t start = g->first_block * s->n_channel_blocks;
    const int64_t channel = at > start ? (at - start + g->n_blocks - 1) / g->n_blocks : 0;
    return channel < s->n_channel_blocks ? channel : s->n_channel_blocks;
}

/* A thread has all pairs of a group and a block of channels that begin in its part. */
static void run_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const grad_state *s = call->state;
    char *own = (char *)call->scratch + s->sums_bytes + (size_t)index * s->thread_bytes;
    work w = { .call = call,
               .s = s,
               .sums = s->is_dense ? call->scratch : call->results[0],
               .dy = (float *)(void *)own,
               .x = (float *)(void *)(own + s->dy_bytes) };
    int64_t begin, end;
    ebb_parallel_part(s->n_filter_blocks * s->n_channel_blocks, index, n, &begin, &end);
    for (int64_t i = 0; i < s->n_groups; i++) {
        const group g = group_at(s, i);
        const int64_t first = channel_at(s, &g, begin), last = channel_at(s, &g, end);
        if (first < last)
            add_group(&w, &g, first, last);
    }
}

static ebb_status run_grad(const ebb_call *call)
{
    ebb_parallel(((const grad_state *)call->state)->n_threads, run_part, (void *)call);
    return EBB_OK;
}

/* ---- planning ---- */

/* The pixel that a tap reads for a place; -1: padding. */
static int64_t pixel_of(const ebb_window *w, int64_t place, int64_t tap)
{
    int64_t at[EBB_MAX_SPATIAL], k[EBB_MAX_SPATIAL], pixel = 0;
    ebb_window_split(place, w->count, at);
    ebb_window_split(tap, w->window, k);
    for (int d = 0; d < EBB_MAX_SPATIAL; d++) {
        const int64_t i = at[d] * w->stride[d] + k[d] * w->dilation[d] - w->begin[d];
        if (i < 0 || i >= w->size[d])
            return -1;
        pixel = pixel * w->size[d] + i;
    }
    return pixel;
}

/* The pixels that are read, for all images of a chunk. numbers[]: of those of an image among them.
 */
static void list_pixels(grad_state *s, int32_t *numbers)
{
    const ebb_window *w = &s->conv.w;
    for (int64_t tap = 0; tap < w->n_taps; tap++)
        for (int64_t place = 0; place < w->n_counts; place++) {
            const int64_t pixel = pixel_of(w, place, tap);
            if (pixel >= 0)
                numbers[pixel] = 1;
        }
    for (int64_t i = 0; i < w->n_sizes; i++)
        if (numbers[i]) {
            s->pixels[s->n_pixels] = (int32_t)(i * s->conv.channels);
            numbers[i] = (int32_t)s->n_pixels++;
        }
    for (int64_t i = s->n_pixels; i < s->n_pixels * s->chunk_images; i++)
        s->pixels[i] = s->pixels[i - s->n_pixels] + (int32_t)(w->n_sizes * s->conv.channels);
}

static void list_rows(grad_state *s, const int32_t *numbers)
{
    const ebb_window *w = &s->conv.w;
    int64_t n = 0;
    for (int64_t tap = 0; tap < w->n_taps; tap++) {
        s->first_rows[tap] = n;
        for (int64_t image = 0; image < s->chunk_images; image++)
            for (int64_t place = 0; place < w->n_counts; place++) {
                const int64_t pixel = pixel_of(w, place, tap);
                if (pixel < 0)
                    continue;
                const int64_t x = image * s->n_pixels + numbers[pixel];
                const int64_t dy = (image * w->n_counts + place) * s->n_wide;
                s->rows[n++] = (ebb_weight_row){ (int32_t)(x * BLOCK), (int32_t)(dy * BLOCK) };
            }
    }
    s->first_rows[w->n_taps] = n;
}

static ebb_status make_lists(const ebb_region *region, const ebb_compile_env *env, grad_state *s)
{
    const ebb_window *w = &s->conv.w;
    const size_t n_images = (size_t)s->chunk_images, n_taps = (size_t)w->n_taps;
    const size_t n_sizes = (size_t)w->n_sizes, n_counts = (size_t)w->n_counts;
    int32_t *numbers = ebb_native_allocate(region, env, n_sizes * sizeof *numbers);
    s->pixels = ebb_native_allocate(region, env, n_images * n_sizes * sizeof *s->pixels);
    s->rows = ebb_native_allocate(region, env, n_images * n_counts * n_taps * sizeof *s->rows);
    s->first_rows = ebb_native_allocate(region, env, (n_taps + 1) * sizeof *s->first_rows);
    if (!numbers || !s->pixels || !s->rows || !s->first_rows)
        return EBB_OUT_OF_MEMORY;
    list_pixels(s, numbers);
    list_rows(s, numbers);
    return EBB_OK;
}

/* Tiles of about the same width, and so many in a group that each thread gets several pairs. */
static void share_out(const ebb_region *region, grad_state *s)
{
    const ebb_conv *c = &s->conv;
    s->n_channel_blocks = c->channels / BLOCK;
    s->n_filter_blocks = c->filters / BLOCK;
    s->n_tiles = (s->n_filter_blocks + EBB_WEIGHT_BLOCKS - 1) / EBB_WEIGHT_BLOCKS;
    s->n_wide = (s->n_filter_blocks + s->n_tiles - 1) / s->n_tiles;
    s->n_groups = (s->n_tiles + GROUP_TILES - 1) / GROUP_TILES;
    s->n_threads = ebb_native_threads(
        region, c->batch * c->w.n_counts * c->w.n_taps * c->channels * c->filters, ENOUGH_WORK);
    if (s->n_groups * s->n_channel_blocks < 4 * s->n_threads)
        s->n_groups = s->n_tiles;
    if (s->n_threads > s->n_groups * s->n_channel_blocks)
        s->n_threads = (int)(s->n_groups * s->n_channel_blocks);
}

static ebb_status compile_grad(const ebb_region *region, const ebb_compile_env *env,
                               ebb_kernel *kernel)
{
    grad_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    const ebb_operand *dw = &region->results[0];
    s->conv = read_conv(region);
    s->has_bias = region->n_results > 1;
    s->is_dense = !ebb_direct_conv_in_blocks(dw);
    s->isa = ebb_native_isa(env);
    s->chunk_images = images_of(CHUNK_ROWS, &s->conv);
    s->panel_images = images_of(PANEL_ROWS, &s->conv) / s->chunk_images * s->chunk_images;
    share_out(region, s);
    ebb_status status = make_lists(region, env, s);
    if (status)
        return status;
    const int64_t group_tiles = (s->n_tiles + s->n_groups - 1) / s->n_groups;
    s->dy_tile = s->panel_images * s->conv.w.n_counts * s->n_wide * BLOCK;
    s->sums_bytes = s->is_dense ? ebb_native_round_up(ebb_type_bytes(dw->type)) : 0;
    s->dy_bytes = ebb_native_round_up((size_t)(group_tiles * s->dy_tile) * sizeof(float));
    s->thread_bytes = s->dy_bytes + ebb_native_round_up((size_t)(s->chunk_images * s->n_pixels) *
                                                        BLOCK * sizeof(float));
    kernel->scratch_bytes = s->sums_bytes + s->thread_bytes * (size_t)s->n_threads;
    kernel->n_threads = s->n_threads;
    kernel->n_reorders = s->is_dense;
    kernel->run = run_grad;
    kernel->state = s;
    kernel->implementation = s->isa->name;
    return EBB_OK;
}

const ebb_native_kind ebb_native_direct_weight_grad = { score_grad, compile_grad };
