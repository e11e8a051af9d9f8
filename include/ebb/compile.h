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
    int n_threads;  /* 0: as many as OpenMP would use; at most 1024 */
    bool fast_math; /* allow rewrites that change rounding or the spread of NaN and Inf; without it,
                       only those that avoid overflow and cancellation change rounding
                       (docs/passes.md, stabilize) */
    bool skip_passes; /* run the graph as it was built: for comparing */
    bool skip_fusion; /* one kernel for every element-wise node: for comparing */
    bool profile;     /* take the time of every step (profile.h) */
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
 * (no backend takes a node); OUT_OF_MEMORY; BACKEND; IO (dump_dir). */
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
 * ebb_executable_message) no variable and no fetch has changed. Errors: BAD_FEED (missing, twice,
 * other dtype or shape, not an input), BAD_NODE (a fetch that was not compiled), BAD_SHAPE and
 * BAD_DTYPE (of fetch memory), BAD_INDEX (a bad index in the data: names the node), BACKEND. One
 * thread at a time per executable; executables that share a store may run side by side only if none
 * updates what another uses. */
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
    size_t arena_bytes;             /* intermediate values, planned */
    size_t unplanned_bytes;         /* the same values without sharing memory */
    size_t constant_bytes, packed_bytes, scratch_bytes;
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

EBB_END

#endif
