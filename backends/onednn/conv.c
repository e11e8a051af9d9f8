/* Convolutions and their gradients, F32. Activations with the channels innermost are fast; as the
 * graph has them they work. Weights go in and out in oneDNN's own layouts, which differ between the
 * three directions. Where they lie otherwise, steady ones are packed once, others are reordered
 * into the scratch on each run, and so is the gradient on its way back. */
#include "backends/onednn/conv.h"
#include "backends/onednn/blocks.h"
#include "backends/parallel.h"
#include "ops/descriptors.h"
#include <limits.h>
#include <string.h>

static ebb_onednn_direction direction_of(const ebb_op *op)
{
    return op == &ebb_op_conv || op == &ebb_op_conv_epilogue ? EBB_ONEDNN_FORWARD
           : op == &ebb_op_conv_input_grad                   ? EBB_ONEDNN_BACKWARD_DATA
                                                             : EBB_ONEDNN_BACKWARD_WEIGHTS;
}

static ebb_onednn_conv find_operands(const ebb_region *region)
{
    const ebb_operand *in = region->inputs, *out = region->results;
    ebb_onednn_conv o = { .direction = direction_of(region->op) };
    switch (o.direction) {
    case EBB_ONEDNN_FORWARD:
        o.x = &in[0];
        o.w = &in[1];
        o.y = &out[0];
        if (region->op == &ebb_op_conv_epilogue) {
            const ebb_conv_epilogue_attrs *attrs = region->attrs;
            o.epilogue = attrs->epilogue;
            o.residual = o.epilogue.residual ? &in[region->n_inputs - 1] : NULL;
        }
        o.bias = region->n_inputs > 2 && &in[2] != o.residual ? &in[2] : NULL;
        break;
    case EBB_ONEDNN_BACKWARD_DATA:
        o.y = &in[0];
        o.w = &in[1];
        o.x = &out[0];
        break;
    case EBB_ONEDNN_BACKWARD_WEIGHTS:
        o.x = &in[0];
        o.y = &in[1];
        o.w = &out[0];
        o.bias = region->n_results > 1 ? &out[1] : NULL;
        break;
    }
    return o;
}

bool ebb_onednn_channels_last(const ebb_operand *operand)
{
    const ebb_shape *shape = &operand->type->shape;
    const ebb_layout last = ebb_layout_channels_last(shape);
    for (int i = 0; i < shape->rank; i++)
        if (shape->dims[i] > 1 && operand->layout.strides[i] != last.strides[i])
            return false;
    return true;
}

bool ebb_onednn_in_blocks(const ebb_operand *operand)
{
    const ebb_shape *shape = &operand->type->shape;
    if (operand->layout.n_blocks != 1 || shape->rank != 4)
        return false;
    const ebb_layout blocks = ebb_layout_channel_blocks(shape, EBB_ONEDNN_BLOCK);
    return ebb_layout_agrees(&operand->layout, &blocks, shape);
}

static bool is_dense(const ebb_operand *operand)
{
    return ebb_layout_is_dense(&operand->layout, &operand->type->shape);
}

static bool fits(const ebb_shape *shape)
{
    const int64_t n = ebb_shape_elements(shape);
    bool small = n > 0 && n <= INT_MAX;
    for (int i = 0; i < shape->rank; i++)
        small = small && shape->dims[i] <= INT_MAX;
    return small;
}

int ebb_onednn_score_conv(const ebb_region *region)
{
    const ebb_onednn_conv o = find_operands(region);
    if (o.x->type->dtype != EBB_F32 || !fits(&o.x->type->shape) || !fits(&o.w->type->shape) ||
        !fits(&o.y->type->shape) || !ebb_onednn_takes_weights(region, o.w) ||
        (o.bias && !is_dense(o.bias)))
        return EBB_SCORE_NONE;
    if (ebb_onednn_channels_last(o.x) && ebb_onednn_channels_last(o.y) &&
        (!o.residual || ebb_onednn_channels_last(o.residual)))
        return EBB_SCORE_BEST;
    if (ebb_onednn_in_blocks(o.x) && ebb_onednn_in_blocks(o.y) &&
        (!o.residual || ebb_onednn_in_blocks(o.residual))) {
        const ebb_conv conv = ebb_onednn_conv_read(region);
        return ebb_onednn_fits_blocks(&conv) ? EBB_SCORE_BEST : EBB_SCORE_NONE;
    }
    return is_dense(o.x) && is_dense(o.y) && (!o.residual || is_dense(o.residual))
               ? EBB_SCORE_NATIVE
               : EBB_SCORE_NONE;
}

static ebb_layout image_layout(const ebb_operand *image, bool in_blocks)
{
    const ebb_shape *shape = &image->type->shape;
    return in_blocks ? ebb_layout_channel_blocks(shape, EBB_ONEDNN_BLOCK)
                     : ebb_layout_channels_last(shape);
}

/* All images channels last, or all in blocks. */
static void lay_out_images(const ebb_region *region, bool in_blocks, ebb_layout *inputs,
                           ebb_layout *results)
{
    const int last = region->n_inputs - 1;
    inputs[0] = image_layout(&region->inputs[0], in_blocks);
    if (find_operands(region).residual)
        inputs[last] = image_layout(&region->inputs[last], in_blocks);
    if (direction_of(region->op) == EBB_ONEDNN_BACKWARD_WEIGHTS)
        inputs[1] = image_layout(&region->inputs[1], in_blocks);
    else
        results[0] = image_layout(&region->results[0], in_blocks);
}

/* What is computed in blocks goes on so, unless there is a better way for images that lie channels
 * last. */
static bool stays_in_blocks(const ebb_region *region)
{
    const ebb_onednn_conv o = find_operands(region);
    const ebb_conv conv = ebb_onednn_conv_read(region);
    if (!ebb_onednn_in_blocks(&region->inputs[0]) || !ebb_onednn_fits_blocks(&conv))
        return false;
    return o.direction != EBB_ONEDNN_BACKWARD_WEIGHTS ||
           (ebb_onednn_in_blocks(o.y) && !ebb_onednn_prefers_rows(&conv));
}

bool ebb_onednn_layouts_conv(const ebb_region *region, ebb_layout *inputs, ebb_layout *results)
{
    if (region->inputs[0].type->dtype != EBB_F32)
        return false;
    const int n_images = direction_of(region->op) == EBB_ONEDNN_BACKWARD_WEIGHTS ? 2 : 1;
    lay_out_images(region, stays_in_blocks(region), inputs, results);
    /* Weights in blocks stay so, if oneDNN knows them. */
    ebb_layout *weights = n_images == 1 ? &inputs[1] : &results[0];
    const ebb_type *type = n_images == 1 ? region->inputs[1].type : region->results[0].type;
    const ebb_operand w = { .type = type, .layout = *weights };
    if (!ebb_onednn_takes_weights(region, &w))
        *weights = ebb_layout_dense(&type->shape);
    return true;
}

bool ebb_onednn_choice_layouts_conv(const ebb_region *region, const char *choice,
                                    ebb_layout *inputs, ebb_layout *results)
{
    const ebb_conv conv = ebb_onednn_conv_read(region);
    if (!ebb_onednn_choice_is_blocked(choice) || !ebb_onednn_fits_blocks(&conv))
        return false;
    lay_out_images(region, true, inputs, results);
    return true;
}

bool ebb_onednn_home_conv(const ebb_region *region, int input, ebb_onednn_state *state,
                          ebb_layout *layout)
{
    ebb_onednn_conv o = find_operands(region);
    const ebb_conv conv = ebb_onednn_conv_read(region);
    ebb_onednn_described d = { 0 };
    ebb_operand x = *o.x, y = *o.y;
    dn_desc desc = { 0 };
    if (input != 1 || o.w != &region->inputs[1])
        return false;
    o.x = &x;
    o.y = &y;
    x.layout = ebb_layout_channels_last(&x.type->shape);
    y.layout = ebb_layout_channels_last(&y.type->shape);
    const ebb_shape *shape = &o.w->type->shape;
    bool wishes =
        ebb_onednn_conv_describe(region, &o, state, NULL, &d) == dnnl_success &&
        (d.form == EBB_ONEDNN_PRODUCT ? ebb_onednn_product_layout(shape, layout)
                                      : ebb_onednn_layout_of(dn_query(d.pd, dnnl_query_weights_md),
                                                             conv.groups, shape, layout)) &&
        layout->n_blocks > 0 &&
        ebb_onednn_describe_blocks(layout, conv.groups, shape, &desc) == dnnl_success;
    dn_desc_finish(&desc);
    ebb_onednn_conv_finish(&d);
    return wishes;
}

ebb_conv ebb_onednn_conv_read(const ebb_region *region)
{
    ebb_conv conv;
    const ebb_shape *shapes[2] = { &region->inputs[0].type->shape, &region->inputs[1].type->shape };
    ebb_conv_read(region->op, region->attrs, shapes, &region->results[0].type->shape, &conv);
    return conv;
}

/* Below about 0.6 million operations a second thread costs more than it saves. */
int ebb_onednn_threads_conv(const ebb_region *region)
{
    const ebb_conv conv = ebb_onednn_conv_read(region);
    const double multiplies = (double)conv.batch * (double)conv.groups * (double)conv.channels *
                              (double)conv.filters * (double)conv.w.n_counts *
                              (double)conv.w.n_taps;
    return multiplies < 0.3e6 ? 1 : region->n_threads;
}

/* With windows: what is done beside the primitives. */
typedef struct extras {
    ebb_onednn_windows windows; /* copied of x before */
    int64_t bias_filters;       /* EBB_ONEDNN_ROWS: the gradient of so many biases; 0: none */
    int64_t n_parts;            /* EBB_ONEDNN_ROWS: of the taps; each has its lines of windows .. */
    int64_t n_lines;            /* .. so many along the second dimension .. */
    size_t part_bytes;          /* .. and its columns of the result */
    int64_t n_turns;         /* EBB_ONEDNN_PRODUCT: parts of the batch, each with so much of .. */
    size_t x_bytes, y_bytes; /* .. the images and of the result */
} extras;

/* Sums of the columns of rows [n_rows, n]. */
static void sum_rows(int64_t n_rows, int64_t n, const float *rows, float *sums)
{
    enum { COLUMNS = 64 };
    for (int64_t j = 0; j < n; j += COLUMNS) {
        const int width = n - j < COLUMNS ? (int)(n - j) : COLUMNS;
        double partial[COLUMNS] = { 0 };
        for (int64_t i = 0; i < n_rows; i++)
            for (int k = 0; k < width; k++)
                partial[k] += (double)rows[i * n + j + k];
        for (int k = 0; k < width; k++)
            sums[j + k] = (float)partial[k];
    }
}

/* The result of `main` goes `bytes` further back in the scratch. */
static void shift_result(ebb_onednn_primitive *primitive, size_t bytes, bool back)
{
    for (int i = 0; i < primitive->n_args; i++)
        if (primitive->args[i].arg == DNNL_ARG_DST)
            primitive->origins[i].index += back ? 0 - bytes : bytes;
}

/* `main`, for each part of the batch with the windows of its own. */
static ebb_status run_turns(ebb_onednn_state *state, const ebb_call *call)
{
    const extras *more = state->more;
    ebb_status status = EBB_OK;
    for (int64_t turn = 0; turn < more->n_turns && !status; turn++) {
        void *result = (char *)call->results[0] + (size_t)turn * more->y_bytes;
        const char *x = (const char *)call->inputs[0] + (size_t)turn * more->x_bytes;
        ebb_onednn_windows_copy(&more->windows, (const float *)(const void *)x,
                                (void *)((char *)call->scratch + more->windows.start));
        status = ebb_onednn_execute(state, &state->main, call->inputs, &result, call->scratch,
                                    call->error);
    }
    return status;
}

/* `main`, for each part of the taps with the windows of its own. */
static ebb_status run_main(ebb_onednn_state *state, const ebb_call *call)
{
    const extras *more = state->more;
    const int64_t n_parts = more && more->n_parts ? more->n_parts : 1;
    ebb_status status = EBB_OK;
    if (more && more->n_turns)
        return run_turns(state, call);
    for (int64_t part = 0; part < n_parts && !status; part++) {
        if (more) {
            ebb_onednn_windows windows = more->windows;
            ebb_window *w = &windows.w;
            w->begin[0] -= n_parts > 1 ? part / more->n_lines * w->dilation[0] : 0;
            w->begin[1] -= n_parts > 1 ? part % more->n_lines * w->dilation[1] : 0;
            ebb_onednn_windows_copy(&windows, call->inputs[0],
                                    (void *)((char *)call->scratch + windows.start));
        }
        const size_t shift = more ? (size_t)part * more->part_bytes : 0;
        shift_result(&state->main, shift, false);
        status = ebb_onednn_execute(state, &state->main, call->inputs, call->results, call->scratch,
                                    call->error);
        shift_result(&state->main, shift, true);
    }
    return status;
}

static ebb_status run_conv(const ebb_call *call)
{
    ebb_onednn_state *state = call->state;
    const extras *more = state->more;
    ebb_status status = EBB_OK;
    ebb_onednn_place_residual(state, call);
    if (more && more->bias_filters)
        sum_rows(more->windows.batch * more->windows.w.n_counts, more->bias_filters,
                 call->inputs[1], call->results[1]);
    for (int i = 0; i < EBB_ONEDNN_MAX_BEFORE && !status; i++)
        if (state->before[i].handle)
            status = ebb_onednn_execute(state, &state->before[i], call->inputs, call->results,
                                        call->scratch, call->error);
    if (!status)
        status = run_main(state, call);
    if (!status && state->after.handle)
        status = ebb_onednn_execute(state, &state->after, call->inputs, call->results,
                                    call->scratch, call->error);
    return status;
}

/* Where the weights come from or go to: the operand itself, its packed form, or the scratch by way
 * of a reorder. */
static ebb_status bind_weights(const ebb_onednn_conv *o, const ebb_onednn_described *d,
                               const ebb_compile_env *env, ebb_onednn_state *state,
                               ebb_kernel *kernel)
{
    const bool is_result = o->direction == EBB_ONEDNN_BACKWARD_WEIGHTS;
    dn_view plain = dn_desc_view(&d->w);
    dn_view own =
        d->form == EBB_ONEDNN_ROWS
            ? dn_desc_view(&d->own)
            : dn_query(d->pd, is_result ? dnnl_query_diff_weights_md : dnnl_query_weights_md);
    dn_view result = d->form == EBB_ONEDNN_ROWS ? dn_desc_view(&d->product) : own;
    const int arg = d->form == EBB_ONEDNN_ROWS ? DNNL_ARG_DST
                    : is_result                ? DNNL_ARG_DIFF_WEIGHTS
                                               : DNNL_ARG_WEIGHTS;
    const ebb_onednn_place place = is_result ? EBB_ONEDNN_RESULT : EBB_ONEDNN_INPUT;
    const size_t index = is_result ? 0 : 1;
    if (dn_view_equal(plain, own))
        return ebb_onednn_bind(state, &state->main, arg, result, place, index, NULL, env->error);
    if (!is_result && o->w->is_steady) {
        ebb_status status =
            ebb_onednn_bind(state, &state->main, arg, own, place, index, NULL, env->error);
        return status ? status : ebb_onednn_make_pack(state, plain, own, 1, env, kernel);
    }
    ebb_onednn_primitive *reorder = is_result ? &state->after : &state->before[0];
    kernel->n_reorders++;
    const size_t start = (kernel->scratch_bytes + 63) / 64 * 64;
    kernel->scratch_bytes = start + dn_view_bytes(own);
    dn_view from = is_result ? own : plain, to = is_result ? plain : own;
    ebb_status status = ebb_onednn_bind(state, &state->main, arg, result, EBB_ONEDNN_SCRATCH, start,
                                        NULL, env->error);
    if (!status)
        status =
            ebb_onednn_make_reorder(state, reorder, from, to, &kernel->scratch_bytes, env->error);
    if (!status)
        status = ebb_onednn_bind(state, reorder, is_result ? DNNL_ARG_FROM : DNNL_ARG_TO, own,
                                 EBB_ONEDNN_SCRATCH, start, NULL, env->error);
    if (!status)
        status = ebb_onednn_bind(state, reorder, is_result ? DNNL_ARG_TO : DNNL_ARG_FROM, plain,
                                 place, index, NULL, env->error);
    return status;
}

/* What is done beside the primitives; room in the scratch for the windows of x. */
static ebb_status add_extras(const ebb_onednn_conv *o, const ebb_region *region,
                             const ebb_onednn_described *d, const ebb_compile_env *env,
                             ebb_onednn_state *state, ebb_kernel *kernel)
{
    if (o->residual) {
        kernel->inplace_inputs = 1u << (region->n_inputs - 1);
        if (!d->by_scratch) {
            state->residual.input = region->n_inputs - 1;
            state->residual.n = ebb_shape_elements(&o->residual->type->shape);
        }
    }
    if (!d->has_windows)
        return EBB_OK;
    extras *more = env->allocate(env->context, sizeof *more);
    if (!more)
        return ebb_fail(env->error, EBB_OUT_OF_MEMORY, "oneDNN convolution: state of a kernel");
    state->more = more;
    more->windows = d->windows;
    more->windows.start = (kernel->scratch_bytes + 63) / 64 * 64;
    const ebb_conv conv = ebb_onednn_conv_read(region);
    if (d->form == EBB_ONEDNN_PRODUCT && d->windows.batch > 0) {
        more->n_turns = conv.batch / d->windows.batch;
        more->x_bytes = sizeof(float) * (size_t)(d->windows.batch * conv.w.n_sizes * conv.channels);
        more->y_bytes = sizeof(float) * (size_t)(d->windows.batch * conv.w.n_counts * conv.filters);
    }
    if (d->n_parts > 1) {
        more->n_parts = d->n_parts;
        more->n_lines = conv.w.window[1];
        more->part_bytes = sizeof(float) * (size_t)(conv.w.window[2] * conv.channels);
    }
    more->bias_filters = d->form == EBB_ONEDNN_ROWS && o->bias ? o->w->type->shape.dims[0] : 0;
    kernel->scratch_bytes = more->windows.start + ebb_onednn_windows_bytes(&more->windows);
    return EBB_OK;
}

/* A copy in the scratch, at `start`, of an image in oneDNN's own layout: made of the operand
 * before, or brought there after. */
static ebb_status bind_copy(ebb_onednn_state *state, ebb_onednn_primitive *reorder, dn_view plain,
                            dn_view blocked, ebb_onednn_place place, size_t index, size_t start,
                            ebb_kernel *kernel, ebb_error *error)
{
    const bool is_result = place == EBB_ONEDNN_RESULT;
    dn_view from = is_result ? blocked : plain, to = is_result ? plain : blocked;
    ebb_status status =
        ebb_onednn_make_reorder(state, reorder, from, to, &kernel->scratch_bytes, error);
    if (!status)
        status = ebb_onednn_bind(state, reorder, is_result ? DNNL_ARG_FROM : DNNL_ARG_TO, blocked,
                                 EBB_ONEDNN_SCRATCH, start, NULL, error);
    if (!status)
        status = ebb_onednn_bind(state, reorder, is_result ? DNNL_ARG_TO : DNNL_ARG_FROM, plain,
                                 place, index, NULL, error);
    return status;
}

/* How the operands are called, and where they lie in the call. */
typedef struct images {
    int x, y, bias;
    ebb_onednn_place x_place, y_place, bias_place;
    size_t x_index, y_index, bias_index;
} images;

static const images images_of[] = {
    [EBB_ONEDNN_FORWARD] = { DNNL_ARG_SRC, DNNL_ARG_DST, DNNL_ARG_BIAS, EBB_ONEDNN_INPUT,
                             EBB_ONEDNN_RESULT, EBB_ONEDNN_INPUT, 0, 0, 2 },
    [EBB_ONEDNN_BACKWARD_DATA] = { DNNL_ARG_DIFF_SRC, DNNL_ARG_DIFF_DST, 0, EBB_ONEDNN_RESULT,
                                   EBB_ONEDNN_INPUT, EBB_ONEDNN_INPUT, 0, 0, 0 },
    [EBB_ONEDNN_BACKWARD_WEIGHTS] = { DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_BIAS,
                                      EBB_ONEDNN_INPUT, EBB_ONEDNN_INPUT, EBB_ONEDNN_RESULT, 0, 1,
                                      1 },
};

/* x and y in blocks in the scratch. A residual goes where the result
 * will be added. */
static ebb_status bind_blocked(const ebb_onednn_conv *o, const ebb_region *region,
                               const ebb_onednn_described *d, ebb_onednn_state *state,
                               ebb_kernel *kernel, ebb_error *error)
{
    const images *at = &images_of[o->direction];
    dn_view x = dn_desc_view(&d->x), y = dn_desc_view(&d->y);
    dn_view plain_x = dn_desc_view(&d->plain_x), plain_y = dn_desc_view(&d->plain_y);
    const size_t x_start = (kernel->scratch_bytes + 63) / 64 * 64;
    const size_t y_start = (x_start + dn_view_bytes(x) + 63) / 64 * 64;
    kernel->scratch_bytes = y_start + dn_view_bytes(y);
    ebb_status status =
        ebb_onednn_bind(state, &state->main, at->x, x, EBB_ONEDNN_SCRATCH, x_start, NULL, error);
    if (!status)
        status = ebb_onednn_bind(state, &state->main, at->y, y, EBB_ONEDNN_SCRATCH, y_start, NULL,
                                 error);
    if (!status)
        status =
            bind_copy(state, at->x_place == EBB_ONEDNN_RESULT ? &state->after : &state->before[1],
                      plain_x, x, at->x_place, at->x_index, x_start, kernel, error);
    if (!status)
        status =
            bind_copy(state, at->y_place == EBB_ONEDNN_RESULT ? &state->after : &state->before[2],
                      plain_y, y, at->y_place, at->y_index, y_start, kernel, error);
    if (!status && o->residual)
        status = bind_copy(state, &state->before[2], plain_y, y, EBB_ONEDNN_INPUT,
                           (size_t)region->n_inputs - 1, y_start, kernel, error);
    return status;
}

static ebb_status bind_images(const ebb_onednn_conv *o, const ebb_region *region,
                              const ebb_onednn_described *d, ebb_onednn_state *state,
                              ebb_kernel *kernel, ebb_error *error)
{
    const images *at = &images_of[o->direction];
    const extras *more = state->more;
    const bool is_product = d->form == EBB_ONEDNN_ROWS;
    ebb_status status = EBB_OK;
    if (o->bias && !is_product)
        status = ebb_onednn_bind(state, &state->main, at->bias, dn_desc_view(&d->bias),
                                 at->bias_place, at->bias_index, NULL, error);
    if (!status && d->by_scratch)
        return bind_blocked(o, region, d, state, kernel, error);
    if (!status)
        status = ebb_onednn_bind(state, &state->main, is_product ? DNNL_ARG_WEIGHTS : at->x,
                                 dn_desc_view(&d->x), more ? EBB_ONEDNN_SCRATCH : at->x_place,
                                 more ? more->windows.start : at->x_index, NULL, error);
    if (!status)
        status = ebb_onednn_bind(state, &state->main, is_product ? DNNL_ARG_SRC : at->y,
                                 dn_desc_view(&d->y), at->y_place, at->y_index, NULL, error);
    return status;
}

ebb_status ebb_onednn_compile_conv(const ebb_region *region, const ebb_compile_env *env,
                                   ebb_onednn_state *state, ebb_kernel *kernel)
{
    const ebb_onednn_conv o = find_operands(region);
    ebb_onednn_described d = { 0 };
    ebb_status status = ebb_onednn_check(
        ebb_onednn_conv_describe(region, &o, state, env->choice, &d), "convolution", env->error);
    if (!status)
        status = ebb_onednn_make(state, d.pd, "convolution", env, kernel);
    if (!status)
        status = add_extras(&o, region, &d, env, state, kernel);
    if (!status)
        status = bind_images(&o, region, &d, state, kernel, env->error);
    if (!status)
        status = bind_weights(&o, &d, env, state, kernel);
    kernel->run = run_conv;
    ebb_onednn_conv_finish(&d);
    return status;
}

int ebb_onednn_choices_conv(const ebb_region *region, ebb_onednn_state *state, ebb_choice *choices,
                            int max)
{
    const ebb_onednn_conv o = find_operands(region);
    return ebb_onednn_conv_list(region, &o, state, choices, max);
}
