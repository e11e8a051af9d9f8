/* The oneDNN backend against the reference kernels at F64, kernel by kernel: what is refused,
 * failures, threads, softmax, copies. Products are in test_onednn_matmul.c. */
#include "backends/backends.h"
#include "backends/onednn/onednn.h"
#include "tests/support/bench.h"
#include "tests/support/runner.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const ebb_backend *const backend = &ebb_backend_onednn;

static bench *make_matmul(int n_batch, const int64_t *batch, int64_t m, int64_t n, int64_t k,
                          ebb_matmul_attrs attrs, int n_threads)
{
    return bench_create_matmul(backend, n_batch, batch, m, n, k, attrs, n_threads);
}

static bench *make_softmax(const ebb_op *op, ebb_shape shape, int64_t axis, int n_threads)
{
    return bench_create_softmax(backend, op, shape, axis, n_threads);
}

/* ---- refusals ---- */

static void expect_refusal(bench *b)
{
    ck_assert_int_eq(bench_score(b), EBB_SCORE_NONE);
    ck_assert_int_eq(bench_compile(b), EBB_UNSUPPORTED);
    ck_assert_int_eq(b->error.status, EBB_UNSUPPORTED);
    char message[EBB_MESSAGE_BYTES];
    snprintf(message, sizeof message, "oneDNN does not take this %s", b->op->name);
    ck_assert_str_eq(b->error.message, message);
    ck_assert_int_eq(b->n_blocks, 0);
    ck_assert(!b->kernel.run);
    bench_destroy(b);
}

START_TEST(refuses_what_onednn_cannot)
{
    static const int64_t empty[][3] = { { 0, 3, 4 }, { 3, 0, 4 }, { 3, 4, 0 } };
    const ebb_matmul_attrs plain = { 0 };
    for (int i = 0; i < 3; i++)
        expect_refusal(make_matmul(0, NULL, empty[i][0], empty[i][1], empty[i][2], plain, 1));
    int64_t batch = 0;
    expect_refusal(make_matmul(1, &batch, 2, 3, 4, plain, 1));
    bench *b = make_matmul(0, NULL, 2, 3, 4, plain, 1);
    b->types[0].dtype = b->types[1].dtype = b->result_type.dtype = EBB_F64;
    expect_refusal(b);
    static const int64_t strides[][2] = { { 0, 1 }, { 1, 0 },  { 8, 2 },
                                          { 2, 1 }, { -4, 1 }, { 4, -1 } };
    for (int i = 0; i < 6; i++) {
        b = make_matmul(0, NULL, 3, 5, 4, plain, 1);
        bench_set_strides(b, 0, strides[i][0], strides[i][1]);
        expect_refusal(b);
    }
    batch = 2;
    b = make_matmul(1, &batch, 3, 5, 4, plain, 1);
    b->inputs[1].layout.strides[0] = -20;
    expect_refusal(b);
    b = make_matmul(1, &batch, 3, 5, 4, plain, 1);
    b->inputs[0].layout.strides[0] = b->inputs[1].layout.strides[0] = 0;
    expect_refusal(b);

    expect_refusal(make_softmax(&ebb_op_softmax, EBB_SHAPE(64, 64), 0, 1));
    expect_refusal(make_softmax(&ebb_op_log_softmax, EBB_SHAPE(64, 64), 1, 1));
    expect_refusal(make_softmax(&ebb_op_softmax, EBB_SHAPE(0, 64), 1, 1));
    expect_refusal(make_softmax(&ebb_op_softmax, EBB_SHAPE(64, 0), 1, 1));
    b = make_softmax(&ebb_op_softmax, EBB_SHAPE(64, 64), 1, 1);
    b->types[0].dtype = b->result_type.dtype = EBB_F64;
    expect_refusal(b);
    b = make_softmax(&ebb_op_softmax, EBB_SHAPE(64, 64), 1, 1);
    bench_set_strides(b, 0, 65, 1);
    expect_refusal(b);
    b = bench_create(backend, &ebb_op_exp, 1, 1);
    bench_set_input(b, 0, EBB_SHAPE(4));
    b->result_type = b->types[0];
    b->result = b->inputs[0];
    expect_refusal(b);
}
END_TEST

static ebb_onednn_state open_bare_state(void)
{
    ebb_onednn_state state = { .n_threads = 1 };
    ck_assert_int_eq(dnnl_engine_create(&state.engine, dnnl_cpu, 0), dnnl_success);
    ck_assert_int_eq(dnnl_stream_create(&state.stream, state.engine, dnnl_stream_default_flags),
                     dnnl_success);
    ck_assert_int_eq(dnnl_primitive_attr_create(&state.attr), dnnl_success);
    return state;
}

static void close_bare_state(ebb_onednn_state *state)
{
    ebb_onednn_clear(state);
    dnnl_primitive_attr_destroy(state->attr);
    dnnl_stream_destroy(state->stream);
    dnnl_engine_destroy(state->engine);
}

/* A column-major result is something that oneDNN has only a reference implementation for. */
START_TEST(refuses_reference_implementations)
{
    bench *b = make_matmul(0, NULL, 8, 9, 10, (ebb_matmul_attrs){ 0 }, 1);
    ebb_onednn_state state = open_bare_state();
    dn_desc x = { 0 }, y = { 0 }, z = { 0 };
    ck_assert(!dn_desc_strided(&x, 2, (dnnl_dims_t){ 8, 10 }, dnnl_f32, (dnnl_dims_t){ 10, 1 }));
    ck_assert(!dn_desc_strided(&y, 2, (dnnl_dims_t){ 10, 9 }, dnnl_f32, (dnnl_dims_t){ 9, 1 }));
    ck_assert(!dn_desc_strided(&z, 2, (dnnl_dims_t){ 8, 9 }, dnnl_f32, (dnnl_dims_t){ 1, 8 }));
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t made = dn_matmul(&pd, state.engine, dn_desc_view(&x), dn_desc_view(&y), NULL,
                                   dn_desc_view(&z), state.attr);
    bool is_reference = made == dnnl_success && strstr(dn_implementation(pd), "ref");
    if (is_reference) {
        ebb_compile_env env = bench_env(b);
        ck_assert_int_eq(ebb_onednn_make(&state, pd, "matmul", &env, &b->kernel), EBB_UNSUPPORTED);
        ck_assert_str_eq(b->error.message, "oneDNN matmul: only a reference implementation");
        ck_assert_msg(strstr(b->log, "this matmul by ref"), "%s", b->log);
        ck_assert_ptr_null(state.main.handle);
    }
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    dn_desc_finish(&x);
    dn_desc_finish(&y);
    dn_desc_finish(&z);
    close_bare_state(&state);
    bench_destroy(b);
    if (!is_reference)
        SKIP_TEST("this oneDNN has no reference implementation for a column-major result");
}
END_TEST

START_TEST(names_failures)
{
    ebb_error error;
    ck_assert_int_eq(ebb_onednn_check(dnnl_success, "matmul", &error), EBB_OK);
    ck_assert_int_eq(ebb_onednn_check(dnnl_invalid_arguments, "matmul", &error), EBB_BACKEND);
    ck_assert_str_eq(error.message, "oneDNN matmul: invalid_arguments");
    ck_assert_int_eq(ebb_onednn_check(dnnl_runtime_error, "reorder", &error), EBB_BACKEND);
    ck_assert_str_eq(error.message, "oneDNN reorder: runtime_error");
    ck_assert_int_eq(ebb_onednn_check(dnnl_out_of_memory, "memory", &error), EBB_OUT_OF_MEMORY);
    ck_assert_str_eq(error.message, "oneDNN memory: out_of_memory");
    ck_assert_int_eq(ebb_onednn_check(dnnl_unimplemented, "softmax", &error), EBB_UNSUPPORTED);
    ck_assert_str_eq(error.message, "oneDNN softmax: unimplemented");
}
END_TEST

START_TEST(names_a_failure_at_run_time)
{
    bench *b = make_matmul(0, NULL, 8, 9, 10, (ebb_matmul_attrs){ 0 }, 1);
    bench_prepare(b);
    ebb_onednn_state *state = b->kernel.state;
    state->main.n_args = 0; /* so that the primitive misses its arguments */
    void *inputs[2] = { b->data[0], b->data[1] }, *results[1] = { b->values };
    ebb_call call = { state, inputs, results, b->scratch, &b->error };
    int n_args = 0;
    while (state->main.args[n_args].memory)
        n_args++;
    ck_assert_int_eq(b->kernel.run(&call), EBB_BACKEND);
    char message[EBB_MESSAGE_BYTES];
    snprintf(message, sizeof message, "oneDNN %s: invalid_arguments", b->kernel.implementation);
    ck_assert_str_eq(b->error.message, message);
    state->main.n_args = n_args;
    bench_destroy(b);
}
END_TEST

START_TEST(survives_failing_allocations)
{
    for (int steady = 0; steady < 2; steady++)
        for (int kind = 0; kind < 3; kind++)
            for (int fail_at = 0;; fail_at++) {
                /* one plain or packed, one with columns apart, one softmax */
                bench *b = kind == 2 ? make_softmax(&ebb_op_softmax, EBB_SHAPE(20, 300), 1, 1)
                                     : make_matmul(0, NULL, 80, kind ? 50 : 64, 90,
                                                   (ebb_matmul_attrs){ 0 }, 1);
                b->inputs[1].is_steady = steady;
                b->fail_at = fail_at;
                ebb_status status = bench_compile(b);
                if (status) {
                    ck_assert_int_eq(status, EBB_OUT_OF_MEMORY);
                    ck_assert_int_eq(b->error.status, EBB_OUT_OF_MEMORY);
                    ck_assert_msg(strstr(b->error.message, b->op->name), "%s", b->error.message);
                    ck_assert_ptr_null(b->kernel.state);
                    ck_assert(!b->kernel.destroy);
                }
                bench_destroy(b);
                if (!status)
                    break;
            }
}
END_TEST

/* ---- threads ---- */

START_TEST(small_work_uses_one_thread)
{
    bench *b = make_matmul(0, NULL, 100, 10, 50, (ebb_matmul_attrs){ 0 }, 2);
    bench_prepare(b);
    ck_assert_int_eq(b->kernel.n_threads, 1);
    bench_destroy(b);
    b = make_matmul(0, NULL, 128, 128, 128, (ebb_matmul_attrs){ 0 }, 2);
    bench_prepare(b);
    ck_assert_int_eq(b->kernel.n_threads, 2);
    bench_destroy(b);
    b = make_softmax(&ebb_op_softmax, EBB_SHAPE(10, 300), 1, 2);
    bench_prepare(b);
    ck_assert_int_eq(b->kernel.n_threads, 1);
    bench_destroy(b);
}
END_TEST

static void *work(void *context)
{
    bench *b = context;
    bench_prepare(b);
    bench_pack(b);
    for (int i = 0; i < 20; i++)
        bench_run(b);
    return NULL;
}

START_TEST(kernels_run_side_by_side)
{
    enum { N = 4 };
    bench *benches[N];
    pthread_t threads[N];
    for (int i = 0; i < N; i++) {
        benches[i] = make_matmul(0, NULL, 60 + 10 * i, 80, 90, (ebb_matmul_attrs){ i & 1, i & 2 },
                                 1 + i % 2);
        benches[i]->inputs[1].is_steady = i == 0;
        benches[i]->seed = (uint32_t)i + 1;
    }
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, benches[i]), 0);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    /* and once more from a thread that made none of them */
    for (int i = 0; i < N; i++) {
        bench_check_matmul(benches[i]);
        bench_run(benches[i]);
        bench_check_matmul(benches[i]);
        bench_destroy(benches[i]);
    }
}
END_TEST

START_TEST(kernels_are_independent)
{
    bench *first = make_matmul(0, NULL, 60, 80, 90, (ebb_matmul_attrs){ 0 }, 1);
    bench *second = make_matmul(0, NULL, 60, 80, 90, (ebb_matmul_attrs){ 0 }, 1);
    second->seed = 7;
    bench_prepare(first);
    bench_prepare(second);
    bench_run(first);
    bench_run(second);
    bench_check_matmul(first);
    bench_destroy(first);
    bench_run(second);
    bench_check_matmul(second);
    bench_destroy(second);
}
END_TEST

/* The same bits from run to run. */
START_TEST(repeats_bit_for_bit)
{
    for (int n_threads = 1; n_threads <= 2; n_threads++) {
        bench *b = make_matmul(0, NULL, 100, 50, 784, (ebb_matmul_attrs){ 0 }, n_threads);
        bench_prepare(b);
        bench_run(b);
        size_t size_bytes = ebb_type_bytes(&b->result_type);
        float *before = bench_memory(size_bytes);
        memcpy(before, b->values, size_bytes);
        for (int i = 0; i < 5; i++) {
            bench_run(b);
            ck_assert_int_eq(memcmp(before, b->values, size_bytes), 0);
        }
        free(before);
        bench_destroy(b);
    }
}
END_TEST

/* ---- softmax ---- */

static void check_softmax(const bench *b)
{
    ebb_tensor expected = bench_evaluate(b, false);
    double n_classes = (double)b->types[0].shape.dims[b->types[0].shape.rank - 1];
    char text[EBB_TYPE_TEXT_BYTES];
    int64_t n = ebb_shape_elements(&b->result_type.shape);
    for (int64_t i = 0; i < n; i++) {
        double value = ((double *)expected.data)[i], got = (double)b->values[i];
        /* x - max rounds by up to 40 * 2^-24, which is a relative error of the exponential; the sum
         * runs in 4 lanes at least */
        double allowed = (4e-6 + n_classes / 4 * ldexp(1, -24)) * value + 1e-9;
        ck_assert_msg(isnan(value) ? isnan(got) : fabs(got - value) <= allowed,
                      "softmax of %s: [%lld] is %.9g, not %.9g", ebb_type_text(&b->types[0], text),
                      (long long)i, got, value);
    }
    ebb_tensor_finish(&expected);
}

START_TEST(softmax_of_rows)
{
    const ebb_shape shapes[] = { EBB_SHAPE(1, 1),     EBB_SHAPE(3),         EBB_SHAPE(7, 10),
                                 EBB_SHAPE(5, 64),    EBB_SHAPE(50, 300),   EBB_SHAPE(2, 3, 4, 257),
                                 EBB_SHAPE(33, 1000), EBB_SHAPE(1, 100000), EBB_SHAPE(1000, 5) };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int n_threads = 1; n_threads <= 2; n_threads++) {
            bench *b = make_softmax(&ebb_op_softmax, shapes[s], shapes[s].rank - 1, n_threads);
            bench_prepare(b);
            bench_check_fast(b);
            for (size_t i = 0; i < b->n_data[0]; i++)
                b->data[0][i] *= 20;
            bench_run(b);
            check_softmax(b);
            float *x = b->data[0];
            memcpy(b->values, x, ebb_type_bytes(&b->result_type));
            ck_assert_uint_eq(b->kernel.inplace_inputs, 1);
            b->data[0] = b->values;
            bench_run(b);
            b->data[0] = x;
            check_softmax(b);
            bench_destroy(b);
        }
}
END_TEST

/* NaN and infinities, also in place. */
START_TEST(softmax_of_special_rows)
{
    enum { N = 260 };
    bench *b = make_softmax(&ebb_op_softmax, EBB_SHAPE(10, N), 1, 1);
    bench_prepare(b);
    float *x = b->data[0];
    x[0 * N + 3] = NAN;
    x[1 * N + N - 1] = NAN;
    x[2 * N + 3] = INFINITY;
    x[3 * N + 3] = -INFINITY;
    for (int i = 0; i < N; i++) {
        x[4 * N + i] = -INFINITY;
        x[5 * N + i] = 0;
    }
    x[6 * N + 3] = 1e30f;
    x[7 * N + 3] = -1e30f;
    x[8 * N + 3] = FLT_MAX;
    bench_run(b);
    check_softmax(b);
    memcpy(b->values, x, ebb_type_bytes(&b->result_type));
    b->data[0] = b->values;
    bench_run(b);
    b->data[0] = x;
    check_softmax(b);
    bench_destroy(b);
}
END_TEST

/* ---- dense copies ---- */

START_TEST(copies_transposed_matrices)
{
    const struct {
        ebb_shape shape;
        int64_t strides[4];
    } cases[] = {
        { EBB_SHAPE(100, 70), { 1, 100 } },
        { EBB_SHAPE(512, 256), { 1, 512 } },
        { EBB_SHAPE(33, 1, 77), { 1, 9, 40 } },                     /* part of something wider */
        { EBB_SHAPE(3, 14, 15, 16), { 14 * 15 * 16, 15, 1, 210 } }, /* channels first -> last */
        { EBB_SHAPE(3, 16, 14, 15), { 16 * 14 * 15, 1, 15 * 16, 16 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int n_threads = 1; n_threads <= 2; n_threads++) {
            bench *b = bench_create(backend, &ebb_op_copy, 1, n_threads);
            bench_set_input(b, 0, cases[i].shape);
            bench_infer(b);
            memcpy(b->inputs[0].layout.strides, cases[i].strides, sizeof cases[i].strides);
            ck_assert_int_eq(bench_score(b), EBB_SCORE_NATIVE);
            bench_prepare(b);
            bench_check_fast(b);
            bench_run(b);
            ebb_tensor expected = bench_evaluate(b, false);
            for (int64_t e = 0; e < ebb_shape_elements(&cases[i].shape); e++)
                ck_assert_double_eq((double)b->values[e], ((double *)expected.data)[e]);
            ebb_tensor_finish(&expected);
            bench_destroy(b);
        }
}
END_TEST

/* Rows that lie densely, repetitions, reversals, permutations of many axes, little work. */
START_TEST(leaves_other_copies)
{
    const struct {
        ebb_shape shape;
        int64_t strides[4];
    } cases[] = {
        { EBB_SHAPE(64, 64), { 64, 1 } },  { EBB_SHAPE(64, 64), { 80, 1 } },
        { EBB_SHAPE(64, 64), { 1, 0 } },   { EBB_SHAPE(64, 64), { 1, -64 } },
        { EBB_SHAPE(64, 64), { 2, 128 } }, { EBB_SHAPE(24, 25, 26, 27), { 1, 24, 600, 15600 } },
        { EBB_SHAPE(8, 8), { 1, 8 } },     { EBB_SHAPE(0, 8), { 1, 8 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench *b = bench_create(backend, &ebb_op_copy, 1, 1);
        bench_set_input(b, 0, cases[i].shape);
        bench_infer(b);
        memcpy(b->inputs[0].layout.strides, cases[i].strides, sizeof cases[i].strides);
        expect_refusal(b);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("onednn");
    ADD_CASE(suite, "refusals", refuses_what_onednn_cannot, refuses_reference_implementations,
             names_failures, names_a_failure_at_run_time, survives_failing_allocations);
    ADD_CASE(suite, "threads", small_work_uses_one_thread, kernels_run_side_by_side,
             kernels_are_independent, repeats_bit_for_bit);
    ADD_CASE(suite, "softmax", softmax_of_rows, softmax_of_special_rows);
    ADD_CASE(suite, "copy", copies_transposed_matrices, leaves_other_copies);
    return run_suite(suite);
}
