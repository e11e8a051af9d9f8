/* Direct convolutions of images with their channels last, on each instruction set and with 1 and 2
 * threads, against the reference kernel in F64: with weights as they lie in the store, packed once,
 * and as they come. */
#include "backends/backends.h"
#include "backends/native/direct_conv.h"
#include "ops/descriptors.h"
#include "support/kernels.h"
#include "support/runner.h"

#include <math.h>
#include <string.h>

/* clang-format off */
typedef struct conv_case {
    ebb_shape x, w;
    ebb_conv_attrs conv;
} conv_case;
#define INTS(...) { (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), { __VA_ARGS__ } }
#define PADDED(...) { .padding = INTS(__VA_ARGS__) }
static const conv_case cases[] = {
    /* a place at a time, tiles of one and of several; 3 blocks of filters; two passes */
    { SHAPE(7, 32, 4, 4), SHAPE(48, 32, 3, 3), PADDED(1, 1) },
    { SHAPE(15, 32, 2, 2), SHAPE(16, 32, 3, 3), PADDED(1, 1) },
    { SHAPE(7, 256, 2, 2), SHAPE(16, 256, 3, 3), PADDED(1, 1) },
    { SHAPE(31, 48, 1, 1), SHAPE(80, 48, 3, 3), PADDED(1, 1) },
    { SHAPE(16, 16, 4, 4), SHAPE(16, 16, 7, 7), PADDED(3, 3) },
    { SHAPE(9, 64, 3, 4), SHAPE(16, 64, 3, 2), PADDED(2, 0, 0, 1) },
    /* two parts of a batch, the second of 8 images; a part of more tiles than a group */
    { SHAPE(64, 128, 4, 4), SHAPE(16, 128, 3, 3), PADDED(1, 1) },
    { SHAPE(80, 128, 2, 2), SHAPE(16, 128, 3, 3), PADDED(2, 2) },
    /* one dimension, and three */
    { SHAPE(10, 64, 3), SHAPE(32, 64, 5), PADDED(2) },
    { SHAPE(8, 32, 2, 2, 3), SHAPE(32, 32, 3, 3, 3), PADDED(1, 1, 1) },
    /* few rows: an image after the other */
    { SHAPE(1, 128, 7, 7), SHAPE(128, 128, 3, 3), PADDED(1, 1) },
    { SHAPE(1, 128, 13, 12), SHAPE(128, 128, 3, 3), { .stride = INTS(2, 2), .padding = INTS(0, 1, 1, 0) } },
    { SHAPE(2, 64, 9, 9), SHAPE(240, 64, 3, 3), { .dilation = INTS(2, 3), .padding = INTS(1, 2) } },
    { SHAPE(1, 256, 6, 5), SHAPE(528, 256, 1, 1), { .groups = 1 } },
    { SHAPE(1, 176, 6, 9), SHAPE(112, 176, 3, 3), { .stride = INTS(1, 3), .padding = INTS(1, 4) } },
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

/* What a case computes, with an epilogue out of its number. */
typedef struct setup {
    ebb_conv_epilogue_attrs attrs;
    const ebb_op *op;
    int n_inputs;
    ebb_shape y;
    ebb_tensor wide[4], narrow[4];
    ebb_layout layouts[5]; /* of the inputs, then the result; weights in blocks */
} setup;

static void set_up(setup *s, int number)
{
    const conv_case *c = &cases[number];
    ebb_error error = { 0 };
    ebb_type y;
    memset(s, 0, sizeof *s);
    const bool has_bias = number % 2 == 0, has_residual = number % 3 == 0, relu = number % 4 > 1;
    s->attrs = (ebb_conv_epilogue_attrs){ c->conv, { has_residual, relu } };
    s->op = has_residual || relu ? &ebb_op_conv_epilogue : &ebb_op_conv;
    s->wide[0] = make(EBB_F64, &c->x, 1);
    s->wide[1] = make(EBB_F64, &c->w, 2);
    ck_assert_int_eq(infer_results(&ebb_op_conv, &c->conv, s->wide, 2, &y, &error), EBB_OK);
    s->y = y.shape;
    const ebb_shape bias = { 1, { c->w.dims[0] } };
    s->n_inputs = 2;
    if (has_bias)
        s->wide[s->n_inputs++] = make(EBB_F64, &bias, 3);
    if (has_residual)
        s->wide[s->n_inputs++] = make(EBB_F64, &s->y, 4);
    for (int i = 0; i < s->n_inputs; i++) {
        const ebb_shape *shape = &s->wide[i].type.shape;
        ck_assert_int_eq(ebb_tensor_init(&s->narrow[i], ebb_type_of(EBB_F32, *shape), NULL), 0);
        for (int64_t k = 0; k < ebb_shape_elements(shape); k++)
            ebb_tensor_set(&s->narrow[i], k, ebb_tensor_get(&s->wide[i], k));
        s->layouts[i] = i == 1 ? ebb_direct_conv_blocks(shape) : ebb_layout_channels_last(shape);
    }
    s->layouts[s->n_inputs] = ebb_layout_channels_last(&s->y);
}

static void tear_down(setup *s)
{
    for (int i = 0; i < s->n_inputs; i++) {
        ebb_tensor_finish(&s->wide[i]);
        ebb_tensor_finish(&s->narrow[i]);
    }
}

static bool has_wide_vectors(void)
{
    return ebb_vector_isa_here()->product_f32->lanes == 16;
}

START_TEST(test_values)
{
    setup s;
    ebb_error error = { 0 };
    ebb_tensor expected, found, first;
    if (!has_wide_vectors())
        SKIP_TEST("direct convolutions are for AVX-512");
    set_up(&s, _i);
    const kernel_case wide = { s.op, &s.attrs, s.n_inputs, s.wide, s.op->name, 0 };
    ck_assert_int_eq(run_kernel(&wide, &ebb_backend_reference, 1, -1, &expected, NULL, &error), 0);
    const int64_t n = ebb_shape_elements(&s.y);
    double scale = 0;
    for (int64_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(ebb_tensor_get(&expected, i)));
    const ebb_layout dense = ebb_layout_dense(&s.wide[1].type.shape), blocks = s.layouts[1];
    for (int level = 0; ebb_vector_isa_at(level); level++)
        for (int way = 0; way < 6; way++) {
            static const char *const weights[] = { "in blocks", "steady", "dense" };
            ebb_backend limited = ebb_backend_native;
            limited.user = ebb_vector_isa_at(level);
            const char *isa = ebb_vector_isa_at(level)->name;
            const int n_threads = 1 + way % 2;
            s.layouts[1] = way < 2 ? blocks : dense;
            const kernel_placement placement = { s.layouts, way / 2 == 1 ? 2 : 0 };
            const kernel_case narrow = { s.op, &s.attrs, s.n_inputs, s.narrow, s.op->name, 0 };
            ck_assert_msg(!run_placed_kernel(&narrow, &placement, &limited, n_threads, -1, &found,
                                             NULL, &error),
                          "%s, weights %s: %s", isa, weights[way / 2], error.message);
            for (int64_t i = 0; i < n; i++) {
                const double is = ebb_tensor_get(&found, i), should = ebb_tensor_get(&expected, i);
                REQUIRE(fabs(is - should) <= 3e-6 * scale,
                        "%s, weights %s, %d threads, [%lld]: %g instead of %g", isa,
                        weights[way / 2], n_threads, (long long)i, is, should);
            }
            if (way == 0) {
                first = found;
                continue;
            }
            ck_assert_msg(!memcmp(first.data, found.data, (size_t)n * sizeof(float)),
                          "%s: other bits with weights %s and %d threads", isa, weights[way / 2],
                          n_threads);
            ebb_tensor_finish(&found);
            if (way == 5)
                ebb_tensor_finish(&first);
        }
    ebb_tensor_finish(&expected);
    tear_down(&s);
}
END_TEST

/* Every allocation of the kernel fails in turn. */
START_TEST(test_memory_failure)
{
    setup s;
    ebb_tensor found;
    ebb_error error = { 0 };
    int n_failures = 0;
    if (!has_wide_vectors())
        SKIP_TEST("direct convolutions are for AVX-512");
    set_up(&s, 0);
    const kernel_placement placement = { s.layouts, 0 };
    const kernel_case c = { s.op, &s.attrs, s.n_inputs, s.narrow, s.op->name, 0 };
    while (run_placed_kernel(&c, &placement, &ebb_backend_native, 1, n_failures, &found, NULL,
                             &error)) {
        ck_assert_msg(strstr(error.message, "out of memory for a kernel of conv"), "%s",
                      error.message);
        n_failures++;
    }
    ck_assert_int_eq(n_failures, 5);
    ebb_tensor_finish(&found);
    tear_down(&s);
}
END_TEST

/* Nothing is taken that oneDNN computes as fast, nor what the kernel does not know. */
START_TEST(test_refused)
{
    static const conv_case refused[] = {
        { SHAPE(32, 64, 16, 16), SHAPE(64, 64, 3, 3), PADDED(1, 1) }, /* little padding */
        { SHAPE(7, 24, 4, 4), SHAPE(48, 24, 3, 3), PADDED(1, 1) },    /* half a block */
        { SHAPE(7, 32, 4, 4), SHAPE(24, 32, 3, 3), PADDED(1, 1) },
        { SHAPE(7, 32, 4, 4), SHAPE(64, 16, 3, 3), { .groups = 2, .padding = INTS(1, 1) } },
        { SHAPE(7, 32, 5, 5), SHAPE(16, 32, 9, 9), PADDED(4, 4) }, /* 81 taps */
        { SHAPE(7, 32, 0, 2), SHAPE(16, 32, 3, 3), PADDED(2, 1) }, /* nothing but padding */
    };
    ebb_tensor inputs[2], found;
    ebb_layout layouts[3];
    ebb_error error = { 0 };
    ebb_type y;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        inputs[0] = make(EBB_F32, &refused[i].x, 1);
        inputs[1] = make(EBB_F32, &refused[i].w, 2);
        ck_assert_int_eq(infer_results(&ebb_op_conv, &refused[i].conv, inputs, 2, &y, &error),
                         EBB_OK);
        layouts[0] = ebb_layout_channels_last(&refused[i].x);
        layouts[1] = ebb_layout_dense(&refused[i].w);
        layouts[2] = ebb_layout_channels_last(&y.shape);
        const kernel_placement placement = { layouts, 0 };
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
    Suite *suite = suite_create("direct_conv");
    TCase *tcase = tcase_create("forward");
    tcase_add_loop_test(tcase, test_values, 0, N_CASES);
    tcase_add_test(tcase, test_memory_failure);
    tcase_add_test(tcase, test_refused);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
