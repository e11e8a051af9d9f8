/* ebb check: the gradients of a graph in text form against differences. */
#include "tool.h"

#include <stdlib.h>
#include <string.h>

typedef struct check_job {
    const char *output;
    int order;
    tool_words x, feed, var;
    tool_graph graph;
    tool_value values[2 * TOOL_MAX_WORDS]; /* of feeds and variables */
    int n_values;
    ebb_node y;
    ebb_node *xs;
    int n_xs;
    ebb_error error;
} check_job;

static ebb_status choose_y(check_job *job)
{
    if (job->output)
        return tool_graph_find(&job->graph, job->output, &job->y, &job->error);
    job->y = tool_graph_last(&job->graph);
    return job->y.id ? EBB_OK
                     : ebb_fail(&job->error, EBB_NOT_FOUND, "%s has no nodes", job->graph.path);
}

/* Those that --x names; else all float inputs and variables. */
static ebb_status choose_xs(check_job *job)
{
    job->xs = calloc(job->graph.n_ids + TOOL_MAX_WORDS, sizeof *job->xs);
    if (!job->xs)
        return ebb_fail(&job->error, EBB_OUT_OF_MEMORY, "out of memory");
    ebb_status status = EBB_OK;
    for (int i = 0; i < job->x.n && !status; i++)
        status = tool_graph_find(&job->graph, job->x.words[i], &job->xs[job->n_xs++], &job->error);
    for (size_t i = 0; i < job->graph.n_ids && !job->x.n; i++) {
        ebb_node node = job->graph.ids[i].node;
        if ((tool_is_input(node) || tool_is_variable(node)) &&
            ebb_dtype_is_float(ebb_node_type(node)->dtype))
            job->xs[job->n_xs++] = node;
    }
    if (!status && job->n_xs == 0)
        status = ebb_fail(&job->error, EBB_NOT_FOUND,
                          "%s has no float input and no float variable to differentiate by",
                          job->graph.path);
    return status;
}

static ebb_status read_values(check_job *job)
{
    int n_feeds, n_variables = 0;
    ebb_status status = tool_values_read(&job->graph, &job->feed, "--feed", false, true,
                                         job->values, &n_feeds, &job->error);
    if (!status)
        status = tool_values_read(&job->graph, &job->var, "--var", true, true,
                                  job->values + n_feeds, &n_variables, &job->error);
    job->n_values = n_feeds + n_variables;
    return status;
}

static ebb_status check_graph(check_job *job)
{
    ebb_check_value values[2 * TOOL_MAX_WORDS];
    for (int i = 0; i < job->n_values; i++)
        values[i] = (ebb_check_value){ job->values[i].node, job->values[i].tensor };
    ebb_check_options options = { .order = job->order,
                                  .values = values,
                                  .n_values = job->n_values };
    ebb_check_report report;
    char y[EBB_NODE_TEXT_BYTES], x[EBB_NODE_TEXT_BYTES];
    ebb_status status = ebb_check_gradients(job->y, job->xs, job->n_xs, &options, &report);
    if (status && status != EBB_MISMATCH)
        return ebb_fail(&job->error, status, "%s", ebb_graph_message(job->graph.graph));
    printf("gradient of %s by", tool_node_text(&job->graph, job->y, y));
    for (int i = 0; i < job->n_xs; i++)
        printf("%s %s", i ? "," : "", tool_node_text(&job->graph, job->xs[i], x));
    printf("\norder %d: %d directional derivative%s, worst relative error %.3g (%s: reverse mode "
           "%.17g, differences %.17g)\n",
           job->order, report.n_checks, report.n_checks == 1 ? "" : "s", report.worst_error,
           tool_node_text(&job->graph, job->xs[report.worst_x], x), report.analytic,
           report.numeric);
    return status ? ebb_fail(&job->error, status, "%s", ebb_graph_message(job->graph.graph))
                  : EBB_OK;
}

int tool_check(const tool_command *command, int argc, char **argv)
{
    check_job *job = calloc(1, sizeof *job);
    if (!job)
        return tool_complain(command, TOOL_FAILED, "out of memory");
    job->order = 1;
    tool_words paths = { .n = 0 };
    /* clang-format off */
    const tool_option table[] = {
        { "--output", TOOL_TEXT, &job->output, "y", "what to differentiate [the last node]", 0 },
        { "--x", TOOL_WORDS, &job->x, "NAME", "by what [all float inputs and variables]", 0 },
        { "--order", TOOL_COUNT, &job->order, "1|2", "2: second derivatives too [1]", 2 },
        { "--feed", TOOL_PAIRS, &job->feed, "x=FILE.npy|NUMBER", "where: an input [random; integers 0]", 0 },
        { "--var", TOOL_PAIRS, &job->var, "w=FILE.npy|NUMBER", "where: a variable [random]", 0 },
        { NULL, TOOL_FLAG, NULL, NULL, NULL, 0 },
    };
    /* clang-format on */
    int status = tool_read_options(command, argc, argv, table, &paths, 1);
    if (status == TOOL_GO_ON && job->order == 0)
        status = tool_complain(command, TOOL_MISUSED, "--order is 1 or 2, not 0");
    if (status == TOOL_GO_ON && paths.n == 0)
        status = tool_complain(command, TOOL_MISUSED, "which graph? (- is standard input)");
    if (status == TOOL_GO_ON) {
        status = TOOL_DONE;
        if (tool_graph_read(&job->graph, paths.words[0], &job->error) || choose_y(job) ||
            choose_xs(job) || read_values(job) || check_graph(job))
            status = tool_complain(command, TOOL_FAILED, "%s", job->error.message);
        tool_values_finish(job->values, job->n_values);
        free(job->xs);
        tool_graph_finish(&job->graph);
    }
    free(job);
    return status;
}
