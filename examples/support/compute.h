/* The values of a graph that needs no training: compiled, run once, thrown away. */
#ifndef EXAMPLES_SUPPORT_COMPUTE_H
#define EXAMPLES_SUPPORT_COMPUTE_H

#include <ebb/ebb.h>

/* Runs the graph of `nodes` once, as it was built; values[i] gets the elements of nodes[i]. Stops
 * with a message on failure. */
void compute(const ebb_node *nodes, int n, const ebb_feed *feeds, int n_feeds, const char *backend,
             double *const *values);
/* One node without feeds; returns `values`. */
double *compute_one(ebb_node node, const char *backend, double *values);

#endif
