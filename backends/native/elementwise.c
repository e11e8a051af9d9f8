/* Element-wise ops over operands of any layout: dense ones are used where they lie, others come in
 * tiles. */
#include "backends/native/operand.h"
#include <string.h>

#define TILE_BYTES EBB_TILE_BYTES
/* Where the result goes past the caches: short tiles, so that stores and arithmetic overlap. */
#define STREAM_TILE_BYTES 512
#define MAX_OPERANDS 3

typedef struct map_state {
    ebb_map map;
    const void *attrs;
    int n_inputs, n_threads;
    bool is_dense; /* all operands */
    ebb_operand_kind kinds[MAX_OPERANDS];
    ebb_walk walks[MAX_OPERANDS];
    int64_t n_elements;
    int64_t tile; /* elements at a time */
    int64_t row;  /* a tile ends at its multiples, so that long rows can be used where they lie; 0:
                     nowhere */
    size_t result_bytes; /* of an element */
    bool is_streamed;    /* the result goes past the caches, unless it lies on an input */
    const ebb_move_table *move;
} map_state;

typedef struct map_run {
    const map_state *state;
    const ebb_call *call;
} map_run;

static bool streams(const map_state *state, const ebb_call *call)
{
    for (int i = 0; i < state->n_inputs; i++)
        if (call->inputs[i] == call->results[0])
            return false;
    return state->is_streamed;
}

/* All operands are dense: tile by tile through a buffer. */
static void stream_dense(const map_state *state, int64_t n, char *result, const void **inputs)
{
    _Alignas(64) char buffer[STREAM_TILE_BYTES];
    for (int64_t begin = 0; begin < n; begin += state->tile) {
        const int64_t length = n - begin < state->tile ? n - begin : state->tile;
        const size_t length_bytes = (size_t)length * state->result_bytes;
        for (int i = 0; i < state->n_inputs; i++)
            ebb_native_prefetch(inputs[i], (size_t)length * state->walks[i].element_bytes);
        state->map(length, buffer, inputs);
        state->move->stream(result, buffer, length_bytes);
        for (int i = 0; i < state->n_inputs; i++)
            inputs[i] = (const char *)inputs[i] + (size_t)length * state->walks[i].element_bytes;
        result += length_bytes;
    }
    state->move->finish_stream();
}

static void map_part(void *context, int index, int n)
{
    const map_run *run = context;
    const map_state *state = run->state;
    int64_t begin, end;
    /* In pieces of 64 elements: no two threads write to one cache line. */
    ebb_parallel_part((state->n_elements + 63) / 64, index, n, &begin, &end);
    begin *= 64;
    end = end * 64 < state->n_elements ? end * 64 : state->n_elements;
    if (begin >= end)
        return;
    char *result = (char *)run->call->results[0] + (size_t)begin * state->result_bytes;
    const bool is_streamed = streams(state, run->call);
    const void *inputs[MAX_OPERANDS + 1];
    inputs[state->n_inputs] = state->attrs;
    if (state->is_dense) {
        for (int i = 0; i < state->n_inputs; i++)
            inputs[i] =
                (const char *)run->call->inputs[i] + (size_t)begin * state->walks[i].element_bytes;
        if (is_streamed)
            stream_dense(state, end - begin, result, inputs);
        else
            state->map(end - begin, result, inputs);
        return;
    }
    _Alignas(64) char buffers[MAX_OPERANDS][2 * TILE_BYTES];
    _Alignas(64) char result_buffer[TILE_BYTES];
    ebb_cursor cursors[MAX_OPERANDS];
    for (int i = 0; i < state->n_inputs; i++) {
        const ebb_walk *walk = &state->walks[i];
        const void *data = run->call->inputs[i];
        size_t bytes = walk->element_bytes, tile_bytes = (size_t)state->tile * bytes;
        if (state->kinds[i] == EBB_OPERAND_SINGLE) {
            ebb_fill_periodic(buffers[i], tile_bytes, data, bytes);
        } else if (state->kinds[i] == EBB_OPERAND_PERIODIC) {
            size_t period_bytes = (size_t)walk->dims[1] * bytes;
            ebb_fill_periodic(buffers[i], tile_bytes + period_bytes, data, period_bytes);
        } else {
            cursors[i] = ebb_cursor_at(walk, data, begin);
        }
    }
    while (begin < end) {
        int64_t length = end - begin < state->tile ? end - begin : state->tile;
        if (state->row > 0 && length > state->row - begin % state->row)
            length = state->row - begin % state->row;
        for (int i = 0; i < state->n_inputs; i++) {
            const ebb_walk *walk = &state->walks[i];
            if (state->kinds[i] == EBB_OPERAND_SINGLE)
                inputs[i] = buffers[i];
            else if (state->kinds[i] == EBB_OPERAND_PERIODIC)
                inputs[i] = buffers[i] + (size_t)(begin % walk->dims[1]) * walk->element_bytes;
            else
                inputs[i] = ebb_cursor_take(&cursors[i], length, buffers[i]);
            if (is_streamed && state->kinds[i] == EBB_OPERAND_DENSE)
                ebb_native_prefetch(inputs[i], (size_t)length * walk->element_bytes);
        }
        const size_t length_bytes = (size_t)length * state->result_bytes;
        if (is_streamed) {
            state->map(length, result_buffer, inputs);
            state->move->stream(result, result_buffer, length_bytes);
        } else {
            state->map(length, result, inputs);
        }
        result += length_bytes;
        begin += length;
    }
    if (is_streamed)
        state->move->finish_stream();
}

static ebb_status run_map(const ebb_call *call)
{
    const map_state *state = call->state;
    map_run run = { state, call };
    ebb_parallel(state->n_threads, map_part, &run);
    return EBB_OK;
}

/* Dense operands, one thread, no parameters: the loop's arguments are those of the call. */
static ebb_status run_dense(const ebb_call *call)
{
    const map_state *state = call->state;
    state->map(state->n_elements, call->results[0], (const void *const *)call->inputs);
    return EBB_OK;
}

static ebb_status compile_with(const ebb_region *region, const ebb_compile_env *env,
                               ebb_kernel *kernel, ebb_map map, int64_t threshold)
{
    map_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_type *result = region->results[0].type;
    state->map = map;
    state->attrs = region->attrs;
    state->n_inputs = region->n_inputs;
    state->n_elements = ebb_shape_elements(&result->shape);
    state->result_bytes = ebb_dtype_bytes(result->dtype);
    state->is_dense = true;
    size_t longest = 1;
    for (int i = 0; i < region->n_inputs; i++) {
        const ebb_operand *input = &region->inputs[i];
        size_t bytes = ebb_dtype_bytes(input->type->dtype);
        longest = bytes > longest ? bytes : longest;
        state->walks[i] = ebb_walk_make(&result->shape, input->layout.strides, bytes);
        state->kinds[i] = ebb_operand_classify(&state->walks[i]);
        if (state->kinds[i] != EBB_OPERAND_DENSE)
            state->is_dense = false;
        else if (bytes == state->result_bytes)
            kernel->inplace_inputs |= 1u << i;
    }
    state->is_streamed = (size_t)state->n_elements * state->result_bytes >= EBB_STREAM_BYTES;
    state->move = ebb_native_isa(env)->move;
    longest = state->result_bytes > longest ? state->result_bytes : longest;
    state->tile = (state->is_streamed ? STREAM_TILE_BYTES : TILE_BYTES) / (int64_t)longest;
    for (int i = 0; i < region->n_inputs; i++) {
        const ebb_walk *walk = &state->walks[i];
        if (state->kinds[i] == EBB_OPERAND_WALK && walk->strides[walk->rank - 1] == 1 &&
            walk->dims[walk->rank - 1] >= state->tile / 2)
            state->row = walk->dims[walk->rank - 1];
    }
    kernel->n_threads = state->n_threads = ebb_native_threads(region, state->n_elements, threshold);
    const bool is_plain = state->is_dense && !state->is_streamed && state->n_threads == 1 &&
                          state->n_elements > 0 && !region->op->attrs_bytes;
    kernel->run = is_plain ? run_dense : run_map;
    kernel->state = state;
    kernel->implementation = ebb_native_isa(env)->name;
    return EBB_OK;
}

/* ---- which loop, and what it costs ---- */

static const ebb_map_row *find_row(const ebb_vector_isa *isa, const ebb_op *op)
{
    const ebb_map_table *table = isa->map;
    for (int i = 0; i < table->n_rows; i++)
        if (table->rows[i].op == op)
            return &table->rows[i];
    return NULL;
}

bool ebb_native_is_map(const ebb_op *op)
{
    return op == &ebb_op_select || op == &ebb_op_cast || find_row(ebb_vector_isa_here(), op);
}

/* The expression in the table tells: a call of a function other than those that are one
 * instruction. */
static bool expression_is_costly(const char *expression)
{
    static const char *const cheap[] = { "fabs)", "sqrt)", "floor)", "ceil)", "trunc)", "rint)" };
    const char *call = expression;
    while ((call = strstr(call, "FN("))) {
        bool is_cheap = false;
        call += 3;
        for (size_t i = 0; i < sizeof cheap / sizeof *cheap; i++)
            is_cheap |= strncmp(call, cheap[i], strlen(cheap[i])) == 0;
        if (!is_cheap)
            return true;
    }
    return false;
}

ebb_map ebb_native_find_map(const ebb_vector_isa *isa, const ebb_op *op, ebb_dtype input,
                            ebb_dtype result, bool *is_costly)
{
    const ebb_map_table *table = isa->map;
    *is_costly = false;
    if (op == &ebb_op_cast)
        return table->cast[input][result];
    if (op == &ebb_op_select) {
        const size_t bytes = ebb_dtype_bytes(result);
        return bytes == 1   ? table->select_1
               : bytes == 4 ? table->select_4
               : bytes == 8 ? table->select_8
                            : NULL;
    }
    const ebb_map_row *row = find_row(isa, op);
    if (!row || !row->maps[input])
        return NULL;
    *is_costly = expression_is_costly(row->expression);
    return row->maps[input];
}

static ebb_map find_map(const ebb_vector_isa *isa, const ebb_region *region, bool *is_costly)
{
    return ebb_native_find_map(isa, region->op, region->inputs[0].type->dtype,
                               region->results[0].type->dtype, is_costly);
}

static int score_map(const ebb_region *region)
{
    bool is_costly;
    if (!find_map(ebb_vector_isa_here(), region, &is_costly) || region->n_inputs > MAX_OPERANDS)
        return EBB_SCORE_NONE;
    return ebb_native_score_layouts(region);
}

static ebb_status compile_map(const ebb_region *region, const ebb_compile_env *env,
                              ebb_kernel *kernel)
{
    bool is_costly;
    ebb_map map = find_map(ebb_native_isa(env), region, &is_costly);
    return compile_with(region, env, kernel, map, is_costly ? EBB_COSTLY_WORK : EBB_CHEAP_WORK);
}

const ebb_native_kind ebb_native_map = { score_map, compile_map };
