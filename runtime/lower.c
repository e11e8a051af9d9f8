/* Lowering: each live node becomes one step with a kernel, except views, which become layouts in
 * the buffer of what they look at. */
#include "backends/backends.h"
#include "graph/graph_build.h"
#include "ops/descriptors.h"
#include "runtime/runtime.h"

#include <stdio.h>
#include <string.h>

/* The value of a node: a buffer, and how it lies there. */
typedef struct value {
    uint32_t buffer;
    uint32_t view; /* place in views, plus one; 0: dense from the buffer's start */
} value;

typedef struct view {
    ebb_layout layout;
    uint32_t dense; /* buffer of a dense copy; EBB_NO_BUFFER: there is none yet */
} view;

typedef struct lowering {
    ebb_executable *e;
    value *values;         /* by node id */
    ebb_list views;        /* view */
    ebb_operand *operands; /* room for two lists of the most inputs of a node */
    size_t most_inputs;
    ebb_compile_env env;
    int scores[2][EBB_MAX_BACKENDS];
} lowering;

static const value no_value = { EBB_NO_BUFFER, 0 };

static ebb_status out_of_memory(ebb_executable *e)
{
    return ebb_fail(&e->error, EBB_OUT_OF_MEMORY,
                    "compile: out of memory for the steps of graph \"%.100s\"",
                    ebb_graph_name(e->graph));
}

/* ---- regions and kernels ---- */

static void *allocate_state(void *context, size_t size_bytes)
{
    ebb_executable *e = context;
    void *block = ebb_arena_allocate(
        &e->arena, size_bytes, size_bytes >= EBB_ALIGNMENT ? EBB_ALIGNMENT : sizeof(max_align_t));
    if (block)
        memset(block, 0, size_bytes);
    return block;
}

static ebb_operand dense_operand(const ebb_type *type)
{
    return (ebb_operand){ .type = type, .layout = ebb_layout_dense(&type->shape) };
}

static bool operand_is_dense(const ebb_operand *operand)
{
    return ebb_layout_is_dense(&operand->layout, &operand->type->shape);
}

/* A kernel of the backend with the highest score. With `dense` inputs (NULL: the same) it is also
 * asked for those; *is_dense says which of the two the kernel wants. UNSUPPORTED if nobody takes
 * the region. */
static ebb_status make_kernel(lowering *l, const ebb_region *region, const ebb_operand *dense,
                              ebb_kernel *kernel, const ebb_backend **backend, bool *is_dense)
{
    ebb_executable *e = l->e;
    e->error.message[0] = 0;
    ebb_region variants[2] = { *region, *region };
    int n_variants = dense ? 2 : 1;
    variants[1].inputs = dense;
    for (int v = 0; v < n_variants; v++)
        for (int b = 0; b < e->n_backends; b++)
            l->scores[v][b] = e->backends[b]->score(e->backends[b], &variants[v]);
    for (;;) {
        int best = EBB_SCORE_NONE, best_variant = 0, best_backend = 0;
        for (int v = 0; v < n_variants; v++) {
            for (int b = 0; b < e->n_backends; b++) {
                if (l->scores[v][b] > best) {
                    best = l->scores[v][b];
                    best_variant = v;
                    best_backend = b;
                }
            }
        }
        if (best == EBB_SCORE_NONE)
            return EBB_UNSUPPORTED;
        *backend = e->backends[best_backend];
        *is_dense = best_variant == 1;
        *kernel = (ebb_kernel){ 0 };
        ebb_status status = (*backend)->compile(*backend, &variants[best_variant], &l->env, kernel);
        if (status != EBB_UNSUPPORTED)
            return status;
        l->scores[best_variant][best_backend] = EBB_SCORE_NONE;
    }
}

static ebb_status check_kernel(lowering *l, const ebb_step *step, const ebb_operand *inputs)
{
    const ebb_kernel *kernel = &step->kernel;
    const char *wrong = NULL;
    if (!kernel->run)
        wrong = "has no run function";
    else if (kernel->packed_bytes &&
             (kernel->packed_input < 0 || kernel->packed_input >= step->n_inputs ||
              !inputs[kernel->packed_input].is_steady || !kernel->pack))
        wrong = "packs an input that is not steady, or without a function for it";
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
        return out_of_memory(e);
    *buffer = (ebb_buffer){ .kind = kind,
                            .index = (uint32_t)index,
                            .variable = -1,
                            .type = type,
                            .bytes = ebb_type_bytes(type) };
    *place = (uint32_t)e->buffers.n - 1;
    return EBB_OK;
}

static view *view_of(const lowering *l, value v)
{
    return v.view ? (view *)l->views.items + (v.view - 1) : NULL;
}

static ebb_operand operand_of(const lowering *l, uint32_t id)
{
    value v = l->values[id];
    const ebb_type *type = ebb_node_type(ebb_graph_node(l->e->graph, id));
    ebb_operand operand = { .type = type,
                            .is_steady = ebb_executable_buffers(l->e)[v.buffer].is_steady };
    operand.layout = v.view ? view_of(l, v)->layout : ebb_layout_dense(&type->shape);
    return operand;
}

static ebb_argument argument_of(const lowering *l, uint32_t id)
{
    value v = l->values[id];
    ebb_argument argument = { .buffer = v.buffer, .is_whole = !v.view };
    if (v.view) {
        ebb_dtype dtype = ebb_node_type(ebb_graph_node(l->e->graph, id))->dtype;
        argument.offset_bytes = (size_t)view_of(l, v)->layout.offset * ebb_dtype_bytes(dtype);
    }
    return argument;
}

/* ---- steps ---- */

/* Appends a step with an ARENA buffer for each result; first_result: the first of those buffers.
 * The kernel is the step's from here on, also on failure. */
static ebb_status add_step(lowering *l, ebb_step step, const ebb_region *region,
                           const ebb_argument *inputs, uint32_t *first_result)
{
    ebb_executable *e = l->e;
    ebb_step *added = ebb_list_add(&e->steps, e->allocator, sizeof *added, 1);
    if (!added) {
        destroy_kernel(&step.kernel);
        return out_of_memory(e);
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
        step.written_bytes += ebb_type_bytes(region->results[r].type);
    *added = step;
    size_t n = (size_t)region->n_inputs + (size_t)region->n_results;
    ebb_argument *arguments = ebb_list_add(&e->arguments, e->allocator, sizeof *arguments, n);
    if (!arguments)
        return out_of_memory(e);
    memcpy(arguments, inputs, (size_t)region->n_inputs * sizeof *arguments);
    for (int r = 0; r < region->n_results; r++) {
        uint32_t buffer = EBB_NO_BUFFER;
        ebb_status status =
            add_buffer(e, EBB_BUFFER_ARENA, e->steps.n - 1, region->results[r].type, &buffer);
        if (status)
            return status;
        arguments[region->n_inputs + r] = (ebb_argument){ .buffer = buffer, .is_whole = true };
        if (r == 0)
            *first_result = buffer;
    }
    return check_kernel(l, added, region->inputs);
}

/* A step that makes the value of a node dense, in a buffer of its own. */
static ebb_status copy_value(lowering *l, uint32_t id, uint32_t *buffer)
{
    ebb_executable *e = l->e;
    ebb_operand input = operand_of(l, id), result = dense_operand(input.type);
    ebb_region region = { .op = &ebb_op_copy,
                          .n_inputs = 1,
                          .n_results = 1,
                          .inputs = &input,
                          .results = &result,
                          .n_threads = e->n_threads };
    ebb_step step = { .node = id, .is_copy = true };
    bool is_dense;
    ebb_status status = make_kernel(l, &region, NULL, &step.kernel, &step.backend, &is_dense);
    if (status == EBB_UNSUPPORTED) { /* the list is the user's own, or dense only */
        step.backend = &ebb_backend_native;
        status = step.backend->compile(step.backend, &region, &l->env, &step.kernel);
    }
    if (status) {
        char text[EBB_NODE_TEXT_BYTES];
        ebb_error why = e->error;
        return ebb_fail(&e->error, status, "compile: cannot copy %s: %.150s",
                        ebb_node_text(ebb_graph_node(e->graph, id), text), why.message);
    }
    ebb_argument argument = argument_of(l, id);
    return add_step(l, step, &region, &argument, buffer);
}

/* The buffer of a dense copy of a value that is a view; one copy serves all. */
static ebb_status dense_copy(lowering *l, uint32_t id, uint32_t *buffer)
{
    *buffer = view_of(l, l->values[id])->dense;
    if (*buffer != EBB_NO_BUFFER)
        return EBB_OK;
    ebb_status status = copy_value(l, id, buffer);
    if (!status)
        view_of(l, l->values[id])->dense = *buffer;
    return status;
}

/* ---- nodes ---- */

/* The node as a layout in its input's buffer; *is_view false: the rule cannot, not even for a dense
 * input. */
static ebb_status lower_view(lowering *l, ebb_node node, bool *is_view)
{
    ebb_executable *e = l->e;
    const ebb_op *op = ebb_node_op(node);
    const ebb_type *type = ebb_node_type(node);
    uint32_t input = ebb_node_input_ids(node)[0], buffer = l->values[input].buffer;
    ebb_operand operand = operand_of(l, input);
    ebb_layout layout = { .offset = 0 };
    ebb_view rule = { .op = op,
                      .attrs = ebb_node_attrs(node),
                      .input = &operand.type->shape,
                      .result = &type->shape,
                      .input_layout = &operand.layout,
                      .result_layout = &layout };
    *is_view = op->view(&rule);
    if (!*is_view && l->values[input].view) {
        ebb_status status = dense_copy(l, input, &buffer);
        if (status)
            return status;
        operand.layout = ebb_layout_dense(&operand.type->shape);
        *is_view = op->view(&rule);
    }
    if (!*is_view)
        return EBB_OK;
    l->values[node.id] = (value){ .buffer = buffer };
    e->stats.n_views++;
    bool is_whole = layout.offset == 0 && ebb_layout_is_dense(&layout, &type->shape) &&
                    ebb_type_bytes(type) == ebb_executable_buffers(e)[buffer].bytes;
    if (is_whole)
        return EBB_OK;
    view *added = ebb_list_add(&l->views, e->allocator, sizeof *added, 1);
    if (!added)
        return out_of_memory(e);
    *added = (view){ .layout = layout, .dense = EBB_NO_BUFFER };
    l->values[node.id].view = (uint32_t)l->views.n;
    return EBB_OK;
}

static ebb_status fail_unsupported(lowering *l, ebb_node node)
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
                    ebb_node_op(node)->name, ebb_node_text(node, text), types, file ? file : "?",
                    line, why.message[0] ? ": " : "", why.message);
}

/* The inputs of a node as arguments; those that are not dense by way of copies if `is_dense`. */
static ebb_status fill_arguments(lowering *l, ebb_node node, bool is_dense,
                                 const ebb_operand *operands, ebb_argument *arguments)
{
    const uint32_t *ids = ebb_node_input_ids(node);
    for (int i = 0; i < ebb_node_n_inputs(node); i++) {
        if (!is_dense || operand_is_dense(&operands[i])) {
            arguments[i] = argument_of(l, ids[i]);
            continue;
        }
        arguments[i] = (ebb_argument){ .is_whole = true };
        ebb_status status = dense_copy(l, ids[i], &arguments[i].buffer);
        if (status)
            return status;
    }
    return EBB_OK;
}

/* Fills operands[0..n) with the inputs as they are and operands[n..2n) with dense ones; returns
 * whether they differ. */
static bool fill_operands(lowering *l, ebb_node node)
{
    int n = ebb_node_n_inputs(node);
    const uint32_t *ids = ebb_node_input_ids(node);
    bool is_strided = false;
    for (int i = 0; i < n; i++) {
        l->operands[i] = operand_of(l, ids[i]);
        l->operands[n + i] = l->operands[i];
        if (l->values[ids[i]].view && !operand_is_dense(&l->operands[i])) {
            l->operands[n + i] = dense_operand(l->operands[i].type);
            is_strided = true;
        }
    }
    return is_strided;
}

static ebb_region region_of(const lowering *l, ebb_node node, ebb_operand results[EBB_MAX_RESULTS])
{
    const ebb_op *op = ebb_node_op(node);
    for (int r = 0; r < op->n_results; r++)
        results[r] =
            dense_operand(ebb_node_type(ebb_graph_node(node.graph, node.id + (uint32_t)r)));
    return (ebb_region){ .op = op,
                         .attrs = ebb_node_attrs(node),
                         .n_inputs = ebb_node_n_inputs(node),
                         .n_results = op->n_results,
                         .inputs = l->operands,
                         .results = results,
                         .n_threads = l->e->n_threads };
}

/* *is_refused: nobody takes the node, but it can be decomposed. It gets buffers all the same, so
 * that lowering can go on and find the other ones. */
static ebb_status lower_op(lowering *l, ebb_node node, bool *is_refused)
{
    ebb_executable *e = l->e;
    const ebb_op *op = ebb_node_op(node);
    ebb_operand results[EBB_MAX_RESULTS];
    bool is_strided = fill_operands(l, node), is_dense = false;
    ebb_region region = region_of(l, node, results);
    ebb_step step = { .node = node.id };
    uint32_t first = 0;
    ebb_status status = make_kernel(l, &region, is_strided ? l->operands + region.n_inputs : NULL,
                                    &step.kernel, &step.backend, &is_dense);
    *is_refused = status == EBB_UNSUPPORTED && op->decompose;
    if (*is_refused) {
        status = EBB_OK;
        for (int r = 0; r < op->n_results && !status; r++) {
            uint32_t buffer = EBB_NO_BUFFER;
            status = add_buffer(e, EBB_BUFFER_ARENA, 0, results[r].type, &buffer);
            first = r ? first : buffer;
        }
    } else if (status == EBB_UNSUPPORTED) {
        return fail_unsupported(l, node);
    } else if (status) {
        char text[EBB_NODE_TEXT_BYTES];
        ebb_error why = e->error;
        return ebb_fail(&e->error, status, "%s: compiling %s: %.200s", op->name,
                        ebb_node_text(node, text),
                        why.message[0] ? why.message : ebb_status_text(status));
    } else {
        if (is_dense)
            region.inputs = l->operands + region.n_inputs;
        ebb_argument few[8], *arguments = few;
        size_t bytes = (size_t)region.n_inputs * sizeof *arguments;
        if (region.n_inputs > 8 && !(arguments = ebb_allocate(e->allocator, bytes))) {
            status = out_of_memory(e);
            destroy_kernel(&step.kernel);
        } else if ((status = fill_arguments(l, node, is_dense, l->operands, arguments))) {
            destroy_kernel(&step.kernel);
        } else {
            status = add_step(l, step, &region, arguments, &first);
        }
        if (arguments != few)
            ebb_release(e->allocator, arguments, bytes);
    }
    for (int r = 0; r < op->n_results && !status; r++)
        l->values[node.id + (uint32_t)r] = (value){ .buffer = first + (uint32_t)r };
    return status;
}

static ebb_status add_source(lowering *l, uint32_t id, ebb_buffer_kind kind, size_t index,
                             bool is_steady, uint32_t *place)
{
    const ebb_type *type = ebb_node_type(ebb_graph_node(l->e->graph, id));
    ebb_status status = add_buffer(l->e, kind, index, type, place);
    if (status)
        return status;
    ebb_executable_buffers(l->e)[*place].is_steady = is_steady;
    l->values[id] = (value){ .buffer = *place };
    return EBB_OK;
}

static ebb_status lower_sources(lowering *l, const uint8_t *live)
{
    ebb_executable *e = l->e;
    ebb_status status = EBB_OK;
    for (size_t i = 0; i < e->n_inputs && !status; i++) {
        if (e->inputs[i].node)
            status =
                add_source(l, e->inputs[i].node, EBB_BUFFER_INPUT, i, false, &e->inputs[i].buffer);
    }
    for (size_t i = 0; i < e->n_variables && !status; i++)
        status = add_source(l, e->variables[i].node, EBB_BUFFER_VARIABLE, i, !e->variables[i].value,
                            &e->variables[i].buffer);
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(e->graph) && !status; id++) {
        uint32_t buffer = EBB_NO_BUFFER;
        if (live[id] && ebb_node_op(ebb_graph_node(e->graph, id)) == &ebb_op_constant)
            status = add_source(l, id, EBB_BUFFER_CONSTANT, id, true, &buffer);
    }
    return status;
}

static ebb_status lower_nodes(lowering *l, const uint8_t *live, uint8_t *refused,
                              int64_t *n_refused)
{
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(l->e->graph); id++) {
        ebb_node node = ebb_graph_node(l->e->graph, id);
        const ebb_op *op = ebb_node_op(node);
        if (!live[id] || op == &ebb_op_result || l->values[id].buffer != EBB_NO_BUFFER)
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
static ebb_status lower_outputs(lowering *l)
{
    ebb_executable *e = l->e;
    for (size_t i = 0; i < e->n_fetches; i++) {
        ebb_fetch_slot *fetch = &e->fetches[i];
        ebb_operand operand = operand_of(l, fetch->node);
        const view *seen = view_of(l, l->values[fetch->node]);
        fetch->type = operand.type;
        fetch->source = argument_of(l, fetch->node);
        if (seen && seen->dense != EBB_NO_BUFFER) {
            fetch->source = (ebb_argument){ .buffer = seen->dense, .is_whole = true };
        } else if (!operand_is_dense(&operand)) {
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
        value v = l->values[id];
        uint32_t buffer = v.buffer;
        ebb_status status = EBB_OK;
        if (v.view)
            status = dense_copy(l, id, &buffer);
        else if (ebb_executable_buffers(e)[v.buffer].kind != EBB_BUFFER_ARENA)
            status = copy_value(l, id, &buffer);
        if (status)
            return status;
        e->moves[e->n_moves++] = (ebb_move){ .buffer = buffer, .variable = (uint32_t)i };
    }
    return EBB_OK;
}

/* ---- all ---- */

static ebb_status start_lowering(lowering *l, ebb_executable *e)
{
    *l = (lowering){ .e = e };
    l->env = (ebb_compile_env){
        .allocate = allocate_state, .context = e, .log = e->log, .error = &e->error
    };
    uint32_t n = ebb_graph_n_nodes(e->graph);
    for (uint32_t id = 1; id <= n; id++) {
        size_t n_inputs = (size_t)ebb_node_n_inputs(ebb_graph_node(e->graph, id));
        if (n_inputs > l->most_inputs)
            l->most_inputs = n_inputs;
    }
    l->values = ebb_allocate(e->allocator, ((size_t)n + 1) * sizeof *l->values);
    l->operands = ebb_allocate(e->allocator, 2 * l->most_inputs * sizeof *l->operands);
    if (!l->values || !l->operands)
        return out_of_memory(e);
    for (uint32_t id = 0; id <= n; id++)
        l->values[id] = no_value;
    return EBB_OK;
}

static void finish_lowering(lowering *l)
{
    const ebb_allocator *a = l->e->allocator;
    ebb_list_finish(&l->views, a, sizeof(view));
    ebb_release(a, l->operands, 2 * l->most_inputs * sizeof *l->operands);
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
    return has_room ? EBB_OK : out_of_memory(e);
}

ebb_status ebb_executable_lower(ebb_executable *e, const uint8_t *live, uint8_t *refused,
                                int64_t *n_refused)
{
    lowering l;
    *n_refused = 0;
    ebb_status status = start_lowering(&l, e);
    if (!status)
        status = reserve_lists(e, live);
    if (!status)
        status = lower_sources(&l, live);
    if (!status)
        status = lower_nodes(&l, live, refused, n_refused);
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

int64_t ebb_executable_find_library(ebb_executable *e, const uint8_t *live, uint8_t *replace)
{
    int64_t n_found = 0;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(e->graph); id++) {
        ebb_node node = ebb_graph_node(e->graph, id);
        const ebb_op *op = ebb_node_op(node);
        int n = ebb_node_n_inputs(node);
        if (!live[id] || !op->decompose || n > 16)
            continue;
        ebb_operand inputs[16], results[EBB_MAX_RESULTS];
        for (int i = 0; i < n; i++)
            inputs[i] = dense_operand(ebb_node_type(ebb_node_input(node, i)));
        lowering l = { .e = e, .operands = inputs };
        ebb_region region = region_of(&l, node, results);
        bool is_taken = false;
        for (int b = 0; b < e->n_backends && !is_taken; b++)
            is_taken = e->backends[b]->score(e->backends[b], &region) > EBB_SCORE_NONE;
        replace[id] = !is_taken;
        n_found += !is_taken;
    }
    return n_found;
}
