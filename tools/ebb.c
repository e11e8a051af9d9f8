/* The `ebb` command: operations and graphs from the command line. */
#include "tool.h"

#include <errno.h>
#include <string.h>

/* clang-format off */
static const tool_command commands[] = {
    { "ops",   "[NAME] [options]",    "list the operations, or document one",       tool_ops },
    { "run",   "GRAPH.txt [options]", "run a graph on .npy files",                  tool_run },
    { "check", "GRAPH.txt [options]", "check a graph's gradients by differences",   tool_check },
    { "dot",   "GRAPH.txt [options]", "draw a graph with Graphviz",                 tool_dot },
    { "bench", "[GRAPH.txt] [options]", "measure the machine and a graph",       tool_bench },
};
/* clang-format on */
#define N_COMMANDS (sizeof commands / sizeof *commands)

static void print_help(FILE *out)
{
    fputs("ebb: static computation graphs with reverse-mode differentiation\n\n", out);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  ebb %-6s%-22s %s\n", commands[i].name, commands[i].arguments,
                commands[i].summary);
    fputs("  ebb help  [COMMAND]              this, or the options of a command\n"
          "  ebb --version\n",
          out);
}

static const tool_command *find_command(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int run_help(int argc, char **argv)
{
    const tool_command *command = argc > 2 ? find_command(argv[2]) : NULL;
    if (argc > 3 || (argc > 2 && !command)) {
        fprintf(stderr, "ebb: there is no help on '%s' (ebb help lists the commands)\n",
                argv[argc > 3 ? 3 : 2]);
        return TOOL_MISUSED;
    }
    if (command)
        return command->main(command, 1, (char *[]){ (char[]){ "--help" }, NULL });
    print_help(stdout);
    return TOOL_DONE;
}

static int run_command(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return TOOL_MISUSED;
    }
    const char *name = argv[1];
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return run_help(argc, argv);
    if (strcmp(name, "--version") == 0) {
        printf("ebb %s\n", EBB_VERSION);
        return TOOL_DONE;
    }
    const tool_command *command = find_command(name);
    if (!command) {
        fprintf(stderr, "ebb: there is no command '%s' (ebb help lists them)\n", name);
        return TOOL_MISUSED;
    }
    return command->main(command, argc - 2, argv + 2);
}

int main(int argc, char **argv)
{
    int status = run_command(argc, argv);
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "ebb: standard output cannot be written: %s\n",
                errno ? strerror(errno) : "the stream has an error");
        return status ? status : TOOL_FAILED;
    }
    return status;
}
