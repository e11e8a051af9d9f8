/* A small training that goes on from the newest checkpoint of a folder, for tests/resume.py, which
 * kills it.
 *
 *     resume_train MODEL RULE FOLDER EPOCHS RESULT
 *
 * Prints the step at which it begins. Writes all variables to RESULT at the end. */
#include <ebb/ebb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_IMAGES = 120, BATCH = 10, CLASSES = 10 };

static ebb_node put_mlp(ebb_node x, bool training)
{
    (void)training;
    x = ebb_nn_linear(ebb_flatten(x, 1), 16, &(ebb_nn_linear_options){ .name = "a" });
    return ebb_nn_linear(ebb_relu(x), CLASSES, &(ebb_nn_linear_options){ .name = "b" });
}

/* Running statistics, and random numbers with a counter. */
static ebb_node put_convnet(ebb_node x, bool training)
{
    x = ebb_nn_conv(x, 4, &(ebb_nn_conv_options){ .name = "conv", .window = EBB_INTS(5) });
    x = ebb_nn_batch_norm(x,
                          &(ebb_nn_batch_norm_options){ .name = "norm", .inference = !training });
    x = ebb_max_pool(ebb_relu(x), (ebb_pool_attrs){ .window = EBB_INTS(4, 4) });
    x = ebb_nn_dropout(ebb_flatten(x, 1), 0.3,
                       &(ebb_nn_dropout_options){ .name = "drop", .inference = !training });
    return ebb_nn_linear(x, CLASSES, &(ebb_nn_linear_options){ .name = "b" });
}

/* The lines of an image, one after the other. */
static ebb_node put_recurrent(ebb_node x, bool training)
{
    enum { LINES = 7 };
    ebb_node steps[LINES];
    const int64_t n = ebb_node_type(x)->shape.dims[0];
    (void)training;
    x = ebb_reshape(x, EBB_SHAPE(n, LINES, 4 * 28));
    for (int i = 0; i < LINES; i++)
        steps[i] = ebb_reshape(
            ebb_slice(x, EBB_INTS(0, i, 0), EBB_INTS(n, i + 1, 4 * 28), EBB_INTS(1, 1, 1)),
            EBB_SHAPE(n, 4 * 28));
    const ebb_nn_recurrent_options options = { .name = "lstm", .cell = EBB_NN_LSTM, .hidden = 8 };
    const ebb_nn_cell_state last =
        ebb_nn_unroll(steps, LINES, (ebb_nn_cell_state){ 0 }, &options, NULL);
    return ebb_nn_linear(last.h, CLASSES, &(ebb_nn_linear_options){ .name = "b" });
}

static const struct named_model {
    const char *name;
    ebb_node (*put)(ebb_node x, bool training);
} models[] = { { "mlp", put_mlp }, { "convnet", put_convnet }, { "recurrent", put_recurrent } };

static const struct named_rule {
    const char *name;
    ebb_nn_rule rule;
} rules[] = {
    { "momentum", { .method = EBB_NN_MOMENTUM, .rate = 0.05 } },
    { "adam",
      { .method = EBB_NN_ADAM,
        .rate = 0.01,
        .schedule = { .kind = EBB_NN_COSINE, .warmup = 5, .period = 50, .last = 0.1 } } },
    { "lion",
      { .method = EBB_NN_LION,
        .rate = 0.001,
        .weight_decay = 0.01,
        .decoupled_decay = true,
        .accumulate = 2,
        .average = 0.99 } },
};

static void build(ebb_graph *g, int64_t n, bool training, void *context, ebb_model_nodes *nodes)
{
    const struct named_model *model = context;
    const ebb_node x = ebb_input(g, "images", EBB_F32, EBB_SHAPE(n, 1, 28, 28));
    const ebb_node t = ebb_input(g, "labels", EBB_I32, EBB_SHAPE(n));
    const ebb_node y = model->put(x, training);
    *nodes = (ebb_model_nodes){ { x, t }, ebb_softmax_cross_entropy(y, t), y, t };
}

static void warn(void *context, ebb_log_level level, const char *message)
{
    (void)context, (void)level;
    fprintf(stderr, "%s\n", message);
}

static bool say_start(void *context, const ebb_fit_report *report)
{
    bool *is_said = context;
    if (!*is_said)
        printf("begins at %lld\n", (long long)report->step - 1);
    fflush(stdout);
    *is_said = true;
    return true;
}

int main(int argc, char **argv)
{
    ebb_error error = { .message = "usage: resume_train MODEL RULE FOLDER EPOCHS RESULT" };
    ebb_image_set set = { 0 };
    ebb_loader *loader = NULL, *validation = NULL;
    ebb_trainer *trainer = NULL;
    size_t m = 0, r = 0;
    bool is_said = false;
    while (argc == 6 && m < 2 && strcmp(models[m].name, argv[1]) != 0)
        m++;
    while (argc == 6 && r < 2 && strcmp(rules[r].name, argv[2]) != 0)
        r++;
    struct named_model model = models[m];
    const ebb_loader_options how = { .batch = BATCH,
                                     .seed = 5,
                                     .augments = &(ebb_augment){ .padding = 2, .noise = 0.05 },
                                     .n_augments = 1 };
    const ebb_loader_options straight = { .batch = 50, .in_order = true, .last = EBB_LAST_KEEP };
    const ebb_trainer_options options = {
        .build = build, .context = &model, .batch = BATCH, .rule = rules[r].rule, .n_threads = 1
    };
    bool bad = argc != 6 || ebb_digits_draw(N_IMAGES, 3, NULL, &set, &error) ||
               ebb_image_loader_create(&set, &how, NULL, &loader, &error) ||
               ebb_image_loader_create(&set, &straight, NULL, &validation, &error) ||
               ebb_trainer_create(&options, &trainer, &error);
    if (!bad) {
        const ebb_fit_options fit = { .training = loader,
                                      .validation = validation,
                                      .epochs = strtol(argv[4], NULL, 10),
                                      .restore_best = true,
                                      .folder = argv[3],
                                      .checkpoint_steps = 3,
                                      .keep = 2,
                                      .resume = true,
                                      .on_step = say_start,
                                      .context = &is_said,
                                      .logger = { .write = warn } };
        bad = ebb_trainer_fit(trainer, &fit, NULL, &error) ||
              ebb_store_save(ebb_trainer_store(trainer), argv[5], &error);
    }
    if (bad)
        fprintf(stderr, "%s\n", error.message);
    ebb_trainer_destroy(trainer);
    ebb_loader_destroy(loader);
    ebb_loader_destroy(validation);
    ebb_image_set_finish(&set);
    return bad;
}
