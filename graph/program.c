/* Programs as attributes: which ops they may contain, hash, equality, deep copy, text. */
#include "graph/graph_private.h"
#include "graph/text.h"

#include <inttypes.h>
#include <string.h>

/* True if the op's attributes are of these kinds alone: bits of 1 << ebb_attr_kind. */
static bool attrs_are(const ebb_op *op, unsigned kinds)
{
    for (const ebb_attr_field *f = op->attrs; f && f->name; f++)
        if (!(kinds & 1u << f->kind))
            return false;
    return true;
}

ebb_instruction_kind ebb_op_instruction_kind(const ebb_op *op)
{
    enum {
        REFUSED = EBB_TRAIT_VIEW | EBB_TRAIT_SOURCE | EBB_TRAIT_UNIQUE | EBB_TRAIT_FALLIBLE,
        NUMBERS = 1 << EBB_ATTR_BOOL | 1 << EBB_ATTR_I64 | 1 << EBB_ATTR_F64 | 1 << EBB_ATTR_ENUM |
                  1 << EBB_ATTR_DTYPE,
        TYPE = 1 << EBB_ATTR_TYPE,
        FOLDING = 1 << EBB_ATTR_AXES | 1 << EBB_ATTR_BOOL
    };
    if (!op || (op->traits & REFUSED) || !op->eval || op->n_results != 1 || op->n_inputs < 1 ||
        op->n_inputs > EBB_MAX_INSTRUCTION_INPUTS)
        return EBB_INSTRUCTION_NONE;
    if (op->traits & EBB_TRAIT_RANDOM)
        return op->n_inputs == 1 && !op->decompose && attrs_are(op, NUMBERS | TYPE)
                   ? EBB_INSTRUCTION_RANDOM
                   : EBB_INSTRUCTION_NONE;
    if ((op->traits & EBB_TRAIT_ELEMENTWISE) && attrs_are(op, NUMBERS))
        return EBB_INSTRUCTION_ELEMENT;
    if (op->n_inputs == 1 && op->attrs && op->attrs->kind == EBB_ATTR_AXES &&
        !(op->traits & EBB_TRAIT_ELEMENTWISE) && attrs_are(op, FOLDING))
        return EBB_INSTRUCTION_REDUCTION;
    return EBB_INSTRUCTION_NONE;
}

bool ebb_op_is_instruction(const ebb_op *op)
{
    return ebb_op_instruction_kind(op) == EBB_INSTRUCTION_ELEMENT;
}

static int count_inputs(const ebb_instruction *instruction)
{
    return instruction->op ? instruction->op->n_inputs : 0;
}

uint32_t ebb_hash_program(uint32_t hash, const ebb_program *program)
{
    if (!program)
        return ebb_hash_u64(hash, 0);
    hash = ebb_hash_u64(hash, (uint64_t)(int64_t)program->n_inputs);
    for (int k = 0; k < program->n_instructions; k++) {
        const ebb_instruction *i = &program->instructions[k];
        hash = ebb_hash_u64(hash, (uintptr_t)i->op);
        if (!i->op)
            hash = ebb_hash_u64(ebb_hash_u64(hash, (uint64_t)i->dtype), i->bits);
        else if (i->attrs)
            hash = ebb_hash_u64(hash, ebb_hash_attrs(i->op, i->attrs));
        for (int n = 0; n < count_inputs(i); n++)
            hash = ebb_hash_u64(hash, (uint64_t)i->inputs[n]);
    }
    for (int r = 0; r < program->n_results; r++)
        hash = ebb_hash_u64(hash, (uint64_t)program->results[r]);
    return hash;
}

static bool instruction_equal(const ebb_instruction *a, const ebb_instruction *b)
{
    if (a->op != b->op)
        return false;
    if (!a->op)
        return a->dtype == b->dtype && a->bits == b->bits;
    return memcmp(a->inputs, b->inputs, (size_t)count_inputs(a) * sizeof *a->inputs) == 0 &&
           ebb_attrs_equal(a->op, a->attrs, b->attrs);
}

bool ebb_program_equal(const ebb_program *a, const ebb_program *b)
{
    if (a == b)
        return true;
    if (!a || !b || a->n_inputs != b->n_inputs || a->n_instructions != b->n_instructions ||
        a->n_results != b->n_results)
        return false;
    for (int k = 0; k < a->n_instructions; k++)
        if (!instruction_equal(&a->instructions[k], &b->instructions[k]))
            return false;
    return a->n_results == 0 ||
           memcmp(a->results, b->results, (size_t)a->n_results * sizeof *a->results) == 0;
}

const ebb_program *ebb_program_copy(ebb_arena *arena, const ebb_program *program)
{
    const size_t n = (size_t)program->n_instructions, n_results = (size_t)program->n_results;
    ebb_program *copy = ebb_arena_allocate(arena, sizeof *copy, 16);
    ebb_instruction *instructions = ebb_arena_allocate(arena, n * sizeof *instructions, 16);
    int32_t *results = ebb_arena_allocate(arena, n_results * sizeof *results, sizeof *results);
    if (!copy || !instructions || !results)
        return NULL;
    for (size_t k = 0; k < n; k++) {
        ebb_instruction *i = &instructions[k];
        *i = program->instructions[k];
        if (!i->op || !i->op->attrs_bytes || !i->attrs)
            i->attrs = NULL;
        else if (!(i->attrs = ebb_attrs_copy(arena, i->op, i->attrs)))
            return NULL;
    }
    for (size_t r = 0; r < n_results; r++)
        results[r] = program->results[r];
    *copy = *program;
    copy->instructions = instructions;
    copy->results = results;
    return copy;
}

static void print_element(FILE *out, ebb_dtype dtype, const uint64_t *bits)
{
    const ebb_tensor element = ebb_tensor_borrow(dtype, EBB_SCALAR, bits);
    int64_t integer;
    memcpy(&integer, bits, sizeof integer);
    if (dtype == EBB_I64)
        fprintf(out, "%" PRId64, integer);
    else
        ebb_text_print_number(out, ebb_tensor_get(&element, 0), dtype == EBB_F32);
}

void ebb_text_print_program(FILE *out, const ebb_program *program)
{
    fputc('(', out);
    for (int k = 0; k < program->n_instructions; k++) {
        const ebb_instruction *i = &program->instructions[k];
        fprintf(out, "$%d = ", program->n_inputs + k);
        if (i->op) {
            fputs(i->op->name, out);
            for (int n = 0; n < count_inputs(i); n++)
                fprintf(out, " $%d", i->inputs[n]);
            if (i->attrs && i->op->attrs_bytes) {
                if (ebb_text_has_attrs(i->op, i->attrs)) {
                    fputc(' ', out);
                    ebb_text_print_attrs(out, i->op, i->attrs, SIZE_MAX);
                }
                const ebb_type *type = ebb_attrs_type(i->op, i->attrs);
                char text[EBB_TYPE_TEXT_BYTES];
                if (type)
                    fprintf(out, " : %s", ebb_type_text(type, text));
            }
        } else {
            fprintf(out, "%s ", ebb_dtype_name(i->dtype));
            print_element(out, i->dtype, &i->bits);
        }
        fputs("; ", out);
    }
    fputs("return", out);
    for (int r = 0; r < program->n_results; r++)
        fprintf(out, " $%d", program->results[r]);
    fputc(')', out);
}
