/* Ops of indices: one_hot, argmax, argmin. */
#include "ops/index.h"
#include "backends/native/native.h"
#include "ops/build.h"
#include <string.h>

/* ---- one_hot ---- */

typedef struct one_hot_state {
    ebb_type index_type;
    size_t bytes; /* of an element of the result */
    char one[8];
    int64_t n_indices, depth;
    int n_threads;
} one_hot_state;

static void one_hot_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const one_hot_state *state = call->state;
    const ebb_tensor indices = { .type = state->index_type, .data = call->inputs[0] };
    int64_t begin, end;
    ebb_parallel_part(state->n_indices, index, n, &begin, &end);
    size_t row_bytes = (size_t)state->depth * state->bytes;
    char *result = (char *)call->results[0] + (size_t)begin * row_bytes;
    memset(result, 0, (size_t)(end - begin) * row_bytes);
    for (int64_t i = begin; i < end; i++, result += row_bytes) {
        int64_t hot = ebb_index_at(&indices, i);
        memcpy(result + (size_t)hot * state->bytes, state->one, state->bytes);
    }
}

static ebb_status run_one_hot(const ebb_call *call)
{
    const one_hot_state *state = call->state;
    const ebb_tensor indices = { .type = state->index_type, .data = call->inputs[0] };
    ebb_status status = ebb_index_check(&indices, state->depth, "index", call->error);
    if (status || state->n_indices == 0)
        return status;
    ebb_parallel(state->n_threads, one_hot_part, (void *)call);
    return EBB_OK;
}

static int score_dense(const ebb_region *region)
{
    return ebb_native_all_dense(region) ? EBB_SCORE_BEST : EBB_SCORE_NONE;
}

static ebb_status compile_one_hot(const ebb_region *region, const ebb_compile_env *env,
                                  ebb_kernel *kernel)
{
    one_hot_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_one_hot_attrs *attrs = region->attrs;
    ebb_tensor one = { .type = { attrs->dtype, { 0 } }, .data = state->one };
    ebb_tensor_set(&one, 0, 1);
    state->bytes = ebb_dtype_bytes(attrs->dtype);
    state->index_type = *region->inputs[0].type;
    state->n_indices = ebb_shape_elements(&region->inputs[0].type->shape);
    state->depth = attrs->depth;
    kernel->n_threads = state->n_threads =
        ebb_native_threads(region, state->n_indices * state->depth, EBB_CHEAP_WORK);
    kernel->run = run_one_hot;
    kernel->state = state;
    kernel->implementation = "fill";
    return EBB_OK;
}

const ebb_native_kind ebb_native_one_hot = { score_dense, compile_one_hot };

/* ---- argmax, argmin: x seen as [n_outer, n, n_inner] ---- */

typedef struct argmax_state {
    ebb_dtype dtype;
    bool is_min;
    const ebb_reduce_table *table; /* of floats */
    size_t bytes;                  /* of an element */
    int64_t n_outer, n, n_inner;
    int64_t n_blocks; /* of columns, if n_inner > 1 */
    int n_threads;
} argmax_state;

/* Floats: a NaN counts as the extremum; the first one wins. Rows are read once for the extremum and
 * once, out of the cache, for its place; columns stand side by side. */
static void arg_floats(const argmax_state *state, const char *x, int64_t *result, int64_t begin,
                       int64_t end)
{
    const ebb_reduce_table *table = state->table;
    const int64_t row_bytes = state->n * state->n_inner * (int64_t)state->bytes;
    for (int64_t i = begin; i < end; i++) {
        if (state->n_inner == 1) {
            const char *row = x + i * row_bytes;
            const double extremum =
                table->run[state->is_min ? EBB_REDUCE_MIN : EBB_REDUCE_MAX](state->n, row);
            result[i] = table->find(state->n, row, extremum);
            continue;
        }
        const int64_t outer = i / state->n_blocks,
                      column = i % state->n_blocks * EBB_REDUCE_COLUMNS;
        const int64_t left = state->n_inner - column;
        (state->is_min ? table->argmin_columns : table->argmax_columns)(
            state->n, state->n_inner, left < EBB_REDUCE_COLUMNS ? left : EBB_REDUCE_COLUMNS,
            x + outer * row_bytes + column * (int64_t)state->bytes,
            result + outer * state->n_inner + column);
    }
}

/* Integers, which are compared one by one. */
#define ARG_INTEGERS(T, name, IS_BEYOND)                                                           \
    static void name(const argmax_state *state, const T *x, int64_t *result, int64_t begin,        \
                     int64_t end)                                                                  \
    {                                                                                              \
        const int64_t n_inner = state->n_inner;                                                    \
        for (int64_t i = begin; i < end; i++) {                                                    \
            const T *row = x + i / n_inner * state->n * n_inner + i % n_inner;                     \
            int64_t best = 0;                                                                      \
            T extremum = row[0];                                                                   \
            for (int64_t j = 1; j < state->n; j++)                                                 \
                if (row[j * n_inner] IS_BEYOND extremum) {                                         \
                    extremum = row[j * n_inner];                                                   \
                    best = j;                                                                      \
                }                                                                                  \
            result[i] = best;                                                                      \
        }                                                                                          \
    }
ARG_INTEGERS(int64_t, argmax_i64, >)
ARG_INTEGERS(int64_t, argmin_i64, <)
ARG_INTEGERS(int32_t, argmax_i32, >)
ARG_INTEGERS(int32_t, argmin_i32, <)
ARG_INTEGERS(uint8_t, argmax_u8, >)
ARG_INTEGERS(uint8_t, argmin_u8, <)

static void argmax_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const argmax_state *state = call->state;
    int64_t begin, end;
    if (ebb_dtype_is_float(state->dtype)) {
        ebb_parallel_part(state->n_outer * state->n_blocks, index, n, &begin, &end);
        arg_floats(state, call->inputs[0], call->results[0], begin, end);
        return;
    }
    ebb_parallel_part(state->n_outer * state->n_inner, index, n, &begin, &end);
#define ARG_CASE(dtype, suffix)                                                                    \
    case dtype:                                                                                    \
        (state->is_min ? argmin_##suffix : argmax_##suffix)(state, call->inputs[0],                \
                                                            call->results[0], begin, end);         \
        break
    switch (state->dtype) {
        ARG_CASE(EBB_I64, i64);
        ARG_CASE(EBB_I32, i32);
    default:
        ARG_CASE(EBB_U8, u8);
    }
#undef ARG_CASE
}

static ebb_status run_argmax(const ebb_call *call)
{
    const argmax_state *state = call->state;
    ebb_parallel(state->n_threads, argmax_part, (void *)call);
    return EBB_OK;
}

static ebb_status compile_argmax(const ebb_region *region, const ebb_compile_env *env,
                                 ebb_kernel *kernel)
{
    argmax_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_type *type = region->inputs[0].type;
    const ebb_axis_attrs *attrs = region->attrs;
    const ebb_vector_isa *isa = ebb_native_isa(env);
    const int axis = ebb_axis_of(attrs->axis, type->shape.rank);
    state->dtype = type->dtype;
    state->is_min = region->op == &ebb_op_argmin;
    state->table = type->dtype == EBB_F32 ? isa->reduce_f32 : isa->reduce_f64;
    state->bytes = ebb_dtype_bytes(type->dtype);
    state->n_outer = state->n_inner = 1;
    state->n = type->shape.dims[axis];
    for (int i = 0; i < type->shape.rank; i++) {
        if (i < axis)
            state->n_outer *= type->shape.dims[i];
        else if (i > axis)
            state->n_inner *= type->shape.dims[i];
    }
    state->n_blocks = (state->n_inner + EBB_REDUCE_COLUMNS - 1) / EBB_REDUCE_COLUMNS;
    kernel->n_threads = state->n_threads =
        ebb_native_threads(region, ebb_shape_elements(&type->shape), EBB_CHEAP_WORK);
    kernel->run = run_argmax;
    kernel->state = state;
    kernel->implementation = state->n_inner == 1 ? "rows" : "columns";
    return EBB_OK;
}

const ebb_native_kind ebb_native_argmax = { score_dense, compile_argmax };
