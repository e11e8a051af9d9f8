/* Weights in oneDNN's blocked layouts, and the same as layouts of the runtime. */
#ifndef BACKENDS_ONEDNN_BLOCKS_H
#define BACKENDS_ONEDNN_BLOCKS_H

#include "backends/onednn/compat.h"
#include <ebb/backend.h>

/* The layout of weights of this shape, [groups filters, channels, ...], in a descriptor that has
 * the groups as a dimension of their own if there are several. False: padding, or blocks that
 * cannot be said. */
bool ebb_onednn_layout_of(dn_view view, int64_t groups, const ebb_shape *shape, ebb_layout *layout);
/* A descriptor with this layout; unimplemented: there is none. */
dnnl_status_t ebb_onednn_describe_blocks(const ebb_layout *layout, int64_t groups,
                                         const ebb_shape *shape, dn_desc *desc);
/* The layout of weights of windows of one tap in which a matrix product wants them: BA16a64b of its
 * descriptor. */
bool ebb_onednn_product_layout(const ebb_shape *shape, ebb_layout *layout);
bool ebb_onednn_is_product_layout(const ebb_layout *layout, const ebb_shape *shape);

#endif
