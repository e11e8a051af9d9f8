/* Sums, means and maxima over any axes of operands of any layout.
 *
 * After merging dimensions, the one with stride 1 decides: if it is reduced, runs of it are summed ("runs"); if it
 * is kept, blocks of columns are summed row by row ("columns"). Few results out of many elements are split along
 * a reduced dimension into parts, whose partial results are added in order: the split depends on the shape
 * alone, so the result has the same bits with any number of threads. */
#include "backends/native/native.h"
#include "ops/build.h"
#include <math.h>

typedef enum reduce_kind { REDUCE_SUM, REDUCE_MEAN, REDUCE_MAX } reduce_kind;

typedef struct reduce_dims {
    int rank;
    int64_t dims[EBB_MAX_RANK], strides[EBB_MAX_RANK]; /* of the input */
    int64_t n; /* product */
} reduce_dims;

typedef struct reduce_state {
    reduce_kind kind;
    ebb_dtype dtype;
    size_t bytes; /* of an element */
    const ebb_reduce_table *table;
    reduce_dims kept;    /* all kept dimensions but `columns`, in order */
    reduce_dims reduced; /* all reduced dimensions but `run`, outermost first; the first is the one that is split */
    /* Columns: the dimension that is kept with input stride `vector_stride`, and how its results lie. Runs: the
     * dimension that is summed along. */
    bool by_columns;
    int64_t vector, vector_stride;
    int64_t column_blocks;
    int64_t n_results, n_terms;
    int64_t n_tasks, n_parts;
    int n_threads;
} reduce_state;

/* Elements that are read into a buffer at a time if they do not lie densely. */
#define BUFFER 256

static double *partials_of(const ebb_call *call) { return call->scratch; }

static void write_result(const reduce_state *state, void *results, int64_t index, double value)
{
    if (state->kind == REDUCE_MEAN)
        value /= (double)state->n_terms;
    if (state->dtype == EBB_F32)
        ((float *)results)[index] = (float)value;
    else
        ((double *)results)[index] = value;
}

static double combine(const reduce_state *state, double a, double b)
{
    if (state->kind == REDUCE_MAX)
        return b > a || isnan(b) ? b : a;
    return a + b;
}

static double empty_value(const reduce_state *state)
{
    return state->kind == REDUCE_MAX ? -(double)INFINITY : 0;
}

static const char *at(const reduce_state *state, const void *x, int64_t elements)
{
    return (const char *)x + elements * (int64_t)state->bytes;
}

/* n elements with a stride, densely. */
static void gather(const reduce_state *state, const char *x, int64_t stride, int64_t n, void *to)
{
    if (state->bytes == 4)
        for (int64_t i = 0; i < n; i++)
            ((float *)to)[i] = ((const float *)(const void *)x)[i * stride];
    else
        for (int64_t i = 0; i < n; i++)
            ((double *)to)[i] = ((const double *)(const void *)x)[i * stride];
}

static double reduce_run(const reduce_state *state, const char *x, int64_t n)
{
    double (*run)(int64_t, const void *) =
        state->kind == REDUCE_MAX ? state->table->max : state->table->sum;
    if (state->vector_stride == 1)
        return run(n, x);
    double buffer[BUFFER], value = empty_value(state);
    for (int64_t i = 0; i < n; i += BUFFER) {
        int64_t count = n - i < BUFFER ? n - i : BUFFER;
        gather(state, at(state, x, i * state->vector_stride), state->vector_stride, count, buffer);
        value = combine(state, value, run(count, buffer));
    }
    return value;
}

static void reduce_rows(const reduce_state *state, const char *x, int64_t n_rows, int64_t stride,
                        int64_t n_columns, double *accumulators)
{
    void (*rows)(int64_t, int64_t, int64_t, const void *, double *) =
        state->kind == REDUCE_MAX ? state->table->max_rows : state->table->sum_rows;
    if (state->vector_stride == 1) {
        rows(n_rows, stride, n_columns, x, accumulators);
        return;
    }
    double buffer[BUFFER];
    for (int64_t i = 0; i < n_rows; i++) {
        gather(state, at(state, x, i * stride), state->vector_stride, n_columns, buffer);
        rows(1, 0, n_columns, buffer, accumulators);
    }
}

/* Moves index, which counts over dims[0..rank), one further; returns the change of the offset. */
static int64_t advance(const reduce_dims *dims, int rank, int64_t *index)
{
    int64_t change = 0;
    for (int i = rank - 1; i >= 0; i--) {
        change += dims->strides[i];
        if (++index[i] < dims->dims[i])
            break;
        change -= dims->dims[i] * dims->strides[i];
        index[i] = 0;
    }
    return change;
}

/* One result (runs) or one block of columns, over one part of the reduced elements. */
static void reduce_task(const reduce_state *state, const void *x, int64_t task, int64_t part,
                        double *values)
{
    const reduce_dims *reduced = &state->reduced;
    int64_t block = 0, n_columns = 1, position = task;
    if (state->by_columns) {
        block = task % state->column_blocks * EBB_REDUCE_COLUMNS;
        position = task / state->column_blocks;
        n_columns = state->vector - block < EBB_REDUCE_COLUMNS ? state->vector - block
                                                               : EBB_REDUCE_COLUMNS;
    }
    for (int64_t j = 0; j < n_columns; j++)
        values[j] = empty_value(state);
    int64_t offset = state->by_columns ? block * state->vector_stride : 0;
    for (int i = state->kept.rank - 1; i >= 0; i--) {
        offset += position % state->kept.dims[i] * state->kept.strides[i];
        position /= state->kept.dims[i];
    }
    if (reduced->rank == 0) {
        int64_t begin, end;
        ebb_parallel_part(state->by_columns ? 1 : state->vector, (int)part, (int)state->n_parts,
                          &begin, &end);
        if (state->by_columns)
            reduce_rows(state, at(state, x, offset), 1, 0, n_columns, values);
        else
            values[0] = reduce_run(state, at(state, x, offset + begin * state->vector_stride),
                                   end - begin);
        return;
    }
    int64_t begin, end, index[EBB_MAX_RANK] = { 0 };
    ebb_parallel_part(reduced->dims[0], (int)part, (int)state->n_parts, &begin, &end);
    offset += begin * reduced->strides[0];
    /* With columns, the innermost reduced dimension is left to the inner loop. */
    int outer = state->by_columns ? reduced->rank - 1 : reduced->rank;
    if (outer == 0) {
        reduce_rows(state, at(state, x, offset), end - begin, reduced->strides[0], n_columns,
                    values);
        return;
    }
    int64_t steps = end - begin;
    for (int i = 1; i < outer; i++)
        steps *= reduced->dims[i];
    for (; steps > 0; steps--) {
        if (state->by_columns)
            reduce_rows(state, at(state, x, offset), reduced->dims[outer], reduced->strides[outer],
                        n_columns, values);
        else
            values[0] =
                combine(state, values[0], reduce_run(state, at(state, x, offset), state->vector));
        offset += advance(reduced, outer, index);
    }
}

static void reduce_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const reduce_state *state = call->state;
    int64_t begin, end;
    ebb_parallel_part(state->n_tasks * state->n_parts, index, n, &begin, &end);
    double values[EBB_REDUCE_COLUMNS];
    for (int64_t i = begin; i < end; i++) {
        int64_t task = i / state->n_parts, part = i % state->n_parts;
        int64_t first = task, n_values = 1;
        if (state->by_columns) {
            int64_t block = task % state->column_blocks * EBB_REDUCE_COLUMNS;
            first = task / state->column_blocks * state->vector + block;
            n_values = state->vector - block < EBB_REDUCE_COLUMNS ? state->vector - block
                                                                  : EBB_REDUCE_COLUMNS;
        }
        reduce_task(state, call->inputs[0], task, part, values);
        for (int64_t j = 0; j < n_values; j++) {
            if (state->n_parts == 1)
                write_result(state, call->results[0], first + j, values[j]);
            else
                partials_of(call)[part * state->n_results + first + j] = values[j];
        }
    }
}

static ebb_status run_reduce(const ebb_call *call)
{
    const reduce_state *state = call->state;
    ebb_parallel(state->n_threads, reduce_part, (void *)call);
    if (state->n_parts > 1) {
        const double *partials = partials_of(call);
        for (int64_t i = 0; i < state->n_results; i++) {
            double value = partials[i];
            for (int64_t part = 1; part < state->n_parts; part++)
                value = combine(state, value, partials[part * state->n_results + i]);
            write_result(state, call->results[0], i, value);
        }
    }
    return EBB_OK;
}

static void append_dim(reduce_dims *dims, int64_t dim, int64_t stride)
{
    dims->n *= dim;
    dims->dims[dims->rank] = dim;
    dims->strides[dims->rank++] = stride;
}

static void remove_dim(reduce_dims *dims, int index)
{
    for (int i = index; i + 1 < dims->rank; i++) {
        dims->dims[i] = dims->dims[i + 1];
        dims->strides[i] = dims->strides[i + 1];
    }
    dims->rank--;
}

/* Merges neighbours of the input that are both kept or both reduced, and sorts them into the two lists. */
static void collect_dims(const ebb_operand *input, unsigned mask, reduce_state *state)
{
    const ebb_shape *shape = &input->type->shape;
    reduce_dims *last_list = NULL;
    state->kept.n = state->reduced.n = 1;
    for (int i = 0; i < shape->rank; i++) {
        int64_t dim = shape->dims[i], stride = input->layout.strides[i];
        if (dim == 1)
            continue;
        reduce_dims *list = mask & 1u << i ? &state->reduced : &state->kept;
        int last = list->rank - 1;
        if (list == last_list && list->strides[last] == stride * dim) {
            list->n *= dim;
            list->dims[last] *= dim;
            list->strides[last] = stride;
        } else {
            append_dim(list, dim, stride);
        }
        last_list = list;
    }
    state->n_results = state->kept.n;
    state->n_terms = state->reduced.n;
}

static int find_stride(const reduce_dims *dims, int64_t stride)
{
    for (int i = dims->rank - 1; i >= 0; i--)
        if (dims->strides[i] == stride)
            return i;
    return -1;
}

/* Chooses the dimension of the inner loop. Columns need the last kept one: their results lie side by side. */
static void choose_vector(reduce_state *state)
{
    reduce_dims *kept = &state->kept, *reduced = &state->reduced;
    int run = find_stride(reduced, 1);
    bool has_columns = kept->rank > 0 && kept->strides[kept->rank - 1] == 1;
    if (run < 0 && reduced->rank > 0 && !has_columns)
        run = reduced->rank - 1;
    state->by_columns = has_columns && (run < 0 || reduced->dims[run] == 1);
    if (state->by_columns) {
        state->vector = kept->dims[kept->rank - 1];
        state->vector_stride = kept->strides[kept->rank - 1];
        state->column_blocks = (state->vector + EBB_REDUCE_COLUMNS - 1) / EBB_REDUCE_COLUMNS;
        remove_dim(kept, kept->rank - 1);
    } else if (run >= 0) {
        state->vector = reduced->dims[run];
        state->vector_stride = reduced->strides[run];
        remove_dim(reduced, run);
    } else {
        state->vector = 1; /* nothing is reduced */
        state->vector_stride = 1;
    }
}

static ebb_status compile_reduce(const ebb_region *region, const ebb_compile_env *env,
                                 ebb_kernel *kernel)
{
    reduce_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_operand *input = &region->inputs[0];
    const ebb_reduce_attrs *attrs = region->attrs;
    const ebb_vector_isa *isa = ebb_vector_isa_here();
    state->kind = region->op == &ebb_op_reduce_max    ? REDUCE_MAX
                  : region->op == &ebb_op_reduce_mean ? REDUCE_MEAN
                                                      : REDUCE_SUM;
    state->dtype = input->type->dtype;
    state->bytes = ebb_dtype_bytes(state->dtype);
    state->table = state->dtype == EBB_F32 ? isa->reduce_f32 : isa->reduce_f64;
    collect_dims(input, ebb_axes_mask(&attrs->axes, input->type->shape.rank), state);
    choose_vector(state);
    kernel->implementation = state->by_columns ? "columns" : "runs";
    int64_t n_elements = ebb_shape_elements(&input->type->shape);
    state->n_tasks = state->by_columns ? state->n_results / (state->vector ? state->vector : 1) *
                                             state->column_blocks
                                       : state->n_results;
    /* Parts of at least EBB_CHEAP_WORK elements, if there are fewer results than threads could share. */
    state->n_parts = 1;
    if (state->n_tasks > 0 && state->n_tasks < 32) {
        int64_t splittable = state->reduced.rank > 0 ? state->reduced.dims[0]
                             : state->by_columns     ? 1
                                                     : state->vector;
        int64_t wanted = n_elements / EBB_CHEAP_WORK;
        wanted = wanted > 64 / state->n_tasks ? 64 / state->n_tasks : wanted;
        wanted = wanted > splittable ? splittable : wanted;
        state->n_parts = wanted > 1 ? wanted : 1;
    }
    if (state->n_parts > 1)
        kernel->scratch_bytes = (size_t)(state->n_parts * state->n_results) * sizeof(double);
    kernel->n_threads = state->n_threads = ebb_native_threads(region, n_elements, EBB_CHEAP_WORK);
    kernel->run = run_reduce;
    kernel->state = state;
    return EBB_OK;
}

static int score_reduce(const ebb_region *region)
{
    return ebb_dtype_is_float(region->inputs[0].type->dtype) ? EBB_SCORE_BEST : EBB_SCORE_NONE;
}

const ebb_native_kind ebb_native_reduce = { score_reduce, compile_reduce };
