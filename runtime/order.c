/* The order of steps, and where new values of variables are computed.
 *
 * First the head: steps in the order of the nodes. Then the tail, which cannot fail: steps that
 * write straight into variables, and what depends on those. So a failure leaves all variables as
 * they were, and steps of the head that read a variable see its old value. New values that are not
 * computed in place are moved into their variables at the very end. */
#include "runtime/runtime.h"

#include <string.h>

typedef struct ordering {
    ebb_executable *e;
    uint8_t *may_wait; /* by step: it and all that depends on it cannot fail, so it may stand in the
                          tail */
    uint8_t *readers_may; /* by buffer: all steps that read it may wait */
    uint8_t *is_tail; /* by step; while updates are placed: it computes one, or depends on one */
    int64_t *last_reader; /* by variable: the last step in the tail that may read it; -1: none */
} ordering;

static const ebb_argument *arguments_of(const ebb_executable *e, const ebb_step *step)
{
    return ebb_executable_arguments(e) + step->first_argument;
}

static bool has_tail_input(const ordering *o, const ebb_step *step)
{
    const ebb_argument *arguments = arguments_of(o->e, step);
    for (int i = 0; i < step->n_inputs; i++) {
        const ebb_buffer *buffer = &ebb_executable_buffers(o->e)[arguments[i].buffer];
        if (buffer->kind == EBB_BUFFER_ARENA && o->is_tail[buffer->index])
            return true;
    }
    return false;
}

/* All other steps will stand in the head whatever is decided. */
static void find_candidates(ordering *o)
{
    const ebb_executable *e = o->e;
    memset(o->is_tail, 0, e->steps.n);
    for (size_t i = 0; i < e->n_moves; i++)
        o->is_tail[ebb_executable_buffers(e)[e->moves[i].buffer].index] = 1;
    for (size_t s = 0; s < e->steps.n; s++)
        o->is_tail[s] |= has_tail_input(o, &ebb_executable_steps(e)[s]);
}

/* From the last step to the first: readers come before those they read. */
static void find_who_may_wait(ordering *o)
{
    const ebb_executable *e = o->e;
    const ebb_buffer *buffers = ebb_executable_buffers(e);
    memset(o->readers_may, 1, e->buffers.n);
    for (size_t i = 0; i < e->n_variables; i++)
        o->last_reader[i] = -1;
    for (size_t s = e->steps.n; s-- > 0;) {
        const ebb_step *step = &ebb_executable_steps(e)[s];
        const ebb_argument *arguments = arguments_of(e, step);
        bool may = step->kernel.never_fails;
        for (int r = 0; r < step->n_results; r++)
            may = may && o->readers_may[arguments[step->n_inputs + r].buffer];
        o->may_wait[s] = may;
        for (int i = 0; i < step->n_inputs; i++) {
            const ebb_buffer *buffer = &buffers[arguments[i].buffer];
            o->readers_may[arguments[i].buffer] &= may;
            if (may && o->is_tail[s] && buffer->kind == EBB_BUFFER_VARIABLE &&
                o->last_reader[buffer->index] < 0)
                o->last_reader[buffer->index] = (int64_t)s;
        }
    }
}

bool ebb_step_may_overwrite(const ebb_executable *e, const ebb_step *step, int result,
                            uint32_t buffer)
{
    const ebb_argument *arguments = arguments_of(e, step);
    const unsigned allowed =
        result ? step->kernel.inplace_further[result - 1] : step->kernel.inplace_inputs;
    for (int i = 0; i < step->n_inputs; i++) {
        if (arguments[i].buffer == buffer &&
            !(arguments[i].is_whole && i < 32 && (allowed >> i & 1)))
            return false;
    }
    return true;
}

/* May the value in `buffer` be computed right in the variable's memory? */
static bool may_write(const ordering *o, uint32_t buffer, uint32_t variable)
{
    const ebb_executable *e = o->e;
    const ebb_buffer *value = &ebb_executable_buffers(e)[buffer];
    const ebb_step *step = &ebb_executable_steps(e)[value->index];
    int64_t last = o->last_reader[variable];
    if (!o->may_wait[value->index] || value->variable >= 0 || last > (int64_t)value->index)
        return false;
    if (last < (int64_t)value->index)
        return true;
    int result = 0;
    while (arguments_of(e, step)[step->n_inputs + result].buffer != buffer)
        result++;
    return ebb_step_may_overwrite(e, step, result, e->variables[variable].buffer);
}

/* Moves that are left are those whose value needs a place of its own. */
static void place_updates(ordering *o)
{
    ebb_executable *e = o->e;
    ebb_buffer *buffers = ebb_executable_buffers(e);
    size_t n_left = 0;
    for (size_t i = 0; i < e->n_moves; i++) {
        ebb_move move = e->moves[i];
        if (may_write(o, move.buffer, move.variable)) {
            buffers[move.buffer].variable = (int32_t)move.variable;
        } else {
            buffers[move.buffer].is_kept = true;
            e->moves[n_left++] = move;
        }
    }
    e->n_moves = n_left;
}

static void split_steps(ordering *o)
{
    ebb_executable *e = o->e;
    const ebb_buffer *buffers = ebb_executable_buffers(e);
    size_t n_head = 0;
    for (size_t s = 0; s < e->steps.n; s++) {
        const ebb_step *step = &ebb_executable_steps(e)[s];
        const ebb_argument *arguments = arguments_of(e, step);
        bool tail = has_tail_input(o, step);
        for (int r = 0; r < step->n_results; r++)
            tail = tail || buffers[arguments[step->n_inputs + r].buffer].variable >= 0;
        o->is_tail[s] = tail;
        n_head += !tail;
    }
    e->n_head = n_head;
    size_t head = 0, tail = n_head;
    for (size_t s = 0; s < e->steps.n; s++)
        e->order[o->is_tail[s] ? tail++ : head++] = (uint32_t)s;
}

ebb_status ebb_executable_order(ebb_executable *e)
{
    const ebb_allocator *a = e->allocator;
    ordering o = { .e = e };
    o.may_wait = ebb_allocate(a, e->steps.n);
    o.is_tail = ebb_allocate(a, e->steps.n);
    o.readers_may = ebb_allocate(a, e->buffers.n);
    o.last_reader = ebb_allocate(a, e->n_variables * sizeof *o.last_reader);
    e->order = ebb_allocate(a, e->steps.n * sizeof *e->order);
    ebb_status status = EBB_OK;
    if (!o.may_wait || !o.is_tail || !o.readers_may || !o.last_reader || !e->order) {
        status = ebb_fail(&e->error, EBB_OUT_OF_MEMORY,
                          "compile: out of memory for the order of %zu steps", e->steps.n);
    } else {
        find_candidates(&o);
        find_who_may_wait(&o);
        place_updates(&o);
        split_steps(&o);
    }
    ebb_release(a, o.last_reader, e->n_variables * sizeof *o.last_reader);
    ebb_release(a, o.readers_may, e->buffers.n);
    ebb_release(a, o.is_tail, e->steps.n);
    ebb_release(a, o.may_wait, e->steps.n);
    return status;
}
