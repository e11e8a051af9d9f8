/* softmax, log_softmax and log-sum-exp of rows and of columns, for F64 and F32. */
#include "backends/native/vector/exp.h"
#include "backends/native/vector/functions.h"
#include "backends/native/vector/isa.h"
#include "backends/native/vector/lanes.h"
#include "backends/native/vector/stream.h"
#include <float.h>

#define NAME(name) ISA_PASTE(name, TAG)

/* log(x) of sums of exponentials, which are normal numbers. */
static inline lanes_f32 lanes_log_sum_f32(lanes_f32 x)
{
    float several[LANES_F32];
    lanes_store_f32(several, x);
    for (int i = 0; i < LANES_F32; i++)
        several[i] = vector_log_normal(several[i]);
    return lanes_load_f32(several);
}
static inline lanes_f64 lanes_log_sum_f64(lanes_f64 x)
{
    double several[LANES_F64];
    lanes_store_f64(several, x);
    for (int i = 0; i < LANES_F64; i++)
        several[i] = log(several[i]);
    return lanes_load_f64(several);
}

/* As U, the unsigned integers that are as wide, negative labels are larger than all others. */
#define COUNT_WRONG(U, most)                                                                       \
    do {                                                                                           \
        const U *const all = labels, last = (U)(n_classes - 1 < most ? n_classes - 1 : most);      \
        for (int64_t i = 0; i < n; i++)                                                            \
            n_right += all[i] <= last;                                                             \
    } while (0)
static int64_t count_wrong_labels(int64_t n, ebb_dtype dtype, const void *labels, int64_t n_classes)
{
    int64_t n_right = 0;
    if (n_classes == 0)
        return n;
    if (dtype == EBB_I64)
        COUNT_WRONG(uint64_t, INT64_MAX);
    else if (dtype == EBB_I32)
        COUNT_WRONG(uint32_t, INT32_MAX);
    else
        COUNT_WRONG(uint8_t, UINT8_MAX);
    return n - n_right;
}

#define T double
#define TAG f64
#define FN(name) name
#define LANES_MAX LANES_MAX_F64
#include "backends/native/vector/softmax_of_type.h"

#define T float
#define TAG f32
#define FN(name) name##f
#define LANES_MAX LANES_MAX_F32
#include "backends/native/vector/softmax_of_type.h"
