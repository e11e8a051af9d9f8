/* Which backend computes a region, and in which of several layouts. */
#ifndef RUNTIME_CHOOSE_H
#define RUNTIME_CHOOSE_H

#include "runtime/layout.h"
#include "runtime/runtime.h"

enum {
    EBB_MAX_WISHES = 4, /* backends whose wished layouts are asked for */
    EBB_MAX_VARIANTS = 2 + EBB_MAX_WISHES
};

/* One way to lay out the operands of a region. */
typedef struct ebb_variant {
    ebb_region region;
    ebb_operand results[EBB_MAX_RESULTS]; /* what region.results points to */
    int backend;                          /* the only one to ask; EBB_ANY_BACKEND: all */
    /* The blocked layout of the variable with which result 0 will be combined; NULL: none. */
    const ebb_layout *home;
    const char *choice; /* of the tuner, for these layouts; NULL: it will be asked */
    bool is_taken_over; /* the tuner found another backend faster */
} ebb_variant;

/* Nobody is asked: operands lie as no backend can read them. */
enum { EBB_ANY_BACKEND = -1, EBB_NO_BACKEND = EBB_MAX_BACKENDS };

ebb_operand ebb_operand_dense(const ebb_type *type);

/* Whether the backend may be shown operands of the op in blocks. */
bool ebb_choose_takes_blocks(const ebb_backend *backend, const ebb_op *op);
/* Fills variant->region.inputs, which is room for all inputs, and results with the wishes of a
 * backend; false: it has none for the region, or none that are possible. `layouts` is room for the
 * inputs; variant->home is there. */
bool ebb_variant_wish(const ebb_executable *e, int backend, const ebb_region *region,
                      ebb_operand *inputs, ebb_layout *layouts, ebb_variant *variant);
/* Of a variant that its backend wished (inputs: those of the region as they lie): the tuner's
 * choice, perhaps of another backend, and the layouts that it would like for that. OUT_OF_MEMORY.
 */
ebb_status ebb_variant_tune(ebb_executable *e, const ebb_region *region, ebb_operand *inputs,
                            ebb_layout *layouts, ebb_variant *variant);
/* The best score for any of the variants, and who has it; -1: nobody takes any. */
int ebb_choose_best(const ebb_executable *e, const ebb_variant *variants, int n_variants,
                    int *backend);
/* The same for an op, all operands dense, of which these are the types. Nobody is asked about more
 * than EBB_MAX_PROGRAM_INPUTS inputs. */
int ebb_choose_dense(const ebb_executable *e, const ebb_op *op, const void *attrs, int n_inputs,
                     const ebb_type *const *inputs, const ebb_type *const *results, int *backend);
/* The same for a node (a first result). */
int ebb_choose_node(const ebb_executable *e, ebb_node node, int *backend);

/* A kernel of the backend with the highest score for any of the variants; among equals the variant
 * for which least is copied, then the first. UNSUPPORTED if nobody takes the region. */
ebb_status ebb_choose_kernel(ebb_executable *e, const ebb_compile_env *env,
                             const ebb_variant *variants, int n_variants, ebb_kernel *kernel,
                             const ebb_backend **backend, int *chosen);

#endif
