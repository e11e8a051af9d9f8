/* Reference loops of all rows of elementwise.def for one dtype. Included once per dtype by
 * elementwise.c, which defines before: T and U (the type, its unsigned form), FN, LOOP(name) (the
 * name of the loop), VALUE(float, int) (which column), R_BOOL (the type of compare results) and
 * ON_FLOATS, ON_NUMBERS, ON_BOOLS, ON_ANY (the loop, or nothing where the dtype is not of that
 * class). All but R_BOOL are undefined after. */

#define UNARY(name, dtypes, summary, float_value, int_value, ...)                                  \
    ON_##dtypes(static void LOOP(name)(const void *in, const void *unused, void *out, int64_t n) { \
        const T *xs = in;                                                                          \
        T *rs = out;                                                                               \
        (void)unused;                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const T x = xs[i];                                                                     \
            rs[i] = (T)(VALUE(float_value, int_value));                                            \
        }                                                                                          \
    })
#define BINARY(name, dtypes, traits, summary, float_value, int_value, ...)                         \
    ON_##dtypes(static void LOOP(name)(const void *in_a, const void *in_b, void *out, int64_t n) { \
        const T *as = in_a, *bs = in_b;                                                            \
        T *rs = out;                                                                               \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const T a = as[i], b = bs[i];                                                          \
            rs[i] = (T)(VALUE(float_value, int_value));                                            \
        }                                                                                          \
    })
#define COMPARE(name, dtypes, traits, summary, value, ...)                                         \
    ON_##dtypes(static void LOOP(name)(const void *in_a, const void *in_b, void *out, int64_t n) { \
        const T *as = in_a, *bs = in_b;                                                            \
        R_BOOL *rs = out;                                                                          \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const T a = as[i], b = bs[i];                                                          \
            rs[i] = (R_BOOL)(value);                                                               \
        }                                                                                          \
    })
#define TEST(name, dtypes, summary, float_value, int_value, ...)                                   \
    ON_##dtypes(static void LOOP(name)(const void *in, const void *unused, void *out, int64_t n) { \
        const T *xs = in;                                                                          \
        R_BOOL *rs = out;                                                                          \
        (void)unused;                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const T x = xs[i];                                                                     \
            (void)x;                                                                               \
            rs[i] = (R_BOOL)(VALUE(float_value, int_value));                                       \
        }                                                                                          \
    })
#define WITH(parameters, name, dtypes, summary, float_value, int_value, ...)                       \
    ON_##dtypes(static void LOOP(name)(const void *in, const void *attrs, void *out, int64_t n) {  \
        const T *xs = in;                                                                          \
        T *rs = out;                                                                               \
        LOCALS_##parameters(attrs) for (int64_t i = 0; i < n; i++)                                 \
        {                                                                                          \
            const T x = xs[i];                                                                     \
            rs[i] = (T)(VALUE(float_value, int_value));                                            \
        }                                                                                          \
    })
#include "ops/elementwise.def"

#undef T
#undef U
#undef FN
#undef LOOP
#undef VALUE
#undef ON_FLOATS
#undef ON_NUMBERS
#undef ON_BOOLS
#undef ON_ANY
