/* What compiling and running say when something is wrong, and that nothing is changed or lost then.
 */
#include "backends/backends.h"
#include "runtime/store.h"
#include "tests/support/files.h"
#include "tests/support/runtime.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- compiling ---- */

START_TEST(bad_options)
{
    small s = make_small();
    ebb_graph *other = ebb_graph_create("other");
    ebb_node foreign = ebb_input(other, "z", EBB_F32, EBB_SHAPE(4)), none = EBB_NONE;
    ebb_compile_options good = { .fetches = &s.y, .n_fetches = 1, .store = s.store }, o = good;
    o.fetches = &foreign;
    refuse(s.graph, &o, EBB_BAD_NODE, "fetch 0 (z f32[4]) is not a node of graph \"small\"");
    o.fetches = &none;
    refuse(s.graph, &o, EBB_BAD_NODE, "fetch 0 (none) is not a node of graph \"small\"");
    o.fetches = NULL;
    refuse(s.graph, &o, EBB_BAD_ARGUMENT, "1 fetches, and no list of them");
    o = good;
    o.n_fetches = -1;
    refuse(s.graph, &o, EBB_BAD_ARGUMENT, "-1 fetches");
    o = good;
    o.n_fetches = 0;
    o.skip_updates = true;
    refuse(s.graph, &o, EBB_BAD_ARGUMENT,
           "nothing to do: graph \"small\" has no updates that count, and there are no fetches");
    refuse(other, NULL, EBB_BAD_ARGUMENT, "nothing to do: graph \"other\" has no updates, and");
    o = good;
    o.n_threads = -1;
    refuse(s.graph, &o, EBB_BAD_ARGUMENT, "-1 threads; 0 to 1024 are allowed");
    o.n_threads = 1025;
    refuse(s.graph, &o, EBB_BAD_ARGUMENT, "1025 threads");
    o = good;
    o.check_finite = o.profile = true;
    refuse(s.graph, &o, EBB_BAD_ARGUMENT, "check_finite and profile exclude each other");
    o = good;
    o.backend = "cuda";
    refuse(s.graph, &o, EBB_BAD_ARGUMENT,
           "there is no backend \"cuda\"; there are onednn and reference");
    o = good;
    const ebb_backend *list[2] = { &ebb_backend_reference, NULL };
    o.backends = list;
    o.n_backends = 2;
    refuse(s.graph, &o, EBB_BAD_ARGUMENT, "backend 1 is NULL");
    o.n_backends = 0;
    refuse(s.graph, &o, EBB_BAD_ARGUMENT, "a list of 0 backends");
    o.backends = NULL;
    o.n_backends = 1;
    refuse(s.graph, &o, EBB_BAD_ARGUMENT, "a list of 0 backends");
    o = good;
    o.store = NULL;
    refuse(s.graph, &o, EBB_BAD_ARGUMENT, "variable \"w\" needs a store");
    ck_assert_int_eq(ebb_compile(s.graph, &good, NULL), EBB_BAD_ARGUMENT);
    CHECK_TEXT(ebb_graph_message(s.graph), "no place for the executable");
    ebb_executable *e;
    ck_assert_int_eq(ebb_compile(NULL, &good, &e), EBB_OUT_OF_MEMORY);
    ck_assert_ptr_null(e);
    ck_assert_int_eq(ebb_store_size(s.store), 0); /* nothing was made */
    ck_assert_int_eq(ebb_graph_status(s.graph), EBB_OK);
    ebb_graph_destroy(other);
    drop_small(&s, NULL);
}
END_TEST

START_TEST(a_graph_with_an_error)
{
    small s = make_small();
    ebb_add(s.x, ebb_input(s.graph, "long", EBB_F32, EBB_SHAPE(3)));
    char message[EBB_MESSAGE_BYTES];
    snprintf(message, sizeof message, "%s", ebb_graph_message(s.graph));
    CHECK_TEXT(message, "add");
    CHECK_TEXT(message, "test_runtime_errors.c:");
    refuse(s.graph, &(ebb_compile_options){ .fetches = &s.y, .n_fetches = 1, .store = s.store },
           ebb_graph_status(s.graph), message);
    ck_assert_int_eq(ebb_graph_status(s.graph), EBB_BAD_SHAPE);
    drop_small(&s, NULL);
}
END_TEST

START_TEST(a_store_of_other_types)
{
    small s = make_small();
    ebb_compile_options o = { .fetches = &s.y, .n_fetches = 1, .store = s.store };
    float long_w[3] = { 1, 2, 3 };
    double wide_b[2] = { 1, 2 };
    ebb_tensor value = ebb_tensor_borrow(EBB_F64, EBB_SHAPE(2), wide_b);
    ck_assert_int_eq(ebb_store_set(s.store, "b", &value), EBB_OK);
    refuse(s.graph, &o, EBB_BAD_DTYPE,
           "variable \"b\" is f32[2] in the graph and f64[2] in the store");
    ck_assert_int_eq(ebb_store_size(s.store), 1); /* "w" was taken back */
    ck_assert_ptr_null(ebb_store_name(s.store, 1));
    value = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3), long_w);
    ck_assert_int_eq(ebb_store_set(s.store, "w", &value), EBB_OK);
    refuse(s.graph, &o, EBB_BAD_SHAPE,
           "variable \"w\" is f32[2] in the graph and f32[3] in the store");
    ck_assert_int_eq(ebb_store_size(s.store), 2);
    drop_small(&s, NULL);
}
END_TEST

/* ---- running ---- */

START_TEST(bad_feeds_and_fetches)
{
    small s = make_small();
    ebb_node loose = ebb_neg(s.y), spare = ebb_input(s.graph, "spare", EBB_F64, EBB_SHAPE(1));
    ebb_graph *other = ebb_graph_create("other");
    ebb_node foreign = ebb_input(other, "z", EBB_F32, EBB_SHAPE(2));
    ebb_executable *e = compile_small(&s);
    ebb_node late = ebb_input(s.graph, "late", EBB_F32, EBB_SHAPE(2));
    float data[3] = { 1, 2, 3 }, out[2] = { -7, -7 };
    ebb_feed feed = FEED(s.x, data);
    ebb_fetch fetch = FETCH(s.y, out);
    char *bytes = (char *)data;
    ebb_tensor nothing = { .data = NULL };
    struct {
        ebb_feed feeds[2];
        int n_feeds;
        ebb_fetch fetch;
        ebb_status status;
        const char *message;
    } cases[] = {
        { { feed }, 0, fetch, EBB_BAD_FEED, "input \"x\" (f32[2]) is not fed" },
        { { feed, feed }, 2, fetch, EBB_BAD_FEED, "feed 1: input \"x\" is fed twice" },
        { { { s.x, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3), data) } },
          1,
          fetch,
          EBB_BAD_FEED,
          "feed 0: input \"x\" is f32[2], given f32[3]" },
        { { { s.x, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2, 1), data) } },
          1,
          fetch,
          EBB_BAD_FEED,
          "feed 0: input \"x\" is f32[2], given f32[2,1]" },
        { { { s.x, ebb_tensor_borrow(EBB_I32, EBB_SHAPE(2), data) } },
          1,
          fetch,
          EBB_BAD_FEED,
          "feed 0: input \"x\" is f32[2], given i32[2]" },
        { { { s.x, nothing } }, 1, fetch, EBB_BAD_FEED, "feed 0: input \"x\" is f32[2], given" },
        { { FEED(s.x, NULL) }, 1, fetch, EBB_BAD_FEED, "feed 0: input \"x\" is given no data" },
        { { FEED(s.x, bytes + 1) },
          1,
          fetch,
          EBB_BAD_FEED,
          "feed 0: the data of input \"x\" is not aligned" },
        { { feed, FEED(s.y, data) },
          2,
          fetch,
          EBB_BAD_FEED,
          "feed 1: y f32[2] is not an input of the compiled graph \"small\"" },
        { { feed, FEED(s.w, data) }, 2, fetch, EBB_BAD_FEED, "feed 1: w f32[2] is not an input" },
        { { feed, FEED(foreign, data) },
          2,
          fetch,
          EBB_BAD_FEED,
          "feed 1: z f32[2] is not an input" },
        { { feed, FEED(late, data) },
          2,
          fetch,
          EBB_BAD_FEED,
          "is not an input of the compiled graph" },
        { { feed, { EBB_NONE, fetch.value } },
          2,
          fetch,
          EBB_BAD_FEED,
          "feed 1: none is not an input" },
        { { feed, { spare, fetch.value } },
          2,
          fetch,
          EBB_BAD_FEED,
          "feed 1: input \"spare\" is f64[1], given f32[2]" },
        { { feed },
          1,
          FETCH(s.w, out),
          EBB_BAD_NODE,
          "fetch 0: w f32[2] is not among the nodes of graph \"small\" that were compiled to be "
          "fetched" },
        { { feed },
          1,
          FETCH(loose, out),
          EBB_BAD_NODE,
          "is not among the nodes of graph \"small\"" },
        { { feed }, 1, FETCH(foreign, out), EBB_BAD_NODE, "fetch 0: z f32[2] is not among" },
        { { feed }, 1, { EBB_NONE, fetch.value }, EBB_BAD_NODE, "fetch 0: none is not among" },
        { { feed },
          1,
          { s.y, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(1), out) },
          EBB_BAD_SHAPE,
          "fetch 0: y f32[2] is f32[2], the memory for it f32[1]" },
        { { feed },
          1,
          { s.y, ebb_tensor_borrow(EBB_I32, EBB_SHAPE(2), out) },
          EBB_BAD_DTYPE,
          "fetch 0: y f32[2] is f32[2], the memory for it i32[2]" },
        { { feed }, 1, FETCH(s.y, NULL), EBB_BAD_ARGUMENT, "fetch 0: there is no memory for y" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ebb_status status = ebb_run(e, cases[i].feeds, cases[i].n_feeds, &cases[i].fetch, 1);
        ck_assert_msg(status == cases[i].status, "case %zu: %s: %s", i, ebb_status_name(status),
                      ebb_executable_message(e));
        CHECK_TEXT(ebb_executable_message(e), cases[i].message);
    }
    ck_assert_int_eq(ebb_run(e, NULL, 1, NULL, 0), EBB_BAD_ARGUMENT);
    ck_assert_int_eq(ebb_run(e, &feed, 1, NULL, 1), EBB_BAD_ARGUMENT);
    ck_assert_int_eq(ebb_run(e, &feed, -1, NULL, 0), EBB_BAD_ARGUMENT);
    CHECK_TEXT(ebb_executable_message(e), "-1 feeds");
    ck_assert_int_eq(ebb_run(NULL, NULL, 0, NULL, 0), EBB_BAD_ARGUMENT);
    CHECK_TEXT(ebb_executable_message(NULL), "no executable");
    ck_assert_float_eq(out[0], -7);
    ck_assert_double_eq(stored(s.store, "w", 0), 3);
    ck_assert_int_eq(ebb_run(e, &feed, 1, &fetch, 1), EBB_OK);
    ck_assert_str_eq(ebb_executable_message(e), "");
    ck_assert_float_eq(out[0], 4);
    ck_assert_double_eq(stored(s.store, "w", 0), 2);
    ebb_graph_destroy(other);
    drop_small(&s, e);
}
END_TEST

/* A label that is not there, in the middle of everything. */
START_TEST(a_bad_label_changes_nothing)
{
    static const char *const backends[] = { "reference", "onednn" };
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(4, 3)),
             t = ebb_input(g, "t", EBB_I32, EBB_SHAPE(4));
    ebb_node counter = ebb_variable(g, "counter", EBB_I64, EBB_SCALAR, NULL);
    ebb_node scores = ebb_nn_linear(x, 5, &(ebb_nn_linear_options){ .name = "fc" });
    ebb_node loss = ebb_named(ebb_softmax_cross_entropy(scores, t), "loss");
    ck_assert_int_eq(ebb_nn_minimize(loss, &(ebb_nn_rule){ .rate = 1 }), EBB_OK);
    ebb_update(counter, ebb_add(counter, ebb_scalar(g, EBB_I64, 1)));
    ebb_executable *e = NULL;
    ebb_node nodes[] = { loss, counter, scores };
    ebb_compile_options o = { .fetches = nodes,
                              .n_fetches = 3,
                              .store = store,
                              .backend = backends[_i / 2],
                              .skip_passes = _i % 2 };
    ck_assert_int_eq(ebb_compile(g, &o, &e), EBB_OK);
    float data[12] = { 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1 }, out = -7, out_scores[20] = { -7 };
    int64_t n = -7;
    int32_t good[4] = { 0, 1, 2, 4 }, bad[4] = { 0, 1, 5, 4 };
    ebb_fetch fetches[] = { FETCH(loss, &out), FETCH(counter, &n), FETCH(scores, out_scores) };
    ck_assert_int_eq(ebb_run(e, (ebb_feed[]){ FEED(x, data), FEED(t, good) }, 2, NULL, 0), EBB_OK);
    ebb_tensor w;
    float before[15];
    ck_assert_int_eq(ebb_store_get(store, "fc/w", &w), EBB_OK);
    memcpy(before, w.data, sizeof before);
    for (int round = 0; round < 2; round++) {
        ck_assert_int_eq(ebb_run(e, (ebb_feed[]){ FEED(x, data), FEED(t, bad) }, 2, fetches, 3),
                         EBB_BAD_INDEX);
        CHECK_TEXT(ebb_executable_message(e), "test_runtime_errors.c:");
        CHECK_TEXT(ebb_executable_message(e), "5");
        ck_assert_int_eq(memcmp(before, w.data, sizeof before), 0);
        ck_assert_double_eq(stored(store, "counter", 0), 1);
        ck_assert_float_eq(out, -7);
        ck_assert_int_eq(n, -7);
        ck_assert_float_eq(out_scores[0], -7);
    }
    ck_assert_int_eq(ebb_run(e, (ebb_feed[]){ FEED(x, data), FEED(t, good) }, 2, fetches, 3),
                     EBB_OK);
    ck_assert_int_eq(n, 1);
    ck_assert_int_ne(memcmp(before, w.data, sizeof before), 0);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

/* ---- memory ---- */

/* Library ops come in parts. */
static int score_no_library(const ebb_backend *backend, const ebb_region *region)
{
    (void)backend;
    return region->op->decompose ? EBB_SCORE_NONE
                                 : ebb_backend_reference.score(&ebb_backend_reference, region);
}

static ebb_status compile_reference(const ebb_backend *backend, const ebb_region *region,
                                    const ebb_compile_env *env, ebb_kernel *kernel)
{
    (void)backend;
    return ebb_backend_reference.compile(&ebb_backend_reference, region, env, kernel);
}

START_TEST(failing_allocations)
{
    static const ebb_backend parts = { .name = "parts",
                                       .score = score_no_library,
                                       .compile = compile_reference };
    static const ebb_backend *const list[] = { &parts };
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    ebb_graph *g =
        ebb_graph_create_with("g", &(ebb_graph_options){ .allocator = &meter.allocator });
    ebb_store *store = ebb_store_create(&meter.allocator);
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(4, 3)),
             t = ebb_input(g, "t", EBB_I32, EBB_SHAPE(4));
    ebb_node h = ebb_nn_linear(x, 5, &(ebb_nn_linear_options){ .name = "fc" });
    ebb_node loss = ebb_softmax_cross_entropy(h, t);
    ck_assert_int_eq(ebb_nn_minimize(loss, &(ebb_nn_rule){ .rate = 1 }), EBB_OK);
    ebb_node nodes[] = { loss, ebb_transpose(h, EBB_AXES(1, 0)) };
    ebb_compile_options o = {
        .fetches = nodes, .n_fetches = 2, .store = store, .allocator = &meter.allocator
    };
    if (_i == 1)
        o.backend = "reference";
    if (_i == 2) {
        o.backends = list;
        o.n_backends = 1;
        o.skip_passes = true;
    }
    if (_i == 3)
        o.dump_dir = test_temporary_folder();
    int64_t n_live = meter.n_live;
    size_t live_bytes = meter.live_bytes;
    ebb_status status = EBB_OUT_OF_MEMORY;
    int64_t n_failures = 0;
    for (; status == EBB_OUT_OF_MEMORY; n_failures++) {
        ebb_executable *e = NULL;
        ck_assert_int_lt(n_failures, 5000);
        meter.fail_after = n_failures;
        status = ebb_compile(g, &o, &e);
        meter.fail_after = -1;
        ck_assert_msg(status == EBB_OK || status == EBB_OUT_OF_MEMORY, "%s: %s",
                      ebb_status_name(status), ebb_graph_message(g));
        ck_assert(!e == (status != EBB_OK));
        if (status)
            CHECK_TEXT(ebb_graph_message(g), "memory");
        ck_assert_int_eq(ebb_graph_status(g), EBB_OK);
        if (e) {
            float data[12] = { 1, 2, 3 }, out;
            int32_t labels[4] = { 0 };
            ck_assert_int_eq(ebb_run(e, (ebb_feed[]){ FEED(x, data), FEED(t, labels) }, 2,
                                     &FETCH(loss, &out), 1),
                             EBB_OK);
            ebb_executable_destroy(e);
            ebb_store_shrink(store, 0);
        }
        ck_assert_int_eq(ebb_store_size(store), 0);
        /* The store may keep room for entries. */
        ck_assert_int_le(meter.n_live, n_live + 2);
        ck_assert_uint_le(meter.live_bytes, live_bytes + 4096);
    }
    ck_assert_int_gt(n_failures, 20);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
    ck_assert_int_eq(meter.n_live, 0);
    ck_assert_uint_eq(meter.live_bytes, 0);
}
END_TEST

START_TEST(too_large_to_allocate)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(1));
    ebb_node y = x;
    for (int i = 0; i < 3; i++)
        y = ebb_exp(ebb_add(y, ebb_iota(g, EBB_F32, EBB_SHAPE(1LL << 55), 0)));
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    meter.limit_bytes = 1 << 20;
    refuse(g,
           &(ebb_compile_options){
               .fetches = &y, .n_fetches = 1, .skip_passes = true, .allocator = &meter.allocator },
           EBB_OUT_OF_MEMORY, "out of memory for intermediate values (");
    ck_assert_int_eq(meter.n_live, 0);
    ebb_graph_destroy(g);
}
END_TEST

/* ---- dumps ---- */

START_TEST(dumps)
{
    static const char *const always[] = { "00-user.txt", "00-user.dot", "plan.txt", "plan.dot" };
    small s = make_small();
    ebb_executable *e = NULL;
    ebb_compile_options o = { .fetches = &s.y,
                              .n_fetches = 1,
                              .store = s.store,
                              .skip_passes = _i,
                              .skip_fusions =
                                  "programs", /* so that there is an edge in the arena */
                              .dump_dir = test_temporary_folder() };
    ck_assert_int_eq(ebb_compile(s.graph, &o, &e), EBB_OK);
    for (size_t i = 0; i < sizeof always / sizeof *always; i++) {
        size_t n;
        char *text = file_read(file_path(always[i]), &n);
        ck_assert_msg(text && n > 0, "%s", always[i]);
        if (i == 1)
            CHECK_TEXT(text, "digraph");
        if (i == 2) {
            CHECK_TEXT(text, "graph \"small\"");
            CHECK_TEXT(text, "variable w");
            CHECK_TEXT(text, "input x");
        }
        if (i == 3)
            CHECK_TEXT(text, "bytes");
        free(text);
    }
    if (_i)
        ck_assert_int_eq(file_count(), 4);
    else
        ck_assert_int_gt(file_count(), 6);
    drop_small(&s, e);
}
END_TEST

START_TEST(dumps_that_cannot_be_written)
{
    small s = make_small();
    char folder[600];
    snprintf(folder, sizeof folder, "%s/nowhere", test_temporary_folder());
    for (int skip = 0; skip < 2; skip++)
        refuse(s.graph,
               &(ebb_compile_options){ .fetches = &s.y,
                                       .n_fetches = 1,
                                       .store = s.store,
                                       .skip_passes = skip,
                                       .dump_dir = folder },
               EBB_IO, "/nowhere/00-user.txt: No such file");
    file_make("plain", "x", 1);
    refuse(s.graph,
           &(ebb_compile_options){
               .fetches = &s.y, .n_fetches = 1, .store = s.store, .dump_dir = file_path("plain") },
           EBB_IO, "/plain/00-user.txt: Not a directory");
    refuse(s.graph,
           &(ebb_compile_options){
               .fetches = &s.y, .n_fetches = 1, .store = s.store, .dump_dir = "/dev/null" },
           EBB_IO, "/dev/null/00-user.txt");
    ck_assert_int_eq(ebb_store_size(s.store), 0);
    ck_assert_int_eq(file_count(), 1);
    drop_small(&s, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("runtime_errors");
    TCase *tests = tcase_create("runtime_errors");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, bad_options);
    tcase_add_test(tests, a_graph_with_an_error);
    tcase_add_test(tests, a_store_of_other_types);
    tcase_add_test(tests, bad_feeds_and_fetches);
    tcase_add_loop_test(tests, a_bad_label_changes_nothing, 0, 4);
    tcase_add_loop_test(tests, failing_allocations, 0, 4);
    tcase_add_test(tests, too_large_to_allocate);
    tcase_add_loop_test(tests, dumps, 0, 2);
    tcase_add_test(tests, dumps_that_cannot_be_written);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
