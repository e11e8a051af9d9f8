/* Tile programs: what the pass tiles makes of a graph (tests/golden/tiles.txt), and the same bits
 * as with the parts alone, for any shape, layout and number of threads. */
#include "passes/tiles.h"
#include "support/golden.h"
#include "support/runner.h"
#include "support/runtime.h"

#include <math.h>
#include <stdlib.h>

/* Kernels are there for most reductions; the op itself says which there are. */
static bool takes_reductions(void *context, const ebb_op *op, const void *attrs, int n_inputs,
                             const ebb_type *const *inputs, const ebb_type *const *results)
{
    ebb_type types[EBB_MAX_RESULTS];
    ebb_error error;
    (void)context;
    (void)results;
    return !op->infer(&(ebb_infer){ op, attrs, n_inputs, inputs, types, &error });
}

static ebb_status run_reductions(const ebb_graph *graph, const ebb_node *outputs, int n_outputs,
                                 ebb_graph **result, uint32_t *map, int64_t *n_hits,
                                 ebb_error *error)
{
    const ebb_tiles options = { .what = EBB_TILES_REDUCTIONS, .join.takes = takes_reductions };
    return ebb_tiles_run(&options, graph, outputs, n_outputs, result, map, n_hits, error);
}

static ebb_status run_tiles(const ebb_graph *graph, const ebb_node *outputs, int n_outputs,
                            ebb_graph **result, uint32_t *map, int64_t *n_hits, ebb_error *error)
{
    const ebb_tiles options = { .what = EBB_TILES_RANDOM };
    return ebb_tiles_run(&options, graph, outputs, n_outputs, result, map, n_hits, error);
}

START_TEST(golden_cases)
{
    golden_check("tiles", run_tiles, 3);
    golden_check("reductions", run_reductions, 4);
}
END_TEST

/* ---- text form ---- */

static const struct {
    const char *program, *message;
} bad_programs[] = {
    { "($1 = random_uniform $0; return $1)", "expected ':'" },
    { "($1 = random_uniform $0 {seed=1}; return $1)", "expected ':'" },
    { "($1 = random_uniform $0 : f32; return $1)", "expected '['" },
    { "($1 = random_uniform $0 : f99[2]; return $1)", "\"f99\" is no dtype" },
    { "($1 = random_uniform $0 : i32[2]; return $1)", "dtype i32 is not one of f64, f32" },
    { "($1 = reduce_sum $0 {axis=1}; return $1)", "reduce_sum has no attribute \"axis\"" },
    { "($1 = dropout $0 $0 : f32[2]; return $1)", "\"dropout\" is no op that a program may" },
};

START_TEST(bad_programs_are_refused)
{
    char text[400];
    ebb_graph *graph;
    ebb_error error;
    snprintf(text, sizeof text,
             "graph \"g\"\n%%1 = input {name=\"c\"} : i64[]\n%%2 = tile_program %%1 {program=%s} : "
             "f32[2]\n",
             bad_programs[_i].program);
    ck_assert_int_ne(ebb_graph_parse(text, strlen(text), NULL, 0, NULL, &graph, &error), EBB_OK);
    ck_assert_ptr_null(graph);
    CHECK_TEXT(error.message, bad_programs[_i].message);
}
END_TEST

/* ---- values ---- */

enum { MOST_INPUTS = 3, MOST_FETCHES = 3 };

/* The first input gets sines, the last one is a counter. */
typedef struct net {
    ebb_graph *graph;
    ebb_node inputs[MOST_INPUTS], fetches[MOST_FETCHES];
    int n_inputs, n_fetches;
} net;

static void fetch(net *n, ebb_node node)
{
    n->fetches[n->n_fetches++] = node;
}

static ebb_node input(net *n, const char *name, ebb_dtype dtype, ebb_shape shape)
{
    return n->inputs[n->n_inputs++] = ebb_input(n->graph, name, dtype, shape);
}

typedef void (*builder)(net *n, ebb_dtype dtype, ebb_shape shape);

/* The gradient takes the mask that the forward part has made. */
static void build_dropout(net *n, ebb_dtype dtype, ebb_shape shape)
{
    const ebb_node x = input(n, "x", dtype, shape), c = input(n, "c", EBB_I64, EBB_SCALAR);
    const ebb_node y = ebb_dropout(ebb_tanh(x), 0.3, c, 5, 1);
    const ebb_node loss = ebb_reduce_sum(ebb_softmax(y, -1), EBB_ALL_AXES, false);
    ebb_node dx;
    ck_assert_int_eq(ebb_gradients(loss, &x, 1, &dx), EBB_OK);
    fetch(n, y);
    fetch(n, dx);
}

/* An input that lies turned: read far apart, where it is large. */
static void build_turned(net *n, ebb_dtype dtype, ebb_shape shape)
{
    const ebb_shape turned = EBB_SHAPE(shape.dims[1], shape.dims[0]);
    const ebb_node x = input(n, "x", dtype, turned), c = input(n, "c", EBB_I64, EBB_SCALAR);
    const ebb_node y = ebb_transpose(x, EBB_AXES(1, 0));
    fetch(n, ebb_neg(ebb_add(y, ebb_random_uniform(c, dtype, shape, 2, 3))));
}

/* A row and a column beside numbers of both kinds. */
static void build_mixed(net *n, ebb_dtype dtype, ebb_shape shape)
{
    const ebb_node x = input(n, "x", dtype, shape), c = input(n, "c", EBB_I64, EBB_SCALAR);
    const ebb_node row = ebb_reduce_max(x, EBB_AXES(0), true);
    const ebb_node column = ebb_reduce_min(x, EBB_AXES(1), true);
    const ebb_node u = ebb_random_uniform(c, dtype, shape, 1, 0);
    const ebb_node z = ebb_random_normal(c, dtype, shape, 1, 1);
    fetch(n, ebb_add(ebb_mul(u, row), ebb_sub(z, column)));
}

/* Behind a convolution, which may lie with channels last. */
static void build_channels(net *n, ebb_dtype dtype, ebb_shape shape)
{
    (void)shape;
    const ebb_node x = input(n, "x", dtype, EBB_SHAPE(2, 16, 12, 12));
    const ebb_node c = input(n, "c", EBB_I64, EBB_SCALAR);
    const ebb_node w = input(n, "w", dtype, EBB_SHAPE(16, 16, 3, 3));
    const ebb_conv_attrs same = { .padding = EBB_INTS(1, 1) };
    const ebb_node y = ebb_exp(ebb_neg(ebb_abs(ebb_conv2d(x, w, EBB_NONE, same))));
    fetch(n, ebb_conv2d(ebb_dropout(y, 0.5, c, 9, 0), w, EBB_NONE, same));
}

static net build(builder make, ebb_dtype dtype, ebb_shape shape)
{
    net n = { .graph = ebb_graph_create("tiles") };
    make(&n, dtype, shape);
    ck_assert_msg(!ebb_graph_status(n.graph), "%s", ebb_graph_message(n.graph));
    return n;
}

static int count_steps(const ebb_executable *e, const char *op)
{
    ebb_step_info info;
    int n = 0;
    for (int64_t i = 0; ebb_executable_step(e, i, &info); i++)
        n += strncmp(info.op, op, strlen(op)) == 0;
    return n;
}

/* Fills results[]; returns how many tile programs there are. */
static int run_net(const net *n, const char *skip_fusions, int n_threads, ebb_tensor *results)
{
    ebb_tensor values[MOST_INPUTS];
    ebb_feed feeds[MOST_INPUTS];
    ebb_fetch fetches[MOST_FETCHES];
    for (int i = 0; i < n->n_inputs; i++) {
        ck_assert_int_eq(ebb_tensor_init(&values[i], *ebb_node_type(n->inputs[i]), NULL), EBB_OK);
        for (int64_t k = 0; k < ebb_shape_elements(&values[i].type.shape); k++)
            ebb_tensor_set(&values[i], k,
                           values[i].type.dtype == EBB_I64 ? 7 : sin((double)(k * 7 + i)));
        feeds[i] = (ebb_feed){ n->inputs[i], values[i] };
    }
    for (int i = 0; i < n->n_fetches; i++) {
        ck_assert_int_eq(ebb_tensor_init(&results[i], *ebb_node_type(n->fetches[i]), NULL), EBB_OK);
        fetches[i] = (ebb_fetch){ n->fetches[i], results[i] };
    }
    ebb_executable *e =
        compile_with(n->graph, &(ebb_compile_options){ .fetches = n->fetches,
                                                       .n_fetches = n->n_fetches,
                                                       .n_threads = n_threads,
                                                       .skip_fusions = skip_fusions });
    for (int twice = 0; twice < 2; twice++)
        run(e, feeds, n->n_inputs, fetches, n->n_fetches);
    const int n_programs = count_steps(e, "tile_program");
    ebb_executable_destroy(e);
    for (int i = 0; i < n->n_inputs; i++)
        ebb_tensor_finish(&values[i]);
    return n_programs;
}

static void finish(const net *n, ebb_tensor *results)
{
    for (int i = 0; i < n->n_fetches; i++)
        ebb_tensor_finish(&results[i]);
}

static const struct {
    builder make;
    int64_t rows, columns;
    int n_programs; /* -1: it depends on layouts */
} random_cases[] = {
    { build_dropout, 1, 1, 1 },     { build_dropout, 3, 7, 1 },       { build_dropout, 1, 1023, 1 },
    { build_dropout, 131, 517, 1 }, { build_dropout, 2050, 2053, 1 }, /* past the caches */
    { build_turned, 3, 5, 0 },      { build_turned, 201, 103, 0 },    { build_mixed, 5, 3, 1 },
    { build_mixed, 3, 1030, 1 },    { build_mixed, 333, 217, 1 },     { build_channels, 1, 1, -1 },
};

START_TEST(random_numbers_are_the_same)
{
    for (int way = 0; way < 4; way++) {
        const ebb_dtype dtype = way % 2 ? EBB_F64 : EBB_F32;
        net n = build(random_cases[_i].make, dtype,
                      EBB_SHAPE(random_cases[_i].rows, random_cases[_i].columns));
        ebb_tensor with[MOST_FETCHES], without[MOST_FETCHES];
        const int n_programs = run_net(&n, NULL, way / 2 + 1, with);
        ck_assert_int_eq(run_net(&n, "random", 1, without), 0);
        if (random_cases[_i].n_programs >= 0)
            ck_assert_int_eq(n_programs, random_cases[_i].n_programs);
        for (int i = 0; i < n.n_fetches; i++)
            ck_assert_msg(memcmp(with[i].data, without[i].data, ebb_tensor_bytes(&with[i])) == 0,
                          "way %d, result %d", way, i);
        finish(&n, with);
        finish(&n, without);
        ebb_graph_destroy(n.graph);
    }
}
END_TEST

/* A loss, its gradient, and another one that reads the same values. */
static void build_losses(net *n, ebb_dtype dtype, ebb_shape shape)
{
    const ebb_node x = input(n, "x", dtype, shape), y = input(n, "y", dtype, shape);
    const ebb_node d = ebb_sub(ebb_tanh(x), y);
    const ebb_node loss = ebb_reduce_mean(ebb_square(d), EBB_ALL_AXES, false);
    ebb_node dx;
    ck_assert_int_eq(ebb_gradients(loss, &x, 1, &dx), EBB_OK);
    fetch(n, loss);
    fetch(n, dx);
    fetch(n, ebb_reduce_max(ebb_abs(d), EBB_ALL_AXES, true));
}

/* A masked cotangent, which is a result, and its sums; those of a row that is repeated. */
static void build_columns(net *n, ebb_dtype dtype, ebb_shape shape)
{
    const ebb_node x = input(n, "x", dtype, shape), y = input(n, "y", dtype, shape);
    const ebb_node row = ebb_reduce_max(x, EBB_AXES(0), true);
    const ebb_node d = ebb_select(ebb_greater(y, ebb_full_like(y, 0)), ebb_add(x, row), y);
    fetch(n, d);
    fetch(n, ebb_reduce_sum(d, EBB_AXES(0), false));
    fetch(n, ebb_reduce_min(d, EBB_AXES(0), true));
}

static void build_runs(net *n, ebb_dtype dtype, ebb_shape shape)
{
    const ebb_node x = input(n, "x", dtype, shape), y = input(n, "y", dtype, shape);
    const ebb_node d = ebb_mul(x, y);
    fetch(n, ebb_reduce_mean(d, EBB_AXES(1), false));
    fetch(n, ebb_norm_l2(ebb_add(d, x), EBB_AXES(1), false));
    fetch(n, ebb_reduce_prod(ebb_exp(ebb_mul(d, ebb_full_like(d, 1e-3))), EBB_AXES(0), false));
}

/* Sums for each channel, of a run in each image. */
static void build_planes(net *n, ebb_dtype dtype, ebb_shape shape)
{
    const ebb_shape image = EBB_SHAPE(3, 5, shape.dims[0], shape.dims[1]);
    const ebb_node x = input(n, "x", dtype, image), y = input(n, "y", dtype, image);
    const ebb_node d = ebb_sub(x, y);
    fetch(n, ebb_norm_l1(d, EBB_AXES(0, 2, 3), false));
    fetch(n, ebb_reduce_sum(ebb_square(d), EBB_AXES(2, 3), true));
}

/* Behind random numbers, which make tiles of another length. */
static void build_dropped(net *n, ebb_dtype dtype, ebb_shape shape)
{
    const ebb_node x = input(n, "x", dtype, shape), c = input(n, "c", EBB_I64, EBB_SCALAR);
    const ebb_node y = ebb_dropout(x, 0.3, c, 5, 1);
    fetch(n, y);
    fetch(n, ebb_reduce_sum(y, EBB_AXES(0), false));
    fetch(n, ebb_reduce_sum(y, EBB_AXES(1), false));
}

static const struct {
    builder make;
    int64_t rows, columns;
    int n_programs;
} reduction_cases[] = {
    { build_losses, 3, 7, 0 }, /* too small */
    { build_losses, 61, 67, 1 },      { build_losses, 1, 3000, 1 },
    { build_losses, 517, 731, 1 },    { build_losses, 2050, 2053, 1 }, /* past the caches */
    { build_columns, 300, 70, 0 },    { build_columns, 1100, 513, 1 },
    { build_columns, 9000, 67, 1 },   { build_columns, 123, 4500, 1 },
    { build_columns, 2050, 2053, 1 }, { build_runs, 400, 1310, 1 },
    { build_runs, 70000, 9, 1 },      { build_runs, 9001, 64, 1 },
    { build_runs, 1310, 401, 1 },     { build_planes, 24, 24, 1 },
    { build_planes, 200, 33, 1 },     { build_dropped, 1111, 523, 1 },
    { build_dropped, 531, 1000, 1 },
};

static void check_close(const ebb_tensor *a, const ebb_tensor *b, double tolerance, int way, int i)
{
    double scale = 1;
    for (int64_t k = 0; k < ebb_shape_elements(&a->type.shape); k++)
        scale = fmax(scale, fabs(ebb_tensor_get(b, k)));
    for (int64_t k = 0; k < ebb_shape_elements(&a->type.shape); k++) {
        const double x = ebb_tensor_get(a, k), y = ebb_tensor_get(b, k);
        if (!(fabs(x - y) <= tolerance * scale)) /* an assertion each is slow */
            ck_abort_msg("way %d, result %d, element %lld: %.9g, not %.9g", way, i, (long long)k, x,
                         y);
    }
}

/* The same bits with any number of threads; what is no sum is the same as without programs. */
START_TEST(reductions_are_close)
{
    for (int is_double = 0; is_double < 2; is_double++) {
        net n = build(reduction_cases[_i].make, is_double ? EBB_F64 : EBB_F32,
                      EBB_SHAPE(reduction_cases[_i].rows, reduction_cases[_i].columns));
        ebb_tensor with[2][MOST_FETCHES], without[MOST_FETCHES];
        ck_assert_int_eq(run_net(&n, "reductions", 1, without),
                         reduction_cases[_i].make == build_dropped);
        for (int way = 0; way < 2; way++) {
            const int n_programs = run_net(&n, NULL, way + 1, with[way]);
            ck_assert_int_eq(n_programs, reduction_cases[_i].n_programs);
            for (int i = 0; i < n.n_fetches; i++)
                check_close(&with[way][i], &without[i], is_double ? 1e-14 : 2e-6, way, i);
        }
        for (int i = 0; i < n.n_fetches; i++) {
            const size_t bytes = ebb_tensor_bytes(&without[i]);
            ck_assert_msg(memcmp(with[0][i].data, with[1][i].data, bytes) == 0,
                          "%s, result %d: other bits with two threads", is_double ? "f64" : "f32",
                          i);
            if (bytes == ebb_type_bytes(ebb_node_type(n.inputs[0])))
                ck_assert(memcmp(with[0][i].data, without[i].data, bytes) == 0);
        }
        finish(&n, with[0]);
        finish(&n, with[1]);
        finish(&n, without);
        ebb_graph_destroy(n.graph);
    }
}
END_TEST

/* ---- memory ---- */

START_TEST(failing_allocations)
{
    static const builder makers[] = { build_dropout, build_turned, build_runs };
    net n = build(makers[_i], EBB_F32, EBB_SHAPE(201, 103));
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    ebb_status status = EBB_OUT_OF_MEMORY;
    for (int64_t n_failures = 0; status == EBB_OUT_OF_MEMORY; n_failures++) {
        ebb_executable *e = NULL;
        ck_assert_int_lt(n_failures, 5000);
        meter.fail_after = n_failures;
        status = ebb_compile(n.graph,
                             &(ebb_compile_options){ .fetches = n.fetches,
                                                     .n_fetches = n.n_fetches,
                                                     .allocator = &meter.allocator },
                             &e);
        meter.fail_after = -1;
        ck_assert_msg(status == EBB_OK || status == EBB_OUT_OF_MEMORY, "%s: %s",
                      ebb_status_name(status), ebb_graph_message(n.graph));
        if (status)
            CHECK_TEXT(ebb_graph_message(n.graph), "memory");
        ebb_executable_destroy(e);
        ck_assert_int_eq(meter.n_live, 0);
    }
    ebb_graph_destroy(n.graph);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tiles");
    TCase *text = tcase_create("text");
    tcase_add_test(text, golden_cases);
    tcase_add_loop_test(text, bad_programs_are_refused, 0,
                        (int)(sizeof bad_programs / sizeof *bad_programs));
    suite_add_tcase(suite, text);
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 120);
    tcase_add_loop_test(values, random_numbers_are_the_same, 0,
                        (int)(sizeof random_cases / sizeof *random_cases));
    tcase_add_loop_test(values, reductions_are_close, 0,
                        (int)(sizeof reduction_cases / sizeof *reduction_cases));
    tcase_add_loop_test(values, failing_allocations, 0, 3);
    suite_add_tcase(suite, values);
    return run_suite(suite);
}
