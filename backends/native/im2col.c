/* im2col and col2im: images [batch, channels, sizes], columns [batch * windows, channels * taps].
 * im2col writes rows of columns, col2im whole planes of the image, so that threads share nothing.
 */
#include "ops/im2col.h"
#include "backends/native/native.h"
#include <string.h>

typedef struct im2col_state {
    ebb_window w;
    int64_t batch, channels;
    bool is_back; /* col2im */
    bool is_f64;
    int n_threads;
} im2col_state;

/* Window `at` of its image: where its first tap stands, and the taps that are inside. */
typedef struct window_place {
    int64_t start[EBB_MAX_SPATIAL], first[EBB_MAX_SPATIAL], last[EBB_MAX_SPATIAL];
} window_place;

static window_place find_window(const ebb_window *w, int64_t at)
{
    window_place p;
    for (int d = EBB_MAX_SPATIAL - 1; d >= 0; d--) {
        const int64_t i = at % w->count[d];
        p.start[d] = i * w->stride[d] - w->begin[d];
        ebb_window_taps(w, d, i, &p.first[d], &p.last[d]);
        at /= w->count[d];
    }
    return p;
}

/* For one type: the taps of a window over one plane of the image, out of it or added to it. */
#define IM2COL_OF_TYPE(T, take_taps, add_taps)                                                     \
    static void take_taps(const ebb_window *w, const window_place *p, const T *plane, T *taps)     \
    {                                                                                              \
        const int64_t step = w->dilation[2];                                                       \
        for (int64_t i = p->first[0]; i < p->last[0]; i++)                                         \
            for (int64_t j = p->first[1]; j < p->last[1]; j++) {                                   \
                const T *row = plane + ((p->start[0] + i * w->dilation[0]) * w->size[1] +          \
                                        p->start[1] + j * w->dilation[1]) *                        \
                                           w->size[2];                                             \
                T *to = taps + (i * w->window[1] + j) * w->window[2];                              \
                for (int64_t k = p->first[2]; k < p->last[2]; k++)                                 \
                    to[k] = row[p->start[2] + k * step];                                           \
            }                                                                                      \
    }                                                                                              \
    static void add_taps(const ebb_window *w, const window_place *p, const T *taps, T *plane)      \
    {                                                                                              \
        const int64_t step = w->dilation[2];                                                       \
        for (int64_t i = p->first[0]; i < p->last[0]; i++)                                         \
            for (int64_t j = p->first[1]; j < p->last[1]; j++) {                                   \
                T *row = plane + ((p->start[0] + i * w->dilation[0]) * w->size[1] + p->start[1] +  \
                                  j * w->dilation[1]) *                                            \
                                     w->size[2];                                                   \
                const T *from = taps + (i * w->window[1] + j) * w->window[2];                      \
                for (int64_t k = p->first[2]; k < p->last[2]; k++)                                 \
                    row[p->start[2] + k * step] += from[k];                                        \
            }                                                                                      \
    }
IM2COL_OF_TYPE(float, take_taps_f32, add_taps_f32)
IM2COL_OF_TYPE(double, take_taps_f64, add_taps_f64)

static bool has_padding(const ebb_window *w, const window_place *p)
{
    for (int d = 0; d < EBB_MAX_SPATIAL; d++)
        if (p->last[d] - p->first[d] < w->window[d])
            return true;
    return false;
}

static void take_rows(void *context, int index, int n)
{
    const ebb_call *call = context;
    const im2col_state *s = call->state;
    const int64_t bytes = s->is_f64 ? 8 : 4, row_bytes = s->channels * s->w.n_taps * bytes;
    int64_t begin, end;
    ebb_parallel_part(s->batch * s->w.n_counts, index, n, &begin, &end);
    for (int64_t row = begin; row < end; row++) {
        const window_place p = find_window(&s->w, row % s->w.n_counts);
        const int64_t image = row / s->w.n_counts * s->channels;
        char *to = (char *)call->results[0] + row * row_bytes;
        if (has_padding(&s->w, &p))
            memset(to, 0, (size_t)row_bytes);
        for (int64_t c = 0; c < s->channels; c++, to += s->w.n_taps * bytes) {
            const char *plane = (const char *)call->inputs[0] + (image + c) * s->w.n_sizes * bytes;
            if (s->is_f64)
                take_taps_f64(&s->w, &p, (const void *)plane, (void *)to);
            else
                take_taps_f32(&s->w, &p, (const void *)plane, (void *)to);
        }
    }
}

static void add_planes(void *context, int index, int n)
{
    const ebb_call *call = context;
    const im2col_state *s = call->state;
    const int64_t bytes = s->is_f64 ? 8 : 4, row_bytes = s->channels * s->w.n_taps * bytes;
    int64_t begin, end;
    ebb_parallel_part(s->batch * s->channels, index, n, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        char *plane = (char *)call->results[0] + i * s->w.n_sizes * bytes;
        const char *from = (const char *)call->inputs[0] +
                           i / s->channels * s->w.n_counts * row_bytes +
                           i % s->channels * s->w.n_taps * bytes;
        memset(plane, 0, (size_t)(s->w.n_sizes * bytes));
        for (int64_t at = 0; at < s->w.n_counts; at++, from += row_bytes) {
            const window_place p = find_window(&s->w, at);
            if (s->is_f64)
                add_taps_f64(&s->w, &p, (const void *)from, (void *)plane);
            else
                add_taps_f32(&s->w, &p, (const void *)from, (void *)plane);
        }
    }
}

static ebb_status run_im2col(const ebb_call *call)
{
    const im2col_state *s = call->state;
    ebb_parallel(s->n_threads, s->is_back ? add_planes : take_rows, (void *)call);
    return EBB_OK;
}

static int score_im2col(const ebb_region *region)
{
    return ebb_native_all_dense(region) ? EBB_SCORE_BEST : EBB_SCORE_NONE;
}

static ebb_status compile_im2col(const ebb_region *region, const ebb_compile_env *env,
                                 ebb_kernel *kernel)
{
    im2col_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    s->is_back = region->op == &ebb_op_col2im;
    s->is_f64 = region->inputs[0].type->dtype == EBB_F64;
    const ebb_shape *x =
        s->is_back ? &region->results[0].type->shape : &region->inputs[0].type->shape;
    ebb_im2col_window(s->is_back ? &((const ebb_col2im_attrs *)region->attrs)->columns
                                 : (const ebb_im2col_attrs *)region->attrs,
                      x, &s->w);
    s->batch = x->dims[0];
    s->channels = x->dims[1];
    kernel->n_threads = s->n_threads = ebb_native_threads(
        region, s->batch * s->w.n_counts * s->channels * s->w.n_taps, EBB_CHEAP_WORK);
    kernel->run = run_im2col;
    kernel->state = s;
    kernel->implementation = s->is_back ? "planes" : "rows";
    return EBB_OK;
}

const ebb_native_kind ebb_native_im2col = { score_im2col, compile_im2col };
