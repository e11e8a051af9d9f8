/* How often a network is right. */
#ifndef EXAMPLES_SUPPORT_EVALUATE_H
#define EXAMPLES_SUPPORT_EVALUATE_H

#include <ebb/ebb.h>

/* Feeds the whole set in batches and counts. `x` is an input of `run`, F32 [batch, pixels];
 * `prediction` is a fetch, I64 [batch] (an argmax). The last batch may be short: what is missing is
 * fed, but not counted. Returns the fraction from 0 to 1 (an empty set: 0); stops with a message on
 * failure. */
double evaluate(ebb_executable *run, ebb_node x, ebb_node prediction, const ebb_image_set *set);

#endif
