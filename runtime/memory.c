/* The memory plan of an executable: what lives when, where it will lie, and what it comes to.
 * Nothing of it is allocated here. */
#include "ops/descriptors.h"
#include "runtime/plan.h"
#include "runtime/runtime.h"

#include <string.h>

/* Smaller scratch memory is one place for all steps, which stays in a core's cache; larger ones
 * share with the values. */
#define SMALL_SCRATCH ((size_t)256 << 10)

static ebb_status out_of_memory(ebb_executable *e, const char *what)
{
    return ebb_fail(&e->error, EBB_OUT_OF_MEMORY,
                    "compile: out of memory for %s of graph \"%.100s\"", what,
                    ebb_graph_name(e->graph));
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

/* ---- the arena ---- */

typedef struct planning {
    ebb_executable *e;
    ebb_interval *intervals; /* values, then large scratch memory, then the small one */
    size_t *offsets;
    uint32_t *owners;     /* buffer or step of each interval */
    int64_t *interval_of; /* by buffer; -1: none */
    int64_t n_values, n;
} planning;

/* Lifetimes as positions in the order of running. */
static void find_lifetimes(planning *p)
{
    ebb_executable *e = p->e;
    ebb_buffer *buffers = ebb_executable_buffers(e);
    for (size_t b = 0; b < e->buffers.n; b++) {
        p->interval_of[b] = -1;
        buffers[b].first = 0;
        buffers[b].last = (int64_t)e->steps.n;
    }
    for (size_t at = 0; at < e->steps.n; at++) {
        const ebb_step *step = &ebb_executable_steps(e)[e->order[at]];
        const ebb_argument *arguments = ebb_executable_arguments(e) + step->first_argument;
        for (int i = 0; i < step->n_inputs; i++) {
            ebb_buffer *buffer = &buffers[arguments[i].buffer];
            if (buffer->last < (int64_t)at)
                buffer->last = (int64_t)at;
        }
        for (int r = 0; r < step->n_results; r++) {
            ebb_buffer *buffer = &buffers[arguments[step->n_inputs + r].buffer];
            buffer->first = (int64_t)at;
            buffer->last =
                buffer->is_kept || buffer->variable >= 0 ? (int64_t)e->steps.n : (int64_t)at;
        }
    }
    for (size_t at = 0; at < e->steps.n; at++) {
        const ebb_step *step = &ebb_executable_steps(e)[e->order[at]];
        const ebb_argument *arguments = ebb_executable_arguments(e) + step->first_argument;
        for (int r = 0; r < step->n_results; r++) {
            const uint32_t b = arguments[step->n_inputs + r].buffer;
            if (buffers[b].variable >= 0)
                continue;
            p->owners[p->n] = b;
            p->interval_of[b] = p->n;
            p->intervals[p->n++] = (ebb_interval){ .bytes = buffers[b].bytes,
                                                   .first = buffers[b].first,
                                                   .last = buffers[b].last,
                                                   .inplace = -1 };
        }
    }
    p->n_values = p->n;
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

static void find_scratch(planning *p)
{
    ebb_executable *e = p->e;
    size_t small = 0;
    for (size_t i = 0; i < e->n_scratches; i++) {
        const uint32_t at = e->scratches[i];
        const size_t bytes = ebb_executable_steps(e)[e->order[at]].kernel.scratch_bytes;
        if (bytes > e->stats.scratch_bytes)
            e->stats.scratch_bytes = bytes;
        if (bytes <= SMALL_SCRATCH) {
            small = bytes > small ? bytes : small;
            continue;
        }
        p->owners[p->n] = e->order[at];
        p->intervals[p->n++] =
            (ebb_interval){ .bytes = bytes, .first = at, .last = at, .inplace = -1 };
    }
    p->intervals[p->n++] =
        (ebb_interval){ .bytes = small, .last = (int64_t)e->steps.n, .inplace = -1 };
}

/* The most bytes that are needed at one step, what is taken over once. `changes`: [steps + 2]. */
static size_t find_live_bytes(const planning *p, size_t *changes)
{
    const size_t n_steps = p->e->steps.n;
    size_t live = 0, most = 0, start;
    memset(changes, 0, (n_steps + 2) * sizeof *changes);
    for (int64_t k = 0; k < p->n; k++) {
        const ebb_interval *i = &p->intervals[k];
        size_t bytes = 0; /* differences wrap around, their sums do not */
        add_block(&bytes, i->bytes, &start);
        changes[i->first + (i->inplace >= 0)] += bytes;
        changes[i->last + 1] -= bytes;
    }
    for (size_t at = 0; at <= n_steps; at++) {
        live += changes[at];
        most = live > most ? live : most;
    }
    return most;
}

static ebb_status place_values(planning *p)
{
    ebb_executable *e = p->e;
    size_t unplanned = 0, start;
    for (int64_t k = 0; k < p->n_values; k++) {
        ebb_buffer *buffer = &ebb_executable_buffers(e)[p->owners[k]];
        buffer->offset = p->offsets[k];
        if (!add_block(&unplanned, buffer->bytes, &start))
            return EBB_OUT_OF_MEMORY;
    }
    e->stats.unplanned_bytes = unplanned;
    for (size_t s = 0; s < e->steps.n; s++)
        ebb_executable_steps(e)[s].scratch = p->offsets[p->n - 1];
    for (int64_t k = p->n_values; k < p->n - 1; k++)
        ebb_executable_steps(e)[p->owners[k]].scratch = p->offsets[k];
    return EBB_OK;
}

static ebb_status list_scratches(ebb_executable *e)
{
    size_t n = 0;
    for (size_t s = 0; s < e->steps.n; s++)
        n += ebb_executable_steps(e)[s].kernel.scratch_bytes > 0;
    if (!(e->scratches = ebb_allocate(e->allocator, n * sizeof *e->scratches)))
        return out_of_memory(e, "the list of scratch memory");
    e->n_scratches = n;
    n = 0;
    for (size_t at = 0; at < e->steps.n; at++) {
        if (ebb_executable_steps(e)[e->order[at]].kernel.scratch_bytes > 0)
            e->scratches[n++] = (uint32_t)at;
    }
    return EBB_OK;
}

static ebb_status plan_arena(ebb_executable *e)
{
    const ebb_allocator *a = e->allocator;
    planning p = { .e = e };
    const size_t n_buffers = e->buffers.n, n = n_buffers + e->n_scratches + 1;
    const size_t n_changes = e->steps.n + 2;
    p.intervals = ebb_allocate(a, n * sizeof *p.intervals);
    p.offsets = ebb_allocate(a, n * sizeof *p.offsets);
    p.owners = ebb_allocate(a, n * sizeof *p.owners);
    p.interval_of = ebb_allocate(a, n_buffers * sizeof *p.interval_of);
    size_t *changes = ebb_allocate(a, n_changes * sizeof *changes);
    ebb_status status = EBB_OUT_OF_MEMORY;
    if (p.intervals && p.offsets && p.owners && p.interval_of && changes) {
        find_lifetimes(&p);
        find_inplace(&p);
        find_scratch(&p);
        e->live_bytes = find_live_bytes(&p, changes);
        status =
            ebb_plan_memory(p.intervals, p.n, EBB_PLAN_AUTO, a, p.offsets, &e->stats.arena_bytes);
    }
    if (!status)
        status = place_values(&p);
    ebb_release(a, changes, n_changes * sizeof *changes);
    ebb_release(a, p.interval_of, n_buffers * sizeof *p.interval_of);
    ebb_release(a, p.owners, n * sizeof *p.owners);
    ebb_release(a, p.offsets, n * sizeof *p.offsets);
    ebb_release(a, p.intervals, n * sizeof *p.intervals);
    return status ? out_of_memory(e, "the intermediate values") : EBB_OK;
}

/* ---- constants, packed values ---- */

static ebb_status plan_constants(ebb_executable *e)
{
    ebb_buffer *buffers = ebb_executable_buffers(e);
    for (size_t b = 0; b < e->buffers.n; b++) {
        if (buffers[b].kind == EBB_BUFFER_CONSTANT &&
            !add_block(&e->stats.constant_bytes, buffers[b].bytes, &buffers[b].offset))
            return out_of_memory(e, "the constants");
    }
    return EBB_OK;
}

static ebb_status plan_packed(ebb_executable *e)
{
    const ebb_step *steps = ebb_executable_steps(e);
    size_t n = 0;
    for (size_t s = 0; s < e->steps.n; s++)
        n += steps[s].kernel.packed_bytes > 0;
    if (!(e->packings = ebb_allocate(e->allocator, n * sizeof *e->packings)))
        return out_of_memory(e, "the list of packed values");
    e->n_packings = n;
    n = 0;
    for (size_t s = 0; s < e->steps.n; s++) {
        if (!steps[s].kernel.packed_bytes)
            continue;
        ebb_packing *packing = &e->packings[n++];
        *packing = (ebb_packing){ .step = (uint32_t)s };
        if (!add_block(&e->stats.packed_bytes, steps[s].kernel.packed_bytes, &packing->offset))
            return out_of_memory(e, "the packed values");
    }
    return EBB_OK;
}

ebb_status ebb_executable_plan(ebb_executable *e)
{
    ebb_status status = list_scratches(e);
    if (!status)
        status = plan_arena(e);
    if (!status)
        status = plan_constants(e);
    if (!status)
        status = plan_packed(e);
    return status;
}

/* ---- telling ---- */

const char *ebb_executable_variable_name(const ebb_executable *e, size_t index)
{
    const ebb_variable_attrs *attrs =
        ebb_node_attrs(ebb_graph_node(e->graph, e->variables[index].node));
    return attrs->name;
}

ebb_memory_plan ebb_executable_memory(const ebb_executable *e)
{
    if (!e)
        return (ebb_memory_plan){ 0 };
    const ebb_executable_stats *s = &e->stats;
    ebb_memory_plan plan = {
        .peak_bytes = s->arena_bytes + s->constant_bytes + s->packed_bytes,
        .arena_bytes = s->arena_bytes,
        .live_bytes = e->live_bytes,
        .scratch_bytes = s->scratch_bytes,
        .constant_bytes = s->constant_bytes,
        .packed_bytes = s->packed_bytes,
        .n_recomputed = e->recompute_cost.n_nodes,
        .more_work =
            e->recompute_cost.n_nodes ? e->recompute_cost.more / e->recompute_cost.work : 0,
        .n_items = (int64_t)(e->buffers.n + e->n_scratches + e->n_packings),
    };
    const ebb_buffer *buffers = ebb_executable_buffers(e);
    for (size_t b = 0; b < e->buffers.n; b++) {
        plan.variable_bytes += buffers[b].kind == EBB_BUFFER_VARIABLE ? buffers[b].bytes : 0;
        plan.input_bytes += buffers[b].kind == EBB_BUFFER_INPUT ? buffers[b].bytes : 0;
    }
    return plan;
}

static void name_after(const ebb_executable *e, uint32_t id, ebb_memory_item *item)
{
    const ebb_node node = ebb_graph_node(e->graph, id);
    item->op = ebb_node_op(ebb_node_first_result(node, NULL))->name;
    item->scope = ebb_node_scope(node);
    item->name = ebb_node_name(node);
}

static void tell_buffer(const ebb_executable *e, uint32_t index, ebb_memory_item *item)
{
    const ebb_buffer *buffer = &ebb_executable_buffers(e)[index];
    *item = (ebb_memory_item){ .type = buffer->type,
                               .bytes = buffer->bytes,
                               .offset_bytes = buffer->offset,
                               .first = buffer->first,
                               .last = buffer->last };
    switch (buffer->kind) {
    case EBB_BUFFER_INPUT:
        item->kind = EBB_MEMORY_INPUT;
        name_after(e, e->inputs[buffer->index].node, item);
        item->scope = "";
        item->name = e->inputs[buffer->index].name;
        break;
    case EBB_BUFFER_VARIABLE:
        item->kind = EBB_MEMORY_VARIABLE;
        name_after(e, e->variables[buffer->index].node, item);
        item->scope = "";
        item->name = ebb_executable_variable_name(e, buffer->index);
        break;
    case EBB_BUFFER_CONSTANT:
        item->kind = EBB_MEMORY_CONSTANT;
        name_after(e, buffer->index, item);
        break;
    case EBB_BUFFER_ARENA: {
        const ebb_step *step = &ebb_executable_steps(e)[buffer->index];
        const ebb_argument *results =
            ebb_executable_arguments(e) + step->first_argument + step->n_inputs;
        item->kind = buffer->variable < 0 ? EBB_MEMORY_VALUE : EBB_MEMORY_UPDATE;
        name_after(e, step->node + (step->is_copy ? 0 : index - results[0].buffer), item);
        if (step->is_copy)
            item->op = "copy";
        break;
    }
    }
}

static void tell_scratch(const ebb_executable *e, uint32_t at, ebb_memory_item *item)
{
    const ebb_step *step = &ebb_executable_steps(e)[e->order[at]];
    *item = (ebb_memory_item){ .kind = EBB_MEMORY_SCRATCH,
                               .bytes = step->kernel.scratch_bytes,
                               .offset_bytes = step->scratch,
                               .first = at,
                               .last = at };
    name_after(e, step->node, item);
}

bool ebb_executable_memory_item(const ebb_executable *e, int64_t index, ebb_memory_item *item)
{
    if (item)
        *item = (ebb_memory_item){ 0 };
    if (!e || !item || index < 0)
        return false;
    size_t at = (size_t)index;
    if (at < e->buffers.n) {
        tell_buffer(e, (uint32_t)at, item);
        return true;
    }
    at -= e->buffers.n;
    if (at < e->n_scratches) {
        tell_scratch(e, e->scratches[at], item);
        return true;
    }
    at -= e->n_scratches;
    if (at >= e->n_packings)
        return false;
    const ebb_packing *packing = &e->packings[at];
    const ebb_step *step = &ebb_executable_steps(e)[packing->step];
    *item = (ebb_memory_item){ .kind = EBB_MEMORY_PACKED,
                               .bytes = step->kernel.packed_bytes,
                               .offset_bytes = packing->offset,
                               .last = (int64_t)e->steps.n };
    name_after(e, step->node, item);
    return true;
}
