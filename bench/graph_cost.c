/* graph-cost: what building, differentiating and compiling cost per node, on chains of growing
 * length: the figures must stay the same (linear). Nodes: tiny element-wise ones (f32[16]).
 * Compiling is per node of the graph with its gradients.
 *
 *   graph-cost [LONGEST]      default 1000000 */
#include <ebb/ebb.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void die(const char *what, const char *message)
{
    fprintf(stderr, "graph-cost: %s: %s\n", what, message);
    exit(1);
}

static void measure_chain(int64_t length)
{
    double start = now_us();
    ebb_graph *g = ebb_graph_create("chain");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(16));
    ebb_node a = ebb_input(g, "a", EBB_F32, EBB_SHAPE(16)), y = x;
    for (int64_t i = 0; i < length; i++)
        y = i % 3 == 0 ? ebb_mul(y, a) : i % 3 == 1 ? ebb_add(y, a) : ebb_tanh(y);
    ebb_node loss = ebb_reduce_sum(y, EBB_ALL_AXES, false), gradient;
    double built = now_us();
    uint32_t n_built = ebb_graph_n_nodes(g);
    if (ebb_gradients(loss, &x, 1, &gradient))
        die("gradients", ebb_graph_message(g));
    double differentiated = now_us();
    uint32_t n_all = ebb_graph_n_nodes(g);
    ebb_executable *e;
    ebb_node fetches[] = { loss, gradient };
    if (ebb_compile(g, &(ebb_compile_options){ .fetches = fetches, .n_fetches = 2 }, &e))
        die("compile", ebb_graph_message(g));
    double compiled = now_us();
    ebb_executable_stats stats = ebb_executable_get_stats(e);
    float values[16], out[16], sum;
    for (int i = 0; i < 16; i++)
        values[i] = 0.1F * (float)i;
    ebb_tensor data = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(16), values);
    ebb_feed feeds[] = { { x, data }, { a, data } };
    ebb_fetch fetched[] = { { loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &sum) },
                            { gradient, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(16), out) } };
    double run = 0;
    for (int i = 0; i < 2; i++) { /* the second run is warm */
        double before = now_us();
        if (ebb_run(e, feeds, 2, fetched, 2))
            die("run", ebb_executable_message(e));
        run = now_us() - before;
    }
    printf("%9lld %9u | %6.3f %6.3f %6.3f | %9lld %7.1f %7.1f | %6.1f\n", (long long)length, n_all,
           (built - start) / n_built, (differentiated - built) / (n_all - n_built),
           (compiled - differentiated) / n_all, (long long)stats.n_steps,
           (double)stats.arena_bytes / 1e6, (double)stats.unplanned_bytes / 1e6,
           run * 1e3 / (double)stats.n_steps);
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
}

int main(int argc, char **argv)
{
    int64_t longest = argc > 1 ? atoll(argv[1]) : 1000000;
    printf("%9s %9s | %20s | %25s | %6s\n", "", "nodes", "us per node", "", "ns per");
    printf("%9s %9s | %6s %6s %6s | %9s %7s %7s | %6s\n", "chain", "in all", "build", "diff",
           "compile", "steps", "MB", "MB raw", "step");
    for (int64_t length = 1000; length <= longest; length *= 10)
        measure_chain(length);
    return 0;
}
