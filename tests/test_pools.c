/* The pass pools: relu goes behind max_pool where only the pool and both gradients read it, and the
 * same bits come out. The pass join: the same gradients, by fewer steps. */
#include "passes/passes.h"
#include "support/runner.h"
#include "support/runtime.h"

#include <math.h>
#include <stdlib.h>

enum { BATCH = 2, CHANNELS = 3, SIZE = 11, N = BATCH * CHANNELS * SIZE * SIZE };

/* x -> relu -> max_pool -> loss, with the gradient of x. */
typedef struct net {
    ebb_graph *graph;
    ebb_node x, relu, y, loss, dx;
} net;

typedef enum further_reader { NOBODY, OUTPUT, SECOND_POOL, SUM, RAW_GRADIENT } further_reader;

static net build(ebb_dtype dtype, ebb_pool_attrs attrs, further_reader reader)
{
    net n = { .graph = ebb_graph_create("pools") };
    n.x = ebb_input(n.graph, "x", dtype, EBB_SHAPE(BATCH, CHANNELS, SIZE, SIZE));
    n.relu = ebb_named(ebb_relu(n.x), "out_r");
    n.y = ebb_named(ebb_max_pool(n.relu, attrs), "out_y");
    n.loss = ebb_reduce_sum(ebb_sin(n.y), EBB_ALL_AXES, false);
    if (reader == SECOND_POOL)
        n.loss = ebb_add(
            n.loss,
            ebb_reduce_sum(ebb_max_pool(n.relu, (ebb_pool_attrs){ .window = EBB_INTS(4, 4) }),
                           EBB_ALL_AXES, false));
    if (reader == SUM)
        n.loss = ebb_add(n.loss, ebb_reduce_sum(n.relu, EBB_ALL_AXES, false));
    const ebb_node by = reader == RAW_GRADIENT ? n.relu : n.x;
    ck_assert_int_eq(ebb_gradients(n.loss, &by, 1, &n.dx), EBB_OK);
    return n;
}

static int64_t count_hits(further_reader reader, bool with_gradient)
{
    const net n = build(EBB_F32, (ebb_pool_attrs){ .window = EBB_INTS(2, 2) }, reader);
    const ebb_node outputs[3] = { n.loss, reader == OUTPUT ? n.relu : n.y, n.dx };
    uint32_t *map = calloc(ebb_graph_n_nodes(n.graph) + 1, sizeof *map);
    ebb_graph *made;
    ebb_error error;
    int64_t hits;
    ck_assert_msg(!ebb_pass_run("pools", n.graph, outputs, with_gradient ? 3 : 2, NULL, &made, map,
                                &hits, &error),
                  "%s", error.message);
    if (hits) { /* relu and its mask work on what is pooled */
        const ebb_node y = ebb_graph_node(made, map[n.y.id]);
        ck_assert_str_eq(ebb_node_op(y)->name, "relu");
        ck_assert_str_eq(ebb_node_name(y), "out_y");
        if (with_gradient)
            ck_assert_str_eq(ebb_node_op(ebb_graph_node(made, map[n.dx.id]))->name,
                             "max_pool_grad");
    }
    ebb_graph_destroy(made);
    ebb_graph_destroy(n.graph);
    free(map);
    return hits;
}

START_TEST(applies_where_nobody_else_reads)
{
    ck_assert_int_eq(count_hits(NOBODY, true), 1);
    ck_assert_int_eq(count_hits(NOBODY, false), 1);
    ck_assert_int_eq(count_hits(OUTPUT, true), 0);
    ck_assert_int_eq(count_hits(SECOND_POOL, true), 0);
    ck_assert_int_eq(count_hits(SUM, true), 0);
    ck_assert_int_eq(count_hits(RAW_GRADIENT, true), 0);
}
END_TEST

/* clang-format off */
static const ebb_pool_attrs windows[] = {
    { .window = { 2, { 2, 2 } } },
    { .window = { 2, { 3, 3 } }, .stride = { 2, { 2, 2 } } },
    { .window = { 2, { 3, 3 } }, .stride = { 2, { 2, 2 } }, .padding = { 2, { 1, 1 } } },
    { .window = { 2, { 3, 2 } }, .stride = { 2, { 1, 3 } }, .ceil_mode = true },
    { .window = { 2, { 2, 2 } }, .dilation = { 2, { 3, 2 } }, .stride = { 2, { 2, 1 } } },
};
/* clang-format on */

/* Many ties, zeros of both signs, windows without a positive value, NaN and infinities. */
static double value_at(int i)
{
    static const double special[] = { NAN, -INFINITY, INFINITY, -0.0, 0.0 };
    const unsigned hash = ((unsigned)i + 1) * 2654435761U >> 16;
    if (i / SIZE % 4 == 3)
        return -(double)(hash % 5);
    return hash % 19 == 0 ? special[hash / 19 % 5] : (double)(hash % 7) - 4;
}

/* With the pass and without, in F32 and F64. */
START_TEST(same_bits)
{
    const ebb_pool_attrs attrs = windows[_i / 2];
    const ebb_dtype dtype = _i % 2 ? EBB_F64 : EBB_F32;
    double results[2][2][N] = { { { 0 } } }; /* used as memory for either type */
    double x[N];
    for (int i = 0; i < N; i++) {
        if (dtype == EBB_F64)
            x[i] = value_at(i);
        else
            ((float *)x)[i] = (float)value_at(i);
    }
    for (int off = 0; off < 2; off++) {
        const net n = build(dtype, attrs, NOBODY);
        const ebb_node fetches[] = { n.y, n.dx };
        ebb_executable *e = compile_with(n.graph, &(ebb_compile_options){ .fetches = fetches,
                                                                          .n_fetches = 2,
                                                                          .backend = "reference",
                                                                          .skip_passes = off });
        run(e, &FEED(n.x, x), 1,
            (ebb_fetch[]){ FETCH(n.y, results[off][0]), FETCH(n.dx, results[off][1]) }, 2);
        ebb_executable_destroy(e);
        ebb_graph_destroy(n.graph);
    }
    if (dtype == EBB_F32) {
        for (int i = 0; i < 2 * 2 * 2 * N; i++) /* one NaN is as good as another */
            if (isnan(((float *)results)[i]))
                ((float *)results)[i] = 99;
    } else {
        for (int i = 0; i < 2 * 2 * N; i++)
            if (isnan(((double *)results)[i]))
                ((double *)results)[i] = 99;
    }
    ck_assert_int_eq(memcmp(results[0], results[1], sizeof results[0]), 0);
}
END_TEST

/* ---- a convolution before a pool, and its gradients ---- */

enum { SIDE = 12, MOST_IMAGES = 29, FILTERS = 6, TAPS = 25 };

static int count_steps(const ebb_executable *e, const char *op)
{
    ebb_step_info info;
    int n = 0;
    for (int64_t i = 0; ebb_executable_step(e, i, &info); i++)
        n += strcmp(info.op, op) == 0;
    return n;
}

/* A step of a small net: with the ops that work on the maxima alone, and with the parts. 29 images
 * are enough for the forward kernel, two are not. */
START_TEST(joined_is_unjoined)
{
    const int n_threads = _i % 2 + 1, n_images = _i / 2 ? MOST_IMAGES : 2;
    static float x[MOST_IMAGES * SIDE * SIDE], results[2][2][FILTERS * FILTERS * TAPS];
    int64_t n_steps[2];
    for (int i = 0; i < MOST_IMAGES * SIDE * SIDE; i++)
        x[i] = (float)sin(i * i);
    for (int off = 0; off < 2; off++) {
        ebb_graph *g = ebb_graph_create("join");
        ebb_store *store = ebb_store_create(NULL);
        const ebb_node in = ebb_input(g, "x", EBB_F32, EBB_SHAPE(n_images, 1, SIDE, SIDE));
        ebb_nn_conv_options conv = { .name = "c1", .window = EBB_INTS(5, 5) };
        ebb_node y = ebb_nn_conv(in, FILTERS, &conv);
        y = ebb_max_pool(ebb_relu(y), (ebb_pool_attrs){ .window = EBB_INTS(2, 2) });
        conv = (ebb_nn_conv_options){ .name = "c2",
                                      .window = EBB_INTS(3, 3),
                                      .conv = { .padding = EBB_INTS(1) } };
        y = ebb_nn_conv(y, FILTERS, &conv);
        y = ebb_max_pool(ebb_relu(y), (ebb_pool_attrs){ .window = EBB_INTS(2, 2) });
        const ebb_node loss = ebb_reduce_sum(ebb_square(y), EBB_ALL_AXES, false);
        const ebb_node by[2] = { ebb_graph_find(g, "c1/w"), ebb_graph_find(g, "c2/w") };
        ebb_node gradients[2];
        ck_assert_msg(!ebb_gradients(loss, by, 2, gradients), "%s", ebb_graph_message(g));
        ebb_executable *e = compile_with(
            g, &(ebb_compile_options){ .fetches = gradients,
                                       .n_fetches = 2,
                                       .store = store,
                                       .n_threads = n_threads,
                                       .skip_fusions = off ? "join,norms,programs" : NULL });
        memset(results[off], 0, sizeof results[off]);
        run(e, &FEED(in, x), 1,
            (ebb_fetch[]){ FETCH(gradients[0], results[off][0]),
                           FETCH(gradients[1], results[off][1]) },
            2);
        n_steps[off] = ebb_executable_get_stats(e).n_steps;
        ck_assert_int_eq(count_steps(e, "conv_max_pool"), !off && _i / 2 ? 2 : 0);
        ebb_executable_destroy(e);
        ebb_store_destroy(store);
        ebb_graph_destroy(g);
    }
    /* Both max_pool_grad are gone. */
    ck_assert_int_le(n_steps[0], n_steps[1] - 2);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < FILTERS * FILTERS * TAPS; i++)
            ck_assert_msg(fabs((double)results[0][k][i] - (double)results[1][k][i]) <=
                              1e-4 * (1 + fabs((double)results[1][k][i])),
                          "gradient %d, element %d: %g, %g", k, i, (double)results[0][k][i],
                          (double)results[1][k][i]);
}
END_TEST

/* What the pool reads is fetched, too, or pooled twice; windows overlap; few images: nothing is
 * joined. Or it is. */
START_TEST(joins_forward)
{
    enum { JOINED, FETCHED, POOLED_TWICE, OVERLAPPING, FEW_IMAGES };
    static float x[MOST_IMAGES * SIDE * SIDE], y[MOST_IMAGES * 1000], z[MOST_IMAGES * 1000];
    ebb_graph *g = ebb_graph_create("forward");
    ebb_store *store = ebb_store_create(NULL);
    const int n_images = _i == FEW_IMAGES ? 8 : 16;
    const ebb_pool_attrs pool = { .window = EBB_INTS(2, 2),
                                  .stride = EBB_INTS(_i == OVERLAPPING ? 1 : 2, 2) };
    const ebb_node in = ebb_input(g, "x", EBB_F32, EBB_SHAPE(n_images, 1, SIDE, SIDE));
    const ebb_node c =
        ebb_nn_conv(in, FILTERS, &(ebb_nn_conv_options){ .name = "c", .window = EBB_INTS(3, 3) });
    const ebb_node pooled = ebb_max_pool(c, pool);
    const ebb_node other =
        _i == POOLED_TWICE ? ebb_max_pool(c, (ebb_pool_attrs){ .window = EBB_INTS(3, 3) }) : c;
    const ebb_node fetches[] = { pooled, other };
    const int n_fetches = _i == FETCHED || _i == POOLED_TWICE ? 2 : 1;
    ebb_executable *e = compile_with(
        g, &(ebb_compile_options){ .fetches = fetches, .n_fetches = n_fetches, .store = store });
    run(e, &FEED(in, x), 1, (ebb_fetch[]){ FETCH(pooled, y), FETCH(other, z) }, n_fetches);
    ck_assert_int_eq(count_steps(e, "conv_max_pool"), _i == JOINED);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

/* Not a sample of the op: the kernel is asked about it, and there is nothing to divide. */
START_TEST(no_filters)
{
    float x[16 * 8 * 8] = { 0 }, nothing[1] = { 0 };
    ebb_graph *g = ebb_graph_create("no filters");
    const ebb_node in = ebb_input(g, "x", EBB_F32, EBB_SHAPE(16, 1, 8, 8));
    const ebb_node w = ebb_input(g, "w", EBB_F32, EBB_SHAPE(0, 1, 3, 3));
    const ebb_node c = ebb_conv2d(in, w, EBB_NONE, (ebb_conv_attrs){ 0 });
    const ebb_node y = ebb_max_pool(c, (ebb_pool_attrs){ .window = EBB_INTS(2, 2) });
    const ebb_shape expected = EBB_SHAPE(16, 0, 3, 3);
    ck_assert(ebb_shape_equal(&ebb_node_type(y)->shape, &expected));
    ebb_executable *e =
        compile_with(g, &(ebb_compile_options){ .fetches = &y, .n_fetches = 1, .n_threads = 2 });
    run(e, (ebb_feed[]){ FEED(in, x), FEED(w, nothing) }, 2, &FETCH(y, nothing), 1);
    ck_assert_int_eq(count_steps(e, "conv_max_pool"), 0);
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pools");
    TCase *tcase = tcase_create("relu");
    tcase_add_test(tcase, applies_where_nobody_else_reads);
    tcase_add_loop_test(tcase, same_bits, 0, 2 * (int)(sizeof windows / sizeof *windows));
    tcase_add_loop_test(tcase, joined_is_unjoined, 0, 4);
    tcase_add_loop_test(tcase, joins_forward, 0, 5);
    tcase_add_test(tcase, no_filters);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
