/* What the ops share whose attribute is a program: fused (element-wise) and tile_program. */
#ifndef OPS_PROGRAM_H
#define OPS_PROGRAM_H

#include "ops/build.h"
#include "ops/descriptors.h"

static inline int ebb_instruction_inputs(const ebb_instruction *instruction)
{
    return instruction->op ? instruction->op->n_inputs : 0;
}

/* ---- infer: each fails like ebb_infer_fail ---- */

/* Whether there is a program, with as many inputs and results as the node. */
ebb_status ebb_program_check(const ebb_infer *infer, const ebb_program *program);
/* Whether value `number` reads those before it alone, and its attributes are there. */
ebb_status ebb_program_check_reads(const ebb_infer *infer, const ebb_instruction *instruction,
                                   int number);
/* dtypes[number] of an element-wise instruction, or of a constant. */
ebb_status ebb_program_infer_element(const ebb_infer *infer, const ebb_instruction *instruction,
                                     int number, ebb_dtype *dtypes);
/* Whether the results are values of instructions, each once. */
ebb_status ebb_program_check_results(const ebb_infer *infer, const ebb_program *program);

double ebb_program_flops(const ebb_program *program, const ebb_shape *shape);

/* ---- eval ---- */

enum { EBB_PROGRAM_EVAL_BYTES = 65536 };
/* The values of some elements. */
typedef struct ebb_program_block {
    ebb_dtype dtypes[EBB_MAX_PROGRAM_VALUES];
    int64_t most; /* elements */
    _Alignas(8) char bytes[EBB_PROGRAM_EVAL_BYTES];
} ebb_program_block;
void ebb_program_block_init(ebb_program_block *block, const ebb_eval *eval);
static inline const void *ebb_program_value(const ebb_program_block *block, int value)
{
    return block->bytes + (size_t)(value * block->most) * 8;
}
/* All values of elements indices[0..n), n <= block->most. */
ebb_status ebb_program_eval(const ebb_eval *eval, const int64_t *indices, int64_t n,
                            ebb_program_block *block);
/* All results but reductions; the program has n elements. */
ebb_status ebb_program_eval_elements(const ebb_eval *eval, int64_t n, ebb_program_block *block);
static inline ebb_instruction_kind ebb_instruction_kind_of(const ebb_instruction *instruction)
{
    return instruction->op ? ebb_op_instruction_kind(instruction->op) : EBB_INSTRUCTION_ELEMENT;
}

#endif
