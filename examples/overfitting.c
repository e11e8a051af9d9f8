/* Too few images for too many weights (Saitoh, Deep Learning from Scratch (2016), section 6.4): six
 * hidden layers of 100 learn 300 images by heart, by SGD with rate 0.01. What helps against it:
 * weight decay (L2: the book's lambda 0.1; L1), dropout of 0.2 in the book's form, and the mean
 * answer of five nets.
 *
 *     overfitting [--data FOLDER] [--epochs 201] [--dropout-epochs 301] [--seed 1] ... */
#include "support/mlp.h"
#include "support/options.h"
#include "support/output.h"
#include "support/stop.h"
#include "support/train.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_IMAGES = 300, BATCH = 100, N_HIDDEN = 6, EVERY = 5, MAX_EPOCHS = 2000, N_MEMBERS = 5 };
enum { MAX_POINTS = MAX_EPOCHS / EVERY + 1, N_CURES = 5 };

typedef struct cure_row {
    const char *name;
    double l2, l1, dropout;
    bool is_dropout; /* belongs to the book's experiment with dropout, which takes longer */
} cure_row;

static const cure_row cures[N_CURES] = {
    { .name = "nothing" },
    { .name = "L2 0.1", .l2 = 0.1 },
    { .name = "L1 0.01", .l1 = 0.01 },
    { .name = "no dropout", .is_dropout = true },
    { .name = "dropout 0.2", .dropout = 0.2, .is_dropout = true }
};

/* Accuracies after epoch 1, 1 + EVERY ... */
typedef struct learning_curve {
    double train[MAX_POINTS], test[MAX_POINTS];
    int64_t n;
} learning_curve;

static void learn(image_trainer *trainer, int64_t n_epochs, learning_curve *curve)
{
    const trainer_options *options = &trainer->options;
    for (int64_t e = 0; e < n_epochs; e++) {
        ebb_shuffle(trainer->order, options->data->train.n, options->seed, (uint64_t)e);
        for (int64_t i = 0; i < trainer->n_steps; i++)
            trainer_step(trainer, trainer->order + i * options->batch, NULL);
        if (curve && e % EVERY == 0) {
            curve->train[curve->n] = trainer_evaluate(trainer, &options->data->train);
            curve->test[curve->n++] = trainer_evaluate(trainer, &options->data->test);
        }
    }
}

static void open_net(image_trainer *trainer, const trainer_options *common, const mlp_options *net,
                     const cure_row *cure)
{
    trainer_options options = *common;
    options.build = build_mlp;
    options.context = net;
    options.rule = (ebb_nn_rule){ .rate = 0.01,
                                  .weight_decay = cure->l2,
                                  .l1_decay = cure->l1,
                                  .groups = mlp_groups,
                                  .n_groups = MLP_N_GROUPS };
    trainer_open(trainer, &options);
}

static void try_cures(const trainer_options *common, const int64_t n_epochs[2],
                      const output_folder *output)
{
    static learning_curve curves[N_CURES];
    static plot_series lines[N_CURES][2];
    plot_sheet sheets[N_CURES];
    printf("%-12s %7s %10s %10s %10s\n", "", "epochs", "training", "test", "gap");
    for (int c = 0; c < N_CURES; c++) {
        const int64_t n = n_epochs[cures[c].is_dropout];
        const mlp_options net = { .n_hidden = N_HIDDEN,
                                  .dropout = cures[c].dropout,
                                  .init.seed = common->seed };
        image_trainer trainer;
        open_net(&trainer, common, &net, &cures[c]);
        learn(&trainer, n, &curves[c]);
        double train = trainer_evaluate(&trainer, &common->data->train);
        double test = trainer_evaluate(&trainer, &common->data->test);
        printf("%-12s %7" PRId64 " %10.3f %10.3f %10.3f\n", cures[c].name, n, train, test,
               train - test);
        fflush(stdout);
        trainer_close(&trainer);
        for (int k = 0; k < 2; k++)
            lines[c][k] = (plot_series){ .name = k ? "test" : "training",
                                         .y = k ? curves[c].test : curves[c].train,
                                         .n = curves[c].n,
                                         .first_x = 1,
                                         .step_x = EVERY };
        sheets[c] = (plot_sheet){ .title = cures[c].name,
                                  .x.label = "epoch",
                                  .y = { "accuracy", false, 0, 1 },
                                  .series = lines[c],
                                  .n_series = 2,
                                  .width = 460,
                                  .height = 320 };
    }
    output_plots(output, "overfitting", sheets, N_CURES, 3);
}

/* ---- an ensemble ---- */

/* Adds what the net gives for the test images to sums [n, classes]; images that do not fill a batch
 * are left out. */
static void add_probabilities(const image_trainer *trainer, double *sums)
{
    const trainer_options *options = &trainer->options;
    ebb_graph *g = ebb_graph_create("ensemble");
    ebb_node x = ebb_input(g, "images", EBB_F32, ebb_node_type(trainer->x)->shape);
    ebb_node y = ebb_softmax(options->build(x, false, options->context), 1);
    ebb_executable *run;
    ebb_compile_options how = { .fetches = &y,
                                .n_fetches = 1,
                                .store = trainer->store,
                                .backend = options->backend,
                                .n_threads = options->n_threads };
    need_graph(g, ebb_compile(g, &how, &run));
    ebb_error error;
    int64_t indices[BATCH];
    float values[BATCH * MLP_CLASSES];
    ebb_fetch fetch = { y, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(BATCH, MLP_CLASSES), values) };
    for (int64_t start = 0; start + BATCH <= options->data->test.n; start += BATCH) {
        for (int i = 0; i < BATCH; i++)
            indices[i] = start + i;
        need(ebb_image_set_batch(&options->data->test, indices, BATCH, &trainer->images, NULL,
                                 &error),
             error.message);
        need_run(run, ebb_run(run, &(ebb_feed){ x, trainer->images }, 1, &fetch, 1));
        for (int i = 0; i < BATCH * MLP_CLASSES; i++)
            sums[start * MLP_CLASSES + i] += (double)values[i];
    }
    ebb_executable_destroy(run);
    ebb_graph_destroy(g);
}

static double find_accuracy(const ebb_image_set *set, int64_t n, const double *sums)
{
    const uint8_t *labels = set->labels.data;
    int64_t n_right = 0;
    for (int64_t i = 0; i < n; i++) {
        int best = 0;
        for (int c = 1; c < MLP_CLASSES; c++)
            if (sums[i * MLP_CLASSES + c] > sums[i * MLP_CLASSES + best])
                best = c;
        n_right += best == labels[i];
    }
    return (double)n_right / (double)n;
}

static void try_ensemble(const trainer_options *common, int64_t n_epochs)
{
    const int64_t n = common->data->test.n / BATCH * BATCH;
    double *sums = calloc((size_t)n * MLP_CLASSES + 1, sizeof *sums), mean = 0;
    if (!sums)
        stop("no memory for %" PRId64 " answers", n);
    printf("%d nets alone:", N_MEMBERS);
    for (int m = 0; m < N_MEMBERS; m++) {
        const mlp_options net = { .n_hidden = N_HIDDEN,
                                  .init.seed = common->seed + 1000 * (uint64_t)(m + 1) };
        trainer_options options = *common;
        options.seed = net.init.seed;
        image_trainer trainer;
        open_net(&trainer, &options, &net, &cures[0]);
        learn(&trainer, n_epochs, NULL);
        double accuracy = trainer_evaluate(&trainer, &common->data->test);
        printf(" %.4f", accuracy);
        mean += accuracy / N_MEMBERS;
        add_probabilities(&trainer, sums);
        trainer_close(&trainer);
    }
    printf("\nmean of them %.4f, together %.4f\n", mean,
           find_accuracy(&common->data->test, n, sums));
    free(sums);
}

int main(int argc, char **argv)
{
    const char *folder = NULL, *out = NULL, *backend = "onednn";
    int64_t n_epochs[2] = { 201, 301 }, seed = 1, n_threads = 0;
    const option_row options[] = {
        OPTION_DATA(folder),
        { "epochs", OPTION_COUNT, &n_epochs[0], "without dropout", 0, 1, MAX_EPOCHS },
        { "dropout-epochs", OPTION_COUNT, &n_epochs[1], "with and without", 0, 1, MAX_EPOCHS },
        OPTION_SEED(seed),
        OPTION_THREADS(n_threads),
        OPTION_BACKEND(backend),
        OPTION_OUT(out),
        { 0 }
    };
    options_read(argc, argv, "overfitting, and what helps against it", options);
    output_folder output;
    output_open(&output, out, argv[0]);
    example_data data;
    data_load(&data, folder, N_IMAGES, 2000, (uint64_t)seed);
    data_keep(&data, N_IMAGES);
    const trainer_options common = { .name = "overfitting",
                                     .data = &data,
                                     .batch = BATCH,
                                     .seed = (uint64_t)seed,
                                     .backend = backend,
                                     .n_threads = (int)n_threads };
    try_cures(&common, n_epochs, &output);
    try_ensemble(&common, n_epochs[0]);
    data_finish(&data);
    return EXIT_SUCCESS;
}
