/* Moving memory: copies past the caches, and transposes. */
#include "backends/native/vector/isa.h"
#include "backends/native/vector/lanes.h"
#include "backends/native/vector/stream.h"

/* Squares of WIDTH times WIDTH elements of 4 bytes are transposed in registers. */
enum { WIDTH = LANES_F32 };
typedef uint32_t lanes __attribute__((vector_size(LANES_BYTES)));

#define STAGE(s, upper, lower)                                                                     \
    for (int i = 0; i < WIDTH; i++)                                                                \
        if (!(i & s)) {                                                                            \
            const lanes a = rows[i], b = rows[i + s];                                              \
            rows[i] = __builtin_shufflevector(a, b, LANE_LIST upper);                              \
            rows[i + s] = __builtin_shufflevector(a, b, LANE_LIST lower);                          \
        }

static inline void transpose_square(const uint32_t *from, int64_t from_last, uint32_t *to,
                                    int64_t to_near)
{
    lanes rows[WIDTH];
    for (int j = 0; j < WIDTH; j++)
        memcpy(&rows[j], from + j * from_last, sizeof rows[j]);
    LANE_STAGES_F32(STAGE)
    for (int i = 0; i < WIDTH; i++)
        memcpy(to + i * to_near, &rows[i], sizeof rows[i]);
}

/* Squares of SIDE: whole cache lines are read and written, by way of a buffer, which is faster
 * where rows lie a power of two apart and share few places of the cache. */
#define SIDE 16

static inline void transpose_lines(const uint32_t *from, int64_t from_last, uint32_t *to,
                                   int64_t to_near)
{
    _Alignas(64) uint32_t buffer[SIDE][SIDE];
    for (int j = 0; j < SIDE; j += WIDTH)
        for (int i = 0; i < SIDE; i += WIDTH)
            transpose_square(from + i + j * from_last, from_last, &buffer[i][j], SIDE);
    for (int i = 0; i < SIDE; i++)
        memcpy(to + i * to_near, buffer[i], sizeof buffer[i]);
}

/* One by one: what does not fill a square. */
static void transpose_rest(const ebb_transposed *t, int64_t near_begin, int64_t near_end,
                           int64_t last_begin, int64_t last_end)
{
    const uint32_t *from = t->from;
    uint32_t *to = t->to;
    for (int64_t i = near_begin; i < near_end; i++)
        for (int64_t j = last_begin; j < last_end; j++)
            to[i * t->to_near + j] = from[i + j * t->from_last];
}

static void transpose_near(const ebb_transposed *t)
{
    const uint32_t *from = t->from;
    uint32_t *to = t->to;
    const int64_t near_lines = t->n_near & -SIDE, last_lines = t->n_last & -SIDE;
    for (int64_t j = 0; j < last_lines; j += SIDE)
        for (int64_t i = 0; i < near_lines; i += SIDE)
            transpose_lines(from + i + j * t->from_last, t->from_last, to + i * t->to_near + j,
                            t->to_near);
    const int64_t near = t->n_near & -WIDTH, last = t->n_last & -WIDTH;
    for (int64_t j = 0; j < last; j += WIDTH)
        for (int64_t i = j < last_lines ? near_lines : 0; i < near; i += WIDTH)
            transpose_square(from + i + j * t->from_last, t->from_last, to + i * t->to_near + j,
                             t->to_near);
    transpose_rest(t, 0, near, last, t->n_last);
    transpose_rest(t, near, t->n_near, 0, t->n_last);
}

/* Rows of the result are put together in a buffer and leave past the caches; what stands behind the
 * block in each row of the operand comes next and is asked for. */
static void transpose_past(const ebb_transposed *t)
{
    _Alignas(64) uint32_t buffer[EBB_TRANSPOSED_NEAR][EBB_TRANSPOSED_LAST + SIDE];
    for (int64_t j = 0; j < t->n_last; j++)
        for (int64_t i = 0; i < EBB_TRANSPOSED_NEAR; i += SIDE)
            __builtin_prefetch(
                (const uint32_t *)t->from + j * t->from_last + EBB_TRANSPOSED_NEAR + i, 0, 2);
    const bool is_dense = t->to_near == t->n_last; /* whole rows, one behind the other */
    ebb_transposed block = *t;
    block.to = buffer;
    block.to_near = is_dense ? t->n_last : EBB_TRANSPOSED_LAST + SIDE;
    transpose_near(&block);
    if (is_dense) {
        stream_bytes(t->to, buffer, (size_t)(t->n_near * t->n_last) * sizeof(uint32_t));
        return;
    }
    for (int64_t i = 0; i < t->n_near; i++)
        stream_bytes((uint32_t *)t->to + i * t->to_near, buffer[i],
                     (size_t)t->n_last * sizeof(uint32_t));
}

static void transpose(const ebb_transposed *t)
{
    if (t->is_streamed)
        transpose_past(t);
    else
        transpose_near(t);
}

static void stream(void *to, const void *from, size_t n_bytes)
{
    stream_bytes(to, from, n_bytes);
}

static void finish_stream(void)
{
    stream_finish();
}

const ebb_move_table ISA_NAME(ebb_move) = {
    .stream = stream,
    .finish_stream = finish_stream,
    .transpose = transpose,
};
