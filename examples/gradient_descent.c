/* The gradient method: x <- x - rate * df/dx on f(x0, x1) = x0^2 + x1^2 from (-3, 4) (Saitoh, Deep
 * Learning from Scratch (2016), chapter 4). A good rate finds the minimum (0, 0); a large one runs
 * away, a tiny one stands still.
 *
 * At rate 10 the book's numerical gradient gets lost in rounding near 1e13; the exact one
 * multiplies x by 1 - 2 * 10 = -19 in each step.
 *
 *     gradient_descent [--rate X] [--steps N] [--x0 X] [--x1 X] [--backend reference|onednn] [--out
 * DIR] */
#include "support/options.h"
#include "support/output.h"
#include "support/plot.h"
#include "support/stop.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CIRCLE_POINTS = 91, N_CIRCLES = 5 };

/* Goes `n` steps; path[0..n] and path[n+1 .. 2n+1] get the x0 and x1 of every place. */
static void descend(const double start[2], double rate, int64_t n, const char *backend,
                    double *path)
{
    ebb_graph *g = ebb_graph_create("gradient_descent");
    ebb_node x = ebb_variable(g, "x", EBB_F64, EBB_SHAPE(2), NULL), slope;
    ebb_node f = ebb_reduce_sum(ebb_square(x), EBB_ALL_AXES, false);
    need_graph(g, ebb_gradients(f, &x, 1, &slope));
    ebb_update(x, ebb_sub(x, ebb_mul(ebb_scalar(g, EBB_F64, rate), slope)));

    ebb_store *store = ebb_store_create(NULL);
    ebb_tensor value = ebb_tensor_borrow(EBB_F64, EBB_SHAPE(2), start);
    need(ebb_store_set(store, "x", &value), ebb_store_message(store));
    ebb_executable *step;
    ebb_compile_options how = { .fetches = &x, .n_fetches = 1, .store = store, .backend = backend };
    need_graph(g, ebb_compile(g, &how, &step));

    double place[2];
    ebb_fetch fetch = { x, ebb_tensor_borrow(EBB_F64, EBB_SHAPE(2), place) };
    for (int64_t i = 0; i <= n; i++) {
        /* A fetch sees x as it was before the update. */
        need_run(step, ebb_run(step, NULL, 0, &fetch, 1));
        path[i] = place[0];
        path[n + 1 + i] = place[1];
    }
    ebb_executable_destroy(step);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}

/* The path over circles on which f is constant. */
static void draw_path(const double *path, int64_t n, double rate, const output_folder *output)
{
    static double circle[N_CIRCLES][2][CIRCLE_POINTS];
    double reach = 1.1 * fmax(hypot(path[0], path[n + 1]), 1e-3);
    plot_series series[N_CIRCLES + 2];
    for (int c = 0; c < N_CIRCLES; c++) {
        for (int i = 0; i < CIRCLE_POINTS; i++) {
            double angle = 2 * 3.14159265358979 * i / (CIRCLE_POINTS - 1);
            circle[c][0][i] = reach * (c + 1) / N_CIRCLES * cos(angle);
            circle[c][1][i] = reach * (c + 1) / N_CIRCLES * sin(angle);
        }
        series[c] = (plot_series){
            .x = circle[c][0], .y = circle[c][1], .n = CIRCLE_POINTS, .color = 8, .faint = true
        };
    }
    plot_series line = { .name = "x", .x = path, .y = path + n + 1, .n = n + 1, .color = 1 };
    series[N_CIRCLES] = line;
    line.name = NULL;
    line.kind = PLOT_POINTS;
    series[N_CIRCLES + 1] = line;

    char title[64], name[64];
    snprintf(title, sizeof title, "Gradient method, rate %g", rate);
    snprintf(name, sizeof name, "gradient_descent_%g", rate);
    plot_sheet sheet = { .title = title,
                         .x = { "x0", false, -reach, reach },
                         .y = { "x1", false, -reach, reach },
                         .series = series,
                         .n_series = N_CIRCLES + 2,
                         .width = 560,
                         .height = 560 };
    output_plot(output, name, &sheet);
}

int main(int argc, char **argv)
{
    const char *backend = "onednn", *folder = NULL;
    double rate = 0, start[2] = { -3, 4 };
    int64_t n_steps = 100;
    const option_row options[] = {
        { "rate", OPTION_NUMBER, &rate, "learning rate; 0: 0.1, 10 and 1e-10 in turn", 0, 0, 0 },
        { "steps", OPTION_COUNT, &n_steps, "number of steps", 0, 0, 1e6 },
        { "x0", OPTION_NUMBER, &start[0], "start", 0, 0, 0 },
        { "x1", OPTION_NUMBER, &start[1], "start", 0, 0, 0 },
        OPTION_BACKEND(backend),
        OPTION_OUT(folder),
        { 0 },
    };
    options_read(argc, argv, "the gradient method on x0^2 + x1^2", options);
    output_folder output;
    output_open(&output, folder, argv[0]);

    double rates[] = { 0.1, 10, 1e-10 };
    int n_rates = rate != 0 ? 1 : 3;
    if (rate != 0)
        rates[0] = rate;
    int64_t n_places = n_steps + 1;
    double *path = malloc(2 * (size_t)n_places * sizeof *path);
    if (!path)
        stop("no memory for %lld steps", (long long)n_steps);
    for (int i = 0; i < n_rates; i++) {
        descend(start, rates[i], n_steps, backend, path);
        double x0 = path[n_steps], x1 = path[n_places + n_steps];
        double before = hypot(start[0], start[1]), after = hypot(x0, x1);
        printf("rate %g: after %lld steps x = (%.10g, %.10g): %s\n", rates[i], (long long)n_steps,
               x0, x1,
               !(after <= before)            ? "it runs away"
               : after > (1 - 1e-3) * before ? "it hardly moves"
                                             : "it goes down");
        draw_path(path, n_steps, rates[i], &output);
    }
    free(path);
    return 0;
}
