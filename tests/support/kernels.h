/* Runs ops as kernels of backends, on inputs that lie in memory in many ways, and compares with the
 * reference kernels at F64. For tests only: Check fails the test at the first difference. */
#ifndef TESTS_SUPPORT_KERNELS_H
#define TESTS_SUPPORT_KERNELS_H

#include <check.h>
#include <ebb/backend.h>

/* As ck_assert_msg, which writes to a file each time, but cheap as long as all is well: for loops.
 */
#define REQUIRE(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

/* An ebb_shape in a table. */
#define SHAPE(...)                                                                                 \
    {                                                                                              \
        (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)),                               \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

/* How an input lies in its buffer. */
typedef enum layout_kind {
    LAYOUT_DENSE,
    LAYOUT_OFFSET,     /* dense, but not at the start */
    LAYOUT_TRANSPOSED, /* dimensions in reverse order */
    LAYOUT_REVERSED,   /* every dimension runs backwards */
    LAYOUT_GAPS,       /* every second element */
    LAYOUT_REPEATED,   /* the first dimension has stride 0: its values repeat */
    LAYOUT_SINGLE,     /* all strides 0: one value */
    N_LAYOUTS
} layout_kind;

/* An op to try. Float inputs in F32 or F64. */
typedef struct kernel_case {
    const ebb_op *op;
    const void *attrs;
    int n_inputs;
    const ebb_tensor *inputs; /* dense */
    const char *label;
    /* Largest error relative to the largest result, for F32 results; 0: 1e-5. F64: 1e-12. */
    double tolerance;
} kernel_case;

typedef struct kernel_counts {
    int n_runs;     /* kernels that ran and agreed */
    int n_refused;  /* regions that a backend scores as NONE */
    int n_threaded; /* runs of kernels that said they use more than one thread */
    int n_inplace;
} kernel_counts;

/* Everywhere: each backend of `backends`, each kind of layout on each set of inputs, 1 and 2
 * threads, twice, and in place where that is offered. Dense regions must be taken by some backend.
 * Results of one backend
 * (`repeatable` names it) must have the same bits with 1 and 2 threads. */
kernel_counts check_kernels(const kernel_case *c, const ebb_backend *const *backends,
                            int n_backends, const char *repeatable);

/* Infers the result types; a status other than OK means that the op refuses these inputs. */
ebb_status infer_results(const ebb_op *op, const void *attrs, const ebb_tensor *inputs,
                         int n_inputs, ebb_type *results, ebb_error *error);

/* Compiles one dense region and runs it once with `n_threads` on the given inputs, into results
 * that it makes; the caller finishes them. What compile or run says; NOT_FOUND if the score is
 * NONE. `fail_at`: the allocation of the kernel that fails, -1 for none. `kernel` (NULL: not
 * wanted) gets a copy, without state. */
ebb_status run_kernel(const kernel_case *c, const ebb_backend *backend, int n_threads, int fail_at,
                      ebb_tensor *results, ebb_kernel *kernel, ebb_error *error);

/* Where the inputs lie, then the results: each fills its memory without gaps. Bit i: input i is
 * steady. */
typedef struct kernel_placement {
    const ebb_layout *layouts;
    unsigned steady;
} kernel_placement;
/* The same, of operands that lie so; values go in and come out in row-major order. */
ebb_status run_placed_kernel(const kernel_case *c, const kernel_placement *placement,
                             const ebb_backend *backend, int n_threads, int fail_at,
                             ebb_tensor *results, ebb_kernel *kernel, ebb_error *error);

#endif
