/* Kernels with an image in each lane of a vector, on each instruction set, against the reference
 * kernels in F64: conv_max_pool and the gradient of weights behind max_pool. */
#include "backends/backends.h"
#include "backends/native/vector/vector.h"
#include "ops/descriptors.h"
#include "ops/pooled_conv.h"
#include "support/kernels.h"
#include "support/runtime.h"

#include <math.h>

/* clang-format off */
typedef struct lane_case {
    ebb_shape x, dy, w;
    ebb_conv_attrs conv;
    ebb_pool_attrs pool;
} lane_case;
#define INTS(a, b) { 2, { a, b } }
#define POOL(a, b) { .window = INTS(a, b) }
static const lane_case cases[] = {
    { SHAPE(16, 1, 12, 12), SHAPE(16, 6, 4, 4), SHAPE(6, 1, 5, 5), { .groups = 1 }, POOL(2, 2) },
    { SHAPE(29, 1, 9, 11), SHAPE(29, 1, 3, 5), SHAPE(1, 1, 3, 2), { .groups = 1 }, POOL(2, 2) },
    { SHAPE(47, 2, 10, 8), SHAPE(47, 13, 5, 4), SHAPE(13, 2, 3, 3), { .padding = INTS(1, 1) }, POOL(2, 2) },
    { SHAPE(13, 1, 12, 15), SHAPE(13, 7, 4, 2), SHAPE(7, 1, 1, 7), { .padding = INTS(1, 0) }, POOL(3, 4) },
    { SHAPE(32, 2, 15, 14), SHAPE(32, 3, 2, 3), SHAPE(3, 2, 4, 3), { .stride = INTS(2, 1) },
      { .window = INTS(2, 3), .stride = INTS(3, 4) } },
    { SHAPE(16, 1, 13, 9), SHAPE(16, 5, 4, 4), SHAPE(5, 1, 3, 2), { .dilation = INTS(2, 1), .stride = INTS(1, 1) }, POOL(2, 2) },
    { SHAPE(15, 1, 8, 8), SHAPE(15, 11, 2, 1), SHAPE(11, 1, 3, 3), { .groups = 1 }, POOL(3, 5) },
    { SHAPE(16, 1, 33, 32), SHAPE(16, 48, 16, 16), SHAPE(48, 1, 2, 1), { .groups = 1 }, POOL(2, 2) }, /* more at hand than the gradient takes */
};
/* clang-format on */
enum { N_CASES = sizeof cases / sizeof *cases };

static ebb_tensor make(ebb_dtype dtype, const ebb_shape *shape, uint32_t seed)
{
    ebb_tensor t;
    ck_assert_int_eq(ebb_tensor_init(&t, ebb_type_of(dtype, *shape), NULL), EBB_OK);
    for (int64_t i = 0; i < ebb_shape_elements(shape); i++) {
        seed = seed * 1664525u + 1013904223u;
        ebb_tensor_set(&t, i, ((double)(seed >> 8) / (1 << 23) - 1));
    }
    return t;
}

/* Places of maxima, some of them nowhere. */
static ebb_tensor make_places(const ebb_shape *shape, int64_t n_taps)
{
    ebb_tensor t;
    ck_assert_int_eq(ebb_tensor_init(&t, ebb_type_of(EBB_U8, *shape), NULL), EBB_OK);
    for (int64_t i = 0; i < ebb_shape_elements(shape); i++)
        ((uint8_t *)t.data)[i] = (uint8_t)(i % 11 == 5 ? 255 : i * 7919 / 3 % n_taps);
    return t;
}

/* On each instruction set, with 1 and 2 threads, twice the same. `exact`: of the second result. */
static void compare(const kernel_case *wide, const kernel_case *narrow, bool is_exact)
{
    ebb_error error = { 0 };
    ebb_tensor expected[EBB_MAX_RESULTS], found[EBB_MAX_RESULTS];
    ck_assert_int_eq(run_kernel(wide, &ebb_backend_reference, 1, -1, expected, NULL, &error), 0);
    for (int level = 0; ebb_vector_isa_at(level); level++)
        for (int n_threads = 1; n_threads <= 2; n_threads++) {
            ebb_backend limited = ebb_backend_native;
            limited.user = ebb_vector_isa_at(level);
            const char *isa = ebb_vector_isa_at(level)->name;
            ck_assert_msg(!run_kernel(narrow, &limited, n_threads, -1, found, NULL, &error),
                          "%s, %s", isa, error.message);
            for (int r = 0; r < narrow->op->n_results; r++) {
                const int64_t n = ebb_shape_elements(&expected[r].type.shape);
                double scale = 0;
                for (int64_t i = 0; i < n; i++)
                    scale = fmax(scale, fabs(ebb_tensor_get(&expected[r], i)));
                for (int64_t i = 0; i < n; i++) {
                    const double is = ebb_tensor_get(&found[r], i);
                    const double should = ebb_tensor_get(&expected[r], i);
                    REQUIRE(fabs(is - should) <= (r && is_exact ? 0 : 3e-6 * scale),
                            "%s, %d threads, result %d[%lld]: %g instead of %g", isa, n_threads, r,
                            (long long)i, is, should);
                }
                ebb_tensor_finish(&found[r]);
            }
        }
    for (int r = 0; r < wide->op->n_results; r++)
        ebb_tensor_finish(&expected[r]);
}

START_TEST(test_weight_grad)
{
    const lane_case *c = &cases[_i];
    const int64_t n_taps = c->pool.window.values[0] * c->pool.window.values[1];
    const ebb_pooled_conv_attrs attrs = { c->conv, c->pool, { 2, { c->w.dims[2], c->w.dims[3] } } };
    ebb_tensor wide[3] = { make(EBB_F64, &c->x, 3), make(EBB_F64, &c->dy, 5),
                           make_places(&c->dy, n_taps) };
    ebb_tensor narrow[3] = { make(EBB_F32, &c->x, 3), make(EBB_F32, &c->dy, 5), wide[2] };
    const ebb_op *op = &ebb_op_pooled_conv_weight_grad;
    compare(&(kernel_case){ op, &attrs, 3, wide, op->name, 0 },
            &(kernel_case){ op, &attrs, 3, narrow, op->name, 0 }, false);
    for (int i = 0; i < 3; i++)
        ebb_tensor_finish(&wide[i]);
    for (int i = 0; i < 2; i++)
        ebb_tensor_finish(&narrow[i]);
}
END_TEST

/* The same without a pool, with and without the bias. */
START_TEST(test_dense_weight_grad)
{
    const lane_case *c = &cases[_i / 2];
    const ebb_op *op = _i % 2 ? &ebb_op_conv_weight_grad : &ebb_op_conv_weight_bias_grad;
    const ebb_conv_grad_attrs attrs = { c->conv, { 2, { c->w.dims[2], c->w.dims[3] } } };
    ebb_shape dy = c->dy;
    for (int d = 0; d < 2; d++) {
        const int64_t stride = c->conv.stride.n ? c->conv.stride.values[d] : 1;
        const int64_t dilation = c->conv.dilation.n ? c->conv.dilation.values[d] : 1;
        const int64_t padding = c->conv.padding.n ? c->conv.padding.values[d] : 0;
        const int64_t reach = (c->w.dims[2 + d] - 1) * dilation + 1;
        dy.dims[2 + d] = (c->x.dims[2 + d] + 2 * padding - reach) / stride + 1;
    }
    ebb_tensor wide[2] = { make(EBB_F64, &c->x, 3), make(EBB_F64, &dy, 5) };
    ebb_tensor narrow[2] = { make(EBB_F32, &c->x, 3), make(EBB_F32, &dy, 5) };
    compare(&(kernel_case){ op, &attrs, 2, wide, op->name, 0 },
            &(kernel_case){ op, &attrs, 2, narrow, op->name, 0 }, false);
    for (int i = 0; i < 2; i++) {
        ebb_tensor_finish(&wide[i]);
        ebb_tensor_finish(&narrow[i]);
    }
}
END_TEST

/* Of whole numbers, so that both find the same maxima. */
START_TEST(test_conv_max_pool)
{
    const lane_case *c = &cases[_i];
    const ebb_conv_max_pool_attrs attrs = { c->conv, c->pool };
    const ebb_shape *const shapes[2] = { &c->x, &c->w };
    ebb_tensor wide[2], narrow[2];
    for (int i = 0; i < 2; i++) {
        wide[i] = make(EBB_F64, shapes[i], (uint32_t)i);
        narrow[i] = make(EBB_F32, shapes[i], (uint32_t)i);
        for (int64_t k = 0; k < ebb_shape_elements(shapes[i]); k++) {
            ebb_tensor_set(&wide[i], k, floor(ebb_tensor_get(&wide[i], k) * 100));
            ebb_tensor_set(&narrow[i], k, ebb_tensor_get(&wide[i], k));
        }
    }
    const ebb_op *op = &ebb_op_conv_max_pool;
    compare(&(kernel_case){ op, &attrs, 2, wide, op->name, 0 },
            &(kernel_case){ op, &attrs, 2, narrow, op->name, 0 }, true);
    for (int i = 0; i < 2; i++) {
        ebb_tensor_finish(&wide[i]);
        ebb_tensor_finish(&narrow[i]);
    }
}
END_TEST

/* The convolution with its pool forward, and the gradient of its weights behind the pool. */
START_TEST(failing_allocations)
{
    const lane_case *c = &cases[0];
    ebb_graph *g = ebb_graph_create("g");
    const ebb_node inputs[2] = { ebb_input(g, "x", EBB_F32, c->x),
                                 ebb_input(g, "w", EBB_F32, c->w) };
    const ebb_node y = ebb_max_pool(ebb_emit(g, &ebb_op_conv, inputs, 2, &c->conv, NULL), c->pool);
    ebb_node fetches[2] = { y };
    ck_assert_msg(
        !ebb_gradients(ebb_reduce_sum(y, EBB_ALL_AXES, false), &inputs[1], 1, &fetches[1]), "%s",
        ebb_graph_message(g));
    ck_assert_int_gt(fail_allocations(g, fetches, 2, NULL), 20);
    ebb_graph_destroy(g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lanes");
    TCase *tcase = tcase_create("images");
    tcase_add_test(tcase, failing_allocations);
    tcase_add_loop_test(tcase, test_weight_grad, 0, N_CASES - 1);
    tcase_add_loop_test(tcase, test_dense_weight_grad, 0, 2 * N_CASES);
    tcase_add_loop_test(tcase, test_conv_max_pool, 0, N_CASES);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
