/* The models of examples/models: their parameter counts, known exactly, and that each can be
 * differentiated. */
#include "models/models.h"
#include "tests/support/runtime.h"

/* Builders with one signature. */
typedef ebb_node (*build_model)(ebb_node x, const model_options *options);

static ebb_node alexnet(ebb_node x, const model_options *options)
{
    return build_alexnet(x, true, options);
}

static ebb_node alexnet_ungrouped(ebb_node x, const model_options *options)
{
    return build_alexnet(x, false, options);
}

static ebb_node vgg11_small(ebb_node x, const model_options *options)
{
    return build_vgg(x, (vgg_options){ .depth = 11, .batch_norm = true, .small_head = true },
                     options);
}

static ebb_node vgg11(ebb_node x, const model_options *options)
{
    return build_vgg(x, (vgg_options){ .depth = 11 }, options);
}

static ebb_node vgg16(ebb_node x, const model_options *options)
{
    return build_vgg(x, (vgg_options){ .depth = 16 }, options);
}

static ebb_node vgg19(ebb_node x, const model_options *options)
{
    return build_vgg(x, (vgg_options){ .depth = 19 }, options);
}

static ebb_node googlenet(ebb_node x, const model_options *options)
{
    return build_googlenet(x, NULL, options);
}

static ebb_node googlenet_with_heads(ebb_node x, const model_options *options)
{
    ebb_node heads[2];
    const ebb_node y = build_googlenet(x, heads, options);
    return ebb_add(y, ebb_add(heads[0], heads[1]));
}

static ebb_node resnet18(ebb_node x, const model_options *options)
{
    return build_resnet(x, (resnet_options){ .depth = 18 }, options);
}

static ebb_node resnet18_small(ebb_node x, const model_options *options)
{
    return build_resnet(x, (resnet_options){ .depth = 18, .small_image = true }, options);
}

static ebb_node resnet34(ebb_node x, const model_options *options)
{
    return build_resnet(x, (resnet_options){ .depth = 34 }, options);
}

static ebb_node resnet50(ebb_node x, const model_options *options)
{
    return build_resnet(x, (resnet_options){ .depth = 50 }, options);
}

static ebb_node resnet20(ebb_node x, const model_options *options)
{
    return build_small_resnet(x, 20, true, options);
}

static ebb_node plain56(ebb_node x, const model_options *options)
{
    return build_small_resnet(x, 56, false, options);
}

static ebb_node unet(ebb_node x, const model_options *options)
{
    return build_unet(x, 2, 8, options);
}

/* Counts: the book's by its layer sizes; LeNet-5 with full connections; the others as the papers'
 * layer tables give them (see models.h). The last ones: 20 and 56 layers of section 4.2 of He et
 * al. are "0.27 M" and "0.85 M" there; U-Net by hand. */
static const struct model_case {
    const char *name;
    build_model build;
    int64_t channels, size, n_parameters;
} models[] = {
    { "simple_convnet", build_simple_convnet, 1, 28, 433890 },
    { "deep_convnet", build_deep_convnet, 1, 28, 123552 },
    { "lenet5", build_lenet5, 1, 28, 61706 },
    { "lenet5_1998", build_lenet5_1998, 1, 28, 61706 },
    { "alexnet", alexnet, 3, 224, 60965224 },
    { "alexnet_ungrouped", alexnet_ungrouped, 3, 224, 62378344 },
    { "vgg11_small", vgg11_small, 3, 32, 9231114 },
    { "vgg11", vgg11, 3, 224, 132863336 },
    { "vgg16", vgg16, 3, 224, 138357544 },
    { "vgg19", vgg19, 3, 224, 143667240 },
    { "googlenet", googlenet, 3, 224, 6998552 },
    { "googlenet_with_heads", googlenet_with_heads, 3, 224, 13378280 },
    { "resnet18", resnet18, 3, 224, 11689512 },
    { "resnet18_small", resnet18_small, 3, 32, 11173962 },
    { "resnet34", resnet34, 3, 224, 21797672 },
    { "resnet50", resnet50, 3, 224, 25557032 },
    { "resnet20", resnet20, 3, 32, 269722 },
    { "plain56", plain56, 3, 32, 853018 },
    { "mobilenet", build_mobilenet, 3, 224, 4231976 },
    { "unet", unet, 1, 32, 0 },
};
enum { N_MODELS = sizeof models / sizeof *models };

/* Elements of the float variables, without running statistics. */
static int64_t count_parameters(ebb_graph *g)
{
    int64_t n = 0;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(g); id++) {
        const ebb_node node = ebb_graph_node(g, id);
        if (ebb_node_op(node)->traits & EBB_TRAIT_VARIABLE &&
            ebb_dtype_is_float(ebb_node_type(node)->dtype) &&
            strncmp(ebb_node_name(node), "running_", 8) != 0)
            n += ebb_shape_elements(&ebb_node_type(node)->shape);
    }
    return n;
}

START_TEST(parameters_are_counted)
{
    const struct model_case *c = &models[_i];
    for (int training = 0; training < 2; training++) {
        ebb_graph *g = ebb_graph_create(c->name);
        const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, c->channels, c->size, c->size));
        const ebb_node y = c->build(x, &(model_options){ .training = training });
        ck_assert_msg(ebb_graph_status(g) == EBB_OK, "%s: %s", c->name, ebb_graph_message(g));
        if (c->n_parameters)
            ck_assert_msg(count_parameters(g) == c->n_parameters,
                          "%s has %lld parameters, not %lld", c->name,
                          (long long)count_parameters(g), (long long)c->n_parameters);
        if (training) {
            const ebb_node loss = ebb_reduce_mean(ebb_square(y), EBB_ALL_AXES, false);
            ck_assert_msg(ebb_nn_minimize(loss, &(ebb_nn_rule){ .rate = 0.1 }) == EBB_OK, "%s: %s",
                          c->name, ebb_graph_message(g));
        }
        ebb_graph_destroy(g);
    }
}
END_TEST

/* On the default backends no step of a model is a plain loop, neither Ebb's reference kernels nor
 * oneDNN's `ref`, and layouts are changed only at the edges: at most as often as the table says, in
 * training and in inference. Weights lie as kernels want them: in training those are reordered for
 * the gradients of images, which want other blocks, and gradients of weights that are computed as
 * matrix products (weights: at most, with AVX-512); in inference none. */
static const struct kernels_case {
    const char *name;
    build_model build;
    int64_t channels, size, reorders_training, reorders_inference, weights;
} kernel_cases[] = {
    { "simple_convnet", build_simple_convnet, 1, 28, 2, 1, 2 },
    { "deep_convnet", build_deep_convnet, 1, 28, 2, 1, 5 },
    { "lenet5", build_lenet5, 1, 28, 2, 1, 1 },
    { "lenet5_1998", build_lenet5_1998, 1, 28, 1, 1, 3 },
    { "alexnet", alexnet, 3, 224, 3, 2, 4 },
    { "vgg11_small", vgg11_small, 3, 32, 2, 1, 7 },
    { "googlenet", googlenet, 3, 64, 1, 1, 101 },
    { "resnet18_small", resnet18_small, 3, 32, 1, 1, 23 },
    { "resnet50", resnet50, 3, 64, 1, 1, 103 },
    { "resnet20", resnet20, 3, 32, 1, 1, 18 },
    { "mobilenet", build_mobilenet, 3, 64, 1, 1, 48 },
    { "unet", unet, 1, 32, 2, 0, 23 },
};
enum { N_KERNEL_CASES = sizeof kernel_cases / sizeof *kernel_cases };

START_TEST(no_model_runs_plain_loops)
{
    const struct kernels_case *c = &kernel_cases[_i];
    for (int training = 0; training < 2; training++) {
        ebb_graph *g = ebb_graph_create(c->name);
        ebb_store *store = ebb_store_create(NULL);
        const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, c->channels, c->size, c->size));
        ebb_node y = c->build(x, &(model_options){ .training = training, .classes = 10 });
        if (training) {
            y = ebb_reduce_mean(ebb_square(y), EBB_ALL_AXES, false);
            ck_assert_int_eq(
                ebb_nn_minimize(y, &(ebb_nn_rule){ .method = EBB_NN_ADAM, .rate = 1e-3 }), EBB_OK);
        }
        ebb_executable *e =
            compile_with(g, &(ebb_compile_options){
                                .fetches = &y, .n_fetches = 1, .store = store, .n_threads = 1 });
        const ebb_executable_stats stats = ebb_executable_get_stats(e);
        ebb_step_info step;
        for (int64_t i = 0; ebb_executable_step(e, i, &step); i++)
            ck_assert_msg(
                strcmp(step.backend, "reference") != 0 && !strstr(step.implementation, "ref"),
                "%s runs %s as %s %s", c->name, step.op, step.backend, step.implementation);
        ck_assert_msg(stats.n_kernel_reorders <= (training ? c->weights : 0),
                      "%s, %s: kernels reorder %lld weights", c->name,
                      training ? "training" : "inference", (long long)stats.n_kernel_reorders);
        const int64_t most = training ? c->reorders_training : c->reorders_inference;
        ck_assert_msg(stats.n_reorders <= most, "%s, %s: %lld reorders, not %lld", c->name,
                      training ? "training" : "inference", (long long)stats.n_reorders,
                      (long long)most);
        ebb_executable_destroy(e);
        ebb_store_destroy(store);
        ebb_graph_destroy(g);
    }
}
END_TEST

/* Two filters of 3x3 see as much as one of 5x5, with 18 weights instead of 25; three see 7x7 with
 * 27 instead of 49: the gradient of one output tells which inputs it sees (Saitoh 2016,
 * section 8.1.4). */
START_TEST(small_filters_see_as_much)
{
    static const struct {
        int64_t window;
        int n_layers, reach, n_weights;
    } stacks[] = { { 5, 1, 5, 25 }, { 3, 2, 5, 18 }, { 7, 1, 7, 49 }, { 3, 3, 7, 27 } };
    for (size_t s = 0; s < sizeof stacks / sizeof *stacks; s++) {
        enum { SIZE = 11 };
        static const char *const names[] = { "a", "b", "c" };
        ebb_graph *g = ebb_graph_create("sees");
        ebb_store *store = ebb_store_create(NULL);
        ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(1, 1, SIZE, SIZE)), y = x, gradient;
        for (int i = 0; i < stacks[s].n_layers; i++)
            y = ebb_nn_conv(y, 1,
                            &(ebb_nn_conv_options){ .name = names[i],
                                                    .window = EBB_INTS(stacks[s].window),
                                                    .conv.padding = EBB_INTS(stacks[s].window / 2),
                                                    .no_bias = true });
        ck_assert_int_eq(count_parameters(g), stacks[s].n_weights);
        const int64_t middle = SIZE / 2;
        const ebb_node one =
            ebb_slice(y, EBB_INTS(0, 0, middle, middle), EBB_INTS(1, 1, middle + 1, middle + 1),
                      EBB_INTS(1, 1, 1, 1));
        ck_assert_int_eq(ebb_gradients(ebb_reshape(one, EBB_SCALAR), &x, 1, &gradient), EBB_OK);
        ebb_executable *e = compile(g, 2, &gradient, 1, store);
        static const double image[SIZE * SIZE];
        double seen[SIZE * SIZE];
        run(e, (ebb_feed[]){ FEED(x, image) }, 1, (ebb_fetch[]){ FETCH(gradient, seen) }, 1);
        for (int64_t i = 0; i < SIZE * SIZE; i++) {
            const int64_t reach = stacks[s].reach / 2, h = i / SIZE - middle, w = i % SIZE - middle;
            const bool is_seen = h >= -reach && h <= reach && w >= -reach && w <= reach;
            ck_assert_msg((seen[i] != 0) == is_seen, "%lld layers of %lld: element %lld, %lld",
                          (long long)stacks[s].n_layers, (long long)stacks[s].window, (long long)h,
                          (long long)w);
        }
        ebb_executable_destroy(e);
        ebb_store_destroy(store);
        ebb_graph_destroy(g);
    }
}
END_TEST

/* A graph for inference works on the values that training made, in another batch size. */
START_TEST(training_and_inference_share_variables)
{
    ebb_store *store = ebb_store_create(NULL);
    ebb_graph *g = ebb_graph_create("train"), *h = ebb_graph_create("infer");
    const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(4, 1, 28, 28)),
                   t = ebb_input(g, "t", EBB_I32, EBB_SHAPE(4));
    const ebb_node loss =
        ebb_softmax_cross_entropy(build_deep_convnet(x, &(model_options){ .training = true }), t);
    ck_assert_int_eq(ebb_nn_minimize(loss, &(ebb_nn_rule){ .method = EBB_NN_ADAM, .rate = 0.001 }),
                     EBB_OK);
    const ebb_node one = ebb_input(h, "x", EBB_F32, EBB_SHAPE(1, 1, 28, 28));
    const ebb_node scores = build_deep_convnet(one, &(model_options){ .training = false });
    ebb_executable *step = compile(g, 2, &loss, 1, store),
                   *infer = compile(h, 2, &scores, 1, store);
    static float images[4 * 28 * 28], before[10], after[10];
    const int32_t labels[4] = { 1, 2, 3, 4 };
    for (size_t i = 0; i < sizeof images / sizeof *images; i++)
        images[i] = (float)(i % 17) / 17;
    run(infer, (ebb_feed[]){ FEED(one, images) }, 1, (ebb_fetch[]){ FETCH(scores, before) }, 1);
    float losses[2];
    for (int i = 0; i < 2; i++)
        run(step, (ebb_feed[]){ FEED(x, images), FEED(t, labels) }, 2,
            (ebb_fetch[]){ FETCH(loss, &losses[i]) }, 1);
    ck_assert(losses[0] > 0 && losses[0] != losses[1]);
    run(infer, (ebb_feed[]){ FEED(one, images) }, 1, (ebb_fetch[]){ FETCH(scores, after) }, 1);
    ck_assert(memcmp(before, after, sizeof after) != 0);
    ck_assert_double_eq(stored(store, "drop1/counter", 0), 2);
    ebb_executable_destroy(step);
    ebb_executable_destroy(infer);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
    ebb_graph_destroy(h);
}
END_TEST

START_TEST(mistakes_are_named)
{
    const struct {
        int64_t channels, filters, groups;
        ebb_nn_conv_options options;
        const char *message;
    } cases[] = {
        { 4, 6, 0, { .name = "c" }, "the window has 0 values for 2 spatial dimensions" },
        { 4,
          6,
          3,
          { .name = "c", .window = EBB_INTS(3) },
          "3 groups do not divide 4 channels and 6 filters" },
        { 4, 0, 0, { .name = "c", .window = EBB_INTS(3) }, "0 filters" },
        { 4, 6, 0, { .name = "c", .window = EBB_INTS(30) }, "conv" },
        { 4, 6, 0, { .name = "c", .window = EBB_INTS(3), .init.std = -1 }, "std must be" },
        { 4, 6, 0, { .window = EBB_INTS(3) }, "needs a name" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int transposed = 0; transposed < 2; transposed++) {
            if (transposed && strcmp(cases[i].message, "conv") == 0)
                continue; /* a transposed one has no window that is too large */
            ebb_graph *g = ebb_graph_create("g");
            const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, cases[i].channels, 8, 8));
            ebb_nn_conv_options options = cases[i].options;
            options.conv.groups = cases[i].groups;
            const ebb_node y = transposed ? ebb_nn_conv_transpose(x, cases[i].filters, &options)
                                          : ebb_nn_conv(x, cases[i].filters, &options);
            ck_assert(!y.id);
            CHECK_TEXT(ebb_graph_message(g), cases[i].message);
            ebb_graph_destroy(g);
        }
    }
    ebb_graph *g = ebb_graph_create("g");
    const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, 3, 32, 32));
    ck_assert(!build_vgg(x, (vgg_options){ .depth = 12 }, &(model_options){ 0 }).id);
    CHECK_TEXT(ebb_graph_message(g), "11, 16 or 19, not 12");
    ebb_graph_destroy(g);
    for (int i = 0; i < 4; i++) {
        g = ebb_graph_create("g");
        const ebb_node v = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, 3));
        const ebb_nn_dropout_options options = { .name = "d",
                                                 .unscaled = i % 2,
                                                 .inference = i / 2 };
        ck_assert(!ebb_nn_dropout(v, i ? (double)NAN : 1.5, &options).id);
        ck_assert_int_eq(ebb_graph_status(g), EBB_BAD_ATTRIBUTE);
        CHECK_TEXT(ebb_graph_message(g), i ? "ratio nan is not in 0..1" : "ratio 1.5 is not in");
        ebb_graph_destroy(g);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("models");
    TCase *tests = tcase_create("models");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, parameters_are_counted, 0, N_MODELS);
    tcase_add_loop_test(tests, no_model_runs_plain_loops, 0, N_KERNEL_CASES);
    tcase_add_test(tests, small_filters_see_as_much);
    tcase_add_test(tests, training_and_inference_share_variables);
    tcase_add_test(tests, mistakes_are_named);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
