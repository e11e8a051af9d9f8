/* Steps of programs of F32 that hand on one register of values: see ebb_register_table. */
#include "backends/native/vector/functions.h"
#include "backends/native/vector/isa.h"
#include "backends/native/vector/lanes.h"
#include "backends/native/vector/pow_lanes.h"
#include "backends/native/vector/tanh_lanes.h"
#include "ops/descriptors.h"
#include "ops/parameters.h"

#define T float
#define U float
#define FN(name) name##f
#define LANES LANES_F32

typedef lanes_f32 vec;
typedef lanes_f32 anywhere __attribute__((aligned(4), may_alias));
typedef vec (*step)(vec at_hand, const void *operand);

typedef union lanes {
    vec all;
    float each[LANES];
} lanes;

/* The loops become a few instructions: arrays that do not leave a function lie in registers.
 * Unused where an instruction set has its own step. */
#define STEP(name, before, locals, value)                                                          \
    __attribute__((unused)) static vec name(vec at_hand, const void *operand)                      \
    {                                                                                              \
        const lanes own = { at_hand };                                                             \
        lanes result;                                                                              \
        before;                                                                                    \
        INDEPENDENT                                                                                \
        for (int i = 0; i < LANES; i++) {                                                          \
            const T locals;                                                                        \
            result.each[i] = (T)(value);                                                           \
        }                                                                                          \
        return result.all;                                                                         \
    }
#define NO_OPERAND (void)operand
#define OTHER const lanes other = { *(const anywhere *)operand }
#define OF_OWN x = own.each[i]
#define OF_OWN_AND_OTHER a = own.each[i], b = other.each[i]
#define OF_OTHER_AND_OWN a = other.each[i], b = own.each[i]

/* clang-format off */
#define VALUE(float_value, int_value) float_value
#define FLOATS_STEP(...) __VA_ARGS__
#define NUMBERS_STEP(...) __VA_ARGS__
#define ANY_STEP(...) __VA_ARGS__
#define BOOLS_STEP(...)
#define HAS(dtypes) ISA_PASTE_(dtypes, STEP)

#define UNARY(name, dtypes, summary, value, ...)                                                   \
    HAS(dtypes)(STEP(name##_own, NO_OPERAND, OF_OWN, value))
#define WITH(parameters, name, dtypes, summary, value, ...)                                        \
    HAS(dtypes)(STEP(name##_own, LOCALS_##parameters(operand), OF_OWN, value))
#define BINARY(name, dtypes, traits, summary, value, ...)                                          \
    HAS(dtypes)(STEP(name##_own, OTHER, OF_OWN_AND_OTHER, value)                                   \
                STEP(name##_other, OTHER, OF_OTHER_AND_OWN, value))
#include "ops/elementwise.def"

static vec load(vec at_hand, const void *operand)
{
    (void)at_hand;
    return *(const anywhere *)operand;
}

static void run(const ebb_register_step *steps, int n_steps, void *const *places)
{
    vec at_hand = { 0 };
    for (const ebb_register_step *s = steps; s < steps + n_steps; s++) {
        at_hand = ((step)s->form)(at_hand, places[s->operand]);
        *(anywhere *)places[s->result] = at_hand;
    }
}

#ifdef __AVX512F__
/* As in elementwise.c, so that the bits are the same. */
#define GUARDED_POW(name, a, b)                                                                    \
    static vec guarded_##name(vec at_hand, const void *operand)                                    \
    {                                                                                              \
        const vec other = *(const anywhere *)operand;                                              \
        const __mmask16 is_special = pow_is_special(a, b);                                         \
        const __m512 plain = pow_lanes(a, b);                                                      \
        return is_special ? _mm512_mask_blend_ps(is_special, plain, name(at_hand, operand))        \
                          : plain;                                                                 \
    }
GUARDED_POW(pow_own, at_hand, other)
GUARDED_POW(pow_other, other, at_hand)

static vec own_tanh(vec at_hand, const void *operand)
{
    (void)operand;
    return tanh_lanes(at_hand);
}
/* in the table */
#define tanh_own own_tanh
#define pow_own guarded_pow_own
#define pow_other guarded_pow_other
#endif

#define FORM(name) (ebb_register_form) name
static const ebb_register_row rows[] = {
#define UNARY(name, dtypes, ...) HAS(dtypes)({ &ebb_op_##name, { FORM(name##_own), NULL } }, )
#define WITH(parameters, name, ...) UNARY(name, __VA_ARGS__)
#define BINARY(name, dtypes, ...)                                                                  \
    HAS(dtypes)({ &ebb_op_##name, { FORM(name##_own), FORM(name##_other) } }, )
#include "ops/elementwise.def"
};
/* clang-format on */

const ebb_register_table ISA_NAME(ebb_register_table) = {
    .rows = rows,
    .n_rows = (int)(sizeof rows / sizeof *rows),
    .n_lanes = LANES,
    .load = FORM(load),
    .run = run,
};
