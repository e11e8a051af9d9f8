/* Matrix product. The op sees equal batch dimensions; the builder broadcasts. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"

/* ---- rules ---- */

static ebb_status infer_matmul(const ebb_infer *infer)
{
    const ebb_matmul_attrs *attrs = infer->attrs;
    const ebb_type *a = infer->inputs[0], *b = infer->inputs[1];
    char text_a[EBB_TYPE_TEXT_BYTES], text_b[EBB_TYPE_TEXT_BYTES];
    ebb_shape_text(&a->shape, text_a);
    ebb_shape_text(&b->shape, text_b);
    if (a->dtype != b->dtype)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "dtypes differ: %s, %s",
                              ebb_dtype_name(a->dtype), ebb_dtype_name(b->dtype));
    ebb_status status = ebb_infer_float(infer, 0);
    if (status)
        return status;
    int rank = a->shape.rank;
    if ((rank == 1 || b->shape.rank == 1) && rank > 0 && b->shape.rank > 0 &&
        a->shape.dims[rank - 1] != b->shape.dims[b->shape.rank > 1 ? b->shape.rank - 2 : 0])
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "inner dimensions differ: %s, %s", text_a,
                              text_b);
    if (rank < 2 || b->shape.rank < 2)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "a matrix has rank 2 at least: %s, %s", text_a,
                              text_b);
    const int64_t *da = a->shape.dims + rank - 2, *db = b->shape.dims + b->shape.rank - 2;
    if (da[!attrs->transpose_a] != db[attrs->transpose_b])
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "inner dimensions differ: %s%s, %s%s", text_a,
                              attrs->transpose_a ? " transposed" : "", text_b,
                              attrs->transpose_b ? " transposed" : "");
    bool batches_equal = rank == b->shape.rank;
    for (int i = 0; i < rank - 2 && batches_equal; i++)
        batches_equal = a->shape.dims[i] == b->shape.dims[i];
    if (!batches_equal)
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "batch dimensions differ: %s, %s", text_a,
                              text_b);
    infer->results[0] = *a;
    infer->results[0].shape.dims[rank - 2] = da[attrs->transpose_a];
    infer->results[0].shape.dims[rank - 1] = db[!attrs->transpose_b];
    return EBB_OK;
}

static double flops_matmul(const ebb_infer *types)
{
    const ebb_matmul_attrs *attrs = types->attrs;
    const ebb_shape *a = &types->inputs[0]->shape;
    return 2 * (double)a->dims[a->rank - (attrs->transpose_a ? 2 : 1)] *
           (double)ebb_shape_elements(&types->results[0].shape);
}

/* The four cases of C = op(A) op(B): each gradient is one product, without a transpose node. */
static void vjp_matmul(const ebb_vjp *v)
{
    const ebb_matmul_attrs *attrs = v->attrs;
    const bool ta = attrs->transpose_a, tb = attrs->transpose_b;
    const ebb_node a = v->inputs[0], b = v->inputs[1], g = v->cotangents[0];
    if (v->needed[0])
        v->gradients[0] = ta ? ebb_matmul_with(b, g, (ebb_matmul_attrs){ tb, true })
                             : ebb_matmul_with(g, b, (ebb_matmul_attrs){ false, !tb });
    if (v->needed[1])
        v->gradients[1] = tb ? ebb_matmul_with(g, a, (ebb_matmul_attrs){ true, ta })
                             : ebb_matmul_with(a, g, (ebb_matmul_attrs){ !ta, false });
}

/* ---- reference kernel: tiles in double ---- */

enum { TILE_M = 64, TILE_N = 64, TILE_K = 32 };

/* A matrix inside a tensor: element (row, column) is at row * row_stride + column * column_stride.
 */
typedef struct matrix {
    const void *data;
    ebb_dtype dtype;
    int64_t row_stride, column_stride;
} matrix;

/* Copies rows x columns elements at (row, column) into tile[rows][pitch], as doubles. */
static void load_tile(const matrix *from, int64_t row, int64_t column, int64_t rows,
                      int64_t columns, int64_t pitch, double *tile)
{
    const int64_t rs = from->row_stride, cs = from->column_stride, start = row * rs + column * cs;
    for (int64_t r = 0; r < rows; r++)
        if (from->dtype == EBB_F32) {
            const float *in = (const float *)from->data + start + r * rs;
            for (int64_t c = 0; c < columns; c++)
                tile[r * pitch + c] = in[c * cs];
        } else {
            const double *in = (const double *)from->data + start + r * rs;
            for (int64_t c = 0; c < columns; c++)
                tile[r * pitch + c] = in[c * cs];
        }
}

/* sum[rows][columns] += a[rows][depth] b[depth][columns], four steps of depth at a time. */
static void multiply_tiles(const double *a, const double *b, double *sum, int64_t rows,
                           int64_t columns, int64_t depth)
{
    for (int64_t r = 0; r < rows; r++) {
        const double *row = a + r * TILE_K;
        double *restrict s = sum + r * TILE_N;
        int64_t k = 0;
        for (; k + 4 <= depth; k += 4) {
            const double a0 = row[k], a1 = row[k + 1], a2 = row[k + 2], a3 = row[k + 3];
            const double *b0 = b + k * TILE_N, *b1 = b0 + TILE_N, *b2 = b1 + TILE_N,
                         *b3 = b2 + TILE_N;
            for (int64_t c = 0; c < columns; c++)
                s[c] = s[c] + a0 * b0[c] + a1 * b1[c] + a2 * b2[c] + a3 * b3[c];
        }
        for (; k < depth; k++)
            for (int64_t c = 0; c < columns; c++)
                s[c] += row[k] * b[k * TILE_N + c];
    }
}

static void multiply(const matrix *a, const matrix *b, void *result, int64_t m, int64_t n,
                     int64_t depth)
{
    double tile_a[TILE_M * TILE_K], tile_b[TILE_K * TILE_N], sum[TILE_M * TILE_N];
    for (int64_t i = 0; i < m; i += TILE_M)
        for (int64_t j = 0; j < n; j += TILE_N) {
            const int64_t rows = m - i < TILE_M ? m - i : TILE_M;
            const int64_t columns = n - j < TILE_N ? n - j : TILE_N;
            for (int64_t s = 0; s < TILE_M * TILE_N; s++)
                sum[s] = 0;
            for (int64_t k = 0; k < depth; k += TILE_K) {
                const int64_t steps = depth - k < TILE_K ? depth - k : TILE_K;
                load_tile(a, i, k, rows, steps, TILE_K, tile_a);
                load_tile(b, k, j, steps, columns, TILE_N, tile_b);
                multiply_tiles(tile_a, tile_b, sum, rows, columns, steps);
            }
            for (int64_t r = 0; r < rows; r++)
                for (int64_t c = 0; c < columns; c++) {
                    const int64_t at = (i + r) * n + j + c;
                    if (a->dtype == EBB_F32)
                        ((float *)result)[at] = (float)sum[r * TILE_N + c];
                    else
                        ((double *)result)[at] = sum[r * TILE_N + c];
                }
        }
}

static ebb_status eval_matmul(const ebb_eval *eval)
{
    const ebb_matmul_attrs *attrs = eval->attrs;
    const ebb_shape *sa = &eval->inputs[0].type.shape, *sr = &eval->results[0].type.shape;
    const int rank = sa->rank;
    const int64_t m = sr->dims[rank - 2], n = sr->dims[rank - 1];
    const int64_t depth = sa->dims[attrs->transpose_a ? rank - 2 : rank - 1];
    const ebb_dtype dtype = eval->inputs[0].type.dtype;
    const int64_t bytes = (int64_t)ebb_dtype_bytes(dtype);
    int64_t batch = 1;
    for (int i = 0; i < rank - 2; i++)
        batch *= sa->dims[i];
    matrix a = { NULL, dtype, attrs->transpose_a ? 1 : depth, attrs->transpose_a ? m : 1 };
    matrix b = { NULL, dtype, attrs->transpose_b ? 1 : n, attrs->transpose_b ? depth : 1 };
    for (int64_t i = 0; i < batch; i++) {
        a.data = (const char *)eval->inputs[0].data + i * m * depth * bytes;
        b.data = (const char *)eval->inputs[1].data + i * depth * n * bytes;
        multiply(&a, &b, (char *)eval->results[0].data + i * m * n * bytes, m, n, depth);
    }
    return EBB_OK;
}

/* ---- builders ---- */

static ebb_shape batch_of(const ebb_shape *shape)
{
    return ebb_shape_of(shape->rank - 2, shape->dims);
}

static ebb_node broadcast_batch(ebb_node x, const ebb_shape *batch)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    ebb_shape wide = *batch;
    wide.dims[wide.rank++] = shape->dims[shape->rank - 2];
    wide.dims[wide.rank++] = shape->dims[shape->rank - 1];
    return ebb_broadcast_to(x, wide);
}

/* Many matrices times one are one taller matrix times it. */
static ebb_node multiply_stacked(ebb_node a, ebb_node b, ebb_matmul_attrs attrs)
{
    ebb_shape tall = ebb_node_type(a)->shape;
    const int64_t depth = tall.dims[tall.rank - 1];
    const ebb_shape *sb = &ebb_node_type(b)->shape;
    int64_t rows = 1;
    for (int i = 0; i < tall.rank - 1; i++)
        rows *= tall.dims[i];
    ebb_node flat[2] = { ebb_reshape(a, EBB_SHAPE(rows, depth)), b };
    ebb_node product = ebb_emit(NULL, &ebb_op_matmul, flat, 2, &attrs, NULL);
    tall.dims[tall.rank - 1] = sb->dims[!attrs.transpose_b];
    return ebb_reshape(product, tall);
}

ebb_node(ebb_matmul_with)(ebb_node a, ebb_node b, ebb_matmul_attrs attrs)
{
    const ebb_shape *sa = &ebb_node_type(a)->shape, *sb = &ebb_node_type(b)->shape;
    /* What does not fit is refused as it was given, before anything is broadcast. */
    const bool fits = a.graph == b.graph && sa->rank >= 2 && sb->rank >= 2 &&
                      ebb_node_type(a)->dtype == ebb_node_type(b)->dtype &&
                      sa->dims[sa->rank - (attrs.transpose_a ? 2 : 1)] ==
                          sb->dims[sb->rank - (attrs.transpose_b ? 1 : 2)];
    if (fits && (sa->rank > 2 || sb->rank > 2)) {
        if (sb->rank == 2 && !attrs.transpose_a)
            return multiply_stacked(a, b, attrs);
        ebb_shape batch_a = batch_of(sa), batch_b = batch_of(sb), batch;
        if (ebb_shape_broadcast(&batch_a, &batch_b, &batch)) {
            a = broadcast_batch(a, &batch);
            b = broadcast_batch(b, &batch);
        }
    }
    const ebb_node inputs[2] = { a, b };
    return ebb_emit(NULL, &ebb_op_matmul, inputs, 2, &attrs, NULL);
}

/* A vector is a row on the left and a column on the right; its dimension of size 1 disappears
 * again. */
ebb_node(ebb_matmul)(ebb_node a, ebb_node b)
{
    const ebb_shape *sa = &ebb_node_type(a)->shape, *sb = &ebb_node_type(b)->shape;
    const bool row = sa->rank == 1, column = sb->rank == 1;
    const bool fits = sa->rank > 0 && sb->rank > 0 &&
                      sa->dims[sa->rank - 1] == sb->dims[column ? 0 : sb->rank - 2];
    if (!fits || (!row && !column)) /* what does not fit is refused as it was given */
        return ebb_matmul_with(a, b, (ebb_matmul_attrs){ false, false });
    ebb_node left = row ? ebb_reshape(a, EBB_SHAPE(1, sa->dims[0])) : a;
    ebb_node right = column ? ebb_reshape(b, EBB_SHAPE(sb->dims[0], 1)) : b;
    ebb_node product = ebb_matmul_with(left, right, (ebb_matmul_attrs){ false, false });
    if (ebb_node_is_none(product))
        return product;
    const ebb_shape full = ebb_node_type(product)->shape;
    ebb_shape shape = ebb_shape_of(full.rank - 2, full.dims);
    if (!row)
        shape.dims[shape.rank++] = full.dims[full.rank - 2];
    if (!column)
        shape.dims[shape.rank++] = full.dims[full.rank - 1];
    return ebb_reshape(product, shape);
}

/* ---- data ---- */

static const ebb_attr_field matmul_fields[] = {
    EBB_FIELD(ebb_matmul_attrs, transpose_a, BOOL, "a is [..., k, m]; default false"),
    EBB_FIELD(ebb_matmul_attrs, transpose_b, BOOL, "b is [..., n, k]; default false"),
    { 0 },
};

/* clang-format off */
#define TYPE EBB_SAMPLE_TYPE
#define ATTRS(ta, tb) .attrs = &(const ebb_matmul_attrs){ ta, tb }
#define CASE(ta, tb, a, b) { .inputs = EBB_INPUTS(a, b), ATTRS(ta, tb) }
/* a [m,k] b [k,n] in all four storage orders */
#define FOUR(m, k, n)                                                                              \
    CASE(false, false, TYPE(F64, m, k), TYPE(F64, k, n)),                                          \
    CASE(true, false, TYPE(F64, k, m), TYPE(F64, k, n)),                                           \
    CASE(false, true, TYPE(F64, m, k), TYPE(F64, n, k)),                                           \
    CASE(true, true, TYPE(F64, k, m), TYPE(F64, n, k))
#define REFUSE(a, b, status, text) { .inputs = EBB_INPUTS(a, b), .error = status, .message = text }
static const ebb_sample samples_matmul[] = {
    { .inputs = EBB_INPUTS(TYPE(F64, 2, 3), TYPE(F64, 3, 2)), ATTRS(false, false),
      .values = { (const double[]){ 1, 2, 3, 4, 5, 6 }, (const double[]){ 1, 2, 3, 4, 5, 6 } },
      .expected = (const double[]){ 22, 28, 49, 64 }, .source = "Saitoh 2016, 3.3.2" },
    { .inputs = EBB_INPUTS(TYPE(F64, 2, 2), TYPE(F64, 2, 2)), ATTRS(false, false),
      .values = { (const double[]){ 1, 2, 3, 4 }, (const double[]){ 5, 6, 7, 8 } },
      .expected = (const double[]){ 19, 22, 43, 50 }, .source = "Saitoh 2016, 3.3.2" },
    { .inputs = EBB_INPUTS(TYPE(F64, 2, 2), TYPE(F64, 2, 2)), ATTRS(true, true),
      .values = { (const double[]){ 1, 2, 3, 4 }, (const double[]){ 5, 6, 7, 8 } },
      .expected = (const double[]){ 23, 31, 34, 46 },
      .source = "transpose of [[5,6],[7,8]] [[1,2],[3,4]]" },
    { .inputs = EBB_INPUTS(TYPE(F64, 1, 0), TYPE(F64, 0, 2)),
      .values = { (const double[]){ 0 }, (const double[]){ 0 } },
      .expected = (const double[]){ 0, 0 }, .source = "an empty sum is 0" },
    FOUR(1, 1, 1), FOUR(7, 1, 17), FOUR(1, 17, 7), FOUR(5, 3, 4), FOUR(17, 7, 1), FOUR(3, 66, 65),
    FOUR(0, 3, 2), FOUR(2, 3, 0),
    CASE(false, false, TYPE(F64, 3, 2, 5), TYPE(F64, 3, 5, 4)),
    CASE(true, false, TYPE(F64, 3, 5, 2), TYPE(F64, 3, 5, 4)),
    CASE(false, true, TYPE(F64, 3, 2, 5), TYPE(F64, 3, 4, 5)),
    CASE(true, true, TYPE(F64, 3, 5, 2), TYPE(F64, 3, 4, 5)),
    CASE(false, false, TYPE(F64, 2, 1, 3, 2, 5), TYPE(F64, 2, 1, 3, 5, 1)),
    CASE(false, false, TYPE(F64, 0, 2, 5), TYPE(F64, 0, 5, 4)),
    REFUSE(TYPE(F64, 100, 784), TYPE(F64, 128, 10), EBB_BAD_SHAPE,
      "inner dimensions differ: [100,784], [128,10]"),
    REFUSE(TYPE(F64, 3), TYPE(F64, 3, 2), EBB_BAD_SHAPE,
      "a matrix has rank 2 at least: [3], [3,2]"),
    REFUSE(TYPE(F64, 2, 2, 3), TYPE(F64, 3, 3, 2), EBB_BAD_SHAPE,
      "batch dimensions differ: [2,2,3], [3,3,2]"),
    REFUSE(TYPE(F64, 2, 2, 3), TYPE(F64, 3, 2), EBB_BAD_SHAPE,
      "batch dimensions differ: [2,2,3], [3,2]"),
    REFUSE(TYPE(F64, 2, 3), TYPE(F32, 3, 2), EBB_BAD_DTYPE, "dtypes differ: f64, f32"),
    REFUSE(TYPE(I64, 2, 3), TYPE(I64, 3, 2), EBB_BAD_DTYPE, "dtype i64 is not one of f64, f32"),
    { .inputs = EBB_INPUTS(TYPE(F64, 2, 3), TYPE(F64, 3, 2)), ATTRS(true, false),
      .error = EBB_BAD_SHAPE,
      .message = "inner dimensions differ: [2,3] transposed, [3,2]" },
};
/* clang-format on */

const ebb_op ebb_op_matmul = {
    .name = "matmul",
    .summary = "matrix product of the last two dimensions",
    .group = "linear algebra",
    .n_inputs = 2,
    .n_results = 1,
    .attrs_bytes = sizeof(ebb_matmul_attrs),
    .attrs = matmul_fields,
    .infer = infer_matmul,
    .vjp = vjp_matmul,
    .eval = eval_matmul,
    .flops = flops_matmul,
    .samples = samples_matmul,
    .n_samples = (int)(sizeof samples_matmul / sizeof *samples_matmul),
};
