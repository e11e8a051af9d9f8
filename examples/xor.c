/* What one perceptron cannot do (Saitoh, Deep Learning from Scratch (2016), chapter 2). All
 * perceptrons y = (w1 a + w2 b + c > 0) with weights -1, -0.9 .. 1 are tried at once on AND, NAND,
 * OR and XOR: none is XOR, as no straight line parts 01 and 10 from 00 and 11. Training by gradient
 * descent fails as well, until a second layer is there.
 *
 *     xor [--steps 3000] [--seed 1] [--backend reference|onednn] [--out DIR] */
#include "support/compute.h"
#include "support/options.h"
#include "support/output.h"
#include "support/stop.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 4, N_VALUES = 21, N_PERCEPTRONS = N_VALUES * N_VALUES * N_VALUES, HIDDEN = 4 };

static const float table[ROWS * 2] = { 0, 0, 0, 1, 1, 0, 1, 1 };

typedef struct gate_row {
    const char *name;
    float truth[ROWS];
} gate_row;

static const gate_row gates[] = { { "AND", { 0, 0, 0, 1 } },
                                  { "NAND", { 1, 1, 1, 0 } },
                                  { "OR", { 0, 1, 1, 1 } },
                                  { "XOR", { 0, 1, 1, 0 } } };
enum { N_GATES = sizeof gates / sizeof *gates };

/* Values from -10 to 10 that change after every `period` perceptrons. Tenths of them would give the
 * same answers, but with rounding. */
static ebb_node weight_row(ebb_graph *g, int64_t period)
{
    ebb_node i = ebb_iota(g, EBB_I32, EBB_SHAPE(1, N_PERCEPTRONS), 1);
    ebb_node k = ebb_mod(ebb_div(i, ebb_scalar(g, EBB_I32, (double)period)),
                         ebb_scalar(g, EBB_I32, N_VALUES));
    return ebb_sub(ebb_cast(k, EBB_F32), ebb_scalar(g, EBB_F32, N_VALUES / 2));
}

static void search_weights(const char *backend)
{
    ebb_graph *g = ebb_graph_create("search");
    ebb_node x = ebb_constant(g, EBB_F32, EBB_SHAPE(ROWS, 2), table), counts[N_GATES];
    ebb_node w[] = { weight_row(g, 1), weight_row(g, N_VALUES) };
    ebb_node sum = ebb_add(ebb_matmul(x, ebb_concat(g, w, 2, 0)), /* [rows, perceptrons] */
                           weight_row(g, N_VALUES * N_VALUES));
    ebb_node fires = ebb_greater(sum, ebb_scalar(g, EBB_F32, 0));
    double count[N_GATES], *values[N_GATES];
    for (int i = 0; i < N_GATES; i++) {
        ebb_node truth = ebb_constant(g, EBB_F32, EBB_SHAPE(ROWS, 1), gates[i].truth);
        ebb_node same = ebb_equal(fires, ebb_cast(truth, EBB_BOOL));
        ebb_node right = ebb_reduce_all(same, EBB_AXES(0), false);
        counts[i] = ebb_reduce_sum(ebb_cast(right, EBB_I32), EBB_ALL_AXES, false);
        values[i] = &count[i];
    }
    compute(counts, N_GATES, NULL, 0, backend, values);
    for (int i = 0; i < N_GATES; i++)
        printf("%-4s: %.0f of %d perceptrons\n", gates[i].name, count[i], N_PERCEPTRONS);
    ebb_graph_destroy(g);
}

/* Trains one layer, or two; losses[0..n_steps) become those of the steps. */
static void train_net(bool is_deep, int64_t n_steps, int64_t seed, const char *backend,
                      double *losses)
{
    const char *name = is_deep ? "two layers" : "one layer";
    ebb_graph *g = ebb_graph_create("xor");
    ebb_node x = ebb_constant(g, EBB_F32, EBB_SHAPE(ROWS, 2), table);
    ebb_node t = ebb_constant(g, EBB_F32, EBB_SHAPE(ROWS, 1), gates[N_GATES - 1].truth);
    ebb_nn_linear_options layer = { .name = "fc1",
                                    .init.kind = EBB_NN_INIT_XAVIER,
                                    .init.seed = (uint64_t)seed };
    ebb_node hidden = is_deep ? ebb_tanh(ebb_nn_linear(x, HIDDEN, &layer)) : x;
    layer.name = "fc2";
    ebb_node y = ebb_nn_linear(hidden, 1, &layer);
    ebb_node loss = ebb_binary_cross_entropy(y, t, EBB_REDUCTION_MEAN);
    need_graph(g, ebb_nn_minimize(loss, &(ebb_nn_rule){ .rate = 0.5 }));

    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *step;
    ebb_compile_options how = {
        .fetches = (ebb_node[]){ loss, y }, .n_fetches = 2, .store = store, .backend = backend
    };
    need_graph(g, ebb_compile(g, &how, &step));
    float value = 0, scores[ROWS] = { 0 };
    ebb_fetch fetches[] = { { loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &value) },
                            { y, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(ROWS, 1), scores) } };
    for (int64_t i = 0; i < n_steps; i++) {
        need_run(step, ebb_run(step, NULL, 0, fetches, 2));
        losses[i] = (double)value;
    }
    int n_right = 0;
    for (int i = 0; i < ROWS; i++)
        n_right += (scores[i] > 0) == (gates[N_GATES - 1].truth[i] > 0);
    printf("XOR trained, %s: loss %.4f, %d of 4 rows right\n", name, (double)value, n_right);
    ebb_executable_destroy(step);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}

int main(int argc, char **argv)
{
    const char *backend = "onednn", *folder = NULL;
    int64_t n_steps = 3000, seed = 1;
    const option_row options[] = { { "steps", OPTION_COUNT, &n_steps, "of training", 0, 1, 1e7 },
                                   OPTION_SEED(seed),
                                   OPTION_BACKEND(backend),
                                   OPTION_OUT(folder),
                                   { 0 } };
    options_read(argc, argv, "one perceptron is AND, NAND or OR, but never XOR", options);
    output_folder output;
    output_open(&output, folder, argv[0]);
    search_weights(backend);

    double *losses = malloc(2 * (size_t)n_steps * sizeof *losses);
    if (!losses)
        stop("no memory for %lld steps", (long long)n_steps);
    train_net(false, n_steps, seed, backend, losses);
    train_net(true, n_steps, seed, backend, losses + n_steps);
    const plot_series lines[] = { { .name = "one layer", .y = losses, .n = n_steps },
                                  { .name = "two layers", .y = losses + n_steps, .n = n_steps } };
    output_plot(&output, "xor",
                &(plot_sheet){ .title = "Learning XOR",
                               .x.label = "step",
                               .y.label = "loss",
                               .series = lines,
                               .n_series = 2 });
    free(losses);
    return EXIT_SUCCESS;
}
