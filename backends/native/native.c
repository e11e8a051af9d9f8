/* The native backend: Ebb's own kernels for what oneDNN lacks or does less well. */
#include "backends/native/native.h"
#include "backends/native/channels.h"
#include "backends/native/direct_conv.h"
#include "backends/native/operand.h"

static const struct {
    const ebb_op *op;
    const ebb_native_kind *kind;
} kinds[] = {
    { &ebb_op_copy, &ebb_native_copy },
    { &ebb_op_iota, &ebb_native_iota },
    { &ebb_op_reduce_sum, &ebb_native_reduce },
    { &ebb_op_reduce_mean, &ebb_native_reduce },
    { &ebb_op_reduce_prod, &ebb_native_reduce },
    { &ebb_op_reduce_max, &ebb_native_reduce },
    { &ebb_op_reduce_min, &ebb_native_reduce },
    { &ebb_op_norm_l1, &ebb_native_reduce },
    { &ebb_op_norm_l2, &ebb_native_reduce },
    { &ebb_op_logsumexp, &ebb_native_reduce },
    { &ebb_op_variance, &ebb_native_reduce },
    { &ebb_op_reduce_sum, &ebb_native_fold },
    { &ebb_op_reduce_prod, &ebb_native_fold },
    { &ebb_op_reduce_max, &ebb_native_fold },
    { &ebb_op_reduce_min, &ebb_native_fold },
    { &ebb_op_reduce_any, &ebb_native_fold },
    { &ebb_op_reduce_all, &ebb_native_fold },
    { &ebb_op_cumsum, &ebb_native_cumsum },
    { &ebb_op_argmax, &ebb_native_argmax },
    { &ebb_op_argmin, &ebb_native_argmax },
    { &ebb_op_matmul, &ebb_native_matmul },
    { &ebb_op_softmax, &ebb_native_softmax },
    { &ebb_op_log_softmax, &ebb_native_softmax },
    { &ebb_op_softmax_cross_entropy, &ebb_native_cross_entropy },
    { &ebb_op_weighted_softmax_cross_entropy, &ebb_native_cross_entropy },
    { &ebb_op_attention, &ebb_native_attention },
    { &ebb_op_attention_grad, &ebb_native_attention },
    { &ebb_op_layer_norm, &ebb_native_norm },
    { &ebb_op_layer_norm_grad, &ebb_native_norm },
    { &ebb_op_rms_norm, &ebb_native_norm },
    { &ebb_op_rms_norm_grad, &ebb_native_norm },
    { &ebb_op_batch_norm, &ebb_native_batch_norm },
    { &ebb_op_batch_norm_inference, &ebb_native_batch_norm },
    { &ebb_op_batch_norm_grad, &ebb_native_batch_norm },
    { &ebb_op_batch_norm_epilogue, &ebb_native_batch_norm },
    { &ebb_op_batch_norm_inference_epilogue, &ebb_native_batch_norm },
    { &ebb_op_batch_norm_relu_grad, &ebb_native_batch_norm },
    { &ebb_op_conv, &ebb_native_direct_conv },
    { &ebb_op_conv, &ebb_native_point_conv },
    { &ebb_op_conv, &ebb_native_conv },
    { &ebb_op_conv_epilogue, &ebb_native_direct_conv },
    { &ebb_op_conv_input_grad, &ebb_native_point_conv },
    { &ebb_op_conv_input_grad, &ebb_native_conv },
    { &ebb_op_conv_weight_grad, &ebb_native_direct_weight_grad },
    { &ebb_op_conv_weight_bias_grad, &ebb_native_direct_weight_grad },
    { &ebb_op_conv_weight_grad, &ebb_native_lane_weight_grad },
    { &ebb_op_conv_weight_bias_grad, &ebb_native_lane_weight_grad },
    { &ebb_op_conv_weight_grad, &ebb_native_conv },
    { &ebb_op_conv_weight_bias_grad, &ebb_native_conv },
    { &ebb_op_im2col, &ebb_native_im2col },
    { &ebb_op_col2im, &ebb_native_im2col },
    { &ebb_op_max_pool, &ebb_native_pool },
    { &ebb_op_max_pool_grad, &ebb_native_pool },
    { &ebb_op_max_pool_gather, &ebb_native_pool_gather },
    { &ebb_op_avg_pool, &ebb_native_pool },
    { &ebb_op_pooled_conv_weight_grad, &ebb_native_lane_weight_grad },
    { &ebb_op_pooled_conv_weight_grad, &ebb_native_pooled_conv },
    { &ebb_op_pooled_conv_input_grad, &ebb_native_pooled_conv },
    { &ebb_op_conv_max_pool, &ebb_native_conv_max_pool },
    { &ebb_op_avg_pool_grad, &ebb_native_pool },
    { &ebb_op_lrn, &ebb_native_lrn },
    { &ebb_op_lrn_grad, &ebb_native_lrn },
    { &ebb_op_resize2d, &ebb_native_resize },
    { &ebb_op_resize2d_adjoint, &ebb_native_resize },
    { &ebb_op_concat, &ebb_native_concat },
    { &ebb_op_pad, &ebb_native_spread },
    { &ebb_op_pad_grad, &ebb_native_pad_grad },
    { &ebb_op_slice_grad, &ebb_native_spread },
    { &ebb_op_one_hot, &ebb_native_one_hot },
    { &ebb_op_gather, &ebb_native_gather },
    { &ebb_op_gather_along_axis, &ebb_native_gather },
    { &ebb_op_scatter, &ebb_native_scatter },
    { &ebb_op_scatter_add, &ebb_native_scatter },
    { &ebb_op_scatter_along_axis, &ebb_native_scatter },
    { &ebb_op_scatter_add_along_axis, &ebb_native_scatter },
    { &ebb_op_top_k, &ebb_native_top_k },
    { &ebb_op_random_uniform, &ebb_native_random },
    { &ebb_op_random_normal, &ebb_native_random },
};

/* The first kind that takes the region; an op may have one for floats and one for integers. */
static const ebb_native_kind *find_kind(const ebb_region *region, int *score)
{
    const ebb_op *op = region->op;
    const ebb_native_kind *kind = NULL;
    *score = EBB_SCORE_NONE;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && *score == EBB_SCORE_NONE; i++)
        if (kinds[i].op == op) {
            kind = kinds[i].kind;
            *score = kind->score(region);
        }
    if (kind)
        return kind;
    if (ebb_op_is_fused(op))
        kind = &ebb_native_fused;
    else if (ebb_op_is_tile_program(op))
        kind = &ebb_native_tile_program;
    else if (ebb_native_is_map(op))
        kind = &ebb_native_map;
    else if ((op->traits & EBB_TRAIT_VIEW) && op->view)
        kind = &ebb_native_view;
    if (kind)
        *score = kind->score(region);
    return kind;
}

static int score_region(const ebb_backend *backend, const ebb_region *region)
{
    (void)backend;
    int score;
    (void)find_kind(region, &score);
    return score;
}

static ebb_status compile_region(const ebb_backend *backend, const ebb_region *region,
                                 const ebb_compile_env *env, ebb_kernel *kernel)
{
    int score;
    const ebb_native_kind *kind = find_kind(region, &score);
    if (score == EBB_SCORE_NONE)
        return ebb_fail(env->error, EBB_UNSUPPORTED, "%s: no native kernel for this region",
                        region->op->name);
    kernel->never_fails = !(region->op->traits & EBB_TRAIT_FALLIBLE);
    const ebb_native_env native = { *env, backend->user ? backend->user : ebb_vector_isa_here() };
    return kind->compile(region, &native.env, kernel);
}

static bool kind_takes_blocks(const ebb_native_kind *kind)
{
    return kind == &ebb_native_pool || kind == &ebb_native_batch_norm ||
           kind == &ebb_native_direct_conv || kind == &ebb_native_direct_weight_grad ||
           kind == &ebb_native_point_conv;
}

static bool wish_layouts(const ebb_backend *backend, const ebb_region *region, ebb_layout *inputs,
                         ebb_layout *results)
{
    (void)backend;
    if (region->op == &ebb_op_conv || region->op == &ebb_op_conv_epilogue)
        return ebb_native_direct_conv_wish(region, inputs, results) ||
               ebb_native_point_conv_wish(region, inputs, results);
    if (region->op == &ebb_op_conv_input_grad)
        return ebb_native_point_conv_wish(region, inputs, results);
    if (region->op == &ebb_op_conv_weight_grad || region->op == &ebb_op_conv_weight_bias_grad)
        return ebb_native_direct_weight_grad_wish(region, inputs, results);
    int score;
    const ebb_native_kind *kind = find_kind(region, &score);
    if (kind_takes_blocks(kind) && ebb_channels_wish_blocks(region, inputs, results))
        return true;
    if (kind == &ebb_native_fused)
        return ebb_native_fused_wish(region, inputs);
    if (kind == &ebb_native_attention)
        return ebb_native_attention_wish(region, results);
    if (kind == &ebb_native_pool)
        return ebb_native_pool_wish(region, inputs, results);
    if (kind == &ebb_native_pooled_conv)
        return ebb_native_pooled_conv_wish(region, inputs, results);
    if (kind == &ebb_native_spread)
        return ebb_native_spread_wish(region, results);
    if (kind == &ebb_native_conv_max_pool)
        return ebb_native_conv_max_pool_wish(region, results);
    if (kind == &ebb_native_batch_norm)
        return ebb_native_batch_norm_wish(region, inputs, results);
    return (kind == &ebb_native_lrn || kind == &ebb_native_resize || kind == &ebb_native_concat) &&
           ebb_channels_wish(region, inputs, results);
}

static bool takes_blocks(const ebb_backend *backend, const ebb_op *op)
{
    (void)backend;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].op == op && kind_takes_blocks(kinds[i].kind))
            return true;
    return false;
}

static bool home_layout(const ebb_backend *backend, const ebb_region *region, int input,
                        ebb_layout *layout)
{
    (void)backend;
    return (region->op == &ebb_op_conv || region->op == &ebb_op_conv_epilogue) &&
           (ebb_native_direct_conv_home(region, input, layout) ||
            ebb_native_point_conv_home(region, input, layout));
}

/* A copy whose `user` is an ebb_vector_isa uses that one: for tests. */
const ebb_backend ebb_backend_native = {
    .name = "native",
    .score = score_region,
    .compile = compile_region,
    .layouts = wish_layouts,
    .takes_blocks = takes_blocks,
    .home_layout = home_layout,
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
