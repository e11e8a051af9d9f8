/* Reductions of floats over any axes of operands of any layout.
 *
 * After merging dimensions, the one with stride 1 decides: if it is reduced, runs of it are summed
 * ("runs"); if it is kept, blocks of columns are summed row by row ("columns"). Few results out of
 * many elements are split along a reduced dimension into parts, whose partial results are added in
 * order: the split depends on the shape alone, so the result has the same bits with any number of
 * threads. */
#include "backends/native/reduce.h"
#include "ops/build.h"
#include <math.h>

static const ebb_reduce_kind reduce_kinds[] = {
    { &ebb_op_reduce_sum, EBB_REDUCE_SUM, false, 0 },
    { &ebb_op_reduce_mean, EBB_REDUCE_SUM, false, 0 },
    { &ebb_op_reduce_prod, EBB_REDUCE_PRODUCT, false, 1 },
    { &ebb_op_reduce_max, EBB_REDUCE_MAX, false, -(double)INFINITY },
    { &ebb_op_reduce_min, EBB_REDUCE_MIN, false, (double)INFINITY },
    { &ebb_op_norm_l1, EBB_REDUCE_MAGNITUDES, false, 0 },
    { &ebb_op_norm_l2, EBB_REDUCE_SQUARES, false, 0 },
    { &ebb_op_logsumexp, EBB_REDUCE_EXP_SUM, true, -(double)INFINITY },
    { &ebb_op_variance, EBB_REDUCE_DEVIATIONS, true, 0 },
};

const ebb_reduce_kind *ebb_reduce_kind_of(const ebb_op *op)
{
    for (size_t i = 0; i < sizeof reduce_kinds / sizeof *reduce_kinds; i++)
        if (reduce_kinds[i].op == op)
            return &reduce_kinds[i];
    return NULL;
}

/* Accumulators of up to EBB_REDUCE_COLUMNS results, over `count` elements each. */
typedef struct reduce_sums {
    int64_t count;
    double first[EBB_REDUCE_COLUMNS], second[EBB_REDUCE_COLUMNS];
} reduce_sums;

typedef struct reduce_dims {
    int rank;
    int64_t dims[EBB_MAX_RANK], strides[EBB_MAX_RANK]; /* of the input */
    int64_t n;                                         /* product */
} reduce_dims;

typedef struct reduce_state {
    const ebb_reduce_kind *kind;
    double divisor; /* of a mean */
    ebb_dtype dtype;
    size_t bytes; /* of an element */
    const ebb_reduce_table *table;
    reduce_dims kept;    /* all kept dimensions but `columns`, in order */
    reduce_dims reduced; /* all reduced dimensions but `run`, outermost first; the first is the one
                            that is split */
    /* Columns: the dimension that is kept with input stride `vector_stride`, and how its results
     * lie. Runs: the dimension that is summed along. */
    bool by_columns;
    int64_t vector, vector_stride;
    int64_t column_blocks;
    int64_t n_results, n_terms;
    int64_t n_tasks, n_parts;
    bool has_short_rows; /* many sums of runs that lie one behind the other */
    int n_threads;
} reduce_state;

#define SHORT_ROW 64

/* Elements that are read into a buffer at a time if they do not lie densely. */
#define BUFFER 256

static double finite_or_zero(double x)
{
    return isfinite(x) ? x : 0;
}

void ebb_reduce_write(const ebb_reduce_kind *kind, ebb_dtype dtype, double divisor, double first,
                      double second, void *results, int64_t index)
{
    double value = first;
    if (kind->op == &ebb_op_reduce_mean)
        value = first / divisor;
    else if (kind->op == &ebb_op_norm_l2)
        value = sqrt(first);
    else if (kind->op == &ebb_op_logsumexp)
        value = finite_or_zero(first) + log(second);
    else if (kind->op == &ebb_op_variance)
        value = second / divisor;
    if (dtype == EBB_F32)
        ((float *)results)[index] = (float)value;
    else
        ((double *)results)[index] = value;
}

static void write_result(const reduce_state *state, void *results, int64_t index, double first,
                         double second)
{
    ebb_reduce_write(state->kind, state->dtype, state->divisor, first, second, results, index);
}

double ebb_reduce_combine(const ebb_reduce_kind *kind, double a, double b)
{
    switch (kind->fold) {
    case EBB_REDUCE_MAX:
        return b > a || isnan(b) ? b : a;
    case EBB_REDUCE_MIN:
        return b < a || isnan(b) ? b : a;
    case EBB_REDUCE_PRODUCT:
        return a * b;
    default:
        return a + b;
    }
}

/* Of one result: what two parts have accumulated. */
typedef struct reduce_part_sum {
    double count, first, second;
} reduce_part_sum;

static reduce_part_sum combine_parts(const reduce_state *state, reduce_part_sum a,
                                     reduce_part_sum b)
{
    reduce_part_sum both = { a.count + b.count, 0, 0 };
    if (!state->kind->is_pair) {
        both.first = ebb_reduce_combine(state->kind, a.first, b.first);
    } else if (state->kind->fold == EBB_REDUCE_EXP_SUM) {
        both.first = b.first > a.first || isnan(b.first) ? b.first : a.first;
        double shift = finite_or_zero(both.first);
        both.second = (a.second != 0 ? a.second * exp(finite_or_zero(a.first) - shift) : 0) +
                      (b.second != 0 ? b.second * exp(finite_or_zero(b.first) - shift) : 0);
    } else if (both.count > 0) { /* Chan, Golub & LeVeque 1983, eq. 2.1 */
        double change = b.first - a.first, weight = b.count / both.count;
        both.first = a.first + change * weight;
        both.second = a.second + b.second + change * change * a.count * weight;
    }
    return both;
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

static void add_run(const reduce_state *state, const void *x, int64_t n, reduce_sums *sums)
{
    const int fold = state->kind->fold;
    if (state->kind->is_pair)
        state->table->pair_run[fold](n, x, sums->count, sums->first, sums->second);
    else
        sums->first[0] =
            ebb_reduce_combine(state->kind, sums->first[0], state->table->run[fold](n, x));
    sums->count += n;
}

static void reduce_run(const reduce_state *state, const char *x, int64_t n, reduce_sums *sums)
{
    if (state->vector_stride == 1) {
        add_run(state, x, n, sums);
        return;
    }
    double buffer[BUFFER];
    for (int64_t i = 0; i < n; i += BUFFER) {
        int64_t count = n - i < BUFFER ? n - i : BUFFER;
        gather(state, at(state, x, i * state->vector_stride), state->vector_stride, count, buffer);
        add_run(state, buffer, count, sums);
    }
}

static void add_rows(const reduce_state *state, const void *x, int64_t n_rows, int64_t stride,
                     int64_t n_columns, reduce_sums *sums)
{
    const int fold = state->kind->fold;
    if (state->kind->is_pair)
        state->table->pair_rows[fold](n_rows, stride, n_columns, x, sums->count, sums->first,
                                      sums->second);
    else
        state->table->rows[fold](n_rows, stride, n_columns, x, sums->first);
    sums->count += n_rows;
}

static void reduce_rows(const reduce_state *state, const char *x, int64_t n_rows, int64_t stride,
                        int64_t n_columns, reduce_sums *sums)
{
    if (state->vector_stride == 1) {
        add_rows(state, x, n_rows, stride, n_columns, sums);
        return;
    }
    double buffer[BUFFER];
    for (int64_t i = 0; i < n_rows; i++) {
        gather(state, at(state, x, i * stride), state->vector_stride, n_columns, buffer);
        add_rows(state, buffer, 1, 0, n_columns, sums);
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
                        reduce_sums *sums)
{
    const reduce_dims *reduced = &state->reduced;
    int64_t block = 0, n_columns = 1, position = task;
    if (state->by_columns) {
        block = task % state->column_blocks * EBB_REDUCE_COLUMNS;
        position = task / state->column_blocks;
        n_columns =
            state->vector - block < EBB_REDUCE_COLUMNS ? state->vector - block : EBB_REDUCE_COLUMNS;
    }
    for (int64_t j = 0; j < n_columns; j++)
        sums->first[j] = state->kind->start;
    if (state->kind->is_pair)
        for (int64_t j = 0; j < n_columns; j++)
            sums->second[j] = 0;
    sums->count = 0;
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
            reduce_rows(state, at(state, x, offset), 1, 0, n_columns, sums);
        else
            reduce_run(state, at(state, x, offset + begin * state->vector_stride), end - begin,
                       sums);
        return;
    }
    int64_t begin, end, index[EBB_MAX_RANK] = { 0 };
    ebb_parallel_part(reduced->dims[0], (int)part, (int)state->n_parts, &begin, &end);
    offset += begin * reduced->strides[0];
    /* With columns, the innermost reduced dimension is left to the inner loop. */
    int outer = state->by_columns ? reduced->rank - 1 : reduced->rank;
    if (outer == 0) {
        reduce_rows(state, at(state, x, offset), end - begin, reduced->strides[0], n_columns, sums);
        return;
    }
    int64_t steps = end - begin;
    for (int i = 1; i < outer; i++)
        steps *= reduced->dims[i];
    for (; steps > 0; steps--) {
        if (state->by_columns)
            reduce_rows(state, at(state, x, offset), reduced->dims[outer], reduced->strides[outer],
                        n_columns, sums);
        else
            reduce_run(state, at(state, x, offset), state->vector, sums);
        offset += advance(reduced, outer, index);
    }
}

/* Sums of rows begin..end-1, short and dense: several at once. */
static void sum_short_rows(const reduce_state *state, const void *x, void *result, int64_t begin,
                           int64_t end)
{
    char *to = (char *)result + begin * (int64_t)state->bytes;
    state->table->short_sum_rows(end - begin, state->vector, at(state, x, begin * state->vector),
                                 to);
    for (int64_t i = 0; i < end - begin && state->kind->op == &ebb_op_reduce_mean; i++) {
        if (state->dtype == EBB_F32)
            ((float *)(void *)to)[i] = (float)((double)((float *)(void *)to)[i] / state->divisor);
        else
            ((double *)(void *)to)[i] /= state->divisor;
    }
}

static void reduce_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const reduce_state *state = call->state;
    reduce_part_sum *partials = call->scratch;
    int64_t begin, end;
    ebb_parallel_part(state->n_tasks * state->n_parts, index, n, &begin, &end);
    if (state->has_short_rows) {
        sum_short_rows(state, call->inputs[0], call->results[0], begin, end);
        return;
    }
    reduce_sums sums;
    for (int64_t i = begin; i < end; i++) {
        int64_t task = i / state->n_parts, part = i % state->n_parts;
        int64_t first = task, n_values = 1;
        if (state->by_columns) {
            int64_t block = task % state->column_blocks * EBB_REDUCE_COLUMNS;
            first = task / state->column_blocks * state->vector + block;
            n_values = state->vector - block < EBB_REDUCE_COLUMNS ? state->vector - block
                                                                  : EBB_REDUCE_COLUMNS;
        }
        reduce_task(state, call->inputs[0], task, part, &sums);
        for (int64_t j = 0; j < n_values; j++) {
            if (state->n_parts == 1)
                write_result(state, call->results[0], first + j, sums.first[j],
                             state->kind->is_pair ? sums.second[j] : 0);
            else
                partials[part * state->n_results + first + j] =
                    (reduce_part_sum){ (double)sums.count, sums.first[j],
                                       state->kind->is_pair ? sums.second[j] : 0 };
        }
    }
}

static ebb_status run_reduce(const ebb_call *call)
{
    const reduce_state *state = call->state;
    ebb_parallel(state->n_threads, reduce_part, (void *)call);
    if (state->n_parts > 1) {
        const reduce_part_sum *partials = call->scratch;
        for (int64_t i = 0; i < state->n_results; i++) {
            reduce_part_sum sum = partials[i];
            for (int64_t part = 1; part < state->n_parts; part++)
                sum = combine_parts(state, sum, partials[part * state->n_results + i]);
            write_result(state, call->results[0], i, sum.first, sum.second);
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

/* Merges neighbours of the input that are both kept or both reduced, and sorts them into the two
 * lists. */
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

/* Chooses the dimension of the inner loop. Columns need the last kept one: their results lie side
 * by side. */
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
    const ebb_reduce_attrs *attrs = region->attrs; /* of variance: its beginning */
    const ebb_vector_isa *isa = ebb_native_isa(env);
    state->kind = ebb_reduce_kind_of(region->op);
    state->dtype = input->type->dtype;
    state->bytes = ebb_dtype_bytes(state->dtype);
    state->table = state->dtype == EBB_F32 ? isa->reduce_f32 : isa->reduce_f64;
    collect_dims(input, ebb_axes_mask(&attrs->axes, input->type->shape.rank), state);
    choose_vector(state);
    state->divisor = (double)state->n_terms;
    if (region->op == &ebb_op_variance && state->n_terms > 0)
        state->divisor -= (double)((const ebb_variance_attrs *)region->attrs)->ddof;
    kernel->implementation = state->by_columns ? "columns" : "runs";
    int64_t n_elements = ebb_shape_elements(&input->type->shape);
    state->n_tasks = state->by_columns ? state->n_results / (state->vector ? state->vector : 1) *
                                             state->column_blocks
                                       : state->n_results;
    /* Parts of at least EBB_CHEAP_WORK elements, if there are fewer results than threads could
     * share. */
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
        kernel->scratch_bytes =
            (size_t)(state->n_parts * state->n_results) * sizeof(reduce_part_sum);
    kernel->n_threads = state->n_threads = ebb_native_threads(
        region, n_elements, region->op == &ebb_op_logsumexp ? EBB_COSTLY_WORK : EBB_CHEAP_WORK);
    state->has_short_rows = state->kind->fold == EBB_REDUCE_SUM && !state->kind->is_pair &&
                            !state->by_columns && state->n_parts == 1 && state->reduced.rank == 0 &&
                            state->vector_stride == 1 && state->vector > 0 &&
                            state->vector <= SHORT_ROW && state->kept.rank == 1 &&
                            state->kept.strides[0] == state->vector;
    if (state->has_short_rows)
        kernel->implementation = "short_runs";
    kernel->run = run_reduce;
    kernel->state = state;
    return EBB_OK;
}

static int score_reduce(const ebb_region *region)
{
    return ebb_dtype_is_float(region->inputs[0].type->dtype) ? EBB_SCORE_BEST : EBB_SCORE_NONE;
}

const ebb_native_kind ebb_native_reduce = { score_reduce, compile_reduce };
