/* Dense copies of transposed matrices, F32: oneDNN's reorder goes through blocks that suit the
 * caches. */
#include "backends/onednn/onednn.h"

/* The operand with axes of size 1 dropped and neighbors merged where one stride serves both. */
typedef struct axes {
    int n;
    dnnl_dims_t sizes, strides;
} axes;

static axes merge_axes(const ebb_operand *operand)
{
    axes a = { 0 };
    const ebb_shape *shape = &operand->type->shape;
    for (int i = 0; i < shape->rank; i++) {
        int64_t size = shape->dims[i], stride = operand->layout.strides[i];
        if (size == 1)
            continue;
        if (a.n > 0 && a.strides[a.n - 1] == stride * size) {
            a.sizes[a.n - 1] *= size;
            a.strides[a.n - 1] = stride;
        } else {
            a.sizes[a.n] = size;
            a.strides[a.n++] = stride;
        }
    }
    return a;
}

int ebb_onednn_score_copy(const ebb_region *region)
{
    const ebb_operand *x = &region->inputs[0];
    /* Where rows lie densely there is nothing to win, and a general permutation is slow. */
    if (x->type->dtype != EBB_F32 || ebb_shape_elements(&x->type->shape) < 1024)
        return EBB_SCORE_NONE;
    axes a = merge_axes(x);
    for (int i = 0; i < a.n; i++)
        if (a.strides[i] <= 0)
            return EBB_SCORE_NONE;
    bool is_transposed = (a.n == 2 && a.strides[0] == 1) || (a.n == 3 && a.strides[1] == 1);
    return is_transposed ? EBB_SCORE_NATIVE : EBB_SCORE_NONE;
}

int ebb_onednn_threads_copy(const ebb_region *region)
{
    return ebb_shape_elements(&region->inputs[0].type->shape) < 32768 ? 1 : region->n_threads;
}

ebb_status ebb_onednn_compile_copy(const ebb_region *region, const ebb_compile_env *env,
                                   ebb_onednn_state *state, ebb_kernel *kernel)
{
    axes a = merge_axes(&region->inputs[0]);
    dnnl_dims_t dense = { 0 };
    dense[a.n - 1] = 1;
    for (int i = a.n - 2; i >= 0; i--)
        dense[i] = dense[i + 1] * a.sizes[i + 1];
    dn_desc from = { 0 }, to = { 0 };
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t made = dn_desc_strided(&from, a.n, a.sizes, dnnl_f32, a.strides);
    if (made == dnnl_success)
        made = dn_desc_strided(&to, a.n, a.sizes, dnnl_f32, dense);
    if (made == dnnl_success)
        made = dn_reorder(&pd, state->engine, dn_desc_view(&from), dn_desc_view(&to), state->attr);
    ebb_status status = ebb_onednn_check(made, "reorder", env->error);
    if (!status)
        status = ebb_onednn_make(state, pd, "reorder", env, kernel);
    if (!status)
        status = ebb_onednn_bind(state, &state->main, DNNL_ARG_FROM, dn_desc_view(&from),
                                 EBB_ONEDNN_INPUT, 0, NULL, env->error);
    if (!status)
        status = ebb_onednn_bind(state, &state->main, DNNL_ARG_TO, dn_desc_view(&to),
                                 EBB_ONEDNN_RESULT, 0, NULL, env->error);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    dn_desc_finish(&to);
    dn_desc_finish(&from);
    return status;
}
