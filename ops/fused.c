/* fused: an element-wise graph as one op, for every number of results. Passes make it; the program
 * says what it computes (graph/program.c). Its eval runs the evals of the ops inside. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"
#include <string.h>

static int count_inputs(const ebb_instruction *instruction)
{
    return instruction->op ? instruction->op->n_inputs : 0;
}

static double flops_fused(const ebb_infer *types)
{
    const ebb_program *program = ((const ebb_fused_attrs *)types->attrs)->program;
    double n = 0;
    for (int k = 0; k < program->n_instructions; k++)
        n += program->instructions[k].op != NULL;
    return n * (double)ebb_shape_elements(&types->results[0].shape);
}

/* ---- types ---- */

static ebb_status infer_instruction(const ebb_infer *infer, const ebb_instruction *i, int number,
                                    ebb_dtype *dtypes)
{
    const ebb_op *op = i->op;
    if (!op) {
        dtypes[number] = i->dtype;
        return ebb_infer_dtype(infer, i->dtype);
    }
    if (!ebb_op_is_instruction(op))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "$%d: a program may not contain %s", number,
                              op->name);
    if (op->attrs_bytes && !i->attrs)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "$%d: %s lacks its attributes", number,
                              op->name);
    ebb_type types[EBB_MAX_INSTRUCTION_INPUTS], result = { EBB_NO_DTYPE, EBB_SCALAR };
    const ebb_type *inputs[EBB_MAX_INSTRUCTION_INPUTS];
    for (int k = 0; k < op->n_inputs; k++) {
        if (i->inputs[k] < 0 || i->inputs[k] >= number)
            return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "$%d reads $%d, which is not before it",
                                  number, i->inputs[k]);
        types[k] = (ebb_type){ dtypes[i->inputs[k]], EBB_SCALAR };
        inputs[k] = &types[k];
    }
    ebb_error why = { 0 };
    ebb_status status =
        op->infer(&(ebb_infer){ op, i->attrs, op->n_inputs, inputs, &result, &why });
    if (status)
        return ebb_infer_fail(infer, status, "$%d, %s: %.150s", number, op->name, why.message);
    dtypes[number] = result.dtype;
    return EBB_OK;
}

static ebb_status infer_fused(const ebb_infer *infer)
{
    const ebb_program *program = ((const ebb_fused_attrs *)infer->attrs)->program;
    const ebb_shape *shape = &infer->inputs[0]->shape;
    ebb_dtype dtypes[EBB_MAX_PROGRAM_VALUES];
    char a[EBB_TYPE_TEXT_BYTES], b[EBB_TYPE_TEXT_BYTES];
    if (!program)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "there is no program");
    if (infer->n_inputs > EBB_MAX_PROGRAM_INPUTS || program->n_inputs != infer->n_inputs)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE,
                              "a program of %d inputs for %d; at most %d are allowed",
                              program->n_inputs, infer->n_inputs, EBB_MAX_PROGRAM_INPUTS);
    if (program->n_instructions < 1 || program->n_instructions > EBB_MAX_INSTRUCTIONS)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "%d instructions; 1 to %d are allowed",
                              program->n_instructions, EBB_MAX_INSTRUCTIONS);
    if (program->n_results != infer->op->n_results)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "a program of %d results for %d",
                              program->n_results, infer->op->n_results);
    for (int i = 0; i < infer->n_inputs; i++) {
        dtypes[i] = infer->inputs[i]->dtype;
        if (!ebb_shape_equal(&infer->inputs[i]->shape, shape))
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "shapes differ: %s, %s",
                                  ebb_shape_text(shape, a),
                                  ebb_shape_text(&infer->inputs[i]->shape, b));
    }
    const int n_values = program->n_inputs + program->n_instructions;
    for (int k = 0; k < program->n_instructions; k++) {
        ebb_status status =
            infer_instruction(infer, &program->instructions[k], program->n_inputs + k, dtypes);
        if (status)
            return status;
    }
    for (int r = 0; r < program->n_results; r++) {
        const int32_t value = program->results[r];
        if (value < program->n_inputs || value >= n_values)
            return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "result %d is $%d, no instruction", r,
                                  value);
        for (int k = 0; k < r; k++)
            if (program->results[k] == value)
                return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "results %d and %d are both $%d", k,
                                      r, value);
        infer->results[r] = (ebb_type){ dtypes[value], *shape };
    }
    return EBB_OK;
}

void ebb_program_dtypes(const ebb_program *program, ebb_dtype *dtypes)
{
    const ebb_infer nobody = { .op = &ebb_op_fused };
    for (int k = 0; k < program->n_instructions; k++)
        (void)infer_instruction(&nobody, &program->instructions[k], program->n_inputs + k, dtypes);
}

/* ---- values ---- */

enum { EVAL_BYTES = 65536 }; /* for the values of some elements */

static ebb_status eval_instruction(const ebb_eval *eval, const ebb_instruction *i,
                                   const ebb_tensor *values, const ebb_tensor *result)
{
    ebb_tensor inputs[EBB_MAX_INSTRUCTION_INPUTS];
    if (!i->op) {
        const size_t bytes = ebb_dtype_bytes(i->dtype);
        for (int64_t k = 0; k < result->type.shape.dims[0]; k++)
            memcpy((char *)result->data + (size_t)k * bytes, &i->bits, bytes);
        return EBB_OK;
    }
    for (int k = 0; k < i->op->n_inputs; k++)
        inputs[k] = values[i->inputs[k]];
    return i->op->eval(&(ebb_eval){
        .op = i->op,
        .attrs = i->attrs,
        .n_inputs = i->op->n_inputs,
        .n_results = 1,
        .inputs = inputs,
        .results = result,
        .error = eval->error,
    });
}

/* Some elements at a time, so that all values of the program have room. */
static ebb_status eval_fused(const ebb_eval *eval)
{
    const ebb_program *program = ((const ebb_fused_attrs *)eval->attrs)->program;
    const int n_values = program->n_inputs + program->n_instructions;
    const int64_t n = ebb_shape_elements(&eval->results[0].type.shape);
    const int64_t most = EVAL_BYTES / 8 / n_values;
    _Alignas(8) char block[EVAL_BYTES];
    ebb_dtype dtypes[EBB_MAX_PROGRAM_VALUES];
    for (int i = 0; i < eval->n_inputs; i++)
        dtypes[i] = eval->inputs[i].type.dtype;
    ebb_program_dtypes(program, dtypes);
    for (int64_t begin = 0; begin < n; begin += most) {
        const int64_t length = n - begin < most ? n - begin : most;
        for (int v = 0; v < n_values; v++) {
            char *data = block + (size_t)(v * most) * 8;
            ebb_tensor values[EBB_MAX_INSTRUCTION_INPUTS];
            ebb_status status = EBB_OK;
            if (v < program->n_inputs) {
                const size_t bytes = ebb_dtype_bytes(dtypes[v]);
                memcpy(data, (const char *)eval->inputs[v].data + (size_t)begin * bytes,
                       (size_t)length * bytes);
                continue;
            }
            ebb_instruction i = program->instructions[v - program->n_inputs];
            for (int k = 0; k < count_inputs(&i); k++) {
                values[k] = ebb_tensor_borrow(dtypes[i.inputs[k]], EBB_SHAPE(length),
                                              block + (size_t)(i.inputs[k] * most) * 8);
                i.inputs[k] = k;
            }
            const ebb_tensor result = ebb_tensor_borrow(dtypes[v], EBB_SHAPE(length), data);
            status = eval_instruction(eval, &i, values, &result);
            if (status)
                return status;
        }
        for (int r = 0; r < program->n_results; r++) {
            const int32_t v = program->results[r];
            const size_t bytes = ebb_dtype_bytes(dtypes[v]);
            memcpy((char *)eval->results[r].data + (size_t)begin * bytes,
                   block + (size_t)(v * most) * 8, (size_t)length * bytes);
        }
    }
    return EBB_OK;
}

static void decompose_fused(const ebb_decompose *d)
{
    const ebb_program *program = ((const ebb_fused_attrs *)d->attrs)->program;
    const ebb_shape shape = ebb_node_type(d->inputs[0])->shape;
    uint32_t ids[EBB_MAX_PROGRAM_VALUES];
    for (int i = 0; i < d->n_inputs; i++)
        ids[i] = d->inputs[i].id;
    for (int k = 0; k < program->n_instructions; k++) {
        const ebb_instruction *i = &program->instructions[k];
        ebb_node inputs[EBB_MAX_INSTRUCTION_INPUTS], node;
        for (int n = 0; n < count_inputs(i); n++)
            inputs[n] = ebb_graph_node(d->graph, ids[i->inputs[n]]);
        if (i->op)
            node = ebb_emit(d->graph, i->op, inputs, i->op->n_inputs, i->attrs, NULL);
        else
            node = ebb_broadcast_to(ebb_constant(d->graph, i->dtype, EBB_SCALAR, &i->bits), shape);
        ids[program->n_inputs + k] = node.id;
    }
    for (int r = 0; r < program->n_results; r++)
        d->results[r] = ebb_graph_node(d->graph, ids[program->results[r]]);
}

static const ebb_attr_field fused_fields[] = {
    EBB_FIELD(ebb_fused_attrs, program, PROGRAM, "what it computes"),
    { 0 },
};

/* ---- samples: eight values, of which the first n are the results ---- */

/* clang-format off */
static const ebb_instruction chain[] = { /* of $0, $1 */
    { .op = &ebb_op_mul, .inputs = { 0, 1 } },
    { .op = &ebb_op_add, .inputs = { 2, 0 } },
    { .op = &ebb_op_square, .inputs = { 3 } },
    { .op = &ebb_op_add, .inputs = { 4, 2 } },
    { .op = &ebb_op_neg, .inputs = { 5 } },
    { .op = &ebb_op_mul, .inputs = { 6, 1 } },
    { .op = &ebb_op_clip, .attrs = &(const ebb_limits_attrs){ -1e6, 1e6 }, .inputs = { 7 } },
    { .op = &ebb_op_mul, .inputs = { 8, 2 } },
};
static const ebb_instruction masked[] = { /* of $0, $1 */
    { .op = &ebb_op_less, .inputs = { 0, 1 } },
    { .dtype = EBB_BOOL, .bits = 0 },
    { .op = &ebb_op_logical_or, .inputs = { 2, 3 } },
    { .op = &ebb_op_select, .inputs = { 4, 0, 1 } },
};
static const ebb_instruction forward[] = { { .op = &ebb_op_add, .inputs = { 0, 2 } } };
static const ebb_instruction missing[] = { { .op = &ebb_op_clip, .inputs = { 0 } } };
static const ebb_instruction stranger[] = { { .op = &ebb_op_matmul, .inputs = { 0, 1 } } };
static const ebb_instruction untyped[] = { { .op = NULL } };
static const int32_t values[] = { 2, 3, 4, 5, 6, 7, 8, 9 };

#define COUNT(list) (int)(sizeof(list) / sizeof *(list))
#define TYPE EBB_SAMPLE_TYPE
#define SCALAR EBB_SAMPLE_SCALAR
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define PROGRAM(inputs, list, n, result_list) .attrs = &(const ebb_fused_attrs){                   \
    &(const ebb_program){ inputs, COUNT(list), n, list, result_list } }
#define DRAWN(n, ...) { .n_inputs = 2, .inputs = EBB_INPUTS(__VA_ARGS__, __VA_ARGS__),             \
    PROGRAM(2, chain, n, values),                                                                  \
    .range = EBB_RANGES({ 0.5, 2, 0, 0 }, { 0.5, 2, 0, 0 }) } /* nothing cancels */
#define TWO .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 3), TYPE(F64, 3))
#define SAMPLES(n, ...)                                                                            \
    { .n_inputs = 2, .inputs = EBB_INPUTS(SCALAR(F64), SCALAR(F64)), PROGRAM(2, chain, n, values), \
      .values = { LIST(1.5), LIST(2) }, .expected = LIST(__VA_ARGS__),                             \
      .source = "by the definition" },                                                             \
    DRAWN(n, SCALAR(F64)), DRAWN(n, TYPE(F64, 0)), DRAWN(n, TYPE(F64, 1)),                         \
    DRAWN(n, TYPE(F64, 17)), DRAWN(n, TYPE(F64, 3, 5)), DRAWN(n, TYPE(F64, 2, 3, 1, 7)),           \
    DRAWN(n, TYPE(F64, 2)), DRAWN(n, TYPE(F64, 7)), DRAWN(n, TYPE(F64, 2, 0, 3))

static const ebb_sample samples_1[] = {
    SAMPLES(1, 3),
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 3), TYPE(F64, 3)),
      PROGRAM(2, masked, 1, (const int32_t[]){ 5 }),
      .values = { LIST(1, 3, 2), LIST(2, 1, 2) }, .expected = LIST(1, 1, 2),
      .source = "by the definition", .no_gradient = true },
    { TWO, .error = EBB_BAD_ATTRIBUTE, .message = "there is no program" },
    { TWO, PROGRAM(3, chain, 1, values), .error = EBB_BAD_ATTRIBUTE,
      .message = "a program of 3 inputs for 2" },
    { TWO, PROGRAM(2, chain, 2, values), .error = EBB_BAD_ATTRIBUTE,
      .message = "a program of 2 results for 1" },
    { TWO, PROGRAM(2, forward, 1, values), .error = EBB_BAD_ATTRIBUTE,
      .message = "$2 reads $2, which is not before it" },
    { TWO, PROGRAM(2, missing, 1, values), .error = EBB_BAD_ATTRIBUTE,
      .message = "$2: clip lacks its attributes" },
    { TWO, PROGRAM(2, stranger, 1, values), .error = EBB_BAD_ATTRIBUTE,
      .message = "$2: a program may not contain matmul" },
    { TWO, PROGRAM(2, untyped, 1, values), .error = EBB_BAD_DTYPE, .message = "there is no dtype" },
    { TWO, PROGRAM(2, chain, 1, (const int32_t[]){ 1 }), .error = EBB_BAD_ATTRIBUTE,
      .message = "result 0 is $1, no instruction" },
    { TWO, PROGRAM(2, chain, 1, (const int32_t[]){ 10 }), .error = EBB_BAD_ATTRIBUTE,
      .message = "result 0 is $10, no instruction" },
    { TWO, .attrs = &(const ebb_fused_attrs){ &(const ebb_program){ 2, 0, 1, chain, values } },
      .error = EBB_BAD_ATTRIBUTE, .message = "0 instructions" },
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 3), TYPE(F64, 4)), PROGRAM(2, chain, 1, values),
      .error = EBB_BAD_SHAPE, .message = "shapes differ: [3], [4]" },
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 3), TYPE(I64, 3)), PROGRAM(2, chain, 1, values),
      .error = EBB_BAD_DTYPE, .message = "$2, mul: dtypes differ" },
};
static const ebb_sample samples_2[] = {
    SAMPLES(2, 3, 4.5),
    { TWO, PROGRAM(2, chain, 2, ((const int32_t[]){ 3, 3 })), .error = EBB_BAD_ATTRIBUTE,
      .message = "results 0 and 1 are both $3" },
};
static const ebb_sample samples_3[] = { SAMPLES(3, 3, 4.5, 20.25) };
static const ebb_sample samples_4[] = { SAMPLES(4, 3, 4.5, 20.25, 23.25) };
static const ebb_sample samples_5[] = { SAMPLES(5, 3, 4.5, 20.25, 23.25, -23.25) };
static const ebb_sample samples_6[] = { SAMPLES(6, 3, 4.5, 20.25, 23.25, -23.25, -46.5) };
static const ebb_sample samples_7[] = { SAMPLES(7, 3, 4.5, 20.25, 23.25, -23.25, -46.5, -46.5) };
static const ebb_sample samples_8[] = { SAMPLES(8, 3, 4.5, 20.25, 23.25, -23.25, -46.5, -46.5, -139.5) };

#define FUSED(identifier, text, n)                                                                 \
    const ebb_op ebb_op_##identifier = {                                                           \
        .name = text,                                                                              \
        .summary = "an element-wise graph as one op; passes make it; results: " #n,                \
        .group = "element-wise",                                                                   \
        .n_inputs = EBB_VARIADIC,                                                                  \
        .n_results = n,                                                                            \
        .traits = EBB_TRAIT_ELEMENTWISE | EBB_TRAIT_LIBRARY,                                       \
        .attrs_bytes = sizeof(ebb_fused_attrs),                                                    \
        .attrs = fused_fields,                                                                     \
        .infer = infer_fused,                                                                      \
        .eval = eval_fused,                                                                        \
        .flops = flops_fused,                                                                      \
        .decompose = decompose_fused,                                                              \
        .samples = samples_##n,                                                                    \
        .n_samples = COUNT(samples_##n),                                                           \
    };
/* clang-format on */
FUSED(fused, "fused", 1)
FUSED(fused_2, "fused_2", 2)
FUSED(fused_3, "fused_3", 3)
FUSED(fused_4, "fused_4", 4)
FUSED(fused_5, "fused_5", 5)
FUSED(fused_6, "fused_6", 6)
FUSED(fused_7, "fused_7", 7)
FUSED(fused_8, "fused_8", 8)

const ebb_op *ebb_fused_op(int n_results)
{
    static const ebb_op *const ops[EBB_MAX_RESULTS] = {
        &ebb_op_fused,   &ebb_op_fused_2, &ebb_op_fused_3, &ebb_op_fused_4,
        &ebb_op_fused_5, &ebb_op_fused_6, &ebb_op_fused_7, &ebb_op_fused_8,
    };
    return n_results >= 1 && n_results <= EBB_MAX_RESULTS ? ops[n_results - 1] : NULL;
}
