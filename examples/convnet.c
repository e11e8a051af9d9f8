/* Convolutional networks from LeNet to ResNet learn to tell images apart: MNIST's or drawn digits,
 * or the color photographs of CIFAR-10. Adam with rate 0.001 on batches of 100, as in Saitoh, Deep
 * Learning from Scratch (2016), chapters 7 and 8, whose networks are `simple` and `deep`. In the
 * book the weights of `simple` start normal with 0.01, here `simple_book`: after an epoch on MNIST
 * about 0.96 is right; from He's initialization it is 0.98.
 *
 *     convnet --model NAME --data FOLDER | --synthetic [--epochs 1] [--save F] [--load F] ... */
#include "models/models.h"
#include "support/options.h"
#include "support/output.h"
#include "support/stop.h"
#include "support/train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One row a network: a builder of its own, or the depth in one of the families. */
typedef struct network_row {
    const char *name;
    ebb_node (*build)(ebb_node x, const model_options *options);
    int small_resnet, plain, resnet, vgg;
    bool own_init; /* of the book; He's is better */
} network_row;

static const network_row networks[] = {
    { .name = "simple", .build = build_simple_convnet },
    { .name = "simple_book", .build = build_simple_convnet, .own_init = true },
    { .name = "deep", .build = build_deep_convnet },
    { .name = "lenet", .build = build_lenet5 },
    { .name = "lenet1998", .build = build_lenet5_1998 },
    { .name = "vgg11", .vgg = 11 },
    { .name = "vgg16", .vgg = 16 },
    { .name = "resnet20", .small_resnet = 20 },
    { .name = "resnet56", .small_resnet = 56 },
    { .name = "plain20", .plain = 20 },
    { .name = "plain56", .plain = 56 },
    { .name = "resnet18", .resnet = 18 },
    { .name = "resnet34", .resnet = 34 },
    { .name = "resnet50", .resnet = 50 },
};
enum { N_NETWORKS = sizeof networks / sizeof *networks };

typedef struct network_choice {
    const network_row *row;
    uint64_t seed;
} network_choice;

/* Five pools halve the image: VGG needs 32 pixels. */
static ebb_node pad_to_32(ebb_node x)
{
    const int64_t *dims = ebb_node_type(x)->shape.dims;
    int64_t rows = dims[2] < 32 ? 32 - dims[2] : 0, columns = dims[3] < 32 ? 32 - dims[3] : 0;
    return ebb_pad(x, EBB_INTS(0, 0, rows / 2, columns / 2),
                   EBB_INTS(0, 0, rows - rows / 2, columns - columns / 2), EBB_PAD_CONSTANT, 0);
}

static ebb_node build_network(ebb_node x, bool training, const void *context)
{
    const network_choice *choice = context;
    const network_row *row = choice->row;
    model_options options = {
        .classes = 10, .training = training, .he_init = !row->own_init, .seed = choice->seed
    };
    if (row->build)
        return row->build(x, &options);
    if (row->vgg)
        return build_vgg(pad_to_32(x),
                         (vgg_options){ .depth = row->vgg, .batch_norm = true, .small_head = true },
                         &options);
    if (row->resnet)
        return build_resnet(x, (resnet_options){ .depth = row->resnet, .small_image = true },
                            &options);
    return build_small_resnet(x, row->plain ? row->plain : row->small_resnet, !row->plain,
                              &options);
}

int main(int argc, char **argv)
{
    const char *model = "simple", *folder = NULL, *from = NULL, *to = NULL, *model_to = NULL,
               *out = NULL;
    const char *backend = "onednn", *names[N_NETWORKS + 1] = { NULL };
    bool synthetic = false;
    int64_t n_images = 10000, epochs = 1, batch = 100, seed = 1, n_threads = 0;
    double rate = 0.001;
    for (int i = 0; i < N_NETWORKS; i++)
        names[i] = networks[i].name;
    const option_row options[] = {
        { "model", OPTION_TEXT, &model, "network: simple, deep, lenet, resnet20 ...", names, 0, 0 },
        { "data", OPTION_TEXT, &folder, "folder with MNIST or CIFAR-10", 0, 0, 0 },
        { "synthetic", OPTION_FLAG, &synthetic, "draw digits instead", 0, 0, 0 },
        { "images", OPTION_COUNT, &n_images, "how many to draw for training", 0, 1, 1e7 },
        { "epochs", OPTION_COUNT, &epochs, "times through all images", 0, 0, 1000 },
        { "batch", OPTION_COUNT, &batch, "images in a step", 0, 1, 60000 },
        { "rate", OPTION_NUMBER, &rate, "learning rate", 0, 1e-12, 1e6 },
        { "load", OPTION_TEXT, &from, "go on from this file", 0, 0, 0 },
        { "save", OPTION_TEXT, &to, "write weights and state of training (safetensors)", 0, 0, 0 },
        { "model-file", OPTION_TEXT, &model_to, "write the network alone, for run_model", 0, 0, 0 },
        { "seed", OPTION_COUNT, &seed, "of weights, order and drawn digits", 0, 0, 0 },
        OPTION_THREADS(n_threads),
        OPTION_OUT(out),
        OPTION_BACKEND(backend),
        { 0 }
    };
    options_read(argc, argv, "trains a convolutional network", options);
    if (!folder == !synthetic)
        stop("convnet: give either --data FOLDER or --synthetic");
    output_folder output;
    output_open(&output, out, argv[0]);
    example_data data;
    data_load(&data, folder, n_images, n_images / 5 + 1, (uint64_t)seed);

    network_choice choice = { .row = networks, .seed = (uint64_t)seed };
    while (strcmp(choice.row->name, model) != 0)
        choice.row++;
    image_trainer trainer;
    trainer_open(&trainer,
                 &(trainer_options){
                     .name = model,
                     .build = build_network,
                     .context = &choice,
                     .data = &data,
                     .batch = batch,
                     .rule = { .method = EBB_NN_ADAM, .rate = rate, .late_correction = true },
                     .seed = (uint64_t)seed,
                     .backend = backend,
                     .n_threads = (int)n_threads });
    trainer_load(&trainer, from);
    char name[64], title[64];
    snprintf(name, sizeof name, "convnet_%s", model);
    snprintf(title, sizeof title, "Training of %s", model);
    trainer_run(&trainer, epochs, &output, name, title);
    trainer_save(&trainer, to);
    trainer_freeze(&trainer, model_to);
    printf("test accuracy %.4f\n", trainer_evaluate(&trainer, &data.test));
    trainer_close(&trainer);
    data_finish(&data);
    return EXIT_SUCCESS;
}
