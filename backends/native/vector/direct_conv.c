/* The inner loops of direct convolutions: see ebb_conv_tile. */
#include "backends/native/vector/isa.h"
#include "backends/native/vector/lanes.h"

enum {
    ROWS = EBB_CONV_ROWS,
    BLOCK = EBB_CONV_BLOCK,
    BLOCKS = EBB_CONV_BLOCKS,
    VECTORS = BLOCK / LANES_F32 /* of a block */
};

/* With AVX-512 sums of 6 rows for 4 vectors, those and a number of x fill 29 of 32 registers; with
 * 7 rows one of the sums would be kept in memory. Without it 3 rows for one block fit. */
#ifdef __AVX512F__
enum { ROWS_AT_ONCE = ROWS };
#else
enum { ROWS_AT_ONCE = 3 };
#endif

/* Taps that some place reads, and where each of them does. */
typedef struct taps {
    int64_t n;
    int64_t weights[EBB_CONV_TAPS];
    uintptr_t rows[EBB_CONV_TAPS][ROWS + 2];
} taps;

static inline void find_taps(const ebb_conv_tile *tile, taps *found)
{
    const ebb_conv_places *places = tile->places;
    const uintptr_t x = (uintptr_t)tile->x, zeros = (uintptr_t)tile->zeros;
    uint64_t any = 0;
    for (int r = 0; r < ROWS; r++)
        any |= places->masks[r];
    found->n = 0;
    for (int64_t t = 0; t < tile->n_taps; t++) {
        if (!(any >> t & 1))
            continue;
        found->weights[found->n] = t * BLOCK * BLOCK;
        uintptr_t *rows = found->rows[found->n++];
        for (int r = 0; r < ROWS + 2; r++) {
            const uintptr_t at =
                x + (uintptr_t)(places->starts[r] + tile->offsets[t]) * sizeof(float);
            rows[r] = places->masks[r] >> t & 1 ? at : zeros;
        }
    }
}

static inline __attribute__((always_inline)) void
add_rows(const ebb_conv_tile *tile, const taps *found, int row, int n_rows, int block, int n_blocks)
{
    const int n = n_blocks * VECTORS;
    const int64_t width = tile->n_blocks * BLOCK;
    lanes_f32 sums[ROWS_AT_ONCE * BLOCKS * VECTORS];
    float *to = tile->sums + row * width + block * BLOCK;
    UNROLL for (int r = 0; r < n_rows; r++) UNROLL for (int j = 0; j < n; j++) sums[r * n + j] =
        tile->is_first ? (lanes_f32){ 0 } : lanes_load_f32(to + r * width + j * LANES_F32);
    const int64_t n_steps = found->n * (tile->n_channels / BLOCK);
    const int64_t each = n_steps ? (tile->n_ahead + n_steps - 1) / n_steps : 0;
    int64_t asked = 0;
    for (int64_t t = 0; t < found->n; t++) {
        const float *weights = tile->weights + found->weights[t] + block * tile->block_step;
        const float *x[ROWS_AT_ONCE];
        for (int r = 0; r < n_rows; r++)
            x[r] = (const float *)found->rows[t][row + r];
        for (int64_t c = 0; c < tile->n_channels; c += BLOCK, weights += tile->channel_step) {
            const float *w = weights;
            const int64_t more = tile->n_ahead - asked < each ? tile->n_ahead - asked : each;
            for (int64_t end = asked + more; asked < end; asked++)
                for (int j = 0; j < n_blocks; j++)
                    __builtin_prefetch(tile->ahead + (block + j) * tile->block_step + asked * BLOCK,
                                       0, 2);
            for (int64_t i = c; i < c + BLOCK; i++, w += BLOCK) {
                lanes_f32 some[BLOCKS * VECTORS];
                UNROLL for (int j = 0; j < n; j++) some[j] =
                    lanes_load_f32(w + j / VECTORS * tile->block_step + j % VECTORS * LANES_F32);
                UNROLL for (int r = 0; r < n_rows; r++) UNROLL for (int j = 0; j < n; j++)
                    sums[r * n + j] += x[r][i] * some[j];
            }
        }
    }
    UNROLL for (int r = 0; r < n_rows; r++) UNROLL for (int j = 0; j < n; j++)
        lanes_store_f32(to + r * width + j * LANES_F32, sums[r * n + j]);
}

#ifdef __AVX512F__
static inline __attribute__((always_inline)) void add_blocks(const ebb_conv_tile *tile,
                                                             const taps *found, int n_rows)
{
    switch (tile->n_blocks) {
    case 1:
        add_rows(tile, found, 0, n_rows, 0, 1);
        break;
    case 2:
        add_rows(tile, found, 0, n_rows, 0, 2);
        break;
    case 3:
        add_rows(tile, found, 0, n_rows, 0, 3);
        break;
    default:
        add_rows(tile, found, 0, n_rows, 0, 4);
    }
}
#endif

static void add_tile(const ebb_conv_tile *tile)
{
    taps found;
    find_taps(tile, &found);
#ifdef __AVX512F__
    if (tile->places->n == ROWS)
        add_blocks(tile, &found, ROWS);
    else /* hardly ever fewer */
        add_blocks(tile, &found, ROWS - 1);
#else
    for (int block = 0; block < tile->n_blocks; block++)
        for (int row = 0; row < ROWS; row += ROWS_AT_ONCE)
            add_rows(tile, &found, row, ROWS_AT_ONCE, block, 1);
#endif
}

static void finish_row(const ebb_conv_row *row)
{
    const int64_t n = row->n;
    const float *sums = row->sums, *bias = row->bias, *residual = row->residual;
    float *to = row->to;
    for (int64_t i = 0; i < n; i += LANES_F32) {
        lanes_f32 y = lanes_load_f32(sums + i);
        if (bias)
            y += lanes_load_f32(bias + i);
        if (residual)
            y += lanes_load_f32(residual + i);
        if (row->relu) /* of NaN: NaN */
            y = (lanes_f32)((lanes_of_bits)y & ~(y <= 0));
        lanes_store_f32(to + i, y);
    }
}

const ebb_direct_conv_table ISA_NAME(ebb_direct_conv) = { add_tile, finish_row };
