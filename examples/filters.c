/* What convolution filters see (Saitoh, Deep Learning from Scratch (2016), chapter 7). Pictures of
 * an image's vertical and horizontal edges; of the first layer of the book's SimpleConvNet before
 * and after training; and of the digits that it then gets wrong, with a list of labels and guesses.
 *
 *     filters [--data FOLDER] [--image F.png] [--epochs 1] [--load F] [--out FOLDER] ... */
#include "models/models.h"
#include "support/gallery.h"
#include "support/grid.h"
#include "support/options.h"
#include "support/output.h"
#include "support/stop.h"
#include "support/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_FILTERS = 2, WINDOW = 3, EDGE_PIXELS = 280, MISTAKES_SHOWN = 20 };

static ebb_node build_net(ebb_node x, bool training, const void *context)
{
    const model_options options = { .training = training, .seed = *(const uint64_t *)context };
    return build_simple_convnet(x, &options);
}

/* Brightness from 0 to 1, F32 [1, 1, height, width], of a PNG; without one, of the first image. */
static ebb_tensor take_image(const char *path, const ebb_image_set *set)
{
    ebb_tensor file = { 0 }, image;
    ebb_error error;
    int64_t channels = set->channels, height = set->height, width = set->width;
    if (path) {
        need(ebb_png_read(path, NULL, &file, &error), error.message);
        height = file.type.shape.dims[0];
        width = file.type.shape.dims[1];
        channels = file.type.shape.dims[2];
    }
    /* Channels lie apart in a set, side by side in a PNG. */
    const uint8_t *pixels = path ? file.data : set->images.data;
    const int64_t n = height * width, step = path ? channels : 1, plane = path ? 1 : n;
    need(ebb_tensor_init(&image, ebb_type_of(EBB_F32, EBB_SHAPE(1, 1, height, width)), NULL),
         "no memory for an image");
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < channels; c++)
            ((float *)image.data)[i] +=
                (float)pixels[i * step + c * plane] / 255.0f / (float)channels;
    ebb_tensor_finish(&file);
    return image;
}

/* Convolves the image with two filters (Sobel & Feldman 1968), whose responses are positive where
 * it gets brighter to the right, or downwards. */
static void show_edges(const ebb_tensor *image, const char *backend, const output_folder *output)
{
    static const char *const names[N_FILTERS] = { "vertical", "horizontal" };
    static const float filters[N_FILTERS][WINDOW][WINDOW] = {
        { { -1, 0, 1 }, { -2, 0, 2 }, { -1, 0, 1 } },
        { { -1, -2, -1 }, { 0, 0, 0 }, { 1, 2, 1 } },
    };
    const int64_t *dims = image->type.shape.dims;
    if (dims[2] < WINDOW || dims[3] < WINDOW)
        stop("filters: an image of %" PRId64 "x%" PRId64 " pixels is too small", dims[2], dims[3]);
    ebb_graph *g = ebb_graph_create("edges");
    ebb_node x = ebb_input(g, "image", EBB_F32, image->type.shape);
    ebb_node w = ebb_constant(g, EBB_F32, EBB_SHAPE(N_FILTERS, 1, WINDOW, WINDOW), filters);
    ebb_node y = ebb_conv2d(x, w, EBB_NONE, (ebb_conv_attrs){ 0 });
    ebb_executable *run;
    ebb_compile_options how = { .fetches = &y, .n_fetches = 1, .backend = backend };
    need_graph(g, ebb_compile(g, &how, &run));
    ebb_tensor edges;
    need(ebb_tensor_init(&edges, *ebb_node_type(y), NULL), "no memory for edges");
    need_run(run, ebb_run(run, &(ebb_feed){ x, *image }, 1, &(ebb_fetch){ y, edges }, 1));

    const int64_t height = dims[2] - WINDOW + 1, width = dims[3] - WINDOW + 1;
    image_grid grid = { .rows = 1,
                        .columns = N_FILTERS,
                        .channels = 1,
                        .height = height,
                        .width = width,
                        .scale = width < EDGE_PIXELS ? EDGE_PIXELS / width : 1 };
    grid_open(&grid);
    for (int f = 0; f < N_FILTERS; f++) {
        const float *values = (const float *)edges.data + f * height * width;
        double sum = 0;
        for (int64_t i = 0; i < height * width; i++)
            sum += (double)fabsf(values[i]);
        printf("%s edges: mean response %.4f\n", names[f], sum / (double)(height * width));
        grid_put_values(&grid, 0, f, values);
    }
    grid_write(&grid, output, "edges");
    ebb_tensor_finish(&edges);
    ebb_executable_destroy(run);
    ebb_graph_destroy(g);
}

int main(int argc, char **argv)
{
    const char *folder = NULL, *path = NULL, *from = NULL, *out = NULL, *backend = "onednn";
    int64_t n_images = 10000, epochs = 1, seed = 1;
    const option_row options[] = {
        { "data", OPTION_TEXT, &folder, "folder with MNIST; none: draw digits", 0, 0, 0 },
        { "images", OPTION_COUNT, &n_images, "how many to draw for training", 0, 1, 1e7 },
        { "image", OPTION_TEXT, &path, "whose edges to show, a PNG; none: a digit's", 0, 0, 0 },
        { "epochs", OPTION_COUNT, &epochs, "times through all images", 0, 0, 1000 },
        { "load", OPTION_TEXT, &from, "start with what convnet --model simple saved", 0, 0, 0 },
        { "seed", OPTION_COUNT, &seed, "of weights, order and drawn digits", 0, 0, 0 },
        OPTION_OUT(out),
        OPTION_BACKEND(backend),
        { 0 }
    };
    options_read(argc, argv, "what convolution filters see", options);
    output_folder output;
    output_open(&output, out, argv[0]);
    example_data data;
    data_load(&data, folder, n_images, n_images / 5 + 1, (uint64_t)seed);
    ebb_tensor image = take_image(path, &data.test);
    show_edges(&image, backend, &output);

    const uint64_t weight_seed = (uint64_t)seed;
    image_trainer trainer;
    trainer_open(&trainer,
                 &(trainer_options){
                     .name = "filters",
                     .build = build_net,
                     .context = &weight_seed,
                     .data = &data,
                     .batch = 100,
                     .rule = { .method = EBB_NN_ADAM, .rate = 0.001, .late_correction = true },
                     .seed = weight_seed,
                     .backend = backend });
    ebb_tensor before = gallery_copy(&trainer, "conv1/w");
    trainer_load(&trainer, from);
    trainer_run(&trainer, epochs, NULL, NULL, NULL);
    ebb_tensor after = gallery_copy(&trainer, "conv1/w");
    gallery_filters(&output, "filters", &before, &after);
    int64_t n = gallery_mistakes(&output, "mistakes", &trainer, &data.test, MISTAKES_SHOWN);
    printf("%" PRId64 " of %" PRId64 " test images are read wrongly\n", n, data.test.n);

    ebb_tensor_finish(&image);
    ebb_tensor_finish(&before);
    ebb_tensor_finish(&after);
    trainer_close(&trainer);
    data_finish(&data);
    return EXIT_SUCCESS;
}
