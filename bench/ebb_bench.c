/* ebb-bench: one benchmark case, measured; prints one JSON line with the keys of PyTorch's side
 * (bench_torch.py, which also defines cases, weights and inputs), so that both can be compared step
 * by step.
 *
 *   ebb-bench --case mlp_book [--threads N] [--mode train|infer|both] [--secs S] [--losses K]
 * [--backend B]
 *
 * Numbers: element i of tensor k is u = (splitmix64((k << 40) + i) >> 40) * 2^-24. Weights are (2u
 * - 1) sqrt(6 / fan_in), biases 0, inputs (k = 1000) 2u - 1, labels (k = 1001) the same hash modulo
 * the number of classes. */
#include <ebb/ebb.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void die(const char *what, const char *message)
{
    fprintf(stderr, "ebb-bench: %s: %s\n", what, message);
    exit(1);
}

static uint64_t splitmix64(uint64_t s)
{
    s += UINT64_C(0x9E3779B97F4A7C15);
    s = (s ^ (s >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    s = (s ^ (s >> 27)) * UINT64_C(0x94D049BB133111EB);
    return s ^ (s >> 31);
}

static float uniform(uint64_t k, int64_t i)
{
    return (float)(splitmix64((k << 40) + (uint64_t)i) >> 40) * 0x1p-24F;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Peak resident memory in MB. */
static double peak_mb(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    double kb = 0;
    while (status && fgets(line, sizeof line, status)) {
        if (sscanf(line, "VmHWM: %lf", &kb) == 1)
            break;
    }
    if (status)
        fclose(status);
    return kb / 1024;
}

/* ---- cases ---- */

/* A model in a graph: `x` and `t` are fed, `loss` and `scores` computed, and the graph has the
 * update of one step. */
typedef struct model {
    ebb_node x, t, scores, loss;
    int classes;
} model;

/* y = x w^T + b with w [outputs, inputs], as PyTorch stores it. */
static ebb_node linear(ebb_node x, const char *name, int64_t inputs, int64_t outputs)
{
    ebb_graph *g = x.graph;
    ebb_scope_push(g, name);
    ebb_node w = ebb_variable(g, "w", EBB_F32, EBB_SHAPE(outputs, inputs), NULL);
    ebb_node b = ebb_variable(g, "b", EBB_F32, EBB_SHAPE(outputs), NULL);
    ebb_node y = ebb_add(ebb_matmul_with(x, w, (ebb_matmul_attrs){ .transpose_b = true }), b);
    ebb_scope_pop(g);
    return y;
}

/* x [100,784] - 50 - ReLU - 10 - softmax with loss; SGD 0.1. */
static model build_mlp_book(ebb_graph *g)
{
    model m = { .classes = 10 };
    m.x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(100, 784));
    m.t = ebb_input(g, "t", EBB_I32, EBB_SHAPE(100));
    m.scores = linear(ebb_relu(linear(m.x, "fc1", 784, 50)), "fc2", 50, 10);
    m.loss = ebb_softmax_cross_entropy(m.scores, m.t);
    if (ebb_nn_minimize(m.loss, &(ebb_nn_sgd){ .rate = 0.1 }))
        die("minimize", ebb_graph_message(g));
    return m;
}

static const struct bench_case {
    const char *name;
    model (*build)(ebb_graph *g);
} cases[] = {
    { "mlp_book", build_mlp_book },
};
enum { N_CASES = sizeof cases / sizeof *cases };

/* ---- measuring ---- */

typedef struct options {
    const struct bench_case *which;
    const char *mode, *backend;
    int n_threads, n_losses;
    double seconds;
} options;

static options parse_options(int argc, char **argv)
{
    options o = { NULL, "both", NULL, 1, 0, 2 };
    for (int i = 1; i < argc; i += 2) { /* every option has a value, but --list */
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--list")) {
            for (int c = 0; c < N_CASES; c++)
                puts(cases[c].name);
            exit(0);
        } else if (!strcmp(argv[i], "--case")) {
            for (int c = 0; c < N_CASES; c++) {
                if (!strcmp(cases[c].name, value))
                    o.which = &cases[c];
            }
        } else if (!strcmp(argv[i], "--mode")) {
            o.mode = value;
        } else if (!strcmp(argv[i], "--backend")) {
            o.backend = value;
        } else if (!strcmp(argv[i], "--threads")) {
            o.n_threads = atoi(value);
        } else if (!strcmp(argv[i], "--losses")) {
            o.n_losses = atoi(value);
        } else if (!strcmp(argv[i], "--secs")) {
            o.seconds = atof(value);
        } else if (strcmp(argv[i], "--dtype") != 0 || strcmp(value, "f32") != 0) {
            die("unknown option", argv[i]);
        }
    }
    if (!o.which)
        die("--case", "give one of --list");
    return o;
}

/* Fills the store in the order of the graph's variables: k = 0, 1, 2 ... */
static void fill_store(ebb_graph *g, ebb_store *store)
{
    uint64_t k = 0;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(g); id++) {
        ebb_node node = ebb_graph_node(g, id);
        if (!(ebb_node_op(node)->traits & EBB_TRAIT_VARIABLE))
            continue;
        const ebb_type *type = ebb_node_type(node);
        ebb_tensor value;
        char name[512];
        snprintf(name, sizeof name, "%s%s", ebb_node_scope(node), ebb_node_name(node));
        if (ebb_tensor_init(&value, *type, NULL))
            die(name, "out of memory");
        int64_t n = ebb_shape_elements(&type->shape);
        if (type->shape.rank >= 2) {
            float bound = (float)sqrt(6.0 / ((double)n / (double)type->shape.dims[0]));
            for (int64_t i = 0; i < n; i++)
                ((float *)value.data)[i] = (2 * uniform(k, i) - 1) * bound;
        }
        if (ebb_store_set(store, name, &value))
            die(name, ebb_store_message(store));
        ebb_tensor_finish(&value);
        k++;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run_once(ebb_executable *executable, const ebb_feed *feeds, ebb_fetch *fetch)
{
    if (ebb_run(executable, feeds, 2, fetch, fetch ? 1 : 0))
        die("run", ebb_executable_message(executable));
}

enum { MOST_RUNS = 1000000 };

/* Median milliseconds of a run without fetching. */
static double measure(ebb_executable *executable, const ebb_feed *feeds, double seconds,
                      int *n_runs)
{
    double *times = malloc(MOST_RUNS * sizeof *times), end = now_ms() + seconds * 1e3;
    if (!times)
        die("measure", "out of memory");
    for (int i = 0; i < 5; i++)
        run_once(executable, feeds, NULL);
    int n = 0;
    while (n < MOST_RUNS && (n < 5 || now_ms() < end)) {
        double start = now_ms();
        run_once(executable, feeds, NULL);
        times[n++] = now_ms() - start;
    }
    qsort(times, (size_t)n, sizeof *times, compare_doubles);
    double median = times[n / 2];
    free(times);
    *n_runs = n;
    return median;
}

static ebb_executable *compile(ebb_graph *g, const ebb_compile_options *o)
{
    ebb_executable *executable;
    if (ebb_compile(g, o, &executable))
        die("compile", ebb_graph_message(g));
    return executable;
}

static void bench_training(ebb_graph *g, const model *m, ebb_store *store, const ebb_feed *feeds,
                           const options *o, double start)
{
    ebb_executable *step = compile(g, &(ebb_compile_options){ .fetches = &m->loss,
                                                              .n_fetches = 1,
                                                              .store = store,
                                                              .backend = o->backend,
                                                              .n_threads = o->n_threads });
    float loss = 0;
    ebb_fetch fetch = { m->loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &loss) };
    double compiled = now_ms();
    run_once(step, feeds, &fetch);
    printf(", \"compile_ms\": %.2f, \"first_step_ms\": %.2f", compiled - start, now_ms() - start);
    if (o->n_losses) {
        printf(", \"losses\": [%.6f", (double)loss);
        for (int i = 1; i < o->n_losses; i++) {
            run_once(step, feeds, &fetch);
            printf(", %.6f", (double)loss);
        }
        printf("]");
    }
    int n;
    double ms = measure(step, feeds, o->seconds, &n);
    printf(", \"train_ms\": %.4f, \"train_iters\": %d, \"train_rss_mb\": %.1f", ms, n, peak_mb());
    ebb_executable_destroy(step);
}

static void bench_inference(ebb_graph *g, const model *m, ebb_store *store, const ebb_feed *feeds,
                            const options *o)
{
    ebb_executable *infer = compile(g, &(ebb_compile_options){ .fetches = &m->scores,
                                                               .n_fetches = 1,
                                                               .store = store,
                                                               .skip_updates = true,
                                                               .backend = o->backend,
                                                               .n_threads = o->n_threads });
    int n;
    double ms = measure(infer, feeds, o->seconds, &n);
    printf(", \"infer_ms\": %.4f, \"infer_iters\": %d, \"infer_rss_mb\": %.1f", ms, n, peak_mb());
    ebb_executable_destroy(infer);
}

int main(int argc, char **argv)
{
    options o = parse_options(argc, argv);
    double start = now_ms();
    ebb_graph *g = ebb_graph_create(o.which->name);
    ebb_store *store = ebb_store_create(NULL);
    if (!g || !store)
        die("start", "out of memory");
    model m = o.which->build(g);
    if (ebb_graph_status(g))
        die("build", ebb_graph_message(g));
    fill_store(g, store);

    ebb_tensor x, t;
    if (ebb_tensor_init(&x, *ebb_node_type(m.x), NULL) ||
        ebb_tensor_init(&t, *ebb_node_type(m.t), NULL))
        die("inputs", "out of memory");
    for (int64_t i = 0; i < ebb_shape_elements(&x.type.shape); i++)
        ((float *)x.data)[i] = 2 * uniform(1000, i) - 1;
    for (int64_t i = 0; i < ebb_shape_elements(&t.type.shape); i++)
        ((int32_t *)t.data)[i] =
            (int32_t)(splitmix64((UINT64_C(1001) << 40) + (uint64_t)i) % (uint64_t)m.classes);
    ebb_feed feeds[] = { { m.x, x }, { m.t, t } };

    printf("{\"case\": \"%s\", \"dtype\": \"f32\", \"threads\": %d, \"backend\": \"%s\"",
           o.which->name, o.n_threads, o.backend ? o.backend : "onednn");
    if (strcmp(o.mode, "infer") != 0)
        bench_training(g, &m, store, feeds, &o, start);
    if (strcmp(o.mode, "train") != 0)
        bench_inference(g, &m, store, feeds, &o);
    printf("}\n");
    ebb_tensor_finish(&x);
    ebb_tensor_finish(&t);
    ebb_graph_destroy(g);
    ebb_store_destroy(store);
    return 0;
}
