/* The gradient of weights for small images (backends/native/direct_weight_grad.c) on each
 * instruction set, with 1 and 2 threads, dense and in blocks, against the reference kernels in F64.
 */
#include "backends/backends.h"
#include "backends/native/vector/vector.h"
#include "ops/conv.h"
#include "ops/descriptors.h"
#include "runtime/choose.h"
#include "support/kernels.h"
#include "support/runner.h"
#include "support/runtime.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define L(...)                                                                                     \
    {                                                                                              \
        (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)),                               \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

typedef struct grad_case {
    ebb_shape x, w;
    ebb_conv_attrs conv;
} grad_case;

/* clang-format off */
#define SQUARE(batch, size, filters) \
    { SHAPE(batch, 64, size, size), SHAPE(filters, 64, 3, 3), { .padding = L(1) } }
static const grad_case cases[] = {
    SQUARE(3, 1, 64), SQUARE(3, 2, 80), SQUARE(3, 3, 64), SQUARE(1, 4, 112), SQUARE(3, 5, 64),
    SQUARE(2, 6, 64), SQUARE(1, 7, 64), SQUARE(3, 8, 64), SQUARE(1, 9, 64),
    SQUARE(64, 2, 64), SQUARE(17, 4, 64), SQUARE(17, 1, 64), SQUARE(1, 1, 64), SQUARE(1, 13, 64),
    /* several groups of filters, several panels of images, and a chunk that is not full */
    { SHAPE(35, 64, 4, 4), SHAPE(208, 64, 3, 3), { .padding = L(1) } },
    { SHAPE(3, 112, 4, 4), SHAPE(400, 112, 2, 2), { .padding = L(0) } },
    /* strides, also with pixels that nobody reads, and with many rows for a tap */
    { SHAPE(3, 64, 8, 8), SHAPE(128, 64, 3, 3), { .padding = L(1), .stride = L(2) } },
    { SHAPE(3, 64, 9, 7), SHAPE(64, 64, 2, 3), { .padding = L(0, 1), .stride = L(3, 2) } },
    { SHAPE(5, 64, 10, 10), SHAPE(64, 64, 2, 2), { .stride = L(4) } },
    { SHAPE(1, 64, 37, 40), SHAPE(128, 64, 3, 2), { .padding = L(1), .stride = L(2) } },
    /* dilation; padding on one side, or such that taps have no pixels at all */
    { SHAPE(3, 64, 7, 7), SHAPE(64, 64, 3, 3), { .padding = L(2), .dilation = L(2) } },
    { SHAPE(3, 64, 6, 5), SHAPE(64, 64, 3, 3), { .padding = L(0, 2, 2, 1), .dilation = L(1, 2) } },
    { SHAPE(3, 64, 2, 2), SHAPE(64, 64, 5, 5), { .padding = L(2) } },
    { SHAPE(3, 64, 1, 3), SHAPE(64, 64, 3, 3), { .padding = L(4, 3) } },
    /* windows */
    { SHAPE(3, 64, 6, 6), SHAPE(96, 64, 5, 5), { .padding = L(2) } },
    { SHAPE(3, 64, 5, 8), SHAPE(64, 64, 1, 7), { .padding = L(0, 3) } },
    { SHAPE(3, 64, 8, 5), SHAPE(64, 64, 3, 1), { .padding = L(1, 0) } },
    { SHAPE(2, 64, 7, 7), SHAPE(64, 64, 7, 7), { .padding = L(3) } },
    /* one dimension, and three */
    { SHAPE(5, 64, 9), SHAPE(80, 64, 3), { .padding = L(1) } },
    { SHAPE(2, 64, 3, 4, 2), SHAPE(64, 64, 3, 3, 2), { .padding = L(1) } },
    { SHAPE(2, 64, 4, 3, 4), SHAPE(64, 64, 2, 2, 2), { .stride = L(2, 1, 2) } },
};
/* What it leaves to others. */
static const grad_case others[] = {
    { SHAPE(2, 64, 4, 4), SHAPE(64, 64, 1, 1), { .groups = 1 } },
    { SHAPE(2, 128, 4, 4), SHAPE(128, 64, 3, 3), { .groups = 2 } },
    { SHAPE(2, 72, 4, 4), SHAPE(64, 72, 3, 3), { .groups = 1 } },
    { SHAPE(2, 64, 4, 4), SHAPE(72, 64, 3, 3), { .groups = 1 } },
    { SHAPE(2, 48, 4, 4), SHAPE(64, 48, 3, 3), { .groups = 1 } },
    { SHAPE(2, 64, 4, 4), SHAPE(48, 64, 3, 3), { .groups = 1 } },
    { SHAPE(2, 64, 16, 16), SHAPE(64, 64, 3, 3), { .padding = L(1) } },
    { SHAPE(2, 64, 8, 8), SHAPE(64, 64, 8, 8), { .padding = L(4) } },
    { SHAPE(0, 64, 4, 4), SHAPE(64, 64, 3, 3), { .padding = L(1) } },
};
/* clang-format on */
enum { N_CASES = sizeof cases / sizeof *cases, N_OTHERS = sizeof others / sizeof *others };

static bool has_kernel(void)
{
    return ebb_vector_isa_here()->product_f32->lanes >= 16;
}

/* ---- operands ---- */

/* One gradient, in F32 and in F64. */
typedef struct problem {
    const ebb_op *op;
    ebb_conv_grad_attrs attrs;
    ebb_type types[2], results[2]; /* of F32 */
    ebb_tensor wide[2];
    float *inputs[2]; /* channels last */
    ebb_operand operands[2];
} problem;

static ebb_shape shape_of_dy(const grad_case *c)
{
    const int n = c->x.rank - 2;
    ebb_shape dy = c->x;
    dy.dims[1] = c->w.dims[0];
    for (int d = 0; d < n; d++) {
        const ebb_ints *s = &c->conv.stride, *l = &c->conv.dilation, *p = &c->conv.padding;
        const int64_t stride = s->n ? s->values[s->n > 1 ? d : 0] : 1;
        const int64_t dilation = l->n ? l->values[l->n > 1 ? d : 0] : 1;
        const int64_t begin = p->n ? p->values[p->n > 1 ? d : 0] : 0;
        const int64_t end = p->n == 2 * n && n > 1 ? p->values[n + d] : begin;
        const int64_t reach = (c->w.dims[2 + d] - 1) * dilation + 1;
        dy.dims[2 + d] = (c->x.dims[2 + d] + begin + end - reach) / stride + 1;
    }
    return dy;
}

static void make_problem(const grad_case *c, bool has_bias, problem *p)
{
    *p = (problem){ .op = has_bias ? &ebb_op_conv_weight_bias_grad : &ebb_op_conv_weight_grad,
                    .attrs = { .conv = c->conv, .size = { .n = c->x.rank - 2 } } };
    for (int d = 2; d < c->x.rank; d++)
        p->attrs.size.values[d - 2] = c->w.dims[d];
    const ebb_shape shapes[2] = { c->x, shape_of_dy(c) };
    uint32_t seed = 7;
    for (int i = 0; i < 2; i++) {
        const int64_t n = ebb_shape_elements(&shapes[i]);
        p->types[i] = ebb_type_of(EBB_F32, shapes[i]);
        ck_assert_int_eq(ebb_tensor_init(&p->wide[i], ebb_type_of(EBB_F64, shapes[i]), NULL), 0);
        float *plain = malloc(((size_t)n + 1) * sizeof *plain);
        p->inputs[i] = malloc(((size_t)n + 1) * sizeof(float));
        for (int64_t k = 0; k < n; k++) {
            seed = seed * 1664525u + 1013904223u;
            plain[k] = (float)((double)(seed >> 8) / (1 << 23) - 1);
            ebb_tensor_set(&p->wide[i], k, (double)plain[k]);
        }
        const ebb_layout last = ebb_layout_channels_last(&shapes[i]);
        p->operands[i] = (ebb_operand){ .type = &p->types[i], .layout = last };
        ebb_layout_write(p->inputs[i], plain, &last, &p->types[i]);
        free(plain);
    }
    p->results[0] = ebb_type_of(EBB_F32, c->w);
    p->results[1] = ebb_type_of(EBB_F32, (ebb_shape){ 1, { c->w.dims[0] } });
}

static void finish_problem(problem *p)
{
    for (int i = 0; i < 2; i++) {
        free(p->inputs[i]);
        ebb_tensor_finish(&p->wide[i]);
    }
}

/* OIhw16i16o */
static ebb_layout blocks_of(const ebb_shape *shape)
{
    ebb_layout layout = ebb_layout_dense(shape);
    for (int i = 0; i < shape->rank; i++)
        layout.strides[i] *= i ? 256 : 16;
    layout.n_blocks = 2;
    layout.blocks[0] = (ebb_block){ 1, 16 };
    layout.blocks[1] = (ebb_block){ 0, 16 };
    return layout;
}

static ebb_region region_of(const problem *p, bool in_blocks, int n_threads, ebb_operand *results)
{
    for (int r = 0; r < 2; r++)
        results[r] = ebb_operand_dense(&p->results[r]);
    if (in_blocks)
        results[0].layout = blocks_of(&p->results[0].shape);
    return (ebb_region){ .op = p->op,
                         .attrs = &p->attrs,
                         .n_inputs = 2,
                         .n_results = p->op->n_results,
                         .inputs = p->operands,
                         .results = results,
                         .n_threads = n_threads };
}

/* ---- running ---- */

enum { MOST_BLOCKS = 16, GUARD = 16 };

typedef struct memory {
    void *blocks[MOST_BLOCKS];
    int n, fail_at;
} memory;

static void *get(void *context, size_t n_bytes)
{
    memory *m = context;
    if (m->n == m->fail_at)
        return NULL;
    ck_assert_int_lt(m->n, MOST_BLOCKS);
    return m->blocks[m->n++] = calloc(1, n_bytes + 1);
}

static void release(memory *m)
{
    while (m->n > 0)
        free(m->blocks[--m->n]);
}

/* Elements with a guard behind them. */
static float *get_result(int64_t n)
{
    float *result = aligned_alloc(64, ((size_t)n + GUARD + 15) / 16 * 64);
    for (int64_t i = 0; i < n + GUARD; i++)
        result[i] = NAN;
    return result;
}

/* Runs it twice over scratch memory that is full of NaN; the results are row-major. */
static void run_problem(const problem *p, const ebb_vector_isa *isa, bool in_blocks, int n_threads,
                        float *dw, float *db)
{
    ebb_error error = { 0 };
    ebb_operand operands[2];
    const ebb_region region = region_of(p, in_blocks, n_threads, operands);
    ebb_backend limited = ebb_backend_native;
    limited.user = isa;
    memory m = { .fail_at = -1 };
    const ebb_compile_env env = { .allocate = get, .context = &m, .error = &error };
    ebb_kernel kernel = { 0 };
    REQUIRE(limited.score(&limited, &region) == EBB_SCORE_BEST + 1, "it is not for this case");
    REQUIRE(!limited.compile(&limited, &region, &env, &kernel), "%s", error.message);
    REQUIRE(kernel.n_reorders == !in_blocks && kernel.never_fails, "other promises");
    const int64_t n = ebb_shape_elements(&p->results[0].shape);
    const int64_t n_biases = p->results[1].shape.dims[0];
    float *results[2] = { get_result(n), get_result(n_biases) };
    const size_t n_scratch = (kernel.scratch_bytes + 63) / 64 * 64;
    char *scratch = aligned_alloc(64, n_scratch + 64);
    memset(scratch, 0xFF, n_scratch + 64);
    for (int again = 0; again < 2; again++) {
        const ebb_call call = { kernel.state, (void *[]){ p->inputs[0], p->inputs[1] },
                                (void *[]){ results[0], results[1] }, scratch, &error };
        REQUIRE(!kernel.run(&call), "%s", error.message);
    }
    for (int i = 0; i < 64; i++)
        REQUIRE((unsigned char)scratch[n_scratch + (size_t)i] == 0xFF, "wrote behind the scratch");
    for (int i = 0; i < GUARD; i++)
        REQUIRE(isnan(results[0][n + i]) && isnan(results[1][n_biases + i]),
                "wrote behind a result");
    ebb_layout_read(dw, results[0], &operands[0].layout, &p->results[0]);
    memcpy(db, results[1], (size_t)n_biases * sizeof *db);
    free(scratch);
    free(results[0]);
    free(results[1]);
    release(&m);
}

static void check_errors(const float *have, const ebb_tensor *want, double tolerance,
                         const char *label)
{
    const int64_t n = ebb_shape_elements(&want->type.shape);
    double scale = 0;
    for (int64_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(ebb_tensor_get(want, i)));
    for (int64_t i = 0; i < n; i++)
        REQUIRE(fabs((double)have[i] - ebb_tensor_get(want, i)) <= tolerance * scale,
                "%s, element %lld: %g instead of %g", label, (long long)i, (double)have[i],
                ebb_tensor_get(want, i));
}

START_TEST(agrees_with_the_reference)
{
    if (!has_kernel())
        SKIP_TEST("the kernel is for vectors of 16 floats");
    problem p;
    const bool has_bias = _i % 2;
    make_problem(&cases[_i / 2], has_bias, &p);
    const int64_t n = ebb_shape_elements(&p.results[0].shape);
    const int64_t n_biases = p.results[1].shape.dims[0];
    ebb_error error = { 0 };
    ebb_tensor expected[EBB_MAX_RESULTS];
    const kernel_case wide = { p.op, &p.attrs, 2, p.wide, p.op->name, 0 };
    ck_assert_int_eq(run_kernel(&wide, &ebb_backend_reference, 1, -1, expected, NULL, &error), 0);
    float *dw[2], *db[2];
    for (int t = 0; t < 2; t++) {
        dw[t] = malloc((size_t)n * sizeof(float));
        db[t] = malloc((size_t)n_biases * sizeof(float));
    }
    for (int level = 0; ebb_vector_isa_at(level); level++)
        for (int in_blocks = 0; in_blocks < 2; in_blocks++) {
            const ebb_vector_isa *isa = ebb_vector_isa_at(level);
            for (int t = 0; t < 2; t++)
                run_problem(&p, isa, in_blocks, t + 1, dw[t], db[t]);
            check_errors(dw[0], &expected[0], 2e-6, isa->name);
            REQUIRE(memcmp(dw[0], dw[1], (size_t)n * sizeof(float)) == 0,
                    "%s: other bits with two threads", isa->name);
            if (!has_bias)
                continue;
            check_errors(db[0], &expected[1], 3e-7, isa->name);
            REQUIRE(memcmp(db[0], db[1], (size_t)n_biases * sizeof(float)) == 0,
                    "%s: other bits with two threads", isa->name);
        }
    for (int t = 0; t < 2; t++) {
        free(dw[t]);
        free(db[t]);
    }
    for (int r = 0; r < p.op->n_results; r++)
        ebb_tensor_finish(&expected[r]);
    finish_problem(&p);
}
END_TEST

/* Thousands of summands for each weight: partial sums keep errors small. */
START_TEST(large_batches_stay_exact)
{
    if (!has_kernel())
        SKIP_TEST("the kernel is for vectors of 16 floats");
    problem p;
    make_problem(&(grad_case)SQUARE(600, 3, 64), false, &p);
    for (int i = 0; i < 2; i++) /* all positive: the sums grow */
        for (int64_t k = 0; k < ebb_shape_elements(&p.types[i].shape); k++) {
            p.inputs[i][k] = fabsf(p.inputs[i][k]);
            ebb_tensor_set(&p.wide[i], k, fabs(ebb_tensor_get(&p.wide[i], k)));
        }
    const int64_t n = ebb_shape_elements(&p.results[0].shape);
    float *dw = malloc((size_t)n * sizeof *dw), db[64];
    ebb_error error = { 0 };
    ebb_tensor expected[EBB_MAX_RESULTS];
    const kernel_case wide = { p.op, &p.attrs, 2, p.wide, p.op->name, 0 };
    ck_assert_int_eq(run_kernel(&wide, &ebb_backend_reference, 1, -1, expected, NULL, &error), 0);
    run_problem(&p, NULL, true, 2, dw, db);
    check_errors(dw, &expected[0], 2e-6, "large batch");
    ebb_tensor_finish(&expected[0]);
    free(dw);
    finish_problem(&p);
}
END_TEST

/* ---- when ---- */

START_TEST(leaves_the_rest)
{
    problem p;
    ebb_operand results[2];
    ebb_layout inputs[2], wished[2];
    const ebb_backend *native = &ebb_backend_native;
    make_problem(&others[_i], false, &p);
    const ebb_region region = region_of(&p, false, 1, results);
    ck_assert_int_le(native->score(native, &region), EBB_SCORE_BEST);
    ck_assert(!native->layouts(native, &region, inputs, wished));
    finish_problem(&p);
}
END_TEST

START_TEST(wishes_channels_last)
{
    if (!has_kernel())
        SKIP_TEST("the kernel is for vectors of 16 floats");
    problem p;
    ebb_operand results[2], plain[2];
    const ebb_backend *native = &ebb_backend_native;
    make_problem(&(grad_case)SQUARE(2, 8, 64), true, &p);
    ebb_region region = region_of(&p, true, 1, results);
    for (int i = 0; i < 2; i++)
        plain[i] = ebb_operand_dense(&p.types[i]);
    region.inputs = plain;
    ck_assert_int_le(native->score(native, &region), EBB_SCORE_BEST);
    ebb_layout inputs[2] = { plain[0].layout, plain[1].layout };
    ebb_layout wished[2] = { results[0].layout, results[1].layout };
    ck_assert(native->layouts(native, &region, inputs, wished));
    for (int i = 0; i < 2; i++) {
        ck_assert(ebb_layout_agrees(&inputs[i], &p.operands[i].layout, &p.types[i].shape));
        ck_assert(ebb_layout_agrees(&wished[i], &results[i].layout, &p.results[i].shape));
    }
    /* Other blocks of weights are none of its own. */
    ebb_layout other = results[0].layout;
    other.blocks[0].axis = 0;
    other.blocks[1].axis = 1;
    wished[0] = other;
    ck_assert(native->layouts(native, &region, inputs, wished));
    ck_assert(ebb_layout_is_dense(&wished[0], &p.results[0].shape));
    region.inputs = p.operands;
    results[0].layout = other;
    ck_assert_int_le(native->score(native, &region), EBB_SCORE_BEST);
    /* Images in blocks stay with those who have them so. */
    region.inputs = plain;
    plain[0].layout = ebb_layout_channel_blocks(&p.types[0].shape, 16);
    ck_assert(!native->layouts(native, &region, inputs, wished));
    finish_problem(&p);
}
END_TEST

START_TEST(memory_may_end)
{
    if (!has_kernel())
        SKIP_TEST("the kernel is for vectors of 16 floats");
    problem p;
    ebb_operand results[2];
    make_problem(&(grad_case)SQUARE(2, 4, 64), true, &p);
    const ebb_region region = region_of(&p, false, 2, results);
    ebb_status status = EBB_OUT_OF_MEMORY;
    int fail_at = 0;
    for (; status; fail_at++) {
        ebb_error error = { 0 };
        ebb_kernel kernel = { 0 };
        memory m = { .fail_at = fail_at };
        const ebb_compile_env env = { .allocate = get, .context = &m, .error = &error };
        status = ebb_backend_native.compile(&ebb_backend_native, &region, &env, &kernel);
        if (status) {
            ck_assert_int_eq(status, EBB_OUT_OF_MEMORY);
            ck_assert_str_eq(error.message, "out of memory for a kernel of conv_weight_bias_grad");
        }
        release(&m);
    }
    ck_assert_int_gt(fail_at, 2);
    finish_problem(&p);
}
END_TEST

/* A training step takes it, with weights, gradients and momenta in the same blocks. */
START_TEST(training_steps_take_it)
{
    if (!has_kernel())
        SKIP_TEST("the kernel is for vectors of 16 floats");
    ebb_graph *g = ebb_graph_create("step");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(8, 64, 4, 4));
    for (int i = 0; i < 2; i++) {
        char name[8];
        snprintf(name, sizeof name, "c%d", i);
        x = ebb_relu(ebb_nn_conv(x, 64,
                                 &(ebb_nn_conv_options){ .name = name,
                                                         .window = { 1, { 3 } },
                                                         .conv = { .padding = { 1, { 1 } } } }));
    }
    ebb_node loss = ebb_reduce_mean(ebb_square(x), EBB_ALL_AXES, false);
    ck_assert_int_eq(
        ebb_nn_minimize(loss, &(ebb_nn_rule){ .method = EBB_NN_MOMENTUM, .rate = 0.1 }), EBB_OK);
    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *e =
        compile_with(g, &(ebb_compile_options){ .fetches = &loss, .n_fetches = 1, .store = store });
    int n_found = 0;
    ebb_step_info step;
    for (int64_t i = 0; ebb_executable_step(e, i, &step); i++)
        if (strcmp(step.op, "conv_weight_bias_grad") == 0) {
            ck_assert_str_eq(step.backend, "native");
            n_found++;
        }
    ck_assert_int_eq(n_found, 2);
    /* The gradient of images may want the weights the other way round; nobody else. */
    ck_assert_int_le(ebb_executable_get_stats(e).n_kernel_reorders, 1);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("direct_weight_grad");
    TCase *tcase = tcase_create("kernel");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, agrees_with_the_reference, 0, 2 * N_CASES);
    tcase_add_test(tcase, large_batches_stay_exact);
    tcase_add_test(tcase, memory_may_end);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("choice");
    tcase_add_loop_test(tcase, leaves_the_rest, 0, N_OTHERS);
    tcase_add_test(tcase, wishes_channels_last);
    tcase_add_test(tcase, training_steps_take_it);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
