/* graph-cost: what building, differentiating and compiling cost per node, on chains of growing
 * length: the figures must stay the same (linear). Nodes: tiny element-wise ones (f32[16]).
 * Compiling is per node of the graph with its gradients. Then what running costs: forward and
 * backward, per node of a chain of mul and add, as one program and node by node.
 *
 *   graph-cost [LONGEST]      default 1000000 */
#include <ebb/ebb.h>

#include <math.h>
#include <stdbool.h>
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

typedef struct chain {
    ebb_graph *graph;
    ebb_node x, a, loss, gradient;
    double built, differentiated; /* when, in us */
    uint32_t n_built, n_all;
} chain;

static chain build_chain(int64_t length, bool with_tanh)
{
    chain c = { .graph = ebb_graph_create("chain") };
    const ebb_shape shape = EBB_SHAPE(16);
    c.x = ebb_input(c.graph, "x", EBB_F32, shape);
    c.a = ebb_input(c.graph, "a", EBB_F32, shape);
    ebb_node y = c.x;
    for (int64_t i = 0; i < length; i++)
        y = with_tanh && i % 3 == 2        ? ebb_tanh(y)
            : i % (with_tanh ? 3 : 2) == 0 ? ebb_mul(y, c.a)
                                           : ebb_add(y, c.a);
    c.loss = ebb_reduce_sum(y, EBB_ALL_AXES, false);
    c.built = now_us();
    c.n_built = ebb_graph_n_nodes(c.graph);
    if (ebb_gradients(c.loss, &c.x, 1, &c.gradient))
        die("gradients", ebb_graph_message(c.graph));
    c.differentiated = now_us();
    c.n_all = ebb_graph_n_nodes(c.graph);
    return c;
}

static ebb_executable *compile_chain(const chain *c, const char *skip_fusions)
{
    ebb_executable *e;
    if (ebb_compile(c->graph,
                    &(ebb_compile_options){ .fetches = (ebb_node[]){ c->loss, c->gradient },
                                            .n_fetches = 2,
                                            .skip_fusions = skip_fusions },
                    &e))
        die("compile", ebb_graph_message(c->graph));
    return e;
}

/* The quickest of some runs, in us. All values and gradients are normal numbers. */
static double run_chain(const chain *c, ebb_executable *e, int n_runs)
{
    float values[16], out[16], sum;
    for (int i = 0; i < 16; i++)
        values[i] = 0.95F + 0.003F * (float)i;
    const ebb_tensor data = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(16), values);
    const ebb_feed feeds[] = { { c->x, data }, { c->a, data } };
    const ebb_fetch fetches[] = { { c->loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &sum) },
                                  { c->gradient, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(16), out) } };
    double best = INFINITY;
    for (int i = 0; i < n_runs; i++) {
        const double start = now_us();
        if (ebb_run(e, feeds, 2, fetches, 2))
            die("run", ebb_executable_message(e));
        best = fmin(best, now_us() - start);
    }
    return best;
}

static void measure_compile(int64_t length)
{
    const double start = now_us();
    const chain c = build_chain(length, true);
    ebb_executable *e = compile_chain(&c, NULL);
    const double compiled = now_us();
    const ebb_executable_stats stats = ebb_executable_get_stats(e);
    printf("%9lld %9u | %6.3f %6.3f %6.3f | %9lld %7.1f %7.1f\n", (long long)length, c.n_all,
           (c.built - start) / c.n_built, (c.differentiated - c.built) / (c.n_all - c.n_built),
           (compiled - c.differentiated) / c.n_all, (long long)stats.n_steps,
           (double)stats.arena_bytes / 1e6, (double)stats.unplanned_bytes / 1e6);
    ebb_executable_destroy(e);
    ebb_graph_destroy(c.graph);
}

static void measure_run(int64_t length)
{
    const chain c = build_chain(length, false);
    double times[2];
    int64_t n_steps[2];
    for (int is_apart = 0; is_apart < 2; is_apart++) {
        ebb_executable *e = compile_chain(&c, is_apart ? "programs" : NULL);
        n_steps[is_apart] = ebb_executable_get_stats(e).n_steps;
        times[is_apart] = run_chain(&c, e, 2000);
        ebb_executable_destroy(e);
    }
    printf("%9lld %9u | %6lld %8.2f | %6lld %8.2f\n", (long long)length, c.n_all,
           (long long)n_steps[0], times[0] * 1e3 / (double)length, (long long)n_steps[1],
           times[1] * 1e3 / (double)length);
    ebb_graph_destroy(c.graph);
}

int main(int argc, char **argv)
{
    int64_t longest = argc > 1 ? atoll(argv[1]) : 1000000;
    printf("%9s %9s | %20s | %25s\n", "", "nodes", "us per node", "");
    printf("%9s %9s | %6s %6s %6s | %9s %7s %7s\n", "chain", "in all", "build", "diff", "compile",
           "steps", "MB", "MB raw");
    for (int64_t length = 1000; length <= longest; length *= 10)
        measure_compile(length);
    printf("\n%9s %9s | %15s | %15s\n", "a run", "nodes", "fused", "unfused");
    printf("%9s %9s | %6s %8s | %6s %8s\n", "chain", "in all", "steps", "ns/node", "steps",
           "ns/node");
    for (int64_t length = 10; length <= 1000; length *= 10)
        measure_run(length);
    return 0;
}
