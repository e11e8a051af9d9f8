/* group_norm (Wu & He 2018, eq. 1-7): the channels of each example in groups, each group normalized
 * by its own mean and variance; then scale and shift of each channel. With one channel a group it
 * is instance normalization (Ulyanov et al. 2016), with one group layer normalization over all but
 * the batch. */
#define EBB_NO_LOCATIONS
#include "ops/batch_norm.h"
#include "ops/descriptors.h"
#include "ops/rows.h"

static ebb_status infer_group_norm(const ebb_infer *infer)
{
    const ebb_group_norm_attrs *attrs = infer->attrs;
    ebb_status status = ebb_infer_channels(infer, 0);
    if (!status)
        status = ebb_infer_epsilon(infer, attrs->epsilon);
    if (!status)
        status = ebb_infer_per_channel(infer, 1, "scale");
    if (!status)
        status = ebb_infer_per_channel(infer, 2, "shift");
    if (status)
        return status;
    const int64_t n_channels = infer->inputs[0]->shape.dims[1];
    if (attrs->groups < 1 || n_channels % attrs->groups != 0)
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "%lld channels are not in %lld groups",
                              (long long)n_channels, (long long)attrs->groups);
    infer->results[0] = *infer->inputs[0];
    return EBB_OK;
}

static ebb_status eval_group_norm(const ebb_eval *eval)
{
    const ebb_group_norm_attrs *attrs = eval->attrs;
    const ebb_dtype dtype = eval->inputs[0].type.dtype;
    const ebb_channels k = ebb_channels_of(&eval->inputs[0].type.shape);
    const int64_t each = k.n_channels / attrs->groups, n = each * k.n_spatial;
    for (int64_t g = 0; g < k.n_batch * attrs->groups && n > 0; g++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < n; i++)
            sum += ebb_float_at(dtype, eval->inputs[0].data, g * n + i);
        const double mean = sum / (double)n;
        for (int64_t i = 0; i < n; i++) {
            const double u = ebb_float_at(dtype, eval->inputs[0].data, g * n + i) - mean;
            squares += u * u;
        }
        const double r = 1 / sqrt(squares / (double)n + attrs->epsilon);
        for (int64_t i = 0; i < n; i++) {
            const int64_t c = g % attrs->groups * each + i / k.n_spatial;
            const double u = ebb_float_at(dtype, eval->inputs[0].data, g * n + i) - mean;
            ebb_float_put(dtype, eval->results[0].data, g * n + i,
                          u * r * ebb_float_at(dtype, eval->inputs[1].data, c) +
                              ebb_float_at(dtype, eval->inputs[2].data, c));
        }
    }
    return EBB_OK;
}

static void decompose_group_norm(const ebb_decompose *d)
{
    const ebb_group_norm_attrs *attrs = d->attrs;
    const ebb_node x = d->inputs[0];
    const ebb_shape shape = ebb_node_type(x)->shape;
    const ebb_channels k = ebb_channels_of(&shape);
    const ebb_node rows = ebb_reshape(
        x, EBB_SHAPE(k.n_batch * attrs->groups, k.n_channels / attrs->groups * k.n_spatial));
    const ebb_node n = ebb_layer_norm(rows, EBB_NONE, EBB_NONE, EBB_AXES(1), attrs->epsilon);
    d->results[0] = ebb_add(ebb_mul(ebb_reshape(n, shape), ebb_along_channels(d->inputs[1], x)),
                            ebb_along_channels(d->inputs[2], x));
}

ebb_node(ebb_group_norm)(ebb_node x, ebb_node scale, ebb_node shift, int64_t groups, double epsilon)
{
    const ebb_group_norm_attrs attrs = { groups, epsilon };
    const ebb_node inputs[3] = { x, ebb_channels_or_full(scale, x, 1),
                                 ebb_channels_or_full(shift, x, 0) };
    return ebb_emit(NULL, &ebb_op_group_norm, inputs, 3, &attrs, NULL);
}

ebb_node(ebb_instance_norm)(ebb_node x, ebb_node scale, ebb_node shift, double epsilon)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    const int64_t n_channels = shape->rank > 1 && shape->dims[1] > 0 ? shape->dims[1] : 1;
    return ebb_group_norm(x, scale, shift, n_channels, epsilon);
}

static const ebb_attr_field group_norm_fields[] = {
    EBB_FIELD(ebb_group_norm_attrs, groups, I64, "into how many groups the channels are split"),
    EBB_FIELD(ebb_group_norm_attrs, epsilon, F64, "added to the variance; default 0"),
    { 0 },
};

/* clang-format off */
#define TYPE EBB_SAMPLE_TYPE
#define F(...) TYPE(F64, __VA_ARGS__)
#define IN(x, scale) .inputs = EBB_INPUTS(x, scale, scale)
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define ATTRS(...) .attrs = &(const ebb_group_norm_attrs){ __VA_ARGS__ }
static const ebb_sample samples_group_norm[] = {
    { IN(F(2, 4), F(4)), ATTRS(2, 0.5) }, { IN(F(1, 1), F(1)), ATTRS(1, 0.5) },
    { IN(F(3, 6, 5), F(6)), ATTRS(3, 0.1) }, { IN(F(2, 17, 3), F(17)), ATTRS(17, 0.1) },
    { IN(F(2, 3, 3, 5), F(3)), ATTRS(1, 1e-2) }, { IN(F(1, 4, 7, 1), F(4)), ATTRS(4, 1e-2) },
    { IN(F(2, 4, 1, 2, 3), F(4)), ATTRS(2, 0.1) }, { IN(F(2, 17), F(17)), ATTRS(1, 0.1) },
    { IN(F(0, 4, 2), F(4)), ATTRS(2, 0.1) }, { IN(F(2, 0, 2), F(0)), ATTRS(2, 0.1) },
    { IN(F(2, 4, 0), F(4)), ATTRS(2, 0.1) },
    /* groups (1, 5) with mean 3, variance 4, and (2, 6, 4, 4) in halves: mean 4, variance 2 */
    { IN(F(1, 2, 2), F(2)), ATTRS(2, 5), .values = { LIST(1, 5, 7, 7), LIST(3, 2), LIST(1, 4) },
      .expected = LIST(-1, 3, 4, 4), .source = "Wu & He 2018, eq. 1 and 6, by hand" },
    { IN(F(1, 2, 2), F(2)), ATTRS(1, 2), .values = { LIST(2, 6, 4, 4), LIST(1, 3), LIST(0, 1) },
      .expected = LIST(-1, 1, 1, 1), .source = "Wu & He 2018, eq. 1 and 6, by hand" },
    { IN(F(2, 4), F(4)), ATTRS(3, 1), .error = EBB_BAD_ATTRIBUTE,
      .message = "4 channels are not in 3 groups" },
    { IN(F(2, 4), F(4)), ATTRS(0, 1), .error = EBB_BAD_ATTRIBUTE,
      .message = "4 channels are not in 0 groups" },
    { IN(F(4), F(4)), ATTRS(1, 1), .error = EBB_BAD_SHAPE,
      .message = "[4] is not [batch,channels,...]" },
    { IN(F(2, 4), F(2)), ATTRS(2, 1), .error = EBB_BAD_SHAPE,
      .message = "scale is [2], not [4] as the channels of x" },
    { .inputs = EBB_INPUTS(F(2, 4), F(4), F(2, 4)), ATTRS(2, 1), .error = EBB_BAD_SHAPE,
      .message = "shift is [2,4], not [4] as the channels of x" },
    { IN(F(2, 4), F(4)), ATTRS(2, -1), .error = EBB_BAD_ATTRIBUTE,
      .message = "epsilon -1 is negative or not finite" },
    { IN(TYPE(I32, 2, 4), F(4)), ATTRS(2, 1), .error = EBB_BAD_DTYPE,
      .message = "dtype i32 is not one of f64, f32" },
};
/* clang-format on */

const ebb_op ebb_op_group_norm = {
    .name = "group_norm",
    .summary = "each group of channels of each example normalized, then scale and shift",
    .group = "library",
    .n_inputs = 3,
    .n_results = 1,
    .traits = EBB_TRAIT_LIBRARY,
    .attrs_bytes = sizeof(ebb_group_norm_attrs),
    .attrs = group_norm_fields,
    .infer = infer_group_norm,
    .eval = eval_group_norm,
    .decompose = decompose_group_norm,
    .samples = samples_group_norm,
    .n_samples = (int)(sizeof samples_group_norm / sizeof *samples_group_norm),
};
