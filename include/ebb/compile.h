/* From a graph to something that runs. */
#ifndef EBB_COMPILE_H
#define EBB_COMPILE_H

#include <ebb/autodiff.h>
#include <ebb/backend.h>
#include <ebb/store.h>

EBB_BEGIN

typedef struct ebb_executable ebb_executable;

typedef struct ebb_compile_options {
    const ebb_node *fetches; /* what ebb_run may fetch */
    int n_fetches;
    ebb_store *store;    /* needed if the graph reads or updates variables that count */
    bool skip_updates;   /* leave the graph's updates out: for evaluation */
    const char *backend; /* "onednn" (NULL: this) or "reference" */
    const ebb_backend *const
        *backends; /* or a list of your own, preferred first; overrides `backend` */
    int n_backends;
    /* 0: as many as OpenMP would use, or one if a run is less than about 50 million operations
     * (half a millisecond), where others would mostly wait; at most 1024. */
    int n_threads;
    bool fast_math; /* allow rewrites that change rounding or the spread of NaN and Inf; without it,
                       only those that avoid overflow and cancellation change rounding
                       (docs/passes.md, stabilize) */
    bool skip_passes; /* run the graph as it was built: for comparing */
    /* Fusions to leave out, for comparing and for measuring what each brings: names separated by
     * commas. "programs" (one kernel for every element-wise node), "random" and "reductions" (these
     * apart from the programs around them), "join" (max_pool and the
     * convolution before it apart), "norms" (batch normalization without what follows it),
     * "anchors" (convolutions and products without it) or its single rules "bias", "residual",
     * "relu": docs/passes.md. NULL: none; an unknown name is BAD_ARGUMENT. */
    const char *skip_fusions;
    /* For finding out where NaN comes from, not for speed: a run ends with NOT_FINITE at the first
     * input, variable or node that has NaN or an infinity, names it, and changes no variable.
     * Forward, backward and updates are looked at, node by node: nothing is fused. Not for graphs
     * that compute with infinities on purpose, and not together with `profile` (BAD_ARGUMENT). */
    bool check_finite;
    bool profile; /* take the time of every step (profile.h) */
    /* Where a backend knows several ways to compute a node (oneDNN: convolutions), take the time of
     * each while compiling, and use the fastest: up to a second for each such shape; the
     * choice depends on what else the machine does, and results differ by rounding. */
    bool autotune;
    /* With autotune: a file that keeps what was chosen, read before and written after, atomically.
     * Compiling again then takes no times and chooses the same. A file from another version of Ebb
     * or oneDNN or another processor, or a broken one, is written anew; what is wrong with the file
     * is logged, never an error. */
    const char *autotune_cache;
    /* With autotune: allows convolutions with larger errors than those of sums in another order, up
     * to this (root of mean square of the difference, over that of the result; measured on random
     * data for each shape while compiling). 0: none. Winograd's algorithm for 3x3 windows (oneDNN
     * 2.6 to 3.1) had 6e-7 to 1.8e-6, with 32 to 512 channels: 1e-5 allows it. */
    double conv_error;
    /* The most that the executable may allocate for data, in bytes (ebb_memory_plan.peak_bytes).
     * What does not fit is computed again in the backward part (phase EBB_BACKWARD) instead of
     * being kept, cheap operations first; results are the same bit for bit. Several plans
     * are made until one fits. 0: any, and what costs next to nothing is computed again all the
     * same; INT64_MAX: nothing is. */
    int64_t memory_budget;
    bool plan_only; /* allocate nothing and leave the store alone (it may be NULL): the executable
                       cannot run, but tells its plan (ebb_executable_memory) */
    const char
        *dump_dir; /* an existing folder: write the graph as text and DOT after every stage */
    ebb_logger log;
    const ebb_allocator *allocator;
} ebb_compile_options;

/* Optimizes a copy of the graph, plans memory and makes every kernel. Variables that the store has
 * not are created in it and initialized. Later changes of the graph do not matter to the
 * executable; it must not outlive the store. With neither fetches nor updates: BAD_ARGUMENT. Errors
 * (message on the graph; *executable NULL): the graph's sticky error; BAD_NODE (a fetch of another
 * graph or none); BAD_SHAPE or BAD_DTYPE (a store entry of another type); BAD_ARGUMENT; UNSUPPORTED
 * (no backend takes a node); LIMIT (memory_budget cannot be met: the message names the smallest
 * peak that was found); OUT_OF_MEMORY; BACKEND; IO (dump_dir). */
EBB_NODISCARD EBB_API ebb_status ebb_compile(ebb_graph *graph, const ebb_compile_options *options,
                                             ebb_executable **executable);
EBB_API void ebb_executable_destroy(ebb_executable *executable);

/* An input node of the compiled graph, and its value: same dtype and shape, borrowed for the call.
 */
typedef struct ebb_feed {
    ebb_node node;
    ebb_tensor value;
} ebb_feed;
/* A node that was among the compile options' fetches, and memory for its value. */
typedef struct ebb_fetch {
    ebb_node node;
    ebb_tensor value;
} ebb_fetch;

/* One run: feeds in, all steps, fetches out, updates applied. Fetches see variables as they were
 * before the updates. Inputs that no fetch or update needs may be fed or not. On failure (message:
 * ebb_executable_message) no variable and no fetch has changed, unless oneDNN itself breaks down in
 * the middle. Errors: BAD_FEED (missing, twice,
 * other dtype or shape, not an input), BAD_NODE (a fetch that was not compiled), BAD_SHAPE and
 * BAD_DTYPE (of fetch memory), NOT_FINITE (with check_finite), BAD_INDEX (a bad index in the data:
 * names the node), BACKEND, BAD_ARGUMENT (plan_only). One thread at a time per executable;
 * executables that share a store may run side by side only if none updates what another uses. */
EBB_NODISCARD EBB_API ebb_status ebb_run(ebb_executable *executable, const ebb_feed *feeds,
                                         int n_feeds, const ebb_fetch *fetches, int n_fetches);
EBB_API const char *ebb_executable_message(const ebb_executable *executable);

/* What was planned. */
typedef struct ebb_executable_stats {
    int64_t n_nodes_built, n_nodes; /* before and after the passes */
    int64_t n_steps;                /* kernels a run executes */
    int64_t n_fused;                /* of these: programs of several element-wise nodes */
    int64_t n_views;                /* nodes that cost no step */
    int64_t n_copies;               /* steps that only copy a value into another layout */
    int64_t n_reorders;             /* of these: into or out of a layout that a kernel wished */
    int64_t n_kernel_reorders;      /* of weights, that kernels make inside, in each run */
    size_t arena_bytes;             /* intermediate values and scratch memory, planned */
    size_t unplanned_bytes;         /* the same values, without scratch, without sharing memory */
    size_t constant_bytes, packed_bytes;
    size_t scratch_bytes; /* of the step that needs most; in the arena */
} ebb_executable_stats;
EBB_API ebb_executable_stats ebb_executable_get_stats(const ebb_executable *executable);

/* Step `index` of a run, for reports and tests; false if there is no such step. */
typedef struct ebb_step_info {
    const char *op, *backend, *implementation;
    const char *name; /* of the node, "" without */
    int n_threads;
    size_t read_bytes, written_bytes;
} ebb_step_info;
EBB_API bool ebb_executable_step(const ebb_executable *executable, int64_t index,
                                 ebb_step_info *info);

/* ---- memory: known before any of it is allocated (plan_only), and after ---- */

typedef enum ebb_memory_kind {
    EBB_MEMORY_VALUE,    /* computed by a step; in the arena */
    EBB_MEMORY_UPDATE,   /* computed by a step right in the memory of a variable */
    EBB_MEMORY_SCRATCH,  /* what a step needs while it runs; in the arena */
    EBB_MEMORY_CONSTANT, /* in a block of their own */
    EBB_MEMORY_PACKED,   /* a variable or constant again, in the form that a kernel wants */
    EBB_MEMORY_VARIABLE, /* the store's */
    EBB_MEMORY_INPUT     /* the user's */
} ebb_memory_kind;

/* Sizes of blocks are rounded up to EBB_ALIGNMENT. */
typedef struct ebb_memory_plan {
    size_t peak_bytes; /* what the executable allocates for data: arena, constants, packed values */
    size_t arena_bytes;   /* values and scratch memory, shared between steps */
    size_t live_bytes;    /* the most that is needed at any one step: no arena can be smaller */
    size_t scratch_bytes; /* of the step that needs most */
    size_t constant_bytes, packed_bytes;
    size_t variable_bytes, input_bytes; /* not in the peak: they belong to others */
    int64_t n_recomputed;               /* nodes that are computed again for less memory */
    double more_work; /* their share of the work of all others, estimated by memory traffic and
                         arithmetic: 0.1 is 10% more */
    int64_t n_items;
} ebb_memory_plan;
EBB_API ebb_memory_plan ebb_executable_memory(const ebb_executable *executable);

/* One block of memory. Views have none of their own. */
typedef struct ebb_memory_item {
    ebb_memory_kind kind;
    const char *op, *scope, *name; /* of the node, "" without; SCRATCH, PACKED: of the step's */
    const ebb_type *type;          /* NULL: SCRATCH, PACKED */
    size_t bytes;        /* VALUE: 0 of a result that nobody reads and the kernel leaves out */
    size_t offset_bytes; /* VALUE, SCRATCH: in the arena; CONSTANT, PACKED: in their blocks */
    int64_t first, last; /* VALUE, UPDATE, SCRATCH: the first and the last step that need it, as in
                            ebb_executable_step; last: n_steps: needed when all are done */
} ebb_memory_item;
/* Item `index` of 0 .. n_items - 1; false if there is no such item. Everything that it points to
 * lives as long as the executable. */
EBB_API bool ebb_executable_memory_item(const ebb_executable *executable, int64_t index,
                                        ebb_memory_item *item);

EBB_END

#endif
