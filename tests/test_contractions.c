/* Vector forms of matmul, dot, outer and einsum against sums written out, and what they refuse. */
#include "graph/interpret.h"
#include "tests/support/runner.h"
#include <ebb/autodiff.h>
#include <ebb/ops.h>
#include <string.h>

enum { MAX_ELEMENTS = 256, N_LETTERS = 128 };

static ebb_node input(ebb_graph *g, const char *name, ebb_shape shape)
{
    return ebb_input(g, name, EBB_F64, shape);
}

/* Numbers that tell transposed dimensions apart: first, first + step, ... */
static ebb_node numbers(ebb_graph *g, ebb_shape shape, double first, double step)
{
    double data[MAX_ELEMENTS];
    for (int i = 0; i < MAX_ELEMENTS; i++)
        data[i] = first + step * i;
    ck_assert_int_le(ebb_shape_elements(&shape), MAX_ELEMENTS);
    return ebb_constant(g, EBB_F64, shape, data);
}

static void assert_values(ebb_node y, ebb_shape shape, const double *expected)
{
    ebb_error error = { .status = EBB_OK };
    ck_assert_msg(!ebb_node_is_none(y), "%s", ebb_graph_message(y.graph));
    char text[EBB_NODE_TEXT_BYTES];
    ck_assert_msg(ebb_shape_equal(&ebb_node_type(y)->shape, &shape), "%s", ebb_node_text(y, text));
    ebb_interpreter *in = ebb_interpreter_create(y.graph, NULL);
    ck_assert_msg(ebb_interpreter_run(in, &y, 1, &error) == EBB_OK, "%s", error.message);
    const ebb_tensor *value = ebb_interpreter_get(in, y);
    for (int64_t i = 0; i < ebb_shape_elements(&shape); i++)
        ck_assert_double_eq_tol(ebb_tensor_get(value, i), expected[i], 1e-9);
    ebb_interpreter_destroy(in);
}

static void assert_fails(ebb_node y, ebb_status status, const char *part)
{
    ck_assert(ebb_node_is_none(y));
    const char *message = ebb_graph_message(y.graph);
    ck_assert_msg(ebb_graph_status(y.graph) == status, "%s", message);
    ck_assert_msg(strstr(message, part) != NULL, "%s", message);
    ck_assert_msg(strstr(message, "(test_contractions.c:") != NULL, "no place: %s", message);
    ebb_graph_destroy(y.graph);
}

#define LIST(...) ((const double[]){ __VA_ARGS__ })

/* ---- matmul, dot, outer ---- */

START_TEST(vectors_in_products)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node v = numbers(g, EBB_SHAPE(3), 1, 1); /* 1 2 3 */
    ebb_node m = numbers(g, EBB_SHAPE(3, 2), 1, 1), tall = numbers(g, EBB_SHAPE(2, 3), 1, 1);
    assert_values(ebb_matmul(v, v), EBB_SCALAR, LIST(14));
    assert_values(ebb_matmul(v, m), EBB_SHAPE(2), LIST(22, 28));
    assert_values(ebb_matmul(tall, v), EBB_SHAPE(2), LIST(14, 32));
    ebb_node stack = numbers(g, EBB_SHAPE(2, 3, 2), 1, 1);
    assert_values(ebb_matmul(v, stack), EBB_SHAPE(2, 2), LIST(22, 28, 58, 64));
    assert_values(ebb_matmul(numbers(g, EBB_SHAPE(2, 1, 2, 3), 1, 1), v), EBB_SHAPE(2, 1, 2),
                  LIST(14, 32, 50, 68));
    ebb_node none = numbers(g, EBB_SHAPE(0), 0, 0);
    assert_values(ebb_matmul(none, none), EBB_SCALAR, LIST(0));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(dots)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node two = ebb_scalar(g, EBB_F64, 2), v = numbers(g, EBB_SHAPE(2), 1, 1);
    assert_values(ebb_dot(two, v), EBB_SHAPE(2), LIST(2, 4));
    assert_values(ebb_dot(v, two), EBB_SHAPE(2), LIST(2, 4));
    assert_values(ebb_dot(v, v), EBB_SCALAR, LIST(5));
    ebb_node a = numbers(g, EBB_SHAPE(2, 1, 2), 1, 1), b = numbers(g, EBB_SHAPE(3, 2, 2), 1, 1);
    double expected[2 * 3 * 2];
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 2; k++) {
                double sum = 0;
                for (int p = 0; p < 2; p++)
                    sum += (1 + i * 2 + p) * (double)(1 + j * 4 + p * 2 + k);
                expected[(i * 3 + j) * 2 + k] = sum;
            }
    assert_values(ebb_dot(a, b), EBB_SHAPE(2, 1, 3, 2), expected);
    assert_fails(ebb_dot(input(g, "x", EBB_SHAPE(2, 3)), input(g, "y", EBB_SHAPE(1, 2, 3))),
                 EBB_BAD_SHAPE, "matmul: inner dimensions differ");
}
END_TEST

START_TEST(outer_products)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node v = numbers(g, EBB_SHAPE(2), 1, 1), m = numbers(g, EBB_SHAPE(1, 3), 1, 1);
    assert_values(ebb_outer(v, m), EBB_SHAPE(2, 3), LIST(1, 2, 3, 2, 4, 6));
    int32_t whole[2] = { 3, 4 };
    ebb_node i = ebb_constant(g, EBB_I32, EBB_SHAPE(2), whole);
    assert_values(ebb_outer(i, i), EBB_SHAPE(2, 2), LIST(9, 12, 12, 16));
    assert_values(ebb_outer(v, ebb_scalar(g, EBB_F64, 5)), EBB_SHAPE(2, 1), LIST(5, 10));
    assert_fails(ebb_outer(input(g, "x", EBB_SHAPE(2)), ebb_input(g, "y", EBB_F32, EBB_SHAPE(2))),
                 EBB_BAD_DTYPE, "dtypes differ");
}
END_TEST

/* ---- einsum ---- */

/* The sum over all values of all letters, by the definition. */
typedef struct definition {
    int64_t sizes[N_LETTERS];
    char letters[N_LETTERS]; /* in order of appearance */
    int n_letters;
} definition;

static int64_t place(const definition *d, const char *labels, const int64_t *at)
{
    int64_t index = 0;
    for (; *labels && *labels != ',' && *labels != '-'; labels++)
        index = index * d->sizes[(int)*labels] + at[(int)*labels];
    return index;
}

static void sum_all(const definition *d, int depth, int64_t *at, const char *first,
                    const char *second, const char *result, const ebb_tensor *a,
                    const ebb_tensor *b, double *out)
{
    if (depth == d->n_letters) {
        double product = ebb_tensor_get(a, place(d, first, at));
        if (second)
            product *= ebb_tensor_get(b, place(d, second, at));
        out[place(d, result, at)] += product;
        return;
    }
    int letter = d->letters[depth];
    for (at[letter] = 0; at[letter] < d->sizes[letter]; at[letter]++)
        sum_all(d, depth + 1, at, first, second, result, a, b, out);
}

static const struct {
    const char *spec, *result; /* result NULL: it stands in the spec */
} specs[] = {
    { "ij,jk->ik", NULL },
    { "ij,kj->ik", NULL },
    { "ji,jk->ki", NULL },
    { "bij,bjk->bik", NULL },
    { "bij,bkj->bik", NULL },
    { "bhqd,bhkd->bhqk", NULL },
    { "bqhd,bkhd->bhqk", NULL },
    { "ibj,kjb->bki", NULL },
    { "i,i->", NULL },
    { "i,j->ij", NULL },
    { "i,j->ji", NULL },
    { "ij,j->i", NULL },
    { "ij,ij->", NULL },
    { "ij,ij->ij", NULL },
    { "ij,ij->i", NULL },
    { "ij,kl->", NULL },
    { "ijl,jk->ik", NULL },
    { "ij,->ij", NULL },
    { ",->", NULL },
    { "abcd,dceb->ae", NULL },
    { "Zz,zA->ZA", NULL },
    { "ij,jk", "ik" },
    { "ba,bc", "ac" },
    { "i,i", "" },
    { "bA,bc", "Ac" },
    { "ij->ji", NULL },
    { "ij->", NULL },
    { "ijk->ki", NULL },
    { "ijk->j", NULL },
    { "ba", "ab" },
    { "->", NULL },
    { "abcdefgh->hgfedcba", NULL },
};
enum { N_SPECS = sizeof specs / sizeof *specs };

static int64_t size_of_letter(int letter)
{
    return 1 + (letter * 7) % 3; /* 1, 2 or 3 */
}

START_TEST(einsum_by_definition)
{
    const char *spec = specs[_i].spec, *arrow = strstr(spec, "->");
    const char *comma = strchr(spec, ',');
    const char *result = specs[_i].result ? specs[_i].result : arrow + 2;
    definition d = { .n_letters = 0 };
    ebb_shape shapes[2] = { EBB_SCALAR, EBB_SCALAR }, shape = EBB_SCALAR;
    for (const char *c = spec; *c && c != arrow; c++) {
        if (*c == ',')
            continue;
        ebb_shape *of = &shapes[comma && c > comma];
        of->dims[of->rank++] = size_of_letter(*c);
        if (!d.sizes[(int)*c])
            d.letters[d.n_letters++] = *c;
        d.sizes[(int)*c] = size_of_letter(*c);
    }
    for (const char *c = result; *c; c++)
        shape.dims[shape.rank++] = d.sizes[(int)*c];
    ebb_graph *g = ebb_graph_create("g");
    ebb_node xs[2] = { numbers(g, shapes[0], 1, 0.25), numbers(g, shapes[1], -2, 0.5) };
    ebb_node y = ebb_einsum(g, spec, xs, comma ? 2 : 1);
    double expected[MAX_ELEMENTS] = { 0 };
    ebb_interpreter *in = ebb_interpreter_create(g, NULL);
    ebb_error error;
    ck_assert_int_eq(ebb_interpreter_run(in, xs, 2, &error), EBB_OK);
    int64_t at[N_LETTERS] = { 0 };
    sum_all(&d, 0, at, spec, comma ? comma + 1 : NULL, result, ebb_interpreter_get(in, xs[0]),
            ebb_interpreter_get(in, xs[1]), expected);
    ebb_interpreter_destroy(in);
    assert_values(y, shape, expected);
    ebb_graph_destroy(g);
    /* and its gradients */
    g = ebb_graph_create("g");
    ebb_node inputs[2] = { input(g, "a", shapes[0]), input(g, "b", shapes[1]) };
    y = ebb_einsum(g, spec, inputs, comma ? 2 : 1);
    ebb_check_options options = { .order = 2 };
    ebb_check_report report;
    ck_assert_msg(ebb_check_gradients(y, inputs, comma ? 2 : 1, &options, &report) == EBB_OK,
                  "%s: %s", spec, ebb_graph_message(g));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(einsum_of_nothing_and_of_integers)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node xs[2] = { numbers(g, EBB_SHAPE(2, 0), 0, 0), numbers(g, EBB_SHAPE(0, 3), 0, 0) };
    assert_values(ebb_einsum(g, "ij,jk->ik", xs, 2), EBB_SHAPE(2, 3), LIST(0, 0, 0, 0, 0, 0));
    int64_t whole[4] = { 1, 2, 3, 4 };
    ebb_node i = ebb_constant(g, EBB_I64, EBB_SHAPE(2, 2), whole);
    assert_values(ebb_einsum(g, "ij,ik->ijk", (ebb_node[]){ i, i }, 2), EBB_SHAPE(2, 2, 2),
                  LIST(1, 2, 2, 4, 9, 12, 12, 16));
    assert_values(ebb_einsum(g, " i j -> j", &i, 1), EBB_SHAPE(2), LIST(4, 6));
    ebb_graph_destroy(g);
}
END_TEST

static const struct {
    const char *spec;
    ebb_status status;
    const char *message;
} refused[] = {
    { "ij,jk->i.", EBB_BAD_ATTRIBUTE, "einsum \"ij,jk->i.\": position 9: '.' is no letter" },
    { "...j,jk", EBB_BAD_ATTRIBUTE, "position 1: '.' is no letter" },
    { "i-,jk->ik", EBB_BAD_ATTRIBUTE, "position 2: '-' is no letter" },
    { "ii,jk->ik", EBB_BAD_ATTRIBUTE, "position 2: 'i' is repeated; diagonals are not taken" },
    { "ij,jk->ii", EBB_BAD_ATTRIBUTE, "position 9: 'i' is repeated" },
    { "ij,jk->im", EBB_BAD_ATTRIBUTE, "position 9: 'm' is in no operand" },
    { "ij,jk,kl->il", EBB_BAD_ATTRIBUTE, "position 6: more than 2 operands" },
    { "ij,jk->i,k", EBB_BAD_ATTRIBUTE, "position 9: ',' is no letter" },
    { "ij->ji", EBB_BAD_ATTRIBUTE, "1 operands are written, 2 are given" },
    { "abcdefghi,jk->a", EBB_BAD_ATTRIBUTE, "position 9: more than 8 letters" },
    { "\xff,jk->a", EBB_BAD_ATTRIBUTE, "position 1: '?' is no letter" },
    { "ijk,jk->i", EBB_BAD_SHAPE, "operand 1 has 3 letters and is x f64[2,3]" },
    { "ij,ik->jk", EBB_BAD_SHAPE, "'i' is 2 and, in operand 2, 3" },
};
enum { N_REFUSED = sizeof refused / sizeof *refused };

START_TEST(einsum_refuses)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node xs[2] = { input(g, "x", EBB_SHAPE(2, 3)), input(g, "y", EBB_SHAPE(3, 4)) };
    assert_fails(ebb_einsum(g, refused[_i].spec, xs, 2), refused[_i].status, refused[_i].message);
}
END_TEST

START_TEST(einsum_refuses_arguments)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = input(g, "x", EBB_SHAPE(2)), three[3] = { x, x, x };
    assert_fails(ebb_einsum(g, "i,i,i->", three, 3), EBB_BAD_ARGUMENT, "1 or 2 operands");
    g = ebb_graph_create("g");
    assert_fails(ebb_einsum(g, NULL, three, 1), EBB_BAD_ARGUMENT, "einsum: a specification");
    g = ebb_graph_create("g");
    ebb_graph *other = ebb_graph_create("other");
    x = input(other, "x", EBB_SHAPE(2));
    assert_fails(ebb_einsum(g, "i->", &x, 1), EBB_BAD_NODE,
                 "operand 1 is none or of another graph");
    ebb_graph_destroy(other);
    g = ebb_graph_create("g");
    ebb_node whole[2] = { ebb_input(g, "a", EBB_I32, EBB_SHAPE(2)),
                          ebb_input(g, "b", EBB_I32, EBB_SHAPE(2)) };
    assert_fails(ebb_einsum(g, "i,i->", whole, 2), EBB_BAD_DTYPE,
                 "matmul: dtype i32 is not one of f64, f32");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("contractions");
    TCase *products = tcase_create("products");
    tcase_add_test(products, vectors_in_products);
    tcase_add_test(products, dots);
    tcase_add_test(products, outer_products);
    suite_add_tcase(suite, products);
    TCase *sums = tcase_create("einsum");
    tcase_add_loop_test(sums, einsum_by_definition, 0, N_SPECS);
    tcase_add_test(sums, einsum_of_nothing_and_of_integers);
    tcase_add_loop_test(sums, einsum_refuses, 0, N_REFUSED);
    tcase_add_test(sums, einsum_refuses_arguments);
    suite_add_tcase(suite, sums);
    return run_suite(suite);
}
