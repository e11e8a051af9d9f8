/* The demo: a small convolutional network learns to read digits, drawn ones that come with Ebb or
 * MNIST's. It leaves a picture of the whole training graph (forward, backward and update nodes),
 * the loss curve, the filters of the first layer before and after, the digits that it gets wrong,
 * and the trained weights.
 *
 *     digits [--data FOLDER] [--out FOLDER] [--epochs 3] ... */
#include "support/gallery.h"
#include "support/options.h"
#include "support/output.h"
#include "support/train.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { CLASSES = 10, MISTAKES_SHOWN = 20 };

/* After LeNet-5 (LeCun et al. 1998), with ReLU and max pooling: two convolutions of 5x5, each with
 * a pool of 2x2 behind it, and two affine layers. */
static ebb_node build_net(ebb_node x, bool training, const void *context)
{
    (void)training; /* the same in both */
    const uint64_t seed = *(const uint64_t *)context;
    const ebb_pool_attrs halve = { .window = EBB_INTS(2, 2) };
    ebb_nn_conv_options conv = { .name = "conv1",
                                 .window = EBB_INTS(5),
                                 /* small, so that training shows in the picture */
                                 .init = {
                                     .kind = EBB_NN_INIT_NORMAL, .seed = seed, .std = 0.01 } };
    ebb_node y = ebb_max_pool(ebb_relu(ebb_nn_conv(x, 16, &conv)), halve);
    conv.name = "conv2";
    conv.init.kind = EBB_NN_INIT_HE;
    y = ebb_max_pool(ebb_relu(ebb_nn_conv(y, 16, &conv)), halve);
    y = ebb_flatten(y, 1);
    y = ebb_relu(
        ebb_nn_linear(y, 100, &(ebb_nn_linear_options){ .name = "hidden", .init.seed = seed }));
    return ebb_nn_linear(y, CLASSES,
                         &(ebb_nn_linear_options){ .name = "scores", .init.seed = seed });
}

int main(int argc, char **argv)
{
    const char *folder = NULL, *out = NULL, *backend = "onednn";
    int64_t epochs = 3, seed = 1, batch = 100, n_images = 20000;
    int64_t n_threads =
        1; /* more help little with so small a network, and less on a busy machine */
    double rate = 0.001;
    const option_row options[] = {
        { "data", OPTION_TEXT, &folder, "folder with MNIST or CIFAR-10; none: draw digits", 0, 0,
          0 },
        { "images", OPTION_COUNT, &n_images, "how many to draw for training", 0, 1, 1e7 },
        { "epochs", OPTION_COUNT, &epochs, "times through all images", 0, 1, 1000 },
        { "batch", OPTION_COUNT, &batch, "images in a step", 0, 1, 60000 },
        { "rate", OPTION_NUMBER, &rate, "learning rate", 0, 1e-12, 1e6 },
        { "seed", OPTION_COUNT, &seed, "of weights, order and drawn digits", 0, 0, 0 },
        OPTION_THREADS(n_threads),
        OPTION_OUT(out),
        OPTION_BACKEND(backend),
        { 0 }
    };
    options_read(argc, argv, "trains a network to read digits", options);
    output_folder output;
    output_open(&output, out, argv[0]);
    example_data data;
    data_load(&data, folder, n_images, n_images < 20000 ? n_images / 5 + 1 : 4000, (uint64_t)seed);

    const uint64_t weight_seed = (uint64_t)seed;
    image_trainer trainer;
    trainer_open(&trainer, &(trainer_options){ .name = "digits",
                                               .build = build_net,
                                               .context = &weight_seed,
                                               .data = &data,
                                               .batch = batch,
                                               .rule = { .method = EBB_NN_ADAM, .rate = rate },
                                               .seed = weight_seed,
                                               .backend = backend,
                                               .n_threads = (int)n_threads });
    ebb_tensor before = gallery_copy(&trainer, "conv1/w");
    trainer_run(&trainer, epochs, &output, "loss", "Learning to read digits");

    ebb_tensor after = gallery_copy(&trainer, "conv1/w");
    gallery_filters(&output, "filters", &before, &after);
    int64_t n_wrong = gallery_mistakes(&output, "mistakes", &trainer, &data.test, MISTAKES_SHOWN);
    ebb_node results[] = { trainer.loss, trainer.accuracy };
    output_graph(&output, "graph", trainer.graph,
                 &(ebb_dot_options){ .outputs = results, .n_outputs = 2 });
    char path[OUTPUT_PATH_BYTES];
    trainer_save(&trainer, output_path(&output, "weights.safetensors", path));
    printf("%" PRId64 " of %" PRId64 " test images are read wrongly\n", n_wrong, data.test.n);

    ebb_tensor_finish(&before);
    ebb_tensor_finish(&after);
    trainer_close(&trainer);
    data_finish(&data);
    return EXIT_SUCCESS;
}
