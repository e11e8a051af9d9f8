/* F32 as it is used, against the reference kernels at F64: every sample of every op and its
 * gradients, compiled with the default backends, on one thread and two, on every instruction set
 * that this processor has. And no step may be a plain loop, of Ebb or of oneDNN.
 *
 * With ONEDNN_MAX_CPU_ISA in the environment, which limits oneDNN, Ebb's own kernels are limited to
 * the same instruction set. */
#include "backends/backends.h"
#include "backends/native/vector/vector.h"
#include "graph/interpret.h"
#include "ops/descriptors.h"
#include "tests/support/kernels.h"
#include "tests/support/runner.h"
#include "tests/support/samples.h"
#include <ebb/ebb.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = EBB_MAX_RESULTS + EBB_MAX_SAMPLE_INPUTS, MAX_VALUES = MAX_NODES };

#define MOST_ELEMENTS 4000000

static const double forward_tolerance = 1e-5, gradient_tolerance = 1e-4;

/* Ops on given inputs: a sample, or an enlarged one. */
typedef struct single_case {
    const ebb_op *op;
    const void *attrs;
    const char *label;
    int n_inputs;
    ebb_tensor values[EBB_MAX_SAMPLE_INPUTS]; /* floats as F64, of values that F32 has */
    bool has_gradient;
} single_case;

/* The op and its gradients as a graph: inputs are the op's and then the cotangents of its float
 * results. */
typedef struct single_graph {
    ebb_graph *graph;
    ebb_node inputs[MAX_NODES], outputs[MAX_NODES];
    int n_inputs, n_outputs, n_results; /* outputs: results, then gradients */
} single_graph;

typedef struct tally {
    int n_cases, n_runs, n_steps, n_gradients, n_threaded;
    double worst[2]; /* of results, of gradients, relative */
    char plain[500]; /* ", op (backend)" of steps that are plain loops */
} tally;

static void note_plain(tally *t, const ebb_step_info *info)
{
    char text[100];
    snprintf(text, sizeof text, ", %s (%s)", info->op, info->backend);
    if (!strstr(t->plain, text))
        strncat(t->plain, text, sizeof t->plain - strlen(t->plain) - 1);
}

static ebb_type type_with(ebb_type type, ebb_dtype floats)
{
    if (ebb_dtype_is_float(type.dtype))
        type.dtype = floats;
    return type;
}

/* False if the op does not take these floats: an attribute names a dtype. */
static bool build(single_graph *g, const single_case *c, ebb_dtype floats)
{
    ebb_node results[EBB_MAX_RESULTS], seeds[EBB_MAX_RESULTS], seeded[EBB_MAX_RESULTS];
    ebb_node xs[EBB_MAX_SAMPLE_INPUTS], gradients[EBB_MAX_SAMPLE_INPUTS];
    int n_seeds = 0, n_xs = 0;
    char name[16];
    *g = (single_graph){ .graph = ebb_graph_create(c->op->name) };
    for (int i = 0; i < c->n_inputs; i++) {
        const ebb_type type = type_with(c->values[i].type, floats);
        snprintf(name, sizeof name, "i%d", i);
        g->inputs[g->n_inputs++] = ebb_input(g->graph, name, type.dtype, type.shape);
        if (ebb_dtype_is_float(type.dtype))
            xs[n_xs++] = g->inputs[i];
    }
    ebb_emit(g->graph, c->op, g->inputs, c->n_inputs, c->attrs, results);
    if (ebb_graph_status(g->graph)) {
        ebb_graph_destroy(g->graph);
        return false;
    }
    g->n_results = c->op->n_results;
    for (int r = 0; r < g->n_results; r++) {
        g->outputs[g->n_outputs++] = results[r];
        const ebb_type *type = ebb_node_type(results[r]);
        if (!c->has_gradient || n_xs == 0 || !ebb_dtype_is_float(type->dtype))
            continue;
        snprintf(name, sizeof name, "s%d", r);
        seeded[n_seeds] = results[r];
        seeds[n_seeds] = ebb_input(g->graph, name, type->dtype, type->shape);
        g->inputs[g->n_inputs++] = seeds[n_seeds++];
    }
    if (n_seeds == 0)
        return true;
    ebb_status status = ebb_gradients_with(seeded, seeds, n_seeds, xs, n_xs, gradients);
    REQUIRE(!status, "%s: %s", c->label, ebb_graph_message(g->graph));
    for (int i = 0; i < n_xs; i++)
        g->outputs[g->n_outputs++] = gradients[i];
    return true;
}

/* Input `index` of the graph: the case's, or a cotangent of few bits. The caller finishes it. */
static ebb_tensor make_value(const single_graph *g, const single_case *c, int index)
{
    ebb_tensor value;
    const ebb_type *type = ebb_node_type(g->inputs[index]);
    REQUIRE(!ebb_tensor_init(&value, *type, NULL), "out of memory");
    const int64_t n = ebb_shape_elements(&type->shape);
    if (index < c->n_inputs && type->dtype == c->values[index].type.dtype)
        memcpy(value.data, c->values[index].data, ebb_tensor_bytes(&value));
    else
        for (int64_t i = 0; i < n; i++)
            ebb_tensor_set(&value, i,
                           index < c->n_inputs ? ebb_tensor_get(&c->values[index], i)
                                               : (double)(i * 37 % 101 - 50) / 32);
    return value;
}

/* The most elements that a value of the graph has. */
static int64_t largest_node(const single_graph *g)
{
    int64_t most = 0;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(g->graph); id++) {
        const ebb_node node = ebb_graph_node(g->graph, id);
        const int64_t n = ebb_shape_elements(&ebb_node_type(node)->shape);
        most = n > most ? n : most;
    }
    return most;
}

/* Values of the outputs at F64, by the reference kernels. */
static void expect(const single_graph *g, const single_case *c, ebb_tensor *expected)
{
    ebb_error error = { 0 };
    ebb_interpreter *interpreter = ebb_interpreter_create(g->graph, NULL);
    REQUIRE(interpreter, "out of memory");
    for (int i = 0; i < g->n_inputs; i++) {
        ebb_tensor value = make_value(g, c, i);
        REQUIRE(!ebb_interpreter_set(interpreter, g->inputs[i], &value, &error), "%s: %s", c->label,
                error.message);
        ebb_tensor_finish(&value);
    }
    REQUIRE(!ebb_interpreter_run(interpreter, g->outputs, g->n_outputs, &error), "%s: %s", c->label,
            error.message);
    for (int i = 0; i < g->n_outputs; i++) {
        const ebb_tensor *value = ebb_interpreter_get(interpreter, g->outputs[i]);
        REQUIRE(!ebb_tensor_init(&expected[i], value->type, NULL), "out of memory");
        memcpy(expected[i].data, value->data, ebb_tensor_bytes(value));
    }
    ebb_interpreter_destroy(interpreter);
}

/* The largest finite magnitude. */
static double scale_of(const ebb_tensor *tensors, int n_tensors)
{
    double scale = 0;
    for (int t = 0; t < n_tensors; t++)
        for (int64_t i = 0; i < ebb_shape_elements(&tensors[t].type.shape); i++) {
            const double y = fabs(ebb_tensor_get(&tensors[t], i));
            scale = isfinite(y) ? fmax(scale, y) : scale;
        }
    return scale;
}

/* What an error of a result is relative to. A result that is tiny beside the inputs is what is left
 * of a difference. */
static double result_scale(const single_case *c, const ebb_tensor *expected)
{
    const double inputs = scale_of(c->values, c->n_inputs), results = scale_of(expected, 1);
    return results < 1e-6 * inputs ? inputs : results;
}

/* The largest error, relative to `scale`; infinite if a special value or an integer differs. */
static double error_of(const ebb_tensor *got, const ebb_tensor *expected, double scale)
{
    const int64_t n = ebb_shape_elements(&expected->type.shape);
    double worst = 0;
    if (!ebb_dtype_is_float(expected->type.dtype))
        return memcmp(got->data, expected->data, ebb_tensor_bytes(got)) == 0 ? 0 : (double)INFINITY;
    for (int64_t i = 0; i < n; i++) {
        const double x = ebb_tensor_get(got, i), y = ebb_tensor_get(expected, i);
        if (isnan(y) || !isfinite((float)y) || !isfinite(x))
            worst = (isnan(y) ? isnan(x) : x == (double)(float)y) ? worst : (double)INFINITY;
        else if (x != y)
            worst = fmax(worst, fabs(x - y) / scale);
    }
    return worst;
}

static void check_steps(const ebb_executable *executable, tally *t)
{
    ebb_step_info info;
    for (int64_t s = 0; ebb_executable_step(executable, s, &info); s++) {
        if (strcmp(info.backend, "reference") == 0 || strstr(info.implementation, "ref"))
            note_plain(t, &info);
        t->n_steps++;
        t->n_threaded += info.n_threads > 1;
    }
}

static void run_and_compare(const single_graph *g, const single_case *c, const ebb_vector_isa *isa,
                            int n_threads, const ebb_tensor *expected, tally *t)
{
    ebb_backend own = ebb_backend_native;
    own.user = isa;
    const ebb_backend *const list[] = { &ebb_backend_onednn, &own, &ebb_backend_reference };
    ebb_executable *executable;
    ebb_status status = ebb_compile(g->graph,
                                    &(ebb_compile_options){ .fetches = g->outputs,
                                                            .n_fetches = g->n_outputs,
                                                            .backends = list,
                                                            .n_backends = 3,
                                                            .n_threads = n_threads,
                                                            .skip_passes = true },
                                    &executable);
    REQUIRE(!status, "%s: %s: %s", c->label, isa->name, ebb_graph_message(g->graph));
    check_steps(executable, t);
    ebb_feed feeds[MAX_VALUES];
    ebb_fetch fetches[MAX_VALUES];
    for (int i = 0; i < g->n_inputs; i++)
        feeds[i] = (ebb_feed){ g->inputs[i], make_value(g, c, i) };
    for (int i = 0; i < g->n_outputs; i++) {
        fetches[i].node = g->outputs[i];
        REQUIRE(!ebb_tensor_init(&fetches[i].value, *ebb_node_type(g->outputs[i]), NULL), "memory");
    }
    status = ebb_run(executable, feeds, g->n_inputs, fetches, g->n_outputs);
    REQUIRE(!status, "%s: %s: %s", c->label, isa->name, ebb_executable_message(executable));
    /* A gradient may be 0 but for rounding: what counts is the largest one of the op. */
    const double scale = scale_of(expected + g->n_results, g->n_outputs - g->n_results);
    for (int i = 0; i < g->n_outputs; i++) {
        const bool is_gradient = i >= g->n_results;
        const double error = error_of(&fetches[i].value, &expected[i],
                                      is_gradient ? scale : result_scale(c, &expected[i]));
        REQUIRE(error <= (is_gradient ? gradient_tolerance : forward_tolerance),
                "%s: %s, %d threads: %s %d is off by %g", c->label, isa->name, n_threads,
                is_gradient ? "gradient" : "result", is_gradient ? i - g->n_results : i, error);
        t->worst[is_gradient] = fmax(t->worst[is_gradient], error);
        t->n_gradients += is_gradient;
    }
    t->n_runs++;
    for (int i = 0; i < g->n_inputs; i++)
        ebb_tensor_finish(&feeds[i].value);
    for (int i = 0; i < g->n_outputs; i++)
        ebb_tensor_finish(&fetches[i].value);
    ebb_executable_destroy(executable);
}

/* Ebb's own kernels may use no more than oneDNN may. */
static int count_isas(void)
{
    const char *limit = getenv("ONEDNN_MAX_CPU_ISA");
    int n = 0;
    while (ebb_vector_isa_at(n))
        n++;
    if (limit && strcmp(limit, "SSE41") == 0)
        return 1;
    if (limit && strcmp(limit, "AVX2") == 0)
        return n < 2 ? n : 2;
    return n;
}

static bool check_case(const single_case *c, tally *t)
{
    single_graph wide, narrow;
    ebb_tensor expected[MAX_NODES];
    if (!build(&narrow, c, EBB_F32))
        return false;
    if (largest_node(&narrow) > MOST_ELEMENTS) {
        ebb_graph_destroy(narrow.graph);
        return false;
    }
    REQUIRE(build(&wide, c, EBB_F64), "%s: at F32, but not at F64", c->label);
    expect(&wide, c, expected);
    const int n_isas = count_isas();
    const bool is_limited = getenv("ONEDNN_MAX_CPU_ISA") != NULL;
    for (int isa = is_limited ? n_isas - 1 : 0; isa < n_isas; isa++)
        for (int n_threads = isa == n_isas - 1 ? 1 : 2; n_threads <= 2; n_threads++)
            run_and_compare(&narrow, c, ebb_vector_isa_at(isa), n_threads, expected, t);
    t->n_cases++;
    for (int i = 0; i < wide.n_outputs; i++)
        ebb_tensor_finish(&expected[i]);
    ebb_graph_destroy(wide.graph);
    ebb_graph_destroy(narrow.graph);
    return true;
}

static void finish_case(single_case *c)
{
    for (int i = 0; i < c->n_inputs; i++)
        ebb_tensor_finish(&c->values[i]);
}

/* ---- samples ---- */

/* F32 has all values. */
static void round_values(const ebb_tensor *tensor)
{
    if (tensor->type.dtype == EBB_F64)
        for (int64_t i = 0; i < ebb_shape_elements(&tensor->type.shape); i++)
            ebb_tensor_set(tensor, i, (double)(float)ebb_tensor_get(tensor, i));
}

static void check_sample(const ebb_op *op, int index, tally *t)
{
    sample_case s;
    sample_case_init(&s, op, index, EBB_F64);
    single_case c = { .op = op,
                      .attrs = s.sample->attrs,
                      .label = s.label,
                      .n_inputs = s.n_inputs,
                      .has_gradient = (op->vjp || op->decompose) && !s.sample->no_gradient };
    for (int i = 0; i < s.n_inputs; i++) {
        c.values[i] = s.inputs[i];
        round_values(&c.values[i]);
    }
    check_case(&c, t);
    sample_case_finish(&s);
}

START_TEST(test_samples)
{
    int n_ops;
    const ebb_op *const *ops = ebb_op_list(&n_ops);
    tally t = { 0 };
    for (int i = 0; i < n_ops; i++)
        for (int s = 0; s < ops[i]->n_samples; s++)
            if (!ops[i]->samples[s].error)
                check_sample(ops[i], s, &t);
    printf("F32 against F64: %d samples of %d ops, %d runs with %d steps; worst relative error "
           "%.2g of results, %.2g of %d gradients\n",
           t.n_cases, n_ops, t.n_runs, t.n_steps, t.worst[0], t.worst[1], t.n_gradients);
    ck_assert_msg(!t.plain[0], "plain loops: %s", t.plain + 2);
    ck_assert_int_gt(t.n_cases, 10 * n_ops / 2);
}
END_TEST

/* ---- enlarged samples: enough work for two threads ---- */

enum { ENOUGH = 70000, TOO_MANY = 600000 };

static int64_t largest_input(const ebb_type *types, int n)
{
    int64_t most = 0;
    for (int i = 0; i < n; i++) {
        const int64_t elements = ebb_shape_elements(&types[i].shape);
        most = elements > most ? elements : most;
    }
    return most;
}

/* Every dimension that is not 0 or 1, times `factor`: dimensions that were equal still are. */
static void enlarge(const ebb_sample *sample, int n_inputs, int64_t factor, ebb_type *types)
{
    for (int i = 0; i < n_inputs; i++) {
        types[i] = sample->inputs[i];
        for (int d = 0; d < types[i].shape.rank; d++)
            types[i].shape.dims[d] *= types[i].shape.dims[d] > 1 ? factor : 1;
    }
}

/* False if the op does not take the sample at another size. */
static bool enlarge_sample(single_case *c, const ebb_op *op, const ebb_sample *sample)
{
    ebb_type types[EBB_MAX_SAMPLE_INPUTS];
    int64_t factor = 1;
    const int n_inputs = sample->n_inputs ? sample->n_inputs : op->n_inputs;
    uint32_t seed = 12345;
    *c = (single_case){ .op = op, .attrs = sample->attrs, .label = op->name };
    do
        enlarge(sample, n_inputs, ++factor, types);
    while (largest_input(types, n_inputs) < ENOUGH && factor < ENOUGH);
    const int64_t most = largest_input(types, n_inputs);
    if (most < ENOUGH || most > TOO_MANY)
        return false;
    for (c->n_inputs = 0; c->n_inputs < n_inputs; c->n_inputs++) {
        ebb_tensor *value = &c->values[c->n_inputs];
        REQUIRE(!ebb_tensor_init(value, types[c->n_inputs], NULL), "out of memory");
        for (int64_t i = 0; i < ebb_shape_elements(&value->type.shape); i++) {
            double x;
            do /* xorshift32, Marsaglia 2003 */
                seed ^= seed << 13, seed ^= seed >> 17, seed ^= seed << 5;
            while (!sample_value(sample, c->n_inputs, ebb_dtype_is_float(value->type.dtype),
                                 (seed >> 8) * 0x1p-24, &x));
            ebb_tensor_set(value, i, x);
        }
        round_values(value);
    }
    c->has_gradient = (op->vjp || op->decompose) && !sample->no_gradient;
    return true;
}

START_TEST(test_enlarged)
{
    int n_ops, n_done = 0, n_threaded = 0;
    const ebb_op *const *ops = ebb_op_list(&n_ops);
    tally t = { 0 };
    for (int i = 0; i < n_ops; i++) {
        bool is_done = false;
        const int before = t.n_threaded;
        for (int s = 0; s < ops[i]->n_samples && !is_done; s++) {
            single_case c;
            if (ops[i]->samples[s].error || ops[i]->samples[s].values[0] ||
                !enlarge_sample(&c, ops[i], &ops[i]->samples[s]))
                continue;
            is_done = check_case(&c, &t);
            if (!is_done && c.has_gradient) { /* which may need much more memory than the op */
                c.has_gradient = false;
                is_done = check_case(&c, &t);
            }
            finish_case(&c);
        }
        n_done += is_done;
        n_threaded += t.n_threaded > before;
    }
    printf("F32 against F64, enlarged: %d of %d ops, %d of them shared out between threads; worst "
           "relative error %.2g of results, %.2g of %d gradients\n",
           n_done, n_ops, n_threaded, t.worst[0], t.worst[1], t.n_gradients);
    ck_assert_msg(!t.plain[0], "plain loops: %s", t.plain + 2);
    ck_assert_int_gt(n_done, n_ops / 2);
    ck_assert_int_gt(n_threaded, n_done * 3 / 4);
}
END_TEST

/* ---- large enough to be written past the caches, against the reference at F32 ---- */

static ebb_node large_result(int which, ebb_node x, ebb_node row)
{
    const ebb_node wide = ebb_broadcast_to(row, ebb_node_type(x)->shape);
    switch (which) {
    case 0:
        return ebb_tanh(x);
    case 1:
        return ebb_add(x, wide);
    case 2:
        return ebb_select(ebb_greater(x, wide), x, ebb_neg(x));
    case 3: /* a copy in blocks, then a map */
        return ebb_exp(ebb_transpose(x, EBB_AXES(1, 0)));
    case 4: /* a copy of rows */
        return ebb_exp(ebb_transpose(ebb_reshape(x, EBB_SHAPE(43, 49, 2065)), EBB_AXES(1, 0, 2)));
    case 5:
        return ebb_softmax(x, 1);
    case 6:
        return ebb_softmax(ebb_reshape(x, EBB_SHAPE(2107 * 59, 35)), 1);
    case 7:
        return ebb_log_softmax(x, 1);
    case 8:
        return ebb_softmax(x, 0);
    case 9:
        return ebb_layer_norm(x, row, row, EBB_AXES(1), 1e-5);
    default:
        return ebb_rms_norm(x, row, EBB_AXES(1), 1e-5);
    }
}
enum { N_LARGE = 11 };

START_TEST(test_large)
{
    enum { ROWS = 2107, COLUMNS = 2065 }; /* 17 MB, in no whole number of cache lines */
    ebb_graph *g = ebb_graph_create("large");
    const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(ROWS, COLUMNS));
    const ebb_node row = ebb_input(g, "row", EBB_F32, EBB_SHAPE(COLUMNS));
    const ebb_node y = large_result(_i, x, row);
    REQUIRE(!ebb_graph_status(g), "%s", ebb_graph_message(g));
    ebb_tensor values[2], results[2];
    ck_assert_int_eq(ebb_tensor_init(&values[0], *ebb_node_type(x), NULL), EBB_OK);
    ck_assert_int_eq(ebb_tensor_init(&values[1], *ebb_node_type(row), NULL), EBB_OK);
    for (int i = 0; i < ROWS * COLUMNS; i++)
        ((float *)values[0].data)[i] = (float)(i % 8191 - 4095) / 2048;
    for (int i = 0; i < COLUMNS; i++)
        ((float *)values[1].data)[i] = (float)(i % 31 - 15) / 16;
    for (int way = 0; way < 2; way++) {
        ebb_executable *executable;
        const ebb_compile_options options = {
            .fetches = &y, .n_fetches = 1, .backend = way ? "onednn" : "reference", .n_threads = 2
        };
        ck_assert_int_eq(ebb_tensor_init(&results[way], *ebb_node_type(y), NULL), EBB_OK);
        ck_assert_int_eq(ebb_compile(g, &options, &executable), EBB_OK);
        ck_assert_int_eq(ebb_run(executable, (ebb_feed[]){ { x, values[0] }, { row, values[1] } },
                                 2, &(ebb_fetch){ y, results[way] }, 1),
                         EBB_OK);
        ebb_executable_destroy(executable);
    }
    const double error = error_of(&results[1], &results[0], scale_of(&results[0], 1));
    REQUIRE(error <= forward_tolerance, "case %d is off by %g", _i, error);
    for (int i = 0; i < 2; i++) {
        ebb_tensor_finish(&values[i]);
        ebb_tensor_finish(&results[i]);
    }
    ebb_graph_destroy(g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("single");
    TCase *registry = tcase_create("registry");
    tcase_set_timeout(registry, 280);
    tcase_add_test(registry, test_samples);
    tcase_add_test(registry, test_enlarged);
    tcase_add_loop_test(registry, test_large, 0, N_LARGE);
    suite_add_tcase(suite, registry);
    return run_suite(suite);
}
