/* The net of most experiments of Saitoh, Deep Learning from Scratch (2016), chapter 6: layers of
 * one width, each linear, batch normalization if wanted, activation, dropout if wanted. */
#ifndef EXAMPLES_SUPPORT_MLP_H
#define EXAMPLES_SUPPORT_MLP_H

#include <ebb/nn.h>

enum { MLP_CLASSES = 10, MLP_WIDTH = 100 };

typedef struct mlp_options {
    int n_hidden;     /* layers of MLP_WIDTH, with ReLU */
    ebb_nn_init init; /* of the weights of all layers, default HE; biases are 0 */
    bool batch_norm;  /* with the book's epsilon of 1e-6 and its form of the running variance */
    double dropout;   /* ratio that is dropped, in the book's form; 0: none */
} mlp_options;

/* A network_builder (train.h); `context` is a mlp_options. The variables are fc1/w [inputs, width],
 * fc1/b ... */
ebb_node build_mlp(ebb_node x, bool training, const void *context);

/* Groups for an update rule with weight decay: the book's decays weights, not biases, scales and
 * shifts. */
extern const ebb_nn_group mlp_groups[];
enum { MLP_N_GROUPS = 3 };

#endif
