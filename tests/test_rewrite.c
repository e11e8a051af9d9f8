/* The driver of rewriting, with rules of its own: budgets, orders of inputs, lazy runs, defects. */
#include <ebb/ops.h>

#include "support/golden.h"
#include "support/runner.h"

#include <stdlib.h>
#include <string.h>

#include "passes/pattern.h"

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

static const ebb_rule looping_rules[] = {
    RULE("exp to sin", OP(exp, A), OP(sin, OP(neg, A)), ALWAYS),
    RULE("sin to exp", OP(sin, A), OP(exp, OP(neg, A)), ALWAYS),
};
static const ebb_rule_set looping = RULE_SET("looping", looping_rules);
static const ebb_rule type_rules[] = { RULE("exp to less", OP(exp, A), OP(less, A, A), ALWAYS) };
static const ebb_rule_set types = RULE_SET("types", type_rules);
/* The inner order has to be tried again for the outer one: a*b + c*a. */
static const ebb_rule factor_rules[] = { RULE("a*b+a*c", OP(add, OP(mul, A, B), OP(mul, A, C)),
                                              OP(mul, A, OP(add, B, C)), ALWAYS) };
static const ebb_rule_set factors = RULE_SET("factors", factor_rules);

static ebb_status run_set(const ebb_rule_set *set, const ebb_graph *graph, ebb_node output,
                          int budget, record *r, ebb_rewrite_counts *counts, ebb_graph **result,
                          ebb_error *error)
{
    ebb_rewrite rewrite = {
        .pass = set->name, .sets = &set, .n_sets = 1, .budget = budget, .log = { write_log, r }
    };
    uint32_t *map = malloc((ebb_graph_n_nodes(graph) + 1) * sizeof *map);
    ebb_status status = ebb_rewrite_run(&rewrite, graph, &output, 1, result, map, counts, error);
    free(map);
    return status;
}

START_TEST(test_budget_ends_rules_that_loop)
{
    record r = { .text = "" };
    ebb_rewrite_counts counts = { 0 };
    ebb_graph *result;
    ebb_error error;
    ebb_graph *graph = golden_parse("%1 = input {name=\"x\"} : f32[2]\n%2 = exp %1 : f32[2] @y\n");
    ebb_node y = golden_find(graph, "y");
    ck_assert_int_eq(run_set(&looping, graph, y, 5, &r, &counts, &result, &error), EBB_OK);
    ck_assert_int_eq(counts.total, 5);
    ck_assert_int_eq(counts.hits[0], 3);
    ck_assert_int_eq(counts.n_exhausted, 1);
    ck_assert_int_eq(r.n_warnings, 1);
    ck_assert_msg(strstr(r.text, "pass looping: rules at exp"), "%s", r.text);
    ck_assert_int_eq(ebb_graph_verify(result, &error), EBB_OK);
    ebb_graph_destroy(result);
    counts = (ebb_rewrite_counts){ 0 };
    ck_assert_int_eq(run_set(&looping, graph, y, 0, &r, &counts, &result, &error), EBB_OK);
    ck_assert_int_eq(counts.total, EBB_REWRITE_BUDGET);
    ebb_graph_destroy(result);
    ebb_graph_destroy(graph);
}
END_TEST

START_TEST(test_a_rule_that_changes_the_type_is_a_defect)
{
    record r = { .text = "" };
    ebb_rewrite_counts counts = { 0 };
    ebb_graph *result;
    ebb_error error;
    ebb_graph *graph = golden_parse("%1 = input {name=\"x\"} : f32[2]\n%2 = exp %1 : f32[2] @y\n");
    ck_assert_int_eq(
        run_set(&types, graph, golden_find(graph, "y"), 0, &r, &counts, &result, &error),
        EBB_INTERNAL);
    ck_assert_ptr_null(result);
    ck_assert_str_eq(error.message, "pass types: rule exp to less changes the type");
    ebb_graph_destroy(graph);
}
END_TEST

START_TEST(test_all_orders_of_commutative_inputs)
{
    static const char *const sums[] = { "%4 = mul %1 %2", "%4 = mul %2 %1" };
    static const char *const others[] = { "%5 = mul %1 %3", "%5 = mul %3 %1" };
    for (int i = 0; i < 4; i++) {
        char text[400];
        record r = { .text = "" };
        ebb_rewrite_counts counts = { 0 };
        ebb_graph *result;
        ebb_error error;
        snprintf(text, sizeof text,
                 "%%1 = input {name=\"x\"} : f32[2]\n%%2 = input {name=\"y\"} : f32[2]\n"
                 "%%3 = input {name=\"z\"} : f32[2]\n%s : f32[2]\n%s : f32[2]\n"
                 "%%6 = add %%4 %%5 : f32[2] @out\n",
                 sums[i & 1], others[i >> 1]);
        ebb_graph *graph = golden_parse(text);
        ck_assert_int_eq(
            run_set(&factors, graph, golden_find(graph, "out"), 0, &r, &counts, &result, &error),
            EBB_OK);
        ck_assert_int_eq(counts.total, 1);
        ebb_graph_destroy(result);
        ebb_graph_destroy(graph);
    }
}
END_TEST

START_TEST(test_lazy_run_leaves_the_graph)
{
    const ebb_rule_set *set = &factors;
    ebb_rewrite rewrite = { .pass = "factors", .sets = &set, .n_sets = 1, .lazy = true };
    ebb_rewrite_counts counts = { 0 };
    ebb_error error;
    ebb_graph *result;
    uint32_t map[4];
    ebb_graph *graph = golden_parse("%1 = input {name=\"x\"} : f32[2]\n%2 = exp %1 : f32[2] @y\n"
                                    "%3 = sin %1 : f32[2]\n");
    ebb_node y = golden_find(graph, "y");
    ck_assert_int_eq(ebb_rewrite_run(&rewrite, graph, &y, 1, &result, map, &counts, &error),
                     EBB_OK);
    ck_assert_ptr_null(result);
    rewrite.sweep = true; /* %3 is dead */
    ck_assert_int_eq(ebb_rewrite_run(&rewrite, graph, &y, 1, &result, map, &counts, &error),
                     EBB_OK);
    ck_assert_ptr_nonnull(result);
    ck_assert_uint_eq(ebb_graph_n_nodes(result), 2);
    ebb_graph_destroy(result);
    ebb_graph_destroy(graph);
}
END_TEST

static const ebb_rule many_rules[EBB_MAX_RULES + 1] = { RULE("x", OP(exp, A), A, ALWAYS) };
static const ebb_rule_set many = { "many", many_rules, EBB_MAX_RULES + 1 };

START_TEST(test_too_many_rules_are_a_defect)
{
    record r = { .text = "" };
    ebb_rewrite_counts counts = { 0 };
    ebb_graph *result;
    ebb_error error;
    ebb_graph *graph = golden_parse("%1 = input {name=\"x\"} : f32[2]\n%2 = exp %1 : f32[2] @y\n");
    ebb_node y = golden_find(graph, "y");
    ck_assert_int_eq(run_set(&many, graph, y, 0, &r, &counts, &result, &error), EBB_INTERNAL);
    ck_assert_str_eq(error.message, "pass many has too many rules");
    ebb_graph_destroy(graph);
}
END_TEST

static const ebb_rule leaves[] = { RULE("r", OP(select, CONST_A, SPLAT_B, SPLAT(-0.0)), D,
                                        ALWAYS) };

START_TEST(test_pattern_text)
{
    char text[EBB_PATTERN_TEXT_BYTES];
    const ebb_pattern *pattern = looping_rules[0].rhs;
    ck_assert_str_eq(ebb_pattern_text(pattern, text), "sin(neg(a))");
    ck_assert_str_eq(ebb_pattern_text(leaves[0].lhs, text), "select(const a, splat b, -0)");
    ck_assert_str_eq(ebb_pattern_text(leaves[0].rhs, text), "d");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rewrite");
    TCase *driver = tcase_create("driver");
    tcase_add_test(driver, test_budget_ends_rules_that_loop);
    tcase_add_test(driver, test_a_rule_that_changes_the_type_is_a_defect);
    tcase_add_test(driver, test_too_many_rules_are_a_defect);
    tcase_add_test(driver, test_all_orders_of_commutative_inputs);
    tcase_add_test(driver, test_lazy_run_leaves_the_graph);
    tcase_add_test(driver, test_pattern_text);
    suite_add_tcase(suite, driver);
    return run_suite(suite);
}
