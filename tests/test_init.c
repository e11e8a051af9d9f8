/* How weights start: moments, bounds, orthogonality, independence of everything but seed and name.
 */
#include "ops/descriptors.h"
#include "ops/random.h"
#include "tests/support/runtime.h"

#include <math.h>
#include <stdlib.h>

enum { ROWS = 200, COLUMNS = 300, N = ROWS * COLUMNS };

/* The values of a variable "w" that starts as `init` says; free them. */
static double *draw(const ebb_nn_init *init, ebb_dtype dtype, ebb_shape shape, double inputs,
                    double outputs)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node w = ebb_nn_weights(g, "w", dtype, shape, inputs, outputs, init);
    ebb_executable *run =
        compile_with(g, &(ebb_compile_options){ .fetches = &w, .n_fetches = 1, .store = store });
    ebb_tensor value;
    ck_assert_int_eq(ebb_store_get(store, "w", &value), EBB_OK);
    const int64_t n = ebb_shape_elements(&shape);
    double *values = malloc((size_t)n * sizeof *values);
    ck_assert_ptr_nonnull(values);
    for (int64_t i = 0; i < n; i++)
        values[i] = ebb_tensor_get(&value, i);
    ebb_executable_destroy(run);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
    return values;
}

/* Expected standard deviation and largest absolute value; kurtosis: E[x^4] / std^4. Limits of 5
 * standard errors. */
static void check_moments(const ebb_nn_init *init, double std, double kurtosis, double largest)
{
    for (int dtype = EBB_F64; dtype <= EBB_F32; dtype++) {
        double *x = draw(init, (ebb_dtype)dtype, EBB_SHAPE(ROWS, COLUMNS), ROWS, COLUMNS);
        double sum = 0, squares = 0, top = 0;
        for (int i = 0; i < N; i++) {
            sum += x[i];
            squares += x[i] * x[i];
            top = fmax(top, fabs(x[i]));
        }
        ck_assert_double_eq_tol(sum / N, 0, 5 * std / sqrt(N));
        ck_assert_double_eq_tol(squares / N / (std * std), 1, 5 * sqrt((kurtosis - 1) / N));
        ck_assert_double_le(top, largest);
        ck_assert_double_ge(top, 0.99 * fmin(largest, 3.5 * std));
        free(x);
    }
}

START_TEST(test_moments)
{
    const double many = 10; /* beyond any normal number */
    double limit = sqrt(6.0 / ROWS);
    check_moments(NULL, sqrt(2.0 / ROWS), 3, many);
    check_moments(&(ebb_nn_init){ .kind = EBB_NN_INIT_HE, .seed = 1 }, sqrt(2.0 / ROWS), 3, many);
    check_moments(&(ebb_nn_init){ .kind = EBB_NN_INIT_HE_UNIFORM, .seed = 1 }, sqrt(2.0 / ROWS),
                  1.8, limit);
    check_moments(&(ebb_nn_init){ .kind = EBB_NN_INIT_XAVIER, .seed = 1 }, sqrt(1.0 / ROWS), 3,
                  many);
    check_moments(&(ebb_nn_init){ .kind = EBB_NN_INIT_XAVIER, .seed = 1, .gain = 3 },
                  3 * sqrt(1.0 / ROWS), 3, many);
    limit = sqrt(6.0 / (ROWS + COLUMNS));
    check_moments(&(ebb_nn_init){ .kind = EBB_NN_INIT_GLOROT, .seed = 1 }, limit / sqrt(3), 3,
                  many);
    check_moments(&(ebb_nn_init){ .kind = EBB_NN_INIT_GLOROT_UNIFORM, .seed = 1 }, limit / sqrt(3),
                  1.8, limit);
    check_moments(&(ebb_nn_init){ .kind = EBB_NN_INIT_GLOROT_UNIFORM, .seed = 1, .gain = -2 },
                  2 * limit / sqrt(3), 1.8, 2 * limit);
    check_moments(&(ebb_nn_init){ .kind = EBB_NN_INIT_NORMAL, .seed = 1, .std = 0.01 }, 0.01, 3,
                  many);
    check_moments(&(ebb_nn_init){ .kind = EBB_NN_INIT_UNIFORM, .seed = 1, .low = -2, .high = 2 },
                  2 / sqrt(3), 1.8, 2);
    /* variance of a normal number within +-2: 1 - 4 phi(2) / (2 Phi(2) - 1) (Johnson, Kotz &
     * Balakrishnan 1994, 13.10.1) */
    const double inside = erf(sqrt(2)), density = exp(-2) / sqrt(2 * acos(-1.0));
    const double std = sqrt(1 - 4 * density / inside);
    ck_assert_double_eq_tol(std, 0.8796, 5e-5);
    check_moments(&(ebb_nn_init){ .kind = EBB_NN_INIT_TRUNCATED_NORMAL, .seed = 1, .std = 0.5 },
                  0.5 * std, 2.4, 1);
}
END_TEST

START_TEST(test_constant)
{
    double *x = draw(&(ebb_nn_init){ .kind = EBB_NN_INIT_CONSTANT, .value = 0.25 }, EBB_F32,
                     EBB_SHAPE(2, 2), 2, 2);
    for (int i = 0; i < 4; i++)
        ck_assert_double_eq(x[i], 0.25);
    free(x);
}
END_TEST

START_TEST(test_orthogonal)
{
    static const int64_t sides[][4] = { { 1, 1, 1, 1 }, { 5, 5, 1, 1 },     { 3, 7, 1, 1 },
                                        { 7, 3, 1, 1 }, { 4, 2, 3, 3 },     { 30, 2, 3, 3 },
                                        { 0, 3, 1, 1 }, { 130, 150, 1, 1 }, { 150, 130, 1, 1 } };
    for (size_t s = 0; s < sizeof sides / sizeof *sides; s++)
        for (int dtype = EBB_F64; dtype <= EBB_F32; dtype++) {
            const double gain = s % 2 ? 2 : 1;
            const ebb_nn_init init = { .kind = EBB_NN_INIT_ORTHOGONAL,
                                       .seed = 5,
                                       .gain = gain == 1 ? 0 : gain };
            const int64_t n = sides[s][0], m = sides[s][1] * sides[s][2] * sides[s][3];
            double *x = draw(&init, (ebb_dtype)dtype, ebb_shape_of(4, sides[s]), 1, 1);
            const bool by_row = n <= m;
            const int64_t n_vectors = by_row ? n : m, length = by_row ? m : n;
            for (int64_t a = 0; a < n_vectors; a++)
                for (int64_t b = 0; b <= a; b++) {
                    double dot = 0;
                    for (int64_t e = 0; e < length; e++)
                        dot += by_row ? x[a * m + e] * x[b * m + e] : x[e * m + a] * x[e * m + b];
                    ck_assert_double_eq_tol(dot / (gain * gain), a == b,
                                            dtype == EBB_F64 ? 1e-13 : 1e-6);
                }
            free(x);
        }
}
END_TEST

/* The entries of an orthogonal matrix have mean 0 and mean square 1/n whatever their place: a
 * factorization without the right signs would favor the diagonal. */
START_TEST(test_orthogonal_is_uniform)
{
    enum { DRAWS = 4000, SIDE = 3 };
    double sum[SIDE * SIDE] = { 0 }, squares[SIDE * SIDE] = { 0 };
    float x[SIDE * SIDE];
    const ebb_tensor value = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(SIDE, SIDE), x);
    for (uint64_t seed = 0; seed < DRAWS; seed++) {
        ebb_init_fill(&(ebb_init){ EBB_INIT_ORTHOGONAL, 0, 1, seed }, "w", &value);
        for (int i = 0; i < SIDE * SIDE; i++) {
            sum[i] += (double)x[i];
            squares[i] += (double)x[i] * (double)x[i];
        }
    }
    for (int i = 0; i < SIDE * SIDE; i++) {
        ck_assert_double_eq_tol(sum[i] / DRAWS, 0, 5 * sqrt(1.0 / SIDE / DRAWS));
        /* E[x^4] = 3 / (n (n + 2)) */
        ck_assert_double_eq_tol(squares[i] / DRAWS, 1.0 / SIDE,
                                5 * sqrt((3.0 / 15 - 1.0 / 9) / DRAWS));
    }
}
END_TEST

/* Layers in either order, with one between them or not. */
static ebb_store *build(bool reversed, bool has_more, uint64_t seed)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, 6));
    ebb_node y[3] = { { g, 0 } };
    int n = 0;
    for (int i = 0; i < 2; i++) {
        const bool first = (i == 0) != reversed;
        const ebb_nn_init init = { first ? EBB_NN_INIT_ORTHOGONAL : EBB_NN_INIT_TRUNCATED_NORMAL,
                                   seed, .std = 1 };
        y[n++] = ebb_nn_linear(
            x, 4, &(ebb_nn_linear_options){ .name = first ? "first" : "second", .init = init });
        if (i == 0 && has_more)
            y[n++] = ebb_nn_linear(x, 9, &(ebb_nn_linear_options){ .name = "more" });
    }
    ebb_executable_destroy(
        compile_with(g, &(ebb_compile_options){ .fetches = y, .n_fetches = n, .store = store }));
    ebb_graph_destroy(g);
    return store;
}

static void check_equal(ebb_store *a, ebb_store *b, const char *name, bool equal)
{
    ebb_tensor value_a, value_b;
    ck_assert_int_eq(ebb_store_get(a, name, &value_a), EBB_OK);
    ck_assert_int_eq(ebb_store_get(b, name, &value_b), EBB_OK);
    ck_assert_int_eq(memcmp(value_a.data, value_b.data, ebb_tensor_bytes(&value_a)) == 0, equal);
}

START_TEST(test_creation_order)
{
    ebb_store *expected = build(false, false, 3);
    for (int i = 1; i < 4; i++) {
        ebb_store *store = build(i & 1, i & 2, 3);
        check_equal(expected, store, "first/w", true);
        check_equal(expected, store, "second/w", true);
        ebb_store_destroy(store);
    }
    ebb_store *other = build(false, false, 4);
    check_equal(expected, other, "first/w", false);
    check_equal(expected, other, "second/w", false);
    ebb_store_destroy(other);
    ebb_store_destroy(expected);
}
END_TEST

/* inputs and outputs that layers count: the square of std is 2 / (inputs + outputs). */
START_TEST(test_fans_of_layers)
{
    static const struct {
        int64_t groups;
        bool transposed;
        double sum;
    } rows[] = { { 1, false, (8 + 12) * 9 }, { 2, false, (4 + 6) * 9 }, { 2, true, (6 + 4) * 9 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ebb_graph *g = ebb_graph_create("g");
        const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(1, 8, 5, 5));
        const ebb_nn_conv_options options = { .name = "c",
                                              .window = EBB_INTS(3),
                                              .conv.groups = rows[i].groups,
                                              .init.kind = EBB_NN_INIT_GLOROT,
                                              .no_bias = true };
        const ebb_node y = rows[i].transposed ? ebb_nn_conv_transpose(x, 12, &options)
                                              : ebb_nn_conv(x, 12, &options);
        ck_assert_msg(!ebb_node_is_none(y), "%s", ebb_graph_message(g));
        const ebb_variable_attrs *attrs = ebb_node_attrs(ebb_graph_find(g, "c/w"));
        ck_assert_double_eq_tol(attrs->b * attrs->b, 2 / rows[i].sum, 1e-12);
        ebb_graph_destroy(g);
    }
}
END_TEST

START_TEST(test_errors)
{
    static const struct {
        ebb_nn_init init;
        double inputs;
        ebb_status status;
        const char *text;
    } rows[] = {
        { { .kind = (ebb_nn_init_kind)77 }, 1, EBB_BAD_ARGUMENT, "there is no such init" },
        { { .kind = EBB_NN_INIT_NORMAL, .std = -1 },
          1,
          EBB_BAD_ARGUMENT,
          "std must be a finite number" },
        { { .kind = EBB_NN_INIT_CONSTANT, .value = (double)NAN },
          1,
          EBB_BAD_ARGUMENT,
          "value must be" },
        { { .kind = EBB_NN_INIT_UNIFORM, .low = 1 },
          1,
          EBB_BAD_ARGUMENT,
          "low and high must be finite" },
        { { .kind = EBB_NN_INIT_HE, .gain = (double)INFINITY },
          1,
          EBB_BAD_ARGUMENT,
          "gain must be" },
        { { .kind = EBB_NN_INIT_HE },
          -1,
          EBB_BAD_ARGUMENT,
          "inputs and outputs must be finite numbers" },
        { { .kind = EBB_NN_INIT_ORTHOGONAL },
          1,
          EBB_BAD_SHAPE,
          "orthogonal initial value of rank 1" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ebb_graph *g = ebb_graph_create("g");
        ebb_scope_push(g, "block");
        const ebb_node w =
            ebb_nn_weights(g, "w", EBB_F32, EBB_SHAPE(3), rows[i].inputs, 1, &rows[i].init);
        ck_assert(ebb_node_is_none(w));
        ck_assert_int_eq(ebb_graph_status(g), rows[i].status);
        CHECK_TEXT(ebb_graph_message(g), rows[i].text);
        if (rows[i].status == EBB_BAD_ARGUMENT)
            CHECK_TEXT(ebb_graph_message(g), "nn_weights \"block/w\": ");
        CHECK_TEXT(ebb_graph_message(g), "test_init.c:");
        ebb_graph_destroy(g);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("init");
    TCase *init = tcase_create("init");
    tcase_add_test(init, test_moments);
    tcase_add_test(init, test_constant);
    tcase_add_test(init, test_orthogonal);
    tcase_add_test(init, test_orthogonal_is_uniform);
    tcase_add_test(init, test_creation_order);
    tcase_add_test(init, test_fans_of_layers);
    tcase_add_test(init, test_errors);
    suite_add_tcase(suite, init);
    return run_suite(suite);
}
