/* Frozen models compute what their graphs do; their files come back, and broken ones are refused.
 */
#include "models/models.h"
#include "tests/support/failure.h"
#include "tests/support/files.h"

#include <ebb/ebb.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the models ---- */

static ebb_node alexnet(ebb_node x, const model_options *options)
{
    return build_alexnet(x, true, options);
}

static ebb_node vgg11(ebb_node x, const model_options *options)
{
    return build_vgg(x, (vgg_options){ .depth = 11, .batch_norm = true, .small_head = true },
                     options);
}

static ebb_node googlenet(ebb_node x, const model_options *options)
{
    return build_googlenet(x, NULL, options);
}

static ebb_node resnet18(ebb_node x, const model_options *options)
{
    return build_resnet(x, (resnet_options){ .depth = 18 }, options);
}

static ebb_node resnet50(ebb_node x, const model_options *options)
{
    return build_resnet(x, (resnet_options){ .depth = 50 }, options);
}

static ebb_node resnet20(ebb_node x, const model_options *options)
{
    return build_small_resnet(x, 20, true, options);
}

static ebb_node unet(ebb_node x, const model_options *options)
{
    return build_unet(x, 2, 8, options);
}

/* Linear layers with batch norm between, with and without bias, and dropout of both forms. */
static ebb_node mlp(ebb_node x, const model_options *o)
{
    ebb_node y = ebb_flatten(x, 1);
    y = ebb_nn_linear(y, 20, &(ebb_nn_linear_options){ .name = "a" });
    y = ebb_nn_batch_norm(y,
                          &(ebb_nn_batch_norm_options){ .name = "n1", .inference = !o->training });
    y = ebb_nn_dropout(ebb_relu(y), 0.5,
                       &(ebb_nn_dropout_options){ .name = "d1", .inference = !o->training });
    y = ebb_nn_linear(y, 20, &(ebb_nn_linear_options){ .name = "b", .no_bias = true });
    y = ebb_nn_batch_norm(y, &(ebb_nn_batch_norm_options){ .name = "n2",
                                                           .inference = !o->training,
                                                           .biased_running_variance = true });
    y = ebb_nn_dropout(
        ebb_relu(y), 0.25,
        &(ebb_nn_dropout_options){ .name = "d2", .unscaled = true, .inference = !o->training });
    return ebb_nn_linear(y, 10, &(ebb_nn_linear_options){ .name = "c" });
}

static const struct model_case {
    const char *name;
    ebb_node (*build)(ebb_node x, const model_options *options);
    int64_t channels, size;
} models[] = {
    { "mlp", mlp, 1, 8 },
    { "simple_convnet", build_simple_convnet, 1, 28 },
    { "deep_convnet", build_deep_convnet, 1, 28 },
    { "lenet5", build_lenet5, 1, 28 },
    { "lenet5_1998", build_lenet5_1998, 1, 28 },
    { "alexnet", alexnet, 3, 224 },
    { "vgg11", vgg11, 3, 32 },
    { "googlenet", googlenet, 3, 224 },
    { "resnet18", resnet18, 3, 64 },
    { "resnet50", resnet50, 3, 64 },
    { "resnet20", resnet20, 3, 32 },
    { "mobilenet", build_mobilenet, 3, 64 },
    { "unet", unet, 1, 32 },
};
enum { N_MODELS = sizeof models / sizeof *models };

static ebb_node build(const struct model_case *c, ebb_graph *g, bool training)
{
    const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, c->channels, c->size, c->size));
    const model_options options = { .training = training, .he_init = true, .seed = 7 };
    const ebb_node y = ebb_named(c->build(x, &options), "scores");
    ck_assert_msg(ebb_graph_status(g) == EBB_OK, "%s: %s", c->name, ebb_graph_message(g));
    return y;
}

/* Statistics, scales and biases as if there had been a training. */
static void shake(ebb_store *store)
{
    for (int64_t i = 0; i < ebb_store_size(store); i++) {
        const char *name = ebb_store_name(store, i), *last = strrchr(name, '/') + 1;
        const double low =
            strcmp(last, "scale") == 0 || strcmp(last, "running_variance") == 0 ? 0.6 : -0.2;
        ebb_tensor value;
        ck_assert_int_eq(ebb_store_get(store, name, &value), EBB_OK);
        if (strcmp(last, "w") == 0 || value.type.dtype != EBB_F32)
            continue;
        for (int64_t k = 0; k < ebb_shape_elements(&value.type.shape); k++)
            ebb_tensor_set(&value, k,
                           low + 0.4 * fmod(0.61803398875 * (double)(k + 1) + (double)i, 1));
        ck_assert_int_eq(ebb_store_set(store, name, &value), EBB_OK);
    }
}

/* The first output for an input of fixed numbers. Finish it. */
static ebb_tensor compute(ebb_graph *g, ebb_node x, ebb_node y, ebb_store *store)
{
    ebb_executable *executable;
    ebb_tensor in, out;
    const ebb_status status = ebb_compile(
        g,
        &(ebb_compile_options){
            .fetches = &y, .n_fetches = 1, .store = store, .skip_updates = true, .n_threads = 1 },
        &executable);
    ck_assert_msg(status == EBB_OK, "%s", ebb_graph_message(g));
    shake(store);
    ck_assert_int_eq(ebb_tensor_init(&in, *ebb_node_type(x), NULL), EBB_OK);
    ck_assert_int_eq(ebb_tensor_init(&out, *ebb_node_type(y), NULL), EBB_OK);
    for (int64_t i = 0; i < ebb_shape_elements(&in.type.shape); i++)
        ebb_tensor_set(&in, i, fmod(0.7548776662 * (double)(i + 1), 1) - 0.5);
    ck_assert_msg(ebb_run(executable, &(ebb_feed){ x, in }, 1, &(ebb_fetch){ y, out }, 1) == EBB_OK,
                  "%s", ebb_executable_message(executable));
    ebb_executable_destroy(executable);
    ebb_tensor_finish(&in);
    return out;
}

static ebb_tensor compute_model(const ebb_model *model)
{
    ck_assert_int_eq(model->n_inputs, 1);
    ck_assert_int_eq(model->n_outputs, 1);
    ck_assert_int_eq(ebb_model_find(model, "x").id, model->inputs[0].id);
    ebb_executable *executable;
    ebb_tensor in, out;
    const ebb_status status = ebb_compile(
        model->graph,
        &(ebb_compile_options){
            .fetches = model->outputs, .n_fetches = 1, .store = model->store, .n_threads = 1 },
        &executable);
    ck_assert_msg(status == EBB_OK, "%s", ebb_graph_message(model->graph));
    ck_assert_int_eq(ebb_tensor_init(&in, *ebb_node_type(model->inputs[0]), NULL), EBB_OK);
    ck_assert_int_eq(ebb_tensor_init(&out, *ebb_node_type(model->outputs[0]), NULL), EBB_OK);
    for (int64_t i = 0; i < ebb_shape_elements(&in.type.shape); i++)
        ebb_tensor_set(&in, i, fmod(0.7548776662 * (double)(i + 1), 1) - 0.5);
    ck_assert_msg(ebb_run(executable, &(ebb_feed){ model->inputs[0], in }, 1,
                          &(ebb_fetch){ model->outputs[0], out }, 1) == EBB_OK,
                  "%s", ebb_executable_message(executable));
    ebb_executable_destroy(executable);
    ebb_tensor_finish(&in);
    return out;
}

static double worst_error(const ebb_tensor *a, const ebb_tensor *b)
{
    double most = 0, worst = 0;
    ck_assert(ebb_type_equal(&a->type, &b->type));
    for (int64_t i = 0; i < ebb_shape_elements(&a->type.shape); i++) {
        const double x = ebb_tensor_get(a, i), y = ebb_tensor_get(b, i);
        ck_assert(isfinite(x) && isfinite(y));
        most = fmax(most, fabs(x));
        worst = fmax(worst, fabs(x - y));
    }
    ck_assert(most > 0);
    return worst / most;
}

static int count_ops(const ebb_graph *graph, const char *name)
{
    int n = 0;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(graph); id++)
        n += strcmp(ebb_node_op(ebb_graph_node(graph, id))->name, name) == 0;
    return n;
}

static ebb_store *copy_store(ebb_store *from, const ebb_allocator *allocator)
{
    ebb_store *to = ebb_store_create(allocator);
    for (int64_t i = 0; i < ebb_store_size(from); i++) {
        ebb_tensor value;
        ck_assert_int_eq(ebb_store_get(from, ebb_store_name(from, i), &value), EBB_OK);
        ck_assert_int_eq(ebb_store_set(to, ebb_store_name(from, i), &value), EBB_OK);
    }
    return to;
}

/* The same names and bits. */
static void expect_equal_stores(ebb_store *a, ebb_store *b)
{
    ck_assert_int_eq(ebb_store_size(a), ebb_store_size(b));
    for (int64_t i = 0; i < ebb_store_size(a); i++) {
        ebb_tensor x, y;
        ck_assert_int_eq(ebb_store_get(a, ebb_store_name(a, i), &x), EBB_OK);
        ck_assert_int_eq(ebb_store_get(b, ebb_store_name(a, i), &y), EBB_OK);
        ck_assert_mem_eq(x.data, y.data, ebb_tensor_bytes(&x));
    }
}

/* A store that is given away makes the same model, with less memory. */
static void freeze_copy(ebb_node y, ebb_store *store)
{
    ebb_memory_meter meters[2];
    ebb_model *made[2];
    for (int is_taken = 0; is_taken < 2; is_taken++) {
        ebb_memory_meter *meter = &meters[is_taken];
        ebb_memory_meter_init(meter, NULL);
        ebb_store *copy = copy_store(store, &meter->allocator);
        meter->peak_bytes = meter->live_bytes;
        if (is_taken)
            expect_good(ebb_model_freeze_store(&y, 1, &copy, &made[1], &error));
        else
            expect_good(ebb_model_freeze(&y, 1, copy, &meter->allocator, &made[0], &error));
        ck_assert_int_eq(copy == NULL, is_taken);
        ebb_store_destroy(copy);
    }
    ck_assert_uint_lt(meters[1].peak_bytes, meters[0].peak_bytes);
    expect_equal_stores(made[0]->store, made[1]->store);
    for (int i = 0; i < 2; i++) {
        ebb_model_destroy(made[i]);
        ck_assert_int_eq(meters[i].n_live, 0);
    }
}

START_TEST(frozen_models_compute_the_same)
{
    const struct model_case *c = &models[_i];
    ebb_store *store = ebb_store_create(NULL);
    ebb_graph *g = ebb_graph_create(c->name), *training = ebb_graph_create(c->name);
    const ebb_node y = build(c, g, false), trained = build(c, training, true);
    ebb_tensor expected = compute(g, ebb_graph_find(g, "x"), y, store);
    const int64_t n_before = ebb_store_size(store);

    ebb_model *model, *loaded;
    expect_good(ebb_model_freeze(&y, 1, store, NULL, &model, &error));
    ck_assert_int_eq(ebb_store_size(store), n_before);
    ck_assert_int_eq(count_ops(model->graph, "batch_norm_inference"), 0);
    freeze_copy(y, store);
    ebb_tensor frozen = compute_model(model);
    const double first = worst_error(&expected, &frozen);
    ck_assert_msg(first <= 1e-5, "%s: frozen %g", c->name, first);

    /* the file gives the same bits */
    const char *path = file_path("model.safetensors");
    expect_good(ebb_model_save(model, path, &error));
    expect_good(ebb_model_load(path, NULL, &loaded, &error));
    ebb_tensor again = compute_model(loaded);
    ck_assert_mem_eq(again.data, frozen.data, ebb_tensor_bytes(&frozen));
    ck_assert_str_eq(ebb_node_name(loaded->outputs[0]), ebb_node_name(model->outputs[0]));
    ebb_tensor_finish(&again);
    ebb_model_destroy(loaded);
    ebb_model_destroy(model);

    /* the graph for training gives the same model, whatever stands behind its scores */
    const ebb_node t = ebb_input(training, "t", EBB_I64, EBB_SHAPE(2));
    if (ebb_node_type(trained)->shape.rank == 2)
        ck_assert_int_eq(
            ebb_nn_minimize(ebb_softmax_cross_entropy(trained, t), &(ebb_nn_rule){ .rate = 0.1 }),
            EBB_OK);
    expect_good(ebb_model_freeze(&trained, 1, store, NULL, &model, &error));
    ck_assert_int_eq(count_ops(model->graph, "dropout"), 0);
    ck_assert_int_eq(count_ops(model->graph, "batch_norm"), 0);
    again = compute_model(model);
    const double second = worst_error(&expected, &again);
    ck_assert_msg(second <= 1e-5, "%s: frozen from training %g", c->name, second);
    ebb_tensor_finish(&again);
    ebb_model_destroy(model);
    ebb_tensor_finish(&frozen);
    ebb_tensor_finish(&expected);
    ebb_graph_destroy(g);
    ebb_graph_destroy(training);
    ebb_store_destroy(store);
}
END_TEST

/* ---- a small one, to look into ---- */

static const float w_values[4] = { 1, 2, 3, 4 }, s_values[2] = { 0.5f, -2 };

static ebb_store *small_store(void)
{
    ebb_store *store = ebb_store_create(NULL);
    ebb_tensor w = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2, 2), w_values),
               s = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2), s_values);
    ck_assert_int_eq(ebb_store_set(store, "fc/w", &w), EBB_OK);
    ck_assert_int_eq(ebb_store_set(store, "fc/s", &s), EBB_OK);
    return store;
}

/* y = x (w * s) + s; w itself is an output too. */
static ebb_graph *small_graph(ebb_node outputs[2])
{
    ebb_graph *g = ebb_graph_create("small \"\\\n\xc3\xa4");
    const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(1, 2));
    ebb_scope_push(g, "fc");
    const ebb_node w = ebb_variable(g, "w", EBB_F32, EBB_SHAPE(2, 2), NULL);
    const ebb_node s = ebb_variable(g, "s", EBB_F32, EBB_SHAPE(2), NULL);
    outputs[0] = ebb_named(ebb_add(ebb_matmul(x, ebb_mul(w, s)), s), "y");
    ebb_scope_pop(g);
    outputs[1] = w;
    ck_assert_int_eq(ebb_graph_status(g), EBB_OK);
    return g;
}

START_TEST(what_is_steady_is_computed)
{
    ebb_node outputs[2];
    ebb_store *store = small_store();
    ebb_graph *g = small_graph(outputs);
    ebb_model *model, *loaded;
    expect_good(ebb_model_freeze(outputs, 2, store, NULL, &model, &error));
    ebb_graph_destroy(g);
    ebb_store_destroy(store);
    expect_good(ebb_model_save(model, file_path("small"), &error));
    expect_good(ebb_model_load(file_path("small"), NULL, &loaded, &error));
    for (int i = 0; i < 2; i++) {
        const ebb_model *m = i ? loaded : model;
        ebb_tensor value;
        ck_assert_int_eq(ebb_store_size(m->store), 3);
        ck_assert_int_eq(ebb_store_get(m->store, "fc/w", &value), EBB_OK);
        ck_assert_mem_eq(value.data, w_values, sizeof w_values);
        ck_assert_int_eq(ebb_store_get(m->store, "fc/s", &value), EBB_OK);
        ck_assert_int_eq(ebb_store_get(m->store, "fc/w.1", &value), EBB_OK);
        ck_assert_mem_eq(value.data, ((const float[]){ 0.5f, -4, 1.5f, -8 }), 4 * sizeof(float));
        ck_assert_int_eq(count_ops(m->graph, "mul"), 0);
        ck_assert_int_eq(m->n_outputs, 2);
        ck_assert_int_eq(ebb_model_find(m, "fc/y").id, m->outputs[0].id);
        ck_assert_int_eq(ebb_model_find(m, "fc/w").id, m->outputs[1].id);
        ck_assert(ebb_node_is_none(ebb_model_find(m, "y")));
        ck_assert_str_eq(ebb_graph_name(m->graph), "small \"\\\n\xc3\xa4");
    }
    ck_assert(ebb_node_is_none(ebb_model_find(NULL, "y")));
    ebb_model_destroy(model);
    ebb_model_destroy(loaded);
    ebb_model_destroy(NULL);
}
END_TEST

/* What an executable is bound to stays for it; all else goes over or is gone. */
START_TEST(stores_are_used_up)
{
    ebb_node outputs[2];
    ebb_store *store = small_store();
    ebb_graph *g = small_graph(outputs);
    const ebb_node x = ebb_graph_find(g, "x");
    const float x_values[2] = { 1, 2 };
    const ebb_feed feed = { x, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(1, 2), x_values) };
    for (int is_bound = 0; is_bound < 2; is_bound++) {
        ebb_store *taken = copy_store(store, NULL);
        ebb_executable *executable = NULL;
        ebb_model *model, *expected;
        if (is_bound)
            ck_assert_int_eq(
                ebb_compile(
                    g, &(ebb_compile_options){ .fetches = outputs, .n_fetches = 1, .store = taken },
                    &executable),
                EBB_OK);
        expect_good(ebb_model_freeze(outputs, 2, store, NULL, &expected, &error));
        expect_good(ebb_model_freeze_store(outputs, 2, &taken, &model, &error));
        ck_assert_ptr_null(taken);
        expect_equal_stores(model->store, expected->store);
        if (is_bound) {
            float y[2];
            const ebb_fetch fetch = { outputs[0], ebb_tensor_borrow(EBB_F32, EBB_SHAPE(1, 2), y) };
            ck_assert_int_eq(ebb_run(executable, &feed, 1, &fetch, 1), EBB_OK);
            ck_assert_float_eq(y[0], 0.5f * 1 + 1.5f * 2 + 0.5f);
            ck_assert_float_eq(y[1], -4.f * 1 + -8.f * 2 - 2);
        }
        ebb_executable_destroy(executable);
        ebb_model_destroy(model);
        ebb_model_destroy(expected);
    }
    /* On failure the store is gone, too. */
    ebb_model *none;
    ebb_store *empty = ebb_store_create(NULL), *nothing = NULL;
    expect_failure(ebb_model_freeze_store(outputs, 2, &empty, &none, &error), EBB_NOT_FOUND,
                   "fc/w");
    ck_assert_ptr_null(empty);
    expect_failure(ebb_model_freeze_store(outputs, 2, &nothing, &none, &error), EBB_NOT_FOUND,
                   "fc/w");
    expect_failure(ebb_model_freeze_store(outputs, 2, NULL, &none, &error), EBB_NOT_FOUND, "fc/w");
    ebb_graph_destroy(g);
    ebb_store_destroy(store);
}
END_TEST

/* A value goes where a variable was that ends with it, also if a kernel would want that one in
 * another layout: twice its bytes are there at most, in the arena and in the store. */
START_TEST(values_take_the_memory_of_variables)
{
    enum { N = 256 };
    const size_t bytes = sizeof(float) * N * N;
    for (int is_product = 0; is_product < 2; is_product++) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        ebb_graph *g = ebb_graph_create("large");
        ebb_store *store = ebb_store_create(NULL);
        const ebb_shape square = EBB_SHAPE(N, N);
        const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, N));
        const ebb_node w = ebb_variable(g, "w", EBB_F32, square, NULL);
        const ebb_node v = ebb_variable(g, "v", EBB_F32, is_product ? square : EBB_SHAPE(N), NULL);
        const ebb_node y = ebb_matmul(x, is_product ? ebb_matmul(w, v) : ebb_mul(w, v));
        for (int i = 0; i < 2; i++) {
            ebb_tensor value;
            ck_assert_int_eq(ebb_tensor_init(&value, *ebb_node_type(i ? v : w), NULL), EBB_OK);
            for (int64_t k = 0; k < ebb_shape_elements(&value.type.shape); k++)
                ((float *)value.data)[k] = (float)(k * 7 % 31 - 15);
            ck_assert_int_eq(ebb_store_set(store, i ? "v" : "w", &value), EBB_OK);
            ebb_tensor_finish(&value);
        }
        ebb_model *model, *expected;
        expect_good(ebb_model_freeze(&y, 1, store, NULL, &expected, &error));
        ebb_store *taken = copy_store(store, &meter.allocator);
        const size_t before = meter.live_bytes;
        meter.peak_bytes = before;
        expect_good(ebb_model_freeze_store(&y, 1, &taken, &model, &error));
        if (!is_product)
            ck_assert_uint_lt(meter.peak_bytes - before, bytes + bytes / 2);
        expect_equal_stores(model->store, expected->store);
        ebb_model_destroy(model);
        ebb_model_destroy(expected);
        ck_assert_int_eq(meter.n_live, 0);
        ebb_store_destroy(store);
        ebb_graph_destroy(g);
    }
}
END_TEST

START_TEST(mistakes_are_named)
{
    ebb_node outputs[2], x;
    ebb_store *store = small_store(), *empty = ebb_store_create(NULL);
    ebb_graph *g = small_graph(outputs), *other = ebb_graph_create("other");
    ebb_model *model = (ebb_model *)store;
    expect_failure(ebb_model_freeze(outputs, 0, store, NULL, &model, &error), EBB_BAD_ARGUMENT,
                   "there are no outputs");
    ck_assert_ptr_null(model);
    expect_failure(ebb_model_freeze(outputs, 2, empty, NULL, &model, &error), EBB_NOT_FOUND,
                   "the graph reads variable \"fc/w\", which the store has not");
    expect_failure(ebb_model_freeze(outputs, 2, NULL, NULL, &model, &error), EBB_NOT_FOUND,
                   "which the store has not");
    ck_assert_int_eq(ebb_store_size(empty), 0);
    ebb_tensor s = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(1), s_values);
    ck_assert_int_eq(ebb_store_set(empty, "fc/w", &s), EBB_OK);
    expect_failure(ebb_model_freeze(outputs, 2, empty, NULL, &model, &error), EBB_BAD_SHAPE,
                   "\"fc/w\" is f32[2,2] in the graph and f32[1] in the store");
    x = ebb_input(other, "x", EBB_F32, EBB_SHAPE(4, 2));
    outputs[1] = x;
    expect_failure(ebb_model_freeze(outputs, 2, store, NULL, &model, &error), EBB_BAD_NODE,
                   "output 1 (x f32[4,2]) is not a node of graph");
    ebb_node mean, variance;
    const ebb_node y = ebb_batch_norm(x, EBB_NONE, EBB_NONE, 1e-5, &mean, &variance);
    expect_failure(ebb_model_freeze(&y, 1, store, NULL, &model, &error), EBB_UNSUPPORTED,
                   "form for training, and no update keeps its running mean");
    ebb_node bad = ebb_matmul(x, x);
    expect_failure(ebb_model_freeze(&bad, 1, store, NULL, &model, &error), EBB_BAD_SHAPE, "matmul");
    expect_failure(ebb_model_save(NULL, "x", &error), EBB_BAD_ARGUMENT, "model is NULL");
    expect_failure(ebb_model_load(NULL, NULL, &model, &error), EBB_BAD_ARGUMENT, "path is NULL");
    expect_failure(ebb_model_load(file_path("none"), NULL, &model, &error), EBB_IO, "No such file");
    ebb_graph_destroy(g);
    ebb_graph_destroy(other);
    ebb_store_destroy(store);
    ebb_store_destroy(empty);
}
END_TEST

/* ---- files ---- */

/* clang-format off */
#define GRAPH(text) "{\"__metadata__\":{\"ebb.graph\":\"" text "\",\"ebb.outputs\":\"2\"}"
#define W ",\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"
static const struct {
    const char *header;
    ebb_status status;
    const char *message;
} files[] = {
    { GRAPH("%1 = variable {name=\\\"w\\\"} : f32[1]\\n%2 = neg %1 : f32[1]\\n") W, EBB_OK, "" },
    { "{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", EBB_BAD_FORMAT,
      "no model: the header has no text \"ebb.graph\"" },
    { "{\"__metadata__\":{\"ebb.graph\":\"\"}" W, EBB_BAD_FORMAT, "no text \"ebb.outputs\"" },
    { "{\"__metadata__\":{\"ebb.graph\":\"\",\"ebb.outputs\":\"\"}" W, EBB_BAD_FORMAT,
      "\"ebb.outputs\" is no list of 1 to 1000 numbers: \"\"" },
    { "{\"__metadata__\":{\"ebb.graph\":\"\",\"ebb.outputs\":\"1  2\"}" W, EBB_BAD_FORMAT, ": \"1  2\"" },
    { "{\"__metadata__\":{\"ebb.graph\":\"\",\"ebb.outputs\":\"1 -2\"}" W, EBB_BAD_FORMAT, ": \"1 -2\"" },
    { "{\"__metadata__\":{\"ebb.graph\":\"\",\"ebb.outputs\":\"4294967298\"}" W, EBB_BAD_FORMAT, "no list" },
    { GRAPH("%1 = variable {name=\\\"w\\\"} : f32[1]\\n") W, EBB_BAD_FORMAT,
      "output 0 of the model is %2, which its graph has not" },
    { GRAPH("%1 = variable {name=\\\"w\\\"} : f32[1]\\n%2 = abacus %1 : f32[1]\\n") W, EBB_BAD_FORMAT,
      "the graph of the model: line 2" },
    { GRAPH("%1 = variable {name=\\\"w\\\"} : f32[1]\\n%2 = neg %1 : f32[2]\\n") W, EBB_BAD_FORMAT,
      "the graph of the model: line 2" },
    { GRAPH("%1 = variable {name=\\\"v\\\"} : f32[1]\\n%2 = neg %1 : f32[1]\\n") W, EBB_NOT_FOUND,
      "the graph reads variable \"v\", but the file has no such tensor" },
    { GRAPH("%1 = variable {name=\\\"w\\\"} : f32[9]\\n%2 = neg %1 : f32[9]\\n") W, EBB_BAD_SHAPE,
      "\"w\" is f32[9] in the graph, but f32[1] as a tensor" },
    { GRAPH("%1 = variable {name=\\\"w\\\"} : i32[1]\\n%2 = neg %1 : i32[1]\\n") W, EBB_BAD_DTYPE,
      "\"w\" is i32[1] in the graph, but f32[1] as a tensor" },
    { GRAPH("%1 = input {name=\\\"w\\\"} : f32[1]\\n%2 = neg %1 : f32[1]\\n") W, EBB_NOT_FOUND,
      "the graph has no variable for the tensor \"w\"" },
};
/* clang-format on */

START_TEST(broken_files_are_refused)
{
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        ebb_model *model;
        char bytes[600];
        const uint64_t n = strlen(files[i].header);
        memcpy(bytes, &n, 8);
        memcpy(bytes + 8, files[i].header, n);
        memcpy(bytes + 8 + n, "\0\0\0\0", 4);
        const ebb_status status =
            ebb_model_load(file_make("made", bytes, 8 + n + 4), &meter.allocator, &model, &error);
        if (files[i].status == EBB_OK) {
            expect_good(status);
            ebb_model_destroy(model);
        } else {
            expect_failure(status, files[i].status, files[i].message);
            ck_assert_ptr_null(model);
        }
        ck_assert_int_eq(meter.n_live, 0);
    }
}
END_TEST

START_TEST(failing_allocations_use_stores_up)
{
    ebb_node outputs[2];
    ebb_store *store = small_store();
    ebb_graph *g = small_graph(outputs);
    bool is_done = false;
    for (int64_t n = 0; !is_done; n++) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        ebb_store *taken = copy_store(store, &meter.allocator);
        ebb_model *model = NULL;
        meter.fail_after = n;
        const ebb_status status = ebb_model_freeze_store(outputs, 2, &taken, &model, &error);
        ck_assert_msg(status == EBB_OK || status == EBB_OUT_OF_MEMORY, "%s: %s",
                      ebb_status_name(status), error.message);
        is_done = status == EBB_OK;
        ck_assert_ptr_null(taken);
        ebb_model_destroy(model);
        ck_assert_int_eq(meter.n_live, 0);
    }
    ebb_graph_destroy(g);
    ebb_store_destroy(store);
}
END_TEST

START_TEST(failing_allocations_leak_nothing)
{
    bool is_done = false;
    for (int64_t n = 0; !is_done; n++) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        ebb_node outputs[2];
        ebb_store *store = small_store();
        ebb_graph *g =
            ebb_graph_create_with("small", &(ebb_graph_options){ .allocator = &meter.allocator });
        const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(1, 2));
        ebb_scope_push(g, "fc");
        outputs[1] = ebb_variable(g, "w", EBB_F32, EBB_SHAPE(2, 2), NULL);
        outputs[0] = ebb_matmul(x, ebb_square(outputs[1]));
        meter.fail_after = n;
        ebb_model *model = NULL, *loaded = NULL;
        ebb_status status = ebb_model_freeze(outputs, 2, store, &meter.allocator, &model, &error);
        if (!status)
            status = ebb_model_save(model, file_path("m"), &error);
        if (!status)
            status = ebb_model_load(file_path("m"), &meter.allocator, &loaded, &error);
        ck_assert_msg(status == EBB_OK || status == EBB_OUT_OF_MEMORY, "%s: %s",
                      ebb_status_name(status), error.message);
        is_done = status == EBB_OK;
        ebb_model_destroy(model);
        ebb_model_destroy(loaded);
        ebb_graph_destroy(g);
        ebb_store_destroy(store);
        ck_assert_int_eq(meter.n_live, 0);
    }
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("model");
    TCase *c = tcase_create("models");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, frozen_models_compute_the_same, 0, N_MODELS);
    tcase_add_test(c, what_is_steady_is_computed);
    tcase_add_test(c, stores_are_used_up);
    tcase_add_test(c, values_take_the_memory_of_variables);
    tcase_add_test(c, mistakes_are_named);
    tcase_add_test(c, broken_files_are_refused);
    tcase_add_test(c, failing_allocations_leak_nothing);
    tcase_add_test(c, failing_allocations_use_stores_up);
    suite_add_tcase(suite, c);
    return suite;
}

int main(void)
{
    return run_suite(make_suite());
}
