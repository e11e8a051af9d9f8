/* Random graphs over the whole registry: reverse mode against central differences at orders 1 and
 * 2, and every way of running them against the interpreter. A graph that fails is made small and
 * printed. EBB_RANDOM_GRAPHS=N takes N graphs, EBB_RANDOM_SEED=S the one with that seed alone. */
#include "graph/graph_build.h"
#include "tests/support/agreement.h"
#include "tests/support/random_case.h"
#include "tests/support/runner.h"
#include "tests/support/shrink.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPS = 512, SHRINK_BUDGET = 3000 };

typedef struct figures {
    int n_graphs, n_nodes, n_ways;
    int n_compared[2], n_zero[2], n_undecided[2];
    double worst[2];
    int uses[MAX_OPS]; /* nodes by op of the registry */
} figures;

/* What is asked of the graph of a seed: all of it for some, less for others, so that the many are
 * quick. */
static agreement_options options_of(uint64_t seed)
{
    unsigned one = 1u << seed % AGREEMENT_WAYS;
    return (agreement_options){ .order = seed % 2 == 0 ? 2 : 1,
                                .ways = seed % 5 ? OPTIMIZED_F64_WAYS | one : ALL_AGREEMENT_WAYS,
                                .n_threads = seed % 8 == 0 ? 2 : 1,
                                .seed = seed };
}

/* ---- failures ---- */

typedef struct failure {
    agreement_options options;
    agreement first;
} failure;

static bool fails_alike(void *context, const graph_case *c)
{
    const failure *f = context;
    agreement a = check_agreement(c, &f->options);
    return a.what == f->first.what && a.status == f->first.status;
}

/* Makes the case small, and writes it as text into a block that the caller frees. */
static char *shrink_and_print(graph_case *c, const agreement_options *options,
                              const agreement *first)
{
    failure f = { *options, *first };
    if (first->way >= 0)
        f.options.ways = 1u << first->way;
    else
        f.options.ways = 0;
    shrink_case(c, fails_alike, &f, SHRINK_BUDGET);
    char *text = NULL;
    size_t text_bytes;
    FILE *out = open_memstream(&text, &text_bytes);
    ck_assert_ptr_nonnull(out);
    graph_case_print(c, out);
    fclose(out);
    return text;
}

static void fail_seed(graph_case *c, uint64_t seed, const agreement_options *options,
                      const agreement *a)
{
    char *text = shrink_and_print(c, options, a);
    agreement small = check_agreement(c, options);
    ck_abort_msg("EBB_RANDOM_SEED=%llu: %s\nsmall, it says: %s\n%s", (unsigned long long)seed,
                 a->message, small.message, text);
}

/* ---- many graphs ---- */

static void count_uses(const graph_case *c, figures *f)
{
    int n;
    const ebb_op *const *ops = ebb_op_list(&n);
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(c->graph); id++)
        for (int i = 0; i < n && i < MAX_OPS; i++)
            f->uses[i] += ebb_node_op(ebb_graph_node(c->graph, id)) == ops[i];
}

static void check_seed(uint64_t seed, figures *f)
{
    graph_case c;
    agreement_options options = options_of(seed);
    random_case_init(&c, &(random_case_options){ .seed = seed });
    count_uses(&c, f);
    agreement a = check_agreement(&c, &options);
    if (a.what)
        fail_seed(&c, seed, &options, &a);
    f->n_graphs++;
    f->n_nodes += graph_case_n_ops(&c);
    f->n_ways += a.n_ways;
    for (int order = 0; order < 2; order++) {
        f->n_compared[order] += a.n_compared[order];
        f->n_zero[order] += a.n_zero[order];
        f->n_undecided[order] += a.n_undecided[order];
        f->worst[order] = fmax(f->worst[order], a.worst[order]);
    }
    graph_case_finish(&c);
}

static long number_of(const char *variable, long otherwise)
{
    const char *text = getenv(variable);
    return text && *text ? strtol(text, NULL, 10) : otherwise;
}

/* Sources without a kernel stand in no sample, and what takes F64 nowhere cannot be met. */
static void check_uses(const figures *f)
{
    int n, n_ops = 0, n_used = 0;
    const ebb_op *const *ops = ebb_op_list(&n);
    char missing[600] = "";
    ck_assert_int_le(n, MAX_OPS);
    for (int i = 0; i < n; i++) {
        if (!ops[i]->eval)
            continue;
        n_ops++;
        n_used += f->uses[i] > 0;
        if (!f->uses[i] && strlen(missing) + strlen(ops[i]->name) + 2 < sizeof missing)
            strcat(strcat(missing, " "), ops[i]->name);
    }
    printf("  %d of %d ops with a kernel are used%s%s\n", n_used, n_ops, *missing ? "; not" : "",
           missing);
    ck_assert_msg(n_used == n_ops, "never used:%s", missing);
}

START_TEST(graphs_agree)
{
    figures f = { 0 };
    long n_graphs = number_of("EBB_RANDOM_GRAPHS", 1050);
    long seed = number_of("EBB_RANDOM_SEED", -1);
    if (seed >= 0) {
        check_seed((uint64_t)seed, &f);
        return;
    }
    for (uint64_t s = 0; s < (uint64_t)n_graphs; s++)
        check_seed(s, &f);
    printf("random graphs: %d graphs, %d nodes, %d runs agree with the interpreter\n", f.n_graphs,
           f.n_nodes, f.n_ways);
    for (int order = 0; order < 2; order++)
        printf(
            "  order %d: %d directional derivatives agree with differences (%d of them 0), worst "
            "relative error %.2g, %d undecided\n",
            order + 1, f.n_compared[order], f.n_zero[order], f.worst[order], f.n_undecided[order]);
    for (int order = 0; order < 2; order++)
        ck_assert_int_le(100 * f.n_undecided[order], f.n_compared[order]);
    if (n_graphs >= 1000)
        check_uses(&f);
}
END_TEST

/* ---- the generator ---- */

static char *text_of(uint64_t seed)
{
    graph_case c;
    char *text = NULL;
    size_t text_bytes;
    FILE *out = open_memstream(&text, &text_bytes);
    ck_assert_ptr_nonnull(out);
    random_case_init(&c, &(random_case_options){ .seed = seed });
    graph_case_print(&c, out);
    fclose(out);
    graph_case_finish(&c);
    return text;
}

START_TEST(seeds_tell_graphs_apart)
{
    char *a = text_of(5), *b = text_of(5), *c = text_of(6);
    ck_assert_str_eq(a, b);
    ck_assert_str_ne(a, c);
    free(a);
    free(b);
    free(c);
}
END_TEST

/* ---- a wrong op is found and made small ---- */

static ebb_status infer_same(const ebb_infer *infer)
{
    if (infer->inputs[0]->dtype != EBB_F64)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "not f64");
    infer->results[0] = *infer->inputs[0];
    return EBB_OK;
}

static ebb_status eval_cube(const ebb_eval *eval)
{
    const double *x = eval->inputs[0].data;
    double *y = eval->results[0].data;
    for (int64_t i = 0; i < ebb_shape_elements(&eval->inputs[0].type.shape); i++)
        y[i] = x[i] * x[i] * x[i];
    return EBB_OK;
}

/* 2 x^2, not 3 x^2. */
static void vjp_wrong(const ebb_vjp *v)
{
    ebb_node square = ebb_square(v->inputs[0]);
    v->gradients[0] = ebb_mul(v->cotangents[0], ebb_add(square, square));
}

/* Right, until it is differentiated: 3 x stop(x). */
static void vjp_wrong_twice(const ebb_vjp *v)
{
    ebb_node x = v->inputs[0], square = ebb_mul(x, ebb_stop_gradient(x));
    v->gradients[0] = ebb_mul(v->cotangents[0], ebb_mul(square, ebb_full_like(x, 3)));
}

static void vjp_cube(const ebb_vjp *v)
{
    ebb_node x = v->inputs[0];
    v->gradients[0] = ebb_mul(v->cotangents[0], ebb_mul(ebb_square(x), ebb_full_like(x, 3)));
}

/* x as it lies: no cube. */
static bool view_wrong(const ebb_view *view)
{
    *view->result_layout = *view->input_layout;
    return true;
}

static const ebb_sample cube_samples[] = {
    { .inputs = EBB_INPUTS(EBB_SAMPLE_TYPE(F64, 3, 5)) },
    { .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(F64)) },
};

#define CUBE(text, rule, ...)                                                                      \
    {                                                                                              \
        .name = text, .summary = "x^3", .group = "test", .n_inputs = 1, .n_results = 1,            \
        .infer = infer_same, .eval = eval_cube, .vjp = rule, .samples = cube_samples,              \
        .n_samples = 2, __VA_ARGS__                                                                \
    }

static const struct {
    ebb_op op;
    disagreement what;
} wrong[] = {
    { CUBE("wrong_gradient", vjp_wrong, ), WRONG_GRADIENT },
    { CUBE("wrong_second", vjp_wrong_twice, ), WRONG_SECOND_GRADIENT },
    { CUBE("wrong_view", vjp_cube, .traits = EBB_TRAIT_VIEW, .view = view_wrong), WRONG_VALUE },
};

START_TEST(wrong_ops_are_found_and_shrunk)
{
    const ebb_op *op = &wrong[_i].op;
    int n_found = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        graph_case c;
        agreement_options options = { .order = 2, .ways = OPTIMIZED_F64_WAYS, .seed = seed };
        random_case_init(
            &c, &(random_case_options){ .seed = seed, .n_ops = 16, .focus = &op, .n_focus = 1 });
        int n_before = graph_case_n_ops(&c);
        agreement a = check_agreement(&c, &options);
        if (a.what) {
            char *text = shrink_and_print(&c, &options, &a);
            ck_assert_msg(a.what == wrong[_i].what, "%s\n%s", a.message, text);
            ck_assert_msg(strstr(text, op->name), "%s", text);
            ck_assert_msg(graph_case_n_ops(&c) <= 2 && n_before > 2, "of %d nodes:\n%s", n_before,
                          text);
            free(text);
            n_found++;
        }
        graph_case_finish(&c);
    }
    ck_assert_int_ge(n_found, 15);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("random graphs");
    TCase *tests = tcase_create("random graphs");
    tcase_set_timeout(tests, 3600);
    tcase_add_test(tests, graphs_agree);
    tcase_add_test(tests, seeds_tell_graphs_apart);
    tcase_add_loop_test(tests, wrong_ops_are_found_and_shrunk, 0,
                        (int)(sizeof wrong / sizeof *wrong));
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
