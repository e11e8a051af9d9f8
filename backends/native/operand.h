/* What element-wise kernels share: how operands of any layout come in tiles, and loops of ops. */
#ifndef BACKENDS_NATIVE_OPERAND_H
#define BACKENDS_NATIVE_OPERAND_H

#include "backends/native/native.h"

/* The longest row that is repeated in a buffer. */
#define EBB_TILE_BYTES 4096

typedef enum ebb_operand_kind {
    EBB_OPERAND_DENSE,
    EBB_OPERAND_SINGLE,   /* one element for all */
    EBB_OPERAND_PERIODIC, /* the same short dense row again and again: a bias */
    EBB_OPERAND_WALK      /* anything else */
} ebb_operand_kind;
ebb_operand_kind ebb_operand_classify(const ebb_walk *walk);

/* Fills `buffer` with `data` again and again. */
void ebb_fill_periodic(void *buffer, size_t buffer_bytes, const void *data, size_t period_bytes);

/* For element-wise regions: BEST, or GENERIC where a copy of an input into a dense one first would
 * be better. */
int ebb_native_score_layouts(const ebb_region *region);
/* The same of one input with these strides. */
bool ebb_native_is_far(const ebb_shape *shape, const int64_t *strides);

/* The loop for an op whose first input and result have these dtypes; NULL: there is none. */
ebb_map ebb_native_find_map(const ebb_vector_isa *isa, const ebb_op *op, ebb_dtype input,
                            ebb_dtype result, bool *is_costly);

/* Random numbers in programs. */
typedef struct ebb_random_source {
    ebb_dtype dtype;
    bool is_normal;
    uint64_t seed;
    uint32_t stream;
    const ebb_random_table *table;
} ebb_random_source;
ebb_random_source ebb_random_source_make(const ebb_op *op, const ebb_random_attrs *attrs,
                                         const ebb_vector_isa *isa);
/* to[0..n) of elements first, first + 1, .. */
void ebb_random_source_fill(const ebb_random_source *source, uint64_t counter, int64_t first,
                            int64_t n, bool is_streamed, void *to);

/* For programs: inputs that lie far apart are wished dense. */
bool ebb_native_fused_wish(const ebb_region *region, ebb_layout *inputs);

/* For programs of F32 over few elements: a kernel that hands on a register. */
bool ebb_native_fits_registers(const ebb_region *region, const ebb_compile_env *env,
                               const ebb_program *program);
ebb_status ebb_native_compile_registers(const ebb_region *region, const ebb_compile_env *env,
                                        const ebb_program *program, ebb_kernel *kernel);

#endif
