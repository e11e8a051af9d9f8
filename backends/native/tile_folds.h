/* Reductions of values in programs: folded tile by tile, while the tile lies in the first-level
 * cache. The elements are split into parts that depend on the shape alone, and partial results of
 * parts are combined in order: the same bits with any number of threads. */
#ifndef BACKENDS_NATIVE_TILE_FOLDS_H
#define BACKENDS_NATIVE_TILE_FOLDS_H

#include "backends/native/operand.h"
#include "backends/native/reduce.h"

/* Runs up to this length are summed several at once, EBB_TILE_RUNS is best; other reductions of
 * them are not taken. */
enum { EBB_TILE_SHORT_RUN = 64, EBB_TILE_RUNS = 16 };

/* One reduction of [a, kept, run], where a and run are reduced; other ones are not taken. */
typedef struct ebb_tile_fold {
    const ebb_reduce_kind *kind;
    const ebb_reduce_table *table;
    ebb_map add; /* of columns whose rows are longer than a tile, or nearly so; else NULL */
    ebb_dtype dtype;
    double divisor;
    int64_t kept, run;
    bool is_direct; /* each result is made in one part, and written at once */
    int result;
    size_t offset; /* of the partial results of all parts in the scratch of the kernel */
} ebb_tile_fold;

/* What a thread knows of a reduction: stands behind its input, where attributes stand in other
 * instructions. */
typedef struct ebb_tile_fold_at {
    const ebb_tile_fold *fold;
    const int64_t *position; /* of the tile's first element */
    void *results;           /* if is_direct */
    double *sums;            /* of the part; if is_direct, of one result */
    char *rows;              /* sums of rows, not yet in `sums`; with `add` */
    int64_t n_rows;          /* in them */
    double sum;
} ebb_tile_fold_at;

/* False: there is no kernel for it. */
bool ebb_tile_fold_make(const ebb_instruction *instruction, ebb_dtype dtype, const ebb_shape *shape,
                        const ebb_vector_isa *isa, ebb_tile_fold *fold);
/* An ebb_map: inputs[0] is the value, inputs[1] an ebb_tile_fold_at. */
void ebb_tile_fold_run(int64_t n, void *nothing, const void *const *inputs);
/* Before the first tile of a part, and behind the last one. */
void ebb_tile_fold_begin(ebb_tile_fold_at *at, char *partials, int64_t part);
void ebb_tile_fold_end(ebb_tile_fold_at *at);
/* results[begin..end) out of the partial results of all parts. */
void ebb_tile_fold_combine(const ebb_tile_fold *fold, const char *partials, int64_t n_parts,
                           int64_t begin, int64_t end, void *results);

#endif
