/* Training loops. */
#include "support/train.h"

#include "support/stop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static ebb_node put_images(ebb_graph *graph, const trainer_options *options)
{
    const ebb_image_set *set = &options->data->train;
    return ebb_input(graph, "images", EBB_F32,
                     EBB_SHAPE(options->batch, set->channels, set->height, set->width));
}

/* It fetches loss and accuracy. */
static void compile_step(const image_trainer *trainer, bool skip_updates, ebb_executable **run)
{
    ebb_compile_options how = { .fetches = (ebb_node[]){ trainer->loss, trainer->accuracy },
                                .n_fetches = 2,
                                .store = trainer->store,
                                .skip_updates = skip_updates,
                                .backend = trainer->options.backend,
                                .n_threads = trainer->options.n_threads };
    need_graph(trainer->graph, ebb_compile(trainer->graph, &how, run));
}

static void make_step(image_trainer *trainer)
{
    const trainer_options *options = &trainer->options;
    ebb_graph *g = trainer->graph = ebb_graph_create(options->name);
    trainer->x = put_images(g, options);
    trainer->t = ebb_input(g, "labels", EBB_I32, EBB_SHAPE(options->batch));
    trainer->scores = options->build(trainer->x, true, options->context);
    trainer->loss = ebb_named(ebb_softmax_cross_entropy(trainer->scores, trainer->t), "loss");
    trainer->accuracy = ebb_named(ebb_nn_accuracy(trainer->scores, trainer->t), "accuracy");
    need_graph(g, ebb_nn_minimize(trainer->loss, &options->rule));
    compile_step(trainer, false, &trainer->step);
}

static void make_test(image_trainer *trainer)
{
    const trainer_options *options = &trainer->options;
    ebb_graph *g = trainer->test_graph = ebb_graph_create(options->name);
    trainer->test_x = put_images(g, options);
    trainer->prediction = ebb_argmax(options->build(trainer->test_x, false, options->context), 1);
    ebb_compile_options how = { .fetches = &trainer->prediction,
                                .n_fetches = 1,
                                .store = trainer->store,
                                .backend = options->backend,
                                .n_threads = options->n_threads };
    need_graph(g, ebb_compile(g, &how, &trainer->test));
}

void trainer_open(image_trainer *trainer, const trainer_options *options)
{
    int64_t n = options->data->train.n;
    *trainer = (image_trainer){ .options = *options, .n_steps = n / options->batch };
    if (trainer->n_steps < 1)
        stop("%" PRId64 " images are too few for a batch of %" PRId64, n, options->batch);
    trainer->store = ebb_store_create(NULL);
    make_step(trainer);
    make_test(trainer);
    trainer->order = malloc((size_t)n * sizeof *trainer->order);
    if (!trainer->order ||
        ebb_tensor_init(&trainer->images, *ebb_node_type(trainer->x), NULL) != EBB_OK ||
        ebb_tensor_init(&trainer->labels, *ebb_node_type(trainer->t), NULL) != EBB_OK ||
        ebb_tensor_init(&trainer->classes, *ebb_node_type(trainer->prediction), NULL) != EBB_OK)
        stop("no memory for batches of %" PRId64 " images", options->batch);
}

void trainer_close(image_trainer *trainer)
{
    free(trainer->order);
    ebb_tensor_finish(&trainer->images);
    ebb_tensor_finish(&trainer->labels);
    ebb_tensor_finish(&trainer->classes);
    ebb_executable_destroy(trainer->step);
    ebb_executable_destroy(trainer->test);
    ebb_executable_destroy(trainer->watch);
    ebb_graph_destroy(trainer->graph);
    ebb_graph_destroy(trainer->test_graph);
    ebb_store_destroy(trainer->store);
}

/* Runs an executable of the step's graph on the batch that is in memory. */
static double run_batch(image_trainer *trainer, ebb_executable *run, double *accuracy)
{
    float loss = 0;
    double right = 0;
    ebb_feed feeds[] = { { trainer->x, trainer->images }, { trainer->t, trainer->labels } };
    ebb_fetch fetches[] = {
        { trainer->loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &loss) },
        { trainer->accuracy, ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &right) },
    };
    need_run(run, ebb_run(run, feeds, 2, fetches, accuracy ? 2 : 1));
    if (accuracy)
        *accuracy = right;
    return (double)loss;
}

double trainer_step(image_trainer *trainer, const int64_t *indices, double *accuracy)
{
    ebb_error error;
    need(ebb_image_set_batch(&trainer->options.data->train, indices, trainer->options.batch,
                             &trainer->images, &trainer->labels, &error),
         error.message);
    return run_batch(trainer, trainer->step, accuracy);
}

double trainer_loss(image_trainer *trainer, double *accuracy)
{
    if (!trainer->watch)
        compile_step(trainer, true, &trainer->watch);
    return run_batch(trainer, trainer->watch, accuracy);
}

/* Returns the accuracy on the test images; losses[0..n_steps) become those of the steps. */
static double run_epoch(image_trainer *trainer, int64_t n_epochs, double *losses)
{
    char label[64];
    ebb_progress progress;
    double mean_loss = 0, mean_accuracy = 0;
    const int64_t n_steps = trainer->n_steps, epoch = trainer->epoch++;
    snprintf(label, sizeof label, "epoch %" PRId64 "/%" PRId64, trainer->epoch, n_epochs);
    ebb_progress_start(&progress, stdout, label, 0, n_steps);
    ebb_shuffle(trainer->order, trainer->options.data->train.n, trainer->options.seed,
                (uint64_t)epoch);
    for (int64_t i = 0; i < n_steps; i++) {
        double accuracy;
        losses[i] = trainer_step(trainer, trainer->order + i * trainer->options.batch, &accuracy);
        mean_loss += losses[i] / (double)n_steps;
        mean_accuracy += accuracy / (double)n_steps;
        ebb_progress_step(&progress, i + 1, losses[i]);
    }
    double test_accuracy = trainer_evaluate(trainer, &trainer->options.data->test);
    ebb_progress_end(&progress);
    printf("%s: loss %.4f, accuracy %.4f, on test images %.4f\n", label, mean_loss, mean_accuracy,
           test_accuracy);
    fflush(stdout);
    return test_accuracy;
}

void trainer_run(image_trainer *trainer, int64_t n_epochs, const output_folder *output,
                 const char *name, const char *title)
{
    int64_t first = trainer->epoch, n_losses = n_epochs * trainer->n_steps;
    if (n_epochs < 1)
        return;
    double *losses = malloc((size_t)n_losses * sizeof *losses);
    double *tests = malloc((size_t)n_epochs * sizeof *tests);
    if (!losses || !tests)
        stop("no memory for %" PRId64 " epochs", n_epochs);
    for (int64_t i = 0; i < n_epochs; i++)
        tests[i] = run_epoch(trainer, first + n_epochs, losses + i * trainer->n_steps);
    plot_series lines[] = {
        { .name = "training loss",
          .y = losses,
          .n = n_losses,
          .first_x = (double)first,
          .step_x = 1 / (double)trainer->n_steps },
        { .name = "test accuracy", .y = tests, .n = n_epochs, .first_x = (double)first + 1 },
    };
    if (output)
        output_plot(
            output, name,
            &(plot_sheet){ .title = title, .x.label = "epoch", .series = lines, .n_series = 2 });
    free(losses);
    free(tests);
}

/* The last batch is filled up with the first image. */
void trainer_predict(image_trainer *trainer, const ebb_image_set *set, uint8_t *classes)
{
    ebb_error error;
    int64_t batch = trainer->options.batch, *indices = malloc((size_t)batch * sizeof *indices);
    if (!indices)
        stop("no memory for a batch of %" PRId64 " images", batch);
    for (int64_t start = 0; start < set->n; start += batch) {
        int64_t n = set->n - start < batch ? set->n - start : batch;
        for (int64_t i = 0; i < batch; i++)
            indices[i] = i < n ? start + i : 0;
        need(ebb_image_set_batch(set, indices, batch, &trainer->images, NULL, &error),
             error.message);
        need_run(trainer->test,
                 ebb_run(trainer->test, &(ebb_feed){ trainer->test_x, trainer->images }, 1,
                         &(ebb_fetch){ trainer->prediction, trainer->classes }, 1));
        for (int64_t i = 0; i < n; i++)
            classes[start + i] = (uint8_t)ebb_tensor_get(&trainer->classes, i);
    }
    free(indices);
}

double trainer_evaluate(image_trainer *trainer, const ebb_image_set *set)
{
    const uint8_t *labels = set->labels.data;
    uint8_t *classes = malloc((size_t)set->n + 1);
    int64_t n_right = 0;
    if (!classes)
        stop("no memory for %" PRId64 " answers", set->n);
    trainer_predict(trainer, set, classes);
    for (int64_t i = 0; i < set->n; i++)
        n_right += classes[i] == labels[i];
    free(classes);
    return set->n > 0 ? (double)n_right / (double)set->n : 0;
}

void trainer_save(const image_trainer *trainer, const char *path)
{
    ebb_error error;
    if (!path)
        return;
    need(ebb_store_save(trainer->store, path, &error), error.message);
    printf("wrote %s\n", path);
}

void trainer_freeze(const image_trainer *trainer, const char *path)
{
    ebb_error error;
    ebb_model *model;
    if (!path)
        return;
    trainer_options single = trainer->options;
    single.batch = 1;
    ebb_graph *g = ebb_graph_create(single.name);
    const ebb_node y = single.build(put_images(g, &single), false, single.context);
    need(ebb_model_freeze(&y, 1, trainer->store, NULL, &model, &error), error.message);
    need(ebb_model_save(model, path, &error), error.message);
    printf("wrote %s\n", path);
    ebb_model_destroy(model);
    ebb_graph_destroy(g);
}

void trainer_load(image_trainer *trainer, const char *path)
{
    ebb_error error;
    if (!path)
        return;
    need(ebb_store_restore(trainer->store, path, &error), error.message);
    ebb_tensor steps;
    need(ebb_store_get(trainer->store, "minimize/step", &steps), ebb_store_message(trainer->store));
    trainer->epoch = (int64_t)ebb_tensor_get(&steps, 0) / trainer->n_steps;
    printf("read %s: after %" PRId64 " epochs\n", path, trainer->epoch);
}
