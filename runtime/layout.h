/* Layouts without gaps: orders of dimensions in memory, and operands seen in such an order. */
#ifndef RUNTIME_LAYOUT_H
#define RUNTIME_LAYOUT_H

#include <ebb/backend.h>

/* Dimensions from the outermost in memory to the innermost. */
typedef struct ebb_order {
    int rank;
    int axes[EBB_MAX_RANK];
} ebb_order;

/* True if the elements fill their memory without gaps in some order, from offset 0. */
bool ebb_order_find(const ebb_layout *layout, const ebb_shape *shape, ebb_order *order);
ebb_layout ebb_order_layout(const ebb_order *order, const ebb_shape *shape);
/* The same elements with the dimensions sorted by the order: what lay in it is dense then. */
ebb_shape ebb_order_shape(const ebb_order *order, const ebb_shape *shape);
ebb_layout ebb_order_permute(const ebb_order *order, const ebb_layout *layout);
ebb_layout ebb_order_permute_back(const ebb_order *order, const ebb_layout *layout);

/* Each element lies where it lies in the other one, seen from element [0,0,..]. */
bool ebb_layout_agrees(const ebb_layout *a, const ebb_layout *b, const ebb_shape *shape);

#endif
