/* Updates: every variable gets its new value from the old ones, wherever it is computed. */
#include "graph/interpret.h"
#include "runtime/runtime.h"
#include "tests/support/runtime.h"

#include <math.h>

static void set_f64(ebb_store *store, const char *name, ebb_shape shape, const double *values)
{
    ebb_tensor value = ebb_tensor_borrow(EBB_F64, shape, values);
    ck_assert_int_eq(ebb_store_set(store, name, &value), EBB_OK);
}

static ebb_node variable(ebb_graph *graph, const char *name, double first)
{
    return ebb_variable(graph, name, EBB_F64, EBB_SHAPE(2),
                        &(ebb_init){ .kind = EBB_INIT_CONSTANT, .a = first });
}

/* ---- updates ---- */

START_TEST(updates_see_the_values_from_before)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node a = variable(g, "a", 1), b = variable(g, "b", 2), c = variable(g, "c", 3);
    ebb_node d = variable(g, "d", 4), f = variable(g, "f", 5), h = variable(g, "h", 6);
    ebb_update(a, b); /* a, b, c go round */
    ebb_update(b, c);
    ebb_update(c, a);
    ebb_node step = ebb_add(d, f);
    ebb_update(d, step); /* one value for two, one of which is read for it */
    ebb_update(h, step);
    ebb_update(f, f); /* itself */
    ebb_node nodes[] = { a, b, c, step, d, ebb_add(ebb_add(a, b), h) };
    ebb_executable *e = compile(g, _i, nodes, 6, store);
    double state[6] = { 1, 2, 3, 4, 5, 6 };
    for (int round = 0; round < 4; round++) {
        double out[6][2];
        ebb_fetch fetches[6];
        for (int i = 0; i < 6; i++)
            fetches[i] = FETCH(nodes[i], out[i]);
        run(e, NULL, 0, fetches, round == 3 ? 0 : 6);
        for (int i = 0; i < 2 && round < 3; i++) {
            for (int v = 0; v < 3; v++)
                ck_assert_double_eq(out[v][i], state[v]);
            ck_assert_double_eq(out[3][i], state[3] + state[4]);
            ck_assert_double_eq(out[4][i], state[3]);
            ck_assert_double_eq(out[5][i], state[0] + state[1] + state[5]);
        }
        double first = state[0];
        state[0] = state[1];
        state[1] = state[2];
        state[2] = first;
        state[3] = state[5] = state[3] + state[4];
        static const char *const names[] = { "a", "b", "c", "d", "f", "h" };
        for (int v = 0; v < 6; v++) {
            ck_assert_double_eq(stored(store, names[v], 0), state[v]);
            ck_assert_double_eq(stored(store, names[v], 1), state[v]);
        }
    }
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(updates_with_sources_and_views)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    ebb_shape square = EBB_SHAPE(2, 2);
    double m[4] = { 1, 2, 3, 4 }, one[4] = { 9, 8, 7, 6 };
    set_f64(store, "turned", square, m);
    ebb_node turned = ebb_variable(g, "turned", EBB_F64, square, NULL);
    ebb_node fed = ebb_variable(g, "fed", EBB_F64, square, NULL);
    ebb_node fixed = ebb_variable(g, "fixed", EBB_F64, square, NULL);
    ebb_node other = ebb_variable(g, "other", EBB_F64, square, NULL);
    ebb_node spread = ebb_variable(g, "spread", EBB_F64, square, NULL);
    ebb_node flat = ebb_variable(g, "flat", EBB_F64, EBB_SHAPE(4), NULL);
    ebb_node x = ebb_input(g, "x", EBB_F64, square);
    ebb_update(turned, ebb_transpose(turned, EBB_AXES(1, 0)));
    ebb_update(fed, x);
    ebb_update(fixed, ebb_constant(g, EBB_F64, square, one));
    ebb_update(other, ebb_transpose(x, EBB_AXES(1, 0)));
    ebb_update(spread, ebb_broadcast_to(ebb_reduce_sum(turned, EBB_AXES(0), false), square));
    ebb_update(flat, ebb_reshape(ebb_neg(x), EBB_SHAPE(4)));
    ebb_executable *e = compile(g, _i, NULL, 0, store);
    double data[4] = { 10, 20, 30, 40 };
    for (int round = 0; round < 3; round++) {
        run(e, &FEED(x, data), 1, NULL, 0);
        bool is_turned = round % 2 == 0;
        for (int i = 0; i < 4; i++) {
            int t = i % 2 * 2 + i / 2;
            ck_assert_double_eq(stored(store, "turned", i), is_turned ? m[t] : m[i]);
            ck_assert_double_eq(stored(store, "fed", i), data[i]);
            ck_assert_double_eq(stored(store, "fixed", i), one[i]);
            ck_assert_double_eq(stored(store, "other", i), data[t]);
            /* columns of the old value */
            double sum = is_turned ? m[i % 2] + m[2 + i % 2] : m[i % 2 * 2] + m[i % 2 * 2 + 1];
            ck_assert_double_eq(stored(store, "spread", i), sum);
            ck_assert_double_eq(stored(store, "flat", i), -data[i]);
        }
    }
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

/* Momentum: the new velocity is read by the new weight, and both are written where the old ones
 * stand. */
START_TEST(momentum_needs_no_copies)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node v = variable(g, "v", 0), w = variable(g, "w", 1);
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(2));
    ebb_node v_new = ebb_sub(ebb_mul(v, ebb_full_like(v, 0.5)), ebb_mul(x, w));
    ebb_node w_new = ebb_add(w, v_new);
    ebb_update(v, v_new);
    ebb_update(w, w_new);
    ebb_node nodes[] = { w, v_new, w_new };
    ebb_executable *e = compile(g, _i, nodes, 3, store);
    if (_i >=
        2) { /* reference kernels cannot write over what they read, and read dense values only */
        ck_assert_uint_eq(e->n_moves, 0);
        ck_assert_int_eq(ebb_executable_get_stats(e).n_copies, 0);
    }
    double data[2] = { 0.25, -1 }, expected[2][2] = { { 0, 0 }, { 1, 1 } }, out[3][2];
    for (int round = 0; round < 5; round++) {
        run(e, &FEED(x, data), 1,
            (ebb_fetch[]){ FETCH(w, out[0]), FETCH(v_new, out[1]), FETCH(w_new, out[2]) }, 3);
        for (int i = 0; i < 2; i++) {
            ck_assert_double_eq(out[0][i], expected[1][i]);
            expected[0][i] = expected[0][i] * 0.5 - data[i] * expected[1][i];
            expected[1][i] += expected[0][i];
            ck_assert_double_eq(out[1][i], expected[0][i]);
            ck_assert_double_eq(out[2][i], expected[1][i]);
            ck_assert_double_eq(stored(store, "v", i), expected[0][i]);
            ck_assert_double_eq(stored(store, "w", i), expected[1][i]);
        }
    }
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

/* Steps behind an update that read the old value run before it: that costs no copy either. */
START_TEST(late_readers_see_the_old_value)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node w = variable(g, "w", 1), x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(2));
    ebb_node w_new = ebb_add(w, x);
    ebb_update(w, w_new);
    ebb_node late = ebb_exp(ebb_mul(w, x)), both = ebb_mul(ebb_square(w), w_new);
    ebb_node nodes[] = { late, both };
    ebb_executable *e = compile(g, _i, &late, 1, store);
    if (_i >= 2)
        ck_assert_uint_eq(e->n_moves, 0);
    double data[2] = { 0.5, 2 }, out[2][2];
    run(e, &FEED(x, data), 1, &FETCH(late, out[0]), 1);
    ebb_executable_destroy(e);
    e = compile(g, _i, nodes, 2, store);
    run(e, &FEED(x, data), 1, (ebb_fetch[]){ FETCH(late, out[0]), FETCH(both, out[1]) }, 2);
    for (int i = 0; i < 2; i++) {
        double before = 1 + data[i];
        ck_assert_double_eq_tol(out[0][i], exp(before * data[i]), 1e-12 * out[0][i]);
        ck_assert_double_eq(out[1][i], before * before * (before + data[i]));
        ck_assert_double_eq(stored(store, "w", i), before + data[i]);
    }
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

/* ---- random graphs against the interpreter ---- */

enum { N_VARIABLES = 4, N_RANDOM_NODES = 60, N_FETCHED = 6, SIDE = 3 };

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state >> 11;
}

/* Operations on square matrices, all bounded by tanh now and then. */
static ebb_node random_node(ebb_node *nodes, int n, uint64_t *seed)
{
    ebb_node a = nodes[next_random(seed) % (uint64_t)n], b = nodes[next_random(seed) % (uint64_t)n];
    ebb_shape square = EBB_SHAPE(SIDE, SIDE);
    switch (next_random(seed) % 12) {
    case 0:
        return ebb_add(a, b);
    case 1:
        return ebb_sub(a, b);
    case 2:
        return ebb_tanh(ebb_mul(a, b));
    case 3:
        return ebb_tanh(a);
    case 4:
        return ebb_transpose(a, EBB_AXES(1, 0));
    case 5:
        return ebb_broadcast_to(ebb_reduce_mean(a, EBB_AXES(0), false), square);
    case 6:
        return ebb_broadcast_to(ebb_reduce_max(a, EBB_AXES(1), true), square);
    case 7:
        return ebb_tanh(ebb_matmul(a, b));
    case 8:
        return ebb_softmax(a, (int)(next_random(seed) % 2));
    case 9:
        return ebb_neg(ebb_select(ebb_greater(a, b), a, b)); /* continuous: rounding differs */
    case 10: {
        ebb_node row = ebb_reshape(a, EBB_SHAPE(SIDE * SIDE));
        return ebb_reshape(ebb_relu(row), square);
    }
    default:
        return ebb_reshape(ebb_transpose(a, EBB_AXES(1, 0)), square);
    }
}

static void check_random_graph(int way, uint64_t seed, ebb_dtype dtype)
{
    ebb_graph *g = ebb_graph_create("random");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node nodes[N_RANDOM_NODES], fetched[N_FETCHED];
    ebb_shape square = EBB_SHAPE(SIDE, SIDE);
    static const char *const names[N_VARIABLES] = { "a", "b", "c", "d" };
    for (int v = 0; v < N_VARIABLES; v++)
        nodes[v] = ebb_variable(g, names[v], dtype, square,
                                &(ebb_init){ .kind = EBB_INIT_NORMAL, .b = 1, .seed = seed });
    ebb_node x = nodes[N_VARIABLES] = ebb_input(g, "x", dtype, square);
    for (int i = N_VARIABLES + 1; i < N_RANDOM_NODES; i++)
        nodes[i] = random_node(nodes, i, &seed);
    for (int i = 0; i < N_FETCHED; i++)
        fetched[i] = nodes[next_random(&seed) % N_RANDOM_NODES];
    for (int v = 0; v < N_VARIABLES; v++)
        if (next_random(&seed) % 4)
            ebb_update(nodes[v], nodes[next_random(&seed) % N_RANDOM_NODES]);
    ebb_executable *e = compile(g, way, fetched, N_FETCHED, store);
    ebb_interpreter *oracle = ebb_interpreter_create(g, NULL);
    ebb_error error;
    double tolerance = dtype == EBB_F64 ? 1e-10 : 1e-3;
    for (int round = 0; round < 3; round++) {
        ebb_tensor value, fed, outs[N_FETCHED];
        for (int v = 0; v < N_VARIABLES; v++) {
            if (ebb_store_get(store, names[v], &value) == EBB_OK)
                ck_assert_int_eq(ebb_interpreter_set(oracle, nodes[v], &value, &error), EBB_OK);
        }
        ck_assert_int_eq(ebb_tensor_init(&fed, *ebb_node_type(x), NULL), EBB_OK);
        for (int i = 0; i < SIDE * SIDE; i++)
            ebb_tensor_set(&fed, i, (double)(next_random(&seed) % 1000) / 500 - 1);
        ck_assert_int_eq(ebb_interpreter_set(oracle, x, &fed, &error), EBB_OK);
        ebb_node outputs[N_FETCHED + N_VARIABLES], variable_node;
        int n_updates = (int)ebb_graph_n_updates(g);
        memcpy(outputs, fetched, sizeof fetched);
        for (int i = 0; i < n_updates; i++)
            ebb_graph_update(g, i, &variable_node, &outputs[N_FETCHED + i]);
        /* What the store lacks nobody needs. */
        for (int v = 0; v < N_VARIABLES; v++) {
            if (ebb_store_get(store, names[v], &value))
                ck_assert_int_eq(ebb_interpreter_set(oracle, nodes[v], &fed, &error), EBB_OK);
        }
        ck_assert_int_eq(ebb_interpreter_run(oracle, outputs, N_FETCHED + n_updates, &error),
                         EBB_OK);
        ebb_fetch fetches[N_FETCHED];
        for (int i = 0; i < N_FETCHED; i++) {
            ck_assert_int_eq(ebb_tensor_init(&outs[i], *ebb_node_type(fetched[i]), NULL), EBB_OK);
            fetches[i] = (ebb_fetch){ fetched[i], outs[i] };
        }
        run(e, &(ebb_feed){ x, fed }, 1, fetches, N_FETCHED);
        for (int i = 0; i < N_FETCHED; i++) {
            const ebb_tensor *expected = ebb_interpreter_get(oracle, fetched[i]);
            for (int k = 0; k < SIDE * SIDE; k++)
                ck_assert_double_eq_tol(ebb_tensor_get(&outs[i], k), ebb_tensor_get(expected, k),
                                        tolerance);
            ebb_tensor_finish(&outs[i]);
        }
        for (int i = 0; i < n_updates; i++) {
            ebb_graph_update(g, i, &variable_node, &outputs[0]);
            const ebb_tensor *expected = ebb_interpreter_get(oracle, outputs[0]);
            for (int k = 0; k < SIDE * SIDE; k++)
                ck_assert_double_eq_tol(stored(store, ebb_node_name(variable_node), k),
                                        ebb_tensor_get(expected, k), tolerance);
        }
        ebb_tensor_finish(&fed);
    }
    ebb_interpreter_destroy(oracle);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}

START_TEST(random_graphs)
{
    for (uint64_t seed = 1; seed <= 200; seed++)
        check_random_graph(_i, seed * UINT64_C(0x9E3779B97F4A7C15), seed % 2 ? EBB_F64 : EBB_F32);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("updates");
    TCase *tests = tcase_create("updates");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, updates_see_the_values_from_before, 0, N_WAYS);
    tcase_add_loop_test(tests, updates_with_sources_and_views, 0, N_WAYS);
    tcase_add_loop_test(tests, momentum_needs_no_copies, 0, N_WAYS);
    tcase_add_loop_test(tests, late_readers_see_the_old_value, 0, N_WAYS);
    tcase_add_loop_test(tests, random_graphs, 0, N_WAYS);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
