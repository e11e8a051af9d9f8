/* top_k. Elements become unsigned keys, of which the smaller one stands first; few are kept by
 * insertion, many by a radix sort (least significant byte first), which both leave equal keys in
 * the order of their indices. */
#include "backends/native/native.h"
#include "ops/build.h"
#include <string.h>

/* Up to so many are kept by insertion. */
enum { FEW = 32 };

typedef struct sort_entry {
    uint64_t key;
    int64_t index;
} sort_entry;

typedef struct sort_state {
    int64_t n_outer, n, n_inner, k;
    size_t bytes; /* of an element */
    /* The key of element i of those that are `stride` apart. `flip` turns the order around. */
    uint64_t (*key)(const void *x, int64_t stride, int64_t i);
    uint64_t flip;
    int n_threads;
} sort_state;

/* Ascending: of a float with the sign bit the bits run backwards. NaN is the largest, -0 is 0. */
#define FLOAT_KEY(name, T, U, sign)                                                                \
    static uint64_t name(const void *x, int64_t stride, int64_t i)                                 \
    {                                                                                              \
        const T value = ((const T *)x)[i * stride];                                                \
        U bits;                                                                                    \
        if (value != value)                                                                        \
            return (U)-1;                                                                          \
        if (value == 0)                                                                            \
            return sign;                                                                           \
        memcpy(&bits, &value, sizeof bits);                                                        \
        return bits & sign ? (U)~bits : bits | sign;                                               \
    }
FLOAT_KEY(key_f64, double, uint64_t, UINT64_C(1) << 63)
FLOAT_KEY(key_f32, float, uint32_t, UINT32_C(1) << 31)

static uint64_t key_i64(const void *x, int64_t stride, int64_t i)
{
    return (uint64_t)((const int64_t *)x)[i * stride] ^ UINT64_C(1) << 63;
}
static uint64_t key_i32(const void *x, int64_t stride, int64_t i)
{
    return (uint32_t)((const int32_t *)x)[i * stride] ^ UINT32_C(1) << 31;
}
static uint64_t key_u8(const void *x, int64_t stride, int64_t i)
{
    return ((const uint8_t *)x)[i * stride];
}

static void insert_few(const sort_state *state, const void *x, sort_entry *best)
{
    int64_t count = 0;
    for (int64_t i = 0; i < state->n; i++) {
        const uint64_t key = state->key(x, state->n_inner, i) ^ state->flip;
        if (count == state->k && key >= best[count - 1].key)
            continue;
        int64_t place = count < state->k ? count++ : count - 1;
        for (; place > 0 && best[place - 1].key > key; place--)
            best[place] = best[place - 1];
        best[place] = (sort_entry){ key, i };
    }
}

/* Returns where the entries are in the end: in `entries` or in `spare`. */
static sort_entry *sort_all(const sort_state *state, const void *x, sort_entry *entries,
                            sort_entry *spare)
{
    const int64_t n = state->n;
    for (int64_t i = 0; i < n; i++)
        entries[i] = (sort_entry){ state->key(x, state->n_inner, i) ^ state->flip, i };
    for (size_t shift = 0; shift < 8 * state->bytes; shift += 8) {
        int64_t starts[257] = { 0 };
        for (int64_t i = 0; i < n; i++)
            starts[(entries[i].key >> shift & 255) + 1]++;
        if (starts[(entries[0].key >> shift & 255) + 1] == n)
            continue; /* all equal */
        for (int digit = 0; digit < 256; digit++)
            starts[digit + 1] += starts[digit];
        for (int64_t i = 0; i < n; i++)
            spare[starts[entries[i].key >> shift & 255]++] = entries[i];
        sort_entry *moved = entries;
        entries = spare;
        spare = moved;
    }
    return entries;
}

static void sort_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const sort_state *state = call->state;
    const int64_t bytes = (int64_t)state->bytes, inner = state->n_inner, k = state->k;
    sort_entry few[FEW], *own = (sort_entry *)call->scratch + 2 * state->n * index;
    int64_t begin, end;
    ebb_parallel_part(state->n_outer * inner, index, n, &begin, &end);
    for (int64_t at = begin; at < end; at++) {
        const int64_t o = at / inner, i = at % inner, to = o * k * inner + i;
        const char *x = (const char *)call->inputs[0] + (o * state->n * inner + i) * bytes;
        const sort_entry *best = few;
        if (k <= FEW)
            insert_few(state, x, few);
        else
            best = sort_all(state, x, own, own + state->n);
        for (int64_t j = 0; j < k; j++) {
            memcpy((char *)call->results[0] + (to + j * inner) * bytes,
                   x + best[j].index * inner * bytes, (size_t)bytes);
            ((int64_t *)call->results[1])[to + j * inner] = best[j].index;
        }
    }
}

static ebb_status run_sort(const ebb_call *call)
{
    const sort_state *state = call->state;
    if (state->k > 0 && state->n_outer * state->n_inner > 0)
        ebb_parallel(state->n_threads, sort_part, (void *)call);
    return EBB_OK;
}

static ebb_status compile_sort(const ebb_region *region, const ebb_compile_env *env,
                               ebb_kernel *kernel)
{
    static uint64_t (*const keys[EBB_N_DTYPES])(const void *, int64_t, int64_t) = {
        [EBB_F64] = key_f64, [EBB_F32] = key_f32, [EBB_I64] = key_i64,
        [EBB_I32] = key_i32, [EBB_U8] = key_u8,
    };
    sort_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_type *type = region->inputs[0].type;
    const ebb_top_k_attrs *attrs = region->attrs;
    const int axis = ebb_axis_of(attrs->axis, type->shape.rank);
    state->n_outer = state->n_inner = 1;
    for (int i = 0; i < type->shape.rank; i++)
        if (i != axis)
            *(i < axis ? &state->n_outer : &state->n_inner) *= type->shape.dims[i];
    state->n = type->shape.dims[axis];
    state->k = attrs->k;
    state->bytes = ebb_dtype_bytes(type->dtype);
    state->key = keys[type->dtype];
    state->flip = attrs->smallest ? 0 : UINT64_MAX >> (64 - 8 * state->bytes);
    const int64_t n_lanes = state->n_outer * state->n_inner;
    state->n_threads =
        ebb_native_threads_for(region, n_lanes, ebb_shape_elements(&type->shape), EBB_COSTLY_WORK);
    if (state->k > FEW)
        kernel->scratch_bytes =
            (size_t)state->n_threads * 2 * (size_t)state->n * sizeof(sort_entry);
    kernel->n_threads = state->n_threads;
    kernel->run = run_sort;
    kernel->state = state;
    kernel->implementation = state->k > FEW ? "radix" : "insertion";
    return EBB_OK;
}

static int score_sort(const ebb_region *region)
{
    return ebb_native_all_dense(region) ? EBB_SCORE_BEST : EBB_SCORE_NONE;
}

const ebb_native_kind ebb_native_top_k = { score_sort, compile_sort };
