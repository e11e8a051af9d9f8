/* Plots as SVG: lines, points, bars and arrows over two axes, linear or logarithmic, with grid,
 * title and legend; one or many in a file. */
#ifndef EXAMPLES_SUPPORT_PLOT_H
#define EXAMPLES_SUPPORT_PLOT_H

#include <ebb/io.h>

typedef enum plot_kind {
    PLOT_LINE,
    PLOT_POINTS,
    PLOT_BARS,  /* around each x, from 0 to y: histograms */
    PLOT_ARROWS /* from (x, y) to (x + dx, y + dy): vector fields */
} plot_kind;

typedef struct plot_series {
    const char *name; /* in the legend; NULL: not there */
    plot_kind kind;
    const double *x;       /* NULL: first_x + i step_x */
    const double *y;       /* values that are not finite leave a gap */
    const double *dx, *dy; /* of arrows */
    int64_t n;
    double first_x, step_x; /* without x; step_x 0: 1 */
    int color;  /* 1, 2 ..: of a color-blind safe palette of eight; 0: by place in the plot */
    bool faint; /* thin and pale: raw values behind their mean */
} plot_series;

typedef struct plot_axis {
    const char *label; /* NULL: none */
    bool logarithmic;  /* values that are not positive leave a gap */
    double low, high;  /* both 0: from the data */
} plot_axis;

typedef struct plot_sheet {
    const char *title;
    plot_axis x, y;
    const plot_series *series;
    int n_series;
    int width, height; /* in pixels; 0: 800 and 480 */
} plot_sheet;

/* Errors: IO; the old file stays then. */
EBB_NODISCARD ebb_status plot_write(const plot_sheet *plot, const char *path, ebb_error *error);
/* Several sheets in one file, row by row in so many columns, each as large as the first one. */
EBB_NODISCARD ebb_status plot_write_all(const plot_sheet *plots, int n, int columns,
                                        const char *path, ebb_error *error);

/* means[i] is the mean of values[i-window+1 .. i], of fewer at the beginning. */
void plot_smooth(const double *values, int64_t n, int64_t window, double *means);
/* Counts values in n_bins equal bins from the smallest to the largest, for PLOT_BARS: centers and
 * counts. */
void plot_bin(const double *values, int64_t n, int n_bins, double *centers, double *counts);

#endif
