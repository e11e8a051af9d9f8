/* One kernel at a time, on every backend that takes it: microseconds, GB/s of what is read and
 * written, GFLOP/s.
 *
 *     kernels [part of a name]
 *     kernels memory [part of a name]
 *
 * The second prints what part of the machine's memory bandwidth kernels reach on tensors of 64 MB
 * with 2 threads. The bandwidth is measured beside each kernel, by loops with the same mix of reads
 * and writes (bandwidth.h), the fastest of them.
 * Times are the best of many runs, so that other load matters little. */
#include "backends/backends.h"
#include "bench/bandwidth.h"
#include "ops/descriptors.h"
#include <ebb/memory.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_INPUTS = 5, MAX_RESULTS = 3 };

typedef struct bench_case {
    const char *name;
    const ebb_op *op;
    const void *attrs;
    ebb_type inputs[MAX_INPUTS];
    bool repeats_rows; /* input 1 is one row, repeated */
    const char *order; /* dimensions of input 0 as they lie in memory, outermost first: "10" is
                          transposed; 0: as they stand */
} bench_case;

#define TYPE(dtype, ...)                                                                           \
    {                                                                                              \
        EBB_##dtype,                                                                               \
        {                                                                                          \
            (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)),                           \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
/* clang-format off */
#define F32(...) TYPE(F32, __VA_ARGS__)
#define PRODUCT(a, b) &(const ebb_matmul_attrs){ a, b }
#define SUM(...) &(const ebb_reduce_attrs){ { (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)), { __VA_ARGS__ } }, false }
#define AXIS(n) &(const ebb_axis_attrs){ n }

static const bench_case cases[] = {
    { "matmul [100,784] [784,50]", &ebb_op_matmul, PRODUCT(false, false), { F32(100, 784), F32(784, 50) }, 0, 0 },
    { "matmul [100,784]^T [100,50]", &ebb_op_matmul, PRODUCT(true, false), { F32(100, 784), F32(100, 50) }, 0, 0 },
    { "matmul [100,50] [50,10]", &ebb_op_matmul, PRODUCT(false, false), { F32(100, 50), F32(50, 10) }, 0, 0 },
    { "matmul [100,50]^T [100,10]", &ebb_op_matmul, PRODUCT(true, false), { F32(100, 50), F32(100, 10) }, 0, 0 },
    { "matmul [100,10] [50,10]^T", &ebb_op_matmul, PRODUCT(false, true), { F32(100, 10), F32(50, 10) }, 0, 0 },
    { "matmul [100,784] [50,784]^T", &ebb_op_matmul, PRODUCT(false, true), { F32(100, 784), F32(50, 784) }, 0, 0 },
    { "matmul [100,50]^T [100,784]", &ebb_op_matmul, PRODUCT(true, false), { F32(100, 50), F32(100, 784) }, 0, 0 },
    { "matmul [100,50] [10,50]^T", &ebb_op_matmul, PRODUCT(false, true), { F32(100, 50), F32(10, 50) }, 0, 0 },
    { "matmul [100,10]^T [100,50]", &ebb_op_matmul, PRODUCT(true, false), { F32(100, 10), F32(100, 50) }, 0, 0 },
    { "matmul [100,10] [10,50]", &ebb_op_matmul, PRODUCT(false, false), { F32(100, 10), F32(10, 50) }, 0, 0 },
    { "matmul [128,784] [784,512]", &ebb_op_matmul, PRODUCT(false, false), { F32(128, 784), F32(784, 512) }, 0, 0 },
    { "matmul [128,784]^T [128,512]", &ebb_op_matmul, PRODUCT(true, false), { F32(128, 784), F32(128, 512) }, 0, 0 },
    { "matmul [128,512] [784,512]^T", &ebb_op_matmul, PRODUCT(false, true), { F32(128, 512), F32(784, 512) }, 0, 0 },
    { "matmul [128,512] [512,10]", &ebb_op_matmul, PRODUCT(false, false), { F32(128, 512), F32(512, 10) }, 0, 0 },
    { "matmul [128,512]^T [128,10]", &ebb_op_matmul, PRODUCT(true, false), { F32(128, 512), F32(128, 10) }, 0, 0 },
    { "matmul [128,10] [512,10]^T", &ebb_op_matmul, PRODUCT(false, true), { F32(128, 10), F32(512, 10) }, 0, 0 },
    { "matmul 16", &ebb_op_matmul, PRODUCT(false, false), { F32(16, 16), F32(16, 16) }, 0, 0 },
    { "matmul 32", &ebb_op_matmul, PRODUCT(false, false), { F32(32, 32), F32(32, 32) }, 0, 0 },
    { "matmul 64", &ebb_op_matmul, PRODUCT(false, false), { F32(64, 64), F32(64, 64) }, 0, 0 },
    { "matmul 96", &ebb_op_matmul, PRODUCT(false, false), { F32(96, 96), F32(96, 96) }, 0, 0 },
    { "matmul 128", &ebb_op_matmul, PRODUCT(false, false), { F32(128, 128), F32(128, 128) }, 0, 0 },
    { "matmul 128 f64", &ebb_op_matmul, PRODUCT(false, false), { TYPE(F64, 128, 128), TYPE(F64, 128, 128) }, 0, 0 },
    { "matmul 1024", &ebb_op_matmul, PRODUCT(false, false), { F32(1024, 1024), F32(1024, 1024) }, 0, 0 },
    { "matmul [1000,64] [64,64]", &ebb_op_matmul, PRODUCT(false, false), { F32(1000, 64), F32(64, 64) }, 0, 0 },
    { "matmul [1000,64]^T [1000,64]", &ebb_op_matmul, PRODUCT(true, false), { F32(1000, 64), F32(1000, 64) }, 0, 0 },
    { "matmul 64 x [100,32] [32,100]", &ebb_op_matmul, PRODUCT(false, false), { F32(64, 100, 32), F32(64, 32, 100) }, 0, 0 },
    { "matmul 64 x [100,32] [100,32]^T", &ebb_op_matmul, PRODUCT(false, true), { F32(64, 100, 32), F32(64, 100, 32) }, 0, 0 },
    { "matmul [1,25088] [25088,4096]", &ebb_op_matmul, PRODUCT(false, false), { F32(1, 25088), F32(25088, 4096) }, 0, 0 },
    { "matmul [1,4096] [4096,4096]", &ebb_op_matmul, PRODUCT(false, false), { F32(1, 4096), F32(4096, 4096) }, 0, 0 },
    { "matmul [4,4096] [4096,4096]", &ebb_op_matmul, PRODUCT(false, false), { F32(4, 4096), F32(4096, 4096) }, 0, 0 },
    { "matmul [8,9216] [9216,4096]", &ebb_op_matmul, PRODUCT(false, false), { F32(8, 9216), F32(9216, 4096) }, 0, 0 },
    { "matmul [8,4096] [4096,1000]", &ebb_op_matmul, PRODUCT(false, false), { F32(8, 4096), F32(4096, 1000) }, 0, 0 },
    { "matmul [8,1024] [1024,1024]", &ebb_op_matmul, PRODUCT(false, false), { F32(8, 1024), F32(1024, 1024) }, 0, 0 },
    { "matmul [4,512] [512,512]", &ebb_op_matmul, PRODUCT(false, false), { F32(4, 512), F32(512, 512) }, 0, 0 },
    { "matmul [8,512] [512,512]", &ebb_op_matmul, PRODUCT(false, false), { F32(8, 512), F32(512, 512) }, 0, 0 },
    { "matmul [1,512] [512,512]", &ebb_op_matmul, PRODUCT(false, false), { F32(1, 512), F32(512, 512) }, 0, 0 },
    { "matmul [1,1024] [1024,1024]", &ebb_op_matmul, PRODUCT(false, false), { F32(1, 1024), F32(1024, 1024) }, 0, 0 },
    { "matmul [1,1024] [1024,1024]^T", &ebb_op_matmul, PRODUCT(false, true), { F32(1, 1024), F32(1024, 1024) }, 0, 0 },
    { "matmul [1024,1024] [1024,1]", &ebb_op_matmul, PRODUCT(false, false), { F32(1024, 1024), F32(1024, 1) }, 0, 0 },
    { "add 1000", &ebb_op_add, NULL, { F32(1000), F32(1000) }, 0, 0 },
    { "add 39200", &ebb_op_add, NULL, { F32(39200), F32(39200) }, 0, 0 },
    { "add 4M", &ebb_op_add, NULL, { F32(4000000), F32(4000000) }, 0, 0 },
    { "add bias [100,10]", &ebb_op_add, NULL, { F32(100, 10), F32(100, 10) }, 1, 0 },
    { "add bias [100,50]", &ebb_op_add, NULL, { F32(100, 50), F32(100, 50) }, 1, 0 },
    { "add bias [1000,1000]", &ebb_op_add, NULL, { F32(1000, 1000), F32(1000, 1000) }, 1, 0 },
    { "relu [100,50]", &ebb_op_relu, NULL, { F32(100, 50) }, 0, 0 },
    { "sigmoid [100,50]", &ebb_op_sigmoid, NULL, { F32(100, 50) }, 0, 0 },
    { "tanh 1M", &ebb_op_tanh, NULL, { F32(1000000) }, 0, 0 },
    { "exp 1M", &ebb_op_exp, NULL, { F32(1000000) }, 0, 0 },
    { "select 1M", &ebb_op_select, NULL, { TYPE(BOOL, 1000000), F32(1000000), F32(1000000) }, 0, 0 },
    { "copy transposed [100,50]", &ebb_op_copy, NULL, { F32(100, 50) }, 0, "10" },
    { "copy transposed [1000,1000]", &ebb_op_copy, NULL, { F32(1000, 1000) }, 0, "10" },
    { "copy transposed [2048,2048]", &ebb_op_copy, NULL, { F32(2048, 2048) }, 0, "10" },
    { "exp transposed [1000,1000]", &ebb_op_exp, NULL, { F32(1000, 1000) }, 0, "10" },
    { "sum columns [100,50]", &ebb_op_reduce_sum, SUM(0), { F32(100, 50) }, 0, 0 },
    { "sum columns [100,10]", &ebb_op_reduce_sum, SUM(0), { F32(100, 10) }, 0, 0 },
    { "sum rows [100,10]", &ebb_op_reduce_sum, SUM(1), { F32(100, 10) }, 0, 0 },
    { "sum rows [100,50]", &ebb_op_reduce_sum, SUM(1), { F32(100, 50) }, 0, 0 },
    { "sum rows [1000,1000]", &ebb_op_reduce_sum, SUM(1), { F32(1000, 1000) }, 0, 0 },
    { "sum columns [1000,1000]", &ebb_op_reduce_sum, SUM(0), { F32(1000, 1000) }, 0, 0 },
    { "sum 4M", &ebb_op_reduce_sum, SUM(0), { F32(4000000) }, 0, 0 },
    { "sum [64,64,784] of channels", &ebb_op_reduce_sum, SUM(0, 2), { F32(64, 64, 784) }, 0, 0 },
    { "max rows [1000,1000]", &ebb_op_reduce_max, SUM(1), { F32(1000, 1000) }, 0, 0 },
    { "argmax [1000,10]", &ebb_op_argmax, AXIS(1), { F32(1000, 10) }, 0, 0 },
    { "softmax [100,10]", &ebb_op_softmax, AXIS(1), { F32(100, 10) }, 0, 0 },
    { "softmax [1000,100]", &ebb_op_softmax, AXIS(1), { F32(1000, 100) }, 0, 0 },
    { "softmax [1000,300]", &ebb_op_softmax, AXIS(1), { F32(1000, 300) }, 0, 0 },
    { "softmax [1000,1000]", &ebb_op_softmax, AXIS(1), { F32(1000, 1000) }, 0, 0 },
    { "softmax [100,10000]", &ebb_op_softmax, AXIS(1), { F32(100, 10000) }, 0, 0 },
    { "softmax [100,64,100] axis 1", &ebb_op_softmax, AXIS(1), { F32(100, 64, 100) }, 0, 0 },
    { "log_softmax [1000,1000]", &ebb_op_log_softmax, AXIS(1), { F32(1000, 1000) }, 0, 0 },
    { "cross entropy [100,10]", &ebb_op_softmax_cross_entropy, &(const ebb_cross_entropy_attrs){ 0 }, { F32(100, 10), TYPE(I32, 100) }, 0, 0 },
    { "one_hot [100,10]", &ebb_op_one_hot, &(const ebb_one_hot_attrs){ 10, EBB_F32 }, { TYPE(I32, 100) }, 0, 0 },
    { "random_uniform 1M", &ebb_op_random_uniform, &(const ebb_random_attrs){ F32(1000000), 1, 0 }, { TYPE(I64, 0) }, 0, 0 },
    { "random_normal 1M", &ebb_op_random_normal, &(const ebb_random_attrs){ F32(1000000), 1, 0 }, { TYPE(I64, 0) }, 0, 0 },
};

#define NORM &(const ebb_norm_attrs){ { 1, { 1 } }, 1e-5 }
#define BATCH &(const ebb_batch_norm_attrs){ 1e-5 }
#define CUMSUM(axis) &(const ebb_cumsum_attrs){ axis, false, false }
#define FLAGS TYPE(BOOL, 8192, 8192)
#define LOSS &(const ebb_cross_entropy_attrs){ 0 }
#define LARGE F32(4096, 4096)
static const bench_case memory_cases[] = {
    { "neg", &ebb_op_neg, NULL, { LARGE }, 0, 0 },
    { "relu", &ebb_op_relu, NULL, { LARGE }, 0, 0 },
    { "abs", &ebb_op_abs, NULL, { LARGE }, 0, 0 },
    { "floor", &ebb_op_floor, NULL, { LARGE }, 0, 0 },
    { "sqrt", &ebb_op_sqrt, NULL, { LARGE }, 0, 0 },
    { "rsqrt", &ebb_op_rsqrt, NULL, { LARGE }, 0, 0 },
    { "exp", &ebb_op_exp, NULL, { LARGE }, 0, 0 },
    { "exp2", &ebb_op_exp2, NULL, { LARGE }, 0, 0 },
    { "expm1", &ebb_op_expm1, NULL, { LARGE }, 0, 0 },
    { "log", &ebb_op_log, NULL, { LARGE }, 0, 0 },
    { "log2", &ebb_op_log2, NULL, { LARGE }, 0, 0 },
    { "log1p", &ebb_op_log1p, NULL, { LARGE }, 0, 0 },
    { "sin", &ebb_op_sin, NULL, { LARGE }, 0, 0 },
    { "cos", &ebb_op_cos, NULL, { LARGE }, 0, 0 },
    { "tan", &ebb_op_tan, NULL, { LARGE }, 0, 0 },
    { "asin", &ebb_op_asin, NULL, { LARGE }, 0, 0 },
    { "acos", &ebb_op_acos, NULL, { LARGE }, 0, 0 },
    { "atan", &ebb_op_atan, NULL, { LARGE }, 0, 0 },
    { "sinh", &ebb_op_sinh, NULL, { LARGE }, 0, 0 },
    { "cosh", &ebb_op_cosh, NULL, { LARGE }, 0, 0 },
    { "tanh", &ebb_op_tanh, NULL, { LARGE }, 0, 0 },
    { "erf", &ebb_op_erf, NULL, { LARGE }, 0, 0 },
    { "sigmoid", &ebb_op_sigmoid, NULL, { LARGE }, 0, 0 },
    { "softplus", &ebb_op_softplus, NULL, { LARGE }, 0, 0 },
    { "log_sigmoid", &ebb_op_log_sigmoid, NULL, { LARGE }, 0, 0 },
    { "silu", &ebb_op_silu, NULL, { LARGE }, 0, 0 },
    { "mish", &ebb_op_mish, NULL, { LARGE }, 0, 0 },
    { "elu", &ebb_op_elu, &(const ebb_alpha_attrs){ 0.5 }, { LARGE }, 0, 0 },
    { "gelu", &ebb_op_gelu, NULL, { LARGE }, 0, 0 },
    { "gelu_tanh", &ebb_op_gelu_tanh, NULL, { LARGE }, 0, 0 },
    { "clip", &ebb_op_clip, &(const ebb_limits_attrs){ -1, 0.2 }, { LARGE }, 0, 0 },
    { "cast to i32", &ebb_op_cast, &(const ebb_cast_attrs){ EBB_I32 }, { LARGE }, 0, 0 },
    { "add", &ebb_op_add, NULL, { LARGE, LARGE }, 0, 0 },
    { "sub", &ebb_op_sub, NULL, { LARGE, LARGE }, 0, 0 },
    { "mul", &ebb_op_mul, NULL, { LARGE, LARGE }, 0, 0 },
    { "div", &ebb_op_div, NULL, { LARGE, LARGE }, 0, 0 },
    { "maximum", &ebb_op_maximum, NULL, { LARGE, LARGE }, 0, 0 },
    { "pow", &ebb_op_pow, NULL, { LARGE, LARGE }, 0, 0 },
    { "mod", &ebb_op_mod, NULL, { LARGE, LARGE }, 0, 0 },
    { "atan2", &ebb_op_atan2, NULL, { LARGE, LARGE }, 0, 0 },
    { "add bias", &ebb_op_add, NULL, { LARGE, LARGE }, 1, 0 },
    { "select", &ebb_op_select, NULL, { TYPE(BOOL, 4096, 4096), LARGE, LARGE }, 0, 0 },
    { "transpose [4096,4096]", &ebb_op_copy, NULL, { LARGE }, 0, "10" },
    { "transpose [4001,4193]", &ebb_op_copy, NULL, { F32(4001, 4193) }, 0, "10" },
    { "transpose 64 x [512,512]", &ebb_op_copy, NULL, { F32(64, 512, 512) }, 0, "021" },
    { "nchw to nhwc [64,56,56,83]", &ebb_op_copy, NULL, { F32(64, 56, 56, 83) }, 0, "0312" },
    { "nhwc to nchw [64,83,56,56]", &ebb_op_copy, NULL, { F32(64, 83, 56, 56) }, 0, "0231" },
    { "nhwc to nchw [64,64,64,64]", &ebb_op_copy, NULL, { F32(64, 64, 64, 64) }, 0, "0231" },
    { "heads [32,512,16,64]", &ebb_op_copy, NULL, { F32(32, 512, 16, 64) }, 0, "0213" },
    { "5-d reversed [20,30,28,32,31]", &ebb_op_copy, NULL, { F32(20, 30, 28, 32, 31) }, 0, "43210" },
    { "sum", &ebb_op_reduce_sum, SUM(0, 1), { LARGE }, 0, 0 },
    { "sum rows", &ebb_op_reduce_sum, SUM(1), { LARGE }, 0, 0 },
    { "sum rows of 16", &ebb_op_reduce_sum, SUM(1), { F32(1048576, 16) }, 0, 0 },
    { "sum columns", &ebb_op_reduce_sum, SUM(0), { LARGE }, 0, 0 },
    { "sum 16 columns", &ebb_op_reduce_sum, SUM(0), { F32(1048576, 16) }, 0, 0 },
    { "sum of channels [64,64,4096]", &ebb_op_reduce_sum, SUM(0, 2), { F32(64, 64, 4096) }, 0, 0 },
    { "sum middle [256,64,1024]", &ebb_op_reduce_sum, SUM(1), { F32(256, 64, 1024) }, 0, 0 },
    { "mean rows", &ebb_op_reduce_mean, SUM(1), { LARGE }, 0, 0 },
    { "prod rows", &ebb_op_reduce_prod, SUM(1), { LARGE }, 0, 0 },
    { "prod columns", &ebb_op_reduce_prod, SUM(0), { LARGE }, 0, 0 },
    { "max rows", &ebb_op_reduce_max, SUM(1), { LARGE }, 0, 0 },
    { "max columns", &ebb_op_reduce_max, SUM(0), { LARGE }, 0, 0 },
    { "min", &ebb_op_reduce_min, SUM(0, 1), { LARGE }, 0, 0 },
    { "norm_l1", &ebb_op_norm_l1, SUM(0, 1), { LARGE }, 0, 0 },
    { "norm_l2", &ebb_op_norm_l2, SUM(0, 1), { LARGE }, 0, 0 },
    { "norm_l2 columns", &ebb_op_norm_l2, SUM(0), { LARGE }, 0, 0 },
    { "variance rows", &ebb_op_variance, &(const ebb_variance_attrs){ { { 1, { 1 } }, false }, 0 }, { LARGE }, 0, 0 },
    { "variance columns", &ebb_op_variance, &(const ebb_variance_attrs){ { { 1, { 0 } }, false }, 0 }, { LARGE }, 0, 0 },
    { "logsumexp rows", &ebb_op_logsumexp, SUM(1), { LARGE }, 0, 0 },
    { "logsumexp columns", &ebb_op_logsumexp, SUM(0), { LARGE }, 0, 0 },
    { "argmax rows", &ebb_op_argmax, AXIS(1), { LARGE }, 0, 0 },
    { "argmax columns", &ebb_op_argmax, AXIS(0), { LARGE }, 0, 0 },
    { "argmin rows", &ebb_op_argmin, AXIS(1), { LARGE }, 0, 0 },
    { "argmin columns", &ebb_op_argmin, AXIS(0), { LARGE }, 0, 0 },
    { "any rows of flags", &ebb_op_reduce_any, SUM(1), { FLAGS }, 0, 0 },
    { "all columns of flags", &ebb_op_reduce_all, SUM(0), { FLAGS }, 0, 0 },
    { "cumsum rows", &ebb_op_cumsum, CUMSUM(1), { LARGE }, 0, 0 },
    { "cumsum columns", &ebb_op_cumsum, CUMSUM(0), { LARGE }, 0, 0 },
    { "softmax [16384,1024]", &ebb_op_softmax, AXIS(1), { F32(16384, 1024) }, 0, 0 },
    { "softmax [1638400,10]", &ebb_op_softmax, AXIS(1), { F32(1638400, 10) }, 0, 0 },
    { "softmax [512,32768]", &ebb_op_softmax, AXIS(1), { F32(512, 32768) }, 0, 0 },
    { "softmax [256,64,1024] axis 1", &ebb_op_softmax, AXIS(1), { F32(256, 64, 1024) }, 0, 0 },
    { "log_softmax [16384,1024]", &ebb_op_log_softmax, AXIS(1), { F32(16384, 1024) }, 0, 0 },
    { "log_softmax [1638400,10]", &ebb_op_log_softmax, AXIS(1), { F32(1638400, 10) }, 0, 0 },
    { "log_softmax [256,64,1024] axis 1", &ebb_op_log_softmax, AXIS(1), { F32(256, 64, 1024) }, 0, 0 },
    { "cross entropy [16384,1024]", &ebb_op_softmax_cross_entropy, LOSS, { F32(16384, 1024), TYPE(I32, 16384) }, 0, 0 },
    { "cross entropy [1638400,10]", &ebb_op_softmax_cross_entropy, LOSS, { F32(1638400, 10), TYPE(I32, 1638400) }, 0, 0 },
    { "layer_norm [16384,1024]", &ebb_op_layer_norm, NORM, { F32(16384, 1024), F32(1024), F32(1024) }, 0, 0 },
    { "layer_norm [262144,64]", &ebb_op_layer_norm, NORM, { F32(262144, 64), F32(64), F32(64) }, 0, 0 },
    { "layer_norm_grad [16384,1024]", &ebb_op_layer_norm_grad, NORM, { F32(16384, 1024), F32(1024), F32(16384, 1024) }, 0, 0 },
    { "rms_norm [16384,1024]", &ebb_op_rms_norm, NORM, { F32(16384, 1024), F32(1024) }, 0, 0 },
    { "rms_norm_grad [16384,1024]", &ebb_op_rms_norm_grad, NORM, { F32(16384, 1024), F32(1024), F32(16384, 1024) }, 0, 0 },
    { "batch_norm [64,64,64,64]", &ebb_op_batch_norm, BATCH, { F32(64, 64, 64, 64), F32(64), F32(64) }, 0, 0 },
    { "batch_norm_inference", &ebb_op_batch_norm_inference, BATCH, { F32(64, 64, 64, 64), F32(64), F32(64), F32(64), F32(64) }, 0, 0 },
    { "batch_norm_grad [64,64,64,64]", &ebb_op_batch_norm_grad, BATCH, { F32(64, 64, 64, 64), F32(64), F32(64, 64, 64, 64), F32(64), F32(64) }, 0, 0 },
    { "random_uniform", &ebb_op_random_uniform, &(const ebb_random_attrs){ LARGE, 1, 0 }, { TYPE(I64, 0) }, 0, 0 },
};
/* clang-format on */

static void *get_block(size_t n_bytes)
{
    void *block = ebb_allocate(NULL, n_bytes);
    if (!block) {
        fputs("kernels: out of memory\n", stderr);
        exit(1);
    }
    memset(block, 0, n_bytes);
    return block;
}

static void free_block(void *block, size_t n_bytes)
{
    ebb_release(NULL, block, n_bytes);
}

enum { MAX_BLOCKS = 32 };
typedef struct block_list {
    void *blocks[MAX_BLOCKS];
    size_t n_bytes[MAX_BLOCKS];
    int n;
} block_list;

static void *allocate(void *context, size_t n_bytes)
{
    block_list *list = context;
    if (list->n == MAX_BLOCKS)
        return NULL;
    list->n_bytes[list->n] = n_bytes;
    return list->blocks[list->n++] = get_block(n_bytes);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A case on a backend, ready to run. */
typedef struct prepared {
    ebb_type types[MAX_INPUTS],
        result_types[MAX_RESULTS]; /* of results, the first is the largest */
    int score;
    size_t n_bytes; /* read and written */
    ebb_kernel kernel;
    ebb_call call;
    void *inputs[MAX_INPUTS], *results[MAX_RESULTS];
    block_list list;
    ebb_error error;
} prepared;

static bool needs_positive(const ebb_op *op)
{
    return op == &ebb_op_log || op == &ebb_op_log2 || op == &ebb_op_pow || op == &ebb_op_sqrt ||
           op == &ebb_op_rsqrt || op == &ebb_op_reduce_prod || op == &ebb_op_batch_norm_inference ||
           op == &ebb_op_batch_norm_grad;
}

/* No cache holds a tensor until its statistics are known. */
static bool reads_twice(const ebb_op *op)
{
    return op == &ebb_op_batch_norm || op == &ebb_op_batch_norm_grad;
}

static void fill_input(const ebb_op *op, const ebb_tensor *tensor)
{
    const double low = needs_positive(op) ? 0.5 : -0.5;
    if (ebb_dtype_is_float(tensor->type.dtype))
        for (int64_t j = 0; j < ebb_shape_elements(&tensor->type.shape); j++)
            ebb_tensor_set(tensor, j, (double)(j * 7919 % 1000) * 1e-3 + low);
}

static ebb_layout layout_of(const bench_case *c, int input, const ebb_shape *shape)
{
    ebb_layout layout = ebb_layout_dense(shape);
    if (input == 1 && c->repeats_rows)
        layout.strides[0] = 0;
    int64_t stride = 1;
    for (int i = shape->rank - 1; input == 0 && c->order && i >= 0; i--) {
        layout.strides[c->order[i] - '0'] = stride;
        stride *= shape->dims[c->order[i] - '0'];
    }
    return layout;
}

/* False, after a message if something is wrong, if the backend does not take the case. With
 * `score_only` there is no kernel then. */
static bool prepare(prepared *p, const bench_case *c, const ebb_backend *backend, int n_threads,
                    bool score_only)
{
    const ebb_type *pointers[MAX_INPUTS];
    ebb_operand inputs[MAX_INPUTS], results[MAX_RESULTS];
    *p = (prepared){ .score = EBB_SCORE_NONE };
    for (int i = 0; i < c->op->n_inputs; i++) {
        p->types[i] = c->inputs[i];
        pointers[i] = &p->types[i];
        if (c->op->traits & EBB_TRAIT_RANDOM)
            p->types[i].shape.rank = 0;
        inputs[i] =
            (ebb_operand){ .type = &p->types[i], .layout = layout_of(c, i, &p->types[i].shape) };
        if (i != 1 || !c->repeats_rows)
            p->n_bytes += ebb_type_bytes(&p->types[i]) * (reads_twice(c->op) ? 2 : 1);
    }
    ebb_infer infer = { c->op, c->attrs, c->op->n_inputs, pointers, p->result_types, &p->error };
    if (c->op->infer(&infer)) {
        printf("%s: %s\n", c->name, p->error.message);
        return false;
    }
    for (int i = 0; i < c->op->n_results; i++) {
        const ebb_type *type = &p->result_types[i];
        results[i] = (ebb_operand){ .type = type, .layout = ebb_layout_dense(&type->shape) };
        p->n_bytes += ebb_type_bytes(type);
    }
    ebb_region region = { .op = c->op,
                          .attrs = c->attrs,
                          .n_inputs = c->op->n_inputs,
                          .n_results = c->op->n_results,
                          .inputs = inputs,
                          .results = results,
                          .n_threads = n_threads };
    p->score = backend->score(backend, &region);
    if (p->score == EBB_SCORE_NONE || score_only)
        return p->score != EBB_SCORE_NONE;
    ebb_compile_env env = { .allocate = allocate, .context = &p->list, .error = &p->error };
    if (backend->compile(backend, &region, &env, &p->kernel)) {
        printf("%-34s %-10s %s\n", c->name, backend->name, p->error.message);
        return false;
    }
    for (int i = 0; i < c->op->n_inputs; i++) {
        p->inputs[i] = get_block(ebb_type_bytes(&p->types[i]));
        ebb_tensor tensor = ebb_tensor_borrow(p->types[i].dtype, p->types[i].shape, p->inputs[i]);
        fill_input(c->op, &tensor);
    }
    for (int i = 0; i < c->op->n_results; i++)
        p->results[i] = get_block(ebb_type_bytes(&p->result_types[i]));
    void *scratch = allocate(&p->list, p->kernel.scratch_bytes);
    p->call = (ebb_call){ p->kernel.state, p->inputs, p->results, scratch, &p->error };
    return true;
}

static void finish(prepared *p, const bench_case *c)
{
    if (p->kernel.destroy)
        p->kernel.destroy(p->kernel.state);
    for (int i = 0; i < c->op->n_inputs; i++)
        free_block(p->inputs[i], ebb_type_bytes(&p->types[i]));
    for (int i = 0; i < c->op->n_results; i++)
        free_block(p->results[i], ebb_type_bytes(&p->result_types[i]));
    while (p->list.n > 0) {
        p->list.n--;
        free_block(p->list.blocks[p->list.n], p->list.n_bytes[p->list.n]);
    }
}

/* Best time of one run, in seconds. */
static double measure(const ebb_kernel *kernel, const ebb_call *call)
{
    double best = 1e9, start = seconds();
    int repeats = 1;
    for (int round = 0; round < 2000 && (round < 7 || seconds() - start < 0.3); round++) {
        double before = seconds();
        for (int i = 0; i < repeats; i++)
            if (kernel->run(call))
                return 0;
        double time = (seconds() - before) / repeats;
        best = time < best ? time : best;
        if (best * repeats < 1e-4)
            repeats *= 2;
    }
    return best;
}

static void run_case(const bench_case *c, const ebb_backend *backend, int n_threads)
{
    prepared p;
    if (!prepare(&p, c, backend, n_threads, false))
        return;
    double time = measure(&p.kernel, &p.call);
    printf("%-34s %-10s score %2d %d of %d threads %10.2f us %7.1f GB/s", c->name, backend->name,
           p.score, p.kernel.n_threads, n_threads, time * 1e6, 1e-9 * (double)p.n_bytes / time);
    if (c->op == &ebb_op_matmul) {
        const ebb_matmul_attrs *attrs = c->attrs;
        const ebb_shape *a = &p.types[0].shape;
        double k = (double)a->dims[attrs->transpose_a ? a->rank - 2 : a->rank - 1];
        printf(" %7.1f GFLOP/s",
               2e-9 * k * (double)ebb_shape_elements(&p.result_types[0].shape) / time);
    }
    printf("  (%s)\n", p.kernel.implementation);
    fflush(stdout);
    finish(&p, c);
}

/* ---- against the memory bandwidth ---- */

/* The mix that comes nearest: how many large tensors are read for each that is written. */
static bandwidth_mix mix_of(const prepared *p, const bench_case *c)
{
    const size_t large = (size_t)32 << 20;
    int n_read = 0;
    for (int i = 0; i < c->op->n_inputs; i++)
        if (ebb_type_bytes(&p->types[i]) >= large && !(i == 1 && c->repeats_rows))
            n_read += reads_twice(c->op) ? 2 : 1;
    if (ebb_type_bytes(&p->result_types[0]) < large)
        return BANDWIDTH_READ;
    return n_read == 0 ? BANDWIDTH_WRITE : n_read == 1 ? BANDWIDTH_COPY : BANDWIDTH_TRIAD;
}

static double time_of(const prepared *p, bandwidth_mix mix, int variant,
                      const bandwidth_arrays *arrays, const bandwidth_arrays *others, int n_threads)
{
    /* Other memory in between, so that nobody finds in a large cache what it used before. */
    bandwidth_run(BANDWIDTH_COPY, 0, others, n_threads);
    double before = seconds();
    if (variant < 0)
        (void)p->kernel.run(&p->call);
    else
        bandwidth_run(mix, variant, arrays, n_threads);
    return seconds() - before;
}

/* The backend that the runtime would choose; the kernel and the loops take turns. */
static void compare_case(const bench_case *c, const bandwidth_arrays *arrays,
                         const bandwidth_arrays *others, int n_threads)
{
    enum { ROUNDS = 15, MAX_VARIANTS = 8 };
    int n_backends, best_score = EBB_SCORE_NONE;
    const ebb_backend *const *backends = ebb_backend_list(NULL, &n_backends);
    const ebb_backend *backend = NULL;
    prepared p;
    for (int b = 0; b < n_backends; b++) {
        if (prepare(&p, c, backends[b], n_threads, true) && p.score > best_score) {
            best_score = p.score;
            backend = backends[b];
        }
    }
    if (!backend || !prepare(&p, c, backend, n_threads, false))
        return;
    const bandwidth_mix mix = mix_of(&p, c);
    const int n_variants = bandwidth_n_variants(mix);
    double times[MAX_VARIANTS + 1];
    for (int v = 0; v <= n_variants; v++)
        times[v] = 1e9;
    for (int round = 0; round < ROUNDS; round++)
        for (int v = 0; v <= n_variants; v++) {
            double time = time_of(&p, mix, v - 1, arrays, others, n_threads);
            times[v] = time < times[v] ? time : times[v];
        }
    int fastest = 1;
    for (int v = 2; v <= n_variants; v++)
        fastest = times[v] < times[fastest] ? v : fastest;
    const double limit = 1e-9 * bandwidth_bytes(mix, arrays->n_bytes) / times[fastest];
    const double reached = 1e-9 * (double)p.n_bytes / times[0];
    printf("%-32s %-7s %-8s %8.2f ms %6.1f GB/s of %6.1f %-5s (%s)%*s %3.0f%%\n", c->name,
           backend->name, p.kernel.implementation, times[0] * 1e3, reached, limit,
           bandwidth_mix_name(mix), bandwidth_variant_name(mix, fastest - 1),
           21 - (int)strlen(bandwidth_variant_name(mix, fastest - 1)), "", 100 * reached / limit);
    fflush(stdout);
    finish(&p, c);
}

static void compare_with_memory(const char *part, int n_threads)
{
    const size_t n_bytes = (size_t)64 << 20;
    float *blocks[5];
    for (int i = 0; i < 5; i++)
        blocks[i] = get_block(n_bytes);
    const bandwidth_arrays arrays = { blocks[0], blocks[1], blocks[2], n_bytes };
    const bandwidth_arrays others = { blocks[3], blocks[3], blocks[4], n_bytes };
    for (size_t i = 0; i < sizeof memory_cases / sizeof *memory_cases; i++)
        if (strstr(memory_cases[i].name, part))
            compare_case(&memory_cases[i], &arrays, &others, n_threads);
    for (int i = 0; i < 5; i++)
        free_block(blocks[i], n_bytes);
}

int main(int argc, char **argv)
{
    int n_backends;
    const ebb_backend *const *backends = ebb_backend_list(NULL, &n_backends);
    if (argc > 1 && strcmp(argv[1], "memory") == 0) {
        compare_with_memory(argc > 2 ? argv[2] : "", 2);
        return 0;
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (argc > 1 && !strstr(cases[i].name, argv[1]))
            continue;
        for (int b = 0; b < 2 && b < n_backends; b++)
            for (int n_threads = 1; n_threads <= 2; n_threads++)
                run_case(&cases[i], backends[b], n_threads);
    }
    return 0;
}
