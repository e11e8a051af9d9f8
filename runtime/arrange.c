/* In which layouts and orders of dimensions a node may be computed. */
#include "graph/graph_build.h"
#include "ops/descriptors.h"
#include "runtime/lowering.h"

#include <string.h>

void *ebb_lowering_allocate(void *context, size_t size_bytes)
{
    ebb_executable *e = context;
    void *block = ebb_arena_allocate(
        &e->arena, size_bytes, size_bytes >= EBB_ALIGNMENT ? EBB_ALIGNMENT : sizeof(max_align_t));
    if (block)
        memset(block, 0, size_bytes);
    return block;
}

ebb_value_view *ebb_value_view_of(const ebb_lowering *l, ebb_value v)
{
    return v.view ? (ebb_value_view *)l->views.items + (v.view - 1) : NULL;
}

ebb_operand ebb_operand_of(const ebb_lowering *l, uint32_t id)
{
    ebb_value v = l->values[id];
    const ebb_type *type = ebb_node_type(ebb_graph_node(l->e->graph, id));
    ebb_operand operand = { .type = type,
                            .is_steady = ebb_executable_buffers(l->e)[v.buffer].is_steady };
    operand.layout = v.view ? ebb_value_view_of(l, v)->layout : ebb_layout_dense(&type->shape);
    return operand;
}

static bool operand_is_dense(const ebb_operand *operand)
{
    return ebb_layout_is_dense(&operand->layout, &operand->type->shape);
}

const ebb_type *ebb_type_permute(ebb_lowering *l, const ebb_order *order, const ebb_type *type)
{
    ebb_type *permuted = ebb_lowering_allocate(l->e, sizeof *permuted);
    if (permuted)
        *permuted = (ebb_type){ type->dtype, ebb_order_shape(order) };
    return permuted;
}

/* An element-wise op is computed in the order in which most bytes of its inputs lie, if a kernel
 * wished that; among equals a wished one. False: in the order of the graph. */
static bool find_order(const ebb_lowering *l, ebb_node node, ebb_order *order)
{
    enum { MOST_INPUTS = EBB_MAX_PROGRAM_INPUTS };
    const int n = ebb_node_n_inputs(node);
    const uint32_t *ids = ebb_node_input_ids(node);
    const ebb_type *types[MOST_INPUTS];
    ebb_layout layouts[MOST_INPUTS];
    bool is_wished[MOST_INPUTS], fills[MOST_INPUTS], any = false;
    if (!(ebb_node_op(node)->traits & EBB_TRAIT_ELEMENTWISE) || n > MOST_INPUTS)
        return false;
    for (int i = 0; i < n; i++) {
        const ebb_value_view *seen = ebb_value_view_of(l, l->values[ids[i]]);
        types[i] = ebb_node_type(ebb_graph_node(l->e->graph, ids[i]));
        is_wished[i] = seen && seen->is_wished;
        fills[i] = !seen || is_wished[i];
        any = any || is_wished[i];
        layouts[i] = seen ? seen->layout : ebb_layout_dense(&types[i]->shape);
    }
    size_t most = 0;
    int best = -1;
    for (int i = 0; i < n && any; i++) {
        size_t bytes = 0;
        for (int j = 0; j < n && fills[i]; j++)
            if (fills[j] && ebb_layout_agrees(&layouts[i], &layouts[j], &types[i]->shape))
                bytes += ebb_type_bytes(types[j]);
        if (bytes > most || (bytes == most && best >= 0 && is_wished[i] && !is_wished[best])) {
            most = bytes;
            best = i;
        }
    }
    return best >= 0 && is_wished[best] &&
           ebb_order_find(&layouts[best], &types[best]->shape, order);
}

/* Fills operands[0..n) with the inputs as they are, and operands[n..2n) with dense ones; returns
 * whether they differ. */
static bool fill_operands(ebb_lowering *l, ebb_node node)
{
    int n = ebb_node_n_inputs(node);
    const uint32_t *ids = ebb_node_input_ids(node);
    bool is_strided = false;
    for (int i = 0; i < n; i++) {
        l->operands[i] = ebb_operand_of(l, ids[i]);
        l->operands[n + i] = l->operands[i];
        if (l->values[ids[i]].view && !operand_is_dense(&l->operands[i])) {
            l->operands[n + i] = ebb_operand_dense(l->operands[i].type);
            is_strided = true;
        }
    }
    return is_strided;
}

ebb_region ebb_region_of(const ebb_lowering *l, ebb_node node, ebb_operand results[EBB_MAX_RESULTS])
{
    const ebb_op *op = ebb_node_op(node);
    for (int r = 0; r < op->n_results; r++) {
        const uint32_t id = node.id + (uint32_t)r;
        results[r] = ebb_operand_dense(ebb_node_type(ebb_graph_node(node.graph, id)));
        results[r].is_unread = l->live[id] == EBB_MARK_UNREAD;
    }
    return (ebb_region){ .op = op,
                         .attrs = ebb_node_attrs(node),
                         .n_inputs = ebb_node_n_inputs(node),
                         .n_results = op->n_results,
                         .inputs = l->operands,
                         .results = results,
                         .n_threads = l->e->n_threads };
}

/* Sees the region of an element-wise node in an order of dimensions. Inputs in other blocks than
 * those of the order stay as they are. */
static bool permute_region(ebb_lowering *l, const ebb_order *order, ebb_region *region,
                           ebb_operand *results)
{
    for (int i = 0; i < region->n_inputs; i++) {
        ebb_operand *operand = &l->operands[i];
        const ebb_layout layout = operand->layout;
        (void)ebb_order_permute(order, &layout, &operand->layout);
        if (!(operand->type = ebb_type_permute(l, order, operand->type)))
            return false;
    }
    for (int r = 0; r < region->n_results; r++) {
        if (!(results[r].type = ebb_type_permute(l, order, results[r].type)))
            return false;
        results[r].layout = ebb_layout_dense(&results[r].type->shape);
    }
    return true;
}

/* The tuner's choice for what will be taken may wish further layouts. False: out of memory. */
static bool tune_variants(ebb_lowering *l, const ebb_region *region, int n)
{
    ebb_executable *e = l->e;
    int best;
    if (!e->tuner)
        return true;
    (void)ebb_choose_best(e, l->variants, n, &best);
    for (int i = 0; i < n && best >= 0; i++) {
        ebb_variant *v = &l->variants[i];
        ebb_operand *inputs = l->operands + (size_t)i * (size_t)region->n_inputs;
        if (v->backend == best && ebb_variant_tune(e, region, inputs, l->layouts, v))
            return false;
    }
    return true;
}

int ebb_fill_variants(ebb_lowering *l, ebb_node node, ebb_order *order, bool *follows)
{
    const ebb_executable *e = l->e;
    ebb_variant *v = l->variants;
    bool is_strided = fill_operands(l, node);
    int n = 1;
    const ebb_layout *home = ebb_homes_of_result(l, node);
    for (int i = 0; i < EBB_MAX_VARIANTS; i++) {
        v[i].home = home;
        v[i].choice = NULL;
        v[i].is_taken_over = false;
    }
    v[0].backend = EBB_ANY_BACKEND;
    v[0].region = ebb_region_of(l, node, v[0].results);
    const ebb_region *region = &v[0].region;
    const size_t n_inputs = (size_t)region->n_inputs;
    *follows = find_order(l, node, order);
    if (*follows) /* the result lies as most of the inputs do */
        for (int i = 0; i < EBB_MAX_VARIANTS; i++)
            v[i].home = NULL;
    if (*follows) {
        if (!permute_region(l, order, &v[0].region, v[0].results))
            return 0;
        is_strided = false;
        for (size_t i = 0; i < n_inputs; i++) {
            l->operands[n_inputs + i] = l->operands[i];
            if (!operand_is_dense(&l->operands[i])) {
                l->operands[n_inputs + i] = ebb_operand_dense(l->operands[i].type);
                is_strided = true;
            }
        }
    }
    for (size_t i = 0; i < n_inputs; i++)
        if (l->operands[i].layout.n_blocks)
            v[0].backend = EBB_NO_BACKEND;
    /* What is best done otherwise is taken apart rather than its inputs copied. */
    if (is_strided && !ebb_op_is_tile_program(region->op)) {
        v[n] = v[0];
        v[n].backend = EBB_ANY_BACKEND;
        v[n].region.inputs = l->operands + n_inputs;
        v[n].region.results = v[n].results;
        n++;
    }
    for (int b = 0, n_asked = 0; b < e->n_backends && n_asked < EBB_MAX_WISHES && !*follows; b++) {
        if (!e->backends[b]->layouts)
            continue;
        n_asked++;
        n += ebb_variant_wish(e, b, region, l->operands + (size_t)n * n_inputs, l->layouts, &v[n]);
    }
    return tune_variants(l, region, n) ? n : 0;
}
