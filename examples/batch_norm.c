/* Batch normalization makes the scale of the first weights unimportant (Saitoh, Deep Learning from
 * Scratch (2016), section 6.3): a net of five hidden layers of 100 learns 1000 images for 20 epochs
 * by SGD with rate 0.01, with and without it, from weights of 16 scales between 1 and 10^-4. And
 * the gradient of such a net, 784-20-20-10 at a batch of 8, against differences. (At the book's
 * batch of one every normalized value is 0, and so is its gradient.)
 *
 *     batch_norm [--data FOLDER] [--epochs 20] [--images 1000] [--seed 1] ... */
#include "support/mlp.h"
#include "support/options.h"
#include "support/output.h"
#include "support/stop.h"
#include "support/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_SCALES = 16, BATCH = 100, MAX_EPOCHS = 1000, CHECK_BATCH = 8, CHECK_WIDTH = 20 };

/* ---- the gradient check ---- */

static void check_gradient(const example_data *data, uint64_t seed)
{
    const int64_t pixels = data->train.channels * data->train.height * data->train.width;
    ebb_graph *g = ebb_graph_create("check");
    ebb_node x = ebb_input(g, "images", EBB_F64, EBB_SHAPE(CHECK_BATCH, pixels));
    ebb_node t = ebb_input(g, "labels", EBB_I32, EBB_SHAPE(CHECK_BATCH)), y = x;
    for (int i = 1; i <= 2; i++) {
        char name[32];
        snprintf(name, sizeof name, "fc%d", i);
        y = ebb_nn_linear(y, CHECK_WIDTH,
                          &(ebb_nn_linear_options){ .name = name, .init.seed = seed });
        snprintf(name, sizeof name, "norm%d", i);
        y = ebb_relu(
            ebb_nn_batch_norm(y, &(ebb_nn_batch_norm_options){ .name = name, .epsilon = 1e-6 }));
    }
    y = ebb_nn_linear(y, MLP_CLASSES, &(ebb_nn_linear_options){ .name = "fc3", .init.seed = seed });
    ebb_node loss = ebb_softmax_cross_entropy(y, t);

    static const char *const names[] = { "fc1/w",       "norm1/scale", "norm1/shift", "fc2/w",
                                         "norm2/scale", "norm2/shift", "fc3/w",       "fc3/b" };
    enum { N_NAMES = sizeof names / sizeof *names };
    ebb_node weights[N_NAMES];
    for (int i = 0; i < N_NAMES; i++)
        weights[i] = ebb_graph_find(g, names[i]);
    ebb_tensor images, labels;
    ebb_error error;
    if (ebb_tensor_init(&images, *ebb_node_type(x), NULL) != EBB_OK ||
        ebb_tensor_init(&labels, *ebb_node_type(t), NULL) != EBB_OK)
        stop("no memory for %d images", CHECK_BATCH);
    int64_t indices[CHECK_BATCH] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    need(ebb_image_set_batch(&data->train, indices, CHECK_BATCH, &images, &labels, &error),
         error.message);
    const ebb_check_value values[] = { { x, images }, { t, labels } };
    ebb_check_report report;
    const ebb_check_options how = {
        .values = values,
        .n_values = 2,
        .step = 2e-6, /* a larger one moves a sum across the corner of a ReLU */
        .seed = seed
    };
    need_graph(g, ebb_check_gradients(loss, weights, N_NAMES, &how, &report));
    printf("gradient check at a batch of %d: %d directions, worst relative error %.1e\n",
           CHECK_BATCH, report.n_checks, report.worst_error);
    ebb_tensor_finish(&images);
    ebb_tensor_finish(&labels);
    ebb_graph_destroy(g);
}

/* ---- the race ---- */

/* accuracies[e] becomes that on the training images after epoch e. */
static void train(const trainer_options *options, int64_t n_epochs, double *accuracies)
{
    image_trainer trainer;
    trainer_open(&trainer, options);
    const example_data *data = options->data;
    for (int64_t e = 0; e < n_epochs; e++) {
        ebb_shuffle(trainer.order, data->train.n, options->seed, (uint64_t)e);
        for (int64_t i = 0; i < trainer.n_steps; i++)
            trainer_step(&trainer, trainer.order + i * options->batch, NULL);
        accuracies[e] = trainer_evaluate(&trainer, &data->train);
    }
    trainer_close(&trainer);
}

int main(int argc, char **argv)
{
    const char *folder = NULL, *out = NULL, *backend = "onednn";
    int64_t n_epochs = 20, n_images = 1000, seed = 1, n_threads = 0;
    const option_row options[] = {
        OPTION_DATA(folder),
        { "epochs", OPTION_COUNT, &n_epochs, "times through the images", 0, 1, MAX_EPOCHS },
        { "images", OPTION_COUNT, &n_images, "how many to learn", 0, BATCH, 60000 },
        OPTION_SEED(seed),
        OPTION_THREADS(n_threads),
        OPTION_BACKEND(backend),
        OPTION_OUT(out),
        { 0 }
    };
    options_read(argc, argv, "batch normalization at 16 scales of the weights", options);
    output_folder output;
    output_open(&output, out, argv[0]);
    example_data data;
    data_load(&data, folder, n_images, 10, (uint64_t)seed);
    data_keep(&data, n_images);
    check_gradient(&data, (uint64_t)seed);

    static double accuracies[N_SCALES][2][MAX_EPOCHS];
    static plot_series lines[N_SCALES][2];
    static char titles[N_SCALES][32];
    plot_sheet sheets[N_SCALES];
    int n_learned[2] = { 0, 0 };
    printf("%-10s %10s %10s\n", "scale", "without", "with");
    for (int s = 0; s < N_SCALES; s++) {
        const double scale = pow(10, -4.0 * s / (N_SCALES - 1));
        for (int k = 0; k < 2; k++) {
            const mlp_options net = {
                .n_hidden = 5,
                .init = { .kind = EBB_NN_INIT_NORMAL, .std = scale, .seed = (uint64_t)seed },
                .batch_norm = k == 1
            };
            train(&(trainer_options){ .name = "batch_norm",
                                      .build = build_mlp,
                                      .context = &net,
                                      .data = &data,
                                      .batch = BATCH,
                                      .rule = { .rate = 0.01 },
                                      .seed = (uint64_t)seed,
                                      .backend = backend,
                                      .n_threads = (int)n_threads },
                  n_epochs, accuracies[s][k]);
            n_learned[k] += accuracies[s][k][n_epochs - 1] >= 0.5;
            lines[s][k] = (plot_series){ .name = s > 0 ? NULL
                                                 : k   ? "with"
                                                       : "without",
                                         .y = accuracies[s][k],
                                         .n = n_epochs,
                                         .first_x = 1,
                                         .color = k + 1 };
        }
        printf("%-10.5f %10.3f %10.3f\n", scale, accuracies[s][0][n_epochs - 1],
               accuracies[s][1][n_epochs - 1]);
        fflush(stdout);
        snprintf(titles[s], sizeof titles[s], "std %.2g", scale);
        sheets[s] = (plot_sheet){ .title = titles[s],
                                  .y = { NULL, false, 0, 1 },
                                  .series = lines[s],
                                  .n_series = 2,
                                  .width = 300,
                                  .height = 220 };
    }
    printf("at least half right after %" PRId64 " epochs: %d of 16 scales without, %d with\n",
           n_epochs, n_learned[0], n_learned[1]);
    output_plots(&output, "batch_norm", sheets, N_SCALES, 4);
    data_finish(&data);
    return EXIT_SUCCESS;
}
