/* resize2d and resize2d_adjoint, channels first or last. "Small" is x of resize2d, "large" its
 * result; the adjoint goes from large to small. Height comes first: two rows are blended into one,
 * then pixels of that row are picked. */
#include "ops/resize.h"
#include "backends/native/channels.h"
#include <string.h>

typedef struct resize_axis {
    int64_t n_small, n_large;
    int32_t *low, *high; /* [n_large] */
    double *weights;
} resize_axis;

typedef struct resize_state {
    const ebb_resize_table *table;
    int64_t bytes; /* of an element */
    resize_axis height, width;
    ebb_resize_row row; /* of the width */
    int64_t n_batch, n_channels;
    int64_t small[4], large[4]; /* strides */
    int64_t n_tasks, n_blocks;  /* blocks of channels, for the adjoint with channels last */
    bool is_adjoint, is_last;
    int n_threads;
} resize_state;

enum { CHANNEL_BLOCK = 64 };

static char *place(const resize_state *s, const void *data, int64_t at)
{
    return (char *)(uintptr_t)data + at * s->bytes;
}

/* ---- channels first: a task is a plane; the scratch of a thread is a row of the small width ----
 */

static void resize_plane(const resize_state *s, const char *x, char *y, char *row)
{
    for (int64_t i = 0; i < s->height.n_large; i++) {
        const char *low = place(s, x, s->height.low[i] * s->small[2]);
        const char *high = place(s, x, s->height.high[i] * s->small[2]);
        const double weight = s->height.weights[i];
        const char *from = weight == 0 ? low : weight == 1 ? high : row;
        if (from == row)
            s->table->blend(s->width.n_small, low, high, weight, row);
        s->table->pick(&s->row, from, place(s, y, i * s->large[2]));
    }
}

static void resize_plane_back(const resize_state *s, const char *y, char *x, char *row)
{
    const size_t row_bytes = (size_t)(s->width.n_small * s->bytes);
    for (int64_t h = 0; h < s->height.n_small; h++)
        memset(place(s, x, h * s->small[2]), 0, row_bytes);
    for (int64_t i = 0; i < s->height.n_large; i++) {
        const double weight = s->height.weights[i];
        memset(row, 0, row_bytes);
        s->table->scatter(&s->row, place(s, y, i * s->large[2]), row);
        s->table->add(s->width.n_small, 1 - weight, row,
                      place(s, x, s->height.low[i] * s->small[2]));
        s->table->add(s->width.n_small, weight, row, place(s, x, s->height.high[i] * s->small[2]));
    }
}

/* ---- channels last: a task is a row of the result, or some channels of an image ---- */

static void resize_row(const resize_state *s, const char *x, char *y, int64_t i, char *pixels)
{
    const int64_t n = s->n_channels;
    char *left = pixels, *right = pixels + n * s->bytes;
    const char *low = place(s, x, s->height.low[i] * s->small[2]);
    const char *high = place(s, x, s->height.high[i] * s->small[2]);
    for (int64_t j = 0; j < s->width.n_large; j++) {
        const int64_t a = s->width.low[j] * s->small[3], b = s->width.high[j] * s->small[3];
        char *to = place(s, y, i * s->large[2] + j * s->large[3]);
        s->table->blend(n, place(s, low, a), place(s, high, a), s->height.weights[i],
                        s->width.weights[j] == 0 ? to : left);
        if (s->width.weights[j] == 0)
            continue;
        s->table->blend(n, place(s, low, b), place(s, high, b), s->height.weights[i], right);
        s->table->blend(n, left, right, s->width.weights[j], to);
    }
}

static void resize_image_back(const resize_state *s, const char *y, char *x, int64_t n)
{
    for (int64_t h = 0; h < s->height.n_small; h++)
        for (int64_t w = 0; w < s->width.n_small; w++)
            memset(place(s, x, h * s->small[2] + w * s->small[3]), 0, (size_t)(n * s->bytes));
    for (int64_t i = 0; i < s->height.n_large; i++) {
        const double v = s->height.weights[i];
        char *low = place(s, x, s->height.low[i] * s->small[2]);
        char *high = place(s, x, s->height.high[i] * s->small[2]);
        for (int64_t j = 0; j < s->width.n_large; j++) {
            const char *from = place(s, y, i * s->large[2] + j * s->large[3]);
            const double w = s->width.weights[j];
            const int64_t a = s->width.low[j] * s->small[3], b = s->width.high[j] * s->small[3];
            s->table->add(n, (1 - v) * (1 - w), from, place(s, low, a));
            s->table->add(n, (1 - v) * w, from, place(s, low, b));
            s->table->add(n, v * (1 - w), from, place(s, high, a));
            s->table->add(n, v * w, from, place(s, high, b));
        }
    }
}

static void resize_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const resize_state *s = call->state;
    const int64_t room = s->is_last ? 2 * s->n_channels : s->width.n_small;
    char *scratch = place(s, call->scratch, index * room);
    const char *in = call->inputs[0];
    char *out = call->results[0];
    const int64_t *from = s->is_adjoint ? s->large : s->small;
    const int64_t *to = s->is_adjoint ? s->small : s->large;
    int64_t begin, end;
    ebb_parallel_part(s->n_tasks, index, n, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        if (!s->is_last) {
            const int64_t b = t / s->n_channels, c = t % s->n_channels;
            (s->is_adjoint ? resize_plane_back
                           : resize_plane)(s, place(s, in, b * from[0] + c * from[1]),
                                           place(s, out, b * to[0] + c * to[1]), scratch);
        } else if (s->is_adjoint) {
            const int64_t b = t / s->n_blocks, c = t % s->n_blocks * CHANNEL_BLOCK;
            const int64_t left = s->n_channels - c;
            resize_image_back(s, place(s, in, b * from[0] + c), place(s, out, b * to[0] + c),
                              left < CHANNEL_BLOCK ? left : CHANNEL_BLOCK);
        } else {
            const int64_t b = t / s->height.n_large;
            resize_row(s, place(s, in, b * from[0]), place(s, out, b * to[0]),
                       t % s->height.n_large, scratch);
        }
    }
}

static ebb_status run_resize(const ebb_call *call)
{
    const resize_state *s = call->state;
    if (s->n_tasks > 0)
        ebb_parallel(s->n_threads, resize_part, (void *)call);
    return EBB_OK;
}

/* Both operands have width (or both have channels) side by side. */
static bool is_order(const ebb_region *region, int dimension)
{
    const ebb_operand *operands[2] = { &region->inputs[0], &region->results[0] };
    for (int i = 0; i < 2; i++)
        if (operands[i]->layout.strides[dimension] != 1 &&
            operands[i]->type->shape.dims[dimension] > 1)
            return false;
    return true;
}

static int score_resize(const ebb_region *region)
{
    if (is_order(region, 1) && region->inputs[0].type->shape.dims[1] > 1)
        return EBB_SCORE_BEST;
    return is_order(region, 3) || is_order(region, 1) ? EBB_SCORE_NATIVE : EBB_SCORE_NONE;
}

static bool fill_axis(const ebb_region *region, const ebb_compile_env *env,
                      const ebb_resize_attrs *attrs, resize_axis *axis)
{
    const size_t n = axis->n_large > 0 ? (size_t)axis->n_large : 1;
    axis->low = ebb_native_allocate(region, env, n * sizeof *axis->low);
    axis->high = axis->low ? ebb_native_allocate(region, env, n * sizeof *axis->high) : NULL;
    axis->weights = axis->high ? ebb_native_allocate(region, env, n * sizeof *axis->weights) : NULL;
    if (!axis->weights)
        return false;
    for (int64_t i = 0; i < axis->n_large; i++) {
        const ebb_resize_tap tap = ebb_resize_tap_of(attrs, axis->n_small, axis->n_large, i);
        axis->low[i] = (int32_t)tap.low;
        axis->high[i] = (int32_t)tap.high;
        axis->weights[i] = tap.weight;
        if (tap.weight == 1) { /* nearest takes one, so that `low` is enough */
            axis->low[i] = axis->high[i];
            axis->weights[i] = 0;
        }
    }
    return true;
}

static ebb_status compile_resize(const ebb_region *region, const ebb_compile_env *env,
                                 ebb_kernel *kernel)
{
    resize_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    const ebb_resize_attrs *attrs = region->attrs;
    const ebb_vector_isa *isa = ebb_native_isa(env);
    s->is_adjoint = ebb_resize_is_adjoint(region->op);
    const ebb_operand *small = s->is_adjoint ? &region->results[0] : &region->inputs[0];
    const ebb_operand *large = s->is_adjoint ? &region->inputs[0] : &region->results[0];
    const int64_t *small_dims = small->type->shape.dims, *large_dims = large->type->shape.dims;
    const bool is_f32 = small->type->dtype == EBB_F32;
    s->table = is_f32 ? isa->resize_f32 : isa->resize_f64;
    s->bytes = is_f32 ? 4 : 8;
    s->n_batch = small_dims[0];
    s->n_channels = small_dims[1];
    s->height = (resize_axis){ .n_small = small_dims[2], .n_large = large_dims[2] };
    s->width = (resize_axis){ .n_small = small_dims[3], .n_large = large_dims[3] };
    memcpy(s->small, small->layout.strides, sizeof s->small);
    memcpy(s->large, large->layout.strides, sizeof s->large);
    if (!fill_axis(region, env, attrs, &s->height) || !fill_axis(region, env, attrs, &s->width))
        return EBB_OUT_OF_MEMORY;
    s->row = (ebb_resize_row){ .n = s->width.n_large,
                               .is_nearest = attrs->mode == EBB_RESIZE_NEAREST,
                               .low = s->width.low,
                               .high = s->width.high,
                               .weights = s->width.weights };
    if (is_f32) {
        const size_t n = s->row.n > 0 ? (size_t)s->row.n : 1;
        float *weights = ebb_native_allocate(region, env, n * sizeof *weights);
        if (!weights)
            return EBB_OUT_OF_MEMORY;
        for (int64_t j = 0; j < s->row.n; j++)
            weights[j] = (float)s->width.weights[j];
        s->row.weights = weights;
    }
    /* With width 1 both orders are true; rows of channels are longer then. */
    s->is_last = is_order(region, 1) && !(is_order(region, 3) && small_dims[1] <= 1);
    s->n_blocks = (s->n_channels + CHANNEL_BLOCK - 1) / CHANNEL_BLOCK;
    s->n_tasks = s->n_batch * (!s->is_last     ? s->n_channels
                               : s->is_adjoint ? s->n_blocks
                                               : s->height.n_large);
    const int64_t n_elements = ebb_shape_elements(&large->type->shape);
    s->n_threads = ebb_native_threads_for(region, s->n_tasks, n_elements, EBB_CHEAP_WORK);
    const int64_t room = s->is_last ? 2 * s->n_channels : s->width.n_small;
    kernel->scratch_bytes = (size_t)(room * s->bytes) * (size_t)s->n_threads;
    kernel->n_threads = s->n_threads;
    kernel->run = run_resize;
    kernel->state = s;
    kernel->implementation = s->is_last ? "channels_last" : "channels_first";
    return EBB_OK;
}

const ebb_native_kind ebb_native_resize = { score_resize, compile_resize };
