/* Inference (Saitoh, Deep Learning from Scratch (2016), sections 3.4 to 3.6): the three-layer net
 * that is computed by hand there, softmax, and images in batches: the same answers as one by one,
 * much faster. The net for images is the book's, 784-50-100-10 with sigmoid; as its weights are not
 * at hand, it is trained first.
 *
 *     forward [--data FOLDER] [--epochs 2] [--seed 1] ... */
#include "support/compute.h"
#include "support/options.h"
#include "support/output.h"
#include "support/stop.h"
#include "support/train.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CLASSES = 10, BATCH = 100 };

/* ---- by hand ---- */

static void print_row(const char *name, const double *values, int n)
{
    printf("%s (", name);
    for (int i = 0; i < n; i++)
        printf(i ? ", %.8f" : "%.8f", values[i]);
    printf(")\n");
}

static void run_three_layers(const char *backend, const output_folder *output)
{
    ebb_graph *g = ebb_graph_create("three_layers");
    ebb_node x = ebb_constant(g, EBB_F64, EBB_SHAPE(2), (double[]){ 1, .5 });
    ebb_node w1 = ebb_constant(g, EBB_F64, EBB_SHAPE(2, 3), (double[]){ .1, .3, .5, .2, .4, .6 });
    ebb_node w2 = ebb_constant(g, EBB_F64, EBB_SHAPE(3, 2), (double[]){ .1, .4, .2, .5, .3, .6 });
    ebb_node w3 = ebb_constant(g, EBB_F64, EBB_SHAPE(2, 2), (double[]){ .1, .3, .2, .4 });
    ebb_node b1 = ebb_constant(g, EBB_F64, EBB_SHAPE(3), (double[]){ .1, .2, .3 });
    ebb_node b2 = ebb_constant(g, EBB_F64, EBB_SHAPE(2), (double[]){ .1, .2 });
    ebb_node a1 = ebb_add(ebb_matmul(x, w1), b1), z1 = ebb_sigmoid(a1);
    ebb_node a2 = ebb_add(ebb_matmul(z1, w2), b2), z2 = ebb_sigmoid(a2);
    ebb_node y = ebb_add(ebb_matmul(z2, w3), b2); /* the book's b3 is equal */
    ebb_node nodes[] = { a1, z1, a2, z2, y };
    static const char *const names[] = { "a1", "z1", "a2", "z2", "y" };
    double values[5][3];
    compute(nodes, 5, NULL, 0, backend,
            (double *[]){ values[0], values[1], values[2], values[3], values[4] });
    for (int i = 0; i < 5; i++) {
        ebb_named(nodes[i], names[i]);
        print_row(names[i], values[i], i < 2 ? 3 : 2);
    }
    output_graph(output, "forward", g, &(ebb_dot_options){ .outputs = &y, .n_outputs = 1 });
    ebb_graph_destroy(g);
}

static void run_softmax(const char *backend)
{
    static const double scores[2][3] = { { .3, 2.9, 4 }, { 1010, 1000, 990 } };
    for (int i = 0; i < 2; i++) {
        ebb_graph *g = ebb_graph_create("softmax");
        double y[3];
        compute_one(ebb_softmax(ebb_constant(g, EBB_F64, EBB_SHAPE(3), scores[i]), 0), backend, y);
        printf("softmax (%g, %g, %g): %.8g, %.8g, %.8g, together %.12g\n", scores[i][0],
               scores[i][1], scores[i][2], y[0], y[1], y[2], y[0] + y[1] + y[2]);
        ebb_graph_destroy(g);
    }
}

/* ---- images ---- */

static ebb_node build_net(ebb_node x, bool training, const void *context)
{
    (void)training; /* the same in both */
    ebb_nn_linear_options layer = { .init.kind = EBB_NN_INIT_XAVIER,
                                    .init.seed = *(const uint64_t *)context };
    layer.name = "fc1";
    ebb_node hidden = ebb_sigmoid(ebb_nn_linear(ebb_flatten(x, 1), 50, &layer));
    layer.name = "fc2";
    hidden = ebb_sigmoid(ebb_nn_linear(hidden, 100, &layer));
    layer.name = "fc3";
    return ebb_nn_linear(hidden, CLASSES, &layer);
}

static double seconds_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Runs the net on all test images in batches; probabilities [n, classes]. Returns the seconds. */
static double predict(const image_trainer *trainer, int64_t batch, const float *images,
                      float *probabilities)
{
    const ebb_image_set *set = &trainer->options.data->test;
    ebb_graph *g = ebb_graph_create("inference");
    ebb_shape shape = EBB_SHAPE(batch, set->channels, set->height, set->width);
    ebb_node x = ebb_input(g, "images", EBB_F32, shape);
    ebb_node y = ebb_softmax(build_net(x, false, trainer->options.context), 1);
    ebb_executable *run;
    ebb_compile_options how = { .fetches = &y,
                                .n_fetches = 1,
                                .store = trainer->store,
                                .backend = trainer->options.backend,
                                .n_threads = trainer->options.n_threads };
    need_graph(g, ebb_compile(g, &how, &run));
    const int64_t pixels = set->channels * set->height * set->width;
    double started = seconds_now();
    for (int64_t i = 0; i + batch <= set->n; i += batch) {
        ebb_feed feed = { x, ebb_tensor_borrow(EBB_F32, shape, images + i * pixels) };
        ebb_fetch fetch = { y, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(batch, CLASSES),
                                                 probabilities + i * CLASSES) };
        need_run(run, ebb_run(run, &feed, 1, &fetch, 1));
    }
    double seconds = seconds_now() - started;
    ebb_executable_destroy(run);
    ebb_graph_destroy(g);
    return seconds;
}

static double find_accuracy(const ebb_image_set *set, const float *probabilities)
{
    const uint8_t *labels = set->labels.data;
    int64_t n_right = 0;
    for (int64_t i = 0; i < set->n; i++) {
        int best = 0;
        for (int c = 1; c < CLASSES; c++)
            if (probabilities[i * CLASSES + c] > probabilities[i * CLASSES + best])
                best = c;
        n_right += best == labels[i];
    }
    return (double)n_right / (double)set->n;
}

static void compare_batches(image_trainer *trainer)
{
    const ebb_image_set *set = &trainer->options.data->test;
    const size_t n_values = (size_t)set->n * CLASSES;
    float *one = calloc(2 * n_values, sizeof *one), *many = one + n_values;
    int64_t *all = malloc((size_t)set->n * sizeof *all);
    ebb_tensor images;
    ebb_error error;
    ebb_type type = ebb_type_of(EBB_F32, EBB_SHAPE(set->n, set->channels, set->height, set->width));
    if (!one || !all || ebb_tensor_init(&images, type, NULL) != EBB_OK)
        stop("no memory for %" PRId64 " images", set->n);
    for (int64_t i = 0; i < set->n; i++)
        all[i] = i;
    need(ebb_image_set_batch(set, all, set->n, &images, NULL, &error), error.message);
    double slow = predict(trainer, 1, images.data, one);
    double fast = predict(trainer, BATCH, images.data, many);
    float worst = 0;
    for (size_t i = 0; i < n_values; i++) {
        float distance = one[i] > many[i] ? one[i] - many[i] : many[i] - one[i];
        worst = distance > worst ? distance : worst;
    }
    printf("one by one: accuracy %.4f; in batches of %d: accuracy %.4f\n", find_accuracy(set, one),
           BATCH, find_accuracy(set, many));
    printf("probabilities differ by less than 1e-5: %s\n", worst < 1e-5f ? "yes" : "no");
    fprintf(stderr, "one by one %.1f ms, in batches %.1f ms: %.1f times faster\n", 1e3 * slow,
            1e3 * fast, slow / fast);
    ebb_tensor_finish(&images);
    free(one);
    free(all);
}

int main(int argc, char **argv)
{
    const char *folder = NULL, *out = NULL, *backend = "onednn";
    int64_t n_epochs = 2, seed = 1, n_threads = 0;
    const option_row options[] = { OPTION_DATA(folder),
                                   { "epochs", OPTION_COUNT, &n_epochs, "of training", 0, 0, 1000 },
                                   OPTION_SEED(seed),
                                   OPTION_THREADS(n_threads),
                                   OPTION_BACKEND(backend),
                                   OPTION_OUT(out),
                                   { 0 } };
    options_read(argc, argv, "inference by hand, and in batches", options);
    output_folder output;
    output_open(&output, out, argv[0]);
    run_three_layers(backend, &output);
    run_softmax(backend);

    example_data data;
    data_load(&data, folder, 5000, 2000, (uint64_t)seed);
    const uint64_t weight_seed = (uint64_t)seed;
    image_trainer trainer;
    trainer_open(&trainer, &(trainer_options){ .name = "forward",
                                               .build = build_net,
                                               .context = &weight_seed,
                                               .data = &data,
                                               .batch = BATCH,
                                               .rule = { .method = EBB_NN_ADAM, .rate = 0.001 },
                                               .seed = (uint64_t)seed,
                                               .backend = backend,
                                               .n_threads = (int)n_threads });
    trainer_run(&trainer, n_epochs, NULL, NULL, NULL);
    compare_batches(&trainer);
    trainer_close(&trainer);
    data_finish(&data);
    return EXIT_SUCCESS;
}
