/* Dropout as a layer: the op, and the counter that gives it new numbers in each run. */
#define EBB_NO_LOCATIONS
#include "nn/nn.h"

#include "graph/graph_build.h"

/* FNV-1a: layers of other names draw other numbers. */
static int64_t stream_of(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

ebb_node(ebb_nn_dropout)(ebb_node x, double ratio, const ebb_nn_dropout_options *options)
{
    ebb_graph *graph = x.graph;
    if (!x.id)
        return ebb_graph_fail(graph, EBB_BAD_NODE, "nn_dropout: x is the none node");
    if (!options || !options->name)
        return ebb_graph_fail(graph, EBB_BAD_NAME, "nn_dropout: the layer needs a name");
    if (!(ratio >= 0 && ratio <= 1)) /* in inference nobody else may see it */
        return ebb_graph_fail(graph, EBB_BAD_ATTRIBUTE,
                              "nn_dropout \"%s\": ratio %g is not in 0..1", options->name, ratio);
    if (options->inference)
        return options->unscaled ? ebb_dropout_mean(x, ratio) : x;
    ebb_scope_push(graph, options->name);
    const char *name = ebb_graph_full_name(graph, "counter");
    ebb_node y = { graph, 0 };
    if (name) {
        const ebb_node counter = ebb_variable(graph, "counter", EBB_I64, EBB_SCALAR, NULL);
        const int64_t seed = (int64_t)options->seed, stream = stream_of(name);
        y = options->unscaled ? ebb_dropout_unscaled(x, ratio, counter, seed, stream)
                              : ebb_dropout(x, ratio, counter, seed, stream);
        const ebb_phase phase = ebb_graph_set_phase(graph, EBB_UPDATE);
        ebb_update(counter, ebb_add(counter, ebb_full_like(counter, 1)));
        ebb_graph_set_phase(graph, phase);
    }
    ebb_scope_pop(graph);
    return y;
}
