/* The demo: a network learns to read digits, drawn ones that come with Ebb or MNIST's. It leaves a
 * picture of the whole training graph (forward, backward and update nodes), the loss curve and the
 * trained weights.
 *
 *     digits [--data FOLDER] [--out FOLDER] [--epochs 5] ... */
#include "support/data.h"
#include "support/evaluate.h"
#include "support/options.h"
#include "support/output.h"
#include "support/progress.h"
#include "support/stop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { CLASSES = 10, EVALUATION_BATCH = 500 };

typedef struct digits_model {
    ebb_graph *graph;
    ebb_node x, t, scores, loss, accuracy; /* [batch, pixels], [batch], [batch, classes], [], [] */
} digits_model;

static digits_model make_model(int64_t batch, int64_t n_pixels, int64_t n_hidden, uint64_t seed)
{
    digits_model model = { .graph = ebb_graph_create("digits") };
    ebb_graph *g = model.graph;
    model.x = ebb_input(g, "images", EBB_F32, EBB_SHAPE(batch, n_pixels));
    model.t = ebb_input(g, "labels", EBB_I32, EBB_SHAPE(batch));
    ebb_node h = ebb_relu(ebb_nn_linear(
        model.x, n_hidden, &(ebb_nn_linear_options){ .name = "hidden", .seed = seed }));
    model.scores =
        ebb_nn_linear(h, CLASSES, &(ebb_nn_linear_options){ .name = "scores", .seed = seed });
    model.loss = ebb_named(ebb_softmax_cross_entropy(model.scores, model.t), "loss");
    model.accuracy = ebb_named(ebb_nn_accuracy(model.scores, model.t), "accuracy");
    return model;
}

int main(int argc, char **argv)
{
    const char *folder = NULL, *out = NULL, *backend = "onednn";
    int64_t epochs = 5, seed = 1, batch = 100, n_hidden = 100, n_images = 20000;
    double rate = 0.1;
    const option_row options[] = {
        { "data", OPTION_TEXT, &folder, "folder with MNIST's IDX files; none: draw digits", 0, 0,
          0 },
        { "images", OPTION_COUNT, &n_images, "how many to draw for training", 0, 1, 1e7 },
        { "epochs", OPTION_COUNT, &epochs, "times through all images", 0, 1, 1000 },
        { "batch", OPTION_COUNT, &batch, "images in a step", 0, 1, 60000 },
        { "hidden", OPTION_COUNT, &n_hidden, "width of the hidden layer", 0, 1, 10000 },
        { "rate", OPTION_NUMBER, &rate, "learning rate", 0, 1e-12, 1e6 },
        { "seed", OPTION_COUNT, &seed, "of weights, order and drawn digits", 0, 0, 0 },
        OPTION_OUT(out),
        OPTION_BACKEND(backend),
        { 0 }
    };
    options_read(argc, argv, "trains a network to read digits", options);
    output_folder output;
    output_open(&output, out, argv[0]);
    example_data data;
    data_load(&data, folder, n_images, n_images < 20000 ? n_images / 5 + 1 : 4000, (uint64_t)seed);
    int64_t n_pixels = data.train.height * data.train.width, n_steps = data.train.n / batch;
    if (n_steps < 1)
        stop("digits: %" PRId64 " images are too few for a batch of %" PRId64, data.train.n, batch);

    /* Two graphs over one store: a training step, and an evaluation with another batch size. */
    ebb_store *store = ebb_store_create(NULL);
    digits_model train = make_model(batch, n_pixels, n_hidden, (uint64_t)seed);
    digits_model test = make_model(EVALUATION_BATCH, n_pixels, n_hidden, (uint64_t)seed);
    ebb_node prediction = ebb_argmax(test.scores, 1), results[] = { train.loss, train.accuracy };
    need_graph(train.graph, ebb_nn_minimize(train.loss, &(ebb_nn_rule){ .rate = rate }));
    ebb_executable *step, *evaluation;
    ebb_compile_options how = {
        .fetches = results, .n_fetches = 2, .store = store, .backend = backend
    };
    need_graph(train.graph, ebb_compile(train.graph, &how, &step));
    how.fetches = &prediction;
    how.n_fetches = 1;
    need_graph(test.graph, ebb_compile(test.graph, &how, &evaluation));

    float loss = 0;
    double accuracy = 0;
    ebb_tensor images, labels;
    int64_t *order = malloc((size_t)data.train.n * sizeof *order);
    double *losses = malloc((size_t)(epochs * n_steps) * sizeof *losses);
    double *tests = malloc((size_t)epochs * sizeof *tests);
    if (!order || !losses || !tests ||
        ebb_tensor_init(&images, *ebb_node_type(train.x), NULL) != EBB_OK ||
        ebb_tensor_init(&labels, *ebb_node_type(train.t), NULL) != EBB_OK)
        stop("digits: out of memory");
    ebb_feed feeds[] = { { train.x, images }, { train.t, labels } };
    ebb_fetch fetches[] = { { train.loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &loss) },
                            { train.accuracy, ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &accuracy) } };

    for (int64_t epoch = 0; epoch < epochs; epoch++) {
        char label[64];
        double mean_loss = 0, mean_accuracy = 0;
        progress_bar progress;
        snprintf(label, sizeof label, "epoch %" PRId64 "/%" PRId64, epoch + 1, epochs);
        progress_start(&progress, label, n_steps);
        ebb_shuffle(order, data.train.n, (uint64_t)seed, (uint64_t)epoch);
        for (int64_t i = 0; i < n_steps; i++) {
            ebb_error error;
            need(ebb_image_set_batch(&data.train, order + i * batch, batch, &images, &labels,
                                     &error),
                 error.message);
            need_run(step, ebb_run(step, feeds, 2, fetches, 2));
            losses[epoch * n_steps + i] = (double)loss;
            mean_loss += (double)loss / (double)n_steps;
            mean_accuracy += accuracy / (double)n_steps;
            progress_step(&progress, i + 1, (double)loss);
        }
        tests[epoch] = evaluate(evaluation, test.x, prediction, &data.test);
        progress_end(&progress);
        printf("%s: loss %.4f, accuracy %.4f, on test images %.4f\n", label, mean_loss,
               mean_accuracy, tests[epoch]);
    }

    char path[OUTPUT_PATH_BYTES];
    ebb_error error;
    double per_step = 1 / (double)n_steps;
    plot_series lines[] = {
        { .name = "training loss", .y = losses, .n = epochs * n_steps, .step_x = per_step },
        { .name = "test accuracy", .y = tests, .n = epochs, .first_x = 1 },
    };
    output_plot(&output, "loss",
                &(plot_sheet){ .title = "Learning to read digits",
                               .x.label = "epoch",
                               .series = lines,
                               .n_series = 2 });
    output_graph(&output, "graph", train.graph,
                 &(ebb_dot_options){ .outputs = results, .n_outputs = 2 });
    output_path(&output, "weights.safetensors", path);
    need(ebb_store_save(store, path, &error), error.message);
    printf("wrote %s\n", path);

    free(order);
    free(losses);
    free(tests);
    ebb_tensor_finish(&images);
    ebb_tensor_finish(&labels);
    ebb_executable_destroy(step);
    ebb_executable_destroy(evaluation);
    ebb_graph_destroy(train.graph);
    ebb_graph_destroy(test.graph);
    ebb_store_destroy(store);
    data_finish(&data);
    return EXIT_SUCCESS;
}
