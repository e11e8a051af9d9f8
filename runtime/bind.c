/* Memory for everything that runs, and the pointers of all steps. */
#include "ops/descriptors.h"
#include "runtime/runtime.h"

#include <string.h>

static ebb_status out_of_memory(ebb_executable *e, const char *what, size_t bytes)
{
    return ebb_fail(&e->error, EBB_OUT_OF_MEMORY, "compile: out of memory for %s (%zu bytes)", what,
                    bytes);
}

/* ---- intermediate values ---- */

static ebb_status allocate_arena(ebb_executable *e)
{
    if (!(e->arena_block = ebb_allocate(e->allocator, e->stats.arena_bytes)))
        return out_of_memory(e, "intermediate values", e->stats.arena_bytes);
    ebb_buffer *buffers = ebb_executable_buffers(e);
    for (size_t b = 0; b < e->buffers.n; b++) {
        if (buffers[b].kind == EBB_BUFFER_ARENA && buffers[b].variable < 0 &&
            !buffers[b].is_left_out)
            buffers[b].memory = (char *)e->arena_block + buffers[b].offset;
    }
    return EBB_OK;
}

/* ---- sources ---- */

static ebb_status fill_constants(ebb_executable *e)
{
    ebb_buffer *buffers = ebb_executable_buffers(e);
    if (!(e->constant_block = ebb_allocate(e->allocator, e->stats.constant_bytes)))
        return out_of_memory(e, "constants", e->stats.constant_bytes);
    for (size_t b = 0; b < e->buffers.n; b++) {
        if (buffers[b].kind != EBB_BUFFER_CONSTANT)
            continue;
        const ebb_constant_attrs *attrs =
            ebb_node_attrs(ebb_graph_node(e->graph, buffers[b].index));
        buffers[b].memory = (char *)e->constant_block + buffers[b].offset;
        if (buffers[b].bytes)
            memcpy(buffers[b].memory, attrs->data, buffers[b].bytes);
    }
    return EBB_OK;
}

static void place_variables(ebb_executable *e)
{
    ebb_buffer *buffers = ebb_executable_buffers(e);
    for (size_t b = 0; b < e->buffers.n; b++) {
        if (buffers[b].kind == EBB_BUFFER_VARIABLE)
            buffers[b].memory = e->variables[buffers[b].index].entry->data;
        else if (buffers[b].variable >= 0)
            buffers[b].memory = e->variables[buffers[b].variable].entry->data;
    }
}

/* ---- what steps need beside their values ---- */

static ebb_status allocate_packed(ebb_executable *e)
{
    if (!e->n_packings)
        return EBB_OK;
    if (!(e->packed_block = ebb_allocate(e->allocator, e->stats.packed_bytes)))
        return out_of_memory(e, "packed values", e->stats.packed_bytes);
    for (size_t i = 0; i < e->n_packings; i++) {
        ebb_packing *packing = &e->packings[i];
        const ebb_step *step = &ebb_executable_steps(e)[packing->step];
        const ebb_argument *argument =
            ebb_executable_arguments(e) + step->first_argument + step->kernel.packed_input;
        const ebb_buffer *buffer = &ebb_executable_buffers(e)[argument->buffer];
        if (buffer->kind == EBB_BUFFER_VARIABLE)
            packing->entry = e->variables[buffer->index].entry;
        packing->source = (const char *)buffer->memory + argument->offset_bytes;
        packing->block = (char *)e->packed_block + packing->offset;
    }
    return EBB_OK;
}

ebb_status ebb_executable_pack(ebb_executable *e)
{
    for (size_t i = 0; i < e->n_packings; i++) {
        ebb_packing *packing = &e->packings[i];
        uint64_t version = packing->entry ? packing->entry->version : 1;
        if (packing->version == version)
            continue;
        const ebb_step *step = &ebb_executable_steps(e)[packing->step];
        ebb_status status = step->kernel.pack(step->kernel.state, packing->source, packing->block);
        if (status) {
            packing->version = 0;
            char text[EBB_NODE_TEXT_BYTES];
            return ebb_fail(&e->error, status, "%s: backend %s cannot pack input %d",
                            ebb_node_text(ebb_graph_node(e->graph, step->node), text),
                            step->backend->name, step->kernel.packed_input);
        }
        packing->version = version;
    }
    return EBB_OK;
}

/* ---- pointers ---- */

/* Feeds' places: counted first, then listed input by input. */
static ebb_status list_patches(ebb_executable *e)
{
    const ebb_buffer *buffers = ebb_executable_buffers(e);
    const ebb_argument *arguments = ebb_executable_arguments(e);
    size_t n = 0;
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t k = 0; k < e->n_pointers; k++) {
            const ebb_argument *argument =
                k < e->arguments.n ? &arguments[k] : &e->fetches[k - e->arguments.n].source;
            const ebb_buffer *buffer = &buffers[argument->buffer];
            if (buffer->kind != EBB_BUFFER_INPUT)
                continue;
            ebb_input_slot *input = &e->inputs[buffer->index];
            if (pass == 1)
                e->patches[input->first_patch + input->n_patches] =
                    (ebb_patch){ .argument = k, .offset_bytes = argument->offset_bytes };
            input->n_patches++;
        }
        for (size_t i = 0; i < e->n_inputs && pass == 0; i++) {
            e->inputs[i].first_patch = n;
            n += e->inputs[i].n_patches;
            e->inputs[i].n_patches = 0;
        }
        if (pass == 0) {
            if (!(e->patches = ebb_allocate(e->allocator, n * sizeof *e->patches)))
                return out_of_memory(e, "feeds", n * sizeof *e->patches);
            e->n_patches = n;
        }
    }
    return EBB_OK;
}

static ebb_status fill_pointers(ebb_executable *e)
{
    const ebb_buffer *buffers = ebb_executable_buffers(e);
    const ebb_argument *arguments = ebb_executable_arguments(e);
    e->n_pointers = e->arguments.n + e->n_fetches;
    e->pointers = ebb_allocate(e->allocator, e->n_pointers * sizeof *e->pointers);
    e->tasks = ebb_allocate(e->allocator, e->steps.n * sizeof *e->tasks);
    if (!e->pointers || !e->tasks)
        return out_of_memory(e, "pointers", e->n_pointers * sizeof *e->pointers);
    for (size_t k = 0; k < e->n_pointers; k++) {
        const ebb_argument *argument =
            k < e->arguments.n ? &arguments[k] : &e->fetches[k - e->arguments.n].source;
        void *memory = buffers[argument->buffer].memory;
        e->pointers[k] = memory ? (char *)memory + argument->offset_bytes : NULL;
    }
    for (size_t i = 0; i < e->n_packings; i++) {
        const ebb_step *step = &ebb_executable_steps(e)[e->packings[i].step];
        e->pointers[step->first_argument + (size_t)step->kernel.packed_input] =
            e->packings[i].block;
    }
    for (size_t at = 0; at < e->steps.n; at++) {
        const ebb_step *step = &ebb_executable_steps(e)[e->order[at]];
        void **inputs = e->pointers + step->first_argument;
        e->tasks[at] = (ebb_task){ .run = step->kernel.run,
                                   .call = { .state = step->kernel.state,
                                             .inputs = inputs,
                                             .results = inputs + step->n_inputs,
                                             .scratch = (char *)e->arena_block + step->scratch,
                                             .error = &e->error } };
    }
    return EBB_OK;
}

ebb_status ebb_executable_bind(ebb_executable *e)
{
    ebb_status status = allocate_arena(e);
    if (!status)
        status = fill_constants(e);
    if (!status) {
        place_variables(e);
        status = allocate_packed(e);
    }
    if (!status)
        status = fill_pointers(e);
    if (!status)
        status = list_patches(e);
    return status;
}
