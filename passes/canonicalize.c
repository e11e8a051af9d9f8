/* Canonicalize: one form for things that can be said in several ways, so that other rules, and
 * sharing, see them. */
#define EBB_NO_LOCATIONS
#include "passes/constants.h"
#include "passes/rules.h"

#include "passes/pattern.h"

static bool is_constant(ebb_node node)
{
    return ebb_constant_behind(node).id != 0;
}

/* ---- order of inputs ---- */

static bool is_out_of_order(const ebb_match *match)
{
    if (match->n_inputs != 2)
        return false;
    ebb_node a = match->inputs[0], b = match->inputs[1];
    bool a_constant = is_constant(a), b_constant = is_constant(b);
    return a_constant != b_constant ? a_constant : a.id > b.id;
}

static ebb_node swap_inputs(const ebb_match *match)
{
    ebb_node inputs[2] = { match->inputs[1], match->inputs[0] };
    return ebb_emit(match->graph, match->op, inputs, 2, match->attrs, NULL);
}

static bool b_is_no_constant(const ebb_match *match)
{
    return !is_constant(match->operands[1]);
}

/* ---- signs ---- */

/* -c, as a constant. */
static ebb_node negate(const ebb_match *match, ebb_node c)
{
    return ebb_fold_op(match->graph, &ebb_op_neg, NULL, ebb_node_type(c), &c, 1);
}

static ebb_node build_add_negated(const ebb_match *match)
{
    return ebb_add(match->operands[0], negate(match, match->operands[1]));
}

static ebb_node build_mul_negated(const ebb_match *match)
{
    return ebb_mul(match->operands[0], negate(match, match->operands[1]));
}

static ebb_node build_div_negated(const ebb_match *match)
{
    return ebb_div(match->operands[0], negate(match, match->operands[1]));
}

static ebb_node build_negated_div(const ebb_match *match)
{
    return ebb_div(negate(match, match->operands[1]), match->operands[0]);
}

/* ---- matmul ---- */

/* True if a transpose swaps the last two dimensions and moves no other. */
static bool axes_swap_last_two(const ebb_axes *axes, int rank)
{
    for (int i = 0; i < rank; i++) {
        int expected = i == rank - 2 ? rank - 1 : i == rank - 1 ? rank - 2 : i;
        int axis = axes->n == 0 ? rank - 1 - i : axes->axes[i] + (axes->axes[i] < 0 ? rank : 0);
        if (axis != expected)
            return false;
    }
    return rank >= 2;
}

static bool swaps_last_two(ebb_node node)
{
    const ebb_transpose_attrs *attrs = ebb_node_attrs(node);
    return ebb_node_op(node) == &ebb_op_transpose &&
           axes_swap_last_two(&attrs->axes, ebb_node_type(node)->shape.rank);
}

static bool an_input_is_transposed(const ebb_match *match)
{
    return swaps_last_two(match->inputs[0]) || swaps_last_two(match->inputs[1]);
}

static ebb_node build_transposing_matmul(const ebb_match *match)
{
    ebb_matmul_attrs attrs = *(const ebb_matmul_attrs *)match->attrs;
    ebb_node a = match->inputs[0], b = match->inputs[1];
    if (swaps_last_two(a)) {
        a = ebb_node_input(a, 0);
        attrs.transpose_a = !attrs.transpose_a;
    }
    if (swaps_last_two(b)) {
        b = ebb_node_input(b, 0);
        attrs.transpose_b = !attrs.transpose_b;
    }
    return ebb_matmul_with(a, b, attrs);
}

static bool is_transposed_matmul(const ebb_match *match)
{
    const ebb_transpose_attrs *attrs = match->attrs;
    return ebb_match_is_only_use(match, match->inputs[0]) &&
           axes_swap_last_two(&attrs->axes, match->type->shape.rank);
}

/* (a b)^T = b^T a^T; the products are summed in the same order. */
static ebb_node build_transposed_matmul(const ebb_match *match)
{
    const ebb_matmul_attrs *attrs = ebb_node_attrs(match->inputs[0]);
    return ebb_matmul_with(match->operands[1], match->operands[0],
                           (ebb_matmul_attrs){ .transpose_a = !attrs->transpose_b,
                                               .transpose_b = !attrs->transpose_a });
}

/* clang-format off */
static const ebb_rule rules[] = {
    RULE_TRAIT("order of inputs", EBB_TRAIT_COMMUTATIVE, "f(a, b)", "f(b, a)", ALWAYS,
               is_out_of_order, swap_inputs,
               "f commutative; a constant and b not, or else a made after b"),
    RULE_IF("c<x", OP(less, CONST_A, B), OP(greater, B, A), ALWAYS, b_is_no_constant,
            "b not constant"),
    RULE_IF("c<=x", OP(less_equal, CONST_A, B), OP(greater_equal, B, A), ALWAYS, b_is_no_constant,
            "b not constant"),
    RULE_IF("c>x", OP(greater, CONST_A, B), OP(less, B, A), ALWAYS, b_is_no_constant,
            "b not constant"),
    RULE_IF("c>=x", OP(greater_equal, CONST_A, B), OP(less_equal, B, A), ALWAYS, b_is_no_constant,
            "b not constant"),

    RULE_BUILD("x-c", OP(sub, A, SPLAT_B), "add(a, -b)", ALWAYS, NULL, build_add_negated, NULL),
    RULE("(-0)-x",    OP(sub, SPLAT(-0.0), A),       OP(neg, A),           FLOAT),
    RULE("0-x",       OP(sub, SPLAT(0), A),          OP(neg, A),           INTEGER | FAST),
    RULE("x*(-1)",    OP(mul, A, SPLAT(-1)),         OP(neg, A),           ALWAYS),
    RULE("x/(-1)",    OP(div, A, SPLAT(-1)),         OP(neg, A),           ALWAYS),
    RULE("(-x)*(-y)", OP(mul, OP(neg, A), OP(neg, B)), OP(mul, A, B),      ALWAYS),
    RULE("(-x)/(-y)", OP(div, OP(neg, A), OP(neg, B)), OP(div, A, B),      FLOAT),
    RULE_BUILD("(-x)*c", OP(mul, OP(neg, A), SPLAT_B), "mul(a, -b)", ALWAYS, NULL,
               build_mul_negated, NULL),
    RULE_BUILD("-(x*c)", OP(neg, OP(mul, A, SPLAT_B)), "mul(a, -b)", ALWAYS, NULL,
               build_mul_negated, NULL),
    RULE_BUILD("(-x)/c", OP(div, OP(neg, A), SPLAT_B), "div(a, -b)", FLOAT, NULL, build_div_negated,
               NULL),
    RULE_BUILD("-(x/c)", OP(neg, OP(div, A, SPLAT_B)), "div(a, -b)", FLOAT, NULL, build_div_negated,
               NULL),
    RULE_BUILD("c/(-x)", OP(div, SPLAT_B, OP(neg, A)), "div(-b, a)", FLOAT, NULL, build_negated_div,
               NULL),
    RULE_BUILD("-(c/x)", OP(neg, OP(div, SPLAT_B, A)), "div(-b, a)", FLOAT, NULL, build_negated_div,
               NULL),
    RULE("(-x)^2",    OP(square, OP(neg, A)),        OP(square, A),        ALWAYS),
    RULE("|-x|",      OP(abs, OP(neg, A)),           OP(abs, A),           FLOAT),
    RULE("cos(-x)",   OP(cos, OP(neg, A)),           OP(cos, A),           FLOAT),
    RULE("-(x-y)",    OP(neg, OP(sub, A, B)),        OP(sub, B, A),        INTEGER | FAST),

    RULE_BUILD("matmul of transposes", OP(matmul, A, B),
               "matmul with transpose_a, transpose_b turned over", ALWAYS, an_input_is_transposed,
               build_transposing_matmul, "a or b swaps its last two dimensions"),
    RULE_BUILD("transpose of matmul", OP(transpose, OP(matmul, A, B)),
               "matmul(b, a), both transposed", ALWAYS, is_transposed_matmul,
               build_transposed_matmul,
               "swaps the last two dimensions, and nothing else uses the product"),
};
/* clang-format on */

const ebb_rule_set ebb_rules_canonicalize = RULE_SET("canonicalize", rules);
