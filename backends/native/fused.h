/* What the kernel of programs is made of: fused_make.c makes it, fused.c runs it. */
#ifndef BACKENDS_NATIVE_FUSED_H
#define BACKENDS_NATIVE_FUSED_H

#include "backends/native/tile_folds.h"

/* Where a value lies. */
typedef enum ebb_tile_place_kind {
    EBB_PLACE_SLOT,     /* of the thread's scratch */
    EBB_PLACE_CONSTANT, /* a tile that is filled when the kernel is made */
    EBB_PLACE_INPUT,    /* where input `index` is, or comes to, for this tile */
    EBB_PLACE_RESULT,   /* where result `index` goes */
    EBB_PLACE_NONE      /* of a reduction */
} ebb_tile_place_kind;

typedef struct ebb_tile_place {
    ebb_tile_place_kind kind;
    int32_t index;
} ebb_tile_place;

/* One instruction with its addresses. Behind the inputs stand the attributes. */
typedef struct ebb_tile_step {
    ebb_map run;
    void *result;
    const void *inputs[EBB_MAX_INSTRUCTION_INPUTS + 1];
} ebb_tile_step;

/* An address in an instruction that follows an operand. */
typedef struct ebb_tile_move {
    uint32_t instruction;
    int32_t input; /* -1: the result */
} ebb_tile_move;

/* Stands behind the counter, where attributes stand in other instructions. */
typedef struct ebb_tile_random {
    ebb_random_source source;
    const int64_t *position; /* of the tile's first element */
} ebb_tile_random;

typedef struct ebb_tile_input {
    ebb_operand_kind kind;
    bool is_counter; /* of random numbers: a scalar, read where it lies */
    ebb_walk walk;
    size_t buffer; /* in the thread's scratch; not for dense ones */
} ebb_tile_input;

typedef struct ebb_tile_result {
    size_t bytes; /* of an element */
    bool is_streamed, is_fold;
    int32_t slot; /* of a streamed one */
} ebb_tile_result;

/* What belongs to a thread between runs. */
typedef struct ebb_tile_worker {
    ebb_tile_step *program;
    ebb_tile_random *random; /* for each instruction that needs it */
    ebb_tile_fold_at folds[EBB_MAX_RESULTS];
    int64_t position;
    const void *at[EBB_MAX_PROGRAM_INPUTS + EBB_MAX_RESULTS]; /* operands, as they are bound */
    const char *scratch;                                      /* as it is bound */
} ebb_tile_worker;

typedef struct ebb_tile_state {
    int n_inputs, n_results, n_instructions, n_random, n_threads;
    int64_t n_elements, tile;
    int64_t row; /* a tile ends at its multiples; 0: nowhere */
    size_t slot_bytes, thread_bytes;
    /* Reductions: parts end at multiples of `unit`, partial results stand behind the threads'
     * scratch. */
    int n_folds;
    ebb_tile_fold folds[EBB_MAX_RESULTS];
    size_t rows[EBB_MAX_RESULTS]; /* in the thread's scratch */
    int64_t unit, n_parts;
    ebb_tile_input *inputs;
    ebb_tile_result results[EBB_MAX_RESULTS];
    bool is_streamed; /* some result is */
    /* Of the values that instructions read and write: result, then inputs, of each. */
    ebb_tile_place *places;
    ebb_tile_move *moves; /* by operand */
    int first_move[EBB_MAX_PROGRAM_INPUTS + EBB_MAX_RESULTS + 1];
    ebb_tile_worker *workers;
    const ebb_move_table *move;
} ebb_tile_state;

enum { EBB_TILE_PLACES = EBB_MAX_INSTRUCTION_INPUTS + 1 }; /* of an instruction */

/* The kernel's run; its state is an ebb_tile_state. */
ebb_status ebb_native_run_fused(const ebb_call *call);

#endif
