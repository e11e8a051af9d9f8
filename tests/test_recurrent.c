/* Recurrent cells against scalar loops written from the papers' formulas; gradients through five
 * steps; what is refused. */
#include "graph/interpret.h"
#include "tests/support/runner.h"
#include "tests/support/samples.h"
#include <ebb/nn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BATCH = 3, INPUTS = 2, HIDDEN = 5, STEPS = 5, MAX_GATES = 4 };

/* ---- the reference: one sample, plain loops ---- */

typedef struct numbers {
    double x[STEPS][BATCH][INPUTS], h[BATCH][HIDDEN], c[BATCH][HIDDEN];
    double w_x[INPUTS * MAX_GATES * HIDDEN], w_h[HIDDEN * MAX_GATES * HIDDEN];
    double b[MAX_GATES * HIDDEN];
} numbers;

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* Row `sample` of x w_x (and of h w_h), in column gate * HIDDEN + unit. */
static double from_x(const numbers *n, int t, int sample, int n_gates, int gate, int unit)
{
    double sum = 0;
    for (int i = 0; i < INPUTS; i++)
        sum += n->x[t][sample][i] * n->w_x[i * n_gates * HIDDEN + gate * HIDDEN + unit];
    return sum;
}

static double from_h(const numbers *n, const double *h, int n_gates, int gate, int unit)
{
    double sum = 0;
    for (int i = 0; i < HIDDEN; i++)
        sum += h[i] * n->w_h[i * n_gates * HIDDEN + gate * HIDDEN + unit];
    return sum;
}

static double both(const numbers *n, int t, int s, const double *h, int n_gates, int gate, int unit)
{
    return from_x(n, t, s, n_gates, gate, unit) + from_h(n, h, n_gates, gate, unit) +
           n->b[gate * HIDDEN + unit];
}

static void step_reference(ebb_nn_cell cell, const numbers *n, int t, int s, double forget_bias,
                           double *h, double *c)
{
    double next[HIDDEN];
    for (int u = 0; u < HIDDEN; u++) {
        if (cell == EBB_NN_RNN) {
            next[u] = tanh(both(n, t, s, h, 1, 0, u));
        } else if (cell == EBB_NN_RNN_RELU) {
            next[u] = fmax(both(n, t, s, h, 1, 0, u), 0);
        } else if (cell == EBB_NN_LSTM) {
            const double i = sigmoid(both(n, t, s, h, 4, 0, u));
            const double f = sigmoid(both(n, t, s, h, 4, 1, u) + forget_bias);
            const double g = tanh(both(n, t, s, h, 4, 2, u));
            const double o = sigmoid(both(n, t, s, h, 4, 3, u));
            c[u] = f * c[u] + i * g;
            next[u] = o * tanh(c[u]);
        } else {
            const double r = sigmoid(both(n, t, s, h, 3, 0, u));
            const double z = sigmoid(both(n, t, s, h, 3, 1, u));
            const double inner = from_h(n, h, 3, 2, u) + n->b[3 * HIDDEN + u];
            const double candidate =
                tanh(from_x(n, t, s, 3, 2, u) + n->b[2 * HIDDEN + u] + r * inner);
            next[u] = (1 - z) * candidate + z * h[u];
        }
    }
    memcpy(h, next, sizeof next);
}

/* ---- the graph ---- */

static const char *const cell_names[] = { "rnn", "rnn_relu", "lstm", "gru" };

static void fill(double *values, size_t n, uint32_t *seed)
{
    for (size_t i = 0; i < n; i++) {
        *seed = *seed * 1664525u + 1013904223u; /* Numerical Recipes, 7.1 */
        values[i] = (double)(*seed >> 8) / 0x1p24 * 1.4 - 0.7;
    }
}

static void fill_numbers(numbers *n)
{
    uint32_t seed = 7;
    fill(&n->x[0][0][0], STEPS * BATCH * INPUTS, &seed);
    fill(&n->h[0][0], BATCH * HIDDEN, &seed);
    fill(&n->c[0][0], BATCH * HIDDEN, &seed);
    fill(n->w_x, sizeof n->w_x / sizeof(double), &seed);
    fill(n->w_h, sizeof n->w_h / sizeof(double), &seed);
    fill(n->b, sizeof n->b / sizeof(double), &seed);
}

typedef struct unrolled {
    ebb_graph *graph;
    ebb_node steps[STEPS], outputs[STEPS], sources[STEPS + 5];
    const double *data[STEPS + 5];
    int n_sources;
    ebb_nn_cell_state first, last;
} unrolled;

static void add_source(unrolled *u, ebb_node node, const double *data)
{
    ck_assert(!ebb_node_is_none(node));
    u->data[u->n_sources] = data;
    u->sources[u->n_sources++] = node;
}

static ebb_nn_recurrent_options options_of(ebb_nn_cell cell)
{
    return (ebb_nn_recurrent_options){ .name = "cell",
                                       .cell = cell,
                                       .hidden = HIDDEN,
                                       .forget_bias = 0.75,
                                       .init.seed = 3,
                                       .init_h.seed = 3 };
}

static unrolled unroll(ebb_nn_cell cell, const numbers *n, bool with_state)
{
    unrolled u = { .graph = ebb_graph_create("g") };
    const ebb_nn_recurrent_options options = options_of(cell);
    for (int t = 0; t < STEPS; t++) {
        char name[8];
        snprintf(name, sizeof name, "x%d", t);
        u.steps[t] = ebb_input(u.graph, name, EBB_F64, EBB_SHAPE(BATCH, INPUTS));
        add_source(&u, u.steps[t], &n->x[t][0][0]);
    }
    if (with_state) {
        u.first.h = ebb_input(u.graph, "h", EBB_F64, EBB_SHAPE(BATCH, HIDDEN));
        add_source(&u, u.first.h, &n->h[0][0]);
    }
    if (with_state && cell == EBB_NN_LSTM) {
        u.first.c = ebb_input(u.graph, "c", EBB_F64, EBB_SHAPE(BATCH, HIDDEN));
        add_source(&u, u.first.c, &n->c[0][0]);
    }
    u.last = ebb_nn_unroll(u.steps, STEPS, u.first, &options, u.outputs);
    ck_assert_msg(ebb_graph_status(u.graph) == EBB_OK, "%s", ebb_graph_message(u.graph));
    add_source(&u, ebb_graph_find(u.graph, "cell/w_x"), n->w_x);
    add_source(&u, ebb_graph_find(u.graph, "cell/w_h"), n->w_h);
    add_source(&u, ebb_graph_find(u.graph, "cell/b"), n->b);
    return u;
}

static ebb_tensor value_of_source(const unrolled *u, int i)
{
    const ebb_type *type = ebb_node_type(u->sources[i]);
    return ebb_tensor_borrow(type->dtype, type->shape, u->data[i]);
}

START_TEST(cells_are_what_the_papers_say)
{
    const ebb_nn_cell cell = (ebb_nn_cell)(_i / 2);
    const bool with_state = _i % 2;
    numbers n;
    fill_numbers(&n);
    unrolled u = unroll(cell, &n, with_state);
    ebb_error error;
    ebb_interpreter *in = ebb_interpreter_create(u.graph, NULL);
    for (int i = 0; i < u.n_sources; i++) {
        const ebb_tensor value = value_of_source(&u, i);
        ck_assert_int_eq(ebb_interpreter_set(in, u.sources[i], &value, &error), EBB_OK);
    }
    ck_assert_msg(ebb_interpreter_run(in, u.outputs, STEPS, &error) == EBB_OK, "%s", error.message);
    if (!with_state) {
        memset(n.h, 0, sizeof n.h);
        memset(n.c, 0, sizeof n.c);
    }
    for (int t = 0; t < STEPS; t++) {
        const ebb_tensor *have = ebb_interpreter_get(in, u.outputs[t]);
        for (int s = 0; s < BATCH; s++) {
            step_reference(cell, &n, t, s, 0.75, n.h[s], n.c[s]);
            for (int i = 0; i < HIDDEN; i++)
                ck_assert_msg(
                    nearly_equal(ebb_tensor_get(have, s * HIDDEN + i), n.h[s][i], 1e-13, 1e-13),
                    "%s: step %d, sample %d, unit %d: %.17g, not %.17g", cell_names[cell], t, s, i,
                    ebb_tensor_get(have, s * HIDDEN + i), n.h[s][i]);
        }
    }
    ck_assert_uint_eq(u.last.h.id, u.outputs[STEPS - 1].id);
    ck_assert_int_eq(ebb_node_is_none(u.last.c), cell != EBB_NN_LSTM);
    if (cell == EBB_NN_LSTM) {
        ck_assert_int_eq(ebb_interpreter_run(in, &u.last.c, 1, &error), EBB_OK);
        for (int i = 0; i < BATCH * HIDDEN; i++)
            ck_assert(nearly_equal(ebb_tensor_get(ebb_interpreter_get(in, u.last.c), i),
                                   (&n.c[0][0])[i], 1e-13, 1e-13));
    }
    ebb_interpreter_destroy(in);
    ebb_graph_destroy(u.graph);
}
END_TEST

/* By every input, state and weight, through time. relu only where no sum is near its corner. */
START_TEST(gradients_through_time)
{
    const ebb_nn_cell cell = (ebb_nn_cell)_i;
    numbers n;
    fill_numbers(&n);
    unrolled u = unroll(cell, &n, true);
    ebb_check_value values[STEPS + 5];
    for (int i = 0; i < u.n_sources; i++)
        values[i] = (ebb_check_value){ u.sources[i], value_of_source(&u, i) };
    ebb_node sum = u.outputs[0];
    for (int t = 1; t < STEPS; t++)
        sum = ebb_add(sum, u.outputs[t]);
    ebb_check_report report;
    const ebb_check_options options = { .values = values,
                                        .n_values = u.n_sources,
                                        .step = cell == EBB_NN_RNN_RELU ? 1e-5 : 0 };
    ck_assert_msg(ebb_check_gradients(sum, u.sources, u.n_sources, &options, &report) == EBB_OK,
                  "%s: %s", cell_names[cell], ebb_graph_message(u.graph));
    ck_assert_int_eq(report.n_checks, 2 * u.n_sources);
    ebb_graph_destroy(u.graph);
}
END_TEST

START_TEST(variables_are_shared_and_shaped)
{
    static const int64_t wide[] = { 1, 1, 4, 3 }, bias[] = { 1, 1, 4, 4 };
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(BATCH, INPUTS));
    for (int cell = 0; cell < 4; cell++) {
        ebb_nn_recurrent_options options = options_of((ebb_nn_cell)cell);
        options.name = cell_names[cell];
        ebb_nn_cell_weights a = ebb_nn_recurrent_weights(x, &options);
        ebb_nn_cell_weights b = ebb_nn_recurrent_weights(x, &options);
        ck_assert_msg(ebb_graph_status(g) == EBB_OK, "%s", ebb_graph_message(g));
        ck_assert(a.w_x.id == b.w_x.id && a.w_h.id == b.w_h.id && a.b.id == b.b.id);
        ebb_type type = { EBB_F32, EBB_SHAPE(INPUTS, wide[cell] * HIDDEN) };
        ck_assert(ebb_type_equal(ebb_node_type(a.w_x), &type));
        type.shape = EBB_SHAPE(HIDDEN, wide[cell] * HIDDEN);
        ck_assert(ebb_type_equal(ebb_node_type(a.w_h), &type));
        type.shape = EBB_SHAPE(bias[cell] * HIDDEN);
        ck_assert(ebb_type_equal(ebb_node_type(a.b), &type));
        options.no_bias = true;
        ck_assert(ebb_node_is_none(ebb_nn_recurrent_weights(x, &options).b));
    }
    ebb_graph_destroy(g);
}
END_TEST

/* With weights and biases 0: c' = c/2 and h' = tanh(c')/2 for LSTM; h' = h/2 for GRU. */
START_TEST(gates_half_open)
{
    ebb_graph *g = ebb_graph_create("g");
    const ebb_shape one = EBB_SHAPE(1, 1);
    ebb_node x = ebb_full(g, EBB_F64, one, 3), h = ebb_full(g, EBB_F64, one, 0.5);
    const ebb_nn_cell_weights four = { ebb_full(g, EBB_F64, EBB_SHAPE(1, 4), 0),
                                       ebb_full(g, EBB_F64, EBB_SHAPE(1, 4), 0), EBB_NONE };
    const ebb_nn_cell_weights three = { ebb_full(g, EBB_F64, EBB_SHAPE(1, 3), 0),
                                        ebb_full(g, EBB_F64, EBB_SHAPE(1, 3), 0), EBB_NONE };
    ebb_nn_cell_state lstm = ebb_nn_lstm_cell(x, ((ebb_nn_cell_state){ h, h }), four, 0);
    ebb_node outputs[3] = { lstm.h, lstm.c, ebb_nn_gru_cell(x, h, three) };
    const double expected[3] = { tanh(0.25) / 2, 0.25, 0.25 };
    ebb_error error;
    ebb_interpreter *in = ebb_interpreter_create(g, NULL);
    ck_assert_int_eq(ebb_interpreter_run(in, outputs, 3, &error), EBB_OK);
    for (int i = 0; i < 3; i++)
        ck_assert_double_eq_tol(ebb_tensor_get(ebb_interpreter_get(in, outputs[i]), 0), expected[i],
                                1e-15);
    ebb_interpreter_destroy(in);
    ebb_graph_destroy(g);
}
END_TEST

/* ---- what is refused ---- */

typedef struct refused {
    ebb_graph *g;
    ebb_node x, h;
    ebb_nn_cell_weights w; /* of an rnn */
} refused;

static refused make_refused(void)
{
    refused r = { .g = ebb_graph_create("g") };
    r.x = ebb_input(r.g, "x", EBB_F32, EBB_SHAPE(BATCH, INPUTS));
    r.h = ebb_input(r.g, "h", EBB_F32, EBB_SHAPE(BATCH, HIDDEN));
    ebb_nn_recurrent_options options = options_of(EBB_NN_RNN);
    r.w = ebb_nn_recurrent_weights(r.x, &options);
    return r;
}

static void assert_refused(refused *r, ebb_status status, const char *part)
{
    ck_assert_msg(ebb_graph_status(r->g) == status, "%s: %s",
                  ebb_status_name(ebb_graph_status(r->g)), ebb_graph_message(r->g));
    ck_assert_msg(strstr(ebb_graph_message(r->g), part), "\"%s\" is not in \"%s\"", part,
                  ebb_graph_message(r->g));
    ck_assert_msg(strstr(ebb_graph_message(r->g), "test_recurrent.c"), "no place: %s",
                  ebb_graph_message(r->g));
    ebb_graph_destroy(r->g);
    *r = make_refused();
}

START_TEST(bad_cells)
{
    refused r = make_refused();
    ebb_nn_rnn_cell(EBB_NONE, r.h, r.w, false);
    ck_assert_int_eq(ebb_graph_status(r.g), EBB_OK); /* a none node has no graph to tell */
    ebb_nn_rnn_cell(r.x, r.h, ((ebb_nn_cell_weights){ r.w.w_x, EBB_NONE, r.w.b }), false);
    assert_refused(&r, EBB_BAD_NODE, "nn_rnn_cell: w_h is the none node");
    ebb_nn_rnn_cell(r.x, r.x, r.w, false);
    assert_refused(&r, EBB_BAD_SHAPE, "h must be f32[3,5], not x f32[3,2]");
    ebb_nn_rnn_cell(r.h, r.h, r.w, true);
    assert_refused(&r, EBB_BAD_SHAPE, "w_x must be f32[5,5], not cell/w_x f32[2,5]");
    ebb_nn_rnn_cell(ebb_cast(r.x, EBB_F64), r.h, r.w, true);
    assert_refused(&r, EBB_BAD_DTYPE, "w_h must be f64[5,5], not cell/w_h f32[5,5]");
    ebb_nn_rnn_cell(ebb_cast(r.x, EBB_I32), r.h, r.w, true);
    assert_refused(&r, EBB_BAD_DTYPE, "x must be float");
    ebb_nn_rnn_cell(ebb_reshape(r.x, EBB_SHAPE(-1)), r.h, r.w, true);
    assert_refused(&r, EBB_BAD_SHAPE, "x must be [batch, inputs]");
    ebb_nn_gru_cell(r.x, r.h, r.w);
    assert_refused(&r, EBB_BAD_SHAPE, "nn_gru_cell: with x x f32[3,2], w_h must be f32[5,15]");
    ebb_nn_lstm_cell(r.x, ((ebb_nn_cell_state){ r.h, r.h }), r.w, 0);
    assert_refused(&r, EBB_BAD_SHAPE, "nn_lstm_cell: with x x f32[3,2], w_h must be f32[5,20]");
    ebb_nn_lstm_cell(r.x, ((ebb_nn_cell_state){ r.h, r.h }), r.w, NAN);
    assert_refused(&r, EBB_BAD_ARGUMENT, "is not finite");
    ebb_node b = ebb_input(r.g, "b", EBB_F32, EBB_SHAPE(4));
    ebb_nn_rnn_cell(r.x, r.h, ((ebb_nn_cell_weights){ r.w.w_x, r.w.w_h, b }), false);
    assert_refused(&r, EBB_BAD_SHAPE, "b must be f32[5], not b f32[4]");
    ebb_graph_destroy(r.g);
}
END_TEST

START_TEST(bad_unrolls)
{
    refused r = make_refused();
    ebb_nn_recurrent_options options = options_of(EBB_NN_LSTM);
    ebb_node steps[2] = { r.x, r.h }, outputs[2] = { r.x, r.x };
    options.name = "other";
    ebb_nn_cell_state last =
        ebb_nn_unroll(steps, 2, (ebb_nn_cell_state){ EBB_NONE, EBB_NONE }, &options, outputs);
    ck_assert(ebb_node_is_none(last.h) && ebb_node_is_none(last.c));
    ck_assert_int_eq(ebb_graph_status(r.g), EBB_BAD_SHAPE);
    ck_assert(strstr(ebb_graph_message(r.g), "step 1 is h f32[3,5], step 0 is x f32[3,2]"));
    ebb_graph_destroy(r.g);

    r = make_refused();
    last = ebb_nn_unroll(&r.x, 0, (ebb_nn_cell_state){ r.h, EBB_NONE }, &options, outputs);
    ck_assert_int_eq(ebb_graph_status(r.g), EBB_BAD_ARGUMENT);
    ck_assert(strstr(ebb_graph_message(r.g), "there is no step"));
    ebb_graph_destroy(r.g);

    r = make_refused();
    ebb_nn_recurrent_weights(r.x, NULL);
    assert_refused(&r, EBB_BAD_NAME, "the layer needs a name");
    options.hidden = 0;
    ebb_nn_recurrent_weights(r.x, &options);
    assert_refused(&r, EBB_BAD_ARGUMENT, "hidden must be at least 1, not 0");
    options = options_of((ebb_nn_cell)9);
    ebb_nn_recurrent_weights(r.x, &options);
    assert_refused(&r, EBB_BAD_ARGUMENT, "there is no cell 9");
    options = options_of(EBB_NN_LSTM);
    options.forget_bias = INFINITY;
    ebb_nn_recurrent_weights(r.x, &options);
    assert_refused(&r, EBB_BAD_ARGUMENT, "forget_bias inf is not finite");
    ebb_graph_destroy(r.g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("recurrent");
    TCase *cells = tcase_create("cells");
    tcase_add_loop_test(cells, cells_are_what_the_papers_say, 0, 8);
    tcase_add_loop_test(cells, gradients_through_time, 0, 4);
    tcase_add_test(cells, variables_are_shared_and_shaped);
    tcase_add_test(cells, gates_half_open);
    suite_add_tcase(suite, cells);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, bad_cells);
    tcase_add_test(errors, bad_unrolls);
    suite_add_tcase(suite, errors);
    return run_suite(suite);
}
