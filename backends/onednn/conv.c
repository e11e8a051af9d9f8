/* Convolutions and their gradients, F32. Activations with the channels innermost are fast; as the
 * graph has them they work. Weights go in and out in oneDNN's own layout, which differs between the
 * three directions: steady ones are packed once, others are reordered into the scratch on each run,
 * and so is the gradient on its way back. */
#include "ops/conv.h"
#include "backends/onednn/onednn.h"
#include "backends/onednn/windows.h"
#include "backends/parallel.h"
#include "ops/descriptors.h"
#include <limits.h>
#include <string.h>

typedef enum direction { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS } direction;

static direction direction_of(const ebb_op *op)
{
    return op == &ebb_op_conv || op == &ebb_op_conv_epilogue ? FORWARD
           : op == &ebb_op_conv_input_grad                   ? BACKWARD_DATA
                                                             : BACKWARD_WEIGHTS;
}

/* The operands of y = conv(x, w, bias) in the region of any of the three. */
typedef struct operands {
    direction direction;
    const ebb_operand *x, *w, *y, *bias; /* bias: NULL without; the gradient in BACKWARD_WEIGHTS */
    const ebb_operand *residual;         /* the last input, or NULL */
    ebb_activation activation;
} operands;

static operands find_operands(const ebb_region *region)
{
    const ebb_operand *in = region->inputs, *out = region->results;
    operands o = { .direction = direction_of(region->op) };
    switch (o.direction) {
    case FORWARD:
        o.x = &in[0];
        o.w = &in[1];
        o.y = &out[0];
        if (region->op == &ebb_op_conv_epilogue) {
            const ebb_conv_epilogue_attrs *attrs = region->attrs;
            o.residual = attrs->residual ? &in[region->n_inputs - 1] : NULL;
            o.activation = (ebb_activation)attrs->activation;
        }
        o.bias = region->n_inputs > 2 && &in[2] != o.residual ? &in[2] : NULL;
        break;
    case BACKWARD_DATA:
        o.y = &in[0];
        o.w = &in[1];
        o.x = &out[0];
        break;
    case BACKWARD_WEIGHTS:
        o.x = &in[0];
        o.y = &in[1];
        o.w = &out[0];
        o.bias = region->n_results > 1 ? &out[1] : NULL;
        break;
    }
    return o;
}

static bool lies_channels_last(const ebb_operand *operand)
{
    const ebb_shape *shape = &operand->type->shape;
    const ebb_layout last = ebb_layout_channels_last(shape);
    for (int i = 0; i < shape->rank; i++)
        if (shape->dims[i] > 1 && operand->layout.strides[i] != last.strides[i])
            return false;
    return true;
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
    const operands o = find_operands(region);
    if (o.x->type->dtype != EBB_F32 || !fits(&o.x->type->shape) || !fits(&o.w->type->shape) ||
        !fits(&o.y->type->shape) || !is_dense(o.w) || (o.bias && !is_dense(o.bias)))
        return EBB_SCORE_NONE;
    if (lies_channels_last(o.x) && lies_channels_last(o.y) &&
        (!o.residual || lies_channels_last(o.residual)))
        return EBB_SCORE_BEST;
    return is_dense(o.x) && is_dense(o.y) && (!o.residual || is_dense(o.residual))
               ? EBB_SCORE_NATIVE
               : EBB_SCORE_NONE;
}

bool ebb_onednn_layouts_conv(const ebb_region *region, ebb_layout *inputs, ebb_layout *results)
{
    if (region->inputs[0].type->dtype != EBB_F32)
        return false;
    const int n_images = direction_of(region->op) == BACKWARD_WEIGHTS ? 2 : 1;
    for (int i = 0; i < n_images; i++)
        inputs[i] = ebb_layout_channels_last(&region->inputs[i].type->shape);
    if (find_operands(region).residual) {
        const int last = region->n_inputs - 1;
        inputs[last] = ebb_layout_channels_last(&region->inputs[last].type->shape);
    }
    if (n_images == 1) {
        inputs[1] = ebb_layout_dense(&region->inputs[1].type->shape);
        results[0] = ebb_layout_channels_last(&region->results[0].type->shape);
    }
    return true;
}

static ebb_conv read_conv(const ebb_region *region)
{
    ebb_conv conv;
    const ebb_shape *shapes[2] = { &region->inputs[0].type->shape, &region->inputs[1].type->shape };
    ebb_conv_read(region->op, region->attrs, shapes, &region->results[0].type->shape, &conv);
    return conv;
}

/* Below about 0.6 million operations a second thread costs more than it saves. */
int ebb_onednn_threads_conv(const ebb_region *region)
{
    const ebb_conv conv = read_conv(region);
    const double multiplies = (double)conv.batch * (double)conv.groups * (double)conv.channels *
                              (double)conv.filters * (double)conv.w.n_counts *
                              (double)conv.w.n_taps;
    return multiplies < 0.3e6 ? 1 : region->n_threads;
}

/* ---- primitives ---- */

/* How a convolution is computed. */
typedef enum form {
    FORM_PLAIN,
    FORM_PADDED, /* the gradient of weights, from images with their padding around them */
    FORM_ROWS    /* the same by one matrix product: dy' times the windows of x as rows */
} form;

typedef struct described {
    form form;
    dn_desc x, y, bias;
    dn_desc w, any;       /* w as the graph has it; any: for oneDNN to choose */
    dn_desc own, product; /* FORM_ROWS: the result, as weights and as a matrix */
    dn_window window;
    ebb_onednn_windows windows; /* not FORM_PLAIN: what is copied of x */
    dnnl_primitive_attr_t attr; /* of the convolution: state->attr and what follows */
    dnnl_primitive_desc_t hint, pd;
} described;

static void finish_descriptors(described *d)
{
    if (d->pd)
        dnnl_primitive_desc_destroy(d->pd);
    if (d->hint)
        dnnl_primitive_desc_destroy(d->hint);
    if (d->attr)
        dnnl_primitive_attr_destroy(d->attr);
    dn_desc_finish(&d->product);
    dn_desc_finish(&d->own);
    dn_desc_finish(&d->any);
    dn_desc_finish(&d->w);
    dn_desc_finish(&d->bias);
    dn_desc_finish(&d->y);
    dn_desc_finish(&d->x);
}

static dnnl_status_t describe_image(const ebb_operand *operand, bool channels_last, dn_desc *desc)
{
    const ebb_shape *shape = &operand->type->shape;
    /* Strides of dimensions of size 1, too, as oneDNN would have them. */
    const ebb_layout layout =
        channels_last ? ebb_layout_channels_last(shape) : ebb_layout_dense(shape);
    dnnl_dims_t dims = { 0 }, strides = { 0 };
    for (int i = 0; i < shape->rank; i++) {
        dims[i] = shape->dims[i];
        strides[i] = layout.strides[i];
    }
    return dn_desc_strided(desc, shape->rank, dims, dnnl_f32, strides);
}

/* Weights with a dimension for the groups in front, if there are several. */
static dnnl_status_t describe_weights(const ebb_conv *conv, const ebb_shape *shape, described *d)
{
    dnnl_dims_t dims = { 0 }, strides = { 0 };
    int rank = 0;
    if (conv->groups > 1)
        dims[rank++] = conv->groups;
    dims[rank++] = conv->filters;
    for (int i = 1; i < shape->rank; i++)
        dims[rank++] = shape->dims[i];
    strides[rank - 1] = 1;
    for (int i = rank - 2; i >= 0; i--)
        strides[i] = strides[i + 1] * dims[i + 1];
    dnnl_status_t status = dn_desc_strided(&d->w, rank, dims, dnnl_f32, strides);
    if (status == dnnl_success)
        status = dn_desc_tagged(&d->any, rank, dims, dnnl_f32, dnnl_format_tag_any);
    return status;
}

static void describe_window(const ebb_conv *conv, dn_window *window)
{
    const ebb_window *w = &conv->w;
    for (int i = 0; i < w->n; i++) {
        const int d = EBB_MAX_SPATIAL - w->n + i;
        window->strides[i] = w->stride[d];
        window->dilates[i] = w->dilation[d] - 1;
        window->begin[i] = w->begin[d];
        /* oneDNN wants the end exactly as far as the last window reaches. */
        window->end[i] = (w->count[d] - 1) * w->stride[d] + (w->window[d] - 1) * w->dilation[d] +
                         1 - w->size[d] - w->begin[d];
    }
}

/* ---- the gradient of weights, other ways ---- */

/* With few places in an image oneDNN walks through all weights for each image. One product over all
 * images does not: measured with 2.6.3, 512 to 512 channels at 2x2 are 3.5 times as fast, at 4x4
 * 1.2 times, and at 8x8 slower. */
static bool prefers_rows(const operands *o, const ebb_conv *conv)
{
    enum { MOST_PLACES = 16, LEAST_CHANNELS = 64, LEAST_ROWS = 64 };
    return o->direction == BACKWARD_WEIGHTS && conv->groups == 1 && conv->w.n_taps > 1 &&
           conv->w.n_counts <= MOST_PLACES && conv->channels >= LEAST_CHANNELS &&
           conv->filters >= LEAST_CHANNELS && conv->batch * conv->w.n_counts >= LEAST_ROWS &&
           lies_channels_last(o->x) && lies_channels_last(o->y);
}

static ebb_onednn_windows windows_of(const ebb_conv *conv, const ebb_onednn_state *state)
{
    return (ebb_onednn_windows){ .w = conv->w,
                                 .batch = conv->batch,
                                 .channels = conv->channels * conv->groups,
                                 .n_threads = state->n_threads };
}

/* dw [filters, taps, channels] = dy' [filters, rows] x [rows, taps channels] */
static dnnl_status_t describe_rows(const operands *o, const ebb_conv *conv,
                                   const ebb_onednn_state *state, described *d)
{
    const int64_t n_rows = conv->batch * conv->w.n_counts;
    const int64_t n_columns = conv->w.n_taps * conv->channels;
    d->form = FORM_ROWS;
    d->windows = windows_of(conv, state);
    dnnl_status_t status = describe_image(o->w, true, &d->own);
    if (status == dnnl_success)
        status = describe_weights(conv, &o->w->type->shape, d);
    if (status == dnnl_success)
        status = dn_desc_strided(&d->y, 2, (dnnl_dims_t){ conv->filters, n_rows }, dnnl_f32,
                                 (dnnl_dims_t){ 1, conv->filters });
    if (status == dnnl_success)
        status = dn_desc_strided(&d->x, 2, (dnnl_dims_t){ n_rows, n_columns }, dnnl_f32,
                                 (dnnl_dims_t){ n_columns, 1 });
    if (status == dnnl_success)
        status = dn_desc_strided(&d->product, 2, (dnnl_dims_t){ conv->filters, n_columns },
                                 dnnl_f32, (dnnl_dims_t){ n_columns, 1 });
    if (status == dnnl_success)
        status = dn_matmul(&d->pd, state->engine, dn_desc_view(&d->y), dn_desc_view(&d->x), NULL,
                           dn_desc_view(&d->product), state->attr);
    return status == dnnl_success ? dn_prefer(&d->pd, "gemm:jit") : status;
}

/* oneDNN 2.6 has no AVX-512 kernel for padding beyond half a window, but for images that have it
 * around them: then those take the place of x. */
static dnnl_status_t pad_images(const operands *o, const ebb_conv *conv,
                                const ebb_onednn_state *state, described *d)
{
    if (!strstr(dn_implementation(d->hint), "avx512") || strstr(dn_implementation(d->pd), "avx512"))
        return dnnl_success;
    described padded = { .form = FORM_PADDED, .windows = windows_of(conv, state) };
    ebb_shape shape = o->x->type->shape;
    ebb_window *w = &padded.windows.w;
    padded.window = d->window;
    for (int i = 0; i < w->n; i++) {
        const int k = EBB_MAX_SPATIAL - w->n + i;
        w->count[k] = (w->count[k] - 1) * w->stride[k] + (w->window[k] - 1) * w->dilation[k] + 1;
        w->window[k] = w->stride[k] = w->dilation[k] = 1;
        shape.dims[2 + i] = w->count[k];
        padded.window.begin[i] = padded.window.end[i] = 0;
    }
    const ebb_type type = { EBB_F32, shape };
    const ebb_operand image = { .type = &type };
    dnnl_status_t status = describe_image(&image, true, &padded.x);
    dn_view x = dn_desc_view(&padded.x), y = dn_desc_view(&d->y), any = dn_desc_view(&d->any);
    dn_view bias = o->bias ? dn_desc_view(&d->bias) : NULL;
    if (status == dnnl_success)
        status = dn_conv_forward(&padded.hint, state->engine, dnnl_forward_training, x, any, bias,
                                 y, &padded.window, state->attr);
    if (status == dnnl_success)
        status = dn_conv_backward_weights(&padded.pd, state->engine, x, any, bias, y,
                                          &padded.window, padded.hint, state->attr);
    if (status == dnnl_success && strstr(dn_implementation(padded.pd), "avx512")) {
        described plain = { .x = d->x, .hint = d->hint, .pd = d->pd };
        d->form = FORM_PADDED;
        d->windows = padded.windows;
        d->x = padded.x;
        d->hint = padded.hint;
        d->pd = padded.pd;
        padded = plain;
    }
    finish_descriptors(&padded);
    return dnnl_success; /* the plain form is there in any case */
}

static dnnl_status_t describe_epilogue(const operands *o, const ebb_onednn_state *state,
                                       described *d)
{
    static const dnnl_alg_kind_t algorithms[] = { dnnl_alg_kind_undef, dnnl_eltwise_relu,
                                                  dnnl_eltwise_logistic, dnnl_eltwise_tanh };
    dnnl_status_t status = dnnl_primitive_attr_clone(&d->attr, state->attr);
    if (status != dnnl_success || (!o->residual && !o->activation))
        return status;
    return dn_append(d->attr, o->residual != NULL, algorithms[o->activation]);
}

static dnnl_status_t describe(const ebb_region *region, const operands *o,
                              const ebb_onednn_state *state, described *d)
{
    const ebb_conv conv = read_conv(region);
    const bool last = lies_channels_last(o->x) && lies_channels_last(o->y);
    if (prefers_rows(o, &conv))
        return describe_rows(o, &conv, state, d);
    dnnl_status_t status = describe_image(o->x, last, &d->x);
    if (status == dnnl_success)
        status = describe_image(o->y, last, &d->y);
    if (status == dnnl_success)
        status = describe_weights(&conv, &o->w->type->shape, d);
    if (status == dnnl_success && o->bias)
        status = dn_desc_strided(&d->bias, 1, (dnnl_dims_t){ conv.groups * conv.filters }, dnnl_f32,
                                 (dnnl_dims_t){ 1 });
    if (status != dnnl_success)
        return status;
    describe_window(&conv, &d->window);
    status = describe_epilogue(o, state, d);
    if (status != dnnl_success)
        return status;
    dn_view x = dn_desc_view(&d->x), y = dn_desc_view(&d->y), any = dn_desc_view(&d->any);
    dn_view bias = o->bias ? dn_desc_view(&d->bias) : NULL;
    const bool is_forward = o->direction == FORWARD;
    status = dn_conv_forward(is_forward ? &d->pd : &d->hint, state->engine,
                             is_forward ? dnnl_forward_inference : dnnl_forward_training, x, any,
                             bias, y, &d->window, d->attr);
    if (is_forward && DN_V2 && status == dnnl_success &&
        strstr(dn_implementation(d->pd), "brgconv:"))
        status = dn_prefer(&d->pd, "jit:avx512_core");
    if (o->direction == BACKWARD_DATA && status == dnnl_success)
        status = dn_conv_backward_data(&d->pd, state->engine, x, any, y, &d->window, d->hint,
                                       state->attr);
    if (o->direction == BACKWARD_WEIGHTS && status == dnnl_success)
        status = dn_conv_backward_weights(&d->pd, state->engine, x, any, bias, y, &d->window,
                                          d->hint, state->attr);
    if (o->direction == BACKWARD_WEIGHTS && status == dnnl_success && last)
        status = pad_images(o, &conv, state, d);
    return status;
}

/* What is done beside the primitives. */
typedef struct extras {
    ebb_onednn_windows windows; /* copied of x before */
    int64_t bias_filters;       /* FORM_ROWS: the gradient of so many biases; 0: none */
    bool has_windows;
    int residual;       /* the input that is added to the result; 0: none */
    int64_t n_residual; /* its elements */
    int n_threads;
} extras;

typedef struct copying {
    const extras *more;
    const ebb_call *call;
} copying;

static void copy_part(void *context, int index, int n)
{
    const copying *c = context;
    const float *from = c->call->inputs[c->more->residual];
    int64_t begin, end;
    ebb_parallel_part(c->more->n_residual, index, n, &begin, &end);
    memcpy((float *)c->call->results[0] + begin, from + begin,
           (size_t)(end - begin) * sizeof *from);
}

/* oneDNN adds to what lies in the result. Where the plan could, that is the residual already. */
static void place_residual(const extras *more, const ebb_call *call)
{
    if (call->results[0] != call->inputs[more->residual])
        ebb_parallel(more->n_threads, copy_part, &(copying){ more, call });
}

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

static ebb_status run_conv(const ebb_call *call)
{
    ebb_onednn_state *state = call->state;
    const extras *more = state->more;
    ebb_status status = EBB_OK;
    if (more && more->has_windows)
        ebb_onednn_windows_copy(&more->windows, call->inputs[0],
                                (void *)((char *)call->scratch + more->windows.start));
    if (more && more->residual)
        place_residual(more, call);
    if (more && more->bias_filters)
        sum_rows(more->windows.batch * more->windows.w.n_counts, more->bias_filters,
                 call->inputs[1], call->results[1]);
    if (state->before.handle)
        status = ebb_onednn_execute(state, &state->before, call->inputs, call->results,
                                    call->scratch, call->error);
    if (!status)
        status = ebb_onednn_execute(state, &state->main, call->inputs, call->results, call->scratch,
                                    call->error);
    if (!status && state->after.handle)
        status = ebb_onednn_execute(state, &state->after, call->inputs, call->results,
                                    call->scratch, call->error);
    return status;
}

/* Where the weights come from or go to: the operand itself, its packed form, or the scratch by way
 * of a reorder. */
static ebb_status bind_weights(const operands *o, const described *d, const ebb_compile_env *env,
                               ebb_onednn_state *state, ebb_kernel *kernel)
{
    const bool is_result = o->direction == BACKWARD_WEIGHTS;
    dn_view plain = dn_desc_view(&d->w);
    dn_view own = d->form == FORM_ROWS ? dn_desc_view(&d->own)
                                       : dn_query(d->pd, is_result ? dnnl_query_diff_weights_md
                                                                   : dnnl_query_weights_md);
    dn_view result = d->form == FORM_ROWS ? dn_desc_view(&d->product) : own;
    const int arg = d->form == FORM_ROWS ? DNNL_ARG_DST
                    : is_result          ? DNNL_ARG_DIFF_WEIGHTS
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
    ebb_onednn_primitive *reorder = is_result ? &state->after : &state->before;
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
static ebb_status add_extras(const operands *o, const ebb_region *region, const described *d,
                             const ebb_compile_env *env, ebb_onednn_state *state,
                             ebb_kernel *kernel)
{
    if (d->form == FORM_PLAIN && !o->residual)
        return EBB_OK;
    extras *more = env->allocate(env->context, sizeof *more);
    if (!more)
        return ebb_fail(env->error, EBB_OUT_OF_MEMORY, "oneDNN convolution: state of a kernel");
    state->more = more;
    more->n_threads = state->n_threads;
    if (o->residual) {
        more->residual = region->n_inputs - 1;
        more->n_residual = ebb_shape_elements(&o->residual->type->shape);
        kernel->inplace_inputs = 1u << more->residual;
    }
    if (d->form == FORM_PLAIN)
        return EBB_OK;
    more->has_windows = true;
    more->windows = d->windows;
    more->windows.start = (kernel->scratch_bytes + 63) / 64 * 64;
    more->bias_filters = d->form == FORM_ROWS && o->bias ? o->w->type->shape.dims[0] : 0;
    kernel->scratch_bytes = more->windows.start + ebb_onednn_windows_bytes(&more->windows);
    return EBB_OK;
}

static ebb_status bind_images(const operands *o, const described *d, ebb_onednn_state *state,
                              ebb_error *error)
{
    const extras *more = state->more;
    const bool has_windows = more && more->has_windows;
    static const struct {
        int x, y, bias;
        ebb_onednn_place x_place, y_place, bias_place;
        size_t x_index, y_index, bias_index;
    } rows[] = {
        [FORWARD] = { DNNL_ARG_SRC, DNNL_ARG_DST, DNNL_ARG_BIAS, EBB_ONEDNN_INPUT,
                      EBB_ONEDNN_RESULT, EBB_ONEDNN_INPUT, 0, 0, 2 },
        [BACKWARD_DATA] = { DNNL_ARG_DIFF_SRC, DNNL_ARG_DIFF_DST, 0, EBB_ONEDNN_RESULT,
                            EBB_ONEDNN_INPUT, EBB_ONEDNN_INPUT, 0, 0, 0 },
        [BACKWARD_WEIGHTS] = { DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_BIAS,
                               EBB_ONEDNN_INPUT, EBB_ONEDNN_INPUT, EBB_ONEDNN_RESULT, 0, 1, 1 },
    };
    const int at = (int)o->direction;
    const bool is_product = d->form == FORM_ROWS;
    ebb_status status =
        ebb_onednn_bind(state, &state->main, is_product ? DNNL_ARG_WEIGHTS : rows[at].x,
                        dn_desc_view(&d->x), has_windows ? EBB_ONEDNN_SCRATCH : rows[at].x_place,
                        has_windows ? more->windows.start : rows[at].x_index, NULL, error);
    if (!status)
        status =
            ebb_onednn_bind(state, &state->main, is_product ? DNNL_ARG_SRC : rows[at].y,
                            dn_desc_view(&d->y), rows[at].y_place, rows[at].y_index, NULL, error);
    if (!status && o->bias && !is_product)
        status = ebb_onednn_bind(state, &state->main, rows[at].bias, dn_desc_view(&d->bias),
                                 rows[at].bias_place, rows[at].bias_index, NULL, error);
    return status;
}

ebb_status ebb_onednn_compile_conv(const ebb_region *region, const ebb_compile_env *env,
                                   ebb_onednn_state *state, ebb_kernel *kernel)
{
    const operands o = find_operands(region);
    described d = { 0 };
    ebb_status status =
        ebb_onednn_check(describe(region, &o, state, &d), "convolution", env->error);
    if (!status)
        status = ebb_onednn_make(state, d.pd, "convolution", env, kernel);
    if (!status)
        status = add_extras(&o, region, &d, env, state, kernel);
    if (!status)
        status = bind_images(&o, &d, state, env->error);
    if (!status)
        status = bind_weights(&o, &d, env, state, kernel);
    kernel->run = run_conv;
    finish_descriptors(&d);
    return status;
}
