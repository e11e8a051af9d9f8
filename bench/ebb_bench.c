/* ebb-bench: one benchmark case, measured; prints one JSON line with the keys of PyTorch's side
 * (bench_torch.py, which also defines cases, weights and inputs), so that both can be compared step
 * by step.
 *
 *   ebb-bench --case NAME [--threads N] [--mode train|infer|both] [--secs S] [--losses K]
 *             [--backend B] [--skip-fusions LIST]
 *             [--profile op|scope|kernel|step] [--memory-budget BYTES] [--freeze on|off]
 *             [--autotune off|on|winograd] [--autotune-cache FILE]
 *   ebb-bench --list [train|infer]
 *
 * Times are medians of single runs, in milliseconds. With --profile a table of where they went
 * follows on stderr (taking the times costs a little itself). Inference runs the frozen model, as
 * PyTorch's TorchScript variants do; --freeze off: the graph as it was built. */
#include "bench/cases.h"

#include "ops/descriptors.h"
#include "ops/random.h"
#include "runtime/store.h"

#include <ebb/model.h>
#include <ebb/profile.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void die(const char *what, const char *message)
{
    fprintf(stderr, "ebb-bench: %s: %s\n", what, message);
    exit(1);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Peak resident memory in MB since the last reset. */
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

static void reset_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file) {
        fputs("5", file);
        fclose(file);
    }
}

/* ---- options ---- */

typedef struct options {
    const bench_case *which;
    const char *mode, *backend;
    int n_threads, n_losses;
    double seconds;
    bool skip_freeze, autotune;
    double conv_error; /* --autotune winograd */
    const char *autotune_cache, *skip_fusions;
    int64_t memory_budget;
    int profile; /* -1: none; else an ebb_profile_by */
} options;

static void list_cases(const char *mode)
{
    for (int c = 0; c < n_bench_cases; c++) {
        const bool is_wanted = strcmp(mode, "train") == 0   ? bench_cases[c].trains
                               : strcmp(mode, "infer") == 0 ? bench_cases[c].infers
                                                            : true;
        if (is_wanted)
            puts(bench_cases[c].name);
    }
    exit(0);
}

static options parse_options(int argc, char **argv)
{
    options o = { .mode = "both", .n_threads = 1, .seconds = 2, .profile = -1 };
    static const char *const tables[] = { "op", "scope", "kernel", "step" };
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--list"))
            list_cases(value);
        else if (!strcmp(argv[i], "--case")) {
            for (int c = 0; c < n_bench_cases; c++) {
                if (!strcmp(bench_cases[c].name, value))
                    o.which = &bench_cases[c];
            }
        } else if (!strcmp(argv[i], "--mode"))
            o.mode = value;
        else if (!strcmp(argv[i], "--backend"))
            o.backend = value;
        else if (!strcmp(argv[i], "--threads"))
            o.n_threads = atoi(value);
        else if (!strcmp(argv[i], "--losses"))
            o.n_losses = atoi(value);
        else if (!strcmp(argv[i], "--memory-budget"))
            o.memory_budget = strtoll(value, NULL, 10);
        else if (!strcmp(argv[i], "--autotune")) {
            o.autotune = strcmp(value, "off") != 0;
            o.conv_error = strcmp(value, "winograd") ? 0 : 1e-4;
        } else if (!strcmp(argv[i], "--autotune-cache"))
            o.autotune_cache = value;
        else if (!strcmp(argv[i], "--skip-fusions"))
            o.skip_fusions = value;
        else if (!strcmp(argv[i], "--freeze"))
            o.skip_freeze = strcmp(value, "off") == 0;
        else if (!strcmp(argv[i], "--profile")) {
            for (int by = 0; by < 4; by++)
                o.profile = strcmp(value, tables[by]) ? o.profile : by;
        } else if (!strcmp(argv[i], "--secs"))
            o.seconds = atof(value);
        else if (strcmp(argv[i], "--dtype") != 0 || strcmp(value, "f32") != 0)
            die("unknown option", argv[i]);
    }
    if (!o.which)
        die("--case", "give one of --list");
    return o;
}

/* ---- one executable ---- */

typedef struct bench {
    const options *o;
    ebb_graph *graph;
    ebb_store *store;
    ebb_model *frozen; /* in the place of both; NULL: it runs as it was built */
    ebb_executable *executable;
    bench_model model;
    ebb_feed feeds[3];
} bench;

/* Parameters in the order in which they stand in the graph are number 0, 1, 2 ...; other variables
 * (running statistics) get their first values. */
static void fill_store(ebb_graph *g, ebb_store *store)
{
    uint64_t k = 0;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(g); id++) {
        const ebb_node node = ebb_graph_node(g, id);
        if (ebb_node_op(node) != &ebb_op_variable)
            continue;
        const ebb_variable_attrs *attrs = ebb_node_attrs(node);
        const ebb_init init = { .kind = (ebb_init_kind)attrs->init, .a = attrs->a, .b = attrs->b };
        /* In place: the largest weights are most of some models. */
        ebb_store_entry *entry;
        ebb_error error;
        if (ebb_store_add(store, attrs->name, &attrs->type, &entry, &error))
            die(attrs->name, error.message);
        ebb_tensor value = ebb_tensor_borrow(attrs->type.dtype, attrs->type.shape, entry->data);
        if (bench_is_parameter(node))
            bench_fill_parameter(node, k++, &value);
        else
            ebb_init_fill(&init, attrs->name, &value);
    }
}

/* The frozen model takes the place of the graph and of the store, which becomes NULL. */
static void freeze_bench(bench *b)
{
    ebb_error error;
    if (ebb_model_freeze_store(b->model.results, b->model.n_results, &b->store, &b->frozen, &error))
        die("freeze", error.message);
    for (int i = 0; i < b->model.n_feeds; i++) {
        const ebb_input_attrs *attrs = ebb_node_attrs(b->model.feeds[i].node);
        b->model.feeds[i].node = ebb_model_find(b->frozen, attrs->name);
    }
    for (int i = 0; i < b->model.n_results; i++)
        b->model.results[i] = b->frozen->outputs[i];
}

static void start_bench(bench *b, const options *o, bool training)
{
    *b = (bench){ .o = o,
                  .graph = ebb_graph_create(o->which->name),
                  .store = ebb_store_create(NULL) };
    if (!b->graph || !b->store)
        die("start", "out of memory");
    o->which->build(b->graph, training, &b->model);
    if (ebb_graph_status(b->graph))
        die("build", ebb_graph_message(b->graph));
    fill_store(b->graph, b->store);
    if (!training && !o->skip_freeze)
        freeze_bench(b);
    ebb_graph *graph = b->frozen ? b->frozen->graph : b->graph;
    if (ebb_compile(graph,
                    &(ebb_compile_options){ .fetches = b->model.results,
                                            .n_fetches = b->model.n_results,
                                            .store = b->frozen ? b->frozen->store : b->store,
                                            .skip_updates = !training,
                                            .backend = o->backend,
                                            .skip_fusions = o->skip_fusions,
                                            .memory_budget = o->memory_budget,
                                            .autotune = o->autotune,
                                            .autotune_cache = o->autotune_cache,
                                            .conv_error = o->conv_error,
                                            .profile = o->profile >= 0,
                                            .n_threads = o->n_threads },
                    &b->executable))
        die("compile", ebb_graph_message(graph));
    for (int i = 0; i < b->model.n_feeds; i++) {
        ebb_tensor *value = &b->feeds[i].value;
        b->feeds[i].node = b->model.feeds[i].node;
        if (ebb_tensor_init(value, *ebb_node_type(b->feeds[i].node), NULL))
            die("feeds", "out of memory");
        bench_fill(&b->model.feeds[i], value);
    }
}

static void finish_bench(bench *b)
{
    for (int i = 0; i < b->model.n_feeds; i++)
        ebb_tensor_finish(&b->feeds[i].value);
    ebb_executable_destroy(b->executable);
    ebb_model_destroy(b->frozen);
    ebb_graph_destroy(b->graph);
    ebb_store_destroy(b->store);
}

static void run_once(bench *b, float *loss)
{
    ebb_fetch fetch = { b->model.results[0], ebb_tensor_borrow(EBB_F32, EBB_SCALAR, loss) };
    if (ebb_run(b->executable, b->feeds, b->model.n_feeds, &fetch, loss ? 1 : 0))
        die("run", ebb_executable_message(b->executable));
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { MOST_RUNS = 1000000 };

/* Median milliseconds of a run. */
static double measure(bench *b, int *n_runs)
{
    double *times = malloc(MOST_RUNS * sizeof *times);
    if (!times)
        die("measure", "out of memory");
    for (int i = 0; i < 3; i++)
        run_once(b, NULL);
    ebb_profile_reset(b->executable);
    const double end = now_ms() + b->o->seconds * 1e3;
    int n = 0;
    while (n < MOST_RUNS && (n < 5 || now_ms() < end)) {
        const double start = now_ms();
        run_once(b, NULL);
        times[n++] = now_ms() - start;
    }
    qsort(times, (size_t)n, sizeof *times, compare_doubles);
    const double median = times[n / 2];
    free(times);
    ebb_profile_table_options table = { .by = (ebb_profile_by)b->o->profile };
    if (b->o->profile >= 0 && ebb_profile_write_table(b->executable, stderr, &table, NULL))
        die("profile", "cannot be written");
    *n_runs = n;
    return median;
}

/* Not on PyTorch's side: what was planned, and what a memory budget costs. */
static void print_plan(const ebb_executable *executable)
{
    const ebb_memory_plan plan = ebb_executable_memory(executable);
    printf(", \"plan_mb\": %.2f, \"n_recomputed\": %lld, \"more_work\": %.4f",
           (double)plan.peak_bytes / 1e6, (long long)plan.n_recomputed, plan.more_work);
}

static void bench_training(const options *o)
{
    bench b;
    reset_peak();
    const double start = now_ms();
    start_bench(&b, o, true);
    const double compiled = now_ms();
    float loss = 0, *losses = b.model.has_loss ? &loss : NULL;
    run_once(&b, losses);
    printf(", \"compile_ms\": %.2f, \"first_step_ms\": %.2f", compiled - start, now_ms() - start);
    if (o->n_losses && losses) {
        printf(", \"losses\": [%.6f", (double)loss);
        for (int i = 1; i < o->n_losses; i++) {
            run_once(&b, losses);
            printf(", %.6f", (double)loss);
        }
        printf("]");
    }
    int n;
    const double ms = measure(&b, &n);
    printf(", \"train_ms\": %.4f, \"train_iters\": %d, \"train_rss_mb\": %.1f", ms, n, peak_mb());
    print_plan(b.executable);
    finish_bench(&b);
}

static void bench_inference(const options *o)
{
    bench b;
    reset_peak();
    start_bench(&b, o, false);
    int n;
    const double ms = measure(&b, &n);
    printf(", \"infer_ms\": %.4f, \"infer_iters\": %d, \"infer_rss_mb\": %.1f", ms, n, peak_mb());
    finish_bench(&b);
}

int main(int argc, char **argv)
{
    const options o = parse_options(argc, argv);
    printf("{\"case\": \"%s\", \"dtype\": \"f32\", \"threads\": %d, \"backend\": \"%s\"",
           o.which->name, o.n_threads, o.backend ? o.backend : "onednn");
    if (o.which->trains && strcmp(o.mode, "infer") != 0)
        bench_training(&o);
    if (o.which->infers && strcmp(o.mode, "train") != 0)
        bench_inference(&o);
    printf("}\n");
    return 0;
}
