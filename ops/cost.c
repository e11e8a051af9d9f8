/* How much arithmetic a node is. */
#include <ebb/op.h>

#include <string.h>

double ebb_node_flops(ebb_node node)
{
    const ebb_op *op = ebb_node_op(node);
    if (!op || op->traits & (EBB_TRAIT_SOURCE | EBB_TRAIT_VIEW))
        return 0;
    const ebb_node first = ebb_node_first_result(node, NULL);
    const int n = ebb_node_n_inputs(first);
    int64_t most = 0;
    const ebb_type *inputs[EBB_MAX_SAMPLE_INPUTS];
    ebb_type results[EBB_MAX_RESULTS];
    for (int r = 0; r < op->n_results; r++) {
        results[r] = *ebb_node_type(ebb_node_result(first, r));
        int64_t elements = ebb_shape_elements(&results[r].shape);
        most = elements > most ? elements : most;
    }
    for (int i = 0; i < n; i++) {
        const ebb_type *type = ebb_node_type(ebb_node_input(first, i));
        if (i < EBB_MAX_SAMPLE_INPUTS)
            inputs[i] = type;
        int64_t elements = ebb_shape_elements(&type->shape);
        most = elements > most ? elements : most;
    }
    if (op->flops)
        return op->flops(
            &(ebb_infer){ .op = op,
                          .attrs = ebb_node_attrs(first),
                          .n_inputs = n < EBB_MAX_SAMPLE_INPUTS ? n : EBB_MAX_SAMPLE_INPUTS,
                          .inputs = inputs,
                          .results = results });
    const bool moves = op->group && (!strcmp(op->group, "shape") || !strcmp(op->group, "index"));
    return moves ? 0 : (double)most;
}
