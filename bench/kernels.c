/* One kernel at a time, on every backend that takes it: microseconds, GB/s of what is read and
 * written, GFLOP/s.
 *
 *     kernels [part of a name]
 *
 * Times are the best of many runs, so that other load matters little. */
#include "backends/backends.h"
#include "ops/descriptors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct bench_case {
    const char *name;
    const ebb_op *op;
    const void *attrs;
    ebb_type inputs[3];
    bool repeats_rows;  /* input 1 is one row, repeated */
    bool is_transposed; /* input 0 lies in memory as its transpose */
} bench_case;

#define TYPE(dtype, ...)                                                                           \
    {                                                                                              \
        EBB_##dtype,                                                                               \
        {                                                                                          \
            (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)),                           \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
/* clang-format off */
#define F32(...) TYPE(F32, __VA_ARGS__)
#define PRODUCT(a, b) &(const ebb_matmul_attrs){ a, b }
#define SUM(...) &(const ebb_reduce_attrs){ { (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)), { __VA_ARGS__ } }, false }
#define AXIS(n) &(const ebb_axis_attrs){ n }

static const bench_case cases[] = {
    { "matmul [100,784] [784,50]", &ebb_op_matmul, PRODUCT(false, false), { F32(100, 784), F32(784, 50) }, 0, 0 },
    { "matmul [100,784]^T [100,50]", &ebb_op_matmul, PRODUCT(true, false), { F32(100, 784), F32(100, 50) }, 0, 0 },
    { "matmul [100,50] [50,10]", &ebb_op_matmul, PRODUCT(false, false), { F32(100, 50), F32(50, 10) }, 0, 0 },
    { "matmul [100,50]^T [100,10]", &ebb_op_matmul, PRODUCT(true, false), { F32(100, 50), F32(100, 10) }, 0, 0 },
    { "matmul [100,10] [50,10]^T", &ebb_op_matmul, PRODUCT(false, true), { F32(100, 10), F32(50, 10) }, 0, 0 },
    { "matmul [100,784] [50,784]^T", &ebb_op_matmul, PRODUCT(false, true), { F32(100, 784), F32(50, 784) }, 0, 0 },
    { "matmul [100,50]^T [100,784]", &ebb_op_matmul, PRODUCT(true, false), { F32(100, 50), F32(100, 784) }, 0, 0 },
    { "matmul [100,50] [10,50]^T", &ebb_op_matmul, PRODUCT(false, true), { F32(100, 50), F32(10, 50) }, 0, 0 },
    { "matmul [100,10]^T [100,50]", &ebb_op_matmul, PRODUCT(true, false), { F32(100, 10), F32(100, 50) }, 0, 0 },
    { "matmul [100,10] [10,50]", &ebb_op_matmul, PRODUCT(false, false), { F32(100, 10), F32(10, 50) }, 0, 0 },
    { "matmul [128,784] [784,512]", &ebb_op_matmul, PRODUCT(false, false), { F32(128, 784), F32(784, 512) }, 0, 0 },
    { "matmul [128,784]^T [128,512]", &ebb_op_matmul, PRODUCT(true, false), { F32(128, 784), F32(128, 512) }, 0, 0 },
    { "matmul [128,512] [784,512]^T", &ebb_op_matmul, PRODUCT(false, true), { F32(128, 512), F32(784, 512) }, 0, 0 },
    { "matmul [128,512] [512,10]", &ebb_op_matmul, PRODUCT(false, false), { F32(128, 512), F32(512, 10) }, 0, 0 },
    { "matmul [128,512]^T [128,10]", &ebb_op_matmul, PRODUCT(true, false), { F32(128, 512), F32(128, 10) }, 0, 0 },
    { "matmul [128,10] [512,10]^T", &ebb_op_matmul, PRODUCT(false, true), { F32(128, 10), F32(512, 10) }, 0, 0 },
    { "matmul 16", &ebb_op_matmul, PRODUCT(false, false), { F32(16, 16), F32(16, 16) }, 0, 0 },
    { "matmul 32", &ebb_op_matmul, PRODUCT(false, false), { F32(32, 32), F32(32, 32) }, 0, 0 },
    { "matmul 64", &ebb_op_matmul, PRODUCT(false, false), { F32(64, 64), F32(64, 64) }, 0, 0 },
    { "matmul 96", &ebb_op_matmul, PRODUCT(false, false), { F32(96, 96), F32(96, 96) }, 0, 0 },
    { "matmul 128", &ebb_op_matmul, PRODUCT(false, false), { F32(128, 128), F32(128, 128) }, 0, 0 },
    { "matmul 128 f64", &ebb_op_matmul, PRODUCT(false, false), { TYPE(F64, 128, 128), TYPE(F64, 128, 128) }, 0, 0 },
    { "matmul 1024", &ebb_op_matmul, PRODUCT(false, false), { F32(1024, 1024), F32(1024, 1024) }, 0, 0 },
    { "matmul [1000,64] [64,64]", &ebb_op_matmul, PRODUCT(false, false), { F32(1000, 64), F32(64, 64) }, 0, 0 },
    { "matmul [1000,64]^T [1000,64]", &ebb_op_matmul, PRODUCT(true, false), { F32(1000, 64), F32(1000, 64) }, 0, 0 },
    { "matmul 64 x [100,32] [32,100]", &ebb_op_matmul, PRODUCT(false, false), { F32(64, 100, 32), F32(64, 32, 100) }, 0, 0 },
    { "matmul 64 x [100,32] [100,32]^T", &ebb_op_matmul, PRODUCT(false, true), { F32(64, 100, 32), F32(64, 100, 32) }, 0, 0 },
    { "matmul [1,1024] [1024,1024]", &ebb_op_matmul, PRODUCT(false, false), { F32(1, 1024), F32(1024, 1024) }, 0, 0 },
    { "matmul [1,1024] [1024,1024]^T", &ebb_op_matmul, PRODUCT(false, true), { F32(1, 1024), F32(1024, 1024) }, 0, 0 },
    { "matmul [1024,1024] [1024,1]", &ebb_op_matmul, PRODUCT(false, false), { F32(1024, 1024), F32(1024, 1) }, 0, 0 },
    { "add 1000", &ebb_op_add, NULL, { F32(1000), F32(1000) }, 0, 0 },
    { "add 39200", &ebb_op_add, NULL, { F32(39200), F32(39200) }, 0, 0 },
    { "add 4M", &ebb_op_add, NULL, { F32(4000000), F32(4000000) }, 0, 0 },
    { "add bias [100,10]", &ebb_op_add, NULL, { F32(100, 10), F32(100, 10) }, 1, 0 },
    { "add bias [100,50]", &ebb_op_add, NULL, { F32(100, 50), F32(100, 50) }, 1, 0 },
    { "add bias [1000,1000]", &ebb_op_add, NULL, { F32(1000, 1000), F32(1000, 1000) }, 1, 0 },
    { "relu [100,50]", &ebb_op_relu, NULL, { F32(100, 50) }, 0, 0 },
    { "sigmoid [100,50]", &ebb_op_sigmoid, NULL, { F32(100, 50) }, 0, 0 },
    { "tanh 1M", &ebb_op_tanh, NULL, { F32(1000000) }, 0, 0 },
    { "exp 1M", &ebb_op_exp, NULL, { F32(1000000) }, 0, 0 },
    { "select 1M", &ebb_op_select, NULL, { TYPE(BOOL, 1000000), F32(1000000), F32(1000000) }, 0, 0 },
    { "copy transposed [100,50]", &ebb_op_copy, NULL, { F32(100, 50) }, 0, 1 },
    { "copy transposed [1000,1000]", &ebb_op_copy, NULL, { F32(1000, 1000) }, 0, 1 },
    { "copy transposed [2048,2048]", &ebb_op_copy, NULL, { F32(2048, 2048) }, 0, 1 },
    { "exp transposed [1000,1000]", &ebb_op_exp, NULL, { F32(1000, 1000) }, 0, 1 },
    { "sum columns [100,50]", &ebb_op_reduce_sum, SUM(0), { F32(100, 50) }, 0, 0 },
    { "sum columns [100,10]", &ebb_op_reduce_sum, SUM(0), { F32(100, 10) }, 0, 0 },
    { "sum rows [100,10]", &ebb_op_reduce_sum, SUM(1), { F32(100, 10) }, 0, 0 },
    { "sum rows [100,50]", &ebb_op_reduce_sum, SUM(1), { F32(100, 50) }, 0, 0 },
    { "sum rows [1000,1000]", &ebb_op_reduce_sum, SUM(1), { F32(1000, 1000) }, 0, 0 },
    { "sum columns [1000,1000]", &ebb_op_reduce_sum, SUM(0), { F32(1000, 1000) }, 0, 0 },
    { "sum 4M", &ebb_op_reduce_sum, SUM(0), { F32(4000000) }, 0, 0 },
    { "sum [64,64,784] of channels", &ebb_op_reduce_sum, SUM(0, 2), { F32(64, 64, 784) }, 0, 0 },
    { "max rows [1000,1000]", &ebb_op_reduce_max, SUM(1), { F32(1000, 1000) }, 0, 0 },
    { "argmax [1000,10]", &ebb_op_argmax, AXIS(1), { F32(1000, 10) }, 0, 0 },
    { "softmax [100,10]", &ebb_op_softmax, AXIS(1), { F32(100, 10) }, 0, 0 },
    { "softmax [1000,100]", &ebb_op_softmax, AXIS(1), { F32(1000, 100) }, 0, 0 },
    { "softmax [1000,300]", &ebb_op_softmax, AXIS(1), { F32(1000, 300) }, 0, 0 },
    { "softmax [1000,1000]", &ebb_op_softmax, AXIS(1), { F32(1000, 1000) }, 0, 0 },
    { "softmax [100,10000]", &ebb_op_softmax, AXIS(1), { F32(100, 10000) }, 0, 0 },
    { "softmax [100,64,100] axis 1", &ebb_op_softmax, AXIS(1), { F32(100, 64, 100) }, 0, 0 },
    { "log_softmax [1000,1000]", &ebb_op_log_softmax, AXIS(1), { F32(1000, 1000) }, 0, 0 },
    { "cross entropy [100,10]", &ebb_op_softmax_cross_entropy, &(const ebb_cross_entropy_attrs){ 0 }, { F32(100, 10), TYPE(I32, 100) }, 0, 0 },
    { "one_hot [100,10]", &ebb_op_one_hot, &(const ebb_one_hot_attrs){ 10, EBB_F32 }, { TYPE(I32, 100) }, 0, 0 },
    { "random_uniform 1M", &ebb_op_random_uniform, &(const ebb_random_attrs){ F32(1000000), 1, 0 }, { TYPE(I64, 0) }, 0, 0 },
    { "random_normal 1M", &ebb_op_random_normal, &(const ebb_random_attrs){ F32(1000000), 1, 0 }, { TYPE(I64, 0) }, 0, 0 },
};
/* clang-format on */

static void *get_block(size_t n_bytes)
{
    size_t rounded = (n_bytes + 64) / 64 * 64;
    void *block = aligned_alloc(64, rounded);
    if (!block) {
        fputs("kernels: out of memory\n", stderr);
        exit(1);
    }
    memset(block, 0, rounded);
    return block;
}

typedef struct block_list {
    void *blocks[32];
    int n;
} block_list;

static void *allocate(void *context, size_t n_bytes)
{
    block_list *list = context;
    return list->n < 32 ? list->blocks[list->n++] = get_block(n_bytes) : NULL;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best time of one run, in seconds. */
static double measure(const ebb_kernel *kernel, const ebb_call *call)
{
    double best = 1e9, start = seconds();
    int repeats = 1;
    for (int round = 0; round < 2000 && (round < 7 || seconds() - start < 0.3); round++) {
        double before = seconds();
        for (int i = 0; i < repeats; i++)
            if (kernel->run(call))
                return 0;
        double time = (seconds() - before) / repeats;
        best = time < best ? time : best;
        if (best * repeats < 1e-4)
            repeats *= 2;
    }
    return best;
}

static void run_case(const bench_case *c, const ebb_backend *backend, int n_threads)
{
    ebb_type types[3], result_type;
    ebb_operand inputs[3], result;
    void *input_data[3], *result_data;
    const ebb_type *pointers[3] = { &types[0], &types[1], &types[2] };
    ebb_error error = { 0 };
    size_t n_bytes = 0;
    for (int i = 0; i < c->op->n_inputs; i++) {
        types[i] = c->inputs[i];
        if (c->op->traits & EBB_TRAIT_RANDOM)
            types[i].shape.rank = 0;
        inputs[i] = (ebb_operand){ &types[i], ebb_layout_dense(&types[i].shape), false };
        n_bytes += ebb_type_bytes(&types[i]);
        if (i == 1 && c->repeats_rows)
            inputs[i].layout.strides[0] = 0;
        if (i == 0 && c->is_transposed) {
            inputs[i].layout.strides[0] = 1;
            inputs[i].layout.strides[1] = types[i].shape.dims[0];
        }
    }
    ebb_infer infer = { c->op, c->attrs, c->op->n_inputs, pointers, &result_type, &error };
    if (c->op->infer(&infer)) {
        printf("%s: %s\n", c->name, error.message);
        return;
    }
    result = (ebb_operand){ &result_type, ebb_layout_dense(&result_type.shape), false };
    n_bytes += ebb_type_bytes(&result_type);
    ebb_region region = { c->op, c->attrs, c->op->n_inputs, 1, inputs, &result, n_threads };
    int score = backend->score(backend, &region);
    if (score == EBB_SCORE_NONE)
        return;
    block_list list = { .n = 0 };
    ebb_compile_env env = { .allocate = allocate, .context = &list, .error = &error };
    ebb_kernel kernel = { 0 };
    if (backend->compile(backend, &region, &env, &kernel)) {
        printf("%-34s %-10s %s\n", c->name, backend->name, error.message);
        return;
    }
    for (int i = 0; i < c->op->n_inputs; i++) {
        input_data[i] = get_block(ebb_type_bytes(&types[i]));
        ebb_tensor tensor = ebb_tensor_borrow(types[i].dtype, types[i].shape, input_data[i]);
        for (int64_t j = 0;
             ebb_dtype_is_float(types[i].dtype) && j < ebb_shape_elements(&types[i].shape); j++)
            ebb_tensor_set(&tensor, j, (double)(j * 7919 % 1000) * 1e-3 - 0.5);
    }
    result_data = get_block(ebb_type_bytes(&result_type));
    void *scratch = get_block(kernel.scratch_bytes);
    ebb_call call = { kernel.state, input_data, &result_data, scratch, &error };
    double time = measure(&kernel, &call);
    printf("%-34s %-10s score %2d %d of %d threads %10.2f us %7.1f GB/s", c->name, backend->name,
           score, kernel.n_threads, n_threads, time * 1e6, 1e-9 * (double)n_bytes / time);
    if (c->op == &ebb_op_matmul) {
        const ebb_matmul_attrs *attrs = c->attrs;
        const ebb_shape *a = &types[0].shape;
        double k = (double)a->dims[attrs->transpose_a ? a->rank - 2 : a->rank - 1];
        printf(" %7.1f GFLOP/s", 2e-9 * k * (double)ebb_shape_elements(&result_type.shape) / time);
    }
    printf("  (%s)\n", kernel.implementation);
    fflush(stdout);
    if (kernel.destroy)
        kernel.destroy(kernel.state);
    for (int i = 0; i < c->op->n_inputs; i++)
        free(input_data[i]);
    free(result_data);
    free(scratch);
    while (list.n > 0)
        free(list.blocks[--list.n]);
}

int main(int argc, char **argv)
{
    int n_backends;
    const ebb_backend *const *backends = ebb_backend_list(NULL, &n_backends);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (argc > 1 && !strstr(cases[i].name, argv[1]))
            continue;
        for (int b = 0; b < 2 && b < n_backends; b++)
            for (int n_threads = 1; n_threads <= 2; n_threads++)
                run_case(&cases[i], backends[b], n_threads);
    }
    return 0;
}
