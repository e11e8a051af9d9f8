/* Convolutions with windows of one tap and their gradients of x, channels last, on each instruction
 * set and with 1 and 2 threads, against the reference kernel in F64: with weights as they lie in
 * the store and with dense ones. */
#include "backends/backends.h"
#include "backends/native/direct_conv.h"
#include "ops/descriptors.h"
#include "support/kernels.h"
#include "support/runner.h"

#include <math.h>
#include <string.h>

/* clang-format off */
static const struct {
    ebb_shape x; /* of the convolution, in both directions */
    int64_t filters;
} cases[] = {
    { SHAPE(5, 48, 37, 11), 176 },   /* several groups of rows, the last tiles of 5; 3 blocks left */
    { SHAPE(2, 1040, 7, 7), 176 },   /* two passes; forward threads share out rows .. */
    { SHAPE(2, 528, 7, 7), 336 },    /* .. and here columns, both ways */
    { SHAPE(1, 272, 101), 1024 },    /* many weights; rows that are no multiple of a tile's */
    { SHAPE(100, 512, 1, 1, 1), 336 },
    { SHAPE(1, 16, 128, 129), 64 },
};
/* clang-format on */
enum { N_CASES = sizeof cases / sizeof *cases };

static ebb_tensor make(ebb_dtype dtype, const ebb_shape *shape, uint32_t seed)
{
    ebb_tensor t;
    ck_assert_int_eq(ebb_tensor_init(&t, ebb_type_of(dtype, *shape), NULL), EBB_OK);
    for (int64_t i = 0; i < ebb_shape_elements(shape); i++) {
        seed = seed * 1664525u + 1013904223u;
        ebb_tensor_set(&t, i, ((float)(seed >> 8) / (1 << 23) - 1));
    }
    return t;
}

static bool has_wide_vectors(void)
{
    return ebb_vector_isa_here()->product_f32->lanes == 16;
}

typedef struct setup {
    const ebb_op *op;
    ebb_conv_grad_attrs attrs; /* begin with those of conv */
    ebb_shape shapes[3];       /* of the inputs and the result */
    ebb_tensor wide[2], narrow[2];
    ebb_layout layouts[3];
} setup;

static void set_up(setup *s, int number)
{
    const bool is_gradient = number % 2 == 1;
    const ebb_shape *x = &cases[number / 2].x;
    memset(s, 0, sizeof *s);
    s->op = is_gradient ? &ebb_op_conv_input_grad : &ebb_op_conv;
    ebb_shape y = *x, w = *x;
    y.dims[1] = w.dims[0] = cases[number / 2].filters;
    for (int d = 2; d < w.rank; d++)
        w.dims[d] = 1;
    s->shapes[0] = is_gradient ? y : *x;
    s->shapes[1] = w;
    s->shapes[2] = is_gradient ? *x : y;
    for (int i = 0; i < 2; i++) {
        s->wide[i] = make(EBB_F64, &s->shapes[i], 1 + (uint32_t)i);
        s->narrow[i] = make(EBB_F32, &s->shapes[i], 1 + (uint32_t)i);
    }
    for (int i = 0; i < 3; i++)
        s->layouts[i] = ebb_layout_channels_last(&s->shapes[i]);
}

static void tear_down(setup *s)
{
    for (int i = 0; i < 2; i++) {
        ebb_tensor_finish(&s->wide[i]);
        ebb_tensor_finish(&s->narrow[i]);
    }
}

START_TEST(test_values)
{
    setup s;
    ebb_error error = { 0 };
    ebb_tensor expected, found, first;
    if (!has_wide_vectors())
        SKIP_TEST("these convolutions are for AVX-512");
    set_up(&s, _i);
    const kernel_case wide = { s.op, &s.attrs, 2, s.wide, s.op->name, 0 };
    ck_assert_int_eq(run_kernel(&wide, &ebb_backend_reference, 1, -1, &expected, NULL, &error), 0);
    const int64_t n = ebb_shape_elements(&s.shapes[2]);
    double scale = 0;
    for (int64_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(ebb_tensor_get(&expected, i)));
    for (int level = 0; ebb_vector_isa_at(level); level++)
        for (int way = 0; way < 4; way++) {
            ebb_backend limited = ebb_backend_native;
            limited.user = ebb_vector_isa_at(level);
            const char *isa = ebb_vector_isa_at(level)->name;
            const char *weights = way < 2 ? "in blocks" : "dense";
            const int n_threads = 1 + way % 2;
            s.layouts[1] =
                way < 2 ? ebb_direct_conv_blocks(&s.shapes[1]) : ebb_layout_dense(&s.shapes[1]);
            const kernel_placement placement = { s.layouts, 0 };
            const kernel_case narrow = { s.op, &s.attrs, 2, s.narrow, s.op->name, 0 };
            ck_assert_msg(!run_placed_kernel(&narrow, &placement, &limited, n_threads, -1, &found,
                                             NULL, &error),
                          "%s, weights %s: %s", isa, weights, error.message);
            for (int64_t i = 0; i < n; i++) {
                const double is = ebb_tensor_get(&found, i), should = ebb_tensor_get(&expected, i);
                REQUIRE(fabs(is - should) <= 3e-6 * scale,
                        "%s, weights %s, %d threads, [%lld]: %g instead of %g", isa, weights,
                        n_threads, (long long)i, is, should);
            }
            if (way == 0) {
                first = found;
                continue;
            }
            ck_assert_msg(!memcmp(first.data, found.data, (size_t)n * sizeof(float)),
                          "%s: other bits with weights %s and %d threads", isa, weights, n_threads);
            ebb_tensor_finish(&found);
            if (way == 3)
                ebb_tensor_finish(&first);
        }
    ebb_tensor_finish(&expected);
    tear_down(&s);
}
END_TEST

START_TEST(test_memory_failure)
{
    setup s;
    ebb_tensor found;
    ebb_error error = { 0 };
    int n_failures = 0;
    if (!has_wide_vectors())
        SKIP_TEST("these convolutions are for AVX-512");
    set_up(&s, 1);
    const kernel_placement placement = { s.layouts, 0 };
    const kernel_case c = { s.op, &s.attrs, 2, s.narrow, s.op->name, 0 };
    s.layouts[1] = ebb_layout_dense(&s.shapes[1]);
    while (run_placed_kernel(&c, &placement, &ebb_backend_native, 1, n_failures, &found, NULL,
                             &error)) {
        ck_assert_msg(strstr(error.message, "out of memory for a kernel of conv_input_grad"), "%s",
                      error.message);
        n_failures++;
    }
    ck_assert_int_eq(n_failures, 1);
    ebb_tensor_finish(&found);
    tear_down(&s);
}
END_TEST

/* Nothing is taken that is no product of whole images, that is small, or that is packed once. */
START_TEST(test_refused)
{
    static const struct {
        ebb_shape x, w;
        ebb_conv_attrs conv;
        unsigned steady;
    } refused[] = {
        { SHAPE(4, 64, 56, 56), SHAPE(256, 64, 1, 1), { .stride = { 2, { 2, 2 } } }, 0 },
        { SHAPE(4, 64, 56, 56), SHAPE(256, 64, 1, 1), { .padding = { 2, { 1, 1 } } }, 0 },
        { SHAPE(4, 64, 56, 56), SHAPE(256, 32, 1, 1), { .groups = 2 }, 0 },
        { SHAPE(4, 56, 56, 56), SHAPE(256, 56, 1, 1), { .groups = 1 }, 0 }, /* half a block */
        { SHAPE(4, 64, 56, 56), SHAPE(250, 64, 1, 1), { .groups = 1 }, 0 },
        { SHAPE(1, 512, 5, 5), SHAPE(2048, 512, 1, 1), { .groups = 1 }, 0 }, /* few rows */
        { SHAPE(4, 16, 28, 28), SHAPE(16, 16, 1, 1), { .groups = 1 }, 0 },   /* little work */
        { SHAPE(4, 64, 56, 56), SHAPE(256, 64, 1, 1), { .groups = 1 }, 2 },
    };
    ebb_tensor inputs[2], found;
    ebb_layout layouts[3];
    ebb_error error = { 0 };
    ebb_type y;
    if (!has_wide_vectors())
        SKIP_TEST("these convolutions are for AVX-512");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        inputs[0] = make(EBB_F32, &refused[i].x, 1);
        inputs[1] = make(EBB_F32, &refused[i].w, 2);
        ck_assert_int_eq(infer_results(&ebb_op_conv, &refused[i].conv, inputs, 2, &y, &error),
                         EBB_OK);
        layouts[0] = ebb_layout_channels_last(&refused[i].x);
        layouts[1] = ebb_layout_dense(&refused[i].w);
        layouts[2] = ebb_layout_channels_last(&y.shape);
        const kernel_placement placement = { layouts, refused[i].steady };
        const kernel_case c = { &ebb_op_conv, &refused[i].conv, 2, inputs, "conv", 0 };
        ck_assert_msg(run_placed_kernel(&c, &placement, &ebb_backend_native, 1, -1, &found, NULL,
                                        &error) == EBB_NOT_FOUND,
                      "case %zu is taken", i);
        ebb_tensor_finish(&inputs[0]);
        ebb_tensor_finish(&inputs[1]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("point_conv");
    TCase *tcase = tcase_create("products");
    tcase_add_loop_test(tcase, test_values, 0, 2 * N_CASES);
    tcase_add_test(tcase, test_memory_failure);
    tcase_add_test(tcase, test_refused);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
