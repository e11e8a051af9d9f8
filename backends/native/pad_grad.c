/* pad_grad: a row of the result is the sum of all rows of the padded value that came from it, in
 * order. */
#include "backends/native/native.h"
#include "ops/pad.h"
#include <string.h>

/* Element i of a dimension stands at places[first[i]] .. places[first[i + 1] - 1] of the padded
 * one.
 */
typedef struct place_list {
    int64_t *first, *places;
} place_list;

typedef struct pad_grad_state {
    int rank; /* >= 1 */
    ebb_pad_mode mode;
    int64_t sizes[EBB_MAX_RANK], padded[EBB_MAX_RANK], before[EBB_MAX_RANK];
    int64_t strides[EBB_MAX_RANK]; /* of the padded value, which is dense */
    place_list lists[EBB_MAX_RANK];
    int64_t n_rows;
    bool is_f64;
    int n_threads;
} pad_grad_state;

/* Adds a padded row to one of the result. */
#define ADD_ROW(T, name)                                                                           \
    static void name(const pad_grad_state *s, const T *from, T *to)                                \
    {                                                                                              \
        const int last = s->rank - 1;                                                              \
        const int64_t n = s->sizes[last], before = s->before[last];                                \
        const bool has_edges = s->mode != EBB_PAD_CONSTANT;                                        \
        for (int64_t j = 0; j < before && has_edges; j++)                                          \
            to[ebb_pad_source(s->mode, j - before, n)] += from[j];                                 \
        for (int64_t j = 0; j < n; j++)                                                            \
            to[j] += from[before + j];                                                             \
        for (int64_t j = before + n; j < s->padded[last] && has_edges; j++)                        \
            to[ebb_pad_source(s->mode, j - before, n)] += from[j];                                 \
    }
ADD_ROW(float, add_row_f32)
ADD_ROW(double, add_row_f64)

static void add_rows(void *context, int index, int n)
{
    const ebb_call *call = context;
    const pad_grad_state *s = call->state;
    const int last = s->rank - 1;
    const int64_t bytes = s->is_f64 ? 8 : 4, row_bytes = s->sizes[last] * bytes;
    int64_t begin, end;
    ebb_parallel_part(s->n_rows, index, n, &begin, &end);
    for (int64_t row = begin; row < end; row++) {
        int64_t at[EBB_MAX_RANK], counts[EBB_MAX_RANK], n_sources = 1, rest = row;
        for (int d = last - 1; d >= 0; d--) {
            const int64_t i = rest % s->sizes[d];
            rest /= s->sizes[d];
            at[d] = s->lists[d].first[i];
            counts[d] = s->lists[d].first[i + 1] - at[d];
            n_sources *= counts[d];
        }
        char *to = (char *)call->results[0] + row * row_bytes;
        memset(to, 0, (size_t)row_bytes);
        for (int64_t source = 0; source < n_sources; source++) {
            int64_t offset = 0;
            rest = source;
            for (int d = last - 1; d >= 0; d--) {
                offset += s->lists[d].places[at[d] + rest % counts[d]] * s->strides[d];
                rest /= counts[d];
            }
            const char *from = (const char *)call->inputs[0] + offset * bytes;
            if (s->is_f64)
                add_row_f64(s, (const void *)from, (void *)to);
            else
                add_row_f32(s, (const void *)from, (void *)to);
        }
    }
}

static ebb_status run_pad_grad(const ebb_call *call)
{
    const pad_grad_state *s = call->state;
    if (s->n_rows > 0 && s->sizes[s->rank - 1] > 0)
        ebb_parallel(s->n_threads, add_rows, (void *)call);
    return EBB_OK;
}

/* Counted first, shifted by one, so that filling leaves the starts where they belong. */
static bool fill_list(const ebb_region *region, const ebb_compile_env *env, pad_grad_state *s,
                      int d)
{
    place_list *list = &s->lists[d];
    list->first = ebb_native_allocate(region, env, ((size_t)s->sizes[d] + 2) * sizeof(int64_t));
    list->places = ebb_native_allocate(region, env, ((size_t)s->padded[d] + 1) * sizeof(int64_t));
    if (!list->first || !list->places)
        return false;
    for (int pass = 0; pass < 2 && s->sizes[d] > 0; pass++) {
        for (int64_t j = 0; j < s->padded[d]; j++) {
            const int64_t i = ebb_pad_source(s->mode, j - s->before[d], s->sizes[d]);
            if (i < 0)
                continue;
            if (pass == 0)
                list->first[i + 2]++;
            else
                list->places[list->first[i + 1]++] = j;
        }
        for (int64_t i = 0; i < s->sizes[d] && pass == 0; i++)
            list->first[i + 2] += list->first[i + 1];
    }
    return true;
}

static int score_pad_grad(const ebb_region *region)
{
    return ebb_native_all_dense(region) ? EBB_SCORE_BEST : EBB_SCORE_NONE;
}

static ebb_status compile_pad_grad(const ebb_region *region, const ebb_compile_env *env,
                                   ebb_kernel *kernel)
{
    pad_grad_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    const ebb_pad_attrs *attrs = region->attrs;
    const ebb_shape *padded = &region->inputs[0].type->shape;
    const ebb_shape *result = &region->results[0].type->shape;
    s->mode = (ebb_pad_mode)attrs->mode;
    s->is_f64 = region->results[0].type->dtype == EBB_F64;
    s->rank = result->rank > 0 ? result->rank : 1;
    s->sizes[0] = s->padded[0] = 1; /* of a scalar */
    int64_t stride = 1;
    s->n_rows = 1;
    for (int d = result->rank - 1; d >= 0; d--) {
        s->sizes[d] = result->dims[d];
        s->padded[d] = padded->dims[d];
        s->before[d] = attrs->before.values[d];
        s->strides[d] = stride;
        stride *= padded->dims[d];
        if (d == s->rank - 1)
            continue;
        s->n_rows *= result->dims[d];
        if (!fill_list(region, env, s, d))
            return EBB_OUT_OF_MEMORY;
    }
    kernel->n_threads = s->n_threads =
        ebb_native_threads(region, ebb_shape_elements(padded), EBB_CHEAP_WORK);
    kernel->run = run_pad_grad;
    kernel->state = s;
    kernel->implementation = "rows";
    return EBB_OK;
}

const ebb_native_kind ebb_native_pad_grad = { score_pad_grad, compile_pad_grad };
