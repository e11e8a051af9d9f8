/* Reverse mode as an engine: the walk, its errors, second order, decompositions; and that the
 * gradient check catches what it should. The ops' own rules are tested in test_gradients.c. */
#include <ebb/nn.h>

#include "graph/graph_build.h"
#include "graph/interpret.h"
#include "support/runner.h"

#include <math.h>
#include <string.h>

static void assert_report(const ebb_graph *g, const char *part)
{
    ck_assert_msg(strstr(ebb_graph_message(g), part), "\"%s\" is not in \"%s\"", part,
                  ebb_graph_message(g));
}

/* The value of a scalar node for given scalar sources. */
static double value_of(ebb_node node, int n, const ebb_node *sources, const double *values)
{
    ebb_error error;
    ebb_interpreter *in = ebb_interpreter_create(node.graph, NULL);
    for (int i = 0; i < n; i++) {
        ebb_tensor t = ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &values[i]);
        ck_assert_int_eq(ebb_interpreter_set(in, sources[i], &t, &error), EBB_OK);
    }
    ck_assert_msg(ebb_interpreter_run(in, &node, 1, &error) == EBB_OK, "%s", error.message);
    double value = ebb_tensor_get(ebb_interpreter_get(in, node), 0);
    ebb_interpreter_destroy(in);
    return value;
}

START_TEST(fan_out_sums)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SCALAR);
    ebb_node y = ebb_add(ebb_mul(x, x), ebb_add(x, x)); /* x^2 + 2x */
    ebb_node d, dd, ddd;
    ck_assert_int_eq(ebb_gradients(y, &x, 1, &d), EBB_OK);
    ck_assert_int_eq(ebb_gradients(d, &x, 1, &dd), EBB_OK);
    ck_assert_int_eq(ebb_gradients(dd, &x, 1, &ddd), EBB_OK);
    double at = 3;
    ck_assert_double_eq(value_of(d, 1, &x, &at), 8);
    ck_assert_double_eq(value_of(dd, 1, &x, &at), 2);
    ck_assert_double_eq(value_of(ddd, 1, &x, &at), 0);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(an_x_may_stand_between)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SCALAR);
    ebb_node h = ebb_mul(x, x), y = ebb_mul(h, x); /* y = h x with h = x^2 */
    ebb_node xs[3] = { x, h, y }, d[3];
    ck_assert_int_eq(ebb_gradients(y, xs, 3, d), EBB_OK);
    double at = 2;
    ck_assert_double_eq(value_of(d[0], 1, &x, &at), 12); /* through h too */
    ck_assert_double_eq(value_of(d[1], 1, &x, &at), 2);
    ck_assert_double_eq(value_of(d[2], 1, &x, &at), 1);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(several_ys_and_seeds)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SCALAR);
    ebb_node ys[2] = { ebb_mul(x, x), ebb_exp(x) };
    ebb_node seeds[2] = { ebb_scalar(g, EBB_F64, 3), ebb_scalar(g, EBB_F64, -2) };
    ebb_node d;
    ck_assert_int_eq(ebb_gradients_with(ys, seeds, 2, &x, 1, &d), EBB_OK);
    double at = 0.5;
    ck_assert_double_eq_tol(value_of(d, 1, &x, &at), 3 * 2 * 0.5 - 2 * exp(0.5), 1e-15);
    ebb_node same[2] = { ys[0], ys[0] };
    ck_assert_int_eq(ebb_gradients_with(same, NULL, 2, &x, 1, &d), EBB_OK);
    ck_assert_double_eq(value_of(d, 1, &x, &at), 2);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(what_does_not_depend_gets_zeros)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(2, 3)),
             z = ebb_input(g, "z", EBB_F64, EBB_SCALAR);
    ebb_node y = ebb_exp(z), d;
    ck_assert_int_eq(ebb_gradients(y, &x, 1, &d), EBB_OK);
    ck_assert(ebb_type_equal(ebb_node_type(d), ebb_node_type(x)));
    ebb_interpreter *in = ebb_interpreter_create(g, NULL);
    ck_assert_int_eq(ebb_interpreter_run(in, &d, 1, NULL), EBB_OK);
    for (int i = 0; i < 6; i++)
        ck_assert_double_eq(ebb_tensor_get(ebb_interpreter_get(in, d), i), 0);
    ebb_interpreter_destroy(in);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(gradients_are_placed_and_named)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(4, 3));
    ebb_scope_push(g, "fc1");
    ebb_node w = ebb_variable(g, "w", EBB_F64, EBB_SHAPE(3, 2), NULL);
    ebb_node h = ebb_tanh(ebb_matmul(x, w));
    ebb_scope_pop(g);
    ebb_scope_push(g, "here");
    ebb_node y = ebb_reduce_sum(h, EBB_ALL_AXES, false), d;
    ck_assert_int_eq(ebb_gradients(y, &w, 1, &d), EBB_OK);
    ck_assert_str_eq(ebb_node_name(d), "grad(w)");
    ck_assert_str_eq(ebb_node_scope(d), "fc1/");
    ck_assert_int_eq(ebb_node_phase(d), EBB_BACKWARD);
    ck_assert_int_eq(ebb_node_phase(h), EBB_FORWARD);
    ebb_node after = ebb_cos(x); /* scope and phase are as before the call */
    ck_assert_str_eq(ebb_node_scope(after), "here/");
    ck_assert_int_eq(ebb_node_phase(after), EBB_FORWARD);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(bad_arguments)
{
    ebb_graph *g = ebb_graph_create("g"), *other = ebb_graph_create("other");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(3)),
             i = ebb_input(g, "i", EBB_I32, EBB_SCALAR);
    ebb_node y = ebb_exp(x), s = ebb_reduce_sum(y, EBB_ALL_AXES, false), d = x;
    ebb_node foreign = ebb_input(other, "f", EBB_F64, EBB_SCALAR);
    ck_assert_int_eq(ebb_gradients(y, &x, 1, &d), EBB_BAD_SHAPE);
    assert_report(g, "f64[3]) is not a scalar: give a seed");
    ck_assert(ebb_node_is_none(d));
    ck_assert_int_eq(ebb_gradients(i, &x, 1, &d), EBB_BAD_DTYPE);
    assert_report(g, "y 0 (i i32[]) is not float");
    ck_assert_int_eq(ebb_gradients(s, &i, 1, &d), EBB_BAD_DTYPE);
    ck_assert_int_eq(ebb_gradients(s, &foreign, 1, &d), EBB_BAD_NODE);
    assert_report(g, "x 0 (f f64[]) is no node of \"g\"");
    ck_assert_int_eq(ebb_gradients(EBB_NONE, &x, 1, &d), EBB_BAD_NODE);
    ck_assert_int_eq(ebb_gradients_with(&y, &s, 1, &x, 1, &d), EBB_BAD_SHAPE);
    assert_report(g, "seed 0");
    ck_assert_int_eq(ebb_gradients(s, NULL, 1, &d), EBB_BAD_ARGUMENT);
    ck_assert_int_eq(ebb_graph_status(g), EBB_OK); /* none of these stick */
    ck_assert_int_eq(ebb_gradients(s, &x, 1, &d), EBB_OK);
    ebb_add(x, i);
    ck_assert_int_ne(ebb_graph_status(g), EBB_OK);
    ck_assert_int_eq(ebb_gradients(s, &x, 1, &d), ebb_graph_status(g));
    ebb_graph_destroy(g);
    ebb_graph_destroy(other);
}
END_TEST

/* ---- ops made for the tests ---- */

static ebb_status infer_same(const ebb_infer *infer)
{
    infer->results[0] = *infer->inputs[0];
    return EBB_OK;
}
static ebb_status eval_cube(const ebb_eval *eval)
{
    ebb_tensor out = eval->results[0];
    for (int64_t i = 0; i < ebb_shape_elements(&out.type.shape); i++)
        ebb_tensor_set(&out, i, pow(ebb_tensor_get(&eval->inputs[0], i), 3));
    return EBB_OK;
}
static void decompose_cube(const ebb_decompose *d)
{
    d->results[0] = ebb_mul(ebb_mul(d->inputs[0], d->inputs[0]), d->inputs[0]);
}
static void vjp_cube_wrong(const ebb_vjp *v) /* the sign is wrong */
{
    ebb_node three = ebb_full_like(v->inputs[0], -3);
    v->gradients[0] = ebb_mul(v->cotangents[0], ebb_mul(three, ebb_square(v->inputs[0])));
}
static void vjp_cube_misshaped(const ebb_vjp *v)
{
    v->gradients[0] = ebb_reduce_sum(v->cotangents[0], EBB_ALL_AXES, false);
}
static const ebb_op op_cube_library = { .name = "cube",
                                        .n_inputs = 1,
                                        .n_results = 1,
                                        .infer = infer_same,
                                        .eval = eval_cube,
                                        .decompose = decompose_cube };
static const ebb_op op_cube_plain = {
    .name = "cube_plain", .n_inputs = 1, .n_results = 1, .infer = infer_same, .eval = eval_cube
};
static const ebb_op op_cube_wrong = { .name = "cube_wrong",
                                      .n_inputs = 1,
                                      .n_results = 1,
                                      .infer = infer_same,
                                      .eval = eval_cube,
                                      .vjp = vjp_cube_wrong };
static const ebb_op op_cube_misshaped = { .name = "cube_misshaped",
                                          .n_inputs = 1,
                                          .n_results = 1,
                                          .infer = infer_same,
                                          .eval = eval_cube,
                                          .vjp = vjp_cube_misshaped };

START_TEST(an_op_without_rule_uses_its_decomposition)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SCALAR);
    /* The decomposition shares x*x with a node that stands behind the cube and leaves the heap
     * first. */
    ebb_node cube = ebb_emit(g, &op_cube_library, &x, 1, NULL, NULL);
    ebb_node y = ebb_add(ebb_mul(cube, cube), ebb_exp(ebb_mul(x, x))); /* x^6 + e^(x^2) */
    ebb_node d, dd;
    ck_assert_int_eq(ebb_gradients(y, &x, 1, &d), EBB_OK);
    ck_assert_int_eq(ebb_gradients(d, &x, 1, &dd), EBB_OK);
    double at = 1.1, e = exp(at * at);
    ck_assert_double_eq_tol(value_of(d, 1, &x, &at), 6 * pow(at, 5) + 2 * at * e, 1e-12);
    ck_assert_double_eq_tol(value_of(dd, 1, &x, &at), 30 * pow(at, 4) + (2 + 4 * at * at) * e,
                            1e-11);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(an_op_without_any_rule_is_named)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SCALAR), z = ebb_input(g, "z", EBB_F64, EBB_SCALAR),
             d;
    ebb_node y = ebb_add(ebb_named(ebb_emit(g, &op_cube_plain, &x, 1, NULL, NULL), "cubed"), z);
    ck_assert_int_eq(ebb_gradients(y, &x, 1, &d), EBB_NOT_DIFFERENTIABLE);
    assert_report(g, "cube_plain has no gradient rule");
    assert_report(g, "cubed f64[]");
    ck_assert_int_eq(ebb_gradients(y, &z, 1, &d), EBB_OK); /* not on the way: no need for a rule */
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(a_misshaped_gradient_is_found)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(3)), d;
    ebb_node y =
        ebb_reduce_sum(ebb_emit(g, &op_cube_misshaped, &x, 1, NULL, NULL), EBB_ALL_AXES, false);
    ck_assert_int_eq(ebb_gradients(y, &x, 1, &d), EBB_BAD_GRAPH);
    assert_report(g, "the vjp of cube_misshaped gives");
    ebb_graph_destroy(g);
}
END_TEST

/* ---- the check ---- */

START_TEST(the_check_accepts_a_right_gradient_in_f32)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(5, 4)),
             t = ebb_input(g, "t", EBB_I32, EBB_SHAPE(5));
    ebb_node w = ebb_variable(g, "w", EBB_F32, EBB_SHAPE(4, 3), NULL);
    ebb_node loss = ebb_softmax_cross_entropy(ebb_tanh(ebb_matmul(x, w)), t);
    ebb_node xs[2] = { x, w };
    ebb_check_report report;
    uint32_t n = ebb_graph_n_nodes(g);
    ebb_status status =
        ebb_check_gradients(loss, xs, 2, &(ebb_check_options){ .order = 2 }, &report);
    ck_assert_msg(status == EBB_OK, "%s", ebb_graph_message(g));
    ck_assert_int_eq(report.n_checks, 2 * 2 * 2);
    ck_assert(report.worst_error < 1e-8);
    ck_assert_int_eq(ebb_graph_n_nodes(g), n);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(the_check_catches_a_wrong_sign)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(3));
    ebb_node y = ebb_emit(g, &op_cube_wrong, &x, 1, NULL, NULL);
    ebb_check_report report;
    ck_assert_int_eq(ebb_check_gradients(y, &x, 1, NULL, &report), EBB_MISMATCH);
    assert_report(g, "x 0 (x f64[3])");
    ck_assert(report.worst_error > 1);
    ck_assert(report.analytic * report.numeric < 0);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(the_check_reports_nan_and_bad_arguments)
{
    ebb_graph *g = ebb_graph_create("g"), *other = ebb_graph_create("other");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(3)),
             f = ebb_input(other, "f", EBB_F64, EBB_SCALAR);
    ebb_node y = ebb_log(x);
    double values[3] = { -1, 2, 3 };
    ebb_check_value given = { x, ebb_tensor_borrow(EBB_F64, EBB_SHAPE(3), values) };
    ebb_check_options options = { .values = &given, .n_values = 1 };
    ck_assert_int_eq(ebb_check_gradients(y, &x, 1, &options, NULL), EBB_MISMATCH);
    assert_report(g, "nan");
    values[0] = 1;
    ck_assert_int_eq(ebb_check_gradients(y, &x, 1, &options, NULL), EBB_OK);
    given.value.type.shape = EBB_SHAPE(2);
    ck_assert_int_eq(ebb_check_gradients(y, &x, 1, &options, NULL), EBB_BAD_SHAPE);
    assert_report(g, "f64[2]");
    ck_assert_int_eq(ebb_check_gradients(y, &y, 1, NULL, NULL), EBB_BAD_ARGUMENT);
    assert_report(g, "neither input nor variable");
    ck_assert_int_eq(ebb_check_gradients(y, &f, 1, NULL, NULL), EBB_BAD_NODE);
    ck_assert_int_eq(ebb_check_gradients(y, NULL, 0, NULL, NULL), EBB_BAD_ARGUMENT);
    ck_assert_int_eq(ebb_check_gradients(EBB_NONE, &x, 1, NULL, NULL), EBB_BAD_NODE);
    ck_assert_int_eq(ebb_check_gradients(y, &x, 1, &(ebb_check_options){ .order = 3 }, NULL),
                     EBB_BAD_ARGUMENT);
    ebb_graph_destroy(g);
    ebb_graph_destroy(other);
}
END_TEST

START_TEST(a_million_nodes_backward)
{
    ebb_graph *g = ebb_graph_create("chain");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SCALAR), y = x, d;
    for (int i = 0; i < 1000000; i++)
        y = i % 2 ? ebb_tanh(y) : ebb_neg(y);
    ck_assert_int_eq(ebb_gradients(y, &x, 1, &d), EBB_OK);
    ck_assert(ebb_graph_n_nodes(g) > 2000000);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(failing_allocations)
{
    for (int64_t k = 0; k < 250; k++) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        ebb_graph *g = ebb_graph_create_with("g", &(ebb_graph_options){ &meter.allocator, { 0 } });
        ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(4, 3));
        ebb_node w = ebb_variable(g, "w", EBB_F64, EBB_SHAPE(3, 2), NULL);
        ebb_node y = ebb_reduce_sum(ebb_tanh(ebb_matmul(x, w)), EBB_ALL_AXES, false);
        ck_assert_int_eq(ebb_graph_status(g), EBB_OK);
        meter.fail_after = k;
        ebb_check_options options = { .order = 2, .allocator = &meter.allocator };
        ebb_status status = ebb_check_gradients(y, &w, 1, &options, NULL);
        ck_assert_msg(status == EBB_OUT_OF_MEMORY || (status == EBB_OK && !meter.n_refused),
                      "allocation %lld: %s: %s", (long long)k, ebb_status_name(status),
                      ebb_graph_message(g));
        int64_t refused = meter.n_refused;
        status = ebb_nn_minimize(y, &(ebb_nn_rule){ .rate = 0.1 });
        ck_assert(status == EBB_OUT_OF_MEMORY || (status == EBB_OK && meter.n_refused == refused));
        ebb_graph_destroy(g);
        ck_assert_int_eq(meter.n_live, 0);
    }
}
END_TEST

/* ---- nn ---- */

START_TEST(minimize_gives_every_variable_its_update)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(5, 4)),
             t = ebb_input(g, "t", EBB_I32, EBB_SHAPE(5));
    ebb_node h = ebb_relu(ebb_nn_linear(x, 3, &(ebb_nn_linear_options){ .name = "fc1" }));
    ebb_node y = ebb_nn_linear(h, 2, &(ebb_nn_linear_options){ .name = "fc2" });
    ebb_node loss = ebb_softmax_cross_entropy(y, t);
    ck_assert_msg(ebb_nn_minimize(loss, &(ebb_nn_rule){ .rate = 0.1 }) == EBB_OK, "%s",
                  ebb_graph_message(g));
    ck_assert_int_eq(ebb_graph_n_updates(g), 4);
    ebb_node variable, value;
    for (int i = 0; i < 4; i++) {
        ck_assert(ebb_graph_update(g, i, &variable, &value));
        ck_assert_int_eq(ebb_node_phase(value), EBB_UPDATE);
        ck_assert_str_eq(ebb_node_scope(value), i < 2 ? "fc1/" : "fc2/");
    }
    ck_assert_int_eq(ebb_nn_minimize(loss, &(ebb_nn_rule){ .rate = NAN }), EBB_BAD_ARGUMENT);
    assert_report(g, "finite and positive");
    ck_assert_int_eq(
        ebb_nn_minimize(ebb_reduce_sum(x, EBB_ALL_AXES, false), &(ebb_nn_rule){ .rate = 1 }),
        EBB_BAD_ARGUMENT);
    assert_report(g, "depends on no variable");
    ck_assert_int_eq(ebb_graph_status(g), EBB_OK);
    ebb_nn_accuracy(y, x);
    ck_assert_int_eq(ebb_graph_status(g), EBB_BAD_SHAPE);
    ebb_graph_destroy(g);

    static const struct {
        ebb_nn_linear_options options;
        int64_t outputs;
        ebb_status status;
    } bad[] = {
        { { .name = NULL }, 3, EBB_BAD_NAME },
        { { .name = "a b" }, 3, EBB_BAD_NAME },
        { { .name = "fc" }, -3, EBB_BAD_SHAPE },
        { { .name = "fc", .init = { .kind = EBB_NN_INIT_NORMAL, .std = -1 } },
          3,
          EBB_BAD_ARGUMENT },
        { { .name = "fc", .init.kind = (ebb_nn_init_kind)99 }, 3, EBB_BAD_ARGUMENT },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        g = ebb_graph_create("g");
        x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(5, 4));
        ck_assert(ebb_node_is_none(ebb_nn_linear(x, bad[i].outputs, &bad[i].options)));
        ck_assert_msg(ebb_graph_status(g) == bad[i].status, "%zu: %s", i, ebb_graph_message(g));
        assert_report(g, "test_autodiff.c");
        ebb_graph_destroy(g);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("autodiff");
    TCase *t = tcase_create("autodiff");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, fan_out_sums);
    tcase_add_test(t, an_x_may_stand_between);
    tcase_add_test(t, several_ys_and_seeds);
    tcase_add_test(t, what_does_not_depend_gets_zeros);
    tcase_add_test(t, gradients_are_placed_and_named);
    tcase_add_test(t, bad_arguments);
    tcase_add_test(t, an_op_without_rule_uses_its_decomposition);
    tcase_add_test(t, an_op_without_any_rule_is_named);
    tcase_add_test(t, a_misshaped_gradient_is_found);
    tcase_add_test(t, the_check_accepts_a_right_gradient_in_f32);
    tcase_add_test(t, the_check_catches_a_wrong_sign);
    tcase_add_test(t, the_check_reports_nan_and_bad_arguments);
    tcase_add_test(t, a_million_nodes_backward);
    tcase_add_test(t, failing_allocations);
    tcase_add_test(t, minimize_gives_every_variable_its_update);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
