/* Dense copies of any layout: what the runtime uses for values that cannot stay views, and view
 * ops. */
#include "backends/native/native.h"
#include <string.h>

/* The blocks in which a transposed operand is copied. */
#define NEAR_BLOCK EBB_TRANSPOSED_NEAR
#define LAST_BLOCK EBB_TRANSPOSED_LAST
/* Rows of the operand that lie a multiple of this apart share so few places of the caches that the
 * next block of as many would push this one out. Of those that lie nearer, less is in a block, so
 * that it stays in the first-level cache. */
#define CROWDED_BYTES 2048
#define CROWDED_BLOCK 64
/* Columns of blocks that go past the caches, where there are more than EBB_PAST_LAST. */
#define PAST_LAST_BLOCK 64

/* Dimensions of the walk that are gone over like one, the fastest first. */
typedef struct dim_group {
    int n, dims[EBB_MAX_RANK];
    int64_t length;
} dim_group;

typedef struct copy_state {
    ebb_walk walk;
    /* Transposed: dimension `near` of the walk, not the last, has the smallest stride. */
    bool is_transposed;
    int near;
    int64_t near_block, last_block;
    int64_t near_blocks, last_blocks, n_tasks;
    int64_t result_strides[EBB_MAX_RANK];
    int64_t offset_bytes; /* of the first element, from where the input is */
    int n_threads;
    const ebb_move_table *move;
    bool is_streamed; /* past the caches */
    bool is_past; /* and transposed by way of these groups: near_blocks, last_blocks are theirs */
    dim_group nears, lasts;
} copy_state;

static void copy_rows(void *context, int index, int n)
{
    const ebb_call *call = context;
    const copy_state *state = call->state;
    const ebb_walk *walk = &state->walk;
    int64_t begin, end;
    ebb_parallel_part((walk->n_elements + 63) / 64, index, n, &begin, &end);
    begin *= 64;
    end = end * 64 < walk->n_elements ? end * 64 : walk->n_elements;
    if (begin >= end)
        return;
    ebb_cursor cursor =
        ebb_cursor_at(walk, (const char *)call->inputs[0] + state->offset_bytes, begin);
    char *result = (char *)call->results[0] + (size_t)begin * walk->element_bytes;
    if (!state->is_streamed) {
        ebb_cursor_read(&cursor, end - begin, result);
        return;
    }
    _Alignas(64) char buffer[4096];
    const int last = walk->rank - 1;
    for (int64_t length; begin < end; begin += length) {
        const int64_t left = walk->dims[last] - cursor.index[last];
        length = (int64_t)(sizeof buffer / walk->element_bytes);
        if (walk->strides[last] == 1 && left < length && left >= length / 16)
            length = left; /* where they lie */
        length = length < end - begin ? length : end - begin;
        const void *data = ebb_cursor_take(&cursor, length, buffer);
        const size_t n_bytes = (size_t)length * walk->element_bytes;
        if (data != buffer)
            ebb_native_prefetch(data, n_bytes);
        state->move->stream(result, data, n_bytes);
        result += n_bytes;
    }
    state->move->finish_stream();
}

/* to[i * to_near + j] = from[i * from_near + j * from_last] */
#define COPY_BLOCK(T, name)                                                                        \
    static void name(const char *source, int64_t from_near, int64_t from_last, char *target,       \
                     int64_t to_near, int64_t n_near, int64_t n_last)                              \
    {                                                                                              \
        const T *from = (const T *)(const void *)source;                                           \
        T *to = (T *)(void *)target;                                                               \
        for (int64_t i = 0; i < n_near; i++)                                                       \
            for (int64_t j = 0; j < n_last; j++)                                                   \
                to[i * to_near + j] = from[i * from_near + j * from_last];                         \
    }
COPY_BLOCK(uint8_t, copy_block_1)
COPY_BLOCK(uint32_t, copy_block_4)
COPY_BLOCK(uint64_t, copy_block_8)

static void copy_blocks(void *context, int index, int n)
{
    const ebb_call *call = context;
    const copy_state *state = call->state;
    const ebb_walk *walk = &state->walk;
    const int last = walk->rank - 1, near = state->near;
    const int64_t bytes = (int64_t)walk->element_bytes;
    int64_t begin, end;
    ebb_parallel_part(state->n_tasks, index, n, &begin, &end);
    for (int64_t task = begin; task < end; task++) {
        int64_t rest = task / state->near_blocks;
        int64_t i = task % state->near_blocks * NEAR_BLOCK;
        int64_t j = rest % state->last_blocks * state->last_block;
        int64_t from = i * walk->strides[near] + j * walk->strides[last];
        int64_t to = i * state->result_strides[near] + j;
        rest /= state->last_blocks;
        for (int d = last - 1; d >= 0; d--) {
            if (d == near)
                continue;
            from += rest % walk->dims[d] * walk->strides[d];
            to += rest % walk->dims[d] * state->result_strides[d];
            rest /= walk->dims[d];
        }
        int64_t n_near = walk->dims[near] - i, n_last = walk->dims[last] - j;
        n_near = n_near < NEAR_BLOCK ? n_near : NEAR_BLOCK;
        n_last = n_last < state->last_block ? n_last : state->last_block;
        const char *source = (const char *)call->inputs[0] + state->offset_bytes + from * bytes;
        char *target = (char *)call->results[0] + to * bytes;
        if (bytes == 4 && walk->strides[near] == 1) {
            state->move->transpose(&(ebb_transposed){ .from = source,
                                                      .to = target,
                                                      .from_last = walk->strides[last],
                                                      .to_near = state->result_strides[near],
                                                      .n_near = n_near,
                                                      .n_last = n_last });
            continue;
        }
        (bytes == 4   ? copy_block_4
         : bytes == 8 ? copy_block_8
                      : copy_block_1)(source, walk->strides[near], walk->strides[last], target,
                                      state->result_strides[near], n_near, n_last);
    }
}

/* ---- large transposes of elements of 4 bytes: blocks of a group of dimensions that lies densely
 * in the operand, times one that lies densely in the result ---- */

/* Where elements begin .. begin + n - 1 of a group lie. */
static void list_offsets(const copy_state *state, const dim_group *group, const int64_t *strides,
                         int64_t begin, int64_t n, int64_t *offsets)
{
    int64_t index[EBB_MAX_RANK], offset = 0;
    for (int d = 0; d < group->n; d++) {
        const int64_t dim = state->walk.dims[group->dims[d]];
        index[d] = begin % dim;
        begin /= dim;
        offset += index[d] * strides[group->dims[d]];
    }
    for (int64_t i = 0; i < n; i++) {
        offsets[i] = offset;
        for (int d = 0; d < group->n; d++) {
            offset += strides[group->dims[d]];
            if (++index[d] < state->walk.dims[group->dims[d]])
                break;
            offset -= index[d] * strides[group->dims[d]];
            index[d] = 0;
        }
    }
}

static bool holds(const dim_group *group, int dim)
{
    for (int d = 0; d < group->n; d++)
        if (group->dims[d] == dim)
            return true;
    return false;
}

/* None where all rows of the result begin on lines of memory. */
static int64_t shared_columns(const copy_state *state, const void *result)
{
    bool is_aligned = (uintptr_t)result % 64 == 0;
    for (int d = 0; d < state->walk.rank; d++)
        is_aligned = is_aligned && (holds(&state->lasts, d) || state->result_strides[d] % 16 == 0);
    return is_aligned ? 0 : EBB_PAST_SHARED;
}

static void copy_blocks_past(void *context, int index, int n)
{
    const ebb_call *call = context;
    const copy_state *state = call->state;
    const ebb_walk *walk = &state->walk;
    const int64_t shared = shared_columns(state, call->results[0]);
    int64_t from_rows[EBB_PAST_LAST + EBB_PAST_SHARED], to_rows[EBB_PAST_NEAR];
    ebb_transposed_rows block = { .from_rows = from_rows, .to_rows = to_rows };
    int64_t begin, end, from = 0, to = 0;
    ebb_parallel_part(state->n_tasks, index, n, &begin, &end);
    for (int64_t task = begin; task < end; task++) {
        const int64_t i = task % state->near_blocks * state->near_block;
        if (task == begin || i == 0) { /* columns that are not yet listed */
            int64_t rest = task / state->near_blocks;
            const int64_t j = rest % state->last_blocks * state->last_block;
            const int64_t left = state->lasts.length - j;
            const bool is_last = rest % state->last_blocks == state->last_blocks - 1;
            block.is_first = j == 0;
            block.n_last = is_last ? left : state->last_block + shared;
            block.n_own = is_last ? left : state->last_block;
            list_offsets(state, &state->lasts, walk->strides, j, block.n_last, from_rows);
            rest /= state->last_blocks;
            from = 0;
            to = j;
            for (int d = walk->rank - 1; d >= 0; d--) {
                if (holds(&state->nears, d) || holds(&state->lasts, d))
                    continue;
                from += rest % walk->dims[d] * walk->strides[d];
                to += rest % walk->dims[d] * state->result_strides[d];
                rest /= walk->dims[d];
            }
        }
        const int64_t left = state->nears.length - i;
        block.n_near = left < state->near_block ? left : state->near_block;
        list_offsets(state, &state->nears, state->result_strides, i, block.n_near, to_rows);
        block.from = (const char *)call->inputs[0] + state->offset_bytes +
                     (from + i) * (int64_t)sizeof(float);
        block.to = (float *)call->results[0] + to;
        /* The next block is beside this one, or at the begin of the next columns. */
        block.ahead = i + state->near_block < state->nears.length
                          ? state->near_block
                          : state->last_block * walk->strides[walk->rank - 1] - i;
        state->move->transpose_rows(&block);
    }
    state->move->finish_stream();
}

/* Both groups grow, in turns, until a block is filled or the dimensions meet. */
static void group_dims(copy_state *state)
{
    const ebb_walk *walk = &state->walk;
    dim_group *nears = &state->nears, *lasts = &state->lasts;
    *nears = (dim_group){ 1, { state->near }, walk->dims[state->near] };
    *lasts = (dim_group){ 1, { walk->rank - 1 }, walk->dims[walk->rank - 1] };
    for (bool grows = true; grows;) {
        grows = false;
        for (int d = 0; d < walk->rank && nears->length < 4 * EBB_PAST_NEAR && !grows; d++)
            if (walk->strides[d] == nears->length && !holds(nears, d) && !holds(lasts, d)) {
                nears->dims[nears->n++] = d;
                nears->length *= walk->dims[d];
                grows = true;
            }
        const int before = walk->rank - 1 - lasts->n;
        if (lasts->length < 4 * EBB_PAST_LAST && before >= 0 && !holds(nears, before)) {
            lasts->dims[lasts->n++] = before;
            lasts->length *= walk->dims[before];
            grows = true;
        }
    }
    state->near_block = EBB_PAST_NEAR;
    state->near_blocks = (nears->length + state->near_block - 1) / state->near_block;
    state->last_block = lasts->n > 1 ? EBB_PAST_LAST : PAST_LAST_BLOCK;
    /* The last block has no less than what a block shares with the next one. */
    state->last_blocks =
        (lasts->length + state->last_block - 1 - EBB_PAST_SHARED) / state->last_block;
    if (lasts->length <= EBB_PAST_LAST)
        state->last_blocks = 1;
    state->n_tasks = state->near_blocks * state->last_blocks *
                     (walk->n_elements / nears->length / lasts->length);
}

static ebb_status run_copy(const ebb_call *call)
{
    const copy_state *state = call->state;
    ebb_parallel(state->n_threads,
                 state->is_past         ? copy_blocks_past
                 : state->is_transposed ? copy_blocks
                                        : copy_rows,
                 (void *)call);
    return EBB_OK;
}

static int64_t distance(int64_t stride)
{
    return stride < 0 ? -stride : stride;
}

static ebb_status compile_layout(const ebb_region *region, const ebb_layout *layout,
                                 const ebb_compile_env *env, ebb_kernel *kernel)
{
    copy_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_type *type = region->results[0].type;
    ebb_walk *walk = &state->walk;
    *walk = ebb_walk_make(&type->shape, layout->strides, ebb_dtype_bytes(type->dtype));
    const int last = walk->rank - 1;
    state->move = ebb_native_isa(env)->move;
    state->is_streamed = ebb_type_bytes(type) >= EBB_STREAM_BYTES;
    state->offset_bytes = layout->offset * (int64_t)walk->element_bytes;
    state->result_strides[last] = 1;
    for (int i = last - 1; i >= 0; i--)
        state->result_strides[i] = state->result_strides[i + 1] * walk->dims[i + 1];
    state->near = last;
    for (int i = 0; i < last; i++)
        if (walk->strides[i] != 0 && walk->dims[i] >= 4 &&
            distance(walk->strides[i]) < distance(walk->strides[state->near]))
            state->near = i;
    state->is_transposed = state->near != last && walk->dims[last] >= 4;
    state->is_past = state->is_transposed && state->is_streamed && walk->element_bytes == 4 &&
                     walk->strides[state->near] == 1;
    if (state->is_past) {
        group_dims(state);
    } else if (state->is_transposed) {
        state->near_blocks = (walk->dims[state->near] + NEAR_BLOCK - 1) / NEAR_BLOCK;
        const int64_t apart = distance(walk->strides[last]) * (int64_t)walk->element_bytes;
        state->last_block =
            apart < CROWDED_BYTES || apart % CROWDED_BYTES == 0 ? CROWDED_BLOCK : LAST_BLOCK;
        state->last_blocks = (walk->dims[last] + state->last_block - 1) / state->last_block;
        state->n_tasks = state->near_blocks * state->last_blocks;
        for (int i = 0; i < last; i++)
            if (i != state->near)
                state->n_tasks *= walk->dims[i];
    }
    kernel->n_threads = state->n_threads =
        ebb_native_threads(region, walk->n_elements, EBB_CHEAP_WORK);
    kernel->run = run_copy;
    kernel->state = state;
    kernel->implementation = state->is_transposed ? "blocks" : "rows";
    return EBB_OK;
}

static int score_copy(const ebb_region *region)
{
    (void)region;
    return EBB_SCORE_BEST;
}

static ebb_status compile_copy(const ebb_region *region, const ebb_compile_env *env,
                               ebb_kernel *kernel)
{
    ebb_layout layout = region->inputs[0].layout;
    layout.offset = 0; /* is in the pointer */
    return compile_layout(region, &layout, env, kernel);
}

const ebb_native_kind ebb_native_copy = { score_copy, compile_copy };

/* ---- view ops that cannot stay views: the layout of the result in the input's buffer, made dense
 * ---- */

static bool find_view(const ebb_region *region, ebb_layout *layout)
{
    const ebb_operand *input = &region->inputs[0];
    ebb_layout from = input->layout;
    from.offset = 0; /* is in the pointer */
    ebb_view view = { .op = region->op,
                      .attrs = region->attrs,
                      .input = &input->type->shape,
                      .result = &region->results[0].type->shape,
                      .input_layout = &from,
                      .result_layout = layout };
    return region->op->view(&view);
}

static int score_view(const ebb_region *region)
{
    ebb_layout layout;
    return find_view(region, &layout) ? EBB_SCORE_NATIVE : EBB_SCORE_NONE;
}

static ebb_status compile_view(const ebb_region *region, const ebb_compile_env *env,
                               ebb_kernel *kernel)
{
    ebb_layout layout;
    if (!find_view(region, &layout))
        return ebb_fail(env->error, EBB_INTERNAL, "%s: the view is gone", region->op->name);
    return compile_layout(region, &layout, env, kernel);
}

const ebb_native_kind ebb_native_view = { score_view, compile_view };
