/* Copies of values into other layouts: steps of lowering that no node asked for. */
#include "backends/backends.h"
#include "ops/descriptors.h"
#include "runtime/lowering.h"

/* The order of dimensions in which a copy out of one layout into another is strided on its one side
 * and dense on the other. False: their blocks do not fit. */
static bool find_copy_order(const ebb_layout *from, const ebb_layout *to, const ebb_shape *shape,
                            ebb_order *order, ebb_layout *seen)
{
    if (!ebb_layout_is_dense(to, shape)) {
        if (!ebb_order_find(to, shape, order))
            return false;
        ebb_order_refine(order, from);
        return ebb_order_permute(order, from, seen);
    }
    *order = ebb_order_split(from, shape);
    return ebb_order_permute(order, from, seen);
}

ebb_status ebb_copy_value(ebb_lowering *l, uint32_t id, const ebb_layout *layout, uint32_t *buffer)
{
    ebb_executable *e = l->e;
    ebb_operand input = ebb_operand_of(l, id);
    ebb_argument argument = ebb_argument_of(l, id);
    ebb_order order;
    const ebb_value_view *seen = ebb_value_view_of(l, l->values[id]);
    const bool is_reorder =
        !ebb_layout_is_dense(layout, &input.type->shape) || (seen && seen->is_wished);
    ebb_layout from = input.layout;
    if (!find_copy_order(&from, layout, &input.type->shape, &order, &input.layout)) {
        argument = (ebb_argument){ .is_whole = true };
        ebb_status status = ebb_copy_dense(l, id, &argument.buffer);
        if (status)
            return status;
        from = ebb_layout_dense(&input.type->shape);
        (void)find_copy_order(&from, layout, &input.type->shape, &order, &input.layout);
    }
    if (!(input.type = ebb_type_permute(l, &order, input.type)))
        return ebb_lowering_out_of_memory(e);
    ebb_operand result = ebb_operand_dense(input.type);
    ebb_variant only = { .backend = EBB_ANY_BACKEND };
    only.region = (ebb_region){ .op = &ebb_op_copy,
                                .n_inputs = 1,
                                .n_results = 1,
                                .inputs = &input,
                                .results = &result,
                                .n_threads = e->n_threads };
    ebb_step step = { .node = id, .is_copy = true, .is_reorder = is_reorder };
    int chosen;
    ebb_status status =
        ebb_choose_kernel(e, &l->env, &only, 1, &step.kernel, &step.backend, &chosen);
    if (status == EBB_UNSUPPORTED) { /* the list is the user's own, or dense only */
        step.backend = &ebb_backend_native;
        status = step.backend->compile(step.backend, &only.region, &l->env, &step.kernel);
    }
    if (status) {
        char text[EBB_NODE_TEXT_BYTES];
        ebb_error why = e->error;
        return ebb_fail(&e->error, status, "compile: cannot copy %s: %.150s",
                        ebb_node_text(ebb_graph_node(e->graph, id), text), why.message);
    }
    return ebb_lowering_add_step(l, step, &only.region, &argument, buffer);
}

bool ebb_copy_find(const ebb_lowering *l, uint32_t id, const ebb_layout *layout, uint32_t *buffer)
{
    const ebb_shape *shape = &ebb_node_type(ebb_graph_node(l->e->graph, id))->shape;
    const ebb_value_copy *copies = l->copies.items;
    for (uint32_t at = l->values[id].copies; at; at = copies[at - 1].next) {
        if (ebb_layout_agrees(&copies[at - 1].layout, layout, shape)) {
            *buffer = copies[at - 1].buffer;
            return true;
        }
    }
    return false;
}

ebb_status ebb_copy_once(ebb_lowering *l, uint32_t id, const ebb_layout *layout, uint32_t *buffer)
{
    if (ebb_copy_find(l, id, layout, buffer))
        return EBB_OK;
    ebb_status status = ebb_copy_value(l, id, layout, buffer);
    if (status)
        return status;
    ebb_value_copy *added = ebb_list_add(&l->copies, l->e->allocator, sizeof *added, 1);
    if (!added)
        return ebb_lowering_out_of_memory(l->e);
    *added = (ebb_value_copy){ .layout = *layout, .buffer = *buffer, .next = l->values[id].copies };
    l->values[id].copies = (uint32_t)l->copies.n;
    return EBB_OK;
}

ebb_status ebb_copy_dense(ebb_lowering *l, uint32_t id, uint32_t *buffer)
{
    ebb_layout dense = ebb_layout_dense(&ebb_node_type(ebb_graph_node(l->e->graph, id))->shape);
    return ebb_copy_once(l, id, &dense, buffer);
}
