/* The memory bandwidth of this machine, by loops that do nothing else: what kernels are compared
 * with. */
#ifndef BENCH_BANDWIDTH_H
#define BENCH_BANDWIDTH_H

#include <stddef.h>

typedef enum bandwidth_mix {
    BANDWIDTH_READ,  /* x: sum */
    BANDWIDTH_COPY,  /* one read, one written */
    BANDWIDTH_TRIAD, /* two read, one written */
    BANDWIDTH_WRITE,
    N_BANDWIDTH_MIXES
} bandwidth_mix;

/* Arrays of n_bytes each, a multiple of 4096; a and b are read, c is written. */
typedef struct bandwidth_arrays {
    const float *a, *b;
    float *c;
    size_t n_bytes;
} bandwidth_arrays;

const char *bandwidth_mix_name(bandwidth_mix mix);
/* The loops for a mix: plain, with stores past the caches, and so on. */
int bandwidth_n_variants(bandwidth_mix mix);
const char *bandwidth_variant_name(bandwidth_mix mix, int variant);
/* Goes over the arrays once. */
void bandwidth_run(bandwidth_mix mix, int variant, const bandwidth_arrays *arrays, int n_threads);
/* Bytes that one pass reads and writes, without what caches fetch in order to write. */
double bandwidth_bytes(bandwidth_mix mix, size_t n_bytes);

#endif
