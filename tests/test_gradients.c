/* Every sample of every op that has a gradient, against central differences in F64, orders 1 and 2;
 * and gradients that differences cannot see: ties, stopped gradients, poles, inputs that need none.
 */
#include "graph/interpret.h"
#include "ops/descriptors.h"
#include "tests/support/runner.h"
#include "tests/support/samples.h"
#include <ebb/autodiff.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define TOLERANCE 1e-7

/* How much there must be at least: ops in the registry, first-order cases that are not 0, ops with
 * a second derivative that is not 0 everywhere. */
enum { MIN_OPS = 120, MIN_CASES = 1000, MIN_SECOND_OPS = 60, MIN_SAMPLES = 8 };

typedef struct tally {
    int n_ops, n_second_ops; /* checked; with a second derivative that is not 0 everywhere */
    int n_samples;
    int n_cases[2], n_zero[2]; /* directional derivatives by order; those that are 0 */
    double worst[2];
    char where[2][100];
    char poor[500]; /* ops with too few samples */
} tally;

static void count_report(tally *total, const ebb_check_report *report, const char *label)
{
    for (int order = 0; order < 2; order++) {
        total->n_cases[order] += report->n_checks_of[order];
        total->n_zero[order] += report->n_zero_of[order];
        if (report->n_checks_of[order] && report->worst_error_of[order] >= total->worst[order]) {
            total->worst[order] = report->worst_error_of[order];
            snprintf(total->where[order], sizeof total->where[order], "%s", label);
        }
    }
}

static void check_by(ebb_node y, const ebb_node *xs, int n_xs, ebb_check_options options,
                     const char *label, tally *total)
{
    ebb_check_report report;
    ebb_status status = ebb_check_gradients(y, xs, n_xs, &options, &report);
    ck_assert_msg(status == EBB_OK, "%s: %s: %s", label, ebb_status_name(status),
                  ebb_graph_message(y.graph));
    count_report(total, &report, label);
}

/* Checks y by the float inputs among n_sources: by all at orders 1 and 2, and by each alone, since
 * rules look at what is needed. False if there is none. */
static bool check_node(ebb_node y, const ebb_node *sources, const ebb_tensor *values, int n_sources,
                       int seed, const char *label, tally *total)
{
    ebb_node xs[EBB_MAX_SAMPLE_INPUTS];
    ebb_check_value given[EBB_MAX_SAMPLE_INPUTS];
    int n_xs = 0;
    for (int i = 0; i < n_sources; i++) {
        given[i] = (ebb_check_value){ sources[i], values[i] };
        if (ebb_dtype_is_float(values[i].type.dtype))
            xs[n_xs++] = sources[i];
    }
    if (n_xs == 0 || !ebb_dtype_is_float(ebb_node_type(y)->dtype))
        return false;
    ebb_check_options options = { .order = 2,
                                  .tolerance = TOLERANCE,
                                  .values = given,
                                  .n_values = n_sources,
                                  .seed = (uint64_t)seed };
    check_by(y, xs, n_xs, options, label, total);
    options.order = 1;
    for (int x = 0; x < n_xs && n_xs > 1; x++)
        check_by(y, &xs[x], 1, options, label, total);
    return true;
}

/* All results that are float, by all float inputs. */
static bool check_sample(const ebb_op *op, int index, tally *total)
{
    sample_case c;
    sample_case_init(&c, op, index, EBB_F64);
    bool checked = false;
    for (int r = 0; r < op->n_results; r++)
        checked |= check_node(c.results[r], c.nodes, c.inputs, c.n_inputs, index, c.label, total);
    sample_case_finish(&c);
    return checked;
}

/* The same op on values that are no sources: inputs arrive transposed. */
static bool check_through_views(const ebb_op *op, int index, tally *total)
{
    sample_case c;
    sample_case_init(&c, op, index, EBB_F64);
    ebb_node sources[EBB_MAX_SAMPLE_INPUTS], views[EBB_MAX_SAMPLE_INPUTS];
    ebb_tensor values[EBB_MAX_SAMPLE_INPUTS];
    bool moves = false, checked = false;
    for (int i = 0; i < c.n_inputs; i++) {
        ebb_shape shape = c.inputs[i].type.shape;
        int64_t rows = shape.rank > 1 ? shape.dims[0] : 1;
        int64_t n = ebb_shape_elements(&shape), columns = rows ? n / rows : 0;
        char name[16];
        snprintf(name, sizeof name, "v%d", i);
        moves = moves || (rows > 1 && columns > 1);
        ebb_type type = { c.inputs[i].type.dtype, EBB_SHAPE(columns, rows) };
        sources[i] = ebb_input(c.graph, name, type.dtype, type.shape);
        views[i] = ebb_reshape(ebb_transpose(sources[i], EBB_AXES(1, 0)), shape);
        ck_assert_int_eq(ebb_tensor_init(&values[i], type, NULL), EBB_OK);
        for (int64_t e = 0; e < n; e++)
            ebb_tensor_set(&values[i], e / columns + e % columns * rows,
                           ebb_tensor_get(&c.inputs[i], e));
    }
    ebb_node results[EBB_MAX_RESULTS];
    ebb_emit(c.graph, op, views, c.n_inputs, c.sample->attrs, results);
    for (int r = 0; r < op->n_results && moves; r++)
        checked |= check_node(results[r], sources, values, c.n_inputs, index, c.label, total);
    for (int i = 0; i < c.n_inputs; i++)
        ebb_tensor_finish(&values[i]);
    sample_case_finish(&c);
    return checked;
}

/* An element-wise op of several inputs whose inputs are all broadcast, each along other axes: input
 * i of [2,3,4,5] has size 1 wherever the axis is i modulo their number. */
static void check_broadcast(const ebb_op *op, int index, tally *total)
{
    const ebb_sample *sample = &op->samples[index];
    ebb_shape full = EBB_SHAPE(2, 3, 4, 5);
    ebb_graph *g = ebb_graph_create("broadcast");
    ebb_node sources[EBB_MAX_SAMPLE_INPUTS], inputs[EBB_MAX_SAMPLE_INPUTS];
    ebb_tensor values[EBB_MAX_SAMPLE_INPUTS];
    char label[80];
    snprintf(label, sizeof label, "%s, all inputs broadcast", op->name);
    for (int i = 0; i < op->n_inputs; i++) {
        ebb_type type = { sample->inputs[i].dtype, full };
        char name[16];
        snprintf(name, sizeof name, "i%d", i);
        for (int d = 0; d < full.rank; d++)
            if (d % op->n_inputs == i)
                type.shape.dims[d] = 1;
        sources[i] = ebb_input(g, name, type.dtype, type.shape);
        inputs[i] = ebb_broadcast_to(sources[i], full);
        ck_assert_int_eq(ebb_tensor_init(&values[i], type, NULL), EBB_OK);
        double turn = 0.37 * (i + 1), value = 0;
        for (int64_t e = 0; e < ebb_shape_elements(&type.shape); e++) {
            do
                turn = fmod(turn + 0.6180339887498949, 1); /* golden ratio: spread evenly */
            while (!sample_value(sample, i, ebb_dtype_is_float(type.dtype), turn, &value));
            ebb_tensor_set(&values[i], e, value);
        }
    }
    ebb_node y = ebb_emit(g, op, inputs, op->n_inputs, sample->attrs, NULL);
    check_node(y, sources, values, op->n_inputs, index, label, total);
    for (int i = 0; i < op->n_inputs; i++)
        ebb_tensor_finish(&values[i]);
    ebb_graph_destroy(g);
}

static bool has_no_gradient(const ebb_op *op)
{
    return op == &ebb_op_stop_gradient; /* differences see what it hides */
}

static bool is_checked(const ebb_op *op, int index)
{
    return (op->vjp || op->decompose) && !op->samples[index].error &&
           !op->samples[index].no_gradient;
}

static void check_op(const ebb_op *op, tally *total)
{
    int n_samples = 0, first = -1;
    int second_before = total->n_cases[1] - total->n_zero[1];
    for (int s = 0; s < op->n_samples; s++) {
        if (!is_checked(op, s) || !check_sample(op, s, total))
            continue;
        n_samples++;
        first = first < 0 ? s : first;
        check_through_views(op, s, total);
    }
    if (first >= 0 && (op->traits & EBB_TRAIT_ELEMENTWISE) && op->n_inputs > 1)
        check_broadcast(op, first, total);
    size_t used = strlen(total->poor);
    if (n_samples < MIN_SAMPLES && (op->vjp || n_samples > 0) && !has_no_gradient(op))
        snprintf(total->poor + used, sizeof total->poor - used, " %s (%d)", op->name, n_samples);
    total->n_samples += n_samples;
    total->n_ops += n_samples > 0;
    total->n_second_ops += total->n_cases[1] - total->n_zero[1] > second_before;
}

START_TEST(registry_against_differences)
{
    int n;
    const ebb_op *const *ops = ebb_op_list(&n);
    tally total = { 0 };
    for (int i = 0; i < n; i++)
        check_op(ops[i], &total);
    printf("gradients: %d ops in the registry, %d checked in %d samples, as they are and through "
           "views\n",
           n, total.n_ops, total.n_samples);
    for (int order = 0; order < 2; order++)
        printf("  order %d: %d ops, %d cases (%d of them 0), worst relative error %.2g (%s)\n",
               order + 1, order ? total.n_second_ops : total.n_ops, total.n_cases[order],
               total.n_zero[order], total.worst[order], total.where[order]);
    ck_assert_msg(!*total.poor, "less than %d samples with a gradient:%s", MIN_SAMPLES, total.poor);
    ck_assert_int_ge(n, MIN_OPS);
    ck_assert_int_ge(total.n_cases[0] - total.n_zero[0], MIN_CASES);
    ck_assert_int_ge(total.n_second_ops, MIN_SECOND_OPS);
}
END_TEST

/* A library op's own vjp against the one of its decomposition: two independent derivations. */
static void compare_with_decomposition(const ebb_op *op, int index)
{
    sample_case c;
    sample_case_init(&c, op, index, EBB_F64);
    ebb_node parts[EBB_MAX_RESULTS] = { { 0 } };
    ebb_decompose d = { c.graph, op, c.attrs, c.n_inputs, op->n_results, c.nodes, parts };
    op->decompose(&d);
    ebb_node xs[EBB_MAX_SAMPLE_INPUTS], whole[EBB_MAX_SAMPLE_INPUTS], split[EBB_MAX_SAMPLE_INPUTS];
    int n_xs = 0;
    for (int i = 0; i < c.n_inputs; i++)
        if (ebb_dtype_is_float(c.inputs[i].type.dtype))
            xs[n_xs++] = c.nodes[i];
    ebb_type type = *ebb_node_type(c.results[0]);
    double weights[256];
    for (int i = 0; i < 256; i++)
        weights[i] = cos(i + 1.0);
    ck_assert_int_le(ebb_shape_elements(&type.shape), 256);
    ebb_node seed = ebb_constant(c.graph, type.dtype, type.shape, weights);
    ck_assert_int_eq(ebb_gradients_with(&c.results[0], &seed, 1, xs, n_xs, whole), EBB_OK);
    ck_assert_int_eq(ebb_gradients_with(&parts[0], &seed, 1, xs, n_xs, split), EBB_OK);
    ebb_interpreter *in = ebb_interpreter_create(c.graph, NULL);
    ebb_error error;
    for (int i = 0; i < c.n_inputs; i++)
        ck_assert_int_eq(ebb_interpreter_set(in, c.nodes[i], &c.inputs[i], &error), EBB_OK);
    ck_assert_int_eq(ebb_interpreter_run(in, whole, n_xs, &error), EBB_OK);
    ck_assert_int_eq(ebb_interpreter_run(in, split, n_xs, &error), EBB_OK);
    for (int x = 0; x < n_xs; x++) {
        const ebb_tensor *a = ebb_interpreter_get(in, whole[x]);
        const ebb_tensor *b = ebb_interpreter_get(in, split[x]);
        for (int64_t i = 0; i < ebb_shape_elements(&a->type.shape); i++)
            ck_assert_msg(nearly_equal(ebb_tensor_get(a, i), ebb_tensor_get(b, i), 1e-11, 1e-13),
                          "%s: %.17g, %.17g", c.label, ebb_tensor_get(a, i), ebb_tensor_get(b, i));
    }
    ebb_interpreter_destroy(in);
    sample_case_finish(&c);
}

START_TEST(library_ops_against_decompositions)
{
    int n;
    const ebb_op *const *ops = ebb_op_list(&n);
    for (int i = 0; i < n; i++)
        for (int s = 0; s < ops[i]->n_samples; s++)
            if (ops[i]->vjp && ops[i]->decompose && !ops[i]->samples[s].error &&
                !ops[i]->samples[s].no_gradient)
                compare_with_decomposition(ops[i], s);
}
END_TEST

/* ---- gradients by definition ---- */

enum { MAX_ELEMENTS = 8 };

/* Asserts the gradient of y, with cotangents 1, by x (an input of n elements) at `at`. */
static void assert_gradient(ebb_node y, ebb_node x, const double *at, const double *expected)
{
    ebb_node one = ebb_full_like(y, 1), g;
    ck_assert_msg(ebb_gradients_with(&y, &one, 1, &x, 1, &g) == EBB_OK, "%s",
                  ebb_graph_message(y.graph));
    ebb_interpreter *in = ebb_interpreter_create(y.graph, NULL);
    ebb_error error;
    ebb_tensor value = ebb_tensor_borrow(EBB_F64, ebb_node_type(x)->shape, at);
    ck_assert_int_eq(ebb_interpreter_set(in, x, &value, &error), EBB_OK);
    ck_assert_msg(ebb_interpreter_run(in, &g, 1, &error) == EBB_OK, "%s", error.message);
    const ebb_tensor *have = ebb_interpreter_get(in, g);
    for (int64_t i = 0; i < ebb_shape_elements(&have->type.shape); i++)
        ck_assert_msg(nearly_equal(ebb_tensor_get(have, i), expected[i], 1e-14, 0),
                      "element %lld: %.17g, not %.17g", (long long)i, ebb_tensor_get(have, i),
                      expected[i]);
    ebb_interpreter_destroy(in);
}

#define LIST(...)                                                                                  \
    (const double[])                                                                               \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

START_TEST(kinks_have_the_gradient_they_state)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(3));
    ebb_node zero = ebb_full_like(x, 0);
    const double *at = LIST(-1, 0, 2);
    assert_gradient(ebb_relu(x), x, at, LIST(0, 0, 1));
    assert_gradient(ebb_abs(x), x, at, LIST(-1, 0, 1));
    assert_gradient(ebb_sign(x), x, at, LIST(0, 0, 0));
    assert_gradient(ebb_maximum(x, zero), x, at, LIST(0, 1, 1));
    assert_gradient(ebb_maximum(zero, x), x, at, LIST(0, 0, 1));
    assert_gradient(ebb_minimum(x, zero), x, at, LIST(1, 1, 0));
    assert_gradient(ebb_minimum(zero, x), x, at, LIST(1, 0, 0));
    assert_gradient(ebb_leaky_relu(x, 0.25), x, at, LIST(0.25, 0.25, 1));
    assert_gradient(ebb_elu(x, 0.5), x, at, LIST(0.5 * exp(-1), 0.5, 1));
    assert_gradient(ebb_softsign(x), x, at, LIST(0.25, 1, 1. / 9));
    assert_gradient(ebb_clip(x, -1, 0), x, at, LIST(1, 1, 0));
    assert_gradient(ebb_clip(x, 0, INFINITY), x, at, LIST(0, 1, 1));
    assert_gradient(ebb_hypot(x, zero), x, at, LIST(-1, 0, 1));
    assert_gradient(ebb_hypot(zero, x), x, at, LIST(-1, 0, 1));
    at = LIST(-3, 3, 4);
    assert_gradient(ebb_hard_sigmoid(x), x, at, LIST(0, 0, 0));
    assert_gradient(ebb_hard_swish(x), x, at, LIST(0, 1, 1));
    ebb_graph_destroy(g);
}
END_TEST

/* b a^(b-1) is 0 at b = 0, but not constant there: with b = x, a = x + 3, and a = x - 3, where
 * log(a) counts as 0. The cotangent is 2. */
START_TEST(pow_has_its_second_order_at_0)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(3)), by_a;
    for (int sign = -1; sign <= 1; sign += 2) {
        const ebb_node a = ebb_add(x, ebb_full_like(x, 3 * sign));
        const ebb_node power = ebb_pow(a, x);
        const ebb_node sum = ebb_reduce_sum(ebb_add(power, power), EBB_ALL_AXES, false);
        ck_assert_int_eq(ebb_gradients(sum, &a, 1, &by_a), EBB_OK);
        if (sign > 0)
            assert_gradient(by_a, x, LIST(0, 1, 2),
                            LIST(2. / 3, 2 + 2 * log(4), 10 * (1 + 2 * (log(5) + 0.2))));
        else
            assert_gradient(by_a, x, LIST(0, 0, 0), LIST(-2. / 3, -2. / 3, -2. / 3));
    }
    ebb_graph_destroy(g);
}
END_TEST

/* Far out the gradients are the limits, not NaN. */
START_TEST(large_arguments_have_gradients)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(3));
    const double *at = LIST(-1e5, 1e5, 0), *steps = LIST(0, 1, 0.5);
    assert_gradient(ebb_softplus(x), x, at, steps);
    assert_gradient(ebb_log_sigmoid(x), x, at, LIST(1, 0, 0.5));
    assert_gradient(ebb_silu(x), x, at, steps);
    assert_gradient(ebb_gelu(x), x, at, steps);
    assert_gradient(ebb_gelu_tanh(x), x, at, steps);
    assert_gradient(ebb_mish(x), x, at, LIST(0, 1, 0.6));
    assert_gradient(ebb_selu(x), x, at, LIST(0, 1.0507009873554805, 1.7580993408473769));
    assert_gradient(ebb_elu(x, 1), x, at, LIST(0, 1, 1));
    assert_gradient(ebb_expm1(x), x, LIST(-1e5, -40, 0), LIST(0, exp(-40), 1));
    assert_gradient(ebb_log_add_exp(x, ebb_full_like(x, 0)), x, at, steps);
    assert_gradient(ebb_asinh(x), x, LIST(-1e200, 1e200, 0), LIST(1e-200, 1e-200, 1));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(norms_and_log_sums_at_the_edge)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(3));
    assert_gradient(ebb_norm_l2(x, EBB_ALL_AXES, false), x, LIST(0, 0, 0), LIST(0, 0, 0));
    assert_gradient(ebb_norm_l2(x, EBB_ALL_AXES, false), x, LIST(0, 3, -4), LIST(0, 0.6, -0.8));
    assert_gradient(ebb_norm_l1(x, EBB_ALL_AXES, false), x, LIST(0, 3, -4), LIST(0, 1, -1));
    ebb_node y = ebb_logsumexp(x, EBB_ALL_AXES, false);
    assert_gradient(y, x, LIST(-INFINITY, -INFINITY, -INFINITY), LIST(0, 0, 0));
    assert_gradient(y, x, LIST(-INFINITY, 5, -INFINITY), LIST(0, 1, 0));
    assert_gradient(y, x, LIST(64, 64, -1e5), LIST(0.5, 0.5, 0));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(divergence_has_no_slope_where_the_target_is_0)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node t = ebb_input(g, "t", EBB_F64, EBB_SHAPE(2));
    ebb_node x = ebb_constant(g, EBB_F64, EBB_SHAPE(2), LIST(-3, -4));
    ebb_node y = ebb_kl_divergence(x, t, EBB_REDUCTION_SUM);
    assert_gradient(y, t, LIST(0, 0.5), LIST(0, log(0.5) + 1 + 4));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(queries_that_see_nothing_have_no_gradient)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node v = ebb_input(g, "v", EBB_F64, EBB_SHAPE(2, 2));
    ebb_node k = ebb_constant(g, EBB_F64, EBB_SHAPE(2, 2), LIST(1, 2, 3, 4));
    ebb_node mask =
        ebb_constant(g, EBB_F64, EBB_SHAPE(2, 2), LIST(-INFINITY, -INFINITY, 0, -INFINITY));
    ebb_node y = ebb_scaled_dot_product_attention(k, k, v, mask, (ebb_attention_attrs){ 0 });
    const double *at = LIST(5, 6, 7, 8);
    assert_gradient(y, v, at, LIST(1, 1, 0, 0));
    ebb_node q = ebb_input(g, "q", EBB_F64, EBB_SHAPE(2, 2));
    y = ebb_scaled_dot_product_attention(q, k, k, mask, (ebb_attention_attrs){ 0 });
    assert_gradient(y, q, at, LIST(0, 0, 0, 0));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(equal_maxima_share)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(2, 3));
    const double *at = LIST(5, 1, 5, 2, 2, 2);
    assert_gradient(ebb_reduce_max(x, EBB_AXES(1), false), x, at,
                    LIST(0.5, 0, 0.5, 1. / 3, 1. / 3, 1. / 3));
    assert_gradient(ebb_reduce_max(x, EBB_ALL_AXES, true), x, at, LIST(0.5, 0, 0.5, 0, 0, 0));
    assert_gradient(ebb_reduce_min(x, EBB_AXES(1), false), x, at,
                    LIST(0, 1, 0, 1. / 3, 1. / 3, 1. / 3));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(gradients_stop)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(2));
    const double *at = LIST(3, -2);
    assert_gradient(ebb_mul(x, ebb_stop_gradient(x)), x, at, at);
    assert_gradient(ebb_stop_gradient(x), x, at, LIST(0, 0));
    /* through integers and booleans nothing flows */
    assert_gradient(ebb_cast(ebb_cast(x, EBB_I64), EBB_F64), x, at, LIST(0, 0));
    assert_gradient(ebb_mul(x, ebb_cast(ebb_greater(x, ebb_full_like(x, 0)), EBB_F64)), x, at,
                    LIST(1, 0));
    assert_gradient(ebb_cast(ebb_argmax(x, 0), EBB_F64), x, at, LIST(0, 0));
    /* through F32 it does */
    assert_gradient(ebb_cast(ebb_cast(x, EBB_F32), EBB_F64), x, at, LIST(1, 1));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(poles_stay_out)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(4));
    const double *at = LIST(0, -2, 2, 0);
    /* x^0 is 1 everywhere: gradient 0, not 0 * inf */
    assert_gradient(ebb_pow(x, ebb_full_like(x, 0)), x, at, LIST(0, 0, 0, 0));
    assert_gradient(ebb_pow(x, ebb_full_like(x, 1)), x, at, LIST(1, 1, 1, 1));
    assert_gradient(ebb_pow(x, ebb_full_like(x, 2)), x, at, LIST(0, -4, 4, 0));
    /* gradient to the exponent is 0 where the base is not positive */
    ebb_node b = ebb_input(g, "b", EBB_F64, EBB_SHAPE(4));
    ebb_node base = ebb_constant(g, EBB_F64, EBB_SHAPE(4), LIST(0, -2, 1, 2));
    assert_gradient(ebb_pow(base, b), b, LIST(2, 2, 2, 2), LIST(0, 0, 0, 4 * log(2)));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(cross_entropy_follows_the_cotangent)
{
    /* t rows that do not sum to 1: (softmax(x) sum t - t) / batch; and twice the loss has twice the
     * gradient */
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(1, 2));
    ebb_node t = ebb_constant(g, EBB_F64, EBB_SHAPE(1, 2), LIST(1, 2));
    ebb_node loss = ebb_softmax_cross_entropy(x, t);
    assert_gradient(loss, x, LIST(7, 7), LIST(0.5, -0.5));
    assert_gradient(ebb_mul(loss, ebb_full_like(loss, 2)), x, LIST(7, 7), LIST(1, -1));
    int64_t label = 1;
    ebb_node labels = ebb_constant(g, EBB_I64, EBB_SHAPE(1), &label);
    loss = ebb_softmax_cross_entropy(x, labels);
    assert_gradient(ebb_mul(loss, ebb_full_like(loss, 4)), x, LIST(7, 7), LIST(2, -2));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(matmul_gradients_are_products)
{
    for (int which = 0; which < 4; which++) {
        ebb_graph *g = ebb_graph_create("g");
        ebb_node a = ebb_input(g, "a", EBB_F64, EBB_SHAPE(3, 3));
        ebb_node b = ebb_input(g, "b", EBB_F64, EBB_SHAPE(3, 3));
        ebb_matmul_attrs attrs = { which & 1, which & 2 };
        ebb_node y = ebb_matmul_with(a, b, attrs), xs[2] = { a, b }, d[2];
        ebb_node seed = ebb_input(g, "s", EBB_F64, EBB_SHAPE(3, 3));
        uint32_t before = ebb_graph_n_nodes(g);
        ck_assert_int_eq(ebb_gradients_with(&y, &seed, 1, xs, 2, d), EBB_OK);
        ck_assert_uint_eq(ebb_graph_n_nodes(g), before + 2);
        ck_assert_ptr_eq(ebb_node_op(d[0]), &ebb_op_matmul);
        ck_assert_ptr_eq(ebb_node_op(d[1]), &ebb_op_matmul);
        ebb_graph_destroy(g);
    }
}
END_TEST

START_TEST(only_what_is_needed_is_built)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node a = ebb_input(g, "a", EBB_F64, EBB_SHAPE(2, 3));
    ebb_node b = ebb_input(g, "b", EBB_F64, EBB_SHAPE(3, 2)), d;
    ebb_node y = ebb_matmul(a, b);
    ebb_node seed = ebb_input(g, "s", EBB_F64, EBB_SHAPE(2, 2));
    uint32_t before = ebb_graph_n_nodes(g);
    ck_assert_int_eq(ebb_gradients_with(&y, &seed, 1, &b, 1, &d), EBB_OK);
    ck_assert_uint_eq(ebb_graph_n_nodes(g), before + 1);
    ebb_graph_destroy(g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gradients");
    TCase *registry = tcase_create("registry");
    tcase_add_test(registry, registry_against_differences);
    tcase_add_test(registry, library_ops_against_decompositions);
    suite_add_tcase(suite, registry);
    TCase *defined = tcase_create("by definition");
    tcase_add_test(defined, kinks_have_the_gradient_they_state);
    tcase_add_test(defined, pow_has_its_second_order_at_0);
    tcase_add_test(defined, large_arguments_have_gradients);
    tcase_add_test(defined, norms_and_log_sums_at_the_edge);
    tcase_add_test(defined, divergence_has_no_slope_where_the_target_is_0);
    tcase_add_test(defined, queries_that_see_nothing_have_no_gradient);
    tcase_add_test(defined, equal_maxima_share);
    tcase_add_test(defined, gradients_stop);
    tcase_add_test(defined, poles_stay_out);
    tcase_add_test(defined, cross_entropy_follows_the_cotangent);
    tcase_add_test(defined, matmul_gradients_are_products);
    tcase_add_test(defined, only_what_is_needed_is_built);
    suite_add_tcase(suite, defined);
    return run_suite(suite);
}
