/* What attention does to rows of scores between its products, F32. */
#include "backends/native/vector/isa.h"
#include "backends/native/vector/lanes.h"
#include <math.h>

/* Vectors that are summed side by side. */
enum { SIDE_BY_SIDE = 4 };
#define PIECE ((int64_t)SIDE_BY_SIDE * LANES_F32)

static void scale_rows(int64_t n_rows, int64_t n, int64_t n_seen, float scale, float *scores)
{
    for (int64_t i = 0; i < n_rows; i++, scores += n, n_seen++) {
        const int64_t seen = n_seen < n ? n_seen : n;
        INDEPENDENT
        for (int64_t j = 0; j < seen; j++)
            scores[j] *= scale;
        for (int64_t j = seen; j < n; j++)
            scores[j] = -INFINITY;
    }
}

static float sum_products(int64_t n, const float *x, const float *y)
{
    lanes_f32 sums[SIDE_BY_SIDE] = { 0 };
    int64_t i = 0;
    for (; i + PIECE <= n; i += PIECE)
        UNROLL for (int j = 0; j < SIDE_BY_SIDE; j++) sums[j] +=
            lanes_load_f32(x + i + j * LANES_F32) * lanes_load_f32(y + i + j * LANES_F32);
    for (; i + LANES_F32 <= n; i += LANES_F32)
        sums[0] += lanes_load_f32(x + i) * lanes_load_f32(y + i);
    float rest = 0;
    for (; i < n; i++)
        rest += x[i] * y[i];
    return lanes_total_f32((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest;
}

static void grad_rows(int64_t n_rows, int64_t n, float scale, const float *p, float *dp)
{
    for (int64_t i = 0; i < n_rows; i++, p += n, dp += n) {
        const float mean = sum_products(n, p, dp);
        INDEPENDENT
        for (int64_t j = 0; j < n; j++)
            dp[j] = p[j] * (dp[j] - mean) * scale;
    }
}

const ebb_attention_table ISA_NAME(ebb_attention) = { scale_rows, grad_rows };
