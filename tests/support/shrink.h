/* From a graph that fails to a small one that fails in the same way. */
#ifndef TESTS_SUPPORT_SHRINK_H
#define TESTS_SUPPORT_SHRINK_H

#include "tests/support/graph_case.h"

/* True if the case still shows the failure. */
typedef bool (*case_fails)(void *context, const graph_case *c);

/* Replaces *c by smaller cases as long as they fail: fewer outputs, outputs further up, nodes cut
 * off (they become inputs with the value that they had), nodes left out, smaller dimensions. At
 * most `budget` calls of `fails`; returns how many there were. */
int shrink_case(graph_case *c, case_fails fails, void *context, int budget);

#endif
