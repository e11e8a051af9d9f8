/* Anchors: what follows a convolution or a matrix product goes into it, where nothing else reads
 * its result. A backend then applies it to each result before it is written. Run by ebb_compile,
 * for those that a backend takes at least as well as the anchor alone. */
#define EBB_NO_LOCATIONS
#include "ops/conv.h"
#include "ops/matmul_epilogue.h"
#include "passes/rules.h"

#include "passes/pattern.h"

enum { MAX_INPUTS = 4 }; /* x, w, bias, residual; or a, b, bias, residual */

/* A convolution or product as an op with an epilogue. The residual is the last input. */
typedef struct anchor {
    ebb_node node;    /* as it was */
    const ebb_op *op; /* as it becomes */
    ebb_node inputs[MAX_INPUTS];
    int n_inputs;
    union {
        ebb_conv_epilogue_attrs conv;
        ebb_matmul_epilogue_attrs matmul;
    } attrs;
} anchor;

static ebb_epilogue *epilogue_of(anchor *a)
{
    return a->op == &ebb_op_conv_epilogue ? &a->attrs.conv.epilogue : &a->attrs.matmul.epilogue;
}

/* Nothing but the root reads it, and it has no relu yet. */
static bool read_open(const ebb_match *match, ebb_node node, anchor *a)
{
    const ebb_op *op = ebb_node_op(node);
    const void *attrs = ebb_node_attrs(node);
    *a = (anchor){ .node = node, .n_inputs = ebb_node_n_inputs(node) };
    if (op == &ebb_op_conv || op == &ebb_op_conv_epilogue) {
        a->op = &ebb_op_conv_epilogue;
        if (op == a->op)
            a->attrs.conv = *(const ebb_conv_epilogue_attrs *)attrs;
        else
            a->attrs.conv.conv = *(const ebb_conv_attrs *)attrs;
    } else if (op == &ebb_op_matmul || op == &ebb_op_matmul_epilogue) {
        a->op = &ebb_op_matmul_epilogue;
        if (op == a->op)
            a->attrs.matmul = *(const ebb_matmul_epilogue_attrs *)attrs;
        else
            a->attrs.matmul.matmul = *(const ebb_matmul_attrs *)attrs;
    } else {
        return false;
    }
    for (int i = 0; i < a->n_inputs; i++)
        a->inputs[i] = ebb_node_input(node, i);
    return ebb_match_is_only_use(match, node) && !epilogue_of(a)->relu;
}

static bool is_taken(const ebb_match *match, const anchor *a)
{
    return ebb_match_pays(match, a->op, &a->attrs, a->inputs, a->n_inputs, a->node);
}

static ebb_node emit(const ebb_match *match, const anchor *a)
{
    return ebb_emit(match->graph, a->op, a->inputs, a->n_inputs, &a->attrs, NULL);
}

/* ---- relu: other functions have other last bits inside, which a memory budget would show ---- */

static bool add_relu(const ebb_match *match, anchor *a)
{
    if (!read_open(match, match->inputs[0], a))
        return false;
    epilogue_of(a)->relu = true;
    return is_taken(match, a);
}

static bool takes_relu(const ebb_match *match)
{
    anchor a;
    return add_relu(match, &a);
}

static ebb_node build_relu(const ebb_match *match)
{
    anchor a;
    return add_relu(match, &a) ? emit(match, &a) : EBB_NONE;
}

/* ---- what is added ---- */

/* One value a column: what is repeated, or none. */
static ebb_node row_behind(ebb_node node)
{
    if (ebb_node_op(node) != &ebb_op_broadcast_to)
        return EBB_NONE;
    const ebb_shape *wide = &ebb_node_type(node)->shape;
    const ebb_node row = ebb_node_input(node, 0);
    const ebb_shape *shape = &ebb_node_type(row)->shape;
    return shape->rank == 1 && wide->rank > 1 && shape->dims[0] == wide->dims[wide->rank - 1]
               ? row
               : EBB_NONE;
}

static bool add_bias(const ebb_match *match, anchor *a)
{
    for (int i = 0; i < 2; i++) {
        const ebb_node row = row_behind(match->inputs[1 - i]);
        if (!row.id || !read_open(match, match->inputs[i], a) || a->op != &ebb_op_matmul_epilogue ||
            a->n_inputs - epilogue_of(a)->residual > 2)
            continue;
        a->inputs[a->n_inputs] = a->inputs[2]; /* a residual stays the last */
        a->inputs[2] = row;
        a->n_inputs++;
        return is_taken(match, a);
    }
    return false;
}

/* Into the input that is computed last, so that the other one is there. */
static bool add_residual(const ebb_match *match, anchor *a)
{
    const int later = match->inputs[1].id > match->inputs[0].id;
    for (int k = 0; k < 2; k++) {
        const int i = k ? 1 - later : later;
        const ebb_node other = match->inputs[1 - i];
        if (match->inputs[i].id == other.id || ebb_node_op(other) == &ebb_op_broadcast_to ||
            ebb_node_op(other) == &ebb_op_constant || !read_open(match, match->inputs[i], a) ||
            epilogue_of(a)->residual)
            continue;
        epilogue_of(a)->residual = true;
        a->inputs[a->n_inputs++] = other;
        if (is_taken(match, a))
            return true;
    }
    return false;
}

static bool takes_bias(const ebb_match *match)
{
    anchor a;
    return add_bias(match, &a);
}

static bool takes_residual(const ebb_match *match)
{
    anchor a;
    return add_residual(match, &a);
}

static ebb_node build_bias(const ebb_match *match)
{
    anchor a;
    return add_bias(match, &a) ? emit(match, &a) : EBB_NONE;
}

static ebb_node build_residual(const ebb_match *match)
{
    anchor a;
    return add_residual(match, &a) ? emit(match, &a) : EBB_NONE;
}

/* clang-format off */
static const ebb_rule rules[] = {
    RULE_BUILD("bias", OP(add, A, B), "matmul_epilogue(.., b, ..)", FLOAT, takes_bias, build_bias,
               "a or b is matmul, perhaps with a residual, and nothing else uses it; the other "
               "repeats a row"),
    RULE_BUILD("residual", OP(add, A, B), "(conv or matmul)_epilogue(.., b), residual", FLOAT,
               takes_residual, build_residual,
               "a or b is conv or matmul with neither residual nor relu, and nothing "
               "else uses it; the other is no broadcast"),
    RULE_BUILD("relu", OP(relu, A), "(conv or matmul)_epilogue(..), relu", FLOAT, takes_relu,
               build_relu,
               "a is conv or matmul, perhaps with an epilogue but without a relu, and "
               "nothing else uses it"),
};
/* clang-format on */

const ebb_rule_set ebb_rules_anchors = RULE_SET("anchors", rules);
