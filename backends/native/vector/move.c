/* Moving memory: copies past the caches, and transposes. */
#include "backends/native/vector/isa.h"
#include "backends/native/vector/lanes.h"
#include "backends/native/vector/stream.h"

/* Squares of WIDTH times WIDTH elements of 4 bytes are transposed in registers. */
enum { WIDTH = LANES_F32, N_ROWS = WIDTH };
typedef uint32_t lanes __attribute__((vector_size(LANES_BYTES)));

static inline void transpose_square(const uint32_t *from, int64_t from_last, uint32_t *to,
                                    int64_t to_near)
{
    lanes rows[WIDTH];
    for (int j = 0; j < WIDTH; j++)
        memcpy(&rows[j], from + j * from_last, sizeof rows[j]);
    LANE_STAGES_F32(LANE_EXCHANGE)
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

/* What does not fill a square: one by one, or with AVX-512 as a square of which a part is there. */
static void transpose_rest(const ebb_transposed *t, int64_t near_begin, int64_t near_end,
                           int64_t last_begin, int64_t last_end)
{
    const uint32_t *from = t->from;
    uint32_t *to = t->to;
#ifdef __AVX512F__
    enum { ENOUGH = 48 }; /* elements: a square takes as long as about so many */
    const int64_t n_near = near_end - near_begin, n_last = last_end - last_begin;
    if (n_near > WIDTH || n_last > WIDTH) {
        for (int64_t i = near_begin; i < near_end; i += WIDTH)
            for (int64_t j = last_begin; j < last_end; j += WIDTH)
                transpose_rest(t, i, i + WIDTH < near_end ? i + WIDTH : near_end, j,
                               j + WIDTH < last_end ? j + WIDTH : last_end);
        return;
    }
    if (n_near * n_last >= ENOUGH) {
        const lanes_f32 zero = { 0 };
        lanes rows[WIDTH] = { { 0 } };
        for (int64_t j = 0; j < n_last; j++)
            rows[j] = (lanes)lanes_part_f32(
                (const float *)(from + near_begin + (last_begin + j) * t->from_last), n_near, zero);
        LANE_STAGES_F32(LANE_EXCHANGE)
        for (int64_t i = 0; i < n_near; i++)
            lanes_put_part_f32((float *)(to + (near_begin + i) * t->to_near + last_begin), n_last,
                               (lanes_f32)rows[i]);
        return;
    }
#endif
    for (int64_t i = near_begin; i < near_end; i++)
        for (int64_t j = last_begin; j < last_end; j++)
            to[i * t->to_near + j] = from[i + j * t->from_last];
}

static void transpose(const ebb_transposed *t)
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

/* SIDE rows of the result from row `near` on, at SIDE columns from `last` on, into a buffer with
 * rows `pitch` apart. */
static inline void transpose_square_of_rows(const ebb_transposed_rows *t, int64_t near,
                                            int64_t last, uint32_t *buffer, int64_t pitch)
{
    const uint32_t *from = t->from;
    for (int64_t j = last; j < last + SIDE; j += WIDTH)
        for (int64_t n = near; n < near + SIDE; n += WIDTH) {
            lanes rows[WIDTH];
            for (int r = 0; r < WIDTH; r++)
                memcpy(&rows[r], from + t->from_rows[j + r] + n, sizeof rows[r]);
            LANE_STAGES_F32(LANE_EXCHANGE)
            for (int r = 0; r < WIDTH; r++)
                memcpy(buffer + (n + r) * pitch + j, &rows[r], sizeof rows[r]);
        }
}

/* A block smaller than a square on one side. */
static void transpose_few(const ebb_transposed_rows *t, uint32_t *buffer, int64_t pitch)
{
    const uint32_t *from = t->from;
    for (int64_t i = 0; i < t->n_near; i++)
        for (int64_t j = 0; j < t->n_last; j++)
            buffer[i * pitch + j] = from[t->from_rows[j] + i];
}

static bool is_contiguous(const ebb_transposed_rows *t)
{
    bool is = t->is_first && t->n_own == t->n_last;
    for (int64_t i = 1; i < t->n_near; i++)
        is = is && t->to_rows[i] == t->to_rows[i - 1] + t->n_last;
    return is;
}

/* Rows of the result are put together in a buffer and leave in whole lines. The last squares of a
 * side begin earlier if need be. What comes next is asked for. */
static void transpose_rows(const ebb_transposed_rows *t)
{
    enum { PITCH = EBB_PAST_LAST + 2 * SIDE };
    _Alignas(64) uint32_t buffer[EBB_PAST_NEAR * PITCH];
    const uint32_t *from = t->from;
    uint32_t *to = t->to;
    const bool is_whole = is_contiguous(t);
    const int64_t n_near = t->n_near, n_last = t->n_last, pitch = is_whole ? n_last : PITCH;
    if (n_near < SIDE || n_last < SIDE)
        transpose_few(t, buffer, pitch);
    else
        for (int64_t j = 0; j < n_last; j += SIDE) {
            for (int64_t r = j; r < j + SIDE && r < n_last; r++)
                for (int64_t i = 0; i < EBB_PAST_NEAR; i += SIDE)
                    __builtin_prefetch(from + t->from_rows[r] + t->ahead + i, 0, 2);
            for (int64_t i = 0; i < n_near; i += SIDE)
                transpose_square_of_rows(t, i + SIDE > n_near ? n_near - SIDE : i,
                                         j + SIDE > n_last ? n_last - SIDE : j, buffer, pitch);
        }
    if (is_whole) {
        stream_bytes(to + t->to_rows[0], buffer, (size_t)(n_near * n_last) * sizeof *to);
        return;
    }
    for (int64_t i = 0; i < n_near; i++) {
        uint32_t *row = to + t->to_rows[i];
        const int64_t shared = (int64_t)(-(uintptr_t)row % 64 / sizeof *row);
        const int64_t begin = t->is_first ? 0 : shared;
        const int64_t end = t->n_own == n_last ? n_last : t->n_own + shared;
        stream_bytes(row + begin, buffer + i * pitch + begin, (size_t)(end - begin) * sizeof *row);
    }
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
    .transpose_rows = transpose_rows,
};
