/* iota: one block along the axis, then copies of it. */
#include "backends/native/native.h"
#include "ops/build.h"
#include <string.h>

typedef struct iota_state {
    ebb_dtype dtype;
    size_t bytes; /* of an element */
    int64_t n_outer, n, n_inner;
    int n_threads;
} iota_state;

#define FILL(T)                                                                                    \
    for (int64_t i = 0; i < state->n; i++)                                                         \
        for (int64_t j = 0; j < state->n_inner; j++)                                               \
    ((T *)result)[i * state->n_inner + j] = (T)i

static void fill_block(const iota_state *state, void *result)
{
    switch (state->dtype) {
    case EBB_F64:
        FILL(double);
        break;
    case EBB_F32:
        FILL(float);
        break;
    case EBB_I64:
        FILL(int64_t);
        break;
    case EBB_I32:
        FILL(int32_t);
        break;
    default:
        FILL(uint8_t);
        break;
    }
}

static void iota_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const iota_state *state = call->state;
    const size_t block_bytes = (size_t)(state->n * state->n_inner) * state->bytes;
    int64_t begin, end;
    ebb_parallel_part(state->n_outer, index, n, &begin, &end);
    char *result = call->results[0], *first = result + (size_t)begin * block_bytes;
    if (begin < end)
        fill_block(state, first);
    for (int64_t i = begin + 1; i < end; i++)
        memcpy(result + (size_t)i * block_bytes, first, block_bytes);
}

static ebb_status run_iota(const ebb_call *call)
{
    const iota_state *state = call->state;
    if (state->n > 0 && state->n_inner > 0)
        ebb_parallel(state->n_threads, iota_part, (void *)call);
    return EBB_OK;
}

static int score_iota(const ebb_region *region)
{
    (void)region;
    return EBB_SCORE_BEST;
}

static ebb_status compile_iota(const ebb_region *region, const ebb_compile_env *env,
                               ebb_kernel *kernel)
{
    iota_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_type *type = region->results[0].type;
    const ebb_iota_attrs *attrs = region->attrs;
    const int axis = ebb_axis_of(attrs->axis, type->shape.rank);
    state->dtype = type->dtype;
    state->bytes = ebb_dtype_bytes(type->dtype);
    state->n_outer = state->n = state->n_inner = 1;
    for (int i = 0; i < type->shape.rank; i++)
        *(i < axis    ? &state->n_outer
          : i == axis ? &state->n
                      : &state->n_inner) *= type->shape.dims[i];
    kernel->n_threads = state->n_threads = ebb_native_threads_for(
        region, state->n_outer, ebb_shape_elements(&type->shape), EBB_CHEAP_WORK);
    kernel->run = run_iota;
    kernel->state = state;
    kernel->implementation = "blocks";
    return EBB_OK;
}

const ebb_native_kind ebb_native_iota = { score_iota, compile_iota };
