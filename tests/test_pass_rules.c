/* Every rewriting rule against tests/golden/passes.txt: what fires gives the expected text, what
 * must not fire does not, and both graphs compute the same values. A rule without a case fails; so
 * does a docs/passes.md that is out of date.
 *
 *   == SET MODE [not ]RULE       MODE: exact, stable, fast (with fast_math)
 *   a graph; the nodes named out, out2 .. are its outputs
 *   =>
 *   the graph afterwards (not there: it stays) */
#include <ebb/ops.h>

#include "graph/interpret.h"
#include "passes/rules.h"
#include "support/files.h"
#include "support/golden.h"
#include "support/runner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CASES 1000

static const ebb_rule_set *const sets[] = {
    &ebb_rules_canonicalize, &ebb_rules_simplify, &ebb_rules_shapes, &ebb_rules_fold,
    &ebb_rules_stabilize,    &ebb_rules_views,    &ebb_rules_freeze, &ebb_rules_anchors,
};
#define N_SETS (int)(sizeof sets / sizeof *sets)

/* ---- the golden file ---- */

typedef struct golden {
    const char *title, *rule; /* of one line each; rule ends at the line's end */
    const ebb_rule_set *set;
    int rule_index;
    bool is_exact, fast_math, fires;
    const char *before, *after; /* after: NULL if it does not fire */
} golden;

/* Cuts the line at `at` off; returns the next one, or NULL. */
static char *cut_line(char *at)
{
    char *end = strchr(at, '\n');
    if (!end)
        return NULL;
    *end = 0;
    return end + 1;
}

static void read_title(golden *c)
{
    char set[40], mode[20];
    int length = 0;
    ck_assert_msg(sscanf(c->title, "== %39s %19s %n", set, mode, &length) == 2, "\"%s\"", c->title);
    c->rule = c->title + length;
    c->fires = strncmp(c->rule, "not ", 4) != 0;
    c->rule += c->fires ? 0 : 4;
    c->is_exact = strcmp(mode, "exact") == 0;
    c->fast_math = strcmp(mode, "fast") == 0;
    for (int s = 0; s < N_SETS; s++) {
        if (strcmp(sets[s]->name, set) == 0)
            c->set = sets[s];
    }
    ck_assert_msg(c->set, "no rule set: \"%s\"", c->title);
    for (c->rule_index = 0; c->rule_index < c->set->n_rules; c->rule_index++) {
        if (strcmp(c->set->rules[c->rule_index].name, c->rule) == 0)
            return;
    }
    ck_abort_msg("no rule: \"%s\"", c->title);
}

static int read_golden(char *text, golden cases[MAX_CASES])
{
    int n = 0;
    char *at = text;
    while (at && *at) {
        char *line = at;
        if (strncmp(line, "== ", 3) != 0) {
            at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL;
            continue;
        }
        ck_assert_int_lt(n, MAX_CASES);
        golden *c = &cases[n++];
        *c = (golden){ .title = line };
        at = cut_line(line);
        ck_assert_ptr_nonnull(at);
        read_title(c);
        c->before = at;
        char *end = strstr(at, "\n== ");
        char *arrow = strstr(at, "\n=>\n");
        if (arrow && (!end || arrow < end)) {
            *arrow = 0;
            c->after = arrow + 4;
        }
        if (end)
            *end = 0;
        at = end ? end + 1 : NULL;
    }
    return n;
}

static golden cases[MAX_CASES];
static int n_cases;
static char *golden_text;

static void load_cases(void)
{
    char path[4096];
    size_t n_bytes;
    snprintf(path, sizeof path, "%s/tests/golden/passes.txt", test_source_folder());
    golden_text = file_read(path, &n_bytes);
    ck_assert_msg(golden_text, "cannot read %s", path);
    n_cases = read_golden(golden_text, cases);
    ck_assert_int_gt(n_cases, 0);
}

static void free_cases(void)
{
    free(golden_text);
}

/* ---- running a case ---- */

/* Runs the rules of one set until none fires, then drops what is dead. */
static ebb_graph *run_rules(const golden *c, const ebb_graph *graph, ebb_node *outputs, int n,
                            ebb_rewrite_counts *counts)
{
    ebb_graph *current = NULL;
    for (int round = 0; round < 5; round++) {
        ebb_rewrite rewrite = {
            .pass = c->set->name, .sets = &c->set, .n_sets = round < 4, .fast_math = c->fast_math
        };
        const ebb_graph *from = current ? current : graph;
        uint32_t *map = calloc(ebb_graph_n_nodes(from) + 1, sizeof *map);
        ebb_error error;
        ebb_graph *next;
        ebb_status status = ebb_rewrite_run(&rewrite, from, outputs, n, &next, map, counts, &error);
        ck_assert_msg(!status, "%s: %s", c->title, error.message);
        for (int i = 0; i < n; i++)
            outputs[i] = ebb_graph_node(next, map[outputs[i].id]);
        free(map);
        ebb_graph_destroy(current);
        current = next;
    }
    ebb_error error;
    ck_assert_msg(!ebb_graph_verify(current, &error), "%s: %s", c->title, error.message);
    return current;
}

/* ---- values ---- */

static double special_value(ebb_dtype dtype, int64_t i)
{
    static const double floats[] = { 0, -0.0, 1, -1, 2.5, INFINITY, -INFINITY, NAN };
    static const double integers[] = { 0, 1, -1, 2, 7, -100, 2147483647, -2147483648.0 };
    static const double bytes[] = { 0, 1, 2, 100, 128, 200, 254, 255 };
    if (dtype == EBB_BOOL)
        return (double)(i & 1);
    return ebb_dtype_is_float(dtype) ? floats[i] : dtype == EBB_U8 ? bytes[i] : integers[i];
}

/* Input number k meets all combinations of 8 special values with those of the others, or has values
 * in [0.5, 2). */
static void fill_input(const ebb_tensor *tensor, int64_t k, bool special)
{
    int64_t n = ebb_shape_elements(&tensor->type.shape);
    int64_t step = k == 0 ? 1 : k == 1 ? 8 : 3;
    for (int64_t i = 0; i < n; i++) {
        double value = 0.5 + 1.5 * fmod(0.61803398875 * (double)(i + 17 * k + 1), 1);
        if (special)
            value = special_value(tensor->type.dtype, i / step % 8);
        else if (tensor->type.dtype == EBB_BOOL)
            value = (double)((i + k) % 2);
        ebb_tensor_set(tensor, i, value);
    }
}

static ebb_interpreter *compute(const golden *c, const ebb_graph *graph, const ebb_node *outputs,
                                int n, bool special, ebb_status *status)
{
    ebb_interpreter *interpreter = ebb_interpreter_create(graph, NULL);
    ebb_error error = { .status = EBB_OK };
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(graph); id++) {
        ebb_node node = ebb_graph_node(graph, id);
        if (strcmp(ebb_node_op(node)->name, "input") != 0)
            continue;
        ebb_tensor value;
        ck_assert_int_eq(ebb_tensor_init(&value, *ebb_node_type(node), NULL), EBB_OK);
        fill_input(&value, (ebb_node_name(node)[0] - 'x') & 3, special);
        *status = ebb_interpreter_set(interpreter, node, &value, &error);
        ck_assert_msg(!*status, "%s: %s", c->title, error.message);
        ebb_tensor_finish(&value);
    }
    *status = ebb_interpreter_run(interpreter, outputs, n, &error);
    return interpreter;
}

static bool same_value(const ebb_tensor *a, const ebb_tensor *b, int64_t i, bool exact)
{
    double x = ebb_tensor_get(a, i), y = ebb_tensor_get(b, i);
    if (isnan(x) || isnan(y))
        return isnan(x) && isnan(y);
    if (exact)
        return x == y && !signbit(x) == !signbit(y);
    double tolerance = a->type.dtype == EBB_F64 ? 1e-13 : 1e-5;
    return fabs(x - y) <= tolerance * (1 + fabs(x));
}

static void compare_values(const golden *c, const ebb_graph *before, const ebb_node *old,
                           const ebb_graph *after, const ebb_node *new, int n, bool special)
{
    ebb_status old_status, new_status;
    ebb_interpreter *a = compute(c, before, old, n, special, &old_status);
    ebb_interpreter *b = compute(c, after, new, n, special, &new_status);
    ck_assert_msg(old_status == new_status, "%s: %s became %s", c->title,
                  ebb_status_name(old_status), ebb_status_name(new_status));
    for (int o = 0; o < n && !old_status; o++) {
        const ebb_tensor *x = ebb_interpreter_get(a, old[o]), *y = ebb_interpreter_get(b, new[o]);
        ck_assert_msg(ebb_type_equal(&x->type, &y->type), "%s: the type changed", c->title);
        for (int64_t i = 0; i < ebb_shape_elements(&x->type.shape); i++)
            ck_assert_msg(same_value(x, y, i, c->is_exact), "%s: element %lld: %.17g became %.17g",
                          c->title, (long long)i, ebb_tensor_get(x, i), ebb_tensor_get(y, i));
    }
    ebb_interpreter_destroy(a);
    ebb_interpreter_destroy(b);
}

static void check_case(const golden *c)
{
    ebb_graph *before = golden_parse(c->before);
    ebb_node old[MAX_OUTPUTS], new[MAX_OUTPUTS];
    int n = golden_outputs(before, old);
    ck_assert_msg(n > 0, "%s: no outputs", c->title);
    memcpy(new, old, sizeof new);
    ebb_rewrite_counts counts = { 0 };
    ebb_graph *after = run_rules(c, before, new, n, &counts);
    bool fired = counts.hits[c->rule_index] > 0;
    char *text = golden_print(after);
    ck_assert_msg(fired == c->fires, "%s: %s\n%s", c->title, fired ? "fired" : "did not fire",
                  text);
    ck_assert_msg(c->fires == (c->after != NULL), "%s: what is expected is %s", c->title,
                  c->after ? "superfluous" : "missing");
    ck_assert_int_eq(counts.n_exhausted, 0);
    if (c->fires) {
        ebb_graph *expected = golden_parse(c->after);
        char *expected_text = golden_print(expected);
        ck_assert_msg(strcmp(text, expected_text) == 0, "%s:\n%sexpected\n%s", c->title, text,
                      expected_text);
        free(expected_text);
        ebb_graph_destroy(expected);
    }
    free(text);
    compare_values(c, before, old, after, new, n, false);
    if (c->is_exact)
        compare_values(c, before, old, after, new, n, true);
    ebb_graph_destroy(before);
    ebb_graph_destroy(after);
}

START_TEST(test_golden)
{
    load_cases();
    for (int i = 0; i < n_cases; i++) {
        if (cases[i].set == sets[_i])
            check_case(&cases[i]);
    }
    free_cases();
}
END_TEST

/* Every rule has a case in which it fires; one that is not exact for floats also one in which it
 * does not. */
START_TEST(test_every_rule_has_cases)
{
    load_cases();
    const ebb_rule_set *set = sets[_i];
    for (int r = 0; r < set->n_rules; r++) {
        int n_firing = 0, n_silent = 0;
        for (int i = 0; i < n_cases; i++) {
            if (cases[i].set == set && cases[i].rule_index == r)
                *(cases[i].fires ? &n_firing : &n_silent) += 1;
        }
        ck_assert_msg(n_firing > 0, "%s: rule %s has no golden case", set->name,
                      set->rules[r].name);
        if (!(set->rules[r].when & (EBB_WHEN_FLOAT | EBB_WHEN_STABLE)))
            ck_assert_msg(n_silent > 0, "%s: rule %s has no case that must not fire", set->name,
                          set->rules[r].name);
    }
    free_cases();
}
END_TEST

START_TEST(test_rule_names_are_unique)
{
    for (int s = 0; s < N_SETS; s++) {
        for (int r = 0; r < sets[s]->n_rules; r++) {
            const ebb_rule *rule = &sets[s]->rules[r];
            ck_assert_msg(rule->when && !rule->rhs == !!rule->build, "%s", rule->name);
            ck_assert_msg(rule->rhs || rule->right, "%s", rule->name);
            ck_assert_msg(rule->lhs ? rule->lhs->kind == EBB_PATTERN_OP : rule->left != NULL, "%s",
                          rule->name);
            for (int q = 0; q < r; q++)
                ck_assert_str_ne(rule->name, sets[s]->rules[q].name);
        }
    }
}
END_TEST

/* ---- docs/passes.md ---- */

static const char *when_text(unsigned when)
{
    if ((when & EBB_ALWAYS) == EBB_ALWAYS)
        return "always";
    if (when & EBB_WHEN_STABLE)
        return "floats";
    if (when == (EBB_WHEN_INTEGER | EBB_WHEN_FAST))
        return "integers; fast_math";
    return when == EBB_WHEN_FLOAT ? "floats" : when == EBB_WHEN_FAST ? "fast_math" : "integers";
}

/* `|` would end a cell. */
static void print_cell(FILE *out, const char *text)
{
    fputs("`", out);
    for (; *text; text++)
        fputs(*text == '|' ? "\\|" : (const char[]){ *text, 0 }, out);
    fputs("`", out);
}

static void print_rules(FILE *out)
{
    char text[EBB_PATTERN_TEXT_BYTES];
    for (int s = 0; s < N_SETS; s++) {
        fprintf(out, "%s### %s\n\n| rule | from | to | when |\n|---|---|---|---|\n", s ? "\n" : "",
                sets[s]->name);
        for (int r = 0; r < sets[s]->n_rules; r++) {
            const ebb_rule *rule = &sets[s]->rules[r];
            fputs("| ", out);
            print_cell(out, rule->name);
            fputs(" | ", out);
            print_cell(out, rule->lhs ? ebb_pattern_text(rule->lhs, text) : rule->left);
            fputs(" | ", out);
            print_cell(out, rule->rhs ? ebb_pattern_text(rule->rhs, text) : rule->right);
            fprintf(out, " | %s", when_text(rule->when));
            if (rule->condition) {
                fputs("; ", out);
                for (const char *at = rule->condition; *at; at++)
                    fputs(*at == '|' ? "\\|" : (const char[]){ *at, 0 }, out);
            }
            fputs(" |\n", out);
        }
    }
}

START_TEST(test_docs_list_the_rules)
{
    char path[4096], *rules = NULL;
    size_t n_bytes, n_rules;
    FILE *out = open_memstream(&rules, &n_rules);
    print_rules(out);
    fclose(out);
    snprintf(path, sizeof path, "%s/docs/passes.md", test_source_folder());
    char *page = file_read(path, &n_bytes);
    ck_assert_msg(page, "cannot read %s", path);
    const char *found = strstr(page, rules);
    for (char *line = rules; line && *line && !found;) {
        char *next = cut_line(line);
        ck_assert_msg(strstr(page, line), "docs/passes.md lacks this line:\n%s", line);
        line = next;
    }
    ck_assert_msg(found && strlen(found) == n_rules,
                  "docs/passes.md must end with what `test_pass_rules --rules` prints");
    free(page);
    free(rules);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--rules") == 0) {
        print_rules(stdout);
        return 0;
    }
    Suite *suite = suite_create("pass_rules");
    TCase *rules = tcase_create("rules");
    tcase_add_loop_test(rules, test_golden, 0, N_SETS);
    tcase_add_loop_test(rules, test_every_rule_has_cases, 0, N_SETS);
    tcase_add_test(rules, test_rule_names_are_unique);
    tcase_add_test(rules, test_docs_list_the_rules);
    suite_add_tcase(suite, rules);
    return run_suite(suite);
}
