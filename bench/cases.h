/* The cases of ebb-bench: models with the same architecture, weights and inputs as on PyTorch's
 * side (bench_torch.py). */
#ifndef BENCH_CASES_H
#define BENCH_CASES_H

#include <ebb/ebb.h>

/* Element i of tensor k is u = (splitmix64((k << 40) + i) >> 40) * 2^-24, in [0, 1). */
typedef struct bench_feed {
    ebb_node node;
    uint64_t k;
    double bound, offset; /* F32: (2u - 1) bound + offset */
    uint64_t classes;     /* I32: the same hash modulo this */
} bench_feed;

typedef struct bench_model {
    bench_feed feeds[3];
    int n_feeds;
    ebb_node results[2]; /* in training the loss comes first, if there is one */
    int n_results;
    bool has_loss;
} bench_model;

typedef struct bench_case {
    const char *name;
    bool trains, infers;
    /* For training the graph gets its updates. Mistakes are errors of the graph. */
    void (*build)(ebb_graph *g, bool training, bench_model *m);
} bench_case;

extern const bench_case bench_cases[];
extern const int n_bench_cases;

/* Fills a tensor of F32 or I32. */
void bench_fill(const bench_feed *how, ebb_tensor *tensor);
/* The value with which variable `node`, parameter number k, starts: weights (2u - 1) sqrt(6 /
 * fan_in), gains 1, the rest 0. */
void bench_fill_parameter(ebb_node node, uint64_t k, ebb_tensor *tensor);
/* False: a state (running statistics, moments, counters), which keeps its own first value. */
bool bench_is_parameter(ebb_node node);

#endif
