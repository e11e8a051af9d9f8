/* Memory for everything that runs, and the pointers of all steps. */
#include "ops/descriptors.h"
#include "runtime/plan.h"
#include "runtime/runtime.h"

#include <string.h>

static ebb_status out_of_memory(ebb_executable *e, const char *what, size_t bytes)
{
    return ebb_fail(&e->error, EBB_OUT_OF_MEMORY, "compile: out of memory for %s (%zu bytes)", what,
                    bytes);
}

/* Adds the bytes of a block, rounded up to whole units of EBB_ALIGNMENT; returns where it starts.
 */
static bool add_block(size_t *total, size_t bytes, size_t *start)
{
    size_t rounded;
    *start = *total;
    return !__builtin_add_overflow(bytes, (size_t)EBB_ALIGNMENT - 1, &rounded) &&
           !__builtin_add_overflow(*total, rounded / EBB_ALIGNMENT * EBB_ALIGNMENT, total);
}

/* ---- intermediate values ---- */

typedef struct planning {
    ebb_executable *e;
    ebb_interval *intervals; /* one for each planned buffer */
    size_t *offsets;
    uint32_t *buffers;    /* buffer of each interval */
    int64_t *interval_of; /* by buffer; -1: none */
    int64_t n;
} planning;

/* Lifetimes as positions in the order of running. */
static void find_lifetimes(planning *p)
{
    ebb_executable *e = p->e;
    const ebb_buffer *buffers = ebb_executable_buffers(e);
    for (size_t b = 0; b < e->buffers.n; b++)
        p->interval_of[b] = -1;
    for (size_t at = 0; at < e->steps.n; at++) {
        const ebb_step *step = &ebb_executable_steps(e)[e->order[at]];
        const ebb_argument *arguments = ebb_executable_arguments(e) + step->first_argument;
        for (int i = 0; i < step->n_inputs; i++) {
            int64_t k = p->interval_of[arguments[i].buffer];
            if (k >= 0 && p->intervals[k].last < (int64_t)at)
                p->intervals[k].last = (int64_t)at;
        }
        for (int r = 0; r < step->n_results; r++) {
            uint32_t b = arguments[step->n_inputs + r].buffer;
            if (buffers[b].variable >= 0)
                continue;
            int64_t last = buffers[b].is_kept ? (int64_t)e->steps.n : (int64_t)at;
            p->buffers[p->n] = b;
            p->interval_of[b] = p->n;
            p->intervals[p->n++] = (ebb_interval){
                .bytes = buffers[b].bytes, .first = (int64_t)at, .last = last, .inplace = -1
            };
        }
    }
}

/* A result may take over the memory of an input that ends with the step, if no result before it
 * does. */
static void find_inplace_of(planning *p, size_t at, const ebb_step *step, int r)
{
    ebb_executable *e = p->e;
    const ebb_buffer *buffers = ebb_executable_buffers(e);
    const ebb_argument *arguments = ebb_executable_arguments(e) + step->first_argument;
    const uint32_t result = arguments[step->n_inputs + r].buffer;
    if (p->interval_of[result] < 0)
        return;
    for (int i = 0; i < step->n_inputs && i < 32; i++) {
        uint32_t b = arguments[i].buffer;
        int64_t k = p->interval_of[b];
        if (k < 0 || p->intervals[k].last != (int64_t)at ||
            buffers[b].bytes != buffers[result].bytes || !ebb_step_may_overwrite(e, step, r, b))
            continue;
        bool is_taken = false;
        for (int s = 0; s < r && !is_taken; s++) {
            const int64_t other = p->interval_of[arguments[step->n_inputs + s].buffer];
            is_taken = other >= 0 && p->intervals[other].inplace == k;
        }
        if (is_taken)
            continue;
        p->intervals[p->interval_of[result]].inplace = k;
        return;
    }
}

static void find_inplace(planning *p)
{
    const ebb_executable *e = p->e;
    for (size_t at = 0; at < e->steps.n; at++) {
        const ebb_step *step = &ebb_executable_steps(e)[e->order[at]];
        for (int r = 0; r < step->n_results; r++)
            if (r ? step->kernel.inplace_further[r - 1] : step->kernel.inplace_inputs)
                find_inplace_of(p, at, step, r);
    }
}

static ebb_status plan_arena(ebb_executable *e)
{
    const ebb_allocator *a = e->allocator;
    planning p = { .e = e };
    size_t n = e->buffers.n, unplanned = 0, start;
    p.intervals = ebb_allocate(a, n * sizeof *p.intervals);
    p.offsets = ebb_allocate(a, n * sizeof *p.offsets);
    p.buffers = ebb_allocate(a, n * sizeof *p.buffers);
    p.interval_of = ebb_allocate(a, n * sizeof *p.interval_of);
    ebb_status status = EBB_OUT_OF_MEMORY;
    if (p.intervals && p.offsets && p.buffers && p.interval_of) {
        find_lifetimes(&p);
        find_inplace(&p);
        status =
            ebb_plan_memory(p.intervals, p.n, EBB_PLAN_AUTO, a, p.offsets, &e->stats.arena_bytes);
    }
    if (!status && !(e->arena_block = ebb_allocate(a, e->stats.arena_bytes)))
        status = EBB_OUT_OF_MEMORY;
    for (int64_t k = 0; k < p.n && !status; k++) {
        ebb_buffer *buffer = &ebb_executable_buffers(e)[p.buffers[k]];
        buffer->memory = (char *)e->arena_block + p.offsets[k];
        if (!add_block(&unplanned, buffer->bytes, &start))
            status = EBB_OUT_OF_MEMORY;
    }
    e->stats.unplanned_bytes = unplanned;
    ebb_release(a, p.interval_of, n * sizeof *p.interval_of);
    ebb_release(a, p.buffers, n * sizeof *p.buffers);
    ebb_release(a, p.offsets, n * sizeof *p.offsets);
    ebb_release(a, p.intervals, n * sizeof *p.intervals);
    return status ? out_of_memory(e, "intermediate values", e->stats.arena_bytes) : EBB_OK;
}

/* ---- sources ---- */

static ebb_status fill_constants(ebb_executable *e)
{
    ebb_buffer *buffers = ebb_executable_buffers(e);
    size_t total = 0, start;
    for (size_t b = 0; b < e->buffers.n; b++) {
        if (buffers[b].kind == EBB_BUFFER_CONSTANT && !add_block(&total, buffers[b].bytes, &start))
            return out_of_memory(e, "constants", SIZE_MAX);
    }
    if (!(e->constant_block = ebb_allocate(e->allocator, total)))
        return out_of_memory(e, "constants", total);
    e->stats.constant_bytes = total;
    total = 0;
    for (size_t b = 0; b < e->buffers.n; b++) {
        if (buffers[b].kind != EBB_BUFFER_CONSTANT)
            continue;
        const ebb_constant_attrs *attrs =
            ebb_node_attrs(ebb_graph_node(e->graph, buffers[b].index));
        add_block(&total, buffers[b].bytes, &start);
        buffers[b].memory = (char *)e->constant_block + start;
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

static ebb_status allocate_scratch(ebb_executable *e)
{
    size_t most = 0;
    for (size_t s = 0; s < e->steps.n; s++) {
        size_t bytes = ebb_executable_steps(e)[s].kernel.scratch_bytes;
        if (bytes > most)
            most = bytes;
    }
    if (!(e->scratch_block = ebb_allocate(e->allocator, most)))
        return out_of_memory(e, "scratch memory", most);
    e->stats.scratch_bytes = most;
    return EBB_OK;
}

static ebb_status allocate_packed(ebb_executable *e)
{
    const ebb_step *steps = ebb_executable_steps(e);
    size_t total = 0, start, n = 0;
    for (size_t s = 0; s < e->steps.n; s++) {
        if (!steps[s].kernel.packed_bytes)
            continue;
        n++;
        if (!add_block(&total, steps[s].kernel.packed_bytes, &start))
            return out_of_memory(e, "packed values", SIZE_MAX);
    }
    if (!n)
        return EBB_OK;
    e->packings = ebb_allocate(e->allocator, n * sizeof *e->packings);
    e->packed_block = ebb_allocate(e->allocator, total);
    if (e->packings)
        e->n_packings = n;
    if (e->packed_block)
        e->stats.packed_bytes = total;
    if (!e->packings || !e->packed_block)
        return out_of_memory(e, "packed values", total);
    total = n = 0;
    for (size_t s = 0; s < e->steps.n; s++) {
        const ebb_kernel *kernel = &steps[s].kernel;
        if (!kernel->packed_bytes)
            continue;
        add_block(&total, kernel->packed_bytes, &start);
        const ebb_argument *argument =
            ebb_executable_arguments(e) + steps[s].first_argument + kernel->packed_input;
        const ebb_buffer *buffer = &ebb_executable_buffers(e)[argument->buffer];
        bool is_variable = buffer->kind == EBB_BUFFER_VARIABLE;
        e->packings[n++] = (ebb_packing){
            .step = (uint32_t)s,
            .entry = is_variable ? e->variables[buffer->index].entry : NULL,
            .source = (const char *)buffer->memory + argument->offset_bytes,
            .block = (char *)e->packed_block + start,
        };
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
                                             .scratch = e->scratch_block,
                                             .error = &e->error } };
    }
    return EBB_OK;
}

ebb_status ebb_executable_bind(ebb_executable *e)
{
    ebb_status status = plan_arena(e);
    if (!status)
        status = fill_constants(e);
    if (!status) {
        place_variables(e);
        status = allocate_scratch(e);
    }
    if (!status)
        status = allocate_packed(e);
    if (!status)
        status = fill_pointers(e);
    if (!status)
        status = list_patches(e);
    return status;
}
