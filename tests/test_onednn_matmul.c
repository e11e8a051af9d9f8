/* Matrix products of the oneDNN backend against the reference kernel at F64. */
#include "backends/backends.h"
#include "tests/support/bench.h"
#include "tests/support/runner.h"

#include <stdlib.h>
#include <string.h>

static const ebb_backend *const backend = &ebb_backend_onednn;

static bench *make_matmul(int n_batch, const int64_t *batch, int64_t m, int64_t n, int64_t k,
                          ebb_matmul_attrs attrs, int n_threads)
{
    return bench_create_matmul(backend, n_batch, batch, m, n, k, attrs, n_threads);
}

/* ---- matmul ---- */

/* All forms: brgemm, general and packed; rests in every direction. */
static const int64_t sizes[][3] = {
    { 1, 1, 1 },      { 2, 3, 4 },     { 7, 1, 5 },      { 1, 9, 1 },      { 16, 16, 16 },
    { 33, 31, 35 },   { 100, 10, 50 }, { 100, 50, 784 }, { 785, 50, 101 }, { 66, 33, 200 },
    { 130, 17, 130 }, { 99, 36, 150 }, { 87, 51, 95 },   { 64, 100, 64 },  { 12, 400, 700 },
    { 1, 300, 200 },  { 300, 1, 200 }, { 130, 130, 1 },
};

static void check_sizes(bool steady)
{
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int t = 0; t < 8; t++) {
            bench *b = make_matmul(0, NULL, sizes[s][0], sizes[s][1], sizes[s][2],
                                   (ebb_matmul_attrs){ t & 1, t & 2 }, t & 4 ? 2 : 1);
            b->inputs[1].is_steady = steady;
            ck_assert_int_gt(bench_score(b), EBB_SCORE_NONE);
            bench_prepare(b);
            bench_pack(b);
            bench_run(b);
            bench_check_matmul(b);
            bench_check_fast(b);
            bench_destroy(b);
        }
}

START_TEST(multiplies_all_transposes)
{
    check_sizes(false);
}
END_TEST

START_TEST(multiplies_steady_weights)
{
    check_sizes(true);
}
END_TEST

START_TEST(packs_again_when_weights_change)
{
    bench *b = make_matmul(0, NULL, 32, 200, 300, (ebb_matmul_attrs){ 0 }, 2);
    b->inputs[1].is_steady = true;
    bench_prepare(b);
    ck_assert_int_eq(b->kernel.packed_input, 1);
    ck_assert_uint_ge(b->kernel.packed_bytes, 200 * 300 * sizeof(float));
    for (int i = 0; i < 3; i++) {
        bench_fill(b);
        bench_pack(b);
        for (int again = 0; again < 2; again++) {
            memset(b->values, 0xff, ebb_type_bytes(&b->result_type));
            bench_run(b);
            bench_check_matmul(b);
        }
        for (size_t j = 0; j < b->n_data[0]; j++) /* the activations change without packing */
            b->data[0][j] = bench_draw(&b->seed);
        bench_run(b);
        bench_check_matmul(b);
    }
    bench_destroy(b);
}
END_TEST

START_TEST(follows_moving_operands)
{
    bench *b = make_matmul(0, NULL, 40, 50, 60, (ebb_matmul_attrs){ 0 }, 1);
    bench_prepare(b);
    float *first = b->data[0], *second = bench_memory(40 * 60 * sizeof(float));
    for (int i = 0; i < 40 * 60; i++)
        second[i] = bench_draw(&b->seed);
    for (int i = 0; i < 4; i++) {
        b->data[0] = i & 1 ? second : first;
        bench_run(b);
        bench_check_matmul(b);
    }
    b->data[0] = first;
    free(second);
    bench_destroy(b);
}
END_TEST

/* ---- batches and layouts ---- */

/* May be left to another backend, but not computed by a reference kernel. */
static bool run_if_taken(bench *b)
{
    ck_assert_int_gt(bench_score(b), EBB_SCORE_NONE);
    bool taken = bench_compile(b) == EBB_OK;
    if (taken) {
        b->kernel.destroy(b->kernel.state);
        bench_prepare(b);
        bench_run(b);
        bench_check_matmul(b);
        bench_check_fast(b);
    } else {
        ck_assert_int_eq(b->error.status, EBB_UNSUPPORTED);
        ck_assert_msg(strstr(b->error.message, "reference implementation"), "%s", b->error.message);
        ck_assert_msg(strstr(b->log, "ref"), "%s", b->log);
        ck_assert(!b->kernel.run);
    }
    bench_destroy(b);
    return taken;
}

START_TEST(multiplies_batches)
{
    static const int64_t batches[][4] = { { 3 }, { 2, 3 }, { 2, 1, 3 }, { 2, 1, 2, 3 } };
    for (int rank = 1; rank <= 4; rank++)
        for (int t = 0; t < 8; t++) {
            ebb_matmul_attrs attrs = { t & 1, t & 2 };
            bench *b = make_matmul(rank, batches[rank - 1], 20, 30, 40, attrs, t & 4 ? 2 : 1);
            ck_assert(run_if_taken(b));
        }
    int64_t deep[6] = { 2, 1, 2, 1, 2, 2 };
    ck_assert(run_if_taken(make_matmul(6, deep, 5, 6, 7, (ebb_matmul_attrs){ 0 }, 1)));
}
END_TEST

/* A matrix that a broadcast repeats: over b the batch becomes rows, and weights may be packed. */
START_TEST(multiplies_repeated_operands)
{
    int64_t batch[2] = { 3, 5 };
    for (int repeated = 0; repeated < 2; repeated++)
        for (int t = 0; t < 4; t++) {
            bench *b = make_matmul(2, batch, 24, 80, 64, (ebb_matmul_attrs){ t & 1, t & 2 }, 1);
            b->inputs[repeated].layout.strides[0] = b->inputs[repeated].layout.strides[1] = 0;
            bool taken = run_if_taken(b);
            ck_assert(taken || repeated == 0 || (t & 1));
        }
    bench *b = make_matmul(2, batch, 4, 80, 64, (ebb_matmul_attrs){ 0 }, 1);
    b->inputs[1].layout.strides[0] = b->inputs[1].layout.strides[1] = 0;
    b->inputs[1].is_steady = true;
    bench_prepare(b);
    ck_assert_uint_gt(b->kernel.packed_bytes, 0);
    bench_pack(b);
    bench_run(b);
    bench_check_matmul(b);
    bench_destroy(b);
    /* one axis repeats, the other does not */
    for (int axis = 0; axis < 2; axis++) {
        b = make_matmul(2, batch, 24, 80, 64, (ebb_matmul_attrs){ 0 }, 1);
        b->inputs[1].layout.strides[axis] = 0;
        if (axis == 0)
            b->inputs[1].layout.strides[1] = 80 * 64;
        else
            b->inputs[1].layout.strides[0] = 80 * 64;
        run_if_taken(b);
    }
}
END_TEST

START_TEST(multiplies_strided_layouts)
{
    for (int t = 0; t < 8; t++) {
        ebb_matmul_attrs attrs = { t & 1, t & 2 };
        int n_threads = t & 4 ? 2 : 1;
        const ebb_shape *x, *y;
        /* views of transposed matrices */
        bench *b = make_matmul(0, NULL, 70, 50, 90, attrs, n_threads);
        x = &b->types[0].shape, y = &b->types[1].shape;
        bench_set_strides(b, 0, 1, x->dims[0]);
        bench_set_strides(b, 1, 1, y->dims[0]);
        ck_assert(run_if_taken(b));
        /* parts of wider matrices */
        b = make_matmul(0, NULL, 70, 50, 90, attrs, n_threads);
        x = &b->types[0].shape, y = &b->types[1].shape;
        bench_set_strides(b, 0, x->dims[1] + 7, 1);
        bench_set_strides(b, 1, y->dims[1] + 3, 1);
        ck_assert(run_if_taken(b));
        b = make_matmul(0, NULL, 70, 50, 90, attrs, n_threads);
        x = &b->types[0].shape, y = &b->types[1].shape;
        bench_set_strides(b, 0, 1, x->dims[0] + 7);
        bench_set_strides(b, 1, 1, y->dims[0] + 3);
        ck_assert(run_if_taken(b));
        /* vectors with odd strides */
        b = make_matmul(0, NULL, 1, 50, 90, attrs, n_threads);
        if (!attrs.transpose_a)
            bench_set_strides(b, 0, 3, 1);
        else
            bench_set_strides(b, 0, 1, 0);
        ck_assert(run_if_taken(b));
    }
    /* heads of attention: [batch, place, head, part] seen as [batch, head, place, part] */
    for (int transposed = 0; transposed < 2; transposed++) {
        int64_t batch[2] = { 2, 4 };
        bench *b =
            make_matmul(2, batch, 24, 24, 16, (ebb_matmul_attrs){ .transpose_b = transposed }, 1);
        for (int i = 0; i < 2; i++) {
            const int64_t *dims = b->types[i].shape.dims;
            int64_t strides[4] = { dims[1] * dims[2] * dims[3], dims[3], dims[1] * dims[3], 1 };
            memcpy(b->inputs[i].layout.strides, strides, sizeof strides);
        }
        run_if_taken(b);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("onednn_matmul");
    ADD_CASE(suite, "matmul", multiplies_all_transposes, multiplies_steady_weights,
             packs_again_when_weights_change, follows_moving_operands);
    ADD_CASE(suite, "layouts", multiplies_batches, multiplies_repeated_operands,
             multiplies_strided_layouts);
    return run_suite(suite);
}
