/* The two-layer net of Saitoh, Deep Learning from Scratch (2016), chapter 5: 784-50-10 with ReLU,
 * weights normal with standard deviation 0.01, biases 0, gradient descent with rate 0.1 on batches
 * of 100 that are drawn with replacement. On MNIST, 10,000 steps give a test accuracy of 0.970,
 * plus or minus 0.002 with the seed.
 *
 *     two_layer_net --data FOLDER | --synthetic [--iterations 10000] [--seed 1] ... */
#include "support/data.h"
#include "support/evaluate.h"
#include "support/options.h"
#include "support/progress.h"
#include "support/stop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { HIDDEN = 50, CLASSES = 10, EVALUATION_BATCH = 500 };

typedef struct two_layer_net {
    ebb_graph *graph;
    ebb_node x, t, scores, loss; /* [batch, pixels], [batch], [batch, classes], [] */
} two_layer_net;

/* Another batch size is another graph; variables of the same names are the same values in the
 * store. */
static two_layer_net make_net(int64_t batch, int64_t n_pixels, uint64_t seed)
{
    two_layer_net net = { .graph = ebb_graph_create("two_layer_net") };
    net.x = ebb_input(net.graph, "x", EBB_F32, EBB_SHAPE(batch, n_pixels));
    net.t = ebb_input(net.graph, "t", EBB_I32, EBB_SHAPE(batch));
    ebb_nn_linear_options layer = { .init = EBB_NN_INIT_NORMAL, .std = 0.01, .seed = seed };
    layer.name = "fc1";
    ebb_node hidden = ebb_relu(ebb_nn_linear(net.x, HIDDEN, &layer));
    layer.name = "fc2";
    net.scores = ebb_nn_linear(hidden, CLASSES, &layer);
    net.loss = ebb_softmax_cross_entropy(net.scores, net.t);
    return net;
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t draw_number(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int main(int argc, char **argv)
{
    const char *folder = NULL, *backend = "onednn";
    bool synthetic = false;
    int64_t iterations = 10000, seed = 1, batch = 100, n_losses = 0;
    double rate = 0.1;
    const option_row options[] = {
        { "data", OPTION_TEXT, &folder, "folder with MNIST's IDX files", 0, 0, 0 },
        { "synthetic", OPTION_FLAG, &synthetic, "draw digits instead", 0, 0, 0 },
        { "iterations", OPTION_COUNT, &iterations, "training steps", 0, 0, 0 },
        { "seed", OPTION_COUNT, &seed, "of weights, batches and drawn digits", 0, 0, 0 },
        { "rate", OPTION_NUMBER, &rate, "learning rate", 0, 1e-12, 1e6 },
        { "batch", OPTION_COUNT, &batch, "images in a step", 0, 1, 60000 },
        { "losses", OPTION_COUNT, &n_losses, "print the loss of the first N steps", 0, 0, 0 },
        OPTION_BACKEND(backend),
        { 0 }
    };
    options_read(argc, argv, "the book's two-layer net", options);
    if (!folder == !synthetic)
        stop("two_layer_net: give either --data FOLDER or --synthetic");
    example_data data;
    data_load(&data, folder, 10000, 2000, (uint64_t)seed);
    int64_t n_pixels = data.train.height * data.train.width;

    /* One executable makes steps, another one evaluates; both work on the weights in the store. */
    ebb_store *store = ebb_store_create(NULL);
    two_layer_net train = make_net(batch, n_pixels, (uint64_t)seed);
    two_layer_net test = make_net(EVALUATION_BATCH, n_pixels, (uint64_t)seed);
    ebb_node prediction = ebb_argmax(test.scores, 1);
    need_graph(train.graph, ebb_nn_minimize(train.loss, &(ebb_nn_rule){ .rate = rate }));
    ebb_compile_options how = { .n_fetches = 1, .store = store, .backend = backend };
    ebb_executable *step, *evaluation;
    how.fetches = &train.loss;
    need_graph(train.graph, ebb_compile(train.graph, &how, &step));
    how.fetches = &prediction;
    need_graph(test.graph, ebb_compile(test.graph, &how, &evaluation));

    float loss = 0;
    ebb_tensor images, labels;
    int64_t *indices = malloc((size_t)batch * sizeof *indices);
    if (!indices || ebb_tensor_init(&images, *ebb_node_type(train.x), NULL) != EBB_OK ||
        ebb_tensor_init(&labels, *ebb_node_type(train.t), NULL) != EBB_OK)
        stop("two_layer_net: no memory for a batch of %" PRId64 " images", batch);
    ebb_feed feeds[] = { { train.x, images }, { train.t, labels } };
    ebb_fetch fetch = { train.loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &loss) };

    int64_t epoch = data.train.n > batch ? data.train.n / batch : 1; /* steps; the book's count */
    uint64_t state = (uint64_t)seed << 32;
    progress_bar progress;
    progress_start(&progress, "training", iterations);
    for (int64_t i = 0; i < iterations; i++) {
        ebb_error error;
        for (int64_t k = 0; k < batch; k++)
            indices[k] = (int64_t)((draw_number(&state) >> 32) * (uint64_t)data.train.n >> 32);
        need(ebb_image_set_batch(&data.train, indices, batch, &images, &labels, &error),
             error.message);
        need_run(step, ebb_run(step, feeds, 2, &fetch, 1));
        progress_step(&progress, i + 1, loss);
        if (i < n_losses) {
            progress_end(&progress);
            printf("loss %" PRId64 " %.9g\n", i + 1, (double)loss);
        }
        if ((i + 1) % epoch == 0) {
            double accuracy = evaluate(evaluation, test.x, prediction, &data.test);
            progress_end(&progress);
            printf("epoch %" PRId64 ": loss %.4f, test accuracy %.4f\n", (i + 1) / epoch,
                   (double)loss, accuracy);
        }
    }
    progress_end(&progress);
    printf("training accuracy %.4f\n", evaluate(evaluation, test.x, prediction, &data.train));
    printf("test accuracy %.4f\n", evaluate(evaluation, test.x, prediction, &data.test));

    free(indices);
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
