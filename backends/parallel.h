/* Threads for kernels: one pool, libgomp's, which oneDNN uses too. A second pool beside it would
 * spin against the first. libgomp is called directly, so that no compiler option decides which
 * OpenMP runtime is linked. */
#ifndef BACKENDS_PARALLEL_H
#define BACKENDS_PARALLEL_H

#include <stdint.h>

/* Runs body(context, index, n) for every index in 0..n-1, side by side, and waits for all. n is
 * n_threads or less. With n_threads <= 1 it calls body(context, 0, 1) and does not touch OpenMP. */
void ebb_parallel(int n_threads, void (*body)(void *context, int index, int n), void *context);

/* Part `index` of `n` of 0..n_items-1: [*begin, *end). Parts are contiguous and differ by at most
 * one. */
static inline void ebb_parallel_part(int64_t n_items, int index, int n, int64_t *begin,
                                     int64_t *end)
{
    int64_t each = n_items / n, rest = n_items % n;
    *begin = index * each + (index < rest ? index : rest);
    *end = *begin + each + (index < rest);
}

/* As many threads as OpenMP would use here. */
int ebb_threads_default(void);
/* Sets how many threads OpenMP regions that the calling thread starts will use (oneDNN asks
 * OpenMP), and returns what it was, for setting it back. */
int ebb_threads_exchange(int n_threads);

#endif
