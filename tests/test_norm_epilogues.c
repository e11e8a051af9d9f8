/* Batch normalization with a residual and a relu, as one op and apart: what the pass norms makes of
 * a graph (tests/golden/norms.txt), and the same bits in either order of memory, with one thread
 * and two. */
#include "passes/norms.h"
#include "support/golden.h"
#include "support/runner.h"
#include "support/runtime.h"

#include <math.h>
#include <stdlib.h>

static bool takes_all(void *context, const ebb_op *op, const void *attrs, int n_inputs,
                      const ebb_type *const *inputs, const ebb_type *const *results)
{
    (void)context;
    (void)op;
    (void)attrs;
    for (int i = 0; i < n_inputs; i++)
        ck_assert_int_ge(inputs[i]->shape.rank, 1);
    for (int r = 0; r < op->n_results; r++)
        ck_assert_int_ge(results[r]->shape.rank, 1);
    return true;
}

static ebb_status run_norms(const ebb_graph *graph, const ebb_node *outputs, int n_outputs,
                            ebb_graph **result, uint32_t *map, int64_t *n_hits, ebb_error *error)
{
    const ebb_join_options options = { .takes = takes_all };
    return ebb_norms_run(&options, graph, outputs, n_outputs, result, map, n_hits, error);
}

START_TEST(golden_cases)
{
    golden_check("norms", run_norms, 8);
}
END_TEST

/* ---- values ---- */

enum { BATCH = 4, SIDE = 33, MOST_CHANNELS = 40, N = BATCH * SIDE * SIDE * MOST_CHANNELS };

static int count_steps(const ebb_executable *e, const char *op)
{
    ebb_step_info info;
    int n = 0;
    for (int64_t i = 0; ebb_executable_step(e, i, &info); i++)
        n += strcmp(info.op, op) == 0;
    return n;
}

/* Two layers, the second with a residual; behind convolutions of 1x1, that lie with channels last,
 * or none. Channels have large means, so that it matters what a mean lacks. */
typedef struct net {
    ebb_graph *graph;
    ebb_node x, y, gradients[3];
} net;

static ebb_node layer(ebb_node x, const char *name, bool has_conv, bool inference)
{
    char conv_name[8];
    snprintf(conv_name, sizeof conv_name, "c%s", name);
    const int64_t n_channels = ebb_node_type(x)->shape.dims[1];
    if (has_conv)
        x = ebb_nn_conv(
            x, n_channels,
            &(ebb_nn_conv_options){ .name = conv_name, .window = EBB_INTS(1, 1), .no_bias = true });
    return ebb_nn_batch_norm(
        x, &(ebb_nn_batch_norm_options){ .name = name, .inference = inference, .epsilon = 0.1 });
}

static net build(ebb_dtype dtype, int64_t n_channels, bool has_conv, bool inference)
{
    net n = { .graph = ebb_graph_create("norms") };
    n.x = ebb_input(n.graph, "x", dtype, EBB_SHAPE(BATCH, n_channels, SIDE, SIDE));
    const ebb_node h = ebb_relu(layer(n.x, "one", has_conv, inference));
    n.y = ebb_relu(ebb_add(layer(h, "two", has_conv, inference), h));
    const ebb_node by[3] = { n.x, ebb_graph_find(n.graph, "one/scale"),
                             ebb_graph_find(n.graph, "two/shift") };
    const ebb_node loss = ebb_reduce_sum(ebb_square(n.y), EBB_ALL_AXES, false);
    ck_assert_msg(!ebb_gradients(loss, by, 3, n.gradients), "%s", ebb_graph_message(n.graph));
    return n;
}

typedef struct outcome {
    void *y, *gradients[3];
    float running[MOST_CHANNELS];
} outcome;

static void run_net(ebb_dtype dtype, int64_t n_channels, bool has_conv, bool inference,
                    bool is_apart, int n_threads, const void *x, outcome *o)
{
    const net n = build(dtype, n_channels, has_conv, inference);
    ebb_store *store = ebb_store_create(NULL);
    const ebb_node fetches[] = { n.y, n.gradients[0], n.gradients[1], n.gradients[2] };
    ebb_executable *e =
        compile_with(n.graph, &(ebb_compile_options){ .fetches = fetches,
                                                      .n_fetches = inference ? 1 : 4,
                                                      .store = store,
                                                      .n_threads = n_threads,
                                                      .skip_fusions = is_apart ? "norms" : NULL });
    const int is_one = !is_apart;
    ck_assert_int_eq(count_steps(e, "batch_norm_inference_epilogue"), inference ? 2 * is_one : 0);
    ck_assert_int_eq(count_steps(e, "batch_norm_epilogue"), inference ? 0 : 2 * is_one);
    ck_assert_int_eq(count_steps(e, "batch_norm_relu_grad"), inference ? 0 : is_one);
    for (int i = 0; i < 2; i++)
        run(e, &FEED(n.x, x), 1,
            (ebb_fetch[]){ FETCH(n.y, o->y), FETCH(n.gradients[0], o->gradients[0]),
                           FETCH(n.gradients[1], o->gradients[1]),
                           FETCH(n.gradients[2], o->gradients[2]) },
            inference ? 1 : 4);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(n.graph);
}

/* Bits: dtype, convolutions, inference, few channels. */
START_TEST(same_bits)
{
    const ebb_dtype dtype = _i & 1 ? EBB_F64 : EBB_F32;
    const bool has_conv = _i & 2, inference = _i & 4;
    const int64_t n_channels = _i & 8 ? 3 : MOST_CHANNELS, n = N / MOST_CHANNELS * n_channels;
    double *x = calloc(N, sizeof *x);
    outcome first, other;
    for (int k = 0; k < 2; k++) {
        outcome *o = k ? &other : &first;
        o->y = calloc(N, sizeof(double));
        for (int i = 0; i < 3; i++)
            o->gradients[i] = calloc(N, sizeof(double));
    }
    for (int64_t i = 0; i < n; i++) {
        const double value = sin((double)(i * i)) + 1e3 * (double)(i / SIDE / SIDE % n_channels);
        if (dtype == EBB_F64)
            x[i] = value;
        else
            ((float *)x)[i] = (float)value;
    }
    for (int way = 0; way < 4; way++) {
        run_net(dtype, n_channels, has_conv, inference, way % 2, way / 2 + 1, x,
                way ? &other : &first);
        ck_assert_msg(way == 0 || !memcmp(first.y, other.y, N * sizeof(double)), "way %d: y", way);
        for (int i = 0; i < 3 && way > 0 && (way < 2 || !has_conv); i++)
            ck_assert_msg(!memcmp(first.gradients[i], other.gradients[i], N * sizeof(double)),
                          "way %d: gradient %d", way, i);
        for (int64_t i = 0; i < n; i++)
            ck_assert(isfinite(dtype == EBB_F64 ? ((double *)first.y)[i]
                                                : (double)((float *)first.y)[i]));
    }
    for (int k = 0; k < 2; k++) {
        outcome *o = k ? &other : &first;
        free(o->y);
        for (int i = 0; i < 3; i++)
            free(o->gradients[i]);
    }
    free(x);
}
END_TEST

START_TEST(failing_allocations)
{
    const net n = build(EBB_F32, 3, true, false);
    const ebb_node fetches[] = { n.y, n.gradients[0], n.gradients[1], n.gradients[2] };
    ebb_store *store = ebb_store_create(NULL);
    ck_assert_int_gt(fail_allocations(n.graph, fetches, 4, store), 50);
    ebb_store_destroy(store);
    ebb_graph_destroy(n.graph);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("norm_epilogues");
    TCase *tcase = tcase_create("norms");
    tcase_add_test(tcase, golden_cases);
    tcase_add_test(tcase, failing_allocations);
    tcase_add_loop_test(tcase, same_bits, 0, 16);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
