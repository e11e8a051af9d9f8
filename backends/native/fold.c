/* Reductions of integers and booleans over any axes of operands of any layout: sum, product,
 * maximum, minimum, any, all. Their folds are associative, so any split gives the same bits. */
#include "backends/native/native.h"
#include "ops/build.h"
#include <string.h>

/* clang-format off */
static const struct {
    const ebb_op *op;
    ebb_dtype dtype;
    int fold; /* EBB_FOLD_... */
    int64_t start;
} folds[] = {
    { &ebb_op_reduce_sum,  EBB_I64,  EBB_FOLD_SUM,     0 },
    { &ebb_op_reduce_sum,  EBB_I32,  EBB_FOLD_SUM,     0 },
    { &ebb_op_reduce_sum,  EBB_U8,   EBB_FOLD_SUM,     0 },
    { &ebb_op_reduce_prod, EBB_I64,  EBB_FOLD_PRODUCT, 1 },
    { &ebb_op_reduce_prod, EBB_I32,  EBB_FOLD_PRODUCT, 1 },
    { &ebb_op_reduce_prod, EBB_U8,   EBB_FOLD_PRODUCT, 1 },
    { &ebb_op_reduce_max,  EBB_I64,  EBB_FOLD_MAX,     INT64_MIN },
    { &ebb_op_reduce_max,  EBB_I32,  EBB_FOLD_MAX,     INT32_MIN },
    { &ebb_op_reduce_max,  EBB_U8,   EBB_FOLD_MAX,     0 },
    { &ebb_op_reduce_min,  EBB_I64,  EBB_FOLD_MIN,     INT64_MAX },
    { &ebb_op_reduce_min,  EBB_I32,  EBB_FOLD_MIN,     INT32_MAX },
    { &ebb_op_reduce_min,  EBB_U8,   EBB_FOLD_MIN,     UINT8_MAX },
    { &ebb_op_reduce_any,  EBB_BOOL, EBB_FOLD_MAX,     0 },
    { &ebb_op_reduce_all,  EBB_BOOL, EBB_FOLD_MIN,     1 },
};
/* clang-format on */

enum { N_FOLDS = sizeof folds / sizeof *folds };

static int find_fold(const ebb_region *region)
{
    int i = 0;
    while (i < N_FOLDS &&
           (folds[i].op != region->op || folds[i].dtype != region->inputs[0].type->dtype))
        i++;
    return i;
}

typedef struct fold_dims {
    int rank;
    int64_t dims[EBB_MAX_RANK], strides[EBB_MAX_RANK]; /* of the input */
} fold_dims;

/* Bytes of neighbouring results that are folded together: they stay in the first-level cache. */
enum { WIDTH_BYTES = 8192 };

typedef struct fold_state {
    ebb_fold_loops loops;
    char start[8];
    size_t bytes; /* of an element */
    /* By columns, the last kept dimension stands apart: `columns` results, neighbours. */
    bool by_columns;
    fold_dims kept, reduced;
    int64_t columns, column_stride;
    int64_t column_blocks, width; /* blocks of `width` columns, the last one may be narrower */
    int64_t n_results, n_tasks;
    int64_t split;   /* size of the outermost reduced dimension */
    int64_t n_parts; /* into which that is split */
    int n_threads;
} fold_state;

/* The next place of `rank` dimensions; returns the change of the offset. */
static int64_t advance(const fold_dims *dims, int first, int end, int64_t *index)
{
    int64_t change = 0;
    for (int i = end - 1; i >= first; i--) {
        change += dims->strides[i];
        if (++index[i] < dims->dims[i])
            break;
        change -= dims->dims[i] * dims->strides[i];
        index[i] = 0;
    }
    return change;
}

/* One result, or a block of columns, over begin..end-1 of the outermost reduced dimension. */
static void fold_task(const fold_state *state, const void *x, int64_t task, int64_t begin,
                      int64_t end, char *results)
{
    const fold_dims *kept = &state->kept, *reduced = &state->reduced;
    int64_t position = task, offset = 0, first = task, n = 1;
    if (state->by_columns) {
        const int64_t column = task % state->column_blocks * state->width;
        position = task / state->column_blocks;
        first = position * state->columns + column;
        n = state->columns - column < state->width ? state->columns - column : state->width;
        offset = column * state->column_stride;
    }
    for (int i = kept->rank - 1; i >= 0; i--) {
        offset += position % kept->dims[i] * kept->strides[i];
        position /= kept->dims[i];
    }
    char *to = results + (size_t)first * state->bytes;
    for (int64_t i = 0; i < n; i++)
        memcpy(to + (size_t)i * state->bytes, state->start, state->bytes);
    /* By runs, the last reduced dimension is left to the loop over a run. */
    const int last = state->by_columns ? reduced->rank : reduced->rank - 1;
    int64_t steps = last > 0 ? end - begin : 1, index[EBB_MAX_RANK] = { 0 };
    for (int i = 1; i < last; i++)
        steps *= reduced->dims[i];
    if (reduced->rank > 0)
        offset += begin * reduced->strides[0];
    for (; steps > 0; steps--) {
        const char *from = (const char *)x + offset * (int64_t)state->bytes;
        if (state->by_columns)
            state->loops.row(to, from, state->column_stride, n);
        else if (reduced->rank == 0)
            state->loops.run(to, from, 1, 1);
        else
            state->loops.run(to, from, reduced->strides[last],
                             last == 0 ? end - begin : reduced->dims[last]);
        offset += advance(reduced, 0, last, index);
    }
}

static void fold_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const fold_state *state = call->state;
    char *results = state->n_parts > 1 ? call->scratch : call->results[0];
    int64_t begin, end;
    ebb_parallel_part(state->n_tasks * state->n_parts, index, n, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const int64_t part = i / state->n_tasks;
        int64_t first, last;
        ebb_parallel_part(state->split, (int)part, (int)state->n_parts, &first, &last);
        fold_task(state, call->inputs[0], i % state->n_tasks, first, last,
                  results + (size_t)(part * state->n_results) * state->bytes);
    }
}

static ebb_status run_fold(const ebb_call *call)
{
    const fold_state *state = call->state;
    if (state->n_results == 0)
        return EBB_OK;
    ebb_parallel(state->n_threads, fold_part, (void *)call);
    if (state->n_parts == 1)
        return EBB_OK;
    const size_t result_bytes = (size_t)state->n_results * state->bytes;
    memcpy(call->results[0], call->scratch, result_bytes);
    for (int64_t part = 1; part < state->n_parts; part++)
        state->loops.row(call->results[0], (char *)call->scratch + (size_t)part * result_bytes, 1,
                         state->n_results);
    return EBB_OK;
}

/* Merges neighbours of the input that are both kept or both reduced. */
static void collect_dims(const ebb_operand *input, unsigned mask, fold_state *state)
{
    const ebb_shape *shape = &input->type->shape;
    fold_dims *before = NULL;
    state->n_results = 1;
    for (int i = 0; i < shape->rank; i++) {
        const int64_t dim = shape->dims[i], stride = input->layout.strides[i];
        const bool is_reduced = mask & 1u << i;
        fold_dims *list = is_reduced ? &state->reduced : &state->kept;
        state->n_results *= is_reduced ? 1 : dim;
        if (dim == 1)
            continue;
        if (list == before && list->strides[list->rank - 1] == stride * dim) {
            list->dims[list->rank - 1] *= dim;
            list->strides[list->rank - 1] = stride;
        } else {
            list->dims[list->rank] = dim;
            list->strides[list->rank++] = stride;
        }
        before = list;
    }
    state->by_columns = before == &state->kept;
}

static ebb_status compile_fold(const ebb_region *region, const ebb_compile_env *env,
                               ebb_kernel *kernel)
{
    fold_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_operand *input = &region->inputs[0];
    const ebb_reduce_attrs *attrs = region->attrs;
    const int fold = find_fold(region);
    const int64_t n_elements = ebb_shape_elements(&input->type->shape);
    ebb_tensor start = { .type = { input->type->dtype, { 0 } }, .data = state->start };
    state->loops = ebb_native_isa(env)->fold->of[folds[fold].fold][input->type->dtype];
    state->bytes = ebb_dtype_bytes(input->type->dtype);
    if (input->type->dtype == EBB_I64) /* too large for a double */
        memcpy(state->start, &folds[fold].start, sizeof folds[fold].start);
    else
        ebb_tensor_set(&start, 0, (double)folds[fold].start);
    collect_dims(input, ebb_axes_mask(&attrs->axes, input->type->shape.rank), state);
    state->n_tasks = state->n_results;
    if (state->by_columns) {
        fold_dims *kept = &state->kept;
        state->columns = kept->dims[--kept->rank];
        state->column_stride = kept->strides[kept->rank];
        state->width = WIDTH_BYTES / (int64_t)state->bytes;
        state->column_blocks = (state->columns + state->width - 1) / state->width;
        state->n_tasks =
            state->columns ? state->n_results / state->columns * state->column_blocks : 0;
    }
    state->split = state->reduced.rank > 0 ? state->reduced.dims[0] : 1;
    kernel->n_threads = state->n_threads = ebb_native_threads(region, n_elements, EBB_CHEAP_WORK);
    state->n_parts = 1;
    if (state->n_threads > 1 && state->n_tasks < 4 * state->n_threads &&
        state->split >= state->n_threads) {
        state->n_parts = state->n_threads;
        kernel->scratch_bytes = (size_t)(state->n_parts * state->n_results) * state->bytes;
    }
    kernel->run = run_fold;
    kernel->state = state;
    kernel->implementation = state->by_columns ? "columns" : "runs";
    return EBB_OK;
}

static int score_fold(const ebb_region *region)
{
    return find_fold(region) < N_FOLDS ? EBB_SCORE_BEST : EBB_SCORE_NONE;
}

const ebb_native_kind ebb_native_fold = { score_fold, compile_fold };
