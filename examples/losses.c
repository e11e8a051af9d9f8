/* Loss functions, and why the accuracy is none (Saitoh, Deep Learning from Scratch (2016), sections
 * 4.2 and 4.3): while one weight of a half-trained net is nudged, the loss answers every change,
 * the accuracy stands still and then jumps.
 *
 *     losses [--data FOLDER] [--steps 60] [--seed 1] ... */
#include "support/compute.h"
#include "support/data.h"
#include "support/options.h"
#include "support/output.h"
#include "support/stop.h"
#include "support/train.h"

#include <stdio.h>
#include <stdlib.h>

enum { CLASSES = 10, HIDDEN = 50, BATCH = 100, N_NUDGES = 201, REACH = 3 };

static void print_losses(const char *backend)
{
    static const double target[CLASSES] = { [2] = 1 };
    static const double guesses[2][CLASSES] = { { .1, .05, .6, 0, .05, .1, 0, .1, 0, 0 },
                                                { .1, .05, .1, 0, .05, .1, 0, .6, 0, 0 } };
    ebb_graph *g = ebb_graph_create("losses");
    ebb_node t = ebb_constant(g, EBB_F64, EBB_SHAPE(CLASSES), target);
    for (int i = 0; i < 2; i++) {
        ebb_node y = ebb_constant(g, EBB_F64, EBB_SHAPE(CLASSES), guesses[i]);
        double squares, entropy;
        printf("class 2 %s: squared error %.4f, cross entropy %.9f\n",
               i == 0 ? "found" : "taken for 7",
               *compute_one(ebb_squared_error(y, t), backend, &squares),
               *compute_one(ebb_cross_entropy(y, t, 1e-7), backend, &entropy));
    }
    ebb_graph_destroy(g);
}

/* ---- a net with one weight that is nudged ---- */

static ebb_node build_net(ebb_node x, bool training, const void *context)
{
    (void)training; /* the same in both */
    ebb_nn_linear_options layer = { .name = "fc1", .init.seed = *(const uint64_t *)context };
    ebb_node hidden = ebb_relu(ebb_nn_linear(ebb_flatten(x, 1), HIDDEN, &layer));
    layer.name = "fc2";
    return ebb_nn_linear(hidden, CLASSES, &layer);
}

/* x[i] gets changes from -REACH to REACH of the trained one. */
static void nudge_weight(image_trainer *trainer, double *x, double *losses, double *accuracies)
{
    float weights[HIDDEN * CLASSES];
    ebb_tensor value, copy = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(HIDDEN, CLASSES), weights);
    need(ebb_store_get(trainer->store, "fc2/w", &value), ebb_store_message(trainer->store));
    for (int k = 0; k < HIDDEN * CLASSES; k++)
        weights[k] = (float)ebb_tensor_get(&value, k);
    const float trained = weights[0];
    for (int i = 0; i < N_NUDGES; i++) {
        x[i] = -REACH + 2.0 * REACH * i / (N_NUDGES - 1);
        weights[0] = trained + (float)x[i];
        need(ebb_store_set(trainer->store, "fc2/w", &copy), ebb_store_message(trainer->store));
        losses[i] = trainer_loss(trainer, &accuracies[i]);
    }
}

static int count_values(const double *values, int n)
{
    int n_different = 0;
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < i && values[k] != values[i])
            k++;
        n_different += k == i;
    }
    return n_different;
}

int main(int argc, char **argv)
{
    const char *folder = NULL, *out = NULL, *backend = "onednn";
    int64_t n_steps = 60, seed = 1;
    const option_row options[] = { OPTION_DATA(folder),
                                   { "steps", OPTION_COUNT, &n_steps,
                                     "of training before the weight is nudged", 0, 1, 1e6 },
                                   OPTION_SEED(seed),
                                   OPTION_BACKEND(backend),
                                   OPTION_OUT(out),
                                   { 0 } };
    options_read(argc, argv, "loss functions, and why the accuracy is none", options);
    output_folder output;
    output_open(&output, out, argv[0]);
    print_losses(backend);

    example_data data;
    data_load(&data, folder, 1000, BATCH, (uint64_t)seed);
    const uint64_t weight_seed = (uint64_t)seed;
    image_trainer trainer;
    trainer_open(&trainer, &(trainer_options){ .name = "losses",
                                               .build = build_net,
                                               .context = &weight_seed,
                                               .data = &data,
                                               .batch = BATCH,
                                               .rule = { .rate = 0.1 },
                                               .backend = backend,
                                               .n_threads = 1 });
    ebb_shuffle(trainer.order, data.train.n, (uint64_t)seed, 0);
    for (int64_t i = 0; i < n_steps; i++)
        trainer_step(&trainer, trainer.order + i % trainer.n_steps * BATCH, NULL);
    double x[N_NUDGES], losses[N_NUDGES], accuracies[N_NUDGES];
    nudge_weight(&trainer, x, losses, accuracies);
    printf("weight at -%d, 0, %d: accuracy %.2f, %.2f, %.2f; loss %.5f, %.5f, %.5f\n", REACH, REACH,
           accuracies[0], accuracies[N_NUDGES / 2], accuracies[N_NUDGES - 1], losses[0],
           losses[N_NUDGES / 2], losses[N_NUDGES - 1]);
    printf("%d values of the weight give %d different accuracies and %d different losses\n",
           N_NUDGES, count_values(accuracies, N_NUDGES), count_values(losses, N_NUDGES));
    const plot_series lines[] = { { .x = x, .y = losses, .n = N_NUDGES, .color = 1 },
                                  { .x = x, .y = accuracies, .n = N_NUDGES, .color = 2 } };
    const plot_sheet sheets[] = { { .title = "Loss of 100 images",
                                    .x.label = "change of one weight",
                                    .series = &lines[0],
                                    .n_series = 1,
                                    .height = 320 },
                                  { .title = "Accuracy on them",
                                    .x.label = "change of one weight",
                                    .series = &lines[1],
                                    .n_series = 1 } };
    output_plots(&output, "losses", sheets, 2, 1);
    trainer_close(&trainer);
    data_finish(&data);
    return EXIT_SUCCESS;
}
