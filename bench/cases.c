#include "bench/cases.h"

#include "models/models.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- numbers ---- */

static uint64_t splitmix64(uint64_t s)
{
    s += UINT64_C(0x9E3779B97F4A7C15);
    s = (s ^ (s >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    s = (s ^ (s >> 27)) * UINT64_C(0x94D049BB133111EB);
    return s ^ (s >> 31);
}

static uint64_t hash_of(uint64_t k, int64_t i)
{
    return splitmix64((k << 40) + (uint64_t)i);
}

/* (2u - 1) bound: the product 2u - 1 is exact. */
static float uniform(uint64_t k, int64_t i, float bound)
{
    return (2 * ((float)(hash_of(k, i) >> 40) * 0x1p-24F) - 1) * bound;
}

void bench_fill(const bench_feed *how, ebb_tensor *tensor)
{
    const int64_t n = ebb_shape_elements(&tensor->type.shape);
    for (int64_t i = 0; i < n; i++) {
        if (how->classes)
            ((int32_t *)tensor->data)[i] = (int32_t)(hash_of(how->k, i) % how->classes);
        else
            ((float *)tensor->data)[i] = uniform(how->k, i, (float)how->bound) + (float)how->offset;
    }
}

static bool name_is(ebb_node node, const char *name)
{
    return strcmp(ebb_node_name(node), name) == 0;
}

bool bench_is_parameter(ebb_node node)
{
    return name_is(node, "w") || name_is(node, "b") || name_is(node, "scale") ||
           name_is(node, "shift");
}

void bench_fill_parameter(ebb_node node, uint64_t k, ebb_tensor *tensor)
{
    const ebb_shape *shape = &tensor->type.shape;
    const int64_t n = ebb_shape_elements(shape);
    float *data = tensor->data;
    if (shape->rank == 1) {
        for (int64_t i = 0; i < n; i++)
            data[i] = name_is(node, "scale") ? 1.0F : 0.0F;
    } else if (shape->rank == 2) { /* [inputs, outputs]; PyTorch has [outputs, inputs] */
        const int64_t inputs = shape->dims[0], outputs = shape->dims[1];
        const float bound = (float)sqrt(6.0 / (double)inputs);
        for (int64_t i = 0; i < n; i++)
            data[i] = uniform(k, i % outputs * inputs + i / outputs, bound);
    } else {
        const float bound = (float)sqrt(6.0 / ((double)n / (double)shape->dims[0]));
        for (int64_t i = 0; i < n; i++)
            data[i] = uniform(k, i, bound);
    }
}

/* ---- models ---- */

static ebb_node add_feed(ebb_graph *g, bench_model *m, const char *name, ebb_dtype dtype,
                         ebb_shape shape, bench_feed how)
{
    how.node = ebb_input(g, name, dtype, shape);
    m->feeds[m->n_feeds++] = how;
    return how.node;
}

static ebb_node add_x(ebb_graph *g, bench_model *m, ebb_shape shape)
{
    return add_feed(g, m, "x", EBB_F32, shape, (bench_feed){ .k = 1000, .bound = 1 });
}

static void minimize(bench_model *m, ebb_node loss, const ebb_nn_rule *rule)
{
    m->results[m->n_results++] = loss;
    m->has_loss = true;
    if (ebb_nn_minimize(loss, rule) != EBB_OK)
        ebb_graph_fail(loss.graph, EBB_BAD_ARGUMENT, "%s", ebb_graph_message(loss.graph));
}

/* The loss and its update, or the scores. */
static void classify(ebb_graph *g, bool training, bench_model *m, ebb_node scores,
                     const ebb_nn_rule *rule)
{
    const ebb_shape *shape = &ebb_node_type(scores)->shape;
    if (!training) {
        m->results[m->n_results++] = scores;
        return;
    }
    const ebb_node t = add_feed(g, m, "t", EBB_I32, EBB_SHAPE(shape->dims[0]),
                                (bench_feed){ .k = 1001, .classes = (uint64_t)shape->dims[1] });
    minimize(m, ebb_softmax_cross_entropy(scores, t), rule);
}

static const ebb_nn_rule sgd = { .rate = 0.1 }, adam = { .method = EBB_NN_ADAM, .rate = 1e-3 },
                         momentum = { .method = EBB_NN_MOMENTUM, .rate = 0.01 };

static model_options options_of(bool training)
{
    return (model_options){ .training = training, .no_dropout = true };
}

static ebb_node linear(ebb_node x, const char *name, int64_t outputs)
{
    return ebb_nn_linear(x, outputs, &(ebb_nn_linear_options){ .name = name });
}

static void build_mlp_book(ebb_graph *g, bool training, bench_model *m)
{
    const ebb_node h = ebb_relu(linear(add_x(g, m, EBB_SHAPE(100, 784)), "fc1", 50));
    classify(g, training, m, linear(h, "fc2", 10), &sgd);
}

static void build_mlp_512(ebb_graph *g, bool training, bench_model *m)
{
    ebb_node h = ebb_relu(linear(add_x(g, m, EBB_SHAPE(128, 784)), "fc1", 512));
    h = ebb_relu(linear(h, "fc2", 512));
    classify(g, training, m, linear(h, "fc3", 10), &adam);
}

static void build_simple(ebb_graph *g, bool training, bench_model *m)
{
    const model_options o = options_of(training);
    classify(g, training, m, build_simple_convnet(add_x(g, m, EBB_SHAPE(100, 1, 28, 28)), &o),
             &adam);
}

static void build_lenet(ebb_graph *g, bool training, bench_model *m)
{
    const model_options o = options_of(training);
    classify(g, training, m, build_lenet5(add_x(g, m, EBB_SHAPE(128, 1, 28, 28)), &o), &momentum);
}

static void build_deep(ebb_graph *g, bool training, bench_model *m)
{
    const model_options o = options_of(training);
    classify(g, training, m, build_deep_convnet(add_x(g, m, EBB_SHAPE(100, 1, 28, 28)), &o), &adam);
}

static void build_vgg_cifar(ebb_graph *g, bool training, bench_model *m)
{
    const model_options o = options_of(training);
    const vgg_options vgg = { .depth = 11, .batch_norm = true, .small_head = true };
    classify(g, training, m, build_vgg(add_x(g, m, EBB_SHAPE(64, 3, 32, 32)), vgg, &o), &momentum);
}

static void build_resnet18_cifar(ebb_graph *g, bool training, bench_model *m)
{
    const model_options o = options_of(training);
    const resnet_options resnet = { .depth = 18, .small_image = true };
    classify(g, training, m, build_resnet(add_x(g, m, EBB_SHAPE(32, 3, 32, 32)), resnet, &o),
             &momentum);
}

static void build_resnet50(ebb_graph *g, bool training, bench_model *m, int64_t batch)
{
    const model_options o = options_of(training);
    const resnet_options resnet = { .depth = 50 };
    classify(g, training, m, build_resnet(add_x(g, m, EBB_SHAPE(batch, 3, 224, 224)), resnet, &o),
             &momentum);
}

static void build_resnet50_b1(ebb_graph *g, bool training, bench_model *m)
{
    build_resnet50(g, training, m, 1);
}

static void build_resnet50_b8(ebb_graph *g, bool training, bench_model *m)
{
    build_resnet50(g, training, m, 8);
}

static void build_resnet50_train4(ebb_graph *g, bool training, bench_model *m)
{
    build_resnet50(g, training, m, 4);
}

static void build_vgg16_b1(ebb_graph *g, bool training, bench_model *m)
{
    const model_options o = options_of(training);
    classify(g, training, m,
             build_vgg(add_x(g, m, EBB_SHAPE(1, 3, 224, 224)), (vgg_options){ .depth = 16 }, &o),
             &sgd);
}

static void build_alexnet_b8(ebb_graph *g, bool training, bench_model *m)
{
    const model_options o = options_of(training);
    classify(g, training, m, build_alexnet(add_x(g, m, EBB_SHAPE(8, 3, 224, 224)), true, &o), &sgd);
}

static void build_googlenet_b8(ebb_graph *g, bool training, bench_model *m)
{
    const model_options o = options_of(training);
    classify(g, training, m, build_googlenet(add_x(g, m, EBB_SHAPE(8, 3, 224, 224)), NULL, &o),
             &sgd);
}

/* One block of a GPT: layer norm before attention (4 heads of 64, causal) and before 256-1024-256
 * with gelu. Rows are tokens. */
static ebb_node layer_norm(ebb_node x, const char *name)
{
    const ebb_shape width = EBB_SHAPE(ebb_node_type(x)->shape.dims[1]);
    ebb_scope_push(x.graph, name);
    const ebb_node scale = ebb_variable(x.graph, "scale", EBB_F32, width, &(ebb_init){ .a = 1 });
    const ebb_node shift = ebb_variable(x.graph, "shift", EBB_F32, width, NULL);
    ebb_scope_pop(x.graph);
    return ebb_layer_norm(x, scale, shift, EBB_AXES(-1), 1e-5);
}

static void build_transformer_block(ebb_graph *g, bool training, bench_model *m)
{
    enum {
        BATCH = 8,
        TIME = 128,
        WIDTH = 256,
        HEADS = 4,
        HEAD = WIDTH / HEADS,
        ROWS = BATCH * TIME
    };
    const ebb_node x =
        ebb_reshape(add_x(g, m, EBB_SHAPE(BATCH, TIME, WIDTH)), EBB_SHAPE(ROWS, WIDTH));
    ebb_node qkv = linear(layer_norm(x, "norm1"), "qkv", 3 * WIDTH), parts[3];
    qkv = ebb_reshape(qkv, EBB_SHAPE(BATCH, TIME, 3, HEADS, HEAD));
    for (int i = 0; i < 3; i++) { /* [batch, heads, time, head] */
        const ebb_node part = ebb_slice_axis(qkv, 2, i, i + 1, 1);
        parts[i] = ebb_transpose(ebb_reshape(part, EBB_SHAPE(BATCH, TIME, HEADS, HEAD)),
                                 EBB_AXES(0, 2, 1, 3));
    }
    ebb_node y = ebb_scaled_dot_product_attention(parts[0], parts[1], parts[2], EBB_NONE,
                                                  (ebb_attention_attrs){ .causal = true });
    y = ebb_reshape(ebb_transpose(y, EBB_AXES(0, 2, 1, 3)), EBB_SHAPE(ROWS, WIDTH));
    const ebb_node x1 = ebb_add(x, linear(y, "proj", WIDTH));
    y = linear(ebb_gelu_tanh(linear(layer_norm(x1, "norm2"), "fc", 4 * WIDTH)), "out", WIDTH);
    y = ebb_reshape(ebb_add(x1, y), EBB_SHAPE(BATCH, TIME, WIDTH));
    if (!training) {
        m->results[m->n_results++] = y;
        return;
    }
    const ebb_node t = add_feed(g, m, "t", EBB_F32, EBB_SHAPE(BATCH, TIME, WIDTH),
                                (bench_feed){ .k = 1002, .bound = 1 });
    minimize(m, ebb_mse_loss(y, t, EBB_REDUCTION_MEAN), &adam);
}

/* ---- small things ---- */

static void build_tiny_chain(ebb_graph *g, bool training, bench_model *m)
{
    const ebb_shape shape = EBB_SHAPE(16);
    const ebb_node x0 = add_x(g, m, shape);
    const ebb_node a = add_feed(g, m, "a", EBB_F32, shape,
                                (bench_feed){ .k = 2000, .bound = 0.01, .offset = 0.9 });
    const ebb_node b = add_feed(g, m, "b", EBB_F32, shape, (bench_feed){ .k = 2001, .bound = 0.1 });
    ebb_node x = x0;
    for (int i = 0; i < 333; i++)
        x = ebb_tanh(ebb_add(ebb_mul(x, a), b));
    x = ebb_mul(x, a);
    m->results[m->n_results++] = training ? ebb_reduce_sum(x, EBB_ALL_AXES, false) : x;
    if (training && ebb_gradients(m->results[0], &x0, 1, &m->results[m->n_results++]) != EBB_OK)
        ebb_graph_fail(g, EBB_BAD_ARGUMENT, "%s", ebb_graph_message(g));
}

static void build_ewise_fuse(ebb_graph *g, bool training, bench_model *m)
{
    const ebb_shape shape = EBB_SHAPE(16 << 20);
    const ebb_node x = add_feed(g, m, "x", EBB_F32, shape, (bench_feed){ .k = 1000, .bound = 3 });
    ebb_node t = ebb_mul(ebb_mul(x, x), x);
    t = ebb_add(ebb_mul(t, ebb_full_like(t, 0.044715)), x);
    t = ebb_tanh(ebb_mul(t, ebb_full_like(t, 0.7978845608)));
    const ebb_node y = ebb_mul(ebb_add(t, ebb_full_like(t, 1)), x);
    m->results[m->n_results++] = y;
    if (!training)
        return;
    const ebb_node dy = add_feed(g, m, "dy", EBB_F32, shape, (bench_feed){ .k = 1002, .bound = 1 });
    if (ebb_gradients_with(&y, &dy, 1, &x, 1, &m->results[m->n_results++]) != EBB_OK)
        ebb_graph_fail(g, EBB_BAD_ARGUMENT, "%s", ebb_graph_message(g));
}

/* clang-format off */
const bench_case bench_cases[] = {
    { "mlp_book",          true,  true,  build_mlp_book },
    { "mlp_512",           true,  true,  build_mlp_512 },
    { "simple_convnet",    true,  true,  build_simple },
    { "lenet5",            true,  true,  build_lenet },
    { "deep_convnet",      true,  true,  build_deep },
    { "vgg_cifar",         true,  true,  build_vgg_cifar },
    { "resnet18_cifar",    true,  true,  build_resnet18_cifar },
    { "resnet50_train4",   true,  false, build_resnet50_train4 },
    { "resnet50_b1",       false, true,  build_resnet50_b1 },
    { "resnet50_b8",       false, true,  build_resnet50_b8 },
    { "vgg16_b1",          false, true,  build_vgg16_b1 },
    { "alexnet_b8",        false, true,  build_alexnet_b8 },
    { "googlenet_b8",      false, true,  build_googlenet_b8 },
    { "transformer_block", true,  true,  build_transformer_block },
    { "tiny_chain",        true,  true,  build_tiny_chain },
    { "ewise_fuse",        true,  true,  build_ewise_fuse },
};
/* clang-format on */
const int n_bench_cases = sizeof bench_cases / sizeof *bench_cases;
