/* Dense copies of any layout: what the runtime uses for values that cannot stay views, and view
 * ops. */
#include "backends/native/native.h"
#include <string.h>

/* Side of the square blocks in which a transposed operand is copied. */
#define BLOCK 32
/* Elements of 4 bytes in a cache line. */
#define SQUARE 16

typedef struct copy_state {
    ebb_walk walk;
    /* Transposed: dimension `near` of the walk, not the last, has the smallest stride. */
    bool is_transposed;
    int near;
    int64_t near_blocks, last_blocks, n_tasks;
    int64_t result_strides[EBB_MAX_RANK];
    int n_threads;
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
    ebb_cursor cursor = ebb_cursor_at(walk, call->inputs[0], begin);
    ebb_cursor_read(&cursor, end - begin,
                    (char *)call->results[0] + (size_t)begin * walk->element_bytes);
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
COPY_BLOCK(uint32_t, copy_any_block_4)
COPY_BLOCK(uint64_t, copy_block_8)

typedef uint32_t lanes __attribute__((vector_size(16)));

static lanes load_lanes(const uint32_t *p)
{
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Squares of 4 times 4 elements in registers. */
static void copy_square(const uint32_t *from, int64_t from_last, uint32_t *to, int64_t to_near)
{
    lanes a = load_lanes(from), b = load_lanes(from + from_last);
    lanes c = load_lanes(from + 2 * from_last), d = load_lanes(from + 3 * from_last);
    lanes ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    lanes ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    lanes cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    lanes cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    const lanes rows[4] = { __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
                            __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                            __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                            __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7) };
    for (int i = 0; i < 4; i++)
        memcpy(to + i * to_near, &rows[i], sizeof rows[i]);
}

/* Squares of 16 by way of a buffer: each cache line is read at once and written at once, which is
 * faster where rows lie a power of two apart, so that they share few places of the cache. */
static void copy_large_square(const uint32_t *from, int64_t from_last, uint32_t *to,
                              int64_t to_near)
{
    uint32_t buffer[SQUARE][SQUARE];
    for (int j = 0; j < SQUARE; j += 4)
        for (int i = 0; i < SQUARE; i += 4)
            copy_square(from + i + j * from_last, from_last, &buffer[i][j], SQUARE);
    for (int i = 0; i < SQUARE; i++)
        memcpy(to + i * to_near, buffer[i], sizeof buffer[i]);
}

static void copy_block_4(const char *source, int64_t from_near, int64_t from_last, char *target,
                         int64_t to_near, int64_t n_near, int64_t n_last)
{
    const uint32_t *from = (const uint32_t *)(const void *)source;
    uint32_t *to = (uint32_t *)(void *)target;
    int64_t near = 0, last = 0; /* done: a rectangle of so many */
    if (from_near == 1) {
        const bool collides = from_last % 256 == 0 || to_near % 256 == 0;
        const int64_t side = collides && n_near >= SQUARE && n_last >= SQUARE ? SQUARE : 4;
        near = n_near / side * side;
        last = n_last / side * side;
        for (int64_t j = 0; j < last; j += side)
            for (int64_t i = 0; i < near; i += side) {
                const uint32_t *square = from + i + j * from_last;
                if (side == 4)
                    copy_square(square, from_last, to + i * to_near + j, to_near);
                else
                    copy_large_square(square, from_last, to + i * to_near + j, to_near);
            }
    }
    if (last < n_last)
        copy_any_block_4((const char *)(from + last * from_last), from_near, from_last,
                         (char *)(to + last), to_near, near, n_last - last);
    if (near < n_near)
        copy_any_block_4((const char *)(from + near * from_near), from_near, from_last,
                         (char *)(to + near * to_near), to_near, n_near - near, n_last);
}

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
        int64_t rest = task / state->last_blocks;
        int64_t j = task % state->last_blocks * BLOCK, i = rest % state->near_blocks * BLOCK;
        int64_t from = i * walk->strides[near] + j * walk->strides[last];
        int64_t to = i * state->result_strides[near] + j;
        rest /= state->near_blocks;
        for (int d = last - 1; d >= 0; d--) {
            if (d == near)
                continue;
            from += rest % walk->dims[d] * walk->strides[d];
            to += rest % walk->dims[d] * state->result_strides[d];
            rest /= walk->dims[d];
        }
        int64_t n_near = walk->dims[near] - i, n_last = walk->dims[last] - j;
        (bytes == 4   ? copy_block_4
         : bytes == 8 ? copy_block_8
                      : copy_block_1)(
            (const char *)call->inputs[0] + from * bytes, walk->strides[near], walk->strides[last],
            (char *)call->results[0] + to * bytes, state->result_strides[near],
            n_near < BLOCK ? n_near : BLOCK, n_last < BLOCK ? n_last : BLOCK);
    }
}

static ebb_status run_copy(const ebb_call *call)
{
    const copy_state *state = call->state;
    ebb_parallel(state->n_threads, state->is_transposed ? copy_blocks : copy_rows, (void *)call);
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
    state->result_strides[last] = 1;
    for (int i = last - 1; i >= 0; i--)
        state->result_strides[i] = state->result_strides[i + 1] * walk->dims[i + 1];
    state->near = last;
    for (int i = 0; i < last; i++)
        if (walk->strides[i] != 0 && walk->dims[i] >= 4 &&
            distance(walk->strides[i]) < distance(walk->strides[state->near]))
            state->near = i;
    state->is_transposed = state->near != last && walk->dims[last] >= 4;
    if (state->is_transposed) {
        state->near_blocks = (walk->dims[state->near] + BLOCK - 1) / BLOCK;
        state->last_blocks = (walk->dims[last] + BLOCK - 1) / BLOCK;
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
    return compile_layout(region, &region->inputs[0].layout, env, kernel);
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
    return region->op->view(&view) && layout->offset == 0;
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
