/* softmax_cross_entropy and weighted_softmax_cross_entropy. Definitions in ops/cross_entropy.c. */
#include "backends/native/native.h"
#include "ops/index.h"
#include "ops/loss.h"

typedef struct loss_state {
    const ebb_softmax_table *table;
    ebb_cross_entropy_attrs attrs;
    ebb_dtype dtype;
    ebb_type target_type;
    bool has_rows; /* targets are rows, not labels */
    bool has_weights;
    int64_t n_rows, n_classes;
    /* Rows whose losses are added up before those of other blocks; depends on the shape alone, so
     * that the sum does not depend on the number of threads. */
    int64_t block, n_blocks;
    int n_threads;
} loss_state;

#define MOST_ROWS 512 /* of a block: short rows should stay in the first-level cache */
#define BLOCK_ELEMENTS 16384

static bool is_ignored(const loss_state *state, int64_t label)
{
    return state->attrs.ignore && label == state->attrs.ignore_index;
}

static const void *labels_at(const loss_state *state, const ebb_call *call, int64_t row)
{
    const int64_t bytes = (int64_t)ebb_dtype_bytes(state->target_type.dtype);
    return (const char *)call->inputs[1] + row * bytes;
}

/* How many labels of rows begin..end-1 are neither classes nor ignored. */
static int64_t count_wrong_labels(const loss_state *state, const ebb_call *call, int64_t begin,
                                  int64_t end)
{
    const ebb_tensor labels = { .type = state->target_type, .data = call->inputs[1] };
    int64_t n = state->table->count_wrong_labels(end - begin, state->target_type.dtype,
                                                 labels_at(state, call, begin), state->n_classes);
    for (int64_t i = begin; i < end && n > 0 && state->attrs.ignore; i++) {
        const int64_t label = ebb_index_at(&labels, i);
        n -= is_ignored(state, label) && (label < 0 || label >= state->n_classes);
    }
    return n;
}

static void put(const loss_state *state, const ebb_call *call, int64_t i, double value)
{
    if (state->dtype == EBB_F32)
        ((float *)call->results[0])[i] = (float)value;
    else
        ((double *)call->results[0])[i] = value;
}

/* For one type: the loss of a row; the sum of those of rows begin..end-1, at most MOST_ROWS, which
 * also go to the result if nothing reduces them; and the sum of the labels' weights. */
#define LOSS_OF_TYPE(T, row_loss, losses_of_rows, sum_weights)                                     \
    /* label -1: `target` is given */                                                              \
    static double row_loss(const loss_state *state, const T *row, const T *target, int64_t label,  \
                           const T *weights, double log_sum)                                       \
    {                                                                                              \
        const double s = state->attrs.label_smoothing, given = 1 - s,                              \
                     shared = s / (double)state->n_classes;                                        \
        double loss = 0;                                                                           \
        if (label >= 0 && s == 0)                                                                  \
            return (weights ? (double)weights[label] : 1) * (log_sum - (double)row[label]);        \
        for (int64_t j = 0; j < state->n_classes; j++) {                                           \
            const double t = label < 0 ? (double)target[j] : (double)(j == label);                 \
            const double weight = weights ? (double)weights[j] : 1;                                \
            loss -= (given * t + shared) * weight * ((double)row[j] - log_sum);                    \
        }                                                                                          \
        return loss;                                                                               \
    }                                                                                              \
    static double losses_of_rows(const loss_state *state, const ebb_call *call, int64_t begin,     \
                                 int64_t end)                                                      \
    {                                                                                              \
        const ebb_tensor labels = { .type = state->target_type, .data = call->inputs[1] };         \
        const int64_t n_classes = state->n_classes;                                                \
        const T *x = call->inputs[0], *weights = state->has_weights ? call->inputs[2] : NULL;      \
        T largest[MOST_ROWS], logs[MOST_ROWS];                                                     \
        double sum = 0;                                                                            \
        state->table->log_sum_rows(end - begin, n_classes, x + begin * n_classes, largest, logs);  \
        if (!state->has_rows && !weights && !state->attrs.ignore &&                                \
            state->attrs.label_smoothing == 0)                                                     \
            return state->table->label_losses(                                                     \
                end - begin, n_classes, x + begin * n_classes, state->target_type.dtype,           \
                labels_at(state, call, begin), largest, logs,                                      \
                state->attrs.reduction == EBB_REDUCTION_NONE ? (T *)call->results[0] + begin       \
                                                             : NULL);                              \
        for (int64_t i = begin; i < end; i++) {                                                    \
            const int64_t label = state->has_rows ? -1 : ebb_index_at(&labels, i);                 \
            const T *target = state->has_rows ? (const T *)call->inputs[1] + i * n_classes : NULL; \
            const double loss =                                                                    \
                is_ignored(state, label)                                                           \
                    ? 0                                                                            \
                    : row_loss(state, x + i * n_classes, target, label, weights,                   \
                               (double)largest[i - begin] + (double)logs[i - begin]);              \
            if (state->attrs.reduction == EBB_REDUCTION_NONE)                                      \
                put(state, call, i, loss);                                                         \
            sum += loss;                                                                           \
        }                                                                                          \
        return sum;                                                                                \
    }                                                                                              \
    static double sum_weights(const loss_state *state, const ebb_call *call)                       \
    {                                                                                              \
        const T *weights = call->inputs[2];                                                        \
        const ebb_tensor labels = { .type = state->target_type, .data = call->inputs[1] };         \
        double sum = 0;                                                                            \
        for (int64_t i = 0; i < state->n_rows; i++) {                                              \
            const int64_t label = ebb_index_at(&labels, i);                                        \
            if (!is_ignored(state, label))                                                         \
                sum += (double)weights[label];                                                     \
        }                                                                                          \
        return sum;                                                                                \
    }
LOSS_OF_TYPE(float, row_loss_f32, losses_f32, sum_weights_f32)
LOSS_OF_TYPE(double, row_loss_f64, losses_f64, sum_weights_f64)

/* Scratch: the sum of the losses of each block, and then how many of its labels are wrong. */
static void loss_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const loss_state *state = call->state;
    double *sums = call->scratch, *are_wrong = sums + state->n_blocks;
    const size_t label_bytes = ebb_dtype_bytes(state->target_type.dtype);
    int64_t begin, end;
    ebb_parallel_part(state->n_blocks, index, n, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const int64_t first = i * state->block, left = state->n_rows - first;
        const int64_t last = first + (left < state->block ? left : state->block);
        are_wrong[i] = 0;
        if (!state->has_rows) {
            ebb_native_prefetch(labels_at(state, call, first),
                                label_bytes * (size_t)(last - first));
            are_wrong[i] = (double)count_wrong_labels(state, call, first, last);
        }
        if (are_wrong[i] == 0)
            sums[i] = (state->dtype == EBB_F32 ? losses_f32 : losses_f64)(state, call, first, last);
    }
}

/* The labels alone, before anything is written. */
static void check_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const loss_state *state = call->state;
    double *are_wrong = (double *)call->scratch + state->n_blocks;
    int64_t begin, end;
    ebb_parallel_part(state->n_blocks, index, n, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const int64_t first = i * state->block, left = state->n_rows - first;
        const int64_t last = first + (left < state->block ? left : state->block);
        are_wrong[i] = (double)count_wrong_labels(state, call, first, last);
    }
}

/* Says which label is wrong, if one is. */
static ebb_status report_labels(const loss_state *state, const ebb_call *call)
{
    const ebb_tensor labels = { .type = state->target_type, .data = call->inputs[1] };
    const double *are_wrong = (const double *)call->scratch + state->n_blocks;
    for (int64_t i = 0; i < state->n_blocks; i++)
        if (are_wrong[i] != 0)
            return ebb_labels_check(&labels, state->n_classes, &state->attrs, call->error);
    return EBB_OK;
}

/* What the mean divides by. */
static double find_divisor(const loss_state *state, const ebb_call *call)
{
    if (state->has_rows || (!state->has_weights && !state->attrs.ignore))
        return (double)state->n_rows;
    if (state->has_weights)
        return (state->dtype == EBB_F32 ? sum_weights_f32 : sum_weights_f64)(state, call);
    const ebb_tensor labels = { .type = state->target_type, .data = call->inputs[1] };
    int64_t n = 0;
    for (int64_t i = 0; i < state->n_rows; i++)
        n += !is_ignored(state, ebb_index_at(&labels, i));
    return (double)n;
}

static ebb_status run_loss(const ebb_call *call)
{
    const loss_state *state = call->state;
    const double *sums = call->scratch;
    double sum = 0;
    if (!state->has_rows &&
        (state->attrs.reduction == EBB_REDUCTION_NONE || state->n_classes == 0)) {
        ebb_parallel(state->n_threads, check_part, (void *)call);
        const ebb_status status = report_labels(state, call);
        if (status)
            return status;
    }
    if (state->n_classes > 0) {
        ebb_parallel(state->n_threads, loss_part, (void *)call);
        const ebb_status status = report_labels(state, call);
        if (status)
            return status;
        for (int64_t i = 0; i < state->n_blocks; i++)
            sum += sums[i];
    } else if (state->attrs.reduction == EBB_REDUCTION_NONE) {
        for (int64_t i = 0; i < state->n_rows; i++)
            put(state, call, i, 0);
    }
    if (state->attrs.reduction == EBB_REDUCTION_MEAN)
        sum /= find_divisor(state, call);
    if (state->attrs.reduction != EBB_REDUCTION_NONE)
        put(state, call, 0, sum);
    return EBB_OK;
}

static ebb_status compile_loss(const ebb_region *region, const ebb_compile_env *env,
                               ebb_kernel *kernel)
{
    loss_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_type *type = region->inputs[0].type;
    const ebb_vector_isa *isa = ebb_native_isa(env);
    state->dtype = type->dtype;
    state->attrs = *(const ebb_cross_entropy_attrs *)region->attrs;
    state->table = type->dtype == EBB_F32 ? isa->softmax_f32 : isa->softmax_f64;
    state->target_type = *region->inputs[1].type;
    state->has_rows = ebb_dtype_is_float(state->target_type.dtype);
    state->has_weights = region->n_inputs > 2;
    state->n_rows = type->shape.dims[0];
    state->n_classes = type->shape.dims[1];
    state->block = BLOCK_ELEMENTS / (state->n_classes > 0 ? state->n_classes : 1);
    state->block = state->block < 1 ? 1 : state->block > MOST_ROWS ? MOST_ROWS : state->block;
    state->n_blocks = (state->n_rows + state->block - 1) / state->block;
    kernel->scratch_bytes = 2 * (size_t)state->n_blocks * sizeof(double);
    kernel->n_threads = state->n_threads =
        ebb_native_threads(region, state->n_rows * state->n_classes, EBB_COSTLY_WORK);
    kernel->run = run_loss;
    kernel->state = state;
    kernel->implementation = "rows";
    return EBB_OK;
}

static int score_loss(const ebb_region *region)
{
    return ebb_native_all_dense(region) ? EBB_SCORE_BEST : EBB_SCORE_NONE;
}

const ebb_native_kind ebb_native_cross_entropy = { score_loss, compile_loss };
