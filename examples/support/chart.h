/* Line charts. */
#ifndef EXAMPLES_SUPPORT_CHART_H
#define EXAMPLES_SUPPORT_CHART_H

#include "support/output.h"

typedef struct chart_line {
    const char *label;
    const double *values; /* at x = first_x + i * step_x */
    int64_t n;
    double first_x, step_x;
} chart_line;

/* Writes NAME.svg, and prints that it did: one or more lines over a common x axis from 0, y from 0
 * (or lower) up. Values that are not finite leave a gap. Long lines are drawn as means of equal
 * parts. Stops with a message if the file cannot be written. */
void chart_write(const output_folder *output, const char *name, const char *title,
                 const char *x_label, const chart_line *lines, int n_lines);

#endif
