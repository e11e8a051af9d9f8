/* ebb dot: a graph as Graphviz draws it, as built or as it looks behind the passes. */
#include "tool.h"

#include "support/render.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 4096

typedef struct dot_job {
    const char *output, *stage, *backend;
    int n_threads;
    tool_graph graph;
    ebb_node *outputs; /* nodes that no other needs */
    int n_outputs;
    char folder[PATH_BYTES]; /* temporary; "": not made */
    char file[PATH_BYTES + 256];
    ebb_error error;
} dot_job;

/* ---- the temporary folder ---- */

static ebb_status make_folder(dot_job *job)
{
    const char *base = getenv("TMPDIR");
    int n =
        snprintf(job->folder, sizeof job->folder, "%s/ebb-XXXXXX", base && *base ? base : "/tmp");
    if (n >= 0 && (size_t)n < sizeof job->folder && mkdtemp(job->folder))
        return EBB_OK;
    int why = errno;
    job->folder[0] = 0;
    return ebb_fail(&job->error, EBB_IO, "a temporary folder cannot be made: %s", strerror(why));
}

static void remove_folder(dot_job *job)
{
    DIR *folder = job->folder[0] ? opendir(job->folder) : NULL;
    if (!folder)
        return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        char path[sizeof job->folder + sizeof entry->d_name];
        snprintf(path, sizeof path, "%s/%s", job->folder, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlink(path);
    }
    closedir(folder);
    rmdir(job->folder);
}

/* ---- stages ---- */

static ebb_status write_graph(void *context, FILE *out, ebb_error *error)
{
    const dot_job *job = context;
    ebb_dot_options options = { .outputs = job->outputs, .n_outputs = job->n_outputs };
    ebb_status status = ebb_graph_write_dot(job->graph.graph, out, &options);
    return status ? ebb_fail(error, status, "the drawing cannot be written") : EBB_OK;
}

/* Compiles the graph, so that the folder gets a drawing of every stage. */
static ebb_status dump_stages(dot_job *job)
{
    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *executable = NULL;
    ebb_compile_options options = { .fetches = job->outputs,
                                    .n_fetches = job->n_outputs,
                                    .store = store,
                                    .backend = job->backend,
                                    .n_threads = job->n_threads,
                                    .dump_dir = job->folder };
    ebb_status status = ebb_compile(job->graph.graph, &options, &executable);
    if (status)
        ebb_fail(&job->error, status, "%s", ebb_graph_message(job->graph.graph));
    ebb_executable_destroy(executable);
    ebb_store_destroy(store);
    return status;
}

/* "03-simplify.dot" */
static int is_stage(const struct dirent *entry)
{
    const char *name = entry->d_name;
    size_t n = strlen(name);
    return name[0] >= '0' && name[0] <= '9' && n > 4 && strcmp(name + n - 4, ".dot") == 0;
}

/* The file of a stage before the plan: "fused" is the last of all, "simplified" the last before
 * fusion, or all passes if nothing fuses. */
static ebb_status choose_stage(dot_job *job, bool fused)
{
    struct dirent **entries;
    int n = scandir(job->folder, &entries, is_stage, alphasort), chosen = n - 1;
    if (n < 1)
        return ebb_fail(&job->error, EBB_INTERNAL, "the compiler wrote no stages");
    for (int i = n - 1; i >= 0 && !fused; i--)
        if (strstr(entries[i]->d_name, "-sweep"))
            chosen = i;
    for (int i = n - 1; i > 0 && !fused; i--)
        if (strstr(entries[i]->d_name, "-fuse"))
            chosen = i - 1;
    snprintf(job->file, sizeof job->file, "%s/%s", job->folder, entries[chosen]->d_name);
    for (int i = 0; i < n; i++)
        free(entries[i]);
    free(entries);
    return EBB_OK;
}

static ebb_status draw_stage(dot_job *job)
{
    ebb_status status =
        tool_graph_outputs(&job->graph, &job->outputs, &job->n_outputs, &job->error);
    if (!status && strcmp(job->stage, "user") == 0) {
        snprintf(job->file, sizeof job->file, "%s/user.dot", job->folder);
        return ebb_file_write(job->file, write_graph, job, &job->error);
    }
    if (!status)
        status = dump_stages(job);
    if (!status && strcmp(job->stage, "plan") == 0)
        snprintf(job->file, sizeof job->file, "%s/plan.dot", job->folder);
    else if (!status)
        status = choose_stage(job, strcmp(job->stage, "fused") == 0);
    return status;
}

/* ---- out ---- */

static ebb_status copy_file(void *context, FILE *out, ebb_error *error)
{
    const dot_job *job = context;
    char buffer[1 << 14];
    FILE *in = fopen(job->file, "rb");
    if (!in)
        return ebb_fail(error, EBB_IO, "%s: cannot be opened: %s", job->file, strerror(errno));
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, in)) > 0;)
        fwrite(buffer, 1, n, out);
    bool failed = ferror(in);
    fclose(in);
    return failed ? ebb_fail(error, EBB_IO, "%s: cannot be read", job->file) : EBB_OK;
}

static bool ends_in(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n > m && strcmp(path + n - m, ending) == 0;
}

static ebb_status write_output(dot_job *job)
{
    if (!job->output)
        return copy_file(job, stdout, &job->error);
    if (ends_in(job->output, ".dot"))
        return ebb_file_write(job->output, copy_file, job, &job->error);
    ebb_status status = render_dot(job->file, job->output, &job->error);
    if (status == EBB_NOT_FOUND)
        ebb_fail(&job->error, status,
                 "%s: not drawn: Graphviz's program 'dot' is not installed (package graphviz); "
                 "-o FILE.dot writes what it would draw",
                 job->output);
    return status;
}

static ebb_status draw_graph(dot_job *job, const char *path)
{
    ebb_status status = tool_graph_read(&job->graph, path, &job->error);
    if (!status)
        status = make_folder(job);
    if (!status)
        status = draw_stage(job);
    if (!status)
        status = write_output(job);
    remove_folder(job);
    free(job->outputs);
    tool_graph_finish(&job->graph);
    return status;
}

static bool is_stage_name(const char *name)
{
    static const char *const names[] = { "user", "simplified", "fused", "plan" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

int tool_dot(const tool_command *command, int argc, char **argv)
{
    dot_job *job = calloc(1, sizeof *job);
    if (!job)
        return tool_complain(command, TOOL_FAILED, "out of memory");
    job->stage = "user";
    tool_words paths = { .n = 0 };
    /* clang-format off */
    const tool_option table[] = {
        { "-o", TOOL_TEXT, &job->output, "FILE.svg|FILE.dot", "where to [DOT on standard output]", 0 },
        { "--stage", TOOL_TEXT, &job->stage, "NAME", "user, simplified, fused or plan [user]", 0 },
        { "--backend", TOOL_TEXT, &job->backend, "NAME", "whose plan: onednn or reference [onednn]", 0 },
        { "--threads", TOOL_COUNT, &job->n_threads, "N", "how many threads the plan has; 0: all [0]", 1024 },
        { NULL, TOOL_FLAG, NULL, NULL, NULL, 0 },
    };
    /* clang-format on */
    int status = tool_read_options(command, argc, argv, table, &paths, 1);
    if (status == TOOL_GO_ON && !is_stage_name(job->stage))
        status = tool_complain(command, TOOL_MISUSED,
                               "--stage is user, simplified, fused or plan, not '%s'", job->stage);
    if (status == TOOL_GO_ON && job->output && !ends_in(job->output, ".svg") &&
        !ends_in(job->output, ".dot"))
        status = tool_complain(command, TOOL_MISUSED, "-o must end in .svg or .dot, not '%s'",
                               job->output);
    if (status == TOOL_GO_ON && paths.n == 0)
        status = tool_complain(command, TOOL_MISUSED, "which graph? (- is standard input)");
    if (status == TOOL_GO_ON)
        status = draw_graph(job, paths.words[0])
                     ? tool_complain(command, TOOL_FAILED, "%s", job->error.message)
                     : TOOL_DONE;
    free(job);
    return status;
}
