/* The order of steps, and where new values of variables are computed.
 *
 * The head are steps in the order of the nodes; the tail are steps that write straight into
 * variables, and what depends on those. Steps of the tail cannot fail, and none runs before the
 * last step that can: so a failure leaves all variables as they were. A variable is written after
 * all steps that want its old value. Within these bounds each step of the tail runs as early as it
 * can, so that gradients need not be kept. New values that are not computed in place are moved into
 * their variables at the very end. */
#include "runtime/runtime.h"

#include <string.h>

typedef struct ordering {
    ebb_executable *e;
    uint8_t *may_wait; /* by step: it and all that depends on it cannot fail, so it may stand in the
                          tail */
    uint8_t *readers_may; /* by buffer: all steps that read it may wait */
    uint8_t *is_tail; /* by step; while updates are placed: it computes one, or depends on one */
    int64_t *last_reader; /* by variable: the last step in the tail that may read it; -1: none */
    /* Of a step of the head: how many stand up to it; of one of the tail: how many must. */
    size_t *place;
    size_t *read_until; /* by variable: the place of the last step until now that reads it */
    size_t *starts;     /* by place: where its steps begin in the order */
    size_t n_fallible;  /* the place of the last step that may fail */
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

/* May the value in `buffer` be computed right in the variable's memory? Not where steps may be
 * found to give NaN, and the run to have failed. */
static bool may_write(const ordering *o, uint32_t buffer, uint32_t variable)
{
    const ebb_executable *e = o->e;
    const ebb_buffer *value = &ebb_executable_buffers(e)[buffer];
    const ebb_step *step = &ebb_executable_steps(e)[value->index];
    int64_t last = o->last_reader[variable];
    if (e->check_finite || !o->may_wait[value->index] || value->variable >= 0 ||
        last > (int64_t)value->index)
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

/* The place after which a step of the tail may run, as a number of steps of the head. What it needs
 * stands before it in the order of the nodes (may_write sees to that) or in the head. */
static size_t earliest_place(ordering *o, const ebb_step *step)
{
    const ebb_buffer *buffers = ebb_executable_buffers(o->e);
    const ebb_argument *arguments = arguments_of(o->e, step);
    size_t place = o->n_fallible;
    for (int i = 0; i < step->n_inputs; i++) {
        const ebb_buffer *buffer = &buffers[arguments[i].buffer];
        if (buffer->kind == EBB_BUFFER_ARENA && o->place[buffer->index] > place)
            place = o->place[buffer->index];
    }
    for (int r = 0; r < step->n_results; r++) {
        const int32_t variable = buffers[arguments[step->n_inputs + r].buffer].variable;
        if (variable >= 0 && o->read_until[variable] > place)
            place = o->read_until[variable];
    }
    return place;
}

static void note_reads(ordering *o, const ebb_step *step, size_t place)
{
    const ebb_argument *arguments = arguments_of(o->e, step);
    for (int i = 0; i < step->n_inputs; i++) {
        const ebb_buffer *buffer = &ebb_executable_buffers(o->e)[arguments[i].buffer];
        if (buffer->kind == EBB_BUFFER_VARIABLE && o->read_until[buffer->index] < place)
            o->read_until[buffer->index] = place;
    }
}

/* The head first, since it may stand behind steps of the tail only by number. */
static void find_places(ordering *o)
{
    ebb_executable *e = o->e;
    const ebb_buffer *buffers = ebb_executable_buffers(e);
    size_t n_head = 0;
    memset(o->read_until, 0, e->n_variables * sizeof *o->read_until);
    for (size_t s = 0; s < e->steps.n; s++) {
        const ebb_step *step = &ebb_executable_steps(e)[s];
        const ebb_argument *arguments = arguments_of(e, step);
        bool tail = has_tail_input(o, step);
        for (int r = 0; r < step->n_results; r++)
            tail = tail || buffers[arguments[step->n_inputs + r].buffer].variable >= 0;
        o->is_tail[s] = tail;
        if (tail)
            continue;
        o->place[s] = ++n_head;
        note_reads(o, step, n_head);
        if (!step->kernel.never_fails)
            o->n_fallible = n_head;
    }
    for (size_t s = 0; s < e->steps.n; s++) {
        const ebb_step *step = &ebb_executable_steps(e)[s];
        if (!o->is_tail[s])
            continue;
        o->place[s] = earliest_place(o, step);
        note_reads(o, step, o->place[s]);
    }
}

/* By place, a step of the head before those of the tail that may follow it; else as they are. */
static void sort_steps(ordering *o)
{
    ebb_executable *e = o->e;
    const size_t n = e->steps.n;
    memset(o->starts, 0, (n + 2) * sizeof *o->starts);
    for (size_t s = 0; s < n; s++)
        o->starts[o->place[s] + 1]++;
    for (size_t i = 0; i <= n; i++)
        o->starts[i + 1] += o->starts[i];
    for (int tail = 0; tail < 2; tail++)
        for (size_t s = 0; s < n; s++)
            if (o->is_tail[s] == tail)
                e->order[o->starts[o->place[s]]++] = (uint32_t)s;
    e->n_head = 0;
    while (e->n_head < n && !o->is_tail[e->order[e->n_head]])
        e->n_head++;
}

ebb_status ebb_executable_order(ebb_executable *e)
{
    const ebb_allocator *a = e->allocator;
    ordering o = { .e = e };
    o.may_wait = ebb_allocate(a, e->steps.n);
    o.is_tail = ebb_allocate(a, e->steps.n);
    o.readers_may = ebb_allocate(a, e->buffers.n);
    o.last_reader = ebb_allocate(a, e->n_variables * sizeof *o.last_reader);
    o.place = ebb_allocate(a, e->steps.n * sizeof *o.place);
    o.read_until = ebb_allocate(a, e->n_variables * sizeof *o.read_until);
    o.starts = ebb_allocate(a, (e->steps.n + 2) * sizeof *o.starts);
    e->order = ebb_allocate(a, e->steps.n * sizeof *e->order);
    ebb_status status = EBB_OK;
    if (!o.may_wait || !o.is_tail || !o.readers_may || !o.last_reader || !o.place ||
        !o.read_until || !o.starts || !e->order) {
        status = ebb_fail(&e->error, EBB_OUT_OF_MEMORY,
                          "compile: out of memory for the order of %zu steps", e->steps.n);
    } else {
        find_candidates(&o);
        find_who_may_wait(&o);
        place_updates(&o);
        find_places(&o);
        sort_steps(&o);
    }
    ebb_release(a, o.starts, (e->steps.n + 2) * sizeof *o.starts);
    ebb_release(a, o.read_until, e->n_variables * sizeof *o.read_until);
    ebb_release(a, o.place, e->steps.n * sizeof *o.place);
    ebb_release(a, o.last_reader, e->n_variables * sizeof *o.last_reader);
    ebb_release(a, o.readers_may, e->buffers.n);
    ebb_release(a, o.is_tail, e->steps.n);
    ebb_release(a, o.may_wait, e->steps.n);
    return status;
}
