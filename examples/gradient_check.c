/* Is back-propagation right, and what is it good for? The gradient of the two-layer net 784-50-10
 * for three images, by back-propagation and by differences of the loss at every single weight
 * (Saitoh, Deep Learning from Scratch (2016), section 5.7.3), all in F64. The book's loss adds 1e-7
 * inside the logarithm, which its gradient does not know: so its biases differ by 1e-7. Here only
 * the error of the differences is left.
 *
 *     gradient_check [--data FOLDER] [--hidden 50] [--seed 1] ... */
#include "support/data.h"
#include "support/options.h"
#include "support/output.h"
#include "support/stop.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define STEP 1e-4
enum { IMAGES = 3, CLASSES = 10, N_WEIGHTS = 4 };

static double seconds_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Weights are inputs of this graph: memory that the loops below change in place. */
typedef struct checked_net {
    ebb_graph *graph;
    ebb_node loss, slopes[N_WEIGHTS];
    ebb_feed feeds[2 + N_WEIGHTS]; /* images, labels, weights */
    ebb_tensor values[N_WEIGHTS], gradients[N_WEIGHTS];
} checked_net;

static const char *const names[N_WEIGHTS] = { "W1", "b1", "W2", "b2" };

static void build_net(checked_net *net, const ebb_image_set *set, int64_t hidden, uint64_t seed)
{
    const int64_t pixels = set->channels * set->height * set->width;
    const ebb_shape shapes[N_WEIGHTS] = { EBB_SHAPE(pixels, hidden), EBB_SHAPE(hidden),
                                          EBB_SHAPE(hidden, CLASSES), EBB_SHAPE(CLASSES) };
    ebb_graph *g = net->graph = ebb_graph_create("gradient_check");
    ebb_node x = ebb_input(g, "images", EBB_F64, EBB_SHAPE(IMAGES, pixels));
    ebb_node t = ebb_input(g, "labels", EBB_I32, EBB_SHAPE(IMAGES)), w[N_WEIGHTS];
    for (int i = 0; i < N_WEIGHTS; i++)
        w[i] = ebb_input(g, names[i], EBB_F64, shapes[i]);
    ebb_node z = ebb_relu(ebb_add(ebb_matmul(x, w[0]), w[1]));
    net->loss = ebb_softmax_cross_entropy(ebb_add(ebb_matmul(z, w[2]), w[3]), t);
    need_graph(g, ebb_gradients(net->loss, w, N_WEIGHTS, net->slopes));

    /* Weights normal with 0.01, biases 0, as in the book. */
    ebb_graph *draw = ebb_graph_create("weights");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node drawn[N_WEIGHTS];
    for (int i = 0; i < N_WEIGHTS; i++)
        drawn[i] = ebb_variable(
            draw, names[i], EBB_F64, shapes[i],
            &(ebb_init){ .kind = EBB_INIT_NORMAL, .b = i % 2 ? 0 : 0.01, .seed = seed });
    ebb_executable *run;
    ebb_compile_options how = { .fetches = drawn, .n_fetches = N_WEIGHTS, .store = store };
    need_graph(draw, ebb_compile(draw, &how, &run));
    ebb_fetch fetches[N_WEIGHTS];
    for (int i = 0; i < N_WEIGHTS; i++) {
        ebb_type type = ebb_type_of(EBB_F64, shapes[i]);
        if (ebb_tensor_init(&net->values[i], type, NULL) != EBB_OK ||
            ebb_tensor_init(&net->gradients[i], type, NULL) != EBB_OK)
            stop("no memory for weights");
        fetches[i] = (ebb_fetch){ drawn[i], net->values[i] };
        net->feeds[2 + i] = (ebb_feed){ w[i], net->values[i] };
    }
    need_run(run, ebb_run(run, NULL, 0, fetches, N_WEIGHTS));
    ebb_executable_destroy(run);
    ebb_store_destroy(store);
    ebb_graph_destroy(draw);

    ebb_tensor images, labels;
    ebb_error error;
    if (ebb_tensor_init(&images, *ebb_node_type(x), NULL) != EBB_OK ||
        ebb_tensor_init(&labels, *ebb_node_type(t), NULL) != EBB_OK)
        stop("no memory for %d images", IMAGES);
    need(ebb_image_set_batch(set, (int64_t[]){ 0, 1, 2 }, IMAGES, &images, &labels, &error),
         error.message);
    net->feeds[0] = (ebb_feed){ x, images };
    net->feeds[1] = (ebb_feed){ t, labels };
}

static void finish_net(checked_net *net)
{
    for (int i = 0; i < N_WEIGHTS; i++) {
        ebb_tensor_finish(&net->values[i]);
        ebb_tensor_finish(&net->gradients[i]);
    }
    ebb_tensor_finish(&net->feeds[0].value);
    ebb_tensor_finish(&net->feeds[1].value);
    ebb_graph_destroy(net->graph);
}

/* Returns the seconds of one gradient, the fastest of some. */
static double propagate(checked_net *net, const char *backend)
{
    ebb_executable *run;
    ebb_compile_options how = {
        .fetches = net->slopes, .n_fetches = N_WEIGHTS, .backend = backend, .n_threads = 1
    };
    need_graph(net->graph, ebb_compile(net->graph, &how, &run));
    ebb_fetch fetches[N_WEIGHTS];
    for (int i = 0; i < N_WEIGHTS; i++)
        fetches[i] = (ebb_fetch){ net->slopes[i], net->gradients[i] };
    double best = INFINITY;
    for (int i = 0; i < 20; i++) {
        double started = seconds_now();
        need_run(run, ebb_run(run, net->feeds, 2 + N_WEIGHTS, fetches, N_WEIGHTS));
        best = fmin(best, seconds_now() - started);
    }
    ebb_executable_destroy(run);
    return best;
}

/* differences[i] becomes the mean of |numeric - exact| of the weights i; returns the seconds. */
static double difference(checked_net *net, const char *backend, double differences[N_WEIGHTS])
{
    ebb_executable *run;
    ebb_compile_options how = {
        .fetches = &net->loss, .n_fetches = 1, .backend = backend, .n_threads = 1
    };
    need_graph(net->graph, ebb_compile(net->graph, &how, &run));
    double loss[2], started = seconds_now();
    for (int i = 0; i < N_WEIGHTS; i++) {
        double *w = net->values[i].data, sum = 0;
        const int64_t n = ebb_shape_elements(&net->values[i].type.shape);
        for (int64_t k = 0; k < n; k++) {
            const double kept = w[k];
            for (int side = 0; side < 2; side++) {
                w[k] = kept + (side == 0 ? STEP : -STEP);
                ebb_fetch fetch = { net->loss,
                                    ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &loss[side]) };
                need_run(run, ebb_run(run, net->feeds, 2 + N_WEIGHTS, &fetch, 1));
            }
            w[k] = kept;
            double numeric = (loss[0] - loss[1]) / (2 * STEP);
            sum += fabs(numeric - ebb_tensor_get(&net->gradients[i], k));
        }
        differences[i] = sum / (double)n;
    }
    double seconds = seconds_now() - started;
    ebb_executable_destroy(run);
    return seconds;
}

int main(int argc, char **argv)
{
    const char *folder = NULL, *out = NULL, *backend = "onednn";
    int64_t hidden = 50, seed = 1;
    const option_row options[] = {
        OPTION_DATA(folder),
        { "hidden", OPTION_COUNT, &hidden, "width of the hidden layer", 0, 1, 10000 },
        OPTION_SEED(seed),
        OPTION_BACKEND(backend),
        OPTION_OUT(out),
        { 0 }
    };
    options_read(argc, argv, "back-propagation against differences", options);
    output_folder output;
    output_open(&output, out, argv[0]);
    example_data data;
    data_load(&data, folder, IMAGES, 1, (uint64_t)seed);
    if (data.train.n < IMAGES)
        stop("%d images are needed", IMAGES);

    checked_net net;
    double differences[N_WEIGHTS];
    build_net(&net, &data.train, hidden, (uint64_t)seed);
    double fast = propagate(&net, backend), slow = difference(&net, backend, differences);
    for (int i = 0; i < N_WEIGHTS; i++)
        printf("%s: mean difference %.1e\n", names[i], differences[i]);
    fprintf(stderr, "by differences %.3g s, by propagation %.3g ms: %.0f times faster\n", slow,
            1e3 * fast, slow / fast);
    output_graph(&output, "gradient_check", net.graph,
                 &(ebb_dot_options){ .outputs = net.slopes, .n_outputs = N_WEIGHTS });
    finish_net(&net);
    data_finish(&data);
    return EXIT_SUCCESS;
}
