/* Convolution, pooling, im2col: the book's numbers, identities between the ops, and a table of
 * shapes in F32 on the fast backends against the reference kernels in F64, with gradients and the
 * number of reorders. */
#include "backends/backends.h"
#include "ops/descriptors.h"
#include "tests/support/runtime.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define LENGTH(array) (int)(sizeof(array) / sizeof(array)[0])
#define NONE                                                                                       \
    {                                                                                              \
        0,                                                                                         \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }
#define L(...)                                                                                     \
    {                                                                                              \
        (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)),                               \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

/* ---- values ---- */

static double draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (double)(*seed >> 8) / (1 << 23) - 1;
}

/* The same numbers in both dtypes: multiples of 2^-12. */
static void fill(const ebb_tensor *tensor, uint32_t seed)
{
    for (int64_t i = 0; i < ebb_shape_elements(&tensor->type.shape); i++)
        ebb_tensor_set(tensor, i, floor(draw(&seed) * 4096) / 4096);
}

static ebb_tensor make_tensor(const ebb_type *type)
{
    ebb_tensor tensor;
    ck_assert_int_eq(ebb_tensor_init(&tensor, *type, NULL), EBB_OK);
    return tensor;
}

enum { MAX_NODES = 8 };

/* A graph with inputs that get numbers, and what is fetched. */
typedef struct program {
    ebb_graph *graph;
    int n_inputs, n_fetches;
    ebb_node inputs[MAX_NODES], fetches[MAX_NODES];
    ebb_tensor results[MAX_NODES];
    ebb_executable_stats stats;
} program;

typedef enum test_way { REFERENCE, FAST, NATIVE } test_way;

/* Runs it; not on REFERENCE, no step may be a reference kernel. */
static void run_program(program *p, test_way way, int n_threads, const char *label)
{
    static const ebb_backend *const native[] = { &ebb_backend_native, &ebb_backend_reference };
    ebb_feed feeds[MAX_NODES];
    ebb_fetch fetches[MAX_NODES];
    ebb_executable *e = NULL;
    ebb_status status =
        ebb_compile(p->graph,
                    &(ebb_compile_options){ .fetches = p->fetches,
                                            .n_fetches = p->n_fetches,
                                            .backend = way == REFERENCE ? "reference" : NULL,
                                            .backends = way == NATIVE ? native : NULL,
                                            .n_backends = way == NATIVE ? 2 : 0,
                                            .n_threads = n_threads },
                    &e);
    ck_assert_msg(status == EBB_OK, "%s: %s", label, ebb_graph_message(p->graph));
    ebb_step_info step;
    for (int64_t i = 0; way != REFERENCE && ebb_executable_step(e, i, &step); i++)
        ck_assert_msg(strcmp(step.backend, "reference") != 0 && !strstr(step.implementation, "ref"),
                      "%s: step %s is computed by %s %s", label, step.op, step.backend,
                      step.implementation);
    for (int i = 0; i < p->n_inputs; i++) {
        feeds[i] = (ebb_feed){ p->inputs[i], make_tensor(ebb_node_type(p->inputs[i])) };
        fill(&feeds[i].value, 17u * (uint32_t)i + 5);
    }
    for (int i = 0; i < p->n_fetches; i++) {
        p->results[i] = make_tensor(ebb_node_type(p->fetches[i]));
        fetches[i] = (ebb_fetch){ p->fetches[i], p->results[i] };
    }
    for (int again = 0; again < 2; again++) {
        status = ebb_run(e, feeds, p->n_inputs, fetches, p->n_fetches);
        ck_assert_msg(status == EBB_OK, "%s: %s", label, ebb_executable_message(e));
    }
    for (int i = 0; i < p->n_inputs; i++)
        ebb_tensor_finish(&feeds[i].value);
    p->stats = ebb_executable_get_stats(e);
    ebb_executable_destroy(e);
}

static void finish_program(program *p)
{
    for (int i = 0; i < p->n_fetches; i++)
        ebb_tensor_finish(&p->results[i]);
    ebb_graph_destroy(p->graph);
}

/* Errors relative to the largest value. */
static void compare(const ebb_tensor *have, const ebb_tensor *want, double tolerance,
                    const char *label, const char *what)
{
    const int64_t n = ebb_shape_elements(&want->type.shape);
    double largest = 0;
    ck_assert(ebb_shape_equal(&have->type.shape, &want->type.shape));
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(ebb_tensor_get(want, i)));
    for (int64_t i = 0; i < n; i++) {
        const double a = ebb_tensor_get(have, i), b = ebb_tensor_get(want, i);
        if (!(fabs(a - b) <= tolerance * largest))
            ck_abort_msg("%s: %s: element %lld is %.9g, not %.9g", label, what, (long long)i, a, b);
    }
}

/* ---- the table: F32 against F64 ---- */

typedef enum kind { CONV, CONV_BIAS, TRANSPOSE, MAX_POOL, AVG_POOL } kind;

typedef struct shape_case {
    kind kind;
    ebb_shape x;
    int64_t filters; /* of a convolution */
    ebb_ints window, stride, padding, dilation;
    int64_t groups; /* of a convolution */
    bool ceil_mode, include_pad;
} shape_case;

static ebb_shape weights_shape(const shape_case *c)
{
    const int64_t groups = c->groups ? c->groups : 1;
    ebb_shape w = { .rank = c->x.rank };
    w.dims[0] = c->kind == TRANSPOSE ? c->x.dims[1] : c->filters;
    w.dims[1] = (c->kind == TRANSPOSE ? c->filters : c->x.dims[1]) / groups;
    for (int d = 2; d < w.rank; d++)
        w.dims[d] = c->window.values[c->window.n == 1 ? 0 : d - 2];
    return w;
}

typedef ebb_node (*conv_builder)(ebb_node x, ebb_node w, ebb_node bias, ebb_conv_attrs attrs);
typedef ebb_node (*transpose_builder)(ebb_node x, ebb_node w, ebb_node bias, ebb_conv_attrs attrs,
                                      ebb_ints output_padding);
static const conv_builder conv_of_rank[] = { (ebb_conv1d), (ebb_conv2d), (ebb_conv3d) };
static const transpose_builder transpose_of_rank[] = { (ebb_conv_transpose1d),
                                                       (ebb_conv_transpose2d),
                                                       (ebb_conv_transpose3d) };

/* The op on x (and w and bias), and its gradients with a cotangent that is an input too. */
static void build_case(program *p, const shape_case *c, ebb_dtype dtype, const char *label)
{
    *p = (program){ .graph = ebb_graph_create("table") };
    const bool is_pool = c->kind == MAX_POOL || c->kind == AVG_POOL;
    const int rank = c->x.rank;
    ebb_node x = ebb_input(p->graph, "x", dtype, c->x), y, w = EBB_NONE, bias = EBB_NONE;
    p->inputs[p->n_inputs++] = x;
    if (is_pool) {
        const ebb_pool_attrs attrs = { c->window,   c->stride,    c->padding,
                                       c->dilation, c->ceil_mode, c->include_pad };
        y = c->kind == MAX_POOL ? ebb_max_pool(x, attrs) : ebb_avg_pool(x, attrs);
    } else {
        const ebb_conv_attrs attrs = { c->stride, c->padding, c->dilation, c->groups };
        p->inputs[p->n_inputs++] = w = ebb_input(p->graph, "w", dtype, weights_shape(c));
        if (c->kind != CONV)
            p->inputs[p->n_inputs++] = bias =
                ebb_input(p->graph, "b", dtype, EBB_SHAPE(c->filters));
        y = c->kind == TRANSPOSE ? transpose_of_rank[rank - 3](x, w, bias, attrs, EBB_NO_INTS)
                                 : conv_of_rank[rank - 3](x, w, bias, attrs);
    }
    ck_assert_msg(!ebb_node_is_none(y), "%s: %s", label, ebb_graph_message(p->graph));
    const int n_xs = p->n_inputs;
    ebb_node seed = ebb_input(p->graph, "dy", dtype, ebb_node_type(y)->shape);
    p->fetches[0] = y;
    ck_assert_int_eq(ebb_gradients_with(&y, &seed, 1, p->inputs, n_xs, p->fetches + 1), EBB_OK);
    p->inputs[p->n_inputs++] = seed;
    p->n_fetches = 1 + n_xs;
}

static void check_case(const shape_case *c, const char *label)
{
    static const char *const names[] = { "result", "gradient to x", "gradient to w",
                                         "gradient to bias" };
    program exact;
    build_case(&exact, c, EBB_F64, label);
    run_program(&exact, REFERENCE, 1, label);
    for (int n_threads = 1; n_threads <= 2; n_threads++) {
        program fast;
        build_case(&fast, c, EBB_F32, label);
        run_program(&fast, FAST, n_threads, label);
        for (int i = 0; i < fast.n_fetches; i++)
            compare(&fast.results[i], &exact.results[i], i ? 1e-4 : 1e-5, label, names[i]);
        finish_program(&fast);
    }
    program native;
    build_case(&native, c, EBB_F64, label);
    run_program(&native, NATIVE, 2, label);
    for (int i = 0; i < native.n_fetches; i++)
        compare(&native.results[i], &exact.results[i], 1e-12, label, names[i]);
    finish_program(&native);
    finish_program(&exact);
}

/* clang-format off */
#define S(...) { (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), { __VA_ARGS__ } }
static const shape_case special[] = {
    /* common nets */
    { CONV_BIAS, S(5, 1, 28, 28), 30, L(5), NONE, NONE, NONE, 0, false, false },
    { CONV_BIAS, S(3, 1, 28, 28), 16, L(3), NONE, L(1), NONE, 0, false, false },
    { CONV_BIAS, S(2, 16, 14, 14), 32, L(3), NONE, L(2), NONE, 0, false, false },
    { CONV, S(1, 3, 65, 61), 64, L(7), L(2), L(3), NONE, 0, false, false },
    { CONV, S(2, 64, 14, 14), 64, L(3), NONE, L(1), NONE, 0, false, false },
    { CONV, S(2, 64, 14, 14), 128, L(3), L(2), L(1), NONE, 0, false, false },
    { CONV, S(2, 64, 14, 14), 128, L(1), L(2), NONE, NONE, 0, false, false },
    { CONV_BIAS, S(1, 3, 57, 57), 24, L(11), L(4), NONE, NONE, 0, false, false },
    { CONV_BIAS, S(1, 24, 13, 13), 32, L(5), NONE, L(2), NONE, 2, false, false },
    { CONV, S(2, 32, 14, 14), 32, L(3), L(2), L(1), NONE, 32, false, false },
    { CONV, S(2, 17, 9, 9), 17, L(3), NONE, L(1), NONE, 17, false, false },
    { CONV, S(1, 16, 9, 9), 32, L(3), NONE, L(1), NONE, 16, false, false },
    { CONV, S(1, 64, 12, 12), 64, L(3), NONE, L(2), L(2), 0, false, false },
    { CONV, S(1, 8, 9, 20), 5, L(1, 7), NONE, L(0, 3), NONE, 0, false, false },
    { CONV, S(1, 3, 10, 10), 4, L(4), L(2), L(1, 0, 2, 1), NONE, 0, false, false },
    { CONV, S(1, 4, 5, 5), 4, L(3), NONE, L(5), NONE, 0, false, false },
    { CONV_BIAS, S(4, 64, 4, 4), 72, L(3), NONE, L(1), NONE, 0, false, false }, /* as rows */
    { CONV, S(7, 65, 7, 6), 64, L(3, 2), L(2), L(1, 0, 0, 1), NONE, 0, false, false },
    { CONV, S(16, 64, 2, 2), 64, L(3), NONE, L(2), L(2), 0, false, false },
    { CONV, S(5, 64, 16), 64, L(3), NONE, L(1), NONE, 0, false, false },
    { CONV, S(32, 64, 1, 2, 2), 64, L(1, 2, 2), NONE, L(0, 1, 1), NONE, 0, false, false },
    { CONV, S(40, 64, 3, 2, 3), 64, L(2), NONE, L(0, 0, 1, 1, 0, 0), NONE, 0, false, false },
    /* one and three dimensions */
    { CONV_BIAS, S(2, 3, 50), 16, L(9), L(3), L(4), NONE, 0, false, false },
    { CONV, S(2, 17, 33), 17, L(3), NONE, L(2, 0), L(2), 0, false, false },
    { CONV, S(2, 8, 20), 8, L(3), NONE, L(1), NONE, 8, false, false },
    { CONV, S(1, 64, 1), 3, L(1), NONE, NONE, NONE, 0, false, false },
    { CONV_BIAS, S(1, 3, 6, 7, 8), 16, L(3), NONE, L(1), NONE, 0, false, false },
    { CONV, S(2, 4, 5, 6, 4), 6, L(2, 3, 1), L(2, 1, 1), L(0, 1, 0, 1, 0, 0), NONE, 2, false,
      false },
    { CONV, S(1, 2, 6, 6, 6), 3, L(2), NONE, NONE, L(1, 2, 3), 0, false, false },
    /* transposed */
    { TRANSPOSE, S(2, 16, 7, 7), 8, L(2), L(2), NONE, NONE, 0, false, false },
    { TRANSPOSE, S(1, 17, 5, 6), 3, L(3), L(2), L(1), NONE, 0, false, false },
    { TRANSPOSE, S(1, 4, 5, 6), 6, L(3), L(2), L(1), NONE, 2, false, false },
    { TRANSPOSE, S(2, 3, 9), 5, L(4), L(3), L(1, 0), L(2), 0, false, false },
    { TRANSPOSE, S(1, 3, 3, 4, 2), 2, L(2), L(2, 1, 2), NONE, NONE, 0, false, false },
    /* pooling */
    { MAX_POOL, S(3, 30, 24, 24), 0, L(2), NONE, NONE, NONE, 0, false, false },
    { MAX_POOL, S(2, 64, 28, 28), 0, L(3), L(2), L(1), NONE, 0, false, false },
    { AVG_POOL, S(2, 64, 28, 28), 0, L(3), L(2), L(1), NONE, 0, false, true },
    { AVG_POOL, S(3, 16, 8, 8), 0, L(8), NONE, NONE, NONE, 0, false, false },
    { MAX_POOL, S(2, 5, 19), 0, L(3), L(2), L(1), L(2), 0, true, false },
    { AVG_POOL, S(2, 5, 19), 0, L(4), L(3), L(2, 1), NONE, 0, true, true },
    { MAX_POOL, S(1, 3, 6, 5, 7), 0, L(2, 3, 2), L(2), L(1, 1, 0), NONE, 0, true, false },
    { AVG_POOL, S(1, 3, 6, 5, 7), 0, L(2, 3, 2), L(2), L(1, 1, 0), L(1, 1, 2), 0, false, false },
    { MAX_POOL, S(1, 2, 40, 40), 0, L(17), L(5), L(8), NONE, 0, false, false },
};
static const int64_t channels[] = { 1, 3, 17, 64 };
static const struct {
    int64_t height, width;
    ebb_ints window, stride, padding, dilation;
} grids[] = {
    { 7, 9, L(3), NONE, L(1), NONE },          { 9, 7, L(1), NONE, NONE, NONE },
    { 15, 13, L(7), L(2), L(3), NONE },        { 6, 11, L(2, 3), L(1, 2), L(0, 1, 1, 0), NONE },
    { 8, 8, L(3), L(2), L(1, 0, 0, 1), NONE }, { 11, 10, L(3, 2), NONE, L(2, 1), L(2, 3) },
    { 1, 1, L(1), NONE, NONE, NONE },          { 5, 5, L(5), NONE, L(2), NONE },
};
/* clang-format on */
enum { N_CHANNELS = 4, N_GRIDS = 8, N_SPECIAL = sizeof special / sizeof *special };

START_TEST(special_shapes)
{
    char label[80];
    snprintf(label, sizeof label, "special case %d", _i);
    check_case(&special[_i], label);
}
END_TEST

/* Convolutions over 8 grids by 16 pairs of channel counts: 128 sets. */
START_TEST(channels_and_grids)
{
    const int64_t in = channels[_i / N_CHANNELS], out = channels[_i % N_CHANNELS];
    for (int g = 0; g < N_GRIDS; g++) {
        const shape_case c = { .kind = g & 1 ? CONV_BIAS : CONV,
                               .x = EBB_SHAPE(2, in, grids[g].height, grids[g].width),
                               .filters = out,
                               .window = grids[g].window,
                               .stride = grids[g].stride,
                               .padding = grids[g].padding,
                               .dilation = grids[g].dilation };
        char label[80];
        snprintf(label, sizeof label, "grid %d, %d to %d channels", g, (int)in, (int)out);
        check_case(&c, label);
    }
}
END_TEST

/* Depthwise and grouped: 8 grids by 3 channel counts; pooling over those grids where the padding is
 * small enough. */
START_TEST(groups_and_pools)
{
    const int64_t count = channels[_i % N_CHANNELS];
    for (int g = 0; g < N_GRIDS; g++) {
        shape_case c = { .kind = CONV,
                         .x = EBB_SHAPE(2, count, grids[g].height, grids[g].width),
                         .filters = count,
                         .window = grids[g].window,
                         .stride = grids[g].stride,
                         .padding = grids[g].padding,
                         .dilation = grids[g].dilation,
                         .groups = count };
        char label[80];
        snprintf(label, sizeof label, "grid %d, %d channels", g, (int)count);
        check_case(&c, label);
        for (int pool = 0; pool < 4; pool++) {
            c.kind = pool < 2 ? MAX_POOL : AVG_POOL;
            c.ceil_mode = pool & 1;
            c.include_pad = pool == 2;
            snprintf(label, sizeof label, "grid %d, %d channels, pool %d", g, (int)count, pool);
            check_case(&c, label);
        }
    }
}
END_TEST

/* ---- the book ---- */

/* Fetches one node on the default backend at F32, with the given inputs. */
static ebb_tensor fetch_one(ebb_graph *g, ebb_node node, const ebb_feed *feeds, int n_feeds)
{
    ck_assert_msg(!ebb_node_is_none(node), "%s", ebb_graph_message(g));
    ebb_executable *e = compile_with(g, &(ebb_compile_options){ .fetches = &node, .n_fetches = 1 });
    ebb_tensor result = make_tensor(ebb_node_type(node));
    run(e, feeds, n_feeds, &(ebb_fetch){ node, result }, 1);
    ebb_executable_destroy(e);
    return result;
}

static void assert_values(ebb_graph *g, ebb_node node, const ebb_feed *feeds, int n_feeds,
                          const float *expected)
{
    ebb_tensor result = fetch_one(g, node, feeds, n_feeds);
    for (int64_t i = 0; i < ebb_shape_elements(&result.type.shape); i++)
        ck_assert_double_eq_tol(ebb_tensor_get(&result, i), (double)expected[i], 1e-5);
    ebb_tensor_finish(&result);
}
#define FLOATS(...)                                                                                \
    (const float[])                                                                                \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static const float book_x[] = { 1, 2, 3, 0, 0, 1, 2, 3, 3, 0, 1, 2, 2, 3, 0, 1 };
static const float book_w[] = { 2, 0, 1, 0, 1, 2, 1, 0, 2 };

/* Saitoh 2016, 7.2 */
START_TEST(book_convolutions)
{
    ebb_graph *g = ebb_graph_create("book");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(1, 1, 4, 4));
    ebb_node w = ebb_constant(g, EBB_F32, EBB_SHAPE(1, 1, 3, 3), book_w);
    ebb_node b = ebb_constant(g, EBB_F32, EBB_SHAPE(1), FLOATS(3));
    const ebb_feed feed = FEED(x, book_x);
    assert_values(g, ebb_conv2d(x, w, EBB_NONE, (ebb_conv_attrs){ 0 }), &feed, 1,
                  FLOATS(15, 16, 6, 15));
    assert_values(g, ebb_conv2d(x, w, b, (ebb_conv_attrs){ 0 }), &feed, 1, FLOATS(18, 19, 9, 18));
    assert_values(g, ebb_conv2d(x, w, EBB_NONE, (ebb_conv_attrs){ .padding = EBB_INTS(1) }), &feed,
                  1, FLOATS(7, 12, 10, 2, 4, 15, 16, 10, 10, 6, 15, 6, 8, 10, 4, 3));
    float rows[49];
    for (int i = 0; i < 49; i++)
        rows[i] = (float)((i % 7 - i / 7 + 8 + 1) % 4);
    ebb_node x7 = ebb_input(g, "x7", EBB_F32, EBB_SHAPE(1, 1, 7, 7));
    const ebb_feed feed7 = FEED(x7, rows);
    assert_values(g, ebb_conv2d(x7, w, EBB_NONE, (ebb_conv_attrs){ .stride = EBB_INTS(2) }), &feed7,
                  1, FLOATS(15, 17, 15, 17, 15, 17, 15, 17, 15));
    ebb_graph_destroy(g);
}
END_TEST

static void assert_shape(ebb_node node, ebb_shape shape)
{
    char text[EBB_TYPE_TEXT_BYTES], other[EBB_TYPE_TEXT_BYTES];
    ck_assert_msg(ebb_shape_equal(&ebb_node_type(node)->shape, &shape), "%s, not %s",
                  ebb_shape_text(&ebb_node_type(node)->shape, text), ebb_shape_text(&shape, other));
}

/* OH = (H + 2P - FH) / S + 1 (eq. 7.1), and the shapes of 7.4.3. */
START_TEST(book_sizes)
{
    ebb_graph *g = ebb_graph_create("book");
#define IMAGE(name, ...) ebb_input(g, name, EBB_F32, EBB_SHAPE(__VA_ARGS__))
    assert_shape(ebb_conv2d(IMAGE("a", 1, 1, 4, 4), IMAGE("aw", 1, 1, 3, 3), EBB_NONE,
                            (ebb_conv_attrs){ .stride = EBB_INTS(1), .padding = EBB_INTS(1) }),
                 EBB_SHAPE(1, 1, 4, 4));
    assert_shape(ebb_conv2d(IMAGE("b", 1, 1, 7, 7), IMAGE("bw", 1, 1, 3, 3), EBB_NONE,
                            (ebb_conv_attrs){ .stride = EBB_INTS(2) }),
                 EBB_SHAPE(1, 1, 3, 3));
    assert_shape(ebb_conv2d(IMAGE("c", 1, 1, 28, 31), IMAGE("cw", 1, 1, 5, 5), EBB_NONE,
                            (ebb_conv_attrs){ .stride = EBB_INTS(3), .padding = EBB_INTS(2) }),
                 EBB_SHAPE(1, 1, 10, 11));
    assert_shape(ebb_conv2d(IMAGE("d", 5, 3, 9, 8), IMAGE("dw", 4, 3, 2, 3), EBB_NONE,
                            (ebb_conv_attrs){ 0 }),
                 EBB_SHAPE(5, 4, 8, 6));
    const ebb_im2col_attrs five = { .window = EBB_INTS(5) };
    assert_shape(ebb_im2col(IMAGE("x1", 1, 3, 7, 7), five), EBB_SHAPE(9, 75));
    assert_shape(ebb_im2col(IMAGE("x10", 10, 3, 7, 7), five), EBB_SHAPE(90, 75));
    assert_shape(ebb_reshape(IMAGE("w10", 10, 3, 5, 5), EBB_SHAPE(10, -1)), EBB_SHAPE(10, 75));
    ck_assert_msg(ebb_graph_status(g) == EBB_OK, "%s", ebb_graph_message(g));
    ebb_node bad = ebb_conv2d(IMAGE("e", 1, 3, 4, 4), IMAGE("ew", 1, 2, 3, 3), EBB_NONE,
                              (ebb_conv_attrs){ 0 });
    ck_assert(ebb_node_is_none(bad));
    CHECK_TEXT(ebb_graph_message(g), "x has 3 channels, and w takes 2");
    ebb_graph_destroy(g);
}
END_TEST

/* 7.3: 2x2, stride 2 */
START_TEST(book_pooling)
{
    static const float x_data[] = { 1, 2, 1, 0, 0, 1, 2, 3, 3, 0, 1, 2, 2, 4, 0, 1 };
    ebb_graph *g = ebb_graph_create("book");
    ebb_node x = IMAGE("x", 1, 1, 4, 4);
    const ebb_feed feed = FEED(x, x_data);
    const ebb_pool_attrs two = { .window = EBB_INTS(2) };
    assert_values(g, ebb_max_pool(x, two), &feed, 1, FLOATS(2, 3, 4, 2));
    assert_values(g, ebb_avg_pool(x, two), &feed, 1, FLOATS(1, 1.5f, 2.25f, 1));
    assert_values(g, ebb_global_max_pool(x), &feed, 1, FLOATS(4));
    assert_values(g, ebb_global_avg_pool(x), &feed, 1, FLOATS(23 / 16.f));
    ebb_graph_destroy(g);
}
END_TEST

/* ---- identities ---- */

/* At F64 on the reference kernels the two must be equal. */
static void assert_equal_nodes(program *p, ebb_node a, ebb_node b, const char *label)
{
    ck_assert_msg(!ebb_node_is_none(a) && !ebb_node_is_none(b), "%s: %s", label,
                  ebb_graph_message(p->graph));
    p->fetches[0] = a;
    p->fetches[1] = b;
    p->n_fetches = 2;
    run_program(p, REFERENCE, 1, label);
    compare(&p->results[0], &p->results[1], 1e-13, label, "the two");
    finish_program(p);
}

/* The book's way: windows as rows, times the weights as columns. */
START_TEST(im2col_convolves)
{
    for (int g = 0; g < N_GRIDS; g++) {
        program p = { .graph = ebb_graph_create("im2col"), .n_inputs = 2 };
        const shape_case c = { .x = EBB_SHAPE(2, 3, grids[g].height, grids[g].width),
                               .filters = 4,
                               .window = grids[g].window };
        const ebb_shape ws = weights_shape(&c);
        ebb_node x = p.inputs[0] = ebb_input(p.graph, "x", EBB_F64, c.x);
        ebb_node w = p.inputs[1] = ebb_input(p.graph, "w", EBB_F64, ws);
        ebb_node y =
            ebb_conv2d(x, w, EBB_NONE,
                       (ebb_conv_attrs){ grids[g].stride, grids[g].padding, grids[g].dilation, 0 });
        ebb_node columns =
            ebb_im2col(x, (ebb_im2col_attrs){ EBB_INTS(ws.dims[2], ws.dims[3]), grids[g].stride,
                                              grids[g].padding, grids[g].dilation });
        const int64_t *dims = ebb_node_type(y)->shape.dims;
        ebb_node product =
            ebb_matmul(columns, ebb_transpose(ebb_reshape(w, EBB_SHAPE(4, -1)), EBB_AXES(1, 0)));
        ebb_node z = ebb_transpose(ebb_reshape(product, EBB_SHAPE(2, dims[2], dims[3], 4)),
                                   EBB_AXES(0, 3, 1, 2));
        assert_equal_nodes(&p, y, z, "im2col");
    }
}
END_TEST

/* <im2col(x), c> = <x, col2im(c)> */
START_TEST(col2im_is_the_adjoint)
{
    program p = { .graph = ebb_graph_create("col2im"), .n_inputs = 2 };
    const ebb_im2col_attrs attrs = { EBB_INTS(3, 2), EBB_INTS(2, 1), EBB_INTS(1), EBB_NO_INTS };
    ebb_node x = p.inputs[0] = ebb_input(p.graph, "x", EBB_F64, EBB_SHAPE(2, 3, 7, 5));
    ebb_node columns = ebb_im2col(x, attrs);
    ebb_node c = p.inputs[1] = ebb_input(p.graph, "c", EBB_F64, ebb_node_type(columns)->shape);
    assert_equal_nodes(&p, ebb_reduce_sum(ebb_mul(columns, c), EBB_ALL_AXES, false),
                       ebb_reduce_sum(ebb_mul(x, ebb_col2im(c, ebb_node_type(x)->shape, attrs)),
                                      EBB_ALL_AXES, false),
                       "adjoint");
}
END_TEST

/* A transposed convolution spreads: the same as a convolution of the stuffed input with turned
 * weights; here by stride 1, where nothing has to be stuffed. And its sizes. */
START_TEST(transposed_convolution)
{
    static const float x_data[] = { 1, 2, 3, 4 }, w_data[] = { 1, 10, 100, 1000 };
    ebb_graph *g = ebb_graph_create("transposed");
    ebb_node x = IMAGE("x", 1, 1, 2, 2), w = IMAGE("w", 1, 1, 2, 2);
    const ebb_feed feeds[2] = { FEED(x, x_data), FEED(w, w_data) };
    const ebb_conv_attrs two = { .stride = EBB_INTS(2) };
    assert_values(g, ebb_conv_transpose2d(x, w, EBB_NONE, two, EBB_NO_INTS), feeds, 2,
                  FLOATS(1, 10, 2, 20, 100, 1000, 200, 2000, 3, 30, 4, 40, 300, 3000, 400, 4000));
    assert_values(g, ebb_conv_transpose2d(x, w, EBB_NONE, (ebb_conv_attrs){ 0 }, EBB_NO_INTS),
                  feeds, 2, FLOATS(1, 12, 20, 103, 1234, 2040, 300, 3400, 4000));
    ebb_node b = ebb_constant(g, EBB_F32, EBB_SHAPE(1), FLOATS(5));
    assert_values(
        g, ebb_conv_transpose2d(x, w, b, (ebb_conv_attrs){ .padding = EBB_INTS(1) }, EBB_NO_INTS),
        feeds, 2, FLOATS(1239));
    assert_shape(ebb_conv_transpose2d(x, w, EBB_NONE, two, EBB_INTS(1, 0)), EBB_SHAPE(1, 1, 5, 4));
    assert_shape(ebb_conv_transpose2d(IMAGE("x4", 2, 6, 7, 9), IMAGE("w4", 6, 4, 3, 5), EBB_NONE,
                                      (ebb_conv_attrs){ .stride = EBB_INTS(2),
                                                        .padding = EBB_INTS(1, 2),
                                                        .dilation = EBB_INTS(2, 1),
                                                        .groups = 2 },
                                      EBB_INTS(1)),
                 EBB_SHAPE(2, 8, 16, 18));
    assert_shape(ebb_conv_transpose1d(IMAGE("x1", 2, 3, 5), IMAGE("w1", 3, 4, 3), EBB_NONE, two,
                                      EBB_NO_INTS),
                 EBB_SHAPE(2, 4, 11));
    assert_shape(ebb_conv_transpose3d(IMAGE("x3", 1, 3, 2, 3, 4), IMAGE("w3", 3, 2, 2, 2, 2),
                                      EBB_NONE, two, EBB_NO_INTS),
                 EBB_SHAPE(1, 2, 4, 6, 8));
    ck_assert_msg(ebb_graph_status(g) == EBB_OK, "%s", ebb_graph_message(g));
    ck_assert(ebb_node_is_none(ebb_conv_transpose2d(x, w, EBB_NONE, two, EBB_INTS(2))));
    CHECK_TEXT(ebb_graph_message(g), "size [6,6] gives [3,3] places, dy is [1,1,2,2]");
    ebb_graph_destroy(g);
}
END_TEST

/* Window i of n over `size` goes from floor(i size / n) to ceil((i + 1) size / n). */
START_TEST(adaptive_pooling)
{
    static const float x_data[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };
    ebb_graph *g = ebb_graph_create("adaptive");
    ebb_node x = IMAGE("x", 1, 1, 2, 5);
    const ebb_feed feed = FEED(x, x_data);
    assert_values(g, ebb_adaptive_avg_pool(x, EBB_INTS(1, 2)), &feed, 1,
                  FLOATS((1 + 2 + 3 + 6 + 7 + 8) / 6.f, (3 + 4 + 5 + 8 + 9 + 10) / 6.f));
    assert_values(g, ebb_adaptive_avg_pool(x, EBB_INTS(2, 5)), &feed, 1, x_data);
    assert_values(g, ebb_adaptive_avg_pool(x, EBB_INTS(2, 1)), &feed, 1, FLOATS(3, 8));
    assert_values(g, ebb_adaptive_avg_pool(x, EBB_INTS(1)), &feed, 1, FLOATS(5.5f));
    assert_values(g, ebb_adaptive_avg_pool(x, EBB_INTS(3, 3)), &feed, 1,
                  FLOATS(1.5f, 3, 4.5f, 4, 5.5f, 7, 6.5f, 8, 9.5f));
    ck_assert(ebb_node_is_none(ebb_adaptive_avg_pool(x, EBB_INTS(0, 1))));
    CHECK_TEXT(ebb_graph_message(g), "size 0 of spatial dimension 0");
    ebb_graph_destroy(g);
}
END_TEST

/* The gradient of max_pool goes to the first maximum alone. */
START_TEST(first_maximum_wins)
{
    static const float x_data[] = { 3, 3, 1, 3, 3, 3, 2, 2, 0 }, ones[] = { 1, 10, 100, 1000 };
    ebb_graph *g = ebb_graph_create("ties");
    ebb_node x = IMAGE("x", 1, 1, 3, 3), dy = IMAGE("dy", 1, 1, 2, 2), dx;
    ebb_node y = ebb_max_pool(x, (ebb_pool_attrs){ .window = EBB_INTS(2), .stride = EBB_INTS(1) });
    ck_assert_int_eq(ebb_gradients_with(&y, &dy, 1, &x, 1, &dx), EBB_OK);
    const ebb_feed feeds[2] = { FEED(x, x_data), FEED(dy, ones) };
    assert_values(g, dx, feeds, 2, FLOATS(1, 10, 0, 100, 1000, 0, 0, 0, 0));
    ebb_graph_destroy(g);
}
END_TEST

/* Equal attributes in other words are one node. */
START_TEST(equal_convolutions_are_shared)
{
    ebb_graph *g = ebb_graph_create("shared");
    ebb_node x = IMAGE("x", 1, 2, 5, 5), w = IMAGE("w", 3, 2, 3, 3);
    ebb_node a = ebb_conv2d(x, w, EBB_NONE, (ebb_conv_attrs){ .padding = EBB_INTS(1) });
    ebb_node b = ebb_conv2d(
        x, w, EBB_NONE, (ebb_conv_attrs){ EBB_INTS(1, 1), EBB_INTS(1, 1, 1, 1), EBB_INTS(1), 1 });
    ck_assert_uint_eq(a.id, b.id);
    ck_assert(ebb_node_is_none(ebb_conv1d(x, w, EBB_NONE, (ebb_conv_attrs){ 0 })));
    CHECK_TEXT(ebb_graph_message(g), "conv1d: x has rank 4, not 3");
    ebb_graph_destroy(g);
}
END_TEST

/* ---- layouts ---- */

/* conv - relu - conv - relu - pool - rows - product, with a residual, and all gradients. */
static void build_net(program *p, ebb_dtype dtype, int64_t n_channels)
{
    *p = (program){ .graph = ebb_graph_create("net"), .n_inputs = 5 };
    ebb_graph *g = p->graph;
    ebb_node x = p->inputs[0] = ebb_input(g, "x", dtype, EBB_SHAPE(4, n_channels, 12, 12));
    ebb_node w1 = p->inputs[1] = ebb_input(g, "w1", dtype, EBB_SHAPE(16, n_channels, 3, 3));
    ebb_node w2 = p->inputs[2] = ebb_input(g, "w2", dtype, EBB_SHAPE(16, 16, 3, 3));
    ebb_node b2 = p->inputs[3] = ebb_input(g, "b2", dtype, EBB_SHAPE(16));
    ebb_node w3 = p->inputs[4] = ebb_input(g, "w3", dtype, EBB_SHAPE(16 * 36, 10));
    const ebb_conv_attrs same = { .padding = EBB_INTS(1) };
    ebb_node h = ebb_relu(ebb_conv2d(x, w1, EBB_NONE, same));
    ebb_node r = ebb_add(h, ebb_relu(ebb_conv2d(h, w2, b2, same)));
    ebb_node pooled = ebb_max_pool(r, (ebb_pool_attrs){ .window = EBB_INTS(2) });
    ebb_node y = ebb_matmul(ebb_reshape(pooled, EBB_SHAPE(4, -1)), w3);
    ebb_node loss = ebb_reduce_sum(ebb_square(y), EBB_ALL_AXES, false);
    p->fetches[0] = loss;
    p->fetches[1] = r; /* channels last inside, and as the user sees it outside */
    ck_assert_int_eq(ebb_gradients(loss, p->inputs, 5, p->fetches + 2), EBB_OK);
    p->n_fetches = 7;
}

/* Reorders stand only at the edges: x if it has several channels, its gradient is fetched as it
 * lies, rows and back. */
START_TEST(reorders_only_at_edges)
{
    for (int64_t n_channels = 1; n_channels <= 3; n_channels += 2) {
        program exact, fast;
        build_net(&exact, EBB_F64, n_channels);
        run_program(&exact, REFERENCE, 1, "net");
        ck_assert_int_eq(exact.stats.n_reorders, 0);
        build_net(&fast, EBB_F32, n_channels);
        run_program(&fast, FAST, 2, "net");
        for (int i = 0; i < fast.n_fetches; i++)
            compare(&fast.results[i], &exact.results[i], 1e-4, "net", "a fetch");
        ck_assert_int_eq(fast.stats.n_reorders, n_channels > 1 ? 3 : 2);
        finish_program(&exact);
        finish_program(&fast);
    }
}
END_TEST

/* Weights that only this executable reads are packed once. */
START_TEST(steady_weights_are_packed)
{
    ebb_graph *g = ebb_graph_create("steady");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node x = IMAGE("x", 2, 16, 8, 8);
    ebb_node w = ebb_variable(g, "w", EBB_F32, EBB_SHAPE(17, 16, 3, 3),
                              &(ebb_init){ .kind = EBB_INIT_NORMAL, .b = 1, .seed = 3 });
    ebb_node y = ebb_conv2d(x, w, EBB_NONE, (ebb_conv_attrs){ 0 });
    ebb_executable *e =
        compile_with(g, &(ebb_compile_options){ .fetches = &y, .n_fetches = 1, .store = store });
    ck_assert_uint_ge(ebb_executable_get_stats(e).packed_bytes, 17 * 16 * 9 * sizeof(float));
    ebb_tensor in = make_tensor(ebb_node_type(x)), result = make_tensor(ebb_node_type(y)), value;
    fill(&in, 3);
    run(e, &(ebb_feed){ x, in }, 1, &(ebb_fetch){ y, result }, 1);
    const double before = ebb_tensor_get(&result, 100);
    ck_assert_int_eq(ebb_store_get(store, "w", &value), EBB_OK);
    ebb_tensor twice = make_tensor(&value.type);
    for (int64_t i = 0; i < ebb_shape_elements(&value.type.shape); i++)
        ebb_tensor_set(&twice, i, 2 * ebb_tensor_get(&value, i));
    ck_assert_int_eq(ebb_store_set(store, "w", &twice), EBB_OK);
    run(e, &(ebb_feed){ x, in }, 1, &(ebb_fetch){ y, result }, 1);
    ck_assert_double_eq_tol(ebb_tensor_get(&result, 100), 2 * before, 1e-4);
    ebb_tensor_finish(&twice);
    ebb_tensor_finish(&result);
    ebb_tensor_finish(&in);
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

/* A constant that has to be copied into the layout of the weights is no constant to the kernel: the
 * copy is made in each run, long after steady inputs are packed. */
START_TEST(copied_constants_are_not_packed)
{
    static const float numbers[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
    ebb_graph *g = ebb_graph_create("copied");
    ebb_node x = IMAGE("x", 1, 16, 2, 2);
    ebb_node row = ebb_constant(g, EBB_F32, EBB_SHAPE(1, 16, 1, 1), numbers);
    ebb_node w = ebb_broadcast_to(row, EBB_SHAPE(17, 16, 1, 1));
    ebb_node y = ebb_conv2d(x, w, EBB_NONE, (ebb_conv_attrs){ 0 });
    ebb_executable *e = compile_with(
        g, &(ebb_compile_options){ .fetches = &y, .n_fetches = 1, .skip_passes = true });
    ebb_tensor in = make_tensor(ebb_node_type(x)), result = make_tensor(ebb_node_type(y));
    for (int64_t i = 0; i < 16 * 4; i++)
        ebb_tensor_set(&in, i, 1);
    run(e, &(ebb_feed){ x, in }, 1, &(ebb_fetch){ y, result }, 1);
    for (int64_t i = 0; i < 17 * 4; i++)
        ck_assert_double_eq_tol(ebb_tensor_get(&result, i), 16 * 17 / 2, 1e-4);
    ebb_tensor_finish(&result);
    ebb_tensor_finish(&in);
    ebb_executable_destroy(e);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(failing_allocations)
{
    program p;
    build_net(&p, EBB_F32, 3);
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    ebb_status status = EBB_OUT_OF_MEMORY;
    int64_t n_failures = 0;
    for (; status == EBB_OUT_OF_MEMORY; n_failures++) {
        ebb_executable *e = NULL;
        ck_assert_int_lt(n_failures, 5000);
        meter.fail_after = n_failures;
        status = ebb_compile(p.graph,
                             &(ebb_compile_options){ .fetches = p.fetches,
                                                     .n_fetches = p.n_fetches,
                                                     .allocator = &meter.allocator },
                             &e);
        meter.fail_after = -1;
        ck_assert_msg(status == EBB_OK || status == EBB_OUT_OF_MEMORY, "%s: %s",
                      ebb_status_name(status), ebb_graph_message(p.graph));
        ebb_executable_destroy(e);
        ck_assert_int_eq(meter.n_live, 0);
    }
    ck_assert_int_gt(n_failures, 20);
    p.n_fetches = 0; /* there are no results */
    finish_program(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conv");
    TCase *table = tcase_create("table");
    tcase_set_timeout(table, 120);
    tcase_add_loop_test(table, special_shapes, 0, N_SPECIAL);
    tcase_add_loop_test(table, channels_and_grids, 0, N_CHANNELS * N_CHANNELS);
    tcase_add_loop_test(table, groups_and_pools, 0, N_CHANNELS);
    suite_add_tcase(suite, table);
    TCase *book = tcase_create("book");
    tcase_add_test(book, book_convolutions);
    tcase_add_test(book, book_sizes);
    tcase_add_test(book, book_pooling);
    suite_add_tcase(suite, book);
    TCase *identities = tcase_create("identities");
    tcase_add_test(identities, im2col_convolves);
    tcase_add_test(identities, col2im_is_the_adjoint);
    tcase_add_test(identities, transposed_convolution);
    tcase_add_test(identities, adaptive_pooling);
    tcase_add_test(identities, first_maximum_wins);
    tcase_add_test(identities, equal_convolutions_are_shared);
    suite_add_tcase(suite, identities);
    TCase *layouts = tcase_create("layouts");
    tcase_add_test(layouts, reorders_only_at_edges);
    tcase_add_test(layouts, steady_weights_are_packed);
    tcase_add_test(layouts, copied_constants_are_not_packed);
    tcase_add_test(layouts, failing_allocations);
    suite_add_tcase(suite, layouts);
    return run_suite(suite);
}
