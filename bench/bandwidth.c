/* Loops that only move memory: sum, copy, triad and fill, plain and with stores past the caches. */
#include "bench/bandwidth.h"
#include "backends/parallel.h"
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#define HAS_STREAM 1
/* Bytes ahead that the loops with prefetch ask for. */
#define AHEAD 2048
#else
#define HAS_STREAM 0
#endif

typedef struct bandwidth_pass {
    const bandwidth_arrays *arrays;
    void (*loop)(const bandwidth_arrays *arrays, int64_t begin, int64_t end);
} bandwidth_pass;

typedef float lanes __attribute__((vector_size(16)));
enum { WIDTH = 4 };

static lanes load(const float *p)
{
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

static void store(float *p, lanes v)
{
    memcpy(p, &v, sizeof v);
}

static volatile float sink; /* keeps sums alive */

static void sum(const bandwidth_arrays *m, int64_t begin, int64_t end)
{
    lanes s[8] = { { 0 } };
    for (int64_t i = begin; i < end; i += 8 * WIDTH)
        for (int j = 0; j < 8; j++)
            s[j] += load(m->a + i + j * WIDTH);
    for (int j = 1; j < 8; j++)
        s[0] += s[j];
    sink = s[0][0] + s[0][1] + s[0][2] + s[0][3];
}

static void copy(const bandwidth_arrays *m, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i += WIDTH)
        store(m->c + i, load(m->a + i));
}

static void copy_library(const bandwidth_arrays *m, int64_t begin, int64_t end)
{
    memcpy(m->c + begin, m->a + begin, (size_t)(end - begin) * sizeof(float));
}

static void triad(const bandwidth_arrays *m, int64_t begin, int64_t end)
{
    const lanes three = { 3, 3, 3, 3 };
    for (int64_t i = begin; i < end; i += WIDTH)
        store(m->c + i, load(m->a + i) + three * load(m->b + i));
}

static void fill(const bandwidth_arrays *m, int64_t begin, int64_t end)
{
    const lanes three = { 3, 3, 3, 3 };
    for (int64_t i = begin; i < end; i += WIDTH)
        store(m->c + i, three);
}

#if HAS_STREAM
static void sum_ahead(const bandwidth_arrays *m, int64_t begin, int64_t end)
{
    lanes s[8] = { { 0 } };
    for (int64_t i = begin; i < end; i += 8 * WIDTH) {
        __builtin_prefetch((const char *)(m->a + i) + AHEAD);
        __builtin_prefetch((const char *)(m->a + i) + AHEAD + 64);
        for (int j = 0; j < 8; j++)
            s[j] += load(m->a + i + j * WIDTH);
    }
    for (int j = 1; j < 8; j++)
        s[0] += s[j];
    sink = s[0][0] + s[0][1] + s[0][2] + s[0][3];
}

static void copy_past(const bandwidth_arrays *m, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i += WIDTH)
        _mm_stream_ps(m->c + i, load(m->a + i));
    _mm_sfence();
}

static void copy_past_ahead(const bandwidth_arrays *m, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i += 4 * WIDTH) {
        __builtin_prefetch((const char *)(m->a + i) + AHEAD);
        for (int64_t j = i; j < i + 4 * WIDTH; j += WIDTH)
            _mm_stream_ps(m->c + j, load(m->a + j));
    }
    _mm_sfence();
}

static void triad_past(const bandwidth_arrays *m, int64_t begin, int64_t end)
{
    const lanes three = { 3, 3, 3, 3 };
    for (int64_t i = begin; i < end; i += WIDTH)
        _mm_stream_ps(m->c + i, load(m->a + i) + three * load(m->b + i));
    _mm_sfence();
}

static void triad_past_ahead(const bandwidth_arrays *m, int64_t begin, int64_t end)
{
    const lanes three = { 3, 3, 3, 3 };
    for (int64_t i = begin; i < end; i += 4 * WIDTH) {
        __builtin_prefetch((const char *)(m->a + i) + AHEAD);
        __builtin_prefetch((const char *)(m->b + i) + AHEAD);
        for (int64_t j = i; j < i + 4 * WIDTH; j += WIDTH)
            _mm_stream_ps(m->c + j, load(m->a + j) + three * load(m->b + j));
    }
    _mm_sfence();
}

static void fill_past(const bandwidth_arrays *m, int64_t begin, int64_t end)
{
    const lanes three = { 3, 3, 3, 3 };
    for (int64_t i = begin; i < end; i += WIDTH)
        _mm_stream_ps(m->c + i, three);
    _mm_sfence();
}
#endif

enum { MAX_VARIANTS = 4 };
static const struct {
    const char *name;
    int n_arrays; /* that one pass goes over */
    struct {
        const char *name;
        void (*loop)(const bandwidth_arrays *arrays, int64_t begin, int64_t end);
    } variants[MAX_VARIANTS]; /* NULL ends the list */
} mixes[N_BANDWIDTH_MIXES] = {
#if HAS_STREAM
    { "read", 1, { { "plain", sum }, { "prefetch", sum_ahead } } },
    { "copy",
      2,
      { { "plain", copy },
        { "memcpy", copy_library },
        { "past caches", copy_past },
        { "past caches, prefetch", copy_past_ahead } } },
    { "triad",
      3,
      { { "plain", triad },
        { "past caches", triad_past },
        { "past caches, prefetch", triad_past_ahead } } },
    { "write", 1, { { "plain", fill }, { "past caches", fill_past } } },
#else
    { "read", 1, { { "plain", sum } } },
    { "copy", 2, { { "plain", copy }, { "memcpy", copy_library } } },
    { "triad", 3, { { "plain", triad } } },
    { "write", 1, { { "plain", fill } } },
#endif
};

const char *bandwidth_mix_name(bandwidth_mix mix)
{
    return mixes[mix].name;
}

int bandwidth_n_variants(bandwidth_mix mix)
{
    int n = 0;
    while (n < MAX_VARIANTS && mixes[mix].variants[n].loop)
        n++;
    return n;
}

const char *bandwidth_variant_name(bandwidth_mix mix, int variant)
{
    return mixes[mix].variants[variant].name;
}

double bandwidth_bytes(bandwidth_mix mix, size_t n_bytes)
{
    return (double)n_bytes * mixes[mix].n_arrays;
}

static void run_part(void *context, int index, int n)
{
    const bandwidth_pass *pass = context;
    int64_t begin, end;
    ebb_parallel_part((int64_t)(pass->arrays->n_bytes / 4096), index, n, &begin, &end);
    pass->loop(pass->arrays, begin * 1024, end * 1024);
}

void bandwidth_run(bandwidth_mix mix, int variant, const bandwidth_arrays *arrays, int n_threads)
{
    bandwidth_pass pass = { arrays, mixes[mix].variants[variant].loop };
    ebb_parallel(n_threads, run_part, &pass);
}
