/* max_pool_gather: of each window the value at the tap that the table of max_pool says, 0 if it is
 * none of the input. */
#include "backends/native/native.h"
#include "ops/pool.h"

typedef struct gather_state {
    ebb_pool pool;
    bool is_f64, is_wide; /* the table holds int32_t, else uint8_t */
    int n_threads;
} gather_state;

/* The place of the tap in its plane, or -1. */
static int64_t find_tap(const ebb_window *w, const int64_t *at, int64_t tap)
{
    if (tap < 0 || tap >= w->n_taps)
        return -1;
    const int64_t k[EBB_MAX_SPATIAL] = { tap / w->window[2] / w->window[1],
                                         tap / w->window[2] % w->window[1], tap % w->window[2] };
    int64_t place = 0;
    for (int d = 0; d < EBB_MAX_SPATIAL; d++) {
        const int64_t i = at[d] * w->stride[d] + k[d] * w->dilation[d] - w->begin[d];
        if (i < 0 || i >= w->size[d])
            return -1;
        place = place * w->size[d] + i;
    }
    return place;
}

static void gather_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const gather_state *s = call->state;
    const ebb_window *w = &s->pool.w;
    int64_t begin, end;
    ebb_parallel_part(s->pool.batch * s->pool.channels * w->n_counts, index, n, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const int64_t window = i % w->n_counts, plane = i / w->n_counts * w->n_sizes;
        const int64_t at[EBB_MAX_SPATIAL] = { window / w->count[2] / w->count[1],
                                              window / w->count[2] % w->count[1],
                                              window % w->count[2] };
        const int64_t tap = s->is_wide ? ((const int32_t *)call->inputs[1])[i]
                                       : ((const uint8_t *)call->inputs[1])[i];
        const int64_t from = find_tap(w, at, tap);
        if (s->is_f64)
            ((double *)call->results[0])[i] =
                from < 0 ? 0 : ((const double *)call->inputs[0])[plane + from];
        else
            ((float *)call->results[0])[i] =
                from < 0 ? 0 : ((const float *)call->inputs[0])[plane + from];
    }
}

static ebb_status run_gather(const ebb_call *call)
{
    const gather_state *s = call->state;
    ebb_parallel(s->n_threads, gather_part, (void *)call);
    return EBB_OK;
}

static int score_gather(const ebb_region *region)
{
    return ebb_native_all_dense(region) ? EBB_SCORE_BEST : EBB_SCORE_NONE;
}

static ebb_status compile_gather(const ebb_region *region, const ebb_compile_env *env,
                                 ebb_kernel *kernel)
{
    gather_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    const ebb_type *x = region->inputs[0].type, *y = region->results[0].type;
    ebb_pool_read(region->op, region->attrs, &x->shape, &y->shape, &s->pool);
    s->is_f64 = x->dtype == EBB_F64;
    s->is_wide = region->inputs[1].type->dtype != EBB_U8;
    kernel->n_threads = s->n_threads =
        ebb_native_threads(region, ebb_shape_elements(&y->shape), EBB_COSTLY_WORK);
    kernel->run = run_gather;
    kernel->state = s;
    kernel->implementation = "windows";
    return EBB_OK;
}

const ebb_native_kind ebb_native_pool_gather = { score_gather, compile_gather };
