/* Folds of integers and booleans: sum, product, maximum, minimum. */
#include "backends/native/vector/isa.h"

/* S is T, or unsigned where the sum may wrap. */
#define FOLD(name, T, S, step)                                                                     \
    static void name##_run(void *place, const void *data, int64_t stride, int64_t n)               \
    {                                                                                              \
        const T *x = data;                                                                         \
        S sum = (S) * (T *)place;                                                                  \
        if (stride == 1)                                                                           \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const S value = (S)x[i];                                                           \
                sum = (S)(step);                                                                   \
            }                                                                                      \
        else                                                                                       \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const S value = (S)x[i * stride];                                                  \
                sum = (S)(step);                                                                   \
            }                                                                                      \
        *(T *)place = (T)sum;                                                                      \
    }                                                                                              \
    static void name##_row(void *places, const void *data, int64_t stride, int64_t n)              \
    {                                                                                              \
        const T *x = data;                                                                         \
        T *sums = places;                                                                          \
        if (stride == 1) {                                                                         \
            ask_rows(x + n, n * (int64_t)sizeof(T));                                               \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const S sum = (S)sums[i], value = (S)x[i];                                         \
                sums[i] = (T)(step);                                                               \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const S sum = (S)sums[i], value = (S)x[i * stride];                                    \
            sums[i] = (T)(step);                                                                   \
        }                                                                                          \
    }
#define FOLD_TYPE(suffix, T, U)                                                                    \
    FOLD(sum_##suffix, T, U, sum + value)                                                          \
    FOLD(prod_##suffix, T, U, sum *value)                                                          \
    FOLD(max_##suffix, T, T, value > sum ? value : sum)                                            \
    FOLD(min_##suffix, T, T, value < sum ? value : sum)
FOLD_TYPE(i64, int64_t, uint64_t)
FOLD_TYPE(i32, int32_t, uint32_t)
FOLD_TYPE(u8, uint8_t, unsigned)

#define LOOPS(name)                                                                                \
    {                                                                                              \
        name##_run, name##_row                                                                     \
    }
#define LOOPS_OF_TYPES(name)                                                                       \
    {                                                                                              \
        [EBB_I64] = LOOPS(name##_i64), [EBB_I32] = LOOPS(name##_i32), [EBB_U8] = LOOPS(name##_u8), \
        [EBB_BOOL] = LOOPS(name##_u8)                                                              \
    }

const ebb_fold_table ISA_NAME(ebb_fold) = {
    .of = {
        [EBB_FOLD_SUM] = LOOPS_OF_TYPES(sum),
        [EBB_FOLD_PRODUCT] = LOOPS_OF_TYPES(prod),
        [EBB_FOLD_MAX] = LOOPS_OF_TYPES(max),
        [EBB_FOLD_MIN] = LOOPS_OF_TYPES(min),
    },
};
