/* The gradient of a convolution's weights as sums of outer products, channels times filters, over
 * rows: see ebb_weight_products. */
#include "backends/native/vector/isa.h"
#include "backends/native/vector/lanes.h"

/* Sums of 8 channels for 3 vectors of filters fill 24 of the 32 registers that there are with
 * AVX-512; without it 12 of 16. */
#ifdef __AVX512F__
enum { MOST_CHANNELS = 8 };
#else
enum { MOST_CHANNELS = 4 };
#endif
enum { MOST_VECTORS = 3, BLOCK = EBB_WEIGHT_BLOCK, BLOCK_VECTORS = BLOCK / LANES_F32 };

/* Where the sums of a channel and a vector of filters lie. */
static inline float *place_of(const ebb_weight_products *p, int64_t channel, int64_t vector)
{
    return p->sums + vector / BLOCK_VECTORS * p->sum_step + channel * BLOCK +
           vector % BLOCK_VECTORS * LANES_F32;
}

static inline __attribute__((always_inline)) void
add_tile(const ebb_weight_products *p, int64_t channel, int64_t vector, int n_vectors)
{
    lanes_f32 sums[MOST_CHANNELS][MOST_VECTORS];
    UNROLL for (int c = 0; c < MOST_CHANNELS; c++)
    {
        UNROLL for (int v = 0; v < n_vectors; v++) sums[c][v] = (lanes_f32){ 0 };
    }
    const float *x = p->x + channel, *dy = p->dy + vector * LANES_F32;
    const ebb_weight_row *rows = p->rows;
    for (int64_t r = 0, n = p->n_rows; r < n; r++) {
        const float *pixel = x + rows[r].x, *filters = dy + rows[r].dy;
        lanes_f32 row[MOST_VECTORS];
        UNROLL for (int v = 0; v < n_vectors; v++) row[v] = lanes_load_f32(filters + v * LANES_F32);
        UNROLL for (int c = 0; c < MOST_CHANNELS; c++)
        {
            UNROLL for (int v = 0; v < n_vectors; v++) sums[c][v] += pixel[c] * row[v];
        }
    }
    UNROLL for (int c = 0; c < MOST_CHANNELS; c++)
    {
        UNROLL for (int v = 0; v < n_vectors; v++)
        {
            float *to = place_of(p, channel + c, vector + v);
            if (!p->is_first)
                sums[c][v] += lanes_load_f32(to);
            lanes_store_f32(to, sums[c][v]);
        }
    }
}

static void add_products(const ebb_weight_products *p)
{
    const int64_t n = p->n_blocks * BLOCK_VECTORS;
    for (int64_t v = 0, n_vectors; v < n; v += n_vectors) {
        /* 4 are 2 and 2, not 3 and 1. */
        n_vectors = n - v == 4 ? 2 : n - v < MOST_VECTORS ? n - v : MOST_VECTORS;
        for (int64_t c = 0; c < BLOCK; c += MOST_CHANNELS) {
            if (n_vectors == 3)
                add_tile(p, c, v, 3);
            else if (n_vectors == 2)
                add_tile(p, c, v, 2);
            else
                add_tile(p, c, v, 1);
        }
    }
}

/* Rows of `n` floats, a multiple of the block. */
static void gather(const ebb_weight_gather *g)
{
    for (int64_t r = 0; r < g->n_rows; r++) {
        const float *from = g->from + (g->offsets ? g->offsets[r] : r * g->from_step);
        float *to = g->to + r * g->to_step;
        for (int64_t i = 0; i < g->n; i += LANES_F32)
            lanes_store_f32(to + i, lanes_load_f32(from + i));
    }
}

const ebb_weight_grad_table ISA_NAME(ebb_weight_grad) = { add_products, gather };
