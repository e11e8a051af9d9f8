/* Losses, normalizations, attention and dropout beyond their samples: extreme values, builders,
 * compiled graphs against the interpreter. */
#include "graph/interpret.h"
#include "tests/support/runtime.h"
#include "tests/support/samples.h"
#include <math.h>
#include <stdlib.h>

#define LIST(...)                                                                                  \
    (const double[])                                                                               \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static ebb_node given(ebb_graph *g, ebb_shape shape, const double *values)
{
    return ebb_constant(g, EBB_F64, shape, values);
}

/* Asserts the values of a node of constants. */
static void assert_values(ebb_node node, const double *expected)
{
    ebb_error error;
    ck_assert_msg(ebb_graph_status(node.graph) == EBB_OK, "%s", ebb_graph_message(node.graph));
    ebb_interpreter *in = ebb_interpreter_create(node.graph, NULL);
    ck_assert_msg(ebb_interpreter_run(in, &node, 1, &error) == EBB_OK, "%s", error.message);
    const ebb_tensor *have = ebb_interpreter_get(in, node);
    for (int64_t i = 0; i < ebb_shape_elements(&have->type.shape); i++)
        ck_assert_msg(nearly_equal(ebb_tensor_get(have, i), expected[i], 1e-14, 1e-15),
                      "element %lld: %.17g, not %.17g", (long long)i, ebb_tensor_get(have, i),
                      expected[i]);
    ebb_interpreter_destroy(in);
}

static void assert_gradient(ebb_node y, ebb_node x, const double *expected)
{
    ebb_node one = ebb_full_like(y, 1), g;
    ck_assert_msg(ebb_gradients_with(&y, &one, 1, &x, 1, &g) == EBB_OK, "%s",
                  ebb_graph_message(y.graph));
    assert_values(g, expected);
}

static void assert_refused(ebb_graph *g, ebb_status status, const char *part)
{
    ck_assert_msg(ebb_graph_status(g) == status, "%s: %s", ebb_status_name(ebb_graph_status(g)),
                  ebb_graph_message(g));
    CHECK_TEXT(ebb_graph_message(g), part);
    ebb_graph_destroy(g);
}

/* ---- extreme values ---- */

START_TEST(binary_cross_entropy_at_the_edge)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = given(g, EBB_SHAPE(6), LIST(1000, 1000, -1000, -1000, 0, 0));
    ebb_node t = given(g, EBB_SHAPE(6), LIST(1, 0, 1, 0, 0, 1));
    ebb_node loss = ebb_binary_cross_entropy(x, t, EBB_REDUCTION_NONE);
    assert_values(loss, LIST(0, 1000, 1000, 0, log(2), log(2)));
    assert_gradient(loss, x, LIST(0, 1, -1, 0, 0.5, -0.5));
    assert_gradient(loss, t, LIST(-1000, -1000, 1000, 1000, 0, 0));
    ebb_node weights = given(g, EBB_SHAPE(1), LIST(2));
    ebb_node weighted = ebb_weighted_binary_cross_entropy(x, t, weights, EBB_REDUCTION_SUM);
    assert_values(weighted, LIST(4000 + 4 * log(2)));
    assert_gradient(weighted, x, LIST(0, 2, -2, 0, 1, -1));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(softmax_cross_entropy_at_the_edge)
{
    ebb_graph *g = ebb_graph_create("g");
    const int64_t indices[] = { 0, 1, -7 };
    ebb_node x = given(g, EBB_SHAPE(3, 2), LIST(1000, -1000, 1000, -1000, NAN, INFINITY));
    ebb_node t = ebb_constant(g, EBB_I64, EBB_SHAPE(3), indices);
    const ebb_cross_entropy_attrs ignore = { .ignore = true, .ignore_index = -7 };
    ebb_node loss = ebb_softmax_cross_entropy_with(x, t, ignore);
    assert_values(loss, LIST(1000));
    assert_gradient(loss, x, LIST(0, 0, 0.5, -0.5, 0, 0));
    ebb_node weights = given(g, EBB_SHAPE(2), LIST(3, 1));
    loss = ebb_weighted_softmax_cross_entropy(x, t, weights, ignore);
    assert_values(loss, LIST(500));
    assert_gradient(loss, x, LIST(0, 0, 0.25, -0.25, 0, 0));
    /* (3 * 0 + 1 * 2000) / (3 + 1) by its weights: (0 - 500) / 4 and (2000 - 500) / 4 */
    assert_gradient(loss, weights, LIST(-125, 375));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(divergence_and_huber_at_the_edge)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node log_q = given(g, EBB_SHAPE(3), LIST(-1000, -INFINITY, 0));
    ebb_node p = given(g, EBB_SHAPE(3), LIST(1, 0, 0));
    ebb_node loss = ebb_kl_divergence(log_q, p, EBB_REDUCTION_SUM);
    assert_values(loss, LIST(1000));
    assert_gradient(loss, log_q, LIST(-1, 0, 0));
    assert_gradient(loss, p, LIST(1001, 0, 0));
    ebb_node x = given(g, EBB_SHAPE(4), LIST(1e300, -1e300, 0, 1));
    ebb_node zero = ebb_full_like(x, 0);
    loss = ebb_huber_loss(x, zero, 2, EBB_REDUCTION_NONE);
    assert_values(loss, LIST(2e300, 2e300, 0, 0.5));
    assert_gradient(loss, x, LIST(2, -2, 0, 1));
    assert_gradient(ebb_mae_loss(x, zero, EBB_REDUCTION_MEAN), x, LIST(0.25, -0.25, 0, 0.25));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(constant_rows_are_normalized_to_zero)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = given(g, EBB_SHAPE(2, 2), LIST(7, 7, 0, 0));
    ebb_node y = ebb_layer_norm(x, EBB_NONE, EBB_NONE, EBB_AXES(-1), 1e-4);
    assert_values(y, LIST(0, 0, 0, 0));
    assert_gradient(y, x, LIST(0, 0, 0, 0));
    x = given(g, EBB_SHAPE(1, 2), LIST(0, 0));
    y = ebb_rms_norm(x, given(g, EBB_SHAPE(2), LIST(1, 3)), EBB_AXES(1), 1e-4);
    assert_values(y, LIST(0, 0));
    assert_gradient(y, x, LIST(100, 300));
    ebb_graph_destroy(g);
}
END_TEST

/* ---- attention ---- */

START_TEST(a_query_that_sees_nothing_has_no_gradient)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node q = given(g, EBB_SHAPE(2, 1), LIST(1000, 3));
    ebb_node k = given(g, EBB_SHAPE(2, 1), LIST(1000, -1000));
    ebb_node v = given(g, EBB_SHAPE(2, 1), LIST(5, 8));
    ebb_node mask = given(g, EBB_SHAPE(2, 2), LIST(0, 0, -INFINITY, -INFINITY));
    ebb_node y = ebb_scaled_dot_product_attention(q, k, v, mask, ((ebb_attention_attrs){ 0 }));
    assert_values(y, LIST(5, 0));
    assert_gradient(y, q, LIST(0, 0));
    assert_gradient(y, k, LIST(0, 0));
    assert_gradient(y, v, LIST(1, 0));
    assert_gradient(y, mask, LIST(0, 0, 0, 0));
    ebb_graph_destroy(g);
}
END_TEST

static ebb_node noise(ebb_graph *g, ebb_shape shape, int64_t stream)
{
    const int64_t zero = 0;
    return ebb_random_normal(ebb_constant(g, EBB_I64, EBB_SCALAR, &zero), EBB_F64, shape, 1,
                             stream);
}

/* Causal, BOOL and broadcast masks are the additive mask that they stand for. */
START_TEST(masks_agree)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node q = noise(g, EBB_SHAPE(2, 3, 4), 0), k = noise(g, EBB_SHAPE(2, 3, 4), 1);
    ebb_node v = noise(g, EBB_SHAPE(2, 3, 5), 2);
    const uint8_t seen[] = { 1, 0, 0, 1, 1, 0, 1, 1, 1 }, keys[] = { 1, 0, 1 };
    const ebb_attention_attrs attrs = { .scale = 0.7 }, causal = { .scale = 0.7, .causal = true };
    ebb_node bools = ebb_constant(g, EBB_BOOL, EBB_SHAPE(3, 3), seen);
    ebb_node numbers =
        given(g, EBB_SHAPE(1, 3, 3), LIST(0, -INFINITY, -INFINITY, 0, 0, -INFINITY, 0, 0, 0));
    ebb_node of_keys = ebb_constant(g, EBB_BOOL, EBB_SHAPE(3), keys);
    ebb_node ys[] = { ebb_scaled_dot_product_attention(q, k, v, EBB_NONE, causal),
                      ebb_scaled_dot_product_attention(q, k, v, bools, attrs),
                      ebb_scaled_dot_product_attention(q, k, v, numbers, attrs),
                      ebb_scaled_dot_product_attention(q, k, v, of_keys, causal),
                      ebb_scaled_dot_product_attention(q, k, v, ebb_logical_and(bools, of_keys),
                                                       attrs) };
    ck_assert_msg(ebb_graph_status(g) == EBB_OK, "%s", ebb_graph_message(g));
    for (int i = 1; i < 5; i++) {
        const int with = i < 3 ? 0 : 3;
        ebb_node d = ebb_reduce_sum(ebb_abs(ebb_sub(ys[i], ys[with])), EBB_ALL_AXES, false);
        assert_values(d, LIST(0));
    }
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(bad_masks)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node q = noise(g, EBB_SHAPE(3, 4), 0), mask = noise(g, EBB_SHAPE(2, 3, 3), 1);
    ebb_scaled_dot_product_attention(q, q, q, mask, ((ebb_attention_attrs){ 0 }));
    assert_refused(g, EBB_BAD_SHAPE, "q and mask are not [...,queries,dim] with equal leading");
    g = ebb_graph_create("g");
    q = noise(g, EBB_SHAPE(3, 4), 0);
    ebb_scaled_dot_product_attention(q, q, q, ebb_cast(noise(g, EBB_SHAPE(3, 3), 1), EBB_F32),
                                     ((ebb_attention_attrs){ 0 }));
    assert_refused(g, EBB_BAD_DTYPE, "mask is f32, q is f64");
}
END_TEST

/* ---- dropout ---- */

START_TEST(forward_and_backward_drop_the_same)
{
    enum { N = 20000 };
    ebb_graph *g = ebb_graph_create("g");
    const int64_t start = 41;
    ebb_node counter = ebb_constant(g, EBB_I64, EBB_SCALAR, &start);
    ebb_node x = ebb_full(g, EBB_F64, EBB_SHAPE(N), 1), d;
    ebb_node y = ebb_dropout(x, 0.3, counter, 5, 6);
    ebb_node one = ebb_full_like(y, 1);
    ck_assert_int_eq(ebb_gradients_with(&y, &one, 1, &x, 1, &d), EBB_OK);
    ebb_node difference = ebb_reduce_max(ebb_abs(ebb_sub(d, y)), EBB_ALL_AXES, false);
    assert_values(difference, LIST(0));
    /* F32 drops the same ones */
    ebb_node narrow = ebb_dropout(ebb_cast(x, EBB_F32), 0.3, counter, 5, 6);
    ebb_node differ = ebb_not_equal(ebb_equal(ebb_cast(narrow, EBB_F64), ebb_full_like(y, 0)),
                                    ebb_equal(y, ebb_full_like(y, 0)));
    assert_values(ebb_reduce_sum(ebb_cast(differ, EBB_F64), EBB_ALL_AXES, false), LIST(0));
    /* the part that stays, within 5 standard deviations of 0.7 */
    ebb_node stays =
        ebb_reduce_mean(ebb_dropout_unscaled(x, 0.3, counter, 5, 6), EBB_ALL_AXES, false);
    ebb_error error;
    ebb_interpreter *in = ebb_interpreter_create(g, NULL);
    ck_assert_int_eq(ebb_interpreter_run(in, &stays, 1, &error), EBB_OK);
    ck_assert_double_eq_tol(ebb_tensor_get(ebb_interpreter_get(in, stays), 0), 0.7,
                            5 * sqrt(0.3 * 0.7 / N));
    ebb_interpreter_destroy(in);
    assert_values(ebb_dropout_mean(given(g, EBB_SHAPE(2), LIST(2, -4)), 0.25), LIST(1.5, -3));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(bad_arguments)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_dropout_mean(noise(g, EBB_SHAPE(3), 0), 1.5);
    assert_refused(g, EBB_BAD_ATTRIBUTE, "dropout_mean: ratio 1.5 is not in 0..1");
    g = ebb_graph_create("g");
    ebb_dropout_mean(ebb_iota(g, EBB_I64, EBB_SHAPE(3), 0), 0.5);
    assert_refused(g, EBB_BAD_DTYPE, "dropout_mean: not f64 or f32");
    g = ebb_graph_create("g");
    ebb_node x = noise(g, EBB_SHAPE(3), 0);
    ebb_weighted_binary_cross_entropy(x, x, noise(g, EBB_SHAPE(2, 3), 1), EBB_REDUCTION_SUM);
    assert_refused(g, EBB_BAD_SHAPE, "weights are larger than x");
    g = ebb_graph_create("g");
    x = noise(g, EBB_SHAPE(3), 0);
    ebb_weighted_binary_cross_entropy(x, x, x, (ebb_loss_reduction)7);
    assert_refused(g, EBB_BAD_ATTRIBUTE, "there is no reduction 7");
    g = ebb_graph_create("g");
    x = noise(g, EBB_SHAPE(2, 3), 0);
    ebb_layer_norm(x, EBB_NONE, EBB_NONE, EBB_AXES(2), 1e-5);
    assert_refused(g, EBB_BAD_AXIS, "axis 2 is out of range for rank 2");
    g = ebb_graph_create("g");
    x = noise(g, EBB_SHAPE(2, 3), 0);
    ebb_rms_norm(x, EBB_NONE, EBB_AXES(0, -2), 1e-5);
    assert_refused(g, EBB_BAD_AXIS, "axis -2 is repeated");
}
END_TEST

/* ---- a block of a transformer, compiled ---- */

enum { HEADS = 2, LENGTH = 7, DIM = 8, BATCH = 3, N_WEIGHTS = 3 };

typedef struct block {
    ebb_graph *graph;
    ebb_node x, t, loss, weights[N_WEIGHTS], outputs[1 + N_WEIGHTS];
} block;

/* norm, attention with itself, dropout, loss; F32 */
static block make_block(void)
{
    block b = { .graph = ebb_graph_create("block") };
    b.x = ebb_input(b.graph, "x", EBB_F32, EBB_SHAPE(BATCH, HEADS, LENGTH, DIM));
    b.t = ebb_input(b.graph, "t", EBB_I32, EBB_SHAPE(BATCH * HEADS * LENGTH));
    b.weights[0] = ebb_input(b.graph, "scale", EBB_F32, EBB_SHAPE(DIM));
    b.weights[1] = ebb_input(b.graph, "shift", EBB_F32, EBB_SHAPE(DIM));
    b.weights[2] = ebb_input(b.graph, "w", EBB_F32, EBB_SHAPE(DIM, DIM));
    const int64_t start = 5;
    ebb_node counter = ebb_constant(b.graph, EBB_I64, EBB_SCALAR, &start);
    ebb_node n = ebb_layer_norm(b.x, b.weights[0], b.weights[1], EBB_AXES(-1), 1e-5);
    ebb_node flat = ebb_reshape(n, EBB_SHAPE(-1, DIM));
    ebb_node h = ebb_reshape(ebb_matmul(flat, b.weights[2]), ebb_node_type(n)->shape);
    ebb_node a = ebb_scaled_dot_product_attention(h, h, n, EBB_NONE,
                                                  ((ebb_attention_attrs){ .causal = true }));
    ebb_node y = ebb_rms_norm(ebb_add(ebb_dropout(a, 0.2, counter, 1, 0), b.x), EBB_NONE,
                              EBB_AXES(-1), 1e-5);
    const ebb_cross_entropy_attrs attrs = { .label_smoothing = 0.1, .ignore = true };
    b.loss = ebb_softmax_cross_entropy_with(ebb_reshape(y, EBB_SHAPE(-1, DIM)), b.t, attrs);
    b.loss = ebb_add(b.loss, ebb_huber_loss(y, b.x, 0.5, EBB_REDUCTION_MEAN));
    b.outputs[0] = b.loss;
    ck_assert_msg(ebb_gradients(b.loss, b.weights, N_WEIGHTS, b.outputs + 1) == EBB_OK, "%s",
                  ebb_graph_message(b.graph));
    return b;
}

START_TEST(compiled_as_interpreted)
{
    block b = make_block();
    float data[4][BATCH * HEADS * LENGTH * DIM];
    int32_t labels[BATCH * HEADS * LENGTH];
    uint32_t seed = 1;
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < BATCH * HEADS * LENGTH * DIM; i++) {
            seed = seed * 1664525u + 1013904223u; /* Numerical Recipes, 7.1 */
            data[k][i] = (float)(seed >> 8) / 0x1p23f - 1;
        }
    for (int i = 0; i < BATCH * HEADS * LENGTH; i++)
        labels[i] = i % DIM;
    const ebb_feed feeds[] = { FEED(b.x, data[0]), FEED(b.t, labels), FEED(b.weights[0], data[1]),
                               FEED(b.weights[1], data[2]), FEED(b.weights[2], data[3]) };
    float have[1 + N_WEIGHTS][DIM * DIM];
    ebb_fetch fetches[1 + N_WEIGHTS];
    ebb_error error;
    ebb_interpreter *in = ebb_interpreter_create(b.graph, NULL);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(ebb_interpreter_set(in, feeds[i].node, &feeds[i].value, &error), EBB_OK);
    ck_assert_msg(ebb_interpreter_run(in, b.outputs, 1 + N_WEIGHTS, &error) == EBB_OK, "%s",
                  error.message);
    for (int i = 0; i < 1 + N_WEIGHTS; i++)
        fetches[i] = FETCH(b.outputs[i], have[i]);
    ebb_executable *e = compile(b.graph, _i, b.outputs, 1 + N_WEIGHTS, NULL);
    run(e, feeds, 5, fetches, 1 + N_WEIGHTS);
    for (int i = 0; i < 1 + N_WEIGHTS; i++) {
        const ebb_tensor *want = ebb_interpreter_get(in, b.outputs[i]);
        for (int64_t k = 0; k < ebb_shape_elements(&want->type.shape); k++)
            ck_assert_msg(nearly_equal((double)have[i][k], ebb_tensor_get(want, k), 1e-4, 1e-5),
                          "output %d, element %lld: %.9g, not %.9g", i, (long long)k,
                          (double)have[i][k], ebb_tensor_get(want, k));
    }
    ebb_executable_destroy(e);
    ebb_interpreter_destroy(in);
    ebb_graph_destroy(b.graph);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("losses");
    TCase *edges = tcase_create("edges");
    tcase_add_test(edges, binary_cross_entropy_at_the_edge);
    tcase_add_test(edges, softmax_cross_entropy_at_the_edge);
    tcase_add_test(edges, divergence_and_huber_at_the_edge);
    tcase_add_test(edges, constant_rows_are_normalized_to_zero);
    tcase_add_test(edges, a_query_that_sees_nothing_has_no_gradient);
    suite_add_tcase(suite, edges);
    TCase *builders = tcase_create("builders");
    tcase_add_test(builders, masks_agree);
    tcase_add_test(builders, bad_masks);
    tcase_add_test(builders, forward_and_backward_drop_the_same);
    tcase_add_test(builders, bad_arguments);
    suite_add_tcase(suite, builders);
    TCase *compiled = tcase_create("compiled");
    tcase_add_loop_test(compiled, compiled_as_interpreted, 0, N_WAYS);
    suite_add_tcase(suite, compiled);
    return run_suite(suite);
}
