/* The network of port_pytorch.py, with its weights: same scores, same losses.
 *
 *     port_pytorch port_pytorch.safetensors */
#include <ebb/ebb.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

enum { BATCH = 2, TIMES = 4 };

/* x [batch, 1, 8, 8] -> scores [batch, 3]. */
static ebb_node model(ebb_node x, bool training)
{
    ebb_nn_conv_options conv = { .name = "conv",
                                 .window = EBB_INTS(3),
                                 .conv = { .padding = EBB_INTS(1) } };
    ebb_nn_batch_norm_options norm = { .name = "norm", .inference = !training };
    ebb_node y = ebb_relu(ebb_nn_batch_norm(ebb_nn_conv(x, 4, &conv), &norm));
    y = ebb_max_pool(y, (ebb_pool_attrs){ .window = EBB_INTS(2) }); /* [batch, 4, 4, 4] */
    y = ebb_flatten(ebb_transpose(y, EBB_AXES(0, 2, 1, 3)), 2);     /* [batch, 4, 16] */

    ebb_node steps[TIMES];
    for (int time = 0; time < TIMES; time++)
        steps[time] = ebb_squeeze(ebb_slice_axis(y, 1, time, time + 1, 1), EBB_AXES(1));
    ebb_nn_recurrent_options gru = { .name = "gru", .cell = EBB_NN_GRU, .hidden = 5 };
    ebb_nn_cell_state last = ebb_nn_unroll(steps, TIMES, (ebb_nn_cell_state){ 0 }, &gru, NULL);
    return ebb_nn_linear(last.h, 3, &(ebb_nn_linear_options){ .name = "out" });
}

int main(int argc, char **argv)
{
    if (argc != 2)
        stop("port_pytorch FILE.safetensors");
    float pixels[BATCH * 64], scores[BATCH * 3], value = 0;
    for (int i = 0; i < BATCH * 64; i++)
        pixels[i] = sinf((float)i);
    int32_t labels[BATCH] = { 0, 2 };
    const ebb_tensor images = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(BATCH, 1, 8, 8), pixels);

    /* The inference graph makes the variables; the file must have all of them, and no others. */
    ebb_graph *g = ebb_graph_create("inference");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(BATCH, 1, 8, 8));
    ebb_node y = model(x, false);
    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *look;
    ebb_error error;
    ebb_compile_options options = { .fetches = &y, .n_fetches = 1, .store = store };
    if (ebb_compile(g, &options, &look) != EBB_OK)
        stop(ebb_graph_message(g));
    if (ebb_store_restore(store, argv[1], &error) != EBB_OK)
        stop(error.message);
    ebb_feed feed = { x, images };
    ebb_fetch fetch = { y, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(BATCH, 3), scores) };
    if (ebb_run(look, &feed, 1, &fetch, 1) != EBB_OK)
        stop(ebb_executable_message(look));
    for (int i = 0; i < BATCH; i++)
        printf("scores %.5f %.5f %.5f\n", scores[3 * i], scores[3 * i + 1], scores[3 * i + 2]);

    ebb_graph *h = ebb_graph_create("training");
    x = ebb_input(h, "x", EBB_F32, EBB_SHAPE(BATCH, 1, 8, 8));
    ebb_node t = ebb_input(h, "t", EBB_I32, EBB_SHAPE(BATCH));
    ebb_node loss = ebb_softmax_cross_entropy(model(x, true), t);
    ebb_nn_group frozen = { .match = "gru/b", .is_frozen = true };
    ebb_nn_rule rule = { .method = EBB_NN_MOMENTUM, .rate = 0.1, .groups = &frozen, .n_groups = 1 };
    ebb_executable *step;
    options.fetches = &loss;
    if (ebb_nn_minimize(loss, &rule) != EBB_OK || ebb_compile(h, &options, &step) != EBB_OK)
        stop(ebb_graph_message(h));
    ebb_feed feeds[] = { { x, images },
                         { t, ebb_tensor_borrow(EBB_I32, EBB_SHAPE(BATCH), labels) } };
    fetch = (ebb_fetch){ loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &value) };
    for (int i = 0; i < 4; i++) {
        if (ebb_run(step, feeds, 2, &fetch, 1) != EBB_OK)
            stop(ebb_executable_message(step));
        printf("step %d: loss %.5f\n", i, value);
    }
    ebb_tensor mean;
    if (ebb_store_get(store, "norm/running_mean", &mean) != EBB_OK)
        stop(ebb_store_message(store));
    printf("running mean");
    for (int i = 0; i < 4; i++)
        printf(" %.5f", ebb_tensor_get(&mean, i));
    printf("\n");

    ebb_executable_destroy(look);
    ebb_executable_destroy(step);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
    ebb_graph_destroy(h);
    return 0;
}
