/* Inside the oneDNN backend: what every kernel of it has, and the families of ops it takes. */
#ifndef BACKENDS_ONEDNN_ONEDNN_H
#define BACKENDS_ONEDNN_ONEDNN_H

#include "backends/onednn/compat.h"
#include "ops/epilogue.h"
#include <ebb/backend.h>

enum { EBB_ONEDNN_MAX_ARGS = 8, EBB_ONEDNN_MAX_BEFORE = 3, EBB_ONEDNN_NAME_BYTES = 64 };

/* Where an argument of a primitive lies when it runs. */
typedef enum ebb_onednn_place {
    EBB_ONEDNN_INPUT,   /* inputs[index] of the call */
    EBB_ONEDNN_RESULT,  /* results[index] */
    EBB_ONEDNN_SCRATCH, /* in the scratch, `index` bytes from its start */
    EBB_ONEDNN_FIXED    /* memory of the kernel's own, the same on every run */
} ebb_onednn_place;

/* A primitive and its arguments, ready to execute. */
typedef struct ebb_onednn_primitive {
    dnnl_primitive_t handle; /* NULL: none */
    int n_args;
    dnnl_exec_arg_t args[EBB_ONEDNN_MAX_ARGS];
    struct {
        ebb_onednn_place place;
        size_t index;
        void *pointer; /* what the memory object holds now */
    } origins[EBB_ONEDNN_MAX_ARGS];
} ebb_onednn_primitive;

/* The first member of every kernel's state. */
typedef struct ebb_onednn_state {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t attr;      /* says that scratchpads come from the caller */
    ebb_onednn_primitive main, pack; /* pack: input 0 -> result 0 */
    ebb_onednn_primitive before[EBB_ONEDNN_MAX_BEFORE], after; /* reorders around `main` */
    int n_threads; /* with which the primitives are made and executed */
    struct {
        int input;
        int64_t n; /* elements; 0: there is none, or the family places it */
    } residual;
    void *more; /* what a family adds, from env->allocate */
    char implementation[EBB_ONEDNN_NAME_BYTES];
} ebb_onednn_state;

/* A row of the backend's table. */
typedef struct ebb_onednn_family {
    const ebb_op *op;
    int (*score)(const ebb_region *region);
    /* How many threads pay. Asked for regions with a score only. */
    int (*n_threads)(const ebb_region *region);
    /* Makes the primitives. Engine, stream and attr are there, OpenMP is set to the state's number
     * of threads, and `kernel` is filled for a kernel that only executes `main`. On failure the
     * caller cleans up. */
    ebb_status (*compile)(const ebb_region *region, const ebb_compile_env *env,
                          ebb_onednn_state *state, ebb_kernel *kernel);
    /* As in ebb_backend; NULL: no wishes. */
    bool (*layouts)(const ebb_region *region, ebb_layout *inputs, ebb_layout *results);
    /* The same. */
    bool (*choice_layouts)(const ebb_region *region, const char *choice, ebb_layout *inputs,
                           ebb_layout *results);
    /* The same; NULL: no choices. The state is as for `compile`. */
    int (*choices)(const ebb_region *region, ebb_onednn_state *state, ebb_choice *choices, int max);
    /* As home_layout of ebb_backend, with a state as for `compile`. For regions with a score. */
    bool (*home)(const ebb_region *region, int input, ebb_onednn_state *state, ebb_layout *layout);
} ebb_onednn_family;

/* In all of these `what` names the primitive in messages. They return EBB_BACKEND,
 * EBB_OUT_OF_MEMORY, or EBB_UNSUPPORTED where another backend should be asked. */

ebb_status ebb_onednn_check(dnnl_status_t status, const char *what, ebb_error *error);
/* Adds an argument. `pointer` is for EBB_ONEDNN_FIXED. */
ebb_status ebb_onednn_bind(const ebb_onednn_state *state, ebb_onednn_primitive *primitive, int arg,
                           dn_view desc, ebb_onednn_place place, size_t index, void *pointer,
                           ebb_error *error);
/* Makes `main` out of `pd`, scratchpad included, and notes the implementation's name. Reference
 * implementations are refused. */
ebb_status ebb_onednn_make(ebb_onednn_state *state, dnnl_primitive_desc_t pd, const char *what,
                           const ebb_compile_env *env, ebb_kernel *kernel);
/* Makes the reorder that is the kernel's `pack` for input `index`. */
ebb_status ebb_onednn_make_pack(ebb_onednn_state *state, dn_view from, dn_view to, int index,
                                const ebb_compile_env *env, ebb_kernel *kernel);
/* Makes a reorder; its arguments are still to be bound. A scratchpad lies behind *scratch_bytes of
 * the scratch, which grows. */
ebb_status ebb_onednn_make_reorder(ebb_onednn_state *state, ebb_onednn_primitive *reorder,
                                   dn_view from, dn_view to, size_t *scratch_bytes,
                                   ebb_error *error);
/* Destroys the primitives, so that another form can be tried. */
void ebb_onednn_clear(ebb_onednn_state *state);
ebb_status ebb_onednn_execute(ebb_onednn_state *state, ebb_onednn_primitive *primitive,
                              void *const *inputs, void *const *results, void *scratch,
                              ebb_error *error);

/* What follows a primitive, as state->attr and post-ops. The caller destroys *attr. */
dnnl_status_t ebb_onednn_epilogue_attr(const ebb_onednn_state *state, const ebb_epilogue *epilogue,
                                       dnnl_primitive_attr_t *attr);

/* oneDNN adds to what lies in the result: brings state->residual there, where the plan could not
 * let the result lie on it. */
void ebb_onednn_place_residual(const ebb_onednn_state *state, const ebb_call *call);

/* matmul.c */
int ebb_onednn_score_matmul(const ebb_region *region);
int ebb_onednn_threads_matmul(const ebb_region *region);
ebb_status ebb_onednn_compile_matmul(const ebb_region *region, const ebb_compile_env *env,
                                     ebb_onednn_state *state, ebb_kernel *kernel);

/* softmax.c */
int ebb_onednn_score_softmax(const ebb_region *region);
int ebb_onednn_threads_softmax(const ebb_region *region);
ebb_status ebb_onednn_compile_softmax(const ebb_region *region, const ebb_compile_env *env,
                                      ebb_onednn_state *state, ebb_kernel *kernel);

/* conv.c, conv_form.c */
int ebb_onednn_score_conv(const ebb_region *region);
int ebb_onednn_threads_conv(const ebb_region *region);
ebb_status ebb_onednn_compile_conv(const ebb_region *region, const ebb_compile_env *env,
                                   ebb_onednn_state *state, ebb_kernel *kernel);
bool ebb_onednn_layouts_conv(const ebb_region *region, ebb_layout *inputs, ebb_layout *results);
bool ebb_onednn_choice_layouts_conv(const ebb_region *region, const char *choice,
                                    ebb_layout *inputs, ebb_layout *results);
bool ebb_onednn_home_conv(const ebb_region *region, int input, ebb_onednn_state *state,
                          ebb_layout *layout);
int ebb_onednn_choices_conv(const ebb_region *region, ebb_onednn_state *state, ebb_choice *choices,
                            int max);

/* copy.c */
int ebb_onednn_score_copy(const ebb_region *region);
int ebb_onednn_threads_copy(const ebb_region *region);
ebb_status ebb_onednn_compile_copy(const ebb_region *region, const ebb_compile_env *env,
                                   ebb_onednn_state *state, ebb_kernel *kernel);

#endif
