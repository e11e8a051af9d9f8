/* Programs of element-wise ops, tile by tile: every instruction is one loop over a tile, values
 * inside lie in slots that stay in the first-level cache, and only inputs and results touch memory.
 * All addresses stand in the instructions themselves; between tiles only those of operands that
 * move are changed. */
#include "backends/native/fused.h"
#include <string.h>

typedef struct fused_run {
    ebb_tile_state *state;
    const ebb_call *call;
} fused_run;

/* Addresses of slots, once for each block of scratch. */
static void bind_slots(const ebb_tile_state *s, ebb_tile_worker *w, char *scratch)
{
    w->scratch = scratch;
    for (int k = 0; k < s->n_instructions; k++) {
        const ebb_tile_place *places = &s->places[k * EBB_TILE_PLACES];
        ebb_tile_step *b = &w->program[k];
        if (places[0].kind == EBB_PLACE_SLOT)
            b->result = scratch + (size_t)places[0].index * s->slot_bytes;
        for (int i = 0; i < EBB_MAX_INSTRUCTION_INPUTS; i++)
            if (places[i + 1].kind == EBB_PLACE_SLOT && places[i + 1].index >= 0)
                b->inputs[i] = scratch + (size_t)places[i + 1].index * s->slot_bytes;
    }
    memset(w->at, 0, sizeof w->at);
}

static void bind_operand(const ebb_tile_state *s, ebb_tile_worker *w, int operand,
                         const void *address)
{
    if (w->at[operand] == address)
        return;
    w->at[operand] = address;
    for (int m = s->first_move[operand]; m < s->first_move[operand + 1]; m++) {
        ebb_tile_step *b = &w->program[s->moves[m].instruction];
        if (s->moves[m].input < 0)
            b->result = (void *)(uintptr_t)address;
        else
            b->inputs[s->moves[m].input] = address;
    }
}

/* Fills the buffers of inputs that are the same for all tiles. */
static void fill_buffers(const ebb_tile_state *s, const ebb_call *call, char *scratch,
                         ebb_cursor *cursors, int64_t begin)
{
    for (int i = 0; i < s->n_inputs; i++) {
        const ebb_tile_input *in = &s->inputs[i];
        const size_t bytes = in->walk.element_bytes, tile_bytes = (size_t)s->tile * bytes;
        if (in->is_counter)
            continue;
        if (in->kind == EBB_OPERAND_SINGLE)
            ebb_row_read(call->inputs[i], 0, s->tile, bytes, scratch + in->buffer);
        else if (in->kind == EBB_OPERAND_PERIODIC)
            ebb_fill_periodic(scratch + in->buffer, tile_bytes + (size_t)in->walk.dims[1] * bytes,
                              call->inputs[i], (size_t)in->walk.dims[1] * bytes);
        else if (in->kind == EBB_OPERAND_WALK)
            cursors[i] = ebb_cursor_at(&in->walk, call->inputs[i], begin);
    }
}

static const void *find_input(const ebb_tile_state *s, const ebb_call *call, int i, char *scratch,
                              ebb_cursor *cursor, int64_t begin, int64_t length)
{
    const ebb_tile_input *in = &s->inputs[i];
    const size_t bytes = in->walk.element_bytes;
    if (in->is_counter)
        return call->inputs[i];
    switch (in->kind) {
    case EBB_OPERAND_DENSE:
        break;
    case EBB_OPERAND_SINGLE:
        return scratch + in->buffer;
    case EBB_OPERAND_PERIODIC:
        return scratch + in->buffer + (size_t)(begin % in->walk.dims[1]) * bytes;
    case EBB_OPERAND_WALK:
        return ebb_cursor_take(cursor, length, scratch + in->buffer);
    }
    const char *data = (const char *)call->inputs[i] + (size_t)begin * bytes;
    if (s->is_streamed)
        ebb_native_prefetch(data, (size_t)length * bytes);
    return data;
}

/* A result that lies on an input is in the caches already. */
static bool is_in_place(const ebb_tile_state *s, const ebb_call *call, int r)
{
    for (int i = 0; i < s->n_inputs; i++)
        if (call->inputs[i] == call->results[r])
            return true;
    return false;
}

/* Elements begin..end-1; the cursors stand at the first one, and behind the last one afterwards. */
static void run_tiles(ebb_tile_state *s, const ebb_call *call, ebb_tile_worker *w, char *scratch,
                      ebb_cursor *cursors, int64_t begin, int64_t end)
{
    while (begin < end) {
        int64_t length = end - begin < s->tile ? end - begin : s->tile;
        if (s->row > 0 && length > s->row - begin % s->row)
            length = s->row - begin % s->row;
        w->position = begin;
        for (int i = 0; i < s->n_inputs; i++)
            bind_operand(s, w, i, find_input(s, call, i, scratch, &cursors[i], begin, length));
        for (int r = 0; r < s->n_results; r++)
            if (!s->results[r].is_fold)
                bind_operand(s, w, s->n_inputs + r,
                             (char *)call->results[r] + (size_t)begin * s->results[r].bytes);
        const ebb_tile_step *last = w->program + s->n_instructions;
        for (const ebb_tile_step *b = w->program; b < last; b++)
            b->run(length, b->result, b->inputs);
        for (int r = 0; r < s->n_results && s->is_streamed; r++) {
            const ebb_tile_result *res = &s->results[r];
            if (!res->is_streamed)
                continue;
            char *to = (char *)call->results[r] + (size_t)begin * res->bytes;
            const char *from = scratch + (size_t)res->slot * s->slot_bytes;
            if (is_in_place(s, call, r))
                memcpy(to, from, (size_t)length * res->bytes);
            else
                s->move->stream(to, from, (size_t)length * res->bytes);
        }
        begin += length;
    }
}

static char *partials_of(const ebb_tile_state *s, const ebb_call *call)
{
    return (char *)call->scratch + s->thread_bytes * (size_t)s->n_threads;
}

/* The part's share of the elements. */
static void find_part(const ebb_tile_state *s, int64_t part, int n, int64_t *begin, int64_t *end)
{
    ebb_parallel_part((s->n_elements + s->unit - 1) / s->unit, (int)part, n, begin, end);
    *begin *= s->unit;
    *end = *end * s->unit < s->n_elements ? *end * s->unit : s->n_elements;
}

static void run_part(void *context, int index, int n)
{
    const fused_run *run = context;
    const ebb_call *call = run->call;
    ebb_tile_state *s = run->state;
    ebb_tile_worker *w = &s->workers[index];
    char *scratch = (char *)call->scratch + (size_t)index * s->thread_bytes;
    ebb_cursor cursors[EBB_MAX_PROGRAM_INPUTS];
    int64_t first_part = index, end_part = index + 1, begin, end;
    const int n_parts = s->n_folds ? (int)s->n_parts : n;
    if (s->n_folds)
        ebb_parallel_part(s->n_parts, index, n, &first_part, &end_part);
    for (int64_t part = first_part; part < end_part; part++) {
        find_part(s, part, n_parts, &begin, &end);
        if (begin >= end)
            return;
        if (w->scratch != scratch)
            bind_slots(s, w, scratch);
        if (part == first_part)
            fill_buffers(s, call, scratch, cursors, begin);
        for (int f = 0; f < s->n_folds; f++) {
            w->folds[f].results = call->results[s->folds[f].result];
            w->folds[f].rows = scratch + s->rows[f];
            ebb_tile_fold_begin(&w->folds[f], partials_of(s, call), part);
        }
        run_tiles(s, call, w, scratch, cursors, begin, end);
        for (int f = 0; f < s->n_folds; f++)
            ebb_tile_fold_end(&w->folds[f]);
    }
    if (s->is_streamed)
        s->move->finish_stream();
}

static void combine_part(void *context, int index, int n)
{
    const fused_run *run = context;
    const ebb_tile_state *s = run->state;
    for (int f = 0; f < s->n_folds; f++) {
        const ebb_tile_fold *fold = &s->folds[f];
        int64_t begin, end;
        if (fold->is_direct)
            continue;
        ebb_parallel_part((fold->kept + 63) / 64, index, n, &begin, &end);
        end = end * 64 < fold->kept ? end * 64 : fold->kept;
        ebb_tile_fold_combine(fold, partials_of(s, run->call), s->n_parts, begin * 64, end,
                              run->call->results[fold->result]);
    }
}

ebb_status ebb_native_run_fused(const ebb_call *call)
{
    ebb_tile_state *s = call->state;
    fused_run run = { s, call };
    ebb_parallel(s->n_threads, run_part, &run);
    int64_t n_partials = 0;
    for (int f = 0; f < s->n_folds; f++)
        n_partials += s->folds[f].is_direct ? 0 : s->folds[f].kept * s->n_parts;
    if (n_partials > 0)
        ebb_parallel(n_partials < EBB_CHEAP_WORK ? 1 : s->n_threads, combine_part, &run);
    return EBB_OK;
}
