/* Variables that lie in the store as kernels want them: the user sees none of it. The same graphs
 * with a backend list that has no wishes for variables are the oracle. */
#include "models/models.h"
#include "runtime/layout.h"
#include "runtime/store.h"
#include "support/files.h"
#include "support/runtime.h"

#include <math.h>
#include <stdlib.h>

/* The default ones, but for their wishes for variables. */
typedef struct backends {
    ebb_backend plain[EBB_MAX_RANK];
    const ebb_backend *list[EBB_MAX_RANK];
    int n;
} backends;

static void plain_backends(backends *b)
{
    const ebb_backend *const *list = ebb_backend_list("onednn", &b->n);
    ck_assert_int_le(b->n, EBB_MAX_RANK);
    for (int i = 0; i < b->n; i++) {
        b->plain[i] = *list[i];
        b->plain[i].home_layout = NULL;
        b->list[i] = &b->plain[i];
    }
}

static bool is_blocked(ebb_store *store, const char *name)
{
    const ebb_store_entry *entry = ebb_store_find(store, name);
    ck_assert_msg(entry != NULL, "there is no %s", name);
    return entry->layout.n_blocks > 0;
}

static int64_t n_blocked(ebb_store *store)
{
    int64_t n = 0;
    for (int64_t i = 0; i < ebb_store_size(store); i++)
        n += is_blocked(store, ebb_store_name(store, i));
    return n;
}

/* Whether blocks are expected at all: they are oneDNN's for vector units of this processor. */
static bool has_blocks(void)
{
    ebb_graph *g = ebb_graph_create("probe");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node y = ebb_nn_conv(ebb_input(g, "x", EBB_F32, EBB_SHAPE(1, 16, 8, 8)), 16,
                             &(ebb_nn_conv_options){ .name = "c", .window = { 1, { 3 } } });
    ebb_executable *e =
        compile_with(g, &(ebb_compile_options){ .fetches = &y, .n_fetches = 1, .store = store });
    const bool has = is_blocked(store, "c/w");
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
    return has;
}

/* ---- layouts ---- */

static const struct layout_case {
    ebb_shape shape;
    ebb_layout layout;
    bool fills;
} layout_cases[] = {
    { { 2, { 2, 3 } }, { .strides = { 3, 1 } }, true },
    { { 2, { 2, 3 } }, { .strides = { 1, 2 } }, true },
    { { 2, { 2, 3 } }, { .strides = { 4, 1 } }, false },
    /* OIhw16i16o */
    { { 4, { 32, 48, 3, 2 } },
      { .strides = { 48 * 6 * 16, 6 * 256, 512, 256 },
        .n_blocks = 2,
        .blocks = { { 1, 16 }, { 0, 16 } } },
      true },
    /* OIhw16o16i */
    { { 4, { 32, 48, 3, 2 } },
      { .strides = { 48 * 6 * 16, 6 * 256, 512, 256 },
        .n_blocks = 2,
        .blocks = { { 0, 16 }, { 1, 16 } } },
      true },
    /* OI4i16o4i */
    { { 2, { 32, 32 } },
      { .strides = { 512, 256 }, .n_blocks = 3, .blocks = { { 1, 4 }, { 0, 16 }, { 1, 4 } } },
      true },
    /* The stride of what is not split. */
    { { 2, { 32, 3 } }, { .strides = { 48, 1 }, .n_blocks = 1, .blocks = { { 0, 16 } } }, false },
    /* Blocks that do not divide. */
    { { 2, { 30, 3 } }, { .strides = { 48, 16 }, .n_blocks = 1, .blocks = { { 0, 16 } } }, false },
};
enum { N_LAYOUTS = sizeof layout_cases / sizeof *layout_cases };

START_TEST(layouts_are_orders)
{
    const struct layout_case *c = &layout_cases[_i];
    ebb_order order;
    ck_assert_int_eq(ebb_order_find(&c->layout, &c->shape, &order), c->fills);
    if (!c->fills)
        return;
    const ebb_type type = { EBB_F32, c->shape };
    const int64_t n = ebb_shape_elements(&c->shape);
    float *plain = malloc((size_t)n * sizeof *plain), *laid = malloc((size_t)n * sizeof *laid),
          *back = malloc((size_t)n * sizeof *back);
    for (int64_t i = 0; i < n; i++)
        plain[i] = (float)i;
    ebb_layout_write(laid, plain, &c->layout, &type);
    ebb_layout_read(back, laid, &c->layout, &type);
    for (int64_t i = 0; i < n; i++) {
        ck_assert_float_eq(back[i], plain[i]);
        ck_assert_float_eq(laid[ebb_layout_place(&c->layout, &c->shape, i)], plain[i]);
    }
    /* In its own order it is dense, and the order gives the layout again. */
    const ebb_shape split = ebb_order_shape(&order);
    ebb_layout seen;
    ck_assert(ebb_order_permute(&order, &c->layout, &seen));
    ck_assert(ebb_layout_is_dense(&seen, &split));
    const ebb_layout found = ebb_order_permute_back(&order, &seen);
    ck_assert(ebb_layout_agrees(&found, &c->layout, &c->shape));
    ck_assert_int_eq(ebb_layout_is_dense(&c->layout, &c->shape), _i == 0);
    free(back);
    free(laid);
    free(plain);
}
END_TEST

/* ---- graphs ---- */

/* What a graph makes of x [2, 32, 8, 8] is squared and summed. */
typedef ebb_node (*build)(ebb_node x);

static ebb_node variable(ebb_node x, const char *name, ebb_shape shape)
{
    return ebb_variable(x.graph, name, EBB_F32, shape,
                        &(ebb_init){ .kind = EBB_INIT_NORMAL, .b = 0.1, .seed = 3 });
}

#define SAME ((ebb_conv_attrs){ .padding = { 1, { 1 } } })

static ebb_node two_convs(ebb_node x)
{
    ebb_node w = variable(x, "w", EBB_SHAPE(48, 32, 3, 3)),
             v = variable(x, "v", EBB_SHAPE(16, 48, 1, 1));
    return ebb_conv2d(ebb_relu(ebb_conv2d(x, w, EBB_NONE, SAME)), v, EBB_NONE,
                      ((ebb_conv_attrs){ .groups = 1 }));
}
/* The same weights forwards twice and backwards. */
static ebb_node tied(ebb_node x)
{
    ebb_node w = variable(x, "w", EBB_SHAPE(32, 32, 3, 3));
    ebb_node h = ebb_conv2d(ebb_tanh(ebb_conv2d(x, w, EBB_NONE, SAME)), w, EBB_NONE, SAME);
    return ebb_conv_transpose2d(h, w, EBB_NONE, SAME, (ebb_ints){ 0 });
}
static ebb_node transposed(ebb_node x)
{
    ebb_node w = variable(x, "w", EBB_SHAPE(32, 16, 2, 2));
    return ebb_conv_transpose2d(x, w, EBB_NONE, ((ebb_conv_attrs){ .stride = { 1, { 2 } } }),
                                (ebb_ints){ 0 });
}
static ebb_node grouped(ebb_node x)
{
    ebb_node w = variable(x, "w", EBB_SHAPE(64, 16, 3, 3)),
             d = variable(x, "d", EBB_SHAPE(64, 1, 3, 3));
    ebb_conv_attrs two = SAME, each = SAME;
    two.groups = 2;
    each.groups = 64;
    return ebb_conv2d(ebb_conv2d(x, w, EBB_NONE, two), d, EBB_NONE, each);
}
static ebb_node lines(ebb_node x)
{
    ebb_node w = variable(x, "w", EBB_SHAPE(32, 32, 3));
    return ebb_conv1d(ebb_reshape(x, EBB_SHAPE(2, 32, 64)), w, EBB_NONE, SAME);
}
static ebb_node volumes(ebb_node x)
{
    ebb_node w = variable(x, "w", EBB_SHAPE(16, 32, 3, 3, 3));
    return ebb_conv3d(ebb_reshape(x, EBB_SHAPE(2, 32, 4, 4, 4)), w, EBB_NONE, SAME);
}
/* Padding would be needed: 30 filters, 17 channels. */
static ebb_node odd(ebb_node x)
{
    ebb_node w = variable(x, "w", EBB_SHAPE(30, 32, 3, 3)),
             v = variable(x, "v", EBB_SHAPE(17, 30, 3, 3));
    return ebb_conv2d(ebb_conv2d(x, w, EBB_NONE, SAME), v, EBB_NONE, SAME);
}
/* Weights that others read, too: a sum of squares, and the products of filters (a view). */
static ebb_node penalized(ebb_node x)
{
    ebb_node w = variable(x, "w", EBB_SHAPE(32, 32, 3, 3));
    ebb_node rows = ebb_reshape(w, EBB_SHAPE(32, 288));
    ebb_node products = ebb_matmul(rows, ebb_transpose(rows, EBB_AXES(1, 0)));
    ebb_node more = ebb_add(ebb_reduce_sum(ebb_square(w), EBB_ALL_AXES, false),
                            ebb_reduce_sum(ebb_square(products), EBB_ALL_AXES, false));
    return ebb_add(ebb_conv2d(x, w, EBB_NONE, SAME),
                   ebb_mul(more, ebb_scalar(x.graph, EBB_F32, 0.01)));
}
/* Not the variable itself goes into the convolution. */
static ebb_node scaled(ebb_node x)
{
    ebb_node w = variable(x, "w", EBB_SHAPE(32, 32, 3, 3)),
             s = variable(x, "s", EBB_SHAPE(32, 1, 1, 1));
    return ebb_conv2d(ebb_conv2d(x, ebb_mul(w, s), EBB_NONE, SAME), w, EBB_NONE, SAME);
}
/* Few places: the gradient of weights is a matrix product. */
static ebb_node few_places(ebb_node x)
{
    ebb_node w = variable(x, "w", EBB_SHAPE(64, 32, 3, 3)),
             v = variable(x, "v", EBB_SHAPE(64, 64, 3, 3));
    ebb_conv_attrs far = SAME;
    far.stride = (ebb_ints){ 1, { 2 } };
    return ebb_conv2d(ebb_conv2d(x, w, EBB_NONE, far), v, EBB_NONE, SAME);
}
/* Enough small images for direct convolutions, and for their gradients. */
static ebb_node small_images(ebb_node x)
{
    ebb_node w = variable(x, "w", EBB_SHAPE(64, 32, 3, 3)),
             v = variable(x, "v", EBB_SHAPE(64, 64, 3, 3)),
             u = variable(x, "u", EBB_SHAPE(64, 64, 3, 3));
    ebb_node y = ebb_reshape(x, EBB_SHAPE(8, 32, 4, 4));
    y = ebb_relu(ebb_conv2d(y, w, EBB_NONE, SAME));
    return ebb_conv2d(ebb_conv2d(y, v, EBB_NONE, SAME), u, EBB_NONE, SAME);
}

static const struct graph_case {
    const char *name;
    build build;
    int64_t n_blocked; /* variables in blocks, with Adam's two for each; -1: not known */
} graph_cases[] = {
    { "two_convs", two_convs, 6 },
    { "tied", tied, 3 },
    { "transposed", transposed, 3 },
    { "grouped", grouped, 6 },
    { "lines", lines, 3 },
    { "volumes", volumes, 3 },
    { "odd", odd, 0 },
    { "penalized", penalized, 3 },
    { "scaled", scaled, 3 },
    { "few_places", few_places, 6 },
    { "small_images", small_images, 9 },
};
enum { N_GRAPHS = sizeof graph_cases / sizeof *graph_cases, N_X = 2 * 32 * 8 * 8 };

static const ebb_nn_rule rules[] = {
    { .method = EBB_NN_ADAM, .rate = 0.01, .weight_decay = 0.01 },
    { .method = EBB_NN_MOMENTUM, .rate = 0.001, .clip_norm = 1 },
};
enum { N_RULES = sizeof rules / sizeof *rules };

typedef struct side {
    ebb_graph *graph;
    ebb_store *store;
    ebb_executable *step;
    ebb_node x, loss, gradient; /* of the variable w */
} side;

static void build_side(side *s, build make, const ebb_nn_rule *rule)
{
    s->graph = ebb_graph_create("homes");
    s->x = ebb_input(s->graph, "x", EBB_F32, EBB_SHAPE(2, 32, 8, 8));
    s->loss = ebb_reduce_mean(ebb_square(make(s->x)), EBB_ALL_AXES, false);
    ebb_node w = ebb_graph_find(s->graph, "w");
    ck_assert_int_eq(ebb_gradients(s->loss, &w, 1, &s->gradient), EBB_OK);
    if (rule)
        ck_assert_msg(ebb_nn_minimize(s->loss, rule) == EBB_OK, "%s", ebb_graph_message(s->graph));
}

/* `plain`: NULL for the default backends. */
static void compile_side(side *s, ebb_store *store, const backends *plain, bool fetch_gradient)
{
    const ebb_node fetches[] = { s->loss, ebb_graph_find(s->graph, "w"), s->gradient };
    s->store = store;
    ebb_compile_options options = { .fetches = fetches,
                                    .n_fetches = fetch_gradient ? 3 : 2,
                                    .store = store };
    if (plain) {
        options.backends = plain->list;
        options.n_backends = plain->n;
    }
    s->step = compile_with(s->graph, &options);
}

/* A training step of two convolutions. */
static void open_side(side *s, ebb_store *store, const backends *plain)
{
    build_side(s, two_convs, &rules[0]);
    compile_side(s, store, plain, false);
}

static void finish_side(side *s, bool with_store)
{
    ebb_executable_destroy(s->step);
    if (with_store)
        ebb_store_destroy(s->store);
    ebb_graph_destroy(s->graph);
}

static float *images(int seed)
{
    static float x[N_X];
    for (int i = 0; i < N_X; i++)
        x[i] = (float)((i * 37 + i / 7 + seed * 11) % 101) / 50 - 1;
    return x;
}

static float run_side(side *s, int seed)
{
    float loss = -1;
    run(s->step, &FEED(s->x, images(seed)), 1, &FETCH(s->loss, &loss), 1);
    return loss;
}

/* Relative to the largest of both. */
static void check_close(const float *a, const float *b, int64_t n, const char *what)
{
    double most = 0, difference = 0;
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)b[i]));
        difference = fmax(difference, fabs((double)a[i] - (double)b[i]));
    }
    ck_assert_msg(difference <= 2e-6 * most, "%s: %g beside %g", what, difference, most);
}

static void check_stores(ebb_store *a, ebb_store *b)
{
    ck_assert_int_eq(ebb_store_size(a), ebb_store_size(b));
    for (int64_t i = 0; i < ebb_store_size(a); i++) {
        ebb_tensor x, y;
        const char *name = ebb_store_name(a, i);
        ck_assert_int_eq(ebb_store_get(a, name, &x), EBB_OK);
        ck_assert_int_eq(ebb_store_get(b, name, &y), EBB_OK);
        ck_assert(ebb_type_equal(&x.type, &y.type));
        if (x.type.dtype == EBB_F32)
            check_close(x.data, y.data, ebb_shape_elements(&x.type.shape), name);
        else
            ck_assert_mem_eq(x.data, y.data, ebb_type_bytes(&x.type));
    }
}

/* Steps, reads, writes and fetches give what they give where all is plain. */
START_TEST(steps_are_those_of_plain_variables)
{
    const struct graph_case *c = &graph_cases[_i % N_GRAPHS];
    const ebb_nn_rule *rule = &rules[_i / N_GRAPHS];
    backends plain;
    side a, b;
    plain_backends(&plain);
    build_side(&a, c->build, rule);
    build_side(&b, c->build, rule);
    compile_side(&a, ebb_store_create(NULL), NULL, _i % 2);
    compile_side(&b, ebb_store_create(NULL), &plain, _i % 2);
    ck_assert_int_eq(n_blocked(b.store), 0);
    if (has_blocks() && rule->method == EBB_NN_ADAM)
        ck_assert_msg(n_blocked(a.store) == c->n_blocked, "%s: %lld in blocks", c->name,
                      (long long)n_blocked(a.store));
    for (int i = 0; i < 2; i++)
        ck_assert_float_eq_tol(run_side(&a, i), run_side(&b, i), 1e-5f);
    check_stores(a.store, b.store); /* from here on both have views */
    ebb_tensor view, other;
    ck_assert_int_eq(ebb_store_get(a.store, "w", &view), EBB_OK);
    ck_assert_int_eq(ebb_store_get(b.store, "w", &other), EBB_OK);
    const int64_t n = ebb_shape_elements(&view.type.shape);
    run_side(&a, 2);
    run_side(&b, 2);
    check_close(view.data, other.data, n, "a view after a step");
    float *w = malloc((size_t)n * sizeof *w), *v = malloc((size_t)n * sizeof *v), loss;
    for (int64_t i = 0; i < n; i++)
        w[i] = (float)(i % 89) / 300 - 0.1f;
    const ebb_tensor value = ebb_tensor_borrow(EBB_F32, view.type.shape, w);
    ck_assert_int_eq(ebb_store_set(a.store, "w", &value), EBB_OK);
    ck_assert_int_eq(ebb_store_set(b.store, "w", &value), EBB_OK);
    ck_assert_mem_eq(view.data, w, (size_t)n * sizeof *w);
    /* Fetched is the value before the step. */
    ebb_node fetched = ebb_graph_find(a.graph, "w");
    run(a.step, &FEED(a.x, images(3)), 1, (ebb_fetch[]){ FETCH(a.loss, &loss), FETCH(fetched, v) },
        2);
    run_side(&b, 3);
    ck_assert_mem_eq(v, w, (size_t)n * sizeof *w);
    if (_i % 2) {
        run(a.step, &FEED(a.x, images(4)), 1, &FETCH(a.gradient, w), 1);
        run(b.step, &FEED(b.x, images(4)), 1, &FETCH(b.gradient, v), 1);
        check_close(w, v, n, "the gradient");
    }
    check_stores(a.store, b.store);
    free(v);
    free(w);
    finish_side(&a, true);
    finish_side(&b, true);
}
END_TEST

/* ---- files ---- */

START_TEST(files_are_plain)
{
    backends plain;
    side a, b, later;
    ebb_error error;
    char path[4096];
    snprintf(path, sizeof path, "%s/w.safetensors", test_temporary_folder());
    plain_backends(&plain);
    open_side(&a, ebb_store_create(NULL), NULL);
    open_side(&b, ebb_store_create(NULL), &plain);
    for (int i = 0; i < 2; i++) {
        run_side(&a, i);
        run_side(&b, i);
    }
    ck_assert_int_eq(ebb_store_save(a.store, path, &error), EBB_OK);
    ebb_store *read = ebb_store_create(NULL);
    ck_assert_int_eq(ebb_store_load(read, path, &error), EBB_OK);
    check_stores(read, b.store);
    /* On from the file, and back to it in the store that is bound. */
    open_side(&later, read, NULL);
    const float next = run_side(&a, 2);
    ck_assert_float_eq(run_side(&later, 2), next);
    ck_assert_int_eq(ebb_store_restore(a.store, path, &error), EBB_OK);
    ck_assert_float_eq(run_side(&a, 2), next);
    ck_assert_int_eq(ebb_store_load(a.store, path, &error), EBB_OK);
    ck_assert_float_eq(run_side(&a, 2), next);
    check_stores(a.store, later.store);
    finish_side(&a, true);
    finish_side(&b, true);
    finish_side(&later, true);
}
END_TEST

/* ---- several executables on one store ---- */

/* Training and inference take turns; whichever came first has chosen. */
START_TEST(executables_share_a_store)
{
    backends plain;
    side train, eval, reference;
    plain_backends(&plain);
    build_side(&train, two_convs, &rules[0]);
    build_side(&eval, two_convs, NULL);
    ebb_store *store = ebb_store_create(NULL);
    compile_side(_i ? &eval : &train, store, _i == 2 ? &plain : NULL, false);
    compile_side(_i ? &train : &eval, store, NULL, false);
    open_side(&reference, ebb_store_create(NULL), &plain);
    ck_assert_int_eq(n_blocked(store) > 0, has_blocks() && _i != 2);
    for (int i = 0; i < 3; i++) {
        const float before = run_side(&eval, i);
        const float loss = run_side(&train, i);
        ck_assert_float_eq_tol(before, loss, 1e-5f);
        ck_assert_float_eq_tol(loss, run_side(&reference, i), 1e-5f);
    }
    check_stores(store, reference.store);
    finish_side(&eval, false);
    finish_side(&train, true);
    finish_side(&reference, true);
}
END_TEST

/* When nobody is bound any more, the next one chooses again; a store lives as long as its users. */
START_TEST(layouts_are_chosen_again)
{
    backends plain;
    side first, second;
    plain_backends(&plain);
    ebb_store *store = ebb_store_create(NULL);
    open_side(&first, store, &plain);
    run_side(&first, 0);
    ck_assert_int_eq(n_blocked(store), 0);
    ebb_tensor w, again;
    ck_assert_int_eq(ebb_store_get(store, "w", &w), EBB_OK);
    const int64_t n = ebb_shape_elements(&w.type.shape);
    float *copy = malloc((size_t)n * sizeof *copy);
    memcpy(copy, w.data, (size_t)n * sizeof *copy);
    ebb_executable_destroy(first.step);
    open_side(&second, store, NULL);
    ck_assert_int_eq(n_blocked(store) > 0, has_blocks());
    ck_assert_mem_eq(w.data, copy, (size_t)n * sizeof *copy);
    run_side(&second, 1);
    ck_assert_int_eq(ebb_store_get(store, "w", &again), EBB_OK);
    ck_assert_ptr_eq(again.data, w.data);
    ck_assert_mem_ne(w.data, copy, (size_t)n * sizeof *copy);
    ebb_executable_destroy(second.step);
    memcpy(copy, w.data, (size_t)n * sizeof *copy);
    compile_side(&first, store, &plain, false);
    ck_assert_int_eq(n_blocked(store), 0);
    ck_assert_mem_eq(w.data, copy, (size_t)n * sizeof *copy);
    free(copy);
    ebb_store_destroy(store); /* first.step still uses it */
    run_side(&first, 2);
    finish_side(&first, false);
    ebb_graph_destroy(second.graph);
}
END_TEST

/* The first reader is computed by a backend that takes no blocks there: the variable is plain. */
START_TEST(readers_without_blocks_choose_too)
{
    ebb_graph *g = ebb_graph_create("first");
    ebb_store *store = ebb_store_create(NULL);
    const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, 32, 8, 8)),
                   w = variable(x, "w", EBB_SHAPE(32, 32, 3, 3)),
                   first = ebb_cumsum(w, ((ebb_cumsum_attrs){ .axis = 0 })),
                   y = ebb_conv2d(x, w, EBB_NONE, SAME);
    const ebb_node fetches[] = { first, y };
    ebb_executable *e = compile_with(
        g, &(ebb_compile_options){ .fetches = fetches, .n_fetches = 2, .store = store });
    ck_assert(!is_blocked(store, "w"));
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

/* ---- memory ---- */

/* Where the store's own entry is what kernels want, there is no second copy of it. */
START_TEST(inference_packs_nothing)
{
    ebb_graph *g = ebb_graph_create("vgg");
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    ebb_store *store = ebb_store_create(&meter.allocator);
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, 3, 32, 32));
    ebb_node y = build_vgg(x, (vgg_options){ .depth = 11, .batch_norm = true, .small_head = true },
                           &(model_options){ .classes = 10 });
    ebb_executable *e =
        compile_with(g, &(ebb_compile_options){ .fetches = &y, .n_fetches = 1, .store = store });
    size_t bytes = 0, largest = 0;
    for (int64_t i = 0; i < ebb_store_size(store); i++) {
        const ebb_store_entry *entry = ebb_store_find(store, ebb_store_name(store, i));
        bytes += ebb_type_bytes(&entry->type);
        largest = ebb_type_bytes(&entry->type) > largest ? ebb_type_bytes(&entry->type) : largest;
    }
    ck_assert_uint_gt(bytes, 30u << 20);
    const size_t most = has_blocks() ? bytes / 100 : 2 * bytes;
    ck_assert_uint_le(ebb_executable_get_stats(e).packed_bytes, most);
    /* One entry more at a time, and what the store needs for itself. */
    ck_assert_uint_le(meter.peak_bytes, bytes + largest + (1 << 20));
    ck_assert_uint_le(meter.live_bytes, bytes + (1 << 20));
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

/* Windows of one tap: in inference a matrix product, from blocks of its own. */
static const struct one_tap {
    int64_t channels, filters, size, stride, begin, end; /* padding */
    bool residual;
} one_taps[] = {
    { 32, 64, 8, 1, 0, 0, false },
    { 64, 64, 7, 1, 0, 0, true },
    { 16, 128, 9, 2, 0, 0, false },
    { 48, 192, 5, 1, 1, 1, false },
    { 64, 64, 1, 1, 0, 0, true },
    { 32, 64, 2, 2, 0, 1, false },   /* as many places as pixels, but others */
    { 128, 64, 80, 2, 0, 0, false }, /* one image after the other: their places are 2 x 0.8 MB */
    { 32, 48, 8, 1, 0, 0, false },   /* too few filters for it */
    { 24, 64, 8, 1, 0, 0, false },   /* channels that do not fill its blocks */
};
enum { N_ONE_TAPS = sizeof one_taps / sizeof *one_taps };

START_TEST(windows_of_one_tap)
{
    const struct one_tap *c = &one_taps[_i];
    ebb_graph *g = ebb_graph_create("one tap");
    const ebb_shape shape = EBB_SHAPE(2, c->channels, c->size, c->size);
    const ebb_node x = ebb_input(g, "x", EBB_F32, shape);
    const ebb_conv_attrs attrs = { .stride = EBB_INTS(c->stride),
                                   .padding = EBB_INTS(c->begin, c->begin, c->end, c->end) };
    ebb_node y =
        ebb_nn_conv(x, c->filters,
                    &(ebb_nn_conv_options){ .name = "c", .window = EBB_INTS(1, 1), .conv = attrs });
    y = ebb_relu(c->residual ? ebb_add(y, x) : y);
    const ebb_node w = ebb_graph_find(g, "c/w"),
                   loss = ebb_reduce_mean(ebb_square(y), EBB_ALL_AXES, false);
    ebb_node dw;
    ck_assert_int_eq(ebb_gradients(loss, &w, 1, &dw), EBB_OK);
    const int64_t n_y = ebb_shape_elements(&ebb_node_type(y)->shape),
                  n_w = c->channels * c->filters;
    ebb_tensor in;
    ck_assert_int_eq(ebb_tensor_init(&in, ebb_type_of(EBB_F32, shape), NULL), EBB_OK);
    for (int64_t i = 0; i < ebb_shape_elements(&shape); i++)
        ebb_tensor_set(&in, i, fmod(0.7548776662 * (double)(i + 1), 1) - 0.5);
    float *values = malloc((size_t)(2 * (n_y + n_w)) * sizeof *values);
    for (int is_reference = 0; is_reference < 2; is_reference++) {
        ebb_store *store = ebb_store_create(NULL);
        ebb_compile_options options = { .fetches = &y,
                                        .n_fetches = 1,
                                        .store = store,
                                        .backend = is_reference ? "reference" : NULL };
        ebb_executable *inference = compile_with(g, &options);
        if (!is_reference && has_blocks() && c->filters % 64 == 0 && c->channels % 16 == 0) {
            const ebb_store_entry *entry = ebb_store_find(store, "c/w");
            ck_assert_uint_eq(ebb_executable_get_stats(inference).packed_bytes, 0);
            ck_assert_int_eq(entry->layout.n_blocks, 2);
            ck_assert_int_eq(entry->layout.blocks[1].size, 64);
            ck_assert_uint_lt(ebb_executable_get_stats(inference).scratch_bytes, 3 << 19);
        }
        /* All directions take what lies so. */
        options.fetches = &dw;
        ebb_executable *training = compile_with(g, &options);
        float *at = values + is_reference * (n_y + n_w);
        run(inference, &FEED(x, in.data), 1, &FETCH(y, at), 1);
        run(training, &FEED(x, in.data), 1, &FETCH(dw, at + n_y), 1);
        ebb_executable_destroy(training);
        ebb_executable_destroy(inference);
        ebb_store_destroy(store);
    }
    check_close(values, values + n_y + n_w, n_y, "y");
    check_close(values + n_y, values + 2 * n_y + n_w, n_w, "gradient");
    free(values);
    ebb_tensor_finish(&in);
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(without_memory)
{
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    ebb_store *store = ebb_store_create(&meter.allocator);
    side s;
    build_side(&s, two_convs, &rules[0]);
    ebb_status status = EBB_OUT_OF_MEMORY;
    int n_failures = 0;
    for (; status == EBB_OUT_OF_MEMORY; n_failures++) {
        ck_assert_int_lt(n_failures, 1000);
        meter.fail_after = n_failures;
        status = ebb_compile(
            s.graph, &(ebb_compile_options){ .fetches = &s.loss, .n_fetches = 1, .store = store },
            &s.step);
        meter.fail_after = -1;
        if (status) {
            CHECK_TEXT(ebb_graph_message(s.graph), "out of memory");
            ck_assert_int_eq(ebb_store_size(store), 0);
        }
    }
    ck_assert_int_eq(status, EBB_OK);
    ck_assert_int_gt(n_failures, 6);
    ebb_tensor w;
    if (has_blocks()) {
        meter.fail_after = 0;
        ck_assert_int_eq(ebb_store_get(store, "w", &w), EBB_OUT_OF_MEMORY);
        CHECK_TEXT(ebb_store_message(store), "a view of \"w\" (55296 bytes)");
        meter.fail_after = -1;
    }
    ck_assert_int_eq(ebb_store_get(store, "w", &w), EBB_OK);
    s.store = store;
    finish_side(&s, true);
    ck_assert_int_eq(meter.n_live, 0);
}
END_TEST

/* A NaN is named by its place in the graph's order. */
START_TEST(not_finite_is_found)
{
    side s;
    ebb_executable *checked;
    open_side(&s, ebb_store_create(NULL), NULL);
    ebb_tensor w;
    ck_assert_int_eq(ebb_store_get(s.store, "w", &w), EBB_OK);
    float *copy = malloc(ebb_type_bytes(&w.type));
    memcpy(copy, w.data, ebb_type_bytes(&w.type));
    copy[((7 * 32 + 21) * 3 + 1) * 3 + 2] = NAN;
    const ebb_tensor value = ebb_tensor_borrow(EBB_F32, w.type.shape, copy);
    ck_assert_int_eq(ebb_store_set(s.store, "w", &value), EBB_OK);
    checked =
        compile_with(s.graph, &(ebb_compile_options){ .store = s.store, .check_finite = true });
    ck_assert_int_eq(ebb_run(checked, &FEED(s.x, images(0)), 1, NULL, 0), EBB_NOT_FINITE);
    CHECK_TEXT(ebb_executable_message(checked), "variable w: element [7,21,1,2] is nan");
    free(copy);
    ebb_executable_destroy(checked);
    finish_side(&s, true);
}
END_TEST

/* Without a store there is a plan all the same. */
START_TEST(plans_need_no_store)
{
    side s;
    build_side(&s, two_convs, &rules[0]);
    ebb_executable *e = compile_with(
        s.graph, &(ebb_compile_options){ .fetches = &s.loss, .n_fetches = 1, .plan_only = true });
    ck_assert_int_le(ebb_executable_get_stats(e).n_reorders, 1); /* of x */
    ck_assert_int_eq(ebb_executable_get_stats(e).n_kernel_reorders, has_blocks() ? 2 : 5);
    ebb_executable_destroy(e);
    ebb_graph_destroy(s.graph);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("homes");
    TCase *c = tcase_create("homes");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, layouts_are_orders, 0, N_LAYOUTS);
    tcase_add_loop_test(c, steps_are_those_of_plain_variables, 0, N_GRAPHS * N_RULES);
    tcase_add_test(c, files_are_plain);
    tcase_add_loop_test(c, executables_share_a_store, 0, 3);
    tcase_add_test(c, layouts_are_chosen_again);
    tcase_add_test(c, readers_without_blocks_choose_too);
    tcase_add_test(c, inference_packs_nothing);
    tcase_add_loop_test(c, windows_of_one_tap, 0, N_ONE_TAPS);
    tcase_add_test(c, without_memory);
    tcase_add_test(c, not_finite_is_found);
    tcase_add_test(c, plans_need_no_store);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
