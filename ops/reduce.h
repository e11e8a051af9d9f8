/* What the reductions share: the loops over dense data, rules, samples. */
#ifndef OPS_REDUCE_H
#define OPS_REDUCE_H

#include "ops/build.h"
#include "ops/descriptors.h"

/* The loops of a reduction over dense data: dimensions that stay, and dimensions that are reduced.
 */
typedef struct ebb_reduction {
    int n_kept, n_reduced;
    int64_t kept_dims[EBB_MAX_RANK], kept_strides[EBB_MAX_RANK];
    int64_t reduced_dims[EBB_MAX_RANK], reduced_strides[EBB_MAX_RANK];
    int64_t n_results, n_terms; /* elements of the result, and of x for each of them */
    double divisor;             /* of a mean: n_terms, or less */
} ebb_reduction;

/* What a reference kernel is, by dtype of x; NULL: not allowed. An op's `user` points to it. */
typedef struct ebb_reduce_loops {
    void (*loops[EBB_N_DTYPES])(const ebb_reduction *plan, const void *x, void *result);
} ebb_reduce_loops;

ebb_reduction ebb_reduce_plan(const ebb_shape *shape, const ebb_reduce_attrs *attrs);
/* The next place in row-major order over dims; returns how far it is from the last one. */
int64_t ebb_reduce_advance(int64_t *index, const int64_t *dims, const int64_t *strides, int n);

/* Attributes are ebb_reduce_attrs, or a struct that begins with one. */
ebb_status ebb_reduce_infer(const ebb_infer *infer);
ebb_status ebb_reduce_eval(const ebb_eval *eval);
ebb_node ebb_reduce_emit(const ebb_op *op, ebb_node x, ebb_axes axes, bool keep);

/* For vjps: a result lies against x with the reduced dimensions as 1; here it is repeated to x. */
ebb_node ebb_reduce_spread(ebb_node x, const ebb_reduce_attrs *attrs, ebb_node result);
bool ebb_reduce_wants_gradient(const ebb_vjp *v);
/* Of reduce_prod: see product.c. */
void ebb_reduce_vjp_product(const ebb_vjp *v);

/* Up to this many neighbouring results at once, so that the reads of a column sum are contiguous.
 */
#define REDUCE_BLOCK 64

/* A is the type of the accumulator. Expressions: the `first` one; a `step` out of it (called sum)
 * and a value; and the `last`, which becomes the result. */
#define REDUCE_LOOP(name, T, A, first, step, last)                                                 \
    static void name(const ebb_reduction *plan, const void *data, void *results)                   \
    {                                                                                              \
        const T *x = data;                                                                         \
        T *result = results;                                                                       \
        int64_t place[EBB_MAX_RANK] = { 0 }, base = 0, width = 1;                                  \
        if (plan->n_kept && plan->kept_strides[plan->n_kept - 1] == 1)                             \
            width = plan->kept_dims[plan->n_kept - 1];                                             \
        for (int64_t r = 0; r < plan->n_results;) {                                                \
            int64_t column = width > 1 ? place[plan->n_kept - 1] : 0;                              \
            int64_t n = width - column < REDUCE_BLOCK ? width - column : REDUCE_BLOCK;             \
            A sums[REDUCE_BLOCK];                                                                  \
            for (int64_t i = 0; i < n; i++)                                                        \
                sums[i] = first;                                                                   \
            int64_t index[EBB_MAX_RANK] = { 0 }, at = base;                                        \
            for (int64_t term = 0; term < plan->n_terms; term++) {                                 \
                const T *row = x + at;                                                             \
                for (int64_t i = 0; i < n; i++) {                                                  \
                    const A sum = sums[i], value = (A)row[i];                                      \
                    sums[i] = (A)(step);                                                           \
                }                                                                                  \
                at += ebb_reduce_advance(index, plan->reduced_dims, plan->reduced_strides,         \
                                         plan->n_reduced);                                         \
            }                                                                                      \
            for (int64_t i = 0; i < n; i++, r++) {                                                 \
                const A sum = sums[i];                                                             \
                result[r] = (T)(last);                                                             \
                base +=                                                                            \
                    ebb_reduce_advance(place, plan->kept_dims, plan->kept_strides, plan->n_kept);  \
            }                                                                                      \
        }                                                                                          \
    }

/* Two passes for each result, in double: `shift` out of the first sum, then `step2` sees it. */
#define REDUCE_TWICE(name, T, first, step, shift_of_sum, step2, last)                              \
    static void name(const ebb_reduction *plan, const void *data, void *results)                   \
    {                                                                                              \
        const T *x = data;                                                                         \
        T *result = results;                                                                       \
        int64_t place[EBB_MAX_RANK] = { 0 }, base = 0;                                             \
        for (int64_t r = 0; r < plan->n_results; r++) {                                            \
            double sum = first;                                                                    \
            int64_t index[EBB_MAX_RANK] = { 0 }, at = base;                                        \
            for (int64_t term = 0; term < plan->n_terms; term++) {                                 \
                const double value = (double)x[at];                                                \
                sum = step;                                                                        \
                at += ebb_reduce_advance(index, plan->reduced_dims, plan->reduced_strides,         \
                                         plan->n_reduced);                                         \
            }                                                                                      \
            const double shift = shift_of_sum;                                                     \
            sum = 0;                                                                               \
            at = base;                                                                             \
            for (int64_t term = 0; term < plan->n_terms; term++) {                                 \
                const double value = (double)x[at];                                                \
                sum = step2;                                                                       \
                at += ebb_reduce_advance(index, plan->reduced_dims, plan->reduced_strides,         \
                                         plan->n_reduced);                                         \
            }                                                                                      \
            result[r] = (T)(last);                                                                 \
            base += ebb_reduce_advance(place, plan->kept_dims, plan->kept_strides, plan->n_kept);  \
        }                                                                                          \
    }

extern const ebb_attr_field ebb_reduce_fields[];

/* clang-format off */
#define LOOPS_OF_FLOATS(name) static const ebb_reduce_loops loops_##name = {                       \
        { [EBB_F64] = name##_f64, [EBB_F32] = name##_f32 } };
#define LOOPS_OF_NUMBERS(name) static const ebb_reduce_loops loops_##name = {                      \
        { [EBB_F64] = name##_f64, [EBB_F32] = name##_f32, [EBB_I64] = name##_i64,                  \
          [EBB_I32] = name##_i32, [EBB_U8] = name##_u8 } };
#define LOOPS_OF_BOOLS(name) static const ebb_reduce_loops loops_##name = {                        \
        { [EBB_BOOL] = name##_bool } };

/* ---- samples ---- */

#define REDUCE(keep, ...)                                                                          \
    .attrs = &(const ebb_reduce_attrs){                                                            \
        { (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)), { __VA_ARGS__ } }, keep }
#define REDUCE_ALL(keep) .attrs = &(const ebb_reduce_attrs){ { 0, { 0 } }, keep }
#define IN(dtype, ...) .inputs = EBB_INPUTS(EBB_SAMPLE_TYPE(dtype, __VA_ARGS__))
#define VALUES(...) .values = { (const double[]){ __VA_ARGS__ } }
#define EXPECTED(...) .expected = (const double[]){ __VA_ARGS__ }, .source = "by the definition"
#define DRAWN(low, high, gap) .range = EBB_RANGES({ low, high, gap, 0 })
#define GOOD_SAMPLES(low, high, gap)                                                               \
    { .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(F64)), REDUCE_ALL(false), DRAWN(low, high, gap) },    \
    { .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(F64)), REDUCE_ALL(true), DRAWN(low, high, gap) },     \
    { IN(F64, 1), REDUCE(true, 0), DRAWN(low, high, gap) },                                        \
    { IN(F64, 7), REDUCE_ALL(true), DRAWN(low, high, gap) },                                       \
    { IN(F64, 17), REDUCE(false, 0), DRAWN(low, high, gap) },                                      \
    { IN(F64, 3, 5), REDUCE(false, 0), DRAWN(low, high, gap) },                                    \
    { IN(F64, 3, 5), REDUCE(true, 1), DRAWN(low, high, gap) },                                     \
    { IN(F64, 2, 3, 4), REDUCE(false, 1), DRAWN(low, high, gap) },                                 \
    { IN(F64, 2, 3, 4), REDUCE(true, 0, 2), DRAWN(low, high, gap) },                               \
    { IN(F64, 2, 3, 4), REDUCE(false, -1, 1), DRAWN(low, high, gap) },                             \
    { IN(F64, 2, 0, 4), REDUCE(false, 0), DRAWN(low, high, gap) },                                 \
    { IN(F64, 2, 1, 3, 1, 5), REDUCE(false, 1, 2, 4), DRAWN(low, high, gap) }
#define BAD_AXES_SAMPLES(dtype)                                                                    \
    { IN(dtype, 2, 3), REDUCE(false, 2), .error = EBB_BAD_AXIS,                                    \
      .message = "axis 2 is out of range for rank 2" },                                            \
    { IN(dtype, 2, 3), REDUCE(false, -3), .error = EBB_BAD_AXIS,                                   \
      .message = "axis -3 is out of range for rank 2" },                                           \
    { IN(dtype, 2, 3), REDUCE(false, 1, -1), .error = EBB_BAD_AXIS,                                \
      .message = "axis -1 is repeated" },                                                          \
    { .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(dtype)), REDUCE(false, 0), .error = EBB_BAD_AXIS,     \
      .message = "axis 0 is out of range: a scalar has none" }
#define COMMON_SAMPLES                                                                             \
    GOOD_SAMPLES(-2, 2, 0), BAD_SAMPLES
#define BAD_SAMPLES                                                                                \
    BAD_AXES_SAMPLES(F64),                                                                         \
    { IN(BOOL, 2, 3), REDUCE(false, 1), .error = EBB_BAD_DTYPE,                                    \
      .message = "dtype bool is not one of f64, f32" }
#define NO_INTEGER_SAMPLES                                                                         \
    { IN(I64, 3), REDUCE_ALL(false), .error = EBB_BAD_DTYPE,                                       \
      .message = "dtype i64 is not one of f64, f32" }
/* Differences of NaN or infinities are of no use: `off` says that there is no gradient check. */
#define EMPTY_SAMPLES(off)                                                                         \
    { IN(F64, 0), REDUCE_ALL(false), .no_gradient = off },                                         \
    { IN(F64, 0, 3), REDUCE(false, 0), .no_gradient = off }
#define INTEGER_SAMPLES                                                                            \
    { IN(I64, 3, 5), REDUCE(false, 1), .range = EBB_RANGES({ -9, 9, 0, 0 }) },                     \
    { IN(I32, 3, 5), REDUCE(false, 0), .range = EBB_RANGES({ -9, 9, 0, 0 }) },                     \
    { IN(U8, 17), REDUCE_ALL(false), .range = EBB_RANGES({ 0, 256, 0, 0 }) },                      \
    { IN(I64, 0, 2), REDUCE(false, 0) }

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])
/* `...`: what differs from a plain reduction. */
#define REDUCTION(op_name, text, vjp_rule, ...)                                                    \
    const ebb_op ebb_op_##op_name = {                                                              \
        .name = #op_name, .summary = text, .group = "reduction", .n_inputs = 1, .n_results = 1,    \
        .attrs_bytes = sizeof(ebb_reduce_attrs), .attrs = ebb_reduce_fields,                       \
        .infer = ebb_reduce_infer, .vjp = vjp_rule, .eval = ebb_reduce_eval,                       \
        .user = &loops_##op_name, .samples = samples_##op_name,                                    \
        .n_samples = COUNT(samples_##op_name), __VA_ARGS__                                         \
    }
/* clang-format on */

#endif
