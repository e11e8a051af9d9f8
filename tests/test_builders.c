/* The builders: broadcasting, normalised attributes, names and composites, and what they refuse. */
#include "graph/interpret.h"
#include "ops/descriptors.h"
#include "ops/random.h"
#include "tests/support/runner.h"
#include <ebb/ops.h>
#include <math.h>
#include <string.h>

#define LIST(...)                                                                                  \
    (const double[])                                                                               \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

enum { MAX_ELEMENTS = 128 };

static void assert_values(ebb_node y, ebb_shape shape, const double *expected)
{
    ebb_error error = { .status = EBB_OK };
    ck_assert_msg(!ebb_node_is_none(y), "%s", ebb_graph_message(y.graph));
    ck_assert(ebb_shape_equal(&ebb_node_type(y)->shape, &shape));
    ebb_interpreter *in = ebb_interpreter_create(y.graph, NULL);
    ck_assert_msg(ebb_interpreter_run(in, &y, 1, &error) == EBB_OK, "%s", error.message);
    const ebb_tensor *value = ebb_interpreter_get(in, y);
    for (int64_t i = 0; i < ebb_shape_elements(&shape); i++)
        ck_assert_double_eq_tol(ebb_tensor_get(value, i), expected[i], 1e-12);
    ebb_interpreter_destroy(in);
}

/* y failed with this status and all these parts of the message; the graph is destroyed. */
static void assert_fails(ebb_node y, ebb_status status, const char *part, const char *part2)
{
    ck_assert(ebb_node_is_none(y));
    const char *message = ebb_graph_message(y.graph);
    ck_assert_msg(ebb_graph_status(y.graph) == status, "%s: %s",
                  ebb_status_name(ebb_graph_status(y.graph)), message);
    ck_assert_msg(strstr(message, part) && strstr(message, part2), "%s", message);
    ck_assert_msg(strstr(message, "(test_builders.c:"), "no place: %s", message);
    ebb_graph_destroy(y.graph);
}

static ebb_node input(ebb_graph *g, const char *name, ebb_shape shape)
{
    return ebb_input(g, name, EBB_F64, shape);
}

static ebb_node count_up(ebb_graph *g, ebb_shape shape)
{
    ebb_node n = ebb_iota(g, EBB_F64, EBB_SHAPE(ebb_shape_elements(&shape)), 0);
    return ebb_reshape(n, shape);
}

static bool same_node(ebb_node a, ebb_node b)
{
    return a.graph == b.graph && a.id == b.id && a.id != 0;
}

/* ---- broadcasting ---- */

START_TEST(broadcasting)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node column = count_up(g, EBB_SHAPE(2, 1)), row = count_up(g, EBB_SHAPE(3));
    ebb_node two = ebb_scalar(g, EBB_F64, 2);
    assert_values(ebb_add(column, row), EBB_SHAPE(2, 3), LIST(0, 1, 2, 1, 2, 3));
    assert_values(ebb_sub(row, column), EBB_SHAPE(2, 3), LIST(0, 1, 2, -1, 0, 1));
    assert_values(ebb_mul(two, row), EBB_SHAPE(3), LIST(0, 2, 4));
    assert_values(ebb_pow(two, two), EBB_SCALAR, LIST(4));
    assert_values(ebb_greater(row, ebb_scalar(g, EBB_F64, 1)), EBB_SHAPE(3), LIST(0, 0, 1));
    ebb_node deep = ebb_full(g, EBB_F64, EBB_SHAPE(2, 1, 1), 1);
    assert_values(ebb_maximum(deep, row), EBB_SHAPE(2, 1, 3), LIST(1, 1, 2, 1, 1, 2));
    ebb_node empty = ebb_full(g, EBB_F64, EBB_SHAPE(0, 1), 1);
    assert_values(ebb_add(empty, row), EBB_SHAPE(0, 3), LIST(0));
    ebb_node which = ebb_equal(row, ebb_scalar(g, EBB_F64, 1));
    assert_values(ebb_select(which, column, two), EBB_SHAPE(2, 3), LIST(2, 0, 2, 2, 1, 2));
    /* three shapes of which the first two agree */
    assert_values(ebb_select(ebb_greater(column, two), column, row), EBB_SHAPE(2, 3),
                  LIST(0, 1, 2, 0, 1, 2));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(equal_shapes_need_no_broadcast)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node a = input(g, "a", EBB_SHAPE(2, 3)), b = input(g, "b", EBB_SHAPE(2, 3));
    uint32_t before = ebb_graph_n_nodes(g);
    ebb_add(a, b);
    ck_assert_uint_eq(ebb_graph_n_nodes(g), before + 1);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(refused_binary)
{
    ebb_graph *g = ebb_graph_create("g");
    assert_fails(ebb_add(input(g, "x", EBB_SHAPE(2, 3)), input(g, "y", EBB_SHAPE(2))),
                 EBB_BAD_SHAPE, "add: shapes do not broadcast: [2,3], [2]", "x f64[2,3], y f64[2]");
    g = ebb_graph_create("g");
    assert_fails(ebb_mul(input(g, "x", EBB_SHAPE(3)), ebb_input(g, "y", EBB_F32, EBB_SHAPE(3))),
                 EBB_BAD_DTYPE, "mul: dtypes differ: f64, f32", "x f64[3], y f32[3]");
    g = ebb_graph_create("g");
    ebb_node condition = ebb_input(g, "c", EBB_BOOL, EBB_SHAPE(2));
    assert_fails(ebb_select(condition, input(g, "x", EBB_SHAPE(3)), input(g, "y", EBB_SHAPE(3))),
                 EBB_BAD_SHAPE, "select: shapes differ: condition [2], values [3]", "c bool[2]");
    g = ebb_graph_create("g");
    ebb_graph *other = ebb_graph_create("other");
    assert_fails(ebb_add(input(g, "x", EBB_SHAPE(3)), input(other, "y", EBB_SHAPE(1))),
                 EBB_BAD_NODE, "y f64[1]) belongs to graph \"other\"", "");
    ebb_graph_destroy(other);
}
END_TEST

/* Every builder on a none node gives a none node, without and with a graph that has failed, and the
 * first message stays. */
static void build_everything(ebb_graph *g, ebb_node x)
{
    const ebb_node nodes[] = {
        ebb_neg(x),
        ebb_relu(x),
        ebb_stop_gradient(x),
        ebb_logical_not(x),
        ebb_cast(x, EBB_F32),
        ebb_add(x, x),
        ebb_pow(x, x),
        ebb_equal(x, x),
        ebb_select(x, x, x),
        ebb_reduce_sum(x, EBB_AXES(3, 3), true),
        ebb_reduce_mean(x, EBB_ALL_AXES, false),
        ebb_reduce_max(x, EBB_AXES(-9), false),
        ebb_argmax(x, 5),
        ebb_matmul(x, x),
        ebb_reshape(x, EBB_SHAPE(-1, -1)),
        ebb_transpose(x, EBB_AXES(0, 1)),
        ebb_broadcast_to(x, EBB_SHAPE(2)),
        ebb_one_hot(x, -1, EBB_F32),
        ebb_softmax(x, 0),
        ebb_log_softmax(x, -1),
        ebb_softmax_cross_entropy(x, x),
        ebb_squared_error(x, x),
        ebb_cross_entropy(x, x, 0),
        ebb_full_like(x, 1),
        ebb_random_uniform(x, EBB_F32, EBB_SHAPE(2), 0, -1),
        ebb_random_normal(x, EBB_F32, EBB_SHAPE(2), 0, 0),
        ebb_input(g, "late", EBB_F32, EBB_SCALAR),
        ebb_variable(g, "v", EBB_F32, EBB_SCALAR, NULL),
        ebb_constant(g, EBB_F32, EBB_SCALAR, NULL),
        ebb_scalar(g, EBB_F32, 1),
        ebb_full(g, EBB_F32, EBB_SHAPE(2), 1),
        ebb_iota(g, EBB_F32, EBB_SHAPE(2), 0),
    };
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
        ck_assert_msg(ebb_node_is_none(nodes[i]), "builder %d", (int)i);
}

START_TEST(none_nodes)
{
    build_everything(NULL, EBB_NONE);
    ebb_graph *g = ebb_graph_create("g");
    ebb_node failed = ebb_input(g, "no/name", EBB_F64, EBB_SCALAR);
    char message[EBB_MESSAGE_BYTES];
    strcpy(message, ebb_graph_message(g));
    ck_assert_int_eq(ebb_graph_status(g), EBB_BAD_NAME);
    build_everything(g, failed);
    build_everything(g, EBB_NONE);
    ck_assert_str_eq(ebb_graph_message(g), message);
    ebb_graph_destroy(g);
    g = ebb_graph_create("g");
    assert_fails(ebb_add(input(g, "x", EBB_SHAPE(3)), EBB_NONE), EBB_BAD_NODE, "add: input 1",
                 "none node");
}
END_TEST

/* ---- normalised attributes ---- */

START_TEST(equal_nodes_are_shared)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = input(g, "x", EBB_SHAPE(2, 3, 4));
    ck_assert(same_node(ebb_reduce_sum(x, EBB_AXES(-1, 0), false),
                        ebb_reduce_sum(x, EBB_AXES(0, 2), false)));
    ck_assert(same_node(ebb_reduce_max(x, EBB_ALL_AXES, false),
                        ebb_reduce_max(x, EBB_AXES(2, 1, 0), false)));
    ck_assert(
        !same_node(ebb_reduce_max(x, EBB_ALL_AXES, true), ebb_reduce_max(x, EBB_ALL_AXES, false)));
    ck_assert(same_node(ebb_argmax(x, -1), ebb_argmax(x, 2)));
    ck_assert(same_node(ebb_softmax(x, -3), ebb_softmax(x, 0)));
    ck_assert(same_node(ebb_log_softmax(x, -2), ebb_log_softmax(x, 1)));
    ck_assert(same_node(ebb_transpose(x, EBB_ALL_AXES), ebb_transpose(x, EBB_AXES(-1, -2, 0))));
    ck_assert(same_node(ebb_iota(g, EBB_F32, EBB_SHAPE(2, 3), -1),
                        ebb_iota(g, EBB_F32, EBB_SHAPE(2, 3), 1)));
    ck_assert(same_node(ebb_scalar(g, EBB_F32, 0.1), ebb_scalar(g, EBB_F32, 0.1f)));
    ck_assert(same_node(ebb_full_like(x, 1), ebb_full(g, EBB_F64, EBB_SHAPE(2, 3, 4), 1)));
    /* what changes nothing adds no node */
    ck_assert(same_node(ebb_reshape(x, EBB_SHAPE(2, -1, 4)), x));
    ck_assert(same_node(ebb_transpose(x, EBB_AXES(0, 1, -1)), x));
    ck_assert(same_node(ebb_broadcast_to(x, EBB_SHAPE(2, 3, 4)), x));
    ck_assert(same_node(ebb_cast(x, EBB_F64), x));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(unknown_dimension)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = input(g, "x", EBB_SHAPE(2, 3, 4)), y = ebb_reshape(x, EBB_SHAPE(-1, 6));
    ck_assert_int_eq(ebb_node_type(y)->shape.dims[0], 4);
    y = ebb_reshape(input(g, "e", EBB_SHAPE(0, 3)), EBB_SHAPE(-1, 3));
    ck_assert_int_eq(ebb_node_type(y)->shape.dims[0], 0);
    ebb_graph_destroy(g);
    g = ebb_graph_create("g");
    assert_fails(ebb_reshape(input(g, "x", EBB_SHAPE(6)), EBB_SHAPE(-1, -1)), EBB_BAD_SHAPE,
                 "reshape: more than one -1 in shape [-1,-1]", "x f64[6]");
    g = ebb_graph_create("g");
    assert_fails(ebb_reshape(input(g, "x", EBB_SHAPE(6)), EBB_SHAPE(4, -1)), EBB_BAD_SHAPE,
                 "there is no size in place of -1 in shape [4,-1]", "x f64[6]");
    g = ebb_graph_create("g");
    assert_fails(ebb_reshape(input(g, "x", EBB_SHAPE(0)), EBB_SHAPE(0, -1)), EBB_BAD_SHAPE,
                 "there is no size in place of -1", "x f64[0]");
    g = ebb_graph_create("g");
    assert_fails(ebb_reshape(input(g, "x", EBB_SHAPE(6)), EBB_SHAPE(INT64_MAX, 2, -1)),
                 EBB_BAD_SHAPE, "there is no size in place of -1", "x f64[6]");
    g = ebb_graph_create("g");
    assert_fails(ebb_reshape(input(g, "x", EBB_SHAPE(6)), EBB_SHAPE(-2, -3)), EBB_BAD_SHAPE,
                 "dimension 0 of shape [-2,-3] is negative", "x f64[6]");
    g = ebb_graph_create("g");
    assert_fails(ebb_reshape(input(g, "x", EBB_SHAPE(6)), EBB_SHAPE(4)), EBB_BAD_SHAPE,
                 "reshape: 6 elements do not fill shape [4]", "x f64[6]");
}
END_TEST

START_TEST(ranks_above_eight)
{
    ebb_shape nine = EBB_SHAPE(1, 1, 1, 1, 1, 1, 1, 1, 1);
    ebb_graph *g = ebb_graph_create("g");
    assert_fails(ebb_input(g, "x", EBB_F32, nine), EBB_BAD_SHAPE, "input: a shape of rank 9", "");
    g = ebb_graph_create("g");
    assert_fails(ebb_full(g, EBB_F32, nine, 1), EBB_BAD_SHAPE, "broadcast_to: a shape of rank 9",
                 "");
    g = ebb_graph_create("g");
    assert_fails(ebb_reshape(input(g, "x", EBB_SHAPE(1)), nine), EBB_BAD_SHAPE, "rank 9", "x f64");
    g = ebb_graph_create("g");
    assert_fails(ebb_iota(g, EBB_F32, nine, 8), EBB_BAD_SHAPE, "iota: a shape of rank 9", "");
    g = ebb_graph_create("g");
    ebb_axes many = { 12, { 0 } };
    assert_fails(ebb_reduce_sum(input(g, "x", EBB_SHAPE(3)), many, false), EBB_BAD_AXIS,
                 "a list of 12 axes", "x f64[3]");
    g = ebb_graph_create("g");
    assert_fails(ebb_variable(g, "v", EBB_F32, EBB_SHAPE(2, -1), NULL), EBB_BAD_SHAPE,
                 "variable: dimension 1 of shape [2,-1] is negative", "");
}
END_TEST

/* ---- matmul ---- */

static int n_nodes_of(const ebb_graph *g, const char *op)
{
    int n = 0;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(g); id++)
        n += strcmp(ebb_node_op(ebb_graph_node(g, id))->name, op) == 0;
    return n;
}

/* Element [b, i, j] of a product by the definition; a and b count up from 0. */
static void multiply(int batch, int m, int k, int n, bool a_repeats, bool b_repeats, double *out)
{
    for (int s = 0; s < batch; s++)
        for (int i = 0; i < m; i++)
            for (int j = 0; j < n; j++) {
                double sum = 0;
                for (int p = 0; p < k; p++)
                    sum += ((a_repeats ? 0 : s) * m * k + i * k + p) *
                           (double)((b_repeats ? 0 : s) * k * n + p * n + j);
                out[(s * m + i) * n + j] = sum;
            }
}

START_TEST(batched_products)
{
    double expected[MAX_ELEMENTS];
    ebb_graph *g = ebb_graph_create("g");
    multiply(3, 2, 4, 5, false, false, expected);
    assert_values(ebb_matmul(count_up(g, EBB_SHAPE(3, 2, 4)), count_up(g, EBB_SHAPE(3, 4, 5))),
                  EBB_SHAPE(3, 2, 5), expected);
    multiply(3, 2, 4, 5, true, false, expected);
    assert_values(ebb_matmul(count_up(g, EBB_SHAPE(2, 4)), count_up(g, EBB_SHAPE(3, 4, 5))),
                  EBB_SHAPE(3, 2, 5), expected);
    assert_values(ebb_matmul(count_up(g, EBB_SHAPE(1, 2, 4)), count_up(g, EBB_SHAPE(3, 1, 4, 5))),
                  EBB_SHAPE(3, 1, 2, 5), expected);
    ebb_graph_destroy(g);
    g = ebb_graph_create("g");
    multiply(3, 2, 4, 5, false, true, expected);
    assert_values(ebb_matmul(count_up(g, EBB_SHAPE(3, 2, 4)), count_up(g, EBB_SHAPE(4, 5))),
                  EBB_SHAPE(3, 2, 5), expected);
    ck_assert_int_eq(n_nodes_of(g, "broadcast_to"), 0); /* one product of [6,4] and [4,5] */
    ebb_node tall = ebb_transpose(count_up(g, EBB_SHAPE(4, 5)), EBB_ALL_AXES);
    assert_values(ebb_matmul_with(count_up(g, EBB_SHAPE(3, 2, 4)), tall,
                                  (ebb_matmul_attrs){ .transpose_b = true }),
                  EBB_SHAPE(3, 2, 5), expected);
    ebb_node flipped = ebb_transpose(count_up(g, EBB_SHAPE(3, 2, 4)), EBB_AXES(0, 2, 1));
    assert_values(ebb_matmul_with(flipped, count_up(g, EBB_SHAPE(4, 5)),
                                  (ebb_matmul_attrs){ .transpose_a = true }),
                  EBB_SHAPE(3, 2, 5), expected);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(refused_products)
{
    ebb_graph *g = ebb_graph_create("g");
    assert_fails(ebb_matmul(input(g, "x", EBB_SHAPE(100, 784)), input(g, "w", EBB_SHAPE(128, 10))),
                 EBB_BAD_SHAPE,
                 "matmul: inner dimensions differ: ", "x f64[100,784], w f64[128,10]");
    g = ebb_graph_create("g");
    assert_fails(ebb_matmul(input(g, "x", EBB_SHAPE(3, 2, 4)), input(g, "w", EBB_SHAPE(5, 2))),
                 EBB_BAD_SHAPE, "matmul: inner dimensions differ: [3,2,4], [5,2]",
                 "x f64[3,2,4], w f64[5,2]");
    g = ebb_graph_create("g");
    assert_fails(ebb_matmul(input(g, "x", EBB_SHAPE(3, 2, 4)), input(g, "w", EBB_SHAPE(2, 4, 2))),
                 EBB_BAD_SHAPE, "matmul: batch dimensions differ", "x f64[3,2,4], w f64[2,4,2]");
    g = ebb_graph_create("g");
    assert_fails(ebb_matmul(input(g, "x", EBB_SHAPE(3)), input(g, "w", EBB_SHAPE(4, 2))),
                 EBB_BAD_SHAPE, "matmul: inner dimensions differ: [3], [4,2]", "x f64[3]");
    g = ebb_graph_create("g");
    assert_fails(ebb_matmul(input(g, "x", EBB_SCALAR), input(g, "w", EBB_SHAPE(4, 2))),
                 EBB_BAD_SHAPE, "matmul: a matrix has rank 2 at least", "x f64[]");
    g = ebb_graph_create("g");
    ebb_matmul_attrs plain = { false, false };
    assert_fails(
        ebb_matmul_with(input(g, "x", EBB_SHAPE(4)), input(g, "w", EBB_SHAPE(4, 2)), plain),
        EBB_BAD_SHAPE, "matmul: a matrix has rank 2 at least", "x f64[4]");
    g = ebb_graph_create("g"); /* the sizes fit one by one, the result does not */
    int64_t large = INT64_C(1) << 32;
    assert_fails(ebb_matmul(input(g, "x", EBB_SHAPE(large, 0)), input(g, "w", EBB_SHAPE(0, large))),
                 EBB_BAD_SHAPE, "matmul", "x f64[4294967296,0]");
}
END_TEST

/* ---- sources ---- */

START_TEST(one_name_one_source)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = input(g, "x", EBB_SHAPE(2));
    ck_assert(same_node(x, input(g, "x", EBB_SHAPE(2))));
    ebb_init init = { EBB_INIT_NORMAL, 0, 1, 7 };
    ebb_node v = ebb_variable(g, "v", EBB_F32, EBB_SHAPE(2), &init);
    ck_assert(same_node(v, ebb_variable(g, "v", EBB_F32, EBB_SHAPE(2), &init)));
    ck_assert(same_node(v, ebb_variable(g, "v", EBB_F32, EBB_SHAPE(2), NULL)));
    ebb_scope_push(g, "block");
    ebb_node inner = input(g, "x", EBB_SHAPE(3));
    ck_assert(!same_node(x, inner));
    ck_assert(same_node(ebb_graph_find(g, "block/x"), inner));
    ebb_scope_pop(g);
    ck_assert(same_node(ebb_graph_find(g, "x"), x));
    assert_fails(input(g, "x", EBB_SHAPE(3)), EBB_BAD_NAME, "input: the name \"x\" is taken",
                 "input f64[2] is there, input f64[3] is wanted");
    g = ebb_graph_create("g");
    input(g, "x", EBB_SHAPE(2));
    assert_fails(ebb_variable(g, "x", EBB_F64, EBB_SHAPE(2), NULL), EBB_BAD_NAME,
                 "variable: the name \"x\" is taken", "input f64[2] is there, variable f64[2]");
    g = ebb_graph_create("g");
    ebb_variable(g, "v", EBB_F32, EBB_SHAPE(2), NULL);
    assert_fails(ebb_variable(g, "v", EBB_F32, EBB_SHAPE(2), &init), EBB_BAD_NAME,
                 "variable: \"v\" is there with another initial value", "");
    const char *bad[] = { "", "a/b", "sp ace", NULL };
    for (int i = 0; i < 4; i++) {
        g = ebb_graph_create("g");
        assert_fails(input(g, bad[i], EBB_SCALAR), EBB_BAD_NAME, "is no name", "");
    }
}
END_TEST

START_TEST(constants)
{
    ebb_graph *g = ebb_graph_create("g");
    double data[2] = { 1, 2 };
    ebb_node c = ebb_constant(g, EBB_F64, EBB_SHAPE(2), data);
    data[0] = 5; /* it was copied */
    assert_values(c, EBB_SHAPE(2), LIST(1, 2));
    assert_values(ebb_scalar(g, EBB_U8, 300), EBB_SCALAR, LIST(255));
    assert_values(ebb_scalar(g, EBB_I32, -1e20), EBB_SCALAR, LIST(INT32_MIN));
    assert_values(ebb_scalar(g, EBB_F32, 0.1), EBB_SCALAR, LIST((double)0.1f));
    assert_values(ebb_scalar(g, EBB_BOOL, 1), EBB_SCALAR, LIST(1));
    assert_values(ebb_full(g, EBB_I64, EBB_SHAPE(2, 2), 7), EBB_SHAPE(2, 2), LIST(7, 7, 7, 7));
    assert_values(ebb_full(g, EBB_I64, EBB_SCALAR, 7), EBB_SCALAR, LIST(7));
    assert_values(ebb_constant(g, EBB_F32, EBB_SHAPE(0), NULL), EBB_SHAPE(0), LIST(0));
    assert_fails(ebb_constant(g, EBB_F32, EBB_SHAPE(2), NULL), EBB_BAD_ARGUMENT,
                 "constant: there is no data", "");
    g = ebb_graph_create("g");
    assert_fails(ebb_scalar(g, EBB_NO_DTYPE, 1), EBB_BAD_DTYPE, "there is no dtype 0", "");
    g = ebb_graph_create("g");
    assert_fails(ebb_scalar(g, (ebb_dtype)99, 1), EBB_BAD_DTYPE, "there is no dtype 99", "");
    g = ebb_graph_create("g");
    assert_fails(ebb_cast(input(g, "x", EBB_SCALAR), (ebb_dtype)99), EBB_BAD_DTYPE,
                 "there is no dtype 99", "x f64[]");
}
END_TEST

/* ---- composites ---- */

START_TEST(losses)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node y = ebb_constant(g, EBB_F64, EBB_SHAPE(2, 2), LIST(0.5, 0.5, 0.25, 0.75));
    ebb_node t = ebb_constant(g, EBB_F64, EBB_SHAPE(2, 2), LIST(1, 0, 0, 1));
    assert_values(ebb_squared_error(y, t), EBB_SCALAR, LIST((0.5 + 0.125) / 2));
    assert_values(ebb_cross_entropy(y, t, 0), EBB_SCALAR, LIST(-(log(0.5) + log(0.75)) / 2));
    ebb_graph_destroy(g);
    g = ebb_graph_create("g");
    assert_fails(ebb_squared_error(input(g, "y", EBB_SHAPE(2, 3)), input(g, "t", EBB_SHAPE(3))),
                 EBB_BAD_SHAPE, "squared_error: shapes differ", "y f64[2,3], t f64[3]");
    g = ebb_graph_create("g");
    assert_fails(ebb_cross_entropy(input(g, "y", EBB_SHAPE(2)), input(g, "t", EBB_SHAPE(1)), 0),
                 EBB_BAD_SHAPE, "cross_entropy: shapes differ", "y f64[2], t f64[1]");
    g = ebb_graph_create("g");
    ebb_node cube = input(g, "y", EBB_SHAPE(2, 2, 2));
    assert_fails(ebb_cross_entropy(cube, cube, 0), EBB_BAD_SHAPE,
                 "cross_entropy: not [classes] or [batch,classes]", "y f64[2,2,2]");
    g = ebb_graph_create("g");
    ebb_node whole = ebb_input(g, "y", EBB_I32, EBB_SHAPE(2));
    assert_fails(ebb_squared_error(whole, whole), EBB_BAD_DTYPE, "squared_error: not f64 or f32",
                 "y i32[2]");
    g = ebb_graph_create("g");
    assert_fails(
        ebb_squared_error(input(g, "y", EBB_SHAPE(2)), ebb_input(g, "t", EBB_F32, EBB_SHAPE(2))),
        EBB_BAD_DTYPE, "dtypes differ", "t f32[2]");
}
END_TEST

/* ---- random numbers as nodes ---- */

START_TEST(random_nodes)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node counter = ebb_scalar(g, EBB_I64, 5), later = ebb_scalar(g, EBB_I64, 6);
    ebb_node a = ebb_random_uniform(counter, EBB_F64, EBB_SHAPE(4), 1, 2);
    ck_assert(same_node(a, ebb_random_uniform(counter, EBB_F64, EBB_SHAPE(4), 1, 2)));
    double expected[4];
    ebb_random_fill(EBB_F64, false, (ebb_random_key){ 1, 5, 2 }, 0, 4, expected);
    assert_values(a, EBB_SHAPE(4), expected);
    ebb_random_fill(EBB_F64, true, (ebb_random_key){ 1, 6, 2 }, 0, 4, expected);
    assert_values(ebb_random_normal(later, EBB_F64, EBB_SHAPE(4), 1, 2), EBB_SHAPE(4), expected);
    assert_fails(ebb_random_normal(counter, EBB_F64, EBB_SHAPE(4), 1, -1), EBB_BAD_ATTRIBUTE,
                 "random_normal: stream -1 is not in 0..2^32-1", "");
}
END_TEST

/* ---- the registry and the text form ---- */

static ebb_status infer_twice(const ebb_infer *infer)
{
    infer->results[0] = *infer->inputs[0];
    return EBB_OK;
}

START_TEST(parsing_with_other_ops)
{
    const ebb_op twice = { .name = "twice",
                           .summary = "2x",
                           .group = "test",
                           .n_inputs = 1,
                           .n_results = 1,
                           .infer = infer_twice };
    const ebb_op *const extra[] = { NULL, &twice };
    const char text[] = "graph \"g\"\n%1 = input {name=\"x\"} : f64[3]\n%2 = twice %1 : f64[3]\n";
    ebb_graph *g = NULL;
    ebb_error error = { .status = EBB_OK };
    ck_assert_msg(ebb_graph_parse(text, strlen(text), extra, 2, NULL, &g, &error) == EBB_OK, "%s",
                  error.message);
    ck_assert_ptr_eq(ebb_node_op(ebb_graph_node(g, 2)), &twice);
    ck_assert_ptr_eq(ebb_node_op(ebb_graph_node(g, 1)), &ebb_op_input);
    ebb_graph_destroy(g);
    ck_assert_int_eq(ebb_graph_parse(text, strlen(text), NULL, 2, NULL, &g, &error),
                     EBB_BAD_FORMAT);
    ck_assert_ptr_null(g);
    ck_assert_msg(strstr(error.message, "twice") && strstr(error.message, "line 3"), "%s",
                  error.message);
}
END_TEST

/* Memory may run out at every allocation of every builder: a status, no leak, no crash. */
START_TEST(out_of_memory)
{
    for (int64_t after = 0;; after++) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        meter.fail_after = after;
        ebb_graph *g =
            ebb_graph_create_with("g", &(ebb_graph_options){ .allocator = &meter.allocator });
        ebb_node x = input(g, "x", EBB_SHAPE(2, 3)), c = ebb_scalar(g, EBB_I64, 1);
        ebb_node v = ebb_variable(g, "v", EBB_F64, EBB_SHAPE(3, 4), NULL);
        ebb_node y = ebb_matmul(ebb_relu(ebb_add(x, ebb_full_like(x, 2))), v);
        ebb_node u = ebb_random_uniform(c, EBB_F64, EBB_SHAPE(2, 4), 1, 2);
        ebb_node loss = ebb_softmax_cross_entropy(y, ebb_softmax(u, 1));
        bool failed = meter.n_refused > 0;
        ck_assert_int_eq(ebb_graph_status(g), failed ? EBB_OUT_OF_MEMORY : EBB_OK);
        ck_assert_int_eq(ebb_node_is_none(loss), failed);
        ebb_graph_destroy(g);
        ck_assert_int_eq(meter.n_live, 0);
        if (!failed)
            break;
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("builders");
    TCase *shapes = tcase_create("shapes");
    tcase_add_test(shapes, broadcasting);
    tcase_add_test(shapes, equal_shapes_need_no_broadcast);
    tcase_add_test(shapes, refused_binary);
    tcase_add_test(shapes, none_nodes);
    tcase_add_test(shapes, equal_nodes_are_shared);
    tcase_add_test(shapes, unknown_dimension);
    tcase_add_test(shapes, ranks_above_eight);
    tcase_add_test(shapes, batched_products);
    tcase_add_test(shapes, refused_products);
    suite_add_tcase(suite, shapes);
    TCase *others = tcase_create("others");
    tcase_add_test(others, one_name_one_source);
    tcase_add_test(others, constants);
    tcase_add_test(others, losses);
    tcase_add_test(others, random_nodes);
    tcase_add_test(others, parsing_with_other_ops);
    tcase_add_test(others, out_of_memory);
    suite_add_tcase(suite, others);
    return run_suite(suite);
}
