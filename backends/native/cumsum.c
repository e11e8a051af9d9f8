/* cumsum: x seen as [n_outer, n, n_inner]; threads share out the sums, of which each runs on one.
 */
#include "backends/native/native.h"
#include "ops/build.h"

typedef struct cumsum_state {
    int64_t n_outer, n_inner;
    ebb_cumsum_run run; /* streamed unless in place */
    size_t bytes;       /* of an element */
    ebb_cumsum_loops loops;
    const ebb_move_table *move;
    int n_threads;
} cumsum_state;

static void cumsum_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const cumsum_state *state = call->state;
    const char *x = call->inputs[0];
    char *result = call->results[0];
    ebb_cumsum_run run = state->run;
    int64_t begin, end;
    run.is_streamed = run.is_streamed && x != result;
    ebb_parallel_part(state->n_outer * state->n_inner, index, n, &begin, &end);
    if (state->n_inner == 1) {
        const size_t start = (size_t)(begin * run.n) * state->bytes;
        state->loops.rows(&run, x + start, result + start, end - begin);
        begin = end;
    }
    while (begin < end) {
        const int64_t o = begin / state->n_inner, i = begin % state->n_inner;
        int64_t width = state->n_inner - i < end - begin ? state->n_inner - i : end - begin;
        width = width < EBB_CUMSUM_COLUMNS ? width : EBB_CUMSUM_COLUMNS;
        const int64_t first = run.step < 0 ? run.n - 1 : 0;
        const size_t start = (size_t)((o * run.n + first) * state->n_inner + i) * state->bytes;
        state->loops.columns(&run, x + start, result + start, width);
        begin += width;
    }
    if (run.is_streamed)
        state->move->finish_stream();
}

static ebb_status run_cumsum(const ebb_call *call)
{
    const cumsum_state *state = call->state;
    if (state->run.n > 0)
        ebb_parallel(state->n_threads, cumsum_part, (void *)call);
    return EBB_OK;
}

static ebb_status compile_cumsum(const ebb_region *region, const ebb_compile_env *env,
                                 ebb_kernel *kernel)
{
    cumsum_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_type *type = region->inputs[0].type;
    const ebb_cumsum_attrs *attrs = region->attrs;
    const int axis = ebb_axis_of(attrs->axis, type->shape.rank);
    state->n_outer = state->n_inner = 1;
    for (int i = 0; i < type->shape.rank; i++)
        if (i != axis)
            *(i < axis ? &state->n_outer : &state->n_inner) *= type->shape.dims[i];
    state->run = (ebb_cumsum_run){
        .n = type->shape.dims[axis],
        .step = attrs->reverse ? -state->n_inner : state->n_inner,
        .exclusive = attrs->exclusive,
        .is_streamed = ebb_type_bytes(type) >= EBB_STREAM_BYTES,
    };
    state->bytes = ebb_dtype_bytes(type->dtype);
    state->loops = ebb_native_isa(env)->cumsum->of[type->dtype];
    state->move = ebb_native_isa(env)->move;
    const int64_t n_sums = state->n_outer * state->n_inner;
    state->n_threads =
        ebb_native_threads_for(region, n_sums, n_sums * state->run.n, EBB_CHEAP_WORK);
    kernel->n_threads = state->n_threads;
    kernel->inplace_inputs = 1;
    kernel->run = run_cumsum;
    kernel->state = state;
    kernel->implementation = state->n_inner == 1 ? "rows" : "columns";
    return EBB_OK;
}

static int score_cumsum(const ebb_region *region)
{
    return ebb_native_all_dense(region) ? EBB_SCORE_BEST : EBB_SCORE_NONE;
}

const ebb_native_kind ebb_native_cumsum = { score_cumsum, compile_cumsum };
