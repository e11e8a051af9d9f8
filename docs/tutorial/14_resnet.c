/* A residual network of 14 layers, on small coloured pictures of 32x32. */
#include <ebb/ebb.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

/* ---- the network ---- */

/* Convolution 3x3 and batch normalization. */
static ebb_node conv_norm(ebb_node x, const char *name, int64_t filters, int64_t stride,
                          bool training)
{
    ebb_scope_push(x.graph, name);
    x = ebb_nn_conv(
        x, filters,
        &(ebb_nn_conv_options){ .name = "conv",
                                .window = EBB_INTS(3),
                                .conv = { .stride = EBB_INTS(stride), .padding = EBB_INTS(1) },
                                .no_bias = true });
    x = ebb_nn_batch_norm(x,
                          &(ebb_nn_batch_norm_options){ .name = "norm", .inference = !training });
    ebb_scope_pop(x.graph);
    return x;
}

/* Two convolutions, and a way around them. */
static ebb_node block(ebb_node x, const char *name, int64_t filters, int64_t stride, bool training)
{
    ebb_scope_push(x.graph, name);
    ebb_node y = ebb_relu(conv_norm(x, "one", filters, stride, training));
    y = conv_norm(y, "two", filters, 1, training);
    if (stride != 1) /* another size: the way around needs a convolution, too */
        x = conv_norm(x, "shortcut", filters, stride, training);
    y = ebb_add(y, x);
    ebb_scope_pop(x.graph);
    return ebb_relu(y);
}

/* x [batch, 3, 32, 32] -> scores [batch, 10]. */
static ebb_node model(ebb_node x, bool training)
{
    ebb_node y = ebb_relu(conv_norm(x, "start", 8, 1, training));
    for (int stage = 0; stage < 3; stage++) {
        for (int i = 0; i < 2; i++) {
            char name[32];
            snprintf(name, sizeof name, "block%d.%d", stage + 1, i + 1);
            y = block(y, name, (int64_t)8 << stage, stage > 0 && i == 0 ? 2 : 1, training);
        }
    }
    y = ebb_flatten(ebb_global_avg_pool(y), 1); /* [batch, 32] */
    return ebb_nn_linear(y, 10, &(ebb_nn_linear_options){ .name = "scores" });
}

/* ---- pictures: a digit in one colour on another ---- */

enum { BATCH = 32, SIDE = 32, N = 640 };

static void draw(const ebb_image_set *digits, int64_t index, float *picture)
{
    const uint8_t *digit = (const uint8_t *)digits->images.data + index * 28 * 28;
    for (int c = 0; c < 3; c++) {
        float paper = (float)((index * 7 + c * 5) % 11) / 20;
        float ink = 1 - (float)((index * 3 + c * 7) % 13) / 26;
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                bool inside = y >= 2 && y < 30 && x >= 2 && x < 30;
                float grey = inside ? digit[(y - 2) * 28 + x - 2] / 255.0f : 0;
                picture[(c * SIDE + y) * SIDE + x] = paper + (ink - paper) * grey;
            }
    }
}

/* ---- training ---- */

static void train(const ebb_image_set *digits)
{
    ebb_graph *g = ebb_graph_create("resnet");
    ebb_node x = ebb_input(g, "pictures", EBB_F32, EBB_SHAPE(BATCH, 3, SIDE, SIDE));
    ebb_node t = ebb_input(g, "labels", EBB_I32, EBB_SHAPE(BATCH));
    ebb_node y = model(x, true);
    ebb_node loss = ebb_softmax_cross_entropy(y, t);
    ebb_nn_schedule schedule = { .kind = EBB_NN_COSINE, .warmup = 5, .period = 35 };
    ebb_nn_rule rule = { .method = EBB_NN_ADAM, .rate = 0.01, .schedule = schedule };
    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *step;
    ebb_compile_options options = { .fetches = &loss, .n_fetches = 1, .store = store };
    if (ebb_nn_minimize(loss, &rule) != EBB_OK || ebb_compile(g, &options, &step) != EBB_OK)
        stop(ebb_graph_message(g));

    static float pictures[BATCH * 3 * SIDE * SIDE];
    int32_t labels[BATCH];
    ebb_feed feeds[] = {
        { x, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(BATCH, 3, SIDE, SIDE), pictures) },
        { t, ebb_tensor_borrow(EBB_I32, EBB_SHAPE(BATCH), labels) },
    };
    float value = 0, sum = 0;
    ebb_fetch fetch = { loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &value) };
    for (int i = 0; i < 40; i++) {
        for (int k = 0; k < BATCH; k++) {
            int64_t index = (i * BATCH + k) % N;
            draw(digits, index, pictures + k * 3 * SIDE * SIDE);
            labels[k] = ((const uint8_t *)digits->labels.data)[index];
        }
        if (ebb_run(step, feeds, 2, &fetch, 1) != EBB_OK)
            stop(ebb_executable_message(step));
        sum += value;
        if (i % 10 == 9) {
            printf("steps %2d to %2d: loss %.2f\n", i - 8, i + 1, sum / 10);
            sum = 0;
        }
    }
    ebb_executable_destroy(step);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}

int main(void)
{
    ebb_error error;
    ebb_image_set digits;
    if (ebb_digits_draw(N, 1, NULL, &digits, &error) != EBB_OK)
        stop(error.message);

    ebb_graph *g = ebb_graph_create("count");
    model(ebb_input(g, "pictures", EBB_F32, EBB_SHAPE(1, 3, SIDE, SIDE)), false);
    int64_t n_weights = 0, n_layers = 0;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(g); id++) {
        ebb_node node = ebb_graph_node(g, id);
        const ebb_type *type = ebb_node_type(node);
        bool is_weight = ebb_node_op(node)->traits & EBB_TRAIT_VARIABLE;
        n_weights += is_weight ? ebb_shape_elements(&type->shape) : 0;
        n_layers += is_weight && type->shape.rank > 1;
    }
    printf("%d nodes, %d layers with weights, %d numbers\n", (int)ebb_graph_n_nodes(g),
           (int)n_layers, (int)n_weights);
    ebb_graph_destroy(g);

    train(&digits);
    ebb_image_set_finish(&digits);
    return 0;
}
