/* top_k, and sort and argsort, which are a top_k of everything. */
#define EBB_NO_LOCATIONS
#include "ops/build.h"
#include "ops/descriptors.h"
#include <math.h>
#include <string.h>

static ebb_status infer_top_k(const ebb_infer *infer)
{
    const ebb_top_k_attrs *attrs = infer->attrs;
    const ebb_type *x = infer->inputs[0];
    if (x->dtype == EBB_BOOL)
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "dtype bool is no number");
    ebb_status status = ebb_infer_axis(infer, attrs->axis, x->shape.rank);
    if (status)
        return status;
    const int axis = ebb_axis_of(attrs->axis, x->shape.rank);
    if (attrs->k < 0 || attrs->k > x->shape.dims[axis])
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE,
                              "k %lld is not in 0..%lld, the size of axis %d", (long long)attrs->k,
                              (long long)x->shape.dims[axis], axis);
    infer->results[0] = *x;
    infer->results[0].shape.dims[axis] = attrs->k;
    infer->results[1] = (ebb_type){ EBB_I64, infer->results[0].shape };
    return EBB_OK;
}

/* ---- reference kernel: a heap of the k best so far, then taken apart ---- */

/* Elements along the axis, `stride` apart, and the indices that are chosen of them. */
typedef struct lane {
    const void *x;
    int64_t *best;
    int64_t stride;
    bool smallest;
    bool (*precedes)(const struct lane *lane, int64_t a, int64_t b);
} lane;

/* Element a stands before b. NaN is the largest number; equal ones stand in the order of indices.
 */
#define PRECEDES(name, T)                                                                          \
    static bool name(const lane *l, int64_t a, int64_t b)                                          \
    {                                                                                              \
        const T x = ((const T *)l->x)[a * l->stride], y = ((const T *)l->x)[b * l->stride];        \
        if (x == y || (x != x && y != y))                                                          \
            return a < b;                                                                          \
        return (x > y || x != x) != l->smallest;                                                   \
    }
PRECEDES(precedes_f64, double)
PRECEDES(precedes_f32, float)
PRECEDES(precedes_i64, int64_t)
PRECEDES(precedes_i32, int32_t)
PRECEDES(precedes_u8, uint8_t)

static void swap_places(const lane *l, int64_t a, int64_t b)
{
    const int64_t moved = l->best[a * l->stride];
    l->best[a * l->stride] = l->best[b * l->stride];
    l->best[b * l->stride] = moved;
}

static bool place_precedes(const lane *l, int64_t a, int64_t b)
{
    return l->precedes(l, l->best[a * l->stride], l->best[b * l->stride]);
}

/* In a heap of n, the last one in order is on top. */
static void sift_down(const lane *l, int64_t at, int64_t n)
{
    for (int64_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && place_precedes(l, child, child + 1))
            child++;
        if (!place_precedes(l, at, child))
            return;
        swap_places(l, at, child);
        at = child;
    }
}

static void choose(const lane *l, int64_t n, int64_t k)
{
    for (int64_t i = 0; i < k; i++)
        l->best[i * l->stride] = i;
    for (int64_t i = k / 2; i-- > 0;)
        sift_down(l, i, k);
    for (int64_t i = k; k > 0 && i < n; i++)
        if (l->precedes(l, i, l->best[0])) {
            l->best[0] = i;
            sift_down(l, 0, k);
        }
    for (int64_t end = k - 1; end > 0; end--) {
        swap_places(l, 0, end);
        sift_down(l, 0, end);
    }
}

static ebb_status eval_top_k(const ebb_eval *eval)
{
    static bool (*const orders[EBB_N_DTYPES])(const lane *, int64_t, int64_t) = {
        [EBB_F64] = precedes_f64, [EBB_F32] = precedes_f32, [EBB_I64] = precedes_i64,
        [EBB_I32] = precedes_i32, [EBB_U8] = precedes_u8,
    };
    const ebb_top_k_attrs *attrs = eval->attrs;
    const ebb_type *type = &eval->inputs[0].type;
    const int64_t bytes = (int64_t)ebb_dtype_bytes(type->dtype), k = attrs->k;
    const int axis = ebb_axis_of(attrs->axis, type->shape.rank);
    int64_t outer = 1, inner = 1, n = type->shape.dims[axis];
    for (int i = 0; i < type->shape.rank; i++)
        *(i < axis ? &outer : &inner) *= i == axis ? 1 : type->shape.dims[i];
    for (int64_t at = 0; k > 0 && at < outer * inner; at++) {
        const int64_t o = at / inner, i = at % inner;
        const char *x = (const char *)eval->inputs[0].data + (o * n * inner + i) * bytes;
        char *values = (char *)eval->results[0].data + (o * k * inner + i) * bytes;
        int64_t *best = (int64_t *)eval->results[1].data + o * k * inner + i;
        choose(&(lane){ x, best, inner, attrs->smallest, orders[type->dtype] }, n, k);
        for (int64_t j = 0; j < k; j++)
            memcpy(values + j * inner * bytes, x + best[j * inner] * inner * bytes, (size_t)bytes);
    }
    return EBB_OK;
}

/* The cotangents of the values go back to where those came from; no index comes twice. */
static void vjp_top_k(const ebb_vjp *v)
{
    const ebb_top_k_attrs *attrs = v->attrs;
    ebb_node x = v->inputs[0];
    if (v->needed[0] && !ebb_node_is_none(v->cotangents[0]) &&
        ebb_dtype_is_float(ebb_node_type(x)->dtype))
        v->gradients[0] = ebb_scatter_add_along_axis(ebb_full_like(x, 0), v->results[1],
                                                     v->cotangents[0], (int)attrs->axis);
}

/* ---- builders ---- */

static ebb_node emit_top_k(ebb_node x, ebb_top_k_attrs attrs, ebb_node results[2])
{
    const int front = ebb_axis_of(attrs.axis, ebb_node_type(x)->shape.rank);
    attrs.axis = front < 0 ? attrs.axis : front;
    results[0] = results[1] = (ebb_node){ x.graph, 0 };
    return ebb_emit(NULL, &ebb_op_top_k, &x, 1, &attrs, results);
}

ebb_node(ebb_top_k)(ebb_node x, ebb_top_k_attrs attrs, ebb_node *indices)
{
    ebb_node results[2];
    emit_top_k(x, attrs, results);
    if (indices)
        *indices = results[1];
    return results[0];
}

static ebb_node emit_sort(ebb_node x, int axis, bool descending, int result)
{
    const ebb_shape *shape = &ebb_node_type(x)->shape;
    const int front = ebb_axis_of(axis, shape->rank);
    ebb_node results[2];
    emit_top_k(x, (ebb_top_k_attrs){ axis, front < 0 ? 0 : shape->dims[front], !descending },
               results);
    return results[result];
}

ebb_node(ebb_sort)(ebb_node x, int axis, bool descending)
{
    return emit_sort(x, axis, descending, 0);
}
ebb_node(ebb_argsort)(ebb_node x, int axis, bool descending)
{
    return emit_sort(x, axis, descending, 1);
}

/* ---- data ---- */

static const ebb_attr_field top_k_fields[] = {
    EBB_FIELD(ebb_top_k_attrs, axis, I64, "the axis to look along; default 0"),
    EBB_FIELD(ebb_top_k_attrs, k, I64, "how many, 0 to the size of the axis"),
    EBB_FIELD(ebb_top_k_attrs, smallest, BOOL, "the smallest ones, ascending; default false"),
    { 0 },
};

/* clang-format off */
#define TOP(axis, k) .attrs = &(const ebb_top_k_attrs){ axis, k, false }
#define BOTTOM(axis, k) .attrs = &(const ebb_top_k_attrs){ axis, k, true }
#define IN(dtype, ...) .inputs = EBB_INPUTS(EBB_SAMPLE_TYPE(dtype, __VA_ARGS__))
#define DRAWN(low, high) .range = EBB_RANGES({ low, high, 0, 0 })
#define VALUES(...) .values = { (const double[]){ __VA_ARGS__ } }
#define EXPECTED(...) .expected = (const double[]){ __VA_ARGS__ }
#define SORTED .source = "numpy.sort, numpy.argsort (stable)"
/* Expected: the values, then the indices. */
static const ebb_sample samples_top_k[] = {
    { IN(F64, 3, 4), TOP(1, 3), VALUES(0, 1, 2, 3, 4, 5, 6, 7, 11, 10, 9, 8),
      EXPECTED(3, 2, 1, 7, 6, 5, 11, 10, 9, 3, 2, 1, 3, 2, 1, 0, 1, 2),
      .source = "ONNX TopK, examples top_k and top_k_smallest" },
    { IN(F64, 3, 4), BOTTOM(1, 3), VALUES(0, 1, 2, 3, 4, 5, 6, 7, 11, 10, 9, 8),
      EXPECTED(0, 1, 2, 4, 5, 6, 8, 9, 10, 0, 1, 2, 0, 1, 2, 3, 2, 1),
      .source = "ONNX TopK, examples top_k and top_k_smallest" },
    { IN(F64, 5), TOP(0, 3), VALUES(2, 5, 5, 1, 5), EXPECTED(5, 5, 5, 1, 2, 4),
      .source = "the lowest index first", .no_gradient = true },
    { IN(F64, 3, 2), BOTTOM(0, 3), VALUES(3, 1, 1, 2, 2, 0),
      EXPECTED(1, 0, 2, 1, 3, 2, 1, 2, 2, 0, 0, 1),
      SORTED },
    { IN(F64, 6), BOTTOM(0, 6), VALUES(NAN, 1, -INFINITY, NAN, INFINITY, 1),
      EXPECTED(-INFINITY, 1, 1, INFINITY, NAN, NAN, 2, 1, 5, 4, 0, 3), SORTED,
      .no_gradient = true },
    { IN(F64, 6), TOP(0, 4), VALUES(1, INFINITY, NAN, 2, NAN, -INFINITY),
      EXPECTED(NAN, NAN, INFINITY, 2, 2, 4, 1, 3), .source = "as argmax", .no_gradient = true },
    { IN(F64, 4), BOTTOM(0, 4), VALUES(0, -0.0, -1, 0), EXPECTED(-1, 0, -0.0, 0, 2, 0, 1, 3),
      SORTED,
      .no_gradient = true },
    { IN(U8, 5), BOTTOM(-1, 5), VALUES(200, 3, 255, 0, 3),
      EXPECTED(0, 3, 3, 200, 255, 3, 1, 4, 0, 2),
      SORTED },
    { IN(I32, 4), TOP(0, 4), VALUES(-5, 7, INT32_MIN, 7), EXPECTED(7, 7, -5, INT32_MIN, 1, 3, 0, 2),
      SORTED },
    { IN(F64, 1), TOP(0, 1) }, { IN(F64, 7), TOP(0, 2) }, { IN(F64, 17), TOP(0, 17) },
    { IN(F64, 17), BOTTOM(-1, 7) }, { IN(F64, 3, 7), TOP(0, 2) }, { IN(F64, 3, 7), BOTTOM(1, 7) },
    { IN(F64, 2, 7, 3), TOP(1, 3) }, { IN(F64, 2, 1, 3), TOP(1, 1) }, { IN(F64, 5), TOP(0, 0) },
    { IN(F64, 0), TOP(0, 0) }, { IN(F64, 0, 3), BOTTOM(1, 2) }, { IN(F64, 3, 0), TOP(0, 2) },
    { IN(I64, 40), BOTTOM(0, 40), DRAWN(-9, 9) }, { IN(I32, 3, 40), TOP(1, 35), DRAWN(-9, 9) },
    { IN(U8, 40, 3), TOP(0, 4), DRAWN(0, 256) },
    { IN(F64, 3), TOP(0, 4), .error = EBB_BAD_ATTRIBUTE,
      .message = "k 4 is not in 0..3, the size of axis 0" },
    { IN(F64, 2, 3), TOP(-1, -1), .error = EBB_BAD_ATTRIBUTE,
      .message = "k -1 is not in 0..3, the size of axis 1" },
    { IN(F64, 3), TOP(1, 1), .error = EBB_BAD_AXIS,
      .message = "axis 1 is out of range for rank 1" },
    { .inputs = EBB_INPUTS(EBB_SAMPLE_SCALAR(F64)), TOP(0, 1), .error = EBB_BAD_AXIS,
      .message = "a scalar has none" },
    { IN(BOOL, 3), TOP(0, 1), .error = EBB_BAD_DTYPE, .message = "dtype bool is no number" },
};
/* clang-format on */

const ebb_op ebb_op_top_k = {
    .name = "top_k",
    .summary = "the k largest along an axis, descending, and their indices; a NaN is the largest",
    .group = "index",
    .n_inputs = 1,
    .n_results = 2,
    .attrs_bytes = sizeof(ebb_top_k_attrs),
    .attrs = top_k_fields,
    .infer = infer_top_k,
    .vjp = vjp_top_k,
    .eval = eval_top_k,
    .samples = samples_top_k,
    .n_samples = (int)(sizeof samples_top_k / sizeof *samples_top_k),
};
