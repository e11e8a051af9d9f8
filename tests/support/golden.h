/* Graphs as text, and golden cases of passes: tests/golden/NAME.txt has graphs, one behind each
 * line of "==", and behind "=>" what the pass makes of it (not there: it stays). The nodes named
 * out .. are the outputs. */
#ifndef TESTS_SUPPORT_GOLDEN_H
#define TESTS_SUPPORT_GOLDEN_H

#include <ebb/graph.h>
#include <ebb/ops.h>

enum { MAX_OUTPUTS = 4 };

ebb_graph *golden_parse(const char *text);
/* To be freed. */
char *golden_print(const ebb_graph *graph);
/* The first node of this name; fails if there is none. */
ebb_node golden_find(const ebb_graph *graph, const char *name);
/* The nodes named out .., at most MAX_OUTPUTS; returns how many. */
int golden_outputs(const ebb_graph *graph, ebb_node outputs[MAX_OUTPUTS]);

/* May leave *result NULL where nothing is done. */
typedef ebb_status (*golden_pass)(const ebb_graph *graph, const ebb_node *outputs, int n_outputs,
                                  ebb_graph **result, uint32_t *map, int64_t *n_hits,
                                  ebb_error *error);
void golden_check(const char *name, golden_pass pass, int least_cases);

#endif
