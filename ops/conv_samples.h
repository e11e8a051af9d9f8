/* The samples of the convolutions: included by conv.c alone. */
#ifndef OPS_CONV_SAMPLES_H
#define OPS_CONV_SAMPLES_H

/* clang-format off */
#define F(...) EBB_SAMPLE_TYPE(F64, __VA_ARGS__)
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define INTS(...) { (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), { __VA_ARGS__ } }
#define NONE { 0, { 0 } }
#define TWO(a, b) .n_inputs = 2, .inputs = EBB_INPUTS(a, b)
#define BIAS(a, b, c) .n_inputs = 3, .inputs = EBB_INPUTS(a, b, c)
/* stride, padding, dilation, groups */
#define ATTRS(...) .attrs = &(const ebb_conv_attrs){ __VA_ARGS__ }
#define GRAD(sizes, ...) .attrs = &(const ebb_conv_grad_attrs){ { __VA_ARGS__ }, INTS sizes }
#define GRAD_FREE(...) .attrs = &(const ebb_conv_grad_attrs){ { __VA_ARGS__ }, NONE }
#define REFUSE(status, text) .error = status, .message = text

#define BOOK_X 1, 2, 3, 0, 0, 1, 2, 3, 3, 0, 1, 2, 2, 3, 0, 1
#define BOOK_W 2, 0, 1, 0, 1, 2, 1, 0, 2
#define BOOK_7                                                                                     \
    1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3,   \
    0,                                                                                             \
        1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1

static const ebb_sample samples_conv[] = {
    { .label = "book", TWO(F(1, 1, 4, 4), F(1, 1, 3, 3)), .values = { LIST(BOOK_X), LIST(BOOK_W) },
      .expected = LIST(15, 16, 6, 15), .source = "Saitoh 2016, 7.2.2" },
    { .label = "book bias", BIAS(F(1, 1, 4, 4), F(1, 1, 3, 3), F(1)),
      .values = { LIST(BOOK_X), LIST(BOOK_W), LIST(3) },
      .expected = LIST(18, 19, 9, 18), .source = "Saitoh 2016, 7.2.2" },
    { .label = "book padding", TWO(F(1, 1, 4, 4), F(1, 1, 3, 3)), ATTRS(NONE, INTS(1), NONE, 0),
      .values = { LIST(BOOK_X), LIST(BOOK_W) },
      .expected = LIST(7, 12, 10, 2, 4, 15, 16, 10, 10, 6, 15, 6, 8, 10, 4, 3),
      .source = "Saitoh 2016, 7.2.3" },
    { .label = "book stride", TWO(F(1, 1, 7, 7), F(1, 1, 3, 3)), ATTRS(INTS(2), NONE, NONE, 0),
      .values = { LIST(BOOK_7), LIST(BOOK_W) },
      .expected = LIST(15, 17, 15, 17, 15, 17, 15, 17, 15), .source = "Saitoh 2016, 7.2.4" },
    { .label = "vector", TWO(F(1, 1, 5), F(1, 1, 3)), .values = { LIST(1, 2, 3, 4, 5),
      LIST(1, 0, -1) },
      .expected = LIST(-2, -2, -2), .source = "differences of neighbors but one" },
    { .label = "begins and ends", TWO(F(1, 1, 3), F(1, 1, 2)), ATTRS(NONE, INTS(2, 0), NONE, 0),
      .values = { LIST(1, 2, 3), LIST(10, 1) },
      .expected = LIST(0, 1, 12, 23), .source = "by the definition" },
    { .label = "dilation", TWO(F(1, 1, 5), F(1, 1, 2)), ATTRS(NONE, NONE, INTS(3), 0),
      .values = { LIST(1, 2, 3, 4, 5), LIST(1, 10) },
      .expected = LIST(41, 52), .source = "by the definition" },
    { .label = "groups", TWO(F(1, 2, 2), F(2, 1, 1)), ATTRS(NONE, NONE, NONE, 2),
      .values = { LIST(1, 2, 3, 4), LIST(10, 100) },
      .expected = LIST(10, 20, 300, 400), .source = "by the definition" },
    { TWO(F(2, 3, 5, 4), F(4, 3, 3, 2)) },
    { BIAS(F(2, 3, 5, 4), F(4, 3, 3, 3), F(4)), ATTRS(NONE, INTS(1), NONE, 0) },
    { TWO(F(1, 2, 3, 3), F(3, 2, 1, 1)) }, { TWO(F(1, 1, 1, 1), F(1, 1, 1, 1)) },
    { TWO(F(1, 3, 9, 9), F(2, 3, 7, 7)), ATTRS(INTS(2), INTS(3), NONE, 0) },
    { TWO(F(2, 4, 5, 5), F(6, 2, 3, 3)), ATTRS(INTS(2, 1), INTS(1, 0), NONE, 2) },
    { BIAS(F(2, 3, 5, 6), F(3, 1, 3, 3), F(3)), ATTRS(INTS(1, 2), INTS(1), NONE, 3) },
    { TWO(F(2, 2, 4), F(6, 1, 3)), ATTRS(NONE, INTS(1), NONE, 2) },
    { TWO(F(1, 2, 7, 6), F(2, 2, 3, 2)), ATTRS(NONE, INTS(2, 1), INTS(2, 3), 0) },
    { TWO(F(1, 2, 5, 4), F(2, 2, 3, 3)), ATTRS(INTS(2), INTS(0, 1, 2, 0), NONE, 0) },
    { BIAS(F(2, 3, 7), F(2, 3, 3), F(2)), ATTRS(INTS(2), INTS(2, 1), INTS(2), 0) },
    { TWO(F(1, 2, 3, 4, 3), F(2, 2, 2, 2, 2)), ATTRS(INTS(1, 2, 1), INTS(1, 0, 0), NONE, 0) },
    { BIAS(F(1, 2, 3, 3, 3), F(2, 1, 1, 3, 2), F(2)),
      ATTRS(NONE, INTS(0, 1, 0, 0, 0, 1), INTS(1, 1, 2), 2) },
    { .label = "no batch", TWO(F(0, 2, 3, 3), F(2, 2, 2, 2)) },
    { .label = "no channels", BIAS(F(1, 0, 3, 3), F(2, 0, 2, 2), F(2)) },
    { .label = "only padding", TWO(F(1, 1, 0), F(1, 1, 2)), ATTRS(NONE, INTS(1), NONE, 0) },
    { TWO(F(1, 1, 3, 3), F(1, 1, 5, 3)),
      REFUSE(EBB_BAD_SHAPE, "a window of 5 taps spans 5 in spatial dimension 0, and [1,1,3,3] is 3") },
    { TWO(F(1, 1, 3, 3), F(1, 1, 3, 3)), ATTRS(NONE, INTS(0, 0, 0, 1), INTS(1, 2), 0),
      REFUSE(EBB_BAD_SHAPE, "spans 5 in spatial dimension 1, and [1,1,3,3] is 4 there with its padding") },
    { TWO(F(1, 1, 3, 3), F(1, 1, 2, 2)), ATTRS(INTS(1, 0), NONE, NONE, 0),
      REFUSE(EBB_BAD_ATTRIBUTE, "stride 0 of spatial dimension 1 is not in 1..2147483647") },
    { TWO(F(1, 1, 3, 3), F(1, 1, 2, 2)), ATTRS(NONE, NONE, INTS(0), 0),
      REFUSE(EBB_BAD_ATTRIBUTE, "dilation 0 of spatial dimension 0") },
    { TWO(F(1, 1, 3, 3), F(1, 1, 2, 2)), ATTRS(NONE, INTS(0, 0, -1, 0), NONE, 0),
      REFUSE(EBB_BAD_ATTRIBUTE, "padding -1 of spatial dimension 0 is not in 0..") },
    { TWO(F(1, 1, 3, 3), F(1, 1, 2, 2)), ATTRS(INTS(1, 1, 1), NONE, NONE, 0),
      REFUSE(EBB_BAD_ATTRIBUTE, "stride has 3 values for 2 spatial dimensions") },
    { TWO(F(1, 1, 3, 3), F(1, 1, 2, 2)), ATTRS(NONE, INTS(1, 1, 1), NONE, 0),
      REFUSE(EBB_BAD_ATTRIBUTE, "padding has 3 values for 2 spatial dimensions") },
    { TWO(F(1, 3, 3, 3), F(4, 2, 2, 2)),
      REFUSE(EBB_BAD_SHAPE, "x has 3 channels, and w takes 2 in each of 1 groups") },
    { TWO(F(1, 4, 3, 3), F(3, 2, 2, 2)), ATTRS(NONE, NONE, NONE, 2),
      REFUSE(EBB_BAD_SHAPE, "3 filters of w do not divide into 2 groups") },
    { TWO(F(1, 4, 3, 3), F(3, 2, 2, 2)), ATTRS(NONE, NONE, NONE, -2),
      REFUSE(EBB_BAD_ATTRIBUTE, "groups -2 is negative") },
    { TWO(F(1, 3, 3, 3), F(3, 3, 2)),
      REFUSE(EBB_BAD_SHAPE, "ranks differ: x [1,3,3,3], w [3,3,2]") },
    { TWO(F(3, 3), F(3, 3)),
      REFUSE(EBB_BAD_SHAPE, "x [3,3] has not 1, 2 or 3 spatial dimensions") },
    { TWO(F(1, 1, 3), F(1, 1, 0)),
      REFUSE(EBB_BAD_SHAPE, "w is [1,1,0]: no taps in spatial dimension 0") },
    { BIAS(F(1, 1, 3, 3), F(2, 1, 2, 2), F(1)), REFUSE(EBB_BAD_SHAPE, "bias is [1], not [2]") },
    { BIAS(F(1, 1, 3), F(2, 1, 2), EBB_SAMPLE_TYPE(F32, 2)),
      REFUSE(EBB_BAD_DTYPE, "bias is f32, x is f64") },
    { TWO(F(1, 1, 3), EBB_SAMPLE_TYPE(F32, 2, 1, 2)),
      REFUSE(EBB_BAD_DTYPE, "dtypes differ: f64, f32") },
    { TWO(EBB_SAMPLE_TYPE(I64, 1, 1, 3), EBB_SAMPLE_TYPE(I64, 2, 1, 2)),
      REFUSE(EBB_BAD_DTYPE, "dtype i64 is not one of f64, f32") },
    { .n_inputs = 1, .inputs = EBB_INPUTS(F(1, 1, 3)),
      REFUSE(EBB_BAD_ARGUMENT, "1 inputs; it takes x, w") },
    { TWO(F(2147483648, 1, 1, 1), F(1, 1, 1, 1)), ATTRS(NONE, INTS(2147483647), NONE, 0),
      REFUSE(EBB_BAD_SHAPE, "too many elements") },
};

/* dy, w */
static const ebb_sample samples_conv_input_grad[] = {
    { .label = "book", TWO(F(1, 1, 2, 2), F(1, 1, 3, 3)), .values = { LIST(1, 2, 3, 4),
      LIST(BOOK_W) },
      .expected = LIST(2, 4, 1, 2, 6, 9, 7, 8, 1, 5, 12, 12, 3, 4, 6, 8),
      .source = "each element of dy spreads w, by hand" },
    { .label = "side by side", TWO(F(1, 1, 2, 2), F(1, 1, 2, 2)), GRAD_FREE(INTS(2), NONE, NONE, 0),
      .values = { LIST(1, 2, 3, 4), LIST(1, 10, 100, 1000) },
      .expected = LIST(1, 10, 2, 20, 100, 1000, 200, 2000, 3, 30, 4, 40, 300, 3000, 400, 4000),
      .source = "Kronecker product: windows do not overlap" },
    { .label = "rest", TWO(F(1, 1, 2), F(1, 1, 2)), GRAD((7), INTS(3), NONE, NONE, 0),
      .values = { LIST(1, 2), LIST(1, 10) },
      .expected = LIST(1, 10, 0, 2, 20, 0, 0), .source = "by the definition" },
    { TWO(F(2, 4, 3, 3), F(4, 3, 3, 2)) },
    { TWO(F(2, 4, 5, 4), F(4, 3, 3, 3)), GRAD_FREE(NONE, INTS(1), NONE, 0) },
    { TWO(F(1, 3, 3, 3), F(3, 2, 1, 1)) }, { TWO(F(1, 1, 1, 1), F(1, 1, 1, 1)) },
    { TWO(F(1, 2, 5, 5), F(2, 3, 7, 7)), GRAD((9, 10), INTS(2), INTS(3), NONE, 0) },
    { TWO(F(2, 6, 3, 3), F(6, 2, 3, 3)), GRAD((6, 5), INTS(2, 1), INTS(1, 0), NONE, 2) },
    { TWO(F(2, 3, 4, 3), F(3, 1, 3, 3)), GRAD_FREE(INTS(1, 2), INTS(0, 1), NONE, 3) },
    { TWO(F(1, 2, 4), F(2, 2, 3)), GRAD_FREE(INTS(2), INTS(2, 1), INTS(2), 0) },
    { TWO(F(1, 2, 2, 3, 2), F(2, 2, 2, 2, 2)), GRAD_FREE(INTS(1, 2, 1), INTS(1, 0, 0), NONE, 0) },
    { .label = "no batch", TWO(F(0, 2, 3, 3), F(2, 2, 2, 2)) },
    { TWO(F(1, 2, 3, 3), F(3, 2, 2, 2)),
      REFUSE(EBB_BAD_SHAPE, "dy has 2 channels, and w has 3 filters") },
    { TWO(F(1, 3, 3, 3), F(3, 2, 2, 2)), GRAD_FREE(NONE, NONE, NONE, 2),
      REFUSE(EBB_BAD_SHAPE, "3 filters of w do not divide into 2 groups") },
    { TWO(F(1, 1, 2, 2), F(1, 1, 2, 2)), GRAD((4, 6), INTS(2), NONE, NONE, 0),
      REFUSE(EBB_BAD_SHAPE, "size [4,6] gives [2,3] places, dy is [1,1,2,2]") },
    { TWO(F(1, 1, 1, 1), F(1, 1, 2, 2)), GRAD_FREE(NONE, INTS(2), NONE, 0),
      REFUSE(EBB_BAD_SHAPE, "there is nothing left of spatial dimension 0 but padding") },
    { TWO(F(1, 1, 2, 2), F(1, 1, 2, 2)), GRAD((3, 3, 3), NONE, NONE, NONE, 0),
      REFUSE(EBB_BAD_ATTRIBUTE, "size has 3 values for 2 spatial dimensions") },
    { TWO(F(1, 1, 2, 2), F(1, 1, 2, 2)), GRAD_FREE(INTS(0), NONE, NONE, 0),
      REFUSE(EBB_BAD_ATTRIBUTE, "stride 0") },
    { TWO(F(1, 1, 2, 2), F(1, 1, 2)),
      REFUSE(EBB_BAD_SHAPE, "ranks differ: dy [1,1,2,2], w [1,1,2]") },
};

/* x, dy */
#define WEIGHT_SAMPLES                                                                             \
    { TWO(F(2, 3, 5, 4), F(2, 4, 3, 3)) },                                                         \
    { TWO(F(2, 3, 5, 4), F(2, 4, 5, 4)), GRAD((3, 3), NONE, INTS(1), NONE, 0) },                   \
    { TWO(F(1, 2, 3, 3), F(1, 3, 3, 3)) }, { TWO(F(1, 1, 1, 1), F(1, 1, 1, 1)) },                  \
    { TWO(F(1, 3, 9, 9), F(1, 2, 5, 5)), GRAD((7, 6), INTS(2), INTS(3), NONE, 0) },                \
    { TWO(F(2, 4, 6, 5), F(2, 6, 3, 5)), GRAD((3, 3), INTS(2, 1), INTS(1), NONE, 2) },             \
    { TWO(F(2, 3, 5, 6), F(2, 3, 5, 3)), GRAD((3, 3), INTS(1, 2), INTS(1), NONE, 3) },             \
    { TWO(F(2, 3, 7), F(2, 2, 3)), GRAD((3), INTS(2), INTS(2, 1), INTS(2), 0) },                   \
    { TWO(F(1, 2, 3, 4, 3), F(1, 2, 4, 2, 2)),                                                     \
      GRAD((2, 2, 2), INTS(1, 2, 1), INTS(1, 0, 0), NONE, 0) },                                    \
    { .label = "no batch", TWO(F(0, 2, 3, 3), F(0, 2, 2, 2)) },                                    \
    { TWO(F(1, 2, 3, 3), F(2, 3, 2, 2)),                                                           \
      REFUSE(EBB_BAD_SHAPE, "batches differ: 1 of x, 2 of dy") },                                  \
    { TWO(F(1, 3, 3, 3), F(1, 4, 2, 2)), GRAD_FREE(NONE, NONE, NONE, 2),                           \
      REFUSE(EBB_BAD_SHAPE, "3 channels of x do not divide into 2 groups") },                      \
    { TWO(F(1, 4, 3, 3), F(1, 3, 2, 2)), GRAD_FREE(NONE, NONE, NONE, 2),                           \
      REFUSE(EBB_BAD_SHAPE, "3 channels of dy do not divide into 2 groups") },                     \
    { TWO(F(1, 1, 4, 4), F(1, 1, 2, 2)), GRAD((3, 2), NONE, NONE, NONE, 0),                        \
      REFUSE(EBB_BAD_SHAPE, "size [3,2] gives [2,3] places, dy is [1,1,2,2]") },                   \
    { TWO(F(1, 1, 4, 4), F(1, 1, 2, 2)), GRAD((0), NONE, NONE, NONE, 0),                           \
      REFUSE(EBB_BAD_ATTRIBUTE, "size 0 of spatial dimension 0 is not in 1..") },                  \
    { TWO(F(1, 1, 4, 4), F(1, 1, 5, 5)), REFUSE(EBB_BAD_SHAPE, "gives [4,4] places, dy is") }
static const ebb_sample samples_conv_weight_grad[] = {
    { .label = "book", TWO(F(1, 1, 4, 4), F(1, 1, 2, 2)), .values = { LIST(BOOK_X),
      LIST(1, 2, 3, 4) },
      .expected = LIST(9, 19, 21, 11, 9, 19, 21, 11, 9), .source = "conv of x with dy, by hand" },
    { .label = "stride", TWO(F(1, 1, 5), F(1, 1, 2)), GRAD((2), INTS(2), NONE, NONE, 0),
      .values = { LIST(1, 2, 3, 4, 5), LIST(1, 10) },
      .expected = LIST(31, 42), .source = "by the definition" },
    WEIGHT_SAMPLES,
};
static const ebb_sample samples_conv_weight_bias_grad[] = {
    { .label = "book", TWO(F(1, 1, 4, 4), F(1, 1, 2, 2)), .values = { LIST(BOOK_X),
      LIST(1, 2, 3, 4) },
      .expected = LIST(9, 19, 21, 11, 9, 19, 21, 11, 9, 10), .source = "conv of x and dy, by hand" },
    WEIGHT_SAMPLES,
};
/* clang-format on */

#endif
