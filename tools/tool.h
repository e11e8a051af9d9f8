/* What the commands of `ebb` share: command lines, graphs in text form, values in files. */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include <ebb/ebb.h>

/* Exit statuses: 0, a failure that a message explains, a command line that cannot be understood. */
enum { TOOL_DONE = 0, TOOL_FAILED = 1, TOOL_MISUSED = 2 };

/* ---- commands ---- */

typedef struct tool_command {
    const char *name;      /* "run" */
    const char *arguments; /* "GRAPH.txt [options]" */
    const char *summary;   /* one line */
    int (*main)(const struct tool_command *command, int argc, char **argv);
} tool_command;

int tool_ops(const tool_command *command, int argc, char **argv);
int tool_run(const tool_command *command, int argc, char **argv);
int tool_check(const tool_command *command, int argc, char **argv);
int tool_dot(const tool_command *command, int argc, char **argv);
int tool_bench(const tool_command *command, int argc, char **argv);

/* Prints "ebb run: MESSAGE" on stderr and returns `status`. */
int tool_complain(const tool_command *command, int status, const char *format, ...)
    EBB_PRINTF(3, 4);

/* ---- command lines ---- */

/* Words of the command line that stand behind an option of one name, or behind none. */
#define TOOL_MAX_WORDS 256
typedef struct tool_words {
    const char *words[TOOL_MAX_WORDS];
    int n;
} tool_words;

typedef enum tool_option_kind {
    TOOL_FLAG,  /* bool */
    TOOL_TEXT,  /* const char * */
    TOOL_WORDS, /* tool_words: may be given several times */
    TOOL_PAIRS, /* the same, each "name=WORD" */
    TOOL_COUNT  /* int, from 0 to `limit` */
} tool_option_kind;

typedef struct tool_option {
    const char *name; /* "--feed", "-o"; NULL ends a table */
    tool_option_kind kind;
    void *value;
    const char *argument; /* how help names the argument: "x=FILE.npy" */
    const char *help;     /* one line */
    int limit;
} tool_option;

#define TOOL_GO_ON (-1)
/* Reads --name value, --name=value, and other words into `others`, at most `max_others`. Returns
 * TOOL_GO_ON; or the status to exit with, after --help or a complaint. */
int tool_read_options(const tool_command *command, int argc, char **argv, const tool_option *table,
                      tool_words *others, int max_others);

/* How `run` and `bench` compile. */
typedef struct tool_ways {
    const char *backend, *skip_fusions, *autotune_cache, *conv_error;
    int n_threads, memory_budget; /* MB */
    bool autotune;
} tool_ways;
/* clang-format off */
#define TOOL_WAYS_OPTIONS(ways, threads_help)                                                      \
    { "--backend", TOOL_TEXT, &(ways)->backend, "NAME", "onednn or reference [onednn]", 0 },       \
    { "--threads", TOOL_COUNT, &(ways)->n_threads, "N", threads_help, 1024 },                      \
    { "--memory-budget", TOOL_COUNT, &(ways)->memory_budget, "MB",                                 \
      "compute values again that do not fit; 0: none [0]", 1 << 30 },                              \
    { "--autotune", TOOL_FLAG, &(ways)->autotune, NULL,                                            \
      "take times of the ways to compute a convolution", 0 },                                      \
    { "--autotune-cache", TOOL_TEXT, &(ways)->autotune_cache, "FILE", "which keeps the choices", 0 }, \
    { "--conv-error", TOOL_TEXT, &(ways)->conv_error, "ERROR",                                     \
      "with --autotune: allowed relative error, for Winograd 1e-5 [0]", 0 },                       \
    { "--skip-fusions", TOOL_TEXT, &(ways)->skip_fusions, "LIST",                                  \
      "fusions to leave out: programs,join,anchors ...", 0 }
/* clang-format on */
/* Fills what they say in `options`; TOOL_GO_ON or the status of a complaint. */
int tool_ways_read(const tool_command *command, const tool_ways *ways,
                   ebb_compile_options *options);

/* ---- graphs in text form ---- */

typedef struct tool_id {
    uint32_t text_id;
    ebb_node node;
} tool_id;

typedef struct tool_graph {
    const char *path; /* for messages */
    ebb_graph *graph;
    tool_id *ids; /* ascending text ids */
    size_t n_ids, capacity;
    bool out_of_memory;
} tool_graph;

/* `path` "-" is standard input. Finish it, also after a failure. Errors: IO, OUT_OF_MEMORY, and
 * those of ebb_graph_parse with the path in front of line and column. */
ebb_status tool_graph_read(tool_graph *graph, const char *path, ebb_error *error);
void tool_graph_finish(tool_graph *graph);
/* "%3": the id in the text; else the full name of an input or variable, else the debug name (with
 * its scope) of one node. NOT_FOUND; BAD_NAME if several nodes have the name. */
ebb_status tool_graph_find(const tool_graph *graph, const char *name, ebb_node *node,
                           ebb_error *error);
/* The first result of the last line; none if the text has no nodes. */
ebb_node tool_graph_last(const tool_graph *graph);

/* Every value that nothing uses (the last node if there is none, and no update): what a compilation
 * is to keep. `*outputs` is to be freed, also after a failure. OUT_OF_MEMORY. */
ebb_status tool_graph_outputs(const tool_graph *graph, ebb_node **outputs, int *n_outputs,
                              ebb_error *error);

/* "block1/h f32[2,3]", or "%3 f32[2,3]" with the id in the text. Returns `text`. */
const char *tool_node_text(const tool_graph *graph, ebb_node node, char text[EBB_NODE_TEXT_BYTES]);

#define TOOL_NAME_BYTES 16384 /* a name in 64 scopes, each of 200 bytes, has room */
/* "block1/fc1/w"; "" without a name. Returns `name`. */
const char *tool_full_name(ebb_node node, char name[TOOL_NAME_BYTES]);
bool tool_is_input(ebb_node node);
bool tool_is_variable(ebb_node node);

/* ---- values ---- */

typedef struct tool_value {
    ebb_node node;
    ebb_tensor tensor; /* owned */
} tool_value;

/* Reads all "name=FILE.npy" or "name=NUMBER" (in every element) of `words` (TOOL_PAIRS, of option
 * `option` for messages) into values[0..words->n); *n counts those that must be finished, also
 * after a failure. Each must name an input or, with `variables`, a variable; none comes twice.
 * Shapes must fit, and unless `any_dtype` dtypes too. */
ebb_status tool_values_read(const tool_graph *graph, const tool_words *words, const char *option,
                            bool variables, bool any_dtype, tool_value *values, int *n,
                            ebb_error *error);
void tool_values_finish(tool_value *values, int n);

/* "y f32[2,2]" and the elements in nested brackets; of more than 1000 elements the first and last
 * three of each dimension. */
void tool_print_tensor(FILE *out, const char *label, const ebb_tensor *tensor);

#endif
