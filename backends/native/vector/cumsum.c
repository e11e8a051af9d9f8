/* Running sums along rows and columns. */
#include "backends/native/vector/isa.h"
#include "backends/native/vector/lanes.h"
#include "backends/native/vector/stream.h"

/* Rows that run side by side, since one alone would wait for each addition; and their elements that
 * go to the result at a time. */
enum { ROWS = 4, PIECE = 256 };
/* Columns whose sums are written at a time: so few that arithmetic and memory overlap. */
enum { STRETCH = 128 };

#define CUMSUM(name, T, A)                                                                         \
    static void name##_columns(const ebb_cumsum_run *run, const void *from, void *to,              \
                               int64_t width)                                                      \
    {                                                                                              \
        const T *x = from;                                                                         \
        const bool is_streamed = run->is_streamed && width * (int64_t)sizeof(T) >= 64;             \
        T *result = to;                                                                            \
        _Alignas(64) T piece[STRETCH];                                                             \
        _Alignas(64) A sums[EBB_CUMSUM_COLUMNS];                                                   \
        for (int64_t i = 0; i < width; i++)                                                        \
            sums[i] = 0;                                                                           \
        for (int64_t j = 0; j < run->n; j++)                                                       \
            for (int64_t begin = 0; begin < width; begin += STRETCH) {                             \
                const int64_t n = width - begin < STRETCH ? width - begin : STRETCH;               \
                const T *row = x + j * run->step + begin;                                          \
                T *result_row = result + j * run->step + begin,                                    \
                  *out = is_streamed ? piece : result_row;                                         \
                A *sum = sums + begin;                                                             \
                ask_rows(row + 4 * run->step, n * (int64_t)sizeof(T));                             \
                if (run->exclusive)                                                                \
                    INDEPENDENT                                                                    \
                for (int64_t i = 0; i < n; i++) {                                                  \
                    const A before = sum[i];                                                       \
                    sum[i] = (A)(before + (A)row[i]);                                              \
                    out[i] = (T)before;                                                            \
                }                                                                                  \
                else INDEPENDENT for (int64_t i = 0; i < n; i++)                                   \
                {                                                                                  \
                    sum[i] = (A)(sum[i] + (A)row[i]);                                              \
                    out[i] = (T)sum[i];                                                            \
                }                                                                                  \
                if (is_streamed)                                                                   \
                    stream_bytes(result_row, piece, (size_t)n * sizeof(T));                        \
            }                                                                                      \
    }                                                                                              \
    /* n_rows <= ROWS */                                                                           \
    static void name##_few(const ebb_cumsum_run *run, const T *from, T *to, int n_rows)            \
    {                                                                                              \
        const int64_t n = run->n;                                                                  \
        A sums[ROWS] = { 0 };                                                                      \
        _Alignas(64) T pieces[ROWS][PIECE];                                                        \
        for (int64_t done = 0, length; done < n; done += length) {                                 \
            length = n - done < PIECE ? n - done : PIECE;                                          \
            const int64_t begin = run->step < 0 ? n - done - length : done;                        \
            const T *x = from + begin;                                                             \
            for (int64_t j = 0; j < length; j++) {                                                 \
                const int64_t at = run->step < 0 ? length - 1 - j : j;                             \
                for (int i = 0; i < ROWS && (n_rows == ROWS || i < n_rows); i++) {                 \
                    const A before = sums[i];                                                      \
                    sums[i] = (A)(before + (A)x[i * n + at]);                                      \
                    pieces[i][at] = (T)(run->exclusive ? before : sums[i]);                        \
                }                                                                                  \
            }                                                                                      \
            for (int i = 0; i < n_rows; i++) {                                                     \
                T *result = to + i * n + begin;                                                    \
                if (run->is_streamed)                                                              \
                    stream_bytes(result, pieces[i], (size_t)length * sizeof(T));                   \
                else                                                                               \
                    memcpy(result, pieces[i], (size_t)length * sizeof(T));                         \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    static inline void name##_plain_rows(const ebb_cumsum_run *run, const void *from, void *to,    \
                                         int64_t n_rows)                                           \
    {                                                                                              \
        for (int64_t i = 0; i < n_rows; i += ROWS)                                                 \
            name##_few(run, (const T *)from + i * run->n, (T *)to + i * run->n,                    \
                       n_rows - i < ROWS ? (int)(n_rows - i) : ROWS);                              \
    }
CUMSUM(cumsum_f64, double, double)
CUMSUM(cumsum_f32, float, double)
CUMSUM(cumsum_i64, int64_t, uint64_t)
CUMSUM(cumsum_i32, int32_t, uint32_t)
CUMSUM(cumsum_u8, uint8_t, unsigned)

/* F32 along rows: the sums within a vector of doubles in steps of 1, 2 and 4 lanes. */
enum { WIDTH = LANES_F64 };
typedef float halves __attribute__((vector_size(LANES_BYTES / 2)));

/* What stands s lanes before, 0 in the first ones; and the last lane in all of them. In reverse
 * before and behind, and first and last, change places. */
#if LANES_F64 == 8
#define SHIFT_1(x) __builtin_shufflevector(x, zero, 8, 0, 1, 2, 3, 4, 5, 6)
#define SHIFT_2(x) __builtin_shufflevector(x, zero, 8, 8, 0, 1, 2, 3, 4, 5)
#define SHIFT_4(x) __builtin_shufflevector(x, zero, 8, 8, 8, 8, 0, 1, 2, 3)
#define SPREAD(x) __builtin_shufflevector(x, x, 7, 7, 7, 7, 7, 7, 7, 7)
#define REVERSE(x) __builtin_shufflevector(x, x, 7, 6, 5, 4, 3, 2, 1, 0)
#elif LANES_F64 == 4
#define SHIFT_1(x) __builtin_shufflevector(x, zero, 4, 0, 1, 2)
#define SHIFT_2(x) __builtin_shufflevector(x, zero, 4, 4, 0, 1)
#define SPREAD(x) __builtin_shufflevector(x, x, 3, 3, 3, 3)
#define REVERSE(x) __builtin_shufflevector(x, x, 3, 2, 1, 0)
#else
#define SHIFT_1(x) __builtin_shufflevector(x, zero, 2, 0)
#define SPREAD(x) __builtin_shufflevector(x, x, 1, 1)
#define REVERSE(x) __builtin_shufflevector(x, x, 1, 0)
#endif

/* The sums of WIDTH elements, and of what stands before them: `sum`, in all lanes. */
static inline void add_vector(const float *x, float *to, lanes_f64 *sum, bool is_reverse,
                              bool exclusive)
{
    const lanes_f64 zero = { 0 };
    halves some;
    memcpy(&some, x, sizeof some);
    if (is_reverse)
        some = REVERSE(some);
    lanes_f64 sums = __builtin_convertvector(some, lanes_f64);
    sums += SHIFT_1(sums);
#if LANES_F64 >= 4
    sums += SHIFT_2(sums);
#endif
#if LANES_F64 >= 8
    sums += SHIFT_4(sums);
#endif
    some = __builtin_convertvector(*sum + (exclusive ? SHIFT_1(sums) : sums), halves);
    if (is_reverse)
        some = REVERSE(some);
    memcpy(to, &some, sizeof some);
    *sum += SPREAD(sums);
}

static inline __attribute__((always_inline)) void
add_row(int64_t n, const float *x, float *result, bool is_streamed, bool is_reverse, bool exclusive)
{
    _Alignas(64) float piece[PIECE], padded[WIDTH] = { 0 };
    lanes_f64 sum = { 0 };
    for (int64_t done = 0, length; done < n; done += length) {
        length = n - done < PIECE ? n - done : PIECE;
        const int64_t begin = is_reverse ? n - done - length : done, whole = length & -WIDTH;
        const float *from = x + begin;
        float *to = is_streamed ? piece : result + begin;
        for (int64_t j = 0; j < whole; j += WIDTH) {
            const int64_t at = is_reverse ? length - WIDTH - j : j;
            __builtin_prefetch((const char *)(from + at) +
                               (is_reverse ? -AHEAD_BYTES : AHEAD_BYTES));
            add_vector(from + at, to + at, &sum, is_reverse, exclusive);
        }
        if (whole < length) {
            const int64_t rest = length - whole, at = is_reverse ? 0 : whole;
            float *const place = padded + (is_reverse ? WIDTH - rest : 0);
            memcpy(place, from + at, (size_t)rest * sizeof *x);
            add_vector(padded, padded, &sum, is_reverse, exclusive);
            memcpy(to + at, place, (size_t)rest * sizeof *x);
        }
        if (is_streamed)
            stream_bytes(result + begin, piece, (size_t)length * sizeof *x);
    }
}

static void cumsum_f32_rows(const ebb_cumsum_run *run, const void *from, void *to, int64_t n_rows)
{
    if (run->n < WIDTH) {
        cumsum_f32_plain_rows(run, from, to, n_rows);
        return;
    }
    for (int64_t i = 0; i < n_rows; i++) {
        const float *x = (const float *)from + i * run->n;
        float *result = (float *)to + i * run->n;
        if (run->step < 0)
            add_row(run->n, x, result, run->is_streamed, true, run->exclusive);
        else
            add_row(run->n, x, result, run->is_streamed, false, run->exclusive);
    }
}

#define LOOPS(name, name_rows)                                                                     \
    {                                                                                              \
        name##_columns, name_rows                                                                  \
    }
const ebb_cumsum_table ISA_NAME(ebb_cumsum) = {
    .of = {
        [EBB_F64] = LOOPS(cumsum_f64, cumsum_f64_plain_rows),
        [EBB_F32] = LOOPS(cumsum_f32, cumsum_f32_rows),
        [EBB_I64] = LOOPS(cumsum_i64, cumsum_i64_plain_rows),
        [EBB_I32] = LOOPS(cumsum_i32, cumsum_i32_plain_rows),
        [EBB_U8] = LOOPS(cumsum_u8, cumsum_u8_plain_rows),
    },
};
