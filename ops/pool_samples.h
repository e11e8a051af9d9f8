/* The samples of pooling: included by pool.c alone. */
#ifndef OPS_POOL_SAMPLES_H
#define OPS_POOL_SAMPLES_H

/* clang-format off */
#define F(...) EBB_SAMPLE_TYPE(F64, __VA_ARGS__)
#define U8(...) EBB_SAMPLE_TYPE(U8, __VA_ARGS__)
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define INTS(...) { (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), { __VA_ARGS__ } }
#define NONE { 0, { 0 } }
#define ONE(...) .inputs = EBB_INPUTS(__VA_ARGS__)
#define TWO(...) .inputs = EBB_INPUTS(__VA_ARGS__)
/* window, stride, padding, dilation, ceil_mode, count_include_pad */
#define ATTRS(...) .attrs = &(const ebb_pool_attrs){ __VA_ARGS__ }
#define GRAD(sizes, ...) .attrs = &(const ebb_pool_grad_attrs){ { __VA_ARGS__ }, INTS sizes }
#define GRAD_FREE(...) .attrs = &(const ebb_pool_grad_attrs){ { __VA_ARGS__ }, NONE }
#define REFUSE(status, text) .error = status, .message = text
#define BOOK 1, 2, 1, 0, 0, 1, 2, 3, 3, 0, 1, 2, 2, 4, 0, 1

/* X(x shape, attributes...) for all that slide over x; the second one gets the shape of y too. */
#define SLIDE_SAMPLES(X)                                                                           \
    X((2, 3, 4, 6), (2, 3, 2, 3), INTS(2), NONE, NONE, NONE, false, false),                        \
    X((1, 2, 5, 5), (1, 2, 2, 2), INTS(2), NONE, NONE, NONE, false, true),                         \
    X((1, 2, 5, 5), (1, 2, 3, 3), INTS(2), NONE, NONE, NONE, true, false),                         \
    X((1, 1, 6, 7), (1, 1, 3, 4), INTS(3), INTS(2), INTS(1), NONE, false, true),                   \
    X((2, 1, 5, 4), (2, 1, 5, 5), INTS(3, 2), INTS(1), INTS(1), NONE, false, false),               \
    X((1, 3, 4, 5), (1, 3, 4, 5), INTS(1), NONE, NONE, NONE, false, false),                        \
    X((1, 2, 5, 6), (1, 2, 2, 1), INTS(5, 6), INTS(1), INTS(0, 0, 1, 0), NONE, false, true),       \
    X((1, 1, 7, 6), (1, 1, 5, 3), INTS(3, 2), INTS(2, 3), INTS(2, 1, 1, 1), NONE, true, true),     \
    X((1, 2, 7, 8), (1, 2, 3, 1), INTS(3), INTS(1, 2), NONE, INTS(2, 3), false, false),            \
    X((2, 3, 7), (2, 3, 4), INTS(3), INTS(2), INTS(1), NONE, false, false),                        \
    X((1, 2, 3, 4, 4), (1, 2, 2, 2, 2), INTS(2), INTS(1, 2, 2), NONE, NONE, false, false),         \
    X((0, 2, 4, 4), (0, 2, 2, 2), INTS(2), NONE, NONE, NONE, false, false)
#define SLIDE_ERRORS(in)                                                                           \
    { in(F(1, 1, 3, 3)), ATTRS(INTS(4, 3), NONE, NONE, NONE, false, false),                        \
      REFUSE(EBB_BAD_SHAPE, "a window of 4 taps spans 4 in spatial dimension 0, and [1,1,3,3] is 3") },  \
    { in(F(1, 1, 3, 3)), REFUSE(EBB_BAD_ATTRIBUTE, "there is no window") },                        \
    { in(F(1, 1, 3, 3)), ATTRS(INTS(2, 0), NONE, NONE, NONE, false, false),                        \
      REFUSE(EBB_BAD_ATTRIBUTE, "window 0 of spatial dimension 1 is not in 1..") },                \
    { in(F(1, 1, 3, 3)), ATTRS(INTS(2), INTS(0), NONE, NONE, false, false),                        \
      REFUSE(EBB_BAD_ATTRIBUTE, "stride 0 of spatial dimension 0 is not in 1..") },                \
    { in(F(1, 1, 3, 3)), ATTRS(INTS(2), NONE, INTS(0, 2), NONE, false, false),                     \
      REFUSE(EBB_BAD_ATTRIBUTE, "padding 2 of spatial dimension 1 is not below the window's span") },    \
    { in(F(1, 1, 3, 3)), ATTRS(INTS(2, 2, 2), NONE, NONE, NONE, false, false),                     \
      REFUSE(EBB_BAD_ATTRIBUTE, "window has 3 values for 2 spatial dimensions") },                 \
    { in(F(3, 3)), ATTRS(INTS(2), NONE, NONE, NONE, false, false),                                 \
      REFUSE(EBB_BAD_SHAPE, "[3,3] has not 1, 2 or 3 spatial dimensions") }

/* Far enough apart that a difference does not change which is the largest. */
#define MAX_SAMPLE(x, y, ...)                                                                      \
    { ONE(F x), ATTRS(__VA_ARGS__), .range = EBB_RANGES({ -8, 8, 0, 0 }) }
#define IN_ONE(...) ONE(__VA_ARGS__)
static const ebb_sample samples_max_pool[] = {
    { .label = "book", ONE(F(1, 1, 4, 4)), ATTRS(INTS(2), NONE, NONE, NONE, false, false),
      .values = { LIST(BOOK) }, .expected = LIST(2, 3, 4, 2, 1, 3, 3, 1), .no_gradient = true,
      .source = "Saitoh 2016, 7.3, and the first maximum of each window" },
    { .label = "ties", ONE(F(1, 1, 6)), ATTRS(INTS(3), INTS(1), NONE, NONE, false, false),
      .values = { LIST(2, 2, 1, 2, 0, 0) }, .expected = LIST(2, 2, 2, 2, 0, 0, 1, 0),
      .no_gradient = true, .source = "by the definition" },
    { .label = "nan", ONE(F(1, 1, 6)), ATTRS(INTS(2), INTS(1), NONE, NONE, false, false),
      .values = { LIST(1, NAN, 3, -INFINITY, -INFINITY, INFINITY) },
      .expected = LIST(NAN, NAN, 3, -INFINITY, INFINITY, 1, 0, 0, 0, 1), .no_gradient = true,
      .source = "by the definition" },
    { .label = "only padding", ONE(F(1, 1, 1)),
      ATTRS(INTS(2), INTS(1), INTS(1), INTS(2), false, false),
      .values = { LIST(7) }, .expected = LIST(-INFINITY, 0), .no_gradient = true,
      .source = "by the definition" },
    { .label = "negative", ONE(F(1, 1, 2)), ATTRS(INTS(2), INTS(1), INTS(1), NONE, false, false),
      .values = { LIST(-3, -2) }, .expected = LIST(-3, -2, -2, 1, 1, 0), .no_gradient = true,
      .source = "padding is never the maximum" },
    { .label = "many taps", ONE(F(1, 1, 19, 17)),
      ATTRS(INTS(18, 16), INTS(1), NONE, NONE, false, false),
      .no_gradient = true }, /* too many values to be apart */
    SLIDE_SAMPLES(MAX_SAMPLE), SLIDE_ERRORS(IN_ONE),
    { ONE(F(1, 1, 3)), ATTRS(INTS(2147483647), NONE, INTS(2147483646), NONE, false, false),
      .no_gradient = true, .range = EBB_RANGES({ -8, 8, 0, 0 }) },
    { ONE(EBB_SAMPLE_TYPE(I32, 1, 1, 3)), ATTRS(INTS(2), NONE, NONE, NONE, false, false),
      REFUSE(EBB_BAD_DTYPE, "dtype i32 is not one of f64, f32") },
};

#define GATHER_SAMPLE(x, y, ...)                                                                   \
    { TWO(F x, U8 y), ATTRS(__VA_ARGS__), .range = EBB_RANGES({ 0, 0, 0, 0 }, { 0, 4, 0, 0 }) }
#define IN_GATHER(...) TWO(__VA_ARGS__, U8(1, 1, 2, 2))
static const ebb_sample samples_max_pool_gather[] = {
    { .label = "taps", TWO(F(1, 1, 4), U8(1, 1, 3)),
      ATTRS(INTS(2), INTS(2), INTS(1), NONE, false, false),
      .values = { LIST(1, 2, 3, 4), LIST(0, 1, 9) }, .expected = LIST(0, 3, 0),
      .source = "the first tap is in the padding, tap 9 is nowhere" },
    SLIDE_SAMPLES(GATHER_SAMPLE), SLIDE_ERRORS(IN_GATHER),
    { TWO(F(1, 1, 4), EBB_SAMPLE_TYPE(I32, 1, 1, 2)),
      ATTRS(INTS(2), NONE, NONE, NONE, false, false),
      REFUSE(EBB_BAD_DTYPE, "where is i32, not u8 for a window of 2 taps") },
    { TWO(F(1, 1, 4), U8(1, 1, 3)), ATTRS(INTS(2), NONE, NONE, NONE, false, false),
      REFUSE(EBB_BAD_SHAPE, "where is [1,1,3], not [1,1,2]") },
};

/* dy, where. X(y shape, x sizes, attributes...) */
#define GRAD_SAMPLES(X)                                                                            \
    X((2, 3, 2, 3), (4, 6), INTS(2), NONE, NONE, NONE, false, false),                              \
    X((1, 2, 2, 2), (5, 5), INTS(2), NONE, NONE, NONE, false, true),                               \
    X((1, 2, 3, 3), (5, 5), INTS(2), NONE, NONE, NONE, true, false),                               \
    X((1, 1, 3, 4), (6, 7), INTS(3), INTS(2), INTS(1), NONE, false, true),                         \
    X((2, 1, 5, 5), (5, 4), INTS(3, 2), INTS(1), INTS(1), NONE, false, false),                     \
    X((1, 3, 4, 5), (4, 5), INTS(1), NONE, NONE, NONE, false, false),                              \
    X((1, 1, 5, 3), (7, 6), INTS(3, 2), INTS(2, 3), INTS(2, 1, 1, 1), NONE, true, true),           \
    X((1, 2, 3, 1), (7, 8), INTS(3), INTS(1, 2), NONE, INTS(2, 3), false, false),                  \
    X((2, 3, 4), (7), INTS(3), INTS(2), INTS(1), NONE, false, false),                              \
    X((1, 2, 2, 2, 2), (3, 4, 4), INTS(2), INTS(1, 2, 2), NONE, NONE, false, false),               \
    X((0, 2, 2, 2), (4, 4), INTS(2), NONE, NONE, NONE, false, false)
#define GRAD_ERRORS(in)                                                                            \
    { in(F(1, 1, 2, 2)), GRAD((4, 6), INTS(2), NONE, NONE, NONE, false, false),                    \
      REFUSE(EBB_BAD_SHAPE, "size [4,6] gives [2,3] places, dy is [1,1,2,2]") },                   \
    { in(F(1, 1, 2, 2)), GRAD((1, 4), INTS(2), NONE, NONE, NONE, false, false),                    \
      REFUSE(EBB_BAD_SHAPE, "a window of 2 taps spans 2 in spatial dimension 0") },                \
    { in(F(1, 1, 2, 2)), GRAD((1, 4, 4), INTS(2), NONE, NONE, NONE, false, false),                 \
      REFUSE(EBB_BAD_ATTRIBUTE, "size has 3 values for 2 spatial dimensions") },                   \
    { in(F(1, 1, 2, 2)), REFUSE(EBB_BAD_ATTRIBUTE, "there is no window") },                        \
    { in(F(2, 2)), GRAD_FREE(INTS(2), NONE, NONE, NONE, false, false),                             \
      REFUSE(EBB_BAD_SHAPE, "dy [2,2] has not 1, 2 or 3 spatial dimensions") }
#define MAX_GRAD_SAMPLE(y, sizes, ...)                                                             \
    { TWO(F y, U8 y), GRAD(sizes, __VA_ARGS__),                                                    \
      .range = EBB_RANGES({ 0, 0, 0, 0 }, { 0, 4, 0, 0 }) }
#define IN_MAX_GRAD(...) TWO(__VA_ARGS__, U8(1, 1, 2, 2))
static const ebb_sample samples_max_pool_grad[] = {
    { .label = "book", TWO(F(1, 1, 2, 2), U8(1, 1, 2, 2)),
      GRAD_FREE(INTS(2), NONE, NONE, NONE, false, false),
      .values = { LIST(10, 20, 30, 40), LIST(1, 3, 3, 1) },
      .expected = LIST(0, 10, 0, 0, 0, 0, 0, 20, 0, 0, 0, 40, 0, 30, 0, 0),
      .source = "to the maxima of Saitoh 2016, 7.3" },
    { .label = "overlap", TWO(F(1, 1, 3), U8(1, 1, 3)),
      GRAD((3), INTS(3), INTS(1), INTS(1), NONE, false, false),
      .values = { LIST(1, 10, 100), LIST(1, 0, 2) }, .expected = LIST(11, 0, 0),
      .source = "two windows meet at place 0; the third points into the padding" },
    { .label = "free", TWO(F(1, 2, 3), U8(1, 2, 3)),
      GRAD_FREE(INTS(3), INTS(2), INTS(1), NONE, false, false),
      .range = EBB_RANGES({ 0, 0, 0, 0 }, { 0, 3, 0, 0 }) },
    { .label = "many taps", TWO(F(1, 1, 2), EBB_SAMPLE_TYPE(I32, 1, 1, 2)),
      GRAD((307), INTS(300), INTS(7), NONE, NONE, false, false),
      .range = EBB_RANGES({ 0, 0, 0, 0 }, { 0, 300, 0, 0 }) },
    GRAD_SAMPLES(MAX_GRAD_SAMPLE), GRAD_ERRORS(IN_MAX_GRAD),
    { TWO(F(1, 1, 4), EBB_SAMPLE_TYPE(I64, 1, 1, 4)),
      GRAD_FREE(INTS(2), NONE, NONE, NONE, false, false),
      REFUSE(EBB_BAD_DTYPE, "where is i64, not u8 for a window of 2 taps") },
    { TWO(F(1, 1, 4), U8(1, 1, 3)), GRAD_FREE(INTS(2), NONE, NONE, NONE, false, false),
      REFUSE(EBB_BAD_SHAPE, "where is [1,1,3], not [1,1,4]") },
};

#define AVG_SAMPLE(x, y, ...) { ONE(F x), ATTRS(__VA_ARGS__) }
static const ebb_sample samples_avg_pool[] = {
    { .label = "book", ONE(F(1, 1, 4, 4)), ATTRS(INTS(2), NONE, NONE, NONE, false, false),
      .values = { LIST(BOOK) }, .expected = LIST(1, 1.5, 2.25, 1), .source = "Saitoh 2016, 7.3" },
    { .label = "padding", ONE(F(1, 1, 3)), ATTRS(INTS(2), NONE, INTS(1), NONE, false, false),
      .values = { LIST(1, 2, 4) }, .expected = LIST(1, 3), .source = "by the definition" },
    { .label = "padding counts", ONE(F(1, 1, 3)), ATTRS(INTS(2), NONE, INTS(1), NONE, false, true),
      .values = { LIST(1, 2, 4) }, .expected = LIST(0.5, 3), .source = "by the definition" },
    { .label = "ceil", ONE(F(1, 1, 4)), ATTRS(INTS(3), INTS(2), INTS(0, 0), NONE, true, true),
      .values = { LIST(1, 2, 3, 6) }, .expected = LIST(2, 4.5),
      .source = "the second window has two elements; what ceil_mode adds does not count" },
    { .label = "only padding", ONE(F(1, 1, 1)),
      ATTRS(INTS(2), INTS(1), INTS(1), INTS(2), false, false),
      .values = { LIST(7) }, .expected = LIST(0), .source = "by the definition" },
    SLIDE_SAMPLES(AVG_SAMPLE), SLIDE_ERRORS(IN_ONE),
};

#define AVG_GRAD_SAMPLE(y, sizes, ...) { ONE(F y), GRAD(sizes, __VA_ARGS__) }
static const ebb_sample samples_avg_pool_grad[] = {
    { .label = "even", ONE(F(1, 1, 1, 2)), GRAD_FREE(INTS(2), NONE, NONE, NONE, false, false),
      .values = { LIST(4, 8) }, .expected = LIST(1, 1, 2, 2, 1, 1, 2, 2),
      .source = "each of four elements gets a quarter" },
    { .label = "padding", ONE(F(1, 1, 2)), GRAD((3), INTS(2), NONE, INTS(1), NONE, false, false),
      .values = { LIST(4, 8) }, .expected = LIST(4, 4, 4), .source = "by the definition" },
    { .label = "padding counts", ONE(F(1, 1, 2)),
      GRAD((3), INTS(2), NONE, INTS(1), NONE, false, true),
      .values = { LIST(4, 8) }, .expected = LIST(2, 4, 4), .source = "by the definition" },
    GRAD_SAMPLES(AVG_GRAD_SAMPLE), GRAD_ERRORS(IN_ONE),
};
/* clang-format on */

#endif
