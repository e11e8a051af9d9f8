/* attention and masked_attention, scaled dot-product attention (Vaswani et al. 2017, eq. 1): one
 * family; the second adds a mask, its fourth input, to the scores, and is differentiated through
 * its decomposition. attention_grad computes the probabilities again, so that nothing of the size
 * of the scores is kept for it. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"
#include "ops/rows.h"
#include <string.h>

static double scale_of(const ebb_attention_attrs *attrs, int64_t dim)
{
    if (attrs->scale != 0)
        return attrs->scale;
    return dim > 0 ? 1 / sqrt((double)dim) : 1;
}

static ebb_status infer_attention(const ebb_infer *infer)
{
    static const char *const names[] = { "q", "k", "v", "mask" };
    const ebb_attention_attrs *attrs = infer->attrs;
    const ebb_shape *q = &infer->inputs[0]->shape, *k = &infer->inputs[1]->shape,
                    *v = &infer->inputs[2]->shape;
    const int rank = q->rank;
    char text_q[EBB_TYPE_TEXT_BYTES], text[EBB_TYPE_TEXT_BYTES];
    ebb_status status = ebb_infer_float(infer, 0);
    if (status)
        return status;
    ebb_shape_text(q, text_q);
    for (int i = 0; i < infer->n_inputs; i++) {
        const ebb_type *type = infer->inputs[i];
        if (type->dtype != infer->inputs[0]->dtype)
            return ebb_infer_fail(infer, EBB_BAD_DTYPE, "%s is %s, q is %s", names[i],
                                  ebb_dtype_name(type->dtype),
                                  ebb_dtype_name(infer->inputs[0]->dtype));
        bool fits = rank >= 2 && type->shape.rank == rank;
        for (int d = 0; d < rank - 2 && fits; d++)
            fits = type->shape.dims[d] == q->dims[d];
        if (!fits)
            return ebb_infer_fail(infer, EBB_BAD_SHAPE,
                                  "q and %s are not [...,queries,dim] with equal leading "
                                  "dimensions: %s, %s",
                                  names[i], text_q, ebb_shape_text(&type->shape, text));
    }
    if (k->dims[rank - 1] != q->dims[rank - 1])
        return ebb_infer_fail(infer, EBB_BAD_SHAPE,
                              "q and k differ in their last dimension: %s, %s", text_q,
                              ebb_shape_text(k, text));
    if (v->dims[rank - 2] != k->dims[rank - 2])
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "%lld keys, but values %s",
                              (long long)k->dims[rank - 2], ebb_shape_text(v, text));
    if (infer->n_inputs > 3) {
        const ebb_shape *mask = &infer->inputs[3]->shape;
        if (mask->dims[rank - 2] != q->dims[rank - 2] || mask->dims[rank - 1] != k->dims[rank - 2])
            return ebb_infer_fail(infer, EBB_BAD_SHAPE,
                                  "the mask is not [...,%lld queries,%lld keys]: %s",
                                  (long long)q->dims[rank - 2], (long long)k->dims[rank - 2],
                                  ebb_shape_text(mask, text));
    }
    if (!isfinite(attrs->scale))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "scale %g is not finite", attrs->scale);
    infer->results[0] = *infer->inputs[0];
    infer->results[0].shape.dims[rank - 1] = v->dims[rank - 1];
    return EBB_OK;
}

/* As attention, with the cotangent of its result as fourth input. */
static ebb_status infer_attention_grad(const ebb_infer *infer)
{
    ebb_type y;
    ebb_infer forward = *infer;
    char text[EBB_TYPE_TEXT_BYTES], wanted[EBB_TYPE_TEXT_BYTES];
    forward.n_inputs = 3;
    forward.results = &y;
    ebb_status status = infer_attention(&forward);
    if (status)
        return status;
    if (!ebb_type_equal(infer->inputs[3], &y))
        return ebb_infer_fail(infer,
                              infer->inputs[3]->dtype == y.dtype ? EBB_BAD_SHAPE : EBB_BAD_DTYPE,
                              "dy is %s, not %s as the result of attention",
                              ebb_type_text(infer->inputs[3], text), ebb_type_text(&y, wanted));
    for (int i = 0; i < 3; i++)
        infer->results[i] = *infer->inputs[i];
    return EBB_OK;
}

/* ---- reference kernel ---- */

/* One query of one batch. */
typedef struct query {
    const ebb_eval *eval;
    double scale;
    int64_t n_keys, dim, n_values;
    int64_t q, k, v, mask; /* of its first element each */
    int64_t seen;          /* keys 0..seen-1 */
} query;

static double score_of(const query *at, int64_t key)
{
    const ebb_tensor *in = at->eval->inputs;
    const ebb_dtype dtype = in[0].type.dtype;
    double sum = 0;
    for (int64_t d = 0; d < at->dim; d++)
        sum += ebb_float_at(dtype, in[0].data, at->q + d) *
               ebb_float_at(dtype, in[1].data, at->k + key * at->dim + d);
    sum *= at->scale;
    return at->eval->op == &ebb_op_masked_attention
               ? sum + ebb_float_at(dtype, in[3].data, at->mask + key)
               : sum;
}

/* Results in blocks, so that scores are computed again once a block and not once a result. */
enum { BLOCK = 64 };

/* What the scores of a query become: e^(score - max) / sum, of which a blind one has none. */
typedef struct softmaxed {
    double max, sum;
    bool is_blind;
} softmaxed;

static softmaxed measure_query(const query *at)
{
    softmaxed s = { -(double)INFINITY, 0, false };
    for (int64_t key = 0; key < at->seen; key++) {
        const double score = score_of(at, key);
        s.max = score > s.max || isnan(score) ? score : s.max;
    }
    s.is_blind =
        at->seen == 0 || (at->eval->op == &ebb_op_masked_attention && s.max == -(double)INFINITY);
    for (int64_t key = 0; key < at->seen; key++)
        s.sum += exp(score_of(at, key) - s.max);
    return s;
}

static void eval_query(const query *at, int64_t result)
{
    const ebb_tensor *v = &at->eval->inputs[2];
    const ebb_dtype dtype = v->type.dtype;
    const softmaxed s = measure_query(at);
    for (int64_t begin = 0; begin < at->n_values; begin += BLOCK) {
        const int64_t n = at->n_values - begin < BLOCK ? at->n_values - begin : BLOCK;
        double values[BLOCK] = { 0 };
        for (int64_t key = 0; key < at->seen && !s.is_blind; key++) {
            const double p = exp(score_of(at, key) - s.max) / s.sum;
            for (int64_t i = 0; i < n; i++)
                values[i] +=
                    p * ebb_float_at(dtype, v->data, at->v + key * at->n_values + begin + i);
        }
        for (int64_t i = 0; i < n; i++)
            ebb_float_put(dtype, at->eval->results[0].data, result + begin + i, values[i]);
    }
}

static void add_at(const ebb_tensor *to, int64_t i, double term)
{
    const ebb_dtype dtype = to->type.dtype;
    ebb_float_put(dtype, to->data, i, ebb_float_at(dtype, to->data, i) + term);
}

/* The cotangent of the probability of a key. */
static double dp_of(const query *at, int64_t key, int64_t dy)
{
    const ebb_tensor *in = at->eval->inputs;
    double sum = 0;
    for (int64_t i = 0; i < at->n_values; i++)
        sum += ebb_float_at(in[3].type.dtype, in[3].data, dy + i) *
               ebb_float_at(in[2].type.dtype, in[2].data, at->v + key * at->n_values + i);
    return sum;
}

/* Adds what the query whose cotangents begin at `dy` contributes. */
static void eval_query_grad(const query *at, int64_t dy)
{
    const ebb_tensor *in = at->eval->inputs, *results = at->eval->results;
    const ebb_dtype dtype = in[0].type.dtype;
    const softmaxed s = measure_query(at);
    double mean = 0;
    for (int64_t key = 0; key < at->seen; key++)
        mean += exp(score_of(at, key) - s.max) / s.sum * dp_of(at, key, dy);
    for (int64_t key = 0; key < at->seen; key++) {
        const double p = exp(score_of(at, key) - s.max) / s.sum;
        const double ds = at->scale * p * (dp_of(at, key, dy) - mean);
        for (int64_t d = 0; d < at->dim; d++) {
            const int64_t k = at->k + key * at->dim + d;
            add_at(&results[0], at->q + d, ds * ebb_float_at(dtype, in[1].data, k));
            add_at(&results[1], k, ds * ebb_float_at(dtype, in[0].data, at->q + d));
        }
        for (int64_t i = 0; i < at->n_values; i++)
            add_at(&results[2], at->v + key * at->n_values + i,
                   p * ebb_float_at(dtype, in[3].data, dy + i));
    }
}

/* Both products; the softmax between them is left out. */
static double flops_attention(const ebb_infer *types)
{
    const ebb_shape *k = &types->inputs[1]->shape;
    const double queries = (double)ebb_shape_elements(&types->inputs[0]->shape),
                 values = (double)ebb_shape_elements(&types->results[0].shape);
    return 2 * (double)k->dims[k->rank - 2] * (queries + values);
}

/* The product of the scores once more, and two for each of the others. */
static double flops_attention_grad(const ebb_infer *types)
{
    const ebb_shape *k = &types->inputs[1]->shape;
    const double queries = (double)ebb_shape_elements(&types->inputs[0]->shape),
                 values = (double)ebb_shape_elements(&types->inputs[3]->shape);
    return 2 * (double)k->dims[k->rank - 2] * (3 * queries + 2 * values);
}

static ebb_status eval_attention(const ebb_eval *eval)
{
    const ebb_attention_attrs *attrs = eval->attrs;
    const ebb_shape *q = &eval->inputs[0].type.shape, *v = &eval->inputs[2].type.shape;
    const int rank = q->rank;
    const int64_t n_queries = q->dims[rank - 2], n_keys = v->dims[rank - 2];
    query at = { .eval = eval,
                 .scale = scale_of(attrs, q->dims[rank - 1]),
                 .n_keys = n_keys,
                 .dim = q->dims[rank - 1],
                 .n_values = v->dims[rank - 1] };
    int64_t batch = 1;
    for (int i = 0; i < rank - 2; i++)
        batch *= q->dims[i];
    for (int r = 0; r < eval->n_results && eval->op == &ebb_op_attention_grad; r++)
        if (ebb_type_bytes(&eval->results[r].type))
            memset(eval->results[r].data, 0, ebb_type_bytes(&eval->results[r].type));
    for (int64_t b = 0; b < batch; b++)
        for (int64_t i = 0; i < n_queries; i++) {
            const int64_t row = b * n_queries + i;
            at.q = row * at.dim;
            at.k = b * n_keys * at.dim;
            at.v = b * n_keys * at.n_values;
            at.mask = row * n_keys;
            at.seen = attrs->causal && i + 1 < n_keys ? i + 1 : n_keys;
            if (eval->op == &ebb_op_attention_grad)
                eval_query_grad(&at, row * at.n_values);
            else
                eval_query(&at, row * at.n_values);
        }
    return EBB_OK;
}

/* ---- as nodes ---- */

static ebb_node hide_future(ebb_node scores)
{
    const ebb_shape *shape = &ebb_node_type(scores)->shape;
    const ebb_shape square = EBB_SHAPE(shape->dims[shape->rank - 2], shape->dims[shape->rank - 1]);
    const ebb_node seen = ebb_greater_equal(ebb_iota(scores.graph, EBB_I64, square, 0),
                                            ebb_iota(scores.graph, EBB_I64, square, 1));
    return ebb_select(seen, scores, ebb_full_like(scores, -(double)INFINITY));
}

static ebb_node scores_of(const ebb_decompose *d, double scale)
{
    const ebb_attention_attrs *attrs = d->attrs;
    ebb_node scores =
        ebb_matmul_with(d->inputs[0], d->inputs[1], (ebb_matmul_attrs){ .transpose_b = true });
    scores = ebb_mul(scores, ebb_full_like(scores, scale));
    if (d->op == &ebb_op_masked_attention)
        scores = ebb_add(scores, d->inputs[3]);
    return attrs->causal ? hide_future(scores) : scores;
}

static void decompose_attention(const ebb_decompose *d)
{
    const ebb_shape *q = &ebb_node_type(d->inputs[0])->shape;
    const int last = q->rank - 1;
    const ebb_node scores = scores_of(d, scale_of(d->attrs, q->dims[last]));
    if (d->n_inputs == 3) { /* every query sees a key */
        d->results[0] = ebb_matmul(ebb_softmax(scores, last), d->inputs[2]);
        return;
    }
    const ebb_node max = ebb_reduce_max(scores, EBB_AXES(last), true);
    const ebb_node is_blind = ebb_equal(max, ebb_full_like(max, -(double)INFINITY));
    const ebb_node zero = ebb_full_like(scores, 0);
    const ebb_node p = ebb_softmax(ebb_select(is_blind, zero, scores), last);
    d->results[0] = ebb_matmul(ebb_select(is_blind, zero, p), d->inputs[2]);
}

/* With p the probabilities: dv = p^T dy, dp = dy v^T, and the cotangent of the products q k^T is
 * scale p (dp - sum(p dp)). */
static void decompose_attention_grad(const ebb_decompose *d)
{
    const ebb_shape *q = &ebb_node_type(d->inputs[0])->shape;
    const int last = q->rank - 1;
    const double scale = scale_of(d->attrs, q->dims[last]);
    const ebb_matmul_attrs transposed_a = { .transpose_a = true },
                           transposed_b = { .transpose_b = true };
    const ebb_node dy = d->inputs[3], p = ebb_softmax(scores_of(d, scale), last);
    const ebb_node dp = ebb_matmul_with(dy, d->inputs[2], transposed_b);
    const ebb_node mean = ebb_reduce_sum(ebb_mul(p, dp), EBB_AXES(last), true);
    const ebb_node ds = ebb_mul(ebb_mul(p, ebb_sub(dp, mean)), ebb_full_like(p, scale));
    d->results[0] = ebb_matmul(ds, d->inputs[1]);
    d->results[1] = ebb_matmul_with(ds, d->inputs[0], transposed_a);
    d->results[2] = ebb_matmul_with(p, dy, transposed_a);
}

static void vjp_attention(const ebb_vjp *v)
{
    const ebb_node inputs[4] = { v->inputs[0], v->inputs[1], v->inputs[2], v->cotangents[0] };
    (void)ebb_emit(NULL, &ebb_op_attention_grad, inputs, 4, v->attrs, v->gradients);
}

/* ---- builder ---- */

/* [..., queries, keys], or a scalar if q and k are not of that kind (infer says so). */
static ebb_shape scores_shape(ebb_node q, ebb_node k)
{
    const ebb_shape *of_q = &ebb_node_type(q)->shape, *of_k = &ebb_node_type(k)->shape;
    ebb_shape shape = *of_q;
    if (of_q->rank < 2 || of_k->rank < 2)
        return EBB_SCALAR;
    shape.dims[shape.rank - 1] = of_k->dims[of_k->rank - 2];
    return shape;
}

ebb_node(ebb_scaled_dot_product_attention)(ebb_node q, ebb_node k, ebb_node v, ebb_node mask,
                                           ebb_attention_attrs attrs)
{
    ebb_node inputs[4] = { q, k, v, mask };
    if (!mask.id || !q.id || !k.id)
        return ebb_emit(NULL, &ebb_op_attention, inputs, 3, &attrs, NULL);
    const ebb_dtype dtype = ebb_node_type(q)->dtype;
    if (ebb_node_type(mask)->dtype == EBB_BOOL && ebb_dtype_is_float(dtype))
        inputs[3] = ebb_select(mask, ebb_scalar(mask.graph, dtype, 0),
                               ebb_scalar(mask.graph, dtype, -(double)INFINITY));
    const ebb_shape wanted = scores_shape(q, k);
    ebb_shape common;
    if (ebb_shape_broadcast(&ebb_node_type(inputs[3])->shape, &wanted, &common) &&
        ebb_shape_equal(&common, &wanted))
        inputs[3] = ebb_broadcast_to(inputs[3], wanted);
    return ebb_emit(NULL, &ebb_op_masked_attention, inputs, 4, &attrs, NULL);
}

/* ---- samples ---- */

static const ebb_attr_field attention_fields[] = {
    EBB_FIELD(ebb_attention_attrs, scale, F64, "of the scores; 0: 1/sqrt(dim)"),
    EBB_FIELD(ebb_attention_attrs, causal, BOOL, "query i sees keys 0..i only; default false"),
    { 0 },
};

/* clang-format off */
#define TYPE EBB_SAMPLE_TYPE
#define F(...) TYPE(F64, __VA_ARGS__)
#define IN(...) .inputs = EBB_INPUTS(__VA_ARGS__)
#define LIST(...) (const double[]){ __VA_ARGS__ }
#define ATTRS(scale, causal) .attrs = &(const ebb_attention_attrs){ scale, causal }
#define N (-INFINITY)
#define COMMON_SAMPLES(X)                                                                          \
    { X(F(1, 1), F(1, 1), F(1, 1), F(1, 1)) },                                                     \
    { X(F(3, 4), F(5, 4), F(5, 2), F(3, 5)) },                                                     \
    { X(F(5, 4), F(5, 4), F(5, 4), F(5, 5)), ATTRS(0, true) },                                     \
    { X(F(7, 1), F(3, 1), F(3, 17), F(7, 3)), ATTRS(0, true) },                                    \
    { X(F(3, 2), F(7, 2), F(7, 1), F(3, 7)), ATTRS(0.5, true) },                                   \
    { X(F(2, 3, 4), F(2, 7, 4), F(2, 7, 3), F(2, 3, 7)), ATTRS(0.3, false) },                      \
    { X(F(2, 2, 3, 5), F(2, 2, 3, 5), F(2, 2, 3, 5), F(2, 2, 3, 3)), ATTRS(0, true) },             \
    { X(F(1, 17, 2), F(1, 17, 2), F(1, 17, 2), F(1, 17, 17)) },                                    \
    { X(F(3, 0), F(2, 0), F(2, 3), F(3, 2)) },                                                     \
    { X(F(3, 2), F(0, 2), F(0, 3), F(3, 0)), ATTRS(0, true) },                                     \
    { X(F(0, 2), F(3, 2), F(3, 2), F(0, 3)) },                                                     \
    { X(F(3, 2), F(3, 2), F(3, 0), F(3, 3)) },                                                     \
    { X(F(0, 3, 2), F(0, 3, 2), F(0, 3, 2), F(0, 3, 3)) },                                         \
    { X(F(3), F(3), F(3), F(3)), .error = EBB_BAD_SHAPE,                                           \
      .message = "q and q are not [...,queries,dim] with equal leading dimensions: [3]" },         \
    { X(F(2, 3, 4), F(3, 3, 4), F(2, 3, 4), F(2, 3, 3)), .error = EBB_BAD_SHAPE,                   \
      .message = "with equal leading dimensions: [2,3,4], [3,3,4]" },                              \
    { X(F(3, 4), F(3, 5), F(3, 4), F(3, 3)), .error = EBB_BAD_SHAPE,                               \
      .message = "q and k differ in their last dimension: [3,4], [3,5]" },                         \
    { X(F(3, 4), F(5, 4), F(4, 4), F(3, 5)), .error = EBB_BAD_SHAPE,                               \
      .message = "5 keys, but values [4,4]" },                                                     \
    { X(F(3, 4), F(3, 4), F(3, 4), F(3, 3)), ATTRS(INFINITY, false), .error = EBB_BAD_ATTRIBUTE,   \
      .message = "scale inf is not finite" },                                                      \
    { X(F(3, 4), TYPE(F32, 3, 4), F(3, 4), F(3, 3)), .error = EBB_BAD_DTYPE,                       \
      .message = "k is f32, q is f64" },                                                           \
    { X(TYPE(I32, 3, 4), F(3, 4), F(3, 4), F(3, 3)), .error = EBB_BAD_DTYPE,                       \
      .message = "dtype i32 is not one of f64, f32" }
#define PLAIN(q, k, v, mask) IN(q, k, v)
#define MASKED(q, k, v, mask) IN(q, k, v, mask)

static const ebb_sample samples_attention[] = {
    COMMON_SAMPLES(PLAIN),
    { IN(F(2, 1), F(3, 1), F(3, 1)), .values = { LIST(0, 0), LIST(1, 2, 3), LIST(1, 2, 6) },
      .expected = LIST(3, 3), .source = "equal scores: the mean of the values" },
    { IN(F(3, 1), F(3, 1), F(3, 1)), .values = { LIST(0, 0, 0), LIST(1, 2, 3), LIST(1, 2, 6) },
      ATTRS(0, true), .expected = LIST(1, 1.5, 3), .source = "means of the values seen" },
    /* softmax(0, ln 3) = (1/4, 3/4) with scale 1/sqrt(4) */
    { IN(F(1, 4), F(2, 4), F(2, 1)), .values = { LIST(1, 0, 0, 0),
      LIST(0, 9, 9, 9, 2.1972245773362196, 9, 9, 9), LIST(4, 8) }, .expected = LIST(7),
      .source = "1/4 4 + 3/4 8" },
    /* a relative step is too large for central differences at 1000 */
    { IN(F(2, 1), F(2, 1), F(2, 1)), .values = { LIST(1000, -1000), LIST(1000, -1000), LIST(3, 5) },
      .expected = LIST(3, 5), .no_gradient = true, .source = "one key takes all" },
};
static const ebb_sample samples_masked_attention[] = {
    COMMON_SAMPLES(MASKED),
    { IN(F(2, 1), F(3, 1), F(3, 1), F(2, 3)), .values = { LIST(0, 0), LIST(1, 2, 3),
      LIST(1, 2, 6), LIST(0, N, 0, N, 5, N) }, .expected = LIST(3.5, 2), .no_gradient = true,
      .source = "means of the values seen" },
    { IN(F(2, 1), F(2, 1), F(2, 1), F(2, 2)), .values = { LIST(7, 7), LIST(1, 2), LIST(1, 2),
      LIST(N, N, 0, N) }, .expected = LIST(0, 1), .no_gradient = true,
      .source = "a query that sees no key: 0" },
    { IN(F(2, 1), F(2, 1), F(2, 1), F(2, 2)), .values = { LIST(7, 7), LIST(1, 2), LIST(1, 2),
      LIST(N, 0, N, 0) }, ATTRS(0, true), .expected = LIST(0, 2), .no_gradient = true,
      .source = "the mask and the future hide all keys: 0" },
    { IN(F(1, 1), F(2, 1), F(2, 1), F(1, 2)), .values = { LIST(0), LIST(1, 2), LIST(1, 3),
      LIST(1000, -1000) }, .expected = LIST(1), .no_gradient = true, .source = "one key takes all" },
    { IN(F(3, 4), F(5, 4), F(5, 4), F(5, 3)), .error = EBB_BAD_SHAPE,
      .message = "the mask is not [...,3 queries,5 keys]: [5,3]" },
    { IN(F(3, 4), F(5, 4), F(5, 4), TYPE(BOOL, 3, 5)), .error = EBB_BAD_DTYPE,
      .message = "mask is bool, q is f64" },
};
static const ebb_sample samples_attention_grad[] = {
    { IN(F(1, 1), F(1, 1), F(1, 1), F(1, 1)) },
    { IN(F(3, 4), F(5, 4), F(5, 2), F(3, 2)) },
    { IN(F(5, 4), F(5, 4), F(5, 4), F(5, 4)), ATTRS(0, true) },
    { IN(F(7, 1), F(3, 1), F(3, 17), F(7, 17)), ATTRS(0, true) },
    { IN(F(3, 2), F(7, 2), F(7, 1), F(3, 1)), ATTRS(0.5, true) },
    { IN(F(2, 2, 3, 5), F(2, 2, 3, 5), F(2, 2, 3, 5), F(2, 2, 3, 5)), ATTRS(0.3, false) },
    { IN(F(3, 0), F(2, 0), F(2, 3), F(3, 3)) },
    { IN(F(3, 2), F(0, 2), F(0, 3), F(3, 3)), ATTRS(0, true) },
    { IN(F(0, 2), F(3, 2), F(3, 2), F(0, 2)) },
    { IN(F(3, 2), F(3, 2), F(3, 0), F(3, 0)) },
    /* p = 1/2, 1/2; dp = v dy = 1, 3; the cotangent of the scores is p (dp - 2). Derivatives vanish
     * here, and what differences then show is rounding. */
    { IN(F(1, 1), F(2, 1), F(2, 1), F(1, 1)), .values = { LIST(0), LIST(1, 2), LIST(1, 3),
      LIST(1) }, .expected = LIST(0.5, 0, 0, 0.5, 0.5), .no_gradient = true,
      .source = "by hand: -1/2 1 + 1/2 2" },
    { IN(F(1, 1), F(2, 1), F(2, 1), F(1, 1)), .values = { LIST(2), LIST(0, 0), LIST(1, 3),
      LIST(1) }, .expected = LIST(0, -1, 1, 0.5, 0.5), .no_gradient = true,
      .source = "by hand: -1/2 2 and 1/2 2" },
    { IN(F(3, 4), F(5, 4), F(4, 4), F(3, 4)), .error = EBB_BAD_SHAPE,
      .message = "5 keys, but values [4,4]" },
    { IN(F(3, 4), F(5, 4), F(5, 2), F(3, 4)), .error = EBB_BAD_SHAPE,
      .message = "dy is f64[3,4], not f64[3,2] as the result of attention" },
    { IN(F(3, 4), F(5, 4), F(5, 2), TYPE(F32, 3, 2)), .error = EBB_BAD_DTYPE,
      .message = "dy is f32[3,2], not f64[3,2] as the result of attention" },
};
/* clang-format on */

#define COUNT(array) (int)(sizeof(array) / sizeof(array)[0])

const ebb_op ebb_op_attention = {
    .name = "attention",
    .summary = "scaled dot-product attention: softmax(scale q k^T) v over the keys",
    .group = "library",
    .n_inputs = 3,
    .n_results = 1,
    .traits = EBB_TRAIT_LIBRARY,
    .attrs_bytes = sizeof(ebb_attention_attrs),
    .attrs = attention_fields,
    .infer = infer_attention,
    .eval = eval_attention,
    .vjp = vjp_attention,
    .flops = flops_attention,
    .decompose = decompose_attention,
    .samples = samples_attention,
    .n_samples = COUNT(samples_attention),
};

const ebb_op ebb_op_masked_attention = {
    .name = "masked_attention",
    .summary = "attention with a mask that is added to the scores as fourth input",
    .group = "library",
    .n_inputs = 4,
    .n_results = 1,
    .traits = EBB_TRAIT_LIBRARY,
    .attrs_bytes = sizeof(ebb_attention_attrs),
    .attrs = attention_fields,
    .infer = infer_attention,
    .eval = eval_attention,
    .flops = flops_attention,
    .decompose = decompose_attention,
    .samples = samples_masked_attention,
    .n_samples = COUNT(samples_masked_attention),
};

const ebb_op ebb_op_attention_grad = {
    .name = "attention_grad",
    .summary = "the gradients of attention to q, k and v, out of them and the cotangent",
    .group = "library",
    .n_inputs = 4,
    .n_results = 3,
    .traits = EBB_TRAIT_LIBRARY,
    .attrs_bytes = sizeof(ebb_attention_attrs),
    .attrs = attention_fields,
    .infer = infer_attention_grad,
    .eval = eval_attention,
    .flops = flops_attention_grad,
    .decompose = decompose_attention_grad,
    .samples = samples_attention_grad,
    .n_samples = COUNT(samples_attention_grad),
};
