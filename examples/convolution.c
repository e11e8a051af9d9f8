/* Convolution and pooling by numbers (Saitoh, Deep Learning from Scratch (2016), sections 7.2 and
 * 7.4): the filter, bias, padding and stride of the book's pictures, the sizes of results, im2col;
 * and the gradient of a small convolutional net against differences.
 *
 *     convolution [--seed 1] [--backend reference|onednn] [--out DIR] */
#include "support/compute.h"
#include "support/options.h"
#include "support/output.h"
#include "support/stop.h"

#include <inttypes.h>
#include <stdio.h>

enum { MAX_VALUES = 64, SIZE = 10, FILTERS = 10, HIDDEN = 10, CLASSES = 10 };

static void print_image(const char *name, ebb_node y, const char *backend)
{
    const int64_t *dims = ebb_node_type(y)->shape.dims;
    double values[MAX_VALUES];
    compute_one(y, backend, values);
    printf("%s:", name);
    for (int64_t i = 0; i < dims[2]; i++) {
        printf(i ? ";" : "");
        for (int64_t j = 0; j < dims[3]; j++)
            printf(" %g", values[i * dims[3] + j]);
    }
    printf("\n");
}

static void show_convolution(const char *backend)
{
    ebb_graph *g = ebb_graph_create("convolution");
    static const float image[] = { 1, 2, 3, 0, 0, 1, 2, 3, 3, 0, 1, 2, 2, 3, 0, 1 };
    static const float filter[] = { 2, 0, 1, 0, 1, 2, 1, 0, 2 };
    float large[49]; /* the same pattern, continued */
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < 7; j++)
            large[i * 7 + j] = (float)((j - i + 8) % 4 == 3 ? 0 : (j - i + 8) % 4 + 1);
    ebb_node x = ebb_constant(g, EBB_F32, EBB_SHAPE(1, 1, 4, 4), image);
    ebb_node wide = ebb_constant(g, EBB_F32, EBB_SHAPE(1, 1, 7, 7), large);
    ebb_node w = ebb_constant(g, EBB_F32, EBB_SHAPE(1, 1, 3, 3), filter);
    ebb_node three = ebb_full(g, EBB_F32, EBB_SHAPE(1), 3);
    print_image("convolution", ebb_conv2d(x, w, EBB_NONE, (ebb_conv_attrs){ 0 }), backend);
    print_image("with bias 3", ebb_conv2d(x, w, three, (ebb_conv_attrs){ 0 }), backend);
    print_image("padding 1", ebb_conv2d(x, w, EBB_NONE, (ebb_conv_attrs){ .padding = EBB_INTS(1) }),
                backend);
    print_image("stride 2 on 7x7",
                ebb_conv2d(wide, w, EBB_NONE, (ebb_conv_attrs){ .stride = EBB_INTS(2) }), backend);

    static const float pooled[] = { 1, 2, 1, 0, 0, 1, 2, 3, 3, 0, 1, 2, 2, 4, 0, 1 };
    ebb_node y = ebb_constant(g, EBB_F32, EBB_SHAPE(1, 1, 4, 4), pooled);
    const ebb_pool_attrs pool = { .window = EBB_INTS(2, 2) };
    print_image("maximum of 2x2", ebb_max_pool(y, pool), backend);
    print_image("mean of 2x2", ebb_avg_pool(y, pool), backend);
    ebb_graph_destroy(g);
}

typedef struct size_row {
    int64_t height, width, padding, stride, filter;
} size_row;

static void show_sizes(void)
{
    static const size_row rows[] = { { 4, 4, 1, 1, 3 }, { 7, 7, 0, 2, 3 }, { 28, 31, 2, 3, 5 } };
    static const int64_t batches[] = { 1, 10 };
    ebb_graph *g = ebb_graph_create("sizes");
    for (int i = 0; i < 3; i++) {
        const size_row *row = &rows[i];
        ebb_node x = ebb_full(g, EBB_F32, EBB_SHAPE(1, 1, row->height, row->width), 0);
        ebb_node w = ebb_full(g, EBB_F32, EBB_SHAPE(1, 1, row->filter, row->filter), 0);
        ebb_node y = ebb_conv2d(
            x, w, EBB_NONE,
            (ebb_conv_attrs){ .stride = EBB_INTS(row->stride), .padding = EBB_INTS(row->padding) });
        need_graph(g, ebb_graph_status(g));
        const int64_t *dims = ebb_node_type(y)->shape.dims;
        printf("%" PRId64 "x%" PRId64 ", padding %" PRId64 ", stride %" PRId64 ", filter %" PRId64
               ": %" PRId64 "x%" PRId64 "\n",
               row->height, row->width, row->padding, row->stride, row->filter, dims[2], dims[3]);
    }
    for (int i = 0; i < 2; i++) {
        ebb_node x = ebb_full(g, EBB_F32, EBB_SHAPE(batches[i], 3, 7, 7), 0);
        ebb_node columns = ebb_im2col(x, (ebb_im2col_attrs){ .window = EBB_INTS(5, 5) });
        need_graph(g, ebb_graph_status(g));
        const int64_t *dims = ebb_node_type(columns)->shape.dims;
        printf("im2col of %" PRId64 "x3x7x7 for 5x5: %" PRId64 "x%" PRId64 "\n", batches[i],
               dims[0], dims[1]);
    }
    ebb_graph_destroy(g);
}

/* One image of 10x10, ten filters of 3x3, pool, two linear layers. */
static void check_net(uint64_t seed, const output_folder *output)
{
    ebb_graph *g = ebb_graph_create("small_convnet");
    ebb_node x = ebb_input(g, "image", EBB_F64, EBB_SHAPE(1, 1, SIZE, SIZE));
    ebb_node t = ebb_input(g, "label", EBB_I32, EBB_SHAPE(1));
    ebb_node y = ebb_nn_conv(
        x, FILTERS,
        &(ebb_nn_conv_options){ .name = "conv", .window = EBB_INTS(3, 3), .init.seed = seed });
    y = ebb_max_pool(ebb_relu(y), (ebb_pool_attrs){ .window = EBB_INTS(2, 2) });
    y = ebb_nn_linear(ebb_flatten(y, 1), HIDDEN,
                      &(ebb_nn_linear_options){ .name = "fc1", .init.seed = seed });
    y = ebb_nn_linear(ebb_relu(y), CLASSES,
                      &(ebb_nn_linear_options){ .name = "fc2", .init.seed = seed });
    ebb_node loss = ebb_softmax_cross_entropy(y, t);
    static const char *const names[] = { "conv/w", "conv/b", "fc1/w", "fc1/b", "fc2/w", "fc2/b" };
    ebb_node weights[6];
    for (int i = 0; i < 6; i++)
        weights[i] = ebb_graph_find(g, names[i]);
    ebb_check_report report;
    /* A larger step moves a sum across the corner of a ReLU, or another maximum into a window. */
    const ebb_check_options how = { .step = 2e-6, .seed = seed };
    need_graph(g, ebb_check_gradients(loss, weights, 6, &how, &report));
    printf("gradient check of a small net: %d directions, worst relative error %.1e\n",
           report.n_checks, report.worst_error);
    output_graph(output, "convolution", g, &(ebb_dot_options){ .outputs = &loss, .n_outputs = 1 });
    ebb_graph_destroy(g);
}

int main(int argc, char **argv)
{
    const char *backend = "onednn", *folder = NULL;
    int64_t seed = 1;
    const option_row options[] = {
        OPTION_SEED(seed), OPTION_BACKEND(backend), OPTION_OUT(folder), { 0 }
    };
    options_read(argc, argv, "convolution and pooling by numbers", options);
    output_folder output;
    output_open(&output, folder, argv[0]);
    show_convolution(backend);
    show_sizes();
    check_net((uint64_t)seed, &output);
    return 0;
}
