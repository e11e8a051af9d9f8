/* resize2d: nearest and bilinear resampling of [batch, channels, height, width], and its adjoint.
 * Both are linear, so each is the gradient of the other and any order works.
 *
 * As ONNX Resize defines it (version 19), with sizes given: result i of n_out looks at x of n_in at
 * the place (coordinate_transformation_mode)
 *
 *   half_pixel     (i + 1/2) n_in / n_out - 1/2        (PyTorch: align_corners=False)
 *   align_corners  i (n_in - 1) / (n_out - 1); 0 if n_out is 1
 *   asymmetric     i n_in / n_out
 *
 * as fractions, without rounding. Bilinear weighs the two neighbours of that place, nearest takes
 * one of them; neighbours outside are those at the edge. */
#define EBB_NO_LOCATIONS
#include "ops/resize.h"
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/rows.h"
#include <string.h>

enum { MAX_SIZE = 1 << 30 }; /* of height and width: products stay in range */

ebb_resize_tap ebb_resize_tap_of(const ebb_resize_attrs *attrs, int64_t n_in, int64_t n_out,
                                 int64_t i)
{
    /* the place is over / under */
    int64_t over = i * n_in, under = n_out;
    if (attrs->coordinates == EBB_RESIZE_HALF_PIXEL) {
        over = (2 * i + 1) * n_in - n_out;
        under = 2 * n_out;
    } else if (attrs->coordinates == EBB_RESIZE_ALIGN_CORNERS) {
        over = n_out > 1 ? i * (n_in - 1) : 0;
        under = n_out > 1 ? n_out - 1 : 1;
    }
    int64_t low = over / under, rest = over % under;
    if (rest < 0) {
        low--;
        rest += under;
    }
    double weight = (double)rest / (double)under;
    if (attrs->mode == EBB_RESIZE_NEAREST) {
        const int rounding = attrs->rounding;
        const bool up = rounding == EBB_RESIZE_CEIL          ? rest > 0
                        : rounding == EBB_RESIZE_FLOOR       ? false
                        : rounding == EBB_RESIZE_PREFER_CEIL ? 2 * rest >= under
                                                             : 2 * rest > under;
        weight = up ? 1 : 0;
    }
    int64_t high = low + 1;
    low = low < 0 ? 0 : low >= n_in ? n_in - 1 : low;
    high = high < 0 ? 0 : high >= n_in ? n_in - 1 : high;
    return (ebb_resize_tap){ low, high, weight };
}

bool ebb_resize_is_adjoint(const ebb_op *op)
{
    return op == &ebb_op_resize2d_adjoint;
}

static ebb_status infer_resize(const ebb_infer *infer)
{
    const ebb_resize_attrs *attrs = infer->attrs;
    const ebb_type *x = infer->inputs[0];
    const int64_t *dims = x->shape.dims, sizes[2] = { attrs->height, attrs->width };
    char text[EBB_TYPE_TEXT_BYTES];
    ebb_status status = ebb_infer_float(infer, 0);
    if (status)
        return status;
    if (x->shape.rank != 4)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "%s is not [batch,channels,height,width]",
                              ebb_shape_text(&x->shape, text));
    if ((unsigned)attrs->mode > EBB_RESIZE_BILINEAR ||
        (unsigned)attrs->coordinates > EBB_RESIZE_ASYMMETRIC ||
        (unsigned)attrs->rounding > EBB_RESIZE_CEIL)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE,
                              "there is no mode %d, coordinates %d, "
                              "rounding %d",
                              attrs->mode, attrs->coordinates, attrs->rounding);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "width" : "height";
        if (sizes[i] < 0 || sizes[i] > MAX_SIZE || dims[2 + i] > MAX_SIZE)
            return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "%s %lld of %s is not in 0..2^30", name,
                                  (long long)sizes[i], ebb_shape_text(&x->shape, text));
        const bool is_adjoint = ebb_resize_is_adjoint(infer->op);
        if ((is_adjoint ? sizes[i] : dims[2 + i]) == 0 && (is_adjoint ? dims[2 + i] : sizes[i]) > 0)
            return ebb_infer_fail(infer, EBB_BAD_SHAPE, "a %s of 0 cannot be made %lld", name,
                                  (long long)(is_adjoint ? dims[2 + i] : sizes[i]));
    }
    const ebb_shape result = EBB_SHAPE(dims[0], dims[1], sizes[0], sizes[1]);
    status = ebb_infer_shape(infer, &result);
    infer->results[0] = (ebb_type){ x->dtype, result };
    return status;
}

/* ---- reference kernel ---- */

/* Calls for every result element of a plane of the forward op and its (up to) four places. */
static ebb_status eval_resize(const ebb_eval *eval)
{
    const ebb_resize_attrs *attrs = eval->attrs;
    const bool is_adjoint = ebb_resize_is_adjoint(eval->op);
    const ebb_tensor *in = &eval->inputs[0], *out = &eval->results[0];
    const ebb_dtype dtype = in->type.dtype;
    /* small: x of the forward op; large: its result */
    const int64_t *small = (is_adjoint ? out : in)->type.shape.dims;
    const int64_t *large = (is_adjoint ? in : out)->type.shape.dims;
    if (is_adjoint)
        memset(out->data, 0, ebb_tensor_bytes(out));
    for (int64_t p = 0; p < large[0] * large[1]; p++) {
        for (int64_t i = 0; i < large[2]; i++) {
            const ebb_resize_tap v = ebb_resize_tap_of(attrs, small[2], large[2], i);
            for (int64_t j = 0; j < large[3]; j++) {
                const ebb_resize_tap h = ebb_resize_tap_of(attrs, small[3], large[3], j);
                const int64_t at = (p * large[2] + i) * large[3] + j;
                const int64_t rows[2] = { v.low, v.high }, columns[2] = { h.low, h.high };
                double sum = 0;
                for (int k = 0; k < 4; k++) {
                    const double weight =
                        (k / 2 ? v.weight : 1 - v.weight) * (k % 2 ? h.weight : 1 - h.weight);
                    const int64_t place = (p * small[2] + rows[k / 2]) * small[3] + columns[k % 2];
                    if (weight == 0)
                        continue;
                    if (is_adjoint)
                        ebb_float_put(dtype, out->data, place,
                                      ebb_float_at(dtype, out->data, place) +
                                          weight * ebb_float_at(dtype, in->data, at));
                    else
                        sum += weight * ebb_float_at(dtype, in->data, place);
                }
                if (!is_adjoint)
                    ebb_float_put(dtype, out->data, at, sum);
            }
        }
    }
    return EBB_OK;
}

/* ---- as nodes ---- */

static void vjp_resize(const ebb_vjp *v)
{
    ebb_resize_attrs attrs = *(const ebb_resize_attrs *)v->attrs;
    const int64_t *dims = ebb_node_type(v->inputs[0])->shape.dims;
    attrs.height = dims[2];
    attrs.width = dims[3];
    if (v->needed[0])
        v->gradients[0] = ebb_emit(
            NULL, ebb_resize_is_adjoint(v->op) ? &ebb_op_resize2d : &ebb_op_resize2d_adjoint,
            v->cotangents, 1, &attrs, NULL);
}

ebb_node(ebb_resize2d)(ebb_node x, ebb_resize_attrs attrs)
{
    return ebb_emit(NULL, &ebb_op_resize2d, &x, 1, &attrs, NULL);
}

/* ---- samples ---- */

static const char *const mode_names[] = { "nearest", "bilinear", NULL };
static const char *const coordinate_names[] = { "half_pixel", "align_corners", "asymmetric", NULL };
static const char *const rounding_names[] = { "round_prefer_floor", "round_prefer_ceil", "floor",
                                              "ceil", NULL };
static const ebb_attr_field resize_fields[] = {
    EBB_FIELD(ebb_resize_attrs, height, I64, "of the result"),
    EBB_FIELD(ebb_resize_attrs, width, I64, "of the result"),
    { "mode", EBB_ATTR_ENUM, offsetof(ebb_resize_attrs, mode), "default nearest", mode_names },
    { "coordinates", EBB_ATTR_ENUM, offsetof(ebb_resize_attrs, coordinates),
      "where a result lies in x; default half_pixel", coordinate_names },
    { "rounding", EBB_ATTR_ENUM, offsetof(ebb_resize_attrs, rounding),
      "of nearest; default round_prefer_floor", rounding_names },
    { 0 },
};

/* clang-format off */
#define TYPE EBB_SAMPLE_TYPE
#define IN(...) .inputs = EBB_INPUTS(TYPE(F64, __VA_ARGS__))
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define NEAREST(height, width, coordinates, rounding)                                              \
    .attrs = &(const ebb_resize_attrs){ height, width, EBB_RESIZE_NEAREST,                         \
                                        EBB_RESIZE_##coordinates, EBB_RESIZE_##rounding }
#define BILINEAR(height, width, coordinates)                                                       \
    .attrs = &(const ebb_resize_attrs){ height, width, EBB_RESIZE_BILINEAR,                        \
                                        EBB_RESIZE_##coordinates, 0 }
#define ONNX "ONNX operator Resize, example "
#define COMMON_SAMPLES                                                                             \
    { IN(1, 1, 1, 1), NEAREST(1, 1, HALF_PIXEL, PREFER_FLOOR) },                                   \
    { IN(2, 3, 5, 7), NEAREST(10, 14, ASYMMETRIC, FLOOR) },                                        \
    { IN(1, 3, 7, 5), NEAREST(3, 9, ALIGN_CORNERS, PREFER_CEIL) },                                 \
    { IN(1, 17, 3, 2), NEAREST(5, 5, HALF_PIXEL, CEIL) },                                          \
    { IN(2, 1, 7, 7), BILINEAR(14, 14, HALF_PIXEL) },                                              \
    { IN(1, 3, 5, 7), BILINEAR(3, 2, HALF_PIXEL) },                                                \
    { IN(2, 3, 4, 5), BILINEAR(7, 9, ALIGN_CORNERS) },                                             \
    { IN(1, 2, 5, 3), BILINEAR(1, 1, ALIGN_CORNERS) },                                             \
    { IN(1, 17, 3, 3), BILINEAR(4, 5, ASYMMETRIC) },                                               \
    { IN(2, 3, 1, 1), BILINEAR(3, 5, HALF_PIXEL) },                                                \
    { IN(0, 3, 2, 2), BILINEAR(3, 3, HALF_PIXEL) },                                                \
    { IN(2, 0, 2, 2), NEAREST(3, 3, HALF_PIXEL, FLOOR) },                                          \
    { IN(2, 3, 2), BILINEAR(2, 2, HALF_PIXEL), .error = EBB_BAD_SHAPE,                             \
      .message = "[2,3,2] is not [batch,channels,height,width]" },                                 \
    { IN(1, 1, 2, 2), BILINEAR(-1, 2, HALF_PIXEL), .error = EBB_BAD_ATTRIBUTE,                     \
      .message = "height -1 of [1,1,2,2] is not in 0..2^30" },                                     \
    { IN(1, 1, 2, 2), BILINEAR(2, 1 << 30 | 1, HALF_PIXEL), .error = EBB_BAD_ATTRIBUTE,            \
      .message = "width 1073741825 of [1,1,2,2] is not in 0..2^30" },                              \
    { IN(1, 1, 2, 2), .attrs = &(const ebb_resize_attrs){ 2, 2, 7, 0, 0 },                         \
      .error = EBB_BAD_ATTRIBUTE, .message = "there is no mode 7" },                               \
    { IN(1, 1, 2, 2), .attrs = &(const ebb_resize_attrs){ 2, 2, 0, -1, 9 },                        \
      .error = EBB_BAD_ATTRIBUTE, .message = "coordinates -1, rounding 9" },                       \
    { .inputs = EBB_INPUTS(TYPE(U8, 1, 1, 2, 2)), BILINEAR(2, 2, HALF_PIXEL),                      \
      .error = EBB_BAD_DTYPE,                                                                      \
      .message = "dtype u8 is not one of f64, f32" }

static const ebb_sample samples_resize2d[] = {
    COMMON_SAMPLES,
    { IN(2, 3, 4, 5), BILINEAR(0, 3, HALF_PIXEL) },
    { IN(1, 1, 2, 2), BILINEAR(4, 4, HALF_PIXEL), .values = { LIST(1, 2, 3, 4) },
      .expected = LIST(1, 1.25, 1.75, 2, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5,
                       3, 3.25, 3.75, 4),
      .source = ONNX "resize_upsample_scales_linear" },
    { IN(1, 1, 2, 2), BILINEAR(4, 4, ALIGN_CORNERS), .values = { LIST(0, 3, 6, 9) },
      .expected = LIST(0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7, 8, 9),
      .source = ONNX "resize_upsample_scales_linear_align_corners, times 3 less 3" },
    { IN(1, 1, 2, 2), NEAREST(7, 8, HALF_PIXEL, PREFER_FLOOR), .values = { LIST(1, 2, 3, 4) },
      .expected = LIST(1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 1, 2, 2, 2, 2,
                       1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 3, 3, 3, 3, 4, 4, 4, 4,
                       3, 3, 3, 3, 4, 4, 4, 4),
      .source = ONNX "resize_upsample_sizes_nearest" },
    { IN(1, 1, 2, 4), NEAREST(1, 3, HALF_PIXEL, PREFER_FLOOR),
      .values = { LIST(1, 2, 3, 4, 5, 6, 7, 8) },
      .expected = LIST(1, 2, 4), .source = ONNX "resize_downsample_sizes_nearest" },
    { IN(1, 1, 1, 4), NEAREST(1, 6, ASYMMETRIC, FLOOR), .values = { LIST(1, 2, 3, 4) },
      .expected = LIST(1, 1, 2, 3, 3, 4), .source = "floor(i 2/3), PyTorch's nearest, by hand" },
    { IN(1, 1, 1, 4), NEAREST(1, 6, ASYMMETRIC, CEIL), .values = { LIST(1, 2, 3, 4) },
      .expected = LIST(1, 2, 3, 3, 4, 4), .source = "ceil(i 2/3), at most 3, by hand" },
    { IN(1, 1, 1, 2), NEAREST(1, 3, HALF_PIXEL, PREFER_FLOOR), .values = { LIST(1, 2) },
      .expected = LIST(1, 1, 2), .source = "-1/6, 1/2, 7/6, by hand" },
    { IN(1, 1, 1, 2), NEAREST(1, 3, HALF_PIXEL, PREFER_CEIL), .values = { LIST(1, 2) },
      .expected = LIST(1, 2, 2), .source = "-1/6, 1/2, 7/6, by hand" },
    { IN(1, 1, 0, 2), BILINEAR(2, 2, HALF_PIXEL), .error = EBB_BAD_SHAPE,
      .message = "a height of 0 cannot be made 2" },
};
static const ebb_sample samples_resize2d_adjoint[] = {
    COMMON_SAMPLES,
    { IN(1, 2, 0, 3), BILINEAR(2, 2, HALF_PIXEL) },
    { IN(1, 1, 1, 6), NEAREST(1, 4, ASYMMETRIC, FLOOR), .values = { LIST(1, 2, 3, 4, 5, 6) },
      .expected = LIST(3, 3, 9, 6), .source = "floor(i 2/3) is 0, 0, 1, 2, 2, 3, by hand" },
    { IN(1, 1, 1, 4), BILINEAR(1, 2, HALF_PIXEL), .values = { LIST(4, 8, 12, 16) },
      .expected = LIST(13, 27), .source = "weights 1 0, 3/4 1/4, 1/4 3/4, 0 1, by hand" },
    { IN(1, 1, 1, 2), BILINEAR(1, 0, HALF_PIXEL), .error = EBB_BAD_SHAPE,
      .message = "a width of 0 cannot be made 2" },
};
/* clang-format on */

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])
#define RESIZE(name_, text)                                                                        \
    const ebb_op ebb_op_##name_ = {                                                                \
        .name = #name_,                                                                            \
        .summary = text,                                                                           \
        .group = "library",                                                                        \
        .n_inputs = 1,                                                                             \
        .n_results = 1,                                                                            \
        .attrs_bytes = sizeof(ebb_resize_attrs),                                                   \
        .attrs = resize_fields,                                                                    \
        .infer = infer_resize,                                                                     \
        .vjp = vjp_resize,                                                                         \
        .eval = eval_resize,                                                                       \
        .samples = samples_##name_,                                                                \
        .n_samples = COUNT(samples_##name_),                                                       \
    };

/* clang-format off */
RESIZE(resize2d, "height and width resampled, nearest or bilinear, as ONNX Resize")
RESIZE(resize2d_adjoint, "the gradient of resize2d: a cotangent brought back to height and width")
/* clang-format on */
