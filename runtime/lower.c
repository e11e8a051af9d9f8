/* Lowering: each live node becomes one step with a kernel, except views, which become layouts in
 * the buffer of what they look at. */
#include "backends/backends.h"
#include "graph/graph_build.h"
#include "ops/descriptors.h"
#include "passes/rematerialize.h"
#include "runtime/lowering.h"

#include <stdio.h>
#include <string.h>

static const ebb_value no_value = { EBB_NO_BUFFER, 0, 0 };

ebb_status ebb_lowering_out_of_memory(ebb_executable *e)
{
    return ebb_fail(&e->error, EBB_OUT_OF_MEMORY,
                    "compile: out of memory for the steps of graph \"%.100s\"",
                    ebb_graph_name(e->graph));
}

/* ---- regions and kernels ---- */

static bool leaves_out(const ebb_step *step, int result)
{
    return step->kernel.left_out >> result & 1;
}

static ebb_status check_kernel(ebb_lowering *l, const ebb_step *step, const ebb_region *region)
{
    const ebb_kernel *kernel = &step->kernel;
    const ebb_operand *inputs = region->inputs;
    const char *wrong = NULL;
    if (!kernel->run)
        wrong = "has no run function";
    else if (kernel->packed_bytes &&
             (kernel->packed_input < 0 || kernel->packed_input >= step->n_inputs ||
              !inputs[kernel->packed_input].is_steady || !kernel->pack))
        wrong = "packs an input that is not steady, or without a function for it";
    for (int r = 0; r < region->n_results && !wrong; r++)
        if (leaves_out(step, r) && !region->results[r].is_unread)
            wrong = "leaves out a result that is read";
    if (!wrong)
        return EBB_OK;
    char text[EBB_NODE_TEXT_BYTES];
    return ebb_fail(&l->e->error, EBB_BACKEND, "compile: the kernel of backend %s for %s %s",
                    step->backend->name,
                    ebb_node_text(ebb_graph_node(l->e->graph, step->node), text), wrong);
}

/* Bytes of the elements that are there, repeated ones once. */
static size_t operand_bytes(const ebb_operand *operand)
{
    size_t bytes = ebb_dtype_bytes(operand->type->dtype);
    for (int i = 0; i < operand->type->shape.rank; i++) {
        if (operand->layout.strides[i] != 0 || operand->type->shape.dims[i] == 0)
            bytes *= (size_t)operand->type->shape.dims[i];
    }
    return bytes;
}

static void destroy_kernel(ebb_kernel *kernel)
{
    if (kernel->destroy)
        kernel->destroy(kernel->state);
}

/* ---- buffers ---- */

static ebb_status add_buffer(ebb_executable *e, ebb_buffer_kind kind, size_t index,
                             const ebb_type *type, uint32_t *place)
{
    ebb_buffer *buffer = NULL;
    if (e->buffers.n < EBB_NO_BUFFER)
        buffer = ebb_list_add(&e->buffers, e->allocator, sizeof *buffer, 1);
    if (!buffer)
        return ebb_lowering_out_of_memory(e);
    *buffer = (ebb_buffer){ .kind = kind,
                            .index = (uint32_t)index,
                            .variable = -1,
                            .type = type,
                            .bytes = ebb_type_bytes(type) };
    *place = (uint32_t)e->buffers.n - 1;
    return EBB_OK;
}

ebb_argument ebb_argument_of(const ebb_lowering *l, uint32_t id)
{
    ebb_value v = l->values[id];
    ebb_argument argument = { .buffer = v.buffer, .is_whole = !v.view };
    if (v.view) {
        ebb_dtype dtype = ebb_node_type(ebb_graph_node(l->e->graph, id))->dtype;
        argument.is_whole = ebb_value_view_of(l, v)->is_wished;
        argument.offset_bytes =
            (size_t)ebb_value_view_of(l, v)->layout.offset * ebb_dtype_bytes(dtype);
    }
    return argument;
}

/* The value of `id` lies in `buffer`, in a layout that fills it. */
static ebb_status set_value(ebb_lowering *l, uint32_t id, uint32_t buffer, const ebb_layout *layout)
{
    const ebb_shape *shape = &ebb_node_type(ebb_graph_node(l->e->graph, id))->shape;
    l->values[id] = (ebb_value){ .buffer = buffer };
    if (ebb_layout_is_dense(layout, shape))
        return EBB_OK;
    ebb_executable_buffers(l->e)[buffer].is_permuted = true;
    ebb_value_view *added = ebb_list_add(&l->views, l->e->allocator, sizeof *added, 1);
    if (!added)
        return ebb_lowering_out_of_memory(l->e);
    *added = (ebb_value_view){ .layout = *layout, .is_wished = true };
    l->values[id].view = (uint32_t)l->views.n;
    return EBB_OK;
}

/* ---- steps ---- */

ebb_status ebb_lowering_add_step(ebb_lowering *l, ebb_step step, const ebb_region *region,
                                 const ebb_argument *inputs, uint32_t *first_result)
{
    ebb_executable *e = l->e;
    ebb_step *added = ebb_list_add(&e->steps, e->allocator, sizeof *added, 1);
    if (!added) {
        destroy_kernel(&step.kernel);
        return ebb_lowering_out_of_memory(e);
    }
    step.n_inputs = region->n_inputs;
    step.n_results = region->n_results;
    step.first_argument = e->arguments.n;
    if (step.kernel.n_threads < 1)
        step.kernel.n_threads = 1;
    if (!step.kernel.implementation)
        step.kernel.implementation = "?";
    for (int i = 0; i < region->n_inputs; i++)
        step.read_bytes += operand_bytes(&region->inputs[i]);
    for (int r = 0; r < region->n_results; r++)
        step.written_bytes += leaves_out(&step, r) ? 0 : ebb_type_bytes(region->results[r].type);
    *added = step;
    size_t n = (size_t)region->n_inputs + (size_t)region->n_results;
    ebb_argument *arguments = ebb_list_add(&e->arguments, e->allocator, sizeof *arguments, n);
    if (!arguments)
        return ebb_lowering_out_of_memory(e);
    memcpy(arguments, inputs, (size_t)region->n_inputs * sizeof *arguments);
    for (int r = 0; r < region->n_results; r++) {
        uint32_t buffer = EBB_NO_BUFFER;
        ebb_status status =
            add_buffer(e, EBB_BUFFER_ARENA, e->steps.n - 1, region->results[r].type, &buffer);
        if (status)
            return status;
        if (leaves_out(&step, r)) {
            ebb_executable_buffers(e)[buffer].is_left_out = true;
            ebb_executable_buffers(e)[buffer].bytes = 0;
        }
        arguments[region->n_inputs + r] = (ebb_argument){ .buffer = buffer, .is_whole = true };
        if (r == 0)
            *first_result = buffer;
    }
    return check_kernel(l, added, region);
}

/* ---- nodes ---- */

/* The node as a layout in its input's buffer; *is_view false: the rule cannot, not even for a dense
 * input. */
static ebb_status lower_view(ebb_lowering *l, ebb_node node, bool *is_view)
{
    ebb_executable *e = l->e;
    const ebb_op *op = ebb_node_op(node);
    const ebb_type *type = ebb_node_type(node);
    uint32_t input = ebb_node_input_ids(node)[0], buffer = l->values[input].buffer;
    ebb_operand operand = ebb_operand_of(l, input);
    ebb_layout layout = { .offset = 0 };
    ebb_view rule = { .op = op,
                      .attrs = ebb_node_attrs(node),
                      .input = &operand.type->shape,
                      .result = &type->shape,
                      .input_layout = &operand.layout,
                      .result_layout = &layout };
    /* Of the rules only that of `after`, which changes nothing, takes blocks. */
    *is_view = (!operand.layout.n_blocks || op == &ebb_op_after) && op->view(&rule);
    if (!*is_view && l->values[input].view) {
        ebb_status status = ebb_copy_dense(l, input, &buffer);
        if (status)
            return status;
        operand.layout = ebb_layout_dense(&operand.type->shape);
        *is_view = op->view(&rule);
    }
    if (!*is_view)
        return EBB_OK;
    l->values[node.id] = (ebb_value){ .buffer = buffer };
    e->stats.n_views++;
    bool is_whole = layout.offset == 0 && ebb_layout_is_dense(&layout, &type->shape) &&
                    ebb_type_bytes(type) == ebb_executable_buffers(e)[buffer].bytes;
    if (is_whole)
        return EBB_OK;
    ebb_value_view *added = ebb_list_add(&l->views, e->allocator, sizeof *added, 1);
    if (!added)
        return ebb_lowering_out_of_memory(e);
    ebb_order order;
    const ebb_value_view *seen =
        buffer == l->values[input].buffer ? ebb_value_view_of(l, l->values[input]) : NULL;
    *added = (ebb_value_view){ .layout = layout };
    added->is_wished = seen && seen->is_wished && ebb_order_find(&layout, &type->shape, &order) &&
                       ebb_type_bytes(type) == ebb_executable_buffers(e)[buffer].bytes;
    l->values[node.id].view = (uint32_t)l->views.n;
    return EBB_OK;
}

static ebb_status fail_unsupported(ebb_lowering *l, ebb_node node)
{
    ebb_executable *e = l->e;
    char text[EBB_NODE_TEXT_BYTES], types[200] = "";
    size_t at = 0;
    for (int i = 0; i < ebb_node_n_inputs(node) && at < sizeof types; i++) {
        char type[EBB_TYPE_TEXT_BYTES];
        int n = snprintf(types + at, sizeof types - at, "%s%s", i ? ", " : " of ",
                         ebb_type_text(ebb_node_type(ebb_node_input(node, i)), type));
        at += n > 0 ? (size_t)n : 0;
    }
    int line;
    const char *file = ebb_node_file(node, &line);
    ebb_error why = e->error; /* what the last backend said that was asked to compile it */
    return ebb_fail(&e->error, EBB_UNSUPPORTED, "%s: no backend takes %.120s%s (%.80s:%d)%s%.100s",
                    ebb_node_op(node)->name, ebb_node_text(node, text), types,
                    file ? ebb_base_name(file) : "?", line, why.message[0] ? ": " : "",
                    why.message);
}

/* The inputs of a node as arguments for a variant, whose dimensions stand in `order` (NULL: as they
 * are): those that lie otherwise by way of copies. operands: as they lie. */
static ebb_status fill_arguments(ebb_lowering *l, ebb_node node, const ebb_order *order,
                                 const ebb_variant *variant, ebb_argument *arguments)
{
    const uint32_t *ids = ebb_node_input_ids(node);
    for (int i = 0; i < ebb_node_n_inputs(node); i++) {
        const ebb_operand *wanted = &variant->region.inputs[i];
        ebb_layout layout = wanted->layout;
        if (wanted == &l->operands[i] ||
            ebb_layout_agrees(&layout, &l->operands[i].layout, &wanted->type->shape)) {
            arguments[i] = ebb_argument_of(l, ids[i]);
            continue;
        }
        if (order)
            layout = ebb_order_permute_back(order, &layout);
        arguments[i] = (ebb_argument){ .is_whole = true };
        ebb_status status = ebb_copy_once(l, ids[i], &layout, &arguments[i].buffer);
        if (status)
            return status;
    }
    return EBB_OK;
}

static ebb_status fail_compiling(ebb_lowering *l, ebb_node node, ebb_status status)
{
    char text[EBB_NODE_TEXT_BYTES];
    ebb_error why = l->e->error;
    return ebb_fail(&l->e->error, status, "%s: compiling %s: %.200s", ebb_node_op(node)->name,
                    ebb_node_text(node, text),
                    why.message[0] ? why.message : ebb_status_text(status));
}

/* The step of the node, with a kernel for this variant. */
static ebb_status add_node_step(ebb_lowering *l, ebb_node node, const ebb_order *order,
                                const ebb_variant *variant, ebb_step step, uint32_t *first)
{
    ebb_executable *e = l->e;
    const int n_inputs = variant->region.n_inputs;
    ebb_argument few[8], *arguments = few;
    const size_t bytes = (size_t)n_inputs * sizeof *arguments;
    ebb_status status = EBB_OK;
    if (n_inputs > 8 && !(arguments = ebb_allocate(e->allocator, bytes)))
        status = ebb_lowering_out_of_memory(e);
    if (!status)
        status = fill_arguments(l, node, order, variant, arguments);
    if (status)
        destroy_kernel(&step.kernel);
    else
        status = ebb_lowering_add_step(l, step, &variant->region, arguments, first);
    if (arguments != few)
        ebb_release(e->allocator, arguments, bytes);
    return status;
}

/* *is_refused: nobody takes the node, but it can be decomposed. It gets buffers all the same, so
 * that lowering can go on and find the other ones. */
static ebb_status lower_op(ebb_lowering *l, ebb_node node, bool *is_refused)
{
    ebb_executable *e = l->e;
    const ebb_op *op = ebb_node_op(node);
    ebb_order order;
    bool follows;
    int n_variants = ebb_fill_variants(l, node, &order, &follows), chosen = 0;
    ebb_step step = { .node = node.id };
    uint32_t first = 0;
    if (n_variants == 0)
        return ebb_lowering_out_of_memory(e);
    ebb_status status = ebb_choose_kernel(e, &l->env, l->variants, n_variants, &step.kernel,
                                          &step.backend, &chosen);
    const ebb_variant *variant = &l->variants[chosen];
    *is_refused = status == EBB_UNSUPPORTED && op->decompose;
    if (*is_refused) {
        status = EBB_OK;
        for (int r = 0; r < op->n_results && !status; r++) {
            uint32_t buffer = EBB_NO_BUFFER;
            status = add_buffer(e, EBB_BUFFER_ARENA, 0, l->variants[0].results[r].type, &buffer);
            first = r ? first : buffer;
        }
    } else if (status == EBB_UNSUPPORTED) {
        return fail_unsupported(l, node);
    } else if (status) {
        return fail_compiling(l, node, status);
    } else {
        status = add_node_step(l, node, follows ? &order : NULL, variant, step, &first);
    }
    for (int r = 0; r < op->n_results && !status; r++) {
        ebb_layout layout = variant->results[r].layout;
        if (follows)
            layout = ebb_order_permute_back(&order, &layout);
        status = set_value(l, node.id + (uint32_t)r, first + (uint32_t)r, &layout);
    }
    return status;
}

static ebb_status add_source(ebb_lowering *l, uint32_t id, ebb_buffer_kind kind, size_t index,
                             bool is_steady, uint32_t *place)
{
    const ebb_type *type = ebb_node_type(ebb_graph_node(l->e->graph, id));
    ebb_status status = add_buffer(l->e, kind, index, type, place);
    if (status)
        return status;
    ebb_executable_buffers(l->e)[*place].is_steady = is_steady;
    l->values[id] = (ebb_value){ .buffer = *place };
    return EBB_OK;
}

static ebb_status lower_sources(ebb_lowering *l)
{
    ebb_executable *e = l->e;
    ebb_status status = EBB_OK;
    for (size_t i = 0; i < e->n_inputs && !status; i++) {
        if (e->inputs[i].node)
            status =
                add_source(l, e->inputs[i].node, EBB_BUFFER_INPUT, i, false, &e->inputs[i].buffer);
    }
    for (size_t i = 0; i < e->n_variables && !status; i++) {
        ebb_variable_slot *slot = &e->variables[i];
        status = add_source(l, slot->node, EBB_BUFFER_VARIABLE, i, !slot->value, &slot->buffer);
        if (!status)
            status = set_value(l, slot->node, slot->buffer, &slot->layout);
    }
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(e->graph) && !status; id++) {
        uint32_t buffer = EBB_NO_BUFFER;
        if (l->live[id] && ebb_node_op(ebb_graph_node(e->graph, id)) == &ebb_op_constant)
            status = add_source(l, id, EBB_BUFFER_CONSTANT, id, true, &buffer);
    }
    return status;
}

static ebb_status lower_nodes(ebb_lowering *l, uint8_t *refused, int64_t *n_refused)
{
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(l->e->graph); id++) {
        ebb_node node = ebb_graph_node(l->e->graph, id);
        const ebb_op *op = ebb_node_op(node);
        if (!l->live[id] || op == &ebb_op_result || l->values[id].buffer != EBB_NO_BUFFER)
            continue;
        ebb_status status = EBB_OK;
        bool is_view = false, is_refused = false;
        if (op->view && op->n_results == 1 && ebb_node_n_inputs(node) >= 1)
            status = lower_view(l, node, &is_view);
        if (!status && !is_view)
            status = lower_op(l, node, &is_refused);
        if (status)
            return status;
        if (is_refused) {
            refused[id] = 1;
            ++*n_refused;
        }
    }
    return EBB_OK;
}

/* Values that fetches read and updates write. */
static ebb_status lower_outputs(ebb_lowering *l)
{
    ebb_executable *e = l->e;
    for (size_t i = 0; i < e->n_fetches; i++) {
        ebb_fetch_slot *fetch = &e->fetches[i];
        ebb_operand operand = ebb_operand_of(l, fetch->node);
        const ebb_layout dense = ebb_layout_dense(&operand.type->shape);
        fetch->type = operand.type;
        fetch->source = ebb_argument_of(l, fetch->node);
        uint32_t copied;
        if (ebb_copy_find(l, fetch->node, &dense, &copied)) {
            fetch->source = (ebb_argument){ .buffer = copied, .is_whole = true };
        } else if (!ebb_layout_is_dense(&operand.layout, &operand.type->shape)) {
            fetch->is_strided = true;
            fetch->layout = operand.layout;
            fetch->layout.offset = 0;
        }
        ebb_buffer *buffer = &ebb_executable_buffers(e)[fetch->source.buffer];
        buffer->is_kept = true;
        fetch->is_early = buffer->kind != EBB_BUFFER_ARENA;
    }
    for (size_t i = 0; i < e->n_variables; i++) {
        uint32_t id = e->variables[i].value;
        if (!id)
            continue;
        const ebb_operand value = ebb_operand_of(l, id);
        const ebb_layout *home = &e->variables[i].layout;
        const ebb_value_view *seen = ebb_value_view_of(l, l->values[id]);
        uint32_t buffer = l->values[id].buffer;
        ebb_status status = EBB_OK;
        if ((seen && !seen->is_wished) ||
            !ebb_layout_agrees(&value.layout, home, &value.type->shape))
            status = ebb_copy_once(l, id, home, &buffer);
        else if (ebb_executable_buffers(e)[buffer].kind != EBB_BUFFER_ARENA)
            status = ebb_copy_value(l, id, home, &buffer);
        if (status)
            return status;
        e->moves[e->n_moves++] = (ebb_move){ .buffer = buffer, .variable = (uint32_t)i };
    }
    return EBB_OK;
}

/* ---- all ---- */

static ebb_status start_lowering(ebb_lowering *l, ebb_executable *e, const uint8_t *live)
{
    *l = (ebb_lowering){ .e = e, .live = live };
    l->env = (ebb_compile_env){
        .allocate = ebb_lowering_allocate, .context = e, .log = e->log, .error = &e->error
    };
    uint32_t n = ebb_graph_n_nodes(e->graph);
    for (uint32_t id = 1; id <= n; id++) {
        size_t n_inputs = (size_t)ebb_node_n_inputs(ebb_graph_node(e->graph, id));
        if (n_inputs > l->most_inputs)
            l->most_inputs = n_inputs;
    }
    l->values = ebb_allocate(e->allocator, ((size_t)n + 1) * sizeof *l->values);
    l->operands =
        ebb_allocate(e->allocator, EBB_MAX_VARIANTS * l->most_inputs * sizeof *l->operands);
    l->layouts = ebb_allocate(e->allocator, l->most_inputs * sizeof *l->layouts);
    l->homes = ebb_allocate(e->allocator, ((size_t)n + 1) * sizeof *l->homes);
    if (!l->values || !l->operands || !l->layouts || !l->homes)
        return ebb_lowering_out_of_memory(e);
    for (uint32_t id = 0; id <= n; id++)
        l->values[id] = no_value;
    return EBB_OK;
}

static void finish_lowering(ebb_lowering *l)
{
    const ebb_allocator *a = l->e->allocator;
    ebb_list_finish(&l->views, a, sizeof(ebb_value_view));
    ebb_list_finish(&l->copies, a, sizeof(ebb_value_copy));
    ebb_release(a, l->operands, EBB_MAX_VARIANTS * l->most_inputs * sizeof *l->operands);
    ebb_release(a, l->layouts, l->most_inputs * sizeof *l->layouts);
    ebb_release(a, l->homes, ((size_t)ebb_graph_n_nodes(l->e->graph) + 1) * sizeof *l->homes);
    ebb_release(a, l->values, ((size_t)ebb_graph_n_nodes(l->e->graph) + 1) * sizeof *l->values);
}

/* Room for what the live nodes will become: long lists that double would be copied again and again.
 */
static ebb_status reserve_lists(ebb_executable *e, const uint8_t *live)
{
    size_t n_nodes = 0, n_arguments = 0;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(e->graph); id++) {
        if (!live[id])
            continue;
        n_nodes++;
        n_arguments += 1 + (size_t)ebb_node_n_inputs(ebb_graph_node(e->graph, id));
    }
    bool has_room =
        ebb_list_reserve(&e->steps, e->allocator, sizeof(ebb_step), n_nodes) &&
        ebb_list_reserve(&e->buffers, e->allocator, sizeof(ebb_buffer), n_nodes) &&
        ebb_list_reserve(&e->arguments, e->allocator, sizeof(ebb_argument), n_arguments);
    return has_room ? EBB_OK : ebb_lowering_out_of_memory(e);
}

ebb_status ebb_executable_lower(ebb_executable *e, const uint8_t *live, uint8_t *refused,
                                int64_t *n_refused)
{
    ebb_lowering l;
    *n_refused = 0;
    ebb_status status = start_lowering(&l, e, live);
    if (!status)
        status = reserve_lists(e, live);
    if (!status)
        status = ebb_homes_choose(&l);
    if (!status)
        status = lower_sources(&l);
    if (!status)
        status = lower_nodes(&l, refused, n_refused);
    if (!status && *n_refused)
        status = EBB_UNSUPPORTED;
    if (!status)
        status = lower_outputs(&l);
    finish_lowering(&l);
    return status;
}

void ebb_executable_unlower(ebb_executable *e)
{
    ebb_step *steps = ebb_executable_steps(e);
    for (size_t s = 0; s < e->steps.n; s++)
        destroy_kernel(&steps[s].kernel);
    ebb_list_finish(&e->steps, e->allocator, sizeof(ebb_step));
    ebb_list_finish(&e->arguments, e->allocator, sizeof(ebb_argument));
    ebb_list_finish(&e->buffers, e->allocator, sizeof(ebb_buffer));
    e->n_moves = 0;
    e->stats.n_views = 0;
}
