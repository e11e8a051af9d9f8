/* cumsum: x seen as [n_outer, n, n_inner]; threads share out the sums, of which each runs on one.
 * Several sums run side by side: one alone would wait for each addition. */
#include "backends/native/native.h"
#include "ops/build.h"
#include <string.h>

/* Neighbouring sums at a time, so that x is read along its rows. */
enum { WIDTH = 128 };
/* Rows at a time, and their elements that go to the result at a time. */
enum { ROWS = 4, PIECE = 128 };

typedef struct cumsum_state {
    int64_t n_outer, n, n_inner;
    bool exclusive;
    int64_t step;     /* from an element of a sum to the next: -n_inner in reverse */
    size_t bytes;     /* of an element */
    bool is_streamed; /* past the caches, unless in place */
    const ebb_move_table *move;
    void (*run)(const struct cumsum_state *state, const void *x, void *result, int64_t width);
    /* n_rows <= ROWS */
    void (*run_rows)(const struct cumsum_state *state, const void *x, void *result, int n_rows);
    int n_threads;
} cumsum_state;

/* As the reference kernel: F32 in double, integers wrap. */
#define CUMSUM(name, T, A)                                                                         \
    static void name(const cumsum_state *state, const void *from, void *to, int64_t width)         \
    {                                                                                              \
        const T *x = from;                                                                         \
        const int64_t row_bytes = width * (int64_t)sizeof(T);                                      \
        const bool is_streamed = state->is_streamed && from != to && row_bytes >= 64;              \
        T *result = to, piece[WIDTH];                                                              \
        A sums[WIDTH];                                                                             \
        for (int64_t i = 0; i < width; i++)                                                        \
            sums[i] = 0;                                                                           \
        for (int64_t j = 0; j < state->n; j++) {                                                   \
            const T *row = x + j * state->step;                                                    \
            T *result_row = is_streamed ? piece : result + j * state->step;                        \
            for (int64_t i = 0; i < row_bytes; i += 64)                                            \
                __builtin_prefetch((const char *)(row + 8 * state->step) + i, 0, 3);               \
            for (int64_t i = 0; i < width; i++) {                                                  \
                const A before = sums[i];                                                          \
                sums[i] = (A)(before + (A)row[i]);                                                 \
                result_row[i] = (T)(state->exclusive ? before : sums[i]);                          \
            }                                                                                      \
            if (is_streamed)                                                                       \
                state->move->stream(result + j * state->step, piece, (size_t)row_bytes);           \
        }                                                                                          \
    }                                                                                              \
    static void name##_rows(const cumsum_state *state, const void *from, void *to, int n_rows)     \
    {                                                                                              \
        const int64_t n = state->n;                                                                \
        const bool is_streamed = state->is_streamed && from != to;                                 \
        A sums[ROWS] = { 0 };                                                                      \
        T pieces[ROWS][PIECE];                                                                     \
        for (int64_t done = 0, length; done < n; done += length) {                                 \
            length = n - done < PIECE ? n - done : PIECE;                                          \
            const int64_t begin = state->step < 0 ? n - done - length : done;                      \
            const T *x = (const T *)from + begin;                                                  \
            for (int64_t j = 0; j < length; j++) {                                                 \
                const int64_t at = state->step < 0 ? length - 1 - j : j;                           \
                for (int i = 0; i < ROWS && (n_rows == ROWS || i < n_rows); i++) {                 \
                    const A before = sums[i];                                                      \
                    sums[i] = (A)(before + (A)x[i * n + at]);                                      \
                    pieces[i][at] = (T)(state->exclusive ? before : sums[i]);                      \
                }                                                                                  \
            }                                                                                      \
            for (int i = 0; i < n_rows; i++) {                                                     \
                T *result = (T *)to + i * n + begin;                                               \
                if (is_streamed)                                                                   \
                    state->move->stream(result, pieces[i], (size_t)length * sizeof(T));            \
                else                                                                               \
                    memcpy(result, pieces[i], (size_t)length * sizeof(T));                         \
            }                                                                                      \
        }                                                                                          \
    }
CUMSUM(cumsum_f64, double, double)
CUMSUM(cumsum_f32, float, double)
CUMSUM(cumsum_i64, int64_t, uint64_t)
CUMSUM(cumsum_i32, int32_t, uint32_t)
CUMSUM(cumsum_u8, uint8_t, unsigned)

static void cumsum_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const cumsum_state *state = call->state;
    int64_t begin, end;
    ebb_parallel_part(state->n_outer * state->n_inner, index, n, &begin, &end);
    for (; state->n_inner == 1 && begin < end; begin += ROWS) {
        const size_t start = (size_t)(begin * state->n) * state->bytes;
        state->run_rows(state, (const char *)call->inputs[0] + start,
                        (char *)call->results[0] + start,
                        end - begin < ROWS ? (int)(end - begin) : ROWS);
    }
    while (begin < end) {
        const int64_t o = begin / state->n_inner, i = begin % state->n_inner;
        int64_t width = state->n_inner - i < end - begin ? state->n_inner - i : end - begin;
        width = width < WIDTH ? width : WIDTH;
        const int64_t first = state->step < 0 ? state->n - 1 : 0;
        const size_t start = (size_t)((o * state->n + first) * state->n_inner + i) * state->bytes;
        state->run(state, (const char *)call->inputs[0] + start, (char *)call->results[0] + start,
                   width);
        begin += width;
    }
    if (state->is_streamed)
        state->move->finish_stream();
}

static ebb_status run_cumsum(const ebb_call *call)
{
    const cumsum_state *state = call->state;
    if (state->n > 0)
        ebb_parallel(state->n_threads, cumsum_part, (void *)call);
    return EBB_OK;
}

static ebb_status compile_cumsum(const ebb_region *region, const ebb_compile_env *env,
                                 ebb_kernel *kernel)
{
#define RUNS(name)                                                                                 \
    {                                                                                              \
        name, name##_rows                                                                          \
    }
    static const struct {
        void (*run)(const cumsum_state *, const void *, void *, int64_t);
        void (*run_rows)(const cumsum_state *, const void *, void *, int);
    } runs[EBB_N_DTYPES] = {
        [EBB_F64] = RUNS(cumsum_f64), [EBB_F32] = RUNS(cumsum_f32), [EBB_I64] = RUNS(cumsum_i64),
        [EBB_I32] = RUNS(cumsum_i32), [EBB_U8] = RUNS(cumsum_u8),
    };
    cumsum_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_type *type = region->inputs[0].type;
    const ebb_cumsum_attrs *attrs = region->attrs;
    const int axis = ebb_axis_of(attrs->axis, type->shape.rank);
    state->n_outer = state->n_inner = 1;
    for (int i = 0; i < type->shape.rank; i++)
        if (i != axis)
            *(i < axis ? &state->n_outer : &state->n_inner) *= type->shape.dims[i];
    state->n = type->shape.dims[axis];
    state->exclusive = attrs->exclusive;
    state->step = attrs->reverse ? -state->n_inner : state->n_inner;
    state->bytes = ebb_dtype_bytes(type->dtype);
    state->run = runs[type->dtype].run;
    state->run_rows = runs[type->dtype].run_rows;
    state->is_streamed = ebb_type_bytes(type) >= EBB_STREAM_BYTES;
    state->move = ebb_native_isa(env)->move;
    const int64_t n_sums = state->n_outer * state->n_inner;
    state->n_threads = ebb_native_threads(region, n_sums * state->n, EBB_CHEAP_WORK);
    if (state->n_threads > n_sums)
        state->n_threads = n_sums > 0 ? (int)n_sums : 1;
    kernel->n_threads = state->n_threads;
    kernel->inplace_inputs = 1;
    kernel->run = run_cumsum;
    kernel->state = state;
    kernel->implementation = state->n_inner == 1 ? "rows" : "columns";
    return EBB_OK;
}

static int score_cumsum(const ebb_region *region)
{
    return ebb_native_all_dense(region) ? EBB_SCORE_BEST : EBB_SCORE_NONE;
}

const ebb_native_kind ebb_native_cumsum = { score_cumsum, compile_cumsum };
