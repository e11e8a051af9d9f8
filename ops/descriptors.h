/* The list of all ops: one line an op. The registry, and every pointer to a descriptor, comes from
 * here. */
#ifndef OPS_DESCRIPTORS_H
#define OPS_DESCRIPTORS_H

#include <ebb/ops.h>

/* clang-format off */
#define EBB_OP_LIST(X)                                                                             \
    /* sources */                                                                                  \
    X(input) X(variable) X(constant) X(iota) X(random_uniform) X(random_normal)                    \
    /* element-wise */                                                                             \
    X(neg) X(abs) X(sign) X(square) X(exp) X(log) X(sqrt) X(sin) X(cos) X(tanh) X(sigmoid) X(relu) \
    X(floor) X(ceil) X(trunc) X(round)                                                             \
    X(reciprocal) X(rsqrt) X(cbrt) X(exp2) X(expm1) X(log2) X(log10) X(log1p)                      \
    X(tan) X(asin) X(acos) X(atan) X(sinh) X(cosh) X(asinh) X(acosh) X(atanh) X(erf) X(erfc)       \
    X(log_sigmoid) X(softplus) X(softsign) X(selu) X(silu) X(mish) X(gelu) X(gelu_tanh)            \
    X(hard_sigmoid) X(hard_swish) X(leaky_relu) X(elu) X(clip)                                     \
    X(logical_not) X(stop_gradient) X(cast) X(is_nan) X(is_inf) X(is_finite)                       \
    X(add) X(sub) X(mul) X(div) X(mod) X(pow) X(maximum) X(minimum)                                \
    X(atan2) X(hypot) X(log_add_exp)                                                               \
    X(equal) X(not_equal) X(less) X(less_equal) X(greater) X(greater_equal)                        \
    X(logical_and) X(logical_or) X(logical_xor) X(select)                                          \
    /* reductions */                                                                               \
    X(reduce_sum) X(reduce_mean) X(reduce_prod) X(reduce_max) X(reduce_min) X(argmax) X(argmin)    \
    X(reduce_any) X(reduce_all) X(logsumexp) X(norm_l1) X(norm_l2) X(variance) X(cumsum)           \
    /* linear algebra */                                                                           \
    X(matmul) X(matmul_epilogue)                                                                   \
    /* convolution and pooling */                                                                  \
    X(conv) X(conv_epilogue) X(conv_input_grad) X(conv_weight_grad) X(conv_weight_bias_grad)       \
    X(im2col) X(col2im)                                                                            \
    X(max_pool) X(max_pool_grad) X(max_pool_gather) X(avg_pool) X(avg_pool_grad)                   \
    X(conv_max_pool) X(pooled_conv_weight_grad) X(pooled_conv_input_grad)                                           \
    /* shape */                                                                                    \
    X(reshape) X(transpose) X(broadcast_to) X(slice) X(slice_grad) X(concat) X(pad) X(pad_grad)    \
    /* index */                                                                                    \
    X(one_hot) X(gather) X(gather_along_axis) X(scatter) X(scatter_add) X(scatter_along_axis)      \
    X(scatter_add_along_axis) X(top_k)                                                             \
    /* library */                                                                                  \
    X(softmax) X(log_softmax) X(softmax_cross_entropy) X(weighted_softmax_cross_entropy)           \
    X(mse_loss) X(mae_loss) X(huber_loss) X(binary_cross_entropy) X(kl_divergence)                 \
    X(layer_norm) X(layer_norm_grad) X(rms_norm) X(rms_norm_grad)                                  \
    X(batch_norm) X(batch_norm_inference) X(batch_norm_grad) X(group_norm) X(lrn) X(lrn_grad)      \
    X(batch_norm_epilogue) X(batch_norm_inference_epilogue) X(batch_norm_relu_grad)                \
    X(resize2d) X(resize2d_adjoint)                                                                \
    X(attention) X(attention_grad) X(masked_attention) X(dropout)                                  \
    /* fused, by number of results */                                                              \
    X(fused) X(fused_2) X(fused_3) X(fused_4) X(fused_5) X(fused_6) X(fused_7) X(fused_8)          \
    X(tile_program) X(tile_program_2) X(tile_program_3) X(tile_program_4) X(tile_program_5)        \
    X(tile_program_6) X(tile_program_7) X(tile_program_8)
/* clang-format on */

#define EBB_DECLARE_OP(name) extern const ebb_op ebb_op_##name;
EBB_OP_LIST(EBB_DECLARE_OP)
#undef EBB_DECLARE_OP

/* Attribute structs that other rooms read. */
typedef struct ebb_input_attrs {
    const char *name; /* full name */
    ebb_type type;
} ebb_input_attrs;
typedef struct ebb_variable_attrs {
    const char *name; /* full name */
    ebb_type type;
    int init; /* ebb_init_kind */
    double a, b;
    int64_t seed;
} ebb_variable_attrs;
typedef struct ebb_constant_attrs {
    ebb_type type;
    const void *data; /* dense */
} ebb_constant_attrs;
typedef struct ebb_iota_attrs {
    ebb_type type;
    int64_t axis;
} ebb_iota_attrs;
typedef struct ebb_shape_attrs { /* reshape, broadcast_to */
    ebb_shape shape;
} ebb_shape_attrs;
typedef struct ebb_transpose_attrs {
    ebb_axes axes; /* one per dimension */
} ebb_transpose_attrs;
typedef struct ebb_slice_attrs {
    ebb_ints start, stop, step; /* of the leading dimensions; step: none: 1 */
} ebb_slice_attrs;
typedef struct ebb_slice_grad_attrs {
    ebb_slice_attrs slice;
    ebb_shape shape; /* of what was sliced */
} ebb_slice_grad_attrs;
typedef struct ebb_pad_attrs { /* pad, pad_grad */
    ebb_ints before, after;    /* one per dimension */
    int mode;                  /* ebb_pad_mode */
    double value;
} ebb_pad_attrs;
typedef struct ebb_axis_attrs { /* softmax, argmax, concat, gather and the like */
    int64_t axis;
} ebb_axis_attrs;
typedef struct ebb_one_hot_attrs {
    int64_t depth;
    ebb_dtype dtype;
} ebb_one_hot_attrs;
typedef struct ebb_cast_attrs {
    ebb_dtype dtype;
} ebb_cast_attrs;
typedef struct ebb_fused_attrs { /* fused, fused_2 .., tile_program .. */
    const ebb_program *program;
} ebb_fused_attrs;

#define EBB_MAX_PROGRAM_VALUES (EBB_MAX_PROGRAM_INPUTS + EBB_MAX_INSTRUCTIONS)
/* fused of so many results, 1..EBB_MAX_RESULTS. */
const ebb_op *ebb_fused_op(int n_results);
static inline bool ebb_op_is_fused(const ebb_op *op)
{
    return op->infer == ebb_op_fused.infer;
}
/* tile_program of so many results, 1..EBB_MAX_RESULTS. */
const ebb_op *ebb_tile_program_op(int n_results);
static inline bool ebb_op_is_tile_program(const ebb_op *op)
{
    return op->infer == ebb_op_tile_program.infer;
}
/* The attributes of both are ebb_fused_attrs. */
static inline bool ebb_op_has_program(const ebb_op *op)
{
    return ebb_op_is_fused(op) || ebb_op_is_tile_program(op);
}
/* The shape of a tile_program's elements: that of its first input that is no scalar, or of its
 * random numbers. */
ebb_shape ebb_tile_program_shape(const ebb_program *program, const ebb_type *const *inputs);
/* Dtypes of all values of a program that infer took: those of the inputs stand in the first ones.
 */
void ebb_program_dtypes(const ebb_program *program, ebb_dtype *dtypes);

#endif
