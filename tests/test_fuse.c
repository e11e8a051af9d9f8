/* Fusion: what becomes programs (tests/golden/fuse.txt), their limits and text form, the kernel
 * against the same loops one by one, and how many steps are saved. */
#include "graph/interpret.h"
#include "passes/fuse.h"
#include "passes/passes.h"
#include "support/golden.h"
#include "support/runner.h"
#include "support/runtime.h"

#include <math.h>
#include <stdlib.h>

/* ---- golden cases ---- */

static ebb_status run_fuse(const ebb_graph *graph, const ebb_node *outputs, int n_outputs,
                           ebb_graph **result, uint32_t *map, int64_t *n_hits, ebb_error *error)
{
    return ebb_pass_run("fuse", graph, outputs, n_outputs, NULL, result, map, n_hits, error);
}

START_TEST(golden_cases)
{
    golden_check("fuse", run_fuse, 8);
}
END_TEST

/* ---- text form ---- */

static const struct {
    const char *program, *message;
} bad_programs[] = {
    { "", "expected '('" },
    { "(", "expected '$'" },
    { "()", "expected '$'" },
    { "($1 = exp $0)", "expected ';'" },
    { "($1 = exp $0;)", "expected $ or return" },
    { "($1 = exp $0; stop $1)", "expected return" },
    { "($1 = exp $0; $3 = exp $1; return $3)", "$3 where $2 is next" },
    { "($1 = exp $1; return $1)", "1 is out of range" },
    { "($1 = exp $0; return $2)", "2 is out of range" },
    { "($1 = exp $0; return $1 $1 $1 $1 $1 $1 $1 $1 $1)", "more than 8 results" },
    { "($1 = exp $0; return)", "a program of 0 results for 1" },
    { "($1 = matmul $0 $0; return $1)", "\"matmul\" is no op that a program may contain" },
    { "($1 = fused $0 {program=($1 = exp $0; return $1)}; return $1)",
      "\"fused\" is no op that a program may contain" },
    { "($1 = nothing $0; return $1)", "\"nothing\" is no op that a program may contain" },
    { "($1 = f32 x; return $1)", "expected a number" },
    { "($1 = add $0; return $1)", "expected '$'" },
    { "($1 = clip $0 {lo=1}; return $1)", "clip has no attribute \"lo\"" },
    { "($1 = logical_not $0; return $1)", "$1, logical_not: dtype f32 is not one of bool" },
    { "($2 = exp $0; return $2)", "a program of 2 inputs for 1" },
    { "($99 = exp $0; return $99)", "a program of 99 inputs for 1" },
};

START_TEST(bad_programs_are_refused)
{
    char text[400];
    ebb_graph *graph;
    ebb_error error;
    snprintf(
        text, sizeof text,
        "graph \"g\"\n%%1 = input {name=\"x\"} : f32[2]\n%%2 = fused %%1 {program=%s} : f32[2]\n",
        bad_programs[_i].program);
    ck_assert_int_ne(ebb_graph_parse(text, strlen(text), NULL, 0, NULL, &graph, &error), EBB_OK);
    ck_assert_ptr_null(graph);
    CHECK_TEXT(error.message, bad_programs[_i].message);
}
END_TEST

START_TEST(text_keeps_constants)
{
    ebb_graph *g = golden_parse(
        "graph \"g\"\n%1 = input {name=\"x\"} : f64[2]\n"
        "%2, %3, %4 = fused_3 %1 {program=($1 = f64 0.1; $2 = i64 -9007199254740993; "
        "$3 = cast $2 {dtype=f64}; $4 = add $0 $1; $5 = bool 1; $6 = f32 -0; return $4 $2 $6)} "
        ": f64[2], i64[2], f32[2]\n");
    char *once = golden_print(g);
    ebb_graph *again = golden_parse(once);
    char *twice = golden_print(again);
    ck_assert_str_eq(once, twice);
    CHECK_TEXT(once, "i64 -9007199254740993;");
    CHECK_TEXT(once, "f32 -0;");
    /* Equal ones are shared, others are not. */
    ebb_node x = ebb_graph_node(g, 1), node = ebb_graph_node(g, 2);
    ck_assert_uint_eq(ebb_emit(g, ebb_node_op(node), &x, 1, ebb_node_attrs(node), NULL).id, 2);
    ebb_program other = *((const ebb_fused_attrs *)ebb_node_attrs(node))->program;
    const int32_t results[] = { 4, 2, 5 };
    other.results = results;
    ck_assert_uint_ne(ebb_emit(g, ebb_node_op(node), &x, 1, &(ebb_fused_attrs){ &other }, NULL).id,
                      2);
    free(once);
    free(twice);
    ebb_graph_destroy(g);
    ebb_graph_destroy(again);
}
END_TEST

/* ---- random element-wise graphs ---- */

static uint64_t draw(uint64_t *state, uint64_t n)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*state >> 33) % n;
}

enum { N_INPUTS = 7, MAX_RANDOM = 400 };

typedef struct random_graph {
    ebb_graph *graph;
    ebb_node inputs[N_INPUTS], outputs[MAX_OUTPUTS];
} random_graph;

/* `n` ops over a full input, a second one that is transposed, a row, a column, a scalar, integers
 * and another float dtype. `mixes`: sums over everything go back in, so that groups cannot be one.
 */
static random_graph make_random(ebb_dtype dtype, int64_t rows, int64_t columns, int n, bool mixes,
                                uint64_t seed)
{
    random_graph r = { .graph = ebb_graph_create("random") };
    ebb_graph *g = r.graph;
    const ebb_shape shape = EBB_SHAPE(rows, columns);
    const ebb_dtype other = dtype == EBB_F32 ? EBB_F64 : EBB_F32;
    uint64_t state = seed * 77 + 5;
    r.inputs[0] = ebb_input(g, "full", dtype, shape);
    r.inputs[1] = ebb_input(g, "turned", dtype, EBB_SHAPE(columns, rows));
    r.inputs[2] = ebb_input(g, "row", dtype, EBB_SHAPE(columns));
    r.inputs[3] = ebb_input(g, "column", dtype, EBB_SHAPE(rows, 1));
    r.inputs[4] = ebb_input(g, "scalar", dtype, EBB_SCALAR);
    r.inputs[5] = ebb_input(g, "integers", EBB_I32, shape);
    r.inputs[6] = ebb_input(g, "other", other, shape);
    ebb_node nodes[MAX_RANDOM + N_INPUTS];
    int n_nodes = 0;
    for (int i = 0; i < N_INPUTS; i++) {
        ebb_node x = i == 1 ? ebb_transpose(r.inputs[i], EBB_AXES(1, 0)) : r.inputs[i];
        x = ebb_broadcast_to(x, shape);
        nodes[n_nodes++] = i > 4 ? ebb_cast(x, dtype) : x;
    }
    for (int i = 0; i < n; i++) {
        const ebb_node a =
            nodes[n_nodes - 1 - (int)draw(&state, (uint64_t)(n_nodes < 9 ? n_nodes : 9))];
        const ebb_node b = nodes[draw(&state, (uint64_t)n_nodes)];
        ebb_node made = EBB_NONE;
        switch (draw(&state, mixes ? 13 : 12)) {
        case 0:
            made = ebb_add(a, b);
            break;
        case 1:
            made = ebb_sub(b, a);
            break;
        case 2:
            made = ebb_mul(ebb_tanh(a), b);
            break;
        case 3:
            made = ebb_maximum(a, b);
            break;
        case 4:
            made = ebb_select(ebb_less(a, b), b, a);
            break;
        case 5:
            made = ebb_tanh(a);
            break;
        case 6:
            made = ebb_mul(a, ebb_full_like(a, 0.5));
            break;
        case 7:
            made = ebb_cast(ebb_cast(a, other), dtype);
            break;
        case 8:
            made = ebb_clip(a, -1.5, 1.25);
            break;
        case 9:
            made = ebb_cast(ebb_logical_or(ebb_greater(a, b), ebb_is_nan(a)), dtype);
            break;
        case 10:
            made = ebb_exp(ebb_neg(ebb_abs(a)));
            break;
        case 11:
            made = ebb_cast(ebb_add(ebb_cast(a, EBB_I32), ebb_cast(b, EBB_I32)), dtype);
            break;
        default:
            made = ebb_sub(a, ebb_reduce_mean(b, EBB_AXES(-1), true));
        }
        nodes[n_nodes++] = made;
    }
    for (int i = 0; i < MAX_OUTPUTS; i++)
        r.outputs[i] = nodes[i == 0 ? n_nodes - 1 : (int)draw(&state, (uint64_t)n_nodes)];
    ck_assert_msg(!ebb_graph_status(g), "%s", ebb_graph_message(g));
    return r;
}

static void fill_inputs(const random_graph *r, ebb_tensor values[N_INPUTS], uint64_t seed)
{
    for (int i = 0; i < N_INPUTS; i++) {
        ck_assert_int_eq(ebb_tensor_init(&values[i], *ebb_node_type(r->inputs[i]), NULL), EBB_OK);
        const int64_t n = ebb_shape_elements(&values[i].type.shape);
        for (int64_t k = 0; k < n; k++)
            ebb_tensor_set(&values[i], k, (double)draw(&seed, 4001) / 1000 - 2);
    }
}

static void run_random(const random_graph *r, const ebb_tensor values[N_INPUTS], int n_threads,
                       bool off, ebb_tensor results[MAX_OUTPUTS], ebb_executable_stats *stats)
{
    ebb_feed feeds[N_INPUTS];
    ebb_fetch fetches[MAX_OUTPUTS];
    for (int i = 0; i < N_INPUTS; i++)
        feeds[i] = (ebb_feed){ r->inputs[i], values[i] };
    for (int i = 0; i < MAX_OUTPUTS; i++) {
        ck_assert_int_eq(ebb_tensor_init(&results[i], *ebb_node_type(r->outputs[i]), NULL), EBB_OK);
        fetches[i] = (ebb_fetch){ r->outputs[i], results[i] };
    }
    ebb_executable *e =
        compile_with(r->graph, &(ebb_compile_options){ .fetches = r->outputs,
                                                       .n_fetches = MAX_OUTPUTS,
                                                       .n_threads = n_threads,
                                                       .skip_fusions = off ? "programs,reductions"
                                                                           : "reductions" });
    for (int twice = 0; twice < 2; twice++)
        run(e, feeds, N_INPUTS, fetches, MAX_OUTPUTS);
    *stats = ebb_executable_get_stats(e);
    ebb_executable_destroy(e);
}

static const struct {
    int64_t rows, columns;
    int n_graphs, n_ops, n_threads;
} sizes[] = {
    { 1, 1, 20, 60, 1 },   { 1, 16, 20, 200, 1 }, { 3, 5, 20, 60, 2 },
    { 0, 4, 3, 30, 1 },    { 64, 100, 6, 60, 1 }, { 257, 129, 6, 40, 2 },
    { 2, 5000, 6, 40, 2 }, { 5000, 3, 6, 40, 2 }, { 2053, 2049, 1, 20, 2 }, /* past the caches */
};

/* The same loops over the same elements, whatever the order: bit for bit. */
START_TEST(fused_is_unfused)
{
    for (int k = 0; k < sizes[_i].n_graphs; k++) {
        const ebb_dtype dtype = k % 2 ? EBB_F64 : EBB_F32;
        random_graph r = make_random(dtype, sizes[_i].rows, sizes[_i].columns, sizes[_i].n_ops,
                                     k % 3 == 2, (uint64_t)(_i * 100 + k));
        ebb_tensor values[N_INPUTS], fused[MAX_OUTPUTS], unfused[MAX_OUTPUTS];
        ebb_executable_stats with, without;
        fill_inputs(&r, values, (uint64_t)k);
        run_random(&r, values, sizes[_i].n_threads, false, fused, &with);
        run_random(&r, values, sizes[_i].n_threads, true, unfused, &without);
        ck_assert_int_gt(with.n_fused, 0);
        ck_assert_int_eq(without.n_fused, 0);
        ck_assert_int_lt(with.n_steps, without.n_steps);
        for (int i = 0; i < MAX_OUTPUTS; i++) {
            ck_assert_msg(memcmp(fused[i].data, unfused[i].data, ebb_tensor_bytes(&fused[i])) == 0,
                          "size %d, graph %d, output %d", (int)_i, k, i);
            ebb_tensor_finish(&fused[i]);
            ebb_tensor_finish(&unfused[i]);
        }
        for (int i = 0; i < N_INPUTS; i++)
            ebb_tensor_finish(&values[i]);
        ebb_graph_destroy(r.graph);
    }
}
END_TEST

/* ---- limits ---- */

static const ebb_fuse_limits limits[] = {
    { 3, 4, 1 }, { 3, 4, 8 }, { 4, 10, 2 }, { 32, 16, 3 }, { 5, 4096, 8 }, { 32, 4096, 1 },
};

static void check_program(const ebb_node node, const ebb_fuse_limits *most)
{
    const ebb_program *p = ((const ebb_fused_attrs *)ebb_node_attrs(node))->program;
    int n_ops = 0;
    ck_assert_int_le(p->n_inputs, (int)most->inputs);
    ck_assert_int_le(p->n_instructions, (int)most->instructions);
    ck_assert_int_le(p->n_results, (int)most->results);
    for (int k = 0; k < p->n_instructions; k++)
        n_ops += p->instructions[k].op != NULL;
    ck_assert_int_ge(n_ops, 2);
}

/* Every cut computes what the graph computes, with the evals of the ops. */
START_TEST(limits_hold)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        random_graph r = make_random(EBB_F64, 3, 4, 150, seed % 2 == 0, seed);
        const ebb_fuse options = { .limits = limits[_i] };
        uint32_t *map = calloc(ebb_graph_n_nodes(r.graph) + 1, sizeof *map);
        ebb_graph *fused;
        ebb_error error;
        int64_t n_programs, n_found = 0;
        ck_assert_msg(!ebb_fuse_run(&options, r.graph, r.outputs, MAX_OUTPUTS, &fused, map,
                                    &n_programs, &error),
                      "%s", error.message);
        ck_assert_ptr_nonnull(fused);
        ck_assert_msg(!ebb_graph_verify(fused, &error), "%s", error.message);
        for (uint32_t id = 1; id <= ebb_graph_n_nodes(fused); id++) {
            const ebb_node node = ebb_graph_node(fused, id);
            if (!ebb_op_is_fused(ebb_node_op(node)))
                continue;
            check_program(node, &limits[_i]);
            n_found++;
        }
        ck_assert_int_eq(n_found, n_programs);
        ebb_interpreter *before = ebb_interpreter_create(r.graph, NULL),
                        *after = ebb_interpreter_create(fused, NULL);
        ebb_tensor values[N_INPUTS];
        fill_inputs(&r, values, seed);
        for (int i = 0; i < N_INPUTS; i++) {
            const ebb_node there = ebb_graph_node(fused, map[r.inputs[i].id]);
            ck_assert_int_eq(ebb_interpreter_set(before, r.inputs[i], &values[i], NULL), EBB_OK);
            if (there.id)
                ck_assert_int_eq(ebb_interpreter_set(after, there, &values[i], NULL), EBB_OK);
            ebb_tensor_finish(&values[i]);
        }
        ck_assert_int_eq(ebb_interpreter_run(before, r.outputs, MAX_OUTPUTS, NULL), EBB_OK);
        for (int i = 0; i < MAX_OUTPUTS; i++) {
            const ebb_node there = ebb_graph_node(fused, map[r.outputs[i].id]);
            ck_assert_int_eq(ebb_interpreter_run(after, &there, 1, NULL), EBB_OK);
            const ebb_tensor *a = ebb_interpreter_get(before, r.outputs[i]),
                             *b = ebb_interpreter_get(after, there);
            ck_assert_int_eq(memcmp(a->data, b->data, ebb_tensor_bytes(a)), 0);
        }
        ebb_interpreter_destroy(before);
        ebb_interpreter_destroy(after);
        ebb_graph_destroy(fused);
        ebb_graph_destroy(r.graph);
        free(map);
    }
}
END_TEST

START_TEST(bad_limits)
{
    static const ebb_fuse_limits bad[] = { { 0 },          { 2, 4, 1 }, { 33, 4, 1 }, { 3, 3, 1 },
                                           { 3, 4097, 1 }, { 3, 4, 0 }, { 3, 4, 9 } };
    random_graph r = make_random(EBB_F32, 1, 1, 5, false, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const ebb_fuse options = { .limits = bad[i] };
        ebb_graph *fused;
        ebb_error error;
        int64_t n;
        ck_assert_int_eq(
            ebb_fuse_run(&options, r.graph, r.outputs, MAX_OUTPUTS, &fused, NULL, &n, &error),
            EBB_BAD_ARGUMENT);
        CHECK_TEXT(error.message, "limits out of range");
    }
    ebb_graph_destroy(r.graph);
}
END_TEST

/* A chain forward, and one back that reads every value of the first: as many open values as nodes.
 * Linear, and without recursion. */
START_TEST(long_graphs)
{
    enum { LENGTH = 100000 };
    ebb_graph *g = ebb_graph_create("long");
    ebb_node *forward = malloc((LENGTH + 1) * sizeof *forward);
    forward[0] = ebb_input(g, "x", EBB_F32, EBB_SHAPE(4));
    for (int i = 0; i < LENGTH; i++)
        forward[i + 1] = ebb_sin(forward[i]);
    ebb_node back = forward[LENGTH];
    for (int i = LENGTH; i > 0; i--)
        back = ebb_mul(back, forward[i]);
    const ebb_fuse options = { .limits = EBB_FUSE_LIMITS };
    uint32_t *map = calloc(ebb_graph_n_nodes(g) + 1, sizeof *map);
    ebb_graph *fused;
    ebb_error error;
    int64_t n;
    ck_assert_int_eq(ebb_fuse_run(&options, g, &back, 1, &fused, map, &n, &error), EBB_OK);
    ck_assert_int_eq(ebb_graph_verify(fused, &error), EBB_OK);
    /* At most 8 results each forward, a few factors each backward. */
    ck_assert_int_lt(n, LENGTH / 3);
    ck_assert_int_lt(ebb_graph_n_nodes(fused), LENGTH * 3 / 2);
    free(map);
    free(forward);
    ebb_graph_destroy(fused);
    ebb_graph_destroy(g);
}
END_TEST

/* ---- training steps ---- */

static ebb_node build_net(ebb_graph *g, const ebb_nn_rule *rule)
{
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(20, 30));
    ebb_node t = ebb_input(g, "t", EBB_I32, EBB_SHAPE(20));
    ebb_node h = ebb_sigmoid(ebb_nn_linear(x, 40, &(ebb_nn_linear_options){ .name = "fc1" }));
    ebb_node loss = ebb_softmax_cross_entropy(
        ebb_nn_linear(h, 10, &(ebb_nn_linear_options){ .name = "fc2" }), t);
    ck_assert_msg(!ebb_nn_minimize(loss, rule), "%s", ebb_graph_message(g));
    return loss;
}

static const struct {
    ebb_nn_rule rule;
    int64_t most_steps; /* fused */
    int64_t least_saved;
} nets[] = {
    { { .rate = 0.1 }, 18, 6 },
    { { .method = EBB_NN_ADAM, .rate = 1e-2 }, 24, 40 },
    { { .method = EBB_NN_MOMENTUM, .rate = 0.1 }, 20, 10 },
};

/* Fewer steps, and the same losses and weights bit for bit; updates happen in place. */
START_TEST(training_steps)
{
    double losses[2][5];
    float weights[2][30 * 40];
    ebb_executable_stats stats[2];
    for (int off = 0; off < 2; off++) {
        ebb_graph *g = ebb_graph_create("net");
        ebb_store *store = ebb_store_create(NULL);
        ebb_node loss = build_net(g, &nets[_i].rule);
        ebb_executable *e =
            compile_with(g, &(ebb_compile_options){ .fetches = &loss,
                                                    .n_fetches = 1,
                                                    .store = store,
                                                    .n_threads = 1,
                                                    .skip_fusions = off ? "programs" : NULL });
        float x[20 * 30];
        int32_t t[20];
        for (int i = 0; i < 20 * 30; i++)
            x[i] = (float)sin(i);
        for (int i = 0; i < 20; i++)
            t[i] = i * 7 % 10;
        for (int step = 0; step < 5; step++) {
            float value = 0;
            const ebb_feed feeds[] = { FEED(ebb_graph_find(g, "x"), x),
                                       FEED(ebb_graph_find(g, "t"), t) };
            run(e, feeds, 2, &FETCH(loss, &value), 1);
            losses[off][step] = value;
        }
        ebb_tensor w;
        ck_assert_int_eq(ebb_store_get(store, "fc1/w", &w), EBB_OK);
        ck_assert_uint_eq(ebb_tensor_bytes(&w), sizeof weights[off]);
        memcpy(weights[off], w.data, sizeof weights[off]);
        stats[off] = ebb_executable_get_stats(e);
        ebb_executable_destroy(e);
        ebb_store_destroy(store);
        ebb_graph_destroy(g);
    }
    ck_assert_int_eq(memcmp(losses[0], losses[1], sizeof losses[0]), 0);
    ck_assert_int_eq(memcmp(weights[0], weights[1], sizeof weights[0]), 0);
    ck_assert(losses[0][4] < losses[0][0]);
    ck_assert_int_gt(stats[0].n_fused, 0);
    ck_assert_msg(stats[0].n_steps <= nets[_i].most_steps &&
                      stats[1].n_steps - stats[0].n_steps >= nets[_i].least_saved,
                  "%lld steps, %lld unfused", (long long)stats[0].n_steps,
                  (long long)stats[1].n_steps);
    ck_assert_uint_le(stats[0].arena_bytes, stats[1].arena_bytes);
}
END_TEST

/* A feed-forward part with residual, gelu and dropout by hand, as in a transformer. */
START_TEST(transformer_steps)
{
    int64_t steps[2];
    for (int off = 0; off < 2; off++) {
        ebb_graph *g = ebb_graph_create("block");
        ebb_store *store = ebb_store_create(NULL);
        ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, 6, 16));
        ebb_node a = ebb_scaled_dot_product_attention(x, x, x, EBB_NONE,
                                                      ((ebb_attention_attrs){ .causal = true }));
        ebb_node h = ebb_layer_norm(ebb_reshape(ebb_add(a, x), EBB_SHAPE(12, 16)), EBB_NONE,
                                    EBB_NONE, EBB_AXES(-1), 1e-5);
        ebb_node f = ebb_gelu(ebb_nn_linear(h, 64, &(ebb_nn_linear_options){ .name = "fc1" }));
        f = ebb_add(ebb_nn_linear(f, 16, &(ebb_nn_linear_options){ .name = "fc2" }), h);
        ebb_node loss = ebb_reduce_mean(ebb_square(ebb_sub(f, ebb_reshape(x, EBB_SHAPE(12, 16)))),
                                        EBB_ALL_AXES, false);
        ck_assert_msg(!ebb_nn_minimize(loss, &(ebb_nn_rule){ .method = EBB_NN_ADAM, .rate = 1e-3 }),
                      "%s", ebb_graph_message(g));
        ebb_executable *e =
            compile_with(g, &(ebb_compile_options){ .fetches = &loss,
                                                    .n_fetches = 1,
                                                    .store = store,
                                                    .skip_fusions = off ? "programs" : NULL });
        steps[off] = ebb_executable_get_stats(e).n_steps;
        ebb_executable_destroy(e);
        ebb_store_destroy(store);
        ebb_graph_destroy(g);
    }
    ck_assert_msg(steps[0] * 2 < steps[1], "%lld steps, %lld unfused", (long long)steps[0],
                  (long long)steps[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fuse");
    TCase *text = tcase_create("text");
    tcase_add_test(text, golden_cases);
    tcase_add_loop_test(text, bad_programs_are_refused, 0,
                        (int)(sizeof bad_programs / sizeof *bad_programs));
    tcase_add_test(text, text_keeps_constants);
    suite_add_tcase(suite, text);
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 120);
    tcase_add_loop_test(values, fused_is_unfused, 0, (int)(sizeof sizes / sizeof *sizes));
    tcase_add_loop_test(values, limits_hold, 0, (int)(sizeof limits / sizeof *limits));
    tcase_add_test(values, bad_limits);
    tcase_add_test(values, long_graphs);
    suite_add_tcase(suite, values);
    TCase *steps = tcase_create("steps");
    tcase_add_loop_test(steps, training_steps, 0, (int)(sizeof nets / sizeof *nets));
    tcase_add_test(steps, transformer_steps);
    suite_add_tcase(suite, steps);
    return run_suite(suite);
}
