/* Fusion: element-wise nodes of one shape become programs, for backends that run them in one pass
 * over memory. See docs/decisions/0005-tile-programs.md. */
#ifndef PASSES_FUSE_H
#define PASSES_FUSE_H

#include "ops/descriptors.h"

/* The largest programs that are made: inputs 3..EBB_MAX_PROGRAM_INPUTS, instructions
 * 4..EBB_MAX_INSTRUCTIONS with those for constants, results 1..EBB_MAX_RESULTS. */
typedef struct ebb_fuse_limits {
    uint32_t inputs, instructions, results;
} ebb_fuse_limits;
#define EBB_FUSE_LIMITS                                                                            \
    ((ebb_fuse_limits){ EBB_MAX_PROGRAM_INPUTS, EBB_MAX_INSTRUCTIONS, EBB_MAX_RESULTS })

typedef struct ebb_fuse {
    ebb_fuse_limits limits;
    /* May a program contain this node, for which ebb_op_is_instruction holds? NULL: always. */
    bool (*may_fuse)(void *context, ebb_node node);
    void *context;
    bool keep_updates;
} ebb_fuse;

/* Copies what `outputs` (and updates) need into *result, with programs in place of element-wise
 * nodes; NULL if there is nothing to fuse. map[id] for ids 0..n_nodes of `graph`: the id in
 * *result, 0 where there is none any more. OUT_OF_MEMORY, LIMIT; BAD_ARGUMENT (limits). */
ebb_status ebb_fuse_run(const ebb_fuse *options, const ebb_graph *graph, const ebb_node *outputs,
                        int64_t n_outputs, ebb_graph **result, uint32_t *map, int64_t *n_programs,
                        ebb_error *error);

#endif
