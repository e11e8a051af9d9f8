/* Convolutions with windows of one tap, and their gradients of x, of images with their channels
 * last, F32: products y [places, filters] = x [places, channels] w' [channels, filters]. Beside the
 * images there is little to compute, so what the next tiles read is asked for while one is
 * computed, which no kernel of oneDNN does. Weights lie in oneDNN's blocks OIhw16i16o. */
#include "backends/native/direct_conv.h"
#include "ops/conv.h"

enum {
    ROWS = EBB_POINT_ROWS,
    BLOCK = EBB_POINT_BLOCK,
    SQUARE = BLOCK * BLOCK,
    WIDTH = EBB_POINT_BLOCKS * BLOCK,
    PASS_DEPTH = 1024,        /* at most so many channels at a time: 256 KB of weights */
    FEW_WEIGHTS = 1 << 18,    /* 1 MB, that stay in a second-level cache .. */
    GROUP_ELEMENTS = 1 << 16, /* .. with 128 KB of x; .. */
    LARGE_GROUP = 1 << 18,    /* .. more weights are read again for each group: 1 MB of x */
    ENOUGH_WORK = 262144,     /* multiply-adds that take about 4 us */
    LEAST_ROWS = 96,          /* of a thread; with fewer, threads share out columns */
    LEAST_WORK = 1 << 24
};

typedef struct point_state {
    ebb_conv conv;
    const ebb_vector_isa *isa;
    bool is_gradient, is_blocked; /* is_blocked: the weights of the operand */
    int64_t n_rows, depth, width; /* of the product */
    size_t table_bytes;           /* of weights in the scratch */
    bool by_columns;              /* threads share out columns, else rows */
    int n_threads;
} point_state;

typedef struct operands {
    const ebb_operand *x, *w, *y; /* x: what is read, y: the result */
} operands;

static operands operands_of(const ebb_region *region)
{
    return (operands){ &region->inputs[0], &region->inputs[1], &region->results[0] };
}

static ebb_conv conv_of(const ebb_region *region)
{
    ebb_conv conv;
    const ebb_shape *const shapes[2] = { &region->inputs[0].type->shape,
                                         &region->inputs[1].type->shape };
    ebb_conv_read(region->op, region->attrs, shapes, &region->results[0].type->shape, &conv);
    return conv;
}

/* Every place has its own pixel, and every pixel its place. */
static bool is_product(const ebb_window *w)
{
    bool is = w->n_taps == 1;
    for (int d = 0; d < EBB_MAX_SPATIAL; d++)
        is = is && w->begin[d] == 0 && w->count[d] == w->size[d];
    return is;
}

static bool takes(const ebb_region *region)
{
    if (region->inputs[0].type->dtype != EBB_F32 || region->n_inputs != 2 ||
        region->inputs[1].is_steady || ebb_vector_isa_here()->product_f32->lanes != BLOCK)
        return false;
    const ebb_conv conv = conv_of(region);
    return conv.groups == 1 && conv.channels > 0 && conv.filters > 0 &&
           conv.channels % BLOCK == 0 && conv.filters % BLOCK == 0 && is_product(&conv.w) &&
           conv.batch * conv.w.n_counts >= LEAST_ROWS &&
           conv.batch * conv.w.n_counts * conv.channels * conv.filters >= LEAST_WORK;
}

static int score_point(const ebb_region *region)
{
    const operands o = operands_of(region);
    return takes(region) && ebb_direct_conv_lies_last(o.x) && ebb_direct_conv_lies_last(o.y) &&
                   (ebb_direct_conv_in_blocks(o.w) ||
                    ebb_layout_is_dense(&o.w->layout, &o.w->type->shape))
               ? EBB_SCORE_BEST + 1
               : EBB_SCORE_NONE;
}

bool ebb_native_point_conv_wish(const ebb_region *region, ebb_layout *inputs, ebb_layout *results)
{
    const operands o = operands_of(region);
    if (!takes(region))
        return false;
    inputs[0] = ebb_layout_channels_last(&o.x->type->shape);
    if (!ebb_direct_conv_in_blocks(o.w))
        inputs[1] = ebb_layout_dense(&o.w->type->shape);
    results[0] = ebb_layout_channels_last(&o.y->type->shape);
    return true;
}

bool ebb_native_point_conv_home(const ebb_region *region, int input, ebb_layout *layout)
{
    if (input != 1 || !takes(region))
        return false;
    *layout = ebb_direct_conv_blocks(&region->inputs[1].type->shape);
    return true;
}

/* ---- running ---- */

/* A square of weights: BLOCK columns of the product for BLOCK of its depth. */
static void pack_square(const point_state *s, const float *weights, float *to, int64_t column,
                        int64_t depth)
{
    const int64_t filter = s->is_gradient ? depth : column;
    const int64_t channel = s->is_gradient ? column : depth;
    const int64_t channels = s->conv.channels;
    const bool lies_so = s->is_gradient != s->is_blocked; /* columns next to each other */
    ebb_transposed t = { .to = to + column * s->depth + depth * BLOCK,
                         .from_last = BLOCK,
                         .to_near = BLOCK,
                         .n_near = BLOCK,
                         .n_last = BLOCK };
    if (s->is_blocked)
        t.from = weights + filter * channels + channel * BLOCK;
    else {
        t.from = weights + filter * channels + channel;
        t.from_last = channels;
    }
    if (!lies_so) {
        s->isa->move->transpose(&t);
        return;
    }
    const float *from = t.from;
    float *row = t.to;
    for (int64_t i = 0; i < BLOCK; i++, from += t.from_last, row += BLOCK)
        for (int64_t j = 0; j < BLOCK; j++)
            row[j] = from[j];
}

static void pack_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const point_state *s = call->state;
    const int64_t n_depth = s->depth / BLOCK;
    int64_t begin, end;
    ebb_parallel_part(s->width / BLOCK * n_depth, index, n, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        pack_square(s, call->inputs[1], call->scratch, i / n_depth * BLOCK, i % n_depth * BLOCK);
}

/* What a thread computes. */
typedef struct area {
    int64_t row, end_row, column, end_column;
} area;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Rows row..row+n_rows-1, of all columns of the area, for channels depth..depth+n-1. */
static void run_group(const ebb_call *call, const area *a, int64_t row, int64_t n_rows,
                      int64_t depth, int64_t n, bool asks_weights)
{
    const point_state *s = call->state;
    const float *weights = s->table_bytes ? call->scratch : call->inputs[1];
    const float *x = (const float *)call->inputs[0] + row * s->depth + depth;
    float *y = (float *)call->results[0] + row * s->width;
    const int64_t n_tiles = (n_rows + ROWS - 1) / ROWS;
    const int64_t n_all = n_tiles * ((a->end_column - a->column + WIDTH - 1) / WIDTH);
    /* What lies behind this group, while all of it is computed; with several passes x is small. */
    const int64_t n_next = n == s->depth ? least(n_rows, a->end_row - row - n_rows) * n / BLOCK : 0;
    const float *next = x + n_rows * s->depth;
    int64_t done = 0;
    for (int64_t column = a->column; column < a->end_column; column += WIDTH) {
        ebb_point_tile tile = { .depth = n,
                                .x_step = s->depth,
                                .y_step = s->width,
                                .block_step = s->depth * BLOCK,
                                .weights = weights + column * s->depth + depth * BLOCK,
                                .n_blocks = (int)(least(WIDTH, a->end_column - column) / BLOCK),
                                .is_first = depth == 0 };
        const bool has_next = asks_weights && column + WIDTH < a->end_column;
        for (int64_t i = 0; i < n_tiles; i++, done++) {
            const int64_t first = i * n_rows / n_tiles, asked = n_next * done / n_all;
            const int64_t first_line = n * i / n_tiles;
            tile.n_rows = (int)((i + 1) * n_rows / n_tiles - first);
            tile.x = x + first * s->depth;
            tile.y = y + first * s->width + column;
            tile.y_ahead = i + 1 < n_tiles ? tile.y + tile.n_rows * s->width : y + column + WIDTH;
            tile.x_ahead = next + asked * BLOCK;
            tile.n_x_ahead = n_next * (done + 1) / n_all - asked;
            tile.weights_ahead = tile.weights + WIDTH * s->depth + first_line * BLOCK;
            tile.n_weights_ahead = has_next ? n * (i + 1) / n_tiles - first_line : 0;
            s->isa->point_conv->add_tile(&tile);
        }
    }
}

static void run_part(void *context, int index, int n_parts)
{
    const ebb_call *call = context;
    const point_state *s = call->state;
    area a = { 0, s->n_rows, 0, s->width };
    if (s->by_columns) {
        ebb_parallel_part((s->width + WIDTH - 1) / WIDTH, index, n_parts, &a.column, &a.end_column);
        a.column *= WIDTH;
        a.end_column = least(a.end_column * WIDTH, s->width);
    } else
        ebb_parallel_part(s->n_rows, index, n_parts, &a.row, &a.end_row);
    const int64_t n_passes = (s->depth + PASS_DEPTH - 1) / PASS_DEPTH;
    const int64_t pass = (s->depth / BLOCK + n_passes - 1) / n_passes * BLOCK;
    const bool few = pass * (a.end_column - a.column) <= FEW_WEIGHTS;
    const int64_t most = (few ? GROUP_ELEMENTS : LARGE_GROUP) / pass / ROWS * ROWS;
    for (int64_t depth = 0; depth < s->depth; depth += pass)
        for (int64_t row = a.row; row < a.end_row; row += most)
            run_group(call, &a, row, least(most, a.end_row - row), depth,
                      least(pass, s->depth - depth), !few || row == a.row);
}

static ebb_status run_point(const ebb_call *call)
{
    const point_state *s = call->state;
    if (s->table_bytes)
        ebb_parallel(s->n_threads, pack_part, (void *)(uintptr_t)call);
    ebb_parallel(s->n_threads, run_part, (void *)(uintptr_t)call);
    return EBB_OK;
}

static ebb_status compile_point(const ebb_region *region, const ebb_compile_env *env,
                                ebb_kernel *kernel)
{
    const operands o = operands_of(region);
    point_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    s->conv = conv_of(region);
    s->isa = ebb_native_isa(env);
    s->is_gradient = region->op == &ebb_op_conv_input_grad;
    s->is_blocked = ebb_direct_conv_in_blocks(o.w);
    s->n_rows = s->conv.batch * s->conv.w.n_counts;
    s->depth = s->is_gradient ? s->conv.filters : s->conv.channels;
    s->width = s->is_gradient ? s->conv.channels : s->conv.filters;
    const bool is_packed = s->is_blocked && !s->is_gradient;
    s->table_bytes = is_packed ? 0 : ebb_native_round_up(ebb_type_bytes(o.w->type));
    s->n_threads = ebb_native_threads(region, s->n_rows * s->depth * s->width, ENOUGH_WORK);
    s->by_columns =
        s->n_rows < s->n_threads * LEAST_ROWS * 2 && s->width >= WIDTH * s->n_threads * 2;
    kernel->n_reorders = !is_packed;
    kernel->scratch_bytes = s->table_bytes;
    kernel->n_threads = s->n_threads;
    kernel->run = run_point;
    kernel->state = s;
    kernel->implementation = s->isa->name;
    return EBB_OK;
}

const ebb_native_kind ebb_native_point_conv = { score_point, compile_point };
