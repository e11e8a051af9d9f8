/* conv_epilogue: a convolution with what follows it, as one op: y = activation(conv(x, w, bias) +
 * residual). Passes make it (passes/anchors.c), for backends that compute it in one pass. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/conv.h"
#include "ops/descriptors.h"
#include "ops/rows.h"
#include <string.h>

static const char *const activation_names[] = { "none", "relu", "sigmoid", "tanh", NULL };

const ebb_op *ebb_activation_op(int activation)
{
    static const ebb_op *const ops[] = { NULL, &ebb_op_relu, &ebb_op_sigmoid, &ebb_op_tanh };
    return activation >= 0 && activation < (int)(sizeof ops / sizeof *ops) ? ops[activation] : NULL;
}

static int count_conv_inputs(int n_inputs, const void *attrs)
{
    return n_inputs - ((const ebb_conv_epilogue_attrs *)attrs)->residual;
}

static ebb_status infer_epilogue(const ebb_infer *infer)
{
    ebb_infer conv = *infer; /* the op stays, for messages */
    conv.n_inputs = count_conv_inputs(infer->n_inputs, infer->attrs);
    if (conv.n_inputs < 2)
        return ebb_infer_fail(infer, EBB_BAD_ARGUMENT,
                              "%d inputs; it takes x, w, perhaps bias, and the residual",
                              infer->n_inputs);
    ebb_status status = ebb_op_conv.infer(&conv);
    if (status || conv.n_inputs == infer->n_inputs)
        return status;
    char has[EBB_TYPE_TEXT_BYTES], needs[EBB_TYPE_TEXT_BYTES];
    const ebb_type *residual = infer->inputs[conv.n_inputs];
    if (!ebb_type_equal(residual, &infer->results[0]))
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "the residual is %s, the result %s",
                              ebb_type_text(residual, has),
                              ebb_type_text(&infer->results[0], needs));
    return EBB_OK;
}

static ebb_status eval_epilogue(const ebb_eval *eval)
{
    const ebb_conv_epilogue_attrs *attrs = eval->attrs;
    ebb_eval conv = *eval;
    conv.op = &ebb_op_conv;
    conv.n_inputs = count_conv_inputs(eval->n_inputs, attrs);
    ebb_status status = ebb_op_conv.eval(&conv);
    const ebb_tensor *y = &eval->results[0];
    const ebb_dtype dtype = y->type.dtype;
    const int64_t n = ebb_shape_elements(&y->type.shape);
    const ebb_op *activation = ebb_activation_op(attrs->activation);
    const size_t bytes = ebb_dtype_bytes(dtype);
    for (int64_t i = 0; i < n && !status; i++) {
        double value = ebb_float_at(dtype, y->data, i);
        if (attrs->residual)
            value += ebb_float_at(dtype, eval->inputs[conv.n_inputs].data, i);
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

static void decompose_epilogue(const ebb_decompose *d)
{
    const ebb_conv_epilogue_attrs *attrs = d->attrs;
    const int n = count_conv_inputs(d->n_inputs, attrs);
    const ebb_op *activation = ebb_activation_op(attrs->activation);
    ebb_node y = ebb_emit(d->graph, &ebb_op_conv, d->inputs, n, &attrs->conv, NULL);
    if (attrs->residual)
        y = ebb_add(y, d->inputs[n]);
    if (activation)
        y = ebb_emit(d->graph, activation, &y, 1, NULL, NULL);
    d->results[0] = y;
}

static double flops_epilogue(const ebb_infer *types)
{
    ebb_infer conv = *types;
    conv.op = &ebb_op_conv;
    conv.n_inputs = count_conv_inputs(types->n_inputs, types->attrs);
    const ebb_conv_epilogue_attrs *attrs = types->attrs;
    return ebb_op_conv.flops(&conv) +
           (attrs->residual + (attrs->activation != EBB_ACTIVATION_NONE)) *
               (double)ebb_shape_elements(&types->results[0].shape);
}

static const ebb_attr_field epilogue_fields[] = {
    { "stride", EBB_ATTR_INTS, offsetof(ebb_conv_epilogue_attrs, conv.stride), "as of conv", NULL },
    { "padding", EBB_ATTR_INTS, offsetof(ebb_conv_epilogue_attrs, conv.padding), "as of conv",
      NULL },
    { "dilation", EBB_ATTR_INTS, offsetof(ebb_conv_epilogue_attrs, conv.dilation), "as of conv",
      NULL },
    { "groups", EBB_ATTR_I64, offsetof(ebb_conv_epilogue_attrs, conv.groups), "as of conv", NULL },
    EBB_FIELD(ebb_conv_epilogue_attrs, residual, BOOL,
              "the last input, like the result, is added; default false"),
    { "activation", EBB_ATTR_ENUM, offsetof(ebb_conv_epilogue_attrs, activation),
      "of the sum; default none", activation_names },
    { 0 },
};

/* clang-format off */
#define F(...) EBB_SAMPLE_TYPE(F64, __VA_ARGS__)
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define ATTRS(...) .attrs = &(const ebb_conv_epilogue_attrs){ __VA_ARGS__ }
#define ONE { 1, { 1 } }
/* Where activations are not flat. */
#define SMALL .range = { { -0.5, 0.5, 0, 0 }, { -0.5, 0.5, 0, 0 } }
static const ebb_sample samples[] = {
    { .label = "vector", .n_inputs = 4, .inputs = { F(1, 1, 3), F(1, 1, 2), F(1), F(1, 1, 2) },
      ATTRS(.residual = true, .activation = EBB_ACTIVATION_RELU),
      .values = { LIST(1, 2, 3), LIST(1, -1), LIST(3), LIST(10, -2.5) },
      .expected = LIST(12, 0), .source = "by the definition" },
    { .n_inputs = 2, .inputs = { F(2, 3, 5, 4), F(4, 3, 3, 2) } },
    { .n_inputs = 3, .inputs = { F(2, 3, 5, 4), F(4, 3, 3, 3), F(4) },
      SMALL, ATTRS(.conv = { .padding = ONE }, .activation = EBB_ACTIVATION_TANH) },
    { .n_inputs = 3, .inputs = { F(2, 3, 5, 4), F(4, 3, 3, 3), F(2, 4, 3, 2) },
      SMALL, ATTRS(.residual = true, .activation = EBB_ACTIVATION_SIGMOID) },
    { .n_inputs = 4, .inputs = { F(1, 2, 5), F(2, 2, 3), F(2), F(1, 2, 5) },
      ATTRS(.conv = { .padding = ONE }, .residual = true) },
    { .n_inputs = 3, .inputs = { F(2, 4, 5, 5), F(6, 2, 3, 3), F(2, 6, 3, 3) }, SMALL,
      ATTRS(.conv = { .groups = 2 }, .residual = true, .activation = EBB_ACTIVATION_TANH) },
    { .n_inputs = 2, .inputs = { F(1, 2, 3, 3), F(3, 2, 1, 1) }, SMALL,
      ATTRS(.activation = EBB_ACTIVATION_SIGMOID) },
    { .n_inputs = 3, .inputs = { F(1, 2, 3, 4, 3), F(2, 2, 2, 2, 2), F(2) }, SMALL,
      ATTRS(.conv = { .stride = { 1, { 2 } } }, .activation = EBB_ACTIVATION_TANH) },
    { .n_inputs = 4, .inputs = { F(2, 3, 4, 4), F(3, 3, 1, 1), F(3), F(2, 3, 4, 4) }, SMALL,
      ATTRS(.residual = true, .activation = EBB_ACTIVATION_SIGMOID) },
    { .n_inputs = 2, .inputs = { F(2, 2, 6), F(3, 2, 2) }, ATTRS(.conv = { .dilation = { 1, { 3 } } }) },
    { .n_inputs = 3, .inputs = { F(1, 2, 5), F(2, 2, 3), F(1, 2, 5) }, ATTRS(.residual = true),
      .error = EBB_BAD_SHAPE, .message = "the residual is f64[1,2,5], the result f64[1,2,3]" },
    { .n_inputs = 2, .inputs = { F(1, 2, 5), F(2, 2, 3) }, ATTRS(.residual = true),
      .error = EBB_BAD_ARGUMENT, .message = "2 inputs; it takes x, w, perhaps bias, and the" },
};
/* clang-format on */

const ebb_op ebb_op_conv_epilogue = {
    .name = "conv_epilogue",
    .summary = "a convolution with a residual added and an activation; passes make it",
    .group = "convolution",
    .n_inputs = EBB_VARIADIC,
    .n_results = 1,
    .traits = EBB_TRAIT_LIBRARY,
    .attrs_bytes = sizeof(ebb_conv_epilogue_attrs),
    .attrs = epilogue_fields,
    .infer = infer_epilogue,
    .eval = eval_epilogue,
    .decompose = decompose_epilogue,
    .flops = flops_epilogue,
    .samples = samples,
    .n_samples = sizeof samples / sizeof *samples,
};
