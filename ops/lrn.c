/* Local response normalization across channels (Krizhevsky, Sutskever & Hinton 2012, section 3.3),
 * and its gradient as an op of its own. With W(c) the `size` channels around c, those that exist:
 *
 *   s_c = k + a sum_{j in W(c)} x_j^2,  y_c = x_c s_c^-beta
 *   dx_c = dy_c s_c^-beta - 2 a beta x_c sum_{j in W(c)} dy_j x_j s_j^(-beta-1)
 *
 * a is alpha, as in the paper, or alpha / size with `divide`. As `size` is odd, j in W(c) and c in
 * W(j) are the same. */
#define EBB_NO_LOCATIONS
#include "ops/batch_norm.h"
#include "ops/descriptors.h"
#include "ops/rows.h"

static ebb_status infer_lrn(const ebb_infer *infer)
{
    const ebb_lrn_attrs *attrs = infer->attrs;
    ebb_status status = ebb_infer_channels(infer, 0);
    if (!status && infer->n_inputs > 1)
        status = ebb_infer_like_x(infer, 1, "dy");
    if (status)
        return status;
    if (attrs->size < 1 || attrs->size % 2 == 0)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "size %lld is not positive and odd",
                              (long long)attrs->size);
    if (!(attrs->alpha >= 0 && isfinite(attrs->alpha)))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "alpha %g is negative or not finite",
                              attrs->alpha);
    if (!isfinite(attrs->beta))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "beta %g is not finite", attrs->beta);
    if (!(attrs->k > 0 && isfinite(attrs->k)))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "k %g is not positive and finite",
                              attrs->k);
    infer->results[0] = *infer->inputs[0];
    return EBB_OK;
}

static double factor_of(const ebb_lrn_attrs *attrs)
{
    return attrs->divide ? attrs->alpha / (double)attrs->size : attrs->alpha;
}

/* ---- reference kernel ---- */

/* The channels of one pixel. */
typedef struct pixel {
    const ebb_eval *eval;
    int64_t start, stride, n_channels;
} pixel;

static double value_at(const pixel *p, int input, int64_t c)
{
    const ebb_tensor *in = &p->eval->inputs[input];
    return ebb_float_at(in->type.dtype, in->data, p->start + c * p->stride);
}

/* The channels of W(c). */
static void window_of(const pixel *p, int64_t c, int64_t *begin, int64_t *end)
{
    const int64_t half = ((const ebb_lrn_attrs *)p->eval->attrs)->size / 2;
    *begin = c > half ? c - half : 0;
    *end = half < p->n_channels - c ? c + half + 1 : p->n_channels;
}

static double scale_at(const pixel *p, int64_t c)
{
    const ebb_lrn_attrs *attrs = p->eval->attrs;
    int64_t begin, end;
    double sum = 0;
    window_of(p, c, &begin, &end);
    for (int64_t j = begin; j < end; j++)
        sum += value_at(p, 0, j) * value_at(p, 0, j);
    return attrs->k + factor_of(attrs) * sum;
}

static double gradient_at(const pixel *p, int64_t c)
{
    const ebb_lrn_attrs *attrs = p->eval->attrs;
    int64_t begin, end;
    double sum = 0;
    window_of(p, c, &begin, &end);
    for (int64_t j = begin; j < end; j++)
        sum += value_at(p, 1, j) * value_at(p, 0, j) * pow(scale_at(p, j), -attrs->beta - 1);
    return value_at(p, 1, c) * pow(scale_at(p, c), -attrs->beta) -
           2 * factor_of(attrs) * attrs->beta * value_at(p, 0, c) * sum;
}

static ebb_status eval_lrn(const ebb_eval *eval)
{
    const ebb_lrn_attrs *attrs = eval->attrs;
    const ebb_channels k = ebb_channels_of(&eval->inputs[0].type.shape);
    for (int64_t i = 0; i < k.n_batch * k.n_spatial; i++) {
        const pixel p = { eval, i / k.n_spatial * k.n_channels * k.n_spatial + i % k.n_spatial,
                          k.n_spatial, k.n_channels };
        for (int64_t c = 0; c < k.n_channels; c++) {
            const double value = eval->n_inputs > 1
                                     ? gradient_at(&p, c)
                                     : value_at(&p, 0, c) * pow(scale_at(&p, c), -attrs->beta);
            ebb_float_put(eval->results[0].type.dtype, eval->results[0].data,
                          p.start + c * p.stride, value);
        }
    }
    return EBB_OK;
}

/* ---- as nodes ---- */

/* Sums over W(c): a product with the matrix that has 1 where |row - column| <= size / 2. */
static ebb_node emit_window_sum(ebb_node x, int64_t size)
{
    const ebb_type *type = ebb_node_type(x);
    const ebb_channels k = ebb_channels_of(&type->shape);
    const ebb_shape square = EBB_SHAPE(k.n_channels, k.n_channels);
    const ebb_node distance = ebb_abs(
        ebb_sub(ebb_iota(x.graph, EBB_I64, square, 0), ebb_iota(x.graph, EBB_I64, square, 1)));
    const ebb_node band = ebb_cast(
        ebb_less_equal(distance, ebb_full_like(distance, (double)(size / 2))), type->dtype);
    const ebb_node columns = ebb_reshape(x, EBB_SHAPE(k.n_batch, k.n_channels, k.n_spatial));
    return ebb_reshape(ebb_matmul(band, columns), type->shape);
}

static ebb_node emit_scale(ebb_node x, const ebb_lrn_attrs *attrs)
{
    const ebb_node sum = emit_window_sum(ebb_square(x), attrs->size);
    return ebb_add(ebb_mul(sum, ebb_full_like(sum, factor_of(attrs))),
                   ebb_full_like(sum, attrs->k));
}

static void decompose_lrn(const ebb_decompose *d)
{
    const ebb_lrn_attrs *attrs = d->attrs;
    const ebb_node s = emit_scale(d->inputs[0], attrs);
    d->results[0] = ebb_mul(d->inputs[0], ebb_pow(s, ebb_full_like(s, -attrs->beta)));
}

static void decompose_gradient(const ebb_decompose *d)
{
    const ebb_lrn_attrs *attrs = d->attrs;
    const ebb_node x = d->inputs[0], dy = d->inputs[1], s = emit_scale(x, attrs);
    const ebb_node power = ebb_pow(s, ebb_full_like(s, -attrs->beta));
    const ebb_node sum = emit_window_sum(ebb_div(ebb_mul(ebb_mul(dy, x), power), s), attrs->size);
    const ebb_node factor = ebb_full_like(x, 2 * factor_of(attrs) * attrs->beta);
    d->results[0] = ebb_sub(ebb_mul(dy, power), ebb_mul(ebb_mul(factor, x), sum));
}

static void vjp_lrn(const ebb_vjp *v)
{
    const ebb_node inputs[2] = { v->inputs[0], v->cotangents[0] };
    if (v->needed[0])
        v->gradients[0] = ebb_emit(NULL, &ebb_op_lrn_grad, inputs, 2, v->attrs, NULL);
}

ebb_node(ebb_lrn)(ebb_node x, ebb_lrn_attrs attrs)
{
    return ebb_emit(NULL, &ebb_op_lrn, &x, 1, &attrs, NULL);
}

static const ebb_attr_field lrn_fields[] = {
    EBB_FIELD(ebb_lrn_attrs, size, I64, "number of channels that count, with c in the middle; odd"),
    EBB_FIELD(ebb_lrn_attrs, alpha, F64, "factor of the sum of squares"),
    EBB_FIELD(ebb_lrn_attrs, beta, F64, "exponent"),
    EBB_FIELD(ebb_lrn_attrs, k, F64, "added to the sum of squares, > 0"),
    EBB_FIELD(ebb_lrn_attrs, divide, BOOL,
              "alpha is divided by size (PyTorch, ONNX, oneDNN); default: as in the paper"),
    { 0 },
};

/* clang-format off */
#define TYPE EBB_SAMPLE_TYPE
#define F(...) TYPE(F64, __VA_ARGS__)
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define ATTRS(...) .attrs = &(const ebb_lrn_attrs){ __VA_ARGS__ }
#define COMMON_SAMPLES(X)                                                                          \
    { X(F(2, 3)), ATTRS(3, 0.5, 0.75, 1, false) },                                                 \
    { X(F(1, 1)), ATTRS(5, 0.5, 0.75, 2, false) },                                                 \
    { X(F(1, 17, 2)), ATTRS(5, 0.3, 0.75, 2, false) },                                             \
    { X(F(2, 5, 3, 3)), ATTRS(5, 1e-4, 0.75, 2, false) },                                          \
    { X(F(2, 5, 1, 7)), ATTRS(5, 1, 0.5, 1, true) },                                               \
    { X(F(2, 3, 2, 1, 2)), ATTRS(1, 0.5, 1, 0.5, false) },                                         \
    { X(F(1, 3, 5)), ATTRS(7, 0.5, 2, 1, true) }, { X(F(3, 4)), ATTRS(3, 0.5, 0, 1, false) },      \
    { X(F(3, 4)), ATTRS(3, 0.25, -0.5, 1, false) }, { X(F(2, 7)), ATTRS(3, 0, 0.75, 3, false) },   \
    { X(F(1, 33, 3)), ATTRS(9, 0.2, 0.6, 1, true) },                                               \
    { X(F(0, 3, 2)), ATTRS(3, 0.5, 0.75, 1, false) },                                              \
    { X(F(2, 0, 2)), ATTRS(3, 0.5, 0.75, 1, false) },                                              \
    { X(F(2, 3, 0)), ATTRS(3, 0.5, 0.75, 1, false) },                                              \
    { X(F(3)), ATTRS(3, 1, 1, 1, false), .error = EBB_BAD_SHAPE,                                   \
      .message = "[3] is not [batch,channels,...]" },                                              \
    { X(F(2, 3)), ATTRS(4, 1, 1, 1, false), .error = EBB_BAD_ATTRIBUTE,                            \
      .message = "size 4 is not positive and odd" },                                               \
    { X(F(2, 3)), ATTRS(-1, 1, 1, 1, false), .error = EBB_BAD_ATTRIBUTE,                           \
      .message = "size -1 is not positive and odd" },                                              \
    { X(F(2, 3)), ATTRS(3, -1, 1, 1, false), .error = EBB_BAD_ATTRIBUTE,                           \
      .message = "alpha -1 is negative or not finite" },                                           \
    { X(F(2, 3)), ATTRS(3, 1, NAN, 1, false), .error = EBB_BAD_ATTRIBUTE,                          \
      .message = "is not finite" },                                                                \
    { X(F(2, 3)), ATTRS(3, 1, 1, 0, false), .error = EBB_BAD_ATTRIBUTE,                            \
      .message = "k 0 is not positive and finite" },                                               \
    { X(TYPE(I32, 2, 3)), ATTRS(3, 1, 1, 1, false), .error = EBB_BAD_DTYPE,                        \
      .message = "dtype i32 is not one of f64, f32" }
#define X_FORWARD(x) .inputs = EBB_INPUTS(x)
#define X_GRADIENT(x) .inputs = EBB_INPUTS(x, x)
static const ebb_sample samples_lrn[] = {
    COMMON_SAMPLES(X_FORWARD),
    { .inputs = EBB_INPUTS(F(1, 3)), ATTRS(3, 1, 1, 1, false), .values = { LIST(1, 2, 3) },
      .expected = LIST(0.16666666666666666, 0.13333333333333333, 0.21428571428571427),
      .source = "1/6, 2/15, 3/14, by hand" },
    { .inputs = EBB_INPUTS(F(1, 3)), ATTRS(3, 3, 1, 1, true), .values = { LIST(1, 2, 3) },
      .expected = LIST(0.16666666666666666, 0.13333333333333333, 0.21428571428571427),
      .source = "alpha / size is 1: 1/6, 2/15, 3/14, by hand" },
    /* 2 + 1e-4 (1 + 4 + 9) 10^4 = 16 */
    { .inputs = EBB_INPUTS(F(1, 3, 1, 1)), ATTRS(5, 1e-4, 0.75, 2, false),
      .values = { LIST(100, -200, 300) }, .expected = LIST(12.5, -25, 37.5), .no_gradient = true,
      .source = "Krizhevsky et al. 2012, section 3.3, constants of the paper: 16^-0.75 = 1/8" },
    { .inputs = EBB_INPUTS(F(1, 7)), ATTRS(5, 1e-4, 0.75, 2, false),
      .values = { LIST(1, 2, 3, 4, 5, 6, 7) },
      .expected = LIST(0.59429158171327123, 1.1878710105259485, 1.7801403935901126,
                       2.3704185590437765, 2.9580552327751808, 3.5508567249383267,
                       4.1451379370151527),
      .tolerance = 1e-14, .source = "the paper's formula in Python's floats" },
};
static const ebb_sample samples_lrn_grad[] = {
    COMMON_SAMPLES(X_GRADIENT),
    /* y = x / (1 + x^2), derivative (1 - x^2) / (1 + x^2)^2 */
    { .inputs = EBB_INPUTS(F(2, 1), F(2, 1)), ATTRS(3, 1, 1, 1, false),
      .values = { LIST(2, 1), LIST(1, 5) }, .expected = LIST(-0.12, 0), .source = "-3/25 and 0, by hand" },
    /* y_1 = x_1 / (1 + x_0^2 + x_1^2) at (1, 2): d/dx_0 = -2 x_0 x_1 / 36, d/dx_1 = (6 - 8) / 36 */
    { .inputs = EBB_INPUTS(F(1, 2), F(1, 2)), ATTRS(3, 1, 1, 1, false),
      .values = { LIST(1, 2), LIST(0, 9) }, .expected = LIST(-1, -0.5),
      .source = "9 (-4/36, -2/36), by hand" },
    { .inputs = EBB_INPUTS(F(2, 3), F(3, 2)), ATTRS(3, 1, 1, 1, false), .error = EBB_BAD_SHAPE,
      .message = "dy is [3,2], not [2,3] as x" },
};
/* clang-format on */

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])
#define LRN(name_, inputs_, text, ...)                                                             \
    const ebb_op ebb_op_##name_ = { .name = #name_,                                                \
                                    .summary = text,                                               \
                                    .group = "library",                                            \
                                    .n_inputs = inputs_,                                           \
                                    .n_results = 1,                                                \
                                    .traits = EBB_TRAIT_LIBRARY,                                   \
                                    .attrs_bytes = sizeof(ebb_lrn_attrs),                          \
                                    .attrs = lrn_fields,                                           \
                                    .infer = infer_lrn,                                            \
                                    .eval = eval_lrn,                                              \
                                    .samples = samples_##name_,                                    \
                                    .n_samples = COUNT(samples_##name_),                           \
                                    __VA_ARGS__ };

/* clang-format off */
LRN(lrn, 1, "x / (k + alpha sum x^2)^beta, the sum over neighbouring channels (dimension 1)",
    .vjp = vjp_lrn, .decompose = decompose_lrn)
LRN(lrn_grad, 2, "the gradient of lrn, out of x and the cotangent", .decompose = decompose_gradient)
/* clang-format on */
