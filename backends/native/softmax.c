/* softmax and log_softmax. */
#include "backends/native/native.h"
#include "ops/build.h"

/* ---- softmax and log_softmax: x seen as [n_outer, n_classes, n_inner] ---- */

typedef struct softmax_state {
    const ebb_softmax_table *table;
    bool is_log;
    int64_t n_outer;
    ebb_softmax_columns columns; /* of one outer index; not past the caches if in place */
    size_t bytes;                /* of an element */
    int n_threads;
} softmax_state;

static void softmax_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const softmax_state *state = call->state;
    const char *x = call->inputs[0];
    char *result = call->results[0];
    int64_t begin, end;
    ebb_softmax_columns columns = state->columns;
    columns.is_streamed = columns.is_streamed && x != result;
    if (columns.n_inner == 1) {
        ebb_parallel_part(state->n_outer, index, n, &begin, &end);
        size_t skipped = (size_t)(begin * columns.n_classes) * state->bytes;
        (state->is_log ? state->table->log_rows : state->table->rows)(
            end - begin, columns.n_classes, x + skipped, result + skipped, columns.is_streamed);
        return;
    }
    ebb_parallel_part(state->n_outer * columns.n_blocks, index, n, &begin, &end);
    (state->is_log ? state->table->log_columns : state->table->columns)(&columns, begin, end, x,
                                                                        result);
}

static ebb_status run_softmax(const ebb_call *call)
{
    const softmax_state *state = call->state;
    if (state->n_outer > 0 && state->columns.n_classes > 0 && state->columns.n_inner > 0)
        ebb_parallel(state->n_threads, softmax_part, (void *)call);
    return EBB_OK;
}

static int score_softmax(const ebb_region *region)
{
    return ebb_native_all_dense(region) ? EBB_SCORE_BEST : EBB_SCORE_NONE;
}

static const ebb_softmax_table *find_table(const ebb_vector_isa *isa, ebb_dtype dtype)
{
    return dtype == EBB_F32 ? isa->softmax_f32 : isa->softmax_f64;
}

static ebb_status compile_softmax(const ebb_region *region, const ebb_compile_env *env,
                                  ebb_kernel *kernel)
{
    softmax_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_type *type = region->inputs[0].type;
    const ebb_axis_attrs *attrs = region->attrs;
    const int axis = ebb_axis_of(attrs->axis, type->shape.rank);
    state->table = find_table(ebb_native_isa(env), type->dtype);
    state->is_log = region->op == &ebb_op_log_softmax;
    state->bytes = ebb_dtype_bytes(type->dtype);
    int64_t n_inner = 1;
    state->n_outer = 1;
    for (int i = 0; i < type->shape.rank; i++) {
        if (i < axis)
            state->n_outer *= type->shape.dims[i];
        else if (i > axis)
            n_inner *= type->shape.dims[i];
    }
    state->columns = (ebb_softmax_columns){
        .n_classes = type->shape.dims[axis],
        .n_inner = n_inner,
        .n_blocks = (n_inner + EBB_SOFTMAX_COLUMNS - 1) / EBB_SOFTMAX_COLUMNS,
        .is_streamed = ebb_type_bytes(type) >= EBB_STREAM_BYTES,
    };
    kernel->n_threads = state->n_threads =
        ebb_native_threads(region, ebb_shape_elements(&type->shape), EBB_COSTLY_WORK);
    kernel->inplace_inputs = 1;
    kernel->run = run_softmax;
    kernel->state = state;
    kernel->implementation = n_inner == 1 ? "rows" : "columns";
    return EBB_OK;
}

const ebb_native_kind ebb_native_softmax = { score_softmax, compile_softmax };
