/* Normalization of channels, resizing and shuffles beyond their samples: running statistics through
 * runs with updates, both orders of memory against the reference kernels, known values. */
#include "backends/backends.h"
#include "graph/interpret.h"
#include "ops/descriptors.h"
#include "tests/support/runtime.h"
#include "tests/support/samples.h"
#include <math.h>
#include <stdlib.h>

#define LIST(...)                                                                                  \
    (const double[])                                                                               \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])

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

static void assert_refused(ebb_graph *g, ebb_status status, const char *part)
{
    ck_assert_msg(ebb_graph_status(g) == status, "%s: %s", ebb_status_name(ebb_graph_status(g)),
                  ebb_graph_message(g));
    CHECK_TEXT(ebb_graph_message(g), part);
    ebb_graph_destroy(g);
}

static double draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u; /* Numerical Recipes, 7.1 */
    return (double)(*seed >> 8) / 0x1p23 - 1;
}

/* ---- the layer ---- */

static ebb_node batch_norm_layer(ebb_node x, const char *name, bool inference)
{
    return ebb_nn_batch_norm(
        x, &(ebb_nn_batch_norm_options){ .name = name, .inference = inference, .epsilon = 0.5 });
}

/* running <- 0.9 running + 0.1 batch: by hand for three batches. */
START_TEST(running_statistics)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(2, 2, 2));
    ebb_node y = batch_norm_layer(x, "bn", false);
    ebb_executable *e = compile(g, _i, &y, 1, store);
    /* channel 0: 1 5 3 3 has mean 3, variance 2, unbiased 8/3; channel 1: -1 1 -1 1: 0, 1, 4/3 */
    double data[] = { 1, 5, -1, 1, 3, 3, -1, 1 }, out[8];
    double means[2] = { 0, 0 }, variances[2] = { 1, 1 };
    for (int step = 1; step <= 3; step++) {
        run(e, &FEED(x, data), 1, &FETCH(y, out), 1);
        /* batch `step` is that many times the first one */
        ck_assert_double_eq_tol(out[1], 2 * step / sqrt(2 * step * step + 0.5), 1e-12);
        means[0] = 0.9 * means[0] + 0.1 * 3 * step;
        means[1] = 0.9 * means[1];
        variances[0] = 0.9 * variances[0] + 0.1 * (8. / 3) * step * step;
        variances[1] = 0.9 * variances[1] + 0.1 * (4. / 3) * step * step;
        for (int c = 0; c < 2; c++) {
            ck_assert_double_eq_tol(stored(store, "bn/running_mean", c), means[c], 1e-12);
            ck_assert_double_eq_tol(stored(store, "bn/running_variance", c), variances[c], 1e-12);
            ck_assert_double_eq(stored(store, "bn/scale", c), 1);
            ck_assert_double_eq(stored(store, "bn/shift", c), 0);
        }
        for (int i = 0; i < 8; i++)
            data[i] = data[i] / step * (step + 1);
    }
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);

    /* the same store: scale (x - mean) / sqrt(variance + epsilon) + shift, nothing is updated */
    g = ebb_graph_create("inference");
    x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(1, 2, 2));
    y = batch_norm_layer(x, "bn", true);
    ck_assert_int_eq(ebb_graph_n_updates(g), 0);
    e = compile(g, _i, &y, 1, store);
    const double at[] = { 2, -3, 4, 0.5 };
    run(e, &FEED(x, at), 1, &FETCH(y, out), 1);
    for (int i = 0; i < 4; i++)
        ck_assert_double_eq_tol(out[i], (at[i] - means[i / 2]) / sqrt(variances[i / 2] + 0.5),
                                1e-12);
    ck_assert_double_eq_tol(stored(store, "bn/running_mean", 0), means[0], 1e-12);
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
    ebb_store_destroy(store);
}
END_TEST

/* The book's: 0.9 of the old, biased variance, and each (c, h, w) a feature over the batch alone.
 */
START_TEST(the_book_s_form)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(2, 1, 1, 2));
    ebb_node y = ebb_nn_batch_norm(x, &(ebb_nn_batch_norm_options){ .name = "bn",
                                                                    .epsilon = 1e-6,
                                                                    .momentum = 0.75,
                                                                    .biased_running_variance = true,
                                                                    .per_feature = true,
                                                                    .no_affine = true });
    ck_assert(ebb_node_is_none(ebb_graph_find(g, "bn/scale")));
    ebb_executable *e = compile(g, _i, &y, 1, store);
    const double data[] = { 1, 10, 5, 4 };
    double out[4];
    run(e, &FEED(x, data), 1, &FETCH(y, out), 1);
    const double expected[] = { -2 / sqrt(4 + 1e-6), 3 / sqrt(9 + 1e-6), 2 / sqrt(4 + 1e-6),
                                -3 / sqrt(9 + 1e-6) };
    for (int i = 0; i < 4; i++)
        ck_assert_double_eq_tol(out[i], expected[i], 1e-12);
    ck_assert_double_eq_tol(stored(store, "bn/running_mean", 0), 0.75, 1e-12);
    ck_assert_double_eq_tol(stored(store, "bn/running_mean", 1), 1.75, 1e-12);
    ck_assert_double_eq_tol(stored(store, "bn/running_variance", 0), 1.75, 1e-12);
    ck_assert_double_eq_tol(stored(store, "bn/running_variance", 1), 3, 1e-12);
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
    ebb_store_destroy(store);
}
END_TEST

/* Inference is an affine function: its coefficients folded by hand, at 2-D and 4-D. */
START_TEST(inference_is_affine)
{
    enum { N = 2, C = 3, S = 5 };
    ebb_graph *g = ebb_graph_create("g");
    double values[N * C * S], expected[N * C * S];
    const double scale[C] = { 2, -1, 0.5 }, shift[C] = { 1, 0, -3 }, mean[C] = { 0.5, -2, 10 };
    const double variance[C] = { 3, 0.25, 8 };
    uint32_t seed = 1;
    for (int i = 0; i < N * C * S; i++) {
        const int c = i / S % C;
        values[i] = draw(&seed) + mean[c];
        const double a = scale[c] / sqrt(variance[c] + 1), b = shift[c] - mean[c] * a;
        expected[i] = a * values[i] + b;
    }
    ebb_node parameters[4] = { given(g, EBB_SHAPE(C), scale), given(g, EBB_SHAPE(C), shift),
                               given(g, EBB_SHAPE(C), mean), given(g, EBB_SHAPE(C), variance) };
    ebb_node y = ebb_batch_norm_inference(given(g, EBB_SHAPE(N, C, S, 1), values), parameters[0],
                                          parameters[1], parameters[2], parameters[3], 1);
    ebb_node distance = ebb_reduce_max(
        ebb_abs(ebb_sub(y, given(g, EBB_SHAPE(N, C, S, 1), expected))), EBB_ALL_AXES, false);
    assert_values(ebb_less(distance, ebb_full_like(distance, 1e-13)), LIST(1));
    ebb_graph_destroy(g);
}
END_TEST

/* A net with batch normalization at batch 8: gradients to all parameters against differences (with
 * a batch of 1 all of them are 0, and the check says nothing). */
START_TEST(gradients_at_batch_8)
{
    enum { BATCH = 8, IN = 6, HIDDEN = 5, OUT = 4 };
    ebb_graph *g = ebb_graph_create("g");
    double data[BATCH * IN], weights[2][IN * HIDDEN], rows[3][HIDDEN];
    const double ones[HIDDEN] = { 1, 1.5, 0.5, -1, 2 };
    int64_t labels[BATCH];
    uint32_t seed = 3;
    for (int i = 0; i < BATCH * IN; i++)
        data[i] = draw(&seed);
    for (int i = 0; i < IN * HIDDEN; i++)
        for (int k = 0; k < 2; k++)
            weights[k][i] = draw(&seed);
    for (int i = 0; i < HIDDEN; i++)
        for (int k = 0; k < 3; k++)
            rows[k][i] = k == 1 ? ones[i] : draw(&seed);
    for (int i = 0; i < BATCH; i++)
        labels[i] = i % OUT;
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(BATCH, IN));
    ebb_node xs[] = { x,
                      ebb_input(g, "w1", EBB_F64, EBB_SHAPE(IN, HIDDEN)),
                      ebb_input(g, "b1", EBB_F64, EBB_SHAPE(HIDDEN)),
                      ebb_input(g, "scale", EBB_F64, EBB_SHAPE(HIDDEN)),
                      ebb_input(g, "shift", EBB_F64, EBB_SHAPE(HIDDEN)),
                      ebb_input(g, "w2", EBB_F64, EBB_SHAPE(HIDDEN, OUT)) };
    const double *at[] = { data, weights[0], rows[0], rows[1], rows[2], weights[1] };
    ebb_node h = ebb_add(ebb_matmul(x, xs[1]), xs[2]);
    h = ebb_sigmoid(ebb_batch_norm(h, xs[3], xs[4], 1e-6, NULL, NULL));
    ebb_node t = ebb_constant(g, EBB_I64, EBB_SHAPE(BATCH), labels);
    ebb_node loss = ebb_softmax_cross_entropy(ebb_matmul(h, xs[5]), t);
    ebb_check_value values[6];
    for (int i = 0; i < 6; i++)
        values[i] = (ebb_check_value){ xs[i], tensor_as(xs[i], at[i]) };
    ebb_check_options options = { .order = 2, .tolerance = 1e-7, .values = values, .n_values = 6 };
    ebb_check_report report;
    const ebb_node checked[] = { xs[0], xs[1], xs[3], xs[4], xs[5] };
    ck_assert_msg(ebb_check_gradients(loss, checked, 5, &options, &report) == EBB_OK, "%s",
                  ebb_graph_message(g));
    /* the bias before a batch normalization counts for nothing: differences show rounding only */
    ebb_node d;
    ck_assert_int_eq(ebb_gradients(loss, &xs[2], 1, &d), EBB_OK);
    ebb_interpreter *in = ebb_interpreter_create(g, NULL);
    ebb_error error;
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(ebb_interpreter_set(in, xs[i], &values[i].value, &error), EBB_OK);
    ck_assert_int_eq(ebb_interpreter_run(in, &d, 1, &error), EBB_OK);
    for (int i = 0; i < HIDDEN; i++)
        ck_assert_double_eq_tol(ebb_tensor_get(ebb_interpreter_get(in, d), i), 0, 1e-15);
    ebb_interpreter_destroy(in);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(bad_layers)
{
    const ebb_nn_batch_norm_options named = { .name = "bn" };
    ebb_graph *g = ebb_graph_create("g");
    ebb_nn_batch_norm(ebb_input(g, "x", EBB_F32, EBB_SHAPE(4, 3)), NULL);
    assert_refused(g, EBB_BAD_NAME, "nn_batch_norm: the layer needs a name: x x f32[4,3]");
    g = ebb_graph_create("g");
    ebb_nn_batch_norm(((ebb_node){ g, 0 }), &named);
    assert_refused(g, EBB_BAD_NODE, "nn_batch_norm: x is the none node");
    g = ebb_graph_create("g");
    ebb_nn_batch_norm(ebb_input(g, "x", EBB_F32, EBB_SHAPE(4)), &named);
    assert_refused(g, EBB_BAD_SHAPE, "nn_batch_norm \"bn\": x must be [batch, channels, ...]");
    g = ebb_graph_create("g");
    ebb_nn_batch_norm(ebb_input(g, "x", EBB_I32, EBB_SHAPE(4, 3)), &named);
    assert_refused(g, EBB_BAD_DTYPE, "nn_batch_norm \"bn\": x must be float: x x i32[4,3]");
    g = ebb_graph_create("g");
    ebb_nn_batch_norm(ebb_input(g, "x", EBB_F32, EBB_SHAPE(1, 3)), &named);
    assert_refused(g, EBB_BAD_SHAPE,
                   "nn_batch_norm \"bn\": 1 values of a channel have no unbiased variance");
    g = ebb_graph_create("g");
    ebb_nn_batch_norm(ebb_input(g, "x", EBB_F32, EBB_SHAPE(4, 3)),
                      &(ebb_nn_batch_norm_options){ .name = "bn", .momentum = 1.5 });
    assert_refused(g, EBB_BAD_ARGUMENT, "nn_batch_norm \"bn\": momentum 1.5 is not in 0..1");
    g = ebb_graph_create("g");
    ebb_nn_batch_norm(ebb_input(g, "x", EBB_F32, EBB_SHAPE(4, 3)),
                      &(ebb_nn_batch_norm_options){ .name = "bn", .epsilon = -1 });
    assert_refused(g, EBB_BAD_ARGUMENT, "epsilon -1 is negative or not finite");
    g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(4, 3));
    ebb_nn_batch_norm(ebb_nn_batch_norm(x, &named), &named);
    assert_refused(g, EBB_BAD_ARGUMENT, "bn/running_mean");
}
END_TEST

/* ---- other builders ---- */

START_TEST(groups_of_all_kinds)
{
    ebb_graph *g = ebb_graph_create("g");
    double values[2 * 4 * 3];
    uint32_t seed = 7;
    for (int i = 0; i < COUNT(values); i++)
        values[i] = draw(&seed);
    ebb_node x = given(g, EBB_SHAPE(2, 4, 3), values);
    /* a group of all channels is layer_norm over them; of one, over the rest */
    ebb_node pairs[][2] = {
        { ebb_group_norm(x, EBB_NONE, EBB_NONE, 1, 0.1),
          ebb_layer_norm(x, EBB_NONE, EBB_NONE, EBB_AXES(1, 2), 0.1) },
        { ebb_instance_norm(x, EBB_NONE, EBB_NONE, 0.1),
          ebb_layer_norm(x, EBB_NONE, EBB_NONE, EBB_AXES(2), 0.1) },
    };
    for (int i = 0; i < COUNT(pairs); i++) {
        ebb_node d =
            ebb_reduce_max(ebb_abs(ebb_sub(pairs[i][0], pairs[i][1])), EBB_ALL_AXES, false);
        assert_values(ebb_less(d, ebb_full_like(d, 1e-14)), LIST(1));
    }
    ebb_graph_destroy(g);
    g = ebb_graph_create("g");
    ebb_instance_norm(given(g, EBB_SHAPE(3), values), EBB_NONE, EBB_NONE, 0.1);
    assert_refused(g, EBB_BAD_SHAPE, "[3] is not [batch,channels,...]");
    g = ebb_graph_create("g");
    ebb_batch_norm(given(g, EBB_SHAPE(3), values), EBB_NONE, EBB_NONE, 0.1, NULL, NULL);
    assert_refused(g, EBB_BAD_SHAPE, "[3] is not [batch,channels,...]");
}
END_TEST

START_TEST(shuffles)
{
    ebb_graph *g = ebb_graph_create("g");
    double values[24];
    for (int i = 0; i < 24; i++)
        values[i] = i;
    /* ShuffleNet: 6 channels in 2 groups, 0 1 2 | 3 4 5, become 0 3 1 4 2 5 */
    ebb_node x = given(g, EBB_SHAPE(1, 6, 2), values);
    assert_values(ebb_channel_shuffle(x, 2), LIST(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11));
    ebb_node back = ebb_channel_shuffle(ebb_channel_shuffle(x, 2), 3);
    assert_values(back, values);
    /* four channels of 1 x 2 become one of 2 x 4 */
    x = given(g, EBB_SHAPE(1, 4, 1, 2), values);
    assert_values(ebb_pixel_shuffle(x, 2), LIST(0, 2, 1, 3, 4, 6, 5, 7));
    /* ONNX operator DepthToSpace, example crd_mode, the first channels */
    x = given(g, EBB_SHAPE(1, 8, 1, 3), values);
    assert_values(ebb_pixel_shuffle(x, 2), LIST(0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11, 12, 15, 13,
                                                16, 14, 17, 18, 21, 19, 22, 20, 23));
    assert_values(ebb_pixel_unshuffle(ebb_pixel_shuffle(x, 2), 2), values);
    ebb_graph_destroy(g);
    static const struct {
        int64_t factor;
        int which;
        ebb_status status;
        const char *message;
    } bad[] = {
        { 4, 0, EBB_BAD_ATTRIBUTE, "channel_shuffle: groups 4 does not divide channels 6" },
        { 0, 0, EBB_BAD_ATTRIBUTE, "channel_shuffle: groups 0 does not divide" },
        { 2, 1, EBB_BAD_ATTRIBUTE, "pixel_shuffle: factor squared 4 does not divide channels 6" },
        { -1, 1, EBB_BAD_ATTRIBUTE, "pixel_shuffle: factor -1 does not divide" },
        { 2, 2, EBB_BAD_ATTRIBUTE, "pixel_unshuffle: factor 2 does not divide height 1" },
        { 2, 3, EBB_BAD_SHAPE, "channel_shuffle: x is not [batch,channels,...]" },
        { 2, 4, EBB_BAD_SHAPE, "pixel_shuffle: x is not [batch,channels,height,width]" },
        { 2, 5, EBB_BAD_SHAPE, "pixel_unshuffle: x is not [batch,channels,height,width]" },
    };
    for (int i = 0; i < COUNT(bad); i++) {
        g = ebb_graph_create("g");
        x = given(g, bad[i].which < 3 ? EBB_SHAPE(1, 6, 1, 2) : EBB_SHAPE(12), values);
        switch (bad[i].which % 3) {
        case 0:
            ebb_channel_shuffle(x, bad[i].factor);
            break;
        case 1:
            ebb_pixel_shuffle(x, bad[i].factor);
            break;
        default:
            ebb_pixel_unshuffle(x, bad[i].factor);
        }
        assert_refused(g, bad[i].status, bad[i].message);
    }
}
END_TEST

/* <resize(x), y> = <x, adjoint(y)>, and a constant stays one. */
START_TEST(resizes_and_their_adjoints)
{
    ebb_graph *g = ebb_graph_create("g");
    double a[3 * 5 * 7], b[3 * 9 * 4];
    uint32_t seed = 5;
    for (int i = 0; i < COUNT(a); i++)
        a[i] = draw(&seed);
    for (int i = 0; i < COUNT(b); i++)
        b[i] = draw(&seed);
    for (int mode = 0; mode < 2; mode++)
        for (int coordinates = 0; coordinates < 3; coordinates++) {
            const ebb_resize_attrs attrs = { 9, 4, mode, coordinates, EBB_RESIZE_FLOOR };
            ebb_node x = given(g, EBB_SHAPE(1, 3, 5, 7), a), dx;
            ebb_node t = given(g, EBB_SHAPE(1, 3, 9, 4), b), y = ebb_resize2d(x, attrs);
            ck_assert_int_eq(ebb_gradients_with(&y, &t, 1, &x, 1, &dx), EBB_OK);
            ebb_node d = ebb_sub(ebb_reduce_sum(ebb_mul(y, t), EBB_ALL_AXES, false),
                                 ebb_reduce_sum(ebb_mul(x, dx), EBB_ALL_AXES, false));
            assert_values(ebb_less(ebb_abs(d), ebb_full_like(d, 1e-13)), LIST(1));
            ebb_node one = ebb_resize2d(ebb_full_like(x, 1), attrs);
            ebb_node off =
                ebb_reduce_max(ebb_abs(ebb_sub(one, ebb_full_like(one, 1))), EBB_ALL_AXES, false);
            assert_values(ebb_less(off, ebb_full_like(off, 1e-15)), LIST(1));
        }
    ebb_graph_destroy(g);
}
END_TEST

/* ---- kernels, channels last ---- */

typedef struct last_case {
    const ebb_op *op;
    const void *attrs;
    int64_t dims[4];
} last_case;

/* clang-format off */
#define BN &(const ebb_batch_norm_attrs){ 1e-3 }
#define LRN(size, beta) &(const ebb_lrn_attrs){ size, 0.3, beta, 1.5, false }
#define RESIZE(height, width, mode, coordinates)                                                   \
    &(const ebb_resize_attrs){ height, width, mode, coordinates, 0 }
static const last_case last_cases[] = {
    { &ebb_op_batch_norm, BN, { 2, 3, 5, 7 } }, { &ebb_op_batch_norm, BN, { 32, 16, 33, 31 } },
    { &ebb_op_batch_norm, BN, { 8, 300, 7, 9 } }, { &ebb_op_batch_norm, BN, { 3, 128, 14, 14 } },
    { &ebb_op_batch_norm, BN, { 1, 17, 61, 67 } }, { &ebb_op_batch_norm, BN, { 2, 3, 0, 7 } },
    { &ebb_op_batch_norm_inference, BN, { 2, 3, 5, 7 } },
    { &ebb_op_batch_norm_inference, BN, { 16, 16, 33, 31 } },
    { &ebb_op_batch_norm_inference, BN, { 8, 300, 7, 9 } },
    { &ebb_op_batch_norm_grad, BN, { 2, 3, 5, 7 } },
    { &ebb_op_batch_norm_grad, BN, { 32, 16, 33, 31 } },
    { &ebb_op_batch_norm_grad, BN, { 8, 300, 7, 9 } },
    { &ebb_op_batch_norm_grad, BN, { 3, 64, 14, 14 } },
    { &ebb_op_batch_norm_relu_grad, BN, { 2, 3, 5, 7 } },
    { &ebb_op_batch_norm_relu_grad, BN, { 8, 300, 7, 9 } },
    { &ebb_op_batch_norm_relu_grad, BN, { 3, 64, 14, 14 } },
    { &ebb_op_lrn, LRN(5, 0.75), { 2, 3, 5, 7 } }, { &ebb_op_lrn, LRN(5, 0.75), { 2, 96, 27, 13 } },
    { &ebb_op_lrn, LRN(3, 1), { 2, 17, 9, 9 } }, { &ebb_op_lrn, LRN(7, 0.6), { 1, 64, 30, 30 } },
    { &ebb_op_lrn, LRN(9, 0.5), { 1, 4, 30, 30 } },
    { &ebb_op_lrn_grad, LRN(5, 0.75), { 2, 3, 5, 7 } },
    { &ebb_op_lrn_grad, LRN(5, 0.75), { 2, 96, 27, 13 } },
    { &ebb_op_lrn_grad, LRN(3, 0.6), { 1, 1000, 3, 3 } },
    { &ebb_op_resize2d, RESIZE(10, 14, 0, 0), { 2, 3, 5, 7 } },
    { &ebb_op_resize2d, RESIZE(40, 28, 1, 0), { 2, 17, 20, 14 } },
    { &ebb_op_resize2d, RESIZE(13, 61, 1, 1), { 4, 64, 20, 40 } },
    { &ebb_op_resize2d_adjoint, RESIZE(5, 7, 0, 2), { 2, 3, 10, 14 } },
    { &ebb_op_resize2d_adjoint, RESIZE(20, 14, 1, 0), { 2, 17, 40, 28 } },
    { &ebb_op_resize2d_adjoint, RESIZE(20, 40, 1, 1), { 4, 130, 13, 21 } },
};
/* clang-format on */

static ebb_layout layout_of(const ebb_shape *shape, bool is_last)
{
    return is_last && shape->rank > 2 ? ebb_layout_channels_last(shape) : ebb_layout_dense(shape);
}

static int64_t place_of(const ebb_layout *layout, const ebb_shape *shape, int64_t element)
{
    int64_t at = layout->offset;
    for (int d = shape->rank - 1; d >= 0; d--) {
        at += element % shape->dims[d] * layout->strides[d];
        element /= shape->dims[d];
    }
    return at;
}

static void *get_memory(size_t n_bytes)
{
    void *memory = aligned_alloc(64, (n_bytes + 64) / 64 * 64);
    ck_assert_ptr_nonnull(memory);
    memset(memory, 0, n_bytes);
    return memory;
}

typedef struct blocks {
    void *list[32];
    int n;
} blocks;

static void *allocate_block(void *context, size_t n_bytes)
{
    blocks *b = context;
    ck_assert_int_lt(b->n, 32);
    return b->list[b->n++] = get_memory(n_bytes);
}

/* Runs the native kernel on images in one order; results in the order of the graph. */
static void run_native(const ebb_op *op, const void *attrs, int n_threads, bool is_last,
                       const ebb_tensor *inputs, const ebb_tensor *results)
{
    ebb_operand in[6], out[3];
    void *in_data[6], *out_data[3];
    for (int i = 0; i < op->n_inputs; i++) {
        const ebb_type *type = &inputs[i].type;
        in[i] = (ebb_operand){ .type = type, .layout = layout_of(&type->shape, is_last) };
        ebb_tensor lying = inputs[i];
        lying.data = in_data[i] = get_memory(ebb_tensor_bytes(&inputs[i]));
        for (int64_t k = 0; k < ebb_shape_elements(&type->shape); k++)
            ebb_tensor_set(&lying, place_of(&in[i].layout, &type->shape, k),
                           ebb_tensor_get(&inputs[i], k));
    }
    for (int i = 0; i < op->n_results; i++) {
        const ebb_type *type = &results[i].type;
        out[i] = (ebb_operand){ .type = type, .layout = layout_of(&type->shape, is_last) };
        out_data[i] = get_memory(ebb_tensor_bytes(&results[i]));
    }
    const ebb_region region = { op, attrs, op->n_inputs, op->n_results, in, out, n_threads };
    const ebb_backend *native = &ebb_backend_native;
    ck_assert_int_ge(native->score(native, &region), is_last ? EBB_SCORE_BEST : EBB_SCORE_NATIVE);
    blocks memory = { .n = 0 };
    ebb_error error;
    ebb_compile_env env = { .allocate = allocate_block, .context = &memory, .error = &error };
    ebb_kernel kernel = { 0 };
    ck_assert_int_eq(native->compile(native, &region, &env, &kernel), EBB_OK);
    if (ebb_shape_elements(&inputs[0].type.shape) > 0)
        ck_assert_str_eq(kernel.implementation, is_last ? "channels_last" : "channels_first");
    void *scratch = get_memory(kernel.scratch_bytes);
    memset(scratch, 0xff, kernel.scratch_bytes);
    ck_assert_int_eq(kernel.run(&(ebb_call){ kernel.state, in_data, out_data, scratch, &error }),
                     EBB_OK);
    for (int i = 0; i < op->n_results; i++) {
        ebb_tensor lying = results[i];
        lying.data = out_data[i];
        for (int64_t k = 0; k < ebb_shape_elements(&lying.type.shape); k++)
            ebb_tensor_set(&results[i], k,
                           ebb_tensor_get(&lying, place_of(&out[i].layout, &lying.type.shape, k)));
    }
    free(scratch);
    for (int i = 0; i < op->n_inputs; i++)
        free(in_data[i]);
    for (int i = 0; i < op->n_results; i++)
        free(out_data[i]);
    while (memory.n > 0)
        free(memory.list[--memory.n]);
}

static void check_orders(const last_case *c, ebb_dtype dtype)
{
    const ebb_op *op = c->op;
    ebb_tensor inputs[6], wide[6], expected[3], results[3], first[3];
    const ebb_type *types[6];
    ebb_type result_types[3];
    ebb_error error;
    uint32_t seed = 11;
    const bool is_norm = op->attrs_bytes == sizeof(ebb_batch_norm_attrs);
    for (int i = 0; i < op->n_inputs; i++) {
        const bool is_image =
            !is_norm || i == 0 || (i == 2 && op->n_results == 3 && op != &ebb_op_batch_norm);
        const ebb_shape shape = ebb_shape_of(is_image ? 4 : 1, is_image ? c->dims : c->dims + 1);
        ck_assert_int_eq(ebb_tensor_init(&inputs[i], ebb_type_of(dtype, shape), NULL), EBB_OK);
        ck_assert_int_eq(ebb_tensor_init(&wide[i], ebb_type_of(EBB_F64, shape), NULL), EBB_OK);
        for (int64_t k = 0; k < ebb_shape_elements(&shape); k++) {
            ebb_tensor_set(&inputs[i], k, draw(&seed) + (i == 4 ? 2 : 0.5));
            ebb_tensor_set(&wide[i], k, ebb_tensor_get(&inputs[i], k));
        }
        types[i] = &wide[i].type;
    }
    ebb_infer infer = { op, c->attrs, op->n_inputs, types, result_types, &error };
    ck_assert_int_eq(op->infer(&infer), EBB_OK);
    for (int r = 0; r < op->n_results; r++) {
        const ebb_shape shape = result_types[r].shape;
        ck_assert_int_eq(ebb_tensor_init(&expected[r], result_types[r], NULL), EBB_OK);
        ck_assert_int_eq(ebb_tensor_init(&results[r], ebb_type_of(dtype, shape), NULL), EBB_OK);
        ck_assert_int_eq(ebb_tensor_init(&first[r], ebb_type_of(dtype, shape), NULL), EBB_OK);
    }
    ebb_eval eval = { op, c->attrs, op->n_inputs, op->n_results, wide, expected, &error };
    ck_assert_int_eq(op->eval(&eval), EBB_OK);
    for (int is_last = 0; is_last < 2; is_last++)
        for (int n_threads = 1; n_threads <= 3; n_threads++) {
            run_native(op, c->attrs, n_threads, is_last, inputs, results);
            for (int r = 0; r < op->n_results; r++) {
                const int64_t n = ebb_shape_elements(&results[r].type.shape);
                double largest = 0;
                for (int64_t k = 0; k < n; k++)
                    largest = fmax(largest, fabs(ebb_tensor_get(&expected[r], k)));
                for (int64_t k = 0; k < n; k++) {
                    const double a = ebb_tensor_get(&results[r], k);
                    const double b = ebb_tensor_get(&expected[r], k);
                    if (!(fabs(a - b) <= (dtype == EBB_F32 ? 1e-5 : 1e-12) * largest) &&
                        !(isnan(a) && isnan(b)))
                        ck_abort_msg("%s %s order %d, result %d: element %lld is %.9g, not %.9g",
                                     op->name, ebb_dtype_name(dtype), is_last, r, (long long)k, a,
                                     b);
                }
                if (n_threads == 1)
                    memcpy(first[r].data, results[r].data, ebb_tensor_bytes(&first[r]));
                ck_assert_msg(memcmp(first[r].data, results[r].data, ebb_tensor_bytes(&first[r])) ==
                                  0,
                              "%s: %d threads give other bits", op->name, n_threads);
            }
        }
    for (int i = 0; i < op->n_inputs; i++) {
        ebb_tensor_finish(&inputs[i]);
        ebb_tensor_finish(&wide[i]);
    }
    for (int r = 0; r < op->n_results; r++) {
        ebb_tensor_finish(&expected[r]);
        ebb_tensor_finish(&results[r]);
        ebb_tensor_finish(&first[r]);
    }
}

START_TEST(orders_of_memory)
{
    check_orders(&last_cases[_i], EBB_F64);
    check_orders(&last_cases[_i], EBB_F32);
}
END_TEST

/* Between convolutions, which wish channels last, everything here stays in that order, forwards and
 * backwards: reorders are for the feed and the result at most. Values as with the reference. */
START_TEST(stays_channels_last)
{
    enum { N = 2, C = 3, F = 16, SIDE = 12 };
    static float data[N * C * SIDE * SIDE], out[2][N * F * 4 * SIDE * SIDE];
    uint32_t seed = 21;
    for (int i = 0; i < COUNT(data); i++)
        data[i] = (float)draw(&seed);
    for (int way = 0; way < 2; way++) {
        ebb_graph *g = ebb_graph_create("g");
        ebb_store *store = ebb_store_create(NULL);
        const ebb_init init = { .kind = EBB_INIT_NORMAL, .b = 0.2, .seed = 5 };
        const ebb_conv_attrs same = { .padding = EBB_INTS(1, 1) };
        ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(N, C, SIDE, SIDE));
        ebb_node w1 = ebb_variable(g, "w1", EBB_F32, EBB_SHAPE(F, C, 3, 3), &init);
        ebb_node w2 = ebb_variable(g, "w2", EBB_F32, EBB_SHAPE(F, F, 3, 3), &init);
        ebb_node h = ebb_conv2d(x, w1, EBB_NONE, same);
        h = ebb_relu(ebb_nn_batch_norm(h, &(ebb_nn_batch_norm_options){ .name = "bn1" }));
        h = ebb_lrn(h, (ebb_lrn_attrs){ .size = 5, .alpha = 0.1, .beta = 0.75, .k = 2 });
        h = ebb_resize2d(h, (ebb_resize_attrs){ .height = 2 * SIDE, .width = 2 * SIDE, .mode = 1 });
        ebb_node y = ebb_conv2d(h, w2, EBB_NONE, same);
        ebb_node loss = ebb_reduce_sum(ebb_square(y), EBB_ALL_AXES, false), dw;
        ck_assert_int_eq(ebb_gradients(loss, &w1, 1, &dw), EBB_OK);
        const ebb_node fetches[] = { y, dw };
        ebb_executable *e = compile(g, way ? 2 : 0, fetches, 2, store);
        static float gradient[2][F * C * 9];
        const ebb_fetch values[] = { FETCH(y, out[way]), FETCH(dw, gradient[way]) };
        run(e, &FEED(x, data), 1, values, 2);
        ebb_step_info step;
        int n_last = 0;
        for (int64_t i = 0; ebb_executable_step(e, i, &step); i++) {
            const bool here = strncmp(step.op, "batch_norm", 10) == 0 ||
                              strncmp(step.op, "lrn", 3) == 0 ||
                              strncmp(step.op, "resize2d", 8) == 0;
            ck_assert_msg(!here || !way || strcmp(step.implementation, "channels_last") == 0,
                          "%s: %s", step.op, step.implementation);
            n_last += here;
        }
        ck_assert_int_eq(n_last, 6);
        if (way) {
            ck_assert_int_le(ebb_executable_get_stats(e).n_reorders, 2);
            double largest = 0;
            for (int i = 0; i < COUNT(gradient[0]); i++)
                largest = fmax(largest, fabs((double)gradient[0][i]));
            for (int i = 0; i < COUNT(gradient[0]); i++)
                ck_assert_double_eq_tol((double)gradient[1][i], (double)gradient[0][i],
                                        1e-4 * largest);
            for (int i = 0; i < COUNT(out[0]); i++)
                if (!nearly_equal((double)out[0][i], (double)out[1][i], 1e-5, 1e-5))
                    ck_abort_msg("element %d: %g, %g", i, (double)out[0][i], (double)out[1][i]);
        }
        ebb_executable_destroy(e);
        ebb_graph_destroy(g);
        ebb_store_destroy(store);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("norms");
    TCase *layer = tcase_create("layer");
    tcase_add_loop_test(layer, running_statistics, 0, N_WAYS);
    tcase_add_loop_test(layer, the_book_s_form, 0, N_WAYS);
    tcase_add_test(layer, inference_is_affine);
    tcase_add_test(layer, gradients_at_batch_8);
    tcase_add_test(layer, bad_layers);
    suite_add_tcase(suite, layer);
    TCase *builders = tcase_create("builders");
    tcase_add_test(builders, groups_of_all_kinds);
    tcase_add_test(builders, shuffles);
    tcase_add_test(builders, resizes_and_their_adjoints);
    suite_add_tcase(suite, builders);
    TCase *kernels = tcase_create("kernels");
    tcase_set_timeout(kernels, 60);
    tcase_add_loop_test(kernels, orders_of_memory, 0, COUNT(last_cases));
    tcase_add_test(kernels, stays_channels_last);
    suite_add_tcase(suite, kernels);
    return run_suite(suite);
}
