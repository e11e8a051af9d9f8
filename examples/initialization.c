/* How weights should start (Saitoh, Deep Learning from Scratch (2016), section 6.2): what becomes
 * of 1000 normal inputs in five layers of 100 for each activation and each spread of the weights;
 * that weights which start equal stay equal; and a race on images.
 *
 *     initialization [--data FOLDER] [--steps 2000] [--seed 1] ... */
#include "support/compute.h"
#include "support/mlp.h"
#include "support/options.h"
#include "support/race.h"
#include "support/stop.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_INPUTS = 1000, WIDTH = 100, LAYERS = 5, N_VALUES = N_INPUTS * WIDTH, N_BINS = 30 };
enum { N_ACTIVATIONS = 3, N_STARTS = 4, N_NETS = 3 };
enum { BATCH = 128, HIDDEN = 5, EQUAL_STEPS = 20 };

typedef struct activation_row {
    const char *name;
    ebb_node (*apply)(ebb_node x);
    double low, high; /* saturated are values up to low, and from high on */
} activation_row;

static const activation_row activations[N_ACTIVATIONS] = {
    { "sigmoid", (ebb_sigmoid), 0.1, 0.9 },
    { "ReLU", (ebb_relu), 0, INFINITY },
    { "tanh", (ebb_tanh), -0.9, 0.9 },
};

typedef struct start_row {
    const char *name;
    double std;
} start_row;

/* sqrt(1 / n) (Glorot & Bengio 2010) and sqrt(2 / n) (He et al. 2015) with n = 100 inputs. */
static const start_row starts[N_STARTS] = {
    { "std 1", 1 }, { "std 0.01", 0.01 }, { "Xavier", 0.1 }, { "He", 0.14142135623730951 }
};

/* ---- what becomes of the activations ---- */

static double spread(const double *values)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < N_VALUES; i++)
        sum += values[i] / N_VALUES;
    for (int i = 0; i < N_VALUES; i++)
        squares += (values[i] - sum) * (values[i] - sum) / N_VALUES;
    return sqrt(squares);
}

static double saturated(const activation_row *row, const double *values)
{
    int n = 0;
    for (int i = 0; i < N_VALUES; i++)
        n += values[i] <= row->low || values[i] >= row->high;
    return (double)n / N_VALUES;
}

/* values[l] becomes the output of layer l. */
static void run_layers(const activation_row *row, double std, int64_t seed, const char *backend,
                       double *const values[LAYERS])
{
    ebb_graph *g = ebb_graph_create("layers");
    ebb_node none = ebb_scalar(g, EBB_I64, 0), outputs[LAYERS];
    ebb_node x = ebb_random_normal(none, EBB_F32, EBB_SHAPE(N_INPUTS, WIDTH), seed, 0);
    for (int l = 0; l < LAYERS; l++) {
        ebb_node w = ebb_random_normal(none, EBB_F32, EBB_SHAPE(WIDTH, WIDTH), seed, l + 1);
        x = outputs[l] = row->apply(ebb_matmul(x, ebb_mul(w, ebb_scalar(g, EBB_F32, std))));
    }
    compute(outputs, LAYERS, NULL, 0, backend, values);
    ebb_graph_destroy(g);
}

static void show_activations(int64_t seed, const char *backend, const output_folder *output)
{
    static double centers[N_STARTS * LAYERS][N_BINS], counts[N_STARTS * LAYERS][N_BINS];
    static plot_series bars[N_STARTS * LAYERS];
    static char titles[N_STARTS * LAYERS][48];
    plot_sheet sheets[N_STARTS * LAYERS];
    double *memory = malloc(LAYERS * N_VALUES * sizeof *memory), *values[LAYERS];
    if (!memory)
        stop("no memory for activations");
    for (int l = 0; l < LAYERS; l++)
        values[l] = memory + l * N_VALUES;
    for (int a = 0; a < N_ACTIVATIONS; a++) {
        const activation_row *row = &activations[a];
        char name[64];
        for (int s = 0; s < N_STARTS; s++) {
            run_layers(row, starts[s].std, seed, backend, values);
            printf("%-7s %-8s  std", row->name, starts[s].name);
            for (int l = 0; l < LAYERS; l++) {
                int i = s * LAYERS + l;
                printf(" %.4f", spread(values[l]));
                plot_bin(values[l], N_VALUES, N_BINS, centers[i], counts[i]);
                bars[i] = (plot_series){
                    .kind = PLOT_BARS, .x = centers[i], .y = counts[i], .n = N_BINS, .color = a + 1
                };
                snprintf(titles[i], sizeof titles[i], "%s, layer %d", starts[s].name, l + 1);
                sheets[i] = (plot_sheet){ .title = titles[i],
                                          .series = &bars[i],
                                          .n_series = 1,
                                          .width = 260,
                                          .height = 200 };
            }
            printf("; %s %.3f .. %.3f\n", isinf(row->high) ? "zero" : "saturated",
                   saturated(row, values[0]), saturated(row, values[LAYERS - 1]));
        }
        snprintf(name, sizeof name, "initialization_%s", row->name);
        output_plots(output, name, sheets, N_STARTS * LAYERS, LAYERS);
    }
    free(memory);
}

/* ---- weights that start equal ---- */

typedef struct equal_net {
    bool is_equal;
    uint64_t seed;
} equal_net;

static ebb_node build_equal_net(ebb_node x, bool training, const void *context)
{
    (void)training; /* the same in both */
    const equal_net *net = context;
    ebb_graph *g = x.graph;
    ebb_node flat = ebb_flatten(x, 1);
    const ebb_init equal = { .kind = EBB_INIT_CONSTANT, .a = 0.01 };
    const ebb_init drawn = { .kind = EBB_INIT_NORMAL, .b = 0.01, .seed = net->seed };
    const ebb_init *init = net->is_equal ? &equal : &drawn;
    const int64_t inputs = ebb_node_type(flat)->shape.dims[1];
    ebb_node w1 = ebb_variable(g, "w1", EBB_F32, EBB_SHAPE(inputs, HIDDEN), init);
    ebb_node w2 = ebb_variable(g, "w2", EBB_F32, EBB_SHAPE(HIDDEN, MLP_CLASSES), init);
    return ebb_matmul(ebb_sigmoid(ebb_matmul(flat, w1)), w2);
}

/* The largest distance of a hidden neuron's weight from that of the first neuron. */
static double compare_neurons(const image_trainer *trainer)
{
    ebb_tensor w;
    double worst = 0;
    need(ebb_store_get(trainer->store, "w1", &w), ebb_store_message(trainer->store));
    for (int64_t i = 0; i < ebb_shape_elements(&w.type.shape); i++)
        worst = fmax(worst, fabs(ebb_tensor_get(&w, i) - ebb_tensor_get(&w, i / HIDDEN * HIDDEN)));
    return worst;
}

static void train_equal(const trainer_options *common)
{
    for (int k = 0; k < 2; k++) {
        equal_net net = { .is_equal = k == 0, .seed = common->seed };
        trainer_options options = *common;
        options.build = build_equal_net;
        options.context = &net;
        options.rule = (ebb_nn_rule){ .rate = 0.1 };
        image_trainer trainer;
        trainer_open(&trainer, &options);
        ebb_shuffle(trainer.order, options.data->train.n, options.seed, 0);
        for (int64_t i = 0; i < EQUAL_STEPS; i++)
            trainer_step(&trainer, trainer.order + i % trainer.n_steps * options.batch, NULL);
        printf("weights that start %s: after %d steps hidden neurons differ by up to %.3g\n",
               k == 0 ? "equal" : "random", EQUAL_STEPS, compare_neurons(&trainer));
        trainer_close(&trainer);
    }
}

int main(int argc, char **argv)
{
    const char *folder = NULL, *out = NULL, *backend = "onednn";
    int64_t n_steps = 2000, seed = 1, n_threads = 0;
    const option_row options[] = { OPTION_DATA(folder),
                                   { "steps", OPTION_COUNT, &n_steps, "of the race", 0, 1, 1e7 },
                                   OPTION_SEED(seed),
                                   OPTION_THREADS(n_threads),
                                   OPTION_BACKEND(backend),
                                   OPTION_OUT(out),
                                   { 0 } };
    options_read(argc, argv, "how weights should start", options);
    output_folder output;
    output_open(&output, out, argv[0]);
    show_activations(seed, backend, &output);

    example_data data;
    data_load(&data, folder, 5000, 1000, (uint64_t)seed);
    const trainer_options common = { .name = "initialization",
                                     .data = &data,
                                     .batch = BATCH,
                                     .seed = (uint64_t)seed,
                                     .backend = backend,
                                     .n_threads = (int)n_threads };
    train_equal(&common);
    const mlp_options nets[N_NETS] = {
        { .n_hidden = 4,
          .init = { .kind = EBB_NN_INIT_NORMAL, .std = 0.01, .seed = (uint64_t)seed } },
        { .n_hidden = 4, .init = { .kind = EBB_NN_INIT_XAVIER, .seed = (uint64_t)seed } },
        { .n_hidden = 4, .init = { .kind = EBB_NN_INIT_HE, .seed = (uint64_t)seed } },
    };
    trainer_options entrants[N_NETS];
    for (int k = 0; k < N_NETS; k++) {
        entrants[k] = common;
        entrants[k].name = starts[k + 1].name;
        entrants[k].build = build_mlp;
        entrants[k].context = &nets[k];
        entrants[k].rule = (ebb_nn_rule){ .rate = 0.01 };
    }
    race_run(&(race_options){ .entrants = entrants,
                              .n_entrants = N_NETS,
                              .n_steps = n_steps,
                              .smoothed = 50,
                              .n_last = 100,
                              .as_in_book = true,
                              .title = "Starting weights, with ReLU" },
             &output, "initialization");
    data_finish(&data);
    return EXIT_SUCCESS;
}
