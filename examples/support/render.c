/* Running Graphviz. */
#include "support/render.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* dot writes straight into the temporary file of ebb_file_write. */
static ebb_status run_dot(void *context, FILE *out, ebb_error *error)
{
    const char *dot_path = context;
    char program[] = "dot", format[] = "-Tsvg";
    char *path = strdup(dot_path);
    posix_spawn_file_actions_t actions;
    if (!path || posix_spawn_file_actions_init(&actions) != 0) {
        free(path);
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory to run dot", dot_path);
    }
    pid_t child = 0;
    int problem = posix_spawn_file_actions_adddup2(&actions, fileno(out), STDOUT_FILENO);
    if (problem == 0)
        problem = posix_spawnp(&child, program, &actions, NULL,
                               (char *[]){ program, format, path, NULL }, environ);
    posix_spawn_file_actions_destroy(&actions);
    free(path);
    if (problem == ENOENT)
        return ebb_fail(
            error, EBB_NOT_FOUND,
            "%s: not drawn: Graphviz's program 'dot' is not installed (package graphviz)",
            dot_path);
    if (problem != 0)
        return ebb_fail(error, EBB_IO, "%s: dot cannot be run: %s", dot_path, strerror(problem));

    int result;
    while (waitpid(child, &result, 0) < 0)
        if (errno != EINTR)
            return ebb_fail(error, EBB_IO, "%s: dot got lost: %s", dot_path, strerror(errno));
    if (!WIFEXITED(result) || WEXITSTATUS(result) != 0)
        return ebb_fail(error, EBB_BAD_FORMAT, "%s: dot could not draw it (%s %d)", dot_path,
                        WIFEXITED(result) ? "exit status" : "signal",
                        WIFEXITED(result) ? WEXITSTATUS(result) : WTERMSIG(result));
    return EBB_OK;
}

ebb_status render_dot(const char *dot_path, const char *svg_path, ebb_error *error)
{
    /* dot reads standard input if there is no file, and says little if it cannot read it. */
    if (access(dot_path, R_OK) != 0)
        return ebb_fail(error, EBB_IO, "%s: cannot be read: %s", dot_path, strerror(errno));
    return ebb_file_write(svg_path, run_dot, (void *)(uintptr_t)dot_path, error);
}
