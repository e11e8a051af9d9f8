/* Tile programs: programs of element-wise nodes take in the random numbers that they alone read,
 * and the reductions of what they compute. See docs/decisions/0005-tile-programs.md. */
#ifndef PASSES_TILES_H
#define PASSES_TILES_H

#include "passes/joins.h"

typedef enum ebb_tiles_what {
    EBB_TILES_RANDOM = EBB_INSTRUCTION_RANDOM,
    EBB_TILES_REDUCTIONS = EBB_INSTRUCTION_REDUCTION
} ebb_tiles_what;

typedef struct ebb_tiles {
    ebb_tiles_what what;
    ebb_join_options join;
    /* May a single node, of kind ELEMENT, be a program? NULL: always. */
    bool (*may_fuse)(void *context, ebb_node node);
} ebb_tiles;

/* As ebb_norms_run; *n_hits counts what went into programs. */
ebb_status ebb_tiles_run(const ebb_tiles *options, const ebb_graph *graph, const ebb_node *outputs,
                         int64_t n_outputs, ebb_graph **result, uint32_t *map, int64_t *n_hits,
                         ebb_error *error);

#endif
