/* Views: element-wise work happens before it is repeated, and views that stand in front of it move
 * behind it, where they meet other views or a matmul. Never more elements to work on, never more
 * steps. */
#define EBB_NO_LOCATIONS
#include "passes/constants.h"
#include "passes/rules.h"

#include "passes/pattern.h"

#define MAX_INPUTS 8

static const ebb_shape *shape_of(ebb_node node)
{
    return &ebb_node_type(node)->shape;
}

/* ---- f(broadcast_to(a), broadcast_to(b)) ---- */

/* The smallest shape to which all that is broadcast can be broadcast. False if an input is no
 * broadcast, or nothing would be gained. */
static bool find_common_shape(const ebb_match *match, ebb_shape *common)
{
    *common = EBB_SCALAR;
    for (int i = 0; i < match->n_inputs; i++) {
        if (ebb_node_op(match->inputs[i]) != &ebb_op_broadcast_to)
            return false;
        int rank = shape_of(ebb_node_input(match->inputs[i], 0))->rank;
        common->rank = rank > common->rank ? rank : common->rank;
    }
    for (int d = 0; d < common->rank; d++)
        common->dims[d] = 1;
    for (int i = 0; i < match->n_inputs; i++) {
        const ebb_shape *shape = shape_of(ebb_node_input(match->inputs[i], 0));
        for (int d = 0; d < shape->rank; d++) {
            int64_t *dim = &common->dims[common->rank - shape->rank + d];
            if (shape->dims[d] != 1)
                *dim = shape->dims[d];
        }
    }
    return ebb_shape_elements(common) < ebb_shape_elements(&match->type->shape);
}

static bool works_on_repeats(const ebb_match *match)
{
    ebb_shape common;
    return match->n_inputs > 0 && match->n_inputs <= MAX_INPUTS &&
           find_common_shape(match, &common);
}

static ebb_node build_before_broadcast(const ebb_match *match)
{
    ebb_shape common;
    ebb_node inputs[MAX_INPUTS];
    find_common_shape(match, &common);
    for (int i = 0; i < match->n_inputs; i++)
        inputs[i] = ebb_broadcast_to(ebb_node_input(match->inputs[i], 0), common);
    ebb_node node = ebb_emit(match->graph, match->op, inputs, match->n_inputs, match->attrs, NULL);
    return ebb_broadcast_to(node, match->type->shape);
}

/* ---- f(reshape(a), reshape(b)), f(transpose(a), transpose(b)) ---- */

/* How many inputs are the view `op` of something, all the same view; the others must be splats. 0
 * if that is not so. *example is one of them. */
static int count_same_views(const ebb_match *match, const ebb_op *op, ebb_node *example)
{
    int n = 0;
    *example = EBB_NONE;
    for (int i = 0; i < match->n_inputs; i++) {
        ebb_node input = match->inputs[i];
        if (ebb_splat_behind(input).id)
            continue;
        if (ebb_node_op(input) != op)
            return 0;
        if (n++ == 0)
            *example = input;
        else if (!ebb_attrs_equal(op, ebb_node_attrs(input), ebb_node_attrs(*example)) ||
                 !ebb_shape_equal(shape_of(ebb_node_input(input, 0)),
                                  shape_of(ebb_node_input(*example, 0))))
            return 0;
    }
    return match->n_inputs <= MAX_INPUTS ? n : 0;
}

static bool inputs_are_reshapes(const ebb_match *match)
{
    ebb_node example;
    return count_same_views(match, &ebb_op_reshape, &example) > 0;
}

/* A transposed output would be copied once more. */
static bool inputs_are_transposes(const ebb_match *match)
{
    ebb_node example;
    int n = count_same_views(match, &ebb_op_transpose, &example);
    return n > 1 || (n == 1 && !match->is_output);
}

static ebb_node emit_before_view(const ebb_match *match, ebb_node example)
{
    const ebb_shape *shape = shape_of(ebb_node_input(example, 0));
    ebb_node inputs[MAX_INPUTS];
    for (int i = 0; i < match->n_inputs; i++) {
        ebb_node splat = ebb_splat_behind(match->inputs[i]);
        inputs[i] = splat.id ? ebb_broadcast_to(ebb_reshape(splat, EBB_SCALAR), *shape)
                             : ebb_node_input(match->inputs[i], 0);
    }
    return ebb_emit(match->graph, match->op, inputs, match->n_inputs, match->attrs, NULL);
}

static ebb_node build_before_reshape(const ebb_match *match)
{
    ebb_node example;
    count_same_views(match, &ebb_op_reshape, &example);
    return ebb_reshape(emit_before_view(match, example), match->type->shape);
}

static ebb_node build_before_transpose(const ebb_match *match)
{
    ebb_node example;
    count_same_views(match, &ebb_op_transpose, &example);
    const ebb_transpose_attrs *attrs = ebb_node_attrs(example);
    return ebb_transpose(emit_before_view(match, example), attrs->axes);
}

/* ---- matmul by one matrix for the whole batch ---- */

/* b is one matrix, broadcast along all batch dimensions: the rows of all of a can be multiplied at
 * once. */
static bool b_is_one_matrix(const ebb_match *match)
{
    ebb_node b = match->inputs[1];
    if (((const ebb_matmul_attrs *)match->attrs)->transpose_a ||
        ebb_node_op(b) != &ebb_op_broadcast_to)
        return false;
    const ebb_shape *from = shape_of(ebb_node_input(b, 0)), *to = shape_of(b);
    if (from->rank < 2 || to->rank < 3)
        return false;
    for (int d = 0; d < from->rank - 2; d++) {
        if (from->dims[d] != 1)
            return false;
    }
    return from->dims[from->rank - 2] == to->dims[to->rank - 2] &&
           from->dims[from->rank - 1] == to->dims[to->rank - 1];
}

static ebb_node build_one_matmul(const ebb_match *match)
{
    ebb_node a = match->inputs[0], b = ebb_node_input(match->inputs[1], 0);
    const ebb_shape *of_a = shape_of(a), *of_b = shape_of(b);
    int64_t rows = 1;
    for (int d = 0; d < of_a->rank - 1; d++)
        rows *= of_a->dims[d];
    a = ebb_reshape(a, EBB_SHAPE(rows, of_a->dims[of_a->rank - 1]));
    b = ebb_reshape(b, EBB_SHAPE(of_b->dims[of_b->rank - 2], of_b->dims[of_b->rank - 1]));
    ebb_node product = ebb_matmul_with(a, b, *(const ebb_matmul_attrs *)match->attrs);
    return ebb_reshape(product, match->type->shape);
}

/* clang-format off */
static const ebb_rule rules[] = {
    RULE_TRAIT("f of broadcasts", EBB_TRAIT_ELEMENTWISE, "f(broadcast_to(a), ...)",
               "broadcast_to(f(a, ...))", ALWAYS, works_on_repeats, build_before_broadcast,
               "f element-wise, all its inputs broadcasts, and f has fewer elements to work on"),
    RULE_TRAIT("f of reshapes", EBB_TRAIT_ELEMENTWISE, "f(reshape(a), ...)", "reshape(f(a, ...))",
               ALWAYS, inputs_are_reshapes, build_before_reshape,
               "f element-wise, its inputs splats and reshapes from one shape"),
    RULE_TRAIT("f of transposes", EBB_TRAIT_ELEMENTWISE, "f(transpose(a), ...)",
               "transpose(f(a, ...))", ALWAYS, inputs_are_transposes, build_before_transpose,
               "f element-wise, its inputs splats and transposes by the same axes; no output, or "
               "two transposes"),
    RULE_BUILD("batch times one matrix", OP(matmul, A, B), "reshape(matmul(reshape(a), b))", ALWAYS,
               b_is_one_matrix, build_one_matmul,
               "b is one matrix, broadcast along the batch; a not transposed"),
};
/* clang-format on */

const ebb_rule_set ebb_rules_views = RULE_SET("views", rules);
