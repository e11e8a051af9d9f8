/* The copy op: what the runtime compiles to make a value dense. */
#include "backends/backends.h"
#include <string.h>

static ebb_status infer_copy(const ebb_infer *infer)
{
    infer->results[0] = *infer->inputs[0];
    return EBB_OK;
}

static ebb_status eval_copy(const ebb_eval *eval)
{
    size_t n_bytes = ebb_tensor_bytes(&eval->results[0]);
    if (n_bytes > 0)
        memcpy(eval->results[0].data, eval->inputs[0].data, n_bytes);
    return EBB_OK;
}

const ebb_op ebb_op_copy = {
    .name = "copy",
    .summary = "the input, dense",
    .group = "internal",
    .n_inputs = 1,
    .n_results = 1,
    .traits = EBB_TRAIT_ELEMENTWISE,
    .infer = infer_copy,
    .eval = eval_copy,
};
