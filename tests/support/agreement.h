/* Whether everything that computes a graph agrees: its gradients with central differences, and
 * every way of running it (backend, with and without passes, F64 and F32) with the reference
 * interpreter. */
#ifndef TESTS_SUPPORT_AGREEMENT_H
#define TESTS_SUPPORT_AGREEMENT_H

#include "tests/support/graph_case.h"

/* Ways of running a graph; bits of agreement_options.ways: with each list of backends (onednn,
 * native, reference), in F64 and then F32, with passes and then without; then native with passes
 * without fusion, in F64 and F32. */
enum {
    AGREEMENT_WAYS = 14,
    ALL_AGREEMENT_WAYS = (1 << AGREEMENT_WAYS) - 1,
    OPTIMIZED_F64_WAYS = 1 << 0 | 1 << 4 | 1 << 8
};

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
    int way;            /* of WRONG_VALUE and REFUSED; -1: while gradients were checked */
    ebb_status status;  /* of REFUSED */
    int n_compared[2];  /* directional derivatives of order 1 and 2 that agree */
    int n_zero[2];      /* of them, those that are 0 */
    int n_undecided[2]; /* those whose differences do not converge: a kink is too near */
    int n_ways;         /* that agree */
    double worst[2];    /* relative error */
    char message[700];
} agreement;

agreement check_agreement(const graph_case *c, const agreement_options *options);

#endif
