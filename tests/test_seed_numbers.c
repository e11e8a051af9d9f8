/* The numbers of "Deep Learning from Scratch" (K. Saitoh 2016), chapters 2 to 5, with ops,
 * interpreter and gradients alone. Digits are those of the book, of its public code, or (where it
 * says D) derived by hand. */
#include "graph/interpret.h"
#include "ops/random.h"
#include "tests/support/runner.h"
#include <ebb/autodiff.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LIST(...)                                                                                  \
    (const double[])                                                                               \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* A constant; sources of these tests are constants, so that nothing has to be fed. */
static ebb_node constant(ebb_graph *g, ebb_shape shape, const double *values)
{
    return ebb_constant(g, EBB_F64, shape, values);
}

static ebb_node scalar(ebb_graph *g, double value)
{
    return ebb_scalar(g, EBB_F64, value);
}

/* Computes y and copies its elements to out. */
static void compute(ebb_node y, double *out)
{
    ebb_error error = { .status = EBB_OK };
    ck_assert_msg(!ebb_node_is_none(y), "%s", ebb_graph_message(y.graph));
    ebb_interpreter *in = ebb_interpreter_create(y.graph, NULL);
    ck_assert_msg(ebb_interpreter_run(in, &y, 1, &error) == EBB_OK, "%s", error.message);
    const ebb_tensor *value = ebb_interpreter_get(in, y);
    for (int64_t i = 0; i < ebb_shape_elements(&value->type.shape); i++)
        out[i] = ebb_tensor_get(value, i);
    ebb_interpreter_destroy(in);
}

enum { MAX_ELEMENTS = 64 };

static void assert_values(const char *what, ebb_node y, const double *expected, double tolerance)
{
    double have[MAX_ELEMENTS];
    int64_t n = ebb_shape_elements(&ebb_node_type(y)->shape);
    ck_assert_int_le(n, MAX_ELEMENTS);
    compute(y, have);
    for (int64_t i = 0; i < n; i++)
        ck_assert_msg(fabs(have[i] - expected[i]) <= tolerance, "%s[%lld]: %.12g, not %.12g", what,
                      (long long)i, have[i], expected[i]);
}

static void assert_gradient(const char *what, ebb_node y, ebb_node x, const double *expected,
                            double tolerance)
{
    ebb_node d;
    ck_assert_msg(ebb_gradients(y, &x, 1, &d) == EBB_OK, "%s", ebb_graph_message(y.graph));
    assert_values(what, d, expected, tolerance);
}

/* ---- chapter 2: perceptrons ---- */

/* Column `i` of the four rows of a truth table: 0 0, 1 0, 0 1, 1 1. */
#define A_COLUMN LIST(0, 1, 0, 1)
#define B_COLUMN LIST(0, 0, 1, 1)

/* 1 where w . (a, b) + bias > 0, else 0 */
static ebb_node perceptron(ebb_node a, ebb_node b, double wa, double wb, double bias)
{
    ebb_node sum =
        ebb_add(ebb_add(ebb_mul(a, ebb_full_like(a, wa)), ebb_mul(b, ebb_full_like(b, wb))),
                ebb_full_like(a, bias));
    return ebb_cast(ebb_greater(sum, ebb_full_like(sum, 0)), EBB_F64);
}

static ebb_node and_gate(ebb_node a, ebb_node b)
{
    return perceptron(a, b, 0.5, 0.5, -0.7);
}
static ebb_node nand_gate(ebb_node a, ebb_node b)
{
    return perceptron(a, b, -0.5, -0.5, 0.7);
}
static ebb_node or_gate(ebb_node a, ebb_node b)
{
    return perceptron(a, b, 0.5, 0.5, -0.2);
}

START_TEST(gates)
{
    ebb_graph *g = ebb_graph_create("gates");
    ebb_node a = constant(g, EBB_SHAPE(4), A_COLUMN), b = constant(g, EBB_SHAPE(4), B_COLUMN);
    assert_values("and", and_gate(a, b), LIST(0, 0, 0, 1), 0);
    assert_values("nand", nand_gate(a, b), LIST(1, 1, 1, 0), 0);
    assert_values("or", or_gate(a, b), LIST(0, 1, 1, 1), 0);
    assert_values("xor", and_gate(nand_gate(a, b), or_gate(a, b)), LIST(0, 1, 1, 0), 0);
    ebb_graph_destroy(g);
}
END_TEST

static ebb_node nand_xor(ebb_node a, ebb_node b)
{
    ebb_node n = nand_gate(a, b);
    return nand_gate(nand_gate(a, n), nand_gate(b, n));
}

static ebb_node nand_and(ebb_node a, ebb_node b)
{
    ebb_node n = nand_gate(a, b);
    return nand_gate(n, n);
}

START_TEST(adders_of_nand)
{
    ebb_graph *g = ebb_graph_create("adders");
    ebb_node a = constant(g, EBB_SHAPE(8), LIST(0, 1, 0, 1, 0, 1, 0, 1));
    ebb_node b = constant(g, EBB_SHAPE(8), LIST(0, 0, 1, 1, 0, 0, 1, 1));
    ebb_node carry = constant(g, EBB_SHAPE(8), LIST(0, 0, 0, 0, 1, 1, 1, 1));
    ebb_node half = nand_xor(a, b);
    assert_values("half sum", half, LIST(0, 1, 1, 0, 0, 1, 1, 0), 0);
    assert_values("half carry", nand_and(a, b), LIST(0, 0, 0, 1, 0, 0, 0, 1), 0);
    assert_values("full sum", nand_xor(half, carry), LIST(0, 1, 1, 0, 1, 0, 0, 1), 0);
    ebb_node out = nand_gate(nand_gate(a, b), nand_gate(half, carry));
    assert_values("full carry", out, LIST(0, 0, 0, 1, 0, 1, 1, 1), 0);
    ebb_graph_destroy(g);
}
END_TEST

/* How many rows of a truth table the best single perceptron gets right, on a grid of 17^3 (w1, w2,
 * bias) in
 * [-2, 2]. */
static double best_single_layer(const double table[4])
{
    enum { N = 17 };
    ebb_graph *g = ebb_graph_create("search");
    ebb_node step = ebb_div(ebb_iota(g, EBB_F64, EBB_SHAPE(N), 0), scalar(g, 4));
    ebb_node grid = ebb_sub(step, scalar(g, 2));
    ebb_node wa = ebb_reshape(grid, EBB_SHAPE(N, 1, 1, 1)),
             wb = ebb_reshape(grid, EBB_SHAPE(N, 1, 1));
    ebb_node bias = ebb_reshape(grid, EBB_SHAPE(N, 1));
    ebb_node a = constant(g, EBB_SHAPE(4), A_COLUMN), b = constant(g, EBB_SHAPE(4), B_COLUMN);
    ebb_node sum = ebb_add(ebb_add(ebb_mul(wa, a), ebb_mul(wb, b)), bias);
    ebb_node says = ebb_cast(ebb_greater(sum, scalar(g, 0)), EBB_F64);
    ebb_node right = ebb_equal(says, constant(g, EBB_SHAPE(4), table));
    ebb_node n_right = ebb_reduce_sum(ebb_cast(right, EBB_F64), EBB_AXES(-1), false);
    double best;
    compute(ebb_reduce_max(n_right, EBB_ALL_AXES, false), &best);
    ebb_graph_destroy(g);
    return best;
}

START_TEST(one_layer_cannot_xor)
{
    ck_assert_double_eq(best_single_layer(LIST(0, 1, 1, 1)), 4); /* or */
    ck_assert_double_eq(best_single_layer(LIST(1, 1, 1, 0)), 4); /* nand */
    ck_assert_double_eq(best_single_layer(LIST(0, 1, 1, 0)), 3); /* xor */
}
END_TEST

/* ---- chapter 3: activations and forward inference ---- */

START_TEST(activations)
{
    ebb_graph *g = ebb_graph_create("activations");
    ebb_node x = constant(g, EBB_SHAPE(4), LIST(-1, 0, 1, 2));
    ebb_node step = ebb_cast(ebb_greater(x, ebb_full_like(x, 0)), EBB_I64);
    assert_values("step", step, LIST(0, 0, 1, 1), 0);
    assert_values("sigmoid", ebb_sigmoid(x), LIST(0.26894142, 0.5, 0.73105858, 0.88079708), 5e-9);
    assert_values("relu", ebb_relu(x), LIST(0, 0, 1, 2), 0);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(three_layers_forward)
{
    ebb_graph *g = ebb_graph_create("forward");
    ebb_node x = constant(g, EBB_SHAPE(1, 2), LIST(1, 0.5));
    ebb_node w1 = constant(g, EBB_SHAPE(2, 3), LIST(0.1, 0.3, 0.5, 0.2, 0.4, 0.6));
    ebb_node w2 = constant(g, EBB_SHAPE(3, 2), LIST(0.1, 0.4, 0.2, 0.5, 0.3, 0.6));
    ebb_node w3 = constant(g, EBB_SHAPE(2, 2), LIST(0.1, 0.3, 0.2, 0.4));
    ebb_node b1 = constant(g, EBB_SHAPE(3), LIST(0.1, 0.2, 0.3));
    ebb_node b2 = constant(g, EBB_SHAPE(2), LIST(0.1, 0.2));
    ebb_node a1 = ebb_add(ebb_matmul(x, w1), b1), z1 = ebb_sigmoid(a1);
    ebb_node a2 = ebb_add(ebb_matmul(z1, w2), b2), z2 = ebb_sigmoid(a2);
    ebb_node y = ebb_add(ebb_matmul(z2, w3), b2);
    assert_values("a1", a1, LIST(0.3, 0.7, 1.1), 1e-15);
    assert_values("z1", z1, LIST(0.57444252, 0.66818777, 0.75026011), 5e-9);
    assert_values("a2", a2, LIST(0.51615984, 1.21402696), 5e-9);
    assert_values("z2", z2, LIST(0.62624937, 0.7710107), 5e-9);
    assert_values("y", y, LIST(0.31682708, 0.69627909), 5e-9);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(softmax_values)
{
    ebb_graph *g = ebb_graph_create("softmax");
    ebb_node x = constant(g, EBB_SHAPE(3), LIST(0.3, 2.9, 4.0)), y = ebb_softmax(x, 0);
    assert_values("softmax", y, LIST(0.01821127, 0.24519181, 0.73659691), 5e-9);
    assert_values("sum", ebb_reduce_sum(y, EBB_ALL_AXES, false), LIST(1), 1e-15);
    assert_values("argmax of x", ebb_argmax(x, 0), LIST(2), 0);
    assert_values("argmax of y", ebb_argmax(y, 0), LIST(2), 0);
    double large[3];
    compute(ebb_softmax(constant(g, EBB_SHAPE(3), LIST(1010, 1000, 990)), 0), large);
    ck_assert_double_eq_tol(large[0], 9.999546e-1, 5e-8);
    ck_assert_double_eq_tol(large[1], 4.539787e-5, 5e-12);
    ck_assert_double_eq_tol(large[2], 2.061060e-9, 5e-16);
    ebb_graph_destroy(g);
}
END_TEST

/* A stack of linear layers is one linear layer: why activations must not be linear. */
START_TEST(linear_layers_collapse)
{
    ebb_graph *g = ebb_graph_create("linear");
    ebb_node x = constant(g, EBB_SHAPE(1, 2), LIST(1, 0.5));
    ebb_node w1 = constant(g, EBB_SHAPE(2, 3), LIST(0.1, 0.3, 0.5, 0.2, 0.4, 0.6));
    ebb_node w2 = constant(g, EBB_SHAPE(3, 2), LIST(0.1, 0.4, 0.2, 0.5, 0.3, 0.6));
    double one[2];
    compute(ebb_matmul(x, ebb_matmul(w1, w2)), one);
    assert_values("two layers", ebb_matmul(ebb_matmul(x, w1), w2), one, 1e-15);
    ebb_graph_destroy(g);
}
END_TEST

/* ---- chapter 4: losses, numerical gradients, gradient method ---- */

#define GUESS LIST(0.1, 0.05, 0.6, 0, 0.05, 0.1, 0, 0.1, 0, 0)
#define WRONG LIST(0.1, 0.05, 0.1, 0, 0.05, 0.1, 0, 0.6, 0, 0)
#define TWO LIST(0, 0, 1, 0, 0, 0, 0, 0, 0, 0)

START_TEST(losses)
{
    ebb_graph *g = ebb_graph_create("losses");
    ebb_node good = constant(g, EBB_SHAPE(10), GUESS), bad = constant(g, EBB_SHAPE(10), WRONG);
    ebb_node t = constant(g, EBB_SHAPE(10), TWO);
    assert_values("squared error", ebb_squared_error(good, t), LIST(0.0975), 1e-15);
    assert_values("squared error", ebb_squared_error(bad, t), LIST(0.5975), 1e-15);
    assert_values("cross entropy", ebb_cross_entropy(good, t, 1e-7), LIST(0.510825457), 5e-10);
    assert_values("cross entropy", ebb_cross_entropy(bad, t, 1e-7), LIST(2.302584093), 5e-10);
    /* the mean over a batch of both, from probabilities and from labels */
    double rows[20];
    memcpy(rows, GUESS, 10 * sizeof *rows);
    memcpy(rows + 10, WRONG, 10 * sizeof *rows);
    ebb_node both = constant(g, EBB_SHAPE(2, 10), rows), tt = ebb_broadcast_to(t, EBB_SHAPE(2, 10));
    assert_values("batch", ebb_cross_entropy(both, tt, 1e-7), LIST((0.510825457 + 2.302584093) / 2),
                  5e-10);
    int64_t labels[2] = { 2, 2 };
    /* log(1) = 0 keeps softmax from changing probabilities: softmax(log p) = p */
    ebb_node scores = ebb_log(ebb_add(both, ebb_full_like(both, 1e-300)));
    ebb_node by_label =
        ebb_softmax_cross_entropy(scores, ebb_constant(g, EBB_I64, EBB_SHAPE(2), labels));
    assert_values("labels", by_label, LIST(-(log(0.6) + log(0.1)) / 2), 1e-14);
    ebb_graph_destroy(g);
}
END_TEST

/* Nudging a weight moves the loss, not the accuracy: why accuracy is no loss. */
START_TEST(accuracy_is_flat)
{
    double loss[2], accuracy[2];
    for (int nudged = 0; nudged < 2; nudged++) {
        ebb_graph *g = ebb_graph_create("flat");
        double w[4] = { 0.3 + 1e-3 * nudged, -0.2, 0.1, 0.4 };
        ebb_node x = constant(g, EBB_SHAPE(3, 2), LIST(1, 2, -1, 0.5, 0.3, -2));
        ebb_node t = ebb_cast(constant(g, EBB_SHAPE(3), LIST(1, 0, 0)), EBB_I64);
        ebb_node y = ebb_matmul(x, constant(g, EBB_SHAPE(2, 2), w));
        ebb_node hits = ebb_cast(ebb_equal(ebb_argmax(y, 1), t), EBB_F64);
        compute(ebb_reduce_mean(hits, EBB_ALL_AXES, false), &accuracy[nudged]);
        compute(ebb_softmax_cross_entropy(y, t), &loss[nudged]);
        ebb_graph_destroy(g);
    }
    ck_assert_double_eq(accuracy[0], accuracy[1]);
    ck_assert_double_ne(loss[0], loss[1]);
}
END_TEST

/* A function of x [n] that is a graph, evaluated at many places. */
typedef struct function {
    ebb_graph *graph;
    ebb_node x, y, gradient;
    ebb_interpreter *interpreter;
} function;

static function function_of(ebb_graph *g, ebb_node x, ebb_node y)
{
    function f = { g, x, y, EBB_NONE, NULL };
    ck_assert_int_eq(ebb_gradients(y, &x, 1, &f.gradient), EBB_OK);
    f.interpreter = ebb_interpreter_create(g, NULL);
    return f;
}

static void finish_function(function *f)
{
    ebb_interpreter_destroy(f->interpreter);
    ebb_graph_destroy(f->graph);
}

static const double *function_at(const function *f, ebb_node which, const double *at)
{
    ebb_error error = { .status = EBB_OK };
    ebb_tensor x = ebb_tensor_borrow(EBB_F64, ebb_node_type(f->x)->shape, at);
    ck_assert_int_eq(ebb_interpreter_set(f->interpreter, f->x, &x, &error), EBB_OK);
    ck_assert_int_eq(ebb_interpreter_run(f->interpreter, &which, 1, &error), EBB_OK);
    return ebb_interpreter_get(f->interpreter, which)->data;
}

/* The book's numerical gradient: central differences with h = 1e-4, an element at a time. */
static void differences(const function *f, double *at, int n, double *gradient)
{
    const double h = 1e-4;
    for (int i = 0; i < n; i++) {
        double keep = at[i];
        at[i] = keep + h;
        double above = *function_at(f, f->y, at);
        at[i] = keep - h;
        double below = *function_at(f, f->y, at);
        gradient[i] = (above - below) / (2 * h);
        at[i] = keep;
    }
}

/* f(x) = 0.01 x^2 + 0.1 x */
START_TEST(numerical_derivative)
{
    ebb_graph *g = ebb_graph_create("derivative");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SCALAR);
    function f = function_of(
        g, x, ebb_add(ebb_mul(scalar(g, 0.01), ebb_square(x)), ebb_mul(scalar(g, 0.1), x)));
    double at = 5, d;
    differences(&f, &at, 1, &d);
    ck_assert_double_eq(d, 0.1999999999990898);
    ck_assert_double_eq_tol(*function_at(&f, f.gradient, &at), 0.2, 1e-16);
    at = 10;
    differences(&f, &at, 1, &d);
    ck_assert_double_eq(d, 0.2999999999986347);
    ck_assert_double_eq_tol(*function_at(&f, f.gradient, &at), 0.3, 1e-16);
    finish_function(&f);
}
END_TEST

/* f(x) = x0^2 + x1^2 */
static function make_bowl(void)
{
    ebb_graph *g = ebb_graph_create("bowl");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(2));
    return function_of(g, x, ebb_reduce_sum(ebb_square(x), EBB_ALL_AXES, false));
}

START_TEST(numerical_gradient)
{
    function f = make_bowl();
    const double places[3][2] = { { 3, 4 }, { 0, 2 }, { 3, 0 } };
    const double expected[3][2] = { { 6, 8 }, { 0, 4 }, { 6, 0 } };
    for (int i = 0; i < 3; i++) {
        double at[2] = { places[i][0], places[i][1] }, d[2];
        differences(&f, at, 2, d);
        const double *exact = function_at(&f, f.gradient, at);
        for (int k = 0; k < 2; k++) {
            ck_assert_double_eq(exact[k], expected[i][k]);
            ck_assert_double_eq_tol(d[k], expected[i][k], 1e-8);
        }
    }
    finish_function(&f);
}
END_TEST

/* x <- x - rate * gradient, from (-3, 4) */
static void descend(const function *f, double rate, int n_steps, bool numerical, double at[2])
{
    at[0] = -3;
    at[1] = 4;
    for (int step = 0; step < n_steps; step++) {
        double d[2];
        if (numerical)
            differences(f, at, 2, d);
        else
            memcpy(d, function_at(f, f->gradient, at), sizeof d);
        for (int k = 0; k < 2; k++)
            at[k] -= rate * d[k];
    }
}

START_TEST(gradient_method)
{
    function f = make_bowl();
    double at[2];
    for (int numerical = 0; numerical < 2; numerical++) {
        descend(&f, 0.1, 100, numerical, at);
        ck_assert_double_eq_tol(at[0], -6.111e-10, numerical ? 1e-11 : 5e-14);
        ck_assert_double_eq_tol(at[1], 8.148e-10, numerical ? 1e-11 : 5e-14);
        descend(&f, 0.1, 20, numerical, at);
        ck_assert_double_eq_tol(at[0], -0.03458765, 5e-9);
        ck_assert_double_eq_tol(at[1], 0.04611686, 5e-9);
        descend(&f, 1e-10, 100, numerical, at);
        ck_assert_double_eq_tol(at[0], -2.99999994, 5e-9);
        ck_assert_double_eq_tol(at[1], 3.99999992, 5e-9);
    }
    /* too large a rate: exactly, each step multiplies by 1 - 20; by differences, rounding decides
     * where it ends */
    descend(&f, 10, 100, false, at);
    ck_assert_double_eq_tol(at[0] / (-3 * pow(19, 100)), 1, 1e-12);
    ck_assert_double_eq_tol(at[1] / (4 * pow(19, 100)), 1, 1e-12);
    descend(&f, 10, 100, true, at);
    ck_assert_double_eq_tol(at[0], -2.59e13, 5e10);
    ck_assert_double_eq_tol(at[1], -1.29e12, 6e9);
    finish_function(&f);
}
END_TEST

#define SIMPLE_W LIST(0.47355232, 0.9977393, 0.84668094, 0.85557411, 0.03563661, 0.69422093)
#define SIMPLE_DW LIST(0.21924757, 0.14356243, -0.36281, 0.32887136, 0.21534364, -0.544215)

START_TEST(simple_net)
{
    ebb_graph *g = ebb_graph_create("simple");
    ebb_node w = constant(g, EBB_SHAPE(2, 3), SIMPLE_W),
             x = constant(g, EBB_SHAPE(1, 2), LIST(0.6, 0.9));
    ebb_node t = constant(g, EBB_SHAPE(1, 3), LIST(0, 0, 1)), p = ebb_matmul(x, w);
    assert_values("p", p, LIST(1.05414809, 0.63071653, 1.1328074), 5e-9);
    ebb_node loss =
        ebb_cross_entropy(ebb_softmax(p, 1), t, 1e-7); /* the book's 1e-7 in the logarithm */
    assert_values("loss", loss, LIST(0.92806829), 5e-9);
    assert_gradient("dW", loss, w, SIMPLE_DW, 1.5e-7);
    loss = ebb_softmax_cross_entropy(p, t);
    assert_values("loss without 1e-7", loss, LIST(0.92806829), 3e-7);
    assert_gradient("dW without 1e-7", loss, w, SIMPLE_DW, 3e-7);
    ebb_graph_destroy(g);
}
END_TEST

/* ---- chapter 5: computational graphs ---- */

START_TEST(chain_rule)
{
    ebb_graph *g = ebb_graph_create("chain");
    ebb_node x = scalar(g, 1), y = scalar(g, 2), z = ebb_square(ebb_add(x, y));
    assert_values("z", z, LIST(9), 0);
    assert_gradient("dz/dx", z, x, LIST(6), 0); /* D: 2 (x + y) */
    assert_gradient("dz/dy", z, y, LIST(6), 0);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(apples)
{
    ebb_graph *g = ebb_graph_create("apples");
    ebb_node apple = scalar(g, 100), count = scalar(g, 2), tax = scalar(g, 1.1);
    ebb_node price = ebb_mul(apple, count), total = ebb_mul(price, tax);
    assert_values("total", total, LIST(220), 1e-12);
    assert_gradient("price", total, price, LIST(1.1), 1e-14);
    assert_gradient("apple", total, apple, LIST(2.2), 1e-14);
    assert_gradient("count", total, count, LIST(110), 1e-12);
    assert_gradient("tax", total, tax, LIST(200), 1e-12);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(apples_and_oranges)
{
    ebb_graph *g = ebb_graph_create("fruit");
    ebb_node apple = scalar(g, 100), n_apples = scalar(g, 2), orange = scalar(g, 150);
    ebb_node n_oranges = scalar(g, 3), tax = scalar(g, 1.1);
    ebb_node apples_price = ebb_mul(apple, n_apples), oranges_price = ebb_mul(orange, n_oranges);
    ebb_node sum = ebb_add(apples_price, oranges_price), total = ebb_mul(sum, tax);
    assert_values("total", total, LIST(715), 1e-12);
    const struct {
        const char *what;
        ebb_node x;
        double gradient;
    } rows[] = {
        { "apple", apple, 2.2 },
        { "apple count", n_apples, 110 },
        { "orange", orange, 3.3 },
        { "orange count", n_oranges, 165 },
        { "tax", tax, 650 },
        { "apple price", apples_price, 1.1 },
        { "orange price", oranges_price, 1.1 },
        { "sum", sum, 1.1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_gradient(rows[i].what, total, rows[i].x, &rows[i].gradient, 1e-12);
    ebb_graph_destroy(g);
}
END_TEST

/* A scalar whose gradient by y is `upstream`. */
static ebb_node weigh(ebb_node y, const double *upstream)
{
    ebb_node w = constant(y.graph, ebb_node_type(y)->shape, upstream);
    return ebb_reduce_sum(ebb_mul(y, w), EBB_ALL_AXES, false);
}

START_TEST(activation_layers)
{
    ebb_graph *g = ebb_graph_create("layers");
    ebb_node x = constant(g, EBB_SHAPE(2, 2), LIST(1, -0.5, -2, 3));
    const double *upstream = LIST(5, 6, 7, 8);
    assert_gradient("relu", weigh(ebb_relu(x), upstream), x, LIST(5, 0, 0, 8), 0);
    ebb_node zero = constant(g, EBB_SHAPE(1), LIST(0));
    assert_gradient("relu at 0", weigh(ebb_relu(zero), upstream), zero, LIST(0), 0);
    /* dx = upstream y (1 - y); the subgraph 1 / (1 + exp(-x)) gives the same */
    ebb_node y = ebb_sigmoid(x), one = ebb_full_like(x, 1);
    double expected[4], values[4];
    compute(y, values);
    for (int i = 0; i < 4; i++)
        expected[i] = upstream[i] * values[i] * (1 - values[i]);
    assert_gradient("sigmoid", weigh(y, upstream), x, expected, 1e-14);
    ebb_node parts = ebb_div(one, ebb_add(one, ebb_exp(ebb_neg(x))));
    assert_values("sigmoid of parts", parts, values, 1e-16);
    assert_gradient("sigmoid of parts", weigh(parts, upstream), x, expected, 1e-14);
    ebb_graph_destroy(g);
}
END_TEST

/* dX = dY W', dW = X' dY, db = column sums of dY */
START_TEST(affine_layer)
{
    ebb_graph *g = ebb_graph_create("affine");
    ebb_node x = constant(g, EBB_SHAPE(2, 2), LIST(1, 2, 3, 4));
    ebb_node w = constant(g, EBB_SHAPE(2, 3), LIST(1, 0, -1, 2, 1, 0));
    ebb_node b = constant(g, EBB_SHAPE(3), LIST(1, 2, 3));
    ebb_node y = ebb_add(ebb_matmul(x, w), b);
    assert_values("y", y, LIST(6, 4, 2, 12, 6, 0), 0);
    ebb_node loss = weigh(y, LIST(1, 2, 3, 4, 5, 6));
    assert_gradient("dX", loss, x, LIST(-2, 4, -2, 13), 0);
    assert_gradient("dW", loss, w, LIST(13, 17, 21, 18, 24, 30), 0);
    assert_gradient("db", loss, b, LIST(5, 7, 9), 0);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(output_layers)
{
    ebb_graph *g = ebb_graph_create("outputs");
    ebb_node x = constant(g, EBB_SHAPE(1, 3), LIST(log(0.3), log(0.2), log(0.5)));
    ebb_node t = constant(g, EBB_SHAPE(1, 3), LIST(0, 1, 0));
    int64_t label = 1;
    assert_values("y", ebb_softmax(x, 1), LIST(0.3, 0.2, 0.5), 1e-15);
    assert_gradient("rows", ebb_softmax_cross_entropy(x, t), x, LIST(0.3, -0.8, 0.5), 1e-15);
    ebb_node labels = ebb_constant(g, EBB_I64, EBB_SHAPE(1), &label);
    assert_gradient("labels", ebb_softmax_cross_entropy(x, labels), x, LIST(0.3, -0.8, 0.5), 1e-15);
    /* identity and squared error have the same property: y - t */
    ebb_node y = constant(g, EBB_SHAPE(3), LIST(0.3, 0.2, 0.5));
    ebb_node target = constant(g, EBB_SHAPE(3), LIST(0, 1, 0));
    assert_gradient("identity", ebb_squared_error(y, target), y, LIST(0.3, -0.8, 0.5), 1e-15);
    ebb_graph_destroy(g);
}
END_TEST

/* The two-layer net 784-50-10 on 3 samples, in F64. */
static void check_two_layer_net(bool relu)
{
    enum { N_IN = 784, N_HIDDEN = 50, N_OUT = 10, BATCH = 3 };
    static double w1[N_IN * N_HIDDEN], w2[N_HIDDEN * N_OUT], x[BATCH * N_IN];
    static const double b1[N_HIDDEN], b2[N_OUT];
    const int64_t labels[BATCH] = { 5, 0, 4 };
    ebb_graph *g = ebb_graph_create("two layers");
    ebb_node in = ebb_input(g, "x", EBB_F64, EBB_SHAPE(BATCH, N_IN));
    ebb_node t = ebb_input(g, "t", EBB_I64, EBB_SHAPE(BATCH));
    ebb_node vars[4] = { ebb_variable(g, "w1", EBB_F64, EBB_SHAPE(N_IN, N_HIDDEN), NULL),
                         ebb_variable(g, "b1", EBB_F64, EBB_SHAPE(N_HIDDEN), NULL),
                         ebb_variable(g, "w2", EBB_F64, EBB_SHAPE(N_HIDDEN, N_OUT), NULL),
                         ebb_variable(g, "b2", EBB_F64, EBB_SHAPE(N_OUT), NULL) };
    ebb_node a = ebb_add(ebb_matmul(in, vars[0]), vars[1]);
    ebb_node h = relu ? ebb_relu(a) : ebb_sigmoid(a);
    ebb_node loss = ebb_softmax_cross_entropy(ebb_add(ebb_matmul(h, vars[2]), vars[3]), t);

    ebb_init normal = { EBB_INIT_NORMAL, 0, 0.01, 1 }, uniform = { EBB_INIT_UNIFORM, 0, 1, 2 };
    ebb_check_value values[] = {
        { in, ebb_tensor_borrow(EBB_F64, EBB_SHAPE(BATCH, N_IN), x) },
        { t, ebb_tensor_borrow(EBB_I64, EBB_SHAPE(BATCH), labels) },
        { vars[0], ebb_tensor_borrow(EBB_F64, EBB_SHAPE(N_IN, N_HIDDEN), w1) },
        { vars[1], ebb_tensor_borrow(EBB_F64, EBB_SHAPE(N_HIDDEN), b1) },
        { vars[2], ebb_tensor_borrow(EBB_F64, EBB_SHAPE(N_HIDDEN, N_OUT), w2) },
        { vars[3], ebb_tensor_borrow(EBB_F64, EBB_SHAPE(N_OUT), b2) },
    };
    ebb_init_fill(&normal, "w1", &values[2].value);
    ebb_init_fill(&normal, "w2", &values[4].value);
    ebb_init_fill(&uniform, "x", &values[0].value);
    for (int order = 1; order <= 2; order++) {
        ebb_check_report report;
        /* a small step, so that no unit crosses the kink of relu */
        ebb_check_options options = {
            .order = order,
            .step = 1e-5,
            .values = values,
            .n_values = 6,
        };
        ck_assert_msg(ebb_check_gradients(loss, vars, 4, &options, &report) == EBB_OK, "%s",
                      ebb_graph_message(g));
        printf("two-layer net, %s, order %d: worst relative error %.2g\n",
               relu ? "relu" : "sigmoid", order, report.worst_error);
    }
    ebb_graph_destroy(g);
}

START_TEST(two_layer_net_relu)
{
    check_two_layer_net(true);
}
END_TEST
START_TEST(two_layer_net_sigmoid)
{
    check_two_layer_net(false);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("seed numbers");
    TCase *perceptrons = tcase_create("perceptrons");
    tcase_add_test(perceptrons, gates);
    tcase_add_test(perceptrons, adders_of_nand);
    tcase_add_test(perceptrons, one_layer_cannot_xor);
    suite_add_tcase(suite, perceptrons);
    TCase *forward = tcase_create("forward");
    tcase_add_test(forward, activations);
    tcase_add_test(forward, three_layers_forward);
    tcase_add_test(forward, softmax_values);
    tcase_add_test(forward, linear_layers_collapse);
    suite_add_tcase(suite, forward);
    TCase *learning = tcase_create("learning");
    tcase_add_test(learning, losses);
    tcase_add_test(learning, accuracy_is_flat);
    tcase_add_test(learning, numerical_derivative);
    tcase_add_test(learning, numerical_gradient);
    tcase_add_test(learning, gradient_method);
    tcase_add_test(learning, simple_net);
    suite_add_tcase(suite, learning);
    TCase *backward = tcase_create("backward");
    tcase_add_test(backward, chain_rule);
    tcase_add_test(backward, apples);
    tcase_add_test(backward, apples_and_oranges);
    tcase_add_test(backward, activation_layers);
    tcase_add_test(backward, affine_layer);
    tcase_add_test(backward, output_layers);
    tcase_add_test(backward, two_layer_net_relu);
    tcase_add_test(backward, two_layer_net_sigmoid);
    suite_add_tcase(suite, backward);
    return run_suite(suite);
}
