/* Random numbers as a function: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers:
 * as easy as 1, 2, 3; SC 2011). Inline, so that kernels and loaders everywhere use the same
 * definition.
 *
 * The numbers of (seed, stream, counter):
 *   key    k0 = low, k1 = high 32 bits of seed
 *   block  b is the four 32-bit words of Philox of c0 = b, c1 = stream, c2 = low, c3 = high 32 bits
 * of counter F32    element i takes word i % 4 of block i / 4:       uniform = (w >> 8) / 2^24 F64
 * element i takes words 2*(i % 2), 2*(i % 2) + 1 (low, high) of block i / 2: uniform = (high:low >>
 * 11) / 2^53 normal elements 2j and 2j+1 of the same dtype share the uniforms u, v of their places:
 *          r = sqrt(-2 ln(1 - u)); element 2j is r cos(2 pi v), element 2j+1 is r sin(2 pi v)
 *          (Box & Muller 1958; 1 - u is exact and never 0). The largest |normal| is 5.77 in
 * F32, 8.57 in F64. Element i does not depend on how many there are. */
#ifndef OPS_PHILOX_H
#define OPS_PHILOX_H

#include <stdint.h>

#define EBB_PHILOX_MAX_BLOCKS (INT64_C(1) << 32)

/* Words of block `block`. */
static inline void ebb_philox(uint64_t seed, uint32_t stream, uint64_t counter, uint32_t block,
                              uint32_t words[4])
{
    uint32_t c0 = block, c1 = stream, c2 = (uint32_t)counter, c3 = (uint32_t)(counter >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = UINT64_C(0xD2511F53) * c0, p1 = UINT64_C(0xCD9E8D57) * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += UINT32_C(0x9E3779B9);
        k1 += UINT32_C(0xBB67AE85);
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

/* [0, 1), a multiple of 2^-24: exact in float. */
static inline float ebb_philox_f32(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

/* [0, 1), a multiple of 2^-53. */
static inline double ebb_philox_f64(uint32_t low, uint32_t high)
{
    return (double)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}

#endif
