/* Whether everything that computes a graph agrees: its gradients with central differences, and
 * every way of running it (backend, with and without passes, F64 and F32) with the reference
 * interpreter. */
#ifndef TESTS_SUPPORT_AGREEMENT_H
#define TESTS_SUPPORT_AGREEMENT_H

#include "tests/support/graph_case.h"

/* Ways of running a graph; bits of agreement_options.ways. */
enum { AGREEMENT_WAYS = 8, ALL_AGREEMENT_WAYS = (1 << AGREEMENT_WAYS) - 1 };

typedef struct agreement_options {
    int order;     /* of derivatives: 0, 1 or 2 */
    unsigned ways; /* bits */
    int n_threads; /* 0: one */
    uint64_t seed; /* of cotangents and directions */
} agreement_options;

typedef enum disagreement {
    AGREES,
    WRONG_GRADIENT,        /* against differences */
    WRONG_SECOND_GRADIENT, /* the same at order 2 */
    WRONG_VALUE,           /* one way against the interpreter */
    REFUSED                /* something failed with a status */
} disagreement;

typedef struct agreement {
    disagreement what;
    int way;           /* of WRONG_VALUE and REFUSED; -1: while gradients were checked */
    ebb_status status; /* of REFUSED */
    int n_checks;      /* directional derivatives */
    char message[700];
} agreement;

agreement check_agreement(const graph_case *c, const agreement_options *options);

#endif
