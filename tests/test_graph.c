/* The graph room: statuses, memory, tensors, building, sharing, names, text form, DOT, interpreter.
 */
#include <ebb/ops.h>

#include "graph/graph_build.h"
#include "graph/interpret.h"
#include "support/golden.h"
#include "support/runner.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void assert_message(const ebb_graph *g, ebb_status status, const char *part)
{
    ck_assert_msg(ebb_graph_status(g) == status, "status %s, message %s",
                  ebb_status_name(ebb_graph_status(g)), ebb_graph_message(g));
    ck_assert_msg(strstr(ebb_graph_message(g), part), "\"%s\" is not in \"%s\"", part,
                  ebb_graph_message(g));
}

START_TEST(status_names_and_texts)
{
    ck_assert_str_eq(ebb_status_name(EBB_OK), "OK");
    ck_assert_str_eq(ebb_status_name(EBB_BAD_SHAPE), "BAD_SHAPE");
    ck_assert_str_eq(ebb_status_text(EBB_OUT_OF_MEMORY), "out of memory");
    ck_assert_str_eq(ebb_status_name((ebb_status)1000), "?");
    ck_assert_str_eq(ebb_status_text((ebb_status)-1), "?");
    ebb_error error;
    char longest[2000];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = 0;
    ck_assert_int_eq(ebb_fail(&error, EBB_IO, "%s", longest), EBB_IO);
    ck_assert_uint_eq(strlen(error.message), EBB_MESSAGE_BYTES - 1);
    ck_assert_str_eq(error.message + EBB_MESSAGE_BYTES - 4, "...");
    ck_assert_int_eq(ebb_fail(NULL, EBB_IO, "x"), EBB_IO);
}
END_TEST

START_TEST(meter_counts_bounds_and_fails)
{
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    void *a = ebb_allocate(&meter.allocator, 100), *b = ebb_allocate(&meter.allocator, 0);
    ck_assert_ptr_nonnull(a);
    ck_assert_int_eq((uintptr_t)a % EBB_ALIGNMENT, 0);
    ck_assert_int_eq(meter.n_live, 2);
    ebb_release(&meter.allocator, a, 100);
    ebb_release(&meter.allocator, b, 0);
    ebb_release(&meter.allocator, NULL, 5);
    ck_assert_int_eq(meter.n_live, 0);
    ck_assert_uint_eq(meter.live_bytes, 0);
    meter.limit_bytes = 1000;
    ck_assert_ptr_null(ebb_allocate(&meter.allocator, 1001));
    ck_assert_ptr_null(ebb_allocate(&meter.allocator, SIZE_MAX - 5));
    meter.fail_after = 1;
    a = ebb_allocate(&meter.allocator, 10);
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_null(ebb_allocate(&meter.allocator, 10));
    ck_assert_ptr_null(ebb_allocate(&meter.allocator, 10));
    ebb_release(&meter.allocator, a, 10);
    ck_assert_ptr_null(ebb_allocate(NULL, SIZE_MAX));
}
END_TEST

START_TEST(shapes_and_types)
{
    ebb_shape s = EBB_SHAPE(2, 3, 4);
    int64_t strides[EBB_MAX_RANK];
    ck_assert_int_eq(s.rank, 3);
    ck_assert_int_eq(ebb_shape_elements(&s), 24);
    ebb_shape_strides(&s, strides);
    ck_assert_int_eq(strides[0], 12);
    ck_assert_int_eq(strides[2], 1);
    ebb_shape scalar = EBB_SCALAR, empty = EBB_SHAPE(3, 0), negative = EBB_SHAPE(3, -1);
    ebb_shape nine = EBB_SHAPE(1, 1, 1, 1, 1, 1, 1, 1, 1);
    ebb_shape huge = EBB_SHAPE(INT64_C(1) << 40, INT64_C(1) << 40);
    ebb_shape hidden = EBB_SHAPE(0, INT64_C(1) << 40, INT64_C(1) << 40);
    ck_assert_int_eq(ebb_shape_elements(&scalar), 1);
    ck_assert_int_eq(ebb_shape_elements(&empty), 0);
    ck_assert(!ebb_shape_is_valid(&negative));
    ck_assert(!ebb_shape_is_valid(&nine));
    ck_assert(!ebb_shape_is_valid(&huge));
    ck_assert(!ebb_shape_is_valid(&hidden));
    char text[EBB_TYPE_TEXT_BYTES];
    ebb_type t = ebb_type_of(EBB_F32, s);
    ck_assert_str_eq(ebb_type_text(&t, text), "f32[2,3,4]");
    ck_assert_str_eq(ebb_shape_text(&scalar, text), "[]");
    ck_assert_uint_eq(ebb_type_bytes(&t), 96);
    ck_assert_uint_eq(ebb_dtype_bytes((ebb_dtype)99), 0);
    ck_assert_str_eq(ebb_dtype_name(EBB_NO_DTYPE), "?");
    ebb_dtype dtype;
    ck_assert(ebb_dtype_parse("i64", &dtype) && dtype == EBB_I64);
    ck_assert(!ebb_dtype_parse("f16", &dtype));
    ebb_layout layout = ebb_layout_dense(&s);
    ck_assert(ebb_layout_is_dense(&layout, &s));
    layout.strides[0] = 0;
    ck_assert(!ebb_layout_is_dense(&layout, &s));
}
END_TEST

START_TEST(tensors_convert_and_saturate)
{
    ebb_tensor t;
    ck_assert_int_eq(ebb_tensor_init(&t, ebb_type_of(EBB_U8, EBB_SHAPE(3)), NULL), EBB_OK);
    ebb_tensor_set(&t, 0, 300);
    ebb_tensor_set(&t, 1, -5);
    ebb_tensor_set(&t, 2, NAN);
    ck_assert(ebb_tensor_get(&t, 0) == 255 && ebb_tensor_get(&t, 1) == 0 &&
              ebb_tensor_get(&t, 2) == 0);
    ebb_tensor_finish(&t);
    ebb_tensor_finish(&t);
    ebb_tensor_finish(NULL);
    ck_assert_int_eq(ebb_tensor_init(&t, ebb_type_of(EBB_I64, EBB_SHAPE(2)), NULL), EBB_OK);
    ebb_tensor_set(&t, 0, 1e30);
    ebb_tensor_set(&t, 1, -INFINITY);
    ck_assert(((int64_t *)t.data)[0] == INT64_MAX && ((int64_t *)t.data)[1] == INT64_MIN);
    ebb_tensor_finish(&t);
    ck_assert_int_eq(ebb_tensor_init(&t, ebb_type_of(EBB_F32, EBB_SHAPE(-1)), NULL), EBB_BAD_SHAPE);
    ck_assert_int_eq(ebb_tensor_init(&t, ebb_type_of((ebb_dtype)77, EBB_SCALAR), NULL),
                     EBB_BAD_DTYPE);
}
END_TEST

START_TEST(equal_nodes_are_shared)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(3));
    ebb_node a = ebb_exp(x), b = ebb_exp(x), c = ebb_log(x);
    ck_assert_int_eq(a.id, b.id);
    ck_assert_int_ne(a.id, c.id);
    ck_assert_int_eq(ebb_input(g, "x", EBB_F32, EBB_SHAPE(3)).id, x.id);
    float zeros[2] = { 0.0F, -0.0F };
    ebb_node p = ebb_constant(g, EBB_F32, EBB_SCALAR, &zeros[0]);
    ebb_node q = ebb_constant(g, EBB_F32, EBB_SCALAR, &zeros[1]);
    ck_assert_int_ne(p.id, q.id); /* 0 and -0 are different constants */
    ck_assert_int_eq(p.id, ebb_constant(g, EBB_F32, EBB_SCALAR, &zeros[0]).id);
    ck_assert_int_eq(ebb_graph_status(g), EBB_OK);
    ebb_error error;
    ck_assert_int_eq(ebb_graph_verify(g, &error), EBB_OK);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(first_error_sticks_and_names_everything)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(100, 784));
    ebb_node w = ebb_variable(g, "w", EBB_F32, EBB_SHAPE(128, 10), NULL);
    ebb_node y = ebb_matmul(x, w);
    int line = __LINE__ - 1;
    char where[64];
    snprintf(where, sizeof where, "(test_graph.c:%d)", line);
    ck_assert(ebb_node_is_none(y));
    assert_message(g, EBB_BAD_SHAPE, "matmul: ");
    assert_message(g, EBB_BAD_SHAPE, "x f32[100,784], w f32[128,10]");
    assert_message(g, EBB_BAD_SHAPE, where);
    char first[EBB_MESSAGE_BYTES];
    strcpy(first, ebb_graph_message(g));
    uint32_t n = ebb_graph_n_nodes(g);
    ck_assert(ebb_node_is_none(ebb_exp(y)));
    ck_assert(ebb_node_is_none(ebb_add(x, w)));
    ebb_scope_pop(g);
    ck_assert_str_eq(ebb_graph_message(g), first);
    ck_assert_int_eq(ebb_graph_n_nodes(g), n);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(none_and_foreign_nodes_are_named)
{
    ebb_graph *g = ebb_graph_create("first"), *h = ebb_graph_create("second");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(3));
    ebb_node y = ebb_input(h, "y", EBB_F32, EBB_SHAPE(3));
    ck_assert(ebb_node_is_none(ebb_mul(x, y)));
    assert_message(g, EBB_BAD_NODE, "y f32[3]");
    assert_message(g, EBB_BAD_NODE, "belongs to graph \"second\"");
    ck_assert(ebb_node_is_none(ebb_exp(EBB_NONE)));
    ck_assert(ebb_node_is_none(ebb_add(y, EBB_NONE)));
    assert_message(h, EBB_BAD_NODE, "none node");
    ebb_graph_destroy(g);
    ebb_graph_destroy(h);
}
END_TEST

START_TEST(null_graph_is_harmless)
{
    ck_assert_int_eq(ebb_graph_status(NULL), EBB_OUT_OF_MEMORY);
    ck_assert(strlen(ebb_graph_message(NULL)) > 0);
    ebb_graph_destroy(NULL);
    ebb_node x = ebb_input(NULL, "x", EBB_F32, EBB_SHAPE(3));
    ck_assert(ebb_node_is_none(x));
    ebb_scope_push(NULL, "a");
    ebb_scope_pop(NULL);
    ebb_update(x, x);
    ck_assert_int_eq(ebb_graph_n_nodes(NULL), 0);
    ck_assert_ptr_null(ebb_node_op(x));
    ck_assert_int_eq(ebb_node_type(x)->dtype, EBB_NO_DTYPE);
    ck_assert_int_eq(ebb_graph_verify(NULL, NULL), EBB_BAD_GRAPH);
    ck_assert(ebb_node_is_none(ebb_graph_find(NULL, "x")));
    ck_assert_str_eq(ebb_node_name(x), "");
    ck_assert_str_eq(ebb_node_scope(x), "");
}
END_TEST

/* Each case: a fresh graph, one bad call, the status and a part of the message. */
START_TEST(bad_sources)
{
    static const struct {
        ebb_dtype dtype;
        ebb_shape shape;
        const char *name;
        ebb_status status;
        const char *part;
    } cases[] = {
        { EBB_F32, { 9, { 1 } }, "x", EBB_BAD_SHAPE, "rank 9" },
        { EBB_F32, { -1, { 1 } }, "x", EBB_BAD_SHAPE, "rank -1" },
        { EBB_F32, { 2, { 3, -4 } }, "x", EBB_BAD_SHAPE, "[3,-4]" },
        { EBB_F32, { 2, { INT64_MAX, 3 } }, "x", EBB_BAD_SHAPE, "9223372036854775807" },
        { EBB_NO_DTYPE, { 1, { 3 } }, "x", EBB_BAD_DTYPE, "dtype" },
        { (ebb_dtype)99, { 1, { 3 } }, "x", EBB_BAD_DTYPE, "dtype" },
        { EBB_F32, { 1, { 3 } }, "", EBB_BAD_NAME, "no name" },
        { EBB_F32, { 1, { 3 } }, NULL, EBB_BAD_NAME, "no name" },
        { EBB_F32, { 1, { 3 } }, "a/b", EBB_BAD_NAME, "a/b" },
        { EBB_F32, { 1, { 3 } }, "two words", EBB_BAD_NAME, "two words" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ebb_graph *g = ebb_graph_create("g");
        ebb_node x = i % 2 ? ebb_input(g, cases[i].name, cases[i].dtype, cases[i].shape)
                           : ebb_variable(g, cases[i].name, cases[i].dtype, cases[i].shape, NULL);
        ck_assert(ebb_node_is_none(x));
        assert_message(g, cases[i].status, cases[i].part);
        assert_message(g, cases[i].status, "test_graph.c:");
        ebb_graph_destroy(g);
    }
}
END_TEST

START_TEST(names_and_scopes)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_scope_push(g, "block1");
    ebb_scope_push(g, "fc1");
    ebb_node w = ebb_variable(g, "w", EBB_F32, EBB_SHAPE(2), NULL);
    ebb_node h = ebb_named(ebb_exp(w), "h");
    ck_assert_str_eq(ebb_node_scope(h), "block1/fc1/");
    ebb_scope_pop(g);
    ebb_node k = ebb_log(w);
    ck_assert_str_eq(ebb_node_scope(k), "block1/");
    ebb_scope_pop(g);
    ck_assert_int_eq(ebb_graph_find(g, "block1/fc1/w").id, w.id);
    ck_assert_int_eq(ebb_graph_find(g, "w").id, 0);
    ck_assert_str_eq(ebb_node_name(w), "w");
    ck_assert_str_eq(ebb_node_scope(w), "block1/fc1/");
    ck_assert_str_eq(ebb_node_name(ebb_named(h, "other")), "h");
    char text[EBB_NODE_TEXT_BYTES];
    ck_assert_str_eq(ebb_node_text(w, text), "block1/fc1/w f32[2]");
    ck_assert_int_eq(ebb_graph_status(g), EBB_OK);
    ebb_scope_pop(g);
    assert_message(g, EBB_BAD_NAME, "no scope is open");
    ebb_graph_destroy(g);

    g = ebb_graph_create("g");
    ebb_input(g, "x", EBB_F32, EBB_SHAPE(2));
    ebb_input(g, "x", EBB_F32, EBB_SHAPE(3));
    assert_message(g, EBB_BAD_NAME, "\"x\" is taken");
    ebb_graph_destroy(g);

    g = ebb_graph_create("g");
    for (int i = 0; i < 100; i++)
        ebb_scope_push(g, "deeper");
    assert_message(g, EBB_LIMIT, "64 scopes deep");
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(updates_are_checked)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node w = ebb_variable(g, "w", EBB_F32, EBB_SHAPE(2), NULL);
    ebb_node v = ebb_variable(g, "v", EBB_F32, EBB_SHAPE(2), NULL);
    ebb_update(w, ebb_exp(w));
    ebb_update(v, w);
    ck_assert_int_eq(ebb_graph_status(g), EBB_OK);
    ck_assert_int_eq(ebb_graph_n_updates(g), 2);
    ebb_node variable, value;
    ck_assert(ebb_graph_update(g, 1, &variable, &value));
    ck_assert(variable.id == v.id && value.id == w.id);
    ck_assert(!ebb_graph_update(g, 2, &variable, &value));
    ck_assert(ebb_node_is_none(variable));
    ebb_update(w, v);
    assert_message(g, EBB_BAD_ARGUMENT, "w f32[2] has an update already");
    ebb_graph_destroy(g);

    g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2));
    ebb_update(x, x);
    assert_message(g, EBB_BAD_NODE, "not a variable");
    ebb_graph_destroy(g);

    g = ebb_graph_create("g");
    w = ebb_variable(g, "w", EBB_F32, EBB_SHAPE(2), NULL);
    ebb_update(w, ebb_input(g, "x", EBB_F32, EBB_SHAPE(3)));
    assert_message(g, EBB_BAD_SHAPE, "w f32[2], x f32[3]");
    ebb_graph_destroy(g);

    g = ebb_graph_create("g");
    w = ebb_variable(g, "w", EBB_F32, EBB_SHAPE(2), NULL);
    ebb_update(w, ebb_input(g, "x", EBB_F64, EBB_SHAPE(2)));
    assert_message(g, EBB_BAD_DTYPE, "f64[2]");
    ebb_graph_destroy(g);
}
END_TEST

/* An op with two results: x -> (x + 1, bit for bit the sign of x as bool). */
static ebb_status infer_pair(const ebb_infer *infer)
{
    infer->results[0] = *infer->inputs[0];
    infer->results[1] = *infer->inputs[0];
    infer->results[1].dtype = EBB_BOOL;
    return EBB_OK;
}
static ebb_status eval_pair(const ebb_eval *eval)
{
    int64_t n = ebb_shape_elements(&eval->inputs[0].type.shape);
    for (int64_t i = 0; i < n; i++) {
        double x = ebb_tensor_get(&eval->inputs[0], i);
        ebb_tensor sum = eval->results[0], negative = eval->results[1];
        ebb_tensor_set(&sum, i, x + 1);
        ebb_tensor_set(&negative, i, signbit(x));
    }
    return EBB_OK;
}
static const ebb_op op_pair = {
    .name = "pair", .n_inputs = 1, .n_results = 2, .infer = infer_pair, .eval = eval_pair
};

/* All that is copied has its names, further results, too. */
START_TEST(copies_have_names)
{
    ebb_graph *g = ebb_graph_create("g"), *h = ebb_graph_create("h");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(2)), r[2], copied[2];
    ebb_node y = ebb_input(h, "x", EBB_F64, EBB_SHAPE(2));
    ebb_scope_push(g, "block");
    ebb_emit(g, &op_pair, &x, 1, NULL, r);
    ebb_named(r[0], "first");
    ebb_named(r[1], "second");
    ebb_scope_pop(g);
    ck_assert_int_eq(ebb_graph_copy_node(h, r[0], &y, copied).id, copied[0].id);
    for (int i = 0; i < 2; i++)
        ck_assert_str_eq(ebb_node_name(copied[i]), i ? "second" : "first");
    ebb_graph_destroy(h);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(several_results)
{
    ebb_graph *g = ebb_graph_create("g");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(2)), r[2], again[2];
    ebb_emit(g, &op_pair, &x, 1, NULL, r);
    ebb_emit(g, &op_pair, &x, 1, NULL, again);
    ck_assert(r[0].id == again[0].id && r[1].id == again[1].id);
    ck_assert_int_eq(ebb_node_type(r[1])->dtype, EBB_BOOL);
    int index;
    ck_assert_int_eq(ebb_node_first_result(r[1], &index).id, r[0].id);
    ck_assert_int_eq(index, 1);
    ck_assert_int_eq(ebb_node_result(r[0], 1).id, r[1].id);
    ck_assert(ebb_node_is_none(ebb_node_result(r[0], 2)));
    ebb_error error;
    ck_assert_msg(ebb_graph_verify(g, &error) == EBB_OK, "%s", error.message);

    ebb_interpreter *in = ebb_interpreter_create(g, NULL);
    double values[2] = { 2, -3 };
    ebb_tensor value = ebb_tensor_borrow(EBB_F64, EBB_SHAPE(2), values);
    ck_assert_int_eq(ebb_interpreter_run(in, r, 2, &error), EBB_BAD_FEED);
    ck_assert_ptr_nonnull(strstr(error.message, "x f64[2]"));
    ck_assert_int_eq(ebb_interpreter_set(in, x, &value, &error), EBB_OK);
    ck_assert_int_eq(ebb_interpreter_run(in, &r[1], 1, &error), EBB_OK);
    ck_assert(ebb_tensor_get(ebb_interpreter_get(in, r[0]), 1) == -2);
    ck_assert(ebb_tensor_get(ebb_interpreter_get(in, r[1]), 1) == 1);
    ebb_interpreter_destroy(in);

    char *text = golden_print(g);
    ebb_graph *h;
    const ebb_op *extra[] = { &op_pair };
    ck_assert_msg(ebb_graph_parse(text, strlen(text), extra, 1, NULL, &h, &error) == EBB_OK, "%s",
                  error.message);
    char *text_again = golden_print(h);
    ck_assert_str_eq(text, text_again);
    free(text);
    free(text_again);
    ebb_graph_destroy(g);
    ebb_graph_destroy(h);
}
END_TEST

static const char sample_text[] =
    "graph \"a \\\"quoted\\\" name\\x0a\"\n"
    "%1 = input {name=\"x\"} : f32[2,3]\n"
    "%2 = variable {name=\"fc1/w\", init=normal, b=0.01, seed=7} : f32[3,2]\n"
    "%3 = matmul %1 %2 : f32[2,2] @fc1/h\n"
    "%4 = constant {data=[0.1,-0,1e-30,nan]} : f32[2,2]\n"
    "%5 = add %3 %4 : f32[2,2] @fc1/ !backward\n"
    "%6 = reduce_sum %5 {axes=[0,1]} : f32[]\n"
    "%7 = constant {data=[9007199254740993]} : i64[]\n"
    "%8 = matmul %2 %1 : f32[3,3] !update\n"
    "%9 = transpose %2 {axes=[1,0]} : f32[2,3]\n"
    "%10 = transpose %9 {axes=[1,0]} : f32[3,2]\n"
    "update %2 %10\n";

START_TEST(text_round_trip)
{
    ebb_graph *g = golden_parse(sample_text);
    char *text = golden_print(g);
    ck_assert_str_eq(text, sample_text);
    free(text);
    ck_assert_int_eq(ebb_graph_n_updates(g), 1);
    ebb_error error;
    ck_assert_msg(ebb_graph_verify(g, &error) == EBB_OK, "%s", error.message);
    ebb_graph_destroy(g);

    g = golden_parse("  # comment\n\n%5 = input {name=\"x\"} : f64[] # why\n%9 = exp %5 : f64[]");
    ck_assert_int_eq(ebb_graph_n_nodes(g), 2); /* ids of the text need not be dense */
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(text_ignores_the_locale)
{
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8"))
        SKIP_TEST("no locale with a decimal comma is installed");
    ebb_graph *g = golden_parse(sample_text);
    char *text = golden_print(g);
    ck_assert_str_eq(text, sample_text);
    free(text);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(malformed_text_says_where)
{
#define X1 "%1 = input {name=\"x\"} : f32[2]\n"
    static const struct {
        const char *text, *part;
        ebb_status status;
    } cases[] = {
        { "hello\n", "line 1, column 1: expected a node", EBB_BAD_FORMAT },
        { X1 "%2 = nothing %1 : f32[2]\n", "line 2, column 6: there is no op \"nothing\"",
          EBB_BAD_FORMAT },
        { X1 "%2 = exp %3 : f32[2]\n", "line 2, column 12: %3 is not defined", EBB_BAD_FORMAT },
        { X1 "%2 = exp %1 : f32[3]\n", "%2 is f32[2], not f32[3]", EBB_BAD_FORMAT },
        { X1 "%1 = exp %1 : f32[2]\n", "%1 does not ascend", EBB_BAD_FORMAT },
        { X1 "%2 = exp %1 %1 : f32[2]\n", "line 2", EBB_BAD_ARGUMENT },
        { X1 "%2 = exp %1 {axis=1} : f32[2]\n", "has no attribute \"axis\"", EBB_BAD_FORMAT },
        { X1 "%2 = reduce_sum %1 {axes=[5]} : f32[]\n", "line 2", EBB_BAD_AXIS },
        { X1 "%2 = reduce_sum %1 {axes=[0,0]} : f32[]\n", "line 2", EBB_BAD_AXIS },
        { X1 "%2 = reduce_sum %1 {keep=maybe} : f32[]\n", "true or false", EBB_BAD_FORMAT },
        { X1 "%2 = reduce_sum %1 {keep=true, keep=true} : f32[]\n", "given twice", EBB_BAD_FORMAT },
        { X1 "%2 = exp %1\n", "expected ':'", EBB_BAD_FORMAT },
        { X1 "%2 = exp %1 : f33[2]\n", "\"f33\" is no dtype", EBB_BAD_FORMAT },
        { X1 "%2 = exp %1 : f32[-1]\n", "negative or overflowing", EBB_BAD_FORMAT },
        { X1 "%2 = exp %1 : f32[1,1,1,1,1,1,1,1,1]\n", "more than 8", EBB_BAD_FORMAT },
        { X1 "%2 = exp %1 : f32[2] junk\n", "end of the line", EBB_BAD_FORMAT },
        { X1 "%2 = exp %1 : f32[2] @a//b\n", "scope name", EBB_BAD_FORMAT },
        { X1 "%2 = exp %1 : f32[2] !later\n", "no phase", EBB_BAD_FORMAT },
        { "%1 = input {name=\"x} : f32[2]\n", "string does not end", EBB_BAD_FORMAT },
        { "%1 = input {name=\"x\\q\"} : f32[2]\n", "escape", EBB_BAD_FORMAT },
        { "%1 = input {name=\"a b\"} : f32[2]\n", "", EBB_BAD_NAME },
        { "%1 = input : f32[2]\n", "", EBB_BAD_NAME },
        { "%1 = constant {data=[1]} : f32[2]\n", "expected ','", EBB_BAD_FORMAT },
        { "%1 = constant {data=[1,2,3]} : f32[2]\n", "expected ']'", EBB_BAD_FORMAT },
        { "%1 = constant {data=[]} : f32[1000000000000]\n", "cannot stand here", EBB_BAD_FORMAT },
        { "%1 = constant : f32[2]\n", "needs \"data\"", EBB_BAD_FORMAT },
        { "%1 = constant {data=[1,x]} : f32[2]\n", "expected a number", EBB_BAD_FORMAT },
        { "%99999999999 = input {name=\"x\"} : f32[2]\n", "out of range", EBB_BAD_FORMAT },
        { "%1, %2 = input {name=\"x\"} : f32[2]\n", "has 1 results, not 2", EBB_BAD_FORMAT },
        { X1 "update %1 %1\n", "not a variable", EBB_BAD_NODE },
        { X1 "graph \"late\"\n", "found \"graph\"", EBB_BAD_FORMAT },
        { "%1 = result %1 : f32[2]\n", "no op \"result\"", EBB_BAD_FORMAT },
        { "%", "integer", EBB_BAD_FORMAT },
        { "%1 =", "expected an op", EBB_BAD_FORMAT },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ebb_graph *g;
        ebb_error error = { .status = EBB_OK };
        ebb_status status =
            ebb_graph_parse(cases[i].text, strlen(cases[i].text), NULL, 0, NULL, &g, &error);
        ck_assert_msg(status == cases[i].status, "case %zu: %s: %s", i, ebb_status_name(status),
                      error.message);
        ck_assert_ptr_null(g);
        ck_assert_msg(strstr(error.message, cases[i].part), "case %zu: \"%s\" is not in \"%s\"", i,
                      cases[i].part, error.message);
        ck_assert_msg(strstr(error.message, "line "), "case %zu: %s", i, error.message);
    }
}
END_TEST

/* Cutting and damaging a good text anywhere gives an error or a graph, never a crash. */
START_TEST(damaged_text_never_crashes)
{
    size_t n = strlen(sample_text);
    char *text = malloc(n);
    static const char junk[] = "%[]{}=:,\"\\@!#9-x\n";
    for (size_t i = 0; i < n; i++) {
        ebb_graph *g;
        ebb_error error;
        memcpy(text, sample_text, n);
        if (ebb_graph_parse(text, i, NULL, 0, NULL, &g, &error) == EBB_OK)
            ebb_graph_destroy(g);
        for (size_t k = 0; k < sizeof junk; k++) {
            text[i] = junk[k];
            if (ebb_graph_parse(text, n, NULL, 0, NULL, &g, &error) == EBB_OK)
                ebb_graph_destroy(g);
        }
    }
    free(text);
}
END_TEST

START_TEST(dot_shows_phases_scopes_and_shapes)
{
    ebb_graph *g = golden_parse(sample_text);
    char *dot = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&dot, &n);
    ebb_node output = ebb_graph_node(g, 6);
    ck_assert_int_eq(
        ebb_graph_write_dot(g, out, &(ebb_dot_options){ .outputs = &output, .n_outputs = 1 }),
        EBB_OK);
    fclose(out);
    ck_assert_ptr_nonnull(strstr(dot, "subgraph cluster_1"));
    ck_assert_ptr_nonnull(strstr(dot, "label=\"fc1\""));
    ck_assert_ptr_nonnull(strstr(dot, "n1 -> n3 [label=\"f32[2,3]\""));
    ck_assert_ptr_nonnull(strstr(dot, "peripheries=2"));
    ck_assert_ptr_nonnull(strstr(dot, "label=\"update\""));
    ck_assert_ptr_nonnull(strstr(dot, "#2b6cb0"));
    ck_assert_ptr_nonnull(strstr(dot, "#c05621"));
    ck_assert_ptr_nonnull(strstr(dot, "#2f855a"));
    free(dot);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(writing_to_a_full_device_is_reported)
{
    FILE *full = fopen("/dev/full", "w");
    if (!full)
        SKIP_TEST("there is no /dev/full");
    setvbuf(full, NULL, _IONBF, 0);
    ebb_graph *g = golden_parse(sample_text);
    ck_assert_int_eq(ebb_graph_print(g, full), EBB_IO);
    ck_assert_int_eq(ebb_graph_write_dot(g, full, NULL), EBB_IO);
    fclose(full);
    ebb_graph_destroy(g);
}
END_TEST

/* Every allocation in turn fails: an error or a good graph, and nothing leaks. */
START_TEST(failing_allocations)
{
    for (int64_t k = 0; k < 400; k++) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        meter.fail_after = k;
        ebb_graph *g = ebb_graph_create_with("g", &(ebb_graph_options){ &meter.allocator, { 0 } });
        ebb_scope_push(g, "scope");
        ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(3, 4));
        for (int i = 0; i < 60; i++)
            x = ebb_add(ebb_named(ebb_exp(x), "e"), ebb_scalar(g, EBB_F32, i));
        ebb_update(ebb_variable(g, "v", EBB_F32, EBB_SHAPE(3, 4), NULL), x);
        if (meter.n_refused) {
            ck_assert_int_eq(ebb_graph_status(g), EBB_OUT_OF_MEMORY);
            ck_assert_ptr_nonnull(strstr(ebb_graph_message(g), "out of memory"));
        } else {
            ck_assert_msg(ebb_graph_status(g) == EBB_OK, "%s", ebb_graph_message(g));
        }
        ebb_graph_destroy(g);
        ck_assert_int_eq(meter.n_live, 0);

        ebb_error error;
        ebb_memory_meter_init(&meter, NULL);
        meter.fail_after = k;
        ebb_status status = ebb_graph_parse(sample_text, strlen(sample_text), NULL, 0,
                                            &meter.allocator, &g, &error);
        ck_assert(status == EBB_OK ? !meter.n_refused : status == EBB_OUT_OF_MEMORY);
        ebb_graph_destroy(g);
        ck_assert_int_eq(meter.n_live, 0);
    }
}
END_TEST

START_TEST(a_million_nodes_in_a_chain)
{
    ebb_graph *g = ebb_graph_create("chain");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2));
    for (int i = 0; i < 1000000; i++)
        x = i % 2 ? ebb_tanh(x) : ebb_neg(x);
    ck_assert_int_eq(ebb_graph_status(g), EBB_OK);
    ck_assert_int_eq(ebb_graph_n_nodes(g), 1000001);
    ebb_error error;
    ck_assert_int_eq(ebb_graph_verify(g, &error), EBB_OK);
    ebb_interpreter *in = ebb_interpreter_create(g, NULL);
    float values[2] = { 1, 2 };
    ebb_tensor value = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2), values);
    ck_assert_int_eq(ebb_interpreter_set(in, ebb_graph_node(g, 1), &value, &error), EBB_OK);
    ck_assert_int_eq(ebb_interpreter_run(in, &x, 1, &error), EBB_OK);
    ebb_interpreter_destroy(in);
    ebb_graph_destroy(g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("graph");
    TCase *t = tcase_create("graph");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, status_names_and_texts);
    tcase_add_test(t, meter_counts_bounds_and_fails);
    tcase_add_test(t, shapes_and_types);
    tcase_add_test(t, tensors_convert_and_saturate);
    tcase_add_test(t, equal_nodes_are_shared);
    tcase_add_test(t, first_error_sticks_and_names_everything);
    tcase_add_test(t, none_and_foreign_nodes_are_named);
    tcase_add_test(t, null_graph_is_harmless);
    tcase_add_test(t, bad_sources);
    tcase_add_test(t, names_and_scopes);
    tcase_add_test(t, updates_are_checked);
    tcase_add_test(t, several_results);
    tcase_add_test(t, copies_have_names);
    tcase_add_test(t, text_round_trip);
    tcase_add_test(t, text_ignores_the_locale);
    tcase_add_test(t, malformed_text_says_where);
    tcase_add_test(t, damaged_text_never_crashes);
    tcase_add_test(t, dot_shows_phases_scopes_and_shapes);
    tcase_add_test(t, writing_to_a_full_device_is_reported);
    tcase_add_test(t, failing_allocations);
    tcase_add_test(t, a_million_nodes_in_a_chain);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
