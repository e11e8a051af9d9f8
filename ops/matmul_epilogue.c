/* matmul_epilogue: a matrix product with what follows it, as one op: y = relu(a b + bias +
 * residual). See ops/epilogue.h. */
#define EBB_NO_LOCATIONS
#include "ops/matmul_epilogue.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/rows.h"

static bool has_bias(int n_inputs, const void *attrs)
{
    const ebb_matmul_epilogue_attrs *a = attrs;
    return n_inputs - a->epilogue.residual > 2;
}

static ebb_status infer_epilogue(const ebb_infer *infer)
{
    const ebb_matmul_epilogue_attrs *attrs = infer->attrs;
    const int n = infer->n_inputs - attrs->epilogue.residual;
    if (n < 2 || n > 3)
        return ebb_infer_fail(infer, EBB_BAD_ARGUMENT,
                              "%d inputs; it takes a, b, perhaps bias, and the residual",
                              infer->n_inputs);
    ebb_infer matmul = *infer; /* the op stays, for messages */
    matmul.n_inputs = 2;
    matmul.attrs = &attrs->matmul;
    ebb_status status = ebb_op_matmul.infer(&matmul);
    if (status)
        return status;
    const ebb_type *result = &infer->results[0];
    if (n > 2) {
        const ebb_type bias = { result->dtype,
                                { 1, { result->shape.dims[result->shape.rank - 1] } } };
        char has[EBB_TYPE_TEXT_BYTES], needs[EBB_TYPE_TEXT_BYTES];
        if (!ebb_type_equal(infer->inputs[2], &bias))
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "the bias is %s, columns need %s",
                                  ebb_type_text(infer->inputs[2], has),
                                  ebb_type_text(&bias, needs));
    }
    return ebb_epilogue_infer(infer, &attrs->epilogue);
}

static ebb_status eval_epilogue(const ebb_eval *eval)
{
    const ebb_matmul_epilogue_attrs *attrs = eval->attrs;
    ebb_eval matmul = *eval;
    matmul.op = &ebb_op_matmul;
    matmul.n_inputs = 2;
    matmul.attrs = &attrs->matmul;
    ebb_status status = ebb_op_matmul.eval(&matmul);
    const ebb_tensor *y = &eval->results[0];
    const ebb_dtype dtype = y->type.dtype;
    const int64_t n = ebb_shape_elements(&y->type.shape);
    const int64_t n_columns = y->type.shape.dims[y->type.shape.rank - 1];
    if (has_bias(eval->n_inputs, attrs))
        for (int64_t i = 0; i < n; i++)
            ebb_float_put(dtype, y->data, i,
                          ebb_float_at(dtype, y->data, i) +
                              ebb_float_at(dtype, eval->inputs[2].data, i % n_columns));
    return status ? status : ebb_epilogue_eval(eval, &attrs->epilogue);
}

static void decompose_epilogue(const ebb_decompose *d)
{
    const ebb_matmul_epilogue_attrs *attrs = d->attrs;
    ebb_node y = ebb_emit(d->graph, &ebb_op_matmul, d->inputs, 2, &attrs->matmul, NULL);
    if (has_bias(d->n_inputs, attrs))
        y = ebb_add(y, d->inputs[2]);
    d->results[0] = ebb_epilogue_decompose(d, &attrs->epilogue, y);
}

static double flops_epilogue(const ebb_infer *types)
{
    const ebb_matmul_epilogue_attrs *attrs = types->attrs;
    ebb_infer matmul = *types;
    matmul.op = &ebb_op_matmul;
    matmul.n_inputs = 2;
    matmul.attrs = &attrs->matmul;
    return ebb_op_matmul.flops(&matmul) + ebb_epilogue_flops(types, &attrs->epilogue) +
           has_bias(types->n_inputs, attrs) * (double)ebb_shape_elements(&types->results[0].shape);
}

static const ebb_attr_field epilogue_fields[] = {
    { "transpose_a", EBB_ATTR_BOOL, offsetof(ebb_matmul_epilogue_attrs, matmul.transpose_a),
      "as of matmul", NULL },
    { "transpose_b", EBB_ATTR_BOOL, offsetof(ebb_matmul_epilogue_attrs, matmul.transpose_b),
      "as of matmul", NULL },
    EBB_EPILOGUE_FIELDS(ebb_matmul_epilogue_attrs),
    { 0 },
};

/* clang-format off */
#define F(...) EBB_SAMPLE_TYPE(F64, __VA_ARGS__)
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define ATTRS(...) .attrs = &(const ebb_matmul_epilogue_attrs){ __VA_ARGS__ }
#define THEN(residual, relu) .epilogue = { residual, relu }
/* Small, so that some are below 0. */
#define SMALL .range = EBB_RANGES({ -0.5, 0.5, 0, 0 }, { -0.5, 0.5, 0, 0 })
static const ebb_sample samples[] = {
    { .label = "row", .n_inputs = 4, .inputs = EBB_INPUTS(F(1, 2), F(2, 2), F(2), F(1, 2)),
      ATTRS(THEN(true, true)),
      .values = { LIST(1, 2), LIST(1, -1, 3, 1), LIST(3, 4), LIST(10, -6) },
      .expected = LIST(20, 0), .source = "by the definition" },
    { .n_inputs = 2, .inputs = EBB_INPUTS(F(3, 5), F(5, 4)) },
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(3, 5), F(5, 4), F(4)) },
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(3, 5), F(5, 4), F(4)), SMALL,
      ATTRS(THEN(false, true)) },
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(5, 3), F(5, 4), F(3, 4)), SMALL,
      ATTRS(.matmul = { .transpose_a = true }, THEN(true, true)) },
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(3, 5), F(4, 5), F(3, 4)), 
      ATTRS(.matmul = { .transpose_b = true }, THEN(true, false)) },
    { .n_inputs = 4, .inputs = EBB_INPUTS(F(2, 3, 5), F(2, 5, 4), F(4), F(2, 3, 4)), SMALL,
      ATTRS(THEN(true, true)) },
    { .n_inputs = 2, .inputs = EBB_INPUTS(F(40, 33), F(33, 70)), SMALL, ATTRS(THEN(false, true)),
      .no_gradient = true }, /* too many values near 0 */
    { .n_inputs = 4, .inputs = EBB_INPUTS(F(70, 65), F(65, 40), F(40), F(70, 40)), SMALL,
      ATTRS(THEN(true, false)) },
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(3, 5), F(5, 4), F(3)),
      .error = EBB_BAD_SHAPE, .message = "the bias is f64[3], columns need f64[4]" },
    { .n_inputs = 3, .inputs = EBB_INPUTS(F(3, 5), F(5, 4), F(4)), ATTRS(THEN(true, false)),
      .error = EBB_BAD_SHAPE, .message = "the residual is f64[4], the result f64[3,4]" },
    { .n_inputs = 2, .inputs = EBB_INPUTS(F(3, 5), F(5, 4)), ATTRS(THEN(true, false)),
      .error = EBB_BAD_ARGUMENT, .message = "2 inputs; it takes a, b, perhaps bias, and the" },
    { .n_inputs = 2, .inputs = EBB_INPUTS(F(3, 5), F(4, 4)),
      .error = EBB_BAD_SHAPE, .message = "inner dimensions differ" },
};
/* clang-format on */

const ebb_op ebb_op_matmul_epilogue = {
    .name = "matmul_epilogue",
    .summary = "a matrix product with bias, a residual and a relu; passes make it",
    .group = "linear algebra",
    .n_inputs = EBB_VARIADIC,
    .n_results = 1,
    .traits = EBB_TRAIT_LIBRARY,
    .attrs_bytes = sizeof(ebb_matmul_epilogue_attrs),
    .attrs = epilogue_fields,
    .infer = infer_epilogue,
    .eval = eval_epilogue,
    .decompose = decompose_epilogue,
    .flops = flops_epilogue,
    .samples = samples,
    .n_samples = sizeof samples / sizeof *samples,
};
