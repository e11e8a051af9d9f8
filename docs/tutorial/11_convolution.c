/* Convolution: four numbers by hand, then a small convolutional net reads digits. */
#include <ebb/ebb.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

static void by_hand(void)
{
    static const float image[16] = { 1, 2, 3, 0, 0, 1, 2, 3, 3, 0, 1, 2, 2, 3, 0, 1 };
    static const float window[9] = { 2, 0, 1, 0, 1, 2, 1, 0, 2 };
    ebb_graph *g = ebb_graph_create("by_hand");
    ebb_node x = ebb_constant(g, EBB_F32, EBB_SHAPE(1, 1, 4, 4), image);
    ebb_node w = ebb_constant(g, EBB_F32, EBB_SHAPE(1, 1, 3, 3), window);
    ebb_node y = ebb_conv2d(x, w, EBB_NONE, (ebb_conv_attrs){ .stride = EBB_INTS(1) });
    ebb_executable *run;
    ebb_compile_options options = { .fetches = &y, .n_fetches = 1 };
    if (ebb_compile(g, &options, &run) != EBB_OK)
        stop(ebb_graph_message(g));
    float out[4];
    ebb_fetch fetch = { y, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(1, 1, 2, 2), out) };
    if (ebb_run(run, NULL, 0, &fetch, 1) != EBB_OK)
        stop(ebb_executable_message(run));
    printf("%2g %2g\n%2g %2g\n", out[0], out[1], out[2], out[3]);
    ebb_executable_destroy(run);
    ebb_graph_destroy(g);
}

/* x [batch, 1, 28, 28] -> scores [batch, 10]. */
static ebb_node model(ebb_node x)
{
    const ebb_pool_attrs halve = { .window = EBB_INTS(2, 2) };
    ebb_nn_conv_options conv1 = { .name = "conv1", .window = EBB_INTS(5) };
    ebb_nn_conv_options conv2 = { .name = "conv2", .window = EBB_INTS(5) };
    ebb_node y = ebb_max_pool(ebb_relu(ebb_nn_conv(x, 8, &conv1)), halve); /* [batch, 8, 12, 12] */
    y = ebb_max_pool(ebb_relu(ebb_nn_conv(y, 16, &conv2)), halve);         /* [batch, 16, 4, 4] */
    y = ebb_flatten(y, 1);                                                 /* [batch, 256] */
    return ebb_nn_linear(y, 10, &(ebb_nn_linear_options){ .name = "scores" });
}

enum { BATCH = 50, TRAIN = 3000, TEST = 1000 };

int main(void)
{
    by_hand();

    ebb_error error;
    ebb_image_set digits;
    if (ebb_digits_draw(TRAIN + TEST, 1, NULL, &digits, &error) != EBB_OK)
        stop(error.message);

    ebb_graph *g = ebb_graph_create("convnet");
    ebb_node x = ebb_input(g, "images", EBB_F32, EBB_SHAPE(BATCH, 1, 28, 28));
    ebb_node t = ebb_input(g, "labels", EBB_I32, EBB_SHAPE(BATCH));
    ebb_node y = model(x);
    ebb_node loss = ebb_softmax_cross_entropy(y, t), accuracy = ebb_nn_accuracy(y, t);
    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *step, *look;
    ebb_compile_options training = { .fetches = &loss, .n_fetches = 1, .store = store };
    ebb_compile_options testing = {
        .fetches = &accuracy, .n_fetches = 1, .store = store, .skip_updates = true
    };
    ebb_nn_rule rule = { .method = EBB_NN_ADAM, .rate = 0.002 };
    if (ebb_nn_minimize(loss, &rule) != EBB_OK || ebb_compile(g, &training, &step) != EBB_OK ||
        ebb_compile(g, &testing, &look) != EBB_OK)
        stop(ebb_graph_message(g));

    static float images[BATCH * 784];
    int32_t labels[BATCH];
    int64_t order[TRAIN + TEST];
    ebb_feed feeds[] = { { x, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(BATCH, 1, 28, 28), images) },
                         { t, ebb_tensor_borrow(EBB_I32, EBB_SHAPE(BATCH), labels) } };
    for (int epoch = 0; epoch < 2; epoch++) {
        float value = 0;
        double part = 0, right = 0, sum = 0;
        ebb_fetch fetch_loss = { loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &value) };
        ebb_fetch fetch_part = { accuracy, ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &part) };
        ebb_shuffle(order, TRAIN, 1, (uint64_t)epoch); /* images from TRAIN on are for the test */
        for (int i = TRAIN; i < TRAIN + TEST; i++)
            order[i] = i;
        for (int i = 0; i < TRAIN + TEST; i += BATCH) {
            if (ebb_image_set_batch(&digits, order + i, BATCH, &feeds[0].value, &feeds[1].value,
                                    &error) != EBB_OK)
                stop(error.message);
            if (i < TRAIN) {
                if (ebb_run(step, feeds, 2, &fetch_loss, 1) != EBB_OK)
                    stop(ebb_executable_message(step));
                sum += (double)value * BATCH / TRAIN;
            } else {
                if (ebb_run(look, feeds, 2, &fetch_part, 1) != EBB_OK)
                    stop(ebb_executable_message(look));
                right += part * BATCH / TEST;
            }
        }
        printf("epoch %d: loss %.2f, test accuracy %.2f\n", epoch + 1, sum, right);
    }

    ebb_executable_destroy(step);
    ebb_executable_destroy(look);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
    ebb_image_set_finish(&digits);
    return 0;
}
