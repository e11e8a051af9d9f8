/* One map for every row of ops/elementwise.def that has the dtype at hand: see elementwise.c, which
 * includes this file once for each dtype, with T, U, TAG, FN and KIND defined. */
#define UNARY(name, dtypes, summary, float_value, int_value, ...)                                  \
    HAS(dtypes)(UNARY_MAP(name, T, , VALUE(float_value, int_value)))
#define BINARY(name, dtypes, traits, summary, float_value, int_value, ...)                         \
    HAS(dtypes)(BINARY_MAP(name, T, VALUE(float_value, int_value)))
#define COMPARE(name, dtypes, traits, summary, value, ...)                                         \
    HAS(dtypes)(BINARY_MAP(name, uint8_t, value))
#define TEST(name, dtypes, summary, float_value, int_value, ...)                                   \
    HAS(dtypes)(UNARY_MAP(name, uint8_t, , VALUE(float_value, int_value)))
#define WITH(parameters, name, dtypes, summary, float_value, int_value, ...)                       \
    HAS(dtypes)(UNARY_MAP(name, T, LOCALS_##parameters(inputs[1]), VALUE(float_value, int_value)))
#include "ops/elementwise.def"

#undef T
#undef U
#undef TAG
#undef FN
#undef KIND
