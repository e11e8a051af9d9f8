/* Sums of rows times values, in registers: see ebb_rows. */
#include "backends/native/vector/isa.h"
#include <string.h>

/* At most 20 sums, of the 32 registers that there are with AVX-512. */
enum { MOST_ROWS = 5, MOST_VECTORS = 4 };

#define LANES 16
#include "backends/native/vector/rows_of_lanes.h"
WITH_VECTORS(1)
WITH_VECTORS(2)
WITH_VECTORS(3)
WITH_VECTORS(4)
#undef LANES
#undef NAME
#undef WITH_VECTORS

/* Rows of 8: half of a cache line meets its end half as often. */
#define LANES 8
#include "backends/native/vector/rows_of_lanes.h"
WITH_VECTORS(1)

void ISA_NAME(ebb_add_rows)(const ebb_rows *r)
{
    static void (*const blocks[])(const ebb_rows *, int64_t, int64_t,
                                  int) = { NULL, add_1_16, add_2_16, add_3_16, add_4_16 };
    for (int64_t v = 0; v < r->n_vectors; v += MOST_VECTORS) {
        const int64_t n = r->n_vectors - v < MOST_VECTORS ? r->n_vectors - v : MOST_VECTORS;
        for (int64_t i = 0; i < r->n_rows; i += MOST_ROWS)
            (r->is_half ? add_1_8 : blocks[n])(
                r, i, v, (int)(r->n_rows - i < MOST_ROWS ? r->n_rows - i : MOST_ROWS));
    }
}
