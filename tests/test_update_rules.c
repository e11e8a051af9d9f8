/* Update rules and schedules: the book's numbers, the same formulas by plain loops, and what
 * surrounds a step. */
#include "tests/support/runtime.h"

#include <math.h>

/* f = x^2/20 + y^2 over the variable "p", from (-7, 2) (Saitoh 2016, section 6.1). */
typedef struct bowl {
    ebb_graph *graph;
    ebb_store *store;
    ebb_node p, loss;
    ebb_executable *step;
} bowl;

static bowl make_bowl(const ebb_nn_rule *rule)
{
    bowl b = { .graph = ebb_graph_create("bowl"), .store = ebb_store_create(NULL) };
    static const double start[2] = { -7, 2 }, weights[2] = { 1.0 / 20, 1 };
    b.p = ebb_variable(b.graph, "p", EBB_F64, EBB_SHAPE(2), NULL);
    const ebb_node c = ebb_constant(b.graph, EBB_F64, EBB_SHAPE(2), weights);
    b.loss = ebb_reduce_sum(ebb_mul(c, ebb_square(b.p)), EBB_ALL_AXES, false);
    const ebb_tensor value = ebb_tensor_borrow(EBB_F64, EBB_SHAPE(2), start);
    ck_assert_int_eq(ebb_store_set(b.store, "p", &value), EBB_OK);
    ck_assert_msg(ebb_nn_minimize(b.loss, rule) == EBB_OK, "%s", ebb_graph_message(b.graph));
    b.step = compile(b.graph, 2, &b.loss, 1, b.store);
    return b;
}

static void drop_bowl(bowl *b)
{
    ebb_executable_destroy(b->step);
    ebb_store_destroy(b->store);
    ebb_graph_destroy(b->graph);
}

static void walk(bowl *b, int n_steps)
{
    for (int i = 0; i < n_steps; i++)
        run(b->step, NULL, 0, NULL, 0);
}

/* ---- the book's trajectories ---- */

static const struct trajectory {
    const char *name;
    ebb_nn_rule rule;
    double after_1[2], after_10[2], after_30[2];
} trajectories[] = {
    { "SGD", { .rate = 0.95 }, { -6.335, -1.8 }, { -2.579787, 0.697357 }, { -0.350393, 0.084782 } },
    { "Momentum",
      { .method = EBB_NN_MOMENTUM, .rate = 0.1 },
      { -6.93, 1.6 },
      { -4.347554, 0.0088 },
      { 0.896414, 0.088086 } },
    { "AdaGrad",
      { .method = EBB_NN_ADAGRAD, .rate = 1.5 },
      { -5.5, 0.5 },
      { -1.489386, 4e-6 },
      { -0.120162, 0 } },
    { "Adam",
      { .method = EBB_NN_ADAM, .rate = 0.3, .late_correction = true },
      { -6.7, 1.7 },
      { -4.059419, -0.491846 },
      { 0.136007, 0.318245 } },
};

START_TEST(trajectories_are_those_of_the_book)
{
    const struct trajectory *t = &trajectories[_i];
    bowl b = make_bowl(&t->rule);
    const double *const points[] = { t->after_1, t->after_10, t->after_30 };
    static const int steps[] = { 1, 9, 20 };
    for (int i = 0; i < 3; i++) {
        walk(&b, steps[i]);
        for (int k = 0; k < 2; k++) /* the figures have six digits, some fewer */
            ck_assert_double_eq_tol(stored(b.store, "p", k), points[i][k], 2e-6);
    }
    drop_bowl(&b);
}
END_TEST

/* ---- every method against plain loops ---- */

typedef struct state {
    double w[2], a[2], b[2];
} state;

/* Step t of one element, as ebb/nn.h says it. */
static void step_by_hand(const ebb_nn_rule *r, state *s, int k, double g, int t)
{
    double *w = &s->w[k], *a = &s->a[k], *b = &s->b[k], v;
    switch (r->method) {
    case EBB_NN_SGD:
        *w -= r->rate * g;
        break;
    case EBB_NN_MOMENTUM:
        *a = 0.8 * *a - r->rate * g;
        *w += *a;
        break;
    case EBB_NN_NESTEROV: /* by the values in between: gradients are taken at w + momentum a */
        v = *a;
        *a = 0.8 * v - r->rate * g;
        *w += -0.8 * v + 1.8 * *a;
        break;
    case EBB_NN_ADAGRAD:
        *a += g * g;
        *w -= r->rate * g / (sqrt(*a) + 1e-3);
        break;
    case EBB_NN_RMSPROP:
        *a = 0.7 * *a + 0.3 * g * g;
        *w -= r->rate * g / (sqrt(*a) + 1e-3);
        break;
    case EBB_NN_ADAM:
        *a = 0.6 * *a + 0.4 * g;
        *b = 0.7 * *b + 0.3 * g * g;
        v = r->late_correction ? sqrt(*b) + 1e-3 : sqrt(*b / (1 - pow(0.7, t))) + 1e-3;
        *w -=
            r->rate * (r->late_correction ? sqrt(1 - pow(0.7, t)) : 1) * *a / (1 - pow(0.6, t)) / v;
        break;
    case EBB_NN_LION:
        v = 0.6 * *a + 0.4 * g;
        *w -= r->rate * ((v > 0) - (v < 0));
        *a = 0.7 * *a + 0.3 * g;
        break;
    }
}

START_TEST(methods_are_their_formulas)
{
    const bool late = _i == EBB_NN_LION + 1;
    const ebb_nn_rule rule = { .method = late ? EBB_NN_ADAM : (ebb_nn_method)_i,
                               .rate = 0.05,
                               .momentum = 0.8,
                               .beta1 = 0.6,
                               .beta2 = 0.7,
                               .epsilon = 1e-3,
                               .late_correction = late };
    bowl b = make_bowl(&rule);
    state s = { .w = { -7, 2 } };
    for (int t = 1; t <= 12; t++) {
        walk(&b, 1);
        for (int k = 0; k < 2; k++) {
            step_by_hand(&rule, &s, k, (k ? 2 : 0.1) * s.w[k], t);
            ck_assert_double_eq_tol(stored(b.store, "p", k), s.w[k], 1e-12);
        }
    }
    drop_bowl(&b);
}
END_TEST

/* ---- what surrounds a step ---- */

/* p after one run of a rule. */
static void after_one(const ebb_nn_rule *rule, double p[2])
{
    bowl b = make_bowl(rule);
    walk(&b, 1);
    p[0] = stored(b.store, "p", 0);
    p[1] = stored(b.store, "p", 1);
    drop_bowl(&b);
}

START_TEST(decay_and_clipping_change_the_gradient)
{
    const double g[2] = { -0.7, 4 }, norm = sqrt(0.49 + 16);
    double p[2];
    after_one(&(ebb_nn_rule){ .rate = 0.1, .weight_decay = 0.5 }, p);
    ck_assert_double_eq_tol(p[0], -7 - 0.1 * (g[0] - 3.5), 1e-14);
    ck_assert_double_eq_tol(p[1], 2 - 0.1 * (g[1] + 1), 1e-14);
    after_one(&(ebb_nn_rule){ .rate = 0.1, .l1_decay = 0.5 }, p);
    ck_assert_double_eq_tol(p[0], -7 - 0.1 * (g[0] - 0.5), 1e-14);
    ck_assert_double_eq_tol(p[1], 2 - 0.1 * (g[1] + 0.5), 1e-14);
    after_one(&(ebb_nn_rule){ .rate = 0.1, .clip_value = 1 }, p);
    ck_assert_double_eq_tol(p[0], -7 - 0.1 * g[0], 1e-14);
    ck_assert_double_eq_tol(p[1], 2 - 0.1, 1e-14);
    after_one(&(ebb_nn_rule){ .rate = 0.1, .clip_norm = 2 }, p);
    ck_assert_double_eq_tol(p[0], -7 - 0.1 * g[0] * 2 / norm, 1e-14);
    ck_assert_double_eq_tol(p[1], 2 - 0.1 * g[1] * 2 / norm, 1e-14);
    after_one(&(ebb_nn_rule){ .rate = 0.1, .clip_norm = 5 }, p); /* it is shorter */
    ck_assert_double_eq_tol(p[1], 2 - 0.1 * g[1], 1e-14);
    /* The first step of Adam is r sign(g): only the decoupled decay can be seen. */
    after_one(
        &(ebb_nn_rule){
            .method = EBB_NN_ADAM, .rate = 0.1, .weight_decay = 0.5, .decoupled_decay = true },
        p);
    ck_assert_double_eq_tol(p[0], -7 + 0.1 * 0.5 * 7 + 0.1, 1e-8);
    ck_assert_double_eq_tol(p[1], 2 - 0.1 * 0.5 * 2 - 0.1, 1e-8);
}
END_TEST

START_TEST(runs_accumulate_to_one_step)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    const ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SCALAR),
                   w = ebb_variable(g, "w", EBB_F64, EBB_SCALAR, NULL);
    const ebb_node loss = ebb_mul(x, w);
    const ebb_nn_rule rule = { .method = EBB_NN_MOMENTUM, .rate = 0.5, .accumulate = 3 };
    ck_assert_int_eq(ebb_nn_minimize(loss, &rule), EBB_OK);
    ebb_executable *e = compile(g, 2, &loss, 1, store);
    double expected = 0, velocity = 0;
    for (int i = 0; i < 9; i++) {
        const double value = i * i;
        run(e, (ebb_feed[]){ FEED(x, &value) }, 1, NULL, 0);
        if (i % 3 == 2) {
            velocity = 0.9 * velocity - 0.5 * ((i - 2) * (i - 2) + (i - 1) * (i - 1) + i * i) / 3.0;
            expected += velocity;
        }
        ck_assert_double_eq_tol(stored(store, "w", 0), expected, 1e-12);
        ck_assert_double_eq_tol(stored(store, "w.velocity", 0), velocity, 1e-12);
        ck_assert_double_eq(stored(store, "minimize/run", 0), i + 1);
    }
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(averages_follow_the_weights)
{
    bowl b = make_bowl(&(ebb_nn_rule){ .rate = 0.1, .average = 0.75, .name = "train" });
    double average = 0;
    for (int t = 1; t <= 9; t++) {
        walk(&b, 1);
        const double w = stored(b.store, "p", 0), keep = fmin(0.75, (t - 1.0) / t);
        average = keep * average + (1 - keep) * w;
        ck_assert_double_eq_tol(stored(b.store, "p.average", 0), average, 1e-13);
        ck_assert_double_eq(stored(b.store, "train/step", 0), t);
    }
    drop_bowl(&b);
}
END_TEST

START_TEST(groups_have_settings_of_their_own)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    static const char *const names[] = { "frozen", "fast", "bias", "plain" };
    ebb_node sum = ebb_scalar(g, EBB_F64, 0);
    for (int i = 0; i < 4; i++) {
        ebb_scope_push(g, names[i]);
        sum = ebb_add(sum, ebb_variable(g, "w", EBB_F64, EBB_SCALAR, &(ebb_init){ .a = 2 }));
        ebb_scope_pop(g);
    }
    const ebb_nn_group groups[] = { { .match = "fro*", .is_frozen = true },
                                    { .match = "fast/w", .rate_factor = 3 },
                                    { .match = "b*/?", .no_decay = true },
                                    { .match = "bias/w", .rate_factor = 100 } };
    const ebb_nn_rule rule = { .rate = 0.1, .weight_decay = 0.5, .groups = groups, .n_groups = 4 };
    ck_assert_int_eq(ebb_nn_minimize(sum, &rule), EBB_OK);
    ebb_executable *e = compile(g, 0, &sum, 1, store);
    run(e, NULL, 0, NULL, 0);
    ck_assert_double_eq(stored(store, "frozen/w", 0), 2);
    ck_assert_double_eq_tol(stored(store, "fast/w", 0), 2 - 0.3 * 2, 1e-15);
    ck_assert_double_eq_tol(stored(store, "bias/w", 0), 2 - 0.1, 1e-15);
    ck_assert_double_eq_tol(stored(store, "plain/w", 0), 2 - 0.1 * 2, 1e-15);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

/* ---- schedules ---- */

static const struct schedule_case {
    ebb_nn_schedule schedule;
    struct {
        int step;
        double factor;
    } points[6];
} schedules[] = {
    { { .kind = EBB_NN_CONSTANT }, { { 0, 1 }, { 9, 1 } } },
    { { .kind = EBB_NN_CONSTANT, .warmup = 4 },
      { { 0, 0.25 }, { 2, 0.75 }, { 3, 1 }, { 4, 1 }, { 9, 1 } } },
    { { .kind = EBB_NN_STEPS, .period = 10, .gamma = 0.5 },
      { { 0, 1 }, { 9, 1 }, { 10, 0.5 }, { 29, 0.25 }, { 30, 0.125 } } },
    { { .kind = EBB_NN_EXPONENTIAL, .period = 2, .gamma = 0.25 },
      { { 0, 1 }, { 1, 0.5 }, { 2, 0.25 }, { 4, 0.0625 } } },
    { { .kind = EBB_NN_COSINE, .period = 6, .last = 0.5 },
      { { 0, 1 }, { 2, 0.875 }, { 3, 0.75 }, { 4, 0.625 }, { 6, 0.5 }, { 60, 0.5 } } },
    { { .kind = EBB_NN_LINEAR, .period = 4, .last = 0.2, .warmup = 2 },
      { { 0, 0.5 }, { 1, 1 }, { 2, 1 }, { 4, 0.6 }, { 6, 0.2 }, { 7, 0.2 } } },
};

enum { N_SCHEDULES = sizeof schedules / sizeof *schedules };

START_TEST(schedules_are_their_formulas)
{
    const struct schedule_case *c = &schedules[_i];
    ebb_graph *g = ebb_graph_create("g");
    const ebb_node step = ebb_input(g, "step", EBB_I64, EBB_SCALAR);
    const ebb_node factor = ebb_nn_schedule_factor(step, &c->schedule);
    ebb_executable *e = compile(g, 2, &factor, 1, NULL);
    for (int i = 0; i < 6; i++) {
        if (c->points[i].factor == 0)
            break;
        const int64_t at = c->points[i].step;
        double found = 0;
        run(e, (ebb_feed[]){ FEED(step, &at) }, 1, (ebb_fetch[]){ FETCH(factor, &found) }, 1);
        ck_assert_double_eq_tol(found, c->points[i].factor, 1e-14);
    }
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(a_schedule_moves_the_rate)
{
    bowl b = make_bowl(&(ebb_nn_rule){
        .rate = 0.1, .schedule = { .kind = EBB_NN_STEPS, .period = 2, .gamma = 0.5 } });
    double y = 2;
    for (int t = 0; t < 6; t++) {
        walk(&b, 1);
        y -= 0.1 * pow(0.5, t / 2) * 2 * y;
        ck_assert_double_eq_tol(stored(b.store, "p", 1), y, 1e-14);
    }
    drop_bowl(&b);
}
END_TEST

/* ---- mistakes ---- */

static const ebb_nn_group no_pattern = { 0 }, bad_factor = { "p", -1, false, false },
                          frozen = { .match = "*", .is_frozen = true };

static const struct mistake {
    ebb_nn_rule rule;
    const char *message;
} mistakes[] = {
    { { .rate = 0 }, "rate must be finite and positive, not 0" },
    { { .rate = INFINITY }, "not inf" },
    { { .rate = 1, .method = (ebb_nn_method)77 }, "no method 77" },
    { { .rate = 1, .momentum = 1 }, "momentum must be in 0..1, below 1, not 1" },
    { { .rate = 1, .beta1 = -0.5 }, "beta1" },
    { { .rate = 1, .beta2 = NAN }, "beta2" },
    { { .rate = 1, .epsilon = -1 }, "epsilon" },
    { { .rate = 1, .weight_decay = -1 }, "weight_decay" },
    { { .rate = 1, .l1_decay = INFINITY }, "l1_decay" },
    { { .rate = 1, .clip_value = -1 }, "clip_value" },
    { { .rate = 1, .clip_norm = NAN }, "clip_norm" },
    { { .rate = 1, .average = 1 }, "average" },
    { { .rate = 1, .accumulate = -1 }, "accumulate must be at least 1 run, not -1" },
    { { .rate = 1, .groups = &no_pattern, .n_groups = 1 }, "group 0 has no pattern" },
    { { .rate = 1, .groups = &bad_factor, .n_groups = 1 }, "rate_factor" },
    { { .rate = 1, .n_groups = 1 }, "1 groups, and no list of them" },
    { { .rate = 1, .groups = &frozen, .n_groups = -1 }, "-1 groups" },
    { { .rate = 1, .groups = &frozen, .n_groups = 1 }, "no variable that is not frozen" },
    { { .rate = 1, .schedule = { .kind = EBB_NN_STEPS, .gamma = 1 } },
      "period must be at least 1" },
    { { .rate = 1, .schedule = { .kind = EBB_NN_STEPS, .period = 1 } }, "gamma" },
    { { .rate = 1, .schedule = { .kind = EBB_NN_LINEAR, .period = 1, .last = -1 } },
      "last factor" },
    { { .rate = 1, .schedule = { .warmup = -1 } }, "warmup is negative" },
    { { .rate = 1, .schedule = { .kind = (ebb_nn_schedule_kind)9 } }, "no such kind" },
};

enum { N_MISTAKES = sizeof mistakes / sizeof *mistakes };

START_TEST(mistakes_are_named)
{
    ebb_graph *g = ebb_graph_create("g");
    const ebb_node p = ebb_variable(g, "p", EBB_F64, EBB_SCALAR, NULL);
    ck_assert_int_eq(ebb_nn_minimize(ebb_square(p), &mistakes[_i].rule), EBB_BAD_ARGUMENT);
    CHECK_TEXT(ebb_graph_message(g), mistakes[_i].message);
    ck_assert_int_eq(ebb_graph_status(g), EBB_OK); /* nothing is lost */
    ck_assert_int_eq(ebb_nn_minimize(ebb_square(p), &(ebb_nn_rule){ .rate = 1 }), EBB_OK);
    ebb_graph_destroy(g);
}
END_TEST

/* Finite as a double, and not as the variable's dtype. */
START_TEST(rates_fit_the_dtype)
{
    const ebb_nn_group large = { .match = "*/w", .rate_factor = 1e200 };
    ebb_graph *g = ebb_graph_create("g");
    ebb_scope_push(g, "fc");
    const ebb_node w = ebb_variable(g, "w", EBB_F32, EBB_SCALAR, NULL),
                   b = ebb_variable(g, "b", EBB_F64, EBB_SCALAR, NULL);
    ebb_scope_pop(g);
    ck_assert_int_eq(ebb_nn_minimize(ebb_square(w), &(ebb_nn_rule){ .rate = 1e300 }),
                     EBB_BAD_ARGUMENT);
    CHECK_TEXT(ebb_graph_message(g), "the rate of fc/w, 1e+300, is not finite as f32");
    ck_assert_int_eq(ebb_nn_minimize(ebb_square(w), &(ebb_nn_rule){ .rate = 1,
                                                                    .schedule = { .warmup = 5 },
                                                                    .groups = &large,
                                                                    .n_groups = 1 }),
                     EBB_BAD_ARGUMENT);
    CHECK_TEXT(ebb_graph_message(g), "the rate of fc/w, 1e+200, is not finite as f32");
    ck_assert_int_eq(ebb_nn_minimize(ebb_square(b), &(ebb_nn_rule){ .rate = 1e300 }), EBB_OK);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(a_variable_is_updated_once)
{
    ebb_graph *g = ebb_graph_create("g");
    const ebb_node p = ebb_variable(g, "p", EBB_F64, EBB_SCALAR, NULL);
    ck_assert_int_eq(ebb_nn_minimize(ebb_square(p), &(ebb_nn_rule){ .rate = 1 }), EBB_OK);
    ck_assert_int_ne(ebb_nn_minimize(ebb_square(p), &(ebb_nn_rule){ .rate = 1 }), EBB_OK);
    CHECK_TEXT(ebb_graph_message(g), "p");
    ck_assert_int_eq(ebb_nn_minimize((ebb_node){ 0 }, &(ebb_nn_rule){ .rate = 1 }), EBB_BAD_NODE);
    ebb_graph_destroy(g);

    g = ebb_graph_create("g");
    const ebb_node step = ebb_input(g, "step", EBB_F64, EBB_SCALAR);
    ck_assert(!ebb_nn_schedule_factor(step, &(ebb_nn_schedule){ 0 }).id);
    CHECK_TEXT(ebb_graph_message(g), "integer scalar");
    ebb_graph_destroy(g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("update_rules");
    TCase *tests = tcase_create("update_rules");
    tcase_add_loop_test(tests, trajectories_are_those_of_the_book, 0, 4);
    tcase_add_loop_test(tests, methods_are_their_formulas, 0, EBB_NN_LION + 2);
    tcase_add_test(tests, decay_and_clipping_change_the_gradient);
    tcase_add_test(tests, runs_accumulate_to_one_step);
    tcase_add_test(tests, averages_follow_the_weights);
    tcase_add_test(tests, groups_have_settings_of_their_own);
    tcase_add_loop_test(tests, schedules_are_their_formulas, 0, N_SCHEDULES);
    tcase_add_test(tests, a_schedule_moves_the_rate);
    tcase_add_loop_test(tests, mistakes_are_named, 0, N_MISTAKES);
    tcase_add_test(tests, rates_fit_the_dtype);
    tcase_add_test(tests, a_variable_is_updated_once);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
