/* Step, sigmoid and ReLU, and why there must be something between two linear layers (Saitoh, Deep
 * Learning from Scratch (2016), chapter 3): without it, a stack of them is one matrix.
 *
 *     activations [--backend reference|onednn] [--out DIR] */
#include "support/compute.h"
#include "support/options.h"
#include "support/output.h"
#include "support/stop.h"

#include <math.h>
#include <stdio.h>

enum { N_POINTS = 401, N_FUNCTIONS = 3, BATCH = 4, WIDTH = 3, LAYERS = 3 };

static ebb_node step_function(ebb_node x)
{
    return ebb_cast(ebb_greater(x, ebb_full_like(x, 0)), EBB_F64);
}

/* The three functions of x. */
static void put_functions(ebb_node x, ebb_node y[N_FUNCTIONS])
{
    y[0] = step_function(x);
    y[1] = ebb_sigmoid(x);
    y[2] = ebb_relu(x);
}

static const char *const names[N_FUNCTIONS] = { "step", "sigmoid", "ReLU" };

static void print_values(const char *backend)
{
    const double at[] = { -1, 0, 1, 2 };
    ebb_graph *g = ebb_graph_create("values");
    ebb_node y[N_FUNCTIONS];
    double value[N_FUNCTIONS][4];
    put_functions(ebb_constant(g, EBB_F64, EBB_SHAPE(4), at), y);
    compute(y, N_FUNCTIONS, NULL, 0, backend, (double *[]){ value[0], value[1], value[2] });
    for (int f = 0; f < N_FUNCTIONS; f++) {
        printf("%-8s", names[f]);
        for (int i = 0; i < 4; i++)
            printf(" h(%g) = %-12.8g", at[i], value[f][i]);
        printf("\n");
    }
    ebb_graph_destroy(g);
}

static void draw_functions(const char *backend, const output_folder *output)
{
    static double x[N_POINTS], y[N_FUNCTIONS][N_POINTS];
    ebb_graph *g = ebb_graph_create("functions");
    ebb_node nodes[N_FUNCTIONS];
    for (int i = 0; i < N_POINTS; i++)
        x[i] = -5 + 10.0 * i / (N_POINTS - 1);
    put_functions(ebb_constant(g, EBB_F64, EBB_SHAPE(N_POINTS), x), nodes);
    compute(nodes, N_FUNCTIONS, NULL, 0, backend, (double *[]){ y[0], y[1], y[2] });
    plot_series lines[N_FUNCTIONS];
    for (int f = 0; f < N_FUNCTIONS; f++)
        lines[f] = (plot_series){ .name = names[f], .x = x, .y = y[f], .n = N_POINTS };
    output_plot(output, "activations",
                &(plot_sheet){ .title = "Activation functions",
                               .x.label = "x",
                               .y = { "h(x)", false, -0.1, 2 },
                               .series = lines,
                               .n_series = N_FUNCTIONS });
    ebb_graph_destroy(g);
}

static double largest_difference(ebb_node a, ebb_node b, const char *backend)
{
    double value;
    ebb_node distance = ebb_reduce_max(ebb_abs(ebb_sub(a, b)), EBB_ALL_AXES, false);
    return *compute_one(distance, backend, &value);
}

/* How many products of matrices a run makes. */
static int count_products(ebb_node y, const char *backend)
{
    ebb_executable *run;
    ebb_compile_options how = { .fetches = &y, .n_fetches = 1, .backend = backend };
    need_graph(y.graph, ebb_compile(y.graph, &how, &run));
    ebb_step_info step;
    int n = 0;
    for (int64_t i = 0; ebb_executable_step(run, i, &step); i++)
        n += step.op[0] == 'm' && step.op[1] == 'a' && step.op[2] == 't';
    ebb_executable_destroy(run);
    return n;
}

static void collapse_layers(const char *backend)
{
    ebb_graph *g = ebb_graph_create("layers");
    ebb_node none = ebb_scalar(g, EBB_I64, 0), w[LAYERS];
    ebb_node x = ebb_random_normal(none, EBB_F64, EBB_SHAPE(BATCH, WIDTH), 1, 0);
    for (int i = 0; i < LAYERS; i++)
        w[i] = ebb_random_normal(none, EBB_F64, EBB_SHAPE(WIDTH, WIDTH), 1, i + 1);
    ebb_node linear = x, curved = x, matrix = w[0];
    for (int i = 0; i < LAYERS; i++) {
        linear = ebb_matmul(linear, w[i]);
        curved = ebb_sigmoid(ebb_matmul(curved, w[i]));
        matrix = i > 0 ? ebb_matmul(matrix, w[i]) : matrix;
    }
    ebb_node one = ebb_matmul(x, matrix);
    double worst = largest_difference(linear, one, backend);
    printf("%d linear layers and one matrix: largest difference %s\n", LAYERS,
           worst < 1e-12 ? "below 1e-12" : "too large");
    printf("with sigmoid in between: largest difference %.3g\n",
           largest_difference(curved, one, backend));

    /* The weights are known, so the compiler makes the one matrix. */
    ebb_node fed = ebb_input(g, "x", EBB_F64, EBB_SHAPE(BATCH, WIDTH));
    double values[LAYERS][WIDTH * WIDTH];
    ebb_node fixed[LAYERS], layers = fed;
    compute(w, LAYERS, NULL, 0, backend, (double *[]){ values[0], values[1], values[2] });
    for (int i = 0; i < LAYERS; i++) {
        fixed[i] = ebb_constant(g, EBB_F64, EBB_SHAPE(WIDTH, WIDTH), values[i]);
        layers = ebb_matmul(layers, fixed[i]);
    }
    ebb_node folded = ebb_matmul(fed, ebb_matmul(ebb_matmul(fixed[0], fixed[1]), fixed[2]));
    printf("products in a run: %d; with the matrices multiplied first: %d\n",
           count_products(layers, backend), count_products(folded, backend));
    ebb_graph_destroy(g);
}

int main(int argc, char **argv)
{
    const char *backend = "onednn", *folder = NULL;
    const option_row options[] = { OPTION_BACKEND(backend), OPTION_OUT(folder), { 0 } };
    options_read(argc, argv, "activation functions, and what they are good for", options);
    output_folder output;
    output_open(&output, folder, argv[0]);
    print_values(backend);
    collapse_layers(backend);
    draw_functions(backend, &output);
    return 0;
}
