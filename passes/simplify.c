/* Simplify: algebra, element by element. The right side is never more work than the left. */
#define EBB_NO_LOCATIONS
#include "passes/constants.h"
#include "passes/rules.h"

#include <float.h>
#include <math.h>

#include "passes/pattern.h"

static ebb_node keep_input(const ebb_match *match)
{
    return match->inputs[0];
}

static bool a_is_integer(const ebb_match *match)
{
    return ebb_dtype_is_integer(ebb_node_type(match->operands[0])->dtype);
}

/* Never below 0, and never -0; NaN at most. */
static bool a_is_nonnegative(const ebb_match *match)
{
    const ebb_op *op = ebb_node_op(match->operands[0]);
    return op == &ebb_op_exp || op == &ebb_op_sigmoid || op == &ebb_op_square ||
           op == &ebb_op_abs || op == &ebb_op_softmax || op == &ebb_op_relu;
}

/* 1 / (exp(..) + 1), one way round or the other. */
static bool exp_is_only_used_here(const ebb_match *match)
{
    ebb_node sum = match->inputs[1];
    int i = ebb_node_op(ebb_node_input(sum, 0)) == &ebb_op_exp ? 0 : 1;
    return ebb_match_is_only_use(match, ebb_node_input(sum, i));
}

/* ---- division by constants ---- */

/* 1/c where c is the splat b. False if it is zero, infinite, NaN or below the normal numbers. */
static bool find_reciprocal(const ebb_match *match, double *c, double *reciprocal)
{
    bool is_f32 = match->type->dtype == EBB_F32;
    if (!ebb_splat_value(match->operands[1], c))
        return false;
    *reciprocal = is_f32 ? (double)(1 / (float)*c) : 1 / *c;
    double size = fabs(*reciprocal);
    return size >= (is_f32 ? (double)FLT_MIN : DBL_MIN) &&
           size <= (is_f32 ? (double)FLT_MAX : DBL_MAX);
}

static bool b_is_power_of_two(const ebb_match *match)
{
    double c, reciprocal;
    int exponent;
    return find_reciprocal(match, &c, &reciprocal) && fabs(frexp(c, &exponent)) == 0.5;
}

static bool b_has_reciprocal(const ebb_match *match)
{
    double c, reciprocal;
    return find_reciprocal(match, &c, &reciprocal);
}

static ebb_node build_mul_reciprocal(const ebb_match *match)
{
    double c, reciprocal = 0;
    find_reciprocal(match, &c, &reciprocal);
    return ebb_mul(match->operands[0],
                   ebb_full(match->graph, match->type->dtype, match->type->shape, reciprocal));
}

/* ---- constants meet ---- */

static bool b_c_can_fold(const ebb_match *match)
{
    const ebb_op *op = match->op;
    return ebb_fold_is_possible(op, NULL, match->type, &match->operands[1], 2);
}

/* (a op b) op c => a op (b op c) */
static ebb_node build_reassociated(const ebb_match *match)
{
    ebb_node folded =
        ebb_fold_op(match->graph, match->op, NULL, match->type, &match->operands[1], 2);
    ebb_node inputs[2] = { match->operands[0], folded };
    return folded.id ? ebb_emit(match->graph, match->op, inputs, 2, NULL, NULL) : folded;
}

static int64_t matrix_elements(const ebb_shape *shape)
{
    return shape->rank == 2 ? ebb_shape_elements(shape) : INT64_MAX;
}

/* Two constant matrices side by side may become one if that is no more work. */
static bool matmul_can_fold(const ebb_match *match, ebb_node first, ebb_node second,
                            ebb_matmul_attrs attrs)
{
    const ebb_shape *p = &ebb_node_type(first)->shape, *q = &ebb_node_type(second)->shape;
    if (p->rank != 2 || q->rank != 2)
        return false;
    int64_t dims[2] = { p->dims[attrs.transpose_a], q->dims[!attrs.transpose_b] };
    ebb_type type = ebb_type_of(match->type->dtype, ebb_shape_of(2, dims));
    ebb_node inputs[2] = { first, second };
    return ebb_shape_elements(&type.shape) <= matrix_elements(p) + matrix_elements(q) &&
           ebb_fold_is_possible(&ebb_op_matmul, &attrs, &type, inputs, 2);
}

static ebb_node fold_matmul(const ebb_match *match, ebb_node first, ebb_node second,
                            ebb_matmul_attrs attrs)
{
    const ebb_shape *p = &ebb_node_type(first)->shape, *q = &ebb_node_type(second)->shape;
    int64_t dims[2] = { p->dims[attrs.transpose_a], q->dims[!attrs.transpose_b] };
    ebb_type type = ebb_type_of(match->type->dtype, ebb_shape_of(2, dims));
    return ebb_fold_op(match->graph, &ebb_op_matmul, &attrs, &type, (ebb_node[]){ first, second },
                       2);
}

/* (x b) c: b as the first product reads it, times c as the second does. */
static bool right_factors(const ebb_match *match, ebb_matmul_attrs *attrs, ebb_matmul_attrs *outer)
{
    const ebb_matmul_attrs *first = ebb_node_attrs(match->inputs[0]), *second = match->attrs;
    *attrs = (ebb_matmul_attrs){ first->transpose_b, second->transpose_b };
    *outer = (ebb_matmul_attrs){ first->transpose_a, false };
    return !second->transpose_a;
}

static bool right_factors_can_fold(const ebb_match *match)
{
    ebb_matmul_attrs attrs, outer;
    return right_factors(match, &attrs, &outer) &&
           matmul_can_fold(match, match->operands[1], match->operands[2], attrs);
}

static ebb_node build_right_factors(const ebb_match *match)
{
    ebb_matmul_attrs attrs, outer;
    right_factors(match, &attrs, &outer);
    ebb_node folded = fold_matmul(match, match->operands[1], match->operands[2], attrs);
    return folded.id ? ebb_matmul_with(match->operands[0], folded, outer) : folded;
}

/* c (b x): the same from the other side. */
static bool left_factors(const ebb_match *match, ebb_matmul_attrs *attrs, ebb_matmul_attrs *outer)
{
    const ebb_matmul_attrs *first = ebb_node_attrs(match->inputs[1]), *second = match->attrs;
    *attrs = (ebb_matmul_attrs){ second->transpose_a, first->transpose_a };
    *outer = (ebb_matmul_attrs){ false, first->transpose_b };
    return !second->transpose_b;
}

static bool left_factors_can_fold(const ebb_match *match)
{
    ebb_matmul_attrs attrs, outer;
    return left_factors(match, &attrs, &outer) &&
           matmul_can_fold(match, match->operands[2], match->operands[1], attrs);
}

static ebb_node build_left_factors(const ebb_match *match)
{
    ebb_matmul_attrs attrs, outer;
    left_factors(match, &attrs, &outer);
    ebb_node folded = fold_matmul(match, match->operands[2], match->operands[1], attrs);
    return folded.id ? ebb_matmul_with(folded, match->operands[0], outer) : folded;
}

/* ---- casts ---- */

static bool a_has_root_type(const ebb_match *match)
{
    return ebb_type_equal(ebb_node_type(match->operands[0]), match->type);
}

/* True if every value of `from` is a value of `to`. */
static bool cast_is_lossless(ebb_dtype from, ebb_dtype to)
{
    if (from == to || from == EBB_BOOL)
        return true;
    if (to == EBB_BOOL)
        return false;
    switch (from) {
    case EBB_U8:
        return true;
    case EBB_I32:
        return to == EBB_I64 || to == EBB_F64;
    case EBB_F32:
        return to == EBB_F64;
    default:
        return false;
    }
}

/* Integers wrap into smaller ones, but floats saturate: a detour over a float is not always the
 * direct way. */
static bool inner_cast_changes_nothing(const ebb_match *match)
{
    ebb_dtype from = ebb_node_type(match->operands[0])->dtype;
    ebb_dtype by = ebb_node_type(match->inputs[0])->dtype, to = match->type->dtype;
    bool saturates =
        ebb_dtype_is_integer(from) && ebb_dtype_is_float(by) && ebb_dtype_is_integer(to);
    return cast_is_lossless(from, by) && (!saturates || cast_is_lossless(from, to));
}

static ebb_node build_one_cast(const ebb_match *match)
{
    return ebb_cast(match->operands[0], match->type->dtype);
}

/* clang-format off */
static const ebb_rule rules[] = {
    /* neutral elements */
    RULE("x+(-0)",      OP(add, A, SPLAT(-0.0)),              A,                ALWAYS),
    /* -0 + 0 is 0 */
    RULE("x+0",         OP(add, A, SPLAT(0)),                 A,                INTEGER | FAST),
    RULE("x-0",         OP(sub, A, SPLAT(0)),                 A,                ALWAYS),
    RULE("x*1",         OP(mul, A, SPLAT(1)),                 A,                ALWAYS),
    RULE("x/1",         OP(div, A, SPLAT(1)),                 A,                ALWAYS),
    RULE("x^1",         OP(pow, A, SPLAT(1)),                 A,                ALWAYS),
    RULE("x*0",         OP(mul, A, SPLAT(0)),                 SPLAT(0),         INTEGER | FAST),
    RULE("0/x",         OP(div, SPLAT(0), A),                 SPLAT(0),         INTEGER | FAST),
    /* for NaN too: C17 F.10.4.4 */
    RULE("x^0",         OP(pow, A, SPLAT(0)),                 SPLAT(1),         ALWAYS),
    RULE("1^x",         OP(pow, SPLAT(1), A),                 SPLAT(1),         ALWAYS),

    /* signs */
    RULE("-(-x)",       OP(neg, OP(neg, A)),                  A,                ALWAYS),
    RULE("x+(-y)",      OP(add, A, OP(neg, B)),               OP(sub, A, B),    ALWAYS),
    RULE("x-(-y)",      OP(sub, A, OP(neg, B)),               OP(add, A, B),    ALWAYS),

    /* things that cancel */
    RULE("x-x",         OP(sub, A, A),                        SPLAT(0),         INTEGER | FAST),
    RULE("x/x",         OP(div, A, A),                        SPLAT(1),         FAST),
    RULE("(x+y)-y",     OP(sub, OP(add, A, B), B),            A,                INTEGER | FAST),
    RULE("(x-y)+y",     OP(add, OP(sub, A, B), B),            A,                INTEGER | FAST),
    RULE("x-(x-y)",     OP(sub, A, OP(sub, A, B)),            B,                INTEGER | FAST),
    RULE("x-(x+y)",     OP(sub, A, OP(add, A, B)),            OP(neg, B),       INTEGER | FAST),
    RULE("(x*y)/y",     OP(div, OP(mul, A, B), B),            A,                FAST),
    RULE("(x/y)*y",     OP(mul, OP(div, A, B), B),            A,                FAST),
    RULE("x*(1/y)",     OP(mul, A, OP(div, SPLAT(1), B)),     OP(div, A, B),    FAST),
    RULE("exp(log x)",  OP(exp, OP(log, A)),                  A,                FAST),
    RULE("log(exp x)",  OP(log, OP(exp, A)),                  A,                FAST),

    /* powers */
    RULE("x*x",         OP(mul, A, A),                        OP(square, A),    ALWAYS),
    RULE("x^2",         OP(pow, A, SPLAT(2)),                 OP(square, A),    FAST),
    RULE("x^0.5",       OP(pow, A, SPLAT(0.5)),               OP(sqrt, A),      FAST),
    RULE("x^(-1)",      OP(pow, A, SPLAT(-1)),                OP(div, SPLAT(1), A), FAST),
    RULE("sqrt(x)^2",   OP(square, OP(sqrt, A)),              A,                FAST),
    RULE("sqrt(x^2)",   OP(sqrt, OP(square, A)),              OP(abs, A),       FAST),
    RULE("|x|^2",       OP(square, OP(abs, A)),               OP(square, A),    ALWAYS),

    /* constants */
    RULE_BUILD("x/2^k", OP(div, A, SPLAT_B), "mul(a, 1/b)", FLOAT, b_is_power_of_two,
               build_mul_reciprocal, "b a power of two with a normal reciprocal"),
    RULE_BUILD("x/c", OP(div, A, SPLAT_B), "mul(a, 1/b)", FAST, b_has_reciprocal,
               build_mul_reciprocal, "b with a normal reciprocal"),
    RULE_BUILD("(x+c)+d", OP(add, OP(add, A, CONST_B), CONST_C), "add(a, b+c)", INTEGER | FAST,
               b_c_can_fold, build_reassociated, NULL),
    RULE_BUILD("(x*c)*d", OP(mul, OP(mul, A, CONST_B), CONST_C), "mul(a, b*c)", INTEGER | FAST,
               b_c_can_fold, build_reassociated, NULL),
    RULE_BUILD("(x@c)@d", OP(matmul, OP(matmul, A, CONST_B), CONST_C), "matmul(a, b@c)", FAST,
               right_factors_can_fold, build_right_factors,
               "b@c has no more elements than b and c"),
    RULE_BUILD("c@(d@x)", OP(matmul, CONST_C, OP(matmul, CONST_B, A)), "matmul(c@b, a)", FAST,
               left_factors_can_fold, build_left_factors, "c@b has no more elements than b and c"),

    /* maximum, relu, sigmoid */
    RULE("max(x,x)",    OP(maximum, A, A),                    A,                ALWAYS),
    RULE("min(x,x)",    OP(minimum, A, A),                    A,                ALWAYS),
    RULE("max(x,0)",    OP(maximum, A, SPLAT(0)),             OP(relu, A),      ALWAYS),
    /* max(0,-0) is -0 */
    RULE("max(0,x)",    OP(maximum, SPLAT(0), A),             OP(relu, A),      INTEGER | FAST),
    RULE("relu(relu x)", OP(relu, OP(relu, A)),               OP(relu, A),      ALWAYS),
    RULE_BUILD("relu(x>=0)", OP(relu, A), "a", FLOAT, a_is_nonnegative, keep_input,
               "a is exp, sigmoid, square, abs, softmax or relu"),
    RULE("||x||",       OP(abs, OP(abs, A)),                  OP(abs, A),       ALWAYS),
    RULE_BUILD("|x>=0|", OP(abs, A), "a", FLOAT, a_is_nonnegative, keep_input,
               "a is exp, sigmoid, square, abs, softmax or relu"),
    RULE("sign(sign x)", OP(sign, OP(sign, A)),               OP(sign, A),      ALWAYS),
    RULE_IF("1/(1+exp(-x))", OP(div, SPLAT(1), OP(add, OP(exp, OP(neg, A)), SPLAT(1))),
            OP(sigmoid, A), FLOAT, exp_is_only_used_here, "nothing else uses the exponential"),
    RULE_IF("1/(1+exp x)", OP(div, SPLAT(1), OP(add, OP(exp, A), SPLAT(1))),
            OP(sigmoid, OP(neg, A)), FLOAT, exp_is_only_used_here,
            "nothing else uses the exponential"),

    /* choices */
    RULE("c?x:x",       OP(select, C, A, A),                  A,                ALWAYS),
    RULE("true?x:y",    OP(select, SPLAT(1), A, B),           A,                ALWAYS),
    RULE("false?x:y",   OP(select, SPLAT(0), A, B),           B,                ALWAYS),
    RULE("!c?x:y",      OP(select, OP(logical_not, C), A, B), OP(select, C, B, A), ALWAYS),
    RULE("x<=0?0:x", OP(select, OP(less_equal, A, SPLAT(0)), SPLAT(0), A), OP(relu, A), ALWAYS),
    RULE("x>0?x:0", OP(select, OP(greater, A, SPLAT(0)), A, SPLAT(0)), OP(relu, A), INTEGER | FAST),
    RULE("x>=0?x:-x", OP(select, OP(greater_equal, A, SPLAT(0)), A, OP(neg, A)), OP(abs, A),
         INTEGER | FAST),
    RULE("x>y?x:y",     OP(select, OP(greater, A, B), A, B),  OP(maximum, A, B), INTEGER | FAST),
    RULE("x<y?x:y",     OP(select, OP(less, A, B), A, B),     OP(minimum, A, B), INTEGER | FAST),

    /* truth */
    RULE("!!x",         OP(logical_not, OP(logical_not, A)),  A,                ALWAYS),
    RULE("!(x==y)",     OP(logical_not, OP(equal, A, B)),     OP(not_equal, A, B), ALWAYS),
    RULE("!(x!=y)",     OP(logical_not, OP(not_equal, A, B)), OP(equal, A, B),  ALWAYS),
    RULE_IF("!(x<y)", OP(logical_not, OP(less, A, B)), OP(greater_equal, A, B), ALWAYS,
            a_is_integer, "integers"),
    RULE_IF("!(x<=y)", OP(logical_not, OP(less_equal, A, B)), OP(greater, A, B), ALWAYS,
            a_is_integer, "integers"),
    RULE_IF("!(x>y)", OP(logical_not, OP(greater, A, B)), OP(less_equal, A, B), ALWAYS,
            a_is_integer, "integers"),
    RULE_IF("!(x>=y)", OP(logical_not, OP(greater_equal, A, B)), OP(less, A, B), ALWAYS,
            a_is_integer, "integers"),
    RULE("x<x",         OP(less, A, A),                       SPLAT(0),         ALWAYS),
    RULE("x>x",         OP(greater, A, A),                    SPLAT(0),         ALWAYS),
    RULE("x!=x",        OP(not_equal, A, A),                  SPLAT(0),         INTEGER | FAST),
    RULE("x==x",        OP(equal, A, A),                      SPLAT(1),         INTEGER | FAST),
    RULE("x<=x",        OP(less_equal, A, A),                 SPLAT(1),         INTEGER | FAST),
    RULE("x>=x",        OP(greater_equal, A, A),              SPLAT(1),         INTEGER | FAST),
    RULE("x&x",         OP(logical_and, A, A),                A,                ALWAYS),
    RULE("x&true",      OP(logical_and, A, SPLAT(1)),         A,                ALWAYS),
    RULE("x&false",     OP(logical_and, A, SPLAT(0)),         SPLAT(0),         ALWAYS),
    RULE("x|x",         OP(logical_or, A, A),                 A,                ALWAYS),
    RULE("x|false",     OP(logical_or, A, SPLAT(0)),          A,                ALWAYS),
    RULE("x|true",      OP(logical_or, A, SPLAT(1)),          SPLAT(1),         ALWAYS),

    /* casts, and what only gradients see */
    RULE_IF("cast to the same", OP(cast, A), A, ALWAYS, a_has_root_type,
            "a has that dtype already"),
    RULE_BUILD("cast of cast", OP(cast, OP(cast, A)), "cast(a)", ALWAYS, inner_cast_changes_nothing,
               build_one_cast, "the inner cast loses nothing, and the outer one does not saturate"),
    RULE("stop_gradient", OP(stop_gradient, A), A, ALWAYS),
};
/* clang-format on */

const ebb_rule_set ebb_rules_simplify = RULE_SET("simplify", rules);
