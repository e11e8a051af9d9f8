/* Random numbers of ops/philox.h, many blocks side by side. */
#include "backends/native/vector/isa.h"
#include "backends/native/vector/stream.h"
#include "ops/philox.h"

/* Blocks of four numbers that are computed together. */
#define TOGETHER 128

/* The products of 32-bit numbers, which compilers take for products of 64-bit numbers. */
static inline void multiply(const uint32_t *a, uint32_t b, uint32_t *high, uint32_t *low)
{
#ifdef __AVX512F__
    const __m512i factor = _mm512_set1_epi32((int)b);
    for (int i = 0; i < TOGETHER; i += 16) {
        const __m512i x = _mm512_loadu_si512(a + i);
        const __m512i even = _mm512_mul_epu32(x, factor);
        const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), factor);
        _mm512_storeu_si512(low + i,
                            _mm512_mask_mov_epi32(even, 0xaaaa, _mm512_slli_epi64(odd, 32)));
        _mm512_storeu_si512(high + i,
                            _mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xaaaa, odd));
    }
#else
    for (int i = 0; i < TOGETHER; i++) {
        const uint64_t product = (uint64_t)a[i] * b;
        high[i] = (uint32_t)(product >> 32);
        low[i] = (uint32_t)product;
    }
#endif
}

/* As ebb_philox, word by word for blocks first, first + 1, .. */
static void philox_blocks(const ebb_random_blocks *r, uint32_t first, float *out)
{
    uint32_t c0[TOGETHER], c1[TOGETHER], c2[TOGETHER], c3[TOGETHER];
    uint32_t high0[TOGETHER], low0[TOGETHER], high1[TOGETHER], low1[TOGETHER];
    uint32_t k0 = (uint32_t)r->seed, k1 = (uint32_t)(r->seed >> 32);
    for (uint32_t i = 0; i < TOGETHER; i++) {
        c0[i] = first + i;
        c1[i] = r->stream;
        c2[i] = (uint32_t)r->counter;
        c3[i] = (uint32_t)(r->counter >> 32);
    }
    for (int round = 0; round < 10; round++) {
        multiply(c0, UINT32_C(0xD2511F53), high0, low0);
        multiply(c2, UINT32_C(0xCD9E8D57), high1, low1);
        for (int i = 0; i < TOGETHER; i++) {
            c0[i] = high1[i] ^ c1[i] ^ k0;
            c1[i] = low1[i];
            c2[i] = high0[i] ^ c3[i] ^ k1;
            c3[i] = low0[i];
        }
        k0 += UINT32_C(0x9E3779B9);
        k1 += UINT32_C(0xBB67AE85);
    }
    for (int i = 0; i < TOGETHER; i++) {
        out[4 * i] = ebb_philox_f32(c0[i]);
        out[4 * i + 1] = ebb_philox_f32(c1[i]);
        out[4 * i + 2] = ebb_philox_f32(c2[i]);
        out[4 * i + 3] = ebb_philox_f32(c3[i]);
    }
}

static void uniform_f32(const ebb_random_blocks *r, int64_t n, float *out)
{
    _Alignas(64) float numbers[4 * TOGETHER];
    uint32_t block = r->first;
    for (int64_t begin = 0; begin < n; begin += 4 * TOGETHER, block += TOGETHER) {
        const int64_t left = n - begin;
        const size_t n_bytes = (size_t)(left < 4 * TOGETHER ? left : 4 * TOGETHER) * sizeof *out;
        philox_blocks(r, block, numbers);
        if (r->is_streamed)
            stream_bytes(out + begin, numbers, n_bytes);
        else
            memcpy(out + begin, numbers, n_bytes);
    }
    if (r->is_streamed)
        stream_finish();
}

const ebb_random_table ISA_NAME(ebb_random) = { .uniform_f32 = uniform_f32 };
