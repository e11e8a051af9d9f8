/* The part that all ops with an epilogue share. */
#define EBB_NO_LOCATIONS
#include "ops/epilogue.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/rows.h"
#include <string.h>

ebb_status ebb_epilogue_infer(const ebb_infer *infer, const ebb_epilogue *epilogue)
{
    char has[EBB_TYPE_TEXT_BYTES], needs[EBB_TYPE_TEXT_BYTES];
    if (!epilogue->residual)
        return EBB_OK;
    const ebb_type *residual = infer->inputs[infer->n_inputs - 1];
    if (!ebb_type_equal(residual, &infer->results[0]))
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "the residual is %s, the result %s",
                              ebb_type_text(residual, has),
                              ebb_type_text(&infer->results[0], needs));
    return EBB_OK;
}

ebb_status ebb_epilogue_eval(const ebb_eval *eval, const ebb_epilogue *epilogue)
{
    const ebb_tensor *y = &eval->results[0];
    const ebb_dtype dtype = y->type.dtype;
    const int64_t n = ebb_shape_elements(&y->type.shape);
    if (epilogue->residual)
        for (int64_t i = 0; i < n; i++)
            ebb_float_put(dtype, y->data, i,
                          ebb_float_at(dtype, y->data, i) +
                              ebb_float_at(dtype, eval->inputs[eval->n_inputs - 1].data, i));
    if (!epilogue->relu)
        return EBB_OK;
    return ebb_op_relu.eval(&(ebb_eval){ .op = &ebb_op_relu,
                                         .n_inputs = 1,
                                         .n_results = 1,
                                         .inputs = y,
                                         .results = y,
                                         .error = eval->error });
}

ebb_node ebb_epilogue_decompose(const ebb_decompose *d, const ebb_epilogue *epilogue,
                                ebb_node anchor)
{
    ebb_node y = anchor;
    if (epilogue->residual)
        y = ebb_add(y, d->inputs[d->n_inputs - 1]);
    return epilogue->relu ? ebb_relu(y) : y;
}

double ebb_epilogue_flops(const ebb_infer *types, const ebb_epilogue *epilogue)
{
    return (epilogue->residual + epilogue->relu) *
           (double)ebb_shape_elements(&types->results[0].shape);
}
