/* The builders that move elements: slices, concatenation, padding, repetition, triangles. Values by
 * NumPy's rules, what they cost when compiled, their gradients; and the text form of what they
 * have: lists of integers, many inputs. What they refuse: test_shape_errors.c. */
#include "graph/interpret.h"
#include "ops/descriptors.h"
#include "tests/support/golden.h"
#include "tests/support/runtime.h"
#include <stdlib.h>

#define LIST(...)                                                                                  \
    (const double[])                                                                               \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define NODES(...)                                                                                 \
    (const ebb_node[])                                                                             \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static ebb_node input(ebb_graph *g, const char *name, ebb_shape shape)
{
    return ebb_input(g, name, EBB_F64, shape);
}

/* 0, 1, 2 .. */
static ebb_node count_up(ebb_graph *g, ebb_shape shape)
{
    return ebb_reshape(ebb_iota(g, EBB_F64, EBB_SHAPE(ebb_shape_elements(&shape)), 0), shape);
}

static void assert_values(ebb_node y, ebb_shape shape, const double *expected)
{
    ebb_error error = { .status = EBB_OK };
    ck_assert_msg(!ebb_node_is_none(y), "%s", ebb_graph_message(y.graph));
    char have[EBB_TYPE_TEXT_BYTES], want[EBB_TYPE_TEXT_BYTES];
    ck_assert_str_eq(ebb_shape_text(&ebb_node_type(y)->shape, have), ebb_shape_text(&shape, want));
    ebb_interpreter *in = ebb_interpreter_create(y.graph, NULL);
    ck_assert_msg(ebb_interpreter_run(in, &y, 1, &error) == EBB_OK, "%s", error.message);
    const ebb_tensor *value = ebb_interpreter_get(in, y);
    for (int64_t i = 0; i < ebb_shape_elements(&shape); i++)
        ck_assert_msg(ebb_tensor_get(value, i) == expected[i], "element %lld is %g, not %g",
                      (long long)i, ebb_tensor_get(value, i), expected[i]);
    ebb_interpreter_destroy(in);
}

static bool same_node(ebb_node a, ebb_node b)
{
    return a.graph == b.graph && a.id == b.id && a.id != 0;
}

/* ---- slices ---- */

START_TEST(slices)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = count_up(g, EBB_SHAPE(10)), m = count_up(g, EBB_SHAPE(3, 4));
    assert_values(ebb_slice(x, EBB_INTS(-3), EBB_INTS(3), EBB_INTS(-1)), EBB_SHAPE(4),
                  LIST(7, 6, 5, 4));
    assert_values(ebb_slice(m, EBB_INTS(1), EBB_INTS(2), EBB_NO_INTS), EBB_SHAPE(1, 4),
                  LIST(4, 5, 6, 7));
    assert_values(ebb_slice_axis(m, -1, EBB_TO_END, EBB_TO_BEGIN, -3), EBB_SHAPE(3, 2),
                  LIST(3, 0, 7, 4, 11, 8));
    assert_values(ebb_slice_axis(m, 1, 2, 2, 1), EBB_SHAPE(3, 0), LIST(0));
    assert_values(ebb_flip(m, EBB_AXES(0)), EBB_SHAPE(3, 4),
                  LIST(8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    assert_values(ebb_flip(ebb_slice_axis(m, 0, 0, 2, 1), EBB_ALL_AXES), EBB_SHAPE(2, 4),
                  LIST(7, 6, 5, 4, 3, 2, 1, 0));
    /* one slice is one node, however it is said; the whole is no node */
    ck_assert(same_node(ebb_slice(x, EBB_INTS(1), EBB_INTS(6), EBB_INTS(2)),
                        ebb_slice(x, EBB_INTS(-9), EBB_INTS(-4), EBB_INTS(2))));
    ck_assert(same_node(ebb_slice(m, EBB_INTS(1), EBB_INTS(99), EBB_NO_INTS),
                        ebb_slice(m, EBB_INTS(1, 0), EBB_INTS(3, 4), EBB_INTS(1, 1))));
    ck_assert(same_node(ebb_slice_axis(x, 0, 9, -11, -4), ebb_slice_axis(x, 0, -1, 0, -4)));
    ck_assert(same_node(ebb_slice_axis(x, 0, 5, 2, 1), ebb_slice_axis(x, 0, 0, 0, -7)));
    ck_assert(same_node(ebb_slice(m, EBB_INTS(0, -99), EBB_INTS(3, EBB_TO_END), EBB_NO_INTS), m));
    ck_assert(same_node(ebb_slice(m, EBB_NO_INTS, EBB_NO_INTS, EBB_NO_INTS), m));
    ebb_node scalar = ebb_scalar(g, EBB_F64, 3);
    ck_assert(same_node(ebb_flip(scalar, EBB_ALL_AXES), scalar));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(splits)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node m = count_up(g, EBB_SHAPE(2, 6)), parts[5];
    ebb_node first = ebb_split(m, 3, -1, parts);
    ck_assert(same_node(first, parts[0]));
    assert_values(parts[0], EBB_SHAPE(2, 2), LIST(0, 1, 6, 7));
    assert_values(parts[2], EBB_SHAPE(2, 2), LIST(4, 5, 10, 11));
    ebb_split_sizes(m, (const int64_t[]){ 1, 0, 5 }, 3, 1, parts);
    assert_values(parts[0], EBB_SHAPE(2, 1), LIST(0, 6));
    assert_values(parts[1], EBB_SHAPE(2, 0), LIST(0));
    assert_values(parts[2], EBB_SHAPE(2, 5), LIST(1, 2, 3, 4, 5, 7, 8, 9, 10, 11));
    ck_assert(same_node(ebb_split(m, 1, 0, parts), m));
    ebb_node empty = ebb_full(g, EBB_F64, EBB_SHAPE(0), 1);
    ebb_split(empty, 2, 0, parts);
    assert_values(parts[1], EBB_SHAPE(0), LIST(0));
    ebb_split(ebb_split(m, 5, 1, parts), 2, 0, parts); /* a failure leaves none nodes only */
    ck_assert(ebb_node_is_none(parts[0]) && ebb_node_is_none(parts[4]));
    ebb_graph_destroy(g);
}
END_TEST

/* ---- concat, stack, pad ---- */

START_TEST(joins)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node a = count_up(g, EBB_SHAPE(2, 2)), b = ebb_full(g, EBB_F64, EBB_SHAPE(2, 1), 9);
    assert_values(ebb_concat(g, NODES(a, b, a), 3, -1), EBB_SHAPE(2, 5),
                  LIST(0, 1, 9, 0, 1, 2, 3, 9, 2, 3));
    assert_values(ebb_concat(g, NODES(a, a), 2, 0), EBB_SHAPE(4, 2), LIST(0, 1, 2, 3, 0, 1, 2, 3));
    ck_assert(same_node(ebb_concat(g, &a, 1, 1), a));
    ck_assert(same_node(ebb_concat(g, NODES(a, b), 2, 1), ebb_concat(g, NODES(a, b), 2, -1)));
    ebb_node flat = ebb_flip(a, EBB_ALL_AXES);
    assert_values(ebb_stack(g, NODES(a, flat), 2, 0), EBB_SHAPE(2, 2, 2),
                  LIST(0, 1, 2, 3, 3, 2, 1, 0));
    assert_values(ebb_stack(g, NODES(a, flat), 2, -1), EBB_SHAPE(2, 2, 2),
                  LIST(0, 3, 1, 2, 2, 1, 3, 0));
    assert_values(ebb_stack(g, NODES(a, flat), 2, 1), EBB_SHAPE(2, 2, 2),
                  LIST(0, 1, 3, 2, 2, 3, 1, 0));
    ebb_node scalars[3];
    for (int i = 0; i < 3; i++)
        scalars[i] = ebb_scalar(g, EBB_F64, i);
    assert_values(ebb_stack(g, scalars, 3, 0), EBB_SHAPE(3), LIST(0, 1, 2));
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(pads)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node v = count_up(g, EBB_SHAPE(3));
    assert_values(ebb_pad(v, EBB_INTS(2), EBB_INTS(1), EBB_PAD_CONSTANT, 7), EBB_SHAPE(6),
                  LIST(7, 7, 0, 1, 2, 7));
    assert_values(ebb_pad(v, EBB_INTS(2), EBB_INTS(1), EBB_PAD_REFLECT, 7), EBB_SHAPE(6),
                  LIST(2, 1, 0, 1, 2, 1));
    assert_values(ebb_pad(v, EBB_INTS(2), EBB_INTS(1), EBB_PAD_EDGE, 0), EBB_SHAPE(6),
                  LIST(0, 0, 0, 1, 2, 2));
    ck_assert(same_node(ebb_pad(v, EBB_INTS(0), EBB_INTS(0), EBB_PAD_EDGE, 0), v));
    ck_assert(same_node(ebb_pad(v, EBB_INTS(1), EBB_INTS(0), EBB_PAD_EDGE, 5),
                        ebb_pad(v, EBB_INTS(1), EBB_INTS(0), EBB_PAD_EDGE, 0)));
    ebb_graph_destroy(g);
}
END_TEST

/* ---- rearranging ---- */

START_TEST(dimensions)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = input(g, "x", EBB_SHAPE(1, 3, 1, 2));
    const struct {
        ebb_node node;
        const char *shape;
    } rows[] = {
        { ebb_squeeze(x, EBB_ALL_AXES), "[3,2]" },
        { ebb_squeeze(x, EBB_AXES(-2)), "[1,3,2]" },
        { ebb_squeeze(x, EBB_AXES(2, 0)), "[3,2]" },
        { ebb_unsqueeze(x, EBB_AXES(0, -1)), "[1,1,3,1,2,1]" },
        { ebb_unsqueeze(x, EBB_AXES(2, 1)), "[1,1,1,3,1,2]" },
        { ebb_unsqueeze(x, EBB_ALL_AXES), "[1,3,1,2]" },
        { ebb_unsqueeze(ebb_scalar(g, EBB_F64, 1), EBB_AXES(1, 0)), "[1,1]" },
        { ebb_squeeze(ebb_scalar(g, EBB_F64, 1), EBB_ALL_AXES), "[]" },
        { ebb_flatten(x, 0), "[6]" },
        { ebb_flatten(x, 1), "[1,6]" },
        { ebb_flatten(x, -1), "[1,3,1,2]" },
        { ebb_flatten(ebb_scalar(g, EBB_F64, 1), 0), "[1]" },
        { ebb_flatten(input(g, "e", EBB_SHAPE(2, 0, 3)), 1), "[2,0]" },
        { ebb_reshape(x, EBB_SHAPE(-1, 2)), "[3,2]" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[EBB_TYPE_TEXT_BYTES];
        ck_assert_msg(!ebb_node_is_none(rows[i].node), "%s", ebb_graph_message(g));
        ck_assert_str_eq(ebb_shape_text(&ebb_node_type(rows[i].node)->shape, text), rows[i].shape);
    }
    ebb_graph_destroy(g);
}
END_TEST

/* Examples of the NumPy manual: numpy.tile, numpy.repeat, numpy.tril, numpy.triu, numpy.eye. */
START_TEST(repetitions_and_triangles)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node a = count_up(g, EBB_SHAPE(3)), one = ebb_full(g, EBB_F64, EBB_SHAPE(2, 2), 1);
    ebb_node b = ebb_add(count_up(g, EBB_SHAPE(2, 2)), one); /* 1 2, 3 4 */
    assert_values(ebb_tile(a, EBB_INTS(2)), EBB_SHAPE(6), LIST(0, 1, 2, 0, 1, 2));
    assert_values(ebb_tile(a, EBB_INTS(2, 2)), EBB_SHAPE(2, 6),
                  LIST(0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2));
    assert_values(ebb_tile(a, EBB_INTS(2, 1, 2)), EBB_SHAPE(2, 1, 6),
                  LIST(0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2));
    assert_values(ebb_tile(b, EBB_INTS(2)), EBB_SHAPE(2, 4), LIST(1, 2, 1, 2, 3, 4, 3, 4));
    assert_values(ebb_tile(b, EBB_INTS(2, 1)), EBB_SHAPE(4, 2), LIST(1, 2, 3, 4, 1, 2, 3, 4));
    assert_values(ebb_tile(a, EBB_INTS(0, 2)), EBB_SHAPE(0, 6), LIST(0));
    assert_values(ebb_tile(ebb_scalar(g, EBB_F64, 4), EBB_INTS(3)), EBB_SHAPE(3), LIST(4, 4, 4));
    assert_values(ebb_tile(ebb_full(g, EBB_F64, EBB_SHAPE(0), 1), EBB_INTS(3)), EBB_SHAPE(0),
                  LIST(0));
    ck_assert(same_node(ebb_tile(b, EBB_NO_INTS), b));
    assert_values(ebb_repeat(b, 3, 1), EBB_SHAPE(2, 6), LIST(1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4));
    assert_values(ebb_repeat(b, 2, -2), EBB_SHAPE(4, 2), LIST(1, 2, 1, 2, 3, 4, 3, 4));
    assert_values(ebb_repeat(b, 0, 0), EBB_SHAPE(0, 2), LIST(0));
    ck_assert(same_node(ebb_repeat(b, 1, 0), b));
    ebb_node c = ebb_reshape(ebb_add(count_up(g, EBB_SHAPE(12)), ebb_scalar(g, EBB_F64, 1)),
                             EBB_SHAPE(4, 3));
    assert_values(ebb_tril(c, -1), EBB_SHAPE(4, 3), LIST(0, 0, 0, 4, 0, 0, 7, 8, 0, 10, 11, 12));
    assert_values(ebb_triu(c, -1), EBB_SHAPE(4, 3), LIST(1, 2, 3, 4, 5, 6, 0, 8, 9, 0, 0, 12));
    assert_values(ebb_tril(one, INT64_MAX), EBB_SHAPE(2, 2), LIST(1, 1, 1, 1));
    assert_values(ebb_triu(one, INT64_MAX), EBB_SHAPE(2, 2), LIST(0, 0, 0, 0));
    assert_values(ebb_tril(one, INT64_MIN), EBB_SHAPE(2, 2), LIST(0, 0, 0, 0));
    assert_values(ebb_tril(ebb_stack(g, NODES(b, one), 2, 0), 0), EBB_SHAPE(2, 2, 2),
                  LIST(1, 0, 3, 4, 1, 0, 1, 1));
    ebb_node poles = ebb_div(one, ebb_sub(one, one)); /* infinite; not times 0 */
    assert_values(ebb_triu(poles, 3), EBB_SHAPE(2, 2), LIST(0, 0, 0, 0));
    assert_values(ebb_eye(g, EBB_F64, 3, 3, 1), EBB_SHAPE(3, 3), LIST(0, 1, 0, 0, 0, 1, 0, 0, 0));
    assert_values(ebb_eye(g, EBB_I32, 2, 3, 0), EBB_SHAPE(2, 3), LIST(1, 0, 0, 0, 1, 0));
    assert_values(ebb_eye(g, EBB_BOOL, 2, 2, 5), EBB_SHAPE(2, 2), LIST(0, 0, 0, 0));
    assert_values(ebb_eye(g, EBB_F32, 0, 2, 0), EBB_SHAPE(0, 2), LIST(0));
    ebb_graph_destroy(g);
}
END_TEST

/* ---- compiled ---- */

START_TEST(slices_cost_no_step)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(4, 6));
    ebb_node back = ebb_flip(ebb_slice_axis(x, 0, 1, 4, 2), EBB_ALL_AXES);         /* [2,6] */
    ebb_node far = ebb_slice_axis(ebb_transpose(back, EBB_ALL_AXES), 0, 4, 0, -2); /* [2,2] */
    ebb_node none = ebb_slice_axis(x, 1, 2, 2, 1), sum = ebb_add(far, far);
    ebb_node flat = ebb_reshape(back, EBB_SHAPE(12)), product = ebb_matmul(far, back);
    ebb_node fetches[] = { back, far, none, sum, flat, product, x };
    enum { N = sizeof fetches / sizeof *fetches };
    ebb_executable *e = compile(g, _i, fetches, N, NULL);
    ebb_executable_stats stats = ebb_executable_get_stats(e);
    if (_i == 3) {
        ck_assert_int_eq(stats.n_views, 6);
        ck_assert_int_le(stats.n_steps, 2 + stats.n_copies);
    }
    float data[24], out[N][24];
    for (int i = 0; i < 24; i++)
        data[i] = (float)i;
    ebb_fetch places[N];
    for (int i = 0; i < N; i++)
        places[i] = FETCH(fetches[i], out[i]);
    run(e, &FEED(x, data), 1, places, N);
    for (int r = 0; r < 2; r++)
        for (int c = 0; c < 6; c++) {
            ck_assert_float_eq(out[0][r * 6 + c], (float)((3 - 2 * r) * 6 + 5 - c));
            ck_assert_float_eq(out[4][r * 6 + c], out[0][r * 6 + c]);
            float p = out[1][r * 2] * out[0][c] + out[1][r * 2 + 1] * out[0][6 + c];
            ck_assert_float_eq(out[5][r * 6 + c], p);
        }
    for (int r = 0; r < 2; r++)
        for (int c = 0; c < 2; c++) {
            ck_assert_float_eq(out[1][r * 2 + c], out[0][c * 6 + 4 - 2 * r]);
            ck_assert_float_eq(out[3][r * 2 + c], 2 * out[1][r * 2 + c]);
        }
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
}
END_TEST

/* A part of a variable that is updated in the same run: its value from before. */
START_TEST(slices_of_what_is_updated)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node w = ebb_variable(g, "w", EBB_F32, EBB_SHAPE(4), &(ebb_init){ .a = 1 });
    ebb_node head = ebb_slice_axis(w, 0, 0, 2, 1), tail = ebb_slice_axis(w, 0, 2, 4, 1);
    ebb_update(w, ebb_concat(g, NODES(ebb_add(tail, tail), head), 2, 0));
    ebb_node shown = ebb_flip(tail, EBB_ALL_AXES);
    ebb_executable *e = compile(g, _i, &shown, 1, store);
    float out[2];
    const float expected[4][2] = { { 1, 1 }, { 1, 1 }, { 2, 2 }, { 2, 2 } };
    for (int i = 0; i < 4; i++) {
        run(e, NULL, 0, &FETCH(shown, out), 1);
        ck_assert_float_eq(out[0], expected[i][0]);
        ck_assert_float_eq(out[1], expected[i][1]);
    }
    ck_assert(stored(store, "w", 0) == 4 && stored(store, "w", 3) == 4);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

/* ---- gradients of what is made of several ops ---- */

START_TEST(gradients_of_composites)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = input(g, "x", EBB_SHAPE(3, 4)), y = input(g, "y", EBB_SHAPE(3, 4)), parts[4];
    ebb_split(x, 2, 1, parts);
    ebb_split_sizes(y, (const int64_t[]){ 1, 3 }, 2, 1, parts + 2);
    const ebb_node nodes[] = {
        ebb_mul(parts[0], ebb_exp(parts[1])),
        ebb_add(parts[2], ebb_square(parts[3])),
        ebb_stack(g, NODES(x, ebb_tanh(y), x), 3, 1),
        ebb_square(ebb_concat(g, NODES(x, ebb_flip(x, EBB_AXES(1)), y), 3, 0)),
        ebb_exp(ebb_tile(x, EBB_INTS(2, 1, 3))),
        ebb_mul(ebb_repeat(x, 2, 1), ebb_repeat(ebb_repeat(y, 2, 1), 1, 0)),
        ebb_exp(ebb_tril(x, 1)),
        ebb_mul(ebb_triu(ebb_mul(x, y), -1), x),
        ebb_square(
            ebb_pad(ebb_slice(x, EBB_INTS(2, 3), EBB_INTS(EBB_TO_BEGIN, 0), EBB_INTS(-1, -2)),
                    EBB_INTS(1, 2), EBB_INTS(4, 0), EBB_PAD_REFLECT, 0)),
    };
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        ebb_check_report report = { 0 };
        ebb_status status = ebb_check_gradients(nodes[i], NODES(x, y), 2,
                                                &(ebb_check_options){ .order = 2 }, &report);
        ck_assert_msg(status == EBB_OK, "node %d: %s", (int)i, ebb_graph_message(g));
    }
    ebb_graph_destroy(g);
}
END_TEST

/* The families are closed: gradients of the same kind, two of one another. */
START_TEST(gradients_are_of_the_family)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = input(g, "x", EBB_SHAPE(5)), d, dd;
    const struct {
        ebb_node y;
        const ebb_op *first, *second;
    } rows[] = {
        { ebb_slice_axis(x, 0, 1, 5, 2), &ebb_op_slice_grad, &ebb_op_slice },
        { ebb_pad(x, EBB_INTS(1), EBB_INTS(2), EBB_PAD_CONSTANT, 1), &ebb_op_slice,
          &ebb_op_slice_grad },
        { ebb_pad(x, EBB_INTS(1), EBB_INTS(2), EBB_PAD_EDGE, 0), &ebb_op_pad_grad, &ebb_op_pad },
        { ebb_concat(g, NODES(x, input(g, "z", EBB_SHAPE(2))), 2, 0), &ebb_op_slice,
          &ebb_op_slice_grad },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[8] = { 's', (char)('0' + i), 0 };
        ebb_node seed = input(g, name, ebb_node_type(rows[i].y)->shape);
        name[0] = 't';
        ebb_node seed2 = input(g, name, EBB_SHAPE(5));
        uint32_t before = ebb_graph_n_nodes(g);
        ck_assert_int_eq(ebb_gradients_with(&rows[i].y, &seed, 1, &x, 1, &d), EBB_OK);
        ck_assert_uint_eq(ebb_graph_n_nodes(g), before + 1);
        ck_assert_ptr_eq(ebb_node_op(d), rows[i].first);
        ck_assert_int_eq(ebb_gradients_with(&d, &seed2, 1, &seed, 1, &dd), EBB_OK);
        ck_assert_ptr_eq(ebb_node_op(dd), rows[i].second);
    }
    ebb_graph_destroy(g);
}
END_TEST

/* ---- the text form ---- */

static void assert_round_trip(const char *text)
{
    ebb_graph *g = golden_parse(text);
    char *again = golden_print(g);
    ck_assert_str_eq(again, text);
    free(again);
    ebb_graph_destroy(g);
}

#define X "graph \"g\"\n%1 = input {name=\"x\"} : f64[5]\n"

START_TEST(lists_of_integers_as_text)
{
    assert_round_trip(X "%2 = slice %1 {start=[-1], stop=[-9223372036854775808], step=[-2]} : "
                        "f64[3]\n"
                        "%3 = slice %1 {start=[9223372036854775807], stop=[0]} : f64[0]\n"
                        "%4 = slice %1 : f64[5]\n"
                        "%5 = pad %1 {before=[1], after=[0], mode=edge} : f64[6]\n"
                        "%6 = slice_grad %1 {start=[2], stop=[7], shape=[9]} : f64[9]\n");
    ebb_graph *g = golden_parse(X "%2 = slice %1 { start = [ 1 ] , stop=[ 2]} : f64[1]\n");
    ck_assert_int_eq(ebb_graph_n_nodes(g), 2);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(lists_of_integers_as_attributes)
{
    ebb_slice_attrs a = { EBB_INTS(1, 2), EBB_INTS(3, -4), EBB_NO_INTS }, b = a;
    b.start.values[5] = 7; /* behind the list */
    ck_assert(ebb_attrs_equal(&ebb_op_slice, &a, &b));
    b.stop.values[1] = 4;
    ck_assert(!ebb_attrs_equal(&ebb_op_slice, &a, &b));
    b = a;
    b.start.n = 1;
    ck_assert(!ebb_attrs_equal(&ebb_op_slice, &a, &b));
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = input(g, "x", EBB_SHAPE(4, 4));
    b = a;
    b.start.values[5] = 7;
    ebb_node y = ebb_emit(g, &ebb_op_slice, &x, 1, &a, NULL);
    ck_assert(same_node(y, ebb_emit(g, &ebb_op_slice, &x, 1, &b, NULL)));
    char *text = NULL;
    size_t n_bytes;
    FILE *out = open_memstream(&text, &n_bytes);
    ck_assert_int_eq(ebb_graph_write_dot(g, out, NULL), EBB_OK);
    fclose(out);
    ck_assert_msg(strstr(text, "start=[1,2], stop=[3,-4]"), "%s", text);
    free(text);
    ebb_graph_destroy(g);
}
END_TEST

/* However a constant without elements is made, it is one node and has a text that is read. */
START_TEST(constants_without_elements)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node empty = ebb_constant(g, EBB_F32, EBB_SHAPE(2, 0), NULL);
    ebb_constant_attrs attrs = { { EBB_F32, EBB_SHAPE(2, 0) }, NULL };
    ck_assert(same_node(empty, ebb_emit(g, &ebb_op_constant, NULL, 0, &attrs, NULL)));
    ebb_graph_destroy(g);
    g = ebb_graph_create("g");
    ck_assert(!ebb_node_is_none(ebb_emit(g, &ebb_op_constant, NULL, 0, &attrs, NULL)));
    char *text = golden_print(g);
    assert_round_trip(text);
    free(text);
    ebb_graph_destroy(g);
    assert_round_trip("graph \"g\"\n%1 = constant {data=[]} : i64[0]\n");
    assert_round_trip("graph \"g\"\n%1 = constant : bool[0,3]\n");
}
END_TEST

/* 300 inputs: as text, compiled, and with gradients. */
START_TEST(many_inputs)
{
    enum { N = 300 };
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(N)), parts[N], back[N], d[2];
    ebb_split(x, N, 0, parts);
    for (int i = 0; i < N; i++)
        back[i] = parts[N - 1 - i];
    ebb_node y = ebb_concat(g, back, N, 0);
    char *text = golden_print(g);
    assert_round_trip(text);
    free(text);
    ebb_node seed = ebb_iota(g, EBB_F32, EBB_SHAPE(N), 0);
    d[0] = y;
    ck_assert_int_eq(ebb_gradients_with(&y, &seed, 1, &x, 1, &d[1]), EBB_OK);
    ebb_executable *e = compile(g, _i, d, 2, NULL);
    float data[N], out[2][N];
    for (int i = 0; i < N; i++)
        data[i] = (float)i * 3;
    run(e, &FEED(x, data), 1, (ebb_fetch[]){ FETCH(d[0], out[0]), FETCH(d[1], out[1]) }, 2);
    for (int i = 0; i < N; i++) {
        ck_assert_float_eq(out[0][i], data[N - 1 - i]);
        ck_assert_float_eq(out[1][i], (float)(N - 1 - i));
    }
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shapes");
    TCase *builders = tcase_create("builders");
    tcase_add_test(builders, slices);
    tcase_add_test(builders, splits);
    tcase_add_test(builders, joins);
    tcase_add_test(builders, pads);
    tcase_add_test(builders, dimensions);
    tcase_add_test(builders, repetitions_and_triangles);
    suite_add_tcase(suite, builders);
    TCase *compiled = tcase_create("compiled");
    tcase_add_loop_test(compiled, slices_cost_no_step, 0, N_WAYS);
    tcase_add_loop_test(compiled, slices_of_what_is_updated, 0, N_WAYS);
    tcase_add_loop_test(compiled, many_inputs, 0, N_WAYS);
    suite_add_tcase(suite, compiled);
    TCase *gradients = tcase_create("gradients");
    tcase_add_test(gradients, gradients_of_composites);
    tcase_add_test(gradients, gradients_are_of_the_family);
    suite_add_tcase(suite, gradients);
    TCase *text = tcase_create("text");
    tcase_add_test(text, lists_of_integers_as_text);
    tcase_add_test(text, lists_of_integers_as_attributes);
    tcase_add_test(text, constants_without_elements);
    suite_add_tcase(suite, text);
    return run_suite(suite);
}
