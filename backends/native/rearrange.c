/* concat, pad and slice_grad: each row of the result is made of runs of elements, which are copied
 * from wherever they lie. */
#include "backends/native/channels.h"
#include "ops/build.h"
#include "ops/pad.h"
#include "ops/slice.h"
#include <string.h>

/* The result is dense, or has its channels last, which is better if inputs lie so, too. */
static int score_result(const ebb_operand *result, bool has_last)
{
    if (ebb_channels_lie_last(result))
        return EBB_SCORE_BEST;
    if (!ebb_layout_is_dense(&result->layout, &result->type->shape))
        return EBB_SCORE_NONE;
    return has_last ? EBB_SCORE_NATIVE : EBB_SCORE_BEST;
}

/* The dimensions of the result as they lie in memory, outermost first. Kernels see all operands in
 * this order, so that for them the result is always dense. */
static void find_order(const ebb_operand *result, int *order)
{
    const int rank = result->type->shape.rank;
    const bool is_last = ebb_channels_lie_last(result);
    for (int i = 0; i < rank; i++)
        order[i] = !is_last || i == 0 ? i : i == rank - 1 ? 1 : i + 1;
}

static int score_concat(const ebb_region *region)
{
    bool has_last = false;
    for (int i = 0; i < region->n_inputs; i++)
        has_last = has_last || ebb_channels_lie_last(&region->inputs[i]);
    return score_result(&region->results[0], has_last);
}

/* ---- concat: the result seen as rows, of which input i has lengths[i] elements ---- */

typedef struct concat_state {
    int n_inputs, n_threads;
    ebb_walk *walks;  /* of each input */
    int64_t *lengths; /* of each input */
    int64_t length;   /* of a row */
    int64_t n_elements;
    size_t bytes;
} concat_state;

/* Elements begin..end-1 of the result, as far as they come from input i, which starts at `start` in
 * each row. */
static void concat_input(const concat_state *state, int i, int64_t start, const ebb_call *call,
                         int64_t begin, int64_t end)
{
    const int64_t own = state->lengths[i];
    int64_t row = begin / state->length, from = begin % state->length - start;
    from = from < 0 ? 0 : from < own ? from : own;
    ebb_cursor cursor = ebb_cursor_at(&state->walks[i], call->inputs[i], row * own + from);
    for (; row * state->length + start < end; row++, from = 0) {
        const int64_t to = row * state->length + start + from;
        const int64_t run = own - from < end - to ? own - from : end - to;
        if (run > 0)
            ebb_cursor_read(&cursor, run, (char *)call->results[0] + (size_t)to * state->bytes);
    }
}

static void concat_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const concat_state *state = call->state;
    int64_t begin, end, start = 0;
    ebb_parallel_part(state->n_elements, index, n, &begin, &end);
    for (int i = 0; i < state->n_inputs && begin < end; i++) {
        if (state->lengths[i] > 0)
            concat_input(state, i, start, call, begin, end);
        start += state->lengths[i];
    }
}

static ebb_status run_concat(const ebb_call *call)
{
    const concat_state *state = call->state;
    ebb_parallel(state->n_threads, concat_part, (void *)call);
    return EBB_OK;
}

static ebb_status compile_concat(const ebb_region *region, const ebb_compile_env *env,
                                 ebb_kernel *kernel)
{
    const size_t n = (size_t)region->n_inputs;
    concat_state *state = ebb_native_allocate(region, env, sizeof *state);
    ebb_walk *walks = state ? ebb_native_allocate(region, env, n * sizeof *walks) : NULL;
    int64_t *lengths = walks ? ebb_native_allocate(region, env, n * sizeof *lengths) : NULL;
    if (!lengths)
        return EBB_OUT_OF_MEMORY;
    const ebb_type *type = region->results[0].type;
    const ebb_axis_attrs *attrs = region->attrs;
    const int axis = ebb_axis_of(attrs->axis, type->shape.rank);
    int order[EBB_MAX_RANK];
    find_order(&region->results[0], order);
    *state = (concat_state){ .n_inputs = region->n_inputs, .walks = walks, .lengths = lengths };
    state->bytes = ebb_dtype_bytes(type->dtype);
    state->n_elements = ebb_shape_elements(&type->shape);
    for (int i = 0; i < region->n_inputs; i++) {
        const ebb_operand *input = &region->inputs[i];
        ebb_shape shape = { .rank = type->shape.rank };
        int64_t strides[EBB_MAX_RANK];
        bool is_behind = false;
        lengths[i] = 1;
        for (int d = 0; d < shape.rank; d++) {
            shape.dims[d] = input->type->shape.dims[order[d]];
            strides[d] = input->layout.strides[order[d]];
            is_behind = is_behind || order[d] == axis;
            if (is_behind)
                lengths[i] *= shape.dims[d];
        }
        walks[i] = ebb_walk_make(&shape, strides, state->bytes);
        state->length += lengths[i];
    }
    kernel->n_threads = state->n_threads =
        ebb_native_threads(region, state->n_elements, EBB_CHEAP_WORK);
    kernel->run = run_concat;
    kernel->state = state;
    kernel->implementation = "runs";
    return EBB_OK;
}

const ebb_native_kind ebb_native_concat = { score_concat, compile_concat };

/* ---- pad and slice_grad: an element comes from one of the input, or is a constant ---- */

typedef struct spread_state {
    bool is_pad; /* else slice_grad */
    ebb_pad_mode mode;
    int rank;                    /* >= 1 */
    int64_t dims[EBB_MAX_RANK];  /* of the result */
    int64_t sizes[EBB_MAX_RANK]; /* of the input */
    int64_t strides[EBB_MAX_RANK];
    /* Element i of the input is at start + i * step; pad: step 1. */
    int64_t starts[EBB_MAX_RANK], steps[EBB_MAX_RANK];
    int64_t n_rows;
    size_t bytes;
    double constant; /* as large as any element */
    int n_threads;
} spread_state;

/* The index along dimension d of the input; -1: none. */
static int64_t source_of(const spread_state *state, int d, int64_t i)
{
    i -= state->starts[d];
    if (state->is_pad)
        return ebb_pad_source(state->mode, i, state->sizes[d]);
    const int64_t source = i / state->steps[d];
    return i % state->steps[d] == 0 && source >= 0 && source < state->sizes[d] ? source : -1;
}

static char *write_constants(const spread_state *state, int64_t n, char *to)
{
    if (n > 0)
        ebb_row_read((const char *)&state->constant, 0, n, state->bytes, to);
    return to + n * (int64_t)state->bytes;
}

/* Elements first, first + step, .. of a row of the input. */
static char *write_run(const spread_state *state, const char *row, int64_t first, int64_t step,
                       int64_t n, char *to)
{
    const int64_t stride = state->strides[state->rank - 1], bytes = (int64_t)state->bytes;
    if (n > 0)
        ebb_row_read(row + first * stride * bytes, stride * step, n, state->bytes, to);
    return to + n * bytes;
}

/* Places begin..end-1 of a padded row, which lie in front of or behind the input's. */
static char *write_padding(const spread_state *state, const char *row, int64_t begin, int64_t end,
                           char *to)
{
    const int last = state->rank - 1;
    if (state->mode == EBB_PAD_CONSTANT)
        return write_constants(state, end - begin, to);
    if (state->mode == EBB_PAD_EDGE)
        return write_run(state, row, source_of(state, last, begin), 0, end - begin, to);
    for (int64_t i = begin; i < end; i++)
        to = write_run(state, row, source_of(state, last, i), 0, 1, to);
    return to;
}

static void write_padded_row(const spread_state *state, const char *row, char *to)
{
    const int last = state->rank - 1;
    const int64_t first = state->starts[last], size = state->sizes[last];
    to = write_padding(state, row, 0, first, to);
    to = write_run(state, row, 0, 1, size, to);
    write_padding(state, row, first + size, state->dims[last], to);
}

static void write_sliced_row(const spread_state *state, const char *row, char *to)
{
    const int last = state->rank - 1;
    const int64_t n = state->sizes[last], step = state->steps[last];
    if (step == 1 || step == -1) {
        const int64_t first = step > 0 ? state->starts[last] : state->starts[last] - (n - 1);
        to = write_constants(state, first, to);
        to = write_run(state, row, step > 0 ? 0 : n - 1, step, n, to);
        write_constants(state, state->dims[last] - first - n, to);
        return;
    }
    write_constants(state, state->dims[last], to);
    to += state->starts[last] * (int64_t)state->bytes;
    for (int64_t i = 0; i < n; i++)
        write_run(state, row, i, 0, 1, to + i * step * (int64_t)state->bytes);
}

static void spread_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const spread_state *state = call->state;
    const int last = state->rank - 1;
    const int64_t row_bytes = state->dims[last] * (int64_t)state->bytes;
    int64_t begin, end;
    ebb_parallel_part(state->n_rows, index, n, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        int64_t rest = r, at = 0;
        bool is_inside = state->sizes[last] > 0;
        for (int d = last - 1; d >= 0 && is_inside; d--) {
            const int64_t source = source_of(state, d, rest % state->dims[d]);
            rest /= state->dims[d];
            is_inside = source >= 0;
            at += source * state->strides[d];
        }
        char *to = (char *)call->results[0] + r * row_bytes;
        const char *row = (const char *)call->inputs[0] + at * (int64_t)state->bytes;
        if (!is_inside)
            write_constants(state, state->dims[last], to);
        else if (state->is_pad)
            write_padded_row(state, row, to);
        else
            write_sliced_row(state, row, to);
    }
}

static ebb_status run_spread(const ebb_call *call)
{
    const spread_state *state = call->state;
    if (state->n_rows > 0)
        ebb_parallel(state->n_threads, spread_part, (void *)call);
    return EBB_OK;
}

static ebb_status compile_spread(const ebb_region *region, const ebb_compile_env *env,
                                 ebb_kernel *kernel)
{
    spread_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_operand *input = &region->inputs[0];
    const ebb_type *type = region->results[0].type;
    const ebb_shape *in = &input->type->shape, *out = &type->shape;
    *state = (spread_state){ .is_pad = region->op == &ebb_op_pad, .rank = out->rank };
    state->bytes = ebb_dtype_bytes(type->dtype);
    ebb_slice_range ranges[EBB_MAX_RANK] = { { 0, 1, 0 } };
    if (state->is_pad) {
        const ebb_pad_attrs *attrs = region->attrs;
        const ebb_tensor constant = ebb_tensor_borrow(type->dtype, EBB_SCALAR, &state->constant);
        ebb_tensor_set(&constant, 0, attrs->value);
        state->mode = (ebb_pad_mode)attrs->mode;
        for (int d = 0; d < out->rank; d++)
            ranges[d] = (ebb_slice_range){ attrs->before.values[d], 1, 0 };
    } else {
        ebb_slice_ranges(&((const ebb_slice_grad_attrs *)region->attrs)->slice, out, ranges);
    }
    state->dims[0] = state->sizes[0] = state->strides[0] = state->steps[0] = 1; /* of a scalar */
    int order[EBB_MAX_RANK];
    find_order(&region->results[0], order);
    for (int d = 0; d < out->rank; d++) {
        state->dims[d] = out->dims[order[d]];
        state->sizes[d] = in->dims[order[d]];
        state->strides[d] = input->layout.strides[order[d]];
        state->starts[d] = ranges[order[d]].start;
        state->steps[d] = ranges[order[d]].step;
    }
    if (state->rank == 0)
        state->rank = 1;
    const int64_t n = ebb_shape_elements(out);
    state->n_rows = n > 0 ? n / state->dims[state->rank - 1] : 0;
    kernel->n_threads = state->n_threads =
        state->n_rows < 2 ? 1 : ebb_native_threads(region, n, EBB_CHEAP_WORK);
    kernel->run = run_spread;
    kernel->state = state;
    kernel->implementation = "rows";
    return EBB_OK;
}

/* The input's channels have stride 1, though there may be gaps between its pixels. */
static bool has_channels_last(const ebb_operand *input)
{
    const ebb_shape *shape = &input->type->shape;
    return shape->rank > 2 && shape->dims[1] > 1 && input->layout.strides[1] == 1 &&
           !ebb_layout_is_dense(&input->layout, shape);
}

static int score_spread(const ebb_region *region)
{
    return score_result(&region->results[0], has_channels_last(&region->inputs[0]));
}

bool ebb_native_spread_wish(const ebb_region *region, ebb_layout *results)
{
    if (!has_channels_last(&region->inputs[0]))
        return false;
    results[0] = ebb_layout_channels_last(&region->results[0].type->shape);
    return true;
}

const ebb_native_kind ebb_native_spread = { score_spread, compile_spread };
