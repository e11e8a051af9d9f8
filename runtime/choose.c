/* Which backend computes a region, and in which of several layouts. */
#include "runtime/choose.h"
#include "runtime/tune.h"

#include <string.h>

bool ebb_variant_wish(const ebb_executable *e, int backend, const ebb_region *region,
                      ebb_operand *inputs, ebb_layout *layouts, ebb_variant *variant)
{
    const ebb_backend *asked = e->backends[backend];
    ebb_layout results[EBB_MAX_RESULTS];
    ebb_order order;
    for (int i = 0; i < region->n_inputs; i++)
        layouts[i] = region->inputs[i].layout;
    for (int r = 0; r < region->n_results; r++) {
        variant->results[r] = region->results[r];
        results[r] = region->results[r].layout;
    }
    if (!asked->layouts || !asked->layouts(asked, region, layouts, results))
        return false;
    for (int i = 0; i < region->n_inputs; i++) {
        const ebb_shape *shape = &region->inputs[i].type->shape;
        inputs[i] = region->inputs[i];
        if (ebb_layout_agrees(&layouts[i], &inputs[i].layout, shape))
            continue;
        if (!ebb_order_find(&layouts[i], shape, &order))
            return false;
        inputs[i].layout = layouts[i];
        inputs[i].is_steady = false; /* a copy, made in each run */
    }
    for (int r = 0; r < region->n_results; r++) {
        if (!ebb_order_find(&results[r], &region->results[r].type->shape, &order))
            return false;
        variant->results[r].layout = results[r];
    }
    variant->region = *region;
    variant->region.inputs = inputs;
    variant->region.results = variant->results;
    variant->backend = backend;
    return true;
}

/* Of the inputs that lie otherwise than in the first variant. */
static size_t copied_bytes(const ebb_variant *first, const ebb_variant *variant)
{
    size_t bytes = 0;
    for (int i = 0; i < variant->region.n_inputs; i++) {
        const ebb_operand *operand = &variant->region.inputs[i];
        if (!ebb_layout_agrees(&operand->layout, &first->region.inputs[i].layout,
                               &operand->type->shape))
            bytes += ebb_type_bytes(operand->type);
    }
    return bytes;
}

/* With the choice of the tuner, if there is one; the backend may refuse it. */
static ebb_status compile_region(ebb_executable *e, const ebb_backend *backend,
                                 const ebb_compile_env *env, const ebb_region *region,
                                 ebb_kernel *kernel)
{
    ebb_compile_env tuned = *env;
    if (e->tuner) {
        ebb_status status = ebb_tuner_choose(e, backend, region, &tuned.choice);
        if (status)
            return status;
    }
    *kernel = (ebb_kernel){ 0 };
    ebb_status status = backend->compile(backend, region, &tuned, kernel);
    if (status != EBB_UNSUPPORTED || !tuned.choice)
        return status;
    *kernel = (ebb_kernel){ 0 };
    return backend->compile(backend, region, env, kernel);
}

ebb_status ebb_choose_kernel(ebb_executable *e, const ebb_compile_env *env,
                             const ebb_variant *variants, int n_variants, ebb_kernel *kernel,
                             const ebb_backend **backend, int *chosen)
{
    int scores[EBB_MAX_VARIANTS][EBB_MAX_BACKENDS];
    size_t copied[EBB_MAX_VARIANTS];
    e->error.message[0] = 0;
    for (int v = 0; v < n_variants; v++) {
        copied[v] = copied_bytes(&variants[0], &variants[v]);
        for (int b = 0; b < e->n_backends; b++)
            scores[v][b] = variants[v].backend < 0 || variants[v].backend == b
                               ? e->backends[b]->score(e->backends[b], &variants[v].region)
                               : EBB_SCORE_NONE;
    }
    for (;;) {
        int best = EBB_SCORE_NONE, best_variant = 0, best_backend = 0;
        for (int v = 0; v < n_variants; v++) {
            for (int b = 0; b < e->n_backends; b++) {
                if (scores[v][b] > best || (best > EBB_SCORE_NONE && scores[v][b] == best &&
                                            copied[v] < copied[best_variant])) {
                    best = scores[v][b];
                    best_variant = v;
                    best_backend = b;
                }
            }
        }
        if (best == EBB_SCORE_NONE)
            return EBB_UNSUPPORTED;
        *backend = e->backends[best_backend];
        *chosen = best_variant;
        ebb_status status =
            compile_region(e, *backend, env, &variants[best_variant].region, kernel);
        if (status != EBB_UNSUPPORTED)
            return status;
        scores[best_variant][best_backend] = EBB_SCORE_NONE;
    }
}
