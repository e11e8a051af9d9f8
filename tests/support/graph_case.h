/* A test case that is a whole graph: the graph, values for its inputs, and what is asked of it. It
 * can be rebuilt with one change at a time, which is what shrinking does. */
#ifndef TESTS_SUPPORT_GRAPH_CASE_H
#define TESTS_SUPPORT_GRAPH_CASE_H

#include "graph/interpret.h"

#include <ebb/ops.h>

#define CASE_MAX_INPUTS 96
#define CASE_MAX_OUTPUTS 8

typedef struct case_input {
    ebb_node node;
    ebb_tensor value; /* owned */
    bool is_x;        /* gradients are taken for it */
} case_input;

typedef struct graph_case {
    ebb_graph *graph;
    case_input inputs[CASE_MAX_INPUTS];
    int n_inputs;
    ebb_node outputs[CASE_MAX_OUTPUTS];
    int n_outputs;
} graph_case;

/* One change; a zero struct is none. */
typedef struct case_edit {
    const ebb_node *outputs; /* other outputs, of the old graph */
    int n_outputs;
    ebb_node cut;                /* becomes an input of its own ... */
    const ebb_tensor *cut_value; /* ... with this value */
    bool cut_is_x;
    ebb_node bypass, by; /* `by`, an earlier node of the same type, takes the place of `bypass` */
    int64_t dim,
        new_dim;      /* sizes `dim` (> 0) become `new_dim` (< dim) in types and shape attributes */
    bool numbers_too; /* ... and in integer attributes */
} case_edit;

/* What the outputs need, with the change made. False, and nothing is left, if an op refuses it. */
bool graph_case_rebuild(const graph_case *from, const case_edit *edit, graph_case *result);
void graph_case_finish(graph_case *c);

/* An interpreter that has computed `outputs` (as many as the case has) of `graph`, which is the
 * case's or made from it with the same names of inputs. NULL, and `error`, if an op refuses. */
ebb_interpreter *graph_case_compute(const graph_case *c, const ebb_graph *graph,
                                    const ebb_node *outputs, ebb_error *error);

/* Nodes that are no inputs. */
int graph_case_n_ops(const graph_case *c);
/* depends[id], of n_nodes + 1: whether the node depends on an x by floats alone. */
void graph_case_dependence(const graph_case *c, bool *depends);
/* The text form, then outputs and values as comments. */
void graph_case_print(const graph_case *c, FILE *out);

#endif
