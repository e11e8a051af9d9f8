/* Random numbers of ops/philox.h, many blocks side by side. */
#include "backends/native/vector/isa.h"
#include "backends/native/vector/lanes.h"
#include "backends/native/vector/stream.h"
#include "ops/philox.h"

/* A 32-bit word of one block in each lane of 64 bits; what stands above it does not count. */
typedef uint64_t words __attribute__((vector_size(LANES_BYTES)));
typedef uint32_t halves __attribute__((vector_size(LANES_BYTES)));

/* Blocks of four numbers that are computed together: SETS vectors of them, so that one need not
 * wait for the products of another. */
enum { WORDS = LANES_F64, SETS = 6, TOGETHER = SETS * WORDS, ROUNDS = 10 };

static inline words multiply(words a, words b)
{
#if defined __AVX512F__
    return (words)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined __AVX2__
    return (words)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined __SSE2__
    return (words)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    return (a & 0xffffffff) * b;
#endif
}

/* The upper halves come down; what they leave behind does not count. A shuffle, so that the unit
 * that multiplies need not shift, too. */
static inline words upper_halves(words a)
{
#if defined __AVX512F__
    return (words)_mm512_shuffle_epi32((__m512i)a, 0xF5);
#elif defined __AVX2__
    return (words)_mm256_shuffle_epi32((__m256i)a, 0xF5);
#elif defined __SSE2__
    return (words)_mm_shuffle_epi32((__m128i)a, 0xF5);
#else
    return a >> 32;
#endif
}

/* The lower halves of a and, above them, those of b. */
static inline words join_halves(words a, words b)
{
#ifdef __AVX512F__
    return (words)_mm512_mask_shuffle_epi32((__m512i)a, 0xAAAA, (__m512i)b, 0xA0);
#else
    return (a & 0xffffffff) | b << 32;
#endif
}

static inline words all_lanes(uint64_t x)
{
    return x - (words){ 0 };
}

/* Pairs of words of equal lanes, then pairs of equal lanes behind each other, as numbers. */
static inline void write_blocks(words c0, words c1, words c2, words c3, float *out)
{
    const words a = join_halves(c0, c1), b = join_halves(c2, c3);
    words even = a, odd = b;
#define INTERLEAVE(s, upper, lower)                                                                \
    if (s == 1) {                                                                                  \
        even = __builtin_shufflevector(a, b, LANE_LIST upper);                                     \
        odd = __builtin_shufflevector(a, b, LANE_LIST lower);                                      \
    }
    LANE_STAGES_F64(INTERLEAVE)
    /* the upper 24 bits of each half, which fit into int32_t and into float */
    const lanes_of_bits low = (lanes_of_bits)((halves)even >> 8);
    const lanes_of_bits high = (lanes_of_bits)((halves)odd >> 8);
    lanes_store_f32(out, __builtin_convertvector(low, lanes_f32) * 0x1p-24f);
    lanes_store_f32(out + LANES_F32, __builtin_convertvector(high, lanes_f32) * 0x1p-24f);
}

/* The numbers of blocks in the order in which write_blocks leaves them: those of even lanes first.
 */
static inline words block_order(void)
{
    uint64_t order[WORDS];
    words lanes;
    for (int i = 0; i < WORDS; i++)
        order[i] = (uint64_t)(i % 2 * (WORDS / 2) + i / 2);
    memcpy(&lanes, order, sizeof lanes);
    return lanes;
}

/* As ebb_philox for blocks first, first + 1, .. */
static void philox_blocks(const ebb_random_blocks *r, const words (*keys)[2], uint32_t first,
                          float *out)
{
    words c0[SETS], c1[SETS], c2[SETS], c3[SETS];
    const words factor0 = all_lanes(0xD2511F53), factor1 = all_lanes(0xCD9E8D57);
    for (int s = 0; s < SETS; s++) {
        c0[s] = all_lanes(first + (uint32_t)(s * WORDS)) + block_order();
        c1[s] = all_lanes(r->stream);
        c2[s] = all_lanes(r->counter);
        c3[s] = all_lanes(r->counter >> 32);
    }
#pragma GCC unroll 10 /* saves moves between registers */
    for (int round = 0; round < ROUNDS; round++)
        for (int s = 0; s < SETS; s++) {
            const words product0 = multiply(c0[s], factor0), product1 = multiply(c2[s], factor1);
            c0[s] = upper_halves(product1) ^ c1[s] ^ keys[round][0];
            c1[s] = product1;
            c2[s] = upper_halves(product0) ^ c3[s] ^ keys[round][1];
            c3[s] = product0;
        }
    for (int s = 0; s < SETS; s++)
        write_blocks(c0[s], c1[s], c2[s], c3[s], out + 4 * WORDS * s);
}

static void uniform_f32(const ebb_random_blocks *r, int64_t n, float *out)
{
    _Alignas(64) float numbers[4 * TOGETHER];
    uint32_t block = r->first, k0 = (uint32_t)r->seed, k1 = (uint32_t)(r->seed >> 32);
    words keys[ROUNDS][2];
    for (int round = 0; round < ROUNDS; round++) {
        keys[round][0] = all_lanes(k0);
        keys[round][1] = all_lanes(k1);
        k0 += UINT32_C(0x9E3779B9);
        k1 += UINT32_C(0xBB67AE85);
    }
    for (int64_t begin = 0; begin < n; begin += 4 * TOGETHER, block += TOGETHER) {
        const int64_t left = n - begin;
        const size_t n_bytes = (size_t)(left < 4 * TOGETHER ? left : 4 * TOGETHER) * sizeof *out;
        philox_blocks(r, (const words(*)[2])keys, block, numbers);
        if (r->is_streamed)
            stream_bytes(out + begin, numbers, n_bytes);
        else
            memcpy(out + begin, numbers, n_bytes);
    }
    if (r->is_streamed)
        stream_finish();
}

const ebb_random_table ISA_NAME(ebb_random) = { .uniform_f32 = uniform_f32 };
