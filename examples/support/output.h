/* Where an example writes its files, and the kinds of file that several write. */
#ifndef EXAMPLES_SUPPORT_OUTPUT_H
#define EXAMPLES_SUPPORT_OUTPUT_H

#include "support/plot.h"

#include <ebb/ebb.h>

/* Room for a path. */
#define OUTPUT_PATH_BYTES 4096

typedef struct output_folder {
    char path[OUTPUT_PATH_BYTES];
} output_folder;

/* Makes the folder, with those above it. `folder` is what --out said; NULL: beside the folder of
 * the program, with "-out" behind its name (build/examples/gates writes to build/examples-out).
 * Stops with a message if the folder cannot be made or written to. */
void output_open(output_folder *output, const char *folder, const char *program);
/* Writes "FOLDER/NAME" to `path` and returns it. */
const char *output_path(const output_folder *output, const char *name,
                        char path[OUTPUT_PATH_BYTES]);

/* Writes NAME.dot, and NAME.svg from it if Graphviz is installed (if not, says so on stderr).
 * Prints what was written. Stops with a message if a file cannot be written. `options` as for
 * ebb_graph_write_dot. */
void output_graph(const output_folder *output, const char *name, const ebb_graph *graph,
                  const ebb_dot_options *options);

/* Writes NAME.svg and prints that it did. Stops with a message if it cannot be written. */
void output_plot(const output_folder *output, const char *name, const plot_sheet *plot);
/* The same with several sheets in one file (plot_write_all). */
void output_plots(const output_folder *output, const char *name, const plot_sheet *plots, int n,
                  int columns);

#endif
