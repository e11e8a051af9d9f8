/* Update rules: gradients of a loss by its variables, and what becomes of them. */
#define EBB_NO_LOCATIONS
#include <ebb/nn.h>

#include "graph/graph_build.h"

#include <math.h>
#include <string.h>

/* The float variables that `loss` depends on, ascending, into `variables` (room for all nodes) and
 * their number. */
static int find_variables(ebb_node loss, uint8_t *used, ebb_node *variables)
{
    ebb_graph *graph = loss.graph;
    int n = 0;
    ebb_graph_mark(graph, &loss, 1, used);
    for (uint32_t id = 1; id <= loss.id; id++) {
        ebb_node node = ebb_graph_node(graph, id);
        if (used[id] && ebb_node_op(node)->traits & EBB_TRAIT_VARIABLE &&
            ebb_dtype_is_float(ebb_node_type(node)->dtype)) {
            if (variables)
                variables[n] = node;
            n++;
        }
    }
    return n;
}

static void emit_update(ebb_node variable, ebb_node gradient, const ebb_nn_sgd *rule)
{
    ebb_graph *graph = variable.graph;
    ebb_graph_stand_at(graph, variable);
    ebb_graph_set_phase(graph, EBB_UPDATE);
    ebb_node step = ebb_mul(gradient, ebb_full_like(gradient, rule->rate));
    ebb_update(variable, ebb_sub(variable, step));
}

ebb_status ebb_nn_minimize(ebb_node loss, const ebb_nn_sgd *rule)
{
    ebb_graph *graph = loss.graph;
    if (!graph)
        return EBB_BAD_NODE;
    if (ebb_graph_status(graph))
        return ebb_graph_status(graph);
    if (!ebb_graph_owns(graph, loss))
        return ebb_graph_report(graph, EBB_BAD_NODE, "nn_minimize: the loss is the none node");
    if (!rule || !isfinite(rule->rate) || rule->rate <= 0)
        return ebb_graph_report(graph, EBB_BAD_ARGUMENT,
                                "nn_minimize: the rate must be finite and positive, not %g",
                                rule ? rule->rate : 0.0);
    const ebb_allocator *allocator = ebb_graph_allocator(graph);
    size_t used_bytes =
        (size_t)loss.id + EBB_MAX_RESULTS; /* results behind the last op are marked too */
    uint8_t *used = ebb_allocate(allocator, used_bytes);
    ebb_node *nodes = NULL;
    size_t nodes_bytes = 0;
    ebb_status status = EBB_OK;
    int n = 0;
    if (used) {
        memset(used, 0, used_bytes);
        n = find_variables(loss, used, NULL);
        nodes_bytes = 2 * (size_t)n * sizeof *nodes;
        nodes = ebb_allocate(allocator, nodes_bytes);
    }
    if (!nodes) {
        status = ebb_graph_report(graph, EBB_OUT_OF_MEMORY, "nn_minimize: out of memory");
    } else if (n == 0) {
        status = ebb_graph_report(graph, EBB_BAD_ARGUMENT,
                                  "nn_minimize: the loss depends on no variable");
    } else {
        ebb_place place = ebb_graph_place(graph);
        find_variables(loss, used, nodes);
        status = ebb_gradients(loss, nodes, n, nodes + n);
        for (int i = 0; i < n && !status; i++)
            emit_update(nodes[i], nodes[n + i], rule);
        ebb_graph_return(graph, place);
        status = status ? status : ebb_graph_status(graph);
    }
    ebb_release(allocator, used, used_bytes);
    ebb_release(allocator, nodes, nodes_bytes);
    return status;
}
