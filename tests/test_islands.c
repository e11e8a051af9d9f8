/* Images in blocks from one convolution to the next (docs/decisions/0007-convolutions.md): a
 * training step whose convolutions are Winograd's, and what lies between them, against the same
 * step with the channels innermost. */
#include "backends/backends.h"
#include "ops/random.h"
#include "tests/support/files.h"
#include "tests/support/runtime.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- oneDNN, with images in blocks wherever they may be ---- */

static ebb_status compile_winograd(const ebb_backend *backend, const ebb_region *region,
                                   const ebb_compile_env *env, ebb_kernel *kernel)
{
    (void)backend;
    ebb_compile_env forced = *env;
    forced.choice = "winograd";
    if (ebb_backend_onednn.compile(&ebb_backend_onednn, region, &forced, kernel) == EBB_OK)
        return EBB_OK;
    *kernel = (ebb_kernel){ 0 };
    return ebb_backend_onednn.compile(&ebb_backend_onednn, region, env, kernel);
}

static bool wish_blocks(const ebb_backend *backend, const ebb_region *region, ebb_layout *inputs,
                        ebb_layout *results)
{
    (void)backend;
    if (!ebb_backend_onednn.layouts(&ebb_backend_onednn, region, inputs, results))
        return false;
    (void)ebb_backend_onednn.choice_layouts(&ebb_backend_onednn, region, "winograd", inputs,
                                            results);
    return true;
}

/* ---- a step ---- */

enum { N_FETCHES = 2, N_X = 8 * 16 * 12 * 12 };

static ebb_node conv(ebb_node x, int64_t filters, const char *name, int64_t window, int64_t stride)
{
    return ebb_nn_conv(x, filters,
                       &(ebb_nn_conv_options){ .name = name,
                                               .window = { 1, { window } },
                                               .conv = { .stride = { 1, { stride } },
                                                         .padding = { 1, { window / 2 } } } });
}

static ebb_node norm(ebb_node x, const char *name)
{
    return ebb_nn_batch_norm(x, &(ebb_nn_batch_norm_options){ .name = name });
}

typedef struct step {
    ebb_graph *graph;
    ebb_store *store;
    ebb_node x, fetches[N_FETCHES];
} step;

static step build_step(void)
{
    step s = { .graph = ebb_graph_create("islands"), .store = ebb_store_create(NULL) };
    s.x = ebb_input(s.graph, "x", EBB_F32, EBB_SHAPE(8, 16, 12, 12));
    ebb_node h = ebb_relu(norm(conv(s.x, 32, "c1", 3, 1), "n1"));
    h = ebb_mul(ebb_tanh(norm(h, "n3")), ebb_sigmoid(norm(ebb_square(h), "n4")));
    h = ebb_relu(ebb_add(norm(conv(h, 32, "c2", 3, 1), "n2"), h));
    h = ebb_max_pool(h, (ebb_pool_attrs){ .window = { 1, { 3 } }, .stride = { 1, { 2 } } });
    h = ebb_tanh(conv(h, 48, "c3", 3, 1));
    h = ebb_add(h, conv(h, 48, "c4", 1, 1));
    h = ebb_avg_pool(h, (ebb_pool_attrs){ .window = { 1, { 2 } } });
    h = conv(h, 16, "c5", 3, 2);
    ebb_node loss = ebb_reduce_mean(ebb_square(h), EBB_ALL_AXES, false);
    s.fetches[0] = loss;
    ck_assert_int_eq(ebb_gradients(loss, &s.x, 1, &s.fetches[1]), EBB_OK);
    ck_assert_int_eq(
        ebb_nn_minimize(loss, &(ebb_nn_rule){ .method = EBB_NN_MOMENTUM, .rate = 0.01 }), EBB_OK);
    return s;
}

static void drop_step(step *s)
{
    ebb_graph_destroy(s->graph);
    ebb_store_destroy(s->store);
}

typedef struct outcome {
    float loss, dx[N_X];
} outcome;

static void take_steps(const step *s, ebb_executable *e, outcome *o)
{
    ebb_tensor x;
    ck_assert(!ebb_tensor_init(&x, *ebb_node_type(s->x), NULL));
    ebb_init_fill(&(ebb_init){ .kind = EBB_INIT_NORMAL, .b = 1, .seed = 5 }, "x", &x);
    for (int i = 0; i < 3; i++)
        run(e, &(ebb_feed){ s->x, x }, 1,
            (ebb_fetch[]){ FETCH(s->fetches[0], &o->loss), FETCH(s->fetches[1], o->dx) }, 2);
    ebb_tensor_finish(&x);
}

static ebb_executable *compile_step(const step *s, ebb_compile_options options)
{
    options.fetches = s->fetches;
    options.n_fetches = N_FETCHES;
    options.store = s->store;
    return compile_with(s->graph, &options);
}

/* Differences relative to the largest value. */
static void compare(const outcome *have, const outcome *want, double tolerance)
{
    double largest = 0, worst = 0;
    for (int i = 0; i < N_X; i++) {
        largest = fmax(largest, fabs((double)want->dx[i]));
        worst = fmax(worst, fabs((double)have->dx[i] - (double)want->dx[i]));
    }
    ck_assert_msg(largest > 0 && worst <= tolerance * largest, "%g of %g", worst, largest);
    ck_assert_double_le(fabs((double)have->loss / (double)want->loss - 1), tolerance);
}

/* Steps whose kernel says `part`. */
static int count_steps(const ebb_executable *e, const char *part)
{
    ebb_step_info info;
    int n = 0;
    for (int64_t i = 0; ebb_executable_step(e, i, &info); i++)
        n += strstr(info.implementation, part) != NULL;
    return n;
}

/* All three 3x3 convolutions of stride 1 in all directions; nothing is copied between them but what
 * goes in and out, and what a tie of layouts brings. */
START_TEST(one_island)
{
    ebb_backend blocks = ebb_backend_onednn;
    blocks.compile = compile_winograd;
    blocks.layouts = wish_blocks;
    const ebb_backend *const list[] = { &blocks, &ebb_backend_native, &ebb_backend_reference };
    static outcome want, have;
    step s = build_step(), plain = build_step();
    ebb_executable *e = compile_step(&plain, (ebb_compile_options){ .n_threads = _i + 1 });
    take_steps(&plain, e, &want);
    ebb_executable_destroy(e);
    e = compile_step(
        &s, (ebb_compile_options){ .backends = list, .n_backends = 3, .n_threads = _i + 1 });
    take_steps(&s, e, &have);
    compare(&have, &want, 1e-4);
    if (count_steps(e, "wino")) {
        ck_assert_int_eq(count_steps(e, "wino"), 9);
        ck_assert_int_eq(count_steps(e, "channels_"), 0);
        ck_assert_int_eq(count_steps(e, "channel_blocks"), 12);
        ck_assert_int_le(ebb_executable_get_stats(e).n_reorders, 3);
    }
    ebb_executable_destroy(e);
    drop_step(&s);
    drop_step(&plain);
}
END_TEST

/* In plans with less memory the bits are the same. Here with other convolutions than Winograd's,
 * whose scratch is most of the memory of so small a step. */
START_TEST(budgets_keep_bits)
{
    ebb_backend blocks = ebb_backend_onednn;
    blocks.layouts = wish_blocks;
    const ebb_backend *const list[] = { &blocks, &ebb_backend_native, &ebb_backend_reference };
    ebb_compile_options options = { .backends = list, .n_backends = 3, .n_threads = _i + 1 };
    static outcome outcomes[2];
    for (int i = 0; i < 2; i++) {
        step s = build_step();
        ebb_executable *e = compile_step(&s, options);
        ck_assert_int_eq(ebb_executable_memory(e).n_recomputed > 0, i);
        take_steps(&s, e, &outcomes[i]);
        options.memory_budget = (int64_t)ebb_executable_memory(e).peak_bytes - 1;
        ebb_executable_destroy(e);
        drop_step(&s);
    }
    ck_assert_int_eq(memcmp(&outcomes[0], &outcomes[1], sizeof *outcomes), 0);
}
END_TEST

/* A file that says Winograd for each convolution that may be: the tuner's choice brings the images
 * into blocks. */
START_TEST(choices_make_islands)
{
    const char *path = file_path("choices.txt");
    const ebb_compile_options tuned = {
        .n_threads = 1, .autotune = true, .conv_error = 1e-4, .autotune_cache = path
    };
    static outcome want, have;
    step s = build_step(), plain = build_step();
    ebb_executable *e = compile_step(&plain, (ebb_compile_options){ .n_threads = 1 });
    take_steps(&plain, e, &want);
    ebb_executable_destroy(e);
    for (int round = 0; round < 8; round++) { /* other layouts are other lines */
        size_t n;
        e = compile_step(&s, tuned);
        ebb_executable_destroy(e);
        char *text = file_read(path, &n), *rest = text;
        char *changed = malloc(2 * n + 1), *to = changed;
        ck_assert(text && changed);
        for (int line = 0; *rest; line++) {
            const size_t length = strcspn(rest, "\n"), key = strcspn(rest, "\t");
            const char *found = strstr(rest, "stride=[1,1], padding=[1");
            const bool may_be = line > 0 && found && found < rest + length;
            to += sprintf(to, "%.*s%s\n", (int)(may_be ? key : length), rest,
                          may_be ? "\twinograd" : "");
            rest += length + (rest[length] == '\n');
        }
        file_make("choices.txt", changed, (size_t)(to - changed));
        free(changed);
        free(text);
    }
    e = compile_step(&s, tuned);
    take_steps(&s, e, &have);
    compare(&have, &want, 1e-4);
    if (count_steps(e, "wino"))
        ck_assert_int_gt(count_steps(e, "channel_blocks"), 0);
    ebb_executable_destroy(e);
    drop_step(&s);
    drop_step(&plain);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("islands");
    TCase *tcase = tcase_create("islands");
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, one_island, 0, 2);
    tcase_add_loop_test(tcase, budgets_keep_bits, 0, 2);
    tcase_add_test(tcase, choices_make_islands);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
