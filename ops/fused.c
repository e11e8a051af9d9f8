/* fused: an element-wise graph as one op, for every number of results. Passes make it; the program
 * says what it computes (graph/program.c). Its eval runs the evals of the ops inside. */
#define EBB_NO_LOCATIONS
#include "ops/program.h"

static double flops_fused(const ebb_infer *types)
{
    return ebb_program_flops(((const ebb_fused_attrs *)types->attrs)->program,
                             &types->results[0].shape);
}

static ebb_status infer_fused(const ebb_infer *infer)
{
    const ebb_program *program = ((const ebb_fused_attrs *)infer->attrs)->program;
    const ebb_shape *shape = &infer->inputs[0]->shape;
    ebb_dtype dtypes[EBB_MAX_PROGRAM_VALUES];
    char a[EBB_TYPE_TEXT_BYTES], b[EBB_TYPE_TEXT_BYTES];
    ebb_status status = ebb_program_check(infer, program);
    for (int i = 0; i < infer->n_inputs && !status; i++) {
        dtypes[i] = infer->inputs[i]->dtype;
        if (!ebb_shape_equal(&infer->inputs[i]->shape, shape))
            status = ebb_infer_fail(infer, EBB_BAD_SHAPE, "shapes differ: %s, %s",
                                    ebb_shape_text(shape, a),
                                    ebb_shape_text(&infer->inputs[i]->shape, b));
    }
    for (int k = 0; !status && k < program->n_instructions; k++) {
        const ebb_instruction *i = &program->instructions[k];
        if (i->op && !ebb_op_is_instruction(i->op))
            return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "$%d: a program may not contain %s",
                                  program->n_inputs + k, i->op->name);
        status = ebb_program_check_reads(infer, i, program->n_inputs + k);
        if (!status)
            status = ebb_program_infer_element(infer, i, program->n_inputs + k, dtypes);
    }
    if (!status)
        status = ebb_program_check_results(infer, program);
    for (int r = 0; !status && r < program->n_results; r++)
        infer->results[r] = (ebb_type){ dtypes[program->results[r]], *shape };
    return status;
}

static ebb_status eval_fused(const ebb_eval *eval)
{
    ebb_program_block block;
    ebb_program_block_init(&block, eval);
    return ebb_program_eval_elements(eval, ebb_shape_elements(&eval->results[0].type.shape),
                                     &block);
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
        for (int n = 0; n < ebb_instruction_inputs(i); n++)
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
