/* Weights in oneDNN's blocked layouts. A descriptor can be looked into, but in 3.x only a format
 * tag makes one in blocks: so a layout becomes a descriptor by way of the tags that convolutions
 * ask for. */
#include "backends/onednn/blocks.h"

bool ebb_onednn_layout_of(dn_view view, int64_t groups, const ebb_shape *shape, ebb_layout *layout)
{
    dn_blocking b;
    const int front = groups > 1; /* axes of the descriptor before those of the shape */
    if (!dn_view_blocking(view, &b) || b.rank != shape->rank + front || b.n_blocks > EBB_MAX_BLOCKS)
        return false;
    *layout = (ebb_layout){ .n_blocks = b.n_blocks };
    for (int i = 0; i < b.rank; i++)
        if (b.padded_dims[i] != b.dims[i] || b.strides[i] < 0)
            return false;
    for (int i = 0; i < shape->rank; i++)
        layout->strides[i] = b.strides[i + front];
    int64_t block = 1; /* of the filters of a group */
    for (int i = 0; i < b.n_blocks; i++) {
        const int axis = (int)b.axes[i] - front;
        layout->blocks[i] = (ebb_block){ axis > 0 ? axis : 0, b.blocks[i] };
        if (axis < 0 && b.dims[1] != 1) /* groups in blocks, of several filters each */
            return false;
        block *= axis == 0 ? b.blocks[i] : 1;
    }
    if (!front)
        return true;
    /* Groups and filters are one dimension if the filters of one group end where the next begin. */
    if (b.dims[1] / block == 1)
        layout->strides[0] = b.strides[0];
    return b.strides[0] == layout->strides[0] * (b.dims[1] / block);
}

/* As convolutions ask for them on AVX-512 and AVX2, by the number of spatial dimensions. */
enum { N_TAGS = 15 };
#define UNDEF dnnl_format_tag_undef
/* clang-format off */
static const dnnl_format_tag_t tags[2][3][N_TAGS] = {
    { { dnnl_OIw16i16o, dnnl_OIw16o16i, dnnl_Owi16o, dnnl_Oiw16o, dnnl_OIw16i64o,
        dnnl_OIw8i8o, dnnl_OIw8o8i, dnnl_Owi8o, dnnl_Owi32o, dnnl_Owi48o, dnnl_Owi64o },
      { dnnl_OIhw16i16o, dnnl_OIhw16o16i, dnnl_Ohwi16o, dnnl_Oihw16o, dnnl_OIhw16i64o,
        dnnl_OIhw8i8o, dnnl_OIhw8o8i, dnnl_Ohwi8o, dnnl_Ohwi32o, dnnl_Ohwi48o, dnnl_Ohwi64o },
      { dnnl_OIdhw16i16o, dnnl_OIdhw16o16i, dnnl_Odhwi16o, dnnl_Oidhw16o, dnnl_OIdhw16i64o,
        dnnl_OIdhw8i8o, dnnl_OIdhw8o8i, dnnl_Odhwi8o, dnnl_Odhwi32o, dnnl_Odhwi48o,
        dnnl_Odhwi64o } },
    { { dnnl_gOIw16i16o, dnnl_gOIw16o16i, dnnl_gOwi16o, dnnl_gOiw16o, dnnl_Goiw16g,
        dnnl_gOIw8i8o, dnnl_gOIw8o8i, dnnl_gOwi8o, dnnl_Goiw8g },
      { dnnl_gOIhw16i16o, dnnl_gOIhw16o16i, dnnl_gOhwi16o, dnnl_gOihw16o, dnnl_Goihw16g,
        dnnl_gOIhw8i8o, dnnl_gOIhw8o8i, dnnl_gOhwi8o, dnnl_Goihw8g },
      { dnnl_gOIdhw16i16o, dnnl_gOIdhw16o16i, dnnl_gOdhwi16o, dnnl_gOidhw16o, dnnl_Goidhw16g,
        dnnl_gOIdhw8i8o, dnnl_gOIdhw8o8i, dnnl_gOdhwi8o } },
};
/* clang-format on */

dnnl_status_t ebb_onednn_describe_blocks(const ebb_layout *layout, int64_t groups,
                                         const ebb_shape *shape, dn_desc *desc)
{
    const int front = groups > 1, n_spatial = shape->rank - 2;
    dnnl_dims_t dims = { groups };
    if (n_spatial < 1 || n_spatial > 3)
        return dnnl_unimplemented;
    for (int i = 0; i < shape->rank; i++)
        dims[i + front] = i ? shape->dims[i] : shape->dims[i] / groups;
    const dnnl_format_tag_t *list = tags[front][n_spatial - 1];
    for (int i = 0; i < N_TAGS && list[i] != UNDEF; i++) {
        ebb_layout made;
        if (dn_desc_tagged(desc, shape->rank + front, dims, dnnl_f32, list[i]) != dnnl_success)
            continue;
        if (ebb_onednn_layout_of(dn_desc_view(desc), groups, shape, &made) &&
            ebb_layout_agrees(&made, layout, shape))
            return dnnl_success;
        dn_desc_finish(desc);
    }
    return dnnl_unimplemented;
}

bool ebb_onednn_product_layout(const ebb_shape *shape, ebb_layout *layout)
{
    static const dnnl_format_tag_t by_spatial[] = { dnnl_OIw16i64o, dnnl_OIhw16i64o,
                                                    dnnl_OIdhw16i64o };
    const int n_spatial = shape->rank - 2;
    dnnl_dims_t dims = { 0 };
    dn_desc desc = { 0 };
    if (n_spatial < 1 || n_spatial > 3)
        return false;
    for (int i = 0; i < shape->rank; i++)
        dims[i] = shape->dims[i];
    const bool found = dn_desc_tagged(&desc, shape->rank, dims, dnnl_f32,
                                      by_spatial[n_spatial - 1]) == dnnl_success &&
                       ebb_onednn_layout_of(dn_desc_view(&desc), 1, shape, layout);
    dn_desc_finish(&desc);
    return found;
}

bool ebb_onednn_is_product_layout(const ebb_layout *layout, const ebb_shape *shape)
{
    ebb_layout own;
    return ebb_onednn_product_layout(shape, &own) && ebb_layout_agrees(&own, layout, shape);
}
