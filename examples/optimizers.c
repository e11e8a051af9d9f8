/* Update rules (Saitoh, Deep Learning from Scratch (2016), section 6.1): SGD, Momentum, AdaGrad and
 * Adam on f = x^2/20 + y^2 from (-7, 2), where SGD goes in zig-zag; and the four side by side on
 * images, in a net of four hidden layers of 100, from He's initialization, batches of 128.
 *
 *     optimizers [--data FOLDER] [--steps 2000] [--seed 1] ... */
#include "support/mlp.h"
#include "support/options.h"
#include "support/race.h"
#include "support/stop.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_RULES = 4, N_MOVES = 30, N_ELLIPSES = 6, ELLIPSE_POINTS = 121, BATCH = 128 };

typedef struct rule_row {
    const char *name;
    ebb_nn_method method;
    double bowl_rate, image_rate;
} rule_row;

static const rule_row rules[N_RULES] = { { "SGD", EBB_NN_SGD, 0.95, 0.01 },
                                         { "Momentum", EBB_NN_MOMENTUM, 0.1, 0.01 },
                                         { "AdaGrad", EBB_NN_ADAGRAD, 1.5, 0.01 },
                                         { "Adam", EBB_NN_ADAM, 0.3, 0.001 } };

/* ---- the bowl ---- */

/* path[0][i], path[1][i]: x and y after i moves. */
static void descend(const rule_row *row, const char *backend, double path[2][N_MOVES + 1])
{
    static const double start[] = { -7, 2 }, shape[] = { 1. / 20, 1 };
    ebb_graph *g = ebb_graph_create("bowl");
    ebb_node x = ebb_variable(g, "x", EBB_F64, EBB_SHAPE(2), NULL);
    ebb_node f = ebb_reduce_sum(
        ebb_mul(ebb_square(x), ebb_constant(g, EBB_F64, EBB_SHAPE(2), shape)), EBB_ALL_AXES, false);
    const ebb_nn_rule rule = { .method = row->method,
                               .rate = row->bowl_rate,
                               .late_correction = row->method == EBB_NN_ADAM };
    need_graph(g, ebb_nn_minimize(f, &rule));

    ebb_store *store = ebb_store_create(NULL);
    ebb_tensor value = ebb_tensor_borrow(EBB_F64, EBB_SHAPE(2), start);
    need(ebb_store_set(store, "x", &value), ebb_store_message(store));
    ebb_executable *step;
    ebb_compile_options how = { .fetches = &x, .n_fetches = 1, .store = store, .backend = backend };
    need_graph(g, ebb_compile(g, &how, &step));
    for (int i = 0; i <= N_MOVES; i++) {
        /* A fetch sees x as it was before the update. */
        double place[2] = { 0, 0 };
        ebb_fetch fetch = { x, ebb_tensor_borrow(EBB_F64, EBB_SHAPE(2), place) };
        need_run(step, ebb_run(step, NULL, 0, &fetch, 1));
        path[0][i] = place[0];
        path[1][i] = place[1];
    }
    ebb_executable_destroy(step);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}

/* On each ellipse f is constant: c^2 / 20. */
static void make_ellipses(double points[N_ELLIPSES][2][ELLIPSE_POINTS], plot_series *series)
{
    for (int e = 0; e < N_ELLIPSES; e++) {
        double c = 1.7 * (e + 1);
        for (int i = 0; i < ELLIPSE_POINTS; i++) {
            double angle = 2 * 3.14159265358979 * i / (ELLIPSE_POINTS - 1);
            points[e][0][i] = c * cos(angle);
            points[e][1][i] = c / sqrt(20) * sin(angle);
        }
        series[e] = (plot_series){
            .x = points[e][0], .y = points[e][1], .n = ELLIPSE_POINTS, .color = 8, .faint = true
        };
    }
}

static void run_bowl(const char *backend, const output_folder *output)
{
    static double paths[N_RULES][2][N_MOVES + 1], points[N_ELLIPSES][2][ELLIPSE_POINTS];
    static plot_series series[N_RULES][N_ELLIPSES + 2];
    plot_sheet sheets[N_RULES];
    for (int r = 0; r < N_RULES; r++) {
        descend(&rules[r], backend, paths[r]);
        printf("%-8s", rules[r].name);
        for (int i = 1; i <= N_MOVES; i *= i == 1 ? 10 : 3)
            printf("  %d: (%.6f, %.6f)", i, paths[r][0][i], paths[r][1][i]);
        printf("\n");
        make_ellipses(points, series[r]);
        plot_series line = { .x = paths[r][0], .y = paths[r][1], .n = N_MOVES + 1, .color = 2 };
        series[r][N_ELLIPSES] = line;
        line.kind = PLOT_POINTS;
        series[r][N_ELLIPSES + 1] = line;
        sheets[r] = (plot_sheet){ .title = rules[r].name,
                                  .x = { "x", false, -10, 10 },
                                  .y = { "y", false, -3, 3 },
                                  .series = series[r],
                                  .n_series = N_ELLIPSES + 2,
                                  .width = 520,
                                  .height = 360 };
    }
    output_plots(output, "optimizers_bowl", sheets, N_RULES, 2);
}

/* ---- the race ---- */

int main(int argc, char **argv)
{
    const char *folder = NULL, *out = NULL, *backend = "onednn";
    int64_t n_steps = 2000, seed = 1, n_threads = 0;
    const option_row options[] = { OPTION_DATA(folder),
                                   { "steps", OPTION_COUNT, &n_steps, "of the race; 0: none", 0, 0,
                                     1e7 },
                                   OPTION_SEED(seed),
                                   OPTION_THREADS(n_threads),
                                   OPTION_BACKEND(backend),
                                   OPTION_OUT(out),
                                   { 0 } };
    options_read(argc, argv, "update rules in a bowl, and in a race on images", options);
    output_folder output;
    output_open(&output, out, argv[0]);
    run_bowl(backend, &output);
    if (n_steps == 0)
        return EXIT_SUCCESS;

    example_data data;
    data_load(&data, folder, 5000, 1000, (uint64_t)seed);
    const mlp_options net = { .n_hidden = 4, .init.seed = (uint64_t)seed };
    trainer_options entrants[N_RULES];
    for (int r = 0; r < N_RULES; r++)
        entrants[r] =
            (trainer_options){ .name = rules[r].name,
                               .build = build_mlp,
                               .context = &net,
                               .data = &data,
                               .batch = BATCH,
                               .rule = { .method = rules[r].method,
                                         .rate = rules[r].image_rate,
                                         .late_correction = rules[r].method == EBB_NN_ADAM },
                               .seed = (uint64_t)seed,
                               .backend = backend,
                               .n_threads = (int)n_threads };
    race_run(&(race_options){ .entrants = entrants,
                              .n_entrants = N_RULES,
                              .n_steps = n_steps,
                              .smoothed = 50,
                              .n_last = 100,
                              .as_in_book = true,
                              .title = "Update rules" },
             &output, "optimizers");
    data_finish(&data);
    return EXIT_SUCCESS;
}
