/* The memory plan: lifetimes -> offsets. A pure function. */
#ifndef RUNTIME_PLAN_H
#define RUNTIME_PLAN_H

#include <ebb/memory.h>

typedef struct ebb_interval {
    size_t bytes;
    int64_t first, last; /* steps at which it is needed, both included; 0 <= first <= last */
    /* An interval of the same size whose memory this one takes over if that one ends where this one
     * begins and nobody else took it; -1: none. Only there may two living intervals overlap. */
    int64_t inplace;
} ebb_interval;

typedef enum ebb_plan_strategy {
    EBB_PLAN_AUTO, /* the best of these, and of size times duration; with more than EBB_PLAN_SMALL
 blocks by time */
    EBB_PLAN_BY_SIZE, /* greedy by size, best fit (Pisarchyk & Lee 2020, arXiv 2001.03288): O(n^2)
                       */
    EBB_PLAN_BY_TIME  /* in order of time from lists of free blocks by size: O(n) */
} ebb_plan_strategy;
#define EBB_PLAN_SMALL 2000

/* Fills offsets[n] with multiples of EBB_ALIGNMENT and *peak_bytes with the size of the arena.
 * Intervals of no bytes get offset 0. OUT_OF_MEMORY, also when the plan is larger than an address
 * can say. */
ebb_status ebb_plan_memory(const ebb_interval *intervals, int64_t n, ebb_plan_strategy strategy,
                           const ebb_allocator *allocator, size_t *offsets, size_t *peak_bytes);

#endif
