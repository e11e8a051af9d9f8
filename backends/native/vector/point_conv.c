/* The inner loop of convolutions with windows of one tap: see ebb_point_tile. */
#include "backends/native/vector/isa.h"
#include "backends/native/vector/lanes.h"

enum {
    ROWS = EBB_POINT_ROWS,
    BLOCK = EBB_POINT_BLOCK,
    BLOCKS = EBB_POINT_BLOCKS,
    VECTORS = BLOCK / LANES_F32 /* of a block */
};

/* With AVX-512 sums of 6 rows for 4 vectors, those and a number of x fill 29 of 32 registers; with
 * 7 rows one of the sums would be kept in memory. Without it 2 rows for one block fit. */
#ifdef __AVX512F__
enum { ROWS_AT_ONCE = ROWS, BLOCKS_AT_ONCE = BLOCKS };
#else
enum { ROWS_AT_ONCE = 2, BLOCKS_AT_ONCE = 1 };
#endif

static inline __attribute__((always_inline)) void add_rows(const ebb_point_tile *tile, int row,
                                                           int n_rows, int block, int n_blocks)
{
    const int n = n_blocks * VECTORS;
    const int64_t x_step = tile->x_step, y_step = tile->y_step, block_step = tile->block_step;
    const float *x = tile->x + row * x_step, *weights = tile->weights + block * block_step;
    float *y = tile->y + row * y_step + block * BLOCK;
    lanes_f32 sums[ROWS_AT_ONCE * BLOCKS_AT_ONCE * VECTORS];
    UNROLL for (int r = 0; r < n_rows; r++) UNROLL for (int j = 0; j < n; j++) sums[r * n + j] =
        tile->is_first ? (lanes_f32){ 0 } : lanes_load_f32(y + r * y_step + j * LANES_F32);
    const int64_t n_steps = tile->depth / BLOCK;
    const int64_t each_x = (tile->n_x_ahead + n_steps - 1) / n_steps;
    const int64_t each_w = (tile->n_weights_ahead + n_steps - 1) / n_steps;
    const int64_t n_y = n_rows * n_blocks, each_y = (n_y + n_steps - 1) / n_steps;
    int64_t asked_x = 0, asked_w = 0, asked_y = 0;
    for (int64_t c = 0; c < tile->depth; c += BLOCK) {
        for (int64_t i = 0; i < each_x && asked_x < tile->n_x_ahead; i++, asked_x++)
            __builtin_prefetch(tile->x_ahead + asked_x * BLOCK, 0, 2);
        for (int64_t i = 0; i < each_w && asked_w < tile->n_weights_ahead; i++, asked_w++)
            for (int j = 0; j < n_blocks; j++)
                __builtin_prefetch(tile->weights_ahead + (block + j) * block_step + asked_w * BLOCK,
                                   0, 2);
        for (int64_t i = 0; i < each_y && asked_y < n_y; i++, asked_y++)
            __builtin_prefetch(tile->y_ahead + (row + asked_y / n_blocks) * y_step +
                                   (block + asked_y % n_blocks) * BLOCK,
                               1, 3);
        for (int64_t i = c; i < c + BLOCK; i++, weights += BLOCK) {
            lanes_f32 some[BLOCKS_AT_ONCE * VECTORS];
            UNROLL for (int j = 0; j < n; j++) some[j] =
                lanes_load_f32(weights + j / VECTORS * block_step + j % VECTORS * LANES_F32);
            UNROLL for (int r = 0; r < n_rows; r++) UNROLL for (int j = 0; j < n; j++)
                sums[r * n + j] += x[r * x_step + i] * some[j];
        }
    }
    UNROLL for (int r = 0; r < n_rows; r++) UNROLL for (int j = 0; j < n; j++)
        lanes_store_f32(y + r * y_step + j * LANES_F32, sums[r * n + j]);
}

#ifdef __AVX512F__
static inline __attribute__((always_inline)) void add_blocks(const ebb_point_tile *tile, int n_rows)
{
    switch (tile->n_blocks) {
    case 1:
        add_rows(tile, 0, n_rows, 0, 1);
        break;
    case 2:
        add_rows(tile, 0, n_rows, 0, 2);
        break;
    case 3:
        add_rows(tile, 0, n_rows, 0, 3);
        break;
    default:
        add_rows(tile, 0, n_rows, 0, 4);
    }
}
#endif

static void add_tile(const ebb_point_tile *tile)
{
#ifdef __AVX512F__
    switch (tile->n_rows) {
    case 1:
        add_blocks(tile, 1);
        break;
    case 2:
        add_blocks(tile, 2);
        break;
    case 3:
        add_blocks(tile, 3);
        break;
    case 4:
        add_blocks(tile, 4);
        break;
    case 5:
        add_blocks(tile, 5);
        break;
    default:
        add_blocks(tile, 6);
    }
#else
    for (int block = 0; block < tile->n_blocks; block++)
        for (int row = 0; row < tile->n_rows; row += ROWS_AT_ONCE) {
            if (row + 1 < tile->n_rows)
                add_rows(tile, row, ROWS_AT_ONCE, block, 1);
            else
                add_rows(tile, row, 1, block, 1);
        }
#endif
}

const ebb_point_conv_table ISA_NAME(ebb_point_conv) = { add_tile };
