/* What the files of lowering share: values of nodes while steps are made, and in which layouts a
 * node may be computed. */
#ifndef RUNTIME_LOWERING_H
#define RUNTIME_LOWERING_H

#include "runtime/choose.h"

/* The value of a node: a buffer, and how it lies there. */
typedef struct ebb_value {
    uint32_t buffer;
    uint32_t view;   /* place in views, plus one; 0: dense from the buffer's start */
    uint32_t copies; /* place in copies, plus one; 0: none */
} ebb_value;

typedef struct ebb_value_view {
    ebb_layout layout;
    /* The layout is one that a kernel wished: it fills the buffer, and nothing else lies there. */
    bool is_wished;
} ebb_value_view;

/* The value once more, in a buffer of its own that it fills. */
typedef struct ebb_value_copy {
    ebb_layout layout;
    uint32_t buffer, next; /* next: as in value */
} ebb_value_copy;

typedef struct ebb_lowering {
    ebb_executable *e;
    const uint8_t *live;   /* by node id, as ebb_graph_mark fills it */
    ebb_value *values;     /* the same */
    ebb_list views;        /* ebb_value_view */
    ebb_list copies;       /* ebb_value_copy */
    ebb_operand *operands; /* for each variant room for the most inputs of a node */
    ebb_layout *layouts;   /* once */
    size_t most_inputs;
    ebb_compile_env env;
    ebb_variant variants[EBB_MAX_VARIANTS];
    /* By node id: the variable with whose new value it is combined element by element, as a place
     * in e->variables plus one; 0: none. */
    uint32_t *homes;
} ebb_lowering;

/* Zeroed memory that lives as long as the kernels; `context` is an ebb_executable. */
void *ebb_lowering_allocate(void *context, size_t size_bytes);
/* NULL: dense from the buffer's start. */
ebb_value_view *ebb_value_view_of(const ebb_lowering *l, ebb_value value);
/* The value of a node as it lies. */
ebb_operand ebb_operand_of(const ebb_lowering *l, uint32_t id);

/* The region of a node with l->operands as inputs, and dense results. */
ebb_region ebb_region_of(const ebb_lowering *l, ebb_node node,
                         ebb_operand results[EBB_MAX_RESULTS]);
/* The same type with its dimensions in the order; lives as long as the kernels. NULL: out of
 * memory. */
const ebb_type *ebb_type_permute(ebb_lowering *l, const ebb_order *order, const ebb_type *type);

/* ---- lower.c ---- */

ebb_status ebb_lowering_out_of_memory(ebb_executable *e);
/* The value of a node as a step's argument. */
ebb_argument ebb_argument_of(const ebb_lowering *l, uint32_t id);
/* Appends a step with an ARENA buffer for each result; first_result: the first of those buffers.
 * The kernel is the step's from here on, also on failure. */
ebb_status ebb_lowering_add_step(ebb_lowering *l, ebb_step step, const ebb_region *region,
                                 const ebb_argument *inputs, uint32_t *first_result);

/* ---- copies.c ---- */

/* A step that copies the value of a node into a layout, in a buffer of its own: in the order of
 * that layout the copy is dense. */
ebb_status ebb_copy_value(ebb_lowering *l, uint32_t id, const ebb_layout *layout, uint32_t *buffer);
/* The buffer of the copy of a value in this layout, if there is one. */
bool ebb_copy_find(const ebb_lowering *l, uint32_t id, const ebb_layout *layout, uint32_t *buffer);
/* The buffer of a copy of a value in this layout, which fills it; one copy serves all. */
ebb_status ebb_copy_once(ebb_lowering *l, uint32_t id, const ebb_layout *layout, uint32_t *buffer);
/* The same in row-major order. */
ebb_status ebb_copy_dense(ebb_lowering *l, uint32_t id, uint32_t *buffer);

/* ---- homes.c ---- */

/* Chooses e->variables[..].layout, and fills l->homes. Of the values, none is there yet. */
ebb_status ebb_homes_choose(ebb_lowering *l);
/* The blocked layout that result 0 of a node had best; NULL: none. */
const ebb_layout *ebb_homes_of_result(const ebb_lowering *l, ebb_node node);

/* ---- arrange.c ---- */

/* Fills l->variants with the ways in which the node may lie: as it is, dense, and as backends wish;
 * an element-wise node in the order of its inputs, if *follows. Inputs as they are come to
 * l->operands. Returns how many; 0: out of memory. */
int ebb_fill_variants(ebb_lowering *l, ebb_node node, ebb_order *order, bool *follows);

#endif
