/* The memory of executables: the plan that is told before anything is allocated, and that nothing
 * in it overlaps. */
#include "models/models.h"
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

static const struct zoo_case {
    const char *name;
    ebb_node (*build)(ebb_node x, const model_options *options);
    int64_t batch, channels, size;
} zoo[] = {
    { "mlp", mlp, 64, 1, 16 },
    { "simple_convnet", build_simple_convnet, 8, 1, 28 },
    { "deep_convnet", build_deep_convnet, 8, 1, 28 },
    { "lenet5", build_lenet5, 8, 1, 28 },
    { "vgg11_small", vgg11_small, 2, 3, 32 },
    { "resnet20", resnet20, 8, 3, 32 },
    { "unet", unet, 2, 1, 32 },
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
 * what must live. */
static void check_items(const ebb_executable *e, const char *name)
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
    ck_assert_msg(plan.arena_bytes <= plan.live_bytes + plan.live_bytes / 16,
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
            m.graph, &(ebb_compile_options){ .fetches = &m.y,
                                             .n_fetches = 1,
                                             .backend = way < 2 ? "reference" : "onednn",
                                             .skip_fusion = way >= 4,
                                             .n_threads = 2,
                                             .plan_only = true });
        check_items(e, c->name);
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

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *plans = tcase_create("plans");
    tcase_set_timeout(plans, 120);
    tcase_add_loop_test(plans, nothing_overlaps, 0, N_ZOO);
    tcase_add_test(plans, gradients_are_not_kept);
    tcase_add_test(plans, plans_come_before_memory);
    tcase_add_test(plans, items_have_names);
    suite_add_tcase(suite, plans);
    return run_suite(suite);
}
