/* Seeded random graphs over element-wise ops, reductions, views, matmul and constants, with values
 * that rewriting likes to get wrong: 0, -0, infinities, NaN. */
#ifndef TESTS_SUPPORT_RANDOM_GRAPH_H
#define TESTS_SUPPORT_RANDOM_GRAPH_H

#include "graph/interpret.h"

#define RANDOM_INPUTS 5
#define RANDOM_OUTPUTS 4

typedef struct random_graph {
    int seed;
    ebb_graph *graph;
    ebb_node outputs[RANDOM_OUTPUTS];
    ebb_tensor inputs[RANDOM_INPUTS]; /* values of the inputs i0, i1, ... */
} random_graph;

/* Check fails the test if anything goes wrong. */
void random_graph_init(random_graph *g, int seed);
void random_graph_finish(random_graph *g);
/* An interpreter that has computed `outputs` of `graph`, which is g->graph or made from it. */
ebb_interpreter *random_graph_compute(const random_graph *g, const ebb_graph *graph,
                                      const ebb_node *outputs, int n_outputs);

#endif
