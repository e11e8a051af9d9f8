/* gather, scatter and scatter_add, of rows and along an axis. Each element of a result is written
 * by one thread, in the order of the indices: the bits do not depend on the number of threads. */
#include "backends/native/native.h"
#include "ops/build.h"
#include "ops/index.h"
#include <string.h>

/* Indices that are read at a time. */
enum { BLOCK = 256 };

typedef struct gather_state {
    ebb_index_plan plan;
    ebb_type index_type;
    size_t bytes; /* of an element */
    int n_threads;
    /* of gather: to[t] = from[index[t] * inner + t * step] */
    void (*pick)(void *to, const void *from, const int64_t *index, int64_t n, int64_t inner,
                 int64_t step);
    /* of scatter: the same the other way, for indices in first..end-1; and whole rows */
    void (*put)(void *to, const void *from, const int64_t *index, int64_t n, int64_t inner,
                int64_t step, int64_t first, int64_t end);
    void (*put_row)(void *to, const void *from, int64_t n);
    ebb_walk x; /* of scatter */
    bool by_lanes;
} gather_state;

static void read_indices(const ebb_tensor *indices, int64_t start, int64_t n, int64_t *to)
{
    switch (indices->type.dtype) {
    case EBB_I64:
        memcpy(to, (const int64_t *)indices->data + start, (size_t)n * sizeof *to);
        return;
    case EBB_I32:
        for (int64_t i = 0; i < n; i++)
            to[i] = ((const int32_t *)indices->data)[start + i];
        return;
    default:
        for (int64_t i = 0; i < n; i++)
            to[i] = ((const uint8_t *)indices->data)[start + i];
    }
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static ebb_tensor indices_of(const ebb_call *call)
{
    const gather_state *state = call->state;
    return (ebb_tensor){ .type = state->index_type, .data = call->inputs[1] };
}

/* ---- gather ---- */

#define PICK(name, T)                                                                              \
    static void name(void *to, const void *from, const int64_t *index, int64_t n, int64_t inner,   \
                     int64_t step)                                                                 \
    {                                                                                              \
        for (int64_t t = 0; t < n; t++)                                                            \
            ((T *)to)[t] = ((const T *)from)[index[t] * inner + t * step];                         \
    }
PICK(pick_1, uint8_t)
PICK(pick_4, uint32_t)
PICK(pick_8, uint64_t)

static void gather_rows(const gather_state *state, const ebb_call *call, int64_t begin, int64_t end)
{
    const ebb_index_plan *p = &state->plan;
    const ebb_tensor indices = indices_of(call);
    while (begin < end) {
        const int64_t row = begin / p->n_inner, i = begin % p->n_inner;
        const int64_t n = smaller(p->n_inner - i, end - begin);
        const int64_t from = row / p->n_indices * p->n + ebb_index_at(&indices, row % p->n_indices);
        memcpy((char *)call->results[0] + (size_t)begin * state->bytes,
               (const char *)call->inputs[0] + (size_t)(from * p->n_inner + i) * state->bytes,
               (size_t)n * state->bytes);
        begin += n;
    }
}

/* Runs of elements with an index each: along rows of the result, and with n_inner 1 of indices. */
static void gather_elements(const gather_state *state, const ebb_call *call, int64_t begin,
                            int64_t end)
{
    const ebb_index_plan *p = &state->plan;
    const ebb_tensor indices = indices_of(call);
    const int64_t run = p->n_inner > 1 ? p->n_inner : p->n_indices;
    const int64_t per_outer = p->n_indices * p->n_inner;
    int64_t index[BLOCK];
    while (begin < end) {
        const int64_t place = begin % run, o = begin / per_outer;
        const int64_t n = smaller(smaller(run - place, end - begin), BLOCK);
        const int64_t from = o * p->n * p->n_inner + (p->n_inner > 1 ? place : 0);
        read_indices(&indices, p->is_along ? begin : place, n, index);
        state->pick((char *)call->results[0] + (size_t)begin * state->bytes,
                    (const char *)call->inputs[0] + (size_t)from * state->bytes, index, n,
                    p->n_inner, p->n_inner > 1);
        begin += n;
    }
}

static void gather_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const gather_state *state = call->state;
    int64_t begin, end;
    ebb_parallel_part(state->plan.n_picked, index, n, &begin, &end);
    if (state->plan.is_along || state->plan.n_inner == 1)
        gather_elements(state, call, begin, end);
    else
        gather_rows(state, call, begin, end);
}

static ebb_status run_gather(const ebb_call *call)
{
    const gather_state *state = call->state;
    const ebb_tensor indices = indices_of(call);
    ebb_status status = ebb_index_check(&indices, state->plan.n, "index", call->error);
    if (status || state->plan.n_picked == 0)
        return status;
    ebb_parallel(state->n_threads, gather_part, (void *)call);
    return EBB_OK;
}

/* ---- scatter ---- */

#define PUT(name, T, combined)                                                                     \
    static void name(void *to, const void *from, const int64_t *index, int64_t n, int64_t inner,   \
                     int64_t step, int64_t first, int64_t end)                                     \
    {                                                                                              \
        for (int64_t t = 0; t < n; t++) {                                                          \
            if (index[t] < first || index[t] >= end)                                               \
                continue;                                                                          \
            T *element = (T *)to + index[t] * inner + t * step;                                    \
            const T value = ((const T *)from)[t];                                                  \
            *element = (T)(combined);                                                              \
        }                                                                                          \
    }
#define ADD_ROW(name, T, A)                                                                        \
    static void name(void *to, const void *from, int64_t n)                                        \
    {                                                                                              \
        for (int64_t t = 0; t < n; t++)                                                            \
            ((T *)to)[t] = (T)((A)((T *)to)[t] + (A)((const T *)from)[t]);                         \
    }
#define COPY(name, T)                                                                              \
    PUT(name, T, value)                                                                            \
    static void name##_row(void *to, const void *from, int64_t n)                                  \
    {                                                                                              \
        memcpy(to, from, (size_t)n * sizeof(T));                                                   \
    }
/* A is T, or unsigned where T is an integer, which wraps. */
#define ADD(name, T, A) PUT(name, T, (A)*element + (A)value) ADD_ROW(name##_row, T, A)
COPY(put_1, uint8_t)
COPY(put_4, uint32_t)
COPY(put_8, uint64_t)
ADD(add_f64, double, double)
ADD(add_f32, float, float)
ADD(add_i64, int64_t, uint64_t)
ADD(add_i32, int32_t, uint32_t)
ADD(add_u8, uint8_t, unsigned)

/* Updates of columns first_column..end_column-1 of outer index o, where the index is in
 * first..end-1. */
static void scatter_block(const gather_state *state, const ebb_call *call, int64_t o, int64_t first,
                          int64_t end, int64_t first_column, int64_t end_column)
{
    const ebb_index_plan *p = &state->plan;
    const ebb_tensor indices = indices_of(call);
    const bool is_row = !p->is_along && p->n_inner > 1;
    char *to = (char *)call->results[0] + (size_t)(o * p->n * p->n_inner) * state->bytes;
    int64_t index[BLOCK];
    /* With n_inner 1 a run goes over indices, else over columns. */
    const int64_t n_rows = p->n_inner > 1 ? p->n_indices : 1;
    const int64_t begin = p->n_inner > 1 ? first_column : 0;
    const int64_t stop = p->n_inner > 1 ? end_column : p->n_indices;
    for (int64_t j = 0; j < n_rows; j++) {
        const int64_t start = o * p->n_indices * p->n_inner + j * p->n_inner;
        const char *from = (const char *)call->inputs[2] + (size_t)start * state->bytes;
        if (is_row) {
            const int64_t row = ebb_index_at(&indices, j);
            if (row >= first && row < end)
                state->put_row(to + (size_t)(row * p->n_inner + begin) * state->bytes,
                               from + (size_t)begin * state->bytes, stop - begin);
            continue;
        }
        for (int64_t i = begin, n; i < stop; i += n) {
            n = smaller(stop - i, BLOCK);
            read_indices(&indices, p->is_along ? start + i : i, n, index);
            state->put(to + (p->n_inner > 1 ? (size_t)i * state->bytes : 0),
                       from + (size_t)i * state->bytes, index, n, p->n_inner, p->n_inner > 1, first,
                       end);
        }
    }
}

/* Every thread takes some columns, or some of the rows that are written to. */
static void scatter_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const gather_state *state = call->state;
    const ebb_index_plan *p = &state->plan;
    int64_t begin, end;
    if (!state->by_lanes) {
        ebb_parallel_part(p->n, index, n, &begin, &end);
        for (int64_t o = 0; o < p->n_outer; o++)
            scatter_block(state, call, o, begin, end, 0, p->n_inner);
        return;
    }
    ebb_parallel_part(p->n_outer * p->n_inner, index, n, &begin, &end);
    while (begin < end) {
        const int64_t o = begin / p->n_inner, column = begin % p->n_inner;
        const int64_t width = smaller(p->n_inner - column, end - begin);
        scatter_block(state, call, o, 0, p->n, column, column + width);
        begin += width;
    }
}

static void copy_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const gather_state *state = call->state;
    int64_t begin, end;
    ebb_parallel_part(state->x.n_elements, index, n, &begin, &end);
    ebb_cursor x = ebb_cursor_at(&state->x, call->inputs[0], begin);
    if (begin < end)
        ebb_cursor_read(&x, end - begin, (char *)call->results[0] + (size_t)begin * state->bytes);
}

static ebb_status run_scatter(const ebb_call *call)
{
    const gather_state *state = call->state;
    const ebb_tensor indices = indices_of(call);
    ebb_status status = ebb_index_check(&indices, state->plan.n, "index", call->error);
    if (status)
        return status;
    if (call->results[0] != call->inputs[0])
        ebb_parallel(state->n_threads, copy_part, (void *)call);
    if (state->plan.n_picked > 0)
        ebb_parallel(state->n_threads, scatter_part, (void *)call);
    return EBB_OK;
}

/* ---- compiling ---- */

static gather_state *make_state(const ebb_region *region, const ebb_compile_env *env)
{
    gather_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return NULL;
    const ebb_type *x = region->inputs[0].type;
    state->index_type = *region->inputs[1].type;
    state->plan = ebb_index_plan_make(region->op, &x->shape, &state->index_type.shape,
                                      ((const ebb_axis_attrs *)region->attrs)->axis);
    state->bytes = ebb_dtype_bytes(x->dtype);
    return state;
}

static ebb_status compile_gather(const ebb_region *region, const ebb_compile_env *env,
                                 ebb_kernel *kernel)
{
    gather_state *state = make_state(region, env);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    state->pick = state->bytes == 8 ? pick_8 : state->bytes == 4 ? pick_4 : pick_1;
    kernel->n_threads = state->n_threads =
        ebb_native_threads(region, state->plan.n_picked, EBB_CHEAP_WORK);
    kernel->run = run_gather;
    kernel->state = state;
    kernel->implementation = state->plan.is_along || state->plan.n_inner == 1 ? "elements" : "rows";
    return EBB_OK;
}

static void choose_put(gather_state *state, int action, ebb_dtype dtype)
{
#define CHOOSE(name) state->put = name, state->put_row = name##_row
    if (action == EBB_INDEX_PUT && state->bytes == 8)
        CHOOSE(put_8);
    else if (action == EBB_INDEX_PUT && state->bytes == 4)
        CHOOSE(put_4);
    else if (action == EBB_INDEX_PUT)
        CHOOSE(put_1);
    else if (dtype == EBB_F64)
        CHOOSE(add_f64);
    else if (dtype == EBB_F32)
        CHOOSE(add_f32);
    else if (dtype == EBB_I64)
        CHOOSE(add_i64);
    else if (dtype == EBB_I32)
        CHOOSE(add_i32);
    else
        CHOOSE(add_u8);
#undef CHOOSE
}

static ebb_status compile_scatter(const ebb_region *region, const ebb_compile_env *env,
                                  ebb_kernel *kernel)
{
    gather_state *state = make_state(region, env);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_operand *x = &region->inputs[0];
    const ebb_index_rules *rules = region->op->user;
    choose_put(state, rules->action, x->type->dtype);
    state->x = ebb_walk_make(&x->type->shape, x->layout.strides, state->bytes);
    kernel->n_threads = state->n_threads =
        ebb_native_threads(region, state->x.n_elements + state->plan.n_picked, EBB_CHEAP_WORK);
    /* Threads with few columns each would share cache lines. */
    state->by_lanes = state->plan.n_outer * state->plan.n_inner >= 16 * state->n_threads;
    kernel->inplace_inputs = ebb_layout_is_dense(&x->layout, &x->type->shape);
    kernel->run = run_scatter;
    kernel->state = state;
    kernel->implementation = state->by_lanes ? "columns" : "rows";
    return EBB_OK;
}

static int score_gather(const ebb_region *region)
{
    return ebb_native_all_dense(region) ? EBB_SCORE_BEST : EBB_SCORE_NONE;
}

/* x is copied, so it may lie in any way. */
static int score_scatter(const ebb_region *region)
{
    for (int i = 1; i < region->n_inputs; i++)
        if (!ebb_layout_is_dense(&region->inputs[i].layout, &region->inputs[i].type->shape))
            return EBB_SCORE_NONE;
    return EBB_SCORE_BEST;
}

const ebb_native_kind ebb_native_gather = { score_gather, compile_gather };
const ebb_native_kind ebb_native_scatter = { score_scatter, compile_scatter };
