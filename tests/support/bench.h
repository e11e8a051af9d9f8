/* One kernel of a backend with everything around it: operands in any layout, memory, an environment
 * that can fail, and the expected result from the op's reference kernel. For tests of kernels
 * without a runtime. */
#ifndef TESTS_SUPPORT_BENCH_H
#define TESTS_SUPPORT_BENCH_H

#include "ops/descriptors.h"
#include <check.h>
#include <ebb/backend.h>

typedef struct bench {
    const ebb_backend *backend;
    const ebb_op *op;
    ebb_matmul_attrs matmul;
    ebb_axis_attrs axis;
    int n_inputs, n_threads;
    ebb_type types[2], result_type;
    ebb_operand inputs[2], result;
    float *data[2], *values; /* inputs as they lie in memory; the result */
    size_t n_data[2];
    void *packed, *scratch;
    ebb_kernel kernel;
    ebb_error error;
    /* what env->allocate gave; it fails at call number `fail_at` (-1: never) */
    void *blocks[16];
    int n_blocks, fail_at;
    char log[EBB_MESSAGE_BYTES];
    uint32_t seed;
} bench;

bench *bench_create(const ebb_backend *backend, const ebb_op *op, int n_inputs, int n_threads);
/* Input i: F32, dense; change its layout before bench_fill. */
void bench_set_input(bench *b, int i, ebb_shape shape);
/* Sets the result by the op's inference. */
void bench_infer(bench *b);
/* `batch` dimensions stand in front of both inputs; with `transpose_b` the second is [n, k]. */
bench *bench_create_matmul(const ebb_backend *backend, int n_batch, const int64_t *batch, int64_t m,
                           int64_t n, int64_t k, ebb_matmul_attrs attrs, int n_threads);
bench *bench_create_softmax(const ebb_backend *backend, const ebb_op *op, ebb_shape shape,
                            int64_t axis, int n_threads);
void bench_destroy(bench *b);

ebb_region bench_region(const bench *b);
ebb_compile_env bench_env(bench *b);
int bench_score(const bench *b);
/* Checks also that OpenMP is left as it was. */
ebb_status bench_compile(bench *b);

/* Memory for inputs of any non-negative strides, with random values in [-1, 1). */
void bench_fill(bench *b);
float bench_draw(uint32_t *seed);
void *bench_memory(size_t size_bytes);
/* Compiles, fills, and gives the kernel its memory. */
void bench_prepare(bench *b);
void bench_pack(bench *b);
void bench_run(bench *b);
/* The result at F64 by the op's reference kernel; with `magnitudes`, of the absolute values of the
 * inputs. */
ebb_tensor bench_evaluate(const bench *b, bool magnitudes);

/* Strides of the last two dimensions of input i. */
void bench_set_strides(bench *b, int i, int64_t s0, int64_t s1);

/* |error| <= gamma(k) (|a| |b|), gamma(k) = k u / (1 - k u), u = 2^-24, in whatever order the sum
 * runs (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 3.13). */
void bench_check_matmul(const bench *b);
/* No reference implementation, and no more threads than allowed. */
void bench_check_fast(const bench *b);

/* ADD_CASE(suite, "name", test, test ...) */
void bench_add_case(Suite *suite, const char *name, int n, const TTest *const *tests);
#define ADD_CASE(suite, name, ...)                                                                 \
    bench_add_case(suite, name, (int)(sizeof((const TTest *[]){ __VA_ARGS__ }) / sizeof(TTest *)), \
                   (const TTest *[]){ __VA_ARGS__ })

#endif
