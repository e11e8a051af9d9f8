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
