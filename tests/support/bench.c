/* One kernel with everything around it. */
#include "tests/support/bench.h"
#include "backends/parallel.h"
#include "graph/interpret.h"
#include "tests/support/runner.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Aligned as the runtime does it. */
void *bench_memory(size_t size_bytes)
{
    size_t n = (size_bytes + EBB_ALIGNMENT) / EBB_ALIGNMENT * EBB_ALIGNMENT;
    void *block = aligned_alloc(EBB_ALIGNMENT, n);
    ck_assert_ptr_nonnull(block);
    return block;
}

static void *allocate_block(void *context, size_t size_bytes)
{
    bench *b = context;
    if (b->n_blocks == b->fail_at)
        return NULL;
    ck_assert_int_lt(b->n_blocks, 16);
    void *block = bench_memory(size_bytes);
    memset(block, 0, size_bytes);
    return b->blocks[b->n_blocks++] = block;
}

static void write_log(void *context, ebb_log_level level, const char *message)
{
    bench *b = context;
    ck_assert_int_eq(level, EBB_LOG_INFO);
    snprintf(b->log, sizeof b->log, "%s", message);
}

static const void *find_attrs(const bench *b)
{
    if (b->op->attrs_bytes == 0)
        return NULL;
    return b->op == &ebb_op_matmul ? (const void *)&b->matmul : &b->axis;
}

ebb_region bench_region(const bench *b)
{
    const void *attrs = find_attrs(b);
    return (ebb_region){ b->op, attrs, b->n_inputs, 1, b->inputs, &b->result, b->n_threads };
}

ebb_compile_env bench_env(bench *b)
{
    return (ebb_compile_env){ allocate_block, b, { write_log, b }, &b->error, NULL };
}

int bench_score(const bench *b)
{
    ebb_region region = bench_region(b);
    return b->backend->score(b->backend, &region);
}

ebb_status bench_compile(bench *b)
{
    ebb_region region = bench_region(b);
    ebb_compile_env env = bench_env(b);
    int before = ebb_threads_default();
    ebb_status status = b->backend->compile(b->backend, &region, &env, &b->kernel);
    ck_assert_int_eq(ebb_threads_default(), before);
    return status;
}

/* [-1, 1) */
float bench_draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / 8388608.0f - 1;
}

/* Dense, F32, values all 0 until filled. */
void bench_set_input(bench *b, int i, ebb_shape shape)
{
    b->types[i] = ebb_type_of(EBB_F32, shape);
    b->inputs[i].type = &b->types[i];
    b->inputs[i].layout = ebb_layout_dense(&shape);
}

bench *bench_create(const ebb_backend *backend, const ebb_op *op, int n_inputs, int n_threads)
{
    bench *b = calloc(1, sizeof *b);
    b->backend = backend;
    b->op = op;
    b->n_inputs = n_inputs;
    b->n_threads = n_threads;
    b->fail_at = -1;
    b->seed = 1;
    return b;
}

void bench_infer(bench *b)
{
    const void *attrs = find_attrs(b);
    const ebb_type *types[2] = { &b->types[0], &b->types[1] };
    ebb_infer infer = { b->op, attrs, b->n_inputs, types, &b->result_type, &b->error };
    ck_assert_msg(b->op->infer(&infer) == EBB_OK, "%s", b->error.message);
    b->result.type = &b->result_type;
    b->result.layout = ebb_layout_dense(&b->result_type.shape);
}

/* b is [n, k] with `transpose_b`; `batch` dimensions stand in front of both. */
bench *bench_create_matmul(const ebb_backend *backend, int n_batch, const int64_t *batch, int64_t m,
                           int64_t n, int64_t k, ebb_matmul_attrs attrs, int n_threads)
{
    bench *b = bench_create(backend, &ebb_op_matmul, 2, n_threads);
    b->matmul = attrs;
    ebb_shape x = { .rank = n_batch + 2 }, y = { .rank = n_batch + 2 };
    for (int i = 0; i < n_batch; i++)
        x.dims[i] = y.dims[i] = batch[i];
    x.dims[n_batch] = attrs.transpose_a ? k : m;
    x.dims[n_batch + 1] = attrs.transpose_a ? m : k;
    y.dims[n_batch] = attrs.transpose_b ? n : k;
    y.dims[n_batch + 1] = attrs.transpose_b ? k : n;
    bench_set_input(b, 0, x);
    bench_set_input(b, 1, y);
    bench_infer(b);
    return b;
}

bench *bench_create_softmax(const ebb_backend *backend, const ebb_op *op, ebb_shape shape,
                            int64_t axis, int n_threads)
{
    bench *b = bench_create(backend, op, 1, n_threads);
    b->axis.axis = axis;
    bench_set_input(b, 0, shape);
    bench_infer(b);
    return b;
}

/* Memory for inputs of any (non-negative) strides, with random values. */
void bench_fill(bench *b)
{
    for (int i = 0; i < b->n_inputs; i++) {
        const ebb_shape *shape = &b->types[i].shape;
        size_t n = 1;
        for (int d = 0; d < shape->rank; d++)
            n += (size_t)((shape->dims[d] - 1) * b->inputs[i].layout.strides[d]);
        if (!b->data[i])
            b->data[i] = bench_memory(n * sizeof(float));
        b->n_data[i] = n;
        for (size_t j = 0; j < n; j++)
            b->data[i][j] = bench_draw(&b->seed);
    }
}

void bench_prepare(bench *b)
{
    ebb_status status = bench_compile(b);
    ck_assert_msg(!status, "%s", b->error.message);
    bench_fill(b);
    b->values = bench_memory(ebb_type_bytes(&b->result_type));
    b->scratch = bench_memory(b->kernel.scratch_bytes);
    b->packed = bench_memory(b->kernel.packed_bytes);
    memset(b->values, 0xff, ebb_type_bytes(&b->result_type));
}

void bench_pack(bench *b)
{
    if (b->kernel.packed_bytes > 0)
        ck_assert_int_eq(
            b->kernel.pack(b->kernel.state, b->data[b->kernel.packed_input], b->packed), EBB_OK);
}

void bench_run(bench *b)
{
    void *inputs[2] = { b->data[0], b->data[1] }, *results[1] = { b->values };
    if (b->kernel.packed_bytes > 0)
        inputs[b->kernel.packed_input] = b->packed;
    ebb_call call = { b->kernel.state, inputs, results, b->scratch, &b->error };
    int before = ebb_threads_default();
    ck_assert_msg(b->kernel.run(&call) == EBB_OK, "%s", b->error.message);
    ck_assert_int_eq(ebb_threads_default(), before);
}

void bench_destroy(bench *b)
{
    if (b->kernel.destroy)
        b->kernel.destroy(b->kernel.state);
    for (int i = 0; i < b->n_blocks; i++)
        free(b->blocks[i]);
    for (int i = 0; i < b->n_inputs; i++)
        free(b->data[i]);
    free(b->values);
    free(b->scratch);
    free(b->packed);
    free(b);
}

/* Input i, dense at F64; absolute values with `magnitudes`. */
static ebb_tensor make_dense(const bench *b, int i, bool magnitudes)
{
    const ebb_shape *shape = &b->types[i].shape;
    ebb_tensor tensor;
    ck_assert(!ebb_tensor_init(&tensor, ebb_type_of(EBB_F64, *shape), NULL));
    int64_t n = ebb_shape_elements(shape);
    for (int64_t e = 0; e < n; e++) {
        int64_t rest = e, at = 0;
        for (int d = shape->rank - 1; d >= 0; d--) {
            at += rest % shape->dims[d] * b->inputs[i].layout.strides[d];
            rest /= shape->dims[d];
        }
        double x = (double)b->data[i][at];
        ((double *)tensor.data)[e] = magnitudes ? fabs(x) : x;
    }
    return tensor;
}

/* The result by the op's reference kernel at F64. */
ebb_tensor bench_evaluate(const bench *b, bool magnitudes)
{
    ebb_tensor inputs[2], result;
    for (int i = 0; i < b->n_inputs; i++)
        inputs[i] = make_dense(b, i, magnitudes);
    ck_assert(!ebb_tensor_init(&result, ebb_type_of(EBB_F64, b->result_type.shape), NULL));
    const void *attrs = find_attrs(b);
    ck_assert(!ebb_op_evaluate(b->op, attrs, inputs, b->n_inputs, &result, NULL));
    for (int i = 0; i < b->n_inputs; i++)
        ebb_tensor_finish(&inputs[i]);
    return result;
}

void bench_set_strides(bench *b, int i, int64_t s0, int64_t s1)
{
    int rank = b->types[i].shape.rank;
    b->inputs[i].layout.strides[rank - 2] = s0;
    b->inputs[i].layout.strides[rank - 1] = s1;
}

static const char *describe(const bench *b, char text[2 * EBB_TYPE_TEXT_BYTES])
{
    char x[EBB_TYPE_TEXT_BYTES], y[EBB_TYPE_TEXT_BYTES];
    snprintf(text, 2 * EBB_TYPE_TEXT_BYTES, "%s%s %s%s, %d threads, %s",
             ebb_type_text(&b->types[0], x), b->matmul.transpose_a ? "^T" : "",
             ebb_type_text(&b->types[1], y), b->matmul.transpose_b ? "^T" : "", b->n_threads,
             b->kernel.implementation);
    return text;
}

void bench_check_matmul(const bench *b)
{
    ebb_tensor expected = bench_evaluate(b, false), magnitude = bench_evaluate(b, true);
    int rank = b->types[0].shape.rank;
    double k = (double)b->types[0].shape.dims[b->matmul.transpose_a ? rank - 2 : rank - 1];
    double u = ldexp(1, -24), gamma = (k + 1) * u / (1 - (k + 1) * u);
    char text[2 * EBB_TYPE_TEXT_BYTES];
    int64_t n = ebb_shape_elements(&b->result_type.shape);
    for (int64_t i = 0; i < n; i++) {
        double value = ((double *)expected.data)[i];
        double allowed = gamma * ((double *)magnitude.data)[i] + (double)FLT_MIN;
        if (!(fabs((double)b->values[i] - value) <= allowed)) /* an assertion each is slow */
            ck_abort_msg("%s: [%lld] is %.9g, not %.9g", describe(b, text), (long long)i,
                         (double)b->values[i], value);
    }
    ebb_tensor_finish(&expected);
    ebb_tensor_finish(&magnitude);
}

void bench_check_fast(const bench *b)
{
    ck_assert_msg(!strstr(b->kernel.implementation, "ref"), "%s", b->kernel.implementation);
    ck_assert_int_ge(b->kernel.n_threads, 1);
    ck_assert_int_le(b->kernel.n_threads, b->n_threads);
}

void bench_add_case(Suite *suite, const char *name, int n, const TTest *const *tests)
{
    TCase *tcase = tcase_create(name);
    for (int i = 0; i < n; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
}
