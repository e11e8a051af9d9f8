/* ebb bench: what the machine can do, and how close a graph comes. */
#include "bench/machine.h"
#include "ops/random.h"
#include "tool.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct bench_job {
    const char *weights, *by, *trace;
    int n_rows, milliseconds;
    tool_ways ways;
    ebb_compile_options options;
    bool updates;
    tool_words feed;
    tool_graph graph;
    tool_value given[TOOL_MAX_WORDS];
    int n_given;
    ebb_feed *feeds; /* all inputs */
    int n_feeds;
    ebb_tensor *random; /* those of them that were not given; owned */
    int n_random;
    ebb_node *outputs;
    int n_outputs;
    ebb_store *store;
    ebb_executable *executable;
    ebb_machine_limits limits;
    ebb_error error;
} bench_job;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static ebb_status out_of_memory(bench_job *job)
{
    return ebb_fail(&job->error, EBB_OUT_OF_MEMORY, "out of memory");
}

/* A given value, or a random one: floats uniform in [0, 1), integers 0. */
static ebb_status feed_input(bench_job *job, ebb_node node)
{
    ebb_feed *feed = &job->feeds[job->n_feeds++];
    char name[TOOL_NAME_BYTES];
    feed->node = node;
    for (int i = 0; i < job->n_given; i++) {
        if (job->given[i].node.id == node.id) {
            feed->value = job->given[i].tensor;
            return EBB_OK;
        }
    }
    ebb_tensor *value = &job->random[job->n_random];
    if (ebb_tensor_init(value, *ebb_node_type(node), NULL))
        return out_of_memory(job);
    job->n_random++;
    const bool is_float = ebb_dtype_is_float(value->type.dtype);
    ebb_init init = { .kind = is_float ? EBB_INIT_UNIFORM : EBB_INIT_CONSTANT,
                      .b = is_float,
                      .seed = 1 };
    ebb_init_fill(&init, tool_full_name(node, name), value);
    feed->value = *value;
    return EBB_OK;
}

static ebb_status prepare(bench_job *job, const char *path)
{
    ebb_status status = tool_graph_read(&job->graph, path, &job->error);
    if (!status)
        status = tool_values_read(&job->graph, &job->feed, "--feed", false, false, job->given,
                                  &job->n_given, &job->error);
    if (!status)
        status = tool_graph_outputs(&job->graph, &job->outputs, &job->n_outputs, &job->error);
    if (status)
        return status;
    const size_t n = (size_t)ebb_graph_n_nodes(job->graph.graph) + 1;
    job->feeds = calloc(n, sizeof *job->feeds);
    job->random = calloc(n, sizeof *job->random);
    job->store = ebb_store_create(NULL);
    if (!job->feeds || !job->random || !job->store)
        return out_of_memory(job);
    for (uint32_t id = 1; id < n && !status; id++) {
        ebb_node node = ebb_graph_node(job->graph.graph, id);
        if (tool_is_input(node))
            status = feed_input(job, node);
    }
    if (!status && job->weights)
        status = ebb_store_load(job->store, job->weights, &job->error);
    return status;
}

static ebb_status run_once(bench_job *job)
{
    ebb_status status = ebb_run(job->executable, job->feeds, job->n_feeds, NULL, 0);
    return status ? ebb_fail(&job->error, status, "%s", ebb_executable_message(job->executable))
                  : EBB_OK;
}

static ebb_status measure(bench_job *job)
{
    job->options.fetches = job->outputs;
    job->options.n_fetches = job->n_outputs;
    job->options.store = job->store;
    job->options.skip_updates = !job->updates;
    job->options.profile = true;
    const double start = now_ms();
    ebb_status status = ebb_compile(job->graph.graph, &job->options, &job->executable);
    if (status)
        return ebb_fail(&job->error, status, "%s", ebb_graph_message(job->graph.graph));
    const double compiled = now_ms();
    if ((status = run_once(job)) != EBB_OK)
        return status;
    printf("compiled in %.1f ms; first run %.2f ms\n", compiled - start, now_ms() - compiled);
    for (int i = 0; i < 2 && !status; i++)
        status = run_once(job);
    ebb_profile_reset(job->executable);
    const double end = now_ms() + job->milliseconds;
    do {
        status = status ? status : run_once(job);
    } while (!status && now_ms() < end);
    return status;
}

static ebb_status write_trace(void *context, FILE *out, ebb_error *error)
{
    return ebb_profile_write_trace(((const bench_job *)context)->executable, out, error);
}

static const char *const tables[] = { "op", "scope", "kernel", "step" };

static ebb_status report(bench_job *job)
{
    ebb_profile_table_options options = { .n_rows = job->n_rows, .limits = job->limits };
    while (strcmp(tables[options.by], job->by) != 0)
        options.by++;
    ebb_status status = ebb_profile_write_table(job->executable, stdout, &options, &job->error);
    if (!status && job->trace)
        status = ebb_file_write(job->trace, write_trace, job, &job->error);
    return status;
}

static ebb_status bench_graph(bench_job *job, const char *path)
{
    ebb_status status = prepare(job, path);
    if (!status)
        status = measure(job);
    return status ? status : report(job);
}

static void finish(bench_job *job)
{
    ebb_executable_destroy(job->executable);
    ebb_store_destroy(job->store);
    for (int i = 0; i < job->n_random; i++)
        ebb_tensor_finish(&job->random[i]);
    free(job->random);
    free(job->feeds);
    free(job->outputs);
    tool_values_finish(job->given, job->n_given);
    tool_graph_finish(&job->graph);
}

static bool is_table(const char *name)
{
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        if (strcmp(tables[i], name) == 0)
            return true;
    }
    return false;
}

int tool_bench(const tool_command *command, int argc, char **argv)
{
    bench_job *job = calloc(1, sizeof *job);
    if (!job)
        return tool_complain(command, TOOL_FAILED, "out of memory");
    job->by = "op";
    job->ways.n_threads = 1;
    job->milliseconds = 1000;
    tool_words paths = { .n = 0 };
    /* clang-format off */
    const tool_option table[] = {
        { "--feed", TOOL_PAIRS, &job->feed, "x=FILE.npy|NUMBER", "the value of an input [random; integers 0]", 0 },
        { "--weights", TOOL_TEXT, &job->weights, "FILE.safetensors", "values of variables", 0 },
        { "--updates", TOOL_FLAG, &job->updates, NULL, "apply the graph's updates", 0 },
        { "--by", TOOL_TEXT, &job->by, "NAME", "rows: op, scope, kernel or step [op]", 0 },
        { "--rows", TOOL_COUNT, &job->n_rows, "N", "at most so many; 0: all [0]", 100000 },
        { "--trace", TOOL_TEXT, &job->trace, "FILE.json", "write a trace for Chrome or Perfetto", 0 },
        { "--ms", TOOL_COUNT, &job->milliseconds, "N", "how long to measure [1000]", 1000000 },
        TOOL_WAYS_OPTIONS(&job->ways, "how many threads [1]"),
        { NULL, TOOL_FLAG, NULL, NULL, NULL, 0 },
    };
    /* clang-format on */
    int status = tool_read_options(command, argc, argv, table, &paths, 1);
    if (status == TOOL_GO_ON && !is_table(job->by))
        status = tool_complain(command, TOOL_MISUSED, "--by is op, scope, kernel or step, not '%s'",
                               job->by);
    if (status == TOOL_GO_ON)
        status = tool_ways_read(command, &job->ways, &job->options);
    if (status == TOOL_GO_ON && job->ways.n_threads == 0)
        status = tool_complain(command, TOOL_MISUSED, "--threads is 1 or more, not 0");
    if (status == TOOL_GO_ON) {
        status = TOOL_DONE;
        if (machine_measure(job->ways.n_threads, &job->limits))
            out_of_memory(job);
        else
            printf("machine, %d thread%s: %.1f GFLOP/s of multiply-adds, %.1f GB/s of memory\n",
                   job->ways.n_threads, job->ways.n_threads > 1 ? "s" : "",
                   job->limits.flops * 1e-9, job->limits.bytes * 1e-9);
        if (job->error.message[0] || (paths.n && bench_graph(job, paths.words[0])))
            status = tool_complain(command, TOOL_FAILED, "%s", job->error.message);
        finish(job);
    }
    free(job);
    return status;
}
