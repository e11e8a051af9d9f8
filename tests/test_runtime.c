/* Compiling and running, through the public API, on both backends, with and without the passes. */
#include "backends/parallel.h"
#include "tests/support/runtime.h"

#include <math.h>

/* ---- feeds and fetches ---- */

START_TEST(everything_can_be_fetched)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, 3));
    ebb_node unused = ebb_input(g, "unused", EBB_I32, EBB_SHAPE(1));
    ebb_node w = ebb_variable(g, "w", EBB_F32, EBB_SHAPE(3), &(ebb_init){ .a = 2 });
    float three[3] = { 1, 2, 3 };
    ebb_node c = ebb_constant(g, EBB_F32, EBB_SHAPE(3), three);
    ebb_node nodes[] = {
        x,
        w,
        c,
        ebb_add(ebb_mul(x, w), c),                 /* 3: computed */
        ebb_transpose(x, EBB_AXES(1, 0)),          /* 4: a view of an input */
        ebb_broadcast_to(w, EBB_SHAPE(2, 3)),      /* 5: of a variable */
        ebb_reshape(c, EBB_SHAPE(3, 1)),           /* 6: of a constant */
        ebb_transpose(ebb_exp(x), EBB_AXES(1, 0)), /* 7: of a computed value */
        ebb_reduce_sum(x, EBB_ALL_AXES, false),    /* 8: a scalar */
        ebb_iota(g, EBB_I64, EBB_SHAPE(2, 2), 1),
        x, /* 9, and 10: twice */
    };
    enum { N = sizeof nodes / sizeof *nodes };
    ebb_executable *e = compile(g, _i, nodes, N, store);
    ebb_graph_destroy(g); /* not needed any more; nodes stay names */
    float data[6] = { 1, 2, 3, 4, 5, 6 }, out[8][6], scalar = 0, empty = 0;
    int64_t iota[4];
    const ebb_type t = { EBB_F32, EBB_SHAPE(2, 3) }, row = { EBB_F32, EBB_SHAPE(3) },
                   turned = { EBB_F32, EBB_SHAPE(3, 2) };
    const ebb_type types[8] = { t, row, row, t, turned, t, { EBB_F32, EBB_SHAPE(3, 1) }, turned };
    ebb_fetch fetches[N];
    for (int i = 0; i < 8; i++)
        fetches[i] = (ebb_fetch){ nodes[i], { .type = types[i], .data = out[i] } };
    fetches[8] = (ebb_fetch){ nodes[8], ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &scalar) };
    fetches[9] = (ebb_fetch){ nodes[9], ebb_tensor_borrow(EBB_I64, EBB_SHAPE(2, 2), iota) };
    float again[6];
    fetches[10] = (ebb_fetch){ nodes[10], { .type = t, .data = again } };
    ebb_feed feeds[2] = { { x, { .type = t, .data = data } },
                          { unused, ebb_tensor_borrow(EBB_I32, EBB_SHAPE(1), &empty) } };
    for (int round = 0; round < 2; round++) {
        memset(out, 0, sizeof out);
        run(e, feeds, 1 + round, fetches, N); /* what nobody needs may be fed or not */
        for (int i = 0; i < 6; i++) {
            ck_assert_float_eq(out[0][i], data[i]);
            ck_assert_float_eq(again[i], data[i]);
            ck_assert_float_eq(out[3][i], data[i] * 2 + three[i % 3]);
            ck_assert_float_eq(out[4][i], data[i % 2 * 3 + i / 2]);
            ck_assert_float_eq(out[5][i], 2);
            ck_assert_float_eq_tol(out[7][i], expf(data[i % 2 * 3 + i / 2]), 1e-3F);
        }
        for (int i = 0; i < 3; i++) {
            ck_assert_float_eq(out[1][i], 2);
            ck_assert_float_eq(out[2][i], three[i]);
            ck_assert_float_eq(out[6][i], three[i]);
        }
        ck_assert_float_eq(scalar, 21);
        ck_assert_int_eq(iota[1], 1);
        ck_assert_int_eq(iota[2], 0);
    }
    /* A part of them, twice, and other feeds. */
    float other[6] = { 6, 5, 4, 3, 2, 1 };
    feeds[0].value.data = other;
    ebb_fetch some[2] = { fetches[4], fetches[4] };
    some[1].value.data = again;
    run(e, feeds, 1, some, 2);
    ck_assert_float_eq(out[4][1], 3);
    ck_assert_float_eq(again[1], 3);
    run(e, feeds, 1, NULL, 0);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
}
END_TEST

START_TEST(empty_tensors)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(0, 3));
    ebb_node w = ebb_variable(g, "w", EBB_F32, EBB_SHAPE(3, 2), &(ebb_init){ .a = 1 });
    ebb_node none = ebb_variable(g, "none", EBB_F32, EBB_SHAPE(0, 2), NULL);
    ebb_node y = ebb_matmul(ebb_relu(x), w), sum = ebb_reduce_sum(y, EBB_AXES(0), false);
    ebb_update(none, y);
    ebb_node nodes[] = { x, y, sum, ebb_transpose(y, EBB_AXES(1, 0)) };
    ebb_executable *e = compile(g, _i, nodes, 4, store);
    float out[2] = { 5, 5 };
    ebb_fetch fetches[] = { FETCH(x, NULL), FETCH(y, NULL), FETCH(sum, out),
                            FETCH(nodes[3], NULL) };
    run(e, &FEED(x, NULL), 1, fetches, 4);
    ck_assert_float_eq(out[0], 0);
    ck_assert_float_eq(out[1], 0);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

/* ---- memory ---- */

/* One step a node. */
static ebb_executable *compile_unfused(ebb_graph *graph, int way, ebb_node fetch)
{
    return compile_with(graph, &(ebb_compile_options){ .fetches = &fetch,
                                                       .n_fetches = 1,
                                                       .backend = ways[way].backend,
                                                       .skip_passes = ways[way].skip_passes,
                                                       .skip_fusions = "programs" });
}

START_TEST(memory_is_shared)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(1000)), y = x;
    for (int i = 0; i < 50; i++)
        y = ebb_add(ebb_tanh(y), x);
    ebb_executable *e = compile_unfused(g, _i, y);
    ebb_executable_stats stats = ebb_executable_get_stats(e);
    ck_assert_int_eq(stats.n_steps, 100);
    ck_assert_int_eq(stats.n_nodes, 101);
    ck_assert_int_eq(stats.n_nodes_built, 101);
    ck_assert_uint_eq(stats.unplanned_bytes, 100 * 4032);
    /* Each step can write over its input on the vector backend; reference kernels need two blocks.
     */
    ck_assert_uint_eq(stats.arena_bytes, (size_t)4032 * (_i < 2 ? 2 : 1));
    float data[1000], out[1000];
    for (int i = 0; i < 1000; i++)
        data[i] = (float)i / 1000;
    run(e, &FEED(x, data), 1, &FETCH(y, out), 1);
    for (int i = 0; i < 1000; i += 37) {
        double v = data[i];
        for (int k = 0; k < 50; k++)
            v = tanh(v) + data[i];
        ck_assert_double_eq_tol(out[i], v, 1e-4);
    }
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(views_cost_no_step)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(4, 5)),
             w = ebb_input(g, "w", EBB_F32, EBB_SHAPE(4, 6));
    ebb_node y = ebb_matmul(ebb_transpose(x, EBB_AXES(1, 0)), w);
    ebb_executable *e = NULL;
    ck_assert_int_eq(
        ebb_compile(g, &(ebb_compile_options){ .fetches = &y, .n_fetches = 1, .skip_passes = true },
                    &e),
        EBB_OK);
    ebb_executable_stats stats = ebb_executable_get_stats(e);
    ck_assert_int_eq(stats.n_views, 1);
    ck_assert_int_eq(stats.n_steps - stats.n_copies, 1);
    ebb_executable_destroy(e);
    /* The reference kernel wants its input dense: a copy is made for it, once for both who read it.
     */
    ebb_node turned = ebb_transpose(x, EBB_AXES(1, 0));
    ebb_node both[2] = { ebb_neg(turned), ebb_abs(turned) };
    e = compile(g, 1, both, 2, NULL);
    stats = ebb_executable_get_stats(e);
    ck_assert_int_eq(stats.n_copies, 1);
    ck_assert_int_eq(stats.n_steps, 3);
    ebb_step_info info;
    ck_assert(ebb_executable_step(e, 0, &info));
    ck_assert_str_eq(info.op, "copy");
    ck_assert_uint_eq(info.read_bytes, 80);
    ck_assert_uint_eq(info.written_bytes, 80);
    ck_assert(ebb_executable_step(e, 1, &info));
    ck_assert_str_eq(info.op, "neg");
    ck_assert_str_eq(info.backend, "reference");
    ck_assert_str_eq(info.implementation, "eval");
    ck_assert_str_eq(info.name, "");
    ck_assert_int_eq(info.n_threads, 1);
    ck_assert(!ebb_executable_step(e, 3, &info));
    ck_assert(!ebb_executable_step(e, -1, &info));
    ck_assert_ptr_null(info.op);
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
}
END_TEST

static int threads_of_first_step(ebb_graph *g, ebb_node y, int n_threads)
{
    ebb_executable *e = compile_with(
        g, &(ebb_compile_options){ .fetches = &y, .n_fetches = 1, .n_threads = n_threads });
    ebb_step_info info;
    ck_assert(ebb_executable_step(e, 0, &info));
    ebb_executable_destroy(e);
    return info.n_threads;
}

START_TEST(small_runs_stay_on_one_thread)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(64, 1024));
    ebb_node a = ebb_input(g, "a", EBB_F32, EBB_SHAPE(512, 512));
    ebb_node light = ebb_tanh(x), heavy = ebb_matmul(a, a); /* 65,536 and 268 million operations */
    ck_assert_int_eq(threads_of_first_step(g, light, 2), 2);
    ck_assert_int_eq(threads_of_first_step(g, light, 0), 1);
    ck_assert_int_eq(threads_of_first_step(g, heavy, 1), 1);
    ck_assert_int_eq(threads_of_first_step(g, heavy, 0), ebb_threads_default());
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(long_chains)
{
    enum { LENGTH = 60000 };
    ebb_graph *g = ebb_graph_create("chain");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(1)), y = x;
    for (int i = 0; i < LENGTH; i++)
        y = ebb_tanh(y);
    ebb_executable *e = compile_unfused(g, _i, y);
    float data = 0.5F, out = 0;
    run(e, &FEED(x, &data), 1, &FETCH(y, &out), 1);
    /* tanh iterated n times goes to sqrt(3 / (2 n)) (from x' = -x^3/3) */
    ck_assert_float_eq_tol(out, sqrtf(1.5F / LENGTH), 2e-4F);
    ck_assert_int_eq(ebb_executable_get_stats(e).n_steps, LENGTH);
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
}
END_TEST

/* ---- training ---- */

typedef struct net {
    ebb_graph *graph;
    ebb_node x, t, scores, loss;
} net;

static net make_net(int64_t batch, bool train)
{
    net n = { .graph = ebb_graph_create("net") };
    n.x = ebb_input(n.graph, "x", EBB_F32, EBB_SHAPE(batch, 20));
    n.t = ebb_input(n.graph, "t", EBB_I32, EBB_SHAPE(batch));
    ebb_node h =
        ebb_relu(ebb_nn_linear(n.x, 33, &(ebb_nn_linear_options){ .name = "fc1", .init.seed = 1 }));
    n.scores = ebb_nn_linear(h, 7, &(ebb_nn_linear_options){ .name = "fc2", .init.seed = 1 });
    n.loss = ebb_named(ebb_softmax_cross_entropy(n.scores, n.t), "loss");
    if (train)
        ck_assert_int_eq(ebb_nn_minimize(n.loss, &(ebb_nn_rule){ .rate = 0.5 }), EBB_OK);
    return n;
}

static void fill_batch(float *x, int32_t *t, int batch)
{
    for (int i = 0; i < batch; i++) {
        t[i] = i * 3 % 7;
        for (int k = 0; k < 20; k++)
            x[i * 20 + k] = (float)((i * 31 + k * 17) % 13) / 13 + (k == t[i] ? 1 : 0);
    }
}

enum { BATCH = 16, STEPS = 30 };

static void train(int way, float losses[STEPS])
{
    net n = make_net(BATCH, true);
    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *e = compile(n.graph, way, &n.loss, 1, store);
    float x[BATCH * 20];
    int32_t t[BATCH];
    fill_batch(x, t, BATCH);
    for (int i = 0; i < STEPS; i++)
        run(e, (ebb_feed[]){ FEED(n.x, x), FEED(n.t, t) }, 2, &FETCH(n.loss, &losses[i]), 1);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(n.graph);
}

START_TEST(all_ways_train_alike)
{
    float losses[N_WAYS][STEPS], again[STEPS];
    for (int way = 0; way < N_WAYS; way++) {
        train(way, losses[way]);
        train(way, again);
        for (int i = 0; i < STEPS; i++) {
            ck_assert_float_eq_tol(losses[way][i], losses[0][i], 1e-4F);
            ck_assert_float_eq(losses[way][i], again[i]); /* bit for bit */
        }
        ck_assert_float_lt(losses[way][STEPS - 1], losses[way][0] / 2);
    }
}
END_TEST

/* Training, and evaluation of another batch size, over one store: what one updates the other reads,
 * packed weights included. */
START_TEST(executables_share_a_store)
{
    net training = make_net(BATCH, true), evaluation = make_net(3, false);
    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *step = compile(training.graph, _i, &training.scores, 1, store);
    ck_assert_int_eq(ebb_store_size(store), 4);
    ck_assert_str_eq(ebb_store_name(store, 0), "fc1/w");
    ebb_executable *evaluate = compile(evaluation.graph, _i, &evaluation.scores, 1, store);
    ck_assert_int_eq(ebb_store_size(store), 4);
    float x[BATCH * 20], scores[BATCH * 7], few[3 * 7];
    int32_t t[BATCH];
    fill_batch(x, t, BATCH);
    for (int i = 0; i < 4; i++) {
        run(evaluate, &FEED(evaluation.x, x), 1, &FETCH(evaluation.scores, few), 1);
        run(step, (ebb_feed[]){ FEED(training.x, x), FEED(training.t, t) }, 2,
            &FETCH(training.scores, scores), 1); /* scores of before the update */
        for (int k = 0; k < 3 * 7; k++)
            ck_assert_float_eq_tol(few[k], scores[k], 1e-4F);
    }
    /* A write from outside is seen too. */
    float w[20 * 33] = { 0 }, b[7] = { 1, 2, 3, 4, 5, 6, 7 };
    ebb_tensor value = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(20, 33), w);
    ck_assert_int_eq(ebb_store_set(store, "fc1/w", &value), EBB_OK);
    value = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(33), w);
    ck_assert_int_eq(ebb_store_set(store, "fc1/b", &value), EBB_OK);
    value = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(7), b);
    ck_assert_int_eq(ebb_store_set(store, "fc2/b", &value), EBB_OK);
    run(evaluate, &FEED(evaluation.x, x), 1, &FETCH(evaluation.scores, few), 1);
    for (int k = 0; k < 3 * 7; k++)
        ck_assert_float_eq(few[k], b[k % 7]);
    ebb_executable_destroy(evaluate);
    ebb_executable_destroy(step);
    ebb_store_destroy(store);
    ebb_graph_destroy(training.graph);
    ebb_graph_destroy(evaluation.graph);
}
END_TEST

START_TEST(updates_can_be_skipped)
{
    net n = make_net(BATCH, true);
    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *e = NULL;
    ck_assert_int_eq(ebb_compile(n.graph,
                                 &(ebb_compile_options){ .fetches = &n.loss,
                                                         .n_fetches = 1,
                                                         .store = store,
                                                         .skip_updates = true,
                                                         .backend = ways[_i].backend,
                                                         .skip_passes = ways[_i].skip_passes },
                                 &e),
                     EBB_OK);
    float x[BATCH * 20], losses[2];
    int32_t t[BATCH];
    fill_batch(x, t, BATCH);
    for (int i = 0; i < 2; i++)
        run(e, (ebb_feed[]){ FEED(n.x, x), FEED(n.t, t) }, 2, &FETCH(n.loss, &losses[i]), 1);
    ck_assert_float_eq(losses[0], losses[1]);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(n.graph);
}
END_TEST

START_TEST(steady_runs_allocate_nothing)
{
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    ebb_graph *g =
        ebb_graph_create_with("g", &(ebb_graph_options){ .allocator = &meter.allocator });
    ebb_store *store = ebb_store_create(&meter.allocator);
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(BATCH, 20)),
             t = ebb_input(g, "t", EBB_I32, EBB_SHAPE(BATCH));
    ebb_node loss =
        ebb_softmax_cross_entropy(ebb_nn_linear(x, 7, &(ebb_nn_linear_options){ .name = "fc" }), t);
    ck_assert_int_eq(ebb_nn_minimize(loss, &(ebb_nn_rule){ .rate = 0.1 }), EBB_OK);
    ebb_executable *e = NULL;
    ebb_compile_options options = { .fetches = &loss,
                                    .n_fetches = 1,
                                    .store = store,
                                    .backend = ways[_i].backend,
                                    .skip_passes = ways[_i].skip_passes,
                                    .allocator = &meter.allocator };
    ck_assert_int_eq(ebb_compile(g, &options, &e), EBB_OK);
    float data[BATCH * 20], out;
    int32_t labels[BATCH];
    fill_batch(data, labels, BATCH);
    int64_t n_allocations = meter.n_allocations;
    for (int i = 0; i < 10; i++)
        run(e, (ebb_feed[]){ FEED(x, data), FEED(t, labels) }, 2, &FETCH(loss, &out), 1);
    ck_assert_int_eq(meter.n_allocations, n_allocations);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
    ck_assert_int_eq(meter.n_live, 0);
    ck_assert_uint_eq(meter.live_bytes, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("runtime");
    TCase *tests = tcase_create("runtime");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, everything_can_be_fetched, 0, N_WAYS);
    tcase_add_loop_test(tests, empty_tensors, 0, N_WAYS);
    tcase_add_loop_test(tests, memory_is_shared, 0, N_WAYS);
    tcase_add_test(tests, views_cost_no_step);
    tcase_add_test(tests, small_runs_stay_on_one_thread);
    tcase_add_loop_test(tests, long_chains, 0, N_WAYS);
    tcase_add_test(tests, all_ways_train_alike);
    tcase_add_loop_test(tests, executables_share_a_store, 0, N_WAYS);
    tcase_add_loop_test(tests, updates_can_be_skipped, 0, N_WAYS);
    tcase_add_loop_test(tests, steady_runs_allocate_nothing, 0, N_WAYS);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
