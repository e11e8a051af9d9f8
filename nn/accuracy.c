/* Metrics of classification. */
#define EBB_NO_LOCATIONS
#include <ebb/nn.h>

ebb_node(ebb_nn_accuracy)(ebb_node scores, ebb_node labels)
{
    const ebb_shape *s = &ebb_node_type(scores)->shape, *l = &ebb_node_type(labels)->shape;
    if (scores.id && labels.id &&
        (s->rank != 2 || l->rank != 1 || s->dims[0] != l->dims[0] ||
         !ebb_dtype_is_integer(ebb_node_type(labels)->dtype))) {
        char a[EBB_NODE_TEXT_BYTES], b[EBB_NODE_TEXT_BYTES];
        return ebb_graph_fail(scores.graph, EBB_BAD_SHAPE,
                              "nn_accuracy: needs scores [batch, classes] and integer labels "
                              "[batch]: %s, %s",
                              ebb_node_text(scores, a), ebb_node_text(labels, b));
    }
    ebb_node guess = ebb_argmax(scores, -1);
    ebb_node right = ebb_equal(guess, ebb_cast(labels, EBB_I64));
    return ebb_reduce_mean(ebb_cast(right, EBB_F64), EBB_ALL_AXES, false);
}
