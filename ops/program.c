/* Programs: what the ops share that have one. */
#define EBB_NO_LOCATIONS
#include "ops/program.h"
#include "ops/random.h"
#include <string.h>

static const ebb_program *program_of(const void *attrs)
{
    return ((const ebb_fused_attrs *)attrs)->program;
}

double ebb_program_flops(const ebb_program *program, const ebb_shape *shape)
{
    double n = 0;
    for (int k = 0; k < program->n_instructions; k++)
        n += program->instructions[k].op != NULL;
    return n * (double)ebb_shape_elements(shape);
}

/* ---- types ---- */

ebb_status ebb_program_check(const ebb_infer *infer, const ebb_program *program)
{
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
    return EBB_OK;
}

ebb_status ebb_program_check_reads(const ebb_infer *infer, const ebb_instruction *i, int number)
{
    if (i->op && i->op->attrs_bytes && !i->attrs)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "$%d: %s lacks its attributes", number,
                              i->op->name);
    for (int k = 0; k < ebb_instruction_inputs(i); k++)
        if (i->inputs[k] < 0 || i->inputs[k] >= number)
            return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "$%d reads $%d, which is not before it",
                                  number, i->inputs[k]);
    return EBB_OK;
}

ebb_status ebb_program_infer_element(const ebb_infer *infer, const ebb_instruction *i, int number,
                                     ebb_dtype *dtypes)
{
    const ebb_op *op = i->op;
    if (!op) {
        dtypes[number] = i->dtype;
        return ebb_infer_dtype(infer, i->dtype);
    }
    ebb_type types[EBB_MAX_INSTRUCTION_INPUTS], result = { EBB_NO_DTYPE, EBB_SCALAR };
    const ebb_type *inputs[EBB_MAX_INSTRUCTION_INPUTS];
    for (int k = 0; k < op->n_inputs; k++) {
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

ebb_status ebb_program_check_results(const ebb_infer *infer, const ebb_program *program)
{
    const int n_values = program->n_inputs + program->n_instructions;
    for (int r = 0; r < program->n_results; r++) {
        const int32_t value = program->results[r];
        if (value < program->n_inputs || value >= n_values)
            return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "result %d is $%d, no instruction", r,
                                  value);
        for (int k = 0; k < r; k++)
            if (program->results[k] == value)
                return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "results %d and %d are both $%d", k,
                                      r, value);
    }
    return EBB_OK;
}

void ebb_program_dtypes(const ebb_program *program, ebb_dtype *dtypes)
{
    const ebb_infer nobody = { .op = &ebb_op_fused };
    for (int k = 0; k < program->n_instructions; k++) {
        const ebb_instruction *i = &program->instructions[k];
        if (ebb_instruction_kind_of(i) == EBB_INSTRUCTION_REDUCTION)
            dtypes[program->n_inputs + k] = dtypes[i->inputs[0]];
        else /* a scalar gives the dtype of random numbers, too */
            (void)ebb_program_infer_element(&nobody, i, program->n_inputs + k, dtypes);
    }
}

/* ---- values ---- */

void ebb_program_block_init(ebb_program_block *block, const ebb_eval *eval)
{
    const ebb_program *program = program_of(eval->attrs);
    for (int i = 0; i < eval->n_inputs; i++)
        block->dtypes[i] = eval->inputs[i].type.dtype;
    ebb_program_dtypes(program, block->dtypes);
    block->most = EBB_PROGRAM_EVAL_BYTES / 8 / (program->n_inputs + program->n_instructions);
}

static void repeat(const void *element, size_t bytes, int64_t n, char *to)
{
    for (int64_t k = 0; k < n; k++)
        memcpy(to + (size_t)k * bytes, element, bytes);
}

static void draw(const ebb_eval *eval, const ebb_instruction *i, const int64_t *indices, int64_t n,
                 ebb_dtype dtype, char *to)
{
    const ebb_random_attrs *attrs = i->attrs;
    const ebb_random_key key = { (uint64_t)attrs->seed,
                                 (uint64_t) * (const int64_t *)eval->inputs[i->inputs[0]].data,
                                 (uint32_t)attrs->stream };
    for (int64_t k = 0; k < n; k++)
        ebb_random_fill(dtype, i->op == &ebb_op_random_normal, key, indices[k], 1,
                        to + (size_t)k * ebb_dtype_bytes(dtype));
}

/* An element-wise instruction for value `v`. */
static ebb_status eval_element(const ebb_eval *eval, const ebb_instruction *i, int v, int64_t n,
                               ebb_program_block *block)
{
    ebb_tensor inputs[EBB_MAX_INSTRUCTION_INPUTS];
    for (int k = 0; k < i->op->n_inputs; k++)
        inputs[k] = ebb_tensor_borrow(block->dtypes[i->inputs[k]], EBB_SHAPE(n),
                                      ebb_program_value(block, i->inputs[k]));
    const ebb_tensor result =
        ebb_tensor_borrow(block->dtypes[v], EBB_SHAPE(n), ebb_program_value(block, v));
    return i->op->eval(&(ebb_eval){
        .op = i->op,
        .attrs = i->attrs,
        .n_inputs = i->op->n_inputs,
        .n_results = 1,
        .inputs = inputs,
        .results = &result,
        .error = eval->error,
    });
}

ebb_status ebb_program_eval(const ebb_eval *eval, const int64_t *indices, int64_t n,
                            ebb_program_block *block)
{
    const ebb_program *program = program_of(eval->attrs);
    for (int v = 0; v < program->n_inputs + program->n_instructions; v++) {
        char *to = block->bytes + (size_t)(v * block->most) * 8;
        const size_t bytes = ebb_dtype_bytes(block->dtypes[v]);
        if (v < program->n_inputs) {
            const char *data = eval->inputs[v].data;
            const bool is_scalar = eval->inputs[v].type.shape.rank == 0; /* a counter, or all are */
            for (int64_t k = 0; k < n; k++)
                memcpy(to + (size_t)k * bytes, data + (is_scalar ? 0 : (size_t)indices[k]) * bytes,
                       bytes);
            continue;
        }
        const ebb_instruction *i = &program->instructions[v - program->n_inputs];
        const ebb_instruction_kind kind = ebb_instruction_kind_of(i);
        ebb_status status = EBB_OK;
        if (!i->op)
            repeat(&i->bits, bytes, n, to);
        else if (kind == EBB_INSTRUCTION_RANDOM)
            draw(eval, i, indices, n, block->dtypes[v], to);
        else if (kind == EBB_INSTRUCTION_ELEMENT)
            status = eval_element(eval, i, v, n, block);
        if (status)
            return status;
    }
    return EBB_OK;
}

ebb_status ebb_program_eval_elements(const ebb_eval *eval, int64_t n, ebb_program_block *block)
{
    enum { MOST = 256 };
    const ebb_program *program = program_of(eval->attrs);
    const int64_t most = block->most < MOST ? block->most : MOST;
    int64_t indices[MOST];
    for (int64_t begin = 0; begin < n; begin += most) {
        const int64_t length = n - begin < most ? n - begin : most;
        for (int64_t k = 0; k < length; k++)
            indices[k] = begin + k;
        ebb_status status = ebb_program_eval(eval, indices, length, block);
        if (status)
            return status;
        for (int r = 0; r < program->n_results; r++) {
            const int32_t v = program->results[r];
            const size_t bytes = ebb_dtype_bytes(block->dtypes[v]);
            if (ebb_instruction_kind_of(&program->instructions[v - program->n_inputs]) ==
                EBB_INSTRUCTION_REDUCTION)
                continue;
            memcpy((char *)eval->results[r].data + (size_t)begin * bytes,
                   ebb_program_value(block, v), (size_t)length * bytes);
        }
    }
    return EBB_OK;
}
