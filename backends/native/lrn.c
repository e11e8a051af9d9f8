/* lrn and lrn_grad, channels first or last. Channels first, pixels are worked on in blocks whose
 * channels stay in the cache. */
#include "backends/native/channels.h"

typedef struct lrn_state {
    const ebb_lrn_table *table;
    ebb_lrn_params params;
    ebb_channels k;
    ebb_channel_strides x, dy, y;
    int64_t bytes;           /* of an element */
    int64_t block, n_blocks; /* pixels of a block; blocks of an image */
    size_t part_bytes;       /* scratch of a thread */
    bool is_gradient;
    int n_threads;
    ebb_channel_order order;
} lrn_state;

static void lrn_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const lrn_state *s = call->state;
    char *scratch = (char *)call->scratch + (size_t)index * s->part_bytes;
    const bool first = s->order == EBB_CHANNELS_FIRST;
    const int64_t xs = first ? s->x.channel : s->x.pixel, ys = first ? s->y.channel : s->y.pixel;
    const int64_t dys = first ? s->dy.channel : s->dy.pixel;
    int64_t begin, end;
    ebb_parallel_part(s->k.n_batch * s->n_blocks, index, n, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const int64_t image = i / s->n_blocks, pixel = i % s->n_blocks * s->block;
        const int64_t left = s->k.n_spatial - pixel, count = left < s->block ? left : s->block;
        const char *x =
            (const char *)call->inputs[0] + (image * s->x.batch + pixel * s->x.pixel) * s->bytes;
        char *y = (char *)call->results[0] + (image * s->y.batch + pixel * s->y.pixel) * s->bytes;
        if (s->is_gradient) {
            const char *dy = (const char *)call->inputs[1] +
                             (image * s->dy.batch + pixel * s->dy.pixel) * s->bytes;
            (first ? s->table->grad_columns : s->table->grad_pixels)(&s->params, count, x, xs, dy,
                                                                     dys, y, ys, scratch);
        } else {
            (first ? s->table->columns : s->table->pixels)(&s->params, count, x, xs, y, ys,
                                                           scratch);
        }
    }
}

static ebb_status run_lrn(const ebb_call *call)
{
    const lrn_state *s = call->state;
    if (s->n_blocks > 0 && s->k.n_channels > 0)
        ebb_parallel(s->n_threads, lrn_part, (void *)call);
    return EBB_OK;
}

/* x, the result, dy. */
static int images_of(const ebb_region *region, const ebb_operand *images[3])
{
    images[0] = &region->inputs[0];
    images[1] = &region->results[0];
    images[2] = &region->inputs[1];
    return region->n_inputs + 1;
}

static int score_lrn(const ebb_region *region)
{
    const ebb_operand *images[3];
    const int n = images_of(region, images);
    return ebb_channel_score(images, n);
}

/* Elements of the buffers of a block. */
enum { BUFFER = 8192 };

static ebb_status compile_lrn(const ebb_region *region, const ebb_compile_env *env,
                              ebb_kernel *kernel)
{
    lrn_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    const ebb_type *type = region->inputs[0].type;
    const ebb_lrn_attrs *attrs = region->attrs;
    const ebb_vector_isa *isa = ebb_native_isa(env);
    const ebb_operand *images[3];
    const int n_images = images_of(region, images);
    s->order = ebb_channel_order_of(images, n_images);
    s->is_gradient = n_images > 2;
    s->table = type->dtype == EBB_F32 ? isa->lrn_f32 : isa->lrn_f64;
    s->bytes = (int64_t)ebb_dtype_bytes(type->dtype);
    s->k = ebb_channels_of(&type->shape);
    ebb_channel_strides_of(images[0], &s->x);
    ebb_channel_strides_of(images[1], &s->y);
    if (s->is_gradient)
        ebb_channel_strides_of(images[2], &s->dy);
    /* A window beyond the channels is no larger than one that reaches them all. */
    s->params = (ebb_lrn_params){
        .n_channels = s->k.n_channels,
        .half = attrs->size / 2 < s->k.n_channels ? attrs->size / 2 : s->k.n_channels,
        .factor = attrs->divide ? attrs->alpha / (double)attrs->size : attrs->alpha,
        .beta = attrs->beta,
        .k = attrs->k,
    };
    const int64_t c = s->k.n_channels;
    int64_t n_scratch;
    if (s->order == EBB_CHANNELS_FIRST) {
        s->block = c < BUFFER / 16 ? BUFFER / (c + 1) / 16 * 16 : 16;
        s->block = s->block > 1024 ? 1024 : s->block;
        n_scratch = ((s->is_gradient ? 3 : 1) * c + 1) * s->block;
    } else {
        s->block = 64;
        n_scratch = 3 * c + 2 * s->params.half;
    }
    s->n_blocks = (s->k.n_spatial + s->block - 1) / s->block;
    s->n_threads = ebb_native_threads_for(region, s->k.n_batch * s->n_blocks,
                                          ebb_shape_elements(&type->shape), EBB_COSTLY_WORK);
    s->part_bytes = ((size_t)(n_scratch * s->bytes) + 63) / 64 * 64;
    kernel->scratch_bytes = s->part_bytes * (size_t)s->n_threads;
    /* The gradient reads x and dy of a channel after it wrote the channels before, but only sums of
     * those; channels of a block are read in full before they are written. */
    for (int i = 0; i < n_images; i++)
        if (i != 1 && ebb_channels_lie_alike(images[i], images[1]))
            kernel->inplace_inputs |= 1u << (i == 2 ? 1 : 0);
    kernel->n_threads = s->n_threads;
    kernel->run = run_lrn;
    kernel->state = s;
    kernel->implementation = s->order == EBB_CHANNELS_FIRST ? "channels_first" : "channels_last";
    return EBB_OK;
}

const ebb_native_kind ebb_native_lrn = { score_lrn, compile_lrn };
