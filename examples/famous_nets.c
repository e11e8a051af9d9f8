/* The weights of famous networks, counted (Saitoh, Deep Learning from Scratch (2016), sections 7.6
 * and 8.2). The networks themselves are in models/.
 *
 *     famous_nets [--out DIR] */
#include "models/models.h"
#include "support/options.h"
#include "support/output.h"
#include "support/stop.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct net_row {
    const char *name;
    int64_t channels, size; /* of the image */
    ebb_node (*build)(ebb_node x, const model_options *options);
    int vgg, resnet; /* or the depth in a family */
} net_row;

static ebb_node build_one_alexnet(ebb_node x, const model_options *options)
{
    return build_alexnet(x, true, options);
}

static ebb_node build_plain_googlenet(ebb_node x, const model_options *options)
{
    return build_googlenet(x, NULL, options);
}

static const net_row nets[] = {
    { "LeNet-5", 1, 28, .build = build_lenet5 },
    { "SimpleConvNet", 1, 28, .build = build_simple_convnet },
    { "DeepConvNet", 1, 28, .build = build_deep_convnet },
    { "AlexNet", 3, 224, .build = build_one_alexnet },
    { "VGG-16", 3, 224, .vgg = 16 },
    { "VGG-19", 3, 224, .vgg = 19 },
    { "GoogLeNet", 3, 224, .build = build_plain_googlenet },
    { "ResNet-18", 3, 224, .resnet = 18 },
    { "ResNet-34", 3, 224, .resnet = 34 },
    { "ResNet-50", 3, 224, .resnet = 50 },
};
enum { N_NETS = sizeof nets / sizeof *nets };

/* Elements of all variables but the running statistics of batch normalization and counters. */
static int64_t count_weights(const ebb_graph *g)
{
    int64_t n = 0;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(g); id++) {
        ebb_node node = ebb_graph_node(g, id);
        if (ebb_node_op(node) == ebb_op_find("variable") &&
            strncmp(ebb_node_name(node), "running_", 8) != 0 &&
            ebb_dtype_is_float(ebb_node_type(node)->dtype))
            n += ebb_shape_elements(&ebb_node_type(node)->shape);
    }
    return n;
}

int main(int argc, char **argv)
{
    const char *folder = NULL;
    const option_row table[] = { OPTION_OUT(folder), { 0 } };
    options_read(argc, argv, "the weights of famous networks, counted", table);
    output_folder output;
    output_open(&output, folder, argv[0]);
    const model_options options = { 0 };
    double places[N_NETS], counts[N_NETS];
    plot_series bars[N_NETS];
    for (int i = 0; i < N_NETS; i++) {
        const net_row *row = &nets[i];
        ebb_graph *g = ebb_graph_create(row->name);
        ebb_node x =
            ebb_input(g, "image", EBB_F32, EBB_SHAPE(1, row->channels, row->size, row->size));
        if (row->build)
            row->build(x, &options);
        else if (row->vgg)
            build_vgg(x, (vgg_options){ .depth = row->vgg }, &options);
        else
            build_resnet(x, (resnet_options){ .depth = row->resnet }, &options);
        need_graph(g, ebb_graph_status(g));
        const int64_t n = count_weights(g);
        printf("%-14s %11" PRId64 " weights, %4u nodes\n", row->name, n, ebb_graph_n_nodes(g));
        places[i] = i + 1;
        counts[i] = (double)n;
        bars[i] = (plot_series){
            .name = row->name, .kind = PLOT_BARS, .x = &places[i], .y = &counts[i], .n = 1
        };
        ebb_graph_destroy(g);
    }
    output_plot(&output, "famous_nets",
                &(plot_sheet){ .title = "Weights of famous networks",
                               .y = { "weights", true, 0, 0 },
                               .series = bars,
                               .n_series = N_NETS });
    return 0;
}
