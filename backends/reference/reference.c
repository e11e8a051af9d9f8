/* The reference backend: every op by its own reference kernel, on one thread. The oracle of the
 * others. */
#include "backends/backends.h"

typedef struct reference_state {
    ebb_eval eval;
    ebb_tensor tensors[]; /* inputs, then results */
} reference_state;

static bool is_dense(const ebb_operand *operands, int n)
{
    for (int i = 0; i < n; i++)
        if (!ebb_layout_is_dense(&operands[i].layout, &operands[i].type->shape))
            return false;
    return true;
}

static int score_region(const ebb_backend *backend, const ebb_region *region)
{
    (void)backend;
    if (!region->op->eval || !is_dense(region->inputs, region->n_inputs))
        return EBB_SCORE_NONE;
    return EBB_SCORE_REFERENCE;
}

static ebb_status run_eval(const ebb_call *call)
{
    reference_state *state = call->state;
    ebb_eval eval = state->eval;
    eval.error = call->error;
    for (int i = 0; i < eval.n_inputs; i++)
        state->tensors[i].data = call->inputs[i];
    for (int i = 0; i < eval.n_results; i++)
        state->tensors[eval.n_inputs + i].data = call->results[i];
    return eval.op->eval(&eval);
}

static ebb_status compile_region(const ebb_backend *backend, const ebb_region *region,
                                 const ebb_compile_env *env, ebb_kernel *kernel)
{
    if (score_region(backend, region) == EBB_SCORE_NONE)
        return ebb_fail(env->error, EBB_UNSUPPORTED, "%s: no reference kernel for this region",
                        region->op->name);
    size_t n_tensors = (size_t)region->n_inputs + (size_t)region->n_results;
    reference_state *state =
        env->allocate(env->context, sizeof *state + n_tensors * sizeof *state->tensors);
    if (!state)
        return ebb_fail(env->error, EBB_OUT_OF_MEMORY, "out of memory for a kernel of %s",
                        region->op->name);
    for (int i = 0; i < region->n_inputs; i++)
        state->tensors[i].type = *region->inputs[i].type;
    for (int i = 0; i < region->n_results; i++)
        state->tensors[region->n_inputs + i].type = *region->results[i].type;
    state->eval = (ebb_eval){ .op = region->op,
                              .attrs = region->attrs,
                              .n_inputs = region->n_inputs,
                              .n_results = region->n_results,
                              .inputs = state->tensors,
                              .results = state->tensors + region->n_inputs };
    kernel->run = run_eval;
    kernel->state = state;
    kernel->implementation = "eval";
    kernel->n_threads = 1;
    kernel->never_fails = !(region->op->traits & EBB_TRAIT_FALLIBLE);
    return EBB_OK;
}

const ebb_backend ebb_backend_reference = {
    .name = "reference",
    .score = score_region,
    .compile = compile_region,
};
