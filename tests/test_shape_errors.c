/* What the builders that move elements refuse, with status and message; none nodes, and memory that
 * runs out; malformed lists in the text form. */
#include "tests/support/runner.h"
#include <ebb/ops.h>
#include <string.h>

#define NODES(...)                                                                                 \
    (const ebb_node[])                                                                             \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static ebb_node input(ebb_graph *g, const char *name, ebb_shape shape)
{
    return ebb_input(g, name, EBB_F64, shape);
}

/* y failed with this status and both parts of the message; its graph is destroyed. */
static void assert_fails(ebb_node y, ebb_status status, const char *part, const char *part2)
{
    ck_assert(ebb_node_is_none(y));
    const char *message = ebb_graph_message(y.graph);
    ck_assert_msg(ebb_graph_status(y.graph) == status, "%s: %s",
                  ebb_status_name(ebb_graph_status(y.graph)), message);
    ck_assert_msg(strstr(message, part) && strstr(message, part2), "%s", message);
    ck_assert_msg(strstr(message, "(test_shape_errors.c:"), "no place: %s", message);
    ebb_graph_destroy(y.graph);
}
#define ASSERT_FAILS(call, status, part, part2)                                                    \
    do {                                                                                           \
        ebb_graph *g = ebb_graph_create("g");                                                      \
        ebb_node v = input(g, "v", EBB_SHAPE(6)), m = input(g, "m", EBB_SHAPE(2, 3)),              \
                 s = input(g, "s", EBB_SCALAR), nodes[3] = { m, v, s }, parts[4] = { v, v, v, v }; \
        (void)nodes, (void)parts;                                                                  \
        assert_fails(call, status, part, part2);                                                   \
    } while (0)

START_TEST(refused_slices)
{
    ASSERT_FAILS(ebb_slice(m, EBB_INTS(0), EBB_INTS(1), EBB_INTS(0)), EBB_BAD_ATTRIBUTE,
                 "slice: the step of dimension 0 is 0", "m f64[2,3]");
    ASSERT_FAILS(ebb_slice(v, EBB_INTS(0, 0), EBB_INTS(1, 1), EBB_NO_INTS), EBB_BAD_ATTRIBUTE,
                 "slice: start has 2 numbers for rank 1", "v f64[6]");
    ASSERT_FAILS(ebb_slice_axis(m, 2, 0, 1, 1), EBB_BAD_AXIS,
                 "slice_axis: axis 2 is out of range for rank 2", "m f64[2,3]");
    ASSERT_FAILS(ebb_slice_axis(m, 1, 0, 1, 0), EBB_BAD_ATTRIBUTE, "step of dimension 1 is 0",
                 "m f64[2,3]");
    ASSERT_FAILS(ebb_slice_axis(s, 0, 0, 1, 1), EBB_BAD_AXIS, "a scalar has none", "s f64[]");
    ASSERT_FAILS(ebb_flip(m, EBB_AXES(1, -1)), EBB_BAD_AXIS, "flip: axis -1 is repeated",
                 "m f64[2,3]");
    ASSERT_FAILS(ebb_flip(m, ((ebb_axes){ 9, { 0 } })), EBB_BAD_AXIS, "flip: a list of 9 axes",
                 "m f64[2,3]");
}
END_TEST

START_TEST(refused_splits)
{
    const int64_t sizes[] = { 1, 1, -1, 2 };
    ASSERT_FAILS(ebb_split(m, 2, 1, parts), EBB_BAD_SHAPE,
                 "split: dimension 1 of size 3 has no 2 equal parts", "m f64[2,3]");
    ASSERT_FAILS(ebb_split(m, 0, 1, parts), EBB_BAD_ARGUMENT, "split: into 0 parts", "");
    ASSERT_FAILS(ebb_split(m, 3, 1, NULL), EBB_BAD_ARGUMENT, "split: no room for 3 parts", "");
    ASSERT_FAILS(ebb_split(m, 3, 2, parts), EBB_BAD_AXIS,
                 "split: axis 2 is out of range for rank 2", "m f64[2,3]");
    ASSERT_FAILS(ebb_split_sizes(m, sizes, 2, 1, parts), EBB_BAD_SHAPE,
                 "the 2 sizes add up to 2, dimension 1 has 3", "m f64[2,3]");
    ASSERT_FAILS(ebb_split_sizes(m, sizes, 4, 1, parts), EBB_BAD_ARGUMENT, "size -1 of part 2",
                 "m f64[2,3]");
    ASSERT_FAILS(ebb_split_sizes(m, NULL, 4, 1, parts), EBB_BAD_ARGUMENT, "size 0 of part 0",
                 "m f64[2,3]");
}
END_TEST

START_TEST(refused_joins)
{
    ASSERT_FAILS(ebb_concat(g, nodes, 3, 0), EBB_BAD_SHAPE,
                 "concat: input 1 has rank 1, input 0 has rank 2", "m f64[2,3], v f64[6]");
    ASSERT_FAILS(ebb_concat(g, nodes, 0, 0), EBB_BAD_ARGUMENT, "concat: of 0 nodes", "");
    ASSERT_FAILS(ebb_concat(g, NULL, 2, 0), EBB_BAD_ARGUMENT, "concat: of 2 nodes", "");
    ASSERT_FAILS(ebb_concat(g, nodes, 1, 2), EBB_BAD_AXIS, "axis 2 is out of range for rank 2", "");
    ASSERT_FAILS(ebb_concat(g, NODES(v, EBB_NONE), 2, 0), EBB_BAD_NODE, "concat: input 1", "none");
    ASSERT_FAILS(ebb_stack(g, nodes, 2, 0), EBB_BAD_SHAPE,
                 "stack: node 1 has another shape than node 0", "v f64[6], m f64[2,3]");
    ASSERT_FAILS(ebb_stack(g, nodes, 1, 3), EBB_BAD_AXIS,
                 "stack: axis 3 is out of range for rank 3", "m f64[2,3]");
    ASSERT_FAILS(ebb_stack(g, nodes, 0, 0), EBB_BAD_ARGUMENT, "stack: of 0 nodes", "");
    ASSERT_FAILS(ebb_stack(g, NODES(v, EBB_NONE), 2, 0), EBB_BAD_NODE, "input 1", "none");
    ASSERT_FAILS(ebb_stack(g, NODES(v, ebb_input(g, "i", EBB_I64, EBB_SHAPE(6))), 2, 0),
                 EBB_BAD_DTYPE, "input 1 is i64, input 0 is f64", "");
    ebb_node deep = input(ebb_graph_create("g"), "d", EBB_SHAPE(1, 1, 1, 1, 1, 1, 1, 1));
    assert_fails(ebb_stack(deep.graph, &deep, 1, 0), EBB_BAD_SHAPE, "would have rank 9", "");
}
END_TEST

START_TEST(refused_pads)
{
    ASSERT_FAILS(ebb_pad(m, EBB_INTS(0), EBB_INTS(0), EBB_PAD_EDGE, 0), EBB_BAD_ATTRIBUTE,
                 "pad: before and after have 1 and 1 numbers for rank 2", "m f64[2,3]");
    ASSERT_FAILS(ebb_pad(v, EBB_INTS(-1), EBB_INTS(3), EBB_PAD_EDGE, 0), EBB_BAD_ATTRIBUTE,
                 "pad: dimension 0 is padded by -1, 3", "v f64[6]");
    ASSERT_FAILS(ebb_pad(v, EBB_INTS(0), EBB_INTS(0), (ebb_pad_mode)-1, 0), EBB_BAD_ATTRIBUTE,
                 "pad: there is no mode -1", "v f64[6]");
}
END_TEST

START_TEST(refused_dimensions)
{
    ASSERT_FAILS(ebb_squeeze(m, EBB_AXES(1)), EBB_BAD_SHAPE, "squeeze: dimension 1 is 3, not 1",
                 "m f64[2,3]");
    ASSERT_FAILS(ebb_squeeze(m, EBB_AXES(2)), EBB_BAD_AXIS, "squeeze: axis 2 is out of range", "m");
    ASSERT_FAILS(ebb_unsqueeze(m, EBB_AXES(3)), EBB_BAD_AXIS,
                 "unsqueeze: axis 3 is out of range for rank 3", "m f64[2,3]");
    ASSERT_FAILS(ebb_unsqueeze(m, EBB_AXES(0, 0)), EBB_BAD_AXIS, "axis 0 is repeated", "m f64");
    ASSERT_FAILS(ebb_unsqueeze(m, EBB_AXES(0, 1, 2, 3, 4, 5, 6)), EBB_BAD_SHAPE,
                 "unsqueeze: the result would have rank 9", "m f64[2,3]");
    ASSERT_FAILS(ebb_unsqueeze(m, ((ebb_axes){ 9, { 0 } })), EBB_BAD_AXIS, "a list of 9 axes", "");
    ASSERT_FAILS(ebb_flatten(m, 2), EBB_BAD_AXIS, "flatten: axis 2 is out of range", "m f64[2,3]");
    ASSERT_FAILS(ebb_flatten(s, 1), EBB_BAD_AXIS, "a scalar has none", "s f64[]");
    ASSERT_FAILS(ebb_reshape(m, EBB_SHAPE(4, -1)), EBB_BAD_SHAPE,
                 "reshape: there is no size in place of -1 in shape [4,-1]", "m f64[2,3]");
}
END_TEST

START_TEST(refused_repetitions_and_triangles)
{
    ASSERT_FAILS(ebb_tile(m, EBB_INTS(1, -2)), EBB_BAD_ARGUMENT, "tile: -2 times", "m f64[2,3]");
    ASSERT_FAILS(ebb_tile(m, EBB_INTS(INT64_MAX)), EBB_BAD_SHAPE,
                 "tile: 9223372036854775807 times a dimension of 3", "m f64[2,3]");
    ASSERT_FAILS(ebb_tile(m, ((ebb_ints){ 9, { 0 } })), EBB_BAD_ARGUMENT,
                 "tile: a list of 9 numbers", "m f64[2,3]");
    ASSERT_FAILS(ebb_tile(m, EBB_INTS(INT64_C(1) << 40, INT64_C(1) << 40)), EBB_BAD_SHAPE,
                 "too many elements", "");
    ASSERT_FAILS(ebb_repeat(m, -1, 0), EBB_BAD_ARGUMENT, "repeat: -1 times", "m f64[2,3]");
    ASSERT_FAILS(ebb_repeat(s, 2, 0), EBB_BAD_AXIS, "repeat: axis 0", "a scalar has none");
    ASSERT_FAILS(ebb_tril(v, 0), EBB_BAD_SHAPE, "tril: a matrix has rank 2 at least", "v f64[6]");
    ASSERT_FAILS(ebb_triu(s, 0), EBB_BAD_SHAPE, "triu: a matrix has rank 2 at least", "s f64[]");
    ASSERT_FAILS(ebb_eye(g, EBB_F32, -1, 2, 0), EBB_BAD_SHAPE, "is negative", "");
    ASSERT_FAILS(ebb_eye(g, (ebb_dtype)99, 2, 2, 0), EBB_BAD_DTYPE, "there is no dtype 99", "");
}
END_TEST

/* Every builder; x may be none, and g NULL or failed. All nodes must then be none. */
static void build_everything(ebb_graph *g, ebb_node x, bool fails)
{
    ebb_node parts[3];
    const ebb_node xs[3] = { x, x, x };
    ebb_axes zero = EBB_AXES(0);
    ebb_split(x, 3, 1, parts);
    const ebb_node nodes[] = {
        ebb_slice(x, EBB_INTS(1), EBB_INTS(2), EBB_NO_INTS),
        ebb_slice_axis(x, 1, EBB_TO_END, EBB_TO_BEGIN, -2),
        ebb_flip(x, zero),
        parts[0],
        parts[1],
        parts[2],
        ebb_split_sizes(x, (const int64_t[]){ 1, 1 }, 2, 0, parts),
        parts[1],
        ebb_concat(g, xs, 3, 1),
        ebb_stack(g, xs, 3, 1),
        ebb_pad(x, EBB_INTS(1, 1), EBB_INTS(1, 1), EBB_PAD_REFLECT, 0),
        ebb_pad(x, EBB_INTS(1, 1), EBB_INTS(1, 1), EBB_PAD_CONSTANT, 2),
        ebb_squeeze(ebb_unsqueeze(x, zero), zero),
        ebb_unsqueeze(x, zero),
        ebb_flatten(x, 0),
        ebb_tile(x, EBB_INTS(2, 2)),
        ebb_repeat(x, 2, 0),
        ebb_tril(x, 1),
        ebb_triu(x, 0),
        ebb_eye(g, EBB_F64, 2, 2, 0),
    };
    for (size_t i = 0; fails && i < sizeof nodes / sizeof *nodes; i++)
        ck_assert_msg(ebb_node_is_none(nodes[i]), "builder %d", (int)i);
}

START_TEST(none_nodes)
{
    build_everything(NULL, EBB_NONE, true);
    ebb_graph *g = ebb_graph_create("g");
    ebb_node failed = input(g, "no/name", EBB_SHAPE(2, 3));
    char message[EBB_MESSAGE_BYTES];
    strcpy(message, ebb_graph_message(g));
    build_everything(g, failed, true);
    build_everything(g, EBB_NONE, true);
    ck_assert_str_eq(ebb_graph_message(g), message);
    ebb_graph_destroy(g);
}
END_TEST

/* Memory may run out at every allocation: a status, no leak, no crash. */
START_TEST(out_of_memory)
{
    for (int64_t after = 0;; after++) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        meter.fail_after = after;
        ebb_graph *g =
            ebb_graph_create_with("g", &(ebb_graph_options){ .allocator = &meter.allocator });
        build_everything(g, input(g, "x", EBB_SHAPE(2, 3)), false);
        bool failed = meter.n_refused > 0;
        ck_assert_int_eq(ebb_graph_status(g), failed ? EBB_OUT_OF_MEMORY : EBB_OK);
        ebb_graph_destroy(g);
        ck_assert_int_eq(meter.n_live, 0);
        if (!failed)
            break;
    }
}
END_TEST

#define X "graph \"g\"\n%1 = input {name=\"x\"} : f64[5]\n"

START_TEST(malformed_lists_say_where)
{
    static const struct {
        const char *text, *part;
        ebb_status status;
    } cases[] = {
        { X "%2 = slice %1 {start=[1,2,3,4,5,6,7,8,9]} : f64[1]\n", "more than 8 numbers",
          EBB_BAD_FORMAT },
        { X "%2 = slice %1 {start=[1,], stop=[2]} : f64[1]\n", "line 3, column 25",
          EBB_BAD_FORMAT },
        { X "%2 = slice %1 {start=[1.5], stop=[2]} : f64[1]\n", "line 3, column", EBB_BAD_FORMAT },
        { X "%2 = slice %1 {start=[9223372036854775808]} : f64[1]\n", "line 3, column",
          EBB_BAD_FORMAT },
        { X "%2 = slice %1 {start=1, stop=[2]} : f64[1]\n", "expected '['", EBB_BAD_FORMAT },
        { X "%2 = slice %1 {start=[1] : f64[1]\n", "expected '}'", EBB_BAD_FORMAT },
        { X "%2 = slice %1 {start=[1", "expected", EBB_BAD_FORMAT },
        { X "%2 = slice %1 {start=[1]} : f64[1]\n", "start has 1 numbers, stop has 0",
          EBB_BAD_ATTRIBUTE },
        { X "%2 = pad %1 {before=[1], after=[0], mode=mirror} : f64[6]\n",
          "mode cannot be \"mirror\"", EBB_BAD_FORMAT },
        { "%1 = constant : f32[2]\n", "constant needs \"data\"", EBB_BAD_FORMAT },
        { "%1 = constant : f32[]\n", "constant needs \"data\"", EBB_BAD_FORMAT },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ebb_graph *g = NULL;
        ebb_error error = { .status = EBB_OK };
        ebb_status status =
            ebb_graph_parse(cases[i].text, strlen(cases[i].text), NULL, 0, NULL, &g, &error);
        ck_assert_msg(status == cases[i].status && strstr(error.message, cases[i].part),
                      "case %d: %s: %s", (int)i, ebb_status_name(status), error.message);
        ck_assert_ptr_null(g);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shape errors");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, refused_slices);
    tcase_add_test(tests, refused_splits);
    tcase_add_test(tests, refused_joins);
    tcase_add_test(tests, refused_pads);
    tcase_add_test(tests, refused_dimensions);
    tcase_add_test(tests, refused_repetitions_and_triangles);
    tcase_add_test(tests, none_nodes);
    tcase_add_test(tests, out_of_memory);
    tcase_add_test(tests, malformed_lists_say_where);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
