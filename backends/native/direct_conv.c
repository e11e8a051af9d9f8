/* Convolutions whose channels and filters come in blocks of 16, of images with their channels last,
 * F32. A tile is EBB_CONV_ROWS places of results times 64 filters in registers; the places may lie
 * anywhere, in several images, so that taps which lie in the padding are never multiplied: at 4x4
 * that is a third of all, at 2x2 more than half. Weights lie in oneDNN's blocks OIhw16i16o. */
#include "backends/native/direct_conv.h"
#include "ops/conv.h"
#include <string.h>

enum {
    ROWS = EBB_CONV_ROWS,
    BLOCK = EBB_CONV_BLOCK,
    SQUARE = BLOCK * BLOCK, /* weights of one tap for a block of channels and one of filters */
    WIDTH = EBB_CONV_BLOCKS * BLOCK,
    MOST_TAPS = EBB_CONV_TAPS,
    CHANNEL_TAPS = 1152,  /* of a pass: their weights for WIDTH filters, 288 KB, stay near .. */
    BATCH_BYTES = 524288, /* .. with so much of x .. */
    GROUP = 128,          /* .. and the sums of so many tiles, 224 KB */
    ENOUGH_WORK = 262144, /* multiply-adds that take about 4 us */
    LEAST_ROWS = 28,
    LEAST_IMAGES = 4 * ROWS, /* tiles of one place are nearly full */
    FEW_ROWS = 256,
    LEAST_DEPTH = 256,
    MANY_WEIGHTS = 131072,
    MOST_WIDTH = 8 /* of images that are taken a place at a time */
};

typedef struct operands {
    const ebb_operand *x, *w, *bias, *residual, *y;
} operands;

typedef struct direct_state {
    ebb_conv conv;
    const ebb_vector_isa *isa;
    bool has_bias, has_residual, relu, is_packed;
    /* Rows are [place][image] of a part of the batch, out of a copy of x as [part][pass][pixel]
     * [image][channels of the pass], so that all of a tile have the same taps and lie next to each
     * other; else [image][place], and there is one part. */
    bool by_place;
    int64_t part;                   /* images of a part, but perhaps the last */
    int64_t n_tiles;                /* of all parts */
    bool one_place;                 /* a tile has images of one place, else any rows of the part */
    int64_t n_columns;              /* of WIDTH filters */
    int64_t n_channels;             /* of a pass */
    size_t table_bytes, copy_bytes; /* of weights and x in the scratch */
    int n_threads;
    int64_t *starts; /* [place]: its window's first tap, in pixels; perhaps outside */
    uint64_t *masks; /* [place]: bit t: tap t lies in the image */
    int64_t *taps;   /* [tap]: pixels from the first one */
    float *zeros;    /* [n_channels], for taps that lie outside */
} direct_state;

static operands operands_of(const ebb_region *region)
{
    const bool has_residual = region->op == &ebb_op_conv_epilogue &&
                              ((const ebb_conv_epilogue_attrs *)region->attrs)->epilogue.residual;
    const int n_own = region->n_inputs - has_residual;
    return (operands){ .x = &region->inputs[0],
                       .w = &region->inputs[1],
                       .bias = n_own > 2 ? &region->inputs[2] : NULL,
                       .residual = has_residual ? &region->inputs[n_own] : NULL,
                       .y = &region->results[0] };
}

static ebb_conv conv_of(const ebb_region *region)
{
    ebb_conv conv;
    const ebb_shape *const shapes[2] = { &region->inputs[0].type->shape,
                                         &region->inputs[1].type->shape };
    ebb_conv_read(region->op, region->attrs, shapes, &region->results[0].type->shape, &conv);
    return conv;
}

/* ---- where it pays ---- */

bool ebb_direct_conv_lies_last(const ebb_operand *image)
{
    const ebb_layout last = ebb_layout_channels_last(&image->type->shape);
    return !image->layout.n_blocks && ebb_layout_agrees(&image->layout, &last, &image->type->shape);
}

ebb_layout ebb_direct_conv_blocks(const ebb_shape *shape)
{
    ebb_layout layout = { .n_blocks = 2, .blocks = { { 1, BLOCK }, { 0, BLOCK } } };
    int64_t step = SQUARE;
    for (int d = shape->rank - 1; d >= 0; d--) {
        layout.strides[d] = step;
        step *= d < 2 ? shape->dims[d] / BLOCK : shape->dims[d];
    }
    return layout;
}

bool ebb_direct_conv_in_blocks(const ebb_operand *weights)
{
    const ebb_shape *shape = &weights->type->shape;
    if (weights->layout.n_blocks != 2 || shape->dims[0] % BLOCK || shape->dims[1] % BLOCK)
        return false;
    const ebb_layout blocks = ebb_direct_conv_blocks(shape);
    return ebb_layout_agrees(&weights->layout, &blocks, shape);
}

/* Rows are taken a place at a time: where tiles of one image would have taps in the padding, and
 * there are as many images as a tile has rows. */
static bool goes_by_place(const ebb_conv *conv)
{
    return conv->batch >= ROWS && conv->w.count[EBB_MAX_SPATIAL - 1] <= MOST_WIDTH;
}

/* Which part of all taps lies in the image. */
static double share_inside(const ebb_window *w)
{
    double share = 1;
    for (int d = 0; d < EBB_MAX_SPATIAL; d++) {
        int64_t n = 0, first, last;
        for (int64_t i = 0; i < w->count[d]; i++) {
            ebb_window_taps(w, d, i, &first, &last);
            n += last - first;
        }
        share *= (double)n / (double)(w->count[d] * w->window[d]);
    }
    return share;
}

/* As measured: few rows for many weights, which oneDNN's kernels wait for, or much padding. */
static bool pays(const ebb_conv *conv)
{
    const int64_t n_rows = conv->batch * conv->w.n_counts;
    const int64_t depth = conv->channels * conv->w.n_taps;
    if (n_rows < LEAST_ROWS || depth < LEAST_DEPTH)
        return false;
    if (n_rows <= FEW_ROWS && depth * conv->filters >= MANY_WEIGHTS)
        return true;
    const double share = goes_by_place(conv) ? share_inside(&conv->w) : 1;
    return share < 0.75;
}

static bool takes(const ebb_region *region)
{
    if (region->inputs[0].type->dtype != EBB_F32 || ebb_vector_isa_here()->product_f32->lanes != 16)
        return false;
    const ebb_conv conv = conv_of(region);
    const ebb_window *w = &conv.w;
    return conv.groups == 1 && conv.batch > 0 && conv.channels > 0 && conv.channels % BLOCK == 0 &&
           conv.filters > 0 && conv.filters % BLOCK == 0 && w->n_sizes > 0 && w->n_counts > 0 &&
           w->n_taps > 0 && w->n_taps <= MOST_TAPS && pays(&conv);
}

static int score_direct(const ebb_region *region)
{
    const operands o = operands_of(region);
    if (!takes(region) || !ebb_direct_conv_lies_last(o.x) || !ebb_direct_conv_lies_last(o.y) ||
        (o.residual && !ebb_direct_conv_lies_last(o.residual)) ||
        (o.bias && !ebb_layout_is_dense(&o.bias->layout, &o.bias->type->shape)) ||
        !(ebb_direct_conv_in_blocks(o.w) || ebb_layout_is_dense(&o.w->layout, &o.w->type->shape)))
        return EBB_SCORE_NONE;
    return EBB_SCORE_BEST + 1; /* than oneDNN's, which multiplies padding too */
}

bool ebb_native_direct_conv_wish(const ebb_region *region, ebb_layout *inputs, ebb_layout *results)
{
    const operands o = operands_of(region);
    if (!takes(region))
        return false;
    inputs[0] = ebb_layout_channels_last(&o.x->type->shape);
    if (!ebb_direct_conv_in_blocks(o.w))
        inputs[1] = ebb_layout_dense(&o.w->type->shape);
    if (o.residual)
        inputs[region->n_inputs - 1] = ebb_layout_channels_last(&o.residual->type->shape);
    results[0] = ebb_layout_channels_last(&o.y->type->shape);
    return true;
}

bool ebb_native_direct_conv_home(const ebb_region *region, int input, ebb_layout *layout)
{
    if (input != 1 || !takes(region))
        return false;
    *layout = ebb_direct_conv_blocks(&region->inputs[1].type->shape);
    return true;
}

/* ---- running ---- */

/* Dense weights into blocks: those of block `o` of filters. */
static void pack_filters(const direct_state *s, const float *weights, float *to, int64_t o)
{
    const int64_t n_taps = s->conv.w.n_taps, n_blocks = s->conv.channels / BLOCK;
    to += o * n_blocks * n_taps * SQUARE;
    for (int64_t f = 0; f < BLOCK; f++) {
        const float *from = weights + (o * BLOCK + f) * s->conv.channels * n_taps;
        for (int64_t c = 0; c < s->conv.channels; c++)
            for (int64_t t = 0; t < n_taps; t++)
                to[(c / BLOCK * n_taps + t) * SQUARE + c % BLOCK * BLOCK + f] = *from++;
    }
}

static ebb_status pack(void *state, const void *input, void *packed)
{
    const direct_state *s = state;
    for (int64_t o = 0; o < s->conv.filters / BLOCK; o++)
        pack_filters(s, input, packed, o);
    return EBB_OK;
}

/* Images of part number `part`. */
static int64_t part_images(const direct_state *s, int64_t part)
{
    const int64_t left = s->conv.batch - part * s->part;
    return left < s->part ? left : s->part;
}

/* All passes of an image. */
static void copy_image(const direct_state *s, const float *x, float *to, int64_t image)
{
    const int64_t channels = s->conv.channels, n = s->conv.w.n_sizes, part = image / s->part;
    const int64_t step = part_images(s, part) * s->n_channels;
    const size_t n_bytes = (size_t)s->n_channels * sizeof *x;
    x += image * n * channels;
    to += part * s->part * n * channels + image % s->part * s->n_channels;
    for (int64_t channel = 0; channel < channels; channel += s->n_channels)
        for (int64_t i = 0; i < n; i++, to += step)
            memcpy(to, x + i * channels + channel, n_bytes);
}

static void copy_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const direct_state *s = call->state;
    float *weights = call->scratch;
    float *images = (float *)(void *)((char *)call->scratch + s->table_bytes);
    int64_t begin, end;
    if (!s->is_packed) {
        ebb_parallel_part(s->conv.filters / BLOCK, index, n, &begin, &end);
        for (int64_t o = begin; o < end; o++)
            pack_filters(s, call->inputs[1], weights, o);
    }
    ebb_parallel_part(s->by_place ? s->conv.batch : 0, index, n, &begin, &end);
    for (int64_t image = begin; image < end; image++)
        copy_image(s, call->inputs[0], images, image);
}

/* The places of a tile. */
typedef struct tile_places {
    ebb_conv_places x;
    int64_t y[ROWS]; /* in elements of results */
    int64_t n;
} tile_places;

/* Tiles of one part of the batch. */
typedef struct run {
    const direct_state *s;
    const ebb_call *call;
    const float *x;             /* of the part */
    int64_t n_images;           /* of the part, .. */
    int64_t first;              /* .. and the first of them */
    int64_t pixel, image, pass; /* steps in x */
} run;

static run start_part(const direct_state *s, const ebb_call *call, int64_t part)
{
    const int64_t n_sizes = s->conv.w.n_sizes, channels = s->conv.channels;
    run r = { .s = s, .call = call, .first = part * s->part, .n_images = part_images(s, part) };
    const char *copy = (const char *)call->scratch + s->table_bytes;
    r.x = s->by_place ? (const float *)(const void *)copy : call->inputs[0];
    r.x += r.first * n_sizes * channels;
    r.pixel = s->by_place ? r.n_images * s->n_channels : channels;
    r.image = s->by_place ? s->n_channels : n_sizes * channels;
    r.pass = s->by_place ? n_sizes * r.pixel : s->n_channels;
    return r;
}

/* Rows that are shared out evenly to as few tiles as they need. */
static int64_t together(const direct_state *s, int64_t n_images)
{
    return s->one_place ? n_images : n_images * s->conv.w.n_counts;
}

static int64_t tiles_of(int64_t n_rows)
{
    return (n_rows + ROWS - 1) / ROWS;
}

static int64_t part_tiles(const direct_state *s, int64_t n_images)
{
    return tiles_of(together(s, n_images)) * (s->one_place ? s->conv.w.n_counts : 1);
}

static void find_places(const run *r, int64_t tile, tile_places *places)
{
    const direct_state *s = r->s;
    const int64_t filters = s->conv.filters, n_counts = s->conv.w.n_counts;
    const int64_t inner = s->by_place ? r->n_images : n_counts;
    const int64_t n_rows = together(s, r->n_images), n_tiles = tiles_of(n_rows);
    const int64_t start = tile / n_tiles * n_rows, i = tile % n_tiles;
    const int64_t first = start + i * n_rows / n_tiles, end = start + (i + 1) * n_rows / n_tiles;
    int64_t outer = first / inner, at = first % inner, n = 0;
    *places = (tile_places){ .n = 0 };
    for (int64_t row = first; row < end; row++, n++) {
        const int64_t place = s->by_place ? outer : at, image = s->by_place ? at : outer;
        places->y[n] = ((r->first + image) * n_counts + place) * filters;
        places->x.starts[n] = image * r->image + s->starts[place] * r->pixel;
        places->x.masks[n] = s->masks[place];
        if (++at == inner) {
            at = 0;
            outer++;
        }
    }
    places->n = n;
    places->x.n = (int)n;
}

/* Lines of results that will be written. */
static void ask_for(const run *r, const tile_places *places, int64_t filter, int64_t n)
{
    for (int64_t i = 0; i < places->n; i++)
        for (int64_t j = 0; j < n; j += BLOCK)
            __builtin_prefetch((float *)r->call->results[0] + places->y[i] + filter + j, 1, 2);
}

static void finish_tile(const run *r, const tile_places *places, const float *sums, int64_t filter,
                        int64_t n)
{
    const direct_state *s = r->s;
    const ebb_call *call = r->call;
    const float *residual = s->has_residual ? call->inputs[2 + s->has_bias] : NULL;
    for (int64_t i = 0; i < places->n; i++, sums += n) {
        const int64_t at = places->y[i] + filter;
        s->isa->direct_conv->finish_row(
            &(ebb_conv_row){ .n = n,
                             .sums = sums,
                             .bias = s->has_bias ? (const float *)call->inputs[2] + filter : NULL,
                             .residual = residual ? residual + at : NULL,
                             .relu = s->relu,
                             .to = (float *)call->results[0] + at });
    }
}

/* What belongs to a thread. */
typedef struct group {
    tile_places places[GROUP];
    float sums[GROUP * ROWS * WIDTH];
} group;

/* Tiles begin..begin+n_tiles-1 of a part, a column of filters. */
static void run_group(const run *r, group *own, int64_t column, int64_t begin, int64_t n_tiles)
{
    const direct_state *s = r->s;
    const int64_t filter = column * WIDTH, channels = s->conv.channels, n_taps = s->conv.w.n_taps;
    const int64_t n = s->conv.filters - filter < WIDTH ? s->conv.filters - filter : WIDTH;
    const float *weights = s->is_packed ? r->call->inputs[1] : r->call->scratch;
    int64_t offsets[MOST_TAPS];
    ebb_conv_tile tile = { .n_taps = n_taps,
                           .offsets = offsets,
                           .zeros = s->zeros,
                           .block_step = channels * n_taps * BLOCK,
                           .channel_step = n_taps * SQUARE,
                           .n_channels = s->n_channels,
                           .n_blocks = (int)(n / BLOCK) };
    for (int64_t t = 0; t < n_taps; t++)
        offsets[t] = s->taps[t] * r->pixel;
    for (int64_t i = 0; i < n_tiles; i++)
        find_places(r, begin + i, &own->places[i]);
    const int64_t pass_lines = s->n_channels * n_taps;
    tile.x = r->x;
    tile.weights = weights + filter / BLOCK * tile.block_step;
    for (int64_t channel = 0; channel < channels; channel += s->n_channels) {
        const bool is_last = channel + s->n_channels == channels;
        const bool is_end = is_last && column == s->n_columns - 1;
        const float *next =
            is_last ? tile.weights - channel * n_taps * BLOCK + EBB_CONV_BLOCKS * tile.block_step
                    : tile.weights + pass_lines * BLOCK;
        tile.is_first = channel == 0;
        for (int64_t i = 0; i < n_tiles; i++) {
            tile.places = &own->places[i].x;
            tile.sums = own->sums + i * ROWS * WIDTH;
            tile.ahead = next + pass_lines * i / n_tiles * BLOCK;
            tile.n_ahead = is_end ? 0 : pass_lines * (i + 1) / n_tiles - pass_lines * i / n_tiles;
            if (is_last)
                ask_for(r, &own->places[i], filter, n);
            s->isa->direct_conv->add_tile(&tile);
            if (is_last)
                finish_tile(r, &own->places[i], tile.sums, filter, n);
        }
        tile.x += r->pass;
        tile.weights += s->n_channels / BLOCK * tile.channel_step;
    }
}

/* A thread's share of [column][part][tile]. */
static void run_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const direct_state *s = call->state;
    group *own = (group *)(void *)((char *)call->scratch + s->table_bytes + s->copy_bytes) + index;
    const int64_t whole = part_tiles(s, s->part);
    int64_t at, end;
    ebb_parallel_part(s->n_columns * s->n_tiles, index, n, &at, &end);
    while (at < end) {
        const int64_t column = at / s->n_tiles, tile = at % s->n_tiles, part = tile / whole;
        const run r = start_part(s, call, part);
        const int64_t begin = tile - part * whole;
        int64_t n_here = part_tiles(s, r.n_images) - begin;
        n_here = n_here < GROUP ? n_here : GROUP;
        n_here = n_here < end - at ? n_here : end - at;
        run_group(&r, own, column, begin, n_here);
        at += n_here;
    }
}

static ebb_status run_direct(const ebb_call *call)
{
    const direct_state *s = call->state;
    if (!s->is_packed || s->by_place)
        ebb_parallel(s->n_threads, copy_part, (void *)(uintptr_t)call);
    ebb_parallel(s->n_threads, run_part, (void *)(uintptr_t)call);
    return EBB_OK;
}

/* ---- compiling ---- */

static void fill_tables(direct_state *s)
{
    const ebb_window *w = &s->conv.w;
    const int64_t steps[EBB_MAX_SPATIAL] = { w->size[1] * w->size[2], w->size[2], 1 };
    int64_t index[EBB_MAX_SPATIAL], tap[EBB_MAX_SPATIAL];
    for (int64_t p = 0; p < w->n_counts; p++) {
        ebb_window_split(p, w->count, index);
        for (int64_t t = 0; t < w->n_taps; t++) {
            ebb_window_split(t, w->window, tap);
            bool is_inside = true;
            for (int d = 0; d < EBB_MAX_SPATIAL; d++) {
                const int64_t at = index[d] * w->stride[d] + tap[d] * w->dilation[d] - w->begin[d];
                is_inside = is_inside && at >= 0 && at < w->size[d];
            }
            s->masks[p] |= (uint64_t)is_inside << t;
        }
        for (int d = 0; d < EBB_MAX_SPATIAL; d++)
            s->starts[p] += (index[d] * w->stride[d] - w->begin[d]) * steps[d];
    }
    for (int64_t t = 0; t < w->n_taps; t++) {
        ebb_window_split(t, w->window, tap);
        for (int d = 0; d < EBB_MAX_SPATIAL; d++)
            s->taps[t] += tap[d] * w->dilation[d] * steps[d];
    }
}

/* Channels of a pass: a divisor, so that about CHANNEL_TAPS times a channel and a tap are taken. */
static int64_t pass_channels(const ebb_conv *conv)
{
    const int64_t n_blocks = conv->channels / BLOCK;
    int64_t best = 1;
    for (int64_t n = 2; n <= n_blocks && n * BLOCK * conv->w.n_taps <= 3 * CHANNEL_TAPS / 2; n++)
        if (n_blocks % n == 0)
            best = n;
    return best * BLOCK;
}

/* Whether rows are taken a place at a time, and how many images: parts of about the same size. Few
 * images fill whole tiles only where one may have several places. */
static void divide_batch(direct_state *s)
{
    const ebb_window *w = &s->conv.w;
    const int64_t image_bytes = w->n_sizes * s->n_channels * (int64_t)sizeof(float);
    const int64_t most = BATCH_BYTES / image_bytes, batch = s->conv.batch;
    s->by_place = goes_by_place(&s->conv) && most >= ROWS;
    const int64_t n_parts = s->by_place ? (batch + most - 1) / most : 1;
    s->part = (batch + n_parts - 1) / n_parts;
    s->one_place = s->by_place && s->part >= LEAST_IMAGES;
    const int64_t n_whole = s->conv.batch / s->part;
    s->n_tiles =
        n_whole * part_tiles(s, s->part) + part_tiles(s, s->conv.batch - n_whole * s->part);
}

static bool allocate_tables(const ebb_region *region, const ebb_compile_env *env, direct_state *s)
{
    const size_t n = (size_t)s->conv.w.n_counts;
    s->starts = ebb_native_allocate(region, env, n * sizeof *s->starts);
    s->masks = s->starts ? ebb_native_allocate(region, env, n * sizeof *s->masks) : NULL;
    s->taps = s->masks ? ebb_native_allocate(region, env, MOST_TAPS * sizeof *s->taps) : NULL;
    s->zeros =
        s->taps ? ebb_native_allocate(region, env, (size_t)s->n_channels * sizeof(float)) : NULL;
    return s->zeros != NULL;
}

static ebb_status compile_direct(const ebb_region *region, const ebb_compile_env *env,
                                 ebb_kernel *kernel)
{
    const operands o = operands_of(region);
    direct_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    s->conv = conv_of(region);
    s->isa = ebb_native_isa(env);
    s->has_bias = o.bias != NULL;
    s->has_residual = o.residual != NULL;
    s->relu = region->op == &ebb_op_conv_epilogue &&
              ((const ebb_conv_epilogue_attrs *)region->attrs)->epilogue.relu;
    const ebb_window *w = &s->conv.w;
    s->n_columns = (s->conv.filters + WIDTH - 1) / WIDTH;
    s->n_channels = pass_channels(&s->conv);
    divide_batch(s);
    if (!allocate_tables(region, env, s))
        return EBB_OUT_OF_MEMORY;
    fill_tables(s);
    const size_t weight_bytes = ebb_type_bytes(o.w->type);
    s->is_packed = ebb_direct_conv_in_blocks(o.w);
    if (!s->is_packed && o.w->is_steady) {
        s->is_packed = true;
        kernel->packed_input = 1;
        kernel->packed_bytes = weight_bytes;
        kernel->pack = pack;
    }
    kernel->n_reorders = !s->is_packed;
    s->table_bytes = s->is_packed ? 0 : ebb_native_round_up(weight_bytes);
    s->copy_bytes = s->by_place ? ebb_native_round_up(ebb_type_bytes(o.x->type)) : 0;
    s->n_threads = ebb_native_threads(
        region, s->conv.batch * w->n_counts * s->conv.filters * s->conv.channels * w->n_taps,
        ENOUGH_WORK);
    kernel->scratch_bytes = s->table_bytes + s->copy_bytes + sizeof(group) * (size_t)s->n_threads;
    kernel->n_threads = s->n_threads;
    kernel->run = run_direct;
    kernel->state = s;
    kernel->implementation = s->isa->name;
    if (o.residual) /* each element is read before its place is written */
        kernel->inplace_inputs = 1u << (region->n_inputs - 1);
    return EBB_OK;
}

const ebb_native_kind ebb_native_direct_conv = { score_direct, compile_direct };
