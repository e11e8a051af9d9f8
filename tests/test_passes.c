/* The pipeline: what is kept (values, names, updates, ids) and what fails. The rules one by one are
 * in test_pass_rules.c, the driver alone in test_rewrite.c. */
#include <ebb/ops.h>

#include "graph/graph_build.h"
#include "graph/interpret.h"
#include "ops/descriptors.h"
#include "passes/passes.h"
#include "support/golden.h"
#include "support/random_case.h"
#include "support/runner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const ebb_passes_options exact, fast = { .fast_math = true };

/* ---- a test's op with two results: x + 1 and x + 2 ---- */

static ebb_status infer_twins(const ebb_infer *infer)
{
    infer->results[0] = infer->results[1] = *infer->inputs[0];
    return EBB_OK;
}

static ebb_status eval_twins(const ebb_eval *eval)
{
    for (int64_t i = 0; i < ebb_shape_elements(&eval->inputs[0].type.shape); i++) {
        double x = ebb_tensor_get(&eval->inputs[0], i);
        ebb_tensor_set(&eval->results[0], i, x + 1);
        ebb_tensor_set(&eval->results[1], i, x + 2);
    }
    return EBB_OK;
}

static const ebb_op twins = {
    .name = "twins",
    .summary = "x + 1 and x + 2",
    .group = "test",
    .n_inputs = 1,
    .n_results = 2,
    .infer = infer_twins,
    .eval = eval_twins,
};
static const ebb_op *const extra_ops[] = { &twins };

/* ---- helpers ---- */

static ebb_graph *parse_text(const char *text)
{
    ebb_graph *graph;
    ebb_error error;
    ebb_status status = ebb_graph_parse(text, strlen(text), extra_ops, 1, NULL, &graph, &error);
    ck_assert_msg(!status, "%s\n%s", error.message, text);
    return graph;
}

static void assert_text(const ebb_graph *graph, const char *expected)
{
    char *text = golden_print(graph);
    const char *body = strchr(text, '\n') + 1; /* without the graph's name */
    ck_assert_msg(strcmp(body, expected) == 0, "%sexpected\n%s", body, expected);
    free(text);
}

static ebb_graph *run_all(const ebb_graph *graph, const ebb_node *outputs, int n, bool keep_updates,
                          const ebb_passes_options *options, uint32_t **map)
{
    ebb_graph *result;
    ebb_error error = { .message = "" };
    *map = malloc((ebb_graph_n_nodes(graph) + 1) * sizeof **map);
    ebb_status status =
        ebb_passes_run(graph, outputs, n, keep_updates, options, &result, *map, &error);
    ck_assert_msg(!status, "%s", error.message);
    ck_assert_ptr_nonnull(result);
    return result;
}

static ebb_graph *run_one(const char *pass, const ebb_graph *graph, ebb_node output, int64_t *hits)
{
    ebb_graph *result;
    ebb_error error = { .message = "" };
    uint32_t *map = malloc((ebb_graph_n_nodes(graph) + 1) * sizeof *map);
    ebb_status status = ebb_pass_run(pass, graph, &output, 1, &exact, &result, map, hits, &error);
    ck_assert_msg(!status, "%s", error.message);
    ck_assert_uint_ne(map[output.id], 0);
    free(map);
    return result;
}

/* ---- passes by name ---- */

START_TEST(test_names)
{
    const char *const names[] = { "verify",    "canonicalize", "simplify", "fold",
                                  "stabilize", "views",        "pools",    "sweep",
                                  "fuse",      "anchors",      "freeze" };
    for (int i = 0; i < 11; i++)
        ck_assert_str_eq(ebb_pass_name(i), names[i]);
    ck_assert_ptr_null(ebb_pass_name(11));
    ck_assert_ptr_null(ebb_pass_name(-1));
}
END_TEST

START_TEST(test_each_pass_does_its_own)
{
    static const struct {
        const char *pass;
        int64_t hits;
        const char *result;
    } cases[] = {
        { "verify", 0,
          "%1 = input {name=\"x\"} : f32[2]\n"
          "%2 = constant {data=[1]} : f32[]\n"
          "%3 = exp %2 : f32[]\n"
          "%4 = broadcast_to %3 {shape=[2]} : f32[2]\n"
          "%5 = neg %1 : f32[2]\n"
          "%6 = neg %5 : f32[2]\n"
          "%7 = mul %4 %6 : f32[2]\n"
          "%8 = sigmoid %7 : f32[2]\n"
          "%9 = log %8 : f32[2] @out\n" },
        { "canonicalize", 0, NULL },
        { "simplify", 1,
          "%1 = input {name=\"x\"} : f32[2]\n"
          "%2 = constant {data=[1]} : f32[]\n"
          "%3 = exp %2 : f32[]\n"
          "%4 = broadcast_to %3 {shape=[2]} : f32[2]\n"
          "%5 = mul %4 %1 : f32[2]\n"
          "%6 = sigmoid %5 : f32[2]\n"
          "%7 = log %6 : f32[2] @out\n" },
        { "fold", 1,
          "%1 = input {name=\"x\"} : f32[2]\n"
          "%2 = constant {data=[2.7182817]} : f32[]\n"
          "%3 = broadcast_to %2 {shape=[2]} : f32[2]\n"
          "%4 = neg %1 : f32[2]\n"
          "%5 = neg %4 : f32[2]\n"
          "%6 = mul %3 %5 : f32[2]\n"
          "%7 = sigmoid %6 : f32[2]\n"
          "%8 = log %7 : f32[2] @out\n" },
        { "stabilize", 1, NULL },
        { "views", 0, NULL },
        { "sweep", 0, NULL },
    };
    ebb_graph *graph = parse_text("%1 = input {name=\"x\"} : f32[2]\n"
                                  "%2 = constant {data=[1]} : f32[]\n"
                                  "%3 = exp %2 : f32[]\n"
                                  "%4 = broadcast_to %3 {shape=[2]} : f32[2]\n"
                                  "%5 = neg %1 : f32[2]\n"
                                  "%6 = neg %5 : f32[2]\n"
                                  "%7 = mul %4 %6 : f32[2]\n"
                                  "%8 = sqrt %1 : f32[2] @dead\n"
                                  "%9 = sigmoid %7 : f32[2]\n"
                                  "%10 = log %9 : f32[2] @out\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t hits;
        ebb_graph *result = run_one(cases[i].pass, graph, golden_find(graph, "out"), &hits);
        ck_assert_msg(hits == cases[i].hits, "%s: %lld hits", cases[i].pass, (long long)hits);
        if (cases[i].result)
            assert_text(result, cases[i].result);
        else if (hits == 0)
            assert_text(result, cases[0].result);
        ebb_graph_destroy(result);
    }
    ebb_graph_destroy(graph);
}
END_TEST

/* ---- the pipeline ---- */

static const char training_step[] = "%1 = input {name=\"x\"} : f32[4,3]\n"
                                    "%2 = variable {name=\"fc/w\"} : f32[3,2]\n"
                                    "%3 = matmul %1 %2 : f32[4,2] @fc/product\n"
                                    "%4 = stop_gradient %3 : f32[4,2] @fc/same\n"
                                    "%5 = softmax %4 {axis=1} : f32[4,2]\n"
                                    "%6 = log %5 : f32[4,2] @fc/y\n"
                                    "%7 = transpose %1 {axes=[1,0]} : f32[3,4] !backward\n"
                                    "%8 = matmul %7 %6 : f32[3,2] @fc/grad(w) !backward\n"
                                    "%9 = constant {data=[0.5]} : f32[] !update\n"
                                    "%10 = constant {data=[0.25]} : f32[] !update\n"
                                    "%11 = mul %9 %10 : f32[] !update\n"
                                    "%12 = broadcast_to %11 {shape=[3,2]} : f32[3,2] !update\n"
                                    "%13 = neg %8 : f32[3,2] !update\n"
                                    "%14 = mul %12 %13 : f32[3,2] !update\n"
                                    "%15 = add %2 %14 : f32[3,2] @fc/new !update\n"
                                    "%16 = sqrt %1 : f32[4,3] @dead\n"
                                    "%17 = variable {name=\"unused\"} : f32[]\n"
                                    "update %2 %15\n";

START_TEST(test_pipeline_of_a_training_step)
{
    ebb_graph *graph = parse_text(training_step);
    ebb_node output = golden_find(graph, "y");
    uint32_t *map;
    ebb_graph *result = run_all(graph, &output, 1, true, &exact, &map);
    assert_text(result, "%1 = input {name=\"x\"} : f32[4,3]\n"
                        "%2 = variable {name=\"fc/w\"} : f32[3,2]\n"
                        "%3 = matmul %1 %2 : f32[4,2] @fc/product\n"
                        "%4 = log_softmax %3 {axis=1} : f32[4,2] @fc/y\n"
                        "%5 = matmul %1 %4 {transpose_a=true} : f32[3,2] @fc/grad(w) !backward\n"
                        "%6 = constant {data=[-0.125]} : f32[] !update\n"
                        "%7 = broadcast_to %6 {shape=[3,2]} : f32[3,2] !update\n"
                        "%8 = mul %5 %7 : f32[3,2] !update\n"
                        "%9 = add %2 %8 : f32[3,2] @fc/new !update\n"
                        "update %2 %9\n");
    /* ids: sources, what became something else, what stands for the same value, what is gone */
    const uint32_t expected[] = { 0, 1, 2, 3, 3, 0, 4, 0, 5, 0, 0, 0, 0, 0, 8, 9, 0, 0 };
    for (uint32_t id = 0; id <= ebb_graph_n_nodes(graph); id++)
        ck_assert_msg(map[id] == expected[id], "%%%u is %%%u", id, map[id]);
    ck_assert_str_eq(ebb_graph_name(result), ebb_graph_name(graph));
    free(map);
    ebb_graph_destroy(result);

    /* the same for evaluation only: no updates, and what only they need is gone */
    result = run_all(graph, &output, 1, false, &exact, &map);
    ck_assert_int_eq(ebb_graph_n_updates(result), 0);
    ck_assert_uint_eq(ebb_graph_n_nodes(result), 4);
    ck_assert_uint_eq(map[8], 0);
    free(map);
    ebb_graph_destroy(result);

    /* and for the updates only */
    result = run_all(graph, NULL, 0, true, &exact, &map);
    ck_assert_int_eq(ebb_graph_n_updates(result), 1);
    ck_assert_uint_eq(ebb_graph_n_nodes(result), 9);
    free(map);
    ebb_graph_destroy(result);
    ebb_graph_destroy(graph);
}
END_TEST

START_TEST(test_nothing_to_do_gives_a_copy)
{
    const char *text = "%1 = input {name=\"x\"} : f32[2]\n%2 = exp %1 : f32[2] @s/y\n";
    ebb_graph *graph = parse_text(text);
    ebb_node output = golden_find(graph, "y");
    uint32_t *map;
    ebb_graph *result = run_all(graph, &output, 1, true, NULL, &map);
    ck_assert_ptr_ne(result, graph);
    assert_text(result, text);
    free(map);
    ebb_graph_destroy(result);
    ebb_graph_destroy(graph);
}
END_TEST

START_TEST(test_several_results)
{
    ebb_graph *graph = parse_text("%1 = input {name=\"x\"} : f32[2]\n"
                                  "%2 = neg %1 : f32[2]\n"
                                  "%3 = neg %2 : f32[2]\n"
                                  "%4, %5 = twins %3 : f32[2], f32[2] @s/first\n"
                                  "%6, %7 = twins %4 : f32[2], f32[2]\n"
                                  "%8 = add %5 %7 : f32[2] @y\n");
    ebb_node outputs[] = { golden_find(graph, "y"), ebb_graph_node(graph, 5) };
    uint32_t *map;
    ebb_graph *result = run_all(graph, outputs, 2, true, &exact, &map);
    assert_text(result, "%1 = input {name=\"x\"} : f32[2]\n"
                        "%2, %3 = twins %1 : f32[2], f32[2] @s/first\n"
                        "%4, %5 = twins %2 : f32[2], f32[2]\n"
                        "%6 = add %3 %5 : f32[2] @y\n");
    const uint32_t expected[] = { 0, 1, 0, 1, 2, 3, 4, 5, 6 };
    for (uint32_t id = 0; id <= 8; id++)
        ck_assert_uint_eq(map[id], expected[id]);
    int index;
    ck_assert_uint_eq(ebb_node_first_result(ebb_graph_node(result, 3), &index).id, 2);
    ck_assert_int_eq(index, 1);
    free(map);
    ebb_graph_destroy(result);
    ebb_graph_destroy(graph);
}
END_TEST

START_TEST(test_names_move_to_what_replaces)
{
    ebb_graph *graph = parse_text("%1 = input {name=\"a\"} : f32[2]\n"
                                  "%2 = input {name=\"b\"} : f32[2]\n"
                                  "%3 = neg %2 : f32[2] @s/minus\n"
                                  "%4 = add %1 %3 : f32[2] @s/difference\n"
                                  "%5 = constant {data=[1]} : f32[]\n"
                                  "%6 = broadcast_to %5 {shape=[2]} : f32[2]\n"
                                  "%7 = mul %4 %6 : f32[2] @t/same\n"
                                  "%8 = mul %1 %6 : f32[2] @t/input\n"
                                  "%9 = exp %7 : f32[2] @y\n"
                                  "%10 = exp %8 : f32[2] @z\n");
    ebb_node outputs[] = { golden_find(graph, "y"), golden_find(graph, "z") };
    uint32_t *map;
    ebb_graph *result = run_all(graph, outputs, 2, true, &exact, &map);
    assert_text(result, "%1 = input {name=\"a\"} : f32[2]\n"
                        "%2 = input {name=\"b\"} : f32[2]\n"
                        "%3 = sub %1 %2 : f32[2] @s/difference\n"
                        "%4 = exp %3 : f32[2] @y\n"
                        "%5 = exp %1 : f32[2] @z\n");
    free(map);
    ebb_graph_destroy(result);
    ebb_graph_destroy(graph);
}
END_TEST

START_TEST(test_equal_nodes_are_shared)
{
    ebb_graph *graph = parse_text("%1 = input {name=\"x\"} : f32[2]\n"
                                  "%2 = input {name=\"y\"} : f32[2]\n"
                                  "%3 = mul %1 %2 : f32[2]\n"
                                  "%4 = mul %2 %1 : f32[2]\n"
                                  "%5 = sub %3 %4 : f32[2] @out\n");
    ebb_node output = golden_find(graph, "out");
    uint32_t *map;
    ebb_graph *result = run_all(graph, &output, 1, true, &exact, &map);
    ck_assert_uint_eq(map[3], map[4]);
    ck_assert_uint_eq(ebb_graph_n_nodes(result), 4);
    free(map);
    ebb_graph_destroy(result);
    result = run_all(graph, &output, 1, true, &fast, &map); /* then x - x is 0 */
    ck_assert_str_eq(ebb_node_op(ebb_graph_node(result, map[5]))->name, "broadcast_to");
    free(map);
    ebb_graph_destroy(result);
    ebb_graph_destroy(graph);
}
END_TEST

/* The book's claim (Saitoh 2016, 3.2.7): a network of linear layers is one linear layer. */
START_TEST(test_linear_layers_collapse)
{
    ebb_graph *graph = ebb_graph_create("linear");
    ebb_node x = ebb_input(graph, "x", EBB_F64, EBB_SHAPE(5, 4)), y = x;
    double weights[16];
    for (int layer = 0; layer < 3; layer++) {
        for (int i = 0; i < 16; i++)
            weights[i] = 0.1 * (i + layer) - 0.7;
        y = ebb_matmul(y, ebb_constant(graph, EBB_F64, EBB_SHAPE(4, 4), weights));
    }
    uint32_t *map;
    ebb_graph *result = run_all(graph, &y, 1, true, &exact, &map);
    ck_assert_uint_eq(ebb_graph_n_nodes(result), 7);
    free(map);
    ebb_graph_destroy(result);
    result = run_all(graph, &y, 1, true, &fast, &map);
    ck_assert_uint_eq(ebb_graph_n_nodes(result), 3); /* x, one matrix, one product */
    free(map);
    ebb_graph_destroy(result);
    ebb_graph_destroy(graph);
}
END_TEST

/* ---- logging and dumping ---- */

typedef struct record {
    char text[4000];
    int n_warnings;
} record;

static void write_log(void *context, ebb_log_level level, const char *message)
{
    record *r = context;
    r->n_warnings += level == EBB_LOG_WARNING;
    strncat(r->text, message, sizeof r->text - strlen(r->text) - 1);
    strncat(r->text, "\n", sizeof r->text - strlen(r->text) - 1);
}

START_TEST(test_hits_are_logged)
{
    record r = { .text = "" };
    ebb_passes_options options = { .log = { write_log, &r } };
    ebb_graph *graph = parse_text("%1 = input {name=\"x\"} : f32[2]\n"
                                  "%2 = neg %1 : f32[2]\n"
                                  "%3 = neg %2 : f32[2]\n"
                                  "%4 = neg %3 : f32[2]\n"
                                  "%5 = neg %4 : f32[2]\n"
                                  "%6 = mul %1 %1 : f32[2]\n"
                                  "%7 = div %5 %6 : f32[2] @out\n");
    ebb_node output = golden_find(graph, "out");
    uint32_t *map;
    ebb_graph *result = run_all(graph, &output, 1, true, &options, &map);
    ck_assert_msg(strstr(r.text, "pass simplify: rule -(-x): 2 times\n"), "%s", r.text);
    ck_assert_msg(strstr(r.text, "pass simplify: rule x*x: 1 times\n"), "%s", r.text);
    ck_assert_int_eq(r.n_warnings, 0);
    free(map);
    ebb_graph_destroy(result);
    ebb_graph_destroy(graph);
}
END_TEST

typedef struct dumps {
    char stages[400];
    int64_t n_outputs;
    const char *fail_at;
} dumps;

static ebb_status dump_stage(void *context, const char *stage, const ebb_graph *graph,
                             const ebb_node *outputs, int64_t n_outputs, ebb_error *error)
{
    dumps *d = context;
    ebb_error why;
    ck_assert_int_eq(ebb_graph_verify(graph, &why), EBB_OK);
    for (int64_t i = 0; i < n_outputs; i++)
        ck_assert(ebb_graph_owns(graph, outputs[i]));
    strcat(d->stages, stage);
    strcat(d->stages, " ");
    d->n_outputs += n_outputs;
    if (d->fail_at && strcmp(d->fail_at, stage) == 0)
        return ebb_fail(error, EBB_IO, "disk full at %s", stage);
    return EBB_OK;
}

START_TEST(test_every_stage_is_dumped)
{
    dumps d = { .stages = "" };
    ebb_passes_options options = { .dump = dump_stage, .dump_context = &d };
    ebb_graph *graph = parse_text(training_step);
    ebb_node output = golden_find(graph, "y");
    uint32_t *map;
    ebb_graph *result = run_all(graph, &output, 1, true, &options, &map);
    ck_assert_str_eq(d.stages, "00-user 01-canonicalize 02-simplify 03-stabilize 04-views "
                               "05-simplify 06-pools 07-sweep ");
    ck_assert_int_eq(d.n_outputs, 8);
    ebb_graph_destroy(result);
    const char *const stages[] = { "00-user", "02-simplify", "07-sweep" };
    for (int i = 0; i < 3; i++) {
        ebb_error error;
        d = (dumps){ .stages = "", .fail_at = stages[i] };
        ck_assert_int_eq(ebb_passes_run(graph, &output, 1, true, &options, &result, map, &error),
                         EBB_IO);
        ck_assert_ptr_null(result);
        ck_assert_msg(strstr(error.message, "disk full at") && strstr(error.message, stages[i]),
                      "%s", error.message);
    }
    free(map);
    ebb_graph_destroy(graph);
}
END_TEST

/* ---- bad input ---- */

START_TEST(test_bad_input)
{
    ebb_graph *graph = parse_text("%1 = input {name=\"x\"} : f32[2]\n%2 = exp %1 : f32[2] @y\n");
    ebb_graph *other = parse_text("%1 = input {name=\"z\"} : f32[3]\n"), *result = graph;
    uint32_t map[3];
    int64_t hits;
    ebb_error error;
    ebb_node y = golden_find(graph, "y"), outputs[] = { y, ebb_graph_node(other, 1) };
    ck_assert_int_eq(ebb_passes_run(graph, outputs, 2, true, &exact, &result, map, &error),
                     EBB_BAD_NODE);
    ck_assert_ptr_null(result);
    ck_assert_str_eq(error.message, "output 1 (z f32[3]) is no node of graph \"graph\"");
    outputs[0] = EBB_NONE;
    ck_assert_int_eq(ebb_passes_run(graph, outputs, 1, true, &exact, &result, map, &error),
                     EBB_BAD_NODE);
    ck_assert_str_eq(error.message, "output 0 (none) is no node of graph \"graph\"");
    ck_assert_int_eq(ebb_pass_run("simplfy", graph, &y, 1, &exact, &result, map, &hits, &error),
                     EBB_NOT_FOUND);
    ck_assert_str_eq(error.message, "there is no pass \"simplfy\"");
    ck_assert_int_eq(ebb_pass_run(NULL, graph, &y, 1, &exact, &result, map, &hits, NULL),
                     EBB_NOT_FOUND);
    ck_assert_int_eq(ebb_passes_run(NULL, NULL, 0, true, &exact, &result, map, &error),
                     EBB_OUT_OF_MEMORY);

    ebb_matmul(y, ebb_reshape(y, EBB_SHAPE(1, 2)));
    ck_assert_int_eq(ebb_passes_run(graph, &y, 1, true, &exact, &result, map, &error),
                     EBB_BAD_SHAPE);
    ck_assert_msg(strstr(error.message, "matmul: ") && strstr(error.message, "test_passes.c"), "%s",
                  error.message);
    ck_assert_ptr_null(result);
    ebb_graph_destroy(graph);
    ebb_graph_destroy(other);
}
END_TEST

/* ---- large graphs ---- */

START_TEST(test_long_chains)
{
    enum { LENGTH = 100000 };
    ebb_graph *graph = ebb_graph_create("chain");
    ebb_node x = ebb_input(graph, "x", EBB_F32, EBB_SHAPE(4)), y = x, z = x;
    for (int i = 0; i < LENGTH; i++) {
        y = i % 2 ? ebb_neg(y) : ebb_exp(y); /* nothing applies */
        z = i % 2 ? ebb_neg(z) : ebb_add(ebb_full_like(z, i), z);
    }
    ebb_node outputs[] = { y, z };
    uint32_t *map;
    ebb_graph *result = run_all(graph, outputs, 2, true, &exact, &map);
    ck_assert_uint_ge(ebb_graph_n_nodes(result), 2 * LENGTH);
    free(map);
    ebb_graph_destroy(result);

    y = x;
    for (int i = 0; i < LENGTH; i++)
        y = ebb_neg(y); /* everything goes */
    result = run_all(graph, &y, 1, true, &exact, &map);
    ck_assert_uint_eq(ebb_graph_n_nodes(result), 1);
    free(map);
    ebb_graph_destroy(result);
    ebb_graph_destroy(graph);
}
END_TEST

/* ---- memory ---- */

START_TEST(test_failing_allocations)
{
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    ebb_graph *graph;
    ebb_error error;
    ck_assert_int_eq(ebb_graph_parse(training_step, sizeof training_step - 1, NULL, 0,
                                     &meter.allocator, &graph, &error),
                     EBB_OK);
    ebb_node output = golden_find(graph, "y");
    uint32_t map[18];
    size_t live = meter.live_bytes;
    int64_t n_failed = 0;
    for (int64_t after = 0;; after++) {
        ebb_graph *result;
        error = (ebb_error){ .message = "" };
        meter.fail_after = after;
        ebb_status status = ebb_passes_run(graph, &output, 1, true, &exact, &result, map, &error);
        meter.fail_after = -1;
        ebb_graph_destroy(result);
        ck_assert_uint_eq(meter.live_bytes, live);
        if (!status)
            break;
        n_failed++;
        ck_assert_msg(status == EBB_OUT_OF_MEMORY, "after %lld: %s: %s", (long long)after,
                      ebb_status_name(status), error.message);
        ck_assert_ptr_null(result);
        ck_assert_msg(strstr(error.message, "out of memory"), "%s", error.message);
        ck_assert_int_lt(after, 10000);
    }
    ck_assert_int_gt(n_failed, 20);
    ebb_graph_destroy(graph);
    ck_assert_int_eq(meter.n_live, 0);
}
END_TEST

/* ---- random graphs: the interpreter gives the same bits before and after ---- */

static bool bits_are_equal(const ebb_tensor *a, const ebb_tensor *b)
{
    for (int64_t i = 0; i < ebb_shape_elements(&a->type.shape); i++) {
        double x = ebb_tensor_get(a, i), y = ebb_tensor_get(b, i);
        if (isnan(x) != isnan(y) || (!isnan(x) && (x != y || !signbit(x) != !signbit(y))))
            return false;
    }
    return true;
}

static void check_values(const graph_case *c, int seed, const ebb_graph *after, const uint32_t *map,
                         const char *what)
{
    ebb_error error = { .message = "" };
    ebb_interpreter *a = graph_case_compute(c, c->graph, c->outputs, &error);
    ck_assert_msg(a, "seed %d: %s", seed, error.message);
    ebb_node outputs[CASE_MAX_OUTPUTS];
    for (int i = 0; i < c->n_outputs; i++)
        outputs[i] = ebb_graph_node(after, map[c->outputs[i].id]);
    ebb_interpreter *b = graph_case_compute(c, after, outputs, &error);
    ck_assert_msg(b, "seed %d, %s: %s", seed, what, error.message);
    for (int i = 0; i < c->n_outputs; i++) {
        const ebb_tensor *x = ebb_interpreter_get(a, c->outputs[i]);
        const ebb_tensor *y = ebb_interpreter_get(b, outputs[i]);
        ck_assert_msg(ebb_type_equal(&x->type, &y->type) && bits_are_equal(x, y),
                      "seed %d, %s: output %d differs", seed, what, i);
    }
    ebb_interpreter_destroy(a);
    ebb_interpreter_destroy(b);
}

/* What most rules are about. */
static const ebb_op *const focus[] = {
    &ebb_op_neg,         &ebb_op_abs,          &ebb_op_square,     &ebb_op_relu,
    &ebb_op_exp,         &ebb_op_sqrt,         &ebb_op_add,        &ebb_op_sub,
    &ebb_op_mul,         &ebb_op_div,          &ebb_op_maximum,    &ebb_op_less,
    &ebb_op_logical_not, &ebb_op_select,       &ebb_op_reduce_sum, &ebb_op_reduce_max,
    &ebb_op_transpose,   &ebb_op_broadcast_to, &ebb_op_reshape,    &ebb_op_matmul,
    &ebb_op_cast,
};
enum { N_FOCUS = sizeof focus / sizeof *focus };

START_TEST(test_random_graphs)
{
    static const char *const passes[] = { "canonicalize", "simplify", "fold", "views", "sweep" };
    int64_t n_hits[5] = { 0 }, n_compared = 0;
    for (int seed = _i * 150; seed < _i * 150 + 150; seed++) {
        graph_case c;
        random_case_init(&c, &(random_case_options){ .seed = (uint64_t)seed,
                                                     .n_ops = 60,
                                                     .focus = focus,
                                                     .n_focus = N_FOCUS,
                                                     .wild = true });
        uint32_t *map;
        for (int p = 0; p < 5; p++) {
            ebb_graph *result;
            ebb_error error;
            int64_t hits;
            map = malloc((ebb_graph_n_nodes(c.graph) + 1) * sizeof *map);
            ebb_status status = ebb_pass_run(passes[p], c.graph, c.outputs, c.n_outputs, &exact,
                                             &result, map, &hits, &error);
            ck_assert_msg(!status, "seed %d, %s: %s", seed, passes[p], error.message);
            n_hits[p] += hits;
            check_values(&c, seed, result, map, passes[p]);
            free(map);
            ebb_graph_destroy(result);
        }
        record r = { .text = "" };
        ebb_passes_options options = { .log = { write_log, &r } };
        ebb_graph *result = run_all(c.graph, c.outputs, c.n_outputs, true, &options, &map);
        if (!strstr(r.text, "pass stabilize")) {
            n_compared++;
            check_values(&c, seed, result, map, "all");
        }
        ck_assert_msg(r.n_warnings == 0, "seed %d: %s", seed, r.text);
        free(map);
        /* what comes out is settled: the pipeline finds nothing more in it, whatever it is given as
         * outputs */
        ebb_graph_destroy(result);
        result = run_all(c.graph, c.outputs, c.n_outputs, true, &fast, &map);
        for (int i = 0; i < c.n_outputs; i++)
            ck_assert(ebb_type_equal(ebb_node_type(c.outputs[i]),
                                     ebb_node_type(ebb_graph_node(result, map[c.outputs[i].id]))));
        free(map);
        ebb_graph_destroy(result);
        graph_case_finish(&c);
    }
    for (int p = 0; p < 4; p++)
        ck_assert_msg(n_hits[p] > 20, "%s hit only %lld times", passes[p], (long long)n_hits[p]);
    ck_assert_int_gt(n_compared, 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("passes");
    TCase *pipeline = tcase_create("pipeline");
    tcase_add_test(pipeline, test_names);
    tcase_add_test(pipeline, test_each_pass_does_its_own);
    tcase_add_test(pipeline, test_pipeline_of_a_training_step);
    tcase_add_test(pipeline, test_nothing_to_do_gives_a_copy);
    tcase_add_test(pipeline, test_several_results);
    tcase_add_test(pipeline, test_names_move_to_what_replaces);
    tcase_add_test(pipeline, test_equal_nodes_are_shared);
    tcase_add_test(pipeline, test_linear_layers_collapse);
    tcase_add_test(pipeline, test_hits_are_logged);
    tcase_add_test(pipeline, test_every_stage_is_dumped);
    tcase_add_test(pipeline, test_bad_input);
    tcase_add_test(pipeline, test_long_chains);
    tcase_add_test(pipeline, test_failing_allocations);
    tcase_add_loop_test(pipeline, test_random_graphs, 0, 6);
    suite_add_tcase(suite, pipeline);
    return run_suite(suite);
}
