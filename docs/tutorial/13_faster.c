/* Going faster: what fusion saves, where the time goes, how many threads. */
#include <ebb/ebb.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

/* ---- fusion: x/2 (1 + tanh(0.8 (x + 0.0447 x^3))), written out ---- */

static ebb_node bend(ebb_node x)
{
    ebb_graph *g = x.graph;
    ebb_node cube = ebb_mul(ebb_mul(x, ebb_square(x)), ebb_scalar(g, EBB_F32, 0.0447));
    ebb_node inner = ebb_mul(ebb_add(x, cube), ebb_scalar(g, EBB_F32, 0.8));
    ebb_node half = ebb_mul(x, ebb_scalar(g, EBB_F32, 0.5));
    return ebb_mul(half, ebb_add(ebb_tanh(inner), ebb_scalar(g, EBB_F32, 1)));
}

/* Milliseconds of the fastest of 20 runs. */
static double best_time(ebb_executable *run, const ebb_feed *feeds, int n_feeds)
{
    double best = 1e9;
    for (int i = 0; i < 20; i++) {
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        if (ebb_run(run, feeds, n_feeds, NULL, 0) != EBB_OK)
            stop(ebb_executable_message(run));
        clock_gettime(CLOCK_MONOTONIC, &end);
        double ms = (double)(end.tv_sec - start.tv_sec) * 1e3 +
                    (double)(end.tv_nsec - start.tv_nsec) * 1e-6;
        best = ms < best ? ms : best;
    }
    return best;
}

static void fusion(void)
{
    enum { N = 1000 };
    ebb_graph *g = ebb_graph_create("bend");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(N, N));
    ebb_node y = bend(x);
    float *data = calloc(N * N, sizeof *data);
    if (!data)
        stop("no memory");
    ebb_feed feed = { x, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(N, N), data) };
    double times[2];
    for (int fused = 0; fused < 2; fused++) {
        ebb_executable *run;
        ebb_compile_options options = {
            .fetches = &y, .n_fetches = 1, .n_threads = 1, .skip_fusions = fused ? NULL : "programs"
        };
        if (ebb_compile(g, &options, &run) != EBB_OK)
            stop(ebb_graph_message(g));
        ebb_executable_stats stats = ebb_executable_get_stats(run);
        printf("%s: %d steps, %d MB for values between them\n", fused ? "fused" : "one by one",
               (int)stats.n_steps, (int)(stats.arena_bytes / 1000000));
        times[fused] = best_time(run, &feed, 1);
        ebb_executable_destroy(run);
    }
    printf("%.2f ms and %.2f ms\n\n", times[0], times[1]);
    free(data);
    ebb_graph_destroy(g);
}

/* ---- a profile: one training step of the convolutional net of chapter 11 ---- */

static void profile(void)
{
    enum { BATCH = 50 };
    ebb_graph *g = ebb_graph_create("convnet");
    ebb_node x = ebb_input(g, "images", EBB_F32, EBB_SHAPE(BATCH, 1, 28, 28));
    ebb_node t = ebb_input(g, "labels", EBB_I32, EBB_SHAPE(BATCH));
    const ebb_pool_attrs halve = { .window = EBB_INTS(2, 2) };
    ebb_nn_conv_options conv1 = { .name = "conv1", .window = EBB_INTS(5) };
    ebb_nn_conv_options conv2 = { .name = "conv2", .window = EBB_INTS(5) };
    ebb_node y = ebb_max_pool(ebb_relu(ebb_nn_conv(x, 8, &conv1)), halve);
    y = ebb_max_pool(ebb_relu(ebb_nn_conv(y, 16, &conv2)), halve);
    y = ebb_nn_linear(ebb_flatten(y, 1), 10, &(ebb_nn_linear_options){ .name = "scores" });
    ebb_node loss = ebb_softmax_cross_entropy(y, t);

    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *step;
    ebb_compile_options options = {
        .fetches = &loss, .n_fetches = 1, .store = store, .n_threads = 1, .profile = true
    };
    if (ebb_nn_minimize(loss, &(ebb_nn_rule){ .rate = 0.1 }) != EBB_OK ||
        ebb_compile(g, &options, &step) != EBB_OK)
        stop(ebb_graph_message(g));
    ebb_executable_stats stats = ebb_executable_get_stats(step);
    printf("%.1f MB planned, %.1f MB without sharing\n", (double)stats.arena_bytes * 1e-6,
           (double)stats.unplanned_bytes * 1e-6);

    static float images[BATCH * 784];
    int32_t labels[BATCH] = { 0 };
    ebb_feed feeds[] = { { x, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(BATCH, 1, 28, 28), images) },
                         { t, ebb_tensor_borrow(EBB_I32, EBB_SHAPE(BATCH), labels) } };
    best_time(step, feeds, 2); /* to warm up */
    ebb_profile_reset(step);
    best_time(step, feeds, 2);
    ebb_error error;
    ebb_profile_table_options table = { .by = EBB_PROFILE_BY_OP, .n_rows = 5 };
    if (ebb_profile_write_table(step, stdout, &table, &error) != EBB_OK)
        stop(error.message);
    ebb_executable_destroy(step);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}

int main(void)
{
    fusion();
    profile();
    return 0;
}
