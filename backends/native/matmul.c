/* Matrix products with Ebb's own register blocks: small and narrow shapes, and layouts that oneDNN
 * takes badly. */
#include "backends/native/operand.h"
#include <string.h>

typedef struct matmul_state {
    const ebb_product_table *table;
    ebb_dtype dtype;
    size_t bytes; /* of an element */
    int n_batch_dims;
    int64_t batch_dims[EBB_MAX_RANK], a_batch[EBB_MAX_RANK], b_batch[EBB_MAX_RANK];
    int64_t m, n, k;
    int64_t a_m, a_k, b_k, b_n;
    int64_t row_chunk, row_chunks, columns, column_chunks; /* how a product is shared out */
    int64_t depth;                                         /* of k at a time */
    bool packs;        /* b goes through a dense copy of `depth` times `columns` elements */
    bool is_exchanged; /* one row times a transposed matrix: computed as that matrix times a column
                        */
    int64_t n_batches, n_tasks;
    int n_threads;
    bool is_few;       /* rows, and b is large */
    bool halves_depth; /* the second half of k is summed apart, in the scratch, and added */
    ebb_map add;
} matmul_state;

/* Bounds of the copy of b: 64 KiB of floats stay in the second-level cache. */
enum { PACKED_DEPTH = 256, PACKED_COLUMNS = 64, WIDE = 128 };
/* Longer sums go in pieces of this length, which also bounds their error. */
enum { DEPTH = 1024 };
/* Deep products of at least so many times more depth than rows are halved along k: see
 * halves_depth. */
enum { DEPTH_OF_ROWS = 4 };
/* Of b: what certainly comes from memory. Below, oneDNN is as fast and at times faster. */
enum { LARGE_BYTES = 32 << 20 };
/* Columns that are left over are computed apart in products this deep. */
enum { MIN_REST_DEPTH = 64 };

static void pack_b(const matmul_state *state, const char *b, int64_t n_k, int64_t n_columns,
                   char *packed)
{
    /* Reads along the smaller stride. */
    const bool along_k = state->b_k < state->b_n;
    if (state->bytes == 4) {
        const float *from = (const float *)(const void *)b;
        float *to = (float *)(void *)packed;
        if (along_k)
            for (int64_t j = 0; j < n_columns; j++)
                for (int64_t k = 0; k < n_k; k++)
                    to[k * n_columns + j] = from[k * state->b_k + j * state->b_n];
        else
            for (int64_t k = 0; k < n_k; k++)
                for (int64_t j = 0; j < n_columns; j++)
                    to[k * n_columns + j] = from[k * state->b_k + j * state->b_n];
    } else {
        const double *from = (const double *)(const void *)b;
        double *to = (double *)(void *)packed;
        for (int64_t k = 0; k < n_k; k++)
            for (int64_t j = 0; j < n_columns; j++)
                to[k * n_columns + j] = from[k * state->b_k + j * state->b_n];
    }
}

static void matmul_task(const matmul_state *state, const ebb_call *call, int64_t task, char *packed)
{
    const int64_t bytes = (int64_t)state->bytes;
    const char *a = call->inputs[state->is_exchanged], *b = call->inputs[!state->is_exchanged];
    char *c = call->results[0];
    const int64_t half = state->halves_depth ? state->k / 2 : state->k;
    const bool is_second = state->halves_depth && task >= state->row_chunks;
    if (is_second) {
        task -= state->row_chunks;
        a += half * state->a_k * bytes;
        b += half * state->b_k * bytes;
        c = call->scratch;
    }
    const int64_t n_k = is_second ? state->k - half : half;
    int64_t column = task % state->column_chunks * state->columns,
            rest = task / state->column_chunks;
    int64_t row = rest % state->row_chunks * state->row_chunk;
    int64_t batch = rest / state->row_chunks;
    c += (batch * state->m + row) * state->n * bytes + column * bytes;
    for (int i = state->n_batch_dims - 1; i >= 0; i--) {
        int64_t index = batch % state->batch_dims[i];
        batch /= state->batch_dims[i];
        a += index * state->a_batch[i] * bytes;
        b += index * state->b_batch[i] * bytes;
    }
    a += row * state->a_m * bytes;
    b += column * state->b_n * bytes;
    ebb_product product = {
        .a_m = state->a_m, .a_k = state->a_k, .b_k = state->b_k, .c = c, .c_m = state->n
    };
    product.m = state->m - row < state->row_chunk ? state->m - row : state->row_chunk;
    product.n = state->n - column < state->columns ? state->n - column : state->columns;
    const int64_t n_rest = product.n % state->table->lanes;
    /* The choice depends on the whole product, so that sharing it out does not change a bit. */
    product.rest_apart = n_rest > 0 && n_rest <= state->table->most_rest &&
                         state->m >= state->table->lanes && state->k >= MIN_REST_DEPTH &&
                         (state->a_k == 1 || state->a_m == 1);
    int64_t done = 0;
    do { /* once even if k is 0: the product is then 0 */
        product.k = n_k - done < state->depth ? n_k - done : state->depth;
        product.a = a + done * state->a_k * bytes;
        product.b = b + done * state->b_k * bytes;
        if (state->packs) {
            pack_b(state, product.b, product.k, product.n, packed);
            product.b = packed;
            product.b_k = product.n;
        }
        product.accumulate = done > 0;
        if (state->is_few)
            state->table->multiply_few(&product);
        else
            state->table->multiply(&product);
        done += product.k;
    } while (done < n_k);
}

static void matmul_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const matmul_state *state = call->state;
    int64_t begin, end;
    ebb_parallel_part(state->n_tasks, index, n, &begin, &end);
    char *packed = NULL;
    if (state->packs)
        packed =
            (char *)call->scratch + (size_t)(index * state->depth * state->columns) * state->bytes;
    for (int64_t task = begin; task < end; task++)
        matmul_task(state, call, task, packed);
}

/* Adds the second half. */
static void add_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const matmul_state *state = call->state;
    enum { LINE = 16 }; /* elements of which no two threads write a part */
    int64_t begin, end, n_elements = state->m * state->n;
    ebb_parallel_part((n_elements + LINE - 1) / LINE, index, n, &begin, &end);
    begin *= LINE;
    end = end * LINE < n_elements ? end * LINE : n_elements;
    char *to = (char *)call->results[0] + (size_t)begin * state->bytes;
    const void *const inputs[] = { to, (char *)call->scratch + (size_t)begin * state->bytes, NULL };
    if (begin < end)
        state->add(end - begin, to, inputs);
}

static ebb_status run_matmul(const ebb_call *call)
{
    const matmul_state *state = call->state;
    ebb_parallel(state->n_threads, matmul_part, (void *)call);
    if (state->halves_depth)
        ebb_parallel(state->n_threads, add_part, (void *)call);
    return EBB_OK;
}

/* Fills the sizes and strides of one product, and the batch dimensions. */
static void read_region(const ebb_region *region, matmul_state *state)
{
    const ebb_matmul_attrs *attrs = region->attrs;
    const ebb_shape *result = &region->results[0].type->shape;
    const int row = result->rank - 2, column = result->rank - 1;
    const int64_t *a_strides = region->inputs[0].layout.strides;
    const int64_t *b_strides = region->inputs[1].layout.strides;
    state->m = result->dims[row];
    state->n = result->dims[column];
    state->k = region->inputs[0].type->shape.dims[attrs->transpose_a ? row : column];
    state->a_m = a_strides[attrs->transpose_a ? column : row];
    state->a_k = a_strides[attrs->transpose_a ? row : column];
    state->b_k = b_strides[attrs->transpose_b ? column : row];
    state->b_n = b_strides[attrs->transpose_b ? row : column];
    state->n_batches = 1;
    for (int i = 0; i < row; i++) {
        int64_t dim = result->dims[i];
        state->n_batches *= dim;
        if (dim == 1)
            continue;
        state->batch_dims[state->n_batch_dims] = dim;
        state->a_batch[state->n_batch_dims] = a_strides[i];
        state->b_batch[state->n_batch_dims++] = b_strides[i];
    }
    /* A batch of products with one b is one product with more rows. */
    while (state->n_batch_dims > 0) {
        int last = state->n_batch_dims - 1;
        if (state->b_batch[last] != 0 || state->a_batch[last] != state->m * state->a_m)
            break;
        state->m *= state->batch_dims[last];
        state->n_batches /= state->batch_dims[last] ? state->batch_dims[last] : 1;
        state->n_batch_dims--;
    }
    if (state->m == 1) /* any stride will do */
        state->a_m = state->a_k == 1 ? state->k : 1;
    if (state->k == 1)
        state->a_k = state->a_m == 1 ? state->m : 1;
    if (state->n == 1)
        state->b_n = 1;
    if (state->m == 1 && state->n > 1 && state->b_n != 1) {
        state->is_exchanged = true;
        int64_t a_k = state->a_k, batch;
        state->m = state->n;
        state->n = 1;
        state->a_m = state->b_n;
        state->a_k = state->b_k;
        state->b_k = a_k;
        state->b_n = 1;
        for (int i = 0; i < state->n_batch_dims; i++) {
            batch = state->a_batch[i];
            state->a_batch[i] = state->b_batch[i];
            state->b_batch[i] = batch;
        }
    }
}

/* A thread that computes some rows of c reads all of b, so that half of the weights that threads
 * have just updated comes from another core's cache. With little of c, it is faster that each sums
 * over its half of k. Not where b stays as it is; with one thread too, so that the bits are the
 * same. */
static bool should_halve_depth(const ebb_region *region, const matmul_state *state, double useful)
{
    return !region->inputs[1].is_steady && !state->packs && !state->is_few &&
           !state->is_exchanged && state->n_batches == 1 && state->column_chunks == 1 &&
           state->a_k == 1 && useful >= 2 && state->k >= DEPTH_OF_ROWS * state->m;
}

/* With a few rows a product takes as long as b takes to come from memory: nothing is packed. */
static bool reads_few_rows(const matmul_state *state)
{
    return state->m >= 1 && state->m <= EBB_FEW_ROWS && state->n_batches == 1 && state->b_n == 1 &&
           (size_t)(state->n * state->k) * state->bytes >= LARGE_BYTES;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static ebb_status compile_matmul(const ebb_region *region, const ebb_compile_env *env,
                                 ebb_kernel *kernel)
{
    matmul_state *state = ebb_native_allocate(region, env, sizeof *state);
    if (!state)
        return EBB_OUT_OF_MEMORY;
    const ebb_vector_isa *isa = ebb_native_isa(env);
    state->dtype = region->results[0].type->dtype;
    state->bytes = ebb_dtype_bytes(state->dtype);
    state->table = state->dtype == EBB_F32 ? isa->product_f32 : isa->product_f64;
    read_region(region, state);
    state->is_few = reads_few_rows(state);
    state->packs = state->b_n != 1 || (state->n > WIDE && state->m >= 32);
    state->depth = state->packs ? PACKED_DEPTH : DEPTH;
    state->columns = state->packs ? PACKED_COLUMNS : WIDE;
    if (state->is_few) /* each thread its columns */
        state->columns = divide_up(divide_up(state->n, region->n_threads), WIDE) * WIDE;
    state->column_chunks = divide_up(state->n, state->columns);
    /* A product of 64^3 takes about 4 us. */
    double work = (double)state->n_batches * (double)state->m * (double)state->n * (double)state->k;
    double useful = work / (32 * 64 * 64);
    int n_threads = useful < 2                           ? 1
                    : useful < (double)region->n_threads ? (int)useful
                                                         : region->n_threads;
    state->halves_depth = should_halve_depth(region, state, useful);
    const int64_t blocks = state->halves_depth ? 2 : state->n_batches * state->column_chunks;
    const int64_t wanted = blocks > 0 && blocks < n_threads ? divide_up(n_threads, blocks) : 1;
    state->row_chunk = divide_up(divide_up(state->m, wanted), 8) * 8;
    state->row_chunks = state->m > 0 ? divide_up(state->m, state->row_chunk) : 0;
    state->n_tasks = blocks * state->row_chunks;
    bool is_costly;
    state->add = ebb_native_find_map(isa, &ebb_op_add, state->dtype, state->dtype, &is_costly);
    if (state->halves_depth)
        kernel->scratch_bytes = (size_t)(state->m * state->n) * state->bytes;
    if (state->packs)
        kernel->scratch_bytes = (size_t)(n_threads * state->depth * state->columns) * state->bytes;
    kernel->n_threads = state->n_threads = n_threads;
    kernel->run = run_matmul;
    kernel->state = state;
    kernel->implementation = isa->name;
    return EBB_OK;
}

/* Measured against oneDNN 2.6 on AVX-512: better for narrow results and for small products. */
static int score_matmul(const ebb_region *region)
{
    matmul_state state = { 0 };
    read_region(region, &state);
    if (region->results[0].type->dtype == EBB_F64)
        return EBB_SCORE_BEST;
    double work = (double)state.m * (double)state.n * (double)state.k;
    state.bytes = sizeof(float);
    if (work <= 64 * 64 * 64 || reads_few_rows(&state) || (state.n <= WIDE && state.b_n == 1) ||
        state.n == 1)
        return EBB_SCORE_BEST;
    return EBB_SCORE_GENERIC;
}

const ebb_native_kind ebb_native_matmul = { score_matmul, compile_matmul };
