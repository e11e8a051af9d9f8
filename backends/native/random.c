/* random_uniform and random_normal: the numbers of ops/philox.h, bit for bit, shared out between
 * threads. */
#include "ops/random.h"
#include "backends/native/native.h"

typedef struct random_state {
    ebb_dtype dtype;
    bool is_normal;
    bool is_streamed; /* past the caches */
    const ebb_random_table *table;
    int64_t seed, stream, n_elements;
    int n_threads;
} random_state;

static void random_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const random_state *state = call->state;
    const ebb_random_key key = { (uint64_t)state->seed, *(const uint64_t *)call->inputs[0],
                                 (uint32_t)state->stream };
    int64_t begin, end;
    ebb_parallel_part((state->n_elements + 63) / 64, index, n, &begin, &end);
    begin *= 64;
    end = end * 64 < state->n_elements ? end * 64 : state->n_elements;
    if (begin >= end)
        return;
    if (state->dtype == EBB_F32 && !state->is_normal)
        state->table->uniform_f32(&(ebb_random_blocks){ .seed = key.seed,
                                                        .stream = key.stream,
                                                        .counter = key.counter,
                                                        .first = (uint32_t)(begin / 4),
                                                        .is_streamed = state->is_streamed },
                                  end - begin, (float *)call->results[0] + begin);
    else
        ebb_random_fill(state->dtype, state->is_normal, key, begin, end - begin,
                        (char *)call->results[0] + (size_t)begin * ebb_dtype_bytes(state->dtype));
}

static ebb_status run_random(const ebb_call *call)
{
    const random_state *state = call->state;
    ebb_parallel(state->n_threads, random_part, (void *)call);
    return EBB_OK;
}

static int score_random(const ebb_region *region)
{
    (void)region;
    return EBB_SCORE_BEST;
}

static ebb_status compile_random(const ebb_region *region, const ebb_compile_env *env,
                                 ebb_kernel *kernel)
{
    random_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_random_attrs *attrs = region->attrs;
    state->dtype = attrs->type.dtype;
    state->is_normal = region->op == &ebb_op_random_normal;
    state->seed = attrs->seed;
    state->stream = attrs->stream;
    state->n_elements = ebb_shape_elements(&attrs->type.shape);
    state->table = ebb_native_isa(env)->random;
    state->is_streamed = ebb_type_bytes(&attrs->type) >= EBB_STREAM_BYTES;
    kernel->n_threads = state->n_threads =
        ebb_native_threads(region, state->n_elements, EBB_COSTLY_WORK / 8);
    kernel->run = run_random;
    kernel->state = state;
    kernel->implementation = "philox";
    return EBB_OK;
}

const ebb_native_kind ebb_native_random = { score_random, compile_random };
