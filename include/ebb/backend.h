/* The contract of a backend, for those who write one: it says how well it can compute a region, and
 * turns it into a kernel. A backend sees no graph, allocates nothing at run time and knows no
 * names. */
#ifndef EBB_BACKEND_H
#define EBB_BACKEND_H

#include <ebb/op.h>

EBB_BEGIN

typedef struct ebb_backend ebb_backend;

typedef struct ebb_operand {
    const ebb_type *type; /* lives as long as the kernel */
    ebb_layout
        layout; /* how it lies in its buffer; `offset` is already in the pointers that run() gets */
    /* The same values on every run until told otherwise (a constant, or a variable that this
     * executable only reads): worth packing. */
    bool is_steady;
    bool is_unread; /* of a result: nobody reads it, so it need not be computed */
} ebb_operand;

/* What one kernel computes: one node. Results are dense, except where the backend itself wished
 * otherwise
 * (`layouts`). The dimensions of an element-wise op may stand in another order than in the graph:
 * the order in which its inputs lie in memory. */
typedef struct ebb_region {
    const ebb_op *op;
    const void *attrs; /* lives as long as the kernel */
    int n_inputs, n_results;
    const ebb_operand *inputs, *results;
    int n_threads; /* as many as it may use, >= 1 */
} ebb_region;

/* Scores: the highest wins; ties go to the backend that stands first in the list. */
enum {
    EBB_SCORE_NONE = 0,      /* cannot */
    EBB_SCORE_REFERENCE = 1, /* plain loops */
    EBB_SCORE_GENERIC = 5,   /* better than that */
    EBB_SCORE_NATIVE = 10,   /* made for this */
    EBB_SCORE_BEST = 15      /* made for exactly this case */
};

/* One execution. `state` belongs to the kernel; pointers are to element [0,0,..] of each operand.
 */
typedef struct ebb_call {
    void *state;
    void **inputs;
    void **results;
    void *scratch;    /* scratch_bytes, aligned to EBB_ALIGNMENT; contents undefined */
    ebb_error *error; /* for the message of a failure */
} ebb_call;

typedef ebb_status (*ebb_kernel_run)(const ebb_call *call);

typedef struct ebb_kernel {
    ebb_kernel_run run;
    void *state;
    void (*destroy)(void *state); /* NULL: nothing to free */
    const char
        *implementation; /* "add", "brg:avx512_core": for reports; lives as long as the kernel */
    size_t scratch_bytes;
    /* Bit i: result 0 may lie in the same memory as input i, if their types have equal sizes. */
    unsigned inplace_inputs;
    unsigned inplace_further[EBB_MAX_RESULTS - 1]; /* the same for results 1, 2 .. */
    /* Bit r: run() leaves out result r, which is unread. It gets no memory, and its pointer is
     * NULL. */
    unsigned left_out;
    /* run() returns EBB_OK, always: only such a kernel may write straight into a variable's memory.
     */
    bool never_fails;
    int n_threads; /* that it will use: 1 if the work is too small to share */
    /* A steady input that the kernel wants in a form of its own: the runtime calls `pack` when the
     * value changed, and run() gets the packed block in its place. packed_bytes 0: none. */
    int packed_input;
    size_t packed_bytes;
    ebb_status (*pack)(void *state, const void *input, void *packed);
    int n_reorders; /* copies between layouts that each run() makes of its operands */
} ebb_kernel;

/* What a backend may use while it compiles. Memory from `allocate` is zeroed and lives as long as
 * the kernel. */
typedef struct ebb_compile_env {
    void *(*allocate)(void *context, size_t size_bytes);
    void *context;
    ebb_logger log;
    ebb_error *error;
    const char *choice; /* the name of an ebb_choice, for this call; NULL: the backend decides */
} ebb_compile_env;

enum { EBB_CHOICE_BYTES = 64 };

/* A way to compute a region, where the backend knows several (ebb_compile_options.autotune). */
typedef struct ebb_choice {
    char name[EBB_CHOICE_BYTES]; /* "brgconv:avx512_core", "rows": printable, without spaces */
    bool is_inexact;             /* errors go beyond those of sums in another order (conv_error) */
} ebb_choice;

struct ebb_backend {
    const char *name;
    /* May be called often: cheap, and the same answer for the same region. The runtime asks first
     * with the layouts as they are, then with dense ones, and copies where that scores higher. */
    int (*score)(const ebb_backend *backend, const ebb_region *region);
    /* Fills `kernel` (zeroed before). On failure nothing is left behind. */
    ebb_status (*compile)(const ebb_backend *backend, const ebb_region *region,
                          const ebb_compile_env *env, ebb_kernel *kernel);
    const void *user;
    /* May be NULL. Changes the layouts of inputs and results, which come as they are in `region`,
     * to those that the backend would like best; false: none. Wished layouts fill their memory
     * without gaps, in any order of dimensions, from offset 0. If the score for them is higher than
     * any other, inputs that lie otherwise are copied into them before, and the results have them.
     * Of the first four backends that have this. A backend that takes blocks may find blocked
     * layouts of inputs, and of results that will be combined with a blocked variable; it keeps
     * those that it takes, and changes the others. */
    bool (*layouts)(const ebb_backend *backend, const ebb_region *region, ebb_layout *inputs,
                    ebb_layout *results);
    /* May be NULL: none. Whether `layouts` may be shown operands of the op in blocks; where not,
     * they are dense there. */
    bool (*takes_blocks)(const ebb_backend *backend, const ebb_op *op);
    /* May be NULL. Ways to compute the region other than the one that compile() takes by itself,
     * for the runtime to try, also where another backend scores higher: how many, at most `max`.
     * compile() finds the name of one in env->choice, and answers UNSUPPORTED if that is not
     * possible. */
    int (*choices)(const ebb_backend *backend, const ebb_region *region, ebb_choice *choices,
                   int max);
    /* With `choices` and `layouts`; may be NULL. As `layouts`, for one of the choices and a region
     * as `layouts` wished it: where the operands should lie for that way. False: as they do. */
    bool (*choice_layouts)(const ebb_backend *backend, const ebb_region *region, const char *choice,
                           ebb_layout *inputs, ebb_layout *results);
    /* May be NULL. Input `input` of the region (all dense) is a variable that may lie in the store
     * as it likes: in which layout the backend would best find it. It fills its memory without
     * gaps, perhaps in blocks. False: dense. */
    bool (*home_layout)(const ebb_backend *backend, const ebb_region *region, int input,
                        ebb_layout *layout);
    /* With `choices`; may be NULL: on what else the fastest choice depends, in one line ("oneDNN
     * 2.6.3 isa 0x3e7"). */
    void (*describe)(const ebb_backend *backend, char *text, size_t text_bytes);
};

/* The backends that come with Ebb, as lists for ebb_compile_options: "reference" is the plain loops
 * of every op alone; "onednn" (also NULL, the default) is oneDNN, Ebb's own vector kernels, then
 * the reference. NULL and n = 0 for another name. */
EBB_API const ebb_backend *const *ebb_backend_list(const char *name, int *n);

EBB_END

#endif
