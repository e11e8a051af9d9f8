/* What follows an anchor, a convolution or a matrix product, in the same op: y = relu(anchor +
 * residual). Passes make such ops (passes/anchors.c), for backends that compute them in one pass.
 */
#ifndef OPS_EPILOGUE_H
#define OPS_EPILOGUE_H

#include <ebb/op.h>

typedef struct ebb_epilogue {
    bool residual; /* behind the anchor's inputs there is one more, which is added */
    bool relu;     /* of the sum */
} ebb_epilogue;

/* Rows of an op's attributes, of which `epilogue` is a member. */
#define EBB_EPILOGUE_FIELDS(type)                                                                  \
    { "residual", EBB_ATTR_BOOL, offsetof(type, epilogue.residual),                                \
      "the last input, like the result, is added; default false", NULL },                          \
    {                                                                                              \
        "relu", EBB_ATTR_BOOL, offsetof(type, epilogue.relu), "of the sum; default false", NULL    \
    }

/* In all of these the residual, if there is one, is the op's last input. */

/* When results[0] is there: is the residual like it? */
ebb_status ebb_epilogue_infer(const ebb_infer *infer, const ebb_epilogue *epilogue);
/* Adds to results[0], and takes the relu. */
ebb_status ebb_epilogue_eval(const ebb_eval *eval, const ebb_epilogue *epilogue);
/* What becomes of the anchor's value. */
ebb_node ebb_epilogue_decompose(const ebb_decompose *d, const ebb_epilogue *epilogue,
                                ebb_node anchor);
double ebb_epilogue_flops(const ebb_infer *types, const ebb_epilogue *epilogue);

#endif
