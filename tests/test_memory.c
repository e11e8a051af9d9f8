/* The memory of executables: the plan that is told before anything is allocated, and that nothing
 * in it overlaps. */
#include "models/models.h"
#include "passes/rematerialize.h"
#include "tests/support/golden.h"
#include "tests/support/runtime.h"

#include <stdlib.h>

/* ---- models ---- */

static ebb_node mlp(ebb_node x, const model_options *options)
{
    ebb_node y = ebb_flatten(x, 1);
    for (int i = 0; i < 6; i++) {
        static const char *const names[] = { "fc1", "fc2", "fc3", "fc4", "fc5", "fc6" };
        y = ebb_nn_linear(y, 256, &(ebb_nn_linear_options){ .name = names[i] });
        y = ebb_tanh(y);
        if (options->training)
            y = ebb_nn_dropout(y, 0.25, &(ebb_nn_dropout_options){ .name = names[i] });
    }
    return y;
}

static ebb_node resnet20(ebb_node x, const model_options *options)
{
    return build_small_resnet(x, 20, true, options);
}

static ebb_node vgg11_small(ebb_node x, const model_options *options)
{
    return build_vgg(x, (vgg_options){ .depth = 11, .batch_norm = true, .small_head = true },
                     options);
}

static ebb_node unet(ebb_node x, const model_options *options)
{
    return build_unet(x, 2, 8, options);
}

/* Values that the gradients of tanh and sigmoid want, behind convolutions. */
static ebb_node smooth_convs(ebb_node x, const model_options *options)
{
    ebb_node y = x;
    (void)options;
    for (int i = 0; i < 6; i++) {
        static const char *const names[] = { "c1", "c2", "c3", "c4", "c5", "c6" };
        y = ebb_nn_conv(y, 16,
                        &(ebb_nn_conv_options){ .name = names[i],
                                                .window = EBB_INTS(3, 3),
                                                .conv = { .padding = EBB_INTS(1) } });
        y = i % 2 ? ebb_tanh(y) : ebb_sigmoid(y);
    }
    return y;
}

static const struct zoo_case {
    const char *name;
    ebb_node (*build)(ebb_node x, const model_options *options);
    int64_t batch, channels, size;
} zoo[] = {
    { "mlp", mlp, 512, 1, 16 },
    { "simple_convnet", build_simple_convnet, 8, 1, 28 },
    { "deep_convnet", build_deep_convnet, 8, 1, 28 },
    { "lenet5", build_lenet5, 8, 1, 28 },
    { "vgg11_small", vgg11_small, 2, 3, 32 },
    { "resnet20", resnet20, 8, 3, 32 },
    { "unet", unet, 2, 1, 32 },
    { "smooth_convs", smooth_convs, 8, 3, 32 },
};
enum { N_ZOO = sizeof zoo / sizeof *zoo };

typedef struct model {
    ebb_graph *graph;
    ebb_node x, y; /* y: the loss in training */
} model;

static model build(const struct zoo_case *c, bool training, ebb_nn_method method)
{
    model m = { .graph = ebb_graph_create(c->name) };
    m.x = ebb_input(m.graph, "x", EBB_F32, EBB_SHAPE(c->batch, c->channels, c->size, c->size));
    m.y = c->build(m.x, &(model_options){ .training = training, .classes = 10 });
    if (training) {
        m.y = ebb_reduce_mean(ebb_square(m.y), EBB_ALL_AXES, false);
        ck_assert_int_eq(ebb_nn_minimize(m.y, &(ebb_nn_rule){ .method = method, .rate = 1e-3 }),
                         EBB_OK);
    }
    ck_assert_msg(ebb_graph_status(m.graph) == EBB_OK, "%s", ebb_graph_message(m.graph));
    return m;
}

/* ---- plans ---- */

static ebb_memory_item *list_items(const ebb_executable *e, int64_t *n)
{
    ebb_memory_item beyond;
    *n = ebb_executable_memory(e).n_items;
    ebb_memory_item *items = malloc((size_t)*n * sizeof *items);
    ck_assert_ptr_nonnull(items);
    for (int64_t i = 0; i < *n; i++) {
        ck_assert(ebb_executable_memory_item(e, i, &items[i]));
        ck_assert_ptr_nonnull(items[i].op);
        ck_assert_ptr_nonnull(items[i].name);
        ck_assert_ptr_nonnull(items[i].scope);
    }
    ck_assert(!ebb_executable_memory_item(e, *n, &beyond));
    ck_assert(!ebb_executable_memory_item(e, -1, &beyond));
    return items;
}

static bool is_in_arena(const ebb_memory_item *item)
{
    return (item->kind == EBB_MEMORY_VALUE || item->kind == EBB_MEMORY_SCRATCH) && item->bytes > 0;
}

/* A result on top of an input of its step that nobody needs any more. */
static bool takes_over(const ebb_memory_item *a, const ebb_memory_item *b)
{
    return a->kind == EBB_MEMORY_VALUE && b->kind == EBB_MEMORY_VALUE && a->first == b->last &&
           a->first > b->first && a->bytes == b->bytes && a->offset_bytes == b->offset_bytes;
}

/* Nothing that is needed at one step overlaps; the arena holds all of it and is hardly larger than
 * what must live: by this n-th part. */
static void check_items(const ebb_executable *e, const char *name, size_t part)
{
    int64_t n;
    ebb_memory_item *items = list_items(e, &n);
    const ebb_memory_plan plan = ebb_executable_memory(e);
    for (int64_t i = 0; i < n; i++) {
        const ebb_memory_item *a = &items[i];
        if (!is_in_arena(a))
            continue;
        ck_assert_uint_eq(a->offset_bytes % EBB_ALIGNMENT, 0);
        ck_assert_uint_le(a->offset_bytes + a->bytes, plan.arena_bytes);
        for (int64_t j = 0; j < i; j++) {
            const ebb_memory_item *b = &items[j];
            const bool together = is_in_arena(b) && a->first <= b->last && b->first <= a->last;
            const bool apart = a->offset_bytes + a->bytes <= b->offset_bytes ||
                               b->offset_bytes + b->bytes <= a->offset_bytes;
            ck_assert_msg(!together || apart || takes_over(a, b) || takes_over(b, a),
                          "%s: %s %s%s and %s %s%s overlap", name, a->op, a->scope, a->name, b->op,
                          b->scope, b->name);
        }
    }
    ck_assert_uint_le(plan.live_bytes, plan.arena_bytes);
    ck_assert_msg(plan.arena_bytes <= plan.live_bytes + plan.live_bytes / part,
                  "%s: an arena of %zu bytes where %zu live", name, plan.arena_bytes,
                  plan.live_bytes);
    ck_assert_uint_eq(plan.peak_bytes, plan.arena_bytes + plan.constant_bytes + plan.packed_bytes);
    free(items);
}

START_TEST(nothing_overlaps)
{
    const struct zoo_case *c = &zoo[_i];
    for (int way = 0; way < 6; way++) {
        const model m = build(c, way % 2, way < 4 ? EBB_NN_ADAM : EBB_NN_SGD);
        ebb_executable *e = compile_with(
            m.graph,
            &(ebb_compile_options){ .fetches = &m.y,
                                    .n_fetches = 1,
                                    .backend = way < 2 ? "reference" : "onednn",
                                    .skip_fusions = way >= 4 ? "join,norms,programs" : NULL,
                                    .n_threads = 2,
                                    .plan_only = true });
        check_items(e, c->name, 16);
        ebb_executable_destroy(e);
        ebb_graph_destroy(m.graph);
    }
}
END_TEST

/* Each gradient goes as soon as its weight has been updated: of six layers of 256 kB not even two
 * gradients are there at once. */
START_TEST(gradients_are_not_kept)
{
    static const ebb_nn_method methods[] = { EBB_NN_SGD, EBB_NN_MOMENTUM, EBB_NN_ADAM };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        struct zoo_case c = zoo[0];
        c.batch = 4;
        const model m = build(&c, true, methods[i]);
        ebb_executable *e = compile_with(
            m.graph, &(ebb_compile_options){
                         .fetches = &m.y, .n_fetches = 1, .n_threads = 1, .plan_only = true });
        ck_assert_uint_lt(ebb_executable_memory(e).arena_bytes, 2 * 256 * 256 * 4);
        ebb_executable_destroy(e);
        ebb_graph_destroy(m.graph);
    }
}
END_TEST

/* The places of the maxima, which only the gradient reads. */
START_TEST(unread_results_have_no_memory)
{
    for (int with_gradient = 0; with_gradient < 2; with_gradient++) {
        ebb_graph *g = ebb_graph_create("pool");
        const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(1, 4, 32, 32));
        ebb_node fetches[2] = { ebb_max_pool(x, (ebb_pool_attrs){ .window = EBB_INTS(2, 2) }) };
        ck_assert_int_eq(ebb_gradients(ebb_reduce_sum(ebb_square(fetches[0]), EBB_ALL_AXES, false),
                                       &x, 1, &fetches[1]),
                         EBB_OK);
        ebb_executable *e = compile_with(g, &(ebb_compile_options){ .fetches = fetches,
                                                                    .n_fetches = 1 + with_gradient,
                                                                    .backend = "onednn",
                                                                    .check_finite = true });
        int64_t n_items, n_places = 0;
        ebb_memory_item *items = list_items(e, &n_items);
        for (int64_t i = 0; i < n_items; i++) {
            if (!items[i].type || items[i].type->dtype != EBB_U8)
                continue;
            n_places++;
            ck_assert_int_eq(items[i].kind, EBB_MEMORY_VALUE);
            ck_assert_uint_eq(items[i].bytes, with_gradient ? 4 * 16 * 16 : 0);
        }
        ck_assert_int_eq(n_places, 1);
        ebb_step_info info;
        ck_assert(ebb_executable_step(e, 0, &info));
        ck_assert_str_eq(info.op, "max_pool");
        ck_assert_uint_eq(info.written_bytes, 4 * 16 * 16 * (with_gradient ? 5 : 4));
        float data[4 * 32 * 32], y[4 * 16 * 16];
        for (int i = 0; i < 4 * 32 * 32; i++)
            data[i] = (float)i;
        run(e, &FEED(x, data), 1, &FETCH(fetches[0], y), 1);
        for (int i = 0; i < 4 * 16 * 16; i++) /* the last of each window */
            ck_assert_float_eq(y[i], (float)(i / 16 * 64 + i % 16 * 2 + 33));
        free(items);
        ebb_executable_destroy(e);
        ebb_graph_destroy(g);
    }
}
END_TEST

START_TEST(plans_come_before_memory)
{
    const model m = build(&zoo[1], true, EBB_NN_ADAM);
    ebb_store *store = ebb_store_create(NULL);
    ebb_compile_options o = { .fetches = &m.y, .n_fetches = 1, .n_threads = 1, .plan_only = true };
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    o.allocator = &meter.allocator;
    ebb_executable *planned = compile_with(m.graph, &o); /* without a store */
    const ebb_memory_plan plan = ebb_executable_memory(planned);
    ck_assert_uint_gt(plan.arena_bytes, 1000000);
    ck_assert_uint_lt(meter.live_bytes, plan.arena_bytes);
    ck_assert_uint_ge(plan.variable_bytes, 3 * 433890 * 4);
    ck_assert_uint_eq(plan.input_bytes, 8 * 28 * 28 * 4);
    o.store = store;
    ebb_executable *e = compile_with(m.graph, &o);
    ck_assert_int_eq(ebb_store_size(store), 0);
    static float data[8 * 28 * 28], loss;
    ck_assert_int_eq(ebb_run(e, &FEED(m.x, data), 1, &FETCH(m.y, &loss), 1), EBB_BAD_ARGUMENT);
    CHECK_TEXT(ebb_executable_message(e), "plan_only");
    ebb_executable_destroy(e);
    o.plan_only = false;
    e = compile_with(m.graph, &o);
    const ebb_memory_plan real = ebb_executable_memory(e);
    ck_assert_mem_eq(&plan, &real, sizeof plan);
    run(e, &FEED(m.x, data), 1, &FETCH(m.y, &loss), 1);
    ebb_executable_destroy(e);
    /* A store with a variable of another shape. */
    ebb_store *other = ebb_store_create(NULL);
    ebb_tensor wrong;
    ck_assert_int_eq(ebb_tensor_init(&wrong, (ebb_type){ EBB_F32, EBB_SHAPE(3) }, NULL), EBB_OK);
    ebb_memory_item item = { .name = "" };
    for (int64_t i = 0; ebb_executable_memory_item(planned, i, &item); i++) {
        if (item.kind == EBB_MEMORY_VARIABLE)
            break;
    }
    ck_assert_int_eq(item.kind, EBB_MEMORY_VARIABLE);
    ck_assert_int_eq(ebb_store_set(other, item.name, &wrong), EBB_OK);
    o.plan_only = true;
    o.store = other;
    refuse(m.graph, &o, EBB_BAD_SHAPE, item.name);
    ebb_tensor_finish(&wrong);
    ebb_executable_destroy(planned);
    ebb_store_destroy(other);
    ebb_store_destroy(store);
    ebb_graph_destroy(m.graph);
}
END_TEST

START_TEST(items_have_names)
{
    small s = make_small();
    ebb_executable *e = compile_with(
        s.graph, &(ebb_compile_options){
                     .fetches = &s.y, .n_fetches = 1, .plan_only = true, .backend = "reference" });
    int64_t n, n_found = 0;
    ebb_memory_item *items = list_items(e, &n);
    for (int64_t i = 0; i < n; i++) {
        const bool is_y = items[i].kind == EBB_MEMORY_VALUE && strcmp(items[i].name, "y") == 0;
        const bool is_w = items[i].kind == EBB_MEMORY_VARIABLE && strcmp(items[i].name, "w") == 0;
        const bool is_x = items[i].kind == EBB_MEMORY_INPUT && strcmp(items[i].name, "x") == 0;
        n_found += is_y + is_w + is_x;
        if (is_y) { /* fetched: stays */
            ck_assert_str_eq(items[i].op, "add");
            ck_assert_int_eq(items[i].last, ebb_executable_get_stats(e).n_steps);
        }
        if (is_y || is_w || is_x) {
            ck_assert_uint_eq(items[i].bytes, 8);
            ck_assert_int_eq(items[i].type->shape.dims[0], 2);
        }
    }
    ck_assert_int_eq(n_found, 3);
    free(items);
    ck_assert_int_eq(ebb_executable_memory(NULL).n_items, 0);
    ck_assert(!ebb_executable_memory_item(NULL, 0, &(ebb_memory_item){ 0 }));
    drop_small(&s, e);
}
END_TEST

/* ---- budgets ---- */

enum { MOST_PARAMETERS = 100, N_STEPS = 3, N_BUDGETED = 5 };

/* A model's loss and the gradients of all its parameters, without updates but those of states. */
typedef struct gradients {
    model m;
    ebb_node nodes[MOST_PARAMETERS + 1];
    int n;
} gradients;

static gradients build_gradients(const struct zoo_case *c)
{
    gradients g = { .m = { .graph = ebb_graph_create(c->name) } };
    model *m = &g.m;
    ebb_node parameters[MOST_PARAMETERS];
    m->x = ebb_input(m->graph, "x", EBB_F32, EBB_SHAPE(c->batch, c->channels, c->size, c->size));
    m->y = c->build(m->x, &(model_options){ .training = true, .classes = 10, .he_init = true });
    m->y = ebb_reduce_mean(ebb_square(m->y), EBB_ALL_AXES, false);
    int n = 0;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(m->graph); id++) {
        const ebb_node node = ebb_graph_node(m->graph, id);
        if (strcmp(ebb_node_op(node)->name, "variable") == 0 &&
            ebb_node_type(node)->dtype == EBB_F32 &&
            strncmp(ebb_node_name(node), "running_", 8) != 0)
            parameters[n++] = node;
    }
    ck_assert_int_le(n, MOST_PARAMETERS);
    g.nodes[0] = m->y;
    ck_assert_int_eq(ebb_gradients(m->y, parameters, n, &g.nodes[1]), EBB_OK);
    g.n = n + 1;
    return g;
}

static float *make_x(const model *m)
{
    const int64_t n = ebb_shape_elements(&ebb_node_type(m->x)->shape);
    float *data = malloc((size_t)n * sizeof *data);
    ck_assert_ptr_nonnull(data);
    for (int64_t i = 0; i < n; i++)
        data[i] = (float)(i * 7919 % 1009) / 1009 - 0.5F;
    return data;
}

/* Runs N_STEPS times; the values of `nodes`, one after the other, of each run. */
static char *run_steps(ebb_executable *e, const model *m, const ebb_node *nodes, int n,
                       size_t *n_bytes)
{
    ebb_fetch fetches[MOST_PARAMETERS + 1];
    size_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += ebb_type_bytes(ebb_node_type(nodes[i]));
    char *values = malloc(N_STEPS * bytes), *at = values;
    float *x = make_x(m);
    for (int step = 0; step < N_STEPS; step++) {
        for (int i = 0; i < n; i++) {
            fetches[i] = FETCH(nodes[i], at);
            at += ebb_type_bytes(ebb_node_type(nodes[i]));
        }
        run(e, &FEED(m->x, x), 1, fetches, n);
    }
    free(x);
    *n_bytes = N_STEPS * bytes;
    return values;
}

/* All values of a store, bit for bit. */
static void check_stores(ebb_store *a, ebb_store *b)
{
    ck_assert_int_eq(ebb_store_size(a), ebb_store_size(b));
    for (int64_t i = 0; i < ebb_store_size(a); i++) {
        ebb_tensor x, y;
        ck_assert_int_eq(ebb_store_get(a, ebb_store_name(a, i), &x), EBB_OK);
        ck_assert_int_eq(ebb_store_get(b, ebb_store_name(a, i), &y), EBB_OK);
        ck_assert_msg(memcmp(x.data, y.data, ebb_type_bytes(&x.type)) == 0, "%s differs",
                      ebb_store_name(a, i));
    }
}

/* Within a budget everything is the same bit for bit: loss and gradients, or the weights behind
 * some steps of Adam; dropout draws the same numbers. */
static bool check_budget(const struct zoo_case *c, const model *m, const ebb_node *nodes, int n,
                         double share, const char *skip_fusions)
{
    ebb_store *stores[2] = { ebb_store_create(NULL), ebb_store_create(NULL) };
    ebb_compile_options o = {
        .fetches = nodes, .n_fetches = n, .n_threads = 2, .skip_fusions = skip_fusions
    };
    ebb_executable *e[2] = { NULL, NULL };
    char *values[2] = { NULL, NULL };
    size_t n_bytes = 0;
    o.store = stores[0];
    e[0] = compile_with(m->graph, &o);
    const size_t peak = ebb_executable_memory(e[0]).peak_bytes;
    o.store = stores[1];
    o.memory_budget = (int64_t)((double)peak * share);
    const ebb_status status = ebb_compile(m->graph, &o, &e[1]);
    const bool fits = status == EBB_OK;
    if (fits) {
        const ebb_memory_plan plan = ebb_executable_memory(e[1]);
        ck_assert_uint_le(plan.peak_bytes, (size_t)o.memory_budget);
        ck_assert_int_gt(plan.n_recomputed, 0);
        ck_assert(plan.more_work > 0 && plan.more_work < 1);
        check_items(e[1], c->name, 8);
        for (int i = 0; i < 2; i++)
            values[i] = run_steps(e[i], m, nodes, n, &n_bytes);
        ck_assert_msg(memcmp(values[0], values[1], n_bytes) == 0, "%s: other bits at %.2f", c->name,
                      share);
        check_stores(stores[0], stores[1]);
    } else {
        char budget[100];
        snprintf(budget, sizeof budget, "the memory budget of %lld bytes cannot be met",
                 (long long)o.memory_budget);
        ck_assert_int_eq(status, EBB_LIMIT);
        CHECK_TEXT(ebb_graph_message(m->graph), budget);
        const char *least = strstr(ebb_graph_message(m->graph), "at least ");
        ck_assert_ptr_nonnull(least);
        const long long smallest = atoll(least + strlen("at least "));
        ck_assert(smallest > o.memory_budget && smallest <= (long long)peak);
    }
    for (int i = 0; i < 2; i++) {
        free(values[i]);
        ebb_executable_destroy(e[i]);
        ebb_store_destroy(stores[i]);
    }
    return fits;
}

START_TEST(budgets)
{
    static const double shares[] = { 0.95, 0.8, 0.65, 0.5 };
    static const char *const names[N_BUDGETED] = { "mlp", "deep_convnet", "resnet20", "unet",
                                                   "smooth_convs" };
    const struct zoo_case *c = zoo;
    while (strcmp(c->name, names[_i]) != 0)
        c++;
    int n_fit = 0;
    for (size_t s = 0; s < sizeof shares / sizeof *shares; s++) {
        const gradients g = build_gradients(c);
        n_fit +=
            check_budget(c, &g.m, g.nodes, g.n, shares[s], s % 2 ? "join,norms,programs" : NULL);
        ebb_graph_destroy(g.m.graph);
        const model m = build(c, true, EBB_NN_ADAM);
        n_fit += check_budget(c, &m, &m.y, 1, shares[s], NULL);
        ebb_graph_destroy(m.graph);
    }
    printf("%s: %d of 8 budgets fit\n", c->name, n_fit);
    ck_assert_int_ge(n_fit, 3);
}
END_TEST

/* The most steps for which a gradient of a convolution's weight is kept. *n_joined: results of
 * gradients of batch_norm that take the mask of a relu in. */
static int64_t longest_gradient(const model *m, double share, int *n_joined)
{
    ebb_compile_options o = { .fetches = &m->y, .n_fetches = 1, .n_threads = 1, .plan_only = true };
    ebb_executable *e = compile_with(m->graph, &o);
    if (share < 1) {
        o.memory_budget = (int64_t)((double)ebb_executable_memory(e).peak_bytes * share);
        ebb_executable_destroy(e);
        e = compile_with(m->graph, &o);
        ck_assert_int_gt(ebb_executable_memory(e).n_recomputed, 0);
    }
    int64_t n, longest = 0;
    ebb_memory_item *items = list_items(e, &n);
    *n_joined = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t steps = items[i].last - items[i].first;
        *n_joined += !strcmp(items[i].op, "batch_norm_relu_grad");
        if (items[i].kind == EBB_MEMORY_VALUE && !strcmp(items[i].name, "grad(w)") &&
            steps > longest)
            longest = steps;
    }
    free(items);
    ebb_executable_destroy(e);
    return longest;
}

/* Within a budget, too, gradients go as soon as the updates have used them: what an update makes of
 * momenta alone is not computed again behind the backward part. And most masks are joined,
 * also those of what is computed again. */
START_TEST(gradients_are_not_kept_within_budgets)
{
    static const ebb_nn_method methods[] = { EBB_NN_MOMENTUM, EBB_NN_ADAM };
    const struct zoo_case *c = zoo;
    while (strcmp(c->name, "resnet20") != 0)
        c++;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        const model m = build(c, true, methods[i]);
        int n_plain, n_joined;
        const int64_t plain = longest_gradient(&m, 1, &n_plain);
        ck_assert_int_gt(plain, 0);
        ck_assert_int_gt(n_plain, 0);
        for (double share = 0.9; share > 0.55; share -= 0.1) {
            const int64_t longest = longest_gradient(&m, share, &n_joined);
            ck_assert_int_ge(n_joined, n_plain / 2);
            ck_assert_msg(longest <= plain + 4, "%lld steps at %.1f instead of %lld",
                          (long long)longest, share, (long long)plain);
        }
        ebb_graph_destroy(m.graph);
    }
}
END_TEST

/* Without a budget, what costs next to nothing is computed again if that is worth it; the bits are
 * the same. */
START_TEST(next_to_nothing)
{
    static const struct case_gain {
        const char *name;
        int64_t batch;
        bool gains;
    } cases[] = { { "resnet20", 16, true },
                  { "smooth_convs", 16, false }, /* tanh of what is not kept */
                  { "resnet20", 2, false } /* too small */ };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const struct zoo_case *found = zoo;
        while (strcmp(found->name, cases[k].name) != 0)
            found++;
        struct zoo_case c = *found;
        c.batch = cases[k].batch;
        const gradients g = build_gradients(&c);
        ebb_store *stores[2] = { ebb_store_create(NULL), ebb_store_create(NULL) };
        ebb_executable *e[2];
        ebb_memory_plan plans[2];
        char *values[2];
        size_t n_bytes = 0;
        for (int i = 0; i < 2; i++) {
            e[i] =
                compile_with(g.m.graph, &(ebb_compile_options){ .fetches = g.nodes,
                                                                .n_fetches = g.n,
                                                                .n_threads = 2,
                                                                .memory_budget = i ? INT64_MAX : 0,
                                                                .store = stores[i] });
            plans[i] = ebb_executable_memory(e[i]);
            values[i] = run_steps(e[i], &g.m, g.nodes, g.n, &n_bytes);
        }
        ck_assert_int_eq(plans[1].n_recomputed, 0);
        ck_assert_int_eq(plans[0].n_recomputed > 0, cases[k].gains);
        if (cases[k].gains) {
            check_items(e[0], c.name, 8);
            ck_assert_uint_lt(plans[0].peak_bytes, plans[1].peak_bytes / 32 * 31);
            ck_assert(plans[0].more_work > 0 && plans[0].more_work <= 0.015);
        } else {
            ck_assert_uint_eq(plans[0].peak_bytes, plans[1].peak_bytes);
        }
        ck_assert_msg(memcmp(values[0], values[1], n_bytes) == 0, "%s: other bits", c.name);
        for (int i = 0; i < 2; i++) {
            free(values[i]);
            ebb_executable_destroy(e[i]);
            ebb_store_destroy(stores[i]);
        }
        ebb_graph_destroy(g.m.graph);
    }
}
END_TEST

START_TEST(bad_budgets)
{
    const model m = build(&zoo[0], true, EBB_NN_SGD);
    ebb_compile_options o = { .fetches = &m.y, .n_fetches = 1, .plan_only = true };
    o.memory_budget = -1;
    refuse(m.graph, &o, EBB_BAD_ARGUMENT, "a memory budget of -1 bytes");
    o.memory_budget = INT64_MIN;
    refuse(m.graph, &o, EBB_BAD_ARGUMENT, "a memory budget of -9223372036854775808 bytes");
    o.memory_budget = 1;
    refuse(m.graph, &o, EBB_LIMIT, "the memory budget of 1 bytes cannot be met: graph \"mlp\"");
    o.memory_budget = INT64_MAX;
    ebb_executable *e = compile_with(m.graph, &o);
    ck_assert_int_eq(ebb_executable_memory(e).n_recomputed, 0);
    ebb_executable_destroy(e);
    ebb_graph_destroy(m.graph);
}
END_TEST

/* Wherever memory runs out in the search, the status says so and nothing leaks. */
START_TEST(budgets_without_memory)
{
    struct zoo_case c = zoo[0];
    c.batch = 512; /* so that values count, not weights */
    const model m = build(&c, true, EBB_NN_SGD);
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    ebb_compile_options o = {
        .fetches = &m.y, .n_fetches = 1, .plan_only = true, .allocator = &meter.allocator
    };
    ebb_executable *e = compile_with(m.graph, &o);
    o.memory_budget = (int64_t)(ebb_executable_memory(e).peak_bytes * 9 / 10);
    ebb_executable_destroy(e);
    int n_failed = 0;
    ebb_status status = EBB_OUT_OF_MEMORY;
    for (int64_t after = 0; status; after += 1 + after / 20) {
        meter.fail_after = after;
        status = ebb_compile(m.graph, &o, &e);
        n_failed += status == EBB_OUT_OF_MEMORY;
        ck_assert(status == EBB_OK || status == EBB_OUT_OF_MEMORY);
        if (status)
            ck_assert_int_eq(meter.n_live, 0);
    }
    ck_assert_int_gt(n_failed, 50);
    ck_assert_int_gt(ebb_executable_memory(e).n_recomputed, 0);
    ebb_executable_destroy(e);
    ck_assert_int_eq(meter.n_live, 0);
    ebb_graph_destroy(m.graph);
}
END_TEST

/* ---- the pass ---- */

/* The matrix product is needed by the backward part anyway, so exp and tanh are computed there
 * again
 * (%11, %12), behind the last dear thing that is done, and the forward ones need not be kept. The
 * relu of the second product would need that product: it is kept, unless everything between two
 * segments may be computed again. */
static const char before[] = "graph \"g\"\n"
                             "%1 = input {name=\"x\"} : f32[64,8]\n"
                             "%2 = variable {name=\"w\"} : f32[8,8]\n"
                             "%3 = matmul %1 %2 : f32[64,8]\n"
                             "%4 = exp %3 : f32[64,8] @e\n"
                             "%5 = tanh %4 : f32[64,8]\n"
                             "%6 = matmul %5 %2 : f32[64,8]\n"
                             "%7 = relu %6 : f32[64,8]\n"
                             "%8 = matmul %7 %2 : f32[64,8] !backward\n"
                             "%9 = mul %8 %7 : f32[64,8] !backward\n"
                             "%10 = mul %9 %5 : f32[64,8] !backward\n"
                             "%11 = mul %10 %3 : f32[64,8] @out !backward\n";

static const char behind[] = "graph \"g\"\n"
                             "%1 = input {name=\"x\"} : f32[64,8]\n"
                             "%2 = variable {name=\"w\"} : f32[8,8]\n"
                             "%3 = matmul %1 %2 : f32[64,8]\n"
                             "%4 = exp %3 : f32[64,8] @e\n"
                             "%5 = tanh %4 : f32[64,8]\n"
                             "%6 = matmul %5 %2 : f32[64,8]\n"
                             "%7 = relu %6 : f32[64,8]\n"
                             "%8 = matmul %7 %2 : f32[64,8] !backward\n"
                             "%9 = mul %8 %7 : f32[64,8] !backward\n"
                             "%10 = after %3 %8 : f32[64,8] !backward\n"
                             "%11 = exp %10 : f32[64,8] !backward\n"
                             "%12 = tanh %11 : f32[64,8] !backward\n"
                             "%13 = mul %9 %12 : f32[64,8] !backward\n"
                             "%14 = mul %13 %3 : f32[64,8] @out !backward\n";

static void rematerialize(const ebb_rematerialize *options, const char *expected, int n_nodes)
{
    ebb_graph *graph = golden_parse(before), *result;
    ebb_error error;
    uint32_t map[20];
    const ebb_node out = ebb_graph_node(graph, ebb_graph_n_nodes(graph));
    ebb_rematerialize_cost cost;
    ck_assert_int_eq(ebb_rematerialize_run(options, graph, &out, 1, &result, map, &cost, &error),
                     EBB_OK);
    ck_assert_int_eq(cost.n_nodes, n_nodes);
    if (expected) {
        char *text = golden_print(result);
        ck_assert_str_eq(text, expected);
        const ebb_node last = ebb_graph_node(result, map[out.id]);
        ck_assert_str_eq(ebb_node_name(last), "out");
        free(text);
    } else {
        ck_assert_ptr_null(result);
    }
    ebb_graph_destroy(result);
    ebb_graph_destroy(graph);
}

START_TEST(pass_is_as_written)
{
    rematerialize(&(ebb_rematerialize){ .what = EBB_RECOMPUTE_NOTHING }, NULL, 0);
    rematerialize(&(ebb_rematerialize){ .what = EBB_RECOMPUTE_ELEMENTWISE }, behind, 2);
    rematerialize(&(ebb_rematerialize){ .what = EBB_RECOMPUTE_CHEAP, .most_more = 1 }, NULL, 0);
}
END_TEST

/* The product is small, but dear: it is kept, and only what follows from it is computed again. */
START_TEST(what_is_dear_is_kept)
{
    ebb_graph *graph = golden_parse("graph \"g\"\n"
                                    "%1 = input {name=\"x\"} : f32[256,256]\n"
                                    "%2 = variable {name=\"w\"} : f32[256,1]\n"
                                    "%3 = matmul %1 %2 : f32[256,1]\n"
                                    "%4 = broadcast_to %3 {shape=[256,256]} : f32[256,256]\n"
                                    "%5 = mul %1 %4 : f32[256,256]\n"
                                    "%6 = matmul %5 %5 : f32[256,256] @out !backward\n"),
              *result;
    const ebb_rematerialize options = { .what = EBB_RECOMPUTE_CHEAP, .most_more = 1 };
    const ebb_node out = ebb_graph_node(graph, ebb_graph_n_nodes(graph));
    ebb_rematerialize_cost cost;
    ebb_error error;
    uint32_t map[20];
    ck_assert_int_eq(ebb_rematerialize_run(&options, graph, &out, 1, &result, map, &cost, &error),
                     EBB_OK);
    ck_assert_ptr_nonnull(result);
    ck_assert_int_eq(cost.n_nodes, 1);
    ebb_graph_destroy(result);
    ebb_graph_destroy(graph);
}
END_TEST

/* ---- the default allocator ---- */

/* Below, at and above where blocks come from the system, and where they ask for huge pages. */
START_TEST(large_blocks)
{
    static const size_t sizes[] = {
        0, 1, (256 << 10) - 1, 256 << 10, (1 << 20) + 1, (8 << 20) - 1, 8 << 20, (9 << 20) + 5
    };
    enum { N = sizeof sizes / sizeof *sizes };
    unsigned char *blocks[N];
    for (int i = 0; i < N; i++) {
        blocks[i] = ebb_allocate(NULL, sizes[i]);
        ck_assert_ptr_nonnull(blocks[i]);
        ck_assert_uint_eq((uintptr_t)blocks[i] % EBB_ALIGNMENT, 0);
        memset(blocks[i], i, sizes[i]);
    }
    for (int i = 0; i < N; i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            if (blocks[i][k] != i)
                ck_abort_msg("byte %zu of block %d is %d", k, i, blocks[i][k]);
        ebb_release(NULL, blocks[i], sizes[i]);
    }
#ifndef __SANITIZE_ADDRESS__ /* which ends the program there */
    ck_assert_ptr_null(ebb_allocate(NULL, SIZE_MAX / 4));
#endif
    ck_assert_ptr_null(ebb_allocate(NULL, SIZE_MAX));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *allocator = tcase_create("allocator");
    tcase_add_test(allocator, large_blocks);
    suite_add_tcase(suite, allocator);
    TCase *plans = tcase_create("plans");
    tcase_set_timeout(plans, 120);
    tcase_add_loop_test(plans, nothing_overlaps, 0, N_ZOO);
    tcase_add_test(plans, gradients_are_not_kept);
    tcase_add_test(plans, unread_results_have_no_memory);
    tcase_add_test(plans, plans_come_before_memory);
    tcase_add_test(plans, items_have_names);
    suite_add_tcase(suite, plans);
    TCase *fits = tcase_create("budgets");
    tcase_set_timeout(fits, 240);
    tcase_add_loop_test(fits, budgets, 0, N_BUDGETED);
    tcase_add_test(fits, gradients_are_not_kept_within_budgets);
    tcase_add_test(fits, next_to_nothing);
    tcase_add_test(fits, pass_is_as_written);
    tcase_add_test(fits, what_is_dear_is_kept);
    tcase_add_test(fits, bad_budgets);
    tcase_add_test(fits, budgets_without_memory);
    suite_add_tcase(suite, fits);
    return run_suite(suite);
}
