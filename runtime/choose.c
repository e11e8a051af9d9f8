/* Which backend computes a region, and in which of several layouts. */
#include "runtime/choose.h"
#include "runtime/tune.h"

#include <limits.h>
#include <string.h>

ebb_operand ebb_operand_dense(const ebb_type *type)
{
    return (ebb_operand){ .type = type, .layout = ebb_layout_dense(&type->shape) };
}

bool ebb_choose_takes_blocks(const ebb_backend *backend, const ebb_op *op)
{
    return backend->takes_blocks && backend->takes_blocks(backend, op);
}

/* Inputs that lie otherwise than in `region` will be copies. False: nothing can lie so. */
static bool take_layouts(const ebb_region *region, const ebb_layout *layouts,
                         const ebb_layout *results, ebb_operand *inputs, ebb_variant *variant)
{
    ebb_order order;
    for (int i = 0; i < region->n_inputs; i++) {
        const ebb_shape *shape = &region->inputs[i].type->shape;
        inputs[i] = region->inputs[i];
        inputs[i].layout = layouts[i];
        if (ebb_layout_agrees(&layouts[i], &region->inputs[i].layout, shape))
            continue;
        if (!ebb_order_find(&layouts[i], shape, &order))
            return false;
        inputs[i].is_steady = false; /* made in each run */
    }
    for (int r = 0; r < region->n_results; r++) {
        if (!ebb_order_find(&results[r], &region->results[r].type->shape, &order))
            return false;
        variant->results[r].layout = results[r];
    }
    return true;
}

bool ebb_variant_wish(const ebb_executable *e, int backend, const ebb_region *region,
                      ebb_operand *inputs, ebb_layout *layouts, ebb_variant *variant)
{
    const ebb_backend *asked = e->backends[backend];
    ebb_layout results[EBB_MAX_RESULTS];
    ebb_region shown = *region;
    if (!asked->layouts)
        return false;
    shown.inputs = inputs;
    for (int i = 0; i < region->n_inputs; i++) {
        inputs[i] = region->inputs[i];
        if (inputs[i].layout.n_blocks && !ebb_choose_takes_blocks(asked, region->op))
            inputs[i].layout = ebb_layout_dense(&inputs[i].type->shape);
        layouts[i] = inputs[i].layout;
    }
    for (int r = 0; r < region->n_results; r++) {
        variant->results[r] = region->results[r];
        results[r] = region->results[r].layout;
    }
    if (variant->home && ebb_choose_takes_blocks(asked, region->op))
        results[0] = *variant->home;
    if (!asked->layouts(asked, &shown, layouts, results) ||
        !take_layouts(region, layouts, results, inputs, variant))
        return false;
    variant->region = *region;
    variant->region.inputs = inputs;
    variant->region.results = variant->results;
    variant->backend = backend;
    return true;
}

ebb_status ebb_variant_tune(ebb_executable *e, const ebb_region *region, ebb_operand *inputs,
                            ebb_layout *layouts, ebb_variant *variant)
{
    const int wished = variant->backend;
    ebb_layout results[EBB_MAX_RESULTS];
    ebb_status status = ebb_tuner_choose(e, &variant->region, &variant->backend, &variant->choice);
    const ebb_backend *taker = e->backends[variant->backend];
    variant->is_taken_over = variant->backend != wished;
    if (status || !variant->choice || !taker->choice_layouts)
        return status;
    for (int i = 0; i < region->n_inputs; i++)
        layouts[i] = inputs[i].layout;
    for (int r = 0; r < region->n_results; r++)
        results[r] = variant->results[r].layout;
    if (taker->choice_layouts(taker, &variant->region, variant->choice, layouts, results))
        (void)take_layouts(region, layouts, results, inputs, variant);
    return EBB_OK;
}

/* Of the inputs that lie otherwise than in the first variant, and of a result that will have to. */
static size_t copied_bytes(const ebb_variant *first, const ebb_variant *variant)
{
    size_t bytes = 0;
    for (int i = 0; i < variant->region.n_inputs; i++) {
        const ebb_operand *operand = &variant->region.inputs[i];
        if (!ebb_layout_agrees(&operand->layout, &first->region.inputs[i].layout,
                               &operand->type->shape))
            bytes += ebb_type_bytes(operand->type);
    }
    const ebb_operand *result = &variant->results[0];
    if (variant->home && !ebb_layout_agrees(&result->layout, variant->home, &result->type->shape))
        bytes += ebb_type_bytes(result->type);
    return bytes;
}

/* With the choice of the tuner, if there is one, perhaps by another backend; that may refuse it. */
static ebb_status compile_variant(ebb_executable *e, const ebb_compile_env *env,
                                  const ebb_variant *variant, int backend, ebb_kernel *kernel,
                                  const ebb_backend **taken)
{
    const ebb_region *region = &variant->region;
    ebb_compile_env tuned = *env;
    int taker = backend;
    tuned.choice = variant->choice;
    if (e->tuner && !tuned.choice && !variant->is_taken_over) {
        ebb_status status = ebb_tuner_choose(e, region, &taker, &tuned.choice);
        if (status)
            return status;
    }
    *taken = e->backends[taker];
    *kernel = (ebb_kernel){ 0 };
    ebb_status status = (*taken)->compile(*taken, region, &tuned, kernel);
    if (status != EBB_UNSUPPORTED || (!tuned.choice && taker == backend))
        return status;
    *taken = e->backends[backend];
    *kernel = (ebb_kernel){ 0 };
    return (*taken)->compile(*taken, region, env, kernel);
}

static int score_variant(const ebb_executable *e, const ebb_variant *variant, int backend)
{
    return variant->backend == EBB_ANY_BACKEND || variant->backend == backend
               ? e->backends[backend]->score(e->backends[backend], &variant->region)
               : EBB_SCORE_NONE;
}

int ebb_choose_best(const ebb_executable *e, const ebb_variant *variants, int n_variants,
                    int *backend)
{
    int best = EBB_SCORE_NONE;
    *backend = -1;
    for (int v = 0; v < n_variants; v++) {
        for (int b = 0; b < e->n_backends; b++) {
            const int score = score_variant(e, &variants[v], b);
            if (score > best) {
                best = score;
                *backend = b;
            }
        }
    }
    return best;
}

int ebb_choose_dense(const ebb_executable *e, const ebb_op *op, const void *attrs, int n_inputs,
                     const ebb_type *const *inputs, const ebb_type *const *results, int *backend)
{
    ebb_operand operands[EBB_MAX_PROGRAM_INPUTS];
    ebb_variant only = { .backend = EBB_ANY_BACKEND };
    *backend = -1;
    if (n_inputs > EBB_MAX_PROGRAM_INPUTS)
        return EBB_SCORE_NONE;
    for (int i = 0; i < n_inputs; i++)
        operands[i] = ebb_operand_dense(inputs[i]);
    for (int r = 0; r < op->n_results; r++)
        only.results[r] = ebb_operand_dense(results[r]);
    only.region = (ebb_region){ .op = op,
                                .attrs = attrs,
                                .n_inputs = n_inputs,
                                .n_results = op->n_results,
                                .inputs = operands,
                                .results = only.results,
                                .n_threads = e->n_threads };
    return ebb_choose_best(e, &only, 1, backend);
}

int ebb_choose_node(const ebb_executable *e, ebb_node node, int *backend)
{
    const ebb_op *op = ebb_node_op(node);
    const int n = ebb_node_n_inputs(node);
    const ebb_type *inputs[EBB_MAX_PROGRAM_INPUTS], *results[EBB_MAX_RESULTS];
    for (int i = 0; i < n && i < EBB_MAX_PROGRAM_INPUTS; i++)
        inputs[i] = ebb_node_type(ebb_node_input(node, i));
    for (int r = 0; r < op->n_results; r++)
        results[r] = ebb_node_type(ebb_graph_node(node.graph, node.id + (uint32_t)r));
    return ebb_choose_dense(e, op, ebb_node_attrs(node), n, inputs, results, backend);
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
        for (int b = 0; b < e->n_backends; b++) {
            scores[v][b] = score_variant(e, &variants[v], b);
            if (variants[v].is_taken_over && scores[v][b] != EBB_SCORE_NONE)
                scores[v][b] = INT_MAX; /* found faster than those that score more */
        }
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
        *chosen = best_variant;
        ebb_status status =
            compile_variant(e, env, &variants[best_variant], best_backend, kernel, backend);
        if (status != EBB_UNSUPPORTED)
            return status;
        scores[best_variant][best_backend] = EBB_SCORE_NONE;
    }
}
