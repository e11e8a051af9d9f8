/* random_uniform and random_normal: the numbers of ops/philox.h, bit for bit, shared out between
 * threads. */
#include "ops/random.h"
#include "backends/native/operand.h"

typedef struct random_state {
    ebb_random_source source;
    int64_t n_elements;
    bool is_streamed; /* past the caches */
    int n_threads;
} random_state;

ebb_random_source ebb_random_source_make(const ebb_op *op, const ebb_random_attrs *attrs,
                                         const ebb_vector_isa *isa)
{
    return (ebb_random_source){ .dtype = attrs->type.dtype,
                                .is_normal = op == &ebb_op_random_normal,
                                .seed = (uint64_t)attrs->seed,
                                .stream = (uint32_t)attrs->stream,
                                .table = isa->random };
}

void ebb_random_source_fill(const ebb_random_source *source, uint64_t counter, int64_t first,
                            int64_t n, bool is_streamed, void *to)
{
    const ebb_random_key key = { source->seed, counter, source->stream };
    if (source->dtype != EBB_F32 || source->is_normal) {
        ebb_random_fill(source->dtype, source->is_normal, key, first, n, to);
        return;
    }
    const int64_t in_block = (4 - first % 4) % 4, n_before = in_block < n ? in_block : n;
    if (n_before > 0)
        ebb_random_fill(EBB_F32, false, key, first, n_before, to);
    if (n > n_before)
        source->table->uniform_f32(
            &(ebb_random_blocks){ .seed = key.seed,
                                  .stream = key.stream,
                                  .counter = counter,
                                  .first = (uint32_t)((first + n_before) / 4),
                                  .is_streamed = is_streamed },
            n - n_before, (float *)to + n_before);
}

static void random_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const random_state *state = call->state;
    int64_t begin, end;
    ebb_parallel_part((state->n_elements + 63) / 64, index, n, &begin, &end);
    begin *= 64;
    end = end * 64 < state->n_elements ? end * 64 : state->n_elements;
    if (begin < end)
        ebb_random_source_fill(&state->source, *(const uint64_t *)call->inputs[0], begin,
                               end - begin, state->is_streamed,
                               (char *)call->results[0] +
                                   (size_t)begin * ebb_dtype_bytes(state->source.dtype));
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
    state->source = ebb_random_source_make(region->op, attrs, ebb_native_isa(env));
    state->n_elements = ebb_shape_elements(&attrs->type.shape);
    state->is_streamed = ebb_type_bytes(&attrs->type) >= EBB_STREAM_BYTES;
    kernel->n_threads = state->n_threads =
        ebb_native_threads(region, state->n_elements, EBB_COSTLY_WORK / 8);
    kernel->run = run_random;
    kernel->state = state;
    kernel->implementation = "philox";
    return EBB_OK;
}

const ebb_native_kind ebb_native_random = { score_random, compile_random };
