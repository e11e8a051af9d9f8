/* Freeze: batch normalization with given statistics is an affine function a channel; behind a
 * convolution or a matrix product it goes into weights and bias. The new weights are expressions of
 * the old ones: the rules pay only where those are computed once, which ebb_model_freeze sees to.
 */
#define EBB_NO_LOCATIONS
#include "ops/conv.h"
#include "passes/rules.h"

#include "passes/pattern.h"

enum { X, SCALE, SHIFT, MEAN, VARIANCE };

static bool is_batch_norm(const ebb_match *match)
{
    return match->op == &ebb_op_batch_norm_inference;
}

/* True if batch_norm is the only reader of an `op`. */
static bool reads_only(const ebb_match *match, const ebb_op *op)
{
    return is_batch_norm(match) && ebb_node_op(match->inputs[X]) == op &&
           ebb_match_is_only_use(match, match->inputs[X]);
}

/* scale / sqrt(variance + epsilon), [channels] */
static ebb_node emit_factor(const ebb_match *match)
{
    const ebb_batch_norm_attrs *attrs = match->attrs;
    const ebb_node v = match->inputs[VARIANCE];
    const ebb_node root = ebb_sqrt(ebb_add(v, ebb_full_like(v, attrs->epsilon)));
    return ebb_div(match->inputs[SCALE], root);
}

/* What stands behind the factor once it is in the weights: (bias - mean) factor + shift. */
static ebb_node emit_bias(const ebb_match *match, ebb_node bias, ebb_node factor)
{
    const ebb_node mean = match->inputs[MEAN];
    const ebb_node start = bias.id ? ebb_sub(bias, mean) : ebb_neg(mean);
    return ebb_add(ebb_mul(start, factor), match->inputs[SHIFT]);
}

/* A shape of `rank` with the channels at `axis` and 1 elsewhere. */
static ebb_shape channels_at(ebb_node channels, int rank, int axis)
{
    ebb_shape shape = { .rank = rank };
    for (int i = 0; i < rank; i++)
        shape.dims[i] = i == axis ? ebb_node_type(channels)->shape.dims[0] : 1;
    return shape;
}

static ebb_node scale_weights(ebb_node w, ebb_node factor, int axis)
{
    return ebb_mul(w, ebb_reshape(factor, channels_at(factor, ebb_node_type(w)->shape.rank, axis)));
}

static ebb_node add_bias(ebb_node y, ebb_node bias)
{
    return ebb_add(y, ebb_reshape(bias, channels_at(bias, ebb_node_type(y)->shape.rank, 1)));
}

/* ---- behind a convolution: w [filters, ...] ---- */

static bool follows_conv(const ebb_match *match)
{
    return reads_only(match, &ebb_op_conv);
}

static ebb_node build_conv(const ebb_match *match)
{
    const ebb_node y = match->inputs[X], factor = emit_factor(match);
    const ebb_node bias = ebb_node_n_inputs(y) > 2 ? ebb_node_input(y, 2) : EBB_NONE;
    const ebb_node inputs[3] = { ebb_node_input(y, 0),
                                 scale_weights(ebb_node_input(y, 1), factor, 0),
                                 emit_bias(match, bias, factor) };
    return ebb_emit(match->graph, &ebb_op_conv, inputs, 3, ebb_node_attrs(y), NULL);
}

/* ---- behind a transposed one: w [channels, filters, ...] ---- */

static bool follows_transposed(const ebb_match *match)
{
    const ebb_conv_grad_attrs *attrs = ebb_node_attrs(match->inputs[X]);
    return reads_only(match, &ebb_op_conv_input_grad) && attrs->conv.groups <= 1;
}

static ebb_node build_transposed(const ebb_match *match)
{
    const ebb_node y = match->inputs[X], factor = emit_factor(match);
    const ebb_node inputs[2] = { ebb_node_input(y, 0),
                                 scale_weights(ebb_node_input(y, 1), factor, 1) };
    return add_bias(
        ebb_emit(match->graph, &ebb_op_conv_input_grad, inputs, 2, ebb_node_attrs(y), NULL),
        emit_bias(match, EBB_NONE, factor));
}

/* ---- behind a matrix product ---- */

static bool follows_matmul(const ebb_match *match)
{
    return reads_only(match, &ebb_op_matmul) && match->type->shape.rank == 2 &&
           ebb_node_type(ebb_node_input(match->inputs[X], 1))->shape.rank == 2;
}

static ebb_node build_matmul(const ebb_match *match)
{
    const ebb_node y = match->inputs[X], factor = emit_factor(match);
    const ebb_matmul_attrs attrs = *(const ebb_matmul_attrs *)ebb_node_attrs(y);
    const ebb_node w = scale_weights(ebb_node_input(y, 1), factor, attrs.transpose_b ? 0 : 1);
    return add_bias(ebb_matmul_with(ebb_node_input(y, 0), w, attrs),
                    emit_bias(match, EBB_NONE, factor));
}

/* ---- behind a bias: the mean takes it over ---- */

/* [channels], spread over all of x; or none. */
static ebb_node bias_behind(const ebb_match *match, ebb_node spread)
{
    if (ebb_node_op(spread) != &ebb_op_broadcast_to)
        return EBB_NONE;
    const ebb_node bias = ebb_node_input(spread, 0);
    const ebb_shape *shape = &ebb_node_type(bias)->shape, *x = &match->type->shape;
    for (int i = 0; i < x->rank; i++) {
        const int at = i - (x->rank - shape->rank);
        if ((at < 0 ? 1 : shape->dims[at]) != (i == 1 ? x->dims[1] : 1))
            return EBB_NONE;
    }
    return bias;
}

static bool follows_bias(const ebb_match *match)
{
    if (!reads_only(match, &ebb_op_add))
        return false;
    const ebb_op *op = ebb_node_op(ebb_node_input(match->inputs[X], 0));
    return (op == &ebb_op_matmul || op == &ebb_op_conv_input_grad) &&
           bias_behind(match, ebb_node_input(match->inputs[X], 1)).id;
}

static ebb_node build_without_bias(const ebb_match *match)
{
    const ebb_node y = match->inputs[X], bias = bias_behind(match, ebb_node_input(y, 1));
    const ebb_shape channels = ebb_node_type(match->inputs[MEAN])->shape;
    const ebb_node mean = ebb_sub(match->inputs[MEAN], ebb_reshape(bias, channels));
    const ebb_node inputs[5] = { ebb_node_input(y, 0), match->inputs[SCALE], match->inputs[SHIFT],
                                 mean, match->inputs[VARIANCE] };
    return ebb_emit(match->graph, match->op, inputs, 5, match->attrs, NULL);
}

/* clang-format off */
#define BATCH_NORM(name, left, right, guard, build, condition)                                     \
    RULE_TRAIT(name, EBB_TRAIT_LIBRARY, left, right, STABLE, guard, build, condition)
static const ebb_rule rules[] = {
    BATCH_NORM("bn(conv)", "batch_norm_inference(conv(a, w, b), s, t, m, v)",
               "conv(a, w*f, (b-m)*f+t), f = s/sqrt(v+epsilon)", follows_conv, build_conv,
               "nothing else uses the convolution; b may be missing"),
    BATCH_NORM("bn(conv_input_grad)", "batch_norm_inference(conv_input_grad(a, w), s, t, m, v)",
               "add(conv_input_grad(a, w*f), t-m*f), f = s/sqrt(v+epsilon)", follows_transposed,
               build_transposed, "one group; nothing else uses the convolution"),
    BATCH_NORM("bn(matmul)", "batch_norm_inference(matmul(a, w), s, t, m, v)",
               "add(matmul(a, w*f), t-m*f), f = s/sqrt(v+epsilon)", follows_matmul, build_matmul,
               "matrices; nothing else uses the product"),
    BATCH_NORM("bn(x+b)", "batch_norm_inference(add(a, b), s, t, m, v)",
               "batch_norm_inference(a, s, t, m-b, v)", follows_bias, build_without_bias,
               "b is one value a channel, broadcast; a is a matmul or conv_input_grad; nothing "
               "else uses the sum"),
};
/* clang-format on */

const ebb_rule_set ebb_rules_freeze = RULE_SET("freeze", rules);
