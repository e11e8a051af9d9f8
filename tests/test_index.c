/* gather, scatter, embedding, top_k and sort beyond their samples: larger ones on every number of
 * threads, an independent sort, gradients by definition, views as inputs, and what ebb_run says to
 * indices that are out of range. */
#include "backends/backends.h"
#include "graph/interpret.h"
#include "ops/descriptors.h"
#include "tests/support/kernels.h"
#include "tests/support/runtime.h"
#include "tests/support/samples.h"
#include <math.h>
#include <stdlib.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))
#define LIST(...)                                                                                  \
    (const double[])                                                                               \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static uint32_t next_bits(uint32_t *seed) /* xorshift32, Marsaglia 2003 */
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static ebb_tensor make_tensor(ebb_dtype dtype, ebb_shape shape)
{
    ebb_tensor tensor;
    REQUIRE(!ebb_tensor_init(&tensor, ebb_type_of(dtype, shape), NULL), "out of memory");
    return tensor;
}

/* Whole numbers in low..high-1, which are exact in every dtype that holds them. */
static ebb_tensor draw_tensor(ebb_dtype dtype, ebb_shape shape, int low, int high, uint32_t *seed)
{
    ebb_tensor tensor = make_tensor(dtype, shape);
    for (int64_t i = 0; i < ebb_shape_elements(&shape); i++)
        ebb_tensor_set(&tensor, i, low + (double)(next_bits(seed) % (uint32_t)(high - low)));
    return tensor;
}

/* ---- kernels: the bits of the reference, with any number of threads ---- */

typedef struct pick_case {
    ebb_shape x, indices; /* of rows; along an axis, only the dimension of the axis counts */
    int axis;
} pick_case;

static const pick_case pick_cases[] = {
    { SHAPE(1000, 70), SHAPE(1300), 0 },  { SHAPE(50, 3), SHAPE(30, 700), 0 },
    { SHAPE(100003), SHAPE(60000), 0 },   { SHAPE(7), SHAPE(100000), 0 },
    { SHAPE(3, 20000), SHAPE(30000), 1 }, { SHAPE(40, 50, 60), SHAPE(70), 1 },
    { SHAPE(300, 40, 5), SHAPE(60), -1 }, { SHAPE(2, 17, 5000), SHAPE(11), 1 },
    { SHAPE(200000, 1), SHAPE(9), 0 },    { SHAPE(1, 1, 100000), SHAPE(1), 0 },
};

/* Runs with 1, 2, 3 and 5 threads and compares every bit with the reference kernel. */
static void compare_bits(const ebb_op *op, const void *attrs, const ebb_tensor *inputs,
                         const char *label)
{
    ebb_type types[EBB_MAX_RESULTS];
    ebb_tensor expected[EBB_MAX_RESULTS], results[EBB_MAX_RESULTS];
    ebb_error error = { 0 };
    kernel_case c = { op, attrs, op->n_inputs, inputs, label, 0 };
    REQUIRE(!infer_results(op, attrs, inputs, op->n_inputs, types, &error), "%s: %s", label,
            error.message);
    for (int r = 0; r < op->n_results; r++)
        expected[r] = make_tensor(types[r].dtype, types[r].shape);
    ebb_eval eval = { op, attrs, op->n_inputs, op->n_results, inputs, expected, &error };
    REQUIRE(!op->eval(&eval), "%s: %s", label, error.message);
    static const int n_threads[] = { 1, 2, 3, 5 };
    for (int t = 0; t < COUNT(n_threads); t++) {
        ebb_kernel kernel;
        REQUIRE(!run_kernel(&c, &ebb_backend_native, n_threads[t], -1, results, &kernel, &error),
                "%s: %s", label, error.message);
        REQUIRE(n_threads[t] == 1 || kernel.n_threads > 1 ||
                    ebb_shape_elements(&types[0].shape) < 40000,
                "%s: never shared out", label);
        for (int r = 0; r < op->n_results; r++) {
            REQUIRE(memcmp(results[r].data, expected[r].data, ebb_tensor_bytes(&expected[r])) == 0,
                    "%s: result %d with %d threads differs", label, r, n_threads[t]);
            ebb_tensor_finish(&results[r]);
        }
    }
    for (int r = 0; r < op->n_results; r++)
        ebb_tensor_finish(&expected[r]);
}

static void check_pick(const ebb_op *op, bool is_along, const pick_case *c, ebb_dtype dtype,
                       ebb_dtype index_dtype, uint32_t *seed)
{
    const int axis = c->axis < 0 ? c->axis + c->x.rank : c->axis;
    const int64_t n = c->x.dims[axis];
    const int limit = index_dtype == EBB_U8 && n > 256 ? 256 : (int)n;
    ebb_shape picked = c->x, shape = c->indices;
    if (is_along) {
        shape = c->x;
        shape.dims[axis] = c->indices.dims[c->indices.rank - 1];
        picked = shape;
    } else {
        picked.rank = 0;
        for (int i = 0; i < c->x.rank; i++) {
            for (int k = 0; i == axis && k < shape.rank; k++)
                picked.dims[picked.rank++] = shape.dims[k];
            if (i != axis)
                picked.dims[picked.rank++] = c->x.dims[i];
        }
    }
    ebb_tensor inputs[3] = { draw_tensor(dtype, c->x, 0, 2, seed),
                             draw_tensor(index_dtype, shape, 0, limit, seed),
                             draw_tensor(dtype, picked, 0, 2, seed) };
    for (int i = 0; i < 3; i += 2) /* sums that depend on their order */
        for (int64_t k = 0; dtype == EBB_F32 && k < ebb_shape_elements(&inputs[i].type.shape); k++)
            ((float *)inputs[i].data)[k] = (float)ldexp(next_bits(seed) >> 8, -20);
    char label[200], text[EBB_TYPE_TEXT_BYTES];
    snprintf(label, sizeof label, "%s of %s, %s indices", op->name,
             ebb_type_text(&inputs[0].type, text), ebb_dtype_name(index_dtype));
    compare_bits(op, &(const ebb_axis_attrs){ c->axis }, inputs, label);
    for (int i = 0; i < 3; i++)
        ebb_tensor_finish(&inputs[i]);
}

START_TEST(kernels_have_the_bits_of_the_reference)
{
    static const struct {
        const ebb_op *op;
        bool is_along;
    } ops[] = { { &ebb_op_gather, false },
                { &ebb_op_gather_along_axis, true },
                { &ebb_op_scatter, false },
                { &ebb_op_scatter_add, false },
                { &ebb_op_scatter_along_axis, true },
                { &ebb_op_scatter_add_along_axis, true } };
    static const ebb_dtype dtypes[] = { EBB_F32, EBB_F64, EBB_I64, EBB_I32, EBB_U8, EBB_BOOL };
    static const ebb_dtype index_dtypes[] = { EBB_I64, EBB_I32, EBB_U8 };
    uint32_t seed = 2463534242u + (uint32_t)_i;
    for (int o = 0; o < COUNT(ops); o++) {
        check_pick(ops[o].op, ops[o].is_along, &pick_cases[_i], EBB_F32, EBB_I64, &seed);
        const ebb_dtype dtype = dtypes[_i % COUNT(dtypes)];
        if (dtype != EBB_BOOL || !strstr(ops[o].op->name, "add"))
            check_pick(ops[o].op, ops[o].is_along, &pick_cases[_i], dtype,
                       index_dtypes[_i % COUNT(index_dtypes)], &seed);
    }
}
END_TEST

/* ---- top_k against a sort of another kind ---- */

typedef struct entry {
    double value;
    int64_t index;
    bool smallest;
} entry;

static int compare_entries(const void *left, const void *right)
{
    const entry *a = left, *b = right;
    int order = isnan(a->value) || isnan(b->value) ? !!isnan(a->value) - !!isnan(b->value)
                                                   : (a->value > b->value) - (a->value < b->value);
    if (order == 0)
        return a->index < b->index ? -1 : 1;
    return a->smallest ? order : -order;
}

static void check_top_k(ebb_dtype dtype, ebb_shape shape, ebb_top_k_attrs attrs, uint32_t *seed)
{
    static const double odd[] = { NAN, INFINITY, -INFINITY, 0, -0.0, 1e-310, -1e-310, -NAN };
    const bool is_float = ebb_dtype_is_float(dtype);
    const int low = dtype == EBB_U8 ? 0 : -40;
    ebb_tensor x = draw_tensor(dtype, shape, low, low + 256, seed), results[2];
    ebb_error error = { 0 };
    int64_t n = shape.dims[attrs.axis], outer = 1, inner = 1;
    for (int i = 0; i < shape.rank; i++)
        *(i < attrs.axis ? &outer : &inner) *= i == attrs.axis ? 1 : shape.dims[i];
    for (int64_t i = 0; is_float && i < outer * n * inner; i++)
        if (next_bits(seed) % 8 == 0)
            ebb_tensor_set(&x, i, odd[next_bits(seed) % 8]);
    entry *entries = malloc((size_t)n * sizeof *entries);
    kernel_case c = { &ebb_op_top_k, &attrs, 1, &x, "top_k", 0 };
    const ebb_backend *const both[] = { &ebb_backend_native, &ebb_backend_reference };
    for (int way = 0; way < 4; way++) {
        REQUIRE(!run_kernel(&c, both[way % 2], 1 + way, -1, results, NULL, &error), "%s",
                error.message);
        for (int64_t o = 0; o < outer; o++)
            for (int64_t i = 0; i < inner; i++) {
                for (int64_t j = 0; j < n; j++)
                    entries[j] =
                        (entry){ ebb_tensor_get(&x, (o * n + j) * inner + i), j, attrs.smallest };
                qsort(entries, (size_t)n, sizeof *entries, compare_entries);
                for (int64_t j = 0; j < attrs.k; j++) {
                    const int64_t at = (o * attrs.k + j) * inner + i;
                    const double have = ebb_tensor_get(&results[0], at);
                    REQUIRE(((int64_t *)results[1].data)[at] == entries[j].index &&
                                nearly_equal(have, entries[j].value, 0, 0) &&
                                !signbit(have) == !signbit(entries[j].value),
                            "%s: place %lld of lane %lld, %lld: %g of index %lld",
                            ebb_dtype_name(dtype), (long long)j, (long long)o, (long long)i, have,
                            (long long)((int64_t *)results[1].data)[at]);
                }
            }
        ebb_tensor_finish(&results[0]);
        ebb_tensor_finish(&results[1]);
    }
    free(entries);
    ebb_tensor_finish(&x);
}

START_TEST(top_k_is_a_stable_sort)
{
    static const ebb_dtype dtypes[] = { EBB_F64, EBB_F32, EBB_I64, EBB_I32, EBB_U8 };
    static const int64_t ks[] = { 0, 1, 2, 31, 32, 33, 100, 1000 };
    uint32_t seed = 77 + (uint32_t)_i;
    for (int k = 0; k < COUNT(ks); k++)
        for (int smallest = 0; smallest < 2; smallest++) {
            ebb_top_k_attrs attrs = { 1, ks[k], smallest };
            check_top_k(dtypes[_i], EBB_SHAPE(5, 1000), attrs, &seed);
            attrs.k = ks[k] < 101 ? ks[k] : 101;
            check_top_k(dtypes[_i], EBB_SHAPE(3, 101, 7), attrs, &seed);
            attrs.axis = 0;
            attrs.k = ks[k] < 33 ? ks[k] : 33;
            check_top_k(dtypes[_i], EBB_SHAPE(33, 11), attrs, &seed);
        }
}
END_TEST

/* The extremes of the integers are not lost in the keys. */
START_TEST(integers_at_their_limits)
{
    int64_t x[] = { INT64_MAX, INT64_MIN, 0, -1, INT64_MAX - 1, INT64_MIN + 1 };
    static const int64_t expected[] = { 1, 5, 3, 2, 4, 0 };
    ebb_tensor in = ebb_tensor_borrow(EBB_I64, EBB_SHAPE(6), x), results[2];
    const ebb_top_k_attrs attrs = { 0, 6, true };
    ebb_error error = { 0 };
    kernel_case c = { &ebb_op_top_k, &attrs, 1, &in, "top_k", 0 };
    const ebb_backend *const both[] = { &ebb_backend_native, &ebb_backend_reference };
    for (int b = 0; b < 2; b++) {
        ck_assert_int_eq(run_kernel(&c, both[b], 1, -1, results, NULL, &error), EBB_OK);
        ck_assert_int_eq(memcmp(results[1].data, expected, sizeof expected), 0);
        for (int i = 0; i < 6; i++)
            ck_assert(((int64_t *)results[0].data)[i] == x[expected[i]]);
        ebb_tensor_finish(&results[0]);
        ebb_tensor_finish(&results[1]);
    }
}
END_TEST

/* ---- builders ---- */

static ebb_node input(ebb_graph *g, const char *name, ebb_shape shape)
{
    return ebb_input(g, name, EBB_F64, shape);
}

static ebb_node integers(ebb_graph *g, ebb_shape shape, const int64_t *values)
{
    return ebb_constant(g, EBB_I64, shape, values);
}

static void assert_values(ebb_node y, ebb_shape shape, const double *expected)
{
    ebb_error error = { .status = EBB_OK };
    ck_assert_msg(!ebb_node_is_none(y), "%s", ebb_graph_message(y.graph));
    ck_assert(ebb_shape_equal(&ebb_node_type(y)->shape, &shape));
    ebb_interpreter *in = ebb_interpreter_create(y.graph, NULL);
    ck_assert_msg(ebb_interpreter_run(in, &y, 1, &error) == EBB_OK, "%s", error.message);
    const ebb_tensor *value = ebb_interpreter_get(in, y);
    for (int64_t i = 0; i < ebb_shape_elements(&shape); i++)
        ck_assert_msg(nearly_equal(ebb_tensor_get(value, i), expected[i], 0, 1e-12),
                      "element %lld is %.17g, not %.17g", (long long)i, ebb_tensor_get(value, i),
                      expected[i]);
    ebb_interpreter_destroy(in);
}

static void assert_fails(ebb_node y, ebb_status status, const char *part, const char *part2)
{
    ck_assert(ebb_node_is_none(y));
    const char *message = ebb_graph_message(y.graph);
    ck_assert_msg(ebb_graph_status(y.graph) == status, "%s: %s",
                  ebb_status_name(ebb_graph_status(y.graph)), message);
    CHECK_TEXT(message, part);
    CHECK_TEXT(message, part2);
    CHECK_TEXT(message, "(test_index.c:");
    ebb_graph_destroy(y.graph);
}

START_TEST(sorting)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_constant(g, EBB_F64, EBB_SHAPE(2, 4), LIST(3, NAN, 1, 3, 2, -1, 2, 5));
    assert_values(ebb_sort(x, -1, false), EBB_SHAPE(2, 4), LIST(1, 3, 3, NAN, -1, 2, 2, 5));
    assert_values(ebb_sort(x, 1, true), EBB_SHAPE(2, 4), LIST(NAN, 3, 3, 1, 5, 2, 2, -1));
    assert_values(ebb_argsort(x, 1, false), EBB_SHAPE(2, 4), LIST(2, 0, 3, 1, 1, 0, 2, 3));
    assert_values(ebb_argsort(x, 1, true), EBB_SHAPE(2, 4), LIST(1, 0, 3, 2, 3, 0, 2, 1));
    assert_values(ebb_argsort(x, 0, false), EBB_SHAPE(2, 4), LIST(1, 1, 0, 0, 0, 0, 1, 1));
    ck_assert_int_eq(ebb_node_type(ebb_argsort(x, 0, false))->dtype, EBB_I64);
    ebb_node empty = input(g, "e", EBB_SHAPE(3, 0));
    ck_assert(ebb_type_equal(ebb_node_type(ebb_sort(empty, 1, false)), ebb_node_type(empty)));
    ebb_node where, best = ebb_top_k(x, (ebb_top_k_attrs){ .axis = 1, .k = 1 }, &where);
    assert_values(best, EBB_SHAPE(2, 1), LIST(NAN, 5));
    assert_values(ebb_reshape(where, EBB_SHAPE(2)), EBB_SHAPE(2), LIST(1, 3));
    assert_values(ebb_argmax(x, 1), EBB_SHAPE(2), LIST(1, 3));
    /* what argsort, top_k and argmax return is what gather_along_axis takes */
    assert_values(ebb_gather_along_axis(x, ebb_argsort(x, 1, true), 1), EBB_SHAPE(2, 4),
                  LIST(NAN, 3, 3, 1, 5, 2, 2, -1));
    assert_values(ebb_gather_along_axis(x, ebb_reshape(ebb_argmin(x, 0), EBB_SHAPE(1, 4)), 0),
                  EBB_SHAPE(1, 4), LIST(2, NAN, 1, 3));
    ck_assert(ebb_sort(x, -1, true).id == ebb_top_k(x, (ebb_top_k_attrs){ 1, 4, false }, NULL).id);
    assert_fails(ebb_sort(x, 2, false), EBB_BAD_AXIS, "axis 2 is out of range for rank 2",
                 "f64[2,4]");
    g = ebb_graph_create("g");
    assert_fails(ebb_argsort(input(g, "s", EBB_SCALAR), 0, false), EBB_BAD_AXIS,
                 "a scalar has none", "s f64[]");
    g = ebb_graph_create("g");
    ebb_node none = { g, 0 };
    where = x;
    assert_fails(ebb_top_k(none, (ebb_top_k_attrs){ .k = 1 }, &where), EBB_BAD_NODE, "top_k", "");
    ck_assert(ebb_node_is_none(where));
}
END_TEST

START_TEST(embeddings)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node table = ebb_constant(g, EBB_F64, EBB_SHAPE(3, 2), LIST(1, 2, 3, 4, 5, 6));
    ebb_node words = integers(g, EBB_SHAPE(2, 2), (const int64_t[]){ 2, 0, 0, 1 });
    assert_values(ebb_embedding(table, words), EBB_SHAPE(2, 2, 2), LIST(5, 6, 1, 2, 1, 2, 3, 4));
    ck_assert(ebb_embedding(table, words).id == ebb_gather(table, words, -2).id);
    assert_values(ebb_embedding(table, ebb_cast(words, EBB_I32)), EBB_SHAPE(2, 2, 2),
                  LIST(5, 6, 1, 2, 1, 2, 3, 4));
    assert_fails(ebb_embedding(input(g, "t", EBB_SHAPE(3)), words), EBB_BAD_SHAPE,
                 "embedding: not [entries, width]", "t f64[3]");
    g = ebb_graph_create("g");
    table = input(g, "t", EBB_SHAPE(3, 2));
    assert_fails(ebb_embedding(table, input(g, "i", EBB_SHAPE(3))), EBB_BAD_DTYPE,
                 "gather: indices: dtype f64 is not one of i64, i32, u8", "t f64[3,2], i f64[3]");
    g = ebb_graph_create("g");
    ebb_node none = { g, 0 };
    assert_fails(ebb_embedding(none, none), EBB_BAD_NODE, "gather", "");
}
END_TEST

/* ---- gradients by definition ---- */

/* Asserts the gradient of sum(y c) by x at a constant: y is linear in x, or its slope is known. */
static void assert_gradient(ebb_node y, const double *c, ebb_node x, const double *expected)
{
    ebb_node seed = ebb_constant(y.graph, EBB_F64, ebb_node_type(y)->shape, c), g;
    ck_assert_msg(ebb_gradients_with(&y, &seed, 1, &x, 1, &g) == EBB_OK, "%s",
                  ebb_graph_message(y.graph));
    assert_values(g, ebb_node_type(x)->shape, expected);
}

START_TEST(gradients_follow_the_indices)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_constant(g, EBB_F64, EBB_SHAPE(3), LIST(7, 8, 9));
    ebb_node u = ebb_constant(g, EBB_F64, EBB_SHAPE(4), LIST(1, 2, 3, 4));
    ebb_node i = integers(g, EBB_SHAPE(4), (const int64_t[]){ 2, 0, 2, 2 });
    assert_gradient(ebb_gather(x, i, 0), LIST(1, 10, 100, 1000), x, LIST(10, 0, 1101));
    assert_gradient(ebb_gather_along_axis(x, i, 0), LIST(1, 10, 100, 1000), x, LIST(10, 0, 1101));
    assert_gradient(ebb_scatter_add(x, i, u, 0), LIST(1, 10, 100), x, LIST(1, 10, 100));
    assert_gradient(ebb_scatter_add(x, i, u, 0), LIST(1, 10, 100), u, LIST(100, 1, 100, 100));
    /* only the last of equal indices is seen */
    assert_values(ebb_scatter(x, i, u, 0), EBB_SHAPE(3), LIST(2, 8, 4));
    assert_gradient(ebb_scatter(x, i, u, 0), LIST(1, 10, 100), x, LIST(0, 10, 0));
    assert_gradient(ebb_scatter(x, i, u, 0), LIST(1, 10, 100), u, LIST(0, 1, 0, 100));
    assert_gradient(ebb_scatter_along_axis(x, i, u, 0), LIST(1, 10, 100), x, LIST(0, 10, 0));
    assert_gradient(ebb_scatter_along_axis(x, i, u, 0), LIST(1, 10, 100), u, LIST(0, 1, 0, 100));
    /* indices of rank 2 between other dimensions: 1 is replaced twice, by update [1,0] last */
    ebb_node wide = ebb_constant(g, EBB_F64, EBB_SHAPE(2, 2), LIST(1, 2, 3, 4));
    ebb_node grid = integers(g, EBB_SHAPE(2, 1), (const int64_t[]){ 1, 1 });
    ebb_node updates = ebb_constant(g, EBB_F64, EBB_SHAPE(2, 2, 1), LIST(5, 6, 7, 8));
    ebb_node y = ebb_scatter(wide, grid, updates, 1);
    assert_values(y, EBB_SHAPE(2, 2), LIST(1, 6, 3, 8));
    assert_gradient(y, LIST(1, 10, 100, 1000), updates, LIST(0, 10, 0, 1000));
    assert_gradient(y, LIST(1, 10, 100, 1000), wide, LIST(1, 0, 100, 0));
    /* ties: the gradient follows the order */
    ebb_node ties = ebb_constant(g, EBB_F64, EBB_SHAPE(4), LIST(5, 9, 5, 9));
    assert_gradient(ebb_top_k(ties, (ebb_top_k_attrs){ .k = 1 }, NULL), LIST(3), ties,
                    LIST(0, 3, 0, 0));
    assert_gradient(ebb_sort(ties, 0, false), LIST(1, 2, 3, 4), ties, LIST(1, 3, 2, 4));
    assert_gradient(ebb_sort(ties, 0, true), LIST(1, 2, 3, 4), ties, LIST(3, 1, 4, 2));
    /* nothing flows through indices */
    ebb_node chosen = ebb_cast(ebb_argsort(ties, 0, false), EBB_F64);
    assert_gradient(chosen, LIST(1, 2, 3, 4), ties, LIST(0, 0, 0, 0));
    ebb_graph_destroy(g);
}
END_TEST

/* ---- running ---- */

/* Views and repeated values as inputs, in every way of running. */
START_TEST(views_as_inputs)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, 3)), t = ebb_transpose(x, EBB_ALL_AXES);
    ebb_node i = ebb_input(g, "i", EBB_I32, EBB_SHAPE(2, 2)), it = ebb_transpose(i, EBB_ALL_AXES);
    ebb_node u = ebb_reshape(t, EBB_SHAPE(2, 3)), flat = ebb_reshape(i, EBB_SHAPE(1, 4)), where;
    ebb_node zeros = ebb_full(g, EBB_F32, EBB_SHAPE(3, 3), 0);
    ebb_node some = ebb_gather(ebb_reshape(x, EBB_SHAPE(6)), flat, 0);
    ebb_node best = ebb_top_k(t, (ebb_top_k_attrs){ 1, 1, false }, &where);
    ebb_node ys[] = {
        ebb_gather(t, it, 0),
        ebb_scatter_add(zeros, ebb_broadcast_to(flat, EBB_SHAPE(2, 4)),
                        ebb_full(g, EBB_F32, EBB_SHAPE(2, 4, 3), 1), 0),
        ebb_scatter(zeros, ebb_reshape(it, EBB_SHAPE(4)), ebb_broadcast_to(some, EBB_SHAPE(3, 4)),
                    1),
        ebb_gather_along_axis(u, it, 1),
        ebb_scatter_along_axis(t, it, ebb_full(g, EBB_F32, EBB_SHAPE(2, 2), 7), 0),
        best,
        where,
        ebb_sort(t, 0, false),
        ebb_cumsum(t, (ebb_cumsum_attrs){ .axis = 0 }),
        ebb_argmax(it, 1),
        ebb_reduce_max(it, EBB_AXES(0), false),
        ebb_reduce_all(ebb_greater(t, ebb_full(g, EBB_F32, EBB_SCALAR, 1)), EBB_AXES(1), true),
    };
    enum { N = COUNT(ys) };
    ck_assert_msg(ebb_graph_status(g) == EBB_OK, "%s", ebb_graph_message(g));
    float data[] = { 5, 1, 4, 2, 6, 3 };
    int32_t picks[] = { 2, 0, 1, 1 };
    ebb_feed feeds[] = { FEED(x, data), FEED(i, picks) };
    ebb_interpreter *in = ebb_interpreter_create(g, NULL);
    ebb_error error;
    for (int f = 0; f < 2; f++)
        ck_assert_int_eq(ebb_interpreter_set(in, feeds[f].node, &feeds[f].value, &error), EBB_OK);
    ck_assert_msg(ebb_interpreter_run(in, ys, N, &error) == EBB_OK, "%s", error.message);
    ebb_executable *e = compile(g, _i, ys, N, NULL);
    for (int round = 0; round < 2; round++)
        for (int y = 0; y < N; y++) {
            const ebb_tensor *want = ebb_interpreter_get(in, ys[y]);
            ebb_tensor have = make_tensor(want->type.dtype, want->type.shape);
            run(e, feeds, 2, &(ebb_fetch){ ys[y], have }, 1);
            ck_assert_msg(memcmp(have.data, want->data, ebb_tensor_bytes(want)) == 0, "fetch %d",
                          y);
            ebb_tensor_finish(&have);
        }
    ebb_executable_destroy(e);
    ebb_interpreter_destroy(in);
    ebb_graph_destroy(g);
}
END_TEST

/* The ops that take indices, each as something that depends on the words [2,3], which must be below
 * 4. */
static ebb_node use_words(int which, ebb_node table, ebb_node words)
{
    ebb_graph *g = table.graph;
    ebb_node columns = ebb_full(g, EBB_F32, EBB_SHAPE(2, 4), 1);
    ebb_node rows = ebb_full(g, EBB_F32, EBB_SHAPE(2, 3, 2), 1);
    ebb_node ones = ebb_full(g, EBB_F32, EBB_SHAPE(2, 3), 1);
    switch (which) {
    case 0:
        return ebb_embedding(table, words);
    case 1:
        return ebb_scatter_add(table, words, rows, 0);
    case 2:
        return ebb_scatter(table, words, rows, 0);
    case 3:
        return ebb_gather_along_axis(columns, words, 1);
    case 4:
        return ebb_scatter_add_along_axis(columns, words, ones, 1);
    case 5:
        return ebb_scatter_along_axis(columns, words, ones, 1);
    default:
        return ebb_one_hot(words, 4, EBB_F32);
    }
}
static const char *const used_ops[] = { "gather",
                                        "scatter_add",
                                        "scatter",
                                        "gather_along_axis",
                                        "scatter_add_along_axis",
                                        "scatter_along_axis",
                                        "one_hot" };
enum { N_USES = COUNT(used_ops) };

START_TEST(a_bad_index_changes_nothing)
{
    const int way = _i % N_WAYS, which = _i / N_WAYS;
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node words = ebb_input(g, "words", EBB_I32, EBB_SHAPE(2, 3));
    ebb_node table = ebb_variable(g, "table", EBB_F32, EBB_SHAPE(4, 2), &(ebb_init){ .a = 3 });
    ebb_node count = ebb_variable(g, "count", EBB_I64, EBB_SCALAR, NULL);
    ebb_node used = ebb_named(use_words(which, table, words), "used");
    ebb_node early = ebb_reduce_sum(table, EBB_ALL_AXES, false);
    ebb_node total = ebb_reduce_sum(ebb_square(used), EBB_ALL_AXES, false);
    ebb_update(count, ebb_add(count, ebb_scalar(g, EBB_I64, 1)));
    ebb_update(table, ebb_mul(table, ebb_add(table, total)));
    ebb_node nodes[] = { early, used, total };
    ebb_executable *e = compile(g, way, nodes, 3, store);
    const int32_t good[] = { 0, 1, 2, 3, 0, 1 };
    static const struct {
        int32_t words[6];
        const char *index, *place;
    } bad[] = { { { 0, 1, 2, 3, 4, 5 }, "index 4 ", "[1,1]" },
                { { 0, -1, 9, 3, 2, 1 }, "index -1 ", "[0,1]" },
                { { INT32_MIN, 1, 2, 3, 0, 1 }, "index -2147483648 ", "[0,0]" },
                { { 0, 1, 2, 3, 0, INT32_MAX }, "index 2147483647 ", "[1,2]" } };
    const int64_t n = ebb_shape_elements(&ebb_node_type(used)->shape);
    float out_early = -7, out_used[24], out_total = -7;
    ebb_fetch fetches[] = { FETCH(early, &out_early), FETCH(used, out_used),
                            FETCH(total, &out_total) };
    run(e, &FEED(words, good), 1, NULL, 0);
    ebb_tensor stored_table;
    float before[8];
    ck_assert_int_eq(ebb_store_get(store, "table", &stored_table), EBB_OK);
    memcpy(before, stored_table.data, sizeof before);
    for (int i = 0; i < 24; i++)
        out_used[i] = -7;
    for (int b = 0; b < COUNT(bad); b++) {
        ck_assert_int_eq(ebb_run(e, &FEED(words, bad[b].words), 1, fetches, 3), EBB_BAD_INDEX);
        const char *message = ebb_executable_message(e);
        CHECK_TEXT(message, used_ops[which]);
        CHECK_TEXT(message, "used f32");
        CHECK_TEXT(message, "test_index.c:");
        CHECK_TEXT(message, bad[b].index);
        CHECK_TEXT(message, bad[b].place);
        CHECK_TEXT(message, "is not in 0..3");
        ck_assert_int_eq(memcmp(before, stored_table.data, sizeof before), 0);
        ck_assert_double_eq(stored(store, "count", 0), 1);
        ck_assert_float_eq(out_early, -7);
        ck_assert_float_eq(out_total, -7);
        for (int64_t i = 0; i < n; i++)
            ck_assert_float_eq(out_used[i], -7);
    }
    run(e, &FEED(words, good), 1, fetches, 3);
    ck_assert_float_ne(out_used[0], -7);
    ck_assert_double_eq(stored(store, "count", 0), 2);
    ck_assert_int_ne(memcmp(before, stored_table.data, sizeof before), 0);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

/* A constant that is out of range is not folded away, and found when it runs. */
START_TEST(a_bad_constant_index)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_constant(g, EBB_F64, EBB_SHAPE(2), LIST(1, 2));
    ebb_node i = integers(g, EBB_SHAPE(2), (const int64_t[]){ 1, 2 });
    ebb_node y = ebb_gather(x, i, 0), spare = ebb_neg(x);
    ebb_node nodes[] = { y, spare };
    ebb_executable *e = compile(g, _i, nodes, 2, NULL);
    double out[2] = { -7, -7 };
    ck_assert_int_eq(ebb_run(e, NULL, 0, &FETCH(y, out), 1), EBB_BAD_INDEX);
    CHECK_TEXT(ebb_executable_message(e), "index 2 at position 1 is not in 0..1");
    ck_assert_double_eq(out[0], -7);
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
}
END_TEST

/* An embedding trains: rows that were not picked stay, the others move by the sum of their parts.
 */
START_TEST(an_embedding_trains)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node words = ebb_input(g, "words", EBB_I64, EBB_SHAPE(4));
    ebb_node table = ebb_variable(g, "table", EBB_F32, EBB_SHAPE(3, 2), &(ebb_init){ .a = 1 });
    ebb_node loss = ebb_reduce_sum(ebb_embedding(table, words), EBB_ALL_AXES, false);
    ck_assert_int_eq(ebb_nn_minimize(loss, &(ebb_nn_rule){ .rate = 0.5 }), EBB_OK);
    ebb_executable *e = compile(g, _i, &loss, 1, store);
    const int64_t picks[] = { 2, 0, 2, 2 };
    float out = 0;
    run(e, &FEED(words, picks), 1, &FETCH(loss, &out), 1);
    ck_assert_float_eq(out, 8);
    for (int i = 0; i < 6; i++)
        ck_assert_double_eq(stored(store, "table", i), i < 2 ? 0.5 : i < 4 ? 1 : -0.5);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("index");
    TCase *kernels = tcase_create("kernels");
    tcase_set_timeout(kernels, 120);
    tcase_add_loop_test(kernels, kernels_have_the_bits_of_the_reference, 0, COUNT(pick_cases));
    tcase_add_loop_test(kernels, top_k_is_a_stable_sort, 0, 5);
    tcase_add_test(kernels, integers_at_their_limits);
    suite_add_tcase(suite, kernels);
    TCase *nodes = tcase_create("nodes");
    tcase_add_test(nodes, sorting);
    tcase_add_test(nodes, embeddings);
    tcase_add_test(nodes, gradients_follow_the_indices);
    suite_add_tcase(suite, nodes);
    TCase *running = tcase_create("running");
    tcase_add_loop_test(running, views_as_inputs, 0, N_WAYS);
    tcase_add_loop_test(running, a_bad_index_changes_nothing, 0, N_USES * N_WAYS);
    tcase_add_loop_test(running, a_bad_constant_index, 0, N_WAYS);
    tcase_add_loop_test(running, an_embedding_trains, 0, N_WAYS);
    suite_add_tcase(suite, running);
    return run_suite(suite);
}
