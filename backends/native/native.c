/* The native backend: Ebb's own kernels for what oneDNN lacks or does less well. */
#include "backends/native/native.h"

static const struct {
    const ebb_op *op;
    const ebb_native_kind *kind;
} kinds[] = {
    { &ebb_op_copy, &ebb_native_copy },
    { &ebb_op_select, &ebb_native_select },
    { &ebb_op_cast, &ebb_native_cast },
    { &ebb_op_reduce_sum, &ebb_native_reduce },
    { &ebb_op_reduce_mean, &ebb_native_reduce },
    { &ebb_op_reduce_prod, &ebb_native_reduce },
    { &ebb_op_reduce_max, &ebb_native_reduce },
    { &ebb_op_reduce_min, &ebb_native_reduce },
    { &ebb_op_norm_l1, &ebb_native_reduce },
    { &ebb_op_norm_l2, &ebb_native_reduce },
    { &ebb_op_logsumexp, &ebb_native_reduce },
    { &ebb_op_variance, &ebb_native_reduce },
    { &ebb_op_argmax, &ebb_native_argmax },
    { &ebb_op_argmin, &ebb_native_argmax },
    { &ebb_op_matmul, &ebb_native_matmul },
    { &ebb_op_softmax, &ebb_native_softmax },
    { &ebb_op_log_softmax, &ebb_native_softmax },
    { &ebb_op_softmax_cross_entropy, &ebb_native_cross_entropy },
    { &ebb_op_weighted_softmax_cross_entropy, &ebb_native_cross_entropy },
    { &ebb_op_layer_norm, &ebb_native_norm },
    { &ebb_op_layer_norm_grad, &ebb_native_norm },
    { &ebb_op_rms_norm, &ebb_native_norm },
    { &ebb_op_rms_norm_grad, &ebb_native_norm },
    { &ebb_op_one_hot, &ebb_native_one_hot },
    { &ebb_op_random_uniform, &ebb_native_random },
    { &ebb_op_random_normal, &ebb_native_random },
};

static const ebb_native_kind *find_kind(const ebb_op *op)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].op == op)
            return kinds[i].kind;
    if (ebb_native_is_map(op))
        return &ebb_native_map;
    if ((op->traits & EBB_TRAIT_VIEW) && op->view)
        return &ebb_native_view;
    return NULL;
}

static int score_region(const ebb_backend *backend, const ebb_region *region)
{
    (void)backend;
    const ebb_native_kind *kind = find_kind(region->op);
    return kind ? kind->score(region) : EBB_SCORE_NONE;
}

static ebb_status compile_region(const ebb_backend *backend, const ebb_region *region,
                                 const ebb_compile_env *env, ebb_kernel *kernel)
{
    if (score_region(backend, region) == EBB_SCORE_NONE)
        return ebb_fail(env->error, EBB_UNSUPPORTED, "%s: no native kernel for this region",
                        region->op->name);
    kernel->never_fails = !(region->op->traits & EBB_TRAIT_FALLIBLE);
    return find_kind(region->op)->compile(region, env, kernel);
}

const ebb_backend ebb_backend_native = {
    .name = "native",
    .score = score_region,
    .compile = compile_region,
};

void *ebb_native_allocate(const ebb_region *region, const ebb_compile_env *env, size_t size_bytes)
{
    void *block = env->allocate(env->context, size_bytes);
    if (!block)
        (void)ebb_fail(env->error, EBB_OUT_OF_MEMORY, "out of memory for a kernel of %s",
                       region->op->name);
    return block;
}

bool ebb_native_all_dense(const ebb_region *region)
{
    for (int i = 0; i < region->n_inputs; i++)
        if (!ebb_layout_is_dense(&region->inputs[i].layout, &region->inputs[i].type->shape))
            return false;
    return true;
}

int ebb_native_threads(const ebb_region *region, int64_t work, int64_t threshold)
{
    if (work < threshold)
        return 1;
    int64_t useful = 2 * (work / threshold);
    return useful < region->n_threads ? (int)useful : region->n_threads;
}
