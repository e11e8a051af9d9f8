/* batch_norm and batch_norm_inference with what follows them, y = relu(batch_norm(x) + residual),
 * and the gradient of the first with a relu. See ops/epilogue.h.
 *
 * The gradient lets dy through where batch_norm_inference(x, scale, offset, mean, variance) is
 * above 0: the offset is the shift, less what the rounded mean lacks, and a further result of the
 * forward op. A backend computes both in the same way, so that its mask is that of y, which need
 * not be read. */
#define EBB_NO_LOCATIONS
#include "ops/batch_norm_epilogue.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/rows.h"
#include <string.h>

/* The op without its epilogue, and how many inputs that has. */
static const ebb_op *base_of(const ebb_op *op)
{
    return op->user;
}

/* As another op, of the first inputs and results. */
static ebb_status infer_as(const ebb_infer *infer, const ebb_op *op, const void *attrs)
{
    ebb_infer inner = *infer;
    inner.op = op;
    inner.attrs = attrs;
    inner.n_inputs = op->n_inputs;
    return op->infer(&inner);
}

static ebb_status eval_as(const ebb_eval *eval, const ebb_op *op, const void *attrs,
                          const ebb_tensor *inputs)
{
    ebb_eval inner = *eval;
    inner.op = op;
    inner.attrs = attrs;
    inner.inputs = inputs;
    inner.n_inputs = op->n_inputs;
    inner.n_results = op->n_results;
    return op->eval(&inner);
}

static ebb_status infer_epilogue(const ebb_infer *infer)
{
    const ebb_batch_norm_epilogue_attrs *attrs = infer->attrs;
    const ebb_op *base = base_of(infer->op);
    if (infer->n_inputs != base->n_inputs + attrs->epilogue.residual)
        return ebb_infer_fail(infer, EBB_BAD_ARGUMENT, "%d inputs; it takes the %d of %s%s",
                              infer->n_inputs, base->n_inputs, base->name,
                              attrs->epilogue.residual ? ", and the residual" : "");
    ebb_status status = infer_as(infer, base, &attrs->batch_norm);
    if (status)
        return status;
    if (infer->op->n_results > base->n_results)
        infer->results[base->n_results] = *infer->inputs[2];
    return ebb_epilogue_infer(infer, &attrs->epilogue);
}

static ebb_status eval_epilogue(const ebb_eval *eval)
{
    const ebb_batch_norm_epilogue_attrs *attrs = eval->attrs;
    const ebb_op *base = base_of(eval->op);
    ebb_status status = eval_as(eval, base, &attrs->batch_norm, eval->inputs);
    if (eval->n_results > base->n_results)
        memcpy(eval->results[base->n_results].data, eval->inputs[2].data,
               ebb_tensor_bytes(&eval->inputs[2]));
    return status ? status : ebb_epilogue_eval(eval, &attrs->epilogue);
}

static void decompose_epilogue(const ebb_decompose *d)
{
    const ebb_batch_norm_epilogue_attrs *attrs = d->attrs;
    const ebb_op *base = base_of(d->op);
    ebb_node y =
        ebb_emit(d->graph, base, d->inputs, base->n_inputs, &attrs->batch_norm, d->results);
    d->results[0] = ebb_epilogue_decompose(d, &attrs->epilogue, y);
    if (d->n_results > base->n_results)
        d->results[base->n_results] = d->inputs[2];
}

/* ---- the gradient with a relu ---- */

static ebb_status infer_gradient(const ebb_infer *infer)
{
    ebb_status status = infer_as(infer, &ebb_op_batch_norm_grad, infer->attrs);
    return status ? status : ebb_infer_per_channel(infer, 5, "offset");
}

static ebb_status eval_gradient(const ebb_eval *eval)
{
    const ebb_tensor *x = eval->inputs, *dx = &eval->results[0];
    const ebb_dtype dtype = dx->type.dtype;
    const ebb_tensor forward[5] = { x[0], x[1], x[5], x[3], x[4] };
    const ebb_tensor backward[5] = { x[0], x[1], *dx, x[3], x[4] };
    ebb_status status = eval_as(eval, &ebb_op_batch_norm_inference, eval->attrs, forward);
    for (int64_t i = 0; i < ebb_shape_elements(&dx->type.shape) && !status; i++)
        ebb_float_put(dtype, dx->data, i,
                      ebb_float_at(dtype, dx->data, i) > 0 ? ebb_float_at(dtype, x[2].data, i) : 0);
    /* It reads each element of dy for the last time before it writes that of dx. */
    return status ? status : eval_as(eval, &ebb_op_batch_norm_grad, eval->attrs, backward);
}

static void decompose_gradient(const ebb_decompose *d)
{
    const ebb_node *x = d->inputs, dy = x[2], zero = ebb_full_like(dy, 0);
    const ebb_node forward[5] = { x[0], x[1], x[5], x[3], x[4] };
    const ebb_node y = ebb_emit(d->graph, &ebb_op_batch_norm_inference, forward, 5, d->attrs, NULL);
    const ebb_node inputs[5] = { x[0], x[1], ebb_select(ebb_greater(y, zero), dy, zero), x[3],
                                 x[4] };
    ebb_emit(d->graph, &ebb_op_batch_norm_grad, inputs, 5, d->attrs, d->results);
}

/* ---- samples ---- */

#define EPSILON_TEXT "added to the variance; default 0"
static const ebb_attr_field epilogue_fields[] = {
    { "epsilon", EBB_ATTR_F64, offsetof(ebb_batch_norm_epilogue_attrs, batch_norm.epsilon),
      EPSILON_TEXT, NULL },
    EBB_EPILOGUE_FIELDS(ebb_batch_norm_epilogue_attrs),
    { 0 },
};
static const ebb_attr_field gradient_fields[] = {
    EBB_FIELD(ebb_batch_norm_attrs, epsilon, F64, EPSILON_TEXT),
    { 0 },
};

/* clang-format off */
#define F(...) EBB_SAMPLE_TYPE(F64, __VA_ARGS__)
#define IN(n, ...) .n_inputs = n, .inputs = EBB_INPUTS(__VA_ARGS__)
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define ATTRS(epsilon, residual, relu)                                                             \
    .attrs = &(const ebb_batch_norm_epilogue_attrs){ { epsilon }, { residual, relu } }
#define GRADIENT(epsilon) .attrs = &(const ebb_batch_norm_attrs){ epsilon }
/* Where the relu bends is at least 0.05 away: of x, scale, mean, variance, and what is added. */
#define FAR_FROM_0                                                                                 \
    { -2, 2, 0.6, 0 }, { -1.5, 1.5, 0.5, 0 }, [3] = { -0.2, 0.2, 0, 0 }, [4] = { 0.5, 3, 0, 0 },   \
    [5] = { -0.02, 0.02, 0, 0 }
#define OFFSET_RANGES .range = EBB_RANGES(FAR_FROM_0)
#define INFERENCE_RANGES .range = EBB_RANGES(FAR_FROM_0, [2] = { -0.02, 0.02, 0, 0 })
#define PAPER "Ioffe & Szegedy 2015, algorithm 1, by hand"

static const ebb_sample samples_batch_norm_epilogue[] = {
    /* mean 3, variance 4; and a channel that is constant */
    { IN(3, F(2, 2), F(2), F(2)), ATTRS(5, false, true),
      .values = { LIST(1, 7, 5, 7), LIST(3, 2), LIST(1, 4) },
      .expected = LIST(0, 4, 3, 4, 3, 7, 4, 0, 1, 4), .source = PAPER },
    { IN(4, F(2, 1, 1, 2), F(1), F(1), F(2, 1, 1, 2)), ATTRS(11, true, true),
      .values = { LIST(1, 3, 5, 7), LIST(4), LIST(1), LIST(1, 2, -3, 4) },
      .expected = LIST(0, 2, 0, 8, 4, 5, 1), .source = PAPER },
    { IN(3, F(2, 3), F(3), F(3)), ATTRS(0.5, false, false) },
    { IN(3, F(7, 1), F(1), F(1)), ATTRS(0.1, false, true) },
    { IN(4, F(8, 17), F(17), F(17), F(8, 17)), ATTRS(0.1, true, true) },
    { IN(3, F(2, 3, 4), F(3), F(3)), ATTRS(0.1, false, true) },
    { IN(4, F(2, 3, 3, 5), F(3), F(3), F(2, 3, 3, 5)), ATTRS(1e-2, true, false) },
    { IN(4, F(5, 17, 1, 3), F(17), F(17), F(5, 17, 1, 3)), ATTRS(0.1, true, true) },
    { IN(3, F(2, 3, 2, 1, 3), F(3), F(3)), ATTRS(0.1, false, true) },
    { IN(3, F(0, 3), F(3), F(3)), ATTRS(1e-5, false, true), .no_gradient = true },
    { IN(3, F(3, 0), F(0), F(0)), ATTRS(1e-5, false, true) },
    { IN(3, F(2, 3), F(3), F(3)), ATTRS(1, true, true), .error = EBB_BAD_ARGUMENT,
      .message = "3 inputs; it takes the 3 of batch_norm, and the residual" },
    { IN(4, F(2, 3), F(3), F(3), F(2, 3)), ATTRS(1, false, true), .error = EBB_BAD_ARGUMENT,
      .message = "4 inputs; it takes the 3 of batch_norm" },
    { IN(4, F(2, 3), F(3), F(3), F(3)), ATTRS(1, true, true), .error = EBB_BAD_SHAPE,
      .message = "the residual is f64[3], the result f64[2,3]" },
    { IN(3, F(2, 3), F(3), F(2)), ATTRS(1, false, true), .error = EBB_BAD_SHAPE,
      .message = "shift is [2], not [3] as the channels of x" },
};
static const ebb_sample samples_batch_norm_inference_epilogue[] = {
    { IN(5, F(1, 2, 1, 2), F(2), F(2), F(2), F(2)), ATTRS(5, false, true),
      .values = { LIST(1, 4, 7, 9), LIST(3, 2), LIST(-1, 4), LIST(1, 7), LIST(4, 11) },
      .expected = LIST(0, 2, 4, 5), .source = "Ioffe & Szegedy 2015, algorithm 2, by hand" },
    { IN(5, F(8, 17), F(17), F(17), F(17), F(17)), ATTRS(0.1, false, true), INFERENCE_RANGES },
    { IN(6, F(2, 3, 4), F(3), F(3), F(3), F(3), F(2, 3, 4)), ATTRS(0.1, true, true),
      INFERENCE_RANGES },
    { IN(6, F(5, 17, 1, 3), F(17), F(17), F(17), F(17), F(5, 17, 1, 3)), ATTRS(0.1, true, false),
      INFERENCE_RANGES },
    { IN(5, F(7, 1), F(1), F(1), F(1), F(1)), ATTRS(1e-3, false, true), INFERENCE_RANGES },
    { IN(5, F(1, 7), F(7), F(7), F(7), F(7)), ATTRS(1, false, true), INFERENCE_RANGES },
    { IN(6, F(2, 3, 2, 1, 3), F(3), F(3), F(3), F(3), F(2, 3, 2, 1, 3)), ATTRS(0.1, true, true),
      INFERENCE_RANGES },
    { IN(5, F(0, 3), F(3), F(3), F(3), F(3)), ATTRS(1e-5, false, true), INFERENCE_RANGES },
    { IN(5, F(2, 3), F(3), F(3), F(3), F(3)), ATTRS(1, true, true), .error = EBB_BAD_ARGUMENT,
      .message = "5 inputs; it takes the 5 of batch_norm_inference, and the residual" },
};
static const ebb_sample samples_batch_norm_relu_grad[] = {
    /* r = 1/2, y = -2, 1; dy 3, 5 of which 5 goes through: dx = r (dy - 5/2 - n n/2 5) */
    { IN(6, F(2, 1), F(1), F(2, 1), F(1), F(1), F(1)), GRADIENT(3),
      .values = { LIST(0, 3), LIST(2), LIST(3, 5), LIST(2), LIST(1), LIST(0) },
      .expected = LIST(-1.25, 1.875, 2.5, 5), .source = "by the definition" },
    { IN(6, F(7, 1), F(1), F(7, 1), F(1), F(1), F(1)), GRADIENT(0.1), OFFSET_RANGES },
    { IN(6, F(8, 17), F(17), F(8, 17), F(17), F(17), F(17)), GRADIENT(0.1), OFFSET_RANGES },
    { IN(6, F(2, 3, 4), F(3), F(2, 3, 4), F(3), F(3), F(3)), GRADIENT(0.1), OFFSET_RANGES },
    { IN(6, F(5, 17, 1, 3), F(17), F(5, 17, 1, 3), F(17), F(17), F(17)), GRADIENT(0.1), OFFSET_RANGES },
    { IN(6, F(3, 2, 2), F(2), F(3, 2, 2), F(2), F(2), F(2)), GRADIENT(1), OFFSET_RANGES },
    { IN(6, F(2, 3, 2, 1, 3), F(3), F(2, 3, 2, 1, 3), F(3), F(3), F(3)), GRADIENT(1e-3), OFFSET_RANGES },
    { IN(6, F(17, 7), F(7), F(17, 7), F(7), F(7), F(7)), GRADIENT(0.1), OFFSET_RANGES },
    { IN(6, F(0, 3), F(3), F(0, 3), F(3), F(3), F(3)), GRADIENT(0.1), OFFSET_RANGES,
      .no_gradient = true },
    { IN(6, F(2, 3), F(3), F(3), F(3), F(3), F(3)), GRADIENT(1), .error = EBB_BAD_SHAPE,
      .message = "dy is [3], not [2,3] as x" },
    { IN(6, F(2, 3), F(3), F(2, 3), F(3), F(3), F(2)), GRADIENT(1), .error = EBB_BAD_SHAPE,
      .message = "offset is [2], not [3] as the channels of x" },
};
/* clang-format on */

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])
#define EPILOGUE(name_, n_results_, base_, text)                                                   \
    const ebb_op ebb_op_##name_ = { .name = #name_,                                                \
                                    .summary = text,                                               \
                                    .group = "library",                                            \
                                    .n_inputs = EBB_VARIADIC,                                      \
                                    .n_results = n_results_,                                       \
                                    .traits = EBB_TRAIT_LIBRARY,                                   \
                                    .attrs_bytes = sizeof(ebb_batch_norm_epilogue_attrs),          \
                                    .attrs = epilogue_fields,                                      \
                                    .infer = infer_epilogue,                                       \
                                    .eval = eval_epilogue,                                         \
                                    .decompose = decompose_epilogue,                               \
                                    .samples = samples_##name_,                                    \
                                    .n_samples = COUNT(samples_##name_),                           \
                                    .user = &ebb_op_##base_ };

EPILOGUE(batch_norm_epilogue, 4, batch_norm,
         "batch_norm with a residual added and a relu, and the offset for batch_norm_relu_grad; "
         "passes make it")
EPILOGUE(batch_norm_inference_epilogue, 1, batch_norm_inference,
         "batch_norm_inference with a residual added and a relu; passes make it")

const ebb_op ebb_op_batch_norm_relu_grad = {
    .name = "batch_norm_relu_grad",
    .summary =
        "batch_norm_grad, of dy where relu(batch_norm) is above 0, out of x, scale, dy, mean, "
        "variance and the offset; passes make it",
    .group = "library",
    .n_inputs = 6,
    .n_results = 3,
    .traits = EBB_TRAIT_LIBRARY,
    .attrs_bytes = sizeof(ebb_batch_norm_attrs),
    .attrs = gradient_fields,
    .infer = infer_gradient,
    .eval = eval_gradient,
    .decompose = decompose_gradient,
    .samples = samples_batch_norm_relu_grad,
    .n_samples = COUNT(samples_batch_norm_relu_grad),
};
