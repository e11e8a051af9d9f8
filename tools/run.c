/* ebb run: a graph in text form, on .npy files. */
#include "tool.h"

#include <stdlib.h>
#include <string.h>

/* What is fetched, and where it goes. */
typedef struct result {
    const char *label; /* as the user wrote it */
    const char *path;  /* NULL: it is printed */
    ebb_node node;
    ebb_tensor tensor;
} result;

typedef struct run_job {
    const char *weights, *save;
    tool_ways ways;
    ebb_compile_options options;
    tool_words feed, fetch, grad, var;
    tool_graph graph;
    tool_value feeds[TOOL_MAX_WORDS], variables[TOOL_MAX_WORDS];
    int n_feeds, n_variables;
    result results[2 * TOOL_MAX_WORDS];
    int n_results;
    char *labels[2 * TOOL_MAX_WORDS];
    ebb_store *store;
    ebb_executable *executable;
    ebb_error error;
} run_job;

/* ---- what is wanted ---- */

/* "y", "y=FILE", and for gradients "y:x", "y:x=FILE". */
static bool is_result(const char *word, bool is_gradient)
{
    const char *equals = strchr(word, '='), *colon = strchr(word, ':');
    const char *end = equals ? equals : word + strlen(word);
    if (end == word || (equals && !equals[1]))
        return false;
    return !is_gradient || (colon && colon > word && colon + 1 < end);
}

/* Splits "label=path" or "label". NULL when memory is out. */
static result *add_result(run_job *job, const char *word)
{
    const char *equals = strchr(word, '=');
    char *label = strndup(word, equals ? (size_t)(equals - word) : strlen(word));
    if (!label) {
        ebb_fail(&job->error, EBB_OUT_OF_MEMORY, "out of memory");
        return NULL;
    }
    job->labels[job->n_results] = label;
    result *r = &job->results[job->n_results++];
    *r = (result){ .label = label, .path = equals ? equals + 1 : NULL };
    return r;
}

static ebb_status add_fetches(run_job *job)
{
    for (int i = 0; i < job->fetch.n; i++) {
        result *r = add_result(job, job->fetch.words[i]);
        ebb_status status =
            r ? tool_graph_find(&job->graph, r->label, &r->node, &job->error) : EBB_OUT_OF_MEMORY;
        if (status)
            return status;
    }
    return EBB_OK;
}

/* "y:x": dy/dx, as a node. */
static ebb_status add_gradients(run_job *job)
{
    for (int i = 0; i < job->grad.n; i++) {
        ebb_node y, x;
        result *r = add_result(job, job->grad.words[i]);
        if (!r)
            return EBB_OUT_OF_MEMORY;
        char *colon = strchr(job->labels[job->n_results - 1], ':');
        *colon = 0;
        ebb_status status = tool_graph_find(&job->graph, r->label, &y, &job->error);
        if (!status)
            status = tool_graph_find(&job->graph, colon + 1, &x, &job->error);
        *colon = ':';
        if (!status && (status = ebb_gradients(y, &x, 1, &r->node)) != EBB_OK)
            ebb_fail(&job->error, status, "--grad %s: %s", r->label,
                     ebb_graph_message(job->graph.graph));
        if (status)
            return status;
    }
    return EBB_OK;
}

/* Without --fetch and --grad: the last node, printed. */
static ebb_status add_last(run_job *job)
{
    char name[TOOL_NAME_BYTES];
    ebb_node last = tool_graph_last(&job->graph);
    if (job->n_results > 0 || (job->save && ebb_graph_n_updates(job->graph.graph) > 0))
        return EBB_OK;
    if (!last.id)
        return ebb_fail(&job->error, EBB_NOT_FOUND, "%s has no nodes", job->graph.path);
    tool_full_name(last, name);
    if (!name[0])
        snprintf(name, sizeof name, "%%%u", job->graph.ids[job->graph.n_ids - 1].text_id);
    result *r = add_result(job, name);
    if (!r)
        return EBB_OUT_OF_MEMORY;
    r->node = last;
    return EBB_OK;
}

/* ---- running ---- */

static ebb_status fill_store(run_job *job)
{
    ebb_status status = EBB_OK;
    job->store = ebb_store_create(NULL);
    if (!job->store)
        return ebb_fail(&job->error, EBB_OUT_OF_MEMORY, "out of memory");
    if (job->weights)
        status = ebb_store_load(job->store, job->weights, &job->error);
    for (int i = 0; i < job->n_variables && !status; i++) {
        char name[TOOL_NAME_BYTES];
        const tool_value *variable = &job->variables[i];
        status = ebb_store_set(job->store, tool_full_name(variable->node, name), &variable->tensor);
        if (status)
            ebb_fail(&job->error, status, "--var %.200s: %s", name, ebb_store_message(job->store));
    }
    return status;
}

static ebb_status compile(run_job *job)
{
    ebb_node nodes[2 * TOOL_MAX_WORDS];
    for (int i = 0; i < job->n_results; i++)
        nodes[i] = job->results[i].node;
    job->options.fetches = nodes;
    job->options.n_fetches = job->n_results;
    job->options.store = job->store;
    job->options.skip_updates = !job->save;
    ebb_status status = ebb_compile(job->graph.graph, &job->options, &job->executable);
    job->options.fetches = NULL;
    return status ? ebb_fail(&job->error, status, "%s", ebb_graph_message(job->graph.graph))
                  : EBB_OK;
}

static ebb_status execute(run_job *job)
{
    ebb_feed feeds[TOOL_MAX_WORDS];
    ebb_fetch fetches[2 * TOOL_MAX_WORDS];
    for (int i = 0; i < job->n_feeds; i++)
        feeds[i] = (ebb_feed){ job->feeds[i].node, job->feeds[i].tensor };
    for (int i = 0; i < job->n_results; i++) {
        result *r = &job->results[i];
        ebb_status status = ebb_tensor_init(&r->tensor, *ebb_node_type(r->node), NULL);
        if (status)
            return ebb_fail(&job->error, status, "no memory for %s", r->label);
        fetches[i] = (ebb_fetch){ r->node, r->tensor };
    }
    ebb_status status = ebb_run(job->executable, feeds, job->n_feeds, fetches, job->n_results);
    return status ? ebb_fail(&job->error, status, "%s", ebb_executable_message(job->executable))
                  : EBB_OK;
}

/* Files first: what is printed is true then. */
static ebb_status hand_out(run_job *job)
{
    ebb_status status = EBB_OK;
    for (int i = 0; i < job->n_results && !status; i++)
        if (job->results[i].path)
            status = ebb_npy_write(job->results[i].path, &job->results[i].tensor, &job->error);
    if (!status && job->save)
        status = ebb_store_save(job->store, job->save, &job->error);
    for (int i = 0; i < job->n_results && !status; i++)
        if (!job->results[i].path)
            tool_print_tensor(stdout, job->results[i].label, &job->results[i].tensor);
    return status;
}

static ebb_status run_graph(run_job *job, const char *path)
{
    ebb_status status = tool_graph_read(&job->graph, path, &job->error);
    if (!status)
        status = tool_values_read(&job->graph, &job->feed, "--feed", false, false, job->feeds,
                                  &job->n_feeds, &job->error);
    if (!status)
        status = tool_values_read(&job->graph, &job->var, "--var", true, false, job->variables,
                                  &job->n_variables, &job->error);
    if (!status)
        status = add_fetches(job);
    if (!status)
        status = add_gradients(job);
    if (!status)
        status = add_last(job);
    if (!status)
        status = fill_store(job);
    if (!status)
        status = compile(job);
    if (!status)
        status = execute(job);
    return status ? status : hand_out(job);
}

static void finish(run_job *job)
{
    ebb_executable_destroy(job->executable);
    ebb_store_destroy(job->store);
    for (int i = 0; i < job->n_results; i++) {
        ebb_tensor_finish(&job->results[i].tensor);
        free(job->labels[i]);
    }
    tool_values_finish(job->feeds, job->n_feeds);
    tool_values_finish(job->variables, job->n_variables);
    tool_graph_finish(&job->graph);
}

int tool_run(const tool_command *command, int argc, char **argv)
{
    run_job *job = calloc(1, sizeof *job);
    if (!job)
        return tool_complain(command, TOOL_FAILED, "out of memory");
    tool_words paths = { .n = 0 };
    /* clang-format off */
    const tool_option table[] = {
        { "--feed", TOOL_PAIRS, &job->feed, "x=FILE.npy|NUMBER", "the value of an input", 0 },
        { "--fetch", TOOL_WORDS, &job->fetch, "y[=FILE.npy]", "write a value, or print it [the last node]", 0 },
        { "--grad", TOOL_WORDS, &job->grad, "y:x[=FILE.npy]", "the same with the gradient dy/dx", 0 },
        { "--var", TOOL_PAIRS, &job->var, "w=FILE.npy|NUMBER", "the value of a variable [as its init says]", 0 },
        { "--weights", TOOL_TEXT, &job->weights, "FILE.safetensors", "values of variables", 0 },
        { "--save", TOOL_TEXT, &job->save, "FILE.safetensors", "apply the graph's updates, and write all variables", 0 },
        TOOL_WAYS_OPTIONS(&job->ways, "how many threads; 0: all [0]"),
        { NULL, TOOL_FLAG, NULL, NULL, NULL, 0 },
    };
    /* clang-format on */
    int status = tool_read_options(command, argc, argv, table, &paths, 1);
    for (int i = 0; i < job->fetch.n && status == TOOL_GO_ON; i++)
        if (!is_result(job->fetch.words[i], false))
            status = tool_complain(command, TOOL_MISUSED, "--fetch needs y or y=FILE.npy, not '%s'",
                                   job->fetch.words[i]);
    for (int i = 0; i < job->grad.n && status == TOOL_GO_ON; i++)
        if (!is_result(job->grad.words[i], true))
            status =
                tool_complain(command, TOOL_MISUSED, "--grad needs y:x or y:x=FILE.npy, not '%s'",
                              job->grad.words[i]);
    if (status == TOOL_GO_ON)
        status = tool_ways_read(command, &job->ways, &job->options);
    if (status == TOOL_GO_ON && paths.n == 0)
        status = tool_complain(command, TOOL_MISUSED, "which graph? (- is standard input)");
    if (status == TOOL_GO_ON) {
        status = TOOL_DONE;
        if (run_graph(job, paths.words[0]))
            status = tool_complain(command, TOOL_FAILED, "%s", job->error.message);
        finish(job);
    }
    free(job);
    return status;
}
