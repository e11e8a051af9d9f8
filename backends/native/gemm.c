/* Products of large matrices, alone or with a bias, a residual and relu behind them. */
#include "backends/native/product.h"
#include "ops/matmul_epilogue.h"
#include <string.h>

enum {
    LEAST_ROWS = 96, /* with fewer, packing b takes too long */
    LEAST_COLUMNS = 64,
    LEAST_DEPTH = 48,
    ROWS = 14, /* threads share out whole blocks of so many rows, or of so many columns */
    COLUMNS = 32
};

typedef struct gemm_state {
    const ebb_product_table *table;
    ebb_native_product p;
    int64_t bytes; /* of an element */
    bool splits_rows;
    int64_t n_parts, n_tasks; /* of a product; of all */
    int bias, residual;       /* inputs; 0: none */
    bool relu;
    size_t thread_bytes;
    int n_threads;
} gemm_state;

/* Rows, or columns, of part `index`. */
static void find_part(const gemm_state *s, int64_t index, int64_t *begin, int64_t *end)
{
    const int64_t unit = s->splits_rows ? ROWS : COLUMNS, n = s->splits_rows ? s->p.m : s->p.n;
    const int64_t n_units = ebb_native_divide_up(n, unit);
    *begin = n_units * index / s->n_parts * unit;
    *end = n_units * (index + 1) / s->n_parts * unit;
    if (*end > n)
        *end = n;
}

/* Sizes and strides of part `index`. */
static ebb_gemm describe_part(const gemm_state *s, int64_t index, int64_t *row, int64_t *column)
{
    const ebb_native_product *p = &s->p;
    int64_t begin, end;
    find_part(s, index, &begin, &end);
    *row = s->splits_rows ? begin : 0;
    *column = s->splits_rows ? 0 : begin;
    return (ebb_gemm){ .m = s->splits_rows ? end - begin : p->m,
                       .n = s->splits_rows ? p->n : end - begin,
                       .k = p->k,
                       .a_m = p->a_m,
                       .a_k = p->a_k,
                       .b_k = p->b_k,
                       .b_n = p->b_n,
                       .c_m = p->n,
                       .residual_m = p->n,
                       .relu = s->relu };
}

static void run_task(const gemm_state *s, const ebb_call *call, int64_t task, void *scratch)
{
    const int64_t batch = task / s->n_parts;
    int64_t row, column, a, b;
    ebb_gemm g = describe_part(s, task % s->n_parts, &row, &column);
    ebb_native_product_at(&s->p, batch, &a, &b);
    const int64_t c = ((batch * s->p.m + row) * s->p.n + column) * s->bytes;
    g.a = (const char *)call->inputs[0] + (a + row * s->p.a_m) * s->bytes;
    g.b = (const char *)call->inputs[1] + (b + column * s->p.b_n) * s->bytes;
    g.c = (char *)call->results[0] + c;
    g.bias = s->bias ? (const char *)call->inputs[s->bias] + column * s->bytes : NULL;
    g.residual = s->residual ? (const char *)call->inputs[s->residual] + c : NULL;
    s->table->gemm(&g, scratch);
}

static void run_part(void *context, int index, int n)
{
    const ebb_call *call = context;
    const gemm_state *s = call->state;
    int64_t begin, end;
    ebb_parallel_part(s->n_tasks, index, n, &begin, &end);
    for (int64_t task = begin; task < end; task++)
        run_task(s, call, task, (char *)call->scratch + (size_t)index * s->thread_bytes);
}

static ebb_status run_gemm(const ebb_call *call)
{
    const gemm_state *s = call->state;
    ebb_parallel(s->n_threads, run_part, (void *)call);
    return EBB_OK;
}

/* ---- planning ---- */

static void read_epilogue(const ebb_region *region, gemm_state *s)
{
    if (region->op == &ebb_op_matmul)
        return;
    const ebb_epilogue *epilogue = &((const ebb_matmul_epilogue_attrs *)region->attrs)->epilogue;
    s->relu = epilogue->relu;
    s->residual = epilogue->residual ? region->n_inputs - 1 : 0;
    s->bias = region->n_inputs - epilogue->residual > 2 ? 2 : 0;
}

static int score_gemm(const ebb_region *region)
{
    gemm_state s = { 0 };
    for (int i = 2; i < region->n_inputs; i++)
        if (!ebb_layout_is_dense(&region->inputs[i].layout, &region->inputs[i].type->shape))
            return EBB_SCORE_NONE;
    ebb_native_product_read(region, &s.p);
    const ebb_native_product *p = &s.p;
    if (p->is_exchanged || p->m < LEAST_ROWS || p->n < LEAST_COLUMNS || p->k < LEAST_DEPTH ||
        p->n_batches == 0)
        return EBB_SCORE_NONE;
    const bool has_512 = strcmp(ebb_vector_isa_here()->name, "avx512") == 0;
    return has_512 ? EBB_SCORE_BEST : EBB_SCORE_GENERIC;
}

static ebb_status compile_gemm(const ebb_region *region, const ebb_compile_env *env,
                               ebb_kernel *kernel)
{
    gemm_state *s = ebb_native_allocate(region, env, sizeof *s);
    if (!s)
        return EBB_OUT_OF_MEMORY;
    const ebb_vector_isa *isa = ebb_native_isa(env);
    const ebb_dtype dtype = region->results[0].type->dtype;
    ebb_native_product_read(region, &s->p);
    read_epilogue(region, s);
    s->table = dtype == EBB_F32 ? isa->product_f32 : isa->product_f64;
    s->bytes = (int64_t)ebb_dtype_bytes(dtype);
    s->n_threads = ebb_native_threads(region, s->p.n_batches * s->p.m * s->p.n / 1024 * s->p.k,
                                      64 * 64 * 64 / 1024);
    /* A thread packs what it needs of b, and of a unless that lies along k: the larger one is
     * split. */
    s->splits_rows = s->p.a_k != 1 && s->p.m > s->p.n;
    s->n_parts = s->p.n_batches >= 4 * s->n_threads ? 1 : s->n_threads;
    s->n_tasks = s->p.n_batches * s->n_parts;
    for (int64_t i = 0; i < s->n_parts; i++) {
        int64_t row, column;
        const ebb_gemm g = describe_part(s, i, &row, &column);
        const size_t bytes = ebb_native_round_up(s->table->gemm_scratch(&g));
        s->thread_bytes = bytes > s->thread_bytes ? bytes : s->thread_bytes;
    }
    kernel->scratch_bytes = s->thread_bytes * (size_t)s->n_threads;
    kernel->inplace_inputs = s->residual ? 1u << s->residual : 0;
    kernel->n_threads = s->n_threads;
    kernel->run = run_gemm;
    kernel->state = s;
    kernel->implementation = isa->name;
    return EBB_OK;
}

const ebb_native_kind ebb_native_gemm = { score_gemm, compile_gemm };
