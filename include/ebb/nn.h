/* Layers and update rules: functions that put nodes and named variables into a graph. */
#ifndef EBB_NN_H
#define EBB_NN_H

#include <ebb/autodiff.h>

EBB_BEGIN

typedef enum ebb_nn_init {
    EBB_NN_INIT_HE,     /* normal, std sqrt(2 / inputs) (He et al. 2015); the default */
    EBB_NN_INIT_XAVIER, /* normal, std sqrt(1 / inputs), the book's form (Glorot & Bengio 2010) */
    EBB_NN_INIT_NORMAL, /* normal with `std` */
    EBB_NN_INIT_ZERO
} ebb_nn_init;

typedef struct ebb_nn_linear_options {
    const char *name; /* scope of the variables "w" [inputs, outputs] and "b" [outputs]; needed */
    ebb_nn_init init;
    double std;       /* of EBB_NN_INIT_NORMAL */
    uint64_t seed;
    bool no_bias;
} ebb_nn_linear_options;

/* x [batch, inputs] -> x w + b [batch, outputs]. F32 or F64; the variables have x's dtype. Sticky errors:
 * BAD_SHAPE, BAD_DTYPE, BAD_NAME. */
EBB_API ebb_node ebb_nn_linear(ebb_node x, int64_t outputs, const ebb_nn_linear_options *options);
#define ebb_nn_linear(x, ...) ebb_nn_linear(EBB_AT(x), __VA_ARGS__)

/* ---- recurrent cells: composites of x [batch, inputs] and states [batch, hidden] ---- */

typedef enum ebb_nn_cell {
    EBB_NN_RNN,      /* tanh (Elman 1990) */
    EBB_NN_RNN_RELU, /* the same with relu */
    EBB_NN_LSTM,     /* Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000 */
    EBB_NN_GRU       /* Cho et al. 2014, in PyTorch's (and cuDNN's) variant */
} ebb_nn_cell;

/* Gates lie one after the other in the last dimension, each `hidden` wide:
 *   RNN   w_x [inputs, hidden], w_h [hidden, hidden], b [hidden]
 *   LSTM  w_x [inputs, 4 hidden], w_h [hidden, 4 hidden], b [4 hidden], in the order i, f, g, o
 *   GRU   w_x [inputs, 3 hidden], w_h [hidden, 3 hidden], in the order r, z, n; b [4 hidden]: of r, of z, of n's
 *         x, of n's h
 * b may be EBB_NONE: zeros. PyTorch has the same orders, transposed, and two biases, of which only the sum counts
 * but for the n of GRU. */
typedef struct ebb_nn_cell_weights {
    ebb_node w_x, w_h, b;
} ebb_nn_cell_weights;
typedef struct ebb_nn_cell_state {
    ebb_node h, c; /* [batch, hidden]; c for LSTM only. EBB_NONE at the start: zeros */
} ebb_nn_cell_state;

/* h' = tanh(x w_x + h w_h + b); with `use_relu`, relu in the place of tanh. Sticky errors, here and below: BAD_SHAPE,
 * BAD_DTYPE (not float, or different ones), BAD_NODE. */
EBB_API ebb_node ebb_nn_rnn_cell(ebb_node x, ebb_node h, ebb_nn_cell_weights weights, bool use_relu);
#define ebb_nn_rnn_cell(x, ...) ebb_nn_rnn_cell(EBB_AT(x), __VA_ARGS__)
/* With (i, f, g, o) = x w_x + h w_h + b: c' = sigmoid(f + forget_bias) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c').
 * A forget_bias of 1 helps at the start of a training (Gers et al. 2000; Jozefowicz et al. 2015). */
EBB_API ebb_nn_cell_state ebb_nn_lstm_cell(ebb_node x, ebb_nn_cell_state state,
                                           ebb_nn_cell_weights weights, double forget_bias);
#define ebb_nn_lstm_cell(x, ...) ebb_nn_lstm_cell(EBB_AT(x), __VA_ARGS__)
/* r = sigmoid(x_r + h_r), z = sigmoid(x_z + h_z), n = tanh(x_n + r h_n), h' = (1 - z) n + z h, where x_ and h_ are
 * parts of x w_x and h w_h with their biases. (In the paper r multiplies h before w_h does, and z is 1 - z.) */
EBB_API ebb_node ebb_nn_gru_cell(ebb_node x, ebb_node h, ebb_nn_cell_weights weights);
#define ebb_nn_gru_cell(x, ...) ebb_nn_gru_cell(EBB_AT(x), __VA_ARGS__)

typedef struct ebb_nn_recurrent_options {
    const char *name; /* scope of the variables "w_x", "w_h" and "b"; needed */
    ebb_nn_cell cell;
    int64_t hidden;     /* >= 1 */
    double forget_bias; /* LSTM */
    uint64_t seed;
    bool no_bias;
} ebb_nn_recurrent_options;
/* The variables of a cell for x [batch, inputs], of x's dtype; made again they are the same. w_x and w_h are uniform in
 * +-1/sqrt(hidden) (PyTorch's choice), b is 0. None nodes on failure; also BAD_NAME, BAD_ARGUMENT (no such cell, hidden
 * below 1, forget_bias not finite). */
EBB_API ebb_nn_cell_weights ebb_nn_recurrent_weights(ebb_node x, const ebb_nn_recurrent_options *options);
#define ebb_nn_recurrent_weights(x, ...) ebb_nn_recurrent_weights(EBB_AT(x), __VA_ARGS__)

/* Unrolls a cell over time: steps[t] is x [batch, inputs] at time t, of one type, n_steps >= 1; outputs[t] (NULL: not
 * wanted) becomes h after step t. Returns the last state, to go on from, or none nodes. The variables are those of
 * ebb_nn_recurrent_weights: one set for all steps. */
EBB_API ebb_nn_cell_state ebb_nn_unroll(const ebb_node *steps, int n_steps, ebb_nn_cell_state first,
                                        const ebb_nn_recurrent_options *options, ebb_node *outputs);

/* Stochastic gradient descent: v <- v - rate * dL/dv. */
typedef struct ebb_nn_sgd {
    double rate; /* finite, > 0 */
} ebb_nn_sgd;

/* Differentiates `loss` (a scalar) by every variable it depends on (floats; in order of creation) and gives each its
 * update. Errors: as ebb_gradients; BAD_ARGUMENT (rate not finite or not positive; no variable). Message on the graph. */
EBB_NODISCARD EBB_API ebb_status ebb_nn_minimize(ebb_node loss, const ebb_nn_sgd *rule);

/* The mean of argmax(scores, 1) == labels. scores [batch, classes], labels [batch] integers. F64 scalar. */
EBB_API ebb_node ebb_nn_accuracy(ebb_node scores, ebb_node labels);
#define ebb_nn_accuracy(scores, labels) ebb_nn_accuracy(EBB_AT(scores), labels)

EBB_END

#endif
