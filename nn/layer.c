/* What all layers ask of their input. */
#include "nn/nn.h"

bool ebb_nn_layer_check(const char *what, ebb_node x, const char *name, int min_rank,
                        const char *form)
{
    char text[EBB_NODE_TEXT_BYTES];
    const ebb_type *type = ebb_node_type(x);
    ebb_node_text(x, text);
    if (!x.id)
        ebb_graph_fail(x.graph, EBB_BAD_NODE, "%s: x is the none node", what);
    else if (!name)
        ebb_graph_fail(x.graph, EBB_BAD_NAME, "%s: the layer needs a name: x %s", what, text);
    else if (type->shape.rank < min_rank)
        ebb_graph_fail(x.graph, EBB_BAD_SHAPE, "%s \"%s\": x must be %s: x %s", what, name, form,
                       text);
    else if (!ebb_dtype_is_float(type->dtype))
        ebb_graph_fail(x.graph, EBB_BAD_DTYPE, "%s \"%s\": x must be float: x %s", what, name,
                       text);
    else
        return true;
    return false;
}
