/* Reading digits: a net of two layers, mini-batches, and a test on digits it has not seen.
 *
 *     07_digits [FOLDER]    with MNIST's files; without, digits are drawn */
#include <ebb/ebb.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

enum { BATCH = 100, EPOCHS = 5 };

int main(int argc, char **argv)
{
    ebb_error error;
    ebb_image_set train, test;
    if (argc > 1 ? ebb_mnist_read(argv[1], NULL, &train, &test, &error)
                 : ebb_digits_draw(4000, 1, NULL, &train, &error))
        stop(error.message);
    if (argc == 1 && ebb_digits_draw(1000, 2, NULL, &test, &error))
        stop(error.message);

    ebb_graph *g = ebb_graph_create("digits");
    ebb_node x = ebb_input(g, "images", EBB_F32, EBB_SHAPE(BATCH, 784));
    ebb_node t = ebb_input(g, "labels", EBB_I32, EBB_SHAPE(BATCH));
    ebb_node h = ebb_relu(ebb_nn_linear(x, 50, &(ebb_nn_linear_options){ .name = "fc1" }));
    ebb_node y = ebb_nn_linear(h, 10, &(ebb_nn_linear_options){ .name = "fc2" });
    ebb_node loss = ebb_softmax_cross_entropy(y, t);
    ebb_node accuracy = ebb_nn_accuracy(y, t);

    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *step, *look;
    ebb_compile_options training = { .fetches = &loss, .n_fetches = 1, .store = store };
    ebb_compile_options testing = {
        .fetches = &accuracy, .n_fetches = 1, .store = store, .skip_updates = true
    };
    if (ebb_nn_minimize(loss, &(ebb_nn_rule){ .rate = 0.1 }) != EBB_OK ||
        ebb_compile(g, &training, &step) != EBB_OK || ebb_compile(g, &testing, &look) != EBB_OK)
        stop(ebb_graph_message(g));

    static float images[BATCH * 784];
    int32_t labels[BATCH];
    ebb_feed feeds[] = { { x, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(BATCH, 784), images) },
                         { t, ebb_tensor_borrow(EBB_I32, EBB_SHAPE(BATCH), labels) } };
    int64_t *order = malloc((size_t)train.n * sizeof *order);
    if (!order)
        stop("no memory");
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        float value = 0, sum = 0;
        int64_t n_steps = train.n / BATCH;
        ebb_fetch fetch = { loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &value) };
        ebb_shuffle(order, train.n, 1, (uint64_t)epoch);
        for (int64_t i = 0; i < n_steps; i++) {
            if (ebb_image_set_batch(&train, order + i * BATCH, BATCH, &feeds[0].value,
                                    &feeds[1].value, &error) != EBB_OK)
                stop(error.message);
            if (ebb_run(step, feeds, 2, &fetch, 1) != EBB_OK)
                stop(ebb_executable_message(step));
            sum += value;
        }

        double right = 0, part = 0;
        ebb_fetch result = { accuracy, ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &part) };
        ebb_shuffle(order, test.n, 0, 0);
        for (int64_t i = 0; i < test.n / BATCH; i++) {
            if (ebb_image_set_batch(&test, order + i * BATCH, BATCH, &feeds[0].value,
                                    &feeds[1].value, &error) != EBB_OK)
                stop(error.message);
            if (ebb_run(look, feeds, 2, &result, 1) != EBB_OK)
                stop(ebb_executable_message(look));
            right += part * BATCH;
        }
        printf("epoch %d: loss %.2f, test accuracy %.2f\n", epoch + 1,
               (double)sum / (double)n_steps, right / (double)(test.n / BATCH * BATCH));
    }

    free(order);
    ebb_executable_destroy(step);
    ebb_executable_destroy(look);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
    ebb_image_set_finish(&train);
    ebb_image_set_finish(&test);
    return 0;
}
