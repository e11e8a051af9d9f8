/* The part that all ops with an epilogue share. */
#define EBB_NO_LOCATIONS
#include "ops/epilogue.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/rows.h"
#include <string.h>

const char *const ebb_activation_names[] = { "none", "relu", "sigmoid", "tanh", NULL };

const ebb_op *ebb_activation_op(int activation)
{
    static const ebb_op *const ops[] = { NULL, &ebb_op_relu, &ebb_op_sigmoid, &ebb_op_tanh };
    return activation >= 0 && activation < (int)(sizeof ops / sizeof *ops) ? ops[activation] : NULL;
}

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
    const ebb_op *activation = ebb_activation_op(epilogue->activation);
    const size_t bytes = ebb_dtype_bytes(dtype);
    ebb_status status = EBB_OK;
    for (int64_t i = 0; i < n && !status; i++) {
        double value = ebb_float_at(dtype, y->data, i);
        if (epilogue->residual)
            value += ebb_float_at(dtype, eval->inputs[eval->n_inputs - 1].data, i);
        ebb_float_put(dtype, y->data, i, value);
        if (!activation)
            continue;
        union {
            double f64;
            float f32;
        } before;
        memcpy(&before, (const char *)y->data + (size_t)i * bytes, bytes);
        const ebb_tensor input = ebb_tensor_borrow(dtype, EBB_SCALAR, &before);
        const ebb_tensor result =
            ebb_tensor_borrow(dtype, EBB_SCALAR, (char *)y->data + (size_t)i * bytes);
        status = activation->eval(&(ebb_eval){ .op = activation,
                                               .n_inputs = 1,
                                               .n_results = 1,
                                               .inputs = &input,
                                               .results = &result,
                                               .error = eval->error });
    }
    return status;
}

ebb_node ebb_epilogue_decompose(const ebb_decompose *d, const ebb_epilogue *epilogue,
                                ebb_node anchor)
{
    const ebb_op *activation = ebb_activation_op(epilogue->activation);
    ebb_node y = anchor;
    if (epilogue->residual)
        y = ebb_add(y, d->inputs[d->n_inputs - 1]);
    return activation ? ebb_emit(d->graph, activation, &y, 1, NULL, NULL) : y;
}

double ebb_epilogue_flops(const ebb_infer *types, const ebb_epilogue *epilogue)
{
    return (epilogue->residual + (epilogue->activation != EBB_ACTIVATION_NONE)) *
           (double)ebb_shape_elements(&types->results[0].shape);
}
