/* Loops of multiply-adds, and the best of bandwidth.c. */
#include "bench/machine.h"

#include "backends/parallel.h"
#include "bench/bandwidth.h"

#include <ebb/memory.h>

#include <math.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 8, ARRAY_BYTES = 64 << 20 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- multiply-adds: enough independent ones to hide their latency ---- */

enum { CHAINS = 12, REPEATS = 200000 };
static volatile float sink; /* keeps results alive */

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f"))) static double fma_512(void)
{
    __m512 sums[CHAINS];
    const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
    for (int c = 0; c < CHAINS; c++)
        sums[c] = _mm512_set1_ps((float)c);
    for (int i = 0; i < REPEATS; i++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++)
            sums[c] = _mm512_fmadd_ps(sums[c], a, b);
    }
    for (int c = 1; c < CHAINS; c++)
        sums[0] = _mm512_add_ps(sums[0], sums[c]);
    sink = _mm512_reduce_add_ps(sums[0]);
    return 2.0 * 16 * CHAINS * REPEATS;
}

__attribute__((target("avx2,fma"))) static double fma_256(void)
{
    __m256 sums[CHAINS];
    const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    for (int c = 0; c < CHAINS; c++)
        sums[c] = _mm256_set1_ps((float)c);
    for (int i = 0; i < REPEATS; i++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++)
            sums[c] = _mm256_fmadd_ps(sums[c], a, b);
    }
    for (int c = 1; c < CHAINS; c++)
        sums[0] = _mm256_add_ps(sums[0], sums[c]);
    float all[8];
    _mm256_storeu_ps(all, sums[0]);
    sink = all[0] + all[7];
    return 2.0 * 8 * CHAINS * REPEATS;
}
#endif

static double fma_plain(void)
{
    typedef float lanes __attribute__((vector_size(16)));
    lanes sums[CHAINS];
    const lanes a = { 0.999f, 0.999f, 0.999f, 0.999f }, b = { 0.001f, 0.001f, 0.001f, 0.001f };
    memset(sums, 0, sizeof sums);
    for (int i = 0; i < REPEATS; i++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++)
            sums[c] = sums[c] * a + b;
    }
    for (int c = 1; c < CHAINS; c++)
        sums[0] += sums[c];
    sink = sums[0][0] + sums[0][3];
    return 2.0 * 4 * CHAINS * REPEATS;
}

typedef struct fma_pass {
    double (*loop)(void);
    double flops; /* of one thread */
} fma_pass;

static void run_fma(void *context, int index, int n)
{
    fma_pass *pass = context;
    (void)n;
    const double flops = pass->loop();
    if (index == 0)
        pass->flops = flops;
}

static double measure_flops(int n_threads)
{
    fma_pass pass = { .loop = fma_plain };
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        pass.loop = fma_512;
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        pass.loop = fma_256;
#endif
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const double start = seconds();
        ebb_parallel(n_threads, run_fma, &pass);
        best = fmax(best, pass.flops * n_threads / (seconds() - start));
    }
    return best;
}

/* ---- memory ---- */

static double measure_bytes(const bandwidth_arrays *arrays, int n_threads)
{
    double best = 0;
    for (int mix = 0; mix < N_BANDWIDTH_MIXES; mix++) {
        for (int variant = 0; variant < bandwidth_n_variants((bandwidth_mix)mix); variant++) {
            for (int round = 0; round < ROUNDS / 2; round++) {
                const double start = seconds();
                bandwidth_run((bandwidth_mix)mix, variant, arrays, n_threads);
                const double taken = seconds() - start;
                best = fmax(best, bandwidth_bytes((bandwidth_mix)mix, arrays->n_bytes) / taken);
            }
        }
    }
    return best;
}

ebb_status machine_measure(int n_threads, ebb_machine_limits *limits)
{
    *limits = (ebb_machine_limits){ 0 };
    float *block = ebb_allocate(NULL, 3 * (size_t)ARRAY_BYTES);
    if (!block)
        return EBB_OUT_OF_MEMORY;
    memset(block, 0, 3 * (size_t)ARRAY_BYTES);
    const size_t n = ARRAY_BYTES / sizeof *block;
    const bandwidth_arrays arrays = { block, block + n, block + 2 * n, ARRAY_BYTES };
    limits->flops = measure_flops(n_threads);
    limits->bytes = measure_bytes(&arrays, n_threads);
    ebb_release(NULL, block, 3 * (size_t)ARRAY_BYTES);
    return EBB_OK;
}
