/* Layers and update rules: functions that put nodes and named variables into a graph. */
#ifndef EBB_NN_H
#define EBB_NN_H

#include <ebb/autodiff.h>

EBB_BEGIN

/* ---- how weights start ---- */

/* `inputs`: what one result of the layer sees; `outputs`: what one of its inputs reaches. */
typedef enum ebb_nn_init_kind {
    EBB_NN_INIT_DEFAULT,          /* what the layer says */
    EBB_NN_INIT_CONSTANT,         /* `value` */
    EBB_NN_INIT_NORMAL,           /* mean 0, standard deviation `std` */
    EBB_NN_INIT_TRUNCATED_NORMAL, /* the same, what is beyond 2 std drawn again, as in TensorFlow:
                                     the standard deviation of what remains is 0.8796 std */
    EBB_NN_INIT_UNIFORM,          /* [low, high) */
    EBB_NN_INIT_XAVIER,           /* normal, std sqrt(1 / inputs): the book's form of Glorot's */
    EBB_NN_INIT_GLOROT,           /* normal, std sqrt(2 / (inputs + outputs)) (Glorot & Bengio 2010,
                                     eq. 12) */
    EBB_NN_INIT_GLOROT_UNIFORM,   /* in +-sqrt(6 / (inputs + outputs)) (ibid., eq. 16) */
    EBB_NN_INIT_HE,               /* normal, std sqrt(2 / inputs) (He et al. 2015, eq. 10) */
    EBB_NN_INIT_HE_UNIFORM,       /* in +-sqrt(6 / inputs), of the same variance */
    EBB_NN_INIT_ORTHOGONAL        /* orthonormal rows, or columns if there are more rows, of w as a
                                     matrix [first dimension, others] (Saxe et al. 2014) */
} ebb_nn_init_kind;

/* Zero is the layer's default. Numbers depend on the seed and the variable's full name alone: the
 * same whatever else is in the graph, and in which order it was made. */
typedef struct ebb_nn_init {
    ebb_nn_init_kind kind;
    uint64_t seed;
    double value, std, low, high; /* of the kinds that name them; finite, std >= 0, low <= high */
    double gain;                  /* a factor for XAVIER to ORTHOGONAL; 0: 1 */
} ebb_nn_init;

/* A variable `name` in the current scope that starts as `init` says (NULL or DEFAULT: HE), for
 * layers of one's own; those of Ebb make theirs so. inputs, outputs >= 0 (0 counts as 1). Sticky
 * errors: BAD_ARGUMENT (a number of `init` out of range, with the variable's name), BAD_NAME,
 * BAD_SHAPE, BAD_DTYPE. */
EBB_API ebb_node ebb_nn_weights(ebb_graph *graph, const char *name, ebb_dtype dtype,
                                ebb_shape shape, double inputs, double outputs,
                                const ebb_nn_init *init);
#define ebb_nn_weights(graph, ...) ebb_nn_weights(EBB_GRAPH_AT(graph), __VA_ARGS__)

/* ---- layers ---- */

typedef struct ebb_nn_linear_options {
    const char *name; /* scope of the variables "w" [inputs, outputs] and "b" [outputs]; needed */
    ebb_nn_init init; /* of w; default HE. b starts with 0 */
    bool no_bias;
} ebb_nn_linear_options;

/* x [batch, ..., inputs] -> x w + b [batch, ..., outputs]. F32 or F64; the variables have x's
 * dtype. Sticky errors: BAD_NODE, BAD_SHAPE, BAD_DTYPE, BAD_NAME. */
EBB_API ebb_node ebb_nn_linear(ebb_node x, int64_t outputs, const ebb_nn_linear_options *options);
#define ebb_nn_linear(x, ...) ebb_nn_linear(EBB_AT(x), __VA_ARGS__)

typedef struct ebb_nn_embedding_options {
    const char *name; /* scope of the variable "w" [entries, width]; needed */
    ebb_dtype dtype;  /* default F32 */
    ebb_nn_init init; /* default normal, std 1 (PyTorch's choice) */
} ebb_nn_embedding_options;
/* indices [...], each in 0..entries-1 -> rows of w [..., width]. An index outside is BAD_INDEX at
 * run time. Sticky errors: BAD_NODE, BAD_NAME, BAD_SHAPE, BAD_DTYPE. */
EBB_API ebb_node ebb_nn_embedding(ebb_node indices, int64_t entries, int64_t width,
                                  const ebb_nn_embedding_options *options);
#define ebb_nn_embedding(indices, ...) ebb_nn_embedding(EBB_AT(indices), __VA_ARGS__)

typedef struct ebb_nn_conv_options {
    const char *name;        /* scope of the variables "w" and "b" [filters]; needed */
    ebb_ints window;         /* one value for each spatial dimension, or one for all; needed */
    ebb_conv_attrs conv;     /* stride, padding, dilation, groups */
    ebb_ints output_padding; /* of the transposed one */
    /* Of w; default HE. inputs: channels / groups * window, outputs: filters / groups * window; of
     * the transposed one the other way round, as in PyTorch */
    ebb_nn_init init;
    bool no_bias;
} ebb_nn_conv_options;
/* Convolution of x [batch, channels, 1 to 3 dimensions] with variables w [filters, channels /
 * groups, window...]: sizes and formula as of ebb_conv2d. The transposed one has w [channels,
 * filters / groups, window...], as ebb_conv_transpose2d. F32 or F64. Sticky errors: BAD_NODE,
 * BAD_NAME, BAD_SHAPE, BAD_DTYPE, BAD_ARGUMENT. */
EBB_API ebb_node ebb_nn_conv(ebb_node x, int64_t filters, const ebb_nn_conv_options *options);
EBB_API ebb_node ebb_nn_conv_transpose(ebb_node x, int64_t filters,
                                       const ebb_nn_conv_options *options);
#define ebb_nn_conv(x, ...) ebb_nn_conv(EBB_AT(x), __VA_ARGS__)
#define ebb_nn_conv_transpose(x, ...) ebb_nn_conv_transpose(EBB_AT(x), __VA_ARGS__)

typedef struct ebb_nn_dropout_options {
    const char *name; /* scope of the variable "counter", I64, which every run that updates
                         advances; needed */
    uint64_t seed;
    bool unscaled; /* the book's form: training does not scale, inference multiplies by 1 - ratio */
    bool inference; /* no element is dropped, and there is no counter */
} ebb_nn_dropout_options;
/* ebb_dropout with numbers of its own in each run. Sticky errors: BAD_NODE, BAD_NAME, BAD_ATTRIBUTE
 * (ratio not in 0..1). */
EBB_API ebb_node ebb_nn_dropout(ebb_node x, double ratio, const ebb_nn_dropout_options *options);
#define ebb_nn_dropout(x, ...) ebb_nn_dropout(EBB_AT(x), __VA_ARGS__)

typedef struct ebb_nn_batch_norm_options {
    const char *name; /* scope of the variables "scale", "shift", "running_mean",
                         "running_variance"; needed */
    bool inference;   /* use the running statistics, and update nothing */
    double epsilon;   /* added to the variance; 0: 1e-5 (PyTorch's choice; Saitoh 2016 has 1e-6) */
    /* What of a running statistic stays at each update: running <- momentum running + (1 -
     * momentum) batch, as in the book, Keras and Caffe; PyTorch calls 1 - momentum momentum. 0: 0.9
     */
    double momentum;
    bool biased_running_variance; /* average the batch's variance over n (the book) instead of n-1
                                     (the paper, PyTorch) */
    bool per_feature; /* every element of an example is a channel of its own, as in the book's code;
                         variables [features] */
    bool no_affine;   /* no scale and shift */
} ebb_nn_batch_norm_options;
/* Batch normalization of x [batch, channels, ...] (ebb_batch_norm); the variables are [channels],
 * of x's dtype: scale and running_variance start with 1, the others with 0. In training the graph
 * gets the updates of both running statistics; they happen in runs that apply updates, and a second
 * layer of the same name in the graph is an error. A graph made with `inference` shares the
 * variables by a store. Sticky errors: BAD_NODE, BAD_NAME, BAD_SHAPE (rank below 2; in training,
 * too few values of a channel for a variance), BAD_DTYPE, BAD_ARGUMENT. */
EBB_API ebb_node ebb_nn_batch_norm(ebb_node x, const ebb_nn_batch_norm_options *options);
#define ebb_nn_batch_norm(x, ...) ebb_nn_batch_norm(EBB_AT(x), __VA_ARGS__)

typedef struct ebb_nn_norm_options {
    const char *name; /* scope of the variables "scale", starting with 1, and "shift", with 0 (not
                         of rms_norm); needed */
    double epsilon;   /* 0: 1e-5 */
    bool no_affine;   /* neither scale nor shift */
    int n_axes;       /* of layer_norm and rms_norm: the last so many dimensions; default 1 */
} ebb_nn_norm_options;
/* Normalization of each example by itself, the same in training and inference: over the last
 * dimensions of x [..., features] (ebb_layer_norm, ebb_rms_norm; variables of those dimensions), or
 * over groups of channels of x [batch, channels, ...] (ebb_group_norm, ebb_instance_norm; variables
 * [channels]). F32 or F64. Sticky errors: BAD_NODE, BAD_NAME, BAD_SHAPE, BAD_DTYPE, BAD_AXIS,
 * BAD_ARGUMENT. */
EBB_API ebb_node ebb_nn_layer_norm(ebb_node x, const ebb_nn_norm_options *options);
EBB_API ebb_node ebb_nn_rms_norm(ebb_node x, const ebb_nn_norm_options *options);
EBB_API ebb_node ebb_nn_group_norm(ebb_node x, int64_t groups, const ebb_nn_norm_options *options);
EBB_API ebb_node ebb_nn_instance_norm(ebb_node x, const ebb_nn_norm_options *options);
#define ebb_nn_layer_norm(x, ...) ebb_nn_layer_norm(EBB_AT(x), __VA_ARGS__)
#define ebb_nn_rms_norm(x, ...) ebb_nn_rms_norm(EBB_AT(x), __VA_ARGS__)
#define ebb_nn_group_norm(x, ...) ebb_nn_group_norm(EBB_AT(x), __VA_ARGS__)
#define ebb_nn_instance_norm(x, ...) ebb_nn_instance_norm(EBB_AT(x), __VA_ARGS__)

/* ---- transformers: x [batch, length, width] ---- */

typedef struct ebb_nn_attention_options {
    const char *name; /* scope of the linear layers "query", "key", "value" and "out"; needed */
    int64_t heads;    /* >= 1, divides the width */
    bool causal;      /* position i sees positions 0..i of the context only */
    ebb_node mask; /* as of ebb_scaled_dot_product_attention, broadcast to [batch, heads, queries,
                      keys]; EBB_NONE: none */
    ebb_nn_init init; /* of the layers' w; default Glorot uniform */
    bool no_bias;
} ebb_nn_attention_options;
/* Multi-head attention (Vaswani et al. 2017, 3.2.2): heads of width / heads each, softmax(q k^T /
 * sqrt(width / heads)) v, side by side, through "out". Queries come from x, keys and values from
 * context [batch, keys, any width]; EBB_NONE: x, self-attention. F32 or F64. Sticky errors:
 * BAD_NODE, BAD_NAME, BAD_SHAPE, BAD_DTYPE, BAD_ARGUMENT. */
EBB_API ebb_node ebb_nn_attention(ebb_node x, ebb_node context,
                                  const ebb_nn_attention_options *options);
#define ebb_nn_attention(x, ...) ebb_nn_attention(EBB_AT(x), __VA_ARGS__)

typedef struct ebb_nn_transformer_options {
    const char *name; /* scope of "norm1", "attention", "norm2", "expand", "contract", and
                         "dropout1" and "dropout2" if there is dropout; needed */
    int64_t heads;    /* >= 1, divides the width */
    int64_t hidden;   /* width between "expand" and "contract"; default 4 width */
    bool causal;
    ebb_node mask;    /* both as of the attention */
    double dropout;   /* ratio, in [0, 1), of each branch before it is added */
    bool inference;   /* no dropout */
    double epsilon;   /* of the norms; 0: 1e-5 */
    ebb_nn_init init; /* of all w; default Glorot uniform; its seed is the dropout's too */
} ebb_nn_transformer_options;
/* An encoder block with the norms in front (Xiong et al. 2020, figure 1b; GPT-2): x <- x +
 * attention(norm1(x)); x + contract(gelu(expand(norm2(x)))). Causal, it is a decoder of text. Put
 * ebb_nn_layer_norm behind the last block. Errors: as the attention's. */
EBB_API ebb_node ebb_nn_transformer(ebb_node x, const ebb_nn_transformer_options *options);
#define ebb_nn_transformer(x, ...) ebb_nn_transformer(EBB_AT(x), __VA_ARGS__)

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
 *   GRU   w_x [inputs, 3 hidden], w_h [hidden, 3 hidden], in the order r, z, n; b [4 hidden]: of r,
 * of z, of n's x, of n's h b may be EBB_NONE: zeros. PyTorch has the same orders, transposed, and
 * two biases, of which only the sum counts but for the n of GRU. */
typedef struct ebb_nn_cell_weights {
    ebb_node w_x, w_h, b;
} ebb_nn_cell_weights;
typedef struct ebb_nn_cell_state {
    ebb_node h, c; /* [batch, hidden]; c for LSTM only. EBB_NONE at the start: zeros */
} ebb_nn_cell_state;

/* h' = tanh(x w_x + h w_h + b); with `use_relu`, relu in the place of tanh. Sticky errors, here and
 * below: BAD_SHAPE, BAD_DTYPE (not float, or different ones), BAD_NODE. */
EBB_API ebb_node ebb_nn_rnn_cell(ebb_node x, ebb_node h, ebb_nn_cell_weights weights,
                                 bool use_relu);
#define ebb_nn_rnn_cell(x, ...) ebb_nn_rnn_cell(EBB_AT(x), __VA_ARGS__)
/* With (i, f, g, o) = x w_x + h w_h + b: c' = sigmoid(f + forget_bias) c + sigmoid(i) tanh(g), h' =
 * sigmoid(o) tanh(c'). A forget_bias of 1 helps at the start of a training (Gers et al. 2000;
 * Jozefowicz et al. 2015). */
EBB_API ebb_nn_cell_state ebb_nn_lstm_cell(ebb_node x, ebb_nn_cell_state state,
                                           ebb_nn_cell_weights weights, double forget_bias);
#define ebb_nn_lstm_cell(x, ...) ebb_nn_lstm_cell(EBB_AT(x), __VA_ARGS__)
/* r = sigmoid(x_r + h_r), z = sigmoid(x_z + h_z), n = tanh(x_n + r h_n), h' = (1 - z) n + z h,
 * where x_ and h_ are parts of x w_x and h w_h with their biases. (In the paper r multiplies h
 * before w_h does, and z is 1 - z.) */
EBB_API ebb_node ebb_nn_gru_cell(ebb_node x, ebb_node h, ebb_nn_cell_weights weights);
#define ebb_nn_gru_cell(x, ...) ebb_nn_gru_cell(EBB_AT(x), __VA_ARGS__)

typedef struct ebb_nn_recurrent_options {
    const char *name; /* scope of the variables "w_x", "w_h" and "b"; needed */
    ebb_nn_cell cell;
    int64_t hidden;     /* >= 1 */
    double forget_bias; /* LSTM */
    ebb_nn_init init;   /* of w_x; default uniform in +-1/sqrt(hidden) (PyTorch's choice) */
    ebb_nn_init init_h; /* of w_h; the same default */
    bool no_bias;
} ebb_nn_recurrent_options;
/* The variables of a cell for x [batch, inputs], of x's dtype; made again they are the same. b
 * starts with 0. None nodes on failure; also BAD_NAME, BAD_ARGUMENT
 * (no such cell, hidden below 1, forget_bias not finite). */
EBB_API ebb_nn_cell_weights ebb_nn_recurrent_weights(ebb_node x,
                                                     const ebb_nn_recurrent_options *options);
#define ebb_nn_recurrent_weights(x, ...) ebb_nn_recurrent_weights(EBB_AT(x), __VA_ARGS__)

/* Unrolls a cell over time: steps[t] is x [batch, inputs] at time t, of one type, n_steps >= 1;
 * outputs[t] (NULL: not wanted) becomes h after step t. Returns the last state, to go on from, or
 * none nodes. The variables are those of ebb_nn_recurrent_weights: one set for all steps. */
EBB_API ebb_nn_cell_state ebb_nn_unroll(const ebb_node *steps, int n_steps, ebb_nn_cell_state first,
                                        const ebb_nn_recurrent_options *options, ebb_node *outputs);

/* ---- update rules ---- */

/* w: a variable, g: its gradient, r: the rate of this step, t: the number of this step, from 1. The
 * forms of the book (Saitoh 2016, chapter 6) where it has the rule; states start with 0. */
typedef enum ebb_nn_method {
    EBB_NN_SGD,      /* w - r g */
    EBB_NN_MOMENTUM, /* v <- momentum v - r g; w + v (Polyak 1964) */
    EBB_NN_NESTEROV, /* v <- momentum v - r g; w + momentum v - r g (Sutskever et al. 2013, by the
                        values at which gradients are taken) */
    EBB_NN_ADAGRAD,  /* h <- h + g^2; w - r g / (sqrt(h) + epsilon) (Duchi et al. 2011) */
    EBB_NN_RMSPROP,  /* h <- beta2 h + (1 - beta2) g^2; w - r g / (sqrt(h) + epsilon) (Tieleman &
                        Hinton 2012) */
    EBB_NN_ADAM,     /* m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2;
                        w - r m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon) (Kingma & Ba 2015,
                        algorithm 1) */
    EBB_NN_LION /* w - r sign(beta1 m + (1 - beta1) g); m <- beta2 m + (1 - beta2) g (Chen et al.
                   2023) */
} ebb_nn_method;

typedef enum ebb_nn_schedule_kind {
    EBB_NN_CONSTANT,
    EBB_NN_STEPS,       /* gamma^floor(s / period) */
    EBB_NN_EXPONENTIAL, /* gamma^(s / period) */
    EBB_NN_COSINE, /* from 1 to `last` in `period` steps, half a wave of the cosine; then `last`
                      (Loshchilov & Hutter 2017) */
    EBB_NN_LINEAR  /* from 1 to `last` in `period` steps, then `last` */
} ebb_nn_schedule_kind;

/* A factor of the rate, computed in the graph from the number of steps made, s = 0, 1, 2 ...:
 * nothing is compiled again. With `warmup` steps before it, the factor is (s + 1) / warmup there,
 * and s counts from their end. LINEAR or COSINE behind a warm-up is the one-cycle policy. */
typedef struct ebb_nn_schedule {
    ebb_nn_schedule_kind kind;
    int64_t warmup;
    int64_t period; /* steps, >= 1; not for CONSTANT */
    double gamma;   /* > 0, of STEPS and EXPONENTIAL */
    double last;    /* >= 0, of COSINE and LINEAR */
} ebb_nn_schedule;

/* Other settings for the variables whose full name matches; the first group that matches counts. */
typedef struct ebb_nn_group {
    const char *
        match; /* a pattern as of fnmatch(3): * stands for any characters, slashes too, ? for one */
    double rate_factor; /* 0: 1 */
    bool no_decay;
    bool is_frozen; /* no update at all */
} ebb_nn_group;

/* Zero is the default of every field but `rate`. */
typedef struct ebb_nn_rule {
    ebb_nn_method method;
    double rate;          /* finite, > 0 */
    double momentum;      /* of MOMENTUM and NESTEROV, below 1; default 0.9 */
    double beta1;         /* of ADAM and LION, below 1; default 0.9 */
    double beta2;         /* of RMSPROP (default 0.99), ADAM (0.999), LION (0.99) */
    double epsilon;       /* default 1e-7; 1e-8 for ADAM */
    bool late_correction; /* ADAM: epsilon is added to sqrt(v) as it is: r sqrt(1 - beta2^t) / (1 -
                             beta1^t) m / (sqrt(v) + epsilon), as in the book and at the end of
                             section 2 of the paper; epsilon's default is 1e-7 then */
    double weight_decay;  /* L2: g + weight_decay w takes the place of g */
    double l1_decay;      /* L1: the same with l1_decay sign(w) */
    bool decoupled_decay; /* AdamW (Loshchilov & Hutter 2019): w also loses r weight_decay w, and g
                             stays */
    double clip_value;    /* every element of g is brought into +-clip_value, first of all */
    double clip_norm;   /* then all gradients together are scaled down to this L2 norm, if they are
                           longer */
    int64_t accumulate; /* gradients of so many runs are averaged for one step; default 1 */
    double average; /* in 0..1: NAME.average follows w, average <- d average + (1 - d) w with d the
                       smaller of this and (t - 1) / t: the mean of the first steps, then an
                       exponential one */
    ebb_nn_schedule schedule;
    const ebb_nn_group *groups;
    int n_groups;
    const char *name; /* scope of the counters; default "minimize" */
} ebb_nn_rule;

/* Differentiates `loss` (a scalar) by every variable it depends on (floats; in order of creation)
 * and gives each its update. What the rule keeps are variables beside them: fc1/w has
 * fc1/w.velocity (MOMENTUM, NESTEROV), fc1/w.squares (ADAGRAD, RMSPROP), fc1/w.mean (ADAM, LION),
 * fc1/w.variance (ADAM), fc1/w.gradient (accumulate), fc1/w.average; the counters are minimize/step
 * (steps made, I64) and minimize/run. Errors: as ebb_gradients; BAD_ARGUMENT (a number out of
 * range, no variable, or all frozen), BAD_NAME. Message on the graph. */
EBB_NODISCARD EBB_API ebb_status ebb_nn_minimize(ebb_node loss, const ebb_nn_rule *rule);

/* The factor of a schedule for `step`, an integer scalar: an F64 scalar. For update rules of one's
 * own. Sticky errors: BAD_NODE, BAD_DTYPE, BAD_ARGUMENT. */
EBB_API ebb_node ebb_nn_schedule_factor(ebb_node step, const ebb_nn_schedule *schedule);
#define ebb_nn_schedule_factor(step, schedule) ebb_nn_schedule_factor(EBB_AT(step), schedule)

/* The mean of argmax(scores, 1) == labels. scores [batch, classes], labels [batch] integers. F64
 * scalar. */
EBB_API ebb_node ebb_nn_accuracy(ebb_node scores, ebb_node labels);
#define ebb_nn_accuracy(scores, labels) ebb_nn_accuracy(EBB_AT(scores), labels)

EBB_END

#endif
