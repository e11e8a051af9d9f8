/* batch_norm, batch_norm_inference and batch_norm_grad, channels first or last, also with a
 * residual and a relu behind them (ops/batch_norm_epilogue.c).
 *
 * Channels first, a channel is the work of one thread; channels last: batch_norm_rows.c. */
#include "backends/native/batch_norm.h"
#include "ops/batch_norm_epilogue.h"
#include <math.h>

static double element(const ebb_batch_norm_state *s, const void *data, int64_t at)
{
    return s->dtype == EBB_F32 ? (double)((const float *)data)[at] : ((const double *)data)[at];
}

static double parameter(const ebb_batch_norm_state *s, const ebb_call *call, int input, int64_t c)
{
    return element(s, call->inputs[input], c * s->parameters[input]);
}

/* ---- what becomes of the sums of a channel ---- */

/* What T keeps of a value. */
static double rounded(const ebb_batch_norm_state *s, double value)
{
    return s->dtype == EBB_F32 ? (double)(float)value : value;
}

/* Of y. Everything follows from the mean and variance that others see, so that the gradient finds
 * the same y; what the mean lacks as an element is taken off the shift. */
static ebb_channel_numbers start_channel(const ebb_batch_norm_state *s, const ebb_call *call,
                                         int64_t c, double mean, double variance)
{
    ebb_channel_numbers k = { .mean = rounded(s, mean) };
    k.factor = parameter(s, call, 1, c) * (1 / sqrt(variance + s->epsilon));
    k.shift = s->shift ? parameter(s, call, s->shift, c) : 0;
    if (isfinite(mean))
        k.shift -= (mean - k.mean) * k.factor;
    return k;
}

ebb_channel_numbers ebb_batch_norm_start(const ebb_batch_norm_state *s, const ebb_call *call,
                                         int64_t c)
{
    return start_channel(s, call, c, parameter(s, call, 3, c), parameter(s, call, 4, c));
}

ebb_channel_numbers ebb_batch_norm_finish(const ebb_batch_norm_state *s, const ebb_call *call,
                                          int64_t c, double first, double second)
{
    const double m = (double)s->m;
    if (s->kind == EBB_BATCH_NORM_TRAINING) {
        const double variance = rounded(s, second / m);
        const ebb_channel_numbers k =
            start_channel(s, call, c, s->m > 0 ? first : (double)NAN, variance);
        ebb_batch_norm_put(s, call->results[1], c, k.mean);
        ebb_batch_norm_put(s, call->results[2], c, variance);
        if (s->gives_offset)
            ebb_batch_norm_put(s, call->results[3], c, k.shift);
        return k;
    }
    ebb_channel_numbers k = ebb_batch_norm_start(s, call, c);
    if (s->kind == EBB_BATCH_NORM_GRADIENT) {
        const double r = 1 / sqrt(parameter(s, call, 4, c) + s->epsilon);
        k.offset = first / m;
        k.slope = second / m * r * r;
        ebb_batch_norm_put(s, call->results[1], c, second * r);
        ebb_batch_norm_put(s, call->results[2], c, first);
    }
    return k;
}

/* ---- channels first ---- */

/* A plane that is read next: the first of it. */
static void ask_plane(const ebb_batch_norm_state *s, const char *plane)
{
    const int64_t n = s->k.n_spatial * s->bytes < 4096 ? s->k.n_spatial * s->bytes : 4096;
    for (int64_t i = 0; i < n; i += 64)
        __builtin_prefetch(plane + i, 0, 2);
}

static ebb_channel_rows plane_at(const ebb_batch_norm_state *s, const ebb_call *call, int64_t n,
                                 int64_t c)
{
    return (ebb_channel_rows){
        .n_rows = 1,
        .n_columns = s->k.n_spatial,
        .x = ebb_batch_norm_at(s, call->inputs[0], n * s->x.batch + c * s->x.channel),
        .other = ebb_batch_norm_other_at(s, call,
                                         n * s->other_strides.batch + c * s->other_strides.channel),
        .y = ebb_batch_norm_at(s, call->results[0], n * s->y.batch + c * s->y.channel),
        .relu = s->relu,
        .is_streamed = ebb_batch_norm_is_streamed(s, call),
    };
}

static void apply_plane(const ebb_batch_norm_state *s, const ebb_call *call, int64_t n, int64_t c,
                        const ebb_channel_numbers *k)
{
    const ebb_channel_rows plane = plane_at(s, call, n, c);
    if (s->kind == EBB_BATCH_NORM_GRADIENT)
        s->table->grad_run(&plane, k);
    else
        s->table->affine_run(&plane, k);
}

static void channels_part(void *context, int index, int n_parts)
{
    const ebb_call *call = context;
    const ebb_batch_norm_state *s = call->state;
    int64_t begin, end;
    ebb_parallel_part(s->k.n_channels, index, n_parts, &begin, &end);
    for (int64_t c = begin; c < end; c++) {
        double first = 0, second = 0;
        const ebb_channel_numbers start = s->kind == EBB_BATCH_NORM_GRADIENT
                                              ? ebb_batch_norm_start(s, call, c)
                                              : (ebb_channel_numbers){ 0 };
        for (int64_t n = 0; n < s->k.n_batch && s->k.n_spatial > 0; n++) {
            const ebb_channel_rows plane = plane_at(s, call, n, c);
            if (n + 1 < s->k.n_batch)
                ask_plane(s, ebb_batch_norm_at(s, plane.x, s->x.batch));
            if (s->kind == EBB_BATCH_NORM_TRAINING)
                s->reduce->pair_run[EBB_REDUCE_DEVIATIONS](s->k.n_spatial, plane.x,
                                                           n * s->k.n_spatial, &first, &second);
            else
                s->table->grad_sum_run(&plane, &start, &first, &second);
        }
        const ebb_channel_numbers k = ebb_batch_norm_finish(s, call, c, first, second);
        for (int64_t n = 0; n < s->k.n_batch; n++)
            apply_plane(s, call, n, c, &k);
    }
    if (ebb_batch_norm_is_streamed(s, call))
        s->move->finish_stream();
}

static void planes_part(void *context, int index, int n_parts)
{
    const ebb_call *call = context;
    const ebb_batch_norm_state *s = call->state;
    int64_t begin, end;
    ebb_parallel_part(s->k.n_batch * s->k.n_channels, index, n_parts, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const int64_t c = i % s->k.n_channels;
        const ebb_channel_numbers k = ebb_batch_norm_finish(s, call, c, 0, 0);
        apply_plane(s, call, i / s->k.n_channels, c, &k);
    }
    if (ebb_batch_norm_is_streamed(s, call))
        s->move->finish_stream();
}
/* ---- kernels ---- */

static ebb_status run_batch_norm(const ebb_call *call)
{
    const ebb_batch_norm_state *s = call->state;
    if (s->order == EBB_CHANNELS_LAST)
        ebb_batch_norm_run_rows(call);
    else
        ebb_parallel(s->n_threads,
                     s->kind == EBB_BATCH_NORM_INFERENCE ? planes_part : channels_part,
                     (void *)call);
    return EBB_OK;
}

static ebb_batch_norm_kind kind_of(const ebb_region *region)
{
    const ebb_op *op = region->op;
    return op == &ebb_op_batch_norm || op == &ebb_op_batch_norm_epilogue ? EBB_BATCH_NORM_TRAINING
           : op == &ebb_op_batch_norm_grad || op == &ebb_op_batch_norm_relu_grad
               ? EBB_BATCH_NORM_GRADIENT
               : EBB_BATCH_NORM_INFERENCE;
}

static ebb_epilogue epilogue_of(const ebb_region *region)
{
    if (region->op == &ebb_op_batch_norm_epilogue ||
        region->op == &ebb_op_batch_norm_inference_epilogue)
        return ((const ebb_batch_norm_epilogue_attrs *)region->attrs)->epilogue;
    return (ebb_epilogue){ .relu = region->op == &ebb_op_batch_norm_relu_grad };
}

/* Where dy or the residual is among the inputs; 0: there is none. */
static int other_of(const ebb_region *region)
{
    return kind_of(region) == EBB_BATCH_NORM_GRADIENT ? 2
           : epilogue_of(region).residual             ? region->n_inputs - 1
                                                      : 0;
}

/* x, the result, dy or the residual. */
static int images_of(const ebb_region *region, const ebb_operand *images[3])
{
    const int other = other_of(region);
    images[0] = &region->inputs[0];
    images[1] = &region->results[0];
    images[2] = &region->inputs[other];
    return other ? 3 : 2;
}

static bool lie_in_blocks(const ebb_operand *const *images, int n)
{
    bool all = true;
    for (int i = 0; i < n && all; i++)
        all = ebb_channels_in_blocks(images[i]) &&
              images[i]->layout.blocks[0].size == images[0]->layout.blocks[0].size;
    return all;
}

static int score_batch_norm(const ebb_region *region)
{
    const ebb_operand *images[3];
    const int n = images_of(region, images);
    if (lie_in_blocks(images, n))
        return EBB_SCORE_BEST;
    return ebb_channel_score(images, n);
}

static ebb_status compile_batch_norm(const ebb_region *region, const ebb_compile_env *env,
                                     ebb_kernel *kernel)
{
    ebb_batch_norm_state *s = ebb_native_allocate(region, env, sizeof *s);
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
    s->is_streamed = s->kind != EBB_BATCH_NORM_GRADIENT && ebb_type_bytes(type) >= EBB_STREAM_BYTES;
    s->epsilon = ((const ebb_batch_norm_attrs *)region->attrs)->epsilon; /* others begin so */
    s->relu = epilogue_of(region).relu;
    s->gives_offset = region->n_results > 3;
    s->shift = s->kind != EBB_BATCH_NORM_GRADIENT ? 2 : s->relu ? 5 : 0;
    s->other = other_of(region);
    s->k = ebb_channels_of(&type->shape);
    s->m = s->k.n_batch * s->k.n_spatial;
    s->order = ebb_channel_order_of(images, n_images);
    ebb_channel_strides_of(images[0], &s->x);
    ebb_channel_strides_of(images[1], &s->y);
    if (n_images > 2)
        ebb_channel_strides_of(images[2], &s->other_strides);
    for (int i = 1; i < region->n_inputs; i++)
        s->parameters[i] = i == s->other ? 0 : region->inputs[i].layout.strides[0];
    s->n_threads = ebb_native_threads(region, s->m * s->k.n_channels, EBB_CHEAP_WORK);
    s->n_inputs = region->n_inputs;
    s->n_results = region->n_results;
    s->n_blocks = 1;
    if (lie_in_blocks(images, n_images)) {
        s->order = EBB_CHANNELS_LAST;
        s->n_blocks = s->k.n_channels / images[0]->layout.blocks[0].size;
        s->k.n_channels = images[0]->layout.blocks[0].size;
    }
    int64_t most =
        s->kind == EBB_BATCH_NORM_INFERENCE ? s->k.n_batch * s->k.n_channels : s->k.n_channels;
    if (s->order == EBB_CHANNELS_LAST) {
        ebb_batch_norm_plan_rows(s);
        most = s->n_blocks > 1 ? s->n_blocks : s->n_parts;
    }
    s->n_threads = ebb_native_at_most(s->n_threads, most);
    kernel->scratch_bytes = s->block_scratch * (s->n_blocks > 1 ? (size_t)s->n_threads : 1);
    for (int i = 0; i < n_images; i += 2)
        if (ebb_channels_lie_alike(images[i], images[1]))
            kernel->inplace_inputs |= 1u << (i ? s->other : 0);
    kernel->n_threads = s->n_threads;
    kernel->run = run_batch_norm;
    kernel->state = s;
    kernel->implementation = s->order == EBB_CHANNELS_FIRST    ? "channels_first"
                             : lie_in_blocks(images, n_images) ? "channel_blocks"
                                                               : "channels_last";
    return EBB_OK;
}

const ebb_native_kind ebb_native_batch_norm = { score_batch_norm, compile_batch_norm };
