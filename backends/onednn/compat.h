/* oneDNN's C API in one shape for its major versions 2 (from 2.6) and 3. The shape is that of 3.x:
 * opaque memory descriptors, and one call for a primitive descriptor. On 2.x a memory descriptor is
 * a public struct, and every primitive descriptor goes through a struct of its own kind; DN_CREATE
 * hides that. A further primitive is one function here.
 *
 * What differs without a compile error, for those who add one:
 * - the numbers of normalization flags, and DNNL_ARG_ATTR_MULTIPLE_POST_OP_BASE: use the names;
 * - batch norm backward takes DNNL_ARG_SHIFT on 2.x and refuses it on 3.x
 * (dnnl_query_num_of_inputs_s32 tells);
 * - element-wise and normalization primitives have separate source and destination descriptors
 * on 3.x only;
 * - arrays of dimensions are read to their full length: always pass a dnnl_dims_t. */
#ifndef BACKENDS_ONEDNN_COMPAT_H
#define BACKENDS_ONEDNN_COMPAT_H

#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#if DNNL_VERSION_MAJOR < 2 || (DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR < 6)
#error "Ebb needs oneDNN 2.6 or newer"
#endif
#define DN_V2 (DNNL_VERSION_MAJOR == 2)

/* ---- memory descriptors: dn_desc owns one, dn_view looks at one (NULL: none) ---- */

/* A zero struct may be finished. */
typedef struct dn_desc {
    dnnl_memory_desc_t value; /* 2.x: the struct itself; 3.x: a pointer */
} dn_desc;

#if DN_V2
typedef const dnnl_memory_desc_t *dn_view;
#else
typedef const_dnnl_memory_desc_t dn_view;
#endif

static inline dn_view dn_desc_view(const dn_desc *desc)
{
#if DN_V2
    return &desc->value;
#else
    return desc->value;
#endif
}

static inline void dn_desc_finish(dn_desc *desc)
{
#if DN_V2
    (void)desc;
#else
    if (desc->value)
        dnnl_memory_desc_destroy(desc->value);
    desc->value = NULL;
#endif
}

static inline dnnl_status_t dn_desc_strided(dn_desc *desc, int rank, const dnnl_dims_t dims,
                                            dnnl_data_type_t type, const dnnl_dims_t strides)
{
#if DN_V2
    return dnnl_memory_desc_init_by_strides(&desc->value, rank, dims, type, strides);
#else
    return dnnl_memory_desc_create_with_strides(&desc->value, rank, dims, type, strides);
#endif
}

/* The library's own blocked layout, or "you choose" (dnnl_format_tag_any). */
static inline dnnl_status_t dn_desc_tagged(dn_desc *desc, int rank, const dnnl_dims_t dims,
                                           dnnl_data_type_t type, dnnl_format_tag_t tag)
{
#if DN_V2
    return dnnl_memory_desc_init_by_tag(&desc->value, rank, dims, type, tag);
#else
    return dnnl_memory_desc_create_with_tag(&desc->value, rank, dims, type, tag);
#endif
}

static inline size_t dn_view_bytes(dn_view view)
{
    return dnnl_memory_desc_get_size(view);
}

static inline bool dn_view_equal(dn_view a, dn_view b)
{
    return dnnl_memory_desc_equal(a, b) != 0;
}

/* What a descriptor says of a layout in blocks: strides are those of whole blocks. */
typedef struct dn_blocking {
    int rank, n_blocks;
    dnnl_dims_t dims, padded_dims, strides, blocks, axes; /* blocks and axes: [n_blocks] */
} dn_blocking;

/* False: the layout is none of plain blocks. */
static inline bool dn_view_blocking(dn_view view, dn_blocking *b)
{
    memset(b, 0, sizeof *b);
#if DN_V2
    const dnnl_blocking_desc_t *blocking = &view->format_desc.blocking;
    if (view->format_kind != dnnl_blocked || view->offset0 != 0 || view->extra.flags != 0)
        return false;
    b->rank = view->ndims;
    b->n_blocks = blocking->inner_nblks;
    memcpy(b->dims, view->dims, sizeof b->dims);
    memcpy(b->padded_dims, view->padded_dims, sizeof b->padded_dims);
    memcpy(b->strides, blocking->strides, sizeof b->strides);
    memcpy(b->blocks, blocking->inner_blks, sizeof b->blocks);
    memcpy(b->axes, blocking->inner_idxs, sizeof b->axes);
    return true;
#else
    dnnl_format_kind_t kind = dnnl_format_kind_undef;
    dnnl_dims_t *dims = NULL, *padded = NULL, *strides = NULL, *blocks = NULL, *axes = NULL;
    dnnl_dim_t offset = 0;
    if (dnnl_memory_desc_query(view, dnnl_query_format_kind, &kind) != dnnl_success ||
        kind != dnnl_blocked ||
        dnnl_memory_desc_query(view, dnnl_query_submemory_offset_s64, &offset) != dnnl_success ||
        offset != 0 ||
        dnnl_memory_desc_query(view, dnnl_query_ndims_s32, &b->rank) != dnnl_success ||
        dnnl_memory_desc_query(view, dnnl_query_inner_nblks_s32, &b->n_blocks) != dnnl_success ||
        dnnl_memory_desc_query(view, dnnl_query_dims, &dims) != dnnl_success ||
        dnnl_memory_desc_query(view, dnnl_query_padded_dims, &padded) != dnnl_success ||
        dnnl_memory_desc_query(view, dnnl_query_strides, &strides) != dnnl_success)
        return false;
    memcpy(b->dims, *dims, sizeof b->dims);
    memcpy(b->padded_dims, *padded, sizeof b->padded_dims);
    memcpy(b->strides, *strides, sizeof b->strides);
    if (b->n_blocks == 0)
        return true;
    if (dnnl_memory_desc_query(view, dnnl_query_inner_blks, &blocks) != dnnl_success ||
        dnnl_memory_desc_query(view, dnnl_query_inner_idxs, &axes) != dnnl_success)
        return false;
    memcpy(b->blocks, *blocks, sizeof b->blocks);
    memcpy(b->axes, *axes, sizeof b->axes);
    return true;
#endif
}

/* Lives as long as `pd`. A scratchpad that is not needed has 0 bytes. */
static inline dn_view dn_query(const_dnnl_primitive_desc_t pd, dnnl_query_t what)
{
    return dnnl_primitive_desc_query_md(pd, what, 0);
}

/* ---- primitive descriptors ---- */

typedef dnnl_primitive_desc_t *dn_pd; /* out */

#if DN_V2
/* Fills a descriptor of its kind by `init`, then makes `pd` of it. */
#define DN_CREATE(kind, init, hint)                                                                \
    do {                                                                                           \
        dnnl_##kind##_desc_t d;                                                                    \
        dnnl_status_t status = init;                                                               \
        return status == dnnl_success ? dnnl_primitive_desc_create(pd, &d, attr, engine, hint)     \
                                      : status;                                                    \
    } while (0)
#endif

static inline dnnl_status_t dn_matmul(dn_pd pd, dnnl_engine_t engine, dn_view a, dn_view b,
                                      dn_view bias, dn_view c, const_dnnl_primitive_attr_t attr)
{
#if DN_V2
    DN_CREATE(matmul, dnnl_matmul_desc_init(&d, a, b, bias, c), NULL);
#else
    return dnnl_matmul_primitive_desc_create(pd, engine, a, b, bias, c, attr);
#endif
}

/* `algorithm`: dnnl_softmax_accurate or dnnl_softmax_log. */
static inline dnnl_status_t dn_softmax_forward(dn_pd pd, dnnl_engine_t engine,
                                               dnnl_prop_kind_t prop, dnnl_alg_kind_t algorithm,
                                               dn_view src, dn_view dst, int axis,
                                               const_dnnl_primitive_attr_t attr)
{
#if DN_V2
    DN_CREATE(softmax_v2, dnnl_softmax_v2_forward_desc_init(&d, prop, algorithm, src, dst, axis),
              NULL);
#else
    return dnnl_softmax_forward_primitive_desc_create(pd, engine, prop, algorithm, src, dst, axis,
                                                      attr);
#endif
}

/* Where the windows of a convolution lie; a dilation of 0 is none. */
typedef struct dn_window {
    dnnl_dims_t strides, dilates, begin, end;
} dn_window;

/* `bias` may be NULL. `algorithm`, here and below: dnnl_convolution_direct, or (2.6 to 3.1)
 * dnnl_convolution_winograd. */
static inline dnnl_status_t dn_conv_forward(dn_pd pd, dnnl_engine_t engine, dnnl_prop_kind_t prop,
                                            dnnl_alg_kind_t algorithm, dn_view src, dn_view weights,
                                            dn_view bias, dn_view dst, const dn_window *w,
                                            const_dnnl_primitive_attr_t attr)
{
#if DN_V2
    DN_CREATE(convolution,
              dnnl_dilated_convolution_forward_desc_init(&d, prop, algorithm, src, weights, bias,
                                                         dst, w->strides, w->dilates, w->begin,
                                                         w->end),
              NULL);
#else
    return dnnl_convolution_forward_primitive_desc_create(pd, engine, prop, algorithm, src, weights,
                                                          bias, dst, w->strides, w->dilates,
                                                          w->begin, w->end, attr);
#endif
}

/* `hint`: of the forward convolution. */
static inline dnnl_status_t
dn_conv_backward_data(dn_pd pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm, dn_view diff_src,
                      dn_view weights, dn_view diff_dst, const dn_window *w,
                      const_dnnl_primitive_desc_t hint, const_dnnl_primitive_attr_t attr)
{
#if DN_V2
    DN_CREATE(convolution,
              dnnl_dilated_convolution_backward_data_desc_init(&d, algorithm, diff_src, weights,
                                                               diff_dst, w->strides, w->dilates,
                                                               w->begin, w->end),
              hint);
#else
    return dnnl_convolution_backward_data_primitive_desc_create(
        pd, engine, algorithm, diff_src, weights, diff_dst, w->strides, w->dilates, w->begin,
        w->end, hint, attr);
#endif
}

/* `diff_bias` may be NULL. */
static inline dnnl_status_t dn_conv_backward_weights(dn_pd pd, dnnl_engine_t engine,
                                                     dnnl_alg_kind_t algorithm, dn_view src,
                                                     dn_view diff_weights, dn_view diff_bias,
                                                     dn_view diff_dst, const dn_window *w,
                                                     const_dnnl_primitive_desc_t hint,
                                                     const_dnnl_primitive_attr_t attr)
{
#if DN_V2
    DN_CREATE(convolution,
              dnnl_dilated_convolution_backward_weights_desc_init(&d, algorithm, src, diff_weights,
                                                                  diff_bias, diff_dst, w->strides,
                                                                  w->dilates, w->begin, w->end),
              hint);
#else
    return dnnl_convolution_backward_weights_primitive_desc_create(
        pd, engine, algorithm, src, diff_weights, diff_bias, diff_dst, w->strides, w->dilates,
        w->begin, w->end, hint, attr);
#endif
}

static inline dnnl_status_t dn_reorder(dn_pd pd, dnnl_engine_t engine, dn_view src, dn_view dst,
                                       const_dnnl_primitive_attr_t attr)
{
    return dnnl_reorder_primitive_desc_create(pd, src, engine, dst, engine, attr);
}

/* attr: what follows a primitive. */
static inline dnnl_status_t dn_append(dnnl_primitive_attr_t attr, bool sum, bool relu)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_post_ops_create(&ops);
    if (status != dnnl_success)
        return status;
#if DN_V2
    if (sum)
        status = dnnl_post_ops_append_sum(ops, 1);
    if (status == dnnl_success && relu)
        status = dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0);
#else
    if (sum)
        status = dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef);
    if (status == dnnl_success && relu)
        status = dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0, 0);
#endif
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(attr, ops);
    dnnl_post_ops_destroy(ops);
    return status;
}

/* The name of the implementation, "brg:avx512_core"; "" if it cannot be had. Lives as long as `pd`.
 */
static inline const char *dn_implementation(const_dnnl_primitive_desc_t pd)
{
    const char *name = NULL;
    return dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) == dnnl_success && name
               ? name
               : "";
}

typedef bool (*dn_look)(const_dnnl_primitive_desc_t pd, void *context);

/* Shows `look` all implementations of what *pd describes, in the library's order of preference,
 * until it returns true: *pd is then replaced by that one. `hint`: the one *pd was made with. */
static inline dnnl_status_t dn_find(dn_pd pd, const_dnnl_primitive_desc_t hint, dn_look look,
                                    void *context)
{
    dnnl_primitive_desc_t other = NULL;
    dnnl_status_t status;
    bool found = false;
#if DN_V2
    const_dnnl_op_desc_t op = NULL;
    const_dnnl_primitive_attr_t attr = NULL;
    dnnl_engine_t engine = NULL;
    dnnl_primitive_desc_iterator_t iterator = NULL;
    status = dnnl_primitive_desc_query(*pd, dnnl_query_op_d, 0, &op);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_query(*pd, dnnl_query_engine, 0, &engine);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_get_attr(*pd, &attr);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_iterator_create(&iterator, op, attr, engine, hint);
    if (status != dnnl_success)
        return status;
    do {
        other = dnnl_primitive_desc_iterator_fetch(iterator);
        found = other && look(other, context);
        if (!found && other)
            dnnl_primitive_desc_destroy(other);
    } while (!found && dnnl_primitive_desc_iterator_next(iterator) == dnnl_success);
    dnnl_primitive_desc_iterator_destroy(iterator);
#else
    (void)hint;
    status = dnnl_primitive_desc_clone(&other, *pd);
    if (status != dnnl_success)
        return status;
    do
        found = look(other, context);
    while (!found && dnnl_primitive_desc_next_impl(other) == dnnl_success);
    if (!found)
        dnnl_primitive_desc_destroy(other);
#endif
    if (found) {
        dnnl_primitive_desc_destroy(*pd);
        *pd = other;
    }
    return dnnl_success;
}

static inline bool dn_contains(const_dnnl_primitive_desc_t pd, void *part)
{
    return strstr(dn_implementation(pd), part) != NULL;
}

/* Replaces *pd, of a forward primitive, by the first implementation with `part` in its name, if
 * there is one: the library's order of preference is not always right. */
static inline dnnl_status_t dn_prefer(dn_pd pd, const char *part)
{
    char text[64];
    snprintf(text, sizeof text, "%s", part);
    return dn_contains(*pd, text) ? dnnl_success : dn_find(pd, NULL, dn_contains, text);
}

#endif
