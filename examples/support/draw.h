/* Random numbers for the programs themselves: SplitMix64 (Steele, Lea, Flood 2014). */
#ifndef EXAMPLES_SUPPORT_DRAW_H
#define EXAMPLES_SUPPORT_DRAW_H

#include <stdint.h>

/* The next number of a sequence; `state` may begin with anything. */
uint64_t draw_bits(uint64_t *state);
/* An index in 0..n-1, n < 2^32. */
int64_t draw_index(uint64_t *state, int64_t n);
/* In [low, high). */
double draw_uniform(uint64_t *state, double low, double high);

#endif
