/* Anchors: what follows a convolution goes into it, where nothing else reads its result. A backend
 * then applies it to each result before it is written. Run by ebb_compile where a backend takes
 * such a convolution. */
#define EBB_NO_LOCATIONS
#include "ops/conv.h"
#include "passes/rules.h"

#include "passes/pattern.h"

enum { MAX_INPUTS = 4 }; /* x, w, bias, residual */

static bool is_conv(ebb_node node)
{
    return ebb_node_op(node) == &ebb_op_conv || ebb_node_op(node) == &ebb_op_conv_epilogue;
}

static ebb_conv_epilogue_attrs attrs_of(ebb_node conv)
{
    if (ebb_node_op(conv) == &ebb_op_conv_epilogue)
        return *(const ebb_conv_epilogue_attrs *)ebb_node_attrs(conv);
    return (ebb_conv_epilogue_attrs){ .conv = *(const ebb_conv_attrs *)ebb_node_attrs(conv) };
}

/* The convolution once more, with these attributes and perhaps a residual. */
static ebb_node emit_epilogue(const ebb_match *match, ebb_node conv,
                              const ebb_conv_epilogue_attrs *attrs, ebb_node residual)
{
    ebb_node inputs[MAX_INPUTS];
    int n = ebb_node_n_inputs(conv);
    for (int i = 0; i < n; i++)
        inputs[i] = ebb_node_input(conv, i);
    if (residual.id)
        inputs[n++] = residual;
    return ebb_emit(match->graph, &ebb_op_conv_epilogue, inputs, n, attrs, NULL);
}

/* Nothing but the root reads the convolution, and it has no activation yet. */
static bool is_open(const ebb_match *match, ebb_node node)
{
    return is_conv(node) && ebb_match_is_only_use(match, node) &&
           attrs_of(node).activation == EBB_ACTIVATION_NONE;
}

static bool input_is_open(const ebb_match *match)
{
    return is_open(match, match->inputs[0]);
}

static ebb_node build_with(const ebb_match *match, int activation)
{
    ebb_conv_epilogue_attrs attrs = attrs_of(match->inputs[0]);
    attrs.activation = activation;
    return emit_epilogue(match, match->inputs[0], &attrs, EBB_NONE);
}

static ebb_node build_relu(const ebb_match *match)
{
    return build_with(match, EBB_ACTIVATION_RELU);
}

static ebb_node build_sigmoid(const ebb_match *match)
{
    return build_with(match, EBB_ACTIVATION_SIGMOID);
}

static ebb_node build_tanh(const ebb_match *match)
{
    return build_with(match, EBB_ACTIVATION_TANH);
}

/* The input of an addition into which the other one may go: the one that is computed last, so that
 * the other one is there. -1: none. */
static int open_input(const ebb_match *match)
{
    const int later = match->inputs[1].id > match->inputs[0].id;
    for (int k = 0; k < 2; k++) {
        const int i = k ? 1 - later : later;
        const ebb_node conv = match->inputs[i], other = match->inputs[1 - i];
        if (conv.id != other.id && is_open(match, conv) && !attrs_of(conv).residual &&
            ebb_node_op(other) != &ebb_op_broadcast_to && ebb_node_op(other) != &ebb_op_constant)
            return i;
    }
    return -1;
}

static bool has_open_input(const ebb_match *match)
{
    return open_input(match) >= 0;
}

static ebb_node build_residual(const ebb_match *match)
{
    const int i = open_input(match);
    ebb_conv_epilogue_attrs attrs = attrs_of(match->inputs[i]);
    attrs.residual = true;
    return emit_epilogue(match, match->inputs[i], &attrs, match->inputs[1 - i]);
}

#define ONLY_USE "a is conv or conv_epilogue without an activation, and nothing else uses it"

/* clang-format off */
static const ebb_rule rules[] = {
    RULE_BUILD("residual", OP(add, A, B), "conv_epilogue(.., b), residual", FLOAT, has_open_input,
               build_residual,
               "a or b is conv or conv_epilogue with neither residual nor activation, and nothing "
               "else uses it; the other is no broadcast"),
    RULE_BUILD("relu of conv", OP(relu, A), "conv_epilogue(..), relu", FLOAT, input_is_open,
               build_relu, ONLY_USE),
    RULE_BUILD("sigmoid of conv", OP(sigmoid, A), "conv_epilogue(..), sigmoid", FLOAT,
               input_is_open, build_sigmoid, ONLY_USE),
    RULE_BUILD("tanh of conv", OP(tanh, A), "conv_epilogue(..), tanh", FLOAT, input_is_open,
               build_tanh, ONLY_USE),
};
/* clang-format on */

const ebb_rule_set ebb_rules_anchors = RULE_SET("anchors", rules);
