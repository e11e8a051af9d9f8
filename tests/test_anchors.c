/* Convolutions and matrix products with what follows them, against the same without: in the
 * result's memory and beside it, channels first and last, with one thread and two. */
#include <ebb/compile.h>
#include <ebb/ops.h>

#include "support/runner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_X = 4 * 16 * 6 * 6 };

static float *make_values(int n)
{
    float *values = malloc((size_t)n * sizeof *values);
    for (int i = 0; i < n; i++)
        values[i] = (float)((i * 37 + i / 7) % 101) / 50 - 1;
    return values;
}

/* Whether a step has the op, and with what implementation. */
static bool has_step(const ebb_executable *e, const char *op)
{
    ebb_step_info info;
    for (int64_t i = 0; ebb_executable_step(e, i, &info); i++) {
        ck_assert_msg(!strstr(info.implementation, "ref"), "%s: %s", info.op, info.implementation);
        if (!strcmp(info.op, op))
            return true;
    }
    return false;
}

typedef ebb_node (*activation)(ebb_node);

/* y = f(conv(h, w, b) + h), h = relu(conv(x, w)), and sum(y^2)'s gradient to x. */
static void run_block(activation f, bool fetch_residual, bool skip_anchors, int n_threads, float *y,
                      float *dx)
{
    ebb_graph *g = ebb_graph_create("block");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(4, 16, 6, 6));
    ebb_node w = ebb_input(g, "w", EBB_F32, EBB_SHAPE(16, 16, 3, 3));
    ebb_node b = ebb_input(g, "b", EBB_F32, EBB_SHAPE(16));
    const ebb_conv_attrs same = { .padding = { 1, { 1 } } };
    ebb_node h = ebb_relu(ebb_conv2d(x, w, EBB_NONE, same));
    ebb_node t = ebb_add(ebb_conv2d(h, w, b, same), h), z = f ? f(t) : t, d;
    ebb_node loss = ebb_reduce_sum(ebb_square(z), (ebb_axes){ 0 }, false);
    ck_assert_int_eq(ebb_gradients(loss, &x, 1, &d), EBB_OK);
    const ebb_node fetches[] = { z, d, h };
    const int n = fetch_residual ? 3 : 2;
    ebb_executable *e;
    ck_assert_int_eq(
        ebb_compile(g,
                    &(ebb_compile_options){ .fetches = fetches,
                                            .n_fetches = n,
                                            .skip_fusions = skip_anchors ? "anchors" : NULL,
                                            .n_threads = n_threads },
                    &e),
        EBB_OK);
    ck_assert_int_eq(has_step(e, "conv_epilogue"), !skip_anchors);
    float *values[] = { make_values(N_X), make_values(16 * 16 * 9), make_values(16) };
    float *residual = malloc(N_X * sizeof *residual);
    const ebb_feed feeds[] = {
        { x, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(4, 16, 6, 6), values[0]) },
        { w, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(16, 16, 3, 3), values[1]) },
        { b, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(16), values[2]) },
    };
    const ebb_fetch out[] = {
        { z, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(4, 16, 6, 6), y) },
        { d, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(4, 16, 6, 6), dx) },
        { h, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(4, 16, 6, 6), residual) },
    };
    for (int run = 0; run < 2; run++)
        ck_assert_int_eq(ebb_run(e, feeds, 3, out, n), EBB_OK);
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
    free(residual);
    for (int i = 0; i < 3; i++)
        free(values[i]);
}

static void expect_close(const float *a, const float *b, int n)
{
    double most = 0;
    for (int i = 0; i < n; i++)
        most = fmax(most, fabs((double)b[i]));
    for (int i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= 1e-5 * most)) /* an assertion each is slow */
            ck_abort_msg("%d: %g, %g", i, (double)a[i], (double)b[i]);
}

START_TEST(anchored_is_not_anchored)
{
    static const activation activations[] = { NULL, (ebb_relu), (ebb_sigmoid), (ebb_tanh) };
    float *values[4];
    for (int i = 0; i < 4; i++)
        values[i] = malloc(N_X * sizeof **values);
    for (int fetch = 0; fetch < 2; fetch++)
        for (int n_threads = 1; n_threads <= 2; n_threads++) {
            run_block(activations[_i], fetch, false, n_threads, values[0], values[1]);
            run_block(activations[_i], fetch, true, n_threads, values[2], values[3]);
            expect_close(values[0], values[2], N_X);
            expect_close(values[1], values[3], N_X);
        }
    for (int i = 0; i < 4; i++)
        free(values[i]);
}
END_TEST

/* h = relu(a w + b), y = f(h v + b + h), and the gradients of sum(y^2) to w and to a: that of w is
 * a sum of two products if `shares` makes both products use it. m rows, n columns everywhere. */
static void run_products(activation f, int m, int n, bool shares, bool steady, bool skip_anchors,
                         int n_threads, float *y, float *dw)
{
    const ebb_type matrix = { EBB_F32, { 2, { n, n } } };
    ebb_graph *g = ebb_graph_create("products");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node a = ebb_input(g, "a", EBB_F32, EBB_SHAPE(m, n)), w, v;
    ebb_node b = ebb_input(g, "b", EBB_F32, EBB_SHAPE(n));
    float *w_values = make_values(n * n), *values[] = { make_values(m * n), make_values(n) };
    if (steady) {
        w = ebb_variable(g, "w", EBB_F32, matrix.shape, NULL);
    } else {
        w = ebb_input(g, "w", EBB_F32, matrix.shape);
    }
    v = shares ? w : ebb_mul(w, ebb_full_like(w, 0.5));
    ebb_node h = ebb_relu(ebb_add(ebb_matmul(a, w), b));
    ebb_node t = ebb_add(ebb_add(ebb_matmul(h, v), b), h), z = f ? f(t) : t, d;
    ebb_node loss = ebb_reduce_sum(ebb_square(z), (ebb_axes){ 0 }, false);
    ck_assert_int_eq(ebb_gradients(loss, &w, 1, &d), EBB_OK);
    const ebb_node fetches[] = { z, d };
    ebb_executable *e;
    ck_assert_int_eq(
        ebb_compile(g,
                    &(ebb_compile_options){ .fetches = fetches,
                                            .n_fetches = 2,
                                            .store = store,
                                            .skip_fusions = skip_anchors ? "anchors" : NULL,
                                            .n_threads = n_threads },
                    &e),
        EBB_OK);
    ck_assert_int_eq(has_step(e, "matmul_epilogue"), !skip_anchors);
    const ebb_tensor value = ebb_tensor_borrow(EBB_F32, matrix.shape, w_values);
    if (steady)
        ck_assert_int_eq(ebb_store_set(store, "w", &value), EBB_OK);
    const ebb_feed feeds[] = {
        { a, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(m, n), values[0]) },
        { b, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(n), values[1]) },
        { w, value },
    };
    const ebb_fetch out[] = {
        { z, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(m, n), y) },
        { d, ebb_tensor_borrow(EBB_F32, matrix.shape, dw) },
    };
    for (int run = 0; run < 2; run++)
        ck_assert_int_eq(ebb_run(e, feeds, steady ? 2 : 3, out, 2), EBB_OK);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
    free(w_values);
    free(values[0]);
    free(values[1]);
}

/* Rows: few, so that steady weights are packed; many, so that the result is large. */
START_TEST(products_with_what_follows)
{
    static const activation activations[] = { NULL, (ebb_relu), (ebb_sigmoid), (ebb_tanh) };
    static const int rows[] = { 48, 1100 };
    const int m = rows[_i % 2], n = _i / 2 ? 256 : 192;
    float *y[2], *d[2];
    for (int i = 0; i < 2; i++) {
        y[i] = malloc((size_t)(m * n) * sizeof **y);
        d[i] = malloc((size_t)(n * n) * sizeof **d);
    }
    for (int variant = 0; variant < 8; variant++) {
        const bool shares = variant & 1, steady = variant & 2;
        const int n_threads = variant & 4 ? 2 : 1;
        for (int way = 0; way < 2; way++)
            run_products(activations[variant % 4], m, n, shares, steady, way, n_threads, y[way],
                         d[way]);
        expect_close(y[0], y[1], m * n);
        expect_close(d[0], d[1], n * n);
    }
    for (int i = 0; i < 2; i++) {
        free(y[i]);
        free(d[i]);
    }
}
END_TEST

/* F64: only plain loops would take one. */
START_TEST(no_backend_no_anchor)
{
    ebb_graph *g = ebb_graph_create("plain");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(1, 2, 5));
    ebb_node w = ebb_input(g, "w", EBB_F64, EBB_SHAPE(3, 2, 2));
    ebb_node y = ebb_relu(ebb_conv1d(x, w, EBB_NONE, ((ebb_conv_attrs){ .groups = 1 })));
    ebb_executable *e;
    ck_assert_int_eq(ebb_compile(g, &(ebb_compile_options){ .fetches = &y, .n_fetches = 1 }, &e),
                     EBB_OK);
    ck_assert(!has_step(e, "conv_epilogue"));
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
}
END_TEST

/* Each name leaves out its fusion and no other. */
START_TEST(single_fusions_left_out)
{
    static const struct {
        const char *skip;
        bool has_product, has_add, has_relu, has_program; /* as steps of their own */
    } cases[] = {
        { NULL, false, false, false, true },
        { "relu", false, false, true, true },
        { "bias,residual", true, false, false, true }, /* the addition goes into a program */
        { "residual,relu,programs", false, true, true, false },
        { "anchors", true, false, false, true },
        { "programs,anchors", true, true, true, false },
    };
    const int at = _i;
    ebb_graph *g = ebb_graph_create("switches");
    ebb_node a = ebb_input(g, "a", EBB_F32, EBB_SHAPE(128, 160));
    ebb_node b = ebb_input(g, "b", EBB_F32, EBB_SHAPE(160, 160));
    ebb_node bias = ebb_input(g, "bias", EBB_F32, EBB_SHAPE(160));
    ebb_node r = ebb_input(g, "r", EBB_F32, EBB_SHAPE(128, 160));
    ebb_node y = ebb_relu(ebb_add(ebb_add(ebb_matmul(a, b), bias), r));
    ebb_node z = ebb_exp(ebb_sqrt(r)), fetches[] = { y, z };
    ebb_executable *e;
    const ebb_compile_options o = {
        .fetches = fetches, .n_fetches = 2, .n_threads = 1, .skip_fusions = cases[at].skip
    };
    ck_assert_int_eq(ebb_compile(g, &o, &e), EBB_OK);
    ck_assert_int_eq(has_step(e, "matmul"), cases[at].has_product);
    ck_assert_int_eq(has_step(e, "add"), cases[at].has_add);
    ck_assert_int_eq(has_step(e, "relu"), cases[at].has_relu);
    ck_assert_int_eq(has_step(e, "fused"), cases[at].has_program);
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(unknown_fusion)
{
    static const char *const bad[] = { "gelu", "relu,,bias", "relu,residua",
                                       "a name that is longer than any name of a fusion can be" };
    static const char *const named[] = { "\"gelu\"", "\"\"", "\"residua\"",
                                         "\"a name that is longer than any name of \"" };
    ebb_graph *g = ebb_graph_create("switches");
    ebb_node y = ebb_exp(ebb_input(g, "a", EBB_F32, EBB_SHAPE(2)));
    for (int i = 0; i < 4; i++) {
        ebb_executable *e;
        ck_assert_int_eq(
            ebb_compile(
                g, &(ebb_compile_options){ .fetches = &y, .n_fetches = 1, .skip_fusions = bad[i] },
                &e),
            EBB_BAD_ARGUMENT);
        ck_assert_msg(strstr(ebb_graph_message(g), "skip_fusions: there is no fusion ") &&
                          strstr(ebb_graph_message(g), named[i]),
                      "%s", ebb_graph_message(g));
    }
    ebb_graph_destroy(g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("anchors");
    TCase *c = tcase_create("anchors");
    tcase_add_loop_test(c, anchored_is_not_anchored, 0, 4);
    tcase_add_loop_test(c, products_with_what_follows, 0, 4);
    tcase_add_loop_test(c, single_fusions_left_out, 0, 6);
    tcase_add_test(c, unknown_fusion);
    tcase_add_test(c, no_backend_no_anchor);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
