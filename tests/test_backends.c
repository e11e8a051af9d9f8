/* The backends against the reference kernels at F64: every sample of every op, sizes that are
 * shared out between threads, special values, accuracy of functions, failures. */
#include "backends/backends.h"
#include "backends/native/vector/vector.h"
#include "ops/descriptors.h"
#include "tests/support/kernels.h"
#include "tests/support/runner.h"
#include "tests/support/samples.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const ebb_backend *const native = &ebb_backend_native;

static const ebb_backend *const *all_backends(int *n)
{
    return ebb_backend_list("onednn", n);
}

/* ---- samples ---- */

static void check_sample(const ebb_op *op, int index, ebb_dtype floats, kernel_counts *sum)
{
    int n_backends;
    const ebb_backend *const *backends = all_backends(&n_backends);
    sample_case s;
    ebb_type types[EBB_MAX_RESULTS];
    ebb_error error = { 0 };
    if (sample_fails_to_build(&op->samples[index]))
        return;
    sample_case_init(&s, op, index, floats);
    kernel_case c = { op, s.attrs, s.n_inputs, s.inputs, s.label, 0 };
    /* Where an attribute names a dtype, F32 inputs may not fit. */
    if (!infer_results(op, s.attrs, s.inputs, s.n_inputs, types, &error)) {
        if (s.sample->error) {
            for (int b = 0; b < n_backends; b++) {
                ebb_tensor results[EBB_MAX_RESULTS];
                ebb_status status = run_kernel(&c, backends[b], 2, -1, results, NULL, &error);
                if (status == EBB_NOT_FOUND)
                    continue;
                REQUIRE(status == s.sample->error, "%s: status %s", s.label,
                        ebb_status_name(status));
                REQUIRE(strstr(error.message, s.sample->message) != NULL, "%s: message %s", s.label,
                        error.message);
            }
        } else {
            kernel_counts counts = check_kernels(&c, backends, n_backends, "native");
            sum->n_runs += counts.n_runs;
            sum->n_refused += counts.n_refused;
            sum->n_inplace += counts.n_inplace;
        }
    }
    sample_case_finish(&s);
}

START_TEST(test_samples)
{
    int n_ops;
    const ebb_op *op = ebb_op_list(&n_ops)[_i];
    kernel_counts sum = { 0 };
    if (!op->eval)
        return;
    for (int i = 0; i < op->n_samples; i++) {
        check_sample(op, i, EBB_F64, &sum);
        check_sample(op, i, EBB_F32, &sum);
    }
    ck_assert_int_gt(sum.n_runs, 0);
}
END_TEST

/* ---- larger and odder than the samples ---- */

#define NO_SHAPE                                                                                   \
    {                                                                                              \
        -1,                                                                                        \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

typedef struct big_case {
    const ebb_op *op;
    const void *attrs;
    ebb_shape shapes[3];
    ebb_dtype dtypes[3]; /* 0: the float at hand */
    double low, high;    /* of floats; integers are 0 or 1 */
    bool is_threaded;    /* some backend must share it out */
} big_case;

#define REDUCE(...)                                                                                \
    &(const ebb_reduce_attrs)                                                                      \
    {                                                                                              \
        { (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)), { __VA_ARGS__ } }, false            \
    }
#define ALL_AXES                                                                                   \
    &(const ebb_reduce_attrs)                                                                      \
    {                                                                                              \
        { 0, { 0 } }, false                                                                        \
    }
#define VARIANCE(ddof, ...)                                                                        \
    &(const ebb_variance_attrs)                                                                    \
    {                                                                                              \
        { { (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)), { __VA_ARGS__ } }, false }, ddof  \
    }
#define LOSS(reduction_)                                                                           \
    &(const ebb_cross_entropy_attrs)                                                               \
    {                                                                                              \
        .reduction = EBB_REDUCTION_##reduction_                                                    \
    }
#define NORM(...)                                                                                  \
    &(const ebb_norm_attrs)                                                                        \
    {                                                                                              \
        { (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)), { __VA_ARGS__ } }, 1e-5             \
    }
#define AXIS(n)                                                                                    \
    &(const ebb_axis_attrs)                                                                        \
    {                                                                                              \
        n                                                                                          \
    }
#define PRODUCT(a, b)                                                                              \
    &(const ebb_matmul_attrs)                                                                      \
    {                                                                                              \
        a, b                                                                                       \
    }

/* clang-format off */
#define L(...) { (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), { __VA_ARGS__ } }
#define PAD(mode, before, after) &(const ebb_pad_attrs){ before, after, EBB_PAD_##mode, 0.5 }
#define SLICE(start, stop, step) &(const ebb_slice_attrs){ start, stop, step }
#define SPREAD(shape, start, stop, step) &(const ebb_slice_grad_attrs){ { start, stop, step }, shape }
static const big_case big_cases[] = {
    { &ebb_op_add, NULL, { SHAPE(100003), SHAPE(100003) }, { 0 }, -2, 2, true },
    { &ebb_op_add, NULL, { SHAPE(317, 331), SHAPE(317, 331) }, { 0 }, -2, 2, true },
    { &ebb_op_mul, NULL, { SHAPE(7, 11, 13, 100), SHAPE(7, 11, 13, 100) }, { 0 }, -2, 2, true },
    { &ebb_op_sub, NULL, { SHAPE(100, 10), SHAPE(100, 10) }, { 0 }, -2, 2, false },
    { &ebb_op_sub, NULL, { SHAPE(3, 5000), SHAPE(3, 5000) }, { 0 }, -2, 2, false },
    { &ebb_op_sub, NULL, { SHAPE(30, 3000), SHAPE(30, 3000) }, { 0 }, -2, 2, true },
    { &ebb_op_div, NULL, { SHAPE(41, 1, 1031), SHAPE(41, 1, 1031) }, { 0 }, 1, 2, true },
    { &ebb_op_exp, NULL, { SHAPE(9001) }, { 0 }, -20, 20, true },
    { &ebb_op_tanh, NULL, { SHAPE(91, 97) }, { 0 }, -5, 5, true },
    { &ebb_op_sigmoid, NULL, { SHAPE(5, 7, 300) }, { 0 }, -5, 5, true },
    { &ebb_op_relu, NULL, { SHAPE(200003) }, { 0 }, -5, 5, true },
    { &ebb_op_greater, NULL, { SHAPE(317, 331), SHAPE(317, 331) }, { 0 }, -2, 2, true },
    { &ebb_op_select, NULL, { SHAPE(317, 131), SHAPE(317, 131), SHAPE(317, 131) }, { EBB_BOOL }, -2, 2, true },
    { &ebb_op_select, NULL, { SHAPE(33, 17), SHAPE(33, 17), SHAPE(33, 17) }, { EBB_BOOL, EBB_U8, EBB_U8 }, 0, 0, false },
    { &ebb_op_cast, &(const ebb_cast_attrs){ EBB_F64 }, { SHAPE(50001) }, { EBB_U8 }, 0, 0, true },
    { &ebb_op_add, NULL, { SHAPE(501, 101), SHAPE(501, 101) }, { EBB_I32, EBB_I32 }, 0, 0, true },
    { &ebb_op_copy, NULL, { SHAPE(500, 300) }, { 0 }, -2, 2, true },
    { &ebb_op_copy, NULL, { SHAPE(64, 64) }, { 0 }, -2, 2, false },
    { &ebb_op_copy, NULL, { SHAPE(31, 7, 47, 5) }, { 0 }, -2, 2, true },
    { &ebb_op_copy, NULL, { SHAPE(3, 129, 257) }, { EBB_U8 }, 0, 0, true },
    { &ebb_op_copy, NULL, { SHAPE(2, 3, 2, 3, 2, 3, 2, 3) }, { EBB_I64 }, 0, 0, false },
    { &ebb_op_reduce_sum, ALL_AXES, { SHAPE(1000003) }, { 0 }, 0, 1, true },
    { &ebb_op_reduce_sum, ALL_AXES, { SHAPE(100, 77, 13) }, { 0 }, -1, 1, true },
    { &ebb_op_reduce_sum, REDUCE(0), { SHAPE(1000, 300) }, { 0 }, 0, 1, true },
    { &ebb_op_reduce_sum, REDUCE(1), { SHAPE(1000, 300) }, { 0 }, 0, 1, true },
    { &ebb_op_reduce_sum, REDUCE(0), { SHAPE(100000, 3) }, { 0 }, 0, 1, true },
    { &ebb_op_reduce_sum, REDUCE(1), { SHAPE(3, 100000) }, { 0 }, 0, 1, true },
    { &ebb_op_reduce_sum, REDUCE(0, 2), { SHAPE(64, 50, 30) }, { 0 }, 0, 1, true },
    { &ebb_op_reduce_sum, REDUCE(1), { SHAPE(5, 40, 301) }, { 0 }, 0, 1, true },
    { &ebb_op_reduce_sum, REDUCE(1, 3), { SHAPE(5, 6, 7, 8) }, { 0 }, 0, 1, false },
    { &ebb_op_reduce_sum, REDUCE(0), { SHAPE(100, 50) }, { 0 }, 0, 1, false },
    { &ebb_op_reduce_sum, REDUCE(0, 1), { SHAPE(3, 5000, 7) }, { 0 }, 0, 1, true },
    { &ebb_op_reduce_mean, REDUCE(0, 1), { SHAPE(100, 600, 2) }, { 0 }, 0, 1, true },
    { &ebb_op_reduce_mean, REDUCE(2), { SHAPE(10, 10, 600) }, { 0 }, 0, 1, true },
    { &ebb_op_reduce_max, ALL_AXES, { SHAPE(200, 1000) }, { 0 }, -9, -1, true },
    { &ebb_op_reduce_max, REDUCE(0), { SHAPE(200, 1000) }, { 0 }, -9, -1, true },
    { &ebb_op_reduce_max, REDUCE(1), { SHAPE(200, 1000) }, { 0 }, -9, -1, true },
    { &ebb_op_reduce_max, REDUCE(1), { SHAPE(7, 9, 70) }, { 0 }, -9, -1, false },
    { &ebb_op_reduce_min, ALL_AXES, { SHAPE(100, 77, 13) }, { 0 }, -9, 9, true },
    { &ebb_op_reduce_min, REDUCE(0), { SHAPE(1000, 300) }, { 0 }, -9, 9, true },
    { &ebb_op_reduce_min, REDUCE(1), { SHAPE(100, 3000) }, { 0 }, -9, 9, true },
    { &ebb_op_reduce_min, REDUCE(0), { SHAPE(100000, 3) }, { 0 }, -9, 9, true },
    { &ebb_op_reduce_min, REDUCE(1, 3), { SHAPE(5, 6, 7, 8) }, { 0 }, -9, 9, false },
    { &ebb_op_norm_l1, ALL_AXES, { SHAPE(100, 77, 13) }, { 0 }, 1, 9, true },
    { &ebb_op_norm_l1, REDUCE(0), { SHAPE(1000, 300) }, { 0 }, 1, 9, true },
    { &ebb_op_norm_l1, REDUCE(1), { SHAPE(100, 3000) }, { 0 }, 1, 9, true },
    { &ebb_op_norm_l1, REDUCE(0), { SHAPE(100000, 3) }, { 0 }, 1, 9, true },
    { &ebb_op_norm_l1, REDUCE(1, 3), { SHAPE(5, 6, 7, 8) }, { 0 }, 1, 9, false },
    { &ebb_op_norm_l2, ALL_AXES, { SHAPE(40, 77, 13) }, { 0 }, 1, 9, true },
    { &ebb_op_norm_l2, REDUCE(0), { SHAPE(1000, 300) }, { 0 }, 1, 9, true },
    { &ebb_op_norm_l2, REDUCE(1), { SHAPE(100, 3000) }, { 0 }, 1, 9, true },
    { &ebb_op_norm_l2, REDUCE(0), { SHAPE(20000, 3) }, { 0 }, 1, 9, true },
    { &ebb_op_norm_l2, REDUCE(1, 3), { SHAPE(5, 6, 7, 8) }, { 0 }, 1, 9, false },
    { &ebb_op_logsumexp, ALL_AXES, { SHAPE(100, 77, 13) }, { 0 }, -9, 9, true },
    { &ebb_op_logsumexp, REDUCE(0), { SHAPE(1000, 300) }, { 0 }, -9, 9, true },
    { &ebb_op_logsumexp, REDUCE(1), { SHAPE(100, 3000) }, { 0 }, -9, 9, true },
    { &ebb_op_logsumexp, REDUCE(0), { SHAPE(100000, 3) }, { 0 }, -9, 9, true },
    { &ebb_op_logsumexp, REDUCE(1, 3), { SHAPE(5, 6, 7, 8) }, { 0 }, -9, 9, false },
    { &ebb_op_reduce_prod, ALL_AXES, { SHAPE(100, 77, 13) }, { 0 }, 1, 1, true },
    { &ebb_op_reduce_prod, ALL_AXES, { SHAPE(20, 7, 13) }, { 0 }, 0.9, 1.1, false },
    { &ebb_op_reduce_prod, REDUCE(0), { SHAPE(1000, 300) }, { 0 }, 0.9, 1.1, true },
    { &ebb_op_reduce_prod, REDUCE(1), { SHAPE(300, 1000) }, { 0 }, 0.9, 1.1, true },
    { &ebb_op_variance, VARIANCE(0, 0), { SHAPE(100000, 3) }, { 0 }, 99, 100, true },
    { &ebb_op_variance, VARIANCE(1, 0), { SHAPE(1000, 300) }, { 0 }, 9, 10, true },
    { &ebb_op_variance, VARIANCE(1, 1), { SHAPE(100, 3000) }, { 0 }, 9, 10, true },
    { &ebb_op_variance, VARIANCE(0, 0, 1, 2), { SHAPE(100, 77, 13) }, { 0 }, 99, 100, true },
    { &ebb_op_variance, VARIANCE(3, 1, 3), { SHAPE(5, 6, 7, 8) }, { 0 }, -1, 1, false },
    { &ebb_op_argmin, AXIS(1), { SHAPE(300, 200) }, { 0 }, -9, -1, true },
    { &ebb_op_argmin, AXIS(0), { SHAPE(300, 200) }, { 0 }, -9, -1, true },
    { &ebb_op_gelu, NULL, { SHAPE(91, 97) }, { 0 }, -5, 5, true },
    { &ebb_op_mod, NULL, { SHAPE(91, 97), SHAPE(91, 97) }, { 0 }, -9, 9, true },
    { &ebb_op_floor, NULL, { SHAPE(91, 97) }, { 0 }, -5, 5, false },
    { &ebb_op_clip, &(const ebb_limits_attrs){ -1, 0.5 }, { SHAPE(317, 331) }, { 0 }, -2, 2, true },
    { &ebb_op_elu, &(const ebb_alpha_attrs){ 0.5 }, { SHAPE(91, 97) }, { 0 }, -2, 2, true },
    { &ebb_op_argmax, AXIS(1), { SHAPE(300, 200) }, { 0 }, -9, -1, true },
    { &ebb_op_argmax, AXIS(0), { SHAPE(300, 200) }, { 0 }, -9, -1, true },
    { &ebb_op_softmax, AXIS(1), { SHAPE(3000, 10) }, { 0 }, -9, 9, true },
    { &ebb_op_softmax, AXIS(1), { SHAPE(11, 3001) }, { 0 }, -9, 9, true },
    { &ebb_op_softmax, AXIS(1), { SHAPE(7, 33, 165) }, { 0 }, -9, 9, true },
    { &ebb_op_softmax, AXIS(0), { SHAPE(33, 1) }, { 0 }, -9, 9, false },
    { &ebb_op_log_softmax, AXIS(1), { SHAPE(3000, 10) }, { 0 }, -9, 9, true },
    { &ebb_op_log_softmax, AXIS(1), { SHAPE(11, 3001) }, { 0 }, -9, 9, true },
    { &ebb_op_log_softmax, AXIS(0), { SHAPE(65, 330) }, { 0 }, -9, 9, true },
    { &ebb_op_softmax_cross_entropy, LOSS(MEAN), { SHAPE(2000, 10), SHAPE(2000) }, { 0, EBB_I32 }, -9, 9, true },
    { &ebb_op_softmax_cross_entropy, LOSS(MEAN), { SHAPE(2000, 10), SHAPE(2000, 10) }, { 0 }, 0, 1, true },
    { &ebb_op_softmax_cross_entropy, LOSS(MEAN), { SHAPE(9, 2001), SHAPE(9) }, { 0, EBB_U8 }, -9, 9, true },
    { &ebb_op_softmax_cross_entropy, LOSS(NONE), { SHAPE(2000, 10), SHAPE(2000) }, { 0, EBB_I64 }, -9, 9, true },
    { &ebb_op_softmax_cross_entropy, LOSS(SUM), { SHAPE(2000, 10), SHAPE(2000, 10) }, { 0 }, 0, 1, true },
    { &ebb_op_softmax_cross_entropy, &(const ebb_cross_entropy_attrs){ 0, 0.1, true, 1 }, { SHAPE(2000, 10), SHAPE(2000) }, { 0, EBB_U8 }, -9, 9, true },
    { &ebb_op_weighted_softmax_cross_entropy, &(const ebb_cross_entropy_attrs){ 0, 0, true, 0 }, { SHAPE(2000, 10), SHAPE(2000), SHAPE(10) }, { 0, EBB_I32 }, 1, 9, true },
    { &ebb_op_weighted_softmax_cross_entropy, LOSS(NONE), { SHAPE(11, 1301), SHAPE(11, 1301), SHAPE(1301) }, { 0 }, 0, 1, true },
    { &ebb_op_layer_norm, NORM(1), { SHAPE(270, 131), SHAPE(131), SHAPE(131) }, { 0 }, -2, 2, true },
    { &ebb_op_layer_norm, NORM(1), { SHAPE(3, 12001), SHAPE(12001), SHAPE(12001) }, { 0 }, 9, 10, true },
    { &ebb_op_layer_norm, NORM(1, 2), { SHAPE(30, 40, 31), SHAPE(40, 31), SHAPE(40, 31) }, { 0 }, -2, 2, true },
    { &ebb_op_layer_norm, NORM(0), { SHAPE(12001), SHAPE(12001), SHAPE(12001) }, { 0 }, 99, 100, false },
    { &ebb_op_rms_norm, NORM(1), { SHAPE(270, 131), SHAPE(131) }, { 0 }, -2, 2, true },
    { &ebb_op_rms_norm, NORM(1), { SHAPE(3, 12001), SHAPE(12001) }, { 0 }, -2, 2, true },
    { &ebb_op_layer_norm_grad, NORM(1), { SHAPE(270, 131), SHAPE(131), SHAPE(270, 131) }, { 0 }, -2, 2, true },
    { &ebb_op_layer_norm_grad, NORM(1), { SHAPE(3, 12001), SHAPE(12001), SHAPE(3, 12001) }, { 0 }, 1, 2, true },
    { &ebb_op_rms_norm_grad, NORM(1), { SHAPE(270, 131), SHAPE(131), SHAPE(270, 131) }, { 0 }, -2, 2, true },
    { &ebb_op_one_hot, &(const ebb_one_hot_attrs){ 50, EBB_F32 }, { SHAPE(3000) }, { EBB_I64 }, 0, 0, true },
    { &ebb_op_concat, AXIS(0), { SHAPE(30001), SHAPE(1), SHAPE(40000) }, { 0 }, -1, 1, true },
    { &ebb_op_concat, AXIS(1), { SHAPE(317, 100), SHAPE(317, 7), SHAPE(317, 131) }, { 0 }, -1, 1, true },
    { &ebb_op_concat, AXIS(1), { SHAPE(5, 1, 7), SHAPE(5, 30, 7) }, { 0 }, -1, 1, false },
    { &ebb_op_concat, AXIS(2), { SHAPE(30, 40, 17), SHAPE(30, 40, 40) }, { EBB_U8, EBB_U8 }, 0, 0, true },
    { &ebb_op_pad, PAD(CONSTANT, L(3, 5), L(1, 2)), { SHAPE(317, 331) }, { 0 }, -1, 1, true },
    { &ebb_op_pad, PAD(EDGE, L(0, 5), L(100, 0)), { SHAPE(317, 331) }, { 0 }, -1, 1, true },
    { &ebb_op_pad, PAD(REFLECT, L(0, 3, 70), L(2, 3, 90)), { SHAPE(30, 40, 50) }, { 0 }, -1, 1, true },
    { &ebb_op_pad, PAD(CONSTANT, L(7), L(9)), { SHAPE(101) }, { 0 }, -1, 1, false },
    { &ebb_op_slice, SLICE(L(316, 330), L(7, EBB_TO_BEGIN), L(-3, -1)), { SHAPE(317, 1331) }, { 0 }, -1, 1, true },
    { &ebb_op_slice_grad, SPREAD(SHAPE(400, 300), L(390, 1), L(EBB_TO_BEGIN, 300), L(-2, 2)), { SHAPE(196, 150) }, { 0 }, -1, 1, true },
    { &ebb_op_slice_grad, SPREAD(SHAPE(400, 300), L(3, 250), L(300, 5), L(1, -1)), { SHAPE(297, 245) }, { 0 }, -1, 1, true },
    { &ebb_op_slice_grad, SPREAD(SHAPE(20, 30), L(3, 2), L(6, 5), L(1, 1)), { SHAPE(3, 3) }, { 0 }, -1, 1, false },
    { &ebb_op_gather, AXIS(1), { SHAPE(50, 2, 70), SHAPE(11) }, { 0, EBB_I64 }, -2, 2, true },
    { &ebb_op_gather, AXIS(0), { SHAPE(2), SHAPE(300) }, { 0, EBB_U8 }, -2, 2, false },
    { &ebb_op_gather_along_axis, AXIS(0), { SHAPE(2, 91), SHAPE(501, 91) }, { 0, EBB_I32 }, -2, 2, true },
    { &ebb_op_scatter, AXIS(1), { SHAPE(9, 500, 11), SHAPE(40), SHAPE(9, 40, 11) }, { 0, EBB_I32 }, -2, 2, true },
    { &ebb_op_scatter_add, AXIS(0), { SHAPE(2, 300), SHAPE(200), SHAPE(200, 300) }, { 0, EBB_I64 }, 0, 1, true },
    { &ebb_op_scatter_along_axis, AXIS(1), { SHAPE(130, 300), SHAPE(130, 20), SHAPE(130, 20) }, { 0, EBB_I64 }, -2, 2, true },
    { &ebb_op_scatter_add_along_axis, AXIS(0), { SHAPE(50001), SHAPE(900), SHAPE(900) }, { 0, EBB_I64 }, 0, 1, true },
    { &ebb_op_top_k, &(const ebb_top_k_attrs){ 1, 5, false }, { SHAPE(300, 200) }, { 0 }, -9, -1, true },
    { &ebb_op_top_k, &(const ebb_top_k_attrs){ 0, 200, true }, { SHAPE(200, 60) }, { 0 }, -9, 9, true },
    { &ebb_op_cumsum, &(const ebb_cumsum_attrs){ 1, false, true }, { SHAPE(30, 40, 50) }, { 0 }, 0, 1, true },
    { &ebb_op_cumsum, &(const ebb_cumsum_attrs){ 0, false, false }, { SHAPE(50001) }, { 0 }, 0, 1, false },
    { &ebb_op_reduce_sum, REDUCE(0), { SHAPE(300, 200) }, { EBB_I32 }, 0, 0, true },
    { &ebb_op_reduce_any, ALL_AXES, { SHAPE(300, 200) }, { EBB_BOOL }, 0, 0, true },
    { &ebb_op_random_uniform, &(const ebb_random_attrs){ { EBB_F32, SHAPE(70001) }, 5, 6 }, { { 0, { 0 } } }, { EBB_I64 }, 0, 0, true },
    { &ebb_op_random_uniform, &(const ebb_random_attrs){ { EBB_F64, SHAPE(7001) }, 5, 6 }, { { 0, { 0 } } }, { EBB_I64 }, 0, 0, true },
    { &ebb_op_random_normal, &(const ebb_random_attrs){ { EBB_F32, SHAPE(7001) }, 5, 6 }, { { 0, { 0 } } }, { EBB_I64 }, 0, 0, true },
    { &ebb_op_matmul, PRODUCT(false, false), { SHAPE(100, 784), SHAPE(784, 50) }, { 0 }, -1, 1, true },
    { &ebb_op_matmul, PRODUCT(true, false), { SHAPE(100, 784), SHAPE(100, 50) }, { 0 }, -1, 1, true },
    { &ebb_op_matmul, PRODUCT(false, true), { SHAPE(100, 10), SHAPE(50, 10) }, { 0 }, -1, 1, false },
    { &ebb_op_matmul, PRODUCT(true, true), { SHAPE(50, 100), SHAPE(10, 50) }, { 0 }, -1, 1, false },
    { &ebb_op_matmul, PRODUCT(false, false), { SHAPE(100, 50), SHAPE(50, 10) }, { 0 }, -1, 1, false },
    { &ebb_op_matmul, PRODUCT(true, false), { SHAPE(100, 50), SHAPE(100, 10) }, { 0 }, -1, 1, false },
    { &ebb_op_matmul, PRODUCT(false, false), { SHAPE(65, 1500), SHAPE(1500, 131) }, { 0 }, -1, 1, true },
    { &ebb_op_matmul, PRODUCT(false, true), { SHAPE(65, 600), SHAPE(131, 600) }, { 0 }, -1, 1, true },
    { &ebb_op_matmul, PRODUCT(false, true), { SHAPE(1, 600), SHAPE(131, 600) }, { 0 }, -1, 1, false },
    { &ebb_op_matmul, PRODUCT(false, false), { SHAPE(131, 600), SHAPE(600, 1) }, { 0 }, -1, 1, false },
    { &ebb_op_matmul, PRODUCT(false, false), { SHAPE(37, 41), SHAPE(41, 29) }, { 0 }, -1, 1, false },
    { &ebb_op_matmul, PRODUCT(false, false), { SHAPE(200, 33), SHAPE(33, 3) }, { 0 }, -1, 1, false },
    { &ebb_op_matmul, PRODUCT(true, false), { SHAPE(33, 200), SHAPE(33, 20) }, { 0 }, -1, 1, false },
    { &ebb_op_matmul, PRODUCT(false, false), { SHAPE(40, 30, 20), SHAPE(40, 20, 50) }, { 0 }, -1, 1, true },
    { &ebb_op_matmul, PRODUCT(false, false), { SHAPE(5, 3, 17, 20), SHAPE(5, 3, 20, 19) }, { 0 }, -1, 1, false },
    { &ebb_op_matmul, PRODUCT(false, true), { SHAPE(6, 1, 20), SHAPE(6, 18, 20) }, { 0 }, -1, 1, false },
    { &ebb_op_matmul, PRODUCT(false, false), { SHAPE(3, 0), SHAPE(0, 4) }, { 0 }, -1, 1, false },
};
/* clang-format on */

static uint32_t next_bits(uint32_t *seed) /* xorshift32, Marsaglia 2003 */
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void fill(const ebb_tensor *tensor, double low, double high, uint32_t *seed)
{
    for (int64_t i = 0; i < ebb_shape_elements(&tensor->type.shape); i++) {
        uint32_t bits = next_bits(seed);
        bool is_float = ebb_dtype_is_float(tensor->type.dtype);
        ebb_tensor_set(tensor, i,
                       is_float ? low + (high - low) * (bits >> 8) * 0x1p-24 : bits >> 16 & 1);
    }
}

/* A variadic op has as many as there are shapes that are no scalars. */
static int count_inputs(const big_case *big)
{
    int n = 0;
    while (n < 3 && big->shapes[n].rank > 0)
        n++;
    return big->op->n_inputs < 0 ? n : big->op->n_inputs;
}

static void check_big(const big_case *big, ebb_dtype floats)
{
    int n_backends;
    const ebb_backend *const *backends = all_backends(&n_backends);
    ebb_tensor inputs[3];
    uint32_t seed = 12345;
    for (int i = 0; i < count_inputs(big); i++) {
        ebb_dtype dtype = big->dtypes[i] ? big->dtypes[i] : floats;
        ck_assert_int_eq(ebb_tensor_init(&inputs[i], ebb_type_of(dtype, big->shapes[i]), NULL), 0);
        fill(&inputs[i], big->low, big->high, &seed);
    }
    char text[EBB_TYPE_TEXT_BYTES], label[300];
    snprintf(label, sizeof label, "%s %s", big->op->name, ebb_type_text(&inputs[0].type, text));
    kernel_case c = { big->op, big->attrs, count_inputs(big), inputs, label, 0 };
    kernel_counts counts = check_kernels(&c, backends, n_backends, "native");
    if (big->is_threaded)
        REQUIRE(counts.n_threaded > 0, "%s: never shared out", label);
    else
        REQUIRE(counts.n_threaded == 0, "%s: too small to be shared out", label);
    for (int i = 0; i < count_inputs(big); i++)
        ebb_tensor_finish(&inputs[i]);
}

START_TEST(test_big)
{
    check_big(&big_cases[_i], EBB_F32);
    check_big(&big_cases[_i], EBB_F64);
}
END_TEST

/* ---- special values and accuracy of element-wise functions ---- */

static const float specials[] = { 0,        -0.0f,     1,     -1,      0.5f,     -2,
                                  INFINITY, -INFINITY, NAN,   FLT_MAX, -FLT_MAX, FLT_MIN,
                                  1e-40f,   -1e-40f,   88.5f, -100,    1e5f,     16777217.0f };
enum { N_SPECIALS = sizeof specials / sizeof *specials };

/* Every special value, or every pair of them, in every lane and in the tail, against the op at F32.
 */
static void check_specials(const ebb_op *op)
{
    enum { N = N_SPECIALS * N_SPECIALS };
    ebb_tensor inputs[2], results[1], expected;
    ebb_type type;
    ebb_error error = { 0 };
    for (int i = 0; i < op->n_inputs; i++)
        ck_assert_int_eq(ebb_tensor_init(&inputs[i], ebb_type_of(EBB_F32, EBB_SHAPE(N)), NULL), 0);
    for (int i = 0; i < N; i++) {
        ((float *)inputs[0].data)[i] = specials[i % N_SPECIALS];
        if (op->n_inputs == 2)
            ((float *)inputs[1].data)[i] = specials[i / N_SPECIALS];
    }
    if (!infer_results(op, NULL, inputs, op->n_inputs, &type, &error)) {
        ck_assert_int_eq(ebb_tensor_init(&expected, type, NULL), EBB_OK);
        ebb_eval eval = { op, NULL, op->n_inputs, 1, inputs, &expected, &error };
        ck_assert_int_eq(op->eval(&eval), EBB_OK);
        kernel_case c = { op, NULL, op->n_inputs, inputs, op->name, 0 };
        ck_assert_int_eq(run_kernel(&c, native, 1, -1, results, NULL, &error), EBB_OK);
        for (int i = 0; i < N; i++) {
            double x = ebb_tensor_get(&expected, i), y = ebb_tensor_get(&results[0], i);
            /* Denormal results may be rounded by 4 of the smallest steps. */
            REQUIRE(nearly_equal(x, y, 4 * (double)FLT_EPSILON, 4 * 0x1p-149) &&
                        (x != 0 || y != 0 || !signbit(x) == !signbit(y)),
                    "%s(%g, %g) is %.9g, not %.9g", op->name, (double)specials[i % N_SPECIALS],
                    (double)specials[i / N_SPECIALS], y, x);
        }
        ebb_tensor_finish(&expected);
        ebb_tensor_finish(&results[0]);
    }
    for (int i = 0; i < op->n_inputs; i++)
        ebb_tensor_finish(&inputs[i]);
}

START_TEST(test_specials)
{
    int n_ops;
    const ebb_op *op = ebb_op_list(&n_ops)[_i];
    ebb_tensor probe[2] = { { .type = { EBB_F32, { 0 } } }, { .type = { EBB_F32, { 0 } } } };
    ebb_type type;
    if ((op->traits & EBB_TRAIT_ELEMENTWISE) && op->attrs_bytes == 0 && op->n_inputs <= 2 &&
        !infer_results(op, NULL, probe, op->n_inputs, &type, NULL))
        check_specials(op);
}
END_TEST

static const struct {
    const ebb_op *op;
    double low, high;
} functions[] = {
    { &ebb_op_exp, -87, 88 },      { &ebb_op_exp, -1, 1 },           { &ebb_op_log, 1e-6, 10 },
    { &ebb_op_log, 0.9, 1.1 },     { &ebb_op_tanh, -9, 9 },          { &ebb_op_tanh, -0.01, 0.01 },
    { &ebb_op_sin, -100, 100 },    { &ebb_op_cos, -100, 100 },       { &ebb_op_sigmoid, -20, 20 },
    { &ebb_op_sqrt, 0, 1e6 },      { &ebb_op_cbrt, -9, 9 },          { &ebb_op_exp2, -120, 120 },
    { &ebb_op_expm1, -9, 80 },     { &ebb_op_expm1, -1, 1 },         { &ebb_op_log1p, -0.9, 9 },
    { &ebb_op_log2, 1e-6, 10 },    { &ebb_op_log2, 0.9, 1.1 },       { &ebb_op_log10, 1e-6, 10 },
    { &ebb_op_tan, -100, 100 },    { &ebb_op_asin, -1, 1 },          { &ebb_op_acos, -1, 1 },
    { &ebb_op_atan, -9, 9 },       { &ebb_op_sinh, -20, 20 },        { &ebb_op_cosh, -20, 20 },
    { &ebb_op_asinh, -9, 9 },      { &ebb_op_acosh, 1, 9 },          { &ebb_op_atanh, -1, 1 },
    { &ebb_op_erf, -4, 4 },        { &ebb_op_erfc, -4, 4 },          { &ebb_op_rsqrt, 0.1, 1e6 },
    { &ebb_op_softplus, -20, 20 }, { &ebb_op_log_sigmoid, -20, 20 }, { &ebb_op_softsign, -9, 9 },
    { &ebb_op_silu, -20, 20 },     { &ebb_op_mish, -20, 20 },        { &ebb_op_gelu, -1, 9 },
    { &ebb_op_erf, -0.1, 0.1 },    { &ebb_op_log1p, -0.01, 0.01 },   { &ebb_op_atan, -0.1, 0.1 },
};

/* In units of the last place of the right value, on every instruction set. */
START_TEST(test_accuracy)
{
    enum { N = 100000 };
    const ebb_op *op = functions[_i].op;
    ebb_error error = { 0 };
    ebb_tensor x, wide, expected, result;
    uint32_t seed = 99;
    ck_assert_int_eq(ebb_tensor_init(&x, ebb_type_of(EBB_F32, EBB_SHAPE(N)), NULL), EBB_OK);
    ck_assert_int_eq(ebb_tensor_init(&wide, ebb_type_of(EBB_F64, EBB_SHAPE(N)), NULL), EBB_OK);
    ck_assert_int_eq(ebb_tensor_init(&expected, ebb_type_of(EBB_F64, EBB_SHAPE(N)), NULL), EBB_OK);
    fill(&x, functions[_i].low, functions[_i].high, &seed);
    for (int i = 0; i < N; i++)
        ebb_tensor_set(&wide, i, ebb_tensor_get(&x, i));
    ebb_eval eval = { op, NULL, 1, 1, &wide, &expected, &error };
    ck_assert_int_eq(op->eval(&eval), EBB_OK);
    kernel_case c = { op, NULL, 1, &x, op->name, 0 };
    printf("%-11s in %6g .. %-6g", op->name, functions[_i].low, functions[_i].high);
    for (int level = 0; ebb_vector_isa_at(level); level++) {
        ebb_backend limited = ebb_backend_native;
        limited.user = ebb_vector_isa_at(level);
        double worst = 0;
        ck_assert_int_eq(run_kernel(&c, &limited, 1, -1, &result, NULL, &error), EBB_OK);
        for (int i = 0; i < N; i++) {
            double y = ebb_tensor_get(&expected, i);
            double ulp = (double)nextafterf(fabsf((float)y), INFINITY) - fabs((double)(float)y);
            double off = fabs(ebb_tensor_get(&result, i) - y) / ulp;
            REQUIRE(off <= 4, "%s: %s(%.9g) is %.9g, not %.9g", ebb_vector_isa_at(level)->name,
                    op->name, ebb_tensor_get(&x, i), ebb_tensor_get(&result, i), y);
            worst = fmax(worst, off);
        }
        printf("  %s %.2f", ebb_vector_isa_at(level)->name, worst);
        ebb_tensor_finish(&result);
    }
    printf(" ulp\n");
    ebb_tensor_finish(&x);
    ebb_tensor_finish(&wide);
    ebb_tensor_finish(&expected);
}
END_TEST

/* An element has the same bits wherever it stands: in a vector, in the tail, in another tile. */
START_TEST(test_position)
{
    enum { N = 1000 };
    ebb_error error = { 0 };
    ebb_tensor x, result;
    ck_assert_int_eq(ebb_tensor_init(&x, ebb_type_of(EBB_F32, EBB_SHAPE(N + 1)), NULL), EBB_OK);
    for (int i = 0; i <= N; i++)
        ((float *)x.data)[i] = 0.7f;
    kernel_case c = { functions[_i].op, NULL, 1, &x, "position", 0 };
    for (int64_t n = 1; n <= N + 1; n += 37) {
        x.type.shape.dims[0] = n;
        ck_assert_int_eq(run_kernel(&c, native, 1, -1, &result, NULL, &error), EBB_OK);
        for (int64_t i = 1; i < n; i++)
            REQUIRE(memcmp((float *)result.data + i, result.data, sizeof(float)) == 0,
                    "element %lld of %lld differs", (long long)i, (long long)n);
        ebb_tensor_finish(&result);
    }
    ebb_tensor_finish(&x);
}
END_TEST

/* ---- reductions of special values ---- */

static double reduce_one(const ebb_op *op, int64_t n_rows, int64_t n_columns, int64_t special,
                         float value, const ebb_reduce_attrs *attrs, int64_t result_index)
{
    ebb_error error = { 0 };
    ebb_tensor x, result;
    ebb_type type = ebb_type_of(EBB_F32, EBB_SHAPE(n_rows, n_columns));
    ck_assert_int_eq(ebb_tensor_init(&x, type, NULL), EBB_OK);
    for (int64_t i = 0; i < n_rows * n_columns; i++)
        ((float *)x.data)[i] = -1;
    ((float *)x.data)[special] = value;
    kernel_case c = { op, attrs, 1, &x, "reduce", 0 };
    ck_assert_int_eq(run_kernel(&c, native, 2, -1, &result, NULL, &error), EBB_OK);
    double got = ebb_tensor_get(&result, result_index);
    ebb_tensor_finish(&x);
    ebb_tensor_finish(&result);
    return got;
}

START_TEST(test_nan_wins_maximum)
{
    const ebb_reduce_attrs all = { { 0, { 0 } }, false }, columns = { { 1, { 0 } }, false };
    const ebb_reduce_attrs runs = { { 1, { 1 } }, false };
    static const int64_t sizes[][2] = { { 1, 3 }, { 5, 70 }, { 3, 1000 }, { 300, 301 } };
    for (int i = 0; i < 4; i++) {
        int64_t m = sizes[i][0], n = sizes[i][1];
        for (int64_t at = 0; at < m * n; at += m * n / 7 + 1) {
            ck_assert(isnan(reduce_one(&ebb_op_reduce_max, m, n, at, NAN, &all, 0)));
            ck_assert(isnan(reduce_one(&ebb_op_reduce_max, m, n, at, NAN, &columns, at % n)));
            ck_assert(isnan(reduce_one(&ebb_op_reduce_max, m, n, at, NAN, &runs, at / n)));
            ck_assert(reduce_one(&ebb_op_reduce_max, m, n, at, 2, &all, 0) == 2);
            ck_assert(isnan(reduce_one(&ebb_op_reduce_min, m, n, at, NAN, &all, 0)));
            ck_assert(isnan(reduce_one(&ebb_op_reduce_min, m, n, at, NAN, &columns, at % n)));
            ck_assert(isnan(reduce_one(&ebb_op_reduce_min, m, n, at, NAN, &runs, at / n)));
            ck_assert(reduce_one(&ebb_op_reduce_prod, m, n, at, 0, &columns, at % n) == 0);
            ck_assert(isnan(reduce_one(&ebb_op_logsumexp, m, n, at, NAN, &runs, at / n)));
            ck_assert(isnan(reduce_one(&ebb_op_logsumexp, m, n, at, NAN, &columns, at % n)));
            ck_assert(isinf(reduce_one(&ebb_op_logsumexp, m, n, at, INFINITY, &all, 0)));
            ck_assert(isinf(reduce_one(&ebb_op_logsumexp, m, n, at, INFINITY, &columns, at % n)));
            ck_assert(reduce_one(&ebb_op_logsumexp, m, n, at, 1e30f, &all, 0) == (double)1e30f);
            ck_assert(isfinite(reduce_one(&ebb_op_logsumexp, m, n, at, -INFINITY, &all, 0)));
            ck_assert(isinf(reduce_one(&ebb_op_reduce_sum, m, n, at, -INFINITY, &all, 0)));
        }
    }
}
END_TEST

/* A long sum of one sign: plain F32 addition would be off by 1e-2. */
START_TEST(test_long_sum)
{
    enum { N = 1 << 24 };
    ebb_error error = { 0 };
    ebb_tensor x, result;
    const ebb_reduce_attrs all = { { 0, { 0 } }, false }, rows = { { 1, { 0 } }, false };
    ck_assert_int_eq(ebb_tensor_init(&x, ebb_type_of(EBB_F32, EBB_SHAPE(N / 4, 4)), NULL), EBB_OK);
    for (int i = 0; i < N; i++)
        ((float *)x.data)[i] = 0.1f;
    kernel_case c = { &ebb_op_reduce_sum, &all, 1, &x, "sum", 0 };
    ck_assert_int_eq(run_kernel(&c, native, 1, -1, &result, NULL, &error), EBB_OK);
    ck_assert_double_eq_tol(ebb_tensor_get(&result, 0) / (N * (double)0.1f), 1, 1e-6);
    ebb_tensor_finish(&result);
    c.attrs = &rows;
    ck_assert_int_eq(run_kernel(&c, native, 1, -1, &result, NULL, &error), EBB_OK);
    for (int i = 0; i < 4; i++)
        ck_assert_double_eq_tol(ebb_tensor_get(&result, i) / (N / 4 * (double)0.1f), 1, 1e-6);
    ebb_tensor_finish(&result);
    ebb_tensor_finish(&x);
}
END_TEST

/* ---- products whose depth is halved: the same bits with any number of threads ---- */

START_TEST(test_deep_products)
{
    static const int64_t sizes[][3] = { { 100, 784, 50 }, { 37, 4001, 66 }, { 3, 12345, 17 } };
    const ebb_dtype dtype = _i % 2 ? EBB_F64 : EBB_F32;
    const int64_t m = sizes[_i / 2][0], k = sizes[_i / 2][1], n = sizes[_i / 2][2];
    const ebb_matmul_attrs attrs = { 0 };
    ebb_error error = { 0 };
    ebb_tensor inputs[2], result, first, expected;
    ck_assert_int_eq(ebb_tensor_init(&inputs[0], ebb_type_of(dtype, EBB_SHAPE(m, k)), NULL),
                     EBB_OK);
    ck_assert_int_eq(ebb_tensor_init(&inputs[1], ebb_type_of(dtype, EBB_SHAPE(k, n)), NULL),
                     EBB_OK);
    ck_assert_int_eq(ebb_tensor_init(&expected, ebb_type_of(dtype, EBB_SHAPE(m, n)), NULL), EBB_OK);
    for (int t = 0; t < 2; t++)
        for (int64_t i = 0; i < ebb_shape_elements(&inputs[t].type.shape); i++)
            ebb_tensor_set(&inputs[t], i, (double)(i * (t + 7) % 101) / 101 - 0.4);
    ebb_eval eval = { &ebb_op_matmul, &attrs, 2, 1, inputs, &expected, &error };
    ck_assert_int_eq(ebb_op_matmul.eval(&eval), EBB_OK);
    kernel_case c = { &ebb_op_matmul, &attrs, 2, inputs, "deep", 0 };
    for (int n_threads = 1; n_threads <= 5; n_threads++) {
        ck_assert_int_eq(run_kernel(&c, native, n_threads, -1, &result, NULL, &error), EBB_OK);
        if (n_threads == 1) {
            first = result;
            for (int64_t i = 0; i < m * n; i++)
                REQUIRE(fabs(ebb_tensor_get(&first, i) - ebb_tensor_get(&expected, i)) <
                            (dtype == EBB_F32 ? 1e-6 : 1e-14) * (double)k,
                        "element %lld", (long long)i);
            continue;
        }
        ck_assert(memcmp(result.data, first.data, ebb_tensor_bytes(&first)) == 0);
        ebb_tensor_finish(&result);
    }
    ebb_tensor_finish(&first);
    ebb_tensor_finish(&expected);
    ebb_tensor_finish(&inputs[0]);
    ebb_tensor_finish(&inputs[1]);
}
END_TEST

/* ---- random numbers: the very bits of the reference kernel ---- */

START_TEST(test_random_bits)
{
    static const ebb_dtype dtypes[] = { EBB_F32, EBB_F64 };
    const ebb_op *ops[] = { &ebb_op_random_uniform, &ebb_op_random_normal };
    ebb_error error = { 0 };
    int64_t counter = INT64_C(0x123456789abcdef);
    ebb_tensor input = ebb_tensor_borrow(EBB_I64, EBB_SCALAR, &counter), result, expected;
    ebb_random_attrs attrs = { ebb_type_of(dtypes[_i / 2], EBB_SHAPE(50021)), -7, 4000000000 };
    ck_assert_int_eq(ebb_tensor_init(&expected, attrs.type, NULL), EBB_OK);
    ebb_eval eval = { ops[_i % 2], &attrs, 1, 1, &input, &expected, &error };
    ck_assert_int_eq(ops[_i % 2]->eval(&eval), EBB_OK);
    kernel_case c = { ops[_i % 2], &attrs, 1, &input, "random", 0 };
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        ck_assert_int_eq(run_kernel(&c, native, n_threads, -1, &result, NULL, &error), EBB_OK);
        ck_assert(memcmp(result.data, expected.data, ebb_tensor_bytes(&expected)) == 0);
        ebb_tensor_finish(&result);
    }
    ebb_tensor_finish(&expected);
}
END_TEST

/* ---- view ops with a dense input become dense copies ---- */

START_TEST(test_views)
{
    ebb_error error = { 0 };
    ebb_tensor x, result;
    ck_assert_int_eq(ebb_tensor_init(&x, ebb_type_of(EBB_F32, EBB_SHAPE(3, 40)), NULL), EBB_OK);
    for (int i = 0; i < 120; i++)
        ((float *)x.data)[i] = (float)i;
    const ebb_transpose_attrs swapped = { { 2, { 1, 0 } } };
    const ebb_shape_attrs spread = { EBB_SHAPE(2, 3, 40) }, flat = { EBB_SHAPE(120) };
    kernel_case transpose = { &ebb_op_transpose, &swapped, 1, &x, "transpose", 0 };
    kernel_case broadcast = { &ebb_op_broadcast_to, &spread, 1, &x, "broadcast_to", 0 };
    kernel_case reshape = { &ebb_op_reshape, &flat, 1, &x, "reshape", 0 };
    const ebb_backend *two[] = { native, &ebb_backend_reference };
    for (int b = 0; b < 2; b++) {
        ck_assert_int_eq(run_kernel(&transpose, two[b], 1, -1, &result, NULL, &error), EBB_OK);
        for (int i = 0; i < 120; i++)
            REQUIRE(ebb_tensor_get(&result, i) == i % 3 * 40 + i / 3, "element %d", i);
        ebb_tensor_finish(&result);
        ck_assert_int_eq(run_kernel(&broadcast, two[b], 1, -1, &result, NULL, &error), EBB_OK);
        for (int i = 0; i < 240; i++)
            REQUIRE(ebb_tensor_get(&result, i) == i % 120, "element %d", i);
        ebb_tensor_finish(&result);
        ck_assert_int_eq(run_kernel(&reshape, two[b], 1, -1, &result, NULL, &error), EBB_OK);
        for (int i = 0; i < 120; i++)
            REQUIRE(ebb_tensor_get(&result, i) == i, "element %d", i);
        ebb_tensor_finish(&result);
    }
    ebb_tensor_finish(&x);
}
END_TEST

/* ---- failures ---- */

START_TEST(test_no_memory)
{
    int n_backends, n_failed = 0;
    const ebb_backend *const *backends = all_backends(&n_backends);
    const big_case *big = &big_cases[_i];
    ebb_tensor inputs[3], results[EBB_MAX_RESULTS];
    uint32_t seed = 1;
    for (int i = 0; i < count_inputs(big); i++) {
        ebb_dtype dtype = big->dtypes[i] ? big->dtypes[i] : EBB_F32;
        ck_assert_int_eq(ebb_tensor_init(&inputs[i], ebb_type_of(dtype, big->shapes[i]), NULL), 0);
        fill(&inputs[i], big->low, big->high, &seed);
    }
    kernel_case c = { big->op, big->attrs, count_inputs(big), inputs, big->op->name, 0 };
    for (int b = 0; b < n_backends; b++)
        for (int fail_at = 0;; fail_at++) {
            ebb_error error = { 0 };
            ebb_status status = run_kernel(&c, backends[b], 1, fail_at, results, NULL, &error);
            if (status != EBB_OUT_OF_MEMORY) {
                if (status == EBB_OK)
                    for (int i = 0; i < big->op->n_results; i++)
                        ebb_tensor_finish(&results[i]);
                else
                    ck_assert_int_eq(status, EBB_NOT_FOUND);
                break;
            }
            REQUIRE(strlen(error.message) > 0, "%s: no message", backends[b]->name);
            n_failed++;
        }
    ck_assert_int_gt(n_failed, 0);
    for (int i = 0; i < count_inputs(big); i++)
        ebb_tensor_finish(&inputs[i]);
}
END_TEST

START_TEST(test_bad_index)
{
    int64_t labels[] = { 0, 1, 2, 3, -5 };
    float x[5 * 3] = { 0 };
    ebb_tensor loss_inputs[] = { ebb_tensor_borrow(EBB_F32, EBB_SHAPE(5, 3), x),
                                 ebb_tensor_borrow(EBB_I64, EBB_SHAPE(5), labels) };
    ebb_tensor result;
    ebb_error error = { 0 };
    const ebb_one_hot_attrs attrs = { 4, EBB_F32 };
    kernel_case loss = { &ebb_op_softmax_cross_entropy, LOSS(MEAN), 2, loss_inputs, "loss", 0 };
    kernel_case one_hot = { &ebb_op_one_hot, &attrs, 1, &loss_inputs[1], "one_hot", 0 };
    ck_assert_int_eq(run_kernel(&loss, native, 1, -1, &result, NULL, &error), EBB_BAD_INDEX);
    ck_assert_str_eq(error.message, "label 3 at position 3 is not in 0..2");
    ck_assert_int_eq(run_kernel(&one_hot, native, 1, -1, &result, NULL, &error), EBB_BAD_INDEX);
    ck_assert_str_eq(error.message, "index -5 at position 4 is not in 0..3");
}
END_TEST

/* A region that no kernel is for: score and compile agree. */
START_TEST(test_unsupported)
{
    const ebb_op stranger = { .name = "stranger", .n_inputs = 1, .n_results = 1 };
    ebb_type type = ebb_type_of(EBB_F32, EBB_SHAPE(3));
    ebb_operand operand = { .type = &type, .layout = ebb_layout_dense(&type.shape) };
    ebb_region region = { &stranger, NULL, 1, 1, &operand, &operand, 1 };
    const ebb_backend *two[] = { native, &ebb_backend_reference };
    for (int b = 0; b < 2; b++) {
        ebb_error error = { 0 };
        ebb_kernel kernel = { 0 };
        ebb_compile_env env = { .error = &error };
        ck_assert_int_eq(two[b]->score(two[b], &region), EBB_SCORE_NONE);
        ck_assert_int_eq(two[b]->compile(two[b], &region, &env, &kernel), EBB_UNSUPPORTED);
        ck_assert(strstr(error.message, "stranger: no ") != NULL);
        ck_assert_ptr_null(kernel.state);
    }
}
END_TEST

START_TEST(test_list)
{
    int n = -1;
    const ebb_backend *const *list = ebb_backend_list(NULL, &n);
    ck_assert_int_eq(n, 3);
    ck_assert_str_eq(list[0]->name, "onednn");
    ck_assert_str_eq(list[1]->name, "native");
    ck_assert_str_eq(list[2]->name, "reference");
    ck_assert_ptr_eq(ebb_backend_list("onednn", NULL), list);
    list = ebb_backend_list("reference", &n);
    ck_assert_int_eq(n, 1);
    ck_assert_str_eq(list[0]->name, "reference");
    ck_assert_ptr_null(ebb_backend_list("cuda", &n));
    ck_assert_int_eq(n, 0);
}
END_TEST

int main(void)
{
    int n_ops;
    (void)ebb_op_list(&n_ops);
    const int n_big = (int)(sizeof big_cases / sizeof *big_cases);
    const int n_functions = (int)(sizeof functions / sizeof *functions);
    Suite *suite = suite_create("backends");
    TCase *samples = tcase_create("samples");
    tcase_set_timeout(samples, 120);
    tcase_add_loop_test(samples, test_samples, 0, n_ops);
    suite_add_tcase(suite, samples);
    TCase *big = tcase_create("big");
    tcase_set_timeout(big, 120);
    tcase_add_loop_test(big, test_big, 0, n_big);
    tcase_add_loop_test(big, test_no_memory, 0, n_big);
    suite_add_tcase(suite, big);
    TCase *values = tcase_create("values");
    tcase_set_timeout(values, 120);
    tcase_add_loop_test(values, test_specials, 0, n_ops);
    tcase_add_loop_test(values, test_accuracy, 0, n_functions);
    tcase_add_loop_test(values, test_position, 0, n_functions);
    tcase_add_test(values, test_nan_wins_maximum);
    tcase_add_test(values, test_long_sum);
    tcase_add_loop_test(values, test_deep_products, 0, 6);
    tcase_add_loop_test(values, test_random_bits, 0, 4);
    tcase_add_test(values, test_views);
    suite_add_tcase(suite, values);
    TCase *rest = tcase_create("failures");
    tcase_add_test(rest, test_bad_index);
    tcase_add_test(rest, test_unsupported);
    tcase_add_test(rest, test_list);
    suite_add_tcase(suite, rest);
    return run_suite(suite);
}
