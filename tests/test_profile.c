/* Profiles: every step is counted, tables add up, and traces are whole. */
#include "tests/support/runtime.h"

#include <stdlib.h>

typedef struct net {
    ebb_graph *graph;
    ebb_store *store;
    ebb_node x, y;
} net;

static net make_net(void)
{
    net n = { .graph = ebb_graph_create("net \"a\\b\""), .store = ebb_store_create(NULL) };
    n.x = ebb_input(n.graph, "x", EBB_F32, EBB_SHAPE(4, 3));
    ebb_scope_push(n.graph, "block");
    ebb_node w = ebb_variable(n.graph, "w", EBB_F32, EBB_SHAPE(3, 5), NULL);
    n.y = ebb_reduce_sum(ebb_tanh(ebb_matmul(n.x, w)), (ebb_axes){ 0 }, false);
    ebb_scope_pop(n.graph);
    ebb_update(w, ebb_add(w, w));
    return n;
}

static void finish_net(net *n, ebb_executable *e)
{
    ebb_executable_destroy(e);
    ebb_store_destroy(n->store);
    ebb_graph_destroy(n->graph);
}

static ebb_executable *compile_net(const net *n, bool profile)
{
    return compile_with(n->graph, &(ebb_compile_options){ .fetches = &n->y,
                                                          .n_fetches = 1,
                                                          .store = n->store,
                                                          .n_threads = 1,
                                                          .skip_fusions = "programs",
                                                          .profile = profile });
}

static void run_net(const net *n, ebb_executable *e, int times)
{
    float x[12] = { 1, 2, 3 }, y;
    for (int i = 0; i < times; i++)
        run(e, &FEED(n->x, x), 1, &FETCH(n->y, &y), 1);
}

/* What `write` writes; to be freed. */
static char *table_of(const ebb_executable *e, const ebb_profile_table_options *options)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    ck_assert_int_eq(ebb_profile_write_table(e, out, options, NULL), EBB_OK);
    fclose(out);
    return text;
}

static int count_lines(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

START_TEST(steps_are_counted)
{
    net n = make_net();
    ebb_executable *e = compile_net(&n, true);
    ebb_step_profile step;
    ebb_step_info info;
    ck_assert(ebb_profile_step(e, 0, &step));
    ck_assert_int_eq(step.n_runs, 0);
    run_net(&n, e, 3);
    double flops = 0;
    int64_t n_steps = ebb_executable_get_stats(e).n_steps;
    for (int64_t i = 0; i < n_steps; i++) {
        ck_assert(ebb_profile_step(e, i, &step) && ebb_executable_step(e, i, &info));
        ck_assert_int_eq(step.n_runs, 3);
        ck_assert(step.least_seconds >= 0 && step.seconds >= 3 * step.least_seconds * 0.999);
        flops += step.flops;
        if (!strcmp(info.op, "matmul"))
            ck_assert_double_eq(step.flops, 2 * 4 * 3 * 5);
    }
    /* matmul; tanh and the sum of [4,5]; w + w of [3,5] */
    ck_assert_double_eq(flops, 120 + 20 + 20 + 15);
    ck_assert(!ebb_profile_step(e, n_steps, &step) && !ebb_profile_step(e, -1, &step));
    ck_assert_int_eq(step.n_runs, 0);
    ebb_profile_reset(e);
    ck_assert(ebb_profile_step(e, 0, &step));
    ck_assert_int_eq(step.n_runs, 0);
    finish_net(&n, e);
}
END_TEST

/* A step that only updates: nothing in it can fail, so no step stands before the first update. */
START_TEST(runs_with_updates_only)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node w = ebb_variable(g, "w", EBB_F32, EBB_SHAPE(4), NULL);
    ebb_update(w, ebb_add(w, w));
    ebb_executable *e =
        compile_with(g, &(ebb_compile_options){ .store = store, .n_threads = 1, .profile = true });
    for (int i = 0; i < 3; i++)
        run(e, NULL, 0, NULL, 0);
    char *table = table_of(e, &(ebb_profile_table_options){ .by = EBB_PROFILE_BY_STEP });
    ck_assert_msg(strstr(table, "\"g\", 3 runs"), "%s", table);
    free(table);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(flops_of_ops)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, 6, 9, 9));
    ebb_node w = ebb_input(g, "w", EBB_F32, EBB_SHAPE(8, 3, 3, 3));
    ebb_node y = ebb_conv2d(x, w, EBB_NONE, (ebb_conv_attrs){ .groups = 2 });
    ck_assert_int_eq(ebb_graph_status(g), EBB_OK);
    const double conv = 2.0 * (2 * 8 * 7 * 7) * (3 * 3 * 3);
    ck_assert_double_eq(ebb_node_flops(y), conv);
    ebb_node gradients[2], xs[] = { x, w };
    ck_assert_int_eq(ebb_gradients(ebb_reduce_sum(y, (ebb_axes){ 0 }, false), xs, 2, gradients),
                     EBB_OK);
    ck_assert_double_eq(ebb_node_flops(gradients[0]), conv);
    ck_assert_double_eq(ebb_node_flops(gradients[1]), conv);
    ck_assert_double_eq(ebb_node_flops(ebb_add(x, x)), 2 * 6 * 9 * 9);
    ck_assert_double_eq(ebb_node_flops(ebb_flatten(x, 1)), 0);
    ck_assert_double_eq(ebb_node_flops(x), 0);
    ck_assert_double_eq(ebb_node_flops(EBB_NONE), 0);
    ebb_node a = ebb_input(g, "a", EBB_F32, EBB_SHAPE(2, 7, 5));
    ck_assert_double_eq(
        ebb_node_flops(ebb_matmul_with(a, a, (ebb_matmul_attrs){ .transpose_a = true })),
        2.0 * 2 * 5 * 5 * 7);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(tables)
{
    net n = make_net();
    ebb_executable *e = compile_net(&n, true);
    run_net(&n, e, 2);
    int64_t n_steps = ebb_executable_get_stats(e).n_steps;
    char *text = table_of(e, NULL);
    CHECK_TEXT(text, "2 runs");
    CHECK_TEXT(text, "matmul");
    CHECK_TEXT(text, "100.0%");
    ck_assert(!strstr(text, "limit"));
    free(text);
    text = table_of(e, &(ebb_profile_table_options){ .by = EBB_PROFILE_BY_STEP });
    ck_assert_int_eq(count_lines(text), (int)n_steps + 3);
    CHECK_TEXT(text, "f32[4,5]");
    free(text);
    text = table_of(e, &(ebb_profile_table_options){ .by = EBB_PROFILE_BY_STEP, .n_rows = 1 });
    ck_assert_int_eq(count_lines(text), 5);
    CHECK_TEXT(text, "the rest");
    free(text);
    text = table_of(
        e, &(ebb_profile_table_options){ .by = EBB_PROFILE_BY_SCOPE, .limits = { .flops = 1e9 } });
    CHECK_TEXT(text, "block/");
    CHECK_TEXT(text, "fma");
    free(text);
    text = table_of(e, &(ebb_profile_table_options){ .by = EBB_PROFILE_BY_KERNEL });
    CHECK_TEXT(text, "tanh native");
    free(text);
    finish_net(&n, e);
}
END_TEST

START_TEST(programs_show_their_ops)
{
    net n = make_net();
    ebb_node y = ebb_exp(ebb_tanh(n.x));
    ebb_executable *e = compile_with(
        n.graph, &(ebb_compile_options){
                     .fetches = &y, .n_fetches = 1, .skip_updates = true, .profile = true });
    char *text = table_of(e, &(ebb_profile_table_options){ .by = EBB_PROFILE_BY_KERNEL });
    CHECK_TEXT(text, "(tanh exp)");
    free(text);
    finish_net(&n, e);
}
END_TEST

START_TEST(traces_keep_the_last_steps)
{
    net n = make_net();
    ebb_executable *e = compile_net(&n, true);
    int64_t n_steps = ebb_executable_get_stats(e).n_steps;
    int n_runs = 65536 / (int)n_steps + 10;
    run_net(&n, e, n_runs);
    char *text = NULL, last[40], first[40];
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    ck_assert_int_eq(ebb_profile_write_trace(e, out, NULL), EBB_OK);
    fclose(out);
    snprintf(first, sizeof first, "\"run %d\"", 5);
    snprintf(last, sizeof last, "\"run %d\"", n_runs);
    ck_assert(strstr(text, last) && !strstr(text, first));
    CHECK_TEXT(text, "\"net \\\"a\\\\b\\\"\"");
    int64_t n_slices = 0;
    for (const char *at = text; *at;
         at++) /* not strstr: sanitizers let it look at all that follows */
        n_slices += !strncmp(at, "\"cat\":", 6);
    ck_assert_int_eq(n_slices, 65536);
    ck_assert_str_eq(text + bytes - 4, "\n]}\n");
    free(text);
    finish_net(&n, e);
}
END_TEST

START_TEST(without_a_profile)
{
    net n = make_net();
    ebb_executable *e = compile_net(&n, false);
    run_net(&n, e, 1);
    ebb_step_profile step;
    ebb_error error;
    ck_assert(!ebb_profile_step(e, 0, &step) && !ebb_profile_step(NULL, 0, &step));
    ck_assert_int_eq(ebb_profile_write_table(e, stdout, NULL, &error), EBB_BAD_ARGUMENT);
    CHECK_TEXT(error.message, "compiled without .profile");
    ck_assert_int_eq(ebb_profile_write_trace(NULL, stdout, &error), EBB_BAD_ARGUMENT);
    CHECK_TEXT(error.message, "no executable");
    ck_assert_int_eq(ebb_profile_write_trace(e, NULL, NULL), EBB_BAD_ARGUMENT);
    ebb_profile_reset(e);
    ebb_profile_reset(NULL);
    ebb_executable_destroy(e);
    e = compile_net(&n, true);
    ck_assert_int_eq(
        ebb_profile_write_table(e, stdout, &(ebb_profile_table_options){ .n_rows = -1 }, &error),
        EBB_BAD_ARGUMENT);
    FILE *full = fopen("/dev/full", "w");
    if (full) {
        ck_assert_int_eq(ebb_profile_write_table(e, full, NULL, &error), EBB_IO);
        fclose(full);
    }
    finish_net(&n, e);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("profile");
    TCase *profile = tcase_create("profile");
    tcase_add_test(profile, steps_are_counted);
    tcase_add_test(profile, runs_with_updates_only);
    tcase_add_test(profile, flops_of_ops);
    tcase_add_test(profile, tables);
    tcase_add_test(profile, programs_show_their_ops);
    tcase_add_test(profile, traces_keep_the_last_steps);
    tcase_add_test(profile, without_a_profile);
    suite_add_tcase(suite, profile);
    return run_suite(suite);
}
