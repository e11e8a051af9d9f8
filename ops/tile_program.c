/* tile_program: an element-wise graph with its random numbers, and reductions of its values, as one
 * op, for every number of results. Passes make it; the program says what it computes
 * (graph/program.c). Unlike fused it depends on where elements stand, so their order is that of the
 * graph. */
#define EBB_NO_LOCATIONS
#include "graph/graph_build.h"
#include "ops/program.h"
#include "ops/reduce.h"
#include "ops/rows.h"
#include <math.h>
#include <string.h>

static const ebb_program *program_of(const void *attrs)
{
    return ((const ebb_fused_attrs *)attrs)->program;
}

ebb_shape ebb_tile_program_shape(const ebb_program *program, const ebb_type *const *inputs)
{
    for (int i = 0; i < program->n_inputs; i++)
        if (inputs[i]->shape.rank > 0)
            return inputs[i]->shape;
    for (int k = 0; k < program->n_instructions; k++)
        if (program->instructions[k].attrs &&
            ebb_instruction_kind_of(&program->instructions[k]) == EBB_INSTRUCTION_RANDOM)
            return ((const ebb_random_attrs *)program->instructions[k].attrs)->type.shape;
    return EBB_SCALAR;
}

/* ---- types ---- */

static bool is_scalar_input(const ebb_infer *infer, int32_t value, const ebb_shape *shape)
{
    return value < infer->n_inputs && infer->inputs[value]->shape.rank != shape->rank;
}

static ebb_status infer_element(const ebb_infer *infer, const ebb_instruction *i, int number,
                                const ebb_shape *shape, ebb_dtype *dtypes)
{
    for (int n = 0; n < ebb_instruction_inputs(i); n++)
        if (is_scalar_input(infer, i->inputs[n], shape))
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "$%d reads $%d, a scalar", number,
                                  i->inputs[n]);
    return ebb_program_infer_element(infer, i, number, dtypes);
}

static ebb_status infer_random(const ebb_infer *infer, const ebb_instruction *i, int number,
                               const ebb_shape *shape, ebb_dtype *dtypes)
{
    char a[EBB_TYPE_TEXT_BYTES], b[EBB_TYPE_TEXT_BYTES];
    if (i->inputs[0] >= infer->n_inputs)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "$%d: the counter, $%d, is no input",
                              number, i->inputs[0]);
    ebb_type result;
    ebb_error why = { 0 };
    ebb_status status = i->op->infer(
        &(ebb_infer){ i->op, i->attrs, 1, &infer->inputs[i->inputs[0]], &result, &why });
    if (status)
        return ebb_infer_fail(infer, status, "$%d, %s: %.150s", number, i->op->name, why.message);
    if (!ebb_shape_equal(&result.shape, shape))
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "shapes differ: %s, %s",
                              ebb_shape_text(shape, a), ebb_shape_text(&result.shape, b));
    dtypes[number] = result.dtype;
    return EBB_OK;
}

/* ---- reductions ---- */

/* As the loops of the ops do it, in double. */
typedef enum folding { FOLD_NONE, FOLD_SUM, FOLD_PRODUCT, FOLD_MAX, FOLD_MIN } folding;

static folding folding_of(const ebb_op *op)
{
    if (op == &ebb_op_reduce_sum || op == &ebb_op_reduce_mean || op == &ebb_op_norm_l1 ||
        op == &ebb_op_norm_l2)
        return FOLD_SUM;
    return op == &ebb_op_reduce_prod  ? FOLD_PRODUCT
           : op == &ebb_op_reduce_max ? FOLD_MAX
           : op == &ebb_op_reduce_min ? FOLD_MIN
                                      : FOLD_NONE;
}

static double fold(const ebb_op *op, double sum, double value)
{
    switch (folding_of(op)) {
    case FOLD_PRODUCT:
        return sum * value;
    case FOLD_MAX:
        return sum != sum || value <= sum ? sum : value;
    case FOLD_MIN:
        return sum != sum || value >= sum ? sum : value;
    default:
        return sum + (op == &ebb_op_norm_l1   ? fabs(value)
                      : op == &ebb_op_norm_l2 ? value * value
                                              : value);
    }
}

static double finish_fold(const ebb_op *op, double sum, double n)
{
    return op == &ebb_op_reduce_mean ? sum / n : op == &ebb_op_norm_l2 ? sqrt(sum) : sum;
}

static ebb_status infer_reduction(const ebb_infer *infer, const ebb_instruction *i, int number,
                                  const ebb_shape *shape, const ebb_dtype *dtypes, ebb_type *result)
{
    const ebb_type in = { dtypes[i->inputs[0]], *shape }, *inputs[] = { &in };
    ebb_error why = { 0 };
    if (!ebb_dtype_is_float(in.dtype))
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "$%d, %s: dtype %s is not one of f64, f32",
                              number, i->op->name, ebb_dtype_name(in.dtype));
    ebb_status status = i->op->infer(&(ebb_infer){ i->op, i->attrs, 1, inputs, result, &why });
    if (status)
        return ebb_infer_fail(infer, status, "$%d, %s: %.150s", number, i->op->name, why.message);
    return EBB_OK;
}

static ebb_status eval_reduction(const ebb_eval *eval, const ebb_instruction *i,
                                 const ebb_shape *shape, ebb_program_block *block,
                                 const ebb_tensor *result)
{
    enum { MOST = 256 };
    static const double starts[] = {
        [FOLD_PRODUCT] = 1, [FOLD_MAX] = -(double)INFINITY, [FOLD_MIN] = (double)INFINITY
    };
    const ebb_reduction plan = ebb_reduce_plan(shape, i->attrs);
    const int64_t most = block->most < MOST ? block->most : MOST;
    const folding f = folding_of(i->op);
    int64_t place[EBB_MAX_RANK] = { 0 }, base = 0;
    for (int64_t r = 0; r < plan.n_results; r++) {
        int64_t index[EBB_MAX_RANK] = { 0 }, at = base, indices[MOST];
        double sum = f == FOLD_SUM ? 0 : starts[f];
        for (int64_t begin = 0; begin < plan.n_terms; begin += most) {
            const int64_t n = plan.n_terms - begin < most ? plan.n_terms - begin : most;
            for (int64_t k = 0; k < n; k++) {
                indices[k] = at;
                at += ebb_reduce_advance(index, plan.reduced_dims, plan.reduced_strides,
                                         plan.n_reduced);
            }
            ebb_status status = ebb_program_eval(eval, indices, n, block);
            if (status)
                return status;
            for (int64_t k = 0; k < n; k++)
                sum = fold(
                    i->op, sum,
                    ebb_float_at(result->type.dtype, ebb_program_value(block, i->inputs[0]), k));
        }
        ebb_float_put(result->type.dtype, result->data, r,
                      finish_fold(i->op, sum, (double)plan.n_terms));
        base += ebb_reduce_advance(place, plan.kept_dims, plan.kept_strides, plan.n_kept);
    }
    return EBB_OK;
}

/* ---- all ---- */

static bool is_reduction(const ebb_program *program, int32_t value)
{
    return value >= program->n_inputs &&
           ebb_instruction_kind_of(&program->instructions[value - program->n_inputs]) ==
               EBB_INSTRUCTION_REDUCTION;
}

static ebb_status infer_instruction(const ebb_infer *infer, const ebb_instruction *i, int number,
                                    const ebb_shape *shape, ebb_dtype *dtypes)
{
    const ebb_instruction_kind kind = ebb_instruction_kind_of(i);
    if (kind == EBB_INSTRUCTION_NONE || (kind == EBB_INSTRUCTION_REDUCTION && !folding_of(i->op)))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "$%d: a program may not contain %s", number,
                              i->op->name);
    ebb_status status = ebb_program_check_reads(infer, i, number);
    if (status)
        return status;
    for (int n = 0; n < ebb_instruction_inputs(i); n++)
        if (is_reduction(program_of(infer->attrs), i->inputs[n]))
            return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "$%d reads $%d, a reduction", number,
                                  i->inputs[n]);
    if (kind == EBB_INSTRUCTION_REDUCTION) {
        ebb_type result;
        dtypes[number] = dtypes[i->inputs[0]];
        if (is_scalar_input(infer, i->inputs[0], shape))
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "$%d reads $%d, a scalar", number,
                                  i->inputs[0]);
        return infer_reduction(infer, i, number, shape, dtypes, &result);
    }
    return kind == EBB_INSTRUCTION_RANDOM ? infer_random(infer, i, number, shape, dtypes)
                                          : infer_element(infer, i, number, shape, dtypes);
}

static ebb_status infer_tile_program(const ebb_infer *infer)
{
    const ebb_program *program = program_of(infer->attrs);
    ebb_dtype dtypes[EBB_MAX_PROGRAM_VALUES];
    char a[EBB_TYPE_TEXT_BYTES], b[EBB_TYPE_TEXT_BYTES];
    ebb_status status = ebb_program_check(infer, program);
    if (status)
        return status;
    const ebb_shape shape = ebb_tile_program_shape(program, infer->inputs);
    for (int i = 0; i < infer->n_inputs && !status; i++) {
        dtypes[i] = infer->inputs[i]->dtype;
        if (infer->inputs[i]->shape.rank > 0 && !ebb_shape_equal(&infer->inputs[i]->shape, &shape))
            status = ebb_infer_fail(infer, EBB_BAD_SHAPE, "shapes differ: %s, %s",
                                    ebb_shape_text(&shape, a),
                                    ebb_shape_text(&infer->inputs[i]->shape, b));
    }
    for (int k = 0; k < program->n_instructions && !status; k++)
        status = infer_instruction(infer, &program->instructions[k], program->n_inputs + k, &shape,
                                   dtypes);
    if (!status)
        status = ebb_program_check_results(infer, program);
    for (int r = 0; !status && r < program->n_results; r++) {
        const int32_t v = program->results[r];
        infer->results[r] = (ebb_type){ dtypes[v], shape };
        if (is_reduction(program, v))
            status = infer_reduction(infer, &program->instructions[v - program->n_inputs], v,
                                     &shape, dtypes, &infer->results[r]);
    }
    return status;
}

static double flops_tile_program(const ebb_infer *types)
{
    const ebb_program *program = program_of(types->attrs);
    const ebb_shape shape = ebb_tile_program_shape(program, types->inputs);
    return ebb_program_flops(program, &shape);
}

static ebb_status eval_tile_program(const ebb_eval *eval)
{
    const ebb_program *program = program_of(eval->attrs);
    const ebb_type *types[EBB_MAX_PROGRAM_INPUTS];
    ebb_program_block block;
    for (int i = 0; i < eval->n_inputs; i++)
        types[i] = &eval->inputs[i].type;
    const ebb_shape shape = ebb_tile_program_shape(program, types);
    ebb_program_block_init(&block, eval);
    ebb_status status = ebb_program_eval_elements(eval, ebb_shape_elements(&shape), &block);
    for (int r = 0; r < program->n_results && !status; r++)
        if (is_reduction(program, program->results[r]))
            status = eval_reduction(eval,
                                    &program->instructions[program->results[r] - program->n_inputs],
                                    &shape, &block, &eval->results[r]);
    return status;
}

/* ---- parts ---- */

/* While the parts are made. */
typedef struct parting {
    const ebb_decompose *d;
    const ebb_program *program;
    ebb_shape shape;
    uint32_t ids[EBB_MAX_PROGRAM_VALUES]; /* 0: not there */
    bool is_read[EBB_MAX_PROGRAM_VALUES]; /* by what is not element-wise, or from outside */
} parting;

static ebb_node value_at(const parting *p, int32_t value)
{
    return ebb_graph_node(p->d->graph, p->ids[value]);
}

static bool is_element(const parting *p, int k)
{
    return ebb_instruction_kind_of(&p->program->instructions[k]) == EBB_INSTRUCTION_ELEMENT;
}

static void emit_alone(parting *p, int k)
{
    const ebb_instruction *i = &p->program->instructions[k];
    ebb_node inputs[EBB_MAX_INSTRUCTION_INPUTS], node;
    for (int n = 0; n < ebb_instruction_inputs(i); n++)
        inputs[n] = value_at(p, i->inputs[n]);
    if (i->op)
        node = ebb_emit(p->d->graph, i->op, inputs, i->op->n_inputs, i->attrs, NULL);
    else
        node =
            ebb_broadcast_to(ebb_constant(p->d->graph, i->dtype, EBB_SCALAR, &i->bits), p->shape);
    p->ids[p->program->n_inputs + k] = node.id;
}

/* All element-wise instructions as one program; false: it would be none, or beyond the limits. */
static bool emit_elements(parting *p, ebb_instruction *instructions)
{
    const ebb_program *program = p->program;
    const int n_values = program->n_inputs + program->n_instructions;
    int32_t results[EBB_MAX_RESULTS], numbers[EBB_MAX_PROGRAM_VALUES];
    int32_t values[EBB_MAX_RESULTS];
    ebb_node inputs[EBB_MAX_PROGRAM_INPUTS], made[EBB_MAX_RESULTS];
    ebb_program part = { .instructions = instructions, .results = results };
    memset(numbers, -1, sizeof numbers);
    for (int k = 0; k < program->n_instructions; k++) {
        const ebb_instruction *i = &program->instructions[k];
        for (int n = 0; is_element(p, k) && n < ebb_instruction_inputs(i); n++) {
            const int32_t v = i->inputs[n];
            if (numbers[v] >= 0 || !p->ids[v])
                continue;
            if (part.n_inputs == EBB_MAX_PROGRAM_INPUTS)
                return false;
            inputs[part.n_inputs] = value_at(p, v);
            numbers[v] = part.n_inputs++;
        }
    }
    for (int k = 0; k < program->n_instructions; k++) {
        if (!is_element(p, k))
            continue;
        ebb_instruction i = program->instructions[k];
        for (int n = 0; n < ebb_instruction_inputs(&i); n++)
            i.inputs[n] = numbers[i.inputs[n]];
        numbers[program->n_inputs + k] = part.n_inputs + part.n_instructions;
        instructions[part.n_instructions++] = i;
    }
    for (int v = program->n_inputs; v < n_values; v++) {
        if (!is_element(p, v - program->n_inputs) || !p->is_read[v])
            continue;
        if (part.n_results == EBB_MAX_RESULTS)
            return false;
        values[part.n_results] = v;
        results[part.n_results++] = numbers[v];
    }
    if (part.n_inputs == 0 || part.n_instructions < 2)
        return false;
    const ebb_fused_attrs attrs = { &part };
    if (ebb_emit(p->d->graph, ebb_fused_op(part.n_results), inputs, part.n_inputs, &attrs, made).id)
        for (int r = 0; r < part.n_results; r++)
            p->ids[values[r]] = made[r].id;
    return true;
}

static void decompose_tile_program(const ebb_decompose *d)
{
    const ebb_program *program = program_of(d->attrs);
    const ebb_type *types[EBB_MAX_PROGRAM_INPUTS];
    parting p = { .d = d, .program = program };
    for (int i = 0; i < d->n_inputs; i++) {
        types[i] = ebb_node_type(d->inputs[i]);
        p.ids[i] = d->inputs[i].id;
    }
    p.shape = ebb_tile_program_shape(program, types);
    for (int r = 0; r < program->n_results; r++)
        p.is_read[program->results[r]] = true;
    for (int k = 0; k < program->n_instructions; k++)
        if (is_reduction(program, program->n_inputs + k))
            p.is_read[program->instructions[k].inputs[0]] = true;
    const ebb_allocator *allocator = ebb_graph_allocator(d->graph);
    const size_t bytes = (size_t)program->n_instructions * sizeof(ebb_instruction);
    ebb_instruction *instructions = ebb_allocate(allocator, bytes);
    if (!instructions) {
        (void)ebb_graph_fail(d->graph, EBB_OUT_OF_MEMORY, "%s: out of memory", d->op->name);
        return;
    }
    for (int k = 0; k < program->n_instructions; k++)
        if (ebb_instruction_kind_of(&program->instructions[k]) == EBB_INSTRUCTION_RANDOM)
            emit_alone(&p, k);
    const bool is_whole = emit_elements(&p, instructions);
    for (int k = 0; k < program->n_instructions; k++)
        if (is_element(&p, k) ? !is_whole : is_reduction(program, program->n_inputs + k))
            emit_alone(&p, k);
    ebb_release(allocator, instructions, bytes);
    for (int r = 0; r < program->n_results; r++)
        d->results[r] = value_at(&p, program->results[r]);
}

static const ebb_attr_field fields[] = {
    EBB_FIELD(ebb_fused_attrs, program, PROGRAM, "what it computes"),
    { 0 },
};

/* ---- samples ---- */

/* clang-format off */
#undef COUNT
#undef IN
#undef DRAWN
#define COUNT(list) (int)(sizeof(list) / sizeof *(list))
#define TYPE EBB_SAMPLE_TYPE
#define SCALAR EBB_SAMPLE_SCALAR
#define LIST(...) (const double[]){ __VA_ARGS__ }
/* Of x and a counter: what is dropped of x, and the numbers. */
#define DROP(name, dtype_, ...)                                                                    \
    static const ebb_instruction name[] = {                                                        \
        { .op = &ebb_op_random_uniform, .inputs = { 1 },                                           \
          .attrs = &(const ebb_random_attrs){ TYPE(dtype_, __VA_ARGS__), 0, 0 } },                 \
        { .op = &ebb_op_clip, .inputs = { 2 },                                                     \
          .attrs = &(const ebb_limits_attrs){ 0.5, 0.75 } },                                       \
        { .op = &ebb_op_greater, .inputs = { 2, 3 } },                                             \
        { .op = &ebb_op_cast, .inputs = { 4 }, .attrs = &(const ebb_cast_attrs){ EBB_F64 } },      \
        { .op = &ebb_op_cast, .inputs = { 0 }, .attrs = &(const ebb_cast_attrs){ EBB_F64 } },      \
        { .op = &ebb_op_mul, .inputs = { 6, 5 } },                                                 \
        { .op = &ebb_op_neg, .inputs = { 7 } },                                                    \
        { .op = &ebb_op_add, .inputs = { 8, 6 } },                                                 \
    };
DROP(drop_4, F32, 4)
DROP(drop_0, F32, 0)
DROP(drop_1, F64, 1)
DROP(drop_17, F32, 17)
DROP(drop_70, F32, 70)
DROP(drop_35, F32, 3, 5)
DROP(drop_2317, F64, 2, 3, 1, 7)
static const ebb_instruction drop_scalar[] = {
    { .op = &ebb_op_random_normal, .inputs = { 1 },
      .attrs = &(const ebb_random_attrs){ SCALAR(F64), 3, 4 } },
    { .op = &ebb_op_cast, .inputs = { 0 }, .attrs = &(const ebb_cast_attrs){ EBB_F64 } },
    { .op = &ebb_op_mul, .inputs = { 2, 3 } },
    { .op = &ebb_op_tanh, .inputs = { 4 } },
    { .op = &ebb_op_neg, .inputs = { 4 } },
    { .op = &ebb_op_square, .inputs = { 4 } },
    { .op = &ebb_op_add, .inputs = { 4, 3 } },
    { .op = &ebb_op_sub, .inputs = { 4, 3 } },
};
static const ebb_instruction losses[] = { /* of x, y */
    { .op = &ebb_op_sub, .inputs = { 0, 1 } },
    { .op = &ebb_op_reduce_sum, .inputs = { 2 } , .attrs = &(const ebb_reduce_attrs){ { 1, { 0 } }, false } },
    { .op = &ebb_op_square, .inputs = { 2 } },
    { .op = &ebb_op_reduce_mean, .inputs = { 4 }, .attrs = &(const ebb_reduce_attrs){ { 0, { 0 } }, false } },
    { .op = &ebb_op_norm_l1, .inputs = { 2 }, .attrs = &(const ebb_reduce_attrs){ { 1, { 1 } }, true } },
    { .op = &ebb_op_norm_l2, .inputs = { 2 }, .attrs = &(const ebb_reduce_attrs){ { 1, { -1 } }, false } },
    { .op = &ebb_op_reduce_max, .inputs = { 2 }, .attrs = &(const ebb_reduce_attrs){ { 1, { 1 } }, false } },
    { .op = &ebb_op_reduce_min, .inputs = { 2 }, .attrs = &(const ebb_reduce_attrs){ { 1, { 1 } }, false } },
    { .op = &ebb_op_reduce_prod, .inputs = { 2 }, .attrs = &(const ebb_reduce_attrs){ { 1, { 0 } }, true } },
};
static const ebb_instruction of_reduction[] = {
    { .op = &ebb_op_reduce_sum, .inputs = { 0 }, .attrs = &(const ebb_reduce_attrs){ { 0, { 0 } }, false } },
    { .op = &ebb_op_neg, .inputs = { 2 } },
};
static const ebb_instruction bad_axis[] = {
    { .op = &ebb_op_reduce_sum, .inputs = { 0 }, .attrs = &(const ebb_reduce_attrs){ { 1, { 3 } }, false } },
};
static const ebb_instruction bad_dtype[] = {
    { .op = &ebb_op_is_nan, .inputs = { 0 } },
    { .op = &ebb_op_reduce_max, .inputs = { 2 }, .attrs = &(const ebb_reduce_attrs){ { 0, { 0 } }, false } },
};
static const ebb_instruction any[] = {
    { .op = &ebb_op_is_nan, .inputs = { 0 } },
    { .op = &ebb_op_reduce_any, .inputs = { 2 }, .attrs = &(const ebb_reduce_attrs){ { 0, { 0 } }, false } },
};
static const int32_t sums[] = { 5, 3, 2, 6, 7, 8, 9, 10 };
static const ebb_instruction forward[] = { { .op = &ebb_op_add, .inputs = { 0, 2 } } };
static const ebb_instruction stranger[] = { { .op = &ebb_op_matmul, .inputs = { 0, 0 } } };
static const ebb_instruction missing[] = { { .op = &ebb_op_random_uniform, .inputs = { 1 } } };
static const ebb_instruction scalar[] = { { .op = &ebb_op_add, .inputs = { 0, 1 } } };
static const ebb_instruction made_counter[] = {
    { .op = &ebb_op_neg, .inputs = { 0 } },
    { .op = &ebb_op_random_uniform, .inputs = { 2 },
      .attrs = &(const ebb_random_attrs){ TYPE(F32, 4), 0, 0 } },
};
static const ebb_instruction no_counter[] = {
    { .op = &ebb_op_random_uniform, .inputs = { 0 },
      .attrs = &(const ebb_random_attrs){ TYPE(F32, 4), 0, 0 } },
};
static const int32_t values[] = { 9, 7, 2, 3, 4, 5, 6, 8 };

#define PROGRAM(inputs, list, n, result_list) .attrs = &(const ebb_fused_attrs){                   \
    &(const ebb_program){ inputs, COUNT(list), n, list, result_list } }
#define PROGRAM_OF(list, n) PROGRAM(2, list, n, values)
#define IN(...) .n_inputs = 2, .inputs = EBB_INPUTS(__VA_ARGS__, SCALAR(I64)),                     \
    .range = EBB_RANGES([1] = { 0, 1e15, 0, 0 })
#define DRAWN(n, list, ...) { IN(__VA_ARGS__), PROGRAM_OF(list, n) }
#define WRONG(list, first) IN(TYPE(F64, 4)), PROGRAM(2, list, 1, (const int32_t[]){ first })
/* Key 0, counter 0: words 6627e8d5 e169c58d bc57ac4c 9b00dbd8, of which 24 bits each are the numbers
 * U. */
#define U 0.3990464210510254, 0.8805201649665833, 0.7357127666473389, 0.6054818034172058
#define SAMPLES(n, ...)                                                                            \
    { IN(TYPE(F64, 4)), PROGRAM_OF(drop_4, n), .values = { LIST(3, 6, 9, 12), LIST(0) },           \
      .expected = LIST(__VA_ARGS__),                                                               \
      .source = "Random123 1.09, kat_vectors, philox4x32 10, first line" },                        \
    DRAWN(n, drop_0, TYPE(F64, 0)), DRAWN(n, drop_1, TYPE(F64, 1)),                                \
    DRAWN(n, drop_17, TYPE(F64, 17)), DRAWN(n, drop_70, TYPE(F64, 70)), DRAWN(n, drop_35, TYPE(F64, 3, 5)),                          \
    DRAWN(n, drop_2317, TYPE(F64, 2, 3, 1, 7)), DRAWN(n, drop_scalar, SCALAR(F64)),                \
    { IN(TYPE(F64, 4)), PROGRAM(3, drop_4, n, values), .error = EBB_BAD_ATTRIBUTE,                 \
      .message = "a program of 3 inputs for 2" }
static const ebb_sample samples_1[] = {
    SAMPLES(1, 3, 0, 9, 12),
    { IN(TYPE(F64, 3)), .error = EBB_BAD_ATTRIBUTE, .message = "there is no program" },
    { WRONG(forward, 2), .error = EBB_BAD_ATTRIBUTE,
      .message = "$2 reads $2, which is not before it" },
    { WRONG(stranger, 2), .error = EBB_BAD_ATTRIBUTE,
      .message = "$2: a program may not contain matmul" },
    { WRONG(missing, 2), .error = EBB_BAD_ATTRIBUTE,
      .message = "$2: random_uniform lacks its attributes" },
    { WRONG(scalar, 2), .error = EBB_BAD_SHAPE, .message = "$2 reads $1, a scalar" },
    { WRONG(made_counter, 3), .error = EBB_BAD_ATTRIBUTE,
      .message = "$3: the counter, $2, is no input" },
    { WRONG(no_counter, 2), .error = EBB_BAD_DTYPE,
      .message = "$2, random_uniform: the counter is f64, not i64" },
    { WRONG(drop_17, 9), .error = EBB_BAD_SHAPE, .message = "shapes differ: [4], [17]" },
    { WRONG(drop_4, 1), .error = EBB_BAD_ATTRIBUTE, .message = "result 0 is $1, no instruction" },
    { WRONG(of_reduction, 3), .error = EBB_BAD_ATTRIBUTE, .message = "$3 reads $2, a reduction" },
    { WRONG(bad_axis, 2), .error = EBB_BAD_AXIS,
      .message = "$2, reduce_sum: axis 3 is out of range for rank 1" },
    { WRONG(bad_dtype, 3), .error = EBB_BAD_DTYPE,
      .message = "$3, reduce_max: dtype bool is not one of f64, f32" },
    { WRONG(any, 3), .error = EBB_BAD_ATTRIBUTE,
      .message = "$3: a program may not contain reduce_any" },
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 3), TYPE(F64, 4)), PROGRAM_OF(drop_4, 1),
      .error = EBB_BAD_SHAPE, .message = "shapes differ: [3], [4]" },
};
#define KEPT 3, 0, 9, 12, 0, 6, 0, 0
#define CLIPPED 0.5, 0.75, 0.7357127666473389, 0.6054818034172058
#define ONES 0, 1, 0, 0
static const ebb_sample samples_2[] = { SAMPLES(2, KEPT) };
static const ebb_sample samples_3[] = { SAMPLES(3, KEPT, U) };
static const ebb_sample samples_4[] = { SAMPLES(4, KEPT, U, CLIPPED) };
static const ebb_sample samples_5[] = { SAMPLES(5, KEPT, U, CLIPPED, ONES) };
static const ebb_sample samples_6[] = { SAMPLES(6, KEPT, U, CLIPPED, ONES, ONES) };
static const ebb_sample samples_7[] = {
    SAMPLES(7, KEPT, U, CLIPPED, ONES, ONES, 3, 6, 9, 12)
};
/* x - y is 1 2 -3, -4 5 6; drawn ones are positive, where norm_l1 has no kink. */
#define LOSSES(...) .n_inputs = 2, .inputs = EBB_INPUTS(__VA_ARGS__, __VA_ARGS__),                \
    .range = EBB_RANGES({ 0.1, 0.9, 0, 0 }, { -0.9, -0.1, 0, 0 }), PROGRAM(2, losses, 8, sums)
static const ebb_sample samples_8[] = {
    { .n_inputs = 2, .inputs = EBB_INPUTS(TYPE(F64, 2, 3), TYPE(F64, 2, 3)),
      PROGRAM(2, losses, 8, sums), .values = { LIST(2, 2, 0, 0, 5, 5), LIST(1, 0, 3, 4, 0, -1) },
      .expected = LIST(91.0 / 6, -3, 7, 3, 1, 2, -3, -4, 5, 6, 6, 15, 3.7416573867739413,
                       8.774964387392123, 2, 6, -3, -4, -4, 10, -18),
      .source = "by the definition" },
    { LOSSES(TYPE(F64, 1, 1)) }, { LOSSES(TYPE(F64, 3, 5)) },
    /* Among 70 some stand so close to the largest that differences would exchange them. */
    { LOSSES(TYPE(F64, 17, 70)), .no_gradient = true },
    SAMPLES(8, KEPT, U, CLIPPED, ONES, ONES, 3, 6, 9, 12, 0, -6, 0, 0)
};

#define TILE_PROGRAM(identifier, text, n)                                                          \
    const ebb_op ebb_op_##identifier = {                                                           \
        .name = text,                                                                              \
        .summary = "an element-wise graph with random numbers and reductions as one op; passes "   \
                   "make it; results: " #n,                                                                 \
        .group = "element-wise",                                                                   \
        .n_inputs = EBB_VARIADIC,                                                                  \
        .n_results = n,                                                                            \
        .traits = EBB_TRAIT_LIBRARY | EBB_TRAIT_RANDOM,                                            \
        .attrs_bytes = sizeof(ebb_fused_attrs),                                                    \
        .attrs = fields,                                                                           \
        .infer = infer_tile_program,                                                               \
        .eval = eval_tile_program,                                                                 \
        .flops = flops_tile_program,                                                               \
        .decompose = decompose_tile_program,                                                       \
        .samples = samples_##n,                                                                    \
        .n_samples = COUNT(samples_##n),                                                           \
    };
/* clang-format on */
TILE_PROGRAM(tile_program, "tile_program", 1)
TILE_PROGRAM(tile_program_2, "tile_program_2", 2)
TILE_PROGRAM(tile_program_3, "tile_program_3", 3)
TILE_PROGRAM(tile_program_4, "tile_program_4", 4)
TILE_PROGRAM(tile_program_5, "tile_program_5", 5)
TILE_PROGRAM(tile_program_6, "tile_program_6", 6)
TILE_PROGRAM(tile_program_7, "tile_program_7", 7)
TILE_PROGRAM(tile_program_8, "tile_program_8", 8)

const ebb_op *ebb_tile_program_op(int n_results)
{
    static const ebb_op *const ops[EBB_MAX_RESULTS] = {
        &ebb_op_tile_program,   &ebb_op_tile_program_2, &ebb_op_tile_program_3,
        &ebb_op_tile_program_4, &ebb_op_tile_program_5, &ebb_op_tile_program_6,
        &ebb_op_tile_program_7, &ebb_op_tile_program_8,
    };
    return n_results >= 1 && n_results <= EBB_MAX_RESULTS ? ops[n_results - 1] : NULL;
}
