/* softmax, log_softmax and softmax_cross_entropy. */
#include "backends/native/native.h"
#include "ops/build.h"
#include "ops/index.h"

/* ---- softmax and log_softmax: x seen as [n_outer, n_classes, n_inner] ---- */

typedef struct softmax_state {
    const ebb_softmax_table *table;
    bool is_log;
    int64_t n_outer, n_classes, n_inner;
    int64_t n_blocks; /* of columns, if n_inner > 1 */
    size_t bytes;     /* of an element */
    int n_threads;
} softmax_state;

static void softmax_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const softmax_state *state = call->state;
    const char *x = call->inputs[0];
    char *result = call->results[0];
    int64_t begin, end;
    if (state->n_inner == 1) {
        ebb_parallel_part(state->n_outer, index, n, &begin, &end);
        size_t skipped = (size_t)(begin * state->n_classes) * state->bytes;
        (state->is_log ? state->table->log_rows : state->table->rows)(
            end - begin, state->n_classes, x + skipped, result + skipped);
        return;
    }
    ebb_parallel_part(state->n_outer * state->n_blocks, index, n, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t outer = i / state->n_blocks, column = i % state->n_blocks * EBB_SOFTMAX_COLUMNS;
        int64_t left = state->n_inner - column;
        size_t skipped =
            (size_t)(outer * state->n_classes * state->n_inner + column) * state->bytes;
        (state->is_log ? state->table->log_columns : state->table->columns)(
            state->n_classes, state->n_inner,
            left < EBB_SOFTMAX_COLUMNS ? left : EBB_SOFTMAX_COLUMNS, x + skipped, result + skipped);
    }
}

static ebb_status run_softmax(const ebb_call *call)
{
    const softmax_state *state = call->state;
    if (state->n_outer > 0 && state->n_classes > 0 && state->n_inner > 0)
        ebb_parallel(state->n_threads, softmax_part, (void *)call);
    return EBB_OK;
}

static int score_softmax(const ebb_region *region)
{
    return ebb_native_all_dense(region) ? EBB_SCORE_BEST : EBB_SCORE_NONE;
}

static const ebb_softmax_table *find_table(ebb_dtype dtype)
{
    const ebb_vector_isa *isa = ebb_vector_isa_here();
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
    state->table = find_table(type->dtype);
    state->is_log = region->op == &ebb_op_log_softmax;
    state->bytes = ebb_dtype_bytes(type->dtype);
    state->n_outer = state->n_inner = 1;
    state->n_classes = type->shape.dims[axis];
    for (int i = 0; i < type->shape.rank; i++) {
        if (i < axis)
            state->n_outer *= type->shape.dims[i];
        else if (i > axis)
            state->n_inner *= type->shape.dims[i];
    }
    state->n_blocks = (state->n_inner + EBB_SOFTMAX_COLUMNS - 1) / EBB_SOFTMAX_COLUMNS;
    kernel->n_threads = state->n_threads =
        ebb_native_threads(region, ebb_shape_elements(&type->shape), EBB_COSTLY_WORK);
    kernel->inplace_inputs = 1;
    kernel->run = run_softmax;
    kernel->state = state;
    kernel->implementation = state->n_inner == 1 ? "rows" : "columns";
    return EBB_OK;
}

const ebb_native_kind ebb_native_softmax = { score_softmax, compile_softmax };

/* ---- softmax_cross_entropy ---- */

typedef struct loss_state {
    const ebb_softmax_table *table;
    ebb_dtype dtype;
    ebb_type target_type;
    bool has_rows; /* targets are rows, not labels */
    int64_t n_rows, n_classes;
    int n_threads;
} loss_state;

/* Scratch, for each row: its loss; its maximum; the logarithm of the sum of exp(x - maximum). */
#define LOSS_ROWS(T, name)                                                                         \
    static void name(const loss_state *state, const ebb_call *call, int64_t begin, int64_t end)    \
    {                                                                                              \
        const int64_t n_classes = state->n_classes;                                                \
        const T *x = call->inputs[0];                                                              \
        double *losses = call->scratch;                                                            \
        T *largest = (T *)(void *)(losses + state->n_rows), *logs = largest + state->n_rows;       \
        const ebb_tensor labels = { .type = state->target_type, .data = call->inputs[1] };         \
        state->table->log_sum_rows(end - begin, n_classes, x + begin * n_classes, largest + begin, \
                                   logs + begin);                                                  \
        for (int64_t i = begin; i < end; i++) {                                                    \
            const T *row = x + i * n_classes;                                                      \
            const double shift = (double)largest[i], log_sum = (double)logs[i];                    \
            double loss = 0;                                                                       \
            if (state->has_rows) {                                                                 \
                const T *target = (const T *)call->inputs[1] + i * n_classes;                      \
                for (int64_t j = 0; j < n_classes; j++)                                            \
                    loss -= (double)target[j] * ((double)row[j] - shift - log_sum);                \
            } else {                                                                               \
                loss = log_sum - ((double)row[ebb_index_at(&labels, i)] - shift);                  \
            }                                                                                      \
            losses[i] = loss;                                                                      \
        }                                                                                          \
    }
LOSS_ROWS(float, loss_rows_f32)
LOSS_ROWS(double, loss_rows_f64)

static void loss_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const loss_state *state = call->state;
    int64_t begin, end;
    ebb_parallel_part(state->n_rows, index, n, &begin, &end);
    (state->dtype == EBB_F32 ? loss_rows_f32 : loss_rows_f64)(state, call, begin, end);
}

static ebb_status run_loss(const ebb_call *call)
{
    const loss_state *state = call->state;
    if (!state->has_rows) {
        const ebb_tensor labels = { .type = state->target_type, .data = call->inputs[1] };
        ebb_status status = ebb_index_check(&labels, state->n_classes, "label", call->error);
        if (status)
            return status;
    }
    double sum = 0;
    if (state->n_rows > 0 && state->n_classes > 0) {
        ebb_parallel(state->n_threads, loss_part, (void *)call);
        const double *losses = call->scratch;
        for (int64_t i = 0; i < state->n_rows; i++)
            sum += losses[i];
    }
    double mean = sum / (double)state->n_rows;
    if (state->dtype == EBB_F32)
        *(float *)call->results[0] = (float)mean;
    else
        *(double *)call->results[0] = mean;
    return EBB_OK;
}

static ebb_status compile_loss(const ebb_region *region, const ebb_compile_env *env,
                               ebb_kernel *kernel)
{
    loss_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_type *type = region->inputs[0].type;
    state->dtype = type->dtype;
    state->table = find_table(type->dtype);
    state->target_type = *region->inputs[1].type;
    state->has_rows = ebb_dtype_is_float(state->target_type.dtype);
    state->n_rows = type->shape.dims[0];
    state->n_classes = type->shape.dims[1];
    kernel->scratch_bytes = (size_t)state->n_rows * (sizeof(double) + 2 * ebb_dtype_bytes(type->dtype));
    kernel->n_threads = state->n_threads =
        ebb_native_threads(region, state->n_rows * state->n_classes, EBB_COSTLY_WORK);
    kernel->run = run_loss;
    kernel->state = state;
    kernel->implementation = "rows";
    return EBB_OK;
}

const ebb_native_kind ebb_native_cross_entropy = { score_softmax, compile_loss };
