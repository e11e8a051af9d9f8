/* Layouts without gaps: orders of dimensions in memory, and operands seen in such an order. Blocked
 * dimensions are split into one for the blocks and one for what is inside: in the order of its
 * layout, a value is dense in any case, and kernels need not know of blocks. */
#ifndef RUNTIME_LAYOUT_H
#define RUNTIME_LAYOUT_H

#include <ebb/backend.h>

/* A dimension, or a part of one that is split: index = .. + step * place + .. */
typedef struct ebb_part {
    int axis;
    int64_t size, step;
} ebb_part;

/* Parts from the outermost in memory to the innermost; the last n_blocks are the blocks. */
typedef struct ebb_order {
    int rank, n_blocks;
    ebb_part parts[EBB_MAX_RANK];
} ebb_order;

/* True if the elements fill their memory without gaps in some order, from offset 0. */
bool ebb_order_find(const ebb_layout *layout, const ebb_shape *shape, ebb_order *order);
/* The parts of a layout in the order of the graph. */
ebb_order ebb_order_split(const ebb_layout *layout, const ebb_shape *shape);
/* Splits the parts that blocks of the layout cut, if the rank allows it. */
void ebb_order_refine(ebb_order *order, const ebb_layout *layout);
/* The same elements with the dimensions split and sorted by the order: what lay in it is dense
 * then. */
ebb_shape ebb_order_shape(const ebb_order *order);
/* False: blocks of `layout` are none of the order; *permuted is the layout as it was. */
bool ebb_order_permute(const ebb_order *order, const ebb_layout *layout, ebb_layout *permuted);
/* Of a layout without blocks; with blocks in the order, of the dense one. */
ebb_layout ebb_order_permute_back(const ebb_order *order, const ebb_layout *layout);

/* Of the element with number `index` in row-major order, seen from element [0,0,..]. */
int64_t ebb_layout_place(const ebb_layout *layout, const ebb_shape *shape, int64_t index);
/* Copies between row-major order and a layout; `from` and `to` are element [0,0,..]. One that is
 * written to fills its memory without gaps. */
void ebb_layout_read(void *to, const void *from, const ebb_layout *layout, const ebb_type *type);
void ebb_layout_write(void *to, const void *from, const ebb_layout *layout, const ebb_type *type);

#endif
