/* In which layouts variables lie in the store (docs/decisions/0009-home-layouts.md). Variables that
 * an update combines element by element, a weight and its momentum, lie alike; the first node that
 * has a wish chooses for all of them, unless an executable that is there already has chosen. */
#include "graph/graph_build.h"
#include "ops/descriptors.h"
#include "runtime/lowering.h"
#include "runtime/tune.h"

#include <string.h>

/* Variables that lie alike. */
typedef struct group {
    uint32_t parent; /* the group's first one stands for all of it */
    bool is_fixed;   /* another executable is bound to this one */
    bool is_chosen;  /* of the group: its layout */
} group;

typedef struct homes {
    ebb_lowering *l;
    ebb_executable *e;
    group *groups; /* by variable */
} homes;

static uint32_t find_group(const homes *h, uint32_t variable)
{
    while (h->groups[variable].parent != variable)
        variable = h->groups[variable].parent = h->groups[h->groups[variable].parent].parent;
    return variable;
}

static const ebb_shape *shape_of(const homes *h, uint32_t id)
{
    return &ebb_node_type(ebb_graph_node(h->e->graph, id))->shape;
}

/* The node is combined with this variable, and so are all that it was to be combined with. */
static void join_home(const homes *h, uint32_t id, uint32_t variable)
{
    uint32_t *home = &h->l->homes[id];
    if (!ebb_shape_equal(shape_of(h, id), shape_of(h, h->e->variables[variable].node)))
        return;
    if (!*home) {
        *home = variable + 1;
        return;
    }
    const uint32_t a = find_group(h, *home - 1), b = find_group(h, variable);
    h->groups[a > b ? a : b].parent = a > b ? b : a;
}

/* From new values of variables down to what they are made of. */
static void find_homes(const homes *h)
{
    const ebb_executable *e = h->e;
    const uint32_t n = ebb_graph_n_nodes(e->graph);
    uint32_t *home = h->l->homes;
    memset(home, 0, ((size_t)n + 1) * sizeof *home);
    for (uint32_t i = 0; i < e->n_variables; i++) {
        join_home(h, e->variables[i].node, i);
        if (e->variables[i].value)
            join_home(h, e->variables[i].value, i);
    }
    for (uint32_t id = n; id > 0; id--) {
        const ebb_node node = ebb_graph_node(e->graph, id);
        const ebb_node first = ebb_node_first_result(node, NULL);
        if (!home[id])
            continue;
        if (first.id != id)
            join_home(h, first.id, home[id] - 1);
        else if (ebb_node_op(node)->traits & EBB_TRAIT_ELEMENTWISE)
            for (int i = 0; i < ebb_node_n_inputs(node); i++)
                join_home(h, ebb_node_input_ids(node)[i], home[id] - 1);
    }
}

/* What executables that are there have chosen. */
static void take_fixed(const homes *h)
{
    for (uint32_t i = 0; i < h->e->n_variables; i++) {
        ebb_variable_slot *slot = &h->e->variables[i];
        const ebb_variable_attrs *attrs = ebb_node_attrs(ebb_graph_node(h->e->graph, slot->node));
        group *own = &h->groups[i];
        slot->layout = ebb_layout_dense(&attrs->type.shape);
        own->is_fixed = ebb_store_is_bound(h->e->store, attrs->name, &attrs->type, &slot->layout);
        group *all = &h->groups[find_group(h, i)];
        if (!own->is_fixed || all->is_chosen)
            continue;
        all->is_chosen = true;
        h->e->variables[find_group(h, i)].layout = slot->layout;
    }
}

/* The variable that the node is; n_variables: none. */
static uint32_t variable_of(const ebb_executable *e, uint32_t id)
{
    size_t low = 0, high = e->n_variables;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (e->variables[middle].node < id)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint32_t)(low < e->n_variables && e->variables[low].node == id ? low : e->n_variables);
}

/* The backend that will compute the node, if its input lies so; -1: none. */
static int find_backend(const homes *h, const ebb_region *region, int input,
                        const ebb_layout *layout)
{
    ebb_lowering *l = h->l;
    const size_t n_inputs = (size_t)region->n_inputs;
    ebb_operand *wished = l->operands + n_inputs;
    ebb_variant *v = l->variants;
    memcpy(wished, region->inputs, n_inputs * sizeof *wished);
    wished[input].layout = *layout;
    ebb_region lies = *region;
    lies.inputs = wished;
    int n = 1, who;
    for (int i = 0; i < EBB_MAX_VARIANTS; i++)
        v[i].home = NULL;
    v[0].backend = EBB_ANY_BACKEND;
    v[0].region = *region;
    for (int b = 0, n_asked = 0; b < h->e->n_backends && n_asked < EBB_MAX_WISHES; b++) {
        if (!h->e->backends[b]->layouts)
            continue;
        n_asked++;
        n += ebb_variant_wish(h->e, b, &lies, l->operands + (size_t)(n + 1) * n_inputs, l->layouts,
                              &v[n]);
    }
    (void)ebb_choose_best(h->e, v, n, &who);
    return who;
}

/* The layout in which the node's input lies best; false: any other reader may choose. */
static bool find_home(const homes *h, ebb_node node, const ebb_region *region, int input,
                      ebb_layout *layout)
{
    const ebb_executable *e = h->e;
    const ebb_shape *shape = &region->inputs[input].type->shape;
    ebb_order order;
    for (int b = 0; b < e->n_backends; b++) {
        const ebb_backend *backend = e->backends[b];
        if (backend->home_layout && backend->home_layout(backend, region, input, layout) &&
            ebb_order_find(layout, shape, &order) && find_backend(h, region, input, layout) == b)
            return true;
    }
    /* Element-wise programs take any layout, or are taken apart; views are what their readers make
     * of them. */
    const ebb_op *op = ebb_node_op(node);
    if ((op->traits & EBB_TRAIT_ELEMENTWISE) || ebb_op_is_tile_program(op) || op->view)
        return false;
    *layout = ebb_layout_dense(shape);
    const int who = find_backend(h, region, input, layout);
    return who >= 0 && !ebb_choose_takes_blocks(e->backends[who], op);
}

/* The wish of the node for variables whose layout is open. */
static void ask(const homes *h, ebb_node node)
{
    const ebb_executable *e = h->e;
    ebb_operand results[EBB_MAX_RESULTS];
    ebb_region region = { .n_inputs = 0 };
    /* Winograd packs steady weights, and only plain ones. */
    const bool may_pack = e->tuner && e->tuner->conv_error > 0;
    for (int i = 0; i < ebb_node_n_inputs(node); i++) {
        const uint32_t variable = variable_of(e, ebb_node_input_ids(node)[i]);
        if (variable == e->n_variables || h->groups[find_group(h, variable)].is_chosen ||
            (may_pack && !e->variables[variable].value))
            continue;
        if (!region.n_inputs) {
            for (int k = 0; k < ebb_node_n_inputs(node); k++) {
                const uint32_t id = ebb_node_input_ids(node)[k], own = variable_of(e, id);
                h->l->operands[k] = ebb_operand_dense(ebb_node_type(ebb_graph_node(e->graph, id)));
                h->l->operands[k].is_steady = own < e->n_variables && !e->variables[own].value;
            }
            region = ebb_region_of(h->l, node, results);
        }
        const uint32_t root = find_group(h, variable);
        ebb_layout layout;
        if (!find_home(h, node, &region, i, &layout))
            continue;
        e->variables[root].layout = layout;
        h->groups[root].is_chosen = true;
    }
}

ebb_status ebb_homes_choose(ebb_lowering *l)
{
    ebb_executable *e = l->e;
    homes h = { .l = l, .e = e };
    h.groups = ebb_allocate(e->allocator, e->n_variables * sizeof *h.groups);
    if (!h.groups)
        return ebb_fail(&e->error, EBB_OUT_OF_MEMORY, "compile: out of memory for layouts");
    for (uint32_t i = 0; i < e->n_variables; i++)
        h.groups[i] = (group){ .parent = i };
    find_homes(&h);
    take_fixed(&h);
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(e->graph); id++)
        if (l->live[id])
            ask(&h, ebb_graph_node(e->graph, id));
    for (uint32_t i = 0; i < e->n_variables; i++) {
        const uint32_t root = find_group(&h, i);
        if (!h.groups[i].is_fixed && h.groups[root].is_chosen)
            e->variables[i].layout = e->variables[root].layout;
    }
    ebb_release(e->allocator, h.groups, e->n_variables * sizeof *h.groups);
    return EBB_OK;
}

const ebb_layout *ebb_homes_of_result(const ebb_lowering *l, ebb_node node)
{
    const uint32_t home = l->homes[node.id];
    const ebb_layout *layout = home ? &l->e->variables[home - 1].layout : NULL;
    return layout && layout->n_blocks ? layout : NULL;
}
