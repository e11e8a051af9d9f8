/* Between the files of nn/. */
#ifndef NN_NN_H
#define NN_NN_H

#include <ebb/nn.h>

/* x times a number. */
ebb_node ebb_nn_scaled(ebb_node x, double factor);

/* What a step of a method has at hand. Scalars are rank 0 and of w's dtype. */
typedef struct ebb_nn_step {
    const ebb_nn_rule *rule;
    ebb_node w, g; /* of one shape */
    ebb_node rate; /* scalar: of this step and this variable */
    ebb_node t;    /* F64 scalar: number of this step, from 1; none unless the method counts */
    ebb_node states[2], new_states[2];
} ebb_nn_step;

typedef struct ebb_nn_method_row {
    const char *name;
    const char *states[2];                  /* suffixes of the variables it keeps; NULL: none */
    bool counts;                            /* needs t */
    double momentum, beta1, beta2, epsilon; /* defaults */
    /* The new w; fills new_states. */
    ebb_node (*emit)(ebb_nn_step *step);
} ebb_nn_method_row;

/* The row with the defaults filled into *rule, or NULL: no such method. */
const ebb_nn_method_row *ebb_nn_method_find(ebb_nn_rule *rule);

/* NULL if the schedule is good, else what is wrong with it. */
const char *ebb_nn_schedule_check(const ebb_nn_schedule *schedule);

/* False, and a sticky error, unless x is there, float and of at least this rank, and the layer has
 * a name. `what` is the builder, `form` what x must be: "[batch, inputs]". */
bool ebb_nn_layer_check(const char *what, ebb_node x, const char *name, int min_rank,
                        const char *form);

/* `init`; or, if it leaves that to the layer, `fallback` with its seed and gain. */
ebb_nn_init ebb_nn_init_or(ebb_nn_init init, ebb_nn_init fallback);

#endif
