/* attention and its gradient as one kernel each: against the reference in F64, in the layouts of
 * heads, with any number of threads, and in a whole graph. */
#include "backends/native/vector/vector.h"
#include "support/kernels.h"
#include "support/runtime.h"

#include "backends/backends.h"
#include "ops/descriptors.h"
#include <math.h>

/* ---- kernels ---- */

/* clang-format off */
static const struct attention_case {
    ebb_shape q, k, v, y;
    ebb_attention_attrs attrs;
} cases[] = {
    /* blocks of queries and panels of keys that end within, more keys than are added up at once */
    { SHAPE(2, 2, 150, 24), SHAPE(2, 2, 450, 24), SHAPE(2, 2, 450, 33), SHAPE(2, 2, 150, 33), { 0, false } },
    { SHAPE(2, 3, 150, 33), SHAPE(2, 3, 150, 33), SHAPE(2, 3, 150, 24), SHAPE(2, 3, 150, 24), { 0, true } },
    { SHAPE(2, 2, 128, 64), SHAPE(2, 2, 128, 64), SHAPE(2, 2, 128, 64), SHAPE(2, 2, 128, 64), { 0, true } },
    { SHAPE(3, 2, 20, 7), SHAPE(3, 2, 140, 7), SHAPE(3, 2, 140, 1), SHAPE(3, 2, 20, 1), { 0.3, true } },
    { SHAPE(2, 3, 67, 1), SHAPE(2, 3, 40, 1), SHAPE(2, 3, 40, 70), SHAPE(2, 3, 67, 70), { 2, true } },
};
/* clang-format on */
enum { N_CASES = sizeof cases / sizeof *cases };

/* Numbers that are the same in F32, in -2 .. 2. */
static ebb_tensor make(ebb_dtype dtype, const ebb_shape *shape, uint32_t seed)
{
    ebb_tensor t;
    ck_assert_int_eq(ebb_tensor_init(&t, ebb_type_of(dtype, *shape), NULL), EBB_OK);
    for (int64_t i = 0; i < ebb_shape_elements(shape); i++) {
        seed = seed * 1664525u + 1013904223u;
        ebb_tensor_set(&t, i, ldexp(seed >> 16, -14) - 2);
    }
    return t;
}

/* Heads beside each other in each place, as they come out of a projection: [b, t, h, d] seen as
 * [b, h, t, d]. */
static ebb_layout heads_layout(const ebb_shape *shape)
{
    ebb_layout layout = ebb_layout_dense(shape);
    const int64_t *dims = shape->dims;
    layout.strides[1] = dims[3];
    layout.strides[2] = dims[1] * dims[3];
    return layout;
}

typedef struct setup {
    const ebb_op *op;
    int n_inputs;
    ebb_tensor wide[4], narrow[4], expected[3];
    ebb_layout layouts[7];
} setup;

static void set_up(setup *s, int number)
{
    const struct attention_case *c = &cases[number / 2];
    const ebb_shape *shapes[] = { &c->q, &c->k, &c->v, &c->y };
    ebb_error error = { 0 };
    const bool is_gradient = number % 2;
    s->op = is_gradient ? &ebb_op_attention_grad : &ebb_op_attention;
    s->n_inputs = s->op->n_inputs;
    for (int i = 0; i < s->n_inputs; i++) {
        s->wide[i] = make(EBB_F64, shapes[i], (uint32_t)i + 1);
        s->narrow[i] = make(EBB_F32, shapes[i], (uint32_t)i + 1);
        s->layouts[i] = heads_layout(shapes[i]);
    }
    for (int r = 0; r < s->op->n_results; r++)
        s->layouts[s->n_inputs + r] = heads_layout(is_gradient ? shapes[r] : &c->y);
    const kernel_case wide = { s->op, &c->attrs, s->n_inputs, s->wide, s->op->name, 0 };
    ck_assert_int_eq(run_kernel(&wide, &ebb_backend_reference, 1, -1, s->expected, NULL, &error),
                     EBB_OK);
}

static void finish_all(ebb_tensor *tensors, int n)
{
    for (int i = 0; i < n; i++)
        ebb_tensor_finish(&tensors[i]);
}

static void tear_down(setup *s)
{
    finish_all(s->wide, s->n_inputs);
    finish_all(s->narrow, s->n_inputs);
    finish_all(s->expected, s->op->n_results);
}

START_TEST(test_values)
{
    setup s;
    ebb_error error = { 0 };
    set_up(&s, _i);
    const kernel_case c = { s.op, &cases[_i / 2].attrs, s.n_inputs, s.narrow, s.op->name, 0 };
    for (int level = 0; ebb_vector_isa_at(level); level++) {
        ebb_tensor first[3], found[3];
        ebb_backend limited = ebb_backend_native;
        limited.user = ebb_vector_isa_at(level);
        for (int way = 0; way < 4; way++) { /* dense and as heads, one thread and three */
            const kernel_placement placement = { s.layouts, 0 };
            const int n_threads = way / 2 ? 3 : 1;
            ck_assert_msg(!run_placed_kernel(&c, way % 2 ? &placement : NULL, &limited, n_threads,
                                             -1, found, NULL, &error),
                          "%s", error.message);
            for (int r = 0; r < s.op->n_results; r++) {
                const int64_t n = ebb_shape_elements(&found[r].type.shape);
                double scale = 0;
                for (int64_t i = 0; i < n; i++)
                    scale = fmax(scale, fabs(ebb_tensor_get(&s.expected[r], i)));
                for (int64_t i = 0; i < n; i++) {
                    const double is = ebb_tensor_get(&found[r], i),
                                 should = ebb_tensor_get(&s.expected[r], i);
                    REQUIRE(fabs(is - should) <= 3e-6 * scale,
                            "%s, way %d, result %d [%lld]: %g instead of %g",
                            ebb_vector_isa_at(level)->name, way, r, (long long)i, is, should);
                }
                if (way == 0)
                    first[r] = found[r];
                else
                    ck_assert_msg(!memcmp(first[r].data, found[r].data, (size_t)n * sizeof(float)),
                                  "%s, way %d: other bits in result %d",
                                  ebb_vector_isa_at(level)->name, way, r);
            }
            if (way > 0)
                finish_all(found, s.op->n_results);
        }
        finish_all(first, s.op->n_results);
    }
    tear_down(&s);
}
END_TEST

/* Every allocation of the kernel fails in turn. */
START_TEST(test_memory_failure)
{
    setup s;
    ebb_tensor found[3];
    ebb_error error = { 0 };
    int n_failures = 0;
    set_up(&s, _i);
    const kernel_case c = { s.op, &cases[_i / 2].attrs, s.n_inputs, s.narrow, s.op->name, 0 };
    while (run_kernel(&c, &ebb_backend_native, 1, n_failures, found, NULL, &error)) {
        ck_assert_msg(strstr(error.message, "out of memory for a kernel of attention"), "%s",
                      error.message);
        n_failures++;
    }
    ck_assert_int_eq(n_failures, 1);
    finish_all(found, s.op->n_results);
    tear_down(&s);
}
END_TEST

/* Few scores, or few heads for many threads, are left to the parts. */
START_TEST(test_refused)
{
    static const struct {
        ebb_shape shape;
        ebb_attention_attrs attrs;
        int n_threads;
        bool is_taken[2]; /* forward, gradient */
    } limits[] = {
        { SHAPE(2, 47, 8), { 0, true }, 1, { false, false } },
        { SHAPE(2, 48, 8), { 0, true }, 1, { true, true } },
        { SHAPE(2, 255, 8), { 0, false }, 1, { false, false } },
        { SHAPE(2, 256, 8), { 0, false }, 1, { true, true } },
        { SHAPE(2, 512, 8), { 0, false }, 2, { true, true } },
        { SHAPE(2, 512, 8), { 0, false }, 3, { true, false } },
        { SHAPE(2, 511, 8), { 0, false }, 3, { true, true } },
        { SHAPE(0, 512, 8), { 0, false }, 1, { false, false } },
        { SHAPE(2, 512, 0), { 0, false }, 1, { false, false } },
    };
    static const ebb_dtype dtypes[] = { EBB_F32, EBB_F64 };
    for (size_t i = 0; i < 4 * sizeof limits / sizeof *limits; i++) {
        const int limit = (int)i / 4;
        const bool is_gradient = i & 1;
        const ebb_type type = ebb_type_of(dtypes[i >> 1 & 1], limits[limit].shape);
        const ebb_op *op = is_gradient ? &ebb_op_attention_grad : &ebb_op_attention;
        ebb_operand all[4];
        for (int k = 0; k < 4; k++)
            all[k] = (ebb_operand){ .type = &type, .layout = ebb_layout_dense(&type.shape) };
        const ebb_region region = { op,  &limits[limit].attrs,   op->n_inputs, op->n_results, all,
                                    all, limits[limit].n_threads };
        const int score = ebb_backend_native.score(&ebb_backend_native, &region);
        ck_assert_msg((score > EBB_SCORE_NONE) ==
                          (type.dtype == EBB_F32 && limits[limit].is_taken[is_gradient]),
                      "limit %d, %s %s: score %d", limit, op->name, ebb_dtype_name(type.dtype),
                      score);
    }
}
END_TEST

/* ---- in a graph ---- */

enum { BATCH = 2, LENGTH = 70, HEADS = 3, DIM = 24, WIDTH = HEADS * DIM };
enum { N_ELEMENTS = BATCH * LENGTH * WIDTH };

typedef struct outcome {
    float y[N_ELEMENTS], dx[3 * N_ELEMENTS]; /* of q, k or v alone: the first third */
    ebb_executable_stats stats;
} outcome;

/* Causal attention of q, k and v out of one projection x, its heads side by side again, and the
 * gradient to x; `only` >= 0: that of q, k or v alone, as [batch, heads, length, dim]. */
static void run_graph(const char *backend, int n_threads, int only, outcome *o)
{
    ebb_graph *g = ebb_graph_create("attention");
    const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(BATCH, LENGTH, 3 * WIDTH));
    const ebb_node dy = ebb_input(g, "dy", EBB_F32, EBB_SHAPE(BATCH, LENGTH, WIDTH));
    const ebb_node split = ebb_reshape(x, EBB_SHAPE(BATCH, LENGTH, 3, HEADS, DIM));
    ebb_node parts[3], fetches[2];
    for (int i = 0; i < 3; i++)
        parts[i] = ebb_transpose(ebb_reshape(ebb_slice_axis(split, 2, i, i + 1, 1),
                                             EBB_SHAPE(BATCH, LENGTH, HEADS, DIM)),
                                 EBB_AXES(0, 2, 1, 3));
    ebb_node y = ebb_scaled_dot_product_attention(parts[0], parts[1], parts[2], EBB_NONE,
                                                  (ebb_attention_attrs){ .causal = true });
    fetches[0] =
        ebb_reshape(ebb_transpose(y, EBB_AXES(0, 2, 1, 3)), EBB_SHAPE(BATCH, LENGTH, WIDTH));
    ck_assert_msg(
        !ebb_gradients_with(fetches, &dy, 1, only < 0 ? &x : &parts[only], 1, &fetches[1]), "%s",
        ebb_graph_message(g));
    ebb_executable *e = compile_with(
        g, &(ebb_compile_options){
               .fetches = fetches, .n_fetches = 2, .n_threads = n_threads, .backend = backend });
    ebb_tensor data = make(EBB_F32, &ebb_node_type(x)->shape, 7),
               cotangent = make(EBB_F32, &ebb_node_type(dy)->shape, 8);
    run(e, (ebb_feed[]){ FEED(x, data.data), FEED(dy, cotangent.data) }, 2,
        (ebb_fetch[]){ FETCH(fetches[0], o->y), FETCH(fetches[1], o->dx) }, 2);
    o->stats = ebb_executable_get_stats(e);
    ebb_tensor_finish(&data);
    ebb_tensor_finish(&cotangent);
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
}

static void check_near(const char *what, const float *found, const float *expected, int n)
{
    double scale = 0;
    for (int i = 0; i < n; i++)
        scale = fmax(scale, fabs((double)expected[i]));
    for (int i = 0; i < n; i++)
        REQUIRE(fabs((double)found[i] - (double)expected[i]) <= 1e-5 * scale,
                "%s [%d]: %g instead of %g", what, i, (double)found[i], (double)expected[i]);
}

/* One step each; the heads are read and written where projections have them, and only the
 * gradients are put side by side. */
START_TEST(test_steps)
{
    static outcome expected, one, two;
    run_graph("reference", 1, -1, &expected);
    run_graph("onednn", 1, -1, &one);
    run_graph("onednn", 2, -1, &two);
    check_near("y", one.y, expected.y, N_ELEMENTS);
    check_near("dx", one.dx, expected.dx, 3 * N_ELEMENTS);
    ck_assert_int_eq(memcmp(one.y, two.y, sizeof one.y), 0);
    ck_assert_int_eq(memcmp(one.dx, two.dx, sizeof one.dx), 0);
    ck_assert_msg(one.stats.n_steps == 3 && one.stats.n_copies == 0, "%lld steps, %lld copies",
                  (long long)one.stats.n_steps, (long long)one.stats.n_copies);
}
END_TEST

/* What is not asked for is not computed, and what is has the same values. */
START_TEST(test_one_gradient)
{
    static outcome expected, found;
    run_graph("reference", 1, _i, &expected);
    run_graph("onednn", 1, _i, &found);
    check_near("gradient", found.dx, expected.dx, N_ELEMENTS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("attention");
    TCase *kernels = tcase_create("kernels");
    tcase_add_loop_test(kernels, test_values, 0, 2 * N_CASES);
    tcase_add_loop_test(kernels, test_memory_failure, 0, 2);
    tcase_add_test(kernels, test_refused);
    suite_add_tcase(suite, kernels);
    TCase *graphs = tcase_create("graphs");
    tcase_add_test(graphs, test_steps);
    tcase_add_loop_test(graphs, test_one_gradient, 0, 3);
    suite_add_tcase(suite, graphs);
    return run_suite(suite);
}
