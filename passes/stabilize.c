/* Stabilize: the same function computed so that it neither overflows nor cancels. Results differ in
 * rounding, never for the worse: these rules are always on. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "passes/rules.h"

#include <math.h>

#include "passes/pattern.h"

static const ebb_shape *shape_of(ebb_node node)
{
    return &ebb_node_type(node)->shape;
}

static int softmax_axis(const void *attrs, int rank)
{
    return ebb_axis_of(((const ebb_axis_attrs *)attrs)->axis, rank);
}

/* ---- log(softmax(x)) ---- */

static ebb_node build_log_softmax(const ebb_match *match)
{
    return ebb_log_softmax(match->operands[0],
                           (int)((const ebb_axis_attrs *)ebb_node_attrs(match->inputs[0]))->axis);
}

/* ---- softmax written out ---- */

/* If `node` is broadcast_to of a reduction `op` of `x` over one axis, laid along x again: that
 * axis; else -1. */
static int spread_reduction_axis(ebb_node node, const ebb_op *op, ebb_node x)
{
    const ebb_shape *shape = shape_of(x);
    if (ebb_node_op(node) != &ebb_op_broadcast_to || !ebb_shape_equal(shape_of(node), shape))
        return -1;
    ebb_node spread = ebb_node_input(node, 0), reduction = spread;
    if (ebb_node_op(reduction) == &ebb_op_reshape)
        reduction = ebb_node_input(reduction, 0);
    if (ebb_node_op(reduction) != op || ebb_node_input(reduction, 0).id != x.id)
        return -1;
    unsigned mask =
        ebb_axes_mask(&((const ebb_reduce_attrs *)ebb_node_attrs(reduction))->axes, shape->rank);
    int axis = 0;
    while (axis < shape->rank && mask != 1u << axis)
        axis++;
    if (axis == shape->rank)
        return -1;
    /* what is broadcast must lie along x: x's dimensions with 1 at the axis, leading ones left out
     * or not */
    const ebb_shape *s = shape_of(spread);
    for (int i = 0; i < shape->rank; i++) {
        int at = i - (shape->rank - s->rank);
        int64_t expected = i == axis ? 1 : shape->dims[i];
        if ((at < 0 ? 1 : s->dims[at]) != expected)
            return -1;
    }
    return axis;
}

/* exp(a) / sum(exp(a)) */
static bool divides_by_sum(const ebb_match *match)
{
    return spread_reduction_axis(match->inputs[1], &ebb_op_reduce_sum, match->inputs[0]) >= 0;
}

static ebb_node build_softmax(const ebb_match *match)
{
    int axis = spread_reduction_axis(match->inputs[1], &ebb_op_reduce_sum, match->inputs[0]);
    return ebb_softmax(match->operands[0], axis);
}

/* softmax(a - max(a)) over the axis of the maximum, or log_softmax */
static bool subtracts_max(const ebb_match *match)
{
    int axis = spread_reduction_axis(match->operands[1], &ebb_op_reduce_max, match->operands[0]);
    return axis >= 0 && axis == softmax_axis(match->attrs, match->type->shape.rank);
}

static ebb_node build_on_a(const ebb_match *match)
{
    return ebb_emit(match->graph, match->op, match->operands, 1, match->attrs, NULL);
}

/* ---- log(sum(exp(x))) ---- */

/* y - m, m the maximum of y broadcast or what build_log_sum_exp makes of it: it cannot overflow. */
static bool is_shifted(ebb_node x)
{
    ebb_node m = ebb_node_input(x, 1);
    if (ebb_node_op(x) != &ebb_op_sub || ebb_node_op(m) != &ebb_op_broadcast_to)
        return false;
    m = ebb_node_input(m, 0);
    if (ebb_node_op(m) == &ebb_op_reshape)
        m = ebb_node_input(m, 0);
    if (ebb_node_op(m) == &ebb_op_select)
        m = ebb_node_input(m, 1);
    return ebb_node_op(m) == &ebb_op_reduce_max &&
           ebb_node_input(m, 0).id == ebb_node_input(x, 0).id;
}

static bool terms_can_overflow(const ebb_match *match)
{
    ebb_node terms = ebb_node_input(match->inputs[0], 0);
    return ebb_match_is_only_use(match, terms) && !is_shifted(match->operands[0]);
}

/* m + log(sum(exp(x - m))), m the maximum, or 0 where that is infinite or NaN. */
static ebb_node build_log_sum_exp(const ebb_match *match)
{
    ebb_node x = match->operands[0];
    const ebb_reduce_attrs *attrs = ebb_node_attrs(match->inputs[0]);
    ebb_node m = ebb_reduce_max(x, attrs->axes, true);
    ebb_node finite = ebb_less(ebb_abs(m), ebb_full_like(m, (double)INFINITY));
    m = ebb_select(finite, m, ebb_full_like(m, 0));
    ebb_node terms = ebb_exp(ebb_sub(x, ebb_broadcast_to(m, *shape_of(x))));
    ebb_node sum = ebb_reduce_sum(terms, attrs->axes, attrs->keep);
    return ebb_add(ebb_reshape(m, match->type->shape), ebb_log(sum));
}

/* ---- sigmoids ---- */

static bool sigmoid_is_only_used_here(const ebb_match *match)
{
    return ebb_match_is_only_use(match, match->inputs[1]);
}

/* log(1+exp(-|a|)): exp does not overflow. */
static ebb_node emit_log_1_exp_abs(ebb_node a)
{
    ebb_node e = ebb_exp(ebb_neg(ebb_abs(a)));
    return ebb_log(ebb_add(e, ebb_full_like(a, 1)));
}

static ebb_node build_log_sigmoid(const ebb_match *match)
{
    ebb_node a = match->operands[0];
    return ebb_sub(ebb_minimum(a, ebb_full_like(a, 0)), emit_log_1_exp_abs(a));
}

static ebb_node build_softplus(const ebb_match *match)
{
    ebb_node a = match->operands[0];
    return ebb_add(ebb_relu(a), emit_log_1_exp_abs(a));
}

/* exp cannot overflow where its argument is -|x|: what build_softplus leaves. */
static bool a_can_be_large(const ebb_match *match)
{
    ebb_node a = match->operands[0];
    return ebb_node_op(a) != &ebb_op_neg || ebb_node_op(ebb_node_input(a, 0)) != &ebb_op_abs;
}

/* ---- where the extremum is ---- */

/* True for functions that grow strictly. In floats they grow at least weakly: f(x) < f(y) only if
 * x < y, so an extremum of x is one of f(x) too. Where rounding makes several elements of f(x)
 * equal to it, argmax of f(x) takes the first of them, argmax of x the one that really is. */
static bool is_increasing(const ebb_op *op)
{
    return op == &ebb_op_softmax || op == &ebb_op_log_softmax || op == &ebb_op_exp ||
           op == &ebb_op_expm1 || op == &ebb_op_sigmoid || op == &ebb_op_log_sigmoid ||
           op == &ebb_op_softplus || op == &ebb_op_tanh || op == &ebb_op_atan || op == &ebb_op_erf;
}

/* softmax subtracts the same from all and divides all by the same along its axis only. */
static bool argument_is_increasing(const ebb_match *match)
{
    if (match->op != &ebb_op_argmax && match->op != &ebb_op_argmin)
        return false;
    const ebb_op *op = ebb_node_op(match->inputs[0]);
    const int rank = shape_of(match->inputs[0])->rank;
    const bool has_axis = op == &ebb_op_softmax || op == &ebb_op_log_softmax;
    return is_increasing(op) &&
           (!has_axis || softmax_axis(ebb_node_attrs(match->inputs[0]), rank) ==
                             softmax_axis(match->attrs, rank));
}

static ebb_node build_on_argument(const ebb_match *match)
{
    const ebb_node x = ebb_node_input(match->inputs[0], 0);
    return ebb_emit(match->graph, match->op, &x, 1, match->attrs, NULL);
}

/* clang-format off */
#define EXP_A OP(exp, A)
#define EXP_MINUS_A OP(exp, OP(neg, A))
static const ebb_rule rules[] = {
    RULE_BUILD("log(softmax x)", OP(log, OP(softmax, A)), "log_softmax(a)", STABLE, NULL,
               build_log_softmax, NULL),
    RULE_BUILD("exp(x)/sum(exp x)", OP(div, OP(exp, A), B), "softmax(a)", STABLE, divides_by_sum,
               build_softmax, "b is the sum of exp(a) over one axis, broadcast along it"),
    RULE_BUILD("softmax(x-max x)", OP(softmax, OP(sub, A, B)), "softmax(a)", STABLE, subtracts_max,
               build_on_a, "b is the maximum of a over the axis, broadcast along it"),
    RULE_BUILD("log_softmax(x-max x)", OP(log_softmax, OP(sub, A, B)), "log_softmax(a)", STABLE,
               subtracts_max, build_on_a,
               "b is the maximum of a over the axis, broadcast along it"),
    RULE_BUILD("log(sum(exp x))", OP(log, OP(reduce_sum, OP(exp, A))),
               "m + log(sum(exp(a-m))), m = max(a) or 0", STABLE, terms_can_overflow,
               build_log_sum_exp, "nothing else uses exp(a); a is not y - max(y) already"),

    RULE_IF("1-sigmoid x", OP(sub, SPLAT(1), OP(sigmoid, A)), OP(sigmoid, OP(neg, A)), STABLE,
            sigmoid_is_only_used_here, "nothing else uses the sigmoid"),
    RULE_BUILD("log(sigmoid x)", OP(log, OP(sigmoid, A)), "min(a,0) - log(1+exp(-|a|))", STABLE,
               NULL, build_log_sigmoid, NULL),
    RULE_BUILD("log(1+exp x)", OP(log, OP(add, EXP_A, SPLAT(1))), "relu(a) + log(1+exp(-|a|))",
               STABLE, a_can_be_large, build_softplus, "a is not -|x|"),
    RULE("exp(x)/(1+exp x)", OP(div, EXP_A, OP(add, EXP_A, SPLAT(1))), OP(sigmoid, A), STABLE),
    RULE("y/(1+exp x)*exp x", OP(mul, OP(div, B, OP(add, EXP_A, SPLAT(1))), EXP_A),
         OP(mul, B, OP(sigmoid, A)), STABLE),
    RULE("(e^x-e^-x)/(e^x+e^-x)", OP(div, OP(sub, EXP_A, EXP_MINUS_A), OP(add, EXP_A, EXP_MINUS_A)),
         OP(tanh, A), STABLE),

    RULE_TRAIT("argmax(f(x))", 0, "argmax(f(a)), argmin(f(a))", "argmax(a), argmin(a)", STABLE,
               argument_is_increasing, build_on_argument,
               "f is softmax or log_softmax over the same axis, or exp, expm1, sigmoid, "
               "log_sigmoid, softplus, tanh, atan or erf"),
};
/* clang-format on */

const ebb_rule_set ebb_rules_stabilize = RULE_SET("stabilize", rules);
