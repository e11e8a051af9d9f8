/* A network learns to read MNIST's digits: model, training and accuracy in one short program.
 *
 *     mnist MODEL.safetensors [FOLDER]        writes the model; no FOLDER with MNIST: drawn digits
 */
#include <ebb/ebb.h>
#include <stdio.h>

static void build(ebb_graph *g, int64_t n, bool training, void *context, ebb_model_nodes *nodes)
{
    (void)training, (void)context; /* the same model for both */
    ebb_node x = ebb_input(g, "images", EBB_F32, EBB_SHAPE(n, 1, 28, 28));
    ebb_node t = ebb_input(g, "labels", EBB_I32, EBB_SHAPE(n));
    ebb_node h = ebb_nn_linear(ebb_flatten(x, 1), 100, &(ebb_nn_linear_options){ .name = "fc1" });
    ebb_node y = ebb_nn_linear(ebb_relu(h), 10, &(ebb_nn_linear_options){ .name = "fc2" });
    *nodes = (ebb_model_nodes){ { x, t }, ebb_softmax_cross_entropy(y, t), y, t };
}

int main(int argc, char **argv)
{
    ebb_error e;
    ebb_image_set a = { 0 }, b = { 0 };
    ebb_fit_options fit = { .epochs = 5, .progress = stdout };
    ebb_fit_report end;
    ebb_trainer *trainer = NULL;
    ebb_trainer_options net = { build, .batch = 100, .rule = { EBB_NN_ADAM, .rate = 0.001 } };
    ebb_loader_options shuffled = { .batch = 100 },
                       straight = { .batch = 100, .in_order = true, .last = EBB_LAST_KEEP };
    bool bad = argc > 1 ? ebb_mnist_read(argv[1], NULL, &a, &b, &e)
                        : ebb_digits_draw(10000, 1, NULL, &a, &e) ||
                              ebb_digits_draw(2000, 2, NULL, &b, &e);
    bad = bad || ebb_image_loader_create(&a, &shuffled, NULL, &fit.training, &e) ||
          ebb_image_loader_create(&b, &straight, NULL, &fit.validation, &e) ||
          ebb_trainer_create(&net, &trainer, &e) || ebb_trainer_fit(trainer, &fit, &end, &e);
    if (bad)
        fprintf(stderr, "%s\n", e.message);
    else
        printf("test accuracy %.4f\n", end.validation_accuracy);
    ebb_trainer_destroy(trainer);
    ebb_loader_destroy(fit.training);
    ebb_loader_destroy(fit.validation);
    ebb_image_set_finish(&a);
    ebb_image_set_finish(&b);
    return bad;
}
