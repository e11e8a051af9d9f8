/* Output folders, and graphs as files. */
#include "support/output.h"

#include "support/render.h"
#include "support/stop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "build/examples/gates" gives "build/examples-out". */
static void name_default(output_folder *output, const char *program)
{
    const char *slash = program ? strrchr(program, '/') : NULL;
    int n = slash > program ? (int)(slash - program) : 0;
    if (n >= OUTPUT_PATH_BYTES - 16)
        stop("%s: the path is too long", program);
    snprintf(output->path, sizeof output->path, "%.*s%s", n, program,
             n > 0 ? "-out" : "examples-out");
}

/* True if the folder is there afterwards. */
static bool make_folder(const char *path)
{
    struct stat about;
    if (mkdir(path, 0777) == 0)
        return true;
    if (errno != EEXIST || stat(path, &about) != 0)
        return false;
    errno = ENOTDIR;
    return S_ISDIR(about.st_mode);
}

void output_open(output_folder *output, const char *folder, const char *program)
{
    if (!folder)
        name_default(output, program);
    else if (strlen(folder) >= sizeof output->path)
        stop("--out: the path is too long");
    else
        snprintf(output->path, sizeof output->path, "%s", folder[0] ? folder : ".");

    for (char *slash = output->path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        bool made = make_folder(output->path);
        if (!made)
            stop("%s: the folder cannot be made: %s", output->path, strerror(errno));
        *slash = '/';
    }
    if (!make_folder(output->path))
        stop("%s: the folder cannot be made: %s", output->path, strerror(errno));
    if (access(output->path, W_OK | X_OK) != 0)
        stop("%s: the folder cannot be written to: %s", output->path, strerror(errno));
}

const char *output_path(const output_folder *output, const char *name, char path[OUTPUT_PATH_BYTES])
{
    int n = snprintf(path, OUTPUT_PATH_BYTES, "%s/%s", output->path, name);
    if (n < 0 || n >= OUTPUT_PATH_BYTES)
        stop("%s: the path is too long", name);
    return path;
}

typedef struct graph_drawing {
    const ebb_graph *graph;
    const ebb_dot_options *options;
} graph_drawing;

static ebb_status write_dot(void *context, FILE *out, ebb_error *error)
{
    const graph_drawing *drawing = context;
    ebb_status status = ebb_graph_write_dot(drawing->graph, out, drawing->options);
    return status == EBB_OK ? status
                            : ebb_fail(error, status, "the graph %s cannot be written",
                                       ebb_graph_name(drawing->graph));
}

void output_graph(const output_folder *output, const char *name, const ebb_graph *graph,
                  const ebb_dot_options *options)
{
    char file[OUTPUT_PATH_BYTES], dot[OUTPUT_PATH_BYTES], svg[OUTPUT_PATH_BYTES];
    ebb_error error;
    snprintf(file, sizeof file, "%s.dot", name);
    output_path(output, file, dot);
    need(ebb_file_write(dot, write_dot, &(graph_drawing){ graph, options }, &error), error.message);
    printf("wrote %s\n", dot);

    snprintf(file, sizeof file, "%s.svg", name);
    ebb_status status = render_dot(dot, output_path(output, file, svg), &error);
    if (status == EBB_OK)
        printf("wrote %s\n", svg);
    else if (status == EBB_NOT_FOUND)
        fprintf(stderr, "%s\n", error.message);
    else
        stop("%s", error.message);
}

void output_plots(const output_folder *output, const char *name, const plot_sheet *plots, int n,
                  int columns)
{
    char file[OUTPUT_PATH_BYTES], path[OUTPUT_PATH_BYTES];
    ebb_error error;
    snprintf(file, sizeof file, "%s.svg", name);
    need(plot_write_all(plots, n, columns, output_path(output, file, path), &error), error.message);
    printf("wrote %s\n", path);
}

void output_plot(const output_folder *output, const char *name, const plot_sheet *plot)
{
    output_plots(output, name, plot, 1, 1);
}
