/* Seeded random graphs over the whole registry. No op stands here by name but for what ties nodes
 * together: nodes are proposed from the samples and attribute tables of the ops, and taken if the
 * op's infer and eval accept them. */
#ifndef TESTS_SUPPORT_RANDOM_CASE_H
#define TESTS_SUPPORT_RANDOM_CASE_H

#include "tests/support/graph_case.h"

typedef struct random_case_options {
    uint64_t seed;
    int n_ops;                  /* nodes to aim at; 0: drawn from 3 to 24 */
    const ebb_op *const *focus; /* two nodes of three are of these ops; they may be others than the
                                   registry's */
    int n_focus;
    /* 0, -0, infinities, NaN, ties and jumps are welcome, F32 too: for rewriting, not for
     * differences. Otherwise all floats are F64, no value is large, and every node is smooth near
     * its inputs, as far as that can be measured. */
    bool wild;
} random_case_options;

/* At least one output; Check fails the test when memory is out. graph_case_finish frees it. */
void random_case_init(graph_case *c, const random_case_options *options);

#endif
