/* conv_epilogue: a convolution with what follows it, as one op: y = relu(conv(x, w, bias) +
 * residual). See ops/epilogue.h. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/conv.h"
#include "ops/descriptors.h"

static int count_conv_inputs(int n_inputs, const void *attrs)
{
    return n_inputs - ((const ebb_conv_epilogue_attrs *)attrs)->epilogue.residual;
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
    const ebb_conv_epilogue_attrs *attrs = infer->attrs;
    return status ? status : ebb_epilogue_infer(infer, &attrs->epilogue);
}

static ebb_status eval_epilogue(const ebb_eval *eval)
{
    const ebb_conv_epilogue_attrs *attrs = eval->attrs;
    ebb_eval conv = *eval;
    conv.op = &ebb_op_conv;
    conv.n_inputs = count_conv_inputs(eval->n_inputs, attrs);
    ebb_status status = ebb_op_conv.eval(&conv);
    return status ? status : ebb_epilogue_eval(eval, &attrs->epilogue);
}

static void decompose_epilogue(const ebb_decompose *d)
{
    const ebb_conv_epilogue_attrs *attrs = d->attrs;
    ebb_node y = ebb_emit(d->graph, &ebb_op_conv, d->inputs, count_conv_inputs(d->n_inputs, attrs),
                          &attrs->conv, NULL);
    d->results[0] = ebb_epilogue_decompose(d, &attrs->epilogue, y);
}

static double flops_epilogue(const ebb_infer *types)
{
    ebb_infer conv = *types;
    conv.op = &ebb_op_conv;
    conv.n_inputs = count_conv_inputs(types->n_inputs, types->attrs);
    const ebb_conv_epilogue_attrs *attrs = types->attrs;
    return ebb_op_conv.flops(&conv) + ebb_epilogue_flops(types, &attrs->epilogue);
}

static const ebb_attr_field epilogue_fields[] = {
    { "stride", EBB_ATTR_INTS, offsetof(ebb_conv_epilogue_attrs, conv.stride), "as of conv", NULL },
    { "padding", EBB_ATTR_INTS, offsetof(ebb_conv_epilogue_attrs, conv.padding), "as of conv",
      NULL },
    { "dilation", EBB_ATTR_INTS, offsetof(ebb_conv_epilogue_attrs, conv.dilation), "as of conv",
      NULL },
    { "groups", EBB_ATTR_I64, offsetof(ebb_conv_epilogue_attrs, conv.groups), "as of conv", NULL },
    EBB_EPILOGUE_FIELDS(ebb_conv_epilogue_attrs),
    { 0 },
};

/* clang-format off */
#define F(...) EBB_SAMPLE_TYPE(F64, __VA_ARGS__)
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define ATTRS(...) .attrs = &(const ebb_conv_epilogue_attrs){ __VA_ARGS__ }
#define THEN(residual, relu) .epilogue = { residual, relu }
#define ONE { 1, { 1 } }
/* Small, so that some are below 0. */
#define SMALL .range = EBB_RANGES({ -0.5, 0.5, 0, 0 }, { -0.5, 0.5, 0, 0 })
static const ebb_sample samples[] = {
    { .label = "vector", .n_inputs = 4,
      .inputs = EBB_INPUTS(F(1, 1, 3), F(1, 1, 2), F(1), F(1, 1, 2)),
      ATTRS(THEN(true, true)),
      .values = { LIST(1, 2, 3), LIST(1, -1), LIST(3), LIST(10, -2.5) },
      .expected = LIST(12, 0), .source = "by the definition" },
    { .n_inputs = 2, .inputs = EBB_INPUTS(F(2, 3, 5, 4), F(4, 3, 3, 2)) },
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(2, 3, 5, 4), F(4, 3, 3, 3), F(4)),
      SMALL, ATTRS(.conv = { .padding = ONE }, THEN(false, true)) },
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(2, 3, 5, 4), F(4, 3, 3, 3), F(2, 4, 3, 2)),
      SMALL, ATTRS(THEN(true, true)) },
    { .n_inputs = 4, .inputs = EBB_INPUTS(F(1, 2, 5), F(2, 2, 3), F(2), F(1, 2, 5)),
      ATTRS(.conv = { .padding = ONE }, THEN(true, false)) },
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(2, 4, 5, 5), F(6, 2, 3, 3), F(2, 6, 3, 3)), SMALL,
      ATTRS(.conv = { .groups = 2 }, THEN(true, false)) },
    { .n_inputs = 2, .inputs = EBB_INPUTS(F(1, 2, 3, 3), F(3, 2, 1, 1)), SMALL,
      ATTRS(THEN(false, true)) },
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(1, 2, 3, 4, 3), F(2, 2, 2, 2, 2), F(2)), SMALL,
      ATTRS(.conv = { .stride = { 1, { 2 } } }, THEN(false, true)) },
    { .n_inputs = 4, .inputs = EBB_INPUTS(F(2, 3, 4, 4), F(3, 3, 1, 1), F(3), F(2, 3, 4, 4)), SMALL,
      ATTRS(THEN(true, true)) },
    { .n_inputs = 2, .inputs = EBB_INPUTS(F(2, 2, 6), F(3, 2, 2)),
      ATTRS(.conv = { .dilation = { 1, { 3 } } }) },
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(1, 2, 5), F(2, 2, 3), F(1, 2, 5)),
      ATTRS(THEN(true, false)),
      .error = EBB_BAD_SHAPE, .message = "the residual is f64[1,2,5], the result f64[1,2,3]" },
    { .n_inputs = 2, .inputs = EBB_INPUTS(F(1, 2, 5), F(2, 2, 3)), ATTRS(THEN(true, false)),
      .error = EBB_BAD_ARGUMENT, .message = "2 inputs; it takes x, w, perhaps bias, and the" },
};
/* clang-format on */

const ebb_op ebb_op_conv_epilogue = {
    .name = "conv_epilogue",
    .summary = "a convolution with a residual added and a relu; passes make it",
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
