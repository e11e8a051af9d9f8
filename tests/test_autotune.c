/* Choosing between ways to compute a convolution by measuring: every way that the oneDNN backend
 * names computes what it computes by itself, Winograd comes only where it is allowed, and the file
 * of choices is written, read, and ignored where it does not fit. Which way wins is never asked. */
#include "backends/backends.h"
#include "ops/random.h"
#include "tests/support/files.h"
#include "tests/support/runtime.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a backend that takes the way it is told ---- */

typedef struct forcing {
    const char *name; /* of the way; where there is none of this name, oneDNN decides */
    int nth;          /* without a name: the way of this number */
    int n_forced;
} forcing;

static int score(const ebb_backend *backend, const ebb_region *region)
{
    (void)backend;
    return ebb_backend_onednn.score(&ebb_backend_onednn, region);
}

static bool wish(const ebb_backend *backend, const ebb_region *region, ebb_layout *inputs,
                 ebb_layout *results)
{
    (void)backend;
    return ebb_backend_onednn.layouts(&ebb_backend_onednn, region, inputs, results);
}

static ebb_status compile_forced(const ebb_backend *backend, const ebb_region *region,
                                 const ebb_compile_env *env, ebb_kernel *kernel)
{
    forcing *f = (forcing *)(uintptr_t)backend->user;
    ebb_choice choices[24];
    const int n = ebb_backend_onednn.choices(&ebb_backend_onednn, region, choices, 24);
    ebb_compile_env forced = *env;
    for (int i = 0; i < n; i++)
        if (f->name ? strcmp(choices[i].name, f->name) == 0 : i == f->nth)
            forced.choice = choices[i].name;
    ebb_status status = ebb_backend_onednn.compile(&ebb_backend_onednn, region, &forced, kernel);
    f->n_forced += forced.choice && !status;
    if (status != EBB_UNSUPPORTED || !forced.choice)
        return status;
    return ebb_backend_onednn.compile(&ebb_backend_onednn, region, env, kernel);
}

/* ---- a convolution with its gradients ---- */

typedef struct shape_case {
    ebb_shape x;
    int64_t filters, window, stride, padding;
    bool has_residual, is_steady; /* steady: without gradients, weights from a store */
} shape_case;

/* clang-format off */
#define S(...) { (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), { __VA_ARGS__ } }
static const shape_case cases[] = {
    { S(4, 32, 14, 14), 32, 3, 1, 1, false, false },
    { S(2, 64, 9, 7), 48, 3, 1, 1, false, false },
    { S(2, 17, 12, 12), 33, 3, 1, 1, false, false },
    { S(4, 64, 14, 14), 64, 3, 1, 0, false, false },
    { S(3, 64, 6, 6), 64, 3, 1, 1, true, false },
    { S(3, 64, 6, 6), 64, 3, 1, 1, true, true },
    { S(2, 64, 28, 28), 64, 3, 1, 1, false, true },
    { S(2, 32, 10, 10), 64, 1, 1, 0, false, false },
    { S(2, 16, 15, 15), 16, 5, 2, 2, false, true },
    { S(16, 64, 4, 4), 64, 3, 1, 1, false, false },
    { S(2, 3, 20, 20), 16, 3, 1, 1, false, false },
    /* These are computed in blocks unless something else is chosen. */
    { S(2, 256, 4, 4), 512, 3, 1, 1, false, false },
    { S(2, 512, 4, 4), 512, 3, 1, 1, true, true },
    { S(2, 1024, 7, 7), 1024, 1, 1, 0, false, false },
    /* Ebb's own kernel computes this with AVX-512. */
    { S(16, 64, 4, 4), 64, 3, 1, 1, false, true },
};
/* clang-format on */
enum { N_CASES = sizeof cases / sizeof *cases, MAX_FETCHES = 4 };

typedef struct built {
    ebb_graph *graph;
    ebb_store *store;
    ebb_node inputs[4], fetches[MAX_FETCHES];
    int n_inputs, n_fetches;
} built;

static built build(const shape_case *c)
{
    built b = { .graph = ebb_graph_create("tune"), .store = ebb_store_create(NULL) };
    const ebb_shape w_shape = EBB_SHAPE(c->filters, c->x.dims[1], c->window, c->window);
    ebb_node x = b.inputs[b.n_inputs++] = ebb_input(b.graph, "x", EBB_F32, c->x), w, bias;
    if (c->is_steady) {
        w = ebb_variable(b.graph, "w", EBB_F32, w_shape,
                         &(ebb_init){ .kind = EBB_INIT_UNIFORM, .a = -1, .b = 1, .seed = 3 });
        bias = ebb_variable(b.graph, "b", EBB_F32, EBB_SHAPE(c->filters), &(ebb_init){ .a = 0.5 });
    } else {
        w = b.inputs[b.n_inputs++] = ebb_input(b.graph, "w", EBB_F32, w_shape);
        bias = b.inputs[b.n_inputs++] = ebb_input(b.graph, "b", EBB_F32, EBB_SHAPE(c->filters));
    }
    ebb_node y = ebb_conv2d(
        x, w, bias,
        (ebb_conv_attrs){ .stride = { 1, { c->stride } }, .padding = { 1, { c->padding } } });
    if (c->has_residual)
        y = ebb_relu(ebb_add(y, x));
    b.fetches[b.n_fetches++] = y;
    if (!c->is_steady) {
        ebb_node dy = ebb_input(b.graph, "dy", EBB_F32, ebb_node_type(y)->shape);
        ck_assert_int_eq(ebb_gradients_with(&y, &dy, 1, b.inputs, 3, b.fetches + 1), EBB_OK);
        b.inputs[b.n_inputs++] = dy;
        b.n_fetches = 4;
    }
    ck_assert_msg(!ebb_graph_status(b.graph), "%s", ebb_graph_message(b.graph));
    return b;
}

static void drop(built *b)
{
    ebb_graph_destroy(b->graph);
    ebb_store_destroy(b->store);
}

static ebb_executable *compile_built(const built *b, ebb_compile_options options)
{
    options.fetches = b->fetches;
    options.n_fetches = b->n_fetches;
    options.store = b->store;
    return compile_with(b->graph, &options);
}

static void compute(const built *b, ebb_executable *e, ebb_tensor results[MAX_FETCHES])
{
    ebb_feed feeds[4];
    ebb_fetch fetches[MAX_FETCHES];
    for (int i = 0; i < b->n_inputs; i++) {
        feeds[i].node = b->inputs[i];
        ck_assert(!ebb_tensor_init(&feeds[i].value, *ebb_node_type(b->inputs[i]), NULL));
        const ebb_init init = { .kind = EBB_INIT_UNIFORM, .a = -1, .b = 1, .seed = 7 };
        ebb_init_fill(&init, &"xwbd"[i], &feeds[i].value);
    }
    for (int i = 0; i < b->n_fetches; i++) {
        ck_assert(!ebb_tensor_init(&results[i], *ebb_node_type(b->fetches[i]), NULL));
        fetches[i] = (ebb_fetch){ b->fetches[i], results[i] };
    }
    for (int again = 0; again < 2; again++)
        run(e, feeds, b->n_inputs, fetches, b->n_fetches);
    for (int i = 0; i < b->n_inputs; i++)
        ebb_tensor_finish(&feeds[i].value);
}

/* Relative to the largest value. */
static void compare(const built *b, const ebb_tensor *have, const ebb_tensor *want,
                    double tolerance, const char *label)
{
    for (int f = 0; f < b->n_fetches; f++) {
        double largest = 0, worst = 0;
        for (int64_t i = 0; i < ebb_shape_elements(&want[f].type.shape); i++) {
            const double x = ebb_tensor_get(&have[f], i), y = ebb_tensor_get(&want[f], i);
            largest = fmax(largest, fabs(y));
            worst = x == x ? fmax(worst, fabs(x - y)) : INFINITY;
        }
        ck_assert_msg(worst <= tolerance * largest, "%s: result %d: %g of %g", label, f, worst,
                      largest);
    }
}

static void finish(const built *b, ebb_tensor *results)
{
    for (int i = 0; i < b->n_fetches; i++)
        ebb_tensor_finish(&results[i]);
}

/* How many steps the way was taken for. */
static int check_forced(const shape_case *c, const char *name, int nth, int n_threads)
{
    forcing f = { name, nth, 0 };
    const ebb_backend forced = {
        .name = "forced", .score = score, .compile = compile_forced, .layouts = wish, .user = &f
    };
    const ebb_backend *const list[] = { &forced, &ebb_backend_native, &ebb_backend_reference };
    ebb_tensor want[MAX_FETCHES], have[MAX_FETCHES];
    char label[120];
    snprintf(label, sizeof label, "case %d, %s, way %d, %d threads", (int)(c - cases),
             name ? name : "any", nth, n_threads);
    built b = build(c);
    ebb_executable *e = compile_built(&b, (ebb_compile_options){ .n_threads = n_threads });
    compute(&b, e, want);
    ebb_executable_destroy(e);
    e = compile_built(
        &b, (ebb_compile_options){ .backends = list, .n_backends = 3, .n_threads = n_threads });
    compute(&b, e, have);
    /* Winograd with tiles of 4x4: a larger error, in single elements of the gradient of weights. */
    compare(&b, have, want, name ? 1e-4 : 2e-5, label);
    ebb_executable_destroy(e);
    finish(&b, want);
    finish(&b, have);
    drop(&b);
    return f.n_forced;
}

START_TEST(all_ways_agree)
{
    for (int n_threads = 1; n_threads <= 2; n_threads++) {
        check_forced(&cases[_i], "winograd", 0, n_threads);
        check_forced(&cases[_i], "rows", 0, n_threads);
        for (int nth = 0; nth < 24 && check_forced(&cases[_i], NULL, nth, n_threads); nth++) {
        }
    }
}
END_TEST

/* The backend names ways for plain convolutions, and refuses names that it did not give. */
START_TEST(names_ways)
{
    ck_assert_int_gt(check_forced(&cases[0], NULL, 0, 1), 0);
    ck_assert_int_gt(check_forced(&cases[0], "rows", 0, 1), 0);
    ck_assert_int_eq(check_forced(&cases[0], "other", 0, 1), 0);
    ck_assert_int_eq(check_forced(&cases[8], "winograd", 0, 1), 0);
}
END_TEST

/* ---- autotune ---- */

typedef struct lines {
    char text[16384];
    int n_warnings;
} lines;

static void keep_line(void *context, ebb_log_level level, const char *message)
{
    lines *l = context;
    const size_t n = strlen(l->text);
    snprintf(l->text + n, sizeof l->text - n, "%s\n", message);
    l->n_warnings += level == EBB_LOG_WARNING;
}

static bool uses_winograd(const ebb_executable *e)
{
    ebb_step_info step;
    for (int64_t i = 0; ebb_executable_step(e, i, &step); i++)
        if (strstr(step.implementation, "wino"))
            return true;
    return false;
}

START_TEST(agrees_and_keeps_off_winograd)
{
    const shape_case *c = &cases[_i];
    ebb_tensor want[MAX_FETCHES], have[MAX_FETCHES];
    built b = build(c);
    lines log = { "", 0 };
    ebb_executable *e = compile_built(&b, (ebb_compile_options){ .n_threads = 1 });
    compute(&b, e, want);
    ebb_executable_destroy(e);
    e = compile_built(
        &b, (ebb_compile_options){ .n_threads = 1, .autotune = true, .log = { keep_line, &log } });
    ck_assert(!uses_winograd(e));
    ck_assert_msg(!strstr(log.text, "wino"), "%s", log.text);
    CHECK_TEXT(log.text, "autotune: conv");
    compute(&b, e, have);
    compare(&b, have, want, 2e-5, "autotune");
    ebb_executable_destroy(e);
    finish(&b, have);
    e = compile_built(
        &b, (ebb_compile_options){ .n_threads = 1, .autotune = true, .conv_error = 1e-4 });
    compute(&b, e, have);
    compare(&b, have, want, 1e-4, "winograd");
    ebb_executable_destroy(e);
    finish(&b, have);
    finish(&b, want);
    drop(&b);
}
END_TEST

/* A bound that no way but the own one can meet. */
START_TEST(a_bound_is_kept)
{
    built b = build(&cases[0]);
    ebb_executable *e =
        compile_built(&b, (ebb_compile_options){ .autotune = true, .conv_error = 1e-12 });
    ck_assert(!uses_winograd(e));
    ebb_executable_destroy(e);
    drop(&b);
}
END_TEST

static void compile_cached(const built *b, const char *path, lines *log, bool plan_only)
{
    *log = (lines){ "", 0 };
    ebb_executable_destroy(compile_built(b, (ebb_compile_options){ .n_threads = 1,
                                                                   .autotune = true,
                                                                   .plan_only = plan_only,
                                                                   .autotune_cache = path,
                                                                   .log = { keep_line, log } }));
}

/* The second time nothing is timed, and the file stays as it is. */
START_TEST(a_file_keeps_choices)
{
    built b = build(&cases[0]);
    const char *path = file_path("choices.txt");
    lines log;
    size_t n, again;
    compile_cached(&b, path, &log, true);
    ck_assert_int_ne(access(path, F_OK), 0);
    compile_cached(&b, path, &log, false);
    CHECK_TEXT(log.text, "ways: ");
    ck_assert_int_eq(log.n_warnings, 0);
    char *first = file_read(path, &n);
    ck_assert_ptr_nonnull(first);
    ck_assert_int_eq(strncmp(first, "ebb-autotune 1\tEbb ", 19), 0);
    CHECK_TEXT(first, "oneDNN ");
    CHECK_TEXT(first, "\nonednn conv{");
    CHECK_TEXT(first, "threads=1 error=0\t");
    compile_cached(&b, path, &log, false);
    ck_assert_msg(!strstr(log.text, "ways: "), "%s", log.text);
    ck_assert_int_eq(log.n_warnings, 0);
    char *second = file_read(path, &again);
    ck_assert_str_eq(first, second);
    ck_assert_int_eq(file_count(), 1);
    free(first);
    free(second);
    drop(&b);
}
END_TEST

/* Each change of a good file makes it useless; it is made anew. */
START_TEST(another_file_is_not_used)
{
    static const char *const says[] = { "of another version or processor",
                                        "no file of choices",
                                        "broken",
                                        "broken",
                                        "broken",
                                        "no file of choices",
                                        "of another version or processor" };
    built b = build(&cases[7]);
    const char *path = file_path("choices.txt");
    lines log;
    size_t n, again;
    compile_cached(&b, path, &log, false);
    char *good = file_read(path, &n);
    char *text = malloc(n + 64);
    ck_assert(good && text);
    memcpy(text, good, n + 1);
    size_t length = n;
    char *tab = strchr(strchr(text, '\n'), '\t');
    switch (_i) {
    case 0:
        *strstr(text, "Ebb ") = 'X';
        break;
    case 1:
        text[0] = 'X';
        break;
    case 2:
        length--;
        break;
    case 3:
        *tab = ' ';
        break;
    case 4:
        tab[1] = '\n';
        break;
    case 5:
        length = 0;
        break;
    default:
        *strstr(text, "oneDNN ") = 'X';
        break;
    }
    ck_assert_str_eq(file_make("choices.txt", text, length), path);
    compile_cached(&b, path, &log, false);
    CHECK_TEXT(log.text, says[_i]);
    CHECK_TEXT(log.text, "ways: ");
    ck_assert_int_eq(log.n_warnings, 1);
    char *anew = file_read(path, &again);
    ck_assert_uint_eq(strcspn(anew, "\n"), strcspn(good, "\n"));
    compile_cached(&b, path, &log, false);
    ck_assert_msg(!strstr(log.text, "ways: "), "%s", log.text);
    ck_assert_int_eq(log.n_warnings, 0);
    free(anew);
    free(good);
    free(text);
    drop(&b);
}
END_TEST

/* Ways that the backend has not, and one that is not allowed. */
START_TEST(a_choice_that_is_none_is_made_anew)
{
    static const char *const bad[] = { "other", "winograd" };
    built b = build(&cases[6]);
    const char *path = file_path("choices.txt");
    lines log;
    size_t n;
    compile_cached(&b, path, &log, false);
    char *good = file_read(path, &n), *text = malloc(n + 64);
    char *tab = strchr(strchr(good, '\n'), '\t');
    ck_assert(good && text && tab);
    const int length = snprintf(text, n + 64, "%.*s\t%s\n", (int)(tab - good), good, bad[_i]);
    file_make("choices.txt", text, (size_t)length);
    compile_cached(&b, path, &log, false);
    char expected[64];
    snprintf(expected, sizeof expected, "autotune: %s is no choice for this conv", bad[_i]);
    CHECK_TEXT(log.text, expected);
    CHECK_TEXT(log.text, "ways: ");
    compile_cached(&b, path, &log, false);
    ck_assert_int_eq(log.n_warnings, 0);
    free(good);
    free(text);
    drop(&b);
}
END_TEST

/* The way may be one of a backend that is not the one taken by default. */
START_TEST(another_backend_may_be_chosen)
{
    static const struct {
        const char *choice, *backend;
    } takers[] = { { "default", "native" },
                   { "onednn:default", "onednn" },
                   { "onednn:winograd", "onednn" } };
    built b = build(&cases[N_CASES - 1]);
    const char *path = file_path("choices.txt");
    ebb_compile_options options = {
        .n_threads = 1, .autotune = true, .conv_error = 1e-2, .autotune_cache = path
    };
    ebb_tensor want[MAX_FETCHES], have[MAX_FETCHES];
    ebb_step_info step;
    size_t n;
    ebb_executable *e = compile_built(&b, (ebb_compile_options){ .n_threads = 1 });
    compute(&b, e, want);
    ebb_executable_destroy(e);
    ebb_executable_destroy(compile_built(&b, options));
    char *good = file_read(path, &n), *key = strstr(good, "\nnative conv"), *text = malloc(n + 64);
    ck_assert(good && text);
    if (key) {
        const char *tab = strchr(key + 1, '\t');
        ck_assert_ptr_nonnull(tab);
        const int length =
            snprintf(text, n + 64, "%.*s\t%s\n", (int)(tab - good), good, takers[_i].choice);
        file_make("choices.txt", text, (size_t)length);
        e = compile_built(&b, options);
        bool found = false;
        for (int64_t i = 0; ebb_executable_step(e, i, &step); i++)
            found = found ||
                    (strcmp(step.op, "conv") == 0 && strcmp(step.backend, takers[_i].backend) == 0);
        ck_assert_msg(found, "%s: not with %s", takers[_i].choice, takers[_i].backend);
        ck_assert_int_eq(uses_winograd(e), strstr(takers[_i].choice, "winograd") != NULL);
        compute(&b, e, have);
        compare(&b, have, want, 1e-3, takers[_i].choice);
        ebb_executable_destroy(e);
        finish(&b, have);
    }
    finish(&b, want);
    free(good);
    free(text);
    drop(&b);
    if (!key)
        SKIP_TEST("no kernel of Ebb's own for this convolution without AVX-512");
}
END_TEST

START_TEST(a_file_that_cannot_be_written_is_no_failure)
{
    built b = build(&cases[7]);
    lines log;
    compile_cached(&b, "/no/such/folder/choices.txt", &log, false);
    CHECK_TEXT(log.text, "autotune: cannot write /no/such/folder/choices.txt: No such file");
    ck_assert_int_eq(log.n_warnings, 1);
    ck_assert_int_eq(mkdir(file_path("folder"), 0700), 0);
    compile_cached(&b, file_path("folder"), &log, false);
    CHECK_TEXT(log.text, "autotune: cannot write ");
    ck_assert_int_eq(file_count(), 1);
    drop(&b);
}
END_TEST

START_TEST(refuses_what_makes_no_sense)
{
    static const struct {
        ebb_compile_options options;
        const char *says;
    } rows[] = {
        { { .conv_error = 1e-4 }, "compile: conv_error without autotune" },
        { { .autotune_cache = "x" }, "compile: autotune_cache without autotune" },
        { { .autotune = true, .conv_error = -1 }, "compile: a conv_error of -1" },
        { { .autotune = true, .conv_error = NAN }, "compile: a conv_error of " },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        built b = build(&cases[0]);
        ebb_compile_options options = rows[i].options;
        options.fetches = b.fetches;
        options.n_fetches = 1;
        refuse(b.graph, &options, EBB_BAD_ARGUMENT, rows[i].says);
        drop(&b);
    }
}
END_TEST

START_TEST(survives_failing_allocations)
{
    for (int64_t fail_after = 0;; fail_after += 1 + fail_after / 8) {
        built b = build(&cases[7]);
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        meter.fail_after = fail_after;
        ebb_executable *e = NULL;
        ebb_status status = ebb_compile(b.graph,
                                        &(ebb_compile_options){ .fetches = b.fetches,
                                                                .n_fetches = b.n_fetches,
                                                                .n_threads = 1,
                                                                .autotune = true,
                                                                .conv_error = 1e-4,
                                                                .allocator = &meter.allocator },
                                        &e);
        ck_assert_int_eq(status, meter.n_refused ? EBB_OUT_OF_MEMORY : EBB_OK);
        ebb_executable_destroy(e);
        ck_assert_int_eq(meter.n_live, 0);
        drop(&b);
        if (!status)
            break;
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("autotune");
    TCase *tcase = tcase_create("autotune");
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, all_ways_agree, 0, N_CASES);
    tcase_add_test(tcase, names_ways);
    tcase_add_loop_test(tcase, agrees_and_keeps_off_winograd, 0, N_CASES);
    tcase_add_test(tcase, a_bound_is_kept);
    tcase_add_test(tcase, a_file_keeps_choices);
    tcase_add_loop_test(tcase, another_file_is_not_used, 0, 7);
    tcase_add_loop_test(tcase, a_choice_that_is_none_is_made_anew, 0, 2);
    tcase_add_loop_test(tcase, another_backend_may_be_chosen, 0, 3);
    tcase_add_test(tcase, a_file_that_cannot_be_written_is_no_failure);
    tcase_add_test(tcase, refuses_what_makes_no_sense);
    tcase_add_test(tcase, survives_failing_allocations);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
