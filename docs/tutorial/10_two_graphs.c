/* Batch normalization and dropout: a training graph and an inference graph on one store. */
#include <ebb/ebb.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

/* The model is a C function. x [batch, 784] -> scores [batch, 10]. */
static ebb_node model(ebb_node x, bool training)
{
    ebb_node h = ebb_nn_linear(x, 50, &(ebb_nn_linear_options){ .name = "fc1" });
    h = ebb_nn_batch_norm(h, &(ebb_nn_batch_norm_options){ .name = "bn1", .inference = !training });
    h = ebb_relu(h);
    h = ebb_nn_dropout(h, 0.3,
                       &(ebb_nn_dropout_options){ .name = "drop1", .inference = !training });
    return ebb_nn_linear(h, 10, &(ebb_nn_linear_options){ .name = "fc2" });
}

/* One graph with everything around the model, compiled: for so many images, to train or not. */
typedef struct net {
    ebb_graph *graph;
    ebb_node x, t, loss;
    ebb_executable *run;
} net;

static net make(const char *name, int64_t batch, bool training, ebb_store *store)
{
    net n = { .graph = ebb_graph_create(name) };
    n.x = ebb_input(n.graph, "images", EBB_F32, EBB_SHAPE(batch, 784));
    n.t = ebb_input(n.graph, "labels", EBB_I32, EBB_SHAPE(batch));
    n.loss = ebb_softmax_cross_entropy(model(n.x, training), n.t);
    if (training && ebb_nn_minimize(n.loss, &(ebb_nn_rule){ .rate = 0.1 }) != EBB_OK)
        stop(ebb_graph_message(n.graph));
    ebb_compile_options options = { .fetches = &n.loss, .n_fetches = 1, .store = store };
    if (ebb_compile(n.graph, &options, &n.run) != EBB_OK)
        stop(ebb_graph_message(n.graph));
    return n;
}

/* The loss for images[0..batch) of the set, from number `first`. */
static float run(net *n, const ebb_image_set *set, int64_t first)
{
    static float images[1000 * 784];
    static int32_t labels[1000];
    static int64_t indices[1000];
    ebb_feed feeds[] = { { n->x, { .type = *ebb_node_type(n->x), .data = images } },
                         { n->t, { .type = *ebb_node_type(n->t), .data = labels } } };
    int64_t batch = ebb_node_type(n->t)->shape.dims[0];
    for (int64_t i = 0; i < batch; i++)
        indices[i] = first + i;
    ebb_error error;
    if (ebb_image_set_batch(set, indices, batch, &feeds[0].value, &feeds[1].value, &error))
        stop(error.message);
    float value = 0;
    ebb_fetch fetch = { n->loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &value) };
    if (ebb_run(n->run, feeds, 2, &fetch, 1) != EBB_OK)
        stop(ebb_executable_message(n->run));
    return value;
}

int main(void)
{
    ebb_error error;
    ebb_image_set digits;
    if (ebb_digits_draw(3000, 1, NULL, &digits, &error) != EBB_OK)
        stop(error.message);

    ebb_store *store = ebb_store_create(NULL);
    net training = make("training", 100, true, store);
    net inference = make("inference", 1000, false, store);
    net single = make("single", 1, false, store);
    for (int step = 0; step < 200; step++)
        run(&training, &digits, step % 20 * 100);

    printf("in the store:");
    for (int64_t i = 0; i < ebb_store_size(store); i++)
        printf(" %s", ebb_store_name(store, i));
    printf("\n");

    printf("training, the same 100 images twice: %s\n",
           run(&training, &digits, 0) == run(&training, &digits, 0) ? "equal" : "different");
    float loss = run(&inference, &digits, 2000);
    printf("inference, the same 1000 images twice: %s\n",
           loss == run(&inference, &digits, 2000) ? "equal" : "different");
    float sum = 0;
    for (int i = 0; i < 1000; i++)
        sum += run(&single, &digits, 2000 + i);
    printf("loss of 1000 new images: %.2f at once, %.2f one by one\n", loss, sum / 1000);

    net *all[] = { &training, &inference, &single };
    for (int i = 0; i < 3; i++) {
        ebb_executable_destroy(all[i]->run);
        ebb_graph_destroy(all[i]->graph);
    }
    ebb_store_destroy(store);
    ebb_image_set_finish(&digits);
    return 0;
}
