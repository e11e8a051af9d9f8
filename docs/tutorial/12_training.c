/* The training loop that comes with Ebb: validation, checkpoints, going on after a stop, and a
 * model in one file.
 *
 *     12_training [FOLDER]    for what it writes; . if it is not given */
#include <ebb/ebb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

/* The model for n images. */
static void build(ebb_graph *g, int64_t n, bool training, void *context, ebb_model_nodes *nodes)
{
    (void)context;
    ebb_node x = ebb_input(g, "images", EBB_F32, EBB_SHAPE(n, 1, 28, 28));
    ebb_node t = ebb_input(g, "labels", EBB_I32, EBB_SHAPE(n));
    ebb_node h = ebb_nn_linear(ebb_flatten(x, 1), 100, &(ebb_nn_linear_options){ .name = "fc1" });
    h = ebb_nn_dropout(ebb_relu(h), 0.2,
                       &(ebb_nn_dropout_options){ .name = "drop1", .inference = !training });
    ebb_node y = ebb_nn_linear(h, 10, &(ebb_nn_linear_options){ .name = "fc2" });
    nodes->inputs[0] = x; /* in the order of the fields of a batch */
    nodes->inputs[1] = t;
    nodes->loss = ebb_softmax_cross_entropy(y, t);
    nodes->scores = y;
    nodes->labels = t;
}

/* Trains until so many epochs are made, with those that earlier calls made. */
static ebb_trainer *train(const ebb_image_set *known, const ebb_image_set *unknown,
                          const char *folder, int64_t epochs)
{
    ebb_error error;
    ebb_trainer *trainer;
    ebb_trainer_options options = { .build = build,
                                    .batch = 100,
                                    .rule = { .method = EBB_NN_ADAM, .rate = 0.001 } };
    if (ebb_trainer_create(&options, &trainer, &error) != EBB_OK)
        stop(error.message);

    ebb_fit_options fit = {
        .epochs = epochs, .folder = folder, .keep = 2, .resume = true, .progress = stdout
    };
    ebb_loader_options shuffled = { .batch = 100, .seed = 1 };
    ebb_loader_options in_order = { .batch = 100, .in_order = true, .last = EBB_LAST_KEEP };
    if (ebb_image_loader_create(known, &shuffled, NULL, &fit.training, &error) != EBB_OK ||
        ebb_image_loader_create(unknown, &in_order, NULL, &fit.validation, &error) != EBB_OK ||
        ebb_trainer_fit(trainer, &fit, NULL, &error) != EBB_OK)
        stop(error.message);
    ebb_loader_destroy(fit.training);
    ebb_loader_destroy(fit.validation);
    return trainer;
}

enum { N = 1000 };

/* What a program needs that only uses the model. */
static void use(const char *path, const ebb_image_set *images)
{
    ebb_error error;
    ebb_model *model;
    ebb_executable *run;
    if (ebb_model_load(path, NULL, &model, &error) != EBB_OK)
        stop(error.message);
    ebb_compile_options options = { .fetches = model->outputs,
                                    .n_fetches = 1,
                                    .store = model->store };
    if (ebb_compile(model->graph, &options, &run) != EBB_OK)
        stop(ebb_graph_message(model->graph));

    static float pixels[N * 784], scores[N * 10];
    static uint8_t labels[N];
    static int64_t all[N];
    for (int i = 0; i < N; i++)
        all[i] = i;
    ebb_feed feed = { model->inputs[0],
                      ebb_tensor_borrow(EBB_F32, EBB_SHAPE(N, 1, 28, 28), pixels) };
    ebb_fetch fetch = { model->outputs[0], ebb_tensor_borrow(EBB_F32, EBB_SHAPE(N, 10), scores) };
    ebb_tensor known = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(N), labels);
    if (ebb_image_set_batch(images, all, N, &feed.value, &known, &error) != EBB_OK)
        stop(error.message);
    if (ebb_run(run, &feed, 1, &fetch, 1) != EBB_OK)
        stop(ebb_executable_message(run));
    int n_right = 0;
    for (int i = 0; i < N; i++) {
        int best = 0;
        for (int k = 1; k < 10; k++)
            best = scores[i * 10 + k] > scores[i * 10 + best] ? k : best;
        n_right += best == labels[i];
    }
    printf("the model from the file: accuracy %.3f\n", (double)n_right / N);
    ebb_executable_destroy(run);
    ebb_model_destroy(model);
}

int main(int argc, char **argv)
{
    char checkpoints[1000], model_path[1000];
    const char *folder = argc > 1 ? argv[1] : ".";
    snprintf(checkpoints, sizeof checkpoints, "%s/checkpoints", folder);
    snprintf(model_path, sizeof model_path, "%s/digits.safetensors", folder);
    mkdir(checkpoints, 0777); /* may be there already */

    ebb_error error;
    ebb_image_set known, unknown;
    if (ebb_digits_draw(4000, 1, NULL, &known, &error) != EBB_OK ||
        ebb_digits_draw(N, 2, NULL, &unknown, &error) != EBB_OK)
        stop(error.message);

    printf("first start\n");
    ebb_trainer_destroy(train(&known, &unknown, checkpoints, 2));
    printf("second start\n");
    ebb_trainer *trainer = train(&known, &unknown, checkpoints, 4);

    ebb_model *model;
    if (ebb_trainer_freeze(trainer, N, &model, &error) != EBB_OK ||
        ebb_model_save(model, model_path, &error) != EBB_OK)
        stop(error.message);
    ebb_model_destroy(model);
    ebb_trainer_destroy(trainer);
    use(model_path, &unknown);

    ebb_image_set_finish(&known);
    ebb_image_set_finish(&unknown);
    return 0;
}
