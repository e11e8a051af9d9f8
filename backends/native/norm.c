/* layer_norm, rms_norm and their gradients over the last axes. */
#include "ops/norm.h"
#include "backends/native/native.h"
#include "ops/build.h"

typedef struct norm_state {
    const ebb_norm_table *table;
    ebb_norm_rows rows; /* all of them */
    size_t row_bytes;
    bool is_gradient, has_third; /* shift or dy */
    int n_threads;
} norm_state;

static void norm_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const norm_state *state = call->state;
    int64_t begin, end;
    ebb_parallel_part(state->rows.n_rows, index, n, &begin, &end);
    const size_t skipped = (size_t)begin * state->row_bytes;
    const char *x = (const char *)call->inputs[0] + skipped;
    char *result = (char *)call->results[0] + skipped;
    ebb_norm_rows rows = state->rows;
    rows.n_rows = end - begin;
    for (int i = 0; i < 3 && (i < 2 || state->has_third); i++)
        if (call->inputs[i] == call->results[0]) /* its lines are in the cache */
            rows.is_streamed = false;
    if (state->is_gradient)
        state->table->grad_rows(&rows, x, call->inputs[1], (const char *)call->inputs[2] + skipped,
                                result);
    else
        state->table->rows(&rows, x, call->inputs[1], state->has_third ? call->inputs[2] : NULL,
                           result);
}

static ebb_status run_norm(const ebb_call *call)
{
    const norm_state *state = call->state;
    if (state->rows.n_rows > 0 && state->rows.n > 0)
        ebb_parallel(state->n_threads, norm_part, (void *)call);
    return EBB_OK;
}

/* The normalized axes are the last ones. */
static int score_norm(const ebb_region *region)
{
    const ebb_norm_attrs *attrs = region->attrs;
    const int rank = region->inputs[0].type->shape.rank;
    const unsigned mask = ebb_axes_mask(&attrs->axes, rank), all = (1u << rank) - 1u;
    const unsigned others = all & ~mask;
    if (!ebb_native_all_dense(region) || (others & (others + 1u)) != 0)
        return EBB_SCORE_NONE;
    return EBB_SCORE_BEST;
}

static ebb_status compile_norm(const ebb_region *region, const ebb_compile_env *env,
                               ebb_kernel *kernel)
{
    norm_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_type *type = region->inputs[0].type;
    const ebb_norm_attrs *attrs = region->attrs;
    const ebb_vector_isa *isa = ebb_native_isa(env);
    const unsigned mask = ebb_axes_mask(&attrs->axes, type->shape.rank);
    state->table = type->dtype == EBB_F32 ? isa->norm_f32 : isa->norm_f64;
    state->is_gradient = ebb_norm_is_gradient(region->op);
    state->has_third = region->n_inputs > 2;
    state->rows = (ebb_norm_rows){ .n_rows = 1,
                                   .n = 1,
                                   .is_centred = ebb_norm_is_centred(region->op),
                                   .epsilon = attrs->epsilon };
    for (int i = 0; i < type->shape.rank; i++)
        *(mask & 1u << i ? &state->rows.n : &state->rows.n_rows) *= type->shape.dims[i];
    state->rows.is_streamed = ebb_type_bytes(type) >= EBB_STREAM_BYTES;
    state->row_bytes = (size_t)state->rows.n * ebb_dtype_bytes(type->dtype);
    state->n_threads = ebb_native_threads_for(region, state->rows.n_rows,
                                              ebb_shape_elements(&type->shape), EBB_CHEAP_WORK);
    kernel->n_threads = state->n_threads;
    kernel->inplace_inputs = state->is_gradient ? 1u << 0 | 1u << 2 : 1u << 0;
    kernel->run = run_norm;
    kernel->state = state;
    kernel->implementation = "rows";
    return EBB_OK;
}

const ebb_native_kind ebb_native_norm = { score_norm, compile_norm };
