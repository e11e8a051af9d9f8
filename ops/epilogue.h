/* What follows an anchor, a convolution or a matrix product, in the same op: y = activation(anchor
 * + residual). Passes make such ops (passes/anchors.c), for backends that compute them in one pass.
 */
#ifndef OPS_EPILOGUE_H
#define OPS_EPILOGUE_H

#include <ebb/op.h>

typedef enum ebb_activation {
    EBB_ACTIVATION_NONE,
    EBB_ACTIVATION_RELU,
    EBB_ACTIVATION_SIGMOID,
    EBB_ACTIVATION_TANH
} ebb_activation;

typedef struct ebb_epilogue {
    bool residual;  /* behind the anchor's inputs there is one more, which is added */
    int activation; /* ebb_activation */
} ebb_epilogue;

/* The op that an activation is; NULL: none. */
const ebb_op *ebb_activation_op(int activation);

/* Rows of an op's attributes, of which `epilogue` is a member. */
#define EBB_EPILOGUE_FIELDS(type)                                                                  \
    { "residual", EBB_ATTR_BOOL, offsetof(type, epilogue.residual),                                \
      "the last input, like the result, is added; default false", NULL },                          \
    {                                                                                              \
        "activation", EBB_ATTR_ENUM, offsetof(type, epilogue.activation),                          \
            "of the sum; default none", ebb_activation_names                                       \
    }
extern const char *const ebb_activation_names[];

/* In all of these the residual, if there is one, is the op's last input. */

/* When results[0] is there: is the residual like it? */
ebb_status ebb_epilogue_infer(const ebb_infer *infer, const ebb_epilogue *epilogue);
/* Adds to results[0] and applies the activation. */
ebb_status ebb_epilogue_eval(const ebb_eval *eval, const ebb_epilogue *epilogue);
/* What becomes of the anchor's value. */
ebb_node ebb_epilogue_decompose(const ebb_decompose *d, const ebb_epilogue *epilogue,
                                ebb_node anchor);
double ebb_epilogue_flops(const ebb_infer *types, const ebb_epilogue *epilogue);

#endif
