/* Recurrent cells as composites of ops, their variables, and their unrolling over time. */
#define EBB_NO_LOCATIONS
#include "nn/nn.h"

#include <math.h>

/* ---- what fits together ---- */

/* How many times `hidden` the last dimensions of w_x and w_h, and b, are. */
typedef struct gates {
    int n, n_bias;
} gates;

static gates gates_of(ebb_nn_cell cell)
{
    switch (cell) {
    case EBB_NN_LSTM:
        return (gates){ 4, 4 };
    case EBB_NN_GRU:
        return (gates){ 3, 4 };
    default:
        return (gates){ 1, 1 };
    }
}

static bool has_type(ebb_node node, ebb_dtype dtype, ebb_shape shape)
{
    const ebb_type type = { dtype, shape };
    return ebb_type_equal(ebb_node_type(node), &type);
}

/* False, and a sticky error, unless `node` has the dtype of x and this shape. */
static bool check_node(const char *what, ebb_node x, const char *name, ebb_node node,
                       ebb_shape shape)
{
    if (has_type(node, ebb_node_type(x)->dtype, shape))
        return true;
    char text_x[EBB_NODE_TEXT_BYTES], text[EBB_NODE_TEXT_BYTES], wanted[EBB_TYPE_TEXT_BYTES];
    const bool is_dtype = ebb_shape_equal(&ebb_node_type(node)->shape, &shape);
    ebb_graph_fail(x.graph, is_dtype ? EBB_BAD_DTYPE : EBB_BAD_SHAPE,
                   "%s: with x %s, %s must be %s%s, not %s", what, ebb_node_text(x, text_x), name,
                   ebb_dtype_name(ebb_node_type(x)->dtype), ebb_shape_text(&shape, wanted),
                   ebb_node_text(node, text));
    return false;
}

static bool check_x(const char *what, ebb_node x)
{
    char text[EBB_NODE_TEXT_BYTES];
    const ebb_type *type = ebb_node_type(x);
    if (!x.id)
        ebb_graph_fail(x.graph, EBB_BAD_NODE, "%s: x is the none node", what);
    else if (type->shape.rank != 2)
        ebb_graph_fail(x.graph, EBB_BAD_SHAPE, "%s: x must be [batch, inputs]: %s", what,
                       ebb_node_text(x, text));
    else if (!ebb_dtype_is_float(type->dtype))
        ebb_graph_fail(x.graph, EBB_BAD_DTYPE, "%s: x must be float: %s", what,
                       ebb_node_text(x, text));
    else
        return true;
    return false;
}

/* Checks x, the weights and the state; zeros take the place of a none state. */
static bool check_cell(const char *what, ebb_nn_cell cell, ebb_node x,
                       const ebb_nn_cell_weights *weights, ebb_nn_cell_state *state)
{
    const gates g = gates_of(cell);
    if (!check_x(what, x))
        return false;
    if (!weights->w_x.id || !weights->w_h.id) {
        ebb_graph_fail(x.graph, EBB_BAD_NODE, "%s: %s is the none node", what,
                       weights->w_x.id ? "w_h" : "w_x");
        return false;
    }
    const ebb_type *type = ebb_node_type(x);
    const int64_t batch = type->shape.dims[0], inputs = type->shape.dims[1];
    const ebb_shape *w_h = &ebb_node_type(weights->w_h)->shape;
    const int64_t hidden = w_h->rank == 2 ? w_h->dims[0] : 0;
    const ebb_shape state_shape = EBB_SHAPE(batch, hidden);
    if (!check_node(what, x, "w_h", weights->w_h, EBB_SHAPE(hidden, g.n * hidden)) ||
        !check_node(what, x, "w_x", weights->w_x, EBB_SHAPE(inputs, g.n * hidden)))
        return false;
    if (weights->b.id && !check_node(what, x, "b", weights->b, EBB_SHAPE(g.n_bias * hidden)))
        return false;
    const ebb_node zeros = ebb_full(x.graph, type->dtype, state_shape, 0);
    if (!state->h.id)
        state->h = zeros;
    if (!state->c.id && cell == EBB_NN_LSTM)
        state->c = zeros;
    return check_node(what, x, "h", state->h, state_shape) &&
           (cell != EBB_NN_LSTM || check_node(what, x, "c", state->c, state_shape));
}

/* ---- cells ---- */

/* Part `index` of n equal ones of the last dimension of z [batch, n hidden]. */
static ebb_node take_gate(ebb_node z, int index, int n)
{
    const ebb_type *type = ebb_node_type(z);
    if (!z.id || n == 1)
        return z;
    const int64_t batch = type->shape.dims[0], hidden = type->shape.dims[1] / n;
    const ebb_node parts = ebb_reshape(z, EBB_SHAPE(batch, n, hidden));
    const ebb_node numbers = ebb_iota(z.graph, EBB_I64, EBB_SHAPE(n, 1), 0);
    const ebb_node is_part = ebb_equal(numbers, ebb_full_like(numbers, index));
    const ebb_node zero = ebb_full_like(parts, 0);
    return ebb_reduce_sum(ebb_select(is_part, parts, zero), EBB_AXES(1), false);
}

static ebb_node emit_sum(ebb_node x, ebb_node h, const ebb_nn_cell_weights *weights)
{
    const ebb_node z = ebb_add(ebb_matmul(x, weights->w_x), ebb_matmul(h, weights->w_h));
    return weights->b.id ? ebb_add(z, weights->b) : z;
}

ebb_node(ebb_nn_rnn_cell)(ebb_node x, ebb_node h, ebb_nn_cell_weights weights, bool use_relu)
{
    ebb_nn_cell_state state = { .h = h };
    if (!check_cell("nn_rnn_cell", EBB_NN_RNN, x, &weights, &state))
        return (ebb_node){ x.graph, 0 };
    const ebb_node z = emit_sum(x, state.h, &weights);
    return use_relu ? ebb_relu(z) : ebb_tanh(z);
}

ebb_nn_cell_state(ebb_nn_lstm_cell)(ebb_node x, ebb_nn_cell_state state,
                                    ebb_nn_cell_weights weights, double forget_bias)
{
    const ebb_node none = { x.graph, 0 };
    if (!isfinite(forget_bias)) {
        ebb_graph_fail(x.graph, EBB_BAD_ARGUMENT, "nn_lstm_cell: forget_bias %g is not finite",
                       forget_bias);
        return (ebb_nn_cell_state){ none, none };
    }
    if (!check_cell("nn_lstm_cell", EBB_NN_LSTM, x, &weights, &state))
        return (ebb_nn_cell_state){ none, none };
    const ebb_node z = emit_sum(x, state.h, &weights);
    ebb_node f = take_gate(z, 1, 4);
    if (forget_bias != 0)
        f = ebb_add(f, ebb_full_like(f, forget_bias));
    const ebb_node kept = ebb_mul(ebb_sigmoid(f), state.c);
    const ebb_node added = ebb_mul(ebb_sigmoid(take_gate(z, 0, 4)), ebb_tanh(take_gate(z, 2, 4)));
    const ebb_node c = ebb_add(kept, added);
    return (ebb_nn_cell_state){ ebb_mul(ebb_sigmoid(take_gate(z, 3, 4)), ebb_tanh(c)), c };
}

ebb_node(ebb_nn_gru_cell)(ebb_node x, ebb_node h, ebb_nn_cell_weights weights)
{
    ebb_nn_cell_state state = { .h = h };
    if (!check_cell("nn_gru_cell", EBB_NN_GRU, x, &weights, &state))
        return (ebb_node){ x.graph, 0 };
    const ebb_node of_x = ebb_matmul(x, weights.w_x), of_h = ebb_matmul(state.h, weights.w_h);
    const int64_t hidden = ebb_node_type(state.h)->shape.dims[1];
    ebb_node r = ebb_add(take_gate(of_x, 0, 3), take_gate(of_h, 0, 3));
    ebb_node z = ebb_add(take_gate(of_x, 1, 3), take_gate(of_h, 1, 3));
    ebb_node n_x = take_gate(of_x, 2, 3), n_h = take_gate(of_h, 2, 3);
    if (weights.b.id) {
        const ebb_node b = ebb_reshape(weights.b, EBB_SHAPE(1, 4 * hidden));
        r = ebb_add(r, take_gate(b, 0, 4));
        z = ebb_add(z, take_gate(b, 1, 4));
        n_x = ebb_add(n_x, take_gate(b, 2, 4));
        n_h = ebb_add(n_h, take_gate(b, 3, 4));
    }
    const ebb_node n = ebb_tanh(ebb_add(n_x, ebb_mul(ebb_sigmoid(r), n_h)));
    /* n + z (h - n) */
    return ebb_add(n, ebb_mul(ebb_sigmoid(z), ebb_sub(state.h, n)));
}

/* ---- variables and time ---- */

static bool check_options(ebb_graph *graph, const char *what,
                          const ebb_nn_recurrent_options *options)
{
    if (!options || !options->name)
        ebb_graph_fail(graph, EBB_BAD_NAME, "%s: the layer needs a name", what);
    else if ((unsigned)options->cell > EBB_NN_GRU)
        ebb_graph_fail(graph, EBB_BAD_ARGUMENT, "%s \"%s\": there is no cell %d", what,
                       options->name, (int)options->cell);
    else if (options->hidden < 1 || options->hidden > INT32_MAX)
        ebb_graph_fail(graph, EBB_BAD_ARGUMENT, "%s \"%s\": hidden must be at least 1, not %lld",
                       what, options->name, (long long)options->hidden);
    else if (!isfinite(options->forget_bias))
        ebb_graph_fail(graph, EBB_BAD_ARGUMENT, "%s \"%s\": forget_bias %g is not finite", what,
                       options->name, options->forget_bias);
    else
        return true;
    return false;
}

ebb_nn_cell_weights(ebb_nn_recurrent_weights)(ebb_node x, const ebb_nn_recurrent_options *options)
{
    const ebb_node none = { x.graph, 0 };
    ebb_nn_cell_weights weights = { none, none, none };
    if (!check_x("nn_recurrent_weights", x) ||
        !check_options(x.graph, "nn_recurrent_weights", options))
        return weights;
    const ebb_type *type = ebb_node_type(x);
    const gates g = gates_of(options->cell);
    const int64_t hidden = options->hidden;
    const double limit = 1 / sqrt((double)hidden);
    const ebb_nn_init uniform = { .kind = EBB_NN_INIT_UNIFORM, .low = -limit, .high = limit };
    const ebb_nn_init init_x = ebb_nn_init_or(options->init, uniform);
    const ebb_nn_init init_h = ebb_nn_init_or(options->init_h, uniform);
    const int64_t inputs = type->shape.dims[1], width = g.n * hidden;
    ebb_scope_push(x.graph, options->name);
    weights.w_x = ebb_nn_weights(x.graph, "w_x", type->dtype, EBB_SHAPE(inputs, width),
                                 (double)inputs, (double)hidden, &init_x);
    weights.w_h = ebb_nn_weights(x.graph, "w_h", type->dtype, EBB_SHAPE(hidden, width),
                                 (double)hidden, (double)hidden, &init_h);
    if (!options->no_bias)
        weights.b = ebb_variable(x.graph, "b", type->dtype, EBB_SHAPE(g.n_bias * hidden), NULL);
    ebb_scope_pop(x.graph);
    return weights;
}

static ebb_nn_cell_state step(ebb_node x, ebb_nn_cell_state state, ebb_nn_cell_weights weights,
                              const ebb_nn_recurrent_options *options)
{
    const ebb_node none = { x.graph, 0 };
    switch (options->cell) {
    case EBB_NN_LSTM:
        return ebb_nn_lstm_cell(x, state, weights, options->forget_bias);
    case EBB_NN_GRU:
        return (ebb_nn_cell_state){ ebb_nn_gru_cell(x, state.h, weights), none };
    default:
        return (ebb_nn_cell_state){
            ebb_nn_rnn_cell(x, state.h, weights, options->cell == EBB_NN_RNN_RELU), none
        };
    }
}

ebb_nn_cell_state ebb_nn_unroll(const ebb_node *steps, int n_steps, ebb_nn_cell_state first,
                                const ebb_nn_recurrent_options *options, ebb_node *outputs)
{
    ebb_graph *graph = steps && n_steps > 0 ? steps[0].graph : first.h.graph;
    const ebb_node none = { graph, 0 };
    ebb_nn_cell_state state = first;
    for (int t = 0; outputs && t < n_steps; t++)
        outputs[t] = none;
    if (!steps || n_steps < 1) {
        ebb_graph_fail(graph, EBB_BAD_ARGUMENT, "nn_unroll: there is no step");
        return (ebb_nn_cell_state){ none, none };
    }
    const ebb_nn_cell_weights weights = ebb_nn_recurrent_weights(steps[0], options);
    for (int t = 0; t < n_steps && !ebb_graph_status(graph); t++) {
        char a[EBB_NODE_TEXT_BYTES], b[EBB_NODE_TEXT_BYTES];
        if (!steps[t].id || !ebb_type_equal(ebb_node_type(steps[t]), ebb_node_type(steps[0])))
            ebb_graph_fail(graph, EBB_BAD_SHAPE, "nn_unroll \"%s\": step %d is %s, step 0 is %s",
                           options->name, t, ebb_node_text(steps[t], a),
                           ebb_node_text(steps[0], b));
        state = step(steps[t], state, weights, options);
        if (outputs)
            outputs[t] = state.h;
    }
    if (ebb_graph_status(graph))
        return (ebb_nn_cell_state){ none, none };
    return state;
}
