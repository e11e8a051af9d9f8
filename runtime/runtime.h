/* The executable's own data, and how the files of runtime/ share the work of a compilation:
 *
 *   compile.c     checks, pipeline, the order of all of it
 *   anchors.c     convolutions and products with what follows them
 *   fuse.c        programs of element-wise nodes
 *   decompose.c   library ops that no backend takes, by their parts
 *   lower.c       graph -> steps with kernels, and the buffers they use
 *   copies.c      steps that copy a value into another layout
 *   homes.c       the layouts in which variables lie in the store
 *   arrange.c     the layouts in which a node may be computed; layout.c: layouts without gaps
 *   choose.c      which backend computes a node, in which of them
 *   tune.c        the fastest of the ways in which it can; tune_cache.c: a file of such choices
 *   order.c       where steps stand, which may write variables, what lives when
 *   memory.c      where everything will lie; plan.c: lifetimes to offsets
 *   budget.c      what is computed again, to fit a memory budget or because it is cheap
 *   bind.c        memory for everything, pointers into the steps
 *   executable.c  runs
 *   finite.c      looking for NaN and infinities
 *   freeze.c      a trained graph as one that only computes
 *   profile.c     times of steps; profile_report.c: tables and traces of them
 *   report.c      stats, step info, dumps
 *   store.c       the store; list.c: growing arrays
 */
#ifndef RUNTIME_RUNTIME_H
#define RUNTIME_RUNTIME_H

#include "graph/arena.h"
#include "passes/rematerialize.h"
#include "runtime/store.h"

#include <ebb/compile.h>

#define EBB_MAX_THREADS 1024
#define EBB_MAX_BACKENDS 64
#define EBB_NO_BUFFER UINT32_MAX

/* A growing array of items of one size. */
typedef struct ebb_list {
    void *items;
    size_t n, capacity;
} ebb_list;
/* `n_more` items at the end, not initialized; NULL when memory is out. */
void *ebb_list_add(ebb_list *list, const ebb_allocator *allocator, size_t item_bytes,
                   size_t n_more);
/* Room for `n` items in all; false when memory is out. */
bool ebb_list_reserve(ebb_list *list, const ebb_allocator *allocator, size_t item_bytes, size_t n);
void ebb_list_finish(ebb_list *list, const ebb_allocator *allocator, size_t item_bytes);

/* ---- what lowering makes ---- */

typedef enum ebb_buffer_kind {
    EBB_BUFFER_ARENA, /* computed by a step */
    EBB_BUFFER_INPUT,
    EBB_BUFFER_VARIABLE,
    EBB_BUFFER_CONSTANT
} ebb_buffer_kind;

/* Memory of one value; views of it share it. */
typedef struct ebb_buffer {
    ebb_buffer_kind kind;
    uint32_t index;   /* ARENA: step that computes it; else into inputs, variables, constants */
    int32_t variable; /* ARENA: the variable in whose memory it lies; -1: in the arena */
    bool is_kept;     /* ARENA: needed when all steps are done */
    bool is_left_out; /* ARENA: not computed, so without memory, and of no bytes */
    bool is_steady;
    bool is_permuted; /* lies in a wished layout */
    const ebb_type *type;
    size_t bytes;
    int64_t first, last; /* positions in the order of steps at which it is needed; last may be the
                            number of steps: needed when all are done */
    size_t offset;       /* in the block of its kind, with `variable` < 0 */
    void *memory;        /* NULL: an input */
} ebb_buffer;

/* One argument of a step: inputs first, then results. */
typedef struct ebb_argument {
    uint32_t buffer;
    bool is_whole; /* the buffer as it is: dense, from its start */
    size_t offset_bytes;
} ebb_argument;

typedef struct ebb_step {
    ebb_kernel kernel;
    const ebb_backend *backend;
    uint32_t node; /* of the executable's graph; for a copy: the node whose value is copied */
    int32_t n_inputs, n_results;
    bool is_copy, is_reorder; /* a reorder: a copy into or out of a wished layout */
    size_t first_argument;
    size_t scratch; /* offset in the arena */
    size_t read_bytes, written_bytes;
} ebb_step;

/* A buffer to be copied into a variable when all steps are done. */
typedef struct ebb_move {
    uint32_t buffer, variable;
} ebb_move;

/* ---- what runs ---- */

typedef struct ebb_task {
    ebb_kernel_run run;
    ebb_call call;
} ebb_task;

typedef struct ebb_input_slot {
    uint32_t user_id; /* of the input node in the user's graph; ascending */
    uint32_t node;    /* in the executable's graph; 0: not needed */
    const char *name;
    ebb_type type;
    uint32_t buffer;
    size_t first_patch, n_patches;
    uint64_t fed; /* in which run it was fed last */
    void *data;
} ebb_input_slot;

/* Where a feed's pointer goes. */
typedef struct ebb_patch {
    size_t argument;
    size_t offset_bytes;
} ebb_patch;

typedef struct ebb_fetch_slot {
    uint32_t user_id; /* ascending */
    uint32_t node;
    const ebb_type *type;
    bool is_early;   /* copied before anything is written to variables */
    bool is_strided; /* not dense: lies in `layout`, whose offset is in `source` */
    ebb_layout layout;
    ebb_argument source;
} ebb_fetch_slot;

typedef struct ebb_variable_slot {
    uint32_t node;
    ebb_store_entry *entry;
    bool is_bound;
    ebb_layout layout; /* in which it lies in the store */
    uint32_t value;    /* node with which a run updates it; 0: none, or the variable itself */
    uint32_t buffer;
} ebb_variable_slot;

/* A steady input that a kernel wants in a form of its own. */
typedef struct ebb_packing {
    uint32_t step;
    const ebb_store_entry *entry; /* NULL: a constant */
    uint64_t version;             /* of the entry when it was packed last */
    const void *source;
    size_t offset; /* in the block of packed values */
    void *block;
} ebb_packing;

struct ebb_executable {
    const ebb_allocator *allocator;
    ebb_logger log;
    ebb_store *store;
    bool has_entered; /* the store */
    ebb_error error;

    const ebb_graph *user_graph; /* to compare handles with; never looked into after compiling */
    uint32_t n_user_nodes;
    uint32_t *map;               /* by user id: id in `graph`, 0: gone */
    ebb_graph *graph;            /* own copy: ops, attributes, types of all that runs */
    bool has_updates;            /* the graph's updates are applied */
    bool may_fuse, may_anchor;   /* and it has not been done yet */
    const char *skip_fusions;    /* of the options, while compiling */
    bool may_choose_threads;     /* the user did not: the same */
    ebb_rematerialize recompute; /* what is computed again, to fit a memory budget */
    ebb_rematerialize_cost recompute_cost;
    bool check_finite;
    struct ebb_tuner *tuner; /* while compiling with autotune */

    const ebb_backend *const *backends;
    int n_backends, n_threads;

    ebb_arena arena;    /* kernel states, names */
    ebb_list steps;     /* ebb_step, in the order of lowering */
    ebb_list arguments; /* ebb_argument */
    ebb_list buffers;   /* ebb_buffer */
    uint32_t *order;    /* order[position]: step */
    size_t n_head;      /* from this position on steps cannot fail, and may write variables */

    ebb_input_slot *inputs;
    size_t n_inputs, n_inputs_needed;
    ebb_fetch_slot *fetches;
    size_t n_fetches, n_fetches_listed; /* without and with those that are there twice */
    ebb_variable_slot *variables;
    size_t n_variables;
    ebb_move *moves; /* room for one per variable */
    size_t n_moves;

    ebb_task *tasks; /* in order of running */
    void **pointers; /* one for each argument; then one for each fetch */
    size_t n_pointers;
    ebb_patch *patches;
    size_t n_patches;
    ebb_packing *packings;
    size_t n_packings;
    uint64_t n_runs;
    struct ebb_profile *profile; /* NULL: no times are taken */

    void *arena_block, *constant_block, *packed_block; /* sizes are in stats; NULL: only planned */
    ebb_executable_stats stats;
    size_t live_bytes;   /* the most that is needed at one step: no plan can be smaller */
    uint32_t *scratches; /* positions of the steps with scratch memory */
    size_t n_scratches;
};

/* The name of variable number `index`. */
const char *ebb_executable_variable_name(const ebb_executable *executable, size_t index);
static inline ebb_step *ebb_executable_steps(const ebb_executable *e)
{
    return e->steps.items;
}
static inline ebb_argument *ebb_executable_arguments(const ebb_executable *e)
{
    return e->arguments.items;
}
static inline ebb_buffer *ebb_executable_buffers(const ebb_executable *e)
{
    return e->buffers.items;
}

/* ---- the stages of a compilation; messages go to executable->error ---- */

typedef struct ebb_dump {
    const char *folder; /* NULL: no dumps */
    int n_stages;       /* written until now */
} ebb_dump;

/* A new graph with copies of the live nodes of `graph`, except that those with replace[id] (NULL:
 * none) are decomposed. map[n_nodes + 1]: new ids by old ones, 0 for what is gone. `keep_updates`:
 * of the graph. */
ebb_status ebb_graph_decompose(const ebb_graph *graph, const uint8_t *live, const uint8_t *replace,
                               bool keep_updates, ebb_graph **result, uint32_t *map,
                               ebb_error *error);

/* Marks in replace[n_nodes + 1] the live nodes that have a decomposition and that no backend takes;
 * returns how many. */
int64_t ebb_executable_find_library(ebb_executable *executable, const uint8_t *live,
                                    uint8_t *replace);

/* Makes steps, arguments, buffers, constants and kernels; fetches and variables must be listed.
 * UNSUPPORTED with *n_refused > 0: backends that scored have refused nodes which can be decomposed;
 * they are marked in refused[n_nodes + 1]. */
ebb_status ebb_executable_lower(ebb_executable *executable, const uint8_t *live, uint8_t *refused,
                                int64_t *n_refused);
/* Takes `graph` in place of its own; map: ids of that one -> ids of this one. A dump is written as
 * `stage`. */
ebb_status ebb_executable_take(ebb_executable *executable, ebb_graph *graph, const uint32_t *map,
                               const char *stage, ebb_dump *dump);
/* Lets e->recompute be computed again. */
ebb_status ebb_executable_rematerialize(ebb_executable *executable, ebb_dump *dump);
/* Puts relu, residuals and bias into convolutions and products, if a backend takes such ones. */
ebb_status ebb_executable_anchor(ebb_executable *executable, ebb_dump *dump);
/* BAD_ARGUMENT if a name in skip_fusions is no fusion's. */
ebb_status ebb_check_fusions(const char *skip_fusions, ebb_error *error);
/* Makes programs of the element-wise nodes that a backend takes in one; a graph that changed is
 * dumped. */
ebb_status ebb_executable_fuse(ebb_executable *executable, ebb_dump *dump);
/* Drops what lower made. */
void ebb_executable_unlower(ebb_executable *executable);

/* Orders the steps; decides which write variables directly; lists moves. */
ebb_status ebb_executable_order(ebb_executable *executable);
/* The step may write this result into this buffer, which is of the same size: it reads it only
 * where the kernel allows that. */
bool ebb_step_may_overwrite(const ebb_executable *executable, const ebb_step *step, int result,
                            uint32_t buffer);
/* What a budget repeats: from the user's graph to the passes' result, and to a plan. */
typedef struct ebb_planner {
    ebb_status (*prepare)(void *context, ebb_executable *executable, ebb_dump *dump);
    ebb_status (*plan)(void *context, ebb_executable *executable, ebb_dump *dump);
    void *context;
} ebb_planner;
/* A plan with a peak of at most `budget` bytes. LIMIT: there is none. */
ebb_status ebb_executable_fit(ebb_executable *executable, size_t budget, const ebb_planner *planner,
                              ebb_dump *dump);
/* A plan for which what lowers the peak is computed again as long as it costs next to nothing. */
ebb_status ebb_executable_shrink(ebb_executable *executable, const ebb_planner *planner,
                                 ebb_dump *dump);
/* Drops graph, steps and plan; what the user named stays. */
void ebb_executable_unplan(ebb_executable *executable);
/* Where everything will lie; allocates nothing of it. */
ebb_status ebb_executable_plan(ebb_executable *executable);
/* Lets go of the store and its entries. */
void ebb_executable_unbind(ebb_executable *executable);
/* Memory for everything, as planned, and pointers. Variables have their entries. */
ebb_status ebb_executable_bind(ebb_executable *executable);
/* Packs what is new or has changed. */
ebb_status ebb_executable_pack(ebb_executable *executable);

/* From now on times are taken; may be stopped without a start. */
ebb_status ebb_executable_start_profile(ebb_executable *executable);
void ebb_executable_stop_profile(ebb_executable *executable);
/* Runs the tasks and takes their times; on failure, *failed is the position of the task. */
ebb_status ebb_profile_tasks(ebb_executable *executable, size_t begin, size_t end, size_t *failed);

/* NOT_FINITE if a value that was fed, a variable, or a result of the step is not finite. */
ebb_status ebb_finite_sources(ebb_executable *executable);
ebb_status ebb_finite_results(ebb_executable *executable, const ebb_step *step);

/* Writes STAGE.txt and STAGE.dot; `context` is an ebb_dump. */
ebb_status ebb_dump_stage(void *context, const char *stage, const ebb_graph *graph,
                          const ebb_node *outputs, int64_t n_outputs, ebb_error *error);
/* Writes plan.txt and plan.dot. */
ebb_status ebb_dump_plan(ebb_executable *executable, const ebb_dump *dump);

#endif
