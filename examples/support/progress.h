/* How far a long loop is: a bar with rate, remaining time and loss on a terminal, a line now and
 * then otherwise. */
#ifndef EXAMPLES_SUPPORT_PROGRESS_H
#define EXAMPLES_SUPPORT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct progress_bar {
    FILE *out;
    const char *label; /* "epoch 3/10" */
    int64_t total, done;
    double loss, started, shown; /* times in seconds */
    bool terminal;
    int n_lines; /* printed where there is no terminal */
} progress_bar;

/* `label` must live as long as the progress. */
void progress_start(progress_bar *progress, const char *label, int64_t total);
/* `done` of `total` steps; `loss` NaN: there is none. Cheap: it draws at most ten times a second.
 */
void progress_step(progress_bar *progress, int64_t done, double loss);
/* Removes the bar, so that the next line of output stands in its place. */
void progress_end(progress_bar *progress);

#endif
