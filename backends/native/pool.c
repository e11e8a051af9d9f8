/* Pooling and its gradients. Every result, of a window or of a place in the input, is computed on
 * its own out of the places that it is linked to, for a run of channels: so threads share nothing,
 * and channels that lie next to each other are fast. With the channels apart the runs have one
 * element. Places of a row that are linked alike are computed by one call. oneDNN's maximum loses
 * NaN, and its table of maxima has a form of its own. */
#include "ops/pool.h"
#include "backends/native/channels.h"

/* Result coordinate i along a dimension is made of sources first[i]..first[i+1]-1. */
typedef struct links {
    int64_t *first;
    int64_t *source; /* coordinate in what is read */
    int32_t *tap;
    double *factor; /* of the gradient of means */
} links;

/* Result coordinates first, first + period .. along the last dimension: each has the links of the
 * one before, moved by one and the same distance. */
typedef struct chain {
    int64_t first, n;
} chain;

typedef enum pool_kind { MAX, MAX_GRAD, AVG, AVG_GRAD } pool_kind;

typedef struct pool_state {
    const ebb_pool_table *table;
    pool_kind kind;
    ebb_pool pool;
    int64_t bytes, where_bytes;
    int64_t run, n_runs, run_stride,
        to_run_stride; /* channels: of one run, runs, from run to run */
    int64_t to_size[3], to_stride[3], to_batch;
    int64_t from_stride[3], from_batch;
    links dims[3];
    chain *chains;                   /* in order, those of one period next to each other */
    int64_t n_chains, period, shift; /* shift: of the links, from one coordinate of a chain on */
    int64_t most_taps;
    size_t part_bytes;
    int n_threads;
} pool_state;

static pool_kind kind_of(const ebb_op *op)
{
    return op == &ebb_op_max_pool        ? MAX
           : op == &ebb_op_max_pool_grad ? MAX_GRAD
           : op == &ebb_op_avg_pool      ? AVG
                                         : AVG_GRAD;
}

/* All operands are images of [batch, channels, ...], in blocks alike. */
static bool lie_in_blocks(const ebb_region *region)
{
    for (int i = 0; i < region->n_inputs + region->n_results; i++) {
        const ebb_operand *o =
            i < region->n_inputs ? &region->inputs[i] : &region->results[i - region->n_inputs];
        if (!ebb_channels_in_blocks(o) ||
            o->layout.blocks[0].size != region->inputs[0].layout.blocks[0].size)
            return false;
    }
    return true;
}

/* All operands are images, too. */
static bool lie_as(const ebb_region *region, bool channels_last)
{
    for (int i = 0; i < region->n_inputs + region->n_results; i++) {
        const ebb_operand *o =
            i < region->n_inputs ? &region->inputs[i] : &region->results[i - region->n_inputs];
        const ebb_shape *shape = &o->type->shape;
        const ebb_operand like = { .type = o->type,
                                   .layout = channels_last ? ebb_layout_channels_last(shape)
                                                           : ebb_layout_dense(shape) };
        if (!ebb_channels_lie_alike(o, &like))
            return false;
    }
    return true;
}

static int score_pool(const ebb_region *region)
{
    if (!ebb_dtype_is_float(region->inputs[0].type->dtype))
        return EBB_SCORE_NONE;
    return lie_in_blocks(region) || lie_as(region, true) ? EBB_SCORE_NATIVE
           : lie_as(region, false)                       ? EBB_SCORE_GENERIC
                                                         : EBB_SCORE_NONE;
}

/* ---- running ---- */

typedef struct row_scratch {
    int64_t *offsets;
    double *factors;
    int32_t *taps;
} row_scratch;

/* The places that the result at `at` is made of; returns how many. */
static int64_t gather_taps(const pool_state *s, const int64_t *at, row_scratch *row)
{
    const ebb_window *w = &s->pool.w;
    const links *d = s->dims;
    int64_t n = 0;
    for (int64_t i = d[0].first[at[0]]; i < d[0].first[at[0] + 1]; i++)
        for (int64_t j = d[1].first[at[1]]; j < d[1].first[at[1] + 1]; j++) {
            const int64_t offset =
                d[0].source[i] * s->from_stride[0] + d[1].source[j] * s->from_stride[1];
            const int64_t tap = (d[0].tap[i] * w->window[1] + d[1].tap[j]) * w->window[2];
            for (int64_t k = d[2].first[at[2]]; k < d[2].first[at[2] + 1]; k++, n++) {
                row->offsets[n] = offset + d[2].source[k] * s->from_stride[2];
                row->taps[n] = (int32_t)(tap + d[2].tap[k]);
                if (s->kind == AVG_GRAD)
                    row->factors[n] = d[0].factor[i] * d[1].factor[j] * d[2].factor[k];
            }
        }
    return n;
}

static double mean_factor(const pool_state *s, const int64_t *at)
{
    double n = 1;
    for (int d = 0; d < 3; d++)
        n *= (double)ebb_pool_divisor(&s->pool, d, at[d]);
    return n > 0 ? 1 / n : 0;
}

/* The results of a chain in the row `at`. */
static void compute_chain(const pool_state *s, const ebb_call *call, int64_t batch, const chain *c,
                          int64_t *at, row_scratch *row)
{
    int64_t to = batch * s->to_batch, from = batch * s->from_batch;
    at[2] = c->first;
    const ebb_pool_places places = {
        .n = s->run,
        .n_places = c->n,
        .from_step = s->shift * s->from_stride[2],
        .to_step = s->period * s->to_stride[2],
        .n_taps = gather_taps(s, at, row),
        .offsets = row->offsets,
        .taps = row->taps,
        .factors = s->kind == AVG_GRAD ? row->factors : NULL,
        .factor = s->kind == AVG ? mean_factor(s, at) : 0,
        .is_wide = s->where_bytes == 4,
    };
    for (int d = 0; d < 3; d++)
        to += at[d] * s->to_stride[d];
    for (int64_t r = 0; r < s->n_runs; r++, to += s->to_run_stride, from += s->run_stride) {
        const char *x = (const char *)call->inputs[0] + from * s->bytes;
        char *y = (char *)call->results[0] + to * s->bytes;
        if (s->kind == MAX)
            s->table->max(&places, x, y,
                          s->where_bytes ? (char *)call->results[1] + to * s->where_bytes : NULL);
        else if (s->kind == MAX_GRAD)
            s->table->pick(&places, x, (const char *)call->inputs[1] + from * s->where_bytes, y);
        else
            s->table->sum(&places, x, y);
    }
}

static void pool_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const pool_state *s = call->state;
    char *scratch = (char *)call->scratch + (size_t)index * s->part_bytes;
    row_scratch row = { .offsets = (int64_t *)(void *)scratch };
    row.factors = (double *)(void *)(row.offsets + s->most_taps);
    row.taps = (int32_t *)(void *)(row.factors + s->most_taps);
    int64_t begin, end;
    ebb_parallel_part(s->pool.batch * s->to_size[0] * s->to_size[1], index, n, &begin, &end);
    for (int64_t task = begin; task < end; task++) {
        const int64_t batch = task / s->to_size[1] / s->to_size[0];
        int64_t at[3] = { task / s->to_size[1] % s->to_size[0], task % s->to_size[1], 0 };
        for (int64_t c = 0; c < s->n_chains; c++)
            compute_chain(s, call, batch, &s->chains[c], at, &row);
    }
}

static ebb_status run_pool(const ebb_call *call)
{
    const pool_state *s = call->state;
    ebb_parallel(s->n_threads, pool_part, (void *)call);
    return EBB_OK;
}

/* ---- planning ---- */

/* Windows to their taps in the input, or, for a gradient, places of the input to the windows over
 * them. */
static bool fill_links(const ebb_region *region, const ebb_compile_env *env, const pool_state *s,
                       int d, links *l, int64_t *most)
{
    const ebb_window *w = &s->pool.w;
    const bool is_grad = s->kind == MAX_GRAD || s->kind == AVG_GRAD;
    const int64_t n_results = is_grad ? w->size[d] : w->count[d];
    int64_t n_links = 0, first, last;
    for (int64_t i = 0; i < w->count[d]; i++) {
        ebb_window_taps(w, d, i, &first, &last);
        n_links += last - first;
    }
    const size_t n = (size_t)n_links + 1;
    l->first = ebb_native_allocate(region, env, ((size_t)n_results + 2) * sizeof *l->first);
    l->source = ebb_native_allocate(region, env, n * sizeof *l->source);
    l->tap = ebb_native_allocate(region, env, n * sizeof *l->tap);
    l->factor = ebb_native_allocate(region, env, n * sizeof *l->factor);
    if (!l->first || !l->source || !l->tap || !l->factor)
        return false;
    /* Counted first, shifted by one, so that filling leaves the starts where they belong. */
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < w->count[d]; i++) {
            const int64_t divisor = ebb_pool_divisor(&s->pool, d, i);
            ebb_window_taps(w, d, i, &first, &last);
            for (int64_t k = first; k < last; k++) {
                const int64_t place = i * w->stride[d] + k * w->dilation[d] - w->begin[d];
                const int64_t result = is_grad ? place : i;
                if (pass == 0) {
                    l->first[result + 2]++;
                    continue;
                }
                const int64_t at = l->first[result + 1]++;
                l->source[at] = is_grad ? i : place;
                l->tap[at] = (int32_t)k;
                l->factor[at] = divisor > 0 ? 1 / (double)divisor : 0;
            }
        }
        for (int64_t i = 0; i < n_results && pass == 0; i++)
            l->first[i + 2] += l->first[i + 1];
    }
    *most = 0;
    for (int64_t i = 0; i < n_results; i++)
        if (l->first[i + 1] - l->first[i] > *most)
            *most = l->first[i + 1] - l->first[i];
    return true;
}

/* Coordinate i is linked as i - period is, `shift` further on. */
static bool continues(const pool_state *s, int64_t i)
{
    const links *l = &s->dims[2];
    const int64_t before = i - s->period;
    if (before < 0)
        return false;
    const int64_t a = l->first[before], b = l->first[i], n = l->first[i + 1] - b;
    if (l->first[before + 1] - a != n || (s->kind == AVG && ebb_pool_divisor(&s->pool, 2, before) !=
                                                                ebb_pool_divisor(&s->pool, 2, i)))
        return false;
    for (int64_t k = 0; k < n; k++)
        if (l->source[b + k] != l->source[a + k] + s->shift || l->tap[b + k] != l->tap[a + k] ||
            (s->kind == AVG_GRAD && l->factor[b + k] != l->factor[a + k]))
            return false;
    return true;
}

static bool list_chains(const ebb_region *region, const ebb_compile_env *env, pool_state *s)
{
    const int64_t n = s->to_size[2], stride = s->pool.w.stride[2];
    const bool is_grad = s->kind == MAX_GRAD || s->kind == AVG_GRAD;
    s->period = is_grad ? stride : 1;
    s->shift = is_grad ? 1 : stride;
    s->chains = ebb_native_allocate(region, env, ((size_t)n + 1) * sizeof *s->chains);
    if (!s->chains)
        return false;
    for (int64_t i = 0; i < n; i++) {
        if (continues(s, i))
            continue; /* in the chain of i - period */
        chain *made = &s->chains[s->n_chains++];
        *made = (chain){ i, 1 };
        while (i + made->n * s->period < n && continues(s, i + made->n * s->period))
            made->n++;
    }
    return true;
}

static void read_strides(const ebb_operand *operand, int64_t *strides)
{
    const int n = operand->type->shape.rank - 2;
    for (int d = 0; d < 3; d++)
        strides[d] = d < 3 - n ? 0 : operand->layout.strides[2 + d - (3 - n)];
}

static ebb_status compile_pool(const ebb_region *region, const ebb_compile_env *env,
                               ebb_kernel *kernel)
{
    pool_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    const ebb_operand *from = &region->inputs[0], *to = &region->results[0];
    const ebb_vector_isa *isa = ebb_native_isa(env);
    ebb_pool_read(region->op, region->attrs, &from->type->shape, &to->type->shape, &s->pool);
    s->kind = kind_of(region->op);
    s->bytes = (int64_t)ebb_dtype_bytes(from->type->dtype);
    s->table = from->type->dtype == EBB_F32 ? isa->pool_f32 : isa->pool_f64;
    const ebb_operand *where = s->kind == MAX        ? &region->results[1]
                               : s->kind == MAX_GRAD ? &region->inputs[1]
                                                     : NULL;
    s->where_bytes = where && !where->is_unread ? (int64_t)ebb_dtype_bytes(where->type->dtype) : 0;
    s->run = lie_in_blocks(region)  ? from->layout.blocks[0].size
             : lie_as(region, true) ? s->pool.channels
                                    : 1;
    s->n_runs = s->run > 0 ? s->pool.channels / s->run : 0;
    s->run_stride = from->layout.strides[1];
    s->to_run_stride = to->layout.strides[1];
    s->from_batch = from->layout.strides[0];
    s->to_batch = to->layout.strides[0];
    read_strides(from, s->from_stride);
    read_strides(to, s->to_stride);
    s->most_taps = 1;
    const bool is_grad = s->kind == MAX_GRAD || s->kind == AVG_GRAD;
    for (int d = 0; d < 3; d++) {
        int64_t most;
        s->to_size[d] = is_grad ? s->pool.w.size[d] : s->pool.w.count[d];
        if (!fill_links(region, env, s, d, &s->dims[d], &most))
            return EBB_OUT_OF_MEMORY;
        s->most_taps *= most;
    }
    if (!list_chains(region, env, s))
        return EBB_OUT_OF_MEMORY;
    s->part_bytes = ((size_t)s->most_taps * 20 + 127) / 64 * 64;
    const int64_t n_tasks = s->pool.batch * s->to_size[0] * s->to_size[1];
    s->n_threads = ebb_native_threads_for(region, n_tasks,
                                          ebb_shape_elements(&from->type->shape) +
                                              ebb_shape_elements(&to->type->shape),
                                          EBB_CHEAP_WORK);
    kernel->scratch_bytes = s->part_bytes * (size_t)s->n_threads;
    kernel->n_threads = s->n_threads;
    kernel->left_out = s->kind == MAX && where->is_unread ? 1u << 1 : 0;
    kernel->run = run_pool;
    kernel->state = s;
    kernel->implementation = lie_in_blocks(region)  ? "channel_blocks"
                             : lie_as(region, true) ? "channels_last"
                                                    : "channels_first";
    return EBB_OK;
}

const ebb_native_kind ebb_native_pool = { score_pool, compile_pool };

bool ebb_native_pool_wish(const ebb_region *region, ebb_layout *inputs, ebb_layout *results)
{
    const ebb_shape *shape = &region->inputs[0].type->shape;
    if (ebb_channels_wish(region, inputs, results))
        return true;
    if (shape->dims[1] < 8 || ebb_shape_elements(shape) < EBB_COSTLY_WORK)
        return false;
    for (int i = 0; i < region->n_inputs; i++)
        inputs[i] = ebb_layout_channels_last(&region->inputs[i].type->shape);
    for (int i = 0; i < region->n_results; i++)
        results[i] = ebb_layout_channels_last(&region->results[i].type->shape);
    return true;
}
