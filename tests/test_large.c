/* Native kernels on tensors that no cache holds, on each instruction set: they have ways of their
 * own for these. */
#include "backends/backends.h"
#include "backends/native/vector/vector.h"
#include "ops/descriptors.h"
#include "tests/support/kernels.h"
#include "tests/support/runner.h"

/* Transposes that go past the caches: many sizes of what is left over beside whole blocks. */
static const struct {
    ebb_shape shape;
    ebb_axes axes;
} large_transposes[] = {
    { SHAPE(2049, 2053), { 2, { 1, 0 } } },
    { SHAPE(2064, 2080), { 2, { 1, 0 } } },
    { SHAPE(2337, 1821), { 2, { 1, 0 } } },
    { SHAPE(1400003, 3), { 2, { 1, 0 } } },
    { SHAPE(19, 230003), { 2, { 1, 0 } } },
    { SHAPE(5, 83, 101, 103), { 4, { 0, 2, 3, 1 } } },
    { SHAPE(7, 96, 80, 83), { 4, { 0, 3, 1, 2 } } },
    { SHAPE(20, 17, 31, 22, 19), { 5, { 4, 3, 2, 1, 0 } } },
    { SHAPE(5, 6, 700, 203), { 4, { 3, 1, 2, 0 } } },
};
enum { N_LARGE_TRANSPOSES = sizeof large_transposes / sizeof *large_transposes };

START_TEST(test_large_transposes)
{
    const ebb_shape *shape = &large_transposes[_i].shape;
    const ebb_transpose_attrs attrs = { large_transposes[_i].axes };
    ebb_error error = { 0 };
    ebb_tensor x, result;
    int64_t strides[EBB_MAX_RANK], stride = 1;
    ck_assert_int_eq(ebb_tensor_init(&x, ebb_type_of(EBB_F32, *shape), NULL), EBB_OK);
    const int64_t n = ebb_shape_elements(shape);
    ck_assert_int_ge(n, 4 << 20);
    for (int64_t i = 0; i < n; i++)
        ((uint32_t *)x.data)[i] = (uint32_t)i;
    for (int d = shape->rank - 1; d >= 0; stride *= shape->dims[d--])
        strides[d] = stride;
    const kernel_case c = { &ebb_op_transpose, &attrs, 1, &x, "transpose", 0 };
    for (int level = 0; ebb_vector_isa_at(level); level++) {
        ebb_backend limited = ebb_backend_native;
        limited.user = ebb_vector_isa_at(level);
        ck_assert_int_eq(run_kernel(&c, &limited, 1 + level % 2, -1, &result, NULL, &error), 0);
        int64_t index[EBB_MAX_RANK] = { 0 }, at = 0;
        for (int64_t i = 0; i < n; i++) {
            REQUIRE(((uint32_t *)result.data)[i] == (uint32_t)at, "%s: element %lld of case %d",
                    ebb_vector_isa_at(level)->name, (long long)i, _i);
            for (int d = shape->rank - 1; d >= 0; d--) {
                const int axis = attrs.axes.axes[d];
                at += strides[axis];
                if (++index[d] < shape->dims[axis])
                    break;
                at -= index[d] * strides[axis];
                index[d] = 0;
            }
        }
        ebb_tensor_finish(&result);
    }
    ebb_tensor_finish(&x);
}
END_TEST

/* Results that go past the caches; whole numbers, so that any order of additions is exact. */
START_TEST(test_large_cumsums)
{
    const ebb_shape shapes[] = { SHAPE(2051, 2053), EBB_SHAPE(3, 1201, 1187) };
    const ebb_shape *shape = &shapes[_i % 2];
    const int axis = _i < 2 ? shape->rank - 1 : shape->rank - 2;
    const ebb_cumsum_attrs attrs = { .axis = axis };
    ebb_error error = { 0 };
    ebb_tensor x, result;
    ck_assert_int_eq(ebb_tensor_init(&x, ebb_type_of(EBB_F32, *shape), NULL), EBB_OK);
    const int64_t n = ebb_shape_elements(shape), size = shape->dims[axis];
    const int64_t stride = axis == shape->rank - 1 ? 1 : shape->dims[axis + 1];
    for (int64_t i = 0; i < n; i++)
        ((float *)x.data)[i] = (float)(i % 7 * (i % 3) - 6);
    const kernel_case c = { &ebb_op_cumsum, &attrs, 1, &x, "cumsum", 0 };
    for (int level = 0; ebb_vector_isa_at(level); level++) {
        ebb_backend limited = ebb_backend_native;
        limited.user = ebb_vector_isa_at(level);
        ck_assert_int_eq(run_kernel(&c, &limited, 1 + level % 2, -1, &result, NULL, &error), 0);
        const float *y = result.data, *from = x.data;
        for (int64_t i = 0; i < n; i++) {
            const float before = i / stride % size ? y[i - stride] : 0;
            REQUIRE(y[i] == before + from[i], "%s: element %lld of case %d is %g",
                    ebb_vector_isa_at(level)->name, (long long)i, _i, (double)y[i]);
        }
        ebb_tensor_finish(&result);
    }
    ebb_tensor_finish(&x);
}
END_TEST

/* Few rows and a right side of more than 32 MB. Small whole numbers, so that sums are exact. */
START_TEST(test_few_rows)
{
    static const int64_t sizes[][3] = { { 1, 4099, 2053 }, { 3, 2051, 4111 }, { 8, 2100, 4003 } };
    const int64_t m = sizes[_i][0], k = sizes[_i][1], n = sizes[_i][2];
    const ebb_matmul_attrs attrs = { .transpose_a = false };
    ebb_error error = { 0 };
    ebb_tensor inputs[2], result;
    const ebb_shape shapes[2] = { EBB_SHAPE(m, k), EBB_SHAPE(k, n) };
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ebb_tensor_init(&inputs[i], ebb_type_of(EBB_F32, shapes[i]), NULL), 0);
        for (int64_t at = 0; at < ebb_shape_elements(&shapes[i]); at++)
            ((float *)inputs[i].data)[at] = (float)(at * 7919 / 13 % 9 - 4);
    }
    const kernel_case c = { &ebb_op_matmul, &attrs, 2, inputs, "matmul", 0 };
    const float *a = inputs[0].data, *b = inputs[1].data;
    for (int level = 0; ebb_vector_isa_at(level); level++)
        for (int n_threads = 1; n_threads <= 2; n_threads++) {
            ebb_backend limited = ebb_backend_native;
            limited.user = ebb_vector_isa_at(level);
            ck_assert_int_eq(run_kernel(&c, &limited, n_threads, -1, &result, NULL, &error), 0);
            for (int64_t i = 0; i < m; i++)
                for (int64_t j = 0; j < n; j += j % 5 + 1) {
                    float sum = 0;
                    for (int64_t l = 0; l < k; l++)
                        sum += a[i * k + l] * b[l * n + j];
                    REQUIRE(((float *)result.data)[i * n + j] == sum, "%s: [%lld,%lld]",
                            ebb_vector_isa_at(level)->name, (long long)i, (long long)j);
                }
            ebb_tensor_finish(&result);
        }
    ebb_tensor_finish(&inputs[0]);
    ebb_tensor_finish(&inputs[1]);
}
END_TEST

/* Each thread has columns of its own: none sums in another order than one thread alone. */
START_TEST(test_few_rows_threads)
{
    enum { ROWS = 4, DEPTH = 4200, COLUMNS = 2000 };
    const ebb_matmul_attrs attrs = { .transpose_a = false };
    const ebb_shape shapes[2] = { EBB_SHAPE(ROWS, DEPTH), EBB_SHAPE(DEPTH, COLUMNS) };
    ebb_error error = { 0 };
    ebb_tensor inputs[2], results[2];
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ebb_tensor_init(&inputs[i], ebb_type_of(EBB_F32, shapes[i]), NULL), 0);
        for (int64_t at = 0; at < ebb_shape_elements(&shapes[i]); at++)
            ((float *)inputs[i].data)[at] = (float)(at * 7919 % 1009) / 1009 - 0.5f;
    }
    const kernel_case c = { &ebb_op_matmul, &attrs, 2, inputs, "matmul", 0 };
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(run_kernel(&c, &ebb_backend_native, 1 + i, -1, &results[i], NULL, &error),
                         0);
    ck_assert_mem_eq(results[0].data, results[1].data, ebb_tensor_bytes(&results[0]));
    for (int i = 0; i < 2; i++) {
        ebb_tensor_finish(&results[i]);
        ebb_tensor_finish(&inputs[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("large");
    TCase *tcase = tcase_create("large");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, test_large_transposes, 0, N_LARGE_TRANSPOSES);
    tcase_add_loop_test(tcase, test_large_cumsums, 0, 4);
    tcase_add_loop_test(tcase, test_few_rows, 0, 3);
    tcase_add_test(tcase, test_few_rows_threads);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
