/* The forms in which oneDNN can compute a convolution: what it is asked for, and what else there is
 * (docs/decisions/0007-convolutions.md). */
#include "backends/onednn/blocks.h"
#include "backends/onednn/conv.h"
#include <string.h>

void ebb_onednn_conv_finish(ebb_onednn_described *d)
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
    dn_desc_finish(&d->plain_y);
    dn_desc_finish(&d->plain_x);
    dn_desc_finish(&d->y);
    dn_desc_finish(&d->x);
}

/* oneDNN's own layout: channels in blocks of 16. */
static dnnl_status_t describe_blocked(const ebb_operand *operand, dn_desc *desc)
{
    const ebb_shape *shape = &operand->type->shape;
    dnnl_dims_t dims = { 0 };
    for (int i = 0; i < shape->rank; i++)
        dims[i] = shape->dims[i];
    return dn_desc_tagged(desc, shape->rank, dims, dnnl_f32, dnnl_nChw16c);
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

bool ebb_onednn_takes_weights(const ebb_region *region, const ebb_operand *w)
{
    const ebb_conv conv = ebb_onednn_conv_read(region);
    dn_desc desc = { 0 };
    if (!w->layout.n_blocks)
        return ebb_layout_is_dense(&w->layout, &w->type->shape);
    const bool takes =
        ebb_onednn_describe_blocks(&w->layout, conv.groups, &w->type->shape, &desc) == dnnl_success;
    dn_desc_finish(&desc);
    return takes;
}

/* Weights with a dimension for the groups in front, if there are several. */
static dnnl_status_t describe_weights(const ebb_conv *conv, const ebb_operand *w,
                                      ebb_onednn_described *d)
{
    const ebb_shape *shape = &w->type->shape;
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
    dnnl_status_t status = w->layout.n_blocks
                               ? ebb_onednn_describe_blocks(&w->layout, conv->groups, shape, &d->w)
                               : dn_desc_strided(&d->w, rank, dims, dnnl_f32, strides);
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

static bool has_rows(const ebb_onednn_conv *o, const ebb_conv *conv)
{
    return o->direction == EBB_ONEDNN_BACKWARD_WEIGHTS && conv->groups == 1 && conv->w.n_taps > 1 &&
           ebb_onednn_channels_last(o->x) && ebb_onednn_channels_last(o->y);
}

/* With few places in an image oneDNN walks through all weights for each image. One product over all
 * images does not: measured with 2.6.3, 512 to 512 channels at 2x2 are 3.5 times as fast, at 4x4
 * 1.2 times, and at 8x8 slower. */
bool ebb_onednn_prefers_rows(const ebb_conv *conv)
{
    enum { MOST_PLACES = 16, LEAST_CHANNELS = 64, LEAST_ROWS = 64 };
    return conv->groups == 1 && conv->w.n_taps > 1 && conv->w.n_counts <= MOST_PLACES &&
           conv->channels >= LEAST_CHANNELS && conv->filters >= LEAST_CHANNELS &&
           conv->batch * conv->w.n_counts >= LEAST_ROWS;
}

static ebb_onednn_windows windows_of(const ebb_conv *conv, const ebb_onednn_state *state)
{
    return (ebb_onednn_windows){ .w = conv->w,
                                 .batch = conv->batch,
                                 .channels = conv->channels * conv->groups,
                                 .n_threads = state->n_threads };
}

/* dw [filters, taps, channels] = dy' [filters, rows] x [rows, taps channels], the taps of a line at
 * a time: so the rows of only those need memory. */
static dnnl_status_t describe_rows(const ebb_onednn_conv *o, const ebb_conv *conv,
                                   const ebb_onednn_state *state, ebb_onednn_described *d)
{
    const int64_t n_rows = conv->batch * conv->w.n_counts;
    const int64_t n_columns = conv->w.n_taps * conv->channels;
    d->form = EBB_ONEDNN_ROWS;
    d->windows = windows_of(conv, state);
    d->has_windows = true;
    d->n_parts = 1;
    dnnl_status_t status = describe_image(o->w, true, &d->own);
    if (status == dnnl_success)
        status = describe_weights(conv, o->w, d);
    if (status == dnnl_success && !dn_view_equal(dn_desc_view(&d->w), dn_desc_view(&d->own))) {
        int64_t *window = d->windows.w.window; /* the product lies in the scratch, part by part */
        d->n_parts = window[0] * window[1];
        window[0] = window[1] = 1;
    }
    const int64_t n_part = n_columns / d->n_parts;
    if (status == dnnl_success)
        status = dn_desc_strided(&d->y, 2, (dnnl_dims_t){ conv->filters, n_rows }, dnnl_f32,
                                 (dnnl_dims_t){ 1, conv->filters });
    if (status == dnnl_success)
        status = dn_desc_strided(&d->x, 2, (dnnl_dims_t){ n_rows, n_part }, dnnl_f32,
                                 (dnnl_dims_t){ n_part, 1 });
    if (status == dnnl_success)
        status = dn_desc_strided(&d->product, 2, (dnnl_dims_t){ conv->filters, n_part }, dnnl_f32,
                                 (dnnl_dims_t){ n_columns, 1 });
    if (status == dnnl_success)
        status = dn_matmul(&d->pd, state->engine, dn_desc_view(&d->y), dn_desc_view(&d->x), NULL,
                           dn_desc_view(&d->product), state->attr);
    return status == dnnl_success ? dn_prefer(&d->pd, "gemm:jit") : status;
}

/* oneDNN 2.6 has no AVX-512 kernel for padding beyond half a window, but for images that have it
 * around them: then those take the place of x. */
static dnnl_status_t pad_images(const ebb_onednn_conv *o, const ebb_conv *conv,
                                const ebb_onednn_state *state, ebb_onednn_described *d)
{
    if (!strstr(dn_implementation(d->hint), "avx512") || strstr(dn_implementation(d->pd), "avx512"))
        return dnnl_success;
    ebb_onednn_described padded = { .windows = windows_of(conv, state) };
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
        status =
            dn_conv_forward(&padded.hint, state->engine, dnnl_forward_training,
                            dnnl_convolution_direct, x, any, bias, y, &padded.window, state->attr);
    if (status == dnnl_success)
        status = dn_conv_backward_weights(&padded.pd, state->engine, dnnl_convolution_direct, x,
                                          any, bias, y, &padded.window, padded.hint, state->attr);
    if (status == dnnl_success && strstr(dn_implementation(padded.pd), "avx512")) {
        ebb_onednn_described plain = { .x = d->x, .hint = d->hint, .pd = d->pd };
        d->form = EBB_ONEDNN_PADDED;
        d->windows = padded.windows;
        d->has_windows = true;
        d->x = padded.x;
        d->hint = padded.hint;
        d->pd = padded.pd;
        padded = plain;
    }
    ebb_onednn_conv_finish(&padded);
    return dnnl_success; /* the plain form is there in any case */
}

static bool lie_last(const ebb_onednn_conv *o)
{
    return ebb_onednn_channels_last(o->x) && ebb_onednn_channels_last(o->y);
}

static bool lie_in_blocks(const ebb_onednn_conv *o)
{
    return ebb_onednn_in_blocks(o->x) && ebb_onednn_in_blocks(o->y);
}

static dnnl_status_t describe_operands(const ebb_onednn_conv *o, const ebb_conv *conv,
                                       ebb_onednn_described *d)
{
    const bool last = lie_last(o), blocked = d->by_scratch || lie_in_blocks(o);
    dnnl_status_t status = dnnl_success;
    if (!blocked || d->by_scratch)
        status = describe_image(o->x, last, blocked ? &d->plain_x : &d->x);
    if (status == dnnl_success && (!blocked || d->by_scratch))
        status = describe_image(o->y, last, blocked ? &d->plain_y : &d->y);
    if (status == dnnl_success && blocked)
        status = describe_blocked(o->x, &d->x);
    if (status == dnnl_success && blocked)
        status = describe_blocked(o->y, &d->y);
    if (status == dnnl_success)
        status = describe_weights(conv, o->w, d);
    if (status == dnnl_success && o->bias)
        status = dn_desc_strided(&d->bias, 1, (dnnl_dims_t){ conv->groups * conv->filters },
                                 dnnl_f32, (dnnl_dims_t){ 1 });
    return status;
}

/* d->pd by one convolution primitive. */
static dnnl_status_t describe_conv(const ebb_onednn_conv *o, const ebb_conv *conv,
                                   const ebb_onednn_state *state, ebb_onednn_form form,
                                   ebb_onednn_described *d)
{
    const bool winograd = form == EBB_ONEDNN_WINOGRAD,
               is_forward = o->direction == EBB_ONEDNN_FORWARD;
    const dnnl_alg_kind_t algorithm =
        winograd ? dnnl_convolution_winograd : dnnl_convolution_direct;
    /* For inference Winograd wants weights transformed already: worth it where they are packed,
     * which is possible from plain ones. */
    const bool is_packed = o->w->is_steady && !o->w->layout.n_blocks;
    const dnnl_prop_kind_t prop =
        is_forward && (!winograd || is_packed) ? dnnl_forward_inference : dnnl_forward_training;
    d->form = form;
    d->by_scratch = form != EBB_ONEDNN_PLAIN && !lie_in_blocks(o);
    dnnl_status_t status = describe_operands(o, conv, d);
    if (status == dnnl_success)
        status = ebb_onednn_epilogue_attr(state, &o->epilogue, &d->attr);
    if (status != dnnl_success)
        return status;
    describe_window(conv, &d->window);
    dn_view x = dn_desc_view(&d->x), y = dn_desc_view(&d->y), any = dn_desc_view(&d->any);
    dn_view bias = o->bias ? dn_desc_view(&d->bias) : NULL;
    status = dn_conv_forward(is_forward ? &d->pd : &d->hint, state->engine, prop, algorithm, x, any,
                             bias, y, &d->window, d->attr);
    if (o->direction == EBB_ONEDNN_BACKWARD_DATA && status == dnnl_success)
        status = dn_conv_backward_data(&d->pd, state->engine, algorithm, x, any, y, &d->window,
                                       d->hint, state->attr);
    if (o->direction == EBB_ONEDNN_BACKWARD_WEIGHTS && status == dnnl_success)
        status = dn_conv_backward_weights(&d->pd, state->engine, algorithm, x, any, bias, y,
                                          &d->window, d->hint, state->attr);
    return status;
}

/* ---- windows of one tap as a matrix product ---- */

static bool may_be_product(const ebb_onednn_conv *o, const ebb_conv *conv)
{
    const ebb_shape *shape = &o->w->type->shape;
    return o->direction == EBB_ONEDNN_FORWARD && o->w->is_steady && conv->groups == 1 &&
           conv->w.n_taps == 1 && conv->filters % 64 == 0 && conv->channels % 16 == 0 &&
           ebb_onednn_channels_last(o->x) && ebb_onednn_channels_last(o->y) &&
           (!o->w->layout.n_blocks || ebb_onednn_is_product_layout(&o->w->layout, shape));
}

/* y [places, filters] = x [places, channels] x w' [channels, filters], where 2.6.3 on AVX-512 is as
 * fast as its convolutions of one tap or faster: by 5 to 20% in ResNet-50. The blocks of those, of
 * 48 filters, often need padding, so that the weights would be there twice. */
static dnnl_status_t describe_product(const ebb_onednn_conv *o, const ebb_conv *conv,
                                      const ebb_onednn_state *state, ebb_onednn_described *d)
{
    enum { MOST_BYTES = 1 << 20 }; /* of the copied windows, if more than those of one image */
    const ebb_window *w = &conv->w;
    const int64_t k = conv->channels, n = conv->filters;
    dn_desc own = { 0 };
    d->form = EBB_ONEDNN_PRODUCT;
    for (int i = 0; i < EBB_MAX_SPATIAL; i++)
        d->has_windows = d->has_windows || w->begin[i] || w->count[i] != w->size[i] ||
                         (w->stride[i] > 1 && w->count[i] > 1);
    d->windows = windows_of(conv, state);
    if (d->has_windows) { /* as many images at a time as their windows stay in the cache */
        const int64_t n_bytes = w->n_counts * k * (int64_t)sizeof(float);
        while (d->windows.batch > 1 &&
               (conv->batch % d->windows.batch || d->windows.batch * n_bytes > MOST_BYTES))
            d->windows.batch--;
    }
    const int64_t n_places = d->windows.batch * w->n_counts;
    dnnl_status_t status = dn_desc_tagged(&own, 2, (dnnl_dims_t){ k, n }, dnnl_f32, dnnl_BA16a64b);
    if (status == dnnl_success)
        status =
            o->w->layout.n_blocks
                ? dn_desc_tagged(&d->w, 2, (dnnl_dims_t){ k, n }, dnnl_f32, dnnl_BA16a64b)
                : dn_desc_strided(&d->w, 2, (dnnl_dims_t){ k, n }, dnnl_f32, (dnnl_dims_t){ 1, k });
    if (status == dnnl_success)
        status = dn_desc_strided(&d->x, 2, (dnnl_dims_t){ n_places, k }, dnnl_f32,
                                 (dnnl_dims_t){ k, 1 });
    if (status == dnnl_success)
        status = dn_desc_strided(&d->y, 2, (dnnl_dims_t){ n_places, n }, dnnl_f32,
                                 (dnnl_dims_t){ n, 1 });
    if (status == dnnl_success && o->bias)
        status =
            dn_desc_strided(&d->bias, 2, (dnnl_dims_t){ 1, n }, dnnl_f32, (dnnl_dims_t){ n, 1 });
    if (status == dnnl_success)
        status = ebb_onednn_epilogue_attr(state, &o->epilogue, &d->attr);
    if (status == dnnl_success)
        status = dn_matmul(&d->pd, state->engine, dn_desc_view(&d->x), dn_desc_view(&own),
                           o->bias ? dn_desc_view(&d->bias) : NULL, dn_desc_view(&d->y), d->attr);
    dn_desc_finish(&own);
    return status;
}

/* The product if oneDNN has the kernel that this is known of; else *d stays as it was, empty. */
static bool describe_fast_product(const ebb_onednn_conv *o, const ebb_conv *conv,
                                  const ebb_onednn_state *state, ebb_onednn_described *d)
{
    if (may_be_product(o, conv) && describe_product(o, conv, state, d) == dnnl_success &&
        strstr(dn_implementation(d->pd), "brg:avx512"))
        return true;
    ebb_onednn_conv_finish(d);
    *d = (ebb_onednn_described){ 0 };
    return false;
}

/* ---- by way of the blocked layout ---- */

bool ebb_onednn_fits_blocks(const ebb_conv *conv)
{
    return conv->w.n == 2 && conv->groups == 1 && conv->channels % EBB_ONEDNN_BLOCK == 0 &&
           conv->filters % EBB_ONEDNN_BLOCK == 0;
}

static bool may_be_blocked(const ebb_onednn_conv *o, const ebb_conv *conv)
{
    return ebb_onednn_fits_blocks(conv) && lie_last(o);
}

/* Few places with many channels, where pixels lie so far apart that they meet in the cache, are
 * faster in blocks, even with copies to and fro: measured with 2.6.3 on AVX-512, windows of 3x3 at
 * 4x4 and 7x7 by 4 to 10%; of 1x1 at 7x7, gradients, by 5 to 50%. */
static bool prefers_blocks(const ebb_onednn_conv *o, const ebb_conv *conv)
{
    enum {
        MOST_PLACES = 49,
        LEAST_CHANNELS = 256,
        LEAST_WEIGHTS = 256 * 512,
        LEAST_OF_1X1 = 1 << 20
    };
    const int64_t n_weights = conv->channels * conv->filters;
    if (!DN_V2 || !may_be_blocked(o, conv) || conv->w.n_counts > MOST_PLACES ||
        conv->w.n_sizes > 4 * MOST_PLACES)
        return false;
    if (conv->w.n_taps == 1)
        return o->direction != EBB_ONEDNN_FORWARD && n_weights >= LEAST_OF_1X1;
    return o->direction != EBB_ONEDNN_BACKWARD_WEIGHTS && conv->channels >= LEAST_CHANNELS &&
           conv->filters >= LEAST_CHANNELS && n_weights >= LEAST_WEIGHTS;
}

static bool is_jit(const_dnnl_primitive_desc_t pd, void *context)
{
    (void)context;
    const char *name = dn_implementation(pd);
    return strncmp(name, "jit", 3) == 0 && strstr(name, "avx512");
}

/* The blocked form if an AVX-512 kernel made for it is there; else *d stays as it was, empty. */
static bool describe_blocks(const ebb_onednn_conv *o, const ebb_conv *conv,
                            const ebb_onednn_state *state, ebb_onednn_described *d)
{
    if (describe_conv(o, conv, state, EBB_ONEDNN_BLOCKED, d) == dnnl_success &&
        dn_find(&d->pd, d->hint, is_jit, NULL) == dnnl_success && is_jit(d->pd, NULL))
        return true;
    ebb_onednn_conv_finish(d);
    *d = (ebb_onednn_described){ 0 };
    return false;
}

/* What is known to be fast. */
static dnnl_status_t describe_default(const ebb_onednn_conv *o, const ebb_conv *conv,
                                      const ebb_onednn_state *state, ebb_onednn_described *d)
{
    if (has_rows(o, conv) && ebb_onednn_prefers_rows(conv))
        return describe_rows(o, conv, state, d);
    if (prefers_blocks(o, conv) && describe_blocks(o, conv, state, d))
        return dnnl_success;
    if (describe_fast_product(o, conv, state, d))
        return dnnl_success;
    dnnl_status_t status = describe_conv(o, conv, state, EBB_ONEDNN_PLAIN, d);
    if (status != dnnl_success)
        return status;
    if (o->direction == EBB_ONEDNN_FORWARD && DN_V2 && strstr(dn_implementation(d->pd), "brgconv:"))
        status = dn_prefer(&d->pd, "jit:avx512_core");
    if (o->direction == EBB_ONEDNN_BACKWARD_WEIGHTS && ebb_onednn_channels_last(o->x) &&
        ebb_onednn_channels_last(o->y))
        status = pad_images(o, conv, state, d);
    return status;
}

/* ---- choices ---- */

#define ROWS "rows"
#define BLOCKED "blocked"
#define WINOGRAD "winograd"

typedef struct choice_list {
    ebb_choice *choices;
    int n, max;
} choice_list;

static void add_choice(choice_list *list, const char *name, bool is_inexact)
{
    for (int i = 0; i < list->n; i++)
        if (strcmp(list->choices[i].name, name) == 0)
            return;
    if (list->n == list->max)
        return;
    ebb_choice *choice = &list->choices[list->n++];
    snprintf(choice->name, sizeof choice->name, "%s", name);
    choice->is_inexact = is_inexact;
}

static bool add_implementation(const_dnnl_primitive_desc_t pd, void *list)
{
    const char *name = dn_implementation(pd);
    if (*name && !strstr(name, "ref") && !strchr(name, ' '))
        add_choice(list, name, false);
    return false;
}

static bool is_named(const_dnnl_primitive_desc_t pd, void *name)
{
    return strcmp(dn_implementation(pd), name) == 0;
}

static dnnl_status_t describe_named(const ebb_onednn_conv *o, const ebb_conv *conv,
                                    const ebb_onednn_state *state, const char *choice,
                                    ebb_onednn_described *d)
{
    char name[EBB_CHOICE_BYTES];
    snprintf(name, sizeof name, "%s", choice);
    dnnl_status_t status = describe_conv(o, conv, state, EBB_ONEDNN_PLAIN, d);
    if (status == dnnl_success)
        status = dn_find(&d->pd, d->hint, is_named, name);
    return status == dnnl_success && !is_named(d->pd, name) ? dnnl_unimplemented : status;
}

static bool may_be_winograd(const ebb_onednn_conv *o, const ebb_conv *conv)
{
    const ebb_window *w = &conv->w;
    const int d = EBB_MAX_SPATIAL - 1;
    return w->n == 2 && conv->groups == 1 && w->window[d] == 3 && w->window[d - 1] == 3 &&
           w->stride[d] == 1 && w->stride[d - 1] == 1 && w->dilation[d] == 1 &&
           w->dilation[d - 1] == 1 && (lie_last(o) || lie_in_blocks(o));
}

bool ebb_onednn_choice_is_blocked(const char *choice)
{
    return strcmp(choice, BLOCKED) == 0 || strcmp(choice, WINOGRAD) == 0;
}

dnnl_status_t ebb_onednn_conv_describe(const ebb_region *region, const ebb_onednn_conv *o,
                                       const ebb_onednn_state *state, const char *choice,
                                       ebb_onednn_described *d)
{
    const ebb_conv conv = ebb_onednn_conv_read(region);
    if (!choice)
        return describe_default(o, &conv, state, d);
    if (strcmp(choice, ROWS) == 0)
        return has_rows(o, &conv) ? describe_rows(o, &conv, state, d) : dnnl_unimplemented;
    if (strcmp(choice, BLOCKED) == 0)
        return may_be_blocked(o, &conv) && describe_blocks(o, &conv, state, d) ? dnnl_success
                                                                               : dnnl_unimplemented;
    if (strcmp(choice, WINOGRAD) == 0)
        return may_be_winograd(o, &conv) ? describe_conv(o, &conv, state, EBB_ONEDNN_WINOGRAD, d)
                                         : dnnl_unimplemented;
    return describe_named(o, &conv, state, choice, d);
}

int ebb_onednn_conv_list(const ebb_region *region, const ebb_onednn_conv *o,
                         const ebb_onednn_state *state, ebb_choice *choices, int max)
{
    const ebb_conv conv = ebb_onednn_conv_read(region);
    choice_list list = { .choices = choices, .max = max };
    ebb_onednn_described d = { 0 };
    if (has_rows(o, &conv) && !ebb_onednn_prefers_rows(&conv))
        add_choice(&list, ROWS, false);
    if (may_be_blocked(o, &conv) && !prefers_blocks(o, &conv))
        add_choice(&list, BLOCKED, false);
    if (may_be_winograd(o, &conv))
        add_choice(&list, WINOGRAD, true);
    if (describe_conv(o, &conv, state, EBB_ONEDNN_PLAIN, &d) == dnnl_success)
        (void)dn_find(&d.pd, d.hint, add_implementation, &list);
    ebb_onednn_conv_finish(&d);
    return list.n;
}
